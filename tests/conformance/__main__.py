"""``python -m tests.conformance``: the stories of the known defects, and what is found in NautilusTrader.

With ``--write`` they are put into ``docs/testing.md``. The same versions tell the same stories; others may find others.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

import hypothesis
from tests.helpers import ROOT

from interlock.testing.conformance import Claim, Effort, Line, Verdict, check
from interlock.testing.conformance.report import try_claim

from .known import FOUND, PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.testing.conformance import Adapter

PAGE: Final = ROOT / "docs" / "testing.md"
STORIES: Final = ("<!-- generated: python -m tests.conformance --write -->", "<!-- end of the stories -->")
NAUTILUS: Final = ("<!-- generated, too -->", "<!-- end of the report -->")


def stories() -> str:
    """Each defect that was seen in systems in use: what is done, and what comes of it."""
    return "\n\n".join("\n".join(_story(engine, said)) for engine, said in PEERS.items())


def _story(engine: type[Adapter], said: str) -> Iterator[str]:
    claim = FOUND[engine][0]
    line = try_claim(engine, claim)
    yield f"### {said[0].upper()}{said[1:]}"
    yield ""
    yield f"`tests/conformance/defects.py::{engine.__name__}` breaks `{claim}`:"
    yield ""
    yield from told(line)


def told(line: Line) -> Iterator[str]:
    """A story, for a page."""
    yield "```text"
    yield from (f"{number}. {step}" for number, step in enumerate(line.story, 1))
    yield f"=> {line.why}"
    yield "```"


def nautilus() -> str:
    """The report, and the story of each claim that is broken."""
    from . import nautilus as theirs  # noqa: PLC0415 - it may not be installed

    lines = list(check(theirs.Nautilus).lines)
    more = [
        ("one exit after the other, each marked reduce-only", theirs.NautilusWithAPosition),
        ("the trading state REDUCING", theirs.NautilusReducing),
    ]
    out = [
        f"NautilusTrader {theirs.VERSION}, attacked with Hypothesis {hypothesis.__version__}:",
        "",
        "| claim | verdict | what was done |",
        "|---|---|---|",
        *(f"| `{line.claim}` | {line.verdict} | {_done(line)} |" for line in lines),
    ]
    for line in lines:
        if line.verdict is Verdict.BROKEN:
            out += ["", f"`{line.claim}`:", "", *told(line)]
    for said, adapter in more:
        line = try_claim(adapter, Claim.REDUCE_ONLY_NEVER_FLIPS, Effort(attempts=2000))
        out += ["", f"`{line.claim}`, with {said}:", "", *told(line)]
    return "\n".join(out)


def _done(line: Line) -> str:
    raised = "; ".join(f"{what} {count} times" for what, count in line.raised)
    done = f"{line.attempts} attempts, {line.orders} orders at the venue" if line.attempts else line.why
    return f"{done}; calls that raised: {raised}" if raised else done


def block(text: str, marks: tuple[str, str]) -> str:
    """What stands between two marks."""
    return text.partition(marks[0])[2].partition(marks[1])[0].strip()


def written(text: str, marks: tuple[str, str], inside: str) -> str:
    """The page, with something else between two marks."""
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{inside}\n\n{marks[1]}{after}"


def main() -> None:
    """Tell, or write."""
    found = [(STORIES, stories())]
    if importlib.util.find_spec("nautilus_trader") is not None:
        found.append((NAUTILUS, nautilus()))
    if "--write" not in sys.argv[1:]:
        sys.stdout.write("\n\n".join(inside for _, inside in found) + "\n")
        return
    text = PAGE.read_text(encoding="utf-8")
    for marks, inside in found:
        text = written(text, marks, inside)
    PAGE.write_text(text, encoding="utf-8")


__all__ = ["NAUTILUS", "PAGE", "STORIES", "block", "nautilus", "stories"]

if __name__ == "__main__":
    main()
