"""Signed notes: those of others are read, ours come back, and whatever is not exactly one is refused with a reason."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors import SHARED, needs_vectors

from interlock.journal.notes import (
    COSIGNATURE,
    ED25519,
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
from interlock.journal.statements import Checkpoint

TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


def signer(name: str = "desk/one", seed: int = 1) -> Signer:
    """A key that is the same at each run."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Signer(Verifier(name, private.public_key().public_bytes_raw()), private.sign)


TEXT = "one\ntwo\n\nthree\n"
NOTE = signer().note(TEXT)


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
        ("text\n\n\u2014 desk/one AAAAAA==\n".encode(), "a signature of desk/one without a signature in it"),
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


def test_a_note_may_be_as_large_as_the_most() -> None:
    """A note of 2^20 bytes, and one with a hundred signatures, are notes."""
    small = len(NOTE.encode())
    large = b"x" * ((1 << 20) - small) + NOTE.encode()
    assert Note.decode(large).encode() == large
    many = Note(TEXT, NOTE.signatures * 100)
    assert Note.decode(many.encode()) == many


def test_what_is_refused_is_shown_as_far_as_it_helps() -> None:
    """A message shows the first hundred characters of what it is about, in quotation marks."""
    with pytest.raises(NoteError, match=f": '{'7' * 100}'$"):
        number("7" * 101)


def test_a_signature_without_a_time_is_of_no_time() -> None:
    """A plain key does not say when it signed; a witness that signed twice did at the later time."""
    assert signer().verifier.signed(NOTE) == 0
    private = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    witness = Verifier("witness.example/w", private.public_key().public_bytes_raw(), COSIGNATURE)
    lines = tuple(
        Signature(witness.name, witness.key, when.to_bytes(8, "big") + private.sign(cosigned(TEXT, when)))
        for when in (5, 7, 6)
    )
    assert witness.signed(attrs.evolve(NOTE, signatures=lines)) == 7


def test_the_types_of_signatures_are_those_of_the_format() -> None:
    """An Ed25519 key is of type 1, a witness's of type 4, and a printed signer does not show what it signs with."""
    assert (ED25519, COSIGNATURE) == (1, 4)
    assert "sign=" not in repr(signer())


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
