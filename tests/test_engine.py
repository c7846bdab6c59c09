"""The live loop over a real kernel and a real home: what it survives, how it stops, what it counts."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import (
    LIMITS,
    NAME,
    UTC_US,
    FakeClock,
    arm,
    attach,
    halt_home,
    journal,
    of_kind,
    order,
    quote,
    sound,
    until,
)

from interlock import Cancel, HaltCause, HaltCode, Instrument, Kernel, Mode, Order, Permit, Quote, Reason
from interlock.adapters.paper import PaperVenue
from interlock.adapters.replay import ReplayClock
from interlock.adapters.strategies import EveryTick
from interlock.breaker import home as homes
from interlock.breaker.home import Home
from interlock.breaker.latch import read_latch
from interlock.core.values import TimeInForce
from interlock.engine import Engine, Latencies, Report
from interlock.stopping import Overrun, Phase, State, StopExecutor
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from interlock.breaker.latch import Latch
    from interlock.breaker.quiet import Quiet

XYZ = {NAME: Instrument(name=NAME, tick_size=Decimal("0.5"), lot_size=Decimal("0.1"), currency="USD")}
ERRORS = 3
"""So many errors in a row halt, by the limits of the helpers."""
PATIENCE_S = 30
"""No test waits so long unless it fails."""


# ---------------------------------------------------------------------------
# The world's side of a loop


def at(number: int) -> Quote:
    """The quote of tick ``number``, from 1; ten a second."""
    ts_us = UTC_US + number * 100_000
    return Quote(instrument=NAME, ts_us=ts_us, bid=Decimal("99.5"), ask=Decimal("100.5"))


class Scripted:
    """A feed that does what it is told, in turn: hand out a batch, raise, or call for a batch. Then it ends."""

    def __init__(self, *steps: Any) -> None:
        self.steps = deque(steps)

    def batches(self) -> Any:
        """Itself."""
        return self

    def __aiter__(self) -> Scripted:
        """Itself."""
        return self

    async def __anext__(self) -> Any:
        """The next step."""
        if not self.steps:
            raise StopAsyncIteration
        step = self.steps.popleft()
        if isinstance(step, BaseException):
            raise step
        return await step() if callable(step) else step


class Wants:
    """A strategy out of a function from the number of the consulted tick, from 1, to orders."""

    def __init__(self, wants: Callable[[int], Iterable[Order]]) -> None:
        self.wants = wants
        self.asked: list[int] = []

    def on_tick(self, tick: Quote) -> Iterable[Order]:
        """The orders."""
        self.asked.append(tick.ts_us)
        return self.wants(len(self.asked))


class Gate:
    """A gateway whose sends stay inside until they are let out."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.out = asyncio.Event()
        self.seen: list[str] = []

    async def send(self, permit: Permit) -> str:
        """Take the order, and keep its send."""
        self.seen.append(permit.redeem().client_order_id)
        self.inside.set()
        await self.out.wait()
        return "taken"

    async def cancel(self, cancel: Cancel) -> None:
        """Nothing rests here."""


class Failing:
    """A gateway that raises in some sends, after it took the order."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = deque(errors)

    async def send(self, permit: Permit) -> str:
        """Take the order; then raise, if it is the turn of an error."""
        permit.redeem()
        error = self.errors.popleft() if self.errors else None
        if error is not None:
            raise error
        return "taken"

    async def cancel(self, cancel: Cancel) -> None:
        """Nothing rests here."""


@attrs.frozen(kw_only=True)
class Ended:
    """What a run came to, looked at while its kernel was still attached."""

    report: Report
    mode: Mode
    cause: HaltCause | None
    working: tuple[str, ...]
    json: dict[str, Any]
    on_sigterm: object


Driver = "Callable[[Engine], Awaitable[None]]"


def play(  # noqa: PLR0913
    path: Path,
    *,
    feed: Any,
    strategy: Any = None,
    gateway: Any = None,
    drive: Driver | None = None,
    clock: FakeClock | None = None,
    limits: str = LIMITS,
    also: Status = Status.VERIFIED,
    durability: str = "process",
    **engine: Any,
) -> Ended:
    """Run an engine to its end on a home, and have the journal checked. Without a clock the ticks are it.

    Args:
        path: the home; armed here if nobody did.
        feed: a feed.
        strategy: a strategy; by default one order on each tick.
        gateway: a gateway, or what makes one; by default the paper venue.
        drive: runs beside the engine.
        clock: the kernel's, if the ticks are not to be it.
        limits: of the home.
        also: what the verifier may say instead of VERIFIED.
        durability: of the kernel.
        **engine: of `Engine`.
    """
    if not path.exists():
        arm(path, limits)

    async def main() -> Ended:
        timeline = ReplayClock(UTC_US) if clock is None else None
        with attach(path, clock or timeline, durability=durability) as kernel:  # type: ignore[arg-type] # both are clocks
            venue = gateway() if callable(gateway) else gateway
            if venue is None:
                venue = PaperVenue(seed=1)
                venue.connect(kernel)
            loop = Engine(
                kernel,
                feed=feed,
                strategy=strategy or EveryTick(XYZ),
                gateway=venue,
                timeline=timeline,
                **{"heartbeat_s": 1.0, "session": None} | engine,
            )
            running = asyncio.create_task(loop.run())
            async with asyncio.timeout(PATIENCE_S):
                if drive is not None:
                    await drive(loop)
                report = await running
            return Ended(
                report=report,
                mode=kernel.mode,
                cause=kernel.cause,
                working=tuple(one.client_order_id for one in kernel.working_orders()),
                json=loop.as_json(),
                on_sigterm=signal.getsignal(signal.SIGTERM),
            )

    ended = asyncio.run(main())
    sound(path, also)
    report = ended.report
    assert report.ticks == report.consulted + report.ticks_blocked
    assert report.ticks_blocked == sum(report.blocked_by_reason.values())
    assert report.orders_refused == sum(report.refused_by_reason.values())
    assert report.orders_sent == len(of_kind(path, "sent"))
    return ended


def one_each(number: int) -> list[Order]:
    """One order on each tick."""
    return [order(f"W-{number}")]


# ---------------------------------------------------------------------------
# The three runs


@pytest.mark.parametrize(
    ("ticks", "halt_at", "sent", "blocked"),
    [(10, None, 10, 0), (15, 5, 4, 11), (5, 1, 0, 5)],
)
def test_the_three_runs(tmp_path: Path, ticks: int, halt_at: int | None, sent: int, blocked: int) -> None:
    """One order a tick before the halt, none from the tick of the halt on, whose strategy is not even asked."""
    strategy = Wants(one_each)
    feed = Scripted([at(number) for number in range(1, ticks + 1)])

    ended = play(tmp_path / "home", feed=feed, strategy=strategy, halt_at_tick=halt_at)

    report = ended.report
    assert (report.ticks, report.orders_sent, report.ticks_blocked) == (ticks, sent, blocked)
    assert (report.orders_refused, report.orders_unknown, report.errors) == (0, 0, 0)
    assert strategy.asked == [at(number).ts_us for number in range(1, sent + 1)]
    assert len(of_kind(tmp_path / "home", "permit")) == sent
    assert ended.mode is (Mode.IDLE if halt_at is None else Mode.HALTED)
    assert report.drained is (halt_at is None)
    if halt_at is not None:
        assert report.blocked_by_reason == {"HALTED": blocked}
        (halt,) = of_kind(tmp_path / "home", "halt")
        assert halt["reason"] == f"halt at tick {halt_at}, as asked for"
        assert halt["ts"] == at(halt_at).ts_us


def test_same_ticks_same_journal(tmp_path: Path) -> None:
    """Two runs over the same ticks write the same records, but for the ids of home and run and the process."""
    journals = []
    for name in ("one", "two"):
        play(tmp_path / name, feed=Scripted([at(n) for n in range(1, 50)]), halt_at_tick=40)
        records = [record for record in journal(tmp_path / name) if record["kind"] != "seal"]
        journals.append([{k: v for k, v in record.items() if k not in {"run", "pid"}} for record in records])

    assert journals[0] == journals[1]


def test_max_ticks_ends_the_run_within_a_batch(tmp_path: Path) -> None:
    """Ticks behind the last one wanted are not looked at, also if they came in the same batch."""
    strategy = Wants(one_each)

    ended = play(tmp_path / "home", feed=Scripted([at(n) for n in range(1, 9)]), strategy=strategy, max_ticks=3)

    assert (ended.report.ticks, ended.report.orders_sent, len(strategy.asked)) == (3, 3, 3)
    assert (ended.mode, ended.report.drained) == (Mode.IDLE, True)


def test_summary_is_plain_data_that_agrees_with_the_report(tmp_path: Path) -> None:
    """The summary of a run says what the report says, and is JSON."""
    ended = play(tmp_path / "home", feed=Scripted([at(n) for n in range(1, 16)]), halt_at_tick=5)

    said = orjson.loads(orjson.dumps(ended.json))
    report = ended.report
    assert (said["ticks"], said["consulted"], said["ticks_blocked"]) == (15, 4, 11)
    assert (said["orders_sent"], said["orders_refused"], said["refused_by_reason"]) == (4, 0, {})
    assert (said["mode"], said["epoch"]) == ("HALTED", 1)
    assert (said["halt_cause"]["code"], said["halt_cause"]["source"]) == ("OPERATOR", "engine")
    latency = said["decision_latency_ns"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    assert latency["max"] == max(report.consult.most, report.submit.most)
    assert (report.consult.count, report.submit.count) == (15, 4)
    assert said["journal"]["bytes"] > 0


# ---------------------------------------------------------------------------
# Strategies that misbehave


def broken(on: Callable[[int], bool]) -> Wants:
    """A strategy that raises on some of the ticks about which it is asked."""

    def wants(number: int) -> list[Order]:
        if on(number):
            message = f"no idea about {number}"
            raise ValueError(message)
        return one_each(number)

    return Wants(wants)


def test_strategy_that_raises_n_times_in_a_row_halts(tmp_path: Path) -> None:
    """Each error of the strategy is an anomaly in the journal, and the n-th in a row halts; nothing crashes."""
    home = tmp_path / "home"

    ended = play(home, feed=Scripted([at(n) for n in range(1, 11)]), strategy=broken(lambda number: number > 2))

    assert (ended.report.errors, ended.report.consulted) == (ERRORS, 2 + ERRORS)
    assert (ended.report.orders_sent, ended.report.ticks_blocked) == (2, 10 - 2 - ERRORS)
    assert ended.mode is Mode.HALTED
    assert ended.cause is not None
    assert ended.cause.code is HaltCode.ERRORS_IN_A_ROW
    assert "no idea about 5" in ended.cause.reason
    anomalies = of_kind(home, "anomaly")
    assert [one["code"] for one in anomalies] == ["STRATEGY_RAISED"] * ERRORS
    assert [one["detail"] for one in anomalies] == [f"strategy: ValueError: no idea about {n}" for n in (3, 4, 5)]


def test_strategy_that_recovers_in_time_does_not_halt(tmp_path: Path) -> None:
    """One error less than the limit, then a good tick, over and over: all recorded, never a halt."""
    home = tmp_path / "home"

    ended = play(
        home, feed=Scripted([at(n) for n in range(1, 31)]), strategy=broken(lambda number: number % ERRORS != 0)
    )

    assert (ended.mode, ended.cause, ended.report.drained) == (Mode.IDLE, None, True)
    assert (ended.report.errors, ended.report.orders_sent) == (20, 10)
    assert len(of_kind(home, "anomaly")) == 20


def test_orders_before_the_error_were_sent(tmp_path: Path) -> None:
    """A strategy that orders and then raises has sent its order and made an error."""

    def wants(number: int) -> Iterable[Order]:
        yield order(f"W-{number}")
        raise KeyError(number)

    ended = play(tmp_path / "home", feed=Scripted([at(1)], [at(2)]), strategy=Wants(wants))

    assert (ended.report.orders_sent, ended.report.errors, ended.mode) == (2, 2, Mode.IDLE)


@pytest.mark.parametrize("rubbish", [None, 7, object()], ids=["none", "number", "object"])
def test_strategy_that_returns_no_orders_at_all_is_an_error(tmp_path: Path, rubbish: Any) -> None:
    """What cannot be gone through is an error of the strategy, like one that it raised."""
    ended = play(tmp_path / "home", feed=Scripted([at(n) for n in range(1, 9)]), strategy=Wants(lambda _: rubbish))

    assert (ended.report.errors, ended.report.orders_sent) == (ERRORS, 0)
    assert ended.cause is not None
    assert ended.cause.code is HaltCode.ERRORS_IN_A_ROW


def test_orders_that_are_none_are_refused_one_by_one(tmp_path: Path) -> None:
    """Rubbish in place of an order is refused as MALFORMED and recorded; the good order beside it is sent."""
    home = tmp_path / "home"
    rubbish: list[Any] = [None, "buy", 7, {"side": "buy"}, order("W-1")]

    ended = play(home, feed=Scripted([at(1)]), strategy=Wants(lambda _: rubbish))

    assert ended.report.refused_by_reason == {"MALFORMED": 4}
    assert (ended.report.orders_sent, ended.report.errors) == (1, 0)
    assert [one["code"] for one in of_kind(home, "refuse")] == ["MALFORMED"] * 4


def test_error_without_words_is_recorded_all_the_same(tmp_path: Path) -> None:
    """An error whose own text raises is named by its type."""

    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    def wants(_: int) -> list[Order]:
        raise Mute

    ended = play(tmp_path / "home", feed=Scripted([at(1)], Mute(), [at(2)]), strategy=Wants(wants))

    assert ended.report.errors == ERRORS
    assert [one["detail"] for one in of_kind(tmp_path / "home", "anomaly")] == [
        "strategy: Mute",
        "feed: Mute",
        "strategy: Mute",
    ]


# ---------------------------------------------------------------------------
# Feeds that misbehave


def test_feed_that_raises_n_times_in_a_row_halts(tmp_path: Path) -> None:
    """Each error of the feed is an anomaly in the journal, and the n-th in a row halts and ends the run."""
    home = tmp_path / "home"
    errors = [OSError(f"line {number} is down") for number in range(1, 9)]

    ended = play(home, feed=Scripted([at(1)], *errors, [at(2)]))

    assert (ended.report.errors, ended.report.ticks, ended.report.orders_sent) == (ERRORS, 1, 1)
    assert ended.cause is not None
    assert ended.cause.code is HaltCode.ERRORS_IN_A_ROW
    assert ended.report.feed_error == "OSError: line 3 is down"
    assert [one["code"] for one in of_kind(home, "anomaly")] == ["FEED_RAISED"] * ERRORS


def test_feed_that_recovers_in_time_does_not_halt(tmp_path: Path) -> None:
    """One error less than the limit, then good ticks: the run goes on, and has no error at its end."""
    down = [OSError("down")] * (ERRORS - 1)

    ended = play(tmp_path / "home", feed=Scripted(*down, [at(1)], *down, [at(2)], *down, [at(3)]))

    assert (ended.mode, ended.report.feed_error) == (Mode.IDLE, None)
    assert (ended.report.errors, ended.report.orders_sent) == (3 * (ERRORS - 1), 3)


def test_errors_of_feed_and_strategy_count_together(tmp_path: Path) -> None:
    """A row of errors is a row, whoever makes them."""
    feed = Scripted(OSError("down"), [at(1)], OSError("down"), [at(2)])

    ended = play(tmp_path / "home", feed=feed, strategy=broken(lambda _: True))

    assert ended.report.errors == ERRORS
    assert ended.cause is not None
    assert ended.cause.code is HaltCode.ERRORS_IN_A_ROW


def test_generator_that_raises_ends_the_feed_in_order(tmp_path: Path) -> None:
    """A feed that raises and is over stops the run in order; what ended it is recorded and reported."""
    home = tmp_path / "home"

    class Torn:
        async def batches(self) -> AsyncIterator[Sequence[Quote]]:
            yield [at(1), at(2)]
            message = "the file is torn"
            raise EOFError(message)

    ended = play(home, feed=Torn())

    assert (ended.mode, ended.report.drained, ended.report.orders_sent) == (Mode.IDLE, True, 2)
    assert (ended.report.errors, ended.report.feed_error) == (1, "EOFError: the file is torn")
    assert [one["detail"] for one in of_kind(home, "anomaly")] == ["feed: EOFError: the file is torn"]


def test_feed_that_cannot_even_begin_halts(tmp_path: Path) -> None:
    """A feed whose very first call raises, each time, is a row of errors and not a crash."""

    class Absent:
        def batches(self) -> AsyncIterator[Sequence[Quote]]:
            message = "no route"
            raise ConnectionError(message)

    ended = play(tmp_path / "home", feed=Absent())

    assert (ended.report.errors, ended.report.ticks, ended.mode) == (ERRORS, 0, Mode.HALTED)


@pytest.mark.parametrize("rubbish", [None, 7], ids=repr)
def test_batches_that_are_none_are_errors(tmp_path: Path, rubbish: Any) -> None:
    """What a feed hands out in place of a batch is an error of the feed."""
    ended = play(tmp_path / "home", feed=Scripted([at(1)], rubbish, rubbish, [at(2)], rubbish, rubbish, rubbish))

    assert (ended.report.ticks, ended.report.errors) == (2, 2 + ERRORS)
    assert ended.cause is not None
    assert ended.cause.code is HaltCode.ERRORS_IN_A_ROW


@pytest.mark.parametrize("clocked", [False, True], ids=["replay", "live"])
def test_ticks_that_are_none_are_blocked(tmp_path: Path, clocked: bool) -> None:
    """Rubbish in place of a tick is never shown to the strategy, and the good tick behind it is."""
    clock = FakeClock() if clocked else None
    strategy = Wants(one_each)
    good = attrs.evolve(at(1), ts_us=UTC_US)

    ended = play(tmp_path / "home", feed=Scripted([None, "tick", good]), strategy=strategy, clock=clock)

    assert (ended.report.ticks, ended.report.consulted, ended.mode) == (3, 1, Mode.IDLE)
    assert ended.report.blocked_by_reason == {"CHECK_RAISED": 2}
    assert strategy.asked == [UTC_US]


def test_feed_of_nothing_but_rubbish_halts(tmp_path: Path) -> None:
    """Ticks that neither clock nor venue can read are errors of the feed, and so many in a row halt."""
    ended = play(tmp_path / "home", feed=Scripted([None] * 10))

    assert (ended.report.errors, ended.mode) == (10, Mode.HALTED)
    assert ended.report.blocked_by_reason == {"CHECK_RAISED": ERRORS - 1, "HALTED": 11 - ERRORS}


def test_gateway_that_cannot_look_at_the_market_halts(tmp_path: Path) -> None:
    """A venue that raises at the sight of good ticks is a row of errors, although the strategy makes none."""

    class Blind(Failing):
        def on_tick(self, tick: Quote) -> None:
            raise ArithmeticError(tick.ts_us)

    ended = play(tmp_path / "home", feed=Scripted([at(n) for n in range(1, 9)]), gateway=Blind())

    assert (ended.report.errors, ended.mode) == (8, Mode.HALTED)
    assert ended.report.orders_sent == ERRORS - 1


def test_cancelled_feed_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    """Something inside the feed that was cancelled does not look like a stop that someone asked for."""
    ended = play(tmp_path / "home", feed=Scripted([at(1)], asyncio.CancelledError("reader"), [at(2)]))

    assert (ended.report.orders_sent, ended.report.errors) == (2, 1)


# ---------------------------------------------------------------------------
# Gateways that misbehave


@pytest.mark.parametrize(
    "error", [ConnectionError("reset"), asyncio.CancelledError("writer")], ids=["error", "cancelled"]
)
def test_send_that_raises_is_unknown_and_the_run_goes_on(tmp_path: Path, error: BaseException) -> None:
    """An order whose send raised or was cancelled is unknown: counted, recorded, kept as working, in doubt."""
    home = tmp_path / "home"
    feed = Scripted([at(1), at(2), at(3)])

    ended = play(home, feed=feed, strategy=Wants(one_each), gateway=Failing(None, error), also=Status.IN_DOUBT)

    report = ended.report
    assert (report.orders_sent, report.orders_unknown, report.orders_refused) == (2, 1, 0)
    assert (ended.mode, report.drained, report.errors) == (Mode.IDLE, True, 0)
    assert "W-2" in ended.working
    (unknown,) = of_kind(home, "unknown")
    assert type(error).__name__ in unknown["error"]
    assert [doubt.order for doubt in sound(home, Status.IN_DOUBT).in_doubt] == ["W-2"]


def test_doubt_ends_when_the_venue_speaks(tmp_path: Path) -> None:
    """An unknown order that the venue then acknowledges is in doubt no more."""
    home = tmp_path / "home"
    arm(home)

    async def speak(loop: Engine) -> None:
        await until(lambda: loop.report.orders_unknown)
        loop.kernel.on_accept("W-1")

    async def wait() -> list[Quote]:
        await until(lambda: of_kind(home, "unknown"))
        return []

    ended = play(home, feed=Scripted([at(1)], wait), strategy=Wants(one_each), gateway=Failing(OSError()), drive=speak)

    assert ended.report.orders_unknown == 1
    assert sound(home).status is Status.VERIFIED


# ---------------------------------------------------------------------------
# Heartbeat


def test_overdue_heartbeat_blocks_until_the_next_beat(tmp_path: Path) -> None:
    """A loop that has not beaten for longer than allowed gets no tick through; a beat later it does."""
    home = tmp_path / "home"
    clock = FakeClock()
    loops: list[Kernel] = []

    async def tick() -> list[Quote]:
        return [quote(loops[0])]

    async def late() -> list[Quote]:
        clock.advance(60_001)
        return await tick()

    async def beaten() -> list[Quote]:
        loops[0].heartbeat()
        return await tick()

    async def drive(loop: Engine) -> None:
        loops.append(loop.kernel)

    feed = Scripted(tick, late, tick, beaten)
    ended = play(home, feed=feed, strategy=Wants(one_each), clock=clock, drive=drive, heartbeat_s=3600.0)

    assert ended.report.blocked_by_reason == {"HEARTBEAT_OVERDUE": 2}
    assert (ended.report.orders_sent, ended.mode) == (2, Mode.IDLE)
    (block,) = of_kind(home, "block")
    assert (block["code"], block["count"]) == ("HEARTBEAT_OVERDUE", 2)


def test_replay_beats_on_the_time_of_its_ticks(tmp_path: Path) -> None:
    """A night between two ticks of a replay is no missed heartbeat."""
    night = attrs.evolve(at(2), ts_us=UTC_US + 8 * 3_600_000_000)

    ended = play(tmp_path / "home", feed=Scripted([at(1), night]))

    assert (ended.report.orders_sent, ended.report.ticks_blocked) == (2, 0)


@pytest.mark.parametrize("clocked", [False, True], ids=["replay", "live"])
def test_halt_from_outside_is_seen_while_the_feed_is_silent(tmp_path: Path, clocked: bool) -> None:
    """With no tick coming in at all, the heartbeat sees another's halt, lets go, and so confirms it."""
    home = tmp_path / "home"
    quiet = []

    async def silence() -> list[Quote]:
        quiet.append(await asyncio.to_thread(halt_home, home, timeout_s=PATIENCE_S))
        return [at(2), at(3)]

    clock = FakeClock() if clocked else None
    first = attrs.evolve(at(1), ts_us=UTC_US)
    ended = play(home, feed=Scripted([first], silence), strategy=Wants(one_each), clock=clock, heartbeat_s=0.02)

    assert [(one.confirmed, one.durable) for one in quiet] == [(True, True)]
    assert (ended.report.orders_sent, ended.report.blocked_by_reason) == (1, {"HALTED": 2})
    assert ended.cause is not None
    assert (ended.cause.code, ended.cause.reason, ended.cause.operator) == (HaltCode.OPERATOR, "pulled", "bob")
    assert ("bob", "pulled") in [(one["operator"], one["reason"]) for one in of_kind(home, "halt")]


def test_halt_from_outside_is_named_although_its_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a halt's record takes to reach the latch, the engine that saw the byte says who did it, and why."""
    home = tmp_path / "home"
    arm(home)
    disk = threading.Event()
    write = homes.write_latch

    def slowly(path: Path, latch: Latch) -> None:
        assert disk.wait(PATIENCE_S)
        write(path, latch)

    monkeypatch.setattr(homes, "write_latch", slowly)
    loops: list[Engine] = []

    async def drive(loop: Engine) -> None:
        loops.append(loop)

    async def blocked() -> list[Quote]:
        halting.append(asyncio.create_task(asyncio.to_thread(halt_home, home, timeout_s=PATIENCE_S)))
        await until(lambda: loops[0].kernel.mode is Mode.HALTED)
        return [at(number) for number in range(2, 100)]  # which is time enough for nine heartbeats

    async def written() -> list[Quote]:
        disk.set()
        await halting[0]
        return [at(100)]

    halting: list[asyncio.Task[Quiet]] = []
    ended = play(home, feed=Scripted([at(1)], blocked, written), strategy=Wants(one_each), drive=drive)

    assert (ended.report.orders_sent, ended.report.ticks_blocked) == (1, 99)
    assert ended.cause is not None
    assert (ended.cause.code, ended.cause.reason, ended.cause.operator) == (HaltCode.OPERATOR, "pulled", "bob")
    assert [(one["operator"], one["reason"], one["first"]) for one in of_kind(home, "halt")] == [
        ("bob", "pulled", True)
    ]
    assert read_latch(Home(home).latch)[0].operator == "bob"


def test_halt_from_outside_beats_the_order_of_the_same_tick(tmp_path: Path) -> None:
    """A home that is halted while the strategy thinks refuses the order that it comes up with."""
    home = tmp_path / "home"

    def wants(number: int) -> list[Order]:
        if number == 3:
            halt_home(home)
        return one_each(number)

    ended = play(home, feed=Scripted([at(n) for n in range(1, 7)]), strategy=Wants(wants))

    assert (ended.report.orders_sent, ended.report.refused_by_reason) == (2, {"HALTED": 1})
    assert (ended.report.blocked_by_reason, ended.mode) == ({"HALTED": 3}, Mode.HALTED)


# ---------------------------------------------------------------------------
# Starting


def test_halted_home_takes_no_tick(tmp_path: Path) -> None:
    """A run on a halted home ends at once, says why, and asks nobody anything."""
    home = tmp_path / "home"
    arm(home)
    halt_home(home)
    feed = Scripted([at(1)])

    ended = play(home, feed=feed)

    assert (ended.report.ticks, ended.report.not_started, ended.mode) == (0, "HALTED", Mode.HALTED)
    assert len(feed.steps) == 1


def test_home_without_order_limits_does_not_start(tmp_path: Path) -> None:
    """A kernel that has no limits for orders refuses to start, and the run says so."""
    head, _, rest = LIMITS.partition("[gate2]")
    limits = head + rest[rest.index("[anomaly]") :]

    ended = play(tmp_path / "home", feed=Scripted([at(1)]), limits=limits)

    assert (ended.report.ticks, ended.mode) == (0, Mode.IDLE)
    assert ended.report.not_started is not None
    assert ended.report.not_started.startswith("NO_LIMITS")


# ---------------------------------------------------------------------------
# Stopping


def test_stop_lets_a_send_in_flight_end(tmp_path: Path) -> None:
    """An orderly stop closes the gate at once, waits for the send in flight, counts it as sent, and ends IDLE."""
    home = tmp_path / "home"
    refused = []

    async def drive(loop: Engine) -> None:
        gate = loop._gateway
        assert isinstance(gate, Gate)
        await gate.inside.wait()
        loop.stop("enough")
        verdict = await loop.kernel.submit_async(order("LATE"), gate.send)
        refused.append(verdict.reason)
        gate.out.set()

    feed = Scripted([at(1), at(2)])
    ended = play(home, feed=feed, strategy=Wants(one_each), gateway=Gate, drive=drive)

    assert refused == [Reason.GATE_CLOSED]
    assert (ended.report.orders_sent, ended.report.orders_unknown, ended.report.in_flight) == (1, 0, ())
    assert (ended.mode, ended.report.drained) == (Mode.IDLE, True)
    assert [one["reason"] for one in of_kind(home, "drain")] == ["enough"]
    assert len(of_kind(home, "permit")) == 1


@pytest.mark.parametrize("overrun", Overrun)
def test_send_that_hangs_is_reported_and_never_lost(tmp_path: Path, overrun: Overrun) -> None:
    """A send that outlasts the stop is cancelled, reported as in flight, recorded as unknown, kept as working.

    The stop halts then, unless it was told to go on.
    """
    home = tmp_path / "home"

    async def drive(loop: Engine) -> None:
        gate = loop._gateway
        assert isinstance(gate, Gate)
        await gate.inside.wait()
        loop.stop()

    ended = play(
        home,
        feed=Scripted([at(1), at(2)]),
        strategy=Wants(one_each),
        gateway=Gate,
        drive=drive,
        drain_s=0.02,
        drain_overrun=overrun,
        also=Status.IN_DOUBT,
    )

    assert [one.client_order_id for one in ended.report.in_flight] == ["W-1"]
    assert (ended.mode, ended.working) == (Mode.HALTED if overrun is Overrun.HALT else Mode.IDLE, ("W-1",))
    assert ended.report.shutdown is not None
    assert {one.phase: one.in_budget for one in ended.report.shutdown.phases}[Phase.DRAIN] is False
    assert ended.report.shutdown.category == (0 if overrun is Overrun.HALT else None)
    assert (ended.report.orders_sent, ended.report.orders_unknown) == (0, 1)
    assert len(of_kind(home, "unknown")) == 1
    assert [doubt.order for doubt in sound(home, Status.IN_DOUBT).in_doubt] == ["W-1"]
    with attach(home) as again:
        assert [one.client_order_id for one in again.working_orders()] == ["W-1"]


def test_stop_while_a_permit_waits_for_the_disk_voids_it(tmp_path: Path) -> None:
    """An order that a stop overtakes before its send began is void, and counted as refused: nothing of it left."""
    home = tmp_path / "home"
    gateway = Failing()

    loops: list[Engine] = []

    def wants(number: int) -> Iterable[Order]:
        loops[0].kernel._commit_lock.acquire()  # the disk takes its time
        asyncio.get_running_loop().call_soon(loops[0].stop)
        return one_each(number)

    async def drive(loop: Engine) -> None:
        loops.append(loop)
        await until(lambda: loop.report.drained)
        loop.kernel._commit_lock.release()

    feed = Scripted([at(1), at(2)])
    ended = play(home, feed=feed, strategy=Wants(wants), gateway=gateway, drive=drive, durability="disk")

    assert (ended.mode, ended.working, ended.report.orders_sent) == (Mode.IDLE, (), 0)
    assert ended.report.refused_by_reason == {"GATE_CLOSED": 1}
    assert [one["code"] for one in of_kind(home, "void")] == ["CANCELLED"]


def test_stop_while_the_feed_is_silent_ends_at_once(tmp_path: Path) -> None:
    """A run that only waits for its feed can be stopped."""

    async def never() -> list[Quote]:
        await asyncio.Event().wait()
        return []

    async def drive(loop: Engine) -> None:
        await until(lambda: loop.report.ticks)
        loop.stop()

    ended = play(tmp_path / "home", feed=Scripted([at(1)], never), drive=drive)

    assert (ended.mode, ended.report.drained, ended.report.orders_sent) == (Mode.IDLE, True, 1)


def resting(number: int) -> list[Order]:
    """A buy far enough below the market to rest."""
    return [attrs.evolve(order(f"W-{number}", price="95"), time_in_force=TimeInForce.GTC)]


def test_cancel_on_stop_takes_back_the_working_orders(tmp_path: Path) -> None:
    """If so configured, a stop leaves no working order behind, neither here nor at the venue."""
    home = tmp_path / "home"
    arm(home)
    venues: list[PaperVenue] = []

    async def drive(loop: Engine) -> None:
        assert isinstance(loop._gateway, PaperVenue)
        venues.append(loop._gateway)

    ended = play(home, feed=Scripted([at(1), at(2), at(3)]), strategy=Wants(resting), cancel_on_stop=True, drive=drive)

    assert (ended.working, venues[0].open_orders()) == ((), ())
    assert (ended.mode, ended.report.drained, ended.report.orders_sent) == (Mode.IDLE, True, 3)
    assert [one["id"] for one in of_kind(home, "cancelled")] == ["W-1", "W-2", "W-3"]
    kinds = [one["kind"] for one in journal(home)]
    assert kinds.index("drain") < kinds.index("cancel") < kinds.index("stop")


def test_without_cancel_on_stop_orders_go_on_resting(tmp_path: Path) -> None:
    """Unless told otherwise a stop leaves the working orders alone, and the next run knows of them."""
    home = tmp_path / "home"

    ended = play(home, feed=Scripted([at(1), at(2)]), strategy=Wants(resting))

    assert ended.working == ("W-1", "W-2")
    assert of_kind(home, "cancel") == []
    with attach(home) as again:
        assert len(again.working_orders()) == 2


@pytest.mark.parametrize("halt_at", [3, None], ids=["in the loop", "from outside"])
def test_halt_takes_back_the_working_orders(tmp_path: Path, halt_at: int | None) -> None:
    """On a halt, whoever made it, the orders that rest are cancelled and seen to be; the report tells each."""
    home = tmp_path / "home"

    async def outside() -> list[Quote]:
        await asyncio.to_thread(halt_home, home)
        return [at(3), at(4)]

    feed = Scripted([at(1), at(2)], outside) if halt_at is None else Scripted([at(n) for n in range(1, 5)])
    ended = play(home, feed=feed, strategy=Wants(resting), halt_at_tick=halt_at)

    assert (ended.mode, ended.working) == (Mode.HALTED, ())
    assert ended.report.stop is not None
    assert (ended.report.stop.complete, len(ended.report.stop.orders), ended.report.stop.category) == (True, 2, 0)
    assert ended.json["stop"]["orders"][0]["standing"] == "cancelled"
    assert [one["id"] for one in of_kind(home, "cancelled")] == ["W-1", "W-2"]


def test_halt_can_leave_orders_resting(tmp_path: Path) -> None:
    """If so configured nobody sees to the orders; so it is with a gateway that can't be asked."""
    ended = play(
        tmp_path / "home", feed=Scripted([at(1), at(2)]), strategy=Wants(resting), halt_at_tick=2, stopping=False
    )
    assert (ended.mode, ended.working, ended.report.stop) == (Mode.HALTED, ("W-1",), None)
    unasked = play(
        tmp_path / "other", feed=Scripted([at(1), at(2)]), strategy=Wants(resting), halt_at_tick=2, gateway=Failing()
    )
    assert (unasked.working, unasked.report.stop) == (("W-1",), None)


def test_run_that_is_cancelled_still_takes_the_orders_back(tmp_path: Path) -> None:
    """Hummingbot: whoever cancels the engine's task after a halt does not cancel the stop; the run waits for it."""
    home = tmp_path / "home"

    async def drive(loop: Engine) -> None:
        await until(lambda: loop.report.ticks == 2)
        venue = loop._gateway
        assert isinstance(venue, PaperVenue)
        slow, plain = threading.Event(), venue.query_now

        def query_now(wanted: Order) -> State:
            slow.wait(PATIENCE_S)
            return plain(wanted)

        venue.query_now = query_now  # type: ignore[method-assign]
        loop.kernel.halt("pulled")
        running = next(task for task in asyncio.all_tasks() if "Engine.run" in repr(task))
        running.cancel()
        await until(lambda: loop._ending is not None)
        running.cancel()  # in the very wait for the stop
        asyncio.get_running_loop().call_soon(slow.set)

    async def never() -> list[Quote]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(asyncio.CancelledError):
        play(home, feed=Scripted([at(1), at(2)], never), strategy=Wants(resting), drive=drive)
    assert [one["id"] for one in of_kind(home, "cancelled")] == ["W-1", "W-2"]
    sound(home)


def test_run_takes_up_a_stop_that_was_interrupted(tmp_path: Path) -> None:
    """A run on a home that died in a stop ends it before anything else, and takes no tick."""
    home = tmp_path / "home"
    arm(home)
    with attach(home) as kernel:
        kernel.start()
        kernel.consult(quote(kernel))
        kernel.submit(order("left"), lambda permit: permit.redeem())
        kernel.halt("pulled")

    async def main() -> Engine:
        with attach(home) as again:
            venue = PaperVenue(seed=1)
            venue.connect(again)
            executor = StopExecutor(again, {"venue": venue}, home=home, engine="desk")
            loop = Engine(again, feed=Scripted([at(1)]), strategy=EveryTick(XYZ), gateway=venue, stopping=executor)
            await loop.run(signals=False)
            return loop

    report = asyncio.run(main()).report
    assert (report.ticks, report.not_started) == (0, "HALTED")
    assert report.stop is not None
    assert [(end.client_order_id, str(end.standing)) for end in report.stop.orders] == [("left", "absent")]


class Stubborn(Failing):
    """A gateway whose first cancel hangs, whose second raises, and whose third is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.cancels: list[str] = []

    async def cancel(self, cancel: Cancel) -> None:
        """Misbehave."""
        self.cancels.append(cancel.client_order_id)
        if len(self.cancels) == 1:
            await asyncio.Event().wait()
        if len(self.cancels) == 2:
            message = "no such order"
            raise LookupError(message)
        raise asyncio.CancelledError


def test_cancels_that_fail_hold_up_neither_each_other_nor_the_stop(tmp_path: Path) -> None:
    """Every working order's cancel is tried, whatever became of the one before, and the stop is reached."""
    home = tmp_path / "home"
    gateway = Stubborn()

    ended = play(
        home,
        feed=Scripted([at(1), at(2), at(3)]),
        strategy=Wants(resting),
        gateway=gateway,
        cancel_on_stop=True,
        drain_s=0.5,
    )

    assert gateway.cancels[:3] == ["W-1", "W-2", "W-3"]
    assert (ended.mode, ended.report.drained, len(ended.working)) == (Mode.IDLE, True, 3)
    assert all(one["error"] for one in of_kind(home, "cancel_end"))


# ---------------------------------------------------------------------------
# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_one_signal_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """The first signal drains: the send in flight ends, no further order leaves, the run ends IDLE."""
    home = tmp_path / "home"

    async def drive(loop: Engine) -> None:
        gate = loop._gateway
        assert isinstance(gate, Gate)
        await gate.inside.wait()
        os.kill(os.getpid(), number)
        await until(lambda: of_kind(home, "drain"))
        gate.out.set()

    before = signal.getsignal(signal.SIGTERM)
    ended = play(home, feed=Scripted([at(1), at(2)]), strategy=Wants(one_each), gateway=Gate, drive=drive)

    assert (ended.mode, ended.report.drained, ended.report.orders_sent) == (Mode.IDLE, True, 1)
    assert [one["reason"] for one in of_kind(home, "drain")] == [number.name]
    assert ended.on_sigterm is before


def test_second_signal_halts(tmp_path: Path) -> None:
    """A second signal, while the first one's stop waits for a send, halts; the send's end is still recorded."""
    home = tmp_path / "home"

    async def drive(loop: Engine) -> None:
        gate = loop._gateway
        assert isinstance(gate, Gate)
        await gate.inside.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: of_kind(home, "drain"))
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: of_kind(home, "halt"))  # the handler stops emission, and another thread writes that down
        gate.out.set()

    ended = play(home, feed=Scripted([at(1), at(2)]), strategy=Wants(one_each), gateway=Gate, drive=drive)

    assert (ended.mode, ended.report.drained, ended.report.orders_sent) == (Mode.HALTED, False, 1)
    assert ended.cause is not None
    assert (ended.cause.code, ended.cause.source) == (HaltCode.SIGNAL, "signal")
    (halt,) = of_kind(home, "halt")
    assert (halt["reason"], len(halt["in_flight"])) == ("second signal: SIGTERM", 1)


def test_signal_on_a_halted_run_ends_it_halted(tmp_path: Path) -> None:
    """A run that was halted under way and only waits goes away at the first signal, and stays HALTED."""
    home = tmp_path / "home"

    async def never() -> list[Quote]:
        await asyncio.Event().wait()
        return []

    async def drive(loop: Engine) -> None:
        await until(lambda: loop.report.ticks == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    ended = play(home, feed=Scripted([at(1), at(2)], never), halt_at_tick=2, drive=drive)

    assert (ended.mode, ended.report.orders_sent) == (Mode.HALTED, 1)
    assert of_kind(home, "drain") == []


# ---------------------------------------------------------------------------
# The histogram


@given(
    st.lists(st.integers(0, 4_294_000_000) | st.integers(0, 1 << 21), min_size=1),
    st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_quantile_is_at_most_one_step_above_the_sorted_list(values: list[int], share: float) -> None:
    """A quantile is never below the true one, nor more than 64 ns (from a millisecond on: 1 ms) above it."""
    seen = Latencies()
    for value in values:
        seen.add(value)
    true = sorted(values)[max(math.ceil(len(values) * share), 1) - 1]
    step = 64 if true < 1 << 20 else 1 << 20

    assert true <= seen.quantile(share) <= min(true + step, max(values))
    assert seen.summary() == {"p50": seen.quantile(0.5), "p99": seen.quantile(0.99), "max": max(values)}


@given(st.lists(st.integers(0, 10_000_000)), st.lists(st.integers(0, 10_000_000)))
def test_merged_histograms_are_the_histogram_of_all(left: list[int], right: list[int]) -> None:
    """Merging two histograms gives the one that had counted all of both."""
    one, two, both = Latencies(), Latencies(), Latencies()
    for seen, values in ((one, left), (two, right), (both, left + right)):
        for value in values:
            seen.add(value)
    one.merge(two)

    assert one.count == both.count
    assert one.summary() == both.summary()


def test_histogram_of_nothing_and_of_the_very_long() -> None:
    """Without a value every quantile is 0; one longer than the last step still has its exact maximum."""
    seen = Latencies()
    assert seen.summary() == {"p50": 0, "p99": 0, "max": 0}
    seen.add(3_600_000_000_000)
    assert seen.summary()["max"] == 3_600_000_000_000
