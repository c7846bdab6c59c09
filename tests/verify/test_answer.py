"""What an answer says beside its status: what was given, what is signed, who is to blame, and the notes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import pytest

from interlock.verify import Inputs, Report, Status, verify
from interlock.verify.report import FINDINGS_MAX
from interlock.verify.walk import Damaged

from .apart import apart
from .builder import HOME, TS, running, split
from .signing import (
    FOREVER,
    KEY,
    OTHER,
    ROOT,
    WITNESS,
    checkpoint,
    key_list,
    signed_life,
    trusted,
)
from .test_evidence import WRONG

BOOK, INPUTS = signed_life()
LINES = BOOK.lines
NOTES = INPUTS.notes or ()
NO_ROOT = "no root key was given: no signature is believed, and the answer rests on the seals alone"
NO_ANCHOR = "no anchor from outside the home was given: a journal rolled back to an earlier checkpoint looks the same"


def judged(lines: list[bytes], inputs: Inputs | None = None) -> Report:
    """Verify lines in both ways, which must agree."""
    report = verify(split(lines), inputs=inputs)
    assert apart(split(lines), inputs)[0] == report
    return report


def told(report: Report) -> list[tuple[str, int, int, str, str]]:
    """All that is said of each finding."""
    return [(found.file, found.line, found.seq, found.rule, found.message) for found in report.findings]


# --- notes ---

ANCHORED = (("kept", NOTES[1][1]),)

SAID: dict[str, tuple[Callable[[], Report], list[str]]] = {
    "an empty journal": (
        lambda: verify([]),
        ["no records: an empty or missing journal proves nothing", NO_ROOT, NO_ANCHOR],
    ),
    "a tail and torn bytes": (
        lambda: verify([("0" * 20 + ".jsonl", [*running().put("beat").put("beat").lines, b"torn"])]),
        [
            "2 records after the last seal are bound by no root",
            "4 bytes after the last line feed are no record",
            NO_ROOT,
            NO_ANCHOR,
        ],
    ),
    "two recoveries": (
        lambda: judged(running().recover(0).put("seal").recover(0).put("seal").lines),
        [
            "2 recoveries after a crash: what each set aside is in the file that its record names",
            NO_ROOT,
            NO_ANCHOR,
        ],
    ),
    "all that an auditor can hand in": (
        lambda: judged(LINES, attrs.evolve(INPUTS, anchors=ANCHORED)),
        ["the last 3 records are not under a checkpoint that can be believed"],
    ),
    "a journal that is signed to its end": (
        lambda: judged(LINES[:-3], attrs.evolve(INPUTS, anchors=ANCHORED)),
        [],
    ),
    "checkpoints that were not given": (
        lambda: judged(LINES, attrs.evolve(INPUTS, notes=None, anchors=ANCHORED)),
        [
            "the last 3 records are not under a checkpoint that can be believed",
            "the checkpoints that the journal tells of were not given",
        ],
    ),
    "no checkpoints, and a journal that tells of none": (lambda: judged(running().lines), [NO_ROOT, NO_ANCHOR]),
}


@pytest.mark.parametrize("name", SAID)
def test_an_answer_says_what_it_rests_on(name: str) -> None:
    """Each answer has the notes that explain it, with the right numbers, and no other."""
    make, notes = SAID[name]
    assert list(make().notes) == notes


def test_an_answer_tells_all_that_was_given() -> None:
    """Everything that is handed in is told with its count, keys by name and id, and nothing that is not handed in."""
    inputs = Inputs(
        root_key=ROOT.vkey,
        lists=(key_list(KEY), key_list(KEY, serial=2), ("x", b"no list")),
        notes=NOTES,
        anchors=(*ANCHORED, *ANCHORED, *ANCHORED),
        aside=("home/b", "home/a", "home/b"),
        stamps=(("one", b"no stamp"),) * 4,
        witnesses=(WITNESS.vkey,) * 5,
    )
    assert list(inputs.told()) == [
        f"root key {ROOT.name}+{ROOT.id.hex()}",
        "list of keys: 3",
        "checkpoint of the home: 2",
        "anchor: 3",
        "time stamp of the home: 4",
        "key of a witness: 5",
        "newest list of keys: 2",
        "anchor left aside, as it is of home/a: 1",
        "anchor left aside, as it is of home/b: 2",
    ]
    assert list(Inputs(authorities=(b"", b"")).told()) == ["certificate of a time-stamp authority: 2"]
    assert list(Inputs(lists=(("x", b"no list"),)).told()) == ["list of keys: 1"]
    assert list(Inputs().told()) == []


# --- what is signed, and who is to blame ---

BLAMED: dict[str, tuple[list[str], int]] = {
    "another origin": (
        [f"its origin is 'interlock/{HOME}/other', not 'interlock/{HOME}/demo'"],
        5,
    ),
    "another root": (["its root is not the tree's"], 0),
    "a size that the journal does not have": (["it is of 99 records, but the journal has only 7"], 0),
    "a size that no seal stands before": (["no seal stands right before its size"], 0),
    "an epoch beyond all integers": (["a number that is not below 2^53"], 0),
    "a size of nothing": (["no seal stands right before its size"], 0),
    "a time before the seal": (["its ts lies before that of the seal which it signs"], 5),
    "a time that goes back": (["its ts lies before that of a smaller one"], 7),
    "a name that is not its size": (["the name is not that of a checkpoint of size 5"], 0),
    "no note at all": (["not a text, an empty line and signature lines"], 0),
    "a text of five lines": (["not the four lines of a checkpoint"], 0),
    "no signature of the log": (["not signed by a key of the list"], 0),
    "a signature of the log that is wrong": (["the signature of key key-2 is wrong"], 0),
    "a right signature and a wrong one": (["the signature of key key-2 is wrong"], 0),
    "a time of nothing": (["its ts lies before that of the seal which it signs"], 5),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_checkpoint_is_told_for_what_it_is(name: str) -> None:
    """Of each wrong checkpoint it is said in one sentence what is wrong, and no more counts as signed than is right."""
    lines = running().put("beat").put("seal").lines
    report = judged(lines, trusted(*WRONG[name](lines)))
    messages, believed = BLAMED[name]
    assert [found.message for found in report.findings] == messages
    assert report.signed == believed
    assert report.findings_total == len(messages)
    assert {found.line for found in report.findings} == {0}


def test_a_checkpoint_that_is_not_rightly_signed_is_not_believed() -> None:
    """Of two checkpoints the one with a fault counts neither as believed nor as signed, and neither does its anchor."""
    lines = running().put("beat").put("seal").lines
    notes = (checkpoint(lines, 5), checkpoint(lines, 7, OTHER))
    report = judged(lines, trusted(*notes, anchors=(("kept", notes[1][1]),)))
    assert (report.checkpoints.given, report.checkpoints.believed, report.signed) == (2, 1, 5)
    assert [anchor.believed for anchor in report.anchors] == [False]
    assert [(found.file, found.rule) for found in report.findings] == [
        (notes[1][0], "Checkpoints"),
        ("kept", "Anchors"),
    ]


@pytest.mark.parametrize(("us", "right"), [(0, True), (-1_000_000, True), (-1_000_001, False)])
def test_a_checkpoint_may_be_dated_a_second_before_its_seal(us: int, *, right: bool) -> None:
    """A checkpoint may be dated so much before its seal as a clock may be set without a word, and no more."""
    lines = running().lines
    seal = running().records[-1]["ts"]
    report = judged(lines, trusted(checkpoint(lines, 5, ts=seal + us)))
    assert (report.status is Status.VERIFIED) is right


def test_of_two_that_differ_the_note_of_the_home_comes_first() -> None:
    """Where an anchor of the same size has another root, the anchor is the one that is told as the other."""
    anchor = ("a", checkpoint(LINES, 5, why="start", ts=TS + 1_000_000, root=bytes(32))[1])
    assert told(judged(LINES, attrs.evolve(INPUTS, anchors=(anchor,)))) == [
        ("a", 0, 5, "Anchors", "its root is not the tree's"),
        ("a", 0, 5, "Anchors", "another checkpoint of size 5 has another root"),
    ]


def test_findings_beside_the_journal_count_with_those_in_it() -> None:
    """The total is of the journal's findings and those beside it, though no more are listed than may be."""
    book = running()
    for _ in range(FINDINGS_MAX - 1):
        book.put("start")
    lines = book.put("seal").lines
    report = judged(lines, trusted(("x", b"no note"), ("y", b"no note")))
    assert (len(report.findings), report.findings_total) == (FINDINGS_MAX, FINDINGS_MAX + 1)
    assert [found.rule for found in report.findings] == ["Modes"] * (FINDINGS_MAX - 1) + ["Checkpoints"]
    assert told(report)[-1] == ("x", 0, 0, "Checkpoints", "not a text, an empty line and signature lines")


def test_an_empty_journal_lacks_what_a_checkpoint_signs() -> None:
    """Of a journal that is gone it is said that it lacks what its checkpoints sign, and nothing about its origin."""
    report = verify([], inputs=trusted(checkpoint(LINES, 5)))
    assert [found.message for found in report.findings] == ["it is of 5 records, but the journal has only 0"]


def damaged() -> Iterator[bytes]:
    """Chunks that turn out not to be what the segment's name says."""
    yield b"".join(running().lines)
    raise Damaged


FIRST, SECOND = f"{0:020}.jsonl", f"{5:020}.jsonl"
UNREADABLE: dict[str, tuple[list[tuple[str, Iterable[bytes]]], str]] = {
    "a broken line": ([(FIRST, [*running().lines, b"{}\n"])], "Structure"),
    "a wrong number": ([(FIRST, [*running().lines, running().lines[0]])], "Sequence"),
    "torn bytes before another segment": ([(FIRST, [*running().lines, b"torn"]), (SECOND, [b""])], "Structure"),
    "a segment of another number": ([(FIRST, running().lines), (f"{6:020}.jsonl", [b""])], "Sequence"),
    "a segment without a number": ([(FIRST, running().lines), ("5.jsonl", [b""])], "Structure"),
}


@pytest.mark.parametrize("name", [*UNREADABLE, "damage"])
def test_a_checkpoint_of_what_can_not_be_read_any_more_is_no_finding_of_its_own(name: str) -> None:
    """Where reading ends before the journal does, a checkpoint over later records is neither right nor wrong."""
    segments, rule = UNREADABLE.get(name, ([(FIRST, damaged())], "Structure"))
    report = verify(segments, inputs=trusted(checkpoint(running().put("beat").put("seal").lines, 7)))
    assert [found.rule for found in report.findings] == [rule]
    assert (report.signed, report.sealed) == (0, 5)
    assert [*verify([(FIRST, running().lines)], inputs=trusted(checkpoint([], 7, root=bytes(32)))).findings] != []


def test_a_checkpoint_is_of_a_size_at_a_seal_and_nowhere_else() -> None:
    """Of each size the checkpoint over it is right if a seal ends there, and else it is said that none does."""
    lines = LINES
    for size in range(1, len(lines) + 1):
        at_seal = b'"kind":"seal"' in lines[size - 1]
        report = judged(lines, trusted(checkpoint(lines, size)))
        beside = [found.message for found in report.findings if "its note" not in found.message]
        beside = [message for message in beside if "there is no note" not in message]
        assert beside == ([] if at_seal else ["no seal stands right before its size"]), size
        wrong = judged(lines, trusted(checkpoint(lines, size, root=bytes(32)))).findings
        assert "its root is not the tree's" in [found.message for found in wrong], size


def test_behind_a_seal_that_does_not_hold_no_checkpoint_is_proved() -> None:
    """Where a seal does not hold no checkpoint of a later size is proved, and what is signed ends before it."""
    book = running()
    lines = book.put("seal").put("beat").put("seal").put("beat").put("seal").lines
    lines[6] = lines[6].replace(b'"ticks":9', b'"ticks":8')
    inputs = trusted(checkpoint(lines, 5), checkpoint(lines, 9), checkpoint(lines, 10))
    report = judged(lines, inputs)
    assert report.signed == 5
    assert {found.rule for found in report.findings} == {"Seals", "Totals", "Checkpoints"}
    assert [found.seq for found in report.findings if found.rule == "Checkpoints"] == [9]


# --- keys ---


@pytest.mark.parametrize("spans", [[(0, 9), (0, FOREVER)], [(0, FOREVER), (0, 9)]])
def test_a_key_that_has_ended_does_not_speak_for_another(spans: list[tuple[int, int]]) -> None:
    """What a key signs while it is valid is right, whichever keys of the list have ended, before it or after."""
    keys = (OTHER, KEY) if spans[0][1] == 9 else (KEY, OTHER)
    report = judged(LINES, attrs.evolve(INPUTS, lists=(key_list(*keys, spans=spans),)))
    assert (report.status, report.signed) == (Status.VERIFIED, report.records - 3)


def test_a_list_may_say_the_same_as_the_one_before() -> None:
    """A later list, made at the same time with the same keys for as long, is right."""
    lists = (key_list(KEY, spans=[(0, FOREVER - 1)]), key_list(KEY, serial=2, spans=[(0, FOREVER - 1)]))
    assert judged(LINES, attrs.evolve(INPUTS, lists=lists)).status is Status.VERIFIED


def test_a_note_that_was_given_is_not_asked_for_again() -> None:
    """Only a note that was not given is looked for while the journal is read."""
    asked: list[int] = []

    def later(size: int) -> Any:
        asked.append(size)
        return dict(NOTES)[f"checkpoints/demo/{size:020}.note"]

    inputs = attrs.evolve(INPUTS, notes=NOTES[:1], later=later)
    report = verify(split(LINES), inputs=inputs)
    assert (report.findings, asked) == ((), [int(NOTES[1][0][-25:-5])])
