"""The stop executor: sees that what is at the venue ends, outside of everything that the stop ends.

    executor = StopExecutor(kernel, {"binance": session}, home=home, engine="desk-1")
    kernel.halt("pulled")
    outcome = executor.halted().result()

Halting stops emission; it takes no order back. This does, in threads of its own: one that supervises, one for each
gateway, one that writes the intent. None of them is a task of the engine's, so a stop that is called from the task
it cancels comes to its end all the same.

The categories are those of IEC 60204-1. **0**: nothing but cancels; what every halt begins. **1**: a controlled
stop: while still RUNNING, with the gate closed, cancels and then exits by ticket; and then HALTED. A halt at any moment
makes a 1 a 0; nothing makes a 0 a 1.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.errors import MisuseError
from interlock.core.modes import Mode
from interlock.stopping.exits import ExitLane, Exits
from interlock.stopping.gateways import Standing
from interlock.stopping.intent import Found, Intent, Record, Stops
from interlock.stopping.lane import Errand, Lane, Pace
from interlock.stopping.recall import finished_before, recall
from interlock.stopping.report import ExitEnd, OrderEnd, StopOutcome
from interlock.stopping.routes import Route, Routes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from interlock.core.values import Order
    from interlock.kernel import Kernel
    from interlock.stopping.gateways import StopGateway

__all__ = ["Route", "StopExecutor"]

_SLACK_S: Final = 0.25
"""How long a lane whose budget is spent may take to say so."""

_STORE_S: Final = 1.0
_TELL_S: Final = 0.5


@attrs.frozen(kw_only=True)
class _Wanted:
    """One stop, as it was asked for."""

    asked: int
    reason: str
    pace: Pace
    exits: Exits | None = None
    stored: bool = True
    again: bool = False
    found: Found | None = None


class StopExecutor:
    """Cancels, asks, and repeats until all is over or the budget is spent; see the module.

    Args:
        kernel: attached; whose orders they are.
        gateways: by name. Asked from another thread: see `gateways`.
        route: which of them has an order; not needed if there is one only.
        home: where intents are stored; None keeps them in memory, which rules exits out.
        engine: the engine's name in the home, as it is attached.
        pace: how patient to be.
    """

    def __init__(
        self,
        kernel: Kernel,
        gateways: Mapping[str, StopGateway],
        *,
        route: Route | None = None,
        home: str | os.PathLike[str] | None = None,
        engine: str = "engine",
        pace: Pace | None = None,
    ) -> None:
        self.pace = pace or Pace()
        self._kernel = kernel
        self._gateways = dict(gateways)
        self._routes = Routes(self._gateways, route)
        self._stops = None if home is None else Stops(home, engine)
        self._lock = threading.Lock()
        self._current: tuple[int, Future[StopOutcome]] | None = None

    # -- What can be asked for -------------------------------------------------------------------

    def halted(self, *, again: bool = False) -> Future[StopOutcome]:
        """The stop of category 0 that belongs to a halt. It goes on whatever becomes of the caller.

        A stop that is under way or interrupted is taken up, and one that has come to its end is not begun again: the
        result then tells what it was.

        Args:
            again: begin another one over what still works, because somebody asks for it.

        Raises:
            MisuseError: the kernel is not HALTED.
        """
        if self._kernel.mode is not Mode.HALTED:
            message = "a stop of category 0 belongs to a halt: halt first"
            raise MisuseError(message)
        return self._begin(_Wanted(asked=0, reason="halted", pace=self.pace, again=again))

    def controlled(self, reason: str, exits: Exits | None = None) -> Future[StopOutcome]:
        """The stop of category 1: gate closed, working orders cancelled, exits sent and verified, then HALTED.

        Args:
            reason: stands in the journal.
            exits: which positions to close; by default all, by market orders.
        """
        return self._begin(_Wanted(asked=1, reason=reason, pace=self.pace, exits=exits or Exits()))

    def clear(self, budget_s: float | None = None) -> Future[StopOutcome]:
        """Take all working orders back and see them over, and no more: no halt, no intent. For an orderly stop."""
        pace = self.pace if budget_s is None else attrs.evolve(self.pace, budget_s=budget_s)
        return self._start(_Wanted(asked=0, reason="clear", pace=pace, stored=False))

    def resume(self) -> Future[StopOutcome] | None:
        """Take up what a crash interrupted: to be called after every attach, before `Kernel.start`.

        That is a stop whose intent is open; or the stop of a halt, if orders work and none was finished. It asks first
        and cancels what still works. It halts, if the stop had not come to that, and sends nothing. None if there is
        nothing to take up. When it returns anything else, the kernel is HALTED: so it is, too, if an intent can't be
        believed, or the disk does not tell what there is.
        """
        if self._stops is None:
            return None
        found = self._stops.look()
        mine = [one.done for one in found.records if one.epoch == self._kernel.epoch]
        begun_by_halt = self._kernel.mode is Mode.HALTED and not mine and bool(self._kernel.working_orders())
        if all(mine) and not found.problems and not begun_by_halt:
            return None
        self._halt_over(found)
        wanted = _Wanted(asked=0, reason="resumed", pace=self.pace, again=True, found=found)
        return self._begin(wanted)

    def _begin(self, wanted: _Wanted) -> Future[StopOutcome]:
        """One stop at a time, and one an epoch unless another is asked for."""
        with self._lock:
            if self._current is not None:
                epoch, current = self._current
                if not current.done() or (epoch == self._kernel.epoch and not wanted.again):
                    return current
            begun = self._start(wanted)
            self._current = (self._kernel.epoch, begun)
            return begun

    def _start(self, wanted: _Wanted) -> Future[StopOutcome]:
        future: Future[StopOutcome] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it

        def run() -> None:
            try:
                future.set_result(self._stop(wanted))
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                future.set_exception(error)

        threading.Thread(target=run, name="stop", daemon=True).start()
        return future

    # -- One stop --------------------------------------------------------------------------------

    def _stop(self, wanted: _Wanted) -> StopOutcome:
        began_ns = time.monotonic_ns()
        until = time.monotonic() + wanted.pace.budget_s  # what is done before the first cancel is of the budget, too
        kernel = self._kernel
        if wanted.asked == 1:
            _bounded(lambda: kernel.drain(wanted.reason), _STORE_S)  # no exit, if that takes longer
        found = self._found(wanted)
        problems = [*found.problems]
        mine = [one for one in found.records if one.epoch == kernel.epoch]
        left_open = self._halt_over(found)
        if found.damaged and self._stops is not None:
            stops = self._stops
            _bounded(lambda: problems.extend(stops.set_aside(found)), _STORE_S)
        if mine and left_open is None and not (wanted.again or found.problems):
            works = {order.client_order_id for order in kernel.working_orders()}
            took_ns = time.monotonic_ns() - began_ns
            return self._holding(finished_before(mine[-1], works, wanted.asked, took_ns), wanted)
        controlled = wanted.asked == 1 and kernel.mode is Mode.RUNNING and left_open is None
        intent = self._intent(wanted, found, left_open, controlled=controlled)
        resumed = left_open is not None
        orders = kernel.working_orders()
        lanes, strays = self._lanes(
            orders, wanted, intent, controlled=controlled, ask_first=wanted.found is not None or resumed
        )
        intent.orders(
            {one.client_order_id: {"instrument": one.instrument, "standing": str(Standing.WORKING)} for one in orders}
        )
        if controlled:  # nothing is on fire, so a crash from here on finds it
            intent.stored(intent.turn(), _STORE_S)
        self._run(lanes, wanted.pace, problems, until, controlled=controlled)
        category = 1 if controlled and kernel.mode is Mode.RUNNING else 0
        if wanted.asked == 1 and kernel.mode is not Mode.HALTED:
            kernel.halt(f"end of the controlled stop: {wanted.reason}", source="stop")
        # Only now: before the halt, a lane that was left behind may still have begun its exit.
        ends = {end.client_order_id: end for lane in lanes for end in tuple(lane.ends.values())} | strays
        exits = tuple(end for lane in lanes if isinstance(lane, ExitLane) for end in tuple(lane.exits.values()))
        if controlled:
            taken = self._take_back(lanes, wanted, intent, problems)
            ends |= taken
            never = self._never_made(intent.record, wanted.exits or Exits(), [end.instrument for end in exits])
            exits = never + tuple(
                attrs.evolve(end, begun=True, standing=taken[end.client_order_id].standing)
                if end.client_order_id in taken
                else end
                for end in exits
            )
        if resumed:
            exits = recall(intent.record, ends)
        return self._close(
            StopOutcome(
                stop=intent.record.name if wanted.stored and self._stops is not None else "",
                category=category,
                asked=max(wanted.asked, intent.record.category if resumed else 0),
                orders=tuple(ends.values()),
                exits=exits,
                durable=False,
                resumed=resumed,
                problems=tuple(problems),
            ),
            wanted,
            intent,
            began_ns,
        )

    def _found(self, wanted: _Wanted) -> Found:
        if not wanted.stored or self._stops is None:
            return Found(answered=False)
        return wanted.found or self._stops.look()

    def _halt_over(self, found: Found) -> Record | None:
        """Halt over what was interrupted, or may have been: an intent that can't be read may be that of any stop.

        Returns:
            The intent that is open.
        """
        kernel = self._kernel
        left_open = next((one for one in reversed(found.records) if one.epoch == kernel.epoch and not one.done), None)
        if kernel.mode is not Mode.HALTED:
            if left_open is not None:
                kernel.halt(f"stop {left_open.name} was interrupted: {left_open.reason}", source="stop")
            elif found.problems:
                kernel.halt(f"a stop may have been interrupted: {found.problems[0]}", source="stop")
        return left_open

    def _intent(self, wanted: _Wanted, found: Found, left_open: Record | None, *, controlled: bool) -> Intent:
        kernel = self._kernel
        stored = wanted.stored and self._stops is not None and found.answered
        if left_open is not None:
            record = attrs.evolve(left_open, category=0)
        else:
            about = {
                "epoch": kernel.epoch,
                "category": 1 if controlled else 0,
                "reason": wanted.reason[:500],
                "run": kernel.run,
            }
            record = (
                self._stops.begin(found, **about)
                if self._stops is not None
                else Record(home="", engine="", number=1, **about)  # type: ignore[arg-type]
            )
        return Intent(record, self._stops if stored else None)

    def _lanes(
        self, orders: Sequence[Order], wanted: _Wanted, intent: Intent, *, controlled: bool, ask_first: bool
    ) -> tuple[list[Lane], dict[str, OrderEnd]]:
        """A lane for each gateway that has something to do; and the orders that no gateway has."""
        share: dict[str, list[Order]] = {}
        strays: dict[str, OrderEnd] = {}
        for order in orders:
            name, problem = self._routes.of(order)
            if problem:
                strays[order.client_order_id] = OrderEnd(
                    client_order_id=order.client_order_id,
                    instrument=order.instrument,
                    gateway="",
                    standing=Standing.UNKNOWN,
                    problem=problem,
                )
            else:
                share.setdefault(name, []).append(order)
        errand = Errand(kernel=self._kernel, pace=wanted.pace, intent=intent, ask_first=ask_first)
        if not controlled or wanted.exits is None:
            return [Lane(name, self._gateways[name], mine, errand) for name, mine in share.items()], strays
        ids, _ = self._exit_ids(intent.record, wanted.exits)
        return [
            ExitLane(name, gateway, share.get(name, ()), errand, plan=wanted.exits, ids=ids.get(name, {}))
            for name, gateway in self._gateways.items()
            if name in share or name in ids
        ], strays

    def _exit_ids(self, record: Record, exits: Exits) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        return self._routes.exits(exits, self._kernel.positions(), f"exit-{self._kernel.run[:8]}-{record.name}")

    def _never_made(self, record: Record, exits: Exits, made: Iterable[str]) -> tuple[ExitEnd, ...]:
        """The exits that no lane came to: without a word, a position would be left that was to be closed."""
        _, lacking = self._exit_ids(record, exits)
        positions = self._kernel.positions()
        held = {name for name, size in positions.items() if size and exits.wants(name)}
        return tuple(
            ExitEnd(instrument=name, problem=f"no exit: {lacking.get(name, 'the gateway did not come to it')}")
            for name in sorted((held | (lacking.keys() - positions.keys())) - {*made})
        )

    def _run(self, lanes: Iterable[Lane], pace: Pace, problems: list[str], until: float, *, controlled: bool) -> None:
        """Start all lanes at once, and leave behind what does not come back in time."""
        lanes = tuple(lanes)
        for lane in lanes:
            lane.start(until)
        until += (pace.exit_s if controlled else 0.0) + _SLACK_S
        for lane in lanes:
            if not lane.done.wait(max(0.0, until - time.monotonic())):
                problems.append(f"gateway {lane.name} did not come back")
            lane.leave()
            for order_id, end in tuple(lane.ends.items()):
                if not end.over and not end.problem:
                    lane.ends[order_id] = attrs.evolve(end, problem="the gateway did not come back")
            if lane.trouble:
                problems.append(f"gateway {lane.name}: {lane.trouble}")

    def _take_back(
        self, lanes: Iterable[Lane], wanted: _Wanted, intent: Intent, problems: list[str]
    ) -> dict[str, OrderEnd]:
        """HALTED now, what rests of an exit is taken back like any other order."""
        planned = {order_id for lane in lanes if isinstance(lane, ExitLane) for order_id in lane.ids.values()}
        resting = [order for order in self._kernel.working_orders() if order.client_order_id in planned]
        again, strays = self._lanes(resting, wanted, intent, controlled=False, ask_first=False)
        self._run(again, wanted.pace, problems, time.monotonic() + wanted.pace.budget_s, controlled=False)
        return {end.client_order_id: end for lane in again for end in tuple(lane.ends.values())} | strays

    def _holding(self, outcome: StopOutcome, wanted: _Wanted) -> StopOutcome:
        """With what is held by now; without, if nobody can say."""
        held: list[dict[str, Decimal]] = []
        _bounded(lambda: held.append(self._kernel.positions()), _TELL_S)
        if not held:
            return outcome
        positions = {name: size for name, size in held[0].items() if size}
        left = tuple(name for name in positions if wanted.exits is not None and wanted.exits.wants(name))
        return attrs.evolve(outcome, positions=positions, left=left)

    def _close(self, outcome: StopOutcome, wanted: _Wanted, intent: Intent, began_ns: int) -> StopOutcome:
        """Say what it came to: in the intent, in the journal, and to whoever waits."""
        intent.orders(
            {
                end.client_order_id: {
                    "instrument": end.instrument,
                    "gateway": end.gateway,
                    "standing": str(end.standing),
                }
                for end in outcome.orders
            }
        )
        _bounded(self._kernel.seal, _STORE_S)  # first, or a crash would leave a finished stop whose orders still work
        version = intent.turn(category=outcome.category, done=True)
        durable = intent.stored(version, _STORE_S) and bool(outcome.stop)
        intent.close()
        if outcome.escalated:
            names = ", ".join(end.client_order_id for end in outcome.escalated)
            told = f"{len(outcome.escalated)} orders are not known to be over: {names}"
            _bounded(lambda: self._kernel.anomaly("STOP_ESCALATED", told), _TELL_S)

        def tell() -> None:
            for problem in outcome.problems:
                self._kernel.anomaly("STOP_PROBLEM", problem)

        _bounded(tell, _TELL_S)
        problems = outcome.problems
        if outcome.stop and not durable:
            problems = (*problems, f"the intent is not durable: {intent.problem or 'the disk did not answer in time'}")
        return attrs.evolve(
            self._holding(outcome, wanted),
            durable=durable,
            problems=problems,
            took_ns=time.monotonic_ns() - began_ns,
        )


def _bounded(act: Callable[[], object], timeout_s: float) -> None:
    """Do something that a hung disk may hold up, and do not wait longer than this for it."""
    acting = threading.Thread(target=act, name="stop tells", daemon=True)
    acting.start()
    acting.join(timeout_s)
