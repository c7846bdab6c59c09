"""``python -m tests.mutation``: wrong the code in every small way, and see whether the tests notice.

    python -m tests.mutation run   [--rooms core journal] [--modules core.ledger] [--json]     what is not noticed
    python -m tests.mutation check [--rooms ...]                                     red if the list is not true

A mutant that no test notices is killed by a better test, or put into ``survivors.toml`` with the argument why it is
no mistake.
"""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.mutation.campaign import CampaignError, Figures, Tried, run
from tests.mutation.rooms import HELD, ROOMS


def main() -> int:
    """The commands."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("command", choices=("run", "check"))
    parser.add_argument("--rooms", nargs="+", choices=tuple(ROOMS), default=HELD)
    parser.add_argument("--modules", nargs="+", default=())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("mutants", total=None)

        def progress(done: int, total: int, tried: Tried | None) -> None:
            bar.update(task, completed=done, total=total, description=tried.module if tried else "mutants")
            if tried is not None and tried.verdict != "killed":
                bar.console.print(f"{tried.verdict}: {tried.told}", markup=False, highlight=False, soft_wrap=True)

        try:
            figures = run(given.rooms, given.modules, progress)
        except CampaignError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    sys.stdout.write(json.dumps(figures.to_json(), indent=2) + "\n" if given.json else text(figures))
    return 0 if given.command == "run" or figures.sound else 1


def text(figures: Figures) -> str:
    """The figures for people."""
    rows = [f"{'module':24} {'mutants':>8} {'killed':>8} {'listed':>8}"]
    rows += [f"{module:24} {a:8} {b:8} {c:8}" for module, (a, b, c) in figures.modules.items()]
    rows += [f"not noticed, not listed: {one}" for one in figures.new]
    rows += [f"listed, but noticed or gone: {one}" for one in figures.stale]
    rows.append(
        f"{figures.mutants} mutants, {figures.killed} killed, {figures.equivalent} listed as equivalent,"
        f" {len(figures.new)} new, {len(figures.stale)} stale, {figures.seconds:.0f} s"
    )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
