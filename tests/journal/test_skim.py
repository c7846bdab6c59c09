"""A closed segment, for its hashes alone: it gives what its lines give, or is not taken."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from interlock.journal.tree import Tree

from .lines import line, record, root_of
from .reading import LAX, Read, block, fed, pieces, segment


def skimmed(data: bytes, size: int = 1 << 30, **given: Any) -> tuple[bool, Read]:
    """Whether a segment is right by its hashes, and what was found on the way."""
    read = Read(**given)
    assert read.begin(0)
    return read.skim(pieces(data, size)), read


@pytest.mark.parametrize("size", [1, 7, 100, 250, 1 << 30])
def test_skim_finds_what_feeding_finds(size: int) -> None:
    """By its hashes alone a closed segment gives the tree, the bytes, the day and the mark that its lines give."""
    data = segment(2, 1, 4)
    for mark in range(-1, 13):
        right, read = skimmed(data, size, mark=mark)
        assert right
        assert read.told == fed(data, mark=mark).told
        assert read.seen == []
        assert read.begin(11)


def test_skim_goes_on_behind_another_segment() -> None:
    """Segments are skimmed one after the other, or scanned after they were, and only in their order."""
    tree = Tree()
    parts = [segment(2, tree=tree), segment(3, tree=tree), segment(1, 1, tree=tree)]
    read = Read(mark=9)
    for part in parts:
        assert read.begin(read.tree.size)
        assert read.skim(pieces(part, 100))
        assert read.sealed_bytes == len(part)
    assert (read.tree.size, read.tree.root()) == (tree.size, tree.root())
    assert read.marked == root_of(b"".join(parts[:2]).splitlines()).hex()
    last = Read()
    for part in parts[:2]:
        assert last.begin(last.tree.size)
        assert last.skim([part])
    assert last.begin(9)
    last.scan([parts[2]])
    assert (last.torn, last.tree.root(), len(last.seen)) == (False, tree.root(), 3)
    again = Read()
    assert again.begin(0)
    assert not again.skim([parts[1]])


def checkpoints(*given: bytes) -> bytes:
    """A segment of these lines, under a right seal."""
    return block(line("segment"), *given)


@pytest.mark.parametrize("size", [1, 300, 1 << 30])
def test_skim_visits_the_newest_checkpoint(size: int) -> None:
    """Of the records of a skimmed segment only checkpoints are visited, the newest at last, with its number."""
    first = line("checkpoint", seq=1, why="time")
    second = line("checkpoint", seq=3, why="halt")
    data = checkpoints(first, line("end", seq=2), second, line("end", seq=4))
    right, read = skimmed(data, size)
    assert right
    assert read.seen[-1] == orjson.loads(second)
    assert {one["kind"] for one in read.seen} == {"checkpoint"}


@pytest.mark.parametrize(
    "other",
    [
        line("checkpoint", seq=2).replace(b'{"v":1', LAX),
        line("checkpoint", seq=7),
        orjson.dumps(record("checkpoint", seq=2) | {"more": 1}) + b"\n",
        orjson.dumps(record("end", seq=2) | {"code": {"kind": "checkpoint"}, "more": 1}) + b"\n",
    ],
    ids=["spelling", "number", "keys", "inside"],
)
def test_what_is_no_checkpoint_of_ours_is_not_visited(other: bytes) -> None:
    """A line that names a checkpoint and is none, by its spelling, number or keys, is hashed and no more."""
    right, read = skimmed(checkpoints(line("end", seq=1), other))
    assert (right, read.seen) == (True, [])


def test_checkpoint_that_was_salvaged_is_visited() -> None:
    """A checkpoint within a record of ours is visited with that record, first line of its block or not."""
    salvage = line("salvage", seq=1, record=record("checkpoint", seq=1))
    right, read = skimmed(checkpoints(salvage))
    assert right
    assert read.seen == [orjson.loads(salvage)]


GOOD_LINES = segment(2).splitlines(keepends=True)


def changed(number: int, **fields: object) -> bytes:
    """A closed segment with other fields in one of its lines."""
    lines = [*GOOD_LINES]
    lines[number] = orjson.dumps(orjson.loads(lines[number]) | fields) + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize("size", [1, 1 << 30])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        GOOD_LINES[0],
        b"".join(GOOD_LINES[:3]),
        b"".join(GOOD_LINES)[:-1],
        b"".join(GOOD_LINES) + b"{",
        b"".join(GOOD_LINES) + line("end", seq=4),
        b"".join(GOOD_LINES[1:]),
        changed(0, kind="end"),
        changed(0, more=1),
        changed(0, seq=1),
        changed(0, peaks=["00" * 32]),
        changed(1, mono=9),
        changed(3, kind="sebl"),
        changed(3, more=1),
        changed(3, seq=4),
        changed(3, size=4),
        changed(3, root="00" * 32),
        b"".join(GOOD_LINES).replace(b'{"v":1,"seq":3', b'{"v": 1,"seq":3'),
        b"".join(GOOD_LINES).replace(b'{"v":1,"seq":0', b'{"v": 1,"seq":0'),
        segment(2, tree=Tree.of(1, [b"\0" * 32])),
        block(line("run"), line("end", seq=1)),
    ],
)
def test_skim_refuses_what_is_not_closed_and_right(data: bytes, size: int) -> None:
    """A segment that does not begin as it should, or does not end with a right seal, is not taken by its hashes."""
    right, read = skimmed(data, size)
    assert not right
    assert read.sealed_bytes == 0


def test_no_changed_byte_is_skimmed_over() -> None:
    """With any byte of a closed segment changed its hashes are refused, but for the time of its last seal."""
    data = segment(1, 1)
    last = data.rindex(b'{"v":1')
    timed = range(data.index(b'"ts":', last) + 5, data.index(b',"size"', last))
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 1
        right, _ = skimmed(bytes(wrong), 200)
        assert not right or place in timed, place
