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
from typing import TYPE_CHECKING, Final, cast

from interlock.core.ledger import Status, Working
from interlock.core.standing import order_of, positions, take
from interlock.core.values import Fill, OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.core.ledger import Book
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


_SIDES: Final = frozenset(map(str, Side))
_TYPES: Final = frozenset(map(str, OrderType))
_TIFS: Final = frozenset(map(str, TimeInForce))


class _Granted:
    """A permit of the journal. Most are over some records later, so their orders are made only when they are needed.

    Attributes:
        record: the permit's.
        book: of its instrument.
        size: and ``units``: quantity and price as the book counts them, with ``size_text`` and ``price_text``.
        status: what is known of its send.
        heard: whether the venue spoke of it before anybody wrote how its send ended.
        working: its order, once it was made.
    """

    __slots__ = ("book", "heard", "price_text", "record", "size", "size_text", "status", "units", "working")

    def __init__(
        self, record: Mapping[str, object], book: Book, size: tuple[int, str], price: tuple[int, str | None]
    ) -> None:
        self.record = record
        self.book = book
        self.size, self.size_text = size
        self.units, self.price_text = price
        self.status = Status.GRANTED
        self.heard = False
        self.working: Working | None = None

    def make(self) -> Working:
        """Its order."""
        record = self.record
        order = order_of(record)
        number = cast("int", record["seq"])
        working = Working(order, self.book, number, self.size, self.size_text, self.units, self.price_text)
        working.status = self.status
        self.working = working
        return working


def _exposure(book: Book) -> tuple[bool, int]:
    """How much of the account's money moves with an instrument; what is held at all goes before what is not."""
    return book.position != 0, abs(book.position * (book.mark_bid + book.mark_ask)) * book.money_factor


class Restorer:
    """Takes the records one by one; see `restore`.

    Args:
        core: as it was made.
        limits: the SHA-256 of the file with its limits, in hex. A ``ledger`` that was told under others is passed over.
        midway: whether the first record that counts is a ``ledger``, which then stands for all before it.

    Attributes:
        plays: for each kind that says something about the ledger what takes it.
    """

    def __init__(self, core: Machine, limits: str = "", *, midway: bool = False) -> None:
        self.core = core
        self._limits = limits
        self._midway = midway
        self.holes: list[str] = []
        self.open: dict[int, _Granted] = {}
        self.asleep: dict[str, _Granted] = {}
        self.heard: set[Working] = set()
        self.strange = _Strange()
        self._trips, core.trips_on_anomaly = core.trips_on_anomaly, False
        core.restoring = True
        self.plays: dict[str, Callable[[Mapping[str, object]], None]] = {
            "salvage": lambda record: self.play(cast("Mapping[str, object]", record["record"])),
            "permit": self._permit,
            "sent": self._outcome,
            "unknown": self._outcome,
            "void": self._outcome,
            "accept": self._accept,
            "cancelled": self._closed,
            "reject": self._closed,
            "fill": self._fill,
            "mark": self._mark,
            "ledger": self._ledger,
            "start": self._start,
            "reset": self._reset,
        }

    def finish(self) -> list[str]:
        """All records were played: what is still open is unknown. Returns the holes."""
        core = self.core
        for granted in list(self.asleep.values()):
            self._wake(granted)
        inorder = sorted(core.working.items(), key=lambda item: item[1].number)
        core.working.clear()
        core.working.update(inorder)
        core.trips_on_anomaly = self._trips
        core.restoring = False
        for working in core.working.values():
            if working.status is Status.GRANTED:
                working.status = Status.DONE if working in self.heard else Status.UNKNOWN
        for account in core.accounts():
            account.breached = account.assess()  # a loss is not over because nobody looked
            books = [book for book in core.books.values() if book.account is account]
            account.breached_by = max(books, key=_exposure).name
        core.notices.clear()
        unmet = ["there is no ledger to begin with"] if self._midway else []
        return [*unmet, *self.holes, *self.strange.left()]

    def play(self, record: Mapping[str, object]) -> None:
        """Apply one record, if its kind says something about the ledger."""
        play = self.plays.get(cast("str", record["kind"]))
        if play is not None:
            play(record)

    def _permit(self, record: Mapping[str, object]) -> None:
        instrument, order_id = cast("str", record["instrument"]), cast("str", record["id"])
        number = cast("int", record["seq"])
        quantity, price = cast("str", record["quantity"]), cast("str | None", record["price"])
        book = self.core.books.get(instrument)
        if book is None:
            self.strange.permit(number, order_id, instrument, Decimal(quantity))
            return
        if not (record["side"] in _SIDES and record["type"] in _TYPES and record["tif"] in _TIFS):  # it is made later
            message = f"record {number} is no order"
            raise ValueError(message)
        size, size_text, _ = book.sizes[quantity]
        units, price_text, _ = (0, None, None) if price is None else book.prices[price]
        if size is None or units is None:
            self.holes.append(f"record {number}: {instrument} is not known with this grid")
            return
        self.core.ids.add(order_id)
        granted = _Granted(record, book, (size, size_text), (units, price_text))
        self.asleep[order_id] = self.open[number] = granted

    def _wake(self, granted: _Granted) -> None:
        """Its order is needed."""
        del self.asleep[cast("str", granted.record["id"])]
        working = granted.make()
        if granted.heard:
            self.heard.add(working)
        self.core.reserve(working)

    def _outcome(self, record: Mapping[str, object]) -> None:
        number, kind = cast("int", record["permit"]), record["kind"]
        granted = self.open.pop(number, None)
        if granted is None:
            if kind == "void":
                self.strange.void(number)
            return
        said = Status.DONE if kind == "sent" else Status.UNKNOWN
        working = granted.working
        if working is not None:
            if kind == "void":
                self.core.void(working)
            elif working.status is Status.GRANTED:
                working.status = said
        elif granted.status is Status.GRANTED:
            granted.status = said
            if kind == "void":
                order_id = cast("str", granted.record["id"])
                self.asleep.pop(order_id, None)
                self.core.ids.forget(order_id)

    def _accept(self, record: Mapping[str, object]) -> None:
        order_id = cast("str", record["id"])
        granted = self.asleep.get(order_id)
        if granted is None:
            self._hear(record)
            self.core.on_accept(order_id)
            return
        if granted.status is Status.GRANTED:  # else its end was told
            granted.heard = True
        elif granted.status is Status.UNKNOWN:
            granted.status = Status.DONE

    def _closed(self, record: Mapping[str, object]) -> None:
        order_id = cast("str", record["id"])
        granted = self.asleep.pop(order_id, None)
        if granted is not None:
            granted.status = Status.DONE
            return
        self.strange.close(order_id)
        self.core.on_closed(order_id, cast("str", record["kind"]))

    def _ledger(self, record: Mapping[str, object]) -> None:
        """Go on from what was told, wherever the records were begun with: so both ways lead to the same.

        Raises:
            ValueError: or KeyError: it is no such state, or the fills before it come to another one.
        """
        core, state = self.core, cast("Mapping[str, object]", record["state"])
        if state["limits"] != self._limits:
            return
        told = positions(core, state)
        if not self._midway and any(book.position != told.get(name, 0) for name, book in core.books.items()):
            message = f"record {record['seq']} tells other positions than the fills before it"
            raise ValueError(message)
        self._midway = False
        self.open.clear()
        self.asleep.clear()
        for working in take(core, state):
            if working.status is Status.GRANTED:
                granted = _Granted(record, working.book, (0, ""), (0, None))
                granted.working = working
                self.open[working.number] = granted
                if working.remaining < working.book.sizes[working.size_text][0]:  # type: ignore[operator] # it was made of it
                    self.heard.add(working)

    def _hear(self, record: Mapping[str, object]) -> None:
        """The venue spoke of an order: if nobody wrote how its send ended, it is not in doubt for that."""
        working = self.core.working.get(cast("str", record["id"]))
        if working is not None and working.status is Status.GRANTED:  # else its end was told
            self.heard.add(working)

    def _start(self, record: Mapping[str, object]) -> None:
        session = record["session"]
        if isinstance(session, str) and session != self.core.session:
            self.core.begin_session(session)

    def _reset(self, record: Mapping[str, object]) -> None:
        del record
        for account in self.core.accounts():
            account.begin_session()

    def _fill(self, record: Mapping[str, object]) -> None:
        instrument = cast("str", record["instrument"])
        granted = self.asleep.get(cast("str", record["id"]))
        if granted is not None:
            self._wake(granted)
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

    def permit(self, number: int, order_id: str, instrument: str, quantity: Decimal) -> None:
        """A permit, which may be open."""
        self._ids[number] = order_id
        self._open[order_id] = (instrument, quantity)

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
