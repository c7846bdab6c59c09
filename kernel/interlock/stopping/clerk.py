"""Who tells the ledger what a lane found, in a thread of its own: a hung disk may hold up this one, and no cancel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from interlock.kernel.scribe import Scribe

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
        self._scribe = Scribe(f"clerk {name}")

    async def tell(self, act: Callable[[], T], timeout_s: float) -> T:
        """Have it done, and wait for what it returns or raises, but no longer than this. It may still be done then.

        Raises:
            TimeoutError: it took too long.
            RuntimeError: there is no thread to be had.
        """
        told = self._scribe.ask(act)
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(told)

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._scribe.close()
