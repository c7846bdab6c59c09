"""A C2SP witness over HTTP (*tlog-witness*): it sees that the journal only grew, and cosigns.

``POST URL/add-checkpoint`` with the size that the witness has, the consistency proof from there, and the checkpoint.
It answers with its cosignature; or with 409 and the size that it has, if that is another. So a wrong size costs one
more request, and a size that nobody here can prove from is a rollback, or somebody else's journal under our name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.adapters.witness.post import Answer, Post
from interlock.journal.notes import COSIGNATURE, Note, NoteError, Signature, Verifier, number, to_base64
from interlock.journal.statements import Checkpoint
from interlock.store.witness import Kept, Receipt, WitnessError, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TlogWitness"]

_TAKEN: Final = 200
_CONFLICT: Final = 409
_INCONSISTENT: Final = 422
_SIZE: Final = "text/x.tlog.size"
_MOST_HASHES: Final = 63
_TRIES: Final = 3


class TlogWitness:
    """One witness.

    Args:
        url: its submission prefix.
        verifier: its verifier key, ``NAME+ID+KEY``, of type 0x04.
        name: for journal and messages.
        timeout_s: for one request.

    Raises:
        NoteError: that is no witness's verifier key.
    """

    remembers = True

    def __init__(self, url: str, verifier: str, name: str = "witness", timeout_s: float = 5.0) -> None:
        self.name = name
        self._post = Post(url=url, timeout_s=timeout_s)
        self.verifier = Verifier.parse(verifier)
        if self.verifier.algorithm != COSIGNATURE:
            message = f"a witness's key is of type 0x04 (cosignature/v1), not {self.verifier.algorithm:#04x}"
            raise NoteError(message)
        self._has: dict[str, int] = {}

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Have it cosigned."""
        point = Checkpoint.parse(note.text)
        for _ in range(_TRIES):  # somebody else may send one at the same time
            has = self._has.get(point.origin, 0)
            if has > point.size:
                message = f"{self.name} has cosigned size {has}, which is more than {point.size}"
                raise WitnessRefusedError(message)
            answer = self._add(note, has, proof(has))
            if answer.status == _CONFLICT:
                other = self._size(answer)
                if other == has:
                    message = f"{self.name} has cosigned size {has} with another root"
                    raise WitnessRefusedError(message)
                self._has[point.origin] = other
            elif answer.status == _INCONSISTENT:
                message = f"{self.name} finds that size {point.size} did not grow from the size {has} that it cosigned"
                raise WitnessRefusedError(message)
            else:
                line = self._cosignature(note, answer)
                self._has[point.origin] = point.size
                return Receipt(cosignature=line)
        message = f"{self.name}: its size changes as fast as we ask"
        raise WitnessError(message)

    def latest(self, note: Note) -> Kept | None:
        """The size that it has. If it has none yet it cosigns this checkpoint, and has that."""
        point = Checkpoint.parse(note.text)
        answer = self._add(note, 0, ())
        if answer.status == _CONFLICT:
            self._has[point.origin] = self._size(answer)
            return Kept(size=self._has[point.origin], root=None)
        self._cosignature(note, answer)
        self._has[point.origin] = point.size
        return Kept(size=point.size, root=point.root) if point.size else None

    def _add(self, note: Note, old: int, proof: Sequence[bytes]) -> Answer:
        if len(proof) > _MOST_HASHES:
            message = f"a proof of {len(proof)} hashes"
            raise WitnessError(message)
        head = "".join(f"{line}\n" for line in (f"old {old}", *map(to_base64, proof), ""))
        answer = self._post("/add-checkpoint", head.encode() + note.encode(), "text/plain; charset=utf-8")
        if answer.status in {_TAKEN, _CONFLICT, _INCONSISTENT}:
            return answer
        message = f"{self.name}: answers {answer.status}: {answer.body[:200].decode('utf-8', 'replace').strip()}"
        raise WitnessError(message)

    def _size(self, answer: Answer) -> int:
        text = answer.body.decode("ascii", "replace")
        try:
            if answer.kind != _SIZE or not text.endswith("\n"):
                message = f"{answer.kind} {text[:40]!r}"
                raise NoteError(message)  # noqa: TRY301 - as a number that is none
            return number(text[:-1])
        except NoteError as error:
            message = f"{self.name}: a conflict that names no size: {error}"
            raise WitnessError(message) from error

    def _cosignature(self, note: Note, answer: Answer) -> Signature:
        """Its own line of those that it answered with, verified.

        Raises:
            WitnessError: there is none, or it is wrong.
        """
        try:
            if not answer.body.endswith(b"\n"):
                message = "the last line is cut"
                raise NoteError(message)  # noqa: TRY301 - as any line that is none
            lines = [Signature.parse(line) for line in answer.body.decode("utf-8").split("\n")[:-1]]
            mine = [one for one in lines if (one.name, one.key) == (self.verifier.name, self.verifier.key)]
            self.verifier.verify(Note(note.text, tuple(mine)))
            return mine[0]
        except (UnicodeDecodeError, NoteError) as error:
            message = f"{self.name}: what it answered is not its cosignature: {error}"
            raise WitnessError(message) from error
