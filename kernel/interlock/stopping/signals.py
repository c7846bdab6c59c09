"""Signals, although the main thread hangs.

Python runs a signal's handler in the main thread, once that comes to its next instruction. If it hangs in a call, the
handler waits; and the call may not even be interrupted, since another thread may have taken the signal. But the bytes
of `signal.set_wakeup_fd` are written at once, by whichever thread took it. So a thread of ours reads those.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["STOPPING", "Signals"]

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
"""What asks for an end."""

_MOST: Final = 64
_LAST_S: Final = 1.0


class Signals:
    """Takes `STOPPING` as long as it is entered; in the main thread only. Nothing else happens at them then.

    Args:
        take: is told each number, in a thread of its own; in the main thread, if there is no other to be had.
    """

    def __init__(self, take: Callable[[int], object]) -> None:
        self._take = take
        self._ours = self._theirs = self._before = -1
        self._reading: threading.Thread | None = None

    def __enter__(self) -> Self:
        """From here on."""
        self._ours, self._theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._theirs, False)
        handler: Callable[[int, FrameType | None], None] = _nothing
        try:
            reading = threading.Thread(target=self._read, args=(self._ours,), name="interlock-signals", daemon=True)
            reading.start()
            self._reading = reading
        except RuntimeError:  # no thread to be had: then as well as Python can
            handler = self._handle
        self._before = signal.set_wakeup_fd(self._theirs, warn_on_full_buffer=False)
        _entered.append(self._theirs)
        self._handlers = {number: signal.signal(number, handler) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        """As it was before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before)
        _entered.remove(self._theirs)
        os.close(self._theirs)  # which ends the thread
        if self._reading is not None:
            self._reading.join(_LAST_S)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._take(number)

    def _read(self, ours: int) -> None:
        while numbers := os.read(ours, _MOST):
            for number in numbers:
                if number in STOPPING:
                    with contextlib.suppress(Exception):  # a loop that was closed meanwhile: nobody is left to be told
                        self._take(number)
            if self._before >= 0:  # whoever read them before still does
                with contextlib.suppress(OSError):
                    os.write(self._before, numbers)
        os.close(ours)


def _nothing(_: int, __: FrameType | None) -> None:
    pass


_entered: list[int] = []


def _after_fork() -> None:
    """A forked child's signals are its own, and not its parent's."""
    if _entered:
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_after_fork)
