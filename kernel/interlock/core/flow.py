"""Checks on the flow of orders: ids seen before, messages a second, the same order again and again.

All of it is bounded: what is remembered does not grow with the number of orders done.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Recent", "Repeats", "TokenBucket"]

_NS: Final = 1_000_000_000


class Recent:
    """Remembers at least the last ``keep`` names, and at most twice as many.

    Two generations: when the younger is full it becomes the older, and what was older is forgotten.
    """

    __slots__ = ("_keep", "old", "young")

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.young: set[str] = set()
        self.old: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether it is remembered."""
        return name in self.young or name in self.old

    def add(self, name: str) -> None:
        """Remember it."""
        young = self.young
        if len(young) >= self._keep:
            self.old = young
            young = self.young = set()
        young.add(name)

    def forget(self, name: str) -> None:
        """Free it for use: nothing was sent under this name."""
        self.young.discard(name)
        self.old.discard(name)


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
            self._level = self._full if level > self._full else level
        return self._level >= _NS

    def take(self) -> None:
        """Take one token, into debt if need be, but no deeper than one burst."""
        level = self._level - _NS
        self._level = level if level > -self._full else -self._full

    @property
    def tokens(self) -> int:
        """Whole tokens left, for messages."""
        return self._level // _NS


class Repeats:
    """Counts identical orders within a sliding window.

    Orders reach this check only past the message rate, and one that a later check refuses is taken back
    (`undo`). So the window holds what was accepted in it, which the rate bounds, and the repeats that
    were refused, which the trip bounds.
    """

    __slots__ = ("_counts", "_seen", "_window_ns")

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._seen: deque[tuple[int, object]] = deque()
        self._counts: dict[object, int] = {}

    def count(self, key: object, mono_ns: int) -> int:
        """Note an order; how many like it, this one counted, came within the window."""
        seen = self._seen
        counts = self._counts
        oldest = mono_ns - self._window_ns
        while seen and seen[0][0] <= oldest:
            _, gone = seen.popleft()
            left = counts[gone] - 1
            if left:
                counts[gone] = left
            else:
                del counts[gone]
        seen.append((mono_ns, key))
        number = counts.get(key, 0) + 1
        counts[key] = number
        return number

    def undo(self) -> None:
        """Take the latest note back: the order was refused by a later check."""
        _, key = self._seen.pop()
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
