"""Gate 2: may this order leave?

The checks are made in the order in which they stand here, and the first refusal wins; every refusal
names the limit and the value that was held against it. A check that cannot be made (no limit, no
reference price, a number that is none, an exception) refuses. Nothing is changed until all have passed;
then id, token and reservation are taken in one step.

    mode and latch · heartbeat · known, with limits · well formed · not a duplicate · fresh reference ·
    collar · quantity · notional · position · exits · open orders · message rate · order loop · losses
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from interlock.core.ledger import Working, unscaled
from interlock.core.machine import LONGEST_ID, breach_of, refusal
from interlock.core.modes import ARMED, Mode
from interlock.core.presignal import Presignal
from interlock.core.reasons import HaltCode, Reason
from interlock.core.tickets import fits
from interlock.core.values import PASS, Order, OrderType, Side, TimeInForce, Verdict

if TYPE_CHECKING:
    from interlock.core.ledger import Account, Book
    from interlock.core.limits import Gate2Limits
    from interlock.core.tickets import Ticket

__all__ = ["Core"]

_LIMIT: Final = OrderType.LIMIT
_MARKET: Final = OrderType.MARKET


class Core(Presignal):
    """The whole core: the machine with both gates. Arguments as for `Machine`."""

    __slots__ = ()

    def decide(self, order: Order, latch: int, mono_ns: int, number: int) -> Working | Verdict:  # noqa: PLR0911
        """Gate 2: grant or refuse one order.

        Args:
            order: what the strategy wants.
            latch: the latch byte.
            mono_ns: now, monotonic.
            number: what the permit's record will be numbered.

        Returns:
            The granted order, reserved, to be journaled and then begun; or the refusal.
        """
        if (latch != ARMED or not self.gate_open) and not self._admits(order, latch):
            return self.shut(latch)
        overdue_ns = mono_ns - self.beat_ns
        if overdue_ns > self.beat_overdue_ns:
            return refusal(Reason.HEARTBEAT_OVERDUE, self.beat_overdue_ns, overdue_ns)
        try:
            if order.__class__ is not Order:
                return refusal(Reason.MALFORMED, "Order", type(order).__name__)
            book = self.books.get(order.instrument)
            limits = self.gate2
            if book is None or book.missing is not None or limits is None:
                return _unlimited(order, book)
            working = _shape(book, order, number)
            if isinstance(working, Verdict):
                return working
            order_id = order.client_order_id
            ids = self.ids
            if order_id in ids.young or order_id in ids.old or order_id in self.working:
                return refusal(Reason.DUPLICATE_ID, value=order_id)
            age_ns = mono_ns - book.reference_mono_ns
            refused = _exposure(book, working, age_ns, limits.max_reference_age_ns)
            if refused is None:
                refused = self._flow(limits, book, working, mono_ns)
            if refused is not None:
                return refused
            self.bucket.take()
            self.regrant(working)
        except Exception as error:  # noqa: BLE001 - a check that raises refuses, whatever it raises
            return self.raised(error)
        return working

    def ticket(self, ticket: Ticket, latch: int) -> Verdict:  # noqa: PLR0911 - one a reason
        """Whether an exit may be let through the closed gate; see `tickets`. `admit` then does it.

        Args:
            ticket: for the exit.
            latch: the latch byte.
        """
        if latch != ARMED or self.mode is not Mode.RUNNING:
            return self.shut(latch)
        if self.gate_open:
            return refusal(Reason.NOT_RUNNING, "gate closed", "gate open")
        book = self.books.get(ticket.instrument)
        if book is None:
            return refusal(Reason.UNKNOWN_INSTRUMENT, value=f"{ticket.instrument!s:.64}")
        exit_order = Order(
            client_order_id=ticket.client_order_id,
            instrument=ticket.instrument,
            side=ticket.side,
            quantity=ticket.quantity,
            order_type=_MARKET,
            reduce_only=True,
        )
        shaped = _shape(book, exit_order, 0)
        if isinstance(shaped, Verdict):
            return shaped
        order_id = ticket.client_order_id
        if order_id in self.tickets or order_id in self.ids or order_id in self.working:
            return refusal(Reason.DUPLICATE_ID, value=order_id)
        held = -book.position if shaped.buys else book.position
        if shaped.remaining > held:
            return refusal(Reason.REDUCE_ONLY, book.size_text(max(held, 0)), shaped.size_text)
        return PASS

    def admit(self, ticket: Ticket) -> None:
        """Let the exit through, once, after `ticket` said yes and the journal has its record."""
        self.tickets[ticket.client_order_id] = ticket

    def _admits(self, order: Order, latch: int) -> bool:
        """Whether an order at the closed gate has a ticket that fits; it is spent by that."""
        if latch != ARMED or not self.tickets or order.__class__ is not Order:
            return False
        order_id = order.client_order_id
        ticket = self.tickets.get(order_id) if order_id.__class__ is str else None
        if ticket is None or not fits(ticket, order):
            return False
        del self.tickets[order_id]
        return True

    def _flow(self, limits: Gate2Limits, book: Book, working: Working, mono_ns: int) -> Verdict | None:
        """Message rate, order loop, losses."""
        if not self.bucket.ready(mono_ns):
            return refusal(Reason.MESSAGE_RATE, limits.messages_per_s, self.bucket.tokens)
        order = working.order
        key = (
            book,
            working.buys,
            working.remaining,
            working.price,
            order.time_in_force._value_,
            working.reduces,
        )
        count = self.repeats.count(key, mono_ns, limits.repeat_refuse_after)
        if count:
            if count >= limits.repeat_trip_after:
                self.trip(HaltCode.ORDER_LOOP, f"{count} identical orders for {book.name} within the window")
            return refusal(Reason.ORDER_LOOP, limits.repeat_refuse_after, count)
        if book.account.breached is not None:
            self.repeats.undo()
            return _breached(book.account, book.account.breached)
        return None


def _unlimited(order: Order, book: Book | None) -> Verdict:
    if book is None:
        return refusal(Reason.UNKNOWN_INSTRUMENT, value=f"{order.instrument!s:.64}")
    return refusal(Reason.NO_LIMITS, book.missing or "gate2")


def _breached(account: Account, limit: Reason) -> Verdict:
    breach = breach_of(account, limit, "entered")
    return refusal(limit, breach.bound, breach.value)


def _shape(book: Book, order: Order, number: int) -> Working | Verdict:  # noqa: PLR0911
    """Well formed, finite, positive, on the grid: the order in the book's integers, not yet reserved."""
    order_id = order.client_order_id
    if not (
        order_id.__class__ is str
        and 0 < len(order_id) <= LONGEST_ID
        and order_id.isascii()
        and order_id.isprintable()
        and " " not in order_id
    ):
        return refusal(Reason.MALFORMED, "client_order_id: 1 to 64 printable ASCII", f"{order_id!r:.64}")
    if order.side.__class__ is not Side or order.time_in_force.__class__ is not TimeInForce:
        found = f"{order.side!r:.32} {order.time_in_force!r:.32}"
        return refusal(Reason.MALFORMED, "side: Side, time_in_force: TimeInForce", found)
    if order.reduce_only.__class__ is not bool:
        return refusal(Reason.MALFORMED, "reduce_only: bool", f"{order.reduce_only!r:.64}")
    quantity = order.quantity
    if quantity.__class__ is not Decimal:
        return refusal(Reason.MALFORMED, "quantity: Decimal", f"{quantity!r:.64}")
    size, size_text, off = book.sizes[str(quantity)]
    if off is not None or size is None:
        return refusal(off or Reason.MALFORMED, f"positive multiple of {book.instrument.lot_size}", size_text)
    price = order.price
    if order.order_type is _MARKET and price is None:
        return Working(order, book, number, size, size_text, 0, None)
    if order.order_type is not _LIMIT or price.__class__ is not Decimal or price is None:
        found = f"{order.order_type!r:.32} {price!r:.32}"
        return refusal(Reason.MALFORMED, "limit with a Decimal price, or market without", found)
    units, price_text, off = book.prices[str(price)]
    if off is not None or units is None:
        return refusal(off or Reason.MALFORMED, f"positive multiple of {book.instrument.tick_size}", price_text)
    return Working(order, book, number, size, size_text, units, price_text)


def _exposure(book: Book, working: Working, age_ns: int, max_age_ns: int) -> Verdict | None:  # noqa: PLR0911
    """Reference, collar, quantity, notional, position, exits and open orders.

    Prices are doubled, so that the middle of bid and ask is a whole number. A market order is judged
    at the touch it would take.
    """
    reference = book.reference
    if reference is None:
        return refusal(Reason.NO_REFERENCE)
    if age_ns > max_age_ns:
        return refusal(Reason.REFERENCE_STALE, max_age_ns, age_ns)
    bid, _, ask, _ = reference
    middle2 = bid + ask
    buys = working.buys
    price2 = 2 * (working.price or (ask if buys else bid))
    away = price2 - middle2 if price2 > middle2 else middle2 - price2
    if away * book.collar_den > book.collar_num * abs(middle2):
        return refusal(Reason.PRICE_COLLAR, _collar_text(book, middle2), unscaled(price2 // 2, book.price_digits))
    size = working.remaining
    if size > book.max_quantity:
        return refusal(Reason.MAX_QUANTITY, book.size_text(book.max_quantity), working.size_text)
    # A sell below the market may fill at the market: the larger of the two is what it may turn over,
    # on either side of zero.
    limit2, market2 = abs(price2), abs(middle2)
    notional2 = size * (max(market2, limit2)) * book.money_factor
    if notional2 > book.max_notional2:
        account = book.account
        return refusal(Reason.MAX_NOTIONAL, account.text(book.max_notional2 // 2), account.text(notional2 // 2))
    # Towards this side: what is held, what is on its way, and this one.
    held, coming = (book.position, book.buying) if buys else (-book.position, book.selling)
    worst = held + coming + size
    if worst > book.max_position:
        return refusal(Reason.MAX_POSITION, book.size_text(book.max_position), book.size_text(worst))
    # Past zero: then an exit would turn the position, and so might an exit that is already pending.
    if worst > 0 and (working.reduces or (book.exits_buying if buys else book.exits_selling)):
        reason = Reason.REDUCE_ONLY if working.reduces else Reason.EXIT_RESERVED
        return refusal(reason, book.size_text(max(-held - coming, 0)), working.size_text)
    if book.open_orders >= book.max_open:
        return refusal(Reason.MAX_OPEN_ORDERS, book.max_open, book.open_orders + 1)
    return None


def _collar_text(book: Book, middle2: int) -> str:
    bps = Decimal(book.collar_num * 10_000) / Decimal(book.collar_den)
    return f"{bps:f} bps of {unscaled(middle2 * 5, book.price_digits + 1)}"
