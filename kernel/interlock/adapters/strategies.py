"""Strategies to run a kernel with, and the way to bring one's own.

None of these is meant to earn anything. ``every-tick`` loads the order path, ``every-nth`` leaves room
to watch, ``momentum`` orders when it matters most to be stopped, and ``observe`` never does. They decide
from the ticks alone, in exact numbers, so that a run can be had again.

A strategy is an object with ``on_tick(tick)`` that gives the orders which the tick calls for. What it wants
is for gate 2 to judge: nothing here looks at limits, and a price that a feed has off the grid is put
on the grid on the side that is the worse one to trade at (a buy lower, a sell higher), never the better.
"""

from __future__ import annotations

import importlib
import inspect
from collections import deque
from decimal import Context, Decimal, Inexact, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

from interlock.core.errors import InterlockError, MisuseError
from interlock.core.values import Order, Quote, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.core.values import Instrument, Tick

__all__ = ["BUILT_IN", "EveryNth", "EveryTick", "Momentum", "Observe", "Strategy", "StrategyError", "load", "on_grid"]

_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_IOC: Final = TimeInForce.IOC
_NONE: Final[tuple[Order, ...]] = ()


class StrategyError(InterlockError):
    """There is no such strategy, or what was found is none; the message says where it was looked for."""


class Strategy(Protocol):
    """What is shown the ticks that gate 1 let through."""

    def on_tick(self, tick: Tick) -> Iterable[Order]:
        """The orders that this tick calls for, in the order in which they are to be tried."""


def on_grid(price: Decimal, side: Side, tick_size: Decimal) -> Decimal:
    """The price itself if it is on the grid, else the next one on the passive side of it. Exact."""
    excess = _EXACT.remainder(price, tick_size)  # takes the sign of the price
    if not excess:
        return price
    below = _EXACT.subtract(price, excess if excess > 0 else _EXACT.add(excess, tick_size))
    return below if side is _BUY else _EXACT.add(below, tick_size)


class Observe:
    """Never orders. Arguments are taken for the sake of `BUILT_IN`."""

    def __init__(self, instruments: Mapping[str, Instrument] | None = None) -> None:
        del instruments

    def on_tick(self, tick: Tick) -> Iterable[Order]:
        """No orders."""
        del tick
        return _NONE


class EveryNth:
    """One lot at every n-th tick: immediate or cancel at the touch, buying and selling by turns.

    Args:
        instruments: by name; a tick of another instrument is not counted.
        n: at which tick, at least 1; the first order comes with the n-th.
        prefix: begins the order ids; "E" gives E-000000001. Ids are never used twice on one home, so a run
            that goes on with an earlier one's journal needs another prefix.

    Raises:
        MisuseError: n is not a positive whole number.
    """

    def __init__(self, instruments: Mapping[str, Instrument], *, n: int = 100, prefix: str = "E") -> None:
        self._lots = _Lots(instruments, prefix)
        self._n = _positive("n", n)
        self._ticks = 0

    def on_tick(self, tick: Tick) -> Iterable[Order]:
        """An order, if it is the turn of this tick."""
        if tick.instrument not in self._lots.instruments:
            return _NONE
        self._ticks += 1
        if self._ticks % self._n:
            return _NONE
        return (self._lots.order(tick, _SELL if self._lots.ordered % 2 else _BUY),)


class EveryTick(EveryNth):
    """One lot at every tick; see `EveryNth`."""

    def __init__(self, instruments: Mapping[str, Instrument], *, prefix: str = "E") -> None:
        super().__init__(instruments, n=1, prefix=prefix)


class Momentum:
    """One lot in the direction of the market, when its middle moved so far within so many ticks.

    After an order it looks afresh: the move that was followed is not followed again.

    Args:
        instruments: by name; ticks of others are passed over.
        ticks: n, over how many ticks of an instrument a move is measured.
        moved: k, by how many steps of the price grid it must have moved at least.
        prefix: begins the order ids; see `EveryNth`.

    Raises:
        MisuseError: n or k is not a positive whole number.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], *, ticks: int = 20, moved: int = 5, prefix: str = "M"
    ) -> None:
        self._lots = _Lots(instruments, prefix)
        kept = _positive("ticks", ticks) + 1
        steps = Decimal(2 * _positive("moved", moved))  # a middle counts double here: no halves, nothing to round
        self._past: dict[str, deque[Decimal]] = {name: deque(maxlen=kept) for name in instruments}
        self._far = {name: _EXACT.multiply(steps, one.tick_size) for name, one in instruments.items()}

    def on_tick(self, tick: Tick) -> Iterable[Order]:
        """An order, if the market moved far enough up to this tick."""
        past = self._past.get(tick.instrument)
        if past is None:
            return _NONE
        bid, ask = (tick.bid, tick.ask) if isinstance(tick, Quote) else (tick.price, tick.price)
        past.append(_EXACT.add(bid, ask))
        if len(past) != past.maxlen:
            return _NONE
        move = _EXACT.subtract(past[-1], past[0])
        if move.copy_abs() < self._far[tick.instrument]:
            return _NONE
        past.clear()
        return (self._lots.order(tick, _BUY if move > 0 else _SELL),)


class _Lots:
    """Makes orders of one lot, immediate or cancel, at the touch; counts them."""

    def __init__(self, instruments: Mapping[str, Instrument], prefix: str) -> None:
        self.instruments = dict(instruments)
        self.ordered = 0
        self._prefix = prefix

    def order(self, tick: Tick, side: Side) -> Order:
        instrument = self.instruments[tick.instrument]
        touch = (tick.ask if side is _BUY else tick.bid) if isinstance(tick, Quote) else tick.price
        self.ordered += 1
        return Order(
            client_order_id=f"{self._prefix}-{self.ordered:09d}",
            instrument=tick.instrument,
            side=side,
            quantity=instrument.lot_size,
            price=on_grid(touch, side, instrument.tick_size),
            time_in_force=_IOC,
        )


def _positive(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        msg = f"{name} must be a positive whole number, not {value!r}"
        raise MisuseError(msg)
    return value


BUILT_IN: Final[Mapping[str, Callable[[Mapping[str, Instrument]], Strategy]]] = MappingProxyType(
    {"observe": Observe, "every-tick": EveryTick, "every-nth": EveryNth, "momentum": Momentum}
)
"""By name: makes the strategy for these instruments."""


def load(spec: str, instruments: Mapping[str, Instrument], *, prefix: str | None = None) -> Strategy:
    """Find a strategy: a built-in one by its name, or anybody's as ``MODULE:NAME``.

    ``NAME`` is an object with ``on_tick``, or something that makes one when called with the instruments, or
    with nothing. The module is imported from the Python path, which is the caller's to set.

    Args:
        spec: a name of `BUILT_IN`, or ``MODULE:NAME``.
        instruments: what can be traded, by name.
        prefix: begins the order ids of a built-in strategy that orders; None for its own.

    Raises:
        StrategyError: it is not there, can't be made, or has no ``on_tick`` that is a plain function.
    """
    make = BUILT_IN.get(spec)
    if make is not None:
        takes = prefix is not None and "prefix" in inspect.signature(make).parameters
        return cast("Callable[..., Strategy]", make)(instruments, **({"prefix": prefix} if takes else {}))
    module_name, colon, name = spec.partition(":")
    if not colon or not module_name or not name:
        msg = f"no strategy {spec!r}: there are {', '.join(BUILT_IN)}, or name your own as MODULE:NAME"
        raise StrategyError(msg)
    found: object
    try:
        found = importlib.import_module(module_name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{module_name}.".startswith(f"{cast('ModuleNotFoundError', error).name}."):
            msg = f"strategy {spec!r}: there is no module {module_name!r} on the Python path"
        else:
            msg = f"strategy {spec!r}: importing {module_name!r} raised {type(error).__name__}: {error}"
        raise StrategyError(msg) from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            msg = f"strategy {spec!r}: module {module_name!r} has no {name!r}"
            raise StrategyError(msg) from None
    return _made(spec, found, instruments)


def _made(spec: str, found: object, instruments: Mapping[str, Instrument]) -> Strategy:
    if inspect.isclass(found) or not hasattr(found, "on_tick"):
        found = _called(spec, found, instruments)
    on_tick = getattr(found, "on_tick", None)
    if not callable(on_tick):
        msg = f"strategy {spec!r}: {type(found).__name__!r} has no on_tick(tick)"
        raise StrategyError(msg)
    if inspect.iscoroutinefunction(on_tick) or inspect.isasyncgenfunction(on_tick):
        msg = f"strategy {spec!r}: on_tick is async; it must be a plain function that gives the orders at once"
        raise StrategyError(msg)
    return cast("Strategy", found)


def _called(spec: str, found: object, instruments: Mapping[str, Instrument]) -> object:
    if not callable(found):
        msg = f"strategy {spec!r}: {type(found).__name__!r} can't be called, and has no on_tick(tick)"
        raise StrategyError(msg)
    arguments: tuple[object, ...] = (instruments,)
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        arguments = ()  # a maker that needs more than this fails below, with Python's own words for it
    except ValueError:  # something in C that does not say what it takes
        pass
    try:
        return found(*arguments)
    except Exception as error:
        msg = f"strategy {spec!r}: making it raised {type(error).__name__}: {error}"
        raise StrategyError(msg) from error
