"""Recovery: how far the journal can be trusted after whatever ended the last run.

Lines are fed in one by one. Up to the last seal whose root is right, everything stands. What
follows is the tail: records that are whole and in sequence, but bound by no root yet; then, perhaps,
bytes that are no record. The tail is not thrown away: its bytes are set aside by the caller, and its whole
records are carried over, because each of them may stand for an order at the venue.

If a seal stands behind the first broken line, the journal was not torn at its end but damaged in its middle.
The same goes for a whole object that is no record or cannot be played, and for segments that do not follow
one another.
No crash does that, so the caller must halt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from interlock.journal.records import KEYS
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Recovery"]


@attrs.define(kw_only=True)
class Recovery:
    """Feed it every line of the journal, in order.

    Attributes:
        visit: called with each record that counts, sealed or in the tail.
        sealed_bytes: how many bytes of the current segment the last valid seal closes.
        tree: over the sealed lines.
        tail: the records behind it, decoded.
        torn: whether bytes were met that are no record in sequence.
        damaged: whether a seal was met behind such bytes, or a seal with a wrong root, or what no crash leaves.
    """

    visit: Callable[[Mapping[str, object]], None]
    tree: Tree = attrs.field(factory=Tree)
    sealed_bytes: int = 0
    tail: list[dict[str, object]] = attrs.field(factory=list)
    torn: bool = False
    damaged: bool = False
    _pending: list[bytes] = attrs.field(factory=list)
    _position: int = 0
    _seq: int = 0

    def begin(self, first: int) -> bool:
        """A segment begins, by its name with record ``first``. False if it does not follow: then it is not fed."""
        if self.torn or self.tail or first != self._seq:
            self.torn = self.damaged = True
            return False
        self.sealed_bytes = self._position = 0
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
        body = line[:-1]
        if [*record] != KEYS.get(str(record["kind"])):
            self.torn = self.damaged = True
            return
        if record["kind"] != "seal":
            try:
                self.visit(record)
            except Exception:  # noqa: BLE001 - whatever it is that can't be played, nobody here wrote it
                self.torn = self.damaged = True
                return
            self._pending.append(body)
            self.tail.append(record)
            self._position += len(line)
            self._seq += 1
            return
        self._position += len(line)
        self._seq += 1
        grown = self.tree.copy()  # a wrong seal must leave the tree as the last right one left it
        grown.extend(self._pending)
        self._pending.clear()
        if record.get("size") != grown.size or record.get("root") != grown.root():
            self.torn = self.damaged = True
            return
        grown.extend([body])
        self.tree = grown
        self.sealed_bytes = self._position
        self.tail.clear()


def _seals(line: bytes) -> bool:
    """Whether it is, or was before a byte of it changed, a seal or something that names one."""
    return b'"kind":"seal"' in line or b'"root":"' in line


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
