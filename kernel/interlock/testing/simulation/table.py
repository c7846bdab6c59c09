"""A machine's file systems, and what its processes have open.

What is not simulated is refused, and not handed to the real system. Descriptors are numbers that no real one has, and
none is used twice: what a dead process left closes nothing of another.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from interlock.testing.simulation.disk import Device, Directory, File, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.testing.simulation.faults import Faults
    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.tasks import Process

__all__ = ["FIRST", "Open", "Table"]

FIRST: Final = 1 << 24
"""The smallest descriptor."""

_AS_IT_IS: Final = frozenset({"PathLike", "fspath", "fsencode", "fsdecode", "stat_result", "sep", "name"})


class Open:
    """An open file description.

    Attributes:
        number: its descriptor.
        node: what is open.
        place: where in a file the next read or write begins.
        process: whose it is.
        whom: the process that a handle is on.
    """

    __slots__ = ("node", "number", "place", "process", "whom")

    def __init__(self, number: int, node: Node, process: Process) -> None:
        self.number = number
        self.node = node
        self.place = 0
        self.process = process
        self.whom: Process | None = None


class _Paths:
    """What of ``os.path`` asks the disk."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def lexists(self, path: str | os.PathLike[str]) -> bool:
        try:
            self._table.find(path)
        except OSError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what is pure is the real one
        if name in {"join", "basename", "dirname", "split"}:
            return getattr(os.path, name)
        message = f"os.path.{name} is not simulated"
        raise AttributeError(message)


class Table:
    """One machine's file systems, and what its processes have open.

    Args:
        scheduler: of the run.
        faults: of its disk.

    Attributes:
        disk: the lasting one, mounted on ``/``.
        memory: the one on ``/dev/shm``.
        scheduler: of the run.
        faults: of its disk.
        table: what is open, by descriptor.
        told: what files of the system itself say, by path.
        renamed: called when a file got its name by renaming: the name, the file, and the one that had it before.
        environ: as ``os.environ``.
        path: as ``os.path``.
    """

    def __init__(self, scheduler: Scheduler, faults: Faults) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.disk = Device(1, 1, lasting=True)
        self.memory = Device(2, 2, lasting=False)
        self.told: Callable[[str], bytes | None] = lambda _: None
        self.renamed: Callable[[str, Node, Node | None], None] = lambda _, __, ___: None
        self.environ: dict[str, str] = {}
        self.path = _Paths(self)
        self.table: dict[int, Open] = {}
        self._numbers = FIRST
        self._mount()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - constants are the real ones
        """What is no call is the real one."""
        if name in _AS_IT_IS or name.isupper() or name.startswith(("O_", "POSIX_")):
            return getattr(os, name)
        message = f"os.{name} is not simulated"
        raise AttributeError(message)

    def _mount(self) -> None:
        shm = self.memory.root
        shm.mode |= 0o1777
        dev = Directory(self.disk, 0o755)
        dev.entries["shm"] = dev.durable["shm"] = shm
        self.disk.root.entries["dev"] = self.disk.root.durable["dev"] = dev

    # -- The machine ---------------------------------------------------------------------------------

    def power_cut(self) -> None:
        """What is left when the power goes; the processes are dead by then."""
        self.table.clear()
        self.disk.root.cut(self.scheduler.random)
        root = self.memory.root
        root.entries.clear()
        root.locks.clear()

    def dropped(self, process: Process) -> None:
        """A process has died: its descriptors are closed, its locks let go."""
        for number in [number for number, one in self.table.items() if one.process is process]:
            self._drop(self.table.pop(number))

    def _drop(self, one: Open) -> None:
        one.node.locks.pop(one.number, None)

    def opened(self, number: int) -> Open:
        """The open file behind a descriptor.

        Raises:
            OSError: there is none.
        """
        one = self.table.get(number)
        if one is None:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return one

    def is_open(self, number: int) -> bool:
        """Whether there is such a descriptor."""
        return number in self.table

    def find(self, path: str | os.PathLike[str], dir_fd: int | None = None) -> Node:
        """What is at a path.

        Raises:
            OSError: nothing.
        """
        text = os.fspath(path)
        if text.startswith("/proc/self/fd/"):
            return self.opened(int(text.rpartition("/")[2])).node
        return self._walk(text, dir_fd, text)

    def _walk(self, text: str, dir_fd: int | None, whole: str) -> Node:
        absolute = text.startswith("/") or dir_fd is None
        node: Node = self.disk.root if absolute else self.opened(dir_fd or 0).node
        for name in text.split("/"):
            if name in {"", "."}:
                continue
            if not isinstance(node, Directory):
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory", whole)
            found = node.entries.get(name)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", whole)
            node = found
        return node

    def parent(self, path: str | os.PathLike[str], dir_fd: int | None) -> tuple[Directory, str]:
        """The directory that a path leads to, and the name in it.

        Raises:
            OSError: there is none.
        """
        text = os.fspath(path)
        above, _, name = text.rpartition("/")
        node = self._walk(above or ("/" if text.startswith("/") else "."), dir_fd, text)
        if not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", text)
        return node, name

    def hold(self, node: Node) -> int:
        """Open something for the process that asks."""
        self._numbers += 1
        self.table[self._numbers] = Open(self._numbers, node, self.scheduler.me().process)
        return self._numbers

    def file(self, number: int) -> File:
        """The open file.

        Raises:
            OSError: it is none.
        """
        node = self.opened(number).node
        if not isinstance(node, File):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        return node

    def touch(self, node: Node) -> None:
        """It was changed now."""
        node.changed_ns = self.scheduler.now_ns + self.scheduler.utc_ns

    def holders(self, node: Node) -> Iterator[tuple[Process, Open]]:
        """Who holds a shared lock on a file."""
        for one in self.table.values():
            if one.node is node and node.locks.get(one.number) is False:
                yield one.process, one
