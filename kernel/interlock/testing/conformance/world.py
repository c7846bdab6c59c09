"""The oracle: what the venue may see, given what was done. It knows nothing of the engine's code.

`World.watch` is called by the venue with each order as it arrives, in whatever thread that is. A breach is kept until
the step is over: an engine may swallow what is raised inside its send.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from interlock.core.values import Side
from interlock.testing.conformance.claims import Claim

if TYPE_CHECKING:
    from interlock.testing.conformance.adapter import Adapter, Wanted
    from interlock.testing.conformance.probe import Arrival

__all__ = ["World"]


@attrs.define(kw_only=True)
class World:
    """One attempt, as the world sees it.

    Attributes:
        claim: the one that is tested; no other can be broken here.
        halted: a halt has returned, and nobody has reset it.
        left: what was done since that halt that must not have left it, such as a restart; empty: nothing.
        lost: what the engine has lost; empty: nothing.
        doomed: orders that must not get there, whatever happens, and why.
        bad_tick: a tick about which no strategy may be asked is just being handled.
        wanted: all orders that anybody wanted, by id.
        working: what the venue has, by id.
        position: what was executed, signed.
        orders: how many orders have arrived.
        broken: what broke the claim, or empty.
    """

    claim: Claim
    halted: bool = False
    left: str = ""
    lost: str = ""
    doomed: dict[str, str] = attrs.field(factory=dict)
    bad_tick: str = ""
    wanted: dict[str, Wanted] = attrs.field(factory=dict)
    working: dict[str, Wanted] = attrs.field(factory=dict)
    arrived: set[str] = attrs.field(factory=set)
    position: Decimal = Decimal(0)
    orders: int = 0
    broken: str = ""

    def breach(self, claim: Claim, said: str) -> None:
        """Something that breaks a claim; the first of the claim that is tested counts."""
        if claim is self.claim and not self.broken:
            self.broken = said

    def watch(self, arrival: Arrival, adapter: Adapter) -> None:
        """An order, or a cancel, has arrived."""
        order_id = arrival.order_id
        if arrival.side is None:
            self.working.pop(order_id, None)
            return
        self.orders += 1
        if self.halted:
            self._late(order_id)
        if self.lost:
            self.breach(Claim.ABSENCE_MEANS_HALTED, f"Order {order_id} reached the venue although {self.lost}.")
        if order_id in self.doomed:
            self.breach(
                Claim.CHECKS_FAIL_CLOSED, f"Order {order_id} reached the venue although {self.doomed[order_id]}."
            )
        if self.bad_tick:
            self.breach(
                Claim.BAD_TICKS_REFUSE, f"Order {order_id} reached the venue, of a tick that is {self.bad_tick}."
            )
        if order_id in self.arrived:
            self.breach(Claim.ONE_PERMIT_ONE_SEND, f"Order {order_id} reached the venue a second time.")
        if self.claim is Claim.JOURNAL_BEFORE_EMIT and not adapter.recorded(order_id):
            self.breach(self.claim, f"Order {order_id} was at the venue before anything of it was on record.")
        self.arrived.add(order_id)
        wanted = self.wanted.get(order_id)
        if wanted is None:
            return
        if wanted.reduce_only:
            self._reduces(wanted)
        self.working[order_id] = wanted

    def _late(self, order_id: str) -> None:
        if self.left:
            said = f"Order {order_id} reached the venue: the halt did not outlive that {self.left}."
            self.breach(Claim.HALT_IS_LATCHING, said)
            return
        said = f"Order {order_id} reached the venue after the halt had returned."
        self.breach(Claim.NO_EMIT_AFTER_HALT, said)
        self.breach(Claim.HALT_NEVER_WAITS, said)

    def _reduces(self, wanted: Wanted) -> None:
        """Whether the position could become larger, or turn, if this and the exits before it are executed."""
        sign = 1 if wanted.side is Side.BUY else -1
        resting = sum(one.quantity for one in self.working.values() if one.reduce_only and one.side is wanted.side)
        if self.position * sign >= 0 or self.position * sign + resting + wanted.quantity > 0:
            said = f"Order {wanted} reached the venue with a position of {self.position}"
            more = f" and exits of {resting} working" if resting else ""
            self.breach(Claim.REDUCE_ONLY_NEVER_FLIPS, f"{said}{more}.")

    def filled(self, wanted: Wanted) -> None:
        """The venue executed a working order whole."""
        del self.working[wanted.order_id]
        self.position += wanted.quantity if wanted.side is Side.BUY else -wanted.quantity

    def reset(self) -> None:
        """Somebody who answers for it has reset the halt."""
        self.halted = False
        self.left = ""
