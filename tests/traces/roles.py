"""The processes of a run: engines that send as fast as they can, killers that halt, an operator who resets.

Each is a forked child of the supervisor, with a pipe for what it is told and one for what it says, a line each.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from tests.helpers import order, quote
from tests.traces import bugs, traced
from tests.traces.log import Fault, Log, now

from interlock.breaker import latch as latches
from interlock.breaker.home import Now
from interlock.breaker.latch import Latch
from interlock.breaker.quiescence import DEAD
from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Order, Permit

EMITTERS: Final = ("t", "u")
_VENUE_S: Final = 0.0004  # what a venue takes to answer
_SENDS: Final = 3  # after so many an emitter says that it is sending


class Ends:
    """A child's ends of its pipes.

    Args:
        orders: what it is told.
        words: what it says.
        gates: a directory, where pauses wait to be let go.
    """

    def __init__(self, orders: int, words: int, gates: Path) -> None:
        self._orders = orders
        self._words = words
        self._gates = gates
        self._pauses = 0
        self._buffer = b""

    def say(self, *words: object) -> None:
        """Say something."""
        os.write(self._words, (" ".join(map(str, words)) + "\n").encode())

    def hear(self) -> list[str]:
        """What we are told next; nothing if the supervisor is gone."""
        while b"\n" not in self._buffer:
            more = os.read(self._orders, 4096)
            if not more:
                return ["close"]
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().split()

    def pause(self, fault: Fault) -> None:
        """Say that this thread pauses, and stay here until the supervisor lets it go."""
        self._pauses += 1
        gate = self._gates / f"{os.getpid()}.{self._pauses}.{threading.get_native_id()}"
        os.mkfifo(gate)
        waiting = os.open(gate, os.O_RDWR | os.O_CLOEXEC)
        self.say("paused", fault.step, fault.until, gate)
        os.read(waiting, 1)
        os.close(waiting)

    def stopping(self, fault: Fault) -> None:
        """Say that this process is about to be suspended."""
        self.say("stopping", fault.step, fault.until)


class Venue:
    """A venue, and the emitters that send to it.

    Args:
        kernel: the engine's.
        log: where each send's begin and end are written.
        ends: where it is said that sends go on.
    """

    def __init__(self, kernel: traced.TracedKernel, log: Log, ends: Ends) -> None:
        self._kernel = kernel
        self._log = log
        self._ends = ends
        self._go = {emitter: threading.Event() for emitter in EMITTERS}
        for emitter in EMITTERS:
            threading.Thread(target=self._emit, args=(emitter,), daemon=True).start()

    def open(self) -> None:
        """Let the emitters go on."""
        for go in self._go.values():
            go.set()

    def _emit(self, emitter: str) -> None:
        self._log.here.emitter = emitter
        number = 0
        while True:
            self._go[emitter].wait()
            self._go[emitter].clear()
            sent = 0
            while True:
                number += 1
                name = f"{self._log.who}-{os.getpid()}-{emitter}-{number}"
                if not self._kernel.submit(order(name, quantity="0.1"), self._send):
                    break
                self._kernel.on_cancelled(name)
                sent += 1
                if sent == _SENDS:
                    self._ends.say("sending", emitter)
            self._ends.say("out", emitter)

    def _send(self, permit: Permit) -> str:
        """One send. Its begin and end are the first and the last that it does."""
        begin = now()
        log, emitter = self._log, self._log.here.emitter
        log.write(send=permit.number, emitter=emitter, begin=begin)
        log.strike("Send", "before")
        said: Order = permit.redeem()
        time.sleep(_VENUE_S)
        end = now()
        log.write(sent=permit.number, emitter=emitter, begin=begin, end=end)
        log.did("End", end, emitter=emitter, permit=permit.number)
        return said.client_order_id


def engine(home: Path, log: Log, ends: Ends, *, bug: str, again: bool) -> None:
    """An engine process."""
    kind = bugs.install_engine(bug, home, again=again)
    lo = now()
    kernel = kind.attach(home, operator="ann", engine=log.who, durability="process")
    log.live = True
    log.did(
        "Restart",
        lo,
        mode=str(kernel._core.mode),
        epoch=kernel.epoch,
        first=not again,
        run=kernel.run,
        zero=kernel._recorder.zero_ns,
    )
    if kernel._hold._page is DEAD:
        log.did("See", lo)
    venue = Venue(kernel, log, ends)
    ends.say("ready")
    while True:
        match ends.hear():
            case ["start"]:
                started = kernel.start()
                if started and kernel.consult(quote(kernel)):
                    venue.open()
                ends.say("started", bool(started))
            case ["beat"]:
                kernel.heartbeat()
                ends.say("beat", kernel._core.mode)
            case ["stop"]:
                ends.say("stopped", kernel.stop(timeout_s=0.3).stopped)
            case ["halt", timeout_s]:
                report = kernel.halt("pulled by the engine", timeout_s=float(timeout_s))
                ends.say("quiet", report.confirmed, report.durable)
            case _:
                log.write(note="closing", at=now())
                log.live = False
                kernel.close()
                ends.say("closed")
                return


def killer(home: Path, log: Log, ends: Ends, *, bug: str) -> None:
    """A killer process."""
    bugs.install_killer(bug)
    ends.say("ready")
    while True:
        match ends.hear():
            case ["halt", timeout_s, escalate]:
                place = traced.TracedHome(home)
                quiet = place.halt(_halted(log.who), float(timeout_s), escalate=escalate == "True")
                log.write(note="quiet", confirmed=quiet.confirmed, durable=quiet.durable, said=quiet.message)
                ends.say("quiet", quiet.confirmed, quiet.durable)
            case _:
                ends.say("closed")
                return


def _halted(who: str) -> Any:
    def halted(latch: Latch) -> Latch:
        return Latch(
            state=latches.HALTED,
            epoch=latch.epoch,
            home=latch.home,
            code="OPERATOR",
            reason="pulled",
            source=who,
            operator=who,
            ts_us=time.time_ns() // 1000,
            boot="",
            mono_ns=now(),
        )

    return halted


def operator(home: Path, log: Log, ends: Ends, *, bug: str) -> None:
    """An operator, who resets."""
    bugs.install_killer(bug)
    ends.say("ready")
    while True:
        match ends.hear():
            case ["reset", epoch]:
                moment = Now(ts_us=time.time_ns() // 1000, mono_ns=now())
                try:
                    traced.TracedHome(home).reset(
                        epoch=int(epoch), known_epoch=int(epoch), operator="bob", reason="looked into", now=moment
                    )
                except InterlockError as error:
                    log.write(note="not reset", said=str(error))
                    ends.say("reset", "refused")
                else:
                    ends.say("reset", "done")
            case _:
                ends.say("closed")
                return


__all__ = ["EMITTERS", "Ends", "engine", "killer", "operator"]
