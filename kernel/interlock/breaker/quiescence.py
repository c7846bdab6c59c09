"""Quiescence: how a killer can know that nobody is sending, nor can begin to.

The engine's side of the protocol of ``specs/ipc/QuiescentKill.tla``; the killer's is in `interlock.breaker.kill`.
An engine *holds* the running lock, shared, from its start until it is quiet. A killer sets the latch byte and
then waits until it has that lock exclusively. What must never happen is that an engine lets go while a
thread of it is sending, or may still begin to. Each method here is one step of the specification.

    CheckFirst, Enter, CheckAgain   `Hold.enter`     before RUNNING
    Announce, Look, Retract         `Hold.begin`     before each send
    End                             `Hold.end`       when the send returned
    See                             `Hold.see`       the byte says halt
    Hear                            `Hold.hear`      the byte in the home's file does
    Leave                           `Hold.leave`     nothing is announced: let go

Two orders of two acts carry the whole argument.

1. A thread *announces* its send first and *looks* at the byte then; who wants to leave makes the page dead first
   and looks for announcements then. So either the thread sees a dead page, or it is seen.
2. The page is dead *before* the lock is let go, and stays dead until the next `revive`, which needs an engine that is
   out. So a reset by somebody else, which arms the byte again, arms nothing in an engine that was RUNNING: it may have
   been suspended all the while.

More sends at once than there are slots wait for one: the oldest of them takes the next that becomes free, and how many
wait is shown. So a send that hangs is named sooner or later, unless all the slots are taken by sends that hang, too.

No lock of this module is ever held across a send or while a disk is waited for.
"""

from __future__ import annotations

import threading
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Protocol

from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["DEAD", "HELD", "SHOWN", "SLOTS", "UNNAMED", "Hold", "SharedLock", "Slots"]

DEAD: Final = b"\x00"
"""What stands for the page when there is none, or it must not be believed any more: always halt."""

SLOTS: Final = 64
"""How many sends at once can be named to others; more are counted."""

HELD: Final = 2 * SLOTS
"""The slot that says whether the running lock is held."""

UNNAMED: Final = HELD + 1
"""The slot that says how many sends go on beside those that are named."""

SHOWN: Final = UNNAMED + 1
"""How many integers there are in all."""


class SharedLock(Protocol):
    """The running lock, on an open file description of this engine's own."""

    def shared(self) -> bool:
        """Take it shared, if nobody holds it exclusively now."""

    def release(self) -> None:
        """Let go."""


class Slots(Protocol):
    """Integers that others see at once: a view of a mapped page."""

    def __getitem__(self, at: int, /) -> int:
        """What is shown."""

    def __setitem__(self, at: int, number: int, /) -> None:
        """Show a number."""


class Hold:
    """One engine's hold on its home.

    Args:
        page: the mapped page of the home, or `DEAD`, if there is no valid one.
        lock: the running lock.
        slots: `SHOWN` integers where sends are shown to others: `SLOTS` pairs of a permit's number plus one and
            monotonic nanoseconds, then whether the lock is held, and how many sends have no pair; all zero.

    Attributes:
        page: what the order path reads; ``page[0]`` is `ARMED` or means halt.
        held: whether the lock is held.
        sending: the permits that are announced, each with its slot, or -1.
        turn: how often the page was revived: what was looked at before that counts no more.
    """

    __slots__ = (
        "_crowd",
        "_free",
        "_guard",
        "_lock",
        "_mapped",
        "_slots",
        "_unnamed",
        "_waits",
        "held",
        "page",
        "sending",
        "turn",
    )

    def __init__(self, page: mmap | bytes, lock: SharedLock, slots: Slots) -> None:
        self.page: mmap | bytes = page
        self.held = False
        self.sending: dict[int, int] = {}
        self.turn = 0
        self._mapped = page
        self._lock = lock
        self._slots: Slots = slots
        self._free = list(range(0, 2 * SLOTS, 2))
        self._unnamed: dict[int, int] = {}  # the announced without a slot, oldest first, each with its start
        self._waits = False  # whether there may be any: what `end` looks at
        self._guard = threading.Lock()
        self._crowd = threading.Lock()  # taken only while there are any of these

    # -- Coming and going --------------------------------------------------------------------------

    def enter(self) -> bool:
        """Take the lock. False if the byte says halt, or a killer has the lock or waits for it.

        The first look keeps engines that come up under a halt from starving the killer; the second one counts.
        """
        with self._guard:
            if self.held:
                return self.page[0] == ARMED
            if self.page[0] != ARMED or not self._lock.shared():
                return False
            if self.page[0] != ARMED:
                self._lock.release()
                return False
            self.held = True
            self._slots[HELD] = 1
            return True

    def see(self) -> bool:
        """Look at the byte. If it says halt this engine's page is dead from here on, whatever the byte says later."""
        if self.page[0] == ARMED:
            return False
        with self._guard:  # a revival may have come between
            if self.page[0] != ARMED:
                self.page = DEAD
        return self.page is DEAD

    def hear(self, turn: int) -> None:
        """Somebody looked at the home's file, and it said halt. Who looked for the last turn is too late to tell.

        Args:
            turn: `turn`, before that look began.
        """
        with self._guard:
            if self.turn == turn:
                self.page = DEAD

    def retire(self) -> None:
        """As if the byte had said halt, in this engine only."""
        self.page = DEAD

    def leave(self) -> bool:
        """Let go, if the page is dead and nothing is announced. True if the lock is not held (any more)."""
        with self._guard:
            if not self.held:
                return True
            if self.page is not DEAD or self.sending:
                return False
            self._slots[HELD] = 0  # before: whoever gets the lock may look
            self._lock.release()
            self.held = False
            return True

    def revive(self) -> None:
        """Believe the page again; only an engine that is out, and in no mode to send, may."""
        with self._guard:
            if not self.held and not self.sending:
                self.turn += 1
                self.page = self._mapped

    # -- Sending -----------------------------------------------------------------------------------

    def begin(self, number: int, now_ns: int) -> bool:
        """Announce a send, and take the last look. False: the send must not begin, and nothing is announced.

        Args:
            number: of the permit.
            now_ns: the machine's monotonic clock, for whoever asks how long the send has been going on.
        """
        try:
            slot = self._free.pop()
        except IndexError:
            self.sending[number] = -1
            self._unnamed[number] = now_ns
            self._waits = True
            self._name()
        else:
            self._slots[slot + 1] = now_ns
            self._slots[slot] = number + 1
            self.sending[number] = slot
        if self.page[0] == ARMED:
            return True
        self.end(number)
        return False

    def end(self, number: int) -> None:
        """The send returned, or never began."""
        slot = self.sending[number]
        if slot >= 0 or (slot := self._forget(number)) >= 0:
            self._slots[slot] = 0
            self._free.append(slot)
        del self.sending[number]
        if self._waits:
            self._name()
        if self.page[0] != ARMED:
            self.see()
            self.leave()

    def since(self, number: int) -> int:
        """When a send was announced; now, if it is not."""
        begun = self._unnamed.get(number)  # first: it has a slot before it is taken out there
        if begun is not None:
            return begun
        slot = self.sending.get(number, -1)
        return self._slots[slot + 1] if slot >= 0 else time.monotonic_ns()

    # -- More sends than slots ---------------------------------------------------------------------

    def _name(self) -> None:
        """Let the oldest without a slot have those that are free, and show how many are left.

        Who begins is put down before it looks for a free slot here, and who ends gives its slot back before it
        looks for who waits: one of the two sees the other, so no slot stays free while somebody waits for it.
        """
        with self._crowd:
            unnamed = self._unnamed
            while unnamed and self._free:
                number, begun = min(unnamed.items(), key=itemgetter(1))  # at once: another may begin meanwhile
                if self.sending.get(number, 0) < 0:
                    try:
                        slot = self._free.pop()
                    except IndexError:  # one that has just begun was faster
                        break
                    self._slots[slot + 1] = begun
                    self._slots[slot] = number + 1
                    self.sending[number] = slot
                del unnamed[number]
            self._slots[UNNAMED] = len(unnamed)
            self._waits = bool(unnamed)  # who begins meanwhile comes here next, and sets it again

    def _forget(self, number: int) -> int:
        """A send without a slot ends. Its slot, if it has got one meanwhile; else -1."""
        with self._crowd:
            return self.sending[number] if self._unnamed.pop(number, None) is None else -1

    # -- A forked child ----------------------------------------------------------------------------

    def abandon(self) -> None:
        """In a forked child: nothing is held here, and the slots are the parent's."""
        self._guard = threading.Lock()
        self._crowd = threading.Lock()
        self.page = self._mapped = DEAD
        self.held = False
        self._slots = [0] * SHOWN
        self.sending = {}
        self._unnamed = {}
        self._waits = False
        self._free = list(range(0, 2 * SLOTS, 2))
