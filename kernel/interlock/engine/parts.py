"""What a live loop is given: a feed, a strategy, a gateway, and for a replay the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from interlock.core.values import Cancel, Order, Permit, Quote, Trade

__all__ = ["Feed", "Gateway", "Strategy", "Timeline", "Watches"]


class Feed(Protocol):
    """Where ticks come from."""

    def batches(self) -> AsyncIterator[Sequence[Quote | Trade]]:
        """Ticks in the order in which they came, some at a time. May raise and be asked on."""


class Strategy(Protocol):
    """What wants orders."""

    def on_tick(self, tick: Quote | Trade) -> Iterable[Order]:
        """The orders that this tick calls for; none, most of the time."""


class Gateway(Protocol):
    """The way to a venue. It takes permits, so an order that no kernel permitted does not type-check."""

    async def send(self, permit: Permit) -> object:
        """Redeem the permit and send its order; returns when the order has left, raises if that is unknown."""

    async def cancel(self, cancel: Cancel) -> object:
        """Send a cancel."""


@runtime_checkable
class Watches(Protocol):
    """A gateway that has to see the market, as a paper venue has."""

    def on_tick(self, tick: Quote | Trade) -> None:
        """A tick, before the kernel is consulted about it."""


class Timeline(Protocol):
    """A clock that is driven by the ticks themselves."""

    def advance(self, tick: Quote | Trade) -> None:
        """It is now the time of this tick."""

    def mono_ns(self) -> int:
        """Nanoseconds that never go back."""
