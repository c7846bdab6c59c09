"""An engine that embeds the real kernel, as docs/embedding.md says; and its adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.helpers import LIMITS, NAME, abandon, arm, halt_home, journal

from interlock import Cancel, Fill, HomeError, Kernel, LimitsError, Mode, Order, OrderType, Permit, Quote
from interlock.testing.conformance import Adapter, Tick, Wanted

if TYPE_CHECKING:
    from collections.abc import Hashable
    from decimal import Decimal
    from pathlib import Path

_RUN = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"
_OWN = frozenset({"run", "segment", "seal"})


class Embedded(Adapter):
    """A strategy, an emulator and a queue around one kernel."""

    instrument = NAME

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.kernel: Kernel | None = None
        self.fills = 0
        self._forget()

    def _forget(self) -> None:
        self.held: list[tuple[Wanted, Decimal]] = []
        self.queued: list[Wanted] = []
        self.wanted: list[Wanted] = []
        self.raising: set[str] = set()
        self.pulled = ""

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
        self.kernel = None
        self._forget()

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
        if "check" in self.raising:
            self.raising.discard("check")
            message = "the check is broken"
            raise RuntimeError(message)
        if self.kernel is not None:
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
        due = [wanted for wanted, ask in self.held if tick.ask >= ask]
        self.held = [(wanted, ask) for wanted, ask in self.held if tick.ask < ask]
        passes = bool(kernel.consult(quote))
        for wanted in due:
            self.submit(wanted)
        if passes:
            try:
                self._strategy()
            except RuntimeError as error:
                kernel.anomaly("STRATEGY_RAISED", str(error))

    def _strategy(self) -> None:
        if self.pulled:
            self.pulled = ""
            self.halt("from inside", 0.05)
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
        """The kernel's heartbeat, and the queue."""
        if self.kernel is not None:
            self.kernel.heartbeat()
        queued, self.queued = self.queued, []
        for wanted in queued:
            self.submit(wanted)

    def raise_next(self, where: str) -> None:
        """Break the check or the strategy, once."""
        self.raising.add(where)

    # -- Halts -----------------------------------------------------------------------------------------

    def halt(self, reason: str, timeout_s: float) -> bool | None:
        """Pull the kernel's."""
        return False if self.kernel is None else self.kernel.halt(reason, timeout_s=timeout_s).confirmed

    def halt_from_outside(self, reason: str) -> None:  # noqa: ARG002 - one reason is as good as another
        """As `interlock halt` does."""
        halt_home(self.home)

    def halt_from_inside(self, reason: str) -> None:
        """In the strategy's handler."""
        self.pulled = reason
        self.tick(Tick(bid=self.price, ask=self.price + self.step))
        if self.pulled:  # the strategy was not asked: it is halted already, or the tick was no good
            self.pulled = ""
            self.halt(reason, 0.05)


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
