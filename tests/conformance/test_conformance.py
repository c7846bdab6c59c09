"""The conformance kit finds each known defect, with a story; and finds nothing where nothing is."""

from __future__ import annotations

import pytest

from interlock.testing.conformance import Adapter, Claim, Verdict
from interlock.testing.conformance.claims import CLAIMS
from interlock.testing.conformance.machine import Attack
from interlock.testing.conformance.report import try_claim

from . import defects
from .embedded import Embedded
from .toy import Toy

pytestmark = pytest.mark.long

FOUND = {
    defects.EmulatorBypassesTheGate: Claim.NO_EMIT_AFTER_HALT,
    defects.RaisingCheckLetsThrough: Claim.CHECKS_FAIL_CLOSED,
    defects.StopIsForgotten: Claim.HALT_IS_LATCHING,
    defects.KillCancelsItself: Claim.STOP_FINISHES,
    defects.ReduceOnlyFlips: Claim.REDUCE_ONLY_NEVER_FLIPS,
    defects.ReduceOnlyOpens: Claim.REDUCE_ONLY_NEVER_FLIPS,
    defects.HandlerEndsTheLoop: Claim.LOOP_SURVIVES,
    defects.MissingDirectoryMeansRunning: Claim.ABSENCE_MEANS_HALTED,
    defects.HaltIsForgottenByTheQueue: Claim.NO_EMIT_AFTER_HALT,
    defects.HaltWaitsForTheSend: Claim.HALT_NEVER_WAITS,
    defects.AckIsAHope: Claim.ACK_MEANS_QUIESCENT,
    defects.RecordComesLater: Claim.JOURNAL_BEFORE_EMIT,
    defects.LostAnswerIsTriedAgain: Claim.ONE_PERMIT_ONE_SEND,
    defects.CancelsAreTrapped: Claim.CANCELS_ALWAYS_PASS,
    defects.StaleTicksAreTraded: Claim.BAD_TICKS_REFUSE,
    defects.DecidesByChance: Claim.DETERMINISTIC,
}


@pytest.mark.parametrize("claim", Claim, ids=str)
def test_sound_engine_holds_every_claim(claim: Claim) -> None:
    """An engine that does everything right is found to, claim by claim; nothing is reported that was not tested."""
    line = try_claim(Toy, claim, attempts=40)
    wanted = Verdict.NOT_TESTED if claim is Claim.QUIET_AFTER_BOUND else Verdict.HELD
    assert (line.verdict, line.why, line.raised) == (
        wanted,
        "it is about several machines" if wanted is Verdict.NOT_TESTED else "",
        (),
    )
    assert wanted is Verdict.NOT_TESTED or line.orders >= line.attempts / 4


UNTESTED = {Claim.QUIET_AFTER_BOUND, Claim.STOP_FINISHES}
"""The second is the stop executor's, which this engine has not."""


@pytest.mark.parametrize("claim", Claim, ids=str)
def test_kernel_holds_every_claim(claim: Claim) -> None:
    """An engine that embeds the real kernel holds every claim that can be tested with it."""
    line = try_claim(Embedded, claim, attempts=15, steps=20)
    assert line.verdict is (Verdict.NOT_TESTED if claim in UNTESTED else Verdict.HELD), (line.story, line.why)


@pytest.mark.parametrize("engine", FOUND, ids=lambda engine: engine.__name__)
def test_known_defect_is_found(engine: type[Adapter]) -> None:
    """A defect of a peer breaks its claim, and its story is short and begins at the beginning."""
    line = try_claim(engine, FOUND[engine])
    assert line.verdict is Verdict.BROKEN
    assert line.story[0] == "The engine starts on a fresh home."
    assert len(line.story) <= 7
    assert line.why


def test_every_claim_that_can_be_tested_can_be_broken() -> None:
    """There is a defect for each claim, so no line of the report is one that always holds."""
    assert set(Claim) - set(FOUND.values()) == {Claim.QUIET_AFTER_BOUND}


def test_every_step_bears_on_a_claim() -> None:
    """Each rule of the machine is named by a claim, and each name is a rule's."""
    named = set().union(*(test.steps for test in CLAIMS.values()))
    rules = {name for name, made in vars(Attack).items() if hasattr(made, "hypothesis_stateful_rule")}
    assert named == rules
