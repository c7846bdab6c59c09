"""A venue in memory: fills at the touch, and chance out of a seed.

It is the gateway of paper trading, of drills and of demonstrations, and behaves towards the kernel as
a good venue does. Three things it takes care to get right, because a halt kernel punishes the opposite:

1. **An order is spoken of only while it lives.** Accepted before it is filled, and after the last fill,
   the cancel or the reject nothing more is said of it: an event about an order that nobody knows halts.
2. **Its own books first.** What it tells the kernel may come straight back as a cancel or a new order, so
   every change is made before it is told.
3. **Fills at the price of the moment.** It must see every tick before the strategy does: engines call
   `PaperVenue.on_tick` for each, which costs one look-up while nothing rests.

How it fills. The touch is the latest quote, or the latest trade of an instrument without quotes. A
marketable order fills at the touch, all of it; if a partial fill is drawn, only what the quote's size or else
half the order allows, in whole lots. What is left rests if it is a limit order for the day or good till
cancelled, and is cancelled otherwise. A resting order fills at its own limit as soon as a tick
touches it, which is kinder than life: nobody stands before it in the queue.

Any thread may call it, and from its own events as well: a stop asks it from a thread of its own.
"""

from __future__ import annotations

import random
import threading
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from interlock.core.errors import InterlockError, MisuseError
from interlock.core.values import Fill, OrderType, Quote, Side, TimeInForce
from interlock.stopping.gateways import Standing, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.values import Cancel, Instrument, Order, Permit, Tick

__all__ = ["PaperVenue", "VenueError", "VenueEvents"]

_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])
_CHANCE_BITS: Final = 64
_REMEMBERED: Final = 1000
"""How many ends of orders can be asked for."""

_ZERO: Final = Decimal(0)
_BUY: Final = Side.BUY
_STAYS: Final = frozenset({TimeInForce.DAY, TimeInForce.GTC})


class VenueError(InterlockError):
    """The venue can't do what it was asked."""


class VenueEvents(Protocol):
    """Who is told what became of the orders: the kernel has these methods."""

    def on_accept(self, order_id: str, venue_id: str | None = None) -> None:
        """The venue has the order."""

    def on_fill(self, fill: Fill) -> None:
        """It executed, in whole or in part."""

    def on_cancelled(self, order_id: str, reason: str = "") -> None:
        """What was left of it is gone."""

    def on_reject(self, order_id: str, reason: str = "") -> None:
        """It was refused."""


@attrs.define(kw_only=True)
class _Live:
    """An order that the venue has, and what is left of it."""

    order: Order
    left: Decimal


class PaperVenue:
    """A seeded paper venue; a gateway that takes permits.

    Args:
        seed: the same seed, orders and ticks give the same events.
        reject_rate: share of orders that are rejected, from 0 to 1, exact: "1/100", "0.01".
        partial_rate: share of fills that are partial, likewise.
        ack: whether orders are accepted in so many words before anything else happens to them.
        instruments: by name, for their lots; without them a partial fill knows only the quote's size.
        session: put into the ids of orders and fills. A journal remembers fill ids over a restart, and takes a
            fill whose id it knows for a repeat: give every run on one home another session.

    Attributes:
        sent: orders that were taken.
        rejected: of them, refused.
        filled: fills that were reported.

    Raises:
        MisuseError: a rate is not exact, or not from 0 to 1.
    """

    def __init__(
        self,
        *,
        seed: int,
        reject_rate: Fraction | str = "0",
        partial_rate: Fraction | str = "0",
        ack: bool = True,
        instruments: Mapping[str, Instrument] | None = None,
        session: str = "",
    ) -> None:
        self._draw = random.Random(seed).getrandbits  # noqa: S311 - chance that can be had again
        self._reject_rate = _rate("reject_rate", reject_rate)
        self._partial_rate = _rate("partial_rate", partial_rate)
        self._ack = ack
        self._lots = {name: one.lot_size for name, one in (instruments or {}).items()}
        self._session = f"{session}-" if session else ""
        self._events: VenueEvents | None = None
        self._quotes: dict[str, Quote] = {}
        self._trades: dict[str, Tick] = {}
        self._resting: dict[str, dict[str, _Live]] = {}
        self._over: dict[str, State] = {}
        self._lock = threading.RLock()
        self.sent = self.rejected = self.filled = 0

    def connect(self, events: VenueEvents) -> None:
        """Say who is to be told. Before the first order."""
        self._events = events

    # -- The market ------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> None:
        """See a tick: to be called for each, before the strategy is asked about it."""
        if tick.__class__ is Quote:
            self._quotes[tick.instrument] = tick
        else:
            self._trades[tick.instrument] = tick
        if self._resting and tick.instrument in self._resting:
            with self._lock:
                self._cross(tick)

    def _cross(self, tick: Tick) -> None:
        if tick.instrument not in self._resting:  # taken back by another thread just now
            return
        for live in list(self._resting[tick.instrument].values()):  # a copy: who is told may cancel or send
            price, offer = live.order.price, _offer(tick, live.order.side)
            if price is None or not self._rests(live) or not _meets(live.order, offer):
                continue
            if part := self._part(live, offer[1]):
                self._fill(live, part, price)

    def _touch(self, order: Order) -> tuple[Decimal, Decimal | None] | None:
        """At which price the order would trade now, and for how much, as far as is known."""
        tick = self._quotes.get(order.instrument) or self._trades.get(order.instrument)
        return None if tick is None else _offer(tick, order.side)

    # -- Orders ----------------------------------------------------------------------------------

    async def send(self, permit: Permit) -> str:
        """`send_now`, for engines with an event loop."""
        return self.send_now(permit)

    async def cancel(self, cancel: Cancel) -> None:
        """`cancel_now`, likewise."""
        self.cancel_now(cancel)

    async def query(self, order: Order) -> State:
        """`query_now`, likewise: what makes it a gateway that a stop can ask."""
        return self.query_now(order)

    def send_now(self, permit: Permit) -> str:
        """Redeem the permit and take its order: reject, fill, rest or cancel it.

        Returns:
            The venue's id of the order, "P-000001" and so on.

        Raises:
            MisuseError: nobody is connected; the permit was not touched.
            PermitError: the permit is spent.
            VenueError: an order with this id rests here already; that one is left as it was.
        """
        with self._lock:
            return self._send(permit)

    def _send(self, permit: Permit) -> str:
        events = self._told()
        order = permit.redeem()
        order_id = order.client_order_id
        self.sent += 1
        venue_id = f"P-{self._session}{self.sent:06d}"
        if order_id in self._book(order.instrument):
            msg = f"order {order_id} rests here already"
            raise VenueError(msg)
        touch = self._touch(order)
        reason = None
        if self._chance(self._reject_rate):
            reason = f"rejected by chance, as {self._reject_rate} of all orders are"
        elif touch is None and order.order_type is OrderType.MARKET:
            reason = f"no market in {order.instrument} yet"
        if reason is not None:
            self.rejected += 1
            self._end(order, State(standing=Standing.REJECTED, reason=reason))
            events.on_reject(order_id, reason)
            return venue_id
        live = _Live(order=order, left=order.quantity)
        self._resting.setdefault(order.instrument, {})[order_id] = live
        if self._ack:
            events.on_accept(order_id, venue_id)
        self._match(live, touch)
        return venue_id

    def cancel_now(self, cancel: Cancel) -> None:
        """Cancel a resting order.

        Raises:
            VenueError: no such order rests here.
        """
        with self._lock:
            live = self._book(cancel.instrument).get(cancel.client_order_id)
            if live is None:
                msg = f"no order {cancel.client_order_id} in {cancel.instrument} rests here"
                raise VenueError(msg)
            self._close(live, "cancelled as asked for")

    def query_now(self, order: Order) -> State:
        """Say where an order stands: absent, if this process never had it, or its end lies a thousand others back."""
        with self._lock:
            live = self._book(order.instrument).get(order.client_order_id)
            if live is not None:
                filled = _EXACT.subtract(live.order.quantity, live.left)
                return State(standing=Standing.WORKING, filled=filled)
            absent = State(standing=Standing.ABSENT, reason="not known here")
            return self._over.get(order.client_order_id, absent)

    def open_orders(self) -> tuple[Order, ...]:
        """The orders that rest here, oldest first within an instrument; their quantity is the original one."""
        with self._lock:
            return self._open()

    def _open(self) -> tuple[Order, ...]:
        return tuple(live.order for book in self._resting.values() for live in book.values())

    def remaining(self, order_id: str) -> Decimal:
        """What is left of an order, in units: zero if it doesn't rest here."""
        return next((book[order_id].left for book in self._resting.values() if order_id in book), _ZERO)

    # -- Inside ----------------------------------------------------------------------------------

    def _told(self) -> VenueEvents:
        if self._events is None:
            msg = "connect the venue before the first order: nobody would hear of its fills"
            raise MisuseError(msg)
        return self._events

    def _book(self, instrument: str) -> dict[str, _Live]:
        return self._resting.get(instrument, {})

    def _rests(self, live: _Live) -> bool:
        """Whether the order still lives: whoever was told of something may have cancelled it since."""
        return self._book(live.order.instrument).get(live.order.client_order_id) is live

    def _chance(self, rate: Fraction) -> bool:
        """Whether it happens this time; nothing is drawn for what never happens."""
        return rate > 0 and self._draw(_CHANCE_BITS) * rate.denominator < rate.numerator << _CHANCE_BITS

    def _match(self, live: _Live, touch: tuple[Decimal, Decimal | None] | None) -> None:
        order = live.order
        if touch is not None and self._rests(live) and _meets(order, touch):
            part = self._part(live, touch[1])
            if part and (part == live.left or order.time_in_force is not TimeInForce.FOK):
                self._fill(live, part, touch[0])
        stays = order.order_type is OrderType.LIMIT and order.time_in_force in _STAYS
        if not stays and self._rests(live):
            what = "nothing of it" if live.left == order.quantity else f"all but {live.left}"
            self._close(live, f"{order.order_type} {order.time_in_force}: {what} could be filled at once")

    def _part(self, live: _Live, size: Decimal | None) -> Decimal:
        """How much is filled this time: all, unless a partial fill is drawn and there is a way to split."""
        left = live.left
        if not self._chance(self._partial_rate):
            return left
        lot = self._lots.get(live.order.instrument)
        short = size is not None and size < left
        most = size if size is not None and short else left
        if lot is None:
            return most
        lots = int(_EXACT.divide_int(most, lot))
        if not short:
            lots //= 2
            if not lots:
                return left
        return _EXACT.multiply(Decimal(lots), lot)

    def _fill(self, live: _Live, quantity: Decimal, price: Decimal) -> None:
        order = live.order
        live.left = _EXACT.subtract(live.left, quantity)
        if not live.left:
            self._forget(order)
            self._end(order, State(standing=Standing.FILLED, filled=order.quantity))
        self.filled += 1
        self._told().on_fill(
            Fill(
                client_order_id=order.client_order_id,
                fill_id=f"F-{self._session}{self.filled:09d}",
                instrument=order.instrument,
                side=order.side,
                quantity=quantity,
                price=price,
            )
        )

    def _close(self, live: _Live, reason: str) -> None:
        self._forget(live.order)
        filled = _EXACT.subtract(live.order.quantity, live.left)
        self._end(live.order, State(standing=Standing.CANCELLED, filled=filled, reason=reason))
        self._told().on_cancelled(live.order.client_order_id, reason)

    def _end(self, order: Order, state: State) -> None:
        """Remember how an order ended, for who asks; not for ever."""
        self._over[order.client_order_id] = state
        if len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    def _forget(self, order: Order) -> None:
        book = self._resting[order.instrument]
        del book[order.client_order_id]
        if not book:
            del self._resting[order.instrument]


def _offer(tick: Tick, side: Side) -> tuple[Decimal, Decimal | None]:
    """What a tick offers to an order of this side: price and, if it says so, size."""
    if isinstance(tick, Quote):
        return (tick.ask, tick.ask_size) if side is _BUY else (tick.bid, tick.bid_size)
    return tick.price, tick.size


def _meets(order: Order, offer: tuple[Decimal, Decimal | None]) -> bool:
    if order.price is None:
        return True
    return offer[0] <= order.price if order.side is _BUY else offer[0] >= order.price


def _rate(name: str, given: Fraction | str | float) -> Fraction:
    """A share, exactly."""
    try:
        rate = None if isinstance(given, float) else Fraction(given)
    except (ValueError, ZeroDivisionError, TypeError):
        rate = None
    if rate is None or not 0 <= rate <= 1:
        msg = f"{name} must be an exact share from 0 to 1, like '1/100' or '0.01', not {given!r}"
        raise MisuseError(msg)
    return rate
