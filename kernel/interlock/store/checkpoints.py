"""Checkpoints in a home: one note a size, and the tokens that authorities gave for them.

    HOME/checkpoints/ENGINE/SIZE.note   the checkpoint, signed; witnesses' cosignatures are added to it
    HOME/anchors/ENGINE/SIZE.NAME.tst   a time-stamp token of the authority of this name
    HOME/keys/NNNN.note                 the lists of keys

A note is replaced whole when a cosignature comes, and never removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker.files import sync_directory, write_durably
from interlock.core.errors import InterlockError
from interlock.journal.notes import Note, NoteError
from interlock.journal.statements import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.journal.notes import Signature

__all__ = ["CheckpointError", "Notes", "Point"]

_NAME: Final = re.compile(r"[0-9]{20}\.note", re.ASCII)
_LARGEST: Final = 1 << 20


class CheckpointError(InterlockError):
    """A checkpoint in the home can't be read, or is not what its name says."""


@attrs.frozen
class Point:
    """A checkpoint, as a note and as what it says."""

    note: Note
    says: Checkpoint


class Notes:
    """The checkpoints of one engine.

    Args:
        home: the home's directory.
        engine: the engine's name.
    """

    def __init__(self, home: Path, engine: str) -> None:
        self.home = home
        self.directory = home / "checkpoints" / engine
        self.tokens = home / "anchors" / engine
        self._cosigning = threading.Lock()

    def sizes(self) -> list[int]:
        """The sizes of which there is a note, the smallest first.

        Raises:
            OSError: the directory can't be read.
        """
        try:
            names = os.listdir(self.directory)  # noqa: PTH208 - names are all that is wanted
        except FileNotFoundError:
            return []
        return sorted(int(name.partition(".")[0]) for name in names if _NAME.fullmatch(name))

    def newest(self) -> Point | None:
        """The checkpoint of the largest size, or None.

        Raises:
            CheckpointError: it can't be read: then nobody knows what was signed.
        """
        try:
            sizes = self.sizes()
        except OSError as error:
            message = f"{self.directory}: {error}"
            raise CheckpointError(message) from error
        return self.read(sizes[-1]) if sizes else None

    def read(self, size: int) -> Point:
        """The checkpoint of this size.

        Raises:
            CheckpointError: there is none, or it can't be read.
        """
        path = self._path(size)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                note = Note.decode(file.read(_LARGEST + 1))
            says = Checkpoint.parse(note.text)
            says.stamp()
        except (OSError, NoteError) as error:
            message = f"{path}: the checkpoint can't be read: {error}"
            raise CheckpointError(message) from error
        if says.size != size:
            message = f"{path}: is a checkpoint of size {says.size}"
            raise CheckpointError(message)
        return Point(note, says)

    def write(self, point: Point) -> None:
        """Keep a checkpoint, durably. One that is there already, of the same root, stays.

        Raises:
            OSError: it can't be.
            CheckpointError: there is one of that size and of another root.
        """
        size = point.says.size
        if os.path.lexists(self._path(size)):
            there = self.read(size)
            if there.says.root != point.says.root:
                message = f"{self._path(size)}: has another root than the journal at that size"
                raise CheckpointError(message)
            return
        _make(self.directory, self.home)
        write_durably(self._path(size), point.note.encode())

    def cosign(self, size: int, signature: Signature) -> None:
        """Add a witness's signature to a checkpoint.

        Raises:
            OSError: it can't be written.
            CheckpointError: the checkpoint can't be read.
        """
        with self._cosigning:  # two witnesses may answer at the same time
            write_durably(self._path(size), self.read(size).note.signed_by(signature).encode())

    def tidy(self) -> None:
        """Remove what a crash left of notes that had not got their names yet. Only whoever writes them may.

        Raises:
            OSError: it can't be.
        """
        for directory in (self.directory, self.tokens):
            for left in directory.glob(".*.new") if directory.is_dir() else ():
                left.unlink(missing_ok=True)

    def stamp(self, size: int, witness: str, token: bytes) -> None:
        """Keep a token.

        Raises:
            OSError: it can't be written.
        """
        _make(self.tokens, self.home)
        write_durably(self.tokens / f"{size:020d}.{witness}.tst", token)

    def _path(self, size: int) -> Path:
        return self.directory / f"{size:020d}.note"


def _make(directory: Path, top: Path) -> None:
    if directory == top or directory.is_dir():
        return
    _make(directory.parent, top)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    sync_directory(directory.parent)
