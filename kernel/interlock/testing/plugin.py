"""The pytest plugin, which comes with the package: fixtures for engines under test, and the conformance report.

    interlock_limits    the limits of `interlock_home`, as TOML; override it with your own
    interlock_home      a real, armed home
    venue_probe         what the venue saw, and questions about it: `interlock.testing.venue.Venue`
    fault_plan          what is to go wrong: `interlock.testing.faults.FaultPlan`

    --interlock-long            attack harder
    --interlock-report FILE     the report as JSON, too

It is loaded by each pytest run of an environment that has Interlock in it, so it imports nothing but pytest until one
of its fixtures is asked for. ``-p no:interlock.testing.plugin`` leaves it out.
"""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.testing.faults import FaultPlan
    from interlock.testing.venue import Venue

LINE: Final = "interlock-conformance"
"""The name under which a test hands its line of the report on; so it also comes from the workers of pytest-xdist."""

_LINES: Final = pytest.StashKey[dict[str, list[dict[str, Any]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("interlock")
    group.addoption("--interlock-long", action="store_true", help="attack engines harder: more and deeper attempts")
    group.addoption("--interlock-report", type=Path, metavar="FILE", help="write the conformance report here, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty report."""
    config.stash[_LINES] = {}
    config.pluginmanager.register(_Reporter(config), "interlock-reporter")


class _Reporter:
    """Gathers the lines where the session is steered, and reports them at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.lines = config.stash[_LINES]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test of a claim said."""
        if report.when == "call":
            for name, value in report.user_properties:
                if name == LINE:
                    line = json.loads(str(value))
                    self.lines.setdefault(line["adapter"], []).append(line)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A line a promise; the stories stand with the failures."""
        if not self.lines:
            return
        terminalreporter.section("Interlock conformance")
        for adapter, lines in self.lines.items():
            terminalreporter.write_line(adapter)
            for line in lines:
                terminalreporter.write_line(f"  {line['text']}", **_colour(line["verdict"]))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, if it is wanted and this is not a worker, who knows a part of it only."""
        path: Path | None = session.config.getoption("--interlock-report")
        if path is None or hasattr(session.config, "workerinput"):
            return
        told = [{"adapter": adapter, "lines": [_plain(one) for one in lines]} for adapter, lines in self.lines.items()]
        path.write_text(json.dumps({"version": 1, "conformance": told}, indent=2) + "\n", encoding="utf-8")


def _colour(verdict: str) -> dict[str, bool]:
    return {"HELD": {"green": True}, "BROKEN": {"red": True}}.get(verdict, {"yellow": True})


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in {"adapter", "text"}}


# -- Fixtures -------------------------------------------------------------------------------------------------


@pytest.fixture
def interlock_limits() -> str:
    """The limits of `interlock_home`; override this fixture to have your own instruments in it. Here it is XYZ."""
    return resources.files("interlock.testing").joinpath("limits.toml").read_text(encoding="utf-8")


@pytest.fixture
def interlock_home(tmp_path: Path, interlock_limits: str) -> Iterator[Path]:
    """A real home on the disk of `tmp_path`, armed; what it has in memory is gone after the test."""
    from interlock.breaker.home import Home, Now  # noqa: PLC0415 - see above
    from interlock.breaker.memory import place  # noqa: PLC0415 - likewise

    path = tmp_path / "interlock-home"
    whose = str(uuid.uuid4())
    now = Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())
    Home(path).arm(interlock_limits.encode(), home=whose, operator="pytest", reason="a test", now=now)
    with place(path, whose, make=True) as memory:  # open from here on: the test may delete the home
        yield path
        with suppress(OSError):
            memory.remove()


@pytest.fixture
def venue_probe() -> Iterator[Venue]:
    """What the venue saw."""
    from interlock.testing.venue import Venue  # noqa: PLC0415 - see above

    venue = Venue()
    yield venue
    venue.close()


@pytest.fixture
def fault_plan() -> Iterator[FaultPlan]:
    """What is to go wrong; nothing does so after the test."""
    from interlock.testing.faults import FaultPlan  # noqa: PLC0415 - see above

    with FaultPlan() as plan:
        yield plan
