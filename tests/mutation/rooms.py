"""What is wronged, and which tests have to notice."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import attrs
from tests.helpers import KERNEL

ROOT: Final = KERNEL.parent


@attrs.frozen(kw_only=True)
class Room:
    """A part of the package.

    Attributes:
        modules: their dotted names.
        tests: files and directories.
        slowest: seconds of a processor that a test may take; what takes longer is left out.
        budget: seconds of a processor that tests may take for one mutant; what would come then is left out.
        patience: seconds that a test may take longer than ten times as long as it usually takes.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    slowest: float = 5.0
    budget: float = 8.0
    patience: float = 10.0


def _all(room: str) -> tuple[str, ...]:
    files = sorted((KERNEL / "interlock" / room).glob("*.py"))
    return tuple(f"interlock.{room}.{file.stem}" for file in files if not file.stem.startswith("__"))


def _rules() -> tuple[str, ...]:
    """The verifier's rules: those of its modules that are pure."""
    names = (
        "answer", "evidence", "guess", "joint", "kinds", "lines", "modes", "monitor",
        "notes", "permits", "proofs", "recorded", "report", "runs", "stamps", "tree", "walk",
    )  # fmt: skip
    return tuple(f"interlock.verify.{name}" for name in names)


ROOMS: Final[dict[str, Room]] = {
    "core": Room(modules=_all("core"), tests=("tests/core",)),
    "journal": Room(modules=_all("journal"), tests=("tests/journal", "tests/replay/test_inputs.py")),
    "rules": Room(modules=_rules(), tests=("tests/verify",)),
    "breaker": Room(modules=_all("breaker"), tests=("tests/breaker", "tests/test_many_engines.py")),
}

HELD: Final = ("core",)
"""The rooms of which every mutant is noticed or listed; the others can be tried, and have holes still."""


def source(module: str) -> str:
    """The text of a module.

    Raises:
        ModuleNotFoundError: there is none.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin).read_text(encoding="utf-8")
