"""The venue of a test tells what arrived, and its questions fail when the answer is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.helpers import cancel, order, running

from interlock import Outcome
from interlock.testing.conformance import VenueDown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.testing.venue import Venue


def test_venue_sees_orders_and_cancels(interlock_home: Path, venue_probe: Venue) -> None:
    """What a kernel sends is seen in its order; all questions are answered with yes, and their opposites with no."""
    with running(interlock_home) as kernel:
        assert kernel.submit(order("a"), venue_probe.send).result == "ack a"
        kernel.submit(order("b"), venue_probe.send)
        kernel.halt("enough")
        mark = venue_probe.mark
        kernel.submit(order("c"), venue_probe.send)
        assert kernel.cancel(cancel("a"), venue_probe.send_cancel) == "gone a"
    venue_probe.assert_saw("a", "b")
    venue_probe.assert_quiet_since(mark)
    venue_probe.assert_each_once()
    venue_probe.assert_cancelled("a")
    wrong_ones: list[Callable[[], None]] = [
        lambda: venue_probe.assert_saw("a"),
        lambda: venue_probe.assert_saw("b", "a"),
        lambda: venue_probe.assert_quiet_since(1),
        venue_probe.assert_quiet_since,
        lambda: venue_probe.assert_cancelled("a", "b"),
    ]
    for wrong in wrong_ones:
        with pytest.raises(AssertionError, match="the venue saw"):
            wrong()


def test_order_that_arrives_twice_is_noticed(venue_probe: Venue) -> None:
    """An order that came twice is named."""
    twice = order("a")
    for _ in range(2):
        venue_probe.order("a", side=twice.side, quantity=twice.quantity)
    with pytest.raises(AssertionError, match=r"\['a'\] more than once"):
        venue_probe.assert_each_once()


def test_lost_answer_is_unknown(interlock_home: Path, venue_probe: Venue) -> None:
    """An answer that is lost reaches the kernel as an unknown outcome, although the venue has the order."""
    with running(interlock_home) as kernel:
        venue_probe.fail_next()
        verdict = kernel.submit(order("a"), venue_probe.send)
        assert verdict.outcome is Outcome.UNKNOWN
        assert isinstance(verdict.error, VenueDown)
    venue_probe.assert_saw("a")


async def _send(kernel: object, venue: Venue) -> object:
    return await kernel.submit_async(order("a"), venue.send_async)  # type: ignore[attr-defined]


def test_venue_can_be_awaited(interlock_home: Path, venue_probe: Venue) -> None:
    """An engine on asyncio has a send to await."""
    import asyncio  # noqa: PLC0415 - only here

    with running(interlock_home) as kernel:
        assert asyncio.run(_send(kernel, venue_probe))
    venue_probe.assert_saw("a")
