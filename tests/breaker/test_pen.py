"""The pen: the epoch in the record never goes back, and no halt waits for it or is lost by it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, attach, halt_home, halted_by, python, reset_home

from interlock import HomeError, Mode
from interlock.breaker.kill import Kill
from interlock.breaker.latch import ARMED, HALTED, read_latch
from interlock.breaker.layout import HALTS_AT, HALTS_END
from interlock.breaker.lock import FileLock, Pen
from interlock.core.modes import ARMED as ARMED_BYTE

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from interlock.breaker.home import Home

HALT = """
import sys, time
from tests.helpers import halted_by
from interlock.breaker import kill
from interlock.breaker.home import Home
write = kill.write_latch
def held_up(*given):
    print("read", flush=True)
    sys.stdin.readline()
    write(*given)
kill.write_latch = held_up
one = kill.Kill(Home(sys.argv[1]), halted_by())
one.set_byte()
print(one.write_latch(time.monotonic() + 60).wait(60), one.durable, flush=True)
"""
"""A killer that is held up between reading the record and replacing it."""

RESET = """
import sys
from tests.helpers import reset_home
from interlock.breaker import home
from interlock.breaker.page import Page
write, arm = home.write_latch, Page.arm
def told(say, act, *given):
    act(*given)
    print(say, flush=True)
    sys.stdin.readline()
home.write_latch = lambda *given: told("latched", write, *given)
Page.arm = lambda *given: told("armed", arm, *given)
print(reset_home(__import__("pathlib").Path(sys.argv[1]), 1).epoch, flush=True)
"""
"""A reset that is held up when it has written the record, and when it has armed the byte."""


def said(child: subprocess.Popen[str]) -> str:
    """The next line of a process."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def kill(child: subprocess.Popen[str]) -> None:
    """SIGKILL."""
    os.kill(child.pid, signal.SIGKILL)
    child.wait(30)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home."""
    return arm(tmp_path / "home")


def test_halts_share_it_and_a_reset_has_it_alone(home: Home) -> None:
    """Two have it shared, and nobody alone then; one alone keeps all others out."""
    with closing(Pen(home.path)) as one, closing(Pen(home.path)) as other:
        assert one.shared()
        assert other.shared()
        assert not one.exclusive()
        other.release()
        assert one.exclusive()
        assert not other.shared()


def test_forked_child_puts_it_down_and_leaves_it_to_its_parent(home: Home) -> None:
    """A child that is forked while somebody writes closes what it inherited, and takes nothing from its parent."""
    pen, other = Pen(home.path), Pen(home.path)
    assert pen.exclusive()
    done, report = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(report, b"%d" % pen.descriptor)
        signal.pause()
        os._exit(0)
    try:
        assert os.read(done, 10) == b"-1"
        with closing(Pen(home.path)) as third:
            assert not third.shared()
        pen.close()
        assert other.exclusive()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        other.close()


def test_a_reset_waits_a_moment_for_the_record_of_a_halt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A halt is confirmed before its record is on the disk: an operator who resets at once is not sent away."""
    assert halt_home(home.path).durable
    trying = FileLock._try
    with closing(Pen(home.path)) as writing:
        assert writing.shared()

        def and_the_halt_ends(self: FileLock, how: int) -> bool:
            got = trying(self, how)
            if isinstance(self, Pen) and not got:
                writing.release()
            return got

        monkeypatch.setattr(FileLock, "_try", and_the_halt_ends)
        assert reset_home(home.path, 1).epoch == 2


def test_a_slow_halt_keeps_a_reset_out(home: Home) -> None:
    """A reset is refused while a killer is about to replace the record it has read, and another killer is not."""
    with python(HALT, home.path) as child:
        assert said(child) == "read"
        with pytest.raises(HomeError, match="still writing the record"):
            reset_home(home.path, 1)
        assert halt_home(home.path, timeout_s=30).durable
        tell(child)
        assert said(child) == "True True"
    latch, _ = read_latch(home.latch)
    assert (latch.state, latch.epoch) == (HALTED, 1)
    assert reset_home(home.path, 1).epoch == 2


def test_it_goes_with_a_killed_halt(home: Home) -> None:
    """A killer that dies with the pen in its hand leaves nothing blocked."""
    with python(HALT, home.path) as child:
        assert said(child) == "read"
        kill(child)
    assert read_latch(home.latch)[0].state == ARMED
    assert reset_home(home.path, 1).epoch == 2


def test_halt_that_meets_a_reset_does_not_wait_and_is_written_later(home: Home) -> None:
    """While a reset has the pen, emission is stopped and nothing said to be durable; then the halt is written."""
    halt_home(home.path)
    with python(RESET, home.path) as child:
        assert said(child) == "latched"
        mine = Kill(home, halted_by(reason="meanwhile"))
        mine.set_byte()
        assert mine.stopped
        assert not mine._latch()
        assert not mine.durable
        written = mine.write_latch(time.monotonic() + 60)
        assert not written.is_set()
        kill(child)
        assert written.wait(60)
        assert mine.durable
    latch, _ = read_latch(home.latch)
    assert (latch.state, latch.epoch, latch.reason) == (HALTED, 2, "meanwhile")


def test_engine_that_meets_a_reset_writes_its_halt_at_a_later_heartbeat(home: Home) -> None:
    """An engine's own halt is not lost by a pen that another has."""
    with attach(home.path) as kernel, closing(Pen(home.path)) as pen:
        assert pen.exclusive()
        assert not kernel.halt("pulled", timeout_s=0.2).durable
        kernel.heartbeat()
        assert read_latch(home.latch)[0].state == ARMED
        pen.release()
        kernel.heartbeat()
        assert read_latch(home.latch)[0].reason == "pulled"


def test_lost_record_is_made_anew_by_one_alone(home: Home) -> None:
    """An engine that changes the epoch on the disk does so only while nobody else is about to replace the record."""
    with attach(home.path) as kernel, closing(Pen(home.path)) as pen:
        assert pen.shared()
        home.latch.unlink()
        kernel.heartbeat()
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert not home.latch.exists()
        pen.release()
        kernel.heartbeat()
        assert read_latch(home.latch)[0].state == HALTED


# -- A reset that dies ------------------------------------------------------------------------------

SET_BYTE = """
import os, signal, sys
from tests.helpers import halted_by
from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
Kill(Home(sys.argv[1]), halted_by()).set_byte()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def swallowed(home: Home) -> Home:
    """A halt comes while a reset is under way, and its killer dies; the reset arms the byte over it, and dies, too."""
    halt_home(home.path)
    with python(RESET, home.path) as reset:
        assert said(reset) == "latched"
        with python(SET_BYTE, home.path) as killer:
            assert killer.wait(60) == -signal.SIGKILL
        tell(reset)
        assert said(reset) == "armed"
        kill(reset)
    latch, _ = read_latch(home.latch)
    assert (latch.state, latch.epoch) == (ARMED, 2)
    assert home.page.read_bytes()[0] == ARMED_BYTE
    return home


def test_halt_that_a_dead_reset_overwrote_is_not_lost(swallowed: Home) -> None:
    """No engine comes up armed or starts: what the byte was armed for is not the latest halt."""
    assert swallowed.latch_state()[2] == 0
    with attach(swallowed.path) as kernel:
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()
    assert swallowed.page.read_bytes()[0] == 0
    assert reset_home(swallowed.path, 2).epoch == 3
    with attach(swallowed.path) as kernel:
        assert kernel.start()


def test_reset_takes_such_a_home_for_a_halted_one(swallowed: Home) -> None:
    """It can be reset although record and byte both say ARMED."""
    assert reset_home(swallowed.path, 2).epoch == 3
    assert swallowed.latch_state()[2] == ARMED_BYTE


def test_engine_that_is_attached_finishes_such_a_halt(home: Home) -> None:
    """An engine that waits, HALTED in the epoch before, does not adopt that reset, and sets the byte."""
    with attach(home.path) as kernel:
        halt_home(home.path)
        kernel.heartbeat()
        with python(RESET, home.path) as reset:
            assert said(reset) == "latched"
            with python(SET_BYTE, home.path) as killer:
                killer.wait(60)
            tell(reset)
            assert said(reset) == "armed"
            kill(reset)
        assert home.page.read_bytes()[0] == ARMED_BYTE
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()
        assert home.page.read_bytes()[0] == 0


def test_halt_whose_killer_died_before_the_byte_is_finished(home: Home) -> None:
    """A mark that nobody follows up with the byte keeps engines from starting, and the next look sets the byte."""
    with attach(home.path) as kernel:
        page = kernel._sentinel.page
        assert page is not None
        page.map[HALTS_AT:HALTS_END] = (7).to_bytes(8, "little")  # as `Page.halt` begins
        assert page.map[0] == ARMED_BYTE
        assert not kernel.start()
        assert page.map[0] == 0
