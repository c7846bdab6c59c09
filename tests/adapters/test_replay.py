"""Recorded time: the clock follows the ticks, and the pace is kept without anybody waiting here."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.replay import LONGEST_WAIT_S, Feed, Paced, ReplayClock, paced
from interlock.adapters.simulated import SimulatedMarket
from interlock.core.errors import MisuseError
from interlock.core.values import Instrument, Tick, Trade

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

SECOND_US = 1_000_000
SECOND_NS = 1_000_000_000


def tick(ts_us: int, received_us: int | None = None) -> Trade:
    """A tick at this time."""
    return Trade(instrument="X", ts_us=ts_us, price=Decimal(1), received_us=received_us)


# -- The clock ---------------------------------------------------------------------------------


def test_time_comes_from_the_ticks() -> None:
    """Monotonic time starts at one second and moves by what lies between the ticks; UTC is the tick's."""
    clock = ReplayClock()
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS, 0)
    for ts_us, mono_ns in [(5_000_000, SECOND_NS), (5_000_001, SECOND_NS + 1000), (6_000_000, 2 * SECOND_NS)]:
        clock.advance(tick(ts_us))
        assert (clock.mono_ns(), clock.utc_us()) == (mono_ns, ts_us)


def test_time_of_arrival_goes_before_the_venues() -> None:
    """A tick that says when it was received makes that the time, whatever the venue's clock said."""
    clock = ReplayClock()
    clock.advance(tick(2_270_000, received_us=1_000_000))
    clock.advance(tick(1_500_000, received_us=1_000_007))
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS + 7000, 1_000_007)


def test_an_earlier_tick_moves_nothing() -> None:
    """A tick of an earlier time leaves both times where they are, and the next later one moves both."""
    clock = ReplayClock()
    for ts_us in (10, 30, 20, 5):
        clock.advance(tick(ts_us))
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS + 20_000, 30)
    clock.advance(tick(31))
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS + 21_000, 31)


def test_a_clock_with_a_start() -> None:
    """With a start, that is the time before the first tick, and monotonic time counts from there."""
    clock = ReplayClock(start_us=100)
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS, 100)
    clock.advance(tick(90))
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS, 100)
    clock.advance(tick(101))
    assert (clock.mono_ns(), clock.utc_us()) == (SECOND_NS + 1000, 101)


@given(st.lists(st.tuples(st.integers(0, 2**53), st.none() | st.integers(0, 2**53)), min_size=1))
def test_the_clock_never_goes_back(times: list[tuple[int, int | None]]) -> None:
    """Over any ticks in any order both times only grow, and keep step with each other to the microsecond."""
    clock = ReplayClock()
    clock.advance(tick(*times[0]))
    first = clock.utc_us()
    for ts_us, received_us in times:
        before = (clock.mono_ns(), clock.utc_us())
        clock.advance(tick(ts_us, received_us))
        assert clock.mono_ns() >= before[0]
        assert clock.utc_us() >= before[1]
        assert clock.mono_ns() - SECOND_NS == (clock.utc_us() - first) * 1000


# -- The pace ----------------------------------------------------------------------------------


class Recorded:
    """A feed of ticks that are here already, in these batches."""

    name = "recorded"

    def __init__(self, *batches: list[int]) -> None:
        self.made: list[list[Tick]] = [[tick(ts_us) for ts_us in batch] for batch in batches]
        self.closed = False

    async def batches(self) -> AsyncIterator[Sequence[Tick]]:
        """The batches."""
        try:
            for batch in self.made:
                yield batch
        finally:
            self.closed = True


class Wall:
    """The wall's clock: it moves when somebody sleeps, and by so much whenever it is told to."""

    def __init__(self) -> None:
        self.now_ns = 777
        self.slept: list[float] = []

    def mono_ns(self) -> int:
        """What it shows."""
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        """Let it go on."""
        self.slept.append(seconds)
        self.now_ns += round(seconds * SECOND_NS)


def played(feed: Feed, speed: str | int, wall: Wall, busy_ns: int = 0) -> list[tuple[int, list[int]]]:
    """When which ticks were handed out, in ns since the first; the taker is busy so long after each batch."""
    factor = paced(feed, speed)
    assert isinstance(factor, Paced)
    wall_paced = Paced(feed, Fraction(speed), mono_ns=wall.mono_ns, sleep=wall.sleep)
    begun = wall.now_ns
    got: list[tuple[int, list[int]]] = []

    async def run() -> None:
        async with aclosing(cast("AsyncGenerator[Sequence[Tick], None]", wall_paced.batches())) as batches:
            async for batch in batches:
                got.append((wall.now_ns - begun, [one.ts_us for one in batch]))
                wall.now_ns += busy_ns

    asyncio.run(run())
    assert wall_paced.rows == sum(len(batch) for _, batch in got)
    return got


def test_ticks_are_handed_out_when_they_are_due() -> None:
    """A batch is split so that each tick comes at its own time after the first."""
    got = played(Recorded([0, SECOND_US, 1_500_000], [2_000_000]), 1, Wall())
    assert got == [
        (0, [0]),
        (SECOND_NS, [SECOND_US]),
        (1_500_000_000, [1_500_000]),
        (2_000_000_000, [2_000_000]),
    ]


@pytest.mark.parametrize(
    ("speed", "ns"), [("10", 100_000_000), ("0.5", 2_000_000_000), ("1/2", 2_000_000_000), (4, 250_000_000)]
)
def test_speed_divides_the_wait(speed: str | int, ns: int) -> None:
    """At X times the pace a second is waited for an X-th of it."""
    assert played(Recorded([0, SECOND_US]), speed, Wall()) == [(0, [0]), (ns, [SECOND_US])]


def test_ticks_of_one_moment_go_out_together() -> None:
    """Ticks that are due within a millisecond, or late already, are not split."""
    wall = Wall()
    assert played(Recorded([0, 10, 900, 500, 1000]), 1, wall) == [(0, [0, 10, 900, 500, 1000])]
    assert wall.slept == []


def test_long_gaps_are_cut_short() -> None:
    """A weekend is waited out for the documented seconds, and the pace goes on from there."""
    weekend = 2 * 24 * 3600 * SECOND_US
    longest = LONGEST_WAIT_S * SECOND_NS
    got = played(Recorded([0, weekend, weekend + SECOND_US]), 1, Wall())
    assert [at for at, _ in got] == [0, longest, longest + SECOND_NS]


def test_disorder_does_not_add_waits() -> None:
    """After a tick from the past the next one is due by the latest time so far, not by the step back."""
    got = played(Recorded([0, SECOND_US, 0, SECOND_US]), 1, Wall())
    assert got == [(0, [0]), (SECOND_NS, [SECOND_US, 0, SECOND_US])]


def test_a_slow_taker_is_not_made_to_wait_as_well() -> None:
    """Whoever takes longer than the pace gets what is due at once, all of it, until the pace is reached again."""
    wall = Wall()
    times = [n * SECOND_US for n in range(6)]
    got = played(Recorded(times), 1, wall, busy_ns=2_500_000_000)
    assert got == [
        (0, [0]),
        (2_500_000_000, [SECOND_US, 2 * SECOND_US]),
        (5_000_000_000, [3 * SECOND_US, 4 * SECOND_US, 5 * SECOND_US]),
    ]
    assert wall.slept == []


@given(st.lists(st.lists(st.integers(0, 10 * SECOND_US), min_size=1, max_size=20), max_size=5), st.integers(1, 100))
def test_pacing_changes_no_tick(batches: list[list[int]], speed: int) -> None:
    """At any speed the same ticks come in the same order, and none before it is due but for a millisecond."""
    got = played(Recorded(*batches), speed, Wall())
    assert [ts_us for _, batch in got for ts_us in batch] == [ts_us for batch in batches for ts_us in batch]
    assert all(batch for _, batch in got)
    latest_us = batches[0][0] if batches else 0
    due_ns = 0
    for at_ns, batch in got:
        for ts_us in batch:
            if ts_us > latest_us:
                due_ns += min((ts_us - latest_us) * 1000 // speed, LONGEST_WAIT_S * SECOND_NS)
                latest_us = ts_us
            assert at_ns + 1_000_001 >= due_ns


def test_max_is_the_feed_itself() -> None:
    """No pacing costs nothing."""
    feed = Recorded([1])
    assert paced(feed, "max") is feed


def test_a_paced_feed_is_a_feed() -> None:
    """It has a name with its speed, and any feed can be paced, a paced one too."""
    assert paced(paced(Recorded([1]), "2.5"), 2).name == "recorded at 5/2x at 2x"
    sim = Instrument(name="SIM", tick_size=Decimal(1), lot_size=Decimal(1), currency="USD")
    assert paced(SimulatedMarket(sim, seed=1, ticks=1, start_us=0, mid=Decimal(5)), 1).name.startswith("simulated SIM")


def test_leaving_early_closes_the_feed() -> None:
    """Whoever stops taking from the paced feed closes the one behind it."""
    feed = Recorded([0], [1])

    async def run() -> None:
        async with aclosing(cast("AsyncGenerator[Sequence[Tick], None]", paced(feed, 1).batches())) as batches:
            await anext(batches)
            assert not feed.closed
        assert feed.closed

    asyncio.run(run())


def test_the_real_clock_and_sleep_are_the_defaults() -> None:
    """Ticks a few microseconds apart come through the machine's own clock and sleep."""
    feed = paced(Recorded([0, 3000, 6000]), 1)

    async def run() -> list[int]:
        return [one.ts_us async for batch in feed.batches() for one in batch]

    assert asyncio.run(run()) == [0, 3000, 6000]


@pytest.mark.parametrize(
    "speed", ["", "fast", "0", 0, "-1", "inf", "nan", "1/0", 1.5, True, None, Decimal("NaN"), Decimal("Infinity")]
)
def test_senseless_speeds(speed: str) -> None:
    """A speed that is no positive exact number is refused."""
    with pytest.raises(MisuseError, match="speed must be 'max' or a positive exact number"):
        paced(Recorded([1]), speed)
