"""Recovery: how far the journal can be trusted after whatever ended the last run.

Lines are fed in one by one. Up to the last seal whose root is right, everything stands. What
follows is the tail: records that are whole and in sequence, but bound by no root yet; then, perhaps,
bytes that are no record. The tail is not thrown away: its bytes are set aside by the caller, and its whole
records are carried over, because each of them may stand for an order at the venue.

If a seal stands behind the first broken line, the journal was not torn at its end but damaged in its middle.
The same goes for a whole object that is no record or cannot be played, and for segments that do not follow
one another.
No crash does that, so the caller must halt.

`feed` is the definition. `scan` does the same for a whole segment, and faster: a batch whose root is right is,
byte for byte, what was written, so its lines need not be encoded again to be believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from interlock.journal.records import KEYS
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Recovery"]

_DAY_US: Final = 86_400_000_000
_SEAL: Final = b'"kind":"seal"'
_HEAD_BYTES: Final = 64
"""Within so many bytes of a line its kind is told."""

_MOST_BATCH: Final = 1 << 16


@attrs.define(kw_only=True)
class Recovery:
    """Feed it every line of the journal, in order; `begin` before each segment.

    Attributes:
        visit: called with each record that counts, sealed or in the tail.
        sealed_bytes: how many bytes of the current segment the last valid seal closes.
        tree: over the sealed lines.
        day: the day (UTC, since 1970) on which the current segment was begun; None: no seal closes its beginning.
        last_ts: the time of the last seal, or of the last record behind it if that is later.
        tail: the records behind it, decoded.
        mark: a size of the tree, whose root is wanted.
        marked: the root at that size, in hex, or None as long as no seal ended there.
        torn: whether bytes were met that are no record in sequence.
        damaged: whether a seal was met behind such bytes, or a seal with a wrong root, or what no crash leaves.
    """

    visit: Callable[[Mapping[str, object]], None]
    tree: Tree = attrs.field(factory=Tree)
    sealed_bytes: int = 0
    day: int | None = None
    last_ts: int = 0
    tail: list[dict[str, object]] = attrs.field(factory=list)
    mark: int = -1
    marked: str | None = None
    torn: bool = False
    damaged: bool = False
    _pending: list[bytes] = attrs.field(factory=list)
    _position: int = 0
    _seq: int = 0
    _opened: int = 0

    def begin(self, first: int) -> bool:
        """A segment begins, by its name with record ``first``. False if it does not follow: then it is not fed."""
        if self.torn or self.tail or first != self._seq:
            self.torn = self.damaged = True
            return False
        self.sealed_bytes = self._position = 0
        self.day = None
        return True

    def feed(self, line: bytes) -> None:
        """Take one line with its newline, or the last bytes without one."""
        if self.torn:
            self.damaged = self.damaged or _seals(line)
            return
        record = _decode(line, self._seq)
        if record is None:
            self.torn = True
            self.damaged = line.endswith(b"\n") and _seals(line)
            return
        if [*record] != KEYS.get(str(record["kind"])) or not self._belongs(record):
            self.torn = self.damaged = True
            return
        if record["kind"] == "seal":
            self._seal(record, line)
            return
        try:
            self.visit(record)
        except Exception:  # noqa: BLE001 - whatever it is that can't be played, nobody here wrote it
            self.torn = self.damaged = True
            return
        self._pending.append(line[:-1])
        self.tail.append(record)
        self.last_ts = max(self.last_ts, _time(record))
        self._position += len(line)
        self._seq += 1

    def _belongs(self, record: Mapping[str, object]) -> bool:
        """Whether a segment begins with its ``segment`` record, which tells the tree before it, and no other is one."""
        if self._position:
            return record["kind"] != "segment"
        if record["kind"] != "segment":
            return False
        self._opened = _time(record) // _DAY_US
        tree = self.tree
        return (record["size"], record["root"], record["peaks"]) == (tree.size, tree.root(), tree.peaks())

    def _seal(self, record: Mapping[str, object], line: bytes) -> None:
        """A seal: what is pending is bound, or it is wrong, and the tree stays as the last right one left it."""
        self._position += len(line)
        self._seq += 1
        grown = self.tree.copy()
        grown.extend(self._pending)
        self._pending.clear()
        if record["size"] != grown.size or record["root"] != grown.root():
            self.torn = self.damaged = True
            return
        grown.extend([line[:-1]])
        self._bound(grown, record)

    def _bound(self, grown: Tree, seal: Mapping[str, object]) -> None:
        self.tree = grown
        if grown.size == self.mark:
            self.marked = grown.root()
        self.sealed_bytes = self._position
        self.tail.clear()
        self.last_ts = _time(seal)
        self.day = self._opened

    # -- A segment at a time -------------------------------------------------------------------------

    def scan(self, lines: Iterable[bytes]) -> None:
        """Take all lines of a segment; as `feed` with each."""
        batch: list[bytes] = []
        for line in lines:
            batch.append(line)
            if _SEAL in line[:_HEAD_BYTES] or len(batch) > _MOST_BATCH:
                if not self._scan_batch(batch):
                    for one in batch:
                        self.feed(one)
                batch = []
        for one in batch:
            self.feed(one)

    def _scan_batch(self, batch: list[bytes]) -> bool:
        """Take a batch whose root is right; False if it isn't, or anything else is odd: then nothing was done."""
        seal = None if self.torn or self._pending else _decode(batch[-1], self._seq + len(batch) - 1)
        if seal is None or [*seal] != KEYS["seal"] or seal["kind"] != "seal":
            return False
        grown = self.tree.copy()
        grown.extend([line[:-1] for line in batch[:-1]])
        if seal["size"] != grown.size or seal["root"] != grown.root():
            return False
        records = _decode_batch(batch[:-1], self._seq)
        if records is None or not self._belongs(records[0] if records else seal):
            return False
        try:
            for record in records:
                self.visit(record)
        except Exception:  # noqa: BLE001 - as above
            self.tail = records[: records.index(record)]
            self.torn = self.damaged = True
            return True
        self._position += sum(map(len, batch))
        self._seq += len(batch)
        grown.extend([batch[-1][:-1]])
        self._bound(grown, seal)
        return True


def _time(record: Mapping[str, object]) -> int:
    ts = record["ts"]
    return ts if isinstance(ts, int) else 0


def _seals(line: bytes) -> bool:
    """Whether it is, or was before a byte of it changed, a seal or something that names one."""
    return _SEAL in line or b'"root":"' in line


def _decode(line: bytes, seq: int) -> dict[str, object] | None:
    """A canonical record with this number, or None."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = loads(line)
        canonical = dumps(record) == line[:-1]
    except (JSONDecodeError, JSONEncodeError):  # the second: nested deeper than anything we write
        return None
    whole = (
        isinstance(record, dict)
        and canonical
        and record.get("v") == 1
        and record.get("seq") == seq
        and isinstance(record.get("kind"), str)
    )
    return record if whole else None


def _decode_batch(lines: list[bytes], seq: int) -> list[dict[str, object]] | None:
    """The records of whole lines that a seal binds, numbered from ``seq``; None if they are not what we write."""
    try:
        records: list[dict[str, object]] = [loads(line) for line in lines]
        for number, record in enumerate(records, seq):
            kind = record["kind"]
            misplaced = kind == "seal" or (kind == "segment" and number != seq)
            if misplaced or record["seq"] != number or [*record] != KEYS[kind]:  # type: ignore[index]
                return None
    except (JSONDecodeError, LookupError, TypeError):
        return None
    return records
