"""The page of a drill's report: one file that needs nothing from elsewhere, for a screen, a phone, and paper.

It is drawn from the record alone. Whatever stands in it is escaped, whoever wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.ops.drill.picture import draw, windows
from interlock.ops.drill.record import Kind
from interlock.ops.sheet import document, escape, style
from interlock.ops.sheet import number as _number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from interlock.ops.drill.record import Answer, Lane, Measured

__all__ = ["page"]

_WHAT: Final = {
    Kind.HALT: "The kill switch, pulled from another process while all engines trade",
    Kind.HUNG: "The kill switch, while an engine hangs inside a send",
    Kind.SUSPENDED: "The kill switch, while the process of an engine is suspended",
    Kind.KILLED: "The kill switch, after an engine died in the midst of its trading",
    Kind.WATCHDOG: "The watchdog, when the loop of an engine stands still",
}
_LEGEND: Final = (
    ('<rect class="send" x="1" y="1" width="16" height="12"/>', "sends"),
    ('<rect class="open" x="1" y="1" width="16" height="12"/>', "a send that never ended"),
    ('<circle class="seen" cx="9" cy="7" r="5"/>', "the engine saw the halt"),
    ('<path class="left" d="M9 0l7 7l-7 7l-7 -7z"/>', "it let go of the running lock"),
    ('<path class="refused" d="M4 2l10 10m0 -10l-10 10"/>', "its first refused order"),
)


def page(record: Mapping[str, Any], measured: Measured, digest: str) -> str:
    """The page.

    Args:
        record: the report's record.
        measured: what was measured.
        digest: SHA-256 of the record's file.
    """
    title = f"Kill drill, {record['began'][:10]}: {record['verdict']}"
    parts = [
        *_head(record, measured),
        *_timeline(measured),
        *_criteria(record),
        *_engines(measured),
        *_halts(measured),
        *_journals(measured),
        *_facts(record),
        "<h2>What this drill does not show</h2>",
        '<ul class="plainlist">',
        *(f"<li>{escape(said)}</li>" for said in record["not_shown"]),
        "</ul>",
        *_signatures(record),
        _foot(record, digest),
    ]
    return document(title, [style("interlock.ops.drill", "page.css")], parts)


def _foot(record: Mapping[str, Any], digest: str) -> str:
    return (
        f"<footer>Drawn from the record of the same name (.json), SHA-256 <code>{digest}</code>. Drill "
        f"<code>{escape(record['drill'])}</code>. Interlock {escape(record['software']['interlock'])}.</footer>"
    )


def _head(record: Mapping[str, Any], measured: Measured) -> Iterator[str]:
    good = record["verdict"] == "PASSED"
    failed = [one for one in record["criteria"] if not one["passed"]]
    plan = record["plan"]
    yield '<header><p class="kicker">Kill drill report</p>'
    yield f"<h1>{escape(_WHAT[measured.kind])}</h1>"
    began = record["began"]
    yield (
        f'<p class="when">{escape(began[:10])}, {escape(began[11:19])} UTC · {escape(record["operator"])} on '
        f"{escape(record['host']['name'])}</p>"
    )
    yield f'<p class="verdict {"good" if good else "bad"}">{escape(record["verdict"])}</p></header>'
    many = f"{plan['engines']} engine processes" if plan["engines"] > 1 else "One engine process"
    rate = sum(lane.per_s for lane in measured.lanes)
    after = sum(lane.begun_after_ack for lane in measured.lanes)
    many_after = f"{_number(after)} orders were" if after > 1 else "one order was" if after else "no order was"
    acked = f"After the ack, {many_after} sent." if measured.ack_ns else "No ack came."
    failing = "" if good else f" {len(failed)} of {len(record['criteria'])} criteria were not met."
    yield (
        f'<p class="lead">{many} traded on one paper home, together {_number(rate)} orders a second, when the halt was '
        f"called. {acked}{failing}</p>"
    )
    yield from _tiles(measured, after)


def _tiles(measured: Measured, after: int) -> Iterator[str]:
    first = measured.answers[0] if measured.answers else None
    last = max((lane.last_begun_ns for lane in measured.lanes), default=0)
    refused = sum(lane.refused for lane in measured.lanes)
    acked = measured.ack_ns > 0
    yield '<div class="tiles">'
    for value, said in (
        (_big(last - first.called_ns) if first else "none", "from the call of the halt to the last send begun"),
        (
            _big(measured.ack_ns - first.called_ns) if first and acked else "none",
            "from the call of the halt to the ack",
        ),
        (_number(after) if acked else "no ack", "orders begun after the ack"),
        (_number(refused), "orders refused by the halt"),
    ):
        yield f"<div><b>{value}</b><span>{said}</span></div>"
    yield "</div>"


def _timeline(measured: Measured) -> Iterator[str]:
    yield "<h2>What happened, and when</h2>"
    for window in windows(measured):
        yield f"<figure><figcaption>{escape(window.title)}</figcaption>"
        yield f'<div class="scroll">{draw(measured, window)}</div></figure>'
    open_sends = any(not end for lane in measured.lanes for _, end in lane.tail)
    yield '<ul class="legend">'
    for shape, said in _LEGEND:
        if open_sends or "open" not in shape:
            yield f'<li><svg viewBox="0 0 18 14" aria-hidden="true">{shape}</svg>{said}</li>'
    yield "</ul>"


def _criteria(record: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Criteria</h2>"
    yield '<table class="criteria stack"><thead><tr><th></th><th>What must be so</th><th>Asked for</th>'
    yield "<th>Found</th></tr>"
    yield "</thead><tbody>"
    for one in record["criteria"]:
        mark = '<td class="mark good">✓ met</td>' if one["passed"] else '<td class="mark bad">✗ not met</td>'
        yield (
            f'<tr>{mark}<td>{escape(one["claim"])}</td><td data-is="Asked for">{escape(one["limit"])}</td>'
            f'<td data-is="Found">{escape(one["measured"])}</td></tr>'
        )
    yield "</tbody></table>"


def _engines(measured: Measured) -> Iterator[str]:
    called = measured.answers[0].called_ns if measured.answers else 0
    yield "<h2>The engines</h2><p>Times are counted from the call of the halt.</p>"
    yield '<div class="engines">'
    for lane in measured.lanes:
        fault = f' <span class="bad">{escape(lane.fault)}</span>' if lane.fault else ""
        yield f'<section class="engine"><h3>{escape(lane.name)} <small>pid {lane.pid}</small>{fault}</h3><table>'
        for what, value in _lane(lane, called, acked=measured.ack_ns > 0):
            yield f"<tr><td>{what}</td><td>{value}</td></tr>"
        yield "</table></section>"
    yield "</div>"


def _lane(lane: Lane, called: int, *, acked: bool) -> Iterable[tuple[str, str]]:
    def at(ns: int) -> str:
        return _ms(ns - called) if ns else "never"

    if lane.fault_ns:
        yield f"{escape(lane.fault)} since", at(lane.fault_ns)
    yield "sends", f"{_number(lane.sends)} ({_number(lane.per_s)} a second)"
    yield "last send begun", at(lane.last_begun_ns)
    yield "last send ended", at(lane.last_ended_ns)
    yield "halt seen", at(lane.seen_ns)
    yield "running lock let go", at(lane.left_ns)
    yield "first refused order", at(lane.first_refused_ns)
    first = lane.first_refused
    if first is not None:
        yield "its id and reason", f"<code>{escape(first['order'])}</code> {escape(first['reason'])}"
    yield "orders refused", _number(lane.refused)
    yield "orders begun after the ack", str(lane.begun_after_ack) if acked else "no ack"
    if lane.died_ns:
        yield "process found dead", at(lane.died_ns)
    else:
        yield "mode at its end", escape(lane.mode or "told nothing")


def _halts(measured: Measured) -> Iterator[str]:
    yield "<h2>Who acknowledged what, and when</h2>"
    if not measured.answers:
        yield "<p>Nobody: there was no halt.</p>"
        return
    called = measured.answers[0].called_ns
    yield '<table class="stack"><thead><tr><th>Command, in a process of its own</th><th>Called</th><th>Byte set</th>'
    yield "<th>Latch durable</th><th>Ack</th><th>Answer</th></tr></thead><tbody>"
    for answer in measured.answers:
        cells = (
            ("Called", answer.called_ns),
            ("Byte set", answer.stopped_ns),
            ("Latch durable", answer.durable_ns),
            ("Ack", answer.confirmed_ns),
        )
        yield f"<tr><td><code>{escape(' '.join(answer.command))}</code></td>"
        for name, ns in cells:
            yield f'<td data-is="{name}">{_ms(ns - called) if ns else "none"}</td>'
        yield f"<td>{_answer(answer)}</td></tr>"
    yield "</tbody></table>"


def _answer(answer: Answer) -> str:
    sure = "confirmed" if answer.confirmed else "unconfirmed"
    said = [f"<b>{sure}</b>, {'' if answer.durable else 'not '}durable, exit code {answer.code}"]
    said += [f"killed {escape(str(who['engine']))} (pid {escape(str(who['pid']))})" for who in answer.killed]
    if answer.message:
        said.append(escape(answer.message))
    return "; ".join(said)


def _journals(measured: Measured) -> Iterator[str]:
    yield "<h2>The journals</h2>"
    yield (
        "<p>Checked by the verifier, which shares no code with the engine. A root binds every record before it: keep "
        "this page, and a journal that was changed since is found out.</p>"
    )
    yield '<table class="stack"><thead><tr><th>Engine</th><th>Answer</th><th>Records</th><th>Root</th></tr></thead>'
    yield "<tbody>"
    for journal in measured.journals:
        doubt = f": {escape(', '.join(journal.in_doubt))}" if journal.in_doubt else ""
        doubt += f": {escape('; '.join(journal.findings))}" if journal.findings else ""
        yield (
            f'<tr><td>{escape(journal.engine)}</td><td data-is="Answer">{escape(journal.verdict)}{doubt}</td>'
            f'<td data-is="Records">{_number(journal.records)}</td>'
            f'<td data-is="Root"><code>{escape(journal.root)}</code></td></tr>'
        )
    yield "</tbody></table>"


def _facts(record: Mapping[str, Any]) -> Iterator[str]:
    home, host, software, plan = record["home"], record["host"], record["software"], record["plan"]
    escalate = "SIGKILL to what did not drain" if plan["escalate"] else "no SIGKILL"
    yield "<h2>Circumstances</h2><dl>"
    for what, value in (
        ("Began", record["began"]),
        ("Ended", record["ended"]),
        ("Operator", record["operator"]),
        (
            "Asked for",
            f"{plan['engines']} engines, {plan['seconds']} s of load, {plan['timeout_s']} s to be quiet, {escalate}",
        ),
        ("Home", f"{home['uuid']}, epoch {home['epoch']}"),
        ("Kept at", home["path"] or "not kept: the home was temporary, and was removed with its journals"),
        ("Limits, SHA-256", home["limits_sha256"]),
        ("Interlock", f"{software['interlock']}, Python {software['python']}"),
        ("Code, SHA-256", software["code_sha256"]),
        ("Machine", f"{host['name']}: {host['system']}, {host['machine']}, {host['processors']} processors"),
        ("Boot", host["boot"] or "unknown"),
        (
            "Clock",
            f"monotonic, {host['clock_resolution_ns']} ns; this began at {record['clock']['base_mono_ns']} ns",
        ),
    ):
        yield f"<dt>{what}</dt><dd>{escape(str(value))}</dd>"
    yield "</dl>"


def _signatures(record: Mapping[str, Any]) -> Iterator[str]:
    yield '<h2>Signatures</h2><div class="signs">'
    for role, who in (("Operator", record["operator"]), ("Compliance officer", "")):
        yield (
            f'<div class="sign"><b>{role}</b><i></i>Signature<i class="short"></i>Name'
            f'{f": {escape(who)}" if who else ""}<i class="short"></i>Date</div>'
        )
    yield "</div>"


def _ms(ns: int) -> str:
    """Milliseconds, to the microsecond."""
    sign, ns = ("\u2212", -ns) if ns < 0 else ("", ns)
    return f"{sign}{_number(ns // 1_000_000)}.{ns // 1000 % 1000:03d}\u00a0ms"


def _big(ns: int) -> str:
    """Milliseconds for a headline: two digits behind the point."""
    sign, ns = ("\u2212", -ns) if ns < 0 else ("", ns)
    return f"{sign}{_number(ns // 1_000_000)}.{ns // 10_000 % 100:02d} <small>ms</small>"
