"""The product's own classes, with a log: each step of the protocol is written down where the real code takes it.

Nothing here does a step itself. The hooks sit where the code meets what it shares with other processes (see `shared`)
or its own threads (the announced sends, the page that is believed, the mode), and call what they cover. `install` puts
them in place in this process.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.traces.log import Log, now
from tests.traces.shared import TracedLock, TracedMap, TracedPen, acting, doing, log, log_to, traced_write_latch

import interlock.attach
import interlock.breaker.home
import interlock.breaker.kill
import interlock.breaker.memorypage
import interlock.breaker.sentinel
import interlock.kernel.switch
from interlock import Kernel
from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
from interlock.breaker.page import Page
from interlock.breaker.quiescence import DEAD, Hold
from interlock.core.ledger import Working
from interlock.core.modes import Mode
from interlock.core.preorder import Core

if TYPE_CHECKING:
    from interlock.breaker.latch import Latch

# -- An engine -------------------------------------------------------------------------------------


class TracedSends(dict[int, int]):
    """The announced sends: Announce, Retract."""

    def __setitem__(self, number: int, slot: int) -> None:
        """A send is announced."""
        here = log().here
        log().before("Announce")
        lo = now()
        super().__setitem__(number, slot)
        log().did("Announce", lo, emitter=here.emitter, permit=number)
        here.first = 0

    def __delitem__(self, number: int) -> None:
        """A send has ended, or never began."""
        here = log().here
        super().__delitem__(number)
        if here.op == "begin":
            log().did("Retract", here.first or now(), emitter=here.emitter, permit=number)


class TracedHold(Hold):
    """An engine's hold: CheckAgain, Look, See, Retire, Revive; and the rest through lock and sends."""

    _page: Any = None

    def __init__(self, page: Any, lock: Any, slots: Any) -> None:
        super().__init__(page, lock, slots)
        self.sending = TracedSends()

    @property  # type: ignore[override]
    def page(self) -> Any:
        """What is believed."""
        here = log().here
        here.last = now()
        here.first = here.first or here.last
        return self._page

    @page.setter
    def page(self, page: Any) -> None:
        here = log().here
        was, self._page = self._page, page
        if not log().live or was is page:
            return
        if page is DEAD:
            log().did("See" if here.op == "see" else "Retire", here.first or here.last, strike=False)
        else:
            log().did("Revive", now())

    def enter(self) -> bool:
        """Take the lock."""
        if self.held or not log().live:
            return super().enter()
        with doing("enter"):
            entered = super().enter()
            if entered:
                log().did("CheckAgain", log().here.first or now(), ok=True)
        return entered

    def see(self) -> bool:
        """Look at the byte."""
        was = self._page
        with doing("see"):
            seen = super().see()
        if log().live and was is not DEAD and self._page is DEAD:
            log().strike("See", "after")
        return seen

    def hear(self, turn: int) -> None:
        """The file says halt, which it does after the byte: a See."""
        with doing("see"):
            log().here.first = now()
            super().hear(turn)

    def leave(self) -> bool:
        """Let go."""
        was = self.held
        with doing("leave"):
            out = super().leave()
        if log().live and was and not self.held:
            log().strike("Leave", "after")
        return out

    def begin(self, number: int, now_ns: int) -> bool:
        """Announce, and look."""
        with doing("begin"):
            begun = super().begin(number, now_ns)
            if begun:
                log().did("Look", log().here.first or now(), emitter=log().here.emitter, permit=number)
        return begun


class TracedCore(Core):
    """The mode of an engine: Start, Observe, Adopt, Drain, Stop."""

    _mode: Mode = Mode.IDLE
    _gate_open: bool = False

    @property  # type: ignore[override]
    def mode(self) -> Mode:
        """The mode."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        if was is mode or not log().live:
            return
        here = log().here
        if mode is Mode.RUNNING:
            log().did("Start", here.last, epoch=self.epoch)
        elif mode is Mode.HALTED:
            if here.op != "adopt" or was is Mode.RUNNING:
                log().did("Observe", here.inspected if here.op == "adopt" else here.last or log().pulled or now())
        elif here.op == "adopt":
            log().write(note="adopting")
        else:
            log().did("Stop", here.last)

    @property  # type: ignore[override]
    def gate_open(self) -> bool:
        """The gate."""
        return self._gate_open

    @gate_open.setter
    def gate_open(self, gate_open: bool) -> None:
        was, self._gate_open = self._gate_open, gate_open
        if was and not gate_open and self._mode is Mode.RUNNING and log().live:
            log().did("Drain", log().here.last)

    def adopt(self, latch: int, latch_epoch: int) -> bool:
        """See a reset."""
        adopted = super().adopt(latch, latch_epoch)
        if adopted and log().live:
            log().did("Adopt", log().here.inspected, epoch=latch_epoch)
        return adopted


class TracedKernel(Kernel):
    """The facade: Grant."""

    def _decide(self, order: Any) -> Any:
        lo = now()
        decided = super()._decide(order)
        if isinstance(decided, Working):
            log().did("Grant", lo, emitter=log().here.emitter)
        return decided

    def _inspect(self) -> None:
        log().here.inspected = now()
        super()._inspect()

    def _adopt(self, latch: Latch) -> None:
        with doing("adopt"):
            super()._adopt(latch)

    def halt(self, *args: Any, **given: Any) -> Any:
        """An engine that halts: it is a killer then."""
        log().pulled = now()
        with acting(log().actor()):
            return super().halt(*args, **given)


# -- A killer --------------------------------------------------------------------------------------


class TracedKill(Kill):
    """A halt: WaitQuiet, Escalate; and the rest through page, record and lock."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.actor = log().here.actor or log().actor()

    def set_byte(self) -> None:
        """The byte."""
        with acting(self.actor):
            super().set_byte()

    def _latch(self) -> bool:
        with acting(self.actor):
            return super()._latch()

    def wait_quiet(self, deadline: float) -> bool:
        """Wait."""
        with acting(self.actor), doing("wait"):
            return super().wait_quiet(deadline)

    def finish(self, *args: Any, **given: Any) -> Any:
        """What it came to."""
        with acting(self.actor):
            return super().finish(*args, **given)

    def look_again(self) -> bool:
        """Look again."""
        here = log().here
        log().did("WaitQuiet", here.tried, actor=self.actor)
        log().before("Ack")
        lo = now()
        with doing("again"):
            agreed = super().look_again()
        if agreed:
            here.acked = lo
        return agreed

    def _armed_again(self) -> bool:
        """The last look of a killer that will not confirm."""
        lo = now()
        armed = super()._armed_again()
        if not armed:
            log().did("LastLook", lo, actor=self.actor)
        return armed

    def _kill(self, waiting: Any) -> None:
        killed = len(self.killed)
        log().before("Escalate")
        number = log().trying("Escalate", actor=self.actor, engine=waiting.engine, target=waiting.pid)
        lo = now()
        super()._kill(waiting)
        if len(self.killed) > killed:
            log().did("Escalate", lo, number=number, actor=self.actor, engine=waiting.engine, target=waiting.pid)
        else:
            log().gave_up(number)


class TracedPage(Page):
    """The page: its file is no step of its own, and reading the mark for it is none of the reset's two looks."""

    def mirror(self) -> None:
        """Write the file."""
        with doing("mirror"):
            super().mirror()


class TracedHome(Home):
    """A home as an operator resets it."""

    def reset(self, **given: Any) -> Any:
        """Reset."""
        with doing("reset"):
            return super().reset(**given)


def install(to: Log) -> None:
    """Put the traced classes in the place of the product's, in this process."""
    log_to(to)
    interlock.breaker.memorypage.mmap = SimpleNamespace(mmap=TracedMap)  # type: ignore[assignment]
    for room in (interlock.breaker.kill, interlock.breaker.sentinel, interlock.breaker.home):
        room.write_latch = traced_write_latch
        room.Pen = TracedPen  # type: ignore[misc]
    for room in (interlock.breaker.kill, interlock.breaker.home, interlock.attach):
        room.FileLock = TracedLock  # type: ignore[misc]
    for room in (interlock.breaker.home, interlock.breaker.kill, interlock.attach):
        room.Page = TracedPage  # type: ignore[misc]
    for room in (interlock.breaker.home, interlock.kernel.switch):
        room.Kill = TracedKill  # type: ignore[misc]
    interlock.attach.Hold = TracedHold  # type: ignore[misc]
    interlock.attach.Core = TracedCore  # type: ignore[misc]
