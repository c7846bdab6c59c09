"""STOP IN ORDER: what is at the venue ends, too, and a shutdown goes through its phases; above the kernel alone.

`StopExecutor` cancels, asks and repeats until all is over or the budget is spent; `Shutdown` is the orderly way out.
Both need a `Kernel` and no engine of ours.
"""

from __future__ import annotations

from interlock.stopping.executor import Route, StopExecutor
from interlock.stopping.exits import Exits
from interlock.stopping.gateways import Confirms, Sends, Standing, State, StopGateway
from interlock.stopping.lane import Pace
from interlock.stopping.report import ExitEnd, OrderEnd, StopOutcome
from interlock.stopping.shutdown import Shutdown
from interlock.stopping.shutdown_report import Overrun, Phase, PhaseReport, ShutdownReport

__all__ = [
    "Confirms",
    "ExitEnd",
    "Exits",
    "OrderEnd",
    "Overrun",
    "Pace",
    "Phase",
    "PhaseReport",
    "Route",
    "Sends",
    "Shutdown",
    "ShutdownReport",
    "Standing",
    "State",
    "StopExecutor",
    "StopGateway",
    "StopOutcome",
]
