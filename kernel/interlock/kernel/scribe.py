"""The scribe: does in a thread of its own what a hung disk may hold up, for those who must not be held up with it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Scribe"]

T = TypeVar("T")


class Scribe:
    """Does one thing after the other. Its thread begins with the first of them, and keeps nothing alive while it waits.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._began = False

    def ask(self, act: Callable[[], T]) -> Future[T]:
        """Have it done, and wait for nothing. Whoever asks waits for what it returns or raises as long as they like.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        if not self._began:  # two at once make two threads, and a lock would not be for signal handlers
            threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
            self._began = True
        told: Future[T] = Future()
        self._jobs.put((act, told))
        return told

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    while (job := jobs.get()) is not None:
        act, told = job
        if told.set_running_or_notify_cancel():  # else nobody waits for it any more
            try:
                told.set_result(act())
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                told.set_exception(error)
        del job, act, told
    jobs.put(None)  # for the other thread, if there are two
