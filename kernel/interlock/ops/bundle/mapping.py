"""Sections of the report that tie claims to rules, and to records with their proofs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.ops.bundle.claim import AGAINST, SHOWN
from interlock.ops.bundle.marks import anchor, fact, refer
from interlock.ops.bundle.rules import RULES
from interlock.ops.sheet import escape, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.ops.bundle.claim import Claim
    from interlock.ops.bundle.told import Cited, Told

__all__ = ["records", "rules"]

_FIELD: Final = re.compile(r"\{(\w+)\}")
_LONGEST: Final = 1200
_MARKS: Final = {SHOWN: '<b class="good">✓ on record</b>', AGAINST: '<b class="bad">✗ against</b>'}


def rules(told: Told) -> Iterator[str]:
    """Each rule: what it asks, what is on record for it, and what is not shown."""
    yield (
        "<p>Under each rule stand the claims that serve it. <i>On record</i> means that the records of this time show "
        "it; <i>in part</i>, that they show it for some of what it speaks of; <i>nothing on record</i>, that no record "
        "of it lies in this time, which is no evidence that a control would have acted; <i>against</i>, that the "
        "records speak against it. Each claim names records, the first and the last of a kind as a rule; below they "
        "stand in full, each with its proof. Other rules may apply as well.</p>"
    )
    for rule in RULES:
        yield f'<section id="{rule.name}"><h3>{escape(rule.title)}</h3>'
        yield f'<p class="asks">Asks: {escape(rule.asks)}</p>'
        serving = [
            (claim, place)
            for claim in told.claims
            for name, _, place in (given.partition(" ") for given in claim.rules)
            if name == rule.name
        ]
        if serving:
            yield '<table class="claims stack"><thead><tr><th>Standing</th><th>Paragraph</th><th>Claim</th>'
            yield "<th>Records</th></tr></thead><tbody>"
            yield from (_claim(rule.name, claim, place) for claim, place in serving)
            yield "</tbody></table>"
        yield '<ul class="plainlist not">'
        yield from (f"<li>Not shown: {escape(said[0].lower() + said[1:])}</li>" for said in rule.not_shown)
        yield "</ul></section>"


def _claim(rule: str, claim: Claim, place: str) -> str:
    def put(match: re.Match[str]) -> str:
        return fact(f"{claim.name}.{match[1]}", claim.numbers[match[1]])

    said = _FIELD.sub(put, escape(claim.text))
    refs = ", ".join(refer(cite) for cite in claim.cites)
    mark = _MARKS.get(claim.standing, escape(claim.standing))
    name = escape(f"{rule}-{claim.name}")
    return (
        f'<tr id="{name}"><td>{mark}</td><td data-is="Paragraph">{escape(place)}</td><td>{said}</td>'
        f'<td class="refs" data-is="Records">{refs or "none"}</td></tr>'
    )


def records(told: Told) -> Iterator[str]:
    """The records that were named: the very line, and its audit path to a root."""
    bound = sum(cited.agrees for cited in told.cited.values())
    yield (
        f"<p>{fact('cited', len(told.cited))} records are named in this report. For {fact('cited.bound', bound)} the "
        "audit path (RFC 6962, SHA-256) leads to a root that a checkpoint or a seal of the journal names. A checkpoint "
        "is signed; a seal is not: it shows that the record was not changed since the seal was made, by anybody who "
        "did not make all later ones anew. The paths stand in <code>claims.json</code>, too.</p>"
    )
    yield from (_record(cited) for cited in told.cited.values())


def _record(cited: Cited) -> str:
    where = f"{escape(cited.engine)}:{cited.seq}"
    head = f'<details id="{anchor((cited.engine, cited.seq))}"><summary>{where}'
    proof = cited.proof
    if proof is None:
        return f"{head}, bound by no root yet</summary><p>Its line is in the segment.</p></details>"
    state = (
        f"bound by {escape(cited.bound_by)}" if cited.agrees else '<b class="bad">its path leads to another root</b>'
    )
    line = proof.line.decode()
    shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
    path = "".join(f"<br>{node.hex()}" for node in proof.path)
    return (
        f"{head}, {state}</summary><dl><dt>Line</dt><dd><code>{escape(shown)}</code></dd>"
        f"<dt>Tree</dt><dd>{number(proof.size)} leaves, root <code>{proof.root.hex()}</code></dd>"
        f'<dt class="path">Audit path</dt><dd class="path"><code>from the leaf up:{path or "<br>none, the only leaf"}'
        "</code></dd></dl></details>"
    )
