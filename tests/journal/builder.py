"""A tiny journal builder for the tests of the verifier: neither the engine's writer nor its parts.

`Book` collects records as plain objects; `render` numbers and seals them. So a test can do what an
attacker with all the keys can: change any record and have every seal after it made anew.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Self

import orjson

from interlock.journal.verify import Report, verify

Json = dict[str, Any]

ZERO = "0" * 64
RUN_ID = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"
ORDER: Json = {
    "instrument": "BTCUSDT",
    "side": "buy",
    "type": "limit",
    "quantity": "0.5",
    "price": "57000.10",
    "tif": "gtc",
    "reduce_only": False,
}
HALT: Json = {
    "marker": "[KILL_SWITCH] ENGAGED",
    "run": RUN_ID,
    "utc": "2024-08-08T00:00:00.000001Z",
    "version": "0.1.0",
    "epoch": 1,
    "code": "OPERATOR",
    "reason": "enough",
    "source": "cli",
    "operator": "ann",
    "at": 0,
    "first": True,
    "in_flight": [],
}
FIELDS: dict[str, Json] = {
    "run": {
        "run": RUN_ID,
        "version": "0.1.0",
        "home": "/srv/desk",
        "epoch": 1,
        "boot": None,
        "pid": 4711,
        "engine": "demo",
        "operator": None,
        "durability": "disk",
        "limits": ZERO,
        "remember": 1000,
    },
    "arm": {"epoch": 1, "operator": "ann", "reason": "new desk"},
    "start": {"epoch": 1, "operator": "ann", "session": None},
    "drain": {"epoch": 1, "reason": "evening"},
    "ticket": {"epoch": 1, "id": "x1", "instrument": "BTCUSDT", "side": "sell", "quantity": "0.5"},
    "stop": {"epoch": 1},
    "halt": HALT,
    "reset": {"epoch": 2, "prior": 1, "operator": "ann", "reason": "looked into"},
    "permit": {"epoch": 1, "id": "o1"} | ORDER | {"bid": "57000.0", "ask": "57000.1"},
    "sent": {"permit": 0, "begun": 0, "result": None},
    "unknown": {"permit": 0, "begun": 0, "error": "TimeoutError"},
    "void": {"permit": 0, "code": "HALTED"},
    "refuse": {"epoch": 1, "mode": "RUNNING", "id": "r1"}
    | ORDER
    | {"code": "NOTIONAL", "limit": "1000", "value": "28500.05"},
    "cancel": {"id": "o1", "instrument": "BTCUSDT"},
    "cancel_end": {"cancel": 0, "error": None},
    "accept": {"id": "o1", "venue_id": "9001"},
    "fill": {
        "id": "o1",
        "fill": "x1",
        "instrument": "BTCUSDT",
        "side": "buy",
        "quantity": "0.5",
        "price": "57000.10",
        "fee": "-0.01",
        "known": True,
    },
    "cancelled": {"id": "o1", "reason": "expired"},
    "reject": {"id": "o1", "reason": "post only"},
    "block": {"code": "STALE", "instrument": "BTCUSDT", "count": 3, "first_ts": 1, "last_ts": 2},
    "beat": {"ticks": 9, "consulted": 8, "blocked": 1, "permits": 1, "refusals": 0},
    "anomaly": {"code": "ODD", "detail": 'a "quoted" \\ text, ünï, and a \x01'},
    "breach": {
        "currency": "USDT",
        "limit": "daily",
        "bound": "500",
        "value": "-501.5",
        "state": "entered",
    },
    "recover": {
        "sealed": 0,
        "root": ZERO,
        "torn_file": "x.torn-1",
        "torn_bytes": 7,
        "torn_sha256": ZERO,
        "salvaged": 0,
    },
    "salvage": {"record": {}},
    "rebase": {"shift": 0},
    "end": {"code": "DONE"},
    "seal": {"size": 0, "root": ZERO},
}


def record(kind: str, *, seq: int = 0, mono: int = 0, **fields: object) -> Json:
    """Return a right record of a kind, with some fields as given."""
    unknown = fields.keys() - FIELDS[kind].keys()
    if unknown:
        raise KeyError(unknown)
    head = {"v": 1, "seq": seq, "kind": kind, "ts": 1_723_075_200_000_000 + mono, "mono": mono}
    return head | FIELDS[kind] | fields


def root_of(leaves: list[bytes]) -> bytes:
    """Return the tree hash by the recursive words of RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def render(records: Iterable[Json]) -> list[bytes]:
    """Return the lines of records that are numbered and sealed, with line feeds."""
    lines: list[bytes] = []
    for number, given in enumerate(records):
        whole = given | {"seq": number}
        if whole["kind"] == "seal":
            root = root_of([line[:-1] for line in lines]).hex()
            whole |= {"size": number, "root": root}
        lines.append(orjson.dumps(whole) + b"\n")
    return lines


class Book:
    """A journal being written."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.records: list[Json] = []
        self.mono = 0

    def put(self, kind: str, **fields: Any) -> Self:
        """Append a record, a microsecond after the last."""
        self.mono = 0 if kind in {"run", "rebase"} else self.mono + 1000
        self.mono = fields.pop("mono", self.mono)
        self.records.append(record(kind, mono=self.mono, **fields))
        return self

    def salvage(self, kind: str, **fields: Any) -> Self:
        """Append a salvaged record; it needs its `seq`."""
        return self.put("salvage", record=record(kind, **fields))

    def recover(self, salvaged: int, **fields: object) -> Self:
        """Append `run` and `recover` after the last seal."""
        lines = self.lines
        while lines and b'"kind":"seal"' not in lines[-1]:
            lines.pop()
        root = root_of([line[:-1] for line in lines]).hex()
        found: Json = {"sealed": len(lines), "root": root, "salvaged": salvaged}
        return self.put("run").put("recover", **(found | fields))

    @property
    def last(self) -> int:
        """The number of the latest record."""
        return len(self.records) - 1

    @property
    def lines(self) -> list[bytes]:
        """The lines, with line feeds."""
        return render(self.records)


def running() -> Book:
    """Return a journal of a home that was made and is RUNNING: four records, sealed."""
    return Book().put("run").put("arm").put("start").put("seal")


def segment(first: int) -> str:
    """Return the name of the segment that begins with a record."""
    return f"journal/{first:020}.jsonl"


def check(*chunks: bytes) -> Report:
    """Verify one segment."""
    return verify([(segment(0), chunks)])


def check_book(book: Book) -> Report:
    """Verify a book as one segment."""
    return check(*book.lines)


def whole_life() -> Book:
    """Return a verified journal with every kind of record, a crash and a recovery."""
    book = running()
    book.put("permit").put("seal").put("sent", permit=4, begun=5000)
    book.put("accept").put("fill").put("beat").put("block").put("refuse").put("seal")
    book.put("permit", id="o2", type="market", price=None).put("void", permit=13)
    book.put("permit", id="o2").put("seal").put("unknown", permit=15, begun=15_500)
    book.put("reject", id="o2").put("cancel").put("cancel_end", cancel=19).put("cancelled")
    book.put("anomaly").put("breach").put("drain").put("ticket").put("stop").put("end").put("seal")
    book.put("run").put("rebase", shift=900).put("start").put("permit", id="o3").put("seal")
    # Here it crashed, with a sent order and a halt in the tail.
    book.recover(2).salvage("sent", seq=34, mono=3000, permit=32, begun=2500)
    book.salvage("halt", seq=35, mono=4000, at=3500).put("reset").put("seal")
    book.put("start", epoch=2).put("halt", epoch=2, at=6500)
    return book.put("end").put("seal")
