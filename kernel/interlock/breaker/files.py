"""Files that must not be half there: replaced whole, and known again."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["make_file", "same_file", "settle", "sync_directory", "write_durably"]


def same_file(path: Path, descriptor: int, size: int | None = None) -> bool:
    """Whether the file at a path is the one that is open, and has this size, if one is given."""
    try:
        found = path.lstat()
        mine = os.fstat(descriptor)
    except OSError:
        return False
    if size is not None and found.st_size != size:
        return False
    return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)


def make_file(path: Path) -> None:
    """Make an empty file (mode 0600), durably, which must not be there yet.

    Raises:
        FileExistsError: it is.
        OSError: it can't be made.
    """
    with _opened_directory(path.parent) as directory:
        os.close(_made(path.name, directory))
        os.fsync(directory)


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file whole: temporary file (mode 0600), sync, rename, sync of the directory.

    All of it in the one directory that the path leads to at the beginning.

    Raises:
        OSError: some step failed; the old file is still there.
    """
    with _opened_directory(path.parent) as directory:
        # A name of its own for each writer: two threads of one process may write the same file.
        temporary = f".{path.name}.{os.urandom(8).hex()}.new"
        descriptor = _made(temporary, directory)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)


def _made(name: str, directory: int) -> int:
    """Make a file that belongs to the directory's owner, also if root makes it: his engines must be able to open it.

    If it can't be given to him they halt over it, which is no reason to fail whoever writes a halt.
    """
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            found = os.fstat(directory)
            os.fchown(descriptor, found.st_uid, found.st_gid)
    return descriptor


@contextlib.contextmanager
def _opened_directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with _opened_directory(path) as directory:
        os.fsync(directory)


def settle(path: Path) -> None:
    """Make durable what stands at a path now, bytes and name: who put it there may have died, or failed, before that.

    Raises:
        OSError: it can't be; or there is nothing.
    """
    with _opened_directory(path.parent) as directory:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(directory)
