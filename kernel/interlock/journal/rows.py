"""Refusals in a row: a loop that sends one bad order after the other must not flood the journal.

A row is made of decisions of gate 2 that follow one another, all *no*, for one reason, instrument, mode and epoch.
The first few are written one by one, which says what the orders were. The further ones are counted, and every
heartbeat, and whatever ends the row, has a `flood` record written: how many there were, the first, the last and
when. Nothing else is lost of them than their sizes and prices.

The refusal of an order that had a ticket of a controlled stop is never counted: it may be what ends the ticket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.journal import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.values import Order

__all__ = ["MOST", "SINGLES", "Refusals"]

SINGLES: Final = 8
"""Refusals of a row that are written one by one."""

MOST: Final = 4096
"""So many are counted before that is told, heartbeat or not: what a crash can take with it has an end."""

_KEEPS_TICKET: Final = frozenset({"GATE_CLOSED", "HALTED"})


class Refusals:
    """The open row.

    Args:
        write: takes the members of a ``flood`` record, and the time at which it is made (ns); None: now.

    Attributes:
        seen: refusals in the row; 0: there is none.
        ticketed: ids of orders that had a ticket since the last start.
    """

    _first: tuple[str | None, int]
    _instrument: object
    _last: tuple[str | None, int]
    _mode: str

    __slots__ = ("_code", "_count", "_epoch", "_first", "_instrument", "_last", "_mode", "_write", "seen", "ticketed")

    def __init__(self, write: Callable[[dict[str, object], int | None], None]) -> None:
        self._write = write
        self._code: str | None = None  # of no row: no refusal is like it
        self._epoch = self._count = self.seen = 0
        self.ticketed: set[str] = set()

    def counts(self, order: Order, code: str, mode: str, epoch: int, mono: int, ts: int) -> bool:
        """One more refusal, at these times (ns and us). True: it is counted; False: it is to be written."""
        instrument = records.member(order, "instrument")
        if instrument.__class__ is not str:  # anything may come in, and raise when it is compared
            instrument = records.printed(instrument)
        if (
            self._code is code
            and self._instrument == instrument
            and self._mode is mode
            and self._epoch == epoch
            and not self._had_ticket(order, code)
        ):
            self.seen += 1
            if self.seen <= SINGLES:
                return False
            self._last = (records.printed(records.member(order, "client_order_id")), ts)
            self._count += 1
            if self._count == 1:
                self._first = self._last
            if self._count >= MOST:
                self.tell(mono)
            return True
        self.tell(mono)
        self.seen = 1
        self._instrument, self._code, self._mode, self._epoch = instrument, code, mode, epoch
        return False

    def _had_ticket(self, order: Order, code: str) -> bool:
        """Whether this order had a ticket, which such a refusal may have ended."""
        name = records.member(order, "client_order_id")
        if name.__class__ is not str or name not in self.ticketed:
            return False
        if code not in _KEEPS_TICKET:
            self.ticketed.discard(str(name))
        return True

    def tell(self, mono: int | None = None) -> None:
        """Have written what was counted. The row goes on, if the next refusal is like it."""
        if not self._count:
            return
        count, self._count = self._count, 0
        first, first_ts = self._first
        last, last_ts = self._last
        members: dict[str, object] = {
            "epoch": self._epoch,
            "mode": self._mode,
            "code": self._code,
            "instrument": records.printed(self._instrument),
            "count": count,
            "first": first,
            "last": last,
            "first_ts": first_ts,
            "last_ts": last_ts,
        }
        self._write(members, mono)

    def end(self, mono: int | None = None) -> None:
        """Something else was decided: the next refusal is the first of another row."""
        self.tell(mono)
        self.seen = 0
