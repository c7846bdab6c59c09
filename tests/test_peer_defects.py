"""Each peer defect of FACTS.md, by behaviour: the mistake is made in a small engine here, and the kernel holds.

The engines are the peers' in miniature: an emulator that keeps stop orders, a queue, a retry loop, a
strategy that wants to get around the gate. Each does after the halt what its peer did.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shutil
import signal
import threading
from typing import TYPE_CHECKING

import attrs
import pytest

from interlock import HaltCode, HomeError, Kernel, Mode, Order, Outcome, Permit, PermitError, Reason, Side

from .helpers import (
    LIMITS,
    RecordingVenue,
    arm,
    attach,
    cancel,
    fill,
    halt_home,
    of_kind,
    order,
    python,
    quote,
    running,
    sound,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock import Quote, Verdict


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


class Emulator:
    """Holds stop orders in the engine and releases them when the price gets there, as Nautilus does."""

    def __init__(self, kernel: Kernel, venue: RecordingVenue) -> None:
        self.kernel = kernel
        self.venue = venue
        self.held: list[tuple[int, Order]] = []
        self.released: list[Verdict] = []

    def on_tick(self, tick: Quote) -> None:
        """Release what is due: without asking gate 1, as the peer does."""
        due = [stop for at, stop in self.held if tick.ask >= at]
        self.held = [(at, stop) for at, stop in self.held if tick.ask < at]
        self.released += [self.kernel.submit(stop, self.venue.send) for stop in due]


def test_emulated_stop_does_not_outlive_the_halt(home: Path) -> None:
    """NautilusTrader: a stop emulated before the halt is released after it, and refused at the gate."""
    with running(home) as kernel:
        venue = RecordingVenue()
        emulator = Emulator(kernel, venue)
        emulator.held = [(101, order("s1", price=None)), (105, order("s2", price=None))]
        emulator.on_tick(quote(kernel, "100.5", "101"))
        kernel.halt("enough")
        emulator.on_tick(quote(kernel, "104.5", "105"))
        assert [verdict.reason for verdict in emulator.released] == [Reason.ACCEPTED, Reason.HALTED]
        assert venue.seen == ["s1"]
    sound(home)


def test_queued_and_retried_orders_do_not_outlive_the_halt(home: Path) -> None:
    """Orders that wait in a queue, or are tried again and again by a worker, are refused from the halt on."""
    with running(home) as kernel:
        venue = RecordingVenue()
        waiting: queue.Queue[Order | None] = queue.Queue()
        halted = threading.Event()
        first = threading.Event()
        verdicts: list[Verdict] = []

        def worker() -> None:
            while (wanted := waiting.get()) is not None:
                for _ in range(3):  # a retry loop
                    verdict = kernel.submit(wanted, venue.send)
                    verdicts.append(verdict)
                    if verdict:
                        break
                first.set()
                halted.wait(30)

        thread = threading.Thread(target=worker)
        for number in range(10):
            waiting.put(order(f"q{number}"))
        waiting.put(None)
        thread.start()
        assert first.wait(30)
        kernel.halt("enough")
        halted.set()
        thread.join(30)
        assert venue.seen == ["q0"]
        assert [bool(verdict) for verdict in verdicts] == [True] + [False] * 27
    sound(home)


def test_there_is_no_bypass(home: Path) -> None:
    """No flag, subclass, forged or kept permit gets an order past the gate."""
    with running(home) as kernel:
        venue = RecordingVenue()
        kernel.submit(order("first"), venue.send)
        kernel.halt("enough")
        with pytest.raises(TypeError):
            kernel.submit(order("a"), venue.send, bypass=True)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Order(**attrs.asdict(order("a")), bypass=True)  # type: ignore[call-arg]

        @attrs.frozen(kw_only=True)
        class Bypass(Order):
            bypass: bool = True

        loud = Bypass(**{field.name: getattr(order("a"), field.name) for field in attrs.fields(Order)})
        assert not kernel.submit(loud, venue.send)
        with pytest.raises(PermitError):
            Permit()
        with pytest.raises(PermitError):
            type("Mine", (Permit,), {})
        with pytest.raises(PermitError):
            venue.send(venue.permits[0])
        with pytest.raises(AttributeError):
            venue.send(order("a"))  # type: ignore[arg-type]
        assert venue.seen == ["first"]
    sound(home)


def test_bypass_object_is_refused_while_running(home: Path) -> None:
    """An order of a class of one's own, which could change after the check, is refused also while RUNNING."""

    @attrs.define(kw_only=True)
    class Soft:
        client_order_id: str = "a"

    with running(home) as kernel:
        venue = RecordingVenue()
        assert kernel.submit(Soft(), venue.send).reason is Reason.MALFORMED  # type: ignore[arg-type]
        assert venue.seen == []
    sound(home)


def test_order_cannot_change_between_gate_and_venue(home: Path) -> None:
    """What was checked is what is redeemed: the order is frozen."""
    with running(home) as kernel:

        def send(permit: Permit) -> None:
            wanted = permit.redeem()
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                wanted.quantity = wanted.quantity * 100  # type: ignore[misc]

        assert kernel.submit(order("a"), send).outcome is Outcome.SENT


@pytest.mark.parametrize("side", Side)
def test_reduce_only_from_flat_is_refused(home: Path, side: Side) -> None:
    """NautilusTrader in REDUCING let a flat account buy: reduce-only from flat is refused here."""
    with running(home) as kernel:
        venue = RecordingVenue()
        verdict = kernel.submit(order("a", side=side, reduce_only=True), venue.send)
        assert verdict.reason is Reason.REDUCE_ONLY
        assert venue.seen == []


def test_reduce_only_cannot_flip_a_long(home: Path) -> None:
    """It let a long 100 sell 1000: here no sequence of exits and fills turns the position."""
    with running(home) as kernel:
        venue = RecordingVenue()
        kernel.submit(order("long", quantity="1"), venue.send)
        kernel.on_fill(fill("long", "f1"))
        sell = Side.SELL
        assert kernel.submit(order("x1", side=sell, quantity="1.1", reduce_only=True), venue.send).reason is (
            Reason.REDUCE_ONLY
        )
        assert kernel.submit(order("x2", side=sell, quantity="0.6", reduce_only=True), venue.send)
        assert kernel.submit(order("x3", side=sell, quantity="0.5", reduce_only=True), venue.send).reason is (
            Reason.REDUCE_ONLY
        )
        assert kernel.submit(order("x4", side=sell, quantity="0.5"), venue.send).reason is Reason.EXIT_RESERVED
        assert kernel.submit(order("x5", side=sell, quantity="0.4", reduce_only=True), venue.send)
        kernel.on_fill(fill("x2", "f2", side=sell, quantity="0.6"))
        kernel.on_fill(fill("x5", "f3", side=sell, quantity="0.4"))
        assert kernel.position("XYZ") == "0"


def test_kill_called_from_the_task_it_stops(home: Path) -> None:
    """Hummingbot: a kill whose shutdown cancels the kill's own task; here the halt is done before that can matter."""
    kernel = running(home)
    venue = RecordingVenue()
    kernel.submit(order("resting"), venue.send)
    tasks: list[asyncio.Task[None]] = []

    async def kill() -> None:
        report = kernel.halt("pulled")
        assert report.confirmed
        assert report.durable
        assert report.recorded
        for task in tasks:
            task.cancel()  # its own among them
        for working in kernel.working_orders():  # the venue's cancels, not awaited by the task that dies
            kernel.cancel(cancel(working.client_order_id), venue.cancel)
        await asyncio.sleep(0)
        pytest.fail("the task was to be cancelled")

    async def scenario() -> None:
        tasks.append(asyncio.create_task(kill()))
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
    assert tasks[0].cancelled()
    assert venue.cancels == ["resting"]
    assert kernel.submit(order("b"), venue.send).reason is Reason.HALTED
    kernel.close()
    with attach(home) as again:
        assert again.mode is Mode.HALTED
    sound(home)


def test_kill_needs_no_poll(home: Path) -> None:
    """Hummingbot polls its switch every ten seconds: here the very next order after the byte is refused."""
    with running(home) as kernel:
        venue = RecordingVenue()
        for number in range(100):
            wanted = order(f"o{number}")
            if number == 50:
                halt_home(home)
            kernel.submit(wanted, venue.send)
        assert len(venue.seen) == 50


class Bomb(str):
    """A value that raises as soon as it is compared or looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        """Raise."""
        raise RuntimeError("boom")

    def __eq__(self, other: object) -> bool:
        """Raise."""
        raise RuntimeError("boom")

    __ne__ = __eq__


def test_check_that_raises_refuses(home: Path) -> None:
    """The wrapper of freqtrade says yes when its callback raises: here that is a refusal, and an anomaly."""
    with running(home) as kernel:
        venue = RecordingVenue()
        verdict = kernel.submit(order("a", instrument=Bomb("XYZ")), venue.send)
        assert verdict.reason is Reason.CHECK_RAISED
        assert venue.seen == []
        assert kernel.submit(order("b"), venue.send)  # and the gate is not stuck
    assert [anomaly["code"] for anomaly in of_kind(home, "anomaly")] == ["CHECK_RAISED"]
    sound(home)


def test_gate_one_that_raises_refuses(home: Path) -> None:
    """A check of gate 1 that raises does not show the tick to the strategy."""
    with running(home) as kernel:
        for _ in range(3):
            assert kernel.consult(attrs.evolve(quote(kernel), instrument=Bomb("XYZ"))).reason is Reason.CHECK_RAISED
        assert kernel.consult(quote(kernel))
    sound(home)


def test_restart_does_not_trade_again(home: Path) -> None:
    """The peer freqtrade forgets stop-buy over a restart: here a restart, and a restart of that, stay halted."""
    with running(home) as kernel:
        kernel.halt("enough")
    for _ in range(3):
        with attach(home) as again:
            venue = RecordingVenue()
            assert not again.start()
            assert again.submit(order("a"), venue.send).reason is Reason.HALTED
            assert venue.seen == []
    sound(home)


def test_exception_in_one_handler_ends_nothing(home: Path) -> None:
    """The event engine of vnpy dies with one handler: here a send that raises leaves gates and later orders alone."""
    with running(home) as kernel:
        venue = RecordingVenue()

        def bad(permit: Permit) -> None:
            permit.redeem()
            raise ZeroDivisionError

        assert kernel.submit(order("a"), bad).outcome is Outcome.UNKNOWN
        with pytest.raises(ZeroDivisionError):
            kernel.cancel(cancel("a"), lambda _: 1 // 0)
        assert kernel.consult(quote(kernel))
        assert kernel.submit(order("b"), venue.send)
        assert kernel.halt("x").confirmed


def test_quotes_pass_the_same_gates(home: Path) -> None:
    """The risk rules of vnpy skip quotes: here there is one way out, and two-sided quoting is two orders through it."""
    with running(home) as kernel:
        venue = RecordingVenue()
        both = [order("bid", price="99"), order("ask", side=Side.SELL, price="101", quantity="11")]
        reasons = [kernel.submit(leg, venue.send).reason for leg in both]
        assert reasons == [Reason.ACCEPTED, Reason.MAX_QUANTITY]


@pytest.mark.parametrize("gone", ["home", "journal", "latch.json", "page"])
def test_missing_directory_is_halted(home: Path, gone: str) -> None:
    """The agent's file flag takes a missing directory for go: here each thing that is missing means no."""
    kernel = running(home)
    path = home if gone == "home" else home / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    kernel.heartbeat()
    venue = RecordingVenue()
    assert kernel.submit(order("a"), venue.send).reason is Reason.HALTED
    kernel.close()
    with contextlib.suppress(HomeError), attach(home) as again:
        assert again.submit(order("b"), venue.send).reason is Reason.HALTED
    assert venue.seen == []


HOLDER = """
import sys
from tests.helpers import *
kernel = running(sys.argv[1])
kernel.halt("pulled")
print("halted", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_latch_does_not_go_with_its_holder(home: Path, how: signal.Signals) -> None:
    """A flock used as latch is lost with its holder: here whoever halted may be killed, and it stays halted."""
    with python(HOLDER, home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "halted\n"
        os.kill(child.pid, how)
        child.wait(30)
    with attach(home) as kernel:
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.OPERATOR
        assert not kernel.start()
    sound(home)


def test_a_caller_trips_it_by_looping(tmp_path: Path) -> None:
    """At Nautilus no caller trips the breaker: here the same order over and over halts by itself."""
    tight = LIMITS.replace("repeat_window_ms = 1", "repeat_window_ms = 60000")
    tight = tight.replace("repeat_refuse_after = 1000", "repeat_refuse_after = 3")
    home = arm(tmp_path / "home", tight.replace("repeat_trip_after = 2000", "repeat_trip_after = 6")).path
    with running(home) as kernel:
        venue = RecordingVenue()
        reasons = [kernel.submit(order(f"o{number}"), venue.send).reason for number in range(8)]
        assert reasons == [Reason.ACCEPTED] * 3 + [Reason.ORDER_LOOP] * 3 + [Reason.HALTED] * 2
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.ORDER_LOOP
    with attach(home) as again:
        assert again.mode is Mode.HALTED
    sound(home)


WAYS_BACK: dict[str, Callable[[Kernel], object]] = {
    "start": lambda kernel: kernel.start(),
    "start a new session": lambda kernel: kernel.start("tomorrow"),
    "stop": lambda kernel: kernel.stop(),
    "drain": lambda kernel: kernel.drain(),
    "heartbeat": lambda kernel: kernel.heartbeat(),
    "halt again": lambda kernel: kernel.halt("again"),
    "good tick": lambda kernel: kernel.consult(quote(kernel)),
    "good fill": lambda kernel: kernel.on_fill(fill("x", "f")),
    "anomaly": lambda kernel: kernel.anomaly("a", "b"),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_nothing_but_a_reset_leaves_halted(home: Path, way: str) -> None:
    """Whatever an engine calls after a halt, it stays HALTED."""
    with running(home) as kernel:
        kernel.halt("enough")
        for _ in range(3):
            WAYS_BACK[way](kernel)
            assert kernel.mode is Mode.HALTED
    sound(home)
