"""The writer: numbers, batches, seals, and a journal that breaks once and for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal import writer as writer_module
from interlock.journal.writer import BATCH, SEGMENT_BYTES, Journal, JournalError

from .lines import TS, record, root_of, sealed
from .memory import ended, new, pad, put

if TYPE_CHECKING:
    from collections.abc import Callable


@given(st.lists(st.sampled_from(["write", "note", "defer", "flush", "seal"]), max_size=60))
def test_any_mix_of_calls_verifies(calls: list[str]) -> None:
    """However records are appended, they are numbered without a gap, in their order, and their seals hold."""
    journal, sink = new()
    appended = 1
    for call in calls:
        if call == "flush":
            journal.flush()
        elif call == "seal":
            journal.seal(TS, 0)
        else:
            put(journal, call)
            appended += 1
    journal.seal(TS, 0)
    found = sink.lines
    assert [one["seq"] for one in found] == list(range(len(found)))
    assert sum(one["kind"] != "seal" for one in found) == appended
    assert journal.seq == len(found)
    assert journal.size_bytes == len(sink.data)
    assert sealed(sink.data)[-1]["kind"] == "seal"


@pytest.mark.parametrize("how", ["write", "note", "defer"])
def test_batches_end_in_a_seal(how: str) -> None:
    """After so many records, or so many bytes, a seal follows by itself, and the next batch begins."""
    journal, sink = new()
    for _ in range(3 * BATCH):
        put(journal, how)
    journal.flush()
    seals = [one["seq"] for one in sink.lines if one["kind"] == "seal"]
    assert len(seals) >= 3
    assert all(later - earlier <= BATCH + 1 for earlier, later in zip([0, *seals], seals, strict=False))
    journal.seal(TS, 0)
    assert sealed(sink.data)[-1]["kind"] == "seal"


@pytest.mark.parametrize("how", ["write", "note", "defer"])
def test_held_batch_has_no_seal_inside(how: str) -> None:
    """While a batch is held no seal comes between its records, however many they are."""
    journal, sink = new()
    journal.holding = True
    for _ in range(3 * BATCH):
        put(journal, how)
    journal.flush()
    assert all(one["kind"] != "seal" for one in sink.lines)
    journal.holding = False
    journal.seal(TS, 0)
    assert sealed(sink.data)[-1]["kind"] == "seal"


def test_a_seal_needs_a_batch() -> None:
    """Sealing twice writes one seal."""
    journal, sink = new()
    journal.seal(TS, 0)
    size = len(sink.data)
    journal.seal(TS, 0)
    assert len(sink.data) == size


def test_flush_of_nothing_does_not_touch_the_sink() -> None:
    """What has nothing to write does not write."""
    journal, sink = new()
    writes = sink.writes
    journal.flush()
    assert sink.writes == writes


def test_write_takes_what_waits_with_it() -> None:
    """After a write everything before it is with the sink, in its order, in one piece."""
    journal, sink = new()
    put(journal, "note")
    put(journal, "defer")
    put(journal, "note")
    before = sink.writes
    put(journal, "write")
    assert sink.writes == before + 1
    assert [one["seq"] for one in sink.lines] == [0, 1, 2, 3, 4]


def test_what_waits_is_written_when_it_is_more_than_the_buffer_holds() -> None:
    """Up to 65536 bytes wait, and with one more all of them are written, whichever way they came."""
    for size, waits in ((1 << 16, True), ((1 << 16) + 1, False)):
        for half in (size // 2, size):
            journal, sink = new()
            begun = len(sink.data)
            pad(journal, half)
            if half < size:
                pad(journal, size - half)
            assert len(sink.data) == (begun if waits else begun + size)


@pytest.mark.parametrize("deferred", [0, 1, 3])
def test_roomy_is_a_journal_in_which_a_note_would_only_wait(deferred: int) -> None:
    """A journal is roomy while a note, and all that was deferred before it, neither fills a batch nor the buffer."""
    most = (1 << 16) - (deferred + 1) * (1 << 12)  # what waits unmade may be as long as the longest line
    for size, roomy in ((most - 1, True), (most, False)):
        journal, sink = new()
        pad(journal, size)
        for _ in range(deferred):
            journal.defer(ended)
        assert journal.roomy is roomy
    journal, sink = new()
    while journal.seq < BATCH - 2 - deferred:
        journal.write(ended(journal.seq))
    for _ in range(deferred):
        journal.defer(ended)
    writes = sink.writes
    assert journal.roomy
    journal.note(ended(journal.next()))
    assert sink.writes == writes
    for _ in range(deferred):
        journal.defer(ended)
    assert not journal.roomy
    journal.note(ended(journal.next()))
    assert sink.writes == writes + 2, "what waited, and the seal"


@pytest.mark.parametrize("how", ["write", "note", "defer"])
def test_seal_is_written_by_itself(how: str) -> None:
    """A write that a crash cuts off holds no seal, so what stands before a seal was written whole."""
    journal, sink = new()
    pieces: list[bytes] = []
    taken = sink.write
    sink.write = lambda data: (pieces.append(bytes(data)), taken(data))[1]  # type: ignore[method-assign]
    for _ in range(BATCH + 10):
        put(journal, how)
    journal.seal(TS, 0)
    seals = [piece for piece in pieces if b'"kind":"seal"' in piece]
    assert len(seals) == 2
    assert all(piece.count(b"\n") == 1 for piece in seals)


def test_number_of_the_next_record_is_told_by_a_broken_journal_too() -> None:
    """What was deferred to a journal that breaks is lost, and the next number is one that nobody will write."""
    for written in (0, BATCH - 10):  # the buffer is full, or the batch
        journal, sink = new()
        for _ in range(written):
            journal.write(ended(journal.seq))
        for _ in range(BATCH - 1 - written):
            journal.defer(ended)
        sink.error = OSError(5, "gone")
        number = journal.next()
        assert number == journal.seq
        assert journal.broken == "the journal cannot be written: [Errno 5] gone"
        journal.defer(ended)
        assert journal.next() == number
        assert journal.waiting == []


def test_sizes_are_those_of_the_format_and_of_the_machine() -> None:
    """A batch has 1024 records, a segment 256 MiB, and a day its microseconds."""
    assert (BATCH, SEGMENT_BYTES) == (1024, 1 << 28)
    assert writer_module._DAY_US == 24 * 60 * 60 * 1_000_000


def note_and_flush(journal: Journal) -> None:
    """Append a record that waits, then hand it on."""
    journal.note(record("anomaly", seq=1))
    journal.flush()


BREAKING: dict[str, Callable[[Journal], None]] = {
    "write": lambda journal: journal.write(record("anomaly", seq=1)),
    "flush": note_and_flush,
    "seal": lambda journal: journal.seal(TS, 0),
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
@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), 2**64, "\udcff", object(), {1: 2}],
    ids=["2^53", "-2^53", "2^64", "surrogate", "object", "keys"],
)
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
        lambda journal: (journal.note(record("anomaly", seq=1)), journal.seal(TS, 1)),
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


def test_deferred_records_are_taken_when_a_batch_is_full() -> None:
    """What is deferred gets its numbers when as many wait as fill a batch, and not before."""
    journal, sink = new()
    before = journal.seq
    for _ in range(BATCH - 1):
        journal.defer(ended)
    assert journal.seq == before
    journal.defer(ended)
    assert journal.seq > before + BATCH - 1
    journal.flush()
    sealed(sink.data)


@pytest.mark.parametrize("act", [lambda journal: journal.flush(), lambda journal: journal.seal(TS, 0)])
def test_flush_and_seal_take_what_was_deferred(act: Callable[[Journal], None]) -> None:
    """Whatever is deferred is written before a flush or a seal is over."""
    journal, sink = new()
    journal.defer(ended)
    act(journal)
    assert "end" in [one["kind"] for one in sink.lines]


def test_broken_journal_says_so_at_every_act() -> None:
    """Flush, seal, write and note of a broken journal each raise the first failure again."""
    journal, sink = new()
    sink.error = OSError(5, "gone")
    with pytest.raises(JournalError):
        put(journal, "write")
    sink.error = None
    for act in (
        journal.flush,
        lambda: journal.seal(TS, 0),
        lambda: journal.note(ended(9)),
        lambda: journal.turn(TS, 0),
    ):
        with pytest.raises(JournalError, match="gone"):
            act()


def test_much_that_waits_is_written_without_a_seal() -> None:
    """Records that fill the buffer go to the sink before their batch is full, and no later call is needed."""
    journal, sink = new()
    size = len(sink.data)
    for _ in range(BATCH // 2):
        journal.note(record("anomaly", seq=journal.seq, detail="x" * 4_000))
    assert len(sink.data) > size
    assert "seal" not in [one["kind"] for one in sink.lines]


def fail_in_a_note(journal: Journal) -> None:
    """Records until the buffer is full, which is handed to the sink."""
    for _ in range(BATCH // 2):
        journal.note(record("anomaly", seq=journal.seq, detail="x" * 4_000))


def fail_in_a_batch(journal: Journal) -> None:
    """Records until a batch is full, which a seal ends."""
    for _ in range(2 * BATCH):
        journal.note(ended(journal.seq))


@pytest.mark.parametrize("error", [OSError(5, "gone"), KeyboardInterrupt()], ids=["failure", "interrupt"])
@pytest.mark.parametrize(
    "act",
    [fail_in_a_note, fail_in_a_batch, lambda journal: journal.seal(TS, 0), lambda journal: journal.turn(TS, 0)],
    ids=["note", "batch", "seal", "turn"],
)
def test_sink_that_fails_anywhere_breaks_for_good(act: Callable[[Journal], None], error: BaseException) -> None:
    """Wherever the sink fails or is interrupted the journal is broken; an interrupt goes on as what it is."""
    journal, sink = new()
    journal.note(ended(journal.seq))
    sink.error = error
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else JournalError):
        act(journal)
    assert journal.broken is not None
    sink.error = None
    with pytest.raises(JournalError, match="the journal cannot be written"):
        journal.flush()


def test_seal_of_a_full_batch_that_fails_breaks_for_good() -> None:
    """A failure of the seal that a full batch brings is told by the record that filled it, once."""
    journal, sink = new()
    for _ in range(BATCH - 2):
        journal.note(ended(journal.seq))
    sink.error = OSError(5, "gone")
    with pytest.raises(JournalError, match=r"^the journal cannot be written: .Errno 5. gone$"):
        journal.note(ended(journal.seq))
    assert journal.broken == "the journal cannot be written: [Errno 5] gone"


def test_sealed_is_the_tree_up_to_the_last_seal() -> None:
    """What a checkpoint signs is the size and the root of all lines, the seal with them."""
    journal, sink = new()
    put(journal, "write")
    journal.seal(TS, 0)
    leaves = sink.data.splitlines()
    assert journal.sealed == (len(leaves), root_of(leaves).hex())
