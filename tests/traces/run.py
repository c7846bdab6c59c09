"""One run: real processes on one home, driven through starts, halts and resets while a plan's faults strike them.

The supervisor forks them, tells them what to do, and waits for what they say: with a bound on each wait, and no
sleep. A process that is struck is a case, not an error: it is let go when the plan says so, reaped, started again.
What the run was is in the logs.
"""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
from orjson import dumps
from tests.helpers import arm
from tests.traces import bugs, roles, traced
from tests.traces.log import Fault, Log, now
from tests.traces.plan import ENGINES, KILLERS, OPERATOR, Plan

from interlock.breaker.home import Home
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PATIENCE_S: Final = 10.0  # a bound for what must happen at once; only a broken run gets there
_SETTLE_S: Final = 1.0  # a bound for what may not happen, because something is struck
_LAST: Final = "m"  # the killer that comes last, and finishes what others began
_ANSWER: Final = {"start": "started", "beat": "beat", "halt": "quiet", "reset": "reset"}


class RunError(Exception):
    """The run did not do what every run must, whatever strikes it."""


@attrs.define(kw_only=True)
class Child:
    """A process of the run, as the supervisor sees it."""

    who: str
    pid: int
    orders: int
    words: int
    alive: bool = True
    stopped: bool = False
    until: str = ""
    paused: list[tuple[str, str]] = attrs.field(factory=list)
    owes: set[str] = attrs.field(factory=set)
    said: list[str] = attrs.field(factory=list)
    buffer: bytes = b""

    @property
    def struck(self) -> bool:
        """Whether it can't answer just now."""
        return not self.alive or self.stopped or bool(self.paused)

    def has_said(self, *words: str) -> list[str] | None:
        """The first line that begins so, taken."""
        for at, line in enumerate(self.said):
            if line.split()[: len(words)] == list(words):
                return self.said.pop(at).split()
        return None


class Run:
    """One run.

    Args:
        plan: what is to happen.
        directory: an empty one, for the home and the logs.

    Attributes:
        confirmed: whether the last halt was, with everybody let go.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.home = directory / "home"
        self.logs = directory / "logs"
        self.confirmed = False
        self._gates = directory / "gates"
        self._children: dict[str, Child] = {}
        self._all: list[Child] = []
        self._epoch = 1
        self._policies: tuple[str, ...] = ("seen",)
        self.logs.mkdir(parents=True)
        self._gates.mkdir()
        self._file = os.open(self.logs / "supervisor.ndjson", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    # -- Processes ---------------------------------------------------------------------------------

    def _fork(self, who: str, *, again: bool = False) -> Child:
        orders, told = os.pipe()
        heard, words = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                for child in self._all:
                    for end in (child.orders, child.words):
                        with suppress(OSError):
                            os.close(end)
                os.close(told)
                os.close(heard)
                self._play(who, roles.Ends(orders, words, self._gates), again=again)
                code = 0
            except BaseException:  # noqa: BLE001 - whatever it was, the supervisor reads it
                (self.logs / f"{who}-{os.getpid()}.error").write_text(traceback.format_exc(), encoding="utf-8")
            finally:
                os._exit(code)
        os.close(orders)
        os.close(words)
        child = Child(who=who, pid=pid, orders=told, words=heard)
        self._children[who] = child
        self._all.append(child)
        return child

    def _play(self, who: str, ends: roles.Ends, *, again: bool) -> None:
        faults: Iterable[Fault] = () if again else self.plan.faults
        log = Log(self.logs / f"{who}-{os.getpid()}.ndjson", who, faults, ends)
        traced.install(log)
        if who in ENGINES:
            roles.engine(self.home, log, ends, bug=self.plan.bug, again=again)
        elif who == OPERATOR:
            roles.operator(self.home, log, ends, bug=self.plan.bug)
        else:
            roles.killer(self.home, log, ends, bug=self.plan.bug)

    def _note(self, **record: object) -> None:
        os.write(self._file, dumps(record) + b"\n")

    def _tell(self, who: str, *words: object) -> Child:
        child = self._children[who]
        child.owes.add(_ANSWER.get(str(words[0]), ""))
        with suppress(BrokenPipeError):
            os.write(child.orders, (" ".join(map(str, words)) + "\n").encode())
        return child

    # -- Waiting -----------------------------------------------------------------------------------

    def _until(self, holds: Callable[[], bool], limit_s: float, what: str = "") -> bool:
        """Pump until it holds; False at the bound, or an error if there is a name for what had to hold."""
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() >= deadline:
                if what:
                    state = {c.who: (c.alive, c.stopped, c.paused, c.said) for c in self._children.values()}
                    message = f"{self.plan.name}: {what}: {state}"
                    raise RunError(message)
                return False
            self._pump()
        return True

    def _pump(self) -> None:
        living = {child.words: child for child in self._all if child.alive}
        ready, _, _ = select.select(list(living), [], [], 0.002)
        for end in ready:
            self._hear(living[end])
        for child in self._all:
            if child.alive:
                self._reap(child)

    def _hear(self, child: Child) -> None:
        more = os.read(child.words, 65536)
        *lines, child.buffer = (child.buffer + more).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["paused", _, until, gate]:
                    child.paused.append((until, gate))
                case ["stopping", _, until]:
                    child.until = until
                case _:
                    child.said.append(line.decode())
        self._let_go(*self._policies)

    def _reap(self, child: Child) -> None:
        found = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG)
        if found is None:
            return
        if found.si_code == os.CLD_STOPPED:
            child.stopped = True
            self._note(stopped=child.pid, who=child.who, at=now())
            self._let_go(*self._policies)
            return
        self._note(died=child.pid, who=child.who, at=now(), status=found.si_status)
        while select.select([child.words], [], [], 0)[0]:
            before = len(child.said), child.buffer
            self._hear(child)
            if (len(child.said), child.buffer) == before:
                break
        child.alive = child.stopped = False
        child.paused.clear()
        error = self.logs / f"{child.who}-{child.pid}.error"
        if error.exists():
            raise RunError(error.read_text(encoding="utf-8"))

    def _let_go(self, *policies: str) -> None:
        for child in self._all:
            if not child.alive:
                continue
            for until, gate in [one for one in child.paused if one[0] in policies]:
                child.paused.remove((until, gate))
                with suppress(OSError):  # it was killed meanwhile
                    end = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
                    os.write(end, b"g")
                    os.close(end)
            if child.stopped and child.until in policies:
                lo = now()
                os.kill(child.pid, signal.SIGCONT)
                child.stopped = False
                self._note(resumed=child.pid, who=child.who, lo=lo, at=now())

    # -- The story ---------------------------------------------------------------------------------

    def play(self) -> None:
        """All of it. The processes are gone when this returns, however it does.

        Raises:
            RunError: something that must happen did not.
        """
        arm(self.home)
        if self.plan.bug == "shared-description":
            bugs.shared_descriptor = os.open(self.home / "lock", os.O_RDWR)
        try:
            for who in ENGINES:
                self._fork(who)
            _unshare()
            for who in (*KILLERS, _LAST, OPERATOR):
                self._fork(who)
            self._ready(self._all)
            for phase in range(self.plan.phases):
                self._start()
                self._halt()
                if phase + 1 < self.plan.phases:
                    self._reset()
            self._finish()
        finally:
            self._end()

    def _ready(self, children: Iterable[Child]) -> None:
        children = list(children)
        waiting = {child.pid for child in children}

        def all_ready() -> bool:
            waiting.difference_update(c.pid for c in children if c.struck or c.has_said("ready"))
            return not waiting

        self._until(all_ready, _PATIENCE_S, "not ready")

    def _answered(self, who: Iterable[str], word: str, limit_s: float = _PATIENCE_S) -> dict[str, list[str]]:
        """What each said, of those that were asked and can say anything."""
        names = [name for name in who if word in self._children[name].owes]
        heard: dict[str, list[str]] = {}

        def all_heard() -> bool:
            for name in names:
                child = self._children[name]
                if name not in heard and (said := child.has_said(word)):
                    heard[name] = said
                    child.owes.discard(word)
            return all(name in heard or self._children[name].struck for name in names)

        self._until(all_heard, limit_s)
        return heard

    def _engines(self) -> list[str]:
        return [name for name in ENGINES if self._children[name].alive]

    def _start(self) -> None:
        """Start the engines, and let them send."""
        for name in self._engines():
            self._children[name].said.clear()
            self._tell(name, "start")
        started = self._answered(self._engines(), "started", _SETTLE_S)
        running = [name for name, said in started.items() if said[1] == "True"]

        def sending() -> bool:
            return all(
                self._children[name].struck or sum(line.startswith("sending") for line in self._children[name].said) > 1
                for name in running
            )

        self._until(sending, _SETTLE_S)

    def _halt(self) -> None:
        """Both killers, and perhaps an engine. Then those go on that were to wait for the ack."""
        if self.plan.replace_lock:
            fresh = self.home / "lock.fresh"
            fresh.touch(mode=0o600)
            fresh.rename(self.home / "lock")
        for name in self.plan.self_halt:
            self._tell(name, "halt", self.plan.timeout_s)
        patience_s = self.plan.timeout_s + 5 if self.plan.escalate else self.plan.timeout_s + _SETTLE_S
        for name in KILLERS:
            if self._children[name].alive:
                self._tell(name, "halt", self.plan.timeout_s, name in self.plan.escalate)
            if not self.plan.both:
                self._answered([name], "quiet", patience_s)
        self._answered(KILLERS, "quiet", patience_s)
        self._let_go("ack")
        self._answered(KILLERS, "quiet", patience_s)

    def _reset(self) -> None:
        """By the operator, who sees to it that all is quiet first; those that are out may be held all the while."""
        if self.plan.respawn == "before":
            self._respawn()
        if self.plan.reset and not self._reset_once():
            self._let_go("ack", "reset")
            self._last_halt(escalate=True)
            self._reset_once()
        self._let_go("ack", "reset")
        self._answered(KILLERS, "quiet", self.plan.timeout_s + _SETTLE_S)
        self._respawn()
        for name in self._engines():
            self._tell(name, "beat")
        self._answered(self._engines(), "beat", _SETTLE_S)

    def _reset_once(self) -> bool:
        if self.plan.bug != "reset-without-lock":
            self._last_halt()
        if not self._children[OPERATOR].alive:
            self._ready([self._fork(OPERATOR, again=True)])
        self._tell(OPERATOR, "reset", self._epoch)
        said = self._answered([OPERATOR], "reset", _SETTLE_S)
        child = self._children[OPERATOR]
        if child.alive and child.struck:  # somebody halts in the midst of it
            self._last_halt(timeout_s=0.05)
            self._let_go("ack", "reset") if child.stopped else self._let_go_of(child)
            said = self._answered([OPERATOR], "reset", _SETTLE_S)
        self._epoch = self._home_epoch()
        return bool(said) and said[OPERATOR][1] == "done"

    def _let_go_of(self, child: Child) -> None:
        child.paused = [("seen", gate) for _, gate in child.paused]
        self._let_go("seen")

    def _home_epoch(self) -> int:
        latch = Home(self.home).latch_state()[0]
        return max(self._epoch, latch.epoch if latch else 0)

    def _last_halt(self, timeout_s: float = 0.3, *, escalate: bool = False) -> bool:
        self._tell(_LAST, "halt", timeout_s, escalate)
        said = self._answered([_LAST], "quiet", timeout_s + 6)
        return bool(said) and said[_LAST][1] == "True"

    def _respawn(self) -> None:
        fresh = []
        for name in ENGINES:
            child = self._children[name]
            if not child.alive:
                fresh.append(self._fork(name, again=True))
        self._ready(fresh)

    def _finish(self) -> None:
        """Everybody is let go, and one more halt must be confirmed: nothing is left blocked."""
        self._policies = ("seen", "ack", "reset")
        self._let_go(*self._policies)
        self.confirmed = self._last_halt(timeout_s=2.0) or self._last_halt(escalate=True)
        if not self.confirmed and self.plan.bug == bugs.NONE:
            message = f"{self.plan.name}: the last halt is not confirmed"
            raise RunError(message)
        if Home(self.home).latch_state()[2] == ARMED:
            message = f"{self.plan.name}: confirmed, and armed"
            raise RunError(message)
        for child in self._children.values():
            if child.alive:
                self._tell(child.who, "close")
        self._until(lambda: not any(child.alive for child in self._all), 3.0)

    def _end(self) -> None:
        for child in self._all:
            if child.alive:
                os.kill(child.pid, signal.SIGKILL)
                os.waitid(os.P_PID, child.pid, os.WEXITED)
                self._note(died=child.pid, who=child.who, at=now(), status=int(signal.SIGKILL))
            os.close(child.orders)
            os.close(child.words)
        os.close(self._file)
        _unshare()


def _unshare() -> None:
    """Only the engines keep what they inherited: who escalates would find a stranger that has the lock file open."""
    if bugs.shared_descriptor >= 0:
        os.close(bugs.shared_descriptor)
        bugs.shared_descriptor = -1
