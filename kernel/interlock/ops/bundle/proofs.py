"""Audit paths of RFC 6962 for chosen records, from one more pass over the lines.

The tree is grown leaf by leaf, and only the roots of its perfect subtrees are kept. Whenever two of these become one,
every chosen leaf below them gets the other's hash into its path; so nothing but the paths themselves is remembered. At
the size that a path is for, the subtrees to the right of its leaf count as one, and those to the left follow it, from
the nearest on.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Proof", "prove", "root_of_path"]

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


@attrs.frozen(kw_only=True)
class Proof:
    """That a line is a leaf of a tree.

    Attributes:
        seq: the leaf's index.
        line: its bytes.
        size: how many leaves the tree has.
        root: of the tree.
        path: the audit path, from the leaf up.
    """

    seq: int
    line: bytes
    size: int
    root: bytes
    path: tuple[bytes, ...]


@attrs.define(eq=False)
class _Climb:
    """A leaf on its way up."""

    seq: int
    line: bytes
    path: list[bytes]
    level: int = 0


class _Growing:
    """The tree, and who climbs in it."""

    def __init__(self, size: int, peaks: Sequence[bytes]) -> None:
        self.size = size
        levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
        self.peaks = list(zip(levels, peaks, strict=True))
        self.climbing: dict[tuple[int, int], list[_Climb]] = {}

    def append(self, line: bytes, *, chosen: bool) -> None:
        """One more leaf."""
        index, level = self.size, 0
        node = sha256(_LEAF + line).digest()
        if chosen:
            self.climbing[0, index] = [_Climb(index, line, [])]
        while self.peaks and self.peaks[-1][0] == level:
            left = self.peaks.pop()[1]
            self._meet(level, index - 1, node)
            self._meet(level, index, left)
            node = sha256(_NODE + left + node).digest()
            level, index = level + 1, index // 2
        self.peaks.append((level, node))
        self.size += 1

    def _meet(self, level: int, index: int, other: bytes) -> None:
        climbers = self.climbing.pop((level, index), None)
        if climbers is not None:
            for climber in climbers:
                climber.path.append(other)
                climber.level = level + 1
            self.climbing.setdefault((level + 1, index // 2), []).extend(climbers)

    def proofs(self, wanted: set[int]) -> list[Proof]:
        """Of those that climb the wanted ones, for the tree as it is."""
        climbing = [one for climbers in self.climbing.values() for one in climbers]
        return [self._proof(one) for one in climbing if one.seq in wanted]

    def _proof(self, climber: _Climb) -> Proof:
        place = next(number for number, (level, _) in enumerate(self.peaks) if level == climber.level)
        path = list(climber.path)
        right = [node for _, node in self.peaks[place + 1 :]]
        if right:
            path.append(_fold(right))
        path += [node for _, node in reversed(self.peaks[:place])]
        root = _fold([node for _, node in self.peaks])
        return Proof(seq=climber.seq, line=climber.line, size=self.size, root=root, path=tuple(path))


def _fold(peaks: Sequence[bytes]) -> bytes:
    """The root over a row of perfect trees."""
    *larger, found = peaks
    for peak in reversed(larger):
        found = sha256(_NODE + peak + found).digest()
    return found


def prove(
    lines: Iterable[bytes], wanted: Mapping[int, int], start: int = 0, peaks: Sequence[bytes] = ()
) -> dict[int, Proof]:
    """Audit paths.

    Args:
        lines: the lines in their order, without line feeds.
        wanted: for the index of each chosen leaf the size of the tree that it is to be shown in.
        start: the index of the first line.
        peaks: the roots of the perfect subtrees before it, the largest first.

    Returns:
        By index; a leaf that was not among the lines, or whose tree was not reached, is missing.
    """
    tree = _Growing(start, peaks)
    by_size: dict[int, set[int]] = {}
    for seq, size in wanted.items():
        if start <= seq < size:
            by_size.setdefault(size, set()).add(seq)
    last = max(by_size, default=0)
    found: dict[int, Proof] = {}
    for line in lines:
        if tree.size >= last:
            break
        tree.append(line, chosen=tree.size in wanted)
        if tree.size in by_size:
            found |= {proof.seq: proof for proof in tree.proofs(by_size[tree.size])}
    return found


def root_of_path(seq: int, size: int, line: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root that an audit path leads to; None if a path of that length can't be one.

    This is the verification of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= seq < size:
        return None
    left, last = seq, size - 1
    node = sha256(_LEAF + line).digest()
    for other in path:
        if last == 0:
            return None
        if left & 1 or left == last:
            node = sha256(_NODE + other + node).digest()
            while not left & 1 and left:
                left >>= 1
                last >>= 1
        else:
            node = sha256(_NODE + node + other).digest()
        left >>= 1
        last >>= 1
    return node if last == 0 else None
