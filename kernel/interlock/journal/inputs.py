"""Recorded inputs: a recorder that also writes down all that the core is given.

The core is pure, so whoever has its inputs can make every decision again (room ``replay``). Most of them are in
any journal. What a plain recorder leaves out is added here: the ticks, the moment at which a send begins, the
heartbeats, fills that can't be read; and of anything that a record can't hold exactly, what it really was
(``odd``).

Two rules.

1. **Where the core was given it, it stands.** The record of an input is appended in the critical section in
   which the core got it, with the time that the core got, before anything that came of it.
2. **Nothing is counted in place of being written.** A refusal of gate 2 has a record of its own, always.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeGuard

from interlock.core.modes import ARMED
from interlock.core.values import Order, OrderType, Quote, Side, TimeInForce, Trade
from interlock.journal import records
from interlock.journal.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.ledger import Working
    from interlock.core.values import Fill, Verdict

__all__ = ["InputRecorder"]

_PLAIN: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_LONGEST_NUMBER: Final = 40
_PAST_WHOLE: Final = 1 << 53
_LONGEST: Final = 64
_LONGEST_STRING: Final = 100
_LONGEST_ODD: Final = 1000
_ABSENT: Final = object()

Odd = tuple[str, object]


class InputRecorder(Recorder):
    """A `Recorder` for a run with recorded inputs; same arguments."""

    __slots__ = ()

    # -- What gate 1 is given --------------------------------------------------------------------

    def tick(self, tick: Quote | Trade, latch: int, verdict: Verdict, mono: int) -> None:
        """Gate 1 decided about a tick, whatever it is: at ``mono``, and at the UTC that goes with it.

        Args:
            tick: and the latch byte, as gate 1 was given them.
            latch: see there.
            verdict: what it said.
            mono: when.
        """
        odd: list[Odd] = []
        ts = (mono + self.utc_ns) // 1000
        if tick.__class__ is Trade:
            kind = "trade"
            members = {
                "instrument": _text(tick, "instrument", odd),
                "venue_ts": _whole(tick, "ts_us", odd, "venue_ts"),
                "received_ts": _whole(tick, "received_us", odd, "received_ts", may_miss=True),
                "sequence": _whole(tick, "sequence", odd, "sequence", may_miss=True),
                "price": _decimal(tick, "price", odd, "price"),
                "quantity": _decimal(tick, "size", odd, "quantity", may_miss=True),
            }
        else:  # a thing of any other class, too: gate 1 looks at its prices last, and at none of these
            kind = "quote"
            quote = tick.__class__ is Quote
            if not quote:
                odd.append(("", tick))
            members = {
                "instrument": _text(tick, "instrument", odd),
                "venue_ts": _whole(tick, "ts_us", odd, "venue_ts"),
                "received_ts": _whole(tick, "received_us", odd, "received_ts", may_miss=True) if quote else None,
                "sequence": _whole(tick, "sequence", odd, "sequence", may_miss=True),
                "bid": _decimal(tick, "bid", odd, "bid") if quote else None,
                "ask": _decimal(tick, "ask", odd, "ask") if quote else None,
                "bid_size": _decimal(tick, "bid_size", odd, "bid_size", may_miss=True) if quote else None,
                "ask_size": _decimal(tick, "ask_size", odd, "ask_size", may_miss=True) if quote else None,
            }
        if odd:
            self._tell(odd, ts, mono)
        self.journal.defer(_told, kind, ts, mono - self.zero_ns, members, latch == ARMED, str(verdict.reason))

    def heartbeat(self, mono: int) -> None:
        """The core was told that the loop turns."""
        self.journal.defer(_bare, "heartbeat", (mono + self.utc_ns) // 1000, mono - self.zero_ns)

    # -- What gate 2 is given --------------------------------------------------------------------

    def refuse(self, order: Order, verdict: Verdict, epoch: int, mode: str, mono: int) -> None:
        """Gate 2 refused: one record each, and before it what it can't hold of the order."""
        self.refusals += 1
        ts = (mono + self.utc_ns) // 1000
        odd = _odd_of_order(order)
        if odd:
            self._tell(odd, ts, mono)
        said = (order, verdict.reason, verdict.limit, verdict.value)
        self.journal.defer(records.refuse, ts, mono - self.zero_ns, epoch, mode, *said)
        if odd:  # it is frozen, but what is odd in it need not be
            self.journal.next()

    def begun(self, working: Working) -> None:
        """The last look let a send begin."""
        mono = working.begun_ns
        self.journal.defer(_begin, (mono + self.utc_ns) // 1000, mono - self.zero_ns, working.number)

    # -- What the venue says ---------------------------------------------------------------------

    def odd_id(self, order_id: str) -> None:
        """Before the record of an event: whether it can hold the order's id."""
        if not _fits(order_id):
            self._tell_now([("id", order_id)])

    def fill(self, fill: Fill, *, known: bool) -> None:
        """The venue executed. What could be booked has numbers that a record can hold."""
        self.odd_id(fill.client_order_id)
        if not _fits(fill.fill_id):
            self._tell_now([("fill", fill.fill_id)])
        super().fill(fill, known=known)

    def unread(self, fill: Fill) -> None:
        """A fill came in that could not be read."""
        odd: list[Odd] = []
        names = {"id": "client_order_id", "fill": "fill_id", "instrument": "instrument", "side": "side"}
        numbers = {"quantity": "quantity", "price": "price", "fee": "fee"}
        for key, attribute in names.items():
            value = _member(fill, attribute)
            if not (value.__class__ is Side if key == "side" else _fits(value)):
                odd.append((key, value))
        for key, attribute in numbers.items():
            _decimal(fill, attribute, odd, key)
        self._tell_now(odd)
        said = {key: records.printed(records.member(fill, name)) for key, name in {**names, **numbers}.items()}
        self.note("unread", **said)

    # -- What a record can't hold ----------------------------------------------------------------

    def _tell_now(self, odd: Iterable[Odd]) -> None:
        mono = self._mono()
        self._tell(odd, (mono + self.utc_ns) // 1000, mono)

    def _tell(self, odd: Iterable[Odd], ts: int, mono: int) -> None:
        """One ``odd`` for each field; its text is made now, since what it prints may change."""
        for field, value in odd:
            name, text = _described(value)
            self.journal.defer(_odd, ts, mono - self.zero_ns, field, name, text)


# -- Whether a record can hold it ------------------------------------------------------------------


def _member(thing: object, attribute: str) -> object:
    """An attribute of anything at all, or `_ABSENT`."""
    try:
        found: object = getattr(thing, attribute, _ABSENT)
    except Exception:  # noqa: BLE001 - it was given to the core all the same
        return _ABSENT
    return found


def _fits(value: object) -> TypeGuard[str]:
    """Whether it is a string that stands in a record as it is."""
    return type(value) is str and records.printed(value) == value


def _text(thing: object, attribute: str, odd: list[Odd]) -> str | None:
    value = _member(thing, attribute)
    if _fits(value):
        return value
    odd.append((attribute, value))
    return None


def _whole(thing: object, attribute: str, odd: list[Odd], key: str, *, may_miss: bool = False) -> int | None:
    value = _member(thing, attribute)
    if type(value) is int and 0 <= value < _PAST_WHOLE:
        return value
    if value is not None or not may_miss:
        odd.append((key, value))
    return None


def _decimal(thing: object, attribute: str, odd: list[Odd], key: str, *, may_miss: bool = False) -> str | None:
    value = _member(thing, attribute)
    if type(value) is Decimal:
        text = str(value)
        if len(text) <= _LONGEST_NUMBER and text.replace(".", "", 1).isdigit():  # as nearly all are
            return text
        if _PLAIN.fullmatch(text):
            return text
    if value is not None or not may_miss:
        odd.append((key, value))
    return None


def _odd_of_order(order: object) -> list[Odd]:
    """The fields of an order, or of what came in place of one, that ``refuse`` does not hold as they are."""
    odd: list[Odd] = [] if order.__class__ is Order else [("", order)]
    for key, attribute in (("id", "client_order_id"), ("instrument", "instrument")):
        value = _member(order, attribute)
        if not _fits(value):
            odd.append((key, value))
    classes = (("side", "side", Side), ("type", "order_type", OrderType), ("tif", "time_in_force", TimeInForce))
    for key, attribute, wanted in classes:
        value = _member(order, attribute)
        if value.__class__ is not wanted:
            odd.append((key, value))
    value = _member(order, "quantity")
    if value.__class__ is not Decimal or len(str(value)) > _LONGEST:
        odd.append(("quantity", value))
    value = _member(order, "price")
    if value is not None and (value.__class__ is not Decimal or len(str(value)) > _LONGEST):
        odd.append(("price", value))
    value = _member(order, "reduce_only")
    if value.__class__ is not bool:
        odd.append(("reduce_only", value))
    return odd


def _described(value: object) -> tuple[str, str]:
    """The name of its type, and how it is printed."""
    if value is _ABSENT:
        return "", ""
    if type(value) is str:
        value = value[:_LONGEST_STRING]
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - it is told all the same, as well as can be
        text = f"<{type(value).__name__}>"
    return records.name(type(value).__name__), records.text(text, _LONGEST_ODD)


# -- Records ---------------------------------------------------------------------------------------


def _bare(seq: int, kind: str, ts: int, mono: int) -> records.Record:
    return records.head(seq, kind, ts, mono)


def _told(  # noqa: PLR0913, PLR0917
    seq: int,
    kind: str,
    ts: int,
    mono: int,
    members: records.Record,
    armed: bool,  # noqa: FBT001 - as a record holds it
    code: str,
) -> records.Record:
    return {**records.head(seq, kind, ts, mono), **members, "armed": armed, "code": code}


def _begin(seq: int, ts: int, mono: int, permit: int) -> records.Record:
    return {**records.head(seq, "begin", ts, mono), "permit": permit}


def _odd(seq: int, ts: int, mono: int, field: str, name: str, text: str) -> records.Record:
    return {**records.head(seq, "odd", ts, mono), "field": field, "type": name, "text": text}
