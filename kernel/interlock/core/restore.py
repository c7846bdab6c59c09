"""After a restart: what the journal says is owned and owed.

A kernel that forgot its position would grant an exit that turns it, and one that forgot its losses would let
a restart pay for them. So the records of the journal are played into a fresh core, oldest first.
Limits are not judged again: what was granted was granted. A permit of which nobody wrote how it
ended may have been sent: it comes back as unknown, unless the venue spoke of it later, and counts as
working until the venue says that it is over.

Modes are not restored. Whether the kernel is HALTED is the latch's to say, and it never comes back RUNNING.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, cast

from interlock.core.ledger import Status, Working
from interlock.core.values import Fill, Order, OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.core.machine import Machine

__all__ = ["Restorer", "restore"]


def restore(core: Machine, records: Iterable[Mapping[str, object]]) -> list[str]:
    """Play journal records into a fresh core.

    Args:
        core: as it was made, nothing done with it yet.
        records: decoded lines of the journal in their order; a ``salvage`` record stands for what it carries.

    Returns:
        What could not be restored, a line each: an instrument that the limits no longer know. The
        caller must not go on to trade with such a hole in the ledger.
    """
    restorer = Restorer(core)
    for record in records:
        restorer.play(record)
    return restorer.finish()


class Restorer:
    """Takes the records one by one; see `restore`."""

    def __init__(self, core: Machine) -> None:
        self.core = core
        self.holes: list[str] = []
        self.open: dict[int, Working] = {}
        self.heard: set[Working] = set()
        self.strange = _Strange()
        self._trips, core.trips_on_anomaly = core.trips_on_anomaly, False
        core.restoring = True

    def finish(self) -> list[str]:
        """All records were played: what is still open is unknown. Returns the holes."""
        core = self.core
        core.trips_on_anomaly = self._trips
        core.restoring = False
        for working in core.working.values():
            if working.status is Status.GRANTED:
                working.status = Status.DONE if working in self.heard else Status.UNKNOWN
        for account in core.accounts():
            account.breached = account.assess()  # a loss is not over because nobody looked
            books = [book for book in core.books.values() if book.account is account]
            account.breached_by = max(books, key=lambda book: abs(book.position)).name
        core.notices.clear()
        return [*self.holes, *self.strange.left()]

    def play(self, record: Mapping[str, object]) -> None:  # noqa: C901 - one branch a kind
        """Apply one record, if its kind says something about the ledger."""
        kind = record["kind"]
        if kind == "salvage":
            self.play(cast("Mapping[str, object]", record["record"]))
        elif kind == "permit":
            self._permit(record)
        elif kind in {"sent", "unknown", "void"}:
            self._outcome(cast("int", record["permit"]), str(kind))
        elif kind == "accept":
            self._hear(record)
            self.core.on_accept(cast("str", record["id"]))
        elif kind in {"cancelled", "reject"}:
            self.strange.close(cast("str", record["id"]))
            self.core.on_closed(cast("str", record["id"]), str(kind))
        elif kind == "fill":
            self._fill(record)
        elif kind == "mark":
            self._mark(record)
        elif kind == "start":
            session = record["session"]
            if isinstance(session, str) and session != self.core.session:
                self.core.begin_session(session)
        elif kind == "reset":
            for account in self.core.accounts():
                account.begin_session()

    def _permit(self, record: Mapping[str, object]) -> None:
        book = self.core.books.get(cast("str", record["instrument"]))
        price = cast("str | None", record["price"])
        order = Order(
            client_order_id=cast("str", record["id"]),
            instrument=cast("str", record["instrument"]),
            side=Side(cast("str", record["side"])),
            quantity=Decimal(cast("str", record["quantity"])),
            order_type=OrderType(cast("str", record["type"])),
            price=None if price is None else Decimal(price),
            time_in_force=TimeInForce(cast("str", record["tif"])),
            reduce_only=cast("bool", record["reduce_only"]),
        )
        number = cast("int", record["seq"])
        if book is None:
            self.strange.permit(number, order)
            return
        size, size_text, _ = book.sizes[str(order.quantity)]
        units: int | None = 0
        price_text: str | None = None
        if order.price is not None:
            units, price_text, _ = book.prices[str(order.price)]
        if size is None or units is None:
            self.holes.append(f"record {record['seq']}: {order.instrument} is not known with this grid")
            return
        working = Working(order, book, number, size, size_text, units, price_text)
        self.core.regrant(working)
        self.open[number] = working

    def _outcome(self, number: int, kind: str) -> None:
        working = self.open.pop(number, None)
        if working is None:
            if kind == "void":
                self.strange.void(number)
            return
        self.heard.discard(working)
        if kind == "void":
            self.core.void(working)
        elif working.status is Status.GRANTED:
            working.status = Status.DONE if kind == "sent" else Status.UNKNOWN

    def _hear(self, record: Mapping[str, object]) -> None:
        """The venue spoke of an order: if nobody wrote how its send ended, it is not in doubt for that."""
        working = self.core.working.get(cast("str", record["id"]))
        if working is not None and working.status is Status.GRANTED:  # else its end was told
            self.heard.add(working)

    def _fill(self, record: Mapping[str, object]) -> None:
        instrument = cast("str", record["instrument"])
        self._hear(record)
        fill = Fill(
            client_order_id=cast("str", record["id"]),
            fill_id=cast("str", record["fill"]),
            instrument=instrument,
            side=Side(cast("str", record["side"])),
            quantity=Decimal(cast("str", record["quantity"])),
            price=Decimal(cast("str", record["price"])),
            fee=Decimal(cast("str", record["fee"])),
        )
        if instrument not in self.core.books:
            self.strange.fill(fill)
            return
        self.core.notices.clear()
        booked = self.core.on_fill(fill)
        if booked is None and self.core.notices:  # not a second report, but one that can't be read
            self.holes.append(f"record {record['seq']}: a fill of {instrument} does not fit its grid")

    def _mark(self, record: Mapping[str, object]) -> None:
        """Take equity, opening and peak as they were told.

        The ticks behind them are not in the journal. So the difference to what fills alone tell is laid on a book
        with a position, from where its next tick takes it away again.
        """
        for account in self.core.accounts():
            if account.currency != record["currency"]:
                continue
            account.restore(opening=Decimal(cast("str", record["opening"])), peak=Decimal(cast("str", record["peak"])))
            told = account.scaled(Decimal(cast("str", record["equity"])))
            book = next((b for b in self.core.books.values() if b.account is account and b.position), None)
            if told is not None and book is not None:
                book.worth += told - account.equity
                account.equity = told


class _Strange:
    """Orders and fills of instruments that the limits no longer know: no harm once they are flat and over."""

    def __init__(self) -> None:
        self._net: dict[str, Decimal] = {}
        self._open: dict[str, tuple[str, Decimal]] = {}
        self._ids: dict[int, str] = {}

    def permit(self, number: int, order: Order) -> None:
        """A permit, which may be open."""
        self._ids[number] = order.client_order_id
        self._open[order.client_order_id] = (order.instrument, order.quantity)

    def void(self, number: int) -> None:
        """A permit that was withdrawn."""
        self._open.pop(self._ids.pop(number, ""), None)

    def close(self, order_id: str) -> None:
        """An order that is over."""
        self._open.pop(order_id, None)

    def fill(self, fill: Fill) -> None:
        """A fill."""
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        self._net[fill.instrument] = self._net.get(fill.instrument, Decimal(0)) + signed
        instrument, remaining = self._open.pop(fill.client_order_id, (fill.instrument, Decimal(0)))
        if remaining > fill.quantity:
            self._open[fill.client_order_id] = (instrument, remaining - fill.quantity)

    def left(self) -> list[str]:
        """What is not flat and over, a line each."""
        held = [f"{name}: a position of {net:f}" for name, net in self._net.items() if net]
        return held + [f"{instrument}: order {name} may be open" for name, (instrument, _) in self._open.items()]
