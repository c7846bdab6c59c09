"""The time line: a lane an engine with its modes, orders above and refusals below, halts and resets through all.

Drawn from the slots of `times`, so it is as large for a year as for a minute. Modes differ in height and pattern, too,
and marks in shape, so that all of it can be read without colours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from interlock.ops.bundle.times import MODES, Slot
from interlock.ops.sheet import escape, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interlock.ops.bundle.told import Told

__all__ = ["LEGEND", "draw", "length"]

_WIDTH: Final = 920
_LEFT: Final = 118
_RIGHT: Final = 20
_TOP: Final = 26
_UP: Final = 40
_BAND: Final = 12
_DOWN: Final = 26
_LANE: Final = _UP + _BAND + _DOWN + 18
_MARKS: Final = 40
_NEAR: Final = 17
_LANES: Final = 12
_EDGE: Final = 44
_NAME: Final = 16
_S: Final = 1_000_000
_STEPS_US: Final = (
    *(digit * 10**power for power in range(3, 6) for digit in (1, 2, 5)),
    *(seconds * _S for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)),
    *(days * 86400 * _S for days in (1, 2, 7, 14, 30, 60, 90, 180, 365, 730, 1825)),
)
_MOST_TICKS: Final = 7

LEGEND: Final = (
    ('<path class="permits" d="M1 2h5v11h-5zM7 6h5v7h-5z"/>', "orders permitted"),
    ('<path class="refusals" d="M1 1h5v11h-5zM7 1h5v6h-5z"/>', "orders refused"),
    ('<rect class="running" x="1" y="2" width="16" height="10"/>', "RUNNING"),
    ('<rect class="idle" x="1" y="5" width="16" height="4"/>', "IDLE"),
    (
        '<rect class="halted" x="1" y="2" width="16" height="10"/><path class="hatch" d="M2 12L10 2M8 12L16 2"/>',
        "HALTED",
    ),
    ('<line class="away" x1="1" x2="17" y1="7" y2="7"/>', "no process attached"),
    ('<path class="halt" d="M9 1l6 11h-12z"/>', "halt"),
    ('<circle class="reset" cx="9" cy="7" r="5"/>', "reset"),
)
"""The marks and what they mean."""


def draw(told: Told) -> str:
    """The picture; empty if no record lies in the span."""
    bounds = told.times.bounds
    if bounds is None:
        return ""
    names = sorted(told.times.lanes)[:_LANES]
    bottom = _TOP + _LANE * len(names)
    said = f"Modes, orders, refusals and halts of {len(names)} engines over time"
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 30}" role="img" aria-label="{escape(said)}">',
        *_axis(bounds, bottom),
    ]
    for place, name in enumerate(names):
        parts += _lane(told, name, bounds, _TOP + _LANE * place)
    parts += _marks(told, bounds, bottom)
    return "\n".join([*parts, "</svg>"])


def _x(us: int, bounds: tuple[int, int]) -> float:
    begin, end = bounds
    return _LEFT + (min(max(us, begin), end) - begin) / (end - begin) * (_WIDTH - _LEFT - _RIGHT)


def _axis(bounds: tuple[int, int], bottom: int) -> Iterator[str]:
    begin, end = bounds
    step = next((step for step in _STEPS_US if (end - begin) // step <= _MOST_TICKS), _STEPS_US[-1])
    at = begin - begin % -step if begin % step else begin
    day = ""
    while at <= end:
        x = _x(at, bounds)
        moment = datetime.fromtimestamp(at // _S, UTC)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom}"/>'
        side = "end" if x > _WIDTH - _EDGE else "middle"
        yield f'<text class="axis" x="{x:.1f}" y="{bottom + 14}" text-anchor="{side}">{_label(moment, at, step)}</text>'
        if f"{moment:%Y-%m-%d}" != day and step < 86400 * _S:
            day = f"{moment:%Y-%m-%d}"
            yield f'<text class="axis" x="{x:.1f}" y="{bottom + 27}" text-anchor="middle">{day} UTC</text>'
        at += step


def _label(moment: datetime, at: int, step: int) -> str:
    if step >= 86400 * _S:
        return f"{moment:%Y-%m-%d}"
    if step >= 60 * _S:
        return f"{moment:%H:%M}"
    if step >= _S:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%H:%M:%S}.{at % _S // 1000:03d}"


def _lane(told: Told, name: str, bounds: tuple[int, int], top: int) -> Iterator[str]:
    lane, width = told.times.lanes[name], told.times.width_us
    middle = top + _UP
    shown = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    most = max((slot.permits for slot in lane.values()), default=0)
    least = max((slot.refusals for slot in lane.values()), default=0)
    yield f'<text class="name" x="0" y="{middle + 10}">{escape(shown)}</text>'
    yield f'<text class="axis" x="{_LEFT - 6}" y="{top + 9}" text-anchor="end">{number(most)}</text>'
    yield f'<text class="axis" x="{_LEFT - 6}" y="{middle + _BAND + _DOWN}" text-anchor="end">{number(least)}</text>'
    yield from _modes(lane, width, bounds, middle)
    for place, slot in sorted(lane.items()):
        x = _x(place * width, bounds)
        wide = max(_x((place + 1) * width, bounds) - x - 0.4, 0.8)
        if slot.permits:
            high = max(slot.permits / most * (_UP - 6), 1)
            yield _bar("permits", x, wide, middle - 2 - high, high)
        if slot.refusals:
            yield _bar("refusals", x, wide, middle + _BAND + 2, max(slot.refusals / least * (_DOWN - 2), 1))


def _bar(kind: str, x: float, wide: float, y: float, high: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'


def _modes(lane: Mapping[int, Slot], width: int, bounds: tuple[int, int], top: int) -> Iterator[str]:
    """The band of modes: neighbours that look the same are one."""
    begin = until = 0
    look = ""
    for place in sorted(lane):
        now = _look(lane[place])
        if now != look or place != until:
            yield from _stretch(look, _x(begin * width, bounds), _x(until * width, bounds), top)
            begin, look = place, now
        until = place + 1
    yield from _stretch(look, _x(begin * width, bounds), _x(until * width, bounds), top)


def _look(slot: Slot) -> str:
    """What a slot is drawn as: the gravest mode in it, with a process attached or without."""
    for bits, suffix in ((slot.seen, ""), (slot.away, " gone")):
        for mode in ("HALTED", "RUNNING", "IDLE"):
            if bits & MODES[mode]:
                return mode.lower() + suffix
    return ""


def _stretch(look: str, left: float, right: float, top: int) -> Iterator[str]:
    wide = max(right - left, 0.6)
    middle = top + _BAND / 2
    mode, _, gone = look.partition(" ")
    if mode == "running":
        yield _bar("running", left, wide, top, _BAND)
    elif mode == "idle":
        yield _bar("idle", left, wide, middle - 2, 4)
    elif mode == "halted" and not gone:
        yield _bar("halted", left, wide, top, _BAND)
        step, x = 8.0, left
        lines: list[str] = []
        while x < right and len(lines) < _WIDTH // 8:
            lines.append(
                f"M{x:.1f} {top + _BAND}l{min(step, right - x):.1f} {-_BAND * min(step, right - x) / step:.1f}"
            )
            x += step
        yield f'<path class="hatch" d="{"".join(lines)}"/>'
    if gone:
        kind = "away stopped" if mode == "halted" else "away"
        yield f'<line class="{kind}" x1="{left:.1f}" x2="{left + wide:.1f}" y1="{middle}" y2="{middle}"/>'


def _marks(told: Told, bounds: tuple[int, int], bottom: int) -> Iterator[str]:
    """Halts and resets: a line through all lanes, and a mark above them with their number in the table."""
    halts = sorted({halt.effect_us or halt.ts_us for one in told.facts for halt in one.halts.halts if halt.first})[
        :_MARKS
    ]
    resets = sorted({reset.ts_us for one in told.facts for reset in one.halts.resets})[:_MARKS]
    for kind, moments in (("reset", resets), ("halt", halts)):
        for group in _groups([_x(us, bounds) for us in moments]):
            for x in group:
                yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}"/>'
            x = group[0]
            if kind == "halt":
                yield f'<path class="halt" d="M{x:.1f} {_TOP - 22}l6 11h-12z"/>'
            else:
                yield f'<circle class="reset" cx="{x:.1f}" cy="{_TOP - 15}" r="5"/>'
            if len(group) > 1:
                yield f'<text class="{kind}" x="{x + 8:.1f}" y="{_TOP - 11}">\u00d7{len(group)}</text>'


def _groups(places: Sequence[float]) -> Iterator[list[float]]:
    """Marks that would cover each other stand as one."""
    group: list[float] = []
    for x in places:
        if group and x - group[0] > _NEAR:
            yield group
            group = []
        group.append(x)
    if group:
        yield group


def length(us: int) -> str:
    """A span of time in words, short."""
    sign, us = ("\u2212", -us) if us < 0 else ("", us)
    for unit, size in (("d", 86400 * _S), ("h", 3600 * _S), ("min", 60 * _S), ("s", _S), ("ms", 1000)):
        if us >= size:
            return f"{sign}{us // size}{f'.{us % size * 1000 // size:03d}'.rstrip('0').rstrip('.')}\u00a0{unit}"
    return f"{sign}{us}\u00a0us"
