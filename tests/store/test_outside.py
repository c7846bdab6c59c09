"""A kernel with real witnesses, each a process of its own: a C2SP witness and a time-stamp authority."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.adapters.servers import tsa, witness
from tests.helpers import UTC_US, arm, of_kind
from tests.store.helpers import DAY_US, ring
from tests.store.test_signing import files, report, signing, told, until, verified, whys

from interlock import HaltCode, Mode
from interlock.adapters.witness import TimeStampWitness, TlogWitness
from interlock.breaker.home import Home
from interlock.breaker.segment import chunks, segments
from interlock.verify import Inputs, Status, verify

if TYPE_CHECKING:
    from pathlib import Path


def home(tmp_path: Path) -> tuple[str, bytes]:
    """A home with keys: the journal's origin, and the key that signs."""
    arm(tmp_path / "home")
    made = ring(tmp_path, now_us=UTC_US - DAY_US)
    return f"interlock/{Home(tmp_path / 'home').identity()}/engine", made.keys[0].public


def test_cosignatures_and_time_stamps_are_believed_by_the_verifier(tmp_path: Path) -> None:
    """Every checkpoint that a witness took carries its cosignature, the authority's tokens are kept, and both hold."""
    origin, public = home(tmp_path)
    with witness(tmp_path / "w", origin, public) as (url, key), tsa(tmp_path / "tsa") as (stamps, roots):
        outside = [TlogWitness(url, key, "w1", 60.0), TimeStampWitness(stamps, roots, "tsa", 60.0)]
        with signing(tmp_path, witnesses=outside) as kernel:
            assert kernel.start(), told(tmp_path / "home", "WITNESS_SILENT")
            until(lambda: len(of_kind(tmp_path / "home", "anchor")) == 2, "the first checkpoint did not get out")
            kernel.halt("enough")
            until(lambda: len(of_kind(tmp_path / "home", "anchor")) == 4, "the second checkpoint did not get out")
    anchors = of_kind(tmp_path / "home", "anchor")
    assert {anchor["witness"] for anchor in anchors} == {"w1", "tsa"}
    found = verify(
        ((path.name, chunks(path)) for path in segments(Home(tmp_path / "home").stream("engine"))),
        inputs=Inputs(
            root_key=(tmp_path / "keys" / "root.vkey").read_text(),
            lists=files(tmp_path / "home" / "keys"),
            notes=files(tmp_path / "home" / "checkpoints" / "engine"),
            anchors=files(tmp_path / "home" / "anchors" / "engine"),
            witnesses=(key,),
            authorities=((tmp_path / "tsa" / "tsa.pem").read_bytes(),),
        ),
    )
    assert found.status is Status.VERIFIED, found.findings
    assert all(anchor.believed for anchor in found.anchors)
    cosigned = {anchor.size for anchor in found.anchors if anchor.witnesses}
    stamped = {anchor.size for anchor in found.anchors if anchor.form == "time stamp"}
    assert {anchor["size"] for anchor in anchors if anchor["witness"] == "w1"} == cosigned
    assert {anchor["size"] for anchor in anchors if anchor["witness"] == "tsa"} == stamped
    assert len(cosigned) >= 2


def test_the_witness_tells_a_rollback_and_a_fork(tmp_path: Path) -> None:
    """A home that is put back whole does not start; nor does one that went on from there without the witness."""
    origin, public = home(tmp_path)
    with witness(tmp_path / "w", origin, public) as (url, key):
        outside = [TlogWitness(url, key, timeout_s=60.0)]
        with signing(tmp_path, witnesses=outside) as kernel:
            kernel.start()
        shutil.copytree(tmp_path / "home", tmp_path / "before")
        with signing(tmp_path, witnesses=outside) as kernel:
            kernel.start()
        shutil.rmtree(tmp_path / "home")
        shutil.copytree(tmp_path / "before", tmp_path / "home")
        with signing(tmp_path, witnesses=[TlogWitness(url, key, timeout_s=60.0)]) as kernel:
            assert kernel.mode is Mode.HALTED
            assert kernel.cause is not None
            assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
        shutil.rmtree(tmp_path / "home")
        shutil.copytree(tmp_path / "before", tmp_path / "home")
        for reason in ("one", "two", "three"):  # another history, signed with the right key, and longer
            with signing(tmp_path) as kernel:
                kernel.start()
                kernel.anomaly("ODD", reason)
        assert report(tmp_path).status is Status.VERIFIED
        with signing(tmp_path, witnesses=[TlogWitness(url, key, timeout_s=60.0)]) as kernel:
            assert kernel.mode is Mode.HALTED
            assert kernel.cause is not None
            assert "did not grow" in kernel.cause.reason


def test_a_witness_that_was_away_gets_a_proof_over_the_gap(tmp_path: Path) -> None:
    """Checkpoints that were made without the witness are bridged by one proof when it is there again."""
    origin, public = home(tmp_path)
    with witness(tmp_path / "w", origin, public) as (url, key):
        with signing(tmp_path, witnesses=[TlogWitness(url, key, timeout_s=60.0)]) as kernel:
            kernel.start()
        for _ in range(3):
            with signing(tmp_path, segment_bytes=1) as kernel:
                kernel.start()
        with signing(tmp_path, witnesses=[TlogWitness(url, key, timeout_s=60.0)]) as kernel:
            assert kernel.start()
            until(lambda: whys(tmp_path / "home")[-1] == "start", "no checkpoint of the start")
    assert told(tmp_path / "home", "WITNESS_REFUSED") == told(tmp_path / "home", "WITNESS_FAILED") == []
    assert of_kind(tmp_path / "home", "anchor")[-1]["size"] == of_kind(tmp_path / "home", "checkpoint")[-1]["size"]
    verified(tmp_path)
