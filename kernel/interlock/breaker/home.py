"""The home: where its files are, making one, halting and resetting it from outside, and looking at it.

Everything here works on files alone, with no engine and no journal, so that any process can halt any
home that it may write. What is done here is written into the journal by the kernel that next sees it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.files import sync_directory, write_durably
from interlock.breaker.latch import Latch, LatchError, read_latch, write_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.page import Page
from interlock.breaker.segment import Segment, segment_name
from interlock.core.errors import InterlockError, LimitsError
from interlock.core.limits import Limits
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Home", "HomeError", "Now", "Quiet", "boot_id"]

_ARM: Final = "ARM"
_RESET: Final = "RESET"


class HomeError(InterlockError):
    """The home can't be used as asked; nothing is permitted. ``code`` is a stable code."""

    def __init__(self, code: HaltCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@attrs.frozen(kw_only=True)
class Now:
    """A moment: microseconds UTC, and nanoseconds of the monotonic clock."""

    ts_us: int
    mono_ns: int


@attrs.frozen(kw_only=True)
class Quiet:
    """What a halt from outside reached.

    Attributes:
        stopped: whether the page byte was set, so that no engine begins a send any more. If not, an engine
            sees the halt at its next heartbeat at the latest, if ``durable``, and not at all, if not.
        durable: whether the latch on disk is known not to be armed.
        confirmed: whether every engine attached to the home is known to have stopped sending.
        message: what went wrong or is still awaited, for people.
    """

    stopped: bool
    durable: bool
    confirmed: bool
    message: str
    waiting: tuple[attrs.AttrsInstance, ...] = ()
    killed: tuple[attrs.AttrsInstance, ...] = ()


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

    __slots__ = ("engines", "journal", "latch", "limits", "lock", "page", "path", "writer_lock")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.latch = self.path / "latch.json"
        self.page = self.path / "page"
        self.lock = self.path / "lock"
        self.limits = self.path / "limits.toml"
        self.engines = self.path / "engines"
        self.journal = self.path / "journal"
        self.writer_lock = self.journal / "writer.lock"

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
            parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=parent))
            try:
                made = Home(building)
                made.journal.mkdir(mode=0o700)
                Segment(made.journal / segment_name(0)).close()  # so that a journal that is gone can be told
                write_durably(made.limits, limits)
                made.lock.touch(mode=0o600, exist_ok=False)
                made.writer_lock.touch(mode=0o600, exist_ok=False)
                Page.make(made.page, home)
                write_latch(made.latch, _armed(1, home, _ARM, operator, reason, now))
                Page(made.page, home).arm()
                sync_directory(made.journal)
                building.rename(self.path)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
            sync_directory(parent)
        except OSError as error:
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

    def identity(self) -> str:
        """The home's UUID: from the latch, else from the page, else empty."""
        try:
            return read_latch(self.latch)[0].home
        except LatchError:
            return self._page_says()

    def _page_says(self) -> str:
        """The home's UUID as the page has it, or empty."""
        try:
            return self.page.read_bytes()[64:100].decode("ascii").strip("\x00")
        except (OSError, UnicodeDecodeError):
            return ""

    def latch_state(self) -> tuple[Latch | None, LatchError | None, int]:
        """The latch, or why there is none; and the page byte, 0 if there is no page."""
        latch: Latch | None = None
        fault: LatchError | None = None
        try:
            latch, _ = read_latch(self.latch)
        except LatchError as error:
            fault = error
        byte = 0
        try:
            page = Page(self.page, latch.home if latch else self.identity())
            byte = page.map[0]
            page.map.close()
        except LatchError as error:
            fault = fault or error
        return latch, fault, byte

    # -- Stopping it, and letting it start again --------------------------------------------------

    def halt(
        self,
        cause: Callable[[Latch], Latch],
        timeout_s: float,
        escalate: bool = False,  # noqa: ARG002, FBT001, FBT002 - the kill is built elsewhere
    ) -> Quiet:
        """Halt the home from outside: the byte, then the record, then wait until all engines are out.

        Args:
            cause: makes the halted record from the armed one.
            timeout_s: how long to wait for quiet.
            escalate: SIGKILL what did not drain by then.
        """
        if not os.path.lexists(self.page):  # without its journal it must stop all the more
            self.require()
        problems: list[str] = []
        stopped = False
        left: Latch | None = None
        try:
            page = Page(self.page, whose := self._page_says())  # whatever the latch says: engines look at the page
            try:
                if page.map[0] == ARMED:  # else another's record may stand there
                    left = cause(_armed(1, whose, _ARM, "", "", Now(ts_us=0, mono_ns=0)))
                    page.leave(left.encode())
            except TypeError as error:
                problems.append(f"the cause is no text: {error}")
            finally:
                page.halt()
            page.map.close()
            stopped = True
        except LatchError as error:
            problems.append(str(error))
        latch: Latch | None = None
        durable = True
        try:
            latch, _ = read_latch(self.latch)
            durable = latch.state == latches.HALTED
        except LatchError as error:
            problems.append(str(error))  # which is a halt as well, unless others can read it
            durable = error.code is not HaltCode.HOME_UNREADABLE
        if latch is not None and latch.state == latches.ARMED:
            try:
                mine = left is not None and left.home == latch.home
                write_latch(self.latch, attrs.evolve(left, epoch=latch.epoch) if left and mine else cause(latch))
                durable = True
            except (OSError, TypeError) as error:
                problems.append(f"the latch is not yet durable: {error}")
        elif not os.path.lexists(self.latch):
            durable = False  # absent is halted; but someone may put an old one back
        confirmed = self._quiet(timeout_s, problems, cause)
        return Quiet(stopped=stopped, durable=durable, confirmed=confirmed, message="; ".join(problems))

    def _quiet(self, timeout_s: float, problems: list[str], cause: Callable[[Latch], Latch]) -> bool:
        """Wait until all are out, and see under the lock that it is still halted: a reset holds the lock, too."""
        try:
            lock = FileLock(self.lock)
        except OSError as error:
            problems.append(f"{self.lock}: {error.strerror}: nobody can tell who is still sending")
            return False
        try:
            if lock.exclusive(timeout_s):
                return self._still_halted(problems, cause)
            problems.append(f"still attached and not quiet: {self.holder()}")
            return False
        finally:
            lock.close()

    def _still_halted(self, problems: list[str], cause: Callable[[Latch], Latch]) -> bool:
        """A reset that was under way when we halted may have written its latch after we read it: halt again."""
        try:
            latch, _ = read_latch(self.latch)
        except LatchError:
            return True
        if latch.state != latches.ARMED:
            return True
        try:
            page = Page(self.page, latch.home)
            page.halt()
            page.map.close()
            write_latch(self.latch, cause(latch))
        except (OSError, LatchError, TypeError) as error:
            problems.append(f"armed by a reset meanwhile, and not halted again: {error}")
            return False
        return True

    def holder(self) -> str:
        """Which engine is attached, by its own account."""
        try:
            return self.writer_lock.read_text(encoding="utf-8").strip() or "an engine"
        except (OSError, UnicodeDecodeError):
            return "an engine"

    def reset(self, *, epoch: int, known_epoch: int, operator: str, reason: str, now: Now) -> Latch:
        """Arm a halted home again, in the next epoch. A separate `start` must follow.

        Args:
            epoch: the current epoch, as the operator knows it.
            known_epoch: the highest epoch that the journal knows, for a latch that can't be read.
            operator: who answers for it.
            reason: why it is safe now.
            now: the time.

        Raises:
            HomeError: not halted, another epoch, an engine that is not quiet, or it can't be written.
        """
        self.require()
        named = all(type(text) is str and text.strip() for text in (operator, reason))
        if not named or type(epoch) is not int:
            message = "a reset needs an operator, a reason and the current epoch"
            raise HomeError(HaltCode.HOME_UNREADABLE, message)
        latch: Latch | None = None
        fault: LatchError | None = None
        try:
            latch, _ = read_latch(self.latch)
        except LatchError as error:
            fault = error
        lock = self._lock_for_reset()
        try:
            if not lock.exclusive():
                message = f"{self.path}: {self.holder()} is not quiet; stop it before a reset"
                raise HomeError(HaltCode.EXTERNAL, message)
            current = max(latch.epoch if latch else 0, known_epoch)
            armed = latch is not None and latch.state == latches.ARMED and latch.epoch >= known_epoch
            if latch is not None and armed and self.latch_state()[2] == ARMED:
                message = f"{self.path}: not halted (epoch {latch.epoch}), so there is nothing to reset"
                raise HomeError(HaltCode.EXTERNAL, message)
            if epoch != current:
                message = f"{self.path}: epoch {epoch} is not the current one; look at `interlock status`"
                raise HomeError(HaltCode.EXTERNAL, message)
            return self._rearm(current + 1, latch, fault, operator, reason, now)
        except (OSError, LatchError) as error:
            message = f"{self.path}: cannot be reset: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        finally:
            lock.close()

    def _lock_for_reset(self) -> FileLock:
        """The lock; one that is gone is made anew, but only while no engine is attached that may hold the old one."""
        try:
            return FileLock(self.lock)
        except FileNotFoundError:
            pass
        except OSError as error:
            message = f"{self.lock}: cannot be opened, so nobody can tell who is still sending: {error.strerror}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        try:
            writer = FileLock(self.writer_lock)
        except OSError as error:
            message = f"{self.writer_lock}: cannot be opened, so nobody can tell who is attached: {error.strerror}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        try:
            if not writer.exclusive():
                message = f"{self.lock} is gone while {writer.holder()} is attached; end that first"
                raise HomeError(HaltCode.EXTERNAL, message)
            self.lock.touch(mode=0o600)
            return FileLock(self.lock)
        except OSError as error:
            message = f"{self.lock}: cannot be made: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
        finally:
            writer.close()

    def _rearm(
        self, epoch: int, latch: Latch | None, fault: LatchError | None, operator: str, reason: str, now: Now
    ) -> Latch:
        home = latch.home if latch else self.identity()
        if fault is not None and os.path.lexists(self.latch):
            _set_aside(self.latch)
        try:
            Page(self.page, home).check()
        except LatchError:
            if os.path.lexists(self.page):
                _set_aside(self.page)
            Page.make(self.page, home)
        page = Page(self.page, home)
        try:
            halts = page.halts
            armed = _armed(epoch, home, _RESET, operator, reason, now)
            write_latch(self.latch, armed)
            page.arm()
            if page.halts != halts:  # somebody halted meanwhile, and found the latch halted still: halt wins
                page.halt()
                halted = attrs.evolve(armed, state=latches.HALTED, code=HaltCode.EXTERNAL.value)
                write_latch(self.latch, attrs.evolve(halted, reason="halted while it was being reset"))
                message = f"{self.path}: halted again while it was being reset; it stays HALTED, in epoch {epoch}"
                raise HomeError(HaltCode.EXTERNAL, message)
        finally:
            page.map.close()
        return armed


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


def parse_limits(data: bytes, where: str) -> Limits:
    """Limits from the bytes of a TOML file; its fractions are read as exact decimals.

    Raises:
        LimitsError: with file, and line or key.
    """
    try:
        table = tomllib.loads(data.decode("utf-8"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:  # also a number that is too large to read
        message = f"{where}: not valid TOML: {error}"
        raise LimitsError(message) from error
    return Limits.from_mapping(table, where)
