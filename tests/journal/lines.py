"""Records for the tests of writer and recovery, made by hand, not by the engine's makers."""

from hashlib import sha256
from typing import Any

import orjson
from tests.verify import builder
from tests.verify.builder import RUN_ID, TS, Json, root_of

__all__ = ["FIELDS", "NOTHING", "TS", "Json", "line", "record", "root_of", "sealed"]

NOTHING = sha256(b"").hexdigest()
"""The root of the empty tree."""

_OURS: dict[str, Json] = {
    "segment": {"origin": f"interlock/{RUN_ID}/engine", "root": NOTHING},
    "run": {"home": RUN_ID, "engine": "engine"},
    "permit": {"instrument": "XYZ", "quantity": "1", "price": "100", "bid": "99", "ask": "101"},
    "end": {"code": "IDLE"},
}
FIELDS: dict[str, Json] = {kind: fields | _OURS.get(kind, {}) for kind, fields in builder.FIELDS.items()}


def record(kind: str, *, seq: int = 0, mono: int = 0, **fields: object) -> Json:
    """Return a record of a kind, with some fields as given."""
    head = {"v": 1, "seq": seq, "kind": kind, "ts": TS + mono // 1000, "mono": mono}
    return head | FIELDS[kind] | fields


def line(kind: str, **given: Any) -> bytes:
    """Return its line."""
    return orjson.dumps(record(kind, **given)) + b"\n"


def sealed(data: bytes) -> list[Json]:
    """Return the records of a journal's bytes; their numbers, and the size and root of every seal, must be right."""
    lines = data.splitlines()
    records = [orjson.loads(one) for one in lines]
    assert [one["seq"] for one in records] == list(range(len(records)))
    for number, one in enumerate(records):
        if one["kind"] == "seal":
            assert (one["size"], one["root"]) == (number, root_of(lines[:number]).hex())
    return records
