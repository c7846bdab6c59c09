"""EMBED: the kernel that an engine holds.

    with Kernel.attach(home, operator="alice") as kernel:
        kernel.start()
        if kernel.consult(tick):                              # gate 1
            for order in strategy(tick):
                verdict = kernel.submit(order, venue.send)    # gate 2, permit, journal, send(permit)

Threads may call anything at any time. Four rules make that safe.

1. **One lock, and never across a send.** It guards core and journal; it is let go before a send function,
   and before a wait for the disk. No code of the caller runs under it.
2. **Halting does not take it.** `Kernel.halt` first sets the latch byte to zero, which every later look
   at the latch sees; the lock is taken afterwards, to write down what has already happened.
3. **The last look at the latch is the last act before a send**, in the same critical section that counts
   the order as in flight. So whoever has set the byte and then finds nothing in flight knows that
   nothing is being sent and nothing can begin.
4. **A journal that fails halts.** The permit's record is written before the send; in durability ``disk``
   it is on the disk, together with those of all threads that were waiting.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
import weakref
from collections import deque
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

import attrs

from interlock.attach import Attachment, open_home
from interlock.breaker import latch as latches
from interlock.breaker.home import HomeError, Now, boot_id
from interlock.breaker.latch import Latch, LatchError, read_latch, write_latch
from interlock.core.ledger import Status
from interlock.core.machine import Anomaly, Breach, Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import refusal
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import PASS, Cancel, Fill, HaltCause, Order, Outcome, Permit, Quote, Trade, Verdict, grant, withdraw
from interlock.journal import records
from interlock.journal.writer import JournalError
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from mmap import mmap
    from types import TracebackType

    from interlock.core.ledger import Working

__all__ = ["Clock", "HaltReport", "InFlight", "Kernel", "StopReport", "SystemClock"]

T = TypeVar("T")
_ACCEPTED: Final = Reason.ACCEPTED
_SENT: Final = Outcome.SENT
_RUNNING: Final = Mode.RUNNING
_DEAD_PAGE: Final = b"\x00"
"""What stands for the page when there is none: always halt."""

_REBASE_NS: Final = 1 << 52
_CLOCK_STEP_US: Final = 1_000_000
_TOTALS_EVERY_NS: Final = 10_000_000_000


class Clock(Protocol):
    """Where time comes from."""

    def mono_ns(self) -> int:
        """Nanoseconds that never go back."""

    def utc_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""


class SystemClock:
    """The machine's clocks."""

    mono_ns = staticmethod(time.monotonic_ns)

    def utc_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


@attrs.frozen(kw_only=True)
class InFlight:
    """A send that has begun and not ended."""

    permit: int
    client_order_id: str
    instrument: str
    for_ns: int


@attrs.frozen(kw_only=True)
class HaltReport:
    """What a halt reached by the time it returned. Emission is stopped in any case.

    Attributes:
        confirmed: nothing of this kernel is being sent, nor can begin to be.
        durable: the latch record is on disk, so that a restart stays halted.
        recorded: the halt is in the journal.
        cause: the first cause, which a repeat does not change.
        in_flight: sends that had begun before and have not ended yet.
    """

    confirmed: bool
    durable: bool
    recorded: bool
    cause: HaltCause
    in_flight: tuple[InFlight, ...]


@attrs.frozen(kw_only=True)
class StopReport:
    """Whether a stop drained: if not, the gate is closed and the mode still RUNNING."""

    stopped: bool
    reason: Reason
    in_flight: tuple[InFlight, ...]


class Kernel:
    """A kernel attached to one home; see the module, and `attach`."""

    def __init__(self, attachment: Attachment, *, operator: str, engine: str, durability: str, clock: Clock, run: str) -> None:
        """Use `attach`."""
        self._at = attachment
        self._core = attachment.core
        self._journal = attachment.journal
        self._page: mmap | bytes = attachment.page.map if attachment.page else _DEAD_PAGE
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._quiet = threading.Event()
        self._mono = clock.mono_ns
        self._clock = clock
        self._zero_ns = clock.mono_ns()
        self._utc_ns = clock.utc_us() * 1000 - self._zero_ns
        self._disk = durability == "disk"
        self._durable = attachment.journal.seq
        self._operator = records.text(operator)
        self._run = run
        self._pending: deque[HaltCause] = deque()
        self._holds_running = False
        self._closed = False
        self._latch_durable = attachment.latch is not None and attachment.latch.state == latches.HALTED
        self._block: list[object] | None = None
        self._ticks = 0
        self._blocked = 0
        self._permits = 0
        self._refusals = 0
        self._beaten = (0, 0, 0, 0)
        self._totalled_ns = self._zero_ns
        self._marked: dict[str, tuple[int, int, int]] = {}
        self._pid = os.getpid()
        _ATTACHED.add(self)
        self._begin_run(engine, durability)

    @classmethod
    def attach(  # noqa: PLR0913
        cls,
        home: str | os.PathLike[str],
        *,
        operator: str,
        engine: str = "engine",
        durability: str = "disk",
        clock: Clock | None = None,
        run: str | None = None,
    ) -> Self:
        """Attach to a home that `interlock arm` made.

        Args:
            home: the directory.
            operator: who answers for this run; stands in the journal.
            engine: a name for the process.
            durability: ``disk`` (the permit is on the disk before the send) or ``process`` (it is with
                the operating system: it survives this process, but not a loss of power).
            clock: for tests and replays.
            run: a UUID for the run, for tests.

        Returns:
            A kernel, IDLE; or HALTED, if the home is halted or in any way not as it should be. A
            HALTED kernel refuses every order and passes every cancel.

        Raises:
            HomeError: there is no home, or no way to keep a journal in it, or another engine has it.
            LimitsError: its limits are missing or wrong.
        """
        if durability not in {"disk", "process"}:
            message = f"durability is disk or process, not {durability!r}"
            raise ValueError(message)
        who = f"{engine}, pid {os.getpid()}, operator {operator}"
        attachment = open_home(home, who, mapped=durability == "process")
        return cls(
            attachment,
            operator=operator,
            engine=engine,
            durability=durability,
            clock=clock or SystemClock(),
            run=run or str(uuid.uuid4()),
        )

    # -- What it is ------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """The mode; HALTED as soon as the latch is not armed, whether or not that was noticed yet."""
        if self._page[0] != ARMED:
            return Mode.HALTED
        return self._core.mode

    @property
    def epoch(self) -> int:
        """The armed period."""
        return self._core.epoch

    @property
    def cause(self) -> HaltCause | None:
        """Why it is HALTED: the first cause."""
        return self._core.cause

    @property
    def run(self) -> str:
        """The UUID of this run."""
        return self._run

    @property
    def journal_size(self) -> tuple[int, int]:
        """Records in the journal, and bytes that this run wrote."""
        return self._journal.next(), self._journal.size_bytes

    @property
    def errors_in_a_row(self) -> int:
        """How many errors of feed or strategy in a row are to halt, by the limits."""
        return self._at.errors_in_a_row

    def position(self, instrument: str) -> str:
        """The confirmed position, in units, as decimal text."""
        with self._lock:
            book = self._core.books[instrument]
            return book.size_text(book.position)

    def working_orders(self) -> tuple[Order, ...]:
        """The orders that are, or may be, at the venue."""
        with self._lock:
            return tuple(working.order for working in self._core.working.values())

    def in_flight(self) -> tuple[InFlight, ...]:
        """The sends that have begun and not ended."""
        now = self._mono()
        return tuple(
            InFlight(
                permit=working.number,
                client_order_id=working.order.client_order_id,
                instrument=working.order.instrument,
                for_ns=now - working.begun_ns,
            )
            for working in list(self._core.in_flight.values())
        )

    # -- Modes -----------------------------------------------------------------------------------

    def start(self, session: str | None = None) -> Verdict:
        """IDLE to RUNNING.

        Args:
            session: a label (a trading day, say); a new one begins a new session of profit and loss.

        Returns:
            True if it is RUNNING now; else the refusal.
        """
        session = session if session is None else records.text(session)
        with self._lock:
            if not (self._holds_running or self._closed):
                # Before the look at the latch: so nobody can halt, find all quiet, and reset between the two.
                if not self._at.running.shared():
                    return refusal(Reason.HALTED, "lock", "someone is waiting for quiet")
                self._holds_running = True
            self._inspect()
            if self._core.mode is Mode.HALTED:
                self._settle()
                return refusal(Reason.HALTED)
            latch = self._at.latch
            verdict = self._core.start(self._page[0], latch.epoch if latch else 0, self._mono(), session)
            if verdict and not self._write(
                {**self._head("start"), "epoch": self._core.epoch, "operator": self._operator, "session": session}
            ):
                verdict = refusal(Reason.JOURNAL_FAILED)
            self._handle()
            self._settle()
            if self._core.mode is Mode.RUNNING:
                self._quiet.clear()
            return verdict

    def drain(self, reason: str = "stop") -> None:
        """Close the gate to new orders, while sends in flight may end: the first half of `stop`."""
        with self._lock:
            if self._core.mode is Mode.RUNNING and self._core.gate_open and self._page[0] == ARMED:
                self._core.close_gate()
                self._write({**self._head("drain"), "epoch": self._core.epoch, "reason": records.text(reason)})

    def stop(self, reason: str = "stop", timeout_s: float = 5.0) -> StopReport:
        """RUNNING to IDLE: close the gate, let what is in flight end, seal.

        Args:
            reason: stands in the journal.
            timeout_s: how long to wait for sends in flight. If they have not ended then, the gate
                stays closed, the mode RUNNING, and the report names them; call again, or `halt`.
        """
        deadline = time.monotonic() + timeout_s
        self.drain(reason)
        while True:
            with self._lock:
                verdict = self._core.stop(self._page[0])
                if verdict:  # written before a halt that was asked for meanwhile
                    self._flush_block()
                    self._note({**self._head("stop"), "epoch": self._core.epoch})
                    self._seal()
                self._handle()
                self._settle()
                mode = self._core.mode
                waiting = self._core.in_flight or (not verdict and mode is Mode.RUNNING)
                self._quiet.clear()
            if verdict or mode is not Mode.RUNNING or not waiting or time.monotonic() >= deadline:
                return StopReport(stopped=bool(verdict), reason=verdict.reason, in_flight=self.in_flight())
            self._quiet.wait(max(0.0, min(deadline - time.monotonic(), 0.05)))

    def halt(  # noqa: PLR0913
        self,
        reason: str,
        *,
        code: HaltCode = HaltCode.OPERATOR,
        source: str = "kernel",
        operator: str | None = None,
        timeout_s: float = 2.0,
    ) -> HaltReport:
        """Stop emission now, from any thread; then write it down, and wait for quiet.

        When this returns, and in fact as soon as it has begun, no send begins any more. In a signal
        handler call it with ``timeout_s=0``: the handler may have interrupted the lock's holder.

        Args:
            reason: for people; stands in journal and latch.
            code: stable code.
            source: what halts.
            operator: who, if not the run's operator.
            timeout_s: how long to wait for the confirmation. Emission does not wait for it.
        """
        self._stop_emission()
        cause = HaltCause(
            code=code,
            reason=reason,
            source=source,
            operator=operator or self._operator,
            ts_us=self._clock.utc_us(),
            epoch=self._core.epoch,
        )
        self._pending.append(cause)
        deadline = time.monotonic() + timeout_s
        locked = recorded = False
        if self._lock.acquire(timeout=max(timeout_s, 0.0)):
            try:
                locked = True
                self._handle()
                recorded = self._journal.broken is None
                if self._core.in_flight:
                    self._quiet.clear()
            finally:
                self._lock.release()
        while locked and self._core.in_flight and self._worth_waiting() and time.monotonic() < deadline:
            self._quiet.wait(max(0.0, min(deadline - time.monotonic(), 0.05)))
        in_flight = self.in_flight()
        return HaltReport(
            confirmed=not in_flight and self._core.mode is Mode.HALTED and not self._closed,
            durable=self._latch_durable,
            recorded=recorded,
            cause=self._core.cause or cause,
            in_flight=in_flight,
        )

    def _worth_waiting(self) -> bool:
        """Whether some send in flight is not this very thread's, which waiting would only hold up."""
        mine = threading.get_ident()
        return any(working.thread != mine for working in list(self._core.in_flight.values()))

    def reset(self, *, operator: str, reason: str, epoch: int) -> None:
        """HALTED to IDLE, by someone who answers for it and names the current epoch. Starts nothing.

        Raises:
            HomeError: not halted, another epoch, sends in flight, or the home can't be written.
        """
        with self._lock:
            self._handle()
            if self._core.mode is not Mode.HALTED or self._core.in_flight or self._closed:
                message = f"{self._at.home.path}: not halted and quiet, so there is nothing to reset"
                raise HomeError(HaltCode.EXTERNAL, message)
            if self._journal.broken is not None:
                raise HomeError(HaltCode.JOURNAL_FAILED, self._journal.broken)
            self._at.home.reset(
                epoch=epoch,
                known_epoch=self._core.epoch,
                operator=operator,
                reason=reason,
                now=Now(ts_us=self._clock.utc_us(), mono_ns=self._mono()),
            )
            self._inspect()

    # -- The gates -------------------------------------------------------------------------------

    def consult(self, tick: Quote | Trade) -> Verdict:
        """Gate 1: may the strategy be asked about this tick? True if so."""
        lock = self._lock
        lock.acquire()
        try:
            mono = self._mono()
            self._ticks += 1
            core = self._core
            verdict = core.consult(tick, self._page[0], mono, (mono + self._utc_ns) // 1000)
            if verdict is not PASS:
                self._blocked_tick(verdict, tick, mono)
            elif self._block is not None:
                self._flush_block()
            if core.notices:
                self._handle()
            return verdict
        finally:
            lock.release()

    def submit(self, order: Order, send: Callable[[Permit], object]) -> Verdict:
        """Gate 2, permit, journal, send, outcome.

        Args:
            order: what the strategy wants.
            send: called with the permit, at most once, outside every lock, in this thread. It calls
                ``permit.redeem()`` for the order. What it returns becomes the verdict's ``result``.

        Returns:
            Accepted or refused. Accepted with outcome UNKNOWN if ``send`` raised an `Exception`: the order
            may have left, and counts as working until the venue is heard. A `BaseException` is
            recorded likewise and raised again.
        """
        lock = self._lock
        lock.acquire()
        try:
            working = self._decide(order)
            if isinstance(working, Verdict):
                return working
            if self._disk:
                lock.release()
                try:
                    self._commit(working.number)
                except BaseException:  # interrupted while waiting: nothing was sent, so nothing is in doubt
                    with lock:
                        self._withdraw(working, "CANCELLED")
                    raise
                finally:
                    lock.acquire()
            permit = self._begin(working)
            if permit is None:
                return self._never_began(working)
        finally:
            lock.release()
        try:
            result = send(permit)
        except BaseException as error:
            self._failed(working, permit, error)
            if not isinstance(error, Exception):
                raise
            return Verdict(True, _ACCEPTED, None, None, working.number, Outcome.UNKNOWN, None, error)
        self._ended(working, permit, result)
        return Verdict(True, _ACCEPTED, None, None, working.number, _SENT, result)

    async def submit_async(self, order: Order, send: Callable[[Permit], Awaitable[object]]) -> Verdict:
        """As `submit`, for asyncio: the wait for the disk and the send are awaited."""
        with self._lock:
            working = self._decide(order)
        if isinstance(working, Verdict):
            return working
        if self._disk:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._commit, working.number)
            except BaseException:  # cancelled while waiting: nothing was sent, so nothing is in doubt
                with self._lock:
                    self._withdraw(working, "CANCELLED")
                raise
        with self._lock:
            permit = self._begin(working)
            if permit is None:
                return self._never_began(working)
        try:
            result = await send(permit)
        except BaseException as error:
            self._failed(working, permit, error)
            if not isinstance(error, Exception):
                raise
            return Verdict(True, _ACCEPTED, None, None, working.number, Outcome.UNKNOWN, None, error)
        self._ended(working, permit, result)
        return Verdict(True, _ACCEPTED, None, None, working.number, _SENT, result)

    def _decide(self, order: Order) -> Working | Verdict:
        """Under the lock: gate 2, and the permit's record."""
        core = self._core
        journal = self._journal
        mono = self._mono()
        decided = core.decide(order, self._page[0], mono, 0)
        if isinstance(decided, Verdict):
            return self._refused(order, decided, mono)
        number = decided.number = journal.next()  # not before: a refusal leaves what was deferred unmade
        try:
            journal.write(
                records.permit(number, (mono + self._utc_ns) // 1000, mono - self._zero_ns, core.epoch, decided)
            )
        except JournalError as error:
            core.void(decided)
            self._journal_failed(error)
            return refusal(Reason.JOURNAL_FAILED, value=str(error))
        self._permits += 1
        return decided

    def _begin(self, working: Working) -> Permit | None:
        """Under the lock: the last look at the latch, and in flight from here."""
        working.begun_ns = self._mono()  # both before it is in flight, where a halt finds it without the lock
        working.thread = threading.get_ident()
        if not self._core.begin(working, self._page[0]):
            return None
        return grant(working.order, working.number, self._core.epoch)

    def _never_began(self, working: Working) -> Verdict:
        """Under the lock: the permit is void."""
        if self._core.notices:  # this very look saw the halt, which voids and records all permits
            self._handle()
        self._withdraw(working, "HALTED")
        reason = Reason.JOURNAL_FAILED if self._journal.broken is not None else Reason.HALTED
        return Verdict(accepted=False, reason=reason, permit=working.number, outcome=Outcome.VOID)

    def _withdraw(self, working: Working, code: str) -> None:
        if self._core.void(working):
            self._note({**self._head("void"), "permit": working.number, "code": code})

    def _ended(self, working: Working, permit: Permit, result: object) -> None:
        lock = self._lock
        lock.acquire()
        try:
            withdraw(permit)
            core = self._core
            core.end(working)
            mono = self._mono()
            zero = self._zero_ns
            said = result if result is None else records.printed(result)
            ts = (mono + self._utc_ns) // 1000
            self._journal.defer(records.sent, ts, mono - zero, working.number, working.begun_ns - zero, said)
            if not core.gate_open:
                self._settle()
        finally:
            lock.release()

    def _failed(self, working: Working, permit: Permit, error: BaseException) -> None:
        with self._lock:
            withdraw(permit)
            self._core.fail(working)
            self._write(
                {
                    **self._head("unknown"),
                    "permit": working.number,
                    "begun": working.begun_ns - self._zero_ns,
                    "error": records.text(f"{type(error).__name__}: {error}"),
                }
            )
            self._settle()

    def _refused(self, order: Order, verdict: Verdict, mono: int) -> Verdict:
        self._refusals += 1
        journal = self._journal
        core = self._core
        order_is_frozen = order.__class__ is Order  # what could still change is recorded as it is now
        (journal.defer if order_is_frozen else self._note_now)(
            records.refuse,
            (mono + self._utc_ns) // 1000,
            mono - self._zero_ns,
            core.epoch,
            core.mode,
            order,
            verdict.reason,
            verdict.limit,
            verdict.value,
        )
        if self._core.notices:
            self._handle()
        return verdict

    # -- What passes in every mode ---------------------------------------------------------------

    def cancel(self, cancel: Cancel, send: Callable[[Cancel], T]) -> T:
        """Send a cancel. It passes in every mode, with or without a journal.

        Returns:
            What ``send`` returned; what it raised is raised.
        """
        number = self._cancelling(cancel)
        try:
            result = send(cancel)
        except BaseException as error:
            self._cancelled(number, error)
            raise
        self._cancelled(number, None)
        return result

    async def cancel_async(self, cancel: Cancel, send: Callable[[Cancel], Awaitable[T]]) -> T:
        """As `cancel`, for asyncio."""
        number = self._cancelling(cancel)
        try:
            result = await send(cancel)
        except BaseException as error:
            self._cancelled(number, error)
            raise
        self._cancelled(number, None)
        return result

    def _cancelling(self, cancel: Cancel) -> int:
        with self._lock:
            mono = self._mono()
            self._core.cancel(cancel, mono)
            number = self._journal.next()
            self._write(
                {
                    **self._head("cancel"),
                    "id": records.name(cancel.client_order_id),
                    "instrument": records.name(cancel.instrument),
                }
            )
            self._handle()
            return number

    def _cancelled(self, number: int, error: BaseException | None) -> None:
        with self._lock:
            said = None if error is None else records.text(f"{type(error).__name__}: {error}")
            self._note({**self._head("cancel_end"), "cancel": number, "error": said})

    def on_accept(self, order_id: str, venue_id: str | None = None) -> None:
        """The venue has the order. Resolves an order whose send had an unknown outcome."""
        with self._lock:
            self._core.on_accept(order_id)
            said = None if venue_id is None else records.text(venue_id)
            self._note({**self._head("accept"), "id": records.name(order_id), "venue_id": said})
            self._handle()

    def on_fill(self, fill: Fill) -> None:
        """The venue executed (a part of) the order. A fill id that was seen before changes nothing."""
        with self._lock:
            mono = self._mono()
            known = self._core.on_fill(fill)
            if known is not None and self._journal.broken is None:
                at = (self._journal.next(), (mono + self._utc_ns) // 1000, mono - self._zero_ns)
                self._write(records.fill(*at, fill, known=known))
            self._handle()

    def on_cancelled(self, order_id: str, reason: str = "") -> None:
        """The order is gone from the venue: cancelled or expired."""
        self._on_closed("cancelled", order_id, reason)

    def on_reject(self, order_id: str, reason: str = "") -> None:
        """The venue refused the order."""
        self._on_closed("reject", order_id, reason)

    def _on_closed(self, kind: str, order_id: str, reason: str) -> None:
        with self._lock:
            self._core.on_closed(order_id, kind)
            self._note({**self._head(kind), "id": records.name(order_id), "reason": records.text(reason)})
            self._handle()

    def anomaly(self, code: str, detail: str) -> None:
        """Record something that should not happen; whether to halt is the caller's to say."""
        with self._lock:
            said = {"code": records.name(code), "detail": records.text(detail)}
            self._write({**self._head("anomaly"), **said})

    # -- Heartbeat -------------------------------------------------------------------------------

    def heartbeat(self, *, quick: bool = False) -> None:
        """To be called by the loop that drives the kernel, in intervals well below the limit for it.

        Looks whether latch, page and lock are still the files that were opened, writes what is waiting, seals.

        Args:
            quick: only say that the loop turns. For a replay, whose seconds pass in microseconds; its loop
                calls `inspect` on the wall's time.
        """
        with self._lock:
            mono = self._mono()
            self._core.beat(mono)
            if quick:
                return
            self._inspect()
            self._anchor(mono)
            self._flush_block()
            if mono - self._totalled_ns >= _TOTALS_EVERY_NS:
                self._totals()
                self._totalled_ns = mono
            self._handle()
            self._seal()

    def inspect(self) -> None:
        """The part of `heartbeat` that looks at the home, for a loop whose time is not the wall's."""
        with self._lock:
            self._inspect()

    def _inspect(self) -> None:
        """Under the lock: are the files what they were? See halts and resets made by others."""
        if self._closed:
            return
        at = self._at
        was = self._core.mode
        fault: LatchError | None = None
        try:
            if at.page is None:
                raise LatchError(HaltCode.LATCH_ABSENT, f"{at.home.page}: there was no page when we attached")
            at.page.check()
            latch, found = self._changed_latch()
        except LatchError as error:
            fault = error
        else:
            if latch is not None:
                fault = self._new_latch(latch, found)
            if fault is None and not (at.running.same() and at.writer.same() and at.segment.same()):
                fault = LatchError(HaltCode.HOME_UNREADABLE, f"{at.home.path}: lock or journal replaced while in use")
        if fault is not None:
            self._stop_emission()
            self._latch_durable = False  # not known any more
            if self._core.mode is not Mode.HALTED:
                self._core.halt(self._cause(fault.code, str(fault), "home"))
        self._handle()
        if was is Mode.HALTED:
            self._make_durable()

    def _make_durable(self) -> None:
        """Try again what a full disk prevented, or what was left to whoever set the byte."""
        core = self._core
        if core.mode is Mode.HALTED and not self._latch_durable and core.cause is not None:
            core.cause = self._latch_halt(core.cause)

    def _changed_latch(self) -> tuple[Latch | None, os.stat_result | None]:
        """The latch, if its file is not the one that was read last."""
        at = self._at
        try:
            found = os.stat(at.home.latch, follow_symlinks=False)
        except OSError as error:
            raise LatchError(HaltCode.LATCH_ABSENT, f"{at.home.latch}: gone: {error.strerror}") from error
        seen = at.latch_stat
        if seen is not None and _identity(seen) == _identity(found):
            return None, found
        return read_latch(at.home.latch, at.identity or None)

    def _new_latch(self, latch: Latch, found: os.stat_result | None) -> LatchError | None:
        """Someone wrote the latch: take it as a halt, a reset, or a fraud."""
        at = self._at
        core = self._core
        if latch.state == latches.HALTED:
            said = latch != at.latch
            at.latch, at.latch_stat = latch, found
            self._latch_durable = True
            if at.page is not None:
                at.page.halt()
            if said and core.mode is Mode.HALTED:  # whoever set the byte that we saw; or one more halt
                cause = _cause_of(latch)
                if _unnamed(core.cause):
                    core.cause = cause
                self._write_halt(cause, self._mono(), first=False)
            return None
        mirrored = at.page is not None and at.page.map[0] == ARMED
        if latch.epoch > core.epoch and core.mode is not Mode.RUNNING and mirrored:
            if core.mode is not Mode.HALTED:  # halted and reset between two looks
                reason = "halted and reset by another process"
                self._write_halt(self._cause(HaltCode.EXTERNAL, reason, "latch"), self._mono(), first=True)
            self._record_reset(latch)
            at.latch, at.latch_stat = latch, found
            at.fault = None
            self._latch_durable = False
            core.adopt(ARMED, latch.epoch)
            return None
        return LatchError(HaltCode.LATCH_REPLACED, f"{at.home.latch}: armed in epoch {latch.epoch} by nobody we know")

    # -- Under the lock: what was noticed, to latch and journal -----------------------------------

    def _handle(self) -> None:
        """Write down what the core noticed and what other threads asked for."""
        core = self._core
        while self._pending:
            self._asked(self._pending.popleft())
        if self._journal.broken is not None and core.mode is not Mode.HALTED:
            core.halt(self._cause(HaltCode.JOURNAL_FAILED, self._journal.broken, "journal"))
        if self._page[0] != ARMED and core.mode is not Mode.HALTED:
            core.observe(self._page[0])
        while core.notices:
            notices, core.notices = core.notices, []
            for notice in notices:
                if isinstance(notice, Halted):
                    self._halted(notice)
                elif isinstance(notice, Breach):
                    self._note({**self._head("breach"), **attrs.asdict(notice)})
                elif isinstance(notice, Anomaly):
                    said = {"code": notice.code, "detail": records.text(notice.detail)}
                    self._write({**self._head("anomaly"), **said})

    def _asked(self, cause: HaltCause) -> None:
        """A halt of another thread; if the core has just seen its byte, then this is the cause of that."""
        core = self._core
        for place, notice in enumerate(core.notices):
            if isinstance(notice, Halted) and notice.first and _unnamed(notice.cause):
                core.notices[place] = attrs.evolve(notice, cause=cause)
                return
        core.halt(cause)

    def _halted(self, notice: Halted) -> None:
        """The core halted: byte, latch, journal, in this order."""
        self._stop_emission()
        at_ns = self._mono()
        cause = self._latch_halt(notice.cause, may_wait=True)
        if notice.first or _unnamed(self._core.cause):
            self._core.cause = cause
        self._flush_block()
        self._write_halt(cause, at_ns, first=notice.first)
        for working in notice.voided:
            self._note({**self._head("void"), "permit": working.number, "code": "HALTED"})
        self._seal()
        self._settle()

    def _latch_halt(self, cause: HaltCause, *, may_wait: bool = False) -> HaltCause:
        """Make the halt durable; or learn from the latch who made it so already.

        Whoever sets only the byte is about to write the record, which says more than we could: so that
        is left to the next heartbeat, if it ``may_wait``.
        """
        at = self._at
        latch: Latch | None = None
        try:
            latch, found = read_latch(at.home.latch, at.identity or None)
        except LatchError as error:
            if cause.code is HaltCode.EXTERNAL:
                cause = attrs.evolve(cause, code=error.code, reason=str(error), source="home")
            if error.code is not HaltCode.LATCH_ABSENT or not at.identity:
                return cause  # what is wrong with the file is evidence, and it is a halt: leave it
        if latch is None or latch.state == latches.ARMED:
            if may_wait and latch is not None and _unnamed(cause):
                self._latch_durable = False
                return cause
            try:
                write_latch(at.home.latch, self._halted_latch(cause, latch))
                latch, found = read_latch(at.home.latch, at.identity or None)
            except (OSError, LatchError):
                self._latch_durable = False  # halted by the page; the next heartbeat tries again
                return cause
        at.latch, at.latch_stat = latch, found
        self._latch_durable = True
        if _unnamed(cause):
            return _cause_of(latch)
        return cause

    def _halted_latch(self, cause: HaltCause, latch: Latch | None) -> Latch:
        return Latch(
            state=latches.HALTED,
            epoch=max(latch.epoch if latch else 0, self._core.epoch),
            home=self._at.identity,
            code=str(cause.code),
            reason=records.text(cause.reason),
            source=cause.source,
            operator=cause.operator,
            ts_us=self._clock.utc_us(),
            boot=boot_id(),
            mono_ns=self._mono(),
        )

    def _write_halt(self, cause: HaltCause, at_ns: int, *, first: bool) -> None:
        journal = self._journal
        if journal.broken is not None:
            return
        mono = self._mono()
        ts = cause.ts_us or (at_ns + self._utc_ns) // 1000
        utc = datetime.fromtimestamp(ts // 1_000_000, UTC)
        try:
            journal.write(
                records.halt(
                    journal.next(),
                    (mono + self._utc_ns) // 1000,
                    mono - self._zero_ns,
                    run=self._run,
                    utc=f"{utc:%Y-%m-%dT%H:%M:%S}.{ts % 1_000_000:06d}Z",
                    version=__version__,
                    epoch=self._core.epoch,
                    code=str(cause.code),
                    reason=cause.reason,
                    source=cause.source,
                    operator=cause.operator,
                    at=at_ns - self._zero_ns,
                    first=first,
                    in_flight=list(self._core.in_flight),
                )
            )
        except JournalError as error:
            self._journal_failed(error)

    def _journal_failed(self, error: JournalError) -> None:
        """The journal is broken: halt, and never try again."""
        self._stop_emission()
        if self._core.mode is not Mode.HALTED:
            self._core.halt(self._cause(HaltCode.JOURNAL_FAILED, str(error), "journal"))
            self._handle()

    def _stop_emission(self) -> None:
        """The one act that stops: no lock, no disk."""
        if self._at.page is not None:
            self._at.page.halt()

    def _cause(self, code: HaltCode, reason: str, source: str) -> HaltCause:
        now = self._clock.utc_us()
        return HaltCause(code=code, reason=reason, source=source, ts_us=now, epoch=self._core.epoch)

    def _settle(self) -> None:
        """Let go of the running lock once nothing is in flight and nothing can begin."""
        core = self._core
        if core.in_flight:
            return
        self._quiet.set()
        if self._holds_running and core.mode is not Mode.RUNNING:
            self._at.running.release()
            self._holds_running = False
        if self._closed:
            self._at.running.close()
            self._at.writer.close()

    # -- Under the lock: records -------------------------------------------------------------------

    def _head(self, kind: str, mono: int | None = None) -> dict[str, object]:
        """What a record begins with. Its time is read here, so that it never goes back from record to record."""
        if mono is None:
            mono = self._mono()
        return records.head(self._journal.next(), kind, (mono + self._utc_ns) // 1000, mono - self._zero_ns)

    def _write(self, record: dict[str, object]) -> bool:
        if self._journal.broken is not None:
            return False
        try:
            self._journal.write(record)
        except JournalError as error:
            self._journal_failed(error)
            return False
        return True

    def _note(self, record: dict[str, object]) -> None:
        if self._journal.broken is None:
            try:
                self._journal.note(record)
            except JournalError as error:
                self._journal_failed(error)

    def _note_now(self, make: Callable[..., dict[str, object]], *arguments: object) -> None:
        self._note(make(self._journal.next(), *arguments))

    def _seal(self) -> None:
        journal = self._journal
        mono = self._mono()
        if journal.broken is None:
            try:
                journal.seal((mono + self._utc_ns) // 1000, mono - self._zero_ns)
                if self._disk:
                    journal.sync()
                    self._durable = journal.seq
            except JournalError as error:
                self._journal_failed(error)

    def _commit(self, number: int) -> None:
        """Without the lock: wait until the record is on the disk, together with all who wait."""
        with self._commit_lock:
            if self._durable > number:
                return
            with self._lock:
                if self._journal.broken is not None:
                    return
                mono = self._mono()
                try:
                    self._journal.seal((mono + self._utc_ns) // 1000, mono - self._zero_ns)
                except JournalError as error:
                    self._journal_failed(error)
                    return
                upto = self._journal.seq
            try:
                self._journal.sync()
                self._durable = upto
            except JournalError as error:
                with self._lock:
                    self._journal_failed(error)

    def _blocked_tick(self, verdict: Verdict, tick: Quote | Trade, mono: int) -> None:
        """Gate 1 refused: one record for a row of equal refusals."""
        self._blocked += 1
        ts = (mono + self._utc_ns) // 1000
        code = verdict.reason
        instrument = getattr(tick, "instrument", None)
        if instrument.__class__ is not str:  # anything may come in, and raise when it is compared
            instrument = records.printed(instrument)
        block = self._block
        if block is not None and block[0] is code and block[1] == instrument:
            block[2] += 1  # type: ignore[operator] # a count
            block[4] = ts
            return
        self._flush_block()
        self._block = [code, instrument, 1, ts, ts]

    def _flush_block(self) -> None:
        block = self._block
        if block is None:
            return
        self._block = None
        code, instrument, count, first, last = block
        self._note(
            {
                **self._head("block"),
                "code": code,
                "instrument": records.printed(instrument),
                "count": count,
                "first_ts": first,
                "last_ts": last,
            }
        )

    def _totals(self) -> None:
        """Running totals and equity, if they changed since they were written."""
        consulted = self._ticks - self._blocked
        totals = (self._ticks, self._blocked, self._permits, self._refusals)
        if totals != self._beaten:
            self._beaten = totals
            self._note(
                {
                    **self._head("beat"),
                    "ticks": self._ticks,
                    "consulted": consulted,
                    "blocked": self._blocked,
                    "permits": self._permits,
                    "refusals": self._refusals,
                }
            )
        for account in self._core.accounts():
            now = (account.equity, account.opening, account.peak)
            if now != self._marked.get(account.currency, (0, 0, 0)):
                self._marked[account.currency] = now
                equity, opening, peak = (account.text(amount) for amount in now)
                said = {"currency": account.currency, "equity": equity, "opening": opening, "peak": peak}
                self._note({**self._head("mark"), **said})

    def _anchor(self, mono: int) -> None:
        """Tie monotonic time to UTC again; a step of the clock is an anomaly."""
        core = self._core
        utc_ns = self._clock.utc_us() * 1000 - mono
        step_us = (utc_ns - self._utc_ns) // 1000
        self._utc_ns = utc_ns
        if abs(step_us) > _CLOCK_STEP_US:
            self._note({**self._head("anomaly"), "code": "CLOCK_STEP", "detail": f"UTC moved by {step_us} us"})
        open_permits = core.in_flight or any(working.status is Status.GRANTED for working in core.working.values())
        if mono - self._zero_ns > _REBASE_NS and not open_permits:
            mono = self._mono()
            shift = mono - self._zero_ns
            self._zero_ns = mono
            self._note({**self._head("rebase", mono), "shift": shift})

    # -- Opening and closing -------------------------------------------------------------------------

    def _begin_run(self, engine: str, durability: str) -> None:
        """Say that we are here; carry over what a crash left; bring the journal up to the latch."""
        at = self._at
        with self._lock:
            mono = self._zero_ns
            self._write(
                {
                    **self._head("run", mono),
                    "run": self._run,
                    "version": __version__,
                    "home": at.identity,
                    "epoch": self._core.epoch,
                    "boot": boot_id(),
                    "pid": os.getpid(),
                    "engine": records.text(engine),
                    "operator": records.text(self._operator),
                    "durability": durability,
                    "limits": at.limits_sha256,
                    "remember": at.remember,
                }
            )
            self._carry_over()
            self._agree()
            self._totals()
            self._seal()
            self._quiet.set()

    def _carry_over(self) -> None:
        salvage = self._at.salvage
        if salvage is None:
            return
        self._journal.holding = True  # a recovery is sealed whole, or a crash now would lose the rest of it
        self._write(
            {
                **self._head("recover"),
                "sealed": salvage.sealed,
                "root": salvage.root,
                "torn_file": salvage.torn_file,
                "torn_bytes": len(salvage.torn),
                "torn_sha256": sha256(salvage.torn).hexdigest(),
                "salvaged": len(salvage.records),
            }
        )
        for record in salvage.records:
            self._note({**self._head("salvage"), "record": record})
        self._journal.holding = False

    def _agree(self) -> None:
        """Halts and resets that happened while nobody was attached get their records now."""
        at = self._at
        latch = at.latch
        if at.told.records == 0 and latch is not None:
            said = {"epoch": 1, "operator": latch.operator or "", "reason": latch.reason}
            self._note({**self._head("arm"), **said})
        halted = at.told.halted
        armed = at.fault is None and latch is not None and latch.state == latches.ARMED
        prior = max(at.told.epoch, 1)
        if latch is not None and latch.epoch > prior:
            core = self._core
            core.epoch, epoch = prior, core.epoch
            if not halted:
                self._past_halt(HaltCause(code=HaltCode.EXTERNAL, reason="halted and reset while detached", source="latch"))
            core.epoch = epoch
            self._record_reset(latch, prior=prior)
            for account in core.accounts():
                account.begin_session()
            halted = False
        if armed:
            return
        self._stop_emission()
        if at.fault is not None:
            cause = self._cause(at.fault[0], at.fault[1], "home")
        elif latch is not None:
            cause = _cause_of(latch)
        else:
            cause = self._cause(HaltCode.LATCH_ABSENT, "there is no latch", "home")
        self._core.cause = cause
        if not halted or at.fault is not None:
            self._past_halt(cause, first=not halted)
        if at.fault is not None:
            self._latch_halt(cause)

    def _past_halt(self, cause: HaltCause, *, first: bool = True) -> None:
        """Record a halt that was made before this run began."""
        self._write_halt(cause, self._zero_ns, first=first)

    def _record_reset(self, latch: Latch, prior: int | None = None) -> None:
        said = {
            "epoch": latch.epoch,
            "prior": self._core.epoch if prior is None else prior,
            "operator": latch.operator or "",
            "reason": latch.reason,
        }
        self._write({**self._head("reset"), **said})

    def close(self) -> None:
        """Detach: stop if RUNNING (halt, if that can't drain), seal, let go of every file."""
        if self._closed or self._pid != os.getpid():
            return
        if self._core.mode is Mode.RUNNING and not self.stop("detached").stopped:
            self.halt("detached while sends were in flight", code=HaltCode.INTERNAL, timeout_s=0.0)
        with self._lock:
            self._handle()
            self._make_durable()
            self._flush_block()
            self._totals()
            self._note({**self._head("end"), "code": str(self._core.mode)})
            self._seal()
            self._closed = True
            self._page = _DEAD_PAGE
            self._retire("detached")
            self._at.segment.close()
            self._settle()  # a send that is still in flight keeps both locks until it has ended

    def _retire(self, why: str) -> None:
        """From here on this kernel refuses, and neither writes nor, unless asked to, halts the home."""
        core = self._core
        if core.mode is not Mode.HALTED:
            core.halt(self._cause(HaltCode.INTERNAL, why, "kernel"))
        core.notices.clear()
        self._journal.broken = self._journal.broken or why

    def __enter__(self) -> Self:
        """Attached."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Detach."""
        self.close()

    def _forked(self) -> None:
        """In a forked child: this copy never permits anything, and keeps no lock alive."""
        self._page = _DEAD_PAGE
        self._closed = True
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._quiet = threading.Event()
        self._pending.clear()
        self._holds_running = False
        self._retire("a forked child")
        self._at.segment.abandon()
        self._at.running.close()
        self._at.writer.close()


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns


def _unnamed(cause: HaltCause | None) -> bool:
    """Whether it says no more than that the latch was seen not armed."""
    return cause is not None and cause.code is HaltCode.EXTERNAL and cause.source == "latch"


def _cause_of(latch: Latch) -> HaltCause:
    code = HaltCode(latch.code) if latch.code in set(HaltCode) else HaltCode.EXTERNAL
    return HaltCause(
        code=code,
        reason=latch.reason,
        source=latch.source,
        operator=latch.operator,
        ts_us=latch.ts_us,
        epoch=latch.epoch,
    )


_ATTACHED: Final[weakref.WeakSet[Kernel]] = weakref.WeakSet()


def _after_fork() -> None:
    for kernel in list(_ATTACHED):
        kernel._forked()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
