"""What the bundle shows: sentences with numbers, each tied to the records it rests on and the rules it serves.

A claim says what is on record and no more: how often, first and last where, and whether that speaks for or against. One
that finds nothing on record says so, and is no evidence that a control would have acted. No number is here that was
not counted in the records, the approvals or the drills of the bundle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.ops.bundle.claim import AGAINST, NONE, PART, SHOWN, Claim
from interlock.ops.bundle.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from interlock.ops.bundle.claim import Cite
    from interlock.ops.bundle.facts import Facts, Tally
    from interlock.ops.bundle.given import Given

__all__ = ["claims"]

_MOST_CITES: Final = 4
_BY_PEOPLE: Final = frozenset({"OPERATOR", "SIGNAL", "EXTERNAL"})
_CLOCKS: Final = ("CLOCK_STEP", "CLOCK_BACK")


def claims(facts: Sequence[Facts], given: Given) -> list[Claim]:
    """All claims, in the order in which they are read."""
    return [
        *_halts(facts),
        *_resets(facts),
        *_orders(facts),
        *_controls(facts, given),
        *_approvals(facts, given),
        *_monitoring(facts),
        *_after(facts),
        *_continuity(facts, given),
        *_records(facts, given),
        *_clocks(facts),
    ]


def _cites(tallies: Iterable[tuple[str, Tally]]) -> tuple[Cite, ...]:
    """The first and the last record of each."""
    found: dict[Cite, None] = {}
    for engine, tally in tallies:
        found |= {(engine, tally.first): None, (engine, tally.last): None}
    return tuple(found)[:_MOST_CITES]


def _of_kinds(facts: Sequence[Facts], *kinds: str) -> tuple[Cite, ...]:
    return _cites((one.engine, one.kinds[kind]) for one in facts for kind in kinds if kind in one.kinds)


def _count(facts: Sequence[Facts], *kinds: str) -> int:
    return sum(one.count(*kinds) for one in facts)


def _standing(count: int) -> str:
    return SHOWN if count else NONE


def _tallied(name: str, text: str, tallies: Sequence[tuple[str, Tally]], rules: tuple[str, ...]) -> Claim:
    """A claim with one number, of its own name: how often all of these happened."""
    return Claim(
        name=name,
        text=text,
        numbers={name: sum(tally.count for _, tally in tallies)},
        standing=_standing(len(tallies)),
        rules=rules,
        cites=_cites(tallies),
    )


def _halts(facts: Sequence[Facts]) -> Iterator[Claim]:
    count = sum(one.halts.count for one in facts)
    made = [halt for one in facts for halt in one.halts.halts]
    yield Claim(
        name="halts",
        text=(
            "The home was halted in {epochs} of its epochs. {halts} records of engines tell of that: {first} of a "
            "first halt, the others of a repeat."
        ),
        numbers={
            "epochs": len({epoch for one in facts for epoch in one.halts.epochs}),
            "halts": count,
            "first": sum(one.halts.firsts for one in facts),
        },
        standing=_standing(count),
        rules=("rts6-12 (1)", "rts6-14 (2)(f)", "rts6-17"),
        cites=tuple((halt.engine, halt.seq) for halt in made)[:_MOST_CITES],
    )
    timed = [one.halts.slowest for one in facts if one.halts.slowest is not None]
    slowest = max(timed, key=lambda halt: halt.took_us or 0, default=None)
    yield Claim(
        name="effect",
        text="Records of first halts with a time from call to end of emission: {timed}; the longest is {us} us.",
        numbers={"timed": sum(one.halts.timed for one in facts), "us": (slowest and slowest.took_us) or 0},
        standing=_standing(len(timed)),
        rules=("rts6-12 (1)", "rts6-16"),
        cites=() if slowest is None else ((slowest.engine, slowest.seq),),
    )
    late = sum(one.late for one in facts)
    yield Claim(
        name="late",
        text=(
            "Sends that began after a halt had taken effect in their run: {late}. Sends that were under way at such a "
            "moment: {flying}, of which {ended} are on record as ended."
        ),
        numbers={
            "late": late,
            "flying": sum(one.halts.flying for one in facts),
            "ended": sum(one.halts.flown for one in facts),
        },
        standing=AGAINST if late else _standing(count),
        rules=("rts6-12 (1)", "sec-15c3-5"),
        cites=tuple((halt.engine, halt.seq) for halt in made if halt.first)[:_MOST_CITES],
    )
    cancels = sum(one.halts.cancels for one in facts)
    working, over = sum(one.halts.working for one in facts), sum(one.halts.over for one in facts)
    standing = _standing(cancels + over)
    yield Claim(
        name="cancels",
        text=(
            "Cancels that were sent while HALTED: {cancels}, of which {failed} raised. Orders that worked at a halt: "
            "{working}, of which {over} are on record as over before the mode was left."
        ),
        numbers={
            "cancels": cancels,
            "failed": sum(one.halts.cancels_failed for one in facts),
            "working": working,
            "over": over,
        },
        standing=PART if standing == SHOWN and over < working else standing,
        rules=("rts6-12 (1)", "rts6-14 (2)(g)"),
        cites=tuple(cite for one in facts for cite in one.halts.cancel_cites)[:_MOST_CITES],
    )


def _resets(facts: Sequence[Facts]) -> Iterator[Claim]:
    count = sum(one.halts.resets_count for one in facts)
    unnamed = sum(one.halts.unnamed for one in facts)
    made = [(reset.engine, reset.seq) for one in facts for reset in one.halts.resets]
    yield Claim(
        name="resets",
        text=(
            "A halt was left by a reset in {epochs} epochs of the home, on record {resets} times. Of these records "
            "{unnamed} name no operator or no reason."
        ),
        numbers={
            "epochs": len({epoch for one in facts for epoch in one.halts.reset_epochs}),
            "resets": count,
            "unnamed": unnamed,
        },
        standing=AGAINST if unnamed else _standing(count),
        rules=("rts6-15 (3)", "rts6-18"),
        cites=tuple(made)[:_MOST_CITES],
    )


def _orders(facts: Sequence[Facts]) -> Iterator[Claim]:
    permits = _count(facts, "permit")
    yield Claim(
        name="permits",
        text=(
            "Orders that passed every pre-trade control, and were written down before they could leave: {permits}. "
            "Sends that returned: {sent}; with an unknown outcome: {unknown}; permits taken back unsent: {void}."
        ),
        numbers={
            "permits": permits,
            "sent": _count(facts, "sent"),
            "unknown": _count(facts, "unknown"),
            "void": _count(facts, "void"),
        },
        standing=_standing(permits),
        rules=("rts6-15", "sec-15c3-5"),
        cites=_of_kinds(facts, "permit", "sent"),
    )
    yield _tallied(
        "refusals",
        "Orders that were refused before they could leave, each with its reason: {refusals}.",
        [(one.engine, tally) for one in facts for tally in one.refused.values()],
        ("rts6-15", "sec-15c3-5"),
    )


def _controls(facts: Sequence[Facts], given: Given) -> Iterator[Claim]:
    for control in CONTROLS:
        found = [(one.engine, one.refused[code]) for one in facts for code in control.codes if code in one.refused]
        count = sum(tally.count for _, tally in found)
        many, total = control.set_in(given.limits)
        yield Claim(
            name=f"control-{control.name}",
            text=f"{control.says}: set for {{set}} of {{total}} {control.of} in the limits that runs read. Orders that "
            "it refused: {refused}.",
            numbers={"set": many, "total": total, "refused": count},
            standing=SHOWN if count else NONE,
            rules=control.rules,
            cites=_cites(found),
        )


def _approvals(facts: Sequence[Facts], given: Given) -> Iterator[Claim]:
    runs = sum(one.runs.count for one in facts)
    approved = [(one.engine, row) for one in facts for row in one.runs.rows if given.approval(row) is not None]
    without = [(one.engine, row) for one in facts for row in one.runs.rows if given.approval(row) is None]
    listed = len(approved) + len(without)
    yield Claim(
        name="approved",
        text=(
            "Runs that began: {runs}. Of {listed} that are listed, {approved} read limits that somebody had approved "
            "on record by then, and {without} read limits for which nobody is on record."
        ),
        numbers={"runs": runs, "listed": listed, "approved": len(approved), "without": len(without)},
        standing=AGAINST if without or given.history.problems else _standing(runs),
        rules=("rts6-15 (4)", "rts6-18", "sec-15c3-5 (c)(1)(i)"),
        cites=tuple((engine, row["seq"]) for engine, row in (without or approved))[:_MOST_CITES],
    )


def _monitoring(facts: Sequence[Facts]) -> Iterator[Claim]:
    codes = [(code, count) for one in facts for code, count in one.halts.codes.items()]
    machine = sum(count for code, count in codes if code not in _BY_PEOPLE)
    made = [(one.engine, halt.seq) for one in facts for halt in one.halts.halts if halt.code not in _BY_PEOPLE]
    yield Claim(
        name="automatic",
        text="Records of halts that a control of the kernel or its watchdog pulled, not a person: {automatic}.",
        numbers={"automatic": machine},
        standing=_standing(machine),
        rules=("rts6-16", "rts6-17", "sec-15c3-5"),
        cites=tuple(made)[:_MOST_CITES],
    )
    yield _tallied(
        "blocked",
        "Ticks that were kept from the strategy as data, clock, heartbeat or mode were not fit: {blocked}.",
        [(one.engine, tally) for one in facts for tally in one.blocked.values()],
        ("rts6-16",),
    )


def _after(facts: Sequence[Facts]) -> Iterator[Claim]:
    fills = _count(facts, "fill")
    odd = sum(one.unknown_fills for one in facts)
    yield Claim(
        name="fills",
        text="Executions that were taken into the ledger as they came: {fills}; of orders that nobody knew: {unknown}.",
        numbers={"fills": fills, "unknown": odd},
        standing=_standing(fills),
        rules=("rts6-17", "sec-15c3-5"),
        cites=_of_kinds(facts, "fill"),
    )
    yield _tallied(
        "breaches",
        "Records of a loss limit that was reached, confirmed or left again: {breaches}.",
        [(one.engine, tally) for one in facts for tally in one.breached.values()],
        ("rts6-17", "rts6-15"),
    )
    yield _tallied(
        "anomalies",
        "Anomalies that were written down (what should not happen, and did): {anomalies}.",
        [(one.engine, tally) for one in facts for tally in one.odd.values()],
        ("rts6-16", "rts6-17"),
    )


def _continuity(facts: Sequence[Facts], given: Given) -> Iterator[Claim]:
    stops = _count(facts, "stop")
    yield Claim(
        name="stops",
        text="Stops in order (gate closed, sends ended, then stopped): {stops}.",
        numbers={"stops": stops},
        standing=_standing(stops),
        rules=("rts6-14 (2)(f)",),
        cites=_of_kinds(facts, "drain", "stop"),
    )
    crashes = sum(one.crashes for one in facts)
    recoveries = sum(one.recoveries.count for one in facts)
    yield Claim(
        name="recoveries",
        text=(
            "Runs that ended without a word: {crashes}. Recoveries that set bytes aside: {recoveries}; records that "
            "they found there and carried over: {salvaged}."
        ),
        numbers={
            "crashes": crashes,
            "recoveries": recoveries,
            "salvaged": sum(row["salvaged"] for one in facts for row in one.recoveries.rows),
        },
        standing=_standing(crashes + recoveries),
        rules=("rts6-14", "sec-17a-4"),
        cites=_of_kinds(facts, "recover"),
    )
    passed = sum(drill["verdict"] == "PASSED" for drill in given.drills)
    yield Claim(
        name="drills",
        text="Reports of kill drills in the bundle: {drills}; passed, by what they say: {passed}.",
        numbers={"drills": len(given.drills), "passed": passed},
        standing=_standing(len(given.drills)),
        rules=("rts6-12 (1)", "rts6-14 (2)(e)"),
    )


def _records(facts: Sequence[Facts], given: Given) -> Iterator[Claim]:
    reports = list(given.reports.values())
    records = sum(report.records for report in reports)
    broken = any(report.findings_total for report in reports)
    yield Claim(
        name="sealed",
        text=(
            "Of {records} records of {engines} engines in the bundle {sealed} are bound by a root over all before "
            "them. The verifier, which shares no code with the engine, found {findings} broken rules."
        ),
        numbers={
            "records": records,
            "engines": len(reports),
            "sealed": sum(report.sealed for report in reports),
            "findings": sum(report.findings_total for report in reports),
        },
        standing=AGAINST if broken else _standing(records),
        rules=("sec-17a-4", "rts6-17"),
        cites=_of_kinds(facts, "seal"),
    )
    signed = _count(facts, "checkpoint")
    notes = [report.checkpoints for report in reports]
    yield Claim(
        name="signed",
        text=(
            "Checkpoints that were signed, by the journals' words: {checkpoints}; accepted by witnesses: {anchors}. "
            "Notes in the bundle: {given}, of which {believed} trace to the root key that was named; they sign "
            "{signed} records."
        ),
        numbers={
            "checkpoints": signed,
            "anchors": _count(facts, "anchor"),
            "given": sum(one.given or 0 for one in notes),
            "believed": sum(one.believed for one in notes),
            "signed": sum(report.signed or 0 for report in reports),
        },
        standing=_standing(signed),
        rules=("sec-17a-4",),
        cites=_of_kinds(facts, "checkpoint", "anchor"),
    )
    people = {halt.operator for one in facts for halt in one.halts.halts if halt.operator}
    people |= {reset.operator for one in facts for reset in one.halts.resets}
    people |= {row["operator"] for one in facts for row in one.runs.rows if row["operator"]}
    people |= {approval.operator for approval in given.history.approvals}
    yield Claim(
        name="people",
        text="Names of operators in the runs, halts, resets and approvals that are listed: {people}.",
        numbers={"people": len(people)},
        standing=_standing(len(people)),
        rules=("rts6-18", "rts6-12 (3)"),
        cites=_of_kinds(facts, "run"),
    )


def _clocks(facts: Sequence[Facts]) -> Iterator[Claim]:
    steps = [(one.engine, one.odd[code]) for one in facts for code in _CLOCKS if code in one.odd]
    yield Claim(
        name="clock",
        text=(
            "Time stamps are in microseconds. From one record of a run to the next, UTC and the monotonic clock came "
            "apart by {drift} us at most. Stamps that lie before the one of the record before them: {backward}. Steps "
            "of the clock that were noticed and written down: {steps}."
        ),
        numbers={
            "drift": max((one.drift_us for one in facts), default=0),
            "backward": sum(one.backward for one in facts),
            "steps": sum(tally.count for _, tally in steps),
        },
        standing=_standing(sum(sum(tally.count for tally in one.kinds.values()) for one in facts)),
        rules=("rts25", "sec-17a-4"),
        cites=_cites(steps) or _of_kinds(facts, "run"),
    )
