"""The attack: Hypothesis chooses what is done to an engine, and shrinks what breaks a claim.

Each rule is one step of an attempt. A step that the adapter has no method for is never chosen, nor one that has no
bearing on the claim. An engine may raise whatever it likes at the one who calls it: that is a refusal; how often that
happened is told, so that an adapter with a bug does not pass for an engine that holds.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from interlock.core.errors import InterlockError
from interlock.core.values import Side
from interlock.testing.conformance.adapter import Tick, Wanted
from interlock.testing.conformance.claims import CLAIMS, Claim
from interlock.testing.conformance.probe import VenueProbe, WorldClock
from interlock.testing.conformance.story import Broken, Story
from interlock.testing.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.testing.conformance.adapter import Adapter, Where

__all__ = ["Attack", "Tally", "Unfit"]

_HALT_S: Final = 0.05
_PATIENCE_S: Final = 5.0
_SHORT_S: Final = 0.2
_TICK_MS: Final = 10
_ROUNDS: Final = 3
_SHM: Final = Path("/dev/shm")  # noqa: S108 - a disk in memory, if there is one: attempts are many
_NEEDS: Final = {
    "hold": "hold",
    "queue": "queue",
    "want": "want",
    "bad_tick": "want",
    "fill": "fill",
    "submit_exit": "fill",
    "reset": "reset",
    "halt_from_outside": "halt_from_outside",
    "halt_from_inside": "halt_from_inside",
    "raise_in_the_check": "raise_next",
    "raise_in_the_strategy": "raise_next",
}
"""What of the adapter a step can't do without."""

R = TypeVar("R")

sides = st.sampled_from(Side)
lots = st.integers(1, 3)
levels = st.integers(-3, 3)
places = st.integers(0, 7)
losses = st.sampled_from(["is gone", "is empty", "is garbage"])


class Unfit(InterlockError):  # noqa: N818 - what the adapter is
    """The adapter can't be tested: its engine does not run in the first place."""


class Tally:
    """What was done in all attempts of one test.

    Attributes:
        attempts: how many.
        steps: how often each step was taken.
        orders: how many orders reached the venue.
        raised: what calls raised, and how often.
        broken: the last breach.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self.steps: Counter[str] = Counter()
        self.orders = 0
        self.raised: Counter[str] = Counter()
        self.broken: Broken | None = None


def step(name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Take a rule only if it bears on the claim, and the adapter can suffer it."""
    return precondition(lambda self: self.may(name))


def later(name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """The same for what ends the trading: not before the engine had its time to trade in."""
    return precondition(lambda self: self.may(name) and self.taken >= self.quiet_for)


class Attack(RuleBasedStateMachine):
    """An attempt on one claim; a subclass says whose."""

    adapter_class: ClassVar[type[Adapter]]
    claim: ClassVar[Claim]
    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self.number = self.taken = self.quiet_for = 0
        self.story = Story()
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.tally.attempts += 1
        self.root, self.adapter, self.world = self._fresh()

    def _fresh(self) -> tuple[Path, Adapter, World]:
        root = Path(tempfile.mkdtemp(dir=_SHM if _SHM.is_dir() else None))
        world = World(claim=self.claim)
        adapter = self.adapter_class(root / "home", VenueProbe(), WorldClock())
        adapter.venue.watch = lambda arrival: world.watch(arrival, adapter)
        adapter.prepare()
        return root, adapter, world

    def may(self, name: str) -> bool:
        """Whether a step can be taken."""
        needs = _NEEDS.get(name)
        return name in CLAIMS[self.claim].steps and (needs is None or self.adapter_class.can(needs))

    # -- How a step is taken -------------------------------------------------------------------------

    def do(self, method: str, *arguments: object, quietly: bool = False) -> object:
        """Call the engine. What it raises is told, and is a refusal."""
        if not quietly:
            self.tally.steps[method] += 1
        self.calls.append((method, arguments))
        try:
            return getattr(self.adapter, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            said = f"{type(error).__name__}: {error}"
            self.tally.raised[f"{method}: {type(error).__name__}"] += 1
            self.story.tell(f"   (it raised {said:.200})")
            return None

    def after(self) -> None:
        """The end of a step: was the claim broken?

        Raises:
            Broken: it was.
        """
        self.taken += 1
        if self.world.broken:
            self.tally.broken = Broken(self.claim, tuple(self.story.steps), self.world.broken)
            raise self.tally.broken

    def new(self, *, side: Side, lots: int, market: bool = False, reduce_only: bool = False) -> Wanted:
        """An order that nobody wanted before."""
        self.number += 1
        wanted = Wanted(
            order_id=f"o{self.number}",
            side=side,
            quantity=self.adapter.quantity * lots,
            price=None if market else self.adapter.price,
            reduce_only=reduce_only,
        )
        self.world.wanted[wanted.order_id] = wanted
        return wanted

    def quote(self, level: int) -> Tick:
        """A good tick, some steps away from the usual price."""
        bid = self.adapter.price + level * self.adapter.step
        return Tick(bid=bid, ask=bid + self.adapter.step)

    def pass_on(self, ms: int = _TICK_MS) -> None:
        """Time goes by."""
        self.calls.append(("", (ms,)))
        self.adapter.clock.advance(ms)

    def show(self, tick: Tick) -> None:
        """A tick comes in."""
        self.pass_on()
        self.do("tick", tick)

    # -- Orders and ticks ----------------------------------------------------------------------------

    @initialize(quiet_for=st.integers(0, 6))
    def begin(self, quiet_for: int) -> None:
        """Bring it up, and let so many steps pass before anything ends the trading.

        Raises:
            Unfit: it does not run, even on a fresh home.
        """
        if not self.do("start"):
            message = f"{self.adapter_class.__name__}.start says that the engine does not run on a fresh home"
            raise Unfit(message)
        self.quiet_for = quiet_for
        self.story.tell("The engine starts on a fresh home.")
        self.show(self.quote(0))

    @step("submit")
    @rule(side=sides, lots=lots, market=st.booleans())
    def submit(self, side: Side, lots: int, *, market: bool) -> None:
        """An order, now."""
        wanted = self.new(side=side, lots=lots, market=market)
        self.story.tell(f"An order is submitted: {wanted}.")
        self.do("submit", wanted)
        self.after()

    @step("submit_exit")
    @rule(against=st.sampled_from([True, True, False]), lots=st.integers(1, 6))
    def submit_exit(self, lots: int, *, against: bool) -> None:
        """A reduce-only order, now; against the position, most of the time."""
        side = Side.SELL if (self.world.position > 0) is against else Side.BUY
        wanted = self.new(side=side, lots=lots, reduce_only=True)
        self.story.tell(f"The position is {self.world.position}. An order is submitted: {wanted}.")
        self.do("submit", wanted)
        self.after()

    @step("submit_again")
    @rule(place=places)
    def submit_again(self, place: int) -> None:
        """An order that was at the venue already is submitted once more, as after a lost answer."""
        order_id = _one_of(self.world.arrived, place)
        if order_id is None:
            return
        self.story.tell(f"Order {order_id} is submitted once more.")
        self.do("submit", self.world.wanted[order_id])
        self.after()

    @step("hold")
    @rule(side=sides, lots=lots, level=levels)
    def hold(self, side: Side, lots: int, level: int) -> None:
        """An emulated stop order."""
        wanted = self.new(side=side, lots=lots, market=True)
        ask = self.adapter.price + level * self.adapter.step
        self.story.tell(f"The engine is to hold {wanted} until the ask reaches {ask}.")
        self.do("hold", wanted, ask)
        self.after()

    @step("queue")
    @rule(side=sides, lots=lots)
    def queue(self, side: Side, lots: int) -> None:
        """An order in a queue."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"{wanted} is queued in the engine.")
        self.do("queue", wanted)
        self.after()

    @step("want")
    @rule(side=sides, lots=lots)
    def want(self, side: Side, lots: int) -> None:
        """The strategy makes up its mind."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"The strategy will want {wanted} at the next tick.")
        self.do("want", wanted)
        self.after()

    @step("tick")
    @rule(level=levels)
    def tick(self, level: int) -> None:
        """A good tick."""
        tick = self.quote(level)
        self.story.tell(f"A tick comes: {tick}.")
        self.show(tick)
        self.after()

    @step("bad_tick")
    @rule(level=levels, crossed=st.booleans())
    def bad_tick(self, level: int, *, crossed: bool) -> None:
        """A tick about which no strategy may be asked."""
        good = self.quote(level)
        tick = (
            Tick(bid=good.ask, ask=good.bid)
            if crossed
            else Tick(bid=good.bid, ask=good.ask, age_ms=self.adapter.stale_ms)
        )
        self.story.tell(f"A tick comes: {tick}.")
        self.world.bad_tick = "crossed" if crossed else "stale"
        self.show(tick)
        self.world.bad_tick = ""
        self.after()

    @step("beat")
    @precondition(lambda self: self.adapter.can("beat"))
    @rule()
    def beat(self) -> None:
        """A second goes by."""
        self.story.tell("A second goes by.")
        self.go_round()
        self.after()

    def go_round(self) -> None:
        """Let the engine do what it does from time to time."""
        self.pass_on(1000)
        if self.adapter.can("beat"):
            self.do("beat")

    @step("cancel")
    @rule(place=places)
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

    @step("fill")
    @rule(place=places)
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

    # -- Halts -------------------------------------------------------------------------------------

    def halted(self) -> None:
        """A halt has returned."""
        self.world.halted = True
        if self.claim is Claim.STOP_FINISHES:
            for _ in range(_ROUNDS):
                self.go_round()
            if self.world.working:
                left = ", ".join(sorted(self.world.working))
                self.world.breach(self.claim, f"The halt is over, and nobody has cancelled {left}.")
        self.after()

    @later("halt")
    @rule()
    def halt(self) -> None:
        """The kill switch."""
        self.story.tell("The kill switch is pulled.")
        self.do("halt", "attack", _HALT_S)
        self.halted()

    @later("halt_from_outside")
    @rule()
    def halt_from_outside(self) -> None:
        """The kill switch, by somebody else."""
        self.story.tell("The kill switch is pulled from outside the engine.")
        self.do("halt_from_outside", "attack")
        self.halted()

    @later("halt_from_inside")
    @rule()
    def halt_from_inside(self) -> None:
        """The kill switch, by the strategy."""
        self.story.tell("The strategy pulls the kill switch, in the engine's own task.")
        self.do("halt_from_inside", "attack")
        self.halted()

    @later("halt_beside_a_submit")
    @rule(side=sides, lots=lots)
    def halt_beside_a_submit(self, side: Side, lots: int) -> None:
        """The kill switch, while another thread submits."""
        wanted = self.new(side=side, lots=lots)
        self.story.tell(f"A thread submits {wanted}, while the kill switch is pulled.")
        submitting = _thread(lambda: self.do("submit", wanted))
        self.do("halt", "attack", _HALT_S)
        submitting.join(_PATIENCE_S)
        self.halted()

    @later("halt_inside_a_send")
    @rule(side=sides, lots=lots)
    def halt_inside_a_send(self, side: Side, lots: int) -> None:
        """The kill switch, while a send does not return."""
        venue, wanted = self.adapter.venue, self.new(side=side, lots=lots)
        venue.block_next()
        submitting = _thread(lambda: self.do("submit", wanted))
        if self._refused(submitting):
            venue.let_go()
            return
        self.story.tell(f"{wanted} is submitted, and its send does not return.")
        said: list[object] = []
        self.story.tell("The kill switch is pulled.")
        halting = _thread(lambda: said.append(self.do("halt", "attack", _HALT_S)))
        # What was seen once with all patience is made shorter with less.
        halting.join(_PATIENCE_S if self.tally.broken is None else _SHORT_S)
        try:
            if halting.is_alive():
                self.world.breach(Claim.HALT_NEVER_WAITS, f"The halt has not returned for {_PATIENCE_S:g} s.")
            else:
                self.world.halted = True
                if said == [True] and venue.holds:
                    late = f"It says that all has stopped, and {wanted.order_id} is still being sent."
                    self.world.breach(Claim.ACK_MEANS_QUIESCENT, late)
                another = self.new(side=side, lots=lots)
                self.story.tell(f"Another order is submitted: {another}.")
                _thread(lambda: self.do("submit", another)).join(_HALT_S)
        finally:
            venue.let_go()
            submitting.join(_PATIENCE_S)
            halting.join(_PATIENCE_S)
        self.after()

    def _refused(self, submitting: threading.Thread) -> bool:
        """Whether an order that was to be blocked inside its send never came there."""
        for _ in range(int(_PATIENCE_S / _HALT_S)):
            if self.adapter.venue.inside(_HALT_S):
                return False
            if not submitting.is_alive():
                return not self.adapter.venue.holds
        return True

    @step("reset")
    @rule()
    def reset(self) -> None:
        """An authorised reset, and a start."""
        if not self.world.halted or self.world.left:
            return
        self.story.tell("An operator resets the halt, and starts the engine.")
        self.do("reset")
        self.world.reset()
        self.do("start")
        self.after()

    # -- What goes wrong -----------------------------------------------------------------------------

    @step("restart")
    @rule()
    def restart(self) -> None:
        """SIGKILL, and a boot."""
        self.story.tell("The engine is killed, and started again.")
        self.do("crash")
        self.up("restart")

    @step("start_again")
    @rule()
    def start_again(self) -> None:
        """A second start."""
        self.story.tell("Start is called once more.")
        self.up("start")

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

    def mode(self) -> str:
        """What the engine says of itself."""
        return str(self.do("mode", quietly=True))

    @step("step_clock")
    @rule(seconds=st.sampled_from([-31_536_000, -3600, -1, 1, 3600, 31_536_000]))
    def step_clock(self, seconds: int) -> None:
        """Somebody sets the clock."""
        self.story.tell(f"The clock is set by {seconds:+} s.")
        self.calls.append(("clock", (seconds,)))
        self.adapter.clock.step(seconds)
        self.after()

    @step("fail_next")
    @rule()
    def fail_next(self) -> None:
        """The venue's next answer is lost."""
        self.story.tell("The venue will take the next order, and its answer will be lost.")
        self.calls.append(("venue", ()))
        self.adapter.venue.fail_next()

    @step("raise_in_the_check")
    @rule(side=sides, lots=lots)
    def raise_in_the_check(self, side: Side, lots: int) -> None:
        """The user's risk check raises."""
        wanted = self.new(side=side, lots=lots)
        self.world.doomed[wanted.order_id] = "its check raised"
        self.story.tell(f"An order is submitted, and the risk check raises: {wanted}.")
        self._raise_next("check")
        self.do("submit", wanted)
        self.after()

    @step("raise_in_the_strategy")
    @rule(level=levels)
    def raise_in_the_strategy(self, level: int) -> None:
        """The strategy raises; then it is asked again."""
        self.story.tell("A tick comes, and the strategy raises.")
        self._raise_next("strategy")
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

    def _raise_next(self, where: Where) -> None:
        self.do("raise_next", where)

    @later("lose")
    @precondition(lambda self: not self.world.lost)
    @rule(place=places, how=losses)
    def lose(self, place: int, how: str) -> None:
        """A file that the engine needs goes, while it runs; by its next look it must know."""
        self._lose(place, how)
        self.go_round()
        self.world.lost = self._lost
        self.after()

    @later("lose_while_down")
    @precondition(lambda self: not self.world.lost)
    @rule(place=places, how=losses)
    def lose_while_down(self, place: int, how: str) -> None:
        """A file that the engine needs goes between two of its lives."""
        self.story.tell("The engine is killed.")
        self.do("crash")
        self._lose(place, how)
        self.world.lost = self._lost
        self.story.tell("The engine is started again.")
        self.up("restart")

    def _lose(self, place: int, how: str) -> None:
        paths = sorted(self.adapter.state_files())
        path = paths[place % len(paths)]
        if path.is_dir():
            how = "is gone"
            shutil.rmtree(path)
        elif how == "is gone":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"" if how == "is empty" else b"\xffgarbage\n")
        named = path.relative_to(self.root)
        self._lost = f"{named} {how}"
        self.story.tell(f"{named} {how}.")

    # -- The end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Compare with a second attempt, if that is the claim; tidy up."""
        self.tally.orders += self.world.orders
        self.adapter.venue.let_go()
        try:
            if self.claim is Claim.DETERMINISTIC and not self.world.broken:
                self._again()
        finally:
            self.adapter.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def _again(self) -> None:
        """The same attempt once more, on a fresh home.

        Raises:
            Broken: something came otherwise.
        """
        first = (self.adapter.venue.seen, self.adapter.decisions() if self.adapter.can("decisions") else None)
        calls, self.calls, before = self.calls, [], self.adapter
        root, self.adapter, _ = self._fresh()
        try:
            for method, arguments in calls:
                if method == "":
                    self.adapter.clock.advance(*arguments)  # type: ignore[arg-type] # as it was put down
                elif method == "clock":
                    self.adapter.clock.step(*arguments)  # type: ignore[arg-type] # as it was put down
                elif method == "venue":
                    self.adapter.venue.fail_next()
                else:
                    self.do(method, *arguments, quietly=True)
            second = (self.adapter.venue.seen, self.adapter.decisions() if self.adapter.can("decisions") else None)
            if first != second:
                what = "venue saw other orders" if first[0] != second[0] else "engine decided otherwise"
                self.world.broken = f"Done once more, with the same times, the {what}."
        finally:
            self.adapter.close()
            shutil.rmtree(root, ignore_errors=True)
            self.adapter = before
        self.after()


def _one_of(ids: Iterable[str], place: int) -> str | None:
    """One of these; None if there are none. What is drawn must not depend on what an engine did in a thread."""
    there = sorted(ids)
    return there[place % len(there)] if there else None


def _thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
