"""The RFC 6962 Merkle tree hash, kept as a growing tree needs it.

RFC 6962, section 2.1, in three lines, with ``H`` for SHA-256 and ``k`` for the largest power of two
below ``n``:

- ``MTH({}) = H("")``
- ``MTH({d}) = H(0x00 || d)``
- ``MTH(D[n]) = H(0x01 || MTH(D[0:k]) || MTH(D[k:n]))``

A tree of ``n`` leaves is a row of perfect trees, one for each bit that is set in ``n``, the largest
on the left. Only their roots are kept, so a journal of any length needs at most 53 hashes of
memory. To append a leaf is to add one to ``n``: for each bit that carries, two trees become one.
"""

from collections.abc import Iterable
from hashlib import sha256

import attrs

EMPTY = sha256(b"").digest()
"""The root of the tree without leaves."""


@attrs.define
class Tree:
    """A Merkle tree that only grows.

    Attributes:
        size: how many leaves it has.
        peaks: the roots of its perfect trees, the largest first.
    """

    size: int = 0
    peaks: list[bytes] = attrs.Factory(list)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaves, in order.

        Args:
            leaves: the exact bytes of each; a leaf's index is the size before it is appended.
        """
        peaks, size, sha = self.peaks, self.size, sha256
        for leaf in leaves:
            node = sha(b"\x00" + leaf).digest()
            carry = size
            while carry & 1:
                node = sha(b"\x01" + peaks.pop() + node).digest()
                carry >>= 1
            peaks.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Return the tree hash over all leaves so far, 32 bytes."""
        if not self.peaks:
            return EMPTY
        *larger, found = self.peaks
        for peak in reversed(larger):
            found = sha256(b"\x01" + peak + found).digest()
        return found
