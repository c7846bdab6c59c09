"""Segments for the tests of recovery: made by hand, whole or wrong, and read in each of the ways there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.journal.recovery import Recovery
from interlock.journal.tree import Tree

from .lines import TS, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .lines import Json

__all__ = ["DAY", "LAX", "Read", "block", "fed", "pieces", "scanned", "segment"]

DAY = TS // 86_400_000_000
LAX = b'{"v": 1'
"""How a line begins that says what it should, and is not spelled so: nobody but whoever seals it can vouch for it."""


class Read(Recovery):
    """A recovery that remembers what it visited."""

    def __init__(self, **given: Any) -> None:
        self.seen: list[Json] = []
        super().__init__(visit=self.seen.append, **given)  # type: ignore[arg-type]

    @property
    def told(self) -> tuple[object, ...]:
        """All that it found."""
        tail = [one["seq"] for one in self.tail]
        found = (self.tree.size, self.tree.root(), self.sealed_bytes, self.day, self.last_ts, tail)
        return (*found, self.marked, self.torn, self.damaged)


def segment(*batches: int, tree: Tree | None = None, lax: bool = False) -> bytes:
    """A segment of its beginning and so many records more, in batches that end in a seal; the tree grows with it.

    Args:
        *batches: how many records there are before each seal.
        tree: over what is before it.
        lax: whether each record but its beginning and its seals is spelled in a way in which nobody writes it.
    """
    grown = Tree() if tree is None else tree
    begun = line("segment", seq=grown.size, size=grown.size, root=grown.root(), peaks=grown.peaks())
    data = begun
    grown.grow(begun)
    for batch in batches:
        for _ in range(batch):
            one = line("end", seq=grown.size, mono=grown.size * 1000)
            one = one.replace(b'{"v":1', LAX) if lax else one
            data += one
            grown.grow(one)
        seal = line("seal", seq=grown.size, mono=grown.size * 1000, size=grown.size, root=grown.root())
        data += seal
        grown.grow(seal)
    return data


def fed(data: bytes, **given: Any) -> Read:
    """What its lines give, one by one."""
    read = Read(**given)
    assert read.begin(0)
    for one in data.splitlines(keepends=True):
        read.feed(one)
    return read


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes, so many at a time."""
    return (data[at : at + size] for at in range(0, len(data), size))


def scanned(data: bytes, size: int = 1 << 30, **given: Any) -> Read:
    """What they give in pieces of this size."""
    read = Read(**given)
    assert read.begin(0)
    read.scan(pieces(data, size))
    return read


def block(*given: bytes) -> bytes:
    """A segment of these lines and a seal that is right."""
    tree = Tree()
    tree.extend([one[:-1] for one in given])
    return b"".join(given) + line("seal", seq=len(given), size=len(given), root=tree.root())
