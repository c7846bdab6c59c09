"""The way of an order: gate 1, gate 2, the permit and its record, the last look, the send and how it ended."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

from interlock.core.ledger import Status
from interlock.core.machine import refusal
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import PASS, Order, Outcome, Permit, Quote, Trade, Verdict, grant, withdraw
from interlock.journal import records
from interlock.kernel.inside import Inside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from interlock.core.ledger import Working

__all__ = ["Gates"]

_ACCEPTED: Final = Reason.ACCEPTED
_SENT: Final = Outcome.SENT


class Gates(Inside):
    """The part of the kernel that every tick and every order passes."""

    def consult(self, tick: Quote | Trade) -> Verdict:
        """Gate 1: may the strategy be asked about this tick? True if so."""
        lock = self._lock
        lock.acquire()
        try:
            mono = self._mono()
            recorder = self._recorder
            recorder.ticks += 1
            core = self._core
            latch = self._hold.page[0]
            verdict = core.consult(tick, latch, mono, (mono + recorder.utc_ns) // 1000)
            if self._inputs is not None:
                self._inputs.tick(tick, latch, verdict, mono)
            if verdict is not PASS:
                recorder.block(verdict, tick, mono)
            elif recorder.row is not None:
                recorder.unblock()
            if core.notices:
                self._handle()
        except BaseException:
            if self._inputs is not None:  # this tick may be lost to the journal, which was to have them all
                self._journal.broken = self._journal.broken or "interrupted between gate 1 and the record"
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
                self._withdraw(decided, Reason.JOURNAL_FAILED)
                self._handle()
                return refusal(Reason.JOURNAL_FAILED, value=self._journal.broken or self._journal.full)
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
        if self._inputs is not None:
            self._inputs.begun(working)
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


def _accepted(working: Working, outcome: Outcome, error: BaseException) -> Verdict:
    return Verdict(accepted=True, reason=_ACCEPTED, permit=working.number, outcome=outcome, error=error)
