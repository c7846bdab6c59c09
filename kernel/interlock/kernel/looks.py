"""The heartbeat: how a kernel looks whether its home is what it was, and takes over what others did to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.breaker.sentinel import Fault, Latched, Rearmed, cause_of, unnamed
from interlock.core.ledger import Status
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode
from interlock.journal import records
from interlock.kernel.inside import Inside

if TYPE_CHECKING:
    from interlock.breaker.latch import Latch

__all__ = ["Looks"]

_TOTALS_EVERY_NS: Final = 10_000_000_000


class Looks(Inside):
    """The part of the kernel that looks."""

    # -- Heartbeat -----------------------------------------------------------------------------------

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
            if self._inputs is not None:
                self._inputs.heartbeat(mono)
            if quick:
                return
            self._inspect()
            core = self._core
            idle = not core.in_flight and all(w.status is not Status.GRANTED for w in core.working.values())
            self._recorder.anchor(idle=idle)
            self._recorder.close_rows()
            if mono - self._totalled_ns >= _TOTALS_EVERY_NS:
                self._recorder.totals(core.accounts())
                self._totalled_ns = mono
            self._recorder.settle()
            self._recorder.turn()
            self._handle()

    def busy(self, since_ns: int) -> None:
        """Say to whoever watches that the loop is at work on one tick since then (`time.monotonic_ns`); 0: not."""
        self._sentinel.berth.busy(since_ns)

    def inspect(self) -> None:
        """The part of `heartbeat` that looks at the home, for a loop whose time is not the wall's."""
        self._sentinel.berth.beat()
        with self._lock:
            self._inspect()

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

    def _inspect(self) -> None:
        """Under the lock: are the files what they were? See halts and resets made by others."""
        core = self._core
        hold = self._hold
        was = core.mode
        self._journal.room()
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
