"""The simulation: the real kernel keeps its promises on a machine that fails, a seed is a run, and bugs are found."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest
from tests.helpers import KERNEL
from tests.simulation.bugs import BUGS, RARE

from interlock.testing.simulation import PROMISES, Campaign, campaign, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT = 100_000
BOUND = 300_000
LONG = 4_000_000


def command(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation as its command."""
    return subprocess.run(
        [sys.executable, "-m", "interlock.testing.simulation", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(KERNEL), **env},
    )


def sound(found: Campaign, record_property: Callable[[str, object], None]) -> None:
    """No promise was broken, and what can break one did come about."""
    record_property("steps", found.steps)
    assert found.failed is None, (found.failed.seed, found.failed.failure)
    told = ("sends", "starts", "halts confirmed", "halts durable", "resets", "cancels", "strike: kill", "power cuts")
    assert all(found.counts[what] for what in told), found.counts


def test_the_kernel_keeps_its_promises_on_a_machine_that_fails(
    record_property: Callable[[str, object], None],
) -> None:
    """Some seeds of the real kernel, breaker and journal break no promise."""
    sound(campaign(0, steps=SHORT), record_property)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_kernel_keeps_its_promises_for_millions_of_steps(record_property: Callable[[str, object], None]) -> None:
    """A long row of seeds breaks no promise."""
    sound(campaign(100_000, steps=LONG), record_property)


def test_a_seed_is_a_run_byte_for_byte() -> None:
    """The same seed gives the same log in this process, and another seed another."""
    first, second = (simulate(3, steps=5_000, keep_log=True) for _ in range(2))
    assert first.log == second.log
    assert first.digest == second.digest
    assert simulate(4, steps=5_000).digest != first.digest


def test_a_seed_is_the_same_run_in_every_process(tmp_path: object) -> None:
    """Nothing of a process gets into a run: neither its hash seed nor what ran in it before."""
    logs = []
    for number in range(2):
        log = f"{tmp_path}/{number}.log"
        done = command(
            "--seed", 5 - number, "--runs", 1 + number, "--length", 6_000, "--log", log, PYTHONHASHSEED=str(number)
        )
        assert done.returncode == 0, done.stdout
        with open(log, "rb") as file:  # noqa: PTH123 - its bytes are what is meant
            logs.append(file.read())
    assert logs[0] == logs[1]


def test_a_failure_prints_its_seed_and_runs_again_exactly() -> None:
    """The command that is printed with a failure runs into the very same one."""
    bug = next(iter(BUGS))
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        first = campaign(0, steps=BOUND)
        assert first.failed is not None
        again = campaign(first.failed.seed, runs=1, keep_log=True)
    assert f"--seed {first.failed.seed} " in str(first.again)
    assert again.failed is not None
    assert again.failed.failure == first.failed.failure
    assert again.failed.digest == first.failed.digest
    assert again.failed.log.endswith(first.failed.log)


def test_the_command_says_what_came_of_it() -> None:
    """For programs it is JSON, with the rate and what happened."""
    done = command("--seed", 0, "--steps", 1, "--length", 2_000, "--json")
    assert done.returncode == 0
    said = orjson.loads(done.stdout)
    assert said["failed"] is None
    assert said["runs"] == 1
    assert said["steps_an_hour"] > 0


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug not in RARE], ids=lambda bug: bug.__name__)
def test_a_bug_is_found(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bug breaks a promise within a bounded number of steps."""
    found_by(bug, monkeypatch, BOUND)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", RARE, ids=lambda bug: bug.__name__)
def test_a_rare_bug_is_found(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Bugs that need an unlikely meeting are found within more steps."""
    found_by(bug, monkeypatch, LONG)


def found_by(bug: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch, steps: int) -> None:
    """See that it is found, and how."""
    bug(patch)
    found = campaign(BUGS[bug].seed, steps=steps)
    assert found.failed is not None, f"not found in {found.steps} steps"
    failure = found.failed.failure
    assert failure is not None
    assert failure.promise in BUGS[bug].breaks, failure


def test_every_promise_is_known_to_fail() -> None:
    """Each promise that is watched is broken by a bug at least, but for the two that are no promises of the product."""
    assert set().union(*(bug.breaks for bug in BUGS.values())) == {*PROMISES} - {"NoCrash", "NoDeadlock"}
