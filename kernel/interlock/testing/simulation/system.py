"""The system calls that Interlock makes, on the simulated disk: what stands for ``os`` and ``fcntl``.

What is not simulated is refused, and not handed to the real system. Descriptors are numbers that no real one has, and
none is used twice: what a dead process left closes nothing of another.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Any, Final, NoReturn

from interlock.testing.simulation.disk import Device, Directory, File, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.testing.simulation.faults import Faults
    from interlock.testing.simulation.scheduler import Process, Scheduler

__all__ = ["FIRST", "Locks", "Open", "System"]

FIRST: Final = 1 << 24
"""The smallest descriptor."""

_AS_IT_IS: Final = frozenset({"PathLike", "fspath", "fsencode", "fsdecode", "stat_result", "sep", "name"})
_UID: Final = 1000


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


class _Entry:
    """As `os.DirEntry`."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self._node = node

    def is_dir(self) -> bool:
        return isinstance(self._node, Directory)


class _Listing(list[_Entry]):
    def __enter__(self) -> _Listing:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Paths:
    """What of ``os.path`` asks the disk."""

    def __init__(self, system: System) -> None:
        self._system = system

    def lexists(self, path: str | os.PathLike[str]) -> bool:
        try:
            self._system.stat(path)
        except OSError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what is pure is the real one
        if name in {"join", "basename", "dirname", "split"}:
            return getattr(os.path, name)
        message = f"os.path.{name} is not simulated"
        raise AttributeError(message)


class System:
    """One machine's files, as its processes see them.

    Args:
        scheduler: of the run.
        faults: of its disk.

    Attributes:
        disk: the lasting one, mounted on ``/``.
        memory: the one on ``/dev/shm``.
        told: what files of the system itself say, by path.
        renamed: called when a file got its name by renaming: directory, name.
        environ: as ``os.environ``.
        path: as ``os.path``.
    """

    def __init__(self, scheduler: Scheduler, faults: Faults) -> None:
        self._scheduler = scheduler
        self._faults = faults
        self.disk = Device(1, 1, lasting=True)
        self.memory = Device(2, 2, lasting=False)
        self.told: Callable[[str], bytes | None] = lambda _: None
        self.renamed: Callable[[Directory, str, Node], None] = lambda _, __, ___: None
        self.environ: dict[str, str] = {}
        self.path = _Paths(self)
        self._opened: dict[int, Open] = {}
        self._numbers = FIRST
        self._mount()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - constants are the real ones
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
        self._opened.clear()
        self.disk.root.cut(self._scheduler.random)
        root = self.memory.root
        root.entries.clear()
        root.locks.clear()

    def dropped(self, process: Process) -> None:
        """A process has died: its descriptors are closed, its locks let go."""
        for number in [number for number, one in self._opened.items() if one.process is process]:
            self._drop(self._opened.pop(number))

    def _drop(self, one: Open) -> None:
        one.node.locks.pop(one.number, None)

    def opened(self, number: int) -> Open:
        """The open file behind a descriptor.

        Raises:
            OSError: there is none.
        """
        one = self._opened.get(number)
        if one is None:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return one

    def is_open(self, number: int) -> bool:
        """Whether there is such a descriptor."""
        return number in self._opened

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

    def _parent(self, path: str | os.PathLike[str], dir_fd: int | None) -> tuple[Directory, str]:
        text = os.fspath(path)
        above, _, name = text.rpartition("/")
        node = self._walk(above or ("/" if text.startswith("/") else "."), dir_fd, text)
        if not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", text)
        return node, name

    def _hold(self, node: Node) -> int:
        self._numbers += 1
        self._opened[self._numbers] = Open(self._numbers, node, self._scheduler.me().process)
        return self._numbers

    def _file(self, number: int) -> File:
        node = self.opened(number).node
        if not isinstance(node, File):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        return node

    def _touch(self, node: Node) -> None:
        node.changed_ns = self._scheduler.now_ns + self._scheduler.utc_ns

    # -- Opening and closing ---------------------------------------------------------------------------

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """As `os.open`."""
        if flags & os.O_PATH:
            self._scheduler.me()
            return self._hold(self.find(path, dir_fd))
        self._scheduler.point(f"open {os.fspath(path)}")
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            device = self.find(path, dir_fd).device
            self._faults.meet(device)
            nameless = File(device, mode)
            nameless.links = 0
            return self._hold(nameless)
        try:
            node = self.find(path, dir_fd)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            return self._hold(self._make(path, mode, dir_fd))
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        if flags & os.O_DIRECTORY and not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", os.fspath(path))
        if isinstance(node, Directory) and flags & (os.O_WRONLY | os.O_RDWR):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", os.fspath(path))
        self._faults.meet(node.device)
        number = self._hold(node)
        if flags & os.O_TRUNC:
            self._file(number).resize(0)
        return number

    def _make(self, path: str | os.PathLike[str], mode: int, dir_fd: int | None) -> File:
        above, name = self._parent(path, dir_fd)
        self._faults.meet(above.device)
        self._faults.grows(above.device)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        made = File(above.device, mode)
        self._touch(made)
        above.move({name: made})
        return made

    def fdopen(self, number: int, mode: str) -> io.BytesIO:
        """As `os.fdopen`, for reading: the file as it is now."""
        if mode != "rb":
            message = f"a file is not opened {mode!r} in the simulation"
            raise NotImplementedError(message)
        try:
            return io.BytesIO(self.pread(number, len(self._file(number).data), 0))
        finally:
            self.close(number)

    def close(self, number: int) -> None:
        """As `os.close`; what a dead process left, and what is closed when all is over, closes nothing."""
        one = self._opened.get(number)
        if one is None:
            if number >= FIRST:
                return
            raise OSError(errno.EBADF, "Bad file descriptor")
        task = self._scheduler.current
        if task is not None and self._scheduler.inside() and not task.dead and one.process is task.process:
            del self._opened[number]
            self._drop(one)

    # -- Reading and writing ---------------------------------------------------------------------------

    def read(self, number: int, length: int) -> bytes:
        """As `os.read`."""
        self._scheduler.point("read")
        one, file = self.opened(number), self._file(number)
        self._faults.meet(file.device)
        data = bytes(file.data[one.place : one.place + length])
        one.place += len(data)
        return data

    def pread(self, number: int, length: int, at: int) -> bytes:
        """As `os.pread`."""
        self._scheduler.point(f"pread {at}+{length}")
        file = self._file(number)
        self._faults.meet(file.device)
        return bytes(file.data[at : at + length])

    def write(self, number: int, data: bytes | bytearray | memoryview) -> int:
        """As `os.write`."""
        one = self.opened(number)
        taken = self.pwrite(number, data, one.place)
        one.place += taken
        return taken

    def pwrite(self, number: int, data: bytes | bytearray | memoryview, at: int) -> int:
        """As `os.pwrite`."""
        self._scheduler.point(f"pwrite {at}+{len(data)}")
        file = self._file(number)
        self._faults.meet(file.device)
        if at + len(data) > len(file.data):
            self._faults.grows(file.device)
        taken = self._faults.taken(len(data)) if file.device.lasting else len(data)
        file.write(at, bytes(data[:taken]))
        self._touch(file)
        return taken

    def ftruncate(self, number: int, size: int) -> None:
        """As `os.ftruncate`."""
        self._scheduler.point(f"ftruncate {size}")
        file = self._file(number)
        self._faults.meet(file.device)
        file.resize(size)
        self._touch(file)

    def posix_fallocate(self, number: int, at: int, length: int) -> None:
        """As `os.posix_fallocate`."""
        self._scheduler.point(f"fallocate {at}+{length}")
        file = self._file(number)
        self._faults.meet(file.device)
        if at + length > len(file.data):
            self._faults.grows(file.device)
            file.resize(at + length)
            self._touch(file)

    def fsync(self, number: int) -> None:
        """As `os.fsync`."""
        node = self.opened(number).node
        self._scheduler.point("fsync of a directory" if isinstance(node, Directory) else "fsync")
        self._faults.meet(node.device)
        if isinstance(node, File):
            self._faults.syncing(node)
            node.sync()
        elif isinstance(node, Directory):
            node.sync()

    fdatasync = fsync

    # -- Names -----------------------------------------------------------------------------------------

    def rename(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        """As `os.rename`, within one directory."""
        self._scheduler.point(f"rename to {os.fspath(dst)}")
        above, old = self._parent(src, src_dir_fd)
        there, new = self._parent(dst, dst_dir_fd)
        if above is not there:
            raise OSError(errno.EXDEV, "not simulated: renaming into another directory")
        self._faults.meet(above.device)
        node = above.entries.get(old)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(src))
        replaced = above.entries.get(new)
        if replaced is not None:
            replaced.links -= 1
        above.move({old: None, new: node})
        self.renamed(above, new, node)

    def link(self, src: str, dst: str, *, dst_dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        """As `os.link`, to a file that is open and has no name yet."""
        self._scheduler.point(f"link {dst}")
        del follow_symlinks
        node = self.find(src)
        above, name = self._parent(dst, dst_dir_fd)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", dst)
        node.links += 1
        above.move({name: node})

    def unlink(self, path: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
        """As `os.unlink`."""
        self._scheduler.point(f"unlink {os.fspath(path)}")
        above, name = self._parent(path, dir_fd)
        self._faults.meet(above.device)
        node = above.entries.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(path))
        node.links -= 1
        above.move({name: None})

    def mkdir(self, path: str | os.PathLike[str], mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """As `os.mkdir`."""
        self._scheduler.point(f"mkdir {os.fspath(path)}")
        above, name = self._parent(path, dir_fd)
        self._faults.meet(above.device)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        self._faults.grows(above.device)
        above.move({name: Directory(above.device, mode)})

    def rmdir(self, path: str | os.PathLike[str]) -> None:
        """As `os.rmdir`."""
        above, name = self._parent(path, None)
        node = above.entries.get(name)
        if not isinstance(node, Directory) or node.entries:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", os.fspath(path))
        above.move({name: None})

    def listdir(self, path: str | os.PathLike[str] | int) -> list[str]:
        """As `os.listdir`."""
        self._scheduler.point("listdir")
        return sorted(self._listed(path).entries)

    def scandir(self, path: str | os.PathLike[str]) -> _Listing:
        """As `os.scandir`."""
        self._scheduler.point("scandir")
        return _Listing(_Entry(name, node) for name, node in sorted(self._listed(path).entries.items()))

    def _listed(self, path: str | os.PathLike[str] | int) -> Directory:
        node = self.opened(path).node if isinstance(path, int) else self.find(path)
        if not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        return node

    # -- What a file is like ---------------------------------------------------------------------------

    def stat(
        self, path: str | os.PathLike[str], *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        """As `os.stat`; there are no links to follow."""
        text = os.fspath(path)
        self._scheduler.point(f"stat {text}" if follow_symlinks else f"lstat {text}")
        if text == "/proc/self/ns/pid":
            return os.stat_result((0, 4026531836, 0, 1, 0, 0, 0, 0, 0, 0))
        return self._told_of(self.find(path, dir_fd))

    def lstat(self, path: str | os.PathLike[str]) -> os.stat_result:
        """As `os.lstat`."""
        return self.stat(path, follow_symlinks=False)

    def fstat(self, number: int) -> os.stat_result:
        """As `os.fstat`."""
        self._scheduler.me()
        return self._told_of(self.opened(number).node)

    def _told_of(self, node: Node) -> os.stat_result:
        size = len(node.data) if isinstance(node, File) else 0
        at_s = node.changed_ns // 1_000_000_000
        first = (node.mode, node.number, node.device.number, node.links, _UID, _UID, size, at_s, at_s, at_s)
        return os.stat_result(first, {"st_mtime_ns": node.changed_ns, "st_ctime_ns": node.changed_ns})

    def chmod(self, path: str | os.PathLike[str], mode: int, *, follow_symlinks: bool = True) -> None:
        """As `os.chmod`; there are no links to follow."""
        del follow_symlinks
        node = self.find(path)
        node.mode = stat.S_IFMT(node.mode) | mode

    def fchmod(self, number: int, mode: int) -> None:
        """As `os.fchmod`."""
        self._scheduler.point(f"fchmod {mode:o}")
        node = self.opened(number).node
        self._faults.meet(node.device)
        node.mode = stat.S_IFMT(node.mode) | mode

    def geteuid(self) -> int:
        """Everything belongs to one user."""
        return _UID

    def getcwd(self) -> str:
        """As `os.getcwd`."""
        return "/"

    # -- Processes -------------------------------------------------------------------------------------

    def getpid(self) -> int:
        """As `os.getpid`."""
        task = self._scheduler.current
        return 0 if task is None else task.process.pid

    def urandom(self, length: int) -> bytes:
        """As `os.urandom`, by the seed."""
        return self._scheduler.random.randbytes(length)

    def pidfd_open(self, pid: int) -> int:
        """As `os.pidfd_open`."""
        self._scheduler.point(f"pidfd_open {pid}")
        process = self._scheduler.processes.get(pid)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        number = self._hold(self.memory.root)
        self._opened[number].whom = process
        return number

    def pidfd_send_signal(self, number: int, _: int) -> None:
        """As `signal.pidfd_send_signal`, with SIGKILL."""
        self._scheduler.point("SIGKILL")
        process = self.opened(number).whom
        if process is None or process.dead:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self.kill(process)

    def kill(self, process: Process) -> None:
        """End a process: its descriptors go with it."""
        process.dead = True
        self.dropped(process)
        self._scheduler.kill(process)

    def holders(self, node: Node) -> Iterator[tuple[Process, Open]]:
        """Who holds a shared lock on a file."""
        for one in self._opened.values():
            if one.node is node and node.locks.get(one.number) is False:
                yield one.process, one


class Locks:
    """What stands for ``fcntl``: locks of open file descriptions.

    Args:
        scheduler: of the run.
        system: of its machine.
    """

    LOCK_SH: Final = 1
    LOCK_EX: Final = 2
    LOCK_NB: Final = 4
    LOCK_UN: Final = 8

    def __init__(self, scheduler: Scheduler, system: System) -> None:
        self._scheduler = scheduler
        self._system = system

    def flock(self, number: int, how: int) -> None:
        """As `fcntl.flock`."""
        task = self._scheduler.current
        if how & self.LOCK_UN and (task is None or not self._system.is_open(number)):
            return  # it was dropped with its process
        self._scheduler.point(f"flock {how}")
        one = self._system.opened(number)
        locks = one.node.locks
        if how & self.LOCK_UN:
            locks.pop(number, None)
            return
        alone = bool(how & self.LOCK_EX)
        while any(other != number and (alone or theirs) for other, theirs in locks.items()):
            if how & self.LOCK_NB:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            self._scheduler.wait(self._scheduler.now_ns + 1_000_000, "for a file lock")
        locks[number] = alone

    def __getattr__(self, name: str) -> NoReturn:
        """Nothing else is simulated."""
        message = f"fcntl.{name} is not simulated"
        raise AttributeError(message)
