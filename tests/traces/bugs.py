"""Seeded bugs: plausible mistakes of an implementation, each of which some check should notice.

Each is put in place of the right code in the processes of a run. They are logged by the same hooks as the right code:
a mistake is to be seen by what it does, and not by a line that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.traces.log import now
from tests.traces.shared import TracedLock, TracedPen, doing, log, write_latch_untraced
from tests.traces.traced import TracedHold, TracedKernel, TracedKill

import interlock.attach
import interlock.breaker.home
import interlock.breaker.kill
import interlock.breaker.sentinel
import interlock.kernel.switch
from interlock.breaker import latch as latches
from interlock.breaker.home import Home
from interlock.breaker.latch import read_latch
from interlock.breaker.page import Page
from interlock.breaker.quiescence import DEAD
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.breaker.lock import FileLock

NONE: Final = "none"
"""The product as it is."""

BUGS: Final = {
    "check-before-lock": "an engine looks at the byte before it takes the lock, and not after",
    "release-before-send": "a send is taken off the announced ones as soon as it has begun",
    "ack-without-waiting": "a killer sets byte and record, and confirms",
    "look-before-announce": "an emitter looks at the byte first, and announces its send then",
    "leave-while-announced": "the lookout lets go although sends are announced",
    "page-not-dead": "an engine lets go and goes on believing the page, which a reset arms again",
    "shared-description": "the engines have the lock file open on one description, inherited from who started them",
    "no-look-again": "a killer that has the lock does not look whether a reset came between",
    "inode-not-looked-at": "a killer believes its lock file, whatever the roster says: it may have been replaced",
    "reset-without-lock": "a reset asks neither lock nor roster whether all are out",
    "restart-arms": "an engine that comes up arms the home",
    "byte-after-ack": "a killer writes the record, and sets the byte when it has given the lock back",
    "no-pen": "killers and a reset read the record and replace it without regard to each other",
}
"""Each bug's name, and what is wrong."""


class CheckBeforeLock(TracedHold):
    """One look only."""

    def enter(self) -> bool:
        """Take the lock."""
        if self.held:
            return super().enter()
        with doing("enter"), self._guard:
            if self.page[0] != ARMED or not self._lock.shared():
                return False
            self.held = True
            self._slots[interlock.breaker.quiescence.HELD] = 1
        log().did("CheckAgain", now(), ok=True)
        return True


class ReleaseBeforeSend(TracedHold):
    """A send is not announced any more while it goes on."""

    def begin(self, number: int, now_ns: int) -> bool:
        """Announce, look, and take it off."""
        begun = super().begin(number, now_ns)
        if begun:
            super().end(number)
        return begun

    def end(self, number: int) -> None:
        """The send returned."""
        if number in self.sending:
            super().end(number)


class LookBeforeAnnounce(TracedHold):
    """The two acts the other way round."""

    def begin(self, number: int, now_ns: int) -> bool:
        """Look, and announce."""
        with doing("begin"):
            armed = self.page[0] == ARMED
            looked = now()
            slot = self._free.pop()
            self.sending[number] = slot
            self._slots[slot + 1] = now_ns
            self._slots[slot] = number + 1
            if armed:
                log().did("Look", looked, emitter=log().here.emitter, permit=number)
            else:
                self.end(number)
        return armed


class LeaveWhileAnnounced(TracedHold):
    """Letting go asks only whether the page is dead."""

    def leave(self) -> bool:
        """Let go."""
        with doing("leave"), self._guard:
            if not self.held:
                return True
            if self.page is not DEAD:
                return False
            self._slots[interlock.breaker.quiescence.HELD] = 0
            self._lock.release()
            self.held = False
        return True


class PageNotDead(TracedHold):
    """A halt that is seen is not remembered."""

    def see(self) -> bool:
        """Look at the byte."""
        return bool(self.page[0] != ARMED)

    def hear(self, turn: int) -> None:
        """Nothing."""

    def retire(self) -> None:
        """Nothing."""

    def leave(self) -> bool:
        """Let go."""
        with doing("leave"), self._guard:
            if not self.held:
                return True
            if self.page[0] == ARMED or self.sending:
                return False
            self._slots[interlock.breaker.quiescence.HELD] = 0
            self._lock.release()
            self.held = False
        return True


class AckWithoutWaiting(TracedKill):
    """Confirmed at once."""

    def wait_quiet(self, deadline: float) -> bool:
        """Don't."""
        del deadline
        lo = now()
        log().did("Ack", lo, actor=self.actor)
        return True


class NoLookAgain(TracedKill):
    """The lock is enough."""

    def look_again(self) -> bool:
        """Don't."""
        here = log().here
        log().did("WaitQuiet", here.tried, actor=self.actor)
        here.acked = now()
        return True


class InodeNotLookedAt(TracedKill):
    """The roster is not asked."""

    def _agreed(self, lock: FileLock, deadline: float) -> bool:
        del lock, deadline
        return True


class ByteAfterAck(TracedKill):
    """The record only, until the ack is given."""

    def set_byte(self) -> None:
        """Later."""
        self.stopped = True

    def wait_quiet(self, deadline: float) -> bool:
        """Wait, and set the byte."""
        quiet = super().wait_quiet(deadline)
        super().set_byte()
        return quiet

    def look_again(self) -> bool:
        """There is nothing to look at yet."""
        here = log().here
        log().did("WaitQuiet", here.tried, actor=self.actor)
        here.acked = now()
        return True


class ResetWithoutLock(TracedLock):
    """A reset that takes what it can get."""

    def exclusive(self, timeout_s: float = 0.0) -> bool:
        """Say that it is ours."""
        if log().here.op == "reset":
            super().exclusive(timeout_s)
            return True
        return super().exclusive(timeout_s)


class NoPen(TracedPen):
    """A pen that everybody has."""

    def _try(self, how: int) -> bool:
        """Say that it is ours."""
        del how
        return True


_HOLDS: Final[dict[str, type[TracedHold]]] = {
    "check-before-lock": CheckBeforeLock,
    "release-before-send": ReleaseBeforeSend,
    "look-before-announce": LookBeforeAnnounce,
    "leave-while-announced": LeaveWhileAnnounced,
    "page-not-dead": PageNotDead,
}
_KILLS: Final[dict[str, type[TracedKill]]] = {
    "ack-without-waiting": AckWithoutWaiting,
    "no-look-again": NoLookAgain,
    "inode-not-looked-at": InodeNotLookedAt,
    "byte-after-ack": ByteAfterAck,
}

shared_descriptor: int = -1
"""In a run of ``shared-description``: the lock file, opened before the engines were forked."""


class SharedDescription(TracedKernel):
    """All engines lock through one description."""

    def __init__(self, attachment: Any, **given: Any) -> None:
        super().__init__(attachment, **given)
        if shared_descriptor >= 0:  # not in one that is started again
            self._sentinel.running.close()
            self._sentinel.running._descriptor = shared_descriptor


def install_engine(bug: str, home: Path, *, again: bool) -> type[TracedKernel]:
    """Put a bug into an engine's process. Returns the kernel to attach."""
    install_killer(bug)
    if bug in _HOLDS:
        interlock.attach.Hold = _HOLDS[bug]  # type: ignore[misc]
    if bug == "restart-arms" and again:
        _arm(home)
    return SharedDescription if bug == "shared-description" else TracedKernel


def install_killer(bug: str) -> None:
    """Put a bug into a process that halts or resets."""
    if bug in _KILLS:
        interlock.breaker.home.Kill = _KILLS[bug]  # type: ignore[misc]
        interlock.kernel.switch.Kill = _KILLS[bug]  # type: ignore[misc]
    if bug == "no-pen":
        for room in (interlock.breaker.kill, interlock.breaker.sentinel, interlock.breaker.home):
            room.Pen = NoPen  # type: ignore[misc]
    if bug == "reset-without-lock":
        interlock.breaker.home.FileLock = ResetWithoutLock  # type: ignore[misc]
        Home._holders = lambda self, lock: ""  # type: ignore[method-assign] # noqa: ARG005


def _arm(path: Path) -> None:
    home = Home(path)
    latch, _ = read_latch(home.latch)
    write_latch_untraced(home.latch, attrs.evolve(latch, state=latches.ARMED))
    page = Page(home.page, latch.home)
    page.arm(page.halts)
