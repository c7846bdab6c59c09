"""``python -m tests.traces``: real runs, judged by every check.

    python -m tests.traces run [--runs N] [--seed S]     random plans, and every step struck; the product as it is
    python -m tests.traces rates [--runs N] [--write]    each seeded bug, and the rate at which each check catches it

``--write`` puts the table of the rates into ``docs/assurance.md``.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.helpers import ROOT
from tests.traces.bugs import BUGS, NONE
from tests.traces.campaign import Judged, judge, struck
from tests.traces.plan import every_step, for_bug, random_plan

PAGE: Final = ROOT / "docs" / "assurance.md"
BEGIN: Final = "<!-- generated: python -m tests.traces rates --write -->"
END: Final = "<!-- end of the rates -->"
RIGHT: Final = "the product as it is"


def rates(runs: int) -> str:
    """The table."""
    rows = [
        "| what is wrong | plans | trace of the specification | monitor of times | journals | roster | any |",
        "|---|---|---|---|---|---|---|",
    ]
    right = [for_bug(bug, seed, seeded=False) for bug in BUGS for seed in range(max(1, runs // len(BUGS)))]
    rows.append(_row(RIGHT, "directed", judge(right)))
    rows.append(_row(RIGHT, "random", judge(random_plan(seed) for seed in range(runs))))
    for bug, said in BUGS.items():
        name = f"`{bug}`: {said}"
        rows.append(_row(name, "directed", judge(for_bug(bug, seed) for seed in range(runs))))
        rows.append(_row(name, "random", judge(random_plan(seed, bug) for seed in range(runs))))
        sys.stderr.write("\n".join(rows[-2:]) + "\n")
    return "\n".join(rows)


def _row(name: str, plans: str, judged: list[Judged]) -> str:
    counts = (
        sum(not one.accepted for one in judged),
        sum(bool(one.late) for one in judged),
        sum(bool(one.journals) for one in judged),
        sum(bool(one.doubts) for one in judged),
        sum(not one.sound or (bool(one.doubts) and one.plan.bug != NONE) for one in judged),
    )
    cells = " | ".join(f"{count} of {len(judged)}" for count in counts)
    return f"| {name} | {plans} | {cells} |"


def write(table: str) -> None:
    """Put the table where it belongs."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """The commands."""
    parser = argparse.ArgumentParser(prog="python -m tests.traces", description=__doc__)
    parser.add_argument("command", choices=("run", "rates"))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.command == "rates":
        table = rates(given.runs)
        sys.stdout.write(table + "\n")
        if given.write:
            write(table)
        return 0
    judged = judge([*every_step(1), *(random_plan(seed) for seed in range(given.seed, given.seed + given.runs))])
    wrong = [one for one in judged if not one.sound]
    for one in wrong:
        sys.stdout.write(one.against() + "\n")
    sys.stdout.write(f"{len(judged)} runs, {len(wrong)} wrong\n")
    for (step, act), count in sorted(struck(judged).items()):
        sys.stdout.write(f"{step:14} {act:6} {count}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
