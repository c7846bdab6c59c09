"""A kernel that signs: when it does, what it never holds up, and what keeps it from starting."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import (
    UTC_US,
    FakeClock,
    RecordingVenue,
    abandon,
    arm,
    attach,
    journal,
    kinds,
    of_kind,
    order,
    python,
    quote,
    reset_home,
    running,
)
from tests.store.helpers import ring

from interlock import HaltCode, HomeError, Kernel, Mode, Reason
from interlock.adapters.witness import DirectoryWitness
from interlock.breaker.home import Home
from interlock.breaker.segment import chunks, segments
from interlock.breaker.starting import begins_at
from interlock.store.keys import DAY_US, Ring
from interlock.store.witness import Kept, Receipt, WitnessError, WitnessRefusedError
from interlock.verify import Inputs, Report, Status, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from interlock.journal.notes import Note
    from interlock.store.witness import Witness

PATIENCE_S = 60


def files(directory: Path) -> tuple[tuple[str, bytes], ...]:
    """Everything in a directory that has got its name."""
    found = sorted(directory.glob("[!.]*")) if directory.exists() else []
    return tuple((path.name, path.read_bytes()) for path in found)


def report(where: Path, *, engine: str = "engine", anchors: tuple[tuple[str, bytes], ...] = ()) -> Report:
    """What the independent verifier says of a home, with the root's key and all that is in it."""
    home = where / "home"
    inputs = Inputs(
        root_key=(where / "keys" / "root.vkey").read_text(),
        lists=files(home / "keys"),
        notes=files(home / "checkpoints" / engine),
        anchors=anchors,
    )
    return verify(((path.name, chunks(path)) for path in segments(Home(home).stream(engine))), inputs=inputs)


def verified(where: Path, **given: Any) -> Report:
    """The report, which must be VERIFIED with every checkpoint believed."""
    found = report(where, **given)
    assert found.status is Status.VERIFIED, (found.verdict, found.findings, found.in_doubt)
    assert found.checkpoints.believed == found.checkpoints.given
    return found


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that another thread does; a minute at most."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.002)
    raise AssertionError(what)


def whys(home: Path) -> list[str]:
    """Why the checkpoints were made, in their order."""
    return [record["why"] for record in of_kind(home, "checkpoint")]


def told(home: Path, code: str) -> list[str]:
    """What anomalies of a code say."""
    return [record["detail"] for record in of_kind(home, "anomaly") if record["code"] == code]


def signing(where: Path, clock: FakeClock | None = None, **given: Any) -> Kernel:
    """Attach with keys; no checkpoint is made on time or size unless it is asked for."""
    often = {"checkpoint_every_s": 3600.0, "checkpoint_every": 1 << 40}
    return attach(where / "home", clock or FakeClock(), **({"keys": where / "keys"} | often | given))


def busy(home: Path, rounds: int, **given: Any) -> None:
    """Run an engine for so many heartbeats."""
    clock = FakeClock()
    with running(home, clock, **given) as kernel:
        for number in range(rounds):
            clock.advance(5)
            kernel.consult(quote(kernel))
            kernel.submit(order(f"o{number}"), RecordingVenue().send)
            kernel.heartbeat()


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """An armed home, and keys that are valid on the tests' clock."""
    arm(tmp_path / "home")
    ring(tmp_path, now_us=UTC_US - DAY_US)
    return tmp_path


# -- When ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_start_halt_reset_and_shutdown_are_signed(where: Path, durability: str) -> None:
    """Each of them has its checkpoint, and the verifier, which knows the root's key alone, believes them all."""
    with signing(where, durability=durability) as kernel:
        assert kernel.start()
        until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
        kernel.halt("enough")
        until(lambda: "halt" in whys(where / "home"), "no checkpoint of the halt")
        kernel.reset(operator="bob", reason="looked into", epoch=1)
        until(lambda: "reset" in whys(where / "home"), "no checkpoint of the reset")
    assert whys(where / "home") == ["start", "halt", "reset", "shutdown"]
    assert verified(where).checkpoints.given == 4
    last = journal(where / "home")[-2:]
    assert [record["kind"] for record in last] == ["checkpoint", "seal"]
    ended = of_kind(where / "home", "end")[-1]
    assert last[0]["size"] > ended["seq"]


def test_time_makes_checkpoints_and_nothing_new_makes_none(where: Path) -> None:
    """Every so many seconds one is made as long as something happens; a kernel that only waits signs nothing more."""
    with signing(where, checkpoint_every_s=0.02) as kernel:
        until(lambda: "time" in whys(where / "home"), "no checkpoint on time")
        size = until(lambda: _still(kernel), "it never came to rest")
        kernel.anomaly("ODD", "something new")
        until(lambda: kernel.journal_size[0] > size + 2, "no checkpoint of what was new")
        until(lambda: _still(kernel), "it never came to rest")
    counted = whys(where / "home").count("time")
    assert 2 <= counted <= 3, whys(where / "home")
    verified(where)


def _still(kernel: Kernel) -> int:
    """The journal's size, if it is the same for a while in which many checkpoints could be made; else 0."""
    before = kernel.journal_size[0]
    threading.Event().wait(0.3)
    return before if kernel.journal_size[0] == before else 0


def test_size_makes_a_checkpoint(where: Path) -> None:
    """After so many records one is made, before the time for one has come."""
    with signing(where, checkpoint_every=40) as kernel:
        for number in range(60):
            kernel.anomaly("ODD", str(number))
        until(lambda: "size" in whys(where / "home"), "no checkpoint on size")
    verified(where)


def test_a_new_segment_is_signed(where: Path) -> None:
    """When the journal goes on in a new file there is a checkpoint that binds its beginning."""
    clock = FakeClock()
    with signing(where, clock, segment_bytes=1) as kernel:
        clock.advance(5)
        kernel.heartbeat()
        until(lambda: "rotation" in whys(where / "home"), "no checkpoint of the new segment")
    assert len(segments(Home(where / "home").stream("engine"))) > 1
    verified(where)


def test_no_keys_no_checkpoints(where: Path) -> None:
    """Without keys nothing is signed, and no thread is there for it."""
    with running(where / "home", FakeClock()):
        assert not [thread for thread in threading.enumerate() if thread.name == "interlock-notary"]
    assert not (where / "home" / "checkpoints").exists()


def test_the_clock_may_go_back(where: Path) -> None:
    """A checkpoint after a clock was set back is not older than the one before it."""
    clock = FakeClock()
    with signing(where, clock) as kernel:
        kernel.start()
        until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
        clock.now_us -= 3_600_000_000
        kernel.heartbeat()
        kernel.halt("enough")
        until(lambda: "halt" in whys(where / "home"), "no checkpoint of the halt")
    verified(where)


def test_several_engines_of_one_home_sign_each_their_own(where: Path) -> None:
    """Each engine's journal has its own origin, its own notes, and the same keys."""
    with signing(where, engine="one") as one, signing(where, engine="two") as two:
        assert one.start()
        assert two.start()
    for name in ("one", "two"):
        verified(where, engine=name)
    assert [path.name for path in sorted((where / "home" / "checkpoints").iterdir())] == ["one", "two"]


# -- What is on the disk first ---------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_what_is_signed_was_synced_before(where: Path, monkeypatch: pytest.MonkeyPatch, durability: str) -> None:
    """In either durability the file is synced after the seal and before the note is written."""
    seen: list[tuple[str, int]] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        seen.append(("sync", len(journal(where / "home"))))

    from interlock.store import checkpoints  # noqa: PLC0415 - to be patched where it is used

    write = checkpoints.write_durably

    def note(path: Path, data: bytes) -> None:
        seen.append(("note", int(path.name.partition(".")[0])))
        write(path, data)

    with signing(where, durability=durability) as kernel:
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        monkeypatch.setattr(checkpoints, "write_durably", note)
        kernel.start()
        until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
        kernel.halt("enough")
    monkeypatch.undo()
    noted = [place for place, (what, _) in enumerate(seen) if what == "note"]
    assert noted
    for place in noted:
        size = seen[place][1]
        assert any(what == "sync" and lines >= size for what, lines in seen[:place]), (place, seen)
    verified(where)


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_a_disk_that_fails_under_the_notary_halts_and_is_not_signed(
    where: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    """A failed sync breaks the journal, also where no order waits for one: a halt, no retry, no checkpoint."""
    from interlock.breaker import segment  # noqa: PLC0415 - to be patched where it is used

    kernel = signing(where, durability=durability)
    if durability == "disk":
        assert kernel.start()
        until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
    before = whys(where / "home")
    monkeypatch.setattr(segment.Segment, "sync", _raise)
    if durability == "process":
        assert kernel.start()
    kernel.anomaly("ODD", "something to sign")
    kernel._sign("time")
    until(lambda: kernel.mode is Mode.HALTED, "it went on")
    assert kernel.cause is not None
    assert kernel.cause.code is HaltCode.JOURNAL_FAILED
    kernel.close()
    monkeypatch.undo()
    assert whys(where / "home") == before
    assert [int(name.partition(".")[0]) for name, _ in files(where / "home" / "checkpoints" / "engine")] == [
        record["size"] for record in of_kind(where / "home", "checkpoint")
    ]


def test_every_record_of_a_checkpoint_has_its_note_before(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that can't be written has no record: an anomaly counts it, the halt stands, and the next one is made."""
    from interlock.store import checkpoints  # noqa: PLC0415 - to be patched where it is used

    write = checkpoints.write_durably
    full = threading.Event()
    full.set()

    def note(path: Path, data: bytes) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_durably", note)
    with signing(where) as kernel:
        kernel.start()
        until(lambda: told(where / "home", "CHECKPOINT_FAILED"), "no anomaly")
        done = kernel.halt("enough")
        assert done.confirmed
        until(lambda: len(told(where / "home", "CHECKPOINT_FAILED")) == 2, "no second anomaly")
        assert of_kind(where / "home", "checkpoint") == []
        full.clear()
        kernel.reset(operator="bob", reason="room again", epoch=1)
        until(lambda: whys(where / "home") == ["reset"], "no checkpoint once there is room")
    assert told(where / "home", "CHECKPOINT_FAILED")[0].startswith("1 in a row: OSError")
    verified(where)


def test_a_hung_disk_under_the_notes_holds_up_neither_order_nor_halt(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a note can't be written, orders are sent, a halt is confirmed, and the end is not waited for for ever."""
    from interlock.kernel import signing as wiring  # noqa: PLC0415 - to be patched where it is used
    from interlock.store import checkpoints  # noqa: PLC0415

    hung, let_go = threading.Event(), threading.Event()

    def note(path: Path, data: bytes) -> None:
        del path, data
        hung.set()
        let_go.wait(PATIENCE_S)
        message = "it was hung"
        raise OSError(message)

    monkeypatch.setattr(checkpoints, "write_durably", note)
    monkeypatch.setattr(wiring, "_LAST_S", 0.05)
    kernel = signing(where)
    assert kernel.start()
    assert hung.wait(PATIENCE_S)
    venue = RecordingVenue()
    assert kernel.consult(quote(kernel))
    assert kernel.submit(order("o1"), venue.send)
    assert kernel.halt("enough").confirmed
    assert not let_go.is_set()
    kernel.close()
    assert kinds(where / "home")[-1] == "end"
    let_go.set()
    assert venue.seen == ["o1"]
    with attach(where / "home", FakeClock()) as after:  # its locks are free
        assert after.mode is Mode.HALTED


def test_a_run_whose_end_was_not_signed_is_told_by_the_next(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``end`` nobody can tell that its checkpoint failed; so the next run does."""
    from interlock.store import checkpoints  # noqa: PLC0415 - to be patched where it is used

    kernel = signing(where)
    kernel.start()
    until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
    monkeypatch.setattr(checkpoints, "write_durably", _raise)
    kernel.close()
    monkeypatch.undo()
    assert kinds(where / "home")[-1] == "end"
    with signing(where):
        pass
    (said,) = told(where / "home", "CHECKPOINT_MISSED")
    assert "the run before ended with record" in said
    verified(where)
    with signing(where):
        pass
    assert len(told(where / "home", "CHECKPOINT_MISSED")) == 1


def _raise(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_nobody_else_attaches_while_the_end_is_signed(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the last checkpoint is made its engine's place is taken, whatever else is asked of the closed kernel."""
    from interlock.store import checkpoints  # noqa: PLC0415 - to be patched where it is used

    hung, let_go = threading.Event(), threading.Event()
    write = checkpoints.write_durably

    def note(path: Path, data: bytes) -> None:
        hung.set()
        let_go.wait(PATIENCE_S)
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_durably", note)
    kernel = signing(where)
    closing = threading.Thread(target=kernel.close)
    closing.start()
    assert hung.wait(PATIENCE_S)
    kernel.halt("once more", timeout_s=0.05)
    with pytest.raises(HomeError, match="attached already"):
        attach(where / "home")
    let_go.set()
    closing.join(PATIENCE_S)
    assert whys(where / "home") == ["shutdown"]
    with attach(where / "home") as after:
        assert after.mode is Mode.HALTED


def test_a_crash_at_any_moment_leaves_notes_that_hold(where: Path) -> None:
    """A process that is killed while it signs as fast as it can leaves a journal that goes with all of its notes."""
    script = """
        import sys
        from tests.helpers import FakeClock, RecordingVenue, order, quote
        from tests.store.test_signing import signing
        from pathlib import Path
        kernel = signing(Path(sys.argv[1]), checkpoint_every_s=0.001, durability=sys.argv[2])
        print(kernel.start().accepted, flush=True)
        made = set()
        while True:
            kernel.anomaly("ODD", str(len(made)))
            if len(made) < 4:
                made.add(kernel._signing.last)
                if len(made) == 4:
                    print("busy", flush=True)
    """
    for attempt, durability in enumerate(["disk", "process"] * 3):
        with python(script, where, durability) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "True\n", child.stderr.read() if child.stderr else ""
            assert child.stdout.readline() == "busy\n"
            child.kill()
        found = report(where)
        assert found.status is Status.VERIFIED_TO_N, (attempt, found.findings)
        with signing(where) as kernel:
            assert kernel.mode is Mode.IDLE, kernel.cause
        verified(where)
        assert not list((where / "home" / "checkpoints").rglob(".*"))
    assert len(files(where / "home" / "checkpoints" / "engine")) > 6


def test_a_kernel_that_nobody_holds_lets_its_threads_go(where: Path) -> None:
    """The notary keeps no kernel alive, and ends after it."""
    kernel = signing(where)
    kernel.start()
    until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
    abandon(kernel)
    del kernel
    until(lambda: not [one for one in threading.enumerate() if one.name == "interlock-notary"], "the notary stays")


# -- Keys ------------------------------------------------------------------------------------------------


def test_a_key_that_expires_in_the_run_is_told_once(where: Path) -> None:
    """From then on nothing is signed and an anomaly says so; a key that is issued meanwhile goes on."""
    clock = FakeClock()
    with signing(where, clock) as kernel:
        kernel.start()
        until(lambda: whys(where / "home") == ["start"], "no checkpoint of the start")
        clock.now_us += 40 * DAY_US
        clock.now_ns += 40 * DAY_US * 1000
        kernel.halt("enough")
        until(lambda: told(where / "home", "KEY_EXPIRED"), "nobody said that the key has expired")
        kernel.reset(operator="bob", reason="looked into", epoch=1)
        assert kernel.start().reason is Reason.NO_KEY
        ring(where, now_us=clock.now_us - DAY_US, label="second")
        assert kernel.start()
        until(lambda: whys(where / "home")[-1] == "start" and len(whys(where / "home")) == 2, "nothing signed again")
    assert len(told(where / "home", "KEY_EXPIRED")) == 1
    assert [name for name, _ in files(where / "home" / "keys")] == ["0001.note", "0002.note"]
    verified(where)


def test_no_valid_key_no_start(where: Path) -> None:
    """A key that has expired, or is not valid yet, starts nothing; cancels still pass."""
    for days in (-40, 40):
        clock = FakeClock(utc_us=UTC_US - days * DAY_US)
        with signing(where, clock) as kernel:
            verdict = kernel.start()
            assert verdict.reason is Reason.NO_KEY
            assert "interlock keys issue" in str(verdict.value)
            assert kernel.mode is Mode.IDLE
    assert of_kind(where / "home", "start") == []


def test_keys_that_are_not_as_they_should_be_are_refused(where: Path) -> None:
    """A directory in a home, one without lists, and an open one raise before anything is attached."""
    for keys in (where / "none", where / "home" / "keys", where / "root" / "none"):
        with pytest.raises(HomeError) as caught:
            signing(where, keys=keys)
        assert caught.value.code is HaltCode.KEYS_INVALID
    (where / "keys").chmod(0o777)
    with pytest.raises(HomeError, match="chmod go-w"):
        signing(where)
    (where / "keys").chmod(0o700)
    signing(where).close()


def test_lists_that_go_back_are_refused(where: Path) -> None:
    """A home that has seen a later list, or another one of the same number, does not go on with an earlier one."""
    shutil.copytree(where / "keys", where / "old")
    shutil.copytree(where / "root", where / "copy")
    ring(where, now_us=UTC_US - DAY_US + 1, label="second")
    signing(where).close()
    with pytest.raises(HomeError, match="went back"):
        signing(where, keys=where / "old")
    shutil.rmtree(where / "root")
    (where / "copy").rename(where / "root")
    shutil.rmtree(where / "keys")
    (where / "old").rename(where / "keys")
    ring(where, now_us=UTC_US - DAY_US + 2, label="forged")
    with pytest.raises(HomeError, match="two different lists 2"):
        signing(where)


def test_private_keys_come_nowhere_near_the_home(where: Path) -> None:
    """No file of the home holds a private key in any form that is on the disk elsewhere."""
    with signing(where) as kernel:
        kernel.start()
    pem = [path.read_bytes().split(b"\n")[1] for path in (where / "keys" / "private").iterdir()]
    raw = [path.read_bytes() for path in (where / "home").rglob("*") if path.is_file()]
    assert pem
    assert all(secret not in data and b"PRIVATE" not in data for secret in pem for data in raw)


# -- Rolled back -----------------------------------------------------------------------------------------


def grown(where: Path, **given: Any) -> Path:
    """Run twice, and keep what the home was between; the way to that copy."""
    with signing(where, **given) as kernel:
        kernel.start()
    shutil.copytree(where / "home", where / "before")
    with signing(where, **given) as kernel:
        kernel.start()
    return where / "before"


def put_back(where: Path, before: Path, *parts: str) -> None:
    """Put parts of the home back as they were."""
    for part in parts:
        shutil.rmtree(where / "home" / part)
        shutil.copytree(before / part, where / "home" / part)


def test_a_journal_that_is_rolled_back_comes_up_halted_and_does_not_start(where: Path) -> None:
    """Shorter than its checkpoint it is HALTED, with or without keys; not even a reset makes it start or sign again."""
    put_back(where, grown(where), "journal")
    signed = files(where / "home" / "checkpoints" / "engine")
    for keys in (None, where / "keys"):
        with signing(where, keys=keys) as kernel:
            assert kernel.mode is Mode.HALTED
            assert kernel.cause is not None
            assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
            assert not kernel.start()
    reset_home(where / "home", 1, 1)
    with signing(where) as kernel:
        assert kernel.mode is Mode.HALTED
        kernel.reset(operator="bob", reason="it is all right, I think", epoch=2)
        assert kernel.start().reason is Reason.JOURNAL_ROLLED_BACK
        assert kernel.mode is Mode.IDLE
    assert files(where / "home" / "checkpoints" / "engine") == signed


def test_a_journal_that_was_written_anew_comes_up_halted(where: Path) -> None:
    """Longer than its checkpoint and with all seals right, but with another root at that size: HALTED."""
    shutil.copytree(where / "home", where / "fork")
    with signing(where) as kernel:
        kernel.start()
    with attach(where / "fork", FakeClock(utc_us=UTC_US + 1)) as kernel:
        for number in range(20):
            kernel.anomaly("ODD", str(number))
    put_back(where, where / "fork", "journal")
    with signing(where) as kernel:
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
        assert "another root" in kernel.cause.reason


def test_a_newest_note_that_cannot_be_read_halts(where: Path) -> None:
    """A damaged, foreign or oversized newest checkpoint is no reason to go on without one."""
    with signing(where) as kernel:
        kernel.start()
    newest = max((where / "home" / "checkpoints" / "engine").iterdir())
    data = newest.read_bytes()
    newest.write_bytes(data.replace(b"engine\n", b"enginf\n", 1))
    with signing(where) as kernel:
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK


@pytest.mark.parametrize("gone", ["all", "the newest"])
def test_notes_that_were_removed_are_missed(where: Path, gone: str) -> None:
    """A home whose journal tells of a checkpoint of which there is no note comes up HALTED, with keys or without."""
    with signing(where) as kernel:
        kernel.start()
    notes = sorted((where / "home" / "checkpoints" / "engine").iterdir())
    for path in notes if gone == "all" else notes[-1:]:
        path.unlink()
    for keys in (None, where / "keys"):
        with signing(where, keys=keys) as kernel:
            assert kernel.cause is not None
            assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
            assert "no note of that" in kernel.cause.reason
            assert not kernel.start()


def test_notes_of_an_earlier_segment_that_were_removed_are_missed(where: Path) -> None:
    """They are missed, too, where a recovery begins with a later segment, in which nothing was signed."""
    clock = FakeClock()
    with signing(where, clock) as kernel:
        kernel.start()
    with signing(where, clock, keys=None, segment_bytes=1) as kernel:
        kernel.heartbeat()
    paths = segments(Home(where / "home").stream("engine"))
    assert begins_at(paths, Home(where / "home").read_limits()[1]) > 1
    shutil.rmtree(where / "home" / "checkpoints")
    with signing(where, clock, keys=None) as kernel:
        assert kernel.cause is not None
        assert "no note of that" in kernel.cause.reason


# -- Witnesses -------------------------------------------------------------------------------------------


class Memory:
    """A witness in this process, as a test wants it.

    Attributes:
        silent: raise, as if nobody answered.
        refuse: refuse what is handed over.
    """

    remembers = True

    def __init__(self, name: str = "memory", *, tells_root: bool = True) -> None:
        self.name = name
        self.kept: list[tuple[int, str]] = []
        self.silent = self.refuse = False
        self.hang: threading.Event | None = None
        self._tells_root = tells_root

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Take it."""
        del proof
        if self.hang is not None:
            self.hang.wait(PATIENCE_S)
        if self.refuse:
            message = "seen another one"
            raise WitnessRefusedError(message)
        self._answer()
        lines = note.text.split("\n")
        self.kept.append((int(lines[1]), lines[2]))
        return Receipt()

    def latest(self, note: Note) -> Kept | None:
        """Tell it."""
        del note
        self._answer()
        if not self.kept:
            return None
        from base64 import b64decode  # noqa: PLC0415 - here alone

        size, root = self.kept[-1]
        return Kept(size=size, root=b64decode(root).hex() if self._tells_root else None)

    def _answer(self) -> None:
        if self.silent:
            message = "nobody there"
            raise WitnessError(message)


@pytest.fixture(params=["directory", "root", "size"])
def witness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Witness]:
    """A witness that remembers: a real directory, one that tells the root, and one that tells the size alone."""
    if request.param == "directory":
        (tmp_path / "volume").mkdir()
        DirectoryWitness.make(tmp_path / "volume")
        yield DirectoryWitness(tmp_path / "volume")
    else:
        yield Memory(tells_root=request.param == "root")


def test_every_checkpoint_comes_to_the_witness(where: Path, witness: Witness) -> None:
    """The witness has the last one when the kernel is closed, and the journal says which it took."""
    with signing(where, witnesses=[witness]) as kernel:
        kernel.start()
    kept = witness.latest(_newest(where))
    assert kept is not None
    assert kept.size == of_kind(where / "home", "checkpoint")[-1]["size"]
    anchors = of_kind(where / "home", "anchor")
    assert (anchors[-1]["size"], anchors[-1]["witness"]) == (kept.size, witness.name)
    verified(where)


def _newest(where: Path) -> Note:
    from interlock.store.checkpoints import Notes  # noqa: PLC0415 - here alone

    newest = Notes(where / "home", "engine").newest()
    assert newest is not None
    return newest.note


def test_a_home_that_is_rolled_back_whole_is_told_by_the_witness(where: Path, witness: Witness) -> None:
    """Journal, checkpoints, latch and page of an earlier day: only who is outside knows, and it does not start."""
    before = grown(where, witnesses=[witness])
    shutil.rmtree(where / "home")
    before.rename(where / "home")
    signing(where).close()  # without the witness nobody can tell
    with signing(where, witnesses=[witness]) as kernel:
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
        assert witness.name in kernel.cause.reason
        assert not kernel.start()


def test_a_fork_is_told_by_a_witness_that_has_its_root(where: Path) -> None:
    """As long as what the witness has and longer, but another journal: it does not start."""
    witness = Memory()
    with signing(where) as kernel:
        kernel.start()
    witness.kept = [(of_kind(where / "home", "checkpoint")[0]["size"], "AAAA" * 10 + "AAA=")]
    with signing(where, witnesses=[witness]) as kernel:
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK


def test_a_fork_is_told_by_a_witness_that_tells_its_size_alone(where: Path) -> None:
    """Such a witness is handed the newest checkpoint and refuses it; and of a later size there must be a note here."""
    witness = Memory(tells_root=False)
    with signing(where) as kernel:
        kernel.start()
    size = of_kind(where / "home", "checkpoint")[0]["size"]
    witness.kept = [(size, "")]
    witness.refuse = True
    with signing(where, witnesses=[witness]) as kernel:
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
    reset_home(where / "home", 1, 1)
    witness.refuse = False
    witness.kept = [(len(journal(where / "home")), "")]
    with signing(where, witnesses=[witness]) as kernel:
        assert kernel.cause is not None
        assert "no note here" in kernel.cause.reason


def test_a_silent_witness_keeps_out_until_it_answers(where: Path, witness: Witness) -> None:
    """With a witness that can't be asked nothing starts and nothing is signed; once it answers both happen."""
    quiet = Memory("quiet")
    quiet.silent = True
    with signing(where, witnesses=[witness, quiet]) as kernel:
        verdict = kernel.start()
        assert verdict.reason is Reason.WITNESS_SILENT
        assert "quiet: nobody there" in str(verdict.value)
        assert kernel.mode is Mode.IDLE
        assert not (where / "home" / "checkpoints").exists()
        quiet.silent = False
        assert kernel.start()
        until(lambda: whys(where / "home") == ["start"], "nothing is signed")
    assert told(where / "home", "WITNESS_SILENT") == ["quiet: nobody there"]
    verified(where)


def test_a_witness_that_answers_late_that_it_was_rolled_back_halts(where: Path) -> None:
    """What is heard at the start counts like what is heard at the attach."""
    witness = Memory()
    witness.silent = True
    witness.kept = [(10_000, "AAAA" * 10 + "AAA=")]
    with signing(where, witnesses=[witness]) as kernel:
        assert not kernel.start()
        witness.silent = False
        assert kernel.start().reason is Reason.JOURNAL_ROLLED_BACK
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_ROLLED_BACK
    assert not (where / "home" / "checkpoints").exists()


def test_a_quorum_is_enough(where: Path) -> None:
    """Of three witnesses two have to answer; and one that has something against it is heard whatever the quorum is."""
    three = [Memory(name) for name in ("a", "b", "c")]
    three[0].silent = three[1].silent = True
    with signing(where, witnesses=three, witness_quorum=2) as kernel:
        assert kernel.start().reason is Reason.WITNESS_SILENT
        three[1].silent = False
        assert kernel.start()
    three[2].kept.append((10_000, "AAAA" * 10 + "AAA="))
    with signing(where, witnesses=three, witness_quorum=1) as kernel:
        assert kernel.mode is Mode.HALTED


def test_a_witness_that_fails_in_the_run_is_counted_and_holds_up_nobody(where: Path) -> None:
    """One that hangs and one that refuses: orders, halts and the other witness go on, and anomalies tell of both."""
    good, slow, wrong = Memory("good"), Memory("slow"), Memory("wrong")
    slow.hang = threading.Event()
    with signing(where, witnesses=[good, slow, wrong]) as kernel:
        wrong.refuse = True
        assert kernel.start()
        until(lambda: good.kept, "the good witness got nothing")
        assert kernel.consult(quote(kernel))
        assert kernel.submit(order("o1"), RecordingVenue().send)
        assert kernel.halt("enough").confirmed
        until(lambda: told(where / "home", "WITNESS_REFUSED"), "nobody said that it was refused")
        assert slow.kept == []
        slow.hang.set()
        until(lambda: slow.kept, "the slow one got nothing in the end")
    assert told(where / "home", "WITNESS_REFUSED")[0] == "wrong, 1 in a row: seen another one"
    assert {record["witness"] for record in of_kind(where / "home", "anchor")} == {"good", "slow"}
    verified(where)


def test_what_a_witness_lacks_it_gets_at_the_next_attach(where: Path) -> None:
    """A checkpoint that did not come to the witness before the end is handed over by the next run."""
    witness = Memory()
    with signing(where, witnesses=[witness]) as kernel:
        kernel.start()
    missing = witness.kept.pop()
    with signing(where, witnesses=[witness]):
        until(lambda: missing in witness.kept, "it was not handed over")
    verified(where)


@pytest.mark.parametrize(
    "given",
    [
        {"keys": None, "witnesses": [Memory()]},
        {"witnesses": [Memory("a"), Memory("a")]},
        {"witnesses": [Memory("../a")]},
        {"witnesses": [Memory("")]},
        {"witnesses": [Memory()], "witness_quorum": 2},
        {"witness_quorum": 1},
        {"witness_quorum": -1},
        {"checkpoint_every_s": 0.0},
        {"checkpoint_every_s": float("nan")},
        {"checkpoint_every": 0},
    ],
)
def test_what_does_not_go_together_is_refused(where: Path, given: dict[str, Any]) -> None:
    """Witnesses without keys or names, a quorum that can't be, and intervals of nothing raise before any attach."""
    with pytest.raises(ValueError, match=r"witness|checkpoint"):
        signing(where, **given)
    signing(where).close()


def test_the_ring_of_an_attached_kernel_is_the_directorys(where: Path) -> None:
    """The key that a checkpoint names is the listed one, under the journal's name."""
    with signing(where) as kernel:
        kernel.start()
    listed = Ring.open(where / "keys")
    (key,) = listed.keys
    origin = f"interlock/{Home(where / 'home').identity()}/engine"
    assert of_kind(where / "home", "checkpoint")[0]["key"] == listed.signer(key, origin).verifier.key.hex()


def test_without_a_thread_to_sign_in_nothing_starts(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notary who can't be posted is no attach that fails, and no start; once he can be, it starts and signs."""
    from interlock.store.notary import Notary  # noqa: PLC0415 - to be patched where it is used

    def start(*_: object) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with monkeypatch.context() as patched:
        patched.setattr(Notary, "start", start)
        kernel = signing(where)
        assert kernel.start().reason is Reason.HALTED
    with kernel:
        assert kernel.start()
    assert whys(where / "home")[-1] == "shutdown"
    verified(where)
