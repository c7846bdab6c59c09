"""``interlock watch``: the watchdog from a process of its own.

It looks at the roster of a home, and halts the home when an engine does not get on: the same halt that an operator
makes, with code STALLED, and with SIGKILL for what does not drain, unless told otherwise.

An engine that has let go, and whose loop hangs, stays attached: it is told, and gets SIGKILL after a grace, if that was
asked for (`stragglers`).

What it must survive: that the home vanishes and comes back, engines that come and go, a reader of its report that hangs
or goes away. It owes a halt until that is confirmed and durable, or somebody reset the home meanwhile, or there is no
home and every engine that stalled is gone. It may be killed at any step: a halt is made so that any other
watchdog, or ``interlock halt``, finishes it. It holds no lock but a halt's.

SIGTERM and SIGINT are only taken down, and looked at between two looks, so they never cut a halt off in its midst.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from interlock.breaker import latch as latches
from interlock.breaker.home import Home, HomeError, boot_id
from interlock.breaker.kill import longest_s
from interlock.breaker.notify import sd_notify
from interlock.breaker.outstanding import end
from interlock.breaker.roster import engines, look
from interlock.breaker.watchdog import Limits, Stall, Watchdog, span_ns
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode
from interlock.journal.records import text
from interlock.ops.exits import Exit
from interlock.ops.stragglers import News, Stragglers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.breaker.latch import Latch
    from interlock.breaker.quiet import Quiet
    from interlock.breaker.roster import Engine
    from interlock.ops.stragglers import Straggler

__all__ = ["Plan", "Teller", "Watch", "watch"]

_AGAIN_S: Final = 1.0
_MOST_WAITING: Final = 1000
_LAST_WORDS_S: Final = 1.0


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be watched, and how.

    Attributes:
        home: the directory.
        limits: for how long what may stand still.
        timeout_s: how long a halt waits for quiet before it escalates.
        escalate: SIGKILL what did not drain by then, and what hangs when ``grace_s`` is over.
        grace_s: how long an engine that has let go may stay attached with a loop that hangs: at least as long as the
            stop of its halt may take.
        once: end as soon as every engine has got on, or was halted.
        operator: who answers for it; stands in the latch.
        json: one JSON object a line.
    """

    home: Path
    limits: Limits
    timeout_s: float
    escalate: bool
    once: bool
    operator: str
    json: bool
    grace_s: float = 60.0
    grace_ns: int = attrs.field(init=False)

    @grace_ns.default
    def _grace(self) -> int:
        return span_ns(self.grace_s)


class Teller:
    """Writes lines from a thread of its own: who reads them may hang, or go away, and nothing waits for that.

    Args:
        descriptor: where to; None: there is nobody to be told.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, daemon=True, name="interlock-tell")
        self._thread.start()

    def say(self, line: bytes) -> None:
        """Write a line, some time; if too many wait already it is lost."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            return

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            view = memoryview(line + b"\n")
            try:
                while view and self._descriptor is not None:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:  # the reader is gone, the disk is full: the next line may do better
                continue

    def end(self) -> None:
        """Let the last words out, for a moment."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_LAST_WORDS_S)


class Watch:
    """One watchdog over one home.

    Args:
        plan: what to do.
        say: takes each line of the report.
        clock: nanoseconds that never go back.
    """

    def __init__(
        self, plan: Plan, say: Callable[[bytes], object], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.plan = plan
        self.home = Home(plan.home)
        self.watchdog = Watchdog(self._read, plan.limits, clock)
        self.outcome = Exit.FINE
        self._say = say
        self._clock = clock
        self._roster: tuple[Engine, ...] = ()
        self._stragglers = Stragglers(busy_ns=plan.limits.busy_ns, grace_ns=plan.grace_ns)
        self._known: dict[str, int] = {}
        self._there = True
        self._owed: tuple[Stall, ...] = ()
        self._again_ns = 0
        self._reached = False
        self._last: dict[str, object] = {}

    def step(self) -> None:
        """Look once, halt the home if that is called for, and end who hangs on."""
        now_ns = self.watchdog.watched_ns
        stalls = self.watchdog.look()
        at_ns = self.watchdog.watched_ns
        if self.watchdog.late_ns:
            self._tell("late", for_ns=self.watchdog.late_ns)
        if stalls:
            if not self._owed:
                self._reached = False
            self._owed += stalls
            self._halt()  # before anything is told
            for stall in stalls:
                self._tell_stall(stall)
            self._tell("halt", **self._last)
        elif self._owed and self._clock() >= self._again_ns:
            self._once_more()
        if not self.watchdog.unsure:
            for news, straggler in self._stragglers.look(self._roster, stalls, now_ns=now_ns, at_ns=at_ns):
                self._follow(news, straggler)
        self._tell_changes()

    def _read(self) -> tuple[Engine, ...]:
        self._roster = tuple(engines(self.home.engines))
        return self._roster

    @property
    def done(self) -> bool:
        """Whether there is an answer, if it was to look once only."""
        return self.outcome is not Exit.FINE or self.watchdog.settled

    # -- Halting -----------------------------------------------------------------------------------

    def _once_more(self) -> None:
        """A halt is owed: try again, unless there is nothing left to halt."""
        if self._reached and self._armed():
            self._owed = ()
            self._tell("dropped", why="reset since")
            return
        before = _gist(self._last)
        self._halt()
        if _gist(self._last) != before:
            self._tell("halt", **self._last)
        if self._last["state"] == "NOT HALTED" and not self._reached and not self._alive():
            self._owed = ()
            self._tell("dropped", why="no home, and no engine that stalled is left")

    def _alive(self) -> bool:
        return any(stall.engine.same_process() for stall in self._owed)

    def _armed(self) -> bool:
        latch, fault, byte = self.home.latch_state()
        return fault is None and latch is not None and latch.state == latches.ARMED and byte == ARMED

    def _halt(self) -> None:
        """Halt the home; `_last` says what came of it."""
        reason = "; ".join(stall.reason for stall in self._owed)
        plan = self.plan

        def halted(armed: Latch) -> Latch:
            return attrs.evolve(
                armed,
                state=latches.HALTED,
                code=HaltCode.STALLED.value,
                reason=text(reason),
                source="watch",
                operator=plan.operator,
                ts_us=time.time_ns() // 1000,
                boot=boot_id(),
                mono_ns=time.monotonic_ns(),
            )

        sure = False
        said: dict[str, object] = {"code": HaltCode.STALLED.value, "reason": reason}
        try:
            quiet = self.home.halt(halted, plan.timeout_s, escalate=plan.escalate)
        except (HomeError, OSError) as error:
            said |= {"state": "NOT HALTED", "message": str(error)}
        else:
            sure = quiet.stopped and quiet.confirmed and quiet.durable
            self._reached = self._reached or quiet.stopped or quiet.durable
            said |= _quiet_as_json(quiet)
        self.watchdog.worked(longest_s(plan.timeout_s, escalate=plan.escalate))
        self._last = said
        self.outcome = Exit.HALTED if sure else Exit.UNCONFIRMED
        self._again_ns = self._clock() + int(_AGAIN_S * 1_000_000_000)
        if sure:
            self._owed = ()

    # -- Who has let go, and hangs -----------------------------------------------------------------

    def _follow(self, news: News, straggler: Straggler) -> None:
        engine = straggler.engine
        who: dict[str, object] = {"engine": engine.name, "pid": engine.pid}
        if news is News.HANGS:
            kills_in = self.plan.grace_s if self.plan.escalate else None
            self._tell("hangs", **who, what=str(straggler.what), kill_in_s=kills_in)
        elif news is News.MOVES:
            self._tell("moves", **who)
        elif self.plan.escalate and engine.pid not in {0, 1, os.getpid()}:
            problem = end(engine.pid, lambda: self._stands(straggler))
            self._tell("not killed", **who, message=problem) if problem else self._tell("killed", **who)

    def _stands(self, straggler: Straggler) -> bool:
        """Whether it hangs still, and its process is the one that was seen."""
        engine = look(self.home.engines, straggler.engine.name)
        return engine is not None and straggler.stands(engine) and engine.same_process()

    # -- Telling -----------------------------------------------------------------------------------

    def _tell_changes(self) -> None:
        try:
            self.home.require()
            there = True
        except HomeError:
            there = False
        if there is not self._there:
            self._there = there
            self._tell("home", there=there)
        known = {engine.name: engine.pid for engine in self.watchdog.engines}
        for name, pid in known.items():
            if self._known.get(name) != pid:
                self._tell("watched", engine=name, pid=pid)
        for name, pid in self._known.items():
            if name not in known:
                self._tell("left", engine=name, pid=pid)
        self._known = known

    def _tell_stall(self, stall: Stall) -> None:
        self._tell(
            "stall",
            engine=stall.engine.name,
            pid=stall.engine.pid,
            what=str(stall.what),
            for_ns=stall.for_ns,
            late_ns=stall.late_ns,
            reason=stall.reason,
        )

    def _tell(self, event: str, **said: object) -> None:
        if self.plan.json:
            line = orjson.dumps({"event": event, "home": text(str(self.plan.home)), **said})
        else:
            words = " ".join(f"{name}={_word(value)}" for name, value in said.items())
            line = f"{self.plan.home}: {event} {words}".encode(errors="backslashreplace")
        self._say(line)

    # -- All of it ---------------------------------------------------------------------------------

    def run(self, asked: int) -> Exit:
        """Watch until somebody asks for an end; or once.

        Args:
            asked: a descriptor that can be read then.
        """
        limits = self.plan.limits
        self._tell("watching", beat_s=limits.beat_s, busy_s=limits.busy_s, send_s=limits.send_s)
        ready = False
        while True:
            self.step()
            ready = ready or sd_notify("READY=1")
            sd_notify("WATCHDOG=1")  # there was a whole look
            if self.plan.once and self.done:
                return self.outcome
            if select.select([asked], [], [], limits.interval_s)[0]:
                sd_notify("STOPPING=1")
                self._tell("stopping", owed=len(self._owed))
                return Exit.FINE


def _quiet_as_json(quiet: Quiet) -> dict[str, object]:
    """What a halt reached, as plain data."""
    state = "HALTED" if quiet.stopped or quiet.durable else "NOT HALTED"
    return {
        "state": state,
        "stopped": quiet.stopped,
        "durable": quiet.durable,
        "confirmed": quiet.confirmed,
        "waiting": [attrs.asdict(who) for who in quiet.waiting],
        "killed": [attrs.asdict(who) for who in quiet.killed],
        "message": quiet.message,
        "called_ns": quiet.called_ns,
        "stopped_ns": quiet.stopped_ns,
        "durable_ns": quiet.durable_ns,
        "confirmed_ns": quiet.confirmed_ns,
    }


def _gist(said: dict[str, object]) -> list[object]:
    """What of it is news if it changes: ages do, and with them the message."""
    waiting = said.get("waiting")
    who = [(one["engine"], one["pid"]) for one in waiting] if isinstance(waiting, list) else said.get("message")
    return [*(said.get(name) for name in ("state", "stopped", "durable", "confirmed", "killed")), who]


def _word(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def watch(plan: Plan) -> Exit:
    """Watch a home. The signals that it takes down have no other effect any more: the process is to end with it.

    Raises:
        HomeError: there is no home.
    """
    Home(plan.home).require()
    asked, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # not sigtimedwait: interrupted by SIGCONT, it may return what is none
    out = sys.__stdout__  # None if it was closed: another file has its descriptor by now
    teller = Teller(None if out is None else out.fileno())
    try:
        return Watch(plan, teller.say).run(asked)
    finally:
        teller.end()
