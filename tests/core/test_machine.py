"""The machine: what each refusal says, what a halt leaves, and what is told of what should not happen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.builders import (
    NAME,
    NOW_US,
    OTHER,
    D,
    anomalies,
    breaches,
    fill,
    granted,
    halts,
    limits,
    order,
    quote,
    running,
    sent,
    started,
)

from interlock.core.errors import HomeError
from interlock.core.ledger import Status
from interlock.core.machine import Anomaly
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import Cancel, HaltCause, Side, Verdict

CAUSE = HaltCause(code=HaltCode.OPERATOR, reason="pulled", source="test")
NS = 1_000_000_000


def said(verdict: Verdict) -> tuple[bool, Reason, str | None, str | None]:
    """All that a refusal says."""
    return verdict.accepted, verdict.reason, verdict.limit, verdict.value


def halted() -> Core:
    """A core that came up HALTED, and was never told why."""
    return Core(limits(), 1, Mode.HALTED)


# ---------------------------------------------------------------------------
# Start and stop


def test_start_says_what_is_in_its_way() -> None:
    """Each refusal of a start is one, and names what was wanted and what was found."""
    assert said(Core(limits(), 1).start(0, 1, 0)) == (False, Reason.HALTED, None, None)
    assert said(halted().start(ARMED, 1, 0)) == (False, Reason.HALTED, None, None)
    assert said(running().start(ARMED, 1, 0)) == (False, Reason.NOT_RUNNING, "IDLE", "RUNNING")
    assert said(Core(limits(), 1).start(ARMED, 2, 0)) == (False, Reason.HALTED, "2", "1")
    flow = Core(limits("gate2.remember_ids"), 1)
    assert said(flow.start(ARMED, 1, 0)) == (False, Reason.NO_LIMITS, "gate2", None)
    assert said(Core(limits(instruments={}), 1).start(ARMED, 1, 0)) == (False, Reason.NO_LIMITS, "instruments", None)


def test_stop_says_what_is_in_its_way() -> None:
    """Each refusal of a stop is one, and names what was wanted and what was found."""
    assert said(running().stop(0)) == (False, Reason.HALTED, None, None)
    assert said(halted().stop(ARMED)) == (False, Reason.HALTED, "RUNNING", "HALTED")
    assert said(Core(limits(), 1).stop(ARMED)) == (False, Reason.NOT_RUNNING, "RUNNING", "IDLE")
    core = running()
    assert said(core.stop(ARMED)) == (False, Reason.NOT_RUNNING, "gate closed", "gate open")
    granted(core, order())
    core.close_gate()
    assert said(core.stop(ARMED)) == (False, Reason.NOT_RUNNING, "0 in flight", "1")


def test_books_say_that_the_flow_has_no_limits() -> None:
    """Without the limits of the flow every book lacks them, whatever else of gate 2 is asked first."""
    core = Core(limits("gate2.remember_ids"), 1)
    assert {book.missing for book in core.books.values()} == {"gate2"}
    assert {book.missing for book in running().books.values()} == {None}


def test_heartbeat_may_come_before_the_start() -> None:
    """A beat counts from the first, and the latest one counts."""
    core = Core(limits(), 1)
    core.beat(0)
    assert core.beat_ns == 0
    core.beat(7)
    core.beat(5)
    assert core.beat_ns == 7


# ---------------------------------------------------------------------------
# Halts


def test_core_that_came_up_halted_takes_the_first_cause_it_is_told() -> None:
    """A latch that was found tripped has no cause here yet: the first halt gives one, and the next changes nothing."""
    core = halted()
    core.halt(CAUSE)
    core.halt(HaltCause(code=HaltCode.SIGNAL, reason="again", source="test"))
    assert core.cause == CAUSE
    assert [notice.first for notice in halts(core)] == [False, False]


def test_cause_says_who_found_it() -> None:
    """A latch that was seen is the latch's, a trip the kernel's own; both name the epoch that they end."""
    seen, tripped = running(), running()
    seen.observe(0)
    tripped.trip(HaltCode.ANOMALY, "why")
    found = [(core.cause.code, core.cause.source, core.cause.epoch) for core in (seen, tripped) if core.cause]
    assert found == [(HaltCode.EXTERNAL, "latch", 1), (HaltCode.ANOMALY, "kernel", 1)]


def test_permit_that_a_halt_made_void_says_so() -> None:
    """A permit that was taken back is void, whoever took it back, and its order is not working any more."""
    core = running()
    first, second = granted(core, order("o1")), granted(core, order("o2"))
    assert core.void(first)
    assert core.halt(CAUSE) == (second,)
    assert (first.status, second.status, core.working) == (Status.VOID, Status.VOID, {})


# ---------------------------------------------------------------------------
# What should not happen


def test_what_a_check_raised_is_told_in_few_words() -> None:
    """Of an error no more than 200 characters are kept, its name first."""
    core = running()
    verdict = core.raised(ValueError("x" * 1_000))
    assert said(verdict) == (False, Reason.CHECK_RAISED, None, "ValueError")
    assert core.notices == [Anomaly(code="CHECK_RAISED", detail=("ValueError: " + "x" * 1_000)[:200])]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (lambda core: core.on_accept("o9"), "accept for o9"),
        (lambda core: core.on_closed("o9", "cancelled"), "cancelled for o9"),
        (lambda core: core.on_fill(fill("o9", "f1")), "fill for o9"),
    ],
    ids=["accept", "close", "fill"],
)
def test_unknown_order_is_told_with_what_was_said_of_it(event: Any, told: str) -> None:
    """An anomaly names the event and the order."""
    core = running()
    event(core)
    assert Anomaly(code="UNKNOWN_ORDER", detail=told) in core.notices


def test_fill_id_may_be_as_long_as_a_record_holds() -> None:
    """An execution id of 64 characters is one; of 65, and of none, it is not."""
    for length, read in ((64, True), (65, False), (1, True), (0, False)):
        core = running()
        assert (core.on_fill(fill("o1", "x" * length)) is not None) is read
        assert ("FILL_UNREADABLE" in anomalies(core)) is not read


def test_fill_id_that_is_no_text_is_unreadable_even_if_it_looks_like_one() -> None:
    """A number that reads like the id of a fill that was booked is no second report of it."""
    core = running()
    core.on_fill(fill("o1", "7"))
    core.notices.clear()
    assert core.on_fill(fill("o1", 7)) is None  # type: ignore[arg-type]
    assert anomalies(core) == ["FILL_UNREADABLE"]


# ---------------------------------------------------------------------------
# Losses and messages


def marked(core: Core, price: int, name: str) -> None:
    """Show a good tick at a price."""
    core.consult(quote(instrument=name, bid=D(price), ask=D(price)), ARMED, 0, NOW_US)


def test_others_confirm_a_breach_when_the_one_that_entered_it_is_flat() -> None:
    """While what entered a breach is held only its own marks confirm it; once it is sold, those of any other do."""
    core = running(loss__USD__max_drawdown=10**6, loss__USD__max_session_loss=500)
    core.on_fill(fill("foreign", "f1", quantity=D(10)))
    marked(core, 1, NAME)  # a mark of what entered it
    core.notices.clear()
    for price in (101, 102, 103, 104):
        marked(core, price, OTHER)
    assert (core.mode, breaches(core)) == (Mode.RUNNING, [])
    core.on_fill(fill("foreign", "f3", quantity=D(10), price=D(1), side=Side.SELL))
    marked(core, 105, OTHER)
    assert (core.mode, breaches(core)) == (Mode.RUNNING, [])
    marked(core, 106, OTHER)
    assert (core.mode, breaches(core)) == (Mode.HALTED, ["confirmed"])


def test_cancel_counts_at_its_own_time() -> None:
    """A cancel takes its token after the bucket was filled up to now."""
    core = started(gate2__message_burst=1, gate2__messages_per_s=1)
    for at_ns in (0, NS, 2 * NS):
        core.cancel(Cancel(client_order_id="o1", instrument=NAME), at_ns)
        assert core.bucket.tokens == 0


def test_bucket_without_limits_is_empty() -> None:
    """Where nothing says how many messages may go there is no token."""
    core = Core(limits("gate2.remember_ids"), 1)
    assert (core.bucket.tokens, core.bucket.ready(10**18)) == (0, False)


def test_home_error_says_code_and_message() -> None:
    """What keeps a home from being used has a stable code and words."""
    error = HomeError(HaltCode.LATCH_ABSENT, "no latch here")
    assert (error.code, str(error)) == (HaltCode.LATCH_ABSENT, "no latch here")


def test_restored_permit_is_of_the_epoch_that_it_is_reserved_in() -> None:
    """An order that is reserved belongs to the epoch of the core, so that it can be begun in that one only."""
    core = running()
    working = sent(core, order())
    assert working.epoch == core.epoch


# ---------------------------------------------------------------------------
# Fills of what is in flight


def test_order_that_was_filled_during_its_send_is_still_in_flight() -> None:
    """A fill that overtakes its send ends the order, and not the send: nobody may call the kernel quiet yet."""
    core = running()
    working = granted(core, order())
    assert core.begin(working, ARMED)
    core.on_fill(fill("o1", "f1"))
    assert (working.status, core.working, list(core.in_flight)) == (Status.SENDING, {}, [working.number])
    core.end(working)
    assert (working.status, core.in_flight) == (Status.DONE, {})


def test_order_that_was_filled_before_its_send_is_not_begun() -> None:
    """An order of which the venue says that it is filled needs no send any more: its permit is done."""
    core = running()
    working = granted(core, order())
    core.on_fill(fill("o1", "f1"))
    assert working.status is Status.DONE
    assert not core.begin(working, ARMED)


@pytest.mark.parametrize("quantity", [D(0), D("-0.1"), D(-1)])
def test_fill_of_nothing_is_unreadable(quantity: Any) -> None:
    """A fill moves something; of nothing, or of less, it can't be booked."""
    core = running()
    assert core.on_fill(fill("o1", "f1", quantity=quantity)) is None
    assert anomalies(core) == ["FILL_UNREADABLE"]


def test_smallest_fill_is_booked() -> None:
    """One step of the lot's decimals is enough to move the position."""
    core = running()
    assert core.on_fill(fill("o1", "f1", quantity=D("0.1"))) is False
    assert core.books[NAME].position == 1


def test_fill_of_an_unknown_instrument_is_unreadable() -> None:
    """What is not in the limits has no book to be booked in, and that is said without an error of its own."""
    core = running()
    assert core.on_fill(fill("o1", "f1", instrument="none")) is None
    assert anomalies(core) == ["FILL_UNREADABLE"]
