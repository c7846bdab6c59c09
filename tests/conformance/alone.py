"""More defects, one for each attack that would find nothing else: take the attack away, and its defect is not found."""

from __future__ import annotations

import threading
from contextlib import suppress

from interlock.testing.conformance import VenueDown, Wanted

from .toy import Toy


class HaltOnlyByItsThread(Toy):
    """The kill switch is for the thread that made the engine; to others it does nothing."""

    def boot(self) -> None:
        """Know the thread."""
        super().boot()
        self.mine = threading.get_ident()

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Of any other, ignored."""
        return super().halt(reason, timeout_s) if threading.get_ident() == self.mine else None


class HaltFromOutsideIsPolled(Toy):
    """A halt from outside is seen at the next look, once a second; the orders until then leave."""

    def boot(self) -> None:
        """What was seen last."""
        super().boot()
        self.seen_armed = True

    def armed(self) -> bool:
        """As of the last look."""
        return self.seen_armed and (self.running or super().armed())

    def beat(self) -> None:
        """The look."""
        self.seen_armed = Toy.armed(self) if self.latch.exists() else False
        super().beat()

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """From inside it is seen at once."""
        self.seen_armed = False
        return super().halt(reason, timeout_s)


class LooksBeforeTheCheck(Toy):
    """The latch is looked at before the user's check, and never after it."""

    def checked(self) -> bool:
        """What was armed a while ago is armed."""
        was, yes = self.mode(), super().checked()
        self.overlooks = was == "running"
        return yes

    def mode(self) -> str:
        """As it was before the check, once."""
        if getattr(self, "overlooks", False):
            self.overlooks = False
            return "running"
        return super().mode()


class HaltWaitsForTheCheck(Toy):
    """Orders are decided under a lock, the user's check included, and the halt wants that lock."""

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Under it."""
        with self.lock:
            return super().halt(reason, timeout_s)


class StrategyCannotHalt(Toy):
    """The kill switch posts a message to the loop; when it is the loop that pulls, nobody reads it."""

    in_handler = False

    def strategy(self) -> None:
        """In the loop."""
        self.in_handler = True
        try:
            super().strategy()
        finally:
            self.in_handler = False

    def submit(self, wanted: Wanted) -> None:
        """The way of an order is not the handler."""
        self.in_handler = False
        super().submit(wanted)

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Nobody is there to read the message."""
        return None if self.in_handler else super().halt(reason, timeout_s)


class LeaksLate(Toy):
    """Refusals are counted in a few bits; when they overflow, one order passes."""

    refused = 0

    def submit(self, wanted: Wanted) -> None:
        """Every 64th refusal is none."""
        if self.mode() != "running":
            self.refused += 1
            if self.refused % 64 == 0:
                self.send(wanted)
        super().submit(wanted)


class SecondStartClearsTheHalt(Toy):
    """Start arms what it finds, if it is called in a process that has run before."""

    ran = False

    def start(self) -> bool:
        """Again."""
        if self.ran:
            self.latch.write_text("ARMED")
        self.ran = True
        return super().start()

    def crash(self) -> None:
        """A new process has not."""
        super().crash()
        self.ran = False


class HaltExpires(Toy):
    """A halt is for an hour of the engine's own time, a cool-down."""

    until_ns = 0

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Until then."""
        if not self.until_ns:
            self.until_ns = self.clock.mono_ns() + 3_000 * 10**9
        return super().halt(reason, timeout_s)

    def mode(self) -> str:
        """Is it over?"""
        if self.until_ns and self.clock.mono_ns() > self.until_ns:
            self.running = True
            self.latch.write_text("ARMED")
        return super().mode()


class HaltIsForToday(Toy):
    """A halt is for the day, by the clock on the wall."""

    day = ""

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Until the date changes."""
        self.day = self.day or self.today()
        return super().halt(reason, timeout_s)

    def today(self) -> str:
        """The date."""
        return str(self.clock.utc_us() // 86_400_000_000)

    def mode(self) -> str:
        """Is it over?"""
        if self.day and self.day != self.today():
            self.running = True
            self.latch.write_text("ARMED")
        return super().mode()


class RecoverySendsAgain(Toy):
    """At a boot, each order that has no answer on record is sent once more."""

    def send(self, wanted: Wanted) -> None:
        """And put the answer down, be it that there was none."""
        try:
            super().send(wanted)
        finally:
            if self.running:
                self.write("answer", wanted.order_id)

    def start(self) -> bool:
        """Do what was left undone."""
        came_up, runs = not self.running, super().start()
        if runs and came_up:
            answered = {entry[1] for entry in self.entries() if entry[0] == "answer"}
            for order_id in self.working().keys() - answered:
                super().send(Wanted(order_id=order_id))
        return runs


class CancelThatFailsEndsTheStop(Toy):
    """The first cancel that is not answered ends the round of cancels, and there is no other."""

    halts = 0

    def cancel(self, order_id: str) -> None:
        """It may raise."""
        self.write("cancel", order_id)
        self.venue.cancel(order_id)

    def cancel_all(self) -> None:
        """Once."""
        self.halts += 1
        if self.halts == 1:
            with suppress(VenueDown):
                super().cancel_all()


class LatchIsReadAtTheStart(Toy):
    """The latch is read at the start and never after: what is lost meanwhile is not missed."""

    def armed(self) -> bool:
        """As it was then."""
        return self.running or super().armed()

    def write(self, *entry: object) -> None:
        """Where there is something to write to."""
        if self.home.is_dir():
            super().write(*entry)

    def entries(self) -> list[list[object]]:
        """What there is."""
        return super().entries() if self.journal.exists() else []


class EmptyLatchIsArmed(Toy):
    """At a boot a latch that says nothing is a latch that does not say HALTED."""

    def start(self) -> bool:
        """Repair it."""
        if self.latch.exists() and not self.latch.read_bytes():
            self.latch.write_text("ARMED")
        return super().start()


class IdsAreForgotten(Toy):
    """An id is looked for among the orders that work: one that was filled can be used again."""

    def permitted(self, wanted: Wanted) -> bool:
        """Not working, not known."""
        return self.mode() == "running" and wanted.order_id not in self.working() and self.checked()
