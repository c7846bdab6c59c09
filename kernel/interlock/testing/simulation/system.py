"""The system calls that Interlock makes, on the simulated disk: what stands for ``os`` and ``fcntl``."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Final, NoReturn, Self

from interlock.testing.simulation.disk import Directory, File, Node
from interlock.testing.simulation.table import FIRST, Table

if TYPE_CHECKING:
    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.tasks import Process

__all__ = ["Locks", "System"]

_UID: Final = 1000


class _Entry:
    """As `os.DirEntry`."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self._node = node

    def is_dir(self) -> bool:
        return isinstance(self._node, Directory)


class _Listing(list[_Entry]):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class System(Table):
    """One machine's system calls, as its processes make them."""

    # -- Opening and closing ---------------------------------------------------------------------------

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """As `os.open`."""
        if flags & os.O_PATH:
            self.scheduler.me()
            return self.hold(self.find(path, dir_fd))
        self.scheduler.point(f"open {os.fspath(path)}")
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            device = self.find(path, dir_fd).device
            self.faults.meet(device)
            nameless = File(device, mode)
            nameless.links = 0
            return self.hold(nameless)
        try:
            node = self.find(path, dir_fd)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            return self.hold(self._make(path, mode, dir_fd))
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        if flags & os.O_DIRECTORY and not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", os.fspath(path))
        if isinstance(node, Directory) and flags & (os.O_WRONLY | os.O_RDWR):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", os.fspath(path))
        self.faults.meet(node.device)
        number = self.hold(node)
        if flags & os.O_TRUNC:
            self.file(number).resize(0)
        return number

    def _make(self, path: str | os.PathLike[str], mode: int, dir_fd: int | None) -> File:
        above, name = self.parent(path, dir_fd)
        self.faults.meet(above.device)
        self.faults.grows(above.device)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        made = File(above.device, mode)
        self.touch(made)
        above.move({name: made})
        return made

    def fdopen(self, number: int, mode: str) -> io.BytesIO:
        """As `os.fdopen`, for reading: the file as it is now."""
        if mode != "rb":
            message = f"a file is not opened {mode!r} in the simulation"
            raise NotImplementedError(message)
        try:
            return io.BytesIO(self.pread(number, len(self.file(number).data), 0))
        finally:
            self.close(number)

    def close(self, number: int) -> None:
        """As `os.close`; what a dead process left, and what is closed when all is over, closes nothing."""
        one = self.table.get(number)
        if one is None:
            if number >= FIRST:
                return
            raise OSError(errno.EBADF, "Bad file descriptor")
        task = self.scheduler.current
        if task is not None and self.scheduler.inside() and not task.dead and one.process is task.process:
            del self.table[number]
            self._drop(one)

    # -- Reading and writing ---------------------------------------------------------------------------

    def read(self, number: int, length: int) -> bytes:
        """As `os.read`."""
        self.scheduler.point("read")
        one, file = self.opened(number), self.file(number)
        self.faults.meet(file.device)
        data = bytes(file.data[one.place : one.place + length])
        one.place += len(data)
        return data

    def pread(self, number: int, length: int, at: int) -> bytes:
        """As `os.pread`."""
        self.scheduler.point(f"pread {at}+{length}")
        file = self.file(number)
        self.faults.meet(file.device)
        return bytes(file.data[at : at + length])

    def write(self, number: int, data: bytes | bytearray | memoryview) -> int:
        """As `os.write`."""
        one = self.opened(number)
        taken = self.pwrite(number, data, one.place)
        one.place += taken
        return taken

    def pwrite(self, number: int, data: bytes | bytearray | memoryview, at: int) -> int:
        """As `os.pwrite`."""
        self.scheduler.point(f"pwrite {at}+{len(data)}")
        file = self.file(number)
        self.faults.meet(file.device)
        if at + len(data) > len(file.data):
            self.faults.grows(file.device)
        taken = self.faults.taken(len(data)) if file.device.lasting else len(data)
        file.write(at, bytes(data[:taken]))
        self.touch(file)
        return taken

    def ftruncate(self, number: int, size: int) -> None:
        """As `os.ftruncate`."""
        self.scheduler.point(f"ftruncate {size}")
        file = self.file(number)
        self.faults.meet(file.device)
        file.resize(size)
        self.touch(file)

    def posix_fallocate(self, number: int, at: int, length: int) -> None:
        """As `os.posix_fallocate`."""
        self.scheduler.point(f"fallocate {at}+{length}")
        file = self.file(number)
        self.faults.meet(file.device)
        if at + length > len(file.data):
            self.faults.grows(file.device)
            file.resize(at + length)
            self.touch(file)

    def fsync(self, number: int) -> None:
        """As `os.fsync`."""
        node = self.opened(number).node
        self.scheduler.point("fsync of a directory" if isinstance(node, Directory) else "fsync")
        self.faults.meet(node.device)
        if isinstance(node, File):
            self.faults.syncing(node)
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
        self.scheduler.point(f"rename to {os.fspath(dst)}")
        above, old = self.parent(src, src_dir_fd)
        there, new = self.parent(dst, dst_dir_fd)
        if above is not there:
            raise OSError(errno.EXDEV, "not simulated: renaming into another directory")
        self.faults.meet(above.device)
        node = above.entries.get(old)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(src))
        replaced = above.entries.get(new)
        if replaced is not None:
            replaced.links -= 1
        above.move({old: None, new: node})
        self.renamed(new, node, replaced)

    def link(self, src: str, dst: str, *, dst_dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        """As `os.link`, to a file that is open and has no name yet."""
        self.scheduler.point(f"link {dst}")
        del follow_symlinks
        node = self.find(src)
        above, name = self.parent(dst, dst_dir_fd)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", dst)
        node.links += 1
        above.move({name: node})

    def unlink(self, path: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
        """As `os.unlink`."""
        self.scheduler.point(f"unlink {os.fspath(path)}")
        above, name = self.parent(path, dir_fd)
        self.faults.meet(above.device)
        node = above.entries.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(path))
        node.links -= 1
        above.move({name: None})

    def mkdir(self, path: str | os.PathLike[str], mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """As `os.mkdir`."""
        self.scheduler.point(f"mkdir {os.fspath(path)}")
        above, name = self.parent(path, dir_fd)
        self.faults.meet(above.device)
        if name in above.entries:
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path))
        self.faults.grows(above.device)
        above.move({name: Directory(above.device, mode)})

    def rmdir(self, path: str | os.PathLike[str]) -> None:
        """As `os.rmdir`."""
        above, name = self.parent(path, None)
        node = above.entries.get(name)
        if not isinstance(node, Directory) or node.entries:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", os.fspath(path))
        above.move({name: None})

    def listdir(self, path: str | os.PathLike[str] | int) -> list[str]:
        """As `os.listdir`."""
        self.scheduler.point("listdir")
        return sorted(self._listed(path).entries)

    def scandir(self, path: str | os.PathLike[str]) -> _Listing:
        """As `os.scandir`."""
        self.scheduler.point("scandir")
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
        self.scheduler.point(f"stat {text}" if follow_symlinks else f"lstat {text}")
        if text == "/proc/self/ns/pid":
            return os.stat_result((0, 4026531836, 0, 1, 0, 0, 0, 0, 0, 0))
        return self._told_of(self.find(path, dir_fd))

    def lstat(self, path: str | os.PathLike[str]) -> os.stat_result:
        """As `os.lstat`."""
        return self.stat(path, follow_symlinks=False)

    def fstat(self, number: int) -> os.stat_result:
        """As `os.fstat`."""
        self.scheduler.me()
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
        self.scheduler.point(f"fchmod {mode:o}")
        node = self.opened(number).node
        self.faults.meet(node.device)
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
        task = self.scheduler.current
        return 0 if task is None else task.process.pid

    def urandom(self, length: int) -> bytes:
        """As `os.urandom`, by the seed."""
        return self.scheduler.random.randbytes(length)

    def pidfd_open(self, pid: int) -> int:
        """As `os.pidfd_open`."""
        self.scheduler.point(f"pidfd_open {pid}")
        process = self.scheduler.processes.get(pid)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        number = self.hold(self.memory.root)
        self.table[number].whom = process
        return number

    def pidfd_send_signal(self, number: int, _: int) -> None:
        """As `signal.pidfd_send_signal`, with SIGKILL."""
        self.scheduler.point("SIGKILL")
        process = self.opened(number).whom
        if process is None or process.dead:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self.kill(process)

    def kill(self, process: Process) -> None:
        """End a process: its descriptors go with it."""
        process.dead = True
        self.dropped(process)
        self.scheduler.kill(process)


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
