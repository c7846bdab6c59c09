"""A process that journals, and says on its standard output what it was told is durable. The tests let it die.

    python -m tests.faults.driver HOME DURABILITY [before|half|after N | quiet]

It says, each on a line of its own and at once: `permit ID` inside a send, whose permit is durable by then;
`filled ID` after a heartbeat that a fill of that order was told before; and `end MODE CODE`. With three more
arguments it gets SIGKILL before, half-way through, or after its N-th write to the journal; if it is `quiet` it does
not beat, so that segments are begun on the way of an order.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from tests.helpers import FakeClock, attach, cancel, fill, order, quote

from interlock import HomeError, Mode
from interlock.breaker.segment import MappedSegment, Segment

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Kernel, Permit

ORDERS: Final = 8
SEGMENT_BYTES: Final = 3_500
"""So small that there are some turns."""

RUN: Final = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"


def say(*words: object) -> None:
    """A line, at once and whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def die_at(where: str, number: int) -> None:
    """Get SIGKILL at a write to the journal."""
    count = 0
    for kind in (Segment, MappedSegment):
        real = kind.write

        def write(self: Segment, data: bytes, real: Any = real) -> str | None:
            nonlocal count
            count += 1
            if count != number:
                return cast("str | None", real(self, data))
            if where != "before":
                real(self, data if where == "after" else data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        kind.write = write  # type: ignore[method-assign]


def trade(kernel: Kernel, clock: FakeClock, *, beats: bool) -> None:
    """Orders with fills, heartbeats in between, and cancels."""
    for number in range(ORDERS):
        name = f"o{number}"
        clock.advance()
        kernel.consult(quote(kernel))

        def send(permit: Permit, name: str = name) -> None:
            permit.redeem()
            say("permit", name)

        if kernel.submit(order(name), send):
            kernel.on_fill(fill(name, f"f{number}"))
            if beats:
                kernel.heartbeat()
            if beats and kernel.mode is Mode.RUNNING:
                say("filled", name)
        kernel.cancel(cancel(name), lambda _: None)


def main(home: Path | str, durability: str, where: str = "", number: str = "0") -> None:
    """Attach, trade, detach."""
    if where and where != "quiet":
        die_at(where, int(number))
    clock = FakeClock()
    size = 1_000 if where == "quiet" else SEGMENT_BYTES
    try:
        kernel = attach(home, clock, durability=durability, segment_bytes=size, run=RUN)  # type: ignore[arg-type]
    except HomeError as error:
        say("end", "REFUSED", error.code)
        return
    if kernel.start():
        trade(kernel, clock, beats=where != "quiet")
        kernel.heartbeat()
    say("end", kernel.mode, kernel.cause.code if kernel.cause else None)
    kernel.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
