"""The page in memory: the byte that the way of an order looks at, and that a halt sets first.

Reading the byte is one memory read, and setting it to zero needs no disk, no lock and no consent. It is gone after a
boot.

Whoever may write the memory disk's files may also truncate them; then the next look at the byte ends the process
(SIGBUS). That ends emission, too.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Final

from interlock.breaker.latch import LatchError
from interlock.breaker.layout import ARMED_FOR_AT, HALTS_AT, HALTS_END, RECORD_AT, fresh, home_in, new_mark, room_for
from interlock.breaker.memory import SIZE, Place, place
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MemoryPage"]

_NAME: Final = "page"


class MemoryPage:
    """The page in memory, mapped into this process.

    Attributes:
        map: the mapping; the order path reads ``map[0]``.
        home: the UUID that stands in it.
        identity: device and inode of the mapped file.
    """

    __slots__ = ("_path", "home", "identity", "map")

    def __init__(self, at: Place, home: str | None = None) -> None:
        """Map the one that is there.

        Args:
            at: the home's place on the memory disk.
            home: whose it must be; None: whoever's, for a halt.

        Raises:
            FileNotFoundError: there is none.
            OSError: it can't be opened or mapped, or is not as it must be.
            LatchError: it is another home's.
        """
        self._path = at.path / _NAME
        descriptor = at.open(_NAME)
        try:
            found = os.fstat(descriptor)
            self.identity = (found.st_dev, found.st_ino)
            self.map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        whose = home_in(self.map[:])
        if whose is None or (home is not None and whose != home):
            self.map.close()
            message = f"{self._path}: not the page of home {home}"
            raise LatchError(HaltCode.PAGE_REPLACED, message)
        self.home = whose

    @classmethod
    def had(cls, directory: Path, home: str, *, armed: bool) -> MemoryPage:
        """Map it; make it if there is none.

        Args:
            directory: the home.
            home: its UUID.
            armed: whether it is made armed.

        Raises:
            OSError: it can't be opened, made or mapped, or is not as it must be.
            LatchError: it is another home's.
        """
        with place(directory, home, make=True) as at:
            try:
                return cls(at, home)
            except FileNotFoundError:
                at.make(_NAME, fresh(home, ARMED if armed else 0))  # unless somebody was faster
                return cls(at, home)

    def halt(self) -> None:
        """Stop emission, now.

        The mark goes first: a reset that is under way arms the byte again, and then sees that it must not.
        """
        self.map[HALTS_AT:HALTS_END] = new_mark()
        self.map[0] = 0

    @property
    def halts(self) -> int:
        """The mark of the latest halt: no two have the same, also if they come at once."""
        return int.from_bytes(self.map[HALTS_AT:HALTS_END], "little")

    def leave(self, record: bytes) -> None:
        """Leave a record. One that is too long is not left; then the byte alone says halt."""
        self.map[RECORD_AT:SIZE] = room_for(record)

    def left(self) -> bytes:
        """The record that was left; it may be half written, or none."""
        return self.map[RECORD_AT:SIZE].rstrip(b"\x00")

    @property
    def armed_for(self) -> int:
        """The mark of the halt that was over when it was armed last."""
        return int.from_bytes(self.map[ARMED_FOR_AT:HALTS_AT], "little")

    @property
    def armed(self) -> bool:
        """Whether it was armed since the latest halt: the byte says so, and was armed for that halt's mark.

        If only the byte does, a halt came while it was being armed, or is just coming. Who made it sets the
        byte, and so does a reset that finds it out; but both may have died. The order path need not look: nobody
        is sending when a byte is armed, and whoever starts after that looks here first.
        """
        if self.map[0] != ARMED:
            return False
        marks = self.map[ARMED_FOR_AT:HALTS_END]  # both at once
        return marks[: HALTS_AT - ARMED_FOR_AT] == marks[HALTS_AT - ARMED_FOR_AT :]

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
        self.map[ARMED_FOR_AT:HALTS_AT] = halts.to_bytes(8, "little")
        self.map[0] = ARMED

    def same(self) -> bool:
        """Whether the file at the path is still this one."""
        try:
            found = self._path.lstat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino, found.st_size) == (*self.identity, SIZE)

    def __str__(self) -> str:
        """Its path."""
        return str(self._path)
