"""The stop executor over real kernels and homes: it ends what is at the venue, outside of all that it ends."""

from __future__ import annotations

import asyncio
import errno
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from tests.helpers import NAME, abandon, attach, journal, of_kind, order, reset_home, running, sound
from tests.stopping_helpers import BRIEF, LONG_S, OTHER, Raises, Venue, executor, hold, intents, place

from interlock import Kernel, MisuseError, Mode, Order, Reason, Side, TimeInForce
from interlock.adapters.paper import PaperVenue
from interlock.core.tickets import Ticket
from interlock.stopping import Exits, Standing, State, StopExecutor, StopOutcome
from interlock.stopping.gateways import believed
from interlock.stopping.intent import decode, encode
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

D = Decimal


def written(kernel: Kernel, home: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind, those included that wait for the next write."""
    kernel.heartbeat()
    return of_kind(home, kind)


def stop(kernel: Kernel, gateways: Any, home: Path | None = None, **given: Any) -> StopOutcome:
    """Halt, and see the stop of category 0 to its end."""
    kernel.halt("pulled")
    return executor(kernel, gateways, home, **given).halted().result(LONG_S)


def standings(outcome: StopOutcome) -> dict[str, Standing]:
    """Where the orders stand, by id."""
    return {end.client_order_id: end.standing for end in outcome.orders}


# ---------------------------------------------------------------------------
# Category 0


@pytest.mark.parametrize("events", [True, False], ids=["the venue reports", "the venue is silent"])
def test_everything_that_works_is_cancelled_and_seen_to_be(home: Path, kernel: Kernel, *, events: bool) -> None:
    """Each order is cancelled, asked about, and closed in the ledger exactly once, whoever noticed first."""
    venue = Venue(kernel, events=events)
    place(kernel, venue, "a", "b", "c")

    outcome = stop(kernel, venue, home)

    assert outcome.complete
    assert standings(outcome) == dict.fromkeys("abc", Standing.CANCELLED)
    assert (sorted(venue.calls("cancel")), sorted(venue.calls("query"))) == (["a", "b", "c"], ["a", "b", "c"])
    assert (kernel.working_orders(), venue.resting) == ((), {})
    assert sorted(one["id"] for one in written(kernel, home, "cancelled")) == ["a", "b", "c"]
    assert written(kernel, home, "anomaly") == []
    assert (outcome.durable, outcome.category, outcome.stop) == (True, 0, "1-1")
    (stored,) = intents(home).values()
    assert decode(stored).done
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_cancel_that_does_nothing_is_no_success(kernel: Kernel) -> None:
    """A venue whose cancels are accepted and lost is asked and cancelled again, until they take."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    wait = iter((ConnectionError("lost"), ConnectionError("lost"), None))

    def lose(_: str) -> None:
        error = next(wait)
        if error is not None:
            raise error

    venue.habits["cancel"] = lose
    outcome = stop(kernel, venue)

    assert outcome.complete
    assert (outcome.orders[0].cancels, outcome.orders[0].queries) == (3, 3)


def habits() -> dict[str, Callable[[Venue], Any]]:
    """Ways of a gateway not to do what it should."""
    return {
        "hangs": lambda venue: venue.hang,
        "blocks its thread": lambda venue: venue.block,
        "will not be cancelled": lambda venue: venue.swallow,
        "raises": lambda _: Raises(ConnectionError("gone")),
        "exits": lambda _: Raises(SystemExit(3)),
        "is interrupted": lambda _: Raises(KeyboardInterrupt()),
        "cancels": lambda _: Raises(asyncio.CancelledError()),
    }


@pytest.mark.parametrize("habit", habits())
@pytest.mark.parametrize("call", ["cancel", "query"])
def test_gateway_that_fails_holds_up_no_other(home: Path, kernel: Kernel, call: str, habit: str) -> None:
    """Whatever one gateway does, the other's orders are over before it gives up, and its own are UNKNOWN, not done."""
    bad, good = Venue(kernel), Venue(kernel)
    place(kernel, bad, "bad-1", "bad-2")
    place(kernel, good, "good", instrument=OTHER)
    bad.habits[call] = habits()[habit](bad)
    over = threading.Event()
    closed, kernel.on_cancelled = kernel.on_cancelled, None  # type: ignore[method-assign,assignment]

    def on_cancelled(order_id: str, reason: str = "") -> None:
        closed(order_id, reason)
        if order_id == "good":
            over.set()

    kernel.on_cancelled = on_cancelled  # type: ignore[method-assign]
    kernel.halt("pulled")
    stopping = executor(
        kernel, {"bad": bad, "good": good}, home, route={NAME: "bad", OTHER: "good"}, pace=BRIEF
    ).halted()
    assert over.wait(LONG_S)

    outcome = stopping.result(LONG_S)
    bad.out.set()
    found = standings(outcome)
    assert found["good"] is Standing.CANCELLED
    if call == "query":
        assert {found["bad-1"], found["bad-2"]} <= {Standing.UNKNOWN, Standing.CLOSED}
    else:
        assert (found["bad-1"], found["bad-2"]) == (Standing.UNKNOWN, Standing.UNKNOWN)
        assert {end.client_order_id for end in outcome.escalated} == {"bad-1", "bad-2"}
        assert not outcome.complete
        (escalated,) = [one for one in written(kernel, home, "anomaly") if one["code"] == "STOP_ESCALATED"]
        assert "bad-1" in escalated["detail"]
    assert all(end.problem for end in outcome.escalated)


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), ValueError()], ids=repr)
@pytest.mark.parametrize("call", ["cancel", "query"])
def test_order_that_breaks_its_calls_holds_up_no_other(kernel: Kernel, call: str, error: BaseException) -> None:
    """Whatever a gateway raises for one order, its other orders are over, and the lane goes on."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "bad", "good")

    def breaks(order_id: str) -> None:
        if order_id == "bad":
            raise error

    venue.habits[call] = breaks
    outcome = stop(kernel, venue, pace=BRIEF)
    assert standings(outcome) == {"bad": Standing.UNKNOWN, "good": Standing.CANCELLED}
    assert outcome.problems == ()


def test_time_out_is_unknown_though_it_was_seen_working(kernel: Kernel) -> None:
    """An order that was last seen working when the budget is spent is UNKNOWN: it may have ended since."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    venue.habits["cancel"] = Raises(ConnectionError("gone"))
    outcome = stop(kernel, venue, pace=BRIEF)
    assert standings(outcome) == {"a": Standing.UNKNOWN}
    assert "budget is spent" in outcome.orders[0].problem
    assert [one.client_order_id for one in kernel.working_orders()] == ["a"]


def test_answer_that_comes_too_late_changes_nothing(home: Path, kernel: Kernel) -> None:
    """A gateway that comes back after the stop was reported closes no order in the ledger, and no report changes."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a")
    asked = threading.Event()

    def late(_: str) -> None:
        asked.set()
        venue.out.wait(LONG_S)

    venue.habits["query"] = late
    outcome = stop(kernel, venue, home, pace=BRIEF)
    assert asked.is_set()
    before = intents(home)
    venue.out.set()
    for thread in threading.enumerate():
        if thread.name == "stop venue":
            thread.join(LONG_S)
    assert standings(outcome) == {"a": Standing.UNKNOWN}
    assert written(kernel, home, "cancelled") == []
    assert intents(home) == before


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ({OTHER: "venue"}, "KeyError"),
        ({NAME: "elsewhere"}, "elsewhere"),
        (lambda _: 1 / 0, "ZeroDivisionError"),
        (None, "ValueError"),
    ],
    ids=["not routed", "no such gateway", "raises", "two and no route"],
)
def test_order_without_a_gateway_is_reported(kernel: Kernel, route: Any, problem: str) -> None:
    """An order for which no gateway answers is UNKNOWN and named; it is never left out."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    gateways = {"venue": venue} if route is not None else {"venue": venue, "second": Venue(kernel)}
    outcome = stop(kernel, gateways, route=route)
    assert standings(outcome) == {"a": Standing.UNKNOWN}
    assert problem in outcome.orders[0].problem
    assert venue.calls("cancel") == []


ANSWERS: dict[str, Any] = {
    "nothing": None,
    "a word": "cancelled",
    "another's standing": State(standing="cancelled"),  # type: ignore[arg-type]
    "a float": State(standing=Standing.CANCELLED, filled=0.5),  # type: ignore[arg-type]
    "no number": State(standing=Standing.CANCELLED, filled=D("NaN")),
    "too much": State(standing=Standing.WORKING, filled=D(2)),
    "less than nothing": State(standing=Standing.WORKING, filled=D(-1)),
    "filled in part": State(standing=Standing.FILLED, filled=D("0.5")),
    "cancelled though filled": State(standing=Standing.CANCELLED, filled=D(1)),
    "rejected though it traded": State(standing=Standing.REJECTED, filled=D("0.5")),
    "what only the kernel says": State(standing=Standing.CLOSED),
    "fills that are none": State(standing=Standing.WORKING, fills=("x",)),  # type: ignore[arg-type]
    "a list of fills": State(standing=Standing.WORKING, fills=[]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_that_cannot_be_is_none(name: str) -> None:
    """An answer of the wrong shape, or at odds with itself or the order, is UNKNOWN and says why."""
    state = believed(ANSWERS[name], order("a"))
    assert state.standing is Standing.UNKNOWN
    assert state.reason


# ---------------------------------------------------------------------------
# The ledger


def test_fills_that_the_venue_tells_are_booked_once(home: Path, kernel: Kernel) -> None:
    """Executions come in by the answer, by the venue's event, or by both: the position is right all the same."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a", "b")
    fills = {"a": venue.fill("a", D("0.4"), told=True), "b": venue.fill("b", D(1))}
    plain = venue.query

    async def query(wanted: Order) -> State:
        state = await plain(wanted)
        return attrs.evolve(state, fills=(fills[wanted.client_order_id],))

    venue.query = query  # type: ignore[method-assign]
    outcome = stop(kernel, venue)

    assert outcome.complete
    assert outcome.positions == {NAME: D("1.4")}
    assert [one["id"] for one in written(kernel, home, "cancelled")] == ["a"]
    assert len(written(kernel, home, "fill")) == 2


@pytest.mark.parametrize("filled", ["0.4", "1"])
def test_order_whose_fills_are_missing_is_not_over(kernel: Kernel, filled: str) -> None:
    """An order that executed more than the ledger knows stays working there: closing it would lose the position."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a")
    venue.fill("a", D(filled))
    outcome = stop(kernel, venue, pace=BRIEF)
    (end,) = outcome.escalated
    assert (end.standing in {Standing.FILLED, Standing.CANCELLED}, end.booked) == (True, False)
    assert "ledger lacks" in end.problem
    assert [one.client_order_id for one in kernel.working_orders()] == ["a"]


def test_settle_never_closes_twice(home: Path, kernel: Kernel) -> None:
    """What the venue's event closed, an answer does not close again; what is not whole, it does not close at all."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a", "b")
    kernel.on_cancelled("a")
    assert kernel.settle("a", D(0))
    assert not kernel.settle("b", D("0.1"))
    assert not kernel.settle("b", D("0.01"))
    assert kernel.settle("b", D(0), rejected=True)
    assert [one["id"] for one in written(kernel, home, "cancelled")] == ["a"]
    kernel.heartbeat()
    assert [one["id"] for one in written(kernel, home, "reject")] == ["b"]
    assert written(kernel, home, "anomaly") == []


def test_order_that_the_venue_never_had_ends_the_asking(kernel: Kernel) -> None:
    """A venue that says it has no such order and never will is not asked for ever; it is no success either."""
    venue = PaperVenue(seed=1)
    venue.connect(kernel)
    place(kernel, Venue(kernel), "elsewhere")
    outcome = stop(kernel, venue)
    assert standings(outcome) == {"elsewhere": Standing.ABSENT}
    assert not outcome.complete


# ---------------------------------------------------------------------------
# Outside of what it stops


def test_stop_called_from_the_task_that_it_cancels(home: Path, kernel: Kernel) -> None:
    """Hummingbot: the kill switch awaits a shutdown that cancels the kill switch. Here the cancels complete."""
    venue = Venue(kernel)
    place(kernel, venue, "a", "b")
    entered, going_on = threading.Event(), threading.Event()

    def slow(_: str) -> None:
        entered.set()
        going_on.wait(LONG_S)

    venue.habits["cancel"] = slow
    futures: list[Any] = []

    async def switch() -> None:
        kernel.halt("pulled")
        futures.append(executor(kernel, venue, home).halted())
        await asyncio.wrap_future(futures[0])
        pytest.fail("this task was to be cancelled")

    async def scenario() -> None:
        task = asyncio.create_task(switch())
        await asyncio.to_thread(entered.wait, LONG_S)
        task.cancel()  # what the stop does to everything, its caller among it
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    going_on.set()
    outcome = futures[0].result(LONG_S)
    assert outcome.complete
    assert sorted(venue.calls("cancel")) == ["a", "b"]


def test_one_stop_at_a_time(kernel: Kernel) -> None:
    """Whoever asks while a stop is under way, or after it, gets that one; another one is begun only on request."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    venue.habits["cancel"] = venue.block
    kernel.halt("pulled")
    stopper = executor(kernel, venue)
    first = stopper.halted()
    assert stopper.halted() is first
    assert stopper.controlled("again") is first
    venue.out.set()
    first.result(LONG_S)
    assert stopper.halted() is first
    assert stopper.halted(again=True) is not first
    assert venue.calls("cancel") == ["a"]


def test_stop_of_category_0_needs_a_halt(kernel: Kernel) -> None:
    """Cancelling everything by mistake is no service."""
    with pytest.raises(MisuseError):
        executor(kernel, Venue(kernel)).halted()


def test_detached_kernel_holds_up_no_cancel(kernel: Kernel) -> None:
    """Cancels pass though the kernel was closed under the stop."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a")
    kernel.halt("pulled")
    kernel.close()
    outcome = executor(kernel, venue, pace=BRIEF).halted().result(LONG_S)
    assert venue.calls("cancel") == ["a"]
    assert not outcome.orders[0].booked


# ---------------------------------------------------------------------------
# The intent


def test_full_disk_holds_up_no_stop(home: Path, kernel: Kernel) -> None:
    """If the intent can't be stored the stop goes on, and the report says that it is in memory only."""
    (home / "stops").write_text("in the way")
    venue = Venue(kernel)
    place(kernel, venue, "a")
    outcome = stop(kernel, venue, home)
    assert standings(outcome) == {"a": Standing.CANCELLED}
    assert outcome.durable is False
    assert any("not durable" in problem or "stops" in problem for problem in outcome.problems)


def test_hung_journal_holds_up_no_cancel(kernel: Kernel) -> None:
    """While a disk hangs under the kernel's lock, orders are cancelled and asked about; the ledger hears later."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a", "b")
    with kernel._lock:  # whoever has it waits for the disk
        kernel.halt("pulled", timeout_s=0)
        outcome = executor(kernel, venue, pace=attrs.evolve(BRIEF, budget_s=1.0)).halted().result(LONG_S)
    assert sorted(set(venue.calls("cancel"))) == ["a", "b"]
    assert venue.resting == {}
    assert [(end.standing, end.booked) for end in outcome.orders] == [(Standing.CANCELLED, False)] * 2
    assert not outcome.complete
    again = executor(kernel, venue).halted().result(LONG_S)
    assert again.complete


def test_finished_stop_is_never_begun_again(home: Path) -> None:
    """A restart that finds the stop of this halt finished touches nothing, and tells what it was."""
    first = running(home)
    venue = Venue(first)
    place(first, venue, "a")
    assert stop(first, venue, home).complete
    first.close()
    before = intents(home)

    with attach(home) as again:
        venue = Venue(again)
        stopper = executor(again, venue, home)
        assert stopper.resume() is None
        outcome = stopper.halted().result(LONG_S)
    assert (outcome.before, standings(outcome), outcome.complete) == (True, {"a": Standing.CANCELLED}, True)
    assert (venue.told, intents(home)) == ([], before)


def interrupted(home: Path, *, exits: bool = False) -> tuple[str, ...]:
    """A home that died in the midst of a stop: the intent is open, two orders work."""
    kernel = running(home)
    venue = Venue(kernel)
    place(kernel, venue, "a", "b")
    if exits:
        hold(kernel, venue)
    stopper = executor(kernel, venue, home)
    assert stopper._stops is not None
    about = {"epoch": 1, "category": int(exits), "reason": "dying", "run": kernel.run}
    if not exits:
        kernel.halt("pulled")
    record = stopper._stops.begin(stopper._stops.look(), **about)
    record.orders = {one: {"instrument": NAME, "standing": "working"} for one in ("a", "b", "gone")}
    if exits:
        record.exits = {"x-1": {"instrument": NAME, "side": "sell", "quantity": "2", "stage": "ticket"}}
    stopper._stops.directory.mkdir(parents=True)
    (stopper._stops.directory / "1-1.json").write_bytes(encode(record))
    resting = tuple(venue.resting)
    abandon(kernel)
    return resting


def test_interrupted_stop_is_taken_up_by_asking_first(home: Path) -> None:
    """What ended meanwhile is not cancelled again; what still works is; then the stop is finished for good."""
    interrupted(home)
    with attach(home) as kernel:
        venue = Venue(kernel, events=False)
        venue.over["a"] = State(standing=Standing.CANCELLED)
        venue.resting["b"] = (order("b"), D(0))
        resumed = executor(kernel, venue, home).resume()
        assert resumed is not None
        outcome = resumed.result(LONG_S)
        assert (outcome.resumed, outcome.complete, outcome.stop) == (True, True, "1-1")
        assert standings(outcome) == {"a": Standing.CANCELLED, "b": Standing.CANCELLED, "gone": Standing.CLOSED}
        assert venue.calls("cancel") == ["b"]
        assert next(one for one in venue.told if one[1] == "b")[0] == "query"
        assert executor(kernel, venue, home).resume() is None
    assert list(intents(home)) == ["1-1.json"]


def test_interrupted_controlled_stop_becomes_category_0(home: Path) -> None:
    """Of a stop that died between ticket and outcome nothing is sent: the home is halted, orders are taken back."""
    interrupted(home, exits=True)
    with attach(home) as kernel:
        assert kernel.mode is Mode.IDLE
        venue = Venue(kernel)
        for order_id in ("a", "b"):
            venue.resting[order_id] = (order(order_id), D(0))
        resumed = executor(kernel, venue, home).resume()
        assert resumed is not None
        outcome = resumed.result(LONG_S)
        assert (kernel.mode, outcome.category, outcome.asked) == (Mode.HALTED, 0, 0)
        assert [(end.client_order_id, end.begun) for end in outcome.exits] == [("x-1", True)]
        assert venue.calls("send") == []
        assert outcome.positions == {NAME: D(2)}
        assert sorted(venue.calls("cancel")) == ["a", "b"]


def test_new_stop_over_an_interrupted_one_takes_it_up(home: Path) -> None:
    """A controlled stop that is asked for where one was interrupted sends nothing either."""
    interrupted(home, exits=True)
    with running(home) as kernel:
        venue = Venue(kernel)
        for order_id in ("a", "b"):
            venue.resting[order_id] = (order(order_id), D(0))
        outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
        assert (outcome.resumed, outcome.category, kernel.mode) == (True, 0, Mode.HALTED)
        assert venue.calls("send") == []


def test_intent_of_an_earlier_halt_is_left_alone(home: Path) -> None:
    """After a reset the stop of the halt before is history."""
    interrupted(home)
    reset_home(home, 1)
    before = intents(home)
    with attach(home) as kernel:
        assert executor(kernel, Venue(kernel), home).resume() is None
    assert intents(home) == before


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "another order": lambda data: data.replace(b'"a"', b'"z"'),
    "another stop": lambda data: encode(attrs.evolve(decode(data), number=7)),
    "another format": lambda data: data.replace(b'"v":1', b'"v":2'),
    "no intent": lambda _: b"[1]",
    "another shape": lambda data: encode(attrs.evolve(decode(data), orders={"a": 3})),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", DAMAGE)
def test_intent_that_is_not_to_be_believed_is_set_aside(home: Path, name: str) -> None:
    """A damaged intent is kept, reported and not trusted: a fresh stop asks first."""
    interrupted(home)
    path = home / "stops" / "desk" / "1-1.json"
    data = DAMAGE[name](path.read_bytes())
    path.write_bytes(data)
    with attach(home) as kernel:
        venue = Venue(kernel)
        for order_id in ("a", "b"):
            venue.resting[order_id] = (order(order_id), D(0))
        resumed = executor(kernel, venue, home).resume()
        assert resumed is not None
        outcome = resumed.result(LONG_S)
        assert (outcome.resumed, outcome.stop, len(outcome.orders)) == (False, "1-2", 2)
        assert [problem for problem in outcome.problems if "1-1.json" in problem]
        assert venue.told[0][0] == "query"
    found = intents(home)
    assert (list(found), found["1-1.json.damaged-0"]) == (["1-1.json.damaged-0", "1-2.json"], data)


def test_link_is_no_intent(home: Path) -> None:
    """A symbolic link in the place of an intent is not followed."""
    interrupted(home)
    path = home / "stops" / "desk" / "1-1.json"
    elsewhere = home / "elsewhere"
    with attach(home) as kernel:
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        found = executor(kernel, Venue(kernel), home)._stops.look()  # type: ignore[union-attr]
    assert (found.records, len(found.problems)) == ((), 1)


def test_name_that_is_no_files_is_refused(home: Path, kernel: Kernel) -> None:
    """An engine cannot name its way out of the home."""
    with pytest.raises(ValueError, match="engine"):
        StopExecutor(kernel, {}, home=home, engine="../../etc")


# ---------------------------------------------------------------------------
# Category 1


def test_controlled_stop_ends_flat_and_halted(home: Path, kernel: Kernel) -> None:
    """Orders are cancelled, then the position is closed by an exit with a ticket; then the kernel is HALTED."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)

    assert (outcome.complete, outcome.category, outcome.positions, kernel.mode) == (True, 1, {}, Mode.HALTED)
    (end,) = outcome.exits
    assert (end.instrument, end.quantity, end.standing) == (NAME, D(2), Standing.FILLED)
    assert venue.told.index(("query", "a")) < venue.told.index(("send", end.client_order_id))
    (ticket,) = written(kernel, home, "ticket")
    (permit,) = [one for one in written(kernel, home, "permit") if one["id"] == end.client_order_id]
    assert (ticket["id"], permit["reduce_only"], permit["side"]) == (end.client_order_id, True, "sell")
    kernel.heartbeat()
    kinds = [one["kind"] for one in journal(home)]
    assert kinds.index("drain") < kinds.index("ticket") < len(kinds) - kinds[::-1].index("permit") < kinds.index("halt")
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_short_position_is_bought_back_by_a_limit_order(home: Path, kernel: Kernel) -> None:
    """The exit is as configured: here a limit order, which fills."""
    venue = Venue(kernel)
    asyncio.run(kernel.submit_async(order("short", side=Side.SELL, quantity="3", price=None), venue.send))

    exits = Exits(price=lambda _, side, __: D(101) if side is Side.BUY else D(99), time_in_force=TimeInForce.GTC)
    plain = venue.send

    async def send(permit: Any) -> str:
        said = await plain(permit)
        for order_id in tuple(venue.resting):
            venue.fill(order_id, D(3))
        return said

    venue.send = send  # type: ignore[method-assign]
    outcome = executor(kernel, venue, home).controlled("evening", exits).result(LONG_S)
    assert (outcome.complete, outcome.positions) == (True, {})
    permit = written(kernel, home, "permit")[-1]
    assert (permit["side"], permit["type"], permit["price"], permit["tif"]) == ("buy", "limit", "101", "gtc")


def test_position_that_is_not_to_be_closed_stays(home: Path, kernel: Kernel) -> None:
    """Only the instruments that are named are closed."""
    venue = Venue(kernel)
    hold(kernel, venue)
    hold(kernel, venue, instrument=OTHER)
    exits = Exits(instruments=frozenset({OTHER}))
    outcome = executor(kernel, venue, home).controlled("evening", exits).result(LONG_S)
    assert ([end.instrument for end in outcome.exits], outcome.positions) == ([OTHER], {NAME: D(2)})


@pytest.mark.parametrize("call", ["cancel", "query", "position"])
def test_halt_at_any_moment_before_the_exit_makes_it_category_0(home: Path, kernel: Kernel, call: str) -> None:
    """A halt while orders are cancelled, asked about, or the position is confirmed: no exit, but all cancels."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")

    async def position(_: str) -> Decimal:
        await venue._act("position", NAME)
        return venue.held

    venue.position = position  # type: ignore[attr-defined]
    venue.habits[call] = lambda _: kernel.halt("pulled", source="test")
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert (outcome.category, outcome.asked, outcome.complete) == (0, 1, False)
    assert standings(outcome) == {"a": Standing.CANCELLED}
    assert [one for one in venue.calls("send") if one.startswith("exit")] == []
    assert [(end.begun, "no exit" in end.problem) for end in outcome.exits] == [(False, True)]
    assert kernel.cause is not None
    assert kernel.cause.reason == "pulled"
    assert decode(*intents(home).values()).category == 0
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_halt_inside_the_exit_takes_back_what_rests(home: Path, kernel: Kernel) -> None:
    """An exit that was under way when somebody halted is cancelled like any order, and never sent again."""
    venue = Venue(kernel)
    hold(kernel, venue)
    exits = Exits(price=lambda *_: D(100), time_in_force=TimeInForce.GTC)
    venue.habits["send"] = lambda _: kernel.halt("pulled", source="test")
    outcome = executor(kernel, venue, home).controlled("evening", exits).result(LONG_S)
    (end,) = outcome.exits
    assert (outcome.category, end.begun, end.standing) == (0, True, Standing.CANCELLED)
    assert venue.calls("cancel") == [end.client_order_id]
    assert venue.calls("send") == ["entry-XYZ", end.client_order_id]
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_exit_that_rests_is_taken_back_at_the_end(home: Path, kernel: Kernel) -> None:
    """An exit that did not fill within its budget is cancelled once the kernel is HALTED, and the position told."""
    venue = Venue(kernel)
    hold(kernel, venue)
    exits = Exits(price=lambda *_: D(100), time_in_force=TimeInForce.GTC)
    outcome = executor(kernel, venue, home, pace=BRIEF).controlled("evening", exits).result(LONG_S)
    assert (outcome.positions, outcome.complete, kernel.mode) == ({NAME: D(2)}, False, Mode.HALTED)
    assert venue.resting == {}
    (end,) = outcome.exits
    assert (standings(outcome)[end.client_order_id], end.standing) == (Standing.CANCELLED, Standing.CANCELLED)


def test_exit_of_a_gateway_that_was_left_behind_never_leaves(home: Path, kernel: Kernel) -> None:
    """A gateway that hangs over its position until the stop was reported finds no way to send: the kernel is HALTED."""
    venue = Venue(kernel)
    hold(kernel, venue)

    async def position(_: str) -> Decimal:
        venue.out.wait(LONG_S)
        return venue.held

    venue.position = position  # type: ignore[attr-defined]
    outcome = executor(kernel, venue, home, pace=BRIEF).controlled("evening").result(LONG_S)
    venue.out.set()
    for thread in threading.enumerate():
        if thread.name == "stop venue":
            thread.join(LONG_S)
    assert (outcome.exits[0].begun, outcome.category, kernel.mode) == (False, 1, Mode.HALTED)
    assert venue.calls("send") == ["entry-XYZ"]


def test_halted_kernel_exits_nothing(home: Path, kernel: Kernel) -> None:
    """A controlled stop that is asked for in HALTED is one of category 0: 0 never becomes 1."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    kernel.halt("pulled")
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert (outcome.category, outcome.exits, standings(outcome)) == (0, (), {"a": Standing.CANCELLED})
    assert venue.calls("send") == ["entry-XYZ", "a"]
    assert written(kernel, home, "ticket") == []


@pytest.mark.parametrize("kind", ["in memory", "not writable"])
def test_no_durable_ticket_no_exit(home: Path, kernel: Kernel, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a ticket on the disk nothing is sent; the position stays, is told, and the kernel is HALTED."""
    venue = Venue(kernel)
    hold(kernel, venue)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("interlock.stopping.intent.write_durably", full)
    outcome = executor(kernel, venue, home if kind == "not writable" else None).controlled("evening").result(LONG_S)
    (end,) = outcome.exits
    assert (end.begun, "not on the disk" in end.problem) == (False, True)
    assert (outcome.positions, kernel.mode, venue.calls("send")) == ({NAME: D(2)}, Mode.HALTED, ["entry-XYZ"])


def test_order_in_doubt_forbids_the_exit_of_its_gateway_only(home: Path, kernel: Kernel) -> None:
    """Where an order is not known to be over nothing is closed; the other gateway's position is, meanwhile."""
    bad, good = Venue(kernel), Venue(kernel)
    hold(kernel, bad)
    hold(kernel, good, instrument=OTHER)
    place(kernel, bad, "a")
    bad.habits["cancel"] = bad.hang
    outcome = (
        executor(kernel, {"bad": bad, "good": good}, home, route={NAME: "bad", OTHER: "good"}, pace=BRIEF)
        .controlled("evening")
        .result(LONG_S)
    )
    exits = {end.instrument: end for end in outcome.exits}
    assert (exits[NAME].begun, exits[OTHER].standing) == (False, Standing.FILLED)
    assert outcome.positions == {NAME: D(2)}


@pytest.mark.parametrize("told", [D(1), D("NaN"), 2.0, None, "raises"], ids=str)
def test_position_that_is_not_confirmed_is_not_closed(home: Path, kernel: Kernel, told: Any) -> None:
    """If the venue says another position than the ledger, or none, there is no exit."""
    venue = Venue(kernel)
    hold(kernel, venue)

    async def position(_: str) -> Any:
        await asyncio.sleep(0)
        if told == "raises":
            message = "no answer"
            raise ConnectionError(message)
        return told

    venue.position = position  # type: ignore[attr-defined]
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert (outcome.exits[0].begun, venue.calls("send")) == (False, ["entry-XYZ"])


def test_exit_whose_send_raised_is_verified_by_asking(home: Path, kernel: Kernel) -> None:
    """An exit that may or may not have left is asked about until it is known, and not sent again."""
    venue = Venue(kernel)
    hold(kernel, venue)
    plain = venue.send

    async def send(permit: Any) -> str:
        await plain(permit)
        message = "no answer"
        raise TimeoutError(message)

    venue.send = send  # type: ignore[method-assign]
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    (end,) = outcome.exits
    assert (end.begun, end.standing, outcome.positions) == (True, Standing.FILLED, {})
    assert len(written(kernel, home, "ticket")) == 1
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N, Status.IN_DOUBT)


def test_exit_that_gate_2_refuses_is_told(home: Path, kernel: Kernel) -> None:
    """Limits hold for exits, too: one beyond the collar is refused, and nothing else is tried."""
    venue = Venue(kernel)
    hold(kernel, venue)
    exits = Exits(price=lambda *_: D(1))
    outcome = executor(kernel, venue, home).controlled("evening", exits).result(LONG_S)
    assert Reason.PRICE_COLLAR in outcome.exits[0].problem
    assert (outcome.exits[0].begun, kernel.mode) == (False, Mode.HALTED)


def test_gateway_that_cannot_send_exits_nothing(home: Path, kernel: Kernel) -> None:
    """A gateway for cancels alone serves category 0; a position there is told."""
    venue = Venue(kernel)
    hold(kernel, venue)

    class CancelsOnly:
        cancel = staticmethod(venue.cancel)
        query = staticmethod(venue.query)

    outcome = executor(kernel, CancelsOnly(), home).controlled("evening").result(LONG_S)
    assert "can't send" in outcome.exits[0].problem


# ---------------------------------------------------------------------------
# Tickets at the kernel, and clearing


def test_ticket_is_in_the_journal_before_its_permit(kernel: Kernel) -> None:
    """A ticket that the journal has not taken lets nothing through; one that it has, lets one order."""
    venue = Venue(kernel)
    hold(kernel, venue)
    exit_order = attrs.evolve(order("x", side=Side.SELL, quantity="2", price=None), reduce_only=True)
    ticket = Ticket(client_order_id="x", instrument=NAME, side=Side.SELL, quantity=D(2))
    assert kernel.ticket(ticket).reason is Reason.NOT_RUNNING
    kernel.drain("evening")
    assert asyncio.run(kernel.submit_async(exit_order, venue.send)).reason is Reason.GATE_CLOSED
    kernel._journal.broken = "no disk"
    assert kernel.ticket(ticket).reason is Reason.JOURNAL_FAILED
    assert (kernel.mode, kernel._core.tickets) == (Mode.HALTED, {})


def test_clear_takes_orders_back_and_halts_nothing(home: Path, kernel: Kernel) -> None:
    """An orderly stop's cancels leave mode and home as they are."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    kernel.drain()
    outcome = executor(kernel, venue, home).clear(LONG_S).result(LONG_S)
    assert (outcome.complete, kernel.mode, intents(home)) == (True, Mode.RUNNING, {})


def test_outcome_is_plain_data(home: Path, kernel: Kernel) -> None:
    """What a stop came to can be written down as JSON, with exact numbers."""
    venue = Venue(kernel)
    hold(kernel, venue)
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    plain = orjson.loads(orjson.dumps(outcome.as_json()))
    assert (plain["complete"], plain["exits"][0]["quantity"], plain["exits"][0]["standing"]) == (True, "2", "filled")
