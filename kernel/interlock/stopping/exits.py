"""Category 1: the exits, each by ticket and verified, and none unless everything before it is certain.

An exit is sent only if

1. the engine is RUNNING, its gate closed, and nobody has halted;
2. every order that this gateway had is over, at the venue and in the ledger; and so is every order of that
   instrument, whichever gateway has it or none: what still works, or is on its way, could come on top of the exit;
3. the position is confirmed: the venue, if it can be asked, says what the ledger says;
4. its ticket is on the disk in the intent, and in the journal;
5. gate 2 lets it through, as it would any other order. It waits until the message rate has room for it, because the
   cancels of this very stop may have used that up; and if somebody else takes that room first, it waits again, with
   another ticket, a few times.

Whatever is missing, there is no exit, and the report says why: a position that is left is seen, one that was
turned is not. There is one exit for an instrument, and what has been sent is never sent again: what it leaves is
reported.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.modes import Mode
from interlock.core.reasons import Reason
from interlock.core.tickets import Ticket
from interlock.core.values import Order, OrderType, Outcome, Side, TimeInForce
from interlock.stopping.gateways import Confirms, Sends, Standing
from interlock.stopping.lane import Lane, said
from interlock.stopping.report import ExitEnd, OrderEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interlock.core.values import Verdict
    from interlock.stopping.gateways import StopGateway
    from interlock.stopping.lane import Errand

__all__ = ["ExitLane", "Exits"]

_TRIES: Final = 5
"""How often an exit may find that the room it saw was taken."""


@attrs.frozen(kw_only=True)
class Exits:
    """Which positions a stop of category 1 closes, and how.

    Attributes:
        instruments: whose; None for all that have a position.
        price: a limit for the exit, from instrument, side and quantity; None for market orders.
        time_in_force: of the exits.
    """

    instruments: frozenset[str] | None = None
    price: Callable[[str, Side, Decimal], Decimal] | None = None
    time_in_force: TimeInForce = TimeInForce.IOC

    def wants(self, instrument: str) -> bool:
        """Whether a position of this instrument is to be closed."""
        return self.instruments is None or instrument in self.instruments

    def order(self, order_id: str, instrument: str, position: Decimal) -> Order:
        """The exit of a position."""
        side = Side.SELL if position > 0 else Side.BUY
        quantity = abs(position)
        return Order(
            client_order_id=order_id,
            instrument=instrument,
            side=side,
            quantity=quantity,
            order_type=OrderType.MARKET if self.price is None else OrderType.LIMIT,
            price=None if self.price is None else self.price(instrument, side, quantity),
            time_in_force=self.time_in_force,
            reduce_only=True,
        )


class ExitLane(Lane):
    """A lane that closes positions when its orders are over.

    Args:
        name: as for `Lane`, and the next three.
        gateway: likewise.
        orders: likewise.
        errand: likewise.
        plan: which positions, and how.
        ids: by instrument, the id of the exit; the instruments are those of this gateway.

    Attributes:
        exits: by instrument, what became of the exits; an instrument that is flat has none.
    """

    def __init__(
        self,
        name: str,
        gateway: StopGateway,
        orders: Sequence[Order],
        errand: Errand,
        *,
        plan: Exits,
        ids: Mapping[str, str],
    ) -> None:
        super().__init__(name, gateway, orders, errand)
        self.exits: dict[str, ExitEnd] = {}
        self.plan = plan
        self.ids = ids

    async def _main(self) -> None:
        await super()._main()
        until = self.deadline  # by then every other gateway's orders are over, or in doubt for good
        left = [end.client_order_id for end in self.ends.values() if not end.over]
        rest = list(self.ids)
        while rest:
            last = bool(left) or time.monotonic() >= until or self.kernel.mode is not Mode.RUNNING
            self.deadline = min(time.monotonic(), until) + self.pace.exit_s
            for instrument in tuple(rest):
                doubts = left or self._doubts(instrument)
                if last or not doubts:
                    rest.remove(instrument)
                    await self._close_out(instrument, doubts)
            if rest:
                await asyncio.sleep(self.pace.wait_s)

    def _doubts(self, instrument: str) -> list[str]:
        """Orders of an instrument that may still be executed, whichever gateway has them, or none."""
        works = [one.client_order_id for one in self.kernel.working_orders() if one.instrument == instrument]
        return works or [one.client_order_id for one in self.kernel.in_flight() if one.instrument == instrument]

    async def _close_out(self, instrument: str, left: list[str]) -> None:
        if not self.kernel.positions()[instrument]:
            return
        self.exits[instrument] = ExitEnd(instrument=instrument, problem="the gateway did not come back")
        try:
            end = await self._exit(instrument, self.ids[instrument], left)
        except Exception as error:  # noqa: BLE001 - a price function, a detached kernel: no exit
            before = self.exits[instrument]
            standing = Standing.UNKNOWN if before.begun else Standing.CLOSED
            end = attrs.evolve(before, standing=standing, problem=said(error))
        self.exits[instrument] = end

    async def _exit(self, instrument: str, order_id: str, left: list[str]) -> ExitEnd:  # noqa: PLR0911 - each a reason
        end = ExitEnd(instrument=instrument)
        if left:
            return attrs.evolve(end, problem=f"no exit: {len(left)} orders are not known to be over ({left[0]}, …)")
        gateway = self.gateway
        if not isinstance(gateway, Sends):
            return attrs.evolve(end, problem="no exit: this gateway can't send")
        if self.kernel.mode is not Mode.RUNNING:  # before its ticket, which would say for ever that there was an exit
            return attrs.evolve(end, problem="no exit: halted")
        position = self.kernel.positions()[instrument]
        if problem := await self._unconfirmed(instrument, position):
            return attrs.evolve(end, problem=f"no exit: {problem}")
        order = self.plan.order(order_id, instrument, position)
        end = attrs.evolve(end, client_order_id=order_id, quantity=order.quantity)
        row = {"instrument": instrument, "side": str(order.side), "quantity": f"{order.quantity:f}"}
        version = self.intent.exit(order_id, **row, stage="ticket")
        if not await asyncio.to_thread(self.intent.stored, version, max(0.0, self.left_s())):
            self.intent.exit(order_id, **row, stage="no ticket")  # or the disk would tell later that it had one
            return attrs.evolve(end, problem=f"no exit: its ticket is not on the disk: {self.intent.problem}"[:300])
        made = await self._submitted(end, order, gateway)
        if isinstance(made, str):
            return attrs.evolve(end, problem=made)
        answer, problem = made
        if answer is not None and not answer.accepted:
            self.intent.exit(order_id, **row, stage="refused")
            told = f"{answer.reason} {answer.limit} {answer.value}"
            return attrs.evolve(end, problem=f"no exit: refused: {told}")
        if answer is not None and answer.outcome is Outcome.UNKNOWN and answer.error is not None:
            problem = said(answer.error)
        self.intent.exit(order_id, **row, stage="sent" if not problem else "unknown")
        seen = await self._verify(order, problem)
        self.intent.exit(order_id, **row, stage=str(seen.standing))
        return attrs.evolve(end, begun=True, standing=_standing(seen, order, self), problem=seen.problem)

    async def _submitted(self, end: ExitEnd, order: Order, gateway: Sends) -> str | tuple[Verdict | None, str]:
        """Submit it, with a ticket for each try; there is another only if the message rate alone was against it.

        Returns:
            Why it was not tried, or what came of the last try: the verdict, if it ended, and what went wrong.
        """
        ticket = Ticket(
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=order.quantity,
        )
        for tries_left in reversed(range(_TRIES)):
            room = await self._has_room()
            if self.kernel.mode is not Mode.RUNNING or self.left_s() <= 0:
                why = "halted" if self.kernel.mode is not Mode.RUNNING else "the budget is spent"
                return f"no exit: {why}{'' if room else ', and the message rate has no room'}"
            verdict = await self.tell(lambda: self.kernel.ticket(ticket))
            if verdict is None:
                return "no exit: no ticket: the journal does not answer"
            if not verdict:
                return f"no exit: no ticket: {verdict.reason} {verdict.limit} {verdict.value}"
            self.exits[order.instrument] = attrs.evolve(end, begun=True, standing=Standing.UNKNOWN, problem="no answer")
            answer, problem = await self.ask(lambda: self.kernel.submit_async(order, gateway.send))
            crowded = answer is not None and not answer.accepted and answer.reason is Reason.MESSAGE_RATE
            if not crowded or not tries_left:
                break
            self.exits[order.instrument] = attrs.evolve(end, problem="the message rate has no room")
        return answer, problem

    async def _has_room(self) -> bool:
        """Wait until gate 2 has a token for the exit. Somebody else may still take it first."""
        while self.kernel.mode is Mode.RUNNING and self.left_s() > 0:
            if await self.tell(self.kernel.has_token):
                return True
            await asyncio.sleep(self.pace.wait_s)
        return False

    async def _unconfirmed(self, instrument: str, position: Decimal) -> str:
        """Why the position is not certain; empty if it is."""
        gateway = self.gateway
        if not isinstance(gateway, Confirms):
            return ""
        told, problem = await self.ask(lambda: gateway.position(instrument))
        if problem:
            return f"the venue does not tell the position: {problem}"
        if type(told) is not Decimal or told != position:
            return f"the ledger holds {position:f}, the venue says {told!s:.40}"
        return ""

    async def _verify(self, order: Order, problem: str) -> OrderEnd:
        """Ask until the exit is over. It is cancelled only if somebody halts meanwhile: that makes it a category 0."""
        self.ends[order.client_order_id] = OrderEnd(
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            gateway=self.name,
            standing=Standing.UNKNOWN,
            problem=problem,
        )
        return await self.see_off(order, cancels=lambda: self.kernel.mode is Mode.HALTED)


def _standing(seen: OrderEnd, order: Order, lane: ExitLane) -> Standing:
    """Where an exit stands: CLOSED tells only that it is over, and the position whether it did its work."""
    if seen.standing is not Standing.CLOSED:
        return seen.standing
    return Standing.CANCELLED if lane.kernel.positions()[order.instrument] else Standing.FILLED
