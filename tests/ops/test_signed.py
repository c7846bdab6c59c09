"""``interlock run`` that signs, ``interlock status`` that tells so, and the file that names the witnesses."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from tests.adapters.servers import tsa, witness
from tests.adapters.test_witness import PUBLIC
from tests.helpers import journal, of_kind
from tests.ops.cli_helpers import PATIENT, Live, cli, quick, rows, ticks_file
from tests.store.helpers import ring

from interlock.breaker.home import Home
from interlock.journal.notes import COSIGNATURE, Verifier
from interlock.ops.witnesses import WitnessesError, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """An armed home that is patient, and keys that are valid now."""
    (tmp_path / "limits.toml").write_text(PATIENT)
    assert quick("arm", "--home", tmp_path / "home", "--limits", tmp_path / "limits.toml").code == 0
    ring(tmp_path, now_us=time.time_ns() // 1000 - 1_000_000)
    return tmp_path


def test_a_signed_run_is_verified_by_the_roots_key_alone(where: Path) -> None:
    """A live run with keys and a witness is signed to its end, kept elsewhere, told by status, and believed."""
    (where / "volume").mkdir()
    assert cli("keys", "witness", "--path", where / "volume").code == 0
    (where / "witnesses.toml").write_text(f'[[witness]]\nkind = "directory"\nname = "nas"\npath = "{where}/volume"\n')
    more = ("--keys", str(where / "keys"), "--witnesses", str(where / "witnesses.toml"))
    with Live(where / "home", where, *more) as live:
        live.tick()
        live.asked(1)
        ended = live.end()
    assert ended.code == 0, ended.err
    verifier = (where / "keys" / "root.vkey").read_text().strip()
    said = cli("verify", "--home", where / "home", "--root-key", verifier, "--json")
    assert said.code == 0, said.out
    last = of_kind(where / "home", "checkpoint")[-1]
    assert last["why"] == "shutdown"
    assert of_kind(where / "home", "anchor")[-1]["witness"] == "nas"
    shown = cli("status", "--home", where / "home", "--json").json
    (point,) = shown["checkpoints"]
    assert (point["engine"], point["size"], point["why"]) == ("engine", last["size"], "shutdown")
    assert 0 <= point["age_s"] < 3600
    (key,) = shown["keys"]
    assert (key["list"], key["label"]) == (1, "first")
    assert 29 * 86_400 < key["valid_s"] <= 30 * 86_400
    assert "why shutdown" in cli("status", "--home", where / "home").out


def test_a_home_that_is_not_signed_says_nothing_of_keys(where: Path) -> None:
    """Without keys there are no checkpoints and no keys to tell of."""
    shown = quick("status", "--home", where / "home", "--json").json
    assert (shown["checkpoints"], shown["keys"]) == ([], [])


def test_status_tells_that_a_journal_was_rolled_back(where: Path) -> None:
    """Status, which writes nothing, finds what an attach would find, and ends with 3."""
    for _ in range(2):
        with Live(where / "home", where, "--keys", str(where / "keys")) as live:
            live.tick()
            live.asked(1)
            assert live.end().code == 0
        if not (where / "before").exists():
            shutil.copytree(where / "home" / "journal", where / "before")
    shutil.rmtree(where / "home" / "journal")
    (where / "before").rename(where / "home" / "journal")
    shown = quick("status", "--home", where / "home", "--json")
    assert shown.code == 3
    assert "was signed, and the journal has" in shown.json["fault"]


def test_a_run_without_a_valid_key_starts_nothing(where: Path) -> None:
    """An expired key: the run ends, says which key is missing, and no order was permitted."""
    shutil.rmtree(where / "keys")
    shutil.rmtree(where / "root")
    ring(where)  # long ago
    with Live(where / "home", where, "--keys", str(where / "keys")) as live:
        ended = live.end()
    assert ended.code != 0
    assert "NO_KEY" in ended.out + ended.err
    assert of_kind(where / "home", "start") == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--keys", "none"), "live"),
        (("--witnesses", "none"), "--keys"),
        (("--keys", "none", "--speed", "live"), "none"),
        (("--keys", "none", "--speed", "live", "--witnesses", "missing.toml"), "missing.toml"),
    ],
)
def test_what_does_not_go_together_is_usage(where: Path, more: tuple[str, ...], why: str) -> None:
    """Keys with a replay, witnesses without keys, and files that are not there are told before anything runs."""
    ticks = ticks_file(where / "ticks.csv", rows(3))
    before = len(journal(where / "home"))
    said = quick("run", "--home", where / "home", "--ticks", ticks, *more)
    assert said.code in {2, 3}
    assert why in said.err
    assert len(journal(where / "home")) == before


# -- The file --------------------------------------------------------------------------------------------


def test_every_kind_of_witness_can_be_named(where: Path) -> None:
    """A file with all four kinds gives all four, each under its name, and they answer."""
    (where / "volume").mkdir()
    made = quick("keys", "witness", "--path", where / "file", "--key", where / "file.pem", "--json")
    assert made.code == 0
    assert Verifier.parse(made.json["verifier"]).algorithm == COSIGNATURE
    assert quick("keys", "witness", "--path", where / "volume").code == 0
    origin = f"interlock/{Home(where / 'home').identity()}/engine"
    with witness(where / "w", origin, PUBLIC) as (url, key), tsa(where / "tsa") as (stamps, _):
        (where / "all.toml").write_text(
            f"""
            quorum = 2
            [[witness]]
            kind = "directory"
            name = "nas"
            path = "{where}/volume"
            [[witness]]
            kind = "file"
            name = "usb"
            path = "{where}/file"
            key = "{where}/file.pem"
            [[witness]]
            kind = "tlog"
            name = "w1"
            url = "{url}"
            verifier = "{key}"
            timeout_s = 20
            [[witness]]
            kind = "tsa"
            name = "stamps"
            url = "{stamps}"
            roots = "{where}/tsa/ca.pem"
            timeout_s = 20.5
            """
        )
        found = read(where / "all.toml")
    assert found.quorum == 2
    assert [(one.name, one.remembers) for one in found.witnesses] == [
        ("nas", True),
        ("usb", True),
        ("w1", True),
        ("stamps", False),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[witness", "TOML|Expected"),
        ("[[witness]]\nname = 'a'", "kind"),
        ("[[witness]]\nkind = 'oracle'\nname = 'a'", "oracle"),
        ("[[witness]]\nkind = 'directory'\nname = 'a'", "path"),
        ("[[witness]]\nkind = 'directory'\nname = 'a'\npath = 1", "path"),
        ("[[witness]]\nkind = 'directory'\nname = 'a'\npath = 'x'\nmore = 'y'", "more"),
        ("[[witness]]\nkind = 'directory'\nname = 'a'\npath = 'x'\ntimeout_s = 1", "timeout_s"),
        ("[[witness]]\nkind = 'tlog'\nname = 'a'\nurl = 'http://x'\nverifier = 'y'", "NAME"),
        ("[[witness]]\nkind = 'tlog'\nname = 'a'\nurl = 'http://x'\nverifier = 'y'\ntimeout_s = 0", "timeout_s"),
        ("[[witness]]\nkind = 'tlog'\nname = 'a'\nurl = 'http://x'\nverifier = 'y'\ntimeout_s = true", "timeout_s"),
        ("[[witness]]\nkind = 'tsa'\nname = 'a'\nurl = 'http://x'\nroots = '/nowhere'", "nowhere"),
        ("quorum = 'two'", "quorum"),
        ("quorum = true", "quorum"),
        ("witness = 3", "witness"),
        ("witnesses = []", "witnesses"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_told(tmp_path: Path, text: str, why: str) -> None:
    """Unknown kinds and keys, missing ones, and wrong types are errors that name the file."""
    (tmp_path / "w.toml").write_text(text)
    with pytest.raises(WitnessesError, match=why) as caught:
        read(tmp_path / "w.toml")
    assert str(tmp_path / "w.toml") in str(caught.value)


def test_a_witness_is_made_once(tmp_path: Path) -> None:
    """A directory that is not there, and a key that is there already, are refused."""
    assert quick("keys", "witness", "--path", tmp_path / "none").code == 2
    assert quick("keys", "witness", "--path", tmp_path / "f", "--key", tmp_path / "k.pem").code == 0
    assert quick("keys", "witness", "--path", tmp_path / "f", "--key", tmp_path / "k.pem").code == 2
