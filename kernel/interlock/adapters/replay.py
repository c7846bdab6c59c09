"""Recorded time: a clock that the ticks drive, and a feed that keeps their pace.

A replay that read the wall's clock would call every recorded tick stale, and no two runs would decide
the same. So the tick's own time of arrival is the time: `ReplayClock` is what the kernel reads, and
`paced` decides only how long somebody who watches has to wait. The two know nothing of each other,
which is why a replay at ten times the pace, or at none, writes the same journal.
"""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

from interlock.core.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from decimal import Decimal

    from interlock.core.values import Tick

__all__ = ["LONGEST_WAIT_S", "Feed", "Paced", "ReplayClock", "paced"]

LONGEST_WAIT_S: Final = 2
"""A gap between two ticks (a night, a weekend) is waited out for so many seconds of the wall's at most."""

_FIRST_NS: Final = 1_000_000_000
_US_IN_NS: Final = 1_000
_GRAIN_NS: Final = 1_000_000


class Feed(Protocol):
    """What `paced` needs of where ticks come from."""

    @property
    def name(self) -> str:
        """For people."""

    def batches(self) -> AsyncIterator[Sequence[Tick]]:
        """Ticks in their order, some at a time."""


class ReplayClock:
    """A clock that stands still between ticks, and never goes back.

    Monotonic time begins at one second, so that it is positive from the start, and counts from the first
    tick; the time of a tick is when it was received, or its own if that isn't known. One that lies
    before an earlier one moves neither time: a venue's disorder must not turn the kernel's clock.

    Args:
        start_us: what time it is before the first tick, microseconds UTC; if None, 0, and the first tick,
            whatever its time, finds the monotonic clock where it began.
    """

    __slots__ = ("_mono_ns", "_now_us", "_start_us")

    def __init__(self, start_us: int | None = None) -> None:
        self._start_us = start_us
        self._now_us = 0 if start_us is None else start_us
        self._mono_ns = _FIRST_NS

    def mono_ns(self) -> int:
        """Nanoseconds since the first tick, and one second."""
        return self._mono_ns

    def utc_us(self) -> int:
        """Microseconds UTC: the time of the latest tick so far."""
        return self._now_us

    def advance(self, tick: Tick) -> None:
        """It is the time of this tick now, unless it was later already."""
        now_us = tick.ts_us if tick.received_us is None else tick.received_us
        if self._start_us is None:
            self._start_us = self._now_us = now_us
        elif now_us > self._now_us:
            self._now_us = now_us
            self._mono_ns = _FIRST_NS + (now_us - self._start_us) * _US_IN_NS


def paced(feed: Feed, speed: str | int | Fraction | Decimal) -> Feed:
    """Hand out a feed's ticks at a multiple of the pace at which they came.

    Args:
        feed: any feed.
        speed: "max" for no pacing at all (the feed itself comes back), or a positive number, as
            number or text: 1 is the pace they came at, "2.5" faster, "1/2" slower. No float.

    Raises:
        MisuseError: that is no speed.
    """
    if speed == "max":
        return feed
    try:
        factor = None if isinstance(speed, float | bool) else Fraction(speed)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError):
        factor = None
    if factor is None or factor <= 0:
        msg = f"speed must be 'max' or a positive exact number like 10 or '0.5', not {speed!r}"
        raise MisuseError(msg)
    return Paced(feed, factor)


class Paced:
    """A feed that keeps time; see `paced`. Ticks due within the same millisecond go out together.

    The wall's time is only waited for, never caught up with in leaps: whoever takes the ticks too slowly
    gets them without a wait until the pace is reached again.

    Args:
        feed: where the ticks come from.
        speed: how many times as fast.
        mono_ns: the wall's clock.
        sleep: waits for seconds.

    Attributes:
        name: the feed's, with the speed.
        rows: ticks handed out so far; the feed itself may be ahead.
    """

    def __init__(
        self,
        feed: Feed,
        speed: Fraction,
        *,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._feed = feed
        self._over, self._under = _US_IN_NS * speed.denominator, speed.numerator
        self._clock = mono_ns
        self._sleep = sleep
        self.name = f"{feed.name} at {speed}x"
        self.rows = 0

    async def batches(self) -> AsyncIterator[Sequence[Tick]]:
        """The feed's ticks, each when it is due."""
        self.rows = 0
        last_us: int | None = None
        now_ns = due_ns = 0
        longest_ns = LONGEST_WAIT_S * 1_000_000_000
        inner = self._feed.batches()
        try:
            async for batch in inner:
                begun = 0
                for index, tick in enumerate(batch):
                    tick_us = tick.ts_us if tick.received_us is None else tick.received_us
                    if last_us is None:
                        last_us, now_ns = tick_us, self._clock()
                        due_ns = now_ns
                    if tick_us > last_us:
                        due_ns += min((tick_us - last_us) * self._over // self._under, longest_ns)
                        last_us = tick_us
                    if due_ns - now_ns <= _GRAIN_NS:
                        continue
                    now_ns = self._clock()  # read only where it may matter: most ticks of a burst are due
                    if due_ns - now_ns <= _GRAIN_NS:
                        continue
                    if index > begun:
                        self.rows += index - begun
                        yield batch[begun:index]
                        begun, now_ns = index, self._clock()
                    if due_ns > now_ns:
                        await self._sleep((due_ns - now_ns) / 1_000_000_000)
                        now_ns = self._clock()
                self.rows += len(batch) - begun
                yield batch[begun:]
        finally:  # a feed that is left early must give its file back now, not when it is collected
            if (close := getattr(inner, "aclose", None)) is not None:
                await close()
