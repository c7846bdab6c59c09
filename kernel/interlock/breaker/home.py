"""The home: where its files are, making one, halting and resetting it from outside, and looking at it.

Everything here works on files alone, with no engine and no journal, so that any process can halt any
home that it may write. What is done here is written into the journal by the kernel that next sees it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
from orjson import loads

from interlock.breaker import latch as latches
from interlock.breaker.files import make_file, sync_directory, write_durably
from interlock.breaker.grounds import check, problems
from interlock.breaker.kill import Kill
from interlock.breaker.latch import Latch, LatchError, read_latch, write_latch
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import clear
from interlock.breaker.page import FilePage, Page, peek
from interlock.breaker.roster import engines, home_of, is_engine_name
from interlock.breaker.segment import lines, segments
from interlock.breaker.versions import Versions, parse_limits
from interlock.core.errors import HomeError, LimitsError
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.breaker.quiet import Quiet
    from interlock.breaker.roster import Engine
    from interlock.core.limits import Limits

__all__ = ["Home", "HomeError", "Now", "boot_id", "parse_limits"]

_ARM: Final = "ARM"
_LOOK_S: Final = 0.5
_PEN_S: Final = 1.0  # shorter than a halt's time-out: a reset has the running lock meanwhile
_RESET: Final = "RESET"
_SURELY_NO_LATCH: Final = {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EACCES}
"""What the system says of what is no record, whatever the disk is like."""


@attrs.frozen(kw_only=True)
class Now:
    """A moment: microseconds UTC, and nanoseconds of the monotonic clock."""

    ts_us: int
    mono_ns: int


@cache
def boot_id() -> str:
    """The id of this boot of the machine; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Home:
    """The paths of one home, and what can be done to it without an engine.

    Args:
        path: the directory.
    """

    __slots__ = ("engines", "journal", "latch", "limits", "lock", "page", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)  # not resolved: a link that is changed is a home that is replaced
        self.latch = self.path / "latch.json"
        self.page = self.path / "page"
        self.lock = self.path / "lock"
        self.limits = self.path / "limits.toml"
        self.journal = self.path / "journal"
        self.engines = self.path / "engines"

    def stream(self, engine: str) -> Path:
        """The directory of one engine's journal."""
        return self.journal / engine

    def streams(self) -> list[str]:
        """The names that have a journal."""
        try:
            return sorted(path.name for path in self.journal.iterdir() if path.is_dir() and is_engine_name(path.name))
        except OSError:
            return []

    def require(self) -> None:
        """See that there is a home at all.

        Raises:
            HomeError: there is none.
        """
        try:
            there = self.journal.is_dir()
        except OSError:
            there = False
        if not there:
            message = f"{self.path}: no home here, so nothing is permitted; make one with `interlock arm`"
            raise HomeError(HaltCode.LATCH_ABSENT, message)

    # -- Making one ------------------------------------------------------------------------------

    def arm(self, limits: bytes, *, home: str, operator: str, reason: str, now: Now) -> None:
        """Make the home, armed, in epoch 1. It appears whole or not at all.

        Args:
            limits: the bytes of the limits file; they must be valid.
            home: a fresh UUID.
            operator: who arms it.
            reason: why.
            now: the time.

        Raises:
            HomeError: something is at the path already, or it can't be written.
            LimitsError: the limits are not valid.
        """
        parse_limits(limits, "limits")
        parent = self.path.absolute().parent
        try:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                message = f"{self.path}: there is something here already; a halted home is reset, not armed again"
                raise HomeError(HaltCode.HOME_UNREADABLE, message)
            _make_parents(parent)
            building = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=parent))
            try:
                made = Home(building)
                made.journal.mkdir(mode=0o700)
                made.engines.mkdir(mode=0o700)
                made.versions().approve(limits, operator=operator, reason=reason, ts_us=now.ts_us)
                write_durably(made.limits, limits)
                made.lock.touch(mode=0o600, exist_ok=False)
                Page.make(made.page, home)
                write_latch(made.latch, _armed(1, home, _ARM, operator, reason, now))
                page = Page(made.page, home)
                page.arm(page.halts)
                check(building)
                clear(building, but=home)
                building.rename(self.path)
            except BaseException:
                clear(building)
                shutil.rmtree(building, ignore_errors=True)
                raise
            sync_directory(parent)
        except (OSError, LatchError) as error:
            message = f"{self.path}: the home cannot be made: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error

    # -- Looking at it ---------------------------------------------------------------------------

    def read_limits(self) -> tuple[Limits, str]:
        """The limits, and the SHA-256 of their file.

        Raises:
            LimitsError: missing or wrong.
        """
        try:
            data = self.limits.read_bytes()
        except OSError as error:
            message = f"{self.limits}: cannot be read: {error.strerror}"
            raise LimitsError(message) from error
        return parse_limits(data, str(self.limits)), sha256(data).hexdigest()

    def versions(self) -> Versions:
        """The versions of the limits, with who approved them."""
        return Versions(self.path / "limits")

    def identity(self) -> str:
        """The home's UUID: from the latch, else from the page, the roster or the journals, else empty."""
        try:
            return read_latch(self.latch)[0].home
        except LatchError:
            return self.page_says() or home_of(self.engines) or self._journals_say()

    def _journals_say(self) -> str:
        """The home's UUID as the first line of a journal has it, or empty."""
        for name in self.streams():
            with contextlib.suppress(OSError):  # of the directory
                for path in segments(self.stream(name)):
                    with contextlib.suppress(OSError, StopIteration, ValueError, TypeError, KeyError, AttributeError):
                        origin = loads(next(lines(path)))["origin"].split("/")
                        if origin[0] == "interlock" and origin[2:] == [name]:
                            return str(origin[1])
        return ""

    def page_says(self) -> str:
        """The home's UUID as the page has it, or empty."""
        try:
            return self.page.read_bytes()[64:100].decode("ascii").strip("\x00")
        except (OSError, UnicodeDecodeError):
            return ""

    def latch_state(self) -> tuple[Latch | None, LatchError | None, int]:
        """The latch, or why there is none; and what the pages say together.

        That is 0 if there is none, and if the byte was armed for another than the latest halt.
        """
        latch: Latch | None = None
        fault: LatchError | None = None
        try:
            latch, _ = read_latch(self.latch)
        except LatchError as error:
            fault = error
        byte = 0
        try:
            byte = peek(self.page, latch.home if latch else self.identity())
        except LatchError as error:
            fault = fault or error
        return latch, fault, byte

    # -- Stopping it, and letting it start again --------------------------------------------------

    def halt(self, cause: Callable[[Latch], Latch], timeout_s: float, *, escalate: bool = False) -> Quiet:
        """Halt the home from outside: the byte, then the record, then wait until all engines are out.

        Args:
            cause: makes the halted record from the armed one.
            timeout_s: how long to wait for quiet.
            escalate: SIGKILL the engines that are not quiet by then.

        Raises:
            HomeError: there is no home, so nothing was halted.
        """
        if not os.path.lexists(self.page):  # without its journal it must stop all the more
            self.require()
        quiet = Kill(self, cause).run(timeout_s, escalate=escalate)
        return attrs.evolve(quiet, message="; ".join(filter(None, (quiet.message, *self._ground()))))

    def _ground(self) -> list[str]:
        """What is wrong with the ground that the home stands on, if that can be found out in time: a disk may hang."""
        found: list[str] = []
        looking = threading.Thread(target=lambda: found.extend(problems(self.path)), daemon=True)
        try:
            looking.start()
        except RuntimeError:  # no thread to be had
            return []
        looking.join(_LOOK_S)
        return list(found)

    def reset(
        self,
        *,
        epoch: int,
        known_epoch: int,
        operator: str,
        reason: str,
        now: Now,
        others: Callable[[], int] | None = None,
    ) -> Latch:
        """Arm a halted home again, in the next epoch. A separate `start` must follow.

        Args:
            epoch: the current epoch, as the operator knows it.
            known_epoch: the highest epoch that the journal knows, for a latch that can't be read.
            operator: who answers for it.
            reason: why it is safe now.
            now: the time.
            others: asked for the highest epoch that any other journal knows, if the latch can't be read.

        Raises:
            HomeError: not halted, another epoch, an engine that is not quiet, or it can't be written.
        """
        self.require()
        named = all(type(text) is str and text.strip() for text in (operator, reason))
        if not named or type(epoch) is not int:
            message = "a reset needs an operator, a reason and the current epoch"
            raise HomeError(HaltCode.HOME_UNREADABLE, message)
        lock = self._lock_for_reset()
        try:
            free = lock.exclusive()
            held = self._holders(lock)
            if held or not free:
                message = f"{self.path}: {held or 'somebody is'} not quiet; stop that before a reset"
                raise HomeError(HaltCode.EXTERNAL, message)
            with contextlib.closing(Pen(self.path)) as pen:
                if not pen.exclusive(_PEN_S):  # a halt is confirmed before its record is on the disk
                    message = f"{self.path}: somebody is still writing the record of a halt; try again"
                    raise HomeError(HaltCode.EXTERNAL, message)
                latch, fault = self._latch_to_reset()
                if latch is None and others is not None:
                    known_epoch = max(known_epoch, others())
                self._require_halted(latch, epoch, known_epoch)
                return self._rearm(epoch + 1, latch, fault, operator, reason, now)
        except (OSError, LatchError) as error:
            message = f"{self.path}: cannot be reset: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        finally:
            lock.close()

    def _latch_to_reset(self) -> tuple[Latch | None, LatchError | None]:
        """The latch, or why there is none; under the lock: of two resets one only finds this epoch.

        Raises:
            LatchError: the disk does not say.
        """
        try:
            return read_latch(self.latch)[0], None
        except LatchError as error:
            why = error.__cause__
            if isinstance(why, OSError) and why.errno not in _SURELY_NO_LATCH:
                raise  # it may be there, in an epoch that must not come again
            return None, error

    def _require_halted(self, latch: Latch | None, epoch: int, known_epoch: int) -> None:
        """See that there is something to reset, and that the operator knows its epoch.

        Raises:
            HomeError: there isn't, or they don't.
        """
        current = max(latch.epoch if latch else 0, known_epoch)
        armed = latch is not None and latch.state == latches.ARMED and latch.epoch >= known_epoch
        if latch is not None and armed and self.latch_state()[2] == ARMED:
            message = f"{self.path}: not halted (epoch {latch.epoch}), so there is nothing to reset"
            raise HomeError(HaltCode.EXTERNAL, message)
        if epoch != current:
            message = f"{self.path}: epoch {epoch} is not the current one; look at `interlock status`"
            raise HomeError(HaltCode.EXTERNAL, message)

    def _lock_for_reset(self) -> FileLock:
        """The lock; one that is gone is made anew, but only while no engine is attached that may hold the old one."""
        try:
            return FileLock(self.lock)
        except FileNotFoundError:
            pass
        except OSError as error:
            message = f"{self.lock}: cannot be opened, so nobody can tell who is still sending: {error.strerror}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        attached = [engine for engine in engines(self.engines) if engine.attached]
        if attached:
            message = f"{self.lock} is gone while {_names(attached)} attached; end that first"
            raise HomeError(HaltCode.EXTERNAL, message)
        try:
            make_file(self.lock)
            return FileLock(self.lock)
        except OSError as error:
            message = f"{self.lock}: cannot be made: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error

    def _holders(self, lock: FileLock) -> str:
        """Who is not quiet by the engines' own account, or holds on to another lock file than this one."""
        inode = os.fstat(lock.descriptor).st_ino
        return _names(
            [
                engine
                for engine in engines(self.engines)
                if engine.attached and (engine.held or engine.lock_inode not in {0, inode})
            ]
        )

    def _rearm(
        self, epoch: int, latch: Latch | None, fault: LatchError | None, operator: str, reason: str, now: Now
    ) -> Latch:
        home = latch.home if latch else self.identity()
        if fault is not None and os.path.lexists(self.latch):
            _set_aside(self.latch)
        try:
            FilePage(self.page, home).check()
        except LatchError:
            if os.path.lexists(self.page):
                _set_aside(self.page)
            Page.make(self.page, home)
        page = Page(self.page, home)
        try:
            if page.map[0] == ARMED:  # over a record that is no armed one: nobody may start before all is compared
                page.halt()
            page.mirror()
            halts = page.halts
            armed = _armed(epoch, home, _RESET, operator, reason, now)
            write_latch(self.latch, armed)
            page.arm(halts)
            if page.halts != halts:  # somebody halted meanwhile, and found the latch halted still: halt wins
                page.halt()
                page.mirror()
                halted = attrs.evolve(armed, state=latches.HALTED, code=HaltCode.EXTERNAL.value)
                write_latch(self.latch, attrs.evolve(halted, reason="halted while it was being reset"))
                message = f"{self.path}: halted again while it was being reset; it stays HALTED, in epoch {epoch}"
                raise HomeError(HaltCode.EXTERNAL, message)
        finally:
            page.close()
        return armed


def _names(attached: list[Engine]) -> str:
    who = [f"{engine.name} (pid {engine.pid})" for engine in attached]
    return f"{', '.join(who)} {'is' if len(who) == 1 else 'are'}" if who else ""


def _make_parents(path: Path) -> None:
    """Make the directories that lead to the home, so that nobody else may write them, whatever the umask is."""
    if not path.is_dir():
        _make_parents(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)


def _armed(epoch: int, home: str, code: str, operator: str, reason: str, now: Now) -> Latch:
    return Latch(
        state=latches.ARMED,
        epoch=epoch,
        home=home,
        code=code,
        reason=reason,
        source="operator",
        operator=operator,
        ts_us=now.ts_us,
        boot=boot_id(),
        mono_ns=now.mono_ns,
    )


def _set_aside(path: Path) -> None:
    number = 0
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
