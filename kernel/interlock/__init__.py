"""Interlock: a formally specified halt kernel for live trading engines.

Attach a `Kernel` to a home, hand it every tick and every order, and nothing reaches the venue without
its permit; once it is HALTED, no permit exists. See ``docs/embedding.md``.

A name is imported when it is first asked for: so the verifier, which shares no code with the engine, runs from
the same wheel without it, and without what only the engine needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from interlock.version import __version__

if TYPE_CHECKING:
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

_ROOMS = {
    "interlock.breaker.home": "HomeError",
    "interlock.core.errors": "InterlockError LimitsError MisuseError PermitError",
    "interlock.core.modes": "Mode",
    "interlock.core.reasons": "HaltCode Reason",
    "interlock.core.values": "Cancel Fill HaltCause Instrument Order"
    " OrderType Outcome Permit Quote Side Tick TimeInForce Trade Verdict",
    "interlock.kernel": "Clock HaltReport InFlight Kernel StopReport SystemClock",
}
_ROOM = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name on its first use, and keep it."""
    if name not in _ROOM:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(import_module(_ROOM[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
