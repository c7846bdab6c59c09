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

Three rules:

1. **A halt wins at any point.** The shutdown is one of category 0 from there, and says so: gate, drain and exits
   are no matter any more, the stop of the halt cancels, and what is left is sealed and detached.
2. **A phase that hangs does not hang the shutdown.** Each step is made in a thread of its own and waited for as long
   as its budget lasts; then it is reported, and the shutdown goes on or halts, as configured.
3. **What was left is named**: sends, orders, positions.
"""

from __future__ import annotations

import enum
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode
from interlock.stopping.lane import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.kernel import Kernel
    from interlock.stopping.executor import StopExecutor
    from interlock.stopping.exits import Exits
    from interlock.stopping.report import StopOutcome

__all__ = ["BUDGETS_S", "Overrun", "Phase", "PhaseReport", "Shutdown", "ShutdownReport"]

_LOOK_S: Final = 0.005
_HALT_S: Final = 0.05
"""For writing a halt down; nobody waits for the sends that made it necessary."""


class Phase(enum.StrEnum):
    """A phase; in their order."""

    GATE = "gate"
    DRAIN = "drain"
    CANCEL = "cancel"
    EXIT = "exit"
    SEAL = "seal"
    DETACH = "detach"


class Overrun(enum.StrEnum):
    """What becomes of a shutdown one of whose phases took longer than its budget."""

    GO_ON = "go on"
    HALT = "halt"


BUDGETS_S: Final[Mapping[Phase, float]] = {
    Phase.GATE: 1.0,
    Phase.DRAIN: 5.0,
    Phase.CANCEL: 10.0,
    Phase.EXIT: 30.0,
    Phase.SEAL: 5.0,
    Phase.DETACH: 5.0,
}
"""The budget of each phase, if none is given, in seconds."""

_OVERRUNS: Final[Mapping[Phase, Overrun]] = {
    Phase.GATE: Overrun.HALT,
    Phase.DRAIN: Overrun.HALT,
    Phase.CANCEL: Overrun.GO_ON,
    Phase.EXIT: Overrun.HALT,
    Phase.SEAL: Overrun.HALT,
    Phase.DETACH: Overrun.GO_ON,
}


@attrs.frozen(kw_only=True)
class PhaseReport:
    """What one phase did.

    Attributes:
        phase: which.
        did: what it did, for people.
        left: what it left behind, by name: sends, orders, positions.
        took_ns: how long it took, monotonic.
        budget_s: how long it had.
        in_budget: whether it came to its end within that.
    """

    phase: Phase
    did: str
    left: tuple[str, ...] = ()
    took_ns: int
    budget_s: float
    in_budget: bool


@attrs.frozen(kw_only=True)
class ShutdownReport:
    """What a shutdown came to.

    Attributes:
        phases: each that was gone through, in order.
        category: None for an orderly stop; 1 if it closed positions; 0 if a halt made it one.
        stopped: whether it reached IDLE, drained and sealed.
        halted: why it is HALTED; empty if it is not.
        stop: what became of the orders, if any were seen to.
        took_ns: how long it took, monotonic.
    """

    phases: tuple[PhaseReport, ...]
    category: int | None
    stopped: bool
    halted: str = ""
    stop: StopOutcome | None = None
    took_ns: int = 0

    def as_json(self) -> dict[str, object]:
        """The report as plain data."""
        return {
            "category": self.category,
            "stopped": self.stopped,
            "halted": self.halted,
            "took_ns": self.took_ns,
            "phases": [attrs.asdict(one) | {"phase": str(one.phase)} for one in self.phases],
        }


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
        self._overruns = {**_OVERRUNS, **(overruns or {})}
        self._now_ns = now_ns
        self._phases: list[PhaseReport] = []
        self._began_ns: int | None = None
        self._reason = ""
        self._category: int | None = None
        self._stop: StopOutcome | None = None
        self._stopped = False
        self._halted = ""

    def run(self, reason: str = "shutdown") -> ShutdownReport:
        """Go through all phases. To be called once, from any thread but one that a send is in."""
        self.gate(reason)
        self.drain()
        return self.finish()

    # -- The parts -------------------------------------------------------------------------------

    def gate(self, reason: str) -> None:
        """GATE: from here on no new order is let in. A second call changes nothing."""
        if self._began_ns is not None:
            return
        self._began_ns = self._now_ns()
        self._reason = reason
        kernel = self._kernel
        self._phase(Phase.GATE, lambda: kernel.drain(reason), lambda: "gate closed", self._sends)

    def drain(self) -> None:
        """DRAIN: wait for the sends in flight."""
        sends = len(self._kernel.in_flight())

        def wait() -> None:
            while self._kernel.in_flight():
                time.sleep(_LOOK_S)

        self._phase(Phase.DRAIN, wait, lambda: f"{sends} sends were in flight", self._sends)

    def finish(self) -> ShutdownReport:
        """The other phases."""
        if self._cancel and self._executor is not None and self._exits is None:
            self._seen_off(Phase.CANCEL, self._clear)
        if self._exits is not None and self._executor is not None and not self._is_halted():
            self._seen_off(Phase.EXIT, self._controlled)
        self._category_0()
        self._seal()
        if self._detach:
            self._phase(Phase.DETACH, self._kernel.close, lambda: "detached", tuple, always=True)
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
        act: Callable[[], object],
        did: Callable[[], str],
        left: Callable[[], tuple[str, ...]],
        *,
        always: bool = False,
    ) -> None:
        """Do one phase in a thread of its own, as long as its budget lasts and nobody halts."""
        if not always and self._is_halted():
            return
        began_ns = self._now_ns()
        budget_s = self._budgets_s[phase]
        deadline = time.monotonic() + budget_s
        done = threading.Event()
        raised: list[str] = []

        def run() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - a step that raised is reported, and did not succeed
                raised.append(said(error))
            finally:
                done.set()

        threading.Thread(target=run, name=f"shutdown {phase}", daemon=True).start()
        while not done.wait(max(0.0, min(_LOOK_S, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or (not always and self._is_halted()):
                break
        ended = done.is_set() and not raised
        halted = not always and self._is_halted()
        told = did() if ended else raised[0] if raised else "cut short by a halt" if halted else "out of time"
        took_ns = self._now_ns() - began_ns
        report = PhaseReport(
            phase=phase, did=told, left=left(), took_ns=took_ns, budget_s=budget_s, in_budget=ended or halted
        )
        self._phases.append(report)
        if not report.in_budget and self._overruns[phase] is Overrun.HALT:
            self._halt(phase, told)

    def _halt(self, phase: Phase, told: str) -> None:
        if self._kernel.mode is not Mode.HALTED:
            reason = f"shutdown: {phase} did not come to its end: {told}"
            self._kernel.halt(reason, code=HaltCode.INTERNAL, source="shutdown", timeout_s=_HALT_S)

    def _is_halted(self) -> bool:
        return self._kernel.mode is Mode.HALTED

    def _sends(self) -> tuple[str, ...]:
        return tuple(one.client_order_id for one in self._kernel.in_flight())

    # -- Orders and positions --------------------------------------------------------------------

    def _seen_off(self, phase: Phase, act: Callable[[], object]) -> None:
        def did() -> str:
            stop = self._stop
            if stop is None:
                return "nothing"
            return f"{len(stop.orders) - len(stop.escalated)} of {len(stop.orders)} orders over" + (
                f", {len(stop.exits)} exits" if stop.exits else ""
            )

        self._phase(phase, act, did, self._unfinished, always=phase is Phase.EXIT)
        if phase is Phase.CANCEL and self._stop is not None and self._stop.escalated:
            if self._overruns[phase] is Overrun.HALT:
                self._halt(phase, "orders are not known to be over")
            last = self._phases[-1]
            self._phases[-1] = attrs.evolve(last, in_budget=False)

    def _unfinished(self) -> tuple[str, ...]:
        stop = self._stop
        if stop is None:
            return tuple(one.client_order_id for one in self._kernel.working_orders())
        held = tuple(f"{size:f} {name}" for name, size in (stop.positions or {}).items()) if self._exits else ()
        return tuple(end.client_order_id for end in stop.escalated) + held

    def _clear(self) -> None:
        if self._executor is None:
            return
        cleared = self._executor.clear(self._budgets_s[Phase.CANCEL]).result()
        if not self._is_halted():  # else the stop of the halt tells what became of them
            self._stop = cleared

    def _controlled(self) -> None:
        if self._executor is None:
            return
        stop = self._executor.controlled(self._reason, self._exits).result()
        if self._category is None:  # nobody has ceased to wait for it
            self._stop, self._category = stop, stop.category

    def _category_0(self) -> None:
        """A halt has won, or the exits ended in one."""
        if not self._is_halted():
            return
        cause = self._kernel.cause
        self._halted = f"{cause.code}: {cause.reason}" if cause is not None else "HALTED"
        if self._category is not None:
            return
        self._category = 0
        if self._executor is None:
            return
        stopping = self._executor

        def see_off() -> None:
            self._stop = stopping.halted().result()

        self._phase(Phase.CANCEL, see_off, lambda: "category 0: the stop of the halt", self._unfinished, always=True)

    # -- The end ---------------------------------------------------------------------------------

    def _seal(self) -> None:
        kernel = self._kernel

        def seal() -> None:
            if self._is_halted():
                kernel.inspect()
                return
            if kernel.mode is Mode.RUNNING:
                stopped = kernel.stop(self._reason, timeout_s=self._budgets_s[Phase.SEAL])
                if not stopped.stopped and not self._is_halted():
                    raise TimeoutError(stopped.reason)
                self._stopped = stopped.stopped
            else:
                self._stopped = True

        def did() -> str:
            return "sealed, IDLE" if self._stopped else "sealed, HALTED"

        self._phase(Phase.SEAL, seal, did, self._sends, always=True)
        if self._category is None:
            self._category_0()
