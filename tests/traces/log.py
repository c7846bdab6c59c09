"""The protocol log of one process, and the faults that strike it at the steps that it logs.

One file a process, one JSON object a line, each written with one `write` to a file opened for appending: what was
logged survives SIGKILL. A step is logged with two readings of CLOCK_MONOTONIC, one just before the act that
matters and one just after it (before and after the ``flock``, the store, the load). Somewhere between the two it
happened; a checker that is told so can neither take a late send for an early one nor the other way round.

What others can see at once (a byte, a record, a lock) is announced in the log before it is done: a process
that dies in between leaves a step that may have happened or not, and that is what the line then says.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, Protocol

import attrs
from orjson import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

now: Final = time.monotonic_ns

When = Literal["before", "after"]
Act = Literal["kill", "stop", "pause"]
Until = Literal["seen", "ack", "reset"]


@attrs.frozen(kw_only=True)
class Fault:
    """What befalls a process at a step.

    Attributes:
        who: the process: an engine's name, a killer's, or the operator's.
        step: the step's name.
        when: right before the act, or right after it.
        nth: at which occurrence, counted from one over all its threads.
        act: SIGKILL or SIGSTOP to itself, or a pause of the thread alone.
        until: when the supervisor lets it go on: at once, when the killers are done, or after the reset.
    """

    who: str
    step: str
    when: When = "after"
    nth: int = 1
    act: Act = "pause"
    until: Until = "ack"


class Told(Protocol):
    """Who is told of faults."""

    def pause(self, fault: Fault) -> None:
        """Return when the thread may go on."""

    def stopping(self, fault: Fault) -> None:
        """This process is about to be suspended."""


class Here(threading.local):
    """What this thread is doing.

    Attributes:
        op: the operation that it is inside of.
        first: when it first touched the engine's page in this operation, or 0.
        last: when it last did.
        emitter: which sending thread this is.
        actor: the halt that it acts for.
        acked: since when it has known, under the lock, that it may confirm, or 0.
        tried: when it last tried the lock.
        inspected: when it last began to look at the home.
    """

    op = ""
    first = 0
    last = 0
    emitter = ""
    actor = ""
    acked = 0
    tried = 0
    inspected = 0


class Log:
    """The log.

    Args:
        path: of the file.
        who: the process's name in the protocol.
        faults: those of the run; only this process's count.
        ends: told when a thread is to pause, which returns when it may go on, and before the process is stopped.

    Attributes:
        live: whether an engine's own steps are logged; what others can see always is.
        here: what this thread is doing.
        pulled: when the engine was last told to halt by itself, or 0.
    """

    def __init__(self, path: Path, who: str, faults: Iterable[Fault], ends: Told) -> None:
        self.who = who
        self.here = Here()
        self.live = False
        self.pulled = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._faults = [fault for fault in faults if fault.who == who]
        self._ends = ends
        self._counts: Counter[tuple[str, str]] = Counter()
        self._guard = threading.Lock()
        self._numbers = 0
        self._actors = 0

    def write(self, **record: object) -> None:
        """One line."""
        line = dumps({"who": self.who, "pid": os.getpid(), "thread": threading.get_native_id(), **record}) + b"\n"
        os.write(self._file, line)

    def actor(self) -> str:
        """A name for a halt that begins."""
        with self._guard:
            self._actors += 1
            return f"{self.who}.{os.getpid()}.{self._actors}"

    def before(self, step: str) -> None:
        """The step is about to happen: a fault may strike."""
        self.strike(step, "before")

    def trying(self, step: str, **more: object) -> int:
        """Announce a step that others can see. Returns its number, for `did`."""
        with self._guard:
            self._numbers += 1
            number = self._numbers
        self.write(trying=step, number=number, lo=now(), **more)
        return number

    def gave_up(self, number: int) -> None:
        """An announced step did not happen."""
        self.write(gave_up=number)

    def did(self, step: str, lo: int, *, strike: bool = True, **more: object) -> None:
        """The step has happened, between then and now; and a fault may strike."""
        self.write(step=step, lo=lo, hi=now(), **more)
        if strike:
            self.strike(step, "after")

    def strike(self, step: str, when: When) -> None:
        """What the plan has for this occurrence of the step."""
        with self._guard:
            self._counts[step, when] += 1
            nth = self._counts[step, when]
        for fault in self._faults:
            if (fault.step, fault.when, fault.nth) == (step, when, nth):
                self.write(fault=attrs.asdict(fault), at=now())
                if fault.act == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif fault.act == "stop":
                    self._ends.stopping(fault)
                    os.kill(os.getpid(), signal.SIGSTOP)
                else:
                    self._ends.pause(fault)
