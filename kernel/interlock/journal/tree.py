"""The growing end of one RFC 6962 Merkle tree (SHA-256).

Only the peaks are kept: the roots of the perfect subtrees that the leaves so far make up, one for
each bit that is set in their number. So the memory is the logarithm of the journal, and a batch is
hashed level by level, which is twice as fast as leaf by leaf.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Tree"]


class Tree:
    """Peaks by level; ``size`` is the number of leaves."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: dict[int, bytes] = {}

    @classmethod
    def of(cls, size: int, peaks: Sequence[bytes]) -> Tree:
        """The tree of this size, from the roots of its perfect subtrees, the largest first.

        Raises:
            ValueError: there are more or fewer of them than such a tree has.
        """
        tree = cls()
        tree.size = size
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        tree._peaks = dict(zip(levels, peaks, strict=True))
        return tree

    def copy(self) -> Tree:
        """A tree of its own, as it stands now."""
        other = Tree()
        other.size = self.size
        other._peaks = dict(self._peaks)
        return other

    def extend(self, lines: Sequence[bytes]) -> None:
        """Append leaves.

        Args:
            lines: the journal's lines, each without its newline.
        """
        self._append([sha256(b"\x00" + line).digest() for line in lines])

    def grow(self, block: bytes) -> None:
        """Append lines as leaves.

        Args:
            block: whole lines in one piece, each with its newline, which is no part of the leaf.
        """
        leaves = (b"\x00" + block[:-1].replace(b"\n", b"\n\x00")).split(b"\n")
        self._append([sha256(leaf).digest() for leaf in leaves])

    def _append(self, nodes: list[bytes]) -> None:
        start = self.size
        self.size += len(nodes)
        level = 0
        while nodes:
            if start & 1:  # the node before these, at this level, waits for its right sibling
                nodes.insert(0, self._peaks.pop(level))
            if len(nodes) & 1:
                self._peaks[level] = nodes.pop()
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            start >>= 1
            level += 1

    def peak(self, level: int) -> bytes:
        """The root of the perfect subtree of ``2 ** level`` leaves; there is one if that bit is set in ``size``."""
        return self._peaks[level]

    def root(self) -> str:
        """The Merkle tree hash of all leaves, in hex."""
        root: bytes | None = None
        for level in sorted(self._peaks):
            peak = self._peaks[level]
            root = peak if root is None else sha256(b"\x01" + peak + root).digest()
        return (sha256(b"").digest() if root is None else root).hex()

    def peaks(self) -> list[str]:
        """The roots of the perfect subtrees, in hex, the largest first: all that the tree can be continued from."""
        return [self._peaks[level].hex() for level in sorted(self._peaks, reverse=True)]
