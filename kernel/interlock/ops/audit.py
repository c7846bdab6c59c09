"""``interlock verify``: hands the journal's bytes to the verifier, and prints what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TimeRemainingColumn

from interlock.breaker.segment import chunks, segments
from interlock.journal.verify import Report, verify
from interlock.ops.console import err, say, show

if TYPE_CHECKING:
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


def audit(directory: Path, *, json: bool) -> int:
    """Verify, print, and give the exit code."""
    report = check(directory, progress=not json)
    if json:
        show(report.to_json())
    else:
        tell(report)
    return int(report.exit_code)


def tell(report: Report) -> None:
    """The report for people."""
    say(report.verdict, "bold")
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
