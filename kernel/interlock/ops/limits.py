"""``interlock limits show | history | set``: which limits are in force, and who answers for them."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from interlock.breaker.home import Home
from interlock.breaker.versions import set_limits as put_in_force
from interlock.core.errors import InterlockError
from interlock.ops.console import fail, say, show
from interlock.ops.exits import Exit
from interlock.ops.options import HomeOption, JsonOption, now, plain

if TYPE_CHECKING:
    from interlock.breaker.versions import Approval, History

__all__ = ["app"]

app = typer.Typer(name="limits", help="The limits: which are in force, and who approved each version.")


@app.command("show")
def show_limits(home: HomeOption, json: JsonOption = False) -> None:  # noqa: FBT002
    """The limits in force, as they stand in the file, and who approved them. Exit code 2 if nobody did."""
    target = Home(home)
    history = _history(target, json=json)
    try:
        data = target.limits.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{target.limits}: {error.strerror}", json=json)
    digest = sha256(data).hexdigest()
    approval = history.of(digest)
    fault = _fault(target)
    if json:
        said = {"sha256": digest, "approval": approval and _plainly(approval), "fault": fault}
        show({**said, "problems": list(history.problems), "limits": data.decode("utf-8", "backslashreplace")})
    else:
        for line in data.decode("utf-8", "backslashreplace").rstrip("\n").split("\n"):
            say(line.replace("\t", "    "))
        say(f"# sha256 {digest}")
        say(f"# {_told(approval)}" if approval else "# NOT APPROVED: nobody is on record for these limits")
        for problem in filter(None, (fault, *history.problems)):
            say(f"# PROBLEM: {problem}")
    if approval is None or fault or history.problems:
        raise typer.Exit(int(Exit.USAGE))


@app.command("history")
def show_history(home: HomeOption, json: JsonOption = False) -> None:  # noqa: FBT002
    """Every approved version: number, hash, who, when and why. Exit code 2 if the row is not whole."""
    target = Home(home)
    history = _history(target, json=json)
    if json:
        show({"approvals": [_plainly(one) for one in history.approvals], "problems": list(history.problems)})
    else:
        for one in history.approvals:
            say(f"{one.number:4}  {one.sha256[:16]}  {_told(one)}")
        for problem in history.problems:
            say(f"PROBLEM: {problem}")
    if history.problems:
        raise typer.Exit(int(Exit.USAGE))


@app.command("set")
def set_limits(
    home: HomeOption,
    file: Annotated[Path, typer.Option("--file", help="TOML file with the new limits.")],
    operator: Annotated[str, typer.Option("--operator", help="Who approves them.", callback=plain)],
    reason: Annotated[str, typer.Option("--reason", help="Why.", callback=plain)],
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Approve new limits, and put them in force for engines that attach from now on. Not while one runs."""
    try:
        approval = put_in_force(Home(home), file.read_bytes(), operator=operator, reason=reason, ts_us=now().ts_us)
    except OSError as error:
        fail(Exit.USAGE, f"{file}: {error.strerror}", json=json)
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show(_plainly(approval))
    else:
        say(f"{home}: version {approval.number} of the limits is in force, for engines that attach from now on.")
        say(f"sha256 {approval.sha256}")


def _history(home: Home, *, json: bool) -> History:
    try:
        home.require()
        return home.versions().history()
    except (InterlockError, OSError) as error:
        fail(Exit.USAGE, str(error), json=json)


def _fault(home: Home) -> str | None:
    """What an engine would have against the limits."""
    try:
        home.read_limits()
    except InterlockError as error:
        return str(error)
    return None


def _plainly(approval: Approval) -> dict[str, object]:
    return attrs.asdict(approval)


def _told(approval: Approval) -> str:
    when = datetime.fromtimestamp(approval.ts_us // 1_000_000, UTC)
    return f"version {approval.number}, {when:%Y-%m-%d %H:%M:%S} UTC, {approval.operator}: {approval.reason}"
