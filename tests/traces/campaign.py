"""Many runs, each judged by every check."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
from tests.traces import checker, monitor
from tests.traces.run import Run, RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.traces.checker import Trace
    from tests.traces.plan import Plan

_MEMORY: Final = Path("/dev/shm")


@attrs.define(kw_only=True)
class Judged:
    """What the checks say of one run.

    Attributes:
        plan: of the run.
        trace: what was logged.
        late: sends that break the promise.
        journals: what is wrong with the journals.
        doubts: how often the roster kept a killer from confirming with the lock in its hand.
        broken: what the run itself did not do, or empty.
        struck: the faults that did strike: step, when, and what.
        accepted: whether the trace is a behaviour of the specification.
    """

    plan: Plan
    trace: Trace
    late: list[str]
    journals: list[str]
    doubts: int
    broken: str
    struck: list[tuple[str, str, str]]
    accepted: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against the run."""
        return self.accepted and not (self.late or self.journals or self.broken)

    def against(self) -> str:
        """What speaks against it, for people."""
        said = [self.broken, *self.late, *self.journals]
        if not self.accepted:
            said.append(checker.stuck(self.trace))
        return f"{self.plan}: " + "\n".join(one for one in said if one)


def play(plan: Plan, directory: Path) -> Judged:
    """Play one run and judge it by all but TLC."""
    run = Run(plan, directory)
    broken = ""
    try:
        run.play()
    except RunError as error:
        broken = str(error)
    return Judged(
        plan=plan,
        trace=checker.read(run.logs),
        late=monitor.late(run.logs),
        journals=monitor.journals(run.logs, run.home),
        doubts=monitor.doubts(run.logs),
        broken=broken,
        struck=[
            (record["fault"]["step"], record["fault"]["when"], record["fault"]["act"])
            for record in checker.lines(run.logs)
            if "fault" in record
        ],
    )


def judge(plans: Iterable[Plan]) -> list[Judged]:
    """Play runs, each in a directory of its own that is gone afterwards, and judge them by every check."""
    judged = []
    with tempfile.TemporaryDirectory(prefix="traces-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        for number, plan in enumerate(plans):
            directory = Path(name) / str(number)
            directory.mkdir()
            judged.append(play(plan, directory))
    for one, accepted in zip(judged, checker.accepted([one.trace for one in judged]), strict=True):
        one.accepted = accepted
    return judged


def struck(judged: Iterable[Judged]) -> Counter[tuple[str, str]]:
    """How often each step was struck by each fault."""
    return Counter((step, act) for one in judged for step, _, act in one.struck)
