"""What the tests of homes and kernels share: a home on real files, a clock, a venue that remembers.

Nothing here stands for a part of ours: homes, journals and kernels are the real ones. The clock and
the venue are the world's side of them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from interlock import Cancel, Fill, Kernel, Order, OrderType, Permit, Quote, Side
from interlock.breaker.home import Home, Now
from interlock.breaker.latch import HALTED, Latch
from interlock.breaker.segment import chunks, segments
from interlock.verify import Report, Status, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.breaker.quiet import Quiet

HOME_ID: Final = "11111111-2222-4333-8444-555555555555"
OTHER_ID: Final = "99999999-2222-4333-8444-555555555555"
RUN_ID: Final = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"
UTC_US: Final = 1_723_075_200_000_000
MS: Final = 1_000_000
"""Nanoseconds."""

POLL_S: Final = 0.001
PATIENCE_S: Final = 60
"""Between two looks, and until nobody looks any more: only for what has no event of its own."""

NAME: Final = "XYZ"
ROOT: Final = Path(__file__).parents[1]
KERNEL: Final = ROOT / "kernel"

LIMITS: Final = """\
version = 1
[gate1]
max_tick_age_ms = 1000
max_clock_ahead_ms = 100
max_silence_ms = "off"
heartbeat_overdue_ms = 60000
tick_backwards = "refuse"
crossed_quote = "refuse"
non_positive_price = "refuse"
sequence_gap = "refuse"
[gate2]
max_reference_age_ms = 60000
messages_per_s = 100000
message_burst = 100000
repeat_window_ms = 1
repeat_refuse_after = 1000
repeat_trip_after = 2000
remember_ids = 10000
[anomaly]
unknown_order = "record"
errors_in_a_row = 3
[loss.USD]
max_session_loss = 1000
max_drawdown = 1000
confirm_marks = 2
[instruments.XYZ]
tick_size = "0.5"
lot_size = "0.1"
currency = "USD"
collar_bps = 1000
max_quantity = 10
max_notional = 10000
max_position = 50
max_open_orders = 200
"""
"""Limits that refuse nothing sensible, so that a refusal comes from what a test is about."""


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, mono_ns: int = 1_000_000_000, utc_us: int = UTC_US) -> None:
        self.now_ns = mono_ns
        self.now_us = utc_us

    def mono_ns(self) -> int:
        """Nanoseconds, monotonic."""
        return self.now_ns

    def utc_us(self) -> int:
        """Microseconds UTC."""
        return self.now_us

    def advance(self, ms: int = 1) -> None:
        """Let milliseconds pass on both."""
        self.now_ns += ms * MS
        self.now_us += ms * 1000


class RecordingVenue:
    """What the venue really saw, in the order in which it saw it.

    Attributes:
        seen: ids of the orders whose permit was redeemed here.
        permits: for each of these its permit, kept beyond its send.
        cancels: ids of the cancels.
        before: called inside each send, with the order, before the venue sees it.
    """

    def __init__(self, before: Callable[[Order], object] | None = None) -> None:
        self.seen: list[str] = []
        self.permits: list[Permit] = []
        self.cancels: list[str] = []
        self.before = before

    def send(self, permit: Permit) -> str:
        """A gateway's send."""
        order = permit.redeem()
        if self.before is not None:
            self.before(order)
        self.seen.append(order.client_order_id)
        self.permits.append(permit)
        return f"ack {order.client_order_id}"

    async def send_async(self, permit: Permit) -> str:
        """A gateway's send, awaited."""
        return self.send(permit)

    def cancel(self, cancel: Cancel) -> str:
        """A gateway's cancel."""
        self.cancels.append(cancel.client_order_id)
        return f"gone {cancel.client_order_id}"


class SlowVenue(RecordingVenue):
    """Every send stays inside until it is let out.

    Attributes:
        inside: set once a send is in.
        out: set by the test, to let it end.
    """

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.inside = threading.Event()
        self.out = threading.Event()

    def _wait(self, _: Order) -> None:
        self.inside.set()
        if not self.out.wait(60):
            message = "nobody let the send out"
            raise TimeoutError(message)


# -- Homes ---------------------------------------------------------------------------------------


def arm(path: Path, limits: str = LIMITS, *, home: str = HOME_ID, clock: FakeClock | None = None) -> Home:
    """Make an armed home."""
    made = Home(path)
    moment = clock or FakeClock()
    now = Now(ts_us=moment.utc_us(), mono_ns=moment.mono_ns())
    made.arm(limits.encode(), home=home, operator="ann", reason="new desk", now=now)
    return made


def halted_by(operator: str = "bob", *, code: str = "OPERATOR", reason: str = "pulled") -> Callable[[Latch], Latch]:
    """What makes the record of a halt from outside."""

    def halted(latch: Latch) -> Latch:
        return Latch(
            state=HALTED,
            epoch=latch.epoch,
            home=latch.home,
            code=code,
            reason=reason,
            source="cli",
            operator=operator,
            ts_us=UTC_US,
            boot="",
            mono_ns=0,
        )

    return halted


def halt_home(
    path: Path,
    *,
    code: str = "OPERATOR",
    reason: str = "pulled",
    operator: str = "bob",
    timeout_s: float = 0.0,
    escalate: bool = False,
) -> Quiet:
    """Halt a home from outside, as `interlock halt` does."""
    return Home(path).halt(halted_by(operator, code=code, reason=reason), timeout_s, escalate=escalate)


def reset_home(path: Path, epoch: int, known_epoch: int = 0) -> Latch:
    """Reset a home from outside, as `interlock reset` does."""
    now = Now(ts_us=UTC_US, mono_ns=0)
    return Home(path).reset(epoch=epoch, known_epoch=known_epoch, operator="bob", reason="looked into", now=now)


def attach(path: Path, clock: FakeClock | None = None, **given: Any) -> Kernel:
    """Attach to a home; durability ``process`` unless said otherwise."""
    return Kernel.attach(path, **({"operator": "ann", "durability": "process", "clock": clock} | given))


def running(path: Path, clock: FakeClock | None = None, **given: Any) -> Kernel:
    """Attach, start, and show one good tick; the kernel must be RUNNING."""
    kernel = attach(path, clock, **given)
    verdict = kernel.start()
    if not verdict:
        raise AssertionError(verdict)
    if not kernel.consult(quote(kernel)):
        raise AssertionError(kernel.cause)
    return kernel


def abandon(kernel: Kernel) -> None:
    """Do to a kernel what the death of its process does: its descriptors are closed, nothing is written."""
    kernel._over.set()
    with kernel._lock:  # no other thread is in the midst of a record
        kernel._closed = True
        kernel._sentinel.segment.close()
        kernel._sentinel.leave()


# -- Waiting -------------------------------------------------------------------------------------


def wait_until(true: Callable[[], object]) -> None:
    """Wait for what comes about by itself, and has no event of its own; fail if it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            message = "it did not come about"
            raise TimeoutError(message)
        time.sleep(POLL_S)


async def until(true: Callable[[], object]) -> None:
    """As `wait_until`, on a loop that goes on meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(POLL_S)


# -- Events --------------------------------------------------------------------------------------


def quote(kernel: Kernel, bid: str = "99.5", ask: str = "100.5", age_ms: int = 0) -> Quote:
    """A quote of just now on the kernel's clock."""
    ts_us = (kernel._mono() + kernel._recorder.utc_ns) // 1000 - age_ms * 1000
    return Quote(instrument=NAME, ts_us=ts_us, bid=Decimal(bid), ask=Decimal(ask))


def order(
    order_id: str,
    *,
    side: Side = Side.BUY,
    quantity: str = "1",
    price: str | None = "100",
    reduce_only: bool = False,
    instrument: str = NAME,
) -> Order:
    """An order that the limits let through."""
    return Order(
        client_order_id=order_id,
        instrument=instrument,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        price=None if price is None else Decimal(price),
        reduce_only=reduce_only,
    )


def cancel(order_id: str) -> Cancel:
    """A cancel."""
    return Cancel(client_order_id=order_id, instrument=NAME)


def fill(order_id: str, fill_id: str, *, side: Side = Side.BUY, quantity: str = "1", price: str = "100") -> Fill:
    """An execution."""
    return Fill(
        client_order_id=order_id,
        fill_id=fill_id,
        instrument=NAME,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
    )


# -- What was written ------------------------------------------------------------------------------


def journal(path: Path, engine: str = "engine") -> list[dict[str, Any]]:
    """The records of a home's journal that are whole lines, decoded."""
    found = b"".join(chunk for name in segments(Home(path).stream(engine)) for chunk in chunks(name))
    return [orjson.loads(line) for line in found.split(b"\n")[:-1]]


def kinds(path: Path, engine: str = "engine") -> list[str]:
    """The kinds of a home's records, seals left out."""
    return [record["kind"] for record in journal(path, engine) if record["kind"] != "seal"]


def of_kind(path: Path, kind: str, engine: str = "engine") -> list[dict[str, Any]]:
    """The records of one kind, also those that were salvaged."""
    found = []
    for record in journal(path, engine):
        inner = record
        while inner["kind"] == "salvage":
            inner = inner["record"]
        if inner["kind"] == kind:
            found.append(inner)
    return found


def verified(path: Path, engine: str = "engine") -> Report:
    """What the independent verifier says of a home's journal."""
    return verify((name.name.removesuffix(".zst"), chunks(name)) for name in segments(Home(path).stream(engine)))


def sound(path: Path, *statuses: Status) -> Report:
    """The verifier's report, which must be VERIFIED or one of these."""
    report = verified(path)
    if report.status not in {Status.VERIFIED, *statuses}:
        raise AssertionError((report.verdict, report.findings, report.in_doubt))
    return report


# -- Other processes -------------------------------------------------------------------------------


def python_path(*more: object) -> str:
    """Where a Python process finds the kernel and these helpers, and what this one was given, a mutant say."""
    return os.pathsep.join(filter(None, [str(KERNEL), str(ROOT), *map(str, more), os.environ.get("PYTHONPATH", "")]))


def python(script: str, *args: object, flags: Iterable[str] = (), **env: str) -> subprocess.Popen[str]:
    """Start a Python process that can import the kernel and these helpers; its ends are pipes."""
    return subprocess.Popen(
        [sys.executable, *flags, "-c", textwrap.dedent(script), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(), **env},
    )


def run_python(script: str, *args: object, flags: Iterable[str] = (), **env: str) -> str:
    """Run a Python process to its end, which must be a good one; what it printed."""
    with python(script, *args, flags=flags, **env) as child:
        out, error = child.communicate(timeout=120)
    if child.returncode:
        raise AssertionError(error)
    return out
