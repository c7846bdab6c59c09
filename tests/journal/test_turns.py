"""Segments of the writer: when one is due, what it begins with, and what there is no room for."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.records import KEYS
from interlock.journal.tree import Tree
from interlock.journal.writer import BATCH, Journal, JournalError, NoRoomError

from .lines import TS, line, root_of, sealed
from .memory import OPENING, Sink, new, pad, put, raising


@given(st.lists(st.sampled_from(["write", "note", "defer", "seal", "turn"]), max_size=60))
def test_turns_anywhere_keep_one_tree(calls: list[str]) -> None:
    """Wherever a segment is begun, numbers and roots go on, and it begins with what the tree is so far, and a seal."""
    journal, sink = new()
    for call in calls:
        if call == "seal":
            journal.seal(TS, 0)
        elif call == "turn":
            journal.turn(TS, 0)
        else:
            put(journal, call)
    journal.seal(TS, 0)
    assert journal.size_bytes == len(sink.data)
    found = sealed(sink.data)
    raw = sink.data.splitlines()
    assert [first for first, _ in sink.segments] == [one["seq"] for one in found[1:] if one["kind"] == "segment"]
    assert len(sink.segments) == calls.count("turn")
    for first, before in sink.segments:
        assert [*found[first]] == KEYS["segment"]
        assert found[first]["size"] == first
        assert found[first]["root"] == root_of(raw[:first]).hex()
        assert (found[first - 1]["kind"], found[first + 1]["kind"]) == ("seal", "seal")
        assert before.count(b"\n") == first
        assert root_from(found[first]["peaks"]) == found[first]["root"]


def root_from(peaks: list[str]) -> str:
    """Return the root over perfect subtrees, the largest first."""
    root = bytes.fromhex(peaks[-1])
    for peak in peaks[-2::-1]:
        root = sha256(b"\x01" + bytes.fromhex(peak) + root).digest()
    return root.hex()


def test_a_segment_is_due_by_size_and_by_day() -> None:
    """It is time for a new segment when the open one has its size, or another day has begun, before or after."""
    journal, sink = new(segment_bytes=10_000)
    day = 86_400_000_000
    midnight = TS - TS % day
    assert not journal.due(midnight)
    assert not journal.due(midnight + day - 1)
    assert journal.due(midnight + day)
    assert journal.due(midnight - 1)
    pad(journal, 9_999 - len(sink.data))
    journal.flush()
    assert not journal.due(TS)
    journal, sink = new(segment_bytes=10_000)
    pad(journal, 10_000 - len(sink.data))
    journal.flush()
    assert journal.due(TS)
    journal.turn(TS + day, 0)
    assert not journal.due(TS + day)


@pytest.mark.parametrize("less", [0, 1])
def test_segment_of_twice_its_size_ends_with_its_batch(less: int) -> None:
    """The seal that makes a segment twice as large as it should be begins the next one, and no smaller one does."""
    journal, sink = new()
    journal.seal(TS, 0)
    size = len(sink.data) - len(line("segment", **OPENING))
    journal, sink = new(segment_bytes=10_000)
    pad(journal, 20_000 - len(sink.data) - size - less)
    journal.seal(TS, 0)
    assert (len(sink.segments), sink.data.count(b'"segment"')) == ((1, 2) if not less else (0, 1))


def test_batch_is_counted_from_the_turn() -> None:
    """After a turn a batch has as many records as any other before a seal ends it."""
    for turns in (0, 1):
        journal, sink = new()
        for _ in range(200):
            put(journal, "write")
        (journal.turn if turns else journal.seal)(TS, 0)
        seals = sink.data.count(b'"seal"')
        for _ in range(BATCH - 1):
            put(journal, "write")
        assert sink.data.count(b'"seal"') == seals
        put(journal, "write")
        assert sink.data.count(b'"seal"') == seals + 1


def test_journal_that_was_not_told_whose_it_is_begins_no_other_segment() -> None:
    """Before it is known whose the segments are the open one goes on, however large it is."""
    sink = Sink()
    journal = Journal(sink, Tree(), segment_bytes=1)
    journal.begin(TS, 0)
    journal.seal(TS, 0)
    assert sink.segments == []
    assert [*sink.lines[0]] == ["v", "seq", "kind", "ts", "mono", "size", "root", "peaks"]


def test_nobody_beats() -> None:
    """Without a heartbeat the seal of a batch begins a new segment when the open one has twice its size."""
    journal, sink = new(segment_bytes=100_000)
    for _ in range(10_000):
        put(journal, "write")
    journal.seal(TS, 0)
    sealed(sink.data)
    starts = [0, *(len(before) for _, before in sink.segments)]
    sizes = [after - before for before, after in itertools.pairwise(starts)]
    assert len(sizes) >= 5
    assert all(200_000 <= size < 200_000 + BATCH * 250 for size in sizes)


def test_held_batch_is_not_parted() -> None:
    """While a batch is held no segment begins, whatever its size is."""
    journal, sink = new(segment_bytes=1)
    journal.holding = True
    for _ in range(2 * BATCH):
        put(journal, "note")
    journal.seal(TS, 0)
    assert sink.segments == []
    put(journal, "note")
    journal.holding = False
    journal.seal(TS, 0)
    assert len(sink.segments) == 1


def test_no_room_for_a_segment_breaks_nothing() -> None:
    """If there is no room for a new segment the journal is full, not broken, and goes on in the open one."""
    journal, sink = new()
    put(journal, "write")
    sink.error = NoRoomError("no room")
    sink.turn, turn = raising(sink.error), sink.turn  # type: ignore[method-assign]
    sink.error = None
    journal.turn(TS, 0)
    assert (journal.full, journal.broken) == ("no room", None)
    put(journal, "write")
    journal.room()
    assert journal.full is None
    sink.turn = turn  # type: ignore[method-assign]
    journal.turn(TS, 0)
    sealed(sink.data)
    assert len(sink.segments) == 1


def test_failed_turn_breaks_for_good() -> None:
    """Any other failure on the way to a new segment breaks the journal: nobody knows which file is the open one."""
    journal, sink = new()
    sink.turn = raising(OSError(5, "Input/output error"))  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="Input/output"):
        journal.turn(TS, 0)
    data = sink.data
    with pytest.raises(JournalError, match="Input/output"):
        put(journal, "write")
    assert sink.data == data


def test_turn_that_is_interrupted_breaks_for_good() -> None:
    """Nobody knows what stands there when the beginning of a segment was interrupted."""
    journal, sink = new()
    sink.turn = raising(KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        journal.turn(TS, 0)
    assert journal.broken == "the journal cannot be written: KeyboardInterrupt"


@pytest.mark.parametrize("how", ["write", "note"])
def test_sink_that_has_only_its_reserve(how: str) -> None:
    """That the sink has nothing left but its reserve is told by `full`; what was written stands."""
    journal, sink = new()
    sink.short = "nearly full"
    put(journal, how)
    journal.flush()
    assert (journal.full, journal.broken) == ("nearly full", None)
    put(journal, how)
    journal.seal(TS, 0)
    assert [one["kind"] for one in sealed(sink.data)] == ["segment", "anomaly", "anomaly", "seal"]
    journal.room()
    assert journal.full is not None
    sink.short = None
    journal.room()
    assert journal.full is None


def test_room_is_asked_for_only_while_there_is_none() -> None:
    """A journal that has room, or is broken, does not ask its sink for more."""
    journal, sink = new()
    sink.short = "nearly full"
    journal.room()
    assert journal.full is None
    put(journal, "write")
    assert journal.full == "nearly full"
    sink.error = OSError(5, "gone")
    with pytest.raises(JournalError):
        put(journal, "write")
    sink.short = None
    journal.room()
    assert journal.full == "nearly full"
