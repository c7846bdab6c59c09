"""What several commands take: the home, the operator, whether to answer in JSON."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from interlock.breaker.home import Now
from interlock.journal.records import text

__all__ = ["HomeOption", "JsonOption", "OperatorOption", "now", "plain", "user"]


def plain(given: str | None) -> str | None:
    """A text that any record can hold: an argument may be long, and need not be UTF-8."""
    return None if given is None else text(given)


def now() -> Now:
    """This moment."""
    return Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())


def user() -> str:
    """Who runs the command, for whoever does not say it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


HomeOption = Annotated[Path, typer.Option("--home", "-H", help="The home directory.", envvar="INTERLOCK_HOME")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
OperatorOption = Annotated[str, typer.Option("--operator", help="Who does it; stands in the journal.", callback=plain)]
