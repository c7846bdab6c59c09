"""A market made of a seed: for demonstrations, drills and tests that need no data.

A random walk on the tick grid: whole ticks in, exact prices out. Chance is drawn as integers from a
generator of its own, so that one seed gives one market, on every machine, whatever else draws numbers
in this process. Now and then comes a burst: the ticks follow each other faster and step wider, and the
spread opens; that is when the checks of gate 1 and the collar of gate 2 have something to do.
"""

from __future__ import annotations

import asyncio
import random
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Final

from interlock.core.errors import MisuseError
from interlock.core.values import Quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from interlock.core.values import Instrument

__all__ = ["SimulatedMarket"]

_BATCH: Final = 256
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])
_CHANCE_BITS: Final = 32
_CACHED: Final = 1 << 16
_BURST_SPEED: Final = 10
_BURST_WIDTH: Final = 4
_WIDEST: Final = 3


class SimulatedMarket:
    """Quotes of one instrument, out of a seed.

    Args:
        instrument: what is quoted; its grid is the grid of the prices, its lot that of the sizes.
        seed: the same seed and arguments give the same ticks.
        ticks: how many; None for a market that never closes.
        start_us: time of the first one, microseconds UTC.
        interval_us: mean time between two, at least 1; each interval is drawn evenly from half to one and a half.
        mid: where it starts: the bid is put on the first grid price at or below it.
        spread_ticks: the narrowest spread, in whole ticks; it is up to 3 times as wide.
        step_ticks: the widest step of the bid from one quote to the next.
        most_lots: sizes lie between one lot and this many.
        burst_one_in: a burst begins at one quote in this many on average; 0 for none.
        burst_ticks: how many quotes it lasts.

    Attributes:
        name: for people.
        rows: ticks handed out so far.
        total_bytes: None, as there is no file.
        done_bytes: 0, likewise.

    Raises:
        MisuseError: an argument is out of its range.
    """

    total_bytes = None
    done_bytes = 0

    def __init__(  # noqa: PLR0913 - what a market is made of
        self,
        instrument: Instrument,
        *,
        seed: int,
        ticks: int | None,
        start_us: int,
        mid: Decimal,
        interval_us: int = 100_000,
        spread_ticks: int = 1,
        step_ticks: int = 2,
        most_lots: int = 100,
        burst_one_in: int = 2_000,
        burst_ticks: int = 50,
    ) -> None:
        least = {
            "seed": (seed, None),
            "ticks": (0 if ticks is None else ticks, 0),
            "start_us": (start_us, 0),
            "interval_us": (interval_us, 1),
            "spread_ticks": (spread_ticks, 0),
            "step_ticks": (step_ticks, 0),
            "most_lots": (most_lots, 1),
            "burst_one_in": (burst_one_in, 0),
            "burst_ticks": (burst_ticks, 1),
        }
        for name, (value, bound) in least.items():
            if type(value) is not int or (bound is not None and value < bound):
                msg = f"{name} must be a whole number{'' if bound is None else f' of at least {bound}'}, not {value!r}"
                raise MisuseError(msg)
        if type(mid) is not Decimal or not mid.is_finite() or mid < instrument.tick_size:
            msg = f"mid must be a Decimal of at least one tick ({instrument.tick_size}), not {mid!r}"
            raise MisuseError(msg)
        self.name = f"simulated {instrument.name}, seed {seed}"
        self.rows = 0
        self._instrument = instrument
        self._seed = seed
        self._ticks = ticks
        self._start_us = start_us
        self._interval_us = interval_us
        self._first_bid = int(_EXACT.divide_int(mid, instrument.tick_size))
        self._spread_ticks = spread_ticks
        self._step_ticks = step_ticks
        self._most_lots = most_lots
        self._burst_one_in = burst_one_in
        self._burst_ticks = burst_ticks

    async def batches(self) -> AsyncIterator[list[Quote]]:
        """The quotes, some at a time. Every call begins the same market again."""
        self.rows = 0
        batch: list[Quote] = []
        for quote in self._walk():
            batch.append(quote)
            if len(batch) == _BATCH:
                self.rows += len(batch)
                yield batch
                batch = []
                await asyncio.sleep(0)  # nothing here ever waits: others must get their turn
        if batch:
            self.rows += len(batch)
            yield batch

    def _walk(self) -> Iterator[Quote]:
        # not for secrets: a market that can be had again is the point
        draw = random.Random(self._seed).getrandbits  # noqa: S311

        def upto(bound: int) -> int:
            """A number from 0 to ``bound``, from integers alone: no rounding, the same everywhere."""
            return draw(_CHANCE_BITS) * (bound + 1) >> _CHANCE_BITS

        price = _Multiples(self._instrument.tick_size)
        size = _Multiples(self._instrument.lot_size)
        bid, ts_us, burst = self._first_bid, self._start_us, 0
        sequence = 0
        while self._ticks is None or sequence < self._ticks:
            sequence += 1
            spread = self._spread_ticks + upto(self._spread_ticks * (_WIDEST - 1)) * (upto(3) == 0)
            yield Quote(
                instrument=self._instrument.name,
                ts_us=ts_us,
                bid=price[bid],
                ask=price[bid + spread * (_BURST_WIDTH if burst else 1)],
                bid_size=size[1 + upto(self._most_lots - 1)],
                ask_size=size[1 + upto(self._most_lots - 1)],
                sequence=sequence,
            )
            if burst:
                burst -= 1
            elif self._burst_one_in and upto(self._burst_one_in - 1) == 0:
                burst = self._burst_ticks
            step = self._step_ticks * (_BURST_WIDTH if burst else 1)
            bid = max(1, abs(bid + upto(2 * step) - step))  # thrown back at zero
            interval_us = self._interval_us // (_BURST_SPEED if burst else 1)
            ts_us += max(1, interval_us // 2 + upto(interval_us))


class _Multiples(dict[int, Decimal]):
    """Whole multiples of a step, exact; so many are remembered, then it starts afresh."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, count: int) -> Decimal:
        if len(self) >= _CACHED:
            self.clear()
        self[count] = value = _EXACT.multiply(Decimal(count), self._step)
        return value
