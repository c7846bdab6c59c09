"""Checkpoints and lists of keys: what is said comes back, and whatever is not exactly one is refused with a reason."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import attrs
import pytest

from interlock.journal.notes import NoteError
from interlock.journal.statements import Checkpoint, Key, KeyList, Stamp, chain, origin_of

HOME = "8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22"
KEY = Key(public=b"k" * 32, from_us=10, to_us=20, label="first")
OTHER_KEY = b64encode(b"\x02" + b"k" * 32).decode()
SHORT_KEY = b64encode(b"\x01" + b"k" * 31).decode()
LIST = KeyList(name="desk", serial=3, made_us=5, keys=(KEY, attrs.evolve(KEY, public=b"j" * 32, label="second")))
POINT = Checkpoint(
    origin=origin_of(HOME, "engine"), size=12, root="ab" * 32, more=(str(Stamp(epoch=1, ts_us=7, why="halt")),)
)


# -- Checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back() -> None:
    """The four lines of ours are read as they were written, the root in base64."""
    lines = POINT.text().split("\n")
    assert lines == [f"interlock/{HOME}/engine", "12", b64encode(b"\xab" * 32).decode(), str(POINT.stamp()), ""]
    assert Checkpoint.parse(POINT.text()) == POINT
    assert POINT.stamp() == Stamp(epoch=1, ts_us=7, why="halt")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("\n12\n", "\n012\n", "not a number from 0 to 2^53 in its shortest spelling: '012'"),
        ("\n12\n", "\n-12\n", "'-12'"),
        ("\n12\n", "\n1 2\n", "'1 2'"),
        ("\n12\n", "\n\n", "at least three lines, and none of them empty"),
        ("q6ur", "q6u", "not base64"),
        ("q6urq6ur", "q6ur", "a root of 29 bytes"),
        ("6s=\n", "6t=\n", "not base64"),
        ("interlock epoch", "\ninterlock epoch", "none of them empty"),
    ],
)
def test_what_is_no_checkpoint_is_refused(old: str, new: str, why: str) -> None:
    """Sizes with leading zeros, roots of another length or spelling and empty lines make no checkpoint."""
    assert old in POINT.text()
    with pytest.raises(NoteError, match=re.escape(why)):
        Checkpoint.parse(POINT.text().replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "\n", "a\n1\n", POINT.text()[:-1], POINT.text() + "\n"])
def test_a_checkpoint_has_three_lines_at_least(text: str) -> None:
    """A text that is cut, or has an empty line at its end, is none; three lines are one."""
    with pytest.raises(NoteError, match="at least three lines"):
        Checkpoint.parse(text)
    assert Checkpoint.parse(attrs.evolve(POINT, more=()).text()).more == ()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ((), "has four lines, not 3"),
        (("interlock epoch=1 ts=7 why=halt", "another"), "has four lines, not 5"),
        (("interlock epoch=01 ts=7 why=halt",), "'01'"),
        (("interlock epoch=1 ts=9007199254740992 why=halt",), "'9007199254740992'"),
        (("interlock epoch=1 ts=7 why=lunch",), "not the fourth line of a checkpoint: 'interlock epoch=1 ts=7 why=l"),
        (("interlock epoch=1  ts=7 why=halt",), "not the fourth line"),
        (("interlock ts=7 epoch=1 why=halt",), "not the fourth line"),
        (("interlock epoch=1 ts=7 why=halt ",), "not the fourth line"),
    ],
)
def test_the_fourth_line_has_one_spelling(more: tuple[str, ...], why: str) -> None:
    """Of this journal's checkpoints each has one further line, in one spelling."""
    with pytest.raises(NoteError, match=re.escape(why)):
        attrs.evolve(POINT, more=more).stamp()


@pytest.mark.parametrize("why", ["time", "size", "halt", "reset", "start", "rotation", "shutdown"])
def test_the_fourth_line_says_why_in_one_of_seven_words(why: str) -> None:
    """The words of the format are read and written as they are."""
    line = f"interlock epoch=3 ts=8 why={why}"
    assert Stamp.parse(line) == Stamp(epoch=3, ts_us=8, why=why)
    assert str(Stamp.parse(line)) == line


def test_an_origin_is_a_name_that_a_key_can_have() -> None:
    """The journal's name has home and engine in it, and an engine that no key could be named after is refused."""
    assert origin_of(HOME, "engine") == f"interlock/{HOME}/engine"
    with pytest.raises(NoteError, match="name"):
        origin_of(HOME, "two words")


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
    ("text", "why"),
    [
        ("", "not a list of keys: ''"),
        (LIST.text()[:-1], "not a list of keys: 'interlock keys desk"),
        ("interlock keys desk\n1\n", "not a list of keys"),
        (LIST.text() + "\n", "not PUBLIC FROM TO LABEL: ''"),
        (LIST.text().replace("interlock keys desk", "other"), "not a list of keys"),
        (LIST.text().replace("interlock keys", "interlock  keys"), "not a list of keys"),
        (LIST.text().replace("keys desk", "keys de sk"), "name"),
        (LIST.text().replace("\n3\n", "\n0\n"), "serial number is from 1 to 9999, not 0"),
        (LIST.text().replace("\n3\n", "\n10000\n"), "serial number is from 1 to 9999, not 10000"),
        (LIST.text().replace("\n3\n", "\n03\n"), "'03'"),
        (LIST.text().replace("\n5\n", "\n05\n"), "'05'"),
        (LIST.text().replace(" 10 20 f", " 20 10 f"), " 20 10 first'"),
        (LIST.text().replace(" 10 20", " 10 20.0"), "'20.0'"),
        (LIST.text().replace(" 10 20", " 1e1 20"), "'1e1'"),
        (LIST.text().replace("first", "fi rst"), "not PUBLIC FROM TO LABEL"),
        (LIST.text().replace("first", ""), "a label without white space, please: ''"),
        (LIST.text().replace("first", "fi\u00a0rst"), "a label without white space"),
        (LIST.text().replace("first", "fi\x01rst"), "a label without white space"),
        (LIST.text() + LIST.text().split("\n")[3] + "\n", "list 3 has a key twice"),
        (LIST.text().replace("AWtr", "Amtr"), f"not an Ed25519 key: '{OTHER_KEY}'"),
        (f"interlock keys desk\n3\n5\n{SHORT_KEY} 10 20 a\n", "not an Ed25519 key"),
    ],
)
def test_what_is_no_list_is_refused(text: str, why: str) -> None:
    """Lists with a key twice, keys of another type, other spellings of a number, and labels with spaces are none."""
    with pytest.raises(NoteError, match=re.escape(why)):
        KeyList.parse(text)


@pytest.mark.parametrize("made", [{"serial": 1}, {"serial": 9999}, {"keys": ()}], ids=str)
def test_a_list_at_its_bounds_comes_back(made: dict[str, Any]) -> None:
    """The first list and the last, and one without keys, are lists; a key may end when it begins."""
    assert KeyList.parse(attrs.evolve(LIST, **made).text()) == attrs.evolve(LIST, **made)
    brief = attrs.evolve(LIST, keys=(attrs.evolve(KEY, to_us=KEY.from_us),))
    assert KeyList.parse(brief.text()) == brief


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


def test_a_chain_holds_only_where_each_list_follows_the_one_before() -> None:
    """Lists that prolong a key, or have one number twice, are no chain."""
    longer = attrs.evolve(LIST, serial=4, keys=(attrs.evolve(KEY, to_us=21), *LIST.keys[1:]))
    with pytest.raises(NoteError, match="list 4 takes back or prolongs key first of list 3"):
        chain([longer, LIST])
    with pytest.raises(NoteError, match="list 3 of desk does not come after list 3 of desk"):
        chain([LIST, LIST])


# -- What can't be said -------------------------------------------------------------------------------


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
