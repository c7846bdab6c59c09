"""Segments on real files: turning, closing, compressing, and what a crash in between leaves."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.helpers import (
    FakeClock,
    RecordingVenue,
    abandon,
    arm,
    attach,
    fill,
    halt_home,
    journal,
    of_kind,
    order,
    run_python,
    running,
    sound,
)
from tests.ops.cli_helpers import environment
from typer.testing import CliRunner

import interlock
from interlock import HomeError, Kernel, Mode
from interlock.breaker.compress import compress, compressible
from interlock.breaker.home import Home
from interlock.breaker.segment import chunks, first_of, is_closed, lines, segments
from interlock.breaker.source import code_hash, hash_of
from interlock.ops.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


def stream(home: Path) -> Path:
    """Return the directory of its journal."""
    return Home(home).stream("engine")


def traded(home: Path, clock: FakeClock, *, durability: str = "process", orders: int = 30) -> Kernel:
    """Return a kernel that has made some segments, with a position of 1 and an order that works."""
    kernel = running(home, clock, durability=durability, segment_bytes=4_000)
    venue = RecordingVenue()
    for number in range(orders):
        assert kernel.submit(order(f"o{number}"), venue.send)
        if number:
            kernel.on_cancelled(f"o{number}")
        clock.advance()
        kernel.heartbeat()
    kernel.on_fill(fill("o0", "f0"))
    assert kernel.submit(order("works"), venue.send)
    return kernel


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_a_journal_goes_on_over_segments(home: Path, durability: str) -> None:
    """Segments are begun by size, closed ones are read-only and end in a seal, and the next run knows all of them."""
    clock = FakeClock()
    traded(home, clock, durability=durability).close()
    paths = segments(stream(home))
    assert len(paths) > 5
    records = journal(home)
    assert [one["seq"] for one in records] == list(range(len(records)))
    assert [first_of(path) for path in paths] == [one["seq"] for one in records if one["kind"] == "segment"]
    for path in paths[:-1]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert b'"kind":"seal"' in [*lines(path)][-1]
        assert 4_000 <= path.stat().st_size < 8_000
    assert not is_closed(paths[-1])
    opened = of_kind(home, "segment")
    assert {one["origin"] for one in opened} == {"interlock/11111111-2222-4333-8444-555555555555/engine"}
    assert {one["code"] for one in opened} == {code_hash()}
    assert {one["config"] for one in opened} == {one["limits"] for one in of_kind(home, "run")}
    with attach(home, clock, durability=durability) as again:
        assert again.mode is Mode.IDLE
        assert again.position("XYZ") == "1"
        assert [one.client_order_id for one in again.working_orders()] == ["works"]
    sound(home)


def test_a_day_is_a_segment(home: Path) -> None:
    """A heartbeat of another UTC day begins a segment, and so does an attach."""
    clock = FakeClock()
    kernel = running(home, clock)
    for _ in range(3):
        clock.advance(DAY_MS)
        kernel.heartbeat()
        kernel.heartbeat()
    kernel.close()
    assert len(segments(stream(home))) == 4
    clock.advance(DAY_MS)
    attach(home, clock).close()
    assert len(segments(stream(home))) == 5
    sound(home)


def test_nobody_beats(home: Path) -> None:
    """Without a heartbeat a segment is begun by the seal of a batch, when it has twice its size."""
    clock = FakeClock()
    kernel = running(home, clock, segment_bytes=100_000)
    venue = RecordingVenue()
    for number in range(2_000):
        clock.advance(2)
        assert kernel.submit(order(f"o{number}"), venue.send)
        kernel.on_cancelled(f"o{number}")
    kernel.close()
    sizes = [path.stat().st_size for path in segments(stream(home))]
    assert len(sizes) > 2
    assert max(sizes) < 2 * 100_000 + 1_024 * 500
    sound(home)


def test_order_in_flight_over_a_turn(home: Path) -> None:
    """A send that began in one segment ends in the next, and a halt from outside names its order."""
    kernel = running(home, FakeClock(), segment_bytes=1)
    said = []

    def send(permit: object) -> None:
        permit.redeem()  # type: ignore[attr-defined]
        kernel.heartbeat()
        said.append(halt_home(home, timeout_s=0.05))

    assert kernel.submit(order("a"), send)
    kernel.close()
    (waiting,) = said[0].waiting
    assert [one.client_order_id for one in waiting.in_flight] == ["a"]
    records = journal(home)
    permit, sent = (next(one["seq"] for one in records if one["kind"] == kind) for kind in ("permit", "sent"))
    assert any(permit < one["seq"] < sent for one in records if one["kind"] == "segment")
    sound(home)


# -- Crashes between two segments ---------------------------------------------------------------------


@pytest.fixture
def crashed(home: Path) -> Path:
    """Return a home whose engine died right after a segment was begun."""
    clock = FakeClock()
    kernel = traded(home, clock)
    clock.advance(DAY_MS)
    kernel.heartbeat()
    abandon(kernel)
    last = segments(stream(home))[-1]
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:2]))  # before it told the ledger
    assert [one["kind"] for one in journal(home)][-2:] == ["segment", "seal"]
    return home


def recovered(home: Path) -> None:
    """See that the journal is whole, and nothing is forgotten; twice."""
    for _ in range(2):
        with attach(home, FakeClock()) as kernel:
            assert kernel.mode is Mode.IDLE
            assert kernel.position("XYZ") == "1"
            assert [one.client_order_id for one in kernel.working_orders()] == ["works"]
    records = journal(home)
    assert [one["seq"] for one in records] == list(range(len(records)))
    assert [first_of(path) for path in segments(stream(home))] == [
        one["seq"] for one in records if one["kind"] == "segment"
    ]
    assert [is_closed(path) for path in segments(stream(home))].index(False) == len(segments(stream(home))) - 1
    assert not list(stream(home).glob("*.jsonl.new"))
    sound(home)


def test_crash_before_the_new_one_has_its_name(crashed: Path) -> None:
    """The old one is closed, and the new one has no name, or lost it: the next attach begins one in its place."""
    *_, last = segments(stream(crashed))
    last.rename(last.with_name(f"{last.name}.new"))
    recovered(crashed)


def test_crash_before_the_new_one_is_on_the_disk(crashed: Path) -> None:
    """The new one is not there at all, because the directory was not synced."""
    segments(stream(crashed))[-1].unlink()
    recovered(crashed)


def test_crash_while_the_new_one_is_made(crashed: Path) -> None:
    """The new one is half written, under the name that is not yet its own, and the old one is still open."""
    *_, old, last = segments(stream(crashed))
    last.rename(last.with_name(f"{last.name}.new"))
    last.with_name(f"{last.name}.new").write_bytes(b'{"v":1,"seq"')
    old.chmod(0o600)
    with old.open("ab") as file:
        file.write(b"\0" * 70_000)
    recovered(crashed)


def test_crash_before_the_old_one_is_closed_on_the_disk(crashed: Path) -> None:
    """The old one has still its room and its mode, although the new one has its name."""
    *_, old, _ = segments(stream(crashed))
    old.chmod(0o600)
    with old.open("ab") as file:
        file.write(b"\0" * 70_000)
    recovered(crashed)


@pytest.mark.parametrize("left", [0, 1, 300, 530])
def test_last_segment_that_is_cut_back_to_nothing(crashed: Path, left: int) -> None:
    """A last segment whose beginning no seal closes is set aside, and begun anew before the run."""
    last = segments(stream(crashed))[-1]
    whole = last.read_bytes()
    last.write_bytes(whole[:left])
    first = first_of(last)
    recovered(crashed)
    found = [one["kind"] for one in journal(crashed)[first:]]
    assert found[:2] == ["segment", "run"]
    assert ("recover" in found) is bool(left)
    torn = sorted(stream(crashed).glob("*.torn-*"))
    assert b"".join(path.read_bytes() for path in torn) == whole[:left]


def test_torn_bytes_behind_a_closed_segment_are_set_aside(crashed: Path) -> None:
    """A last segment that is closed, and has torn bytes all the same, is cut and gone on in."""
    *_, old, last = segments(stream(crashed))
    last.unlink()
    old.chmod(0o600)
    with old.open("ab") as file:
        file.write(b"torn")
    old.chmod(0o400)
    recovered(crashed)
    (sidecar,) = stream(crashed).glob("*.torn-*")
    assert sidecar.read_bytes() == b"torn"


def test_change_in_a_closed_segment_is_damage(crashed: Path) -> None:
    """A byte that was changed in any segment, compressed or not, halts at the next attach."""
    paths = segments(stream(crashed))
    for number, packed in ((0, False), (2, False), (1, True)):
        twin = crashed.with_name(f"twin-{number}")
        shutil.copytree(crashed, twin)
        path = stream(twin) / paths[number].name
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(data.replace(b'"ts":17', b'"ts":18', 1))
        path.chmod(0o400)
        if packed:
            compress(path)
        with attach(twin, FakeClock()) as kernel:
            assert kernel.mode is Mode.HALTED
            assert kernel.cause is not None
            assert "damaged" in kernel.cause.reason


def test_two_writers(home: Path) -> None:
    """While one process writes a journal no other can, also after a turn, and with the roster's entry gone."""
    kernel = traded(home, FakeClock())
    (home / "engines" / "engine").unlink()
    before = sorted(path.name for path in segments(stream(home)))
    with pytest.raises(HomeError, match="another process writes to it"):
        attach(home)
    script = (
        "import sys; from tests.helpers import *\ntry: attach(sys.argv[1])\nexcept Exception as error: print(error)"
    )
    assert "another process writes to it" in run_python(script, home)
    assert sorted(path.name for path in segments(stream(home))) == before
    kernel.close()


# -- Compressing ----------------------------------------------------------------------------------------


def test_compressed_segments_are_read_like_plain_ones(home: Path) -> None:
    """After `interlock compress`, beside a running engine, attach, status and verify read the same journal."""
    clock = FakeClock()
    kernel = traded(home, clock)
    before = [b"".join(chunks(path)) for path in segments(stream(home))[:-1]]
    done = CliRunner().invoke(app, ["compress", "--home", str(home), "--json"])
    assert done.exit_code == 0, done.output
    paths = segments(stream(home))
    assert [path.suffix for path in paths] == [".zst"] * (len(paths) - 1) + [".jsonl"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o400 for path in paths[:-1])
    assert [b"".join(chunks(path)) for path in paths[:-1]] == before
    kernel.heartbeat()
    assert kernel.mode is Mode.RUNNING
    kernel.close()
    recovered(home)
    assert CliRunner().invoke(app, ["status", "--home", str(home)]).exit_code == 0
    again = CliRunner().invoke(app, ["compress", "--home", str(home)])
    assert again.exit_code == 0


def test_open_end_is_not_compressed(home: Path) -> None:
    """The segment that an engine goes on from stays plain, also if a crash left it closed."""
    attach(home, FakeClock()).close()
    (path,) = segments(stream(home))
    path.chmod(0o400)
    assert compressible(stream(home)) == []


def test_crash_between_compressed_and_plain(crashed: Path) -> None:
    """Where both are there the plain one counts, whatever the compressed one holds; then it is made anew."""
    path = segments(stream(crashed))[1]
    path.with_name(f"{path.name}.zst").write_bytes(b"half of it")
    path.with_name(f"{path.name}.zst.new").write_bytes(b"half of it")
    assert segments(stream(crashed))[1] == path
    recovered(crashed)
    data = path.read_bytes()
    assert b"".join(chunks(compress(path))) == data
    recovered(crashed)


def test_compressed_segment_that_is_broken_is_told(crashed: Path) -> None:
    """A compressed segment that can't be read is an error of the journal, not a shorter journal."""
    path = compress(segments(stream(crashed))[1])
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:-1], data[:20] + bytes([data[20] ^ 1]) + data[21:], b""):
        path.chmod(0o600)
        path.write_bytes(broken)
        try:
            with attach(crashed, FakeClock()) as kernel:
                assert kernel.mode is Mode.HALTED
        except HomeError as error:
            assert "journal cannot be opened" in str(error)  # noqa: PT017 - either is an answer
        else:
            break  # it was set aside, and what followed with it


def test_what_is_read_back_must_be_what_was_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the compressed file does not read as the plain one does, that stays, and the other goes."""
    clock = FakeClock()
    traded(home, clock).close()
    path = compressible(stream(home))[0]
    data = path.read_bytes()
    real = chunks
    monkeypatch.setattr(
        "interlock.breaker.compress.chunks", lambda name: [b"x"] if name.suffix == ".zst" else real(name)
    )
    with pytest.raises(OSError, match="stays as it is"):
        compress(path)
    assert path.read_bytes() == data
    assert segments(stream(home))[0] == path
    assert [*stream(home).glob("*.zst*")] == []


def test_one_at_a_time_compresses_a_segment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes upon a segment that another process has in hand leaves it alone, and the first one comes to its end."""
    traded(home, FakeClock()).close()
    path = compressible(stream(home))[0]
    data = path.read_bytes()
    real = chunks

    def read(name: Path) -> Iterator[bytes]:
        """The bytes; but at the first ones somebody else begins, who would take away what this one writes."""
        monkeypatch.setattr("interlock.breaker.compress.chunks", real)
        with pytest.raises(OSError, match="another process"):
            compress(path)
        yield from real(name)

    monkeypatch.setattr("interlock.breaker.compress.chunks", read)
    assert b"".join(chunks(compress(path))) == data
    assert not path.exists()
    with pytest.raises(OSError, match="No such file"):
        compress(path)


_KILLED = """
import os, sys
from pathlib import Path
from interlock.breaker.compress import compress
left = int(sys.argv[2])
def step(event, arguments):
    global left
    if event in {"open", "os.rename", "os.remove", "fcntl.flock"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
sys.addaudithook(step)
compress(Path(sys.argv[1]))
"""


def test_kill_at_every_step_of_compressing_loses_nothing(home: Path) -> None:
    """Killed before any step, the journal is whole as it stands, and what was left is compressed the next time."""
    traded(home, FakeClock()).close()
    first = compressible(stream(home))[0]
    data = first.read_bytes()
    for steps in range(100):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, first, str(steps)], check=False, timeout=60, env=environment()
        )
        sound(home)
        assert b"".join(chunks(segments(stream(home))[0])) == data
        if not first.exists():
            break
        assert done.returncode == -signal.SIGKILL, steps
    assert steps > 5
    assert segments(stream(home))[0].suffix == ".zst"


# -- The code -------------------------------------------------------------------------------------------


def test_hash_of_the_code_changes_with_every_file(tmp_path: Path) -> None:
    """The hash tells a changed byte, a moved and an added file, and nothing else than source."""
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "a.py").write_text("a")
    (package / "inner" / "b.py").write_text("b")
    hashes = [hash_of(package)]
    lines = "".join(f"{name}\0{sha256(name[-4].encode()).hexdigest()}\n" for name in ("a.py", "inner/b.py"))
    assert hashes[0] == sha256(lines.encode()).hexdigest()
    assert code_hash() == hash_of(Path(interlock.__file__).parent)
    (package / "note.txt").write_text("no source")
    assert hash_of(package) == hashes[0]
    (package / "a.py").write_text("A")
    hashes.append(hash_of(package))
    (package / "a.py").rename(package / "c.py")
    hashes.append(hash_of(package))
    (package / "d.py").write_text("")
    hashes.append(hash_of(package))
    assert len(set(hashes)) == 4
