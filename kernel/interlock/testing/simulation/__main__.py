"""The simulation from a shell: ``python -m interlock.testing.simulation --seed N --steps M``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from interlock.testing.simulation.campaign import Campaign, campaign
from interlock.testing.simulation.world import STEPS

if TYPE_CHECKING:
    from interlock.testing.simulation.world import Run

_BROKEN = 1


def main(
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="How many steps in all.")] = 1_000_000,
    runs: Annotated[int | None, typer.Option(min=1, help="So many seeds, whatever their steps.")] = None,
    length: Annotated[int, typer.Option(min=1, help="The steps of each seed.")] = STEPS,
    log: Annotated[Path | None, typer.Option(help="Write the log of the failed, or else the last, run here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Run the real kernel, breaker and journal on a simulated machine, and see whether a promise breaks.

    It goes through one seed after the other. The first that breaks a promise ends it; its number, and the command
    that runs it again exactly, are printed. Exit codes: 0 none broke, 1 one did.
    """
    last: list[Run] = []
    with _bar() as bar:
        task = bar.add_task("steps", total=steps if runs is None else runs * length)

        def show(run: Run, done: int) -> None:
            last[:] = [run]
            bar.update(task, completed=done, description=f"seed {run.seed}")

        found = campaign(seed, steps=steps, runs=runs, length=length, keep_log=log is not None, progress=show)
    if log is not None and last:
        log.write_text(last[0].log, encoding="utf-8")
    typer.echo(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2) if json else _said(found))
    raise typer.Exit(_BROKEN if found.failed is not None else 0)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)


def _said(found: Campaign) -> str:
    first = (
        f"{found.runs} seeds from {found.seed}: {found.steps:,} steps, {found.handovers:,} of them to another thread; "
        f"{found.simulated_s:,.1f} s simulated in {found.took_s:,.1f} s: {found.steps_an_hour:,} steps an hour"
    )
    lines = [first, *(f"  {often:>9,}  {what}" for what, often in found.counts.items())]
    failed = found.failed
    if failed is None or failed.failure is None:
        return "\n".join([*lines, "no promise was broken"])
    tail = failed.log.splitlines()[-30:]
    why = f"seed {failed.seed} broke {failed.failure.promise} at step {failed.failure.step}: {failed.failure.said}"
    return "\n".join([*lines, "", *tail, "", why, f"again: {found.again}"])


if __name__ == "__main__":
    typer.run(main)
