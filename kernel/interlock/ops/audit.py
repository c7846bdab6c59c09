"""``interlock verify``: hands the journal's bytes to the verifier, and prints what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TimeRemainingColumn

from interlock.breaker.segment import chunks, segments
from interlock.ops.console import err, say, show
from interlock.verify import Report, Status, verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["audit", "check"]


def check(directory: Path, *, progress: bool) -> Report:
    """Verify the journal in a directory, with a progress bar on a terminal."""
    paths = segments(directory)
    total = sum(path.stat().st_size for path in paths)
    bar = Progress("verifying", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err, transient=True)
    with bar if progress and err.is_terminal else _Silent() as shown:
        task = shown.add_task("verifying", total=total)
        return verify(((path.name, chunks(path)) for path in paths), lambda done: shown.update(task, completed=done))


class _Silent:
    """A progress bar that nobody sees."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_task(self, *_: object, **__: object) -> TaskID:
        return TaskID(0)

    def update(self, *_: object, **__: object) -> None:
        pass


def audit(streams: Mapping[str, Path], *, json: bool) -> int:
    """Verify, print, and give the exit code: the gravest of all.

    Args:
        streams: the journal's directory of each engine; under the empty name a directory by itself.
        json: one JSON object in place of text.
    """
    reports = {name: check(directory, progress=not json) for name, directory in streams.items()}
    gravest = max(reports.values(), key=lambda report: (report.exit_code, list(Status).index(report.status)))
    if not json:
        if len(reports) > 1:
            say(f"{gravest.verdict}: the gravest of {len(reports)} engines", "bold")
        for name, report in reports.items():
            tell(report, name)
    elif "" in reports:
        show(gravest.to_json())
    else:
        plain = {name: report.to_json() for name, report in reports.items()}
        show({"verdict": gravest.verdict, "exit_code": gravest.exit_code, "engines": plain})
    return gravest.exit_code


def tell(report: Report, engine: str = "") -> None:
    """The report for people."""
    say(report.verdict, "bold")
    if engine:
        say(f"engine {engine}")
    tail = f"{report.tail_records} unsealed, {report.torn_bytes} torn bytes"
    say(f"{report.records} records, {report.sealed} sealed, {tail}")
    if report.root:
        say(f"root {report.root}")
    for sentence in report.notes:
        say(f"note: {sentence}")
    for finding in report.findings:
        say(f"{finding.file}:{finding.line}: seq {finding.seq}: {finding.rule}: {finding.message}")
    for doubt in report.in_doubt:
        say(f"in doubt: {doubt}")
