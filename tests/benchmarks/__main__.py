"""The one documented command: ``python -m tests.benchmarks``. Ours and the peers', in one run."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .halts import HALTS, SHORT, measure
from .journal import measure_journal
from .measure import Plan, Rate, Timing, print_table
from .ours import gates, halting, memory, whole_loop
from .peers import find_quotes, measure_peers
from .signing import measure as measure_signing
from .signing import sentences as signed_sentences
from .verifying import measure as measure_verifying
from .verifying import sentences

if TYPE_CHECKING:
    from collections.abc import Sequence


def _targets(timings: Sequence[Timing], rates: Sequence[Rate]) -> list[str]:
    """The figures that issue and design ask for, each against its peer of this very run."""
    p50 = {row.name: row.p50_ns for row in timings}

    def find(*words: str) -> int | None:
        return next((p50[name] for name in p50 if all(word in name for word in words)), None)

    said = []
    consult = find("consult, passes", "process")
    accepted, halted = find("submit, accepted", "process"), find("submit, HALTED", "process")
    if consult is not None:
        said.append(f"consult: {consult} ns at the median (to reach: 600)")
    for account in ("margin", "cash"):
        check = find("nautilus", "accept", account)
        if check and accepted:
            said.append(
                f"accepted submit with all limits and journal: {accepted / check:.2f} times nautilus' accept "
                f"({account} account) (to reach: 2.5)"
            )
        for known in ("cached", "new"):
            denial = find("nautilus", "deny", account, known)
            if denial and halted:
                said.append(
                    f"refusal when HALTED: {halted / denial:.2f} times nautilus' denial "
                    f"({account} account, order {known}) (to reach: 0.2)"
                )
    said += [f"whole loop: {rate.ticks_per_s:,.0f} ticks/s, {rate.name} (to reach: 100,000)" for rate in rates]
    return said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a form of a minute or so, for CI")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--quotes", type=Path, default=find_quotes(), help="gzip CSV of quotes for the loops")
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    plan = Plan(n=2_000, warmup=500, rounds=2) if options.short else Plan()
    timings: list[Timing] = []
    rates: list[Rate] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        directory = Path(name)
        for durability in ("process", "disk"):
            timings += gates(directory, durability, plan)
        timings.append(halting(directory, 20 if options.short else 200))
        if options.quotes is not None:
            rounds = 1 if options.short else plan.rounds
            rates += [
                whole_loop(directory, options.quotes, strategy, rounds=rounds)
                for strategy in ("observe", "every-nth", "every-tick")
            ]
        notes += memory(directory, (1_000, 10_000) if options.short else (100_000, 1_000_000))
        notes += measure_journal(directory, short=options.short, only_ours=options.only_ours)
        verified = measure_verifying(directory / "verified", 20_000 if options.short else 500_000)
        notes += [f"verify: {sentence}" for sentence in sentences(verified)]
        notes += [f"signing: {sentence}" for sentence in signed_sentences(measure_signing(directory / "signing", plan))]
        stops, tallies, said = measure(directory, SHORT if options.short else HALTS, only_ours=options.only_ours)
    ours = list(rates)
    if not options.only_ours:
        peers, peer_rates, peer_notes = measure_peers(plan, options.quotes)
        timings += peers
        rates += peer_rates
        notes += peer_notes
    notes += [*_targets(timings, ours), *said]
    print_table([*timings, *stops], rates, notes, tallies, to_json=options.json)


if __name__ == "__main__":
    main()
