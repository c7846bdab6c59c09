"""One engine of a drill: ``python -m interlock.ops.drill.engine HOME NAME EVIDENCE SESSION OPERATOR``.

It trades on the paper venue as fast as the kernel lets it: buy, sell, rest, cancel, over and over, so that it could go
on for ever. When the halt comes it goes on trying, which is the point. It reads words from its standard input:

    hang      the next send does not end             let-out   it ends after all
    stall     the loop does not come round           end       tell what was seen, and detach

An end of input without ``end`` means that the drill itself is gone: then so is this process, whatever it is at.

With ``--again`` it is what an operator does who hopes that a restart helps: attach, start, start once more, order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from interlock.adapters.paper import PaperVenue
from interlock.breaker.quiescence import DEAD
from interlock.core.reasons import Reason
from interlock.core.values import Cancel, Order, Quote, Side, TimeInForce
from interlock.kernel import Kernel
from interlock.ops.drill.evidence import Evidence, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.breaker.quiescence import SharedLock
    from interlock.core.values import Permit

__all__ = ["Load", "TimedKernel", "main"]

_NAME: Final = "SIM"
_BID: Final = Decimal("99.99")
_ASK: Final = Decimal("100.01")
_LOT: Final = Decimal(1)
_TICK_EVERY: Final = 16
_BEAT_EVERY_NS: Final = 20_000_000
_PRESSED: Final = 2000
_PAUSE_S: Final = 0.001
_FOR_EVER_S: Final = 3600.0


class _TimedLock:
    """The running lock, with a stopwatch at the way out: the instant is taken before it is let go."""

    def __init__(self, lock: SharedLock, evidence: Evidence) -> None:
        self._lock = lock
        self._evidence = evidence

    def shared(self) -> bool:
        """Take it."""
        return self._lock.shared()

    def release(self) -> None:
        """Let go."""
        self._evidence.leaves()
        self._lock.release()


class TimedKernel(Kernel):
    """The kernel as it is, with two stopwatches: at the lookout, and at the running lock."""

    _evidence: Evidence | None = None

    def time(self, evidence: Evidence) -> None:
        """Note from here on when the halt is seen, and when the lock is let go."""
        self._evidence = evidence
        self._hold._lock = _TimedLock(self._hold._lock, evidence)  # noqa: SLF001 - the very lock that the killer awaits

    def _look_out(self, noted: bool) -> bool:  # noqa: FBT001 - as it is there
        if self._evidence is not None and self._hold.see() and self._hold.page is DEAD:
            self._evidence.saw()
        return super()._look_out(noted)


class _Venue:
    """The paper venue, with the evidence: first and last act of each send."""

    def __init__(self, paper: PaperVenue, evidence: Evidence) -> None:
        self.paper = paper
        self.evidence = evidence
        self.hang = threading.Event()
        self.let_out = threading.Event()

    def send(self, permit: Permit) -> str:
        at = self.evidence.begin()
        try:
            if self.hang.is_set():
                self.evidence.tell(State.HUNG)
                self.let_out.wait(_FOR_EVER_S)
            return self.paper.send_now(permit)
        finally:
            self.evidence.end(at)


class Load:
    """The trading of one engine, and what it saw.

    Args:
        kernel: attached.
        evidence: where sends are noted.
        session: put into every id.
    """

    def __init__(self, kernel: Kernel, evidence: Evidence, session: str) -> None:
        paper = PaperVenue(seed=1, session=session)
        paper.connect(kernel)
        self.kernel = kernel
        self.evidence = evidence
        self.venue = _Venue(paper, evidence)
        self.stall = threading.Event()
        self.ended = threading.Event()
        self.otherwise: dict[str, int] = {}
        self.first_refused: dict[str, str] | None = None
        self._session = session
        self._number = 0
        self._beaten_ns = 0

    def order(self, step: int) -> Order:
        """The next order: a buy and a sell that fill at once, then one that rests."""
        self._number += 1
        buys = step != 1
        return Order(
            client_order_id=f"{self._session}-{self._number}",
            instrument=_NAME,
            side=Side.BUY if buys else Side.SELL,
            quantity=_LOT,
            price=_ASK if step == 0 else _BID,
            time_in_force=TimeInForce.GTC if step > 1 else TimeInForce.IOC,
        )

    def tick(self) -> None:
        """A quote of just now."""
        quote = Quote(instrument=_NAME, ts_us=time.time_ns() // 1000, bid=_BID, ask=_ASK)
        self.venue.paper.on_tick(quote)
        self.kernel.consult(quote)

    def cancel(self, order: Order) -> bool:
        """Cancel a resting order. True if the venue did."""
        cancel = Cancel(client_order_id=order.client_order_id, instrument=_NAME)
        self.kernel.cancel(cancel, self.venue.paper.cancel_now)
        return not self.venue.paper.remaining(order.client_order_id)

    def run(self) -> Order:
        """Trade until told to end. Gives the order that still rests."""
        self.tick()
        resting = self.order(2)
        self.turn(resting)
        self.evidence.tell(State.SENDING)
        while not self.ended.is_set():
            if self.stall.is_set():
                self.evidence.tell(State.STALLED)
                self.ended.wait(_FOR_EVER_S)
                break
            if self._number % _TICK_EVERY == 0:
                self.beat()
            order = self.order(self._number % 3)
            if self.turn(order) and self.venue.paper.remaining(order.client_order_id):
                self.cancel(order)
        return resting

    def beat(self) -> None:
        """A tick, and a heartbeat if it is time."""
        self.tick()
        now = time.monotonic_ns()
        if now - self._beaten_ns >= _BEAT_EVERY_NS:
            self._beaten_ns = now
            self.kernel.heartbeat()

    def turn(self, order: Order) -> bool:
        """Try one order. True if it was sent."""
        verdict = self.kernel.submit(order, self.venue.send)
        if verdict:
            if verdict.error is not None:
                raise verdict.error
            return True
        if verdict.reason is not Reason.HALTED:
            self.otherwise[verdict.reason] = self.otherwise.get(verdict.reason, 0) + 1
            return False
        if self.first_refused is None:
            self.first_refused = {"order": order.client_order_id, "reason": str(verdict.reason)}
        if self.evidence.refused() > _PRESSED:
            self.ended.wait(_PAUSE_S)  # it has pressed hard enough; from here on it only goes on trying
        return False

    def listen(self, descriptor: int) -> None:
        """Take words until the end; without one this process ends at once, as nobody is there to end it."""
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as words:
            for word in words:
                match word.strip():
                    case b"hang":
                        self.venue.hang.set()
                    case b"let-out":
                        self.venue.hang.clear()
                        self.venue.let_out.set()
                    case b"stall":
                        self.stall.set()
                    case b"end":
                        self.venue.let_out.set()
                        self.ended.set()
                        return
        os._exit(1)


def _trade(home: Path, name: str, evidence: Evidence, session: str, operator: str) -> dict[str, object]:
    """Attach, start, trade, and tell."""
    with TimedKernel.attach(home, operator=operator, engine=name, durability="process") as kernel:
        kernel.time(evidence)
        verdict = kernel.start()
        if not verdict:
            return {"not_started": str(verdict.reason)}
        load = Load(kernel, evidence, session)
        threading.Thread(target=load.listen, args=(0,), daemon=True, name="drill-words").start()
        resting = load.run()
        return {
            "mode": str(kernel.mode),
            "first_refused": load.first_refused,
            "otherwise": load.otherwise,
            "cancelled": load.cancel(resting),
        }


def _again(home: Path, name: str, session: str, operator: str) -> dict[str, object]:
    """A restart, as somebody would try it who wants to go on: nothing of it may help."""
    reached: list[Permit] = []
    with Kernel.attach(home, operator=operator, engine=name, durability="process") as kernel:
        cause = kernel.cause
        starts = [str(kernel.start().reason), str(kernel.start().reason)]
        order = Order(
            client_order_id=f"{session}-again", instrument=_NAME, side=Side.BUY, quantity=_LOT, price=Decimal(100)
        )
        verdict = kernel.submit(order, reached.append)
        return {
            "mode": str(kernel.mode),
            "starts": starts,
            "order": str(verdict.reason),
            "reached": len(reached),
            "code": str(cause.code) if cause else None,
            "reason": cause.reason if cause else None,
        }


def main(arguments: Sequence[str]) -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the drill takes it, and ends us
    again = arguments[0] == "--again"
    home, name, evidence, session, operator = arguments[again:]
    if again:
        told = _again(Path(home), name, session, operator)
    else:
        told = _trade(Path(home), name, Evidence(Path(evidence)), session, operator)
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
