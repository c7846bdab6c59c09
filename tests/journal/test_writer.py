"""The writer: numbers, batches, seals, and a journal that breaks once and for good."""

from __future__ import annotations

import itertools
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.records import KEYS
from interlock.journal.tree import Tree
from interlock.journal.writer import BATCH, Journal, JournalError, NoRoomError

from .lines import TS, record, root_of, sealed

if TYPE_CHECKING:
    from collections.abc import Callable


OPENING: dict[str, object] = {key: value for key, value in record("segment").items() if key in KEYS["segment"][5:-3]}
"""What tells whose segment it is."""


class Sink:
    """Takes bytes, and fails when told to."""

    def __init__(self) -> None:
        self.data = b""
        self.segments: list[tuple[int, bytes]] = []
        self.writes = 0
        self.syncs = 0
        self.error: BaseException | None = None
        self.short: str | None = None

    def write(self, data: bytes) -> str | None:
        """Take them."""
        self.writes += 1
        if self.error:
            raise self.error
        self.data += data
        return self.short

    def sync(self) -> None:
        """Count."""
        self.syncs += 1
        if self.error:
            raise self.error

    def room(self) -> str | None:
        """Say what is to be said."""
        return self.short

    def turn(self, first: int, opening: bytes) -> None:
        """Begin the next segment."""
        if self.error:
            raise self.error
        self.segments.append((first, self.data))
        self.data += opening


def new(segment_bytes: int = 1 << 30) -> tuple[Journal, Sink]:
    """Return a journal that holds its first record."""
    sink = Sink()
    journal = Journal(sink, Tree(), segment_bytes=segment_bytes)
    journal.opening = lambda: OPENING
    journal.begin(TS, 0)
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
            journal.seal(TS, 0)
        else:
            put(journal, call)
            appended += 1
    journal.seal(TS, 0)
    found = lines(sink)
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
    seals = [one["seq"] for one in lines(sink) if one["kind"] == "seal"]
    assert len(seals) >= 3
    assert all(later - earlier <= BATCH + 1 for earlier, later in zip([0, *seals], seals, strict=False))
    journal.seal(TS, 0)
    assert sealed(sink.data)[-1]["kind"] == "seal"


def test_held_batch_has_no_seal_inside() -> None:
    """While a batch is held no seal comes between its records, however many they are."""
    journal, sink = new()
    journal.holding = True
    for _ in range(3 * BATCH):
        put(journal, "note")
    journal.flush()
    assert all(one["kind"] != "seal" for one in lines(sink))
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


# -- Segments ------------------------------------------------------------------------------------------


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
    while len(sink.data) < 10_000:
        assert not journal.due(TS)
        put(journal, "write")
    assert journal.due(TS)
    journal.turn(TS + day, 0)
    assert not journal.due(TS + day)


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
    assert sink.segments == []
    journal.holding = False
    journal.seal(TS, 0)
    assert len(sink.segments) == 1


def test_no_room_for_a_segment_breaks_nothing() -> None:
    """If there is no room for a new segment the journal is full, not broken, and goes on in the open one."""
    journal, sink = new()
    put(journal, "write")
    sink.error = NoRoomError("no room")
    sink.turn, turn = _raising(sink.error), sink.turn  # type: ignore[method-assign]
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


def _raising(error: BaseException) -> Callable[..., None]:
    def turn(*_: object) -> None:
        raise error

    return turn


def test_failed_turn_breaks_for_good() -> None:
    """Any other failure on the way to a new segment breaks the journal: nobody knows which file is the open one."""
    journal, sink = new()
    sink.turn = _raising(OSError(5, "Input/output error"))  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="Input/output"):
        journal.turn(TS, 0)
    data = sink.data
    with pytest.raises(JournalError, match="Input/output"):
        put(journal, "write")
    assert sink.data == data


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


# -- What was seen not to be tested ---------------------------------------------------------------------


def ended(seq: int) -> dict[str, object]:
    """A record that may wait."""
    return record("end", seq=seq)


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
    assert "end" in [one["kind"] for one in lines(sink)]


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
    assert "seal" not in [one["kind"] for one in lines(sink)]


def test_tree_of_its_peaks_is_the_tree() -> None:
    """A tree goes on from its size and peaks as if it had seen every leaf, and other than its own peaks it refuses."""
    tree = Tree()
    for size in range(20):
        again = Tree.of(size, [bytes.fromhex(peak) for peak in tree.peaks()])
        assert (again.size, again.root(), again.peaks()) == (size, tree.root(), tree.peaks())
        with pytest.raises(ValueError, match="zip"):
            Tree.of(size, [b"\0" * 32] * (len(tree.peaks()) + 1))
        tree.extend([b"%d" % size])


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


def test_turn_that_is_interrupted_breaks_for_good() -> None:
    """Nobody knows what stands there when the beginning of a segment was interrupted."""
    journal, sink = new()
    sink.turn = _raising(KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        journal.turn(TS, 0)
    assert journal.broken == "the journal cannot be written: KeyboardInterrupt"


def test_seal_of_a_full_batch_that_fails_breaks_for_good() -> None:
    """A failure of the seal that a full batch brings is told by the record that filled it, once."""
    journal, sink = new()
    for _ in range(BATCH - 2):
        journal.note(ended(journal.seq))
    sink.error = OSError(5, "gone")
    with pytest.raises(JournalError, match=r"^the journal cannot be written: .Errno 5. gone$"):
        journal.note(ended(journal.seq))


def test_sealed_is_the_tree_up_to_the_last_seal() -> None:
    """What a checkpoint signs is the size and the root of all lines, the seal with them."""
    journal, sink = new()
    put(journal, "write")
    journal.seal(TS, 0)
    leaves = sink.data.splitlines()
    assert journal.sealed == (len(leaves), root_of(leaves).hex())
