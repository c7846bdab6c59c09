"""The killer's steps by themselves, where one thing or another goes wrong between two of them."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.helpers import HOME_ID, OTHER_ID, arm, halted_by

from interlock.breaker import kill as kills
from interlock.breaker.kill import Kill
from interlock.breaker.latch import HALTED, read_latch, write_latch
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import place
from interlock.breaker.outstanding import _not_out
from interlock.breaker.page import halt_all
from interlock.breaker.quiet import Waiting
from interlock.breaker.roster import Berth, engines
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.breaker.home import Home
    from interlock.breaker.latch import Latch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


def write(kill: Kill) -> None:
    """Let it write the latch, to the end of its trying."""
    assert kill.write_latch(time.monotonic()).wait(60)


def test_cause_that_makes_no_record_halts_and_is_no_durable_halt(home: Home) -> None:
    """A record that can't be spelt is told; emission has stopped by then, and the file says what it said before."""

    def wrong(latch: Latch) -> Latch:
        made = halted_by()(latch)
        object.__setattr__(made, "ts_us", object())
        return made

    kill = Kill(home, wrong)
    kill.set_byte()
    write(kill)
    quiet = kill.run(0.0)
    assert not quiet.durable
    assert "the latch is not durable" in quiet.message
    assert home.latch_state()[2] == 0


def test_halt_that_was_written_meanwhile_is_durable_as_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the record halted when it has the pen leaves that one, and makes it last."""
    first = halted_by("eve")(read_latch(home.latch)[0])
    real = read_latch

    def read(path: Path, whose: str | None = None) -> object:
        found = real(path, whose)
        if found[0].state != HALTED:
            write_latch(home.latch, first)  # by another killer, just after we looked
        return found

    monkeypatch.setattr(kills, "read_latch", read)
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    assert kill.durable
    assert read_latch(home.latch)[0] == first


def test_record_that_is_gone_lasts_nowhere(home: Home) -> None:
    """A record that can't be synced is not known to last."""
    kill = Kill(home, halted_by())
    assert kill._lasts(None)
    home.latch.unlink()
    assert not kill._lasts(None)


def test_lock_that_does_not_work_is_no_ack(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses a lock leaves open who is still sending."""

    def refused(_: int, how: int) -> None:
        if how != fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, "No locks available")

    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    monkeypatch.setattr(fcntl, "flock", refused)
    assert not kill.wait_quiet(time.monotonic())
    assert f"{home.lock}: No locks available: nobody can tell who is still sending" in kill.problems


def test_lock_that_is_replaced_while_one_waits_is_no_ack(home: Home) -> None:
    """Who has the old lock and finds another at its path has nothing."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    with closing(FileLock(home.lock)) as lock:
        home.lock.rename(home.path / "old")
        home.lock.touch(0o600)
        assert not kill._agreed(lock, time.monotonic())
    assert f"{home.lock}: replaced: nobody can tell who is still sending" in kill.problems


def test_memory_that_cannot_be_looked_at_again_is_no_ack(home: Home) -> None:
    """If the page can't be opened for the second look nobody can tell whether the halt still stands."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    with place(home.path, HOME_ID) as at:
        page = at.path / "page"
    page.chmod(0o640)
    fresh = Kill(home, halted_by())
    fresh.stopped = True
    assert not fresh.look_again()
    assert any("nobody can tell whether it is halted still" in one for one in fresh.problems)


def test_pen_that_another_has_leaves_the_second_record_to_later(home: Home) -> None:
    """A record that was armed again, while somebody has the pen, is not claimed to be halted."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    armed = read_latch(home.latch)[0]
    write_latch(home.latch, attrs.evolve(armed, state="ARMED"))
    with closing(Pen(home.path)) as pen:
        assert pen.exclusive()
        kill._record_again(armed=False)
    assert not kill.durable
    assert kill.again


def test_page_that_was_damaged_after_the_byte_was_set_is_told(home: Home) -> None:
    """What can't be halted by the file because that is no page is noted, and needs no second try."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    home.page.write_bytes(b"?")
    assert kill._set_file()
    assert any("1 bytes, expected 4096" in one for one in kill.problems)


def test_page_that_cannot_be_read_again_is_not_called_rearmed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails between two looks at one file says nothing: the memory does, and it says halt."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    page, pread = kill._page(), os.pread
    assert page.map[0] != ARMED

    def failing(descriptor: int, length: int, at: int) -> bytes:
        if at:  # the latest mark by itself
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, length, at)

    monkeypatch.setattr(os, "pread", failing)
    assert page.look() == ARMED
    assert not kills._rearmed(page)


def test_record_that_vanished_between_two_looks_is_claimed_as_it_was(home: Home) -> None:
    """Without a record that could be believed there is none that a reset has armed: what was found about it stands."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    assert kill.durable
    home.latch.unlink()
    assert kill._record_again(armed=False)
    assert kill.durable
    assert kill.problems == []


def test_page_armed_again_that_reaches_not_all_is_no_ack(home: Home) -> None:
    """A page that was armed again on a disk that takes nothing is no ack while an engine looks at another memory."""
    kill = Kill(home, halted_by())
    kill.set_byte()
    write(kill)
    page = kill._page()
    page.arm(page.halts)
    berth = Berth(home.engines, "far", HOME_ID)
    berth.introduce(operator="ann", run="r", lock_inode=0, page_inode=0, memory_inode=1)
    kept = os.dup(page._file._descriptor)
    os.close(page._file._descriptor)
    try:
        assert not kill.look_again()
    finally:
        os.dup2(kept, page._file._descriptor)
        os.close(kept)
    berth.close()


def test_process_that_is_gone_is_told_and_not_counted_as_killed(home: Home) -> None:
    """An engine that ended before it could be killed is said to be gone."""
    kill = Kill(home, halted_by())
    kill._kill(Waiting(engine="", pid=4_194_305, in_flight=(), why="it holds the lock"))
    assert kill.killed == []
    assert kill.problems[0].startswith("a process, pid 4194305: cannot be killed: ")


def test_place_without_a_page_holds_up_no_halt(home: Home) -> None:
    """A directory in memory whose page is just being made is passed over, and the others are halted."""
    with place(home.path, OTHER_ID, make=True):
        halted, troubles = halt_all(home.path, lambda _: b"")
    assert (len(halted), troubles) == (1, [])


def test_memory_that_is_wrong_is_told_when_one_looks(home: Home) -> None:
    """The state of a home whose memory can't be used is a fault, and never armed."""
    with place(home.path, HOME_ID) as at:
        (at.path / "page").chmod(0o640)
    latch, fault, byte = home.latch_state()
    assert latch is not None
    assert "lets others in" in str(fault)
    assert byte == 0


def test_engine_that_lets_nobody_see_and_holds_no_lock_is_out(home: Home) -> None:
    """Who can't be seen from here and may hold the lock is not called out; if nobody holds it, it is."""
    berth = Berth(home.engines, "far", HOME_ID)
    with place(home.path, HOME_ID) as at:
        at.renew("engine-far", b"x")
    (engine,) = engines(home.engines)
    assert not engine.shown
    assert _not_out(home, engine, locked=True) == ""
    assert _not_out(home, engine, locked=False) == ""
    with closing(FileLock(home.lock)) as lock:
        assert lock.shared()
        assert "has another memory disk" in _not_out(home, engine, locked=False)
    berth.close()
