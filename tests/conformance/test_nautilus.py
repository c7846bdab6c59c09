"""What the kit finds in NautilusTrader, and what it does not; docs/testing.md says the same."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from interlock.testing.conformance import Claim, Effort, Line, Verdict
from interlock.testing.conformance.report import try_claim

from .known import QUICK

pytest.importorskip("nautilus_trader", reason="nautilus_trader is not installed: pip install -e '.[bench]'")

from . import nautilus

if TYPE_CHECKING:
    from interlock.testing.conformance import Adapter

NOT_TESTED = {
    Claim.ABSENCE_MEANS_HALTED: "the engine keeps nothing on disk that it could lose (keeps_state)",
    Claim.JOURNAL_BEFORE_EMIT: "the adapter has no recorded",
    Claim.QUIET_AFTER_BOUND: "it is about several machines",
    Claim.CHECKS_FAIL_CLOSED: "the adapter has no in_check",
    Claim.STOP_FINISHES: "the adapter does not say that its kill switch cancels (halt_cancels)",
}
BROKEN = {
    Claim.NO_EMIT_AFTER_HALT: r"Order o\d+ reached the venue after the halt had returned\.",
    Claim.HALT_IS_LATCHING: r"The engine runs: the halt did not outlive that restart\.",
    Claim.ONE_PERMIT_ONE_SEND: r"Order o\d+ reached the venue a second time\.",
    Claim.BAD_TICKS_REFUSE: r"Order o\d+ reached the venue, of a tick that is (stale|crossed)\.",
    Claim.REDUCE_ONLY_NEVER_FLIPS: r"Order .* reached the venue with a position of .*",
}


EFFORT = Effort(attempts=150, steps=20, shrinks=False)


@cache
def line(adapter: type[Adapter], claim: Claim, without: frozenset[str] = frozenset(), effort: Effort = EFFORT) -> Line:
    """What a claim came to."""
    return try_claim(adapter, claim, effort, without=without)


def test_it_is_the_version_that_the_page_is_about() -> None:
    """What is said of it is said of 1.221.0."""
    assert nautilus.VERSION == "1.221.0"


@pytest.mark.parametrize("claim", Claim, ids=str)
def test_claim(claim: Claim) -> None:
    """Each claim comes to what the page says, and no line is about an adapter that does nothing."""
    found = line(nautilus.Nautilus, claim)
    if claim in NOT_TESTED:
        assert (found.verdict, found.why) == (Verdict.NOT_TESTED, NOT_TESTED[claim])
        return
    assert {what for what, _ in found.raised} <= {"tick: RuntimeError"}  # the strategy's, which it passes on
    assert found.verdict is (Verdict.BROKEN if claim in BROKEN else Verdict.HELD)
    if claim in BROKEN:
        assert re.fullmatch(BROKEN[claim], found.why)
    else:
        assert found.orders > found.attempts / 8


def test_only_emulated_orders_pass_the_halt() -> None:
    """Without emulated orders nothing passes: the gate of its risk engine is shut for all else."""
    without = line(nautilus.Nautilus, Claim.NO_EMIT_AFTER_HALT, frozenset({"hold"}))
    assert without.verdict is Verdict.HELD
    assert without.orders > without.attempts / 8


def test_orders_come_twice_only_over_a_restart() -> None:
    """Within one life an id is used once."""
    without = line(nautilus.Nautilus, Claim.ONE_PERMIT_ONE_SEND, frozenset({"restart", "crash_inside_a_send"}))
    assert without.verdict is Verdict.HELD


@pytest.mark.parametrize("adapter", [nautilus.NautilusWithAPosition, nautilus.NautilusReducing])
def test_exits_can_flip(adapter: type[Adapter]) -> None:
    """With a position to leave: by two exits at once if they are marked; by one too large if it is the state."""
    assert line(adapter, Claim.REDUCE_ONLY_NEVER_FLIPS, effort=QUICK).verdict is Verdict.BROKEN
