"""The drill as a picture: one lane an engine, time from left to right, in SVG that needs nothing from elsewhere.

Every mark has a shape of its own, so that it can be told without colours, on paper, too.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interlock.ops.drill.record import Lane, Measured

__all__ = ["Window", "draw", "windows"]

_WIDTH: Final = 920
_LEFT: Final = 92
_RIGHT: Final = 24
_ROW: Final = 17
_LANE: Final = 46
_CHAR: Final = 6.3
_SHORT_NS: Final = 1_000_000
_BEFORE_NS: Final = 15_000_000
_LONG_NS: Final = 200_000_000
_STEPS_NS: Final = tuple(digit * 10**power for power in range(3, 11) for digit in (1, 2, 5))
_MOST_TICKS: Final = 8


@attrs.frozen(kw_only=True)
class Window:
    """What part of the time is shown.

    Attributes:
        title: of the picture.
        zero_ns: what the axis counts from: the call of the halt.
        begin_ns: its left edge.
        end_ns: its right edge.
    """

    title: str
    zero_ns: int
    begin_ns: int
    end_ns: int

    def x(self, ns: int) -> float:
        """Where an instant stands, kept within the picture."""
        share = (min(max(ns, self.begin_ns), self.end_ns) - self.begin_ns) / (self.end_ns - self.begin_ns)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def shows(self, ns: int) -> bool:
        """Whether an instant lies within."""
        return ns > 0 and self.begin_ns <= ns <= self.end_ns


def windows(measured: Measured) -> tuple[Window, ...]:
    """The whole halt; and if that took long because one engine hung, its first moments by themselves before it."""
    if not measured.answers:
        return ()
    called = measured.answers[0].called_ns
    lines = [ns for _, ns, _ in _instants(measured)]
    healthy = [ns for lane in measured.lanes if not lane.fault for ns in _marks(lane)[1:]]
    everything = lines + [ns for lane in measured.lanes for ns in _marks(lane)]
    whole = _window("The whole halt", called, max(everything, default=called))
    if whole.end_ns - called <= _LONG_NS:
        return (whole,)
    soon = [ns for ns in (*healthy, measured.answers[0].stopped_ns, measured.answers[0].durable_ns) if ns]
    first = _window("The first moments", called, max(soon, default=called))
    return (first, whole) if first.end_ns < whole.end_ns else (whole,)


def _window(title: str, called: int, last: int) -> Window:
    span = max(last - called, _SHORT_NS)
    return Window(
        title=title,
        zero_ns=called,
        begin_ns=called - min(_BEFORE_NS, max(_SHORT_NS, span // 4)),
        end_ns=called + span + span // 12,
    )


def _marks(lane: Lane) -> tuple[int, ...]:
    """Instants that the picture has to reach: the end of its last send, and then what it did about the halt."""
    return (lane.last_ended_ns, lane.seen_ns, lane.left_ns, lane.first_refused_ns)


def _instants(measured: Measured) -> list[tuple[str, int, str]]:
    """The vertical lines: label, instant, class."""
    answers = measured.answers
    found = []
    for number, answer in enumerate(answers):
        again = f" ({number + 1})" if len(answers) > 1 else ""
        found += [(f"halt called{again}", answer.called_ns, "call")]
        if number == 0:
            found += [("byte set", answer.stopped_ns, "byte"), ("latch durable", answer.durable_ns, "disk")]
    return [one for one in (*found, ("ack", measured.ack_ns, "ack")) if one[1]]


def draw(measured: Measured, window: Window) -> str:
    """The picture of a window."""
    lines = [one for one in _instants(measured) if window.shows(one[1])]
    rows = _rows([(window.x(ns), label) for label, ns, _ in lines])
    top = _ROW * (max(rows, default=0) + 1) + 12
    bottom = top + _LANE * len(measured.lanes)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 40}" role="img" aria-label="{escape(window.title)}">',
        *_axis(window, top, bottom),
    ]
    for number, lane in enumerate(measured.lanes):
        parts += _lane(lane, window, top + _LANE * number, measured.ack_ns)
    for row, (label, ns, kind) in zip(rows, lines, strict=True):
        x, y = window.x(ns), 14 + _ROW * row
        anchor, shift = ("end", -4) if x > _WIDTH - _RIGHT - _CHAR * len(label) else ("start", 4)
        parts += [
            f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 10}" y2="{bottom}"/>',
            f'<text class="{kind}" x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}">{escape(label)}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _rows(labels: Sequence[tuple[float, str]]) -> list[int]:
    """A row for each label, so that none covers another."""
    taken: list[tuple[int, float, float]] = []
    for x, label in labels:
        wide = _CHAR * len(label) + 10
        begin, end = (x - wide, x) if x > _WIDTH - _RIGHT - wide + 6 else (x, x + wide)
        row = 0
        while any(other == row and begin < right and left < end for other, left, right in taken):
            row += 1
        taken.append((row, begin, end))
    return [row for row, _, _ in taken]


def _axis(window: Window, top: int, bottom: int) -> Iterator[str]:
    span = window.end_ns - window.begin_ns
    step = next((step for step in _STEPS_NS if span // step <= _MOST_TICKS), _STEPS_NS[-1])
    at = -((window.zero_ns - window.begin_ns) // step) * step
    while window.zero_ns + at <= window.end_ns:
        x = window.x(window.zero_ns + at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom + 5}"/>'
        yield f'<text class="axis" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_in_ms(at)}</text>'
        at += step
    below = "ms since the halt was called"
    yield f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{bottom + 36}" text-anchor="end">{below}</text>'


def _in_ms(ns: int) -> str:
    sign, ns = ("\u2212", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1_000_000}{f'.{ns % 1_000_000:06d}'.rstrip('0').rstrip('.')}"


def _lane(lane: Lane, window: Window, top: int, ack_ns: int) -> Iterator[str]:
    middle = top + _LANE // 2
    yield f'<text class="name" x="0" y="{middle + 1}">{escape(lane.name)}</text>'
    if lane.fault:
        yield f'<text class="fault" x="0" y="{middle + 15}">{escape(lane.fault)}</text>'
    yield f'<line class="lane" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{middle}" y2="{middle}"/>'
    for left, right, open_end in _sends(lane, window, ack_ns):
        kind = "open" if open_end else "send"
        yield f'<rect class="{kind}" x="{left:.1f}" y="{middle - 9}" width="{right - left:.1f}" height="18"/>'
    if window.shows(lane.seen_ns):
        yield f'<circle class="seen" cx="{window.x(lane.seen_ns):.1f}" cy="{middle}" r="5"/>'
    if window.shows(lane.left_ns):
        yield f'<path class="left" d="M{window.x(lane.left_ns):.1f} {middle - 7}l7 7l-7 7l-7 -7z"/>'
    if window.shows(lane.first_refused_ns):
        x = window.x(lane.first_refused_ns)
        yield f'<path class="refused" d="M{x - 5:.1f} {middle - 5}l10 10m0 -10l-10 10"/>'


def _sends(lane: Lane, window: Window, ack_ns: int) -> list[tuple[float, float, bool]]:
    """The sends as bars; those that can't be told apart are one."""
    bars: list[tuple[float, float, bool]] = []
    for begin, end in lane.tail:
        over = end or ack_ns or window.end_ns
        if over < window.begin_ns or begin > window.end_ns:
            continue
        left, right = window.x(begin), window.x(over)
        right = max(right, left + 1)
        if bars and end and not bars[-1][2] and left - bars[-1][1] < 0.4:  # noqa: PLR2004 - of a pixel
            bars[-1] = (bars[-1][0], right, False)
        else:
            bars.append((left, right, not end))
    return bars
