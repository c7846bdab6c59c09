"""Records for the tests of writer and recovery, made by hand, not by the engine's makers."""

from hashlib import sha256
from typing import Any

import orjson

Json = dict[str, Any]

TS = 1_723_075_200_000_000
NOTHING = sha256(b"").hexdigest()
"""The root of the empty tree."""

FIELDS: dict[str, Json] = {
    "segment": {
        "origin": "interlock/0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22/engine",
        "epoch": 1,
        "boot": None,
        "version": "0.1.0",
        "code": "0" * 64,
        "config": "0" * 64,
        "size": 0,
        "root": NOTHING,
        "peaks": [],
    },
    "run": {
        "run": "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22",
        "version": "0.1.0",
        "home": "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22",
        "epoch": 1,
        "boot": None,
        "pid": 4711,
        "engine": "engine",
        "operator": None,
        "durability": "disk",
        "limits": "0" * 64,
        "remember": 1000,
    },
    "permit": {
        "epoch": 1,
        "id": "o1",
        "instrument": "XYZ",
        "side": "buy",
        "type": "limit",
        "quantity": "1",
        "price": "100",
        "tif": "gtc",
        "reduce_only": False,
        "bid": "99",
        "ask": "101",
    },
    "anomaly": {"code": "ODD", "detail": 'a "quoted" \\ text, ünï, and a \x01'},
    "end": {"code": "IDLE"},
    "seal": {"size": 0, "root": "0" * 64},
}


def record(kind: str, *, seq: int = 0, mono: int = 0, **fields: object) -> Json:
    """Return a record of a kind, with some fields as given."""
    head = {"v": 1, "seq": seq, "kind": kind, "ts": TS + mono // 1000, "mono": mono}
    return head | FIELDS[kind] | fields


def line(kind: str, **given: Any) -> bytes:
    """Return its line."""
    return orjson.dumps(record(kind, **given)) + b"\n"


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


def sealed(data: bytes) -> list[Json]:
    """Return the records of a journal's bytes; their numbers, and the size and root of every seal, must be right."""
    lines = data.splitlines()
    records = [orjson.loads(one) for one in lines]
    assert [one["seq"] for one in records] == list(range(len(records)))
    for number, one in enumerate(records):
        if one["kind"] == "seal":
            assert (one["size"], one["root"]) == (number, root_of(lines[:number]).hex())
    return records
