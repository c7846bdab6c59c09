"""The venue: takes orders, or does not, or takes its time, as the seed says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock import PermitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock import Cancel, Permit
    from interlock.testing.simulation.promises import Promises
    from interlock.testing.simulation.scheduler import Scheduler

__all__ = ["Venue"]

_MS: Final = 1_000_000
_HANGS_MS: Final = (30, 300, 2_000)


class Venue:
    """What is on the other side of every send.

    Args:
        scheduler: of the run.
        promises: is told of every send.

    Attributes:
        hangs: how likely a send hangs for seconds.
        rude: how likely a send raises, or does not look at its order.
        slow: how likely it takes milliseconds.
    """

    def __init__(self, scheduler: Scheduler, promises: Promises) -> None:
        self._scheduler = scheduler
        self._promises = promises
        self.hangs = self.rude = self.slow = 0.0

    def send(self, engine: str, permit: Permit, order: str, *, disk: bool, within: Callable[[], None]) -> str | None:
        """A gateway's send.

        Args:
            engine: whose.
            permit: the permit.
            order: its order's id.
            disk: whether the permit has to be on the disk.
            within: called while the send goes on.
        """
        scheduler = self._scheduler
        chance = scheduler.random.random
        scheduler.point(f"send {order}")
        self._promises.entering(engine, permit, order, disk=disk)
        try:
            if chance() < self.rude:
                self._odd()
                return None
            permit.redeem()
            self._once(permit)
            within()
            if chance() < self.slow:
                self._takes(scheduler.random.expovariate(1) * 10)
            if chance() < self.hangs:
                self._takes(scheduler.random.choice(_HANGS_MS) * scheduler.random.random())
            if chance() < self.rude:
                message = "no answer in time"
                raise TimeoutError(message)
            return f"ack {order}"
        finally:
            self._promises.leaving()

    def cancel(self, cancel: Cancel) -> str:
        """A gateway's cancel."""
        self._scheduler.point(f"cancel {cancel.client_order_id}")
        if self._scheduler.random.random() < self.rude:
            message = "too late to cancel"
            raise LookupError(message)
        return "gone"

    def _odd(self) -> None:
        if self._scheduler.random.random() < 0.5:  # noqa: PLR2004 - half of them
            message = "order rejected"
            raise ValueError(message)

    def _once(self, permit: Permit) -> None:
        """A permit is good for one order."""
        try:
            permit.redeem()
        except PermitError:
            return
        self._scheduler.fail("OnePermitOneSend", f"permit {permit.number} was redeemed twice")

    def _takes(self, ms: float) -> None:
        self._scheduler.wait(self._scheduler.now_ns + int(ms * _MS), "for the venue")
