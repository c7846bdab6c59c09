"""Consistency proofs: that a tree only grew (RFC 6962, 2.1.2).

Such a proof is a row of hashes, each of a whole subtree. `spans` says of which; `consistency` makes them from the
peaks of the smaller tree and the lines that came after it, so that nothing before those is read again.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["consistency", "spans"]

_BATCH: Final = 1024


def spans(old: int, new: int) -> list[tuple[int, int]]:
    """The leaves under each hash of the proof from one size to another: from the first up to, and not with, the second.

    A proof from or to nothing, or from a size to itself, is empty.
    """
    if not 0 < old < new:
        return []
    found: list[tuple[int, int]] = []
    low, high, whole = 0, new, True
    while old != high - low:
        half = 1 << ((high - low - 1).bit_length() - 1)
        if old <= half:
            found.append((low + half, high))
            high = low + half
        else:
            found.append((low, low + half))
            low, old, whole = low + half, old - half, False
    if not whole:
        found.append((low, high))
    return found[::-1]


def consistency(tree: Tree, lines: Iterable[bytes], new: int) -> list[bytes]:
    """The proof that a tree became one of ``new`` leaves.

    Args:
        tree: the smaller one; it is not changed.
        lines: the lines that came after it, without their newlines; what follows leaf ``new`` is not looked at.
        new: the size of the larger one.

    Raises:
        ValueError: there are not so many lines.
    """
    old = tree.size
    wanted = spans(old, new)
    hashes: dict[tuple[int, int], bytes] = {}
    later = []
    for span in sorted(wanted):
        if span[1] <= old:
            hashes[span] = tree.peak((span[1] - span[0]).bit_length() - 1)
        else:
            later.append(span)
    at = old
    source = iter(lines)
    for low, high in later:  # one after the other, from the first new leaf on
        part = Tree()
        while batch := list(islice(source, min(_BATCH, high - at))):
            part.extend(batch)
            at += len(batch)
        if at != high:
            message = f"no consistency proof to size {new}: there are {at} lines only"
            raise ValueError(message)
        hashes[low, high] = bytes.fromhex(part.root())
    return [hashes[span] for span in wanted]
