"""``interlock bundle``: make an evidence bundle, or check one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from interlock.core.errors import InterlockError
from interlock.ops.bundle.build import build
from interlock.ops.bundle.check import check
from interlock.ops.bundle.page import gravest
from interlock.ops.bundle.plan import Plan, Span, moment
from interlock.ops.bundle.progress import shown
from interlock.ops.bundle.tree import BundleError, open_tree
from interlock.ops.console import fail, say, show
from interlock.ops.exits import Exit
from interlock.ops.options import JsonOption  # noqa: TC001 - likewise
from interlock.verify import Status
from interlock.verify.notes import read_key

if TYPE_CHECKING:
    from interlock.ops.bundle.check import Checked

__all__ = ["bundle"]


def bundle(  # noqa: PLR0913, PLR0917 - one for each thing that can be asked for
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: a directory, or an archive if .zip.")],
    home: Annotated[Path | None, typer.Option("--home", "-H", help="The home.", envvar="INTERLOCK_HOME")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="From this day or time on, UTC; else from the first record.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Up to the end of this day, or this time; else to the last record.")
    ] = None,
    drills: Annotated[
        list[Path] | None, typer.Option("--drills", help="A directory with reports of drills; may be repeated.")
    ] = None,
    anchors: Annotated[
        list[Path] | None, typer.Option("--anchors", help="What an outside witness kept; may be repeated.")
    ] = None,
    root_key: Annotated[
        str | None, typer.Option("--root-key", help="The root's verifier key, NAME+ID+KEY, or a file with it.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="The report as PDF, too.")] = False,  # noqa: FBT002
    checking: Annotated[  # noqa: FBT002
        bool, typer.Option("--check", help="Check the bundle that is at OUT, in place of making one.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Put the evidence of a span of time into one bundle that an auditor can check alone; or check one."""
    began = time.monotonic()
    try:
        root = None if root_key is None else _key(root_key)
        if checking:
            raise typer.Exit(_check(out, root, json=json))
        if home is None:
            fail(Exit.USAGE, "give --home, or --check for a bundle that is there", json=json)
        whole = Span()
        span = Span(
            begin_us=whole.begin_us if begin is None else moment(begin),
            end_us=whole.end_us if end is None else moment(end, end=True),
        )
        if span.end_us <= span.begin_us:
            fail(Exit.USAGE, "--to is not after --from", json=json)
        plan = Plan(
            home=home,
            out=out,
            span=span,
            drills=tuple(drills or ()),
            anchors=tuple(anchors or ()),
            root_key=root,
            pdf=pdf,
        )
        raise typer.Exit(_build(plan, began, json=json))
    except (InterlockError, OSError) as error:
        fail(Exit.USAGE, f"no bundle: {error}", json=json)


def _build(plan: Plan, began: float, *, json: bool) -> int:
    with shown(quiet=json) as step:
        made = build(plan, step)
    report = gravest(made.told)
    verdict = "NO RECORDS" if report is None else report.verdict
    seconds = round(time.monotonic() - began, 3)
    if json:
        asked = {key: made.manifest[key] for key in ("format", "home", "asked", "engines", "missing")}
        show(
            {
                "bundle": str(plan.out),
                "manifest_sha256": made.manifest_sha256,
                "verdict": verdict,
                "files": len(made.manifest["files"]),
                "seconds": seconds,
                **asked,
            }
        )
    else:
        say(f"{plan.out}: {len(made.manifest['files']) + 1} files; the verifier says {verdict}", "bold")
        for one in made.manifest["missing"]:
            say(f"missing: {one['what']}: {one['why']}")
        say(f"manifest {made.manifest_sha256}")
        say("Give that hash to whoever gets the bundle, by another way than the bundle.")
    return int(Exit.FINE)


def _key(given: str) -> str:
    """A verifier key that is given itself, or as the file that holds it.

    Raises:
        BundleError: it is none.
    """
    path = Path(given)
    try:
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else given.strip()
        read_key(text)
    except (OSError, ValueError) as error:
        message = f"{given!r} is no verifier key of a root: {error}"
        raise BundleError(message) from error
    return text


def _check(out: Path, root_key: str | None, *, json: bool) -> int:
    with shown(quiet=json) as step:
        found = check(open_tree(out), root_key, step)
    worst = max(found.reports.values(), key=lambda one: list(Status).index(one.status), default=None)
    code = Exit.TAMPERED if not found.whole else Exit.IN_DOUBT if worst is None else Exit(worst.exit_code)
    if json:
        plain = attrs.asdict(found, filter=lambda attribute, _: attribute.name != "reports")
        reports = {engine: report.to_json() for engine, report in found.reports.items()}
        show({"whole": found.whole, **plain, "exit_code": int(code), "engines": reports})
        return int(code)
    _tell(found)
    say(f"manifest {found.manifest_sha256}")
    return int(code)


def _tell(found: Checked) -> None:
    say("WHOLE: every file is as it was when the bundle was made" if found.whole else "NOT WHOLE", "bold")
    for what in ("changed", "missing", "added"):
        for name in getattr(found, what):
            say(f"{what}: {name}")
    for name in found.differs:
        say(f"differs: {name} is not what the evidence gives")
    for note in found.notes:
        say(f"note: {note}")
    for engine, report in found.reports.items():
        say(f"engine {engine}: {report.verdict}, {report.records} records")
        for finding in report.findings:
            say(f"{finding.file}:{finding.line}: seq {finding.seq}: {finding.rule}: {finding.message}")
