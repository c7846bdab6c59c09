"""Where the simulated parts are put beneath the real program.

No line of the program is changed for it. Its modules reach the system by the names of a few modules of the standard
library, ``os`` and ``time`` among them; for as long as a run lasts these names stand for the simulated ones, in the
modules of the rooms that are simulated and in ``pathlib``. A thread that is not of the run still gets the real ones
from ``pathlib``; but nobody else may use Interlock in this process meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import mmap
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from interlock.breaker import home, outstanding, roster, segment, watchthread
from interlock.breaker.source import code_hash
from interlock.kernel import scribe
from interlock.testing.simulation.memory import Mappings, Watcher
from interlock.testing.simulation.system import Locks, System
from interlock.testing.simulation.threads import Threads, Times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock.testing.simulation.faults import Faults
    from interlock.testing.simulation.scheduler import Scheduler

__all__ = ["Machine", "beneath"]

_ROOMS: Final = ("interlock.attach", "interlock.breaker", "interlock.journal", "interlock.kernel", "interlock.store")
_WINDOW_BYTES: Final = 1 << 15
_RESERVE_BYTES: Final = 1 << 14


class Machine:
    """The simulated parts of one run.

    Args:
        scheduler: of the run.
        faults: of its disk.
        watcher: sees what is done to memory.

    Attributes:
        system: files and processes.
        times: the clocks.
        threads: threads and what they wait for.
        boot: counts the boots.
    """

    def __init__(self, scheduler: Scheduler, faults: Faults, watcher: Watcher) -> None:
        self.scheduler = scheduler
        self.system = System(scheduler, faults)
        self.locks = Locks(scheduler, self.system)
        self.times = Times(scheduler)
        self.threads = Threads(scheduler, faults.no_thread)
        self.mappings = Mappings(scheduler, self.system, watcher)
        self.boot = 1
        self.system.told = self._told

    def reboot(self) -> None:
        """The machine is on again: other boot id, other monotonic clock."""
        self.boot += 1
        home.boot_id.cache_clear()

    def _told(self, path: str) -> bytes | None:
        """What the files in ``/proc`` say that Interlock reads."""
        parts = path.split("/")
        if path == "/proc/self/mountinfo":
            return b"1 0 0:1 / / rw - ext4 /dev/sim rw\n2 1 0:2 / /dev/shm rw - tmpfs tmpfs rw\n"
        if path == "/proc/sys/kernel/random/boot_id":
            return f"{self.boot:08d}-0000-4000-8000-000000000000\n".encode()
        if path.startswith("/proc/self/fdinfo/"):
            return f"mnt_id:\t{self.system.opened(int(parts[-1])).node.device.mount}\n".encode()
        process = self.scheduler.processes.get(int(parts[2])) if parts[-1] == "stat" else None
        if process is None:
            return None
        return f"{process.pid} (sim) S{' 0' * 18} {process.started}\n".encode()

    def holders(self, path: Path) -> list[int]:
        """As `interlock.breaker.roster.holders`."""
        try:
            node = self.system.find(path)
        except OSError:
            return []
        return sorted({process.pid for process, _ in self.system.holders(node)})


class _Files:
    """What stands for ``io`` in ``pathlib``: a file is read as it is when it is opened."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def open(self, path: str | os.PathLike[str], mode: str = "r", *_: object, **__: object) -> io.IOBase:
        if not self._machine.scheduler.inside():
            return io.open(path, mode, *_, **__)  # type: ignore[call-overload,no-any-return]  # noqa: UP020
        if set(mode) - {"r", "b"}:
            message = f"a file is not opened {mode!r} in the simulation"
            raise NotImplementedError(message)
        data = self._data(os.fspath(path))
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

    def _data(self, path: str) -> bytes:
        system = self._machine.system
        if path.startswith("/proc/"):
            data = system.told(path)
            if data is None:
                raise FileNotFoundError(2, "No such file or directory", path)
            return data
        number = system.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return system.read(number, sys.maxsize)
        finally:
            system.close(number)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is pure
        return getattr(io, name)


class _Either:
    """The simulated module for threads of the run, the real one for all others."""

    def __init__(self, scheduler: Scheduler, simulated: object, real: ModuleType) -> None:
        self._scheduler = scheduler
        self._simulated = simulated
        self._real = real

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever stands there
        return getattr(self._simulated if self._scheduler.inside() else self._real, name)


class _Signals:
    SIGKILL = signal.SIGKILL

    def __init__(self, system: System) -> None:
        self.pidfd_send_signal = system.pidfd_send_signal


class _Temporary:
    def __init__(self, system: System) -> None:
        self._system = system

    def mkdtemp(self, *, prefix: str, dir: Path) -> str:  # noqa: A002 - as the real one
        path = f"{dir}/{prefix}{self._system.urandom(4).hex()}"
        self._system.mkdir(path, 0o700)
        return path


class _Finalizers:
    """Kernels that nobody holds any more are left as they are: when that would be noticed is no matter of the seed."""

    ref = weakref.ref
    WeakSet = weakref.WeakSet
    atexit = True

    def finalize(self, *_: object) -> _Finalizers:
        return self


class _Trees:
    def rmtree(self, *_: object, **__: object) -> None:
        """A home that could not be made stays where it was being made."""


@contextlib.contextmanager
def beneath(machine: Machine) -> Iterator[None]:
    """Put a machine beneath the program. Runs can't be nested, nor go on side by side."""
    code_hash()  # read from the real files, once
    home.boot_id.cache_clear()
    collecting = gc.isenabled()
    gc.collect()  # what the real system gave must not be given back to the simulated one
    gc.disable()  # what is collected when depends on what was there before the run
    with contextlib.ExitStack() as undo:
        for place, name, value in _changes(machine):
            _set(undo, place, name, value)
        for cls in (watchthread.WatchThread, _listener()):
            cls.__bases__, was = (machine.threads.Thread,), cls.__bases__
            undo.callback(setattr, cls, "__bases__", was)
        given = watchthread.WatchThread.__init__.__kwdefaults__ or {}
        undo.callback(given.update, clock=given["clock"])
        given["clock"] = machine.times.monotonic_ns
        try:
            yield
        finally:
            gc.collect()  # while what is left behind still meets the simulated system
    home.boot_id.cache_clear()
    if collecting:
        gc.enable()


def _listener() -> type[threading.Thread]:
    from interlock.breaker.listener import Listener  # noqa: PLC0415 - by its own name

    return Listener


def _set(undo: contextlib.ExitStack, place: ModuleType, name: str, value: object) -> None:
    had = name in vars(place)
    undo.callback(setattr, place, name, getattr(place, name)) if had else undo.callback(delattr, place, name)
    setattr(place, name, value)


def _changes(machine: Machine) -> Iterator[tuple[ModuleType, str, object]]:
    """Which name of which module stands for what."""
    system = machine.system
    modules: dict[ModuleType, object] = {
        os: system,
        fcntl: machine.locks,
        mmap: machine.mappings,
        signal: _Signals(system),
        shutil: _Trees(),
        tempfile: _Temporary(system),
        threading: machine.threads,
        time: machine.times,
        weakref: _Finalizers(),
    }
    for name, module in sorted(sys.modules.items()):
        if name.startswith(_ROOMS):
            for word, value in sorted(vars(module).items()):
                if isinstance(value, ModuleType) and value in modules:
                    yield module, word, modules[value]
    yield pathlib, "os", _Either(machine.scheduler, system, os)
    yield pathlib, "io", _Files(machine)
    yield roster, "memoryview", machine.mappings.view
    yield outstanding, "holders", machine.holders
    yield scribe, "SimpleQueue", machine.threads.SimpleQueue
    yield scribe, "Future", machine.threads.Future
    yield segment, "_WINDOW_BYTES", _WINDOW_BYTES  # small, so that rooms and segments end often
    yield segment, "RESERVE_BYTES", _RESERVE_BYTES
