"""Who tells the ledger what a lane found, in a thread of its own: a hung disk may hold up this one, and no cancel."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clerk"]

T = TypeVar("T")


class Clerk:
    """Does one thing after the other for a lane, whose event loop goes on meanwhile.

    Args:
        name: the lane's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._began = False

    async def tell(self, act: Callable[[], T], timeout_s: float) -> T:
        """Have it done, and wait for what it returns or raises, but no longer than this. It may still be done then.

        Raises:
            TimeoutError: it took too long.
        """
        if not self._began:
            threading.Thread(target=self._work, name=f"clerk {self._name}", daemon=True).start()
            self._began = True
        told: Future[T] = Future()
        self._jobs.put((act, told))
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(told)

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            act, told = job
            if not told.set_running_or_notify_cancel():  # nobody waits for it any more
                continue
            try:
                told.set_result(act())
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                told.set_exception(error)
