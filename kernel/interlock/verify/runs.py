"""What the monitor remembers of a run, of a recovery, of permits and of order ids.

Of the halts of a run only those that still decide something are kept. For a permit the earliest
`at` of the halts after it counts, so a halt whose `at` is not before that of a later one can go.
What stays rises in both, number and time, and can be searched by halving.

Nothing here grows with the journal but one bit a record, which tells a second outcome of a permit from one
without any. Of order ids as many are kept as the runs say that they remember, and at most as many again: they
are kept whole, since a digest could be wrong, and a verifier that once in a while cries wolf is worse than a large one.
"""

from bisect import bisect_right
from decimal import Decimal
from math import inf

import attrs

_GENERATION_MIN = 4096


@attrs.define(eq=False)
class Run:
    """One process that was attached, its clock, and what its records add up to.

    Attributes:
        remember: so many order ids at least it remembers, so that none of them is permitted again.
        base: what its rebases have moved its zero by, in nanoseconds.
        last: the time of its latest record, from its `run` record on.
        offset: what UTC was ahead of that time in its latest record, in nanoseconds.
        draining: whether the gate was closed by a `drain`.
        tickets: by order id, the exits that the closed gate may let through once: instrument, side, quantity.
        ended: whether it has detached.
        back: what is wrong if the next record does not tell that this run's clock is behind that of the one before.
        halts: number and time of the halts that still decide something, both rising.
        permits: how many it granted.
        refusals: how many orders it refused.
        blocked: how many ticks it blocked.
        real: false for what stands there before the first run.
    """

    remember: int = 0
    base: int = 0
    last: int = 0
    offset: int = 0
    draining: bool = False
    tickets: dict[str, tuple[str, str, Decimal]] = attrs.Factory(dict)
    ended: bool = False
    back: str = ""
    halts: list[tuple[int, int]] = attrs.Factory(list)
    permits: int = 0
    refusals: int = 0
    blocked: int = 0
    real: bool = True

    def halted(self, number: int, at: int) -> None:
        """Take note of a halt."""
        while self.halts and self.halts[-1][1] >= at:
            self.halts.pop()
        self.halts.append((number, at))

    def halt_after(self, number: int) -> float:
        """Return the earliest time of a halt that stands after a record; infinite if none does."""
        place = bisect_right(self.halts, (number, inf))
        return self.halts[place][1] if place < len(self.halts) else inf


Permit = tuple[int, int, Run, str]
"""A permit without an outcome: its number, when it was granted, its run and the order's id."""


@attrs.define(eq=False, kw_only=True)
class Recovery:
    """A recovery whose salvaged records are being replayed.

    Attributes:
        run: the run that recovered, which goes on afterwards.
        sealed: permit numbers from here on mean salvaged permits.
        left: how many salvaged records are still to come.
        last: the `seq` that the next salvaged record must exceed.
        numbers: for the `seq` that a salvaged permit (or the salvage of one) had, the number that
            it has now.
    """

    run: Run
    sealed: int
    left: int
    last: int
    numbers: dict[int, int] = attrs.Factory(dict)


class Numbers:
    """A set of record numbers, one bit each."""

    def __init__(self) -> None:
        """Make an empty set."""
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Put a number in."""
        place = number >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(place - len(self._bits) + 1024))
        self._bits[place] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        """Whether a number is in."""
        place = number >> 3
        return 0 <= place < len(self._bits) and bool(self._bits[place] >> (number & 7) & 1)


class Orders:
    """The order ids of the latest permits: as many as any run so far remembers, and some more.

    They are kept in generations, so that the old ones go all at once.

    Attributes:
        granted: how many permits there were.
        reach: the largest number of ids that a run so far remembers.
    """

    def __init__(self) -> None:
        """Remember nothing."""
        self.granted = 0
        self.reach = 0
        self._forgotten = 0  # the ids of permits before this one are
        self._start = 0
        self._young: dict[str, int] = {}
        self._old: list[tuple[int, dict[str, int]]] = []  # each with the count of permits when it was closed

    def remember(self, number: int) -> None:
        """Begin a run that remembers so many ids. What was forgotten before stays so."""
        if number > self.reach:
            self._forgotten = max(self._forgotten, self.granted - self.reach)
            self.reach = number

    def grant(self, order: str, remember: int) -> bool:
        """Count a permit of an order; return whether a run that remembers so many must know its id already."""
        number = self.granted
        self.granted = number + 1
        young = self._young
        before = young.get(order)
        if before is None:
            for _, ids in self._old:
                before = ids.pop(order, before)
        young[order] = number
        if number - self._start >= max(self.reach, _GENERATION_MIN):
            self._age()
        return before is not None and number - before <= remember and before >= self._forgotten

    def _age(self) -> None:
        oldest = self.granted - self.reach
        self._old = [(end, ids) for end, ids in [*self._old, (self.granted, self._young)] if end > oldest]
        self._young, self._start = {}, self.granted

    def void(self, order: str) -> None:
        """Forget an order whose permit was withdrawn."""
        self._young.pop(order, None)
        for _, ids in self._old:
            ids.pop(order, None)
