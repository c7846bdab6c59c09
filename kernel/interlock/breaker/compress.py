"""Compressing closed segments: the plain file goes only when the compressed one was read back whole, from the disk.

A crash at any step leaves the plain file, or both, of which the plain one counts, or the compressed one alone. What a
crash leaves under a third name is nothing, and is made anew. One process at a time has a segment in hand, which a lock
on the plain file says: of two, each could take away what the other has just read back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import zstandard

from interlock.breaker.files import same_file, sync_directory
from interlock.breaker.segment import COMPRESSED, chunks, is_closed, segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["compress", "compressible"]

_LEVEL: Final = 3
_CLOSED: Final = 0o400
_NEW: Final = ".new"


def compressible(directory: Path) -> list[Path]:
    """The closed segments of a journal that are still plain; never the last, which an engine goes on from."""
    return [path for path in segments(directory)[:-1] if is_closed(path) and not path.name.endswith(COMPRESSED)]


def compress(path: Path) -> Path:
    """Put a compressed segment in the place of a closed, plain one.

    Returns:
        Its path.

    Raises:
        OSError: it can't be, or what was written is not what can be read; then the plain one is still there. Or another
            process is just doing it.
    """
    with _alone(path):
        return _compress(path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only one who compresses a segment."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{path}: another process is compressing it"
            raise OSError(message) from error
        if not same_file(path, descriptor):  # it was just done
            message = f"{path}: is compressed already"
            raise OSError(message)
        yield
    finally:
        os.close(descriptor)


def _compress(path: Path) -> Path:
    packed = path.with_name(f"{path.name}{COMPRESSED}")
    new = path.with_name(f"{packed.name}{_NEW}")
    new.unlink(missing_ok=True)
    wanted = sha256()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _CLOSED)
    with os.fdopen(descriptor, "wb") as file:
        plain = path.stat()
        if os.geteuid() == 0:  # it must stay the engine's own, also if root does this
            os.fchown(descriptor, plain.st_uid, plain.st_gid)
        packing = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        with packing.stream_writer(file, size=plain.st_size, closefd=False) as writer:
            for chunk in chunks(path):
                wanted.update(chunk)
                writer.write(chunk)
        file.flush()
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that what is read back comes from the disk
    new.rename(packed)
    sync_directory(path.parent)
    found = sha256()
    for chunk in chunks(packed):
        found.update(chunk)
    if found.digest() != wanted.digest():
        packed.unlink()
        message = f"{packed}: what is read there is not what was written; {path.name} stays as it is"
        raise OSError(message)
    path.unlink()
    sync_directory(path.parent)
    return packed
