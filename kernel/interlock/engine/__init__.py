"""ACT: the live loop, for those who have no engine of their own.

    feed -> kernel.consult -> strategy -> kernel.submit -> gateway -> kernel.on_fill

One task takes ticks and does everything that follows from one before it takes the next. A second
one beats: it tells the kernel that the loop still turns, and looks at the home. Signals ask for an
orderly stop, which is a `Shutdown`; a second one halts. On a halt, from wherever it came, a `StopExecutor` takes the
working orders back, outside this loop and its tasks.

A halt needs nothing of the loop, which may hang in a strategy for ever: the second signal halts from
the thread that takes it (`stopping.signals`), and the kernel's lookout has the stop of a halt begun (`Kernel.on_halt`).

What the loop must survive: a strategy or a feed that raises is an anomaly, written down and counted,
and so many in a row halt; it is never a crash. What the loop must not do: decide anything that the
kernel decides. It has no limits and no way to the gateway but `Kernel.submit_async`.
"""

from __future__ import annotations

from interlock.engine.loop import Engine
from interlock.engine.parts import Feed, Gateway, Strategy, Timeline, Watches
from interlock.engine.report import Latencies, Report

__all__ = ["Engine", "Feed", "Gateway", "Latencies", "Report", "Strategy", "Timeline", "Watches"]
