"""Lives of a kernel in which every kind of decision is made."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.helpers import LIMITS, NAME, FakeClock, RecordingVenue, cancel, fill, order, quote

from interlock import Kernel, Mode, Side, Trade, Verdict
from interlock.core.tickets import Ticket

if TYPE_CHECKING:
    from interlock import Permit

TIGHT: Final = (
    LIMITS.replace("max_position = 50", "max_position = 20")
    .replace("max_session_loss = 1000", "max_session_loss = 60")
    .replace("max_drawdown = 1000", "max_drawdown = 50")
    .replace("messages_per_s = 100000", "messages_per_s = 20")
    .replace("message_burst = 100000", "message_burst = 30")
    .replace("repeat_window_ms = 1\n", "repeat_window_ms = 1000\n")
    .replace("repeat_refuse_after = 1000", "repeat_refuse_after = 3")
    .replace("repeat_trip_after = 2000", "repeat_trip_after = 6")
    .replace("heartbeat_overdue_ms = 60000", "heartbeat_overdue_ms = 500")
)
"""Limits of which each is reached within seconds."""


def fails(permit: Permit) -> None:
    """A send of which nobody knows whether it left."""
    permit.redeem()
    raise TimeoutError


def reset(kernel: Kernel, session: str | None = None) -> None:
    """Out of HALTED, and RUNNING again."""
    kernel.reset(operator="bob", reason="looked into", epoch=kernel.epoch)
    assert kernel.start(session)


@attrs.frozen
class Life:
    """A life in which every kind of decision is made, act by act."""

    kernel: Kernel
    clock: FakeClock
    venue: RecordingVenue = attrs.field(factory=RecordingVenue)

    def step(self, ms: int = 60, bid: str = "99.5", ask: str = "100.5") -> None:
        """A heartbeat and a tick."""
        self.clock.advance(ms)
        self.kernel.heartbeat(quick=True)
        self.kernel.consult(quote(self.kernel, bid, ask))

    def submit(self, name: str, **given: Any) -> Verdict:
        """An order."""
        return self.kernel.submit(order(name, **given), self.venue.send)

    def trades(self) -> None:
        """Grants, partial fills, cancels, unknown sends, exits, and refusals of many kinds."""
        kernel = self.kernel
        for number in range(12):
            self.step()
            self.submit(f"a{number}", quantity=str(number - 1), price=str(97 + number))
            kernel.on_accept(f"a{number}", "v")
            kernel.on_fill(fill(f"a{number}", f"f{number}"))
            kernel.on_fill(fill(f"a{number}", f"f{number}"))
            if number % 3 == 0:
                kernel.cancel(cancel(f"a{number}"), self.venue.cancel)
                kernel.on_cancelled(f"a{number}", "asked for")
        self.step()
        assert self.submit("a3").reason == "DUPLICATE_ID"
        kernel.submit(order("u1"), fails)
        kernel.on_reject("u1", "never seen")
        self.submit("m1", price=None, side=Side.SELL, quantity="0.5")
        self.submit("r1", side=Side.SELL, reduce_only=True)

    def feeds(self) -> None:
        """Ticks of every sort, and a silence."""
        kernel = self.kernel
        for broken in (quote(kernel, "101", "100"), quote(kernel, age_ms=5000), quote(kernel, "99.5", "nan")):
            kernel.consult(broken)
        kernel.consult(Trade(instrument=NAME, ts_us=quote(kernel).ts_us, price=Decimal(100), size=Decimal("0.1")))
        self.clock.advance(600)
        kernel.consult(quote(kernel))
        self.submit("late")

    def loops(self) -> None:
        """An order loop trips."""
        self.step(0)
        for one in self.kernel.working_orders():
            self.kernel.on_cancelled(one.client_order_id)
        for number in range(7):
            self.submit(f"l{number}", quantity="0.1")
        assert self.kernel.mode is Mode.HALTED
        self.submit("halted")

    def loses(self) -> None:
        """A loss is entered, left, entered again and confirmed."""
        self.clock.advance(2000)
        self.step()
        for bid in ("95", "94.9"):
            self.step(60, bid, "110")
            assert self.submit(f"loss{bid}", quantity="0.2").reason == "DRAWDOWN"
            self.step(60)
        for bid in ("95", "94.9"):
            self.step(60, bid, "110")
        assert self.kernel.mode is Mode.HALTED

    def hurries(self) -> None:
        """Too many messages."""
        self.clock.advance(3000)
        self.step()
        for number in range(40):
            self.submit(f"many{number}", quantity="0.1", price=str(99 + number % 16 / 2))
            self.kernel.on_cancelled(f"many{number}")
        self.kernel.on_accept("nobody")

    def stops(self) -> None:
        """A controlled stop, with exits by ticket."""
        kernel = self.kernel
        self.clock.advance(3000)
        self.step()
        kernel.drain()
        for name in ("w1", "exit"):
            ticket = Ticket(client_order_id=name, instrument=NAME, side=Side.SELL, quantity=Decimal("1E+0"))
            assert kernel.ticket(ticket)
        self.submit("w1", side=Side.SELL, quantity="2", price=None, reduce_only=True)
        self.submit("exit", side=Side.SELL, price=None)
        assert self.submit("exit", side=Side.SELL, price=None, reduce_only=True)
        assert kernel.stop().stopped
        kernel.consult(quote(kernel))

    def confuses(self) -> None:
        """A fill that can't be read halts."""
        self.kernel.start("third")
        self.step()
        assert self.submit("z1")
        self.kernel.on_fill(attrs.evolve(fill("z1", "bad"), price=Decimal("NaN")))
        assert self.kernel.mode is Mode.HALTED


def eventful(kernel: Kernel, clock: FakeClock) -> None:
    """All of it."""
    life = Life(kernel, clock)
    life.trades()
    life.feeds()
    life.loops()
    reset(kernel, "second")
    life.loses()
    reset(kernel)
    life.hurries()
    life.stops()
    life.confuses()
