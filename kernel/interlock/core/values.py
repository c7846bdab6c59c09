"""What the kernel speaks about: ticks, orders, verdicts, permits.

Two rules.

1. **Numbers are exact.** Prices, quantities and money are `decimal.Decimal` here, at the edge, and
   scaled integers inside (`ledger`). A float is not converted, it is refused: ``Decimal(0.1)`` is
   not a tenth.
2. **What was checked is what is sent.** Everything here is frozen, so that an order cannot change
   between the gate and the venue; and the only way to an order inside a send is `Permit.redeem`,
   which works once, and only while that send lasts.

Times: ``ts_us`` is microseconds UTC since the Unix epoch, ``mono_ns`` nanoseconds of a monotonic
clock.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NoReturn, Self

import attrs

from interlock.core.errors import PermitError
from interlock.core.reasons import HaltCode, Reason

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = [
    "PASS",
    "Cancel",
    "Fill",
    "HaltCause",
    "Instrument",
    "Order",
    "OrderType",
    "Outcome",
    "Permit",
    "Quote",
    "Side",
    "Tick",
    "TimeInForce",
    "Trade",
    "Verdict",
    "grant",
]


class Side(enum.StrEnum):
    """Which way an order or a fill moves the position."""

    BUY = "buy"
    SELL = "sell"


class OrderType(enum.StrEnum):
    """A limit order has a price; a market order has none."""

    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(enum.StrEnum):
    """How long the venue keeps an order (FIX tag 59: 0, 1, 3, 4)."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class Outcome(enum.StrEnum):
    """How the send of a permitted order ended."""

    SENT = "sent"
    UNKNOWN = "unknown"
    VOID = "void"


def _positive(_: object, field: attrs.Attribute[Decimal], value: Decimal) -> None:
    if type(value) is not Decimal or not value.is_finite() or value <= 0:
        msg = f"{field.name} must be a finite positive Decimal, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Instrument:
    """What can be traded, and on which grid.

    Attributes:
        name: the name used in ticks, orders and journal.
        tick_size: the smallest price step, in ``currency`` a unit.
        lot_size: the smallest quantity step, in units.
        currency: in which profit, loss and notional are counted.
        multiplier: money a unit of quantity and a unit of price (1 for spot).
    """

    name: str
    tick_size: Decimal = attrs.field(validator=_positive)
    lot_size: Decimal = attrs.field(validator=_positive)
    currency: str
    multiplier: Decimal = attrs.field(default=Decimal(1), validator=_positive)


@attrs.frozen(kw_only=True)
class Quote:
    """The best bid and ask of a venue.

    Attributes:
        instrument: its name.
        ts_us: when the venue says it was so.
        bid: best bid, price.
        ask: best ask, price.
        bid_size: quantity at the bid, None if the feed does not say.
        ask_size: quantity at the ask, likewise.
        sequence: the feed's own count of messages, None if it has none.
        received_us: when it came in here; None means at ``ts_us``.
    """

    instrument: str
    ts_us: int
    bid: Decimal
    ask: Decimal
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    sequence: int | None = None
    received_us: int | None = None


@attrs.frozen(kw_only=True)
class Trade:
    """A trade that was printed by a venue; fields as in `Quote`."""

    instrument: str
    ts_us: int
    price: Decimal
    size: Decimal | None = None
    sequence: int | None = None
    received_us: int | None = None


Tick = Quote | Trade


@attrs.frozen(kw_only=True)
class Order:
    """A new order, as the strategy wants it.

    Attributes:
        client_order_id: 1 to 64 printable ASCII characters without a space; never used twice.
        instrument: the instrument's name.
        side: buy or sell.
        quantity: in units, a multiple of the lot size.
        order_type: limit or market.
        price: a multiple of the tick size; None for a market order, and only then.
        time_in_force: how long the venue keeps it.
        reduce_only: only to make the position smaller; refused if it could turn it.
    """

    client_order_id: str
    instrument: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.LIMIT
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    reduce_only: bool = False


@attrs.frozen(kw_only=True)
class Cancel:
    """A request to take an order back. It passes in every mode."""

    client_order_id: str
    instrument: str


@attrs.frozen(kw_only=True)
class Fill:
    """An execution that the venue reported.

    Attributes:
        client_order_id: of the order that was filled.
        fill_id: the venue's execution id; a second report of the same id for the same instrument changes nothing.
        instrument: the instrument's name.
        side: of the order.
        quantity: filled now, in units.
        price: of this fill.
        fee: in the instrument's currency, positive when paid.
    """

    client_order_id: str
    fill_id: str
    instrument: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class HaltCause:
    """Why the kernel halted; the first cause stays until a reset.

    Attributes:
        code: stable code.
        reason: for people.
        source: who or what did it, for example ``kernel``, ``cli`` or ``signal``.
        operator: the person, or None for the kernel itself.
        ts_us: when, UTC.
        epoch: which armed period it ended.
    """

    code: HaltCode
    reason: str
    source: str
    operator: str | None = None
    ts_us: int = 0
    epoch: int = 0


@attrs.define
class Verdict:
    """What a gate said. True when it let something through.

    Not frozen only because it is made on the way of every order; the kernel keeps no reference.

    Attributes:
        accepted: whether it was let through.
        reason: ACCEPTED, or the first check that refused.
        limit: the limit's value, as text, where there is one.
        value: what was compared with it.
        permit: the number (``seq``) of the permit, once one was journaled.
        outcome: how the send ended; None if none began.
        result: what the send returned.
        error: what the send raised, if the outcome is UNKNOWN.
    """

    accepted: bool
    reason: Reason
    limit: str | None = None
    value: str | None = None
    permit: int | None = None
    outcome: Outcome | None = None
    result: object = None
    error: BaseException | None = None

    def __bool__(self) -> bool:
        """Whether it was let through."""
        return self.accepted


PASS: Final = Verdict(accepted=True, reason=Reason.ACCEPTED)
"""What gate 1 answers for a good tick: always the same object."""


class Permit:
    """One order, one epoch, one send. Only the kernel makes one.

    A send function gets a permit in place of an order, so that code which never saw the kernel
    has nothing that a gateway takes. It calls `redeem` once, inside the send; when the send is
    over, a permit that was kept is worth nothing.

    Attributes:
        number: the ``seq`` of its record in the journal.
        epoch: the armed period it belongs to.
    """

    __slots__ = ("_once", "epoch", "number")
    _once: list[Order]
    number: int
    epoch: int

    def __new__(cls) -> Self:
        """Refuse: see `grant`."""
        msg = "a permit is made by the kernel only"
        raise PermitError(msg)

    def __init_subclass__(cls) -> None:
        """Refuse a subclass, which could bring its own `redeem`."""
        msg = "a permit cannot be subclassed"
        raise PermitError(msg)

    def redeem(self) -> Order:
        """The order, once.

        Raises:
            PermitError: it was redeemed before, or its send is over.
        """
        try:
            return self._once.pop()  # one step under the interpreter's lock: no second winner
        except IndexError:
            msg = f"permit {self.number} is spent"
            raise PermitError(msg) from None

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        """Refuse to be copied or pickled."""
        msg = "a permit cannot be copied"
        raise PermitError(msg)

    def __repr__(self) -> str:
        """Number, epoch, and whether it is still good."""
        state = "good" if self._once else "spent"
        return f"<Permit {self.number} of epoch {self.epoch}, {state}>"


def grant(order: Order, number: int, epoch: int) -> Permit:
    """Make a permit: for the kernel, after both gates and the journal said yes."""
    permit: Permit = object.__new__(Permit)
    permit._once = [order]  # noqa: SLF001 - the one place that may
    permit.number = number
    permit.epoch = epoch
    return permit


def withdraw(permit: Permit) -> bool:
    """Make a permit worth nothing: its send is over, or never began. True if it had been redeemed."""
    once = permit._once  # noqa: SLF001 - the one place that may
    if once:
        once.clear()
        return False
    return True
