"""What is asked of an engine: the promises of the design, as they are seen from the venue.

Each claim is tested alone: only its own breach counts, so a verdict says of this claim what it says, whatever
else the engine does wrong.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from interlock.testing.conformance.adapter import Adapter

__all__ = ["CLAIMS", "Claim", "Test", "missing"]


class Claim(StrEnum):
    """One promise; the first ten carry the design's names."""

    NO_EMIT_AFTER_HALT = "NoEmitAfterHalt"
    HALT_IS_LATCHING = "HaltIsLatching"
    ACK_MEANS_QUIESCENT = "AckMeansQuiescent"
    ABSENCE_MEANS_HALTED = "AbsenceMeansHalted"
    JOURNAL_BEFORE_EMIT = "JournalBeforeEmit"
    HALT_NEVER_WAITS = "HaltNeverWaits"
    CANCELS_ALWAYS_PASS = "CancelsAlwaysPass"  # noqa: S105 - passes, no password
    ONE_PERMIT_ONE_SEND = "OnePermitOneSend"
    DETERMINISTIC = "Deterministic"
    QUIET_AFTER_BOUND = "QuietAfterBound"
    CHECKS_FAIL_CLOSED = "ChecksFailClosed"
    BAD_TICKS_REFUSE = "BadTicksRefuse"
    REDUCE_ONLY_NEVER_FLIPS = "ReduceOnlyNeverFlips"
    STOP_FINISHES = "StopFinishes"
    LOOP_SURVIVES = "LoopSurvives"


@attrs.frozen(kw_only=True)
class Test:
    """How a claim is tested.

    Attributes:
        says: the claim in a sentence.
        steps: the attacks that bear on it, by the names of the machine's rules.
        needs: methods of the adapter without which it can't be tested.
    """

    says: str
    steps: frozenset[str]
    needs: tuple[str, ...] = ()


def _steps(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TRADE: Final = "submit tick "
_ORDERS: Final = _TRADE + "hold queue want beat "
_HALTS: Final = "halt halt_from_a_thread halt_from_outside halt_inside_the_strategy halt_beside_a_submit "
_IN_THE_CHECK: Final = "halt_inside_the_check raise_in_the_check "

CLAIMS: Final[dict[Claim, Test]] = {
    Claim.NO_EMIT_AFTER_HALT: Test(
        says="after a halt has returned, no order reaches the venue",
        steps=_steps(_ORDERS + _HALTS + _IN_THE_CHECK + "submit_many step_clock wait fail_next reset fill"),
    ),
    Claim.HALT_IS_LATCHING: Test(
        says="no restart, second start, lost file, clock, lapse of time or lost answer leaves a halt",
        steps=_steps(_ORDERS + _HALTS + "restart start_again lose lose_while_down step_clock wait fail_next"),
    ),
    Claim.ACK_MEANS_QUIESCENT: Test(
        says="a halt that says that all has stopped says so of a venue that nothing is being sent to",
        steps=_steps(_TRADE + "halt_inside_a_send reset"),
    ),
    Claim.ABSENCE_MEANS_HALTED: Test(
        says="an engine that has lost its state, or a part of it, does not trade",
        steps=_steps(_TRADE + "want beat restart lose lose_while_down halt"),
    ),
    Claim.JOURNAL_BEFORE_EMIT: Test(
        says="what permits an order is on record before the order is at the venue",
        steps=_steps(_ORDERS + "restart fail_next"),
        needs=("recorded",),
    ),
    Claim.HALT_NEVER_WAITS: Test(
        says="a halt stops emission although a send, or a check, does not return",
        steps=_steps(_TRADE + "halt_inside_a_send halt_inside_the_check reset"),
    ),
    Claim.CANCELS_ALWAYS_PASS: Test(
        says="a cancel reaches the venue in every mode",
        steps=_steps(_TRADE + "cancel halt halt_from_outside restart lose raise_in_the_strategy fail_next"),
    ),
    Claim.ONE_PERMIT_ONE_SEND: Test(
        says="no order reaches the venue twice",
        steps=_steps(_ORDERS + "submit_again fill cancel fail_next restart crash_inside_a_send halt reset"),
    ),
    Claim.DETERMINISTIC: Test(
        says="the same events at the same times give the same orders and the same decisions",
        steps=_steps(_ORDERS + "halt cancel step_clock fill fail_next raise_in_the_check"),
    ),
    Claim.QUIET_AFTER_BOUND: Test(
        says="after a kill is stored by a quorum, no node sends for longer than the bound",
        steps=frozenset(),
        needs=("several_machines",),
    ),
    Claim.CHECKS_FAIL_CLOSED: Test(
        says="an order whose check raises does not reach the venue",
        steps=_steps(_TRADE + "raise_in_the_check"),
        needs=("in_check",),
    ),
    Claim.BAD_TICKS_REFUSE: Test(
        says="a strategy's order of a stale or crossed tick does not reach the venue",
        steps=_steps("tick want beat stale_tick crossed_tick"),
        needs=("want",),
    ),
    Claim.REDUCE_ONLY_NEVER_FLIPS: Test(
        says="a reduce-only order never opens, enlarges or turns a position",
        steps=_steps(_TRADE + "submit_exit fill cancel"),
        needs=("fill",),
    ),
    Claim.STOP_FINISHES: Test(
        says="the kill switch cancels the working orders, whoever pulls it",
        steps=_steps(_TRADE + _HALTS + "beat fail_next_cancel"),
    ),
    Claim.LOOP_SURVIVES: Test(
        says="after its strategy has raised, an engine that says that it runs does run",
        steps=_steps(_TRADE + "want beat raise_in_the_strategy"),
        needs=("in_strategy", "want"),
    ),
}


def missing(claim: Claim, adapter: type[Adapter]) -> str:
    """Why a claim can't be tested with this adapter; empty if it can."""
    if claim is Claim.QUIET_AFTER_BOUND:
        return "it is about several machines"
    if claim is Claim.STOP_FINISHES and not adapter.halt_cancels:
        return "the adapter does not say that its kill switch cancels (halt_cancels)"
    if claim is Claim.ABSENCE_MEANS_HALTED and not adapter.keeps_state:
        return "the engine keeps nothing on disk that it could lose (keeps_state)"
    absent = [name for name in CLAIMS[claim].needs if not adapter.can(name)]
    return f"the adapter has no {' and no '.join(absent)}" if absent else ""
