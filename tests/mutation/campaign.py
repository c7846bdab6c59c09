"""Try the mutants of rooms, and hold what comes out against the list of those that are no mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.helpers import KERNEL
from tests.mutation.listed import LIST, Key, Listed, listed
from tests.mutation.rooms import HELD, ROOMS, ROOT, Room, source

from interlock.testing.mutation import Mutant, mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_PACKAGE: Final = "interlock."


class CampaignError(Exception):
    """The mutants could not be tried: the tests fail without one, or cannot be run."""


@attrs.frozen(kw_only=True)
class Tried:
    """One mutant, and what became of it.

    Attributes:
        module: dotted, without the package's own name.
        mutant: it.
        verdict: ``killed``, ``survived``, or ``uncovered`` if no test runs its lines.
        by: what noticed it.
        seconds: how long that took.
    """

    module: str
    mutant: Mutant
    verdict: str
    by: str
    seconds: float

    @property
    def told(self) -> str:
        """It, in a line."""
        return f"{self.module}:{self.mutant.lines[0]}: {self.mutant.told}"


@attrs.frozen(kw_only=True)
class Figures:
    """What came out.

    Attributes:
        mutants: tried.
        killed: noticed.
        equivalent: listed, and not noticed: as it should be.
        new: neither noticed nor listed.
        stale: listed, and noticed; or listed, and no mutant at all.
        seconds: in all.
        modules: for each module mutants, killed and listed.
    """

    mutants: int
    killed: int
    equivalent: int
    new: tuple[str, ...]
    stale: tuple[str, ...]
    seconds: float
    modules: Mapping[str, tuple[int, int, int]]

    @property
    def sound(self) -> bool:
        """Whether the tests notice every mutant that is a mistake, and the list is true."""
        return self.mutants > 0 and not self.new and not self.stale

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return attrs.asdict(self) | {"sound": self.sound}


def run(
    rooms: Sequence[str] = HELD,
    modules: Sequence[str] = (),
    progress: Callable[[int, int, Tried | None], None] = lambda done, total, tried: None,  # noqa: ARG005
    path: Path = LIST,
) -> Figures:
    """Try them.

    Args:
        rooms: names of `ROOMS`.
        modules: only these of them, like ``core.ledger``; none is all.
        progress: is told how many were tried of how many, and the one that was.
        path: of the list.

    Raises:
        CampaignError: the tests fail without a mutant.
    """
    begun = time.monotonic()
    wanted = {name: _narrowed(ROOMS[name], modules) for name in rooms}
    total = sum(len(mutants(source(module))) for room in wanted.values() for module in room.modules)
    tried: list[Tried] = []
    for room in wanted.values():
        for one in try_room(room):
            tried.append(one)
            progress(len(tried), total, one)
    known = [entry for entry in listed(path) if f"{_PACKAGE}{entry.module}" in _modules(wanted.values())]
    return judge(tried, known, time.monotonic() - begun)


def judge(tried: Sequence[Tried], known: Sequence[Listed], seconds: float) -> Figures:
    """Hold what was tried against the list."""
    listed_keys = {(entry.module, entry.key) for entry in known}
    survived = {(one.module, one.mutant.key): one for one in tried if one.verdict != "killed"}
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in tried:
        count = counts[one.module]
        count[0] += 1
        count[1] += one.verdict == "killed"
        count[2] += one.verdict != "killed" and (one.module, one.mutant.key) in listed_keys
    return Figures(
        mutants=len(tried),
        killed=len(tried) - len(survived),
        equivalent=len(survived.keys() & listed_keys),
        new=tuple(one.told for key, one in survived.items() if key not in listed_keys),
        stale=tuple(f"{module}: {_told(key)}" for module, key in sorted(listed_keys - survived.keys())),
        seconds=round(seconds, 1),
        modules={module: (count[0], count[1], count[2]) for module, count in sorted(counts.items())},
    )


def _told(key: Key) -> str:
    function, before, after, nth = key
    return f"{function}: `{before}` -> `{after}`" + (f" (no. {nth + 1})" if nth else "")


def _narrowed(room: Room, modules: Sequence[str]) -> Room:
    if not modules:
        return room
    return attrs.evolve(room, modules=tuple(m for m in room.modules if m.removeprefix(_PACKAGE) in modules))


def _modules(rooms: Iterable[Room]) -> set[str]:
    return {module for room in rooms for module in room.modules}


def try_room(room: Room) -> Iterator[Tried]:
    """Try the mutants of a room, one by one."""
    made = {module: mutants(source(module)) for module in room.modules}
    inside: dict[str, list[int]] = {module: [] for module in made}
    outside: dict[str, list[int]] = {module: [] for module in made}
    for module, all_ in made.items():
        for index, mutant in enumerate(all_):
            at_import = mutant.inside is None or module in room.early
            (outside if at_import else inside)[module].append(index)
    job: dict[str, Any] = {
        "tests": room.tests,
        "slowest": room.slowest,
        "budget": room.budget,
        "patience": room.patience,
        "children": room.children,
    }
    seconds, slow = 0.0, []
    for told in _worker(job | {"warm": True, "mutants": _some(inside)}):
        if told["kind"] == "tests":
            seconds, slow = told["seconds"], told["slow"]
        else:
            yield _tried(made, told)
    without = [f"--deselect={test}" for test in slow]
    late = 6 * room.patience + 10 * seconds
    for told in _worker(job | {"warm": False, "mutants": _some(outside), "without": without, "patience": late}):
        yield _tried(made, told)


def _some(wanted: dict[str, list[int]]) -> dict[str, list[int]]:
    return {module: indices for module, indices in wanted.items() if indices}


def _tried(made: dict[str, list[Mutant]], told: dict[str, Any]) -> Tried:
    module = told["module"]
    return Tried(
        module=module.removeprefix(_PACKAGE),
        mutant=made[module][told["index"]],
        verdict=told["verdict"],
        by=told["by"],
        seconds=told["seconds"],
    )


def _worker(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a worker tells."""
    if not job["mutants"]:
        return
    reads, writes = os.pipe()
    environment = os.environ | {
        "INTERLOCK_MUTATION_JOB": json.dumps(job | {"pipe": writes}),
        "PYTHONPATH": os.pathsep.join([str(KERNEL), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "tests.mutation.worker"]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, pass_fds=(writes,), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as worker:
        os.close(writes)
        try:
            with os.fdopen(reads, "rb") as lines:
                for line in lines:
                    told = json.loads(line)
                    if told["kind"] == "broken":
                        raise CampaignError(told["why"])
                    yield told
        finally:
            if worker.poll() is None:
                worker.terminate()
        if worker.wait() not in (0, -15):
            msg = f"the worker ended with {worker.returncode}"
            raise CampaignError(msg)
