"""What the campaign starts, a process a room: ``python -m tests.mutation.worker``. It tells a line of JSON a mutant."""

from __future__ import annotations

import importlib.util
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.mutation.forked import Teller, forked
from tests.mutation.zygote import JOB, MUTANT, Zygote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

QUIET = (
    "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "-o", "addopts=", "-o", "timeout=0",
    "--import-mode=importlib", "--strict-markers", "--assert=plain", "--tb=no", "--capture=no", "-q",
)  # fmt: skip
SITE = Path(__file__).parent / "site"


def warm(job: dict[str, Any], pipe: int) -> None:
    """Mistakes in functions."""
    pytest.main([*QUIET, *job["tests"]], plugins=[Zygote(job, partial(_tell, pipe))])


def cold(job: dict[str, Any], pipe: int) -> None:
    """Mistakes that are made at import: before the fork, nothing was imported but what makes mutants."""
    site = _site()
    for module, wanted in job["mutants"].items():
        arguments = [*QUIET, "-x", *_first(module, job["tests"]), *job["without"]]
        for index in wanted:
            said = f"{module}:{index}"

            def work(teller: Teller, own: Path, said: str = said, arguments: list[str] = arguments) -> None:
                os.environ[MUTANT] = said
                site.install(said)
                teller.within(job["patience"], "pytest")
                watch = _Watch()
                code = pytest.main([*arguments, f"--basetemp={own / 'tmp'}"], plugins=[watch])
                if code:
                    teller.failed(watch.failed or f"pytest ended with {int(code)}")

            ended = forked(work, 60.0)
            verdict = "survived" if ended.how == "fine" else "killed"
            told = {"verdict": verdict, "by": f"{ended.how} {ended.said}".strip(), "seconds": ended.seconds}
            _tell(pipe, {"kind": "mutant", "module": module, "index": index} | told)


def _site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("interlock_mutant_site", SITE / "sitecustomize.py")
    if spec is None or spec.loader is None:
        msg = "sitecustomize.py is gone"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first(module: str, tests: Sequence[str]) -> list[str]:
    """The files of the tests, those that have the module's name first."""
    name = f"test_{module.rsplit('.', 1)[-1]}.py"
    files = [str(file) for test in tests for file in (sorted(Path(test).rglob("test_*.py")) or [Path(test)])]
    return sorted(files, key=lambda file: not file.endswith(name))


class _Watch:
    """Remembers what failed."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at a report."""
        if report.failed:
            self.failed = report.nodeid


def _tell(pipe: int, what: dict[str, object]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    given = json.loads(os.environ.pop(JOB))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    (warm if given["warm"] else cold)(given, given["pipe"])
