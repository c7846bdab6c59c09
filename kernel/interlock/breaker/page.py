"""The page: one byte that every process attached to a home can see at once.

Byte 0 mirrors the latch; what else stands in it tells `interlock.breaker.layout`. There are two of it, and each alone
can say halt: `MemoryPage`, mapped into every process of this machine, which a halt sets first, and `FilePage` on the
home's disk, which is written beside everything else. So an engine that sees the byte before the latch's file knows
from the record in the page who did it, and why.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from interlock.breaker.filepage import FilePage
from interlock.breaker.files import write_durably
from interlock.breaker.latch import LatchError
from interlock.breaker.layout import ARMED_FOR_AT, BEGUN_AT, HALTS_AT, RECORD_AT, fresh
from interlock.breaker.lock import Pen
from interlock.breaker.memory import SIZE, place, places, whole
from interlock.breaker.memorypage import MemoryPage
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FilePage", "MemoryPage", "Page", "halt_all", "peek"]

_PEN_S: Final = 0.25


def _unreadable(error: OSError) -> LatchError:
    return LatchError(HaltCode.HOME_UNREADABLE, whole(error))


class Page:
    """The page of one home: in memory, and on its disk.

    Attributes:
        map: the one in memory; the order path reads ``map[0]``.
        heard: what the one on the disk said when it was looked at last (`look`).
    """

    __slots__ = ("_file", "_memory", "_mirrored", "heard", "map")

    def __init__(self, path: Path, home: str | None, *, armed: bool = False) -> None:
        """Open both. The one in memory is made, if there is none.

        Args:
            path: the file in the home.
            home: whose it must be; None: whoever's, for a halt.
            armed: make it armed, if the file says so, too: for who knows that the record is armed.

        Raises:
            LatchError: one of them is absent, unreadable, of the wrong size, or of another home.
        """
        self._file = FilePage(path, home)
        self.heard = self._file.byte
        try:
            self._memory = MemoryPage.had(path.parent, self._file.home, armed=armed and self.heard == ARMED)
        except OSError as error:
            raise _unreadable(error) from error
        self._mirrored = 0
        self.map = self._memory.map

    @staticmethod
    def make(path: Path, home: str) -> None:
        """Write a fresh page, halted. The one in memory follows when it is opened."""
        write_durably(path, fresh(home, 0))

    @property
    def home(self) -> str:
        """The UUID that stands in it."""
        return self._file.home

    @property
    def inode(self) -> int:
        """Of the file."""
        return self._file.inode

    @property
    def memory(self) -> tuple[int, int]:
        """Device and inode of the one in memory."""
        return self._memory.identity

    @property
    def begun(self) -> bool:
        """Whether a journal was begun in this home, so that an empty one is a loss."""
        return self._file.begun

    def begin(self) -> None:
        """The journal has its first records.

        Raises:
            OSError: it can't be written.
        """
        self._file.write((BEGUN_AT, b"\x01"))

    # -- Halting -----------------------------------------------------------------------------------

    def halt(self) -> None:
        """Stop emission in every process that has this memory, now. It asks no disk: see `mirror`."""
        self._memory.halt()

    def mirror(self) -> None:
        """Write the halt that stands in memory into the file, too. A disk may hold this up, or refuse it.

        The byte goes first: the mark may be one that the file was armed for, and two may write at once. No reset comes
        between, since it has the pen alone.

        Raises:
            OSError: it can't be written.
        """
        mark = self.mark
        if self.map[0] == ARMED or self._mirrored == mark != 0:
            return
        halted = self._file.byte != ARMED  # then another's record may stand there
        if not halted:
            self._file.write((RECORD_AT, self._memory.left().ljust(SIZE - RECORD_AT, b"\x00")))
        if not halted or (mark and self._file.halts != mark):
            self._file.write((0, b"\x00"), (HALTS_AT, mark.to_bytes(8, "little")))
        self.heard = 0
        self._mirrored = mark

    def repeat(self) -> None:
        """Write a halt that perhaps another made into the file, unless a reset from another memory has ended it.

        With the pen, so that no reset comes between the look and the writing. While one is under way it is left for
        another time. A home that was moved has no reset by its path.

        Raises:
            OSError: it can't be read or written.
        """
        with contextlib.ExitStack() as stack:
            mine = True
            with contextlib.suppress(OSError):
                mine = stack.enter_context(contextlib.closing(Pen(self._file.directory))).shared()
            if mine and not self.over:
                self.mirror()

    @property
    def mirrored(self) -> bool:
        """Whether the latest halt in memory is known to have reached the file."""
        return self._mirrored == self.mark != 0

    @property
    def mark(self) -> int:
        """The mark of the latest halt in memory; 0: there was none since it was made."""
        return self._memory.halts

    @property
    def halts(self) -> tuple[int, int]:
        """The marks of the latest halts, in memory and in the file.

        Raises:
            OSError: the file can't be read.
        """
        return self.mark, self._file.halts

    def left(self) -> bytes:
        """The record that was left since the page was armed; it may be half written, or none."""
        return self._memory.left() or self._file.left()

    # -- Arming, and looking -----------------------------------------------------------------------

    def arm(self, halts: tuple[int, int]) -> None:
        """Mirror an armed latch; only after the record is durable. The byte that orders look at goes last.

        Args:
            halts: the marks of the halts that are over with this.

        Raises:
            OSError: the file can't be written; then it is not armed.
        """
        armed_for = halts[1].to_bytes(8, "little")
        self._file.write((RECORD_AT, bytes(SIZE - RECORD_AT)), (ARMED_FOR_AT, armed_for), (0, bytes([ARMED])))
        self.heard = ARMED
        self._memory.arm(halts[0])

    def mend(self) -> None:
        """Set the byte in memory, if it is armed for another mark than the latest halt's: see `MemoryPage.armed`."""
        self._memory.mend()

    def rejoin(self) -> None:
        """Arm the one in memory, if a reset by somebody with another memory has ended the very halt that it tells of.

        Only with the running lock shared: so no killer is acknowledged meanwhile. One that comes all the same leaves
        another mark, and then it is not armed. And with the pen alone: of two who looked at once, the second could
        arm it over a halt that stopped an engine which the first one's arming had let start.

        Raises:
            OSError: the file can't be read, or the home not opened.
        """
        if not self.over:
            return
        with contextlib.closing(Pen(self._file.directory)) as pen:
            mark = self.mark
            if pen.exclusive(_PEN_S) and self.over:
                self._memory.arm(mark)
                self._memory.mend()

    @property
    def over(self) -> bool:
        """Whether the memory tells of a halt that a reset by somebody with another memory has ended.

        Raises:
            OSError: the file can't be read.
        """
        return _is_over(self._memory, self._file)

    @property
    def armed(self) -> bool:
        """Whether both say so now, each since its latest halt. A disk may hold up the answer."""
        return self._memory.armed and self.look() == ARMED

    @property
    def halted(self) -> bool:
        """Whether one of them says halt, as far as is known without asking a disk."""
        return not self.map[0] == ARMED == self.heard

    def look(self) -> int:
        """What the file says now. A disk may hold up the answer."""
        self.heard = self._file.byte
        return self.heard

    def check(self) -> None:
        """See that the files are still those that are open.

        Raises:
            LatchError: one is gone or another.
        """
        self._file.check()
        if not self._memory.same():
            message = f"{self._memory}: gone or replaced while in use; what else removes files there?"
            raise LatchError(HaltCode.PAGE_REPLACED, message)

    def close(self) -> None:
        """Let go of the mapping."""
        self.map.close()


def _is_over(memory: MemoryPage, file: FilePage) -> bool:
    """Whether the page in memory tells of a halt that the file was armed after, by a reset that knew of it.

    Both have its mark, and it is the latest in both; so there was none since that the other does not know. A byte that
    says halt and has no mark of its own, since somebody zeroed it, say, is over only with a reset that finds it.
    """
    halted = memory.map[0] != ARMED and memory.halts != memory.armed_for
    return halted and file.byte == ARMED and memory.halts == file.halts


def peek(path: Path, home: str) -> int:
    """What both pages say together, with nothing made: `ARMED`, or halt. One that is not in memory says nothing.

    Raises:
        LatchError: the file is absent, unreadable, of the wrong size, or of another home; or the memory is not as it
            must be.
    """
    file = FilePage(path, home)
    byte = file.byte
    try:
        with place(path.parent, home) as at:
            memory = MemoryPage(at, home)
            byte = byte if memory.armed or _is_over(memory, file) else 0
            memory.map.close()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unreadable(error) from error
    return byte


def halt_all(directory: Path, told: Callable[[str], bytes]) -> tuple[set[tuple[int, int]], list[Exception]]:
    """Halt every page in memory that is at a home, whatever the home's disk is like.

    Args:
        directory: the home.
        told: makes the record that is left for a home's UUID.

    Returns:
        Device and inode of each that was halted; and what went wrong. One that can't be halted keeps no other from it.
    """
    halted: set[tuple[int, int]] = set()
    troubles: list[Exception] = []
    try:
        for at in places(directory):
            try:
                memory = MemoryPage(at)
            except FileNotFoundError:  # just being made
                continue
            except (OSError, LatchError) as error:
                troubles.append(error)
                continue
            try:
                if memory.map[0] == ARMED:  # else another's record may stand there
                    memory.leave(told(memory.home))
            except TypeError as error:
                troubles.append(error)
            finally:
                memory.halt()
            halted.add(memory.identity)
    except OSError as error:
        troubles.append(error)
    return halted, troubles
