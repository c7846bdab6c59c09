"""Checking a consistency proof (RFC 9162, 2.1.4.2): for the tests, and for the witness that they start.

It shares nothing with the engine, which makes such proofs and never checks one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["consistent"]


def consistent(old: int, new: int, root: str, other: str, proof: Sequence[bytes]) -> bool:
    """Whether the tree of ``old`` leaves with one root became the tree of ``new`` leaves with the other."""
    first, second = bytes.fromhex(root), bytes.fromhex(other)
    if old < 1 or new < old:
        return False
    if old == new:
        return not proof and first == second
    path = list(proof)
    if not path:
        return False
    if old & (old - 1) == 0:
        path.insert(0, first)
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    left = right = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            left, right = sha256(b"\x01" + one + left).digest(), sha256(b"\x01" + one + right).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            right = sha256(b"\x01" + right + one).digest()
        node >>= 1
        last >>= 1
    return last == 0 and left == first and right == second
