"""A small engine that does everything right, to be spoilt in one way at a time.

It is written without Interlock's kernel: a latch file, a list of ids, a lock. What it gets right is what the kit asks,
so it shows that the kit can be passed, and each defect in `defects` that it can be failed.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from interlock.core.values import Side
from interlock.testing.conformance import Tick, VenueDown, Wanted

from .user import WithUser

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path


class Toy(WithUser):
    """The engine and its adapter in one."""

    halt_cancels = True

    def boot(self) -> None:
        """A new process: no lock is held, nothing is being sent."""
        super().boot()
        self.lock = threading.RLock()
        self.running = False
        self.sending: set[str] = set()

    # -- What is on disk -----------------------------------------------------------------------------

    @property
    def latch(self) -> Path:
        """Says ARMED, or the engine is halted."""
        return self.home / "latch"

    @property
    def journal(self) -> Path:
        """A line an order, a fill or a cancel."""
        return self.home / "journal"

    def armed(self) -> bool:
        """Whether the latch can be read, and says so."""
        try:
            return self.latch.read_text() == "ARMED" and self.journal.exists()
        except (OSError, UnicodeDecodeError):
            return False

    def entries(self) -> list[list[Any]]:
        """What the journal says."""
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def write(self, *entry: Any) -> None:
        """Put something on record."""
        with self.journal.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def position(self) -> int:
        """By the fills on record."""
        return sum(entry[2] for entry in self.entries() if entry[0] == "fill")

    def working(self) -> dict[str, list[Any]]:
        """The orders on record that nobody says are gone."""
        orders = {entry[1]: entry for entry in self.entries() if entry[0] == "order"}
        for entry in self.entries():
            if entry[0] in {"fill", "cancel"}:
                orders.pop(entry[1], None)
        return orders

    def state_files(self) -> list[Path]:
        """The latch; the directory."""
        return [self.latch, self.home]

    # -- Coming and going --------------------------------------------------------------------------

    def prepare(self) -> None:
        """Arm it."""
        self.home.mkdir()
        self.journal.touch()
        self.latch.write_text("ARMED")

    def start(self) -> bool:
        """Run, if the latch says so."""
        self.running = self.running or self.armed()
        return self.mode() == "running"

    def crash(self) -> None:
        """Forget all that is not on disk."""
        self.boot()

    def mode(self) -> str:
        """Running, or halted."""
        return "running" if self.running and self.armed() else "halted"

    def reset(self) -> None:
        """Arm it again."""
        self.latch.write_text("ARMED")

    # -- Orders --------------------------------------------------------------------------------------

    def submit(self, wanted: Wanted) -> None:
        """Check, look at the latch, record, send. A halt that comes after the look finds the order in `sending`."""
        with self.lock:
            if not self.permitted(wanted):
                return
            sign = 1 if wanted.side is Side.BUY else -1
            self.sending.add(wanted.order_id)
            if self.mode() != "running":
                self.sending.discard(wanted.order_id)
                return
            self.write("order", wanted.order_id, sign * int(wanted.quantity), wanted.reduce_only)
        try:
            self.send(wanted)
        except VenueDown:
            pass
        finally:
            self.sending.discard(wanted.order_id)

    def permitted(self, wanted: Wanted) -> bool:
        """Whether it may leave."""
        if self.mode() != "running" or any(entry[:2] == ["order", wanted.order_id] for entry in self.entries()):
            return False
        return self.checked() and (not wanted.reduce_only or self.reduces(wanted))

    def checked(self) -> bool:
        """The user's risk check; one that raises refuses."""
        try:
            return self.risk_check()
        except RuntimeError:
            return False

    def reduces(self, wanted: Wanted) -> bool:
        """Whether it can only make the position smaller, with the exits that work already."""
        sign = 1 if wanted.side is Side.BUY else -1
        exits = sum(entry[2] for entry in self.working().values() if entry[3] and entry[2] * sign > 0)
        position = self.position()
        return position * sign < 0 and (position + exits + sign * int(wanted.quantity)) * sign <= 0

    def send(self, wanted: Wanted) -> None:
        """To the venue."""
        self.venue.order(wanted.order_id, side=wanted.side, quantity=wanted.quantity, reduce_only=wanted.reduce_only)

    def cancel(self, order_id: str) -> None:
        """Pass it on, always; whether it came there may be unknown."""
        with suppress(VenueDown):
            self.venue.cancel(order_id)
        if self.journal.exists():
            self.write("cancel", order_id)

    def fill(self, order_id: str, quantity: Decimal) -> None:
        """Keep the position."""
        signed = self.working().get(order_id, ["", "", int(quantity)])[2]
        self.write("fill", order_id, signed)

    def recorded(self, order_id: str) -> bool:
        """Whether it is in the file."""
        return any(entry[:2] == ["order", order_id] for entry in self.entries())

    def decisions(self) -> str:
        """The file."""
        return self.journal.read_text()

    # -- Ticks -----------------------------------------------------------------------------------------

    def tick(self, tick: Tick) -> None:
        """Release what is due; ask the strategy."""
        if not self.good(tick):
            return
        for wanted in self.due(tick):
            self.release(wanted)
        if self.mode() == "running":
            self.handled(self.strategy)

    def good(self, tick: Tick) -> bool:
        """Whether anybody may be asked about it."""
        return tick.bid < tick.ask and tick.age_ms < self.stale_ms

    def release(self, wanted: Wanted) -> None:
        """A held order leaves, by the same way as any other."""
        self.submit(wanted)

    def handled(self, handler: Callable[[], None]) -> None:
        """Call the user's handler, which may raise."""
        try:
            handler()
        except RuntimeError:
            return

    def beat(self) -> None:
        """See a halt from outside, and go on with one; send what is queued."""
        if not self.armed():
            self.halt("from outside", 0)
        for wanted in self.unqueue():
            self.submit(wanted)

    # -- Halts ---------------------------------------------------------------------------------------

    def halt(self, reason: str, timeout_s: float) -> bool | None:  # noqa: ARG002 - one reason is as good as another
        """The latch first; then the orders; then it says whether anything is still being sent."""
        self.running = False
        self.halt_from_outside("")
        if self.home.is_dir():
            self.cancel_all()
        return not self.sending

    def cancel_all(self) -> None:
        """Take back what works."""
        for order_id in self.working().keys() - self.sending:
            self.cancel(order_id)

    def halt_from_outside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """Whoever may write the file may halt."""
        if self.home.is_dir():
            self.latch.write_text("HALTED")
