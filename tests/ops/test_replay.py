"""``interlock replay`` as a command: real ticks, real processes, exit codes, and what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from tests.helpers import journal, sound
from tests.ops.cli_helpers import HEADER, PAPER, cli, environment, quick, rows, screen, ticks_file

from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
DATA: Final = Path(os.environ.get("INTERLOCK_SHARED", ROOT.parent / "shared")) / "data"


def traded(home: Path, ticks: Sequence[Path], *more: str) -> None:
    """A run on a home, which is made if there is none."""
    if not home.exists():
        assert quick("arm", "--home", home, "--paper").code == 0
    given = [part for path in ticks for part in ("--ticks", str(path))]
    ended = cli("run", "--home", home, *given, "--strategy", "every-nth", "--durability", "process", *more)
    assert ended.code == 0, ended.err


def simple(place: Path, *more: str, count: int = 300) -> Path:
    """A home with a run over a few ticks; the verifier finds no fault in it."""
    traded(place / "home", [ticks_file(place / "ticks.csv", rows(count), HEADER)], *(more or ("--record-inputs",)))
    sound(place / "home")
    return place / "home"


def open_segment(home: Path) -> Path:
    """The last segment of a home's journal: the ticks' day is another than that on which the home was made."""
    return max((home / "journal/engine").glob("*.jsonl"))


def rewritten(home: Path, kind: str, **members: object) -> dict[str, Any]:
    """Change the last record of a kind in a home's journal, seals be what they may."""
    path = open_segment(home)
    lines = path.read_bytes().splitlines()
    place = max(n for n, line in enumerate(lines) if orjson.loads(line)["kind"] == kind)
    changed = {**orjson.loads(lines[place]), **members}
    lines[place] = orjson.dumps(changed)
    path.chmod(0o600)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return changed


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")
@pytest.mark.parametrize(
    "names",
    [
        ["eurusd_20140511.csv.gz"],
        ["btcusdt_20240808_quotes.csv.gz", "btcusdt_20240808_trades.csv.gz"],
    ],
)
def test_real_ticks_replay(tmp_path: Path, names: list[str]) -> None:
    """Real quotes and trades, over two runs and with all that gate 1 refuses in them, replay and are VERIFIED."""
    for _ in range(2):
        traded(tmp_path / "home", [DATA / name for name in names], "--record-inputs")
    assert cli("verify", "--home", tmp_path / "home").code == 0
    told = cli("replay", "--home", tmp_path / "home", "--json")
    assert told.code == 0, told.out
    said = told.json
    records = journal(tmp_path / "home")
    ticks = [record for record in records if record["kind"] in {"quote", "trade"}]
    assert (said["verdict"], said["gaps"], said["first"], said["skipped"]) == ("SAME", [], None, {})
    assert said["records"] == len(records)
    assert said["compared"]["gate 1"] == len(ticks) > 20_000
    assert {record["code"] for record in ticks} > {"ACCEPTED"}
    assert said["compared"]["gate 2"] == sum(record["kind"] in {"permit", "refuse"} for record in records) > 100


def test_a_run_that_is_killed_replays(tmp_path: Path) -> None:
    """A process that gets SIGKILL amid its ticks leaves a journal that replays and holds, before and after recovery."""
    home = tmp_path / "home"
    assert quick("arm", "--home", home, "--paper").code == 0
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "interlock.ops", "run", "--home", home, "--ticks", "-", "--record-inputs"),
            *("--strategy", "every-nth", "--durability", "process"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    with child:
        assert child.stdin is not None
        child.stdin.write("\n".join((HEADER, *rows(4000))) + "\n")
        child.stdin.flush()
        for _ in range(10_000):
            if len(open_segment(home).read_bytes().rstrip(b"\0")) > 200_000:
                child.send_signal(signal.SIGSTOP)
                assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
                if b'"kind":"seal"' not in open_segment(home).read_bytes().splitlines()[-2]:
                    break
                child.send_signal(signal.SIGCONT)
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    assert cli("replay", "--home", home).code == 0
    sound(home, Status.VERIFIED_TO_N, Status.IN_DOUBT)
    traded(home, [ticks_file(tmp_path / "more.csv", rows(50, first=5000))], "--record-inputs")
    sound(home, Status.IN_DOUBT)
    assert {"salvage", "recover"} <= {record["kind"] for record in journal(home)}
    told = cli("replay", "--home", home, "--json").json
    assert (told["verdict"], told["gaps"]) == ("SAME", [])
    inner = [one["record"] if one["kind"] == "salvage" else one for one in journal(home)]
    assert told["compared"]["gate 1"] == sum(one["kind"] == "quote" for one in inner)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_record_that_was_not_copied_whole_is_no_record_unless_a_seal_follows(tmp_path: Path, sealed: bool) -> None:
    """Zeros in the last line are what a process left that was killed amid a copy; before a seal they are no record."""
    home = simple(tmp_path)
    path = open_segment(home)
    lines = path.read_bytes().splitlines(keepends=True)
    place = max(n for n, line in enumerate(lines) if b'"kind":"quote"' in line)
    lines[place] = lines[place][:40] + bytes(32) + lines[place][72:]
    path.chmod(0o600)
    path.write_bytes(b"".join(lines if sealed else lines[: place + 1]))
    told = quick("replay", "--home", home, "--json").json
    assert told["verdict"] == ("INCOMPLETE" if sealed else "SAME")
    assert told["records"] == int(path.stem) + place + sealed
    assert [gap["why"] for gap in told["gaps"]] == [
        *(["cannot be replayed: it is no record; see `interlock verify`"] if sealed else [])
    ]


def test_a_changed_decision_is_shown(tmp_path: Path) -> None:
    """Exit code 6 and one clear place: file, line, seq, both decisions, and the state that led there."""
    home = simple(tmp_path)
    changed = rewritten(home, "permit", bid="1")
    told = quick("replay", "--home", home)
    assert told.code == 6
    last = open_segment(home)
    line = changed["seq"] - int(last.stem) + 1
    place = f"{last.name}:{line}: seq {changed['seq']}: permit: gate 2 differs"
    for said in ("DIFFERS", place, "stands there   bid 1\n", "decided now    bid 100", "RUNNING, epoch 1, gate open"):
        assert said in told.out
    plain = quick("replay", "--home", home, "--json").json
    first = plain["first"]
    assert (first["seq"], first["line"], first["members"]) == (changed["seq"], line, ["bid"])
    assert first["state"]["books"]["SIM"]["bid"] == "100"
    assert plain["exit_code"] == 6


def test_without_inputs_it_says_from_where(tmp_path: Path) -> None:
    """Exit code 5, with the record from which on nothing can be told, and gate 2 as far as it can be compared."""
    home = simple(tmp_path, "--operator", "ann")
    told = quick("replay", "--home", home, "--json")
    start = next(record for record in journal(home) if record["kind"] == "start")
    assert (told.code, told.json["verdict"]) == (5, "INCOMPLETE")
    assert [gap["seq"] for gap in told.json["gaps"]] == [start["seq"]]
    assert told.json["compared"]["gate 2"] == sum(record["kind"] == "permit" for record in journal(home)) > 0
    assert f"from seq {start['seq']}: no recorded inputs" in quick("replay", "--home", home).out


def test_limits_are_taken_by_their_hash(tmp_path: Path) -> None:
    """Limits that have changed since are asked for by their SHA-256; once given, the run replays."""
    home = simple(tmp_path)
    (tmp_path / "then.toml").write_text((home / "limits.toml").read_text())
    (home / "limits.toml").chmod(0o600)
    (home / "limits.toml").write_text(PAPER + "\n# changed since\n")
    told = quick("replay", "--home", home)
    run = [record for record in journal(home) if record["kind"] == "run"][-1]
    assert told.code == 5
    assert f"SHA-256 {run['limits']}" in told.out
    assert quick("replay", "--home", home, "--limits", tmp_path / "then.toml").code == 0
    copy = home / "journal/engine"
    assert quick("replay", "--journal", copy, "--limits", tmp_path / "then.toml").code == 0


def test_what_other_limits_would_have_done(tmp_path: Path) -> None:
    """With --what-if each order is judged by the limits given, and what becomes of what is counted."""
    home = simple(tmp_path)
    tighter = tmp_path / "tighter.toml"
    tighter.write_text(PAPER.replace("max_quantity = 10 ", 'max_quantity = "0.5" '))
    told = quick("replay", "--home", home, "--limits", tighter, "--what-if", "--json")
    permits = sum(record["kind"] == "permit" for record in journal(home))
    assert told.code == 6
    assert told.json["changed"] == {"gate 2: ACCEPTED -> MAX_QUANTITY": permits}
    assert told.json["differences"] == permits > 1
    assert (
        f"{permits} gate 2: ACCEPTED -> MAX_QUANTITY"
        in quick(*("replay", "--home", home, "--limits", tighter, "--what-if")).out
    )


def test_a_line_that_is_none_is_a_gap(tmp_path: Path) -> None:
    """Garbage in the middle ends the replay there, with exit code 5; it is for the verifier to judge."""
    home = simple(tmp_path)
    path = open_segment(home)
    lines = path.read_bytes().splitlines()
    lines[40] = b"garbage"
    path.chmod(0o600)
    path.write_bytes(b"\n".join(lines) + b"\n")
    told = quick("replay", "--home", home)
    assert told.code == 5
    seq = int(path.stem) + 40
    assert f"from seq {seq}: cannot be replayed: it is no record; see `interlock verify`" in told.out


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("--home", "nowhere"),
        ("--journal", "nowhere"),
        ("--home", "HOME", "--engine", "nobody"),
        ("--home", "HOME", "--engine", "../engine"),
        ("--home", "HOME", "--limits", "nothing.toml"),
        ("--home", "HOME", "--what-if"),
    ],
)
def test_usage(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    """What can't be read, or is asked for wrongly, is exit code 2 and one clear line."""
    home = simple(tmp_path, count=5)
    told = quick("replay", *(str(home) if part == "HOME" else part for part in wrong))
    assert told.code == 2
    assert told.out == ""


def test_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal a bar shows how far it is, and the answer stands at the end."""
    home = simple(tmp_path)
    told = screen("replay", "--home", home)
    assert told.code == 0
    assert "replaying" in told.out
    assert "SAME" in told.out
