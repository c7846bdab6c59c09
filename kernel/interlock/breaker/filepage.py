"""The page in the home's file: it reaches those who have a memory disk of their own, and is what is left after a boot.

It is read and written by system calls, which a disk may refuse or hold up; so a halt writes it beside everything else,
and nothing waits for it that must not.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from interlock.breaker.latch import LatchError
from interlock.breaker.layout import ARMED_FOR_AT, BEGUN_AT, HALTS_AT, HALTS_END, RECORD_AT, home_in, new_mark, room_for
from interlock.breaker.memory import SIZE
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FilePage"]


class FilePage:
    """The page on the home's disk, open for reading; for writing it is opened when there is something to write."""

    __slots__ = ("_descriptor", "_path", "_stat", "home")

    def __init__(self, path: Path, home: str | None) -> None:
        """Open it.

        Args:
            path: the file.
            home: whose it must be; None: whoever's, for a halt.

        Raises:
            LatchError: absent, unreadable, of the wrong size, or of another home.
        """
        self._path = path
        self._descriptor = -1
        try:
            self.home = self._opened(home)
        except LatchError:
            self.close()  # now, and not when whoever handles the error has forgotten it
            raise

    def _opened(self, home: str | None) -> str:
        """Open it, and see whose it is."""
        path = self._path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            self._stat = os.fstat(self._descriptor)
            data = self._read(0, SIZE) if self._stat.st_size == SIZE else b""
        except FileNotFoundError as error:
            message = f"{path}: there is no page"
            raise LatchError(HaltCode.LATCH_ABSENT, message) from error
        except OSError as error:
            message = f"{path}: cannot be opened: {error.strerror}"
            raise LatchError(HaltCode.HOME_UNREADABLE, message) from error
        if len(data) != SIZE:
            message = f"{path}: {self._stat.st_size} bytes, expected {SIZE}"
            raise LatchError(HaltCode.LATCH_CORRUPT, message)
        whose = home_in(data)
        if whose is None or (home is not None and whose != home):
            message = f"{path}: not the page of home {home}"
            raise LatchError(HaltCode.PAGE_REPLACED, message)
        return whose

    def close(self) -> None:
        """Close it, once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close

    def _read(self, at: int, end: int) -> bytes:
        return os.pread(self._descriptor, end - at, at)

    @property
    def directory(self) -> Path:
        """The home."""
        return self._path.parent

    @property
    def inode(self) -> int:
        """Of the open file."""
        return self._stat.st_ino

    @property
    def byte(self) -> int:
        """What it says now; 0, which is halt, if it can't be read, or was armed for another than the latest halt.

        A disk may hold up the answer.
        """
        with contextlib.suppress(OSError):
            head = self._read(0, HALTS_END)
            if head and head[ARMED_FOR_AT:HALTS_AT] == head[HALTS_AT:]:
                return head[0]
        return 0

    @property
    def halts(self) -> int:
        """The mark of the latest halt that reached it.

        Raises:
            OSError: it can't be read.
        """
        return int.from_bytes(self._read(HALTS_AT, HALTS_END), "little")

    @property
    def begun(self) -> bool:
        """Whether a journal was begun in this home."""
        with contextlib.suppress(OSError):
            return self._read(BEGUN_AT, BEGUN_AT + 1) != b"\x00"
        return True

    def left(self) -> bytes:
        """The record that was left in it."""
        with contextlib.suppress(OSError):
            return self._read(RECORD_AT, SIZE).rstrip(b"\x00")
        return b""

    def write(self, *parts: tuple[int, bytes]) -> None:
        """Write, each part at its place, one after the other: into the file that is open, wherever it may be by now.

        Raises:
            OSError: it can't be written.
        """
        descriptor = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            for at, data in parts:
                os.pwrite(descriptor, data, at)
        finally:
            os.close(descriptor)

    def halt(self, record: bytes) -> None:
        """Say halt, for who has no page in memory; with the pen. Where halt stands already, so does its record.

        Raises:
            OSError: it can't be written.
        """
        if self.byte != ARMED:
            return
        self.write((RECORD_AT, room_for(record)), (HALTS_AT, new_mark()), (0, b"\x00"))

    def check(self) -> None:
        """See that the file is still the one that is open.

        Raises:
            LatchError: it is gone or another.
        """
        try:
            found = self._path.lstat()
        except OSError as error:
            message = f"{self._path}: gone: {error.strerror}"
            raise LatchError(HaltCode.PAGE_REPLACED, message) from error
        if (found.st_ino, found.st_dev, found.st_size) != (self._stat.st_ino, self._stat.st_dev, SIZE):
            message = f"{self._path}: replaced while in use"
            raise LatchError(HaltCode.PAGE_REPLACED, message)
