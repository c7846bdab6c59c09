"""Hypothesis profiles, the option for long tests, a memory disk of a run's own, and the home that stops begin with."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import settings
from tests.helpers import arm, quote, running
from tests.stopping_helpers import OTHER, TWO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock import Kernel

settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_MEMORY = "INTERLOCK_MEMORY"


def pytest_configure(config: pytest.Config) -> None:
    """Put what tests leave in memory where it is found again: under the machine's memory disk, not beside others'."""
    os.environ.pop("PYTEST_ADDOPTS", None)  # they are for this run, and not for those that its tests start
    if _MEMORY not in os.environ:  # else it is a worker's, who shares it
        made = os.environ[_MEMORY] = tempfile.mkdtemp(prefix="interlock-tests-", dir="/dev/shm")
        Path(made).chmod(0o1777)  # as a memory disk is: some tests run as other users
        config.add_cleanup(lambda: shutil.rmtree(made, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--long", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tests unless they were asked for."""
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason="long; run with --long"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An armed home with two instruments."""
    path = tmp_path / "home"
    arm(path, TWO)
    return path


@pytest.fixture
def kernel(home: Path) -> Iterator[Kernel]:
    """A kernel that is RUNNING on it, with a tick of both."""
    with running(home) as attached:
        attached.consult(attrs.evolve(quote(attached), instrument=OTHER))
        yield attached
