"""The walk over the real stop executor: see `stop_parts` for what is driven, and who decides what.

`walk` returns what it saw in the form in which `tlc.parse_dot` reads TLC's graph of ``StopExecutor.tla``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from tests.helpers import LIMITS, arm, attach, halt_home, order, quote
from tests.specs.stop_parts import (
    LONG_S,
    PACE,
    SPENT_S,
    Clerk,
    DrivenExecutor,
    DrivenExitLane,
    DrivenLane,
    Gateway,
    Life,
    Policy,
    Time,
    World,
    filled,
    store,
)  # fmt: skip
from tests.specs.stop_view import Node, node

from interlock import MisuseError, Mode
from interlock.stopping import Standing, executor, exits, intent, lane
from interlock.stopping.executor import StopExecutor
from interlock.stopping.exits import ExitLane
from interlock.stopping.lane import Lane
from interlock.testing.stepping import tour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.testing.explorer import Graph

_ALL: Final = LIMITS[: LIMITS.index("[instruments.XYZ]")]
_ONE: Final = LIMITS[LIMITS.index("[instruments.XYZ]") :]


@attrs.frozen(kw_only=True)
class Walk:
    """What is walked.

    Attributes:
        gateways: their names.
        hung: those that never answer.
        bug: a wrong lane or executor, to see that it is found; None for the real ones.
        without: what the world does not do.
    """

    gateways: tuple[str, ...] = ("g",)
    hung: frozenset[str] = frozenset()
    bug: type[Any] | None = None
    without: frozenset[str] = frozenset()

    def driven(self, kind: type[Any], real: type[Any]) -> type[Any]:
        """The driven form of a class; of the wrong one, if that is one of these."""
        if self.bug is None or not issubclass(real, self.bug.__bases__):
            return kind
        return type(self.bug.__name__, (kind, self.bug), {})


class Driven:
    """One home, its processes one after the other, and its venues. Each attempt is one step of theirs."""

    def __init__(self, path: Path, walk: Walk) -> None:
        self._walk = walk
        gateways = walk.gateways
        limits = _ALL + "".join(_ONE.replace("XYZ", name) for name in gateways)
        arm(path, limits)
        self.world = World(path, walk.hung, gateways)
        self._lives = 0
        self.life: Life | None = None
        self._ledger = dict.fromkeys(gateways, "working")
        self._attach()
        kernel = self._alive.kernel
        for name in gateways:
            for wanted in (order(f"entry-{name}", instrument=name, quantity="2", price=None), self.world.orders[name]):
                if not kernel.submit(wanted, lambda permit: permit.redeem()):
                    raise AssertionError(kernel.cause)
            kernel.on_fill(filled(order(f"entry-{name}", instrument=name, quantity="2", price=None)))

    @property
    def _alive(self) -> Life:
        if self.life is None:
            raise AssertionError
        return self.life

    def _attach(self) -> None:
        """A process that comes up as every engine should: it takes up a stop, if there is one, before it starts."""
        kernel = attach(self.world.path)
        gateways = {name: Gateway(name, self.world) for name in self.world.orders}
        stopper: Any = self._walk.driven(DrivenExecutor, StopExecutor)(
            kernel, gateways, route=lambda wanted: wanted.instrument, home=self.world.path, engine="desk", pace=PACE
        )
        self.life = Life(kernel, stopper, self._lives)
        self._lives += 1
        if self.world.stored() is not None:
            stopper.resume()
            self._settle()
        if kernel.mode is Mode.IDLE and kernel.start():
            for name in self.world.orders:
                kernel.consult(attrs.evolve(quote(kernel), instrument=name))

    # -- Steps -----------------------------------------------------------------------------------

    def attempts(self) -> list[str]:
        """What the world can do here, and what the code would do next."""
        return [what for what in self._all() if what.partition(" ")[0] not in self._walk.without]

    def _all(self) -> list[str]:
        world, life = self.world, self.life
        fills = [f"fill {name}" for name in world.orders if world.stands[name] is Standing.WORKING]
        fills += [f"fill-exit {name}" for name, (_, stands) in world.exits.items() if stands is Standing.WORKING]
        if life is None:
            return [*fills, "halt", "restart"]
        if life.stopping and life.all_ended.is_set():
            steps = ["finish back", "finish lost"]
        else:
            steps = [f"{what} {one.name}" for one in life.lanes if not one.over for what in self._of(one)]
        heard = [
            f"hear {name}"
            for name, wanted in world.orders.items()
            if world.stands[name] is not Standing.WORKING and life.kernel.works(wanted.client_order_id)
        ]
        return [*steps, *fills, *heard, "begin1", "begin0", "halt", "crash"]

    def _of(self, one: Any) -> Iterator[str]:
        """What can happen on a lane."""
        for place, call in enumerate(one.calls):
            if one.name not in self.world.hung:
                yield f"answer-{place}"
                if call.kind == "query" and self.world.state(one.name, call.order_id).fills:
                    yield f"answer-without-fills-{place}"
        if one.gates:
            yield "go-on"
            if "decides" in one.gates and self._alive.kernel.mode is Mode.RUNNING:
                yield "go-on-with-a-full-disk"
        elif one.loop.handed_out:
            yield "go-on"
            yield "spend-and-go-on"
        else:
            yield "turn"
            if not one.calls and one.spent < 2:
                yield "spend"

    def attempt(self, what: str) -> str | None:
        """Try it. Returns the action that it was; None if it was none, or nothing at all."""
        word, _, rest = what.partition(" ")
        before = dict(self.node()[0])
        step = getattr(self, "_" + word.partition("-")[0])
        try:
            word = step(word, rest)
        except MisuseError:
            word = None
        self._settle()
        after = dict(self.node()[0])
        return self._name(word, rest, before, after)

    @staticmethod
    def _name(word: str | None, name: str, before: dict[str, Any], after: dict[str, Any]) -> str | None:
        """The action that it was: a step of the lane is known by what it changed, the others by their names."""
        if word != "lane":
            return word
        was, now = ({key: dict(value)[name] if key in {"known", "end", "sent"} else value for key, value in one.items()}
                    for one in (before, after))  # fmt: skip
        if was["end"] != now["end"]:
            return "Report" if now["end"] == "over" else "Escalate"
        if was["tickets"] != now["tickets"]:
            return "Ticket"
        if was["sent"] != now["sent"]:
            return "Send"
        if was["asked"] != now["asked"]:
            return "GiveUp"
        return None

    # -- The world -------------------------------------------------------------------------------

    def _halt(self, _: str, __: str) -> str:
        if self.life is None:
            halt_home(self.world.path)
        else:
            self.life.kernel.halt("pulled", timeout_s=0)  # nobody is to wait for the sends that wait for the walk
            self.life.kernel.heartbeat()
        return "Halt"

    def _fill(self, what: str, name: str) -> str:
        if what == "fill":
            self.world.stands[name] = Standing.FILLED
            return "Fill"
        self.world.exits[name] = (self.world.exits[name][0], Standing.FILLED)
        return "ExitFills"

    def _hear(self, _: str, name: str) -> str:
        wanted, kernel = self.world.orders[name], self._alive.kernel
        if self.world.stands[name] is Standing.FILLED:
            kernel.on_fill(filled(wanted))
        else:
            kernel.on_cancelled(wanted.client_order_id)
        return "Hear"

    def _crash(self, _: str, __: str) -> str:
        self.close()
        return "Crash"

    def _restart(self, _: str, __: str) -> str:
        self._attach()
        return "Restart"

    # -- The stop --------------------------------------------------------------------------------

    def _begin0(self, _: str, __: str) -> str | None:
        life = self._alive
        resumes = life.number and not life.stopping  # as a process does it that came up with a halt
        return self._begun(lambda: (life.stopper.resume() if resumes else None) or life.stopper.halted())

    def _begin1(self, _: str, __: str) -> str | None:
        return self._begun(lambda: self._alive.stopper.controlled("evening"))

    def _begun(self, begin: Callable[[], object]) -> str | None:
        life = self._alive
        stored = self.world.stored()
        begin()
        self._settle()
        if self.world.stored() == stored:
            return None
        return "Begin1" if life.controlled else "Begin0"

    def _finish(self, _: str, how: str) -> str:
        life = self._alive
        life.may_end.set()
        life.later_known.wait(LONG_S)
        for one in life.later:
            one.loop.wait_parked()
            for _ in range(100):
                if one.over:
                    break
                if how == "back" and one.calls and one.name not in self.world.hung:
                    self._play(one, "answer-0")
                else:
                    self._play(one, "spend")
        if life.future is not None:
            wait((life.future,), LONG_S)
        return "Finish"

    def _settle(self) -> None:
        """Wait until everybody waits."""
        life = self.life
        if life is None or life.future is None:
            return
        for _ in range(2):
            life.lanes_known.wait(LONG_S)
            for one in life.lanes:
                one.loop.wait_parked()
            if all(one.over for one in life.lanes):
                life.all_ended.wait(LONG_S)
            if life.intent is not None:
                intent.Intent.stored(life.intent, life.intent._version, LONG_S)  # also of one that is wrong

    # -- A lane ----------------------------------------------------------------------------------

    def _on(self, what: str, name: str) -> str:
        (one,) = (one for one in self._alive.lanes if one.name == name)
        return self._play(one, what)

    _answer = _go = _turn = _spend = _on

    def _play(self, one: Any, what: str) -> str:
        """One step of a lane."""
        if what.startswith("answer"):
            return self._answered(one, one.calls[int(what[-1])], fills="without" not in what)
        if what.startswith("spend"):
            one.spent += 1
            one.loop.step(lambda: setattr(one.loop, "now_s", one.loop.now_s + SPENT_S * 50 ** (one.spent - 1)))
        if what == "turn":
            asks = [call.order_id for call in one.calls if call.kind == "query"]
            one.loop.step(one.loop.turn)
            return self._timed_out(one, asks)
        if what.startswith("go") or what == "spend-and-go-on":
            stops: Any = one.intent._stops
            stops.full = "full" in what
            one.loop.step(one.pass_on)
            self._settle()
            if stops.full and one.loop.handed_out:  # it is told at once that the disk is full
                one.loop.step(one.pass_on)
                self._settle()
            stops.full = False
        return "lane"

    def _answered(self, one: Any, call: Any, *, fills: bool) -> str:
        world = self.world
        ours = call.order_id == world.orders[one.name].client_order_id
        if call.kind == "cancel":
            world.cancel(one.name, call.order_id)
            one.loop.step(lambda: call.answer.set_result(None))
            return "Cancel" if ours else "TakeBack"
        if call.kind == "send":
            one.loop.step(lambda: call.answer.set_result("taken"))
            return "lane"
        state = world.state(one.name, call.order_id, fills=fills)
        heard = not self._alive.kernel.works(call.order_id)
        one.loop.step(lambda: call.answer.set_result(state))
        return "Query" if ours and not heard else "lane"

    def _timed_out(self, one: Any, asks: list[str]) -> str:
        """Whether asking for our order took too long."""
        ours = self.world.orders[one.name].client_order_id
        asked = ours in asks and "asked" in one.gates
        return "TimeOut" if asked and self._alive.kernel.works(ours) else "lane"

    # -- The beginning and the end ---------------------------------------------------------------

    def node(self) -> Node:
        """Where everything stands."""
        return node(self.world, self.life, self._ledger)

    def close(self) -> None:
        """End the process, if there is one."""
        if self.life is not None:
            self.life.die()
            self.life = None


def walk(
    what: Walk,
    *,
    limit: int = 100_000,
    until: Callable[[Node, str, Node], bool] = lambda *_: False,
) -> Graph[Node]:
    """Walk through all that can happen.

    Args:
        what: is walked.
        limit: the most nodes.
        until: as for `tour`.
    """
    numbers = itertools.count()
    last: list[Path] = []
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Policy())
    try:
        with contextlib.ExitStack() as over:
            memory = os.environ.get("INTERLOCK_MEMORY")  # the run's memory disk, as there are thousands of homes
            directory = over.enter_context(tempfile.TemporaryDirectory(dir=memory, prefix="walk-"))

            def begin() -> Driven:
                for path in last:
                    shutil.rmtree(path)
                last[:] = [Path(directory, f"home-{next(numbers)}")]
                return Driven(last[0], what)

            patch = over.enter_context(pytest.MonkeyPatch.context())
            for module in (executor, lane, exits):
                patch.setattr(module, "time", Time)
            patch.setattr(lane, "Clerk", Clerk)
            patch.setattr(intent, "_store", store(intent._store))
            patch.setattr(executor, "Lane", what.driven(DrivenLane, Lane))
            patch.setattr(executor, "ExitLane", what.driven(DrivenExitLane, ExitLane))
            return tour(begin, limit=limit, until=until)
    finally:
        asyncio.set_event_loop_policy(policy)
