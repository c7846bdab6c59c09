"""What an engine's user and its inside have in common, whatever decides: a strategy, a risk check, stops, a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.testing.conformance import Adapter, Tick, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


class WithUser(Adapter):
    """The part of an adapter that an engine brings with it; here there is no engine but what a subclass makes of it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.boot()

    def boot(self) -> None:
        """Begin with nothing, as a process does."""
        self.held: list[tuple[Wanted, Decimal]] = []
        self.queued: list[Wanted] = []
        self.wanted: list[Wanted] = []
        self.check_does: Callable[[], None] | None = None
        self.strategy_does: Callable[[], None] | None = None

    def in_check(self, act: Callable[[], None]) -> None:
        """At its next call."""
        self.check_does = act

    def in_strategy(self, act: Callable[[], None]) -> None:
        """At its next call."""
        self.strategy_does = act

    def risk_check(self) -> bool:
        """The user's own: it always says yes, unless it is broken."""
        act, self.check_does = self.check_does, None
        if act is not None:
            act()
        return True

    def strategy(self) -> None:
        """The user's handler of ticks."""
        wanted, self.wanted = self.wanted, []
        act, self.strategy_does = self.strategy_does, None
        if act is not None:
            act()
        for one in wanted:
            self.submit(one)

    def want(self, wanted: Wanted) -> None:
        """At the next tick."""
        self.wanted.append(wanted)

    def hold(self, wanted: Wanted, ask: Decimal) -> None:
        """An emulated stop."""
        self.held.append((wanted, ask))

    def due(self, tick: Tick) -> list[Wanted]:
        """The stops that the ask has reached; they are held no longer."""
        due = [wanted for wanted, ask in self.held if tick.ask >= ask]
        self.held = [(wanted, ask) for wanted, ask in self.held if tick.ask < ask]
        return due

    def queue(self, wanted: Wanted) -> None:
        """For the next beat."""
        self.queued.append(wanted)

    def unqueue(self) -> list[Wanted]:
        """All that is queued; it is no longer."""
        queued, self.queued = self.queued, []
        return queued
