"""The recorder: what a kernel says in its journal, with times and numbers.

It puts times on records, counts what would flood the journal if every one were written (ticks that gate 1
refused, orders that gate 2 refuses over and over, running totals), and carries over what recovery salvaged. It
raises nothing: a journal that broke says so in ``journal.broken``, and whoever records has to look there and halt.

Records are made under the kernel's lock, and each takes its time when it is made, so ``mono`` never goes
back from one to the next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from interlock.core.values import Order
from interlock.journal import records
from interlock.journal.rows import MOST, Refusals
from interlock.journal.writer import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from interlock.core.ledger import Account, Working
    from interlock.core.values import Fill, HaltCause, Quote, Trade, Verdict
    from interlock.journal.writer import Journal

__all__ = ["Recorder"]

_REBASE_NS: Final = 1 << 52
_CLOCK_STEP_US: Final = 999_998  # a second, less what the times of two records lose when they are cut to microseconds
_NOTHING: Final = (0, 0, 0)

_ENDS_ROWS: Final = frozenset({"start", "stop", "halt", "reset", "end"})

Record = dict[str, object]


class Recorder:
    """Records for one run.

    Args:
        journal: where they go.
        mono_ns: reads the monotonic clock.
        utc_us: reads the time, UTC.
        run: the run's UUID.
        version: the kernel's.
        disk: whether what is sealed is also made durable on disk.

    Attributes:
        ticks: consulted about in this run; `blocked`, `permits` and `refusals` likewise.
        row: the row of refused ticks that is open, or None.
        refused: the row of refused orders.
        standing: tells what is owned and owed now, at the beginning of a segment; None: it is not told.
        utc_ns: what to add to monotonic time to get UTC.
        durable: every record with a smaller number is on the disk.
    """

    __slots__ = (
        "_beaten",
        "_disk",
        "_marked",
        "_mono",
        "_permit",
        "_run",
        "_sent",
        "_utc",
        "_version",
        "blocked",
        "durable",
        "journal",
        "permits",
        "refusals",
        "refused",
        "row",
        "standing",
        "ticks",
        "utc_ns",
        "zero_ns",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        mono_ns: Callable[[], int],
        utc_us: Callable[[], int],
        run: str,
        version: str,
        disk: bool,
    ) -> None:
        self.journal = journal
        self._mono = mono_ns
        self._utc = utc_us
        self._run = run
        self._version = version
        self._disk = disk
        self.zero_ns = mono_ns()
        self.utc_ns = utc_us() * 1000 - self.zero_ns
        self.durable = journal.seq
        self.ticks = self.blocked = self.permits = self.refusals = 0
        self._beaten = (0, 0, 0, 0)
        self._marked: dict[str, tuple[int, int, int]] = {}
        self.row: tuple[str, str | None, int, int, int] | None = None
        self.standing: Callable[[], Record | None] | None = None
        self.refused = Refusals(self._flood)
        self._permit, self._sent = records.blank("permit"), records.blank("sent")

    # -- Making and writing ----------------------------------------------------------------------

    def _head(self, kind: str, mono: int) -> Record:
        return records.head(self.journal.next(), kind, (mono + self.utc_ns) // 1000, mono - self.zero_ns)

    def write(self, kind: str, /, mono: int | None = None, **members: object) -> int | None:
        """Write a record now. Returns its number, or None if the journal is broken.

        Args:
            kind: of the record.
            mono: when, if it was decided a moment ago: nothing was recorded since.
            **members: in the order of the format.
        """
        if kind in _ENDS_ROWS:
            self._end_rows(mono)
        record = {**self._head(kind, self._mono() if mono is None else mono), **members}
        number = self.journal.seq
        try:
            self.journal.write(record)
        except JournalError:
            return None
        return number

    def begin(self, **members: object) -> None:
        """Write the ``run`` record, which stands at the run's zero; before it, what an empty segment begins with."""
        try:
            if self.journal.fresh:
                self.journal.begin((self.zero_ns + self.utc_ns) // 1000, 0)
            self.journal.write({**self._head("run", self.zero_ns), **members})
        except JournalError:
            return

    def note(self, kind: str, **members: object) -> None:
        """Append a record that may wait for the next write."""
        if kind in _ENDS_ROWS:
            self._end_rows()
        record = {**self._head(kind, self._mono()), **members}
        try:
            self.journal.note(record)
        except JournalError:
            return

    def seal(self) -> int | None:
        """End the batch. Returns how many records are sealed then, or None if the journal is broken."""
        mono = self._mono()
        try:
            self.journal.seal((mono + self.utc_ns) // 1000, mono - self.zero_ns)
        except JournalError:
            return None
        return self.journal.seq

    def sync(self, upto: int) -> None:
        """Wait for the disk: the first ``upto`` records are durable then."""
        try:
            self.journal.sync()
            self.durable = upto
        except JournalError:
            return

    def settle(self) -> None:
        """End the batch, and wait for the disk if so configured."""
        sealed = self.seal()
        if self._disk and sealed is not None:
            self.sync(sealed)

    def turn(self) -> None:
        """Begin a new segment, if it is time for one. It waits for the disk, so it is for the heartbeat."""
        mono = self._mono()
        ts = (mono + self.utc_ns) // 1000
        journal = self.journal
        try:
            if journal.full is None and journal.due(ts):
                journal.turn(ts, mono - self.zero_ns)
                self.durable = journal.seq
                if journal.full is None:
                    self._tell_ledger()
        except JournalError:
            return

    def _tell_ledger(self) -> None:
        """Say where a restart may begin: right behind the seal of a new segment, under a seal of its own."""
        state = self.standing() if self.standing is not None else None
        if state is not None:
            self.note("ledger", state=state)
            self.settle()

    # -- On the way of an order --------------------------------------------------------------------

    def permit(self, working: Working, epoch: int, mono: int) -> bool:
        """Number a granted order and write its permit; False if the journal is broken, or full now."""
        if self.refused.seen:
            self.refused.end(mono)
        journal = self.journal
        number = working.number = journal.next() if journal.waiting else journal.seq
        self.permits += 1
        try:
            ts = (mono + self.utc_ns) // 1000
            journal.write(records.permit(number, ts, mono - self.zero_ns, epoch, working, self._permit))
        except JournalError:
            return False
        return journal.full is None

    def sent(self, working: Working, said: str | None) -> None:
        """A send returned. Its record waits for the next write, as bytes: to keep what it is made of costs more."""
        mono = self._mono()
        zero = self.zero_ns
        ts = (mono + self.utc_ns) // 1000
        journal = self.journal
        number = journal.next() if journal.waiting else journal.seq
        try:
            begun = working.begun_ns - zero
            journal.note(records.sent(number, ts, mono - zero, working.number, begun, said, self._sent))
        except JournalError:
            return

    def unknown(self, working: Working, said: str) -> None:
        """A send raised."""
        self.write("unknown", permit=working.number, begun=working.begun_ns - self.zero_ns, error=said)

    def refuse(self, order: Order, verdict: Verdict, epoch: int, mode: str, mono: int) -> None:
        """Gate 2 refused. An order is frozen, and its record may wait; anything else is recorded as it is now."""
        self.refusals += 1
        code = verdict.reason
        ts = (mono + self.utc_ns) // 1000
        if self.refused.counts(order, code, mode, epoch, mono, ts):
            return
        journal = self.journal
        journal.defer(
            records.refuse,
            ts,
            mono - self.zero_ns,
            epoch,
            mode,
            order,
            code,
            verdict.limit,
            verdict.value,
        )
        if order.__class__ is not Order:
            journal.next()

    def _flood(self, members: Record, mono: int | None) -> None:
        """How many refusals were counted."""
        record = {**self._head("flood", self._mono() if mono is None else mono), **members}
        try:
            # So many are not left waiting: nothing else may be written for long.
            (self.journal.write if members["count"] == MOST else self.journal.note)(record)
        except JournalError:
            return

    # -- The kill switch -------------------------------------------------------------------------

    def halt(self, cause: HaltCause, at_ns: int, *, epoch: int, first: bool, in_flight: Sequence[int]) -> None:
        """The kernel is HALTED; ``at_ns`` is the monotonic time at which emission had stopped."""
        ts = cause.ts_us or (at_ns + self.utc_ns) // 1000
        utc = datetime.fromtimestamp(ts // 1_000_000, UTC)
        self.write(
            "halt",
            marker=records.MARKER,
            run=self._run,
            utc=f"{utc:%Y-%m-%dT%H:%M:%S}.{ts % 1_000_000:06d}Z",
            version=self._version,
            epoch=epoch,
            code=str(cause.code),
            reason=records.text(cause.reason),
            source=records.text(cause.source),
            operator=None if cause.operator is None else records.text(cause.operator),
            at=at_ns - self.zero_ns,
            first=first,
            in_flight=list(in_flight),
        )

    # -- What the venue says -----------------------------------------------------------------------

    def fill(self, fill: Fill, *, known: bool) -> None:
        """The venue executed."""
        mono = self._mono()
        record = records.fill(self.journal.next(), (mono + self.utc_ns) // 1000, mono - self.zero_ns, fill, known=known)
        try:
            self.journal.write(record)
        except JournalError:
            return

    # -- What is counted -------------------------------------------------------------------------

    def block(self, verdict: Verdict, tick: Quote | Trade, mono: int) -> None:
        """Gate 1 refused a tick: one record for a row of equal refusals."""
        self.blocked += 1
        ts = (mono + self.utc_ns) // 1000
        code = verdict.reason
        instrument = records.printed(records.member(tick, "instrument"))  # anything may raise when it is compared
        block = self.row
        if block is not None and block[0] is code and block[1] == instrument:
            self.row = (code, instrument, block[2] + 1, block[3], ts)
            return
        self.unblock()
        self.row = (code, instrument, 1, ts, ts)

    def unblock(self, mono: int | None = None) -> None:
        """Write down the row of refused ticks, if there is one; as of a moment ago, if what ends it was then."""
        if self.row is None:
            return
        code, instrument, count, first, last = self.row
        self.row = None
        members: Record = {
            "code": str(code),
            "instrument": instrument,
            "count": count,
            "first_ts": first,
            "last_ts": last,
        }
        record = {**self._head("block", self._mono() if mono is None else mono), **members}
        try:
            self.journal.note(record)
        except JournalError:
            return

    def close_rows(self) -> None:
        """Write down what was counted up to now, of ticks and of orders."""
        self.unblock()
        self.refused.tell()

    def _end_rows(self, mono: int | None = None) -> None:
        """As `close_rows`; the next refusal is the first of another row, and tickets are over."""
        self.unblock(mono)
        self.refused.end(mono)
        self.refused.ticketed.clear()

    def totals(self, accounts: Iterable[Account]) -> None:
        """Running totals and equity, where they changed since they were written."""
        totals = (self.ticks, self.blocked, self.permits, self.refusals)
        if totals != self._beaten:
            self.close_rows()  # the records up to here add up to the totals
            self._beaten = totals
            self.note(
                "beat",
                ticks=self.ticks,
                consulted=self.ticks - self.blocked,
                blocked=self.blocked,
                permits=self.permits,
                refusals=self.refusals,
            )
        for account in accounts:
            now = (account.equity, account.opening, account.peak)
            if now != self._marked.get(account.currency, _NOTHING):
                self._marked[account.currency] = now
                equity, opening, peak = (account.text(amount) for amount in now)
                self.note("mark", currency=account.currency, equity=equity, opening=opening, peak=peak)

    def anchor(self, *, idle: bool) -> None:
        """Tie monotonic time to UTC again; a step of the clock is an anomaly.

        Args:
            idle: whether no permit is open, so that the run's zero may be moved.
        """
        mono = self._mono()
        utc_ns = self._utc() * 1000 - mono
        step_us = (utc_ns - self.utc_ns) // 1000
        self.utc_ns = utc_ns
        if abs(step_us) > _CLOCK_STEP_US:
            self.note("anomaly", code="CLOCK_STEP", detail=f"UTC moved by {step_us} us")
        if idle and mono - self.zero_ns > _REBASE_NS:  # integers in a journal stay below 2^53
            zero = self._mono()
            shift, self.zero_ns = zero - self.zero_ns, zero
            self.note("rebase", shift=shift)

    def clock_back(self, last_ts: int) -> None:
        """Say so if this run began earlier, by UTC, than the journal's last record was written."""
        back_us = last_ts - (self.zero_ns + self.utc_ns) // 1000
        if back_us > _CLOCK_STEP_US:
            self.note("anomaly", code="CLOCK_BACK", detail=f"UTC is {back_us} us before the last record's")

    # -- After a crash ---------------------------------------------------------------------------

    def recover(self, *, sealed: int, root: str, torn_file: str, torn: bytes, salvaged: Sequence[Record]) -> None:
        """What recovery set aside, and every whole record in it. It is sealed whole: no seal stands in between."""
        self.journal.holding = True
        self.write(
            "recover",
            sealed=sealed,
            root=root,
            torn_file=torn_file,
            torn_bytes=len(torn),
            torn_sha256=sha256(torn).hexdigest(),
            salvaged=len(salvaged),
        )
        for record in salvaged:
            self.note("salvage", record=record)
        self.journal.holding = False
