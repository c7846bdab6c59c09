"""The tree: its root is the one of the RFC however it grows, and it goes on from its peaks."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.tree import Tree

from .lines import root_of


@given(st.lists(st.binary(max_size=40), max_size=70), st.data())
def test_tree_is_the_one_of_the_rfc(leaves: list[bytes], data: st.DataObject) -> None:
    """Grown in pieces of any size, the tree has the root of the recursive definition."""
    tree = Tree()
    place = 0
    while place < len(leaves):
        step = data.draw(st.integers(1, len(leaves) - place))
        tree.extend(leaves[place : place + step])
        place += step
        assert tree.root() == root_of(leaves[:place]).hex()
        assert tree.size == place
    assert tree.root() == root_of(leaves).hex()


def test_copy_of_a_tree_grows_alone() -> None:
    """What is added to a copy does not touch the tree."""
    tree = Tree()
    tree.extend([b"a", b"b", b"c"])
    root = tree.root()
    other = tree.copy()
    other.extend([b"d"])
    assert (tree.root(), tree.size) == (root, 3)
    assert other.root() == root_of([b"a", b"b", b"c", b"d"]).hex()
    assert Tree().root() == sha256(b"").hexdigest()


def test_tree_of_its_peaks_is_the_tree() -> None:
    """A tree goes on from its size and peaks as if it had seen every leaf, and other than its own peaks it refuses."""
    tree = Tree()
    for size in range(20):
        again = Tree.of(size, [bytes.fromhex(peak) for peak in tree.peaks()])
        assert (again.size, again.root(), again.peaks()) == (size, tree.root(), tree.peaks())
        with pytest.raises(ValueError, match="zip"):
            Tree.of(size, [b"\0" * 32] * (len(tree.peaks()) + 1))
        tree.extend([b"%d" % size])
