"""What the stop executor asks of a gateway, and what it makes of the answers.

A gateway is asked from a thread of the stop's own, on that thread's event loop: the loop that the stop is there to
stop may be the one that hangs. So what is handed in here must be able to answer there; a session of its own
with the venue is best.

An answer is believed only if it is whole. A call that raised or took too long, an answer of another type, one that
contradicts itself or the order: each of these is `Standing.UNKNOWN`, and none is a success.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

from interlock.core.values import Fill

if TYPE_CHECKING:
    from interlock.core.values import Cancel, Order, Permit

__all__ = ["Confirms", "Sends", "Standing", "State", "StopGateway", "believed"]


class Standing(enum.StrEnum):
    """Where an order stands, by the venue's account or the kernel's."""

    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    CLOSED = "closed"
    """The kernel was told that it is over, or its send never began: no question was needed."""

    ABSENT = "absent"
    """The venue has no such order, cannot tell how it ended, and never will: to ask again is no use."""

    UNKNOWN = "unknown"


OVER: Final = frozenset({Standing.FILLED, Standing.CANCELLED, Standing.REJECTED, Standing.CLOSED})
"""The order is over, and that is known."""


@attrs.frozen(kw_only=True)
class State:
    """What a venue says of one order.

    Attributes:
        standing: WORKING, FILLED, CANCELLED (expired too), REJECTED, ABSENT or UNKNOWN. An order that the venue does
            not know *yet* is UNKNOWN.
        filled: how much of it was executed up to now, in units.
        fills: the executions, as far as the venue tells them; the kernel takes none of them twice.
        reason: for people.
    """

    standing: Standing
    filled: Decimal = Decimal(0)
    fills: tuple[Fill, ...] = ()
    reason: str = ""


@runtime_checkable
class StopGateway(Protocol):
    """The way to a venue that a stop needs: it passes in every mode, and needs no permit."""

    async def cancel(self, cancel: Cancel) -> object:
        """Send a cancel. That it returns says nothing about the order."""

    async def query(self, order: Order) -> State:
        """Ask the venue where the order stands."""


@runtime_checkable
class Sends(Protocol):
    """A gateway that can send an exit, too: only a stop of category 1 asks for it."""

    async def send(self, permit: Permit) -> object:
        """Redeem the permit and send its order."""


@runtime_checkable
class Confirms(Protocol):
    """A gateway that can tell positions: then no exit is sent unless venue and ledger agree."""

    async def position(self, instrument: str) -> Decimal:
        """The venue's position, in units."""


def believed(answer: object, order: Order) -> State:
    """The answer, if it is one about this order; else UNKNOWN, with what was wrong with it."""
    if not isinstance(answer, State) or type(answer.standing) is not Standing:
        return _nothing(f"no State, but {type(answer).__name__}")
    standing, filled = answer.standing, answer.filled
    if type(filled) is not Decimal or not filled.is_finite() or not 0 <= filled <= order.quantity:
        return _nothing(f"filled {filled!r:.40} of {order.quantity:f}")
    if standing is Standing.CLOSED or (standing is Standing.FILLED) is not (filled == order.quantity):
        return _nothing(f"{standing}, but filled {filled:f} of {order.quantity:f}")
    if standing is Standing.REJECTED and filled:
        return _nothing(f"rejected, but filled {filled:f}")
    if type(answer.fills) is not tuple or any(not _of(fill, order) for fill in answer.fills):
        return _nothing("fills that are not this order's")
    return answer


def _of(fill: object, order: Order) -> bool:
    if type(fill) is not Fill:
        return False
    return (fill.client_order_id, fill.instrument, fill.side) == (order.client_order_id, order.instrument, order.side)


def _nothing(why: str) -> State:
    return State(standing=Standing.UNKNOWN, reason=f"an answer that cannot be believed: {why}")
