"""The attacks with the kill switch: from every side, at every step of an order; and the reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from interlock.testing.conformance.attempt import HALT_S, PATIENCE_S, Attempt, attack, lots, sides
from interlock.testing.conformance.claims import Claim

if TYPE_CHECKING:
    from threading import Thread

    from interlock.core.values import Side

__all__ = ["Halting"]


class Halting(Attempt):
    """Halts, and what is done after them."""

    @attack(ends=True)
    def halt(self) -> None:
        """The kill switch."""
        self.story.tell("The kill switch is pulled.")
        self.do("halt", "attack", HALT_S)
        self.halted()
        self.after()

    @attack(ends=True)
    def halt_from_a_thread(self) -> None:
        """The kill switch, by a thread that the engine has never seen."""
        self.story.tell("Another thread pulls the kill switch.")
        halting, said = self.thread("halt", "attack", HALT_S)
        halting.join(PATIENCE_S)
        if said:
            self.halted()
        self.after()

    @attack(ends=True, needs="halt_from_outside")
    def halt_from_outside(self) -> None:
        """The kill switch, by somebody else."""
        self.story.tell("The kill switch is pulled from outside the engine.")
        self.do("halt_from_outside", "attack")
        self.halted()
        self.after()

    @attack(ends=True, needs="in_strategy")
    def halt_inside_the_strategy(self) -> None:
        """The kill switch, by the strategy."""
        self.story.tell("A tick comes, at which the strategy is to pull the kill switch.")
        self.interpose("strategy", "halt")
        self.show(self.quote(0))
        self.after()

    @attack(ends=True, needs="in_check", side=sides, lots=lots, beside=st.booleans())
    def halt_inside_the_check(self, side: Side, lots: int, *, beside: bool) -> None:
        """The kill switch, between the first look at an order and the last."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"An order is submitted, in whose risk check the kill switch is to be pulled: {wanted}.")
        self.interpose("check", "halt beside" if beside else "halt")
        self.do("submit", wanted)
        self.after()

    @attack(ends=True, side=sides, lots=lots)
    def halt_beside_a_submit(self, side: Side, lots: int) -> None:
        """The kill switch, while another thread submits."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"A thread submits {wanted}, while the kill switch is pulled.")
        submitting, _ = self.thread("submit", wanted)
        if self.do("halt", "attack", HALT_S) is False:
            submitting.join(PATIENCE_S)  # it says that something goes on still, and that something may arrive
        self.halted()
        submitting.join(PATIENCE_S)
        self.after()

    @attack(ends=True, side=sides, lots=lots)
    def halt_inside_a_send(self, side: Side, lots: int) -> None:
        """The kill switch, while a send does not return."""
        submitting = self.blocked(side, lots)
        if submitting is None:
            return
        venue = self.adapter.venue
        self.story.tell("The kill switch is pulled.")
        halting, said = self.thread("halt", "attack", HALT_S)
        self.awaits(halting, "as long as that send goes on")
        try:
            if not halting.is_alive():
                self.halted()
                if said == [True] and venue.holds:
                    self.world.breach(
                        Claim.ACK_MEANS_QUIESCENT, "It says that all has stopped, and the order is still being sent."
                    )
                another = self.new(side=side, lots=lots)
                self.story.tell(f"Another order is submitted: {another}.")
                self.thread("submit", another)[0].join(HALT_S)
        finally:
            venue.let_go()
            submitting.join(PATIENCE_S)
            halting.join(PATIENCE_S)
        self.after()

    def blocked(self, side: Side, lots: int) -> Thread | None:
        """An order whose send does not return, and its thread. None if it never came to the venue."""
        venue, wanted = self.adapter.venue, self.new(side=side, lots=lots)
        venue.block_next()
        submitting, _ = self.thread("submit", wanted)
        for _ in range(int(PATIENCE_S / HALT_S)):
            if venue.inside(HALT_S):
                self.story.tell(f"{wanted} is submitted, and its send does not return.")
                return submitting
            if not submitting.is_alive() and not venue.holds:
                break
        venue.let_go()
        return None

    @attack(needs="reset", when=lambda self: self.world.halted and not self.world.left)
    def reset(self) -> None:
        """An authorised reset, and a start."""
        self.story.tell("An operator resets the halt, and starts the engine.")
        self.do("reset")
        self.world.reset()
        self.do("start")
        self.after()
