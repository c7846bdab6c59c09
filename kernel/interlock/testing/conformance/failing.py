"""The attacks of a bad day: crashes, lost files, clocks that are set, answers that are lost, code that raises."""

from __future__ import annotations

import shutil
from typing import Final

from hypothesis import strategies as st

from interlock.core.values import Side
from interlock.testing.conformance.attempt import attack, levels, lots, places, sides
from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.halting import Halting

__all__ = ["Failing"]

_HOUR_MS: Final = 3_600_000

losses = st.sampled_from(["is gone", "is empty", "is garbage"])


class Failing(Halting):
    """What goes wrong."""

    @attack()
    def restart(self) -> None:
        """SIGKILL, and a boot."""
        self.story.tell("The engine is killed, and started again.")
        self.do("crash")
        self.up("restart")

    @attack()
    def start_again(self) -> None:
        """A second start."""
        self.story.tell("Start is called once more.")
        self.up("start")

    @attack(side=sides, lots=lots)
    def crash_inside_a_send(self, side: Side, lots: int) -> None:
        """SIGKILL between an order's arrival at the venue and its answer."""
        if self.blocked(side, lots) is None:
            return
        self.story.tell("The engine is killed inside that send, and started again.")
        self.do("crash")
        self.adapter.venue.bury()
        self.up("restart")

    def up(self, what: str) -> None:
        """The engine was started, by somebody who is not allowed to leave a halt."""
        world = self.world
        said = self.do("start")
        runs = bool(said) or self.mode() == "running"
        if world.halted:
            world.left = what
            if runs:
                world.breach(Claim.HALT_IS_LATCHING, f"The engine runs: the halt did not outlive that {what}.")
        if world.lost and runs:
            world.breach(Claim.ABSENCE_MEANS_HALTED, f"The engine runs although {world.lost}.")
        self.after()

    # -- Time, and the venue ---------------------------------------------------------------------------

    @attack(seconds=st.sampled_from([-31_536_000, -3600, -1, 1, 3600, 31_536_000]))
    def step_clock(self, seconds: int) -> None:
        """Somebody sets the clock."""
        self.story.tell(f"The clock is set by {seconds:+} s.")
        self.calls.append(("clock", (seconds,)))
        self.adapter.clock.step(seconds)
        self._outlived("setting of the clock")

    @attack(when=lambda self: self.world.halted)
    def wait(self) -> None:
        """A halt is left alone for a long time."""
        self.story.tell("An hour goes by.")
        self.go_round(_HOUR_MS)
        self._outlived("hour")

    def _outlived(self, what: str) -> None:
        """Something was done that leaves no halt."""
        if self.world.halted and self.claim is Claim.HALT_IS_LATCHING:
            self.world.left = self.world.left or what
            if self.mode() == "running":
                self.world.breach(self.claim, f"The engine runs: the halt did not outlive that {what}.")
        self.after()

    @attack()
    def fail_next(self) -> None:
        """The venue's next answer is lost."""
        self.story.tell("The venue will take the next order, and its answer will be lost.")
        self.calls.append(("venue", ()))
        self.adapter.venue.fail_next()

    @attack()
    def fail_next_cancel(self) -> None:
        """The venue's answer to the next cancel is lost."""
        self.story.tell("The venue will take the next cancel, and its answer will be lost.")
        self.adapter.venue.fail_next_cancel()

    # -- The user's own code -----------------------------------------------------------------------------

    @attack(needs="in_check", side=sides, lots=lots)
    def raise_in_the_check(self, side: Side, lots: int) -> None:
        """The user's risk check raises."""
        wanted = self.new(side=side, lots=lots)
        self.world.doomed[wanted.order_id] = "its check raised"
        self.story.tell(f"An order is submitted, and the risk check raises: {wanted}.")
        self.interpose("check", "raise")
        self.do("submit", wanted)
        self.after()

    @attack(needs="in_strategy", level=levels)
    def raise_in_the_strategy(self, level: int) -> None:
        """The strategy raises; then it is asked again."""
        self.story.tell("A tick comes, and the strategy raises.")
        self.interpose("strategy", "raise")
        self.show(self.quote(level))
        if self.claim is Claim.LOOP_SURVIVES and self.mode() == "running":
            wanted = self.new(side=Side.BUY, lots=1)
            self.story.tell(f"The engine says that it runs. A tick comes, at which the strategy wants {wanted}.")
            self.do("want", wanted)
            self.show(self.quote(level))
            if wanted.order_id not in self.world.arrived and self.mode() == "running":
                said = f"{wanted.order_id} never reached the venue, and the engine still says that it runs."
                self.world.breach(self.claim, said)
        self.after()

    # -- Files -------------------------------------------------------------------------------------------

    @attack(ends=True, when=lambda self: self.adapter.keeps_state and not self.world.lost, place=places, how=losses)
    def lose(self, place: int, how: str) -> None:
        """A file that the engine needs goes, while it runs; by its next look it must know."""
        lost = self._lose(place, how)
        self.go_round()
        self.world.lost = lost
        self._outlived("loss")

    @attack(ends=True, when=lambda self: self.adapter.keeps_state and not self.world.lost, place=places, how=losses)
    def lose_while_down(self, place: int, how: str) -> None:
        """A file that the engine needs goes between two of its lives."""
        self.story.tell("The engine is killed.")
        self.do("crash")
        self.world.lost = self._lose(place, how)
        self.story.tell("The engine is started again.")
        self.up("restart")

    def _lose(self, place: int, how: str) -> str:
        paths = sorted(self.adapter.state_files())
        path = paths[place % len(paths)]
        if path.is_dir():
            how = "is gone"
            shutil.rmtree(path)
        elif how == "is gone":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"" if how == "is empty" else b"\xffgarbage\n")
        lost = f"{path.relative_to(self.root)} {how}"
        self.story.tell(f"{lost}.")
        return lost
