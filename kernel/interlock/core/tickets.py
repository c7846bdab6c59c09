"""Tickets: how a controlled stop lets its own exits, and nothing else, through a gate that is closed.

A drain closes the gate for good. A stop that is to end flat needs one kind of order after that: an exit,
which makes a position smaller and cannot turn it. So the gate asks, once it is closed, whether the order has a
ticket. Four rules keep that from becoming a bypass.

1. A ticket exists in RUNNING only, and only behind a closed gate. Halt, stop and start take all of them away, so
   that nothing is let through in HALTED: `NoEmitAfterHalt` knows no exception.
2. It names one order: id, instrument, side and the most that may be sold or bought. What does not fit, or is not
   reduce-only, meets the closed gate as if there were no ticket.
3. It is good for one try. The gate takes it when the order comes, whatever is decided about the order.
4. It replaces no check. Behind it stands the whole of gate 2, and then permit, journal and the last look.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from interlock.core.values import Order, Side

__all__ = ["Ticket", "fits"]


@attrs.frozen(kw_only=True)
class Ticket:
    """What one exit may be.

    Attributes:
        client_order_id: of the one order that it lets through.
        instrument: the instrument's name.
        side: of the order; against the position.
        quantity: at most so much, in units.
    """

    client_order_id: str
    instrument: str
    side: Side
    quantity: Decimal


def fits(ticket: Ticket, order: Order) -> bool:
    """Whether this is the order that the ticket is for. The order may be anything; then it isn't."""
    if order.__class__ is not Order or order.reduce_only is not True:
        return False
    texts = (order.client_order_id, order.instrument)
    if any(text.__class__ is not str for text in texts) or texts != (ticket.client_order_id, ticket.instrument):
        return False
    quantity = order.quantity
    if quantity.__class__ is not Decimal or not quantity.is_finite():
        return False
    return order.side is ticket.side and quantity <= ticket.quantity
