"""The real stop executor, driven through every action of ``specs/stop/StopExecutor.tla`` by its name.

`Driven` is a real kernel on real files with a real `StopExecutor`: its threads, lanes and intents. It goes step for
step through what they, the venues and the world can do, crashes and restarts included. Who decides what:

1. *The code decides what happens.* A step is what the code does until it would wait again: for a venue, for time, for
   the disk or for another thread. It has the name of an action only if the code did that: Cancel if a cancel arrived at
   the venue, Report if `see_off` returned an end, Send if a permit was redeemed there. A step that changes what the
   specification sees, and is none of its actions, goes into the graph without a name.
2. *What is seen is read where it stands*: mode, intent and tickets off the disk or the kernel, the ledger off the
   kernel, what a lane knows off what its calls returned.
3. *The world decides the rest*, and everything is tried everywhere: when and what a venue answers, when time passes
   and a budget is spent, when a venue's own event is heard, when the disk is full, who halts, and when it all dies.

A node is a state of the specification, with where the code stands in it. What is not walked, because a step is not cut
in two: the intent's writer and the journal have time to write after each step, the ledger is told at once, and a venue
tells no positions. What happens inside a step is for the tests with real threads and kills.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import wait
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.helpers import abandon, order

from interlock import Fill, Order
from interlock.stopping import Standing, State, intent
from interlock.stopping.executor import StopExecutor
from interlock.stopping.exits import ExitLane
from interlock.stopping.lane import Lane, Pace
from interlock.testing.stepping import Died, Stepper

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from interlock import Cancel, Kernel, Permit
    from interlock.stopping import StopOutcome
    from interlock.stopping.report import ExitEnd, OrderEnd

_BUDGET_S: Final = 1e6
LONG_S: Final = 60
SPENT_S: Final = 2 * _BUDGET_S
PACE: Final = Pace(budget_s=_BUDGET_S, exit_s=10 * _BUDGET_S, call_s=1.0, wait_s=1.0, longest_wait_s=1.0, grace_s=0.0)
"""Budgets that are spent when the walk says so."""


class _Here(threading.local):
    lane: Any = None
    """The lane whose thread this is."""


HERE: Final = _Here()


class Time:
    """The clock of the stop: a lane's own; and outside of lanes, no time passes."""

    monotonic_ns = staticmethod(time.monotonic_ns)

    @staticmethod
    def monotonic() -> float:
        """Seconds."""
        return HERE.lane.loop.now_s if HERE.lane is not None else 0.0


class Policy(asyncio.DefaultEventLoopPolicy):
    """A lane has the loop that it was made with."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """It, or any."""
        return HERE.lane.loop if HERE.lane is not None else super().new_event_loop()


class Clerk:
    """Tells the ledger at once: that a disk may hold it up is for other tests."""

    def __init__(self, name: str) -> None:
        del name

    async def tell(self, act: Callable[[], Any], timeout_s: float) -> Any:
        """Do it."""
        del timeout_s
        return act()

    def close(self) -> None:
        """Nothing to end."""


@attrs.define(eq=False)
class Call:
    """A call of a gateway that has no answer yet."""

    kind: str
    order_id: str
    answer: asyncio.Future[Any]


class DrivenLane(Lane):
    """A lane on a stepper, which says what it does."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.loop = Stepper()
        self.calls: list[Call] = []
        self.gates: dict[str, asyncio.Future[None]] = {}
        self.knows: dict[str, Standing] = {}
        self.ended: dict[str, Standing] = {}
        self.asks_for_exit = self.over = False
        self.spent = 0

    def _run(self) -> None:
        HERE.lane = self
        try:
            super()._run()
        finally:
            self.over = True
            self.loop.end()

    def pass_on(self) -> None:
        """On its loop: let it go on from where it waits for the walk, or for another thread."""
        for passed in self.gates.values():
            passed.set_result(None)
        self.gates.clear()
        self.loop.hand_back()

    async def _wait_at(self, gate: str) -> None:
        self.gates[gate] = self.loop.create_future()
        await self.gates[gate]

    async def see_off(self, order: Order, *, cancels: Callable[[], bool] = lambda: True) -> OrderEnd:
        """As it is."""
        end = await super().see_off(order, cancels=cancels)
        if _is_ours(order):
            self.ended[order.client_order_id] = end.standing
        return end

    async def _query(self, order: Order, end: OrderEnd) -> OrderEnd:
        """As it is; it waits before anything is made of the answer."""
        end = await super()._query(order, end)
        if _is_ours(order):
            self.knows[order.client_order_id] = end.standing
            await self._wait_at("asked")
        return end


class DrivenExitLane(DrivenLane, ExitLane):
    """The same, for a lane with exits."""

    async def _close_out(self, instrument: str, left: list[str]) -> None:
        """As it is; it waits before it decides."""
        await self._wait_at("decides")
        await super()._close_out(instrument, left)

    async def _exit(self, instrument: str, order_id: str, left: list[str]) -> ExitEnd:
        self.asks_for_exit = True
        try:
            return await super()._exit(instrument, order_id, left)
        finally:
            self.asks_for_exit = False


def _is_ours(order: Order) -> bool:
    return not order.client_order_id.startswith("exit-")


class DrivenExecutor(StopExecutor):
    """A stop executor that waits for the walk where all its lanes have ended."""

    life: Life

    def _start(self, wanted: Any) -> Any:
        self.life.begin()
        future = super()._start(wanted)
        self.life.track(future)
        return future

    def _intent(self, *given: Any, **named: Any) -> intent.Intent:
        self.life.controlled = named["controlled"]
        self.life.intent = super()._intent(*given, **named)
        return self.life.intent

    def _run(self, lanes: Any, *given: Any, **named: Any) -> None:
        life, lanes = self.life, tuple(lanes)
        first = not life.lanes_known.is_set()
        (life.lanes if first else life.later).extend(lanes)
        (life.lanes_known if first else life.later_known).set()
        super()._run(lanes, *given, **named)
        if first:
            life.all_ended.set()
            life.may_end.wait(LONG_S)
        if life.dead:
            raise Died


@attrs.define(eq=False)
class Gateway:
    """The way to one venue, on which every call waits for the walk to answer it."""

    name: str
    world: World

    async def cancel(self, cancel: Cancel) -> Any:
        """Wait."""
        return await self._wait("cancel", cancel.client_order_id)

    async def query(self, wanted: Order) -> Any:
        """Wait."""
        return await self._wait("query", wanted.client_order_id)

    async def send(self, permit: Permit) -> Any:
        """Arrive, and wait."""
        wanted = permit.redeem()
        HERE.lane.asks_for_exit = False
        self.world.arrives(self.name, wanted)
        return await self._wait("send", wanted.client_order_id)

    @staticmethod
    async def _wait(kind: str, order_id: str) -> Any:
        call = Call(kind, order_id, HERE.lane.loop.create_future())
        HERE.lane.calls.append(call)
        try:
            return await call.answer
        finally:
            HERE.lane.calls.remove(call)


class World:
    """What outlives the process: the home, and at each venue an order that rests and a position.

    Args:
        path: the home's.
        hung: the gateways that never answer.
        names: of all gateways, and of their instruments.
    """

    def __init__(self, path: Path, hung: frozenset[str], names: tuple[str, ...]) -> None:
        self.path = path
        self.hung = hung
        self.orders = {name: order(f"o-{name}", instrument=name, price="98") for name in names}
        self.stands = dict.fromkeys(names, Standing.WORKING)
        self.sent = dict.fromkeys(names, 0)
        self.exits: dict[str, tuple[Order, Standing]] = {}
        self.replayed = False

    def stored(self) -> intent.Record | None:
        """The last intent on the disk."""
        paths = sorted((self.path / "stops" / "desk").glob("1-*.json"))
        return intent.decode(paths[-1].read_bytes()) if paths else None

    def _deed(self) -> None:
        stored = self.stored()
        self.replayed = self.replayed or (stored is not None and stored.done)

    def arrives(self, name: str, wanted: Order) -> None:
        """An exit has come to its venue."""
        self._deed()
        self.sent[name] = min(self.sent[name] + 1, 2)
        self.exits[name] = (wanted, Standing.WORKING)

    def cancel(self, name: str, order_id: str) -> None:
        """A cancel has come to its venue."""
        self._deed()
        if order_id != self.orders[name].client_order_id:
            wanted, stands = self.exits[name]
            self.exits[name] = (wanted, Standing.CANCELLED if stands is Standing.WORKING else stands)
        elif self.stands[name] is Standing.WORKING:
            self.stands[name] = Standing.CANCELLED

    def state(self, name: str, order_id: str, *, fills: bool = True) -> State:
        """What the venue says of an order."""
        wanted, stands = self.exits[name] if order_id != self.orders[name].client_order_id else (
            self.orders[name], self.stands[name],
        )  # fmt: skip
        if stands is not Standing.FILLED:
            return State(standing=stands)
        return State(standing=stands, filled=wanted.quantity, fills=(filled(wanted),) if fills else ())


def filled(wanted: Order) -> Fill:
    """The execution of an order."""
    return Fill(
        client_order_id=wanted.client_order_id,
        fill_id=f"f-{wanted.client_order_id}",
        instrument=wanted.instrument,
        side=wanted.side,
        quantity=wanted.quantity,
        price=Decimal(100),
    )


class Life:
    """One process: it ends with a crash."""

    def __init__(self, kernel: Kernel, stopper: DrivenExecutor, number: int) -> None:
        self.kernel = kernel
        self.stopper = stopper
        self.number = number
        stopper.life = self
        self.dead = False
        self.begin()

    def begin(self) -> None:
        """There is another stop."""
        self.future: Future[StopOutcome] | None = None
        self.lanes: list[Any] = []
        self.later: list[Any] = []
        self.intent: intent.Intent | None = None
        self.controlled = False
        self.lanes_known, self.later_known = threading.Event(), threading.Event()
        self.all_ended, self.may_end = threading.Event(), threading.Event()
        self.known: dict[str, str] = {}
        self.end: dict[str, str] = {}

    def track(self, future: Future[StopOutcome]) -> None:
        """It is this one; once it is over nobody has to wait for a part of it."""
        self.future = future
        for event in (self.lanes_known, self.later_known, self.all_ended):
            future.add_done_callback(lambda _, event=event: event.set())  # type: ignore[misc] # bound now

    @property
    def stopping(self) -> bool:
        """Whether a stop is under way."""
        return self.future is not None and not self.future.done()

    def die(self) -> None:
        """As the death of the process does it: its files are closed, its threads end where they are."""
        kernel = self.kernel
        kernel.seal()
        abandon(kernel)
        kernel._retire("dead")
        self.dead = True
        self.stopper._stops.dead = True  # type: ignore[union-attr]
        for one in (*self.lanes, *self.later):
            if not one.over:
                one.loop.die()
        self.may_end.set()
        if self.future is not None:
            wait((self.future,), LONG_S)
        if self.intent is not None:
            self.intent.close()


def store(plain: Callable[[Any, intent.Record], str]) -> Callable[[Any, intent.Record], str]:
    """The writing of intents: a disk may be full, and the dead write nothing."""

    def storing(stops: Any, record: intent.Record) -> str:
        if getattr(stops, "dead", False) or getattr(stops, "full", False):
            return "no space left on the device"
        return plain(stops, record)

    return storing
