"""Locks, events, queues, threads and clocks that stand on the scheduler, under the names of the real ones."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.tasks import Task

__all__ = ["Clock", "Threads", "Times"]

T = TypeVar("T")
_NS: Final = 1_000_000_000


class Lock:
    """As `threading.Lock`. Outside of the simulation it does nothing."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._locked = False
        self._waiters: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as the real one
        """Take it, in the time given."""
        scheduler = self._scheduler
        if not scheduler.inside():
            return True
        scheduler.point("lock")
        until = None if timeout < 0 else scheduler.now_ns + int(timeout * _NS)
        while self._locked:
            if not blocking or (until is not None and scheduler.now_ns >= until):
                return False
            me = scheduler.me()
            self._waiters.append(me)
            try:
                scheduler.wait(until, "for a lock")
            finally:
                if me in self._waiters:
                    self._waiters.remove(me)
        self._locked = True
        return True

    def release(self) -> None:
        """Let go."""
        if not self._scheduler.inside():
            return
        self._scheduler.me()
        if not self._locked:
            message = "release unlocked lock"
            raise RuntimeError(message)
        self._locked = False
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            self._scheduler.wake(task)

    def locked(self) -> bool:
        """Whether anybody has it."""
        return self._locked

    def __enter__(self) -> bool:
        """Take it."""
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.release()


class Event:
    """As `threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False
        self._waiters: list[Task] = []

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it."""
        if self._scheduler.inside():
            self._scheduler.me()
            waiters, self._waiters = self._waiters, []
            for task in waiters:
                self._scheduler.wake(task)
        self._set = True

    def clear(self) -> None:
        """Set it back."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, in the time given."""
        scheduler = self._scheduler
        scheduler.point("event")
        until = None if timeout is None else scheduler.now_ns + int(timeout * _NS)
        while not self._set:
            if until is not None and scheduler.now_ns >= until:
                return False
            me = scheduler.me()
            self._waiters.append(me)
            try:
                scheduler.wait(until, "for an event")
            finally:
                if me in self._waiters:
                    self._waiters.remove(me)
        return True


class Condition:
    """As much of `threading.Condition` as a `Future` needs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = Lock(scheduler)
        self._waiters: list[Event] = []

    def __enter__(self) -> bool:
        """Take the lock."""
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go, wait to be notified, and take the lock again."""
        told = Event(self._scheduler)
        self._waiters.append(told)
        self._lock.release()
        try:
            return told.wait(timeout)
        finally:
            self._lock.acquire()

    def notify_all(self) -> None:
        """Wake all who wait."""
        waiters, self._waiters = self._waiters, []
        for told in waiters:
            told.set()


class Queue:
    """As `queue.SimpleQueue`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._items: list[Any] = []
        self._filled = Event(scheduler)

    def put(self, item: object) -> None:
        """Put something in."""
        self._items.append(item)
        self._filled.set()

    def get(self) -> Any:  # noqa: ANN401 - as the real one
        """Take something out; wait for it."""
        while not self._items:
            self._filled.clear()
            self._filled.wait()
        return self._items.pop(0)


class Threads:
    """What stands for the module `threading`, and what else makes and joins threads.

    Args:
        scheduler: of the run.
        refused: asked at each start of a thread whether there is none to be had.

    Attributes:
        Thread: as `threading.Thread`; the thread belongs to the process that starts it.
        Future: as `concurrent.futures.Future`.
    """

    def __init__(self, scheduler: Scheduler, refused: Callable[[], bool]) -> None:
        self._scheduler = scheduler
        self.Thread = _thread_class(scheduler, refused)
        self.Future = _future_class(scheduler)

    def Lock(self) -> Lock:  # noqa: N802 - as the real one
        """A lock."""
        return Lock(self._scheduler)

    def Event(self) -> Event:  # noqa: N802 - as the real one
        """An event."""
        return Event(self._scheduler)

    def SimpleQueue(self) -> Queue:  # noqa: N802 - as the real one
        """A queue."""
        return Queue(self._scheduler)

    def get_ident(self) -> int:
        """Who asks."""
        return self._scheduler.me().number


def _thread_class(scheduler: Scheduler, refused: Callable[[], bool]) -> type[threading.Thread]:
    class Thread(threading.Thread):
        _task: Task | None = None

        def start(self) -> None:
            name = "thread" if self.name.startswith("Thread-") else self.name.removeprefix("interlock-")
            scheduler.point(f"start {name}")  # the names that threads get by themselves count all that ever were
            if refused():
                message = "can't start new thread"
                raise RuntimeError(message)
            self._task = scheduler.spawn(scheduler.me().process, name, self.run)

        def is_alive(self) -> bool:
            return self._task is not None and not self._task.done

        def join(self, timeout: float | None = None) -> None:
            task = self._task
            if task is None:
                return
            until = None if timeout is None else scheduler.now_ns + int(timeout * _NS)
            scheduler.point("join")
            while not task.done and (until is None or scheduler.now_ns < until):
                task.joiners.append(scheduler.me())
                scheduler.wait(until, f"for {task.name}")

    return Thread


def _future_class(scheduler: Scheduler) -> type[Future[Any]]:
    class Told(Future[Any]):
        def __init__(self) -> None:
            super().__init__()
            self._condition: Any = Condition(scheduler)

    return Told


class Times:
    """What stands for the module `time`.

    Args:
        scheduler: of the run.
    """

    struct_time = time.struct_time

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def monotonic_ns(self) -> int:
        """Nanoseconds; no two readings are the same."""
        scheduler = self._scheduler
        if scheduler.inside():
            scheduler.me()
        scheduler.now_ns += 7
        return scheduler.now_ns

    def monotonic(self) -> float:
        """Seconds."""
        return self.monotonic_ns() / _NS

    def time_ns(self) -> int:
        """Nanoseconds, UTC."""
        return self.monotonic_ns() + self._scheduler.utc_ns

    def sleep(self, seconds: float) -> None:
        """Wait."""
        scheduler = self._scheduler
        scheduler.wait(scheduler.now_ns + max(1, int(seconds * _NS)), "for time to pass")


class Clock:
    """A kernel's clock.

    Args:
        times: the time.
    """

    def __init__(self, times: Times) -> None:
        self.mono_ns = times.monotonic_ns
        self._times = times

    def utc_us(self) -> int:
        """Microseconds, UTC."""
        return self._times.time_ns() // 1000
