"""Gate 1: each check alone, at its boundary, turned off, and against anything at all."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.builders import (
    ANYTHING,
    AWKWARD_NUMBERS,
    EURO,
    MS,
    NAME,
    NOT_ARMED,
    NOW_US,
    NUMBERS,
    OTHER,
    D,
    Hostile,
    anomalies,
    breaches,
    fill,
    halts,
    quote,
    raw,
    running,
    started,
    trade,
)

from interlock.core.machine import Anomaly
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import PASS, Quote, Side, Tick, Trade, Verdict


def consult(core: Core, tick: Tick, mono_ns: int = 0, now_us: int = NOW_US) -> Verdict:
    """Show a tick to gate 1 under an armed latch."""
    return core.consult(tick, ARMED, mono_ns, now_us)


def untouched(core: Core, name: str = NAME) -> bool:
    """Return whether no tick became this instrument's reference."""
    book = core.books[name]
    return book.reference is None and not book.marked and book.last_ts_us == 0


# ---------------------------------------------------------------------------
# The kernel itself


@pytest.mark.parametrize("tick", [quote(), trade()])
def test_good_tick_passes(tick: Tick) -> None:
    """A good tick passes with the one shared verdict, and becomes the reference."""
    core = started()
    assert consult(core, tick, 3 * MS) is PASS
    book = core.books[NAME]
    assert book.reference == (100_000, "100", 100_000, "100")
    assert (book.last_ts_us, book.reference_mono_ns) == (NOW_US, 3 * MS)


@given(latch=NOT_ARMED)
def test_unarmed_latch_halts(latch: int) -> None:
    """Every byte but the armed one refuses, halts in the same step, and leaves the tick unseen."""
    core = started()
    assert core.consult(quote(), latch, 0, NOW_US).reason is Reason.HALTED
    assert core.mode is Mode.HALTED
    assert [halt.cause.code for halt in halts(core)] == [HaltCode.EXTERNAL]
    assert untouched(core)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (Mode.IDLE, Reason.NOT_RUNNING),
        (Mode.RUNNING, Reason.GATE_CLOSED),
        (Mode.HALTED, Reason.HALTED),
    ],
)
def test_closed_gate_refuses(mode: Mode, reason: Reason) -> None:
    """A closed gate refuses in each mode with that mode's reason, and leaves the tick unseen."""
    core = started()
    core.close_gate()
    core.mode = mode
    assert consult(core, quote()).reason is reason
    assert untouched(core)
    assert core.notices == []


# ---------------------------------------------------------------------------
# Each check at its boundary: what is just good, what is one too many, and off

AGE, AHEAD, SILENCE, BEAT = 1_000_000, 50_000, 5_000_000, 2_000_000_000
FIRST = quote(ts_us=NOW_US - 100, sequence=7)


def step(tick: Tick, mono_ns: int = 0, now_us: int = NOW_US) -> tuple[Tick, int, int]:
    """Return a tick with the times at which it comes in."""
    return tick, mono_ns, now_us


BOUNDARIES = [
    pytest.param(
        Reason.TICK_STALE, "max_tick_age_ms",
        step(quote(), now_us=NOW_US + AGE), step(quote(), now_us=NOW_US + AGE + 1),
        str(AGE), str(AGE + 1), id="age",
    ),
    pytest.param(
        Reason.TICK_FROM_FUTURE, "max_clock_ahead_ms",
        step(quote(ts_us=NOW_US + AHEAD)), step(quote(ts_us=NOW_US + AHEAD + 1)),
        str(AHEAD), str(AHEAD + 1), id="ahead",
    ),
    pytest.param(
        Reason.TICK_BACKWARDS, "tick_backwards",
        step(quote(ts_us=FIRST.ts_us)), step(quote(ts_us=FIRST.ts_us - 1)),
        str(FIRST.ts_us), str(FIRST.ts_us - 1), id="backwards",
    ),
    pytest.param(
        Reason.QUOTE_CROSSED, "crossed_quote",
        step(quote(bid=D(100), ask=D(100))), step(quote(bid=D("100.001"), ask=D(100))),
        "100", "100.001", id="crossed",
    ),
    pytest.param(
        Reason.PRICE_NOT_POSITIVE, "non_positive_price",
        step(quote(bid=D("0.001"))), step(quote(bid=D(0))),
        "0", "0 100", id="bid of zero",
    ),
    pytest.param(
        Reason.PRICE_NOT_POSITIVE, "non_positive_price",
        step(trade(price=D("0.001"))), step(trade(price=D("-0.001"))),
        "0", "-0.001 -0.001", id="negative trade",
    ),
    pytest.param(
        Reason.SEQUENCE_GAP, "sequence_gap",
        step(quote(sequence=8)), step(quote(sequence=9)), "8", "9", id="gap",
    ),
    pytest.param(
        Reason.SEQUENCE_GAP, "sequence_gap",
        step(quote(sequence=8)), step(quote(sequence=7)), "8", "7", id="repeated",
    ),
    pytest.param(
        Reason.FEED_SILENCE, "max_silence_ms",
        step(quote(ts_us=NOW_US + SILENCE), now_us=NOW_US + SILENCE),
        step(quote(ts_us=NOW_US + SILENCE), now_us=NOW_US + SILENCE + 1),
        str(SILENCE), str(SILENCE + 1), id="silence",
    ),
    pytest.param(
        Reason.HEARTBEAT_OVERDUE, "heartbeat_overdue_ms",
        step(quote(), mono_ns=BEAT), step(quote(), mono_ns=BEAT + 1),
        str(BEAT), str(BEAT + 1), id="heartbeat",
    ),
]  # fmt: skip
Step = tuple[Tick, int, int]


@pytest.mark.parametrize(("reason", "key", "good", "bad", "limit", "value"), BOUNDARIES)
def test_check_holds_at_its_boundary(
    *, reason: Reason, key: str, good: Step, bad: Step, limit: str, value: str
) -> None:
    """A check lets through what is exactly at its limit, refuses one more, and can be turned off."""
    core = started()
    assert consult(core, FIRST)
    assert consult(core, *good) is PASS
    core = started()
    assert consult(core, FIRST)
    kept = core.books[NAME].reference, core.books[NAME].last_ts_us
    verdict = consult(core, *bad)
    assert (verdict.reason, verdict.limit, verdict.value) == (reason, limit, value)
    assert (core.books[NAME].reference, core.books[NAME].last_ts_us) == kept
    assert core.mode is Mode.RUNNING
    core = started(**{f"gate1__{key}": "off"})
    assert consult(core, FIRST)
    assert consult(core, *bad) is PASS


def test_every_check_has_a_boundary() -> None:
    """Every key of gate 1 is among the boundaries, and every reason of a tick is met."""
    assert {param.values[1] for param in BOUNDARIES} == set(raw()["gate1"])
    ours = list(Reason)
    ticks = ours[ours.index(Reason.TICK_MALFORMED) : ours.index(Reason.FEED_SILENCE) + 1]
    assert {param.values[0] for param in BOUNDARIES} == {
        *ticks, Reason.HEARTBEAT_OVERDUE
    } - {Reason.TICK_MALFORMED}  # fmt: skip


def test_each_refusal_names_the_first_check() -> None:
    """A tick with two faults is refused for the one that is checked first."""
    core = started()
    both = quote(ts_us=NOW_US - AGE - 1, bid=D(-1), ask=D(-2))
    assert consult(core, both).reason is Reason.TICK_STALE
    assert consult(core, attrs.evolve(both, ts_us=NOW_US)).reason is Reason.PRICE_NOT_POSITIVE
    crossed = quote(bid=D(2), ask=D(1), sequence=5)
    assert consult(core, crossed).reason is Reason.QUOTE_CROSSED


def test_unknown_instrument_is_named_shortly() -> None:
    """A tick of an instrument without limits is refused, and its name is cut to what a record holds."""
    verdict = consult(started(), quote(instrument="Z" * 1_000_000))
    assert (verdict.reason, verdict.value) == (Reason.UNKNOWN_INSTRUMENT, "Z" * 64)


# ---------------------------------------------------------------------------
# What a refused tick leaves behind


def test_one_gap_refuses_one_tick() -> None:
    """After a jump in the feed's numbers, up or down, the next in order passes."""
    core = started()
    for sequence, passes in ((5, True), (6, True), (9, False), (10, True), (3, False), (4, True)):
        assert bool(consult(core, quote(sequence=sequence))) is passes


FAULTS: list[dict[str, Any]] = [
    {"ts_us": NOW_US - AGE - 1}, {"ts_us": NOW_US + AHEAD + 1}, {"ts_us": NOW_US - 101},
    {"ts_us": "now"}, {"bid": D("NaN")}, {"bid": 99.5}, {"bid": D(-1)}, {"bid": D(101)},
    {"bid": D("100.0000001")},
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_refused_tick_is_no_gap(fault: dict[str, Any]) -> None:
    """A tick that is refused for another reason counts in the feed's numbers: the next one is no gap."""
    core = started()
    assert consult(core, FIRST)
    assert not consult(core, quote(sequence=8, **fault))
    assert consult(core, quote(sequence=9)) is PASS


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_refused_tick_ends_a_silence(fault: dict[str, Any]) -> None:
    """A tick that is refused has come in all the same, so the next one ends no silence."""
    core = started(gate1__tick_backwards="off")
    assert consult(core, FIRST)
    later = NOW_US + SILENCE
    assert consult(core, quote(**fault), 0, later).reason is not Reason.FEED_SILENCE
    assert consult(core, quote(ts_us=later + SILENCE), 0, later + SILENCE) is PASS


def test_one_silence_refuses_one_tick() -> None:
    """The tick that ends a silence is refused, and the next one passes."""
    core = started()
    assert consult(core, FIRST)
    late = NOW_US + SILENCE + 1
    assert consult(core, quote(ts_us=late), 0, late).reason is Reason.FEED_SILENCE
    assert consult(core, quote(ts_us=late), 0, late) is PASS


def test_first_tick_ends_no_silence_and_no_gap() -> None:
    """The first tick of an instrument passes whatever its number and whenever it comes."""
    core = started()
    assert consult(core, quote(ts_us=1, sequence=10**9), 0, 1) is PASS


def test_feeds_do_not_share_their_numbers() -> None:
    """Number, time and silence are counted for each instrument by itself."""
    core = started()
    assert consult(core, quote(sequence=7))
    assert consult(core, quote(instrument=OTHER, sequence=70, ts_us=NOW_US - 500))
    assert consult(core, quote(sequence=8))


def test_feed_may_leave_its_numbers_out() -> None:
    """A tick without a number is no gap, and the next number goes on from the last one."""
    core = started()
    for sequence in (7, None, 8, None, None, 9):
        assert consult(core, quote(sequence=sequence)) is PASS


def test_heartbeat_never_goes_back() -> None:
    """A heartbeat with an older time does not make the last one older."""
    core = started()
    core.beat(5 * BEAT)
    core.beat(0)
    assert consult(core, quote(), 6 * BEAT) is PASS


# ---------------------------------------------------------------------------
# Numbers


@pytest.mark.parametrize("field", ["bid", "ask"])
@given(number=AWKWARD_NUMBERS)
def test_awkward_price_is_refused(field: str, number: Decimal) -> None:
    """NaN, infinities, and numbers that are too large, too fine or not positive are refused by code."""
    core = started()
    verdict = consult(core, quote(**{field: number}))
    huge = number.is_finite() and number > 0 and number.adjusted() == 25
    expected = {Reason.TICK_MALFORMED, Reason.PRICE_NOT_POSITIVE}
    if huge and field == "ask":
        assert verdict is PASS
    else:
        assert verdict.reason in expected | ({Reason.QUOTE_CROSSED} if huge else set())
        assert untouched(core)
    assert anomalies(core) == []


@pytest.mark.parametrize("price", [0.5, 100.0, float("nan"), 100, "100", None, True])
def test_price_that_is_no_decimal_is_refused(price: Any) -> None:
    """A float, or anything but a Decimal, is refused, though it may look right."""
    for tick in (quote(bid=price), quote(ask=price), trade(price=price)):
        core = started()
        assert consult(core, tick).reason is Reason.TICK_MALFORMED
        assert untouched(core)
        assert anomalies(core) == []


@pytest.mark.parametrize("number", [1.0, True, "7", D(7), float("nan"), Hostile()])
def test_times_and_numbers_are_whole(number: Any) -> None:
    """A time or a feed's number that is not a whole number is refused, even for the first tick."""
    core = started()
    assert not consult(core, quote(ts_us=number))
    assert not consult(core, quote(sequence=number))
    assert untouched(core)
    assert core.books[NAME].last_sequence is None


def test_price_too_fine_is_refused_and_one_digit_less_is_not() -> None:
    """A price may be a hundred times finer than the tick size, and not finer."""
    assert consult(started(), quote(bid=D("99.999"))) is PASS
    verdict = consult(started(), quote(bid=D("99.9999")))
    assert (verdict.reason, verdict.limit) == (Reason.TICK_MALFORMED, "3 decimals")


# ---------------------------------------------------------------------------
# Anything at all


TICKS = st.one_of(
    st.builds(
        Quote, instrument=st.sampled_from([NAME, OTHER, EURO]) | ANYTHING, ts_us=ANYTHING,
        bid=ANYTHING, ask=ANYTHING, bid_size=ANYTHING, ask_size=ANYTHING, sequence=ANYTHING,
        received_us=ANYTHING,
    ),
    st.builds(
        Quote, instrument=st.just(NAME), ts_us=st.integers(NOW_US - 10, NOW_US + 10) | ANYTHING,
        bid=NUMBERS, ask=NUMBERS, sequence=st.none() | st.integers(0, 3) | ANYTHING,
    ),
    st.builds(Trade, instrument=st.just(NAME), ts_us=st.just(NOW_US), price=NUMBERS | ANYTHING),
    ANYTHING,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(ticks=st.lists(TICKS, max_size=4), off=st.booleans())
def test_no_tick_makes_the_gate_raise(ticks: list[Any], *, off: bool) -> None:
    """Whatever comes in, in whatever order, is answered with a verdict, and halts nothing."""
    core = started(**dict.fromkeys((f"gate1__{key}" for key in raw()["gate1"]), "off")) if off else started()
    for tick in ticks:
        verdict = consult(core, tick)
        assert type(verdict) is Verdict
        assert bool(verdict) is (verdict.reason is Reason.ACCEPTED)
        for said in (verdict.limit, verdict.value):
            assert said is None or type(said) is str
        if verdict:
            assert type(tick.ts_us) is int
            prices = (tick.bid, tick.ask) if type(tick) is Quote else (tick.price,)
            assert all(type(price) is Decimal and price.is_finite() for price in prices)
            assert off or all(price > 0 for price in prices)
            assert tick.sequence is None or type(tick.sequence) is int
    assert core.mode is Mode.RUNNING
    assert not core.books[NAME].position
    assert consult(core, quote(instrument=OTHER))


def test_error_that_cannot_be_printed_is_a_refusal() -> None:
    """A check that raises an error whose text raises too refuses, and leaves an anomaly that says what."""
    core = started()
    verdict = consult(core, quote(instrument=Hostile()))
    assert (verdict.reason, verdict.value) == (Reason.CHECK_RAISED, "HostileError")
    (notice,) = core.notices
    assert notice == Anomaly(code="CHECK_RAISED", detail="HostileError")


def test_anomaly_of_a_check_is_cut() -> None:
    """What a raising check says is cut to what a record holds."""
    core = running()
    assert consult(core, quote(instrument=["x" * 10_000])).reason is Reason.CHECK_RAISED
    (notice,) = core.notices
    assert isinstance(notice, Anomaly)
    assert len(notice.detail) <= 200


# ---------------------------------------------------------------------------
# What a refusal says, and what a tick is worth

WRONG = [
    (quote(sequence="7"), "sequence: a whole number", "'7'"),
    (quote(ts_us=1.5), "ts_us: whole microseconds", "1.5"),
    (quote(bid=100.0), "Decimal", "100.0 Decimal('100')"),
    (quote(ask=D("100.0001")), "3 decimals", "100 100.0001"),
    (SimpleNamespace(instrument=NAME, ts_us=NOW_US, sequence=None), "Quote or Trade", "SimpleNamespace"),
]


@pytest.mark.parametrize(("tick", "wanted", "found"), WRONG, ids=[wanted for _, wanted, _ in WRONG])
def test_malformed_tick_is_refused_with_what_is_wrong(tick: Any, wanted: str, found: str) -> None:
    """A tick that can't be judged is refused, and the refusal says what was wanted and what was found."""
    verdict = consult(started(), tick)
    assert (verdict.accepted, verdict.reason, verdict.limit, verdict.value) == (
        False, Reason.TICK_MALFORMED, wanted, found,
    )  # fmt: skip


def test_overdue_heartbeat_is_told_as_the_time_since_it() -> None:
    """What is held against the limit is how long ago the last beat was."""
    core = started()
    core.beat(5)
    verdict = consult(core, quote(), 5 + BEAT + 1)
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.HEARTBEAT_OVERDUE, str(BEAT), str(BEAT + 1))


@pytest.mark.parametrize(("side", "worth"), [(Side.BUY, -1), (Side.SELL, -2)])
def test_tick_marks_a_long_at_the_bid_and_a_short_at_the_ask(side: Side, worth: int) -> None:
    """A tick values even the smallest position at what it could be closed for."""
    core = running()
    core.on_fill(fill("foreign", "f1", side=side, quantity=D("0.1")))
    assert consult(core, quote(bid=D(90), ask=D(120)))
    assert core.accounts()[0].text(core.accounts()[0].equity) == str(worth)


def test_tick_of_what_is_not_held_is_no_mark() -> None:
    """Flat, an account is not judged by ticks, not even one that has no limits."""
    core = started("loss.USD")
    assert consult(core, quote())
    assert (core.notices, core.books[NAME].marked) == ([], False)


@pytest.mark.parametrize("equity", [-599, -600])
def test_tick_that_loses_from_the_peak_is_seen_below_zero(equity: int) -> None:
    """A drawdown counts from the peak also when nothing was ever won, and at exactly its limit."""
    core = running()
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    assert consult(core, quote(bid=D(100) + D(equity) / 10, ask=D(100)))
    assert breaches(core) == (["entered"] if equity == -600 else [])


def in_breach(**marks: int) -> Core:
    """A core whose fee alone was a loss, before its first tick."""
    core = started(**{f"loss__USD__{key}": value for key, value in marks.items()})
    core.on_fill(fill("foreign", "f1", fee=D(999)))
    assert breaches(core) == ["entered"]
    return core


def test_first_tick_is_a_mark_even_at_the_price_of_the_fill() -> None:
    """The price of a fill is no mark: the first tick confirms, though it changes nothing."""
    core = in_breach(confirm_marks=1)
    assert consult(core, quote()).reason is Reason.HALTED
    assert core.mode is Mode.HALTED


@pytest.mark.parametrize(
    ("first", "second", "distinct"),
    [
        ((100, 100), (100, 100), False),
        ((90, 110), (91, 110), True),
        ((90, 110), (90, 111), True),
        ((90, 110), (90, 110), False),
    ],
)
def test_mark_is_distinct_if_either_price_is_another(
    first: tuple[int, int], second: tuple[int, int], *, distinct: bool
) -> None:
    """A tick that repeats both prices says nothing new, and one that changes either does."""
    core = in_breach(confirm_marks=2)
    for bid, ask in (first, second):
        consult(core, quote(bid=D(bid), ask=D(ask)))
    assert (core.mode is Mode.HALTED) is distinct
