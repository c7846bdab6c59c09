"""The shutdown over real kernels and homes: its phases, their budgets, and that a halt wins at any point."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from tests.helpers import NAME, attach, journal, of_kind, order, sound
from tests.stopping_helpers import BRIEF, LONG_S, PATIENT, Raises, Venue, hold, place

from interlock import HaltCode, Mode, Reason
from interlock.stopping import (
    Exits,
    Overrun,
    Pace,
    Phase,
    Shutdown,
    ShutdownReport,
    Standing,
    StopExecutor,
    StopOutcome,
)
from interlock.stopping import shutdown as shutdowns
from interlock.verify import Status

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Kernel

ORDERLY = [Phase.GATE, Phase.DRAIN, Phase.CANCEL, Phase.SEAL, Phase.DETACH]


def shutdown(kernel: Kernel, venue: Venue, home: Path | None = None, **given: Any) -> Shutdown:
    """A shutdown that takes orders back, and has all the time it needs."""
    executor = StopExecutor(kernel, {"venue": venue}, home=home, engine="desk", pace=PATIENT)
    budgets = dict.fromkeys(Phase, float(LONG_S)) | given.pop("budgets_s", {})
    return Shutdown(kernel, budgets_s=budgets, **({"executor": executor, "cancel": True} | given))


def phases(report: ShutdownReport) -> list[Phase]:
    """The phases that were gone through."""
    return [one.phase for one in report.phases]


def late(report: ShutdownReport) -> list[Phase]:
    """The phases that did not come to their end in time."""
    return [one.phase for one in report.phases if not one.in_budget]


class Sending:
    """A send that stays inside, in a thread of its own."""

    def __init__(self, kernel: Kernel) -> None:
        self.inside, self.out = threading.Event(), threading.Event()
        self.verdict: Any = None

        def send(permit: Any) -> None:
            permit.redeem()
            self.inside.set()
            self.out.wait(LONG_S)

        def submit() -> None:
            self.verdict = kernel.submit(order("slow"), send)

        self.thread = threading.Thread(target=submit, daemon=True)
        self.thread.start()
        if not self.inside.wait(LONG_S):
            raise TimeoutError

    def end(self) -> None:
        """Let it out, and wait until it is."""
        self.out.set()
        self.thread.join(LONG_S)


def test_orderly_shutdown_goes_through_its_phases(home: Path, kernel: Kernel) -> None:
    """Gate closed, sends ended, orders taken back, IDLE and sealed, detached: each phase tells what it did."""
    venue = Venue(kernel)
    place(kernel, venue, "a", "b")
    report = shutdown(kernel, venue).run("evening")

    assert (phases(report), late(report)) == (ORDERLY, [])
    assert (report.stopped, report.category, report.halted) == (True, None, "")
    assert report.stop is not None
    assert {end.standing for end in report.stop.orders} == {Standing.CANCELLED}
    assert all(one.took_ns >= 0 and one.left == () and one.did for one in report.phases)
    assert sum(one.took_ns for one in report.phases) <= report.took_ns
    assert [one["reason"] for one in of_kind(home, "drain")] == ["evening"]
    assert orjson.loads(orjson.dumps(report.as_json()))["stopped"] is True
    with attach(home) as again:
        assert (again.mode, again.working_orders()) == (Mode.IDLE, ())
    sound(home)


def test_phases_are_measured_on_the_given_clock(kernel: Kernel) -> None:
    """Durations come from the monotonic clock that was handed in, and from nothing else."""
    ticks = iter(range(0, 10_000, 7))
    report = shutdown(kernel, Venue(kernel), now_ns=lambda: next(ticks)).run()
    assert [one.took_ns for one in report.phases] == [7] * len(ORDERLY)


def test_without_cancels_orders_go_on_resting(kernel: Kernel) -> None:
    """Unless it is configured to, a shutdown leaves working orders and positions alone."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    report = shutdown(kernel, venue, cancel=False, detach=False).run()
    assert phases(report) == [Phase.GATE, Phase.DRAIN, Phase.SEAL]
    assert (list(venue.resting), kernel.mode) == (["a"], Mode.IDLE)
    assert kernel.positions()[NAME] == Decimal(2)


def test_shutdown_waits_for_a_send_that_ends(kernel: Kernel) -> None:
    """A send in flight ends, is counted, and nothing is let in meanwhile."""
    sending = Sending(kernel)
    closing = shutdown(kernel, Venue(kernel), detach=False, cancel=False)
    closing.gate("evening")
    assert kernel.submit(order("late"), lambda _: None).reason is Reason.GATE_CLOSED
    threading.Thread(target=sending.end).start()
    closing.drain()
    report = closing.finish()
    sending.end()
    assert (report.stopped, late(report), sending.verdict.accepted) == (True, [], True)


@pytest.mark.parametrize("overrun", [None, Overrun.HALT, Overrun.GO_ON], ids=str)
def test_drain_that_overruns_halts_unless_told_otherwise(home: Path, kernel: Kernel, overrun: Overrun | None) -> None:
    """A send that does not end in time is named; the shutdown halts by default, and tries to go on if so configured."""
    sending = Sending(kernel)
    report = shutdown(
        kernel,
        Venue(kernel),
        executor=None,
        detach=False,
        budgets_s={Phase.DRAIN: 0.02, Phase.SEAL: 0.02},
        overruns={} if overrun is None else {Phase.DRAIN: overrun},
    ).run()
    drain = next(one for one in report.phases if one.phase is Phase.DRAIN)
    assert (drain.in_budget, drain.left) == (False, ("slow",))
    assert (kernel.mode, report.category) == (Mode.HALTED, 0)  # going on ends in a seal that can't be either
    assert kernel.cause is not None
    assert kernel.cause.code is HaltCode.INTERNAL
    assert (Phase.DRAIN if overrun is not Overrun.GO_ON else Phase.SEAL) in kernel.cause.reason
    sending.end()
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_orders_that_stay_are_named_and_hold_up_nothing(kernel: Kernel) -> None:
    """Cancels that fail are reported by order; the shutdown goes on to IDLE, or halts if so configured."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    venue.habits["cancel"] = Raises(ConnectionError("gone"))
    report = shutdown(kernel, venue, detach=False, budgets_s={Phase.CANCEL: 0.05}).run()
    cancel = next(one for one in report.phases if one.phase is Phase.CANCEL)
    assert (cancel.in_budget, cancel.left, report.stopped) == (False, ("a",), True)


def test_orders_that_stay_halt_if_so_configured(kernel: Kernel) -> None:
    """The same, with a shutdown that is to halt over it: the stop of the halt then tries once more."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    errors = iter([ConnectionError("gone")] * 200)

    def fails_while_running(_: str) -> None:
        if kernel.mode is Mode.RUNNING:
            raise next(errors)

    venue.habits["cancel"] = fails_while_running
    halting = {Phase.CANCEL: Overrun.HALT}
    report = shutdown(kernel, venue, detach=False, budgets_s={Phase.CANCEL: 0.05}, overruns=halting).run()
    assert (report.category, kernel.mode, kernel.working_orders()) == (0, Mode.HALTED, ())


def test_shutdown_with_exits_is_category_1(home: Path, kernel: Kernel) -> None:
    """With exits it ends flat and HALTED, and says that it was a stop of category 1."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    report = shutdown(kernel, venue, home, exits=Exits(), detach=False).run("evening")
    assert phases(report) == [Phase.GATE, Phase.DRAIN, Phase.EXIT, Phase.SEAL]
    assert (report.category, report.stopped, kernel.mode, late(report)) == (1, False, Mode.HALTED, [])
    assert report.stop is not None
    assert (report.stop.complete, report.stop.positions) == (True, {})
    sound(home, Status.VERIFIED_TO_N)


# ---------------------------------------------------------------------------
# A halt wins


def test_halt_before_it_begins(home: Path, kernel: Kernel) -> None:
    """A shutdown of a halted kernel is the stop of the halt, sealed and detached."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    kernel.halt("pulled")
    report = shutdown(kernel, venue, home).run()
    assert phases(report) == [Phase.CANCEL, Phase.SEAL, Phase.DETACH]
    assert (report.category, report.stopped, report.halted) == (0, False, "OPERATOR: pulled")
    assert venue.resting == {}
    assert of_kind(home, "drain") == []


def test_halt_during_the_drain(home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A halt while a send is waited for ends the waiting, and makes it category 0."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    sending = Sending(kernel)
    closing = shutdown(kernel, venue, home, detach=False)
    closing.gate("evening")
    look = type(kernel).in_flight

    def halting(self: Kernel) -> Any:
        if threading.current_thread().name == "shutdown drain" and self.mode is Mode.RUNNING:
            self.halt("pulled", timeout_s=0.01)
        return look(self)

    monkeypatch.setattr(type(kernel), "in_flight", halting)
    closing.drain()
    venue.habits["cancel"] = lambda order_id: sending.end() if order_id == "slow" else None
    venue.resting["slow"] = (order("slow"), Decimal(0))
    report = closing.finish()
    assert phases(report) == [Phase.GATE, Phase.DRAIN, Phase.CANCEL, Phase.SEAL]
    assert (report.phases[1].did, report.category) == ("cut short by a halt", 0)
    assert (kernel.mode, kernel.working_orders()) == (Mode.HALTED, ())


@pytest.mark.parametrize("call", ["cancel", "query"])
def test_halt_during_the_cancels(home: Path, kernel: Kernel, call: str) -> None:
    """A halt while orders are taken back: the stop of the halt takes them back, and nothing ends IDLE."""
    venue = Venue(kernel)
    place(kernel, venue, "a", "b")

    def once(_: str) -> None:
        if kernel.mode is Mode.RUNNING:
            kernel.halt("pulled")

    venue.habits[call] = once
    report = shutdown(kernel, venue, home, detach=False).run()
    assert (report.category, report.stopped, kernel.mode, venue.resting) == (0, False, Mode.HALTED, {})
    assert report.halted == "OPERATOR: pulled"
    assert report.stop is not None
    assert report.stop.complete


@pytest.mark.parametrize("call", ["cancel", "query", "send"])
def test_halt_during_the_exits(home: Path, kernel: Kernel, call: str) -> None:
    """A halt during a stop of category 1 makes it one of category 0; what was not begun is not begun."""
    venue = Venue(kernel)
    hold(kernel, venue)
    place(kernel, venue, "a")
    venue.habits[call] = lambda _: kernel.halt("pulled")
    exits = Exits(price=lambda *_: Decimal(100))
    report = shutdown(kernel, venue, home, exits=exits, detach=False).run()
    assert (report.category, report.halted, kernel.mode) == (0, "OPERATOR: pulled", Mode.HALTED)
    assert report.stop is not None
    assert [end.begun for end in report.stop.exits] == [call == "send"]
    assert venue.resting == {}
    kernel.heartbeat()
    sound(home, Status.VERIFIED_TO_N)


def test_halt_during_the_seal(home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A halt that comes as it seals is not overwritten by IDLE."""
    stop = type(kernel).stop

    def halting(self: Kernel, *given: Any, **named: Any) -> Any:
        self.halt("pulled")
        return stop(self, *given, **named)

    monkeypatch.setattr(type(kernel), "stop", halting)
    report = shutdown(kernel, Venue(kernel), home).run()
    assert (report.stopped, report.category) == (False, 0)
    with attach(home) as again:
        assert again.mode is Mode.HALTED


def test_gate_that_hangs_halts(kernel: Kernel) -> None:
    """If not even the gate can be closed in time, because a disk hangs, the byte is set: nothing is sent any more."""
    kernel._lock.acquire()  # whoever has it waits for the disk
    closing = shutdown(kernel, Venue(kernel), detach=False, budgets_s={Phase.GATE: 0.02, Phase.SEAL: 0.02})
    closing.gate("evening")
    assert kernel.mode is Mode.HALTED
    kernel._lock.release()
    assert closing.finish().category == 0


def test_idle_kernel_is_sealed_and_detached(home: Path) -> None:
    """A kernel that never ran shuts down without a halt."""
    kernel = attach(home)
    report = Shutdown(kernel).run()
    assert (report.stopped, report.category, late(report)) == (True, None, [])
    with attach(home) as again:
        assert again.mode is Mode.IDLE


def test_shutdown_inside_a_loop(kernel: Kernel) -> None:
    """An asyncio engine awaits it in a thread, and its sends in flight end meanwhile."""
    venue = Venue(kernel)

    async def main() -> ShutdownReport:
        out = asyncio.Event()

        async def send(permit: Any) -> None:
            permit.redeem()
            await out.wait()

        submitting = asyncio.create_task(kernel.submit_async(order("slow"), send))
        await asyncio.sleep(0)
        ending = asyncio.create_task(asyncio.to_thread(shutdown(kernel, venue, cancel=False, detach=False).run))
        while kernel._core.gate_open:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        out.set()
        assert (await submitting).accepted
        return await ending

    assert asyncio.run(main()).stopped


# ---------------------------------------------------------------------------
# What a shutdown owes whoever reads its report


class Mute(StopExecutor):
    """An executor whose stops never come back."""

    def clear(self, budget_s: float | None = None) -> Future[StopOutcome]:
        """Nothing comes of it."""
        del budget_s
        return Future()

    def halted(self, *, again: bool = False) -> Future[StopOutcome]:
        """Nothing comes of it."""
        del again
        return Future()


NO_TIME = Pace(budget_s=0.01, exit_s=0.01)


@pytest.mark.parametrize("halted", [False, True], ids=["orderly", "halted"])
def test_stop_that_is_never_heard_of_again_is_escalated(
    home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, halted: bool
) -> None:
    """A stop that does not come back in time is reported all the same: what works is UNKNOWN, by name."""
    monkeypatch.setattr(shutdowns, "_CLOSING_S", 0.01)
    venue = Venue(kernel)
    place(kernel, venue, "a", "b")
    if halted:
        kernel.halt("pulled")
    mute = Mute(kernel, {"venue": venue}, pace=NO_TIME)
    budgets = {Phase.CANCEL: 0.01}
    report = shutdown(kernel, venue, executor=mute, detach=False, budgets_s=budgets).run()
    assert report.stop is not None
    assert [end.client_order_id for end in report.stop.escalated] == ["a", "b"]
    assert (report.stop.complete, report.stopped, late(report)) == (False, not halted, [Phase.CANCEL])
    assert next(one for one in report.phases if one.phase is Phase.CANCEL).left == ("a", "b")
    (told,) = [one for one in of_kind(home, "anomaly") if one["code"] == "STOP_ESCALATED"]
    assert told["detail"].endswith("a, b")
    assert journal(home)[-1]["kind"] == "seal"


@pytest.mark.parametrize("halted", [False, True], ids=["orderly", "halted"])
def test_stop_is_not_cut_off_before_its_own_budget(kernel: Kernel, halted: bool) -> None:
    """However short the budget of CANCEL, a stop is heard to its end: by its own pace, and some time to tell."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    venue.habits["query"] = venue.hang
    venue.events = False
    if halted:
        kernel.halt("pulled")
    executor = StopExecutor(kernel, {"venue": venue}, pace=attrs.evolve(PATIENT, budget_s=0.5, call_s=0.1))
    report = shutdown(kernel, venue, executor=executor, detach=False, budgets_s={Phase.CANCEL: 0.001}).run()
    assert report.stop is not None
    (end,) = report.stop.escalated
    assert (end.gateway, report.stopped) == ("venue", not halted)  # the executor's own words, and not ours
    assert end.cancels or not halted


def test_what_a_stop_told_last_is_sealed(home: Path, kernel: Kernel) -> None:
    """HALTED and sealed means that the anomalies of the stop are sealed, too."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    venue.habits["cancel"] = Raises(ConnectionError("gone"))
    kernel.halt("pulled")
    executor = StopExecutor(kernel, {"venue": venue}, home=home, pace=BRIEF)
    report = shutdown(kernel, venue, executor=executor, detach=False).run()
    assert report.phases[-1].did == "sealed, HALTED"
    assert [one["code"] for one in of_kind(home, "anomaly")] == ["STOP_ESCALATED"]
    assert journal(home)[-1]["kind"] == "seal"


def test_drain_that_overran_leaves_no_thread_behind(kernel: Kernel) -> None:
    """Once nobody waits for the sends any more, nobody looks for them any more."""
    sending = Sending(kernel)
    seen: list[threading.Thread] = []
    closing = shutdown(kernel, Venue(kernel), executor=None, detach=False, budgets_s={Phase.DRAIN: 0.02})
    look = kernel.in_flight

    def looking() -> Any:
        if threading.current_thread().name == "shutdown drain" and threading.current_thread() not in seen:
            seen.append(threading.current_thread())
        return look()

    kernel.in_flight = looking  # type: ignore[method-assign]
    closing.gate("evening")
    closing.drain()
    (thread,) = seen
    thread.join(LONG_S)
    assert not thread.is_alive()
    sending.end()


def test_shutdown_beats_for_the_loop_that_waits_for_it(kernel: Kernel) -> None:
    """`run` holds up the thread that beats, so it beats itself: an exit is not refused for want of a heartbeat."""
    venue = Venue(kernel)
    place(kernel, venue, "a")
    beaten = threading.Event()
    beat = kernel.heartbeat

    def beating(*, quick: bool = False) -> None:
        beat(quick=quick)
        beaten.set()

    kernel.heartbeat = beating  # type: ignore[method-assign]

    def slow(_: str) -> None:
        beaten.clear()
        for _ in range(3):
            assert beaten.wait(LONG_S)
            beaten.clear()

    venue.habits["cancel"] = slow
    report = shutdown(kernel, venue, detach=False).run()
    assert (report.stopped, venue.resting) == (True, {})
    assert not [one for one in threading.enumerate() if one.name == "shutdown beats" and one.join(LONG_S)]


def test_hung_disk_hangs_the_beats_and_not_the_shutdown(kernel: Kernel) -> None:
    """A heartbeat that waits for the disk keeps no phase from running out of time."""
    venue = Venue(kernel)
    hung = threading.Event()

    def hangs(*, quick: bool = False) -> None:
        del quick
        hung.wait(LONG_S)

    kernel.heartbeat = hangs  # type: ignore[method-assign]
    sending = Sending(kernel)
    budgets = {Phase.DRAIN: 0.05, Phase.SEAL: 0.05}
    report = shutdown(kernel, venue, executor=None, detach=False, budgets_s=budgets).run()
    assert (report.category, kernel.mode) == (0, Mode.HALTED)
    hung.set()
    sending.end()


def test_phase_that_gets_no_thread_did_not_succeed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no thread left for a phase that must not fail is halted."""
    start = threading.Thread.start

    def starting(self: threading.Thread) -> None:
        if self.name == "shutdown drain":
            message = "can't start new thread"
            raise RuntimeError(message)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    report = shutdown(kernel, Venue(kernel), detach=False).run()
    assert (kernel.mode, late(report)) == (Mode.HALTED, [Phase.DRAIN])
    assert "can't start new thread" in report.halted
