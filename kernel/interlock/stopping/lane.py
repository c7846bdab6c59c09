"""One gateway's part of a stop, in a thread and an event loop of its own.

So a gateway that fails, hangs or blocks its thread holds up its own orders and no other's. Each order goes its way
alone as well:

    cancel -> ask -> over? -> settle with the ledger
       ^               | no, or nobody knows
       +--- wait, twice as long each time, until the budget is spent: then it is UNKNOWN

Only so many calls are made at once, and in the order in which they were asked for. So every order has had its cancel
before any is asked about, and one that will not end takes no more than its turn from the others. Nothing on the loop
waits for the kernel's lock, which a hung disk may hold: what the ledger has to hear is told by a clerk.

Whoever started the lane reads `ends` at any time, and leaves it behind at the deadline if it does not come back: what
is not in there by then is UNKNOWN.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from interlock.core.values import Cancel
from interlock.stopping.clerk import Clerk
from interlock.stopping.gateways import OVER, Standing, State, believed
from interlock.stopping.report import OrderEnd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from interlock.core.values import Order
    from interlock.kernel import Kernel
    from interlock.stopping.gateways import StopGateway
    from interlock.stopping.intent import Intent

__all__ = ["Errand", "Lane", "Pace"]

T = TypeVar("T")
_LONGEST: Final = 300
"""Characters of what went wrong."""

_SPENT: Final = "the budget is spent"


@attrs.frozen(kw_only=True)
class Pace:
    """How patient a stop is; all in seconds.

    Attributes:
        budget_s: for cancelling and asking, until what is not over is UNKNOWN.
        exit_s: for the exits of category 1, after that.
        call_s: for one call of a gateway.
        wait_s: between two tries for one order, at first; then twice as long each time.
        longest_wait_s: but never longer.
        grace_s: for the venue's own event to reach the kernel, once an answer says that an order is over.
        at_once: so many calls of one gateway are made at the same time.
    """

    budget_s: float = 10.0
    exit_s: float = 10.0
    call_s: float = 2.0
    wait_s: float = 0.05
    longest_wait_s: float = 1.0
    grace_s: float = 0.1
    at_once: int = 32


@attrs.frozen(kw_only=True)
class Errand:
    """What all lanes of a stop have in common.

    Attributes:
        kernel: whose orders they are.
        pace: how patient to be.
        intent: where to say what became of them.
        ask_first: ask before the first cancel: a stop that was interrupted does not know what it did.
    """

    kernel: Kernel
    pace: Pace
    intent: Intent
    ask_first: bool = False


class Lane:
    """One gateway, and its orders.

    Args:
        name: the gateway's.
        gateway: which is asked, in this lane's thread only.
        orders: those that this gateway has.
        errand: of the stop.

    Attributes:
        ends: by order id, what is known by now.
        trouble: what ended the lane itself, if anything did.
        done: set when it came to its end.
    """

    def __init__(self, name: str, gateway: StopGateway, orders: Sequence[Order], errand: Errand) -> None:
        self.name = name
        self.gateway = gateway
        self.kernel = errand.kernel
        self.pace = errand.pace
        self.intent = errand.intent
        self.ends: dict[str, OrderEnd] = {
            one.client_order_id: OrderEnd(
                client_order_id=one.client_order_id,
                instrument=one.instrument,
                gateway=name,
                standing=Standing.UNKNOWN,
                problem="the gateway did not come back",
            )
            for one in orders
        }
        self.trouble = ""
        self.done = threading.Event()
        self.deadline = 0.0
        self._orders = tuple(orders)
        self._ask_first = errand.ask_first
        self._left = False
        self._turns = asyncio.Semaphore(self.pace.at_once)
        self._clerk = Clerk(name)

    def start(self, deadline: float) -> None:
        """Begin; ``deadline`` is on `time.monotonic`."""
        self.deadline = deadline
        threading.Thread(target=self._run, name=f"stop {self.name}", daemon=True).start()

    def leave(self) -> None:
        """Wait for it no longer: an answer that comes now changes nothing."""
        self._left = True

    def _run(self) -> None:
        try:
            asyncio.run(self._whole())
        except BaseException as error:  # noqa: BLE001 - what a gateway does to its loop ends its lane, and is told
            self.trouble = self.trouble or said(error)
        finally:
            self.done.set()
            self._clerk.close()

    async def _whole(self) -> None:
        """All of it. It is done then, although a call that will not be cancelled may keep the loop for ever."""
        try:
            await self._main()
        except BaseException as error:
            self.trouble = said(error)
            raise
        finally:
            self.done.set()

    async def _main(self) -> None:
        await self.see_off_all(self._orders)

    # -- Orders ----------------------------------------------------------------------------------

    async def see_off_all(self, orders: Sequence[Order]) -> None:
        """See all of them off at the same time."""
        await asyncio.gather(*(self.see_off(order) for order in orders))

    async def see_off(self, order: Order, *, cancels: Callable[[], bool] = lambda: True) -> OrderEnd:
        """Cancel and ask until the order is over, or the budget is spent.

        Args:
            order: which.
            cancels: whether it is to be cancelled at all; an exit is not, as long as nobody halted.
        """
        end = attrs.evolve(self.ends[order.client_order_id], problem="")
        ask_first, wait = self._ask_first, self.pace.wait_s
        while True:
            if not self.kernel.works(order.client_order_id):
                return self._say(attrs.evolve(end, standing=_closed(end.standing), booked=True, problem=""))
            if self.left_s() <= 0:
                break
            if not ask_first and cancels() and end.standing not in OVER:
                end = await self._cancel(order, end)
            ask_first = False
            end = await self._query(order, end)
            if end.booked or self._is_lost(order, end):
                return end
            await asyncio.sleep(max(0.0, min(wait, self.left_s())))
            wait = min(2 * wait, self.pace.longest_wait_s)
        if end.standing not in OVER:  # a time-out is no answer, and the last one may be out of date
            problem = f"{end.problem or f'it was {end.standing}'}; {_SPENT}"
            end = attrs.evolve(end, standing=Standing.UNKNOWN, problem=problem[:_LONGEST])
        return self._say(end)

    async def _cancel(self, order: Order, end: OrderEnd) -> OrderEnd:
        wanted = Cancel(client_order_id=order.client_order_id, instrument=order.instrument)
        _, problem = await self.ask(lambda: self.kernel.cancel_async(wanted, self.gateway.cancel))
        return self._say(attrs.evolve(end, cancels=end.cancels + (problem != _SPENT), problem=problem))

    async def _query(self, order: Order, end: OrderEnd) -> OrderEnd:
        """Ask once, and tell the ledger what it does not know yet."""
        answer, problem = await self.ask(lambda: self.gateway.query(order))
        state = State(standing=Standing.UNKNOWN) if problem else believed(answer, order)
        known = state.standing not in {Standing.UNKNOWN, Standing.ABSENT}
        end = attrs.evolve(
            end,
            queries=end.queries + (problem != _SPENT),
            standing=state.standing,
            filled=state.filled if known else end.filled,
            problem=problem or ("" if known and not end.problem else (state.reason or end.problem)[:_LONGEST]),
        )
        for fill in state.fills:
            await self.tell(lambda fill=fill: self.kernel.on_fill(fill))  # type: ignore[misc] # bound now
        if state.standing in OVER:
            if self.kernel.works(order.client_order_id):
                await asyncio.sleep(max(0.0, min(self.pace.grace_s, self.left_s())))  # its own event may be on its way
            if await self._settled(order, state):
                end = attrs.evolve(end, booked=True, problem="")
            else:
                lacks = "its send has not ended" if self._sends(order) else "the ledger lacks some of its fills"
                end = attrs.evolve(end, problem=f"over at the venue, and {lacks}")
        return self._say(end)

    async def _settled(self, order: Order, state: State) -> bool:
        rejected = state.standing is Standing.REJECTED
        reason = state.reason or f"found {state.standing} by asking"
        settled = await self.tell(
            lambda: self.kernel.settle(order.client_order_id, state.filled, reason=reason, rejected=rejected)
        )
        return settled is True

    async def tell(self, telling: Callable[[], T]) -> T | None:
        """Tell the kernel something, unless nobody waits for it any more. None: it failed, or took too long."""

        def tell() -> T | None:
            return None if self._left else telling()

        try:
            return await self._clerk.tell(tell, max(0.0, min(self.pace.call_s, self.left_s())))
        except TimeoutError:
            return None
        except Exception as error:  # noqa: BLE001 - a detached kernel: what it does not know stays unknown
            self.trouble = said(error)
            return None

    def _sends(self, order: Order) -> bool:
        return any(one.client_order_id == order.client_order_id for one in self.kernel.in_flight())

    def _is_lost(self, order: Order, end: OrderEnd) -> bool:
        """Whether to ask again is of no use: the venue has no such order, and nothing of it is on its way."""
        return end.standing is Standing.ABSENT and end.queries > 1 and not self._sends(order)

    def _say(self, end: OrderEnd) -> OrderEnd:
        if not self._left:
            before = self.ends.get(end.client_order_id)
            self.ends[end.client_order_id] = end
            if before is None or before.standing is not end.standing or before.booked is not end.booked:
                self.intent.order(
                    end.client_order_id, instrument=end.instrument, gateway=end.gateway, standing=str(end.standing)
                )
        return end

    # -- Calls -----------------------------------------------------------------------------------

    def left_s(self) -> float:
        """What is left of the budget; nothing once nobody waits any more."""
        return 0.0 if self._left else self.deadline - time.monotonic()

    async def ask(self, call: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
        """Make one call, in its turn and within its time. Returns its answer, and what went wrong.

        One that will not be cancelled when its time is over is left behind: its turn is another's.
        """
        async with self._turns:
            left = min(self.pace.call_s, self.left_s())
            if left <= 0:
                return None, _SPENT
            making = asyncio.ensure_future(_made(call))
            done, _ = await asyncio.wait({making}, timeout=left)
            if not done:
                making.cancel()
                return None, "no answer in time"
            return making.result()


async def _made(call: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
    """One call: whatever it raises ends it and nothing else."""
    try:
        return await call(), ""
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - see above
        return None, said(error)


def _closed(standing: Standing) -> Standing:
    return standing if standing in OVER else Standing.CLOSED


def said(error: BaseException) -> str:
    """An error in words, even if it has none."""
    try:
        return f"{type(error).__name__}: {error}"[:_LONGEST]
    except Exception:  # noqa: BLE001 - an error that cannot even be printed
        return type(error).__name__
