"""Looking back: is this journal the one that was signed, here and elsewhere?

Before an engine starts, its journal is compared with the newest checkpoint in the home, and with what every witness
has kept. A journal that is shorter than one of them, or has another root at that size, was rolled back or rewritten.
A witness that can't be asked says nothing, and nothing is not enough, unless so many others were asked as are wanted.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.errors import InterlockError
from interlock.store.witness import Kept, Witness, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.journal.notes import Note
    from interlock.store.checkpoints import Point

__all__ = ["Lookback", "Past"]

_ASK_S: Final = 15.0


@attrs.frozen(kw_only=True)
class Past:
    """What is known here of one journal.

    Attributes:
        size: of the tree that was recovered.
        newest: the newest checkpoint in the home.
        probe: what to ask witnesses with: the newest checkpoint, or one of the empty tree.
        root: gives the root at a size, in hex.
        prove: gives the consistency proof from one size to another.
    """

    size: int
    newest: Point | None
    probe: Note
    root: Callable[[int], str]
    prove: Callable[[int, int], Sequence[bytes]]

    def against(self, witness: Witness, kept: Kept) -> str | None:
        """What is wrong, if a witness has kept this.

        Raises:
            WitnessError: it could not be found out.
        """
        if kept.size > self.size:
            return f"{witness.name} has kept a checkpoint of size {kept.size}, and the journal has {self.size}"
        if kept.root is not None:
            if self.root(kept.size) != kept.root:
                return f"{witness.name} has kept another root at size {kept.size} than the journal has"
            return None
        newest = self.newest
        if newest is None or newest.says.size < kept.size:
            return f"{witness.name} has kept a checkpoint of size {kept.size}, of which there is no note here"
        try:  # a witness that tells no root checks by itself that the journal grew
            witness.keep(newest.note, lambda old: self.prove(old, newest.says.size))
        except WitnessRefusedError as error:
            return str(error)
        return None


@attrs.define
class Lookback:
    """Asks the witnesses, all at the same time.

    Attributes:
        witnesses: all of them; those that remember nothing are not asked.
        quorum: how many must have answered; None: all.
        against: what they have against the journal.
        silent: who did not answer, and why.
        behind: who lacks the newest checkpoint.
    """

    witnesses: Sequence[Witness]
    quorum: int | None = None
    against: list[str] = attrs.field(factory=list)
    silent: dict[str, str] = attrs.field(factory=dict)
    behind: set[str] = attrs.field(factory=set)
    _answered: set[str] = attrs.field(factory=set)

    @property
    def wanted(self) -> int:
        """How many must have answered."""
        asked = sum(1 for witness in self.witnesses if witness.remembers)
        return asked if self.quorum is None else self.quorum

    @property
    def enough(self) -> bool:
        """Whether so many have answered."""
        return len(self._answered) >= self.wanted

    def ask(self, past: Past, timeout_s: float = _ASK_S) -> None:
        """Ask those who have not answered yet. Nobody is waited for any longer than this."""
        deadline = time.monotonic() + timeout_s
        open_ones = [one for one in self.witnesses if one.remembers and one.name not in self._answered]
        found: dict[str, str | Exception | None] = {}
        lacking: set[str] = set()

        def ask(witness: Witness) -> None:
            try:
                kept = witness.latest(past.probe)
                against = None if kept is None else past.against(witness, kept)
                if past.newest is not None and (kept is None or kept.size < past.newest.says.size):
                    lacking.add(witness.name)
                found[witness.name] = against
            except Exception as error:  # noqa: BLE001 - a witness may be anybody's code, and may raise anything
                found[witness.name] = error

        threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in open_ones]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.silent = {}
        for witness in open_ones:
            said = found.get(witness.name, TimeoutError("no answer in time"))
            if isinstance(said, Exception):
                self.silent[witness.name] = str(said) if isinstance(said, InterlockError) else repr(said)
                continue
            self._answered.add(witness.name)
            if said is not None:
                self.against.append(said)
        self.behind |= lacking
