"""The ground that a home stands on: which file system, whose directory, and what else may lead to its files.

Everything that `AckMeansQuiescent` says rests on two things that the kernel of *one* machine does: `flock` excludes,
and what one process writes into a mapped page another one reads. And it is said of a *path*, which must lead every
engine and every killer to the same files. So an engine refuses a home

- on a network file system, where locks and pages may stop at the machine's edge; on FUSE, where a program decides;
  and on any type that is not known to be sound: the list says what is allowed, not what is forbidden;
- that has a symbolic link as its last name. Such links are made to be changed; an engine that came by the old one and a
  killer that goes by the new one would meet different homes, and the killer be told that all is quiet. On the way
  there links may be, if nobody but root and the owner could change them;
- below a directory that others own, or may write to without its sticky bit: they could move the home away, and
  put another one of ours in its place;
- that is not wholly its own user's, is writable by others, or has a lock that others may open: whoever can open a file
  for reading can also lock it. Group bits tell of access control lists, too: they hold the list's mask;
- in which a file has a second name (hard link), is a link, or is mounted from elsewhere: what is done there would
  happen here, or what is done here there.

What is missing is no matter of the ground, nor a latch or page that is no file: they are witnesses, and without one an
engine comes up HALTED, which is more than to be refused: cancels pass.

**Who halts is refused nothing.** Whoever can set the byte may halt; `problems` only tells what is wrong, and is
to be asked after the act, because looking at a dead network file system can hang.

**What a race can do.** The way is walked descriptor by descriptor, links are opened and never followed, and what is
judged is what is open: no renaming meanwhile can show one thing and leave another. Between two files, and from the
check to their opening by path, things can change; but once the check has passed, every name on the way and below can
be changed by root and by the owner alone, and what they do is seen at the next look. What it can't see: a descriptor
that somebody opened while the modes were still wider, and other machines on a shared block device.

Users are told by number: a name may have to be asked for over the network.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker.lock import FileLock
from interlock.core.errors import HomeError
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Mount", "check", "mount_of", "mounts", "probe", "problems", "unsound"]

_LOCAL: Final = frozenset(
    "bcachefs btrfs ext2 ext3 ext4 f2fs jfs nilfs2 overlay ramfs reiserfs tmpfs xfs zfs".split()  # noqa: SIM905
)
_SHARED: Final = frozenset(
    "9p acfs afs beegfs ceph cifs coda cvfs davfs gfs gfs2 glusterfs gpfs lustre mvfs ncpfs nfs nfs4 ocfs2 "  # noqa: SIM905
    "orangefs panfs prl_fs pvfs2 smb3 smbfs vboxsf virtiofs vmhgfs wekafs".split()
)

_PATH_ONLY: Final[int] = getattr(os, "O_PATH", 0)  # Linux has it
_LOOK: Final = _PATH_ONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS: Final = 40  # as many as Linux follows
_LOOKS: Final = 20  # at a file that others replace meanwhile
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_READABLE: Final = stat.S_IRGRP | stat.S_IROTH
_SEARCHABLE: Final = stat.S_IXGRP | stat.S_IXOTH
_FILES: Final = ("latch.json", "page", "lock", "limits.toml")
_WITNESSES: Final = ("latch.json", "page")


# -- The file system ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Mount:
    """A mounted file system.

    Attributes:
        kind: its type, as the operating system calls it; FUSE's are ``fuse``, ``fuseblk`` and ``fuse.NAME``.
        point: the directory that it is mounted on.
    """

    kind: str
    point: str


def mounts(table: str) -> dict[int, Mount]:
    """Read a ``/proc/PID/mountinfo``: for each mount's number what it is. A line that makes no sense is left out."""
    found = {}
    for line in table.split("\n"):  # not splitlines, which splits at more than that
        fields = line.split(" ")
        if "-" in fields[6:-1] and fields[0].isdecimal():
            kind = fields[fields.index("-", 6) + 1]
            found[int(fields[0])] = Mount(kind=_plain(kind), point=_plain(fields[4]))
    return found


def _plain(field: str) -> str:
    """A field without its escapes: what would end it is written as a backslash and three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def mount_of(descriptor: int) -> Mount:
    """The mount through which a file was opened, by its number: no comparing of paths, nor asking the file system.

    Raises:
        LookupError: it is not among those that this process can see.
        OSError: ``/proc`` can't be read.
        ValueError: it makes no sense.
    """
    return mounts(_read("/proc/self/mountinfo"))[_number(descriptor)]


def _number(descriptor: int) -> int:
    """The number of the mount through which a file was opened."""
    for line in _read(f"/proc/self/fdinfo/{descriptor}").split("\n"):
        name, _, number = line.partition(":")
        if name == "mnt_id":
            return int(number)
    message = f"/proc/self/fdinfo/{descriptor}: names no mount"
    raise ValueError(message)


def _read(path: str) -> str:
    return os.fsdecode(Path(path).read_bytes())


def unsound(mount: Mount) -> str | None:
    """Why a home can't be on this file system; None if it can."""
    if mount.kind in _LOCAL:
        return None
    where = f"is on a file system of type {mount.kind!r}, mounted on {mount.point}"
    if mount.kind in _SHARED:
        return (
            f"{where}: other machines may use it as well, and locks and shared memory may not reach them, so "
            "nobody could tell who is still sending; put the home on a local disk"
        )
    if mount.kind.partition(".")[0] in {"fuse", "fuseblk"}:
        return (
            f"{where}: there a program decides what locks and shared memory do, perhaps over a network, so "
            "nobody could tell who is still sending; put the home on a local disk"
        )
    return (
        f"{where}, of which is not known whether locks and shared memory work there; put the home on one of these: "
        f"{', '.join(sorted(_LOCAL))}"
    )


# -- For engines, and for all others -----------------------------------------------------------------


def check(home: Path, *, engine: str | None = None, settled: bool = False) -> None:
    """See that an engine of this process's user may stand on this home.

    Args:
        home: the directory.
        engine: look at this engine's files in roster, stops and journal only; at all, if None.
        settled: leave out the file system, because it was seen to be sound and the files to be the same since.

    Raises:
        HomeError: it may not; the message says why, and what to do.
    """
    found = _Survey(home, os.geteuid(), "as which this process runs", engine, settled=settled).run()
    if found:
        raise HomeError(HaltCode.HOME_UNREADABLE, "; ".join(found))


def problems(home: Path) -> list[str]:
    """What an engine of the home's owner would be refused for. It never raises; it can hang on a dead network disk."""
    return _Survey(home, None, "whose directory it is in", None, settled=False).run()


def probe(path: Path) -> None:
    """Try whether locks work: the one that this process holds exclusively on a file must keep a second description out.

    Raises:
        HomeError: it doesn't, or nobody can tell.
    """
    try:
        lock = FileLock(path)
        try:
            excluded = not lock.shared()
        finally:
            lock.close()
    except OSError as error:
        message = f"{path}: cannot be locked: {error.strerror}; put the home on a local disk"
        raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
    if not excluded:
        message = f"{path}: locks do not exclude each other on this file system; put the home on a local disk"
        raise HomeError(HaltCode.HOME_UNREADABLE, message)


# -- The survey ----------------------------------------------------------------------------------------


class _Survey:
    """One look at one home, and what it finds wrong.

    Args:
        home: the directory.
        owner: whose it has to be; None for whoever owns the directory.
        whose: how to say that, after "user N".
        engine: whose files, or None.
        settled: leave out the file system.
    """

    def __init__(self, home: Path, owner: int | None, whose: str, engine: str | None, *, settled: bool) -> None:
        self._home = home
        self._asked = owner
        self._whose = whose
        self._engine = engine
        self._settled = settled
        self._owner: int
        self._mount: int
        self._exposed: bool
        self._found: list[str] = []

    def run(self) -> list[str]:
        """Look at everything, from the root down."""
        if not _PATH_ONLY:
            return [f"{self._home}: a home needs Linux, whose locks, mappings and /proc it is made for"]
        try:
            with contextlib.ExitStack() as opened:
                descriptor = self._walk(opened)
                if descriptor is not None:
                    self._contents(descriptor, opened)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            self._found.append(f"{self._home}: cannot be looked at: {error}")
        return self._found

    def _walk(self, opened: contextlib.ExitStack) -> int | None:
        """Go from the root to the home, name by name; its descriptor, or None if there is nothing to look at."""
        here, path, links = opened.enter_context(_looking("/")), "/", 0
        rest = list(self._home.absolute().parts[:0:-1])
        way = [(path, os.fstat(here))]
        while rest:
            name = rest.pop()
            below, where = opened.enter_context(_looking(name, here)), os.path.join(path, name)  # noqa: PTH118 - '..' stays
            if not rest and not self._settled and not self._sound(below):  # before anything is asked of it
                return None
            seen = os.fstat(below)
            way.append((where, seen))
            if not stat.S_ISLNK(seen.st_mode):
                here, path = below, where
                continue
            links += 1
            if not rest or links > _MOST_LINKS:
                what = "too many symbolic links lead there" if rest else "is a symbolic link, which can be changed"
                self._found.append(f"{self._home}: {what}: name the directory itself, everywhere")
                return None
            target = os.readlink("", dir_fd=below)
            rest += [part for part in reversed(target.split("/")) if part not in {"", "."}]
            if target.startswith("/"):
                here, path = opened.enter_context(_looking("/")), "/"
        self._owner = way[-1][1].st_uid if self._asked is None else self._asked
        self._exposed = bool(way[-1][1].st_mode & _SEARCHABLE)
        for where, seen in way[:-1]:
            self._judge_way(where, seen)
        self._judge(str(self._home), way[-1][1], directory=True)
        return here

    def _sound(self, descriptor: int) -> bool:
        """Whether the home is on a file system that it may be on."""
        try:
            why = unsound(mount_of(descriptor))
            self._mount = _number(descriptor)
        except LookupError:
            why = "is on a file system that is not among this process's mounts (a chroot?), so its type is unknown"
        except (OSError, ValueError) as error:
            why = f"is on an unknown file system: Interlock needs Linux with /proc mounted: {error}"
        if why is not None:
            self._found.append(f"{self._home}: {why}")
        return why is None

    def _judge_way(self, where: str, seen: os.stat_result) -> None:
        """A directory or a link above the home: who might lead the path elsewhere?"""
        if seen.st_uid not in {0, self._owner}:
            self._found.append(
                f"{where}: belongs to user {seen.st_uid}, who could put another home at {self._home}; put it below "
                f"directories of root or of user {self._owner}, {self._whose}"
            )
        elif stat.S_ISDIR(seen.st_mode) and seen.st_mode & _WRITABLE and not seen.st_mode & stat.S_ISVTX:
            self._found.append(
                f"{where}: mode {_mode(seen)}: others may write to it, and so put another home at {self._home}; "
                f"`chmod go-w {where}`"
            )

    def _contents(self, home: int, opened: contextlib.ExitStack) -> None:
        """Everything in the home that is told by name; what else is there is not read by anybody."""
        for name in _FILES:
            if name not in _WITNESSES or _is(stat.S_IFREG, name, home):  # they are opened as files or not at all
                self._file(name, home, self._home / name, private=name == "lock")
        roster = self._directory("engines", home, self._home / "engines", opened)
        if roster is not None:
            for name in self._names(roster):
                self._file(name, roster, self._home / "engines" / name, private=True)
        for kind in ("stops", "checkpoints", "anchors"):
            self._each_within(kind, home, opened)
        self._within("keys", home, self._home / "keys")
        self._within("limits", home, self._home / "limits", many=True)
        top = self._home / "journal"
        journal = self._directory("journal", home, top, opened)
        if journal is None:
            return
        for name in self._names(journal):
            if not _is(stat.S_IFDIR, name, journal):
                self._file(name, journal, top / name)
                continue
            self._within(name, journal, top / name)

    def _each_within(self, kind: str, home: int, opened: contextlib.ExitStack) -> None:
        """The directories of one kind, by engine."""
        top = self._home / kind
        listed = self._directory(kind, home, top, opened)
        if listed is not None:
            for name in self._names(listed):
                self._within(name, listed, top / name, many=kind != "stops")

    def _within(self, name: str, above: int, where: Path, *, many: bool = False) -> None:
        """A directory of files; of many, that nobody holds open, each is looked at once and not at every heartbeat."""
        with contextlib.ExitStack() as opened:
            listed = self._directory(name, above, where, opened)
            for inner in () if listed is None or (many and self._settled) else os.listdir(listed):  # noqa: PTH208
                self._file(inner, listed, where / inner)

    def _names(self, directory: int) -> list[str]:
        """What to look at in the roster, the stops or the journal."""
        return sorted(name for name in os.listdir(directory) if self._engine in {None, name})

    def _file(self, name: str, within: int | None, where: Path, *, private: bool = False) -> None:
        looks = 0
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as opened:
            descriptor = opened.enter_context(_looking(name, within))
            while not (seen := os.fstat(descriptor)).st_nlink and looks < _LOOKS:
                looks += 1  # just replaced, as a halt replaces the latch: what matters is what stands there now
                descriptor = opened.enter_context(_looking(name, within))
            self._judge(str(where), seen, private=private)
            self._here(descriptor, where)

    def _directory(self, name: str, within: int, where: Path, opened: contextlib.ExitStack) -> int | None:
        """Judge a directory, and open it to list it; None if it is none."""
        with contextlib.suppress(FileNotFoundError), _looking(name, within) as descriptor:
            seen = os.fstat(descriptor)
            self._judge(str(where), seen, directory=True)
            if self._here(descriptor, where) and stat.S_ISDIR(seen.st_mode):
                listed = os.open(".", os.O_RDONLY, dir_fd=descriptor)
                opened.callback(os.close, listed)
                return listed
        return None

    def _here(self, descriptor: int, where: Path) -> bool:
        """Whether it is on the home's own mount."""
        if self._settled or _number(descriptor) == self._mount:
            return True
        self._found.append(f"{where}: is mounted there from elsewhere; a home is one directory on one file system")
        return False

    def _judge(self, where: str, seen: os.stat_result, *, directory: bool = False, private: bool = False) -> None:
        """The home, or something in it."""
        if stat.S_IFMT(seen.st_mode) != (stat.S_IFDIR if directory else stat.S_IFREG):
            wanted = "directory" if directory else "file"
            self._found.append(f"{where}: is {_kind(seen)}; only the {wanted} itself may stand there")
            return
        if seen.st_uid != self._owner:
            self._found.append(
                f"{where}: belongs to user {seen.st_uid}, not to {self._owner}, {self._whose}; run engines "
                f"and commands as one user, or `chown {self._owner} {where}`"
            )
        if seen.st_mode & _WRITABLE:
            self._found.append(f"{where}: mode {_mode(seen)}: others may write to it; `chmod go-w {where}`")
        elif private and self._exposed and seen.st_mode & _READABLE:
            self._found.append(
                f"{where}: mode {_mode(seen)}: others may open it, and so hold its lock; `chmod go-rwx {where}`"
            )
        if not directory and seen.st_nlink != 1:
            self._found.append(
                f"{where}: has {seen.st_nlink} names (hard links), and what is done under another one happens here, "
                "too; remove those, or put a copy in its place"
            )


@contextlib.contextmanager
def _looking(name: str, within: int | None = None) -> Iterator[int]:
    """Open a file to look at it: it is not read, links are not followed, and nothing waits for a pipe's other end."""
    descriptor = os.open(name, _LOOK, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is(kind: int, name: str, within: int) -> bool:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode) == kind
    except FileNotFoundError:
        return False


def _kind(seen: os.stat_result) -> str:
    if stat.S_ISLNK(seen.st_mode):
        return "a symbolic link"
    if stat.S_ISDIR(seen.st_mode):
        return "a directory"
    return "a regular file" if stat.S_ISREG(seen.st_mode) else "neither a file nor a directory"


def _mode(seen: os.stat_result) -> str:
    return f"{stat.S_IMODE(seen.st_mode):04o}"
