"""Signed notes, keys and lists of keys as the verifier reads them: what is just right, and what is just wrong."""

from base64 import b64encode

import pytest

from interlock.verify.notes import (
    NOTE_MAX,
    Checkpoint,
    KeyList,
    Note,
    read_checkpoint,
    read_key,
    read_list,
    read_note,
)

from .builder import TS
from .signing import FOREVER, KEY, OTHER, ROOT, WITNESS, Signer, checkpoint, key_list, signed

TEXT = "one\ntwo\n"
GOOD = signed(TEXT, KEY)
LINE = GOOD.decode().split("\n\n")[1]


def line_of(payload: bytes) -> str:
    """A signature line with something else in it."""
    return f"— name {b64encode(payload).decode()}\n"


NOTES: dict[str, tuple[bytes, bool]] = {
    "a note": (GOOD, True),
    "a note with an empty line in its text": (signed("one\n\ntwo\n", KEY), True),
    "a note of two signatures": (signed(TEXT, KEY, OTHER), True),
    "the shortest text": (f"x\n\n{LINE}".encode(), True),
    "no text": (f"\n\n{LINE}".encode(), False),
    "no empty line": (f"{TEXT}{LINE}".encode(), False),
    "no signature": (f"{TEXT}\n".encode(), False),
    "an empty signature line": (f"{TEXT}\n\n".encode(), False),
    "no line feed at the end": (f"{TEXT}\n{LINE[:-1]}".encode(), False),
    "a letter in place of the last line feed": (GOOD[:-1] + b"x", False),
    "an empty line at the end": (f"{TEXT}\n{LINE}\n".encode(), False),
    "a hyphen for a dash": (f"{TEXT}\n{LINE}".replace("—", "-").encode(), False),
    "a signature of five bytes": (f"{TEXT}\n{line_of(b'12345')}".encode(), True),
    "a signature of an id alone": (f"{TEXT}\n{line_of(b'1234')}".encode(), False),
    "a signature of less than an id": (f"{TEXT}\n{line_of(b'123')}".encode(), False),
    "base64 that is cut off": (f"{TEXT}\n— name AAAAAAAAA\n".encode(), False),
    "base64 of another spelling": (f"{TEXT}\n— name AAAAAAB=\n".encode(), False),
    "a control character in the text": (f"o\x01ne\n\n{LINE}".encode(), False),
    "a carriage return": (f"one\r\n\n{LINE}".encode(), False),
    "the longest": (f"{'x' * (NOTE_MAX - len(LINE.encode()) - 2)}\n\n{LINE}".encode(), True),
    "one byte longer": (f"{'x' * (NOTE_MAX - len(LINE.encode()) - 1)}\n\n{LINE}".encode(), False),
}


@pytest.mark.parametrize("name", NOTES)
def test_a_note_is_a_text_an_empty_line_and_signature_lines(name: str) -> None:
    """Each file that is a signed note, if only just, is read, and each that is none is refused with a sentence."""
    data, right = NOTES[name]
    found = read_note(data)
    assert isinstance(found, Note) is right
    assert right or isinstance(found, str)


def test_a_key_has_signed_only_if_all_that_bears_its_name_is_right() -> None:
    """A key has signed a note if each line with its name and id is right; with a wrong one beside a right one not."""
    key, other = read_key(KEY.vkey), read_key(OTHER.vkey)
    wrong = line_of(KEY.id + bytes(64)).replace("name", KEY.name)
    short = line_of(KEY.id + b"x").replace("name", KEY.name)
    elsewhere = LINE.replace(KEY.name, "another")
    for lines, right in (
        ([LINE], True),
        ([LINE, LINE], True),
        ([LINE, wrong], False),
        ([wrong, LINE], False),
        ([short], False),
        ([elsewhere], None),
        ([wrong, elsewhere], False),
    ):
        note = read_note(f"{TEXT}\n{''.join(lines)}".encode())
        assert isinstance(note, Note)
        assert note.signed_by(key) is right, lines
        assert note.signed_by(other) is None


def test_a_witness_signs_the_time_with_the_text() -> None:
    """A cosignature is over its time as well: with another time, or cut within it, it is wrong."""
    witness = read_key(WITNESS.vkey)
    line = WITNESS.line(TEXT)
    for data, right in (
        (line, True),
        (line_of(WITNESS.id + bytes(72)).replace("name", WITNESS.name), False),
        (line_of(WITNESS.id + b"123").replace("name", WITNESS.name), False),
    ):
        note = read_note(f"{TEXT}\n{data}".encode())
        assert isinstance(note, Note)
        assert note.signed_by(witness) is right


@pytest.mark.parametrize(
    "text",
    [
        Signer("na me", 2).vkey,
        Signer("", 2).vkey,
        Signer("name", 2, kind=2).vkey,
        Signer("name", 2, kind=0).vkey,
        f"{KEY.name}+{KEY.id.hex()}+{b64encode(KEY.public + b'x').decode()}",
        f"{KEY.name}+{KEY.id.hex()}+{b64encode(KEY.public[:-1]).decode()}",
        f"{KEY.name}+{KEY.id.hex()}+%%%%",
        f"{KEY.name}+{KEY.id.hex()}+",
        f"{KEY.name}+{KEY.id.hex()}",
        f"{KEY.name}+{OTHER.id.hex()}+{b64encode(KEY.public).decode()}",
    ],
)
def test_a_verifier_key_is_name_id_and_key(text: str) -> None:
    """A key without a name, of another length, type or spelling, or with the id of another is refused."""
    with pytest.raises(ValueError, match="verifier key"):
        read_key(text)


def test_a_verifier_key_is_read_with_what_is_around_it() -> None:
    """A key is read with white space around it, and told by its name and id."""
    for signer in (KEY, ROOT, WITNESS):
        key = read_key(f" {signer.vkey}\n")
        assert (key.name, key.kind, key.public) == (signer.name, signer.kind, signer.public[1:])
        assert str(key) == f"{signer.name}+{signer.id.hex()}"


@pytest.mark.parametrize(
    ("epoch", "ts", "right"), [(FOREVER, 0, True), (FOREVER + 1, 0, False), (0, FOREVER, True), (0, FOREVER + 1, False)]
)
def test_the_numbers_of_a_checkpoint_are_below_2_to_the_53(epoch: int, ts: int, *, right: bool) -> None:
    """Epoch and time of a checkpoint are read up to the largest integer of the format, and refused beyond."""
    found = read_checkpoint(checkpoint([b"line\n"], 1, epoch=epoch, ts=ts)[1])
    assert isinstance(found, Checkpoint) is right
    assert isinstance(found, str) or (found.epoch, found.ts, found.size) == (epoch, ts, 1)


def test_the_size_of_a_checkpoint_is_below_2_to_the_53() -> None:
    """The size of a checkpoint is read up to the largest integer of the format, and refused beyond."""
    for size, right in ((FOREVER, True), (FOREVER + 1, False)):
        assert isinstance(read_checkpoint(checkpoint([], size, root=bytes(32))[1]), Checkpoint) is right


LISTS: dict[str, tuple[bytes, bool]] = {
    "a list": (key_list(KEY)[1], True),
    "the last serial number": (key_list(KEY, serial=9999)[1], True),
    "a serial number beyond": (key_list(KEY, serial=10_000)[1], False),
    "the first serial number": (key_list(KEY, serial=1)[1], True),
    "a serial number of nothing": (key_list(KEY, serial=0)[1], False),
    "a key that was never valid": (key_list(KEY, spans=[(9, 9)])[1], True),
    "a key that ends before it begins": (key_list(KEY, spans=[(9, 8)])[1], False),
    "a right key and one that ends before it begins": (key_list(KEY, OTHER, spans=[(0, 9), (9, 8)])[1], False),
    "a right key and one that ends beyond": (key_list(KEY, OTHER, spans=[(0, 9), (9, FOREVER + 1)])[1], False),
    "a list without keys": (key_list()[1], True),
    "a witness's key": (key_list(WITNESS)[1], False),
    "a right key and a witness's": (key_list(KEY, WITNESS)[1], False),
    "a line that is none": (signed(f"interlock keys {ROOT.name}\n1\n{TS}\nkey\n", ROOT), False),
    "a right line and one that is none": (
        signed(f"interlock keys {ROOT.name}\n1\n{TS}\n{b64encode(KEY.public).decode()} 0 9 a\nkey\n", ROOT),
        False,
    ),
    "made at the last moment": (signed(f"interlock keys {ROOT.name}\n1\n{FOREVER}\n", ROOT), True),
    "made beyond": (signed(f"interlock keys {ROOT.name}\n1\n{FOREVER + 1}\n", ROOT), False),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_keys_is_read_if_each_part_of_it_is_right(name: str) -> None:
    """Each list that is right, if only just, is read, and one wrong line or number makes all of it wrong."""
    data, right = LISTS[name]
    assert isinstance(read_list(data), KeyList) is right


def test_a_list_is_read_as_it_is_written() -> None:
    """Of each key of a list its bytes, its span and its label are read, in order."""
    found = read_list(key_list(KEY, OTHER, serial=7, spans=[(1, 2), (3, 4)])[1])
    assert isinstance(found, KeyList)
    assert (found.name, found.serial, found.made) == (ROOT.name, 7, TS)
    assert [(entry.public, entry.start, entry.stop, entry.label) for entry in found.entries] == [
        (KEY.public[1:], 1, 2, "key-2"),
        (OTHER.public[1:], 3, 4, "key-3"),
    ]
