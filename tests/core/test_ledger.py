"""Positions, money and working orders: exact, against an oracle in fractions.

The oracle of money is one line an instrument: what was paid and earned, and what is held
at the last good bid if long, at the last good ask if short.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.builders import (
    AWKWARD_NUMBERS,
    EURO,
    NAME,
    NOW_US,
    OTHER,
    SIDES,
    D,
    anomalies,
    breaches,
    counted,
    exact,
    exposure,
    fill,
    fraction,
    granted,
    halts,
    limits,
    order,
    position,
    quote,
    running,
    sent,
    snapshot,
    started,
    statuses,
)

from interlock.core.ledger import _CACHE_SIZE, Account, Book, Scale, Status, _floor, decimals, scaled, unscaled
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import Fill, Side

# ---------------------------------------------------------------------------
# Scales


@settings(max_examples=500)
@given(value=st.decimals() | AWKWARD_NUMBERS | st.decimals(-(10**6), 10**6, places=5), digits=st.integers(0, 30))
@example(value=D("1." + "0" * 200), digits=3)
@example(value=D("1E-1000000000"), digits=3)
@example(value=D("9" * 26), digits=30)
def test_scaled_is_exact_or_nothing(value: Decimal, digits: int) -> None:
    """A decimal becomes the integer that it exactly is, or None if it is none, too large, or no number."""
    found = scaled(value, digits)
    if not value.is_finite() or value.adjusted() > 25:
        assert found is None
    elif value.adjusted() < -100:
        assert found == (None if value else 0)
    else:
        wanted = exact(value) * 10**digits
        assert found == (wanted.numerator if wanted.denominator == 1 else None)


@given(number=st.integers(-(10**40), 10**40), digits=st.integers(0, 30))
def test_unscaled_is_plain_and_exact(number: int, digits: int) -> None:
    """An integer is written as plain decimal text, without needless zeros, and reads back exactly."""
    text = unscaled(number, digits)
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert text != "-0"
    assert Fraction(text) == fraction(number, digits)
    assert scaled(D(text), digits) == (number if D(text).adjusted() <= 25 else None)


@given(units=st.integers(1, 10**40), places=st.integers(-20, 30))
def test_decimals_are_as_many_as_needed(units: int, places: int) -> None:
    """So many decimals hold the value exactly, and one fewer does not."""
    value = D(f"{units}E{-places}")
    digits = decimals(value)
    assert (exact(value) * 10**digits).denominator == 1
    assert digits == 0 or (exact(value) * 10 ** (digits - 1)).denominator > 1


def test_scale_starts_afresh_when_full() -> None:
    """What is remembered of prices is bounded, and forgetting changes no answer."""
    scale = Scale(2, 1, Reason.OFF_TICK_GRID)
    texts = [f"{number // 100}.{number % 100:02d}" for number in range(1, 20_000)]
    first = [scale[text] for text in texts]
    assert len(scale) <= 8_192
    assert [scale[text] for text in texts] == first


def test_scale_does_not_remember_nonsense() -> None:
    """Numbers that are none are converted anew each time, so that they fill nothing, and are cut."""
    scale = Scale(2, 1, Reason.OFF_TICK_GRID)
    for number in range(100):
        units, text, refused = scale["9" * (100 + number)]
        assert (units, text, refused) == (None, "9" * 64, Reason.OFF_TICK_GRID)
        assert scale[f"NaN{number}"][::2] == (None, Reason.MALFORMED)
    assert len(scale) == 0


# ---------------------------------------------------------------------------
# Profit and loss

MULTIPLIERS = {NAME: Fraction(1), OTHER: Fraction(50), EURO: Fraction(1, 10)}
STEPS = {NAME: (D("0.005"), D("0.1")), OTHER: (D("0.0001"), D(1)), EURO: (D("0.00001"), D("0.01"))}
CURRENCIES = {NAME: "USD", OTHER: "USD", EURO: "EUR"}
RICH: dict[str, object] = {
    f"loss__{name}__{key}": 10**15 for name in ("USD", "EUR") for key in ("max_session_loss", "max_drawdown")
}


@attrs.define
class Owned:
    """What the oracle knows of one instrument."""

    multiplier: Fraction
    held: Fraction = Fraction(0)
    cash: Fraction = Fraction(0)
    bid: Fraction | None = None
    ask: Fraction | None = None
    last: Fraction = Fraction(0)

    @property
    def worth(self) -> Fraction:
        """Return cash, and what is held at its mark."""
        bid, ask = self.bid, self.ask
        mark = self.last if bid is None or ask is None else bid if self.held > 0 else ask
        return self.cash + self.held * mark * self.multiplier


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("tick"), st.sampled_from([NAME, OTHER, EURO]),
            st.integers(1, 50_000), st.integers(0, 500),
        ),
        st.tuples(
            st.just("fill"), st.sampled_from([NAME, OTHER, EURO]), SIDES, st.integers(1, 300),
            st.integers(-100, 50_000), st.integers(-5_000, 5_000),
        ),
        st.tuples(st.just("session")),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(events=EVENTS)
@example(events=[
    ("tick", NAME, 20_000, 0), ("fill", NAME, Side.BUY, 10, 20_000, 0),
    ("fill", NAME, Side.SELL, 10, 20_000, 0), ("tick", NAME, 10_000, 0),
    ("fill", NAME, Side.BUY, 10, 10_000, 0),
])  # fmt: skip
def test_money_is_exact(events: list[Any]) -> None:
    """After any fills, fees and ticks, equity, opening and peak are those of the oracle, to the last digit."""
    core = started(**RICH)
    owned = {name: Owned(multiplier) for name, multiplier in MULTIPLIERS.items()}
    opening = dict.fromkeys(("USD", "EUR"), Fraction(0))
    peak = dict(opening)
    for number, (kind, *said) in enumerate(events):
        if kind == "tick":
            name, low, spread = said
            one, grid = owned[name], STEPS[name][0]
            bid, ask = low * grid, (low + spread) * grid
            assert core.consult(quote(instrument=name, bid=bid, ask=ask), ARMED, 0, NOW_US)
            one.bid, one.ask = exact(bid), exact(ask)
        elif kind == "fill":
            name, side, lots, ticks, cents = said
            one, (grid, lot) = owned[name], STEPS[name]
            quantity, price, fee = lots * lot, ticks * grid, D(cents) / 100
            done = fill("foreign", f"f{number}", instrument=name, side=side,
                        quantity=quantity, price=price, fee=fee)  # fmt: skip
            assert core.on_fill(done) is False
            signed = exact(quantity) * (1 if side is Side.BUY else -1)
            one.held += signed
            one.cash -= signed * exact(price) * one.multiplier + exact(fee)
            one.last = exact(price)
        equity = dict.fromkeys(opening, Fraction(0))
        for name, one in owned.items():
            equity[CURRENCIES[name]] += one.worth
        if kind == "session":
            core.begin_session(f"s{number}")
            opening, peak = dict(equity), dict(equity)
        for account in core.accounts():
            name = account.currency
            peak[name] = max(peak[name], equity[name])
            assert fraction(account.equity, account.digits) == equity[name]
            assert fraction(account.opening, account.digits) == opening[name]
            assert fraction(account.peak, account.digits) == peak[name]
        for name, one in owned.items():
            assert exact(position(core, name)) == one.held
    assert core.mode is Mode.RUNNING


def test_position_opened_late_is_marked_at_the_last_tick() -> None:
    """Prices that moved while nothing was held make no profit and no loss: not in equity, not in the peak."""
    core = running(loss__USD__max_drawdown=5)
    core.on_fill(fill("foreign", "f1"))
    core.on_fill(fill("foreign", "f2", side=Side.SELL))
    for price in ("90", "10"):
        assert core.consult(quote(bid=D(price), ask=D(price)), ARMED, 0, NOW_US)
    core.on_fill(fill("foreign", "f3", price=D(10)))
    (account,) = [one for one in core.accounts() if one.currency == "USD"]
    assert (account.equity, account.peak, account.breached) == (0, 0, None)
    assert core.consult(quote(bid=D(10), ask=D(10)), ARMED, 0, NOW_US)
    assert breaches(core) == []


def test_long_is_marked_at_the_bid_and_short_at_the_ask() -> None:
    """A position is worth what it could be closed for."""
    for side, worth in ((Side.BUY, -1), (Side.SELL, -2)):
        core = started()
        assert core.consult(quote(bid=D(99), ask=D(102)), ARMED, 0, NOW_US)
        core.on_fill(fill("foreign", "f1", side=side))
        account = core.accounts()[0]
        assert account.equity == worth * 10**account.digits


def test_position_without_a_tick_is_marked_at_its_fill() -> None:
    """Before the first tick the last fill is the best mark there is, and then the tick takes over."""
    core = started()
    core.on_fill(fill("foreign", "f1", price=D(90)))
    core.on_fill(fill("foreign", "f2", price=D(95)))
    account = core.accounts()[0]
    assert account.text(account.equity) == "5"
    assert core.consult(quote(), ARMED, 0, NOW_US)
    assert account.text(account.equity) == "15"


# ---------------------------------------------------------------------------
# Fills that are as they should be


def test_fill_gives_back_its_part() -> None:
    """A fill moves the position, and gives back that part of the reservation and no more."""
    core = running()
    sent(core, order(quantity=D(3)))
    assert core.on_fill(fill("o1", "f1", quantity=D("0.5"))) is True
    book = core.books[NAME]
    assert exposure(book)[0] == 5
    assert (book.buying, book.open_orders, core.working["o1"].remaining) == (25, 1, 25)
    assert core.on_fill(fill("o1", "f2", quantity=D("2.5"))) is True
    assert (book.position, book.buying, book.open_orders, core.working) == (30, 0, 0, {})
    assert anomalies(core) == []


def test_second_report_of_a_fill_changes_nothing() -> None:
    """A fill that was booked before changes nothing, says nothing, and trips nothing, even a wrong one."""
    core = running(anomaly__unknown_order="trip")
    sent(core, order())
    done = fill("o1", "f1")
    assert core.on_fill(done) is True
    before = snapshot(core)
    for again in (done, attrs.evolve(done, quantity=D(7)), attrs.evolve(done, client_order_id="?")):
        assert core.on_fill(again) is None
    assert snapshot(core) == before
    assert core.notices == []


@pytest.mark.parametrize("kind", ["end", "fail"])
def test_fill_may_overtake_the_send(kind: str) -> None:
    """An order that is filled while its send runs is over, and the send ends in peace afterwards."""
    core = running()
    working = granted(core, order())
    assert core.begin(working, ARMED)
    assert core.on_accept("o1")
    assert core.on_fill(fill("o1", "f1", quantity=D("0.4")))
    assert working.status is Status.SENDING
    assert core.on_fill(fill("o1", "f2", quantity=D("0.6")))
    assert (core.working, list(core.in_flight)) == ({}, [working.number])
    (core.end if kind == "end" else core.fail)(working)
    assert core.in_flight == {}
    assert position(core) == 1
    assert counted(core)
    core.close_gate()
    assert core.stop(ARMED)


@pytest.mark.parametrize("kind", ["end", "fail"])
@pytest.mark.parametrize("event", ["cancelled", "reject"])
def test_close_may_overtake_the_send(kind: str, event: str) -> None:
    """An order that the venue closes while its send runs is over, but its send is still in flight."""
    core = running()
    working = granted(core, order())
    assert core.begin(working, ARMED)
    assert core.on_closed("o1", event)
    assert (core.working, core.books[NAME].open_orders) == ({}, 0)
    core.close_gate()
    assert not core.stop(ARMED)
    (core.end if kind == "end" else core.fail)(working)
    assert working.status is Status.DONE
    assert counted(core)
    assert core.stop(ARMED)


@pytest.mark.parametrize("hear", ["accept", "part", "all", "closed"])
def test_unknown_order_is_settled_by_the_venue(hear: str) -> None:
    """An order whose send raised stays reserved until the venue speaks of it, in any mode."""
    for mode in Mode:
        core = running()
        working = granted(core, order())
        assert core.begin(working, ARMED)
        core.fail(working)
        core.gate_open, core.mode = False, mode
        assert statuses(core) == {"o1": Status.UNKNOWN}
        assert core.books[NAME].buying == 10
        heard = {
            "accept": lambda core=core: core.on_accept("o1"),
            "part": lambda core=core: core.on_fill(fill("o1", "f1", quantity=D("0.1"))),
            "all": lambda core=core: core.on_fill(fill("o1", "f1")),
            "closed": lambda core=core: core.on_closed("o1", "reject"),
        }[hear]
        assert heard() is True
        assert working.status is Status.DONE
        assert statuses(core) == ({"o1": Status.DONE} if hear in {"accept", "part"} else {})
        assert (anomalies(core), core.mode) == ([], mode)
        assert counted(core)


def test_late_fill_of_a_closed_order_is_booked() -> None:
    """A fill that comes after its order was closed moves the position, and is an anomaly."""
    core = running()
    sent(core, order())
    assert core.on_closed("o1", "cancelled")
    assert core.on_fill(fill("o1", "f1")) is False
    assert position(core) == 1
    assert anomalies(core) == ["UNKNOWN_ORDER"]


# ---------------------------------------------------------------------------
# Fills and events that are not


@pytest.mark.parametrize("trips", [True, False])
@pytest.mark.parametrize("event", ["accept", "closed", "fill"])
def test_unknown_order_trips_or_is_recorded(*, trips: bool, event: str) -> None:
    """What the venue says of an order that nobody sent is an anomaly, and halts if so configured."""
    core = running(anomaly__unknown_order="trip" if trips else "record")
    waiting = granted(core, order())
    said = {
        "accept": lambda: core.on_accept("?"),
        "closed": lambda: core.on_closed("?", "reject"),
        "fill": lambda: core.on_fill(fill("?", "f1")),
    }[event]()
    assert said is False
    assert anomalies(core) == ["UNKNOWN_ORDER"]
    assert position(core) == (1 if event == "fill" else 0)
    assert core.mode is (Mode.HALTED if trips else Mode.RUNNING)
    if trips:
        (notice,) = halts(core)
        assert (notice.cause.code, notice.voided) == (HaltCode.ANOMALY, (waiting,))
    assert counted(core)


MISFITS: list[dict[str, Any]] = [
    {"quantity": D("1.5")}, {"side": Side.SELL}, {"instrument": OTHER},
    {"side": Side.SELL, "quantity": D(9)}, {"instrument": EURO, "quantity": D(9)},
]  # fmt: skip


@pytest.mark.parametrize("misfit", MISFITS, ids=str)
@pytest.mark.parametrize("trips", [True, False])
@pytest.mark.parametrize("state", ["granted", "sending", "done", "unknown"])
def test_fill_that_does_not_fit_is_booked_as_told(misfit: dict[str, Any], state: str, *, trips: bool) -> None:
    """A fill of too much, of the other side or elsewhere moves the position, and no reservation goes below zero."""
    core = running(anomaly__unknown_order="trip" if trips else "record")
    working = granted(core, order())
    if state != "granted":
        assert core.begin(working, ARMED)
    if state in {"done", "unknown"}:
        (core.end if state == "done" else core.fail)(working)
    done = fill("o1", "f1", **misfit)
    assert core.on_fill(done) is True
    sign = 1 if done.side is Side.BUY else -1
    assert position(core, done.instrument) == sign * done.quantity
    assert anomalies(core) == ["FILL_MISMATCH"]
    assert core.mode is (Mode.HALTED if trips else Mode.RUNNING)
    for book in core.books.values():
        assert min(exposure(book)[2:]) >= 0
    assert counted(core)
    assert working.remaining >= 0
    before = snapshot(core)
    assert core.on_fill(done) is None
    assert snapshot(core) == before


UNREADABLE: list[dict[str, Any]] = [
    *({field: wrong} for field in ("quantity", "price", "fee")
      for wrong in (0.5, 1, "1", None, D("NaN"), D("sNaN"), D("Infinity"), D("1E+999999"))),
    {"quantity": D(0)}, {"quantity": D(-1)}, {"quantity": D("0.01")}, {"price": D("0.0001")},
    {"fee": D("1E-13")}, {"instrument": "ZZZ"}, {"side": "buy"}, {"side": None},
    {"fill_id": 17}, {"fill_id": None}, {"fill_id": "f" * 65}, {"fill_id": ""},
]  # fmt: skip


@pytest.mark.parametrize("wrong", UNREADABLE, ids=str)
@pytest.mark.parametrize("trips", [True, False])
def test_unreadable_fill_is_an_anomaly(wrong: dict[str, Any], *, trips: bool) -> None:
    """A fill that cannot be read exactly is not booked, halts whatever is configured, and may be told again rightly."""
    core = running(anomaly__unknown_order="trip" if trips else "record")
    sent(core, order())
    assert core.on_fill(fill("o1", **({"fill_id": "f1"} | wrong))) is None
    assert anomalies(core) == ["FILL_UNREADABLE"]
    assert core.mode is Mode.HALTED
    assert core.on_fill(fill("o1", "f1")) is True
    assert position(core) == 1


@given(quantity=AWKWARD_NUMBERS, price=AWKWARD_NUMBERS, fee=AWKWARD_NUMBERS)
def test_awkward_fill_never_raises(quantity: Decimal, price: Decimal, fee: Decimal) -> None:
    """Whatever numbers a fill has, it is booked exactly or it is an anomaly."""
    core = running(**RICH)
    booked = core.on_fill(fill("foreign", "f1", quantity=quantity, price=price, fee=fee))
    assert booked in {False, None}
    if booked is None:
        assert anomalies(core) == ["FILL_UNREADABLE"]
        assert position(core) == 0
    else:
        assert exact(position(core)) == exact(quantity)


def test_fill_ids_are_counted_for_each_instrument() -> None:
    """Two instruments may have fills of the same id, as at venues that number trades by instrument."""
    core = running()
    assert core.on_fill(fill("foreign", "1")) is False
    assert core.on_fill(fill("foreign", "1", instrument=OTHER)) is False
    assert (position(core), position(core, OTHER)) == (1, 1)


# ---------------------------------------------------------------------------
# Any events at all


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "begin", "end", "fail", "void", "accept", "closed", "fill", "halt"]
        ),
        st.integers(0, 5), SIDES, st.integers(1, 15), st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(acts=ACTS, trips=st.booleans())
def test_reservations_are_what_is_working(acts: list[Any], *, trips: bool) -> None:  # noqa: C901 - one branch an event
    """Whatever the venue says, reservations are the sum of what is working, and the position of what was filled."""
    core = running(anomaly__unknown_order="trip" if trips else "record",
                   gate2__repeat_refuse_after=998, gate2__repeat_trip_after=999)  # fmt: skip
    handed: list[Any] = []
    held = Fraction(0)
    for number, (name, which, side, tenths, flag) in enumerate(acts):
        order_id = f"o{which}"
        working = next((w for w in handed if w.order.client_order_id == order_id), None)
        if name == "submit":
            wanted = order(order_id, side=side, quantity=D(tenths) / 10, reduce_only=flag)
            decided = core.decide(wanted, ARMED, 0, number)
            if not hasattr(decided, "reason"):
                handed.insert(0, decided)
        elif name == "begin" and working is not None:
            core.begin(working, ARMED)
        elif name in {"end", "fail"} and working is not None and working.number in core.in_flight:
            getattr(core, name)(working)
        elif name == "void" and working is not None:
            core.void(working)
        elif name == "accept":
            core.on_accept(order_id)
        elif name == "closed":
            core.on_closed(order_id, "cancelled")
        elif name == "halt" and flag and tenths == 1:
            core.observe(0)
        elif name == "fill":
            done: Fill = fill(order_id, f"f{number}", side=side, quantity=D(tenths) / 10)
            assert core.on_fill(done) is not None
            held += exact(done.quantity) * (1 if side is Side.BUY else -1)
        assert exact(position(core)) == held
        assert counted(core)
        for book in core.books.values():
            assert min(exposure(book)[2:]) >= 0
        flying = {w.number for w in handed if w.status is Status.SENDING}
        assert flying <= set(core.in_flight)


# ---------------------------------------------------------------------------
# Edges


def test_scale_remembers_what_it_converted_and_only_so_much() -> None:
    """A number is converted once; the scale is full at exactly its size, and empties itself for the next one."""
    scale = Scale(2, 1, Reason.OFF_LOT_GRID)
    for number in range(1, _CACHE_SIZE + 1):
        assert scale[str(number)][0] == 100 * number
    assert len(scale) == _CACHE_SIZE
    assert scale["7"] is scale["7"]
    assert scale["0.5"][0] == 50
    assert list(scale) == ["0.5"]


def test_account_without_limits_is_in_breach_and_never_trips() -> None:
    """No loss limit is no licence: nothing is allowed to it, at no equity; but there is no limit to halt for either."""
    account = Account("USD", 2, None)
    assert account.assess() is Reason.SESSION_LOSS
    account.equity = 5
    assert account.assess() is Reason.DRAWDOWN
    core = running("loss.USD")
    core.on_fill(fill("foreign", "f1"))
    for price in ("99", "98", "97", "96"):
        core.consult(quote(bid=D(price), ask=D(price)), ARMED, 0, NOW_US)
    assert (core.mode, breaches(core)) == (Mode.RUNNING, ["entered"])


def limited_account(**state: int) -> Account:
    """An account that may lose a thousand, six hundred from its peak."""
    account = Account("USD", 0, limits().loss["USD"])
    for name, value in state.items():
        setattr(account, name, value)
    return account


@pytest.mark.parametrize(
    ("equity", "peak", "said"),
    [
        (150, 700, None),
        (101, 700, None),
        (100, 700, Reason.DRAWDOWN),
        (-999, -999, None),
        (-1_000, -999, Reason.SESSION_LOSS),
    ],
)
def test_loss_is_measured_from_the_opening_and_from_the_peak(equity: int, peak: int, said: Reason | None) -> None:
    """Either limit is reached by exactly its amount: the one below the opening, the other below the peak."""
    assert limited_account(equity=equity, peak=peak).assess() is said


def test_session_forgives_what_came_before_it() -> None:
    """A session measures both losses from its own opening, and counts the marks of a breach anew."""
    account = limited_account(equity=-5_000, peak=3_000, marks=2, breached=Reason.DRAWDOWN)
    account.begin_session()
    assert (account.opening, account.peak, account.floor, account.marks, account.breached) == (
        -5_000, -5_000, -6_000, 0, None,
    )  # fmt: skip
    assert account.assess() is None
    account.equity = -6_000
    assert account.assess() is Reason.SESSION_LOSS


@pytest.mark.parametrize(("opening", "peak"), [("0.5", "9"), ("7", "0.5"), ("NaN", "Infinity")])
def test_account_takes_both_of_a_journals_figures_or_neither(opening: str, peak: str) -> None:
    """Opening and peak that do not both fit the account's scale leave it as it was."""
    account = limited_account(opening=1, peak=2, floor=-999)
    account.restore(opening=D(opening), peak=D(peak))
    assert (account.opening, account.peak, account.floor) == (1, 2, -999)


def test_account_measures_from_the_opening_that_a_journal_tells() -> None:
    """The session's loss is reached that far below the opening that was taken over."""
    account = limited_account()
    account.restore(opening=D(50), peak=D(80))
    assert (account.opening, account.peak, account.floor) == (50, 80, -950)


@pytest.mark.parametrize(
    ("value", "digits", "number"),
    [
        ("3E+25", 2, 3 * 10**27),
        ("9.9E+25", 0, 99 * 10**24),
        ("1E+26", 2, 10**27),
        ("7E+999", 3, 10**28),
        ("1.239", 2, 123),
    ],
)
def test_bound_is_rounded_down_and_never_written_out_too_large(value: str, digits: int, number: int) -> None:
    """A bound becomes the whole number below it; one beyond any quantity becomes the largest that there is."""
    assert _floor(D(value), digits) == number


def test_money_has_the_digits_that_its_instrument_needs() -> None:
    """Money is as fine as price, size and multiplier together, and never coarser than usual."""
    fine = limits().instruments[NAME][0]
    assert Book.money_digits(fine) == 12
    finer = attrs.evolve(fine, tick_size=D("1E-8"), lot_size=D("1E-7"), multiplier=D("1E-3"))
    assert Book.money_digits(finer) == 8 + 2 + 7 + 3


@pytest.mark.parametrize("side", Side)
def test_exit_reserves_on_its_side_until_it_is_over(side: Side) -> None:
    """What an exit reserves is told apart from other orders of its side, and goes with it, part by part."""
    core = running()
    against = Side.SELL if side is Side.BUY else Side.BUY
    core.on_fill(fill("foreign", "f1", quantity=D(5), side=against))
    sent(core, order("exit", side=side, quantity=D(4), reduce_only=True))
    sent(core, order("other", side=side, quantity=D("0.5")))
    book = core.books[NAME]

    def reserved() -> tuple[int, int]:
        return (book.exits_buying, book.buying) if side is Side.BUY else (book.exits_selling, book.selling)

    assert reserved() == (40, 45)
    core.on_fill(fill("exit", "f2", side=side, quantity=D(1)))
    assert reserved() == (30, 35)
    core.on_closed("other", "cancelled")
    assert reserved() == (30, 30)
    core.on_closed("exit", "cancelled")
    assert (book.exits_buying, book.exits_selling, book.buying, book.selling) == (0, 0, 0, 0)


def test_tick_of_a_flat_instrument_is_marked_while_a_loss_lasts() -> None:
    """A bid of nothing is no mark yet: the first tick of an instrument that nobody held raises nothing."""
    core = running(gate1__non_positive_price="off", gate1__crossed_quote="off")
    core.on_fill(fill("foreign", "f1", quantity=D(10), price=D(300)))
    assert breaches(core) == ["entered"]
    assert core.consult(quote(instrument=OTHER, bid=D(0), ask=D(1)), ARMED, 0, NOW_US)
    assert "CHECK_RAISED" not in anomalies(core)


def test_scale_keeps_a_hundred_digits_exactly() -> None:
    """A number of 26 digits before the point and 74 after it fits; with one more on either side it does not."""
    most = D("9" * 26 + "." + "9" * 74)
    assert scaled(most, 74) == int("9" * 100)
    assert scaled(D("9" * 26 + "." + "9" * 75), 75) is None
    assert scaled(D("1E+26"), 0) is None


def test_price_is_two_digits_finer_than_its_tick() -> None:
    """A mid-point, and half of one, has a place in a book of prices."""
    book = running().books[NAME]
    assert (book.price_digits, book.size_digits) == (3, 1)
