"""The journal's files: append, sync, turn to the next, and read them again."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

import zstandard

from interlock.breaker.files import same_file, sync_directory
from interlock.journal.recovery import seals
from interlock.journal.writer import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "COMPRESSED",
    "NO_ROOM",
    "RESERVE_BYTES",
    "MappedSegment",
    "Segment",
    "chunks",
    "first_of",
    "is_closed",
    "lines",
    "opened",
    "segment_name",
    "segments",
    "unfinished",
]

RESERVE_BYTES: Final = 1 << 18
"""Room that is kept for what must be told after there is no more."""

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})
"""What the system says when a disk, a quota, a file or the room for mappings is full."""

COMPRESSED: Final = ".zst"
_CHUNK_BYTES: Final = 1 << 20
_WINDOW_BYTES: Final = 1 << 20
_ZEROS: Final = bytes(_WINDOW_BYTES)
_ENDING: Final = ".jsonl"
_NEW: Final = ".new"
_CLOSED: Final = 0o400


class Segment:
    """The open end of the journal: a file that is only appended to.

    Room is allocated ahead, a window at a time, with a reserve behind it. So a full disk is met while the reserve
    is still there. It is written once, with zeros: then a sync has to wait neither for the file's size nor for where
    it lies on the disk, and the pages of a mapping are there before the records that come to stand in them. What is
    left of the room stands behind the last record; it is cut off when the file is closed, or found by `torn.trim`
    after a crash.

    Attributes:
        path: of the file.
        size: bytes that were written, without the room behind them.
    """

    __slots__ = ("_descriptor", "_end", "_former", "_short", "path", "size")

    def __init__(self, path: Path) -> None:
        """Open it behind its last byte, or make it. That there is no room for more is said by the first `write`.

        Raises:
            OSError: it can't be.
        """
        self.path = path
        self._former = -1
        self._short: str | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self.size = self._end = os.fstat(self._descriptor).st_size
            self._ahead(0)
        except OSError:
            os.close(self._descriptor)
            raise
        sync_directory(path.parent)  # also if it was there: who made or named it may have died before this

    def write(self, data: bytes | bytearray) -> str | None:
        """Append all of it. It is then with the operating system and outlives this process.

        Returns:
            Why there is no more room than the reserve now, or None.
        """
        short = self._ahead(len(data)) if self.size + len(data) + RESERVE_BYTES > self._end else self._short
        written = os.pwrite(self._descriptor, data, self.size)
        self.size += written
        if written != len(data):
            message = f"{self.path}: only {written} of {len(data)} bytes were taken"
            raise OSError(message)
        return short

    def _ahead(self, length: int) -> str | None:
        """Get room for so many bytes, a window and the reserve, once; then say why not, until `room` is asked.

        Raises:
            OSError: it failed for another reason than want of room.
        """
        if self._short is None:
            try:
                self._grow(length + RESERVE_BYTES + _WINDOW_BYTES)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._short = f"{self.path}: no room for more: {error}"
                with contextlib.suppress(OSError):  # a part of it may have been had
                    self._end = max(self._end, os.fstat(self._descriptor).st_size)
        return self._short

    def _grow(self, length: int) -> None:
        """Have so many bytes of room behind the last record."""
        end = self.size + length
        os.posix_fallocate(self._descriptor, self._end, end - self._end)
        place = max(self._end, self.size)  # records may stand behind the room, if there was none
        while place < end:
            place += os.pwrite(self._descriptor, memoryview(_ZEROS)[: end - place], place)
        self._end = end

    def room(self) -> str | None:
        """Try again to get more room than the reserve; returns what `write` does."""
        self._short = None
        return self._ahead(0) if self.size + RESERVE_BYTES > self._end else None

    def sync(self) -> None:
        """Make it outlive the machine's power."""
        os.fdatasync(self._descriptor)

    def same(self) -> bool:
        """Whether the file at the path is still this one, with nothing cut off and nothing added."""
        return same_file(self.path, self._descriptor, max(self._end, self.size))

    # -- The next one ----------------------------------------------------------------------------

    def turn(self, first: int, opening: bytes) -> None:
        """Close this file for good, and go on in the next, which appears whole and on the disk.

        The next one is made under another name, with its room. Only then is this one cut to its size, synced and made
        read-only, and the next gets its name: whatever step a crash comes before, every file that has a segment's
        name ends in a seal or is the open one.

        Args:
            first: the number of its first record.
            opening: its first bytes.

        Raises:
            NoRoomError: there is no room for it, and this one is as it was.
            OSError: some other step failed; nobody knows which file is the open one.
        """
        path = self.path.with_name(segment_name(first))
        name = path.with_name(f"{path.name}{_NEW}")
        try:
            name.unlink(missing_ok=True)
            fresh = self._made(name, opening)
        except OSError as error:
            with contextlib.suppress(OSError):
                name.unlink()
            if error.errno in NO_ROOM:  # a NoRoomError of ours has no number
                raise NoRoomError(error.errno, f"{path}: no room for a new segment: {error.strerror}") from error
            raise
        self._shut()
        name.rename(path)
        sync_directory(path.parent)
        fresh.path = path
        self._become(fresh)

    def _made(self, name: Path, opening: bytes) -> Self:
        """Another file like this one, that begins so, on the disk."""
        fresh = type(self)(name)
        try:
            short = fresh.write(opening)
            fresh.sync()
            if short is not None:
                raise NoRoomError(short)
        except OSError:
            fresh.abandon()
            raise
        return fresh

    def _shut(self) -> None:
        """Give back the room, and make the file durable and read-only."""
        os.ftruncate(self._descriptor, self.size)
        os.fdatasync(self._descriptor)
        os.fchmod(self._descriptor, _CLOSED)

    def _become(self, fresh: Self) -> None:
        """Take over its file. Another thread may still be syncing ours, so that is closed only by the turn after."""
        if self._former >= 0:
            os.close(self._former)
        self._former = self._descriptor
        self.path, self.size, self._end, self._descriptor = fresh.path, fresh.size, fresh._end, fresh._descriptor

    def close(self) -> None:
        """Give back the room that was not used, and close the file."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            self.abandon()

    def abandon(self) -> None:
        """Close without touching the file: in a forked child it is another process's to write."""
        for descriptor in (self._former, self._descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._former = self._descriptor = -1


class MappedSegment(Segment):
    """The same file, written through a mapping: no system call on the way of an order.

    The bytes are with the operating system as soon as they are copied, so they outlive this process like
    those of a `write`. They are copied into room that is allocated, so a full disk is never met as a signal.
    """

    __slots__ = ("_base", "_map", "_mapped", "_safe")

    def __init__(self, path: Path) -> None:
        """Open it behind its last byte, or make it. That there is no room for more is said by the first `write`.

        Raises:
            OSError: it can't be.
        """
        self._map: mmap.mmap | None = None
        self._base = self._safe = self._mapped = 0
        super().__init__(path)

    def _grow(self, length: int) -> None:
        """As it does, and map the room."""
        super()._grow(length)
        base = self.size - self.size % mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(self._descriptor, self._end - base, offset=base)
        except ValueError as error:  # somebody cut the file meanwhile
            message = f"{self.path}: {error}"
            raise OSError(message) from error
        self._map, self._base, self._mapped, self._safe = mapped, base, self._end, self._end - RESERVE_BYTES

    def write(self, data: bytes | bytearray) -> str | None:
        """Append all of it. It is then with the operating system and outlives this process.

        Returns:
            Why there is no more room than the reserve now, or None.
        """
        at = self.size
        end = at + len(data)
        short = None
        if end > self._safe:
            short = self._ahead(len(data))
            if end > self._mapped:  # the reserve is used up, or was never to be had: perhaps the file can grow for all
                super().write(data)
                return short
        base = self._base
        try:
            self._map[at - base : end - base] = data  # type: ignore[index] # None, once it is closed
        except (TypeError, ValueError) as error:
            message = f"{self.path}: closed"
            raise OSError(message) from error
        self.size = end
        return short

    def _become(self, fresh: Self) -> None:
        super()._become(fresh)
        self._map, self._base, self._mapped, self._safe = fresh._map, fresh._base, fresh._mapped, fresh._safe

    def abandon(self) -> None:
        """Close without touching the file: in a forked child it is another process's to write."""
        self._map = None
        super().abandon()


# -- Reading -----------------------------------------------------------------------------------------


def segments(directory: Path) -> list[Path]:
    """The segment files of a journal, oldest first; one that is there plain and compressed counts as plain."""
    found: dict[str, Path] = {}
    for path in sorted(directory.glob(f"*{_ENDING}*")):
        plain = path.name.removesuffix(COMPRESSED)
        if plain[: -len(_ENDING)].isdigit():  # then what is cut off is the ending
            found.setdefault(plain, path)  # the plain name is the first of the two
    return [found[plain] for plain in sorted(found)]


def segment_name(seq: int) -> str:
    """The name of the segment whose first record has this number."""
    return f"{seq:020d}{_ENDING}"


def first_of(path: Path) -> int:
    """The number of a segment's first record, by its name."""
    return int(path.name.partition(".")[0])


def is_closed(path: Path) -> bool:
    """Whether a segment is closed for good: nobody writes to it any more."""
    return path.name.endswith(COMPRESSED) or not path.stat().st_mode & 0o200


def unfinished(directory: Path) -> list[Path]:
    """What a crash left of segments that had not got their names yet: they hold nothing but an opening."""
    return sorted(directory.glob(f"*{_ENDING}{_NEW}"))


def opened(path: Path) -> BinaryIO:
    """Open a segment for reading, compressed or not; one that was just compressed is found by its other name.

    Raises:
        OSError: it can't be, or, while it is read, what is compressed is broken.
    """
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        if path.name.endswith(COMPRESSED):
            raise
        path = path.with_name(f"{path.name}{COMPRESSED}")
        file = path.open("rb", buffering=0)
    if path.name.endswith(COMPRESSED):
        return io.BufferedReader(_Inflated(file, path), _CHUNK_BYTES)
    return io.BufferedReader(cast("io.RawIOBase", file), _CHUNK_BYTES)


class _Inflated(io.RawIOBase):
    """The bytes that Zstandard frames stand for; what is wrong with them is an OSError like any other."""

    def __init__(self, file: io.FileIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # the io module hands a memoryview
        """Read."""
        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            message = f"{self._path}: not what was compressed: {error}"
            raise OSError(message) from error

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()


def chunks(path: Path) -> Iterator[bytes]:
    """The segment's bytes, a mebibyte at a time."""
    with opened(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def lines(path: Path) -> Iterator[bytes]:
    """The segment's lines, with their newline, but for those at its end that were not written whole: see `Recovery`.

    Zeros in a line that a seal follows were not left by a crash; then that line is the last.
    """
    with opened(path) as file:
        for line in file:
            if b"\x00" in line or not line.endswith(b"\n"):
                if any(seals(later) for later in file):
                    yield line
                return
            yield line
