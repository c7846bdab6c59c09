"""The halts and resets of one engine: who, why, when, and what came of each.

Of a halt three moments are on record. `utc` is when its cause says that it was pulled: for a halt from another
process, when that one made the latch. `at` is when emission had stopped in this engine. The record's own `ts` is when
that was written down. The time to effect is `at` less `utc`; the two come from one machine's clock, read by two
processes, and when that clock was set in between, or the engine lives by another, they say nothing: so there is no
time to effect where it would be negative. `at` is 0 for a halt that had been made before the run began: then this
engine sent nothing anyway, and there is none either.

What happened to sends that were under way, and to orders that worked, is followed until the mode is left.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from interlock.ops.bundle.plan import Span
    from interlock.ops.bundle.story import Entry

__all__ = ["Halt", "Halts", "Reset"]

_MOST_WORKING: Final = 100_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


@attrs.define(kw_only=True)
class Halt:
    """One halt, as one engine recorded it.

    Attributes:
        engine: which engine.
        seq: where it stands.
        ts_us: when it was written down.
        epoch: of the home.
        code: the cause's code.
        reason: why, in words.
        operator: who; None if no person did.
        source: where it came from.
        first: whether it is the first of its epoch, which is the one that counts.
        called_us: when its cause says that it was pulled; None if what it says is no time.
        effect_us: when emission had stopped, by the same clock; None if it was halted before the run began.
        in_flight: sends that had begun and not ended then.
        ended: of these, how many are on record as ended.
        last_end_us: when the last of them was, after `effect_us`; None if there was none.
        working: orders at the venue then, as far as recorded; None if too many to follow.
        cancels: cancels that were sent while HALTED.
        cancels_failed: of these, how many raised.
        over: of the working orders, how many are on record as over while HALTED.
    """

    engine: str
    seq: int
    ts_us: int
    epoch: int
    code: str
    reason: str
    operator: str | None
    source: str
    first: bool
    called_us: int | None
    effect_us: int | None
    in_flight: int
    ended: int = 0
    last_end_us: int | None = None
    working: int | None = 0
    cancels: int = 0
    cancels_failed: int = 0
    over: int = 0

    @property
    def took_us(self) -> int | None:
        """The time to effect, in microseconds; None if it can't be told."""
        if self.effect_us is None or self.called_us is None or self.effect_us < self.called_us:
            return None
        return self.effect_us - self.called_us


@attrs.frozen(kw_only=True)
class Reset:
    """One reset, as one engine recorded it."""

    engine: str
    seq: int
    ts_us: int
    epoch: int
    prior: int
    operator: str
    reason: str


class Halts:
    """Follows halts, what was under way, and what worked.

    Args:
        engine: whose.
        span: halts and resets in it are kept.
        most: so many of each are kept in full.

    Attributes:
        halts: of the span.
        resets: likewise.
        count: how many halts there are in the span.
        codes: by code.
        resets_count: how many resets there are.
        slowest: the halt with the longest time to effect; None if none can be told.
        timed: how many have one.
        firsts: halts in the span that are the first of their epoch.
        epochs: the epochs that these ended; `reset_epochs` those that resets in the span ended.
        flying: sends that were under way at halts in the span; `flown` of these are on record as ended.
        working: orders that worked at these halts, as far as recorded; `over` of these ended before the mode was left.
        uncounted: halts at which too many orders worked to follow them.
        cancels: cancels sent while HALTED, in the span; `cancels_failed` of these raised.
        cancel_cites: engine and `seq` of the first such cancel, and of the last.
        unnamed: resets in the span without an operator's name or a reason.
    """

    def __init__(self, engine: str, span: Span, most: int) -> None:
        self._engine = engine
        self._span = span
        self._most = most
        self.halts: list[Halt] = []
        self.resets: list[Reset] = []
        self.count = self.resets_count = self.timed = 0
        self.codes: dict[str, int] = {}
        self.slowest: Halt | None = None
        self.cancels = self.cancels_failed = self.unnamed = 0
        self.firsts = self.flying = self.flown = self.working = self.over = self.uncounted = 0
        self.epochs: set[int] = set()
        self.reset_epochs: set[int] = set()
        self.cancel_cites: list[tuple[str, int]] = []
        self._now: Halt | None = None
        self._counted = False
        self._effect_mono: int | None = None
        self._flying: set[int] = set()
        self._begun: dict[int, str] = {}
        self._stopped: dict[int, int] = {}  # by permit that was open at a halt: when emission had stopped
        self._working: dict[str, Decimal] | None = {}
        self._at_halt: set[str] = set()

    def feed(self, entry: Entry) -> int:
        """Take the next record. Returns 1 if it tells of a send that began after a halt took effect, else 0."""
        kind = entry.record["kind"]
        if kind in {"permit", "sent", "unknown", "void"}:
            return self._send(kind, entry)
        if kind in {"fill", "cancelled", "reject"}:
            self._venue(kind, entry.record)
        elif kind in {"cancel", "cancel_end"}:
            self._cancel(kind, entry)
        elif kind == "halt":
            self._halt(entry)
        elif kind in {"reset", "start", "run"}:
            self._leave(kind, entry)
        return 0

    def _send(self, kind: str, entry: Entry) -> int:
        record = entry.record
        if kind == "permit":
            self._begun[entry.seq] = record["id"]
            if self._working is not None:
                self._working[record["id"]] = Decimal(record["quantity"])
                if len(self._working) > _MOST_WORKING:  # an answer that would cost more than it tells
                    self._working = None
            return 0
        number = record["permit"]
        order = self._begun.pop(number, None)
        if kind == "void":
            self._stopped.pop(number, None)
            if self._working is not None and order is not None:
                self._working.pop(order, None)
            return 0
        if number in self._flying and self._now is not None:
            self._flying.discard(number)
            self._now.ended += 1
            self.flown += self._counted
            self._now.last_end_us = record["ts"]
        stopped = self._stopped.pop(number, self._effect_mono)
        return int(stopped is not None and record["begun"] > stopped)

    def _venue(self, kind: str, record: dict[str, Any]) -> None:
        if self._working is None:
            return
        order = record["id"]
        left = self._working.get(order)
        if left is None:
            return
        if kind == "fill":
            left -= Decimal(record["quantity"])
            self._working[order] = left
        if kind != "fill" or left <= 0:
            del self._working[order]
            if self._now is not None and order in self._at_halt:
                self._at_halt.discard(order)
                self._now.over += 1
                self.over += self._counted

    def _cancel(self, kind: str, entry: Entry) -> None:
        if self._now is None:
            return
        record = entry.record
        within = self._span.holds(record["ts"])
        if kind == "cancel":
            self._now.cancels += 1
            if within:
                self.cancels += 1
                self.cancel_cites[1:] = [(self._engine, entry.seq)]
        elif record["error"] is not None:
            self._now.cancels_failed += 1
            self.cancels_failed += within

    def _halt(self, entry: Entry) -> None:
        record = entry.record
        at, mono, ts = record["at"], record["mono"], record["ts"]
        try:
            called: int | None = (datetime.fromisoformat(record["utc"]) - _EPOCH) // _US
        except ValueError:  # it has the form of a time, and is none
            called = None
        halt = Halt(
            engine=self._engine,
            seq=entry.seq,
            ts_us=ts,
            epoch=record["epoch"],
            code=record["code"],
            reason=record["reason"],
            operator=record["operator"],
            source=record["source"],
            first=record["first"],
            called_us=called,
            effect_us=ts - (mono - at) // 1000 if at else None,
            in_flight=len(record["in_flight"]),
        )
        for number in self._begun:  # the earliest counts, and a reset does not bring a permit back
            self._stopped[number] = min(at, mono, self._stopped.get(number, mono))
        if self._now is None:  # a repeat changes nothing, and what is under way belongs to the first
            self._now = halt
            self._effect_mono = min(at, mono)
            self._flying = set(record["in_flight"])
            self._at_halt = set(self._working) - {self._begun[n] for n in self._begun} if self._working else set()
            halt.working = None if self._working is None else len(self._at_halt)
            self._counted = self._span.holds(ts)
            if self._counted:
                self.flying += halt.in_flight
                self.working += halt.working or 0
                self.uncounted += halt.working is None
        if self._span.holds(ts):
            self._keep(halt)

    def _keep(self, halt: Halt) -> None:
        self.count += 1
        if halt.first:
            self.firsts += 1
            self.epochs.add(halt.epoch)
        self.codes[halt.code] = self.codes.get(halt.code, 0) + 1
        if halt.first and halt.took_us is not None:
            self.timed += 1
            if self.slowest is None or halt.took_us > (self.slowest.took_us or 0):
                self.slowest = halt
        if len(self.halts) < self._most:
            self.halts.append(halt)

    def _leave(self, kind: str, entry: Entry) -> None:
        record = entry.record
        self._effect_mono = None  # it is told on the clock of one run
        if kind == "run":
            self._begun.clear()
            self._stopped.clear()
            return
        self._now = None
        self._flying.clear()
        if kind == "reset" and self._span.holds(record["ts"]):
            self.resets_count += 1
            self.reset_epochs.add(record["prior"])
            self.unnamed += not (record["operator"].strip() and record["reason"].strip())
            if len(self.resets) < self._most:
                names = ("epoch", "prior", "operator", "reason")
                told = {name: record[name] for name in names}
                self.resets.append(Reset(engine=self._engine, seq=entry.seq, ts_us=record["ts"], **told))
