"""What a journal's files say of its tree at earlier sizes.

Every segment tells the peaks of the tree before it. So the tree at any size is made from the segment that holds it, and
nothing before that is read. The files are read while the engine appends to them: what is asked for here was written
and synced before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from interlock.breaker.segment import first_of, lines, segments
from interlock.core.errors import InterlockError
from interlock.journal.proofs import consistency
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ProofError", "prove", "tree_at"]

_BATCH = 4096


class ProofError(InterlockError):
    """The files do not hold what would be needed."""


def tree_at(stream: Path, size: int) -> Tree:
    """The tree over the first ``size`` lines.

    Args:
        stream: the journal's directory.
        size: how many lines.

    Raises:
        ProofError: there are not so many, or the segment's beginning can't be read.
    """
    tree, source = _segment(stream, size)
    while tree.size < size:
        batch = [line for line, _ in zip(source, range(min(_BATCH, size - tree.size)), strict=False)]
        if not batch:
            message = f"{stream}: has {tree.size} lines, not {size}"
            raise ProofError(message)
        tree.extend(batch)
    return tree


def prove(stream: Path, old: int, new: int) -> list[bytes]:
    """The consistency proof from one size to another.

    Raises:
        ProofError: there are not so many lines.
    """
    if not 0 < old < new:
        return []
    tree = tree_at(stream, old)
    try:
        return consistency(tree, _lines(stream, old), new)
    except ValueError as error:
        message = f"{stream}: {error}"
        raise ProofError(message) from error


def _segment(stream: Path, size: int) -> tuple[Tree, Iterator[bytes]]:
    """The tree before the segment in which line ``size`` is, or would be next, and the lines from there on."""
    paths = [path for path in segments(stream) if first_of(path) <= size]
    if not paths:
        return Tree(), iter(())
    first = first_of(paths[-1])
    source = _lines(stream, first)
    if not first:
        return Tree(), source
    opening = next(source, b"")
    try:
        said = orjson.loads(opening)
        tree = Tree.of(said["size"], [bytes.fromhex(peak) for peak in said["peaks"]])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        message = f"{paths[-1]}: does not begin as a segment does"
        raise ProofError(message) from error
    if tree.size != first:
        message = f"{paths[-1]}: begins with line {tree.size}"
        raise ProofError(message)
    return tree, _lines(stream, first)


def _lines(stream: Path, first: int) -> Iterator[bytes]:
    """The lines from this number on, without their newlines; at most those that are whole."""
    number: int | None = None
    paths = segments(stream)
    for place, path in enumerate(paths):
        if place + 1 < len(paths) and first_of(paths[place + 1]) <= first:
            continue
        if number is None:
            number = first_of(path)
        elif number != first_of(path):
            message = f"{path}: does not follow line {number}"
            raise ProofError(message)
        for line in lines(path):
            if not line.endswith(b"\n"):
                return
            if number >= first:
                yield line[:-1]
            number += 1
