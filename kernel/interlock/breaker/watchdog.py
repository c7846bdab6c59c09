"""The watchdog: sees whether an engine gets on, and not merely whether it lives.

An engine is watched while it is RUNNING or holds the running lock. Three things in its roster file must move:

    BEAT   the count of heartbeats      the loop comes round
    BUSY   the mark of the tick at work the loop gets done with what it took, whatever else goes on beating
    SEND   each send that has begun     it ends

Two rules keep the verdict sound.

1. **Only what the watchdog saw itself counts.** The same mark, seen at two moments, stood still between them. So no
   time stamp of another process is compared with a clock here: no clock that is set, no stamp that is wrong and no time
   namespace changes anything. The two moments are taken on the safe side: the first is the end of one look, the
   second the beginning of another. A watchdog that has just begun needs a whole limit before it can tell.
2. **Time in which the watchdog did not run proves little**: whatever suspended it may have suspended everyone. A gap
   that is too long is not counted, once, so that every engine has until the next look at least. After that gaps count
   until as much time has been counted as the smallest limit, so that a machine on which every look is late
   does not put off the trip for ever. Nor is anything told until a quarter of the smallest limit has passed without a
   gap, in which whoever was suspended, too, gets on; four gaps that are closer to each other end that. Either way the
   gap is told: in `Watchdog.late_ns`, and in the stall.

The same rule serves the command ``interlock watch``, which looks at a whole home from a process of its own, and
`WatchThread`, which looks at one engine from inside its process. The thread sees a loop that hangs in a call that lets
other threads run; what stops all threads (SIGSTOP, C code that keeps the interpreter's lock) only the process sees.
"""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.modes import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.breaker.roster import Engine

__all__ = [
    "Limits",
    "Sight",
    "Stall",
    "Watchdog",
    "What",
    "follow",
    "same",
    "span_ns",
    "stalled",
    "watched",
]

_NS: Final = 1_000_000_000
_LOOKS: Final = 4  # at least so many within the smallest limit
_LONGEST_S: Final = 86_400.0


class What(enum.StrEnum):
    """What stands still."""

    BEAT = "BEAT"
    BUSY = "BUSY"
    SEND = "SEND"


def span_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds.

    Raises:
        ValueError: not a number above zero, or more than a day.
    """
    if not 0 < seconds <= _LONGEST_S:  # nor is a NaN
        message = f"expected seconds, above 0 and at most {_LONGEST_S:.0f}: {seconds!r}"
        raise ValueError(message)
    return max(1, round(seconds * _NS))


@attrs.frozen(kw_only=True)
class Limits:
    """For how long what may stand still.

    Attributes:
        beat_s: the count of heartbeats.
        busy_s: the loop's work on one tick.
        send_s: one send.
        interval_s: between two looks; at most a quarter of the smallest of the others.

    Raises:
        ValueError: not seconds above zero, or too long an interval between looks.
    """

    beat_s: float = 5.0
    busy_s: float = 10.0
    send_s: float = 10.0
    interval_s: float = 0.25
    beat_ns: int = attrs.field(init=False)
    busy_ns: int = attrs.field(init=False)
    send_ns: int = attrs.field(init=False)

    @beat_ns.default
    def _beat(self) -> int:
        return span_ns(self.beat_s)

    @busy_ns.default
    def _busy(self) -> int:
        return span_ns(self.busy_s)

    @send_ns.default
    def _send(self) -> int:
        return span_ns(self.send_s)

    def __attrs_post_init__(self) -> None:
        """See that there are looks enough within each of them."""
        if span_ns(self.interval_s) * _LOOKS > self.least_ns:
            message = f"the interval may be {self.least_ns / _NS / _LOOKS:g} s at most, a quarter of the smallest limit"
            raise ValueError(message)

    @property
    def least_ns(self) -> int:
        """The smallest of them."""
        return min(self.beat_ns, self.busy_ns, self.send_ns)


@attrs.frozen(kw_only=True)
class Sight:
    """What was seen of one engine, and since when; times are those of the watchdog.

    Attributes:
        engine: as it was seen last.
        first: as it was seen first, with all its sends named.
        beat_ns: since when its count of heartbeats is seen to stand.
        busy_ns: since when its mark of the tick at work is.
        send_ns: since when each send is seen that goes on, by permit.
    """

    engine: Engine
    first: Engine
    beat_ns: int
    busy_ns: int
    send_ns: Mapping[int, int]

    @property
    def settled(self) -> bool:
        """Whether all that was there at first has moved since."""
        first, engine = self.first, self.engine
        old = {one.permit for one in first.sending} & {one.permit for one in engine.sending}
        return engine.beats != first.beats and not (engine.busy_ns and engine.busy_ns == first.busy_ns) and not old


@attrs.frozen(kw_only=True)
class Stall:
    """An engine that does not get on.

    Attributes:
        engine: as it was seen last.
        what: stands still.
        mark: which: the count of heartbeats, the mark of the tick, or the permit of the send.
        for_ns: for how long at least.
        late_ns: for how long the watchdog itself had not run before this look, if that was too long; else 0.
    """

    engine: Engine
    what: What
    mark: int
    for_ns: int
    late_ns: int = 0

    @property
    def reason(self) -> str:
        """In words; it goes into latch and journal."""
        words = {
            What.BEAT: f"no heartbeat after number {self.mark}",
            What.BUSY: "the loop is at work on one tick",
            What.SEND: f"the send of permit {self.mark} goes on",
        }
        said = f"engine {self.engine.name}, pid {self.engine.pid}: {words[self.what]} for {self.for_ns / _NS:.3f} s"
        if not self.engine.shown:
            said += "; it has another memory disk than this watchdog, which sees nothing of what it does"
        late = f"; the watchdog itself did not run for {self.late_ns / _NS:.3f} s" if self.late_ns else ""
        return said + late


def watched(engine: Engine) -> bool:
    """Whether it has to get on: it may be sending, or begin to, or nobody can see from here whether it may."""
    return engine.attached and (engine.mode is Mode.RUNNING or engine.held or not engine.shown)


def same(one: Engine, other: Engine) -> bool:
    """Whether two entries tell of the same attachment."""
    return (one.name, one.pid, one.started, one.namespace, one.run) == (
        other.name,
        other.pid,
        other.started,
        other.namespace,
        other.run,
    )


def follow(engine: Engine, before: Sight | None, at_ns: int) -> Sight:
    """What is known of an engine after this look.

    Args:
        engine: as it was just seen.
        before: what was known.
        at_ns: when the look ended.
    """
    if before is None or not same(engine, before.engine):
        begun = {one.permit: at_ns for one in engine.sending}
        return Sight(engine=engine, first=engine, beat_ns=at_ns, busy_ns=at_ns, send_ns=begun)
    was = before.engine
    return Sight(
        engine=engine,
        first=engine if before.first.unnamed else before.first,
        beat_ns=before.beat_ns if engine.beats == was.beats else at_ns,
        busy_ns=before.busy_ns if engine.busy_ns == was.busy_ns else at_ns,
        send_ns={one.permit: before.send_ns.get(one.permit, at_ns) for one in engine.sending},
    )


def stalled(engine: Engine, before: Sight | None, now_ns: int, limits: Limits) -> Stall | None:
    """Whether an engine stands still for too long; of several reasons the one that says most.

    Args:
        engine: as it was just seen.
        before: what was known before this look.
        now_ns: when this look began.
        limits: for how long what may stand still.
    """
    if not watched(engine) or before is None or not same(engine, before.engine):
        return None
    was = before.engine
    stood = [
        (What.SEND, one.permit, now_ns - before.send_ns[one.permit], limits.send_ns)
        for one in engine.sending
        if one.permit in before.send_ns
    ]
    stood.sort(key=lambda send: send[2], reverse=True)
    if engine.busy_ns and engine.busy_ns == was.busy_ns:
        stood.append((What.BUSY, engine.busy_ns, now_ns - before.busy_ns, limits.busy_ns))
    if engine.beats == was.beats:
        stood.append((What.BEAT, engine.beats, now_ns - before.beat_ns, limits.beat_ns))
    for what, mark, for_ns, limit_ns in stood:
        if for_ns > limit_ns:
            return Stall(engine=engine, what=what, mark=mark, for_ns=for_ns)
    return None


class Watchdog:
    """Looks at engines time and again, and tells each stall once.

    Args:
        read: what the roster shows now.
        limits: for how long what may stand still.
        clock: nanoseconds that never go back, whatever the time of day is set to.

    Attributes:
        late_ns: for how long the watchdog did not run before or within the last look, if that was too long; else 0.
    """

    def __init__(
        self, read: Callable[[], Iterable[Engine]], limits: Limits, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.late_ns = 0
        self._read = read
        self._limits = limits
        self._clock = clock
        self._at_ns: int | None = None
        self._watched_ns = 0
        self._grace_ns = 0
        self._gaps = 0  # each less than a quarter of the smallest limit after the one before
        self._punctual_ns = 0  # since the last of them
        self._sights: dict[str, Sight] = {}
        self._told: dict[str, tuple[What, int]] = {}

    def look(self) -> tuple[Stall, ...]:
        """Look at every engine. An engine that vanished from the roster while its process lives gets no further."""
        self.late_ns = 0
        now_ns = self._pass()
        engines = {engine.name: engine for engine in self._read()}
        at_ns = self._pass()
        for name, before in self._sights.items():
            if name not in engines and before.engine.same_process():
                engines[name] = before.engine
        sights: dict[str, Sight] = {}
        told: dict[str, tuple[What, int]] = {}
        found: list[Stall] = []
        for name, engine in sorted(engines.items()):
            if not watched(engine):
                continue
            before_this = self._sights.get(name)
            sights[name] = follow(engine, before_this, at_ns)
            stall = stalled(engine, before_this, now_ns, self._limits)
            if stall is None:
                continue
            mark = (stall.what, stall.mark)
            if self._told.get(name) == mark:
                told[name] = mark
            elif not self.unsure:
                told[name] = mark
                found.append(attrs.evolve(stall, late_ns=self.late_ns))
        self._sights, self._told = sights, told
        return tuple(found)

    def worked(self, most_s: float) -> None:
        """What the watchdog did since its last look, a halt say, is done: it ran meanwhile, so that is no gap.

        Args:
            most_s: how long that may have taken; the rest is as any other time between two looks.
        """
        if self._at_ns is not None:
            spent_ns = min(max(0, self._clock() - self._at_ns), round(most_s * _NS))
            self._at_ns += spent_ns
            self._watched_ns += spent_ns

    def _pass(self) -> int:
        """Let the time pass that has passed; the time that was watched."""
        now_ns = self._clock()
        gap_ns = 0 if self._at_ns is None else max(0, now_ns - self._at_ns)
        self._at_ns = now_ns
        least_ns = self._limits.least_ns
        if 2 * gap_ns > least_ns:
            self.late_ns += gap_ns
            self._gaps += 1
            self._punctual_ns = 0
            if self._watched_ns >= self._grace_ns:
                self._grace_ns = self._watched_ns + least_ns
                return self._watched_ns
        else:
            self._punctual_ns += gap_ns
            if _LOOKS * self._punctual_ns >= least_ns:
                self._gaps = 0
        self._watched_ns += gap_ns
        return self._watched_ns

    @property
    def watched_ns(self) -> int:
        """How much time it has watched so far; by it no limit runs out while everyone is suspended."""
        return self._watched_ns

    @property
    def unsure(self) -> bool:
        """Whether there was a gap just now; not if there are so many that to wait longer is to wait for ever."""
        return 0 < self._gaps < _LOOKS

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines that are watched, as they were seen last."""
        return tuple(sight.engine for sight in self._sights.values())

    @property
    def settled(self) -> bool:
        """Whether every engine that is watched has got on since it was seen first."""
        return all(sight.settled for sight in self._sights.values())
