"""Every contract of the core is confirmed over all paths, and each is broken by a mistake in what it is about."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from tests.contracts import contracts, wrong
from tests.helpers import KERNEL, ROOT
from tests.mutation.rooms import source
from tests.mutation.worker import SITE
from tests.mutation.zygote import MUTANT

from interlock.testing.mutation import mutants

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACTS: Final = {
    name: made
    for name, made in vars(contracts).items()
    if inspect.isfunction(made) and made.__module__ == contracts.__name__ and not name.startswith("_")
}
CONDITION_S: Final = 60
"""For one contract; all of them together take a few seconds."""

_TOLD: Final = re.compile(r":(?P<line>\d+): (?P<kind>info|error|warning): (?P<text>.*)")


def crosshair(target: str, mutant: str = "") -> dict[int, tuple[str, str]]:
    """What CrossHair says, by the line of the contract's function."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(SITE), str(KERNEL), str(ROOT)]),
        MUTANT: mutant,
    }
    command = [sys.executable, "-m", "crosshair", "check", "--analysis_kind=PEP316", "--report_all"]
    ended = subprocess.run(
        [*command, f"--per_condition_timeout={CONDITION_S}", target],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=CONDITION_S * len(CONTRACTS),
    )  # fmt: skip
    assert ended.returncode in {0, 1}, ended.stderr
    told = [_TOLD.search(line) for line in ended.stdout.splitlines()]
    return {int(one["line"]): (one["kind"], one["text"]) for one in told if one is not None}


def test_every_contract_is_confirmed_over_all_paths(record_property: Callable[[str, object], None]) -> None:
    """No input that there is breaks one: CrossHair and z3 have been through all paths of each."""
    told = crosshair(contracts.__name__)
    confirmed = [line for line, said in told.items() if said == ("info", "Confirmed over all paths.")]
    record_property("contracts", len(confirmed))
    assert (len(confirmed), set(told) - set(confirmed)) == (len(CONTRACTS), set())


def test_what_is_not_so_is_not_confirmed() -> None:
    """A contract that does not hold is broken, and the values that break it are named."""
    told = crosshair(wrong.__name__)
    assert [kind for kind, _ in told.values()] == ["error", "error"]
    assert "RESET" in next(iter(told.values()))[1]


FLOW, LEDGER, GATE, PROOFS = "core.flow", "core.ledger", "core.preorder", "journal.proofs"
MISTAKES: Final = {
    "bucket_stays_within_one_burst": (FLOW, "TokenBucket.take", "max(-self._full, level)", "min(-self._full, level)"),
    "bucket_fills_no_faster_than_its_rate": (FLOW, "TokenBucket.__init__", "self._full = burst * _NS", "pass"),
    "bucket_takes_nothing_back": (FLOW, "TokenBucket.ready", "passed > 0", "passed <= 0"),
    "loss_is_seen_at_exactly_its_limit": (LEDGER, "Account.assess", "equity <= self.floor", "equity < self.floor"),
    "peak_never_falls": (LEDGER, "Account.assess", "self.peak = max(self.peak, equity)", "pass"),
    "session_begins_without_a_loss": (
        LEDGER,
        "Account.begin_session",
        "self.opening - self.max_loss",
        "self.opening + self.max_loss",
    ),
    "what_is_reserved_is_given_back": (LEDGER, "Book.release", "self.exits_selling -= quantity", "pass"),
    "exits_are_part_of_what_is_reserved": (LEDGER, "Book.reserve", "self.buying += quantity", "pass"),
    "round_trip_costs_its_fees": (LEDGER, "Book.revalue", "worth - self.worth", "worth + self.worth"),
    "granted_order_keeps_the_position_limit": (GATE, "_exposure", "held + coming", "held - coming"),
    "granted_exit_turns_nothing": (GATE, "_exposure", "worst > 0", "worst <= 0"),
    "granted_order_turns_no_pending_exit": (GATE, "_exposure", "buys", "not buys"),
    "proof_names_whole_subtrees": (PROOFS, "spans", "old <= half", "old < half"),
    "proof_covers_all_that_came": (PROOFS, "spans", "found.append((low + half, high))", "pass"),
}


@pytest.mark.long
@pytest.mark.parametrize("contract", MISTAKES)
def test_mistake_breaks_its_contract(contract: str) -> None:
    """One small mistake in the core breaks the contract that is about it."""
    module, *mistake = MISTAKES[contract]
    made = mutants(source(f"interlock.{module}"))
    index = [at for at, mutant in enumerate(made) if [*mutant.key[:3]] == mistake][-1]
    told = crosshair(f"{contracts.__name__}.{contract}", f"interlock.{module}:{index}")
    assert [kind for kind, _ in told.values()] == ["error"]


def test_every_contract_has_its_mistake() -> None:
    """A contract is broken by a mistake, or, of the table of modes, which refuses mistakes itself, has a false twin."""
    assert set(CONTRACTS) - set(MISTAKES) == {"only_a_reset_leaves_halted", "only_a_start_runs"}
