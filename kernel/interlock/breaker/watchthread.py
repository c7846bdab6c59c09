"""The watchdog in a thread of the engine's own process: see `watchdog` for what it goes by, and what it cannot see."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from interlock.breaker.watchdog import Watchdog
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.breaker.roster import Engine
    from interlock.breaker.watchdog import Limits

__all__ = ["Halts", "WatchThread"]


class Halts(Protocol):
    """What a `WatchThread` can stop; a kernel."""

    def halt(self, reason: str, *, code: HaltCode, source: str, timeout_s: float) -> object:
        """Stop emission now."""


class WatchThread(threading.Thread):
    """Watches the engine of this very process, from a thread that its loop can't hold up.

    It keeps no kernel alive: with the last reference to it the thread ends. If it fails itself it halts: nobody
    would see a stall any more.

    Args:
        kernel: what to halt; held weakly.
        read: what the roster shows of this engine (`Berth.seen`).
        limits: for how long what may stand still.
        timeout_s: how long a halt waits for its confirmation.
        clock: as for `Watchdog`.
    """

    def __init__(
        self,
        kernel: Halts,
        read: Callable[[], Engine],
        limits: Limits,
        *,
        timeout_s: float = 2.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(daemon=True, name="interlock-watch")
        self.watchdog = Watchdog(lambda: (read(),), limits, clock)
        self._kernel = weakref.ref(kernel)
        self._interval_s = limits.interval_s
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._failed = False

    @property
    def watching(self) -> bool:
        """Whether it is at its post: a thread that failed is not, even while its last halt goes on."""
        return self.is_alive() and not self._failed

    def run(self) -> None:
        """Look, until `end`."""
        try:
            while not self._over.is_set() and self._kernel() is not None:
                for stall in self.watchdog.look():
                    self._halt(stall.reason, HaltCode.STALLED)
                    self.watchdog.worked(self._timeout_s)
                self._over.wait(self._interval_s)
        except Exception as error:  # noqa: BLE001 - whatever it is: what nobody watches must not run
            self._failed = True
            with contextlib.suppress(Exception):
                self._halt(f"the watchdog failed: {type(error).__name__}: {error}", HaltCode.INTERNAL)

    def _halt(self, reason: str, code: HaltCode) -> None:
        kernel = self._kernel()
        if kernel is not None and not self._over.is_set():
            kernel.halt(reason, code=code, source="watchdog", timeout_s=self._timeout_s)

    def end(self) -> None:
        """Look no more. It does not wait for the thread: it may be called from it."""
        self._over.set()
