"""A home's place on the machine's memory disk: what the way of an order touches, and what a halt needs first.

A home stands on a disk, and a disk can be full, read-only, frozen or dead. So nothing that must not wait is kept there.
Each home has a directory of its own in memory,

    /dev/shm/interlock-USER/DEVICE-INODE-UUID/page            the byte, see `interlock.breaker.page`
    /dev/shm/interlock-USER/DEVICE-INODE-UUID/engine-NAME     what an engine shows, see `interlock.breaker.roster`

where DEVICE and INODE are the home directory's, and USER is its owner. Whoever has the home's path finds it, without
reading anything from the home's disk. A copy of a home is another inode, so it has another directory; a home that was
made where one was deleted has another UUID, so it does not find what that one left.

It is absent after a boot. Whoever needs it makes it: a file gets its name only when it is complete, and of two that
make it at once the second one uses the first one's.

Directories and files belong to the home's owner and are nobody else's, or they are not used. ``/dev/shm`` may be
written by everybody, so anybody may have been there first: then engines are refused, with a message that says so.
Links are never followed.

The environment variable ``INTERLOCK_MEMORY`` names another memory disk than ``/dev/shm``. It has to be the same for all
engines and commands of a home. If it is not, a halt still gets through, by the page on the home's disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.breaker.grounds import mount_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SIZE", "VARIABLE", "Place", "clear", "memory_disk", "place", "places", "require_memory", "whole"]

SIZE: Final = 4096
"""Bytes of every file there."""

VARIABLE: Final = "INTERLOCK_MEMORY"
"""Of the environment: another memory disk than the usual one."""

_USUAL: Final = "/dev/shm"  # noqa: S108 - whoever was there first is looked at
_KINDS: Final = {"tmpfs", "ramfs"}
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def memory_disk() -> Path:
    """Where the memory disk is."""
    return Path(os.environ.get(VARIABLE) or _USUAL)


class Place:
    """The open directory of one home on the memory disk.

    Attributes:
        path: of the directory, for people.
    """

    __slots__ = ("_descriptor", "_owner", "path")

    def __init__(self, path: Path, descriptor: int, owner: int) -> None:
        """Use `place`."""
        self.path = path
        self._descriptor = descriptor
        self._owner = owner

    def open(self, name: str) -> int:
        """Open a file for reading and writing.

        Returns:
            The descriptor.

        Raises:
            FileNotFoundError: there is none.
            OSError: it can't be opened, or is not as it must be.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            _judge_file(self.path / name, os.fstat(descriptor), self._owner)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def make(self, name: str, data: bytes) -> None:
        """Make a file, complete, unless there is one.

        Raises:
            OSError: it can't be made.
        """
        descriptor = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)
        try:
            _give(descriptor, self._owner)
            view = memoryview(data.ljust(SIZE, b"\x00"))  # all of it: a store must find its memory there
            while view:
                view = view[os.write(descriptor, view) :]
            with contextlib.suppress(FileExistsError):
                os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=self._descriptor, follow_symlinks=True)
        finally:
            os.close(descriptor)

    def renew(self, name: str, data: bytes) -> None:
        """Make a file, complete, in place of the one that may be there; of all users only one may do that at a time.

        Raises:
            OSError: it can't be made.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)
        self.make(name, data)

    def remove(self) -> None:
        """Remove the directory, and what is in it.

        Raises:
            OSError: it can't be.
        """
        for name in os.listdir(self._descriptor):  # noqa: PTH208 - by descriptor
            os.unlink(name, dir_fd=self._descriptor)
        self.path.rmdir()

    def close(self) -> None:
        """Close the directory."""
        os.close(self._descriptor)


def _refused(path: Path, why: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{why}; remove it, while no engine of the home runs", str(path))


def _judge(path: Path, found: os.stat_result, owner: int) -> None:
    """See that a directory or file is its owner's alone.

    Raises:
        PermissionError: it isn't.
    """
    if found.st_uid != owner:
        raise _refused(path, f"belongs to user {found.st_uid}, not to {owner}, the home's owner")
    if found.st_mode & _OTHERS:
        raise _refused(path, f"mode {stat.S_IMODE(found.st_mode):04o} lets others in")


def _judge_file(path: Path, found: os.stat_result, owner: int) -> None:
    """See that it is a whole file, too, and that nobody reaches it by another name.

    Raises:
        PermissionError: it isn't.
    """
    _judge(path, found, owner)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size != SIZE:
        raise _refused(path, f"not a file of {SIZE} bytes with one name")


def _give(descriptor: int, owner: int) -> None:
    """What root makes belongs to the home's owner."""
    if os.geteuid() != owner:
        os.fchown(descriptor, owner, -1)


@contextlib.contextmanager
def _root(owner: int) -> Iterator[int]:
    """The memory disk, open.

    Raises:
        OSError: there is none, or others could exchange what is in it.
    """
    path = memory_disk()
    descriptor = os.open(path, _DIRECTORY)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in {0, owner}:
            raise _refused(path, f"belongs to user {found.st_uid}, neither to root nor to {owner}, the home's owner")
        if found.st_mode & _WRITABLE and not found.st_mode & stat.S_ISVTX:
            raise _refused(path, f"mode {stat.S_IMODE(found.st_mode):04o}: others may rename what is in it")
        yield descriptor
    finally:
        os.close(descriptor)


def require_memory(home: Path) -> None:
    """See that the memory disk is in memory.

    Raises:
        OSError: it isn't, or there is none, or nobody can tell.
    """
    with _root(home.stat().st_uid) as descriptor:
        try:
            mount = mount_of(descriptor)
        except (LookupError, ValueError) as error:
            message = f"nobody can tell what it is: {error}"
            raise OSError(errno.EINVAL, message, str(memory_disk())) from error
    if mount.kind not in _KINDS:
        message = f"is of type {mount.kind!r}, mounted on {mount.point}, and not in memory; mount a tmpfs there"
        raise OSError(errno.EINVAL, message, str(memory_disk()))


@contextlib.contextmanager
def _of_user(owner: int, *, make: bool) -> Iterator[tuple[Path, int]]:
    """The directory of one user, open."""
    name = f"interlock-{owner}"
    with _root(owner) as root:
        descriptor = _directory(root, memory_disk(), name, owner, make=make)
    try:
        yield memory_disk() / name, descriptor
    finally:
        os.close(descriptor)


def _directory(within: int, above: Path, name: str, owner: int, *, make: bool) -> int:
    made = False
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=within)
            made = True
    try:
        descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise _refused(above / name, "not a directory") from error
        raise
    try:
        if made:
            _give(descriptor, owner)
        _judge(above / name, os.fstat(descriptor), owner)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def place(home: Path, whose: str, *, make: bool = False) -> Iterator[Place]:
    """The place of a home, open.

    Args:
        home: the directory.
        whose: the home's UUID.
        make: make it, if there is none.

    Raises:
        FileNotFoundError: there is none; or there is no home, or no memory disk.
        OSError: it can't be opened or made, or is not as it must be.
    """
    seen = home.stat()
    name = f"{seen.st_dev}-{seen.st_ino}-{_plain(whose)}"
    with _of_user(seen.st_uid, make=make) as (above, user):
        descriptor = _directory(user, above, name, seen.st_uid, make=make)
    with contextlib.closing(Place(above / name, descriptor, seen.st_uid)) as opened:
        yield opened


def _plain(whose: str) -> str:
    """A UUID as it is; any other text, which may come from anywhere, as what can be a file's name."""
    return whose if _UUID.fullmatch(whose) else f"x{sha256(whose.encode(errors='replace')).hexdigest()[:32]}"


def places(home: Path) -> Iterator[Place]:
    """All places of a home: its own, and those of homes that were where it is now. For a halt, which may meet each.

    What is not as it must be is told by raising, after the others.

    Raises:
        OSError: one of them, or the way to all, can't be opened, or is not as it must be.
    """
    seen = home.stat()
    trouble: OSError | None = None
    with contextlib.suppress(FileNotFoundError), _of_user(seen.st_uid, make=False) as (above, user):
        for name in sorted(os.listdir(user)):  # noqa: PTH208 - by descriptor
            if not name.startswith(f"{seen.st_dev}-{seen.st_ino}-"):
                continue
            try:
                descriptor = _directory(user, above, name, seen.st_uid, make=False)
            except OSError as error:
                trouble = error
                continue
            with contextlib.closing(Place(above / name, descriptor, seen.st_uid)) as opened:
                yield opened
    if trouble is not None:
        raise trouble


def clear(home: Path, *, but: str | None = None) -> None:
    """Remove a home's place, and what homes left that were where it is now. What can't be removed stays.

    Args:
        home: the directory, which is about to be deleted or has just been made.
        but: leave that of the home with this UUID.
    """
    with contextlib.suppress(OSError):
        for left in places(home):
            if but is not None and left.path.name.endswith(f"-{_plain(but)}"):
                continue
            with contextlib.suppress(OSError):
                left.remove()


def whole(error: OSError) -> str:
    """What went wrong, with the file that it is about."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
