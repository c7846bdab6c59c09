"""What the tests of stops and shutdowns share: a venue with habits, on the other side of a real kernel."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.helpers import LIMITS, NAME, order, quote

from interlock import Fill, Order, OrderType, Side
from interlock.stopping import Pace, Standing, State, StopExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock import Cancel, Kernel, Permit

OTHER: Final = "ABC"
TWO: Final = LIMITS + LIMITS[LIMITS.index("[instruments.XYZ]") :].replace("XYZ", OTHER)
"""Limits with two instruments."""

PATIENT: Final = Pace(budget_s=30, exit_s=30, call_s=30, wait_s=0.001, longest_wait_s=0.01, grace_s=0)
"""For stops that come to their end."""

BRIEF: Final = Pace(budget_s=0.6, exit_s=0.6, call_s=0.1, wait_s=0.01, longest_wait_s=0.02, grace_s=0)
"""For stops that cannot."""

LONG_S: Final = 60


class Venue:
    """A venue in memory: what it was told, what it has, and how it behaves.

    Attributes:
        told: every call in its order: "send", "cancel", "query" or "position", and the order's id or instrument.
        resting: what it has, by id, and how much of it is filled.
        over: how orders ended.
        events: whether it reports to the kernel by itself.
        habits: by call, what it does before it does what it should; by default nothing.
    """

    def __init__(self, kernel: Kernel, *, events: bool = True) -> None:
        self.kernel = kernel
        self.events = events
        self.told: list[tuple[str, str]] = []
        self.resting: dict[str, tuple[Order, Decimal]] = {}
        self.over: dict[str, State] = {}
        self.habits: dict[str, Callable[[str], object]] = {}
        self.out = threading.Event()
        self.held = Decimal(0)
        self._fills = 0

    async def _act(self, call: str, name: str) -> None:
        self.told.append((call, name))
        habit = self.habits.get(call)
        if habit is not None:
            result = habit(name)
            if asyncio.iscoroutine(result):
                await result

    async def send(self, permit: Permit) -> str:
        """Take an order: a limit order rests, a market order fills."""
        wanted = permit.redeem()
        await self._act("send", wanted.client_order_id)
        self.resting[wanted.client_order_id] = (wanted, Decimal(0))
        if wanted.order_type is OrderType.MARKET:
            self.fill(wanted.client_order_id, wanted.quantity)
        return "taken"

    async def cancel(self, cancel: Cancel) -> None:
        """Take an order back."""
        await self._act("cancel", cancel.client_order_id)
        wanted, filled = self.resting.pop(cancel.client_order_id)
        self.over[wanted.client_order_id] = State(standing=Standing.CANCELLED, filled=filled)
        if self.events:
            self.kernel.on_cancelled(wanted.client_order_id)

    async def query(self, wanted: Order) -> State:
        """Say where it stands."""
        await self._act("query", wanted.client_order_id)
        order_id = wanted.client_order_id
        if order_id in self.resting:
            return State(standing=Standing.WORKING, filled=self.resting[order_id][1])
        return self.over.get(order_id, State(standing=Standing.UNKNOWN))

    def fill(self, order_id: str, quantity: Decimal, *, told: bool | None = None) -> Fill:
        """Execute some of an order, and report it if that is its habit."""
        wanted, filled = self.resting.pop(order_id)
        self._fills += 1
        done = Fill(
            client_order_id=order_id,
            fill_id=f"F{id(self)}-{self._fills}",
            instrument=wanted.instrument,
            side=wanted.side,
            quantity=quantity,
            price=Decimal(100),
        )
        filled += quantity
        self.held += quantity if wanted.side is Side.BUY else -quantity
        if filled == wanted.quantity:
            self.over[order_id] = State(standing=Standing.FILLED, filled=filled)
        else:
            self.resting[order_id] = (wanted, filled)
        if self.events if told is None else told:
            self.kernel.on_fill(done)
        return done

    def calls(self, call: str) -> list[str]:
        """Of which orders this was asked."""
        return [name for said, name in self.told if said == call]

    # -- Bad habits ------------------------------------------------------------------------------

    async def hang(self, _: str) -> None:
        """Never answer."""
        await asyncio.Event().wait()

    def block(self, _: str) -> None:
        """Hold the very thread, until the test lets go."""
        self.out.wait(LONG_S)

    async def swallow(self, _: str) -> None:
        """Never answer, and do not let go when asked to either."""
        while not self.out.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


@attrs.define
class Raises:
    """A habit: raise this."""

    error: BaseException

    def __call__(self, _: str) -> None:
        """Raise it."""
        raise self.error


def place(kernel: Kernel, venue: Venue, *order_ids: str, instrument: str = NAME, side: Side = Side.BUY) -> None:
    """Have orders rest at a venue."""
    for order_id in order_ids:
        verdict = asyncio.run(
            kernel.submit_async(order(order_id, instrument=instrument, side=side, price="98"), venue.send)
        )
        if not verdict:
            raise AssertionError(verdict)


def hold(kernel: Kernel, venue: Venue, quantity: str = "2", *, instrument: str = NAME) -> None:
    """Come by a position."""
    kernel.consult(attrs.evolve(quote(kernel), instrument=instrument))
    wanted = order(f"entry-{instrument}", instrument=instrument, quantity=quantity, price=None)
    verdict = asyncio.run(kernel.submit_async(wanted, venue.send))
    if not verdict or kernel.positions()[instrument] != Decimal(quantity):
        raise AssertionError(verdict)


def executor(kernel: Kernel, gateways: Any, home: Path | None = None, **given: Any) -> StopExecutor:
    """A stop executor for the engine "desk", patient unless said otherwise."""
    named = gateways if isinstance(gateways, dict) else {"venue": gateways}
    return StopExecutor(kernel, named, home=home, engine="desk", **({"pace": PATIENT} | given))


def intents(home: Path, engine: str = "desk") -> dict[str, bytes]:
    """The files of an engine's stored stops; not those that a kill cut off half-written, which nobody reads."""
    directory = home / "stops" / engine
    names = sorted(directory.iterdir()) if directory.is_dir() else []
    return {path.name: path.read_bytes() for path in names if not path.name.startswith(".")}
