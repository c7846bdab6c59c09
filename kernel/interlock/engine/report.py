"""What a live loop tells: counts, reasons, latencies, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from interlock.kernel import Kernel

if TYPE_CHECKING:
    from interlock.core.values import HaltCause
    from interlock.kernel import InFlight, Kernel
    from interlock.stopping import ShutdownReport, StopOutcome

__all__ = ["Latencies", "Report", "as_json", "cause_as_json"]

_FINE_BITS: Final = 6
_FINE_LIMIT: Final = 1 << 20
_COARSE_BITS: Final = 20
_COARSE_BINS: Final = 4096


class Latencies:
    """A histogram of nanoseconds in fixed memory: steps of 64 ns to a millisecond, of 1 ms above."""

    __slots__ = ("_coarse", "_fine", "count", "most")

    def __init__(self) -> None:
        self._fine = [0] * (_FINE_LIMIT >> _FINE_BITS)
        self._coarse = [0] * _COARSE_BINS
        self.count = 0
        self.most = 0

    def add(self, ns: int) -> None:
        """Count one."""
        self.count += 1
        if ns < _FINE_LIMIT:
            self._fine[ns >> _FINE_BITS] += 1
        else:
            self._coarse[min(ns >> _COARSE_BITS, _COARSE_BINS - 1)] += 1
        self.most = max(self.most, ns)

    def merge(self, other: Latencies) -> None:
        """Count all that the other counted."""
        self._fine = [a + b for a, b in zip(self._fine, other._fine, strict=True)]
        self._coarse = [a + b for a, b in zip(self._coarse, other._coarse, strict=True)]
        self.count += other.count
        self.most = max(self.most, other.most)

    def quantile(self, share: float) -> int:
        """The upper edge of the step below which this share lies; 0 if nothing was counted."""
        wanted = self.count * share
        seen = 0
        for bits, bins in ((_FINE_BITS, self._fine), (_COARSE_BITS, self._coarse)):
            for index, number in enumerate(bins):
                seen += number
                if number and seen >= wanted:
                    return min((index + 1) << bits, self.most)
        return self.most

    def summary(self) -> dict[str, int]:
        """p50, p99 and max."""
        return {"p50": self.quantile(0.5), "p99": self.quantile(0.99), "max": self.most}


@attrs.define(kw_only=True)
class Report:
    """What a run came to.

    Attributes:
        ticks: taken from the feed.
        ticks_blocked: that gate 1 refused.
        consulted: that the strategy was asked about.
        orders_sent: whose send returned.
        orders_unknown: whose send raised.
        orders_refused: that gate 2, or a halt before the send, refused.
        refused_by_reason: how many by reason code.
        blocked_by_reason: ticks by reason code.
        errors: of feed and strategy.
        drained: whether the stop at the end drained; False as well if the run ended HALTED.
        in_flight: what was still being sent at the end.
        feed_error: what ended the feed early, or None.
        not_started: why the kernel refused to start, or None.
        stop: what became of the orders, if a stop saw to them.
        shutdown: the phases of the orderly stop at the end; None if the run was HALTED before one began.
        consult: decision times of gate 1, ns.
        submit: times of a whole submit (gate 2, journal, send, outcome), ns.
    """

    ticks: int = 0
    ticks_blocked: int = 0
    consulted: int = 0
    orders_sent: int = 0
    orders_unknown: int = 0
    orders_refused: int = 0
    refused_by_reason: dict[str, int] = attrs.field(factory=dict)
    blocked_by_reason: dict[str, int] = attrs.field(factory=dict)
    errors: int = 0
    drained: bool = False
    in_flight: tuple[InFlight, ...] = ()
    feed_error: str | None = None
    not_started: str | None = None
    stop: StopOutcome | None = None
    shutdown: ShutdownReport | None = None
    consult: Latencies = attrs.field(factory=Latencies)
    submit: Latencies = attrs.field(factory=Latencies)


def as_json(report: Report, kernel: Kernel) -> dict[str, object]:
    """A run as plain data, for ``--json``."""
    both = Latencies()
    both.merge(report.consult)
    both.merge(report.submit)
    records, size_bytes = kernel.journal_size
    return {
        "ticks": report.ticks,
        "ticks_blocked": report.ticks_blocked,
        "blocked_by_reason": dict(sorted(report.blocked_by_reason.items())),
        "consulted": report.consulted,
        "orders_sent": report.orders_sent,
        "orders_unknown": report.orders_unknown,
        "orders_refused": report.orders_refused,
        "refused_by_reason": dict(sorted(report.refused_by_reason.items())),
        "errors": report.errors,
        "feed_error": report.feed_error,
        "not_started": report.not_started,
        "mode": str(kernel.mode),
        "epoch": kernel.epoch,
        "halt_cause": None if kernel.cause is None else cause_as_json(kernel.cause),
        "drained": report.drained,
        "stop": None if report.stop is None else report.stop.as_json(),
        "shutdown": None if report.shutdown is None else report.shutdown.as_json(),
        "in_flight": [attrs.asdict(one) for one in report.in_flight],
        "decision_latency_ns": both.summary(),
        "consult_latency_ns": report.consult.summary(),
        "submit_latency_ns": report.submit.summary(),
        "journal": {"records": records, "bytes": size_bytes},
        "run": kernel.run,
    }


def cause_as_json(cause: HaltCause) -> dict[str, object]:
    """A halt's cause as plain data."""
    return {**attrs.asdict(cause), "code": str(cause.code)}
