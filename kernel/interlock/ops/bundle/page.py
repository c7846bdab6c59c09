"""The report: one page that needs nothing from elsewhere, for a screen, a phone, and paper.

It is drawn from what was computed from the bundle. Every number that was counted stands in a ``<data>`` element whose
``data-fact`` says what was counted, so that a program, too, can compare it. Tables have an upper end, with the count of
what they leave out and the CSV that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.ops.bundle import mapping, sections
from interlock.ops.bundle.marks import clock_time, fact, when
from interlock.ops.bundle.picture import LEGEND, draw, length
from interlock.ops.bundle.readme import commands
from interlock.ops.bundle.verdicts import VERIFIER
from interlock.ops.sheet import document, escape, style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.ops.bundle.told import Told
    from interlock.verify import Report

__all__ = ["gravest", "page"]

_MEANS: Final = {
    "VERIFIED": "Every rule of the journal holds, and every record is bound by a root.",
    "VERIFIED-TO-N": "The rules of the journal hold; its last records are bound by no root yet.",
    "IN-DOUBT": "The rules of the journal hold; of some orders nobody recorded how they ended.",
    "TAMPERED": "Rules of the journal are broken.",
    "NO RECORDS": "There is no record, so nothing is shown.",
}
_PARTS: Final = (
    ("what-the-verifier-says", "What the verifier says"),
    ("time-line", "What happened, and when"),
    ("halts-and-resets", "Halts and resets"),
    ("reasons", "Orders and refusals by reason"),
    ("limits", "Limits, and who approved them"),
    ("continuity", "Crashes, recoveries, drills"),
    ("rules", "What this shows, rule by rule"),
    ("missing", "What is missing, and what can't be known"),
    ("check", "How to check this"),
    ("records", "The records that were named"),
)


def page(told: Told) -> str:
    """The page."""
    bodies = (
        _verifier(told),
        _timeline(told),
        sections.halts(told),
        sections.reasons(told),
        sections.limits(told),
        sections.continuity(told),
        mapping.rules(told),
        _missing(told),
        _check(told),
        mapping.records(told),
    )
    parts = [*_head(told), *_contents()]
    for (anchor, title), body in zip(_PARTS, bodies, strict=True):
        parts += [f'<section><h2 id="{anchor}">{title}</h2>', *body, "</section>"]
    asked = told.given.request["asked"]
    span = f"{asked['from'] or 'all'} to {asked['to'] or 'all'}"
    title = f"Evidence: home {told.given.request['home'] or 'unknown'}, {span}"
    return document(title, [style("interlock.ops.bundle", "report.css")], ["<main>", *parts, "</main>", _foot(told)])


def gravest(told: Told) -> Report | None:
    """The gravest answer of the verifier; None without a journal."""
    order = ["VERIFIED", "VERIFIED-TO-N", "IN-DOUBT", "TAMPERED"]
    return max(told.given.reports.values(), key=lambda report: order.index(report.status), default=None)


def _head(told: Told) -> Iterator[str]:
    report = gravest(told)
    request, facts = told.given.request, told.facts
    engines = fact("engines", len(facts))
    yield '<header><p class="kicker">Evidence bundle</p>'
    yield f"<h1>Home <code>{escape(request['home'] or 'unknown')}</code></h1>"
    yield f'<p class="when">{_asked(told)}. {engines} engine{"" if len(facts) == 1 else "s"}.</p>'
    verdict = "NO RECORDS" if report is None else report.status.value
    kind = "bad" if verdict == "TAMPERED" else "good" if verdict == "VERIFIED" else ""
    yield f'<p class="verdict {kind}">{escape(verdict)}</p></header>'
    if verdict == "TAMPERED":
        yield (
            '<p class="alarm"><b>A rule of the journal is broken.</b> What follows was computed from records that '
            "somebody or something changed, as far as they can be read. Do not rely on it before that is clear.</p>"
        )
    for engine, why in told.ended.items():
        yield f'<p class="alarm">Engine {escape(engine)}: {escape(why)}. The numbers here end there.</p>'
    numbers = {claim.name: claim.numbers for claim in told.claims}
    epochs, late = numbers["halts"]["epochs"], numbers["late"]["late"]
    yield (
        f'<p class="lead">{fact("permits", numbers["permits"]["permits"])} orders were permitted and '
        f"{fact('refusals', numbers['refusals']['refusals'])} refused. The home was halted "
        f"{fact('halted', epochs)} time{'' if epochs == 1 else 's'}; {fact('late', late)} send"
        f"{'' if late == 1 else 's'} began after that had taken effect. {_MEANS[verdict]}</p>"
    )
    yield from _tiles(told)


def _asked(told: Told) -> str:
    asked = told.given.request["asked"]
    begin = clock_time(asked["from"]) if asked["from"] else "the first record"
    end = clock_time(asked["to"]) if asked["to"] else "the last record"
    first = min((one.first_us for one in told.facts if one.first_us), default=0)
    last = max((one.last_us for one in told.facts), default=0)
    spread = f". Its records are of {when(first)} to {when(last)}" if first else ""
    return f"Asked for: {begin} to {end}, UTC{spread}"


def _tiles(told: Told) -> Iterator[str]:
    slowest = [one.halts.slowest for one in told.facts if one.halts.slowest is not None]
    took = max((halt.took_us or 0 for halt in slowest), default=None)
    within = sum(one.count(*one.kinds) for one in told.facts)
    cells = (
        (fact("records", within), "records in this time"),
        (
            fact("sealed", sum(report.sealed for report in told.given.reports.values())),
            "records bound by a root, in all",
        ),
        (
            fact("reset", len({epoch for one in told.facts for epoch in one.halts.reset_epochs})),
            "times that the home was reset",
        ),
        (
            f'<data data-fact="effect" value="{took}">{length(took)}</data>' if took is not None else "none",
            "longest time on record from a call to its effect",
        ),
    )
    yield '<div class="tiles">'
    for value, said in cells:
        yield f"<div><b>{value}</b><span>{said}</span></div>"
    yield "</div>"


def _contents() -> Iterator[str]:
    yield '<nav aria-label="Contents">'
    for anchor, title in _PARTS:
        yield f'<a href="#{anchor}">{title}</a>'
    yield "</nav>"


def _verifier(told: Told) -> Iterator[str]:
    key = told.given.request["root_key"]
    named = f"It was given the root key <code>{escape(key)}</code>, which whoever made the bundle named." if key else ""
    yield (
        "<p>The verifier shares no code with the engine that wrote the records. It reads the segments of this bundle "
        f"from their first record on, with the checkpoints, lists of keys and anchors beside them. {named}</p>"
    )
    yield '<table class="stack"><thead><tr><th>Engine</th><th>Answer</th><th class="num">Records</th>'
    yield '<th class="num">Bound by a root</th><th class="num">Signed</th><th class="num">Torn bytes</th>'
    yield "<th>Root</th></tr></thead><tbody>"
    for engine, report in told.given.reports.items():
        kind = "bad" if report.findings_total else "good" if report.exit_code == 0 else ""
        signed = "none" if report.signed is None else fact(f"signed.{engine}", report.signed)
        yield (
            f'<tr><td>{escape(engine)}</td><td data-is="Answer"><b class="{kind}">{escape(report.verdict)}</b></td>'
            f'<td class="num" data-is="Records">{fact(f"records.{engine}", report.records)}</td>'
            f'<td class="num" data-is="Bound by a root">{fact(f"sealed.{engine}", report.sealed)}</td>'
            f'<td class="num" data-is="Signed">{signed}</td>'
            f'<td class="num" data-is="Torn bytes">{fact(f"torn.{engine}", report.torn_bytes)}</td>'
            f'<td data-is="Root"><code>{escape(report.root or "none")}</code></td></tr>'
        )
    yield "</tbody></table>"
    for engine, report in told.given.reports.items():
        said = [*report.notes]
        said += [f"{one.file}:{one.line}: record {one.seq}: {one.rule}: {one.message}" for one in report.findings]
        said += [f"in doubt: order {one.order}, permit {one.permit}" for one in report.in_doubt]
        left = report.findings_total - len(report.findings) + report.in_doubt_total - len(report.in_doubt)
        said += [f"and {left} more"] if left else []
        yield from (f'<p class="more">{escape(engine)}: {escape(one)}.</p>' for one in said)


def _timeline(told: Told) -> Iterator[str]:
    drawn = draw(told)
    if not drawn:
        yield "<p>No record lies in this time.</p>"
        return
    yield (
        f"<p>From the first record to the last. One bar is {length(told.times.width_us)}; the numbers at the left are "
        "the most that one bar stands for.</p>"
    )
    yield f'<figure><div class="scroll" tabindex="0" role="group" aria-label="Time line">{drawn}</div></figure>'
    yield '<ul class="legend">'
    for shape, said in LEGEND:
        yield f'<li><svg viewBox="0 0 18 14" aria-hidden="true">{shape}</svg>{said}</li>'
    yield "</ul>"
    lanes = len(told.times.lanes)
    drawn_lanes = drawn.count('class="name"')
    if lanes > drawn_lanes:
        yield f'<p class="more">{lanes - drawn_lanes} more engines are not drawn.</p>'


def _missing(told: Told) -> Iterator[str]:
    missing = told.given.request["missing"]
    if missing:
        yield "<h3>Not in this bundle</h3><ul class='plainlist'>"
        for one in missing:
            yield f"<li><code>{escape(str(one.get('what')))}</code>: {escape(str(one.get('why')))}.</li>"
        yield "</ul>"
    yield "<h3>What nobody can know from it</h3><ul class='plainlist'>"
    for said in sorted({one for report in told.given.reports.values() for one in report.cannot_know}):
        yield f"<li>{escape(said[0].upper() + said[1:])}.</li>"
    yield (
        "<li>Whether an order that left was executed, beyond what the engine recorded of the venue's answers.</li>"
        "<li>Whether the clock of the machine was right. Times are the machine's own.</li>"
        "<li>Who really typed a name. Operators are told as they were given.</li></ul>"
    )
    outside = sum(one.outside for one in told.facts)
    if outside:
        yield (
            f'<p class="more">{fact("outside", outside)} records in the bundle lie outside of the time that was asked '
            "for. They are there because a verifier has to begin with the first; no number here counts them, but for "
            "those in the table of the verifier's answers.</p>"
        )


def _check(told: Told) -> Iterator[str]:
    yield "<p>In the bundle's directory, with <code>interlock</code> of the version named below:</p>"
    for command, purpose in commands(told):
        yield f"<p>{escape(purpose[0].upper() + purpose[1:])}:</p><pre>{escape(command)}</pre>"
    tools = told.given.request["tools"]
    yield "<dl>"
    for what, key in (("Interlock", "interlock"), ("Its code, SHA-256", "code_sha256"), ("Python", "python")):
        yield f"<dt>{what}</dt><dd><code>{escape(str(tools.get(key)))}</code></dd>"
    alone = tools.get("verifier_sha256")
    yield f"<dt>{VERIFIER}, SHA-256</dt><dd><code>{escape(str(alone or 'not in the bundle'))}</code></dd>"
    codes = sections.versions(told)
    yield f"<dt>Versions that ran</dt><dd>{', '.join(map(escape, codes)) or 'none in this time'}</dd></dl>"


def _foot(told: Told) -> str:
    last = max((one.last_us for one in told.facts), default=0)
    upto = f" The last record in it is of {when(last)}." if last else ""
    return (
        f"<footer>Computed from the files of this bundle and from nothing else.{upto} The hash of this page stands in "
        "<code>manifest.json</code>. It points into rules and is no legal advice.</footer>"
    )
