"""What a record says of anything at all: cut, printable, and never an error of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from tests.helpers import order

from interlock.journal import inputs, records

from .lines import FIELDS


class Hostile:
    """Raises when it is printed, and when it is asked for anything."""

    def __str__(self) -> str:
        """Raise."""
        raise ValueError

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        """Raise something that is not about attributes."""
        raise ValueError(name)


def test_every_kind_has_the_keys_that_the_verifier_knows() -> None:
    """The kinds of the format, and the keys of each in their order, are what the verifier's own tests make by hand."""
    assert {kind: keys[5:] for kind, keys in records.KEYS.items()} == {kind: [*keys] for kind, keys in FIELDS.items()}
    assert all(keys[:5] == ["v", "seq", "kind", "ts", "mono"] for keys in records.KEYS.values())


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


def test_refusal_holds_every_field_of_the_order() -> None:
    """A refused order stands in its record field by field, each as it is printed; what it lacks is null."""
    asked = attrs.evolve(order("a"), reduce_only=True)
    said = {"id": "a", "instrument": "XYZ", "side": "buy", "type": "limit", "quantity": "1", "price": "100"}
    said |= {"tif": "day", "reduce_only": True}
    head = {"v": 1, "seq": 5, "kind": "refuse", "ts": 6, "mono": 7, "epoch": 3, "mode": "RUNNING"}
    why = {"code": "MALFORMED", "limit": "x" * 64, "value": None}
    for given, wanted in ((asked, said), (Hostile(), dict.fromkeys(said)), (attrs.evolve(asked, reduce_only=1), None)):
        found: Any = records.refuse(5, 6, 7, 3, "RUNNING", given, "MALFORMED", "x" * 65, None)
        assert [*found] == records.KEYS["refuse"]
        assert found == head | (said | {"reduce_only": None} if wanted is None else wanted) | why


def test_record_without_a_form_is_a_new_one() -> None:
    """A permit and an outcome that are given no record to fill in are made anew, with every key of their kind."""
    book = SimpleNamespace(reference=None)
    asked: Any = SimpleNamespace(order=order("a"), book=book, size_text="1", price_text="100")
    for kind, make in (
        ("permit", lambda: records.permit(1, 2, 3, 4, asked)),
        ("sent", lambda: records.sent(1, 2, 3, 4, 5, "ack")),
    ):
        one, other = make(), make()
        assert [*one] == records.KEYS[kind]
        assert one == other
        assert one is not other
        assert (one["v"], one["kind"], one["seq"], one["ts"], one["mono"]) == (1, kind, 1, 2, 3)


def test_name_and_text_are_texts_always() -> None:
    """Where a record must have a text it gets one: of nothing, the empty one."""
    assert (records.name(None), records.text(None)) == ("", "")
    assert records.name("x" * 100) == "x" * 64
    assert len(records.text("x" * 5_000)) == 500
    assert records.failure(ValueError("x" * 5_000)) == f"ValueError: {'x' * 488}"


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
