"""A small engine that does everything right, to be spoilt in one way at a time.

It is written without Interlock's kernel: a latch file, a list of ids, a lock. What it gets right is what the kit asks,
so it shows that the kit can be passed, and each defect in `defects` that it can be failed.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from interlock.core.values import Side
from interlock.testing.conformance import Adapter, Tick, VenueDown, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path


class Toy(Adapter):
    """The engine and its adapter in one."""

    halt_cancels = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lock = threading.RLock()
        self._boot()

    def _boot(self) -> None:
        self.running = False
        self.held: list[tuple[Wanted, Decimal]] = []
        self.queued: list[Wanted] = []
        self.wanted: list[Wanted] = []
        self.raising: set[str] = set()
        self.inside_halt = False
        self.sending = 0
        self.last: Tick | None = None

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
        self._boot()

    def mode(self) -> str:
        """Running, or halted."""
        return "running" if self.running and self.armed() else "halted"

    def reset(self) -> None:
        """Arm it again."""
        self.latch.write_text("ARMED")

    # -- Orders --------------------------------------------------------------------------------------

    def submit(self, wanted: Wanted) -> None:
        """Latch, check, record, send."""
        with self.lock:
            if not self.permitted(wanted):
                return
            sign = 1 if wanted.side is Side.BUY else -1
            self.write("order", wanted.order_id, sign * int(wanted.quantity), wanted.reduce_only)
            self.sending += 1
        try:
            self.send(wanted)
        except VenueDown:
            pass
        finally:
            self.sending -= 1

    def permitted(self, wanted: Wanted) -> bool:
        """Whether it may leave."""
        if self.mode() != "running" or any(entry[:2] == ["order", wanted.order_id] for entry in self.entries()):
            return False
        return self.checked(wanted) and (not wanted.reduce_only or self.reduces(wanted))

    def checked(self, wanted: Wanted) -> bool:
        """The user's risk check; one that raises refuses."""
        try:
            return self.risk_check(wanted)
        except RuntimeError:
            return False

    def risk_check(self, wanted: Wanted) -> bool:  # noqa: ARG002 - a user's would look
        """The user's own."""
        if "check" in self.raising:
            self.raising.discard("check")
            message = "the check is broken"
            raise RuntimeError(message)
        return True

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
        """Pass it on, always."""
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
        if self.inside_halt:
            self.inside_halt = False
            self.halt("from inside", 0)
        if not tick.good:
            return
        due = [wanted for wanted, ask in self.held if tick.ask >= ask]
        self.held = [(wanted, ask) for wanted, ask in self.held if tick.ask < ask]
        for wanted in due:
            self.release(wanted)
        if self.mode() == "running":
            self.handled(self.strategy)

    def release(self, wanted: Wanted) -> None:
        """A held order leaves, by the same way as any other."""
        self.submit(wanted)

    def handled(self, handler: Callable[[], None]) -> None:
        """Call the user's handler, which may raise."""
        try:
            handler()
        except RuntimeError:
            return

    def strategy(self) -> None:
        """The user's handler."""
        wanted, self.wanted = self.wanted, []
        if "strategy" in self.raising:
            self.raising.discard("strategy")
            message = "the strategy is broken"
            raise RuntimeError(message)
        for one in wanted:
            self.submit(one)

    def want(self, wanted: Wanted) -> None:
        """At the next tick."""
        self.wanted.append(wanted)

    def hold(self, wanted: Wanted, ask: Decimal) -> None:
        """An emulated stop."""
        self.held.append((wanted, ask))

    def queue(self, wanted: Wanted) -> None:
        """For the next beat."""
        self.queued.append(wanted)

    def beat(self) -> None:
        """See a halt from outside; send what is queued."""
        if self.running and not self.armed():
            self.halt("from outside", 0)
        queued, self.queued = self.queued, []
        for wanted in queued:
            self.submit(wanted)

    def raise_next(self, where: str) -> None:
        """Break the check or the strategy, once."""
        self.raising.add(where)

    # -- Halts ---------------------------------------------------------------------------------------

    def halt(self, reason: str, timeout_s: float) -> bool | None:  # noqa: ARG002 - one reason is as good as another
        """The latch first; then the orders; then it says whether anything is still being sent."""
        self.running = False
        self.halt_from_outside("")
        if self.home.is_dir():
            self.cancel_all()
        return self.sending == 0

    def cancel_all(self) -> None:
        """Take back what works."""
        for order_id in self.working():
            self.cancel(order_id)

    def halt_from_outside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """Whoever may write the file may halt."""
        if self.home.is_dir():
            self.latch.write_text("HALTED")

    def halt_from_inside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """In the handler of the next tick."""
        self.inside_halt = True
        self.tick(Tick(bid=self.price, ask=self.price + self.step))
