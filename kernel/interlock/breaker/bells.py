"""Whom to call on a halt: each once a halt, in a thread of its own, whatever else hangs.

The kernel's lookout rings: a thread that takes no lock which is held across a disk, so a loop, a strategy or a disk
that hangs keeps nobody from being called. The order path never does. An epoch has one halt at most, so whether a
halt is new is seen by its epoch.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import attrs

from interlock.journal import records

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bells"]


@attrs.define(eq=False)
class _Bell:
    """One that is to be called, and the latest epoch about whose halt it was."""

    call: Callable[[], object]
    rung: int


class Bells:
    """Those that are to be called on a halt."""

    __slots__ = ("_bells",)

    def __init__(self) -> None:
        self._bells: tuple[_Bell, ...] = ()

    def add(self, call: Callable[[], object], rung: int) -> Callable[[], None]:
        """Call this on every halt of an epoch after that one; what is returned ends that."""
        bell = _Bell(call, rung)
        self._bells = (*self._bells, bell)

        def forget() -> None:
            self._bells = tuple(one for one in self._bells if one is not bell)

        return forget

    def __bool__(self) -> bool:
        """Whether there is anybody to call."""
        return bool(self._bells)

    def ring(self, epoch: int, raised: Callable[[str], object]) -> None:
        """Call all that have not been called about this epoch's halt. From one thread only.

        Args:
            epoch: that was halted.
            raised: is told what a call raised, in that call's thread.
        """
        for bell in self._bells:
            if bell.rung >= epoch:
                continue
            try:
                threading.Thread(target=_call, args=(bell.call, raised), daemon=True, name="interlock-on-halt").start()
            except RuntimeError:  # no thread to be had: the next look tries again
                continue
            bell.rung = epoch

    def clear(self) -> None:
        """Call nobody any more."""
        self._bells = ()


def _call(call: Callable[[], object], raised: Callable[[str], object]) -> None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - the caller's code, and nobody else would hear of it
        with contextlib.suppress(Exception):
            raised(records.failure(error))
