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
import signal
import threading
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, loads

from interlock.breaker import latch as latches
from interlock.breaker.files import settle
from interlock.breaker.latch import Latch, LatchError, read_latch, write_latch
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import whole
from interlock.breaker.page import FilePage, Page, halt_all
from interlock.breaker.roster import Engine, engines, holders
from interlock.breaker.segment import COMPRESSED, first_of, segments
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.breaker.home import Home

__all__ = ["InFlight", "Kill", "Killed", "Quiet", "Waiting", "bounded", "end", "longest_s"]

_RETRY_S: Final = 0.05
_KILL_WAIT_S: Final = 2.0
_DISK_WAIT_S: Final = 2.0
_FILE_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 86_400.0
_NAMING_S: Final = 0.5
_LONGEST_SEARCH: Final = 1 << 24


@attrs.frozen(kw_only=True)
class InFlight:
    """A send that has begun and not ended.

    Attributes:
        engine: whose it is.
        pid: of that engine's process.
        permit: its number.
        client_order_id: of the order; empty if its journal can't be read.
        instrument: likewise.
        for_ns: since when.
    """

    engine: str
    pid: int
    permit: int
    client_order_id: str
    instrument: str
    for_ns: int


@attrs.frozen(kw_only=True)
class Waiting:
    """A process that has not let go of the running lock, or of which nobody can know.

    Attributes:
        engine: its name; empty for a process that is no engine of this home (one that inherited the lock, say).
        pid: of the process.
        in_flight: what it is sending.
        why: what is known, for people.
        unnamed: how many sends it has begun besides, for which the roster has no room.
    """

    engine: str
    pid: int
    in_flight: tuple[InFlight, ...]
    why: str
    unnamed: int = 0


@attrs.frozen(kw_only=True)
class Killed:
    """A process that got SIGKILL."""

    engine: str
    pid: int


@attrs.frozen(kw_only=True)
class Quiet:
    """What a halt from outside reached.

    Attributes:
        stopped: whether the page byte was set, so that no engine begins a send any more: at once, or within a look, if
            it could be set in the home's file only. If not, an engine sees the halt at its next heartbeat at the
            latest, if ``durable``, and not at all, if not.
        durable: whether the latch on disk is known not to be armed.
        confirmed: whether every engine attached to the home is known to have stopped sending.
        waiting: who has not, if not ``confirmed``.
        killed: who got SIGKILL.
        message: what went wrong or is still awaited, for people.
        called_ns: when this halt began, on the machine's monotonic clock, as all that follow; 0: not reached.
        stopped_ns: when the byte was set.
        durable_ns: when the latch was known to be on disk.
        confirmed_ns: when it was known that all are out, with the running lock still in this halt's hands.
    """

    stopped: bool
    durable: bool
    confirmed: bool
    waiting: tuple[Waiting, ...] = ()
    killed: tuple[Killed, ...] = ()
    message: str
    called_ns: int = 0
    stopped_ns: int = 0
    durable_ns: int = 0
    confirmed_ns: int = 0


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
        """Who has not let go, by what the roster shows; orders by their permits' numbers only.

        Args:
            locked: the lock is held exclusively by us: then only contradictions are named.
        """
        home = self.home
        lock_inode, page_inode = _inode(home.lock), _inode(home.page)
        mirrored = self._mirrored()
        found = []
        try:
            roster = list(engines(home.engines))
        except OSError as error:
            return (Waiting(engine="", pid=0, in_flight=(), why=f"the roster can't be read: {error.strerror}"),)
        for engine in roster:
            if not engine.attached:
                continue
            why = ""
            if engine.lock_inode not in {0, lock_inode}:
                why = "it has another lock file open: the one in the home was replaced"
            elif engine.page_inode not in {0, page_inode} and engine.held:
                why = "it has another page mapped: the one in the home was replaced"
            elif not mirrored and self._elsewhere(engine):
                why = "it has another memory disk, and the page on the home's disk does not say halt yet"
            else:
                why = self._not_out(engine, locked=locked)
            if why:
                sends = tuple(_shown(engine, one.permit, one.for_ns) for one in engine.sending)
                found.append(
                    Waiting(engine=engine.name, pid=engine.pid, in_flight=sends, why=why, unnamed=engine.unnamed)
                )
        return tuple(found)

    def _not_out(self, engine: Engine, *, locked: bool) -> str:
        """Why an engine may not have let go, by what it shows; empty if it has."""
        if engine.sending or engine.unnamed:
            return "it is inside a send"
        if engine.held:
            return "it says that it holds the lock" if locked else "it has not let go yet"
        if engine.shown or locked or (engine.same_process() and engine.pid not in holders(self.home.lock)):
            return ""
        return "it may not have let go; what it sends can't be seen from here, since it has another memory disk"

    def _elsewhere(self, engine: Engine) -> bool:
        """Whether an engine looks at another page in memory than those in which we set the byte, or will."""
        device, inode = engine.memory
        if inode:
            return engine.memory not in self._memories
        return device not in {ours for ours, _ in self._memories}  # it is just attaching

    def _reaches_all(self) -> bool:
        """Whether every engine that is attached looks at a page that we set, in memory or in the file."""
        if self._mirrored():
            return True
        try:
            return not any(engine.attached and self._elsewhere(engine) for engine in engines(self.home.engines))
        except OSError:
            return False

    def strangers(self) -> tuple[Waiting, ...]:
        """Processes that hold the lock shared and are no attached engine: they inherited it."""
        try:
            known = {engine.pid for engine in engines(self.home.engines) if engine.attached} | {os.getpid()}
            found = [pid for pid in holders(self.home.lock) if pid not in known]
        except OSError:
            return ()
        why = "it holds the lock, and is no engine of this home"
        return tuple(Waiting(engine="", pid=pid, in_flight=(), why=why) for pid in found)

    def escalate(self) -> bool:
        """SIGKILL those that did not let go, and wait for their locks. True is the ack.

        A process that only inherited the lock is killed if it is all that is left. Never this very process.
        """
        for who in (self.waiting, self.strangers):
            for waiting in who():
                self._kill(waiting)
            if self.wait_quiet(time.monotonic() + _KILL_WAIT_S):
                return True
        return False

    def _kill(self, waiting: Waiting) -> None:
        """SIGKILL, but never to this very process."""
        if waiting.pid in {0, 1, os.getpid()}:
            return

        def meant() -> bool:
            return not waiting.engine or any(
                engine.name == waiting.engine
                and engine.pid == waiting.pid
                and engine.attached
                and engine.same_process()
                for engine in engines(self.home.engines)
            )

        problem = end(waiting.pid, meant)
        if problem:
            self.problems.append(f"{waiting.engine or 'a process'}, pid {waiting.pid}: {problem}")
        else:
            self.killed.append(Killed(engine=waiting.engine, pid=waiting.pid))

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
        waiting: tuple[Waiting, ...] = ()
        if not confirmed:
            waiting = _with_orders(self.home.journal, self.waiting() or (() if self.problems else self.strangers()))
            self.problems.extend(_said(who) for who in waiting)
            if not waiting and not self.problems:
                self.problems.append("somebody holds the running lock, and nobody can tell who")
        if not written.wait(max(0.0, deadline - time.monotonic())) and not self.durable:
            self._trouble = self._trouble or "the latch is not yet durable: the disk does not answer"
        self.problems.extend(filter(None, (self._file_trouble, self._trouble)))
        durable = self.durable and self._still_durable()
        return Quiet(
            stopped=self.stopped and (confirmed or self._reaches_all()),
            durable=durable,
            confirmed=confirmed,
            waiting=waiting,
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


def end(pid: int, meant: Callable[[], bool]) -> str:
    """SIGKILL, to the very process that is meant: a process id may have been given to another since.

    Args:
        pid: of it.
        meant: looks, when a handle on the process is held, whether that is the one.

    Returns:
        What went wrong, or nothing.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        return f"cannot be killed: {error.strerror}"
    try:
        if not meant():
            return "not killed: that process id belongs to another process now"
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError as error:
        return f"cannot be killed: {error.strerror}"
    finally:
        os.close(handle)
    return ""


def _said(waiting: Waiting) -> str:
    name = f"engine {waiting.engine}, pid {waiting.pid}" if waiting.engine else f"pid {waiting.pid}"
    sends = [
        f"{one.client_order_id or f'permit {one.permit}'} {one.instrument} for {one.for_ns / 1e9:.3f} s"
        for one in waiting.in_flight
    ]
    if waiting.unnamed:
        sends.append(f"and {waiting.unnamed} more")
    return f"not quiet: {name}: {waiting.why}" + (f": {', '.join(sends)}" if sends else "")


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def _shown(engine: Engine, permit: int, for_ns: int) -> InFlight:
    return InFlight(engine=engine.name, pid=engine.pid, permit=permit, client_order_id="", instrument="", for_ns=for_ns)


def _with_orders(journal: Path, waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """The same, with the orders' names, as far as the journals can be read in time: they may be long, or hang."""
    found: dict[tuple[str, int], dict[str, object]] = {}

    def look() -> None:
        for who in waiting:
            wanted = {one.permit for one in who.in_flight}
            for permit, record in _permits(journal / who.engine, wanted) if wanted and who.engine else ():
                found[who.engine, permit] = record

    looking = threading.Thread(target=look, daemon=True, name="interlock-naming")
    with contextlib.suppress(RuntimeError):  # no thread to be had: then by number
        looking.start()
        looking.join(_NAMING_S)
    named = dict(found)

    def name(one: InFlight) -> InFlight:
        record = named.get((one.engine, one.permit), {})
        order_id, instrument = str(record.get("id", "")), str(record.get("instrument", ""))
        return attrs.evolve(one, client_order_id=order_id, instrument=instrument)

    return tuple(attrs.evolve(who, in_flight=tuple(name(one) for one in who.in_flight)) for who in waiting)


def _permits(directory: Path, wanted: set[int]) -> Iterator[tuple[int, dict[str, object]]]:
    """The records of these permits, from the end of a journal that somebody may be writing; else they are left out."""
    with contextlib.suppress(OSError):
        paths = segments(directory)
        begun = [first_of(path) for path in paths]
        places = {permit: bisect_right(begun, permit) - 1 for permit in wanted}  # a send may be older than a segment
        for place in {place for place in places.values() if place >= 0}:
            data = _end_of(paths[place])
            for permit in wanted:
                at = data.rfind(b'{"v":1,"seq":%d,"kind":"permit"' % permit)
                end = data.find(b"\n", at)
                if at >= 0 <= end:
                    with contextlib.suppress(JSONDecodeError):
                        yield permit, loads(data[at:end])


def _end_of(path: Path) -> bytes:
    """The last bytes of a segment; none of one that was compressed, which is too old to matter."""
    if path.name.endswith(COMPRESSED):
        return b""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - _LONGEST_SEARCH))
        return file.read(_LONGEST_SEARCH)
