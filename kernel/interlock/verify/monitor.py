"""The rules about order and mode, replayed from the records alone.

The monitor is told each record in turn and keeps the least that the rules need: the mode and the
epoch, the run with its clock, and the permits that have no outcome yet. It never asks why something
was done, only whether it was allowed then.

How the rules are kept:

- A transition that is not allowed is a finding and does not happen. So whatever rests on it, such
  as a permit after a start that was none, is found as well.
- Times within a run are compared on one line that starts at its `run` record: a `rebase` moves the
  zero, and the monitor adds the shift. Times of two runs are never compared.
- Salvaged records are replayed where they stood: after the seal and before the `run` of the process
  that recovered them. So `recover` takes the monitor back there, and the last of its salvaged
  records brings it forth again. A crash in the midst of a recovery leaves salvage within salvage,
  hence the stack.

Memory: an open permit is forgotten once it has its outcome; what else is kept of permits and orders is in `runs`.
"""

from collections.abc import Callable

from .kinds import Record
from .modes import IDLE, RUNNING, SEQUENCE
from .recorded import Recorded
from .runs import Recovery, Run

SEALS = "Seals"
SEGMENTS = "Segments"
CLOCK = "Clock"

STEP_NS = 1_000_000_000
"""By so much a clock may be set from one record to the next without a word."""

Rule = Callable[[Record, int], None]

_DETACHED = frozenset({"run", "seal", "salvage", "segment", "checkpoint", "anchor"})
_BEFORE_CLOCK_BACK = frozenset(
    {"seal", "recover", "salvage", "inputs", "arm", "halt", "reset", "segment", "checkpoint", "anchor"},
)
_TELLS_BACK = frozenset({("anomaly", "CLOCK_BACK"), ("run", None)})
"""After a run that a crash ended before it could tell, the next one goes by the clock as it is now."""
_OWN_CLOCK = frozenset({"run", "salvage", "rebase", "segment"})


class Monitor(Recorded):
    """Replays a journal's records and reports what they were not allowed to do.

    Attributes:
        root: in hex, over all lines before the latest `run` (or the `segment` before that), as far as it is known.
        origin: what the first segment says whose journal this is.
        sealed: how many records there are up to and with the last seal.
        segment_epoch: the highest that the record of a segment told.
    """

    def __init__(self) -> None:
        """Make a monitor of an empty journal."""
        super().__init__()
        self.root: str | None = None
        self.origin: str | None = None
        self.sealed = 0
        self._attached: tuple[int, int, str, Run] | None = None
        self._opened: Record | None = None
        self.segment_epoch = 0
        self._cut = False
        # What is not listed here no rule speaks of, but for the clock.
        self._rules: dict[str, Rule] = {
            "segment": self._on_segment,
            "run": self._on_run,
            "arm": self._on_arm,
            "start": self._on_start,
            "drain": self._on_drain,
            "ticket": self._on_ticket,
            "refuse": self._on_refuse,
            "flood": self._on_flood,
            "block": self._on_block,
            "beat": self._on_beat,
            "stop": self._on_stop,
            "halt": self._on_halt,
            "reset": self._on_reset,
            "permit": self._on_permit,
            "sent": self._on_sent,
            "unknown": self._on_unknown,
            "void": self._on_void,
            "accept": self._on_venue,
            "fill": self._on_venue,
            "cancelled": self._on_venue,
            "reject": self._on_venue,
            "inputs": self._on_inputs,
            "quote": self._on_tick,
            "trade": self._on_tick,
            "begin": self._on_begin,
            "heartbeat": self._on_input,
            "unread": self._on_input,
            "odd": self._on_odd,
            "recover": self._on_recover,
            "salvage": self._on_salvage,
            "rebase": self._on_rebase,
            "end": self._on_end,
            "seal": self._on_seal,
        }

    @property
    def opening(self) -> bool:
        """Whether the latest record is that of a segment."""
        return self._opened is not None

    @property
    def settled(self) -> bool:
        """Whether it is in no recovery, and nothing is left to be told."""
        run = self.run
        return not (self._recoveries or run.back or run.fresh or run.odd)

    def resume(self) -> None:
        """Go on behind a seal, in whatever state it was brought to."""
        self._wary = True

    def replay(self, records: list[Record], number: int) -> int:
        """Replay records until one breaks a rule; return how many were replayed, that one included.

        Args:
            records: records whose structure is right.
            number: the `seq` of the line that the first of them stands in, salvaged or not.
        """
        broken, own, rule_of, step = self.broken, _OWN_CLOCK, self._rules.get, STEP_NS
        run = self.run
        base, last, offset = run.base, run.last, run.offset  # of the clock, which every record moves
        place = number
        for record in records:
            kind = record["kind"]
            now = base + record["mono"]
            ahead = record["ts"] * 1000 - now
            if self._wary or kind in own or now < last or not -step <= ahead - offset <= step:
                run.last, run.offset = last, offset
                self._replay_slowly(record, kind, place)
                run = self.run
                base, last, offset = run.base, run.last, run.offset
            else:
                last, offset = now, ahead
                rule = rule_of(kind)
                if rule is not None:
                    rule(record, place)
            place += 1
            if broken:
                break
        run.last, run.offset = last, offset
        return place - number

    def _replay_slowly(self, record: Record, kind: str, number: int) -> None:
        """Replay one record with all that may have to be looked at."""
        if self._wary:
            self._before(record, kind)
        # The other kinds set the clock, or stand on that of another run.
        if kind not in _OWN_CLOCK:
            self._tick(self.run, record)
        if kind in self._rules:
            self._rules[kind](record, number)

    def _tick(self, run: Run, record: Record) -> None:
        """Move a run's clock to a record."""
        if not run.real:
            return
        now = run.base + record["mono"]
        if now < run.last:
            self._broken(SEQUENCE, f"mono goes back by {run.last - now} ns")
        drift = record["ts"] * 1000 - now - run.offset
        if abs(drift) > STEP_NS and (record["kind"], record.get("code")) != ("anomaly", "CLOCK_STEP"):
            self._broken(CLOCK, f"UTC moves by {drift} ns against the monotonic clock, and no CLOCK_STEP tells it")
        run.last = max(now, run.last)
        run.offset += drift

    def _before(self, record: Record, kind: str) -> None:
        """Check what may follow an end, the beginning, a segment's record, and a recovery that is not complete."""
        if len(self._recoveries) > self.depth and kind != "salvage":
            left = self._recoveries[self.depth].left
            self._broken(SEQUENCE, f"{left} salvaged records are missing before this {kind}")
            self._close(self.depth)
        if self._opened is not None:
            self._after_segment(self._opened, kind)
        elif self.run.ended and kind not in _DETACHED:
            self._broken(SEQUENCE, f"{kind}: no process is attached")
        if self.run.back and kind not in _BEFORE_CLOCK_BACK:
            if (kind, record.get("code")) not in _TELLS_BACK:
                self._broken(CLOCK, self.run.back)
            self.run.back = ""
        self._between(kind)
        # What follows may have to be looked at as closely: the rare rules say so when they are replayed.
        run = self.run
        self._wary = bool(self._recoveries or run.ended or run.back or run.fresh or run.odd)

    # --- segments, runs and recovery ---

    def _on_segment(self, record: Record, _number: int) -> None:
        epoch, origin = record["epoch"], record["origin"]
        if self.origin is None:
            self.origin = origin
        elif origin != self.origin:
            self._broken(SEGMENTS, f"the segment's origin is {origin!r:.200}, not {self.origin!r:.200}")
        if self.depth:
            return  # its place is its salvage's, and its tree was that of the segment that stands here anew
        if epoch < self.segment_epoch:
            self._broken(SEGMENTS, f"the segment's epoch is {epoch}, after {self.segment_epoch}")
        self.segment_epoch = max(epoch, self.segment_epoch)
        self._opened = record
        self._wary = True

    def _after_segment(self, opened: Record, kind: str) -> None:
        """Check what follows the record of a segment: a seal, or the run that it was begun for."""
        self._opened = None
        if kind == "run":
            self._cut = True
            if opened["mono"] != 0:
                self._broken(SEQUENCE, "the mono of a segment record before its run is not 0")
        elif kind == "seal" and opened["seq"]:
            self._tick(self.run, opened)
            if self.mode == RUNNING and opened["epoch"] != self.epoch:
                self._broken(SEGMENTS, f"a segment of epoch {opened['epoch']} while RUNNING in {self.epoch}")
        else:
            self._broken(
                SEQUENCE, f"{kind} follows a segment record in place of a {'seal' if opened['seq'] else 'run'}"
            )

    def _on_run(self, record: Record, number: int) -> None:
        if record["mono"] != 0:
            self._broken(SEQUENCE, "the mono of a run record is not 0")
        origin = f"interlock/{record['home']}/{record['engine']}"
        if self.origin not in (None, origin):
            self._broken(SEGMENTS, f"the run is one of {origin!r:.200}, but the segment of {self.origin!r:.200}")
        self._attached = (number, self.depth, self.mode, self.run)
        before = self.run.offset + self.run.last
        offset = record["ts"] * 1000
        run = Run(remember=record["remember"], offset=offset, fresh=True)
        self.orders.remember(run.remember)
        if before - offset > STEP_NS:
            run.back = f"UTC went back by {before - offset} ns with this run, and no CLOCK_BACK tells it"
        self._attach(run)

    def _attach(self, run: Run) -> None:
        self.run = run
        self._wary = True
        if self.mode == RUNNING:
            self.mode = IDLE

    def _on_end(self, _record: Record, _number: int) -> None:
        self.run.ended = self._wary = True

    def _on_rebase(self, record: Record, _number: int) -> None:
        run = self.run
        if record["mono"] != 0:
            self._broken(SEQUENCE, "the mono of a rebase record is not 0")
        if self._waiting(run):
            self._broken(SEQUENCE, "rebase while a permit is open")
        run.base += record["shift"]
        self._tick(run, record | {"mono": 0})

    def _on_seal(self, _record: Record, number: int) -> None:
        # A salvaged seal was not a valid one, or it would have been the last.
        if not self.depth:
            self.sealed = number + 1
            self._cut = False

    def _on_recover(self, record: Record, number: int) -> None:
        # A recovery within this one was cut back to the same seal, so it names the same root.
        if record["sealed"] != self.sealed or self.root not in (None, record["root"]):
            self._broken(SEALS, "recover does not name what the last seal closes")
        if not self.depth and number != self.sealed + 1 + self._cut:
            self._broken(SEQUENCE, "between the last seal and recover stands more than its run")
        attached, self._attached = self._attached, None
        if attached is None or attached[:2] != (number - 1, self.depth):
            self._broken(SEQUENCE, "recover does not follow a run")
            return
        if not record["salvaged"]:
            return
        back = Recovery(
            run=self.run,
            sealed=record["sealed"],
            left=record["salvaged"],
            last=self.sealed - 1,
        )
        self._recoveries.append(back)
        _, _, self.mode, self.run = attached

    def _on_salvage(self, record: Record, number: int) -> None:
        depth = self.depth
        if depth >= len(self._recoveries):
            self._broken(SEQUENCE, "a salvaged record that no recover announced")
            return
        back = self._recoveries[depth]
        self._tick(back.run, record)
        inner = record["record"]
        if inner["seq"] <= back.last:
            self._broken(SEQUENCE, "salvaged records are not in their order after the seal")
        back.last = inner["seq"]
        back.left -= 1
        if inner["kind"] in ("permit", "salvage"):
            back.numbers[inner["seq"]] = number
        self.depth = depth + 1
        self.replay([inner], number)
        self.depth = depth
        if not back.left:
            self._close(depth)

    def _close(self, depth: int) -> None:
        """End the recoveries deeper than this, the inner ones first: a crash may cut them short."""
        while len(self._recoveries) > depth:
            self._attach(self._recoveries.pop().run)
