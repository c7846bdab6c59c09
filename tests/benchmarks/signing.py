"""What signing costs an order: the same orders without a notary beside them and with one, in the same run.

    python -m tests.benchmarks.signing [--short]

The notary makes checkpoints far more often than anybody would have him do, and a witness on the same disk gets each of
them. What is measured is `submit`, to the end of a send that does nothing; the journal is VERIFIED by the root key
afterwards, so the checkpoints that are counted are good ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from interlock import Kernel
from interlock.adapters.witness import DirectoryWitness
from interlock.store.keys import issue, make_root
from interlock.verify import homes

from .measure import Plan, Timing, per_item_ns, require
from .ours import Orders, make_home, send

if TYPE_CHECKING:
    from interlock import Order, Verdict

__all__ = ["Signed", "measure", "sentences"]

OFTEN_S: Final = 0.05
"""Between two checkpoints."""


@attrs.frozen
class Signed:
    """Submits without a notary and with one, and how many checkpoints he made."""

    plain: Timing
    signed: Timing
    checkpoints: int


def measure(directory: Path, plan: Plan, durability: str = "process") -> Signed:
    """Measure both, and look whether what was signed can be believed."""
    directory.mkdir(parents=True, exist_ok=True)
    root, keys, volume = directory / "root", directory / "keys", directory / "volume"
    verifier = make_root(root, name="bench/root")
    issue(root, keys, days=1, label="bench", now_us=time.time_ns() // 1000)
    volume.mkdir()
    DirectoryWitness.make(volume)
    plain, signed = make_home(directory, "plain"), make_home(directory, "signed")
    witness = DirectoryWitness(volume)
    with (
        Kernel.attach(plain, operator="bench", durability=durability) as without,
        Kernel.attach(
            signed,
            operator="bench",
            durability=durability,
            keys=keys,
            witnesses=(witness,),
            checkpoint_every_s=OFTEN_S,
        ) as beside,
    ):
        rows = [_submits(without, "without keys", plan), _submits(beside, "signed", plan)]
    given = homes.Given(root_key=str(verifier), anchors=(volume,))
    [report] = dict(homes.verify_place(homes.locate(signed), given)).values()
    require(report.exit_code == 0, f"what was signed is {report.verdict}")
    return Signed(*rows, report.checkpoints.believed)


def _submits(kernel: Kernel, name: str, plan: Plan) -> Timing:
    require(kernel.start(), "the kernel did not start")
    orders = Orders(kernel)
    said: dict[str, Verdict] = {}

    def submit(order: Order) -> None:
        said["submit"] = kernel.submit(order, send)

    row = per_item_ns(submit, orders.make, plan, name=f"submit, accepted, {name}", after=orders.over)
    require(said["submit"], f"submit refused: {said['submit']}")
    kernel.stop()
    return row


def sentences(found: Signed) -> list[str]:
    """The figures in words."""
    plain, signed = found.plain, found.signed
    times = f"{signed.p50_ns / max(plain.p50_ns, 1):.2f} times"
    return [
        f"submit, accepted, at the median: {plain.p50_ns} ns without keys, {signed.p50_ns} ns with them ({times})",
        f"checkpoints that were made beside: {found.checkpoints}, each believed by the root key",
        f"at the 99th percentile {plain.p99_ns} ns and {signed.p99_ns} ns",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.signing", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a form of some seconds, for CI")
    options = parser.parse_args()
    plan = Plan(n=2_000, warmup=500, rounds=2) if options.short else Plan()
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        for line in sentences(measure(Path(name), plan)):
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
