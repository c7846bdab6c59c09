"""What all parts of the facade share: the state, and what is done under the lock with what was noticed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from interlock.breaker.bells import Bells
from interlock.breaker.home import Now
from interlock.breaker.quiet import InFlight
from interlock.breaker.sentinel import unnamed
from interlock.core.machine import Anomaly, Breach, Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.standing import tell
from interlock.core.values import HaltCause
from interlock.journal import records
from interlock.journal.inputs import InputRecorder
from interlock.journal.recorder import Recorder
from interlock.kernel.scribe import Scribe
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.attach import Attachment
    from interlock.breaker.latch import Latch
    from interlock.breaker.watchdog import Limits
    from interlock.breaker.watchthread import WatchThread
    from interlock.core.values import Cancel
    from interlock.kernel.signing import Signing
    from interlock.kernel.values import Clock

__all__ = ["Inside"]

_CANCEL_WAIT_S: Final = 0.05
"""For the lock."""

_RECORD_WAIT_S: Final = 0.25
"""For a cancel's record: long enough for a machine under load, as a late record is out of its order."""


@attrs.define
class Slip:
    """A cancel, as the journal is to hear of it.

    Attributes:
        cancel: which.
        number: its record's; None while it has none.
    """

    cancel: Cancel
    number: int | None = None


class Inside:
    """The state of a kernel; see `interlock.kernel.Kernel`, which it is made into."""

    def __init__(  # noqa: PLR0913 - one for each thing that `attach` can choose
        self,
        attachment: Attachment,
        *,
        operator: str,
        engine: str,
        durability: str,
        clock: Clock,
        run: str,
        watch: Limits | None,
        signing: Signing | None,
        record_inputs: bool,
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
        self._recorder = (InputRecorder if record_inputs else Recorder)(
            attachment.journal,
            mono_ns=clock.mono_ns,
            utc_us=clock.utc_us,
            run=run,
            version=__version__,
            disk=self._disk,
        )
        if attachment.whole:
            self._recorder.standing = lambda: tell(attachment.core, attachment.limits_sha256)
        self._inputs = self._recorder if isinstance(self._recorder, InputRecorder) else None
        self._operator = records.text(operator)
        self._run = run
        self._pending: deque[HaltCause] = deque()
        self._late: deque[Callable[[], None]] = deque()
        self._scribe = Scribe("interlock-cancels")
        weakref.finalize(self, self._scribe.close)
        self._engine = engine
        self._asking = 0
        self._closed = self._finishing = False
        self._signing = signing
        self._stuck = False
        self._refused_starts = Reason.ACCEPTED, 0  # why the last start was refused, and how often in a row
        self._over = threading.Event()
        self._lookout: threading.Thread | None = None
        self._bells = Bells()
        self._halted_in = 0
        self._watched = watch
        self._watch: WatchThread | None = None
        self._totalled_ns = self._recorder.zero_ns
        self._pid = os.getpid()

    # -- What it holds -------------------------------------------------------------------------------

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

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Under the lock; or without it, if whoever has it does not let go: what is seen may be old then."""
        locked = self._grab()
        try:
            yield
        finally:
            if locked:
                self._lock.release()

    def _grab(self) -> bool:
        """Take the lock, for what no hung disk may hold up. Once it was not to be had, nobody waits until it is."""
        held = self._lock.acquire(timeout=0 if self._stuck else _CANCEL_WAIT_S)
        self._stuck = not held
        return held

    def _sends(self, order_id: str) -> bool:
        return any(one.order.client_order_id == order_id for one in list(self._core.in_flight.values()))

    # -- Stopping, before anything is written --------------------------------------------------------

    def _stop_emission(self) -> None:
        """Here first, by a write to our own memory, whatever the page may be by now. Then everywhere."""
        self._hold.retire()
        self._sentinel.stop()

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

    # -- Under the lock: what was noticed, to latch and journal --------------------------------------

    def _handle(self) -> None:
        """Latch and write down what the core noticed, what other threads asked for, and a broken journal."""
        core = self._core
        if self._late:
            self._say_late()
        while self._pending:
            self._asked(self._pending.popleft())
        self._mind_the_journal()
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
            self._mind_the_journal()

    def _mind_the_journal(self) -> None:
        """Halt over a journal that broke, or that has nothing left but its reserve, which is for what must be told."""
        journal = self._journal
        why = journal.broken or journal.full
        if why is not None and self._core.mode is not Mode.HALTED:
            self._stop_emission()
            code = HaltCode.JOURNAL_FULL if journal.broken is None else HaltCode.JOURNAL_FAILED
            self._core.halt(self._cause(code, why, "journal"))

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
            self._sentinel.stop()
        self._hold.leave()
        at_ns = self._mono()
        core = self._core
        cause = notice.cause if notice.cause.ts_us else attrs.evolve(notice.cause, ts_us=self._clock.utc_us())
        cause = self._sentinel.make_durable(cause, core.epoch, self._now(), may_wait=True)
        if notice.first or unnamed(core.cause):
            core.cause = cause
        self._record_halt(cause, at_ns, first=notice.first)
        for working in notice.voided:
            self._recorder.note("void", permit=working.number, code="HALTED")
        self._recorder.settle()
        self._settle()

    def _record_halt(self, cause: HaltCause, at_ns: int, *, first: bool) -> None:
        core = self._core
        self._recorder.halt(cause, at_ns, epoch=core.epoch, first=first, in_flight=list(core.in_flight))
        self._sign("halt")

    def _record_reset(self, latch: Latch, *, prior: int) -> None:
        who = latch.operator or ""
        self._recorder.write("reset", epoch=latch.epoch, prior=prior, operator=who, reason=latch.reason)
        self._sign("reset")

    def _sign(self, why: str) -> None:
        """Have a checkpoint made, by the notary's thread and when this one has let go of the lock."""
        if self._signing is not None:
            self._signing.ask(why)

    def _make_durable(self) -> None:
        """Try again what a full disk prevented, or what was left to whoever set the byte."""
        core = self._core
        if core.mode is Mode.HALTED and not self._sentinel.durable and core.cause is not None:
            core.cause = self._sentinel.make_durable(core.cause, core.epoch, self._now())

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
        if self._closed and not self._finishing:
            self._sentinel.leave()

    @contextlib.contextmanager
    def _last_words(self) -> Iterator[None]:
        """Under the lock: once it is closed, and only so, the journal still takes what tells of the last checkpoint."""
        journal = self._journal
        why = journal.broken if self._finishing else None
        if why is not None:
            journal.broken, journal.holding = None, True  # nor does it go on in another segment
        try:
            yield
        finally:
            journal.broken = journal.broken or why

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
        if self._journal.broken is not None or self._journal.full is not None:
            with self._lock:
                self._handle()

    # -- Cancels: they say what is to be written down, and a hung disk holds up whoever writes it --------

    def _say(self, said: Callable[[], None], *, quiet: bool = False) -> None:
        """Have something of a cancel written down, and wait no longer than a hung disk deserves.

        The disk may hang under whoever has the lock, or under the very record of this cancel. So that is written by
        another thread, now or when the disk comes back, or by whoever has the lock before that.
        """
        self._late.append(said)
        if quiet and self._say_here(quiet=True):  # it only waits in memory, so it costs no other thread
            return
        try:
            saying = self._scribe.ask(self._say_all)
        except RuntimeError:  # no thread to be had: then by ourselves
            self._say_here()
            return
        try:
            raised = saying.exception(0 if self._stuck else _RECORD_WAIT_S)
        except TimeoutError:
            self._stuck = True
            saying.add_done_callback(self._came_back)
            return
        if raised is not None:
            raise raised

    def _say_here(self, *, quiet: bool = False) -> bool:
        """Say it in this thread. False if that has to wait, or, to be quiet, if it would write anything."""
        if not self._grab():
            return False
        try:
            if quiet and (len(self._late) > 1 or not self._journal.roomy):
                return False
            self._say_late()
            return True
        finally:
            self._lock.release()

    def _say_all(self) -> None:
        with self._lock:
            self._say_late()

    def _came_back(self, _: object) -> None:
        self._stuck = False

    def _say_late(self) -> None:
        """Under the lock: what cancels have said and nobody has written down."""
        while self._late:
            self._late.popleft()()

    def _say_cancel(self, slip: Slip) -> None:
        """Under the lock: it is about to leave, or has left."""
        cancel, mono = slip.cancel, self._mono()
        self._core.cancel(cancel, mono)
        order_id, instrument = records.name(cancel.client_order_id), records.name(cancel.instrument)
        slip.number = self._recorder.write("cancel", mono, id=order_id, instrument=instrument)
        if slip.number is None and not self._closed:
            self._stop_emission()  # a broken journal halts; that is latched once the cancel has left
            if self._core.mode is not Mode.HALTED and not self._pending:
                self._pending.append(self._cause(HaltCode.JOURNAL_FAILED, self._journal.broken or "", "journal"))

    def _say_cancel_end(self, slip: Slip, error: str | None) -> None:
        """Under the lock: how it ended."""
        if slip.number is not None:
            self._recorder.note("cancel_end", cancel=slip.number, error=error)
