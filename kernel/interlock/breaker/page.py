"""The mapped page: one byte that every process attached to a home can see at once.

Byte 0 mirrors the latch: `ARMED`, or anything else for halt. Behind it stands whose page it is, so that a
foreign file put in its place is known for what it is; and then the record that a halt from outside is about
to write into the latch, so that an engine which sees the byte before the file knows who did it, and why. Reading
the byte is one memory read; setting it to zero needs no disk, no lock and no consent.

The page is a file in the home, so whoever may write the home may also truncate it; then the next
look at it ends the process (SIGBUS). That ends emission, too.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import write_durably
from interlock.breaker.latch import LatchError
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Page"]

SIZE: Final = 4096
_MAGIC: Final = b"interlock page 1\n"
_HOME_AT: Final = 64
_HOME_LENGTH: Final = 36
_ARMED_FOR_AT: Final = 104
_HALTS_AT: Final = 112
_HALTS_END: Final = 120
_PID_BITS: Final = 22  # as many as Linux has
_BEGUN_AT: Final = 120
_RECORD_AT: Final = 128


class Page:
    """The page of one home, mapped into this process.

    Attributes:
        map: the mapping; the order path reads ``map[0]``.
    """

    __slots__ = ("_path", "_stat", "map")

    def __init__(self, path: Path, home: str | None) -> None:
        """Map it.

        Args:
            path: the file.
            home: whose it must be; None: whoever's, for a halt.

        Raises:
            LatchError: absent, unreadable, of the wrong size, or of another home.
        """
        self._path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            message = f"{path}: there is no page"
            raise LatchError(HaltCode.LATCH_ABSENT, message) from error
        except OSError as error:
            message = f"{path}: cannot be opened: {error.strerror}"
            raise LatchError(HaltCode.HOME_UNREADABLE, message) from error
        try:
            self._stat = os.fstat(descriptor)
            if self._stat.st_size != SIZE:
                message = f"{path}: {self._stat.st_size} bytes, expected {SIZE}"
                raise LatchError(HaltCode.LATCH_CORRUPT, message)
            self.map = mmap.mmap(descriptor, SIZE)
        except (OSError, ValueError) as error:
            message = f"{path}: cannot be mapped: {error}"
            raise LatchError(HaltCode.HOME_UNREADABLE, message) from error
        finally:
            os.close(descriptor)
        if self.map[1 : 1 + len(_MAGIC)] != _MAGIC or (home is not None and self.home != home):
            self.map.close()
            message = f"{path}: not the page of home {home}"
            raise LatchError(HaltCode.PAGE_REPLACED, message)

    @staticmethod
    def make(path: Path, home: str) -> None:
        """Write a fresh page, halted."""
        data = bytearray(SIZE)
        data[1 : 1 + len(_MAGIC)] = _MAGIC
        data[_HOME_AT : _HOME_AT + _HOME_LENGTH] = home.encode()
        write_durably(path, bytes(data))

    @property
    def home(self) -> str:
        """The UUID that stands in it."""
        return self.map[_HOME_AT : _HOME_AT + _HOME_LENGTH].decode("ascii", "replace").strip("\x00")

    @property
    def inode(self) -> int:
        """Of the mapped file."""
        return self._stat.st_ino

    @property
    def begun(self) -> bool:
        """Whether a journal was begun in this home, so that an empty one is a loss."""
        return self.map[_BEGUN_AT] != 0

    def begin(self) -> None:
        """The journal has its first records."""
        self.map[_BEGUN_AT] = 1

    def halt(self) -> None:
        """Stop emission in every process, now.

        The mark goes first: a reset that is under way arms the byte again, and then sees that it must not.
        """
        mark = (time.monotonic_ns() << _PID_BITS | os.getpid() % (1 << _PID_BITS)) % (1 << 64)
        self.map[_HALTS_AT:_HALTS_END] = mark.to_bytes(8, "little")
        self.map[0] = 0

    @property
    def halts(self) -> int:
        """The mark of the latest halt: no two have the same, also if they come at once."""
        return int.from_bytes(self.map[_HALTS_AT:_HALTS_END], "little")

    def leave(self, record: bytes) -> None:
        """Leave the latch record that is about to be written, for whoever sees the byte before the file.

        One that is too long is not left; then the byte alone says halt.
        """
        room = SIZE - _RECORD_AT
        self.map[_RECORD_AT:SIZE] = (record if len(record) <= room else b"").ljust(room, b"\x00")

    def left(self) -> bytes:
        """The record that was left since the page was armed; it may be half written, or none."""
        return self.map[_RECORD_AT:SIZE].rstrip(b"\x00")

    @property
    def armed(self) -> bool:
        """Whether it was armed since the latest halt: the byte says so, and was armed for that halt's mark.

        If only the byte does, a halt came while it was being armed, or is just coming. Who made it sets the
        byte, and so does a reset that finds it out; but both may have died. The order path need not look: nobody
        is sending when a byte is armed, and whoever starts after that looks here first.
        """
        if self.map[0] != ARMED:
            return False
        marks = self.map[_ARMED_FOR_AT:_HALTS_END]  # both at once
        return marks[: _HALTS_AT - _ARMED_FOR_AT] == marks[_HALTS_AT - _ARMED_FOR_AT :]

    def mend(self) -> None:
        """Set the byte, if it is armed for another mark than the latest halt's: see `armed`."""
        if self.map[0] == ARMED and not self.armed:
            self.halt()

    def arm(self, halts: int) -> None:
        """Mirror an armed latch; only after the record is durable.

        Args:
            halts: the mark of the halt that is over with this. It goes first: see `armed`.
        """
        self.leave(b"")
        self.map[_ARMED_FOR_AT:_HALTS_AT] = halts.to_bytes(8, "little")
        self.map[0] = ARMED

    def check(self) -> None:
        """See that the file is still the one that is mapped.

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
