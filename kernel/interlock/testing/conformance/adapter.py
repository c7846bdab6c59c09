"""The adapter: the few methods through which an engine is attacked.

Seven must be written. The others are attacks that not every engine can suffer: an engine without emulated orders has no
`Adapter.hold`. What is not written is not tested, and the report says so; it never counts as held.

One adapter is made for each attempt, on a directory of its own. `Adapter.crash` ends the engine as SIGKILL would: what
is not on disk is gone, and `Adapter.start` is the next boot, in the same adapter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import attrs

from interlock.core.values import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from interlock.testing.conformance.probe import VenueProbe, WorldClock

__all__ = ["Adapter", "Tick", "Wanted"]


@attrs.frozen(kw_only=True)
class Wanted:
    """An order that somebody wants sent.

    Attributes:
        order_id: the client's; unique, unless the attack is that it is not.
        side: buy or sell.
        quantity: in units, a whole multiple of `Adapter.quantity`.
        price: the limit; None for a market order.
        reduce_only: it may make the position smaller and nothing else.
    """

    order_id: str
    side: Side = Side.BUY
    quantity: Decimal = Decimal(1)
    price: Decimal | None = None
    reduce_only: bool = False

    def __str__(self) -> str:
        """In words, for a story."""
        price = "at the market" if self.price is None else f"at {self.price}"
        return f"{self.order_id} ({self.side} {self.quantity} {price}{', reduce-only' if self.reduce_only else ''})"


@attrs.frozen(kw_only=True)
class Tick:
    """A quote.

    Attributes:
        bid: best bid, price.
        ask: best ask, price; below the bid, if the attack is that it is.
        age_ms: how old it is when it comes in, milliseconds.
    """

    bid: Decimal
    ask: Decimal
    age_ms: int = 0

    @property
    def good(self) -> bool:
        """Whether a strategy may be asked about it: neither crossed nor stale."""
        return self.bid < self.ask and self.age_ms == 0

    def __str__(self) -> str:
        """In words, for a story."""
        flaws = [f"{self.age_ms / 1000:g} s old"] if self.age_ms else []
        flaws += ["crossed"] if self.bid >= self.ask else []
        return f"{self.bid} / {self.ask}{', ' if flaws else ''}{' and '.join(flaws)}"


class Adapter(ABC):
    """One engine under attack; make a subclass.

    Attributes:
        home: the directory in which the engine keeps what must outlive it; empty at first.
        venue: tell it what reaches the venue: see `VenueProbe`.
        clock: the time, for engines that take it from outside.
        instrument: what is traded.
        price: about where it trades.
        step: the smallest step of its price.
        quantity: the smallest order.
        stale_ms: a tick of this age is stale to the engine.
        keeps_state: whether the engine keeps anything on disk that it must not trade without.
        halt_cancels: whether its kill switch promises to cancel the working orders.
    """

    instrument: ClassVar[str] = "XYZ"
    price: ClassVar[Decimal] = Decimal(100)
    step: ClassVar[Decimal] = Decimal("0.5")
    quantity: ClassVar[Decimal] = Decimal(1)
    stale_ms: ClassVar[int] = 60_000
    keeps_state: ClassVar[bool] = True
    halt_cancels: ClassVar[bool] = False

    def __init__(self, home: Path, venue: VenueProbe, clock: WorldClock) -> None:
        """Made by the attack; a subclass that has more to prepare calls this first."""
        self.home = home
        self.venue = venue
        self.clock = clock

    # -- What must be written ----------------------------------------------------------------------

    @abstractmethod
    def start(self) -> bool:
        """Bring the engine up, as at a boot, and let it trade. True if it says that it does."""

    @abstractmethod
    def submit(self, wanted: Wanted) -> None:
        """Order something now, as a strategy would. A refusal is no error: do not raise for it."""

    @abstractmethod
    def cancel(self, order_id: str) -> None:
        """Cancel a working order."""

    @abstractmethod
    def tick(self, tick: Tick) -> None:
        """A quote comes in, and all that follows from it is done when this returns."""

    @abstractmethod
    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Pull the kill switch, from whatever thread.

        Returns:
            Whether the engine says that everything has stopped; None, if it says nothing of the sort.
        """

    @abstractmethod
    def crash(self) -> None:
        """End the engine as SIGKILL does: nothing is tidied up. What it had open may be closed."""

    @abstractmethod
    def mode(self) -> str:
        """What the engine says of itself: ``running``, ``halted``, or another word."""

    # -- What may be written -------------------------------------------------------------------------

    def prepare(self) -> None:  # noqa: B027 - most engines need nothing
        """Once for each attempt, before the first start: make what an operator makes."""

    def close(self) -> None:
        """The attempt is over: end threads, close files."""
        self.crash()

    def want(self, wanted: Wanted) -> None:
        """Have the strategy order this at the next tick that it is asked about."""
        raise NotImplementedError

    def hold(self, wanted: Wanted, ask: Decimal) -> None:
        """Give the engine an order to hold until the ask reaches a price: an emulated stop."""
        raise NotImplementedError

    def queue(self, wanted: Wanted) -> None:
        """Put an order where the engine keeps those that it will send, or try again, at its next `beat`."""
        raise NotImplementedError

    def beat(self) -> None:
        """Let the engine do what it does from time to time: heartbeat, timers, queues."""
        raise NotImplementedError

    def in_check(self, act: Callable[[], None]) -> None:
        """Have the next call of the user's own risk check do this, which may raise, before it says yes."""
        raise NotImplementedError

    def in_strategy(self, act: Callable[[], None]) -> None:
        """Have the next call of the strategy's handler of ticks do this, which may raise, before anything else."""
        raise NotImplementedError

    def fill(self, order_id: str, quantity: Decimal) -> None:
        """The venue executed (a part of) a working order."""
        raise NotImplementedError

    def reset(self) -> None:
        """What an operator does to let a halted engine be started again; it starts nothing."""
        raise NotImplementedError

    def halt_from_outside(self, reason: str) -> None:
        """Pull the kill switch from another process, or as an operator does who has no engine at hand."""
        raise NotImplementedError

    def state_files(self) -> Sequence[Path]:
        """Files and directories without which the engine must not trade. All of the home, if it is not written."""
        return [self.home]

    def recorded(self, order_id: str) -> bool:
        """Whether the order's permission is on record already. Asked inside the send, by the venue's thread."""
        raise NotImplementedError

    def decisions(self) -> Hashable:
        """What the engine has decided and written so far, to be compared with that of a second, equal attempt."""
        raise NotImplementedError

    @classmethod
    def can(cls, method: str) -> bool:
        """Whether a method was written; no method at all always is."""
        return not method or getattr(cls, method) is not getattr(Adapter, method)
