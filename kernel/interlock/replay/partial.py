"""What gate 2 decided in a run without recorded inputs, as far as its inputs are in the journal.

Permits, refusals, cancels, fills and their times are in any journal; ticks and heartbeats are not. So a
decision is compared where they don't matter, or where the journal implies what does:

- *A permit* names the reference price that it was judged by. That it was fresh, that the loop turned and that
  no loss limit was reached follows from its being there. All other limits are judged again.
- *A refusal* by what is checked before the reference price is judged again. So is one by what comes after it,
  if the order has a price of its own: with that for a reference it passes the collar, as it did, and its
  notional is at most what it was.
- *No other refusal* is compared: its reference, its heartbeat or its losses are not there. Nor is the count of
  an order loop after refusals that a ``flood`` counts together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.reasons import Reason
from interlock.replay.inputs import exact, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from interlock.core.ledger import Book
    from interlock.core.preorder import Core

__all__ = ["implied", "passed"]

_BEFORE: Final = frozenset(
    {
        Reason.HALTED,
        Reason.NOT_RUNNING,
        Reason.GATE_CLOSED,
        Reason.UNKNOWN_INSTRUMENT,
        Reason.NO_LIMITS,
        Reason.OFF_TICK_GRID,
        Reason.OFF_LOT_GRID,
        Reason.DUPLICATE_ID,
    }
)
_AFTER: Final = frozenset(
    {
        Reason.MAX_QUANTITY,
        Reason.MAX_POSITION,
        Reason.REDUCE_ONLY,
        Reason.EXIT_RESERVED,
        Reason.MAX_OPEN_ORDERS,
        Reason.MESSAGE_RATE,
        Reason.ORDER_LOOP,
    }
)


def implied(core: Core, record: Mapping[str, object], mono_ns: int, *, flooded: bool) -> bool:
    """Give the core what the journal implies about a ``permit`` or ``refuse``; False if that is not enough.

    Args:
        core: of the run.
        record: not yet decided.
        mono_ns: its time.
        flooded: whether refusals of an order loop were counted together in this run.
    """
    core.beat(mono_ns)
    book = core.books.get(text(record, "instrument")) if record["instrument"] is not None else None
    if record["kind"] == "permit":
        prices = (exact(record, "bid"), exact(record, "ask"))
    elif record["code"] in _BEFORE:
        return True
    elif record["code"] not in _AFTER or not record["price"] or (flooded and record["code"] == Reason.ORDER_LOOP):
        return False
    else:
        prices = (exact(record, "price"), exact(record, "price"))
    if book is not None:
        book.account.breached = None
        passed(book, prices, mono_ns, book.last_ts_us)
    return True


def passed(book: Book, prices: tuple[Decimal, Decimal], mono_ns: int, ts_us: int) -> None:
    """Take a tick for good, as the journal did, although the core does not."""
    (bid, bid_text, _), (ask, ask_text, _) = (book.prices[str(price)] for price in prices)
    if bid is not None and ask is not None:
        book.reference = (bid, bid_text, ask, ask_text)
        book.reference_mono_ns = mono_ns
        book.last_ts_us = ts_us
