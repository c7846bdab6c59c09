"""The same for pytest: a class to inherit, with a test for each claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest

from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.report import USUAL, Effort, Line, Report, Verdict, try_claim

if TYPE_CHECKING:
    from interlock.testing.conformance.adapter import Adapter

__all__ = ["Conformance"]


class Conformance:
    """Inherit it in a class whose name begins with ``Test``, and set ``adapter``.

    Attributes:
        adapter: of the engine.
        effort: how hard to try; with ``--interlock-long`` twice as many attempts, each four times as deep.
    """

    adapter: ClassVar[type[Adapter]]
    effort: ClassVar[Effort] = USUAL

    @pytest.mark.parametrize("claim", Claim, ids=str)
    def test_claim(self, claim: Claim, request: pytest.FixtureRequest) -> None:
        """The claim holds of the engine."""
        effort = self.effort
        if request.config.getoption("--interlock-long", default=False):
            effort = attrs.evolve(effort, attempts=effort.attempts * 2, steps=effort.steps * 4)
        line = try_claim(self.adapter, claim, effort)
        told(request.config, self.adapter.__name__, line)
        if line.verdict is Verdict.NOT_TESTED:
            pytest.skip(f"{claim}: {line.why}")
        if line.verdict is Verdict.BROKEN:
            pytest.fail(Report(adapter=self.adapter.__name__, lines=(line,)).to_text(), pytrace=False)


LINES: pytest.StashKey[dict[str, list[Line]]] = pytest.StashKey()


def told(config: pytest.Config, adapter: str, line: Line) -> None:
    """Keep a line for the report at the end of the session."""
    config.stash.setdefault(LINES, {}).setdefault(adapter, []).append(line)
