"""What all processes share, with a log: the page's bytes, the record, and the running lock.

Nothing here does a step itself: the hooks call what they cover. Which step it is tells the operation that the thread
is inside of (`doing`), and for whose halt it acts (`acting`).
"""

from __future__ import annotations

import fcntl
import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.traces.log import Log, now

from interlock.breaker import latch as latches
from interlock.breaker.layout import HALTS_AT
from interlock.breaker.lock import FileLock, Pen
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.breaker.latch import Latch

write_latch_untraced: Final = latches.write_latch


class _Logged:
    """Where the log of this process is."""

    log: Log


def log_to(to: Log) -> None:
    """From here on this is the process's log."""
    _Logged.log = to


def log() -> Log:
    """This process's log."""
    return _Logged.log


@contextmanager
def doing(op: str) -> Iterator[None]:
    """This thread is inside an operation."""
    here = log().here
    was, here.op, first, here.first = here.op, op, here.first, 0
    try:
        yield
    finally:
        here.op, here.first = was, first


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """This thread acts for a halt."""
    here = log().here
    was, here.actor = here.actor, actor
    try:
        yield
    finally:
        here.actor = was


class TracedMap(mmap.mmap):
    """The page: CountHalt, SetByte, LookAgain; ResetBegin, ResetByte, ResetYields."""

    def __getitem__(self, key: Any) -> Any:
        """A load."""
        here = log().here
        lo = now()
        found = super().__getitem__(key)
        if isinstance(key, slice) and key.start == HALTS_AT:
            if here.op == "reset":
                log().did("ResetBegin", here.tried)
                here.op = "rearm"
            elif here.op == "armed":
                here.op, here.last = "compared", lo
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        """A store."""
        here = log().here
        if isinstance(key, slice) and key.start == HALTS_AT and here.op != "compared":
            if not here.actor:
                here.actor = log().actor() + "!"  # until the byte is set
            self._store("LookAgain" if here.op == "again" else "CountHalt", key, value, actor=here.actor)
        elif key == 0 and value == ARMED:
            self._store("ResetByte", key, value)
            here.op = "armed"
        elif key == 0:
            yields = here.op == "compared"
            actor = here.actor
            if actor.endswith("!"):
                here.actor = ""
            if yields:
                self._store("ResetYields", key, value)
                here.op = "yielding"
            else:
                self._store("SetByte", key, value, actor=actor)
        else:
            super().__setitem__(key, value)

    def _store(self, step: str, key: Any, value: Any, **more: object) -> None:
        log().before(step)
        number = log().trying(step, **more)
        lo = now()
        super().__setitem__(key, value)
        log().did(step, lo, number=number, **more)


def traced_write_latch(path: Any, latch: Latch) -> None:
    """WriteLatch; ResetLatch, and the first half of ResetUndone."""
    here = log().here
    if here.op == "yielding":
        here.last = now()
        write_latch_untraced(path, latch)
        return
    step = "WriteLatch" if latch.state == latches.HALTED else "ResetLatch"
    log().before(step)
    number = log().trying(step, actor=here.actor, epoch=latch.epoch)
    lo = now()
    try:
        write_latch_untraced(path, latch)
    except OSError:
        log().gave_up(number)
        raise
    log().did(step, lo, number=number, actor=here.actor, epoch=latch.epoch)


class TracedPen(Pen):
    """The pen, as a halt takes it: TakePen, DropPen. A reset's is a part of ResetBegin."""

    def __init__(self, home: Any) -> None:
        super().__init__(home)
        self.mine = False

    def shared(self, timeout_s: float = 0.0) -> bool:
        """Take it."""
        log().before("TakePen")
        lo = now()
        taken = super().shared(timeout_s)
        if taken:
            self.mine = True
            log().did("TakePen", lo, actor=log().here.actor)
        return taken

    def close(self) -> None:
        """Put it down."""
        mine, self.mine = self.mine, False
        lo = now()
        super().close()
        if mine:
            log().did("DropPen", lo, strike=False, actor=log().here.actor)


class TracedLock(FileLock):
    """The running lock: Enter, Leave, TimeOut, Ack, ResetEnd, ResetUndone."""

    @property
    def _is_running_lock(self) -> bool:
        return self._path.name == "lock"

    def _try(self, how: int) -> bool:
        if self._is_running_lock and how == fcntl.LOCK_EX:
            log().here.tried = now()
        return super()._try(how)

    def shared(self, timeout_s: float = 0.0) -> bool:
        """Take it shared."""
        here = log().here
        if here.op != "enter" or not log().live:
            return super().shared(timeout_s)
        log().did("CheckFirst", here.first)
        log().before("Enter")
        number = log().trying("Enter")
        lo = now()
        taken = super().shared(timeout_s)
        log().did("Enter", lo, number=number, ok=taken)
        here.first = 0
        return taken

    def exclusive(self, timeout_s: float = 0.0) -> bool:
        """Take it exclusively."""
        here = log().here
        if here.op != "wait":
            return super().exclusive(timeout_s)
        log().before("WaitQuiet")
        here.acked = 0
        taken = super().exclusive(timeout_s)
        if not taken:
            log().did("TimeOut", here.tried, actor=here.actor)
        return taken

    def release(self) -> None:
        """Let go."""
        here = log().here
        if here.op == "leave":
            if not log().live:
                super().release()
                return
            log().before("Leave")
            lo = here.first or now()
            number = log().trying("Leave")
            super().release()
            log().did("Leave", lo, number=number, strike=False)
        elif here.op == "enter":
            lo = here.first or now()
            super().release()
            log().did("CheckAgain", lo, ok=False)
        elif here.op == "wait":
            lo = here.acked or now()
            super().release()
            log().did("Ack" if here.acked else "Doubt", lo, actor=here.actor)
        else:
            super().release()

    def close(self) -> None:
        """Let go and close."""
        here = log().here
        if not self._is_running_lock or here.op not in {"compared", "yielding", "rearm", "armed"}:
            super().close()
            return
        step = {"compared": "ResetEnd", "yielding": "ResetUndone"}.get(here.op, "ResetDies")
        if here.op == "compared":
            log().did("ResetDecides", here.last)
        log().before(step)
        lo = now() if here.op == "compared" else here.last
        super().close()
        log().did(step, lo)
