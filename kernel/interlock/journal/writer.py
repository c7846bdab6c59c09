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
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from orjson import OPT_STRICT_INTEGER, JSONEncodeError, dumps

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.journal.tree import Tree

__all__ = ["BATCH", "Journal", "JournalError", "Sink"]

BATCH: Final = 1024
"""Records after which a seal is written."""

_BUFFER_BYTES: Final = 1 << 16
_LINE_BYTES: Final = 1 << 12
"""Longer than the lines that wait."""


class JournalError(InterlockError):
    """The journal could not take a record, now or earlier. The kernel must halt."""


class Sink(Protocol):
    """Where the bytes go: a file, or what a test puts there. Raises OSError when it can't."""

    def write(self, data: bytes) -> None:
        """Take all of it, in such a way that it outlives this process."""

    def sync(self) -> None:
        """Make all that was taken outlive the machine's power."""


class Journal:
    """Appends records to one sink.

    Args:
        sink: takes the lines.
        tree: over the lines that are already there.

    Attributes:
        seq: the number of the next record, but for those deferred; see `next`.
        size_bytes: bytes written by this writer.
        broken: why it can't be written any more, or None.
        holding: while it is set, no batch ends by itself: what belongs together is sealed together.
    """

    __slots__ = ("_buffer", "_deferred", "_leaves", "_sink", "_tree", "broken", "holding", "seq", "size_bytes")

    def __init__(self, sink: Sink, tree: Tree) -> None:
        self._sink = sink
        self._tree = tree
        self._leaves: list[bytes] = []
        self._buffer = bytearray()
        self._deferred: list[tuple[Callable[..., dict[str, object]], tuple[object, ...]]] = []
        self.seq = tree.size
        self.size_bytes = 0
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
            line = dumps(record, option=OPT_STRICT_INTEGER)  # an integer of 2^53 or more is refused
            self._leaves.append(line)
            if self._buffer:
                self._buffer += line
                self._buffer += b"\n"
                self._flush()
            else:
                self._sink.write(line + b"\n")
                self.size_bytes += len(line) + 1
            self.seq += 1
            if len(self._leaves) >= BATCH and not self.holding:
                self.seal(record["ts"], record["mono"])
        except BaseException as error:
            self._break(error)
            raise

    def defer(self, make: Callable[..., dict[str, object]], *arguments: object) -> None:
        """Append a record that is made only when something is written or flushed.

        Args:
            make: called with the record's number, then the arguments, which must not change.
            *arguments: of the record.
        """
        self._deferred.append((make, arguments))
        if len(self._deferred) >= BATCH:
            self.next()

    def next(self) -> int:
        """The number of the next record, once all that was deferred has its own.

        If the journal breaks on the way it says so at the next `write`, which is when it matters.
        """
        if self._deferred:
            deferred, self._deferred = self._deferred, []
            try:
                for make, arguments in deferred:
                    self.note(make(self.seq, *arguments))
            except JournalError:
                return self.seq
            except BaseException as error:
                self._break(error)
                raise
        return self.seq

    def note(self, record: dict[str, object]) -> None:
        """Append a record that may wait for the next `write`, `flush` or `seal`."""
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            line = dumps(record, option=OPT_STRICT_INTEGER)  # an integer of 2^53 or more is refused
            self._leaves.append(line)
            self._buffer += line
            self._buffer += b"\n"
            self.seq += 1
            if len(self._leaves) >= BATCH and not self.holding:
                self.seal(record["ts"], record["mono"])
            elif len(self._buffer) > _BUFFER_BYTES:
                self._flush()
        except BaseException as error:
            self._break(error)
            raise

    @property
    def roomy(self) -> bool:
        """Whether a `note` would only wait now, and write nothing."""
        waiting = len(self._deferred) + 1
        return len(self._leaves) + waiting < BATCH and len(self._buffer) + waiting * _LINE_BYTES < _BUFFER_BYTES

    def flush(self) -> None:
        """Hand all that waits to the sink."""
        if self.broken is not None:
            raise JournalError(self.broken)
        if self._deferred:
            self.next()
        try:
            if self._buffer:
                self._flush()
        except BaseException as error:
            self._break(error)
            raise

    def seal(self, ts: object, mono: object) -> None:
        """End the batch, if there is one, with a seal made at ``ts`` (us) and ``mono`` (ns)."""
        if self.broken is not None:
            raise JournalError(self.broken)
        if self._deferred:
            self.next()
        if not self._leaves:
            return
        try:
            self._tree.extend(self._leaves)
            line = dumps(
                {
                    "v": 1,
                    "seq": self.seq,
                    "kind": "seal",
                    "ts": ts,
                    "mono": mono,
                    "size": self._tree.size,
                    "root": self._tree.root(),
                }
            )
            self._buffer += line
            self._buffer += b"\n"
            self.seq += 1
            self._flush()
            self._tree.extend([line])  # no batch is open again until a record follows
            self._leaves = []
        except BaseException as error:
            self._break(error)
            raise

    def sync(self) -> None:
        """Make all that was written durable."""
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            self._sink.sync()
        except OSError as error:  # an interrupt while waiting breaks nothing: all was written before
            self._break(error)

    def _flush(self) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        self._sink.write(data)
        self.size_bytes += len(data)

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
