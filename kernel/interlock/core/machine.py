"""The machine: modes, the life of a permit, and what the venue reports.

Its methods carry the names of the actions in ``specs/kernel/Kernel.tla``, and the graph of states
that they reach is compared with the one that TLC draws, edge for edge. Three rules:

1. **The latch is an argument.** Whoever calls in has just read the latch byte and hands it over.
   Any value but `ARMED` is a halt that is *observed* here and now: the mode becomes HALTED in the
   same step, permits that were granted and not begun are void, and the answer is no.
2. **A permit is begun last.** `decide` grants and reserves; the caller writes the journal, and waits for it if so
   configured; then `begin` looks at mode, latch and epoch once more. Between `begin` and `end` or
   `fail` the order is *in flight*, and nobody may call the kernel quiet.
3. **What must happen outside is said, not done.** Trips, losses and anomalies are left in
   `notices`, in order, for the caller to write down and to latch.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.flow import Recent, Repeats, TokenBucket
from interlock.core.ledger import Account, Book, Status, Working
from interlock.core.modes import ARMED, NEXT, Mode, Trigger
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import PASS, Cancel, Fill, HaltCause, Side, Verdict

if TYPE_CHECKING:
    from interlock.core.limits import Limits
    from interlock.core.tickets import Ticket

__all__ = ["Anomaly", "Breach", "Halted", "Machine", "Notice", "breach_of", "refusal"]

_RUNNING: Final = Mode.RUNNING
_HALTED: Final = Mode.HALTED
_IS_HALTED: Final = Verdict(accepted=False, reason=Reason.HALTED)
_BUY: Final = Side.BUY
LONGEST_ID: Final = 64
"""Characters of an order's or a fill's id at most."""


@attrs.frozen(kw_only=True)
class Halted:
    """The mode became HALTED inside the core: to be latched and written down.

    Attributes:
        cause: why.
        first: False for a repeat, which changes nothing.
        voided: permits that were granted and not begun.
    """

    cause: HaltCause
    first: bool
    voided: tuple[Working, ...]


@attrs.frozen(kw_only=True)
class Breach:
    """A loss limit was reached, left again, or confirmed."""

    currency: str
    limit: Reason
    bound: str
    value: str
    state: str


@attrs.frozen(kw_only=True)
class Anomaly:
    """Something that should not happen did."""

    code: str
    detail: str


Notice = Halted | Breach | Anomaly


def refusal(reason: Reason, limit: object = None, value: object = None) -> Verdict:
    """A refusal with the limit's value beside the order's."""
    return Verdict(
        accepted=False,
        reason=reason,
        limit=None if limit is None else str(limit),
        value=None if value is None else str(value),
    )


def breach_of(account: Account, limit: Reason, state: str) -> Breach:
    """What is to be said of an account's loss."""
    loss = limit is Reason.SESSION_LOSS
    return Breach(
        currency=account.currency,
        limit=limit,
        bound=account.text(account.max_loss if loss else account.max_drawdown),
        value=account.text((account.opening if loss else account.peak) - account.equity),
        state=state,
    )


class Machine:
    """Modes, permits, and what the venue says; `Core` adds the two gates.

    Args:
        limits: what is allowed.
        epoch: the armed period that the latch names.
        mode: IDLE, or HALTED if the latch isn't armed. Never RUNNING: a start is a separate act.
    """

    __slots__ = (
        "_accounts",
        "beat_ns",
        "beat_overdue_ns",
        "books",
        "bucket",
        "cause",
        "epoch",
        "fills",
        "gate1_checks",
        "gate2",
        "gate_open",
        "ids",
        "in_flight",
        "mode",
        "notices",
        "repeats",
        "restoring",
        "session",
        "tickets",
        "trips_on_anomaly",
        "working",
    )

    def __init__(self, limits: Limits, epoch: int, mode: Mode = Mode.IDLE) -> None:
        if mode is _RUNNING:
            mode = Mode.HALTED
        self.trips_on_anomaly = limits.unknown_order_trips
        self.restoring = False
        self.gate1_checks = (
            limits.gate1.max_tick_age_us,
            limits.gate1.max_clock_ahead_us,
            limits.gate1.max_silence_us,
            limits.gate1.backwards,
            limits.gate1.crossed,
            limits.gate1.non_positive,
            limits.gate1.sequence_gap,
        )
        self.gate2 = limits.gate2
        self.beat_overdue_ns = limits.gate1.heartbeat_overdue_ns
        self.mode = mode
        self.gate_open = False
        self.epoch = epoch
        self.cause: HaltCause | None = None
        self.session: str | None = None
        self.beat_ns = 0
        self.notices: list[Notice] = []
        self.working: dict[str, Working] = {}
        self.in_flight: dict[int, Working] = {}
        self.tickets: dict[str, Ticket] = {}
        flow = limits.gate2
        self.bucket = TokenBucket(flow.messages_per_s, flow.message_burst) if flow else TokenBucket(0, 0)
        self.repeats = Repeats(flow.repeat_window_ns, flow.repeat_trip_after) if flow else Repeats(0, 1)
        self.ids = Recent(flow.remember_ids if flow else 1)
        self.fills = Recent(flow.remember_ids if flow else 1)
        self._accounts: dict[str, Account] = {}
        self.books: dict[str, Book] = {}
        digits: dict[str, int] = {}
        for instrument, _ in limits.instruments.values():
            digits[instrument.currency] = max(digits.get(instrument.currency, 0), Book.money_digits(instrument))
        for name, (instrument, bounds) in limits.instruments.items():  # one book each
            currency = instrument.currency
            account = self._accounts.get(currency)
            if account is None:
                account = Account(currency, digits[currency], limits.loss.get(currency))
                self._accounts[currency] = account
            book = self.books[name] = Book(instrument, bounds, account)
            if flow is None:
                book.missing = "gate2"

    # -- Modes ---------------------------------------------------------------------------------

    def start(self, latch: int, latch_epoch: int, mono_ns: int, session: str | None = None) -> Verdict:
        """IDLE to RUNNING, if the latch is armed for this epoch and limits are present.

        Args:
            latch: the latch byte.
            latch_epoch: the epoch that the latch record names.
            mono_ns: now; counts as a heartbeat.
            session: a new label begins a new session of profit and loss; None goes on with the old one.
        """
        if latch != ARMED:
            self.observe(latch)
            return refusal(Reason.HALTED)
        if self.mode is Mode.HALTED:
            return refusal(Reason.HALTED)
        following = NEXT.get((self.mode, Trigger.START))
        if following is None:
            return refusal(Reason.NOT_RUNNING, Mode.IDLE, self.mode)
        if latch_epoch != self.epoch:
            return refusal(Reason.HALTED, latch_epoch, self.epoch)
        if not self.books or self.gate2 is None:
            return refusal(Reason.NO_LIMITS, "gate2" if self.books else "instruments")
        if session is not None and session != self.session:
            self.begin_session(session)
        self.beat_ns = mono_ns
        self.mode = following
        self.gate_open = True
        self.tickets.clear()
        return PASS

    def close_gate(self) -> None:
        """Let no new order in, while what was granted goes on: the first half of a stop."""
        self.gate_open = False

    def stop(self, latch: int) -> Verdict:
        """RUNNING to IDLE, if the gate is closed and nothing is granted or in flight."""
        if latch != ARMED:
            self.observe(latch)
            return refusal(Reason.HALTED)
        following = NEXT.get((self.mode, Trigger.STOP))
        if following is None:
            return refusal(Reason.HALTED if self.mode is Mode.HALTED else Reason.NOT_RUNNING, _RUNNING, self.mode)
        if self.gate_open:
            return refusal(Reason.NOT_RUNNING, "gate closed", "gate open")
        undone = len(self.in_flight) + sum(w.status is Status.GRANTED for w in self.working.values())
        if undone:
            return refusal(Reason.NOT_RUNNING, "0 in flight", undone)
        self.mode = following
        self.tickets.clear()
        return PASS

    def halt(self, cause: HaltCause) -> tuple[Working, ...]:
        """To HALTED, from anywhere, always. The first cause stays.

        Returns:
            The permits that this made void: granted, and not begun.
        """
        first = self.mode is not Mode.HALTED
        if first or self.cause is None:
            self.cause = cause
        self.mode = NEXT[self.mode, Trigger.HALT]
        self.gate_open = False
        self.tickets.clear()
        voided = tuple(w for w in self.working.values() if w.status is Status.GRANTED)
        for working in voided:
            self._void(working)
        self.notices.append(Halted(cause=cause, first=first, voided=voided))
        return voided

    def observe(self, latch: int) -> None:
        """See a latch that isn't armed, whoever did it."""
        if latch != ARMED and self.mode is not Mode.HALTED:
            self.halt(
                HaltCause(code=HaltCode.EXTERNAL, reason="the latch is not armed", source="latch", epoch=self.epoch)
            )

    def adopt(self, latch: int, latch_epoch: int) -> bool:
        """See that someone reset the latch into a newer epoch: to IDLE, never further."""
        if latch != ARMED or latch_epoch <= self.epoch or self.mode is _RUNNING:
            return False
        if self.mode is Mode.HALTED:
            self.mode = NEXT[self.mode, Trigger.RESET]
        self.epoch = latch_epoch
        self.cause = None
        for account in self._accounts.values():
            account.begin_session()
        return True

    def beat(self, mono_ns: int) -> None:
        """Note a heartbeat of the loop that drives the kernel."""
        self.beat_ns = max(self.beat_ns, mono_ns)

    def begin_session(self, label: str) -> None:
        """Count profit and loss from here."""
        self.session = label
        for account in self._accounts.values():
            account.begin_session()

    def shut(self, latch: int) -> Verdict:
        """Why the gate is shut: the answer of both gates when nothing else was looked at."""
        if self.mode is _HALTED:
            return _IS_HALTED
        if latch != ARMED:
            self.observe(latch)
            return _IS_HALTED
        if self.mode is _RUNNING:
            return refusal(Reason.GATE_CLOSED)
        return refusal(Reason.NOT_RUNNING, _RUNNING, self.mode)

    def raised(self, error: Exception) -> Verdict:
        """A check raised: refuse, and say so."""
        name = type(error).__name__
        try:
            detail = f"{name}: {error}"[:200]
        except Exception:  # noqa: BLE001 - an error that cannot even be printed refuses all the same
            detail = name
        self.notices.append(Anomaly(code="CHECK_RAISED", detail=detail))
        return refusal(Reason.CHECK_RAISED, value=name)

    def trip(self, code: HaltCode, reason: str) -> None:
        """Halt for a cause that the kernel found itself."""
        self.halt(HaltCause(code=code, reason=reason, source="kernel", epoch=self.epoch))

    # -- Losses ----------------------------------------------------------------------------------

    def assess(self, book: Book, *, distinct: bool) -> None:
        """Enter, leave or confirm a breach.

        Only a distinct mark of the instrument that entered it confirms, while anything of it is held: what
        other instruments do says nothing about whether that one mark was true.
        """
        account = book.account
        before = account.breached
        now = account.breached = account.assess()
        if now is None:
            if before is not None:
                account.marks = 0
                self.notices.append(breach_of(account, before, "cleared"))
            return
        if before is None:
            account.breached_by = book.name
            self.notices.append(breach_of(account, now, "entered"))
        by = self.books[account.breached_by]
        if distinct and (by is book or not by.position):
            account.marks += 1
            if account.marks == account.confirm_marks:
                breach = breach_of(account, now, "confirmed")
                self.notices.append(breach)
                code = HaltCode.SESSION_LOSS if now is Reason.SESSION_LOSS else HaltCode.DRAWDOWN
                self.trip(code, f"{now} of {breach.value} {account.currency} reached the limit of {breach.bound}")

    # -- The life of a permit ------------------------------------------------------------------

    def regrant(self, working: Working) -> None:
        """Reserve an order that passed gate 2, now or in the journal of an earlier run."""
        self.ids.add(working.order.client_order_id)
        self.reserve(working)

    def reserve(self, working: Working) -> None:
        """The second half of that, for an order whose id is remembered already."""
        working.epoch = self.epoch
        self.working[working.order.client_order_id] = working
        working.book.reserve(working)

    def begin(self, working: Working, latch: int) -> bool:
        """The last act before a send: mode, latch and epoch once more. False: the permit is void."""
        if latch != ARMED:
            self.observe(latch)
            return False
        if self.mode is not _RUNNING or working.status is not Status.GRANTED or working.epoch != self.epoch:
            return False
        working.status = Status.SENDING
        self.in_flight[working.number] = working
        return True

    def end(self, working: Working) -> None:
        """The send returned."""
        del self.in_flight[working.number]
        if working.status is Status.SENDING:
            working.status = Status.DONE

    def fail(self, working: Working) -> None:
        """The send raised: nobody knows whether it left, so it stays reserved until reconciled."""
        del self.in_flight[working.number]
        if working.status is Status.SENDING:
            working.status = Status.UNKNOWN

    def void(self, working: Working) -> bool:
        """Withdraw a granted permit: nothing was sent, and its id is free again. False if it was none any more."""
        if working.status is not Status.GRANTED:
            return False
        self._void(working)
        return True

    def _void(self, working: Working) -> None:
        order_id = working.order.client_order_id
        self.working.pop(order_id, None)
        self.ids.forget(order_id)
        self._close(working)
        working.status = Status.VOID

    def _close(self, working: Working) -> None:
        working.book.release(working, working.remaining)
        working.book.open_orders -= 1
        working.status = Status.DONE

    # -- What passes in every mode ---------------------------------------------------------------

    def cancel(self, cancel: Cancel, mono_ns: int) -> None:
        """Count a cancel as a message. It is never refused."""
        del cancel
        self.bucket.ready(mono_ns)
        self.bucket.take()

    def on_accept(self, order_id: str) -> bool:
        """The venue has the order. False if no such order is working: an anomaly."""
        working = self._find(order_id, "accept")
        if working is None:
            return False
        self._reconcile(working)
        return True

    def on_closed(self, order_id: str, event: str) -> bool:
        """The order is over at the venue: cancelled, expired or rejected."""
        working = self._find(order_id, event)
        if working is None:
            return False
        del self.working[order_id]
        self._close(working)
        return True

    def on_fill(self, fill: Fill) -> bool | None:
        """Book a fill.

        Returns:
            Whether the order was a working one; None if nothing was booked: a fill that was seen
            before, or one that can't be read.
        """
        named = type(fill.fill_id) is str and 0 < len(fill.fill_id) <= LONGEST_ID  # what a record can hold whole
        fill_key = f"{fill.instrument} {fill.fill_id}"  # venues may number the fills of each instrument
        if named and fill_key in self.fills:
            return None
        book = self.books.get(fill.instrument)
        exact = all(type(number) is Decimal for number in (fill.quantity, fill.price, fill.fee))
        quantity = book.sizes[str(fill.quantity)][0] if book and exact else None
        price = book.prices[str(fill.price)][0] if book and exact else None
        fee = book.money(fill.fee) if book and exact else None
        sided = type(fill.side) is Side
        if not named or not sided or not book or not quantity or quantity < 0 or price is None or fee is None:
            # The position is not known any more, whatever the limits say of unknown orders.
            detail = f"fill {fill.fill_id!s:.64} of {fill.client_order_id!s:.64}"
            self._anomaly("FILL_UNREADABLE", detail, trips=not self.restoring)
            return None
        self.fills.add(fill_key)
        working = self._find(fill.client_order_id, "fill")
        if working is not None:
            if working.book is not book or working.buys is not (fill.side is _BUY) or quantity > working.remaining:
                # This may halt, and make void the very order, if its send has not begun.
                self._anomaly("FILL_MISMATCH", f"fill {fill.fill_id:.64} of {fill.client_order_id:.64}")
            self._reconcile(working)
            book_of = working.book
            book_of.release(working, min(quantity, working.remaining))
            if not working.remaining and self.working.pop(fill.client_order_id, None) is not None:
                book_of.open_orders -= 1
                self._finish(working)
        book.execute(buys=fill.side is _BUY, quantity=quantity, price=price, fee=fee)
        self.assess(book, distinct=False)
        return working is not None

    @staticmethod
    def _reconcile(working: Working) -> None:
        """The venue spoke of it: it is known again."""
        if working.status is Status.UNKNOWN:
            working.status = Status.DONE

    @staticmethod
    def _finish(working: Working) -> None:
        if working.status is not Status.SENDING:
            working.status = Status.DONE

    def _find(self, order_id: str, event: str) -> Working | None:
        working = self.working.get(order_id)
        if working is None:
            self._anomaly("UNKNOWN_ORDER", f"{event} for {order_id!s:.64}")
        return working

    def _anomaly(self, code: str, detail: str, *, trips: bool = False) -> None:
        self.notices.append(Anomaly(code=code, detail=detail))
        if trips or self.trips_on_anomaly:
            self.trip(HaltCode.ANOMALY, f"{code}: {detail}")

    def accounts(self) -> tuple[Account, ...]:
        """Profit and loss, one for each currency."""
        return tuple(self._accounts.values())
