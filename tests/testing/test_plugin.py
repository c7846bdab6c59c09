"""The pytest plugin, in pytest runs of its own: as an embedder's project has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import orjson
import pytest
from tests.helpers import KERNEL, ROOT, run_python

PLUGIN: Final = "interlock.testing.plugin"

FILE: Final = re.compile(r"^<!-- file: (\w+\.py) -->\n+```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILES: Final = dict(FILE.findall((ROOT / "docs" / "testing.md").read_text(encoding="utf-8")))
"""What docs/testing.md tells embedders to write: that is what is run here."""

NOTHING_LEFT: Final = """
import os
import pathlib


def test_nothing_was_left():
    assert not list(pathlib.Path(os.environ["INTERLOCK_MEMORY"]).glob("interlock-*/*"))
"""


def entry_point(directory: Path) -> Path:
    """What an installed wheel tells the interpreter: the plugin is then found by its entry point."""
    about = directory / "interlock-0.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: interlock\nVersion: 0.0.0\n")
    (about / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
    (about / "RECORD").write_text("interlock/__init__.py,,\ninterlock/testing/plugin.py,,\n")
    return directory


def run(
    directory: Path, *options: str, installed: bool = True, memory: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A pytest run in a project of an embedder's, with warnings as errors."""
    site = directory / "site"
    site.mkdir(exist_ok=True)
    paths = [str(KERNEL)]
    if installed and not list(site.iterdir()):
        entry_point(site)
    if installed:
        paths.append(str(site))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""}
    if memory is not None:
        env["INTERLOCK_MEMORY"] = memory
    command = [sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An embedder's project, with one naive engine."""
    (tmp_path / "test_naive.py").write_text(FILES["test_naive.py"])
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_report_has_a_line_a_promise(project: Path, workers: str) -> None:
    """A run of the suite ends with a line a promise, also from workers; what is broken fails, with its story."""
    done = run(project, "-n", workers, "--interlock-report", "report.json")
    assert done.returncode == 1, done.stdout + done.stderr
    summary = done.stdout.split("Interlock conformance")[1]
    assert "CancelsAlwaysPass" in summary
    assert "HELD" in summary
    told = orjson.loads((project / "report.json").read_bytes())
    assert [one["adapter"] for one in told["conformance"]] == ["Naive"]
    verdicts = {line["claim"]: line["verdict"] for line in told["conformance"][0]["lines"]}
    assert len(verdicts) == 15
    assert {claim for claim, verdict in verdicts.items() if verdict == "BROKEN"} == {
        "HaltIsLatching",
        "AbsenceMeansHalted",
        "OnePermitOneSend",
    }
    assert "The engine is killed, and started again." in done.stdout
    assert verdicts["JournalBeforeEmit"] == "NOT TESTED"


def test_long_form_tries_harder(project: Path) -> None:
    """With --interlock-long there are more attempts, and deeper ones."""
    only = ("-k", "CancelsAlwaysPass", "--interlock-report", "report.json")
    steps = []
    for options in ((), ("--interlock-long",)):
        assert run(project, *only, *options).returncode == 0
        line = orjson.loads((project / "report.json").read_bytes())["conformance"][0]["lines"][0]
        steps.append((line["attempts"], line["steps"]))
    assert steps[1][0] > steps[0][0] * 1.5
    assert steps[1][1] > steps[0][1] * 3


def test_fixtures_work_in_a_project_of_ones_own(tmp_path: Path) -> None:
    """The home is armed with the embedder's limits, nothing of it is left behind, and each test has its own."""
    (tmp_path / "test_fixtures.py").write_text(FILES["test_fixtures.py"] + NOTHING_LEFT)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        Path(name).chmod(0o1777)  # as a memory disk is
        done = run(tmp_path, memory=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_run_without_conformance_is_left_alone(tmp_path: Path) -> None:
    """A project that uses nothing of it sees no section, no warning and no report."""
    (tmp_path / "test_other.py").write_text("def test_one():\n    assert 1 + 1 == 2\n")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nterlock" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("installed", [True, False])
def test_plugin_is_loaded_once_however_it_is_asked_for(tmp_path: Path, *, installed: bool) -> None:
    """By its entry point, by -p, and by both at once, as this project's own tests have it: it is one plugin."""
    (tmp_path / "test_other.py").write_text("def test_one(venue_probe):\n    venue_probe.assert_saw()\n")
    done = run(tmp_path, "-p", PLUGIN, installed=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    without = run(tmp_path, "-p", f"no:{PLUGIN}", installed=installed)
    assert "fixture 'venue_probe' not found" in without.stdout


def test_entry_point_is_the_projects() -> None:
    """What these tests pretend to have installed is what the project does install."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'[project.entry-points.pytest11]\n"{PLUGIN}" = "{PLUGIN}"' in text


def test_loading_it_imports_nothing_heavy() -> None:
    """The plugin alone loads neither the kernel nor Hypothesis, nor anything that they need."""
    script = """
        import sys, pytest
        before = set(sys.modules)
        import interlock.testing.plugin
        more = {name.partition(".")[0] for name in set(sys.modules) - before}
        ours = sorted(name for name in sys.modules if name.startswith("interlock"))
        print(sorted(more - sys.stdlib_module_names), ours)
    """
    ours = "['interlock', 'interlock.testing', 'interlock.testing.plugin', 'interlock.version']"
    assert run_python(script).strip() == f"['interlock'] {ours}"
