"""A recorder on a journal in memory: each record has its members, its number and its times, and nothing is raised."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import MS, UTC_US, fill, order

from interlock import HaltCode, Quote
from interlock.core.values import HaltCause
from interlock.journal.recorder import Recorder
from interlock.journal.rows import MOST
from interlock.journal.writer import BATCH, NoRoomError

from .memory import AT, DAY_MS, REFUSED, Told, raising, told, working

if TYPE_CHECKING:
    from collections.abc import Callable

# -- What it says ----------------------------------------------------------------------------------------


def test_run_stands_at_its_zero_behind_the_segment_that_it_begins() -> None:
    """An empty segment gets its beginning, then the run, both at the run's zero; one that is begun gets the run."""
    made = Told(Recorder, begun=False)
    made.clock.advance(7)
    made.made.begin(home="h")
    made.made.begin(home="g")
    times = {"ts": UTC_US, "mono": 0}
    segment, first, second = made.all
    assert segment["kind"] == "segment"
    assert {key: segment[key] for key in times} == times
    assert first == {"v": 1, "seq": 1, "kind": "run"} | times | {"home": "h"}
    assert second == {"v": 1, "seq": 2, "kind": "run"} | times | {"home": "g"}


def test_permit_holds_the_order_and_the_quote_by_which_it_was_checked() -> None:
    """A permit has its number, its decision's time, the order as it was checked and the reference's bid and ask."""
    made = told()
    asked = working()
    assert made.made.permit(asked, 3, made.mono)
    (found,) = made.written[2:]
    wanted = {"id": "a", "instrument": "XYZ", "side": "buy", "type": "limit", "quantity": "1", "price": "100"}
    wanted |= {"tif": "day", "reduce_only": False, "bid": "99", "ask": "101"}
    assert found == {"v": 1, "seq": 2, "kind": "permit"} | AT | {"epoch": 3} | wanted
    assert (asked.number, made.made.permits) == (2, 1)


def test_permit_without_a_quote_says_so() -> None:
    """An order that was checked without a reference has zero for its bid and ask, and the next one its own again."""
    made = told()
    for reference in (None, (1, "99", 2, "101")):
        made.made.permit(working(book=SimpleNamespace(reference=reference)), 3, made.mono)
    assert [(one["bid"], one["ask"]) for one in made.members] == [("0", "0"), ("99", "101")]


def test_permit_is_refused_by_a_journal_that_is_full_or_broken() -> None:
    """A permit stands only if its record does, and there was room for what may have to be told after it."""
    made = told()
    made.sink.short = "nearly full"
    assert not made.made.permit(working(), 3, made.mono)
    made = told()
    made.sink.error = OSError(28, "no space")
    assert not made.made.permit(working(), 3, made.mono)


def test_outcomes_hold_when_the_send_began() -> None:
    """What was sent, and what nobody knows of, name the permit and tell when the send began and what was said."""
    made = told()
    begun = made.mono
    made.clock.advance(5)
    made.made.sent(working(number=4, begun_ns=begun), None)
    made.made.sent(working(number=5, begun_ns=begun), "a" * 65)
    made.made.unknown(working(number=6, begun_ns=begun), "TimeoutError")
    first, second, third = made.records
    head = {"v": 1, "ts": UTC_US + 12_000, "mono": 12 * MS}
    assert first == head | {"seq": 2, "kind": "sent", "permit": 4, "begun": 7 * MS, "result": None}
    assert second == head | {"seq": 3, "kind": "sent", "permit": 5, "begun": 7 * MS, "result": "a" * 64}
    assert third == head | {"seq": 4, "kind": "unknown", "permit": 6, "begun": 7 * MS, "error": "TimeoutError"}


def test_what_waits_stands_before_a_permit_and_an_outcome() -> None:
    """A refusal that waits has its number before the permit, or the outcome of a send, that comes after it."""
    made = told()
    acts: list[Callable[[], object]] = [
        lambda: made.made.permit(working(), 3, made.mono),
        lambda: made.made.sent(working(), None),
        lambda: made.made.fill(fill("a", "f"), known=True),
        lambda: made.made.unknown(working(), "?"),
    ]
    for act in acts:
        made.made.refuse(order("b"), REFUSED, 3, "RUNNING", made.mono)
        act()
    kinds = [one["kind"] for one in made.members]
    assert kinds == ["refuse", "permit", "refuse", "sent", "refuse", "fill", "refuse", "unknown"]


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ({}, {"ts": UTC_US + 7_000, "utc": "2024-08-08T00:00:00.007000Z", "operator": None}),
        ({"ts_us": UTC_US + 1_234_567}, {"utc": "2024-08-08T00:00:01.234567Z"}),
        ({"operator": "ann"}, {"operator": "ann"}),
        ({"operator": "x" * 600, "reason": "y" * 600}, {"operator": "x" * 500, "reason": "y" * 500}),
    ],
    ids=["now", "then", "operator", "long"],
)
def test_halt_says_when_and_why_for_people(cause: dict[str, Any], said: dict[str, object]) -> None:
    """A halt's time is its cause's, or when emission had stopped; texts are cut, and a missing operator is null."""
    made = told()
    why = attrs.evolve(HaltCause(code=HaltCode.OPERATOR, reason="enough", source="cli"), **cause)
    made.made.halt(why, made.mono, epoch=3, first=True, in_flight=(4, 5))
    (found,) = made.records
    wanted = {"marker": "[KILL_SWITCH] ENGAGED", "run": "r", "version": "0", "epoch": 3, "code": "OPERATOR"}
    wanted |= {"reason": "enough", "source": "cli", "at": 7 * MS, "first": True, "in_flight": [4, 5]}
    assert found | said == found
    assert found | (wanted | said) == found


def test_fill_is_written_at_once() -> None:
    """A fill is with the sink when it is told, with its numbers in full."""
    made = told()
    made.made.fill(fill("a", "f", quantity="1E+2"), known=True)
    (found,) = made.written[2:]
    assert found["kind"] == "fill"
    assert (found["quantity"], found["price"], found["fee"], found["known"]) == ("100", "100", "0", True)
    assert {key: found[key] for key in AT} == AT


# -- Sealed, and on the disk ---------------------------------------------------------------------------------


def test_seal_and_sync_say_how_much_is_durable() -> None:
    """A seal tells how many records stand then; once synced these are durable, and before that they are not."""
    made = told()
    assert made.made.durable == 0
    sealed = made.made.seal()
    assert sealed == made.journal.seq == 3
    assert (made.made.durable, made.sink.syncs) == (0, 0)
    made.made.sync(sealed)
    assert (made.made.durable, made.sink.syncs) == (3, 1)
    again = Recorder(
        made.journal, mono_ns=made.clock.mono_ns, utc_us=made.clock.utc_us, run="s", version="0", disk=True
    )
    assert again.durable == 3


def test_sync_that_fails_makes_nothing_durable() -> None:
    """What could not be synced is not durable, and neither a seal nor a sync raises."""
    made = told()
    made.sink.error = OSError(5, "gone")
    made.made.sync(2)
    assert (made.made.durable, made.made.seal()) == (0, None)


@pytest.mark.parametrize("disk", [True, False])
def test_settle_waits_for_the_disk_only_if_it_is_asked_to(disk: bool) -> None:
    """With durability on disk what is settled is synced, otherwise it is sealed only; a broken journal is left."""
    made = told(disk=disk)
    made.made.settle()
    assert made.written[-1]["kind"] == "seal"
    assert (made.sink.syncs, made.made.durable) == ((1, 3) if disk else (0, 0))
    made.journal.note({"v": 1, "seq": 3, "kind": "end", "ts": 0, "mono": 0})
    made.sink.error = OSError(5, "gone")
    made.made.settle()
    assert made.sink.syncs == (1 if disk else 0)


def turned(standing: Callable[[], dict[str, object] | None] | None) -> Told[Recorder]:
    """A recorder that has begun a segment, since it is the next day."""
    made = told()
    if standing is not None:
        made.made.standing = standing
    made.made.turn()
    assert made.sink.segments == []
    made.clock.advance(DAY_MS)
    made.made.turn()
    return made


def test_turn_begins_a_segment_when_one_is_due() -> None:
    """A new day begins a segment, sealed and durable; what is owned is told behind it, under a seal of its own."""
    state: dict[str, object] = {"positions": []}
    for standing in (None, lambda: None, lambda: state):
        made = turned(standing)
        assert [first for first, _ in made.sink.segments] == [3]
        kinds = [one["kind"] for one in made.written]
        ledger = ["ledger", "seal"] if standing and standing() else []
        assert kinds == ["segment", "run", "seal", "segment", "seal", *ledger]
        assert made.made.durable == 5
        if ledger:
            assert made.written[-2]["state"] == state


def test_turn_without_room_tells_nothing_and_is_not_tried_again() -> None:
    """If there is no room for a segment the open one goes on, nothing is told of the ledger, and no turn follows."""
    made = told()
    made.made.standing = dict
    made.sink.turn = raising(NoRoomError("no room"))  # type: ignore[method-assign]
    made.clock.advance(DAY_MS)
    made.made.turn()
    assert (made.journal.full, made.journal.broken) == ("no room", None)
    assert [one["kind"] for one in made.written] == ["segment", "run", "seal"]
    del made.sink.turn  # type: ignore[method-assign]
    made.made.turn()
    assert made.sink.segments == []


@pytest.mark.parametrize(
    "act",
    [
        lambda made: made.begin(home="h"),
        lambda made: made.write("stop", epoch=1),
        lambda made: made.note("mark"),
        lambda made: made.seal(),
        lambda made: made.settle(),
        lambda made: made.turn(),
        lambda made: made.permit(working(), 1, 5),
        lambda made: made.sent(working(), None),
        lambda made: made.unknown(working(), "?"),
        lambda made: made._flood({"count": 2}, None),
        lambda made: made.fill(fill("a", "f"), known=True),
        lambda made: made.unblock(),
    ],
)
def test_broken_journal_raises_nothing_and_takes_nothing(act: Callable[[Recorder], object]) -> None:
    """Whatever is said to a recorder whose journal broke says nothing, and says no more than that it failed."""
    made = told()
    made.sink.error = OSError(28, "no space")
    assert made.made.write("stop", epoch=1) is None
    made.sink.error = None
    made.made.block(REFUSED, Quote(instrument="XYZ", ts_us=1, bid=order("x").quantity, ask=order("x").quantity), 5)
    made.clock.advance(DAY_MS)
    seq, data = made.journal.seq, made.sink.data
    assert not act(made.made)
    assert (made.journal.seq, made.sink.data) == (seq, data)
    assert made.journal.broken is not None


@pytest.mark.parametrize(
    "act",
    [
        lambda made: made.begin(home="h"),
        lambda made: made.fill(fill("a", "f"), known=True),
        lambda made: made.turn(),
        lambda made: made._flood({"count": MOST}, None),
    ],
)
def test_failure_on_the_way_breaks_the_journal_and_raises_nothing(act: Callable[[Recorder], object]) -> None:
    """A record that is the first to fail leaves a broken journal, and no error: whoever records looks there."""
    made = told()
    made.clock.advance(DAY_MS)
    made.sink.error = OSError(28, "no space")
    act(made.made)
    assert made.journal.broken is not None


# -- After a crash -----------------------------------------------------------------------------------------


def test_recovery_is_sealed_in_one_piece() -> None:
    """What recovery set aside is told with its hash, and no seal parts the records salvaged from it; later ones may."""
    made = told()
    torn = b"torn"
    salvaged: list[dict[str, object]] = [{"seq": number} for number in range(BATCH + 1)]
    made.made.recover(sealed=9, root="ab", torn_file="f", torn=torn, salvaged=salvaged)
    first, *rest = made.members
    hashed = {"torn_bytes": 4, "torn_sha256": sha256(torn).hexdigest(), "salvaged": BATCH + 1}
    assert first == {"kind": "recover", "sealed": 9, "root": "ab", "torn_file": "f"} | hashed
    assert [one["record"] for one in rest] == salvaged
    made.made.note("heartbeat")
    assert made.written[-1]["kind"] == "seal"
