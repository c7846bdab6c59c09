"""The venue of a test: what really reached it, in its order, and the questions that tests ask of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.testing.conformance.probe import VenueProbe

if TYPE_CHECKING:
    from interlock.core.values import Cancel, Permit

__all__ = ["Venue"]


class Venue(VenueProbe):
    """A `VenueProbe` with the send functions of a gateway. Each question raises `AssertionError` with what was seen.

    An engine that holds a kernel hands it `send` and `send_cancel`; another tells `order` and `cancel` what arrives.
    """

    # -- What a kernel is given ------------------------------------------------------------------------------

    def send(self, permit: Permit) -> str:
        """Send an order.

        Raises:
            PermitError: the permit is void, or used.
            VenueDown: if that was planned with `fail_next`.
        """
        order = permit.redeem()
        self.order(order.client_order_id, side=order.side, quantity=order.quantity, reduce_only=order.reduce_only)
        return f"ack {order.client_order_id}"

    async def send_async(self, permit: Permit) -> str:
        """Send an order, awaited."""
        return self.send(permit)

    def send_cancel(self, cancel: Cancel) -> str:
        """Send a cancel."""
        self.cancel(cancel.client_order_id)
        return f"gone {cancel.client_order_id}"

    # -- What was seen -----------------------------------------------------------------------------------------

    @property
    def orders(self) -> list[str]:
        """The ids of the orders that arrived, in their order; one that came twice is here twice."""
        return [one.order_id for one in self.seen if one.side is not None]

    @property
    def cancels(self) -> list[str]:
        """The ids of the cancels that arrived."""
        return [one.order_id for one in self.seen if one.side is None]

    @property
    def mark(self) -> int:
        """A moment, for `assert_quiet_since`."""
        return len(self.seen)

    def assert_saw(self, *order_ids: str) -> None:
        """Exactly these orders arrived, in this order.

        Raises:
            AssertionError: others did.
        """
        if self.orders != list(order_ids):
            message = f"the venue saw the orders {self.orders}, and not {list(order_ids)}"
            raise AssertionError(message)

    def assert_quiet_since(self, mark: int = 0) -> None:
        """No order has arrived since then; cancels may have.

        Raises:
            AssertionError: one has.
        """
        late = [one.order_id for one in self.seen[mark:] if one.side is not None]
        if late:
            message = f"the venue saw {late} after it should have been quiet"
            raise AssertionError(message)

    def assert_each_once(self) -> None:
        """No order arrived twice.

        Raises:
            AssertionError: one did.
        """
        twice = sorted({one for one in self.orders if self.orders.count(one) > 1})
        if twice:
            message = f"the venue saw {twice} more than once"
            raise AssertionError(message)

    def assert_cancelled(self, *order_ids: str) -> None:
        """A cancel of each of these arrived; others may have.

        Raises:
            AssertionError: of one none did.
        """
        missing = sorted(set(order_ids) - set(self.cancels))
        if missing:
            message = f"the venue saw no cancel of {missing}, only of {self.cancels}"
            raise AssertionError(message)
