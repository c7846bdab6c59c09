"""One run, played into one core: its ticks, its orders, and what the venue said of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from interlock.core.ledger import Status, Working
from interlock.core.machine import Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import Reason
from interlock.core.values import Cancel
from interlock.journal import records
from interlock.replay import partial
from interlock.replay.course import ACCEPTED, Course, Record, decision, refusal_of
from interlock.replay.inputs import Inputs, exact, text, whole
from interlock.replay.report import Report, Unplayable

if TYPE_CHECKING:
    from interlock.core.preorder import Core
    from interlock.core.values import Order

__all__ = ["Session"]


class Session(Course):
    """Plays the records of one run. Arguments as for `Course`."""

    def __init__(self, core: Core, report: Report) -> None:
        super().__init__(core, report)
        self._inputs = Inputs()
        self._flooded = False
        self._play |= {
            "quote": self._tick,
            "trade": self._tick,
            "heartbeat": self._heartbeat,
            "permit": self._permit,
            "refuse": self._refuse,
            "flood": self._flood,
            "begin": self._begin,
            "sent": self._outcome,
            "unknown": self._outcome,
            "cancel": self._cancel,
            "accept": self._event,
            "cancelled": self._event,
            "reject": self._event,
            "fill": self._fill,
            "unread": self._unread,
            "odd": self._inputs.odd,
            "mark": self._mark,
        }

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
        if code == ACCEPTED:
            keys = ("price", "price") if record["kind"] == "trade" else ("bid", "ask")
            prices = (exact(record, keys[0]), exact(record, keys[1]))
            partial.passed(book, prices, mono, whole(record, "venue_ts"))
        elif now == ACCEPTED:
            book.last_ts_us, book.reference, book.reference_mono_ns = before

    def _heartbeat(self, record: Record) -> None:
        self.core.beat(self._time(record))

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
            self._compare("gate 2", record, decision(record), decision(made))
            return
        self._compare("gate 2", record, {**decision(record), "code": ACCEPTED}, refusal_of(decided))
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
            self._compare("gate 2", record, decision(record), {**decision(made), "code": ACCEPTED})
            return
        said = (str(decided.reason), decided.limit, decided.value)
        made = records.refuse(0, 0, 0, core.epoch, str(core.mode), order, *said)
        if not self._inputs.exact:
            if made["code"] != code:
                self._report.skipped["gate 2"] += 1
                return
            made = {**record, "code": made["code"], "mode": made["mode"], "epoch": made["epoch"]}
        self._compare("gate 2", record, decision(record), decision(made))

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
