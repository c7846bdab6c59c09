"""The journal's files: append, sync, and set aside what a crash tore."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from interlock.breaker.latch import sync_directory, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Segment", "chunks", "cut", "lines", "segments"]

_CHUNK_BYTES: Final = 1 << 20
_ENDING: Final = ".jsonl"


class Segment:
    """The open end of the journal: a file that is only appended to.

    Attributes:
        path: of the file.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        """Open it for appending, or make it.

        Raises:
            OSError: it can't be.
        """
        self.path = path
        made = not path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)
        if made:
            sync_directory(path.parent)

    def write(self, data: bytes) -> None:
        """Append all of it. It is then with the operating system and outlives this process."""
        written = os.write(self._descriptor, data)
        if written != len(data):
            message = f"{self.path}: only {written} of {len(data)} bytes were taken"
            raise OSError(message)

    def sync(self) -> None:
        """Make it outlive the machine's power."""
        os.fdatasync(self._descriptor)

    def same(self) -> bool:
        """Whether the file at the path is still this one."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        mine = os.fstat(self._descriptor)
        return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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


def cut(path: Path, size: int) -> tuple[Path, bytes]:
    """Set aside all bytes from ``size`` on, then cut the file back to it.

    The copy is durable before the file is cut, so a crash in between only makes a second copy.

    Returns:
        The sidecar's path, and what is in it.
    """
    with path.open("rb") as file:
        file.seek(size)
        torn = file.read()
    number = 0
    while (sidecar := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    write_durably(sidecar, torn)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sidecar, torn
