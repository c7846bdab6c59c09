"""The verifier, as a bundle needs it: its answer about the files of a bundle, and what it needs by itself."""

from __future__ import annotations

import platform
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from interlock.breaker.source import code_hash
from interlock.ops.bundle.story import segments_of
from interlock.ops.bundle.tree import beginning, plain
from interlock.verify import Inputs, Report, verify
from interlock.verify.notes import NOTE_MAX
from interlock.verify.pack import NAME, pack
from interlock.verify.routes import entries
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.ops.bundle.tree import Tree

__all__ = ["NEEDS", "VERIFIER", "tools", "verdict"]

VERIFIER: Final = NAME
NEEDS: Final = ("attrs", "cryptography", "orjson", "zstandard")
"""What the verifier by itself needs from a package index."""


def verdict(tree: Tree, engine: str, root_key: str | None, progress: Callable[[int], None]) -> Report:
    """What the verifier says of one engine's files.

    Args:
        tree: the bundle.
        engine: whose.
        root_key: the root's verifier key; without one no signature is believed.
        progress: called with bytes read since it was last called.

    Raises:
        OSError: a file can't be read.
        ValueError: the root key is none.
    """
    done = 0

    def step(upto: int) -> None:
        nonlocal done
        progress(upto - done)
        done = upto

    notes = _files(tree, f"checkpoints/{engine}/")
    inputs = Inputs(
        root_key=root_key,
        lists=_files(tree, "keys/"),
        notes=notes,
        anchors=tuple(entry for file in _files(tree, f"anchors/{engine}/") for entry in entries(*file)),
    )
    return verify(((name, plain(tree, name)) for name in segments_of(tree, engine)), step, inputs=inputs)


def _files(tree: Tree, room: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, beginning(tree, name, NOTE_MAX + 1)) for name in tree.names() if name.startswith(room))


def tools() -> dict[str, str]:
    """What made the bundle."""
    return {
        "interlock": __version__,
        "code_sha256": code_hash(),
        "python": platform.python_version(),
        "orjson": orjson.__version__,
        "verifier_sha256": sha256(pack()).hexdigest(),
    }
