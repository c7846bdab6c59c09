"""Stops and event loops: how a loop waits for a stop, and lends its gateway to one."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from interlock.stopping.gateways import Standing, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from interlock.core.values import Cancel, Order

__all__ = ["OnLoop", "aside", "outlast"]

T = TypeVar("T")


class OnLoop:
    """A gateway that can't be asked and belongs to one event loop: its cancels are made there.

    For an orderly stop, while that loop turns; a halt must not count on it.

    Args:
        cancel: the gateway's.
        loop: the loop, or None as long as it does not turn.
    """

    def __init__(
        self, cancel: Callable[[Cancel], Awaitable[object]], loop: Callable[[], asyncio.AbstractEventLoop | None]
    ) -> None:
        self._cancel = cancel
        self._loop = loop

    async def cancel(self, cancel: Cancel) -> object:
        """Have the loop send a cancel."""
        loop = self._loop()
        if loop is None:
            message = "the engine does not run"
            raise RuntimeError(message)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._send(cancel), loop))

    async def _send(self, cancel: Cancel) -> object:
        return await self._cancel(cancel)

    async def query(self, order: Order) -> State:
        """Nobody knows, unless the gateway tells the kernel."""
        del order
        return State(standing=Standing.UNKNOWN, reason="this gateway cannot be asked")


def aside(act: Callable[[], T], name: str) -> Future[T]:
    """Do something in a thread of its own: those that a loop lends may all hang in somebody else's calls."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from here on nobody can cancel it

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            future.set_exception(error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:  # no thread to be had: then by ourselves
        run()
    return future


async def outlast(going_on: Future[T] | asyncio.Future[T]) -> T:
    """Wait for what goes on whatever becomes of us. A cancellation meanwhile has to wait, too, and is passed on."""
    waiting = asyncio.wrap_future(going_on)
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            if waiting.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001, S110 - told below
            pass
    if cancelled is not None:
        raise cancelled
    return waiting.result()
