"""``interlock run``: puts feed, kernel, strategy and paper venue together, and says what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import attrs
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from interlock.adapters.csvfeed import CsvFeed, FeedError, RowError
from interlock.adapters.paper import PaperVenue
from interlock.adapters.replay import ReplayClock, paced
from interlock.adapters.strategies import BUILT_IN, load
from interlock.breaker.home import Home, HomeError
from interlock.breaker.segment import segments
from interlock.breaker.watchdog import Limits
from interlock.core.errors import InterlockError
from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode
from interlock.engine import Engine
from interlock.kernel import Kernel, SystemClock
from interlock.ops.console import err, fail, say, show, warn
from interlock.ops.exits import Exit
from interlock.ops.witnesses import Witnesses, read
from interlock.stopping import StopExecutor
from interlock.stopping.signals import Signals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from interlock.adapters.simulated import SimulatedMarket
    from interlock.core.values import HaltCause, Quote, Trade
    from interlock.engine import Feed

__all__ = ["Plan", "run"]

_SHOWN_BAD_ROWS: Final = 10
_REFRESH_S: Final = 0.2


@attrs.frozen(kw_only=True)
class Plan:
    """What ``interlock run`` was asked for; see its ``--help``."""

    home: Path
    ticks: tuple[str, ...]
    strategy: str
    halt_at_tick: int | None
    max_ticks: int | None
    speed: str
    durability: str
    bad_rows: str
    columns: tuple[str, ...]
    instrument: str | None
    seed: int
    cancel_on_stop: bool
    session: str | None
    keys: Path | None
    witnesses: Path | None
    record_inputs: bool
    engine: str
    operator: str
    json: bool


def run(plan: Plan) -> Exit:
    """Run, print, and give the exit code."""
    try:
        speed = _speed(plan.speed)
        feed = _feed(plan)
        asked = _witnesses(plan)
        Home(plan.home).require()
    except HomeError as error:
        fail(Exit.HALTED, str(error), json=plan.json)
    except (InterlockError, ValueError) as error:
        fail(Exit.USAGE, str(error), json=plan.json)
    try:
        with _Signals() as signals:
            return asyncio.run(_run(plan, feed, asked, speed, signals))
    except asyncio.CancelledError:
        fail(Exit.FINE, "interrupted before the first tick; nothing was started", json=plan.json)
    except HomeError as error:
        busy = error.code is HaltCode.EXTERNAL  # another engine has it: nothing is halted
        fail(Exit.USAGE if busy else Exit.HALTED, str(error), json=plan.json)
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=plan.json)


class _Signals:
    """Takes SIGINT and SIGTERM from before the first tick until all is printed, so that neither cuts a run short.

    They come in a thread of their own: the engine's loop may hang, and the second one must halt all the same.
    """

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._early = False
        self._signals = Signals(self._on)

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.__exit__()

    def attend(self) -> None:
        """From here signals go to this task, and then to the engine."""
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._early and self._task is not None:
            self._task.cancel()

    def _on(self, number: int) -> None:
        if self._loop is None:
            self._early = True
        elif self.over or self._loop.is_closed():
            return
        elif self.engine is not None:
            self.engine.on_signal(number)
        else:
            self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        """Nothing has been started yet."""
        if self.engine is None and self._task is not None:
            self._task.cancel()


def _witnesses(plan: Plan) -> Witnesses:
    """Who keeps the checkpoints.

    Raises:
        ValueError: this does not go together.
        WitnessesError: the file is not as it should be.
    """
    if plan.witnesses is not None and plan.keys is None:
        message = "--witnesses needs --keys: witnesses keep what is signed"
        raise ValueError(message)
    if plan.keys is not None and plan.speed != "live":
        message = (
            "--keys needs --speed live: a key is valid in the time of the wall, and a replay is in that of its ticks"
        )
        raise ValueError(message)
    return Witnesses() if plan.witnesses is None else read(plan.witnesses)


async def _run(plan: Plan, source: CsvFeed, asked: Witnesses, speed: Decimal | str, signals: _Signals) -> Exit:
    signals.attend()
    limits, _ = Home(plan.home).read_limits()
    instruments = {name: instrument for name, (instrument, _) in limits.instruments.items()}
    strategy = load(plan.strategy, instruments)  # before the home is touched: a wrong name leaves no trace
    timeline = None if speed == "live" else ReplayClock()
    feed: Feed = source
    if timeline is not None:
        primed = Primed(source)
        first = await primed.first()
        if first is not None:
            timeline.advance(first)
        feed = primed if speed == "max" else paced(primed, speed)
    kernel = Kernel.attach(
        plan.home,
        keys=plan.keys,
        witnesses=asked.witnesses,
        witness_quorum=asked.quorum,
        operator=plan.operator,
        engine=plan.engine,
        durability=plan.durability,
        clock=timeline or SystemClock(),
        watch=Limits() if timeline is None else None,
        record_inputs=plan.record_inputs,
    )
    with kernel:
        unique = f"R{kernel.journal_size[0]}"  # ids of orders and fills are never used twice on one home
        if plan.strategy in BUILT_IN:
            strategy = load(plan.strategy, instruments, prefix=unique)
        venue = PaperVenue(seed=plan.seed, session=unique)
        venue.connect(kernel)
        engine = Engine(
            kernel,
            feed=feed,
            strategy=strategy,
            gateway=venue,
            timeline=timeline,
            halt_at_tick=plan.halt_at_tick,
            max_ticks=plan.max_ticks,
            cancel_on_stop=plan.cancel_on_stop,
            stopping=StopExecutor(kernel, {"paper": venue}, home=plan.home, engine=plan.engine),
            session=plan.session,
        )
        refused = kernel.mode is Mode.HALTED
        if refused:
            cause = kernel.cause
            why = f"{cause.code}: {cause.reason}" if cause else "no cause is known"
            message = f"{plan.home}: HALTED ({why}); see `interlock status`, then `interlock reset`"
            fail(Exit.HALTED, message, json=plan.json)
        watching = asyncio.create_task(_watch(engine, source)) if err.is_terminal and not plan.json else None
        try:
            signals.engine = engine
            await engine.run(signals=False)
        finally:
            signals.over = True
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
        kernel.inspect()  # whoever halted us after the last tick is seen here at the latest
        mode, cause, summary = kernel.mode, kernel.cause, engine.as_json()  # a closed kernel is always HALTED
    size = _journal_size(Home(plan.home).stream(plan.engine), kernel)
    if plan.json:
        show({**summary, "journal": size, "rows_skipped": source.skipped})
    else:
        tell(engine, source, mode, cause, size)
    return _exit(engine, mode)


def _exit(engine: Engine, mode: Mode) -> Exit:
    if mode is Mode.HALTED:
        return Exit.HALTED
    if engine.report.not_started is not None:
        warn(f"the kernel did not start: {engine.report.not_started}")
        return Exit.USAGE
    if engine.report.feed_error is not None:
        warn(f"the feed ended early: {engine.report.feed_error}")
        return Exit.USAGE
    stop = engine.report.stop
    if engine.report.in_flight or (stop is not None and stop.escalated):
        return Exit.UNCONFIRMED  # something is, or may be, at the venue that nobody saw to its end
    return Exit.FINE


class Primed:
    """A feed whose first batch was looked at before anyone took it: a replay starts at its first tick."""

    def __init__(self, feed: CsvFeed | SimulatedMarket) -> None:
        self.name = feed.name
        self._batches = feed.batches()
        self._head: Sequence[Quote | Trade] | None = None

    async def first(self) -> Quote | Trade | None:
        """The first tick, or None for a feed without any."""
        while not self._head:
            try:
                self._head = await anext(self._batches)
            except StopAsyncIteration:
                return None
        return self._head[0]

    async def batches(self) -> AsyncIterator[Sequence[Quote | Trade]]:
        """All batches, from the first."""
        if self._head:
            yield self._head
        async for batch in self._batches:
            yield batch


def _speed(text: str) -> Decimal | str:
    if text in {"max", "live"}:
        return text
    try:
        speed = Decimal(text)
    except InvalidOperation:
        speed = Decimal(0)
    if not speed.is_finite() or speed <= 0:
        message = f"--speed: expected a positive number, max or live, found {text!r}"
        raise ValueError(message)
    return speed


def _feed(plan: Plan) -> CsvFeed:
    columns: dict[str, str] = {}
    for pair in plan.columns:
        field, separator, name = pair.partition("=")
        if not separator or not field or not name:
            message = f"--column: expected FIELD=NAME, found {pair!r}"
            raise ValueError(message)
        columns[field] = name
    shown = 0

    def report(error: RowError) -> None:
        nonlocal shown
        shown += 1
        if shown <= _SHOWN_BAD_ROWS:
            warn(f"skipped: {error}")
        if shown == _SHOWN_BAD_ROWS:
            warn("further bad rows are counted, not shown")

    if "-" in plan.ticks and len(plan.ticks) > 1:
        message = "--ticks: standard input cannot be mixed with files"
        raise ValueError(message)
    for name in plan.ticks:
        if name != "-" and not Path(name).is_file():
            message = f"{name}: no such file"
            raise FeedError(message)
    return CsvFeed(
        [sys.stdin.buffer if name == "-" else Path(name) for name in plan.ticks],
        columns=columns or None,
        instrument=plan.instrument,
        on_bad="skip" if plan.bad_rows == "skip" else "fatal",
        on_error=report,
    )


async def _watch(engine: Engine, source: CsvFeed) -> None:
    """A progress bar while the run lasts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task: TaskID = progress.add_task("running", total=source.total_bytes or None)
        while True:
            report = engine.report
            said = f"{engine.kernel.mode} · {report.ticks} ticks · {report.orders_sent} orders"
            progress.update(task, completed=source.done_bytes, description=said)
            await asyncio.sleep(_REFRESH_S)


def _journal_size(stream: Path, kernel: Kernel) -> dict[str, int]:
    """The whole journal: its records, and the bytes that they take."""
    return {
        "records": kernel.journal_size[0],
        "bytes": sum(path.stat().st_size for path in segments(stream)),
    }


def tell(engine: Engine, source: CsvFeed, mode: Mode, cause: HaltCause | None, size: dict[str, int]) -> None:
    """The run for people."""
    report = engine.report
    say(f"{mode}, epoch {engine.kernel.epoch}", "bold")
    if cause is not None:
        say(f"halt cause     {cause.code}: {cause.reason} (by {cause.source})")
    blocked = f"{report.ticks_blocked} blocked, {source.skipped} bad rows"
    say(f"ticks          {report.ticks}: {report.consulted} consulted, {blocked}")
    for reason, number in sorted(report.blocked_by_reason.items()):
        say(f"  blocked      {number} {reason}")
    say(f"orders         {report.orders_sent} sent, {report.orders_unknown} unknown, {report.orders_refused} refused")
    for reason, number in sorted(report.refused_by_reason.items()):
        say(f"  refused      {number} {reason}")
    stop = report.stop
    if stop is not None and stop.orders:
        say(f"stop           {len(stop.orders) - len(stop.escalated)} of {len(stop.orders)} working orders are over")
        for end in stop.escalated:
            say(f"  UNKNOWN      {end.client_order_id} in {end.instrument}: {end.problem or end.standing}")
    for name, latency in (("consult", report.consult), ("submit", report.submit)):
        summary = latency.summary()
        say(f"{name} ns     p50 {summary['p50']}, p99 {summary['p99']}, max {summary['max']}")
    say(f"journal        {size['records']} records, {size['bytes']} bytes")
