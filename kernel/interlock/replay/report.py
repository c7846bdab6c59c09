"""What a replay says: differences, gaps, and the state that led to a decision."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.machine import Machine

__all__ = ["Difference", "Gap", "Report", "State", "Unplayable", "state_of"]


class Unplayable(Exception):  # noqa: N818 - a record, not an error of ours; it never leaves this room
    """A record that can't be given to the core: nobody that follows the format wrote it."""


@attrs.frozen(kw_only=True)
class State:
    """Where the core stood when it decided. Quantities and money are decimal text.

    Attributes:
        mode: and epoch, and whether the gate was open.
        session: of profit and loss.
        tokens: messages that the rate had left.
        beat_age_ns: since the last heartbeat.
        in_flight: numbers of the permits whose send had begun and not ended.
        books: by instrument: position, what works on either side, open orders, and the reference price.
        accounts: by currency: equity, opening, peak, and the loss limit that was reached.
        counters: of the run: ticks, permits, refusals.
    """

    mode: str
    epoch: int
    gate_open: bool
    session: str | None
    tokens: int
    beat_age_ns: int
    in_flight: tuple[int, ...]
    books: Mapping[str, Mapping[str, object]]
    accounts: Mapping[str, Mapping[str, object]]
    counters: Mapping[str, int]


def state_of(core: Machine, mono_ns: int, counters: Mapping[str, int]) -> State:
    """The state of a core at that moment."""
    books: dict[str, dict[str, object]] = {}
    for name, book in core.books.items():
        reference = book.reference
        books[name] = {
            "position": book.size_text(book.position),
            "buying": book.size_text(book.buying),
            "selling": book.size_text(book.selling),
            "open_orders": book.open_orders,
            "bid": None if reference is None else reference[1],
            "ask": None if reference is None else reference[3],
            "reference_age_ns": None if reference is None else mono_ns - book.reference_mono_ns,
        }
    accounts: dict[str, dict[str, object]] = {
        account.currency: {
            "equity": account.text(account.equity),
            "opening": account.text(account.opening),
            "peak": account.text(account.peak),
            "breached": None if account.breached is None else str(account.breached),
        }
        for account in core.accounts()
    }
    return State(
        mode=str(core.mode),
        epoch=core.epoch,
        gate_open=core.gate_open,
        session=core.session,
        tokens=core.bucket.tokens,
        beat_age_ns=mono_ns - core.beat_ns,
        in_flight=tuple(core.in_flight),
        books=books,
        accounts=accounts,
        counters=dict(counters),
    )


@attrs.frozen(kw_only=True)
class Difference:
    """A decision of the journal that the core does not make now.

    Attributes:
        seq: of the record in whose place it was seen; of its ``salvage``, if it was carried over.
        kind: of that record.
        what: what was decided: gate 1, gate 2, a halt, a mode, and so on.
        recorded: what stands there; empty if nothing does.
        decided: what the core decides now; empty if nothing.
        state: that led there.
    """

    seq: int
    kind: str
    what: str
    recorded: Mapping[str, object]
    decided: Mapping[str, object]
    state: State

    @property
    def members(self) -> tuple[str, ...]:
        """The members in which the two differ."""
        names = dict.fromkeys((*self.recorded, *self.decided))
        return tuple(name for name in names if self.recorded.get(name) != self.decided.get(name))


@attrs.frozen(kw_only=True)
class Gap:
    """What can't be replayed: from this record on, to the end of its run, and why."""

    seq: int
    why: str


@attrs.define
class Report:
    """Counts of a whole replay.

    Attributes:
        records: that were fed.
        runs: that they tell of.
        compared: decisions that were made again, by what they are.
        skipped: decisions whose inputs are not all in the journal, likewise.
        differences: how many differ.
        gaps: what can't be replayed.
    """

    records: int = 0
    runs: int = 0
    compared: Counter[str] = attrs.field(factory=Counter)
    skipped: Counter[str] = attrs.field(factory=Counter)
    differences: int = 0
    gaps: list[Gap] = attrs.field(factory=list)
