"""Audit paths, against the recursive words of RFC 6962 and the vectors of other implementations."""

from __future__ import annotations

from hashlib import sha256

import pytest

from interlock.ops.bundle.proofs import prove, root_of_path

MOST = 40


def leaves(count: int) -> list[bytes]:
    """Distinct lines."""
    return [b"line %d" % number for number in range(count)]


def root(lines: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if len(lines) == 1:
        return sha256(b"\x00" + lines[0]).digest()
    split = 1 << (len(lines) - 1).bit_length() - 1
    return sha256(b"\x01" + root(lines[:split]) + root(lines[split:])).digest()


def path(seq: int, lines: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(lines) == 1:
        return []
    split = 1 << (len(lines) - 1).bit_length() - 1
    if seq < split:
        return [*path(seq, lines[:split]), root(lines[split:])]
    return [*path(seq - split, lines[split:]), root(lines[:split])]


@pytest.mark.parametrize("size", range(1, MOST))
def test_every_path_in_every_tree(size: int) -> None:
    """For each leaf of each small tree the path is the RFC's, and leads to the root."""
    lines = leaves(size)
    found = prove(lines, dict.fromkeys(range(size), size))
    assert sorted(found) == list(range(size))
    for seq, proof in found.items():
        assert list(proof.path) == path(seq, lines)
        assert proof.root == root(lines)
        assert root_of_path(seq, size, lines[seq], proof.path) == root(lines)


def test_trees_of_several_sizes_at_once() -> None:
    """Each leaf gets the path for the tree that it was asked for, in one pass over a longer journal."""
    lines = leaves(MOST)
    wanted = {0: 1, 1: 7, 2: 7, 5: 8, 6: 39, 38: 39, 39: 40}
    found = prove(lines, wanted)
    for seq, size in wanted.items():
        assert found[seq].size == size
        assert list(found[seq].path) == path(seq, lines[:size])


@pytest.mark.parametrize("start", range(1, MOST - 1))
def test_lines_that_begin_later(start: int) -> None:
    """From the roots of the perfect subtrees before it, a later part of a journal gives the same paths."""
    lines = leaves(MOST)
    peaks, left = [], 0
    for level in range(start.bit_length() - 1, -1, -1):
        if start >> level & 1:
            peaks.append(root(lines[left : left + (1 << level)]))
            left += 1 << level
    found = prove(lines[start:], dict.fromkeys(range(MOST), MOST), start, peaks)
    assert sorted(found) == list(range(start, MOST))
    assert [list(found[seq].path) for seq in found] == [path(seq, lines) for seq in found]


def test_what_is_not_there_is_not_proven() -> None:
    """A leaf beyond the lines, or in a tree that they do not reach, has no proof."""
    assert prove(leaves(5), {4: 6, 7: 9, 3: 3}) == {}


def test_wrong_paths_lead_elsewhere() -> None:
    """A path with one bit, one step or one index changed leads to no root, or another one."""
    size = 13
    lines = leaves(size)
    right = root(lines)
    for seq, proof in prove(lines, dict.fromkeys(range(size), size)).items():
        for step, node in enumerate(proof.path):
            bent = bytes([node[0] ^ 1]) + node[1:]
            changed = [*proof.path[:step], bent, *proof.path[step + 1 :]]
            assert root_of_path(seq, size, lines[seq], changed) != right
        assert root_of_path(seq, size, lines[seq], proof.path[:-1]) != right
        assert root_of_path(seq, size, lines[seq], [*proof.path, right]) != right
        assert root_of_path(seq, size, lines[seq] + b" ", proof.path) != right
        other = (seq + 1) % size
        assert root_of_path(other, size, lines[seq], proof.path) != right
    assert root_of_path(size, size, b"", []) is None
