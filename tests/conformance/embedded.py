"""An engine that embeds the real kernel, as docs/embedding.md says; and its adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers import LIMITS, NAME, abandon, arm, halt_home, journal

from interlock import Cancel, Fill, HomeError, Kernel, LimitsError, Mode, Order, OrderType, Permit, Quote

from .user import WithUser

if TYPE_CHECKING:
    from collections.abc import Hashable
    from decimal import Decimal
    from pathlib import Path

    from interlock.testing.conformance import Tick, Wanted

_RUN = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"
_OWN = frozenset({"run", "segment", "seal"})


class Embedded(WithUser):
    """A strategy, an emulator and a queue around one kernel."""

    instrument = NAME

    def boot(self) -> None:
        """A process that has not attached yet."""
        super().boot()
        self.kernel: Kernel | None = None
        self.fills = 0

    # -- Coming and going ----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Arm the home."""
        arm(self.home, LIMITS, clock=self.clock)  # type: ignore[arg-type] # it is a clock

    def start(self) -> bool:
        """Attach, if it is not, and start."""
        if self.kernel is None:
            try:
                self.kernel = Kernel.attach(self.home, operator="ann", durability="process", clock=self.clock, run=_RUN)
            except (HomeError, LimitsError):
                return False
        return bool(self.kernel.start())

    def crash(self) -> None:
        """Leave everything as it stands."""
        if self.kernel is not None:
            abandon(self.kernel)
        self.boot()

    def mode(self) -> str:
        """The kernel's."""
        if self.kernel is None:
            return "halted"
        return {Mode.RUNNING: "running", Mode.HALTED: "halted"}.get(self.kernel.mode, "idle")

    def reset(self) -> None:
        """By the operator, who knows the epoch."""
        if self.kernel is not None:
            self.kernel.reset(operator="bob", reason="checked", epoch=self.kernel.epoch)

    def state_files(self) -> list[Path]:
        """Each of these alone is halt."""
        return [self.home, self.home / "latch.json", self.home / "page"]

    # -- Orders ----------------------------------------------------------------------------------------

    def submit(self, wanted: Wanted) -> None:
        """The user's check, then the kernel."""
        if self.risk_check() and self.kernel is not None:
            self.kernel.submit(_order(wanted), self._send)

    def _send(self, permit: Permit) -> None:
        order = permit.redeem()
        self.venue.order(order.client_order_id, side=order.side, quantity=order.quantity, reduce_only=order.reduce_only)

    def cancel(self, order_id: str) -> None:
        """Through the kernel."""
        if self.kernel is not None:
            wanted = Cancel(client_order_id=order_id, instrument=NAME)
            self.kernel.cancel(wanted, lambda cancel: self.venue.cancel(cancel.client_order_id))

    def fill(self, order_id: str, quantity: Decimal) -> None:
        """Tell the kernel."""
        if self.kernel is not None:
            self.fills += 1
            side = next(one.side for one in self.venue.seen if one.order_id == order_id and one.side is not None)
            self.kernel.on_fill(
                Fill(
                    client_order_id=order_id,
                    fill_id=f"f{self.fills}",
                    instrument=NAME,
                    side=side,
                    quantity=quantity,
                    price=self.price,
                )
            )

    def recorded(self, order_id: str) -> bool:
        """Whether its permit is in the file."""
        return any(record["kind"] == "permit" and record["id"] == order_id for record in journal(self.home))

    def decisions(self) -> Hashable:
        """The journal, but for what names a process."""
        return tuple(str(record) for record in journal(self.home) if record["kind"] not in _OWN)

    # -- Ticks -----------------------------------------------------------------------------------------

    def tick(self, tick: Tick) -> None:
        """Release what is due; consult; ask the strategy."""
        kernel = self.kernel
        if kernel is None:
            return
        now_us = self.clock.utc_us()
        quote = Quote(
            instrument=NAME, ts_us=now_us - tick.age_ms * 1000, bid=tick.bid, ask=tick.ask, received_us=now_us
        )
        passes = bool(kernel.consult(quote))
        for wanted in self.due(tick):
            self.submit(wanted)
        if passes:
            try:
                self.strategy()
            except RuntimeError as error:
                kernel.anomaly("STRATEGY_RAISED", str(error))

    def beat(self) -> None:
        """The kernel's heartbeat, and the queue."""
        if self.kernel is not None:
            self.kernel.heartbeat()
        for wanted in self.unqueue():
            self.submit(wanted)

    # -- Halts -----------------------------------------------------------------------------------------

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Pull the kernel's."""
        return False if self.kernel is None else self.kernel.halt(reason, timeout_s=timeout_s).confirmed

    def halt_from_outside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """As `interlock halt` does."""
        halt_home(self.home)


def _order(wanted: Wanted) -> Order:
    return Order(
        client_order_id=wanted.order_id,
        instrument=NAME,
        side=wanted.side,
        quantity=wanted.quantity,
        order_type=OrderType.MARKET if wanted.price is None else OrderType.LIMIT,
        price=wanted.price,
        reduce_only=wanted.reduce_only,
    )
