"""One run: a machine, a desk, what befalls them, and what came of it. All of it follows from one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from interlock.testing.simulation.desk import Desk, Slot
from interlock.testing.simulation.disk import Directory, File
from interlock.testing.simulation.faults import Faults
from interlock.testing.simulation.journals import HOME
from interlock.testing.simulation.promises import Broken, Promises
from interlock.testing.simulation.scheduler import Scheduler
from interlock.testing.simulation.seams import Machine, beneath
from interlock.testing.simulation.tasks import Failure, Log
from interlock.testing.simulation.venue import Venue

if TYPE_CHECKING:
    import random

__all__ = ["STEPS", "Run", "simulate"]

STEPS: Final = 20_000
"""Of one run, unless told otherwise."""

_CLOSING: Final = 200_000
_MS: Final = 1_000_000
_UTC_NS: Final = 1_723_075_200_000_000_000
_HOUR_NS: Final = 3_600_000_000_000


@attrs.frozen(kw_only=True)
class Run:
    """What came of one seed.

    Attributes:
        seed: the seed.
        steps: how many points there were.
        handovers: how many of them gave the baton to another thread.
        simulated_ns: how much time passed in it.
        failure: the promise that was broken, or None.
        digest: SHA-256 of the log, in hex: two runs with one digest are one run.
        log: its end; all of it, if that was asked for.
        counts: what happened, and how often.
        verdicts: what the verifier says of each journal.
    """

    seed: int
    steps: int
    handovers: int
    simulated_ns: int
    failure: Failure | None
    digest: str
    log: str
    counts: dict[str, int]
    verdicts: dict[str, str]


class World:
    """A machine, a desk, and what befalls them.

    Args:
        seed: decides everything.
        keep: keep the whole log.
    """

    def __init__(self, seed: int, *, keep: bool) -> None:
        self.log = Log(keep=keep)
        self.scheduler = Scheduler(seed, self.log)
        self.faults = Faults(self.scheduler)
        watched = _Late()
        self.machine = Machine(self.scheduler, self.faults, watched)
        self.promises = watched.behind = Promises(self.scheduler, self.machine.system)
        self.venue = Venue(self.scheduler, self.promises)
        chance = self.scheduler.random
        self.scheduler.utc_ns = _UTC_NS
        self.desk = Desk(self.machine, self.promises, self.venue, _slots(chance))
        self._weather(chance)
        self._simulated_ns = 0

    def _weather(self, chance: random.Random) -> None:
        """What kinds of trouble there are in this run: not all in each, or none would come to anything."""

        def some(rate: float, often: float = 0.5) -> float:
            return rate * chance.random() if chance.random() < often else 0.0

        self.scheduler.stick = chance.choice((0.0, 0.3, 0.6, 0.9))
        self._rates = (some(0.01, 0.4), some(0.1, 0.3), some(0.002, 0.2), some(0.06, 0.5), some(0.02, 0.2))
        self.venue.rude, self.venue.slow, self.venue.hangs = some(0.2), some(0.5), some(0.05, 0.3)
        kinds = (self._kill, self._cut, self._pause, self._freeze, self._fill, self._turn_the_clock, self._tamper)
        self.strikes = dict.fromkeys(chance.sample(kinds, chance.randint(1, 3)), 1.0)
        self.strikes[self._kill] = chance.choice((0.2, 1.0, 4.0))
        self._every = chance.choice((150, 600, 2500))

    # -- What befalls it -------------------------------------------------------------------------------

    def _strike(self) -> None:
        """Something happens, in the midst of whatever goes on."""
        scheduler = self.scheduler
        kinds = [*self.strikes]
        scheduler.strike_at = scheduler.steps + 1 + int(scheduler.random.expovariate(1) * self._every)
        if kinds:
            weights = [self.strikes[kind] for kind in kinds]
            kind = scheduler.random.choices(kinds, weights)[0]
            self.log.line(f"{scheduler.steps} {scheduler.now_ns} STRIKE {kind.__name__.strip('_')}")
            self.promises.count(f"strike: {kind.__name__.strip('_').replace('_', ' ')}")
            kind()

    def _kill(self) -> None:
        victims = [process for process in self.scheduler.processes.values() if process.name != "init"]
        if victims:
            victim = self.scheduler.random.choice(victims)
            self.log.line(f"{self.scheduler.steps} SIGKILL {victim.name}")
            self.machine.system.kill(victim)

    def _cut(self) -> None:
        """The power goes, and comes back."""
        scheduler, system = self.scheduler, self.machine.system
        mine = scheduler.me().process
        for process in list(scheduler.processes.values()):
            if process is not mine:
                system.kill(process)
        system.dropped(mine)
        system.power_cut()
        self.faults.full, self.faults.frozen_ns = False, 0
        self.promises.power_cut()
        self._simulated_ns += scheduler.reboot()
        self.machine.reboot()
        self.desk.boot()
        system.kill(mine)

    def _pause(self) -> None:
        victims = [process for process in self.scheduler.processes.values() if process.name != "init"]
        if victims:
            chance = self.scheduler.random
            self.scheduler.pause(chance.choice(victims), int(chance.choice((1, 20, 400)) * _MS * chance.random()))

    def _freeze(self) -> None:
        chance = self.scheduler.random
        self.faults.frozen_ns = self.scheduler.now_ns + int(chance.choice((5, 300, 8_000)) * _MS * chance.random())

    def _fill(self) -> None:
        self.faults.full = not self.faults.full

    def _turn_the_clock(self) -> None:
        self.scheduler.utc_ns += int((self.scheduler.random.random() * 2 - 1) * _HOUR_NS)

    def _tamper(self) -> None:
        """Latch or page is removed, emptied, or garbled."""
        chance = self.scheduler.random
        home = self.machine.system.find(HOME)
        name = chance.choice(("latch.json", "page"))
        node = home.entries.get(name) if isinstance(home, Directory) else None
        if not isinstance(home, Directory) or not isinstance(node, File):
            return
        kind = chance.randrange(3)
        if kind == 0 or name == "page":
            home.move({name: None})
        elif kind == 1:
            node.resize(0)
        else:
            node.write(chance.randrange(max(1, len(node.data))), b"\x07")
        node.changed_ns = self.scheduler.now_ns + self.scheduler.utc_ns
        self.promises.absent()

    # -- The run ---------------------------------------------------------------------------------------

    def live(self, steps: int) -> dict[str, str]:
        """Go through it. What the verifier says in the end."""
        scheduler = self.scheduler
        self.desk.make()
        scheduler.run(_CLOSING)
        (
            self.faults.errors,
            self.faults.syncs,
            self.faults.shorts,
            self.faults.slow,
            self.faults.threads,
        ) = self._rates
        scheduler.strike = self._strike
        scheduler.strike_at = scheduler.steps + int(scheduler.random.expovariate(1) * self._every)
        self.desk.boot()
        if scheduler.failure is None:
            scheduler.run(steps)
        return {} if scheduler.failure is not None else self._close()

    def _close(self) -> dict[str, str]:
        """All is well again: every journal is recovered once more, and verified."""
        scheduler, system = self.scheduler, self.machine.system
        scheduler.strike = None
        self.faults.calm()
        for process in list(scheduler.processes.values()):
            system.kill(process)
        if scheduler.random.random() < 0.5:  # noqa: PLR2004 - half of them end with a power cut
            system.power_cut()
            self.promises.power_cut()
            scheduler.reboot()
            self.machine.reboot()
        self.desk.close()
        scheduler.run(_CLOSING)
        return {} if scheduler.failure is not None else self.promises.verify()

    @property
    def simulated_ns(self) -> int:
        """How much time passed in it."""
        return self._simulated_ns + self.scheduler.since_boot_ns


class _Late:
    """A watcher that is there before whom it tells."""

    behind: Promises | None = None

    def looked(self, file: File, at: int, value: int) -> None:
        if self.behind is not None:
            self.behind.looked(file, at, value)

    def wrote(self, file: File, at: int, data: bytes) -> None:
        if self.behind is not None:
            self.behind.wrote(file, at, data)


def _slots(chance: random.Random) -> tuple[Slot, ...]:
    return tuple(
        Slot(
            name=f"e{number}",
            disk=chance.random() < 0.7,  # noqa: PLR2004 - most of them
            traders=chance.randint(1, 3),
            segment_bytes=chance.choice((6_000, 30_000, 1_000_000)),
            watched=chance.random() < 0.3,  # noqa: PLR2004 - some of them
        )
        for number in range(chance.randint(1, 3))
    )


def simulate(seed: int, *, steps: int = STEPS, keep_log: bool = False) -> Run:
    """Run one seed. The same seed and number of steps give the same run, byte for byte of its log.

    Args:
        seed: decides everything.
        steps: after how many points it is brought to its end.
        keep_log: keep the whole log, not only its end.
    """
    world = World(seed, keep=keep_log)
    scheduler = world.scheduler
    verdicts: dict[str, str] = {}
    failure: Failure | None = None
    with beneath(world.machine):
        try:
            verdicts = world.live(steps)
            failure = scheduler.failure
        except Broken as broken:
            failure = Failure(broken.promise, broken.said, scheduler.steps)
        finally:
            scheduler.end()
    return Run(
        seed=seed,
        steps=scheduler.steps,
        handovers=scheduler.handovers,
        simulated_ns=world.simulated_ns,
        failure=failure,
        digest=world.log.digest,
        log=world.log.text(),
        counts=dict(sorted(world.promises.counts.items())),
        verdicts=verdicts,
    )
