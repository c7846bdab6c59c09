"""The rule `Structure`: what one line must be before any other rule looks at it.

A line must be the very bytes that ``orjson`` would write for what it reads in them. That one
comparison shuts out white space, duplicate keys, other spellings of a number or a string, and
anything after the object. Then come the keys (exactly the kind's, in order), the types, and the
ranges.

Most lines take a short cut, many at a time: what matches the pattern of its kind needs none of these looks. The
long way stays the definition, and decides about every line that doesn't match.

A fault is a value, a short sentence, not an exception: a broken line is what a verifier is for.
"""

from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from .kinds import INT_MAX, LINE, LINES, SHAPES, Record, Shape

LINE_MAX = 2**24
"""The walk refuses a longer line unread: a file without line feeds must not fill the memory."""

DEPTH_MAX = 64
"""Salvage within salvage is followed this deep: far beyond any crash, far below the stack."""


def parse_all(lines: bytes) -> tuple[list[Record], str | None]:
    """Read lines until one is broken.

    Args:
        lines: their bytes, each with its line feed.

    Returns:
        The records, as far as they are whole and right by themselves, and what is wrong with the line after them.
    """
    # No pattern lets a line feed through within a record: so if all lines match, each of them is one record.
    if LINES(lines):
        return loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]"), None
    records: list[Record] = []
    for line in lines[:-1].split(b"\n"):
        record = parse(line)
        if isinstance(record, str):
            return records, record
        records.append(record)
    return records, None


def parse(line: bytes) -> Record | str:
    """Read one line.

    Args:
        line: its bytes, without the line feed.

    Returns:
        The record, whole and right by itself, or a sentence that says what is wrong.
    """
    if LINE(line):
        record: Record = loads(line)
        return record
    return parse_by_value(line)


def parse_by_value(line: bytes) -> Record | str:
    """Read one line the long way, by the definition; takes and returns what `parse` does."""
    try:
        record = loads(line)
        if dumps(record) != line:
            return "not canonical JSON"
    except (JSONDecodeError, JSONEncodeError):
        return "not JSON, or nested too deep"
    if type(record) is not dict:
        return "not a JSON object"
    return fault(record) or record


def fault(record: Record, depth: int = 0) -> str | None:
    """Say what is wrong with the keys, types, values and ranges of a record, if anything.

    Args:
        record: any JSON object.
        depth: how many `salvage` records it stands in.

    Returns:
        A sentence, or None if nothing is wrong.
    """
    shape = _shape_of(record)
    if shape is None:
        return f"unknown kind {record.get('kind')!r:.80}"
    if [*record] != shape.keys:
        return f"the keys of {record['kind']} are not its keys in order"
    found = _misvalued(record, shape)
    if found is None and record["kind"] == "permit":
        found = _mispriced(record)
    if found is None and record["kind"] == "salvage":
        found = _missalvaged(record["record"], depth + 1)
    return found


def _shape_of(record: Record) -> Shape | None:
    kind = record.get("kind")
    return SHAPES.get(kind) if type(kind) is str else None


def _misvalued(record: Record, shape: Shape) -> str | None:
    for (key, value), types in zip(record.items(), shape.types, strict=True):
        if type(value) not in types:
            return f"{key} can't be a {type(value).__name__}"
    ints = shape.ints(record)
    if min(ints) < 0 or max(ints) > INT_MAX:
        return "an integer is negative or not below 2^53"
    for key, check in shape.checks:
        if not check(record[key]):
            return f"{key} can't be {record[key]!r:.80}"
    return None


def _mispriced(record: Record) -> str | None:
    """Check that a limit order has a price and a market order has none."""
    if (record["type"] == "market") is (record["price"] is None):
        return None
    return "price is null for a market order and for no other"


def _missalvaged(record: Record, depth: int) -> str | None:
    if depth > DEPTH_MAX:
        return f"salvage is nested deeper than {DEPTH_MAX}"
    found = fault(record, depth)
    return found and f"in the salvaged record: {found}"
