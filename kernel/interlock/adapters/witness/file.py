r"""A file as a witness: checkpoints are appended to it, each cosigned by a key that belongs to the file.

Each entry is a record separator (``\x1e``), which no note can hold, and the note with that key's cosignature, so
with the time at which it was kept. An entry that a loss of power cut is passed over: the next one begins with its own
separator. An entry that is whole and wrong is damage. The file can be made append-only (``chattr +a``), sent
elsewhere, or printed; its key belongs on another machine's disk or in a directory that the engine's user only reads.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.breaker.files import make_file
from interlock.breaker.lock import FileLock
from interlock.journal.notes import COSIGNATURE, Note, NoteError, Signature, Verifier, cosigned
from interlock.journal.statements import Checkpoint
from interlock.store.private import KeysError, load, save
from interlock.store.witness import Kept, Receipt, WitnessError, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["FileWitness"]

_SEPARATOR: Final = b"\x1e"
_WAIT_S: Final = 2.0


class FileWitness:
    """Keeps the checkpoints of any number of journals in one file.

    Args:
        path: of the file, which `make` has made.
        key: of its private key.
        name: for journal and messages, and the key's name.
        utc_s: the time, in seconds since the epoch.
    """

    remembers = True

    def __init__(self, path: Path, key: Path, name: str = "file", utc_s: Callable[[], float] = time.time) -> None:
        self.path = path
        self.name = name
        self._key = key
        self._utc_s = utc_s
        self._read = 0
        self._known: dict[str, Checkpoint] = {}

    @staticmethod
    def make(path: Path, key: Path) -> None:
        """Make the file, empty, and its key. Neither may be there already.

        Raises:
            OSError: the file can't be made.
            KeysError: the key can't be.
        """
        save(key, Ed25519PrivateKey.generate())
        make_file(path)

    @property
    def verifier(self) -> Verifier:
        """What its cosignatures are checked with.

        Raises:
            WitnessError: the key can't be read.
        """
        return Verifier(self.name, self._private().public_key().public_bytes_raw(), COSIGNATURE)

    def _private(self) -> Ed25519PrivateKey:
        try:
            return load(self._key)
        except KeysError as error:
            raise WitnessError(str(error)) from error

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Append the checkpoint, unless it contradicts what is there."""
        del proof  # this witness believes; what it has is compared by whoever asks for it
        point = Checkpoint.parse(note.text)
        private = self._private()
        try:
            lock = FileLock(self.path)
            try:
                if not lock.exclusive(_WAIT_S):
                    message = f"{self.path}: another process is writing to it"
                    raise WitnessError(message)
                newest = self._newest(point.origin)
                if newest is not None and (newest.size, newest.root) == (point.size, point.root):
                    return Receipt()
                if newest is not None and newest.size >= point.size:
                    message = f"{self.name} has kept size {newest.size} with another root than size {point.size} has"
                    raise WitnessRefusedError(message)
                when = int(self._utc_s())
                made = when.to_bytes(8, "big") + private.sign(cosigned(note.text, when))
                line = Signature(self.name, self.verifier.key, made)
                self._append(_SEPARATOR + note.signed_by(line).encode())
                return Receipt(cosignature=line)
            finally:
                lock.close()
        except OSError as error:
            message = f"{self.path}: {error}"
            raise WitnessError(message) from error

    def _append(self, entry: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            written = os.write(descriptor, entry)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if written != len(entry):
            message = f"{self.path}: only {written} of {len(entry)} bytes were taken"
            raise WitnessError(message)

    def latest(self, note: Note) -> Kept | None:
        """The entry of this journal with the largest size."""
        try:
            newest = self._newest(Checkpoint.parse(note.text).origin)
        except OSError as error:
            message = f"{self.path}: {error}"
            raise WitnessError(message) from error
        return None if newest is None else Kept(size=newest.size, root=newest.root)

    def _newest(self, origin: str) -> Checkpoint | None:
        """The newest checkpoint of a journal. What was read once is not read again.

        Raises:
            WitnessError: an entry is damaged, or the file was cut.
        """
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._read:
                message = f"{self.path}: was cut back to less than {self._read} bytes"
                raise WitnessError(message)
            file.seek(self._read)
            data = file.read()
        head, *entries = data.split(_SEPARATOR)
        if head:
            message = f"{self.path}: damaged at byte {self._read}: no entry begins there"
            raise WitnessError(message)
        for entry in entries:
            point = self._entry(entry)
            if point is not None:
                self._known[point.origin] = point
        self._read += len(data)
        return self._known.get(origin)

    def _entry(self, entry: bytes) -> Checkpoint | None:
        """One entry; None if it was cut: no whole one lacks its last line, which is that of the file's key.

        Raises:
            WitnessError: it is whole, and its signature is wrong; or it goes back.
        """
        verifier = self.verifier
        try:
            note = Note.decode(entry)
        except NoteError:
            return None
        if not note.by(verifier):
            return None
        try:
            point = Checkpoint.parse(verifier.verify(note))
        except NoteError as error:
            message = f"{self.path}: an entry is damaged: {error}"
            raise WitnessError(message) from error
        before = self._known.get(point.origin)
        if before is not None and before.size >= point.size:
            message = f"{self.path}: damaged: size {point.size} stands behind size {before.size}"
            raise WitnessError(message)
        return point
