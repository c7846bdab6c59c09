"""The rules about modes and epochs, and the totals that a heartbeat tells.

A transition that is not allowed is a finding and does not happen. So whatever rests on it, such
as a permit after a start that was none, is found as well.
"""

from collections import deque
from decimal import Decimal

from .kinds import Record
from .report import ACTIONS_MAX, Action
from .runs import Permit, Run

IDLE, RUNNING, HALTED = "IDLE", "RUNNING", "HALTED"

SEQUENCE = "Sequence"
MODES = "Modes"
TOTALS = "Totals"

_AT_THE_GATE = frozenset({"GATE_CLOSED", "HALTED"})
"""With these an order is refused by the closed gate itself: it had no ticket, and used none up."""


class Modes:
    """The mode, the epoch and the run, as the records have them.

    Attributes:
        broken: rule and sentence of what was found; whoever reads it empties it.
        actions: the latest arms, starts, halts and resets.
        actions_total: how many there were.
        mode: IDLE, RUNNING or HALTED.
        epoch: the current one.
        young: whether nothing was armed, started, halted or reset yet.
        run: the run whose records these are.
        open: the permits without an outcome, by number.
    """

    def __init__(self) -> None:
        """Begin IDLE at epoch 1."""
        self.broken: list[tuple[str, str]] = []
        self.actions: deque[Action] = deque(maxlen=ACTIONS_MAX)
        self.actions_total = 0
        self.mode = IDLE
        self.epoch = 1
        self.young = True
        self.run = Run(ended=True, real=False)
        self.open: dict[int, Permit] = {}

    def _broken(self, rule: str, message: str) -> None:
        self.broken.append((rule, message))

    def _waiting(self, run: Run) -> int:
        """Return how many permits of a run have no outcome."""
        return sum(permit[2] is run for permit in self.open.values())

    def _on_arm(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["reason"])
        if record["epoch"] < 1 or not self.young:
            self._broken(MODES, "arm after another arm, start, halt or reset, or not in an epoch from 1")
        else:
            self.epoch = record["epoch"]
        self.young = False

    def _on_start(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["session"] or "")
        if self.mode != IDLE:
            self._broken(MODES, f"start in {self.mode}")
        elif record["epoch"] != self.epoch:
            self._broken(MODES, f"start in epoch {record['epoch']}, but it is {self.epoch}")
        else:
            self.mode = RUNNING
            self.run.draining = False
            self.run.tickets.clear()  # between a halt or a stop and here no permit is allowed at all

    def _on_drain(self, record: Record, _number: int) -> None:
        if self._running(record):
            self.run.draining = True

    def _on_ticket(self, record: Record, _number: int) -> None:
        if not self._running(record):
            return
        if not self.run.draining:
            self._broken(MODES, "ticket before drain")
            return
        if record["id"] in self.run.tickets:  # the first one stands: another may not make more of it
            self._broken(MODES, f"a second ticket for order {record['id']!r:.80} while the first is open")
            return
        self.run.tickets[record["id"]] = (record["instrument"], record["side"], Decimal(record["quantity"]))

    def _on_refuse(self, record: Record, _number: int) -> None:
        """Refused for anything but the gate itself, an order had come through it, and its ticket is spent."""
        self.run.refusals += 1
        if record["code"] not in _AT_THE_GATE:
            self.run.tickets.pop(record["id"], None)

    def _on_flood(self, record: Record, _number: int) -> None:
        self.run.refusals += record["count"]

    def _on_block(self, record: Record, _number: int) -> None:
        self.run.blocked += record["count"]

    def _on_beat(self, record: Record, _number: int) -> None:
        run = self.run
        self._total("permits", record["permits"], run.permits)
        self._total("refusals", record["refusals"], run.refusals)
        self._total("blocked", record["blocked"], run.blocked)
        self._total("consulted", record["consulted"], record["ticks"] - record["blocked"])

    def _total(self, name: str, told: int, counted: int) -> None:
        if told != counted:
            self._broken(TOTALS, f"{name} is {told}, but the records come to {counted}")

    def _on_stop(self, record: Record, _number: int) -> None:
        if not self._running(record):
            return
        self.mode = IDLE
        waiting = self._waiting(self.run)
        if waiting:
            self._broken(MODES, f"stop with {waiting} permits that have no outcome")

    def _running(self, record: Record) -> bool:
        kind, epoch = record["kind"], record["epoch"]
        if self.mode != RUNNING:
            self._broken(MODES, f"{kind} in {self.mode}")
        elif epoch != self.epoch:
            self._broken(MODES, f"{kind} in epoch {epoch}, but it is {self.epoch}")
        else:
            return True
        return False

    def _on_halt(self, record: Record, number: int) -> None:
        why = f"{record['code']}: {record['reason']}"
        self._act(record, number, record["operator"] or record["source"], why)
        self.mode = HALTED
        at, mono = record["at"], record["mono"]
        if at > mono:  # it would excuse every send until then
            self._broken(MODES, f"the halt says that it took effect {at - mono} ns after its record was made")
        self.run.halted(number, self.run.base + min(at, mono))

    def _on_reset(self, record: Record, number: int) -> None:
        self._act(record, number, record["operator"], record["reason"])
        prior, epoch = record["prior"], record["epoch"]
        if self.mode != HALTED:
            self._broken(MODES, f"reset in {self.mode}")
        elif prior != self.epoch:
            self._broken(MODES, f"reset of epoch {prior}, but it is {self.epoch}")
        elif epoch <= prior:
            self._broken(MODES, f"reset from epoch {prior} to {epoch}, which is not higher")
        else:
            self.mode, self.epoch = IDLE, epoch

    def _act(self, record: Record, number: int, who: str, why: str) -> None:
        """Note an action for the report."""
        self.actions_total += 1
        if record["kind"] != "arm":
            self.young = False
        action = Action(
            kind=record["kind"],
            seq=number,
            ts=record["ts"],
            epoch=record["epoch"],
            who=who,
            why=why,
        )
        self.actions.append(action)
