"""Gate 2: each check alone, at its boundary, before every later one; and what it all adds up to.

The last part drives a core through random orders, fills and cancels, and asks an oracle
that shares nothing with it: fractions, a list of orders, and every order in which they
might be filled.
"""

import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.builders import (
    ANYTHING,
    AWKWARD_NUMBERS,
    MS,
    NAME,
    NOT_ARMED,
    NOW_US,
    OTHER,
    SIDES,
    D,
    Hostile,
    anomalies,
    breaches,
    counted,
    decide,
    exact,
    exposure,
    fill,
    granted,
    halts,
    lots,
    market,
    order,
    position,
    quote,
    raw,
    refused,
    running,
    sent,
    snapshot,
    started,
)

from interlock.core.flow import Recent, Repeats, TokenBucket
from interlock.core.ledger import Status, Working
from interlock.core.machine import Breach
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode, Reason
from interlock.core.tickets import Ticket
from interlock.core.values import Cancel, Order, OrderType, Side, TimeInForce, Verdict

NS = 1_000_000_000


# ---------------------------------------------------------------------------
# Each check alone, and before every later one


@attrs.define
class Scene:
    """What a violation may change: limits, history, the core itself, the order, the moment."""

    limits: dict[str, object] = attrs.field(factory=dict)
    history: list[Callable[[Core], object]] = attrs.field(factory=list)
    crowd: list[Callable[[Core], object]] = attrs.field(factory=list)
    losses: list[Callable[[Core], object]] = attrs.field(factory=list)
    tampering: list[Callable[[Core], object]] = attrs.field(factory=list)
    order: dict[str, object] = attrs.field(factory=dict)
    latch: int = ARMED
    mono_ns: int = 0

    def core(self) -> Core:
        """Return the core, brought to the moment of the order."""
        core = running(**{"gate2__message_burst": 20, "gate2__messages_per_s": 1} | self.limits)
        for act in (*self.history, *self.crowd, *self.losses, *self.tampering):
            act(core)
        core.notices.clear()
        return core

    def play(self) -> tuple[Core, Working | Verdict]:
        """Return the core, and its answer."""
        core = self.core()
        number = 1_000 + len(core.working)
        wanted = order(**({"side": Side.SELL} | self.order))  # type: ignore[arg-type] # said loosely
        return core, core.decide(wanted, self.latch, self.mono_ns, number)


Violation = Callable[[Scene], None]


def latch_is_not_armed(scene: Scene) -> None:
    """Another process has halted."""
    scene.latch = 0


def gate_is_closed(scene: Scene) -> None:
    """A drain has begun."""
    scene.tampering.append(Core.close_gate)


def heartbeat_is_overdue(scene: Scene) -> None:
    """The loop has not been heard for too long."""
    scene.mono_ns = 2 * NS + 1


def instrument_is_unknown(scene: Scene) -> None:
    """There are no limits for it."""
    scene.order["instrument"] = "ZZZ"


def bound_is_missing(scene: Scene) -> None:
    """One of its limits is not set."""

    def unset(core: Core) -> None:
        core.books[NAME].missing = f"instruments.{NAME}.max_quantity"

    scene.tampering.append(unset)


def id_is_malformed(scene: Scene) -> None:
    """Its id has a space."""
    scene.order["client_order_id"] = "o 1"


def side_is_malformed(scene: Scene) -> None:
    """Its side is a text that looks right."""
    scene.order["side"] = "sell"


def flag_is_malformed(scene: Scene) -> None:
    """Its flag is a number."""
    scene.order["reduce_only"] = 0


def quantity_is_malformed(scene: Scene) -> None:
    """Its quantity is a float."""
    scene.order["quantity"] = 1.0


def quantity_is_off_the_grid(scene: Scene) -> None:
    """Its quantity is no multiple of the lot size."""
    scene.order["quantity"] = D("1.05")


def type_is_malformed(scene: Scene) -> None:
    """It is a limit order without a price."""
    scene.order["price"] = None


def price_is_off_the_grid(scene: Scene) -> None:
    """Its price is no multiple of the tick size."""
    scene.order["price"] = D("100.25")


def id_is_known(scene: Scene) -> None:
    """Its id was used by an order that is long over."""

    def use(core: Core) -> None:
        order_id = "o 1" if scene.order.get("client_order_id") == "o 1" else "o1"
        if order_id == "o1":
            sent(core, order(order_id, quantity=D("0.1")))
            core.on_closed(order_id, "cancelled")

    scene.history.append(use)


def reference_is_missing(scene: Scene) -> None:
    """No good tick was seen."""

    def forget(core: Core) -> None:
        core.books[NAME].reference = None

    scene.tampering.append(forget)


def reference_is_stale(scene: Scene) -> None:
    """The last good tick is too old."""

    def age(core: Core) -> None:
        core.books[NAME].reference_mono_ns = scene.mono_ns - 500 * MS - 1

    scene.tampering.append(age)


def price_is_far_away(scene: Scene) -> None:
    """Its price is outside the collar."""
    scene.order.setdefault("price", D(103))


def quantity_is_large(scene: Scene) -> None:
    """Its quantity is over the limit."""
    scene.limits[f"instruments__{NAME}__max_quantity"] = "0.9"


def notional_is_large(scene: Scene) -> None:
    """It is worth more than the limit."""
    scene.limits[f"instruments__{NAME}__max_notional"] = 99


def position_is_large(scene: Scene) -> None:
    """It could make a position over the limit."""
    scene.limits[f"instruments__{NAME}__max_position"] = "0.4"


def exit_would_turn(scene: Scene) -> None:
    """It is to reduce a position that is not there."""
    scene.order.setdefault("reduce_only", True)


def exit_is_pending(scene: Scene) -> None:
    """It could turn a position that an exit was to close."""

    def place(core: Core) -> None:
        core.on_fill(fill("foreign", "f0", quantity=D("0.2")))
        sent(core, order("exit", side=Side.SELL, quantity=D("0.2"), reduce_only=True))

    scene.history.append(place)


def too_many_are_open(scene: Scene) -> None:
    """As many orders are working as may be."""
    scene.limits[f"instruments__{NAME}__max_open_orders"] = 2

    def place(core: Core) -> None:
        book = core.books[NAME]
        while book.open_orders < book.max_open:
            sent(core, order(f"open{book.open_orders}", quantity=D("0.1")))

    scene.crowd.append(place)


def messages_are_too_many(scene: Scene) -> None:
    """No token is left, nor will be for some seconds."""

    def drain(core: Core) -> None:
        for _ in range(40):
            core.cancel(Cancel(client_order_id="o1", instrument=NAME), 0)

    scene.tampering.append(drain)


class Looping(Repeats):
    """Has seen every order four times before."""

    __slots__ = ()

    def count(self, kind: object, mono_ns: int, enough: int) -> int:
        """Return five."""
        super().count(kind, mono_ns, enough)
        return 5


def order_repeats(scene: Scene) -> None:
    """It was seen four times before."""

    def loop(core: Core) -> None:
        core.repeats = Looping(NS, 6)

    scene.tampering.append(loop)


def session_is_lost(scene: Scene) -> None:
    """A thousand and more were lost in another instrument."""

    def lose(core: Core) -> None:
        for number, (side, price) in enumerate(((Side.BUY, D(130)), (Side.SELL, D(100)))):
            fault = fill("foreign", f"loss{number}", instrument=OTHER, side=side, price=price)
            core.on_fill(fault)

    scene.losses.append(lose)


def peak_is_far_above(scene: Scene) -> None:
    """Six hundred and more were won, and then lost, in another instrument."""

    def lose(core: Core) -> None:
        for number, price in enumerate((D(100), D(120), D(120), D(105))):
            side = Side.SELL if number % 2 else Side.BUY
            fault = fill("foreign", f"loss{number}", instrument=OTHER, side=side, price=price)
            core.on_fill(fault)

    scene.losses.append(lose)


CHECKS: list[tuple[Violation, Reason, str | None, str | None]] = [
    (latch_is_not_armed, Reason.HALTED, None, None),
    (gate_is_closed, Reason.GATE_CLOSED, None, None),
    (heartbeat_is_overdue, Reason.HEARTBEAT_OVERDUE, "2000000000", "2000000001"),
    (instrument_is_unknown, Reason.UNKNOWN_INSTRUMENT, None, "ZZZ"),
    (bound_is_missing, Reason.NO_LIMITS, f"instruments.{NAME}.max_quantity", None),
    (id_is_malformed, Reason.MALFORMED, "client_order_id: 1 to 64 printable ASCII", "'o 1'"),
    (side_is_malformed, Reason.MALFORMED, "side: Side, time_in_force: TimeInForce", "'sell' <TimeInForce.DAY: 'day'>"),
    (flag_is_malformed, Reason.MALFORMED, "reduce_only: bool", "0"),
    (quantity_is_malformed, Reason.MALFORMED, "quantity: Decimal", "1.0"),
    (quantity_is_off_the_grid, Reason.OFF_LOT_GRID, "positive multiple of 0.1", "1.05"),
    (
        type_is_malformed, Reason.MALFORMED,
        "limit with a Decimal price, or market without", "<OrderType.LIMIT: 'limit'> None",
    ),
    (price_is_off_the_grid, Reason.OFF_TICK_GRID, "positive multiple of 0.5", "100.25"),
    (id_is_known, Reason.DUPLICATE_ID, None, "o1"),
    (reference_is_missing, Reason.NO_REFERENCE, None, None),
    (reference_is_stale, Reason.REFERENCE_STALE, "500000000", "500000001"),
    (price_is_far_away, Reason.PRICE_COLLAR, "200 bps of 100", "103"),
    (quantity_is_large, Reason.MAX_QUANTITY, "0.9", "1"),
    (notional_is_large, Reason.MAX_NOTIONAL, "99", "100"),
    (position_is_large, Reason.MAX_POSITION, "0.4", "1"),
    (exit_would_turn, Reason.REDUCE_ONLY, "0", "1"),
    (exit_is_pending, Reason.EXIT_RESERVED, "0", "1"),
    (too_many_are_open, Reason.MAX_OPEN_ORDERS, "2", "3"),
    (messages_are_too_many, Reason.MESSAGE_RATE, "1", "-20"),
    (order_repeats, Reason.ORDER_LOOP, "3", "5"),
    (session_is_lost, Reason.SESSION_LOSS, "1000", "1500"),
    (peak_is_far_above, Reason.DRAWDOWN, "600", "750"),
]  # fmt: skip
ORDERED = [violation for violation, *_ in CHECKS]
REASONS = {violation: reason for violation, reason, *_ in CHECKS}
EXCLUDED = {
    (reference_is_missing, reference_is_stale),
    (exit_would_turn, exit_is_pending),
    (session_is_lost, peak_is_far_above),
    (flag_is_malformed, exit_would_turn),
    (type_is_malformed, price_is_off_the_grid),
    (type_is_malformed, price_is_far_away),
    (price_is_off_the_grid, price_is_far_away),
    (quantity_is_malformed, quantity_is_off_the_grid),
}
"""Pairs that one order cannot violate at once, as they ask two things of one field."""


@pytest.mark.parametrize(("violation", "reason", "limit", "value"), CHECKS)
def test_check_refuses_alone(violation: Violation, reason: Reason, limit: str | None, value: str | None) -> None:
    """An order that violates one check is refused by it, with the limit and what was held against it."""
    scene = Scene()
    violation(scene)
    _, verdict = scene.play()
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.limit, verdict.value) == (reason, limit, value)


def test_order_that_violates_nothing_is_granted() -> None:
    """Without any violation the order of the scene is granted, so each refusal is its violation's."""
    _, working = Scene().play()
    assert isinstance(working, Working)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDERED, 2)))
def test_earlier_check_refuses_first(first: Violation, second: Violation) -> None:
    """An order that violates two checks is refused by the one that stands earlier."""
    if (first, second) in EXCLUDED:
        return
    scene = Scene()
    for violation in (second, first):  # the first one has the last word on what both set
        violation(scene)
    _, verdict = scene.play()
    assert isinstance(verdict, Verdict)
    assert verdict.reason is REASONS[first]


@pytest.mark.parametrize("violation", ORDERED)
def test_refusal_changes_nothing(violation: Violation) -> None:
    """A refusal leaves positions, reservations, ids, tokens and modes as they were."""
    scene = Scene()
    violation(scene)
    before = snapshot(scene.core())
    core, _ = scene.play()
    if violation is latch_is_not_armed:
        assert core.mode is Mode.HALTED
    else:
        assert snapshot(core) == before
        assert core.notices == []
    assert counted(core)


def test_every_reason_of_gate_2_is_met() -> None:
    """Each reason that gate 2 can give is given by some check of this file."""
    ours = list(Reason)
    those = set(ours[ours.index(Reason.NO_LIMITS) : ours.index(Reason.DRAWDOWN) + 1])
    assert those <= set(REASONS.values())


@given(latch=NOT_ARMED)
def test_unarmed_latch_halts(latch: int) -> None:
    """Every byte but the armed one refuses, and takes back what was granted, in the same step."""
    core = running()
    working = granted(core, order())
    verdict = core.decide(order("o2"), latch, 0, 1)
    assert isinstance(verdict, Verdict)
    assert verdict.reason is Reason.HALTED
    (notice,) = halts(core)
    assert notice.voided == (working,)
    assert (core.working, core.books[NAME].open_orders) == ({}, 0)


@pytest.mark.parametrize("mode", [Mode.IDLE, Mode.HALTED])
def test_mode_refuses(mode: Mode) -> None:
    """Outside RUNNING every order is refused, smaller ones and exits too."""
    core = running()
    core.on_fill(fill("foreign", "f1"))
    core.close_gate()
    core.mode = mode
    exit_ = order(side=Side.SELL, reduce_only=True)
    for wanted in (order(), order(quantity=D("0.1")), exit_, market()):
        reason = Reason.HALTED if mode is Mode.HALTED else Reason.NOT_RUNNING
        assert refused(core, wanted).reason is reason


# ---------------------------------------------------------------------------
# Boundaries, in exact numbers


def test_heartbeat_boundary() -> None:
    """An order passes exactly when the heartbeat is due, and not a nanosecond later."""
    core = running(gate2__max_reference_age_ms=10_000)
    granted(core, order("o1"), 2 * NS)
    assert refused(core, order("o2"), 2 * NS + 1).reason is Reason.HEARTBEAT_OVERDUE
    core.beat(1)
    granted(core, order("o2"), 2 * NS + 1)


def test_reference_boundary() -> None:
    """A reference of exactly the greatest age is good, and not a nanosecond more."""
    core = running()
    granted(core, order("o1"), 500 * MS)
    assert refused(core, order("o2"), 500 * MS + 1).reason is Reason.REFERENCE_STALE


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("price", "passes"), [("98", True), ("97.5", False), ("102", True), ("102.5", False)])
def test_collar_has_two_sides(side: Side, price: str, *, passes: bool) -> None:
    """A price exactly at the collar passes, one tick further is refused, above and below, for both sides."""
    decided = decide(running(), order(side=side, price=D(price)))
    assert isinstance(decided, Working) is passes
    if isinstance(decided, Verdict):
        assert decided.reason is Reason.PRICE_COLLAR


@settings(deadline=None)
@given(
    bid=st.integers(1, 4_000),
    spread=st.integers(0, 400),
    price=st.integers(1, 4_000),
    bps=st.decimals("0.01", "20000", places=2),
    side=SIDES,
)
def test_collar_is_exact(bid: int, spread: int, price: int, bps: Decimal, side: Side) -> None:
    """The collar lets through what is within so many hundredths of a per cent of the exact middle."""
    core = started(**{f"instruments__{NAME}__{key}": 10**9 for key in ("max_notional",)} | {
        f"instruments__{NAME}__collar_bps": bps
    })  # fmt: skip
    low, high, wanted = D(bid) / 2, D(bid + spread) / 2, D(price) / 2
    assert core.consult(quote(bid=low, ask=high), ARMED, 0, NOW_US)
    middle = (exact(low) + exact(high)) / 2
    within = abs(exact(wanted) - middle) / middle * 10_000 <= exact(bps)
    decided = decide(core, order(side=side, price=wanted))
    assert isinstance(decided, Working) is within
    at_market = decide(core, market("o2", side=side))
    touch = exact(high if side is Side.BUY else low)
    assert isinstance(at_market, Working) is (abs(touch - middle) / middle * 10_000 <= exact(bps))


def test_quantity_boundary() -> None:
    """A quantity exactly at its limit passes, and one lot more does not."""
    core = running()
    assert refused(core, order(quantity=D("10.1"))).reason is Reason.MAX_QUANTITY
    granted(core, order(quantity=D(10)))


def test_limit_between_two_lots_counts_downward() -> None:
    """A limit that is no multiple of the lot size lets through the last lot below it."""
    core = running(**{f"instruments__{NAME}__max_quantity": "1.99999"})
    assert refused(core, order(quantity=D(2))).reason is Reason.MAX_QUANTITY
    granted(core, order(quantity=D("1.9")))


@settings(deadline=None)
@given(
    bid=st.integers(1, 400),
    spread=st.integers(0, 40),
    price=st.none() | st.integers(1, 400),
    size=lots(1, 100),
    most=st.decimals("0.001", "2000", places=3),
    side=SIDES,
    multiplier=st.sampled_from(["1", "0.1", "50", "0.003"]),
)
def test_notional_is_exact(  # noqa: PLR0913 - a formula of seven numbers
    *, bid: int, spread: int, price: int | None, size: Decimal, most: Decimal, side: Side, multiplier: str
) -> None:
    """An order passes if and only if quantity, times the greater of its price and the middle, is within the limit."""
    core = started(**{
        f"instruments__{NAME}__collar_bps": 10**9,
        f"instruments__{NAME}__max_notional": most,
        f"instruments__{NAME}__multiplier": multiplier,
    })  # fmt: skip
    low, high = D(bid) / 2, D(bid + spread) / 2
    assert core.consult(quote(bid=low, ask=high), ARMED, 0, NOW_US)
    touch = high if side is Side.BUY else low
    wanted = market(side=side, quantity=size)
    if price is not None:
        wanted = order(side=side, quantity=size, price=D(price) / 2)
        touch = D(price) / 2
    worth = max(exact(touch), (exact(low) + exact(high)) / 2) * exact(size) * Fraction(multiplier)
    decided = decide(core, wanted)
    assert isinstance(decided, Working) is (worth <= exact(most))
    if isinstance(decided, Verdict):
        assert decided.reason is Reason.MAX_NOTIONAL


def test_notional_counts_below_zero_too() -> None:
    """Where prices may be negative, an order is worth what changes hands, whichever way."""
    core = started(gate1__non_positive_price="off", **{f"instruments__{NAME}__max_notional": 50})
    assert core.consult(quote(bid=D(-100), ask=D(-100)), ARMED, 0, NOW_US)
    verdict = refused(core, market())
    assert (verdict.reason, verdict.value) == (Reason.MAX_NOTIONAL, "100")
    granted(core, market(quantity=D("0.5")))


def test_position_boundary() -> None:
    """Held, working and wanted together may be exactly the limit, and not one lot more."""
    core = running(**{f"instruments__{NAME}__max_open_orders": 9})
    core.on_fill(fill("foreign", "f1", quantity=D(8)))
    sent(core, order("o1", quantity=D(7)))
    assert refused(core, order("o2", quantity=D("5.1"))).reason is Reason.MAX_POSITION
    granted(core, order("o2", quantity=D(5)))
    assert refused(core, order("o3", quantity=D("0.1"))).reason is Reason.MAX_POSITION
    for name in ("s1", "s2"):
        granted(core, order(name, side=Side.SELL, quantity=D(10)))
    assert refused(core, order("s3", side=Side.SELL, quantity=D("8.1"))).reason is Reason.MAX_POSITION
    granted(core, order("s3", side=Side.SELL, quantity=D(8)))


def test_open_orders_boundary() -> None:
    """As many orders may work as the limit says; one that is over makes room, one that is filled too."""
    core = running()
    for number in range(5):
        sent(core, order(f"o{number}", price=D(98) + D(number) / 2))
    assert refused(core, order("o5", price=D("99.5"))).reason is Reason.MAX_OPEN_ORDERS
    core.on_fill(fill("o0", "f0", quantity=D("0.9")))
    assert refused(core, order("o5", price=D("99.5"))).reason is Reason.MAX_OPEN_ORDERS
    core.on_fill(fill("o0", "f1", quantity=D("0.1")))
    granted(core, order("o5", price=D("99.5")))
    core.on_closed("o1", "cancelled")
    granted(core, order("o6", price=D("99.5")))


def test_exit_boundary() -> None:
    """An exit may close the position exactly, all exits together, and not one lot more."""
    core = running()
    core.on_fill(fill("foreign", "f1", quantity=D(3)))
    verdict = refused(core, order("x1", side=Side.SELL, quantity=D("3.1"), reduce_only=True))
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.REDUCE_ONLY, "3", "3.1")
    granted(core, order("x1", side=Side.SELL, quantity=D(2), reduce_only=True))
    verdict = refused(core, order("s1", side=Side.SELL, quantity=D("1.1")))
    assert (verdict.reason, verdict.limit) == (Reason.EXIT_RESERVED, "1")
    granted(core, order("s1", side=Side.SELL, quantity=D("0.4")))
    granted(core, order("x2", side=Side.SELL, quantity=D("0.6"), reduce_only=True))
    assert refused(core, order("b1", reduce_only=True)).reason is Reason.REDUCE_ONLY
    granted(core, order("b1"))


def test_exit_that_is_over_gives_its_room_back() -> None:
    """An exit that was cancelled or filled holds no other order back."""
    core = running()
    core.on_fill(fill("foreign", "f1", quantity=D(1)))
    sent(core, order("x1", side=Side.SELL, reduce_only=True))
    assert refused(core, order("s1", side=Side.SELL)).reason is Reason.EXIT_RESERVED
    core.on_closed("x1", "cancelled")
    granted(core, order("s1", side=Side.SELL))


# ---------------------------------------------------------------------------
# Limits that are not set, orders that are none


@pytest.mark.parametrize("key", ["collar_bps", "max_quantity", "max_notional", "max_position", "max_open_orders"])
def test_unset_bound_refuses(key: str) -> None:
    """A bound that is not set refuses every order of its instrument, by name, and of no other."""
    core = running(f"instruments.{NAME}.{key}")
    verdict = refused(core, order(quantity=D("0.1")))
    assert (verdict.reason, verdict.limit) == (Reason.NO_LIMITS, f"instruments.{NAME}.{key}")
    granted(core, order(instrument=OTHER))


def test_unset_loss_refuses() -> None:
    """A currency without a loss limit refuses the orders of all its instruments."""
    core = running("loss.USD")
    for name in (NAME, OTHER):
        verdict = refused(core, order(instrument=name))
        assert (verdict.reason, verdict.limit) == (Reason.NO_LIMITS, "loss.USD")


def test_unset_flow_refuses() -> None:
    """Without limits of order flow no order passes, even if the core could be started."""
    core = running()
    core.gate2 = None
    assert refused(core, order()).reason is Reason.NO_LIMITS
    assert started().gate2 is not None


IDS = st.one_of(st.text(max_size=70), st.from_regex(r"\A[!-~]{1,64}\Z"), st.from_regex(r"\A[!-~]{64,66}\Z"))


@given(order_id=IDS)
def test_order_id_is_printable_ascii(order_id: str) -> None:
    """An id passes if and only if it is 1 to 64 characters between exclamation mark and tilde."""
    good = 1 <= len(order_id) <= 64 and all("!" <= letter <= "~" for letter in order_id)
    decided = decide(running(), order(order_id))
    assert isinstance(decided, Working) is good
    if isinstance(decided, Verdict):
        assert decided.reason is Reason.MALFORMED


@pytest.mark.parametrize("field", ["quantity", "price"])
@given(number=AWKWARD_NUMBERS)
def test_awkward_number_is_refused(field: str, number: Decimal) -> None:
    """NaN, infinities, and numbers too large, too fine or not positive are refused, and never raise."""
    core = running()
    verdict = refused(core, order(**{field: number}))
    expected = {Reason.MALFORMED, Reason.OFF_LOT_GRID, Reason.OFF_TICK_GRID}
    if number.is_finite() and number.adjusted() == 25:
        expected = {Reason.PRICE_COLLAR, Reason.MAX_QUANTITY}
    assert verdict.reason in expected
    assert anomalies(core) == []


@pytest.mark.parametrize("field", ["quantity", "price"])
@pytest.mark.parametrize("number", [1.0, 100.0, float("nan"), 1, "1", True, Fraction(1)])
def test_number_that_is_no_decimal_is_refused(field: str, number: Any) -> None:
    """A float, or anything but a Decimal, is refused, though its value may be right."""
    assert refused(running(), order(**{field: number})).reason is Reason.MALFORMED


def test_same_number_may_be_written_in_many_ways() -> None:
    """A quantity is on the grid or not by its value, however many zeros it is written with."""
    core = running()
    for place, text in enumerate(("1", "1.0", "1.00000000", "0.1E+1", "10E-1")):
        assert granted(core, order(f"o{place}", quantity=D(text), price=D(98 + place))).size_text == "1"


def test_market_order_has_no_price_and_limit_order_has_one() -> None:
    """Type and price must fit: a market order with a price is refused like a limit order without."""
    core = running()
    wrong = [
        order(price=None),
        attrs.evolve(market(), price=D(100)),
        order(order_type="limit"),
        order(order_type=None),
        order(time_in_force="gtc"),
        order(side=None),
        order(reduce_only=None),
    ]
    for one in wrong:
        assert refused(core, one).reason is Reason.MALFORMED
    granted(core, market())


def test_market_order_is_judged_at_the_touch() -> None:
    """A market order is judged at the price that it would take: the ask to buy, the bid to sell."""
    core = started(**{f"instruments__{NAME}__collar_bps": 99})
    assert core.consult(quote(bid=D(99), ask=D(101)), ARMED, 0, NOW_US)
    for side, price in ((Side.BUY, "101"), (Side.SELL, "99")):
        verdict = refused(core, market(side=side))
        assert (verdict.reason, verdict.value) == (Reason.PRICE_COLLAR, price)


ORDERS = st.one_of(
    ANYTHING,
    st.builds(
        Order, client_order_id=ANYTHING, instrument=st.just(NAME) | ANYTHING, side=SIDES | ANYTHING,
        quantity=ANYTHING, order_type=st.sampled_from(OrderType) | ANYTHING, price=ANYTHING,
        time_in_force=st.sampled_from(TimeInForce) | ANYTHING, reduce_only=st.booleans() | ANYTHING,
    ),
    st.builds(
        Order, client_order_id=st.just("o1") | IDS, instrument=st.just(NAME), side=SIDES,
        quantity=lots(-5, 120) | ANYTHING, order_type=st.sampled_from(OrderType),
        price=st.none() | lots(900, 1_100) | ANYTHING, reduce_only=st.booleans(),
    ),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(wanted=st.lists(ORDERS, max_size=5))
def test_no_order_makes_the_gate_raise(wanted: list[Any]) -> None:
    """Whatever is handed over is granted or refused, a refusal changes nothing, and nothing halts."""
    core = running()
    for one in wanted:
        before = snapshot(core)
        decided = decide(core, one)
        if isinstance(decided, Verdict):
            assert not decided
            assert decided.reason is not Reason.ACCEPTED
            assert all(said is None or type(said) is str for said in (decided.limit, decided.value))
            assert snapshot(core) == before
        else:
            assert type(one) is Order
            assert core.working[one.client_order_id] is decided
        assert counted(core)
    assert core.mode is Mode.RUNNING


def test_raising_check_refuses() -> None:
    """A check that raises refuses, is an anomaly, and changes nothing else."""
    core = running()
    before = snapshot(core)
    for hostile in (order(instrument=Hostile()), order(instrument=[1]), order(price=D(100), quantity=Hostile())):
        assert refused(core, hostile).reason is Reason.CHECK_RAISED
    assert anomalies(core) == ["CHECK_RAISED"] * 3
    assert snapshot(core) == before


# ---------------------------------------------------------------------------
# Ids


def test_id_is_used_once() -> None:
    """An id that was granted is refused again, whatever has become of the order, but not if it was void."""
    core = running()
    void = granted(core, order("void"))
    assert core.void(void)
    assert not core.void(void)
    granted(core, order("void"))
    sent(core, order("sent", price=D(99)))
    failed = granted(core, order("failed", price=D(98)))
    assert core.begin(failed, ARMED)
    core.fail(failed)
    sent(core, order("gone", price=D("98.5")))
    core.on_closed("gone", "reject")
    for name in ("void", "sent", "failed", "gone"):
        assert refused(core, order(name, side=Side.SELL)).reason is Reason.DUPLICATE_ID


def test_working_id_is_never_forgotten() -> None:
    """An order that is still working keeps its id, however many ids were used after it."""
    core = running(gate2__remember_ids=1, **{f"instruments__{NAME}__max_open_orders": 99})
    sent(core, order("old", quantity=D("0.1")))
    for number in range(9):
        sent(core, order(f"o{number}", quantity=D("0.1"), price=D(98) + D(number) / 2))
    assert "old" not in core.ids
    assert refused(core, order("old", quantity=D("0.1"))).reason is Reason.DUPLICATE_ID
    assert counted(core)


@given(
    keep=st.integers(1, 5),
    acts=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60),
)
def test_recent_remembers_the_last(keep: int, acts: list[tuple[int, bool]]) -> None:
    """The last so many names are remembered unless they were freed, and never more than twice as many."""
    recent = Recent(keep)
    added: list[str | None] = []
    for number, forget in acts:
        name = str(number)
        if forget:
            recent.forget(name)
            added = [None if other == name else other for other in added]
            assert name not in recent
        elif name not in recent:
            recent.add(name)
            added.append(name)
        assert all(name in recent for name in added[-keep:] if name is not None)
        assert len(recent.young.keys() | recent.old.keys()) <= 2 * keep
        assert recent.young.keys() | recent.old.keys() <= set(added)


# ---------------------------------------------------------------------------
# Message rate


@settings(deadline=None)
@given(
    per_second=st.integers(1, 50),
    burst=st.integers(1, 5),
    acts=st.lists(st.tuples(st.integers(-2 * NS, 2 * NS) | st.integers(0, 3), st.integers(0, 4)), max_size=40),
)
def test_bucket_is_exact(per_second: int, burst: int, acts: list[tuple[int, int]]) -> None:
    """The bucket agrees with one in fractions: refilled by time that has passed, never by time that goes back."""
    bucket = TokenBucket(per_second, burst)
    level, latest, now = Fraction(burst), 0, 0
    for passed, takes in acts:
        now += passed
        if now > latest:
            level = min(Fraction(burst), level + Fraction((now - latest) * per_second, NS))
            latest = now
        assert bucket.ready(now) is (level >= 1)
        assert bucket.tokens == level // 1
        for _ in range(takes):
            bucket.take()
            level = max(level - 1, Fraction(-burst))


def test_refill_is_exact_to_the_nanosecond() -> None:
    """A token of three a second is there after a third of a second, rounded up, and not before."""
    core = running(gate2__message_burst=1, gate2__messages_per_s=3)
    granted(core, order("o1"))
    assert refused(core, order("o2"), 333_333_333).reason is Reason.MESSAGE_RATE
    granted(core, order("o2"), 333_333_334)


def test_refused_order_takes_no_token() -> None:
    """Only what was granted, and cancels, count as messages."""
    core = running(gate2__message_burst=1)
    for _ in range(5):
        assert refused(core, order(quantity=D(11))).reason is Reason.MAX_QUANTITY
    assert refused(core, order(side=Side.SELL, reduce_only=True)).reason is Reason.REDUCE_ONLY
    granted(core, order())


def test_cancel_takes_a_token_and_is_never_refused() -> None:
    """Cancels count against the rate of orders, and go into debt no deeper than one burst."""
    core = running(gate2__message_burst=2, gate2__messages_per_s=1)
    for _ in range(100):
        core.cancel(Cancel(client_order_id="o1", instrument=NAME), 0)
    assert core.bucket.tokens == -2
    core.beat(3 * NS)
    assert core.consult(quote(), ARMED, 3 * NS, NOW_US)
    assert refused(core, order(), 3 * NS - 1).reason is Reason.MESSAGE_RATE
    granted(core, order(), 3 * NS)


@pytest.mark.parametrize("mode", Mode)
def test_cancel_passes_in_every_mode(mode: Mode) -> None:
    """A cancel is counted and changes nothing else, in every mode, of any order, known or not."""
    core = running()
    sent(core, order())
    core.close_gate()
    core.mode = mode
    before = snapshot(core)[:-1]
    for name in ("o1", "never seen", "", "x" * 1_000):
        core.cancel(Cancel(client_order_id=name, instrument=NAME), 0)
    assert snapshot(core)[:-1] == before
    assert core.notices == []


# ---------------------------------------------------------------------------
# Order loop


def looping(core: Core, times: int, mono_ns: int = 0, **changes: object) -> list[Reason]:
    """Hand the same order over under ever new ids."""
    answers = []
    for _ in range(times):
        decided = decide(core, order(f"loop{next(IDS_USED)}", **changes), mono_ns)
        answers.append(decided.reason if isinstance(decided, Verdict) else Reason.ACCEPTED)
    return answers


IDS_USED = itertools.count()
OPEN = {f"instruments__{NAME}__max_open_orders": 99}
PASSED, LOOPED = Reason.ACCEPTED, Reason.ORDER_LOOP


@pytest.mark.parametrize(("refuse", "trip"), [(1, 2), (3, 6), (1, 9), (5, 6)])
def test_loop_trips_at_exactly_its_count(refuse: int, trip: int) -> None:
    """So many pass, the next is refused, and the one that makes the count halts, and none after it passes."""
    core = running(gate2__repeat_refuse_after=refuse, gate2__repeat_trip_after=trip, **OPEN)
    assert looping(core, trip - 1) == [PASSED] * refuse + [LOOPED] * (trip - 1 - refuse)
    assert (core.mode, halts(core)) == (Mode.RUNNING, [])
    assert looping(core, 1) == [LOOPED]
    (notice,) = halts(core)
    assert (core.mode, notice.cause.code) == (Mode.HALTED, HaltCode.ORDER_LOOP)
    assert f"{trip} identical orders for {NAME}" in notice.cause.reason
    assert looping(core, 1) == [Reason.HALTED]


DIFFERENT: list[dict[str, object]] = [
    {"side": Side.SELL}, {"quantity": D(2)}, {"price": D(99)}, {"time_in_force": TimeInForce.IOC},
    {"instrument": OTHER}, {"order_type": OrderType.MARKET, "price": None},
]  # fmt: skip


@pytest.mark.parametrize("change", DIFFERENT, ids=str)
def test_different_orders_are_no_loop(change: dict[str, object]) -> None:
    """An order that differs in anything but its id is counted by itself."""
    core = running(**OPEN)
    assert looping(core, 4) == [PASSED] * 3 + [LOOPED]
    assert looping(core, 4, **change) == [PASSED] * 3 + [LOOPED]


def test_same_number_written_otherwise_is_the_same_order() -> None:
    """A loop cannot hide behind trailing zeros."""
    core = running(**OPEN)
    for quantity, price in (("1", "100.0"), ("1.0", "100"), ("1.00", "1E+2")):
        assert looping(core, 1, quantity=D(quantity), price=D(price)) == [PASSED]
    assert looping(core, 1) == [LOOPED]


def test_orders_a_window_apart_are_no_loop() -> None:
    """An order exactly a window ago is forgotten, and one a nanosecond younger is not."""
    core = running(gate2__max_reference_age_ms=10**6, gate1__heartbeat_overdue_ms="off", **OPEN)
    assert looping(core, 3, 5) == [PASSED] * 3
    assert looping(core, 1, 5 + NS - 1) == [LOOPED]
    assert looping(core, 2, 5 + NS) == [PASSED] * 2


def test_order_that_was_refused_before_is_no_repeat() -> None:
    """Orders that an earlier or a later check refused do not add up to a loop."""
    core = running(gate2__message_burst=3, **OPEN)
    for _ in range(20):
        assert refused(core, order(quantity=D(11))).reason is Reason.MAX_QUANTITY
    core.on_fill(fill("foreign", "f1", instrument=OTHER, price=D(130)))
    core.on_fill(fill("foreign", "f2", instrument=OTHER, price=D(100), side=Side.SELL))
    for _ in range(20):
        assert refused(core, order()).reason is Reason.SESSION_LOSS
    assert core.mode is Mode.RUNNING


@settings(deadline=None)
@given(
    acts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=1, max_size=60),
    enough=st.integers(1, 4),
    more=st.integers(1, 4),
)
def test_repeats_count_like_a_list(acts: list[tuple[int, int]], enough: int, more: int) -> None:
    """The count of repeats is that of a plain list of what came within the window, up to the trip."""
    most = enough + more
    repeats = Repeats(100, most)
    seen: list[tuple[int, int]] = []
    now = 0
    for passed, kind in acts:
        now += passed
        seen.append((now, kind))
        count = sum(k == kind and at > now - 100 for at, k in seen)
        assert repeats.count(kind, now, enough) == (min(count, most) if count > enough else 0)
        if count <= enough and kind:  # as an order that a later check refuses
            repeats.undo()
            seen.pop()


def test_repeats_forget_what_left_the_window() -> None:
    """However many different orders come, what is remembered is bounded by what the window holds."""
    repeats = Repeats(100, 9)
    for number in range(200_000):
        assert repeats.count(number, number, 3) == 0
    assert len(repeats._kinds) < 20_000


# ---------------------------------------------------------------------------
# Losses


def mark(core: Core, price: str, name: str = NAME, **changes: object) -> Verdict:
    """Show a good tick at a price."""
    values = {"instrument": name, "bid": D(price), "ask": D(price)}
    return core.consult(quote(**values | changes), ARMED, 0, NOW_US)


def long_ten() -> Core:
    """Return a core that bought ten at a hundred, and may lose a thousand, six hundred from its peak."""
    core = running(loss__USD__max_drawdown=10**6)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    core.notices.clear()
    return core


def test_loss_boundary() -> None:
    """A loss a little smaller than the limit lets orders pass, and exactly the limit does not."""
    core = long_ten()
    assert mark(core, "0.001")
    decided = decide(core, order(price=D("0.5")))
    assert isinstance(decided, Verdict)
    assert decided.reason is Reason.PRICE_COLLAR
    core = running(loss__USD__max_session_loss=20, loss__USD__max_drawdown=10**6)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    assert mark(core, "98.001")
    granted(core, order("o1", price=D(98)))
    assert mark(core, "98")
    verdict = refused(core, order("o2", price=D(98)))
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.SESSION_LOSS, "20", "20")


def test_one_bad_mark_refuses_and_clears() -> None:
    """A single mark in breach refuses at once, and a good one lets orders pass again, without a halt."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    assert mark(core, "1")
    assert refused(core, order()).reason is not Reason.ACCEPTED
    assert core.accounts()[0].breached is Reason.SESSION_LOSS
    assert mark(core, "100")
    assert breaches(core) == ["entered", "cleared"]
    granted(core, order())
    assert core.mode is Mode.RUNNING


@pytest.mark.parametrize("needed", [1, 2, 5])
def test_loss_trips_after_so_many_distinct_marks(needed: int) -> None:
    """The breaker trips at the mark that makes the count, and the same mark again does not count."""
    core = running(loss__USD__max_session_loss=20, loss__USD__confirm_marks=needed)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    for number in range(needed - 1):
        for _ in range(4):
            assert mark(core, str(50 + number))
    assert core.mode is Mode.RUNNING
    assert mark(core, "49").reason is Reason.HALTED
    assert breaches(core) == ["entered", "confirmed"]
    (notice,) = halts(core)
    assert notice.cause.code is HaltCode.SESSION_LOSS
    assert (core.mode, core.gate_open) == (Mode.HALTED, False)


def test_good_mark_starts_the_count_anew() -> None:
    """Marks in breach must be in a row: a good one between them starts the count anew."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    for price in ("50", "51", "100", "50", "51", "100", "50", "51"):
        assert mark(core, price)
    assert core.mode is Mode.RUNNING
    assert mark(core, "52").reason is Reason.HALTED


def test_drawdown_counts_from_the_peak() -> None:
    """A drawdown is counted from the highest equity of the session, and trips by its own code."""
    core = running(loss__USD__max_drawdown=100, **{f"instruments__{NAME}__max_notional": 10**6})
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    assert mark(core, "150")
    assert mark(core, "140.001")
    granted(core, order("o1", price=D(140)))
    assert mark(core, "140")
    verdict = refused(core, order("o2", price=D(140)))
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.DRAWDOWN, "100", "100")
    assert mark(core, "139")
    assert mark(core, "138").reason is Reason.HALTED
    assert [halt.cause.code for halt in halts(core)] == [HaltCode.DRAWDOWN]


def test_refused_tick_is_no_mark() -> None:
    """A tick that gate 1 refuses neither makes a loss nor confirms one."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    for price in ("-1", "NaN", "-2", "-3"):
        assert not mark(core, price)
    assert not mark(core, "1", ts_us=NOW_US - 10**9)
    assert core.accounts()[0].breached is None
    assert breaches(core) == []


def test_fill_refuses_and_does_not_trip() -> None:
    """A fill can enter a breach, and refuse, but confirms nothing: it is no mark."""
    core = running(loss__USD__max_session_loss=20, loss__USD__confirm_marks=1)
    core.on_fill(fill("foreign", "f1", quantity=D(10), price=D(150)))
    assert refused(core, order()).reason is Reason.SESSION_LOSS
    assert core.mode is Mode.RUNNING
    assert mark(core, "99").reason is Reason.HALTED


def test_other_currency_goes_on() -> None:
    """A loss in one currency refuses the orders of that currency only."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10), price=D(150)))
    assert refused(core, order()).reason is Reason.SESSION_LOSS
    granted(core, order(instrument="EUR1"))


def test_new_session_forgets_the_loss() -> None:
    """A reset, and a start under another label, begin a new session; a start under the same does not."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10), price=D(150)))
    account = core.accounts()[0]
    core.close_gate()
    for label, kept in (("monday", False), ("monday", True), (None, True), ("tuesday", False)):
        core.mode = Mode.IDLE
        account.breached = Reason.SESSION_LOSS
        assert core.start(ARMED, 1, 0, label)
        assert (account.breached is not None) is kept
        core.close_gate()
    core.mode = Mode.IDLE
    account.breached = Reason.SESSION_LOSS
    assert core.adopt(ARMED, 2)
    assert account.breached is None
    assert account.opening == account.peak == account.equity


def test_one_bad_mark_is_not_confirmed_by_other_instruments() -> None:
    """One bad mark of an instrument is not confirmed by good marks of instruments that own nothing."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    assert mark(core, "1")
    for number in range(5):
        assert mark(core, str(100 + number), OTHER)
    assert core.mode is Mode.RUNNING


# ---------------------------------------------------------------------------
# Any orders, any fills, any cancels


@attrs.define
class Resting:
    """What the oracle knows of an order that may be filled."""

    side: Side
    left: Fraction
    exits: bool

    @property
    def signed(self) -> Fraction:
        """Return what a fill of all of it does to the position."""
        return self.left if self.side is Side.BUY else -self.left


def turned(held: Fraction, resting: list[Resting]) -> bool:
    """Return whether any fills, whole or half, in any order, make an exit do anything but reduce."""
    if not any(one.exits for one in resting):
        return False
    for halves in itertools.product(range(3), repeat=len(resting)):
        before = held + sum(one.signed * half / 2 for one, half in zip(resting, halves, strict=True))
        for one, half in zip(resting, halves, strict=True):
            after = before + one.signed / 2
            if one.exits and half < 2 and (abs(after) >= abs(before) or before * after < 0):
                return True
    return False


ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"), SIDES, st.integers(1, 4), st.booleans(),
            st.sampled_from(["limit", "market"]),
        ),
        st.tuples(st.sampled_from(["void", "fail", "end", "begin", "close"]), st.integers(0, 9)),
        st.tuples(st.just("fill"), st.integers(0, 9), st.sampled_from([1, 2, 4])),
    ),
    min_size=5, max_size=30,
)  # fmt: skip
MOST = 5
OPEN_AT_ONCE = 4


class Market:
    """A core, the oracle beside it, and a venue that does what it likes with what it was sent."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.core = running(
            gate2__repeat_refuse_after=10**6, gate2__repeat_trip_after=10**7,
            gate2__message_burst=10**6,
            **{
                f"instruments__{NAME}__max_position": D(MOST) / 10,
                f"instruments__{NAME}__max_open_orders": OPEN_AT_ONCE,
            },
        )  # fmt: skip
        self.held = Fraction(0)
        self.resting: dict[str, Resting] = {}
        self.workings: dict[str, Working] = {}
        self.count = itertools.count()

    def submit(self, side: Side, tenths: int, exits: bool, kind: str) -> None:
        """Hand over an order, and let the oracle say what it may do if it was granted."""
        name = f"o{next(self.count)}"
        make = market if kind == "market" else order
        wanted = make(name, side=side, quantity=D(tenths) / 10, reduce_only=exits)
        decided = decide(self.core, wanted)
        one = Resting(side, Fraction(tenths, 10), exits)
        room = sum(abs(r.signed) for r in self.resting.values() if r.side is side)
        held = self.held if side is Side.BUY else -self.held
        fits = held + room + one.left <= Fraction(MOST, 10) and len(self.resting) < OPEN_AT_ONCE
        turns = turned(self.held, [*self.resting.values(), one])
        if isinstance(decided, Working):
            self.resting[name] = one
            self.workings[name] = decided
            assert fits
            assert not turns
        else:  # and nothing is refused without need
            assert not fits or turns, decided

    def pick(self, number: int) -> str | None:
        """Return one of the working orders."""
        names = sorted(self.resting)
        return names[number % len(names)] if names else None

    def act(self, kind: str, number: int, part: int = 1) -> None:
        """Do something to one of the orders."""
        name = self.pick(number)
        if name is None:
            return
        core, working, one = self.core, self.workings[name], self.resting[name]
        if kind == "begin":
            core.begin(working, ARMED)
        elif kind in {"end", "fail"} and working.number in core.in_flight:
            (core.end if kind == "end" else core.fail)(working)
        elif kind == "void" and core.void(working):
            del self.resting[name]
        elif kind == "close" and working.status is not Status.GRANTED:
            assert core.on_closed(name, "cancelled")
            del self.resting[name]
        elif kind == "fill" and working.status is not Status.GRANTED:
            self.fill(name, one, part)

    def fill(self, name: str, one: Resting, part: int) -> None:
        """Fill a part of an order, in whole lots."""
        tenths = max(1, int(one.left * 10) // part)
        quantity = Fraction(tenths, 10)
        done = fill(name, f"f{next(self.count)}", side=one.side, quantity=D(tenths) / 10)
        assert self.core.on_fill(done)
        self.held += quantity if one.side is Side.BUY else -quantity
        one.left -= quantity
        if not one.left:
            del self.resting[name]

    def check(self) -> None:
        """Let the oracle judge what there is."""
        assert exact(position(self.core)) == self.held
        assert set(self.core.working) == set(self.resting)
        assert counted(self.core)
        for sign in (1, -1):
            worst = sign * self.held + sum(max(sign * r.signed, 0) for r in self.resting.values())
            assert worst <= Fraction(MOST, 10)
        assert not turned(self.held, list(self.resting.values()))


@settings(max_examples=150, deadline=None)
@given(acts=ACTS)
def test_no_fills_turn_an_exit_or_exceed_the_position(acts: list[Any]) -> None:
    """Whatever is ordered, filled, cancelled or lost, an exit reduces, and the worst case is within limits."""
    venue = Market()
    for name, *arguments in acts:
        if name == "submit":
            venue.submit(*arguments)
        else:
            venue.act(name, *arguments)
        venue.check()
    assert anomalies(venue.core) == []
    for name in list(venue.core.working):
        working = venue.workings[name]
        if working.status is Status.GRANTED:
            assert venue.core.void(working)
        else:
            assert venue.core.on_closed(name, "cancelled")
    assert exposure(venue.core.books[NAME])[2:] == (0, 0, 0, 0, 0)


def test_oracle_sees_a_turn() -> None:
    """The oracle itself can fail: it knows an exit that is too large, and one behind another order."""
    exit_ = Resting(Side.SELL, Fraction(1), exits=True)
    entry = Resting(Side.SELL, Fraction(1), exits=False)
    assert not turned(Fraction(1), [exit_])
    assert turned(Fraction(0), [exit_])
    assert turned(Fraction(1, 2), [exit_])
    assert turned(Fraction(1), [exit_, entry])
    assert not turned(Fraction(2), [exit_, entry])
    assert not turned(Fraction(-1), [entry])


def test_breach_names_its_numbers() -> None:
    """The notice of a breach says in which currency, which limit, its bound and what was reached."""
    core = running(loss__USD__max_session_loss=20)
    core.on_fill(fill("foreign", "f1", quantity=D(10), price=D("102.5"), fee=D("0.25")))
    notice = core.notices[-1]
    assert notice == Breach(currency="USD", limit=Reason.SESSION_LOSS, bound="20", value="25.25", state="entered")


def test_gate_2_has_no_switch() -> None:
    """No limit of gate 2 that loads is large enough to be a check that is turned off by accident."""
    assert "off" not in {str(value) for value in raw()["gate2"].values()}


# ---------------------------------------------------------------------------
# What is no order, and ids that were used


def test_what_is_no_order_is_refused_as_such() -> None:
    """Whatever has the fields of an order and is none is refused, with its kind."""
    fields = {field.name: getattr(order(), field.name) for field in attrs.fields(Order)}
    verdict = refused(running(), cast("Order", SimpleNamespace(**fields)))
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.MALFORMED, "Order", "SimpleNamespace")


class Sly(str):
    """A text of a kind of its own."""

    __slots__ = ()


@pytest.mark.parametrize("order_id", [Sly("o1"), "a\x07b", "a b", "", "x" * 65, "é"])
def test_id_that_is_no_plain_text_is_refused(order_id: str) -> None:
    """An id is plain text of 1 to 64 printable ASCII characters without a space; what looks like one is none."""
    assert refused(running(), order(order_id)).reason is Reason.MALFORMED


def test_id_is_remembered_as_long_as_its_generation() -> None:
    """An id of the older generation counts as used, like one of the younger."""
    core = running(gate2__remember_ids=1, **OPEN)
    for name in ("o1", "o2"):
        sent(core, order(name))
        core.on_closed(name, "cancelled")
    assert [refused(core, order(name)).reason for name in ("o1", "o2")] == [Reason.DUPLICATE_ID] * 2


def test_id_of_a_working_order_is_used_however_long_ago_it_was() -> None:
    """An order that is still working keeps its id to itself, also when nothing else remembers it."""
    core = running(gate2__remember_ids=1, gate2__repeat_refuse_after=98, gate2__repeat_trip_after=99, **OPEN)
    for number in range(5):
        sent(core, order(f"o{number}"))
    assert "o0" not in core.ids
    assert refused(core, order("o0")).reason is Reason.DUPLICATE_ID
    core.on_fill(fill("foreign", "f1", quantity=D(5)))
    core.close_gate()
    exit_ticket = Ticket(client_order_id="o0", instrument=NAME, side=Side.SELL, quantity=D(1))
    assert core.ticket(exit_ticket, ARMED).reason is Reason.DUPLICATE_ID
