"""The killer's side of the quiescent kill: the byte, the record, the wait, and the look again.

    SetByte     `Kill.set_byte`      emission stops: no engine begins another send
    SetFile     `Kill.write_latch`   it reaches the engines that have another memory disk, and stays if ours is lost
    WriteLatch  `Kill.write_latch`   the halt outlives every process and the machine's power
    WaitQuiet   `Kill.wait_quiet`    the running lock, exclusively: whoever held it is out
    LookAgain   `Kill.look_again`    under that lock: is it halted still? a reset holds the lock, too
    Escalate    `Kill.escalate`      SIGKILL to those that did not let go; their locks go with them

The ack is that LookAgain succeeded. File and record are written beside the wait, by a thread, because a disk may
hang: then the ack comes all the same, and says that it is not durable. For the file the ack waits a moment; without it,
it is given only if all who are attached look at the very memory in which the byte was set. Any step may be repeated by
anybody, so a second killer finishes what a dead one began.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.files import settle
from interlock.breaker.latch import Latch, LatchError, read_latch, write_latch
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import whole
from interlock.breaker.naming import with_orders
from interlock.breaker.outstanding import end, reached, strangers, waiting
from interlock.breaker.page import FilePage, Page, halt_all
from interlock.breaker.quiet import Killed, Quiet, Waiting
from interlock.breaker.roster import engines
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.breaker.home import Home

__all__ = ["Kill", "bounded", "longest_s"]

_RETRY_S: Final = 0.05
_KILL_WAIT_S: Final = 2.0
_DISK_WAIT_S: Final = 2.0
_FILE_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 86_400.0


def longest_s(timeout_s: float, *, escalate: bool) -> float:
    """How long `Kill.run` may take, with the same arguments, if nothing but the latch's disk is slow."""
    return max(bounded(timeout_s), _DISK_WAIT_S) + (2 * _KILL_WAIT_S if escalate else 0.0)


class Kill:
    """One halt of one home.

    Args:
        home: its paths.
        cause: makes the halted record from the armed one.
        page: the page as the caller has mapped it, if it has.

    Attributes:
        stopped: SetByte succeeded.
        durable: WriteLatch succeeded, or was not needed.
        again: a reset had come between, and LookAgain halted once more.
        problems: what went wrong, for people.
        killed: who got SIGKILL.
        called_ns: when this halt began; see `Quiet`, as for the next three.
        stopped_ns: when SetByte had been done.
        durable_ns: when WriteLatch had succeeded.
        confirmed_ns: when LookAgain had succeeded: the ack.
    """

    def __init__(self, home: Home, cause: Callable[[Latch], Latch], page: Page | None = None) -> None:
        self.home = home
        self.stopped = False
        self.durable = False
        self.again = False
        self.problems: list[str] = []
        self.killed: list[Killed] = []
        self.called_ns = time.monotonic_ns()
        self.stopped_ns = self.durable_ns = self.confirmed_ns = 0
        self._cause = cause
        self._mapped = page
        self._memories = set() if page is None else {page.memory}
        self._opening = threading.Lock()
        self._left: Latch | None = None
        self._lasting: Latch | None = None  # what is known to be on the disk
        self._filed = False  # by the file alone
        self._trouble = self._file_trouble = ""

    # -- SetByte -----------------------------------------------------------------------------------

    def set_byte(self) -> None:
        """Stop emission, whatever else is wrong with the home or its disk: engines look at the page in memory."""
        halted, troubles = halt_all(self.home.path, self._record)
        if halted:
            self.stopped, self.stopped_ns = True, time.monotonic_ns()
        self._memories |= halted
        for error in troubles:
            said = f"the cause is no text: {error}" if isinstance(error, TypeError) else _words(error)
            self.problems.append(said)

    def _record(self, home: str) -> bytes:
        """What is left in the page: the record that is about to be written."""
        self._left = self._cause(latches.blank(home))
        return self._left.encode()

    # -- SetFile -----------------------------------------------------------------------------------

    def _set_file(self) -> bool:
        """Halt by the page's file, and by a page in memory where there was none. True if there is no more to do."""
        try:
            page = self._halted_page()
            with contextlib.closing(Pen(self.home.path)) as pen:
                if not pen.shared():
                    self._file_trouble = "the page on the disk does not say so yet: a reset is writing it"
                    return False
                if page is None:
                    self._halt_file()
                else:
                    page.mirror()
        except LatchError as error:
            self._note(str(error))
        except OSError as error:
            self._file_trouble = f"the page on the disk does not say so yet: {whole(error)}"
            return False
        self._file_trouble = ""
        return True

    def _halted_page(self) -> Page | None:
        """The page, halted in memory; None if this process can have none there: then it halts by the file alone."""
        try:
            page = self._page()
        except LatchError as error:
            self._note(str(error))
            return None
        if not page.mark or (page.map[0] == ARMED and not self.stopped):  # just made; or SetByte did not get at it
            page.halt()
        self._memories.add(page.memory)
        self._now_stopped()
        return page

    def _halt_file(self) -> None:
        """Halt by the file, under the pen: every engine looks at it time and again, whatever its memory is.

        Raises:
            LatchError: there is no valid one.
            OSError: it can't be written.
        """
        file = FilePage(self.home.page, None)
        record = b""
        with contextlib.suppress(TypeError):  # the cause is no text: then the byte alone says halt
            record = self._record(file.home)
        file.halt(record)
        self._filed = True
        self._now_stopped()

    def _now_stopped(self) -> None:
        if not self.stopped:
            self.stopped, self.stopped_ns = True, time.monotonic_ns()

    def _note(self, said: str) -> None:
        if said not in self.problems:
            self.problems.append(said)

    def _mirrored(self) -> bool:
        """Whether the file is known to say halt, too."""
        return self._filed if self._mapped is None else self._mapped.mirrored

    # -- WriteLatch --------------------------------------------------------------------------------

    def write_latch(self, deadline: float) -> threading.Event:
        """Begin to make it last; try again until the deadline.

        Returns:
            Set when it has succeeded or will not. `durable` says which.
        """
        done = threading.Event()

        def work() -> None:
            try:
                while not all((self._set_file(), self._latch())) and time.monotonic() < deadline:
                    time.sleep(_RETRY_S)
            finally:
                self.durable_ns = time.monotonic_ns() if self.durable else 0
                done.set()

        try:
            threading.Thread(target=work, daemon=True, name="interlock-latch").start()
        except RuntimeError:  # no thread to be had: then by ourselves
            work()
        return done

    def _latch(self) -> bool:
        """Write the record, if it does not say HALTED already. True if there is nothing more to do."""
        home = self.home
        try:
            latch, _ = read_latch(home.latch)
        except LatchError as error:
            self._trouble = str(error)  # which is a halt as well, unless others can read it
            absent = not os.path.lexists(home.latch)  # absent is halted; but someone may put an old one back
            self.durable = error.code is not HaltCode.HOME_UNREADABLE and not absent and self._lasts(None)
            return True
        try:
            if latch.state != latches.ARMED:
                self._settle(latch)
            elif not self._replace():
                self._trouble = "the latch is not yet durable: a reset is writing it"
                return False
        except (OSError, LatchError) as error:
            self._trouble = f"the latch is not yet durable: {error}"
            return False
        except TypeError as error:
            self._trouble = f"the latch is not durable: {error}"
            return True
        self.durable = True
        self._trouble = ""
        return True

    def _replace(self) -> bool:
        """Write this halt over an armed record, in the epoch that stands there. False: a reset has the pen.

        Raises:
            OSError: it can't be written.
            LatchError: it can't be read any more.
            TypeError: the cause is no text.
        """
        home = self.home
        with contextlib.closing(Pen(home.path)) as pen:
            if not pen.shared():
                return False
            latch, _ = read_latch(home.latch)
            if latch.state != latches.ARMED:
                self._settle(latch)
                return True
            left = self._left
            mine = left is not None and left.home == latch.home and not self.again
            record = attrs.evolve(left if left and mine else self._cause(latch), epoch=latch.epoch)
            write_latch(home.latch, record)
            self._lasting = record
        return True

    def _settle(self, latch: Latch | None) -> None:
        """See that a record which says HALTED outlives the power: another wrote it, and may not have come so far.

        Raises:
            OSError: nobody can tell.
        """
        if latch is None or latch != self._lasting:
            settle(self.home.latch)
            self._lasting = latch

    def _lasts(self, latch: Latch | None) -> bool:
        try:
            self._settle(latch)
        except OSError:
            return False
        return True

    # -- WaitQuiet, LookAgain, Escalate ------------------------------------------------------------

    def wait_quiet(self, deadline: float) -> bool:
        """Wait until all are out, and look again. True is the ack."""
        try:
            # One for each halt: on one description two threads do not exclude each other.
            lock = FileLock(self.home.lock)
        except OSError as error:
            self._trouble_with_lock(error)
            return False
        try:
            if not lock.exclusive(max(0.0, deadline - time.monotonic())):
                return False
            try:
                if not self._agreed(lock, deadline) or not self.look_again():
                    return False
                self.confirmed_ns = time.monotonic_ns()  # under the lock: no send that began is younger
            finally:
                lock.release()
        except OSError as error:
            self._trouble_with_lock(error)
            return False
        finally:
            lock.close()
        return True

    def _trouble_with_lock(self, error: OSError) -> None:
        self.problems.append(f"{self.home.lock}: {error.strerror}: nobody can tell who is still sending")

    def _page(self) -> Page:
        """The page, by a mapping that is there already, if that is still the one of the home.

        Raises:
            LatchError: it can't be opened, or there is none.
        """
        with self._opening:
            if self._mapped is not None:
                with contextlib.suppress(LatchError):
                    self._mapped.check()
                    return self._mapped
            self._mapped = None
            self._mapped = Page(self.home.page, None)
            return self._mapped

    def _agreed(self, lock: FileLock, deadline: float) -> bool:
        """Whether the roster has nothing against it: an engine may hold a lock file or a page that was replaced."""
        if not lock.same():
            self.problems.append(f"{self.home.lock}: replaced: nobody can tell who is still sending")
            return False
        until = min(deadline, time.monotonic() + _FILE_WAIT_S)
        while not self._mirrored() and time.monotonic() < until:
            time.sleep(_RETRY_S / 500)
        while self.waiting(locked=True):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S / 10)
        return True

    def look_again(self) -> bool:
        """Under the lock: a reset that was under way when we halted may have armed it since. Then halt again.

        It may also have died when it had armed the record and not yet the byte, so that what we knew of the record
        is no longer so. If we know nothing of it yet, WriteLatch is still at it, on a disk that may hang.
        """
        try:
            page = self._page()
        except LatchError as error:
            if error.code is HaltCode.HOME_UNREADABLE:
                self.problems.append(f"{error}: nobody can tell whether it is halted still")
                return False
            # It was there before: engines see that it is gone, and are out in any case; or it is the one in memory.
            return self.stopped and not self._file_armed()
        armed = _rearmed(page)
        if armed and not self._halted_again(page):
            return False
        return self._record_again(armed=armed)

    def _file_armed(self) -> bool:
        """Whether the file says that it is armed; one that can't be believed says so to nobody."""
        try:
            return FilePage(self.home.page, None).byte == ARMED
        except LatchError:
            return False

    def _halted_again(self, page: Page) -> bool:
        """Halt once more, in memory and file. False if there are engines that this does not reach."""
        page.halt()
        with contextlib.suppress(OSError):  # then it reaches only those who look at this memory
            page.mirror()
        return page.mirrored or not self.waiting(locked=True)

    def _record_again(self, *, armed: bool) -> bool:
        """See that the record is halted still, and that ``durable`` is true; and halt it, if a reset has armed it."""
        home = self.home
        if not (armed or self.durable):
            return True
        self.again = self.again or armed
        claimed, self.durable = self.durable, False
        with contextlib.suppress(LatchError, OSError, TypeError):
            latch, _ = read_latch(home.latch)
            if latch.state == latches.ARMED:
                self.again = True
                if not self._replace():  # no reset has the pen: it would have the lock, too
                    raise BlockingIOError
            else:
                self._settle(latch)
            self.durable = True
            self.durable_ns = time.monotonic_ns()
            return True
        if not (armed or self.again):  # there is no record that could be believed: as WriteLatch found it
            self.durable = claimed
            return True
        self.problems.append("armed by a reset meanwhile, and halted again by the page alone")
        return True

    def waiting(self, *, locked: bool = False) -> tuple[Waiting, ...]:
        """Who has not let go; see `outstanding.waiting`."""
        return waiting(self.home, self._memories, mirrored=self._mirrored(), locked=locked)

    def escalate(self) -> bool:
        """SIGKILL those that did not let go, and wait for their locks. True is the ack.

        A process that only inherited the lock is killed if it is all that is left. Never this very process.
        """
        for stranger in (False, True):
            for one in strangers(self.home) if stranger else self.waiting():
                self._kill(one)
            if self.wait_quiet(time.monotonic() + _KILL_WAIT_S):
                return True
        return False

    def _kill(self, one: Waiting) -> None:
        """SIGKILL, but never to this very process."""
        if one.pid in {0, 1, os.getpid()}:
            return

        def meant() -> bool:
            return not one.engine or any(
                engine.name == one.engine and engine.pid == one.pid and engine.attached and engine.same_process()
                for engine in engines(self.home.engines)
            )

        problem = end(one.pid, meant)
        if problem:
            self.problems.append(f"{one.engine or 'a process'}, pid {one.pid}: {problem}")
        else:
            self.killed.append(Killed(engine=one.engine, pid=one.pid))

    # -- All of it ---------------------------------------------------------------------------------

    def run(self, timeout_s: float, *, escalate: bool = False) -> Quiet:
        """SetByte, WriteLatch, WaitQuiet and LookAgain; then Escalate, if it is asked for and needed.

        Args:
            timeout_s: how long to wait for quiet; for the disk at least two seconds, if it hangs.
            escalate: SIGKILL what did not drain by then.
        """
        timeout_s = bounded(timeout_s)
        deadline = time.monotonic() + timeout_s
        disk_deadline = max(deadline, time.monotonic() + _DISK_WAIT_S)
        written = threading.Event()
        try:
            self.set_byte()
            written = self.write_latch(disk_deadline)
            confirmed = self.wait_quiet(deadline)
        except KeyboardInterrupt:  # whoever is tired of waiting is told how far it came
            self.problems.append("interrupted while it waited")
            confirmed = escalate = False
        return self.finish(written, disk_deadline, confirmed=confirmed, escalate=escalate)

    def finish(self, written: threading.Event, deadline: float, *, confirmed: bool, escalate: bool) -> Quiet:
        """What it came to."""
        if not confirmed and escalate:
            confirmed = self.escalate()
        if not confirmed and self._armed_again():
            self.set_byte()
            written = self.write_latch(deadline)
            self.problems.append("armed by a reset meanwhile, and halted again")
        left: tuple[Waiting, ...] = ()
        if not confirmed:
            left = self.waiting() or (() if self.problems else strangers(self.home))
            left = with_orders(self.home.journal, left)
            self.problems.extend(who.told for who in left)
            if not left and not self.problems:
                self.problems.append("somebody holds the running lock, and nobody can tell who")
        if not written.wait(max(0.0, deadline - time.monotonic())) and not self.durable:
            self._trouble = self._trouble or "the latch is not yet durable: the disk does not answer"
        self.problems.extend(filter(None, (self._file_trouble, self._trouble)))
        durable = self.durable and self._still_durable()
        return Quiet(
            stopped=self.stopped and (confirmed or self._mirrored() or reached(self.home, self._memories)),
            durable=durable,
            confirmed=confirmed,
            waiting=left,
            killed=tuple(self.killed),
            message="; ".join(self.problems),
            called_ns=self.called_ns,
            stopped_ns=self.stopped_ns,
            durable_ns=self.durable_ns if durable else 0,
            confirmed_ns=self.confirmed_ns if confirmed else 0,
        )

    def _armed_again(self) -> bool:
        """Whether a reset that came while we waited has armed the byte: then engines may be running."""
        try:
            return _rearmed(self._page())
        except LatchError:
            return False

    def _still_durable(self) -> bool:
        """Whether what was once found of the record is so now; one that makes no sense is a halt."""
        try:
            latch, _ = read_latch(self.home.latch)
        except LatchError as error:
            return error.code is not HaltCode.HOME_UNREADABLE
        return latch.state == latches.HALTED and self._lasts(latch)


def _rearmed(page: Page) -> bool:
    """Whether a reset has armed the page since it was halted: in this memory, or in the file, from another one.

    Also if the file is armed for the very halt in memory, although we did not write it there: then whoever comes up
    arms the memory.
    """
    if page.map[0] == ARMED or (page.mirrored and page.look() == ARMED):
        return True
    with contextlib.suppress(OSError):
        return page.over
    return False


def _words(error: Exception) -> str:
    return whole(error) if isinstance(error, OSError) else str(error)


def bounded(timeout_s: float) -> float:
    """A time to wait, in seconds, that every clock can take: below 0 and NaN are no wait, forever is a day."""
    return min(timeout_s, _LONGEST_WAIT_S) if timeout_s > 0 else 0.0
