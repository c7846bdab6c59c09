"""``python -m tests.covered``: which branches the tests of a room leave out; red if there is one.

    python -m tests.covered              core and journal, each by the tests named here: every branch
    python -m tests.covered breaker      the breaker, by the tests that start its processes, too

The rules are in ``pyproject.toml``: branches count, in child processes as well, and nothing is left out but what is for
the type checker alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.helpers import KERNEL, ROOT

LEAST: Final = {"core": 100, "journal": 100, "breaker": 100}
"""Per cent of the branches."""

TESTS: Final = {
    "core": ("tests/core",),
    "journal": (
        "tests/journal", "tests/replay/test_inputs.py", "tests/replay/test_replay.py", "tests/test_kernel.py",
    ),
    "breaker": (
        "tests/breaker", "tests/test_kernel.py", "tests/test_many_engines.py", "tests/store", "tests/faults",
        "tests/test_on_halt.py", "tests/test_signals.py", "tests/test_engine.py", "tests/test_engine_hangs.py",
        "tests/test_shutdown.py", "tests/specs/test_two_pages_walk.py", "tests/ops/test_watch.py",
        "tests/ops/test_cli.py", "tests/ops/test_drill.py", "tests/ops/test_limits.py",
    ),
}  # fmt: skip
SLOW: Final = (  # they walk over every byte, and run no line that others do not
    "tests/journal/test_recovery.py::test_every_cut_recovers",
    "tests/journal/test_recovery.py::test_every_changed_byte_is_survived",
)


def main() -> int:
    """Measure, and say what is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.covered", description=__doc__)
    parser.add_argument("rooms", nargs="*", choices=[*LEAST, []], default=["core", "journal"])
    rooms = parser.parse_args().rooms
    with tempfile.TemporaryDirectory() as place:
        path = os.pathsep.join([str(KERNEL), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"COVERAGE_FILE": str(Path(place) / "data"), "PYTHONPATH": path}
        coverage = (sys.executable, "-m", "coverage")
        tests = dict.fromkeys(test for room in rooms for test in TESTS[room])
        without = (f"--deselect={test}" for test in SLOW)
        command = [*coverage, "run", "-m", "pytest", "-q", "-n0", *tests, *without]
        failed = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        subprocess.run([*coverage, "combine", "-q"], cwd=ROOT, env=environment, check=True)
        for room in rooms:
            asked = ("report", f"--include=*/interlock/{room}/*", f"--fail-under={LEAST[room]}")
            failed |= subprocess.run([*coverage, *asked], cwd=ROOT, env=environment, check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
