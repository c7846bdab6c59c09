"""One run, played into one core.

Three rules.

1. **The core decides, the journal tells.** Each record of an input is handed to the core with its own time.
   What comes of it is made into a record by the functions that made the journal's, and compared member by
   member.
2. **What the core notices is owed.** A halt, a breach, an anomaly, a permit made void: the records that follow
   must tell of them, in this order. What is still owed when the next input comes is a difference; so is one
   that nobody owed.
3. **After a difference the journal goes on being believed.** What was granted was granted: the core is brought
   to where the journal says it was, as well as can be. So each later difference is one by itself, and not an
   echo of the first.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.ledger import Status, Working
from interlock.core.machine import Anomaly, Breach, Halted, Notice
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.tickets import Ticket
from interlock.core.values import Cancel, HaltCause, Side, Verdict
from interlock.journal import records
from interlock.replay import partial
from interlock.replay.inputs import Inputs, exact, text, whole
from interlock.replay.report import Difference, Report, Unplayable, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.core.preorder import Core
    from interlock.core.values import Order

__all__ = ["Session"]

Record = dict[str, object]
_ACCEPTED: Final = str(Reason.ACCEPTED)
_ANOMALIES: Final = frozenset({"CHECK_RAISED", "UNKNOWN_ORDER", "FILL_UNREADABLE", "FILL_MISMATCH"})
"""The codes that only the core gives."""

_BETWEEN: Final = frozenset(
    {"halt", "breach", "anomaly", "void", "block", "beat", "mark", "cancel", "cancel_end", "inputs", "odd", "reset"}
)
"""What may stand between an input and what the core noticed about it, or is no input."""


class Session:
    """Plays the records of one run.

    Args:
        core: as it was when the run began: restored, IDLE or HALTED.
        report: counts what is compared.
    """

    def __init__(self, core: Core, report: Report) -> None:
        self.core = core
        self.recorded = False
        """Whether this run records its inputs."""
        self.found: list[Difference] = []
        self.counters = {"ticks": 0, "permits": 0, "refusals": 0}
        self._report = report
        self._inputs = Inputs()
        self._owed: deque[Notice | Working] = deque()
        self._open: dict[int, Working] = {}
        self._shift_ns = 0
        self._flooded = False
        self._seq = 0
        self._was = (core.mode, core.gate_open)
        self._before = self._was
        """Mode and gate before the last halt that is owed."""
        self._alarm: tuple[str, str] | None = None
        """Of the anomaly just told, by whom and why a halt for it would be."""
        self._play: dict[str, Callable[[Record], None]] = {
            "arm": self._arm,
            "start": self._start,
            "drain": self._drain,
            "ticket": self._ticket,
            "stop": self._stop,
            "halt": self._halt,
            "reset": self._reset,
            "quote": self._tick,
            "trade": self._tick,
            "permit": self._permit,
            "refuse": self._refuse,
            "flood": self._flood,
            "begin": self._begin,
            "sent": self._outcome,
            "unknown": self._outcome,
            "void": self._void,
            "cancel": self._cancel,
            "accept": self._event,
            "cancelled": self._event,
            "reject": self._event,
            "fill": self._fill,
            "unread": self._unread,
            "heartbeat": self._heartbeat,
            "odd": self._inputs.odd,
            "mark": self._mark,
            "breach": self._notice,
            "anomaly": self._notice,
            "rebase": self._rebase,
            "inputs": self._begin_inputs,
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
        recorded = _decision(record)
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
        recorded: Record = {"code": _ACCEPTED, "limit": None, "value": None}
        decided: Record = {"code": str(verdict.reason), "limit": verdict.limit, "value": verdict.value}
        return self._compare(what, record, recorded, decided)

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

    def _heartbeat(self, record: Record) -> None:
        self.core.beat(self._time(record))

    # -- The gates -------------------------------------------------------------------------------

    def _latch(self, code: object) -> int:
        """A refusal that says HALTED while the mode is not has seen a latch that is not armed; its halt must follow."""
        return 0 if code == Reason.HALTED and self.core.mode is not Mode.HALTED else ARMED

    def _tick(self, record: Record) -> None:
        core = self.core
        tick = self._inputs.tick(record)
        code = text(record, "code")
        self.counters["ticks"] += 1
        mono, ts = self._time(record), whole(record, "ts")
        book = core.books.get(text(record, "instrument")) if record["instrument"] is not None else None
        before = None if book is None else (book.last_ts_us, book.reference, book.reference_mono_ns)
        verdict = core.consult(tick, ARMED if record["armed"] else 0, mono, ts)
        now = str(verdict.reason)
        if now != code and not self._inputs.exact:
            self._report.skipped["gate 1"] += 1
            return
        limits: Record = {} if now == code else {"limit": verdict.limit, "value": verdict.value}
        if self._compare("gate 1", record, {"code": code}, {"code": now, **limits}) or book is None or before is None:
            return
        if code == _ACCEPTED:
            keys = ("price", "price") if record["kind"] == "trade" else ("bid", "ask")
            prices = (exact(record, keys[0]), exact(record, keys[1]))
            partial.passed(book, prices, mono, whole(record, "venue_ts"))
        elif now == _ACCEPTED:
            book.last_ts_us, book.reference, book.reference_mono_ns = before

    def _permit(self, record: Record) -> None:
        core = self.core
        seq, mono = whole(record, "seq"), self._time(record)
        order = self._inputs.order(record)
        self.counters["permits"] += 1
        if not self.recorded:
            partial.implied(core, record, mono, flooded=self._flooded)
        decided = core.decide(order, ARMED, mono, seq)
        if isinstance(decided, Working):
            ts = whole(record, "ts")
            made = records.permit(seq, ts, whole(record, "mono"), core.epoch, decided)
            self._open[seq] = decided
            self._compare("gate 2", record, _decision(record), _decision(made))
            return
        self._compare("gate 2", record, {**_decision(record), "code": _ACCEPTED}, _refusal(decided))
        self._grant(order, seq)

    def _grant(self, order: Order, seq: int) -> None:
        """What was granted was granted."""
        core = self.core
        book = core.books.get(order.instrument)
        size = book.sizes[str(order.quantity)] if book is not None else None
        price = (0, None, None) if order.price is None or book is None else book.prices[str(order.price)]
        if book is None or size is None or size[0] is None or price[0] is None:
            message = f"a permit for {order.instrument}, which these limits do not know with this grid"
            raise Unplayable(message)
        for notice in core.notices:
            if isinstance(notice, Halted):
                self._before = self._was
                self._unhalt(notice)
        core.notices.clear()
        self._open[seq] = working = Working(order, book, seq, size[0], size[1], price[0], price[1])
        core.regrant(working)
        core.bucket.take()

    def _refuse(self, record: Record) -> None:
        core = self.core
        mono, code = self._time(record), text(record, "code")
        self.counters["refusals"] += 1
        order = self._order(record)
        complete = self.recorded or (order is not None and partial.implied(core, record, mono, flooded=self._flooded))
        if order is None or not complete:
            self._report.skipped["gate 2"] += 1
            return
        bucket = copy.copy(core.bucket)
        decided = core.decide(order, self._latch(code), mono, 0)
        if isinstance(decided, Working):
            made = records.permit(0, 0, 0, core.epoch, decided)
            core.void(decided)
            core.bucket = bucket
            core.repeats.undo()
            self._compare("gate 2", record, _decision(record), {**_decision(made), "code": _ACCEPTED})
            return
        said = (str(decided.reason), decided.limit, decided.value)
        made = records.refuse(0, 0, 0, core.epoch, str(core.mode), order, *said)
        if not self._inputs.exact:
            if made["code"] != code:
                self._report.skipped["gate 2"] += 1
                return
            made = {**record, "code": made["code"], "mode": made["mode"], "epoch": made["epoch"]}
        self._compare("gate 2", record, _decision(record), _decision(made))

    def _order(self, record: Record) -> Order | None:
        """The order of a ``refuse``; None if it was malformed, and nothing tells how."""
        try:
            order = self._inputs.order(record)
        except Unplayable:
            if self.recorded:
                raise
            return None
        whole_numbers = all(len(str(record[key])) < 64 for key in ("quantity", "price"))  # noqa: PLR2004 - else cut
        return order if self.recorded or whole_numbers else None

    def _flood(self, record: Record) -> None:
        """Refusals that were counted together: only those of an order loop leave anything behind."""
        if self.recorded:
            message = "a flood in a run with recorded inputs"
            raise Unplayable(message)
        self._report.skipped["gate 2"] += whole(record, "count")
        self._flooded = self._flooded or record["code"] == Reason.ORDER_LOOP

    # -- The life of a permit --------------------------------------------------------------------

    def _begin(self, record: Record) -> None:
        number = whole(record, "permit")
        working = self._open.get(number)
        begun = working is not None and self.core.begin(working, ARMED)
        self._compare("begin", record, {"permit": number, "begun": True}, {"permit": number, "begun": begun})
        if working is not None and not begun:
            working.status = Status.SENDING
            self.core.in_flight[number] = working

    def _outcome(self, record: Record) -> None:
        """A send ended. Without recorded inputs nobody wrote when it began."""
        core = self.core
        number = whole(record, "permit")
        working = self._open.pop(number, None)
        if working is None:
            return  # of an earlier run
        if not self.recorded and number not in core.in_flight:
            core.in_flight[number] = working
            if working.status is Status.GRANTED:
                working.status = Status.SENDING
        elif number not in core.in_flight:
            self._compare("begin", record, {"permit": number, "begun": True}, {"permit": number, "begun": False})
            return
        if record["kind"] == "sent":
            core.end(working)
        else:
            core.fail(working)

    # -- What the venue says ---------------------------------------------------------------------

    def _cancel(self, record: Record) -> None:
        cancel = Cancel(client_order_id=text(record, "id"), instrument=text(record, "instrument"))
        self.core.cancel(cancel, self._time(record))

    def _event(self, record: Record) -> None:
        order_id = self._inputs.order_id(record)
        if record["kind"] == "accept":
            self.core.on_accept(order_id)
        else:
            self.core.on_closed(order_id, text(record, "kind"))

    def _fill(self, record: Record) -> None:
        known = self.core.on_fill(self._inputs.fill(record))
        self._compare("fill", record, {"known": record["known"]}, {"known": known})

    def _unread(self, record: Record) -> None:
        known = self.core.on_fill(self._inputs.fill(record))
        self._compare("fill", record, {"known": None}, {"known": known})

    def _mark(self, record: Record) -> None:
        """Equity is what ticks and fills made of it."""
        if not self.recorded:
            return
        for account in self.core.accounts():
            if account.currency == record["currency"]:
                amounts = {"equity": account.equity, "opening": account.opening, "peak": account.peak}
                decided: Record = {key: account.text(amount) for key, amount in amounts.items()}
                self._compare("mark", record, {key: record[key] for key in amounts}, decided)


_HEAD: Final = ("v", "seq", "kind", "ts", "mono")


def _decision(record: Mapping[str, object]) -> Record:
    """A record's members."""
    return {key: value for key, value in record.items() if key not in _HEAD}


def _refusal(verdict: Verdict) -> Record:
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
