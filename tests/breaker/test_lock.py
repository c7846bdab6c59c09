"""The locks: who holds them, and that they go with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, attach, halt_home, python, reset_home, run_python, running

from interlock import HomeError
from interlock.breaker.lock import FileLock, Pen, WriterLock

if TYPE_CHECKING:
    from pathlib import Path


closes = pytest.mark.usefixtures("nothing_left_open")


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


@closes
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


@closes
@pytest.mark.parametrize("kind", [FileLock, Pen, WriterLock])
def test_what_is_no_lock_is_refused(tmp_path: Path, kind: type[FileLock]) -> None:
    """A lock is a file, a pen or a writer's lock a directory; what else stands there is refused, and closed."""
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("directory")
    right = {FileLock: {"file"}, Pen: {"directory", "link"}, WriterLock: {"directory"}}[
        kind
    ]  # the home's path may lead
    for name in ("file", "directory", "pipe", "link"):
        if name in right:
            lock = kind(tmp_path / name)
            assert lock.exclusive()
            lock.close()
        else:
            with pytest.raises(OSError, match=name):
                kind(tmp_path / name)


@closes
def test_lock_of_a_pipe_says_what_is_wrong(tmp_path: Path) -> None:
    """What can be opened and is no regular file is told so, by its path."""
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OSError, match="not a regular file") as caught:
        FileLock(tmp_path / "lock")
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(tmp_path / "lock"))


@closes
def test_lock_asks_for_no_more_than_to_read(path: Path) -> None:
    """A file is opened for reading alone, unless it is to be written: a read-only disk keeps nobody out."""
    for writable, wanted in ((None, os.O_RDONLY), (False, os.O_RDONLY), (True, os.O_RDWR)):
        lock = FileLock(path) if writable is None else FileLock(path, writable=writable)
        assert fcntl.fcntl(lock.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == wanted
        lock.close()


class Time:
    """A clock that only waiting moves on; in the place of the module."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        """Let it pass."""
        self.now_s += pause_s
        self.pauses.append(pause_s)


@closes
def test_lock_is_asked_for_again_until_the_time_is_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks after 0.1 ms, then each time twice as late, up to 2 ms, and not once more after the time-out."""
    clock = Time()
    monkeypatch.setattr("interlock.breaker.lock.time", clock)
    one, other = FileLock(path), FileLock(path)
    assert one.exclusive()
    assert not other.shared()
    assert not other.exclusive()
    assert clock.pauses == []
    assert not other.shared(0.0071)
    assert clock.pauses == [0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.002, 0.002]
    clock.pauses.clear()
    clock.now_s = 0.0
    assert not other.exclusive(0.0001)
    assert clock.pauses == [0.0001]
    one.close()
    assert other.exclusive()
    other.close()


@closes
def test_lock_that_becomes_free_is_taken_while_one_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits has the lock when its holder lets go."""
    one, other = FileLock(path), FileLock(path)
    assert one.shared()
    clock = Time()
    clock.sleep = lambda _: one.release()  # type: ignore[method-assign]
    monkeypatch.setattr("interlock.breaker.lock.time", clock)
    assert other.exclusive(0.001)
    assert not one.shared()
    one.close()
    other.close()


@closes
def test_closed_lock_is_free_whoever_has_its_description(path: Path) -> None:
    """A lock that is let go, or closed, is free, also if a child that nobody told of it has its description, too."""
    for let_go in (FileLock.close, FileLock.release):
        lock = FileLock(path)
        assert lock.exclusive()
        kept = os.dup(lock.descriptor)
        let_go(lock)
        other = FileLock(path)
        assert other.exclusive()
        other.close()
        lock.close()
        os.close(kept)
    assert lock.descriptor == -1
    lock.release()  # which is nothing, once it is closed


FORK = """
import os, sys
from pathlib import Path
from interlock.breaker.lock import FileLock
os.close(0)
lock = FileLock(Path(sys.argv[1]))
assert (lock.descriptor, lock.exclusive()) == (0, True)
reads, writes = os.pipe()
child = os.fork()
if child == 0:
    said = b"closed" if lock.descriptor == -1 and not FileLock(Path(sys.argv[1])).shared() else b"open"
    os.write(writes, said)
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reads, 9).decode(), lock.exclusive(), FileLock(Path(sys.argv[1])).shared())
child = os.fork()
if child == 0:
    os.read(reads, 1)
    os._exit(0)
lock.release()
other = FileLock(Path(sys.argv[1]))
print(other.exclusive())
other.close()
lock.close()
assert lock.descriptor == -1
os.fstat(reads)
os.write(writes, b".")
os.waitpid(child, 0)
"""


def test_forked_child_closes_the_lock_and_leaves_it_to_its_parent(path: Path) -> None:
    """A child has the lock closed and the parent still holds it, whatever number it has; closed, it is free."""
    assert run_python(FORK, path).splitlines() == ["closed True False", "True"]
    lock = FileLock(path)
    assert lock.exclusive()
    lock.close()


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
