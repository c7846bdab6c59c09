"""Tickets: what a closed gate lets through, and that nothing else changes by them."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.ledger import Working
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.tickets import Ticket, fits
from interlock.core.values import HaltCause, Order, Side, Verdict

from .builders import ANYTHING, NAME, NOT_ARMED, decide, fill, market, running, sent, snapshot

if TYPE_CHECKING:
    from interlock.core.preorder import Core

CAUSE = HaltCause(code=HaltCode.OPERATOR, reason="pulled", source="test")


def ticket(order_id: str = "exit", **changes: Any) -> Ticket:
    """A ticket to sell the two that `holding` holds."""
    said = {"client_order_id": order_id, "instrument": NAME, "side": Side.SELL, "quantity": Decimal(2)}
    return Ticket(**(said | changes))


def exit_order(order_id: str = "exit", **changes: Any) -> Order:
    """The order of that ticket."""
    return market(order_id, **{"side": Side.SELL, "quantity": Decimal(2), "reduce_only": True} | changes)


def holding(*, closed: bool = True) -> Core:
    """A RUNNING core, long two, its gate closed."""
    core = running()
    sent(core, market("entry", quantity=Decimal(2)))
    core.on_fill(fill("entry", "f1", quantity=Decimal(2)))
    if closed:
        core.close_gate()
    return core


def ticketed(**changes: Any) -> Core:
    """The same, with a ticket."""
    core = holding()
    given_ticket = ticket(**changes)
    assert core.ticket(given_ticket, ARMED)
    core.admit(given_ticket)
    return core


def test_exit_with_a_ticket_passes_the_closed_gate_once() -> None:
    """The order that the ticket names is granted; the ticket is gone then, even if the permit is voided."""
    core = ticketed()
    working = decide(core, exit_order())
    assert isinstance(working, Working)
    assert (core.tickets, core.gate_open) == ({}, False)
    core.void(working)
    again = decide(core, exit_order())
    assert isinstance(again, Verdict)
    assert again.reason is Reason.GATE_CLOSED


class Sly(str):
    """A text that is equal to what it was made of, until it is written down."""

    __slots__ = ()


OTHERS: dict[str, dict[str, Any]] = {
    "another id": {"client_order_id": "other"},
    "not reduce-only": {"reduce_only": False},
    "almost reduce-only": {"reduce_only": 1},
    "another instrument": {"instrument": "PQR"},
    "the other side": {"side": Side.BUY},
    "more": {"quantity": Decimal("2.1")},
    "no number": {"quantity": Decimal("NaN")},
    "no end": {"quantity": Decimal("Infinity")},
    "a float": {"quantity": 2.0},
    "a text of another kind": {"instrument": Sly(NAME)},
    "an id of another kind": {"client_order_id": Sly("exit")},
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_meets_the_closed_gate(name: str) -> None:
    """An order that is not the ticket's is refused, changes nothing, and leaves the ticket."""
    core = ticketed()
    before = snapshot(core)
    verdict = decide(core, attrs.evolve(exit_order(), **OTHERS[name]))
    assert isinstance(verdict, Verdict)
    assert verdict.reason is Reason.GATE_CLOSED
    assert (snapshot(core), list(core.tickets)) == (before, ["exit"])


@pytest.mark.parametrize("name", OTHERS)
def test_ticket_fits_nothing_else(name: str) -> None:
    """What the gate asks of a ticket is that the order is its own, by kind as by value, whatever was asked before."""
    assert fits(ticket(), exit_order())
    assert not fits(ticket(), attrs.evolve(exit_order(), **OTHERS[name]))


def test_ticket_fits_no_likeness_of_an_order() -> None:
    """What has all the fields of the ticket's order and is none is not let through."""
    fields = {field.name: getattr(exit_order(), field.name) for field in attrs.fields(Order)}
    assert not fits(ticket(), cast("Order", SimpleNamespace(**fields)))


@given(
    st.sampled_from([field.name for field in attrs.fields(Order)]),
    ANYTHING,
)
def test_order_of_anything_never_raises_at_the_closed_gate(field: str, value: object) -> None:
    """Whatever stands in an order, asking for its ticket raises nothing, and grants nothing but the ticket's exit."""
    core = ticketed()
    wanted = attrs.evolve(exit_order(), **{field: value})
    decided = decide(core, wanted)
    if isinstance(decided, Working):
        assert fits(ticket(), wanted)


def test_ticket_replaces_no_check() -> None:
    """Gate 2 judges the exit as any other order, and one that it refuses has used its ticket."""
    core = ticketed()
    for book in core.books.values():
        book.reference = None
    verdict = decide(core, exit_order())
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, core.tickets) == (Reason.NO_REFERENCE, {})


@given(NOT_ARMED)
def test_ticket_is_worthless_under_a_latch_that_is_not_armed(latch: int) -> None:
    """The latch is asked before the ticket; what it says halts, and takes the tickets away."""
    core = ticketed()
    verdict = core.decide(exit_order(), latch, 0, 7)
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, core.mode, core.tickets) == (Reason.HALTED, Mode.HALTED, {})


def test_halt_stop_and_start_take_tickets_away() -> None:
    """No ticket outlives a halt or a stop, so none is there at the next start."""
    halted = ticketed()
    halted.halt(CAUSE)
    assert halted.tickets == {}
    stopped = ticketed()
    assert stopped.stop(ARMED)
    assert stopped.tickets == {}
    stopped.tickets["exit"] = ticket()  # each of the two alone
    assert stopped.start(ARMED, 1, 0)
    assert stopped.tickets == {}


def test_permit_by_ticket_is_void_after_a_halt() -> None:
    """A permit that a ticket brought is like any other: a halt before its send takes it back."""
    core = ticketed()
    working = decide(core, exit_order())
    assert isinstance(working, Working)
    core.halt(CAUSE)
    assert not core.begin(working, ARMED)


REFUSED: dict[str, tuple[dict[str, Any], Reason]] = {
    "more than is held": ({"quantity": Decimal("2.1")}, Reason.REDUCE_ONLY),
    "with the position": ({"side": Side.BUY}, Reason.REDUCE_ONLY),
    "a flat instrument": ({"instrument": "PQR"}, Reason.REDUCE_ONLY),
    "an unknown instrument": ({"instrument": "none"}, Reason.UNKNOWN_INSTRUMENT),
    "off the grid": ({"quantity": Decimal("0.03")}, Reason.OFF_LOT_GRID),
    "nothing": ({"quantity": Decimal(0)}, Reason.MALFORMED),
    "no name": ({"client_order_id": ""}, Reason.MALFORMED),
    "a name that was used": ({"client_order_id": "entry"}, Reason.DUPLICATE_ID),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ticket_that_is_no_exit_is_refused(name: str) -> None:
    """A ticket is given for what makes a position smaller, under a new name, and for nothing else."""
    changes, reason = REFUSED[name]
    assert holding().ticket(ticket(**changes), ARMED).reason is reason


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        (lambda: holding(closed=False), Reason.NOT_RUNNING),
        (lambda: halted(holding()), Reason.HALTED),
        (lambda: stopped(holding()), Reason.NOT_RUNNING),
    ],
    ids=["gate open", "HALTED", "IDLE"],
)
def test_ticket_needs_running_and_a_closed_gate(core: Any, reason: Reason) -> None:
    """In no other state is a ticket given."""
    assert core().ticket(ticket(), ARMED).reason is reason


def halted(core: Core) -> Core:
    """The same, HALTED."""
    core.halt(CAUSE)
    return core


def stopped(core: Core) -> Core:
    """The same, IDLE."""
    assert core.stop(ARMED)
    return core


def test_second_ticket_for_an_order_is_refused() -> None:
    """One exit has one ticket: a second under the same id is a duplicate."""
    verdict = ticketed().ticket(ticket(), ARMED)
    assert (verdict.reason, verdict.value) == (Reason.DUPLICATE_ID, "exit")


@given(NOT_ARMED)
def test_no_ticket_is_given_under_a_latch_that_is_not_armed(latch: int) -> None:
    """Asking for a ticket sees a latch that is not armed, and halts."""
    core = holding()
    assert (core.ticket(ticket(), latch).reason, core.mode) == (Reason.HALTED, Mode.HALTED)


@pytest.mark.parametrize(("side", "quantity", "left"), [(Side.SELL, "2.1", "2"), (Side.BUY, "1", "0")])
def test_ticket_for_too_much_is_told_what_is_held(side: Side, quantity: str, left: str) -> None:
    """A refusal names what there is to close on that side, which is never less than nothing."""
    verdict = holding().ticket(ticket(side=side, quantity=Decimal(quantity)), ARMED)
    assert (verdict.reason, verdict.limit, verdict.value) == (Reason.REDUCE_ONLY, left, quantity)


def test_what_is_no_order_at_all_meets_the_closed_gate() -> None:
    """While tickets are out, nonsense at the gate is refused like anything else, and raises nothing."""
    core = ticketed()
    verdict = decide(core, cast("Order", "nonsense"))
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, list(core.tickets)) == (Reason.GATE_CLOSED, ["exit"])
