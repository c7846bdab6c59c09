"""The table of kinds: usual lines take the short cut, and both ways know every word and every edge."""

import orjson
import pytest

from interlock.verify import evidence, guess, kinds, lines, monitor, notes, report, runs, stamps, walk
from interlock.verify.kinds import LINE, LINES
from interlock.verify.lines import parse, parse_by_value

from .builder import FIELDS, Json, record

USUAL = {kind: record(kind) for kind in FIELDS if kind not in {"salvage", "ledger"}}
USUAL["anomaly"] |= {"detail": "plain"}
WORDS = {
    ("run", "durability"): ("disk", "process"),
    ("refuse", "mode"): ("IDLE", "RUNNING", "HALTED"),
    ("permit", "side"): ("buy", "sell"),
    ("checkpoint", "why"): ("time", "size", "halt", "reset", "start", "rotation", "shutdown"),
    ("breach", "state"): ("entered", "cleared", "confirmed"),
}


def both(made: Json) -> bytes:
    """The line of a right record, which both ways must read as it is."""
    line = orjson.dumps(made)
    assert parse(line) == parse_by_value(line) == made
    return line


@pytest.mark.parametrize("kind", USUAL)
def test_a_usual_line_of_each_kind_takes_the_short_cut(kind: str) -> None:
    """A line of plain text and numbers matches the pattern of its kind, and the long way reads the same."""
    assert LINE(both(USUAL[kind]))


def test_usual_lines_take_the_short_cut_together() -> None:
    """Lines of all usual kinds match together, and with one that is not usual none do."""
    usual = [orjson.dumps(made) + b"\n" for made in USUAL.values()]
    market = record("permit") | {"type": "market", "price": None}
    usual.append(both(market) + b"\n")
    assert LINE(usual[-1][:-1])
    assert LINES(b"".join(usual))
    assert not LINES(b"".join([*usual, orjson.dumps(record("ledger")) + b"\n"]))


@pytest.mark.parametrize(("kind", "key"), WORDS)
def test_every_word_of_a_key_is_known_both_ways(kind: str, key: str) -> None:
    """Where a key has but some words, each of them is read both ways, and another is not."""
    for word in WORDS[kind, key]:
        assert LINE(both(record(kind) | {key: word}))
        for wrong in (f"{word}_", f"_{word}", word.swapcase(), f"{word}|"):
            line = orjson.dumps(record(kind) | {key: wrong})
            assert isinstance(parse(line), str)
            assert isinstance(parse_by_value(line), str)


@pytest.mark.parametrize("value", [0, 1, 9 * 10**15 - 1, 2**53 - 1])
def test_integers_are_read_from_0_to_the_largest(value: int) -> None:
    """The least and the largest integer are read both ways, where null may stand as well."""
    for kind, key in (("quote", "venue_ts"), ("beat", "ticks"), ("mark", "ts")):
        both(record(kind) | {key: value})
    both(record("halt") | {"in_flight": [value, value]})


def test_each_hash_of_a_list_is_looked_at() -> None:
    """Of a list of hashes all must be right, and none need be there."""
    for peaks in ([], ["0" * 64], ["0" * 64, "f" * 64]):
        both(record("segment") | {"peaks": peaks})
    for peaks in (["0" * 64, "F" * 64], ["0" * 63, "0" * 64], ["0" * 64, 7]):
        line = orjson.dumps(record("segment") | {"peaks": peaks})
        assert isinstance(parse(line), str)
        assert isinstance(parse_by_value(line), str)


def test_what_no_pattern_knows_is_never_taken_for_right() -> None:
    """A line of a kind without a pattern takes the long way, whatever stands in its place."""
    for kind, key in (("salvage", "record"), ("ledger", "state")):
        line = orjson.dumps(record(kind) | {key: 7}).replace(b":7}", b":None}")
        assert isinstance(parse(line), str)
        assert not LINE(orjson.dumps(record(kind)))


def test_the_bounds_are_these() -> None:
    """What is refused as too long or too deep, and how much is told or remembered, is bounded by these numbers."""
    assert (lines.LINE_MAX, lines.DEPTH_MAX, kinds.INT_MAX) == (16_777_216, 64, 9_007_199_254_740_991)
    assert (notes.NOTE_MAX, stamps.STAMP_MAX) == (1_048_576, 262_144)
    assert (report.FINDINGS_MAX, report.DOUBTS_MAX, report.ACTIONS_MAX) == (20, 20, 100)
    assert (monitor.STEP_NS, evidence.BEFORE_SEAL_US) == (1_000_000_000, 1_000_000)
    assert (runs._GENERATION_MIN, guess._QUESTIONS_MAX, walk._BLOCK) == (4096, 100_000, 1_048_576)
