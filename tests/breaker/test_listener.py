"""The listener: what it hears by the file, which turn that is good for, and when it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from tests.breaker.test_quiescence import Engine
from tests.helpers import PATIENCE_S, wait_until

from interlock.breaker.listener import Listener, listen
from interlock.breaker.quiescence import DEAD
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Callable


class File:
    """A page's file, which may be slow.

    Attributes:
        byte: what it says.
        during: is called while it is looked at.
        looks: how often it was looked at.
    """

    def __init__(self, byte: int = ARMED) -> None:
        self.byte = byte
        self.during: Callable[[], object] = lambda: None
        self.looks = 0

    def look(self) -> int:
        """What it says."""
        self.looks += 1
        byte = self.byte
        self.during()
        return byte


def test_file_that_says_halt_is_heard() -> None:
    """What the file says is told, and a halt makes the engine's page dead; an armed one leaves it."""
    engine, file = Engine(), File()
    assert listen(file, engine.hold) == ARMED  # type: ignore[arg-type] # a page's file
    assert engine.hold.page is engine.page
    file.byte = 0
    assert listen(file, engine.hold) == 0  # type: ignore[arg-type]
    assert engine.hold.page is DEAD


def test_look_that_began_before_a_revival_says_nothing_of_it() -> None:
    """A halt that was read before the page was revived, and is told after that, is over."""
    engine, file = Engine(), File(0)
    file.during = engine.hold.revive
    assert listen(file, engine.hold) == 0  # type: ignore[arg-type]
    assert engine.hold.page is engine.page


def test_listener_looks_until_its_end() -> None:
    """It is a daemon with a name that looks time and again, hears a halt at any time, and ends when it is told."""
    engine, file = Engine(), File()
    listener = Listener(file, engine.hold)  # type: ignore[arg-type]
    assert (listener.daemon, listener.name) == (True, "interlock-listener")
    listener.start()
    wait_until(lambda: file.looks > 3)
    assert engine.hold.page is engine.page
    file.byte = 0
    wait_until(lambda: engine.hold.page is DEAD)
    listener.end()
    listener.join(PATIENCE_S)
    assert not listener.is_alive()


def test_listener_looks_every_five_milliseconds() -> None:
    """Between two looks it waits for its end, so long, and no longer."""

    class Over:
        """Its end, which comes the third time."""

        waits: ClassVar[list[float]] = []

        def wait(self, seconds: float) -> bool:
            """Whether it has come."""
            self.waits.append(seconds)
            return len(self.waits) == 3

    file = File()
    listener = Listener(file, Engine().hold)  # type: ignore[arg-type]
    listener._over = Over()  # type: ignore[assignment]
    listener.run()
    assert (Over.waits, file.looks) == ([0.005] * 3, 2)


def test_nobody_waits_for_a_listener_that_hangs() -> None:
    """Its end is asked for, and not waited for, while the disk holds it up."""
    engine, file = Engine(), File()
    inside, out = threading.Event(), threading.Event()
    file.during = lambda: (inside.set(), out.wait(PATIENCE_S))
    listener = Listener(file, engine.hold)  # type: ignore[arg-type]
    listener.start()
    assert inside.wait(PATIENCE_S)
    listener.end()
    assert listener.is_alive()
    out.set()
    listener.join(PATIENCE_S)
    assert file.looks == 1
