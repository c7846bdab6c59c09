"""The orderly way out, in phases: each has a budget, and each reports.

    GATE -> DRAIN -> CANCEL -> EXIT -> SEAL -> DETACH

| phase  | what it does                                                    | if it takes too long |
|--------|-----------------------------------------------------------------|----------------------|
| GATE   | closes the gate to ticks and new orders                         | halt                 |
| DRAIN  | sends in flight end                                             | halt                 |
| CANCEL | working orders are taken back and seen over, if so configured   | go on                |
| EXIT   | positions are closed by ticket: a stop of category 1, then HALTED | halt               |
| SEAL   | RUNNING to IDLE, and the journal sealed                         | halt                 |
| DETACH | the kernel is closed, unless it is somebody else's              | go on                |

Four rules:

1. **A halt wins at any point.** The shutdown is one of category 0 from there, and says so: gate, drain and exits
   are no matter any more, the stop of the halt cancels, and what is left is sealed and detached.
2. **A phase that hangs does not hang the shutdown.** Each step is made in a thread of its own and waited for as long
   as its budget lasts; then it is reported, and the shutdown goes on or halts, as configured.
3. **What was left is named**: sends, orders, positions; orders also if their stop does not come back at all.
4. **Who waits for it beats.** `Shutdown.run` holds up the thread that calls `Kernel.heartbeat`, so it beats instead, as
   often as it comes round, until it detaches.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode
from interlock.stopping.gateways import Standing
from interlock.stopping.lane import said
from interlock.stopping.report import OrderEnd, StopOutcome
from interlock.stopping.shutdown_report import BUDGETS_S, OVERRUNS, Overrun, Phase, PhaseReport, ShutdownReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.kernel import Kernel
    from interlock.stopping.executor import StopExecutor
    from interlock.stopping.exits import Exits

__all__ = ["Shutdown"]

T = TypeVar("T")
_LOOK_S: Final = 0.005
_BEAT_S: Final = 0.25
_HALT_S: Final = 0.05
"""For writing a halt down; nobody waits for the sends that made it necessary."""

_CLOSING_S: Final = 5.0
"""How long a stop whose budget is spent may take to say what it came to: to its intent, the journal, and us."""


class Shutdown:
    """One shutdown of one kernel: `run`, or its three parts for a loop that has things to do in between.

    Args:
        kernel: attached.
        executor: sees to the orders; without it CANCEL and EXIT do nothing, and a halt's orders rest.
        cancel: take working orders back.
        exits: close positions: the shutdown is then a stop of category 1, and ends HALTED.
        detach: close the kernel at the end; False if it is somebody else's.
        budgets_s: by phase, where they are to differ from `BUDGETS_S`.
        overruns: by phase, where they are to differ from the table in the module's docstring.
        now_ns: the monotonic clock that phases are measured with.
    """

    def __init__(  # noqa: PLR0913 - the parts of a shutdown
        self,
        kernel: Kernel,
        *,
        executor: StopExecutor | None = None,
        cancel: bool = False,
        exits: Exits | None = None,
        detach: bool = True,
        budgets_s: Mapping[Phase, float] | None = None,
        overruns: Mapping[Phase, Overrun] | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._kernel = kernel
        self._executor = executor
        self._cancel = cancel
        self._exits = exits
        self._detach = detach
        self._budgets_s = {**BUDGETS_S, **(budgets_s or {})}
        self._overruns = {**OVERRUNS, **(overruns or {})}
        self._now_ns = now_ns
        self._phases: list[PhaseReport] = []
        self._began_ns: int | None = None
        self._reason = ""
        self._category: int | None = None
        self._stop: StopOutcome | None = None
        self._stopped = False
        self._halted = ""
        self._unheard = False
        self._pulse: _Pulse | None = None

    def run(self, reason: str = "shutdown") -> ShutdownReport:
        """Go through all phases, and beat meanwhile. To be called once, from any thread but one that a send is in."""
        self._pulse = _Pulse(self._kernel)
        try:
            self.gate(reason)
            self.drain()
            return self.finish()
        finally:
            self._pulse.end()

    # -- The parts -------------------------------------------------------------------------------

    def gate(self, reason: str) -> None:
        """GATE: from here on no new order is let in. A second call changes nothing."""
        if self._began_ns is not None:
            return
        self._began_ns = self._now_ns()
        self._reason = reason
        kernel = self._kernel
        self._phase(Phase.GATE, lambda _: kernel.drain(reason), lambda _: "gate closed", self._sends)

    def drain(self) -> None:
        """DRAIN: wait for the sends in flight."""
        sends = len(self._kernel.in_flight())

        def wait(over: threading.Event) -> None:
            while self._kernel.in_flight() and not over.wait(_LOOK_S):
                pass

        self._phase(Phase.DRAIN, wait, lambda _: f"{sends} sends were in flight", self._sends)

    def finish(self) -> ShutdownReport:
        """The other phases."""
        stopping = self._executor
        if stopping is not None:
            if self._exits is not None:
                self._close_positions(stopping)
            elif self._cancel:
                self._clear(stopping)
        self._category_0()
        self._seal()
        if self._halted:  # by now it is written down who halted, and why
            self._halted = self._why()
        if self._detach:
            if self._pulse is not None:
                self._pulse.end()
            self._phase(Phase.DETACH, lambda _: self._kernel.close(), lambda _: "detached", _nothing, always=True)
        return ShutdownReport(
            phases=tuple(self._phases),
            category=self._category,
            stopped=self._stopped,
            halted=self._halted,
            stop=self._stop,
            took_ns=self._now_ns() - (self._began_ns or 0),
        )

    # -- One phase -------------------------------------------------------------------------------

    def _phase(
        self,
        phase: Phase,
        act: Callable[[threading.Event], T],
        did: Callable[[T], str],
        left: Callable[[T | None], tuple[str, ...]],
        *,
        always: bool = False,
        least_s: float = 0.0,
    ) -> T | None:
        """Do one phase in a thread of its own, as long as its budget lasts and nobody halts.

        Args:
            phase: which.
            act: what to do; its event is set once nobody waits for it any more.
            did: what it did, in words, from what it returned.
            left: what it left, from what it returned; None if nothing was heard of it in time.
            always: also if it is HALTED.
            least_s: for a phase that has to have a longer budget than was given.

        Returns:
            What the act returned; None if it raised or was not waited for any longer. What it does then is its own.
        """
        if not always and self._is_halted():
            return None
        began_ns = self._now_ns()
        budget_s = max(self._budgets_s[phase], least_s)
        deadline = time.monotonic() + budget_s
        done, over = threading.Event(), threading.Event()
        results: list[T] = []
        raised: list[str] = []

        def run() -> None:
            try:
                results.append(act(over))
            except BaseException as error:  # noqa: BLE001 - a step that raised is reported, and did not succeed
                raised.append(said(error))
            finally:
                done.set()

        try:
            threading.Thread(target=run, name=f"shutdown {phase}", daemon=True).start()
        except RuntimeError as error:  # no thread to be had: it is a step that raised
            raised.append(said(error))
            done.set()
        while not done.wait(max(0.0, min(_LOOK_S, deadline - time.monotonic()))):
            if self._pulse is not None:
                self._pulse.turn()
            if time.monotonic() >= deadline or (not always and self._is_halted()):
                break
        over.set()
        ended = done.is_set() and not raised
        result = results[0] if ended else None
        halted = not always and self._is_halted()
        told = did(results[0]) if ended else raised[0] if raised else "cut short by a halt" if halted else "out of time"
        took_ns = self._now_ns() - began_ns
        report = PhaseReport(
            phase=phase, did=told, left=left(result), took_ns=took_ns, budget_s=budget_s, in_budget=ended or halted
        )
        self._phases.append(report)
        if not report.in_budget and self._overruns[phase] is Overrun.HALT:
            self._halt(phase, told)
        return result

    def _halt(self, phase: Phase, told: str) -> None:
        if self._kernel.mode is not Mode.HALTED:
            reason = f"shutdown: {phase} did not come to its end: {told}"
            self._kernel.halt(reason, code=HaltCode.INTERNAL, source="shutdown", timeout_s=_HALT_S)

    def _is_halted(self) -> bool:
        return self._kernel.mode is Mode.HALTED

    def _sends(self, _: object = None) -> tuple[str, ...]:
        return tuple(one.client_order_id for one in self._kernel.in_flight())

    # -- Orders and positions --------------------------------------------------------------------

    def _clear(self, stopping: StopExecutor) -> None:
        """CANCEL: working orders are taken back within the budget; to say what became of them it may take longer."""
        budget_s = self._budgets_s[Phase.CANCEL]
        stop = self._phase(
            Phase.CANCEL,
            lambda _: stopping.clear(budget_s).result(),
            _told,
            self._unfinished,
            least_s=budget_s + _CLOSING_S,
        )
        if self._is_halted() or self._phases[-1].phase is not Phase.CANCEL:
            return  # the stop of the halt tells what became of them
        self._stop = stop or self._nothing_heard()
        if self._stop.escalated:
            self._phases[-1] = attrs.evolve(self._phases[-1], in_budget=False)
            if self._overruns[Phase.CANCEL] is Overrun.HALT:
                self._halt(Phase.CANCEL, "orders are not known to be over")

    def _close_positions(self, stopping: StopExecutor) -> None:
        """EXIT: the stop of category 1. A halt does not cut it short: it cuts itself short then."""
        if self._is_halted():
            return
        stop = self._phase(
            Phase.EXIT,
            lambda _: stopping.controlled(self._reason, self._exits).result(),
            _told,
            self._unfinished,
            always=True,
        )
        if stop is not None:
            self._stop, self._category = stop, stop.category
        elif not self._is_halted():  # else the stop of the halt is waited for
            self._stop = self._nothing_heard()

    def _category_0(self) -> None:
        """A halt has won, or the exits ended in one."""
        if not self._is_halted():
            return
        self._halted = self._why()
        if self._category is not None:
            return
        self._category = 0
        if self._executor is None:
            return
        stopping = self._executor
        stop = self._phase(
            Phase.CANCEL,
            lambda _: stopping.halted().result(),
            lambda _: "category 0: the stop of the halt",
            self._unfinished,
            always=True,
            least_s=self._patience_s(stopping),
        )
        self._stop = stop or self._nothing_heard()

    def _why(self) -> str:
        cause = self._kernel.cause
        return f"{cause.code}: {cause.reason}" if cause is not None else "HALTED"

    def _patience_s(self, stopping: StopExecutor) -> float:
        """How long a stop of a halt may take by its own pace, which is not to be cut off."""
        pace = stopping.pace
        longest_s = pace.budget_s + _CLOSING_S
        return longest_s if self._exits is None else longest_s + pace.exit_s + pace.budget_s

    def _nothing_heard(self) -> StopOutcome:
        """The stop did not come back in time: whatever works is UNKNOWN, and told as that."""
        self._unheard = True
        problem = "the stop did not come to its end in time"
        return StopOutcome(
            stop="",
            category=0,
            asked=0 if self._exits is None else 1,
            orders=tuple(
                OrderEnd(
                    client_order_id=order.client_order_id,
                    instrument=order.instrument,
                    gateway="",
                    standing=Standing.UNKNOWN,
                    problem=problem,
                )
                for order in self._kernel.working_orders()
            ),
            durable=False,
            problems=(problem,),
        )

    def _unfinished(self, stop: StopOutcome | None) -> tuple[str, ...]:
        if stop is None:
            return tuple(one.client_order_id for one in self._kernel.working_orders())
        held = tuple(f"{size:f} {name}" for name, size in (stop.positions or {}).items()) if self._exits else ()
        return tuple(end.client_order_id for end in stop.escalated) + held

    # -- The end ---------------------------------------------------------------------------------

    def _seal(self) -> None:
        kernel = self._kernel

        def seal(_: threading.Event) -> bool:
            stop = self._stop
            if self._unheard and stop is not None:
                names = ", ".join(end.client_order_id for end in stop.escalated)
                kernel.anomaly("STOP_ESCALATED", f"{stop.problems[0]}; not known to be over: {names or 'nothing'}")
            if self._is_halted():
                kernel.inspect()
                kernel.seal()  # the stop told the journal what it came to after its last seal
                return False
            if kernel.mode is Mode.RUNNING:
                stopped = kernel.stop(self._reason, timeout_s=self._budgets_s[Phase.SEAL])
                if not stopped.stopped and not self._is_halted():
                    raise TimeoutError(stopped.reason)
                return stopped.stopped
            return True

        def did(idle: bool) -> str:  # noqa: FBT001 - what the act returned
            return "sealed, IDLE" if idle else "sealed, HALTED"

        self._stopped = self._phase(Phase.SEAL, seal, did, self._sends, always=True) or False
        if self._category is None:
            self._category_0()


class _Pulse:
    """Beats for a loop that a shutdown holds up, once that comes round; in a thread, as the disk may hang."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._due, self._over = threading.Event(), False
        self._next = 0.0
        with contextlib.suppress(RuntimeError):  # no thread to be had: then nobody beats, and whoever watches sees that
            threading.Thread(target=self._work, name="shutdown beats", daemon=True).start()

    def turn(self) -> None:
        """The shutdown has come round."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _BEAT_S
            self._due.set()

    def end(self) -> None:
        """Beat no more; it does not wait for a beat that hangs."""
        self._over = True
        self._due.set()

    def _work(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._over:
                return
            with contextlib.suppress(Exception):  # what is wrong with the kernel shows in the phases
                self._kernel.heartbeat()


def _nothing(_: object) -> tuple[str, ...]:
    return ()


def _told(stop: StopOutcome) -> str:
    over = f"{len(stop.orders) - len(stop.escalated)} of {len(stop.orders)} orders over"
    return over + (f", {len(stop.exits)} exits" if stop.exits else "")
