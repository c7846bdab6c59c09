"""The machine over the right kernel, and over kernels with a seeded bug, each of which it must catch."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.helpers import of_kind

from interlock import Cancel, HaltReport, Kernel, Mode, Order, Permit, Reason
from interlock.breaker.home import Home, Now
from interlock.core.ledger import Status, Working
from interlock.core.modes import ARMED
from interlock.core.preorder import Core
from interlock.core.values import Verdict, grant
from interlock.journal import records
from interlock.journal.recorder import Recorder

from .machine import KernelMachine

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


class TestKernel(KernelMachine.TestCase):  # type: ignore[misc,valid-type]
    """Whatever is done to the real kernel, the oracle finds nothing."""

    settings = settings(max_examples=120, stateful_step_count=50, suppress_health_check=CHECKS)


@pytest.mark.long
class TestKernelLong(KernelMachine.TestCase):  # type: ignore[misc,valid-type]
    """The same, for minutes and with longer lives."""

    settings = settings(max_examples=1_000, stateful_step_count=120, suppress_health_check=CHECKS)


# -- Seeded bugs -----------------------------------------------------------------------------------


class NoLastLook(Kernel):
    """Sends what gate 2 let through, without another look at the latch."""

    def _begin(self, working: Working) -> Permit | None:
        working.begun_ns = self._mono()
        working.thread = 0
        self._hold.sending[working.number] = -1
        self._core.begin(working, ARMED)
        self._core.in_flight[working.number] = working
        return grant(working.order, working.number, self._core.epoch)


class NoLookAtTheByte(Kernel):
    """Looks at its own mode before a send, and not at the byte that others can zero."""

    def _begin(self, working: Working) -> Permit | None:
        working.begun_ns = self._mono()
        working.thread = 0
        self._hold.sending[working.number] = -1
        if not self._core.begin(working, ARMED):
            return None
        return grant(working.order, working.number, self._core.epoch)


class JournalAfterSend(Kernel):
    """Writes the permit's record when its outcome is known."""

    def _decide(self, order: Order) -> Working | Verdict:
        real = self._journal.write
        mine: Any = self._journal.note
        journal: Any = self._journal

        class Late:
            """The journal, whose writes wait."""

            def __getattr__(self, name: str) -> object:
                return mine if name == "write" else getattr(journal, name)

        self._recorder.journal = Late()  # type: ignore[assignment]
        try:
            return super()._decide(order)
        finally:
            self._recorder.journal = journal
            del real


class SendsWhatWasQueued(Kernel):
    """An order that is refused because of a halt is sent all the same: it was queued before."""

    def submit(self, order: Order, send: Callable[[Permit], object]) -> Verdict:
        """Send although it was refused."""
        verdict = super().submit(order, send)
        if verdict.reason is Reason.HALTED and self._recorder.permits:
            send(grant(order, 0, self._core.epoch))
        return verdict


class ResetsAnyEpoch(Kernel):
    """Takes any epoch for a reset."""

    def reset(self, *, operator: str, reason: str, epoch: int) -> None:
        """Reset, wrongly."""
        del epoch
        super().reset(operator=operator, reason=reason, epoch=self._core.epoch)


class StartsAfterReset(Kernel):
    """A reset starts."""

    def reset(self, *, operator: str, reason: str, epoch: int) -> None:
        """Reset, wrongly."""
        super().reset(operator=operator, reason=reason, epoch=epoch)
        self.start()


class RearmsOnRestart(Kernel):
    """Comes up armed, whatever there was."""

    @classmethod
    def attach(cls, home: Any, **given: Any) -> Any:
        """Attach, armed."""
        place = Home(home)
        latch, _, _ = place.latch_state()
        if latch is not None and latch.state == "HALTED":
            now = Now(ts_us=0, mono_ns=0)
            place.reset(epoch=latch.epoch, known_epoch=latch.epoch, operator="x", reason="restart", now=now)
        return super().attach(home, **given)


class ForgetsReservations(Kernel):
    """Counts only fills against the position limit."""

    class _Core(Core):
        __slots__ = ()

        def regrant(self, working: Working) -> None:
            buying, selling = working.book.buying, working.book.selling
            super().regrant(working)
            working.book.buying, working.book.selling = buying, selling

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._core.__class__ = self._Core


class CancelsOnlyWhileArmed(Kernel):
    """Refuses cancels while HALTED."""

    def cancel(self, cancel: Cancel, send: Any) -> Any:
        """Cancel, perhaps."""
        if self.mode is Mode.HALTED:
            return None
        return super().cancel(cancel, send)


class NeverInspects(Kernel):
    """Does not look whether the files are still there."""

    def _inspect(self) -> None:
        self._handle()


class AcksAtOnce(Kernel):
    """Confirms a halt without looking at what is in flight."""

    def halt(self, reason: str, **given: Any) -> HaltReport:
        """Halt, and say that all is quiet."""
        report = super().halt(reason, **given)
        return HaltReport(
            confirmed=True, durable=report.durable, recorded=report.recorded, cause=report.cause, in_flight=()
        )


class KeepsPermitsGood(Kernel):
    """Does not withdraw a permit after its send."""

    def _ended(self, working: Working, permit: Permit, result: object) -> None:
        super()._ended(working, grant(working.order, 0, 0), result)
        del permit


class ForgetsTheUnknown(Kernel):
    """Takes an order whose send raised for one that never left."""

    def _failed(self, working: Working, said: str) -> None:
        super()._failed(working, said)
        self._core.working.pop(working.order.client_order_id)
        working.status = Status.GRANTED
        self._core._void(working)


class GoesBackInTime(Kernel):
    """Writes the records of a heartbeat with the time at which it began a second earlier."""

    class _Recorder(Recorder):
        __slots__ = ()

        def _head(self, kind: str, mono: int) -> dict[str, object]:
            if kind == "beat":
                return records.head(self.journal.next(), kind, 1, 0)
            return super()._head(kind, mono)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._recorder.__class__ = self._Recorder


BUGS: dict[type[Kernel], str] = {
    NoLastLook: "NoEmitAfterHalt",
    NoLookAtTheByte: "NoEmitAfterHalt",
    JournalAfterSend: "JournalBeforeEmit",
    SendsWhatWasQueued: r"NoEmitAfterHalt|JournalBeforeEmit|bool\(verdict\) is bool\(kept\)",
    ResetsAnyEpoch: "another epoch",
    StartsAfterReset: "reset started something",
    RearmsOnRestart: "HaltIsLatching",
    ForgetsReservations: "limits: the venue saw",
    CancelsOnlyWhileArmed: "CancelsAlwaysPass",
    NeverInspects: "AssertionError",
    AcksAtOnce: "AckMeansQuiescent",
    KeepsPermitsGood: "OnePermitOneSend",
    ForgetsTheUnknown: "forgotten",
    GoesBackInTime: "mono goes back|UTC moves by",
}
"""What is wrong, and the words by which the machine tells."""


@pytest.mark.parametrize("bug", BUGS)
def test_seeded_bug_is_caught(bug: type[Kernel]) -> None:
    """The machine fails on a kernel with this defect, and for the reason that it has."""
    seen: list[str] = []

    class Buggy(KernelMachine):
        kernel_class = bug

        def teardown(self) -> None:
            seen.append(str(self.broken))  # a life that a thread decided is not the same once more, and not told then
            super().teardown()

    for _ in range(5):  # threads decide which of its symptoms is met first
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - whose words are looked at below
            run_state_machine_as_test(
                Buggy,
                settings=settings(
                    max_examples=200,
                    stateful_step_count=40,
                    phases=[Phase.generate],
                    suppress_health_check=CHECKS,
                    report_multiple_bugs=False,
                ),
            )
        seen += traceback.format_exception(caught.value)
        if re.search(BUGS[bug], "\n".join(seen)):
            return
    raise AssertionError("\n".join(seen))


def test_machine_is_not_idle(record_property: Callable[[str, object], None]) -> None:
    """The machine's lives do reach the venue, halts, resets and restarts; a machine that does nothing finds nothing."""
    counts = Counter[str]()

    class Counted(KernelMachine):
        def teardown(self) -> None:
            counts["seen"] += len(self.world.ids)
            counts["resets"] += self.world.epoch - 1
            counts["halts"] += len(of_kind(self.home, "halt"))
            counts["runs"] += len(of_kind(self.home, "run"))
            super().teardown()

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=30, stateful_step_count=40, phases=[Phase.generate], suppress_health_check=CHECKS
        ),
    )
    for what, count in counts.items():
        record_property(what, count)
    assert all(counts[what] > 30 for what in ("seen", "resets", "halts", "runs")), counts
