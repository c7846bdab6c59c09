"""What a stop reports: each order and each exit by name, and nothing called a success that was not seen to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from interlock.stopping.gateways import OVER, Standing

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["ExitEnd", "OrderEnd", "StopOutcome"]


@attrs.frozen(kw_only=True)
class OrderEnd:
    """What became of one order that worked when the stop began.

    Attributes:
        client_order_id: its id.
        instrument: its instrument.
        gateway: which gateway was asked; empty if none is responsible for it.
        standing: where it stands. UNKNOWN: the budget is spent, somebody must see to it.
        filled: how much of it the venue said was executed, in units; None if it never said.
        booked: whether the kernel's ledger has it as over, too.
        cancels: how often a cancel was sent.
        queries: how often the venue was asked.
        problem: what went wrong last; empty if nothing did.
    """

    client_order_id: str
    instrument: str
    gateway: str
    standing: Standing
    filled: Decimal | None = None
    booked: bool = False
    cancels: int = 0
    queries: int = 0
    problem: str = ""

    @property
    def over(self) -> bool:
        """Whether the order is known to be over, at the venue and in the ledger."""
        return self.standing in OVER and self.booked


@attrs.frozen(kw_only=True)
class ExitEnd:
    """What became of one exit of a stop of category 1.

    Attributes:
        instrument: which position.
        client_order_id: of the exit; empty if none was made.
        quantity: of the exit, in units.
        begun: whether it may have been sent.
        standing: where it stands; CLOSED if it never began.
        problem: why it was not sent, or what went wrong; empty if nothing did.
    """

    instrument: str
    client_order_id: str = ""
    quantity: Decimal | None = None
    begun: bool = False
    standing: Standing = Standing.CLOSED
    problem: str = ""


@attrs.frozen(kw_only=True)
class StopOutcome:
    """What a stop came to.

    Attributes:
        stop: its id, "EPOCH-N"; empty if it has no stored intent.
        category: 0 or 1 at its end: a halt makes a 1 a 0.
        asked: the category that was asked for.
        orders: every order that worked when it began.
        exits: every exit, made or not; of category 1.
        positions: what is still held, in units, instruments that are flat left out; None if nobody could say.
        left: the instruments that are still held though they were to be closed.
        durable: whether all of the intent is on the disk.
        resumed: whether it took up a stop that a crash had interrupted.
        before: whether it had been finished before, and nothing was done now.
        problems: what went wrong beside the orders, for people.
        took_ns: how long it took, monotonic.
    """

    stop: str
    category: int
    asked: int
    orders: tuple[OrderEnd, ...]
    exits: tuple[ExitEnd, ...] = ()
    positions: dict[str, Decimal] | None = None
    left: tuple[str, ...] = ()
    durable: bool
    resumed: bool = False
    before: bool = False
    problems: tuple[str, ...] = ()
    took_ns: int = 0

    @property
    def escalated(self) -> tuple[OrderEnd, ...]:
        """The orders that are not known to be over: somebody must ask the venue."""
        return tuple(end for end in self.orders if not end.over)

    @property
    def complete(self) -> bool:
        """Whether every order is known to be over, and all that was to be closed was closed by an exit that is filled.

        That nobody can say what is held is no success of category 1.
        """
        exits = all(end.begun and end.standing is Standing.FILLED for end in self.exits)
        flat = not self.left and (self.category == 0 or self.positions is not None)
        return not self.escalated and exits and flat and self.category == self.asked

    def as_json(self) -> dict[str, object]:
        """The outcome as plain data; quantities are decimal text."""
        plain = attrs.asdict(self, value_serializer=_plain)
        return {**plain, "complete": self.complete, "escalated": [end.client_order_id for end in self.escalated]}


def _plain(_: object, __: object, value: object) -> object:
    if isinstance(value, Standing):
        return str(value)
    return f"{value:f}" if hasattr(value, "as_tuple") else value
