"""The report as people and programs read it."""

from collections import Counter
from typing import Any

import attrs
import orjson

from interlock.verify import Report, Status
from interlock.verify.report import CANNOT_KNOW, Action, Anchor, Doubt, Finding

from .builder import Book, check_book, running, whole_life
from .signing import signed_life

BOOK, INPUTS = signed_life()


def told(**fields: Any) -> Report:
    """A report with fields as given."""
    return attrs.evolve(check_book(BOOK, INPUTS), **fields)


def test_the_text_has_everything_in_its_place() -> None:
    """The text begins with the verdict and tells numbers, root, what was given, anchors, notes, findings and doubts."""
    report = told(
        records=9,
        sealed=7,
        tail_records=2,
        torn_bytes=3,
        root="ab",
        signed=5,
        status=Status.VERIFIED_TO_N,
        inputs=("a key", "a list"),
        anchors=(
            Anchor(name="one", form="checkpoint", size=5, ts=1, believed=True, witnesses=("w1", "w2")),
            Anchor(name="two", form="time stamp", size=None, ts=1, believed=False),
        ),
        notes=("a note",),
        findings=(Finding(file="f", line=1, seq=2, rule="Seals", message="it is wrong"),),
        in_doubt=(Doubt(permit=4, order="o"),),
        cannot_know=("this", "that"),
    )
    lines = [
        "VERIFIED-TO-5",
        "engine demo",
        "9 records, 7 sealed, 5 signed, 2 unsealed, 3 torn bytes",
        "root ab",
        "given: a key",
        "given: a list",
        "anchor: one: checkpoint of 5 records: believed, w1, w2",
        "anchor: two: time stamp of None records: not believed",
        "note: a note",
        "f:1: seq 2: Seals: it is wrong",
        "in doubt: permit 4, order o",
        "cannot know: this",
        "cannot know: that",
    ]
    assert list(report.to_text("demo")) == lines
    assert list(report.to_text()) == [lines[0], *lines[2:]]
    bare = attrs.evolve(report, signed=None, root=None)
    assert list(bare.to_text())[:3] == [
        "VERIFIED-TO-7",
        "9 records, 7 sealed, 2 unsealed, 3 torn bytes",
        "given: a key",
    ]


def test_what_can_not_be_printed_is_told_by_its_escape() -> None:
    """What a journal says can't steer a terminal: what is no printable character is escaped, and what is stays."""
    report = told(notes=("a\x1b[2Jb\n\u2028ü",), inputs=(), anchors=(), findings=(), in_doubt=(), cannot_know=())
    assert list(report.to_text())[-1] == "note: a\\x1b[2Jb\\n\\u2028ü"


def test_what_is_signed_beyond_the_last_seal_is_not_verified() -> None:
    """The number of a verdict is of what is both sealed and signed."""
    for signed, sealed, verdict in ((5, 7, 5), (7, 5, 5), (None, 7, 7)):
        report = told(status=Status.VERIFIED_TO_N, signed=signed, sealed=sealed)
        assert report.verdict == f"VERIFIED-TO-{verdict}"


def test_a_report_is_of_plain_values() -> None:
    """As JSON a report has its verdict and exit code first, every field, and its status as a text."""
    report = check_book(BOOK, INPUTS)
    plain = report.to_json()
    assert [*plain] == ["verdict", "exit_code", *(field.name for field in attrs.fields(Report))]
    assert (plain["verdict"], plain["exit_code"]) == ("VERIFIED", 0)
    assert (type(plain["status"]), plain["status"]) == (str, "VERIFIED")
    assert plain["counts"] == dict(report.counts)
    assert orjson.loads(orjson.dumps(plain))["cannot_know"] == [*CANNOT_KNOW]


def test_an_action_tells_who_and_why() -> None:
    """Each arm, start, halt and reset is told with who did it and why: a halt without an operator by its source."""
    book = Book().put("run").put("arm").put("start", session="night").put("halt", operator=None, source="dog")
    book.put("reset").put("start", epoch=2).put("halt", epoch=2)
    assert list(check_book(book).actions) == [
        Action(kind=kind, seq=2 + place, ts=book.records[2 + place]["ts"], epoch=epoch, who=who, why=why)
        for place, (kind, epoch, who, why) in enumerate(
            (
                ("arm", 1, "ann", "new desk"),
                ("start", 1, "ann", "night"),
                ("halt", 1, "dog", "OPERATOR: enough"),
                ("reset", 2, "ann", "looked into"),
                ("start", 2, "ann", ""),
                ("halt", 2, "ann", "OPERATOR: enough"),
            )
        )
    ]


def test_a_journal_tells_how_much_of_it_was_read() -> None:
    """Of a journal that is read whole the bytes and the root's size are told, and the exit code is of its status."""
    for book, code in ((whole_life(), 0), (running().put("mark"), 5), (running().put("start"), 6)):
        report = check_book(book)
        assert (report.bytes_read, report.exit_code) == (sum(map(len, book.lines)), code)
        assert report.root_size == report.sealed - 1
        assert report.counts == Counter(made["kind"] for made in book.records)
