"""The RFC 6962 Merkle tree hash, kept as a growing tree needs it.

RFC 6962, section 2.1, in three lines, with ``H`` for SHA-256 and ``k`` for the largest power of two
below ``n``:

- ``MTH({}) = H("")``
- ``MTH({d}) = H(0x00 || d)``
- ``MTH(D[n]) = H(0x01 || MTH(D[0:k]) || MTH(D[k:n]))``

A tree of ``n`` leaves is a row of perfect trees, one for each bit that is set in ``n``, the largest
on the left. Only their roots are kept, so a journal of any length needs at most 53 hashes of
memory. To append leaves is to add to ``n``: level by level, two trees of one size become one of the next.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()
"""The root of the tree without leaves."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of one leaf."""
    return sha256(b"\x00" + leaf).digest()


def leaf_hashes(lines: bytes) -> list[bytes]:
    """Return the hashes of lines, each of which ends with a line feed, which is no part of the leaf."""
    sha = sha256
    return [sha(leaf).digest() for leaf in (b"\x00" + lines[:-1].replace(b"\n", b"\n\x00")).split(b"\n")]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A Merkle tree that only grows.

    Attributes:
        size: how many leaves it has.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Make a tree of which only this is known.

        Args:
            size: how many leaves it has.
            peaks: the roots of its perfect subtrees, the largest first: one for each bit of ``size``.
        """
        self.size = size
        roots = list(peaks)
        self._levels = [roots.pop() if size >> level & 1 else None for level in range(size.bit_length())]

    @property
    def peaks(self) -> list[bytes]:
        """The roots of the perfect subtrees, the largest first."""
        return [root for root in reversed(self._levels) if root is not None]

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaves, in order.

        Args:
            leaves: the exact bytes of each; a leaf's index is the size before it is appended.
        """
        self.add([leaf_hash(leaf) for leaf in leaves])

    def add(self, nodes: list[bytes]) -> None:
        """Append leaves, in order, by their hashes."""
        sha, levels = sha256, self._levels
        self.size += len(nodes)
        level = 0
        while nodes:
            if level == len(levels):
                levels.append(None)
            left = levels[level]
            if left is not None:
                nodes.insert(0, left)
            levels[level] = nodes.pop() if len(nodes) & 1 else None
            pairs = iter(nodes)
            nodes = [sha(b"\x01" + one + two).digest() for one, two in zip(pairs, pairs, strict=True)]
            level += 1

    def root(self) -> bytes:
        """Return the tree hash over all leaves so far, 32 bytes."""
        found: bytes | None = None
        for peak in self._levels:
            if peak is not None:
                found = peak if found is None else sha256(b"\x01" + peak + found).digest()
        return EMPTY if found is None else found
