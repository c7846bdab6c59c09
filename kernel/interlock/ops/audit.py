"""What ``interlock verify`` shares with the demo and the drill: the verifier at work, and its progress bar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from interlock.ops.console import err, say, show
from interlock.verify import homes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from interlock.verify import Report

__all__ = ["audit", "check", "tell"]


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """A progress bar, or nothing where nobody would see it."""
    if not (shown and err.is_terminal):
        yield None
        return
    columns = ("verifying", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("verifying", total=total)
        yield lambda done: bar.update(task, completed=done)


def check(directory: Path, *, progress: bool) -> Report:
    """Verify the journal in a directory, by itself."""
    return audit(homes.locate(directory), homes.Given(), progress=progress)[""]


def audit(place: homes.Place, given: homes.Given, *, progress: bool) -> dict[str, Report]:
    """Verify all journals of a place."""
    with _bar(homes.size_of(place), shown=progress) as update:
        return dict(homes.verify_place(place, given, update))


def tell(reports: Mapping[str, Report], *, json: bool = False) -> None:
    """Print the reports: one JSON object, or text for people."""
    if json:
        show(homes.to_json(reports))
        return
    for number, line in enumerate(homes.to_text(reports)):
        say(line, None if number else "bold")
