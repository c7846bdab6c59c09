"""The same for pytest: a class to inherit, with a test for each claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.report import Line, Report, Verdict, try_claim

if TYPE_CHECKING:
    from interlock.testing.conformance.adapter import Adapter

__all__ = ["Conformance"]


class Conformance:
    """Inherit it in a class whose name begins with ``Test``, and set ``adapter``.

    Attributes:
        adapter: of the engine.
        attempts: for each claim; with ``--interlock-long`` ten times as many.
        steps: of each attempt.
    """

    adapter: ClassVar[type[Adapter]]
    attempts: ClassVar[int] = 200
    steps: ClassVar[int] = 30

    @pytest.mark.parametrize("claim", Claim, ids=str)
    def test_claim(self, claim: Claim, request: pytest.FixtureRequest) -> None:
        """The claim holds of the engine."""
        times = 10 if request.config.getoption("--interlock-long", default=False) else 1
        line = try_claim(self.adapter, claim, attempts=self.attempts * times, steps=self.steps)
        told(request.config, self.adapter.__name__, line)
        if line.verdict is Verdict.NOT_TESTED:
            pytest.skip(f"{claim}: {line.why}")
        if line.verdict is Verdict.BROKEN:
            pytest.fail(Report(adapter=self.adapter.__name__, lines=(line,)).to_text(), pytrace=False)


LINES: pytest.StashKey[dict[str, list[Line]]] = pytest.StashKey()


def told(config: pytest.Config, adapter: str, line: Line) -> None:
    """Keep a line for the report at the end of the session."""
    config.stash.setdefault(LINES, {}).setdefault(adapter, []).append(line)
