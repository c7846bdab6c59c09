"""How far a bundle is: a bar on a terminal, else nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from interlock.ops.console import err

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Step = Callable[[str, int], Callable[[int], None]]

__all__ = ["shown"]


@contextmanager
def shown(*, quiet: bool) -> Iterator[Step]:
    """Give what is to be called at each step, with its name and how many bytes it has."""
    if quiet or not err.is_terminal:
        yield lambda _, __: lambda ___: None
        return
    text = TextColumn("{task.description}")
    with Progress(text, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err, transient=True) as bar:

        def step(name: str, size: int) -> Callable[[int], None]:
            task = bar.add_task(name, total=size)
            return lambda done: bar.advance(task, done)

        yield step
