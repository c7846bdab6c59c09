"""What is owned and owed at one moment, as text, so that a restart need not begin at the first record.

`tell` writes it down from a core that runs, and `take` brings a fresh core to it. All numbers are decimal text: a
journal holds no negative integers and none from 2^53 on. Limits are not in it, but the hash of their file is: how many
decimals a number has comes from them, so with others the records themselves must be played.

What is not told: the feed, the flow of messages, who breached which limit. These begin anew with each process.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

from interlock.core.ledger import Status, Working, scaled, unscaled
from interlock.core.modes import Mode
from interlock.core.values import Order, OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.ledger import Book
    from interlock.core.machine import Machine

__all__ = ["order_of", "positions", "take", "tell"]

_MOST: Final = 1 << 23
"""More characters of ids are not told: a line has its limit."""

_STATUS: Final = {
    Status.GRANTED: "granted",
    Status.SENDING: "granted",  # nobody has written how its send ended
    Status.DONE: "done",
    Status.UNKNOWN: "unknown",
}
_STATUS_OF: Final = {"granted": Status.GRANTED, "done": Status.DONE, "unknown": Status.UNKNOWN}

State = dict[str, object]


def tell(core: Machine, limits: str) -> State | None:
    """Everything that a restart has to know; None if that is too much for one record.

    Args:
        core: nothing of it may be unwritten: what the journal holds so far must come to this.
        limits: the SHA-256 of the limits file, in hex.
    """
    ids, fills = core.ids.generations(), core.fills.generations()
    if sum(4 * len(names) + sum(map(len, names)) for names in (*ids, *fills)) > _MOST:
        return None
    return {
        "limits": limits,
        "epoch": str(core.epoch),
        "halted": core.mode is Mode.HALTED,
        "session": core.session,
        "ids": ids,
        "fills": fills,
        "accounts": [[one.currency, *map(one.text, (one.equity, one.opening, one.peak))] for one in core.accounts()],
        "books": [_book(book) for book in core.books.values() if book.position or book.cash or book.worth],
        "working": [_working(working) for working in core.working.values()],
    }


def _book(book: Book) -> list[str]:
    money, price = book.account.text, book.price_digits
    marks = (unscaled(book.mark_bid, price), unscaled(book.mark_ask, price))
    return [book.name, book.size_text(book.position), money(book.cash), money(book.worth), *marks]


def _working(working: Working) -> State:
    order = working.order
    return {
        "permit": str(working.number),
        "id": order.client_order_id,
        "instrument": order.instrument,
        "side": order.side.value,
        "type": order.order_type.value,
        "quantity": working.size_text,
        "price": working.price_text,
        "tif": order.time_in_force.value,
        "reduce_only": order.reduce_only,
        "remaining": working.book.size_text(working.remaining),
        "status": _STATUS[working.status],
    }


def positions(core: Machine, state: Mapping[str, object]) -> dict[str, int]:
    """The positions that a state tells, by instrument, in the books' integers; those that it leaves out are flat.

    Raises:
        ValueError: or KeyError: it is no such state.
    """
    told = cast("list[list[str]]", state["books"])
    return {name: _whole(position, core.books[name].size_digits) for name, position, *_ in told}


def take(core: Machine, state: Mapping[str, object]) -> list[Working]:
    """Bring a core to a state; whatever it was in before does not matter.

    Returns:
        What is working.

    Raises:
        ValueError: or KeyError: it is no such state.
    """
    core.ids.take(*cast("tuple[list[str], list[str]]", state["ids"]))
    core.fills.take(*cast("tuple[list[str], list[str]]", state["fills"]))
    core.session = cast("str | None", state["session"])
    accounts = {account.currency: account for account in core.accounts()}
    for currency, *amounts in cast("list[list[str]]", state["accounts"]):
        account = accounts.pop(currency)
        account.resume(*(_whole(amount, account.digits) for amount in amounts))
    if accounts:
        message = f"nothing is told of {next(iter(accounts))}"
        raise ValueError(message)
    for book in core.books.values():
        book.resume(0, 0, 0, 0, 0)
    for name, position, cash, worth, bid, ask in cast("list[list[str]]", state["books"]):
        book = core.books[name]
        money = (_whole(amount, book.account.digits) for amount in (cash, worth))
        book.resume(_whole(position, book.size_digits), *money, *(_whole(m, book.price_digits) for m in (bid, ask)))
    core.working.clear()
    return [_resumed(core, one) for one in cast("list[Mapping[str, object]]", state["working"])]


def _resumed(core: Machine, told: Mapping[str, object]) -> Working:
    order = order_of(told)
    book = core.books[order.instrument]
    size, size_text, _ = book.sizes[cast("str", told["quantity"])]
    price = cast("str | None", told["price"])
    units, price_text, _ = (0, None, None) if price is None else book.prices[price]
    remaining = _whole(cast("str", told["remaining"]), book.size_digits)
    if size is None or units is None or not 0 <= remaining <= size:
        message = f"{order.client_order_id}: not of this grid"
        raise ValueError(message)
    working = Working(order, book, int(cast("str", told["permit"])), size, size_text, units, price_text)
    working.status = _STATUS_OF[cast("str", told["status"])]
    core.reserve(working)
    book.release(working, size - remaining)
    return working


def order_of(told: Mapping[str, object]) -> Order:
    """The order of a permit's record, or of what is told of a working one.

    Raises:
        ValueError: it is none.
    """
    price = cast("str | None", told["price"])
    return Order(
        client_order_id=cast("str", told["id"]),
        instrument=cast("str", told["instrument"]),
        side=Side(cast("str", told["side"])),
        quantity=Decimal(cast("str", told["quantity"])),
        order_type=OrderType(cast("str", told["type"])),
        price=None if price is None else Decimal(price),
        time_in_force=TimeInForce(cast("str", told["tif"])),
        reduce_only=cast("bool", told["reduce_only"]),
    )


def _whole(text: str, digits: int) -> int:
    number = scaled(Decimal(text), digits)
    if number is None:
        message = f"{text} does not fit"
        raise ValueError(message)
    return number
