"""One function for each kind of record: the members, in the order of ``docs/journal.md``.

Every one takes the head first: ``seq``, ``ts`` (us UTC) and ``mono`` (ns in the run). Those on the way of an order also
take a *form*, a record that was written and may be filled in anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from interlock.core.ledger import Working
    from interlock.core.values import Fill, Order

__all__ = ["KEYS", "MARKER", "printed"]

MARKER: Final = "[KILL_SWITCH] ENGAGED"
_LONGEST: Final = 64
_LONGEST_TEXT: Final = 500
_NO_REFERENCE: Final = (None, "0", None, "0")

Record = dict[str, object]

_ORDER: Final = "id instrument side type quantity price tif reduce_only"
_KINDS: Final = {
    "run": "run version home epoch boot pid engine operator durability limits remember",
    "segment": "origin epoch boot version code config size root peaks",
    "arm": "epoch operator reason",
    "start": "epoch operator session",
    "drain": "epoch reason",
    "ticket": "epoch id instrument side quantity",
    "stop": "epoch",
    "halt": "marker run utc version epoch code reason source operator at first in_flight",
    "reset": "epoch prior operator reason",
    "permit": f"epoch {_ORDER} bid ask",
    "sent": "permit begun result",
    "unknown": "permit begun error",
    "void": "permit code",
    "refuse": f"epoch mode {_ORDER} code limit value",
    "flood": "epoch mode code instrument count first last first_ts last_ts",
    "cancel": "id instrument",
    "cancel_end": "cancel error",
    "accept": "id venue_id",
    "fill": "id fill instrument side quantity price fee known",
    "cancelled": "id reason",
    "reject": "id reason",
    "block": "code instrument count first_ts last_ts",
    "beat": "ticks consulted blocked permits refusals",
    "anomaly": "code detail",
    "breach": "currency limit bound value state",
    "mark": "currency equity opening peak",
    "ledger": "state",
    "recover": "sealed root torn_file torn_bytes torn_sha256 salvaged",
    "salvage": "record",
    "rebase": "shift",
    "checkpoint": "size root key why",
    "anchor": "size witness",
    "inputs": "",
    "quote": "instrument venue_ts received_ts sequence bid ask bid_size ask_size armed code",
    "trade": "instrument venue_ts received_ts sequence price quantity armed code",
    "begin": "permit",
    "heartbeat": "",
    "unread": "id fill instrument side quantity price fee",
    "odd": "field type text",
    "end": "code",
    "seal": "size root",
}
KEYS: Final = {kind: ["v", "seq", "kind", "ts", "mono", *words.split()] for kind, words in _KINDS.items()}
"""The keys of every kind, in order: what recovery knows a record by."""

_BLANKS: Final = {kind: {**dict.fromkeys(keys), "v": 1, "kind": kind} for kind, keys in KEYS.items()}


def printed(value: object, longest: int = _LONGEST) -> str | None:
    """Anything at all as text that fits into a record: cut, and without lone surrogates."""
    if value is None:
        return None
    try:
        text = value if value.__class__ is str else str(value)
    except Exception:  # noqa: BLE001 - a value whose str() raises must still be refused and recorded
        text = f"<{type(value).__name__}>"
    text = text[:longest]
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def name(value: object) -> str:
    """As `printed`, where a record must have a text."""
    return printed(value) or ""


def text(value: object, longest: int = _LONGEST_TEXT) -> str:
    """A longer free text: a reason, an error."""
    return printed(value, longest) or ""


def member(thing: object, attribute: str) -> object:
    """An attribute of anything at all; None if it has none, or raises when it is asked."""
    try:
        found: object = getattr(thing, attribute, None)
    except Exception:  # noqa: BLE001 - it must still be refused and recorded
        return None
    return found


def failure(error: BaseException) -> str:
    """What was raised."""
    return text(f"{type(error).__name__}: {printed(error, _LONGEST_TEXT)}")


def head(seq: int, kind: str, ts: int, mono: int) -> Record:
    """What every record begins with."""
    return {"v": 1, "seq": seq, "kind": kind, "ts": ts, "mono": mono}


def blank(kind: str) -> Record:
    """A record of this kind to be filled in, over and over: to make a new one each time costs more than to fill it."""
    return _BLANKS[kind].copy()


def permit(seq: int, ts: int, mono: int, epoch: int, working: Working, form: Record | None = None) -> Record:
    """Gate 2 accepted."""
    order = working.order
    reference = working.book.reference
    record = blank("permit") if form is None else form
    record["seq"] = seq
    record["ts"] = ts
    record["mono"] = mono
    record["epoch"] = epoch
    record["id"] = order.client_order_id
    record["instrument"] = order.instrument
    # The words of the enumerations, taken directly: orjson would look them up three times as long.
    record["side"] = order.side._value_
    record["type"] = order.order_type._value_
    record["quantity"] = working.size_text
    record["price"] = working.price_text
    record["tif"] = order.time_in_force._value_
    record["reduce_only"] = order.reduce_only
    _, record["bid"], _, record["ask"] = _NO_REFERENCE if reference is None else reference
    return record


def refuse(  # noqa: PLR0913, PLR0917
    seq: int, ts: int, mono: int, epoch: int, mode: str, order: Order, code: str, limit: str | None, value: str | None
) -> Record:
    """Gate 2 refused; the order may be anything."""
    reduce_only = member(order, "reduce_only")
    return {
        "v": 1,
        "seq": seq,
        "kind": "refuse",
        "ts": ts,
        "mono": mono,
        "epoch": epoch,
        "mode": mode,
        "id": printed(member(order, "client_order_id")),
        "instrument": printed(member(order, "instrument")),
        "side": printed(member(order, "side")),
        "type": printed(member(order, "order_type")),
        "quantity": printed(member(order, "quantity")),
        "price": printed(member(order, "price")),
        "tif": printed(member(order, "time_in_force")),
        "reduce_only": reduce_only if type(reduce_only) is bool else None,
        "code": code,
        "limit": printed(limit),
        "value": printed(value),
    }


def sent(  # noqa: PLR0913, PLR0917 - as they stand in it
    seq: int, ts: int, mono: int, number: int, begun: int, result: object, form: Record | None = None
) -> Record:
    """The send returned."""
    record = blank("sent") if form is None else form
    record["seq"] = seq
    record["ts"] = ts
    record["mono"] = mono
    record["permit"] = number
    record["begun"] = begun
    record["result"] = result if result is None else printed(result)
    return record


def fill(seq: int, ts: int, mono: int, done: Fill, *, known: bool) -> Record:
    """The venue reported an execution."""
    return {
        **head(seq, "fill", ts, mono),
        "id": name(done.client_order_id),
        "fill": name(done.fill_id),
        "instrument": name(done.instrument),
        "side": name(done.side),
        "quantity": f"{done.quantity:f}",
        "price": f"{done.price:f}",
        "fee": f"{done.fee:f}",
        "known": known,
    }
