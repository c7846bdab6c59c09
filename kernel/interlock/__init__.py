"""Interlock: a formally specified halt kernel for live trading engines.

Attach a `Kernel` to a home, hand it every tick and every order, and nothing reaches the venue without
its permit; once it is HALTED, no permit exists. See ``docs/embedding.md``.
"""

from __future__ import annotations

from interlock.breaker.home import HomeError
from interlock.core.errors import InterlockError, LimitsError, MisuseError, PermitError
from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import (
    Cancel,
    Fill,
    HaltCause,
    Instrument,
    Order,
    OrderType,
    Outcome,
    Permit,
    Quote,
    Side,
    Tick,
    TimeInForce,
    Trade,
    Verdict,
)
from interlock.kernel import Clock, HaltReport, InFlight, Kernel, StopReport, SystemClock
from interlock.version import __version__

__all__ = [
    "Cancel",
    "Clock",
    "Fill",
    "HaltCause",
    "HaltCode",
    "HaltReport",
    "HomeError",
    "InFlight",
    "Instrument",
    "InterlockError",
    "Kernel",
    "LimitsError",
    "MisuseError",
    "Mode",
    "Order",
    "OrderType",
    "Outcome",
    "Permit",
    "PermitError",
    "Quote",
    "Reason",
    "Side",
    "StopReport",
    "SystemClock",
    "Tick",
    "TimeInForce",
    "Trade",
    "Verdict",
    "__version__",
]
