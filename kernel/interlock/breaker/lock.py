"""File locks (``flock``), each on a descriptor of its own.

A lock is never the latch: the kernel drops it with its holder. It says three other things: who is attached under
a name (exclusive); whether anyone may still be sending (an engine holds ``lock`` shared from
its start until it is quiet, so that whoever gets it exclusively knows that all are out); and, the pen, whether
the epoch in the record may change.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import weakref
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import same_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileLock", "Pen", "WriterLock"]

_FIRST_POLL_S = 0.0001
_LONGEST_POLL_S = 0.002


class FileLock:
    """One lock on one open file description."""

    __slots__ = ("__weakref__", "_descriptor", "_path", "_pid")

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open the lock file. It is made with the home and never later: a lock on a fresh file tells nothing.

        Args:
            path: the file.
            writable: open it for writing, too; a lock does not need that, so a read-only disk keeps nobody from one.

        Raises:
            OSError: it isn't there, or can't be opened.
        """
        self._open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", str(path))

    def _open(self, path: Path, flags: int) -> None:
        self._path = path
        self._pid = os.getpid()
        self._descriptor = os.open(path, flags | os.O_CLOEXEC)
        _OPEN.add(self)

    def shared(self, timeout_s: float = 0.0) -> bool:
        """Take it shared; False if somebody still held it exclusively at the time-out."""
        return self._take(fcntl.LOCK_SH, timeout_s)

    def exclusive(self, timeout_s: float = 0.0) -> bool:
        """Take it exclusively; False if others still held it at the time-out."""
        return self._take(fcntl.LOCK_EX, timeout_s)

    def _take(self, how: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        pause_s = _FIRST_POLL_S
        while not self._try(how):
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        return True

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @property
    def descriptor(self) -> int:
        """The open file; -1 when closed."""
        return self._descriptor

    @property
    def inode(self) -> int:
        """Of the open file."""
        return os.fstat(self._descriptor).st_ino

    def same(self) -> bool:
        """Whether the file at the path is still the one that is open."""
        return same_file(self._path, self._descriptor)

    def close(self) -> None:
        """Let go and close. A forked child only closes: unlocking would take the lock from its parent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                if self._pid == os.getpid():  # or a child that somebody forks just now would keep it
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)


class Pen(FileLock):
    """The right to replace the latch record, on the home's directory.

    Who keeps the epoch that stands there shares it with others who do: a halt, whose record is written over an armed
    one. Who changes the epoch has it alone: a reset, and an engine that writes a record which was lost. It is taken
    before the record is read, and kept until it is replaced, so that none of these comes between. No halt
    waits for it: one that does not get it tries again later, as it does when the disk is full. A reset waits a moment,
    then it is refused.

    It is not the running lock, so a disk that hangs under a record holds up no ack.
    """

    __slots__ = ()

    def __init__(self, home: Path) -> None:
        """Open it.

        Args:
            home: the directory.

        Raises:
            OSError: it isn't there, or can't be opened.
        """
        self._open(home, os.O_RDONLY | os.O_DIRECTORY)


class WriterLock(FileLock):
    """The right to write one engine's journal, on its directory: its files follow one another, and this one stays."""

    __slots__ = ()

    def __init__(self, stream: Path) -> None:
        """Open it.

        Args:
            stream: the directory.

        Raises:
            OSError: it isn't there, or can't be opened.
        """
        self._open(stream, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


_OPEN: Final[weakref.WeakSet[FileLock]] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_OPEN):
        lock.close()


os.register_at_fork(after_in_child=_after_fork)
