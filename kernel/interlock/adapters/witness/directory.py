"""A directory on another volume as a witness: one file a checkpoint, never overwritten, never removed.

An empty directory says the same as a volume that is not mounted. So one is made a witness by a file in it
(`DirectoryWitness.make`), and without that file it is not asked but missing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from interlock.breaker.files import make_file, sync_directory, write_durably
from interlock.breaker.lock import FileLock
from interlock.journal.notes import Note, NoteError
from interlock.journal.statements import Checkpoint
from interlock.store.witness import Kept, Receipt, WitnessError, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["DirectoryWitness"]

_MARK: Final = ".interlock-witness"
_ENDING: Final = ".note"
_WAIT_S: Final = 2.0


class DirectoryWitness:
    """Keeps checkpoints in ``DIRECTORY/HOME/ENGINE/SIZE.note``.

    Args:
        path: the directory, which `make` has prepared.
        name: for journal and messages.
    """

    remembers = True

    def __init__(self, path: Path, name: str = "directory") -> None:
        self.path = path
        self.name = name

    @staticmethod
    def make(path: Path) -> None:
        """Prepare a directory, which must be there: once, with the volume mounted.

        Raises:
            OSError: it can't be.
        """
        with contextlib.suppress(FileExistsError):
            make_file(path / _MARK)

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Write the checkpoint, unless it contradicts what is there."""
        del proof  # this witness believes; what it has is compared by whoever asks for it
        point = Checkpoint.parse(note.text)
        where = self._place(point.origin)
        try:
            _make(where, self.path)
            lock = FileLock(self.path / _MARK)
            try:
                if not lock.exclusive(_WAIT_S):
                    message = f"{self.path}: another process is writing there"
                    raise WitnessError(message)
                self._contradict(point, self._newest(where))
                path = where / f"{point.size:020d}{_ENDING}"
                if not path.exists():
                    write_durably(path, note.encode())
            finally:
                lock.close()
        except OSError as error:
            message = f"{self.path}: {error}"
            raise WitnessError(message) from error
        return Receipt()

    def latest(self, note: Note) -> Kept | None:
        """The checkpoint with the largest size."""
        newest = self._newest(self._place(Checkpoint.parse(note.text).origin))
        return None if newest is None else Kept(size=newest.size, root=newest.root)

    def _contradict(self, point: Checkpoint, newest: Checkpoint | None) -> None:
        if newest is None:
            return
        if newest.size > point.size or (newest.size == point.size and newest.root != point.root):
            message = f"{self.name} has kept size {newest.size} with another root than size {point.size} would have"
            raise WitnessRefusedError(message)

    def _place(self, origin: str) -> Path:
        """Where the checkpoints of a journal are.

        Raises:
            WitnessError: this is no witness, or not mounted.
        """
        parts = origin.split("/")
        if any(part in {"", ".", ".."} or "\x00" in part for part in parts):
            message = f"no journal has the name {origin!r}"
            raise WitnessError(message)
        if not os.path.lexists(self.path / _MARK):
            message = f"{self.path}: no {_MARK} there: is the volume mounted?"
            raise WitnessError(message)
        return self.path.joinpath(*parts[1:])

    def _newest(self, where: Path) -> Checkpoint | None:
        try:
            names = [path.name for path in where.iterdir()] if where.exists() else []
            sizes = [name for name in names if name.endswith(_ENDING) and name[: -len(_ENDING)].isdecimal()]
            if not sizes:
                return None
            return Checkpoint.parse(Note.decode((where / max(sizes)).read_bytes()).text)
        except (OSError, NoteError) as error:
            message = f"{where}: what was kept can't be read: {error}"
            raise WitnessError(message) from error


def _make(where: Path, top: Path) -> None:
    """Make the directories below the top one, durably."""
    if where == top or where.is_dir():
        return
    _make(where.parent, top)
    with contextlib.suppress(FileExistsError):
        where.mkdir(mode=0o700)
    sync_directory(where.parent)
