"""What people and programs see: standard output for results, standard error for the rest."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NoReturn

import orjson
import typer
from rich.console import Console

if TYPE_CHECKING:
    from interlock.ops.exits import Exit

__all__ = ["err", "fail", "out", "say", "show", "visible", "warn"]

out = Console(highlight=False, soft_wrap=True, emoji=False)  # ":100:" is a line number here
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def show(value: object) -> None:
    """One JSON object on standard output."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # a path that is not UTF-8
        text = json.dumps(value, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def visible(text: str) -> str:
    """Text as a terminal may show it, on one line: what can't be seen is told by its escape.

    Reasons, names and order ids are anybody's words. They must neither steer the terminal of whoever reads them nor
    look like a line of ours.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def say(text: str, style: str | None = None) -> None:
    """A line for people, on standard output; brackets in it are no mark-up."""
    out.print(visible(text), style=style, markup=False)


def warn(message: str) -> None:
    """A line for people, on standard error."""
    err.print(visible(f"interlock: {message}"), markup=False)


def fail(code: Exit, message: str, *, json: bool = False) -> NoReturn:
    """End with an exit code and one clear line on standard error; with ``--json`` an object on standard output, too."""
    warn(message)
    if json:
        show({"error": message, "exit": int(code)})
    raise typer.Exit(int(code))
