"""What a stored intent tells of a stop that this process did not make, or did not make to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.stopping.gateways import OVER, Standing
from interlock.stopping.report import ExitEnd, OrderEnd, StopOutcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from interlock.stopping.intent import Record

__all__ = ["finished_before", "recall"]


def recall(record: Record, ends: dict[str, OrderEnd]) -> tuple[ExitEnd, ...]:
    """The exits of a stop that was interrupted: each may have been sent, and none is sent again.

    Args:
        record: its intent.
        ends: what was found of its orders just now. Those that the intent names and nobody had to see to are added:
            they are over by now, or they would still work.
    """
    for order_id, row in record.orders.items():
        if order_id not in ends:
            ends[order_id] = _end(order_id, row, works=False)
    return tuple(
        ExitEnd(
            instrument=row.get("instrument", ""),
            client_order_id=order_id,
            begun=row.get("stage") not in {"refused", "no ticket"},
            standing=ends[order_id].standing if order_id in ends else Standing.CLOSED,
            problem="interrupted: asked for, not sent again",
        )
        for order_id, row in record.exits.items()
    )


def finished_before(record: Record, works: Collection[str], asked: int, took_ns: int) -> StopOutcome:
    """What a stop came to that had its end before: nothing of it is done again.

    Args:
        record: its intent.
        works: the orders that work by the ledger, all the same.
        asked: the category that was asked for now.
        took_ns: how long it took to find out.
    """
    ends = {order_id: _end(order_id, row, works=order_id in works) for order_id, row in record.orders.items()}
    exits = recall(record, ends)
    return StopOutcome(
        stop=record.name,
        category=record.category,
        asked=asked,
        orders=tuple(ends.values()),
        exits=exits,
        durable=True,
        before=True,
        took_ns=took_ns,
    )


def _end(order_id: str, row: dict[str, str], *, works: bool) -> OrderEnd:
    told = row.get("standing", "")
    known = Standing(told) if told in OVER else Standing.CLOSED
    return OrderEnd(
        client_order_id=order_id,
        instrument=row.get("instrument", ""),
        gateway=row.get("gateway", ""),
        standing=Standing.UNKNOWN if works else known,
        booked=not works,
    )
