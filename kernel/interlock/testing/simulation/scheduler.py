"""The scheduler: threads that hand over one baton, in an order that a seed decides.

Each simulated thread is a real one, and only the one that has the baton runs. At every *point*, where the real
program would make a system call, touch memory that others see, or wait, it asks for the next: the seed says who goes
on. What lies between two points is one act. Time is simulated, too: an act takes as long as the seed says, and when all
wait the clock jumps to the next who has something to do. So a run depends on its seed, and on nothing else.

A process is a number of threads that die together. Death is what SIGKILL is: at a point each of them raises `Died`, and
from there on nothing that it calls has any effect, so `finally` and `except` blocks change nothing outside of it.
"""

from __future__ import annotations

import _thread
import heapq
import random
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from interlock.testing.simulation.tasks import Died, Failure, Process, Task, Worker, nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.simulation.tasks import Log

__all__ = ["Scheduler"]

_ACT_NS: Final = 40_000
_BOOT_NS: Final = 60_000_000_000


class Scheduler:
    """One run's threads and time.

    Args:
        seed: decides everything.
        log: takes a line a step.

    Attributes:
        random: the run's only source of chance.
        current: who has the baton; None: who drives the run.
        now_ns: the monotonic clock.
        utc_ns: what is added to it for the time of day.
        steps: points so far.
        handovers: how many of them gave the baton to another thread.
        stick: how likely a thread goes on at a point.
        failure: the first promise that was broken.
        strike: called when ``strike_at`` steps are reached; it sets that anew.
        processes: those that live, by number.
    """

    def __init__(self, seed: int, log: Log) -> None:
        self.random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.log = log
        self.current: Task | None = None
        self.now_ns = _BOOT_NS
        self.utc_ns = 0
        self.steps = self.handovers = 0
        self.stick = 0.5
        self.failure: Failure | None = None
        self.strike: Callable[[], None] | None = None
        self.strike_at = 0
        self.processes: dict[int, Process] = {}
        self._chance = self.random.random
        self._limit = 0
        self._ready: list[Task] = []
        self._sleepers: list[tuple[int, int, Task | None, int]] = []
        self._paused: dict[int, Process] = {}
        self._order = self._numbers = 0
        self._pids = 1000
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._main = _thread.allocate_lock()
        self._main.acquire()
        self._reaper = _thread.allocate_lock()
        self._reaper.acquire()

    # -- Who is there --------------------------------------------------------------------------------

    def inside(self) -> bool:
        """Whether the thread that asks has the baton."""
        task = self.current
        return task is not None and task.worker.ident == _thread.get_ident()

    def me(self) -> Task:
        """Who has the baton.

        Raises:
            Died: its process is dead.
        """
        task = self.current
        if task is None or task.dead:
            raise Died
        return task

    def process(self, name: str) -> Process:
        """A new process without threads."""
        self._pids += 1
        made = Process(self._pids, name, self.now_ns // 10_000_000)
        self.processes[made.pid] = made
        return made

    def spawn(self, process: Process, name: str, act: Callable[[], object]) -> Task:
        """A new thread of a process; it runs when it is its turn."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = Worker()
            self._workers.append(worker)
            _thread.start_new_thread(self._work, (worker,))
        self._numbers += 1
        task = Task(self._numbers, f"{process.name}/{name}", process, act, worker)
        worker.task = task
        process.tasks.append(task)
        self._make_ready(task)
        return task

    # -- The baton -----------------------------------------------------------------------------------

    def point(self, what: str) -> None:
        """Let the seed say who goes on; return when it is this thread's turn."""
        me = self.me()
        self._tick()
        if self._chance() >= self.stick or me.process.paused:
            chosen = self._choose()
            if chosen is not me:
                self._give(me, chosen)
        self.log.line(f"{self.steps} {self.now_ns} {me.name} {what}")

    def wait(self, until_ns: int | None, what: str) -> bool:
        """Wait to be woken, or for a time. True if woken."""
        me = self.me()
        self._tick()
        me.token += 1
        me.waiting, me.woken = True, False
        for queue in (self._ready, me.process.held):
            if me in queue:
                queue.remove(me)
        if until_ns is not None:
            self._sleep(until_ns, me)
        self.log.line(f"{self.steps} {self.now_ns} {me.name} waits {what}")
        chosen = self._choose()
        if chosen is not me:
            self._give(me, chosen)
        return me.woken

    def wake(self, task: Task) -> None:
        """Let a waiting thread go on."""
        if task.waiting and not task.dead:
            task.woken = True
            self._make_ready(task)

    def pause(self, process: Process, ns: int) -> None:
        """Suspend a process for a time."""
        if process.paused or process.dead:
            return
        process.paused = True
        process.pauses += 1
        process.held += [task for task in self._ready if task.process is process]
        self._ready = [task for task in self._ready if task.process is not process]
        self._paused[process.pid] = process
        self._sleep(self.now_ns + ns, None, process.pid)

    def kill(self, process: Process) -> None:
        """End a process, here and now.

        Raises:
            Died: it was the caller's own.
        """
        process.dead = True
        process.paused = False
        self.processes.pop(process.pid, None)
        self._paused.pop(process.pid, None)
        me = self.current
        for task in list(process.tasks):
            task.dead = True
            if task is not me:
                self._reap(task, me)
        if me is not None and me.dead:
            raise Died

    def fail(self, promise: str, said: str) -> NoReturn:
        """A promise was broken: the run is over.

        Raises:
            Died: always, once the run has been cleared away.
        """
        if self.failure is None:
            self.failure = Failure(promise, said, self.steps)
            self.log.line(f"{self.steps} {self.now_ns} BROKEN {promise}: {said}")
        self._leave_to_main(self.me())
        raise Died

    # -- For who drives the run ----------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Let the threads run for so many steps, or until a promise is broken or none is left."""
        self._limit = self.steps + steps
        chosen = self._next()
        if chosen is not None:
            self.current = chosen
            chosen.worker.gate.release()
            self._main.acquire()
        self.current = None

    def end(self) -> None:
        """End every process, and the threads behind them."""
        for process in list(self.processes.values()):
            self.kill(process)
        for worker in self._workers:
            worker.task = None
            worker.gate.release()
            self._reaper.acquire()
        self._workers.clear()
        self._idle.clear()

    def reboot(self) -> int:
        """Nobody is left but who has the baton: the monotonic clock begins anew, and the time of day goes on.

        Returns:
            How long the machine was on, in nanoseconds.
        """
        was = self.since_boot_ns
        self.utc_ns += self.now_ns - _BOOT_NS
        self.now_ns = _BOOT_NS
        self._sleepers.clear()
        self._paused.clear()
        return was

    @property
    def since_boot_ns(self) -> int:
        """How long the machine has been on."""
        return self.now_ns - _BOOT_NS

    # -- Inside --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.steps += 1
        self.now_ns += 500 + int(self._chance() * _ACT_NS)
        if self.steps >= self._limit or self.failure is not None:
            self._leave_to_main(self.me())
        if self.steps >= self.strike_at and self.strike is not None:
            self.strike()

    def _sleep(self, until_ns: int, task: Task | None, token: int | None = None) -> None:
        self._order += 1
        heapq.heappush(self._sleepers, (until_ns, self._order, task, token or (task.token if task else 0)))

    def _rouse(self) -> None:
        """Make those ready whose time has come."""
        while self._sleepers and self._sleepers[0][0] <= self.now_ns:
            _, _, task, token = heapq.heappop(self._sleepers)
            if task is None:
                process = self._paused.pop(token, None)
                if process is not None:
                    process.paused = False
                    self._ready += process.held
                    process.held = []
            elif task.token == token and task.waiting:
                self._make_ready(task)

    def _make_ready(self, task: Task) -> None:
        task.waiting = False
        (task.process.held if task.process.paused else self._ready).append(task)

    def _next(self) -> Task | None:
        """Whose turn it is; None if nobody can ever go on."""
        self._rouse()
        while not self._ready:
            if not self._sleepers:
                return None
            self.now_ns = max(self.now_ns, self._sleepers[0][0])
            self._rouse()
        return self._ready[int(self._chance() * len(self._ready))]

    def _choose(self) -> Task:
        chosen = self._next()
        if chosen is None:
            self.fail("NoDeadlock", "every thread waits for another one")
        return chosen

    def _give(self, me: Task, to: Task) -> None:
        self.handovers += 1
        self.current = to
        to.worker.gate.release()
        me.worker.gate.acquire()
        if me.dead:
            raise Died

    def _leave_to_main(self, me: Task) -> None:
        self.current = None
        self._main.release()
        me.worker.gate.acquire()
        if me.dead:
            raise Died

    def _reap(self, task: Task, me: Task | None) -> None:
        """Let a dead thread unwind, and wait until it has."""
        task.reaped = True
        self.current = task
        task.worker.gate.release()
        self._reaper.acquire()
        self.current = me

    def _work(self, worker: Worker) -> None:
        """What a real thread does."""
        worker.ident = _thread.get_ident()
        while True:
            worker.gate.acquire()
            task = worker.task
            if task is None:
                self._reaper.release()
                return
            try:
                if not task.dead:
                    task.act()
            except Died:
                pass
            except BaseException as error:  # noqa: BLE001 - nobody else would hear of it
                self._broke(task, error)
            self._ended(task, worker)

    def _broke(self, task: Task, error: BaseException) -> None:
        if self.failure is None and not task.dead:
            where = "".join(traceback.format_exception(error)[-4:])
            self.failure = Failure("NoCrash", f"{task.name}: {type(error).__name__}: {error}\n{where}", self.steps)
            self.log.line(f"{self.steps} {self.now_ns} BROKEN NoCrash: {task.name}: {type(error).__name__}: {error}")

    def _ended(self, task: Task, worker: Worker) -> None:
        task.done, task.waiting = True, False
        task.act = nothing
        task.process.tasks.remove(task)
        if task in self._ready:
            self._ready.remove(task)
        if task in task.process.held:
            task.process.held.remove(task)
        worker.task = None
        self._idle.append(worker)
        for other in task.joiners:
            self.wake(other)
        if task.reaped:
            self._reaper.release()
            return
        if not task.process.tasks:
            task.process.dead = True
            self.processes.pop(task.process.pid, None)
        over = self.failure is not None or self.steps >= self._limit
        chosen = None if over else self._next()
        self.current = chosen
        (self._main if chosen is None else chosen.worker.gate).release()
