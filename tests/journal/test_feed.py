"""Recovery line by line: what follows its seal, what is torn, and what no crash leaves."""

from __future__ import annotations

import orjson
import pytest

from interlock.journal.recovery import Recovery
from interlock.journal.tree import Tree

from .lines import NOTHING, TS, line, record, root_of
from .reading import LAX, Read, fed, segment


@pytest.mark.parametrize(
    "given",
    [record("run"), record("seal", root=NOTHING), record("segment", root="0" * 64), record("segment", size=1)],
    ids=["run", "seal", "root", "size"],
)
def test_segment_that_does_not_begin_so_is_damage(given: dict[str, object]) -> None:
    """A segment whose first record is another one, or tells another tree than the one before it, is damage."""
    recovery = Recovery(visit=lambda _: None)
    assert recovery.begin(0)
    recovery.feed(orjson.dumps(given) + b"\n")
    assert recovery.damaged


def test_segment_in_the_midst_of_another_is_damage() -> None:
    """No record but the first of a file begins a segment."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    tree = Tree()
    tree.extend([line("segment")[:-1]])
    recovery.feed(line("segment", seq=1, size=1, root=tree.root(), peaks=tree.peaks()))
    assert recovery.damaged


def test_seal_with_a_wrong_root_is_damage() -> None:
    """A whole seal whose root is wrong does not count, and is told as damage."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    recovery.feed(line("seal", seq=1, size=1))
    assert recovery.damaged
    assert (recovery.sealed_bytes, recovery.tree.size, len(recovery.tail)) == (0, 0, 1)


def test_record_that_cannot_be_played_is_damage() -> None:
    """A whole line that the ledger can't take is told as damage, not raised."""

    def visit(_: object) -> None:
        raise KeyError("side")

    recovery = Recovery(visit=visit)
    recovery.feed(line("segment"))
    assert recovery.damaged
    recovery = Recovery(visit=lambda given: None if given["kind"] == "segment" else visit(given))
    recovery.feed(line("segment"))
    assert not recovery.damaged
    recovery.feed(line("permit", seq=1))
    assert recovery.damaged
    assert [given["kind"] for given in recovery.tail] == ["segment"]


@pytest.mark.parametrize("given", [{"kind": "sebl"}, {"kind": "end", "more": 1}, {"kind": "void"}], ids=str)
def test_object_that_is_no_record_is_damage(given: dict[str, object]) -> None:
    """A whole object in sequence of an unknown kind, or with other keys than its kind's, is told as damage."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    recovery.feed(orjson.dumps({**record("end", seq=1), **given}) + b"\n")
    assert recovery.damaged


@pytest.mark.parametrize(
    "noise",
    [
        *(b"\n", b"[]\n", b"null\n", b"\xff\n", b'{"v":1}\n'),
        *(b"[" * 300 + b"]" * 300 + b"\n", b"[" * 5000, b"9" * 5000 + b"\n"),
    ],
    ids=["empty", "list", "null", "binary", "no-seq", "deep", "deeper", "huge"],
)
def test_noise_is_torn(noise: bytes) -> None:
    """No bytes make recovery raise."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(noise)
    assert recovery.torn
    assert not recovery.damaged


def test_seal_behind_a_tear_is_damage() -> None:
    """What is torn and followed by a seal was not torn by a crash: somebody changed it."""
    for behind, damaged in ((line("end", seq=2), False), (line("seal", seq=2), True)):
        recovery = Recovery(visit=lambda _: None)
        recovery.feed(line("segment"))
        recovery.feed(b"{\n")
        assert (recovery.torn, recovery.damaged) == (True, False)
        recovery.feed(behind)
        assert recovery.damaged is damaged


@pytest.mark.parametrize(
    ("wrong", "damaged"),
    [
        (line("end", seq=1).replace(b'{"v":1', LAX), False),
        (line("end", seq=1).replace(b'"v":1', b'"v":2'), False),
        (line("end", seq=2), False),
        (line("end", seq=1)[:-1], False),
        (line("seal", seq=1)[:-1], False),
        (orjson.dumps(record("end", seq=1) | {"kind": 7}) + b"\n", False),
        (orjson.dumps(record("end", seq=1) | {"kind": "sebl"}) + b"\n", True),
        (orjson.dumps(record("end", seq=1) | {"more": 1}) + b"\n", True),
        (line("segment", seq=1), True),
        (line("seal", seq=1, size=1), True),
        (line("seal", seq=1, size=2, root=root_of([line("segment")[:-1]]).hex()), True),
        (b'{"kind":"seal"\n', True),
        (b'{"root":"\n', True),
        (b'{"rood":"\n', False),
    ],
)
def test_line_that_does_not_follow_tears_the_journal(wrong: bytes, damaged: bool) -> None:
    """What is no record in sequence is torn; it is damage if it is one of ours, or was a seal before it changed."""
    read = fed(line("segment") + wrong)
    assert (read.torn, read.damaged, len(read.seen)) == (True, damaged, 1)
    assert (read.tree.size, read.sealed_bytes) == (0, 0)
    read.feed(line("end", seq=1))
    read.feed(line("end", seq=2))
    assert (read.torn, read.damaged, [one["seq"] for one in read.tail]) == (True, damaged, [0])
    assert len(read.seen) == 1


@pytest.mark.parametrize("last", ["end", "seal"])
def test_line_that_was_not_copied_whole_is_torn(last: str) -> None:
    """A process that is killed amid a copy leaves zeros anywhere in its last line; no gap of them is damage."""
    data = segment(1)
    whole = data if last == "seal" else data + line("end", seq=3)
    start = whole.rindex(b"\n", None, -1) + 1
    for begin in range(start, len(whole)):
        for end in range(begin + 1, len(whole)):  # the line feed is there
            read = fed(whole[:begin] + bytes(end - begin) + whole[end:])
            assert (read.torn, read.damaged) == (True, False)
            assert len(read.tail) == (2 if last == "seal" else 0)


def test_lines_that_were_not_copied_whole_are_torn_unless_a_seal_follows() -> None:
    """A write may have many lines, and a seal is written by itself: a gap before one was not left by a crash."""
    head, lines = segment(1), [line("end", seq=seq) for seq in range(3, 6)]
    for behind, damaged in ((b"", False), (line("seal", seq=6), True), (line("seal", seq=6)[:-1], True)):
        read = fed(head + lines[0] + bytes(20) + lines[1][20:] + lines[2] + behind)
        assert (read.torn, read.damaged, len(read.tail)) == (True, damaged, 1)


@pytest.mark.parametrize("behind", [b'{"kind":"seal"}', b'"root":"ab', line("seal", seq=9)])
def test_whatever_names_a_seal_behind_a_tear_is_damage(behind: bytes) -> None:
    """A seal behind torn bytes, or what was one before a byte of it changed, tells that no crash tore them."""
    read = fed(line("segment") + b"{\n")
    assert not read.damaged
    read.feed(behind)
    read.feed(b"more\n")
    assert read.damaged


def test_time_of_the_last_record_is_the_latest_behind_the_seal() -> None:
    """The last time is the seal's, or a later record's; what has none of its own is of no time."""
    read = fed(line("segment", ts=None) + line("end", seq=1, ts=7) + line("end", seq=2, ts=5))
    assert (read.last_ts, read.day) == (7, None)
    assert fed(line("segment", ts=None)).last_ts == 0
    assert (Read().last_ts, Read().sealed_bytes, Read().marked) == (0, 0, None)
    data = segment(2)
    assert fed(data).last_ts == TS + 3
    assert fed(data + line("end", seq=4, mono=9_000)).last_ts == TS + 9
