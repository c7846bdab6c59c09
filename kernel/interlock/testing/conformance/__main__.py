"""The conformance report from a shell: ``python -m interlock.testing.conformance MODULE:CLASS``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from interlock.testing.conformance.adapter import Adapter
from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.machine import Unfit
from interlock.testing.conformance.report import Effort, Line, check

_USAGE = 2


def main(
    adapter: Annotated[str, typer.Argument(help="MODULE:CLASS of the adapter.")],
    claim: Annotated[list[Claim] | None, typer.Option("--claim", help="Only this one; may be repeated.")] = None,
    attempts: Annotated[int, typer.Option(min=1, help="For each claim, if none breaks it.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Of each attempt.")] = 30,
    seed: Annotated[int | None, typer.Option(help="Other attempts than the usual ones.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Attack an engine through its adapter, and say of each claim whether it holds."""
    sys.path.insert(0, str(Path.cwd()))
    module, _, name = adapter.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        typer.echo(f"{adapter}: {error}", err=True)
        raise typer.Exit(_USAGE) from error
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        typer.echo(f"{adapter}: not a subclass of interlock.testing.conformance.Adapter", err=True)
        raise typer.Exit(_USAGE)

    def show(line: Line) -> None:
        typer.echo(f"{line.claim}: {line.verdict}", err=True)

    try:
        progress = show if sys.stderr.isatty() else None
        effort = Effort(attempts=attempts, steps=steps, from_seed=seed)
        report = check(found, effort, claims=claim or Claim, progress=progress)
    except Unfit as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_USAGE) from error
    typer.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2) if json else report.to_text())
    raise typer.Exit(report.exit_code)


if __name__ == "__main__":
    typer.run(main)
