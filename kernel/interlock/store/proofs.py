"""What a journal's files say of its tree at earlier sizes.

Every segment tells the peaks of the tree before it. So the tree at any size is made from the segment that holds it, and
nothing before that is read. The files are read while the engine appends to them: what is asked for here was written
and synced before.

`Prover` is for who asks again and again, each time from where he came to: it remembers the tree and the place in the
file, and reads what came after them, so that it takes next to nothing from the engine beside it.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs
import orjson

from interlock.breaker.segment import first_of, opened, segments
from interlock.core.errors import InterlockError
from interlock.journal.proofs import consistency
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ProofError", "Prover", "tree_at"]

_BATCH: Final = 1024
_CHUNK_BYTES: Final = 1 << 20
_REMEMBERED: Final = 4


class ProofError(InterlockError):
    """The files do not hold what would be needed."""


@attrs.frozen
class _Place:
    """Behind so many lines: their tree, and the segment and byte where the next one is."""

    tree: Tree
    path: Path
    offset: int


def tree_at(stream: Path, size: int) -> Tree:
    """The tree over the first ``size`` lines.

    Args:
        stream: the journal's directory.
        size: how many lines.

    Raises:
        ProofError: there are not so many, or a segment's beginning can't be read.
        OSError: a segment can't be.
    """
    return _advance(stream, _segment(stream, size), size).tree if size else Tree()


class Prover:
    """Gives the consistency proofs of one journal, to any number of threads.

    Args:
        stream: the journal's directory.
    """

    def __init__(self, stream: Path) -> None:
        self._stream = stream
        self._known: dict[int, _Place] = {}
        self._lock = threading.Lock()

    def __call__(self, old: int, new: int) -> list[bytes]:
        """The proof from one size to another.

        Raises:
            ProofError: there are not so many lines.
            OSError: a segment can't be read.
        """
        if not 0 < old < new:
            return []
        with self._lock:
            return self._prove(old, new)

    def _prove(self, old: int, new: int) -> list[bytes]:
        place = self._known.get(old) or _advance(self._stream, _segment(self._stream, old), old)
        lines = (line for line, _, _ in _lines(self._stream, place))
        try:
            proof = consistency(place.tree, lines, new)
        except ValueError as error:
            message = f"{self._stream}: {error}"
            raise ProofError(message) from error
        self._known[old] = place
        self._known[new] = _advance(self._stream, place, new)
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return proof


def _segment(stream: Path, size: int) -> _Place:
    """The beginning of the segment in which line ``size`` is, or would be next."""
    paths = [path for path in segments(stream) if first_of(path) <= size]
    if not paths:
        message = f"{stream}: there is no journal"
        raise ProofError(message)
    path = paths[-1]
    first = first_of(path)
    with opened(path) as file:
        opening = file.readline()
    try:
        said = orjson.loads(opening)
        tree = Tree.of(said["size"], [bytes.fromhex(peak) for peak in said["peaks"]])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        message = f"{path}: does not begin as a segment does"
        raise ProofError(message) from error
    if tree.size != first:
        message = f"{path}: begins with line {tree.size}"
        raise ProofError(message)
    return _Place(tree, path, 0)


def _advance(stream: Path, place: _Place, size: int) -> _Place:
    """Go on to behind so many lines."""
    tree, path, offset = place.tree.copy(), place.path, place.offset
    source = _lines(stream, place)
    while batch := [*islice(source, min(_BATCH, size - tree.size))]:
        tree.extend([line for line, _, _ in batch])
        _, path, offset = batch[-1]
    if tree.size != size:
        message = f"{stream}: has {tree.size} lines, not {size}"
        raise ProofError(message)
    return _Place(tree, path, offset)


def _skip(file: BinaryIO, offset: int) -> None:
    """Go to a byte; in a segment that was compressed, perhaps since its place was noted, by reading so far."""
    if file.seekable():
        file.seek(offset)
        return
    while offset:
        chunk = file.read(min(offset, _CHUNK_BYTES))
        if not chunk:
            return
        offset -= len(chunk)


def _lines(stream: Path, place: _Place) -> Iterator[tuple[bytes, Path, int]]:
    """The lines from a place on, without their newlines, each with the segment and the byte behind it."""
    number, path, offset = place.tree.size, place.path, place.offset
    while True:
        with opened(path) as file:
            _skip(file, offset)
            for line in file:
                if not line.endswith(b"\n"):  # room behind the last record
                    break
                offset += len(line)
                number += 1
                yield line[:-1], path, offset
        later = [one for one in segments(stream) if first_of(one) == number and first_of(one) > first_of(path)]
        if not later:
            return
        path, offset = later[0], 0
