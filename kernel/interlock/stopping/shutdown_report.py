"""The phases of a shutdown: their names, how long each may take, and what it reports."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.stopping.report import StopOutcome

__all__ = ["BUDGETS_S", "OVERRUNS", "Overrun", "Phase", "PhaseReport", "ShutdownReport"]


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

OVERRUNS: Final[Mapping[Phase, Overrun]] = {
    Phase.GATE: Overrun.HALT,
    Phase.DRAIN: Overrun.HALT,
    Phase.CANCEL: Overrun.GO_ON,
    Phase.EXIT: Overrun.HALT,
    Phase.SEAL: Overrun.HALT,
    Phase.DETACH: Overrun.GO_ON,
}
"""What becomes of a shutdown if a phase takes longer, if nothing else is said."""


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
