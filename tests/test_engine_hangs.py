"""What the live loop owes a halt although it hangs itself, has no thread to spare, or is about to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import abandon, arm, attach, halt_home, journal, of_kind, order, quote, running, sound, until
from tests.stopping_helpers import LONG_S, PATIENT, Venue, place

from interlock import HaltCode, Kernel, Mode, Order, Quote
from interlock.adapters.replay import ReplayClock
from interlock.breaker.home import Home
from interlock.breaker.latch import HALTED, read_latch
from interlock.engine import Engine
from interlock.engine import loop as engines
from interlock.stopping import Exits, Standing, StopExecutor
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from pathlib import Path


@pytest.fixture
def kernel(home: Path) -> Iterator[Kernel]:
    """A kernel that is attached to it, and not started."""
    with attach(home) as attached:
        yield attached


class Ticks:
    """A feed of so many ticks, and then, if it is to, of none for ever."""

    def __init__(self, kernel: Kernel, count: int = 1, *, endless: bool = False) -> None:
        self.kernel, self.count, self.endless = kernel, count, endless

    async def batches(self) -> AsyncIterator[Sequence[Quote]]:
        """One at a time."""
        for number in range(1, self.count + 1):
            tick = quote(self.kernel)
            yield [attrs.evolve(tick, ts_us=tick.ts_us + number * 1000)]
        if self.endless:
            await asyncio.Event().wait()


class Wants:
    """A strategy out of a function from the number of the tick, from 1, to orders."""

    def __init__(self, wants: Callable[[int], Iterable[Order]]) -> None:
        self.wants, self.asked = wants, 0

    def on_tick(self, _: Quote) -> Iterable[Order]:
        """The orders."""
        self.asked += 1
        return self.wants(self.asked)


class Hangs(Wants):
    """Has an order rest, and hangs on the second tick, with the loop and its thread, until it is let out."""

    def __init__(self) -> None:
        super().__init__(self._hang)
        self.hung, self.out = threading.Event(), threading.Event()

    def _hang(self, number: int) -> Iterable[Order]:
        if number == 1:
            return [order("rests", price="98")]
        self.hung.set()
        if not self.out.wait(LONG_S):
            raise TimeoutError
        return []


def engine(kernel: Kernel, venue: Venue, strategy: Any, *, home: Path | None = None, **given: Any) -> Engine:
    """A loop over a venue in memory, whose stops have all the time they need."""
    stopping = given.pop("stopping", StopExecutor(kernel, {"venue": venue}, home=home, pace=PATIENT))
    feed = given.pop("feed", Ticks(kernel, 2))
    return Engine(kernel, feed=feed, strategy=strategy, gateway=venue, stopping=stopping, heartbeat_s=0.02, **given)


@contextlib.contextmanager
def in_a_thread(loop: Engine) -> Iterator[None]:
    """Run it beside the test; it must end by itself."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(loop.run(signals=False))
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(LONG_S)
    assert not thread.is_alive()
    assert failed == []


def seen(venue: Venue, call: str) -> threading.Event:
    """Set once the venue was asked for something."""
    event = threading.Event()
    venue.habits[call] = lambda _: event.set()
    return event


# ---------------------------------------------------------------------------
# The loop hangs


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
@pytest.mark.parametrize("outside", [True, False], ids=["from outside", "in the process"])
def test_halt_takes_orders_back_although_the_strategy_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool, replay: bool
) -> None:
    """A strategy that never returns keeps no order at the venue: cancels leave while it still hangs."""
    monkeypatch.setattr(engines, "_LOOP_S", 0.01)
    home = tmp_path / "home"
    arm(home)
    clock = ReplayClock(1_700_000_000_000_000) if replay else None
    with attach(home, clock) as kernel:  # type: ignore[arg-type]
        venue, strategy = Venue(kernel), Hangs()
        cancelled = seen(venue, "cancel")
        loop = engine(kernel, venue, strategy, home=home, timeline=clock)
        with in_a_thread(loop):
            assert strategy.hung.wait(LONG_S)
            if outside:
                assert halt_home(home, timeout_s=LONG_S).confirmed
            else:
                kernel.halt("pulled")
            try:
                assert cancelled.wait(LONG_S)
            finally:
                strategy.out.set()
        assert loop.report.stop is not None
        assert [(end.client_order_id, end.standing) for end in loop.report.stop.orders] == [
            ("rests", Standing.CANCELLED)
        ]
        assert (kernel.mode, kernel.working_orders()) == (Mode.HALTED, ())
    sound(home)


def test_second_signal_halts_although_the_strategy_hangs(home: Path, kernel: Kernel) -> None:
    """The second signal stops emission; latch, journal and cancels follow, all without the loop."""
    venue, strategy = Venue(kernel), Hangs()
    cancelled = seen(venue, "cancel")
    loop = engine(kernel, venue, strategy, home=home)
    before = signal.getsignal(signal.SIGTERM)
    found: list[Any] = []

    def killer() -> None:
        strategy.hung.wait(LONG_S)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        found.append(cancelled.wait(LONG_S))
        found.append(kernel.halt("now that it is known").cause.code)
        found.append(read_latch(Home(home).latch)[0].state)
        strategy.out.set()

    killing = threading.Thread(target=killer)
    killing.start()
    asyncio.run(loop.run())
    killing.join(LONG_S)
    assert found == [True, HaltCode.SIGNAL, HALTED]
    assert signal.getsignal(signal.SIGTERM) is before
    assert (kernel.mode, kernel.working_orders()) == (Mode.HALTED, ())


def test_stop_of_a_halt_in_a_replay_waits_for_the_loop(tmp_path: Path) -> None:
    """Where the ticks are the clock a stop begins at the end of the tick that halted, before the next one's time."""
    home = tmp_path / "home"
    arm(home)
    clock = ReplayClock(1_700_000_000_000_000)
    with attach(home, clock) as kernel:  # type: ignore[arg-type]
        venue, called = Venue(kernel), threading.Event()
        kernel.on_halt(called.set)
        cancelled = seen(venue, "cancel")

        def wants(number: int) -> Iterable[Order]:
            if number == 1:
                return [order("rests", price="98")]
            kernel.halt("pulled")
            assert called.wait(LONG_S)
            assert not cancelled.is_set()
            return [order("late")]

        asyncio.run(engine(kernel, venue, Wants(wants), feed=Ticks(kernel, 4), timeline=clock).run(signals=False))
    records = [one for one in journal(home) if one["kind"] in {"halt", "refuse", "cancel", "block"}]
    assert [one["kind"] for one in records] == ["halt", "refuse", "cancel", "block"]
    assert len({one["ts"] for one in records[:3]}) == 1 < len({one["ts"] for one in records})
    sound(home)


# ---------------------------------------------------------------------------
# Nothing to spare


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[str]:
    """From here on the machine has no thread of that name, so many times; the list fills."""
    start = threading.Thread.start
    refused: list[str] = []

    def starting(self: threading.Thread) -> None:
        if self.name == name and len(refused) < times:
            refused.append(name)
            message = "can't start new thread"
            raise RuntimeError(message)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    return refused


def test_stop_that_gets_no_thread_is_tried_again(home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop for which there was no thread is begun once there is one; the loop beats on, and the journal says so."""
    venue = Venue(kernel)
    cancelled = seen(venue, "cancel")
    loop = engine(kernel, venue, Wants(lambda _: [order("rests", price="98")]), feed=Ticks(kernel, 1, endless=True))
    refused = refusing(monkeypatch, "stop", 3)

    async def main() -> int:
        run = asyncio.create_task(loop.run(signals=False))
        await until(lambda: loop.report.orders_sent)
        kernel.halt("pulled")
        assert await asyncio.to_thread(cancelled.wait, LONG_S)
        beats = kernel._sentinel.berth.seen().beats
        await until(lambda: kernel._sentinel.berth.seen().beats != beats)
        loop.stop()
        await run
        return len(refused)

    assert asyncio.run(main()) == 3
    kernel.seal()
    assert {one["code"] for one in of_kind(home, "anomaly")} == {"STOP_NOT_BEGUN"}
    assert kernel.working_orders() == ()


def test_run_that_ends_tries_again_as_well(home: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose feed ends with the halt does not end before its stop was begun and came to its end."""
    venue = Venue(kernel)
    refused = refusing(monkeypatch, "stop", 3)

    def wants(_: int) -> Iterable[Order]:
        yield order("rests", price="98")
        kernel.halt("pulled")

    loop = engine(kernel, venue, Wants(wants), feed=Ticks(kernel, 1))
    asyncio.run(loop.run(signals=False))
    assert (len(refused), kernel.working_orders()) == (3, ())
    assert loop.report.stop is not None
    assert loop.report.stop.complete
    del home


def test_heartbeat_that_raises_is_not_the_last(home: Path, kernel: Kernel) -> None:
    """What a heartbeat raises is written down, once, and the next one comes."""
    venue, beat = Venue(kernel), kernel.heartbeat
    again = threading.Event()
    errors = iter([OSError("first"), OSError("first"), OSError("second")])

    def beating(*, quick: bool = False) -> None:
        error = next(errors, None)
        if error is not None:
            raise error
        beat(quick=quick)
        again.set()

    kernel.heartbeat = beating  # type: ignore[method-assign]
    loop = engine(kernel, venue, Wants(lambda _: []), feed=Ticks(kernel, 1, endless=True))

    async def main() -> None:
        run = asyncio.create_task(loop.run(signals=False))
        assert await asyncio.to_thread(again.wait, LONG_S)
        loop.stop()
        await run

    asyncio.run(main())
    kernel.seal()
    assert [(one["code"], one["detail"]) for one in of_kind(home, "anomaly")] == [
        ("BEAT_RAISED", "OSError: first"),
        ("BEAT_RAISED", "OSError: second"),
    ]


def test_stop_needs_none_of_the_loops_own_threads(kernel: Kernel) -> None:
    """Calls that hang in the loop's default executor, all of it, hold up no orderly stop."""
    venue, out = Venue(kernel), threading.Event()
    loop = engine(kernel, venue, Wants(lambda _: []), feed=Ticks(kernel, 1, endless=True))

    async def main() -> None:
        turning = asyncio.get_running_loop()
        for _ in range(64):
            turning.run_in_executor(None, out.wait, LONG_S)
        run = asyncio.create_task(loop.run(signals=False))
        await until(lambda: loop.report.ticks)
        loop.stop()
        try:
            async with asyncio.timeout(LONG_S / 2):
                await run
        finally:
            out.set()

    asyncio.run(main())
    assert (kernel.mode, loop.report.drained) == (Mode.IDLE, True)


# ---------------------------------------------------------------------------
# Coming up, and getting on


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "stored"])
def test_orders_of_a_halted_home_are_seen_to(home: Path, stored: bool) -> None:
    """A run on a home that is HALTED with working orders takes them back, with a stored intent or without."""
    first = running(home)
    before = Venue(first)
    place(first, before, "left")
    first.halt("pulled")
    abandon(first)
    with attach(home) as kernel:
        venue = Venue(kernel)
        venue.resting = before.resting
        given: dict[str, Any] = {} if stored else {"stopping": True}
        loop = engine(kernel, venue, Wants(lambda _: []), home=home, **given)
        report = asyncio.run(loop.run(signals=False))
        assert (report.not_started, report.ticks, venue.calls("cancel")) == ("HALTED", 0, ["left"])
        assert report.stop is not None
        assert report.stop.complete
        assert kernel.working_orders() == ()
    sound(home, Status.VERIFIED_TO_N)


def test_busy_mark_moves_with_each_order_of_a_tick(kernel: Kernel) -> None:
    """A tick that calls for many orders gets on with each that ends: neither watchdog takes it for a hang."""
    venue = Venue(kernel)
    marks: list[int] = []
    ours: list[int] = []

    def send(_: str) -> None:
        marks.append(kernel._sentinel.berth.seen().busy_ns)
        ours.append(loop._at_work_ns)

    venue.habits["send"] = send
    loop = engine(kernel, venue, Wants(lambda _: [order(f"o{n}", price="98") for n in range(5)]), feed=Ticks(kernel))
    asyncio.run(loop.run(signals=False))
    assert len(marks) == len(set(marks)) == 5
    assert marks == ours == sorted(marks)
    assert kernel._sentinel.berth.seen().busy_ns == 0


# ---------------------------------------------------------------------------
# Signals at the wrong moment


@pytest.mark.parametrize("signals", [1, 2])
def test_signal_while_the_run_ends_anyway(home: Path, kernel: Kernel, signals: int) -> None:
    """The first signal during the shutdown at the end of the feed changes nothing; the second halts."""
    venue = Venue(kernel)
    inside, out = threading.Event(), threading.Event()

    async def slow(order_id: str) -> None:
        if order_id.startswith("exit"):
            inside.set()
            await until(out.is_set)

    venue.habits["send"] = slow
    strategy = Wants(lambda _: [order("entry", quantity="2", price=None)])
    loop = engine(kernel, venue, strategy, home=home, feed=Ticks(kernel), exits=Exits(), drain_s=0.01)

    async def main() -> None:
        run = asyncio.create_task(loop.run(signals=False))
        assert await asyncio.to_thread(inside.wait, LONG_S)
        for _ in range(signals):
            loop.on_signal(signal.SIGTERM)
        for _ in range(20):
            await asyncio.sleep(0)
        out.set()
        await run

    asyncio.run(main())
    shutdown = loop.report.shutdown
    assert shutdown is not None
    assert kernel.cause is not None
    phases = [str(one.phase) for one in shutdown.phases]
    assert phases.count("drain") == 1
    if signals == 1:
        assert (shutdown.category, phases) == (1, ["gate", "drain", "exit", "seal"])
        assert kernel.cause.code is HaltCode.OPERATOR
    else:
        assert (shutdown.category, kernel.cause.code) == (0, HaltCode.SIGNAL)


def test_signal_before_the_first_tick_stops_in_order(home: Path, kernel: Kernel) -> None:
    """A signal that comes before the loop takes ticks is not lost, and no second one of the same run's halts."""
    venue = Venue(kernel)
    loop = engine(kernel, venue, Wants(lambda _: []), feed=Ticks(kernel, 1, endless=True))
    loop.on_signal(signal.SIGTERM)
    report = asyncio.run(asyncio.wait_for(loop.run(signals=False), LONG_S))
    assert (kernel.mode, report.drained) == (Mode.IDLE, True)
    assert [one["reason"] for one in of_kind(home, "drain")] == ["SIGTERM"]
