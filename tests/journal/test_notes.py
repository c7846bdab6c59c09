"""Signed notes: those of others are read, ours come back, and whatever is not exactly one is refused with a reason."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors import SHARED, needs_vectors

from interlock.journal.notes import (
    COSIGNATURE,
    Note,
    NoteError,
    Signature,
    Signer,
    Verifier,
    cosigned,
    key_name,
    number,
    verified,
)
from interlock.journal.statements import Checkpoint, Key, KeyList, Stamp, chain, origin_of

TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
HOME = "8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22"


def signer(name: str = "desk/one", seed: int = 1) -> Signer:
    """A key that is the same at each run."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Signer(Verifier(name, private.public_key().public_bytes_raw()), private.sign)


TEXT = "one\ntwo\n\nthree\n"
NOTE = signer().note(TEXT)
KEY = Key(public=b"k" * 32, from_us=10, to_us=20, label="first")
LIST = KeyList(name="desk", serial=3, made_us=5, keys=(KEY, attrs.evolve(KEY, public=b"j" * 32, label="second")))
POINT = Checkpoint(
    origin=origin_of(HOME, "engine"), size=12, root="ab" * 32, more=(str(Stamp(epoch=1, ts_us=7, why="halt")),)
)


# -- What others made ----------------------------------------------------------------------------------


@needs_vectors
@pytest.mark.parametrize("size", range(16))
def test_the_checkpoints_of_another_log_verify(size: int) -> None:
    """Each of Tessera's checkpoints is read, verified by its key, and written again byte for byte."""
    data = (SHARED / "tessera/log" / f"checkpoint.{size}").read_bytes()
    verifier = Verifier.parse(TESSERA)
    assert str(verifier) == TESSERA
    note = Note.decode(data)
    point = Checkpoint.parse(verifier.verify(note))
    assert (point.origin, point.size, point.more) == ("example.com/log/testdata", size, ())
    assert note.encode() == data
    assert point.text() == note.text


@needs_vectors
def test_every_changed_bit_of_another_logs_checkpoint_is_told() -> None:
    """No single bit of a note, its signature included, can be changed without that its key disowns it."""
    data = (SHARED / "tessera/log/checkpoint.12").read_bytes()
    verifier = Verifier.parse(TESSERA)
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(NoteError):
                verifier.verify(Note.decode(bytes(changed)))


@needs_vectors
def test_every_wycheproof_case_is_judged_right() -> None:
    """The function by which notes are verified accepts the valid signatures of wycheproof and none of the others."""
    groups = json.loads((SHARED / "ed25519/ed25519_test.json").read_bytes())["testGroups"]
    judged = 0
    for group in groups:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            said = verified(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert said is (case["result"] == "valid"), case
            judged += 1
    assert judged == 151


# -- Notes -----------------------------------------------------------------------------------------------


def test_a_note_comes_back() -> None:
    """What is signed is read and verified again, with an empty line in its text, too."""
    assert Note.decode(NOTE.encode()) == NOTE
    assert signer().verifier.verify(NOTE) == TEXT


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty line"),
        (b"text\n", "empty line"),
        (b"text\n\n", "empty line"),
        (NOTE.encode()[:-1], "empty line"),
        (NOTE.encode() + b"\n", "empty line"),
        (NOTE.encode() + b"more\n", "signature's line"),
        (b"\xff" + NOTE.encode(), "UTF-8"),
        (NOTE.encode().replace(b"two", b"t\x00o"), "control"),
        (NOTE.encode().replace(b"one\n", b"one\r\n"), "control"),
        (NOTE.encode().replace(b"one\n", b"one\t\n"), "control"),
        (NOTE.encode().replace("\u2014".encode(), b"-"), "signature's line"),
        (NOTE.encode().replace("\u2014 ".encode(), "\u2014".encode()), "signature's line"),
        (NOTE.encode().replace(b"desk/one", b"desk/ one"), "signature's line"),
        (NOTE.encode().replace(b"desk/one", b"desk+one"), "name"),
        (NOTE.encode().replace(b"desk/one", "desk\u00a0one".encode()), "name"),
        (NOTE.encode().replace(b"desk/one", "desk\u2028one".encode()), "name"),
        (NOTE.encode().replace(b"desk/one", b""), "name"),
        (NOTE.encode()[:-3] + b"\n", "base64"),
        (NOTE.encode()[:-1] + b"!\n", "base64"),
        (NOTE.encode()[:-1] + b" \n", "signature's line"),
        ("text\n\n\u2014 desk/one AAAAAA==\n".encode(), "without a signature"),
        ("text\n\n\u2014 desk/one \n".encode(), "base64"),
        ("text\n\n\u2014 desk/one AAAAAAB=\n".encode(), "base64"),
        (NOTE.encode() + f"{NOTE.signatures[0].line()}\n".encode() * 100, "101 signatures"),
        (b"x" * (1 << 20) + NOTE.encode(), "bytes"),
    ],
)
def test_what_is_no_note_is_refused(data: bytes, why: str) -> None:
    """Whatever departs from the one spelling of a note is refused, and the reason says what it was."""
    with pytest.raises(NoteError, match=why):
        Note.decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    """Any bytes are a note or a `NoteError`, and a note is written as it was read."""
    try:
        note = Note.decode(data)
    except NoteError:
        return
    assert note.encode() == data


@given(st.text(max_size=60), st.text(max_size=10))
def test_what_cannot_be_a_note_is_not_signed(text: str, name: str) -> None:
    """Any text and name give a note that comes back, or an error, and never a note with another text."""
    try:
        made = signer(name).note(text)
    except (NoteError, UnicodeEncodeError):
        return
    assert signer(name).verifier.verify(Note.decode(made.encode())) == text


def test_another_key_of_the_same_name_signs_nothing_here() -> None:
    """A note by another key is not signed by this one, whatever name it goes by."""
    with pytest.raises(NoteError, match="not signed by"):
        signer(seed=2).verifier.verify(NOTE)
    with pytest.raises(NoteError, match="not signed by"):
        signer("desk/two").verifier.verify(NOTE)


def test_a_key_that_collides_with_the_id_is_found_out() -> None:
    """The ID only says which key to try: a wrong signature under a right ID is an error, also beside a good one."""
    good = NOTE.signatures[0]
    forged = Signature(good.name, good.key, bytes(64))
    verifier = signer().verifier
    with pytest.raises(NoteError, match="wrong"):
        verifier.verify(attrs.evolve(NOTE, signatures=(forged,)))
    with pytest.raises(NoteError, match="wrong"):
        verifier.verify(attrs.evolve(NOTE, signatures=(good, forged)))
    with pytest.raises(NoteError, match="wrong"):
        verifier.verify(attrs.evolve(NOTE, signatures=(forged, good)))


def test_signatures_of_unknown_keys_are_left_alone() -> None:
    """A note that others have signed as well is still a note of ours, whatever is in their lines."""
    stranger = Signature("elsewhere.example/w", b"\x00\x01\x02\x03", b"?")
    note = Note.decode(NOTE.signed_by(stranger).encode())
    assert signer().verifier.verify(note) == TEXT
    assert len(note.signed_by(stranger).signatures) == 2


def test_a_signer_whose_key_is_another_hands_nothing_out() -> None:
    """What is signed is verified before it is handed out."""
    wrong = Signer(signer().verifier, signer(seed=2).sign)
    with pytest.raises(NoteError, match="wrong"):
        wrong.note(TEXT)


def test_a_cosignature_holds_its_time() -> None:
    """A witness's signature is over a time and the text; with another time, or as a plain signature, it is none."""
    private = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    witness = Verifier("witness.example/w", private.public_key().public_bytes_raw(), COSIGNATURE)
    stamp = (1_700_000_000).to_bytes(8, "big")
    line = Signature(witness.name, witness.key, stamp + private.sign(cosigned(TEXT, 1_700_000_000)))
    note = Note.decode(NOTE.signed_by(line).encode())
    assert witness.signed(note) == 1_700_000_000
    assert Verifier.parse(str(witness)) == witness
    late = attrs.evolve(line, data=(1_700_000_001).to_bytes(8, "big") + line.data[8:])
    for bad in (late, attrs.evolve(line, data=line.data[:8]), attrs.evolve(line, data=b"x")):
        with pytest.raises(NoteError, match="wrong"):
            witness.verify(NOTE.signed_by(bad))
    plain = Verifier(witness.name, witness.public)
    with pytest.raises(NoteError, match="not signed by"):
        plain.verify(note)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "NAME"),
        ("desk", "NAME"),
        ("desk+33d7b496", "NAME"),
        (TESSERA.replace("33d7", "33D7"), "ID"),
        (TESSERA.replace("33d7", "33d8"), "ID"),
        (TESSERA.replace("example", "exomple"), "ID"),
        (TESSERA[:-1] + "y", "base64|ID"),
        (TESSERA + "=", "base64"),
        (TESSERA + "\n", "base64"),
        (" " + TESSERA, "name"),
        ("+" + TESSERA, "ID|base64|name"),
        ("n+00000000+" + b64encode(b"\x02" + bytes(32)).decode(), "Ed25519"),
        ("n+00000000+" + b64encode(b"\x01" + bytes(31)).decode(), "Ed25519"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, why: str) -> None:
    """A verifier key has one spelling, and its ID is that of its name and key."""
    with pytest.raises(NoteError, match=why):
        Verifier.parse(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "01", "1 ", " 1", "1e3", "1.0", "9007199254740992", "\u0661", "1_0"])
def test_a_number_has_one_spelling(text: str) -> None:
    """Leading zeros, signs, foreign digits and numbers from 2^53 on are refused."""
    with pytest.raises(NoteError):
        number(text)
    assert number("9007199254740991") == 2**53 - 1


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\x00", "\u3000", "a\u2003b"])
def test_a_name_without_spaces(name: str) -> None:
    """A key's name has no space of any alphabet, no plus, and something in it."""
    with pytest.raises(NoteError):
        key_name(name)


# -- Checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back() -> None:
    """The four lines of ours are read as they were written, the root in base64."""
    lines = POINT.text().split("\n")
    assert lines == [f"interlock/{HOME}/engine", "12", b64encode(b"\xab" * 32).decode(), str(POINT.stamp()), ""]
    assert Checkpoint.parse(POINT.text()) == POINT
    assert POINT.stamp() == Stamp(epoch=1, ts_us=7, why="halt")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n12\n", "\n012\n"),
        ("\n12\n", "\n-12\n"),
        ("\n12\n", "\n1 2\n"),
        ("\n12\n", "\n\n"),
        ("q6ur", "q6u"),
        ("q6urq6ur", "q6ur"),
        ("6s=\n", "6t=\n"),
        ("interlock epoch", "\ninterlock epoch"),
    ],
)
def test_what_is_no_checkpoint_is_refused(old: str, new: str) -> None:
    """Sizes with leading zeros, roots of another length or spelling and empty lines make no checkpoint."""
    assert old in POINT.text()
    with pytest.raises(NoteError):
        Checkpoint.parse(POINT.text().replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "\n", "a\n1\n", POINT.text()[:-1], POINT.text() + "\n"])
def test_a_checkpoint_has_three_lines_at_least(text: str) -> None:
    """A text that is cut, or has an empty line at its end, is none."""
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("interlock epoch=1 ts=7 why=halt", "another"),
        ("interlock epoch=01 ts=7 why=halt",),
        ("interlock epoch=1 ts=9007199254740992 why=halt",),
        ("interlock epoch=1 ts=7 why=lunch",),
        ("interlock epoch=1  ts=7 why=halt",),
        ("interlock ts=7 epoch=1 why=halt",),
        ("interlock epoch=1 ts=7 why=halt ",),
    ],
)
def test_the_fourth_line_has_one_spelling(more: tuple[str, ...]) -> None:
    """Of this journal's checkpoints each has one further line, in one spelling."""
    with pytest.raises(NoteError):
        attrs.evolve(POINT, more=more).stamp()


def test_a_checkpoint_of_two_meanings_is_not_written() -> None:
    """An origin with a newline would move the size: it can't be written."""
    with pytest.raises(NoteError):
        attrs.evolve(POINT, origin="a\n99").text()


# -- Lists of keys ---------------------------------------------------------------------------------------


def test_a_list_comes_back() -> None:
    """Serial, time and keys are read as they were written."""
    assert KeyList.parse(LIST.text()) == LIST
    public = b64encode(b"\x01" + b"k" * 32).decode()
    assert LIST.text().split("\n")[:4] == ["interlock keys desk", "3", "5", f"{public} 10 20 first"]


def test_a_key_is_valid_from_its_first_moment_to_before_its_last() -> None:
    """FROM counts and TO does not; of several valid ones the last made comes first."""
    assert [KEY.valid(ts) for ts in (9, 10, 19, 20)] == [False, True, True, False]
    assert [key.label for key in LIST.valid(15)] == ["second", "first"]
    assert LIST.valid(20) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        LIST.text()[:-1],
        LIST.text() + "\n",
        LIST.text().replace("interlock keys", "interlock  keys"),
        LIST.text().replace("keys desk", "keys de sk"),
        LIST.text().replace("\n3\n", "\n0\n"),
        LIST.text().replace("\n3\n", "\n10000\n"),
        LIST.text().replace("\n3\n", "\n03\n"),
        LIST.text().replace(" 10 20", " 20 10"),
        LIST.text().replace(" 10 20", " 10 20.0"),
        LIST.text().replace("first", "fi rst"),
        LIST.text().replace("first", ""),
        LIST.text().replace("first", "fi\u00a0rst"),
        LIST.text() + LIST.text().split("\n")[3] + "\n",
        LIST.text().replace("AWtr", "Amtr"),
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    """Lists with a key twice, keys of another type, other spellings of a number, and labels with spaces are none."""
    with pytest.raises(NoteError):
        KeyList.parse(text)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"serial": 3}, {}),
        ({"serial": 2}, {}),
        ({"name": "other"}, {}),
        ({"made_us": 4}, {}),
        ({}, {"to_us": 21}),
        ({}, {"from_us": 9}),
        ({}, {"public": b"z" * 32}),
    ],
)
def test_a_list_never_goes_back(changes: dict[str, object], key: dict[str, object]) -> None:
    """A later list has a higher number and every earlier key, with the same FROM and no later TO."""
    later = attrs.evolve(LIST, serial=4, keys=(attrs.evolve(KEY, **key), *LIST.keys[1:]))
    with pytest.raises(NoteError):
        attrs.evolve(later, **changes).follow(LIST)


def test_a_key_may_be_ended_early() -> None:
    """A later list may shorten a key's time, which is how a stolen one is revoked, and the chain follows."""
    later = attrs.evolve(LIST, serial=4, keys=(attrs.evolve(KEY, to_us=11), *LIST.keys[1:]))
    later.follow(LIST)
    assert chain([later, LIST]) == later
    assert chain([]) is None


def test_base64_of_notes_is_strict() -> None:
    """Stray bits in the last letter, which a lax decoder drops, are another spelling and refused."""
    line = NOTE.signatures[0].line()
    assert line.endswith("=")
    lax = f"{line[:-2]}{chr(ord(line[-2]) + 1)}="
    assert b64decode(lax.split(" ")[2]) == b64decode(line.split(" ")[2])
    with pytest.raises(NoteError, match="base64"):
        Signature.parse(lax)


# -- What can't be said -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "no end", "\x01\n"])
def test_note_that_would_not_be_read_back_is_not_written(text: str) -> None:
    """A text that would come back as another, or not at all, is refused when it is written, not when it is read."""
    with pytest.raises(NoteError):
        attrs.evolve(NOTE, text=text).encode()


def test_signature_is_bound_to_what_can_be_written() -> None:
    """A note whose signatures can't stand in a line is not written either."""
    with pytest.raises(NoteError):
        attrs.evolve(NOTE, signatures=(attrs.evolve(NOTE.signatures[0], name="two words"),)).encode()
    with pytest.raises(NoteError, match="this text can't be that of a note"):
        attrs.evolve(NOTE, signatures=list(NOTE.signatures)).encode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"size": -1},
        {"size": 1 << 53},
        {"root": ""},
        {"root": "AB" * 32},
        {"more": ("",)},
    ],
    ids=str,
)
def test_checkpoint_that_would_not_be_read_back_is_not_written(wrong: dict[str, Any]) -> None:
    """A checkpoint says what it says when it is read again, or it is not said."""
    with pytest.raises(NoteError):
        attrs.evolve(POINT, **wrong).text()


@pytest.mark.parametrize("wrong", [{"name": "a+b"}, {"serial": -1}, {"made_us": 1 << 53}, {"keys": [KEY]}], ids=str)
def test_key_list_that_would_not_be_read_back_is_not_written(wrong: dict[str, Any]) -> None:
    """A list of keys says what it says when it is read again, or it is not said."""
    with pytest.raises(NoteError):
        attrs.evolve(LIST, **wrong).text()
