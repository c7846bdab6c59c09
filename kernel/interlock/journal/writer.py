"""The writer: numbers records, makes them lines, seals batches.

Two rules.

1. **A record is written, or the journal is broken.** The first write or sync that fails, or is interrupted,
   breaks it for good: every later call raises `JournalError` at once. A retry after a failed write could leave
   a hole that nobody sees.
2. **Only what must be there before something else happens is written at once** (`write`). What
   merely tells what was may wait for the next write, in its place in the order: as bytes (`note`), or
   even unmade (`defer`), so that it costs the way of an order next to nothing.

A batch ends in a seal: a record with the Merkle root over all lines before it. The seal is a leaf of the
tree like any other line.

Nothing is hashed on the way of an order: the lines of a batch are kept as they were written, in one piece, and become
leaves of the tree when the batch ends.

The journal is cut into segments, each a file that begins with a `segment` record. A new one is begun by
`turn`, which waits for the disk, and so is for the heartbeat; only if nobody beats does the seal of a batch begin
one, when the open one has twice its size. **No room is not yet a failure:** the sink keeps some in reserve, and
says in time that it can't get more (`full`). Then the kernel halts, and what must be told of that still fits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast

from orjson import OPT_APPEND_NEWLINE, OPT_STRICT_INTEGER, JSONEncodeError, dumps

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.journal.tree import Tree

__all__ = ["BATCH", "SEGMENT_BYTES", "Journal", "JournalError", "NoRoomError", "Sink"]

BATCH: Final = 1024
"""Records after which a seal is written."""

SEGMENT_BYTES: Final = 1 << 28
"""The size at which a new segment is begun."""

_BUFFER_BYTES: Final = 1 << 16
_DAY_US: Final = 86_400_000_000
_LINE_BYTES: Final = 1 << 12
"""Longer than the lines that wait."""

_LINE: Final = OPT_STRICT_INTEGER | OPT_APPEND_NEWLINE
"""How a record becomes a line; an integer of 2^53 or more is refused."""


class JournalError(InterlockError):
    """The journal could not take a record, now or earlier. The kernel must halt."""


class NoRoomError(OSError):
    """There is no room for a new segment; the open one is as it was."""


class Sink(Protocol):
    """Where the bytes go: a file, or what a test puts there. Raises OSError when it can't."""

    def write(self, data: bytes | bytearray) -> str | None:
        """Take all of it, in such a way that it outlives this process.

        Returns:
            Why there is no more room than the reserve now, or None.
        """

    def sync(self) -> None:
        """Make all that was taken outlive the machine's power."""

    def room(self) -> str | None:
        """Try again to get more room than the reserve; returns what `write` does."""

    def turn(self, first: int, opening: bytes) -> None:
        """Close the open segment for good, and begin the next, on the disk.

        Args:
            first: the number of its first record.
            opening: its first bytes.

        Raises:
            NoRoomError: there is no room for it.
        """


class Journal:
    """Appends records to one sink.

    Args:
        sink: takes the lines.
        tree: over the lines that are already there.
        day: the day (UTC, since 1970) on which the open segment was begun; None: it is still empty.
        size: bytes in the open segment.
        segment_bytes: the size at which a new one is begun.

    Attributes:
        seq: the number of the next record, but for those deferred; see `next`.
        broken: why it can't be written any more, or None.
        full: why it can't get more room than its reserve, or None.
        holding: while it is set, no batch ends by itself: what belongs together is sealed together.
        opening: gives the members of a ``segment`` record that tell whose it is, from ``origin`` to ``config``.
        waiting: what was deferred.
    """

    __slots__ = (
        "_batch",
        "_before",
        "_day",
        "_full_at",
        "_limit",
        "_sink",
        "_size",
        "_tree",
        "_written",
        "broken",
        "full",
        "holding",
        "opening",
        "seq",
        "waiting",
    )

    def __init__(
        self, sink: Sink, tree: Tree, day: int | None = None, *, size: int = 0, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._sink = sink
        self._tree = tree
        self._day = day
        self._size = size  # before this writer's first byte; so the open segment has that and `size_bytes`
        self._before = 0  # bytes written by this writer before the open batch
        self._limit = segment_bytes
        self.opening: Callable[[], dict[str, object]] | None = None
        self.full: str | None = None
        self._batch = bytearray()  # the lines since the last seal
        self._written = 0  # so many bytes of these are with the sink
        self._full_at = tree.size + BATCH  # with so many records the batch ends by itself
        self.waiting: list[tuple[Callable[..., dict[str, object]], tuple[object, ...]]] = []
        self.seq = tree.size
        self.broken: str | None = None
        self.holding = False

    def write(self, record: dict[str, object]) -> None:
        """Append a record; when this returns, it and all before it are with the sink.

        Args:
            record: with ``seq`` equal to `seq`; the keys in the order of the format.

        Raises:
            JournalError: it is broken, now or since earlier.
        """
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            data: bytes | bytearray = dumps(record, option=_LINE)
            batch = self._batch
            alone = self._written == len(batch)
            batch += data
            if not alone:
                data = batch[self._written :]
            full = self._sink.write(data)
            if full is not None:
                self.full = full
            self._written += len(data)
            self.seq = after = self.seq + 1
            if after >= self._full_at and not self.holding:
                self._seal_at(record)
        except BaseException as error:
            self._break(error)
            raise

    def defer(self, make: Callable[..., dict[str, object]], *arguments: object) -> None:
        """Append a record that is made only when something is written or flushed.

        Args:
            make: called with the record's number, then the arguments, which must not change.
            *arguments: of the record.
        """
        self.waiting.append((make, arguments))
        if len(self.waiting) >= BATCH:
            self.next()

    def next(self) -> int:
        """The number of the next record, once all that was deferred has its own.

        If the journal breaks on the way it says so at the next `write`, which is when it matters.
        """
        if self.waiting:
            deferred, self.waiting = self.waiting, []
            if self.broken is not None:
                return self.seq
            try:
                for make, arguments in deferred:
                    self._append(make(self.seq, *arguments))
            except (JournalError, OSError, JSONEncodeError) as error:
                with suppress(JournalError):
                    self._break(error)
            except BaseException as error:
                self._break(error)
                raise
        return self.seq

    def note(self, record: dict[str, object]) -> None:
        """Append a record that may wait for the next `write`, `flush` or `seal`."""
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            self._append(record)
        except BaseException as error:
            self._break(error)
            raise

    @property
    def size_bytes(self) -> int:
        """Bytes written by this writer."""
        return self._before + self._written

    @property
    def roomy(self) -> bool:
        """Whether a `note` would only wait now, and write nothing."""
        waiting = len(self.waiting) + 1
        waits = len(self._batch) - self._written
        return self.seq + waiting < self._full_at and waits + waiting * _LINE_BYTES < _BUFFER_BYTES

    def flush(self) -> None:
        """Hand all that waits to the sink."""
        if self.broken is not None:
            raise JournalError(self.broken)
        if self.waiting:
            self.next()
        try:
            self._flush()
        except BaseException as error:
            self._break(error)
            raise

    def seal(self, ts: int, mono: int) -> None:
        """End the batch, if there is one, with a seal made at ``ts`` (us) and ``mono`` (ns)."""
        self._end_batch(ts, mono)
        if self.opening is not None and not self.holding and self._size + self.size_bytes >= 2 * self._limit:
            self.turn(ts, mono)  # nobody beats

    def _end_batch(self, ts: int, mono: int) -> None:
        if self.broken is not None:
            raise JournalError(self.broken)
        if self.waiting:
            self.next()
        if not self._batch:
            return
        try:
            self._tree.grow(bytes(self._batch))
            self._flush()  # and then the seal by itself: what stands before one was written whole
            line = _seal(self.seq, ts, mono, self._tree)
            self._batch += line
            self.seq += 1
            self._flush()
            self._tree.grow(line)  # no batch is open again until a record follows
            self._before += self._written
            self._batch, self._written = bytearray(), 0
            self._full_at = self.seq + BATCH
        except BaseException as error:
            self._break(error)
            raise

    # -- Segments ------------------------------------------------------------------------------------

    @property
    def sealed(self) -> tuple[int, str]:
        """Size and root of the tree up to and with the last seal: right after `seal`, what a checkpoint signs."""
        return self._tree.size, self._tree.root()

    @property
    def fresh(self) -> bool:
        """Whether the open segment is still empty."""
        return self._day is None

    def due(self, ts: int) -> bool:
        """Whether at this time (us) a new segment is to be begun."""
        return self._size + self.size_bytes >= self._limit or ts // _DAY_US != self._day

    def begin(self, ts: int, mono: int) -> None:
        """Write the ``segment`` record of an empty segment; no seal follows."""
        self._day = ts // _DAY_US
        self.write(self._opening(ts, mono))

    def turn(self, ts: int, mono: int) -> None:
        """Seal, close this segment for good, and begin the next one, which is sealed and on the disk when it appears.

        All that was written before is on the disk, too, when this returns. If there is no room for a new segment
        this one goes on, and the journal is `full`.

        Raises:
            JournalError: it is broken, now or since earlier.
        """
        self._end_batch(ts, mono)
        try:
            line = dumps(self._opening(ts, mono), option=_LINE)
            tree = self._tree.copy()
            tree.grow(line)
            seal = _seal(self.seq + 1, ts, mono, tree)
            tree.grow(seal)
            opening = line + seal
            self._sink.turn(self.seq, opening)
        except NoRoomError as error:
            self.full = str(error)
            return
        except BaseException as error:
            self._break(error)
            raise
        self._tree = tree
        self.seq += 2
        self._full_at = self.seq + BATCH
        self._size = -self.size_bytes
        self._before += len(opening)
        self._day = ts // _DAY_US

    def _opening(self, ts: int, mono: int) -> dict[str, object]:
        tree = self._tree
        given = self.opening() if self.opening is not None else {}
        return {
            "v": 1,
            "seq": self.seq,
            "kind": "segment",
            "ts": ts,
            "mono": mono,
            **given,
            "size": tree.size,
            "root": tree.root(),
            "peaks": tree.peaks(),
        }

    def room(self) -> None:
        """Try again to get the room that was not to be had; `full` says whether it was."""
        if self.full is not None and self.broken is None:
            self.full = self._sink.room()

    # -- To the sink -----------------------------------------------------------------------------------

    def _append(self, record: dict[str, object]) -> None:
        """Put a record into the batch; end that if it is large enough, or hand on what waits if that is much."""
        self._batch += dumps(record, option=_LINE)
        self.seq += 1
        if self.seq >= self._full_at and not self.holding:
            self._seal_at(record)
        elif len(self._batch) - self._written > _BUFFER_BYTES:
            self._flush()

    def _seal_at(self, record: dict[str, object]) -> None:
        """End the batch at the time of its last record."""
        self.seal(cast("int", record["ts"]), cast("int", record["mono"]))

    def sync(self) -> None:
        """Make all that was written durable."""
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            self._sink.sync()
        except OSError as error:  # an interrupt while waiting breaks nothing: all was written before
            self._break(error)

    def _flush(self) -> None:
        data = self._batch[self._written :]
        if not data:
            return
        full = self._sink.write(data)
        if full is not None:
            self.full = full
        self._written += len(data)

    def _break(self, error: BaseException) -> None:
        """Never write again: after a failure, or an interrupt half-way, nobody knows what stands there.

        Raises:
            JournalError: the sink or the encoder failed. What else it was is the caller's to raise again.
        """
        if isinstance(error, JournalError):  # of an inner step, which has broken it already
            return
        self.broken = f"the journal cannot be written: {str(error) or type(error).__name__}"
        if isinstance(error, OSError | JSONEncodeError):
            raise JournalError(self.broken) from error


def _seal(seq: int, ts: int, mono: int, tree: Tree) -> bytes:
    """The line of a seal over a tree."""
    return dumps(
        {"v": 1, "seq": seq, "kind": "seal", "ts": ts, "mono": mono, "size": tree.size, "root": tree.root()},
        option=_LINE,
    )
