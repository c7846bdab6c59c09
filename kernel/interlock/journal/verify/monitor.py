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

Memory: an open permit is forgotten once it has its outcome. Two things grow with the journal. The
numbers of all permits, 8 bytes each, tell a second outcome from one without a permit. The ids of
all orders, except those whose last permit was voided, are kept whole, about 150 bytes each
for ids of 20 characters: a digest of 8 bytes would save two thirds and could be wrong, and a
verifier that once in a while cries wolf is worse than one that needs 1.2 GB for ten million orders.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar

from .kinds import Record
from .report import ACTIONS_MAX, Action
from .runs import Permit, Recovery, Run

IDLE, RUNNING, HALTED = "IDLE", "RUNNING", "HALTED"

SEQUENCE = "Sequence"
SEALS = "Seals"
MODES = "Modes"
NO_EMIT_AFTER_HALT = "NoEmitAfterHalt"
JOURNAL_BEFORE_EMIT = "JournalBeforeEmit"
ONE_PERMIT_ONE_SEND = "OnePermitOneSend"

_AT_THE_GATE = frozenset({"GATE_CLOSED", "HALTED"})
"""With these an order is refused by the closed gate itself: it had no ticket, and used none up."""


class Monitor:
    """Replays a journal's records and reports what they were not allowed to do.

    Attributes:
        broken: rule and sentence of what was found; whoever reads it empties it.
        root: in hex, over all lines before the latest `run`, as far as the tree is known.
        doubts: the permits that nobody knows the end of: order id to number.
        actions: the latest arms, starts, halts and resets.
        actions_total: how many there were.
    """

    def __init__(self) -> None:
        """Make a monitor of an empty journal: IDLE at epoch 1."""
        self.broken: list[tuple[str, str]] = []
        self.root: str | None = None
        self.doubts: dict[str, int] = {}
        self.actions: deque[Action] = deque(maxlen=ACTIONS_MAX)
        self.actions_total = 0
        self._mode = IDLE
        self._epoch = 1
        self._young = True
        self._run = Run(ended=True)
        self._open: dict[int, Permit] = {}
        self._numbers = array("Q")
        self._orders: dict[str, int] = {}
        self._sealed = 0
        self._recoveries: list[Recovery] = []
        self._depth = 0
        self._attached: tuple[int, int, str, Run] | None = None

    def feed(self, record: Record, number: int) -> None:
        """Replay one record.

        Args:
            record: a record whose structure is right.
            number: the `seq` of the line that it stands in, salvaged or not.
        """
        kind = record["kind"]
        if self._run.ended or self._recoveries:
            self._before(kind, number)
        # The other kinds set the clock, or stand on that of another run.
        if kind not in ("run", "salvage", "rebase"):
            self._tick(self._run, record["mono"])
        rule = self._RULES.get(kind)
        if rule is not None:
            rule(self, record, number)

    def _broken(self, rule: str, message: str) -> None:
        self.broken.append((rule, message))

    def _tick(self, run: Run, mono: int) -> None:
        now = run.base + mono
        if now < run.last:
            self._broken(SEQUENCE, f"mono goes back by {run.last - now} ns")
        else:
            run.last = now

    def _before(self, kind: str, number: int) -> None:
        """Check what may follow an end, the beginning, and a recovery that is not complete."""
        if len(self._recoveries) > self._depth and kind != "salvage":
            left = self._recoveries[self._depth].left
            self._broken(SEQUENCE, f"{left} salvaged records are missing before this {kind}")
            self._close(self._depth)
        if self._run.ended and kind not in ("run", "seal", "salvage"):
            first = "the first record is not a run" if number == 0 else "no process is attached"
            self._broken(SEQUENCE, f"{kind}: {first}")
        elif number == 0 and kind != "run":
            self._broken(SEQUENCE, f"the first record is a {kind}, not a run")

    # --- runs and recovery ---

    def _on_run(self, record: Record, number: int) -> None:
        if record["mono"] != 0:
            self._broken(SEQUENCE, "the mono of a run record is not 0")
        self._attached = (number, self._depth, self._mode, self._run)
        self._attach(Run(remember=record["remember"]))

    def _attach(self, run: Run) -> None:
        self._run = run
        if self._mode == RUNNING:
            self._mode = IDLE

    def _on_end(self, _record: Record, _number: int) -> None:
        self._run.ended = True

    def _on_rebase(self, record: Record, _number: int) -> None:
        run = self._run
        if record["mono"] != 0:
            self._broken(SEQUENCE, "the mono of a rebase record is not 0")
        if any(permit[2] is run for permit in self._open.values()):
            self._broken(SEQUENCE, "rebase while a permit is open")
        run.base += record["shift"]
        self._tick(run, 0)

    def _on_seal(self, _record: Record, number: int) -> None:
        # A salvaged seal was not a valid one, or it would have been the last.
        if not self._depth:
            self._sealed = number + 1

    def _on_recover(self, record: Record, number: int) -> None:
        # A recovery within this one was cut back to the same seal, so it names the same root.
        if record["sealed"] != self._sealed or self.root not in (None, record["root"]):
            self._broken(SEALS, "recover does not name what the last seal closes")
        if not self._depth and number != self._sealed + 1:
            self._broken(SEQUENCE, "between the last seal and recover stands more than its run")
        attached, self._attached = self._attached, None
        if attached is None or attached[:2] != (number - 1, self._depth):
            self._broken(SEQUENCE, "recover does not follow a run")
            return
        if not record["salvaged"]:
            return
        back = Recovery(
            run=self._run,
            sealed=record["sealed"],
            left=record["salvaged"],
            last=self._sealed - 1,
        )
        self._recoveries.append(back)
        _, _, self._mode, self._run = attached

    def _on_salvage(self, record: Record, number: int) -> None:
        depth = self._depth
        if depth >= len(self._recoveries):
            self._broken(SEQUENCE, "a salvaged record that no recover announced")
            return
        back = self._recoveries[depth]
        self._tick(back.run, record["mono"])
        inner = record["record"]
        if inner["seq"] <= back.last:
            self._broken(SEQUENCE, "salvaged records are not in their order after the seal")
        back.last = inner["seq"]
        back.left -= 1
        if inner["kind"] in ("permit", "salvage"):
            back.numbers[inner["seq"]] = number
        self._depth = depth + 1
        self.feed(inner, number)
        self._depth = depth
        if not back.left:
            self._close(depth)

    def _close(self, depth: int) -> None:
        """End the recoveries deeper than this, the inner ones first: a crash may cut them short."""
        while len(self._recoveries) > depth:
            self._attach(self._recoveries.pop().run)

    # --- modes ---

    def _on_arm(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["reason"])
        if record["epoch"] < 1 or not self._young:
            self._broken(MODES, "arm after another arm, start, halt or reset, or not in an epoch from 1")
        else:
            self._epoch = record["epoch"]
        self._young = False

    def _on_start(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["session"] or "")
        if self._mode != IDLE:
            self._broken(MODES, f"start in {self._mode}")
        elif record["epoch"] != self._epoch:
            self._broken(MODES, f"start in epoch {record['epoch']}, but it is {self._epoch}")
        else:
            self._mode = RUNNING
            self._run.draining = False
            self._run.tickets.clear()  # between a halt or a stop and here no permit is allowed at all

    def _on_drain(self, record: Record, _number: int) -> None:
        if self._running(record):
            self._run.draining = True

    def _on_ticket(self, record: Record, _number: int) -> None:
        if not self._running(record):
            return
        if not self._run.draining:
            self._broken(MODES, "ticket before drain")
            return
        if record["id"] in self._run.tickets:  # the first one stands: another may not make more of it
            self._broken(MODES, f"a second ticket for order {record['id']!r:.80} while the first is open")
            return
        self._run.tickets[record["id"]] = (record["instrument"], record["side"], Decimal(record["quantity"]))

    def _on_refuse(self, record: Record, _number: int) -> None:
        """Refused for anything but the gate itself, an order had come through it, and its ticket is spent."""
        if self._run.draining and record["code"] not in _AT_THE_GATE:
            self._run.tickets.pop(record["id"], None)

    def _on_stop(self, record: Record, _number: int) -> None:
        if not self._running(record):
            return
        self._mode = IDLE
        waiting = sum(permit[2] is self._run for permit in self._open.values())
        if waiting:
            self._broken(MODES, f"stop with {waiting} permits that have no outcome")

    def _running(self, record: Record) -> bool:
        kind, epoch = record["kind"], record["epoch"]
        if self._mode != RUNNING:
            self._broken(MODES, f"{kind} in {self._mode}")
        elif epoch != self._epoch:
            self._broken(MODES, f"{kind} in epoch {epoch}, but it is {self._epoch}")
        else:
            return True
        return False

    def _on_halt(self, record: Record, number: int) -> None:
        why = f"{record['code']}: {record['reason']}"
        self._act(record, number, record["operator"] or record["source"], why)
        self._mode = HALTED
        self._run.halted(number, self._run.base + record["at"])

    def _on_reset(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["reason"])
        prior, epoch = record["prior"], record["epoch"]
        if self._mode != HALTED:
            self._broken(MODES, f"reset in {self._mode}")
        elif prior != self._epoch:
            self._broken(MODES, f"reset of epoch {prior}, but it is {self._epoch}")
        elif epoch <= prior:
            self._broken(MODES, f"reset from epoch {prior} to {epoch}, which is not higher")
        else:
            self._mode, self._epoch = IDLE, epoch

    def _act(self, record: Record, number: int, who: str, why: str) -> None:
        """Note an action for the report."""
        self.actions_total += 1
        if record["kind"] != "arm":
            self._young = False
        action = Action(
            kind=record["kind"],
            seq=number,
            ts=record["ts"],
            epoch=record["epoch"],
            who=who,
            why=why,
        )
        self.actions.append(action)

    # --- permits ---

    def _on_permit(self, record: Record, number: int) -> None:
        run = self._run
        order = record["id"]
        if self._mode != RUNNING:
            self._broken(NO_EMIT_AFTER_HALT, f"permit in {self._mode}")
        elif record["epoch"] != self._epoch:
            epoch = record["epoch"]
            self._broken(NO_EMIT_AFTER_HALT, f"permit of epoch {epoch}, but it is {self._epoch}")
        elif run.draining:
            self._by_ticket(record)
        granted = len(self._numbers)
        before = self._orders.get(order)
        if before is not None and granted - before <= run.remember:
            self._broken(ONE_PERMIT_ONE_SEND, f"order {order!r:.80} is permitted again")
        self._orders[order] = granted
        self._numbers.append(number)
        self._open[number] = (number, run.base + record["mono"], run, order)
        self.doubts[order] = number

    def _by_ticket(self, record: Record) -> None:
        """Check a permit behind the closed gate: it needs a ticket, which it uses up."""
        ticket = self._run.tickets.pop(record["id"], None)
        if ticket is None:
            self._broken(NO_EMIT_AFTER_HALT, "permit after drain")
            return
        instrument, side, most = ticket
        same = (record["instrument"], record["side"]) == (instrument, side)
        if not same or not record["reduce_only"] or Decimal(record["quantity"]) > most:
            self._broken(NO_EMIT_AFTER_HALT, "permit after drain is not what its ticket is for")

    def _on_sent(self, record: Record, _number: int) -> None:
        permit = self._outcome(record)
        if permit is not None:
            self.doubts.pop(permit[3], None)
            self._own(record, permit)

    def _on_unknown(self, record: Record, _number: int) -> None:
        permit = self._outcome(record)
        # A later run may say that an outcome is unknown; its clock then tells nothing.
        if permit is not None and permit[2] is self._run:
            self._own(record, permit)

    def _on_void(self, record: Record, _number: int) -> None:
        permit = self._outcome(record)
        if permit is not None:
            self.doubts.pop(permit[3], None)
            self._orders.pop(permit[3], None)
            self._own(record, permit)

    def _outcome(self, record: Record) -> Permit | None:
        """Take the permit that an outcome names out of the open ones."""
        number = record["permit"]
        if self._depth:
            back = self._recoveries[self._depth - 1]
            if number >= back.sealed:
                number = back.numbers.get(number, -1)
        permit = self._open.pop(number, None)
        if permit is None:
            name = f"{record['kind']} names permit {record['permit']}, which"
            if self._was_permit(number):
                self._broken(ONE_PERMIT_ONE_SEND, f"{name} has an outcome already")
            else:
                self._broken(JOURNAL_BEFORE_EMIT, f"{name} is not in the journal before it")
        return permit

    def _was_permit(self, number: int) -> bool:
        place = bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number

    def _own(self, record: Record, permit: Permit) -> None:
        """Check an outcome that only the run that made the permit can know."""
        kind = record["kind"]
        number, granted, run, _ = permit
        if run is not self._run:
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} of a permit of an earlier run")
            return
        if kind == "void":
            return
        begun = run.base + record["begun"]
        if begun < granted:
            late = granted - begun
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} begun {late} ns before its permit")
        if run.halts and begun > run.halt_after(number):
            self._broken(NO_EMIT_AFTER_HALT, f"{kind} begun after a halt took effect")

    def _on_venue(self, record: Record, _number: int) -> None:
        self.doubts.pop(record["id"], None)

    # What is not listed here no rule speaks of, but for the clock.
    _RULES: ClassVar[dict[str, Callable[["Monitor", Record, int], None]]] = {
        "run": _on_run,
        "arm": _on_arm,
        "start": _on_start,
        "drain": _on_drain,
        "ticket": _on_ticket,
        "refuse": _on_refuse,
        "stop": _on_stop,
        "halt": _on_halt,
        "reset": _on_reset,
        "permit": _on_permit,
        "sent": _on_sent,
        "unknown": _on_unknown,
        "void": _on_void,
        "accept": _on_venue,
        "fill": _on_venue,
        "cancelled": _on_venue,
        "reject": _on_venue,
        "recover": _on_recover,
        "salvage": _on_salvage,
        "rebase": _on_rebase,
        "end": _on_end,
        "seal": _on_seal,
    }
