"""Files that must not be half there: replaced whole, and known again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["same_file", "sync_directory", "write_durably"]


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


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file whole: temporary file (mode 0600), sync, rename, sync of the directory.

    Raises:
        OSError: some step failed; the old file is still there.
    """
    # A name of its own for each writer: two threads of one process may write the same file.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    temporary = Path(name)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
