"""The desk: engines that trade, operators that halt and reset: simulated processes over the real program."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import attrs

from interlock import Cancel, Fill, HomeError, Kernel, LimitsError, MisuseError, Mode, Order, OrderType, Quote, Side
from interlock.attach import highest_epoch
from interlock.breaker.home import Home, Now
from interlock.breaker.latch import HALTED, Latch
from interlock.breaker.watchdog import Limits
from interlock.testing.simulation.journals import HOME
from interlock.testing.simulation.threads import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.simulation.promises import Promises
    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.seams import Machine
    from interlock.testing.simulation.tasks import Process
    from interlock.testing.simulation.venue import Venue

__all__ = ["Desk", "Slot"]

_MS: Final = 1_000_000
_NAME: Final = "XYZ"
_WATCH: Final = Limits(beat_s=0.4, busy_s=0.4, send_s=0.4, interval_s=0.05)
_IDENTITY: Final = "11111111-2222-4333-8444-555555555555"
_LIMITS: Final = b"""\
version = 1
[gate1]
max_tick_age_ms = 1000
max_clock_ahead_ms = 100
max_silence_ms = "off"
heartbeat_overdue_ms = 60000
tick_backwards = "refuse"
crossed_quote = "refuse"
non_positive_price = "refuse"
sequence_gap = "refuse"
[gate2]
max_reference_age_ms = 60000
messages_per_s = 100000
message_burst = 100000
repeat_window_ms = 1
repeat_refuse_after = 1000
repeat_trip_after = 2000
remember_ids = 10000
[anomaly]
unknown_order = "record"
errors_in_a_row = 3
[loss.USD]
max_session_loss = 100000
max_drawdown = 100000
confirm_marks = 2
[instruments.XYZ]
tick_size = "0.5"
lot_size = "0.1"
currency = "USD"
collar_bps = 1000
max_quantity = 10
max_notional = 10000
max_position = 1000
max_open_orders = 1000
"""


@attrs.frozen(kw_only=True)
class Slot:
    """One engine's place at the desk.

    Attributes:
        name: of the engine.
        disk: its durability is ``disk``; else ``process``.
        traders: how many threads submit.
        segment_bytes: the size of its journal's segments.
        watched: whether a watchdog thread watches it.
    """

    name: str
    disk: bool
    traders: int
    segment_bytes: int
    watched: bool


@attrs.define(eq=False)
class Life:
    """One attachment of one engine."""

    slot: Slot
    kernel: Kernel
    working: list[str] = attrs.field(factory=list)
    over: bool = False


class Desk:
    """Who is there, and what they do.

    Args:
        machine: on which.
        promises: is told what happens.
        venue: where orders go.
        slots: the engines.
    """

    def __init__(self, machine: Machine, promises: Promises, venue: Venue, slots: tuple[Slot, ...]) -> None:
        self._machine = machine
        self._scheduler: Scheduler = machine.scheduler
        self._promises = promises
        self._venue = venue
        self._slots = slots
        self._clock = Clock(machine.times)
        self._orders = self._lives = 0
        self._home = Home(HOME)

    # -- The machine comes up --------------------------------------------------------------------------

    def make(self) -> None:
        """Arm the home, as its operator did long ago."""
        process = self._scheduler.process("arm")
        task = self._scheduler.spawn(process, "main", self._arm)
        task.role = "arm"

    def _arm(self) -> None:
        self._machine.system.mkdir("/var", 0o755)
        self._home.arm(_LIMITS, home=_IDENTITY, operator="ann", reason="a new desk", now=self._now())
        self._machine.system.disk.root.settle()

    def boot(self) -> None:
        """Begin what keeps engines and operators coming."""
        process = self._scheduler.process("init")
        for slot in self._slots:
            self._scheduler.spawn(process, slot.name, partial(self._keep, slot))
        self._scheduler.spawn(process, "operators", self._operators)

    def close(self) -> None:
        """Attach once more under each name, and detach: for who verifies the journals after that."""
        for slot in self._slots:
            process = self._scheduler.process(f"last-{slot.name}")
            self._scheduler.spawn(process, "main", partial(self._last, slot))

    def _last(self, slot: Slot) -> None:
        self._attach(slot).close()

    def _keep(self, slot: Slot) -> None:
        """Start an engine again whenever it has ended."""
        while True:
            self._lives += 1
            process = self._scheduler.process(f"{slot.name}.{self._lives}")
            self._scheduler.spawn(process, "main", partial(self._engine, process, slot))
            while not process.dead:
                self._think(5)
            self._think(5)

    def _operators(self) -> None:
        """Send for somebody who halts, or resets, time and again."""
        while True:
            self._think(8)
            wanted = "reset" if self._promises.stands() else "halt"
            if not self._chance(0.7 if wanted == "reset" else 0.08):
                wanted = "reset" if self._chance(0.02) else "halt" if self._chance(0.02) else ""
            for _ in range(self._scheduler.random.choice((1, 1, 2)) if wanted else 0):
                process = self._scheduler.process(wanted)
                self._scheduler.spawn(process, "main", self._reset if wanted == "reset" else self._halt)

    # -- An engine -------------------------------------------------------------------------------------

    def _attach(self, slot: Slot) -> Kernel:
        kernel = Kernel.attach(
            HOME,
            operator="ann",
            engine=slot.name,
            durability="disk" if slot.disk else "process",
            clock=self._clock,
            run=str(UUID(bytes=self._scheduler.random.randbytes(16), version=4)),
            segment_bytes=slot.segment_bytes,
            watch=_WATCH if slot.watched else None,
        )
        self._promises.count("attached")
        return kernel

    def _engine(self, process: Process, slot: Slot) -> None:
        try:
            kernel = self._attach(slot)
        except (HomeError, LimitsError):
            self._promises.count("not attached")
            return
        life = Life(slot, kernel)
        for number in range(slot.traders):
            self._scheduler.spawn(process, f"trader-{number}", partial(self._trade, life))
        self._scheduler.spawn(process, "beats", partial(self._beat, life))
        while not life.over:
            self._lead(life)
            self._think(2)
        kernel.close()

    def _lead(self, life: Life) -> None:
        """What an engine's main thread does: start, and now and then stop, halt, reset and end."""
        kernel = life.kernel
        began = self._scheduler.steps
        if kernel.mode is Mode.IDLE:
            if kernel.start():
                self._promises.started(kernel, began, disk=life.slot.disk)
        elif kernel.mode is Mode.RUNNING:
            if self._chance(0.025):
                self._own_halt(kernel, 0.1)
            elif self._chance(0.008):
                kernel.stop(timeout_s=0.05)
        elif self._chance(0.05):
            self._own_reset(kernel)
        life.over = self._chance(0.01)

    def _own_halt(self, kernel: Kernel, timeout_s: float) -> None:
        page = kernel._sentinel.page  # noqa: SLF001 - without one there is no byte to be set
        call = self._promises.halting()
        report = kernel.halt("somebody pulled it", timeout_s=timeout_s, escalate=self._chance(0.2))
        self._promises.halted(call, report, own=page is not None)

    def _own_reset(self, kernel: Kernel) -> None:
        with self._promises.resetting():
            try:
                kernel.reset(operator="bob", reason="looked into", epoch=kernel.epoch)
            except HomeError:
                self._promises.count("resets refused")
            else:
                self._promises.reset()

    def _beat(self, life: Life) -> None:
        kernel = life.kernel
        while not life.over:
            began = self._scheduler.steps
            kernel.heartbeat()
            self._promises.beaten(kernel, began)
            self._think(8)

    def _trade(self, life: Life) -> None:
        acts: tuple[tuple[float, Callable[[Life], None]], ...] = (
            (0.45, self._submit),
            (0.65, self._cancel),
            (0.85, self._hear),
            (1.0, self._tick),
        )
        while not life.over:
            dice = self._scheduler.random.random()
            act = next(act for upto, act in acts if dice < upto)
            try:
                act(life)
            except MisuseError:  # it was detached meanwhile
                return
            if life.kernel.mode is not Mode.RUNNING:
                self._think(10)
            elif self._chance(0.2):
                self._think(0.5)

    def _tick(self, life: Life) -> None:
        now_us = self._clock.utc_us()
        life.kernel.consult(Quote(instrument=_NAME, ts_us=now_us, bid=Decimal("99.5"), ask=Decimal("100.5")))

    def _submit(self, life: Life) -> None:
        kernel, slot = life.kernel, life.slot
        self._tick(life)
        order = self._order(life)
        within = partial(self._within, kernel)
        name = order.client_order_id
        verdict = kernel.submit(
            order, lambda permit: self._venue.send(slot.name, permit, name, disk=slot.disk, within=within)
        )
        self._promises.count("orders")
        if verdict:
            life.working.append(name)

    def _order(self, life: Life) -> Order:
        """A fresh order, or, rarely, one more try with one that may have been sent."""
        self._orders += 1
        name = f"{life.slot.name}-{self._orders}"
        if self._chance(0.05) and self._orders > 1:
            name = f"{life.slot.name}-{self._scheduler.random.randrange(1, self._orders)}"
        return Order(
            client_order_id=name,
            instrument=_NAME,
            side=Side.BUY if self._chance(0.5) else Side.SELL,
            quantity=Decimal(1),
            order_type=OrderType.LIMIT,
            price=Decimal(100),
        )

    def _within(self, kernel: Kernel) -> None:
        """While a send goes on its own thread may halt, too."""
        if self._chance(0.01):
            self._own_halt(kernel, 0.02)

    def _cancel(self, life: Life) -> None:
        name = self._one(life) or "nobody-knows-it"
        reached: list[int] = []

        def send(cancel: Cancel) -> str:
            reached.append(self._scheduler.now_ns)
            return self._venue.cancel(cancel)

        began_ns, pauses = self._scheduler.now_ns, self._scheduler.me().process.pauses
        with contextlib.suppress(LookupError):  # the venue's
            life.kernel.cancel(Cancel(client_order_id=name, instrument=_NAME), send)
        self._promises.cancelled(began_ns, pauses, reached[0] if reached else None)

    def _hear(self, life: Life) -> None:
        """The venue says something of an order."""
        name = self._one(life)
        if name is None:
            return
        kernel = life.kernel
        dice = self._scheduler.random.random()
        if dice < 0.3:  # noqa: PLR2004 - three of ten
            kernel.on_accept(name)
        elif dice < 0.6:  # noqa: PLR2004 - likewise
            life.working.remove(name)
            kernel.on_cancelled(name)
        else:
            life.working.remove(name)
            price, quantity = Decimal(100), Decimal(1)
            side = Side.BUY
            kernel.on_fill(
                Fill(
                    client_order_id=name,
                    fill_id=f"f{name}",
                    instrument=_NAME,
                    side=side,
                    quantity=quantity,
                    price=price,
                )
            )

    def _one(self, life: Life) -> str | None:
        return self._scheduler.random.choice(life.working) if life.working else None

    # -- Operators -------------------------------------------------------------------------------------

    def _halt(self) -> None:
        """Halt the home from outside."""
        timeout_s = self._scheduler.random.choice((0.0, 0.005, 0.03, 0.3))
        call = self._promises.halting()
        try:
            quiet = self._home.halt(self._halted, timeout_s, escalate=self._chance(0.3))
        except HomeError:
            self._promises.count("halts without a home")
            return
        self._promises.halted(call, quiet, own=False)

    def _halted(self, latch: Latch) -> Latch:
        return attrs.evolve(
            latch,
            state=HALTED,
            code="OPERATOR",
            reason="pulled",
            source="cli",
            operator="bob",
            ts_us=self._clock.utc_us(),
            mono_ns=self._clock.mono_ns(),
        )

    def _reset(self) -> None:
        """Reset the home, as the command does: in the epoch that record and journals know."""
        with self._promises.resetting():
            try:
                known = highest_epoch(self._home)
                latch, _, _ = self._home.latch_state()
                epoch = max(known, latch.epoch if latch else 0)
                self._home.reset(
                    epoch=epoch,
                    known_epoch=known,
                    operator="bob",
                    reason="looked into",
                    now=self._now(),
                    others=partial(highest_epoch, self._home),
                )
            except (HomeError, OSError):
                self._promises.count("resets refused")
            else:
                self._promises.reset()

    def _now(self) -> Now:
        return Now(ts_us=self._clock.utc_us(), mono_ns=self._clock.mono_ns())

    # -- Chance ----------------------------------------------------------------------------------------

    def _chance(self, rate: float) -> bool:
        return self._scheduler.random.random() < rate

    def _think(self, ms: float) -> None:
        """Do nothing for a while: some milliseconds on the average."""
        self._machine.times.sleep(self._scheduler.random.expovariate(1) * ms / 1000)
