"""Each step of a killer by itself: what it leaves, what it tells, how often it tries, and whom it waits for."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import HOME_ID, arm, halted_by, reset_home

from interlock import HaltCode
from interlock.breaker import kill as kills
from interlock.breaker.filepage import FilePage
from interlock.breaker.kill import Kill, bounded, longest_s
from interlock.breaker.latch import ARMED as ARMED_STATE
from interlock.breaker.latch import HALTED, LatchError, read_latch, write_latch
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import VARIABLE, place
from interlock.breaker.page import Page
from interlock.breaker.quiet import Waiting
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.breaker.home import Home
    from interlock.breaker.latch import Latch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


@pytest.fixture
def kill(home: Home) -> Kill:
    """Return a killer of it that has done nothing yet."""
    return Kill(home, halted_by())


@pytest.fixture
def nowhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process no memory disk."""
    monkeypatch.setenv(VARIABLE, str(home.path / "nowhere"))


def write(kill: Kill, seconds: float = 0.0) -> None:
    """Let it write the latch, to the end of its trying."""
    assert kill.write_latch(time.monotonic() + seconds).wait(60)


def memory_of(home: Home) -> tuple[int, int]:
    """Return device and inode of its page in memory."""
    with place(home.path, HOME_ID) as at:
        found = (at.path / "page").stat()
    return found.st_dev, found.st_ino


@contextmanager
def held(home: Home, *, alone: bool = True) -> Iterator[None]:
    """Have the pen, as a reset has it alone, or a halt with others."""
    with closing(Pen(home.path)) as pen:
        assert pen.exclusive() if alone else pen.shared()
        yield


def failing(number: int = errno.EIO) -> Callable[..., Any]:
    """Return what a disk does that fails."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fails


# -- Times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(5.0, 5.0), (0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 86_400.0), (1e-9, 1e-9)],
)
def test_time_to_wait_is_one_that_every_clock_can_take(asked: float, seconds: float) -> None:
    """Below zero and no number are no wait, and for ever is a day."""
    assert bounded(asked) == seconds


@pytest.mark.parametrize(("asked", "escalate", "seconds"), [(0, False, 2), (5, False, 5), (0, True, 6), (5, True, 9)])
def test_how_long_a_halt_may_take(asked: float, escalate: bool, seconds: float) -> None:
    """As long as it was asked to wait, two seconds for the disk at least, and twice two for those that are killed."""
    assert longest_s(asked, escalate=escalate) == seconds


def test_killer_has_reached_nothing_at_first(home: Home, kill: Kill) -> None:
    """What it did not do yet is not told, and no moment of it."""
    assert (kill.stopped, kill.durable, kill.again, kill.problems, kill.killed) == (False, False, False, [], [])
    assert (kill.stopped_ns, kill.durable_ns, kill.confirmed_ns) == (0, 0, 0)
    assert 0 < kill.called_ns <= time.monotonic_ns()
    assert (kill._filed, kill._trouble, kill._file_trouble, kill._memories) == (False, "", "", set())
    page = Page(home.page, HOME_ID)
    assert Kill(home, halted_by(), page)._memories == {page.memory}


# -- SetByte ---------------------------------------------------------------------------------------


def test_byte_is_set_and_the_memory_known(home: Home, kill: Kill) -> None:
    """Which memory was halted is remembered, for who looks at it has stopped; the record is left there."""
    kill.set_byte()
    assert (kill.stopped, kill._memories, kill.problems) == (True, {memory_of(home)}, [])
    assert kill.called_ns <= kill.stopped_ns <= time.monotonic_ns()
    assert b'"pulled"' in Page(home.page, HOME_ID).left()


def test_cause_that_is_no_text_stops_and_is_told(home: Home) -> None:
    """The byte is set without a record."""

    def wrong(_: Latch) -> Latch:
        message = "no"
        raise TypeError(message)

    kill = Kill(home, wrong)
    kill.set_byte()
    assert (kill.stopped, kill.problems) == (True, ["the cause is no text: no"])


def test_memory_that_cannot_be_reached_is_told(kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stopped then, and the message says by which file."""
    monkeypatch.setattr(
        kills,
        "halt_all",
        lambda *_: (set(), [OSError(errno.EIO, "Input/output error", "x"), LatchError(HaltCode.EXTERNAL, "bad")]),
    )
    kill.set_byte()
    assert (kill.stopped, kill.stopped_ns, kill.problems) == (False, 0, ["x: Input/output error", "bad"])


# -- SetFile ---------------------------------------------------------------------------------------


def test_file_says_halt_with_the_pen(home: Home, kill: Kill) -> None:
    """While a reset has the pen that is left for later, and told until it is done."""
    kill.set_byte()
    with held(home):
        assert kill._set_file() is False
        assert kill._file_trouble == "the page on the disk does not say so yet: a reset is writing it"
    assert home.page.read_bytes()[0] == ARMED
    with held(home, alone=False):
        assert kill._set_file() is True
    assert (kill._file_trouble, home.page.read_bytes()[0], kill._mirrored()) == ("", 0, True)


def test_disk_that_refuses_the_file_is_tried_again(kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why, and by which file."""
    kill.set_byte()
    with monkeypatch.context() as disk:
        disk.setattr(Page, "mirror", failing())
        assert kill._set_file() is False
    assert kill._file_trouble == "the page on the disk does not say so yet: [Errno 5] Input/output error"
    assert kill._set_file() is True


def test_page_that_is_no_page_is_told_once(home: Home, kill: Kill) -> None:
    """There is no more to do by the file, and engines see what it is for themselves."""
    kill.set_byte()
    home.page.unlink()
    assert kill._set_file() is True
    assert kill._set_file() is True
    assert kill.problems == [f"{home.page}: there is no page"]


@pytest.mark.parametrize(
    ("byte", "mark", "stopped", "again"),
    [
        (ARMED, 7, False, True),
        (ARMED, 7, True, False),
        (0, 7, False, False),
        (0, 0, True, True),
        (ARMED, 0, True, True),
    ],
)
def test_page_in_memory_is_halted_if_no_byte_was_set_there(
    kill: Kill, monkeypatch: pytest.MonkeyPatch, byte: int, mark: int, stopped: bool, again: bool
) -> None:
    """A page that was just made has known no halt; one that is armed although we set no byte was not reached."""
    halts: list[int] = []
    page = SimpleNamespace(map=[byte], mark=mark, memory=(1, 2), halt=lambda: halts.append(1))
    monkeypatch.setattr(kill, "_page", lambda: page, raising=False)
    kill.stopped = stopped
    assert kill._halted_page() is page
    assert (len(halts), kill._memories, kill.stopped) == (again, {(1, 2)}, True)
    assert bool(kill.stopped_ns) is not stopped


@pytest.mark.usefixtures("nowhere")
def test_who_has_no_memory_halts_by_the_file(home: Home, kill: Kill) -> None:
    """Byte, mark and record, and all that is told of it."""
    assert kill._set_file() is True
    file = FilePage(home.page, HOME_ID)
    assert (file.byte, file.halts != 0, b'"pulled"' in file.left()) == (0, True, True)
    assert (kill.stopped, kill._mirrored(), kill.stopped_ns > 0) == (True, True, True)
    assert len(kill.problems) == 1
    assert "nowhere" in kill.problems[0]


@pytest.mark.usefixtures("nowhere")
def test_file_alone_is_halted_without_a_record_that_is_no_text(home: Home) -> None:
    """The byte says halt."""

    def wrong(_: Latch) -> Latch:
        raise TypeError

    assert Kill(home, wrong)._set_file() is True
    file = FilePage(home.page, HOME_ID)
    assert (file.byte, file.left()) == (0, b"")


# -- WriteLatch ------------------------------------------------------------------------------------


def test_file_and_record_are_tried_until_both_are_done(kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time both are tried, whatever came of the other; a moment passes between, and none after the deadline."""
    now, slept, tried = [100.0], [], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def step(name: str, done: int) -> Callable[[Kill], bool]:
        def take(_: Kill) -> bool:
            tried.append(name)
            return tried.count(name) >= done

        return take

    monkeypatch.setattr(kills, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, monotonic_ns=lambda: 7))
    for file, latch, rounds in ((1, 1, 1), (3, 1, 3), (1, 3, 3), (99, 99, 3)):
        tried.clear()
        slept.clear()
        monkeypatch.setattr(Kill, "_set_file", step("file", file))
        monkeypatch.setattr(Kill, "_latch", step("latch", latch))
        assert kill.write_latch(now[0] + 0.1).wait(60)
        assert (tried, slept) == (["file", "latch"] * rounds, [0.05] * (rounds - 1))


def test_moment_of_the_record_is_told_if_it_lasts(home: Home, kill: Kill) -> None:
    """Zero, if it does not."""
    with held(home):
        write(kill)
    assert (kill.durable, kill.durable_ns) == (False, 0)
    write(kill)
    assert kill.durable
    assert 0 < kill.durable_ns <= time.monotonic_ns()


def test_record_is_written_by_a_thread_that_holds_up_nobody_or_without_one(
    home: Home, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for the thread at the end of the process; if there is none to be had it is done at once."""
    over, names = threading.Event(), []

    def latch(_: Kill) -> bool:
        me = threading.current_thread()
        names.append((me.name, me.daemon))
        over.wait(60)
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Kill, "_latch", latch)
        done = kill.write_latch(0.0)
        assert not done.is_set()
        over.set()
        assert done.wait(60)
    assert names == [("interlock-latch", True)]

    def none(_: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", none)
    assert kill.write_latch(0.0).is_set()
    assert kill.durable
    assert read_latch(home.latch)[0].state == HALTED


@pytest.mark.parametrize(
    ("code", "case", "durable"),
    [
        (HaltCode.LATCH_CORRUPT, "", True),
        (HaltCode.LATCH_CORRUPT, "not known to last", False),
        (HaltCode.LATCH_CORRUPT, "gone", False),
        (HaltCode.HOME_UNREADABLE, "", False),
    ],
)
def test_record_that_makes_no_sense_is_a_halt_that_lasts(
    kill: Kill, monkeypatch: pytest.MonkeyPatch, code: HaltCode, case: str, durable: bool
) -> None:
    """Unless only we can't read it, or it is gone, or nobody knows whether it is on the disk."""

    def read(*_: object) -> None:
        raise LatchError(code, "what is wrong")

    monkeypatch.setattr(kills, "read_latch", read)
    if case == "not known to last":
        monkeypatch.setattr(kills, "settle", failing())
    if case == "gone":
        kill.home.latch.unlink()
    assert kill._latch() is True
    assert (kill.durable, kill._trouble) == (durable, "what is wrong")


def test_record_of_another_halt_is_made_to_last(home: Home, kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it may not have come so far; our own, and one that was settled, is not settled again."""
    write_latch(home.latch, halted_by()(read_latch(home.latch)[0]))
    settled: list[Path] = []
    monkeypatch.setattr(kills, "settle", settled.append)
    for _ in range(2):
        assert kill._latch() is True
        assert settled == [home.latch]
    monkeypatch.setattr(kills, "settle", failing())
    other = Kill(home, halted_by())
    assert other._latch() is False
    assert (other.durable, other._trouble) == (False, "the latch is not yet durable: [Errno 5] Input/output error")


def test_record_waits_for_a_reset(home: Home, kill: Kill) -> None:
    """It says so until it is written, and then nothing."""
    with held(home):
        assert kill._latch() is False
        assert (kill.durable, kill._trouble) == (False, "the latch is not yet durable: a reset is writing it")
    assert kill._latch() is True
    assert (kill.durable, kill._trouble) == (True, "")


@pytest.mark.parametrize("whose", ["same", "other", "none", "again"])
def test_record_that_was_left_is_the_one_that_is_written(home: Home, whose: str) -> None:
    """The very one, in the epoch that stands there, if it is this home's and no reset has come since; else one anew."""
    made: list[Latch] = []

    def cause(latch: Latch) -> Latch:
        made.append(halted_by(reason=f"number {len(made)}")(latch))
        return made[-1]

    kill = Kill(home, cause)
    if whose != "none":
        kill.set_byte()
        assert kill._left is made[0]
    if whose == "other":
        kill._left = attrs.evolve(made[0], home="another")
    kill.again = whose == "again"
    latch, _ = read_latch(home.latch)
    write_latch(home.latch, attrs.evolve(latch, epoch=5))
    assert kill._replace() is True
    found, _ = read_latch(home.latch)
    number = 0 if whose in {"same", "none"} else 1
    assert (found.reason, found.epoch, found.home, len(made)) == (f"number {number}", 5, HOME_ID, number + 1)
    assert kill._lasting == found


# -- WaitQuiet, LookAgain --------------------------------------------------------------------------


def test_ack_is_given_under_the_lock_and_lets_go_of_it(home: Home, kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment of the ack lies within the time in which nobody else had the lock."""
    kill.set_byte()
    write(kill)
    looked: list[bool] = []
    real = Kill.look_again

    def look(one: Kill) -> bool:
        with closing(FileLock(home.lock)) as lock:
            looked.append(lock.shared())
        return real(one)

    monkeypatch.setattr(Kill, "look_again", look)
    assert kill.wait_quiet(time.monotonic())
    assert looked == [False]
    assert kill.stopped_ns <= kill.confirmed_ns <= time.monotonic_ns()
    with closing(FileLock(home.lock)) as lock:
        assert lock.exclusive()


@pytest.mark.usefixtures("nothing_left_open")
def test_nobody_is_waited_for_longer_than_asked(home: Home, kill: Kill) -> None:
    """A deadline that has passed is no wait."""
    with closing(FileLock(home.lock)) as lock:
        assert lock.shared()
        assert not kill.wait_quiet(time.monotonic() - 1)
    assert kill.confirmed_ns == 0
    home.lock.unlink()
    assert not kill.wait_quiet(time.monotonic())
    assert kill.problems == [f"{home.lock}: No such file or directory: nobody can tell who is still sending"]


def test_page_is_opened_anew_if_it_is_another_by_now(home: Home, kill: Kill) -> None:
    """A mapping that is the home's still is used again."""
    one = kill._page()
    assert kill._page() is one
    copy = home.path / "copy"
    copy.write_bytes(home.page.read_bytes())
    copy.rename(home.page)
    other = kill._page()
    assert other is not one
    home.page.unlink()
    with pytest.raises(LatchError):
        kill._page()
    assert kill._mapped is None


def test_ack_waits_a_moment_for_the_file_and_then_for_the_roster(
    home: Home, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a second at most for the file, never beyond the deadline; for the roster as long as was asked."""
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(kills, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    waits: list[int] = []
    mirrored: list[int] = []
    monkeypatch.setattr(Kill, "waiting", lambda _, *, locked: len(waits) < 3 and not waits.append(int(locked)))
    monkeypatch.setattr(Kill, "_mirrored", lambda _: len(mirrored) >= 3 or mirrored.append(1))
    with closing(FileLock(home.lock)) as lock:
        assert kill._agreed(lock, 1000.0)
        assert (slept, waits) == ([0.0001] * 3 + [0.005] * 3, [1, 1, 1])
        slept.clear()
        mirrored.clear()
        waits.clear()
        assert not kill._agreed(lock, now[0])
        assert (slept, waits) == ([], [1])
        monkeypatch.setattr(Kill, "_mirrored", lambda _: False)
        monkeypatch.setattr(Kill, "waiting", lambda *_, **__: ())
        assert kill._agreed(lock, 1000.0)
        assert round(sum(slept), 4) in {0.25, 0.2501}


def test_look_under_the_lock_finds_a_page_that_is_gone(home: Home, kill: Kill) -> None:
    """Who set the byte before has stopped all; one that set none, or whose file says armed again, has not."""
    kill.set_byte()
    home.page.rename(home.path / "aside")
    assert kill.look_again() is True
    kill.stopped = False
    assert kill.look_again() is False


@pytest.mark.parametrize(("armed", "reached", "ack"), [(False, False, True), (True, True, True), (True, False, False)])
def test_page_that_is_armed_again_is_halted_again(
    home: Home, kill: Kill, monkeypatch: pytest.MonkeyPatch, armed: bool, reached: bool, ack: bool
) -> None:
    """And the record with it, in the epoch that the reset made; if not all are reached by that it is no ack."""
    kill.set_byte()
    write(kill)
    if armed:
        reset_home(home.path, 1)
    if not reached:
        monkeypatch.setattr(Page, "mirror", failing())
        who = Waiting(engine="a", pid=1, in_flight=(), why="it has another memory disk")
        monkeypatch.setattr(Kill, "waiting", lambda *_, **__: (who,))
    assert kill.look_again() is ack
    latch, _ = read_latch(home.latch)
    assert (latch.state, latch.epoch) == ((HALTED, 2) if armed and ack else (ARMED_STATE, 2) if armed else (HALTED, 1))
    assert Page(home.page, HOME_ID).map[0] == 0
    assert kill.again is (armed and ack)
