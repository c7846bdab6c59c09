"""The page: one byte that every process attached to a home can see at once.

Byte 0 mirrors the latch: `ARMED`, or anything else for halt. Behind it stands whose page it is, so that a
foreign file put in its place is known for what it is; and then the record that a halt from outside is about
to write into the latch, so that an engine which sees the byte before the file knows who did it, and why.

There are two of it, and each alone can say halt.

- `MemoryPage` is on the machine's memory disk (`interlock.breaker.memory`), mapped into every process. It is what the
  way of an order looks at, and what a halt sets first: reading the byte is one memory read, and setting it to zero
  needs no disk, no lock and no consent. It is gone after a boot.
- `FilePage` is the file ``page`` in the home. It is read and written by system calls, which a disk may refuse or hold
  up; so a halt writes it beside everything else, and nothing waits for it that must not. It reaches those who have a
  memory disk of their own, as containers may, and it is what is left after a boot.

Whoever may write the memory disk's files may also truncate them; then the next look at the byte ends the process
(SIGBUS). That ends emission, too.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import write_durably
from interlock.breaker.latch import LatchError
from interlock.breaker.memory import SIZE, Place, place, places, whole
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FilePage", "MemoryPage", "Page", "halt_all", "peek"]

_NAME: Final = "page"
_MAGIC: Final = b"interlock page 1\n"
_HOME_AT: Final = 64
_HOME_LENGTH: Final = 36
_ARMED_FOR_AT: Final = 104
_HALTS_AT: Final = 112
_HALTS_END: Final = 120
_PID_BITS: Final = 22  # as many as Linux has
_BEGUN_AT: Final = 120
_RECORD_AT: Final = 128


def _fresh(home: str, byte: int) -> bytes:
    data = bytearray(SIZE)
    data[0] = byte
    data[1 : 1 + len(_MAGIC)] = _MAGIC
    data[_HOME_AT : _HOME_AT + _HOME_LENGTH] = home.encode()[:_HOME_LENGTH].ljust(_HOME_LENGTH, b"\x00")
    return bytes(data)


def _home_in(data: bytes) -> str | None:
    """The UUID that stands in a page; None if it is no page."""
    if data[1 : 1 + len(_MAGIC)] != _MAGIC:
        return None
    return data[_HOME_AT : _HOME_AT + _HOME_LENGTH].decode("ascii", "replace").strip("\x00")


def _unreadable(error: OSError) -> LatchError:
    return LatchError(HaltCode.HOME_UNREADABLE, whole(error))


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
        whose = _home_in(self.map[:])
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
                at.make(_NAME, _fresh(home, ARMED if armed else 0))  # unless somebody was faster
                return cls(at, home)

    def halt(self) -> None:
        """Stop emission, now.

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
        """Leave a record. One that is too long is not left; then the byte alone says halt."""
        room = SIZE - _RECORD_AT
        self.map[_RECORD_AT:SIZE] = (record if len(record) <= room else b"").ljust(room, b"\x00")

    def left(self) -> bytes:
        """The record that was left; it may be half written, or none."""
        return self.map[_RECORD_AT:SIZE].rstrip(b"\x00")

    @property
    def armed_for(self) -> int:
        """The mark of the halt that was over when it was armed last."""
        return int.from_bytes(self.map[_ARMED_FOR_AT:_HALTS_AT], "little")

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
        whose = _home_in(data)
        if whose is None or (home is not None and whose != home):
            message = f"{path}: not the page of home {home}"
            raise LatchError(HaltCode.PAGE_REPLACED, message)
        self.home = whose

    def __del__(self) -> None:
        """Close it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _read(self, at: int, end: int) -> bytes:
        return os.pread(self._descriptor, end - at, at)

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
            head = self._read(0, _HALTS_END)
            if head and head[_ARMED_FOR_AT:_HALTS_AT] == head[_HALTS_AT:]:
                return head[0]
        return 0

    @property
    def halts(self) -> int:
        """The mark of the latest halt that reached it.

        Raises:
            OSError: it can't be read.
        """
        return int.from_bytes(self._read(_HALTS_AT, _HALTS_END), "little")

    @property
    def begun(self) -> bool:
        """Whether a journal was begun in this home."""
        with contextlib.suppress(OSError):
            return self._read(_BEGUN_AT, _BEGUN_AT + 1) != b"\x00"
        return True

    def left(self) -> bytes:
        """The record that was left in it."""
        with contextlib.suppress(OSError):
            return self._read(_RECORD_AT, SIZE).rstrip(b"\x00")
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
        write_durably(path, _fresh(home, 0))

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
        self._file.write((_BEGUN_AT, b"\x01"))

    # -- Halting -----------------------------------------------------------------------------------

    def halt(self) -> None:
        """Stop emission in every process that has this memory, now. It asks no disk: see `mirror`."""
        self._memory.halt()

    def mirror(self) -> None:
        """Write the halt that stands in memory into the file, too. A disk may hold this up, or refuse it.

        Raises:
            OSError: it can't be written.
        """
        mark = self.mark
        if self.map[0] == ARMED or self._mirrored == mark != 0:
            return
        halted = self._file.byte != ARMED  # then another's record may stand there
        if not halted:
            self._file.write((_RECORD_AT, self._memory.left().ljust(SIZE - _RECORD_AT, b"\x00")))
        if not halted or (mark and self._file.halts != mark):
            self._file.write((_HALTS_AT, mark.to_bytes(8, "little")), (0, b"\x00"))
        self.heard = 0
        self._mirrored = mark

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

    def leave(self, record: bytes) -> None:
        """Leave the latch record that is about to be written, for whoever sees the byte before the file.

        One that is too long is not left; then the byte alone says halt.
        """
        self._memory.leave(record)

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
        self._file.write((_RECORD_AT, bytes(SIZE - _RECORD_AT)), (_ARMED_FOR_AT, armed_for), (0, bytes([ARMED])))
        self.heard = ARMED
        self._memory.arm(halts[0])

    def mend(self) -> None:
        """Set the byte in memory, if it is armed for another mark than the latest halt's: see `MemoryPage.armed`."""
        self._memory.mend()

    def rejoin(self) -> None:
        """Arm the one in memory, if a reset by somebody with another memory has ended the very halt that it tells of.

        Only with the running lock shared: so no killer is acknowledged meanwhile. One that comes all the same leaves
        another mark, and then it is not armed.

        Raises:
            OSError: the file can't be read.
        """
        mark = self.mark
        if _is_over(self._memory, self._file):
            self._memory.arm(mark)
            self._memory.mend()

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
