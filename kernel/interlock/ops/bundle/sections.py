"""Sections of the report that are tables: halts and resets, reasons, limits, crashes and drills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.ops.bundle.marks import clock_time, fact, many, refer, rest, when
from interlock.ops.bundle.picture import length
from interlock.ops.bundle.told import SHOWN_ROWS
from interlock.ops.sheet import escape, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from interlock.ops.bundle.facts import Facts, Tally
    from interlock.ops.bundle.halts import Halt, Reset
    from interlock.ops.bundle.told import Told

__all__ = ["continuity", "halts", "limits", "reasons", "versions"]


def _table(*heads: str) -> str:
    cells = "".join(f"<th{' class=num' if head.startswith('#') else ''}>{head.lstrip('#')}</th>" for head in heads)
    return f'<div class="scroll"><table class="stack"><thead><tr>{cells}</tr></thead><tbody>'


_END = "</tbody></table></div>"


def _cells(*cells: tuple[str, str]) -> str:
    """A row: for each cell its head, and what is in it, as mark-up."""
    found = []
    for head, inside in cells:
        kind = ' class="num"' if head.startswith("#") else ""
        found.append(f'<td{kind} data-is="{head.lstrip("#")}">{inside}</td>')
    return f"<tr>{''.join(found)}</tr>"


# -- Halts and resets --------------------------------------------------------------------------------


def halts(told: Told) -> Iterator[str]:
    """Who, why, when, and how long it took."""
    every = sorted((halt for one in told.facts for halt in one.halts.halts), key=lambda halt: (halt.ts_us, halt.engine))
    total = sum(one.halts.count for one in told.facts)
    if not total:
        yield "<p>No halt is on record in this time.</p>"
    else:
        yield (
            "<p>One row for each engine that recorded the halt. <i>Time to effect</i> is from the call to the moment "
            "at which emission had stopped in that engine, by the clock of one machine as two processes read it. A "
            "repeat changes nothing: the first halt of an epoch is the one that counts.</p>"
        )
        yield _table("When", "Record", "Why", "Who", "#Time to effect", "What was under way")
        yield from (_halt(halt) for halt in every[:SHOWN_ROWS])
        yield _END
        yield rest(total, min(len(every), SHOWN_ROWS), "halts")
    yield "<h3>Resets</h3>"
    resets = sorted(
        (reset for one in told.facts for reset in one.halts.resets), key=lambda one: (one.ts_us, one.engine)
    )
    total = sum(one.halts.resets_count for one in told.facts)
    if not total:
        yield "<p>No reset is on record in this time.</p>"
        return
    yield _table("When", "Record", "Why", "Who", "Epoch")
    yield from (_reset(reset) for reset in resets[:SHOWN_ROWS])
    yield _END
    yield rest(total, min(len(resets), SHOWN_ROWS), "halts")


def _halt(halt: Halt) -> str:
    who = halt.operator or "no person"
    took = "not known"
    if halt.took_us is not None:
        took = length(halt.took_us)
    elif halt.effect_us is None:
        took = "made before the run began"
    elif halt.called_us is not None:
        took = f"not known: the call was {length(halt.called_us - halt.effect_us)} later by its clock"
    repeat = "" if halt.first else "repeat, "
    return _cells(
        ("When", when(halt.ts_us)),
        ("Record", f"{refer((halt.engine, halt.seq))}<br>{repeat}epoch {halt.epoch}"),
        ("Why", f'<b>{escape(halt.code)}</b> <span class="why">{escape(halt.reason)}</span>'),
        ("Who", f'<span class="why">{escape(who)}</span>, by {escape(halt.source)}'),
        ("#Time to effect", took),
        ("What was under way", _under_way(halt)),
    )


def _under_way(halt: Halt) -> str:
    if not halt.first:
        return ""
    said = ["no send under way"]
    if halt.in_flight:
        said = [f"{many(halt.in_flight, 'send')} under way, {number(halt.ended)} on record as ended"]
    if halt.last_end_us is not None and halt.effect_us is not None:
        said.append(f"the last after {length(halt.last_end_us - halt.effect_us)}")
    if halt.working is None:
        said.append("too many working orders to follow them")
    else:
        said.append(f"{many(halt.working, 'working order')}, {number(halt.over)} on record as over since")
    said.append(f"{many(halt.cancels, 'cancel')}, {number(halt.cancels_failed)} of them raised")
    return "; ".join(said)


def _reset(reset: Reset) -> str:
    return _cells(
        ("When", when(reset.ts_us)),
        ("Record", refer((reset.engine, reset.seq))),
        ("Why", f'<span class="why">{escape(reset.reason)}</span>'),
        ("Who", f'<span class="why">{escape(reset.operator)}</span>'),
        ("Epoch", f"{reset.prior} to {reset.epoch}"),
    )


# -- Reasons -----------------------------------------------------------------------------------------


def reasons(told: Told) -> Iterator[str]:
    """Counts by code."""
    facts = told.facts
    yield "<h3>Orders permitted, by instrument</h3>"
    yield from _tallies("permits", "Instrument", facts, [one.instruments for one in facts], "orders")
    yield "<h3>Orders refused by gate 2, by reason</h3>"
    yield from _tallies("refused", "Reason", facts, [one.refused for one in facts], "refusals")
    yield "<h3>Ticks refused by gate 1, by reason</h3>"
    yield from _tallies("blocked", "Reason", facts, [one.blocked for one in facts], "refusals")
    yield "<h3>Permits taken back before their send, by reason</h3>"
    yield from _tallies("voided", "Reason", facts, [one.voided for one in facts], "orders")
    yield "<h3>Loss limits and anomalies</h3>"
    yield from _tallies(
        "breached", "Limit and state", facts, [one.breached for one in facts], "", "No loss limit was reached."
    )
    yield from _tallies("odd", "Anomaly", facts, [one.odd for one in facts], "", "No anomaly.")


def _tallies(
    name: str, head: str, facts: Sequence[Facts], tallies: Sequence[dict[str, Tally]], sheet: str, none: str = "None."
) -> Iterator[str]:
    """A table of counts over all engines; for each name how often, first and last."""
    keys: dict[str, list[tuple[str, Tally]]] = {}
    for one, found in zip(facts, tallies, strict=True):
        for key, tally in found.items():
            keys.setdefault(key, []).append((one.engine, tally))
    if not keys:
        yield f'<p class="more">{none}</p>'
        return
    rows = sorted(keys.items(), key=lambda row: (-sum(tally.count for _, tally in row[1]), row[0]))
    yield _table(head, "#Count", "First", "Last")
    for key, found_in in rows[:SHOWN_ROWS]:
        first = min(found_in, key=lambda row: row[1].first_us)
        last = max(found_in, key=lambda row: row[1].last_us)
        yield _cells(
            (head, f'<span class="why">{escape(key)}</span>'),
            ("#Count", fact(f"{name}.{key}", sum(tally.count for _, tally in found_in))),
            ("First", f"{when(first[1].first_us)} {escape(first[0])}:{first[1].first}"),
            ("Last", f"{when(last[1].last_us)} {escape(last[0])}:{last[1].last}"),
        )
    yield _END
    if sheet:
        yield rest(len(rows), min(len(rows), SHOWN_ROWS), sheet)


# -- Limits ------------------------------------------------------------------------------------------


def limits(told: Told) -> Iterator[str]:
    """Versions with who approved them, and which run read which."""
    history = told.given.history
    for problem in history.problems:
        yield f'<p class="alarm">The row of approvals is not whole: {escape(problem)}.</p>'
    if not history.approvals:
        yield "<p>No approval is on record: nobody answers for the limits by this bundle.</p>"
    else:
        yield _table("Version", "When", "Who", "Why", "SHA-256")
        for one in history.approvals[-SHOWN_ROWS:]:
            yield _cells(
                ("Version", str(one.number)),
                ("When", when(one.ts_us)),
                ("Who", f'<span class="why">{escape(one.operator)}</span>'),
                ("Why", f'<span class="why">{escape(one.reason)}</span>'),
                ("SHA-256", f"<code>{one.sha256}</code>"),
            )
        yield _END
        if len(history.approvals) > SHOWN_ROWS:
            yield f'<p class="more">{len(history.approvals) - SHOWN_ROWS} earlier ones are in <code>limits/</code>.</p>'
        yield (
            '<p class="more">Approvals are files of the home, outside of the journal. The record of a run has the hash '
            "of the limits that it read; the names in an approval are what somebody typed.</p>"
        )
    yield "<h3>Runs, and the limits that they read</h3>"
    rows = [(one.engine, row) for one in told.facts for row in one.runs.rows]
    rows.sort(key=lambda row: (row[1]["ts"], row[0]))
    total = sum(one.runs.count for one in told.facts)
    if not total:
        yield "<p>No run began in this time.</p>"
        return
    yield _table("Began", "Record", "Operator", "Version", "Limits", "Approved by then")
    yield from (_run(told, engine, row) for engine, row in rows[:SHOWN_ROWS])
    yield _END
    yield rest(total, min(len(rows), SHOWN_ROWS), "modes")


def _run(told: Told, engine: str, row: dict[str, Any]) -> str:
    approval = told.given.approval(row)
    by = '<b class="bad">by nobody on record</b>'
    if approval is not None:
        by = f'version {approval.number}, <span class="why">{escape(approval.operator)}</span>'
    digest = row["limits"] or ""
    return _cells(
        ("Began", when(row["ts"])),
        ("Record", f"{escape(engine)}:{row['seq']}"),
        ("Operator", f'<span class="why">{escape(row["operator"] or "none")}</span>'),
        ("Version", f"{escape(row['version'])}, {escape(row['durability'])}"),
        ("Limits", f"<code>{escape(digest[:16])}…</code>" if digest else "none"),
        ("Approved by then", by),
    )


def versions(told: Told) -> list[str]:
    """The versions of the kernel that ran, and the hashes of their source as segments name them."""
    ran = {row["version"] for one in told.facts for row in one.runs.rows}
    return sorted(ran | {code for one in told.facts for code in one.codes})


# -- Crashes, recoveries, drills -----------------------------------------------------------------------


def continuity(told: Told) -> Iterator[str]:
    """What went wrong with processes, and what was rehearsed."""
    rows = [(one.engine, row) for one in told.facts for row in one.recoveries.rows]
    total = sum(one.recoveries.count for one in told.facts)
    yield "<h3>Recoveries</h3>"
    if not total:
        yield "<p>None in this time.</p>"
    else:
        yield _table("When", "Record", "#Kept", "#Set aside, bytes", "#Carried over", "In the file")
        for engine, row in rows[:SHOWN_ROWS]:
            yield _cells(
                ("When", when(row["ts"])),
                ("Record", f"{escape(engine)}:{row['seq']}"),
                ("#Kept", number(row["sealed"])),
                ("#Set aside, bytes", number(row["torn_bytes"])),
                ("#Carried over", number(row["salvaged"])),
                ("In the file", f"<code>{escape(row['torn_file'])}</code>"),
            )
        yield _END
        yield rest(total, min(len(rows), SHOWN_ROWS), "modes")
    yield "<h3>Kill drills</h3>"
    yield from _drills(told.given.drills)


def _drills(drills: Iterable[dict[str, Any]]) -> Iterator[str]:
    listed = list(drills)
    if not listed:
        yield "<p>No report of a drill is in this bundle.</p>"
        return
    yield (
        "<p>A drill is on a home of its own, so its records are not among those of this home. What follows is what its "
        "report says.</p>"
    )
    yield _table("Began", "Kind", "Answer", "Operator", "Machine", "File")
    for one in listed[-SHOWN_ROWS:]:
        good = "good" if one["verdict"] == "PASSED" else "bad"
        yield _cells(
            ("Began", clock_time(str(one["began"]))),
            ("Kind", f"{escape(str(one['kind']))}, {escape(str(one['engines']))} engines"),
            ("Answer", f'<b class="{good}">{escape(str(one["verdict"]))}</b>'),
            ("Operator", f'<span class="why">{escape(str(one["operator"]))}</span>'),
            ("Machine", escape(str(one["machine"]))),
            ("File", f"<code>{escape(one['file'])}</code>"),
        )
    yield _END
