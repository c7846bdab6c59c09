"""Stragglers: engines that have let go of a halted home, and whose loop hangs all the same.

They send nothing, and no ack waits for them. But nobody can start them, stop them or reset with them in peace, and what
they know of the venue grows old: they have to be ended, after the stop of their halt, which goes on beside the
hanging loop.

Which engine hangs is told with care, because one that hangs can be killed for it:

- The mark of the tick that the loop is at work on stands. Whoever sets it has a loop, and that is not done with it.
- The count of heartbeats stands where it stood when the watchdog told of that, while the engine had to get on. An
  engine that has never beaten has no loop that could be seen to hang. One that was halted while it got on, and ends
  its loop then, did what it should.

An engine that is IDLE is nobody's business; one that still holds the running lock is the halt's.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from interlock.breaker.watchdog import What, same
from interlock.core.modes import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.breaker.roster import Engine
    from interlock.breaker.watchdog import Stall

__all__ = ["News", "Straggler", "Stragglers", "standing"]


class News(enum.StrEnum):
    """What has become of one."""

    HANGS = "hangs"
    OVERDUE = "overdue"
    MOVES = "moves"


@attrs.frozen(kw_only=True)
class Straggler:
    """An engine that is out, with a loop that stands still.

    Attributes:
        engine: as it was seen last.
        what: stands still.
        mark: which: the count of heartbeats, or the mark of the tick.
        since_ns: since when that is seen, in time that was watched.
        told_ns: since when it is told; None: not yet.
    """

    engine: Engine
    what: What
    mark: int
    since_ns: int
    told_ns: int | None = None

    def stands(self, engine: Engine | None) -> bool:
        """Whether this is still so, by a newer look at it."""
        if engine is None or not same(engine, self.engine):
            return False
        now = engine.busy_ns if self.what is What.BUSY else engine.beats
        return _out(engine) and now == self.mark


def _out(engine: Engine) -> bool:
    return engine.attached and not engine.held and engine.mode is not Mode.IDLE


def standing(engine: Engine, stall: Stall | None) -> tuple[What, int] | None:
    """What may stand still in an engine that is out, and its mark.

    Args:
        engine: as it was just seen.
        stall: the last that was told of an engine of this name.
    """
    if not _out(engine):
        return None
    if engine.busy_ns:
        return What.BUSY, engine.busy_ns
    if stall is None or stall.what is not What.BEAT or not same(engine, stall.engine):
        return None
    return (What.BEAT, stall.mark) if engine.beats == stall.mark > 0 else None


class Stragglers:
    """Follows them.

    Args:
        busy_ns: for how long one tick may take, if no stall was told of it.
        grace_ns: for how long one may stay after that is told.
    """

    def __init__(self, *, busy_ns: int, grace_ns: int) -> None:
        self._busy_ns = busy_ns
        self._grace_ns = grace_ns
        self._stalls: dict[str, Stall] = {}
        self._found: dict[str, Straggler] = {}

    def look(
        self, roster: Iterable[Engine], stalls: Iterable[Stall], *, now_ns: int, at_ns: int
    ) -> list[tuple[News, Straggler]]:
        """Look at every engine of a home.

        Args:
            roster: as it was just seen.
            stalls: that were just told.
            now_ns: when that look began, or before, in time that was watched.
            at_ns: when it had ended.
        """
        self._stalls.update({stall.engine.name: stall for stall in stalls})
        seen = {engine.name: engine for engine in roster}
        found, news = self._kept(seen)
        for engine in seen.values():
            stall = self._stalls.get(engine.name)
            stands = standing(engine, stall)
            if stands is None:
                continue
            before = self._found.get(engine.name)
            if before is None or not before.stands(engine):
                known = stall is not None and same(engine, stall.engine) and stands == (stall.what, stall.mark)
                since_ns = at_ns - self._busy_ns if known else at_ns
                before = Straggler(engine=engine, what=stands[0], mark=stands[1], since_ns=since_ns)
            one, said = self._weigh(attrs.evolve(before, engine=engine), now_ns)
            found[engine.name] = one
            news += [(word, one) for word in said]
        self._found = found
        return news

    def _kept(self, seen: Mapping[str, Engine]) -> tuple[dict[str, Straggler], list[tuple[News, Straggler]]]:
        """Those that nobody sees now, whose processes live; and the news of those that get on."""
        kept = {name: one for name, one in self._found.items() if name not in seen and one.engine.same_process()}
        moves = [
            (News.MOVES, one)
            for name, one in self._found.items()
            if one.told_ns is not None and name in seen and not one.stands(seen[name])
            if seen[name].attached and same(seen[name], one.engine)
        ]
        return kept, moves

    def _weigh(self, one: Straggler, now_ns: int) -> tuple[Straggler, list[News]]:
        if one.told_ns is None:
            if now_ns - one.since_ns < self._busy_ns:
                return one, []
            return attrs.evolve(one, told_ns=now_ns), [News.HANGS]
        if now_ns - one.told_ns <= self._grace_ns:
            return one, []
        return attrs.evolve(one, told_ns=now_ns), [News.OVERDUE]  # if it can't be ended it has another grace
