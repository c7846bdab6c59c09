"""What verification costs: ``python -m tests.benchmarks.verifying``.

Records a second on one core and on all, beside what nobody can do without (reading JSON and hashing a leaf and a node,
measured in the same run: the machine's own speed, and what a second core of it is worth), and the peak of memory for a
journal and for one ten times as long.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import orjson
from tests.verify.large import Large

from interlock.verify import Inputs, Status
from interlock.verify.crew import cores, verify_files
from interlock.verify.files import segments

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Figures", "measure", "sentences"]

SEGMENTS = 8
WANTED = 400_000
RECORDS_AN_ORDER = 4
_PEAK = """
import resource, sys
from pathlib import Path
from interlock.verify import Inputs
from interlock.verify.crew import verify_files
from interlock.verify.files import segments
report = verify_files(segments(Path(sys.argv[1])), Inputs(), jobs=1)
assert report.verdict == "VERIFIED", report.findings
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@attrs.frozen(kw_only=True)
class Figures:
    """What was measured.

    Attributes:
        records: in the journal.
        bytes: of it.
        per_core: records a second of processor time, on one core.
        alone: records a second of real time, on one core.
        shared: the same with a process for each core.
        gain: how many times as fast these would be as one, if each had a core for itself: by processor time.
        jobs: how many those were.
        joining: which part of the processor time of all of these the one process takes that joins what they found.
        floor: records a second of processor time that would be, if only JSON were read and two hashes made for each.
        apart: how many times as much of only that so many processes do as one, which share nothing but the machine.
        peak_kib: the most memory for a tenth of the journal, and for all of it.
    """

    records: int
    bytes: int
    per_core: float
    alone: float
    shared: float
    gain: float
    jobs: int
    joining: float
    floor: float
    apart: float
    peak_kib: tuple[int, int]


def _rates(records: int, work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Records a second of real time and of this process's time, the best of some rounds."""
    times = []
    for _ in range(rounds):
        real, used = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - real, time.process_time() - used))
    return records / min(one for one, _ in times), records / min(two for _, two in times)


def _floor(lines: list[bytes]) -> None:
    hashed = hashlib.sha256
    for line in lines:
        orjson.loads(line)
        leaf = hashed(b"\x00" + line).digest()
        hashed(b"\x01" + leaf + leaf).digest()


def _apart(lines: list[bytes], jobs: int, rounds: int) -> float:
    """How many times as much processes that know nothing of each other do at once as one of them alone."""
    spawned = get_context("fork")

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        working = [spawned.Process(target=_floor, args=(lines,)) for _ in range(count)]
        for one in working:
            one.start()
        for one in working:
            one.join()
        return time.perf_counter() - begun

    alone, together = (min(seconds(count) for _ in range(rounds)) for count in (1, jobs))
    return jobs * alone / together


def _used() -> tuple[float, float]:
    """Processor time of this process, and of those that it started and that have ended."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    mine, theirs = (one.ru_utime + one.ru_stime for one in used)
    return mine, theirs


def _peak(directory: Path) -> int:
    path = os.pathsep.join(sys.path)
    told = subprocess.run(
        [sys.executable, "-c", _PEAK, str(directory)],
        capture_output=True, check=True, env=os.environ | {"PYTHONPATH": path}, timeout=3600,
    )  # fmt: skip
    return int(told.stdout)


def measure(directory: Path, orders: int, rounds: int = 3) -> Figures:
    """Measure with a journal of so many orders."""
    small, large = directory / "small", directory / "large"
    Large(orders // 10, orders // 10 // SEGMENTS + 1).write(small)
    records = Large(orders, orders // SEGMENTS + 1).write(large)
    paths = segments(large)

    def verified(jobs: int) -> None:
        report = verify_files(paths, Inputs(), jobs=jobs)
        if report.status is not Status.VERIFIED or report.records != records:
            message = f"{report.verdict}: {report.findings}"
            raise RuntimeError(message)

    alone, per_core = _rates(records, lambda: verified(1), rounds)
    jobs = max(cores(), 2)
    before = _used()
    shared, _ = _rates(records, lambda: verified(jobs), rounds)
    joined, looked = (now - then for now, then in zip(_used(), before, strict=True))
    lines = paths[0].read_bytes().splitlines()
    _, floor = _rates(len(lines), lambda: _floor(lines), rounds)
    return Figures(
        records=records,
        bytes=sum(path.stat().st_size for path in paths),
        per_core=per_core,
        alone=alone,
        shared=shared,
        gain=records / per_core / (joined / rounds + looked / rounds / jobs),
        jobs=jobs,
        joining=joined / (joined + looked),
        floor=floor,
        apart=_apart(lines, jobs, rounds),
        peak_kib=(_peak(small), _peak(large)),
    )


def sentences(found: Figures) -> list[str]:
    """The figures, a sentence each."""
    size = f"{found.bytes / 2**20:,.0f} MiB, {found.bytes / found.records:.0f} bytes each"
    core = f"{found.per_core:,.0f} records/s of processor time, {found.alone:,.0f} of real time"
    many = f"{found.shared:,.0f} records/s, {found.shared / found.alone:.2f} times one; "
    many += f"{found.gain:.2f} times one by processor time; "
    many += f"{found.joining:.1%} of the work is joining, which is not shared; "
    many += f"processes that share nothing: {found.apart:.2f} times"
    times = f"verifying takes {found.floor / found.per_core:.2f} times as long"
    small, large = (f"{peak / 1024:.0f} MiB" for peak in found.peak_kib)
    return [
        f"journal: {found.records:,} records, {size}",
        f"one core: {core} (to reach: {WANTED:,})",
        f"{found.jobs} processes: {many}",
        f"reading JSON and hashing alone: {found.floor:,.0f} records/s; {times}",
        f"peak memory: {small} for a tenth of it, {large} for all",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verifying", description=__doc__)
    parser.add_argument("--orders", type=int, default=500_000, help="four records each")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-verify-") as name:
        for sentence in sentences(measure(Path(name), options.orders, options.rounds)):
            sys.stdout.write(f"{sentence}\n")


if __name__ == "__main__":
    main()
