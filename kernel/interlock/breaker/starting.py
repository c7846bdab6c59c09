"""Where a recovery may begin: at a segment that tells the ledger, so that only what follows is played.

Nothing is believed for standing in a file. The segment's record tells the tree before it, the seals that follow it and
its ``ledger`` must have the roots that come of that, and the segments before it are read all the same: their lines are
hashed, and must come to the very tree that it tells. What is spared is to play them, which takes five times as long.
If anything does not hold, the recovery begins with the first record, and finds where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from interlock.breaker.segment import chunks, first_of, opened
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.journal.recovery import Recovery

__all__ = ["begins_at", "hashed"]

_LINE_MAX = 1 << 24


def begins_at(paths: list[Path], limits: str) -> int:
    """The place of the last segment that tells the ledger under these limits; 0: none does, or only the first.

    Args:
        paths: of all segments, oldest first.
        limits: the SHA-256 of the limits file, in hex.
    """
    return next((place for place in range(len(paths) - 1, 0, -1) if _tells(paths[place], limits)), 0)


def _tells(path: Path, limits: str) -> bool:
    """Whether it begins with its record, a seal, a ledger and a seal, and both seals are right."""
    with opened(path) as file:
        lines = [file.readline(_LINE_MAX) for _ in range(4)]
    try:
        segment, first, ledger, second = (orjson.loads(line) for line in lines)
        kinds = [one["kind"] for one in (segment, first, ledger, second)]
        tree = Tree.of(first_of(path), [bytes.fromhex(peak) for peak in segment["peaks"]])
        if kinds != ["segment", "seal", "ledger", "seal"] or ledger["state"]["limits"] != limits:
            return False
        if segment["root"] != tree.root():
            return False
        tree.grow(lines[0])
        if first["root"] != tree.root():
            return False
        tree.grow(lines[1] + lines[2])
        return bool(second["root"] == tree.root())
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return False


def hashed(recovery: Recovery, paths: list[Path]) -> bool:
    """Take closed segments by their hashes. False if they do not hold: then the recovery has no use any more."""
    return all(recovery.begin(first_of(path)) and recovery.skim(chunks(path)) for path in paths)
