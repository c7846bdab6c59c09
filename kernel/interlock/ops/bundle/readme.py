"""The page that tells an auditor what is in the bundle, and how to check it without us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.ops.bundle.verdicts import NEEDS, VERIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.ops.bundle.told import Told

__all__ = ["commands", "readme"]

_CONTENTS: Final = (
    ("report.html", "the report; `report.pdf` is the same for paper, if it was asked for"),
    ("manifest.json", "SHA-256 and size of every other file, what was asked for, by which versions, what is missing"),
    ("journal/ENGINE/", "the records: segments as they are, and what recoveries set aside (`.torn-N`)"),
    ("checkpoints/, keys/, anchors/", "signed tree heads, the lists of signing keys, what outside witnesses kept"),
    ("limits/, limits.toml", "every approved version of the limits with who approved it; the one in force at the end"),
    ("stops/, latch.json", "what stops set out to do; the latch"),
    ("drills/", "reports of kill drills"),
    ("csv/", "orders, refusals, halts and modes as tables"),
    ("claims.json", "each claim of the report with its numbers, records and audit paths"),
    (VERIFIER, "the verifier: one file for Python 3.11 or newer, with nothing of the engine in it"),
)


def commands(told: Told) -> Iterator[tuple[str, str]]:
    """What to run in the bundle's directory, each with what it is for."""
    yield "sha256sum manifest.json", "compare with the hash that you were given by another way than this bundle"
    check = "every file, the verifier's answer, and all that was computed, once more; give the root key that you have"
    yield "interlock bundle --check . --root-key NAME+ID+KEY", f"{check}, or leave it out if there is none"
    anchors = " --anchor anchors" if told.anchored else ""
    yield f"pip install {' '.join(NEEDS)}", "what the verifier by itself needs, and nothing of ours"
    yield f"python3 {VERIFIER} .{anchors} --root-key NAME+ID+KEY", "the records by themselves, by the verifier alone"


def readme(told: Told) -> str:
    """The page, in Markdown that reads well as plain text."""
    asked = told.given.request["asked"]
    lines = [
        "# Evidence bundle",
        "",
        f"Home {told.given.request['home'] or '(unknown)'}.",
        f"Asked for: from {asked['from'] or 'its beginning'} to {asked['to'] or 'its end'}. Times are UTC.",
        "",
        "The report counts what lies in that time. The records begin with the first of each journal all the same, for",
        "later ones rest on the earlier: a verifier that began in the middle would have to believe somebody.",
        "",
        "## What is in here",
        "",
        *(f"- `{name}`: {what}." for name, what in _CONTENTS),
        "",
        "Not everything need be there: `manifest.json` says under `missing` what is not, and why.",
        "",
        "## How to check it",
        "",
        "In this directory (unpack it first, if it is an archive):",
        "",
    ]
    for command, purpose in commands(told):
        lines += [f"    {command}", "", f"  {purpose}.", ""]
    lines += [
        "The report, the tables and `claims.json` are computed from the other files, and from nothing else: the same",
        "version computes the same bytes. In a table a text that a spreadsheet would take for a formula has an",
        "apostrophe in front.",
        "",
    ]
    return "\n".join(lines)
