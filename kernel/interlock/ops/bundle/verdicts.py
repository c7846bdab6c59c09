"""The verifier, as a bundle needs it: its answer about the files of a bundle, and itself as a file to put in."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

import orjson

from interlock.journal.verify import Report, verify
from interlock.ops.bundle.story import segments_of
from interlock.ops.bundle.tree import plain
from interlock.ops.drill.report import code_sha256
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.ops.bundle.tree import Tree

__all__ = ["VERIFIER", "tools", "verdict", "verifier"]

VERIFIER: Final = "verify.pyz"


def verdict(tree: Tree, engine: str, progress: Callable[[int], None]) -> Report:
    """What the verifier says of one engine's files.

    Raises:
        OSError: a file can't be read.
    """
    done = 0

    def step(upto: int) -> None:
        nonlocal done
        progress(upto - done)
        done = upto

    return verify(((name, plain(tree, name)) for name in segments_of(tree, engine)), step)


def verifier() -> bytes | None:
    """The verifier as one file that runs alone; None if this version can't make one."""
    return None


def tools() -> dict[str, str]:
    """What made the bundle."""
    return {
        "interlock": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "orjson": orjson.__version__,
    }
