"""Which code this is: one hash over the source files of the installed package."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

__all__ = ["code_hash", "hash_of"]

_PACKAGE: Final = Path(__file__).parents[1]


@cache
def code_hash() -> str:
    """The hash of the code that runs here, as ``docs/journal.md`` defines it; it is read once a process.

    Raises:
        OSError: the files can't be read.
    """
    return hash_of(_PACKAGE)


def hash_of(package: Path) -> str:
    """SHA-256, in hex, over a line for each ``.py`` file: path, NUL, SHA-256 of its bytes in hex; sorted by path."""
    files = sorted((path.relative_to(package).as_posix(), path) for path in package.rglob("*.py"))
    lines = (f"{name}\0{sha256(path.read_bytes()).hexdigest()}\n" for name, path in files)
    return sha256("".join(lines).encode()).hexdigest()
