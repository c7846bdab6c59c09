"""The replay: an honest journal is decided again as it stands; a changed one or a changed core is found."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from copy import deepcopy
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from tests.helpers import (
    LIMITS,
    NAME,
    FakeClock,
    RecordingVenue,
    abandon,
    arm,
    attach,
    fill,
    halt_home,
    journal,
    order,
    quote,
    reset_home,
    sound,
)
from tests.replay.builders import limits_of, play, recording, replayed, same
from tests.replay.lives import TIGHT, eventful, fails, reset

from interlock import Kernel, Mode, Order, Quote, Side, Trade, Verdict
from interlock.breaker.home import Home
from interlock.breaker.segment import lines, segments
from interlock.core.preorder import Core
from interlock.replay import Replay
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.core.ledger import Working
    from interlock.core.limits import Limits


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_an_eventful_life_replays(tmp_path: Path, durability: str) -> None:
    """Deterministic: several runs, epochs and sessions with every kind of decision are decided again as they stand."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT, durability=durability) as kernel:
        eventful(kernel, clock)
    reset_home(tmp_path, 3, known_epoch=3)
    clock.advance(1000)
    with attach(tmp_path, clock, record_inputs=True, durability=durability) as kernel:
        kernel.start("fourth")
        for number in range(5):
            clock.advance(50)
            kernel.consult(quote(kernel))
            kernel.submit(order(f"again{number}"), RecordingVenue().send)
    report = same(tmp_path)
    records = journal(tmp_path)
    codes = {record["code"] for record in records if record["kind"] in {"refuse", "quote", "trade"}}
    assert codes >= {
        *("HALTED", "GATE_CLOSED", "NOT_RUNNING", "HEARTBEAT_OVERDUE", "TICK_MALFORMED", "TICK_STALE", "QUOTE_CROSSED"),
        *("MALFORMED", "DUPLICATE_ID", "MAX_POSITION", "ORDER_LOOP", "DRAWDOWN", "ACCEPTED", "MESSAGE_RATE"),
    }
    assert {record["code"] for record in records if record["kind"] == "halt"} == {"ORDER_LOOP", "DRAWDOWN", "ANOMALY"}
    assert Counter(record["kind"] for record in records)["breach"] >= 3
    assert report.runs == 2
    assert report.compared["gate 2"] == sum(record["kind"] in {"permit", "refuse"} for record in records)
    assert report.compared["gate 1"] == sum(record["kind"] in {"quote", "trade"} for record in records)
    assert not report.skipped


def test_a_changed_decision_is_found_where_it_stands(tmp_path: Path) -> None:
    """Whichever member of whichever decision is changed: the first difference is at that very record."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT) as kernel:
        eventful(kernel, clock)
    records = journal(tmp_path)
    own = {"ORDER_LOOP", "DRAWDOWN", "ANOMALY"}
    decided = {
        "quote": ["code"],
        "trade": ["code"],
        "permit": ["epoch", "bid", "ask"],
        "refuse": ["epoch", "mode", "code", "limit", "value"],
        "halt": ["code", "reason", "first"],
        "breach": ["currency", "limit", "bound", "value", "state"],
        "mark": ["equity", "opening", "peak"],
        "fill": ["known"],
        "begin": ["permit"],
        "end": ["code"],
    }
    tried = Counter[str]()
    for place, record in enumerate(records):
        for member in decided.get(record["kind"], ()):
            if tried[f"{record['kind']} {member}"] >= 12 or (record["kind"] == "halt" and record["code"] not in own):
                continue
            tried[f"{record['kind']} {member}"] += 1
            changed = [*records[:place], {**record, member: other(record[member])}, *records[place + 1 :]]
            found, _ = play(changed, TIGHT)
            assert found, (record, member)
            assert found[0].seq == record["seq"], (record, member, found[0])
    assert set(tried) == {f"{kind} {member}" for kind, members in decided.items() for member in members}


def other(value: object) -> object:
    """A value of the same type, and another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if str(value).replace(".", "").lstrip("-").isdigit():
        return str(Decimal(str(value)) + 1)
    return {"HALTED": "IDLE", "ACCEPTED": "TICK_STALE", "ORDER_LOOP": "DRAWDOWN"}.get(str(value), "ORDER_LOOP")


def test_a_missing_decision_is_found(tmp_path: Path) -> None:
    """Whichever halt, breach, anomaly or void of the core's own is taken out: the replay misses it."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT) as kernel:
        eventful(kernel, clock)
    records = journal(tmp_path)
    tried = Counter[str]()
    for place, record in enumerate(records):
        if record["kind"] in {"halt", "breach", "anomaly", "permit", "refuse", "drain", "reset"}:
            tried[record["kind"]] += 1
            found, report = play([*records[:place], *records[place + 1 :]], TIGHT)
            if record["kind"] != "refuse":  # of which most leave nothing behind: `Sequence` and `Seals` miss those
                assert found or report.gaps, record
    assert all(tried[kind] for kind in ("halt", "breach", "anomaly", "permit", "drain", "reset"))


# -- A changed core ----------------------------------------------------------------------------------


class OneLotMore(Core):
    """Lets an order through that is one lot larger than the limit."""

    def __init__(self, limits: Limits, epoch: int, mode: Mode = Mode.IDLE) -> None:
        super().__init__(limits, epoch, mode)
        self.books[NAME].max_quantity += 1


class StalerByAMillisecond(Core):
    """Takes ticks that are a millisecond older than the limit."""

    def __init__(self, limits: Limits, epoch: int, mode: Mode = Mode.IDLE) -> None:
        super().__init__(limits, epoch, mode)
        self.gate1_checks = (self.gate1_checks[0] + 1000, *self.gate1_checks[1:])


class NoDuplicates(Core):
    """Skips the check of ids."""

    def decide(self, order: Order, latch: int, mono_ns: int, number: int) -> Working | Verdict:
        """Gate 2."""
        self.ids.young.clear()
        return super().decide(order, latch, mono_ns, number)


class TripsLate(Core):
    """Trips after one order of a loop more."""

    def __init__(self, limits: Limits, epoch: int, mode: Mode = Mode.IDLE) -> None:
        super().__init__(limits, epoch, mode)
        assert self.gate2 is not None
        self.gate2 = attrs.evolve(self.gate2, repeat_trip_after=self.gate2.repeat_trip_after + 1)


class NoLoss(Core):
    """Marks no position at a tick."""

    def _mark(self, *_: Any) -> bool:
        return False


class Unlatched(Core):
    """Does not look at the latch when asked about a tick."""

    def consult(self, tick: Quote | Trade, latch: int, mono_ns: int, now_us: int) -> Verdict:
        """Gate 1."""
        return super().consult(tick, latch or 0xA5, mono_ns, now_us)


def one_lot(kernel: Kernel, clock: FakeClock) -> None:
    """Orders below, at and above the largest quantity."""
    del clock
    for name, quantity in (("below", "9.9"), ("at", "10"), ("HERE", "10.1"), ("above", "10.2")):
        kernel.submit(order(name, quantity=quantity), RecordingVenue().send)
        kernel.on_cancelled(name)


def stale(kernel: Kernel, clock: FakeClock) -> None:
    """Ticks that are younger, as old, and older than the limit."""
    clock.advance(5000)
    for age_ms in (999, 1000, 1001, 1002):
        kernel.consult(attrs.evolve(quote(kernel, age_ms=age_ms), sequence=age_ms))


def twice(kernel: Kernel, clock: FakeClock) -> None:
    """The same id twice."""
    del clock
    for name in ("one", "HERE", "two", "HERE"):
        kernel.submit(order(name), RecordingVenue().send)
        kernel.on_cancelled(name)


def loop(kernel: Kernel, clock: FakeClock) -> None:
    """The same order until it trips."""
    del clock
    for number in range(7):
        kernel.submit(order(f"l{number}"), RecordingVenue().send)


def loss(kernel: Kernel, clock: FakeClock) -> None:
    """A position that loses until it trips."""
    kernel.submit(order("in", quantity="10"), RecordingVenue().send)
    kernel.on_fill(fill("in", "f", quantity="10"))
    for bid in ("98", "96", "93", "92", "91"):
        clock.advance()
        kernel.consult(quote(kernel, bid, "110"))


def pulled(kernel: Kernel, clock: FakeClock) -> None:
    """A halt from outside, which the next tick sees."""
    clock.advance()
    kernel._over.set()  # else the lookout may see it first
    if kernel._lookout is not None:
        kernel._lookout.join()
    halt_home(kernel._sentinel.home.path)
    kernel.consult(attrs.evolve(quote(kernel), sequence=1))
    kernel.heartbeat()


def is_refuse(record: dict[str, Any]) -> bool:
    """The refusal of the order HERE."""
    return record["kind"] == "refuse" and record["id"] == "HERE"


@pytest.mark.parametrize(
    ("live", "core", "where", "what"),
    [
        (one_lot, OneLotMore, is_refuse, "gate 2"),
        (stale, StalerByAMillisecond, lambda record: record.get("sequence") == 1001, "gate 1"),
        (twice, NoDuplicates, is_refuse, "gate 2"),
        (loop, TripsLate, lambda record: record["kind"] == "refuse" and record["mode"] == "HALTED", "gate 2"),
        (loss, NoLoss, lambda record: record["kind"] == "breach", "breach"),
        (pulled, Unlatched, lambda record: record.get("sequence") == 1, "gate 1"),
    ],
)
def test_a_changed_core_is_found_at_the_exact_record(
    tmp_path: Path,
    live: Callable[[Kernel, FakeClock], None],
    core: type[Core],
    where: Callable[[dict[str, Any]], bool],
    what: str,
) -> None:
    """A limit off by one lot, a bound moved, a check skipped: the first difference is the first decision it changes."""
    clock = FakeClock()
    limits = TIGHT.replace("message_burst = 30", "message_burst = 3000")
    with recording(tmp_path, clock, limits) as kernel:
        live(kernel, clock)
    same(tmp_path)
    found, _ = replayed(tmp_path, core=core)
    expected = next(record["seq"] for record in journal(tmp_path) if where(record))
    assert found, "the change was not found"
    assert (found[0].seq, found[0].what) == (expected, what)


def test_a_difference_says_what_led_there(tmp_path: Path) -> None:
    """A difference holds both decisions, what they differ in, and the state before it, as plain text."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT) as kernel:
        kernel.submit(order("held", quantity="2"), RecordingVenue().send)
        kernel.on_fill(fill("held", "f", quantity="2"))
        kernel.submit(order("HERE", quantity="10.1"), RecordingVenue().send)
    (found, *_), _ = replayed(tmp_path, core=OneLotMore)
    assert (found.recorded["code"], found.decided["code"]) == ("MAX_QUANTITY", "ACCEPTED")
    assert {"code", "limit", "value"} <= set(found.members)
    assert (found.state.mode, found.state.epoch, found.state.gate_open) == ("RUNNING", 1, True)
    assert found.state.counters == {"ticks": 1, "permits": 1, "refusals": 1}
    assert found.state.books[NAME]["position"] == "2"
    assert found.state.books[NAME]["buying"] == "0"
    assert found.state.tokens == 29
    assert found.state.accounts["USD"]["equity"] == "-1"


# -- Other limits --------------------------------------------------------------------------------------


def test_what_other_limits_would_have_refused(tmp_path: Path) -> None:
    """With other limits each decision is judged where the journal's own history had led, to the last."""
    clock = FakeClock()
    with recording(tmp_path, clock, LIMITS) as kernel:
        for number in range(30):
            clock.advance()
            kernel.consult(quote(kernel))
            kernel.submit(order(f"o{number}", quantity=str(1 + number % 5)), RecordingVenue().send)
            kernel.on_fill(fill(f"o{number}", f"f{number}", quantity=str(1 + number % 5), side=Side.BUY))
            kernel.submit(order(f"s{number}", quantity="20", side=Side.SELL), RecordingVenue().send)
            if number % 2:
                kernel.submit(order(f"b{number}", quantity="6", side=Side.SELL), RecordingVenue().send)
                kernel.on_fill(fill(f"b{number}", f"g{number}", quantity="6", side=Side.SELL))
    instead = LIMITS.replace("max_quantity = 10", "max_quantity = 4")
    found, report = play(journal(tmp_path), LIMITS, instead=instead)
    assert not report.gaps
    became = Counter((one.recorded.get("code"), one.decided.get("code")) for one in found if one.kind == "permit")
    assert became == {("ACCEPTED", "MAX_QUANTITY"): 6 + 15}
    assert {one.decided["limit"] for one in found if one.kind == "refuse"} == {"4"}
    assert len(found) == 6 + 15 + 30


def test_unknown_limits_are_named(tmp_path: Path) -> None:
    """A run whose limits are not at hand is not replayed by others: the gap names their SHA-256 and the record."""
    clock = FakeClock()
    with recording(tmp_path, clock, LIMITS) as kernel:
        kernel.submit(order("o"), RecordingVenue().send)
    found, report = replayed(tmp_path, TIGHT)
    run = next(record for record in journal(tmp_path) if record["kind"] == "run")
    start = next(record for record in journal(tmp_path) if record["kind"] == "start")
    assert not found
    assert [(gap.seq, run["limits"] in gap.why) for gap in report.gaps] == [(start["seq"], True)]


# -- Crashes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 40, 400, 3000])
def test_a_crash_and_its_recovery_replay(tmp_path: Path, lost: int) -> None:
    """After a torn end the salvaged decisions are replayed in their own run, and the next one from what they left."""
    clock = FakeClock()
    kernel = recording(tmp_path, clock, TIGHT)
    for number in range(20):
        clock.advance()
        kernel.consult(quote(kernel))
        wanted = order(f"o{number}", quantity="0.3", price=str(98 + number % 5))
        kernel.submit(wanted, fails if number == 7 else RecordingVenue().send)
        kernel.on_fill(fill(f"o{number}", f"f{number}", quantity="0.1"))
    segment = kernel._sentinel.segment.path
    abandon(kernel)
    kept = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(kept[: len(kept) - lost])
    with recording(tmp_path, clock) as kernel:
        for number in range(20, 30):
            clock.advance(60)
            kernel.consult(quote(kernel))
            kernel.submit(order(f"o{number}", quantity="0.3", price=str(98 + number % 5)), RecordingVenue().send)
        kernel.halt("pulled")
    report = same(tmp_path)
    salvaged = [record["record"] for record in journal(tmp_path) if record["kind"] == "salvage"]
    assert Counter(record["kind"] for record in salvaged)["permit"] > 5
    assert report.compared["gate 1"] >= 10 + sum(record["kind"] == "quote" for record in salvaged)
    place = next(n for n, one in enumerate(journal(tmp_path)) if one["kind"] == "salvage" and "bid" in one["record"])
    records = deepcopy(journal(tmp_path))
    records[place]["record"]["code" if records[place]["record"]["kind"] == "quote" else "bid"] = "1"
    found, _ = play(records, TIGHT)
    assert found[0].seq == records[place]["seq"]


# -- Without recorded inputs -------------------------------------------------------------------------------


def test_without_inputs_gate_2_is_compared_where_it_can_be(tmp_path: Path) -> None:
    """A journal without recorded inputs has no difference; the gap says from where; a changed core is still found."""
    clock = FakeClock()
    arm(tmp_path, TIGHT, clock=clock)
    with attach(tmp_path, clock) as kernel:
        assert kernel.start()
        kernel.consult(quote(kernel))
        eventful(kernel, clock)
        reset(kernel)
        clock.advance(3000)
        kernel.heartbeat()
        kernel.consult(quote(kernel))
        one_lot(kernel, clock)
    sound(tmp_path, Status.IN_DOUBT)
    found, report = replayed(tmp_path)
    assert found == []
    start = next(record for record in journal(tmp_path) if record["kind"] == "start")
    assert [gap.seq for gap in report.gaps] == [start["seq"]]
    assert report.skipped["gate 2"]
    assert report.compared["gate 2"] > 20
    changed, _ = replayed(tmp_path, core=OneLotMore)
    ours = {"HERE", "above"}
    here, above = (one["seq"] for one in journal(tmp_path) if one["kind"] == "refuse" and one["id"] in ours)
    assert [(one.seq, one.members) for one in changed] == [(here, changed[0].members), (above, ("limit",))]
    assert "code" in changed[0].members


def test_a_run_without_inputs_between_two_with(tmp_path: Path) -> None:
    """Each run says for itself whether its inputs are recorded: one without leaves a gap and no difference after it."""
    clock = FakeClock()
    for recorded in (True, False, True):
        if not (tmp_path / "latch.json").exists():
            arm(tmp_path, TIGHT, clock=clock)
        clock.advance(5000)
        with attach(tmp_path, clock, record_inputs=recorded) as kernel:
            kernel.start()
            for number in range(5):
                clock.advance(50)
                kernel.consult(quote(kernel, str(98 + number % 2)))
                name = f"{kernel.journal_size[0]}-{number}"
                kernel.submit(order(name, quantity="0.5"), RecordingVenue().send)
                kernel.on_fill(fill(name, name, quantity="0.5"))
    sound(tmp_path, Status.IN_DOUBT)
    found, report = replayed(tmp_path)
    assert found == []
    assert len(report.gaps) == 1
    assert report.compared["gate 1"] == 10


# -- Size --------------------------------------------------------------------------------------------------


def test_memory_is_flat(tmp_path: Path) -> None:
    """A journal four times as long takes no more memory to replay, beyond the ids that a kernel remembers too."""
    clock = FakeClock()
    limits = LIMITS.replace("remember_ids = 10000", "remember_ids = 100")
    peaks = []
    for count in (1500, 6000):
        home = tmp_path / str(count)
        with recording(home, clock, limits) as kernel:
            for number in range(count):
                clock.advance()
                kernel.consult(quote(kernel))
                kernel.submit(order(f"o{number}", quantity="0.1"), RecordingVenue().send)
                kernel.on_accept(f"o{number}")
                kernel.on_cancelled(f"o{number}")
        peaks.append(peak_of(home, limits))
    assert peaks[1] < peaks[0] * 1.2 + 100_000


def peak_of(home: Path, limits: str) -> int:
    """The most memory that a replay of a home's journal takes."""
    replay = Replay(limits_of(limits))
    tracemalloc.start()
    try:
        for path in segments(Home(home).stream("engine")):
            for line in lines(path):
                assert replay.feed(orjson.loads(line)) == ()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("record", [{}, {"seq": 1, "kind": "permit"}, {"seq": 2, "kind": "halt", "code": "?"}])
def test_what_no_kernel_wrote_is_a_gap(tmp_path: Path, record: dict[str, Any]) -> None:
    """A record that can't be given to the core ends the replay of its run, and says so; it raises nothing."""
    clock = FakeClock()
    with recording(tmp_path, clock, LIMITS) as kernel:
        kernel.consult(Quote(instrument=NAME, ts_us=1, bid=Decimal(1), ask=Decimal(2)))
    records = journal(tmp_path)
    _, report = play([*records[:-3], record, *records[-3:]], LIMITS)
    assert len(report.gaps) == 1
