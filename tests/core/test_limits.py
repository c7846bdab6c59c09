"""Every limit is there, exact, and of its kind; or the message names file and key."""

import copy
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import AWKWARD_NUMBERS, NAME, NOW_US, OTHER, D, limits, order, quote, raw

from interlock.core.errors import InterlockError, LimitsError
from interlock.core.limits import (
    NEVER,
    Gate1Limits,
    Gate2Limits,
    InstrumentLimits,
    Limits,
    LossLimits,
)
from interlock.core.modes import ARMED
from interlock.core.preorder import Core

FILE = "limits.toml"
SPANS = {
    "max_tick_age_ms": ("max_tick_age_us", 1_000),
    "max_clock_ahead_ms": ("max_clock_ahead_us", 1_000),
    "max_silence_ms": ("max_silence_us", 1_000),
    "heartbeat_overdue_ms": ("heartbeat_overdue_ns", 1_000_000),
}
SWITCHES = {
    "tick_backwards": "backwards",
    "crossed_quote": "crossed",
    "non_positive_price": "non_positive",
    "sequence_gap": "sequence_gap",
}
GATE2 = (
    "max_reference_age_ms", "messages_per_s", "message_burst", "repeat_window_ms",
    "repeat_refuse_after", "repeat_trip_after", "remember_ids",
)  # fmt: skip
BOUNDS = ("collar_bps", "max_quantity", "max_notional", "max_position", "max_open_orders")


def paths(table: dict[str, Any], above: str = "") -> Iterator[str]:
    """Return every key of the file, dotted."""
    for key, value in table.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{key}.")


def located(path: str) -> str:
    """Return how a message names a key: file, table, key."""
    *tables, key = path.split(".")
    where = "".join(f": [{name}]" for name in [".".join(tables)] if tables)
    if tables[:1] in (["loss"], ["instruments"]) and len(tables) == 1:
        where, key = f": [{path}]", ""
    return f"{FILE}{where}: {key}".rstrip(": ")


MAY_BE_ABSENT = {
    "gate2", "loss", "instruments", "loss.USD", "loss.EUR", f"instruments.{OTHER}.multiplier",
    "instruments.EUR1.multiplier",
    *(f"instruments.{name}" for name in raw()["instruments"]),
    *(f"gate2.{key}" for key in GATE2),
    *(f"instruments.{name}.{key}" for name in raw()["instruments"] for key in BOUNDS),
}  # fmt: skip
EVERY = list(paths(raw()))
LEAVES = [path for path in EVERY if not any(other.startswith(f"{path}.") for other in EVERY)]


def test_file_is_read_exactly() -> None:
    """Every number arrives in its unit, exact, and nothing is lost."""
    found = limits()
    assert found.gate1 == Gate1Limits(
        max_tick_age_us=1_000_000,
        max_clock_ahead_us=50_000,
        max_silence_us=5_000_000,
        heartbeat_overdue_ns=2_000_000_000,
        backwards=True,
        crossed=True,
        non_positive=True,
        sequence_gap=True,
    )
    assert found.gate2 == Gate2Limits(
        max_reference_age_ns=500_000_000,
        messages_per_s=10,
        message_burst=100,
        repeat_window_ns=1_000_000_000,
        repeat_refuse_after=3,
        repeat_trip_after=6,
        remember_ids=1_000,
    )
    assert found.loss["USD"] == LossLimits(max_session_loss=D(1_000), max_drawdown=D(600), confirm_marks=3)
    instrument, bounds = found.instruments[OTHER]
    assert (instrument.name, instrument.currency) == (OTHER, "USD")
    assert (instrument.tick_size, instrument.lot_size, instrument.multiplier) == (D("0.01"), 1, 50)
    assert bounds == InstrumentLimits(
        collar_bps=D("12.5"),
        max_quantity=D(100),
        max_notional=D(1_000_000),
        max_position=D(1_000),
        max_open_orders=50,
    )
    assert found.instruments[NAME][0].multiplier == 1
    assert (found.unknown_order_trips, found.errors_in_a_row) == (False, 3)
    assert limits(anomaly__unknown_order="trip").unknown_order_trips


@pytest.mark.parametrize("path", [path for path in EVERY if path not in MAY_BE_ABSENT])
def test_missing_key_is_named(path: str) -> None:
    """A key that must be there and is not is an error with file, table and key."""
    with pytest.raises(LimitsError) as caught:
        Limits.from_mapping(raw(path), FILE)
    assert str(caught.value).startswith(located(path)), caught.value


@pytest.mark.parametrize("path", EVERY)
def test_misspelt_key_is_named(path: str) -> None:
    """A key with one letter too many is an error: as unknown, or because the right one is missing."""
    *tables, key = path.split(".")
    data = raw()
    table = data
    for name in tables:
        table = table[name]
    if tables in (["loss"], ["instruments"]):
        return  # a currency or an instrument may have any name
    table[f"{key}x"] = table.pop(key)
    with pytest.raises(LimitsError) as caught:
        Limits.from_mapping(data, FILE)
    said = str(caught.value)
    assert f"{key}x" in said or said.startswith(located(path)), said
    assert said.startswith(FILE)


@pytest.mark.parametrize("path", ["", *(path for path in EVERY if path not in LEAVES)])
def test_unknown_key_is_named(path: str) -> None:
    """A key that nobody reads is an error that names file, table and key."""
    data = raw()
    table = data
    for name in path.split(".") if path else ():
        table = table[name]
    table["surprise"] = 1
    said = f"{FILE}: unknown key" if not path else "unknown key 'surprise'"
    if path in {"loss", "instruments"}:
        said = f"{FILE}: [{path}.surprise]: expected a table, found 1"
    with pytest.raises(LimitsError, match=re.escape(said)) as caught:
        Limits.from_mapping(data, FILE)
    assert path in str(caught.value)


WRONG: list[object] = [
    None, 0.5, 1.0, float("nan"), True, False, -1, 0, "", "abc", "no", [], [1], {}, b"1",
    D("NaN"), D("Infinity"), D("-Infinity"), D(0), D(-1), "0", "-0.1", "1e", "NaN", "inf", 1j,
]  # fmt: skip


@pytest.mark.parametrize("path", LEAVES)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_wrong_value_is_named(path: str, wrong: object) -> None:
    """A value of the wrong type, sign or size is an error with file, key and what was found."""
    if path.endswith(".currency") and isinstance(wrong, str) and wrong:
        return  # any text is a currency
    with pytest.raises(LimitsError) as caught:
        Limits.from_mapping(raw(**{path.replace(".", "__"): wrong}), FILE)
    said = str(caught.value)
    assert said.startswith(located(path)), said
    assert "expected" in said
    assert "found" in said


@pytest.mark.parametrize("path", LEAVES)
@given(number=st.floats())
def test_float_is_refused(path: str, number: float) -> None:
    """A binary float is refused in every place, whatever its value."""
    with pytest.raises(LimitsError, match=re.escape(located(path))):
        Limits.from_mapping(raw(**{path.replace(".", "__"): number}), FILE)


@pytest.mark.parametrize("path", EVERY)
@pytest.mark.parametrize("wrong", [1, "off", [], None])
def test_table_must_be_a_table(path: str, wrong: object) -> None:
    """Where a table belongs, anything else is an error that names it."""
    if path in LEAVES:
        return
    with pytest.raises(LimitsError, match="expected a table") as caught:
        Limits.from_mapping(raw(**{path.replace(".", "__"): wrong}), FILE)
    assert f"[{path}]" in str(caught.value)


@pytest.mark.parametrize("key", SPANS)
def test_span_is_off_in_so_many_words(key: str) -> None:
    """A check on time is turned off by the word alone, and then nothing is ever too much."""
    name, scale = SPANS[key]
    found = limits(**{f"gate1__{key}": "off"}).gate1
    assert getattr(found, name) == NEVER
    found = limits(**{f"gate1__{key}": 1}).gate1
    assert getattr(found, name) == scale
    for wrong in ("Off", "OFF", "never", "refuse", "", None, 0, False):
        with pytest.raises(LimitsError, match=f'{key}: expected whole milliseconds, or "off"'):
            limits(**{f"gate1__{key}": wrong})


@pytest.mark.parametrize("key", SWITCHES)
def test_switch_is_refuse_or_off(key: str) -> None:
    """A check that has no number is set to refuse or to off, and to nothing else."""
    for word, on in (("refuse", True), ("off", False)):
        assert getattr(limits(**{f"gate1__{key}": word}).gate1, SWITCHES[key]) is on
    for wrong in ("Refuse", "on", True, False, 1, 0, None, ""):
        with pytest.raises(LimitsError, match=f'{key}: expected "refuse" or "off"'):
            limits(**{f"gate1__{key}": wrong})


def test_every_check_of_gate_1_is_covered() -> None:
    """Every field of gate 1 has a key in the file, so that none is set behind its back."""
    fields = {field.name for field in attrs.fields(Gate1Limits)}
    assert fields == {name for name, _ in SPANS.values()} | set(SWITCHES.values())
    assert set(raw()["gate1"]) == set(SPANS) | set(SWITCHES)


@pytest.mark.parametrize("key", [*GATE2, *BOUNDS])
def test_gate_2_cannot_be_turned_off(key: str) -> None:
    """No limit of gate 2 takes the word off."""
    path = f"gate2__{key}" if key in GATE2 else f"instruments__{NAME}__{key}"
    with pytest.raises(LimitsError, match=f"{key}: expected"):
        limits(**{path: "off"})


@pytest.mark.parametrize("key", GATE2)
def test_missing_order_flow_limit_unsets_them_all(key: str) -> None:
    """A limit of order flow that is missing loads as not set: no orders, and no error."""
    assert limits(f"gate2.{key}").gate2 is None


@pytest.mark.parametrize("key", BOUNDS)
def test_missing_bound_is_none(key: str) -> None:
    """A bound of an instrument that is missing loads as None, the others as they are."""
    _, bounds = limits(f"instruments.{NAME}.{key}").instruments[NAME]
    assert [name for name in BOUNDS if getattr(bounds, name) is None] == [key]


def test_trip_comes_after_refusal() -> None:
    """A loop that trips before it is refused is a mistake, and is named."""
    for refuse, trip in ((3, 3), (3, 2)):
        with pytest.raises(LimitsError, match="repeat_trip_after: expected more than repeat_refuse_after"):
            limits(gate2__repeat_refuse_after=refuse, gate2__repeat_trip_after=trip)
    assert limits(gate2__repeat_refuse_after=3, gate2__repeat_trip_after=4).gate2


@pytest.mark.parametrize("version", [0, 2, -1, "1", 1.0, True, None])
def test_other_format_is_refused(version: object) -> None:
    """A file of another format is refused, before anything else in it is read."""
    with pytest.raises(LimitsError, match=r"limits\.toml: version: expected"):
        limits("gate1", version=version)


@pytest.mark.parametrize("text", ["5", "0.25", "1_000", "+3", "2E+2", " 7 "])
def test_exact_number_may_be_text(text: str) -> None:
    """A decimal in quotes is taken as it is written."""
    _, bounds = limits(**{f"instruments__{NAME}__max_quantity": text}).instruments[NAME]
    assert bounds.max_quantity == Decimal(text)


@given(number=AWKWARD_NUMBERS)
def test_awkward_number_is_an_error_or_positive(number: Decimal) -> None:
    """No number whatever gets in that is not finite and positive, and none raises anything else."""
    for value in (number, str(number)):
        try:
            found = limits(**{f"instruments__{NAME}__max_notional": value})
        except LimitsError as error:
            assert "max_notional: expected" in str(error)  # noqa: PT017 - it may raise or not
        else:
            bound = found.instruments[NAME][1].max_notional
            assert bound is not None
            assert bound.is_finite()
            assert bound > 0


@pytest.mark.parametrize("path", [path for path in LEAVES if path.split(".")[0] in {"loss", "instruments"}])
@given(number=AWKWARD_NUMBERS | st.decimals("1E-30", "1E+30"))
def test_limits_that_load_make_a_core(path: str, number: Decimal) -> None:
    """Whatever the numbers, limits either are an error that names the key, or make a core that answers."""
    try:
        found = limits(**{path.replace(".", "__"): number})
    except LimitsError as error:
        assert path.rsplit(".", 1)[1] in str(error)  # noqa: PT017 - it may raise or not
        return
    core = Core(found, 1)
    assert core.start(ARMED, 1, 0)
    core.consult(quote(), ARMED, 0, NOW_US)
    core.decide(order(), ARMED, 0, 1)
    assert core.notices == []


@pytest.mark.parametrize("wrong", [None, [], "limits", 1])
def test_file_must_be_a_table(wrong: Any) -> None:
    """What is no table at all is an error that names the file."""
    with pytest.raises(LimitsError, match=r"limits\.toml: expected a table"):
        Limits.from_mapping(wrong, FILE)


def test_error_is_interlocks() -> None:
    """What is wrong with limits is raised under the one root."""
    assert issubclass(LimitsError, InterlockError)


def test_mapping_is_not_changed_or_kept() -> None:
    """Reading the limits leaves the mapping as it was, and later changes to it do nothing."""
    data = raw()
    before = copy.deepcopy(data)
    found = Limits.from_mapping(data, FILE)
    assert data == before
    data["loss"].clear()
    data["instruments"].clear()
    assert set(found.loss) == {"USD", "EUR"}
    assert len(found.instruments) == 3


NAMES = {
    "nothing": "",
    "too long": "x" * 65,
    "no ASCII": "é",
    "no text": "A\nB",
}


@pytest.mark.parametrize("table", ["instruments", "loss"])
@pytest.mark.parametrize("name", NAMES)
def test_name_must_be_printable_and_short(table: str, name: str) -> None:
    """An instrument or a currency has 1 to 64 printable ASCII characters, and the error shows it."""
    data = raw()
    data[table][NAMES[name]] = {}
    expected = f"{table}: expected names of 1 to 64 printable ASCII characters, found {NAMES[name]!r}"
    with pytest.raises(LimitsError, match=re.escape(expected)):
        Limits.from_mapping(data)


def test_error_shows_no_more_than_the_beginning_of_a_name() -> None:
    """Of a name that is far too long, 80 characters are shown."""
    data = raw()
    data["loss"]["x" * 1_000] = {}
    with pytest.raises(LimitsError, match="found '" + "x" * 80 + "'$"):
        Limits.from_mapping(data)


@pytest.mark.parametrize("name", ["A", "x" * 64, "EUR/USD 3M"])
def test_name_of_any_usual_kind_is_taken(name: str) -> None:
    """One character is a name, and so are 64, with spaces and signs in them."""
    data = raw()
    data["instruments"][name] = data["instruments"][NAME]
    assert name in Limits.from_mapping(data).instruments


def test_largest_whole_number_is_what_nanoseconds_can_hold() -> None:
    """A number that would not fit when it is counted in nanoseconds is refused, and the one below it is taken."""
    most = NEVER // 1_000_000_000
    assert limits(gate2__messages_per_s=most - 1).gate2 is not None
    with pytest.raises(LimitsError, match="messages_per_s: expected a whole number"):
        limits(gate2__messages_per_s=most)


@pytest.mark.parametrize(
    "least",
    [
        "version",
        "anomaly.errors_in_a_row",
        "loss.USD.confirm_marks",
        "gate2.message_burst",
        f"instruments.{NAME}.max_open_orders",
    ],
)
def test_one_is_enough_of_a_count(least: str) -> None:
    """A count of one is allowed, and of nothing is not."""
    key = least.replace(".", "__")
    assert limits(**{key: 1})
    with pytest.raises(LimitsError):
        limits(**{key: 0})


def test_multiplier_is_one_unless_it_is_said() -> None:
    """An instrument without a multiplier counts one unit of money a unit of quantity and a unit of price."""
    assert limits().instruments[NAME][0].multiplier == 1


@pytest.mark.parametrize(("text", "fits"), [("9E+19", True), ("1E+20", False), ("1E-20", True), ("1E-21", False)])
def test_number_has_twenty_digits_at_most_on_either_side(text: str, *, fits: bool) -> None:
    """A number with more digits before the point, or after it, is a slip of the pen."""
    if fits:
        assert limits(**{f"instruments__{NAME}__max_quantity": text}).instruments[NAME][1].max_quantity == D(text)
        return
    with pytest.raises(LimitsError, match="max_quantity: expected a positive exact number"):
        limits(**{f"instruments__{NAME}__max_quantity": text})


def test_off_is_larger_than_any_time() -> None:
    """What is turned off is held against a number that no count of nanoseconds reaches."""
    assert NEVER == 1 << 62


def test_error_names_what_was_read() -> None:
    """Who reads limits that have no file's name is told that they are the limits."""
    with pytest.raises(LimitsError, match=r"^limits: version is missing"):
        Limits.from_mapping({})
