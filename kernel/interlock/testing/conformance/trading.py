"""The attacks of a normal day: orders in every way that there is, ticks good and bad, fills and cancels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from interlock.core.values import Side
from interlock.testing.conformance.adapter import Tick
from interlock.testing.conformance.attempt import Attempt, attack, levels, lots, places, sides
from interlock.testing.conformance.claims import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Trading"]


class Trading(Attempt):
    """Orders and ticks."""

    @attack(side=sides, lots=lots, market=st.booleans())
    def submit(self, side: Side, lots: int, *, market: bool) -> None:
        """An order, now."""
        wanted = self.new(side=side, lots=lots, market=market)
        self.story.tell(f"An order is submitted: {wanted}.")
        self.do("submit", wanted)
        self.after()

    @attack(when=lambda self: self.world.halted, side=sides, count=st.sampled_from([10, 100]))
    def submit_many(self, side: Side, count: int) -> None:
        """The same thing over and over: a leak that comes late is not found by trying something else each time."""
        wanted = [self.new(side=side, lots=1) for _ in range(count)]
        said = f"{count} orders are submitted, one after the other: {wanted[0]}, and so on to {wanted[-1].order_id}."
        self.story.tell(said)
        for one in wanted:
            self.do("submit", one)
        self.after()

    @attack(needs="fill", against=st.sampled_from([True, True, False]), much=st.sampled_from(["all", "more", "one"]))
    def submit_exit(self, much: str, *, against: bool) -> None:
        """A reduce-only order, now; against the position, most of the time, and as large, larger, or small."""
        side = Side.SELL if (self.world.position > 0) is against else Side.BUY
        held = max(1, int(abs(self.world.position) / self.adapter.quantity))
        lots = {"all": held, "more": held + 1, "one": 1}[much]
        wanted = self.new(side=side, lots=lots, reduce_only=True)
        self.story.tell(f"The position is {self.world.position}. An order is submitted: {wanted}.")
        self.do("submit", wanted)
        self.after()

    @attack(place=places)
    def submit_again(self, place: int) -> None:
        """An order that was at the venue already is submitted once more, as after a lost answer."""
        order_id = _one_of(self.world.arrived, place)
        if order_id is None:
            return
        self.story.tell(f"Order {order_id} is submitted once more.")
        self.do("submit", self.world.wanted[order_id])
        self.after()

    @attack(needs="hold", side=sides, lots=lots, level=levels)
    def hold(self, side: Side, lots: int, level: int) -> None:
        """An emulated stop order."""
        wanted = self.new(side=side, lots=lots, market=True)
        ask = self.adapter.price + level * self.adapter.step
        self.story.tell(f"The engine is to hold {wanted} until the ask reaches {ask}.")
        self.do("hold", wanted, ask)
        self.after()

    @attack(needs="queue", side=sides, lots=lots)
    def queue(self, side: Side, lots: int) -> None:
        """An order in a queue."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"{wanted} is queued in the engine.")
        self.do("queue", wanted)
        self.after()

    @attack(needs="want", side=sides, lots=lots)
    def want(self, side: Side, lots: int) -> None:
        """The strategy makes up its mind."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"The strategy will want {wanted} at the next tick.")
        self.do("want", wanted)
        self.after()

    @attack(level=levels)
    def tick(self, level: int) -> None:
        """A good tick."""
        tick = self.quote(level)
        self.story.tell(f"A tick comes: {tick}.")
        self.show(tick)
        self.after()

    @attack(needs="want", level=levels)
    def crossed_tick(self, level: int) -> None:
        """A tick whose bid is above its ask."""
        good = self.quote(level)
        self._bad_tick(Tick(bid=good.ask, ask=good.bid), "crossed")

    @attack(needs="want", level=levels)
    def stale_tick(self, level: int) -> None:
        """A tick that is too old."""
        good = self.quote(level)
        self._bad_tick(Tick(bid=good.bid, ask=good.ask, age_ms=self.adapter.stale_ms), "stale")

    def _bad_tick(self, tick: Tick, flaw: str) -> None:
        self.story.tell(f"A tick comes: {tick}.")
        self.world.bad_tick = flaw
        self.show(tick)
        self.world.bad_tick = ""
        self.after()

    @attack(needs="beat")
    def beat(self) -> None:
        """A second goes by."""
        self.story.tell("A second goes by.")
        self.go_round()
        self.after()

    @attack(place=places)
    def cancel(self, place: int) -> None:
        """A cancel."""
        order_id = _one_of(self.world.working, place)
        if order_id is None:
            return
        self.story.tell(f"Order {order_id} is cancelled.")
        self.do("cancel", order_id)
        if order_id in self.world.working:
            self.world.breach(Claim.CANCELS_ALWAYS_PASS, f"The cancel of {order_id} did not reach the venue.")
        self.after()

    @attack(needs="fill", place=places)
    def fill(self, place: int) -> None:
        """An execution."""
        order_id = _one_of(self.world.working, place)
        if order_id is None:
            return
        wanted = self.world.working[order_id]
        self.world.filled(wanted)
        self.story.tell(f"Order {wanted.order_id} is filled; the position is {self.world.position}.")
        self.do("fill", wanted.order_id, wanted.quantity)
        self.after()


def _one_of(ids: Iterable[str], place: int) -> str | None:
    """One of these; None if there are none. What is drawn must not depend on what an engine did in a thread."""
    there = sorted(ids)
    return there[place % len(there)] if there else None
