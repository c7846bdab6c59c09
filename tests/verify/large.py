"""Large right journals, written quickly: for figures, and for samples of damage where every position would take hours.

One life of orders that are permitted, sent, acknowledged and filled, with a heartbeat now and then, in batches and in
segments. The tree is the verifier's own; what it says is checked against the RFC's words elsewhere.
"""

from collections.abc import Iterator
from pathlib import Path

import orjson

from interlock.verify.tree import Tree

from .builder import Json, record

_BATCH = 256
_BEAT = 64
_ORDER_NS = 400_000


class Large:
    """A journal of that many orders.

    Args:
        orders: how many; five records each, and some more.
        per_segment: orders a segment.
        remember: how many order ids the run remembers.
    """

    def __init__(self, orders: int, per_segment: int, remember: int = 100_000) -> None:
        self._orders = orders
        self._per_segment = per_segment
        self._remember = remember
        self._tree = Tree()
        self._batch: list[bytes] = []
        self._seq = 0
        self._mono = 0
        self.rename: dict[int, int] = {}
        """Orders that are given the name of another."""

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """For each segment the number of its first record, and its bytes."""
        for start in range(0, self._orders, self._per_segment):
            first = self._seq
            yield first, b"".join(self._segment(start, min(start + self._per_segment, self._orders)))

    def write(self, directory: Path) -> int:
        """Write it into a directory; return how many records there are."""
        directory.mkdir(parents=True, exist_ok=True)
        for first, data in self.segments():
            (directory / f"{first:020}.jsonl").write_bytes(data)
        return self._seq

    def _segment(self, start: int, stop: int) -> Iterator[bytes]:
        tree = self._tree
        peaks = [peak.hex() for peak in tree.peaks]
        self._put("segment", size=tree.size, root=tree.root().hex(), peaks=peaks)
        if not start:
            self._put("run", remember=self._remember)
            self._put("arm")
            self._put("start")
        yield self._seal()
        for number in range(start, stop):
            self._order(number)
            if len(self._batch) >= _BATCH:
                yield self._seal()
        if self._batch:
            yield self._seal()

    def _order(self, number: int) -> None:
        name = f"order-{self.rename.get(number, number):010}"
        self._mono += _ORDER_NS
        permit = self._seq
        self._put("permit", id=name, price=f"57{number % 1000:03}.10")
        self._put("sent", permit=permit, begun=self._mono, result=f"v{number}")
        self._put("accept", id=name, venue_id=f"v{number}")
        self._put("fill", id=name, fill=f"x{number}")
        if number % _BEAT == 0:
            self._put("beat", ticks=number, consulted=number, permits=number + 1)

    def _put(self, kind: str, **fields: object) -> None:
        made: Json = record(kind, seq=self._seq, mono=self._mono, **fields)
        self._batch.append(orjson.dumps(made))
        self._seq += 1

    def _seal(self) -> bytes:
        tree = self._tree
        tree.extend(self._batch)
        self._put("seal", size=tree.size, root=tree.root().hex())
        tree.extend(self._batch[-1:])
        lines = b"\n".join(self._batch) + b"\n"
        self._batch.clear()
        return lines
