"""The loop: one task that takes ticks, one that beats, and the end of both."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from interlock.breaker.notify import sd_notify, watchdog_interval_s
from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import PASS, Outcome
from interlock.engine.parts import Feed, Gateway, Strategy, Timeline, Watches
from interlock.engine.report import Report, as_json
from interlock.stopping import Overrun, Phase, Shutdown, StopExecutor, StopGateway
from interlock.stopping.loops import OnLoop, aside, outlast
from interlock.stopping.signals import Signals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from concurrent.futures import Future

    from interlock.core.values import Order, Permit, Quote, Trade
    from interlock.kernel import Kernel
    from interlock.stopping import Exits, StopOutcome

__all__ = ["Engine"]

_WHOLE_BEAT_EVERY: Final = 60
_AGAIN_S: Final = 0.25
_TRIES: Final = 20
_LOOP_S: Final = 1.0
"""How long the loop of a replay may take to begin the stop of a halt, where the ticks are the clock."""


class Engine:
    """The live loop over one kernel, feed, strategy and gateway.

    Args:
        kernel: attached; the engine starts and stops it, whoever attached it closes it.
        feed: ticks.
        strategy: orders.
        gateway: the venue.
        timeline: for a replay, the clock that the kernel was given too; None for the machine's.
        heartbeat_s: interval of the heartbeat.
        halt_at_tick: trip the kill switch when this tick (from 1) arrives, before it is consulted.
        max_ticks: stop after so many.
        cancel_on_stop: cancel all working orders in an orderly stop.
        drain_s: how long an orderly stop waits for sends in flight, and then for cancels.
        drain_overrun: what becomes of an orderly stop whose sends did not end in that time: it halts, or it goes on
            with them cancelled and unknown.
        stopping: what sees to the orders on a halt. True: an executor of this gateway, if it can be asked (it is
            asked from another thread), with its intent in memory. False: nothing; they rest.
        exits: close positions in an orderly stop, which ends HALTED then: a stop of category 1.
        session: label for `Kernel.start`.
    """

    def __init__(  # noqa: PLR0913 - the parts of a loop
        self,
        kernel: Kernel,
        *,
        feed: Feed,
        strategy: Strategy,
        gateway: Gateway,
        timeline: Timeline | None = None,
        heartbeat_s: float = 1.0,
        halt_at_tick: int | None = None,
        max_ticks: int | None = None,
        cancel_on_stop: bool = False,
        drain_s: float = 5.0,
        drain_overrun: Overrun = Overrun.HALT,
        stopping: StopExecutor | bool = True,
        exits: Exits | None = None,
        session: str | None = None,
    ) -> None:
        self.kernel = kernel
        self.report = Report()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._feed = feed
        self._strategy = strategy
        self._gateway = gateway
        self._watch: Callable[[Quote | Trade], None] | None = gateway.on_tick if isinstance(gateway, Watches) else None
        self._timeline = timeline
        self._heartbeat_s = heartbeat_s
        self._halt_at_tick = halt_at_tick
        self._max_ticks = max_ticks
        self._executor: StopExecutor | None = None
        if isinstance(stopping, StopExecutor):
            self._executor = stopping
        elif stopping and isinstance(gateway, StopGateway):
            self._executor = StopExecutor(kernel, {"gateway": gateway})
        self._ending: Future[StopOutcome] | None = None
        clearing = self._executor
        if clearing is None and cancel_on_stop:
            clearing = StopExecutor(kernel, {"gateway": OnLoop(gateway.cancel, lambda: self.loop)})
        self._shutdown = Shutdown(
            kernel,
            executor=clearing,
            cancel=cancel_on_stop,
            exits=exits,
            detach=False,
            budgets_s={Phase.DRAIN: drain_s, Phase.CANCEL: drain_s},
            overruns={Phase.DRAIN: drain_overrun},
        )
        self._drain_s = drain_s
        self._session = session
        self._began = False
        self._errors_in_a_row = 0
        self._next_beat_ns = 0
        self._beats = 0
        self._at_work_ns = 0
        self._ready = False
        self._watchdog_s = watchdog_interval_s()
        self._stopping: asyncio.Task[None] | None = None
        self._closing = False
        self._asked: str | None = None
        self._signals = 0
        self._not_begun = ""
        self._loop_saw = threading.Event()
        self._over = threading.Event()
        self._loop_task: asyncio.Task[None] | None = None

    async def run(self, *, signals: bool = True) -> Report:
        """Start the kernel, loop until the feed ends or a stop is asked for, stop the kernel.

        Args:
            signals: take SIGINT and SIGTERM as requests to stop (only in the main thread).

        Returns:
            What the run came to. If the kernel refused to start, no tick was taken.
        """
        self.loop = asyncio.get_running_loop()
        with Signals(self.on_signal) if signals else contextlib.nullcontext():
            return await self._run(self.loop)

    async def _run(self, loop: asyncio.AbstractEventLoop) -> Report:
        beating: asyncio.Task[None] | None = None
        forget: Callable[[], None] | None = None
        try:
            resumed = None if self._executor is None else self._executor.resume()
            if resumed is not None:
                self.report.stop = await outlast(resumed)
            started = self.kernel.start(self._session)
            if not started:
                said = (started.reason, started.limit, started.value)
                self.report.not_started = " ".join(str(word) for word in said if word is not None)
                if resumed is None and self.kernel.working_orders():  # of a halt that nobody could see to
                    await self._see_halt(wait=True)
                return self.report
            forget = self.kernel.on_halt(self._halt_called)
            beating = loop.create_task(self._beat())
            self._loop_task = loop.create_task(self._take())
            if self._asked is not None:
                self.stop(self._asked)
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task
            if self._stopping is not None:
                await self._stopping
            sd_notify("STOPPING=1")
            await self._finish()
        finally:
            self._over.set()
            if forget is not None:
                forget()
            if beating is not None:
                beating.cancel()
        return self.report

    # -- The loop --------------------------------------------------------------------------------

    async def _take(self) -> None:
        batches: AsyncIterator[Sequence[Quote | Trade]] | None = None
        while True:
            try:
                if batches is None:
                    batches = self._feed.batches()
                batch = tuple(await anext(batches))
            except StopAsyncIteration:
                return
            except (Exception, SystemExit, asyncio.CancelledError) as error:  # whatever a feed raises is an anomaly
                if _asked_to_end(error):
                    raise
                self.report.feed_error = _said(error)
                if self._error("feed", error):
                    return
                await asyncio.sleep(0)
                continue
            self.report.feed_error = None
            try:
                for tick in batch:
                    self._at_work(time.monotonic_ns())
                    await self._tick(tick)
                    if self.report.ticks == self._max_ticks:
                        return
            finally:
                self._at_work(0)
            await asyncio.sleep(0)  # heartbeat and signals get their turn

    def _at_work(self, since_ns: int) -> None:
        """Show since when the loop is at work on one tick: that it beats does not say that it gets on."""
        self._at_work_ns = since_ns
        self.kernel.busy(since_ns)

    async def _tick(self, tick: Quote | Trade) -> None:
        report = self.report
        report.ticks += 1
        seen = self._see(tick)
        if report.ticks == self._halt_at_tick:
            self.kernel.halt(f"halt at tick {report.ticks}, as asked for", source="engine")
        before = time.perf_counter_ns()
        verdict = self.kernel.consult(tick)
        report.consult.add(time.perf_counter_ns() - before)
        if verdict is not PASS:
            report.ticks_blocked += 1
            _count(report.blocked_by_reason, verdict.reason)
            if verdict.reason is Reason.HALTED:
                await self._see_halt()
            return
        report.consulted += 1
        try:
            for order in self._strategy.on_tick(tick):
                await self._order(order)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # so is whatever a strategy raises
            if _asked_to_end(error):
                raise
            self._error("strategy", error)
        else:
            if seen:
                self._errors_in_a_row = 0
        if self._timeline is not None and self.kernel.mode is Mode.HALTED:
            await self._see_halt()  # before the clock goes on

    def _see(self, tick: Quote | Trade) -> bool:
        """Show a tick to clock and gateway. False if one of them could make nothing of it."""
        try:
            if self._timeline is not None:
                self._advance(self._timeline, tick)
            if self._watch is not None:
                self._watch(tick)
        except Exception as error:  # noqa: BLE001 - what a feed hands out may be anything
            self._error("feed", error)
            return False
        return True

    async def _order(self, order: Order) -> None:
        report = self.report
        before = time.perf_counter_ns()
        self._began = False
        try:
            verdict = await self.kernel.submit_async(order, self._send)
        except asyncio.CancelledError as error:
            if self._began:  # in the send itself: nobody knows whether it left, and the kernel wrote that down
                report.orders_unknown += 1
            else:
                report.orders_refused += 1
                _count(report.refused_by_reason, Reason.GATE_CLOSED)
            if _asked_to_end(error):
                raise
            return
        report.submit.add(time.perf_counter_ns() - before)
        if not verdict.accepted:
            report.orders_refused += 1
            _count(report.refused_by_reason, verdict.reason)
            return
        if verdict.outcome is Outcome.SENT:
            report.orders_sent += 1
        else:
            report.orders_unknown += 1
        self._at_work(time.monotonic_ns())  # a tick may call for many orders, and this one has ended: it gets on

    async def _send(self, permit: Permit) -> object:
        self._began = True
        return await self._gateway.send(permit)

    def _advance(self, timeline: Timeline, tick: Quote | Trade) -> None:
        """In a replay the ticks are the clock, and the heartbeat is on it; a whole one once in a while."""
        timeline.advance(tick)
        now = timeline.mono_ns()
        if now >= self._next_beat_ns:
            self.kernel.heartbeat(quick=self._beats % _WHOLE_BEAT_EVERY != 0)
            self._beats += 1
            self._next_beat_ns = now + int(self._heartbeat_s * 1_000_000_000)

    def _error(self, where: str, error: BaseException) -> bool:
        """An anomaly of feed or strategy. True if that made one too many in a row."""
        self.report.errors += 1
        self._errors_in_a_row += 1
        said = f"{where}: {_said(error)}"
        self.kernel.anomaly(f"{where.upper()}_RAISED", said)
        if self._errors_in_a_row < self.kernel.errors_in_a_row:
            return False
        if self.kernel.mode is not Mode.HALTED:
            reason = f"{self._errors_in_a_row} errors in a row; the last of {said}"
            self.kernel.halt(reason, code=HaltCode.ERRORS_IN_A_ROW, source="engine")
        return True

    async def _beat(self) -> None:
        """Tell the kernel that the loop turns. In a replay that is on the ticks' clock; look at the home only."""
        every_s = min(self._heartbeat_s, (self._watchdog_s or math.inf) / 3)
        trouble = ""
        while True:
            try:
                self._come_round()
            except Exception as error:  # noqa: BLE001 - whatever it is: a loop that turns must go on saying so
                trouble, before = _said(error), trouble
                if trouble != before:
                    self._note("BEAT_RAISED", trouble)
            await asyncio.sleep(every_s)

    def _come_round(self) -> None:
        """One heartbeat."""
        if self._timeline is None:
            self.kernel.heartbeat()
            self._take_back()
        else:
            self.kernel.inspect()
        self._tell_not_begun()
        self._say()

    def _note(self, code: str, said: str) -> None:
        """An anomaly, if the kernel can take it."""
        with contextlib.suppress(Exception):
            self.kernel.anomaly(code, said)

    def _say(self) -> None:
        """Tell the service manager that it runs, and that it gets on; not that, if one tick takes too long."""
        self._ready = self._ready or sd_notify("READY=1")
        if self._watchdog_s is not None:
            for_s = (time.monotonic_ns() - self._at_work_ns) / 1_000_000_000 if self._at_work_ns else 0.0
            if for_s < self._watchdog_s / 2:
                sd_notify("WATCHDOG=1")

    # -- Stopping --------------------------------------------------------------------------------

    def on_signal(self, number: int) -> None:
        """The first signal stops in order, the second halts. To be called from any thread, or a signal handler.

        The first has to wait for the loop; the second waits for nothing: no lock, no disk. What it did is latched and
        written down by the kernel's lookout.
        """
        name = signal.Signals(number).name
        self._signals += 1
        if self._signals == 1:
            self._asked = name
            if self.loop is not None and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self.stop, name)
        elif self.kernel.mode is not Mode.HALTED:
            self.kernel.halt(f"second signal: {name}", code=HaltCode.SIGNAL, source="signal", timeout_s=0)

    def stop(self, reason: str = "stop") -> None:
        """Ask for an orderly stop: gate closed now, what is in flight may end. Nothing new if one has begun."""
        if self._loop_task is None:
            self._asked = reason  # it has not begun to take ticks
        elif not self._closing:
            self._closing = True
            sd_notify("STOPPING=1")
            self._shutdown.gate(reason)
            self._stopping = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        """Let sends in flight end, then end the loop; one that takes too long is cancelled, and unknown."""
        deadline = time.monotonic() + self._drain_s
        await outlast(aside(self._shutdown.drain, "interlock-drain"))
        while self.kernel.in_flight() and time.monotonic() < deadline:  # noqa: ASYNC110 - a halt may have cut it short
            await asyncio.sleep(0.005)
        self.report.in_flight = self.kernel.in_flight()
        if self._loop_task is not None:
            self._loop_task.cancel()

    async def _finish(self) -> None:
        """The rest of the orderly stop; or, if somebody halted, the end of that stop."""
        self._closing = True  # from here on a signal is remembered, and the next one halts
        if self.kernel.mode is not Mode.RUNNING and self._stopping is None:
            self.kernel.inspect()  # whoever halted may have written down who and why only after the last look
            await self._see_halt(wait=True)
            return
        if self._stopping is None:
            self._shutdown.gate("end of feed")
            await outlast(aside(self._shutdown.drain, "interlock-drain"))
        shutdown = self.report.shutdown = await outlast(aside(self._shutdown.finish, "interlock-finish"))
        self.report.drained = shutdown.stopped
        if shutdown.stop is not None:
            self.report.stop = shutdown.stop
        if self.kernel.mode is not Mode.RUNNING:
            self.kernel.inspect()

    # -- The stop of a halt ------------------------------------------------------------------------

    def _halt_called(self) -> None:
        """HALTED: begin the stop, in a thread of the kernel's, as the loop may hang.

        In a replay the loop goes first, so that the journal is the same each time; but not if it hangs.
        """
        if self._timeline is not None and self._loop_saw.wait(_LOOP_S):
            return
        while self._take_back() is None and self._executor is not None and self.kernel.mode is Mode.HALTED:
            if self._over.wait(_AGAIN_S):
                return

    def _take_back(self) -> Future[StopOutcome] | None:
        """HALTED: have the working orders taken back, once, by what outlives this loop. None: nobody does so yet."""
        if self._ending is None and self._executor is not None and self.kernel.mode is Mode.HALTED:
            try:
                self._ending = self._executor.halted()
            except Exception as error:  # noqa: BLE001 - no thread to be had, say: whoever called tries again
                self._not_begun = _said(error)
        return self._ending

    def _tell_not_begun(self) -> None:
        """Say in the journal what kept the stop of a halt from being begun at once."""
        said, self._not_begun = self._not_begun, ""
        if said:
            self._note("STOP_NOT_BEGUN", said)

    async def _see_halt(self, *, wait: bool = False) -> None:
        """Begin the stop of a halt. In a replay the ticks are the clock and wait for it, so the journal is the same."""
        self._loop_saw.set()
        ending = self._take_back()
        wait = wait or self._timeline is not None
        for _ in range(_TRIES if wait and self._executor is not None else 0):
            if ending is not None or self.kernel.mode is not Mode.HALTED:
                break
            await asyncio.sleep(_AGAIN_S)
            ending = self._take_back()
        self._tell_not_begun()
        if ending is not None and wait:
            self.report.stop = await outlast(ending)

    def as_json(self) -> dict[str, object]:
        """The run as plain data, for ``--json``."""
        return as_json(self.report, self.kernel)


def _asked_to_end(error: BaseException) -> bool:
    """Whether this is the cancellation of the loop itself, and not of something that it called."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _said(error: BaseException) -> str:
    """An error in words, even if it has none."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an error that cannot even be printed
        return type(error).__name__


def _count(counts: dict[str, int], reason: str) -> None:
    word = str(reason)
    counts[word] = counts.get(word, 0) + 1
