"""The conformance kit finds each known defect, with a story; and finds nothing where nothing is."""

from __future__ import annotations

import attrs
import pytest

from interlock.testing.conformance import Adapter, Claim, Effort, Line, Verdict
from interlock.testing.conformance.claims import CLAIMS
from interlock.testing.conformance.machine import ATTACKS
from interlock.testing.conformance.report import try_claim

from . import defects
from .embedded import Embedded
from .known import FOUND, PEERS, QUICK
from .toy import Toy

DEEP = Effort(attempts=120, steps=60)

UNTESTED = {Claim.QUIET_AFTER_BOUND}
UNTESTED_OF_THE_KERNEL = UNTESTED | {Claim.STOP_FINISHES}
"""The second is the stop executor's, which that engine has not."""


def holds(line: Line, untested: set[Claim]) -> bool:
    """Whether a line is as it should be for an engine that does everything right."""
    wanted = Verdict.NOT_TESTED if line.claim in untested else Verdict.HELD
    return line.verdict is wanted and (wanted is Verdict.NOT_TESTED or line.orders >= line.attempts / 8)


@pytest.mark.parametrize("claim", Claim, ids=str)
def test_sound_engine_holds_every_claim(claim: Claim) -> None:
    """An engine that does everything right is found to, claim by claim; nothing is reported that was not tested."""
    line = try_claim(Toy, claim, Effort(attempts=40, steps=20))
    assert holds(line, UNTESTED), (line.story, line.why)
    assert line.raised == ()


@pytest.mark.parametrize("claim", Claim, ids=str)
def test_kernel_holds_every_claim(claim: Claim) -> None:
    """An engine that embeds the real kernel holds every claim that can be tested with it."""
    line = try_claim(Embedded, claim, Effort(attempts=20, steps=25))
    assert holds(line, UNTESTED_OF_THE_KERNEL), (line.story, line.why)


@pytest.mark.parametrize("engine", FOUND, ids=lambda engine: engine.__name__)
def test_known_defect_is_found(engine: type[Adapter]) -> None:
    """Each seeded defect breaks its claim."""
    line = try_claim(engine, FOUND[engine][0], QUICK)
    assert line.verdict is Verdict.BROKEN
    assert line.story[0] == "The engine starts on a fresh home."
    assert line.why


def test_every_claim_that_can_be_tested_can_be_broken() -> None:
    """There is a defect for each claim, so no line of the report is one that always holds."""
    assert set(Claim) - {claim for claim, _ in FOUND.values()} == UNTESTED


def test_every_attack_bears_on_a_claim() -> None:
    """Each attack is named by a claim, and each name is an attack's."""
    assert set().union(*(test.steps for test in CLAIMS.values())) == ATTACKS


def test_every_attack_is_needed() -> None:
    """For each attack there is a defect that only it finds; those without are named here, with the reason."""
    spared = {
        "submit": "the plain order, by which others are seen",
        "tick": "likewise, the plain tick",
        "beat": "likewise, the passing of a second",
        "want": "likewise, the strategy's order",
        "halt": "each of the other halts finds what it finds",
        "halt_beside_a_submit": "a race, found as often as it is lost",
        "reset": "it lets an attempt go on after a halt",
    }
    assert ATTACKS - {only for _, only in FOUND.values()} == set(spared)


def test_story_is_as_short_as_can_be() -> None:
    """What is told of a breach is what it takes, and nothing else."""
    line = try_claim(defects.KillCancelsItself, Claim.STOP_FINISHES)
    assert line.story == (
        "The engine starts on a fresh home.",
        "An order is submitted: o1 (buy 1 at 100).",
        "The kill switch is pulled.",
    )
    assert line.sure


@pytest.mark.long
@pytest.mark.parametrize(
    "engine", [engine for engine, (_, only) in FOUND.items() if only], ids=lambda one: one.__name__
)
def test_defect_is_found_by_one_attack_alone(engine: type[Adapter]) -> None:
    """Without the attack that is meant for it, a defect is not found: that attack is no ornament."""
    claim, only = FOUND[engine]
    line = try_claim(engine, claim, attrs.evolve(QUICK, attempts=250), without=frozenset({only}))
    assert line.verdict is Verdict.HELD, line.story


@pytest.mark.long
@pytest.mark.parametrize("claim", Claim, ids=str)
@pytest.mark.parametrize(
    ("engine", "untested"), [(Toy, UNTESTED), (Embedded, UNTESTED_OF_THE_KERNEL)], ids=["Toy", "Embedded"]
)
def test_claims_are_held_in_depth(engine: type[Adapter], untested: set[Claim], claim: Claim) -> None:
    """Long attempts, and others at every run, break nothing in engines that do everything right."""
    line = try_claim(engine, claim, DEEP)
    assert holds(line, untested), (line.story, line.why)


@pytest.mark.long
@pytest.mark.parametrize("engine", PEERS, ids=lambda engine: engine.__name__)
def test_story_of_a_known_defect_is_short(engine: type[Adapter]) -> None:
    """What the peers do wrong is told in a few sentences that begin at the beginning."""
    line = try_claim(engine, FOUND[engine][0])
    assert line.verdict is Verdict.BROKEN
    assert len(line.story) <= 7, line.story
