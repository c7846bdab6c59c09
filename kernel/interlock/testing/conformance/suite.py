"""The same for pytest: a class to inherit, with a test for each claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import orjson
import pytest

from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.report import USUAL, Effort, Report, Verdict, try_claim
from interlock.testing.plugin import LINE

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
        told = {**line.to_json(), "adapter": self.adapter.__name__, "text": line.to_text()}
        request.node.user_properties.append((LINE, orjson.dumps(told).decode()))
        if line.verdict is Verdict.NOT_TESTED:
            pytest.skip(f"{claim}: {line.why}")
        if line.verdict is Verdict.BROKEN:
            pytest.fail(Report(adapter=self.adapter.__name__, lines=(line,)).to_text(), pytrace=False)
