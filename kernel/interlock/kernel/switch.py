"""The modes: start, drain and stop, halt, reset; and the lookout, which sees a halt although the loop hangs."""

from __future__ import annotations

import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

from interlock.attach import highest_epoch
from interlock.breaker.home import HomeError
from interlock.breaker.kill import Kill, bounded
from interlock.breaker.quiet import Quiet
from interlock.breaker.watchthread import WatchThread
from interlock.core.machine import refusal
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import HaltCause, Verdict
from interlock.journal import records
from interlock.kernel.looks import Looks
from interlock.kernel.signing import KernelDesk
from interlock.kernel.values import HaltReport, StopReport
from interlock.store.courier import counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.tickets import Ticket

__all__ = ["Switch"]

_ENTRIES: Final = 3
_LOOK_EVERY_S: Final = 0.005
_OWN_WAIT_S: Final = 0.05


class Switch(Looks):
    """The part of the kernel that changes the mode."""

    # -- Starting ------------------------------------------------------------------------------------

    def start(self, session: str | None = None) -> Verdict:
        """IDLE to RUNNING.

        Args:
            session: a label (a trading day, say); a new one begins a new session of profit and loss.

        Returns:
            True if it is RUNNING now; else the refusal.
        """
        verdict = self._start(session if session is None else records.text(session))
        if not verdict:
            self._tell_refused(verdict)
        return verdict

    def _tell_refused(self, verdict: Verdict) -> None:
        """A start that was refused is a decision, too: told the first time for each reason, and at each doubling."""
        with self._lock:
            reason, count = self._refused_starts
            count = count + 1 if reason is verdict.reason else 1
            self._refused_starts = verdict.reason, count
            if self._closed or not counts(count):
                return
            why = ", ".join(filter(None, (verdict.limit, verdict.value)))
            detail = f"{verdict.reason}{f' ({why})' if why else ''}, {count} in a row"
            self._recorder.write("anomaly", code="START_REFUSED", detail=records.text(detail))
            self._handle()

    def _start(self, session: str | None) -> Verdict:
        kept_out = self._look_back()
        if kept_out is not None:
            return kept_out
        with self._lock:
            kept_out = self._enter()
            if kept_out is not None:
                return kept_out
            latch = self._sentinel.latch
            mono = self._mono()
            verdict = self._core.start(self._hold.page[0], latch.epoch if latch else 0, mono, session)
            if verdict:
                who = self._operator
                said = self._recorder.write("start", mono, epoch=self._core.epoch, operator=who, session=session)
                self._recorder.unblock()  # before the totals that count what is in it
                self._recorder.totals(self._core.accounts())  # where the session opens
                if said is None:
                    verdict = refusal(Reason.JOURNAL_FAILED)
            self._handle()
            self._settle()
            if self._core.mode is Mode.RUNNING:
                self._quiet.clear()
                self._refused_starts = Reason.ACCEPTED, 0
                self._sign("start")
            return verdict

    def _look_back(self) -> Verdict | None:
        """Without the lock, since witnesses may be far away: why a journal that is signed does not start, or None."""
        signing = self._signing
        if signing is None:
            return None
        before = signing.rolled_back
        kept_out = signing.keeps_out(self._clock.utc_us())
        if signing.rolled_back is not None and before is None:
            self.halt(signing.rolled_back, code=HaltCode.JOURNAL_ROLLED_BACK, source="witness")
        elif kept_out is None and not signing.begin(KernelDesk(self)):
            return refusal(Reason.HALTED, "notary", "no thread to be had")
        return kept_out

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

    # -- Stopping in order ---------------------------------------------------------------------------

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
                    self._recorder.refused.ticketed.add(ticket.client_order_id)
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

    # -- Halting, and letting it start again ---------------------------------------------------------

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
        timeout_s = bounded(timeout_s)
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
            self._journal.room()
            if self._journal.full is not None:
                raise HomeError(HaltCode.JOURNAL_FULL, self._journal.full)
            self._sentinel.home.reset(
                epoch=epoch,
                known_epoch=self._core.epoch,
                operator=operator,
                reason=reason,
                now=self._now(),
                others=partial(highest_epoch, self._sentinel.home),
            )
            self._inspect()

    # -- The lookout ---------------------------------------------------------------------------------

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


def _look_out(of: weakref.ref[Switch], over: threading.Event) -> None:
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
