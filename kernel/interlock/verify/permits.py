"""The rules about permits: when one may be, and what may become of it."""

from decimal import Decimal

from .kinds import Record
from .modes import RUNNING, Modes
from .runs import Numbers, Orders, Permit, Recovery

NO_EMIT_AFTER_HALT = "NoEmitAfterHalt"
JOURNAL_BEFORE_EMIT = "JournalBeforeEmit"
ONE_PERMIT_ONE_SEND = "OnePermitOneSend"


class Permits(Modes):
    """The permits and their outcomes.

    Attributes:
        doubts: the permits that nobody knows the end of: order id to number.
        numbers: of all permits.
        orders: the order ids of the latest.
        depth: how many salvages the record stands in that is being replayed.
    """

    def __init__(self) -> None:
        """Begin without a permit."""
        super().__init__()
        self.doubts: dict[str, int] = {}
        self.numbers = Numbers()
        self.orders = Orders()
        self.depth = 0
        self._recoveries: list[Recovery] = []

    def _on_permit(self, record: Record, number: int) -> None:
        run = self.run
        order, epoch = record["id"], record["epoch"]
        if self.mode != RUNNING:
            self._broken(NO_EMIT_AFTER_HALT, f"permit in {self.mode}")
        elif epoch != self.epoch:
            self._broken(NO_EMIT_AFTER_HALT, f"permit of epoch {epoch}, but it is {self.epoch}")
        elif run.draining:
            self._by_ticket(record)
        if self.orders.grant(order, run.remember):
            self._broken(ONE_PERMIT_ONE_SEND, f"order {order!r:.80} is permitted again")
        run.permits += 1
        self.numbers.add(number)
        self.open[number] = (number, run.base + record["mono"], run, order, epoch)
        self.doubts[order] = number

    def _by_ticket(self, record: Record) -> None:
        """Check a permit behind the closed gate: it needs a ticket, which it uses up."""
        ticket = self.run.tickets.pop(record["id"], None)
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
        if permit is not None and permit[2] is self.run:
            self._own(record, permit)

    def _on_void(self, record: Record, _number: int) -> None:
        permit = self._outcome(record)
        if permit is not None:
            self.doubts.pop(permit[3], None)
            self.orders.void(permit[3])
            self._own(record, permit)

    def _named(self, number: int) -> int:
        """Return the number that a permit, which a salvaged record names, has now."""
        # From the seal on it means the salvaged permit that had it then.
        back = self._recoveries[self.depth - 1]
        return back.numbers.get(number, -1) if number >= back.sealed else number

    def _outcome(self, record: Record) -> Permit | None:
        """Take the permit that an outcome names out of the open ones."""
        number = record["permit"]
        if self.depth:
            number = self._named(number)
        permit = self.open.pop(number, None)
        if permit is None:
            name = f"{record['kind']} names permit {record['permit']}, which"
            if number in self.numbers:
                self._broken(ONE_PERMIT_ONE_SEND, f"{name} has an outcome already")
            else:
                self._broken(JOURNAL_BEFORE_EMIT, f"{name} is not in the journal before it")
        return permit

    def _own(self, record: Record, permit: Permit) -> None:
        """Check an outcome that only the run that made the permit can know."""
        kind = record["kind"]
        number, granted, run, _, _ = permit
        if run is not self.run:
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} of a permit of an earlier run")
            return
        if run.inputs:
            self._began(record, number)
        if kind == "void":
            return
        begun = run.base + record["begun"]
        if begun < granted:
            late = granted - begun
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} begun {late} ns before its permit")
        if begun > run.halt_after(number):
            self._broken(NO_EMIT_AFTER_HALT, f"{kind} begun after a halt took effect")

    def _began(self, record: Record, number: int) -> None:
        """Check an outcome against the `begin` of its permit."""
        kind, run = record["kind"], self.run
        began = run.begun.pop(number, None)
        if kind == "void":
            if began is not None:
                self._broken(JOURNAL_BEFORE_EMIT, "void of a permit whose send had begun")
        elif began is None:
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} of a permit without a begin")
        elif began != run.base + record["begun"]:
            self._broken(JOURNAL_BEFORE_EMIT, f"{kind} says another time than the begin of its permit")

    def _on_venue(self, record: Record, _number: int) -> None:
        self.doubts.pop(record["id"], None)
