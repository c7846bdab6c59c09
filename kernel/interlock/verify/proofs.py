"""Proofs that a record is in a journal, and that it grew from an earlier one: RFC 6962, sections 2.1.1 and 2.1.2.

A proof is a short list of subtree roots, at most one for each level. `inclusion` and `consistency` say which subtrees
these are, `fold` makes their roots in one pass over the leaves, and `check_inclusion` and `check_consistency`
are what somebody does who has only the proof and the roots.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from .tree import EMPTY, Tree, node_hash

Range = tuple[int, int]
"""The leaves from one up to, and not with, another."""


def _split(size: int) -> int:
    """Return the largest power of two below a size above 1."""
    return 1 << (size - 1).bit_length() - 1


def inclusion(index: int, size: int) -> list[Range]:
    """Return the subtrees whose roots prove that a leaf is in a tree, the lowest first.

    Args:
        index: the leaf's.
        size: the tree's.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        message = f"a tree of {size} leaves has no leaf {index}"
        raise ValueError(message)
    path: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return path[::-1]


def consistency(old: int, new: int) -> list[Range]:
    """Return the subtrees whose roots prove that a tree grew from a smaller one.

    Args:
        old: the size of the smaller.
        new: that of the larger.

    Raises:
        ValueError: the smaller is empty, which every tree grew from, or not smaller.
    """
    if not 0 < old <= new:
        message = f"there is no proof that a tree of {new} leaves grew from one of {old}"
        raise ValueError(message)
    path: list[Range] = []
    low, high = 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    # The verifier knows the smaller tree's root: so if that is one of the subtrees, it is left out.
    return ([] if low == 0 else [(low, high)]) + path[::-1]


def fold(leaves: Iterable[bytes], ranges: Iterable[Range]) -> dict[Range, bytes]:
    """Return the roots of some ranges of leaves that do not overlap.

    Args:
        leaves: from the first on; no more are taken than are needed.
        ranges: of them.

    Raises:
        ValueError: there are not so many leaves.
    """
    stream, place = iter(leaves), 0
    roots: dict[Range, bytes] = {}
    for low, high in sorted(ranges):
        _skip(stream, low - place)
        tree = Tree()
        tree.extend(islice(stream, high - low))
        if tree.size != high - low:
            message = f"there are fewer than {high} leaves"
            raise ValueError(message)
        roots[low, high] = tree.root()
        place = high
    return roots


def _skip(stream: Iterator[bytes], count: int) -> None:
    for _ in islice(stream, count):
        pass


def _hashes(*values: bytes) -> bool:
    return all(len(value) == len(EMPTY) for value in values)


def check_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    """Whether a proof shows that a leaf is in a tree.

    Args:
        index: the leaf's.
        size: the tree's.
        leaf: the leaf's hash.
        proof: the roots of the subtrees, the lowest first.
        root: the tree's.
    """
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    ranges = inclusion(index, size)
    if len(proof) != len(ranges):
        return False
    found = leaf
    for (low, _), other in zip(ranges, proof, strict=True):
        found = node_hash(found, other) if low > index else node_hash(other, found)
    return found == root


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Whether a proof shows that a tree grew from a smaller one.

    Args:
        old: the size of the smaller; 0 shows nothing, and is refused, but where both are empty.
        new: that of the larger.
        old_root: the root of the smaller.
        new_root: that of the larger.
        proof: the roots of the subtrees, the lowest first.
    """
    if not _hashes(*proof):
        return False
    if old == new:
        return not proof and old_root == new_root and (old > 0 or old_root == EMPTY)
    if not 0 < old < new:
        return False
    ranges = consistency(old, new)
    if len(proof) != len(ranges):
        return False
    whole = old.bit_count() == 1  # then the smaller tree is a subtree itself, and its root the first of them
    first, *rest = [old_root, *proof] if whole else proof
    small = large = first
    for (low, _), other in zip(ranges if whole else ranges[1:], rest, strict=True):
        if low < old:
            small, large = node_hash(other, small), node_hash(other, large)
        else:
            large = node_hash(large, other)
    return (small, large) == (old_root, new_root)
