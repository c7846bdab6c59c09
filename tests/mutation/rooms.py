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
        early: those of the modules whose functions do their work at import, so that a mistake must be there before.
        slowest: seconds of a processor that a test may take; what takes longer is left out.
        budget: seconds of a processor that tests may take for one mutant; what would come then is left out.
        patience: seconds that a test may take longer than ten times as long as it usually takes.
        children: whether tests start processes that run the modules; what these run is not measured.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    early: tuple[str, ...] = ()
    slowest: float = 5.0
    budget: float = 8.0
    patience: float = 10.0
    children: bool = False


def _all(room: str) -> tuple[str, ...]:
    files = sorted((KERNEL / "interlock" / room).glob("*.py"))
    return tuple(f"interlock.{room}.{file.stem}" for file in files if not file.stem.startswith("__"))


def _tests(room: str, *, slow: str) -> tuple[str, ...]:
    """The files of a directory but one, whose tests take so long that they would be left out one by one."""
    files = sorted((ROOT / "tests" / room).glob("test_*.py"))
    return tuple(str(file.relative_to(ROOT)) for file in files if file.name != slow)


def _rules() -> tuple[str, ...]:
    """The verifier's rules: those of its modules that are pure."""
    names = (
        "answer", "evidence", "guess", "joint", "kinds", "lines", "modes", "monitor",
        "notes", "permits", "proofs", "recorded", "report", "runs", "stamps", "tree", "walk",
    )  # fmt: skip
    return tuple(f"interlock.verify.{name}" for name in names)


_RULES: Final = tuple(
    f"tests/verify/test_{name}.py"
    for name in (
        "answer", "apart", "evidence", "joined", "kinds", "lines", "monitor", "notes", "proofs", "recorded", "report",
        "rules", "runs", "segments", "stamps", "tokens", "walk", "whole",
    )
)  # fmt: skip
"""Those that tell how a journal is judged; what tries all damage there is takes too long for every mutant."""

_LIVING: Final = ("tests/test_many_engines.py",)


def _stop(*modules: str, tests: tuple[str, ...], others: tuple[str, ...] = ()) -> Room:
    """A part of the breaker. Its tests start processes, so each part has the few files that look at it."""
    return Room(
        modules=tuple(f"interlock.breaker.{module}" for module in modules),
        tests=(*(f"tests/breaker/test_{test}.py" for test in tests), *others),
        slowest=2.0,
        budget=4.0,
        patience=5.0,
        children=True,
    )


ROOMS: Final[dict[str, Room]] = {
    "core": Room(modules=_all("core"), tests=("tests/core",)),
    "journal": Room(modules=_all("journal"), tests=_tests("journal", slow="test_recovery.py")),
    "rules": Room(modules=_rules(), tests=_RULES, early=("interlock.verify.kinds",), budget=20.0),
    "latch": _stop("latch", "lock", tests=("latch", "lock")),
    "files": _stop("files", "torn", tests=("files", "torn")),
    "limits": _stop("versions", tests=("versions",), others=("tests/ops/test_limits.py",)),
    "segments": _stop("segment", "starting", "compress", "source", tests=("segment", "segments", "starting")),
    "hold": _stop("quiescence", "listener", "bells", tests=("quiescence", "listener", "bells"), others=_LIVING),
    "memory": _stop("memory", tests=("memory", "memory_disk")),
    "watch": _stop("watchdog", "watchthread", "notify", tests=("watchdog", "notify")),
    "roster": _stop("roster", tests=("roster", "kill_look"), others=_LIVING),
    "grounds": _stop("grounds", tests=("grounds",)),
    "home": _stop("home", "sentinel", tests=("home", "sentinel", "power", "pen"), others=_LIVING),
    "page": _stop("page", "memorypage", "filepage", "layout", tests=("pages", "page", "two_pages")),
    "waiting": _stop("outstanding", "naming", "quiet", tests=("outstanding", "naming")),
    "kill": _stop("kill", tests=("kill_steps", "kill", "kill_look", "pen")),
}

HELD: Final = (
    "core",
    "journal",
    "latch",
    "files",
    "limits",
    "hold",
    "memory",
    "watch",
    "roster",
    "grounds",
    "waiting",
    "segments",
)
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
