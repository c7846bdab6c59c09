"""The journal's files: append, sync, and set aside what a crash tore."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import same_file, sync_directory, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MappedSegment", "Segment", "chunks", "cut", "lines", "segment_name", "segments", "trim"]

_CHUNK_BYTES: Final = 1 << 20
_WINDOW_BYTES: Final = 1 << 22
_ENDING: Final = ".jsonl"


class Segment:
    """The open end of the journal: a file that is only appended to.

    Attributes:
        path: of the file.
    """

    __slots__ = ("_at", "_descriptor", "path")

    def __init__(self, path: Path) -> None:
        """Open it for appending, or make it.

        Raises:
            OSError: it can't be.
        """
        self.path = path
        made = not path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)
        self._at = os.fstat(self._descriptor).st_size
        if made:
            sync_directory(path.parent)

    def write(self, data: bytes) -> None:
        """Append all of it. It is then with the operating system and outlives this process."""
        written = os.write(self._descriptor, data)
        self._at += written
        if written != len(data):
            message = f"{self.path}: only {written} of {len(data)} bytes were taken"
            raise OSError(message)

    def sync(self) -> None:
        """Make it outlive the machine's power."""
        os.fdatasync(self._descriptor)

    def same(self) -> bool:
        """Whether the file at the path is still this one, with nothing cut off and nothing added."""
        return same_file(self.path, self._descriptor, self._at)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    abandon = close


class MappedSegment:
    """The same file, written through a mapping: no system call on the way of an order.

    The bytes are with the operating system as soon as they are copied, so they outlive this process like
    those of a `write`. Room is allocated ahead, so a full disk is met here as an error and not as a signal,
    and while there is still some room left. What is left of the room stands as zeros behind the last record; it is
    cut off when the file is closed, or found by `trim` after a crash.

    Attributes:
        path: of the file.
    """

    __slots__ = ("_at", "_base", "_descriptor", "_end", "_map", "path")

    def __init__(self, path: Path) -> None:
        """Open it behind its last byte, or make it.

        Raises:
            OSError: it can't be, or there is no room for it.
        """
        self.path = path
        made = not path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._at = os.fstat(self._descriptor).st_size
            self._map: mmap.mmap | None = None
            self._grow(0)
        except OSError:
            os.close(self._descriptor)
            raise
        if made:
            sync_directory(path.parent)

    def _grow(self, length: int) -> None:
        """Map the room from here on, with space for so many bytes and a window more."""
        base = self._at - self._at % mmap.ALLOCATIONGRANULARITY
        size = self._at - base + length + _WINDOW_BYTES
        size += -size % mmap.ALLOCATIONGRANULARITY
        os.posix_fallocate(self._descriptor, base, size)
        mapped = mmap.mmap(self._descriptor, size, offset=base)
        if self._map is not None:
            self._map.close()
        self._map, self._base, self._end = mapped, base, base + size

    def write(self, data: bytes) -> None:
        """Append all of it. It is then with the operating system and outlives this process."""
        at = self._at
        end = at + len(data)
        if end > self._end:
            self._grow(len(data))
        base = self._base
        try:
            self._map[at - base : end - base] = data  # type: ignore[index] # None, once it is closed
        except (TypeError, ValueError) as error:
            message = f"{self.path}: closed"
            raise OSError(message) from error
        self._at = end

    def sync(self) -> None:
        """Make it outlive the machine's power."""
        os.fdatasync(self._descriptor)

    def same(self) -> bool:
        """Whether the file at the path is still this one, and nobody cut it."""
        return same_file(self.path, self._descriptor, self._end)

    def close(self) -> None:
        """Give back the room that was not used, and close the file. In a forked child, only close."""
        if self._descriptor >= 0:
            if self._map is not None:
                mapped, self._map = self._map, None
                mapped.close()
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._at)
            self.abandon()

    def abandon(self) -> None:
        """Close without touching the file: it is another process's to write."""
        if self._descriptor >= 0:
            self._map = None
            os.close(self._descriptor)
            self._descriptor = -1


def trim(path: Path) -> None:
    """Cut off the zeros behind the last record: room that a crashed process had set aside. No record has one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = end = os.fstat(descriptor).st_size
        while end:
            start = max(0, end - _CHUNK_BYTES)
            kept = os.pread(descriptor, end - start, start).rstrip(b"\x00")
            end = start + len(kept)
            if kept:
                break
        if end < size:
            os.ftruncate(descriptor, end)
    finally:
        os.close(descriptor)


def segments(directory: Path) -> list[Path]:
    """The segment files of a journal, oldest first."""
    return sorted(path for path in directory.glob(f"*{_ENDING}") if path.name[: -len(_ENDING)].isdigit())


def segment_name(seq: int) -> str:
    """The name of the segment whose first record has this number."""
    return f"{seq:020d}{_ENDING}"


def chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, a mebibyte at a time."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def lines(path: Path) -> Iterator[bytes]:
    """The file's lines with their newline; last, perhaps, bytes without one."""
    with path.open("rb", buffering=_CHUNK_BYTES) as file:
        yield from file


def _sidecar(path: Path) -> Path:
    number = 0
    while any(map(os.path.lexists, (sidecar := path.with_name(f"{path.name}.torn-{number}"), _open(sidecar)))):
        number += 1
    return sidecar


def _open(sidecar: Path) -> Path:
    """The name of a sidecar until what is in it was carried over."""
    return sidecar.with_name(f"{sidecar.name}.open")


def set_aside(path: Path) -> None:
    """Take a whole segment out of the journal, under the name of a sidecar."""
    path.rename(_sidecar(path))
    sync_directory(path.parent)


def cut(path: Path, size: int) -> tuple[Path, bytes]:
    """Set aside all bytes from ``size`` on, then cut the file back to it.

    The copy is durable before the file is cut. It is *open* until `carried` says that the journal holds what
    could be read in it; if a crash comes before that, `put_back` undoes the cut, and it is made again.

    Returns:
        The sidecar's path, as it will be, and what is in it.
    """
    with path.open("rb") as file:
        file.seek(size)
        torn = file.read()
    sidecar = _sidecar(path)
    write_durably(_open(sidecar), torn)
    _replace_tail(path, size, b"")
    return sidecar, torn


def carried(sidecar: Path) -> None:
    """What is in the sidecar is in the journal, sealed."""
    _open(sidecar).rename(sidecar)
    sync_directory(sidecar.parent)


def interrupted(path: Path) -> list[tuple[Path, bytes]]:
    """The sidecars that are still open, and what is in them."""
    found = sorted(path.parent.glob(_open(path.with_name(f"{path.name}.torn-*")).name))
    return [(sidecar.with_suffix(""), sidecar.read_bytes()) for sidecar in found]


def put_back(path: Path, size: int, torn: bytes) -> None:
    """Undo a cut: after ``size`` bytes the file has this end again. What it has there now is set aside."""
    with path.open("rb") as file:
        file.seek(size)
        now = file.read()
    if now != torn:
        if now:
            write_durably(_sidecar(path), now)
        _replace_tail(path, size, torn)


def _replace_tail(path: Path, size: int, tail: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(descriptor, size)
        view = memoryview(tail)
        while view:
            written = os.pwrite(descriptor, view, size)
            size += written
            view = view[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
