"""``interlock verify``: the journals of a home, held against what an auditor has from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.ops.audit import audit, tell
from interlock.ops.console import fail
from interlock.ops.exits import Exit
from interlock.verify import homes

__all__ = ["HomePath", "JournalPath", "RootKey", "located", "verify"]

HomePath = Annotated[Path | None, typer.Option("--home", "-H", help="The home whose journals to check.")]
JournalPath = Annotated[
    Path | None, typer.Option("--journal", help="The directory of a journal, or of several, in place of a home.")
]
RootKey = Annotated[
    str | None, typer.Option("--root-key", help="The root's verifier key, or its file, from outside the home.")
]


def located(home: Path | None, journal: Path | None, checkpoints: Path | None, *, json: bool) -> homes.Place:
    """Find the journals that a command is about, or end with a usage error."""
    if (home is None) is (journal is None):
        fail(Exit.USAGE, "give either --home or --journal", json=json)
    directory = journal if journal is not None else (home or Path()) / "journal"
    if not directory.is_dir():
        fail(Exit.USAGE, f"{directory}: no journal here", json=json)
    return homes.locate(journal or home or Path(), checkpoints)


def verify(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: HomePath = None,
    journal: JournalPath = None,
    root_key: RootKey = None,
    keys: Annotated[
        list[Path] | None, typer.Option("--keys", help="A list of keys beside the home's own; may be repeated.")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="The directory of checkpoints, in place of the home's own.")
    ] = None,
    anchor: Annotated[
        list[Path] | None,
        typer.Option("--anchor", help="A checkpoint or time stamp from outside, or a directory; may be repeated."),
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option("--witness-key", help="A witness's verifier key, or its file; may be repeated.")
    ] = None,
    tsa_cert: Annotated[
        list[Path] | None,
        typer.Option("--tsa-cert", help="A time-stamp authority's certificate; may be repeated."),
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="How many processes; else one a core.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Check all journals: structure, sequence, seals, signatures, and that nothing was sent that should not be."""
    given = homes.Given(
        root_key=root_key,
        keys=tuple(keys or ()),
        checkpoints=checkpoints,
        anchors=tuple(anchor or ()),
        witnesses=tuple(witness_key or ()),
        authorities=tuple(tsa_cert or ()),
        jobs=jobs,
    )
    try:
        place = located(home, journal, checkpoints, json=json)
        reports = audit(place, given, progress=not json)
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, str(error), json=json)
    tell(reports, json=json)
    raise typer.Exit(homes.gravest(reports).exit_code)
