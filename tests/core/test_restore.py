"""A core that is rebuilt from its journal owns and owes what the one that died did.

`Live` is a core with a journal beside it, written with the records that the facade writes.
A random history is played to it; then the process dies, and a new core is made of the
records alone.
"""

import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.builders import (
    EURO,
    MS,
    NAME,
    NOW_US,
    OTHER,
    SIDES,
    D,
    counted,
    decide,
    exposure,
    fill,
    halts,
    limits,
    market,
    order,
    quote,
    running,
    statuses,
)

from interlock.core.ledger import Status, Working
from interlock.core.machine import Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode, Reason
from interlock.core.restore import Restorer, restore
from interlock.core.standing import tell
from interlock.core.values import HaltCause, Order, Side, Verdict
from interlock.journal import records

ROOMY: dict[str, object] = {
    "gate2__repeat_refuse_after": 10**5,
    "gate2__repeat_trip_after": 10**6,
    "gate2__message_burst": 10**6,
    "loss__USD__max_session_loss": 10**9,
    "loss__USD__max_drawdown": 10**9,
    f"instruments__{NAME}__max_open_orders": 50,
}


class Live:
    """A core and its journal."""

    def __init__(self, *, trips: bool = False, settings: dict[str, object] | None = None) -> None:
        """Begin RUNNING, with a quote of each instrument, and an empty journal."""
        word = "trip" if trips else "record"
        self.settings = {"anomaly__unknown_order": word} | ROOMY | (settings or {})
        self.core = running(**self.settings)
        self.records: list[dict[str, Any]] = []
        self.handed: list[Working] = []
        self.heard: set[Working] = set()
        self.fills: list[Any] = []
        self.count = itertools.count()

    def write(self, kind: str, **members: object) -> None:
        """Write a record, then what the core's notices ask for."""
        self.records.append(records.head(len(self.records), kind, 0, 0) | members)

    def heed(self) -> None:
        """Write down the permits that a halt took back."""
        for notice in self.core.notices:
            if isinstance(notice, Halted):
                self.write("halt", first=notice.first)
                for working in notice.voided:
                    self.write("void", permit=working.number, code="HALTED")
        self.core.notices.clear()

    def submit(self, wanted: Order) -> Working | Verdict:
        """Hand an order over; a permit is written down."""
        number = len(self.records)
        decided = self.core.decide(wanted, ARMED, 0, number)
        if isinstance(decided, Working):
            self.records.append(records.permit(number, 0, 0, self.core.epoch, decided))
            self.handed.append(decided)
        return decided

    def tell(self) -> None:
        """Write down what stands. Of a send that goes on it does not say whether the venue spoke, but for a fill."""
        self.write("ledger", state=orjson.loads(orjson.dumps(tell(self.core, ""))))
        sizes = {one: one.book.sizes[one.size_text][0] for one in self.heard}
        self.heard = {one for one, size in sizes.items() if one.remaining != size}

    def pick(self, number: int) -> Working | None:
        """Return one of the orders that were granted."""
        return self.handed[number % len(self.handed)] if self.handed else None

    def act(self, kind: str, number: int, side: Side, tenths: int, *, flag: bool) -> None:
        """Do one thing, and write it down."""
        working = self.pick(number)
        if kind == "submit":
            make = market if number % 3 == 0 else order
            name = (NAME, OTHER)[number % 5 == 0]
            quantity = D(tenths) / 10 if name == NAME else D(tenths)
            order_id = f"o{next(self.count)}"
            wanted = make(order_id, instrument=name, side=side, quantity=quantity, reduce_only=flag)
            self.submit(wanted)
        elif kind == "halt":
            if number == 0:
                self.core.halt(HaltCause(code=HaltCode.OPERATOR, reason="stop", source="cli"))
        elif kind == "ledger":
            self.tell()
        elif working is not None:
            self.with_order(kind, working, side, tenths, flag=flag)
        self.heed()

    def with_order(self, kind: str, working: Working, side: Side, tenths: int, *, flag: bool) -> None:
        """Do one thing with an order that was granted."""
        core, order_id = self.core, working.order.client_order_id
        if kind == "begin":
            core.begin(working, ARMED)
        elif kind in {"end", "fail"} and working.number in core.in_flight:
            (core.end if kind == "end" else core.fail)(working)
            self.write("sent" if kind == "end" else "unknown", permit=working.number)
        elif kind == "void" and core.void(working):
            self.write("void", permit=working.number, code="CANCELLED")
        elif working.status is Status.GRANTED:
            return  # the venue cannot speak of what it was not sent
        elif kind == "accept":
            self.hear(order_id)
            core.on_accept(order_id)
            self.write("accept", id=order_id)
        elif kind == "closed":
            core.on_closed(order_id, "cancelled")
            self.write("cancelled", id=order_id)
        elif kind == "fill":
            self.hear(order_id)
            name = working.order.instrument
            quantity = D(tenths) / 10 if name == NAME else D(tenths)
            if flag:  # as it should be; else of any size, on any side
                side = working.order.side
                left = D(working.book.size_text(working.remaining))
                quantity = min(quantity, left) or quantity
            fill_id = f"f{next(self.count)}"
            done = fill(order_id, fill_id, instrument=name, side=side, quantity=quantity,
                        price=D(95 + tenths), fee=D("0.01"))  # fmt: skip
            known = core.on_fill(done)
            self.fills.append(done)
            self.records.append(records.fill(len(self.records), 0, 0, done, known=bool(known)))

    def hear(self, order_id: str) -> None:
        """Remember that the venue spoke of an order."""
        working = self.core.working.get(order_id)
        if working is not None:
            self.heard.add(working)

    def expected(self) -> dict[str, Status]:
        """Return where each working order stands once the process has died."""
        return {
            name: Status.UNKNOWN
            if working.status is Status.GRANTED or (working.status is Status.SENDING and working not in self.heard)
            else Status.DONE
            if working.status is Status.SENDING
            else working.status
            for name, working in self.core.working.items()
        }

    def restored(self, *, after: list[dict[str, Any]] | None = None) -> Core:
        """Return a core that is made of the journal."""
        core = Core(limits(**self.settings), 1, Mode.HALTED)
        assert restore(core, self.records if after is None else after) == []
        return core


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit"] * 4 + ["begin"] * 3
            + ["end", "end", "fail", "void", "accept", "closed", "fill", "fill", "halt", "ledger"]
        ),
        st.integers(0, 20), SIDES, st.integers(1, 15), st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


def played(acts: list[Any], *, trips: bool) -> Live:
    """Return a live core after a history."""
    live = Live(trips=trips)
    for *act, flag in acts:
        live.act(*act, flag=flag)
    return live


@settings(max_examples=300, deadline=None)
@given(acts=ACTS, trips=st.booleans())
def test_restored_core_owns_and_owes_the_same(acts: list[Any], *, trips: bool) -> None:
    """After any history a new core has the same positions, money, reservations, orders, statuses and ids."""
    live = played(acts, trips=trips)
    core = live.restored()
    for name, book in live.core.books.items():
        assert exposure(core.books[name]) == exposure(book)
    assert statuses(core) == live.expected()
    for name, working in live.core.working.items():
        again = core.working[name]
        for field in ("order", "number", "remaining", "price", "buys", "reduces", "size_text", "price_text"):
            if field != "order":
                assert getattr(again, field) == getattr(working, field)
        assert again.order == working.order
    assert core.ids.generations() == live.core.ids.generations()
    assert counted(core)
    assert (core.mode, core.gate_open, core.in_flight) == (Mode.HALTED, False, {})
    assert core.notices == []
    assert core.trips_on_anomaly is trips


@settings(max_examples=150, deadline=None)
@given(acts=ACTS, later=ACTS)
def test_restored_core_goes_on_the_same(acts: list[Any], later: list[Any]) -> None:
    """A restored core answers later orders and fills as the one that died would have done."""
    live = played([act for act in acts if act[0] != "halt"], trips=False)
    core = live.restored()
    core.mode = Mode.IDLE
    assert core.start(ARMED, 1, 0)
    for name in core.books:
        assert core.consult(quote(instrument=name), ARMED, 0, NOW_US)
    for working in list(live.core.working.values()):  # it dies, and its sends with it
        live.core.in_flight.clear()
        working.status = live.expected()[working.order.client_order_id]
    for kind, number, side, tenths, flag in later:
        name = f"o{number}"
        if kind == "submit":
            wanted = order(name, side=side, quantity=D(tenths) / 10, reduce_only=flag)
            ours, theirs = decide(core, wanted), decide(live.core, wanted)
            reasons = [getattr(one, "reason", "granted") for one in (ours, theirs)]
            assert reasons[0] == reasons[1]
        elif kind == "fill":
            done = fill(name, f"g{number}", side=side, quantity=D(tenths) / 10)
            assert core.on_fill(done) is live.core.on_fill(done)
        elif kind == "closed":
            assert core.on_closed(name, "reject") is live.core.on_closed(name, "reject")
        for book in live.core.books.values():
            assert exposure(core.books[book.name]) == exposure(book)
    assert {a.equity for a in core.accounts()} == {a.equity for a in live.core.accounts()}


@settings(max_examples=100, deadline=None)
@given(acts=ACTS)
def test_fills_are_not_booked_twice_over_a_restart(acts: list[Any]) -> None:
    """The venue may report each fill again after a restart, and none is booked twice."""
    live = played(acts, trips=False)
    core = live.restored()
    before = {name: exposure(book) for name, book in core.books.items()}
    for done in live.fills:
        assert core.on_fill(done) is None
    assert {name: exposure(book) for name, book in core.books.items()} == before


@settings(max_examples=100, deadline=None)
@given(acts=ACTS, times=st.integers(2, 3))
def test_restoring_again_changes_nothing(acts: list[Any], times: int) -> None:
    """A second restart, with nothing new in the journal, comes to the same as the first."""
    live = played(acts, trips=True)
    first = live.restored()
    for _ in range(times):
        again = live.restored()
        assert statuses(again) == statuses(first)
        assert [exposure(book) for book in again.books.values()] == [exposure(book) for book in first.books.values()]


@settings(max_examples=100, deadline=None)
@given(acts=ACTS, cut=st.integers(0, 200))
def test_torn_end_counts_as_if_it_stood_there(acts: list[Any], cut: int) -> None:
    """Records that were carried over a crash as salvage restore to the same as where they were."""
    live = played(acts, trips=False)
    place = min(cut, len(live.records))
    head, tail = live.records[:place], live.records[place:]
    salvaged = [{"kind": "salvage", "record": record} for record in tail]
    twice = [{"kind": "salvage", "record": record} for record in salvaged]
    straight = live.restored()
    for carried in (salvaged, twice):
        core = live.restored(after=[*head, {"kind": "run"}, {"kind": "recover"}, *carried])
        assert statuses(core) == statuses(straight)
        assert [exposure(book) for book in core.books.values()] == [exposure(book) for book in straight.books.values()]


@settings(max_examples=200, deadline=None)
@given(acts=ACTS, later=ACTS, trips=st.booleans())
def test_restoring_from_a_ledger_comes_to_the_same(acts: list[Any], later: list[Any], *, trips: bool) -> None:
    """Whatever stands before a ledger, from there on a fresh core comes to the very state that all records come to."""
    live = played(acts, trips=trips)
    live.tell()
    place = len(live.records) - 1
    for *act, flag in later:
        live.act(*act, flag=flag)
    whole = live.restored()
    core = Core(limits(**live.settings), 1, Mode.HALTED)
    restorer = Restorer(core, midway=True)
    for record in live.records[place:]:
        restorer.play(record)
    assert restorer.finish() == []
    assert tell(core, "") == tell(whole, "")
    assert statuses(core) == live.expected()
    assert [exposure(book) for book in core.books.values()] == [exposure(book) for book in whole.books.values()]
    assert counted(core)


# ---------------------------------------------------------------------------
# One by one


def filled() -> Live:
    """Return a live core with a position and an order of which a part is filled."""
    live = Live()
    granted(live)
    for kind in ("begin", "end", "fill"):
        live.act(kind, 0, Side.BUY, 4, flag=True)
    live.tell()
    return live


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["books"][0].__setitem__(1, "0.5"),
        lambda state: state["books"].clear(),
        lambda state: state["books"][0].__setitem__(2, "much"),
        lambda state: state["books"][0].__setitem__(0, "NONE"),
        lambda state: state["accounts"].pop(),
        lambda state: state["accounts"][0].__setitem__(1, "0.00000000000000000001"),
        lambda state: state["working"][0].update(remaining="2"),
        lambda state: state["working"][0].update(remaining="-0.1"),
        lambda state: state["working"][0].update(status="sent"),
        lambda state: state["working"][0].update(instrument="NONE"),
        lambda state: state.pop("ids"),
    ],
)
def test_ledger_that_cannot_be_is_not_taken(change: Callable[[Any], object]) -> None:
    """A ledger that tells another position than the fills before it, or what no core can hold, raises."""
    live = filled()
    change(live.records[-1]["state"])
    with pytest.raises((ValueError, LookupError, ArithmeticError)):
        live.restored()


def test_ledger_that_tells_other_positions_is_named() -> None:
    """What is said of a ledger that the fills contradict is which record it is."""
    live = filled()
    live.records[-1]["state"]["books"].clear()
    number = live.records[-1]["seq"]
    with pytest.raises(ValueError, match=f"^record {number} tells other positions than the fills before it$"):
        live.restored()


def test_permit_that_a_ledger_leaves_out_is_over() -> None:
    """What a ledger does not tell as working is not taken back by a later record: its id stays known."""
    live = Live()
    working = granted(live)
    live.tell()
    live.records[-1]["state"]["working"].clear()
    live.write("void", permit=working.number, code="HALTED")
    core = live.restored()
    assert not core.working
    assert "o1" in core.ids


def test_ledger_under_other_limits_is_passed_over() -> None:
    """A ledger that was told under other limits counts for nothing; the records before it do."""
    live = filled()
    live.records[-1]["state"].update(limits="0" * 64, books=[])
    assert [exposure(book) for book in live.restored().books.values()] == [
        exposure(book) for book in live.core.books.values()
    ]


def test_ledger_that_was_to_be_there_and_is_not_is_a_hole() -> None:
    """Who begins in the middle, and meets no ledger, knows nothing of what is owned."""
    assert Restorer(Core(limits(), 1, Mode.HALTED), midway=True).finish() == ["there is no ledger to begin with"]


def test_ledger_of_too_many_ids_is_not_told() -> None:
    """What would be longer than a line may be is not told, and nothing is lost by that."""
    live = Live()
    live.core.ids.take([], [f"{number:064}" for number in range(1 << 17)])
    assert tell(live.core, "") is None


def granted(live: Live, order_id: str = "o1", **changes: object) -> Working:
    """Hand over an order that must be granted."""
    working = live.submit(order(order_id, **changes))
    assert isinstance(working, Working)
    return working


def test_permit_without_an_outcome_is_unknown() -> None:
    """A permit of which nobody wrote how it ended counts as working, and its id is used."""
    live = Live()
    granted(live)
    core = live.restored()
    assert statuses(core) == {"o1": Status.UNKNOWN}
    assert core.books[NAME].buying == 10
    assert "o1" in core.ids


@pytest.mark.parametrize("kind", ["accept", "fill"])
def test_what_the_venue_settled_stays_settled(kind: str) -> None:
    """An order that came back unknown, and of which the venue spoke, is known after the next restart too."""
    live = Live()
    granted(live)
    live.core = live.restored()
    if kind == "accept":
        live.core.on_accept("o1")
        live.write("accept", id="o1")
    else:
        done = fill("o1", "f1", quantity=D("0.4"))
        live.core.on_fill(done)
        live.records.append(records.fill(len(live.records), 0, 0, done, known=True))
    assert statuses(live.core) == {"o1": Status.DONE}
    assert statuses(live.restored()) == {"o1": Status.DONE}


def test_send_that_raised_after_the_venue_spoke_is_unknown() -> None:
    """An unknown outcome is written after an accept that overtook it, and stands."""
    live = Live()
    working = granted(live)
    live.act("begin", 0, Side.BUY, 1, flag=True)
    live.act("accept", 0, Side.BUY, 1, flag=True)
    live.act("fail", 0, Side.BUY, 1, flag=True)
    assert working.status is Status.UNKNOWN
    assert statuses(live.restored()) == {"o1": Status.UNKNOWN}


def test_void_permit_frees_its_id() -> None:
    """A permit that was withdrawn leaves no order, and its id may be granted again, and counts then."""
    live = Live()
    first = granted(live)
    live.act("void", 0, Side.BUY, 1, flag=True)
    assert live.restored().working == {}
    again = granted(live)
    assert again.number != first.number
    core = live.restored()
    assert core.working["o1"].number == again.number
    assert core.books[NAME].open_orders == 1


@pytest.mark.parametrize("missing", [NAME, OTHER])
def test_unknown_instrument_is_a_hole(missing: str) -> None:
    """An order or a fill of an instrument that the limits no longer know is told, and not passed over."""
    live = Live()
    granted(live)
    done = fill("foreign", "f1", instrument=OTHER)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    core = Core(limits(f"instruments.{missing}"), 1, Mode.HALTED)
    (hole,) = restore(core, live.records)
    assert missing in hole


def test_strange_instrument_that_is_flat_and_over_is_no_hole() -> None:
    """An instrument that was taken out of the limits halts nothing once nothing of it is held or open."""
    live = Live()
    for number, side in enumerate((Side.BUY, Side.SELL)):
        done = fill("foreign", f"f{number}", instrument=OTHER, side=side)
        live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    assert restore(Core(limits(f"instruments.{OTHER}"), 1, Mode.HALTED), live.records) == []


def test_restored_position_is_worth_what_its_last_mark_said() -> None:
    """After a restart equity is what was marked last, so that a new session does not begin with an old profit."""
    live = Live()
    done = fill("foreign", "f1")
    live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    told = {"currency": "USD", "equity": "19.5", "opening": "0", "peak": "20"}
    live.records.append(records.head(len(live.records), "mark", 0, 0) | told)
    core = Core(limits(), 1, Mode.HALTED)
    assert restore(core, live.records) == []
    (account,) = (one for one in core.accounts() if one.currency == "USD")
    assert (account.text(account.equity), account.text(account.peak)) == ("19.5", "20")
    core.begin_session("next day")
    assert account.text(account.opening) == "19.5"
    book = core.books[NAME]
    before = account.equity
    book.mark_bid = book.mark_ask = book.mark_bid + 1
    book.revalue()
    assert account.equity != before
    assert account.equity == sum(each.worth for each in core.books.values() if each.account is account)


def test_changed_grid_is_a_hole() -> None:
    """An order that no longer fits the lot size is told, and not rounded."""
    live = Live()
    granted(live, quantity=D("0.1"))
    core = Core(limits(**{f"instruments__{NAME}__lot_size": 1}), 1, Mode.HALTED)
    (hole,) = restore(core, live.records)
    assert "not known with this grid" in hole


def test_fill_that_no_longer_fits_is_a_hole() -> None:
    """A fill that no longer fits the lot size is told, and not passed over."""
    live = Live()
    done = fill("foreign", "f1", quantity=D("0.1"))
    live.core.on_fill(done)
    live.records.append(records.fill(0, 0, 0, done, known=False))
    core = Core(limits(**{f"instruments__{NAME}__lot_size": 1}), 1, Mode.HALTED)
    assert restore(core, live.records)


def totals(live: Live) -> None:
    """Write what a heartbeat writes of each account."""
    for account in live.core.accounts():
        live.write(
            "mark",
            currency=account.currency,
            equity=account.text(account.equity),
            opening=account.text(account.opening),
            peak=account.text(account.peak),
        )


@settings(max_examples=100, deadline=None)
@given(
    acts=ACTS,
    prices=st.lists(st.integers(150, 250), min_size=1, max_size=5),
    label=st.sampled_from([None, "monday"]),
)
def test_session_goes_on_over_a_restart(acts: list[Any], prices: list[int], label: str | None) -> None:
    """Opening and peak of a session come back as the last heartbeat wrote them, and the label too."""
    live = played(acts, trips=False)
    if label is not None:
        live.core.begin_session(label)
        live.write("start", epoch=1, operator="ann", session=label)
    for price in prices:
        half = D(price) / 2
        live.core.consult(quote(bid=half, ask=half), ARMED, 0, NOW_US)
    totals(live)
    core = live.restored()
    assert core.session == live.core.session
    for ours, theirs in zip(core.accounts(), live.core.accounts(), strict=True):
        assert (ours.currency, ours.opening, ours.peak) == (theirs.currency, theirs.opening, theirs.peak)
        assert ours.floor == theirs.floor


def test_same_session_is_not_begun_again() -> None:
    """A start under the label of the session that runs does not begin a new one, nor does one without."""
    live = Live()
    live.write("start", epoch=1, operator="ann", session="monday")
    totals(live)
    done = fill("foreign", "f1", price=D(150))
    live.core.on_fill(done)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    for label in ("monday", None):
        live.write("start", epoch=1, operator="ann", session=label)
    core = live.restored()
    assert core.session == "monday"
    assert core.accounts()[0].opening == 0
    done = fill("foreign", "f2", side=Side.SELL)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    account = live.restored().accounts()[0]
    assert (account.text(account.opening), account.text(account.equity)) == ("0", "-50")
    live.write("reset", epoch=2)
    account = live.restored().accounts()[0]
    assert account.opening == account.peak == account.equity < 0


def test_restoring_halts_nothing_and_says_nothing() -> None:
    """Anomalies of the past trip no breaker again, and later ones do."""
    live = Live(trips=True)
    done = fill("foreign", "f1")
    live.records.append(records.fill(0, 0, 0, done, known=False))
    live.write("accept", id="never")
    live.write("cancelled", id="never", reason="")
    core = Core(limits(**live.settings), 1, Mode.IDLE)
    assert restore(core, live.records) == []
    assert (core.mode, core.notices) == (Mode.IDLE, [])
    core.on_accept("never")
    assert core.mode is Mode.HALTED
    assert len(halts(core)) == 1


def test_records_that_own_nothing_are_passed_over() -> None:
    """Kinds that say nothing about the ledger change nothing, whatever they hold."""
    live = Live()
    for kind in ("run", "arm", "drain", "stop", "halt", "refuse", "cancel", "cancel_end", "block",
                 "beat", "anomaly", "breach", "recover", "rebase", "end", "seal", "later"):  # fmt: skip
        live.write(kind)
    core = live.restored()
    fresh = Core(limits(**live.settings), 1, Mode.HALTED)
    assert [exposure(book) for book in core.books.values()] == [exposure(book) for book in fresh.books.values()]


def test_restored_price_is_no_reference() -> None:
    """After a restart no order passes before a tick was seen: no price of the past is a reference."""
    live = Live()
    granted(live)
    core = live.restored()
    core.mode = Mode.IDLE
    assert core.start(ARMED, 1, 7 * MS)
    for name in (NAME, OTHER, EURO):
        verdict = decide(core, order("new", instrument=name), 7 * MS)
        assert isinstance(verdict, Verdict)
        assert verdict.reason == "NO_REFERENCE"


# ---------------------------------------------------------------------------
# Edges


@pytest.mark.parametrize("wrong", [{"side": "both"}, {"type": "stop"}, {"tif": "ever"}], ids=str)
def test_permit_that_is_no_order_is_damage(wrong: dict[str, str]) -> None:
    """A permit of which no order could be made is an error at once, and not when its order is needed."""
    live = Live()
    granted(live)
    live.records[-1] |= wrong
    with pytest.raises(ValueError, match="record 0 is no order"):
        restore(Core(limits(**live.settings), 1, Mode.HALTED), live.records)


def strangers(*kinds: str) -> list[str]:
    """What is left of an order of an instrument that is no longer known, after these records of it."""
    live = Live()
    wanted = order("s1", instrument=OTHER, quantity=D(3))
    working = live.submit(wanted)
    assert isinstance(working, Working)
    for number, kind in enumerate(kinds):
        if kind in {"sent", "void"}:
            live.write(kind, permit=working.number)
        elif kind == "cancelled":
            live.write("cancelled", id="s1")
        else:
            done = fill("s1", f"f{number}", instrument=OTHER, quantity=D(kind))
            live.records.append(records.fill(len(live.records), 0, 0, done, known=True))
    return restore(Core(limits(f"instruments.{OTHER}", **live.settings), 1, Mode.HALTED), live.records)


def test_strange_order_is_open_until_it_is_over() -> None:
    """An order of an instrument that is no longer known may be open until it is withdrawn, closed or filled."""
    may_be_open = f"{OTHER}: order s1 may be open"
    assert strangers() == strangers("sent") == [may_be_open]
    assert strangers("void") == strangers("sent", "cancelled") == []
    assert strangers("sent", "1") == [f"{OTHER}: a position of 1", may_be_open]
    assert strangers("sent", "1", "2") == strangers("sent", "3") == [f"{OTHER}: a position of 3"]


def test_outcome_of_a_permit_that_was_never_read_says_nothing() -> None:
    """A ``sent`` or a ``void`` of a number that no permit has changes nothing."""
    live = Live()
    granted(live)
    before = statuses(live.restored())
    for kind in ("sent", "void", "unknown"):
        live.write(kind, permit=999)
    assert statuses(live.restored()) == before


def test_permit_that_a_halt_voids_after_a_fill_is_void() -> None:
    """A permit that was filled in part before its send began, and then withdrawn, reserves nothing any more."""
    live = Live()
    working = granted(live, quantity=D(2))
    done = fill("o1", "f1", quantity=D("0.5"))
    live.core.on_fill(done)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=True))
    assert live.core.void(working)
    live.write("void", permit=working.number, code="CANCELLED")
    core = live.restored()
    assert (core.working, exposure(core.books[NAME])) == ({}, exposure(live.core.books[NAME]))
    assert "o1" not in core.ids


@pytest.mark.parametrize(("kind", "status"), [("sent", Status.DONE), ("unknown", Status.UNKNOWN)])
def test_outcome_after_a_fill_is_the_last_word(kind: str, status: Status) -> None:
    """What became of a send is believed, also when the venue spoke of the order before."""
    live = Live()
    working = granted(live, quantity=D(2))
    assert live.core.begin(working, ARMED)
    done = fill("o1", "f1", quantity=D("0.5"))
    live.core.on_fill(done)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=True))
    live.write(kind, permit=working.number)
    assert statuses(live.restored()) == {"o1": status}


def test_restored_core_trips_as_it_did() -> None:
    """While records are played nothing trips, and afterwards an unreadable fill does again."""
    core = Live(trips=True).restored()
    assert (core.restoring, core.trips_on_anomaly, core.notices) == (False, True, [])
    core.on_fill(fill("o1", "f1", quantity=D("NaN")))
    assert len(halts(core)) == 1


def test_order_of_working_orders_is_that_of_their_permits() -> None:
    """Working orders stand in the order in which they were granted, whichever the venue spoke of first."""
    live = Live()
    for name in ("o1", "o2", "o3"):
        granted(live, name, quantity=D(2))
    done = fill("o2", "f1", quantity=D(1))
    live.core.on_fill(done)
    live.records.append(records.fill(len(live.records), 0, 0, done, known=True))
    assert list(live.restored().working) == ["o1", "o2", "o3"]


@pytest.mark.parametrize(
    ("held", "by"),
    [(((NAME, 10, 1), (OTHER, 5, 100)), OTHER), (((NAME, 1, 1000), (OTHER, 15, 1)), NAME)],
)
def test_loss_is_not_over_because_of_a_restart(held: tuple[tuple[str, int, int], ...], by: str) -> None:
    """An account that lost too much is in breach again, by what holds most of its money; others are not."""
    live = Live()
    for name, quantity, price in (*held, (EURO, 3, 100)):
        fee = 2 * 10**9 if name == OTHER else 0
        done = fill("foreign", name, instrument=name, quantity=D(quantity), price=D(price), fee=D(fee))
        live.records.append(records.fill(len(live.records), 0, 0, done, known=False))
    found = {one.currency: (one.breached, one.breached_by) for one in live.restored().accounts()}
    assert found == {"USD": (Reason.SESSION_LOSS, by), "EUR": (None, EURO)}


def test_flat_instrument_breaches_nothing() -> None:
    """What is not held is not what an account in breach waits for, if anything is held, even at a price of nothing."""
    live = Live()
    for name, side, price in ((NAME, Side.BUY, 100), (NAME, Side.SELL, 1), (OTHER, Side.BUY, 0)):
        number = len(live.records)
        done = fill("foreign", f"f{number}", instrument=name, side=side, quantity=D(10**8), price=D(price))
        live.records.append(records.fill(number, 0, 0, done, known=False))
    account = next(one for one in live.restored().accounts() if one.currency == "USD")
    assert (account.breached, account.breached_by) == (Reason.SESSION_LOSS, OTHER)


def test_price_that_no_longer_fits_is_a_hole() -> None:
    """A permit at a price that the grid does not know is told, and not reserved at another."""
    live = Live()
    granted(live)
    live.records[-1] |= {"price": "100.00001"}
    core = Core(limits(**live.settings), 1, Mode.HALTED)
    assert restore(core, live.records) == [f"record 0: {NAME} is not known with this grid"]
    assert core.working == {}


def test_unreadable_fill_of_a_journal_is_a_hole_and_no_halt() -> None:
    """What can't be booked while records are played is the caller's to judge: the mode stays as it is."""
    live = Live()
    done = fill("foreign", "f1")
    live.records.append(records.fill(0, 0, 0, done, known=False) | {"quantity": "0.00001"})
    core = Core(limits(**live.settings), 1)
    assert restore(core, live.records) == [f"record 0: a fill of {NAME} does not fit its grid"]
    assert core.mode is Mode.IDLE


def test_accept_after_the_outcome_settles_it() -> None:
    """An order of unknown fate of which the venue speaks afterwards is not in doubt any more, filled in part or not."""
    for filled in (False, True):
        live = Live()
        working = granted(live, quantity=D(2))
        if filled:
            done = fill("o1", "f1", quantity=D(1))
            live.records.append(records.fill(1, 0, 0, done, known=True))
        live.write("unknown", permit=working.number)
        assert statuses(live.restored()) == {"o1": Status.UNKNOWN}
        live.write("accept", id="o1")
        assert statuses(live.restored()) == {"o1": Status.DONE}


@pytest.mark.parametrize("kind", ["cancelled", "reject"])
def test_order_that_is_over_keeps_its_id(kind: str) -> None:
    """An order that the venue closed is not working, and its id stays used, whatever is said of its permit then."""
    live = Live()
    working = granted(live)
    live.write(kind, id="o1")
    live.write("void", permit=working.number, code="CANCELLED")
    core = live.restored()
    assert (core.working, "o1" in core.ids) == ({}, True)


def test_order_that_was_filled_in_part_and_closed_is_over() -> None:
    """What the venue closes after it filled a part reserves nothing any more."""
    live = Live()
    granted(live, quantity=D(2))
    live.records.append(records.fill(1, 0, 0, fill("o1", "f1", quantity=D(1)), known=True))
    live.write("cancelled", id="o1")
    core = live.restored()
    assert (core.working, core.books[NAME].buying, core.books[NAME].position) == ({}, 0, 10)


def test_second_report_of_a_fill_is_no_hole() -> None:
    """A fill that a journal holds twice is booked once, and is no damage, whatever was odd about the first."""
    live = Live()
    for _ in range(2):
        live.records.append(records.fill(len(live.records), 0, 0, fill("foreign", "f1"), known=False))
    assert live.restored().books[NAME].position == 10


@pytest.mark.parametrize(("second", "opening"), [("day", "0"), ("night", "-1"), (None, "0")])
def test_session_begins_where_its_label_changes(second: str | None, opening: str) -> None:
    """A start with the label of the session that goes on, or with none, forgives no loss; one with another does."""
    live = Live()
    live.write("start", session="day")
    live.records.append(records.fill(1, 0, 0, fill("foreign", "f1", fee=D(1)), known=False))
    live.write("start", session=second)
    account = live.restored().accounts()[0]
    assert account.text(account.opening) == opening


def remarked(currency: str, equity: str, *held: str) -> Core:
    """A core whose journal holds one of these, bought at 100 for a fee of one, and then a mark."""
    live = Live()
    for name in held:
        live.records.append(records.fill(len(live.records), 0, 0, fill("foreign", name, instrument=name, fee=D(1)),
                                         known=False))  # fmt: skip
    live.write("mark", currency=currency, equity=equity, opening="0", peak="60")
    return live.restored()


def equities(core: Core) -> dict[str, str]:
    """What each account is worth."""
    return {account.currency: account.text(account.equity) for account in core.accounts()}


def test_mark_is_laid_on_what_is_held_in_its_currency() -> None:
    """What a mark tells counts for its own currency, until the next tick of what is held there."""
    core = remarked("USD", "50", NAME, EURO)
    assert equities(core) == {"USD": "50", "EUR": "-1"}
    core.mode, core.gate_open = Mode.RUNNING, True
    assert core.consult(quote(), ARMED, 0, NOW_US)
    assert equities(core) == {"USD": "-1", "EUR": "-1"}


def test_mark_of_a_flat_currency_is_what_its_fills_tell() -> None:
    """Where nothing of a currency is held there is nothing that a tick could be worth."""
    assert equities(remarked("EUR", "5", NAME)) == {"USD": "-1", "EUR": "0"}


def test_mark_that_does_not_fit_changes_nothing() -> None:
    """An equity finer than the account's scale is not taken, and raises nothing."""
    assert equities(remarked("USD", "0.0000000000001", NAME)) == {"USD": "-1", "EUR": "0"}


def test_strange_fill_opens_no_order() -> None:
    """A fill of an order that nobody granted, in an instrument that nobody knows, is a position and nothing else."""
    live = Live()
    done = fill("foreign", "f1", instrument=OTHER, quantity=D("0.5"))
    live.records.append(records.fill(0, 0, 0, done, known=False))
    core = Core(limits(f"instruments.{OTHER}"), 1, Mode.HALTED)
    assert restore(core, live.records) == [f"{OTHER}: a position of 0.5"]


def test_loss_that_only_a_mark_told_is_a_breach() -> None:
    """An equity that a mark tells is judged when all was played, also if no fill was a loss."""
    account = remarked("USD", "-2000000000", NAME).accounts()[0]
    assert (account.breached, account.breached_by) == (Reason.SESSION_LOSS, NAME)


def test_void_of_an_unknown_permit_closes_no_strange_order() -> None:
    """A withdrawal of a permit that nobody knows says nothing of any order, whatever its name."""
    live = Live()
    assert isinstance(live.submit(order("_", instrument=OTHER)), Working)
    live.write("void", permit=999)
    core = Core(limits(f"instruments.{OTHER}", **live.settings), 1, Mode.HALTED)
    assert restore(core, live.records) == [f"{OTHER}: order _ may be open"]
