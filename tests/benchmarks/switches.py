"""The switches that are measured beside each other, each as its users would have it.

A switch has two sides. The *killer's* (`Switch`) halts, and says whether the halt is confirmed; it lives in the
harness. The *engine's* (`Side`) sends as fast as it can until it is told to stop; it lives in an engine process.
A send is the same for all: two notes on the board. What stands before it is the switch.

- `Interlock`: `Kernel.submit` with all limits and the journal, durability ``process``; `Home.halt`, which confirms.
- `FlagFile`: ``os.path.exists`` before each send. Halting is making the file.
- `PolledFile`: a thread looks for that file every 10 ms and sets a variable, which is looked at before each send.
- `NatsLoop`: pub/sub by NATS on the loopback. The engine is an asyncio program: its subscription's callback sets a
  variable, which is looked at before each send; after each send the loop goes round once, so that callbacks run.
- `NatsThread`: the same subscription in a thread with a loop of its own.

The peers have no confirmation: their halt returns when the flag is set, or the message is with the server (published
and flushed). And they fail open: no file, or no server, means "trade". Of each peer both usual forms are
measured, because which one is quicker depends on what else the engine does.
"""

# ruff: noqa: PLC0415 - nats-py is optional, so it is imported on use.
from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from interlock import Kernel, Order, Permit, Quote, Reason
from interlock import Side as OrderSide
from interlock.breaker import latch as latches
from interlock.breaker.home import Home, Now, boot_id

from .measure import require
from .ours import make_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.breaker.home import Quiet
    from interlock.breaker.latch import Latch

    from .board import Pen

__all__ = ["SIDES", "FlagFile", "Interlock", "NatsLoop", "NatsThread", "PolledFile", "Side", "Switch"]

POLL_S: Final = 0.01
_TIMEOUT_S: Final = 10.0


class Switch(Protocol):
    """The killer's side.

    Attributes:
        kind: which of `SIDES` is the engines' side.
        name: for the tables.
        where: what the engine's side needs to find it: a path or an address.
    """

    kind: str
    name: str
    where: str

    def halt(self) -> bool | None:
        """Halt. True or False: confirmed or not; None: this switch can't know."""

    def rearm(self) -> None:
        """Let the engines send again, once they are told to go; all of them are out."""

    def close(self) -> None:
        """Leave nothing behind."""


class Side(Protocol):
    """The engine's side."""

    def rearm(self) -> None:
        """The switch is armed: be ready to send."""

    def run(self, pen: Pen) -> None:
        """Send until told to stop."""

    def close(self) -> None:
        """Leave nothing behind."""


# -- Interlock -------------------------------------------------------------------------------


class Interlock:
    """Halting a home from outside, as `interlock halt` does.

    Args:
        directory: where the home is made.
        timeout_s: of each halt.
        escalate: whether to end what does not drain.
    """

    kind = "interlock"
    name = "interlock"

    def __init__(self, directory: Path, *, timeout_s: float = _TIMEOUT_S, escalate: bool = False) -> None:
        self.where = str(make_home(directory, "escalated" if escalate else "fleet"))
        self.quiet: Quiet | None = None
        self._home = Home(self.where)
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {"escalate": True} if escalate else {}
        self._epoch = 1

    def halt(self) -> bool:
        """Byte, latch, quiet: confirmed."""
        self.quiet = quiet = self._home.halt(_halted, self._timeout_s, **self._options)
        return quiet.stopped and quiet.durable and quiet.confirmed

    def rearm(self) -> None:
        """A reset, by somebody who names the epoch."""
        now = Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())
        self._epoch = self._home.reset(
            epoch=self._epoch, known_epoch=self._epoch, operator="bench", reason="bench", now=now
        ).epoch

    def close(self) -> None:
        """The home goes with its directory."""


def _halted(armed: Latch) -> Latch:
    return attrs.evolve(
        armed,
        state=latches.HALTED,
        code="OPERATOR",
        reason="benchmark",
        source="bench",
        operator="bench",
        ts_us=time.time_ns() // 1000,
        boot=boot_id(),
        mono_ns=time.monotonic_ns(),
    )


class _InterlockSide:
    """An engine that holds a kernel."""

    def __init__(self, where: str, engine: int) -> None:
        self._kernel = Kernel.attach(where, operator="bench", engine=f"e{engine}", durability="process")
        # Another process of this name may have been killed: its ids are not ours to use again.
        self._number = time.monotonic_ns()

    def rearm(self) -> None:
        kernel = self._kernel
        kernel.heartbeat()
        require(kernel.start(), f"the kernel did not start: {kernel.mode}, {kernel.cause}")
        now = time.time_ns() // 1000
        require(
            kernel.consult(Quote(instrument="EURUSD", ts_us=now, bid=Decimal("1.38626"), ask=Decimal("1.38627"))),
            "the kernel took no quote",
        )

    def run(self, pen: Pen) -> None:
        kernel = self._kernel
        quantity, price = Decimal(1000), Decimal("1.38627")

        def send(permit: Permit) -> None:
            pen.begin()
            permit.redeem()
            pen.end()

        while True:
            self._number += 1
            order = Order(
                client_order_id=f"B-{self._number}",
                instrument="EURUSD",
                side=OrderSide.BUY if self._number % 2 else OrderSide.SELL,
                quantity=quantity,
                price=price,
            )
            verdict = kernel.submit(order, send)
            if not verdict:
                require(verdict.reason is Reason.HALTED, f"refused for another reason: {verdict}")
                return
            kernel.on_cancelled(order.client_order_id)  # the working set stays small, as it is in life

    def close(self) -> None:
        self._kernel.close()


# -- A file ----------------------------------------------------------------------------------


class FlagFile:
    """Halting by making a file.

    Args:
        directory: where.
    """

    kind = "flag-file"
    name = "flag file, each send"

    def __init__(self, directory: Path) -> None:
        self._flag = directory / f"{self.kind}.halt"
        self.where = str(self._flag)

    def halt(self) -> None:
        """The file is there when this returns."""
        self._flag.touch()

    def rearm(self) -> None:
        """It is gone."""
        self._flag.unlink()

    def close(self) -> None:
        """Nothing is left but the file."""
        self._flag.unlink(missing_ok=True)


class PolledFile(FlagFile):
    """The same file, for engines that look every 10 ms."""

    kind = "polled-file"
    name = "flag file, every 10 ms"


class _FlagFileSide:
    def __init__(self, where: str, engine: int) -> None:
        del engine
        self._flag = where

    def rearm(self) -> None:
        pass

    def run(self, pen: Pen) -> None:
        flag = self._flag
        while not os.path.exists(flag):  # noqa: PTH110 - the call that such an engine makes
            pen.begin()
            pen.end()

    def close(self) -> None:
        pass


class _FlaggedSide:
    """An engine that looks at a variable before each send; something beside it sets that."""

    def __init__(self) -> None:
        self.halted = False

    def rearm(self) -> None:
        self.halted = False

    def run(self, pen: Pen) -> None:
        while not self.halted:
            pen.begin()
            pen.end()

    def close(self) -> None:
        pass


class _PolledFileSide(_FlaggedSide):
    def __init__(self, where: str, engine: int) -> None:
        super().__init__()
        del engine
        self._flag = where
        self._look = threading.Event()
        threading.Thread(target=self._poll, daemon=True).start()

    def _poll(self) -> None:
        while True:
            self.halted = os.path.exists(self._flag)  # noqa: PTH110
            self._look.set()
            time.sleep(POLL_S)

    def rearm(self) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while self.halted:  # the file is gone, and the next look will see it
            require(time.monotonic() < deadline, "the polling thread does not look")
            self._look.clear()
            self._look.wait(_TIMEOUT_S)


# -- NATS ------------------------------------------------------------------------------------


class NatsLoop:
    """Halting by a published message.

    Args:
        where: the server's address.
    """

    kind = "nats-loop"
    name = "NATS flag, in the loop"

    def __init__(self, where: str) -> None:
        import nats

        self.where = where
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(nats.connect(where))

    def halt(self) -> None:
        """The server has it when this returns: a flush is a round trip."""
        self._loop.run_until_complete(self._publish())

    async def _publish(self) -> None:
        await self._client.publish(_subject(self.kind), b"halt")
        await self._client.flush()

    def rearm(self) -> None:
        """A message is gone once it was delivered."""

    def close(self) -> None:
        """Leave the server."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


class NatsThread(NatsLoop):
    """The same message, for engines that subscribe in a thread."""

    kind = "nats-thread"
    name = "NATS flag, in a thread"


class _NatsLoopSide(_FlaggedSide):
    def __init__(self, where: str, engine: int) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(_subscribe(where, NatsLoop.kind, engine, self._heard))

    async def _heard(self, message: object) -> None:
        del message
        self.halted = True

    def run(self, pen: Pen) -> None:
        self._loop.run_until_complete(self._send(pen))

    async def _send(self, pen: Pen) -> None:
        while not self.halted:
            pen.begin()
            pen.end()
            await asyncio.sleep(0)

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


class _NatsThreadSide(_FlaggedSide):
    def __init__(self, where: str, engine: int) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._client = self._there(_subscribe(where, NatsThread.kind, engine, self._heard))

    def _there(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)

    async def _heard(self, message: object) -> None:
        del message
        self.halted = True

    def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            self._there(self._client.close())


def _subject(kind: str) -> str:
    """Each fleet has its own: nobody hears the halts of another."""
    return f"interlock.bench.{kind}"


async def _subscribe(where: str, kind: str, engine: int, heard: Callable[[object], Any]) -> Any:
    """A client that hears the halt; the server knows of it when this returns."""
    import nats

    client = await nats.connect(where, name=f"e{engine}")
    await client.subscribe(_subject(kind), cb=heard)
    await client.flush()
    return client


SIDES: Final[dict[str, Callable[[str, int], Side]]] = {
    "interlock": _InterlockSide,
    "flag-file": _FlagFileSide,
    "polled-file": _PolledFileSide,
    "nats-loop": _NatsLoopSide,
    "nats-thread": _NatsThreadSide,
}
