"""Which segments are taken as they were found: what can be guessed is, and what nobody can know is read again.

A wrong guess costs time, never an answer. So that the time is not lost unseen each story says of each of its segments
whether it is taken; and each answer is that of the plain walk.
"""

from collections.abc import Callable

import orjson
import pytest

from interlock.verify import Status, guess, verify
from interlock.verify.guess import Guess, look
from interlock.verify.tree import Tree

from .apart import taken
from .builder import TS, Book, record, recorded_life, recording, running, segment, whole_life

HOUR_NS = 3600 * 10**9


def later(book: Book, ns: int = HOUR_NS) -> Book:
    """Let time pass."""
    book.mono += ns
    return book


def halted() -> Book:
    """A journal that is HALTED, sealed: the next segment may begin."""
    return running().put("halt").put("seal")


def idle() -> Book:
    """A journal of a session that was stopped, sealed."""
    return running().put("stop").put("seal")


def off(book: Book, us: int) -> Book:
    """Let the clock be ahead by so much from here on."""
    book.step_us += us
    return book


def still(book: Book) -> Book:
    """A journal that goes on at the time of its last record."""
    return book.put("segment", mono=book.mono).put("seal", mono=book.mono)


def rebased() -> Book:
    """A journal behind a rebase, whose sends begin and whose halt takes effect to the nanosecond when they may."""
    book = later(running())
    book.put("rebase", shift=book.mono)
    later(book.put("permit")).put("seal").cut()
    book.put("sent", permit=6, begun=book.records[6]["mono"]).put("permit", id="o2")
    permit, mono = book.last, book.mono
    book.put("permit", id="o3").put("halt", at=mono + 1000).put("seal").cut().put("sent", permit=permit, begun=mono)
    return book.put("unknown", permit=permit + 1, begun=mono + 1000).put("accept", id="o3").put("reset")


def crashed(book: Book) -> Book:
    """A journal that goes on with a run that recovers one record, right behind the segment's seal."""
    last, mono = book.last, book.mono
    return book.recover(1).salvage("mark", seq=last + 1, mono=mono)


def stopped_clock(*kinds: str) -> Book:
    """A journal in which no time passes at all."""
    book = Book()
    for kind in kinds:
        book.put(kind, mono=0, ts=TS)
    return book


def unarmed() -> Book:
    """A journal in which nothing was armed or started yet, sealed."""
    return Book().put("run").put("mark").put("seal")


YES, NO = True, False
STORIES: dict[str, tuple[Callable[[], Book], list[bool]]] = {
    "nothing but segments": (lambda: running().cut().cut().cut(), [YES, YES, YES, YES]),
    "a life": (whole_life, [YES, YES, YES]),
    "a life with recorded inputs": (recorded_life, [YES, YES]),
    # the mode and the epoch before a segment are told by the first record in it that must name them
    "a permit": (lambda: running().cut().put("permit").put("sent", permit=7, begun=6000), [YES, YES]),
    "a refusal": (lambda: running().cut().put("refuse"), [YES, YES]),
    "a refusal while halted": (lambda: halted().cut().put("refuse", mode="HALTED"), [YES, YES]),
    "a refusal while idle": (lambda: idle().cut().put("refuse", mode="IDLE"), [YES, YES]),
    "a flood while halted": (lambda: halted().cut().put("flood", mode="HALTED"), [YES, YES]),
    "a drain": (lambda: running().cut().put("drain"), [YES, YES]),
    "a drain before": (lambda: running().put("drain").put("seal").cut().put("stop"), [YES, NO]),
    "a stop": (lambda: running().cut().put("stop").put("start"), [YES, YES]),
    "a start": (lambda: idle().cut().put("start"), [YES, YES]),
    "a start, far behind": (lambda: idle().cut().put("mark").put("mark").put("start").put("stop"), [YES, YES]),
    "a reset": (lambda: halted().cut().put("reset").put("start", epoch=2), [YES, YES]),
    "a reset from a later epoch": (
        lambda: (
            halted().put("reset", epoch=7).put("start", epoch=7).put("halt", epoch=7).put("seal").cut(epoch=7)
            .put("reset", epoch=9, prior=7)
        ),
        [YES, YES],
    ),
    "a start in a later epoch": (
        lambda: halted().put("reset", epoch=7).put("seal").cut(epoch=7).put("start", epoch=7),
        [YES, YES],
    ),
    "a start in the midst of what was never armed": (lambda: unarmed().cut().put("start"), [YES, NO]),
    "an arm": (lambda: unarmed().cut().put("arm"), [YES, NO]),
    "a second halt": (lambda: halted().cut().put("halt", first=False), [YES, NO]),
    "a halt, and what was before it is told only later": (lambda: halted().cut().put("mark").put("reset"), [YES, YES]),
    # a run that begins at once makes all that was before it of no matter
    "a run": (lambda: running().cut().put("run").put("start").put("permit"), [YES, YES]),
    "a run in the place of a seal": (
        lambda: running().put("end").put("seal").put("segment", mono=0).put("run").put("start"),
        [YES, NO],
    ),
    "a run in the place of a seal, in no time": (
        lambda: stopped_clock("run", "arm", "start", "seal", "segment", "run", "mark"),
        [YES, NO],
    ),
    "a run that records its inputs": (lambda: running().cut().put("run").put("inputs").put("heartbeat"), [YES, YES]),
    "a run after one that recorded its inputs": (lambda: recording().cut().put("run").put("refuse"), [YES, YES]),
    "a run while draining": (
        lambda: running().put("drain").put("seal").cut().put("run").put("start").put("beat"),
        [YES, YES],
    ),
    "a run while halted": (lambda: halted().cut().put("run").put("reset").put("start", epoch=2), [YES, YES]),
    "a run while halted, which nothing tells": (lambda: halted().cut().put("run").put("mark"), [YES, NO]),
    "a run, which nothing tells": (lambda: running().cut().put("run").put("mark"), [YES, YES]),
    "a run, and after it a run": (lambda: running().cut().put("run").put("run").put("start"), [YES, YES]),
    "a run that comes later": (lambda: running().cut().put("mark").put("run").put("start"), [YES, YES]),
    "a run that comes later while halted": (lambda: halted().cut().put("mark").put("run").put("reset"), [YES, NO]),
    "a run that recovers": (lambda: crashed(running().cut()).put("start"), [YES, YES]),
    "a run that recovers a permit and its send": (
        lambda: (
            running().cut().recover(2).salvage("permit", seq=7, mono=6000)
            .salvage("sent", seq=8, mono=7000, permit=7, begun=6000).put("mark")
        ),
        [YES, YES],
    ),
    "a run that recovers nothing": (lambda: running().cut().recover(0).put("start"), [YES, YES]),
    "a run that recovers, and records its inputs": (
        lambda: crashed(running().cut()).put("inputs").put("start").put("quote"),
        [YES, YES],
    ),
    "a run after an end": (lambda: running().put("end").put("seal").cut().put("run").put("start"), [YES, YES]),
    "a run that remembers more": (lambda: running().cut().put("run", remember=1001).put("mark"), [YES, NO]),
    "a run that remembers less": (lambda: running().cut().put("run", remember=999).put("mark"), [YES, NO]),
    # whether its inputs are recorded is told by the first of them
    "a quote": (lambda: recording().cut().put("quote"), [YES, YES]),
    "a trade": (lambda: recording().cut().put("mark").put("trade"), [YES, YES]),
    "a heartbeat": (lambda: recording().cut().put("heartbeat").put("run").put("start"), [YES, YES]),
    "an odd": (lambda: recording().cut().put("odd").put("quote", bid=None), [YES, YES]),
    "a begin": (lambda: recording().put("permit").put("seal").cut().put("begin", permit=6), [YES, YES]),
    "no inputs, and then a run with some": (
        lambda: running().cut().put("mark").put("run").put("inputs").put("quote").put("start"),
        [YES, YES],
    ),
    "a recorded run of which nothing tells": (lambda: recording().cut().put("permit"), [YES, NO]),
    # permits
    "an outcome of an earlier segment": (
        lambda: running().put("permit").put("seal").cut().put("sent", permit=5, begun=5000),
        [YES, YES],
    ),
    "an unknown of an earlier segment": (
        lambda: running().put("permit").put("seal").cut().put("unknown", permit=5, begun=5000),
        [YES, YES],
    ),
    "an unknown of an earlier run": (
        lambda: running().put("permit").put("run").put("start").put("seal").cut().put("unknown", permit=5),
        [YES, YES],
    ),
    "word of one of two permits": (
        lambda: (
            running().put("permit").put("permit", id="o2").put("seal").cut().put("accept").put("mark").put("seal").cut()
            .put("permit", id="o3").put("permit", id="o4").put("reject", id="o4")
        ),
        [YES, YES, YES],
    ),
    "a void of a recorded permit": (
        lambda: recording().put("permit").put("seal").cut().put("heartbeat").put("void", permit=6),
        [YES, YES],
    ),
    "a send over three segments": (
        lambda: (
            recording().put("permit").put("seal").cut().put("begin", permit=6).put("seal").cut().put("heartbeat")
            .put("sent", permit=6, begun=9000).put("quote")
        ),
        [YES, YES, YES],
    ),
    "a void of an earlier segment, and the id again": (
        lambda: running().put("permit").put("seal").cut().put("void", permit=5).put("permit"),
        [YES, NO],
    ),
    "an id again, whose permit was voided in the segment": (
        lambda: running().cut().put("permit").put("void", permit=7).put("permit"),
        [YES, YES],
    ),
    "an id again, whose permit was voided in an earlier one": (
        lambda: running().put("permit").put("void", permit=5).put("seal").cut().put("permit"),
        [YES, YES],
    ),
    "an outcome that a later run tells": (
        lambda: running().put("permit").put("seal").cut().put("run").put("unknown", permit=5).put("accept"),
        [YES, YES],
    ),
    "a stop, with an outcome before it": (
        lambda: running().put("permit").put("seal").cut().put("void", permit=5).put("stop"),
        [YES, YES],
    ),
    "a ticket over the edge": (
        lambda: running().put("drain").put("ticket").put("seal").cut().put("stop"),
        [YES, NO],
    ),
    "an id again, whose permit a later segment voided": (
        lambda: (
            running().put("permit").put("seal").cut().put("void", permit=5).put("seal").cut().put("permit")
            .put("sent", permit=13, begun=12_000)
        ),
        [YES, YES, YES],
    ),
    "a stop, with an outcome in the segment before": (
        lambda: (
            running().put("permit").put("seal").cut().put("unknown", permit=5, begun=5000).put("accept").put("seal")
            .cut().put("stop")
        ),
        [YES, YES, YES],
    ),
    "a send before a halt in its own segment": (
        lambda: (
            recording().put("permit").put("seal").cut().put("begin", permit=6).put("halt", at=9000)
            .put("sent", permit=6, begun=9000)
        ),
        [YES, YES],
    ),
    # the clock
    "hours": (lambda: later(running().cut()).put("mark").put("seal").cut().put("mark"), [YES, YES, YES]),
    "a rebase before": (rebased, [YES, YES, YES]),
    "a rebase": (lambda: running().cut().put("rebase", shift=5000).put("mark").put("seal").cut(), [YES, YES, YES]),
    "a clock that stands still": (lambda: still(running()), [YES, YES]),
    "a clock that is a second ahead": (lambda: off(running(), 1_000_000).cut(), [YES, YES]),
    "a clock that is a second behind": (lambda: off(running(), -1_000_000).cut(), [YES, YES]),
    "a clock that was set back with the run": (
        lambda: off(running(), -9_000_000).put("run").put("anomaly", code="CLOCK_BACK").put("seal").cut().put("start"),
        [YES, YES],
    ),
    "a clock that was set back with the run, which the next segment tells": (
        lambda: off(running(), -9_000_000).put("run").put("seal").cut().put("anomaly", code="CLOCK_BACK"),
        [NO, NO],
    ),
    # what a segment leaves for the next one to tell
    "a clock that was set back, a halt, and the next segment tells": (
        lambda: off(running(), -9_000_000).put("run").put("halt").put("seal").cut().put("anomaly", code="CLOCK_BACK"),
        [NO, NO],
    ),
    "a run, and its inputs in the next segment": (
        lambda: running().put("run").put("seal").cut().put("inputs").put("quote"),
        [NO, NO],
    ),
    "an odd, and its record in the next segment": (
        lambda: recording().put("odd").put("seal").cut().put("quote", bid=None),
        [NO, NO],
    ),
    # heartbeats
    "totals": (
        lambda: (
            running().put("permit").put("refuse").put("block", count=2).put("seal").cut()
            .put("beat", ticks=3, consulted=1, blocked=2, permits=1, refusals=1).put("refuse")
            .put("beat", ticks=3, consulted=1, blocked=2, permits=1, refusals=2).put("seal").cut()
            .put("beat", ticks=3, consulted=1, blocked=2, permits=1, refusals=2)
        ),
        [YES, YES, YES],
    ),
    "totals of what a segment adds": (
        lambda: (
            recording().put("quote").put("seal").cut().put("quote").put("trade", code="STALE").put("permit")
            .put("block", count=1).put("refuse").put("seal").cut()
            .put("heartbeat").put("beat", ticks=3, consulted=2, blocked=1, permits=1, refusals=1)
        ),
        [YES, YES, YES],
    ),
    "totals of recorded inputs": (
        lambda: (
            recording().put("quote").put("trade", code="STALE").put("block", count=1).put("seal").cut()
            .put("quote").put("beat", ticks=3, consulted=2, blocked=1).put("seal")
        ),
        [YES, YES],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_each_segment_is_taken_as_it_was_found_if_it_can_be_guessed(name: str) -> None:
    """Of each story those segments are read again that can't be known from their own first lines, and no other."""
    make, expected = STORIES[name]
    segments = make().put("seal").segments
    report, joined = taken(segments)
    assert report == verify(segments)
    assert report.findings == ()
    assert joined == expected


WRONG: dict[str, Callable[[], Book]] = {
    "an arm after a start in an earlier segment": lambda: (
        unarmed().cut().put("start").put("stop").put("seal").cut().put("arm")
    ),
    "an arm in the midst of a session": lambda: running().cut().put("arm"),
    "an id twice in a segment": lambda: running().cut().put("permit").put("permit"),
    "an id twice in two segments": lambda: running().cut().put("permit").put("seal").cut().put("permit"),
    "an id twice in two segments, withdrawn": lambda: (
        running().put("permit").put("seal").cut().put("permit").put("void", permit=9)
    ),
    "a stop with a permit of an earlier segment": lambda: running().put("permit").put("seal").cut().put("stop"),
    "a stop with a permit of a segment that was taken": lambda: (
        running().cut().put("permit").put("seal").cut().put("stop")
    ),
    "a second outcome": lambda: (
        running().cut().put("permit").put("void", permit=7).put("seal").cut().put("sent", permit=7, begun=6000)
    ),
    "two outcomes in a segment of its own": lambda: (
        running().put("permit").put("seal").cut().put("void", permit=5).put("sent", permit=5, begun=5000)
    ),
    "a record after the end": lambda: running().put("end").put("seal").cut().put("mark"),
    "a send after a halt in its segment": lambda: (
        running().put("permit").put("seal").cut().put("halt", at=8000).put("sent", permit=5, begun=8001)
    ),
    "a send after a halt in an earlier segment": lambda: (
        running().put("permit").put("seal").cut().put("halt", at=8000).put("seal").cut()
        .put("reset").put("sent", permit=5, begun=8001)
    ),
    "a begin by a later run": lambda: (
        recording().put("permit").put("run").put("inputs").put("start").put("seal").cut().put("begin", permit=6)
    ),
    "a begin in a later run of its segment": lambda: (
        recording().put("permit").put("seal").cut().put("run").put("inputs").put("start").put("begin", permit=6)
    ),
    "a begin of an earlier epoch": lambda: (
        recording().put("permit").put("halt").put("reset").put("start", epoch=2).put("seal").cut(epoch=2)
        .put("begin", permit=6).put("permit", epoch=2, id="o2")
    ),
    "a second begin": lambda: (
        recording().put("permit").put("begin", permit=6).put("seal").cut().put("begin", permit=6)
    ),
    "a begin after its void": lambda: (
        recording().put("permit").put("seal").cut().put("void", permit=6).put("begin", permit=6)
    ),
    "a send of another time than its begin": lambda: (
        recording().put("permit").put("seal").cut().put("begin", permit=6).put("sent", permit=6, begun=8999)
    ),
    "totals of another run": lambda: (
        running().put("refuse").put("seal").cut().put("run").put("start").put("beat", refusals=1)
    ),
    "a send by a later run": lambda: (
        running().put("permit").put("run").put("start").put("seal").cut().put("sent", permit=5, begun=5000)
    ),
    "a void by a later run": lambda: (
        running().put("permit").put("run").put("start").put("seal").cut().put("void", permit=5)
    ),
    "a void after its begin": lambda: (
        recording().put("permit").put("begin", permit=6).put("seal").cut().put("heartbeat").put("void", permit=6)
    ),
    "a begin after its send": lambda: (
        recording().put("permit").put("begin", permit=6).put("seal").cut().put("heartbeat")
        .put("sent", permit=6, begun=6000).put("seal").cut().put("begin", permit=6)
    ),
    "a salvaged start in the midst of a session": lambda: (
        running().cut().recover(1).salvage("start", seq=7, mono=6000)
    ),
    "a send before its permit, behind a rebase": lambda: (
        later(running()).put("rebase", shift=HOUR_NS + 3000).put("seal").cut().put("permit").put("seal").cut()
        .put("sent", permit=9, begun=3000)
    ),
    "a time that goes back behind a rebase": lambda: (
        later(later(running()).put("rebase", shift=HOUR_NS + 3000).put("seal").cut()).put("mark").put("seal")
        .put("segment", mono=HOUR_NS // 2).put("seal", mono=2 * HOUR_NS)
    ),
    "an id of a run that remembers more than the one before it": lambda: (
        Book().put("run", remember=1).put("start").put("permit", id="a").put("sent", permit=3, begun=2000).put("seal")
        .cut().put("run").put("start").put("permit", id="b").put("unknown", permit=10, begun=2000).put("reject", id="b")
        .put("seal").cut().put("permit", id="c").put("seal").cut().put("permit", id="d").put("seal").cut()
        .put("permit", id="b")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_over_segments_is_found(name: str) -> None:
    """What only a far earlier segment shows to be wrong is found, whichever of those between were taken as found."""
    segments = WRONG[name]().put("seal").segments
    report, _ = taken(segments)
    assert report == verify(segments)
    assert len(report.findings) == 1


def test_behind_a_seal_that_does_not_hold_nothing_is_taken() -> None:
    """A segment that goes on from the tree as it stood before a broken seal is not taken, and none of it is sealed."""
    book = Book().put("run").put("arm").put("start").put("seal").put("mark").put("mark").put("seal")
    lines = book.lines
    lines[4] = lines[4].replace(b'"root":"', b'"root":"0')[:-4] + b'"}\n'
    tree = Tree()
    tree.extend(line[:-1] for line in lines[:4])
    tree.size = len(lines)
    assert tree.size.bit_count() == len(tree.peaks) == 1
    forged = []
    for kind in ("segment", "seal"):
        told = {"size": tree.size, "root": tree.root().hex()}
        told |= {"peaks": [peak.hex() for peak in tree.peaks]} if kind == "segment" else {}
        made = record(kind, seq=tree.size, mono=9000, **told) | {"ts": book.records[-1]["ts"] + 4}
        forged.append(orjson.dumps(made))
        tree.extend(forged[-1:])
    segments = [(segment(0), lines), (segment(8), [line + b"\n" for line in forged])]
    report, joined = taken(segments)
    assert joined == [NO, NO]
    assert report == verify(segments)
    assert ([found.rule for found in report.findings], report.sealed) == (["Seals"], 0)


def parts(book: Book) -> tuple[str, list[bytes]]:
    """The last segment of a journal."""
    return book.segments[-1]


def looked(book: Book) -> Guess:
    """What was found in the last segment of a journal."""
    name, lines = parts(book)
    found = look(name, [b"".join(lines)], 1000)
    assert found is not None
    assert isinstance(found.monitor, Guess)
    return found.monitor


def test_a_heartbeat_asks_again_only_if_something_happened() -> None:
    """As long as nothing happens heartbeats ask the same, once; what happens between makes them ask anew."""
    book = recording().put("permit").put("seal").cut().put("heartbeat")
    beat = {"ticks": 0, "consulted": 0, "permits": 1}
    for _ in range(9):
        book.put("beat", **beat)
    asked = [question.name for question in looked(book).questions]
    assert asked == ["permits", "refusals", "blocked", "ticks", "stopped"]
    book.put("begin", permit=6)
    for _ in range(9):
        book.put("beat", **beat)
    asked += ["", *asked]
    assert [question.name for question in looked(book).questions] == asked


def test_a_segment_that_asks_too_much_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment may ask so many questions and no more: then it is read from the truth."""
    segments = running().put("refuse").put("seal").cut().put("beat", refusals=1).put("seal").segments
    for most, joined in ((3, YES), (2, NO)):
        monkeypatch.setattr(guess, "_QUESTIONS_MAX", most)
        report, found = taken(segments)
        assert (report, found) == (verify(segments), [YES, joined])


def test_a_guess_does_not_grow_with_what_stands_before_it() -> None:
    """A segment far into a journal of any size is looked at with no more memory than one at its beginning."""
    size = 2**52
    tree = Tree(size, [bytes(32)])
    lines = []
    for kind in ("segment", "seal", "permit"):
        told = {"size": tree.size, "root": tree.root().hex()} if kind != "permit" else {}
        told |= {"peaks": [peak.hex() for peak in tree.peaks]} if kind == "segment" else {}
        lines.append(orjson.dumps(record(kind, seq=tree.size, **told)) + b"\n")
        tree.extend([lines[-1][:-1]])
    found = look(segment(size), [b"".join(lines)], 1000)
    assert found is not None
    assert found.records == size + 3


def test_a_segment_is_known_by_what_its_first_chunk_holds() -> None:
    """A segment without a byte is as one of no bytes; one in chunks is taken if the first one tells enough."""
    for chunks in ([], [b""]):
        found = look(segment(0), chunks, 1000)
        assert found is not None
        assert (found.records, found.bytes, found.torn) == (0, 0, 0)
        assert look(segment(5), chunks, 1000) is None
    name, lines = parts(idle().cut().put("start").put("permit").put("seal"))
    told: list[int] = []
    found = look(name, [b"".join(lines[:3]), *lines[3:]], 1000, progress=told.append)
    assert found is not None
    assert (found.records, found.bytes) == (12, told[-1]) == (12, sum(map(len, lines)))
    assert len(told) == 3
    assert look(name, [b"".join(lines[:2]), *lines[2:]], 1000) is None, "the start comes too late to tell the mode"


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("kind", ["start", "quote", "permit"])
def test_a_segment_that_begins_with_a_broken_line_is_answered_alike(place: int, kind: str) -> None:
    """Wherever at its beginning a segment has a line that is none, the answer is that of the plain walk."""
    segments = running().cut().put("mark").put("mark").put("mark").put("seal").segments
    lines = segments[-1][1]
    lines[place] = orjson.dumps(record(kind, seq=5 + place))[:-2] + b"\n"
    report, joined = taken(segments)
    assert report == verify(segments)
    assert (report.status, joined) == (Status.TAMPERED, [YES, NO])


def test_a_permit_that_was_forgotten_is_not_taken_for_another_of_its_id() -> None:
    """Where an id is permitted again that no run need remember, the outcome of its first permit is not its second's."""
    book = Book().put("run", remember=1).put("start").put("permit", id="a").put("permit", id="b").put("reject", id="b")
    book.put("seal").cut().put("permit", id="a").put("sent", permit=3, begun=2000)
    report, joined = taken(book.put("seal").segments, remember=1)
    assert report == verify(book.segments)
    assert (joined, report.findings) == ([YES, NO], ())


def test_no_process_is_attached_behind_an_end_in_a_segment_that_was_taken() -> None:
    """Behind the end of a run, in a segment that was taken as found, a record of nobody's is found in the next one."""
    book = running().cut().put("end").put("seal").put("beat").put("seal")
    (name, lines), (second, rest) = book.segments
    segments = [(name, lines), (second, rest[:-2]), (segment(9), rest[-2:])]
    report, joined = taken(segments)
    assert report == verify(segments)
    assert joined == [YES, YES, NO]
    assert [(found.rule, found.seq) for found in report.findings] == [("Segments", 9), ("Sequence", 9)]


def test_a_recovery_that_a_segment_cuts_short_is_found() -> None:
    """A segment that ends amid a recovery is not taken, and what the recovery lacks is found in the next one."""
    book = running().cut().recover(2).salvage("mark", seq=7, mono=6000)
    book.put("segment").put("seal")
    report, joined = taken(book.segments)
    assert report == verify(book.segments)
    assert joined == [YES, NO, NO]
    assert [(found.rule, found.seq) for found in report.findings] == [("Segments", 10), ("Sequence", 10)]
