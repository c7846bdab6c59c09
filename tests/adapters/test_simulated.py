"""The simulated market: one seed, one market; always on the grid."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from decimal import Decimal, localcontext
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest

from interlock.adapters.simulated import SimulatedMarket
from interlock.core.errors import MisuseError
from interlock.core.values import Instrument, Quote

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SIM = Instrument(name="SIM", tick_size=Decimal("0.01"), lot_size=Decimal("0.5"), currency="USD")
START_US = 1_700_000_000_000_000
PINNED = "02310afef00ff449c4645d47d2fe2b260743670b4fae2867cbbb8ef1aa4f0d5e"


def market(seed: int = 7, ticks: int | None = 1000, **more: int) -> SimulatedMarket:
    """A market with these settings."""
    return SimulatedMarket(SIM, seed=seed, ticks=ticks, start_us=START_US, mid=Decimal("100.005"), **more)


async def _taken(feed: SimulatedMarket, most: int) -> list[Quote]:
    taken: list[Quote] = []
    async with aclosing(cast("AsyncGenerator[list[Quote], None]", feed.batches())) as batches:
        async for batch in batches:
            taken += batch
            if len(taken) >= most:
                break
    return taken


def quotes(feed: SimulatedMarket, most: int = 1 << 30) -> list[Quote]:
    """Its quotes, whole batches until there are so many."""
    return asyncio.run(_taken(feed, most))


def test_one_seed_one_market() -> None:
    """The same seed gives the same ticks, a second time from one object too, and another seed gives others."""
    feed = market()
    first = quotes(feed)
    assert len(first) == feed.rows == 1000
    assert first == quotes(feed) == quotes(market())
    assert first != quotes(market(seed=8))


def test_the_market_of_a_seed_is_pinned() -> None:
    """Seed 7 means this market, on every machine and in every later version."""
    text = "\n".join(
        f"{q.ts_us} {q.bid} {q.ask} {q.bid_size} {q.ask_size}" for q in quotes(market(ticks=5000, burst_one_in=500))
    )
    assert text.splitlines()[1] == "1700000000057243 99.98 99.99 5.0 18.5"
    assert sha256(text.encode()).hexdigest() == PINNED


def test_nobody_else_draws_from_it() -> None:
    """Neither the global generator nor the decimal context of the caller changes the market, nor is changed by it."""
    expected = quotes(market())
    random.seed(1)
    before = random.getstate()
    with localcontext() as context:
        context.prec = 3
        assert quotes(market()) == expected
    assert random.getstate() == before


def test_prices_lie_on_the_grid_and_sizes_in_lots() -> None:
    """Every price is a whole number of ticks, every size of lots, no bid is above its ask and none below a tick."""
    for quote in quotes(market(ticks=20_000, burst_one_in=100)):
        assert quote.bid % SIM.tick_size == quote.ask % SIM.tick_size == 0
        assert SIM.tick_size <= quote.bid < quote.ask
        assert quote.bid_size is not None
        assert quote.ask_size is not None
        assert quote.bid_size % SIM.lot_size == quote.ask_size % SIM.lot_size == 0
        assert SIM.lot_size <= min(quote.bid_size, quote.ask_size)
        assert max(quote.bid_size, quote.ask_size) <= 100 * SIM.lot_size


def test_time_goes_forward_and_numbers_are_complete() -> None:
    """The first tick comes at the start, every later one after the one before, numbered from 1 with no gap."""
    made = quotes(market(interval_us=1, ticks=3000, burst_one_in=50))
    assert made[0].ts_us == START_US
    assert all(a.ts_us < b.ts_us for a, b in pairwise(made))
    assert [quote.sequence for quote in made] == list(range(1, 3001))


def test_bursts_are_faster_and_wider() -> None:
    """A burst brings intervals and steps that a market without bursts never has."""
    calm, wild = quotes(market(burst_one_in=0, ticks=20_000)), quotes(market(burst_one_in=500, ticks=20_000))

    def extremes(made: list[Quote]) -> tuple[int, Decimal]:
        pairs = list(pairwise(made))
        return min(b.ts_us - a.ts_us for a, b in pairs), max(abs(b.bid - a.bid) for a, b in pairs)

    assert extremes(calm)[0] >= 50_000
    assert extremes(calm)[1] == Decimal("0.02")
    assert extremes(wild)[0] < 50_000
    assert extremes(wild)[1] > Decimal("0.02")


def test_a_market_near_zero_stays_above_it() -> None:
    """A walk that reaches the lowest price is thrown back, not below it."""
    feed = SimulatedMarket(SIM, seed=1, ticks=5000, start_us=0, mid=Decimal("0.01"))
    assert min(quote.bid for quote in quotes(feed)) == Decimal("0.01")


def test_a_market_that_never_closes() -> None:
    """Without a number of ticks the market goes on for as long as somebody takes them."""
    assert len(quotes(market(ticks=None), most=5000)) >= 5000


def test_no_ticks_at_all() -> None:
    """A market of no ticks is over at once."""
    assert quotes(market(ticks=0)) == []


def test_progress_is_like_a_feed() -> None:
    """It has a name, and no bytes to count."""
    feed = market()
    assert (feed.name, feed.total_bytes, feed.done_bytes) == ("simulated SIM, seed 7", None, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ticks", -1),
        ("interval_us", 0),
        ("spread_ticks", -1),
        ("step_ticks", -1),
        ("most_lots", 0),
        ("burst_one_in", -1),
        ("burst_ticks", 0),
        ("seed", "7"),
        ("interval_us", 1.5),
    ],
)
def test_senseless_arguments(name: str, value: object) -> None:
    """An argument out of range, or one that is no whole number, is refused by name."""
    with pytest.raises(MisuseError, match=f"{name} must be a whole number"):
        market(**{name: value})  # type: ignore[arg-type] # that is the claim


@pytest.mark.parametrize("mid", [100.0, Decimal("NaN"), Decimal("0.001"), Decimal(-1)])
def test_senseless_middle(mid: Decimal) -> None:
    """A middle that is a float, no number or less than a tick is refused."""
    with pytest.raises(MisuseError, match="mid must be a Decimal"):
        SimulatedMarket(SIM, seed=1, ticks=1, start_us=0, mid=mid)
