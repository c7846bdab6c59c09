"""What the scheduler deals with: threads and processes, how they die, and the log of what they did."""

from __future__ import annotations

import _thread
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Died", "Failure", "Log", "Process", "Task", "Worker", "nothing"]

_TAIL: Final = 400


class Died(BaseException):
    """The process of this thread is dead."""


@attrs.frozen
class Failure:
    """A promise that was broken.

    Attributes:
        promise: its name.
        said: what happened.
        step: at which step.
    """

    promise: str
    said: str
    step: int


class Log:
    """What happened, line by line.

    Args:
        keep: keep all of it, and not only its end and its hash.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = sha256()
        self._lines: deque[str] = deque(maxlen=None if keep else _TAIL)

    def line(self, text: str) -> None:
        """Put a line down."""
        self._lines.append(text)
        self._hash.update(text.encode())
        self._hash.update(b"\n")

    @property
    def digest(self) -> str:
        """SHA-256 of all lines, in hex."""
        return self._hash.hexdigest()

    def text(self) -> str:
        """The lines that were kept."""
        return "".join(f"{line}\n" for line in self._lines)


class Process:
    """Threads that die together, and what they hold.

    Attributes:
        pid: its number.
        name: for the log.
        tasks: its threads that are not done.
        started: in ticks since boot.
        dead: whether it is.
        paused: whether it is suspended, as by SIGSTOP.
        pauses: how often it was.
        held: its threads that would run, if it were not.
    """

    __slots__ = ("dead", "held", "name", "paused", "pauses", "pid", "started", "tasks")

    def __init__(self, pid: int, name: str, started: int) -> None:
        self.pid = pid
        self.name = name
        self.tasks: list[Task] = []
        self.started = started
        self.dead = self.paused = False
        self.pauses = 0
        self.held: list[Task] = []


class Task:
    """A simulated thread.

    Attributes:
        number: its identity, as `threading.get_ident` tells it.
        name: for the log.
        process: whose it is.
        dead: whether it has to raise `Died`.
        done: whether it has ended.
        role: what it is doing, for who checks.
        announced: the step at which it announced a send, or -1.
        looked: the step of its last look at the byte, or -1; and what it saw.
        saw: what it saw then.
    """

    __slots__ = (
        "act",
        "announced",
        "dead",
        "done",
        "joiners",
        "looked",
        "name",
        "number",
        "process",
        "reaped",
        "role",
        "saw",
        "token",
        "waiting",
        "woken",
        "worker",
    )

    def __init__(self, number: int, name: str, process: Process, act: Callable[[], object], worker: Worker) -> None:
        self.number = number
        self.name = name
        self.process = process
        self.act = act
        self.worker = worker
        self.dead = self.done = self.reaped = self.waiting = self.woken = False
        self.joiners: list[Task] = []
        self.token = 0
        self.role = ""
        self.announced = self.looked = -1
        self.saw = 0


class Worker:
    """A real thread, which does one task after the other."""

    __slots__ = ("gate", "ident", "task")

    def __init__(self) -> None:
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.ident = 0
        self.task: Task | None = None


def nothing() -> None:
    """What a task that has ended does: so it keeps nothing alive."""
