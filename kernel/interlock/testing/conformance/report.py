"""The conformance report: a line a claim, and for what is broken the shortest story of it."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import attrs
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from interlock.testing.conformance.claims import CLAIMS, Claim, missing
from interlock.testing.conformance.machine import Tally, machine_for
from interlock.testing.conformance.shorten import shortest
from interlock.testing.conformance.story import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.testing.conformance.adapter import Adapter
    from interlock.testing.conformance.attempt import Attempt

__all__ = ["USUAL", "Effort", "Line", "Report", "Verdict", "check", "try_claim"]


_WIDTH: Final = max(len(claim) for claim in Claim)


class Verdict(StrEnum):
    """What a test came to."""

    HELD = "HELD"
    BROKEN = "BROKEN"
    NOT_TESTED = "NOT TESTED"


@attrs.frozen(kw_only=True)
class Line:
    """One claim.

    Attributes:
        claim: which.
        verdict: what the test came to.
        why: for NOT TESTED, why not; for BROKEN, what came of it.
        story: for BROKEN, what was done, a sentence each.
        attempts: how many there were, shrinking included.
        steps: how many calls of the engine.
        orders: how many orders reached the venue.
        raised: what calls of the engine raised, and how often.
        sure: False if the breach did not come at every attempt of the same steps, as with threads.
    """

    claim: Claim
    verdict: Verdict
    why: str = ""
    story: tuple[str, ...] = ()
    attempts: int = 0
    steps: int = 0
    orders: int = 0
    raised: tuple[tuple[str, int], ...] = ()
    sure: bool = True

    def to_text(self) -> str:
        """For people, without the story."""
        done = f"{self.attempts} attempts, {self.orders} orders at the venue" if self.attempts else self.why
        return f"{self.claim:{_WIDTH}}  {self.verdict:10}  {done}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**attrs.asdict(self), "says": CLAIMS[self.claim].says}


@attrs.frozen(kw_only=True)
class Report:
    """What an engine came to.

    Attributes:
        adapter: name of the adapter's class.
        lines: one a claim.
    """

    adapter: str
    lines: tuple[Line, ...]

    @property
    def exit_code(self) -> int:
        """0 if nothing is broken, else 1."""
        return int(any(line.verdict is Verdict.BROKEN for line in self.lines))

    def to_text(self) -> str:
        """For people."""
        out = [f"Conformance of {self.adapter}", "", *(line.to_text() for line in self.lines)]
        raised = sum((Counter(dict(line.raised)) for line in self.lines), Counter[str]())
        if raised:
            told = ", ".join(f"{what} ({count})" for what, count in sorted(raised.items()))
            out += ["", f"Calls of the engine that raised, each taken for a refusal: {told}"]
        for line in self.lines:
            if line.verdict is Verdict.BROKEN:
                sure = "" if line.sure else " (not at every attempt: threads race)"
                out += ["", f"{line.claim}: {CLAIMS[line.claim].says}. It is broken{sure}:"]
                out += [f"{number:3}. {step}" for number, step in enumerate(line.story, 1)]
                out += [f"  => {line.why}"]
        return "\n".join(out)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        lines = [line.to_json() for line in self.lines]
        return {"adapter": self.adapter, "exit_code": self.exit_code, "lines": lines}


@attrs.frozen(kw_only=True)
class Effort:
    """How hard to try.

    Attributes:
        attempts: how many for each claim, if none breaks it.
        steps: how many an attempt.
        from_seed: to have other attempts than the usual ones; None: always the same.
        shrinks: whether to look for the shortest story of a breach, and not to be content with the first.
    """

    attempts: int = 200
    steps: int = 30
    from_seed: int | None = None
    shrinks: bool = True


USUAL: Final = Effort()


def try_claim(
    adapter: type[Adapter], claim: Claim, effort: Effort = USUAL, *, without: frozenset[str] = frozenset()
) -> Line:
    """Test one claim.

    Args:
        adapter: of the engine.
        claim: which.
        effort: how hard to try.
        without: attacks that are left out, to see what the others find without them.
    """
    why = missing(claim, adapter)
    if why:
        return Line(claim=claim, verdict=Verdict.NOT_TESTED, why=why)
    tally = Tally()
    machine: Any = machine_for(adapter, claim, tally, without)
    if effort.from_seed is not None:
        machine = seed(effort.from_seed)(machine)
    broken, sure = _attacked(machine, tally, effort)
    seen = Line(
        claim=claim,
        verdict=Verdict.HELD,
        attempts=tally.attempts,
        steps=tally.steps.total(),
        orders=tally.orders,
        raised=tuple(sorted(tally.raised.items())),
    )
    if broken is not None:
        return attrs.evolve(seen, verdict=Verdict.BROKEN, why=broken.end, story=broken.steps, sure=sure)
    if not tally.orders:
        return attrs.evolve(seen, verdict=Verdict.NOT_TESTED, why="no order ever reached the venue")
    return seen


def _attacked(machine: type[Attempt], tally: Tally, effort: Effort) -> tuple[Broken | None, bool]:
    """What broke the claim, as short as it can be told, and whether it does so whenever it is done."""
    try:
        run_state_machine_as_test(machine, settings=_settings(effort))
    except Broken as error:
        broken = error
    except Flaky:
        if tally.broken is None:
            raise
        return tally.broken, False
    else:
        return None, True
    return (effort.shrinks and shortest(machine, tally.played)) or broken, True


def _settings(effort: Effort) -> settings:
    return settings(
        max_examples=effort.attempts,
        stateful_step_count=effort.steps,
        derandomize=effort.from_seed is None,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )


def check(
    adapter: type[Adapter],
    effort: Effort = USUAL,
    *,
    claims: Iterable[Claim] = Claim,
    progress: Callable[[Line], None] | None = None,
) -> Report:
    """Test an engine, claim by claim.

    Args:
        adapter: of the engine.
        effort: how hard to try.
        claims: which; all, if it is left out.
        progress: called with each line as it is there.

    Raises:
        Unfit: the engine does not even start on a fresh home.
    """
    lines = []
    for claim in claims:
        line = try_claim(adapter, claim, effort)
        lines.append(line)
        if progress is not None:
            progress(line)
    return Report(adapter=adapter.__name__, lines=tuple(lines))
