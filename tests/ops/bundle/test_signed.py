"""Bundles of journals that are signed, cut into segments and compressed, and the verifier that lies in them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import HOME_ID, OTHER_ID, arm, halt_home, order, reset_home, running, wait_until
from tests.ops.bundle import oracle
from tests.ops.bundle.session import CALM, trade
from tests.ops.bundle.test_bundle import checked, claims
from tests.ops.bundle.test_proofs import root
from tests.ops.cli_helpers import environment, quick
from tests.store.helpers import ring

from interlock.breaker.compress import compress, compressible
from interlock.ops.bundle.collect import collect
from interlock.ops.bundle.plan import Plan, Span, utc
from interlock.ops.bundle.tree import Folder
from interlock.ops.bundle.verdicts import verdict
from interlock.verify import Status
from interlock.verify.pack import pack

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 2000
"""Bytes of a segment."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a home whose journals are signed and have many segments, its keys, and another root's key."""
    place = tmp_path_factory.mktemp("desk")
    now_us = time.time_ns() // 1000
    ring(place, now_us=now_us)
    ring(place / "others", now_us=now_us)
    home = arm(place / "home", CALM)
    for epoch in (1, 2):
        with running(home.path, keys=place / "keys", segment_bytes=SMALL) as kernel:
            for round_ in range(4):
                trade(kernel, f"e{epoch}-{round_}", 6)
                kernel.heartbeat()
            halt_home(home.path, timeout_s=20)
            kernel.heartbeat()
        reset_home(home.path, epoch, epoch)
    with running(home.path, keys=place / "keys", segment_bytes=SMALL) as kernel:
        kernel.submit(order("last"), str)
        kernel.stop()
    return place


def root_key(place: Path) -> str:
    """The root's verifier key."""
    return (place / "root" / "root.vkey").read_text().strip()


@pytest.fixture(scope="module")
def signed(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it, with the root key named."""
    out = tmp_path_factory.mktemp("signed") / "bundle"
    note = max((desk / "home" / "checkpoints" / "engine").iterdir())
    (out.parent / "witness").mkdir()
    (out.parent / "witness" / "kept.note").write_bytes(note.read_bytes())
    given = ("--root-key", desk / "root" / "root.vkey", "--anchors", out.parent / "witness")
    ended = quick("bundle", out, "--home", desk / "home", *given)
    assert ended.code == 0, ended.err
    return out


def reports(bundle: Path) -> dict[str, Any]:
    """The verifier's answers in a bundle."""
    return dict(claims(bundle)["verifier"])


def test_signatures_are_checked(desk: Path, signed: Path) -> None:
    """With keys, checkpoints and a root key the answer is VERIFIED, by signatures; anchors go to their engine."""
    report = reports(signed)["engine"]
    assert report["verdict"] == "VERIFIED", report
    notes = list((desk / "home" / "checkpoints" / "engine").iterdir())
    assert report["checkpoints"]["given"] == report["checkpoints"]["believed"] == len(notes) > 4
    assert report["signed"] > 0
    assert (signed / "anchors" / "engine" / "kept.note").exists()
    assert [anchor["believed"] for anchor in report["anchors"]] == [True]
    (claim,) = [one for one in claims(signed)["claims"] if one["name"] == "signed"]
    kinds = [record["kind"] for _, record in oracle.told(oracle.lines_of(signed)["engine"])]
    assert claim["numbers"]["checkpoints"] == kinds.count("checkpoint") == len(notes)
    assert root_key(desk) in (signed / "report.html").read_text()


def test_orders_left_at_a_halt_are_told(signed: Path) -> None:
    """Where orders worked at a halt, and nobody took them back, nothing on record speaks for a cancelled order."""
    (claim,) = [one for one in claims(signed)["claims"] if one["name"] == "cancels"]
    assert claim["numbers"]["working"] > claim["numbers"]["over"] == 0
    assert claim["standing"] == "nothing on record"


def test_numbers_hold_over_segments(signed: Path) -> None:
    """In a journal of many segments every number is the one that is counted anew, over all of them."""
    assert len(list((signed / "journal" / "engine").glob("*.jsonl"))) > 5
    wanted = oracle.counted(signed)
    found = {
        f"{claim['name']}.{name}": value
        for claim in claims(signed)["claims"]
        for name, value in claim["numbers"].items()
    }
    assert {name: found[name] for name in wanted} == wanted


def test_proofs_lead_to_signed_roots(signed: Path) -> None:
    """Records are proven in the tree of the last checkpoint that holds them, whose note has that very root."""
    lines = oracle.lines_of(signed)["engine"]
    records = claims(signed)["records"]
    by_note = [record for record in records if (record["bound_by"] or "").startswith("checkpoints/")]
    assert len(by_note) > len(records) / 2
    for record in by_note:
        assert record["agrees"] is True
        assert (signed / record["bound_by"]).read_text().split("\n")[1] == str(record["size"])
        assert record["root"] == root(lines[: record["size"]]).hex()


def test_another_root_key_is_told(desk: Path, signed: Path) -> None:
    """Held against another root's key the same bundle is whole, and its lists and notes are not believed."""
    assert checked(signed)[0] == 0
    assert checked(signed, "--root-key", root_key(desk))[1]["notes"] == []
    code, said = checked(signed, "--root-key", root_key(desk / "others"))
    assert code == 6
    assert "another root key" in said["notes"][0]
    assert said["engines"]["engine"]["status"] == "TAMPERED"
    assert quick("bundle", "--check", signed, "--root-key", "nonsense").code == 2


def test_note_that_was_swapped_is_found(desk: Path, signed: Path, tmp_path: Path) -> None:
    """A checkpoint under another's name is found by the verifier, although the manifest was made anew."""
    home = desk / "home"
    assert signed.exists()
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", home, copy], check=True)
    first, second, *_ = sorted((copy / "checkpoints" / "engine").iterdir())
    first.write_bytes(second.read_bytes())
    assert quick("bundle", tmp_path / "bundle", "--home", copy, "--root-key", root_key(desk)).code == 0
    assert checked(tmp_path / "bundle")[0] == 6
    assert "A rule of the journal is broken" in (tmp_path / "bundle" / "report.html").read_text()


def test_compressed_segments_give_the_same_report(desk: Path, tmp_path: Path) -> None:
    """Segments that are compressed are bundled as they are, and tell the same."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", desk / "home", copy], check=True)
    given = ("--root-key", root_key(desk))
    assert quick("bundle", tmp_path / "plain", "--home", copy, *given).code == 0
    assert quick("compress", "--home", copy).code == 0
    assert quick("bundle", tmp_path / "packed", "--home", copy, *given).code == 0
    assert list((tmp_path / "packed" / "journal" / "engine").glob("*.zst"))
    assert claims(tmp_path / "plain")["claims"] == claims(tmp_path / "packed")["claims"]
    assert checked(tmp_path / "packed")[0] == 0
    segment = next((tmp_path / "packed" / "journal" / "engine").glob("*.zst"))
    segment.write_bytes(segment.read_bytes()[:-3])
    code, said = checked(tmp_path / "packed")
    assert code == 6
    assert said["changed"] == [segment.relative_to(tmp_path / "packed").as_posix()]


def test_what_comes_after_the_span_is_left_out(desk: Path, tmp_path: Path) -> None:
    """Segments and checkpoints from after the span are not in the bundle, and what is there verifies by itself."""
    lines = oracle.lines_of(desk / "home")["engine"]
    begun = [json.loads(line)["ts"] for line in lines if json.loads(line)["kind"] == "segment"]
    end = begun[len(begun) // 2]
    given = ("--root-key", root_key(desk), "--to", utc(end))
    assert quick("bundle", tmp_path / "half", "--home", desk / "home", *given).code == 0
    there = sorted((tmp_path / "half" / "journal" / "engine").iterdir())
    assert 0 < len(there) < len(begun)
    code, said = checked(tmp_path / "half")
    assert code in {0, 5}, said
    assert said["whole"] is True


def test_verifier_in_the_bundle_runs_alone(desk: Path, signed: Path) -> None:
    """The file in the bundle gives the same answer by itself, with no code of ours on the path."""
    alone = signed / "verify.pyz"
    assert alone.read_bytes() == pack()
    with zipfile.ZipFile(alone) as archive:
        assert {name.rpartition("/")[0] for name in archive.namelist()} == {"", "interlock_verify"}
    command = [sys.executable, "-I", alone, signed, "--json", "--anchor", signed / "anchors"]
    done = subprocess.run(
        [*command, "--root-key", root_key(desk)], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["engines"]["engine"]
    assert (said["verdict"], said["root"], said["signed"]) == (
        "VERIFIED",
        reports(signed)["engine"]["root"],
        reports(signed)["engine"]["signed"],
    )


def test_commands_in_the_readme_are_right(desk: Path, signed: Path) -> None:
    """What the page for auditors tells them to run runs, in the bundle's directory."""
    told = [line.strip() for line in (signed / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert [line.split()[0] for line in told] == ["sha256sum", "interlock", "pip", "python3"]
    for line in told[1], told[3]:
        words = line.replace("NAME+ID+KEY", root_key(desk)).split()
        begin = [sys.executable, "-m", "interlock.ops"] if words[0] == "interlock" else [sys.executable, "-I"]
        done = subprocess.run(
            [*begin, *words[1:]],
            cwd=signed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------------
# What witnesses kept, and engines that run


def kept(place: Path, where: Path, *, many: bool) -> Path:
    """All checkpoints of the home as witnesses keep them: a file each, or all in one; with one of another home."""
    notes = [path.read_bytes() for path in sorted((place / "home" / "checkpoints" / "engine").iterdir())]
    notes.append(notes[0].replace(HOME_ID.encode(), OTHER_ID.encode()))
    where.mkdir()
    if many:
        for number, note in enumerate(notes):
            (where / f"{number}.note").write_bytes(note)
    else:
        (where / "file.log").write_bytes(b"".join(b"\x1e" + note for note in notes))
    return where


@pytest.mark.parametrize("many", [True, False], ids=["a directory", "a file"])
def test_anchors_of_whatever_form_and_home_are_sorted(desk: Path, tmp_path: Path, *, many: bool) -> None:
    """Each checkpoint that a witness kept is an anchor of its engine; those of other homes are left out, and told."""
    where = kept(desk, tmp_path / "kept", many=many)
    given = ("--root-key", root_key(desk), "--anchors", where)
    assert quick("bundle", tmp_path / "bundle", "--home", desk / "home", *given).code == 0
    code, said = checked(tmp_path / "bundle", "--root-key", root_key(desk))
    notes = len(list((desk / "home" / "checkpoints" / "engine").iterdir()))
    assert (code, len(said["engines"]["engine"]["anchors"])) == (0, notes)
    missing = json.loads((tmp_path / "bundle" / "request.json").read_bytes())["missing"]
    assert [one["why"] for one in missing if OTHER_ID in one["what"]] == ["they are of another home"]


def test_anchors_of_a_later_time_are_left_out_with_it(desk: Path, tmp_path: Path) -> None:
    """Where the span leaves out segments, the anchors over these go with them, and are told; the rest verifies."""
    lines = oracle.lines_of(desk / "home")["engine"]
    begun = [json.loads(line)["ts"] for line in lines if json.loads(line)["kind"] == "segment"]
    given = ("--root-key", root_key(desk), "--to", utc(begun[len(begun) // 2]))
    where = kept(desk, tmp_path / "kept", many=True)
    assert quick("bundle", tmp_path / "half", "--home", desk / "home", *given, "--anchors", where).code == 0
    assert checked(tmp_path / "half")[0] in {0, 5}
    missing = json.loads((tmp_path / "half" / "request.json").read_bytes())["missing"]
    assert any(one["why"] == "it is of a later time than the bundle" for one in missing)
    assert quick("bundle", tmp_path / "none", "--home", desk / "home", "--to", "2000-01-01").code == 0
    missing = json.loads((tmp_path / "none" / "request.json").read_bytes())["missing"]
    assert ["the home has none" in one["why"] for one in missing if one["what"] == "checkpoints"] == [False]


def test_journal_that_is_gone_stands_in_the_report(desk: Path, tmp_path: Path) -> None:
    """Of an engine whose journal was removed, its checkpoints are bundled, and the verifier misses the records."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", desk / "home", copy], check=True)
    subprocess.run(["rm", "-r", copy / "journal" / "engine"], check=True)
    assert quick("bundle", tmp_path / "bundle", "--home", copy, "--root-key", root_key(desk)).code == 0
    code, said = checked(tmp_path / "bundle")
    assert (code, said["engines"]["engine"]["status"]) == (6, "TAMPERED")


def test_rolled_back_home_is_bundled_as_such(desk: Path, tmp_path: Path) -> None:
    """Checkpoints over more records than the journal has any more are evidence, and are not left out."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", desk / "home", copy], check=True)
    for path in sorted((copy / "journal" / "engine").iterdir())[3:]:
        path.unlink()
    assert quick("bundle", tmp_path / "bundle", "--home", copy, "--root-key", root_key(desk)).code == 0
    assert checked(tmp_path / "bundle")[1]["engines"]["engine"]["status"] == "TAMPERED"


def test_checkpoints_that_are_made_meanwhile_are_of_another_bundle(tmp_path: Path) -> None:
    """An engine signs while the bundle is made: what comes to be after the segments were copied is left out."""
    ring(tmp_path, now_us=time.time_ns() // 1000)
    home = arm(tmp_path / "home", CALM)
    plan = Plan(home=home.path, out=tmp_path / "bundle", span=Span(), root_key=root_key(tmp_path))
    folder = Folder(tmp_path / "bundle")
    notes = home.path / "checkpoints" / "engine"
    with running(home.path, keys=tmp_path / "keys", checkpoint_every_s=0.01) as kernel:
        trade(kernel, "a", 3)
        wait_until(lambda: any(notes.glob("*.note")))
        meanwhile = {*notes.glob("*.note")}

        def copied(_: int) -> None:
            """The first bytes of a segment were copied: trade on, until there is another checkpoint."""
            if {*notes.glob("*.note")} == meanwhile:
                trade(kernel, f"b-{len(meanwhile)}", 3)
                wait_until(lambda: {*notes.glob("*.note")} != meanwhile)

        collect(plan, folder, copied)
        assert {*notes.glob("*.note")} != meanwhile
    report = verdict(folder, "engine", root_key(tmp_path), lambda _: None)
    assert report.status is not Status.TAMPERED, report.findings


def test_segment_that_is_compressed_meanwhile_is_found(desk: Path, tmp_path: Path) -> None:
    """A segment that got its other name after it was listed is bundled under that one."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", desk / "home", copy], check=True)
    stream = copy / "journal" / "engine"

    def copied(_: int) -> None:
        for path in compressible(stream):
            compress(path)

    folder = Folder(tmp_path / "bundle")
    collect(Plan(home=copy, out=folder.path, span=Span()), folder, copied)
    assert list((folder.path / "journal" / "engine").glob("*.zst"))
    assert verdict(folder, "engine", None, lambda _: None).status is Status.VERIFIED


def test_broken_compressed_segment_makes_no_end_of_it(desk: Path, tmp_path: Path) -> None:
    """A compressed segment that can't be read is bundled as it is, and the verifier and the report say so."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", desk / "home", copy], check=True)
    assert quick("compress", "--home", copy).code == 0
    second = sorted((copy / "journal" / "engine").glob("*.zst"))[1]
    data = second.read_bytes()
    second.chmod(0o600)
    second.write_bytes(data[:40] + b"x" * 20 + data[60:])
    assert quick("bundle", tmp_path / "bundle", "--home", copy).code == 0
    assert checked(tmp_path / "bundle")[0] == 6
