"""The rules Segments, Clock and Totals against an attacker who can seal: every journal here has right seals."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import zstandard

from interlock.verify import Report, Status, verify
from interlock.verify.files import chunks, segments

from .apart import apart
from .builder import HOME, ORIGIN, TS, ZERO, Book, record, render, running, split, whole_life
from .large import Large

SEGMENTS, CLOCK, TOTALS, SEQUENCE, SEALS = "Segments", "Clock", "Totals", "Sequence", "Seals"
SECOND_US = 1_000_000


def told(report: Report) -> list[tuple[str, int]]:
    """Return the broken rules and where, in order."""
    return [(finding.rule, finding.seq) for finding in report.findings]


def judged(book: Book) -> Report:
    """Verify a book in both ways, which must agree."""
    report = verify(book.segments)
    assert apart(book.segments)[0] == report
    return report


def late(book: Book, us: int) -> Book:
    """Let the clock be ahead by so much from here on."""
    book.step_us += us
    return book


def cut_to_nothing(**fields: Any) -> Book:
    """A journal whose second segment was cut back to nothing: 0 to 4 a RUNNING engine, 5 segment, 6 run, 7 recover."""
    book = running()
    last = book.records[-1]
    book.put("segment", mono=0, ts=last["ts"] + 9)
    book.put("run", ts=last["ts"] + 10)
    lines = book.lines
    root = orjson.loads(render([*book.records[:5], record("seal")])[5])["root"]
    assert lines[5].startswith(b'{"v":1,"seq":5,"kind":"segment"')
    book.back_ts = last["ts"] - last["mono"] // 1000
    book.put("recover", **{"sealed": 5, "root": root, "salvaged": 1} | fields)
    return book.salvage("segment", seq=5, mono=4000)


GOOD: dict[str, Callable[[], Book]] = {
    "three segments": lambda: running().cut().put("beat").put("seal").cut(),
    "a segment of a later epoch": lambda: (
        running().put("halt").put("reset").put("seal").cut(epoch=2).put("start", epoch=2)
    ),
    "a segment that another boot and version begin": lambda: running().cut(boot="x", version="2", code="1" * 64),
    "a segment after the end": lambda: running().put("end").put("seal").cut().put("run"),
    "a segment with its run in place of a seal": lambda: (
        running().put("end").put("seal").put("segment", mono=0).put("run").put("start")
    ),
    "a segment that was cut back to nothing": cut_to_nothing,
    "a first segment that was cut back to nothing": lambda: (
        Book().put("run").put("recover", root=render([record("seal")])[0][-67:-3].decode(), salvaged=3)
        .salvage("segment", seq=0).salvage("run", seq=1).salvage("arm", seq=2, mono=5)
    ),
    "what may stand after the end": lambda: (
        running().put("end").put("seal").put("checkpoint").put("anchor", size=7).put("seal")
    ),
    "a clock that is a second off": lambda: late(running(), SECOND_US).put("beat"),
    "a clock that is a second off, and another": lambda: (
        late(late(running(), SECOND_US).put("beat"), SECOND_US).put("beat")
    ),
    "a clock that is a second behind": lambda: late(running(), -SECOND_US).put("beat"),
    "a step that is told": lambda: late(running(), 3600 * SECOND_US).put("anomaly", code="CLOCK_STEP").put("beat"),
    "a step back that is told": lambda: late(running(), -99 * SECOND_US).put("anomaly", code="CLOCK_STEP").put("beat"),
    "a run much later": lambda: late(running(), 3600 * SECOND_US).put("run").put("beat"),
    "a run a second before": lambda: late(running(), -SECOND_US).put("run").put("beat"),
    "a run before, which is told": lambda: (
        late(running().put("seal"), -99 * SECOND_US).recover(0).put("halt").put("reset").put("seal")
        .put("anomaly", code="CLOCK_BACK")
    ),
    "a run before, and another before it was told": lambda: late(running(), -99 * SECOND_US).put("run").put("run"),
    "a run before, salvaged before it was told": lambda: (
        running().recover(1).salvage("run", seq=5, ts=TS - 99 * SECOND_US).put("beat")
    ),
    "a clock over a rebase": lambda: running().put("rebase", shift=3000).put("beat"),
    "totals": lambda: (
        running().put("permit", id="a").put("void", permit=5).put("refuse").put("flood", count=7).put("block", count=4)
        .put("beat", ticks=9, consulted=5, blocked=4, permits=1, refusals=8)
    ),
    "totals of each run": lambda: (
        running().put("permit", id="a").put("void", permit=5).put("run").put("refuse")
        .put("beat", ticks=9, consulted=9, permits=0, refusals=1)
    ),
    "totals of a run over its segments": lambda: (
        running().put("refuse").put("seal").cut().put("refuse").put("block", count=2).put("seal").cut()
        .put("beat", ticks=5, consulted=3, blocked=2, refusals=2)
    ),
    "totals with what was salvaged": lambda: (
        running().put("refuse").put("seal").recover(2).salvage("refuse", seq=7, mono=9000)
        .salvage("beat", seq=8, mono=9000, refusals=2).put("beat", refusals=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_verified(name: str) -> None:
    """Each journal that keeps the rules, if only just, is VERIFIED."""
    report = judged(GOOD[name]().put("seal"))
    assert (told(report), report.status) == ([], Status.VERIFIED)


OTHER_HOME = f"interlock/{HOME.replace('5', '6')}/demo"
BAD: dict[str, tuple[Callable[[], Book], list[tuple[str, int]]]] = {
    # Segments
    "a segment of another home": (lambda: running().cut(origin=OTHER_HOME), [(SEGMENTS, 5)]),
    "a segment of another engine": (lambda: running().cut(origin=ORIGIN + "2"), [(SEGMENTS, 5)]),
    "a segment of a later epoch in the midst of a session": (
        lambda: running().cut(epoch=2),
        [("Segments", 6)],
    ),
    "a segment of an earlier epoch": (
        lambda: running().put("halt").put("reset").put("seal").cut(epoch=2).cut(epoch=1),
        [(SEGMENTS, 10)],
    ),
    "a segment of an earlier epoch than its records": (
        lambda: (
            running().put("halt").put("reset").put("seal").cut(epoch=2).cut(epoch=1).put("start", epoch=2)
        ),
        [(SEGMENTS, 10)],
    ),
    "a run of another home": (lambda: running().put("run", home="x"), [(SEGMENTS, 5)]),
    "a run of another engine": (lambda: running().put("run", engine="x"), [(SEGMENTS, 5)]),
    "a segment of another size": (lambda: running().cut(kept={"size": 4}), [(SEGMENTS, 5)]),
    "a segment of another root": (lambda: running().cut(kept={"root": ZERO}), [(SEGMENTS, 5)]),
    "a segment of another peak": (lambda: running().cut(kept={"peaks": [ZERO, ZERO]}), [(SEGMENTS, 5)]),
    "a segment with a peak too few": (lambda: running().cut(kept={"peaks": []}), [(SEGMENTS, 5)]),
    "a first segment with a peak": (lambda: first(peaks=[ZERO]), [(SEGMENTS, 0)]),
    "a segment before which no seal stands": (lambda: running().put("beat").cut(), [(SEGMENTS, 6)]),
    # Sequence
    "a segment that no seal follows": (lambda: running().put("segment").put("beat"), [(SEQUENCE, 6)]),
    "a first segment that a seal follows": (lambda: Book().put("seal").put("run"), [(SEQUENCE, 1)]),
    "a first segment that an arm follows": (lambda: Book().put("arm").put("run"), [(SEQUENCE, 1)]),
    "a segment whose time goes back": (lambda: running().put("segment", mono=2999).put("seal"), [(SEQUENCE, 6)]),
    "a segment at another time before its run": (
        lambda: running().put("end").put("seal").put("segment").put("run"),
        [(SEQUENCE, 8)],
    ),
    "a recovery of nothing that names another seal": (lambda: cut_to_nothing(sealed=4), [(SEALS, 7)]),
    "a recovery of nothing with another root": (lambda: cut_to_nothing(root=ZERO), [(SEALS, 7)]),
    # Clock
    "a clock that steps forward": (lambda: late(running(), SECOND_US + 1).put("beat"), [(CLOCK, 5)]),
    "a clock that steps back": (lambda: late(running(), -SECOND_US - 1).put("beat"), [(CLOCK, 5)]),
    "a step that is told too late": (
        lambda: late(running(), 9 * SECOND_US).put("beat").put("anomaly", code="CLOCK_STEP"),
        [(CLOCK, 5)],
    ),
    "a step that another anomaly tells": (
        lambda: late(running(), 9 * SECOND_US).put("anomaly", code="CLOCK_BACK"),
        [(CLOCK, 5)],
    ),
    "a clock that steps at a seal": (lambda: late(running(), 9 * SECOND_US).put("seal"), [(CLOCK, 5)]),
    "a clock that steps at a segment": (
        lambda: late(running().put("segment", ts=TS + 9 * SECOND_US), 9 * SECOND_US).put("seal"),
        [(CLOCK, 6)],
    ),
    "a clock that steps over a rebase": (
        lambda: late(running(), 9 * SECOND_US).put("rebase", shift=3000),
        [(CLOCK, 5)],
    ),
    "a forged time of one record": (
        lambda: running().put("beat", ts=TS + 9 * SECOND_US).put("beat"),
        [(CLOCK, 5), (CLOCK, 6)],
    ),
    "a run before the last record": (lambda: late(running(), -SECOND_US - 9).put("run").put("beat"), [(CLOCK, 6)]),
    "a run before the last record, told too late": (
        lambda: late(running(), -9 * SECOND_US).put("run").put("start").put("anomaly", code="CLOCK_BACK"),
        [(CLOCK, 6)],
    ),
    "a run before the last record, told in no later segment": (
        lambda: late(running(), -9 * SECOND_US).put("run").put("seal").cut().put("start"),
        [(CLOCK, 9)],
    ),
    "a run before the record that stands before its segment": (
        lambda: late(running().put("end").put("seal"), -9 * SECOND_US).put("segment", mono=0).put("run").put("start"),
        [(CLOCK, 9)],
    ),
    "a salvaged clock that steps": (
        lambda: running().recover(1).salvage("beat", seq=5, mono=4000, ts=TS + 9 * SECOND_US),
        [(CLOCK, 7)],
    ),
    # Totals
    "a permit too many": (lambda: running().put("beat", permits=1), [(TOTALS, 5)]),
    "a permit too few": (lambda: running().put("permit").put("void", permit=5).put("beat"), [(TOTALS, 7)]),
    "refusals that are hidden": (lambda: running().put("refuse").put("flood", count=7).put("beat", refusals=7),
        [(TOTALS, 7)]),
    "blocks that are hidden": (
        lambda: running().put("block", count=3).put("beat", ticks=9, consulted=7, blocked=2),
        [(TOTALS, 6)],
    ),
    "ticks that nobody was asked about": (lambda: running().put("beat", ticks=9, consulted=8), [(TOTALS, 5)]),
    "more asked than ticked": (lambda: running().put("beat", ticks=9, consulted=10), [(TOTALS, 5)]),
    "totals of the run before": (
        lambda: running().put("refuse").put("run").put("beat", refusals=1),
        [(TOTALS, 7)],
    ),
    "totals that forget an earlier segment": (
        lambda: running().put("refuse").put("seal").cut().put("beat", refusals=0),
        [(TOTALS, 9)],
    ),
}  # fmt: skip


def first(**kept: Any) -> Book:
    """A book whose first record says something else."""
    book = running()
    book.records[0]["kept"] = kept
    return book


@pytest.mark.parametrize("name", BAD)
def test_what_is_forbidden_is_tampering_however_it_is_sealed(name: str) -> None:
    """Each journal with one thing wrong breaks the named rules there, right seals or not."""
    make, findings = BAD[name]
    report = judged(make().put("seal"))
    assert (told(report), report.exit_code) == (findings, 6)


def test_every_segment_of_another_journal_is_found() -> None:
    """To put a segment of another home's, or of an earlier state of the same, in place of any is TAMPERED."""
    mine = whole_life().segments
    theirs = Book.segments.fget(_elsewhere())  # type: ignore[attr-defined] # a property
    for place, (name, lines) in enumerate(theirs):
        swapped = [*mine[:place], (name, lines), *mine[place + 1 :]]
        report = verify(swapped)
        assert report.status is Status.TAMPERED, place
        assert apart(swapped)[0] == report


def _elsewhere() -> Book:
    book = whole_life()
    for one in book.records:
        if one["kind"] == "segment":
            one["origin"] = OTHER_HOME
        if one["kind"] == "run":
            one["home"] = OTHER_HOME.split("/")[1]
    return book


def test_every_missing_segment_but_the_last_is_found() -> None:
    """To leave out any segment but the last is TAMPERED; without the last one the rest stands by itself."""
    whole = whole_life().segments
    for place in range(len(whole)):
        report = verify([*whole[:place], *whole[place + 1 :]])
        assert (report.status is Status.TAMPERED) is (place < len(whole) - 1), place


def test_compressed_segments_are_read_as_what_they_hold(tmp_path: Any) -> None:
    """A journal whose closed segments are compressed, of one frame or of several, is answered like the plain one."""
    plain = {f"{number:020}.jsonl": data for number, data in Large(300, 60).segments()}
    expected = verify([(name, [data]) for name, data in plain.items()])
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    for number, (name, data) in enumerate(plain.items()):
        half = len(data) // 2
        frames = [data] if number % 2 else [data[:half], data[half:]]
        (tmp_path / f"{name}.zst").write_bytes(b"".join(map(compressor.compress, frames)))
    paths = segments(tmp_path)
    assert [path.suffix for path in paths] == [".zst"] * 5
    report = verify((path.name, chunks(path)) for path in paths)
    assert (report.status, report.counts, report.root) == (Status.VERIFIED, expected.counts, expected.root)
    assert report.bytes_read == expected.bytes_read


def test_where_both_are_there_the_plain_segment_counts(tmp_path: Any) -> None:
    """Of a segment that is there plain and compressed the plain one is read."""
    name = f"{0:020}.jsonl"
    (tmp_path / name).write_bytes(b"".join(running().lines))
    (tmp_path / f"{name}.zst").write_bytes(b"half of it")
    assert [path.name for path in segments(tmp_path)] == [name]


def test_every_flipped_byte_of_a_compressed_segment_is_found(tmp_path: Any) -> None:
    """A compressed segment that is changed anywhere, or cut off anywhere, is TAMPERED or holds the same bytes."""
    whole = [(name.rpartition("/")[2], b"".join(lines)) for name, lines in whole_life().segments]
    packed = tmp_path / f"{whole[0][0]}.zst"
    right = zstandard.ZstdCompressor(write_checksum=True).compress(whole[0][1])
    rest = [(name, [data]) for name, data in whole[1:]]
    for place in range(len(right)):
        flipped = bytearray(right)
        flipped[place] ^= 1 << place % 8
        for data in (bytes(flipped), right[:place]):
            packed.write_bytes(data)
            report = verify([(packed.name, chunks(packed)), *rest])
            if report.status is not Status.TAMPERED:
                assert report == verify([(packed.name, [whole[0][1]]), *rest]), place


def test_a_last_segment_that_is_cut_off_is_found(tmp_path: Any) -> None:
    """A compressed last segment that is cut off anywhere is TAMPERED: a closed segment has no torn end."""
    lines = running().lines
    right = zstandard.ZstdCompressor(write_checksum=True).compress(b"".join(lines))
    packed = tmp_path / f"{0:020}.jsonl.zst"
    for size in range(1, len(right)):
        packed.write_bytes(right[:size])
        report = verify([(packed.name, chunks(packed))])
        assert [finding.rule for finding in report.findings] == ["Structure"], size


def test_a_segment_is_split_where_its_record_stands() -> None:
    """The tests' own cutting of lines into segments is right: each begins with its record."""
    for name, lines in split(whole_life().lines):
        assert int(name[-26:-6]) == orjson.loads(lines[0])["seq"]
        assert orjson.loads(lines[0])["kind"] == "segment"
