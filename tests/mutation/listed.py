"""The mutants that no test notices, each with the argument why it is no mistake: ``survivors.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import attrs

LIST: Final = Path(__file__).with_name("survivors.toml")

Key = tuple[str, str, str, int]


@attrs.frozen(kw_only=True)
class Listed:
    """One of them.

    Attributes:
        module: dotted, without the package's own name.
        function: and ``before``, ``after``, ``nth``: as in `Mutant`.
        why: the argument.
    """

    module: str
    function: str
    before: str
    after: str
    nth: int = 0
    why: str

    @property
    def key(self) -> Key:
        """What it is told by, within its module."""
        return self.function, self.before, self.after, self.nth


def listed(path: Path = LIST) -> list[Listed]:
    """All of them, in the order of the file.

    Raises:
        TypeError: an entry has a key too many or too few.
    """
    return [Listed(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])]
