"""The writer: numbers, batches, seals, and a journal that breaks once and for good."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.verify.builder import record, root_of, segment

from interlock.journal.tree import Tree
from interlock.journal.writer import BATCH, Journal, JournalError
from interlock.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable


class Sink:
    """Takes bytes, and fails when told to."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.syncs = 0
        self.error: BaseException | None = None

    def write(self, data: bytes) -> None:
        """Take them."""
        self.writes += 1
        if self.error:
            raise self.error
        self.data += data

    def sync(self) -> None:
        """Count."""
        self.syncs += 1
        if self.error:
            raise self.error


def new() -> tuple[Journal, Sink]:
    """Return a journal that holds its first record."""
    sink = Sink()
    journal = Journal(sink, Tree())
    journal.write(record("run"))
    return journal, sink


def lines(sink: Sink) -> list[dict[str, Any]]:
    """Return what the sink holds, decoded."""
    return [orjson.loads(line) for line in sink.data.splitlines()]


@given(st.lists(st.binary(max_size=40), max_size=70), st.data())
def test_tree_is_the_one_of_the_rfc(leaves: list[bytes], data: st.DataObject) -> None:
    """Grown in pieces of any size, the tree has the root of the recursive definition."""
    tree = Tree()
    place = 0
    while place < len(leaves):
        step = data.draw(st.integers(1, len(leaves) - place))
        tree.extend(leaves[place : place + step])
        place += step
        assert tree.root() == root_of(leaves[:place]).hex()
        assert tree.size == place
    assert tree.root() == root_of(leaves).hex()


def test_copy_of_a_tree_grows_alone() -> None:
    """What is added to a copy does not touch the tree."""
    tree = Tree()
    tree.extend([b"a", b"b", b"c"])
    root = tree.root()
    other = tree.copy()
    other.extend([b"d"])
    assert (tree.root(), tree.size) == (root, 3)
    assert other.root() == root_of([b"a", b"b", b"c", b"d"]).hex()
    assert Tree().root() == sha256(b"").hexdigest()


def put(journal: Journal, how: str) -> None:
    """Append one record in one of the three ways."""
    given = record("anomaly", seq=journal.next(), mono=0)
    if how == "write":
        journal.write(given)
    elif how == "note":
        journal.note(given)
    else:
        journal.defer(lambda seq: record("anomaly", seq=seq, mono=0))


@given(st.lists(st.sampled_from(["write", "note", "defer", "flush", "seal"]), max_size=60))
def test_any_mix_of_calls_verifies(calls: list[str]) -> None:
    """However records are appended, they are numbered without a gap, in their order, and their seals hold."""
    journal, sink = new()
    appended = 1
    for call in calls:
        if call == "flush":
            journal.flush()
        elif call == "seal":
            journal.seal(1, 0)
        else:
            put(journal, call)
            appended += 1
    journal.seal(1, 0)
    found = lines(sink)
    assert [one["seq"] for one in found] == list(range(len(found)))
    assert sum(one["kind"] != "seal" for one in found) == appended
    assert journal.seq == len(found)
    assert journal.size_bytes == len(sink.data)
    assert verify([(segment(0), [sink.data])]).verdict == "VERIFIED"


@pytest.mark.parametrize("how", ["write", "note", "defer"])
def test_batches_end_in_a_seal(how: str) -> None:
    """After so many records, or so many bytes, a seal follows by itself, and the next batch begins."""
    journal, sink = new()
    for _ in range(3 * BATCH):
        put(journal, how)
    journal.flush()
    seals = [one["seq"] for one in lines(sink) if one["kind"] == "seal"]
    assert len(seals) >= 3
    assert all(later - earlier <= BATCH + 1 for earlier, later in zip([0, *seals], seals, strict=False))
    journal.seal(1, 0)
    assert verify([(segment(0), [sink.data])]).verdict == "VERIFIED"


def test_held_batch_has_no_seal_inside() -> None:
    """While a batch is held no seal comes between its records, however many they are."""
    journal, sink = new()
    journal.holding = True
    for _ in range(3 * BATCH):
        put(journal, "note")
    journal.flush()
    assert all(one["kind"] != "seal" for one in lines(sink))
    journal.holding = False
    journal.seal(1, 0)
    assert verify([(segment(0), [sink.data])]).verdict == "VERIFIED"


def test_a_seal_needs_a_batch() -> None:
    """Sealing twice writes one seal."""
    journal, sink = new()
    journal.seal(1, 0)
    size = len(sink.data)
    journal.seal(1, 0)
    assert len(sink.data) == size


def test_write_takes_what_waits_with_it() -> None:
    """After a write everything before it is with the sink, in its order, in one piece."""
    journal, sink = new()
    put(journal, "note")
    put(journal, "defer")
    put(journal, "note")
    before = sink.writes
    put(journal, "write")
    assert sink.writes == before + 1
    assert [one["seq"] for one in lines(sink)] == [0, 1, 2, 3, 4]


def note_and_flush(journal: Journal) -> None:
    """Append a record that waits, then hand it on."""
    journal.note(record("anomaly", seq=1))
    journal.flush()


BREAKING: dict[str, Callable[[Journal], None]] = {
    "write": lambda journal: journal.write(record("anomaly", seq=1)),
    "flush": note_and_flush,
    "seal": lambda journal: journal.seal(1, 0),
    "sync": lambda journal: journal.sync(),
}


@pytest.mark.parametrize("first", BREAKING)
def test_first_failure_breaks_for_good(first: str) -> None:
    """After the first failure every call raises, says why, and does not touch the sink."""
    journal, sink = new()
    sink.error = OSError(28, "No space left on device")
    with pytest.raises(JournalError, match="No space left"):
        BREAKING[first](journal)
    sink.error = None
    writes, syncs, data = sink.writes, sink.syncs, sink.data
    for later in BREAKING.values():
        with pytest.raises(JournalError, match="No space left"):
            later(journal)
    journal.defer(lambda seq: record("anomaly", seq=seq))
    journal.next()
    assert (sink.writes, sink.syncs, sink.data) == (writes, syncs, data)
    assert "No space left" in (journal.broken or "")


@pytest.mark.parametrize("how", ["write", "note"])
@pytest.mark.parametrize("value", [2**53, -(2**53), 2**64, "\udcff", object(), {1: 2}], ids=str)
def test_what_the_format_cannot_hold_breaks(how: str, value: object) -> None:
    """An integer of 2^53 or more, a lone surrogate or an object is refused, and breaks the journal."""
    journal, sink = new()
    data = sink.data
    bad = {**record("anomaly", seq=1), "detail": value}
    with pytest.raises(JournalError):
        (journal.write if how == "write" else journal.note)(bad)
    assert journal.broken is not None
    assert sink.data == data


def test_deferred_record_that_cannot_be_written_breaks() -> None:
    """A deferred record that the format can't hold breaks the journal by the next write."""
    journal, sink = new()
    data = sink.data
    journal.defer(lambda seq: {**record("anomaly", seq=seq), "detail": 2**60})
    with pytest.raises(JournalError):
        journal.write(record("anomaly", seq=journal.next()))
    assert sink.data == data


@pytest.mark.parametrize(
    "act",
    [
        lambda journal: journal.write(record("anomaly", seq=1)),
        lambda journal: (journal.note(record("anomaly", seq=1)), journal.flush()),
        lambda journal: (journal.note(record("anomaly", seq=1)), journal.seal(1, 1)),
        lambda journal: (journal.defer(interrupted), journal.next()),
    ],
    ids=["write", "flush", "seal", "next"],
)
def test_interrupt_breaks_for_good(act: Callable[[Journal], object]) -> None:
    """An interrupt half-way through an append leaves nobody to know what stands there: nothing is written after it."""
    journal, sink = new()
    sink.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        act(journal)
    sink.error = None
    written = sink.data
    assert journal.broken is not None
    with pytest.raises(JournalError):
        journal.write(record("anomaly", seq=1))
    assert sink.data == written


def interrupted(seq: int) -> dict[str, object]:
    """Make a record, almost."""
    raise KeyboardInterrupt(seq)
