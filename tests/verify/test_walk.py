"""The walk: where lines, segments and seals begin and end, and how little of a journal it holds at a time."""

from collections.abc import Iterator

import orjson
import pytest

from interlock.verify import Status, verify, walk
from interlock.verify.evidence import Evidence
from interlock.verify.lines import DEPTH_MAX, parse
from interlock.verify.walk import Walk, blocks, first_of

from .apart import apart
from .builder import Book, check, record, running, segment, whole_life
from .signing import checkpoint, trusted


@pytest.mark.parametrize(
    ("name", "first"),
    [
        (f"{7:020}.jsonl", 7),
        (f"journal/demo/{7:020}.jsonl", 7),
        (f"{7:020}.jsonl.zst", 7),
        (f"{7:020}.jsonl.gz", None),
        (f"{7:020}", None),
        (f"{7:020}jsonl", None),
        (f"{7:019}.jsonl", None),
        (f"{7:021}.jsonl", None),
        ("٣" * 20 + ".jsonl", None),
        ("²" * 20 + ".jsonl", None),
        ("-" + "0" * 19 + ".jsonl", None),
    ],
)
def test_a_segment_is_named_by_twenty_digits(name: str, first: int | None) -> None:
    """A segment's name is twenty ASCII digits and .jsonl, packed or not, and nothing else is one."""
    assert first_of(name) == first


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 128, 100_000])
@pytest.mark.parametrize("more", [0, 1])
def test_a_line_of_the_greatest_length_is_read_however_it_comes(
    size: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any size of chunks a line of the greatest length is read, and one byte more is not."""
    monkeypatch.setattr(walk, "_BLOCK", 64)
    whole = [record("segment", mono=0), record("run")]
    longest = max(len(orjson.dumps(made)) for made in whole) + 100
    monkeypatch.setattr(walk, "LINE_MAX", longest)
    short = len(orjson.dumps(record("anomaly", seq=2, mono=1000, detail="")))
    book = Book().put("run").put("anomaly", detail="x" * (longest - short + more))
    book.put("mark").put("seal")
    lines = book.lines
    assert len(lines[2]) - 1 == longest + more
    data = b"".join(lines)
    chunks = [data[place : place + size] for place in range(0, len(data), size)]
    report = check(*chunks)
    assert [(found.rule, found.line) for found in report.findings] == ([("Structure", 3)] if more else [])


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_zeros_behind_the_last_line_are_room_and_other_bytes_are_torn(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the last line feed is counted up to its last byte that is not zero, in whatever chunks it comes."""
    monkeypatch.setattr(walk, "_BLOCK", 64)
    for tail, torn in (
        (bytes(500), 0),
        (b"ab" + bytes(500), 2),
        (b"a" + bytes(300) + b"b_" + bytes(9), 303),
        (b"_", 1),
    ):
        data = b"".join(running().lines) + tail
        report = check(*(data[place : place + size] for place in range(0, len(data), size)))
        assert (report.torn_bytes, report.records, report.bytes_read) == (torn, 5, len(data))


@pytest.mark.parametrize("size", [1, 64, 1000])
@pytest.mark.parametrize("last", ["beat", "seal"])
def test_a_line_that_was_not_copied_whole_is_torn(last: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed amid a copy leaves zeros anywhere in its last line: wherever they are, it is torn."""
    monkeypatch.setattr(walk, "_BLOCK", 64)
    book = running().put("beat")
    *_, half = book.put(last).lines
    whole = b"".join(book.lines[:-1])
    for begin in range(0, len(half), 1 if size == 64 else 7):
        for end in range(begin + 1, len(half), 1 if size == 64 else 11):  # the line feed is there
            data = whole + half[:begin] + bytes(end - begin) + half[end:] + bytes(80)
            report = check(*(data[place : place + size] for place in range(0, len(data), size)))
            assert (report.verdict, report.torn_bytes, report.records) == ("VERIFIED-TO-5", len(half), 6)


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_lines_that_were_not_copied_whole_are_torn_unless_a_seal_follows(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write may have many lines, and a seal is written by itself: zeros before one were not left by a crash."""
    monkeypatch.setattr(walk, "_BLOCK", 64)
    book = running().put("beat").put("beat").put("beat").put("seal")
    for place, lost in enumerate(book.lines):
        lines = [*book.lines]
        lines[place] = lost[:9] + bytes(30) + lost[39:]
        sealed = any(b'"kind":"seal"' in one for one in lines[place + 1 :])
        for torn in (lines, lines[:-1]):
            sealed = any(b'"kind":"seal"' in one for one in torn[place + 1 :])
            data = b"".join(torn)
            report = check(*(data[at : at + size] for at in range(0, len(data), size)))
            found = [(one.rule, one.line, one.seq) for one in report.findings]
            assert found == ([("Structure", place + 1, place)] if sealed else [])
            if not sealed:
                assert report.torn_bytes == sum(map(len, torn[place:]))
                assert report.records == place


def test_zeros_before_another_segment_are_tampering() -> None:
    """Only the last segment may end in a line that was not copied whole."""
    book = running().put("beat")
    half = book.lines[-1][:20] + bytes(20) + book.lines[-1][40:]
    report = verify([(segment(0), [*book.lines[:-1], half]), (segment(6), book.lines[:1])])
    assert [(one.rule, one.message) for one in report.findings] == [
        ("Structure", f"{len(half)} torn bytes before another segment")
    ]


def test_what_is_held_of_a_journal_is_bounded() -> None:
    """Of lines that no seal follows the walk holds the hashes of a few thousand, and of chunks pieces of a block."""
    made = Walk()
    held: list[int] = []
    made.progress = lambda _: held.append(len(made._leaves))

    def chunks() -> Iterator[bytes]:
        book = Book().put("run")
        yield from book.lines
        for number in range(2, 30_002, 1000):
            yield b"".join(
                orjson.dumps(record("mark", seq=seq, mono=book.mono)) + b"\n" for seq in range(number, number + 1000)
            )

    made.read([(segment(0), chunks())])
    assert (made.findings, made.records, made.tree.size) == ([], 30_002, 30_002)
    assert 1000 < max(held) <= walk._LEAVES_MAX + 1000
    pieces = [*blocks([bytes(3 * 2**20 + 1), b"", bytes(5)])]
    assert [*map(len, pieces)] == [2**20] * 3 + [1, 0, 5]


def test_no_more_is_noted_than_what_a_checkpoint_asks_for() -> None:
    """The walk notes the sizes that are asked for, and no other seal."""
    book = whole_life(cut=False)
    sizes = [place + 1 for place, made in enumerate(book.records) if made["kind"] == "seal"]
    made = Walk(Evidence(trusted(*(checkpoint(book.lines, size) for size in sizes[1:3]))))
    made.read(book.segments)
    assert sorted(made.marks) == sizes[1:3]


def test_without_evidence_a_checkpoint_is_a_record_like_any_other() -> None:
    """A walk to which nothing was handed in reads the records that tell of checkpoints, and finds nothing in them."""
    made = Walk()
    made.read(whole_life().segments)
    assert (made.findings, made.counts["checkpoint"], made.whole) == ([], 1, True)


def test_a_segment_record_within_a_segment_is_found() -> None:
    """Two segments in one file are found at the record of the second, and all else about them is right."""
    report = verify([(segment(0), running().cut().put("mark").put("seal").lines)])
    assert [(found.rule, found.seq, found.message) for found in report.findings] == [
        ("Segments", 5, "a segment record within a segment"),
    ]


def test_behind_a_seal_that_does_not_hold_nothing_is_held_against_the_tree() -> None:
    """After the one finding of a broken seal no segment and no recovery is blamed for what the tree is not."""
    lines = running().put("seal").cut().recover(0).put("seal").lines
    for place, message in ((4, "before it"), (5, "after record 4")):
        broken = [*lines]
        made = orjson.loads(broken[place])
        broken[place] = orjson.dumps(made | {"root": "0" * 64}) + b"\n"
        segments = [(segment(0), broken[:6]), (segment(6), broken[6:])]
        report = verify(segments)
        assert [(found.rule, found.seq) for found in report.findings] == [("Seals", place)]
        assert message in report.findings[0].message
        assert report.status is Status.TAMPERED
        assert report.sealed == (0 if place == 4 else 5)
        assert apart(segments)[0] == report


def test_behind_a_broken_seal_a_recovery_may_name_any_root() -> None:
    """After a seal that does not hold, a run behind a bare segment record that recovers is not blamed for its root."""
    book = running().put("end").put("seal").put("segment", mono=0).recover(0)
    lines = book.put("seal").lines
    lines[6] = orjson.dumps(orjson.loads(lines[6]) | {"root": "0" * 64}) + b"\n"
    report = verify([(segment(0), lines[:7]), (segment(7), lines[7:])])
    assert [(found.rule, found.seq) for found in report.findings] == [("Seals", 6)]


def test_a_segment_of_another_past_is_found() -> None:
    """A segment that goes on from another journal of the same engine is found, though all in it fits together."""
    mine, theirs = running(), running()
    theirs.records[2]["operator"] = "eve"
    one, two = (book.cut().put("mark").put("seal").segments for book in (mine, theirs))
    segments = [one[0], two[1]]
    report, joined = apart(segments)
    assert report == verify(segments)
    assert [found.rule for found in report.findings] == ["Segments", "Seals"]
    assert (joined, report.sealed) == (1, 5)


SENTENCES: dict[str, tuple[bytes, str]] = {
    "no kind": (b'{"v":1}', "unknown kind None"),
    "an unknown kind": (b'{"v":1,"kind":"beet"}', "unknown kind 'beet'"),
    "a kind that is none": (b'{"v":1,"kind":["beat"]}', "unknown kind ['beat']"),
    "keys": (orjson.dumps(record("seal") | {"x": 1}), "the keys of seal are not its keys in order"),
    "a type": (orjson.dumps(record("seal") | {"size": "1"}), "size can't be a str"),
    "an integer": (orjson.dumps(record("seal") | {"size": -1}), "an integer is negative or not below 2^53"),
    "a value": (orjson.dumps(record("seal") | {"root": "0"}), "root can't be '0'"),
    "a price": (
        orjson.dumps(record("permit") | {"price": None}),
        "price is null for a market order and for no other",
    ),
    "a salvaged price": (
        orjson.dumps(record("salvage", record=record("permit", type="market"))),
        "in the salvaged record: price is null for a market order and for no other",
    ),
    "a salvage too deep": (b"", f"salvage is nested deeper than {DEPTH_MAX}"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_of_a_broken_line_it_is_said_what_is_wrong(name: str) -> None:
    """Each broken line is told with the key or the kind that is wrong in it."""
    line, sentence = SENTENCES[name]
    if not line:
        made = record("mark")
        for _ in range(DEPTH_MAX + 1):
            made = record("salvage", record=made)
        line = orjson.dumps(made)
    assert str(parse(line)).endswith(sentence)
    assert line[:9] != b'{"v":1,"s' or "salvage" in sentence or parse(line) == sentence
