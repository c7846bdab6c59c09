"""The disk: files and directories, and what of them is left when the power goes.

What is written is in memory first. A sync of a file makes its bytes last; a sync of a directory makes its names last.
Neither does the other's work. What is not synced when the power goes may be there, or not:

- of a file, page by page: each page is as it was after some of the changes since the last sync, from none to all, so
  pages can be written in another order than the program wrote them; and a page can be torn between two of its sectors;
- of a directory, its changes up to some moment, in their order, as a journalling file system keeps them.

A sync that fails has lost something for good: of what it should have made last some pages never will be, and a second
sync says that all is well.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["Device", "Directory", "File", "Node"]

_PAGE: Final = 4096
_SECTOR: Final = 512
_TORN: Final = 0.2

Change = tuple[int, bytes]
"""Bytes at a place; or, with a place below zero, the size that the file gets: -1 - size."""


class Device:
    """One file system: numbers its files.

    Attributes:
        number: as ``st_dev``.
        mount: its number among the mounts.
        lasting: whether it is a disk; what is on another one is gone with the power.
        root: its topmost directory.
    """

    def __init__(self, number: int, mount: int, *, lasting: bool) -> None:
        self.number = number
        self.mount = mount
        self.lasting = lasting
        self._next = 100 * number
        self.root = Directory(self, 0o755)

    def take(self) -> int:
        """A number for a new file."""
        self._next += 1
        return self._next


class Node:
    """A file or a directory.

    Attributes:
        device: where it is.
        number: as ``st_ino``.
        mode: type and permissions.
        links: how many names it has.
        changed_ns: when.
        locks: what open file descriptions hold on it: True for exclusively.
    """

    __slots__ = ("changed_ns", "device", "links", "locks", "mode", "number")

    def __init__(self, device: Device, mode: int) -> None:
        self.device = device
        self.number = device.take()
        self.mode = mode
        self.links = 1
        self.changed_ns = 0
        self.locks: dict[int, bool] = {}


class File(Node):
    """A file.

    Attributes:
        data: what a reader sees.
        durable: what is on the disk for sure.
        changes: what was changed since.
        lost: whether a sync of it has failed, and so lost something.
    """

    __slots__ = ("changes", "data", "durable", "lost")

    def __init__(self, device: Device, mode: int) -> None:
        super().__init__(device, stat.S_IFREG | mode)
        self.data = bytearray()
        self.durable = bytearray()
        self.changes: list[Change] = []
        self.lost = False

    def write(self, at: int, data: bytes) -> None:
        """Write; a gap is filled with zeros."""
        change = (at, data)
        _apply(self.data, change)
        if self.device.lasting:
            self.changes.append(change)

    def resize(self, size: int) -> None:
        """Cut off, or fill with zeros."""
        change = (-1 - size, b"")
        _apply(self.data, change)
        if self.device.lasting:
            self.changes.append(change)

    def sync(self) -> None:
        """Make all that was written last."""
        for change in self.changes:
            _apply(self.durable, change)
        self.changes.clear()

    def sync_fails(self, chance: random.Random) -> None:
        """Lose what may be lost, and forget that it is not on the disk."""
        self.durable = self.survivor(chance)
        self.changes.clear()
        self.lost = self.lost or self.durable != self.data

    def survivor(self, chance: random.Random) -> bytearray:
        """What may be left of it."""
        changes = self.changes
        if not changes:
            return bytearray(self.durable)
        most = len(changes)
        sizes = [_size(self.durable, changes, upto) for upto in range(most + 1)]
        size = sizes[_upto(chance, most)]
        left = bytearray(self.durable[:size].ljust(size, b"\0"))
        touched = {
            page for at, data in changes if at >= 0 for page in range(at // _PAGE, (at + len(data)) // _PAGE + 1)
        }
        cuts = [-1 - at for at, _ in changes if at < 0]
        if cuts:
            touched.update(range(min(cuts) // _PAGE, max(size, len(self.durable)) // _PAGE + 1))
        for page in sorted(touched):
            _renew(left, self.durable, changes, page, chance)
        return left

    def cut(self, chance: random.Random) -> None:
        """The power goes."""
        self.data = self.survivor(chance)
        self.durable = bytearray(self.data)
        self.changes = []
        self.links = 1
        self.locks = {}


def _upto(chance: random.Random, most: int) -> int:
    """How many changes were made on the disk: none, all, or some, each as likely."""
    return (0, most, chance.randint(0, most))[chance.randrange(3)]


def _apply(data: bytearray, change: Change) -> None:
    at, new = change
    if at < 0:
        size = -1 - at
        if size < len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))
        return
    if at > len(data):
        data.extend(bytes(at - len(data)))
    data[at : at + len(new)] = new


def _size(durable: bytearray, changes: list[Change], upto: int) -> int:
    size = len(durable)
    for at, data in changes[:upto]:
        size = -1 - at if at < 0 else max(size, at + len(data))
    return size


def _renew(left: bytearray, durable: bytearray, changes: list[Change], page: int, chance: random.Random) -> None:
    """Give a page the bytes that it had after some of the changes."""
    start, end = page * _PAGE, (page + 1) * _PAGE
    now = bytearray(durable[start:end].ljust(_PAGE, b"\0"))
    for at, data in changes[: _upto(chance, len(changes))]:
        if at < 0:
            gone = max(-1 - at - start, 0)
            now[gone:] = bytes(max(_PAGE - gone, 0))
            continue
        low, high = max(at, start), min(at + len(data), end)
        if low < high:
            now[low - start : high - start] = data[low - at : high - at]
    if chance.random() < _TORN:
        sector = chance.randrange(_PAGE // _SECTOR) * _SECTOR
        now[sector:] = durable[start + sector : end].ljust(_PAGE - sector, b"\0")
    room = max(0, min(end, len(left)) - start)
    left[start : start + room] = now[:room]


class Directory(Node):
    """A directory.

    Attributes:
        entries: what a reader sees.
        durable: what is on the disk for sure.
        moves: what was changed since: names that came and went, each step whole.
    """

    __slots__ = ("durable", "entries", "moves")

    def __init__(self, device: Device, mode: int) -> None:
        super().__init__(device, stat.S_IFDIR | mode)
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.moves: list[dict[str, Node | None]] = []

    def move(self, names: dict[str, Node | None]) -> None:
        """Give names to files, or take them away, all at once."""
        _move(self.entries, names)
        if self.device.lasting:
            self.moves.append(names)

    def sync(self) -> None:
        """Make all names last."""
        for names in self.moves:
            _move(self.durable, names)
        self.moves.clear()

    def survivors(self) -> Iterator[dict[str, Node]]:
        """Each set of names that may be left, from what is there for sure to all."""
        names = dict(self.durable)
        yield dict(names)
        for move in self.moves:
            _move(names, move)
            yield dict(names)

    def cut(self, chance: random.Random) -> None:
        """The power goes."""
        names = dict(self.durable)
        for move in self.moves[: _upto(chance, len(self.moves))]:
            _move(names, move)
        self.entries, self.durable, self.moves, self.locks = names, dict(names), [], {}
        for name in sorted(names):
            node = names[name]
            if isinstance(node, File | Directory) and node.device is self.device:
                node.cut(chance)

    def settle(self) -> None:
        """Make everything below it last, as it is."""
        self.sync()
        for node in self.entries.values():
            if isinstance(node, Directory):
                node.settle()
            elif isinstance(node, File):
                node.sync()


def _move(entries: dict[str, Node], names: dict[str, Node | None]) -> None:
    for name, node in names.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node
