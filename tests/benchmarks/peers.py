"""What stands beside Interlock, measured in the same run by the same kit.

Each peer must be seen to do its work, or its number is refused (``measure.require``):

- NautilusTrader: ``RiskEngine.execute(SubmitOrder)``. Accepted means the very same commands came
  out at ``ExecEngine.execute`` in the same order; denied means one ``OrderDenied`` each, for that
  order, with the reason ``TradingState.HALTED``, and nothing sent. Only the risk engine is timed:
  both execution endpoints are the ``append`` of a list. A probe order over ``max_notional`` shows
  first whether that limit is looked at at all, because the account decides it: with a cash
  account the whole check runs; with a margin account, as with none, 1.221 returns before notional
  and balance. Both are rows, and only the first is "the full check". HALTED is looked at last,
  after all of that, so a denial costs an acceptance and more. No logger is initialised, so its
  warning is formatted but written nowhere, and no execution engine applies its event: the denial
  rows are lower bounds.
- transitions: one trigger of a three-state machine, walked in a cycle, no callbacks.
- A naive bot: an asyncio queue of ticks out of a gzip CSV, a file as kill switch looked up with
  ``os.path.exists`` at each tick, orders logged as JSON through stdlib ``logging``. It is naive
  on purpose: absence of the file, or of its directory, means "trade".
- logging: one ready-made JSON line to a ``FileHandler``, which flushes but does not sync.

Run ``python -m tests.benchmarks.peers`` for the table, with ``--json`` for the same as JSON.
"""

# ruff: noqa: PLC0415 - Nautilus is optional and slow to import, so it is imported on use.
from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import logging
import operator
import os
import tempfile
from contextlib import contextmanager
from importlib import metadata
from itertools import count, cycle, islice
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING

import attrs
from transitions import Machine
from transitions.extensions import LockedMachine

from .measure import (
    Plan,
    Rate,
    Timing,
    environment,
    per_call_ns,
    per_item_ns,
    print_table,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ORDER_EVERY = 10
"""The naive loop sends an order on each tenth tick."""

_QUOTES = "eurusd_20140502.csv.gz"
_QUEUE_TICKS = 1_024
_ORDER_LINE = (
    '{"ts":1399006800611000,"event":"order","id":"O-000001","symbol":"EURUSD",'
    '"side":"BUY","quantity":100000,"price":1.38627,"decision":"accepted"}'
)

# NautilusTrader: 80,000 USD a good order, 4,000,000 USD the probe, 1,000,000 USD the limit.
_MAX_NOTIONAL = 1_000_000
_GOOD_QUANTITY = 100_000
_PROBE_QUANTITY = 5_000_000
_PRICE = 0.80
# 1,000 orders each 0.1 ms never throttles; yet after 1,000 orders, so within the warm-up, the
# limiter is warm and really compares clocks, which as many a second would not within a run.
_SUBMIT_RATE = "1000/00:00:00.0001"

Tick = tuple[int, str, float, float]


# -- NautilusTrader --------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Rig:
    """A risk engine on its own bus, with lists where the execution engine would be.

    ``make`` builds one fresh ``SubmitOrder`` for a quantity; ``remember`` puts its order in the
    cache, as ``Strategy.submit_order`` does before the risk engine sees it.
    """

    version: str
    execute: Callable[[object], object]
    make: Callable[[int], object]
    remember: Callable[[object], object]
    sent: list[object] = attrs.field(factory=list)
    events: list[object] = attrs.field(factory=list)


def _rig(account: str, *, halted: bool) -> _Rig:
    """Build a rig out of Nautilus' public classes; ``account`` is ``cash`` or ``margin``."""
    import nautilus_trader  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.common.component import MessageBus  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.core.uuid import UUID4  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.execution.messages import SubmitOrder  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.model.enums import OrderSide, TradingState  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.portfolio.portfolio import Portfolio  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.risk.config import RiskEngineConfig  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.risk.engine import RiskEngine  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.test_kit.providers import TestInstrumentProvider  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.test_kit.stubs.component import TestComponentStubs  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.test_kit.stubs.execution import TestExecStubs  # type: ignore[import-not-found,unused-ignore]
    from nautilus_trader.test_kit.stubs.identifiers import TestIdStubs  # type: ignore[import-not-found,unused-ignore]

    clock = TestComponentStubs.clock()
    bus = MessageBus(trader_id=TestIdStubs.trader_id(), clock=clock)
    cache = TestComponentStubs.cache()
    instrument = TestInstrumentProvider.default_fx_ccy("AUD/USD")
    cache.add_instrument(instrument)
    accounts = {"cash": TestExecStubs.cash_account, "margin": TestExecStubs.margin_account}
    cache.add_account(accounts[account]())
    require(cache.account_for_venue(instrument.id.venue) is not None, "no account for the venue")
    engine = RiskEngine(
        portfolio=Portfolio(msgbus=bus, cache=cache, clock=clock),
        msgbus=bus,
        cache=cache,
        clock=clock,
        config=RiskEngineConfig(
            max_order_submit_rate=_SUBMIT_RATE,
            max_notional_per_order={str(instrument.id): _MAX_NOTIONAL},
        ),
    )
    orders = TestComponentStubs.order_factory()
    price = instrument.make_price(_PRICE)

    def make(quantity: int) -> object:
        order = orders.limit(instrument.id, OrderSide.BUY, instrument.make_qty(quantity), price)
        return SubmitOrder(
            trader_id=order.trader_id,
            strategy_id=order.strategy_id,
            order=order,
            command_id=UUID4(),
            ts_init=clock.timestamp_ns(),
        )

    rig = _Rig(
        version=nautilus_trader.__version__,
        execute=engine.execute,
        make=make,
        remember=lambda command: cache.add_order(_order_of(command)),
    )
    bus.register("ExecEngine.execute", rig.sent.append)
    bus.register("ExecEngine.process", rig.events.append)
    engine.start()
    if halted:
        engine.set_trading_state(TradingState.HALTED)
    return rig


def _cap_bites(account: str) -> bool:
    """Tell whether an order of four times ``max_notional_per_order`` is denied for its notional."""
    rig = _rig(account, halted=False)
    rig.execute(rig.make(_PROBE_QUANTITY))
    require(len(rig.sent) + len(rig.events) == 1, "the probe order was neither sent nor denied")
    return any("NOTIONAL_EXCEEDS_MAX" in _reason(event) for event in rig.events)


def _reason(event: object) -> str:
    return str(getattr(event, "reason", ""))


def _order_of(command: object) -> object:
    return getattr(command, "order", None)


def _order_id(thing: object) -> str:
    return str(getattr(thing, "client_order_id", ""))


def _accepted(account: str, what: str, plan: Plan) -> Timing:
    """Time the accepted path and check that each command really reached execution."""
    rig = _rig(account, halted=False)
    made: list[object] = []

    def feed(size: int) -> list[object]:
        fresh = [rig.make(_GOOD_QUANTITY) for _ in range(size)]
        made.extend(fresh)
        return fresh

    timing = per_item_ns(rig.execute, feed, plan, name=f"nautilus accept, {what}")
    require(len(rig.sent) == plan.calls, f"{len(rig.sent)} of {plan.calls} reached execution")
    require(all(map(operator.is_, rig.sent, made)), "other commands came out than went in")
    require(not rig.events, f"denied on the accepted path: {rig.events[:1]}")
    return timing


def _denied(account: str, what: str, plan: Plan, *, known: bool) -> Timing:
    """Time the denial in HALTED; ``known`` orders are in the cache before, as a strategy's are."""
    rig = _rig(account, halted=True)
    made: list[object] = []

    def feed(size: int) -> list[object]:
        fresh = [rig.make(_GOOD_QUANTITY) for _ in range(size)]
        made.extend(fresh)
        if known:
            for command in fresh:
                rig.remember(command)
        return fresh

    timing = per_item_ns(rig.execute, feed, plan, name=f"nautilus deny HALTED, {what}")
    require(not rig.sent, f"{len(rig.sent)} orders reached execution although HALTED")
    require(len(rig.events) == plan.calls, f"{len(rig.events)} denials of {plan.calls} orders")
    require(
        all(_reason(event) == "TradingState.HALTED" for event in rig.events),
        "denied for another reason than HALTED",
    )
    denied_ids = [_order_id(event) for event in rig.events]
    require(
        denied_ids == [_order_id(_order_of(command)) for command in made],
        "other orders were denied than were submitted",
    )
    require(len(set(denied_ids)) == plan.calls, "order ids were not fresh")
    return timing


def nautilus(plan: Plan) -> tuple[list[Timing] | None, str]:
    """Measure NautilusTrader's risk engine, accepting and denying.

    Args:
        plan: How often to call.

    Returns:
        The rows and a line on what was seen, or None and why there is nothing to see.

    Raises:
        MeasurementError: When a path did not do what its row says.
    """
    try:
        version = _rig("cash", halted=False).version
    except ImportError as error:
        return None, f"nautilus: not measured, {error}"
    require(_cap_bites("cash"), "the full check let four times max_notional through")
    margin = "enforced" if _cap_bites("margin") else "NOT enforced"
    rows = [
        _accepted("cash", "cash account (full check)", plan),
        _accepted("margin", "margin account (returns early)", plan),
        _denied("cash", "cash, order cached", plan, known=True),
        _denied("cash", "cash, order new", plan, known=False),
        _denied("margin", "margin, order cached", plan, known=True),
        _denied("margin", "margin, order new", plan, known=False),
    ]
    return rows, (
        f"nautilus {version}: every accepted command reached ExecEngine.execute, every denied "
        f"one gave OrderDenied; max_notional_per_order enforced with a cash account, {margin} "
        "with a margin account"
    )


# -- transitions -----------------------------------------------------------------------------


class _Breaker:
    """The model a machine is hung on; ``state`` is set by transitions."""

    state: str


_CYCLE = (("start", "IDLE", "RUNNING"), ("halt", "RUNNING", "HALTED"), ("reset", "HALTED", "IDLE"))


def transitions_trigger(plan: Plan, machine: type[Machine] = Machine) -> Timing:
    """Time one trigger of a ``transitions`` machine over IDLE, RUNNING, HALTED.

    Args:
        plan: How often to call.
        machine: ``Machine``, or ``LockedMachine`` for the one that takes a lock.

    Returns:
        The timing of a trigger that changes the state.

    Raises:
        MeasurementError: When the machine did not walk its cycle.
    """
    model = _Breaker()
    machine(
        model=model,
        states=["IDLE", "RUNNING", "HALTED"],
        transitions=[list(row) for row in _CYCLE],
        initial="IDLE",
        auto_transitions=False,
    )
    triggers: list[Callable[[], object]] = [getattr(model, name) for name, _, _ in _CYCLE]
    for trigger, (_, _, target) in zip(triggers, _CYCLE, strict=True):
        require(trigger() is True and model.state == target, f"did not go to {target}")
    endless = cycle(triggers)

    # A trigger out of its turn raises MachineError, so a run that ends has walked the cycle.
    timing = per_item_ns(
        operator.call,
        lambda size: list(islice(endless, size)),
        plan,
        name=f"transitions {machine.__name__} trigger",
    )
    expected = ("IDLE", "RUNNING", "HALTED")[plan.calls % len(_CYCLE)]
    require(model.state == expected, f"ended in {model.state}, not in {expected}")
    return timing


# -- a naive bot, and logging alone ----------------------------------------------------------


@contextmanager
def _file_logger(path: Path) -> Iterator[logging.Logger]:
    """Open a logger that writes bare messages to one file, and to nothing else."""
    logger = logging.Logger(f"peers.{path.stem}", level=logging.INFO)  # noqa: LOG001 - private, unregistered
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        handler.close()


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _flagged(flag: str) -> bool:
    """Look for the kill-switch file as a naive bot does: no file, no directory, no halt."""
    return os.path.exists(flag)  # noqa: PTH110 - the call the naive bot makes


def _log_order(log: logging.Logger, number: int, tick: Tick) -> None:
    ts, symbol, _, ask = tick
    order = {
        "ts": ts,
        "event": "order",
        "id": f"O-{number:06}",
        "symbol": symbol,
        "side": "BUY",
        "quantity": 100_000,
        "price": ask,
        "decision": "accepted",
    }
    log.info(json.dumps(order))


def _submit(log: logging.Logger, flag: str, number: int, tick: Tick) -> bool:
    """Log one order unless the file is there; says whether it was logged."""
    if _flagged(flag):
        return False
    _log_order(log, number, tick)
    return True


def naive_submit(plan: Plan, directory: Path) -> Timing:
    """Time one naive order: the file-flag look-up, ``json.dumps`` and a logged line.

    Args:
        plan: How often to call.
        directory: Where the log goes; the flag file is looked for there and is absent.

    Returns:
        The timing of an order let through.

    Raises:
        MeasurementError: When the log does not hold a line an order, or the flag stops none.
    """
    path, flag = directory / "naive_submit.log", directory / "naive_submit.halt"
    flag_name = str(flag)
    numbers = count()
    tick: Tick = (1_399_006_800_611_000, "EURUSD", 1.38626, 1.38627)
    with _file_logger(path) as log:
        timing = per_call_ns(
            lambda: _submit(log, flag_name, next(numbers), tick),
            plan.n,
            plan.warmup,
            plan.rounds,
            name="naive submit (exists + json + logging)",
        )
        flag.touch()
        require(not _submit(log, flag_name, next(numbers), tick), "the flag did not stop an order")
    require(_lines(path) == plan.calls, "the log does not hold a line an order")
    return timing


def logging_line(plan: Plan, directory: Path) -> Timing:
    """Time ``Logger.info`` of one ready-made JSON line to a ``FileHandler``.

    Args:
        plan: How often to call.
        directory: Where the log goes.

    Returns:
        The timing of a line, flushed to the kernel and not synced.

    Raises:
        MeasurementError: When the log does not hold a line a call.
    """
    path = directory / "logging.log"
    with _file_logger(path) as log:
        timing = per_call_ns(
            lambda: log.info(_ORDER_LINE),
            plan.n,
            plan.warmup,
            plan.rounds,
            name="logging one JSON line to a file",
        )
    require(_lines(path) == plan.calls, "the log does not hold a line a call")
    return timing


async def _produce(quotes: Path, queue: asyncio.Queue[Tick | None]) -> None:
    with gzip.open(quotes, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for ts, symbol, bid, ask, *_ in rows:
            await queue.put((int(ts), symbol, float(bid), float(ask)))
    await queue.put(None)


async def _trade(quotes: Path, flag: str | None, log: logging.Logger) -> tuple[int, int, int]:
    """Run the loop once, bare when ``flag`` is None; gives ticks, orders and the ns taken."""
    began = perf_counter_ns()
    queue: asyncio.Queue[Tick | None] = asyncio.Queue(maxsize=_QUEUE_TICKS)
    producer = asyncio.create_task(_produce(quotes, queue))
    ticks = orders = 0
    while (tick := await queue.get()) is not None:
        ticks += 1
        if flag is not None and _flagged(flag):
            continue
        if ticks % ORDER_EVERY == 0:
            orders += 1
            if flag is not None:
                _log_order(log, orders, tick)
    await producer
    return ticks, orders, perf_counter_ns() - began


def naive_loop(quotes: Path, directory: Path, *, rounds: int = 3, guarded: bool = True) -> Rate:
    """Run a naive bot over a file of quotes: gunzip, parse and queue included.

    Args:
        quotes: A gzip CSV with a header whose rows begin ts, symbol, bid, ask.
        directory: Where the log goes; the flag file is looked for there.
        rounds: How many runs; the median by time is given.
        guarded: False leaves out the kill switch and the log, to show what the rest costs.

    Returns:
        Ticks and orders of the median run.

    Raises:
        MeasurementError: When a tick or an order is missing, or the flag stops nothing.
    """
    path = directory / f"naive_loop_{guarded}.log"
    halt = directory / "naive_loop.halt"
    flag = str(halt) if guarded else None
    rows = _rows(quotes)
    with _file_logger(path) as log:
        runs = [asyncio.run(_trade(quotes, flag, log)) for _ in range(rounds)]
        if guarded:
            halt.touch()
            halted = asyncio.run(_trade(quotes, flag, log))
            require(halted[:2] == (rows, 0), "the flag did not stop the loop's orders")
            halt.unlink()
    due = rows // ORDER_EVERY
    require(all(run[:2] == (rows, due) for run in runs), "ticks or orders are missing")
    require(_lines(path) == (due * rounds if guarded else 0), "log lines are missing")
    ticks, orders, elapsed_ns = sorted(runs, key=operator.itemgetter(2))[len(runs) // 2]
    what = "flag + logging" if guarded else "no flag, no logging"
    return Rate(name=f"naive asyncio loop, {what}", ticks=ticks, orders=orders, elapsed_ns=elapsed_ns)


def _rows(quotes: Path) -> int:
    with gzip.open(quotes, "rb") as file:
        return sum(1 for _ in file) - 1


# -- the table -------------------------------------------------------------------------------


def find_quotes() -> Path | None:
    """Find the quotes beside the tests or beside the checkout; None when there are none."""
    here = Path(__file__).resolve()
    places = (here.parents[1] / "data", here.parents[3] / "shared" / "data")
    return next((place / _QUOTES for place in places if (place / _QUOTES).is_file()), None)


def measure_peers(plan: Plan, quotes: Path | None) -> tuple[list[Timing], list[Rate], list[str]]:
    """Measure every peer that can be measured here, in a temporary directory.

    Args:
        plan: How often to call.
        quotes: The file for the loop; None leaves the loop out and says so.

    Returns:
        Per-call rows, loop rows, and notes on the run and on what was left out.

    Raises:
        MeasurementError: When a peer did not do what its row says.
    """
    notes = [environment()]
    found, note = nautilus(plan)
    notes += [note, f"transitions {metadata.version('transitions')}"]
    timings = found or []
    timings += [transitions_trigger(plan), transitions_trigger(plan, LockedMachine)]
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory(prefix="interlock-peers-") as name:
        directory = Path(name)
        timings += [naive_submit(plan, directory), logging_line(plan, directory)]
        if quotes is None:
            notes.append(f"naive loop: not measured, no {_QUOTES} found (give --quotes)")
        else:
            rates += [naive_loop(quotes, directory, rounds=plan.rounds, guarded=guarded) for guarded in (True, False)]
            notes.append(f"naive loop: {quotes.name}, gunzip and parse included")
    return timings, rates, notes


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the peers and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--quotes", type=Path, default=find_quotes(), help="gzip CSV of quotes")
    parser.add_argument("--calls", type=int, default=20_000, help="timed calls a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(argv)
    plan = Plan(n=options.calls, rounds=options.rounds)
    print_table(*measure_peers(plan, options.quotes), to_json=options.json)


if __name__ == "__main__":
    main()
