"""The peers' defects, each in an engine that is right but for that; see FACTS: what the systems beside us do."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from .toy import Toy

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.conformance import Tick, Wanted


class EmulatorBypassesTheGate(Toy):
    """A held order that is released goes straight to the venue's client."""

    def release(self, wanted: Wanted) -> None:
        """Past the gate."""
        self.write("order", wanted.order_id, 1, wanted.reduce_only)
        self.send(wanted)


class RaisingCheckLetsThrough(Toy):
    """The wrapper of the user's check answers yes, if the check raises."""

    def checked(self) -> bool:
        """Fails open."""
        try:
            return self.risk_check()
        except RuntimeError:
            return True


class StopIsForgotten(Toy):
    """The stop is a variable: a restart trades again."""

    def boot(self) -> None:
        """A new process has not been stopped."""
        super().boot()
        self.stopped = False

    def start(self) -> bool:
        """Not while it is stopped."""
        return not self.stopped and super().start()

    def halt_from_outside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """Nothing on disk."""
        self.running, self.stopped = False, True


class KillCancelsItself(Toy):
    """The kill switch is a task that the shutdown which it awaits cancels first: no order is taken back."""

    def cancel_all(self) -> None:
        """What it does not come to."""
        asyncio.run(self._shut_down())

    async def _shut_down(self) -> None:
        killing: list[asyncio.Task[None]] = []

        async def stop_all_tasks() -> None:
            for task in killing:
                task.cancel()
            await asyncio.sleep(0)

        async def kill() -> None:
            await stop_all_tasks()
            for order_id in self.working():
                self.cancel(order_id)

        killing.append(asyncio.create_task(kill()))
        await asyncio.gather(*killing, return_exceptions=True)


class ReduceOnlyFlips(Toy):
    """Reducing looks at the side of the order, and not at its size."""

    def reduces(self, wanted: Wanted) -> bool:
        """Anything against the position."""
        return self.position() * (1 if wanted.side.value == "buy" else -1) < 0


class ReduceOnlyOpens(Toy):
    """Reducing lets a flat account buy."""

    def reduces(self, wanted: Wanted) -> bool:
        """As long as it is not long already."""
        return self.position() * (1 if wanted.side.value == "buy" else -1) <= 0


class HandlerEndsTheLoop(Toy):
    """An exception in one handler ends the thread of events; the engine goes on saying that it runs."""

    def boot(self) -> None:
        """A thread of events that lives."""
        super().boot()
        self.dead = False

    def handled(self, handler: Callable[[], None]) -> None:
        """Nobody catches it."""
        try:
            handler()
        except RuntimeError:
            self.dead = True

    def tick(self, tick: Tick) -> None:
        """Nobody takes it any more."""
        if not self.dead:
            super().tick(tick)

    def submit(self, wanted: Wanted) -> None:
        """Likewise."""
        if not self.dead:
            super().submit(wanted)


class MissingDirectoryMeansRunning(Toy):
    """The halt is a flag file; no directory, no flag, no halt."""

    def armed(self) -> bool:
        """Unless it says otherwise."""
        try:
            return self.latch.read_text() != "HALTED"
        except OSError:
            return True

    def entries(self) -> list[list[object]]:
        """What there is."""
        return super().entries() if self.journal.exists() else []

    def write(self, *entry: object) -> None:
        """Where there is something to write to."""
        if self.home.is_dir():
            super().write(*entry)


# -- Beyond the peers: one for each other claim --------------------------------------------------------


class HaltIsForgottenByTheQueue(Toy):
    """What was queued before the halt is sent after it."""

    def beat(self) -> None:
        """Past the gate."""
        for wanted in self.unqueue():
            self.write("order", wanted.order_id, 1, wanted.reduce_only)
            self.send(wanted)


class HaltWaitsForTheSend(Toy):
    """One send at a time, under a lock; and the halt wants that lock, to be sure that none goes on."""

    def boot(self) -> None:
        """Nobody has it."""
        super().boot()
        self.one_at_a_time = threading.Lock()

    def send(self, wanted: Wanted) -> None:
        """Under the lock, to the answer."""
        with self.one_at_a_time:
            super().send(wanted)

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Under the same lock."""
        with self.one_at_a_time:
            return super().halt(reason, timeout_s)


class AckIsAHope(Toy):
    """The halt says that all has stopped as soon as the flag is set."""

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """It always says so."""
        super().halt(reason, timeout_s)
        return True


class RecordComesLater(Toy):
    """The order is written down once it has been sent."""

    def submit(self, wanted: Wanted) -> None:
        """Send, then record."""
        if self.permitted(wanted):
            self.send(wanted)
            self.write("order", wanted.order_id, 1, wanted.reduce_only)


class LostAnswerIsTriedAgain(Toy):
    """A send whose answer was lost is sent again."""

    def send(self, wanted: Wanted) -> None:
        """Twice, if it has to be."""
        for _ in range(2):
            try:
                super().send(wanted)
            except Exception:  # noqa: BLE001, S112 - this is the defect
                continue
            return


class CancelsAreTrapped(Toy):
    """Halted is halted: cancels are refused, too."""

    def cancel(self, order_id: str) -> None:
        """Only while it runs."""
        if self.mode() == "running":
            super().cancel(order_id)


class StaleTicksAreTraded(Toy):
    """A tick is as good as its prices, whatever its age."""

    def good(self, tick: Tick) -> bool:
        """Its prices."""
        return tick.bid < tick.ask


class CrossedTicksAreTraded(Toy):
    """A tick is as good as its age."""

    def good(self, tick: Tick) -> bool:
        """Its age."""
        return tick.age_ms < self.stale_ms


class DecidesByChance(Toy):
    """What it writes differs from run to run."""

    def write(self, *entry: object) -> None:
        """With the address of something."""
        super().write(*entry, str(id(object())) + str(id(self)))
