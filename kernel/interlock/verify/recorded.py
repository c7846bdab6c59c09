"""The rules about recorded inputs: where they may stand, and what they add up to.

A run whose first record is `inputs` writes down all that its core is given. Here only their form and place are
judged, and that the latch let each send begin; that they lead to the decisions that were made is for the replay to say.

What a record can't hold exactly an `odd` tells right before it. Between the two may stand only what has nothing to do
with the core: a seal, what tells of the tree, and, where a crash came between, the records of the run that recovers.
"""

from operator import itemgetter

from .kinds import SHAPES, Record
from .modes import RUNNING, SEQUENCE
from .permits import JOURNAL_BEFORE_EMIT, NO_EMIT_AFTER_HALT, Permits

_ACCEPTED = "ACCEPTED"
_ITSELF = ""
"""The field of an `odd` that tells of the tick or order as a whole."""

BETWEEN = frozenset({"seal", "segment", "checkpoint", "anchor", "run", "recover", "salvage"})
"""These don't come between a run and its `inputs`, nor between an `odd` and its record."""

_DECIDED = frozenset(
    {"v", "seq", "kind", "ts", "mono", "epoch", "mode", "code", "limit", "value", "armed", "known"},
)
"""Keys of no input: the kernel itself said that."""
_FIELDS = {
    kind: frozenset(SHAPES[kind].keys) - _DECIDED
    for kind in ("quote", "trade", "refuse", "unread", "accept", "fill", "cancelled", "reject")
}
"""What an `odd` may tell of each kind that it may stand before."""
for _kind in ("quote", "trade", "refuse"):
    _FIELDS[_kind] |= {_ITSELF}

_NEEDED = {"quote": ("instrument", "venue_ts", "bid", "ask"), "trade": ("instrument", "venue_ts", "price")}
"""Of a tick these are null only where an `odd` tells why."""
_NEEDS = {kind: itemgetter(*keys) for kind, keys in _NEEDED.items()}


class Recorded(Permits):
    """The recorded inputs of a run."""

    def __init__(self) -> None:
        """Begin without a run."""
        super().__init__()
        self._wary = True  # whether the next record must be looked at closely

    def _recording(self, kind: str) -> bool:
        """Say whether the run records its inputs, as it must for a record of this kind."""
        if not self.run.inputs:
            self._broken(SEQUENCE, f"{kind} in a run without recorded inputs")
        return self.run.inputs

    def _between(self, kind: str) -> None:
        """Check a record after an `odd`, and end the time in which `inputs` may come."""
        run = self.run
        if kind in BETWEEN:
            return
        if kind != "inputs":
            run.fresh = False
        if kind != "odd":
            if not run.odd <= _FIELDS.get(kind, frozenset()):
                self._broken(SEQUENCE, f"{kind} is not what the odd before it tells of")
            elif kind in _NEEDED:
                return  # which looks at it itself
            run.odd = frozenset()

    def _nulls(self, record: Record, kind: str) -> None:
        """Check that of a tick null stands for what can't be held, and for nothing else."""
        told, self.run.odd = self.run.odd, frozenset()
        for key in told - {_ITSELF}:
            if record[key] is not None:
                self._broken(SEQUENCE, f"an odd tells of {key}, which is not null in the {kind} after it")
        for key in _NEEDED[kind]:
            if record[key] is None and told.isdisjoint({key, _ITSELF}):
                self._broken(SEQUENCE, f"{key} of the {kind} is null, and no odd tells why")

    def _on_inputs(self, _record: Record, _number: int) -> None:
        if not self.run.fresh:
            self._broken(SEQUENCE, "inputs does not follow its run or the recovery of that")
            return
        self.run.fresh = False
        self.run.inputs = True

    def _on_odd(self, record: Record, _number: int) -> None:
        if not self._recording("odd"):
            return
        field = record["field"]
        if field in self.run.odd:
            self._broken(SEQUENCE, f"a second odd for {field!r:.80}")
        self.run.odd |= {field}
        self._wary = True

    def _on_tick(self, record: Record, _number: int) -> None:
        run, kind = self.run, record["kind"]
        if not run.inputs:
            self._recording(kind)
            return
        run.ticks += 1
        if record["code"] != _ACCEPTED:
            run.stopped += 1
        if run.odd or None in _NEEDS[kind](record):
            self._nulls(record, kind)

    def _on_input(self, record: Record, _number: int) -> None:
        self._recording(record["kind"])

    def _on_begin(self, record: Record, _number: int) -> None:
        if not self._recording("begin"):
            return
        run = self.run
        number = self._named(record["permit"]) if self.depth else record["permit"]
        if self.mode != RUNNING:
            self._broken(NO_EMIT_AFTER_HALT, f"begin in {self.mode}")
        if number in run.begun:
            self._broken(JOURNAL_BEFORE_EMIT, f"a second begin of permit {record['permit']}")
        elif self._may_begin(number):
            run.begun[number] = run.base + record["mono"]

    def _may_begin(self, number: int) -> bool:
        """Whether a permit that has not begun yet is open, and of this run; and check that it is of this epoch."""
        permit = self.open.get(number)
        if permit is None:
            why = "has an outcome already" if number in self.numbers else "is not in the journal before it"
            self._broken(JOURNAL_BEFORE_EMIT, f"begin names a permit which {why}")
            return False
        _, _, run, _, epoch = permit
        if run is not self.run:
            self._broken(JOURNAL_BEFORE_EMIT, "begin of a permit of an earlier run")
            return False
        if epoch != self.epoch:
            self._broken(NO_EMIT_AFTER_HALT, f"begin of a permit of epoch {epoch}, but it is {self.epoch}")
        return True

    def _on_flood(self, record: Record, number: int) -> None:
        if self.run.inputs:
            self._broken(SEQUENCE, "flood in a run with recorded inputs")
        super()._on_flood(record, number)

    def _on_beat(self, record: Record, number: int) -> None:
        super()._on_beat(record, number)
        if self.run.inputs:
            self._total("ticks", record["ticks"], self.run.ticks)
            self._total("stopped", record["blocked"], self.run.stopped)
