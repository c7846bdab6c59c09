"""What the monitor remembers of a run, of a recovery, of permits and of order ids.

Of the halts of a run only those that still decide something are kept. For a permit the earliest
`at` of the halts after it counts, so a halt whose `at` is not before that of a later one can go.
What stays rises in both, number and time, and can be searched by halving.

Nothing here grows with the journal but one bit a record, which tells a second outcome of a permit from one
without any. Of order ids as many are kept as the runs say that they remember, and at most as many again: they
are kept whole, since a digest could be wrong, and a verifier that once in a while cries wolf is worse than a large one.
"""

from bisect import bisect_right
from collections.abc import Iterable
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
        fresh: whether nothing of its own stands behind its `run` and its recovery yet.
        inputs: whether it records its inputs.
        ticks: how many of them are ticks.
        stopped: how many of these were not accepted.
        begun: by the number of its permit, when a send began that has not ended yet.
        odd: the fields that the next record of an input can't hold.
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
    fresh: bool = False
    inputs: bool = False
    ticks: int = 0
    stopped: int = 0
    begun: dict[int, int] = attrs.Factory(dict)
    odd: frozenset[str] = frozenset()
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


Permit = tuple[int, int, Run, str, int]
"""A permit without an outcome: its number, when it was granted, its run, the order's id and the epoch."""


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
    """A set of record numbers, one bit each.

    Attributes:
        base: the first eighth of a number that a byte stands for.
        bits: for each eighth from there on, which of its eight numbers are in.
    """

    def __init__(self, start: int = 0) -> None:
        """Make an empty set of numbers from one on."""
        self.base = start >> 3
        self.bits = bytearray()

    def add(self, number: int) -> None:
        """Put a number in, which is not lower than the first that may be."""
        place = (number >> 3) - self.base
        try:
            self.bits[place] |= 1 << (number & 7)
        except IndexError:
            self.bits.extend(bytes(place - len(self.bits) + 1024))
            self.bits[place] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        """Whether a number is in."""
        place = (number >> 3) - self.base
        return 0 <= place < len(self.bits) and bool(self.bits[place] >> (number & 7) & 1)

    def join(self, later: "Numbers") -> None:
        """Put in all that another set has, of numbers from a later one on."""
        place = later.base - self.base
        self.bits.extend(bytes(max(0, place + len(later.bits) - len(self.bits))))
        shared = int.from_bytes(self.bits[place : place + len(later.bits)], "big") | int.from_bytes(later.bits, "big")
        self.bits[place : place + len(later.bits)] = shared.to_bytes(len(later.bits), "big")


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
        self._aging = _GENERATION_MIN  # with so many permits a generation is over
        self._young: dict[str, int] = {}
        # Each with the count of permits when it was closed, and what to add to the numbers in it.
        self._old: list[tuple[int, int, dict[str, int]]] = []

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
            for _, base, ids in self._old:
                if order in ids:
                    before = ids.pop(order) + base
        young[order] = number
        if number >= self._aging:
            self._age()
        return before is not None and self._known(before, number, remember)

    def _known(self, before: int, number: int, remember: int) -> bool:
        return number - before <= remember and before >= self._forgotten

    def _age(self) -> None:
        if self._young:
            self._old.append((self.granted, 0, self._young))
        oldest = self.granted - self.reach
        self._old = [age for age in self._old if age[0] > oldest]
        self._young = {}
        self._aging = self.granted + max(self.reach, _GENERATION_MIN)

    def void(self, order: str) -> None:
        """Forget an order whose permit was withdrawn."""
        self._young.pop(order, None)
        for _, _, ids in self._old:
            ids.pop(order, None)

    def new(self, ids: dict[str, int], remember: int) -> bool:
        """Whether none of these orders is known to a run that remembers so many.

        Args:
            ids: order id to place: how many permits come before it, from here on.
            remember: how many ids.
        """
        return not any(
            self._known(older[order] + base, self.granted + ids[order], remember)
            for base, older in self._ages()
            for order in older.keys() & ids.keys()
        )

    def join(self, ids: dict[str, int], voided: Iterable[str], count: int) -> None:
        """Take the orders of so many permits together.

        Args:
            ids: as for `new`.
            voided: those of which no permit is left.
            count: how many permits there were.
        """
        for _, older in self._ages():
            for order in older.keys() & ids.keys():
                del older[order]
        for order in voided:
            self.void(order)
        self._age()
        self._old.append((self.granted + count, self.granted, ids))
        self.granted += count

    def _ages(self) -> list[tuple[int, dict[str, int]]]:
        return [*((base, ids) for _, base, ids in self._old), (0, self._young)]
