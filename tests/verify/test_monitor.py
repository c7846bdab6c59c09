"""The monitor's rules once more: where one record hides another, what each finding says, and how few need a close look.

Every journal here has right seals, and is read line by line and in one piece.
"""

from collections.abc import Callable

import pytest

from interlock.verify import Report, Status, verify
from interlock.verify.kinds import Record
from interlock.verify.monitor import Monitor

from .builder import ORIGIN, TS, Book, check_book, record, recording, running
from .large import Large

SECOND_US = 1_000_000
SECOND_NS = 10**9


def told(report: Report) -> list[tuple[str, int, str]]:
    """Rule, place and sentence of each finding."""
    return [(found.rule, found.seq, found.message) for found in report.findings]


def off(book: Book, us: int) -> Book:
    """Let the clock be ahead by so much from here on."""
    book.step_us += us
    return book


def bare(*kinds: str) -> Book:
    """A journal that does not begin with a segment."""
    book = Book()
    book.records.clear()
    for kind in kinds:
        book.put(kind)
    return book


def frozen(*steps: tuple[str, int]) -> Book:
    """A journal whose monotonic clock stands still while UTC goes on by some milliseconds."""
    book = Book()
    for kind, ms in steps:
        book.put(kind, mono=0, ts=TS + 1000 * ms)
    return book


def back(us: int) -> Book:
    """A journal whose second run is so much behind the last record of the first."""
    return off(running(), -us - 1).put("run")


def permitted() -> Book:
    """A journal whose record 5 is a permit, granted at mono 5000."""
    return running().put("permit", mono=5000)


GOOD: dict[str, Callable[[], Book]] = {
    "a first segment of epoch 0": lambda: _first_epoch(0),
    "a run that is just a second behind": lambda: back(SECOND_US).put("mark"),
    "a run that is told to be behind, after a seal and a halt": lambda: (
        back(SECOND_US + 1).put("seal").put("halt").put("anomaly", code="CLOCK_BACK").put("mark")
    ),
    "an exit by its ticket after a refusal as halted": lambda: (
        running().put("drain").put("ticket").put("refuse", id="x1", code="HALTED")
        .put("permit", id="x1", side="sell", reduce_only=True).put("void", permit=8)
    ),
    "an odd, what tells of the tree, and its record": lambda: (
        recording().put("odd").put("seal").put("checkpoint").put("anchor").put("quote", bid=None)
    ),
    "a salvaged run that is told to be behind": lambda: (
        running().recover(2).salvage("run", seq=5, ts=TS - 9 * SECOND_US)
        .salvage("anomaly", seq=6, mono=1000, code="CLOCK_BACK").put("mark")
    ),
    "a run that is behind, and another before it was told": lambda: (
        off(back(9 * SECOND_US), -9 * SECOND_US).put("run").put("anomaly", code="CLOCK_BACK")
    ),
    **{
        f"a run that is told to be behind after a {kinds[-1]}": lambda kinds=kinds: _after(*kinds)  # type: ignore[misc]
        for kinds in (
            ("seal",), ("inputs",), ("arm",), ("halt",), ("halt", "reset"), ("seal", "segment", "seal"),
            ("seal", "checkpoint"), ("anchor",), ("arm", "seal", "checkpoint", "anchor", "halt", "reset"),
        )
    },
    "a tell of all that a record has": lambda: (
        recording().put("odd", field="id").put("odd", field="reason").put("reject")
    ),
}  # fmt: skip


def _after(*kinds: str) -> Book:
    """A run that is behind, these records, and only then the one that tells."""
    book = off(Book().put("run").put("mark").put("seal"), -9 * SECOND_US).put("run")
    for kind in kinds:
        book.put(kind)
    return book.put("anomaly", code="CLOCK_BACK").put("mark")


def _first_epoch(epoch: int) -> Book:
    book = Book()
    book.records[0]["epoch"] = epoch
    return book.put("run").put("seal")


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_verified(name: str) -> None:
    """Each journal that keeps the rules, if only just, has no finding."""
    assert told(check_book(GOOD[name]().put("seal"))) == []


DETACHED = "no process is attached"
BAD: dict[str, tuple[Callable[[], Book], list[tuple[str, int, str]]]] = {
    # what the journal begins with
    "a journal that begins with a recovery": (
        lambda: bare("recover").put("run"),
        [
            ("Segments", 0, "the segment begins with a recover"),
            ("Sequence", 0, f"recover: {DETACHED}"),
            ("Sequence", 0, "between the last seal and recover stands more than its run"),
            ("Sequence", 0, "recover does not follow a run"),
        ],
    ),
    "a journal that begins with a run": (
        lambda: bare("run", "recover"),
        [
            ("Segments", 0, "the segment begins with a run"),
            ("Seals", 1, "recover does not name what the last seal closes"),
        ],
    ),
    "a journal that begins with a heartbeat": (
        lambda: bare("beat"),
        [("Segments", 0, "the segment begins with a beat"), ("Sequence", 0, f"beat: {DETACHED}")],
    ),
    "a run in place of a seal": (
        lambda: running().put("segment").put("mark"),
        [("Sequence", 6, "mark follows a segment record in place of a seal")],
    ),
    "an arm in place of a run": (
        lambda: Book().put("arm"),
        [("Sequence", 1, "arm follows a segment record in place of a run")],
    ),
    # what stands between a record and what it must tell
    "a record after the end, behind a seal": (
        lambda: running().put("end").put("seal").put("beat"),
        [("Sequence", 7, f"beat: {DETACHED}")],
    ),
    "a run behind the last record that a halt hides": (
        lambda: back(9 * SECOND_US).put("halt").put("mark"),
        [("Clock", 7, "UTC went back by 9000000000 ns with this run, and no CLOCK_BACK tells it")],
    ),
    "a run behind the last record by no more than it may not": (
        lambda: back(SECOND_US + 1).put("mark"),
        [("Clock", 6, "UTC went back by 1000001000 ns with this run, and no CLOCK_BACK tells it")],
    ),
    "a run behind records of which none took any time": (
        lambda: frozen(("run", 0), ("arm", 0), ("start", 900), ("mark", 1800), ("run", 500)).put("mark"),
        [("Clock", 6, "UTC went back by 1300000000 ns with this run, and no CLOCK_BACK tells it")],
    ),
    "an odd, a seal, and what has none": (
        lambda: recording().put("odd").put("seal").put("heartbeat"),
        [("Sequence", 8, "heartbeat is not what the odd before it tells of")],
    ),
    **{
        f"an odd of the {field} of a {kind}": (
            lambda kind=kind, field=field: recording().put("odd", field=field).put(kind),  # type: ignore[misc]
            [("Sequence", 7, f"{kind} is not what the odd before it tells of")],
        )
        for kind, fields in {
            "quote": ("v", "seq", "kind", "ts", "mono", "armed", "code"),
            "trade": ("armed", "code"),
            "refuse": ("v", "seq", "kind", "ts", "mono", "epoch", "mode", "code", "limit", "value"),
            "fill": ("v", "seq", "kind", "ts", "mono", "known", ""),
        }.items()
        for field in fields
    },
    # one finding and no more
    "an odd without inputs": (
        lambda: running().put("odd").put("mark"),
        [("Sequence", 5, "odd in a run without recorded inputs")],
    ),
    "a quote without inputs, and without a bid": (
        lambda: running().put("quote", bid=None),
        [("Sequence", 5, "quote in a run without recorded inputs")],
    ),
    "a begin without inputs, of no permit": (
        lambda: Book().put("run").put("begin", permit=1),
        [("Sequence", 2, "begin in a run without recorded inputs")],
    ),
    "a send by a later run, before its permit": (
        lambda: permitted().put("run").put("sent", permit=5, begun=1),
        [("JournalBeforeEmit", 7, "sent of a permit of an earlier run")],
    ),
    "a rebase by far not at 0": (
        lambda: running().put("rebase", shift=5000, mono=SECOND_NS // 2).put("mark", mono=5),
        [("Sequence", 5, "the mono of a rebase record is not 0")],
    ),
    # what begins
    "a begin before its permit": (
        lambda: recording().put("begin", permit=7).put("permit").put("sent", permit=7, begun=7000),
        [
            ("JournalBeforeEmit", 6, "begin names a permit which is not in the journal before it"),
            ("JournalBeforeEmit", 8, "sent of a permit without a begin"),
        ],
    ),
    "two begins before their permit": (
        lambda: recording().put("begin", permit=9).put("begin", permit=9),
        [
            ("JournalBeforeEmit", place, "begin names a permit which is not in the journal before it")
            for place in (6, 7)
        ],
    ),
    "a begin after its void": (
        lambda: recording().put("permit").put("void", permit=6).put("begin", permit=6),
        [("JournalBeforeEmit", 8, "begin names a permit which has an outcome already")],
    ),
    "two begins by a later run": (
        lambda: (
            recording().put("permit").put("run").put("inputs").put("start").put("begin", permit=6)
            .put("begin", permit=6).put("unknown", permit=6).put("accept")
        ),
        [("JournalBeforeEmit", place, "begin of a permit of an earlier run") for place in (10, 11)],
    ),
    # numbers in what is said
    "a send a little before its permit": (
        lambda: permitted().put("sent", permit=5, begun=4993),
        [("JournalBeforeEmit", 6, "sent begun 7 ns before its permit")],
    ),
    "a time that goes back": (
        lambda: running().put("mark", mono=2998),
        [("Sequence", 5, "mono goes back by 2 ns")],
    ),
    "a halt of later": (
        lambda: running().put("halt", at=9000, mono=4000),
        [("Modes", 5, "the halt says that it took effect 5000 ns after its record was made")],
    ),
    "a clock that steps": (
        lambda: off(running(), 2 * SECOND_US).put("mark"),
        [("Clock", 5, "UTC moves by 2000000000 ns against the monotonic clock, and no CLOCK_STEP tells it")],
    ),
    "a clock that steps by a nanosecond too much": (
        lambda: running().put("mark", mono=3999, ts=running().records[-1]["ts"] + SECOND_US + 1),
        [
            ("Clock", place, f"UTC moves by {ns} ns against the monotonic clock, and no CLOCK_STEP tells it")
            for place, ns in ((5, 1_000_000_001), (6, -1_000_001_000))
        ],
    ),
    "salvage that is missing": (
        lambda: running().recover(3).put("mark"),
        [("Sequence", 7, "3 salvaged records are missing before this mark")],
    ),
    "a segment of another": (
        lambda: running().cut(origin="another"),
        [("Segments", 5, f"the segment's origin is 'another', not '{ORIGIN}'")],
    ),
    "a stop with permits": (
        lambda: permitted().put("permit", id="o2").put("stop"),
        [("Modes", 7, "stop with 2 permits that have no outcome")],
    ),
    "a total": (
        lambda: running().put("beat", ticks=9, consulted=5, blocked=4),
        [("Totals", 5, "blocked is 4, but the records come to 0")],
    ),
    "consulted": (
        lambda: running().put("block", count=2).put("beat", ticks=9, consulted=9, blocked=2),
        [("Totals", 6, "consulted is 9, but the records come to 7")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_as_it_is(name: str) -> None:
    """Each journal with something wrong has the findings that tell of it, there, in these words, and no other."""
    make, findings = BAD[name]
    assert told(check_book(make().put("seal"))) == findings


def test_nearly_no_record_needs_a_close_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long journal only the first records of a run or segment and seals are looked at closely."""
    looked: list[str] = []
    slowly = Monitor._replay_slowly

    def counted(monitor: Monitor, record: Record, kind: str, number: int) -> None:
        looked.append(kind)
        slowly(monitor, record, kind, number)

    monkeypatch.setattr(Monitor, "_replay_slowly", counted)
    report = verify([(f"{first:020}.jsonl", [data]) for first, data in Large(300, 100).segments()])
    assert (report.status, report.counts["segment"]) == (Status.VERIFIED, 3)
    assert looked == ["segment", "run", "arm", "segment", "seal", "segment", "seal"]
    looked.clear()
    book = running().put("rebase", shift=3000)
    for _ in range(9):
        book.put("mark")
    assert check_book(book.put("anomaly").put("seal")).findings == ()
    assert looked == ["segment", "run", "arm", "rebase"] * 2
    assert record("mark")["kind"] == "mark"
