"""The locks: who holds them, and that they go with their holder."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, attach, halt_home, python, reset_home, running

from interlock import HomeError
from interlock.breaker.lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a lock file."""
    (tmp_path / "lock").touch()
    return tmp_path / "lock"


HOLD = """
import sys
from pathlib import Path
from interlock.breaker.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.shared() if sys.argv[2] == "shared" else lock.exclusive(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_lock_goes_with_its_killed_holder(path: Path, how: str) -> None:
    """A lock held by another process excludes, and is free once that is killed."""
    with python(HOLD, path, how) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        lock = FileLock(path)
        assert not lock.exclusive()
        assert lock.shared() is (how == "shared")
        lock.release()
        os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
        assert lock.exclusive(30)
        lock.close()


def test_two_descriptions_exclude_each_other_in_one_process(path: Path) -> None:
    """Each lock is on a description of its own, so threads exclude each other like processes do."""
    one, other = FileLock(path), FileLock(path)
    assert one.shared()
    assert other.shared()
    assert not one.exclusive()
    other.release()
    assert one.exclusive()
    assert not other.shared()
    one.close()
    assert other.exclusive()
    other.close()
    other.close()


def test_lock_knows_its_file(path: Path) -> None:
    """A lock tells whether its file is still the one at its path."""
    lock = FileLock(path)
    assert lock.same()
    path.unlink()
    assert not lock.same()
    path.touch()
    assert not lock.same()
    lock.close()


def test_symlink_is_no_lock(tmp_path: Path) -> None:
    """A symlink in a lock's place is refused."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        FileLock(tmp_path / "lock")


def test_lock_is_never_made_anew(tmp_path: Path) -> None:
    """A lock that is gone is an error: a fresh file would tell nothing about who held the old one."""
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_locks_are_not_inherited(tmp_path: Path) -> None:
    """A program that an engine starts does not keep the engine's locks."""
    home = arm(tmp_path / "home").path
    kernel = running(home)
    with python("import sys; print(1, flush=True); sys.stdin.read()") as child:
        assert child.stdout is not None
        child.stdout.readline()
        kernel.close()
        again = attach(home)
        again.close()
        assert halt_home(home).confirmed
        child.communicate("")


ENGINE = """
import sys
from tests.helpers import *
kernel = running(sys.argv[1])
print("running", flush=True)
sys.stdin.read()
"""


def test_killed_engine_blocks_neither_ack_nor_reset_nor_attach(tmp_path: Path) -> None:
    """While an engine lives the ack waits for it; once it is killed the ack is true, and the home can be reset."""
    home = arm(tmp_path / "home").path
    with python(ENGINE, home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        os.kill(child.pid, signal.SIGSTOP)  # else its lookout might let go at any moment
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        first = halt_home(home)
        assert not first.confirmed
        assert f"pid {child.pid}" in first.message
        with pytest.raises(HomeError, match="not quiet"):
            reset_home(home, 1)
        with pytest.raises(HomeError, match=f"pid {child.pid}"):
            attach(home)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
    assert halt_home(home).confirmed
    assert reset_home(home, 1).epoch == 2
    attach(home).close()
