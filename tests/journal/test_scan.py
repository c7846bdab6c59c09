"""Recovery of a segment at a time: what a right seal closes is taken whole, and the rest line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from interlock.journal import recovery as recovery_module
from interlock.journal.recovery import Recovery
from interlock.journal.tree import Tree

from .lines import TS, line, record, root_of
from .reading import DAY, Read, block, fed, scanned, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


GOOD = (line("segment"), line("permit", seq=1), line("end", seq=2))


RIGHT = root_of([one[:-1] for one in GOOD]).hex()


SEAL = record("seal", seq=3, size=3, root=RIGHT)


def seal(**fields: object) -> bytes:
    """The seal of those lines, with fields of another."""
    return orjson.dumps(SEAL | fields) + b"\n"


SCANNED = {
    "right": (block(*GOOD), False),
    "another number": (block(line("segment"), line("end", seq=7)), True),
    "an unknown kind": (block(line("segment"), orjson.dumps(record("end", seq=1) | {"kind": "sebl"}) + b"\n"), True),
    "a list": (block(line("segment"), b"[]\n"), True),
    "no JSON": (block(line("segment"), b"{\n"), True),
    "two on a line": (block(line("segment"), line("end", seq=1)[:-1] + b"," + line("end", seq=2)), True),
    "a second segment": (block(line("segment"), line("segment", seq=1)), True),
    "no segment first": (block(line("run"), line("end", seq=1)), True),
    "a wrong root": (b"".join(GOOD) + line("seal", seq=3, size=3), True),
    "a seal with another number": (b"".join(GOOD) + line("seal", seq=9, size=3), True),
    "a wrong size": (b"".join(GOOD) + line("seal", seq=3, size=4, root=RIGHT), True),
    "a seal with more in it": (b"".join(GOOD) + seal(more=1), True),
    "a seal of no kind": (b"".join(GOOD) + seal(kind="sebl", ts={"kind": "seal"}), True),
    "a seal of another kind": (b"".join(GOOD) + seal(kind="accept", ts={"kind": "seal"}), True),
    "a seal in another order": (b"".join(GOOD) + orjson.dumps(dict(reversed(SEAL.items()))) + b"\n", True),
    "a seal within a text": (b"".join(GOOD) + line("anomaly", seq=3, detail='"kind":"seal"'), False),
    "no newline at its end": (b"".join(GOOD)[:-1], False),
}


@pytest.mark.parametrize("name", SCANNED)
@pytest.mark.parametrize("size", [1 << 30, 1])
def test_scan_finds_what_feeding_the_lines_finds(name: str, size: int) -> None:
    """Taken whole or in pieces of a byte, a segment gives what its lines give one by one; damage is found by either."""
    data, damaged = SCANNED[name]
    one, whole = Recovery(visit=lambda _: None), Recovery(visit=lambda _: None)
    for text in data.splitlines(keepends=True):
        one.feed(text)
    whole.scan(data[at : at + size] for at in range(0, len(data), size))
    assert (one.damaged, whole.damaged) == (damaged, damaged)
    assert (whole.sealed_bytes, whole.tree.root(), whole.tail) == (one.sealed_bytes, one.tree.root(), one.tail)
    assert whole.torn is one.torn


def test_record_that_cannot_be_played_is_damage_in_a_whole_segment_too() -> None:
    """A sealed record that the ledger can't take is told as damage when it is taken with its block."""

    def visit(given: object) -> None:
        raise KeyError(given)

    recovery = Recovery(visit=visit)
    recovery.scan([block(*GOOD)])
    assert recovery.damaged


def watched(
    data: bytes, first: int, look: Callable[[Read], int] = lambda read: read.tree.size
) -> tuple[list[int], Read]:
    """What is looked at when each of two pieces is asked for, the first of so many bytes."""
    read = Read()
    seen = []

    def parts() -> Iterator[bytes]:
        for part in (data[:first], data[first:]):
            seen.append(look(read))
            yield part

    read.scan(parts())
    return seen, read


def test_segment_after_a_torn_one_is_not_taken() -> None:
    """What follows a tail that no seal binds, or another number than the next, is damage, and is not read."""
    for first, tail in ((3, b""), (2, line("end", seq=1))):
        recovery = Recovery(visit=lambda _: None)
        recovery.scan([line("segment") + tail])
        assert not recovery.begin(first)
        assert recovery.damaged
        recovery.feed(line("end", seq=2))
        assert recovery.torn


def test_much_that_no_seal_binds_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """More without a seal than is kept at once is taken line by line, and a seal after it binds it."""
    monkeypatch.setattr(recovery_module, "_MOST_BYTES", 1 << 20)
    given = [line("segment"), *(line("anomaly", seq=seq, detail="x" * 10_000) for seq in range(1, 200))]
    data = block(*given)
    for step in (1 << 18, len(data)):
        recovery = Recovery(visit=lambda _: None)
        recovery.scan(data[at : at + step] for at in range(0, len(data), step))
        assert (recovery.damaged, recovery.tree.size, recovery.tail) == (False, len(given) + 1, [])


@pytest.mark.parametrize("block_bytes", [1, 300, 700, 1 << 18])
@pytest.mark.parametrize("size", [1, 100, 1 << 30])
def test_what_a_right_seal_closes_is_believed_byte_for_byte(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, size: int
) -> None:
    """Below a right seal the lines need not be spelled as we would: all of them count, in whatever pieces they come."""
    monkeypatch.setattr(recovery_module, "_BLOCK_BYTES", block_bytes)
    data = segment(3, 1, 0, 5, lax=True)
    lines = data.splitlines()
    read = scanned(data, size)
    assert read.told == (14, root_of(lines).hex(), len(data), DAY, TS + 13, [], None, False, False)
    assert read.seen == [one for one in map(orjson.loads, lines) if one["kind"] != "seal"]
    assert fed(data).torn
    for mark in range(15):
        at = scanned(data, size, mark=mark)
        sealed = mark > 0 and orjson.loads(lines[mark - 1])["kind"] == "seal"
        assert at.marked == (root_of(lines[:mark]).hex() if sealed else None), mark
        assert at.told[:6] == read.told[:6]


def test_mark_at_the_first_line_of_a_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal that stands first in its block, with more behind it, is where a size's root may be wanted."""
    monkeypatch.setattr(recovery_module, "_BLOCK_BYTES", 1)
    data = segment(3, 0, 5, lax=True)
    lines = data.splitlines(keepends=True)
    read = Read(mark=6)
    read.scan([b"".join(lines[:5]), b"".join(lines[5:])])
    assert (read.marked, read.torn) == (root_of([one[:-1] for one in lines[:6]]).hex(), False)


def test_segments_follow_one_another() -> None:
    """The next segment goes on with number and tree, and counts its own bytes; its day is known with its seal."""
    for lax in (False, True):
        tree = Tree()
        first, second = segment(2, tree=tree, lax=lax), segment(3, 1, tree=tree, lax=lax)
        read = scanned(first)
        assert read.begin(4)
        assert (read.sealed_bytes, read.day) == (0, None)
        read.scan([second])
        assert (read.tree.size, read.tree.root(), read.sealed_bytes) == (11, tree.root(), len(second))
        assert (read.day, read.torn) == (DAY, False)
        assert [one["seq"] for one in read.seen] == [0, 1, 2, 4, 5, 6, 7, 9]


@pytest.mark.parametrize("first", [3, 5])
def test_segment_of_another_number_does_not_follow(first: int) -> None:
    """After a segment that is sealed whole only the one with the next number is read."""
    read = scanned(segment(2))
    assert not read.begin(first)
    assert (read.torn, read.damaged) == (True, True)


def test_segment_behind_a_tear_does_not_follow() -> None:
    """Nothing that comes after torn bytes is taken, though its own seal be right: that it is there is damage."""
    tree = Tree()
    first, second = segment(2, tree=tree), segment(1, tree=tree)
    read = scanned(first + b"{\n")
    assert (read.torn, read.damaged, read.tail) == (True, False, [])
    assert not read.begin(4)
    assert read.damaged
    before = read.told
    read.scan([second])
    assert read.told == before
    read = scanned(first + b"{\n")
    read.scan([second])
    assert (read.tree.size, read.damaged) == (4, True)
    torn = scanned(first + b"{\n" + second)
    assert (torn.tree.size, torn.damaged) == (4, True)


def test_block_is_taken_before_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a block is there it is taken up to the last seal in it, or of all that is there if it has none."""
    data = segment(2, 2, 2)
    one, two, three = (at for at in range(len(data) + 1) if data[:at].count(b"\n") in {4, 7, 10} and data[at - 1] == 10)
    assert two - one < three - one < one
    for block_bytes, first, taken in (
        (one, one - 1, 0),
        (one, one, 4),
        (one, two, 4),
        (one, three, 4),
        (two, three, 7),
        (two - one, one, 4),
        (two - one, three, 10),
        (three + 1, three, 0),
    ):
        monkeypatch.setattr(recovery_module, "_BLOCK_BYTES", block_bytes)
        sizes, read = watched(data, first)
        assert sizes == [0, taken]
        assert read.told == fed(data).told


def test_a_block_is_damaged_and_those_before_it_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block stands for itself: what is wrong in a later one takes nothing from those that were right."""
    data = segment(3, 3, lax=True)
    half = data.index(b"\n", data.index(b'"kind":"seal"')) + 1
    wrong = data[:half] + data[half:].replace(b'"IDLE"', b'"IDOL"')
    for block_bytes, size in ((half, 5), (len(data), 0)):
        monkeypatch.setattr(recovery_module, "_BLOCK_BYTES", block_bytes)
        read = scanned(wrong)
        assert (read.tree.size, read.torn) == (size, True)


def test_so_much_without_a_seal_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that is kept at once lines are fed before more is read; up to it, they wait for their seal."""
    data = segment(5)
    seal = data.rindex(b"\n", 0, -1) + 1
    for most, waiting in ((seal, True), (seal - 1, False)):
        monkeypatch.setattr(recovery_module, "_MOST_BYTES", most)
        seen, read = watched(data, seal, lambda read: len(read.seen))
        assert seen == [0, 0 if waiting else 6]
        assert read.told == fed(data).told


def test_limits_of_reading_are_those_that_a_machine_can_bear() -> None:
    """A block is a quarter of a mebibyte, and of what no seal binds 64 are kept; a day has its microseconds."""
    assert (recovery_module._BLOCK_BYTES, recovery_module._MOST_BYTES) == (1 << 18, 1 << 26)
    assert recovery_module._DAY_US == 24 * 60 * 60 * 1_000_000
