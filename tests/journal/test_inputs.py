"""Recorded inputs, one by one: a record holds what the core was given as it is, or an ``odd`` before it says what."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import MS, UTC_US, fill, order

from interlock import OrderType, Quote, Reason, Side, TimeInForce, Trade, Verdict
from interlock.core.modes import ARMED
from interlock.core.values import PASS
from interlock.journal.inputs import InputRecorder

from .memory import Told

if TYPE_CHECKING:
    from tests.verify.builder import Json

QUOTE = Quote(
    instrument="XYZ",
    ts_us=5,
    bid=Decimal("99.5"),
    ask=Decimal("100.5"),
    bid_size=Decimal(3),
    ask_size=Decimal("4.0"),
    sequence=7,
    received_us=6,
)
QUOTED = {
    "kind": "quote",
    "instrument": "XYZ",
    "venue_ts": 5,
    "received_ts": 6,
    "sequence": 7,
    "bid": "99.5",
    "ask": "100.5",
    "bid_size": "3",
    "ask_size": "4.0",
    "armed": True,
    "code": "ACCEPTED",
}
TRADE = Trade(instrument="XYZ", ts_us=5, price=Decimal("99.5"), size=Decimal(3), sequence=7, received_us=6)
TRADED = {
    "kind": "trade",
    "instrument": "XYZ",
    "venue_ts": 5,
    "received_ts": 6,
    "sequence": 7,
    "price": "99.5",
    "quantity": "3",
    "armed": True,
    "code": "ACCEPTED",
}
GOOD: dict[str, tuple[Any, Json]] = {"quote": (QUOTE, QUOTED), "trade": (TRADE, TRADED)}
REFUSED = Verdict(accepted=False, reason=Reason.MALFORMED)
LONG = Decimal("1" * 41)


def told() -> Told[InputRecorder]:
    """A run with recorded inputs, 7 ms old."""
    made = Told(InputRecorder)
    made.clock.advance(7)
    return made


def tick(thing: Any) -> list[Json]:
    """What is recorded of a tick."""
    made = told()
    made.made.tick(thing, ARMED, PASS, made.mono)
    return made.members


def odd(field: str, kind: str, text: str) -> Json:
    """An ``odd``."""
    return {"kind": "odd", "field": field, "type": kind, "text": text}


# -- Ticks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (QUOTE, QUOTED),
        (TRADE, TRADED),
        (attrs.evolve(QUOTE, bid=Decimal("-1.5"), ask=Decimal("0.5")), QUOTED | {"bid": "-1.5", "ask": "0.5"}),
        (
            attrs.evolve(QUOTE, received_us=None, sequence=None, bid_size=None, ask_size=None),
            QUOTED | {"received_ts": None, "sequence": None, "bid_size": None, "ask_size": None},
        ),
        (
            attrs.evolve(TRADE, received_us=None, sequence=None, size=None),
            TRADED | {"received_ts": None, "sequence": None, "quantity": None},
        ),
        (attrs.evolve(QUOTE, sequence=0, ts_us=0), QUOTED | {"sequence": 0, "venue_ts": 0}),
        (attrs.evolve(QUOTE, sequence=2**53 - 1), QUOTED | {"sequence": 2**53 - 1}),
        (attrs.evolve(QUOTE, instrument="x" * 64), QUOTED | {"instrument": "x" * 64}),
        (attrs.evolve(QUOTE, instrument="é" * 64), QUOTED | {"instrument": "é" * 64}),
        (attrs.evolve(QUOTE, bid=Decimal("1" * 40)), QUOTED | {"bid": "1" * 40}),
        (attrs.evolve(QUOTE, bid=Decimal(f"{'1' * 40}.{'2' * 40}")), QUOTED | {"bid": f"{'1' * 40}.{'2' * 40}"}),
        (attrs.evolve(TRADE, price=Decimal(f"-{'1' * 40}.5")), TRADED | {"price": f"-{'1' * 40}.5"}),
    ],
    ids=lambda given: type(given).__name__,
)
def test_tick_is_recorded_as_it_is(given: Any, wanted: Json) -> None:
    """What a record can hold stands in it exactly, and nothing beside it; what a feed may leave out is null."""
    assert tick(given) == [wanted]


class Name(str):
    """A text that may compare as it likes."""

    __slots__ = ()


ODD = [
    ("instrument", "instrument", "x" * 65, "str", repr("x" * 65)),
    ("instrument", "instrument", "x" * 200, "str", repr("x" * 100)),
    ("instrument", "instrument", "a\ud800", "str", "'a\\ud800'"),
    ("instrument", "instrument", Name("XYZ"), "Name", "'XYZ'"),
    ("instrument", "instrument", None, "NoneType", "None"),
    ("ts_us", "venue_ts", -1, "int", "-1"),
    ("ts_us", "venue_ts", 2**53, "int", str(2**53)),
    ("ts_us", "venue_ts", 5.0, "float", "5.0"),
    ("ts_us", "venue_ts", None, "NoneType", "None"),
    ("received_us", "received_ts", True, "bool", "True"),
    ("sequence", "sequence", "7", "str", "'7'"),
    ("sequence", "sequence", -1, "int", "-1"),
]
ODD_NUMBERS = [
    (99.5, "float", "99.5"),
    (Decimal("1E+2"), "Decimal", "Decimal('1E+2')"),
    (Decimal("NaN"), "Decimal", "Decimal('NaN')"),
    (LONG, "Decimal", repr(LONG)),
    (Decimal(f"0.{'1' * 41}"), "Decimal", f"Decimal('0.{'1' * 41}')"),
]
OF_QUOTES = [("bid", "bid"), ("ask", "ask"), ("bid_size", "bid_size"), ("ask_size", "ask_size")]
OF_TRADES = [("price", "price"), ("size", "quantity")]


@pytest.mark.parametrize(
    ("tick_kind", "attribute", "field", "value", "kind", "text"),
    [
        *(("quote", *one) for one in ODD),
        *(("trade", *one) for one in ODD),
        *(("quote", *names, *value) for names in OF_QUOTES for value in ODD_NUMBERS),
        *(("trade", *names, *value) for names in OF_TRADES for value in ODD_NUMBERS),
        *(("quote", name, name, None, "NoneType", "None") for name in ("bid", "ask")),
        ("trade", "price", "price", None, "NoneType", "None"),
    ],
    ids=str,
)
def test_what_a_tick_cannot_hold_is_told_before_it(
    tick_kind: str, attribute: str, field: str, value: Any, kind: str, text: str
) -> None:
    """A field that is not as it should be is null, and the ``odd`` before it has its name, its type and its print."""
    given, good = GOOD[tick_kind]
    assert tick(attrs.evolve(given, **{attribute: value})) == [odd(field, kind, text), good | {field: None}]


def test_thing_of_another_class_is_a_quote_without_prices() -> None:
    """Of a thing that is no tick only what gate 1 looks at first is recorded, and before it what it was."""
    thing = SimpleNamespace(**attrs.asdict(QUOTE))
    none = dict.fromkeys(("received_ts", "bid", "ask", "bid_size", "ask_size"))
    assert tick(thing) == [odd("", "SimpleNamespace", repr(thing)), QUOTED | none]


def test_tick_has_the_time_of_its_decision_and_what_was_decided() -> None:
    """Tick and ``odd`` stand at the decision's time, UTC and since the run's zero, with the latch and the reason."""
    made = told()
    at = made.mono
    made.clock.advance(5)
    made.made.tick(attrs.evolve(QUOTE, bid=None), ARMED ^ 1, REFUSED, at)
    found = made.records
    assert [(one["ts"], one["mono"]) for one in found] == [(UTC_US + 7_000, 7 * MS)] * 2
    assert (found[1]["armed"], found[1]["code"]) == (False, "MALFORMED")


# -- Heartbeats, sends, events -----------------------------------------------------------------------------


def test_heartbeat_and_begin_have_their_own_times() -> None:
    """A heartbeat and the beginning of a send are recorded at the times by which the core decided."""
    made = told()
    at = made.mono
    made.clock.advance(5)
    made.made.heartbeat(at)
    made.made.begun(SimpleNamespace(begun_ns=at + MS, number=12))  # type: ignore[arg-type]
    heartbeat, begin = made.records
    head = {"v": 1, "ts": UTC_US + 7_000, "mono": 7 * MS}
    assert heartbeat == head | {"seq": 2, "kind": "heartbeat"}
    assert begin == {"v": 1, "seq": 3, "kind": "begin", "ts": UTC_US + 8_000, "mono": 8 * MS, "permit": 12}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_order_id": "x" * 65}, ("id", "str", repr("x" * 65))),
        ({"instrument": ["a"]}, ("instrument", "list", "['a']")),
        ({"side": "buy"}, ("side", "str", "'buy'")),
        ({"order_type": None}, ("type", "NoneType", "None")),
        ({"time_in_force": "day"}, ("tif", "str", "'day'")),
        ({"quantity": 1}, ("quantity", "int", "1")),
        ({"quantity": Decimal("1" * 65)}, ("quantity", "Decimal", f"Decimal('{'1' * 65}')")),
        ({"price": 1.5}, ("price", "float", "1.5")),
        ({"price": Decimal("1" * 65)}, ("price", "Decimal", f"Decimal('{'1' * 65}')")),
        ({"reduce_only": 1}, ("reduce_only", "int", "1")),
    ],
    ids=str,
)
def test_what_a_refusal_cannot_hold_is_told_before_it(wrong: dict[str, Any], said: tuple[str, str, str]) -> None:
    """Each field of a refused order that its record would show as another is told by an ``odd`` right before it."""
    made = told()
    made.made.refuse(attrs.evolve(order("a"), **wrong), REFUSED, 3, "RUNNING", made.mono)
    first, second = made.members
    assert first == odd(*said)
    assert (second["kind"], second["code"], second["epoch"], second["mode"]) == ("refuse", "MALFORMED", 3, "RUNNING")


@pytest.mark.parametrize(
    "fine",
    [
        {},
        {"price": None, "order_type": OrderType.MARKET},
        {"client_order_id": "x" * 64},
        {"quantity": Decimal("1" * 64)},
        {"price": Decimal("1" * 64)},
        {"side": Side.SELL, "time_in_force": TimeInForce.IOC, "reduce_only": True},
    ],
    ids=str,
)
def test_refusal_of_an_order_that_fits_stands_alone(fine: dict[str, Any]) -> None:
    """An order that its record holds as it is has no ``odd``, and each refusal has a record of its own."""
    made = told()
    for _ in range(20):
        made.made.refuse(attrs.evolve(order("a"), **fine), REFUSED, 3, "RUNNING", made.mono)
    assert [one["kind"] for one in made.members] == ["refuse"] * 20
    assert made.made.refusals == 20
    assert {(one["ts"], one["mono"]) for one in made.records} == {(UTC_US + 7_000, 7 * MS)}


def test_refused_order_is_recorded_as_it_was() -> None:
    """What changes in an odd order after its refusal does not change the record; one that fits may wait for it."""
    made = told()
    name = ["before"]
    made.made.refuse(attrs.evolve(order("a"), instrument=name), REFUSED, 3, "RUNNING", made.mono)  # type: ignore[arg-type]
    name[0] = "after"
    assert made.members[-1]["instrument"] == "['before']"
    made.made.refuse(order("b"), REFUSED, 3, "RUNNING", made.mono)
    assert len(made.journal.waiting) == 1


def test_no_order_at_all_is_told_by_its_type() -> None:
    """What comes in place of an order is an ``odd`` without a field, and so is each field that it lacks."""
    made = told()
    made.made.refuse(None, REFUSED, 3, "RUNNING", made.mono)  # type: ignore[arg-type]
    *odds, refused = made.members
    assert odds[0] == odd("", "NoneType", "None")
    fields = ["id", "instrument", "side", "type", "tif", "quantity", "price", "reduce_only"]
    assert odds[1:] == [odd(field, "", "") for field in fields]
    assert refused["id"] is None


def test_ids_that_a_fill_cannot_hold_are_told_before_it() -> None:
    """The ids of order and fill are each told by an ``odd`` if they are too long, or no text; others are not."""
    made = told()
    made.made.fill(fill("a", "f"), known=True)
    assert [one["kind"] for one in made.members] == ["fill"]
    made.made.fill(fill("x" * 65, "y" * 65), known=False)
    assert made.members[1:3] == [odd("id", "str", repr("x" * 65)), odd("fill", "str", repr("y" * 65))]
    assert made.members[3]["known"] is False
    assert [(one["ts"], one["mono"]) for one in made.records] == [(UTC_US + 7_000, 7 * MS)] * 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_order_id": 1}, ("id", "int", "1")),
        ({"fill_id": 1}, ("fill", "int", "1")),
        ({"instrument": 1}, ("instrument", "int", "1")),
        ({"side": "buy"}, ("side", "str", "'buy'")),
        ({"quantity": Decimal("NaN")}, ("quantity", "Decimal", "Decimal('NaN')")),
        ({"price": None}, ("price", "NoneType", "None")),
        ({"fee": 0.5}, ("fee", "float", "0.5")),
    ],
    ids=str,
)
def test_fill_that_cannot_be_read_is_told_field_by_field(wrong: dict[str, Any], said: tuple[str, str, str]) -> None:
    """An unread fill is printed field by field, and the one that is odd is told before it."""
    made = told()
    made.made.unread(attrs.evolve(fill("a", "f"), **wrong))
    first, second = made.members
    assert first == odd(*said)
    printed = {"id": "a", "fill": "f", "instrument": "XYZ", "side": "buy", "quantity": "1", "price": "100", "fee": "0"}
    wanted = None if said[2] == "None" else str(next(iter(wrong.values())))
    assert second == {"kind": "unread"} | printed | {said[0]: wanted}


def test_odd_value_is_cut() -> None:
    """A text is cut at 100 characters before it is printed, and what is printed at 1000."""
    (first, _) = tick(attrs.evolve(QUOTE, instrument=["x" * 2000]))
    assert first["text"] == repr(["x" * 2000])[:1000]
