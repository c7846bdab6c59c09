"""``python -m tests.assure``: the proof from top to bottom, and its certificate.

    python -m tests.assure                      the short profile: minutes
    python -m tests.assure --profile long       the long one: for nights
    python -m tests.assure --stage models       one stage, or several
    python -m tests.assure --results FILE       judge the JUnit XML of a run of pytest that has been made
    python -m tests.assure --write              and write docs/certificate.json and the figures of docs/assurance.md
    python -m tests.assure --check FILE         whether a certificate is one of this very checkout

Exit codes: 0 if all holds, 1 if anything is red, 2 for wrong use.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tests.assure import certificate, page, results, stages
from tests.helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.assure.results import Judged
    from tests.assure.stages import Stage

_PERCENT: Final = re.compile(r"\[ *(\d+)%\]")


def main() -> int:
    """The command."""
    given = _arguments()
    out, err = Console(), Console(stderr=True)
    try:
        if given.check is not None:
            return _check(given.check, out)
        chosen = _chosen(given.stage)
        whole = len(chosen) == len(stages.read())
        if given.write and not whole:
            msg = "--write wants all stages"
            raise ValueError(msg)
        run = _judge(given, chosen, err, whole=whole)
    except ValueError as error:
        err.print(str(error), markup=False, highlight=False)
        return 2
    document = certificate.certificate(run)
    if given.certificate is not None:
        given.certificate.write_bytes(certificate.dump(document))
    if given.write:
        certificate.CERTIFICATE.write_bytes(certificate.dump(document))
        page.write(document)
    if given.json:
        sys.stdout.buffer.write(certificate.dump(document))
    else:
        _tell(document, out)
    return 1 if certificate.red(run.stages) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.assure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=stages.PROFILES, default="short")
    parser.add_argument("--stage", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--results", type=Path, metavar="FILE", help="judge these, and run nothing")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="write the certificate there")
    parser.add_argument("--write", action="store_true", help="write it, and the figures, into docs/")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare a certificate with this checkout")
    parser.add_argument("--json", action="store_true", help="the certificate instead of a table")
    return parser.parse_args()


def _chosen(names: list[str]) -> tuple[Stage, ...]:
    known = stages.read()
    unknown = set(names) - {stage.name for stage in known}
    if unknown:
        msg = f"no stage {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in known)}"
        raise ValueError(msg)
    return tuple(stage for stage in known if not names or stage.name in names)


def _judge(given: argparse.Namespace, chosen: tuple[Stage, ...], err: Console, *, whole: bool) -> certificate.Run:
    began, start = datetime.now(UTC), time.monotonic()
    judged: list[Judged] = []
    if given.results is not None:
        found = results.read(given.results)
        judged = [results.judge(stage, found, given.profile) for stage in chosen]
        took_s = sum(one.took_ms for one in judged) // 1000
    else:
        words = TextColumn("{task.description}")
        with Progress(
            words, BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), console=err
        ) as bar:
            for stage in chosen:
                task = bar.add_task(stage.name, total=100)
                found = _run(stage, given.profile, lambda done, task=task: bar.update(task, completed=done))
                judged.append(results.judge(stage, found, given.profile))
                said = "[red]red" if judged[-1].against else "[green]holds"
                bar.update(task, completed=100, description=f"{stage.name} {said}")
        took_s = int(time.monotonic() - start)
    return certificate.Run(
        profile=given.profile,
        began=began.isoformat(timespec="seconds"),
        took_s=took_s,
        stages=tuple(judged),
        whole=whole,
    )


def _run(stage: Stage, profile: str, progress: Callable[[int], None]) -> list[results.Result]:
    """Run the tests of a stage by pytest, as the gate does."""
    with tempfile.TemporaryDirectory(prefix="interlock-assure-") as directory:
        found = Path(directory) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junitxml={found}", *stage.tests]
        command += ["--long"] if profile == "long" else []
        told: list[str] = []
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            for line in child.stdout or ():
                told = [*told[-40:], line]
                seen = _PERCENT.search(line)
                if seen:
                    progress(int(seen[1]))
        if not found.is_file():
            msg = f"{stage.name}: pytest ended with {child.returncode} and no results:\n{''.join(told)}"
            raise ValueError(msg)
        return results.read(found)


def _check(path: Path, out: Console) -> int:
    against = certificate.differs(certificate.load(path))
    for line in against or ["It is of this very checkout, and its verdict is HELD."]:
        out.print(line, markup=False, highlight=False)
    return 1 if against else 0


def _tell(document: dict[str, object], out: Console) -> None:
    out.print(page.table(document), markup=False, highlight=False, soft_wrap=True)
    for stage in document["stages"]:  # type: ignore[attr-defined] # a list of tables
        for line in stage["against"]:
            out.print(f"RED {stage['name']}: {line}", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
