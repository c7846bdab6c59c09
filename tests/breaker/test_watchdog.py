"""The watchdog's rule and its thread form: what stands still is told once, and nothing else ever is."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections import deque
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import LIMITS, NAME, arm, attach, of_kind, order

from interlock import HaltCode, Mode, Permit, Quote
from interlock.breaker import roster
from interlock.breaker.quiescence import SLOTS, Hold
from interlock.breaker.roster import Berth, Engine, Sending
from interlock.breaker.watchdog import Limits, Sight, Stall, Watchdog, What, span_ns, stalled, watched
from interlock.breaker.watchthread import WatchThread
from interlock.core.modes import ARMED
from interlock.engine import Engine as Loop
from interlock.ops.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

S: Final = 1_000_000_000
PATIENCE_S: Final = 30
"""No test waits so long unless it fails."""

PATIENT: Final = Limits(beat_s=4, busy_s=8, send_s=6, interval_s=1)
HEALTHY: Final = Engine(
    name="alpha",
    attached=True,
    pid=4_000_000,  # above what Linux gives out
    started=1,
    namespace=1,
    operator="ann",
    run="r1",
    mode=Mode.RUNNING,
    held=True,
    lock_inode=1,
    page_inode=1,
    memory=(0, 0),
    shown=True,
    beats=0,
    beat_ns=0,
    busy_ns=0,
    sending=(),
    unnamed=0,
)


def sends(*permits: int, for_ns: int = 0) -> tuple[Sending, ...]:
    """Sends that go on."""
    return tuple(Sending(permit=permit, for_ns=for_ns) for permit in permits)


class World:
    """A clock, and engines that are as they are told to be.

    Attributes:
        now_ns: the clock.
        engines: what the roster shows.
        read_ns: how long a look takes.
    """

    def __init__(self, *engines: Engine, limits: Limits = PATIENT, read_ns: int = 0) -> None:
        self.now_ns = 1_000 * S
        self.engines = {engine.name: engine for engine in engines}
        self.read_ns = read_ns
        self.dog = Watchdog(self._read, limits, lambda: self.now_ns)

    def _read(self) -> Iterable[Engine]:
        self.now_ns += self.read_ns
        return tuple(self.engines.values())

    def set(self, name: str = "alpha", **fields: Any) -> None:
        """Change what the roster shows of an engine."""
        self.engines[name] = attrs.evolve(self.engines[name], **fields)

    def beat(self, *names: str) -> None:
        """Heartbeats."""
        for name in names or self.engines:
            self.set(name, beats=self.engines[name].beats + 1)

    def look(self, after_s: float = 1.0) -> tuple[Stall, ...]:
        """The next look."""
        self.now_ns += round(after_s * S)
        return self.dog.look()

    def looks(self, count: int, *, beating: bool = True) -> list[Stall]:
        """Looks in a row, a second apart; all that they tell."""
        found: list[Stall] = []
        for _ in range(count):
            if beating:
                self.beat()
            found += self.look()
        return found


# -- The limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "ns"), [(1e-12, 1), (1e-9, 1), (1.5, 1_500_000_000), (86_400, 86_400 * S), (86_400.0, 86_400 * S)]
)
def test_seconds_are_whole_nanoseconds(seconds: float, ns: int) -> None:
    """A span is at least a nanosecond and at most a day, that day included."""
    assert span_ns(seconds) == ns


@pytest.mark.parametrize("seconds", [0, -1, 86_400.001, float("nan"), float("inf")])
def test_what_is_no_span_is_refused(seconds: float) -> None:
    """Nothing, less than nothing, more than a day and no number are no limits."""
    with pytest.raises(ValueError, match="expected seconds, above 0 and at most 86400"):
        span_ns(seconds)


def test_limits_as_they_are_unless_said() -> None:
    """A loop may stand for 5 s, be at work for 10 s, a send go on for 10 s; it is looked at four times a second."""
    limits = Limits()
    assert (limits.beat_s, limits.busy_s, limits.send_s, limits.interval_s) == (5.0, 10.0, 10.0, 0.25)
    assert (limits.beat_ns, limits.busy_ns, limits.send_ns, limits.least_ns) == (5 * S, 10 * S, 10 * S, 5 * S)
    for follows in ("beat_ns", "busy_ns", "send_ns"):
        with pytest.raises(TypeError):
            Limits(**{follows: 1})


def test_too_few_looks_are_refused() -> None:
    """The interval is at most a quarter of the smallest limit, and the message says how long that is."""
    Limits(beat_s=8, busy_s=6, send_s=4, interval_s=1)
    with pytest.raises(ValueError, match=r"the interval may be 1 s at most, a quarter of the smallest limit"):
        Limits(beat_s=8, busy_s=6, send_s=4, interval_s=1.001)


def test_what_stands_still_has_a_name() -> None:
    """The names go into reasons and reports, and stay."""
    assert [what.value for what in What] == ["BEAT", "BUSY", "SEND"]


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("late_ns", [None, 0, 1_500_000_000])
def test_reason_is_one_sentence(shown: bool, late_ns: int | None) -> None:
    """A stall says who, what, for how long, whether nothing can be seen of it, and how late the watchdog was."""
    engine = attrs.evolve(HEALTHY, shown=shown)
    late = {} if late_ns is None else {"late_ns": late_ns}
    said = Stall(engine=engine, what=What.SEND, mark=7, for_ns=2_500_000_000, **late).reason
    assert said == (
        f"engine alpha, pid {HEALTHY.pid}: the send of permit 7 goes on for 2.500 s"
        + ("" if shown else "; it has another memory disk than this watchdog, which sees nothing of what it does")
        + ("; the watchdog itself did not run for 1.500 s" if late_ns else "")
    )


# -- The rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "must"),
    [
        ({}, True),
        ({"mode": Mode.IDLE}, True),
        ({"held": False}, True),
        ({"mode": Mode.IDLE, "held": False}, False),
        ({"mode": Mode.HALTED, "held": False, "shown": False}, True),
        ({"attached": False}, False),
    ],
)
def test_who_has_to_get_on(fields: dict[str, Any], must: bool) -> None:
    """Who runs, holds the lock, or can't be seen is watched, while it is attached; and only such a one can stall."""
    engine = attrs.evolve(HEALTHY, **fields)
    assert watched(engine) is must
    before = Sight(engine=engine, first=engine, beat_ns=0, busy_ns=0, send_ns={})
    assert (stalled(engine, before, 90 * S, PATIENT) is not None) is must


def test_next_tick_is_no_stall_of_the_one_before() -> None:
    """Work that began since the last look has not stood since then, however long the last tick took."""
    was = attrs.evolve(HEALTHY, busy_ns=5)
    before = Sight(engine=was, first=was, beat_ns=0, busy_ns=0, send_ns={})
    now = attrs.evolve(was, busy_ns=6, beats=1)
    assert stalled(now, before, 90 * S, PATIENT) is None


def test_fresh_watchdog_has_seen_nothing() -> None:
    """Before its first look it was late for nothing, has watched no time, and is sure."""
    dog = World(HEALTHY).dog
    assert (dog.late_ns, dog.watched_ns, dog.unsure, dog.engines, dog.settled) == (0, 0, False, (), True)
    dog.worked(5)  # which is nothing before there was a look
    assert dog.watched_ns == 0


def test_time_is_watched_from_the_first_look_on() -> None:
    """What lies between two looks counts, what the clock takes back does not, and work as far as allowed."""
    world = World(HEALTHY)
    world.look(50)
    assert world.dog.watched_ns == 0
    world.look(1)
    assert world.dog.watched_ns == S
    world.now_ns -= S
    world.dog.look()
    assert world.dog.watched_ns == S
    world.now_ns += 3 * S
    world.dog.worked(2)
    assert world.dog.watched_ns == 3 * S
    world.now_ns -= 7 * S
    world.dog.worked(2)
    assert world.dog.watched_ns == 3 * S


def test_all_must_get_on_before_it_is_settled() -> None:
    """One engine that has not moved since it was seen first is enough."""
    world = World(HEALTHY, attrs.evolve(HEALTHY, name="beta"))
    world.look()
    world.beat("alpha")
    world.look()
    assert not world.dog.settled
    world.beat("beta")
    world.look()
    assert world.dog.settled


def test_three_gaps_leave_it_unsure_and_the_fourth_does_not() -> None:
    """After the fourth gap in a row nobody waits any longer; looks in time for a quarter of the limit end it, too."""
    world = World(HEALTHY)
    world.look()
    for gaps in range(1, 6):
        world.look(3)
        assert world.dog.unsure is (gaps < 4)
    world.look(1)
    assert not world.dog.unsure
    world.look(3)
    assert world.dog.unsure
    world.look(0.5)
    world.look(0.499_999_999)
    assert world.dog.unsure
    world.look(1e-9)
    assert not world.dog.unsure


def test_first_gap_is_not_watched() -> None:
    """A watchdog that is suspended right after its first look has watched nothing yet."""
    world = World(HEALTHY)
    world.look()
    world.look(100)
    assert (world.dog.watched_ns, world.dog.late_ns) == (0, 100 * S)


def test_engine_that_gets_on_is_never_told() -> None:
    """Beats that come, ticks that follow each other and sends that end are no stall, however long it goes on."""
    world = World(HEALTHY)
    for number in range(1, 50):
        world.set(busy_ns=number, sending=sends(number))
        assert world.looks(1) == []
    assert world.dog.settled


@pytest.mark.parametrize(
    ("what", "stuck", "mark", "limit_s"),
    [
        (What.BEAT, {"beats": 7}, 7, 4),
        (What.BUSY, {"busy_ns": 55}, 55, 8),
        (What.SEND, {"sending": sends(9)}, 9, 6),
    ],
)
def test_what_stands_still_is_told_once(what: What, stuck: dict[str, Any], mark: int, limit_s: int) -> None:
    """A mark that stands for its limit is no stall yet; a moment later it is: engine, pid, what, for how long."""
    world = World(attrs.evolve(HEALTHY, **stuck))
    beating = what is not What.BEAT
    assert world.looks(1 + limit_s, beating=beating) == []
    if beating:
        world.beat()
    (stall,) = world.look(1e-9)
    assert (stall.engine.name, stall.engine.pid, stall.what, stall.mark) == ("alpha", HEALTHY.pid, what, mark)
    assert stall.for_ns == limit_s * S + 1
    assert f"engine alpha, pid {HEALTHY.pid}: " in stall.reason
    assert f" for {limit_s}.000 s" in stall.reason
    assert world.looks(20, beating=beating) == []
    assert not world.dog.settled


def test_beating_is_not_progress() -> None:
    """A loop that beats and never gets done with its tick stalls; so does one whose send never ends."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1))
    assert [stall.what for stall in world.looks(30)] == [What.BUSY]
    world = World(attrs.evolve(HEALTHY, sending=sends(3)))
    assert [stall.what for stall in world.looks(30)] == [What.SEND]


def test_send_among_others() -> None:
    """Of many sends the one that stands is told, and the next one when that has ended."""
    world = World(attrs.evolve(HEALTHY, sending=sends(1, 2)))
    for number in range(3, 9):
        assert world.looks(1) == []
        world.set(sending=sends(number, 2))
    assert [stall.mark for stall in world.looks(2)] == [2]
    world.set(sending=sends(20, 21))
    assert [stall.mark for stall in world.looks(20)] == [20]


def test_send_that_hangs_in_a_crowd_is_told(tmp_path: Path) -> None:
    """A send that begins when the roster is full is seen from when another ends, however many follow those that end."""
    berth = Berth(tmp_path, "alpha", "h")
    berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=1, memory_inode=0)
    berth.tell(Mode.RUNNING)
    hold = Hold(bytes([ARMED]), Free(), berth.slots)
    others = deque(range(SLOTS))
    for number in (*others, SLOTS):
        assert hold.begin(number, 1)
    world = World(berth.seen())
    found: list[Stall] = []
    for look in range(1, 20):
        for number in range(look * SLOTS + 1, (look + 1) * SLOTS + 1):
            assert hold.begin(number, 1)
            others.append(number)
            hold.end(others.popleft())
        berth.beat()
        world.engines["alpha"] = berth.seen()
        found += world.look()
    assert [(stall.what, stall.mark) for stall in found] == [(What.SEND, SLOTS)]
    berth.close()


class Free:
    """A running lock that nobody else wants."""

    def shared(self) -> bool:
        """Taken."""
        return True

    def release(self) -> None:
        """Nothing to let go."""


def test_of_many_sends_the_oldest_is_told() -> None:
    """If several stand for too long, it is the one that has stood for longest, wherever it is in the roster."""
    engine = attrs.evolve(HEALTHY, sending=sends(1, 2, 3))
    before = Sight(engine=engine, first=engine, beat_ns=0, busy_ns=0, send_ns={1: 3 * S, 2: 2 * S, 3: 4 * S})
    stall = stalled(engine, before, 90 * S, PATIENT)
    assert stall is not None
    assert (stall.what, stall.mark, stall.for_ns) == (What.SEND, 2, 88 * S)


def test_what_moved_and_stands_again_is_told_again() -> None:
    """A second stall of the same engine is another one; so is the same one, when it has been started again over it."""
    world = World(HEALTHY)
    assert [stall.mark for stall in world.looks(10, beating=False)] == [0]
    world.beat()
    assert [stall.mark for stall in world.looks(10, beating=False)] == [1]
    world.set(mode=Mode.HALTED, held=False)
    assert world.looks(10, beating=False) == []
    world.set(mode=Mode.RUNNING, held=True)
    assert [stall.mark for stall in world.looks(10, beating=False)] == [1]


def test_each_engine_for_itself() -> None:
    """One that gets on does not speak for one that does not."""
    world = World(HEALTHY, attrs.evolve(HEALTHY, name="beta", pid=7))
    found = []
    for _ in range(10):
        world.beat("alpha")
        found += world.look()
    assert [(stall.engine.name, stall.engine.pid) for stall in found] == [("beta", 7)]


@pytest.mark.parametrize(
    ("fields", "is_watched"),
    [
        ({"mode": Mode.RUNNING, "held": True}, True),
        ({"mode": Mode.RUNNING, "held": False}, True),
        ({"mode": Mode.HALTED, "held": True}, True),
        ({"mode": Mode.IDLE, "held": True}, True),
        ({"mode": Mode.IDLE, "held": False}, False),
        ({"mode": Mode.HALTED, "held": False}, False),
        ({"attached": False}, False),
    ],
)
def test_who_is_watched(fields: dict[str, Any], is_watched: bool) -> None:
    """Whoever may be sending, or begin to, and nobody else."""
    world = World(attrs.evolve(HEALTHY, **fields))
    assert (world.looks(10, beating=False) != []) is is_watched
    assert len(world.dog.engines) == is_watched


def test_start_begins_a_new_count() -> None:
    """An engine that stood idle for long has its whole limit from its start."""
    world = World(attrs.evolve(HEALTHY, mode=Mode.IDLE, held=False))
    assert world.looks(100, beating=False) == []
    world.set(mode=Mode.RUNNING, held=True)
    assert world.looks(5, beating=False) == []
    assert [stall.what for stall in world.looks(1, beating=False)] == [What.BEAT]


@pytest.mark.parametrize("fields", [{"pid": 8}, {"started": 9}, {"namespace": 3}, {"run": "r2"}])
def test_another_process_under_the_name(fields: dict[str, Any]) -> None:
    """A process that follows another under the same name, with the same marks, does not inherit its standing still."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1, sending=sends(1)))
    assert world.looks(5, beating=False) == []
    world.set(**fields)
    assert world.looks(5, beating=False) == []


@given(beat_ns=st.integers(0, 2**64 - 1), for_ns=st.integers(0, 2**64 - 1))
def test_stamps_are_not_believed(beat_ns: int, for_ns: int) -> None:
    """No time stamp in the roster, however old or far ahead, makes a stall or hides one: only what was seen counts."""
    world = World(attrs.evolve(HEALTHY, beat_ns=beat_ns, sending=sends(1, for_ns=for_ns)))
    assert world.looks(5) == []
    world.set(sending=())
    assert [stall.what for stall in world.looks(5, beating=False)] == [What.BEAT]


def test_time_of_day_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Setting the clock back or forward changes nothing, because rule and roster ask the monotonic clock alone."""

    def never() -> float:
        raise AssertionError

    for form in (Watchdog, WatchThread, Watch):
        assert signature(form).parameters["clock"].default is time.monotonic_ns
    berth = Berth(tmp_path, "alpha", "h")
    berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=1, memory_inode=0)
    berth.tell(Mode.RUNNING)
    for name in ("time", "time_ns"):
        monkeypatch.setattr(time, name, never)
    limits = Limits(beat_s=0.001, busy_s=0.001, send_s=0.001, interval_s=0.0001)
    dog = Watchdog(lambda: roster.engines(tmp_path), limits)
    berth.busy(time.monotonic_ns())
    found: tuple[Stall, ...] = ()
    for _ in range(100_000):
        berth.beat()
        found = found or dog.look()
    assert found[0].what is What.BUSY
    berth.close()


# -- A watchdog that did not run -------------------------------------------------------------------


def test_late_look_trips_nobody() -> None:
    """After a gap every engine has until the next look; who stands still then is told, and the gap with it."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1))
    assert world.looks(8) == []
    assert world.look(3600) == ()
    assert world.dog.late_ns == 3600 * S
    (stall,) = world.looks(2)
    assert stall.what is What.BUSY
    assert stall.for_ns < 10 * S
    assert world.dog.late_ns == 0


def test_engine_that_was_suspended_too_is_not_told() -> None:
    """Watchdog and engine are suspended together, the engine gets on when both are resumed: no stall."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1))
    assert world.looks(8) == []
    assert world.look(3600) == ()
    world.set(busy_ns=2)
    assert world.looks(8) == []


def test_slow_look_counts_on_the_safe_side() -> None:
    """While a look lasts the engine may have moved: that time is never taken for standing still."""
    world = World(HEALTHY, read_ns=S)  # seen at the very end of each look
    world.look()
    world.read_ns = 0
    assert [world.look(2), world.look(2)] == [(), ()]
    world.read_ns = S
    assert world.look(1e-9)[0].for_ns == 4 * S + 1
    world = World(HEALTHY)
    world.look()
    world.read_ns = S
    assert [world.look(2), world.look(1)] == [(), ()]  # the second one begins after four seconds, and ends after five
    assert world.look(1e-9)[0].for_ns == 5 * S + 1


def test_gap_within_a_look_is_a_gap() -> None:
    """A watchdog that is suspended between its clock and the roster is late as well."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1))
    assert world.looks(8) == []
    world.read_ns = 3600 * S
    assert world.looks(1) == []
    assert world.dog.late_ns == 3600 * S
    world.read_ns = 0
    assert [stall.what for stall in world.looks(2)] == [What.BUSY]


@pytest.mark.parametrize("interval_s", [0.001, 0.25, 1.0])
def test_suspended_time_and_again_is_not_told(interval_s: float) -> None:
    """An engine that is suspended with its watchdog and beats soon after is never told, however often that is."""
    world = World(HEALTHY, limits=attrs.evolve(PATIENT, interval_s=interval_s))
    for _ in range(20):
        assert world.look(6) == ()  # resumed; the engine comes after the watchdog
        for _ in range(round(0.5 / interval_s)):
            assert world.look(interval_s) == ()
        world.beat()
        for _ in range(round(1 / interval_s)):
            assert world.look(interval_s) == ()


def test_what_a_late_look_finds_is_told_by_a_later_one() -> None:
    """Only a late look saw the engine stand still; it is told when it still does after a while without a gap."""
    world = World(HEALTHY)
    world.look()
    assert [world.look(6), world.look(0.1), world.look(6)] == [(), (), ()]
    assert [world.look(0.4), world.look(0.5)] == [(), ()]
    (stall,) = world.look(0.1)
    assert (stall.what, stall.late_ns) == (What.BEAT, 0)
    assert stall.for_ns > 6 * S


def test_gap_makes_no_second_stall_of_one() -> None:
    """What was told is not told again because a look was late in between."""
    world = World(HEALTHY)
    assert len(world.looks(8, beating=False)) == 1
    assert world.look(6) == ()
    assert world.looks(8, beating=False) == []


@pytest.mark.parametrize("gaps_s", [(3.0,), (1000.0,), (1.0, 1000.0), (0.5, 3.0, 1000.0)])
def test_always_late_trips_all_the_same(gaps_s: tuple[float, ...]) -> None:
    """On a machine on which looks are late time and again a stall is told, and it says that they were."""
    world = World(HEALTHY)
    for number in range(30):
        found = world.look(gaps_s[number % len(gaps_s)])
        if found:
            break
    else:
        pytest.fail("never told")
    if min(gaps_s) > 2:
        assert "the watchdog itself did not run for" in found[0].reason


def halves(most_s: int) -> st.SearchStrategy[int]:
    """Half seconds, so that things coincide often."""
    return st.integers(0, 2 * most_s).map(lambda count: count * S // 2)


@given(
    gaps=st.lists(st.tuples(halves(6), halves(3)), min_size=1, max_size=60),
    moves=st.lists(halves(9), min_size=1, max_size=60),
)
def test_told_means_stood(gaps: list[tuple[int, int]], moves: list[int]) -> None:
    """Whenever looks come and however long they take: what is told to have stood for so long really did."""
    begun = 1_000 * S
    times: list[int] = []
    at = begun
    for move in moves:
        at += move
        times.append(at)
    now = begun

    def shown() -> Engine:
        return attrs.evolve(HEALTHY, beats=sum(moment <= now for moment in times))

    def read() -> tuple[Engine]:
        nonlocal now
        now += taken // 2
        engine = shown()
        now += taken - taken // 2
        return (engine,)

    taken = 0
    dog = Watchdog(read, PATIENT, lambda: now)
    for gap, taken in gaps:
        now += gap
        for stall in dog.look():
            seen_at = now - (taken - taken // 2)
            stood_since = max([begun, *(moment for moment in times if moment <= seen_at)])
            assert 4 * S < stall.for_ns <= seen_at - stood_since


# -- What vanished ---------------------------------------------------------------------------------


def test_engine_that_vanishes_from_the_roster_gets_no_further(tmp_path: Path) -> None:
    """A roster file that is deleted under a living engine is no way out; when its process has gone, it is."""
    berth = Berth(tmp_path, "alpha", "h")
    berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=1, memory_inode=0)
    berth.tell(Mode.RUNNING)
    alive = berth.seen()
    assert alive.same_process()
    for engine, told in ((alive, [What.BEAT]), (HEALTHY, [])):
        world = World(engine)
        assert world.looks(2) == []
        del world.engines["alpha"]
        assert [stall.what for stall in world.looks(10)] == told
    berth.close()


def test_berth_shows_itself_as_others_see_it(tmp_path: Path) -> None:
    """What the thread form reads from memory is what another process reads from the file."""
    berth = Berth(tmp_path, "alpha", "h")
    berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=2, memory_inode=0)
    berth.tell(Mode.RUNNING)
    berth.beat()
    berth.busy(5)
    assert berth.seen() == roster.look(tmp_path, "alpha")
    (tmp_path / "alpha").unlink()
    assert berth.seen().busy_ns == 5
    berth.close()


def test_settled_needs_every_send_named() -> None:
    """As long as there are sends that nobody can name, nobody can know that those of the first look have ended."""
    world = World(attrs.evolve(HEALTHY, sending=sends(1), unnamed=1))
    for number in range(2, 5):
        world.looks(1)
        world.set(sending=sends(number), unnamed=1)
        assert not world.dog.settled
    world.set(sending=sends(6), unnamed=0)
    world.looks(1)
    assert not world.dog.settled
    world.set(sending=sends(7), unnamed=1)
    world.looks(1)
    assert world.dog.settled


def test_settled_needs_a_move_of_everything() -> None:
    """Nobody has got on whose tick or send of the first look is still there."""
    world = World(attrs.evolve(HEALTHY, busy_ns=1, sending=sends(1)))
    world.looks(2)
    assert not world.dog.settled
    world.set(busy_ns=0)
    world.looks(1)
    assert not world.dog.settled
    world.set(sending=sends(2))
    world.looks(1)
    assert world.dog.settled


@pytest.mark.parametrize(
    "wrong",
    [
        {"beat_s": 0},
        {"busy_s": -1},
        {"send_s": float("nan")},
        {"beat_s": float("inf")},
        {"interval_s": 0},
        {"interval_s": 2},
    ],
)
def test_limits_that_are_none(wrong: dict[str, float]) -> None:
    """Zero, a negative number, a NaN, for ever, and an interval that misses what it is to see, are refused."""
    with pytest.raises(ValueError, match=r"expected seconds|the interval"):
        Limits(**wrong)


# -- The thread form -------------------------------------------------------------------------------


class Ticking:
    """A clock that goes on by a second with each look, once it is let go."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.going = threading.Event()

    def __call__(self) -> int:
        """Nanoseconds."""
        if self.going.is_set():
            self.now_ns += S // 2
        return self.now_ns


FAST: Final = Limits(beat_s=4, busy_s=4, send_s=4, interval_s=0.005)


class Ordering:
    """A strategy that does something before it answers with an order."""

    def __init__(self, before: Callable[[], object]) -> None:
        self.before = before

    def on_tick(self, _: Quote) -> Iterable[Any]:
        """One order."""
        self.before()
        return (order("a"),)


class OneTick:
    """A feed of one tick."""

    async def batches(self) -> Any:
        """It."""
        yield (Quote(instrument=NAME, ts_us=time.time_ns() // 1000, bid=order("x").price, ask=order("x").price),)  # type: ignore[arg-type] # it has one


class Keeping:
    """A gateway; its sends do something first.

    Attributes:
        taken: the orders.
    """

    def __init__(self, before: Callable[[], Any]) -> None:
        self.before = before
        self.taken: list[str] = []

    async def send(self, permit: Permit) -> None:
        """Take the order."""
        self.taken.append(permit.redeem().client_order_id)
        await self.before()

    async def cancel(self, _: object) -> None:
        """Nothing rests here."""


@pytest.mark.parametrize(
    ("hang", "limits", "words"),
    [
        ("strategy", FAST, " for 4."),
        ("await", FAST, "the send of permit "),
        ("await", attrs.evolve(FAST, send_s=3600), "the loop is at work on one tick for 4."),
    ],
)
def test_thread_halts_a_hung_loop(tmp_path: Path, hang: str, limits: Limits, words: str) -> None:
    """A strategy that never returns, and an await that never comes back while heartbeats go on, are halted."""
    arm(tmp_path / "home", LIMITS.replace("max_tick_age_ms = 1000", 'max_tick_age_ms = "off"'))
    clock = Ticking()
    beats: list[int] = []

    async def main() -> None:
        with attach(tmp_path / "home", engine="alpha") as kernel:
            berth = kernel._sentinel.berth
            thread = WatchThread(kernel, berth.seen, limits, clock=clock)
            halt = kernel.halt

            def halt_and_end(*given: Any, **named: Any) -> object:
                try:
                    return halt(*given, **named)
                finally:
                    thread.end()

            kernel.halt = halt_and_end  # type: ignore[method-assign, assignment] # so that the hung strategy is let go
            thread.start()

            def stuck() -> None:
                clock.going.set()
                thread.join(PATIENCE_S)
                assert not thread.is_alive()

            async def never() -> None:
                clock.going.set()
                while kernel.mode is not Mode.HALTED:  # the loop goes on beating
                    beats.append(berth.beats)
                    await asyncio.sleep(0)

            strategy = Ordering(stuck if hang == "strategy" else lambda: None)
            gateway = Keeping(never)
            loop = Loop(kernel, feed=OneTick(), strategy=strategy, gateway=gateway, heartbeat_s=0.0001)
            async with asyncio.timeout(PATIENCE_S):
                await loop.run(signals=False)
            thread.join(PATIENCE_S)
            kernel.heartbeat()
            assert kernel.cause is not None
            assert kernel.cause.code is HaltCode.STALLED
            assert kernel.cause.source == "watchdog"
            assert kernel.cause.reason.startswith(f"engine alpha, pid {os.getpid()}: ")
            assert words in kernel.cause.reason
            assert gateway.taken == ([] if hang == "strategy" else ["a"])
            if hang == "await":
                assert beats[-1] > beats[0]

    asyncio.run(main())
    assert [record["code"] for record in of_kind(tmp_path / "home", "halt", "alpha")] == ["STALLED"]


class Halted:
    """What a thread halts.

    Attributes:
        calls: its halts.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, HaltCode]] = []

    def halt(self, reason: str, *, code: HaltCode, source: str, timeout_s: float) -> None:
        """Note it."""
        assert (source, timeout_s) == ("watchdog", 0.5)
        self.calls.append((reason, code))


def test_thread_that_fails_halts() -> None:
    """What nobody watches any more must not run."""

    def broken() -> Engine:
        raise ValueError("the mapping is gone")

    kernel = Halted()
    thread = WatchThread(kernel, broken, FAST, timeout_s=0.5)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert kernel.calls == [("the watchdog failed: ValueError: the mapping is gone", HaltCode.INTERNAL)]


def test_thread_that_failed_is_no_longer_at_its_post() -> None:
    """While its last halt still waits for its confirmation the thread lives, and watches nobody any more."""
    inside, out = threading.Event(), threading.Event()

    class Slow:
        def halt(self, *_: object, **__: object) -> None:
            inside.set()
            out.wait(PATIENCE_S)

    kernel = Slow()
    thread = WatchThread(kernel, lambda: HEALTHY, FAST, timeout_s=0.5, clock=lambda: 0)
    thread.start()
    assert thread.watching
    thread.watchdog._read = broken
    assert inside.wait(PATIENCE_S)
    assert thread.is_alive()
    assert not thread.watching
    out.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def broken() -> Any:
    """No roster."""
    raise MemoryError("no memory")


def test_start_posts_the_watchdog_again(tmp_path: Path) -> None:
    """A watchdog that failed, and halted for it, watches again from the next start, and would fail and halt again."""
    arm(tmp_path / "home")
    limits = Limits(beat_s=3600, busy_s=3600, send_s=3600, interval_s=0.001)
    with attach(tmp_path / "home", watch=limits) as kernel:
        for epoch in (1, 2):
            assert kernel.start()
            thread = kernel._watch
            assert thread is not None
            assert thread.watching
            thread.watchdog._read = broken
            thread.join(PATIENCE_S)
            assert kernel.mode is Mode.HALTED
            kernel.reset(operator="bob", reason="looked into", epoch=epoch)


def test_thread_keeps_no_kernel_alive() -> None:
    """With the last reference to the kernel the thread ends."""
    kernel = Halted()
    thread = WatchThread(kernel, lambda: HEALTHY, FAST, timeout_s=0.5, clock=lambda: 0)
    thread.start()
    gone = weakref.ref(kernel)
    del kernel
    gc.collect()
    thread.join(PATIENCE_S)
    assert gone() is None
    assert not thread.is_alive()


def test_thread_that_was_ended_halts_nobody() -> None:
    """A stall that is seen while the kernel detaches is nobody's business; `end` may be called from anywhere."""
    kernel = Halted()

    def read() -> Engine:
        thread.end()
        raise ValueError

    thread = WatchThread(kernel, read, FAST, timeout_s=0.5)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert kernel.calls == []


def test_thread_is_not_late_for_its_own_halt() -> None:
    """The time that its halt waited for a confirmation is no gap; what is longer than it may wait is one."""
    clock = Ticking()
    clock.going.set()
    lates: list[int] = []

    class Slow:
        def __init__(self, takes_s: int) -> None:
            self.takes_s = takes_s

        def halt(self, *_: object, **__: object) -> None:
            lates.clear()
            clock.now_ns += self.takes_s * S

    def read() -> Engine:
        lates.append(thread.watchdog.late_ns)
        if len(lates) == 50:
            thread.end()
        return HEALTHY

    for takes_s, late_s in ((3, 0), (9, 7)):  # with half a second for each of two looks at the clock
        kernel = Slow(takes_s)
        thread = WatchThread(kernel, read, FAST, timeout_s=3, clock=clock)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert sum(lates) == late_s * S
        lates.clear()


def test_thread_tells_a_stall_once() -> None:
    """It goes on looking after a halt, and does not halt again for the same."""
    kernel, clock = Halted(), Ticking()
    clock.going.set()
    after: list[Engine] = []

    def read() -> Engine:
        if kernel.calls:
            after.append(HEALTHY)
        if len(after) == 100:
            thread.end()
        return HEALTHY

    thread = WatchThread(kernel, read, FAST, timeout_s=0.5, clock=clock)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [code for _, code in kernel.calls] == [HaltCode.STALLED]


class Waited:
    """The end of a thread, which remembers how long it was waited for."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        self.waits: list[float] = []

    def is_set(self) -> bool:
        """Whether it has come."""
        return self.left <= 0

    def wait(self, seconds: float) -> bool:
        """Wait."""
        self.waits.append(seconds)
        self.left -= 1
        return self.is_set()


def test_thread_is_a_daemon_that_waits_between_its_looks() -> None:
    """It holds up no exit, has a name, is at its post only when started, and looks once an interval."""
    kernel = Halted()
    thread = WatchThread(kernel, lambda: HEALTHY, PATIENT, clock=lambda: 0)
    assert (thread.daemon, thread.name, thread.watching) == (True, "interlock-watch", False)
    thread._over = over = Waited(3)  # type: ignore[assignment]
    thread.run()
    assert (over.waits, kernel.calls) == ([1, 1, 1], [])


def test_halt_waits_two_seconds_for_its_confirmation_unless_said() -> None:
    """A thread that is told nothing else gives its halt two seconds."""
    given: list[tuple[str, HaltCode, str, float]] = []

    class Asked(Halted):
        """What notes all that it is told."""

        def halt(self, reason: str, *, code: HaltCode, source: str, timeout_s: float) -> None:
            """Note it."""
            given.append((reason, code, source, timeout_s))

    kernel = Asked()
    thread = WatchThread(kernel, lambda: HEALTHY, PATIENT)
    thread._halt("stalled", HaltCode.STALLED)
    assert given == [("stalled", HaltCode.STALLED, "watchdog", 2.0)]
    thread.end()
    thread._halt("stalled", HaltCode.STALLED)  # who has ended halts nobody
    assert len(given) == 1


def test_kernel_that_goes_between_look_and_halt_is_not_missed() -> None:
    """A stall of an engine that nobody holds any more halts nothing, and is no failure of the thread."""
    kernel = Halted()
    thread = WatchThread(kernel, lambda: HEALTHY, PATIENT)
    del kernel
    gc.collect()
    thread._halt("stalled", HaltCode.STALLED)
    thread.run()
    assert not thread._failed
