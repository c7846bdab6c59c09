"""A tiny journal builder for the tests of the verifier: neither the engine's writer nor its parts.

`Book` collects records as plain objects; `render` numbers and seals them. So a test can do what an
attacker with all the keys can: change any record and have every seal after it made anew.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Self

import orjson

from interlock.verify import Inputs, Report, verify

Json = dict[str, Any]

ZERO = "0" * 64
RUN_ID = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"
HOME = "5d0c0f7e-2a31-4c53-8f0e-1f3f5a7b9c11"
ORIGIN = f"interlock/{HOME}/demo"
TS = 1_723_075_200_000_000
"""When a journal begins, unless it is said otherwise: 2024-08-08, 00:00 UTC."""
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
        "home": HOME,
        "epoch": 1,
        "boot": None,
        "pid": 4711,
        "engine": "demo",
        "operator": None,
        "durability": "disk",
        "limits": ZERO,
        "remember": 1000,
    },
    "segment": {
        "origin": ORIGIN,
        "epoch": 1,
        "boot": None,
        "version": "0.1.0",
        "code": ZERO,
        "config": ZERO,
        "size": 0,
        "root": ZERO,
        "peaks": [],
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
    "flood": {
        "epoch": 1,
        "mode": "RUNNING",
        "code": "NOTIONAL",
        "instrument": "BTCUSDT",
        "count": 5,
        "first": "r2",
        "last": "r6",
        "first_ts": 1,
        "last_ts": 2,
    },
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
    "beat": {"ticks": 9, "consulted": 9, "blocked": 0, "permits": 0, "refusals": 0},
    "anomaly": {"code": "ODD", "detail": 'a "quoted" \\ text, ünï, and a \x01'},
    "breach": {
        "currency": "USDT",
        "limit": "daily",
        "bound": "500",
        "value": "-501.5",
        "state": "entered",
    },
    "mark": {"currency": "USDT", "equity": "0", "opening": "-1.5", "peak": "2"},
    "recover": {
        "sealed": 0,
        "root": ZERO,
        "torn_file": "x.torn-1",
        "torn_bytes": 7,
        "torn_sha256": ZERO,
        "salvaged": 0,
    },
    "salvage": {"record": {}},
    "ledger": {"state": {"halted": False, "books": [["X", "-1"]]}},
    "rebase": {"shift": 0},
    "checkpoint": {"size": 0, "root": ZERO, "key": "00000000", "why": "time"},
    "anchor": {"size": 0, "witness": "vault"},
    "inputs": {},
    "quote": {
        "instrument": "BTCUSDT",
        "venue_ts": TS,
        "received_ts": TS + 1,
        "sequence": 7,
        "bid": "57000.0",
        "ask": "57000.1",
        "bid_size": "1.5",
        "ask_size": None,
        "armed": True,
        "code": "ACCEPTED",
    },
    "trade": {
        "instrument": "BTCUSDT",
        "venue_ts": TS,
        "received_ts": None,
        "sequence": None,
        "price": "57000.1",
        "quantity": "0.25",
        "armed": True,
        "code": "ACCEPTED",
    },
    "begin": {"permit": 0},
    "heartbeat": {},
    "unread": {
        "id": "o1",
        "fill": "x9",
        "instrument": "BTCUSDT",
        "side": "buy",
        "quantity": "NaN",
        "price": "57000.1",
        "fee": None,
    },
    "odd": {"field": "bid", "type": "float", "text": "99.5"},
    "end": {"code": "DONE"},
    "seal": {"size": 0, "root": ZERO},
}


def record(kind: str, *, seq: int = 0, mono: int = 0, **fields: object) -> Json:
    """Return a right record of a kind, with some fields as given."""
    unknown = fields.keys() - FIELDS[kind].keys()
    if unknown:
        raise KeyError(unknown)
    head = {"v": 1, "seq": seq, "kind": kind, "ts": TS + mono // 1000, "mono": mono}
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


def peaks_of(leaves: list[bytes]) -> list[bytes]:
    """Return the roots of the perfect subtrees, the largest first."""
    found = []
    while leaves:
        split = 1 << (len(leaves).bit_length() - 1)
        found.append(root_of(leaves[:split]))
        leaves = leaves[split:]
    return found


def render(records: Iterable[Json]) -> list[bytes]:
    """Return the lines of records that are numbered and sealed, with line feeds.

    What a seal, a segment and a checkpoint say of the tree is made anew, but where a record has it as ``kept``.
    """
    leaves: list[bytes] = []
    grower = Grower()
    for number, given in enumerate(records):
        whole = given | {"seq": number}
        kept: Json = whole.pop("kept", {})
        if whole["kind"] == "seal":
            whole |= {"size": number, "root": grower.root.hex()}
        elif whole["kind"] == "segment":
            peaks = [peak.hex() for peak in grower.peaks]
            whole |= {"size": number, "root": grower.root.hex(), "peaks": peaks}
        elif whole["kind"] == "checkpoint" and not whole["size"]:
            size = 1 + max(place for place, line in enumerate(leaves) if b'"kind":"seal"' in line)
            whole |= {"size": size, "root": root_of(leaves[:size]).hex()}
        leaves.append(orjson.dumps(whole | kept))
        grower.add(leaves[-1])
    return [leaf + b"\n" for leaf in leaves]


class Grower:
    """The perfect subtrees of a growing tree, kept in the plainest way: size and root of each, the largest first."""

    def __init__(self) -> None:
        """Begin with no leaf."""
        self.trees: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf: while the last two trees are of one size, they become one."""
        self.trees.append((1, sha256(b"\x00" + leaf).digest()))
        while len(self.trees) > 1 and self.trees[-1][0] == self.trees[-2][0]:
            (size, right), (_, left) = self.trees.pop(), self.trees.pop()
            self.trees.append((2 * size, sha256(b"\x01" + left + right).digest()))

    @property
    def peaks(self) -> list[bytes]:
        """Their roots."""
        return [root for _, root in self.trees]

    @property
    def root(self) -> bytes:
        """The root of all."""
        if not self.trees:
            return sha256(b"").digest()
        found = self.trees[-1][1]
        for _, left in reversed(self.trees[:-1]):
            found = sha256(b"\x01" + left + found).digest()
        return found


class Book:
    """A journal being written. It begins with its first segment's record."""

    def __init__(self) -> None:
        """Begin a journal."""
        self.records: list[Json] = []
        self.mono = -1000
        self.base = 0
        self.step_us = 0
        self.back_ts = TS
        self.put("segment")

    def put(self, kind: str, **fields: Any) -> Self:
        """Append a record, a microsecond after the last; its ``ts`` goes with its ``mono``."""
        if kind in {"run", "rebase"}:
            self.base += self.mono + 1000
            self.mono = 0
        else:
            self.mono += 1000
        self.mono = fields.pop("mono", self.mono)
        ts = fields.pop("ts", TS + self.step_us + (self.base + self.mono) // 1000)
        kept = fields.pop("kept", {})
        made = record(kind, mono=self.mono, **fields) | {"ts": ts}
        self.records.append(made | {"kept": kept} if kept else made)
        return self

    def cut(self, **fields: Any) -> Self:
        """Close the open segment, which a seal must do, and begin another."""
        return self.put("segment", **fields).put("seal")

    def nothing(self) -> Self:
        """Do not."""
        return self

    def salvage(self, kind: str, **fields: Any) -> Self:
        """Append a salvaged record; it needs its `seq`. Its time goes on from that of the run that it is of."""
        ts = fields.pop("ts", None)
        inner = record(kind, **fields)
        inner["ts"] = self.back_ts + inner["mono"] // 1000 if ts is None else ts
        if kind == "run":
            self.back_ts = inner["ts"] - inner["mono"] // 1000
        return self.put("salvage", record=inner)

    def recover(self, salvaged: int, **fields: object) -> Self:
        """Append `run` and `recover` after the last seal."""
        lines = self.lines
        while lines and b'"kind":"seal"' not in lines[-1]:
            lines.pop()
        root = root_of([line[:-1] for line in lines]).hex()
        found: Json = {"sealed": len(lines), "root": root, "salvaged": salvaged}
        last = self.records[-1]
        self.back_ts = last["ts"] - last["mono"] // 1000
        return self.put("run").put("recover", **(found | fields))

    @property
    def last(self) -> int:
        """The number of the latest record."""
        return len(self.records) - 1

    @property
    def lines(self) -> list[bytes]:
        """The lines, with line feeds."""
        return render(self.records)

    @property
    def segments(self) -> list[tuple[str, list[bytes]]]:
        """The lines by segment."""
        return split(self.lines)


def running() -> Book:
    """Return a journal of a home that was made and is RUNNING: five records, sealed."""
    return Book().put("run").put("arm").put("start").put("seal")


def recording() -> Book:
    """Return a journal of a home that was made and is RUNNING, whose run records its inputs: six records, sealed."""
    return Book().put("run").put("inputs").put("arm").put("start").put("seal")


def segment(first: int) -> str:
    """Return the name of the segment that begins with a record."""
    return f"journal/{first:020}.jsonl"


def split(lines: list[bytes]) -> list[tuple[str, list[bytes]]]:
    """Put lines into segments: a new one begins with each `segment` record."""
    starts = [0, *(place for place, line in enumerate(lines) if place and b'"kind":"segment",' in line[:60])]
    return [(segment(one), lines[one:two]) for one, two in zip(starts, [*starts[1:], None], strict=True)]


def check(*chunks: bytes) -> Report:
    """Verify one segment."""
    return verify([(segment(0), chunks)])


def check_book(book: Book, inputs: Inputs | None = None) -> Report:
    """Verify a book, line by line and in one piece, which must agree."""
    segments = book.segments
    report = verify(segments, inputs=inputs)
    assert verify([(name, [b"".join(lines)]) for name, lines in segments], inputs=inputs) == report
    return report


def whole_life(*, cut: bool = True) -> Book:
    """Return a verified journal, of three segments or of one, with a crash and a recovery.

    It has every kind of record but those of recorded inputs: `recorded_life` has these.
    """
    book = running()
    following = Book.cut if cut else Book.nothing
    book.put("permit").put("seal").put("sent", permit=5, begun=5000)
    book.put("accept").put("fill").put("block").put("refuse").put("flood").put("seal")
    book.put("beat", ticks=9, consulted=6, blocked=3, permits=1, refusals=6)
    book.put("permit", id="o2", type="market", price=None)
    permit = book.last
    book.put("void", permit=permit).put("permit", id="o2").put("seal")
    book.put("unknown", permit=permit + 2, begun=book.mono)
    following(book.put("checkpoint").put("seal")).put("anchor", size=5)
    book.put("reject", id="o2").put("cancel").put("cancel_end", cancel=book.last).put("cancelled")
    book.put("anomaly").put("breach").put("mark").put("ledger")
    book.put("drain").put("ticket").put("stop").put("end").put("seal")
    following(book.put("run").put("rebase", shift=900).put("start").put("seal"))
    book.put("permit", id="o3").put("seal")
    last, mono = book.last, book.mono
    # Here it crashed, with a sent order and a halt in the tail.
    book.recover(2).salvage("sent", seq=last + 1, mono=mono + 1000, permit=last - 1, begun=mono)
    book.salvage("halt", seq=last + 2, mono=mono + 2000, at=mono + 1500).put("reset").put("seal")
    book.put("start", epoch=2).put("halt", epoch=2, at=book.mono + 500)
    return book.put("end").put("seal")


def recorded_life(*, cut: bool = True) -> Book:
    """Return a verified journal, of two segments or of one, with every kind of recorded input and a crash amid them."""
    book = recording().put("heartbeat").put("quote").put("trade")
    book.put("odd", field="").put("quote", bid=None, ask=None, code="TICK_MALFORMED")
    book.put("odd", field="received_ts").put("odd", field="bid")
    book.put("quote", bid=None, received_ts=None, armed=False, code="HALTED")
    book.put("block", count=2).put("permit")
    permit = book.last
    book.put("seal").put("begin", permit=permit)
    begun = book.mono
    if cut:
        book.put("seal").cut()
    book.put("sent", permit=permit, begun=begun).put("permit", id="o2")
    book.put("void", permit=book.last).put("odd", field="quantity").put("refuse", code="MALFORMED")
    book.put("beat", ticks=4, consulted=2, blocked=2, permits=2, refusals=1)
    book.put("odd", field="price", type="Decimal", text="Decimal('NaN')").put("unread").put("permit", id="o3").put(
        "seal"
    )
    last, mono = book.last, book.mono
    # Here it crashed, when a send had begun, and behind what an `odd` was about to tell.
    book.recover(3).salvage("begin", seq=last + 1, mono=mono + 1000, permit=last - 1)
    book.salvage("sent", seq=last + 2, mono=mono + 2000, permit=last - 1, begun=mono + 1000)
    book.salvage("odd", seq=last + 3, mono=mono + 3000)
    return book.put("inputs").put("end").put("seal")
