"""Recorded inputs: what the core was given stands in the journal, exactly, in its order and with its time."""

from __future__ import annotations

import threading
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import (
    LIMITS,
    MS,
    FakeClock,
    RecordingVenue,
    arm,
    attach,
    fill,
    journal,
    order,
    quote,
)
from tests.replay.builders import recording, replayed, same
from tests.replay.lives import TIGHT, eventful

from interlock import OrderType, Outcome, Quote, Trade, Verdict
from interlock.journal.inputs import InputRecorder

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Fill
    from interlock.core.ledger import Working

# -- Time between decision and record ------------------------------------------------------------------------


def test_an_order_that_is_over_before_its_send_begins(tmp_path: Path) -> None:
    """What the venue says while a permit waits for the disk is replayed in its place: the permit is void."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT, durability="disk") as kernel:
        commit = kernel._commit

        def slow(number: int) -> None:
            commit(number)
            kernel.on_cancelled("gone")

        kernel._commit = slow  # type: ignore[method-assign]
        assert kernel.submit(order("gone"), RecordingVenue().send).outcome is Outcome.VOID
        kernel._commit = commit  # type: ignore[method-assign]
        assert kernel.submit(order("next"), RecordingVenue().send)
    assert same(tmp_path).compared["void"] == 1


def test_threads_replay(tmp_path: Path) -> None:
    """However threads interleave ticks, orders and a halt, the journal has the order in which the core got them."""
    with recording(tmp_path, FakeClock(), TIGHT.replace("= 30\n", "= 3000\n"), durability="disk") as kernel:
        barrier = threading.Barrier(4)

        def trade(name: int) -> None:
            barrier.wait(60)
            for number in range(30):
                kernel.consult(quote(kernel))
                kernel.submit(
                    order(f"{name}-{number}", quantity="0.1", price=f"{99 + name / 2}"), RecordingVenue().send
                )
                kernel.on_fill(fill(f"{name}-{number}", f"{name}-{number}", quantity="0.1"))
                kernel.heartbeat(quick=True)
            if name == 3:
                kernel.halt("enough")

        threads = [threading.Thread(target=trade, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert same(tmp_path).compared["gate 1"] == 121


def test_the_monotonic_zero_may_move(tmp_path: Path) -> None:
    """A run that goes on beyond 2^52 ns has a rebase, and replays over it."""
    clock = FakeClock()
    with recording(tmp_path, clock, LIMITS) as kernel:
        clock.advance((1 << 52) // MS + 1)
        kernel.heartbeat()
        for number in range(4):
            clock.advance()
            kernel.consult(quote(kernel))
            kernel.submit(order(f"o{number}"), RecordingVenue().send)
        clock.advance(61_000)
        kernel.submit(order("late"), RecordingVenue().send)
    assert "rebase" in {record["kind"] for record in journal(tmp_path)}
    same(tmp_path)
    assert next(one for one in journal(tmp_path) if one["kind"] == "refuse")["code"] == "HEARTBEAT_OVERDUE"


# -- A recorder that leaves something out ----------------------------------------------------------------


class TickingClock(FakeClock):
    """Moves by a microsecond whenever it is read, so that no two readings are the same."""

    def mono_ns(self) -> int:
        """Nanoseconds, monotonic."""
        self.now_ns += 1000
        self.now_us += 1
        return self.now_ns


class LateStart(InputRecorder):
    """Gives the records of starts and cancels the time at which they are written."""

    __slots__ = ()

    def write(self, kind: str, /, mono: int | None = None, **members: object) -> int | None:
        """Write a record now."""
        del mono
        return super().write(kind, None, **members)


class LateTick(InputRecorder):
    """Gives a tick's record the time at which it is written."""

    __slots__ = ()

    def tick(self, tick: Quote | Trade, latch: int, verdict: Verdict, mono: int) -> None:
        """Gate 1 decided."""
        super().tick(tick, latch, verdict, mono + 1000)


class LateBeat(InputRecorder):
    """Gives a heartbeat's record the time at which it is written."""

    __slots__ = ()

    def heartbeat(self, mono: int) -> None:
        """The loop turns."""
        super().heartbeat(mono + 1000)


class NoBeat(InputRecorder):
    """Records no heartbeat."""

    __slots__ = ()

    def heartbeat(self, mono: int) -> None:
        """The loop turns."""


class NoBegin(InputRecorder):
    """Records no beginning of a send."""

    __slots__ = ()

    def begun(self, working: Working) -> None:
        """A send begins."""


class NoOdds(InputRecorder):
    """Does not say what it could not hold."""

    __slots__ = ()

    def _tell(self, odd: object, ts: int, mono: int) -> None:
        del odd, ts, mono


class NoUnread(InputRecorder):
    """Forgets fills that can't be read."""

    __slots__ = ()

    def unread(self, fill: Fill) -> None:
        """A fill came in."""


class NoBadTicks(InputRecorder):
    """Records the ticks that pass."""

    __slots__ = ()

    def tick(self, tick: Quote | Trade, latch: int, verdict: Verdict, mono: int) -> None:
        """Gate 1 decided."""
        if verdict:
            super().tick(tick, latch, verdict, mono)


def timed(path: Path, recorder: type[InputRecorder]) -> None:
    """A life of a microsecond a step, in which times decide: what a refusal says of them is exact."""
    clock = TickingClock()
    arm(path, TIGHT.replace("message_burst = 30", "message_burst = 2"), clock=clock)
    with attach(path, clock, record_inputs=True) as kernel:
        kernel._recorder.__class__ = recorder
        kernel.start()
        clock.advance(600)
        kernel.consult(quote(kernel))
        kernel.submit(order("late"), RecordingVenue().send)
        kernel.heartbeat(quick=True)
        just = quote(kernel, age_ms=1000)
        kernel.consult(attrs.evolve(just, ts_us=just.ts_us + 1, sequence=7))  # as old as may be, to the microsecond
        kernel.consult(attrs.evolve(quote(kernel), sequence=9))
        kernel.consult(attrs.evolve(quote(kernel), sequence=10))
        kernel.submit(order("good"), RecordingVenue().send)
        kernel.submit(attrs.evolve(order("odd"), quantity=0.5), RecordingVenue().send)
        clock.advance(600)
        kernel.submit(order("later"), RecordingVenue().send)
        kernel.heartbeat(quick=True)
        kernel.consult(quote(kernel))
        kernel.on_fill(attrs.evolve(fill("good", "bad"), price=Decimal("NaN")))


def test_each_time_is_the_decisions_own(tmp_path: Path) -> None:
    """With a clock that moves whenever it is read the record of each decision has the time by which it was made."""
    timed(tmp_path, InputRecorder)
    report = same(tmp_path)
    codes = [record["code"] for record in journal(tmp_path) if record["kind"] == "refuse"]
    assert codes == ["HEARTBEAT_OVERDUE", "MALFORMED", "HEARTBEAT_OVERDUE"]
    assert report.compared["gate 1"] == 5


@pytest.mark.parametrize(
    "recorder",
    [LateStart, LateTick, LateBeat, NoBeat, NoBegin, NoOdds, NoUnread, NoBadTicks],
    ids=lambda one: one.__name__,
)
def test_a_recorder_that_leaves_something_out_is_found(tmp_path: Path, recorder: type[InputRecorder]) -> None:
    """An input that is missing, or has another time than the decision, shows as a difference."""
    timed(tmp_path, recorder)
    found, report = replayed(tmp_path)
    assert found or report.gaps


# -- What may come in --------------------------------------------------------------------------------------


def test_what_a_record_cannot_hold_is_told_beside_it(tmp_path: Path) -> None:
    """Floats, missing numbers and things of another class are decided again from what ``odd`` tells of them."""
    clock = FakeClock()
    with recording(tmp_path, clock, TIGHT) as kernel:
        good = quote(kernel)
        wrong: dict[str, Any] = {"bid": 99.5, "ts_us": float(good.ts_us), "sequence": True, "ask": Decimal("1E+99")}
        for field, value in wrong.items():
            kernel.consult(attrs.evolve(good, **{field: value}))
        kernel.consult(attrs.evolve(good, ts_us=-5))
        kernel.consult(attrs.evolve(good, sequence=1 << 60))
        kernel.consult(attrs.evolve(good, instrument=["no name"]))  # type: ignore[arg-type]
        for field, value in {
            "quantity": 0.1,
            "price": "100",
            "side": "buy",
            "reduce_only": 1,
            "client_order_id": "a b\udc80",
            "order_type": OrderType.MARKET,
            "instrument": "x" * 500,
            "time_in_force": None,
        }.items():
            kernel.submit(attrs.evolve(order("w"), **{field: value}), RecordingVenue().send)  # type: ignore[arg-type]
        kernel.submit(None, RecordingVenue().send)  # type: ignore[arg-type]
        kernel.on_accept("x" * 65)
        kernel.submit(order("x" * 64), RecordingVenue().send)
        kernel.on_reject("x" * 65)
        kernel.on_fill(fill("w", "f\ud800"))
        kernel.on_fill(attrs.evolve(fill("w", "f2"), side="buy"))  # type: ignore[arg-type]
        kernel.consult(attrs.evolve(good, bid=Decimal("-1.5")))
        thing = {field.name: getattr(good, field.name) for field in attrs.fields(type(good))}
        kernel.consult(SimpleNamespace(**thing))  # type: ignore[arg-type]
    report = same(tmp_path)
    assert not report.skipped
    odd = [record for record in journal(tmp_path) if record["kind"] == "odd"]
    assert {"float", "bool", "Decimal", "int", "list", "str", "NoneType"} <= {record["type"] for record in odd}
    assert next(record["code"] for record in journal(tmp_path) if record["kind"] == "refuse") == "MALFORMED"


def test_a_run_records_nothing_more_unless_asked(tmp_path: Path) -> None:
    """Without the option no record of the new kinds is written."""
    clock = FakeClock()
    arm(tmp_path, TIGHT, clock=clock)
    with attach(tmp_path, clock) as kernel:
        kernel.start()
        kernel.consult(quote(kernel))
        eventful(kernel, clock)
    new = {"inputs", "quote", "trade", "begin", "heartbeat", "unread", "odd"}
    assert not new & {record["kind"] for record in journal(tmp_path)}
