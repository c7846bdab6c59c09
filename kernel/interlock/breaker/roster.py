"""The roster: one file for each engine of a home, which says to others who it is and how it is doing.

``engines/NAME`` is locked exclusively by the process that is attached under that name, for as long as it is attached:
so a name has one process at a time, and a file that is not locked tells of the past. It is written when an engine
attaches. What changes after that is in a file of the same shape on the machine's memory disk, made anew by each who
attaches, and mapped: the engine says in it, by plain memory writes that no disk can hold up, which sends are going on,
how far its loop has come and whether it holds the running lock. The file in the home says which file that is, and
which page in memory the engine looks at. Who has another memory disk, in another container say, can't see that part.

Whoever halts or watches the home reads both. Nothing of this is believed where safety is concerned: there the running
lock decides, and what stands here can only make a killer *less* sure.

Times are nanoseconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, dumps, loads

from interlock.breaker.files import sync_directory
from interlock.breaker.lock import FileLock
from interlock.breaker.memory import SIZE, place
from interlock.breaker.quiescence import HELD, SHOWN, SLOTS, UNNAMED
from interlock.core.modes import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Berth",
    "Engine",
    "Sending",
    "engine_name",
    "engines",
    "holders",
    "home_of",
    "is_engine_name",
    "look",
]

_MAGIC: Final = b"interlock engine 1\n"
_HOME_END: Final = len(_MAGIC) + 36
_NUMBERS_AT: Final = 128
_SLOTS_AT: Final = 1024
_SLOTS_END: Final = _SLOTS_AT + 8 * SHOWN
_TEXT_AT: Final = 2560
_LONGEST: Final = 240  # letters, of up to six bytes each in JSON
_NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_BUSY_S: Final = 0.25  # someone may just be looking
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODES: Final = (Mode.IDLE, Mode.RUNNING, Mode.HALTED)

# Where the numbers stand, counted in integers of eight bytes from _NUMBERS_AT.
_PID: Final = 0
_STARTED: Final = 1
_LOCK_INODE: Final = 2
_PAGE_INODE: Final = 3
_MODE: Final = 4
_BEATS: Final = 5
_BEAT_NS: Final = 6
_BUSY_NS: Final = 7
_NAMESPACE: Final = 8
_BEGUN: Final = 9
_DEVICE: Final = 10  # of the memory disk
_MEMORY_INODE: Final = 11  # of the page there
_SHOWN_INODE: Final = 12  # of the file there that has what changes

_SHOWN: Final = "engine-"
"""What the name of its file in memory begins with."""


def is_engine_name(name: str) -> bool:
    """Whether it can be an engine's name: it is a file's name, too."""
    return _NAME.fullmatch(name) is not None


def engine_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        ValueError: it can't.
    """
    if not is_engine_name(name):
        message = (
            f"an engine's name is 1 to 64 letters, digits, '.', '_' and '-', with a letter or digit first: {name!r}"
        )
        raise ValueError(message)
    return name


@attrs.frozen(kw_only=True)
class Sending:
    """A send that has begun and not ended, as its engine shows it.

    Attributes:
        permit: its number: the ``seq`` of its record in the engine's journal.
        for_ns: since when.
    """

    permit: int
    for_ns: int


@attrs.frozen(kw_only=True)
class Engine:
    """What the roster says of one name.

    Attributes:
        name: of the engine.
        attached: whether a process is attached under it; all that follows is of the past, if not.
        pid: of that process, in the process namespace ``namespace``.
        started: when that process began, in ticks since boot: another one is another process.
        namespace: inode of its process namespace.
        operator: who answers for it.
        run: UUID of its run.
        mode: as it was last told.
        held: whether it says that it holds the running lock.
        lock_inode: of the lock file that it has open.
        page_inode: of the home's page that it has open.
        memory: device and inode of the page in memory that it has mapped; zeros: none yet.
        shown: whether what changes can be seen from here; if not, all that follows is as if it had never been told.
        beats: heartbeats so far.
        beat_ns: when the last one was, or 0.
        busy_ns: since when the loop has been at work on one tick, or 0 while it waits for the next.
        sending: the sends that are going on, as far as the roster has room to name them.
        unnamed: how many go on besides.
    """

    name: str
    attached: bool
    pid: int
    started: int
    namespace: int
    operator: str
    run: str
    mode: Mode
    held: bool
    lock_inode: int
    page_inode: int
    memory: tuple[int, int]
    shown: bool
    beats: int
    beat_ns: int
    busy_ns: int
    sending: tuple[Sending, ...]
    unnamed: int

    def same_process(self) -> bool:
        """Whether the process that is told of is still there, and not another one with its id."""
        return self.namespace == _namespace() and self.started != 0 and _started(self.pid) == self.started


class Berth:
    """This process's place in the roster, under one name.

    Attributes:
        name: of the engine.
        slots: where `Hold` shows the sends.
    """

    __slots__ = ("_begun", "_lock", "_map", "_numbers", "_path", "_shown", "_shown_at", "name", "slots")

    def __init__(self, directory: Path, name: str, home: str) -> None:
        """Open it, or make it, and take it.

        Args:
            directory: of the roster.
            name: of the engine.
            home: the home's UUID.

        Raises:
            BlockingIOError: another process has it.
            OSError: it can't be opened, or is no such file; or the memory disk can't be used.
        """
        self.name = name
        self._path = directory / name
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            sync_directory(directory)
        self._lock = FileLock(self._path, writable=True)
        try:
            if not self._lock.exclusive(_BUSY_S) or not self._lock.same():
                message = f"{self._path}: another process is attached as {name}"
                raise BlockingIOError(message)  # noqa: TRY301 - the lock is closed below
            self._map = self._mapped(self._headed(home))
            self._numbers = memoryview(self._map)[_NUMBERS_AT:_SLOTS_AT].cast("Q")
            self._introduced()  # at once: what stood there is of the process before
        except BaseException:
            self._lock.close()
            raise
        self.slots = memoryview(self._map)[_SLOTS_AT:_SLOTS_END].cast("Q")

    def _headed(self, home: str) -> str:
        """Whose the home's file says it is; if it was just made, or its maker did not know, it does so from here on."""
        descriptor = self._lock.descriptor
        if not any(os.pread(descriptor, _HOME_END, 0)):  # just made; or its maker died, or the power went
            os.posix_fallocate(descriptor, 0, SIZE)
            os.pwrite(descriptor, _MAGIC, 0)
        whose = _whose(os.pread(descriptor, _HOME_END, 0))
        if os.fstat(descriptor).st_size != SIZE or whose is None or (home and whose not in {home, ""}):
            message = f"{self._path}: not a roster file of home {home}"
            raise OSError(message)
        os.pwrite(descriptor, home.encode(), len(_MAGIC))
        self._begun = any(os.pread(descriptor, 8, _NUMBERS_AT + 8 * _BEGUN))
        return whose or home

    def _mapped(self, whose: str) -> mmap.mmap:
        """What changes, in memory: a file of our own, since a send of who was there before may still write to its."""
        with place(self._path.parent.parent, whose, make=True) as at:
            at.renew(_SHOWN + self.name, _MAGIC + whose.encode())
            descriptor = at.open(_SHOWN + self.name)
            self._shown_at = at.path / (_SHOWN + self.name)
        try:
            found = os.fstat(descriptor)
            self._shown = (found.st_dev, found.st_ino)
            return mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    def _introduced(self) -> None:
        """Write what does not change into the home's file."""
        numbers = self._numbers
        numbers[_NAMESPACE], numbers[_STARTED], numbers[_PID] = _namespace(), _started(os.getpid()), os.getpid()
        numbers[_DEVICE], numbers[_SHOWN_INODE] = self._shown
        numbers[_BEGUN] = self._begun
        os.pwrite(self._lock.descriptor, self._map[_NUMBERS_AT:], _NUMBERS_AT)

    @property
    def begun(self) -> bool:
        """Whether a journal was begun under this name, so that an empty one is a loss."""
        return self._begun

    def begin(self) -> None:
        """The journal has its first records.

        Raises:
            OSError: it can't be written.
        """
        os.pwrite(self._lock.descriptor, (1).to_bytes(8, "little"), _NUMBERS_AT + 8 * _BEGUN)
        self._begun = True

    def introduce(self, *, operator: str, run: str, lock_inode: int, page_inode: int, memory_inode: int) -> None:
        """Say who we are.

        Args:
            operator: who answers for it; a long name is cut.
            run: UUID of the run.
            lock_inode: of the lock file that is open.
            page_inode: of the home's page that is open; 0: none.
            memory_inode: of the page in memory that is mapped; 0: none.

        Raises:
            OSError: it can't be written.
        """
        text = dumps({"operator": operator[:_LONGEST], "run": run}).ljust(SIZE - _TEXT_AT, b" ")
        self._map[_TEXT_AT:SIZE] = text
        numbers = self._numbers
        numbers[_LOCK_INODE] = lock_inode
        numbers[_PAGE_INODE] = page_inode
        numbers[_MEMORY_INODE] = memory_inode
        self._introduced()

    def tell(self, mode: Mode) -> None:
        """Say in which mode we are."""
        self._numbers[_MODE] = _MODES.index(mode)

    def beat(self) -> None:
        """The loop has come round."""
        numbers = self._numbers
        numbers[_BEATS] += 1
        numbers[_BEAT_NS] = time.monotonic_ns()

    def busy(self, since_ns: int) -> None:
        """The loop has taken a tick; 0: it is done with it."""
        self._numbers[_BUSY_NS] = since_ns

    @property
    def beats(self) -> int:
        """Heartbeats so far."""
        return self._numbers[_BEATS]

    def seen(self) -> Engine:
        """What others see of it; from memory, so that it can be looked at even if the home is gone."""
        return _told(self.name, self._map[:], attached=True, shown=True)

    def same(self) -> bool:
        """Whether the files at their paths are still these."""
        try:
            found = self._shown_at.lstat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._shown and self._lock.same()

    def close(self) -> None:
        """Give the name free. The mapping lives as long as somebody writes to it: a send may still end."""
        self._lock.close()

    def abandon(self) -> None:
        """In a forked child: the page is the parent's."""
        self._numbers = memoryview(bytearray(_SLOTS_AT)).cast("Q")


def _whose(head: bytes) -> str | None:
    """The home's UUID that a roster file begins with; empty if its maker did not know it; None: no such file."""
    if not head.startswith(_MAGIC):
        return None
    return head[len(_MAGIC) : _HOME_END].partition(b"\x00")[0].decode("ascii", "replace")


def home_of(directory: Path) -> str:
    """The home's UUID as the roster has it, or empty."""
    try:
        paths = sorted(directory.iterdir())
    except OSError:
        return ""
    for path in paths:
        with contextlib.suppress(OSError), path.open("rb") as file:
            found = _whose(file.read(_HOME_END))
            if found:
                return found
    return ""


def engines(directory: Path) -> Iterator[Engine]:
    """What the roster says, name by name. What is no roster file is left out.

    Raises:
        OSError: this process has no room left to look at all.
    """
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return
    for name in names:
        if is_engine_name(name):
            found = look(directory, name)
            if found is not None:
                yield found


def look(directory: Path, name: str) -> Engine | None:
    """What the roster says of one name; None if there is no such file, or none that can be read.

    Raises:
        OSError: this process has no room left to look at all, which says nothing of the engine.
    """
    path = directory / name
    try:
        lock = FileLock(path)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return None
    try:
        attached = not lock.shared()
        data = os.pread(lock.descriptor, SIZE, 0)
    except OSError:
        return None
    finally:
        lock.close()
    data = data.ljust(SIZE, b"\x00")
    shown = _changing(directory.parent, name, data)
    return _told(name, shown or data, attached=attached, shown=shown is not None)


def _changing(home: Path, name: str, data: bytes) -> bytes | None:
    """The file in memory that a roster file tells of; None if it can't be seen from here.

    Raises:
        OSError: this process has no room left to look at all.
    """
    whose = _whose(data)
    if whose is None:
        return None
    numbers = memoryview(data)[_NUMBERS_AT:_SLOTS_AT].cast("Q")
    try:
        with place(home, whose) as at:
            descriptor = at.open(_SHOWN + name)
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) == (numbers[_DEVICE], numbers[_SHOWN_INODE]):
                return os.pread(descriptor, SIZE, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
    return None


def _told(name: str, data: bytes, *, attached: bool, shown: bool) -> Engine:
    """What the bytes of a roster file say."""
    numbers = memoryview(data)[_NUMBERS_AT:_SLOTS_AT].cast("Q")
    slots = memoryview(data)[_SLOTS_AT:_SLOTS_END].cast("Q")
    now = time.monotonic_ns()
    text: object = None
    with contextlib.suppress(JSONDecodeError):
        text = loads(data[_TEXT_AT:])
    said = text if isinstance(text, dict) else {}
    return Engine(
        name=name,
        attached=attached,
        pid=numbers[_PID],
        started=numbers[_STARTED],
        namespace=numbers[_NAMESPACE],
        operator=str(said.get("operator", "")),
        run=str(said.get("run", "")),
        mode=_MODES[numbers[_MODE] % len(_MODES)],
        held=slots[HELD] != 0,
        lock_inode=numbers[_LOCK_INODE],
        page_inode=numbers[_PAGE_INODE],
        memory=(numbers[_DEVICE], numbers[_MEMORY_INODE]),
        shown=shown,
        beats=numbers[_BEATS],
        beat_ns=numbers[_BEAT_NS],
        busy_ns=numbers[_BUSY_NS],
        sending=tuple(
            Sending(permit=slots[at] - 1, for_ns=max(0, now - slots[at + 1]))
            for at in range(0, 2 * SLOTS, 2)
            if slots[at]
        ),
        unnamed=slots[UNNAMED],
    )


def _started(pid: int) -> int:
    """When a process began, in ticks since boot; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(fields[19])


def _namespace() -> int:
    """The inode of our process namespace; 0 where that can't be known."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def holders(path: Path) -> list[int]:
    """The processes that hold a shared lock on this very file, by inheritance too, as far as we may see.

    Linux says so of each descriptor. Nothing is asked of any file here, and who holds the lock exclusively, as a
    killer or a reset does for a moment, is not meant.
    """
    try:
        inode = path.lstat().st_ino
    except OSError:
        return []
    held = re.compile(rb"^lock:.*\bFLOCK\s+ADVISORY\s+READ\s.*:%d\s" % inode, re.MULTILINE)
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                for descriptor in (process / "fdinfo").iterdir():
                    with contextlib.suppress(OSError):
                        if held.search(descriptor.read_bytes()):
                            found.append(int(process.name))
                            break
    return found
