"""The world's side of an engine: the venue that sees what was sent, and the clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from interlock.core.values import Side

__all__ = ["Arrival", "Died", "VenueDown", "VenueProbe", "WorldClock"]

_INSIDE_S: Final = 10.0
_UTC_US: Final = 1_723_075_200_000_000


class VenueDown(InterlockError):  # noqa: N818 - what happened to the venue
    """The venue took the order, and its answer was lost."""


class Died(BaseException):
    """The process that this send was a part of has died; raised when the attempt is over, to end its thread."""


@attrs.define
class _Block:
    """A send that does not return."""

    go_on: threading.Event = attrs.field(factory=threading.Event)
    dead: bool = False


@attrs.frozen(kw_only=True)
class Arrival:
    """An order, or a cancel, that reached the venue.

    Attributes:
        order_id: the client's.
        side: None for a cancel.
        quantity: in units; None for a cancel.
        reduce_only: as the venue was told.
    """

    order_id: str
    side: Side | None = None
    quantity: Decimal | None = None
    reduce_only: bool = False


class VenueProbe:
    """What reached the venue. Whatever stands for the venue in the engine calls `order` and `cancel`; any thread may.

    Attributes:
        seen: everything, in its order, over crashes and restarts.
        watch: called with each order and cancel as it arrives, before anything else; the oracle looks at it here.
    """

    def __init__(self) -> None:
        self.seen: list[Arrival] = []
        self.watch: Callable[[Arrival], None] | None = None
        self._lock = threading.Lock()
        self._fails = self._cancel_fails = False
        self._blocks = False
        self._block: _Block | None = None
        self._dead: list[_Block] = []
        self._inside = threading.Event()

    def order(self, order_id: str, *, side: Side, quantity: Decimal, reduce_only: bool = False) -> None:
        """An order has arrived.

        Raises:
            VenueDown: it has, and the engine is not told.
        """
        block: _Block | None = None
        with self._lock:
            self._arrived(Arrival(order_id=order_id, side=side, quantity=quantity, reduce_only=reduce_only))
            if self._blocks:
                self._blocks, self._block = False, (block := _Block())
            fails, self._fails = self._fails, False
        if block is not None:
            self._inside.set()
            block.go_on.wait(_INSIDE_S)
            if block.dead:
                raise Died
            self._inside.clear()
        if fails:
            message = f"{order_id}: the answer was lost"
            raise VenueDown(message)

    def cancel(self, order_id: str) -> None:
        """A cancel has arrived.

        Raises:
            VenueDown: it has, and the engine is not told.
        """
        with self._lock:
            self._arrived(Arrival(order_id=order_id))
            fails, self._cancel_fails = self._cancel_fails, False
        if fails:
            message = f"{order_id}: the answer to the cancel was lost"
            raise VenueDown(message)

    def _arrived(self, arrival: Arrival) -> None:
        if self.watch is not None:
            self.watch(arrival)
        self.seen.append(arrival)

    # -- For the attack --------------------------------------------------------------------------------

    def fail_next(self) -> None:
        """The next order arrives, and its send raises."""
        self._fails = True

    def fail_next_cancel(self) -> None:
        """The next cancel arrives, and its send raises."""
        self._cancel_fails = True

    def block_next(self) -> None:
        """The next order arrives, and its send does not return until `let_go`."""
        self._inside.clear()
        self._blocks = True

    def inside(self, timeout_s: float) -> bool:
        """Wait until a send is blocked here. False: none came."""
        return self._inside.wait(timeout_s)

    @property
    def holds(self) -> bool:
        """Whether a send of a living engine is blocked here now."""
        return self._inside.is_set()

    def bury(self) -> None:
        """The engine has died inside the blocked send: its thread goes no further."""
        with self._lock:
            if self._block is not None:
                self._block.dead = True
                self._dead.append(self._block)
            self._block = None
            self._inside.clear()

    def let_go(self) -> None:
        """Let the blocked send return."""
        with self._lock:
            self._blocks = False
            if self._block is not None:
                self._block.go_on.set()
            self._block = None

    def close(self) -> None:
        """The attempt is over: let all go, also the dead."""
        self.let_go()
        for block in self._dead:
            block.go_on.set()


class WorldClock:
    """The time, for an engine that takes it from outside. It stands still until the attack moves it."""

    def __init__(self) -> None:
        self._mono_ns = 1_000_000_000
        self._utc_us = _UTC_US

    def mono_ns(self) -> int:
        """Nanoseconds that never go back."""
        return self._mono_ns

    def utc_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return self._utc_us

    def advance(self, ms: int) -> None:
        """Time goes by."""
        self._mono_ns += ms * 1_000_000
        self._utc_us += ms * 1000

    def step(self, seconds: int) -> None:
        """Somebody sets the clock: UTC moves, the monotonic clock does not."""
        self._utc_us += seconds * 1_000_000
