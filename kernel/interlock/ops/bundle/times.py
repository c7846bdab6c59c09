"""Counts over time for the picture, in slots that grow with the span: a few hundred at most, however long it is.

A slot begins as a millisecond. When the records span more slots than there may be, every two neighbours become one.
Slots are counted from 1970, so those of several engines are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from interlock.ops.bundle.plan import Span
    from interlock.ops.bundle.story import Entry

__all__ = ["MODES", "Slot", "Times"]

_MOST: Final = 360
_WIDTH_US: Final = 1000
_TRADING: Final = {"permit": "permits", "refuse": "refusals", "flood": "refusals"}

MODES: Final = {"RUNNING": 1, "IDLE": 2, "HALTED": 4}
"""Bits for the modes that a slot has seen; while no process was attached there is no bit."""


@attrs.define
class Slot:
    """What fell into one slot of time.

    Attributes:
        permits: orders that gate 2 let through.
        refusals: orders that it refused.
        seen: bits of `MODES`, for as long as a process was attached.
        away: the same while none was.
    """

    permits: int = 0
    refusals: int = 0
    seen: int = 0
    away: int = 0

    def join(self, other: Slot) -> None:
        """Take another slot into this one."""
        self.permits += other.permits
        self.refusals += other.refusals
        self.seen |= other.seen
        self.away |= other.away


class Times:
    """The slots of all engines.

    Args:
        span: records outside of it count for nothing.

    Attributes:
        width_us: how long a slot is.
        lanes: by engine, slots by their number since 1970.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self.width_us = _WIDTH_US
        self.lanes: dict[str, dict[int, Slot]] = {}
        self._low: int | None = None
        self._high = 0
        self._last: dict[str, tuple[int, str, bool]] = {}
        self._latest: dict[str, int] = {}

    def feed(self, engine: str, entry: Entry, mode: str, *, attached: bool) -> None:
        """Count a record. ``mode`` and ``attached`` are as of after it."""
        record = entry.record
        ts = record["ts"]
        if self._span.holds(ts):
            name = _TRADING.get(record["kind"])
            self._reach(ts)
            slot = self._slot(engine, ts // self.width_us)
            if name is not None:
                setattr(slot, name, getattr(slot, name) + record.get("count", 1))
            self._mark(slot, mode, attached=attached)
        before = self._last.get(engine)
        if before is not None and before[2] and record["kind"] == "run":  # the run before this one did not end: it died
            self._lost(engine)
            before = self._last[engine]
        if before is None or before[1:] != (mode, attached):
            self._stretch(engine, before, ts)
            self._last[engine] = (ts, mode, attached)
        self._latest[engine] = ts

    def end(self) -> None:
        """All records are in. Modes go on; that a process is attached is not said behind its last record."""
        for engine, (_, _, attached) in list(self._last.items()):
            if attached:
                self._lost(engine)
            self._stretch(engine, self._last[engine], (self._high + 1) * self.width_us - 1)

    def _lost(self, engine: str) -> None:
        """From its last record on nobody knows that its process was there."""
        before, latest = self._last[engine], self._latest[engine]
        self._stretch(engine, before, latest)
        self._last[engine] = (latest + 1, before[1], False)

    def _stretch(self, engine: str, before: tuple[int, str, bool] | None, until: int) -> None:
        """A mode held from then until now."""
        if before is None or self._low is None:
            return
        since, mode, attached = before
        first = max(since // self.width_us, self._low)
        last = min(until // self.width_us, self._high)
        for number in range(first, last + 1):
            self._mark(self._slot(engine, number), mode, attached=attached)

    @staticmethod
    def _mark(slot: Slot, mode: str, *, attached: bool) -> None:
        if attached:
            slot.seen |= MODES[mode]
        else:
            slot.away |= MODES[mode]

    def _slot(self, engine: str, number: int) -> Slot:
        lane = self.lanes.setdefault(engine, {})
        slot = lane.get(number)
        if slot is None:
            slot = lane[number] = Slot()
        return slot

    def _reach(self, ts: int) -> None:
        """Make the slots wide enough for this moment, too."""
        number = ts // self.width_us
        self._low = number if self._low is None else min(self._low, number)
        self._high = max(self._high, number)
        while self._high - self._low >= _MOST:
            self.width_us *= 2
            self._low //= 2
            self._high //= 2
            for engine, lane in self.lanes.items():
                joined: dict[int, Slot] = {}
                for old, slot in lane.items():
                    if old // 2 in joined:
                        joined[old // 2].join(slot)
                    else:
                        joined[old // 2] = slot
                self.lanes[engine] = joined

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Begin of the first slot and end of the last, in microseconds UTC; None without a record."""
        if self._low is None:
            return None
        return self._low * self.width_us, (self._high + 1) * self.width_us
