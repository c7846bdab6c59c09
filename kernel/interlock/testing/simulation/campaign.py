"""Many seeds, one after the other, until so many steps are done or a promise is broken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from interlock.testing.simulation.world import STEPS, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.simulation.world import Run

__all__ = ["Campaign", "campaign"]

_HOUR_S = 3600


@attrs.frozen(kw_only=True)
class Campaign:
    """What came of many seeds.

    Attributes:
        seed: the first.
        runs: how many were run.
        steps: how many points there were in all.
        handovers: how many of them gave the baton to another thread.
        simulated_s: how much time passed in them.
        took_s: how much time passed out here.
        counts: what happened, and how often.
        failed: the run that broke a promise, or None.
        length: the steps of each run.
    """

    seed: int
    runs: int
    steps: int
    handovers: int
    simulated_s: float
    took_s: float
    counts: dict[str, int]
    failed: Run | None
    length: int

    @property
    def steps_an_hour(self) -> int:
        """The rate."""
        return round(self.steps / self.took_s * _HOUR_S) if self.took_s else 0

    @property
    def again(self) -> str | None:
        """The command that runs the failed seed once more, with its whole log; None: none failed."""
        if self.failed is None:
            return None
        length = f" --length {self.length}" if self.length != STEPS else ""
        return f"python -m interlock.testing.simulation --seed {self.failed.seed} --runs 1{length} --log failed.log"

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        found = attrs.asdict(self, filter=lambda field, _: field.name != "failed")
        failed = None
        if self.failed is not None and self.failed.failure is not None:
            failed = {
                "seed": self.failed.seed,
                **attrs.asdict(self.failed.failure),
                "digest": self.failed.digest,
                "again": self.again,
            }
        return {**found, "steps_an_hour": self.steps_an_hour, "failed": failed}


def campaign(
    seed: int = 0,
    *,
    steps: int = 10 * STEPS,
    runs: int | None = None,
    length: int = STEPS,
    keep_log: bool = False,
    progress: Callable[[Run, int], object] | None = None,
) -> Campaign:
    """Run a seed and those after it. It ends with the first that breaks a promise.

    Args:
        seed: the first.
        steps: how many in all, unless ``runs`` says how many seeds.
        runs: how many seeds.
        length: the steps of each.
        keep_log: keep whole logs; the failed run's is in the answer.
        progress: called after each run, with it and with the steps that were made in all.
    """
    began = time.monotonic()
    done = handovers = simulated_ns = count = 0
    counts: dict[str, int] = {}
    failed: Run | None = None
    while failed is None and (done < steps if runs is None else count < runs):
        run = simulate(seed + count, steps=length, keep_log=keep_log)
        count += 1
        done += run.steps
        handovers += run.handovers
        simulated_ns += run.simulated_ns
        for what, often in run.counts.items():
            counts[what] = counts.get(what, 0) + often
        failed = run if run.failure is not None else None
        if progress is not None:
            progress(run, done)
    return Campaign(
        seed=seed,
        runs=count,
        steps=done,
        handovers=handovers,
        simulated_s=simulated_ns / 1e9,
        took_s=time.monotonic() - began,
        counts=dict(sorted(counts.items())),
        failed=failed,
        length=length,
    )
