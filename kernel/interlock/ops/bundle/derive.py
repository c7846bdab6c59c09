"""What is computed from the evidence of a bundle: tables, claims with proofs, the report, and how to check it.

It reads the bundle's files and nothing else, no clock, no home, no environment. So the same evidence gives the same
bytes, here and at the auditor's, and ``interlock bundle --check`` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import orjson

from interlock.ops.bundle.claims import claims
from interlock.ops.bundle.facts import Facts
from interlock.ops.bundle.given import given, request_of
from interlock.ops.bundle.page import page
from interlock.ops.bundle.plan import Span
from interlock.ops.bundle.proofs import prove
from interlock.ops.bundle.readme import readme
from interlock.ops.bundle.sheets import SHEETS, Sheets
from interlock.ops.bundle.story import Story, engines_of, segments_of
from interlock.ops.bundle.times import Times
from interlock.ops.bundle.told import SHOWN_ROWS, Cited, Told
from interlock.ops.bundle.tree import lines
from interlock.ops.bundle.verdicts import verdict
from interlock.verify.lines import LINE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from interlock.ops.bundle.claim import Cite, Claim
    from interlock.ops.bundle.given import Given
    from interlock.ops.bundle.tree import Folder, Tree

__all__ = ["CLAIMS", "DERIVED", "PASSES", "README", "REPORT", "derive"]

REPORT: Final = "report.html"
CLAIMS: Final = "claims.json"
README: Final = "README.md"
DERIVED: Final = frozenset({REPORT, CLAIMS, README, *(f"csv/{name}.csv" for name in SHEETS)})
"""What is computed, by name."""

PASSES: Final = 3
"""How often the segments are read."""


def derive(tree: Tree, out: Folder, progress: Callable[[int], None]) -> Told:
    """Compute all of it, and write it.

    Args:
        tree: the bundle.
        out: where to write: the bundle's own directory, or another one to compare with.
        progress: called with bytes read since it was last called; all segments are read `PASSES` times.

    Raises:
        BundleError: this is no bundle.
        OSError: a file can't be read or written.
    """
    request = request_of(tree)
    span = Span.of_json(request["asked"])
    names = engines_of(tree)
    reports = {engine: verdict(tree, engine, request["root_key"], progress) for engine in names}
    times = Times(span)
    facts, ended = [], {}
    with Sheets(out, span) as sheets:
        for engine in names:
            found = Facts(engine, span)
            story = Story(tree, engine, progress)
            for entry in story:
                found.feed(entry)
                times.feed(engine, entry, found.mode, attached=found.attached)
                sheets.feed(entry, found)
            facts.append(found)
            if story.ended:
                ended[engine] = story.ended
    times.end()
    beside = given(tree, request, facts, reports)
    made = claims(facts, beside)
    cited = _cited(tree, beside, set(_wanted(facts, made)), progress)
    anchored = any(name.startswith("anchors/") for name in tree.names())
    told = Told(facts=facts, times=times, given=beside, claims=made, cited=cited, ended=ended, anchored=anchored)
    out.write(CLAIMS, _claims(told))
    out.write(README, readme(told).encode())
    out.write(REPORT, page(told).encode("utf-8", "backslashreplace"))
    return told


def _wanted(facts: Sequence[Facts], made: Iterable[Claim]) -> Iterator[Cite]:
    """The records that the report names."""
    for claim in made:
        yield from claim.cites
    for one in facts:
        yield from ((one.engine, halt.seq) for halt in one.halts.halts[:SHOWN_ROWS])
        yield from ((one.engine, reset.seq) for reset in one.halts.resets[:SHOWN_ROWS])


def _cited(tree: Tree, beside: Given, wanted: set[Cite], progress: Callable[[int], None]) -> dict[Cite, Cited]:
    """Each with its proof: in the tree of the last checkpoint, if that holds it, else in that of the last seal."""
    found: dict[Cite, Cited] = {}
    for engine, report in beside.reports.items():
        roots = [(note.size, note.root, note.name) for note in reversed(beside.notes.get(engine, ()))]
        if report.root is not None:
            roots.append((report.root_size, report.root, f"seal {report.root_size}"))
        chosen: dict[int, tuple[int, str, str]] = {}
        for name, seq in wanted:
            if name == engine:
                fitting = [root for root in roots if seq < root[0] <= report.records]
                if fitting:
                    chosen[seq] = fitting[0]
        proofs = prove(_lines(tree, engine, progress), {seq: size for seq, (size, _, _) in chosen.items()})
        for name, seq in wanted:
            if name == engine:
                proof = proofs.get(seq)
                _, root, bound_by = chosen[seq] if proof is not None else (0, "", "")
                agrees = proof is not None and proof.root.hex() == root
                found[engine, seq] = Cited(engine=engine, seq=seq, proof=proof, bound_by=bound_by, agrees=agrees)
    return dict(sorted(found.items()))


def _lines(tree: Tree, engine: str, progress: Callable[[int], None]) -> Iterator[bytes]:
    read = 0
    for name in segments_of(tree, engine):
        for line in lines(tree, name, LINE_MAX):
            read += len(line) + 1
            if read > 1 << 20:
                progress(read)
                read = 0
            yield line


def _claims(told: Told) -> bytes:
    plain = {
        "format": told.given.request["format"],
        "claims": [{**attrs.asdict(claim), "sentence": claim.sentence} for claim in told.claims],
        "records": [cited.to_json() for cited in told.cited.values()],
        "verifier": {engine: report.to_json() for engine, report in told.given.reports.items()},
    }
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2) + b"\n"
