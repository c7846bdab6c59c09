"""What is allowed: every limit, exact, and none unset without saying so.

`Limits` is made from a plain mapping (a TOML file, read elsewhere, with every number exact). Rules:

1. A check of gate 1 must be set: to a number, to ``"refuse"``, or in so many words to ``"off"``.
   A key that is missing or unknown is an error that names it.
2. A limit of gate 2 that is missing does not stop the file from loading; it stops the orders:
   `NO_LIMITS`. None of them can be turned off.
3. Numbers are integers, or decimals in quotes; a binary float is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import attrs

from interlock.core.errors import LimitsError
from interlock.core.values import Instrument

__all__ = ["NEVER", "Gate1Limits", "Gate2Limits", "InstrumentLimits", "Limits", "LossLimits"]

_LONGEST_NAME: Final = 64
NEVER: Final = 1 << 62
"""Larger than any age, gap or count: a check of gate 1 that was turned off."""

_DIGITS: Final = 20
"""Digits before the point, or after it, above which a number in the file is a slip of the pen."""


@attrs.frozen(kw_only=True)
class Gate1Limits:
    """Before the strategy is asked. Times in nanoseconds or microseconds as the names say.

    Attributes:
        max_tick_age_us: how old a tick may be on arrival.
        max_clock_ahead_us: how far its time may lie ahead of ours.
        max_silence_us: the longest gap between two ticks of an instrument; the tick that ends a
            longer one is refused, and the next one may pass.
        heartbeat_overdue_ns: the longest time since the last heartbeat.
        backwards: whether a tick older than the last one is refused.
        crossed: whether a bid above its ask is refused.
        non_positive: whether a price of zero or less is refused.
        sequence_gap: whether a jump in the feed's numbers is refused.
    """

    max_tick_age_us: int
    max_clock_ahead_us: int
    max_silence_us: int
    heartbeat_overdue_ns: int
    backwards: bool
    crossed: bool
    non_positive: bool
    sequence_gap: bool


@attrs.frozen(kw_only=True)
class Gate2Limits:
    """Before an order leaves, over all instruments.

    Attributes:
        max_reference_age_ns: how old the reference price may be.
        messages_per_s: refill of the token bucket; orders and cancels take one token each.
        message_burst: its size.
        repeat_window_ns: how long an order is remembered for the loop check.
        repeat_refuse_after: so many identical orders within the window pass, the next is refused.
        repeat_trip_after: so many identical orders, refused ones counted, trip the breaker.
        remember_ids: at least so many client order ids and fill ids are remembered.
    """

    max_reference_age_ns: int
    messages_per_s: int
    message_burst: int
    repeat_window_ns: int
    repeat_refuse_after: int
    repeat_trip_after: int
    remember_ids: int


@attrs.frozen(kw_only=True)
class LossLimits:
    """In one currency, since the session began.

    Attributes:
        max_session_loss: money, positive.
        max_drawdown: money below the session's highest equity, positive.
        confirm_marks: so many fresh distinct marks in a row in breach trip the breaker.
    """

    max_session_loss: Decimal
    max_drawdown: Decimal
    confirm_marks: int


@attrs.frozen(kw_only=True)
class InstrumentLimits:
    """Of one instrument; None is *not set*, and then no order passes.

    Attributes:
        collar_bps: how far from the reference a price may lie, in hundredths of a per cent.
        max_quantity: of one order, units.
        max_notional: of one order, money.
        max_position: long or short, working orders counted as filled, units.
        max_open_orders: working at a time.
    """

    collar_bps: Decimal | None = None
    max_quantity: Decimal | None = None
    max_notional: Decimal | None = None
    max_position: Decimal | None = None
    max_open_orders: int | None = None


@attrs.frozen(kw_only=True)
class Limits:
    """Everything that a home allows.

    Attributes:
        gate1: the checks on ticks.
        gate2: the checks on orders that are not of one instrument; None is not set.
        loss: by currency.
        instruments: by name, each with its limits.
        unknown_order_trips: whether an event about an unknown order trips the breaker.
        errors_in_a_row: so many errors of feed or strategy in a row trip it.
    """

    gate1: Gate1Limits
    gate2: Gate2Limits | None
    loss: Mapping[str, LossLimits]
    instruments: Mapping[str, tuple[Instrument, InstrumentLimits]]
    unknown_order_trips: bool
    errors_in_a_row: int

    @classmethod
    def from_mapping(cls, data: Mapping[str, object], where: str = "limits") -> Limits:
        """Make limits from what a TOML file holds.

        Args:
            data: tables and values; numbers as int, Decimal or decimal text.
            where: the file's name, for the messages.

        Raises:
            LimitsError: with file and key, for the first thing that is wrong.
        """
        top = _Table(data, where)
        version = top.whole("version", least=1)
        if version != 1:
            raise top.wrong("version", "1, the only format this kernel reads", version)
        gate1 = _gate1(top.table("gate1"))
        gate2 = _gate2(top.table("gate2")) if "gate2" in data else None
        anomaly = top.table("anomaly")
        trips = anomaly.choice("unknown_order", {"trip": True, "record": False})
        errors = anomaly.whole("errors_in_a_row", least=1)
        anomaly.close()
        loss = {name: _loss(table) for name, table in top.tables("loss")}
        instruments = {name: _instrument(name, table) for name, table in top.tables("instruments")}
        top.close()
        return cls(
            gate1=gate1,
            gate2=gate2,
            loss=loss,
            instruments=instruments,
            unknown_order_trips=trips,
            errors_in_a_row=errors,
        )


def _gate1(table: _Table) -> Gate1Limits:
    refuse = {"refuse": True, "off": False}
    limits = Gate1Limits(
        max_tick_age_us=table.span("max_tick_age_ms", 1_000),
        max_clock_ahead_us=table.span("max_clock_ahead_ms", 1_000),
        max_silence_us=table.span("max_silence_ms", 1_000),
        heartbeat_overdue_ns=table.span("heartbeat_overdue_ms", 1_000_000),
        backwards=table.choice("tick_backwards", refuse),
        crossed=table.choice("crossed_quote", refuse),
        non_positive=table.choice("non_positive_price", refuse),
        sequence_gap=table.choice("sequence_gap", refuse),
    )
    table.close()
    return limits


def _gate2(table: _Table) -> Gate2Limits | None:
    wanted = (
        "max_reference_age_ms",
        "messages_per_s",
        "message_burst",
        "repeat_window_ms",
        "repeat_refuse_after",
        "repeat_trip_after",
        "remember_ids",
    )
    values = {key: table.whole(key, least=1) for key in wanted if key in table.data}
    table.close()
    if len(values) < len(wanted):
        return None
    if values["repeat_trip_after"] <= values["repeat_refuse_after"]:
        raise table.wrong("repeat_trip_after", "more than repeat_refuse_after", values["repeat_trip_after"])
    return Gate2Limits(
        max_reference_age_ns=values["max_reference_age_ms"] * 1_000_000,
        messages_per_s=values["messages_per_s"],
        message_burst=values["message_burst"],
        repeat_window_ns=values["repeat_window_ms"] * 1_000_000,
        repeat_refuse_after=values["repeat_refuse_after"],
        repeat_trip_after=values["repeat_trip_after"],
        remember_ids=values["remember_ids"],
    )


def _loss(table: _Table) -> LossLimits:
    limits = LossLimits(
        max_session_loss=table.exact("max_session_loss"),
        max_drawdown=table.exact("max_drawdown"),
        confirm_marks=table.whole("confirm_marks", least=1),
    )
    table.close()
    return limits


def _instrument(name: str, table: _Table) -> tuple[Instrument, InstrumentLimits]:
    instrument = Instrument(
        name=name,
        tick_size=table.exact("tick_size"),
        lot_size=table.exact("lot_size"),
        currency=table.text("currency"),
        multiplier=table.exact("multiplier") if "multiplier" in table.data else Decimal(1),
    )
    limits = InstrumentLimits(
        **{
            key: table.exact(key)
            for key in ("collar_bps", "max_quantity", "max_notional", "max_position")
            if key in table.data
        },
        max_open_orders=table.whole("max_open_orders", least=1) if "max_open_orders" in table.data else None,
    )
    table.close()
    return instrument, limits


class _Table:
    """One table of the file: gives typed values, and says what is wrong with them."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            msg = f"{where}: expected a table, found {data!r}"
            raise LimitsError(msg)
        self.data: Mapping[str, object] = data
        self.where = where
        self.read: set[str] = set()

    def wrong(self, key: str, expected: str, found: object) -> LimitsError:
        """The error for one key."""
        return LimitsError(f"{self.where}: {key}: expected {expected}, found {found!r}")

    def get(self, key: str, expected: str) -> object:
        """The value of a key that must be there."""
        self.read.add(key)
        if key not in self.data:
            msg = f"{self.where}: {key} is missing: expected {expected}"
            raise LimitsError(msg)
        return self.data[key]

    def table(self, key: str) -> _Table:
        """A table that must be there."""
        return _Table(self.get(key, "a table"), f"{self.where}: [{key}]")

    def tables(self, key: str) -> list[tuple[str, _Table]]:
        """The tables below a key, none if it is absent."""
        if key not in self.data:
            return []
        below = self.table(key)
        for name in below.data:
            if not (0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable()):
                raise self.wrong(key, f"names of 1 to {_LONGEST_NAME} printable ASCII characters", name[:80])
        return [(name, _Table(value, f"{self.where}: [{key}.{name}]")) for name, value in below.data.items()]

    def whole(self, key: str, *, least: int) -> int:
        """A whole number."""
        expected = f"a whole number of at least {least}"
        value = self.get(key, expected)
        if type(value) is not int or not least <= value < NEVER // 1_000_000_000:
            raise self.wrong(key, expected, value)
        return value

    def span(self, key: str, scale: int) -> int:
        """Milliseconds as another unit, or ``"off"``."""
        if self.data.get(key) == "off":
            self.read.add(key)
            return NEVER
        try:
            return self.whole(key, least=1) * scale
        except LimitsError:
            raise self.wrong(key, 'whole milliseconds, or "off"', self.data.get(key, "nothing")) from None

    def choice(self, key: str, among: Mapping[str, bool]) -> bool:
        """One of two words."""
        expected = " or ".join(f'"{word}"' for word in among)
        value = self.get(key, expected)
        if not isinstance(value, str) or value not in among:
            raise self.wrong(key, expected, value)
        return among[value]

    def text(self, key: str) -> str:
        """A short text."""
        value = self.get(key, "a text")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text", value)
        return value

    def exact(self, key: str) -> Decimal:
        """A positive exact number: int, Decimal, or decimal text."""
        expected = 'a positive exact number, like 5 or "0.25"'
        value = self.get(key, expected)
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise self.wrong(key, expected, value)
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise self.wrong(key, expected, value) from None
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or number <= 0 or number.adjusted() >= _DIGITS or exponent < -_DIGITS:
            raise self.wrong(key, expected, value)
        return number

    def close(self) -> None:
        """Refuse keys that nobody read: a misspelt limit is a missing limit."""
        for key in self.data:
            if key not in self.read:
                msg = f"{self.where}: unknown key {key!r}"
                raise LimitsError(msg)
