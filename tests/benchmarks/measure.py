"""A small measuring kit: time each call on its own, and say how.

The rules, and the reason for each:

1. Every call is timed by itself. A mean over a batch hides the tail, and the tail is what a
   halt kernel promises about. The price is a clock pair round each call; its median is measured
   just before every round, in the same loop shape, and taken off. What is left below zero counts
   as zero, so a call of a few tens of nanoseconds is good to about ten, not to one.
2. The garbage collector stays on. A trading process runs with it on, and a library that makes
   garbage pays for it in its own tail. Before each round the heap is collected and frozen
   (``gc.freeze``), so a collection inside the round walks what the round itself made, never the
   modules imported and the inputs prepared before it.
3. Inputs are made outside the timed region. An order must be fresh for every call; building it
   is not the risk check. ``per_item_ns`` takes a feed that prepares a round's worth at a time.
4. Warm-up calls run the same code on the same kind of input and are thrown away. Each round
   warms up again; the samples of all rounds are pooled and none is dropped as an outlier.
5. Percentiles are nearest rank, so each one printed is a value that was really measured.
6. A measurement that did not do what its name says is worse than none: ``require`` refuses it
   with an exception, which survives ``python -O`` as an ``assert`` would not.

Nothing here imports Interlock, numpy or a peer. Times are integer nanoseconds from
``time.perf_counter_ns``; use the ratios between rows of one run, not the times across machines.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import sys
from array import array
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")

_OVERHEAD_SAMPLES = 10_000


class MeasurementError(RuntimeError):
    """A benchmark did not do what it claims to measure."""


def require(condition: object, message: str) -> None:
    """Refuse the measurement when ``condition`` is false.

    Args:
        condition: What must hold for the number to mean what its name says.
        message: What went wrong, for the reader of the traceback.

    Raises:
        MeasurementError: When ``condition`` is false.
    """
    if not condition:
        raise MeasurementError(message)


@attrs.frozen(kw_only=True)
class Plan:
    """How often to call: ``rounds`` times ``warmup`` untimed calls, then ``n`` timed ones."""

    n: int = attrs.field(default=20_000, validator=attrs.validators.ge(1))
    warmup: int = attrs.field(default=2_000, validator=attrs.validators.ge(0))
    rounds: int = attrs.field(default=3, validator=attrs.validators.ge(1))

    @property
    def calls(self) -> int:
        """All calls made, timed or not: what a sink must have counted."""
        return (self.n + self.warmup) * self.rounds


@attrs.frozen(kw_only=True)
class Timing:
    """What one operation cost a call, over ``calls`` timed calls, less the clock."""

    name: str
    p50_ns: int
    p99_ns: int
    max_ns: int
    mean_ns: float
    calls: int


@attrs.frozen(kw_only=True)
class Rate:
    """What one loop got through: the median of its rounds by time."""

    name: str
    ticks: int
    orders: int
    elapsed_ns: int

    @property
    def ticks_per_s(self) -> float:
        """Ticks consumed a second of wall time."""
        return self.ticks * 1e9 / self.elapsed_ns


@attrs.frozen(kw_only=True)
class Tally:
    """What was sent although a switch had been used: counted send by send, over all halts.

    Attributes:
        name: of the switch.
        engines: processes that were sending at full speed.
        halts: how often they were halted.
        late: sends begun after the halt's return, whether that was an acknowledgement or not.
        halts_late: halts with such sends.
        most_late: the most such sends of one halt.
        sends: sends begun in all.
        window_ns: how long, over all halts, ``window_sends`` were counted while nothing was halted.
        window_sends: sends begun then.
    """

    name: str
    engines: int
    halts: int
    late: int
    halts_late: int
    most_late: int
    sends: int
    window_ns: int
    window_sends: int

    @property
    def sends_per_s(self) -> float:
        """Sends that all engines together begin a second."""
        return self.window_sends * 1e9 / self.window_ns


def clock_overhead_ns(samples: int = _OVERHEAD_SAMPLES) -> int:
    """Measure what the clock pair itself costs: the median of timing nothing, in ns."""
    took = array("q", bytes(8 * samples))
    clock = perf_counter_ns
    for i in range(samples):
        began = clock()
        took[i] = clock() - began
    return sorted(took)[samples // 2]


def per_call_ns(fn: Callable[[], object], n: int, warmup: int, rounds: int, *, name: str = "") -> Timing:
    """Time ``fn()`` call by call.

    Args:
        fn: What is timed; its result is thrown away.
        n: Timed calls a round.
        warmup: Untimed calls before each round.
        rounds: How many rounds are pooled.
        name: The row's name; the function's own when empty.

    Returns:
        The pooled timing, clock overhead taken off.

    Raises:
        ValueError: When a count is out of range.
    """
    plan = Plan(n=n, warmup=warmup, rounds=rounds)
    pooled = array("q")
    for _ in range(plan.rounds):
        for _ in range(plan.warmup):
            fn()
        with _steady_heap():
            overhead = clock_overhead_ns()
            took = _time_calls(fn, plan.n)
        pooled.extend(sample - overhead for sample in took)
    return timing_of(name or getattr(fn, "__name__", "call"), pooled)


def per_item_ns(
    fn: Callable[[T], object],
    feed: Callable[[int], Sequence[T]],
    plan: Plan,
    *,
    name: str = "",
    after: Callable[[T], object] | None = None,
) -> Timing:
    """Time ``fn(item)`` call by call, each item fresh and made outside the timed region.

    Args:
        fn: What is timed; its result is thrown away.
        feed: Given a count, makes that many items; called once a round.
        plan: How often to call.
        name: The row's name; the function's own when empty.
        after: Called with each item once it was timed, untimed itself: to bring what is measured
            back to a steady state.

    Returns:
        The pooled timing, clock overhead taken off.

    Raises:
        MeasurementError: When the feed came back short.
    """
    return timing_of(name or getattr(fn, "__name__", "call"), samples_ns(fn, feed, plan, after=after))


def samples_ns(
    fn: Callable[[T], object],
    feed: Callable[[int], Sequence[T]],
    plan: Plan,
    *,
    after: Callable[[T], object] | None = None,
) -> array[int]:
    """As `per_item_ns`, for what pools the samples of several such runs itself."""
    pooled = array("q")
    for _ in range(plan.rounds):
        items = feed(plan.warmup + plan.n)
        require(len(items) == plan.warmup + plan.n, "the feed came back short")
        for item in items[: plan.warmup]:
            fn(item)
            if after is not None:
                after(item)
        timed = items[plan.warmup :]
        with _steady_heap():
            overhead = clock_overhead_ns()
            took = _time_items(fn, timed, after)
        pooled.extend(sample - overhead for sample in took)
    return pooled


def environment() -> str:
    """Say what this run ran on, in one line; the clock overhead is a fresh sample."""
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cpus, gc on (frozen before each round), "
        f"clock overhead {clock_overhead_ns()} ns taken off"
    )


def render(
    timings: Sequence[Timing],
    rates: Sequence[Rate] = (),
    notes: Sequence[str] = (),
    tallies: Sequence[Tally] = (),
) -> str:
    """Lay results out as aligned plain text.

    Args:
        timings: Per-call rows, in ns.
        rates: Loop rows; left out when there are none.
        notes: Lines printed under the tables as they are.
        tallies: Switch rows; left out when there are none.

    Returns:
        The text, ending in a newline.
    """
    blocks: list[str] = []
    if timings:
        head = ("operation", "p50 ns", "p99 ns", "max ns", "mean ns", "calls")
        blocks.append(_aligned(head, [_timing_cells(row) for row in timings]))
    if rates:
        head_rates = ("loop", "ticks/s", "ticks", "orders", "ms")
        blocks.append(_aligned(head_rates, [_rate_cells(row) for row in rates]))
    if tallies:
        head_tallies = ("switch", "engines", "halts", "sent after it", "in halts", "most", "sends", "sends/s")
        blocks.append(_aligned(head_tallies, [_tally_cells(row) for row in tallies]))
    if notes:
        blocks.append("\n".join(notes))
    return "\n\n".join(blocks) + "\n"


def as_json(
    timings: Sequence[Timing],
    rates: Sequence[Rate] = (),
    notes: Sequence[str] = (),
    tallies: Sequence[Tally] = (),
) -> str:
    """Give the same results as one JSON object; shapes are the attrs fields."""
    return json.dumps(
        {
            "timings": [attrs.asdict(row) for row in timings],
            "rates": [{**attrs.asdict(row), "ticks_per_s": row.ticks_per_s} for row in rates],
            "tallies": [{**attrs.asdict(row), "sends_per_s": row.sends_per_s} for row in tallies],
            "notes": list(notes),
        },
        indent=2,
    )


def print_table(
    timings: Sequence[Timing],
    rates: Sequence[Rate] = (),
    notes: Sequence[str] = (),
    tallies: Sequence[Tally] = (),
    *,
    to_json: bool = False,
) -> None:
    """Write the results to standard output, as text or as one JSON object."""
    show = as_json if to_json else render
    text = show(timings, rates, notes, tallies).rstrip("\n") + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _steady_heap() -> Iterator[None]:
    """Collect and freeze the heap, keep the collector on, and put both back after."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.enable()
    try:
        yield
    finally:
        gc.unfreeze()
        if not was_enabled:
            gc.disable()


def _time_calls(fn: Callable[[], object], n: int) -> array[int]:
    took = array("q", bytes(8 * n))
    clock = perf_counter_ns
    for i in range(n):
        began = clock()
        fn()
        took[i] = clock() - began
    return took


def _time_items(fn: Callable[[T], object], items: Sequence[T], after: Callable[[T], object] | None) -> array[int]:
    took = array("q", bytes(8 * len(items)))
    clock = perf_counter_ns
    for i, item in enumerate(items):
        began = clock()
        fn(item)
        took[i] = clock() - began
        if after is not None:
            after(item)
    return took


def timing_of(name: str, pooled: Iterable[int]) -> Timing:
    """Rank samples, in ns, into a row; what is below zero counts as zero."""
    ranked = sorted(max(0, sample) for sample in pooled)
    return Timing(
        name=name,
        p50_ns=_nearest_rank(ranked, 0.50),
        p99_ns=_nearest_rank(ranked, 0.99),
        max_ns=ranked[-1],
        mean_ns=sum(ranked) / len(ranked),
        calls=len(ranked),
    )


def _nearest_rank(ranked: Sequence[int], quantile: float) -> int:
    return ranked[max(1, math.ceil(quantile * len(ranked))) - 1]


def _timing_cells(row: Timing) -> tuple[str, ...]:
    numbers = (row.p50_ns, row.p99_ns, row.max_ns, row.mean_ns, row.calls)
    return (row.name, *(f"{number:,.0f}" for number in numbers))


def _rate_cells(row: Rate) -> tuple[str, ...]:
    numbers = (row.ticks_per_s, row.ticks, row.orders, row.elapsed_ns / 1e6)
    return (row.name, *(f"{number:,.0f}" for number in numbers))


def _tally_cells(row: Tally) -> tuple[str, ...]:
    numbers = (row.engines, row.halts, row.late, row.halts_late, row.most_late, row.sends, row.sends_per_s)
    return (row.name, *(f"{number:,.0f}" for number in numbers))


def _aligned(head: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    """Align a table: the first column to the left, numbers to the right."""
    rows = [head, *body]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    lines = []
    for row in (head, rule, *body):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
