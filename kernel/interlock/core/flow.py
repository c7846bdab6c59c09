"""Checks on the flow of orders: ids seen before, messages a second, the same order again and again.

All of it is bounded: what is remembered does not grow with the number of orders done.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Recent", "Repeats", "TokenBucket"]

_NS: Final = 1_000_000_000
_SWEEP: Final = 1024


class Recent:
    """Remembers at least the last ``keep`` names, and at most twice as many.

    Two generations: when the younger is full it becomes the older, and what was older is forgotten.
    """

    __slots__ = ("_keep", "old", "young")

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.young: dict[str, None] = {}  # a set that keeps its order, so that what is told of it is always the same
        self.old: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        """Whether it is remembered."""
        return name in self.young or name in self.old

    def add(self, name: str) -> None:
        """Remember it."""
        young = self.young
        if len(young) >= self._keep:
            self.old = young
            young = self.young = {}
        young[name] = None

    def forget(self, name: str) -> None:
        """Free it for use: nothing was sent under this name."""
        self.young.pop(name, None)
        self.old.pop(name, None)

    def generations(self) -> list[list[str]]:
        """What is remembered: the older names, and the younger."""
        return [[*self.old], [*self.young]]

    def take(self, old: list[str], young: list[str]) -> None:
        """Remember these, as `generations` told them, and nothing else."""
        self.old, self.young = dict.fromkeys(old), dict.fromkeys(young)


class TokenBucket:
    """A token bucket in exact integers: a token is 10^9 parts, refilled ``per_second`` parts a nanosecond."""

    __slots__ = ("_full", "_level", "_per_second", "_since_ns")

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_second = per_second
        self._full = burst * _NS
        self._level = self._full
        self._since_ns = 0

    def ready(self, mono_ns: int) -> bool:
        """Whether a whole token is there now."""
        passed = mono_ns - self._since_ns
        if passed > 0:
            self._since_ns = mono_ns
            level = self._level + passed * self._per_second
            self._level = min(level, self._full)
        return self._level >= _NS

    def take(self) -> None:
        """Take one token, into debt if need be, but no deeper than one burst."""
        level = self._level - _NS
        self._level = max(-self._full, level)

    @property
    def tokens(self) -> int:
        """Whole tokens left, for messages."""
        return self._level // _NS


class Repeats:
    """Counts identical orders within a sliding window, exactly, up to ``most`` of a kind.

    Each kind of order keeps the times of its last ``most`` orders; a kind that has left the window is
    forgotten when many have gathered. Orders reach this check only past the message rate, and one that
    a later check refuses is taken back (`undo`), so what the window holds is bounded by that rate.
    """

    __slots__ = ("_kinds", "_last", "_most", "_sweep_at", "_window_ns")
    _last: deque[int]

    def __init__(self, window_ns: int, most: int) -> None:
        self._window_ns = window_ns
        self._most = most
        self._kinds: dict[object, deque[int]] = {}
        self._sweep_at = _SWEEP

    def count(self, kind: object, mono_ns: int, enough: int) -> int:
        """Note an order.

        Args:
            kind: what makes two orders identical.
            mono_ns: now, monotonic.
            enough: a number of orders that is of no interest yet.

        Returns:
            How many like it, this one counted, came within the window; 0 if no more than ``enough``.
        """
        times = self._kinds.get(kind)
        if times is None:
            times = self._new(kind, mono_ns)
        times.append(mono_ns)
        self._last = times
        oldest = mono_ns - self._window_ns
        if len(times) <= enough or times[-enough - 1] <= oldest:
            return 0
        return sum(1 for time in times if time > oldest)

    def undo(self) -> None:
        """Take the latest note back: the order was refused by a later check."""
        self._last.pop()

    def _new(self, kind: object, mono_ns: int) -> deque[int]:
        kinds = self._kinds
        if len(kinds) >= self._sweep_at:
            oldest = mono_ns - self._window_ns
            for stale in [old for old, times in kinds.items() if not times or times[-1] <= oldest]:
                del kinds[stale]
            self._sweep_at = max(_SWEEP, 2 * len(kinds))
        times = kinds[kind] = deque(maxlen=self._most)
        return times
