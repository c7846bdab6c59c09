"""Interlock's own figures: the gates in every state and durability, the whole loop, memory.

All of it runs on a real home with a real journal on the disk that the temporary directory is on.
Orders are fresh for each call and made outside the timed region; between two calls, untimed, the
venue says that the order is over, so that the working set stays what it is in life: small.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import uuid
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from interlock import Cancel, Kernel, Mode, Order, Permit, Quote, Reason, Side, Verdict
from interlock.adapters.csvfeed import CsvFeed
from interlock.adapters.paper import PaperVenue
from interlock.adapters.replay import ReplayClock
from interlock.adapters.simulated import SimulatedMarket
from interlock.adapters.strategies import load
from interlock.breaker.home import Home, Now
from interlock.engine import Engine
from interlock.ops.runner import Primed

from .measure import Plan, Rate, Timing, per_call_ns, per_item_ns, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.engine import Feed

_DISK_DIVISOR = 20
"""A call in durability disk waits for the disk: a twentieth of the calls is enough."""


def limits(**changes: str) -> bytes:
    """Every limit set, none of them reached."""
    text = (Path(__file__).parent / "limits.toml").read_text(encoding="utf-8")
    for old, new in changes.items():
        text = text.replace(old, new)
    return text.encode()


def make_home(directory: Path, name: str) -> Path:
    """A fresh armed home."""
    path = directory / name
    now = Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())
    Home(path).arm(limits(), home=str(uuid.uuid4()), operator="bench", reason="bench", now=now)
    return path


def _order(number: int) -> Order:
    return Order(
        client_order_id=f"B-{number:09d}",
        instrument="EURUSD",
        side=Side.BUY if number % 2 else Side.SELL,
        quantity=Decimal(1000),
        price=Decimal("1.38627"),
    )


def _quote() -> Quote:
    now = time.time_ns() // 1000
    return Quote(instrument="EURUSD", ts_us=now, bid=Decimal("1.38626"), ask=Decimal("1.38627"))


def send(permit: Permit) -> None:
    """The least that a send function does."""
    permit.redeem()


class Orders:
    """Fresh orders, and a fresh tick and heartbeat before each timed call needs them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._number = 0

    def make(self, count: int) -> list[Order]:
        """So many orders."""
        first = self._number
        self._number += count
        self.refresh()
        return [_order(number) for number in range(first, self._number)]

    def refresh(self) -> None:
        """A tick and a heartbeat."""
        self._kernel.heartbeat()
        self._kernel.consult(_quote())

    def over(self, order: Order) -> None:
        """The venue says that the order is over."""
        self._kernel.on_cancelled(order.client_order_id)
        self._kernel.consult(_quote())


def gates(directory: Path, durability: str, plan: Plan) -> list[Timing]:
    """`consult`, and `submit` accepted and refused, RUNNING and HALTED, in one durability."""
    if durability == "disk":
        plan = Plan(n=max(1, plan.n // _DISK_DIVISOR), warmup=plan.warmup // _DISK_DIVISOR, rounds=plan.rounds)
    rows: list[Timing] = []
    with Kernel.attach(make_home(directory, durability), operator="bench", durability=durability) as kernel:
        require(kernel.start(), "the kernel did not start")
        orders = Orders(kernel)
        said: dict[str, Verdict] = {}

        def consult(tick: Quote) -> None:
            said["consult"] = kernel.consult(tick)

        def submit(order: Order) -> None:
            said["submit"] = kernel.submit(order, send)

        def quotes(count: int) -> list[Quote]:
            kernel.heartbeat()
            return [_quote() for _ in range(count)]

        rows.append(per_item_ns(consult, quotes, plan, name=f"consult, passes ({durability})"))
        require(said["consult"], f"consult refused: {said['consult']}")
        rows.append(per_item_ns(submit, orders.make, plan, name=f"submit, accepted ({durability})", after=orders.over))
        require(said["submit"], f"submit refused: {said['submit']}")

        def over_limit(count: int) -> list[Order]:
            return [
                Order(
                    client_order_id=order.client_order_id,
                    instrument="EURUSD",
                    side=Side.BUY,
                    quantity=Decimal(2_000_000),
                    price=order.price,
                )
                for order in orders.make(count)
            ]

        rows.append(per_item_ns(submit, over_limit, plan, name=f"submit, over a limit ({durability})"))
        require(said["submit"].reason is Reason.MAX_QUANTITY, f"not the limit: {said['submit']}")
        rows.append(_cancels(kernel, plan, durability))
        kernel.halt("benchmark")
        require(kernel.mode is Mode.HALTED, "not halted")
        rows.append(per_item_ns(submit, orders.make, plan, name=f"submit, HALTED ({durability})"))
        require(said["submit"].reason is Reason.HALTED, f"not refused as halted: {said['submit']}")
        rows.append(per_item_ns(consult, quotes, plan, name=f"consult, HALTED ({durability})"))
        require(said["consult"].reason is Reason.HALTED, "not blocked as halted")
    return rows


def _cancels(kernel: Kernel, plan: Plan, durability: str) -> Timing:
    cancel = Cancel(client_order_id="B-000000001", instrument="EURUSD")
    return per_call_ns(
        lambda: kernel.cancel(cancel, id), plan.n, plan.warmup, plan.rounds, name=f"cancel ({durability})"
    )


def halting(directory: Path, rounds: int) -> Timing:
    """From the call of `Kernel.halt` to its confirmed return, on a fresh home each time."""
    took: list[int] = []
    for number in range(rounds):
        with Kernel.attach(make_home(directory, f"halt-{number}"), operator="bench") as kernel:
            require(kernel.start(), "the kernel did not start")
            before = time.perf_counter_ns()
            report = kernel.halt("benchmark")
            took.append(time.perf_counter_ns() - before)
            require(report.confirmed and report.durable, f"not confirmed: {report}")
    took.sort()
    return Timing(
        name="halt, confirmed and durable",
        p50_ns=took[len(took) // 2],
        p99_ns=took[min(len(took) - 1, len(took) * 99 // 100)],
        max_ns=took[-1],
        mean_ns=sum(took) / len(took),
        calls=len(took),
    )


def whole_loop(directory: Path, quotes: Path, strategy: str, *, rounds: int) -> Rate:
    """Gunzip, parse, gate 1, strategy, gate 2, journal, paper venue, outcome, fills: the median round."""
    done: list[Rate] = []
    for number in range(rounds):
        home = make_home(directory, f"loop-{strategy}-{number}")
        began = time.perf_counter_ns()
        engine = asyncio.run(_loop(home, CsvFeed([quotes]), strategy))
        elapsed = time.perf_counter_ns() - began
        done.append(
            Rate(
                name=f"interlock, {strategy}, journal (process)",
                ticks=engine.report.ticks,
                orders=engine.report.orders_sent,
                elapsed_ns=elapsed,
            )
        )
    return sorted(done, key=lambda rate: rate.elapsed_ns)[rounds // 2]


async def _loop(home: Path, source: Feed, strategy: str) -> Engine:
    """One run of the live loop, as `interlock run --speed max --durability process` makes it."""
    allowed, _ = Home(home).read_limits()
    clock = ReplayClock()
    primed = Primed(source)
    first = await primed.first()
    require(first is not None, "the feed is empty")
    if first is not None:
        clock.advance(first)
    venue = PaperVenue(seed=1)
    kernel = Kernel.attach(home, operator="bench", durability="process", clock=clock)
    with kernel:
        venue.connect(kernel)
        instruments = {name: instrument for name, (instrument, _) in allowed.instruments.items()}
        engine = Engine(
            kernel,
            feed=primed,
            strategy=load(strategy, instruments),
            gateway=venue,
            timeline=clock,
        )
        await engine.run(signals=False)
        require(kernel.mode is Mode.IDLE, f"the loop ended {kernel.mode}: {kernel.cause}")
    return engine


def memory(directory: Path, counts: Sequence[int]) -> list[str]:
    """Python's memory after so many simulated ticks with an order on each: it must not grow with them."""
    notes: list[str] = []
    for count in counts:
        home = make_home(directory, f"memory-{count}")
        instrument = Home(home).read_limits()[0].instruments["SIM"][0]
        market = SimulatedMarket(
            instrument, seed=1, ticks=count, start_us=1_700_000_000_000_000, interval_us=10_000, mid=Decimal(100)
        )
        tracemalloc.start()
        engine = asyncio.run(_loop(home, market, "every-tick"))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = sum(path.stat().st_size for path in (home / "journal").rglob("*.jsonl"))
        notes.append(
            f"memory: {count:>9,} ticks, {engine.report.orders_sent:,} orders: "
            f"{held / 1e6:.1f} MB held, {peak / 1e6:.1f} MB at most; journal {size / 1e6:.0f} MB"
        )
    return notes
