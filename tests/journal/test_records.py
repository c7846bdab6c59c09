"""What a record says of anything at all: cut, printable, and never an error of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from interlock.journal import inputs, records


class Hostile:
    """Raises when it is printed, and when it is asked for anything."""

    def __str__(self) -> str:
        """Raise."""
        raise ValueError

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        """Raise something that is not about attributes."""
        raise ValueError(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("abc", "abc"),
        (7, "7"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64),
        ("\ud800é", "\\ud800é"),
        (Hostile, "<Hostile>"),
    ],
    ids=["nothing", "text", "number", "long", "too long", "odd letters", "hostile"],
)
def test_anything_is_printed_as_far_as_it_goes(value: object, text: str | None) -> None:
    """A text is cut at 64 characters, lone surrogates are written out, and what can't be printed is named."""
    assert records.printed(Hostile() if value is Hostile else value) == text


def test_name_and_text_are_texts_always() -> None:
    """Where a record must have a text it gets one: of nothing, the empty one."""
    assert (records.name(None), records.text(None)) == ("", "")
    assert records.name("x" * 100) == "x" * 64
    assert records.text("x" * 5_000) == records.printed("x" * 5_000, len(records.text("x" * 5_000)))
    assert 64 < len(records.text("x" * 5_000)) < 5_000


def test_member_of_anything_is_asked_without_an_error() -> None:
    """What raises when it is asked for a member has none, and so has what has none."""
    assert records.member(SimpleNamespace(side=3), "side") == 3
    assert records.member(SimpleNamespace(), "side") is None
    assert records.member(Hostile(), "side") is None
    assert inputs._member(SimpleNamespace(side=None), "side") is None
    assert inputs._member(SimpleNamespace(), "side") is inputs._ABSENT
    assert inputs._member(Hostile(), "side") is inputs._ABSENT


def test_odd_value_is_described_by_its_kind_and_its_print() -> None:
    """An odd value is told by the name of its type and how it is printed; what is absent has neither."""
    assert inputs._described(inputs._ABSENT) == ("", "")
    assert inputs._described(1.5) == ("float", "1.5")
    assert inputs._described(Hostile()) == ("Hostile", "<Hostile>")
