"""The story of an attempt: what was done, in sentences, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from interlock.testing.conformance.claims import Claim

__all__ = ["Broken", "Story"]


class Broken(InterlockError):  # noqa: N818 - it is what the report says
    """A claim does not hold of the engine.

    Attributes:
        claim: which.
        steps: what was done, a sentence each.
        end: what came of it.
    """

    def __init__(self, claim: Claim, steps: tuple[str, ...], end: str) -> None:
        self.claim = claim
        self.steps = steps
        self.end = end
        lines = [f"{number:3}. {step}" for number, step in enumerate(steps, 1)]
        super().__init__("\n".join((f"{claim} is broken:", *lines, f"  => {end}")))


class Story:
    """Sentences, in their order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def tell(self, sentence: str) -> None:
        """One more step."""
        self.steps.append(sentence)
