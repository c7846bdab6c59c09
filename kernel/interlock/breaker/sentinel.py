"""The sentinel: stands at a home on behalf of one engine, stops it, and sees who else did.

`Sentinel.stop` is the one act that stops emission: it sets a byte, and waits for nothing. Everything else here
comes after that, or looks: whether latch, page, locks and journal are still the files that were opened, and
what someone else may have written into the latch.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.files import settle
from interlock.breaker.grounds import check
from interlock.breaker.home import boot_id
from interlock.breaker.latch import Latch, LatchError, decode, read_latch, write_latch
from interlock.breaker.listener import Listener, listen
from interlock.breaker.lock import FileLock, Pen
from interlock.core.errors import HomeError
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode
from interlock.core.values import HaltCause

if TYPE_CHECKING:
    import os

    from interlock.breaker.home import Home, Now
    from interlock.breaker.page import Page
    from interlock.breaker.quiescence import Hold
    from interlock.breaker.roster import Berth
    from interlock.breaker.segment import MappedSegment, Segment

__all__ = ["Fault", "Latched", "Rearmed", "Seen", "Sentinel", "cause_of", "unnamed"]

_LONGEST_REASON: Final = 500


@attrs.frozen
class Fault:
    """The home is not as it was: a halt."""

    code: HaltCode
    message: str


@attrs.frozen
class Latched:
    """Someone wrote a halt into the latch; ``news`` if it is not what was read there before."""

    latch: Latch
    news: bool


@attrs.frozen
class Rearmed:
    """Someone reset the home into a newer epoch."""

    latch: Latch


Seen = Fault | Latched | Rearmed | None


@attrs.frozen
class _Due:
    """What the latch makes of a cause; and the record to be written, if one is, and whether that keeps the epoch."""

    cause: HaltCause
    record: Latch | None = None
    keeps_epoch: bool = False


@attrs.define(kw_only=True)
class Sentinel:
    """One engine's hold on its home.

    Attributes:
        home: its paths.
        identity: its UUID.
        page: mapped, or None if there was no valid one: then nothing is ever permitted.
        latch: the record as it was read last, or None.
        latch_stat: of its file.
        running: the lock to be held shared from start to quiet.
        writer: a lock on the journal's file: it has one writer.
        berth: our place in the roster, held while attached.
        hold: what is being sent, and whether ``running`` is held.
        segment: the journal's open end.
        floor: the highest epoch that any journal knew, if there was no latch: none below it is written.
        durable: whether the latch on disk is known to say HALTED, whatever befalls the machine.
    """

    home: Home
    identity: str
    page: Page | None
    latch: Latch | None
    latch_stat: os.stat_result | None
    running: FileLock
    writer: FileLock
    berth: Berth
    hold: Hold
    segment: Segment | MappedSegment
    floor: int = 0
    durable: bool = attrs.field(init=False)
    _listener: Listener | None = attrs.field(init=False, default=None)

    @durable.default
    def _durable(self) -> bool:
        return self.latch is not None and self.latch.state == latches.HALTED and self._lasts()

    def stop(self) -> None:
        """Stop emission in every process that is attached to the home and has this memory: no lock, no disk."""
        if self.page is not None:
            self.page.halt()

    def mirror(self) -> None:
        """Stop emission in the others, too: it is a matter of the home's disk, and tried again if that refuses it.

        A halt that a reset elsewhere has ended meanwhile is none to them.
        """
        page = self.page
        if page is None or page.mirrored or page.map[0] == ARMED:
            return
        with contextlib.suppress(OSError):
            page.repeat()

    def post(self) -> None:
        """Post the listener, if it is not at its post.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        if self.page is not None and (self._listener is None or not self._listener.is_alive()):
            listener = Listener(self.page, self.hold)
            listener.start()
            self._listener = listener

    # -- Looking ---------------------------------------------------------------------------------

    def look(self, epoch: int, *, may_adopt: bool) -> Seen:
        """See whether everything is as it was.

        Args:
            epoch: the engine's.
            may_adopt: whether a reset by someone else would be lawful now: the engine isn't RUNNING.

        Returns:
            None if so. A fault, and a latch that was halted, have stopped emission by then.
        """
        seen = self._look(epoch, may_adopt=may_adopt)
        if isinstance(seen, Fault) or (isinstance(seen, Latched) and self.page is not None and not self.page.halted):
            self.stop()  # not for a halt that has set a byte: one more mark would be a halt that its reset knows not of
        if isinstance(seen, Fault | Latched):
            self.mirror()
        return seen

    def _look(self, epoch: int, *, may_adopt: bool) -> Seen:
        if self.page is None:
            return Fault(HaltCode.LATCH_ABSENT, f"{self.home.page}: there was no page when we attached")
        seen: Seen = None
        try:
            self.page.check()
            self.page.mend()
            self.mirror()
            listen(self.page, self.hold)
            latch, found = self._changed()
            check(self.home.path, engine=self.berth.name, settled=True)
        except (LatchError, HomeError) as error:
            return Fault(error.code, str(error))
        if latch is not None:
            seen = self._weigh(latch, self.page, epoch, may_adopt=may_adopt)
            if isinstance(seen, Fault):
                return seen
            self.latch, self.latch_stat = latch, found
            self.durable = isinstance(seen, Latched) and self._lasts()
        if not (self.running.same() and self.berth.same() and self.segment.same()):
            return Fault(HaltCode.HOME_UNREADABLE, f"{self.home.path}: lock, roster or journal replaced while in use")
        return seen

    def _changed(self) -> tuple[Latch | None, os.stat_result]:
        """The latch, if its file is not the one that was read last."""
        path = self.home.latch
        try:
            found = path.lstat()
        except OSError as error:
            self.durable = False
            message = f"{path}: gone: {error.strerror}"
            raise LatchError(HaltCode.LATCH_ABSENT, message) from error
        if self.latch_stat is not None and _identity(self.latch_stat) == _identity(found):
            return None, found
        return read_latch(path, self.identity or None)

    def _rejoined(self, page: Page) -> bool:
        """Whether the page is armed; perhaps by a reset from where there is another memory."""
        with contextlib.suppress(OSError), contextlib.closing(FileLock(self.home.lock)) as lock:
            if page.map[0] != ARMED and lock.shared():
                page.rejoin()
        return page.armed

    def _weigh(self, latch: Latch, page: Page, epoch: int, *, may_adopt: bool) -> Fault | Latched | Rearmed:
        """Someone wrote the latch: a halt, a reset, or a fraud."""
        if latch.state == latches.HALTED:
            return Latched(latch, latch != self.latch)
        mirrored = self._rejoined(page)
        if latch.epoch > epoch and may_adopt and mirrored:
            return Rearmed(latch)
        if latch.epoch <= epoch:  # an old one; a newer one may be a reset, which the next attach will take
            self.durable = False
        return Fault(HaltCode.LATCH_REPLACED, f"{self.home.latch}: armed in epoch {latch.epoch} by nobody we know")

    # -- Making a halt last ------------------------------------------------------------------------

    def make_durable(self, cause: HaltCause, epoch: int, now: Now, *, may_wait: bool = False) -> HaltCause:
        """Write the latch, if it does not say HALTED already; `durable` says whether it does then.

        Whoever set only the byte is about to write the record, which says more than we could. If it was left in
        the page we write that very one; if not, it is left to the next heartbeat, if it ``may_wait``.

        Returns:
            The cause; if it was someone else's doing, as that one wrote it into the latch.
        """
        self.mirror()
        due = self._due(cause, epoch, now, may_wait=may_wait)
        if due.record is None:
            return due.cause
        try:
            with contextlib.closing(Pen(self.home.path)) as pen:
                alone = False
                while pen.exclusive() if alone else pen.shared():
                    due = self._due(cause, epoch, now, may_wait=may_wait)  # once more, with the pen
                    if due.record is None:
                        return due.cause
                    if due.keeps_epoch or alone:
                        write_latch(self.home.latch, due.record)
                        return self._known(due.cause, *read_latch(self.home.latch, self.identity or None))
                    alone = True
        except (OSError, LatchError):
            pass
        self.durable = False  # halted by the page; the next heartbeat tries again
        return due.cause

    def _due(self, cause: HaltCause, epoch: int, now: Now, *, may_wait: bool) -> _Due:
        """What the latch says, and what is to be written over it."""
        latch: Latch | None = None
        try:
            latch, found = read_latch(self.home.latch, self.identity or None)
        except LatchError as error:
            if cause.code is HaltCode.EXTERNAL:
                cause = attrs.evolve(cause, code=error.code, reason=str(error), source="home")
            if error.code is not HaltCode.LATCH_ABSENT or not self.identity:
                return _Due(cause)  # what is wrong with the file is evidence, and it is a halt: leave it
            return _Due(cause, self.halted(cause, max(epoch, self.floor), now))
        if latch.state == latches.HALTED:
            return _Due(self._known(cause, latch, found))
        if latch.epoch > epoch and unnamed(cause):
            return _Due(cause)  # that halt is over: somebody has reset it, and we did not look meanwhile
        left = self._left() if unnamed(cause) else None
        if may_wait and left is None and unnamed(cause):
            self.durable = False
            return _Due(cause)
        epoch = max(latch.epoch, epoch)
        record = attrs.evolve(left, epoch=epoch) if left else self.halted(cause, epoch, now)
        return _Due(cause, record, keeps_epoch=epoch == latch.epoch)

    def _known(self, cause: HaltCause, latch: Latch, found: os.stat_result) -> HaltCause:
        """The latch says HALTED. Returns the cause, as it is told there, if ours says no more than that."""
        if not self.durable or latch != self.latch:
            self.durable = self._lasts()
        self.latch, self.latch_stat = latch, found
        return cause_of(latch) if unnamed(cause) else cause

    def _lasts(self) -> bool:
        """See that the record outlives the power: who wrote it may have died, or failed, before it did."""
        try:
            settle(self.home.latch)
        except OSError:
            return False
        return True

    def _left(self) -> Latch | None:
        """The record that whoever set the byte is about to write into the latch, if it was left in the page."""
        if self.page is None:
            return None
        try:
            left = decode(self.page.left(), "the page")
        except LatchError:
            return None
        return left if left.state == latches.HALTED and left.home == self.identity else None

    def halted(self, cause: HaltCause, epoch: int, now: Now) -> Latch:
        """The record of a halt."""
        return Latch(
            state=latches.HALTED,
            epoch=epoch,
            home=self.identity,
            code=str(cause.code),
            reason=cause.reason[:_LONGEST_REASON],
            source=cause.source,
            operator=cause.operator,
            ts_us=now.ts_us,
            boot=boot_id(),
            mono_ns=now.mono_ns,
        )

    # -- Coming and going --------------------------------------------------------------------------------

    def begin(self) -> None:
        """The journal has its first records: from here on an empty one is a loss.

        Raises:
            HomeError: that can't be written down.
        """
        try:
            self.berth.begin()
            if self.page is not None:
                self.page.begin()
        except OSError as error:
            message = f"{self.home.path}: cannot be written: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error

    def introduce(self, operator: str, run: str) -> None:
        """Say in the roster who we are, and which lock and page are ours.

        Raises:
            HomeError: that can't be written down.
        """
        page, memory = (self.page.inode, self.page.memory[1]) if self.page is not None else (0, 0)
        lock = self.running.inode
        try:
            self.berth.introduce(operator=operator, run=run, lock_inode=lock, page_inode=page, memory_inode=memory)
        except OSError as error:
            message = f"{self.home.engines}: cannot be written: {error}"
            raise HomeError(HaltCode.HOME_UNREADABLE, message) from error

    def leave(self) -> None:
        """Close every lock, and listen no more."""
        if self._listener is not None and self._listener.is_alive():  # which in a forked child it is not
            self._listener.end()
        self.running.close()
        self.writer.close()
        self.berth.close()


def unnamed(cause: HaltCause | None) -> bool:
    """Whether it says no more than that the latch was seen not armed."""
    return cause is not None and cause.code is HaltCode.EXTERNAL and cause.source == "latch"


def cause_of(latch: Latch) -> HaltCause:
    """The cause that a latch record tells."""
    code = HaltCode(latch.code) if latch.code in set(HaltCode) else HaltCode.EXTERNAL
    return HaltCause(
        code=code,
        reason=latch.reason,
        source=latch.source,
        operator=latch.operator,
        ts_us=latch.ts_us,
        epoch=latch.epoch,
    )


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns
