"""What the monitor remembers of a run, of a recovery and of a permit.

Of the halts of a run only those that still decide something are kept. For a permit the earliest
`at` of the halts after it counts, so a halt whose `at` is not before that of a later one can go.
What stays rises in both, number and time, and can be searched by halving.
"""

from bisect import bisect_right
from decimal import Decimal
from math import inf

import attrs


@attrs.define(eq=False)
class Run:
    """One process that was attached, and its clock.

    Attributes:
        remember: so many order ids at least it remembers, so that none of them is permitted again.
        base: what its rebases have moved its zero by, in nanoseconds.
        last: the time of its latest record, from its `run` record on.
        draining: whether the gate was closed by a `drain`.
        tickets: by order id, the exits that the closed gate may let through once: instrument, side, quantity.
        ended: whether it has detached.
        halts: number and time of the halts that still decide something, both rising.
    """

    remember: int = 0
    base: int = 0
    last: int = 0
    draining: bool = False
    tickets: dict[str, tuple[str, str, Decimal]] = attrs.Factory(dict)
    ended: bool = False
    halts: list[tuple[int, int]] = attrs.Factory(list)

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
