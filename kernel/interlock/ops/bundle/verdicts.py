"""The verifier, as a bundle needs it: its answer about the files of a bundle, and itself as a file to put in."""

from __future__ import annotations

import io
import platform
import zipfile
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Final

import orjson

from interlock.breaker.source import code_hash
from interlock.ops.bundle.story import segments_of
from interlock.ops.bundle.tree import plain
from interlock.verify import Inputs, Report, verify
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.ops.bundle.tree import Tree

__all__ = ["NEEDS", "VERIFIER", "tools", "verdict", "verifier"]

VERIFIER: Final = "verify.pyz"
NEEDS: Final = ("attrs", "cryptography", "orjson", "zstandard")
"""What the verifier by itself needs from a package index."""

_MAIN: Final = b"import sys\nfrom interlock.verify.__main__ import main\nsys.exit(main())\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_MODE: Final = 0o100600


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
        notes=notes or None,
        anchors=_files(tree, f"anchors/{engine}/"),
    )
    return verify(((name, plain(tree, name)) for name in segments_of(tree, engine)), step, inputs=inputs)


def _files(tree: Tree, room: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, tree.read(name)) for name in tree.names() if name.startswith(room))


@cache
def verifier() -> bytes:
    """The verifier as one file that Python runs: a ZIP of its package and nothing else, the same bytes each time."""
    packed = io.BytesIO()
    files = {"__main__.py": _MAIN, "interlock/__init__.py": b""}
    for file in resources.files("interlock.verify").iterdir():
        if file.name.endswith(".py"):
            files[f"interlock/verify/{file.name}"] = file.read_bytes()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = _UNIX
            info.external_attr = _MODE << 16
            archive.writestr(info, data)
    return b"#!/usr/bin/env python3\n" + packed.getvalue()


def tools() -> dict[str, str]:
    """What made the bundle."""
    return {
        "interlock": __version__,
        "code_sha256": code_hash(),
        "python": platform.python_version(),
        "orjson": orjson.__version__,
        "verifier_sha256": sha256(verifier()).hexdigest(),
    }
