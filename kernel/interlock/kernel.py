"""EMBED: the kernel that an engine holds.

    with Kernel.attach(home, operator="alice") as kernel:
        kernel.start()
        if kernel.consult(tick):                              # gate 1
            for order in strategy(tick):
                verdict = kernel.submit(order, venue.send)    # gate 2, permit, journal, send(permit)

Threads may call anything at any time. Four rules make that safe.

1. **One lock, and never across a send.** It guards core and journal; it is let go before a send function,
   and while an order waits for the disk. Neither send functions nor what they return or raise run under it.
   A cancel does not wait for it long, either: if a hung disk holds it, the cancel goes first.
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
import contextlib
import os
import threading
import time
import uuid
import weakref
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, assert_never

import attrs

from interlock.attach import Attachment, open_home
from interlock.breaker import latch as latches
from interlock.breaker.bells import Bells
from interlock.breaker.home import HomeError, Now, boot_id
from interlock.breaker.kill import InFlight, Kill, Killed, Quiet, Waiting
from interlock.breaker.roster import engine_name
from interlock.breaker.segment import carried
from interlock.breaker.sentinel import Fault, Latched, Rearmed, cause_of, unnamed
from interlock.breaker.watchdog import WatchThread
from interlock.core.errors import MisuseError
from interlock.core.ledger import Status
from interlock.core.machine import Anomaly, Breach, Halted, refusal
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import (
    PASS,
    Cancel,
    Fill,
    HaltCause,
    Order,
    Outcome,
    Permit,
    Quote,
    Trade,
    Verdict,
    grant,
    withdraw,
)
from interlock.journal import records
from interlock.journal.recorder import Recorder
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from interlock.breaker.latch import Latch
    from interlock.breaker.sentinel import Sentinel
    from interlock.breaker.watchdog import Limits
    from interlock.core.ledger import Working
    from interlock.core.tickets import Ticket

__all__ = ["Clock", "HaltReport", "InFlight", "Kernel", "StopReport", "SystemClock"]

T = TypeVar("T")
_ACCEPTED: Final = Reason.ACCEPTED
_SENT: Final = Outcome.SENT
_LONGEST_WAIT_S: Final = 86_400.0
_ENTRIES: Final = 3
_OWN_WAIT_S: Final = 0.05
_LOOK_EVERY_S: Final = 0.005
_CANCEL_WAIT_S: Final = 0.05
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
class HaltReport:
    """What a halt reached by the time it returned. Emission is stopped in any case.

    Attributes:
        confirmed: no process attached to the home is sending, nor can begin to.
        durable: the latch record is on disk, so that a restart stays halted.
        recorded: the halt is in the journal.
        cause: the first cause, which a repeat does not change.
        in_flight: sends that had begun before and have not ended yet, of all processes, if not ``confirmed``.
        waiting: the processes that are not quiet, if not ``confirmed``.
        killed: those that got SIGKILL.
        message: what went wrong or is still awaited, for people.
    """

    confirmed: bool
    durable: bool
    recorded: bool
    cause: HaltCause
    in_flight: tuple[InFlight, ...]
    waiting: tuple[Waiting, ...] = ()
    killed: tuple[Killed, ...] = ()
    message: str = ""


@attrs.frozen(kw_only=True)
class StopReport:
    """Whether a stop drained: if not, the gate is closed and the mode still RUNNING."""

    stopped: bool
    reason: Reason
    in_flight: tuple[InFlight, ...]


class Kernel:
    """A kernel attached to one home; see the module, and `attach`."""

    def __init__(
        self, attachment: Attachment, *, operator: str, engine: str, durability: str, clock: Clock, run: str
    ) -> None:
        """Use `attach`."""
        sentinel = attachment.sentinel
        self._at = attachment
        self._sentinel = sentinel
        self._core = attachment.core
        self._journal = attachment.journal
        self._hold = sentinel.hold
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._quiet = threading.Event()
        self._mono = clock.mono_ns
        self._clock = clock
        self._disk = durability == "disk"
        self._recorder = Recorder(
            attachment.journal,
            mono_ns=clock.mono_ns,
            utc_us=clock.utc_us,
            run=run,
            version=__version__,
            disk=self._disk,
        )
        self._operator = records.text(operator)
        self._run = run
        self._pending: deque[HaltCause] = deque()
        self._late: deque[tuple[Cancel, int | None, str | None]] = deque()
        self._engine = engine
        self._asking = 0
        self._closed = False
        self._stuck = False
        self._over = threading.Event()
        self._lookout: threading.Thread | None = None
        self._bells = Bells()
        self._halted_in = 0
        self._watched: Limits | None = None
        self._watch: WatchThread | None = None
        self._totalled_ns = self._recorder.zero_ns
        self._pid = os.getpid()
        _ATTACHED.add(self)
        weakref.finalize(self, _let_go, sentinel).atexit = False
        self._begin_run(engine, durability)

    @classmethod
    def attach(  # noqa: PLR0913 - one for each thing that can be chosen
        cls,
        home: str | os.PathLike[str],
        *,
        operator: str,
        engine: str = "engine",
        durability: str = "disk",
        clock: Clock | None = None,
        run: str | None = None,
        watch: Limits | None = None,
    ) -> Self:
        """Attach to a home that `interlock arm` made.

        Args:
            home: the directory.
            operator: who answers for this run; stands in the journal.
            engine: the engine's name: it has its own journal and ledger in the home. Any number of engines may be
                attached to one home, each under a name of its own.
            durability: ``disk`` (the permit is on the disk before the send) or ``process`` (it is with
                the operating system: it survives this process, but not a loss of power).
            clock: for tests and replays.
            run: a UUID for the run, for tests.
            watch: for how long loop, tick and send may stand still before a thread of this process halts; None: no
                such thread. Whoever gives it calls `heartbeat` from the loop.

        Returns:
            A kernel, IDLE; or HALTED, if the home is halted or in any way not as it should be. A
            HALTED kernel refuses every order and passes every cancel.

        Raises:
            HomeError: there is no home, or no way to keep a journal in it, or another process has that name.
            LimitsError: its limits are missing or wrong.
        """
        if durability not in {"disk", "process"}:
            message = f"durability is disk or process, not {durability!r}"
            raise ValueError(message)
        run = str(uuid.UUID(run)) if run else str(uuid.uuid4())
        attachment = open_home(home, engine_name(engine), mapped=durability == "process")
        try:
            kernel = cls(
                attachment,
                operator=operator,
                engine=engine,
                durability=durability,
                clock=clock or SystemClock(),
                run=run,
            )
        except BaseException:
            attachment.sentinel.leave()
            raise
        kernel._watched = watch
        return kernel

    # -- What it is ------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """The mode; HALTED as soon as the latch is not armed, whether or not that was noticed yet."""
        if self._hold.page[0] != ARMED:
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

    def positions(self) -> dict[str, Decimal]:
        """The confirmed position of every instrument that the limits know, in units; no hung disk holds this up."""
        with self._looking():
            return {name: Decimal(book.size_text(book.position)) for name, book in self._core.books.items()}

    def working_orders(self) -> tuple[Order, ...]:
        """The orders that are, or may be, at the venue: see `works`. A hung disk does not hold this up."""
        with self._looking():
            working = (*list(self._core.working.values()), *list(self._core.in_flight.values()))
            return tuple({one.order.client_order_id: one.order for one in working}.values())

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Under the lock; or without it, if whoever has it does not let go: what is seen may be old then."""
        locked = self._grab()
        try:
            yield
        finally:
            if locked:
                self._lock.release()

    def works(self, order_id: str) -> bool:
        """Whether an order is, or may be, at the venue: as long as its send has not ended it may still come there.

        It takes no lock, so nothing holds it up.
        """
        return order_id in self._core.working or self._sends(order_id)

    def _sends(self, order_id: str) -> bool:
        return any(one.order.client_order_id == order_id for one in list(self._core.in_flight.values()))

    def has_token(self) -> bool:
        """Whether the message rate has room for an order now. A hung disk that holds the lock is no room either."""
        if not self._grab():
            return False
        try:
            return self._core.bucket.ready(self._mono())
        finally:
            self._lock.release()

    def _grab(self) -> bool:
        """Take the lock, for what no hung disk may hold up. Once it was not to be had, nobody waits until it is."""
        held = self._lock.acquire(timeout=0 if self._stuck else _CANCEL_WAIT_S)
        self._stuck = not held
        return held

    def in_flight(self) -> tuple[InFlight, ...]:
        """The sends that have begun and not ended."""
        now = time.monotonic_ns()
        return tuple(
            InFlight(
                engine=self._engine,
                pid=self._pid,
                permit=working.number,
                client_order_id=working.order.client_order_id,
                instrument=working.order.instrument,
                for_ns=max(0, now - self._hold.since(working.number)),
            )
            for working in list(self._core.in_flight.values())
        )

    def on_halt(self, call: Callable[[], object]) -> Callable[[], None]:
        """Have something called on every halt, whoever made it, although the loop, a send or the disk may hang.

        It is called once a halt, by the lookout, a few milliseconds after it, in a thread of its own and under no
        lock; at once if it is HALTED already, and not after `close`. What it raises is an anomaly in the journal.

        Args:
            call: what to call, without arguments; for a stop, ``lambda: executor.halted()``.

        Returns:
            To be called if it is to be called no more.
        """
        forget = self._bells.add(call, self._core.epoch - 1)
        with self._lock:
            self._post()
        return forget

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
            kept_out = self._enter()
            if kept_out is not None:
                return kept_out
            latch = self._sentinel.latch
            verdict = self._core.start(self._hold.page[0], latch.epoch if latch else 0, self._mono(), session)
            if verdict:
                said = self._recorder.write("start", epoch=self._core.epoch, operator=self._operator, session=session)
                self._recorder.totals(self._core.accounts())  # where the session opens
                if said is None:
                    verdict = refusal(Reason.JOURNAL_FAILED)
            self._handle()
            self._settle()
            if self._core.mode is Mode.RUNNING:
                self._quiet.clear()
            return verdict

    def _enter(self) -> Verdict | None:
        """Take the running lock, and under it the look that counts. None: it is held, in the home's epoch.

        So nobody can halt, find all quiet, and reset between the two. A reset that came just before is adopted
        here, which lets go of the lock: then all over again.
        """
        core, hold = self._core, self._hold
        for _ in range(_ENTRIES):
            self._inspect()
            if core.mode is Mode.HALTED:
                self._settle()
                return refusal(Reason.HALTED)
            try:
                self._post()
            except RuntimeError as error:
                return refusal(Reason.HALTED, "lookout", f"no thread to be had: {error}")
            if hold.enter():
                self._inspect()
                if hold.held:
                    return None
            elif hold.page[0] == ARMED:
                return refusal(Reason.HALTED, "lock", "someone is waiting for quiet")
            else:
                core.observe(hold.page[0])
                self._handle()
        return refusal(Reason.HALTED, "lock", "it is being halted and reset")

    def _post(self) -> None:
        """Post lookout and watchdog, if they are not at their posts, or not any more."""
        if self._watched is not None and (self._watch is None or not self._watch.watching):
            watch = WatchThread(self, self._sentinel.berth.seen, self._watched)
            watch.start()
            self._watch = watch
        self._sentinel.post()
        if self._lookout is None or not self._lookout.is_alive():
            lookout = threading.Thread(
                target=_look_out, args=(weakref.ref(self), self._over), daemon=True, name="interlock-lookout"
            )
            lookout.start()
            self._lookout = lookout

    def drain(self, reason: str = "stop") -> None:
        """Close the gate to new orders, while sends in flight may end: the first half of `stop`."""
        with self._lock:
            if self._core.mode is Mode.RUNNING and self._core.gate_open and self._hold.page[0] == ARMED:
                self._core.close_gate()
                self._recorder.write("drain", epoch=self._core.epoch, reason=records.text(reason))
                self._handle()

    def ticket(self, ticket: Ticket) -> Verdict:
        """Let one exit of a controlled stop through the gate that `drain` has closed: RUNNING only, for one try.

        Returns:
            True if its order may now be submitted, and its record is in the journal; else the refusal.
        """
        with self._lock:
            core = self._core
            verdict = core.ticket(ticket, self._hold.page[0])
            if verdict:
                said = self._recorder.write(
                    "ticket",
                    epoch=core.epoch,
                    id=ticket.client_order_id,
                    instrument=ticket.instrument,
                    side=str(ticket.side),
                    quantity=f"{ticket.quantity:f}",
                )
                if said is None:
                    verdict = refusal(Reason.JOURNAL_FAILED, value=self._journal.broken)
                else:
                    core.admit(ticket)
            self._handle()
            return verdict

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
                verdict = self._core.stop(self._hold.page[0])
                if verdict:  # written before a halt that was asked for meanwhile
                    self._recorder.unblock()
                    self._recorder.note("stop", epoch=self._core.epoch)
                    self._recorder.settle()
                self._handle()
                self._settle()
                mode = self._core.mode
                waiting = self._core.in_flight or (not verdict and mode is Mode.RUNNING)
                self._quiet.clear()
            if verdict or mode is not Mode.RUNNING or not waiting or time.monotonic() >= deadline:
                return StopReport(stopped=bool(verdict), reason=verdict.reason, in_flight=self.in_flight())
            self._quiet.wait(max(0.0, min(deadline - time.monotonic(), 0.05)))

    def halt(
        self,
        reason: str,
        *,
        code: HaltCode = HaltCode.OPERATOR,
        source: str = "kernel",
        operator: str | None = None,
        timeout_s: float = 2.0,
        escalate: bool = False,
    ) -> HaltReport:
        """Stop emission now, from any thread; then write it down, and wait for quiet.

        When this returns, and in fact as soon as it has begun, no send begins any more. In a signal
        handler call it with ``timeout_s=0``: the handler may have interrupted the lock's holder. Then it stops
        emission and does nothing else; the next call or heartbeat latches and records it.

        Args:
            reason: for people; stands in journal and latch.
            code: stable code.
            source: what halts.
            operator: who, if not the run's operator.
            timeout_s: how long to wait for the confirmation. Emission does not wait for it.
            escalate: SIGKILL the other processes of the home that are not quiet by then.
        """
        self._asking += 1  # whoever sees the byte meanwhile waits for the cause
        try:
            self._stop_emission()
            cause = HaltCause(
                code=code if code.__class__ is HaltCode else HaltCode.OPERATOR,
                reason=records.text(reason),
                source=records.text(source),
                operator=self._operator if operator is None else records.text(operator),
                ts_us=self._clock.utc_us(),
                epoch=self._core.epoch,
            )
            self._pending.append(cause)
        finally:
            self._asking -= 1
        timeout_s = min(timeout_s, _LONGEST_WAIT_S) if timeout_s > 0 else 0.0  # a NaN is no wait either
        if not timeout_s:  # perhaps in a signal handler: no lock, no disk; the next look at the kernel does the rest
            return self._report(cause, Quiet(stopped=True, durable=self._sentinel.durable, confirmed=False, message=""))
        deadline = time.monotonic() + timeout_s
        kill = Kill(
            self._sentinel.home,
            lambda latch: self._sentinel.halted(cause, latch.epoch, self._now()),
            self._sentinel.page,
        )
        kill.stopped = self._sentinel.page is not None
        written = self._write_down()
        while self._hold.sending and self._worth_waiting() and time.monotonic() < deadline:
            self._quiet.wait(max(0.0, min(deadline - time.monotonic(), _OWN_WAIT_S)))
        self._hold.see()
        self._hold.leave()
        waits = self._worth_waiting() or not self._hold.sending  # not for a send of this very thread
        confirmed = kill.wait_quiet(deadline if waits else time.monotonic())
        written.wait(max(0.0, deadline - time.monotonic()))
        kill.durable = kill.durable or (self._sentinel.durable and not kill.again)
        quiet = kill.finish(written, deadline, confirmed=confirmed and not self._closed, escalate=escalate)
        return self._report(cause, quiet, recorded=written.is_set())

    def _report(self, cause: HaltCause, quiet: Quiet, *, recorded: bool = False) -> HaltReport:
        confirmed = quiet.confirmed and not self._hold.sending
        others = [one for waiting in quiet.waiting if waiting.engine != self._engine for one in waiting.in_flight]
        return HaltReport(
            confirmed=confirmed,
            durable=quiet.durable,
            recorded=recorded and not self._pending and self._journal.broken is None,
            cause=self._core.cause or cause,
            in_flight=() if confirmed else (*self.in_flight(), *others),
            waiting=quiet.waiting,
            killed=quiet.killed,
            message=quiet.message,
        )

    def _write_down(self) -> threading.Event:
        """Latch and journal what has happened, in a thread: the disk may hang, and who holds the lock may wait for it.

        Returns:
            Set when it is done.
        """
        done = threading.Event()

        def work() -> None:
            try:
                self._sentinel.mirror()
                with self._lock:
                    self._handle()
            finally:
                done.set()

        try:
            threading.Thread(target=work, daemon=True, name="interlock-scribe").start()
        except RuntimeError:  # no thread to be had: then by ourselves
            work()
        return done

    def _stop_emission(self) -> None:
        """Here first, by a write to our own memory, whatever the page may be by now. Then everywhere."""
        self._hold.retire()
        self._sentinel.stop()

    def _worth_waiting(self) -> bool:
        """Whether some send in flight is not this very thread's, which waiting would only hold up."""
        mine = threading.get_ident()
        sending = list(self._hold.sending)
        return any(
            (working := self._core.in_flight.get(number)) is None or working.thread != mine for number in sending
        )

    def reset(self, *, operator: str, reason: str, epoch: int) -> None:
        """HALTED to IDLE, by someone who answers for it and names the current epoch. Starts nothing.

        Raises:
            HomeError: not halted, another epoch, sends in flight, or the home can't be written.
        """
        with self._lock:
            self._handle()
            if self._core.mode is not Mode.HALTED or self._core.in_flight or self._closed:
                message = f"{self._sentinel.home.path}: not halted and quiet, so there is nothing to reset"
                raise HomeError(HaltCode.EXTERNAL, message)
            if self._journal.broken is not None:
                raise HomeError(HaltCode.JOURNAL_FAILED, self._journal.broken)
            self._sentinel.home.reset(
                epoch=epoch,
                known_epoch=self._core.epoch,
                operator=operator,
                reason=reason,
                now=self._now(),
            )
            self._inspect()

    # -- The gates -------------------------------------------------------------------------------

    def consult(self, tick: Quote | Trade) -> Verdict:
        """Gate 1: may the strategy be asked about this tick? True if so."""
        lock = self._lock
        lock.acquire()
        try:
            mono = self._mono()
            recorder = self._recorder
            recorder.ticks += 1
            core = self._core
            verdict = core.consult(tick, self._hold.page[0], mono, (mono + recorder.utc_ns) // 1000)
            if verdict is not PASS:
                recorder.block(verdict, tick, mono)
            elif recorder.row is not None:
                recorder.unblock()
            if core.notices:
                self._handle()
        except BaseException:
            self._interrupted()
            raise
        else:
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
        working: Working | None = None
        permit: Permit | None = None
        try:
            lock.acquire()
            try:
                decided = self._decide(order)
                if isinstance(decided, Verdict):
                    return decided
                working = decided
                if self._disk:
                    lock.release()
                    try:
                        self._commit(working.number)
                    finally:
                        lock.acquire()
                permit = self._begin(working)
                if permit is None:
                    return self._never_began(working)
            finally:
                lock.release()
            result = send(permit)
            self._ended(working, permit, result)
        except BaseException as error:
            if self._broken_off(working, permit, error) and working is not None:
                return _accepted(working, Outcome.UNKNOWN, error=error)
            raise
        return Verdict(True, _ACCEPTED, None, None, working.number, _SENT, result)  # noqa: FBT003 - keywords cost here

    async def submit_async(self, order: Order, send: Callable[[Permit], Awaitable[object]]) -> Verdict:
        """As `submit`, for asyncio: the wait for the disk and the send are awaited."""
        working: Working | None = None
        permit: Permit | None = None
        try:
            with self._lock:
                decided = self._decide(order)
                if isinstance(decided, Verdict):
                    return decided
                working = decided
            if self._disk:
                await asyncio.get_running_loop().run_in_executor(None, self._commit, working.number)
            with self._lock:
                permit = self._begin(working)
                if permit is None:
                    return self._never_began(working)
            result = await send(permit)
            self._ended(working, permit, result)
        except BaseException as error:
            if self._broken_off(working, permit, error) and working is not None:
                return _accepted(working, Outcome.UNKNOWN, error=error)
            raise
        return Verdict(True, _ACCEPTED, None, None, working.number, _SENT, result)  # noqa: FBT003 - keywords cost here

    def _decide(self, order: Order) -> Working | Verdict:
        """Under the lock: gate 2, and the permit's record."""
        core = self._core
        mono = self._mono()
        try:
            decided = core.decide(order, self._hold.page[0], mono, 0)
            if isinstance(decided, Verdict):
                self._recorder.refuse(order, decided, core.epoch, core.mode, mono)
                if core.notices:
                    self._handle()
                return decided
            if not self._recorder.permit(decided, core.epoch, mono):
                core.void(decided)
                self._handle()
                return refusal(Reason.JOURNAL_FAILED, value=self._journal.broken)
        except BaseException:
            self._journal.broken = self._journal.broken or "interrupted between gate 2 and the record"
            self._interrupted()
            raise
        return decided

    def _interrupted(self) -> None:
        """An interrupt came in the midst of a decision: nobody knows what was done of it, so it halts."""
        self._stop_emission()
        self._pending.append(self._cause(HaltCode.INTERNAL, "interrupted inside the kernel", "kernel"))

    def _begin(self, working: Working) -> Permit | None:
        """Under the lock: the last look at the latch, and in flight from here."""
        working.begun_ns = self._mono()  # all before it is in flight, where a halt finds it without the lock
        working.thread = threading.get_ident()
        hold = self._hold
        number = working.number
        if not hold.begin(number, time.monotonic_ns()):
            self._core.observe(0)
            return None
        if not self._core.begin(working, ARMED):
            hold.end(number)
            return None
        return grant(working.order, working.number, self._core.epoch)

    def _never_began(self, working: Working) -> Verdict:
        """Under the lock: the permit is void."""
        if self._core.notices:  # this very look saw the halt, which voids and records all permits
            self._handle()
        reason = Reason.JOURNAL_FAILED if self._journal.broken is not None else Reason.HALTED
        if working.status is Status.DONE:
            reason = Reason.ORDER_CLOSED
        self._withdraw(working, "HALTED")
        return Verdict(accepted=False, reason=reason, permit=working.number, outcome=Outcome.VOID)

    def _withdraw(self, working: Working, code: str) -> None:
        """Under the lock: a permit whose send never began gets its outcome, if a halt did not write it."""
        if working.status is Status.DONE:  # the venue says that it is over: there is nothing to give back
            working.status, code = Status.VOID, "ORDER_CLOSED"
        elif not self._core.void(working):
            return
        self._recorder.note("void", permit=working.number, code=code)

    def _ended(self, working: Working, permit: Permit, result: object) -> None:
        self._hold.end(working.number)  # first, and without the lock: whoever holds it may be waiting for a disk
        said = None if result is None else records.printed(result)  # the caller's code: not under the lock
        lock = self._lock
        lock.acquire()
        try:
            redeemed = withdraw(permit)
            self._core.end(working)
            self._recorder.sent(working, said)
            if not redeemed:
                told = f"the send of permit {working.number} returned without its order"
                self._recorder.note("anomaly", code="NOT_REDEEMED", detail=told)
            if not self._core.gate_open:
                self._settle()
        finally:
            lock.release()

    def _broken_off(self, working: Working | None, permit: Permit | None, error: BaseException) -> bool:
        """A submit ended by an exception. True if it was the send's, and the verdict is accepted and unknown."""
        if working is not None and working.number in self._hold.sending:
            self._hold.end(working.number)
        said = records.failure(error)  # the caller's code: not under the lock
        if permit is not None:
            withdraw(permit)
        if working is None:
            return False
        with self._lock:
            if working.number not in self._core.in_flight:
                if permit is None:
                    self._withdraw(working, "CANCELLED")  # nothing was sent, so nothing is in doubt
                self._handle()
                return False
            self._failed(working, said)
        return isinstance(error, Exception)

    def _failed(self, working: Working, said: str) -> None:
        """Under the lock: nobody knows whether the order left."""
        self._core.fail(working)
        self._recorder.unknown(working, said)
        self._handle()
        self._settle()

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
            self._cancelled(cancel, number, error)
            raise
        self._cancelled(cancel, number, None)
        return result

    async def cancel_async(self, cancel: Cancel, send: Callable[[Cancel], Awaitable[T]]) -> T:
        """As `cancel`, for asyncio."""
        number = self._cancelling(cancel)
        try:
            result = await send(cancel)
        except BaseException as error:
            self._cancelled(cancel, number, error)
            raise
        self._cancelled(cancel, number, None)
        return result

    def _cancelling(self, cancel: Cancel) -> int | None:
        """Record a cancel; None if that has to wait, which the cancel does not."""
        if not self._grab():
            return None
        try:
            self._core.cancel(cancel, self._mono())
            return self._say_cancel(cancel)  # what else is to be done waits until the cancel has left
        finally:
            self._lock.release()

    def _say_cancel(self, cancel: Cancel) -> int | None:
        order_id, instrument = records.name(cancel.client_order_id), records.name(cancel.instrument)
        number = self._recorder.write("cancel", id=order_id, instrument=instrument)
        if number is None and not self._closed:
            self._stop_emission()  # a broken journal halts; that is latched once the cancel has left
        return number

    def _cancelled(self, cancel: Cancel, number: int | None, error: BaseException | None) -> None:
        """Record how a cancel ended, now or by whoever has the lock next."""
        self._late.append((cancel, number, None if error is None else records.failure(error)))
        if self._grab():
            try:
                self._say_late()
            finally:
                self._lock.release()

    def _say_late(self) -> None:
        while self._late:
            cancel, number, error = self._late.popleft()
            if number is None:
                self._core.cancel(cancel, self._mono())
                number = self._say_cancel(cancel)
            if number is not None:
                self._recorder.note("cancel_end", cancel=number, error=error)

    def on_accept(self, order_id: str, venue_id: str | None = None) -> None:
        """The venue has the order. Resolves an order whose send had an unknown outcome."""
        with self._lock:
            self._attached()
            self._core.on_accept(order_id)
            said = None if venue_id is None else records.text(venue_id)
            self._recorder.note("accept", id=records.name(order_id), venue_id=said)
            self._handle()

    def on_fill(self, fill: Fill) -> None:
        """The venue executed (a part of) the order. A fill id that was seen before changes nothing."""
        with self._lock:
            self._attached()
            known = self._core.on_fill(fill)
            if known is not None:
                self._recorder.fill(fill, known=known)
            self._handle()

    def on_cancelled(self, order_id: str, reason: str = "") -> None:
        """The order is gone from the venue: cancelled or expired."""
        self._on_closed("cancelled", order_id, reason)

    def on_reject(self, order_id: str, reason: str = "") -> None:
        """The venue refused the order."""
        self._on_closed("reject", order_id, reason)

    def settle(self, order_id: str, filled: Decimal, *, reason: str = "", rejected: bool = False) -> bool:
        """Close an order that the venue was asked about and is done with, unless its own event came first.

        Events and answers race: an order that the venue's event has closed meanwhile stays as it is, so that it is
        never closed twice; and one of whose fills the ledger lacks some stays working until they are reported. One
        whose send has not ended stays, too, whatever the venue says of it: it may come there after the answer.

        Args:
            order_id: of the order.
            filled: how much of it the venue executed, in units.
            reason: stands in the journal.
            rejected: it was refused; otherwise cancelled or expired.

        Returns:
            True if it works no more. False: its send goes on, fills are missing, a hung disk holds the journal, or it
            is detached.
        """
        if not self._grab():
            return False
        try:
            if self._sends(order_id):
                return False
            working = self._core.working.get(order_id)
            if working is None:
                return True
            book = working.book
            told, ordered = book.sizes[str(filled)][0], book.sizes[str(working.order.quantity)][0]
            if self._closed or told is None or ordered is None or told != ordered - working.remaining:
                return False
            kind = "reject" if rejected else "cancelled"
            self._core.on_closed(order_id, kind)
            self._recorder.note(kind, id=records.name(order_id), reason=records.text(reason))
            self._handle()
            return True
        finally:
            self._lock.release()

    def _on_closed(self, kind: str, order_id: str, reason: str) -> None:
        with self._lock:
            self._attached()
            self._core.on_closed(order_id, kind)
            self._recorder.note(kind, id=records.name(order_id), reason=records.text(reason))
            self._handle()

    def _attached(self) -> None:
        """What the venue says must not be lost: after `close` nobody would write it down.

        Raises:
            MisuseError: this kernel is detached.
        """
        if self._closed:
            message = "detached: report this to the kernel that attaches next"
            raise MisuseError(message)

    def seal(self) -> None:
        """End the batch: what was said up to now is in the journal, and on the disk if so configured."""
        with self._lock:
            self._recorder.settle()
            self._handle()

    def anomaly(self, code: str, detail: str) -> None:
        """Record something that should not happen; whether to halt is the caller's to say."""
        with self._lock:
            self._recorder.write("anomaly", code=records.name(code), detail=records.text(detail))
            self._handle()

    # -- Heartbeat -------------------------------------------------------------------------------

    def heartbeat(self, *, quick: bool = False) -> None:
        """To be called by the loop that drives the kernel, in intervals well below the limit for it.

        Looks whether latch, page and lock are still the files that were opened, writes what is waiting, seals.

        Args:
            quick: only say that the loop turns. For a replay, whose seconds pass in microseconds; its loop
                calls `inspect` on the wall's time.
        """
        self._sentinel.berth.beat()  # before the lock: what it says is that the loop came round
        with self._lock:
            mono = self._mono()
            self._core.beat(mono)
            if quick:
                return
            self._inspect()
            core = self._core
            idle = not core.in_flight and all(w.status is not Status.GRANTED for w in core.working.values())
            self._recorder.anchor(idle=idle)
            self._recorder.unblock()
            if mono - self._totalled_ns >= _TOTALS_EVERY_NS:
                self._recorder.totals(core.accounts())
                self._totalled_ns = mono
            self._recorder.settle()
            self._handle()

    def busy(self, since_ns: int) -> None:
        """Say to whoever watches that the loop is at work on one tick since then (`time.monotonic_ns`); 0: not."""
        self._sentinel.berth.busy(since_ns)

    def inspect(self) -> None:
        """The part of `heartbeat` that looks at the home, for a loop whose time is not the wall's."""
        self._sentinel.berth.beat()
        with self._lock:
            self._inspect()

    def _inspect(self) -> None:
        """Under the lock: are the files what they were? See halts and resets made by others."""
        core = self._core
        hold = self._hold
        was = core.mode
        if self._closed:
            return
        if was is Mode.HALTED and (core.in_flight or not hold.leave()):
            self._handle()  # a reset by somebody else can't be lawful yet, and a halt is nothing new
            self._make_durable()
            return
        # An engine that was hung or suspended may find that it was halted, let go, and was reset meanwhile.
        out = hold.see() and hold.leave() and not core.in_flight
        seen = self._sentinel.look(core.epoch, may_adopt=out or was is not Mode.RUNNING)
        if isinstance(seen, Fault):
            if was is not Mode.HALTED:
                core.halt(self._cause(seen.code, seen.message, "home"))
        elif isinstance(seen, Latched):
            if seen.news and was is Mode.HALTED:  # whoever set the byte that we saw; or one more halt
                cause = cause_of(seen.latch)
                if unnamed(core.cause):
                    core.cause = cause
                self._record_halt(cause, self._mono(), first=False)
        elif isinstance(seen, Rearmed):
            self._adopt(seen.latch)
        self._handle()
        if was is Mode.HALTED:
            self._make_durable()

    def _adopt(self, latch: Latch) -> None:
        """Somebody else reset the home, while this engine was out: to IDLE, in the new epoch."""
        core = self._core
        hold = self._hold
        if core.mode is not Mode.HALTED:  # halted and reset between two looks
            reason = "halted and reset by another process"
            core.halt(self._cause(HaltCode.EXTERNAL, reason, "latch"))
        self._handle()  # a halt is written down before its reset
        self._record_reset(latch, prior=core.epoch)
        self._at.fault = None
        core.adopt(ARMED, latch.epoch)
        hold.retire()
        hold.leave()
        hold.revive()

    def _make_durable(self) -> None:
        """Try again what a full disk prevented, or what was left to whoever set the byte."""
        core = self._core
        if core.mode is Mode.HALTED and not self._sentinel.durable and core.cause is not None:
            core.cause = self._sentinel.make_durable(core.cause, core.epoch, self._now())

    # -- Under the lock: what was noticed, to latch and journal -----------------------------------

    def _handle(self) -> None:
        """Latch and write down what the core noticed, what other threads asked for, and a broken journal."""
        core = self._core
        if self._late:
            self._say_late()
        while self._pending:
            self._asked(self._pending.popleft())
        if self._journal.broken is not None and core.mode is not Mode.HALTED:
            self._stop_emission()
            core.halt(self._cause(HaltCode.JOURNAL_FAILED, self._journal.broken, "journal"))
        if self._hold.page[0] != ARMED and core.mode is not Mode.HALTED and not self._asking:
            core.observe(self._hold.page[0])
        while core.notices:
            notice = core.notices.pop(0)  # one by one: an interrupt loses none of the others
            if isinstance(notice, Halted):
                self._halted(notice)
            elif isinstance(notice, Breach):
                self._recorder.note("breach", **attrs.asdict(notice))
            elif isinstance(notice, Anomaly):
                self._recorder.write("anomaly", code=notice.code, detail=records.text(notice.detail))
            else:
                assert_never(notice)
            if self._journal.broken is not None and core.mode is not Mode.HALTED:
                self._stop_emission()
                core.halt(self._cause(HaltCode.JOURNAL_FAILED, self._journal.broken, "journal"))

    def _asked(self, cause: HaltCause) -> None:
        """A halt of another thread; if the core has just seen its byte, then this is the cause of that."""
        core = self._core
        for place, notice in enumerate(core.notices):
            if isinstance(notice, Halted) and notice.first and unnamed(notice.cause):
                core.notices[place] = attrs.evolve(notice, cause=cause)
                return
        core.halt(cause)

    def _halted(self, notice: Halted) -> None:
        """The core halted: byte, latch, journal, in this order."""
        self._halted_in = self._core.epoch
        self._hold.retire()
        if not unnamed(notice.cause):  # else somebody set it, and may even have reset it since
            self._stop_emission()
        self._hold.leave()
        at_ns = self._mono()
        core = self._core
        cause = notice.cause if notice.cause.ts_us else attrs.evolve(notice.cause, ts_us=self._clock.utc_us())
        cause = self._sentinel.make_durable(cause, core.epoch, self._now(), may_wait=True)
        if notice.first or unnamed(core.cause):
            core.cause = cause
        self._recorder.unblock()
        self._record_halt(cause, at_ns, first=notice.first)
        for working in notice.voided:
            self._recorder.note("void", permit=working.number, code="HALTED")
        self._recorder.settle()
        self._settle()

    def _record_halt(self, cause: HaltCause, at_ns: int, *, first: bool) -> None:
        core = self._core
        self._recorder.halt(cause, at_ns, epoch=core.epoch, first=first, in_flight=list(core.in_flight))

    def _record_reset(self, latch: Latch, *, prior: int) -> None:
        who = latch.operator or ""
        self._recorder.write("reset", epoch=latch.epoch, prior=prior, operator=who, reason=latch.reason)

    def _now(self) -> Now:
        return Now(ts_us=self._clock.utc_us(), mono_ns=self._mono())

    def _cause(self, code: HaltCode, reason: str, source: str) -> HaltCause:
        now = self._clock.utc_us()
        return HaltCause(code=code, reason=reason, source=source, ts_us=now, epoch=self._core.epoch)

    def _settle(self) -> None:
        """Let go of the running lock once nothing is in flight and nothing can begin."""
        core = self._core
        hold = self._hold
        if core.mode is not Mode.RUNNING:
            hold.retire()
            if hold.leave() and core.mode is Mode.IDLE:
                hold.revive()
        self._sentinel.berth.tell(core.mode)
        if core.in_flight or hold.sending:
            return
        self._quiet.set()
        if self._closed:
            self._sentinel.leave()

    def _look_out(self, noted: bool) -> bool:  # noqa: FBT001 - what it returned last
        """One look. True if a halt was seen and is being written down."""
        hold = self._hold
        seen = hold.see()
        if seen and hold.leave():
            self._quiet.set()
        if self._bells:  # before anything that may need the lock
            self._ring()
        if not seen:
            return False
        if noted or self._asking or self._core.mode is Mode.HALTED:
            return noted
        self._write_down()
        return True

    def _ring(self) -> None:
        """Call those that asked to be, if this epoch is halted. It looks at the byte: a page may be dead for a stop."""
        epoch = self._core.epoch  # first: a reset changes the mode before it
        page = self._sentinel.page
        if self._core.mode is Mode.HALTED or (page is not None and page.halted):
            self._bells.ring(epoch, self._call_raised)
        elif self._halted_in:  # also one that was reset between two looks
            self._bells.ring(self._halted_in, self._call_raised)

    def _call_raised(self, said: str) -> None:
        self.anomaly("ON_HALT_RAISED", said)

    def _commit(self, number: int) -> None:
        """Without the lock: wait until the record is on the disk, together with all who wait."""
        recorder = self._recorder
        with self._commit_lock:
            if recorder.durable > number:
                return
            with self._lock:
                sealed = recorder.seal()
            if sealed is not None:
                recorder.sync(sealed)
        if self._journal.broken is not None:
            with self._lock:
                self._handle()

    # -- Opening and closing -------------------------------------------------------------------------

    def _begin_run(self, engine: str, durability: str) -> None:
        """Say that we are here; carry over what a crash left; bring the journal up to the latch."""
        at = self._at
        recorder = self._recorder
        with self._lock:
            recorder.begin(
                run=self._run,
                version=__version__,
                home=at.sentinel.identity,
                epoch=self._core.epoch,
                boot=boot_id(),
                pid=os.getpid(),
                engine=records.text(engine),
                operator=self._operator,
                durability=durability,
                limits=at.limits_sha256,
                remember=at.remember,
            )
            lost = at.salvage
            if lost is not None:
                recorder.recover(
                    sealed=lost.sealed,
                    root=lost.root,
                    torn_file=lost.torn_file,
                    torn=lost.torn,
                    salvaged=lost.records,
                )
            self._agree()
            recorder.totals(self._core.accounts())
            recorder.settle()
            if lost is not None and self._journal.broken is None:
                with contextlib.suppress(OSError):  # then it is still open, which the next attach will see to
                    at.sentinel.segment.sync()
                    carried(at.sentinel.segment.path.with_name(lost.torn_file))
            self._handle()
            if self._journal.broken is None and at.sentinel.page is not None:
                at.sentinel.begin()
            at.sentinel.introduce(self._operator, self._run)
            self._settle()

    def _agree(self) -> None:
        """Halts and resets that happened while nobody was attached get their records now."""
        at = self._at
        core = self._core
        latch = at.sentinel.latch
        zero = self._recorder.zero_ns  # such a halt was made before this run began
        halted = at.told.halted
        prior = max(at.told.epoch, 1)
        if at.told.records == 0 and latch is not None:  # a journal that begins in whatever epoch it is
            armed = latch.state == latches.ARMED  # else it says who halted, and not who armed
            who, why = (latch.operator or "", latch.reason) if armed else ("", "")
            self._recorder.note("arm", epoch=latch.epoch, operator=who, reason=why)
            prior = latch.epoch
        if latch is not None and latch.epoch > prior:
            core.epoch, epoch = prior, core.epoch
            if not halted:
                reason = "halted and reset while detached"
                self._record_halt(HaltCause(code=HaltCode.EXTERNAL, reason=reason, source="latch"), zero, first=True)
            core.epoch = epoch
            self._record_reset(latch, prior=prior)
            for account in core.accounts():
                account.begin_session()
            halted = False
        if at.fault is None and latch is not None and latch.state == latches.ARMED:
            return
        self._stop_emission()
        if at.fault is not None:
            cause = self._cause(at.fault[0], at.fault[1], "home")
        elif latch is not None:
            cause = cause_of(latch)
        else:
            cause = self._cause(HaltCode.LATCH_ABSENT, "there is no latch", "home")
        core.cause = cause
        if not halted or at.fault is not None:
            self._record_halt(cause, zero, first=not halted)
        if at.fault is not None:
            self._sentinel.make_durable(cause, core.epoch, self._now())

    def close(self) -> None:
        """Detach: stop if RUNNING (halt, if that can't drain), seal, let go of every file."""
        if self._closed or self._pid != os.getpid():
            return
        if self._core.mode is Mode.RUNNING and not self.stop("detached").stopped:
            self.halt("detached while sends were in flight", code=HaltCode.INTERNAL, timeout_s=0.0)
        with self._lock:
            self._handle()
            self._make_durable()
            self._recorder.unblock()
            self._recorder.totals(self._core.accounts())
            self._recorder.note("end", code=str(self._core.mode))
            self._recorder.settle()
            self._closed = True
            self._over.set()
            if self._watch is not None:
                self._watch.end()
            self._hold.retire()
            self._retire("detached")
            self._sentinel.segment.close()
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
        self._hold.abandon()
        self._closed = True
        self._sentinel.leave()
        self._lookout = self._watch = None
        self._bells.clear()
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._quiet = threading.Event()
        self._pending.clear()
        self._retire("a forked child")
        self._sentinel.segment.abandon()
        self._sentinel.berth.abandon()


def _accepted(working: Working, outcome: Outcome, error: BaseException) -> Verdict:
    return Verdict(accepted=True, reason=_ACCEPTED, permit=working.number, outcome=outcome, error=error)


def _let_go(sentinel: Sentinel) -> None:
    """Nobody holds the kernel any more, nor is inside one of its sends: a lock that it holds would be held for ever."""
    sentinel.hold.retire()
    sentinel.hold.leave()
    sentinel.leave()


def _look_out(of: weakref.ref[Kernel], over: threading.Event) -> None:
    """The lookout: sees the byte and lets go, although the engine's loop, strategy or disk may hang.

    It takes no lock that is held across a disk; what it sees is written down by another thread.
    """
    noted = False
    while not over.wait(_LOOK_EVERY_S):
        kernel = of()
        if kernel is None:
            return
        noted = kernel._look_out(noted)  # noqa: SLF001
        del kernel  # an engine that nobody holds any more may go


_ATTACHED: Final[weakref.WeakSet[Kernel]] = weakref.WeakSet()


def _after_fork() -> None:
    for kernel in list(_ATTACHED):
        kernel._forked()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
