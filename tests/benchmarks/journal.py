"""The journal's own figures, and beside them three logs that are given the very same records, in the same run.

    python -m tests.benchmarks.journal [--short]

- *append*: what a permit and its `sent` cost in durability ``process``, on the way of an order.
- *group commit*: records in batches of 256 and of 1024, each batch sealed and on the disk before the next.
- *recovery*: an attach to a journal of so many bytes, in a process of its own, whose memory is looked at.

The others take the same records as JSON: `logging` with a file handler, of which nothing is on the disk; SQLite, in WAL
mode with ``synchronous=FULL``, a transaction a batch and a transaction a record; and `pymerkle`, whose `SqliteTree`
is an RFC 9162 log too, and has a transaction a record and no other way.
"""

from __future__ import annotations

import argparse
import json
import logging
import sqlite3
import subprocess
import sys
import tempfile
import time
from array import array
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
import zstandard

from interlock import Kernel, Mode, Order, Reason, Side, Verdict
from interlock.breaker.home import Home
from interlock.breaker.segment import MappedSegment, Segment, chunks, segments
from interlock.core.ledger import Book, Working
from interlock.core.preorder import Core
from interlock.journal import records
from interlock.journal.recorder import Recorder
from interlock.journal.tree import Tree
from interlock.journal.writer import Journal

from .measure import clock_overhead_ns, require
from .ours import make_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["measure_journal"]

BATCH: Final = 256
LARGE: Final = 1024
"""The most that one seal closes: what comes together while the disk is slow."""
RUN: Final = "0b9c8f6e-6f0e-4c55-9f4e-3a0d5a7b1c22"


@attrs.frozen
class Row:
    """So many records in so many seconds, of which the processor worked so many for them."""

    name: str
    records: int
    seconds: float
    busy: float

    def __str__(self) -> str:
        """For people."""
        rate, cost = self.records / self.seconds, self.busy / self.records * 1e9
        return f"{self.name:60} {rate:>10,.0f} records/s  {cost:>8,.0f} ns of processor a record  ({self.records:,})"


class Watch:
    """Looks at both clocks."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def row(self, name: str, count: int) -> Row:
        """What it came to."""
        seconds, busy = self._began
        return Row(name, count, time.perf_counter() - seconds, time.process_time() - busy)


def granted(home: Path) -> Working:
    """An order as gate 2 hands it to the recorder."""
    core = Core(Home(home).read_limits()[0], 1)
    book: Book = core.books["EURUSD"]
    order = Order(
        client_order_id="B-000000001",
        instrument="EURUSD",
        side=Side.BUY,
        quantity=Decimal(1000),
        price=Decimal("1.38627"),
    )
    size, size_text, _ = book.sizes["1000"]
    units, price_text, _ = book.prices["1.38627"]
    require(size is not None and units is not None, "the order is not on the grid")
    return Working(order, book, 0, size or 0, size_text, units or 0, price_text)


def recorder(sink: Segment, *, disk: bool) -> Recorder:
    """A recorder on a segment."""
    journal = Journal(sink, Tree())
    journal.begin(time.time_ns() // 1000, 0)
    return Recorder(
        journal,
        mono_ns=time.monotonic_ns,
        utc_us=lambda: time.time_ns() // 1000,
        run=RUN,
        version="0",
        disk=disk,
    )


# -- Ours ---------------------------------------------------------------------------------------------


def append(directory: Path, working: Working, count: int) -> Row:
    """A permit and its `sent`, over and over, as an order has them written."""
    segment = MappedSegment(directory / "append.jsonl")
    to = recorder(segment, disk=False)
    watch = Watch()
    for _ in range(count):
        mono = time.monotonic_ns()
        to.permit(working, 1, mono)
        working.begun_ns = mono
        to.sent(working, None)
    to.settle()
    row = watch.row("interlock, permits and their outcomes, sealed (process)", 2 * count)
    require(to.journal.broken is None and to.journal.full is None, "the journal broke")
    segment.close()
    return row


def on_the_way(directory: Path, working: Working, count: int) -> float:
    """What the two records of an order cost at the median, ns a record: the batch's seal comes once in a thousand."""
    segment = MappedSegment(directory / "way.jsonl")
    to = recorder(segment, disk=False)
    clock = time.perf_counter_ns
    took = array("q")
    for _ in range(count):
        mono = time.monotonic_ns()
        working.begun_ns = mono
        began = clock()
        to.permit(working, 1, mono)
        to.sent(working, None)
        took.append(clock() - began)
    require(to.journal.broken is None, "the journal broke")
    segment.close()
    return (median(took) - clock_overhead_ns()) / 2


def made(working: Working, count: int) -> float:
    """What making the JSON of such a permit costs at the median, in ns: building the dictionary, and orjson."""
    clock = time.perf_counter_ns
    took = array("q")
    for number in range(count):
        began = clock()
        orjson.dumps(records.permit(number, number, number, 1, working))
        took.append(clock() - began)
    return median(took) - clock_overhead_ns()


def group_commit(directory: Path, working: Working, batches: int, size: int = BATCH) -> Row:
    """Batches of permits, each sealed and on the disk."""
    segment = Segment(directory / "commit.jsonl")
    to = recorder(segment, disk=True)
    journal = to.journal
    watch = Watch()
    for _ in range(batches):
        for _ in range(size - 1):
            mono = time.monotonic_ns()
            journal.note(records.permit(journal.seq, (mono + to.utc_ns) // 1000, mono - to.zero_ns, 1, working))
        to.settle()
    row = watch.row(f"interlock, group commit of {size} (disk)", batches * size)
    require(journal.broken is None and journal.seq == 1 + batches * size, "not all was written")
    segment.close()
    return row


def flood(directory: Path, working: Working, count: int) -> tuple[Row, Row]:
    """Refusals for one reason, counted; and refusals that differ from one to the next, written."""
    codes = [Verdict(accepted=False, reason=reason) for reason in (Reason.MAX_NOTIONAL, Reason.MAX_QUANTITY)]
    rows = []
    for name, step in (("counted", 0), ("written", 1)):
        segment = MappedSegment(directory / f"flood-{name}.jsonl")
        to = recorder(segment, disk=False)
        watch = Watch()
        for number in range(count):
            to.refuse(working.order, codes[number * step % 2], 1, Mode.RUNNING, time.monotonic_ns())
        to.settle()
        rows.append(watch.row(f"interlock, refusals, {name} (process)", count))
        segment.close()
    return rows[0], rows[1]


def recovery(directory: Path, size: int) -> tuple[Row, list[str]]:
    """Attach to journals of this size, and of a quarter of it; memory must be the same."""
    said = []
    peaks = []
    row = Row("", 1, 1.0, 1.0)
    for part in (size // 4, size):
        home = make_home(directory, f"recovery-{part}")
        count, length = fill_up(home, part)
        script = _ATTACH.format(home=str(home))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds, busy, peak, there = json.loads(done.stdout)
        require(there >= count, "records are missing")
        peaks.append(peak)
        row = Row(f"interlock, recovery of {length / 2**20:,.0f} MiB: {seconds:.1f} s", count, seconds, busy)
        said.append(f"recovery of {length / 2**20:,.0f} MiB: {seconds:.1f} s, at most {peak / 2**20:.0f} MiB of memory")
        if part == size:
            said.append(weights(home, count, length))
    return row, said


_ATTACH: Final = """
import json, resource, time
from interlock import Kernel
began, busy = time.perf_counter(), time.process_time()
kernel = Kernel.attach({home!r}, operator="bench", durability="process")
took = [time.perf_counter() - began, time.process_time() - busy]
print(json.dumps([*took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, kernel.journal_size[0]]))
kernel.close()
"""


def fill_up(home: Path, size: int) -> tuple[int, int]:
    """Write a journal of about this size: orders that are sent, accepted, and filled or cancelled."""
    with Kernel.attach(home, operator="bench", durability="process") as kernel:
        to, journal = kernel._recorder, kernel._journal
        working = granted(home)
        order = working.order
        number = 0
        while journal.size_bytes < size:
            number += 1
            name = f"B-{number:09d}"
            working.order = attrs.evolve(order, client_order_id=name, side=(Side.BUY, Side.SELL)[number // 2 % 2])
            working.begun_ns = time.monotonic_ns()
            to.permit(working, 1, working.begun_ns)
            to.sent(working, None)
            to.note("accept", id=name, venue_id=f"V{number}")
            if number % 2:
                to.note("cancelled", id=name, reason="")
            else:
                side = working.order.side.value
                deal = {"id": name, "fill": f"F{number}", "instrument": "EURUSD", "side": side, "quantity": "1000"}
                to.note("fill", **deal, price="1.38627", fee="0", known=True)
            if number % 20_000 == 0:
                to.settle()
                to.turn()
        to.settle()
        count = journal.seq
    return count, sum(path.stat().st_size for path in segments(home / "journal" / "engine"))


def weights(home: Path, count: int, length: int) -> str:
    """Bytes a record, raw and compressed."""
    packing = zstandard.ZstdCompressor(level=3).compressobj()
    packed = 0
    for path in segments(home / "journal" / "engine"):
        packed += sum(len(packing.compress(chunk)) for chunk in chunks(path))
    packed += len(packing.flush())
    raw, small = length / count, packed / count
    return f"bytes a record: {raw:.0f} raw, {small:.0f} compressed ({raw / small:.1f} times smaller)"


# -- The others -------------------------------------------------------------------------------------------


def same_records(working: Working, count: int) -> Iterator[dict[str, Any]]:
    """What ours are given."""
    for number in range(count):
        mono = time.monotonic_ns()
        yield records.permit(number, mono // 1000, mono, 1, working)


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(record.msg).decode()


def by_logging(directory: Path, working: Working, count: int) -> Row:
    """The standard library's logging, a JSON line each."""
    logger = logging.getLogger(f"bench.{directory}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.FileHandler(directory / "logging.jsonl")
    handler.setFormatter(_AsJson())
    logger.addHandler(handler)
    watch = Watch()
    for record in same_records(working, count):
        logger.info(record)
    row = watch.row("logging, JSON lines (handed to the system)", count)
    handler.close()
    return row


def by_sqlite(directory: Path, working: Working, count: int, batch: int) -> Row:
    """SQLite, in WAL mode with synchronous=FULL, so many records a transaction."""
    base = sqlite3.connect(directory / f"sqlite-{batch}.db", isolation_level=None)
    require(base.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",), "no WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, record BLOB)")
    watch = Watch()
    base.execute("BEGIN")
    for number, record in enumerate(same_records(working, count), 1):
        base.execute("INSERT INTO log (record) VALUES (?)", (orjson.dumps(record),))
        if number % batch == 0:
            base.execute("COMMIT")
            base.execute("BEGIN")
    base.execute("COMMIT")
    what = "a transaction a record" if batch == 1 else f"transactions of {batch}"
    row = watch.row(f"SQLite, WAL, synchronous=FULL, {what} (disk)", count)
    base.close()
    return row


def by_pymerkle(directory: Path, working: Working, count: int) -> Row | str:
    """A Merkle log in a SQLite file, which has one way to append."""
    try:
        from pymerkle import SqliteTree  # noqa: PLC0415 - optional
    except ImportError:
        return "pymerkle is not installed: pip install interlock[bench]"
    with SqliteTree(str(directory / "pymerkle.db")) as tree:
        watch = Watch()
        for record in same_records(working, count):
            tree.append_entry(orjson.dumps(record))
        row = watch.row("pymerkle, SqliteTree, a transaction a record (disk)", count)
        require(tree.get_size() == count, "entries are missing")
    return row


# -- All of it ----------------------------------------------------------------------------------------------


def best(measure: Callable[[Path], Row], directory: Path, rounds: int) -> Row:
    """The fastest of some rounds: what others do on the machine only ever adds."""
    rows = [measure(_fresh(directory)) for _ in range(rounds)]
    return min(rows, key=lambda row: row.seconds / row.records)


def _fresh(directory: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=directory))


def measure_journal(directory: Path, *, short: bool = False, only_ours: bool = False) -> list[str]:
    """Measure, and say it in lines."""
    rounds, scale = (3, 1) if short else (7, 10)
    working = granted(make_home(directory, "limits"))
    appended = best(lambda place: append(place, working, 10_000 * scale), directory, rounds)
    way_ns = min(on_the_way(_fresh(directory), working, 10_000 * scale) for _ in range(rounds))
    made_ns = min(made(working, 10_000 * scale) for _ in range(rounds))
    committed = best(lambda place: group_commit(place, working, 20 * scale), directory, rounds)
    large = best(lambda place: group_commit(place, working, 10 * scale, LARGE), directory, rounds)
    counted, written = flood(directory, working, 10_000 * scale)
    recovered, notes = recovery(directory, 2**25 if short else 2**30)
    rows = [appended, committed, large, counted, written, recovered]
    group = max(one.records / one.seconds for one in (committed, large))
    said = [
        f"append in process: {way_ns / 1000:.2f} us a record at the median (to reach: 0.8)",
        f"append in process: {way_ns / made_ns:.2f} times making the JSON alone ({made_ns / 1000:.2f} us)",
        f"group commit in disk: {group:,.0f} records/s (to reach: 250,000)",
    ]
    if not only_ours:
        logged = best(lambda place: by_logging(place, working, 5_000 * scale), directory, rounds)
        grouped = best(lambda place: by_sqlite(place, working, 20 * BATCH * scale, BATCH), directory, rounds)
        single = best(lambda place: by_sqlite(place, working, 50 * scale, 1), directory, 1)
        merkle = by_pymerkle(directory, working, 50 * scale)
        rows += [logged, grouped, single]
        said.append(f"append: {_times(logged, appended)} times as fast as logging, with a Merkle tree")
        said.append(f"group commit: {_times(grouped, committed)} times as fast as SQLite's, with a Merkle tree")
        if isinstance(merkle, Row):
            rows.append(merkle)
            said.append(
                f"group commit: {_times(merkle, committed)} times as fast as pymerkle, which has a transaction a record"
            )
        else:
            said.append(merkle)
    return [*map(str, rows), *notes, *said]


def _times(other: Row, ours: Row) -> str:
    return f"{(other.seconds / other.records) / (ours.seconds / ours.records):.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.journal", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a form of half a minute, for CI")
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        for line in measure_journal(Path(name), short=options.short, only_ours=options.only_ours):
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
