"""Keys, checkpoints and anchors: who can rewrite the seals can not rewrite these."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from interlock.verify import Inputs, Report, Status, verify
from interlock.verify.evidence import File
from interlock.verify.notes import read_checkpoint, read_key, read_list, read_note

from .apart import apart
from .builder import HOME, ORIGIN, TS, Book, check_book, root_of, running, split
from .signing import (
    FOREVER,
    KEY,
    OTHER,
    ROOT,
    WITNESS,
    Signer,
    checkpoint,
    key_list,
    signed,
    signed_life,
    sizes,
    trusted,
)

BOOK, INPUTS = signed_life()
LINES = BOOK.lines
FIRST, SECOND = (int(name[-25:-5]) for name, _ in INPUTS.notes or ())


def rules(report: Report) -> set[str]:
    """The rules that are broken."""
    return {finding.rule for finding in report.findings}


def judged(lines: list[bytes], inputs: Inputs) -> Report:
    """Verify lines in both ways, which must agree."""
    report = verify(split(lines), inputs=inputs)
    assert apart(split(lines), inputs)[0] == report
    assert verify([(name, [b"".join(part)]) for name, part in split(lines)], inputs=inputs) == report
    return report


# --- what is right ---


def test_a_signed_journal_is_verified() -> None:
    """With root key, list and checkpoints a journal is VERIFIED: all is signed but what tells of the last one."""
    report = judged(LINES, INPUTS)
    assert (report.status, report.findings) == (Status.VERIFIED, ())
    assert (report.signed, report.records) == (SECOND, SECOND + 3)
    assert (report.checkpoints.given, report.checkpoints.believed, report.checkpoints.last_size) == (2, 2, SECOND)
    assert report.inputs == (
        f"root key {ROOT.name}+{ROOT.id.hex()}",
        "list of keys: 1",
        "checkpoint of the home: 2",
        "newest list of keys: 1",
    )
    assert report.origin == ORIGIN


def test_without_the_root_key_nothing_is_believed() -> None:
    """Without the root key the same journal is VERIFIED by its seals, and the report says what that is worth."""
    report = judged(LINES, attrs.evolve(INPUTS, root_key=None))
    assert (report.status, report.signed, report.checkpoints.believed) == (Status.VERIFIED, None, 0)
    assert any("no root key" in note for note in report.notes)


@pytest.mark.parametrize("notes", [None, (), (INPUTS.notes or ())[:1]])
def test_what_is_not_signed_is_not_verified(notes: tuple[File, ...] | None) -> None:
    """With the root key, records after the last checkpoint make VERIFIED-TO-N: the N that is signed."""
    book = running().put("beat").put("seal")
    inputs = trusted(*(checkpoint(book.lines, 5) for _ in notes or ()))
    report = judged(book.lines, attrs.evolve(inputs, notes=inputs.notes if notes else notes))
    assert report.verdict == ("VERIFIED-TO-5" if notes else "VERIFIED-TO-0")
    assert report.exit_code == 5
    assert report.sealed == 7


@pytest.mark.parametrize(
    "kinds", [("checkpoint", "seal", "seal"), ("beat", "seal"), ("anchor", "beat"), ("seal", "seal")]
)
def test_records_after_the_last_checkpoint_are_not_passed_off_as_signed(kinds: tuple[str, ...]) -> None:
    """Behind the last checkpoint nothing may stand but what tells of it, and one seal."""
    book = running()
    fields: dict[str, Any] = {"checkpoint": {"key": KEY.id.hex()}, "anchor": {"size": 5}}
    for kind in kinds:
        book.put(kind, **fields.get(kind, {}))
    report = judged(book.lines, trusted(checkpoint(book.lines, 5)))
    assert (report.verdict, report.findings) == ("VERIFIED-TO-5", ())


@pytest.mark.parametrize("kinds", [(), ("seal",), ("checkpoint",), ("checkpoint", "anchor", "seal"), ("anchor",)])
def test_what_tells_of_the_last_checkpoint_may_stand_behind_it(kinds: tuple[str, ...]) -> None:
    """The records that tell of the last checkpoint can't be under it, and take nothing from VERIFIED but their seal."""
    book = running()
    fields: dict[str, Any] = {"checkpoint": {"key": KEY.id.hex()}, "anchor": {"size": 5}}
    for kind in kinds:
        book.put(kind, **fields.get(kind, {}))
    report = judged(book.lines, trusted(checkpoint(book.lines, 5)))
    sealed = not kinds or kinds[-1] == "seal"
    assert report.status is (Status.VERIFIED if sealed else Status.VERIFIED_TO_N)


def test_what_told_of_an_earlier_checkpoint_is_signed_by_the_next() -> None:
    """Records that tell of earlier checkpoints, under the last one, count for nothing behind it."""
    for kinds in (("anchor", "seal"), ("checkpoint", "anchor", "beat", "seal"), ("anchor", "anchor", "seal")):
        book = running()
        fields: dict[str, Any] = {"checkpoint": {"key": KEY.id.hex()}, "anchor": {"size": 5}}
        for kind in kinds:
            book.put(kind, **fields.get(kind, {}))
        size = book.last + 1
        book.put("checkpoint", key=KEY.id.hex()).put("seal")
        lines = book.lines
        report = judged(lines, trusted(checkpoint(lines, 5), checkpoint(lines, size)))
        assert (report.verdict, report.signed, report.findings) == ("VERIFIED", size, ()), kinds


# --- what a forger does who may write the home, and has no key ---


def forged(change: Callable[[Book], object]) -> list[bytes]:
    """The signed journal, changed, with every seal after that made anew."""
    book, _ = signed_life()
    change(book)
    return book.lines


def test_every_record_that_is_changed_under_a_checkpoint_is_found_though_it_is_sealed_anew() -> None:
    """With seals made anew, to change the time of any signed record is VERIFIED by the seals, and TAMPERED by a key."""
    for place in range(SECOND):
        lines = forged(lambda book, place=place: book.records[place].update(ts=book.records[place]["ts"] + 1))
        assert judged(lines, attrs.evolve(INPUTS, notes=None, root_key=None)).status is Status.VERIFIED
        report = judged(lines, INPUTS)
        assert report.status is Status.TAMPERED, place
        assert rules(report) == {"Checkpoints"}


@pytest.mark.parametrize("anchored", [True, False])
def test_every_rollback_is_found_if_something_outside_remembers(*, anchored: bool) -> None:
    """A journal cut back to any seal with its later notes gone is found by an anchor; without one it can't be."""
    anchor = ("elsewhere/latest", (INPUTS.notes or ())[-1][1])
    for size in sizes(BOOK):
        notes = tuple(note for note in INPUTS.notes or () if int(note[0][-25:-5]) <= size)
        inputs = attrs.evolve(INPUTS, notes=notes, anchors=(anchor,) if anchored else ())
        report = judged(LINES[:size], inputs)
        if anchored and size < SECOND:
            assert rules(report) == {"Anchors"}, size
            assert report.findings[0].file == "elsewhere/latest"
        else:
            assert report.status is not Status.TAMPERED, size
            assert any("rolled back" in sentence for sentence in report.cannot_know)


def test_every_truncation_below_a_note_of_the_home_is_found() -> None:
    """A journal cut back to any line, with the home's notes left as they are, is TAMPERED."""
    for size in range(SECOND):
        report = judged(LINES[:size], attrs.evolve(INPUTS, root_key=None))
        assert "Checkpoints" in rules(report), size


def test_a_fork_is_found() -> None:
    """Two checkpoints of one size with two roots are found, whichever of them the journal bears out."""
    other = forged(lambda book: book.records[2].update(operator="eve"))
    for lines in (LINES, other):
        for one, two in ((LINES, other), (other, LINES)):
            notes = (checkpoint(one, FIRST, why="start", ts=TS + 1_000_000), (INPUTS.notes or ())[1])
            anchors = (("kept", checkpoint(two, FIRST, why="start", ts=TS + 1_000_000)[1]),)
            report = judged(lines, trusted(*notes, anchors=anchors))
            assert report.status is Status.TAMPERED
            assert any("another checkpoint of size" in finding.message for finding in report.findings)


def test_signing_anew_with_another_key_is_found() -> None:
    """A journal signed anew with a key that is on no list is TAMPERED, or on a list that the root key did not sign."""
    lines = forged(lambda book: book.records[2].update(operator="eve"))
    notes = [
        checkpoint(lines, FIRST, OTHER, why="start", ts=TS + 1_000_000),
        checkpoint(lines, SECOND, OTHER, why="shutdown", ts=TS + 2_000_000),
    ]
    assert rules(judged(lines, trusted(*notes))) == {"Checkpoints"}
    eve = Signer(ROOT.name, 9)
    swapped = (key_list(OTHER, root=eve),)
    assert rules(judged(lines, trusted(*notes, lists=swapped))) == {"Checkpoints", "Keys"}
    whole = trusted(*notes, lists=swapped)
    for told in ("key", "root"):
        assert judged(lines, attrs.evolve(whole, root_key=None)).status is Status.TAMPERED, told


def test_a_key_swap_within_a_bundle_is_found() -> None:
    """Keys, list and notes all made anew, records naming the new key: only the root key from elsewhere tells."""
    eve = Signer(ROOT.name, 9)

    def change(book: Book) -> None:
        for record in book.records:
            if record["kind"] == "checkpoint":
                record["key"] = OTHER.id.hex()

    lines = forged(change)
    notes = [
        checkpoint(lines, FIRST, OTHER, why="start", ts=TS + 1_000_000),
        checkpoint(lines, SECOND, OTHER, why="shutdown", ts=TS + 2_000_000),
    ]
    bundle = trusted(*notes, lists=(key_list(OTHER, root=eve),))
    assert rules(judged(lines, bundle)) == {"Keys"}
    assert judged(lines, bundle).signed == 0
    assert judged(lines, attrs.evolve(bundle, root_key=None)).status is Status.VERIFIED, "by the seals alone"
    assert judged(lines, attrs.evolve(bundle, root_key=eve.vkey)).status is Status.VERIFIED, "by Eve's own root key"


def test_every_flipped_bit_of_a_note_is_found() -> None:
    """Any bit flipped in any checkpoint, list or anchor of the journal is TAMPERED."""
    anchor = ("kept", (INPUTS.notes or ())[0][1])
    whole = attrs.evolve(INPUTS, anchors=(anchor,))
    for member, rule in (("notes", "Checkpoints"), ("lists", "Keys"), ("anchors", "Anchors")):
        files = getattr(whole, member)
        for number, (name, data) in enumerate(files):
            for place in range(len(data) * 8):
                flipped = bytearray(data)
                flipped[place // 8] ^= 1 << place % 8
                changed = (*files[:number], (name, bytes(flipped)), *files[number + 1 :])
                report = verify(split(LINES), inputs=attrs.evolve(whole, **{member: changed}))
                assert rule in rules(report), (member, place)


# --- checkpoints that are wrong, though rightly signed ---


def corrupted(file: File) -> File:
    """A note whose last signature is changed."""
    name, data = file
    return name, data[:-9] + (b"A" if data[-9:-8] != b"A" else b"B") + data[-8:]


WRONG: dict[str, Callable[[list[bytes]], tuple[File, ...]]] = {
    "another origin": lambda lines: (
        checkpoint(lines, 5, Signer(f"interlock/{HOME}/other", 2), origin=f"interlock/{HOME}/other"),
    ),
    "another root": lambda lines: (checkpoint(lines, 5, root=bytes(32)),),
    "a size that the journal does not have": lambda lines: (checkpoint(lines[:5], 99, root=bytes(32)),),
    "a size that no seal stands before": lambda lines: (checkpoint(lines, 4),),
    "an epoch beyond all integers": lambda lines: (checkpoint(lines, 5, epoch=FOREVER + 1),),
    "a size of nothing": lambda lines: (checkpoint(lines, 0),),
    "a time before the seal": lambda lines: (checkpoint(lines, 5, ts=TS - 2_000_000),),
    "a time that goes back": lambda lines: (checkpoint(lines, 5, ts=TS + 9), checkpoint(lines, 7, ts=TS + 8)),
    "a name that is not its size": lambda lines: ((f"{7:020}.note", checkpoint(lines, 5)[1]),),
    "no note at all": lambda lines: ((checkpoint(lines, 5)[0], b"hello\n"),),
    "a text of five lines": lambda lines: (
        (f"{5:020}.note", signed(checkpoint(lines, 5)[1].decode().split("\n\n")[0] + "\nmore\n", KEY)),
    ),
    "no signature of the log": lambda lines: (checkpoint(lines, 5, WITNESS),),
    "a signature of the log that is wrong": lambda lines: (corrupted(checkpoint(lines, 5)),),
    "a right signature and a wrong one": lambda lines: (corrupted(checkpoint(lines, 5, KEY, KEY)),),
    "a time of nothing": lambda lines: (checkpoint(lines, 5, ts=0),),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_checkpoint_is_tampering(name: str) -> None:
    """Each checkpoint that is not what the text says breaks Checkpoints, with the note's name."""
    lines = running().put("beat").put("seal").lines
    notes = WRONG[name](lines)
    report = judged(lines, trusted(*notes))
    assert rules(report) == {"Checkpoints"}
    assert report.findings[0].file in [note[0] for note in notes]


RECORDS: dict[str, dict[str, Any]] = {
    "another root": {"root": "0" * 64},
    "another key": {"key": "00000000"},
    "another reason": {"why": "size"},
    "another size": {"size": 6},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_a_checkpoint_must_be_that_of_its_note(name: str) -> None:
    """A record that tells of a checkpoint with anything other than its note breaks Checkpoints there."""
    book = running().put("checkpoint", key=KEY.id.hex(), kept=RECORDS[name]).put("seal")
    report = judged(book.lines, trusted(checkpoint(book.lines, 5)))
    assert [(finding.rule, finding.seq) for finding in report.findings] == [("Checkpoints", 5)]


def test_every_note_that_is_gone_is_missed() -> None:
    """Where notes are given, a record without its note breaks Checkpoints; one that was made since is looked for."""
    for gone in range(2):
        notes = tuple(note for number, note in enumerate(INPUTS.notes or ()) if number != gone)
        inputs = attrs.evolve(INPUTS, notes=notes)
        assert [finding.rule for finding in judged(LINES, inputs).findings] == ["Checkpoints"]
        late = dict(INPUTS.notes or ())
        inputs = attrs.evolve(inputs, later=lambda size, late=late: late.get(f"checkpoints/demo/{size:020}.note"))
        assert judged(LINES, inputs).findings == ()


def test_a_note_that_was_made_since_must_be_right() -> None:
    """A note that is only found when its record is met must be that record's and signed by a key of the list."""
    for name, data in (
        checkpoint(LINES, SECOND, OTHER, why="shutdown"),
        checkpoint(LINES, SECOND, why="time"),
        (f"{SECOND:020}.note", b"no note"),
    ):
        inputs = attrs.evolve(INPUTS, notes=(INPUTS.notes or ())[:1], later=lambda _, data=data: data)
        assert rules(judged(LINES, inputs)) == {"Checkpoints"}, name


# --- keys ---


@pytest.mark.parametrize(
    ("span", "right"),
    [
        ((TS + 2_000_000, TS + 2_000_001), False),
        ((TS + 1_000_000, TS + 2_000_001), True),
        ((TS + 1_000_000, TS + 2_000_000), False),
        ((TS + 1_000_001, TS + 2_000_001), False),
    ],
)
def test_a_key_signs_only_while_it_is_valid(span: tuple[int, int], *, right: bool) -> None:
    """A checkpoint dated before its key's FROM, or from its TO on, breaks Checkpoints."""
    report = judged(LINES, attrs.evolve(INPUTS, lists=(key_list(KEY, spans=[span]),)))
    assert rules(report) == (set() if right else {"Checkpoints"})


LISTS: dict[str, tuple[File, ...]] = {
    "two of one serial number": (key_list(KEY), ("again", key_list(KEY, OTHER)[1])),
    "a key that is gone": (key_list(KEY, OTHER), key_list(KEY, serial=2)),
    "a key that is valid for longer": (key_list(KEY, spans=[(0, 9)]), key_list(KEY, serial=2)),
    "a key that is valid from earlier": (
        key_list(KEY, spans=[(1, 2**52)]),
        key_list(KEY, serial=2, spans=[(0, 2**52)]),
    ),
    "a root key of another name": (key_list(KEY, root=Signer("another", 1)),),
    "another name in its text": (
        ("x", signed(key_list(KEY, root=Signer("another", 1))[1].decode().split("\n\n")[0] + "\n", ROOT)),
    ),
    "another root key": (key_list(KEY, root=Signer(ROOT.name, 8)),),
    "no list": (("x", b"hello\n"),),
    "a key twice": (key_list(KEY, KEY),),
    "a line too short": (("x", signed(f"interlock keys {ROOT.name}\n1\n2\nabc\n", ROOT)),),
    "a key of another type": (key_list(Signer(ORIGIN, 2, kind=4)),),
    "a serial number of nothing": (key_list(KEY, serial=0),),
    "a serial number too large": (key_list(KEY, serial=10_000),),
    "a key that ends before it begins": (key_list(KEY, spans=[(FOREVER, FOREVER - 1)]),),
    "a key that ends beyond all integers": (key_list(KEY, spans=[(0, FOREVER + 1)]),),
    "a list without a key": (("x", signed(f"interlock keys {ROOT.name}\n1\n{FOREVER + 1}\n", ROOT)),),
    "a later list that was made earlier": (
        key_list(KEY),
        (
            "x",
            signed(
                key_list(KEY, serial=2)[1].decode().split("\n\n")[0].replace(f"\n{TS}\n", f"\n{TS - 1}\n") + "\n", ROOT
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_wrong_list_of_keys_is_tampering(name: str) -> None:
    """Each list that is not what the text says breaks Keys, and no checkpoint is believed by it."""
    report = judged(LINES, attrs.evolve(INPUTS, lists=LISTS[name]))
    assert "Keys" in rules(report)
    assert report.signed == 0


def test_a_later_list_may_add_a_key_and_shorten_another() -> None:
    """The latest list counts: with a key more, and with one that ends earlier than it was to."""
    lists = (key_list(KEY), key_list(KEY, OTHER, serial=2, spans=[(0, TS + 2_000_001), (0, 9)]))
    assert judged(LINES, attrs.evolve(INPUTS, lists=lists)).status is Status.VERIFIED
    assert judged(LINES, attrs.evolve(INPUTS, lists=(*lists, lists[0]))).status is Status.VERIFIED, "one given twice"
    lists = (key_list(KEY), key_list(KEY, serial=2, spans=[(0, TS + 1_500_000)]))
    assert rules(judged(LINES, attrs.evolve(INPUTS, lists=lists))) == {"Checkpoints"}


def test_a_list_that_was_left_out_may_have_ended_a_key() -> None:
    """With the earlier list alone a key that the later one ended is believed; the answer names the list."""
    lists = (key_list(KEY), key_list(KEY, serial=2, spans=[(0, TS)]))
    for given, status in ((lists, Status.TAMPERED), (lists[:1], Status.VERIFIED)):
        report = judged(LINES, attrs.evolve(INPUTS, lists=given))
        assert report.status is status
        assert f"newest list of keys: {len(given)}" in report.inputs
        assert any("later list" in sentence for sentence in report.cannot_know)


def test_without_any_list_nothing_is_believed_and_nothing_is_wrong() -> None:
    """If no list is given the checkpoints can't be believed, and the journal is verified to 0 by the root key."""
    report = judged(LINES, attrs.evolve(INPUTS, lists=()))
    assert (report.verdict, report.findings, report.checkpoints.believed) == ("VERIFIED-TO-0", (), 0)


# --- witnesses ---


def test_a_cosignature_is_checked_if_the_witness_key_is_given() -> None:
    """A witness's cosignature is told if its key is given, and a wrong one breaks the rule of where it stands."""
    name, _ = (INPUTS.notes or ())[1]
    data = checkpoint(LINES, SECOND, KEY, WITNESS, why="shutdown", ts=TS + 2_000_000)[1]
    inputs = attrs.evolve(INPUTS, notes=((INPUTS.notes or ())[0], (name, data)), witnesses=(WITNESS.vkey,))
    report = judged(LINES, inputs)
    assert report.status is Status.VERIFIED
    assert [(anchor.size, anchor.witnesses) for anchor in report.anchors] == [
        (SECOND, (f"{WITNESS.name}+{WITNESS.id.hex()}",)),
    ]
    place = data.rindex(b" ") + 20
    wrong = data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]
    inputs = attrs.evolve(inputs, notes=((INPUTS.notes or ())[0], (name, wrong)))
    assert rules(judged(LINES, inputs)) == {"Checkpoints"}
    inputs = attrs.evolve(inputs, notes=INPUTS.notes, anchors=(("kept", wrong),))
    assert rules(judged(LINES, inputs)) == {"Anchors"}


def test_an_anchor_is_told_with_who_vouches_for_it() -> None:
    """An anchor that is right is told, with its size and whether it is believed."""
    inputs = attrs.evolve(INPUTS, anchors=(("kept", (INPUTS.notes or ())[1][1]),))
    [anchor] = judged(LINES, inputs).anchors
    assert (anchor.name, anchor.form, anchor.size, anchor.believed) == ("kept", "checkpoint", SECOND, True)
    [anchor] = judged(LINES, attrs.evolve(inputs, root_key=None)).anchors
    assert not anchor.believed


# --- forms ---


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000", f"na me+{KEY.id.hex()}+AA==", ROOT.vkey.replace("+", "+0", 1), ROOT.vkey[:-4]],
)
def test_a_verifier_key_that_is_none_is_refused(text: str) -> None:
    """What is no NAME+ID+KEY is a mistake of who gave it, and is said so."""
    with pytest.raises(ValueError, match="verifier key"):
        read_key(text)


def test_notes_are_read_as_the_text_has_them() -> None:
    """Notes with a control character, without a line feed at the end, too long, or not UTF-8 are none."""
    good = (INPUTS.notes or ())[0][1]
    assert not isinstance(read_note(good), str)
    for bad in (
        good[:-1],
        good + b"x",
        b"",
        b"\n\n",
        good.replace(b"time", b"ti\x01e").replace(b"interlock", b"inter\tlock"),
        good.replace("—".encode(), b"-"),
        b"\xff" + good,
        good + b"x" * 2**20,
        good.replace(b"\n\n", b"\n"),
    ):
        assert isinstance(read_note(bad), str), bad[:60]
        assert isinstance(read_checkpoint(bad), str)
        assert isinstance(read_list(bad), str)
    assert isinstance(read_checkpoint(key_list(KEY)[1]), str)
    assert isinstance(read_list(good), str)


def test_base64_has_one_spelling() -> None:
    """A root spelled with other bits behind its end is no root."""
    text = (INPUTS.notes or ())[0][1].decode().split("\n\n")[0] + "\n"
    root = text.split("\n")[2]
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        other = f"{root[:-2]}{letter}="
        same = read_checkpoint(signed(text.replace(root, other), KEY))
        assert isinstance(same, str) is (b64encode(b64decode_loose(other)).decode() != other)


def b64decode_loose(text: str) -> bytes:
    """Decode without a look at the bits behind the end."""
    return (int.from_bytes(__import__("base64").b64decode(text), "big")).to_bytes(32, "big")


def test_all_of_it_is_the_same_by_segments() -> None:
    """A journal with checkpoints is taken by segments as they were found, and nothing is read again."""
    report, joined = apart(split(LINES), INPUTS)
    assert (report.status, joined) == (Status.VERIFIED, 2)
    assert check_book(BOOK, INPUTS) == report
    assert root_of([line[:-1] for line in LINES[:-1]]).hex() == report.root
