"""Recovery: how far the journal can be trusted after whatever ended the last run.

Lines are fed in one by one. Up to the last seal whose root is right, everything stands. What
follows is the tail: records that are whole and in sequence, but bound by no root yet; then, perhaps,
bytes that are no record. The tail is not thrown away: its bytes are set aside by the caller, and its whole
records are carried over, because each of them may stand for an order at the venue.

A process that is killed while it copies a record into a mapped file may leave zeros anywhere in it, also before its
line feed: they stand in no record, so such a line is torn, like one that has no line feed. If more than one record was
being copied whole lines may follow, but no seal, which is written by itself.

If a seal stands behind the first broken line, the journal was not torn at its end but damaged in its middle.
The same goes for a whole object that is no record or cannot be played, and for segments that do not follow
one another.
No crash does that, so the caller must halt.

`feed` is the definition. `scan` comes to the same for a whole segment, and faster: a block of lines up to a seal whose
root is right is, byte for byte, what somebody sealed. So neither need its lines be encoded again to be believed, nor
the seals within it be computed. It differs from `feed` only over what no crash and no disk does: a false seal, or a
line that is not canonical, below a right seal. To find that is the verifier's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from interlock.journal.records import KEYS
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Recovery", "seals"]

_DAY_US: Final = 86_400_000_000
_SEAL: Final = b'"kind":"seal"'
_CHECKPOINT: Final = b'"kind":"checkpoint"'
_BLOCK_BYTES: Final = 1 << 18
_MOST_BYTES: Final = 1 << 26
"""So many bytes without a seal are read line by line: nobody has written them."""

_LENGTHS: Final = {kind: len(keys) for kind, keys in KEYS.items()}


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
    _opened: int | None = None

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
            self.damaged = self.damaged or seals(line)
            return
        record = _decode(line, self._seq)
        if record is None:
            self.torn = True
            self.damaged = line.endswith(b"\n") and b"\x00" not in line and seals(line)
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

    def scan(self, chunks: Iterable[bytes]) -> None:
        """Take all bytes of a segment, in pieces of any size; as `feed` with each of its lines."""
        data = b""
        for chunk in chunks:
            data += chunk
            start = 0
            while len(data) - start >= _BLOCK_BYTES:
                end = _after_seal(data, start, start + _BLOCK_BYTES) or _after_seal(data, start)
                if not end:
                    break
                self._take(data[start:end])
                start = end
            data = data[start:]
            if len(data) > _MOST_BYTES:
                end = data.rfind(b"\n") + 1
                self._feed_all(data[:end])
                data = data[end:]
        end = _after_seal(data)
        self._take(data[:end])
        self._feed_all(data[end:])

    def _take(self, block: bytes) -> None:
        if not self._take_whole(block):
            self._feed_all(block)

    def _feed_all(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self.feed(line + b"\n")
        if rest:
            self.feed(rest)

    def _take_whole(self, block: bytes) -> bool:
        """Take lines up to a seal whose root is right; False if it isn't, or anything is odd: nothing was done."""
        if self.torn:
            return False
        lines = block[:-1].split(b"\n")
        seal = _decode(lines[-1] + b"\n", self._seq + len(lines) - 1)
        if seal is None or [*seal] != KEYS["seal"] or seal["kind"] != "seal":
            return False
        grown = self.tree.copy()
        within = self.mark - self._seq  # the size whose root is wanted may lie between two seals of the block
        marked, rest = None, lines[:-1]
        if 0 < within < len(lines):
            grown.extend(lines[:within])
            marked, rest = grown.root(), lines[within:-1]
        grown.extend(rest)
        if seal["size"] != grown.size or seal["root"] != grown.root():
            return False
        records = _decode_all(lines, self._seq)
        if records is None or not self._belongs(records[0]):
            return False
        visit = self.visit
        try:
            for record in records:
                if record["kind"] != "seal":
                    visit(record)
        except Exception:  # noqa: BLE001 - as above
            self.torn = self.damaged = True
            return True
        if marked is not None and records[within - 1]["kind"] == "seal":
            self.marked = marked
        self._position += len(block)
        self._seq += len(lines)
        grown.extend(lines[-1:])
        self._bound(grown, seal)
        return True

    # -- A closed segment, for its hashes alone ------------------------------------------------------

    def skim(self, chunks: Iterable[bytes]) -> bool:
        """Take all bytes of a closed segment without playing its records, but for the newest checkpoint it tells of.

        Returns:
            Whether it begins as the tree so far asks, and ends with a right seal. If not, this recovery is of no use
            any more: what is wrong is found by `scan`, from the first segment on.
        """
        data = b""
        begun = False
        for chunk in chunks:
            data += chunk
            if not begun and b"\n" in data:
                record = _decode(data[: data.index(b"\n") + 1], self._seq)
                begun = record is not None and [*record] == KEYS.get(str(record["kind"])) and self._belongs(record)
                if not begun:
                    return False
            kept = data.rfind(b"\n", None, -1) + 1  # the last whole line may be the last seal
            if kept:
                self._hash(data[:kept])
                data = data[kept:]
        tree = self.tree
        seal = _decode(data, tree.size)
        if seal is None or [*seal] != KEYS["seal"] or seal["kind"] != "seal":
            return False
        if (seal["size"], seal["root"]) != (tree.size, tree.root()):
            return False
        self._position += len(data)
        tree.grow(data)
        self._seq = tree.size
        self._bound(tree, seal)
        return True

    def _visit_checkpoint(self, block: bytes) -> None:
        """Visit the last record of a checkpoint among whole lines: a note that was signed must not go unmissed."""
        before, found, _ = block.rpartition(_CHECKPOINT)
        if not found:
            return
        start = before.rfind(b"\n") + 1
        record = _decode(block[start : block.index(b"\n", start) + 1], self.tree.size + before.count(b"\n"))
        if record is not None and [*record] == KEYS.get(str(record["kind"])):  # else the seals tell that it is damaged
            self.visit(record)

    def _hash(self, block: bytes) -> None:
        """Append whole lines to the tree; on the way look at the root that is wanted."""
        self._visit_checkpoint(block)
        tree = self.tree
        within = self.mark - tree.size
        self._position += len(block)
        if 0 < within <= block.count(b"\n"):
            *_, last, rest = block.split(b"\n", within)
            tree.grow(block.removesuffix(rest))
            if _SEAL in last:
                self.marked = tree.root()
            block = rest
        if block:
            tree.grow(block)


def _after_seal(data: bytes, start: int | None = None, end: int | None = None) -> int:
    """Where the line of the last seal between two places ends; 0 if there is none."""
    at = data.rfind(_SEAL, start, end)
    return 0 if at < 0 else data.find(b"\n", at) + 1


def _time(record: Mapping[str, object]) -> int:
    ts = record["ts"]
    return ts if isinstance(ts, int) else 0


def seals(line: bytes) -> bool:
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


def _decode_all(lines: list[bytes], seq: int) -> list[dict[str, object]] | None:
    """The records of whole lines that a seal binds, numbered from ``seq``; None if they are not what we write."""
    try:
        records: list[dict[str, object]] = loads(b"[" + b",".join(lines) + b"]")
        if len(records) != len(lines):
            return None
        for number, record in enumerate(records, seq):
            kind = record["kind"]
            if record["seq"] != number or len(record) != _LENGTHS[kind] or (kind == "segment" and number != seq):  # type: ignore[index]
                return None
    except (JSONDecodeError, LookupError, TypeError):
        return None
    return records
