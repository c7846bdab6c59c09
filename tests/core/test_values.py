"""What the kernel speaks about cannot be changed, and a permit cannot be had twice."""

import copy
import pickle
import threading
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from tests.core.builders import AWKWARD_NUMBERS, D, fill, order, quote, trade

from interlock.core import values
from interlock.core.errors import InterlockError, MisuseError, PermitError
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import (
    PASS,
    Cancel,
    HaltCause,
    Instrument,
    Permit,
    Verdict,
    grant,
    withdraw,
)

ORDER = order()
FROZEN = [
    ORDER,
    quote(),
    trade(),
    fill("o1", "f1"),
    Cancel(client_order_id="o1", instrument="XYZ"),
    HaltCause(code=HaltCode.OPERATOR, reason="enough", source="cli"),
    Instrument(name="XYZ", tick_size=D("0.5"), lot_size=D(1), currency="USD"),
]


# ---------------------------------------------------------------------------
# Permits


def test_permit_gives_its_order_once() -> None:
    """A permit gives the very order that was checked, and then nothing, and says so."""
    permit = grant(ORDER, 17, 3)
    assert (permit.number, permit.epoch) == (17, 3)
    assert repr(permit) == "<Permit 17 of epoch 3, good>"
    assert permit.redeem() is ORDER
    assert repr(permit) == "<Permit 17 of epoch 3, spent>"
    for _ in range(2):
        with pytest.raises(PermitError, match="permit 17 is spent"):
            permit.redeem()


def test_withdrawn_permit_gives_nothing() -> None:
    """A permit whose send is over gives nothing, however often it is withdrawn."""
    permit = grant(ORDER, 17, 3)
    withdraw(permit)
    withdraw(permit)
    with pytest.raises(PermitError, match="permit 17 is spent"):
        permit.redeem()


@pytest.mark.parametrize("arguments", [(), (ORDER,), (ORDER, 1, 1)])
def test_permit_cannot_be_made(arguments: tuple[object, ...]) -> None:
    """The class makes no permit, whatever it is given."""
    with pytest.raises((PermitError, TypeError)):
        cast("Any", Permit)(*arguments)
    with pytest.raises(PermitError, match="made by the kernel only"):
        Permit.__new__(Permit)


def test_permit_cannot_be_subclassed() -> None:
    """No class can take its place in a send function's signature."""
    with pytest.raises(PermitError, match="cannot be subclassed"):
        type("Mine", (Permit,), {})


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda p, n=n: pickle.dumps(p, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)),
        lambda permit: copy.deepcopy([permit]),
        lambda permit: permit.__reduce_ex__(4),
    ],
)
def test_permit_cannot_be_copied(duplicate: Any) -> None:
    """No way of copying or pickling gives a second permit, and none uses up the first."""
    permit = grant(ORDER, 1, 1)
    with pytest.raises(PermitError, match="cannot be copied"):
        duplicate(permit)
    assert permit.redeem() is ORDER


def test_permit_has_no_room_for_more() -> None:
    """A permit takes no attribute that it was not made with, and has no weak references."""
    permit = grant(ORDER, 1, 1)
    with pytest.raises(AttributeError):
        cast("Any", permit).order = ORDER
    assert not hasattr(permit, "__dict__")


def test_one_thread_of_many_gets_the_order() -> None:
    """Of sixteen threads that redeem one permit at once, one gets the order, each time."""
    threads = 16
    for number in range(100):
        permit = grant(ORDER, number, 1)
        barrier = threading.Barrier(threads)
        won: list[object] = []
        lost: list[object] = []

        def redeem(
            permit: Permit = permit,
            barrier: threading.Barrier = barrier,
            won: list[object] = won,
            lost: list[object] = lost,
        ) -> None:
            barrier.wait()
            try:
                won.append(permit.redeem())
            except PermitError as error:
                lost.append(error)

        running = [threading.Thread(target=redeem) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert won == [ORDER]
        assert len(lost) == threads - 1


def test_making_is_not_for_everybody() -> None:
    """Neither the maker nor the withdrawer of permits is among the names for embedders."""
    assert "withdraw" not in values.__all__
    assert set(values.__all__) >= {"Permit", "Order", "Verdict"}


def test_permit_error_is_misuse() -> None:
    """A permit that is misused raises under the one root."""
    assert issubclass(PermitError, MisuseError)
    assert issubclass(MisuseError, InterlockError)


# ---------------------------------------------------------------------------
# Frozen values


@pytest.mark.parametrize("value", FROZEN, ids=lambda value: type(value).__name__)
def test_value_is_frozen(value: Any) -> None:
    """No field of a value can be set, deleted or added, and it can be a key."""
    for field in attrs.fields(type(value)):
        before = getattr(value, field.name)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, before)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(value, field.name)
        assert getattr(value, field.name) is before
    with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
        value.something_else = 1
    assert hash(value) == hash(attrs.evolve(value))


@pytest.mark.parametrize("value", FROZEN, ids=lambda value: type(value).__name__)
def test_value_is_keyword_only(value: Any) -> None:
    """A value of many fields cannot be made by position, where two could be mixed up."""
    fields = [getattr(value, field.name) for field in attrs.fields(type(value))]
    with pytest.raises(TypeError):
        type(value)(*fields)


def test_verdict_is_true_only_if_accepted() -> None:
    """A verdict stands for its answer; the reason alone does not make it true."""
    assert Verdict(accepted=True, reason=Reason.ACCEPTED)
    assert not Verdict(accepted=False, reason=Reason.ACCEPTED)
    assert PASS
    assert PASS.reason is Reason.ACCEPTED


def test_codes_are_their_own_names() -> None:
    """Every stable code is written as it is named, so that journals need no table."""
    for code in (*Reason, *HaltCode):
        assert code.value == code.name == str(code)


@pytest.mark.parametrize("field", ["tick_size", "lot_size", "multiplier"])
@given(number=AWKWARD_NUMBERS.filter(lambda number: not (number.is_finite() and number > 0)))
def test_instrument_has_positive_grids(field: str, number: Decimal) -> None:
    """A tick size, lot size or multiplier that is not finite and positive is refused by name."""
    good = {"name": "XYZ", "tick_size": D(1), "lot_size": D(1), "currency": "USD"}
    with pytest.raises(ValueError, match=f"{field} must be a finite positive Decimal"):
        Instrument(**cast("Any", good | {field: number}))


@pytest.mark.parametrize("wrong", [0.5, 1, "1", True, None])
@pytest.mark.parametrize("field", ["tick_size", "lot_size", "multiplier"])
def test_instrument_takes_decimals_only(field: str, wrong: object) -> None:
    """A grid that is a float, or anything but a Decimal, is refused and not converted."""
    good = {"name": "XYZ", "tick_size": D(1), "lot_size": D(1), "currency": "USD"}
    with pytest.raises(ValueError, match=f"{field} must be a finite positive Decimal"):
        Instrument(**cast("Any", good | {field: wrong}))


def test_withdrawing_a_permit_tells_whether_it_was_used() -> None:
    """A permit that is taken back says whether its order had left it."""
    kept, used = grant(order(), 1, 1), grant(order(), 2, 1)
    used.redeem()
    assert (withdraw(kept), withdraw(used)) == (False, True)
    with pytest.raises(PermitError):
        kept.redeem()


def test_what_is_left_out_is_nothing() -> None:
    """A value that is not said is the neutral one: a multiplier of one, no fee, no time, no epoch, no operator."""
    cause = HaltCause(code=HaltCode.OPERATOR, reason="pulled", source="test")
    assert (cause.operator, cause.ts_us, cause.epoch) == (None, 0, 0)
    made = Instrument(name="A", tick_size=D(1), lot_size=D(1), currency="USD")
    assert made.multiplier == 1
    assert fill("o1", "f1").fee == 0
