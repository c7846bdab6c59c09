"""Mapped memory: what stands for ``mmap``, and for a `memoryview` of it. Every look and every write is a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from interlock.testing.simulation.disk import File

if TYPE_CHECKING:
    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.system import System
    from interlock.testing.simulation.tasks import Process

__all__ = ["Map", "Mappings", "Watcher"]

_WORD: Final = 8


class Watcher(Protocol):
    """Who sees what is done to memory."""

    def looked(self, file: File, at: int, value: int) -> None:
        """A thread has read a byte."""

    def wrote(self, file: File, at: int, data: bytes) -> None:
        """A thread has written."""


class Map:
    """A mapping of one file in one process."""

    __slots__ = ("_base", "_file", "_length", "_mappings", "_process")

    def __init__(self, mappings: Mappings, file: File, base: int, length: int, process: Process) -> None:
        self._mappings: Mappings | None = mappings
        self._file = file
        self._base = base
        self._length = length
        self._process = process

    def _open(self) -> Mappings:
        if self._mappings is None:
            message = "mmap closed or invalid"
            raise ValueError(message)
        return self._mappings

    def __getitem__(self, at: int | slice) -> Any:  # noqa: ANN401 - an integer or bytes, as the real one
        """Read."""
        mappings = self._open()
        if isinstance(at, slice):
            start, stop, _ = at.indices(self._length)
            mappings.point(self._process, f"read memory {start}+{stop - start}")
            return bytes(self._file.data[self._base + start : self._base + stop])
        mappings.point(self._process, f"look {at}")
        value = self._file.data[self._base + at]
        mappings.watcher.looked(self._file, self._base + at, value)
        return value

    def __setitem__(self, at: int | slice, new: int | bytes | bytearray) -> None:
        """Write."""
        start = at.indices(self._length)[0] if isinstance(at, slice) else at
        data = bytes([new]) if isinstance(new, int) else bytes(new)
        mappings = self._open()
        if isinstance(at, slice) and at.indices(self._length)[1] - start != len(data):
            message = "mmap slice assignment is wrong size"
            raise IndexError(message)
        if mappings.point(self._process, f"write memory {start}+{len(data)}"):
            self._file.write(self._base + start, data)
            mappings.watcher.wrote(self._file, self._base + start, data)

    def __len__(self) -> int:
        """Its size."""
        return self._length

    def close(self) -> None:
        """Unmap."""
        self._mappings = None


class View:
    """A `memoryview` of a mapping, of bytes or of words."""

    __slots__ = ("_map", "_size", "_start", "_stop")

    def __init__(self, of: Map, start: int, stop: int, size: int = 1) -> None:
        self._map = of
        self._start = start
        self._stop = stop
        self._size = size

    def cast(self, kind: str) -> View:
        """As words of eight bytes."""
        if kind != "Q":
            message = f"not simulated: a view of {kind!r}"
            raise ValueError(message)
        return View(self._map, self._start, self._stop, _WORD)

    def _place(self, at: int) -> slice:
        start = self._start + at * self._size
        if not self._start <= start < self._stop:
            message = "index out of bounds"
            raise IndexError(message)
        return slice(start, start + self._size)

    def __getitem__(self, at: int | slice) -> Any:  # noqa: ANN401 - a part of it, or an integer
        """Look."""
        if isinstance(at, slice):
            start, stop, _ = at.indices((self._stop - self._start) // self._size)
            return View(self._map, self._start + start * self._size, self._start + stop * self._size, self._size)
        return int.from_bytes(self._map[self._place(at)], "little")

    def __setitem__(self, at: int, new: int) -> None:
        """Show."""
        self._map[self._place(at)] = int(new).to_bytes(self._size, "little")


class Mappings:
    """What stands for the module ``mmap``.

    Args:
        scheduler: of the run.
        system: of its machine.

    Attributes:
        watcher: sees what is looked at and written.
    """

    ALLOCATIONGRANULARITY: Final = 4096

    def __init__(self, scheduler: Scheduler, system: System, watcher: Watcher) -> None:
        self._scheduler = scheduler
        self._system = system
        self.watcher = watcher

    def mmap(self, number: int, length: int, *, offset: int = 0) -> Map:
        """As `mmap.mmap`."""
        one = self._system.opened(number)
        if not isinstance(one.node, File) or len(one.node.data) < offset + length:
            message = "mmap length is greater than file size"
            raise ValueError(message)
        return Map(self, one.node, offset, length, one.process)

    def point(self, process: Process, what: str) -> bool:
        """A thread touches memory. False: it may not write any more, since its process is dead."""
        task = self._scheduler.current
        if task is None or task.process is not process:
            return False  # what is left of a dead process is cleared away
        self._scheduler.point(what)
        return True

    def view(self, of: object) -> Any:  # noqa: ANN401 - of a mapping ours, of all else the real one
        """As `memoryview`."""
        return View(of, 0, len(of)) if isinstance(of, Map) else memoryview(of)  # type: ignore[arg-type]
