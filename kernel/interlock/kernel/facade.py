"""The facade itself: attaching to a home, what a kernel tells of itself, and detaching."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from interlock.attach import Attachment, open_home
from interlock.breaker import latch as latches
from interlock.breaker.home import boot_id
from interlock.breaker.roster import engine_name
from interlock.breaker.sentinel import cause_of
from interlock.breaker.torn import carried
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode
from interlock.core.values import HaltCause
from interlock.journal import records
from interlock.journal.writer import SEGMENT_BYTES
from interlock.kernel.gates import Gates
from interlock.kernel.scribe import Scribe
from interlock.kernel.signing import KernelDesk, Wish, look_back
from interlock.kernel.switch import Switch
from interlock.kernel.values import Clock, SystemClock
from interlock.kernel.venue import Venue
from interlock.store.notary import EVERY, EVERY_S
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from interlock.breaker.sentinel import Sentinel
    from interlock.breaker.watchdog import Limits
    from interlock.store.witness import Witness

__all__ = ["Kernel"]


class Kernel(Switch, Gates, Venue):
    """A kernel attached to one home; see the module, and `attach`."""

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
        segment_bytes: int = SEGMENT_BYTES,
        keys: str | os.PathLike[str] | None = None,
        witnesses: Sequence[Witness] = (),
        witness_quorum: int | None = None,
        checkpoint_every_s: float = EVERY_S,
        checkpoint_every: int = EVERY,
        record_inputs: bool = False,
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
            segment_bytes: the size at which the journal goes on in a new file, at the next heartbeat.
            keys: the directory that `interlock keys issue` filled: the journal's checkpoints are signed with them.
            witnesses: who gets the checkpoints. What they have kept is compared with the journal first.
            witness_quorum: how many of those that remember anything must have answered before a start; None: all.
            checkpoint_every_s: seconds after which a checkpoint is made, if there is anything new.
            checkpoint_every: records after which one is made; one is also made at each start, halt, reset, new segment
                of the journal, and at the end.
            record_inputs: put every input of the core into the journal, ticks and heartbeats included, so that
                `interlock replay` can make every decision again. The journal then grows with the feed.

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
        if segment_bytes < 1:
            message = f"a segment has at least a byte, not {segment_bytes!r}"
            raise ValueError(message)
        run = str(uuid.UUID(run)) if run else str(uuid.uuid4())
        wish = Wish.of(keys, witnesses, witness_quorum, checkpoint_every_s, checkpoint_every)
        clock = clock or SystemClock()
        mapped = durability == "process"
        attachment = open_home(home, engine_name(engine), mapped=mapped, segment_bytes=segment_bytes)
        try:
            signing = None if wish is None else look_back(wish, attachment, clock.utc_us())
            kernel = cls(
                attachment,
                operator=operator,
                engine=engine,
                durability=durability,
                clock=clock,
                run=run,
                watch=watch,
                signing=signing,
                record_inputs=record_inputs,
            )
            kernel._open(engine, durability)
        except BaseException:
            attachment.sentinel.leave()
            raise
        return kernel

    # -- What it is ----------------------------------------------------------------------------------

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

    # -- Opening -------------------------------------------------------------------------------------

    def _open(self, engine: str, durability: str) -> None:
        """Be known to whoever forks, let go when nobody holds us any more, and say that we are here."""
        _ATTACHED.add(self)
        weakref.finalize(self, _let_go, self._sentinel).atexit = False
        self._begin_run(engine, durability)

    def _begin_run(self, engine: str, durability: str) -> None:
        """Say that we are here; carry over what a crash left; bring the journal up to the latch."""
        at = self._at
        recorder = self._recorder
        self._journal.opening = partial(_opening, at)  # not of the kernel: that would keep it alive
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
            if self._inputs is not None:
                recorder.note("inputs")
            recorder.clock_back(at.last_ts)
            self._agree()
            recorder.totals(self._core.accounts())
            recorder.settle()
            if lost is not None and self._journal.broken is None:
                with contextlib.suppress(OSError):  # then it is still open, which the next attach will see to
                    at.sentinel.segment.sync()
                    carried(at.sentinel.segment.path.with_name(lost.torn_file))
            recorder.turn()
            self._handle()
            if self._journal.broken is None and at.sentinel.page is not None:
                at.sentinel.begin()
            at.sentinel.introduce(self._operator, self._run)
            self._settle()
        self._begin_signing()

    def _begin_signing(self) -> None:
        """Say what the last run and the witnesses left unsaid, and post the notary, if he may sign."""
        signing = self._signing
        if signing is None:
            return
        missed = self._at.told.ended >= (signing.last.size if signing.last else self._at.told.ended + 1)
        if missed and signing.last is not None:
            said = f"the run before ended with record {self._at.told.ended}; the last checkpoint is {signing.last.size}"
            self.anomaly("CHECKPOINT_MISSED", said)
        for name, why in signing.lookback.silent.items():
            self.anomaly("WITNESS_SILENT", f"{name}: {why}")
        signing.begin(KernelDesk(self))

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
        if at.fault is not None:
            self._stop_emission()
            cause = self._cause(at.fault[0], at.fault[1], "home")
        elif latch is not None:
            cause = cause_of(latch)
        else:
            cause = self._cause(HaltCode.LATCH_ABSENT, "there is no latch", "home")
        self._hold.retire()  # here alone: who halted has set the byte, and somebody may have reset it since we looked
        core.cause = cause
        if not halted or at.fault is not None:
            self._record_halt(cause, zero, first=not halted)
        if at.fault is not None:
            self._sentinel.make_durable(cause, core.epoch, self._now())

    # -- Closing -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Detach: stop if RUNNING (halt, if that can't drain), seal, let go of every file."""
        if self._closed or self._pid != os.getpid():
            return
        if self._core.mode is Mode.RUNNING and not self.stop("detached").stopped:
            self.halt("detached while sends were in flight", code=HaltCode.INTERNAL, timeout_s=0.0)
        with self._lock:
            self._handle()
            self._make_durable()
            self._recorder.totals(self._core.accounts())
            self._recorder.note("end", code=str(self._core.mode))
            self._recorder.settle()
            self._closed = True
            self._over.set()
            if self._watch is not None:
                self._watch.end()
            self._hold.retire()
            self._finishing = self._signing is not None and self._journal.broken is None
            self._retire("detached")
            if not self._finishing:
                self._leave()
        if self._finishing:
            self._finish()

    def _finish(self) -> None:
        """Closed, and the end not signed yet: that is done without the lock, and nobody else writes any more."""
        try:
            if self._signing is not None:
                self._signing.finish()
        finally:
            with self._lock:
                with self._last_words():
                    self._recorder.settle()
                self._finishing = False
                self._leave()

    def _leave(self) -> None:
        self._sentinel.segment.close()
        self._settle()  # a send that is still in flight keeps both locks until it has ended

    def _retire(self, why: str) -> None:
        """From here on this kernel refuses, and neither writes nor, unless asked to, halts the home."""
        core = self._core
        if core.mode is not Mode.HALTED:
            self._bells.clear()  # before it: a lookout that comes by must not take this for a halt
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
        self._closed, self._finishing, self._signing = True, False, None
        self._sentinel.leave()
        self._lookout = self._watch = None
        self._bells.clear()
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._quiet = threading.Event()
        self._scribe = Scribe("interlock-cancels")
        self._late.clear()
        self._pending.clear()
        self._retire("a forked child")
        self._sentinel.segment.abandon()
        self._sentinel.berth.abandon()


def _opening(at: Attachment) -> dict[str, object]:
    """Whose segment begins, and with what code and limits it is written."""
    return {
        "origin": at.origin,
        "epoch": at.core.epoch,
        "boot": boot_id(),
        "version": __version__,
        "code": at.code,
        "config": at.limits_sha256,
    }


def _let_go(sentinel: Sentinel) -> None:
    """Nobody holds the kernel any more, nor is inside one of its sends: a lock that it holds would be held for ever."""
    sentinel.hold.retire()
    sentinel.hold.leave()
    sentinel.leave()


_ATTACHED: Final[weakref.WeakSet[Kernel]] = weakref.WeakSet()


def _after_fork() -> None:
    for kernel in list(_ATTACHED):
        kernel._forked()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
