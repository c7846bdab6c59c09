"""A claim as a value: a sentence, its numbers, how it stands, and what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AGAINST", "NONE", "PART", "SHOWN", "Cite", "Claim"]

SHOWN: Final = "shown"
NONE: Final = "nothing on record"
PART: Final = "in part"
AGAINST: Final = "against"

Cite = tuple[str, int]
"""A record: engine and `seq`."""


@attrs.frozen(kw_only=True)
class Claim:
    """One sentence.

    Attributes:
        name: a short name.
        text: the sentence, with a field in braces for each number.
        numbers: what to put there.
        standing: `SHOWN`, `NONE`, `PART` or `AGAINST`.
        rules: the names of the rules that it serves, each with a paragraph if there is one.
        cites: records that it rests on: the first and the last of a kind, not all of them.
    """

    name: str
    text: str
    numbers: Mapping[str, int]
    standing: str
    rules: tuple[str, ...]
    cites: tuple[Cite, ...] = ()

    @property
    def sentence(self) -> str:
        """The text with its numbers."""
        return self.text.format(**self.numbers)
