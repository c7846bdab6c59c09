"""Strategies: what the built-in ones order, and how one's own is found."""

from __future__ import annotations

import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.strategies import (
    BUILT_IN,
    EveryNth,
    EveryTick,
    Momentum,
    Observe,
    Strategy,
    StrategyError,
    load,
    on_grid,
)
from interlock.core.errors import InterlockError, MisuseError
from interlock.core.values import Instrument, Order, OrderType, Quote, Side, Tick, TimeInForce, Trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

BUY, SELL = Side.BUY, Side.SELL
EURUSD = Instrument(name="EURUSD", tick_size=Decimal("0.00001"), lot_size=Decimal(1000), currency="USD")
SIM = Instrument(name="SIM", tick_size=Decimal("0.25"), lot_size=Decimal(1), currency="USD")
INSTRUMENTS: Mapping[str, Instrument] = {"EURUSD": EURUSD, "SIM": SIM}


def quote(bid: str, ask: str, instrument: str = "EURUSD") -> Quote:
    """A quote."""
    return Quote(instrument=instrument, ts_us=0, bid=Decimal(bid), ask=Decimal(ask))


def orders(strategy: Strategy, ticks: list[Tick]) -> list[Order]:
    """All that it orders."""
    return [order for tick in ticks for order in strategy.on_tick(tick)]


# -- Built in ----------------------------------------------------------------------------------


def test_every_tick_orders_at_every_tick() -> None:
    """It buys a lot at the ask and sells one at the bid by turns, immediate or cancel, under numbered ids."""
    made = orders(EveryTick(INSTRUMENTS), [quote("1.38626", "1.38627"), quote("1.38628", "1.38629")])
    assert made == [
        Order(
            client_order_id=f"E-00000000{number}",
            instrument="EURUSD",
            side=side,
            quantity=Decimal(1000),
            order_type=OrderType.LIMIT,
            price=Decimal(price),
            time_in_force=TimeInForce.IOC,
        )
        for number, side, price in [(1, BUY, "1.38627"), (2, SELL, "1.38628")]
    ]


def test_trades_are_ordered_at_their_price() -> None:
    """A trade tick is a touch of both sides."""
    trade = Trade(instrument="SIM", ts_us=0, price=Decimal("5.25"))
    assert [(o.side, o.price) for o in orders(EveryTick(INSTRUMENTS), [trade, trade])] == [
        (BUY, Decimal("5.25")),
        (SELL, Decimal("5.25")),
    ]


def test_prices_off_the_grid_are_put_on_it_passively() -> None:
    """A buy is rounded down to the grid and a sell up, never towards the better fill."""
    made = orders(EveryTick(INSTRUMENTS), [quote("5.1", "5.4", "SIM")] * 2)
    assert [str(order.price) for order in made] == ["5.25", "5.25"]


@pytest.mark.parametrize(
    ("price", "down", "up"),
    [
        ("5.25", "5.25", "5.25"),
        ("5.26", "5.25", "5.50"),
        ("-5.26", "-5.50", "-5.25"),
        ("0", "0", "0"),
        ("0.1", "0.00", "0.25"),
    ],
)
def test_grid(price: str, down: str, up: str) -> None:
    """A price on the grid stays as it was written; another one goes to the passive neighbour, below zero too."""
    found = [str(on_grid(Decimal(price), side, Decimal("0.25"))) for side in (BUY, SELL)]
    assert found == [down, up]


@given(
    price=st.decimals(min_value=-(10**12), max_value=10**12, places=9),
    step=st.sampled_from(["0.00001", "0.25", "1", "5", "0.03", "1E+2"]).map(Decimal),
)
def test_grid_is_exact(price: Decimal, step: Decimal) -> None:
    """The rounded price is the neighbouring multiple itself, in any decimal context."""
    wide = Context(prec=80)
    with localcontext() as context:
        context.prec = 4
        below, above = on_grid(price, BUY, step), on_grid(price, SELL, step)
    steps = wide.divide(price, step)
    assert below == wide.multiply(steps.to_integral_value(ROUND_FLOOR), step)
    assert above == wide.multiply(steps.to_integral_value(ROUND_CEILING), step)


def test_every_nth_waits_for_its_turn() -> None:
    """It orders at the n-th tick, the 2n-th and so on, buying and selling by turns."""
    strategy = EveryNth(INSTRUMENTS, n=3)
    made = [[order.side for order in strategy.on_tick(quote("1", "2"))] for _ in range(9)]
    assert made == [[], [], [BUY], [], [], [SELL], [], [], [BUY]]


def test_every_nth_is_every_hundredth() -> None:
    """Without a number it orders at every hundredth tick."""
    strategy = load("every-nth", INSTRUMENTS)
    made = [number for number in range(1, 301) if list(strategy.on_tick(quote("1", "2")))]
    assert made == [100, 200, 300]


def test_observe_never_orders() -> None:
    """It looks on."""
    assert orders(Observe(INSTRUMENTS), [quote("1", "2")] * 100) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_unknown_instruments_are_passed_over(name: str) -> None:
    """A tick of an instrument that is not to be traded leads to no order and no error."""
    strategy = BUILT_IN[name](INSTRUMENTS)
    assert orders(strategy, [quote(str(n), str(n + 1), "GBPUSD") for n in range(1, 300)]) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_same_ticks_the_same_orders(name: str) -> None:
    """A strategy is made of its ticks: no clock and no chance is in it, and no decimal context of the caller's."""
    ticks: list[Tick] = [quote(str(100 + n % 37), str(101 + n % 37), "SIM") for n in range(1000)]
    expected = orders(BUILT_IN[name](INSTRUMENTS), ticks)
    with localcontext() as context:
        context.prec = 2
        assert orders(BUILT_IN[name](INSTRUMENTS), ticks) == expected
    assert bool(expected) is (name != "observe")
    assert len({order.client_order_id for order in expected}) == len(expected)


def test_momentum_follows_a_move() -> None:
    """It orders with the market once the middle moved k steps within n ticks: up a buy, down a sell."""
    up = [quote(f"{100 + n * 0.25:.2f}", f"{101 + n * 0.25:.2f}", "SIM") for n in range(6)]
    made = orders(Momentum(INSTRUMENTS, ticks=5, moved=5), [*up])
    assert [(order.client_order_id, order.side, str(order.price)) for order in made] == [("M-000000001", BUY, "102.25")]
    down = [quote(f"{100 - n * 0.25:.2f}", f"{101 - n * 0.25:.2f}", "SIM") for n in range(6)]
    made = orders(Momentum(INSTRUMENTS, ticks=5, moved=5), [*down])
    assert [(order.side, str(order.price)) for order in made] == [(SELL, "98.75")]


def test_momentum_measures_half_steps_exactly() -> None:
    """A middle that moved half a step less than k does not count as k."""
    flat = [quote("100.00", "101.00", "SIM")]
    almost, enough = quote("101.25", "102.00", "SIM"), quote("101.25", "102.25", "SIM")
    assert orders(Momentum(INSTRUMENTS, ticks=1, moved=5), [*flat, almost]) == []
    assert len(orders(Momentum(INSTRUMENTS, ticks=1, moved=5), [*flat, enough])) == 1
    with localcontext() as context:
        context.prec = 2
        nearly = quote("101.23", "102.23", "SIM")
        assert orders(Momentum(INSTRUMENTS, ticks=1, moved=5), [*flat, nearly]) == []


def test_momentum_follows_a_move_once() -> None:
    """After an order it needs n new ticks before it can order again."""
    strategy = Momentum(INSTRUMENTS, ticks=2, moved=1)
    sides = [bool(list(strategy.on_tick(quote(str(n), str(n + 1), "SIM")))) for n in range(1, 8)]
    assert sides == [False, False, True, False, False, True, False]


def test_momentum_keeps_instruments_apart() -> None:
    """Ticks of two instruments by turns are two markets, not one that leaps."""
    ticks: list[Tick] = [quote("1", "1", "EURUSD"), quote("100", "100", "SIM")] * 50
    assert orders(Momentum(INSTRUMENTS, ticks=1, moved=1), ticks) == []


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True])
def test_senseless_numbers(number: int) -> None:
    """A count that is no positive whole number is refused by name."""
    makers: list[tuple[Callable[[], Strategy], str]] = [
        (lambda: EveryNth(INSTRUMENTS, n=number), "n"),
        (lambda: Momentum(INSTRUMENTS, ticks=number), "ticks"),
        (lambda: Momentum(INSTRUMENTS, moved=number), "moved"),
    ]
    for make, name in makers:
        with pytest.raises(MisuseError, match=f"^{name} must be a positive whole number"):
            make()


# -- Loading -----------------------------------------------------------------------------------

OWN = """
class NoTick: pass
class Takes:
    def __init__(self, instruments): self.instruments = instruments
    def on_tick(self, tick): return ()
class Bare:
    def on_tick(self, tick): return ()
class Space:
    Inner = Bare
class Raises:
    def __init__(self): raise ValueError("no luck")
class Asks:
    def on_tick(self, tick): return ()
    def __init__(self, instruments, more): pass
class Async:
    async def on_tick(self, tick): return ()
class AsyncGenerator:
    async def on_tick(self, tick): yield 1
class CallableObject(Bare):
    def __call__(self): raise AssertionError("an object with on_tick is not called")
def make(instruments): return Takes(instruments)
def make_optional(instruments=None): return Takes(instruments)
def make_bare(): return Bare()
def make_nothing(): return None
ready = Bare()
called = CallableObject()
number = 7
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules to load from, forgotten afterwards."""
    (tmp_path / "own_strategy.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("raise RuntimeError('half written')\n")
    (tmp_path / "own_hungry.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "kind"), [("observe", Observe), ("every-tick", EveryTick), ("every-nth", EveryNth), ("momentum", Momentum)]
)
def test_built_in_names(name: str, kind: type) -> None:
    """Each built-in name gives its strategy, with or without another prefix for the ids."""
    assert type(load(name, INSTRUMENTS)) is kind
    assert type(load(name, INSTRUMENTS, prefix="r2")) is kind
    assert set(BUILT_IN) == {"observe", "every-tick", "every-nth", "momentum"}


def test_a_prefix_begins_the_ids() -> None:
    """A run that goes on where another one was gets ids of its own."""
    made = orders(load("every-tick", INSTRUMENTS, prefix="r2"), [quote("1", "2")])
    assert [order.client_order_id for order in made] == ["r2-000000001"]


@pytest.mark.parametrize("name", ["Takes", "make", "make_optional"])
def test_makers_that_want_the_instruments(name: str) -> None:
    """A class or function that takes one argument is given the instruments."""
    assert load(f"own_strategy:{name}", INSTRUMENTS).instruments is INSTRUMENTS  # type: ignore[attr-defined] # its own


@pytest.mark.parametrize("name", ["Bare", "make_bare", "ready", "called", "Space.Inner"])
def test_makers_that_want_nothing_and_objects(name: str) -> None:
    """A class or function without arguments is called so, and an object with on_tick is taken as it is."""
    assert list(load(f"own_strategy:{name}", INSTRUMENTS).on_tick(quote("1", "2"))) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no strategy '': there are observe, every-tick, every-nth, momentum, or name your own as MODULE:NAME"),
        ("martingale", "no strategy 'martingale': there are observe,"),
        ("own_strategy:", "no strategy 'own_strategy:': there are"),
        (":make", "no strategy ':make': there are"),
        ("no_such_module:x", "strategy 'no_such_module:x': there is no module 'no_such_module' on the Python path"),
        ("own_strategy.sub:x", "strategy 'own_strategy.sub:x': there is no module 'own_strategy.sub' on"),
        ("own_hungry:x", "strategy 'own_hungry:x': importing 'own_hungry' raised ModuleNotFoundError: No module named"),
        ("own_broken:x", "strategy 'own_broken:x': importing 'own_broken' raised RuntimeError: half written"),
        ("..:x", "strategy '..:x': importing '..' raised TypeError:"),
        ("own_strategy:absent", "strategy 'own_strategy:absent': module 'own_strategy' has no 'absent'"),
        ("own_strategy:Space.x", "strategy 'own_strategy:Space.x': module 'own_strategy' has no 'Space.x'"),
        ("own_strategy:number", "strategy 'own_strategy:number': 'int' can't be called, and has no on_tick(tick)"),
        ("own_strategy:NoTick", "strategy 'own_strategy:NoTick': 'NoTick' has no on_tick(tick)"),
        ("own_strategy:make_nothing", "strategy 'own_strategy:make_nothing': 'NoneType' has no on_tick(tick)"),
        ("own_strategy:Raises", "strategy 'own_strategy:Raises': making it raised ValueError: no luck"),
        ("own_strategy:Asks", "strategy 'own_strategy:Asks': making it raised TypeError: "),
        ("own_strategy:Async", "strategy 'own_strategy:Async': on_tick is async; it must be a plain function"),
        ("own_strategy:AsyncGenerator", "strategy 'own_strategy:AsyncGenerator': on_tick is async"),
    ],
)
def test_what_is_no_strategy(spec: str, message: str) -> None:
    """Whatever can't be loaded is refused in words that say where it was looked for and what was wrong."""
    with pytest.raises(StrategyError) as caught:
        load(spec, INSTRUMENTS)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, InterlockError)
