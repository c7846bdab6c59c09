"""File locks (``flock``), each on a descriptor of its own.

A lock is never the latch: the kernel drops it with its holder. It says two other things: who is attached under
a name (exclusive), and whether anyone may still be sending (an engine holds ``lock`` shared from
its start until it is quiet, so that whoever gets it exclusively knows that all are out).
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from interlock.breaker.files import same_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileLock"]

_FIRST_POLL_S = 0.0001
_LONGEST_POLL_S = 0.002


class FileLock:
    """One lock on one open file description."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path) -> None:
        """Open the lock file. It is made with the home and never later: a lock on a fresh file tells nothing.

        Raises:
            OSError: it isn't there, or can't be opened.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

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
        """Let go and close; also in a forked child, where it leaves the parent's lock alone only if never unlocked."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
