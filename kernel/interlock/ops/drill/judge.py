"""What must have come about in a drill, point by point. It only compares: what is compared was measured before.

A criterion that nobody could fail shows nothing. So there are criteria about the drill itself, too: that every engine
was under load when it was halted, and that every one that lived went on trying after the ack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from interlock.ops.drill.record import Kind
from interlock.ops.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.ops.drill.record import Lane, Measured

__all__ = ["Criterion", "exit_code", "judge"]

_FRESH_NS: Final = 2_000_000_000
_TAMPERED: Final = 6
_NOTICED_WITHIN: Final = 4
_WAITED: Final = frozenset({Kind.HUNG, Kind.SUSPENDED})


@attrs.frozen(kw_only=True)
class Criterion:
    """One thing that must have come about.

    Attributes:
        name: stable, for programs.
        claim: what must be so, for people.
        limit: what was asked for.
        measured: what was found.
        passed: whether that is within the limit.
    """

    name: str
    claim: str
    limit: str
    measured: str
    passed: bool


def exit_code(measured: Measured, criteria: tuple[Criterion, ...]) -> Exit:
    """What the command ends with: the gravest that applies."""
    if all(criterion.passed for criterion in criteria):
        return Exit.FINE
    if any(journal.exit_code == _TAMPERED for journal in measured.journals):
        return Exit.TAMPERED
    final = measured.answers[-1] if measured.answers else None
    if final is None or not (final.stopped and final.confirmed and final.durable):
        return Exit.UNCONFIRMED
    return Exit.FAILED


def judge(measured: Measured) -> tuple[Criterion, ...]:
    """All criteria that apply to this kind of drill, in the order in which a reader asks."""
    return tuple(criterion for group in _GROUPS for criterion in group(measured))


def _each(lanes: list[Lane], wrong: Callable[[Lane], str]) -> tuple[str, bool]:
    """What is wrong, engine by engine."""
    found = [f"{lane.name}: {said}" for lane in lanes if (said := wrong(lane))]
    return "; ".join(found), not found


def _survivors(measured: Measured) -> list[Lane]:
    """The engines that lived to the end, by what was done to them, and not by what they say."""
    killed = {who["pid"] for answer in measured.answers for who in answer.killed}
    return [lane for lane in measured.lanes if lane.fault != Kind.KILLED and lane.pid not in killed]


def _able(measured: Measured) -> list[Lane]:
    """Of them those whose loop turns, so that they could try."""
    return [lane for lane in _survivors(measured) if lane.fault != "stalled"]


def _answered(measured: Measured) -> Iterator[Criterion]:
    """What the halt answered."""
    answers = measured.answers
    final = answers[-1] if answers else None
    acked = next((answer for answer in answers if answer.confirmed), None)
    yield Criterion(
        name="stopped",
        claim="The first halt set the byte that stops emission in every engine",
        limit="yes",
        measured="yes" if answers and answers[0].stopped else "no",
        passed=bool(answers and answers[0].stopped),
    )
    yield Criterion(
        name="confirmed",
        claim="The last halt was confirmed: nobody is sending, nor can begin to",
        limit="confirmed, exit code 0",
        measured=f"{'confirmed' if final and final.confirmed else 'unconfirmed'}, exit code "
        f"{final.code if final else 'none'}",
        passed=bool(final and final.confirmed and final.code == Exit.FINE),
    )
    yield Criterion(
        name="durable",
        claim="The halt is on the disk, so that no restart undoes it",
        limit="durable, latch HALTED",
        measured=f"{'durable' if final and final.durable else 'not durable'}, latch {measured.latch}",
        passed=bool(final and final.durable and measured.latch == "HALTED"),
    )
    if acked is not None:
        took = acked.confirmed_ns - acked.called_ns
        limit = measured.timeout_ns + (2_000_000_000 if acked.killed else 0)  # the wait for locks of the dead
        yield Criterion(
            name="in-time",
            claim="From the call of the confirmed halt to its ack",
            limit=f"at most {_ms(limit)}",
            measured=_ms(took),
            passed=0 <= took <= limit,
        )


def _quiet(measured: Measured) -> Iterator[Criterion]:
    """What must be true of every send once the halt is acknowledged."""
    lanes = list(measured.lanes)
    acked = measured.ack_ns > 0
    after = sum(lane.begun_after_ack for lane in lanes)
    flying = sum(lane.in_flight_at_ack for lane in lanes)
    most = max((lane.begun_after_byte for lane in lanes), default=0)
    unknown = "no ack"
    yield Criterion(
        name="none-after-ack",
        claim="Orders whose send began after the ack, in all engines",
        limit="0",
        measured=str(after) if acked else unknown,
        passed=acked and after == 0,
    )
    yield Criterion(
        name="none-in-flight-at-ack",
        claim="Orders whose send had begun before the ack, and had not ended by then",
        limit="0",
        measured=str(flying) if acked else unknown,
        passed=acked and flying == 0,
    )
    yield Criterion(
        name="last-look",
        claim="Sends of one engine noted after the byte was set: one thread can have passed its last look before",
        limit="at most 1 an engine",
        measured=str(most),
        passed=most <= 1,
    )
    said, fine = _each(
        _survivors(measured),
        lambda lane: "" if 0 < lane.left_ns <= measured.ack_ns else "not before" if lane.left_ns else "never",
    )
    yield Criterion(
        name="let-go",
        claim="Every engine that lived let go of the running lock before the ack",
        limit="all",
        measured=said or "all",
        passed=acked and fine,
    )
    yield Criterion(
        name="nobody-holds",
        claim="After the ack the drill itself could take the running lock, and no engine showed a send",
        limit="free",
        measured=(measured.still_held or "free") if acked else unknown,
        passed=acked and not measured.still_held,
    )


def _pressure(measured: Measured) -> Iterator[Criterion]:
    """That the drill was one: without load before and attempts after it would have shown nothing."""
    lanes = list(measured.lanes)
    healthy = [lane for lane in lanes if not lane.fault]
    said, fine = _each(healthy, lambda lane: "" if 0 < lane.before_call_ns <= _FRESH_NS else "no send just before")
    yield Criterion(
        name="under-load",
        claim="Every engine with nothing wrong was sending when the halt was called",
        limit=f"a send in the last {_ms(_FRESH_NS)}",
        measured=said or f"{sum(lane.per_s for lane in lanes)} orders a second in all",
        passed=fine and bool(healthy),
    )
    able = _able(measured)
    said, fine = _each(able, lambda lane: "" if lane.refused_after_ack else "did not try")
    refused = sum(lane.refused for lane in able)
    yield Criterion(
        name="tried-after-ack",
        claim="Every engine that could went on trying after the ack, and was refused",
        limit="at least 1 refused an engine",
        measured=said or f"{refused} orders refused",
        passed=measured.ack_ns > 0 and fine and bool(able),
    )
    reasons = sorted({lane.first_refused["reason"] for lane in able if lane.first_refused})
    others = sorted({f"{reason} ({lane.name})" for lane in lanes for reason in lane.otherwise})
    yield Criterion(
        name="refused-by-the-halt",
        claim="Nothing but the halt refused an order",
        limit="HALTED only",
        measured=", ".join([*reasons, *others]) or "nothing was refused",
        passed=reasons == ["HALTED"] and not others,
    )


def _fault(measured: Measured) -> Iterator[Criterion]:
    """What the fault of this kind must lead to."""
    faulty = next((lane for lane in measured.lanes if lane.fault), None)
    killed = sorted({str(who["engine"]) for answer in measured.answers for who in answer.killed})
    if faulty is not None and measured.kind in _WAITED:
        first = measured.answers[0]
        named = [who for who in first.waiting if (who["engine"], who["pid"]) == (faulty.name, faulty.pid)]
        orders = [order for who in named for order in _texts(who["orders"])]
        fine = not first.confirmed and first.code == Exit.UNCONFIRMED and bool(named)
        yield Criterion(
            name="not-acked-falsely",
            claim=f"While {faulty.name} was {faulty.fault}, the halt was not confirmed, and named it",
            limit=f"unconfirmed, exit code 4, {faulty.name} (pid {faulty.pid})",
            measured=f"{'confirmed' if first.confirmed else 'unconfirmed'}, exit code {first.code}, "
            + (", ".join(f"{who['engine']} (pid {who['pid']})" for who in first.waiting) or "nobody")
            + (f", in flight {', '.join(orders)}" if orders else ""),
            passed=fine and (bool(orders) or measured.kind is not Kind.HUNG),
        )
    if measured.kind is Kind.WATCHDOG:
        final = measured.answers[-1] if measured.answers else None
        yield Criterion(
            name="watchdog-tripped",
            claim="The watchdog found the loop that stood still, and halted the home",
            limit="STALLED",
            measured=final.code_said if final else "no halt",
            passed=final is not None and final.code_said == "STALLED",
        )
        limit = _NOTICED_WITHIN * measured.stall_ns
        took = final.called_ns - faulty.fault_ns if final and faulty and faulty.fault_ns else -1
        yield Criterion(
            name="watchdog-in-time",
            claim="From the loop that stood still to the call of the halt",
            limit=f"at most {_ms(limit)}, {_NOTICED_WITHIN} times what the watchdog was to allow",
            measured=_ms(took) if took >= 0 else "not measured",
            passed=0 <= took <= limit,
        )
    may = [faulty.name] if faulty is not None and measured.escalate and measured.kind in _WAITED else []
    yield Criterion(
        name="killed-only-what-must-be",
        claim="The halt ended by SIGKILL exactly the processes that it had to",
        limit=", ".join(may) or "none",
        measured=", ".join(killed) or "none",
        passed=killed == may,
    )


def _afterwards(measured: Measured) -> Iterator[Criterion]:
    """What is left."""
    said, fine = _each(_survivors(measured), lambda lane: "" if lane.mode == "HALTED" else lane.mode or "told nothing")
    yield Criterion(
        name="halted", claim="Every engine that lived ended HALTED", limit="all", measured=said or "all", passed=fine
    )
    said, fine = _each(_survivors(measured), lambda lane: "" if lane.cancelled else "could not")
    yield Criterion(
        name="cancels-pass",
        claim="A resting order of every engine that lived could be cancelled while HALTED",
        limit="all",
        measured=said or "all",
        passed=fine,
    )
    again = measured.restart
    stays = again.mode == "HALTED" and again.starts == ("HALTED", "HALTED") and again.order == "HALTED"
    yield Criterion(
        name="restart-stays-halted",
        claim=f"{again.engine} was started anew: it came up HALTED, two starts and an order were refused",
        limit="HALTED, refused, refused, refused; nothing reached the venue",
        measured=again.problem
        or f"{again.mode}; {', '.join(again.starts)}; {again.order}; {again.reached} reached the venue",
        passed=stays and again.reached == 0 and not again.problem,
    )
    yield from _journals(measured)


def _journals(measured: Measured) -> Iterator[Criterion]:
    faulty = {lane.name for lane in measured.lanes} - {lane.name for lane in _survivors(measured)}
    bad = [
        f"{journal.engine}: {journal.verdict}"
        for journal in measured.journals
        if journal.verdict != "VERIFIED" and not (journal.engine in faulty and journal.verdict == "IN-DOUBT")
    ]
    doubts = [
        f"{journal.engine} IN-DOUBT, as it died inside a send: {', '.join(journal.in_doubt)}"
        for journal in measured.journals
        if journal.in_doubt
    ]
    yield Criterion(
        name="journals-verify",
        claim="Every journal verifies; one whose engine was killed may leave that one order in doubt",
        limit="VERIFIED",
        measured="; ".join([*bad, *doubts]) or "VERIFIED, all of them",
        passed=not bad and all(len(journal.in_doubt) <= 1 for journal in measured.journals) and bool(measured.journals),
    )
    lanes = {lane.name: lane for lane in measured.lanes}
    wrong = []
    for journal in measured.journals:
        sends = lanes[journal.engine].sends if journal.engine in lanes else -1
        used = journal.permits - journal.voided
        # One that was killed may have a permit whose send it had not begun.
        fine = sends == used if journal.engine not in faulty else sends <= used <= sends + 1
        if not fine:
            wrong.append(f"{journal.engine}: {sends} sends noted, {used} permitted")
    yield Criterion(
        name="journals-agree",
        claim="The journals have a permit for each send that was noted inside the venue, and for no other",
        limit="equal",
        measured="; ".join(wrong) or f"equal, {sum(lane.sends for lane in measured.lanes)} in all",
        passed=not wrong and len(measured.journals) == len(lanes),
    )
    silent = [
        journal.engine
        for journal in measured.journals
        if not any(measured.cause in one["why"] for one in journal.halts)
    ]
    yield Criterion(
        name="halt-recorded",
        claim="Every journal tells of this halt, and why it was made",
        limit=measured.cause,
        measured=f"not in {', '.join(silent)}" if silent else "in all of them",
        passed=not silent,
    )


_GROUPS: Final = (_answered, _quiet, _pressure, _fault, _afterwards)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


def _ms(ns: int) -> str:
    """Milliseconds, exactly to the microsecond, for people."""
    return f"{ns // 1_000_000}.{ns // 1000 % 1000:03d} ms"
