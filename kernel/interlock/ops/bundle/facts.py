"""What the records of one engine add up to within a span of time: counts, halts, resets, runs.

One pass, and memory that does not grow with the journal: what is listed is listed up to `MOST` and counted beyond.
Every number stands for records, and the first and the last of these are remembered, so that they can be shown and
proven. A record belongs to the span by its own `ts`. Modes and open orders are followed from the bundle's first record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from interlock.ops.bundle.halts import Halts

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.ops.bundle.plan import Span
    from interlock.ops.bundle.story import Entry

__all__ = ["MOST", "Facts", "Tally"]

MOST: Final = 500
"""So many runs, halts, recoveries and the like are kept in full."""

_MOST_CODES: Final = 200
_REST: Final = "(other)"

IDLE: Final = "IDLE"
RUNNING: Final = "RUNNING"
HALTED: Final = "HALTED"


@attrs.define
class Tally:
    """How often something was recorded.

    Attributes:
        count: how many times it happened.
        first: `seq` of the first record of it.
        last: of the last one.
        first_us: when the first was recorded.
        last_us: when the last was.
    """

    count: int = 0
    first: int = 0
    last: int = 0
    first_us: int = 0
    last_us: int = 0

    def add(self, seq: int, ts_us: int, count: int = 1) -> None:
        """Count a record."""
        if not self.count:
            self.first, self.first_us = seq, ts_us
        self.count += count
        self.last, self.last_us = seq, ts_us


@attrs.define
class Listed:
    """The first `MOST` of something, and how many there are."""

    rows: list[dict[str, Any]] = attrs.Factory(list)
    count: int = 0

    def add(self, row: dict[str, Any]) -> None:
        """One more."""
        self.count += 1
        if len(self.rows) < MOST:
            self.rows.append(row)


class Facts:
    """What one engine's records add up to.

    Args:
        engine: whose.
        span: which time.

    Attributes:
        kinds: records in the span by kind.
        refused, blocked, voided, odd, breached: refusals of gate 2, of gate 1, permits taken back, anomalies and
            breaches in the span, by code or state.
        instruments: permits in the span by instrument.
        codes: segments in the span by the version of the kernel that began them, and the hash of its source.
        runs, recoveries: what is said of each in the span.
        halts: all halts and resets.
        first_us, last_us: time of the first and the last record in the span, 0 if there is none.
        outside: records in the bundle that lie outside of the span.
        salvaged: records in the span that were found after a crash.
        late: sends in the span that began after a halt had taken effect.
        crashes: runs in the span that began while the one before had not ended.
        unknown_fills: executions in the span of orders that the journal does not know.
        drift_us: the largest change of the clock against the monotonic one between two records of a run.
        backward: how often the clock stood earlier at a record than at the one before it.
        mode: the mode as of now; `attached` whether a process is.
    """

    def __init__(self, engine: str, span: Span) -> None:
        self.engine = engine
        self.span = span
        self.kinds: dict[str, Tally] = {}
        self.refused: dict[str, Tally] = {}
        self.blocked: dict[str, Tally] = {}
        self.voided: dict[str, Tally] = {}
        self.odd: dict[str, Tally] = {}
        self.breached: dict[str, Tally] = {}
        self.instruments: dict[str, Tally] = {}
        self.codes: dict[str, Tally] = {}
        self.runs = Listed()
        self.recoveries = Listed()
        self.halts = Halts(engine, span, MOST)
        self.first_us = self.last_us = 0
        self.outside = self.salvaged = self.late = self.crashes = self.unknown_fills = 0
        self.drift_us = self.backward = 0
        self.mode = IDLE
        self.attached = False
        self.epoch = 1
        self._clock: tuple[int, int] | None = None

    def feed(self, entry: Entry) -> None:
        """Take the next record."""
        record = entry.record
        kind, ts = record["kind"], record["ts"]
        self._move(kind, record)
        late = self.halts.feed(entry)
        if not self.span.holds(ts):
            self.outside += 1
            self._clock = None
            return
        self._ticked(kind, ts, record["mono"])
        self.first_us = min(self.first_us or ts, ts)
        self.last_us = max(self.last_us, ts)
        self.salvaged += entry.salvaged
        self.late += late
        _tally(self.kinds, kind).add(entry.seq, ts)
        act = _ACTS.get(kind)
        if act is not None:
            act(self, entry.seq, record)

    def count(self, *kinds: str) -> int:
        """Records of some kinds, in the span."""
        return sum(self.kinds[kind].count for kind in kinds if kind in self.kinds)

    def _move(self, kind: str, record: dict[str, Any]) -> None:
        """Follow mode, epoch and attachment."""
        if kind == "run":
            self.crashes += self.attached and self.span.holds(record["ts"])
            self.attached = True
            self.mode = IDLE if self.mode == RUNNING else self.mode
            self._clock = None
        elif kind == "end":
            self.attached = False
        elif kind in _MODES:
            self.mode = _MODES[kind]
            self.epoch = record["epoch"]
        elif kind == "arm":
            self.epoch = record["epoch"]

    def _ticked(self, kind: str, ts: int, mono: int) -> None:
        """Compare the two clocks from one record of a run to the next."""
        if kind == "rebase":
            self._clock = None
        if self._clock is not None:
            before_ts, before_mono = self._clock
            self.backward += ts < before_ts
            self.drift_us = max(self.drift_us, abs((ts - before_ts) - (mono - before_mono) // 1000))
        self._clock = (ts, mono)

    # -- What single kinds add -----------------------------------------------------------------------

    def _on_run(self, seq: int, record: dict[str, Any]) -> None:
        keys = ("run", "version", "boot", "pid", "operator", "durability", "limits")
        self.runs.add({"seq": seq, "ts": record["ts"], **{key: record[key] for key in keys}})

    def _on_segment(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.codes, f"{record['version']} {record['code']}").add(seq, record["ts"])

    def _on_recover(self, seq: int, record: dict[str, Any]) -> None:
        keys = ("sealed", "torn_file", "torn_bytes", "torn_sha256", "salvaged")
        self.recoveries.add({"seq": seq, "ts": record["ts"], **{key: record[key] for key in keys}})

    def _on_refuse(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.refused, record["code"]).add(seq, record["ts"])

    def _on_flood(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.refused, record["code"]).add(seq, record["ts"], record["count"])

    def _on_block(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.blocked, record["code"]).add(seq, record["ts"], record["count"])

    def _on_void(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.voided, record["code"]).add(seq, record["ts"])

    def _on_anomaly(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.odd, record["code"]).add(seq, record["ts"])

    def _on_breach(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.breached, f"{record['limit']} {record['state']}").add(seq, record["ts"])

    def _on_fill(self, _: int, record: dict[str, Any]) -> None:
        self.unknown_fills += not record["known"]

    def _on_permit(self, seq: int, record: dict[str, Any]) -> None:
        _tally(self.instruments, record["instrument"]).add(seq, record["ts"])


_MODES: Final = {"start": RUNNING, "stop": IDLE, "halt": HALTED, "reset": IDLE}

_ACTS: Final[dict[str, Callable[[Facts, int, dict[str, Any]], None]]] = {
    "run": Facts._on_run,  # noqa: SLF001 - the class's own table
    "segment": Facts._on_segment,  # noqa: SLF001
    "recover": Facts._on_recover,  # noqa: SLF001
    "refuse": Facts._on_refuse,  # noqa: SLF001
    "flood": Facts._on_flood,  # noqa: SLF001
    "block": Facts._on_block,  # noqa: SLF001
    "void": Facts._on_void,  # noqa: SLF001
    "anomaly": Facts._on_anomaly,  # noqa: SLF001
    "breach": Facts._on_breach,  # noqa: SLF001
    "fill": Facts._on_fill,  # noqa: SLF001
    "permit": Facts._on_permit,  # noqa: SLF001
}


def _tally(tallies: dict[str, Tally], name: str) -> Tally:
    """The tally of a name; beyond a number of names there is one for all others."""
    if name not in tallies and len(tallies) >= _MOST_CODES:
        name = _REST
    return tallies.setdefault(name, Tally())
