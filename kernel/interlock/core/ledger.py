"""What is owned and what is owed: positions, working orders, profit and loss, in exact integers.

Scales. A price is an integer in steps of ``10**-price_digits`` (the tick size's decimals and two more, so
that a mid-point fill fits), a quantity in steps of ``10**-size_digits`` (the lot size's decimals), and money
in steps of ``10**-digits`` of its account. Nothing is ever rounded: a number that does not fit its scale is
refused where it comes in.

Worst case. A limit counts working orders as if they were filled. So an order is *reserved* when its
permit is granted, in the same step, and what is left of the reservation is given back when the
venue says that the order is over. An order whose fate is unknown keeps its reservation.

Exits. A reduce-only order reserves part of the confirmed position. While such an exit is pending,
everything working on its side together is at most the position, so that no sequence of fills can turn it.

Money. A position's worth is ``cash + position * mark``, a long one marked at the bid, a short one at the
ask. There is no average price and so no division.
"""

from __future__ import annotations

import enum
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Final

from interlock.core.limits import NEVER
from interlock.core.reasons import Reason
from interlock.core.values import Side

if TYPE_CHECKING:
    from interlock.core.limits import InstrumentLimits, LossLimits
    from interlock.core.values import Instrument, Order

__all__ = ["Account", "Book", "Scale", "Status", "Working", "scaled", "unscaled"]

_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])
_LARGEST: Final = 25
"""Powers of ten above which a number is no price, quantity or amount of money."""

_CACHE_SIZE: Final = 8192
"""Distinct prices or sizes remembered in converted form, an instrument; then it starts afresh."""

_PRICE_GUARD_DIGITS: Final = 2
_MONEY_DIGITS: Final = 12


def scaled(value: Decimal, digits: int) -> int | None:
    """A decimal as an integer of ``10**-digits``; None if it isn't finite, or does not fit exactly."""
    try:
        if value.adjusted() > _LARGEST:  # also keeps 1E+999999999 from being written out
            return None
        return int(_EXACT.to_integral_exact(_EXACT.scaleb(value, digits)))
    except (DecimalException, ValueError, OverflowError):
        return None


def unscaled(number: int, digits: int) -> str:
    """An integer of ``10**-digits`` as plain decimal text without trailing zeros."""
    sign = "-" if number < 0 else ""
    if digits <= 0:
        return str(number)
    whole, part = divmod(abs(number), 10**digits)
    fraction = f"{part:0{digits}d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def decimals(value: Decimal) -> int:
    """How many digits after the point a finite decimal needs."""
    exponent = value.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


class Scale(dict[str, tuple[int | None, str, Reason | None]]):
    """Decimals in converted form: ``scale[str(value)]`` is (integer, text, what an order is refused for).

    The integer is None if the value is not finite or does not fit exactly; the reason is None if it is
    positive and on the grid. Prices and sizes repeat, so this is a dict that fills itself, and starts
    afresh when it is full. Its keys are texts because a Decimal takes four times as long to hash.
    """

    __slots__ = ("_digits", "_off_grid", "_step")

    def __init__(self, digits: int, step: int, off_grid: Reason) -> None:
        super().__init__()
        self._digits = digits
        self._step = step
        self._off_grid = off_grid

    def __missing__(self, text: str) -> tuple[int | None, str, Reason | None]:
        """Convert, and remember."""
        value = Decimal(text)
        number = scaled(value, self._digits)
        if number is None:
            return None, text[:64], self._off_grid if value.is_finite() else Reason.MALFORMED
        refused = Reason.MALFORMED if number <= 0 else self._off_grid if number % self._step else None
        if len(self) >= _CACHE_SIZE:
            self.clear()
        found = self[text] = (number, unscaled(number, self._digits), refused)
        return found


class Status(enum.Enum):
    """Where a working order stands; the names are those of ``Kernel.tla``."""

    GRANTED = "granted"
    SENDING = "sending"
    DONE = "done"
    UNKNOWN = "unknown"
    VOID = "void"


class Working:
    """An order that may be, or come to be, at the venue.

    Attributes:
        order: as it was checked.
        number: of its permit.
        remaining: what is still reserved, in the book's integers.
        status: where it stands.
        size_text: its quantity as it stands in the journal.
        price: in the book's integers, 0 for a market order.
        price_text: as it stands in the journal; None for a market order.
        epoch: the armed period in which it was granted.
        begun_ns: when its send began, monotonic; set by whoever begins it.
        thread: in which thread.
    """

    __slots__ = (
        "begun_ns",
        "book",
        "buys",
        "epoch",
        "number",
        "order",
        "price",
        "price_text",
        "reduces",
        "remaining",
        "size_text",
        "status",
        "thread",
    )
    epoch: int
    begun_ns: int
    thread: int

    def __init__(  # noqa: PLR0913, PLR0917 - made once, on the order path, where keywords cost
        self,
        order: Order,
        book: Book,
        number: int,
        remaining: int,
        size_text: str,
        price: int,
        price_text: str | None,
    ) -> None:
        self.order = order
        self.book = book
        self.number = number
        self.buys = order.side is Side.BUY
        self.reduces = order.reduce_only
        self.remaining = remaining
        self.size_text = size_text
        self.price = price
        self.price_text = price_text
        self.status = Status.GRANTED


class Account:
    """Profit and loss in one currency, since the session began."""

    __slots__ = (
        "breached",
        "breached_by",
        "confirm_marks",
        "currency",
        "digits",
        "equity",
        "floor",
        "limits_set",
        "marks",
        "max_drawdown",
        "max_loss",
        "opening",
        "peak",
    )

    def __init__(self, currency: str, digits: int, limits: LossLimits | None) -> None:
        self.currency = currency
        self.digits = digits
        self.equity = 0
        self.opening = 0
        self.peak = 0
        self.breached: Reason | None = None
        self.breached_by = ""
        self.marks = 0
        self.limits_set = limits is not None
        self.confirm_marks = limits.confirm_marks if limits else 0
        self.max_loss = _floor(limits.max_session_loss, digits) if limits else 0
        self.max_drawdown = _floor(limits.max_drawdown, digits) if limits else 0
        self.floor = -self.max_loss  # equity at which the session's loss is reached

    def begin_session(self) -> None:
        """Count profit and loss from here."""
        self.opening = self.peak = self.equity
        self.floor = self.opening - self.max_loss
        self.breached = None
        self.marks = 0

    def scaled(self, amount: Decimal) -> int | None:
        """An amount in this account's integers; None if it does not fit exactly."""
        return scaled(amount, self.digits)

    def restore(self, *, opening: Decimal, peak: Decimal) -> None:
        """Take opening and peak from a journal, if they fit."""
        was_opening, was_peak = self.scaled(opening), self.scaled(peak)
        if was_opening is not None and was_peak is not None:
            self.opening, self.peak = was_opening, was_peak
            self.floor = self.opening - self.max_loss

    def resume(self, equity: int, opening: int, peak: int) -> None:
        """Go on from these."""
        self.equity, self.opening, self.peak = equity, opening, peak
        self.floor = opening - self.max_loss
        self.breached = None
        self.marks = 0

    def assess(self) -> Reason | None:
        """Which loss limit is reached now; raises the peak on the way."""
        equity = self.equity
        self.peak = max(self.peak, equity)
        if equity <= self.floor:
            return Reason.SESSION_LOSS
        if self.peak - equity >= self.max_drawdown:
            return Reason.DRAWDOWN
        return None

    def text(self, amount: int) -> str:
        """An amount of this account's money as decimal text."""
        return unscaled(amount, self.digits)


def _floor(value: Decimal, digits: int) -> int:
    return int(_EXACT.scaleb(value, digits)) if value.adjusted() <= _LARGEST else 10 ** (_LARGEST + digits)


class Book:
    """One instrument: its limits as integers, its feed, its position and its working orders."""

    __slots__ = (
        "account",
        "buying",
        "cash",
        "collar_den",
        "collar_num",
        "exits_buying",
        "exits_selling",
        "instrument",
        "last_received_us",
        "last_sequence",
        "last_ts_us",
        "lot",
        "mark_ask",
        "mark_bid",
        "marked",
        "max_notional2",
        "max_open",
        "max_position",
        "max_quantity",
        "missing",
        "money_factor",
        "name",
        "open_orders",
        "position",
        "price_digits",
        "prices",
        "reference",
        "reference_mono_ns",
        "selling",
        "size_digits",
        "sizes",
        "tick",
        "worth",
    )

    def __init__(self, instrument: Instrument, limits: InstrumentLimits, account: Account) -> None:
        self.instrument = instrument
        self.name = instrument.name
        self.account = account
        self.price_digits = decimals(instrument.tick_size) + _PRICE_GUARD_DIGITS
        self.size_digits = decimals(instrument.lot_size)
        self.tick = _floor(instrument.tick_size, self.price_digits)
        self.lot = _floor(instrument.lot_size, self.size_digits)
        multiplier_digits = decimals(instrument.multiplier)
        spare = account.digits - self.price_digits - self.size_digits - multiplier_digits
        self.money_factor = _floor(instrument.multiplier, multiplier_digits) * 10**spare
        self.prices = Scale(self.price_digits, self.tick, Reason.OFF_TICK_GRID)
        self.sizes = Scale(self.size_digits, self.lot, Reason.OFF_LOT_GRID)
        self._set_limits(limits)
        # The feed.
        self.last_ts_us = 0
        self.last_received_us = NEVER  # so the first tick ends no silence
        self.last_sequence: int | None = None
        self.reference: tuple[int, str, int, str] | None = None  # bid and ask, each with its text
        self.reference_mono_ns = 0
        # What is owned and owed.
        self.position = 0
        self.cash = 0
        self.worth = 0
        self.marked = False
        self.mark_bid = 0
        self.mark_ask = 0
        self.buying = 0
        self.selling = 0
        self.exits_buying = 0
        self.exits_selling = 0
        self.open_orders = 0

    def _set_limits(self, limits: InstrumentLimits) -> None:
        names = ("collar_bps", "max_quantity", "max_notional", "max_position", "max_open_orders")
        missing = [f"instruments.{self.name}.{name}" for name in names if getattr(limits, name) is None]
        if not self.account.limits_set:
            missing.append(f"loss.{self.account.currency}")
        self.missing: str | None = missing[0] if missing else None
        self.collar_num, self.collar_den = (limits.collar_bps or Decimal(0)).as_integer_ratio()
        self.collar_den *= 10_000
        self.max_quantity = _floor(limits.max_quantity or Decimal(0), self.size_digits)
        self.max_notional2 = 2 * _floor(limits.max_notional or Decimal(0), self.account.digits)
        self.max_position = _floor(limits.max_position or Decimal(0), self.size_digits)
        self.max_open = limits.max_open_orders or 0

    @staticmethod
    def money_digits(instrument: Instrument) -> int:
        """The decimals that money needs so that this instrument's profit is exact."""
        return max(
            _MONEY_DIGITS,
            decimals(instrument.tick_size)
            + _PRICE_GUARD_DIGITS
            + decimals(instrument.lot_size)
            + decimals(instrument.multiplier),
        )

    def money(self, value: Decimal) -> int | None:
        """An amount in the account's integers; None if it does not fit exactly."""
        return scaled(value, self.account.digits)

    def resume(self, position: int, cash: int, worth: int, mark_bid: int, mark_ask: int) -> None:
        """Go on from these, with nothing working yet."""
        self.position, self.cash, self.worth = position, cash, worth
        self.mark_bid, self.mark_ask, self.marked = mark_bid, mark_ask, False
        self.buying = self.selling = self.exits_buying = self.exits_selling = self.open_orders = 0

    def reserve(self, working: Working) -> None:
        """Count a granted order as if it were filled."""
        quantity = working.remaining
        self.open_orders += 1
        if working.buys:
            self.buying += quantity
            if working.reduces:
                self.exits_buying += quantity
        else:
            self.selling += quantity
            if working.reduces:
                self.exits_selling += quantity

    def release(self, working: Working, quantity: int) -> None:
        """Give back that part of a reservation."""
        working.remaining -= quantity
        if working.buys:
            self.buying -= quantity
            if working.reduces:
                self.exits_buying -= quantity
        else:
            self.selling -= quantity
            if working.reduces:
                self.exits_selling -= quantity

    def execute(self, *, buys: bool, quantity: int, price: int, fee: int) -> None:
        """Move the position and the money by a fill. All in this book's integers, fee in the account's."""
        was_flat = self.position == 0
        signed = quantity if buys else -quantity
        self.position += signed
        self.cash -= signed * price * self.money_factor + fee
        if was_flat and self.reference is not None:  # while flat no tick was marked: the last good one is the mark
            self.mark_bid, _, self.mark_ask, _ = self.reference
            self.marked = True
        if not self.marked:  # never seen a tick: the fill is the best mark there is
            self.mark_bid = self.mark_ask = price
        self.revalue()

    def revalue(self) -> None:
        """Bring the account's equity up to date with this book."""
        mark = self.mark_bid if self.position > 0 else self.mark_ask
        worth = self.cash + self.position * mark * self.money_factor
        self.account.equity += worth - self.worth
        self.worth = worth

    def size_text(self, quantity: int) -> str:
        """A quantity as decimal text."""
        return unscaled(quantity, self.size_digits)
