"""``interlock prove``: that a record is in a journal, or that a journal grew from an earlier one, as JSON."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.ops.console import fail, say, show
from interlock.ops.exits import Exit
from interlock.ops.verify import HomePath, JournalPath, RootKey, located
from interlock.verify import Inputs, cases, files, homes

if TYPE_CHECKING:
    from interlock.verify.cases import Case

__all__ = ["prove"]


def prove(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: HomePath = None,
    journal: JournalPath = None,
    engine: Annotated[str, typer.Option("--engine", help="Whose journal; not needed if there is one only.")] = "",
    record: Annotated[int | None, typer.Option("--record", min=0, help="The number of a record.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Of the tree; else the last checkpoint's, or the last seal's.")
    ] = None,
    consistency: Annotated[
        tuple[int, int] | None, typer.Option("--consistency", help="Two sizes: that the one grew into the other.")
    ] = None,
    check: Annotated[Path | None, typer.Option("--check", help="A proof's file: check it, without a home.")] = None,
    root_key: RootKey = None,
    keys: Annotated[
        list[Path] | None, typer.Option("--keys", help="With --check: a list of keys; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --check: one JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Prove that a record is in a journal, or that a journal grew from an earlier one; or check such a proof."""
    if sum(given is not None for given in (record, consistency, check)) != 1:
        fail(Exit.USAGE, "give one of --record, --consistency and --check", json=json)
    try:
        if check is not None:
            _check(check, root_key, tuple(keys or ()), json=json)
        place = located(home, journal, None, json=json)
        show(_prove(place, engine, record, size, consistency))
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, str(error), json=json)


def _prove(
    place: homes.Place, engine: str, record: int | None, size: int | None, consistency: tuple[int, int] | None
) -> Case:
    name = engine or (next(iter(place.journals)) if len(place.journals) == 1 else "")
    if name not in place.journals:
        message = f"no journal of engine {name!r}; there are: {', '.join(place.journals)}"
        raise ValueError(message)
    directory, notes = place.journals[name], place.checkpoints[name]
    if consistency is not None:
        return cases.prove_consistency(directory, *consistency, notes)
    return cases.prove_inclusion(directory, record or 0, size, notes)


def _check(path: Path, root_key: str | None, keys: tuple[Path, ...], *, json: bool) -> None:
    word = None if root_key is None else homes.read_word(root_key)
    wrong, shown = cases.check(files.small(path), Inputs(root_key=word, lists=files.given([*keys])))
    if json:
        show({"right": not wrong, "wrong": wrong, "shown": shown})
    else:
        for sentence in (*(f"wrong: {sentence}" for sentence in wrong), *shown):
            say(sentence)
    raise typer.Exit(int(Exit.TAMPERED if wrong else Exit.FINE))
