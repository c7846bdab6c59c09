"""What the kernel is given and what it tells: clocks and reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from interlock.breaker.quiet import InFlight, Killed, Waiting
    from interlock.core.reasons import Reason
    from interlock.core.values import HaltCause

__all__ = ["Clock", "HaltReport", "StopReport", "SystemClock"]


class Clock(Protocol):
    """Where time comes from."""

    def mono_ns(self) -> int:
        """Nanoseconds that never go back."""

    def utc_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""


class SystemClock:
    """The machine's clocks."""

    mono_ns = staticmethod(time.monotonic_ns)

    def utc_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


@attrs.frozen(kw_only=True)
class HaltReport:
    """What a halt reached by the time it returned. Emission is stopped in any case.

    Attributes:
        confirmed: no process attached to the home is sending, nor can begin to.
        durable: the latch record is on disk, so that a restart stays halted.
        recorded: the halt is in the journal.
        cause: the first cause, which a repeat does not change.
        in_flight: sends that had begun before and have not ended yet, of all processes, if not ``confirmed``.
        waiting: the processes that are not quiet, if not ``confirmed``.
        killed: those that got SIGKILL.
        message: what went wrong or is still awaited, for people.
    """

    confirmed: bool
    durable: bool
    recorded: bool
    cause: HaltCause
    in_flight: tuple[InFlight, ...]
    waiting: tuple[Waiting, ...] = ()
    killed: tuple[Killed, ...] = ()
    message: str = ""


@attrs.frozen(kw_only=True)
class StopReport:
    """Whether a stop drained: if not, the gate is closed and the mode still RUNNING."""

    stopped: bool
    reason: Reason
    in_flight: tuple[InFlight, ...]
