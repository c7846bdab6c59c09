"""Stops under hostile conditions: sends still on their way, stubborn orders, hung disks, foreign files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import LIMITS, NAME, abandon, arm, attach, cancel, of_kind, order, running, sound
from tests.stopping_helpers import BRIEF, LONG_S, OTHER, PATIENT, Venue, executor, hold, intents, place

from interlock import HomeError, Kernel, Mode, Order, Side, Verdict
from interlock.stopping import Exits, Standing, State, intent
from interlock.stopping.recall import recall
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.core.tickets import Ticket

D = Decimal


class OnItsWay:
    """An order whose send has begun and does not end before `land`; the venue denies it until then."""

    def __init__(self, kernel: Kernel, venue: Venue, denial: Standing, wanted: Order) -> None:
        self._landing, inside = threading.Event(), threading.Event()
        plain = venue.query

        async def on_its_way(order_id: str) -> None:
            if order_id == wanted.client_order_id:
                inside.set()
                await asyncio.to_thread(self._landing.wait, LONG_S)

        async def query(asked: Order) -> State:
            if asked.client_order_id == wanted.client_order_id and not self._landing.is_set():
                return State(standing=denial, reason="no such order")
            return await plain(asked)

        async def cancel(_: object) -> None:
            """Nothing of that name to be cancelled."""

        venue.habits["send"] = on_its_way
        venue.query, venue.cancel = query, cancel  # type: ignore[method-assign,assignment]
        self._sending = threading.Thread(
            target=lambda: asyncio.run(kernel.submit_async(wanted, venue.send)), daemon=True
        )
        self._sending.start()
        assert inside.wait(LONG_S)

    def land(self) -> None:
        """Let it arrive."""
        self._landing.set()
        self._sending.join(LONG_S)


class Pipe:
    """A disk that hangs: the journal's next write goes to a pipe that is full, and comes back once that is read.

    Attributes:
        hangs: set once a write is in there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> None:
        self.hangs = threading.Event()
        self._out, self._into = os.pipe()
        os.set_blocking(self._into, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._into, bytes(1 << 16))
        os.set_blocking(self._into, True)
        segment = kernel._sentinel.segment
        plain = type(segment).write

        def write(self_: Any, data: bytes) -> None:
            if self_ is segment:
                self.hangs.set()
                os.write(self._into, b"!")
            plain(self_, data)

        monkeypatch.setattr(type(segment), "write", write)

    def drain(self) -> None:
        """Let it come back, and never hang again."""
        reader = io.FileIO(self._out)
        threading.Thread(target=reader.readall, daemon=True).start()


# ---------------------------------------------------------------------------
# Sends that have not ended


@pytest.mark.parametrize("denial", [Standing.REJECTED, Standing.CANCELLED])
def test_exit_waits_for_no_send_that_may_still_arrive(home: Path, kernel: Kernel, denial: Standing) -> None:
    """A venue that denies an order whose send goes on is not believed: no exit, or the two would turn the position."""
    venue = Venue(kernel)
    hold(kernel, venue)
    sent = OnItsWay(kernel, venue, denial, order("s1", side=Side.SELL, quantity="2", price=None))
    outcome = executor(kernel, venue, home, pace=BRIEF).controlled("evening").result(LONG_S)
    assert (outcome.complete, [end.begun for end in outcome.exits]) == (False, [False])
    assert [end.client_order_id for end in outcome.escalated] == ["s1"]
    sent.land()
    assert (venue.held, kernel.positions()[NAME]) == (D(0), D(0))


@pytest.mark.parametrize("closed_by", ["answer", "event"])
def test_order_is_not_over_while_its_send_goes_on(kernel: Kernel, closed_by: str) -> None:
    """Also a stop of category 0 says of an order in flight that it is not over, whoever says that it is."""
    venue = Venue(kernel)
    sent = OnItsWay(kernel, venue, Standing.CANCELLED, order("s1", price="98"))
    if closed_by == "event":
        kernel.on_cancelled("s1")
    assert kernel.works("s1")
    assert not kernel.settle("s1", D(0))
    kernel.halt("pulled", timeout_s=0)
    outcome = executor(kernel, venue, pace=BRIEF).halted().result(LONG_S)
    assert (outcome.complete, [end.client_order_id for end in outcome.escalated]) == (False, ["s1"])
    sent.land()
    assert kernel.works("s1") is (closed_by == "answer")


# ---------------------------------------------------------------------------
# Stubborn orders


def test_stubborn_orders_keep_no_other_from_its_cancel(kernel: Kernel) -> None:
    """As many orders as calls are made at once will not end; all others are cancelled and over all the same."""
    venue = Venue(kernel, events=False)
    stubborn = [f"bad-{number}" for number in range(3)]
    place(kernel, venue, *stubborn, "good-1", "good-2")
    plain = venue.query

    async def query(wanted: Order) -> State:
        if wanted.client_order_id in stubborn:
            venue.told.append(("query", wanted.client_order_id))
            return State(standing=Standing.WORKING)
        return await plain(wanted)

    venue.query = query  # type: ignore[method-assign]
    kernel.halt("pulled")
    outcome = executor(kernel, venue, pace=attrs.evolve(BRIEF, at_once=3)).halted().result(LONG_S)
    assert {end.client_order_id for end in outcome.escalated} == set(stubborn)
    first = [call for call, _ in venue.told if call != "send"][:5]
    assert first == ["cancel"] * 5  # one for every order, and only then is asked


def test_call_that_will_not_be_cancelled_takes_no_others_turn(kernel: Kernel) -> None:
    """Calls that never let go are left behind; the orders after them are cancelled."""
    venue = Venue(kernel)
    place(kernel, venue, "bad-1", "bad-2", "good")

    async def swallow(order_id: str) -> None:
        if order_id != "good":
            await venue.swallow(order_id)

    venue.habits["cancel"] = swallow
    kernel.halt("pulled")
    outcome = executor(kernel, {"bad": venue}, pace=attrs.evolve(BRIEF, at_once=2)).halted().result(LONG_S)
    venue.out.set()
    assert [end.client_order_id for end in outcome.escalated] == ["bad-1", "bad-2"]


# ---------------------------------------------------------------------------
# A hung disk


def test_hung_journal_costs_no_cancel_its_turn(kernel: Kernel) -> None:
    """While the lock is held for ever, each of many orders is cancelled and asked about, fills told by the venue too.

    Were each call to wait for the lock, the budget would hold a quarter of them at most.
    """
    venue = Venue(kernel, events=False)
    names = [f"o{number}" for number in range(100)]
    place(kernel, venue, *names[:50])
    place(kernel, venue, *names[50:], side=Side.SELL)
    plain = venue.query
    done = venue.fill("o0", D(1), told=False)

    async def query(wanted: Order) -> State:
        state = await plain(wanted)
        return attrs.evolve(state, fills=(done,)) if wanted.client_order_id == "o0" else state

    venue.query = query  # type: ignore[method-assign]
    kernel.halt("pulled")
    with kernel._lock:  # whoever has it waits for the disk
        outcome = executor(kernel, venue, pace=attrs.evolve(BRIEF, budget_s=2.5)).halted().result(LONG_S)
    assert set(venue.calls("cancel")) == {*names}
    assert set(venue.calls("query")) == {*names}
    assert not outcome.complete
    assert executor(kernel, venue).halted().result(LONG_S).complete
    assert kernel.positions()[NAME] == D(1)


def test_cancel_whose_own_record_hangs_leaves_and_the_lane_goes_on(
    home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that hangs is that of the first cancel itself: all cancels leave, and their records come later."""
    venue = Venue(kernel, events=False)
    place(kernel, venue, "a", "b", "c")
    kernel.halt("pulled")
    disk = Pipe(monkeypatch, kernel)
    try:
        outcome = executor(kernel, venue, pace=attrs.evolve(BRIEF, budget_s=3.0)).halted().result(LONG_S)
        assert disk.hangs.is_set()
        assert {end.client_order_id: end.standing for end in outcome.orders} == dict.fromkeys("abc", Standing.CANCELLED)
        assert (venue.resting, outcome.complete) == ({}, False)  # the ledger could not be told
    finally:
        disk.drain()
    assert executor(kernel, venue).halted().result(LONG_S).complete
    kernel.heartbeat()
    assert {one["id"] for one in of_kind(home, "cancel")} == {"a", "b", "c"}
    assert len(of_kind(home, "cancel_end")) == len(of_kind(home, "cancel"))
    sound(home, Status.VERIFIED_TO_N)


def test_cancel_whose_record_hangs_leaves_in_every_mode(
    home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an engine's own cancel, made while RUNNING, does not wait for a disk that hangs under its record."""
    disk = Pipe(monkeypatch, kernel)
    said: list[str] = []
    helper = threading.Thread(
        target=lambda: said.append(kernel.cancel(cancel("a"), lambda one: one.client_order_id)), daemon=True
    )
    try:
        helper.start()
        assert disk.hangs.wait(LONG_S)
        helper.join(LONG_S)
        assert said == ["a"]
    finally:
        disk.drain()
    kernel.heartbeat()
    assert [one["id"] for one in of_kind(home, "cancel")] == ["a"]
    assert len(of_kind(home, "cancel_end")) == 1
    told: list[str] = []
    kernel.cancel(cancel("b"), lambda _: told.extend(one["id"] for one in of_kind(home, "cancel")))
    assert told == ["a", "b"]  # once the disk answers, a cancel leaves behind its record again


def test_cancel_is_recorded_though_no_thread_is_to_be_had(
    home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a thread to write it down the cancel's own does it, before it leaves."""

    def start(_: object) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", start)
    told: list[str] = []
    kernel.cancel(cancel("a"), lambda _: told.extend(one["id"] for one in of_kind(home, "cancel")))
    assert told == ["a"]


def test_cancels_without_the_lock_are_recorded_later(home: Path, kernel: Kernel) -> None:
    """What was sent while the lock could not be had is in the journal as soon as somebody has it again."""
    with kernel._lock:
        for order_id in ("a", "b", "c"):
            kernel.cancel(cancel(order_id), lambda _: None)
    kernel.heartbeat()
    assert [one["id"] for one in of_kind(home, "cancel")] == ["a", "b", "c"]


# ---------------------------------------------------------------------------
# Exits


def test_order_in_doubt_elsewhere_forbids_the_exit(home: Path, kernel: Kernel) -> None:
    """An order of the instrument that another gateway has in doubt forbids its exit; other instruments are closed."""
    bad, good = Venue(kernel), Venue(kernel)
    hold(kernel, good)
    hold(kernel, good, instrument=OTHER)
    place(kernel, bad, "a")
    bad.habits["cancel"] = bad.hang

    def route(asked: Order) -> str:
        return "bad" if asked.client_order_id == "a" else "good"

    outcome = (
        executor(kernel, {"bad": bad, "good": good}, home, route=route, pace=BRIEF).controlled("evening").result(LONG_S)
    )
    exits = {end.instrument: end for end in outcome.exits}
    assert (exits[NAME].begun, exits[OTHER].standing) == (False, Standing.FILLED)
    assert "(a, " in exits[NAME].problem


def test_order_without_a_gateway_forbids_the_exit(home: Path, kernel: Kernel) -> None:
    """An order that no gateway has may be executed on top of an exit, so there is none."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "stray")

    def route(asked: Order) -> str:
        return "nowhere" if asked.client_order_id == "stray" else "venue"

    outcome = executor(kernel, venue, home, route=route, pace=BRIEF).controlled("evening").result(LONG_S)
    assert [(end.instrument, end.begun) for end in outcome.exits] == [(NAME, False)]
    assert venue.calls("send") == ["entry-XYZ", "stray"]


def test_exit_waits_for_an_order_that_another_gateway_ends(home: Path, kernel: Kernel) -> None:
    """A gateway that is done first waits for the other one's order of its instrument, and then closes the position."""
    slow, quick = Venue(kernel), Venue(kernel)
    slow.told = quick.told
    hold(kernel, quick)
    place(kernel, slow, "a")
    looked = threading.Event()
    slow.habits["cancel"] = lambda _: looked.wait(LONG_S)
    plain = kernel.working_orders

    def working_orders() -> tuple[Order, ...]:
        if threading.current_thread().name == "stop quick":
            looked.set()
        return plain()

    kernel.working_orders = working_orders  # type: ignore[method-assign]

    def route(asked: Order) -> str:
        return "slow" if asked.client_order_id == "a" else "quick"

    stopper = executor(kernel, {"slow": slow, "quick": quick}, home, route=route)
    outcome = stopper.controlled("evening").result(LONG_S)
    assert (outcome.complete, outcome.positions) == (True, {})
    assert quick.told.index(("query", "a")) < quick.told.index(("send", outcome.exits[0].client_order_id))


def test_unknown_name_among_the_exits_is_no_success(home: Path, kernel: Kernel) -> None:
    """A name that the limits do not know is reported; the position that was meant is still there."""
    venue = Venue(kernel)
    hold(kernel, venue)
    exits = Exits(instruments=frozenset({"XYZ "}))
    outcome = executor(kernel, venue, home).controlled("evening", exits).result(LONG_S)
    assert [
        (end.instrument, end.begun, "no exit: the limits know no such" in end.problem) for end in outcome.exits
    ] == [("XYZ ", False, True)]
    assert (outcome.complete, outcome.positions) == (False, {NAME: D(2)})


def test_position_without_a_gateway_is_reported(home: Path, kernel: Kernel) -> None:
    """A position that was to be closed and that no gateway has gets its line in the report, and is no success."""
    venue = Venue(kernel)
    hold(kernel, venue)
    hold(kernel, venue, instrument=OTHER)
    outcome = executor(kernel, venue, home, route={NAME: "venue"}).controlled("evening").result(LONG_S)
    exits = {end.instrument: (end.begun, end.standing) for end in outcome.exits}
    assert exits == {NAME: (True, Standing.FILLED), OTHER: (False, Standing.CLOSED)}
    assert (outcome.complete, outcome.left, outcome.positions) == (False, (OTHER,), {OTHER: D(2)})


def test_fill_that_comes_on_top_is_no_success(home: Path, kernel: Kernel) -> None:
    """An instrument that was flat when its exit was due, and is held at the end, was not closed."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    late = venue.fill("a", D(1), told=False)
    venue.over["a"] = State(standing=Standing.CANCELLED)
    plain = kernel.halt

    def halt(*given: Any, **named: Any) -> Any:
        kernel.on_fill(late)
        return plain(*given, **named)

    kernel.halt = halt  # type: ignore[method-assign]
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert (outcome.complete, outcome.left) == (False, (NAME,))


def test_exit_waits_for_the_message_rate(tmp_path: Path) -> None:
    """Cancels of the stop itself leave no token for the exit; it waits for one, and is not refused."""
    scarce = LIMITS.replace("messages_per_s = 100000", "messages_per_s = 20").replace(
        "message_burst = 100000", "message_burst = 5"
    )
    home = arm(tmp_path / "home", scarce).path
    with running(home) as kernel:
        venue = Venue(kernel)
        hold(kernel, venue)
        place(kernel, venue, "a", "b", "c", "d")
        outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
        assert (outcome.complete, outcome.positions) == (True, {})
        assert of_kind(home, "refuse") == []


@pytest.mark.parametrize("rivals", [2, 100], ids=["at first", "always"])
def test_exit_whose_room_was_taken_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rivals: int) -> None:
    """Between the look for room and the submit others take it: the exit has another ticket, a few times and no more."""
    home = arm(tmp_path / "home", LIMITS.replace("100000", "20", 1).replace("burst = 100000", "burst = 5")).path
    with running(home) as kernel:
        venue = Venue(kernel)
        hold(kernel, venue)
        plain, tickets = kernel.ticket, []

        def ticket(wanted: Ticket) -> Verdict:
            verdict = plain(wanted)
            if len(tickets) < rivals:
                for number in range(5):
                    kernel.cancel(cancel(f"r{number}"), lambda _: None)
            tickets.append(wanted.client_order_id)
            return verdict

        monkeypatch.setattr(kernel, "ticket", ticket)
        outcome = executor(kernel, venue, home, pace=attrs.evolve(PATIENT, wait_s=0.005)).controlled("evening")
        (end,) = outcome.result(LONG_S).exits
        kernel.heartbeat()
        refused = [one["code"] for one in of_kind(home, "refuse")]
        if rivals == 2:
            assert (end.standing, len(tickets), refused) == (Standing.FILLED, 3, ["MESSAGE_RATE"] * 2)
            assert venue.held == D(0)
        else:
            assert (end.begun, len(tickets), refused) == (False, 5, ["MESSAGE_RATE"] * 5)
            assert "refused: MESSAGE_RATE" in end.problem
            assert venue.held == D(2)
        assert len(set(tickets)) == 1
    sound(home)


@pytest.mark.parametrize(("stage", "begun"), [("ticket", True), ("refused", False), ("no ticket", False)])
def test_exit_that_had_no_ticket_was_not_begun(stage: str, begun: bool) -> None:
    """What a restart tells of an interrupted exit: begun, unless it was refused or never had its ticket on the disk."""
    row = {"instrument": NAME, "side": "SELL", "quantity": "2", "stage": stage}
    record = intent.Record(
        home="h", engine="desk", epoch=1, number=1, category=1, reason="evening", run="r", exits={"exit-1": row}
    )
    (end,) = recall(record, {})
    assert end.begun is begun


def test_halt_before_the_ticket_leaves_no_ticket(home: Path, kernel: Kernel) -> None:
    """An exit that a halt forbids before it has its ticket never gets one, so that no restart tells of it as begun."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    venue.habits["query"] = lambda _: kernel.halt("pulled", timeout_s=0)
    venue.events = False
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert [(end.begun, end.problem) for end in outcome.exits] == [(False, "no exit: halted")]
    (stored,) = intents(home).values()
    assert intent.decode(stored).exits == {}


# ---------------------------------------------------------------------------
# The intent


def test_intent_costs_no_cancel_its_time(home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the writer encodes; what was said while it is at work is one version, however many orders it tells of."""
    venue = Venue(kernel)
    names = [f"o{number}" for number in range(40)]
    place(kernel, venue, *names)
    encoded: list[str] = []
    cancelled = threading.Event()
    plain = intent.encode

    def encode(record: intent.Record) -> bytes:
        encoded.append(threading.current_thread().name)
        assert cancelled.wait(LONG_S)  # the writer is as slow as can be
        return plain(record)

    def last(_: str) -> None:
        if set(venue.calls("cancel")) == {*names}:
            cancelled.set()

    monkeypatch.setattr(intent, "encode", encode)
    venue.habits["cancel"] = last
    kernel.halt("pulled")
    outcome = executor(kernel, venue, home).halted().result(LONG_S)
    assert (outcome.complete, outcome.durable) == (True, True)
    assert set(encoded) == {"intent 1-1"}
    (stored,) = intents(home).values()
    assert set(intent.decode(stored).orders) == {*names}


def test_lane_looks_at_one_order_at_a_time(kernel: Kernel) -> None:
    """All working orders are listed once for a stop, and not once for each of them."""
    venue = Venue(kernel)
    place(kernel, venue, *(f"o{number}" for number in range(40)))
    plain, listed = kernel.working_orders, []

    def working_orders() -> tuple[Order, ...]:
        listed.append(threading.current_thread().name)
        return plain()

    kernel.working_orders = working_orders  # type: ignore[method-assign]
    kernel.halt("pulled")
    assert executor(kernel, venue).halted().result(LONG_S).complete
    assert listed == ["stop"]


# ---------------------------------------------------------------------------
# What was stored, and can't be believed


def interrupted(home: Path) -> None:
    """A controlled stop that died in RUNNING: its intent is open, the home armed."""
    kernel = running(home)
    venue = Venue(kernel)
    place(kernel, venue, "a")
    stopper = executor(kernel, venue, home)
    assert stopper._stops is not None
    found = stopper._stops.look()
    record = stopper._stops.begin(found, epoch=1, category=1, reason="dying", run=kernel.run)
    record.orders = {"a": {"instrument": NAME, "standing": "working"}}
    (home / "stops" / "desk").mkdir(parents=True, mode=0o700)
    (home / "stops" / "desk" / "1-1.json").write_bytes(intent.encode(record))
    abandon(kernel)


def tear(home: Path) -> None:
    """The file is cut off."""
    path = home / "stops" / "desk" / "1-1.json"
    path.write_bytes(path.read_bytes()[:-40])


def hang(home: Path) -> None:
    """The disk does not answer, as long as the process lives."""
    del home


def block(home: Path) -> None:
    """A file is in the place of the directory."""
    shutil.rmtree(home / "stops" / "desk")
    (home / "stops" / "desk").write_text("in the way")


def foreign(home: Path) -> None:
    """The file is another home's, and whole."""
    path = home / "stops" / "desk" / "1-1.json"
    path.write_bytes(intent.encode(attrs.evolve(intent.decode(path.read_bytes()), home="elsewhere")))


def link(home: Path) -> None:
    """A link leads to the stops of another home."""
    (home / "stops" / "desk").rename(home / "elsewhere")
    (home / "stops" / "desk").symlink_to(home / "elsewhere")


@pytest.mark.parametrize("spoil", [tear, hang, block, foreign, link], ids=lambda spoil: spoil.__name__)
def test_no_engine_starts_over_an_intent_that_cannot_be_read(
    home: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When `resume` returns the kernel is HALTED, unless it is certain that nothing was interrupted."""
    interrupted(home)
    never = threading.Event()
    with attach(home) as kernel:
        spoil(home)
        if spoil is hang:
            monkeypatch.setattr(intent.Stops, "_look", lambda _: never.wait(LONG_S))
        venue = Venue(kernel)
        venue.resting["a"] = (order("a", price="98"), D(0))
        resumed = executor(kernel, venue, home).resume()
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()
        assert resumed is not None
        outcome = resumed.result(LONG_S)
        never.set()
        assert (venue.calls("cancel"), outcome.category, outcome.problems != ()) == (["a"], 0, True)
        kernel.heartbeat()
        assert "STOP_PROBLEM" in {one["code"] for one in of_kind(home, "anomaly")}


@pytest.mark.parametrize("spoil", [foreign, link], ids=lambda spoil: spoil.__name__)
def test_intent_of_another_home_is_left_as_it_is(home: Path, spoil: Callable[[Path], None]) -> None:
    """A whole intent that belongs elsewhere may be the only account of a stop that is not over: it keeps its name."""
    interrupted(home)
    with attach(home) as kernel:
        spoil(home)
        before = intents(home)
        resumed = executor(kernel, Venue(kernel), home, pace=BRIEF).resume()
        assert resumed is not None
        resumed.result(LONG_S)
    after = intents(home)
    assert {name: after[name] for name in before} == before
    assert (len(after) == 1) is (spoil is link)  # nothing of ours is written beyond a link


def test_damage_is_set_aside_only_over_a_halt(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the look and the halt leaves the damaged file as it was, for the next look to find."""
    interrupted(home)
    tear(home)
    with attach(home) as kernel:

        def halt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(kernel, "halt", halt)
        with pytest.raises(KeyboardInterrupt):
            executor(kernel, Venue(kernel), home).resume()
        monkeypatch.undo()
    assert list(intents(home)) == ["1-1.json"]


def test_controlled_stop_over_unreadable_intents_sends_nothing(home: Path, kernel: Kernel) -> None:
    """What can't be read may tell of an exit that was sent, so there is no other: halt, and category 0."""
    venue = Venue(kernel)
    hold(kernel, venue)
    (home / "stops").write_text("in the way")
    outcome = executor(kernel, venue, home).controlled("evening").result(LONG_S)
    assert (outcome.category, outcome.complete, kernel.mode) == (0, False, Mode.HALTED)
    assert venue.calls("send") == ["entry-XYZ"]


@pytest.mark.parametrize("spoil", [block, link], ids=lambda spoil: spoil.__name__)
def test_engine_is_refused_a_home_whose_stops_are_elsewhere(home: Path, spoil: Callable[[Path], None]) -> None:
    """The directory of an engine's stops is part of the ground that the home stands on."""
    interrupted(home)
    spoil(home)
    with pytest.raises(HomeError, match="stops/desk"):
        attach(home, engine="desk")
