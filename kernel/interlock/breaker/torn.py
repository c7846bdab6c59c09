"""What a crash tore: cut it off, keep it, and put it back if nobody carried it over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import sync_directory, write_durably
from interlock.breaker.segment import COMPRESSED, chunks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["carried", "cut", "finish", "inflate", "interrupted", "put_back", "set_aside", "trim"]

_CHUNK_BYTES: Final = 1 << 20
_OPEN: Final = 0o600
_CLOSED: Final = 0o400


def trim(path: Path) -> None:
    """Cut off the zeros behind the last record: room that a crashed process had set aside. No record has one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = end = os.fstat(descriptor).st_size
        while end:
            start = max(0, end - _CHUNK_BYTES)
            kept = os.pread(descriptor, _CHUNK_BYTES, start).rstrip(b"\x00")  # behind the end are zeros, too
            end = start + len(kept)
            if kept:
                break
        if end < size:
            os.ftruncate(descriptor, end)
    finally:
        os.close(descriptor)


def finish(path: Path) -> None:
    """Close a segment that has a successor, if its writer came no further than to name that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, _CLOSED)
    finally:
        os.close(descriptor)


def inflate(path: Path) -> Path:
    """A closed segment that must be cut after all: plain, and open for writing. Its compressed form is set aside."""
    if not path.name.endswith(COMPRESSED):
        path.chmod(_OPEN)
        return path
    plain = path.with_name(path.name.removesuffix(COMPRESSED))
    write_durably(plain, b"".join(chunks(path)))
    set_aside(path)
    return plain


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
