"""The verifier against single lines: what is canonical, and what a value may be."""

import orjson
import pytest

from interlock.verify.lines import DEPTH_MAX, parse, parse_all, parse_by_value

from .builder import FIELDS, Json, check, record, recorded_life, root_of, running, whole_life

FLIPS = 8


def rules_of(*lines: bytes) -> list[str]:
    """Return the rules that a journal of these lines breaks, in order."""
    return [finding.rule for finding in check(*lines).findings]


BEAT = orjson.dumps(record("beat", seq=5, mono=5000))
LINE_FAULTS = {
    "a blank": BEAT.replace(b":1,", b": 1,", 1),
    "a blank at the end": BEAT + b" ",
    "a carriage return": BEAT + b"\r",
    "a byte order mark": b"\xef\xbb\xbf" + BEAT,
    "a key twice": BEAT.replace(b'"v":1,', b'"v":1,"v":1,'),
    "a key twice, far apart": BEAT[:-1] + b',"v":1}',
    "an escape of a plain letter": BEAT.replace(b"beat", b"b\\u0065at"),
    "a number with a leading zero": BEAT.replace(b'"ticks":9', b'"ticks":09'),
    "a negative number": BEAT.replace(b'"ticks":9', b'"ticks":-9'),
    "minus nought": BEAT.replace(b'"ticks":9', b'"ticks":-0'),
    "a float": BEAT.replace(b'"ticks":9', b'"ticks":9.0'),
    "a float by its exponent": BEAT.replace(b'"ticks":9', b'"ticks":1e16'),
    "2^53": BEAT.replace(b'"ticks":9', b'"ticks":9007199254740992'),
    "2^64": BEAT.replace(b'"ticks":9', b'"ticks":18446744073709551616'),
    "a truth for a number": BEAT.replace(b'"ticks":9', b'"ticks":true'),
    "null for a number": BEAT.replace(b'"ticks":9', b'"ticks":null'),
    "a string for a number": BEAT.replace(b'"ticks":9', b'"ticks":"9"'),
    "another version": BEAT.replace(b'"v":1', b'"v":2'),
    "a truth for the version": BEAT.replace(b'"v":1', b'"v":true'),
    "an unknown kind": BEAT.replace(b"beat", b"beet"),
    "a kind that is a list": BEAT.replace(b'"beat"', b'["beat"]'),
    "no kind": BEAT.replace(b'"kind":"beat",', b""),
    "a key too few": BEAT.replace(b',"refusals":0', b""),
    "a key too many": BEAT[:-1] + b',"x":0}',
    "keys swapped": BEAT.replace(b'"v":1,"seq":5', b'"seq":5,"v":1'),
    "an empty line": b"",
    "a list": b"[" + BEAT + b"]",
    "two objects": BEAT + BEAT,
    "half an object": BEAT[:-1],
    "zeros": bytes(len(BEAT)),
    "no UTF-8": BEAT.replace(b"beat", b"\xff\xfe"),
    "deep nesting": b"[" * 5000 + b"]" * 5000,
    "deep nesting that can be read": b'{"a":' * 600 + b"1" + b"}" * 600,
}


@pytest.mark.parametrize(
    ("fault", "sealed"),
    [(fault, sealed) for fault in LINE_FAULTS for sealed in (True, False) if sealed or fault != "zeros"],
)
def test_a_line_that_is_not_canonical_and_right_is_tampering(fault: str, *, sealed: bool) -> None:
    """A whole line that is wrong in itself breaks Structure, in the tail (unless it holds zeros) as under a seal."""
    line = LINE_FAULTS[fault]
    assert line != BEAT
    lines = [*running().lines, line + b"\n"]
    if sealed:
        root = root_of([found[:-1] for found in lines]).hex()
        lines.append(orjson.dumps(record("seal", seq=6, mono=6000, size=6, root=root)) + b"\n")
    report = check(*lines)
    [finding] = report.findings
    assert (finding.rule, finding.line, finding.seq, report.sealed) == ("Structure", 6, 5, 5)


DEEP: Json = {"a": [[[[[[[["b"]]]]]]]]}

VALUE_FAULTS: list[tuple[str, str, object]] = [
    *(("ledger", "state", bad) for bad in ([], "text", None, {"a": 1}, {"a": [["b", 0.5]]}, DEEP)),
    *(("permit", "quantity", bad) for bad in ("1e5", "NaN", "+1", ".5", "1.", "", "-", "1,5", "٣")),
    *(("permit", "price", bad) for bad in (57000.1, 57000, "1\n", None)),
    ("permit", "type", "market"),
    ("permit", "type", "stop"),
    ("permit", "side", "BUY"),
    ("permit", "id", None),
    ("permit", "reduce_only", 0),
    ("permit", "reduce_only", "false"),
    ("permit", "bid", None),
    ("fill", "known", None),
    ("fill", "price", None),
    ("halt", "marker", "[KILL_SWITCH] engaged"),
    ("halt", "utc", "2024-08-08T00:00:00Z"),
    ("halt", "in_flight", [1.0]),
    ("halt", "in_flight", [2**53]),
    ("halt", "in_flight", [True]),
    ("halt", "in_flight", None),
    ("halt", "first", 1),
    ("run", "run", "0B9C8F6E-6F0E-4C55-9F4E-3A0D5A7B1C22"),
    ("run", "limits", "F" * 64),
    ("run", "durability", "none"),
    ("refuse", "mode", "STOPPED"),
    ("refuse", "price", 1),
    ("breach", "state", "left"),
    ("segment", "origin", None),
    ("segment", "size", -1),
    ("segment", "root", "0" * 63),
    ("segment", "code", None),
    ("segment", "peaks", None),
    ("segment", "peaks", ["0" * 63]),
    ("segment", "peaks", [0]),
    ("flood", "mode", "STOPPED"),
    ("flood", "count", "5"),
    ("flood", "first", 1),
    *(("quote", key, bad) for key in ("venue_ts", "received_ts", "sequence") for bad in (-1, 2**53, 1.0, "1", True)),
    *(("quote", key, bad) for key in ("bid", "ask", "bid_size", "ask_size") for bad in (1, "NaN", "1E+9", "")),
    *(("trade", key, bad) for key in ("price", "quantity") for bad in (1, "NaN", "1E+9", "")),
    ("quote", "instrument", 5),
    ("quote", "armed", None),
    ("quote", "armed", 1),
    ("quote", "code", None),
    ("trade", "armed", "true"),
    ("trade", "venue_ts", 2**53),
    ("begin", "permit", None),
    ("begin", "permit", -1),
    ("unread", "price", 1.5),
    ("unread", "id", 7),
    ("odd", "field", None),
    ("odd", "type", None),
    ("odd", "text", None),
    ("checkpoint", "key", "0000000"),
    ("checkpoint", "key", "0000000G"),
    ("checkpoint", "why", "because"),
    ("anchor", "witness", None),
    ("recover", "root", "0" * 63),
    ("salvage", "record", {}),
    ("salvage", "record", {"v": 1}),
    ("salvage", "record", record("beat", ticks=-1)),
    ("salvage", "record", [record("beat")]),
]


@pytest.mark.parametrize(("kind", "key", "value"), VALUE_FAULTS)
def test_a_wrong_value_is_tampering(kind: str, key: str, value: object) -> None:
    """A value of the wrong type, form or range breaks Structure."""
    line = orjson.dumps(record(kind, seq=5) | {key: value})
    assert isinstance(parse(line), str)
    assert rules_of(*running().lines, line + b"\n") == ["Structure"]


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("ledger", "state", {}),
        ("ledger", "state", {"a": [[[[[[["b", None, True]]]]]]], "1": {"": "9"}}),
        ("beat", "ticks", 2**53 - 1),
        ("beat", "ticks", 9 * 10**15),
        ("permit", "quantity", "-007.500"),
        ("permit", "id", 'ü\n\x01\x7f"\\\u2028'),
        ("run", "operator", "ann"),
        ("halt", "run", None),
        ("halt", "in_flight", [0, 4, 2**53 - 1]),
        ("halt", "utc", "2024-08-08T00:00:00.000001+00:00"),
        ("segment", "boot", None),
        ("segment", "config", None),
        ("segment", "peaks", []),
        ("segment", "peaks", ["0" * 64, "f" * 64]),
        ("flood", "instrument", None),
        ("flood", "first", None),
        ("checkpoint", "why", "shutdown"),
        ("refuse", "reduce_only", "None"),
        ("refuse", "reduce_only", None),
        ("refuse", "quantity", "NaN"),
        ("fill", "fee", None),
        *(("quote", key, None) for key in sorted(FIELDS["quote"].keys() - {"armed", "code"})),
        *(("trade", key, None) for key in sorted(FIELDS["trade"].keys() - {"armed", "code"})),
        *(("unread", key, None) for key in FIELDS["unread"]),
        *(("quote", key, 2**53 - 1) for key in ("venue_ts", "received_ts", "sequence")),
        ("unread", "price", "any text"),
        ("odd", "field", ""),
        ("odd", "text", "'\\udc80\u00e9'"),
    ],
)
def test_unusual_values_are_right(kind: str, key: str, value: object) -> None:
    """What the format allows is accepted, however rare."""
    whole = record(kind) | {key: value}
    assert parse(orjson.dumps(whole)) == whole


def test_salvage_within_salvage_is_bounded() -> None:
    """Salvage is followed to its bound and no further."""
    nested = record("beat")
    for _ in range(DEPTH_MAX):
        nested = record("salvage", record=nested)
    assert parse(orjson.dumps(nested)) == nested
    assert "deeper" in str(parse(orjson.dumps(record("salvage", record=nested))))


def test_the_short_cut_never_differs() -> None:
    """On every line with every bit flipped, the short cut reads what the definition reads."""
    for line in whole_life().lines + recorded_life().lines:
        for place in range(len(line)):
            for bit in range(FLIPS):
                flipped = bytearray(line)
                flipped[place] ^= 1 << bit
                flipped = flipped[:-1] if place < len(line) - 1 else flipped
                assert parse(bytes(flipped)) == parse_by_value(bytes(flipped))


@pytest.mark.parametrize("kind", FIELDS)
def test_each_key_of_each_kind_is_checked(kind: str) -> None:
    """A value of a type that no key may have is refused under every key, short cut or not."""
    whole: Json = record(kind)
    for key in whole:
        line = orjson.dumps(whole | {key: [[]]})
        assert isinstance(parse(line), str), key
        assert parse(line) == parse_by_value(line)


def test_many_lines_are_read_as_each_of_them() -> None:
    """Lines that are read together are those that are read one by one, up to the first that is broken."""
    lines = whole_life().lines + recorded_life().lines
    assert parse_all(b"".join(lines)) == ([parse(line[:-1]) for line in lines], None)
    for place, line in enumerate(lines):
        two = line[:-1] + b"," + line
        half = line[: len(line) // 2] + b"\n" + line[len(line) // 2 :]
        for bad in (b"\n", two, half, line.replace(b'"v":1', b'"v":2'), line[:-1] + b" \n"):
            records, fault = parse_all(b"".join([*lines[:place], bad, *lines[place:]]))
            assert records == [parse(line[:-1]) for line in lines[:place]]
            assert fault == parse(bad.split(b"\n")[0])


def test_no_cut_of_plain_lines_is_taken_for_lines() -> None:
    """Usual lines with line feeds moved to other places in them, as many as before, are never read as lines."""
    beat = orjson.dumps(record("beat", seq=5))
    whole = b",".join([beat] * 3)
    for one in range(1, len(whole)):
        for two in range(one + 1, len(whole), 7):
            lines = whole[:one] + b"\n" + whole[one:two] + b"\n" + whole[two:] + b"\n"
            _, fault = parse_all(lines)
            assert fault is not None
