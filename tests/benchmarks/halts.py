"""Halting a fleet: how long until nothing is sent any more, who knows it, and what is sent all the same.

Four engine processes send at full speed through a switch. At a moment drawn at random the harness halts, and each
send that begins is noted by the engine that begins it (``board``). Of each halt are taken, on one clock:

- from the call to the last send begun in any engine;
- from the call to its return: for Interlock that is the confirmation, for the others nothing is confirmed;
- from the call until the last engine was out. That is the harness's knowledge; of the switches, only one that
  confirms tells its caller;
- how many sends began after the return: all of them are counted, none is sampled. After a confirmation that must be
  none at all, nor may one be going on; if there is one the command fails.

All engines are out and the switch is armed again before the next halt. The switches take turns, a stretch of halts
each, so that what else the machine does meets all of them. There are more engines than this machine may have
processors: then part of each time is the scheduler's, for every switch alike. The engines of a peer do nothing
but look at their switch, note and send; those of Interlock make an order, pass both gates, and write the journal. So
compare times and not counts, but for the one that is zero.

Run ``python -m tests.benchmarks.halts`` for this table alone, with ``--json`` for the same as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import attrs

from .attached import attachment
from .board import Doing
from .fleet import Fleet, nats_server
from .measure import Tally, Timing, environment, print_table, require, timing_of
from .switches import FlagFile, Interlock, NatsLoop, NatsThread, PolledFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .switches import Switch

__all__ = ["HALTS", "SHORT", "Halts", "escalations", "measure", "measure_halts"]

ENGINES: Final = 4
HALTS: Final = 1000
SHORT: Final = 12
"""Halts of each switch in the full and in the short form."""

_WARMUP: Final = 3
_STRETCH: Final = 50
_WINDOW_S: Final = 0.01
_DRAIN_S: Final = 0.25
_LAST: Final = "halt to last send begun"
_OUT: Final = "halt to last engine out"
_CONFIRMED: Final = "halt to confirmed"
_RETURNED: Final = "halt to its return, nothing confirmed"


@attrs.define(kw_only=True)
class Halts:
    """One switch, its fleet, and what was measured of its halts so far; times in ns."""

    switch: Switch
    fleet: Fleet
    seed: int
    random: Random = attrs.field(init=False)
    last: list[int] = attrs.field(factory=list)
    returned: list[int] = attrs.field(factory=list)
    out: list[int] = attrs.field(factory=list)
    late: list[int] = attrs.field(factory=list)
    unfinished: int = 0
    confirmed: bool = True
    window_ns: int = 0
    window_sends: int = 0

    @random.default
    def _moments(self) -> Random:
        return Random(self.seed)  # noqa: S311 - moments, not secrets

    def again(self, halts: int) -> None:
        """Halt so many times, after some that are not counted."""
        for _ in range(_WARMUP):
            self._one()
        for _ in range(halts):
            self._note(*self._one())

    def _one(self) -> tuple[int, int, bool]:
        """All go; a halt; all are out."""
        fleet, board = self.fleet, self.fleet.board
        fleet.go()
        began_ns, before = time.monotonic_ns(), self._begun()
        time.sleep(self.random.random() * _WINDOW_S)
        window_sends = self._begun() - before
        called_ns = time.monotonic_ns()
        confirmed = self.switch.halt()
        returned_ns = time.monotonic_ns()
        self.window_ns += called_ns - began_ns
        self.window_sends += window_sends
        require(confirmed is not False, f"{self.switch.name}: the halt was not confirmed")
        fleet.wait(Doing.OUT)
        early = [engine for engine in board.engines if board.out_ns(engine) < called_ns]
        require(not early, f"{self.switch.name}: engines {early} were out before the halt")
        if confirmed:
            self.unfinished += sum(board.last_ended_ns(engine) > returned_ns for engine in board.engines)
        self.switch.rearm()
        return called_ns, returned_ns, bool(confirmed)

    def _note(self, called_ns: int, returned_ns: int, confirmed: bool) -> None:
        board = self.fleet.board
        engines = board.engines
        self.confirmed &= confirmed
        self.returned.append(returned_ns - called_ns)
        self.last.append(max(board.last_begun_ns(engine) for engine in engines) - called_ns)
        self.out.append(max(board.out_ns(engine) for engine in engines) - called_ns)
        self.late.append(sum(board.begun_after(engine, returned_ns) for engine in engines))

    def check(self) -> None:
        """An acknowledgement means that nothing is sent.

        Raises:
            MeasurementError: an engine began or ended a send after one.
        """
        require(
            not self.unfinished,
            f"{self.switch.name}: {self.unfinished} engines were sending after an acknowledgement, "
            f"and began {sum(self.late)} sends",
        )

    def _begun(self) -> int:
        return sum(self.fleet.board.begun(engine) for engine in self.fleet.board.engines)

    def timings(self) -> list[Timing]:
        """The rows."""
        name = self.switch.name
        said = _CONFIRMED if self.confirmed else _RETURNED
        return [
            timing_of(f"{name}: {_LAST}", self.last),
            timing_of(f"{name}: {said}", self.returned),
            timing_of(f"{name}: {_OUT}", self.out),
        ]

    def tally(self) -> Tally:
        """What was sent after the return."""
        return Tally(
            name=f"{self.switch.name} ({'after the ack' if self.confirmed else 'no ack: after its return'})",
            engines=len(self.fleet.board.engines),
            halts=len(self.late),
            late=sum(self.late),
            halts_late=sum(late > 0 for late in self.late),
            most_late=max(self.late),
            sends=self._begun(),
            window_ns=self.window_ns,
            window_sends=self.window_sends,
        )


def measure_halts(
    directory: Path, halts: int, *, only_ours: bool = False
) -> tuple[list[Timing], list[Tally], list[str]]:
    """Halt each switch's fleet so many times.

    Args:
        directory: for homes and flags.
        halts: of each switch.
        only_ours: leave the peers out.

    Returns:
        Rows, tallies, and notes on what they say and on what was left out.

    Raises:
        MeasurementError: an engine or a switch did not do what its row says, or something was sent after
            an acknowledgement.
    """
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        all_of_them: list[Halts] = []
        for number, switch in enumerate(_switches(directory, stack, notes, only_ours=only_ours)):
            stack.callback(switch.close)
            fleet = stack.enter_context(Fleet(switch, ENGINES))
            all_of_them.append(Halts(switch=switch, fleet=fleet, seed=number))
        for done in range(0, halts, _STRETCH):
            for each in all_of_them:
                each.again(min(_STRETCH, halts - done))
        timings = [row for each in all_of_them for row in each.timings()]
        tallies = [each.tally() for each in all_of_them]
        for each in all_of_them:
            each.check()
    return timings, tallies, notes


def _switches(directory: Path, stack: contextlib.ExitStack, notes: list[str], *, only_ours: bool) -> Iterator[Switch]:
    yield Interlock(directory)
    if only_ours:
        return
    yield FlagFile(directory)
    yield PolledFile(directory)
    try:
        where = stack.enter_context(nats_server(directory))
        yield NatsLoop(where)
        yield NatsThread(where)
    except (ImportError, FileNotFoundError) as error:
        notes.append(f"NATS flag: not measured, {error}")


def escalations(directory: Path, halts: int) -> tuple[list[Timing], list[str]]:
    """Halt a fleet of which one engine is inside a send that does not end, and have that one killed.

    Args:
        directory: for the home.
        halts: how many; each costs an engine.

    Returns:
        A row, and notes.

    Raises:
        MeasurementError: not confirmed, or not the one engine was killed.
    """
    took: list[int] = []
    switch = Interlock(directory, timeout_s=_DRAIN_S, escalate=True)
    with Fleet(switch, ENGINES) as fleet:
        board = fleet.board
        for number in range(halts):
            hung = number % ENGINES
            fleet.go()
            board.hang(hung, on=True)
            fleet.until(lambda hung=hung: board.doing(hung) is Doing.HUNG)
            called_ns = time.monotonic_ns()
            confirmed = switch.halt()
            returned_ns = time.monotonic_ns()
            took.append(returned_ns - called_ns)
            require(confirmed, f"escalated, and not confirmed: {switch.quiet}")
            require(fleet.ended(hung) < 0, "the engine that hung was not killed")
            late = sum(board.last_begun_ns(engine) > returned_ns for engine in board.engines)
            require(not late, f"{late} engines sent after the acknowledgement")
            board.hang(hung, on=False)
            fleet.spawn(hung)
            fleet.wait(Doing.OUT)
            switch.rearm()
    row = timing_of(f"interlock: {_CONFIRMED}, 1 of {ENGINES} engines hung and killed", took)
    drain_ms = _DRAIN_S * 1e3
    over_ms = row.p50_ns / 1e6 - drain_ms
    return [row], [
        f"escalation: {over_ms:.1f} ms at the median after the {drain_ms:.0f} ms that a send is given to end"
    ]


def said_of(timings: Sequence[Timing], tallies: Sequence[Tally]) -> list[str]:
    """The figures that the design asks for, each against the peers of this very run.

    Means, because the median of the last send is often nought: none begins any more.
    """
    mean = {row.name: row.mean_ns for row in timings}
    ours, acknowledged = mean[f"{Interlock.name}: {_LAST}"], mean[f"{Interlock.name}: {_CONFIRMED}"]
    said = []
    for tally in tallies:
        peer = tally.name.partition(" (")[0]
        if peer == Interlock.name:
            said.append(f"sends begun after the ack: {tally.late} of {tally.sends:,} (to reach: 0)")
            continue
        last, out = mean[f"{peer}: {_LAST}"], mean[f"{peer}: {_OUT}"]
        if last and out:
            said.append(
                f"beside {peer}: the last send begins after {ours / last:.2f} times its time; we confirm after "
                f"{acknowledged / out:.2f} times the time to its last engine out, of which it never hears"
            )
    return said


def measure(directory: Path, halts: int, *, only_ours: bool = False) -> tuple[list[Timing], list[Tally], list[str]]:
    """All of it: halts, escalations, and what being attached costs an order.

    Args:
        directory: for homes and flags.
        halts: of each switch; there are fewer escalations, because each costs an engine.
        only_ours: leave the peers out.
    """
    timings, tallies, notes = measure_halts(directory, halts, only_ours=only_ours)
    notes += said_of(timings, tallies)
    for rows, more in (
        escalations(directory, max(1, halts // 50)),
        attachment(directory, max(10, halts // 20)),
    ):
        timings += rows
        notes += more
    return timings, tallies, notes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.halts")
    parser.add_argument("--halts", type=int, default=HALTS, help="of each switch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-halts-") as name:
        timings, tallies, notes = measure(Path(name), options.halts, only_ours=options.only_ours)
    print_table(timings, (), [environment(), *notes], tallies, to_json=options.json)


if __name__ == "__main__":
    main()
