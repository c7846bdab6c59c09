"""Hypothesis profiles, the option for long tests, and the home and kernel that most tests of stops begin with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import settings
from tests.helpers import arm, quote, running
from tests.stopping_helpers import OTHER, TWO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock import Kernel

settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


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
