"""The listener: hears of a halt by the page's file, from those who have another memory disk.

Whoever shares the memory disk with an engine sets the byte that its orders look at. Another container may share the
home and not the memory; its halt comes by the file. Reading that is a system call on a disk that may hang, so it is
done by a thread of its own, which nobody waits for, and whose answer is only ever *halt*.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from interlock.breaker.page import Page
    from interlock.breaker.quiescence import Hold

__all__ = ["Listener", "listen"]

_LOOK_EVERY_S: Final = 0.005


def listen(page: Page, hold: Hold) -> int:
    """Look at the file once. If it says halt, so does this engine's page from here on.

    Returns:
        What it said.
    """
    turn = hold.turn  # first: what is revived after the look began has been looked at by whoever revived it
    byte = page.look()
    if byte != ARMED:
        hold.hear(turn)
    return byte


class Listener(threading.Thread):
    """Looks at the file time and again, until `end`.

    Args:
        page: whose file.
        hold: of the engine that is to hear.
    """

    def __init__(self, page: Page, hold: Hold) -> None:
        super().__init__(daemon=True, name="interlock-listener")
        self._page = page
        self._hold = hold
        self._over = threading.Event()

    def run(self) -> None:
        """Look."""
        while not self._over.wait(_LOOK_EVERY_S):
            listen(self._page, self._hold)

    def end(self) -> None:
        """Look no more. It is not waited for: it may hang."""
        self._over.set()
