"""The course of one run: its modes, its halts, and what the core noticed and the journal has to tell.

Three rules, for all that is replayed.

1. **The core decides, the journal tells.** Each record of an input is handed to the core with its own time.
   What comes of it is compared with what stands there, member by member.
2. **What the core notices is owed.** A halt, a breach, an anomaly, a permit made void: the records that follow
   must tell of them, in this order. What is still owed when the next input comes is a difference; so is one that
   nobody owed.
3. **After a difference the journal goes on being believed.** What was granted was granted: the core is brought
   to where the journal says it was, as well as can be. So each later difference is one by itself, and not an
   echo of the first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.ledger import Status, Working
from interlock.core.machine import Anomaly, Breach, Halted, Notice
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.tickets import Ticket
from interlock.core.values import HaltCause, Side, Verdict
from interlock.journal import records
from interlock.replay.inputs import exact, text, whole
from interlock.replay.report import Difference, Report, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.core.preorder import Core

__all__ = ["ACCEPTED", "Course", "Record", "decision", "refusal_of"]

Record = dict[str, object]
ACCEPTED: Final = str(Reason.ACCEPTED)
_ANOMALIES: Final = frozenset({"CHECK_RAISED", "UNKNOWN_ORDER", "FILL_UNREADABLE", "FILL_MISMATCH"})
"""The codes that only the core gives."""

_BETWEEN: Final = frozenset(
    {"halt", "breach", "anomaly", "void", "block", "beat", "mark", "cancel", "cancel_end", "inputs", "odd", "reset"}
)
"""What may stand between an input and what the core noticed about it, or is no input."""


class Course:
    """Plays what is not of the gates; `Session` adds these.

    Args:
        core: as it was when the run began: restored, IDLE or HALTED.
        report: counts what is compared.

    Attributes:
        recorded: whether this run records its inputs.
        found: what differs, in the record that is being played.
        counters: ticks, permits and refusals of the run.
    """

    def __init__(self, core: Core, report: Report) -> None:
        self.core = core
        self.recorded = False
        self.found: list[Difference] = []
        self.counters = {"ticks": 0, "permits": 0, "refusals": 0}
        self._report = report
        self._owed: deque[Notice | Working] = deque()
        self._open: dict[int, Working] = {}
        self._shift_ns = 0
        self._seq = 0
        self._was = (core.mode, core.gate_open)
        self._before = self._was
        """Mode and gate before the last halt that is owed."""
        self._alarm: tuple[str, str] | None = None
        """Of the anomaly just told, by whom and why a halt for it would be."""
        self._play: dict[str, Callable[[Record], None]] = {
            "inputs": self._begin_inputs,
            "arm": self._arm,
            "start": self._start,
            "drain": self._drain,
            "ticket": self._ticket,
            "stop": self._stop,
            "halt": self._halt,
            "reset": self._reset,
            "void": self._void,
            "breach": self._notice,
            "anomaly": self._notice,
            "rebase": self._rebase,
            "end": self._end,
        }

    def feed(self, record: Record, seq: int) -> list[Difference]:
        """Play one record.

        Args:
            record: as it stands, or stood, in its run.
            seq: under which a difference is to be found in the journal.

        Returns:
            What differs.

        Raises:
            Unplayable: the core can't be given this.
        """
        self.found = []
        kind = text(record, "kind")
        play = self._play.get(kind)
        if play is None:
            return self.found
        self._seq = seq
        core = self.core
        if kind not in _BETWEEN:
            self._settle(record)
            self._alarm = None
        self._was = (core.mode, core.gate_open)
        play(record)
        if core.notices:
            if self.recorded:
                self._owe()
            core.notices.clear()
        return self.found

    def _time(self, record: Record) -> int:
        """The monotonic time of a record, on a scale that no ``rebase`` moves."""
        return whole(record, "mono") + self._shift_ns

    # -- Differences -----------------------------------------------------------------------------

    def _compare(self, what: str, record: Record, recorded: Record, decided: Record) -> bool:
        """Count a decision; whether it is the same."""
        self._report.compared[what] += 1
        if recorded == decided:
            return True
        self._differ(what, record, recorded, decided)
        return False

    def _differ(self, what: str, record: Record, recorded: Record, decided: Record) -> None:
        self._report.differences += 1
        state = state_of(self.core, self._time(record), self.counters)
        state = attrs.evolve(state, mode=str(self._was[0]), gate_open=self._was[1])
        self.found.append(
            Difference(
                seq=self._seq,
                kind=text(record, "kind"),
                what=what,
                recorded=recorded,
                decided=decided,
                state=state,
            )
        )

    # -- What the core noticed -------------------------------------------------------------------

    def _owe(self) -> None:
        """What was noticed must be told."""
        for notice in self.core.notices:
            self._owed.append(notice)
            if isinstance(notice, Halted):
                self._before = self._was if notice.first else self._before
                self._owed.extend(notice.voided)

    def _settle(self, record: Record) -> None:
        """An input comes: nothing may be owed any more."""
        while self._owed:
            owed = self._owed.popleft()
            self._was = (self.core.mode, self.core.gate_open)
            self._differ(_name_of(owed), record, {}, _told(owed))
            if isinstance(owed, Halted) and owed.first:  # the journal knows nothing of it: so it is RUNNING
                self._unhalt(owed)
                for _ in owed.voided:
                    self._owed.popleft()

    def _unhalt(self, halted: Halted) -> None:
        """Go back to before a halt that the journal knows nothing of."""
        core = self.core
        core.mode, core.gate_open = self._before
        core.cause = None
        for working in halted.voided:
            working.status = Status.GRANTED
            core.regrant(working)

    def _notice(self, record: Record) -> None:
        """A breach or an anomaly."""
        kind = record["kind"]
        if not self.recorded or (kind == "anomaly" and record["code"] not in _ANOMALIES):
            return
        head = self._owed[0] if self._owed else None
        recorded = decision(record)
        if kind == "anomaly":
            self._alarm = ("kernel", f"{record['code']}: {record['detail']}")
        if isinstance(head, Breach | Anomaly) and _name_of(head) == kind:
            self._owed.popleft()
            self._compare(str(kind), record, recorded, _told(head))
        else:
            self._compare(str(kind), record, recorded, {})

    def _halt(self, record: Record) -> None:
        """A halt of the core's own is owed; any other is an input."""
        core = self.core
        cause = HaltCause(
            code=HaltCode(text(record, "code")),
            reason=text(record, "reason"),
            source=text(record, "source"),
            epoch=whole(record, "epoch"),
        )
        recorded: Record = {"code": str(cause.code), "reason": cause.reason}
        also: Record = {"first": record["first"], "in_flight": record["in_flight"]}
        if any(isinstance(owed, Halted) for owed in self._owed):
            while not isinstance(head := self._owed.popleft(), Halted):
                self._differ(_name_of(head), record, {}, _told(head))
            seen = head.cause.code is HaltCode.EXTERNAL  # then whoever set the latch knows better why
            told = recorded if seen else _told(head)
            self._compare("halt", record, {**recorded, **also}, {**told, **self._halting(first=head.first)})
            return
        first = core.mode is not Mode.HALTED
        core.halt(cause)
        if self.recorded:
            told = {} if self._alarm is not None and self._alarm == (cause.source, cause.reason) else recorded
            self._compare("halt", record, {**recorded, **also}, {**told, **self._halting(first=first)})
            for notice in core.notices:
                self._owed.extend(notice.voided if isinstance(notice, Halted) else ())
        core.notices.clear()

    def _halting(self, *, first: bool) -> Record:
        return {"first": first, "in_flight": list(self.core.in_flight)}

    def _void(self, record: Record) -> None:
        """A permit was withdrawn: by a halt, because the venue was done with it, or because its submit broke off."""
        number, code = whole(record, "permit"), text(record, "code")
        head = self._owed[0] if self._owed else None
        if isinstance(head, Working):
            self._owed.popleft()
            recorded: Record = {"permit": number, "code": code}
            self._compare("void", record, recorded, _told(head))
            self._open.pop(number, None)
            return
        working = self._open.pop(number, None)
        if working is None or (working.status is Status.VOID and not self.recorded):
            return  # of an earlier run, or of a halt that was an input
        over = working.status is Status.DONE
        withdrawn = over or self.core.void(working)
        if self.recorded:
            now = "ORDER_CLOSED" if over else "CANCELLED" if withdrawn else "nothing to withdraw"
            self._compare("void", record, {"code": code}, {"code": now})

    # -- Modes -----------------------------------------------------------------------------------

    def _arm(self, record: Record) -> None:
        self.core.epoch = whole(record, "epoch")

    def _start(self, record: Record) -> None:
        core = self.core
        session = record["session"]
        label = session if isinstance(session, str) else None
        mono = self._time(record)
        verdict = core.start(ARMED, whole(record, "epoch"), mono, label)
        if not self._agreed("start", record, verdict):
            if label is not None and label != core.session:
                core.begin_session(label)
            core.beat_ns, core.mode, core.gate_open = mono, Mode.RUNNING, True
            core.tickets.clear()

    def _drain(self, record: Record) -> None:
        core = self.core
        was: Record = {"mode": str(core.mode), "gate_open": core.gate_open}
        self._compare("drain", record, {"mode": str(Mode.RUNNING), "gate_open": True}, was)
        core.close_gate()

    def _stop(self, record: Record) -> None:
        core = self.core
        if not self._agreed("stop", record, core.stop(ARMED)):
            core.mode, core.gate_open = Mode.IDLE, False
            core.tickets.clear()

    def _agreed(self, what: str, record: Record, verdict: Verdict) -> bool:
        """Whether the core still allows what was done."""
        recorded: Record = {"code": ACCEPTED, "limit": None, "value": None}
        return self._compare(what, record, recorded, refusal_of(verdict))

    def _reset(self, record: Record) -> None:
        """Somebody reset the home. A run may begin under the epoch that its reset only then is told of."""
        core = self.core
        core.epoch = whole(record, "prior")
        mode = core.mode
        adopted = core.adopt(ARMED, whole(record, "epoch"))
        decided: Record = {"mode": str(mode), "adopted": adopted}
        self._compare("reset", record, {"mode": str(Mode.HALTED), "adopted": True}, decided)

    def _ticket(self, record: Record) -> None:
        ticket = Ticket(
            client_order_id=text(record, "id"),
            instrument=text(record, "instrument"),
            side=Side(text(record, "side")),
            quantity=exact(record, "quantity"),
        )
        self._agreed("ticket", record, self.core.ticket(ticket, ARMED))
        self.core.admit(ticket)

    def _end(self, record: Record) -> None:
        self._compare("mode", record, {"mode": record["code"]}, {"mode": str(self.core.mode)})

    def _begin_inputs(self, _: Record) -> None:
        self.recorded = True

    def _rebase(self, record: Record) -> None:
        self._shift_ns += whole(record, "shift")


_HEAD: Final = ("v", "seq", "kind", "ts", "mono")


def decision(record: Mapping[str, object]) -> Record:
    """A record's members."""
    return {key: value for key, value in record.items() if key not in _HEAD}


def refusal_of(verdict: Verdict) -> Record:
    """What a refusal says."""
    return {"code": str(verdict.reason), "limit": verdict.limit, "value": verdict.value}


def _name_of(owed: Notice | Working) -> str:
    return "void" if isinstance(owed, Working) else type(owed).__name__.lower().replace("halted", "halt")


def _told(owed: Notice | Working) -> Record:
    """As the journal tells it."""
    if isinstance(owed, Working):
        return {"permit": owed.number, "code": "HALTED"}
    if isinstance(owed, Halted):
        return {"code": str(owed.cause.code), "reason": records.text(owed.cause.reason)}
    if isinstance(owed, Anomaly):
        return {"code": owed.code, "detail": records.text(owed.detail)}
    return {**attrs.asdict(owed), "limit": str(owed.limit)}
