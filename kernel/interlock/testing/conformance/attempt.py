"""One attempt on one claim: a fresh engine, what is done to it, and what is told of that.

`Attempt` is what all attacks stand on. An attack is a method under `attack`, and one step: it tells its sentence,
calls the engine through `Attempt.do`, and ends with `Attempt.after`, where a breach ends the attempt. An engine may
raise whatever it likes at the one who calls it: that is a refusal; how often it happened is counted, so that an
adapter with a bug does not pass for an engine that holds.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from interlock.core.errors import InterlockError
from interlock.core.values import Side
from interlock.testing.conformance.adapter import Tick, Wanted
from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.probe import Died, VenueProbe, WorldClock
from interlock.testing.conformance.story import Broken, Story
from interlock.testing.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.conformance.adapter import Adapter

Where = Literal["check", "strategy"]
Played = tuple[str, dict[str, Any]]
"""An attack that was made, and its arguments."""

__all__ = [
    "HALT_S",
    "PATIENCE_S",
    "SHORT_S",
    "Attempt",
    "Played",
    "Tally",
    "Unfit",
    "attack",
    "levels",
    "lots",
    "places",
    "sides",
]

HALT_S: Final = 0.05
"""What a halt is given to say whether all has stopped."""
PATIENCE_S: Final = 5.0
SHORT_S: Final = 0.2
"""How long a halt is waited for that should need no time: the second, once a breach was seen with all patience."""
_TICK_MS: Final = 10
_ROUNDS: Final = 3
_SHM: Final = Path("/dev/shm")  # noqa: S108 - a disk in memory, if there is one: attempts are many

sides = st.sampled_from(Side)
lots = st.integers(1, 3)
levels = st.integers(-3, 3)
places = st.integers(0, 7)


class Unfit(InterlockError):  # noqa: N818 - what the adapter is
    """The adapter can't be tested: its engine does not run in the first place."""


class Tally:
    """What was done in all attempts of one test.

    Attributes:
        attempts: how many.
        steps: how often each call of the engine was made.
        orders: how many orders reached the venue.
        raised: what calls raised, and how often.
        broken: the last breach.
        played: its steps.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self.steps: Counter[str] = Counter()
        self.orders = 0
        self.raised: Counter[str] = Counter()
        self.broken: Broken | None = None
        self.played: tuple[Played, ...] = ()


def attack(
    *,
    needs: str = "",
    ends: bool = False,
    when: Callable[[Any], bool] = lambda _: True,
    **drawn: st.SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a method an attack.

    Args:
        needs: the method of the adapter that it can't do without.
        ends: it ends the trading; so not before the engine had its time to trade in.
        when: of the attempt, what must hold besides.
        drawn: its arguments.
    """

    def made(method: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(method)
        def step(self: Attempt, **arguments: object) -> None:
            self.played.append((method.__name__, arguments))
            method(self, **arguments)

        def due(self: Attempt) -> bool:
            return (not ends or self.taken >= self.quiet_for) and when(self)

        as_rule: Any = rule(**drawn)  # type: ignore[call-overload] # among them is no target
        taken: Any = precondition(due)(as_rule(step))
        taken.needs, taken.when = needs, when
        return cast("Callable[..., None]", taken)

    return made


class Attempt(RuleBasedStateMachine):
    """An attempt on one claim; a subclass says whose.

    Attributes:
        adapter_class: of the engine.
        claim: which.
        tally: what is counted over all attempts.
    """

    adapter_class: ClassVar[type[Adapter]]
    claim: ClassVar[Claim]
    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self.number = self.taken = self.quiet_for = 0
        self.pulled = False
        self.story = Story()
        self.played: list[Played] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.tally.attempts += 1
        self.root, self.adapter, self.world = self._fresh()

    def _fresh(self) -> tuple[Path, Adapter, World]:
        root = Path(tempfile.mkdtemp(dir=_SHM if _SHM.is_dir() else None))
        world = World(claim=self.claim)
        adapter = self.adapter_class(root / "home", VenueProbe(), WorldClock())
        adapter.venue.watch = lambda arrival: world.watch(arrival, adapter)
        adapter.prepare()
        return root, adapter, world

    @initialize(quiet_for=st.integers(0, 6))
    def begin(self, quiet_for: int) -> None:
        """Bring the engine up, and let so many steps pass before anything ends the trading.

        Raises:
            Unfit: it does not run, even on a fresh home.
        """
        if not self.do("start"):
            message = f"{self.adapter_class.__name__}.start says that the engine does not run on a fresh home"
            raise Unfit(message)
        self.quiet_for = quiet_for
        self.story.tell("The engine starts on a fresh home.")
        self.show(self.quote(0))

    # -- How a step is taken -------------------------------------------------------------------------

    def do(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the engine said
        """Call the engine, and keep the call, so that it can be made once more."""
        self.tally.steps[method] += 1
        self.calls.append((method, arguments))
        return self.call(method, *arguments)

    def call(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the engine said
        """Call the engine. What it raises is told, and is a refusal."""
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
        if self.pulled:
            self.pulled = False
            if self.claim is Claim.STOP_FINISHES:
                self._wind_down()
        if self.world.broken:
            self.tally.broken = Broken(self.claim, tuple(self.story.steps), self.world.broken)
            self.tally.played = tuple(self.played)
            raise self.tally.broken

    def _wind_down(self) -> None:
        """A halt is over: let the engine do what it has still to do, and see what is left."""
        for _ in range(_ROUNDS):
            self.go_round()
        if self.world.working:
            left = ", ".join(sorted(self.world.working))
            self.world.breach(self.claim, f"The halt is over, and nobody has cancelled {left}.")

    def halted(self) -> None:
        """A halt has returned."""
        self.world.halted = self.pulled = True

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

    def go_round(self, ms: int = 1000) -> None:
        """Let the engine do what it does from time to time."""
        self.pass_on(ms)
        if self.adapter.can("beat"):
            self.do("beat")

    def mode(self) -> str:
        """What the engine says of itself."""
        self.calls.append(("mode", ()))
        return str(self.call("mode"))

    # -- Threads, and what happens inside the user's own code -------------------------------------

    def thread(self, method: str, *arguments: object) -> tuple[threading.Thread, list[Any]]:
        """Call the engine in a thread of its own. Returns that, and where what it said will be."""
        said: list[Any] = []

        def call() -> None:
            with suppress(Died):
                said.append(self.do(method, *arguments))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread, said

    def interpose(self, where: Where, what: str) -> None:
        """Have something happen inside the next call of the user's check, or of the strategy's handler."""
        self.calls.append(("interpose", (where, what)))
        acts = {"raise": _raise, "halt": self._halt_here, "halt beside": self._halt_beside}
        (self.adapter.in_check if where == "check" else self.adapter.in_strategy)(acts[what])

    def _halt_here(self) -> None:
        self.story.tell("   It is pulled.")
        self.call("halt", "attack", HALT_S)
        self.halted()

    def _halt_beside(self) -> None:
        self.story.tell("   It is pulled by another thread, while that check goes on.")
        halting = threading.Thread(target=self.call, args=("halt", "attack", HALT_S), daemon=True)
        halting.start()
        self.awaits(halting, "while that check goes on")
        if not halting.is_alive():
            self.halted()

    def awaits(self, halting: threading.Thread, when: str) -> None:
        """A halt that should wait for nothing has time enough to return."""
        halting.join(PATIENCE_S if self.tally.broken is None else SHORT_S)
        if halting.is_alive():
            self.world.breach(Claim.HALT_NEVER_WAITS, f"The halt has not returned for {PATIENCE_S:g} s, {when}.")

    # -- The end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Compare with a second attempt, if that is the claim; tidy up."""
        self.tally.orders += self.world.orders
        self.adapter.venue.close()
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
        first = self._outcome()
        calls, self.calls, before = self.calls, [], self.adapter
        root, self.adapter, _ = self._fresh()
        try:
            for method, arguments in calls:
                self._repeat(method, arguments)
            second = self._outcome()
            if first != second:
                what = "venue saw other orders" if first[0] != second[0] else "engine decided otherwise"
                self.world.broken = f"Done once more, with the same times, the {what}."
        finally:
            self.adapter.close()
            shutil.rmtree(root, ignore_errors=True)
            self.adapter = before
        self.after()

    def _outcome(self) -> tuple[object, object]:
        return self.adapter.venue.seen, self.adapter.decisions() if self.adapter.can("decisions") else None

    def _repeat(self, method: str, arguments: tuple[Any, ...]) -> None:
        match method:
            case "":
                self.adapter.clock.advance(*arguments)
            case "clock":
                self.adapter.clock.step(*arguments)
            case "venue":
                self.adapter.venue.fail_next()
            case "interpose":
                self.interpose(*arguments)
            case _:
                self.call(method, *arguments)


def _raise() -> None:
    raise RuntimeError("the user's own code is broken")
