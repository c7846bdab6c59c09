"""From evidence and journals to what a drill measured: counts and instants, and no judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.latch import LatchError, read_latch
from interlock.breaker.segment import lines, segments
from interlock.ops.audit import check
from interlock.ops.drill.evidence import State
from interlock.ops.drill.record import Journal, Kind, Lane

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.breaker.home import Home
    from interlock.ops.drill.record import Answer
    from interlock.ops.drill.stage import Player

__all__ = ["Measure", "few", "journal", "latch_says"]

_TAIL_NS: Final = 20_000_000
_TAIL: Final = 2048


@attrs.frozen(kw_only=True)
class Measure:
    """What an engine's evidence is measured by; instants are counted from ``base_ns``.

    Attributes:
        base_ns: when the drill began, on the machine's clock.
        loaded_ns: when all engines were under load, on that clock.
        answers: the halts.
        ack_ns: the ack; 0: none came.
    """

    base_ns: int
    loaded_ns: int
    answers: tuple[Answer, ...]
    ack_ns: int

    def since(self, ns: int) -> int:
        """An instant of the machine's clock as the record has it; 0 stays: it did not happen."""
        return ns - self.base_ns if ns else 0

    def lane(self, player: Player, told: dict[str, Any]) -> Lane:
        """What one engine did.

        Args:
            player: the engine.
            told: what it said in the end.
        """
        evidence = player.evidence
        first = self.answers[0] if self.answers else None
        called = (first.called_ns if first else 0) + self.base_ns
        byte = (first.stopped_ns or first.confirmed_ns or first.called_ns if first else 0) + self.base_ns
        ack = self.ack_ns + self.base_ns if self.ack_ns else 0
        sends = evidence.intervals()
        before = [begin for begin, _ in sends if begin <= called]
        tail = few([(begin, end) for begin, end in sends if not 0 < end < called - _TAIL_NS])
        during = sum(self.loaded_ns <= begin <= called for begin, _ in sends)
        return Lane(
            name=player.name,
            pid=player.pid,
            fault=player.fault,
            fault_ns=self.since(evidence.since_ns) if evidence.state in {State.HUNG, State.STALLED} else 0,
            sends=len(sends),
            per_s=during * 1_000_000_000 // max(1, called - self.loaded_ns),
            before_call_ns=called - before[-1] if before else 0,
            last_begun_ns=self.since(sends[-1][0]) if sends else 0,
            last_ended_ns=self.since(max((end for _, end in sends), default=0)),
            begun_after_byte=sum(begin > byte for begin, _ in sends),
            begun_after_ack=sum(begin > ack for begin, _ in sends) if ack else 0,
            in_flight_at_ack=self._in_flight(player, sends, ack) if ack else 0,
            seen_ns=self.since(evidence.seen_ns),
            left_ns=self.since(evidence.left_ns),
            refused=evidence.refusals,
            first_refused_ns=self.since(evidence.first_refused_ns),
            first_refused=told.get("first_refused"),
            refused_after_ack=bool(ack) and evidence.last_refused_ns > ack,
            otherwise=told.get("otherwise", {}),
            mode=told.get("mode", ""),
            cancelled=told.get("cancelled"),
            died_ns=self.since(player.died_ns),
            tail=tuple((self.since(begin), self.since(end)) for begin, end in tail),
        )

    def _in_flight(self, player: Player, sends: list[tuple[int, int]], ack: int) -> int:
        """How many sends had begun and not ended at the ack.

        A send whose process was dead by then had ended with it: one that the drill killed was dead before the halt,
        and one that the halt killed, and then found its lock free, before the ack.
        """
        killed = {who["pid"] for answer in self.answers if answer.confirmed for who in answer.killed}
        dead = player.pid in killed or (player.fault == Kind.KILLED and player.died_ns <= ack)
        return sum(begin <= ack and (end > ack or (not end and not dead)) for begin, end in sends)


def few(sends: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """At most so many of them as a picture can use: where there are more, those that are close together become one."""
    gap_ns = 1000
    while len(sends) > _TAIL:
        joined = sends[:1]
        for begin, end in sends[1:]:
            first, last = joined[-1]
            if last and begin - last <= gap_ns:
                joined[-1] = (first, end)
            else:
                joined.append((begin, end))
        sends, gap_ns = joined, 2 * gap_ns
    return sends


def journal(engine: str, directory: Path) -> Journal:
    """What the verifier says of one engine's journal, and its counts."""
    report = check(directory, progress=False)
    counts = dict(report.counts) if report.findings else _counts(directory)
    return Journal(
        engine=engine,
        verdict=report.verdict,
        exit_code=report.exit_code,
        records=report.records,
        sealed=report.sealed,
        root=report.root or "",
        permits=counts.get("permit", 0),
        voided=counts.get("void", 0),
        sent=counts.get("sent", 0),
        unknown=counts.get("unknown", 0),
        in_doubt=tuple(doubt.order for doubt in report.in_doubt),
        findings=tuple(f"{one.rule}: {one.message}" for one in report.findings),
        halts=tuple({"who": action.who, "why": action.why} for action in report.actions if action.kind == "halt"),
    )


def _counts(directory: Path) -> dict[str, int]:
    """Records by kind, those that a recovery carried over counted as what they are."""
    found: dict[str, int] = {}
    for path in segments(directory):
        for line in lines(path):
            record = orjson.loads(line)
            while record["kind"] == "salvage":
                record = record["record"]
            found[record["kind"]] = found.get(record["kind"], 0) + 1
    return found


def latch_says(home: Home) -> str:
    """The state in the latch on the disk, or the code of why there is none."""
    try:
        return read_latch(home.latch)[0].state
    except LatchError as error:
        return str(error.code)
