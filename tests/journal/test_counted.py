"""What a recorder counts, in memory: rows of ticks and orders, totals, and the clocks by which it tells the time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import MS, UTC_US, order

from interlock import Reason, Verdict
from interlock.journal.rows import MOST, SINGLES

from .memory import AT, REFUSED, told

# -- What is counted ---------------------------------------------------------------------------------------


def tick(instrument: Any = "XYZ") -> Any:
    """A tick, almost."""
    return SimpleNamespace(instrument=instrument)


def test_refused_ticks_of_a_row_are_one_record() -> None:
    """Equal refusals in a row are one record, with the first and the last time; another code or name is another."""
    made = told()
    other = Verdict(accepted=False, reason=Reason.MALFORMED)
    rows = [(REFUSED, "XYZ", 3), (REFUSED, "ABC", 1), (other, "ABC", 2)]
    times = []
    for verdict, name, count in rows:
        first = made.mono
        for _ in range(count):
            last = made.mono
            made.made.block(verdict, tick(name), last)
            made.clock.advance(2)
        times.append((first, last))
    assert made.members[-1:] == made.members[1:]  # the last row is open
    made.made.unblock()
    made.made.unblock()
    wanted = [
        {"kind": "block", "code": str(verdict.reason), "instrument": name, "count": count}
        | {"first_ts": (first + made.made.utc_ns) // 1000, "last_ts": (last + made.made.utc_ns) // 1000}
        for (verdict, name, count), (first, last) in zip(rows, times, strict=True)
    ]
    assert made.members == wanted
    assert made.made.blocked == 6
    assert wanted[0]["last_ts"] - wanted[0]["first_ts"] == 4_000


class Raising:
    """Raises when it is compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        """Raise."""
        raise ValueError

    def __str__(self) -> str:
        """How it is printed."""
        return "odd"


def test_tick_that_cannot_be_compared_is_counted_by_its_print() -> None:
    """Whatever a tick has for a name, its row is told by how that is printed."""
    made = told()
    for name in (Raising(), Raising(), "odd"):
        made.made.block(REFUSED, tick(name), made.mono)
    made.made.unblock()
    (found,) = made.members
    assert (found["instrument"], found["count"]) == ("odd", 3)


def test_refused_order_is_recorded_with_its_limit() -> None:
    """A refusal has its decision's time, what was asked, and the limit with what was compared to it."""
    made = told()
    at = made.mono
    made.clock.advance(5)
    made.made.refuse(order("a"), REFUSED, 3, "RUNNING", at)
    (found,) = made.records
    assert (found["id"], found["code"], found["limit"], found["value"]) == ("a", "MAX_NOTIONAL", "10", "11")
    assert (found["epoch"], found["mode"]) == (3, "RUNNING")
    assert {key: found[key] for key in AT} == AT


def test_what_may_change_is_recorded_as_it_is_now() -> None:
    """Something that is no order of ours may change after its refusal, and its record does not; an order may wait."""
    made = told()
    made.made.refuse(order("a"), REFUSED, 3, "RUNNING", made.mono)
    assert len(made.journal.waiting) == 1
    odd = SimpleNamespace(client_order_id="before")
    made.made.refuse(odd, REFUSED, 3, "RUNNING", made.mono)  # type: ignore[arg-type]
    odd.client_order_id = "after"
    assert [one["id"] for one in made.members] == ["a", "before"]


def test_full_count_of_a_flood_is_written_at_once() -> None:
    """So many refusals are not left waiting for the next record; a smaller count is told with it."""
    made = told()
    for number in range(SINGLES + MOST - 1):
        made.made.refuse(order(f"o{number}"), REFUSED, 3, "RUNNING", made.mono)
    assert "flood" not in [one["kind"] for one in made.written]
    made.made.refuse(order("last"), REFUSED, 3, "RUNNING", made.mono)
    (flood,) = [one for one in made.written if one["kind"] == "flood"]
    assert (flood["count"], flood["last"]) == (MOST, "last")
    size = len(made.sink.data)
    made.made.refuse(order("one more"), REFUSED, 3, "RUNNING", made.mono)
    made.made.close_rows()
    assert len(made.sink.data) == size
    assert made.members[-1]["count"] == 1


@pytest.mark.parametrize("kind", ["start", "stop", "halt", "reset", "end"])
@pytest.mark.parametrize("how", ["write", "note"])
def test_what_ends_rows_ends_tickets(kind: str, how: str) -> None:
    """A start, a stop, a halt, a reset and the end come after what they end is told, and no ticket outlives them."""
    made = told()
    made.made.refused.ticketed.add("exit")
    made.made.block(REFUSED, tick(), made.mono)
    for number in range(SINGLES + 1):
        made.made.refuse(order(f"o{number}"), REFUSED, 3, "RUNNING", made.mono)
    getattr(made.made, how)(kind)
    assert [one["kind"] for one in made.members] == ["refuse"] * SINGLES + ["block", "flood", kind]
    assert made.made.refused.ticketed == set()
    assert not made.made.refused.seen


def account(currency: str, *amounts: int) -> Any:
    """An account, as far as it is told."""
    equity, opening, peak = amounts
    return SimpleNamespace(currency=currency, equity=equity, opening=opening, peak=peak, text=str)


def test_rows_are_told_before_the_totals_that_they_are_part_of() -> None:
    """The records up to a ``beat`` add up to it: what was counted of open rows stands before it, and they go on."""
    made = told()
    made.made.block(REFUSED, tick(), made.mono)
    for number in range(SINGLES + 2):
        made.made.refuse(order(f"o{number}"), REFUSED, 3, "RUNNING", made.mono)
    made.made.totals([])
    assert [one["kind"] for one in made.members] == ["refuse"] * SINGLES + ["block", "flood", "beat"]
    made.made.refuse(order("more"), REFUSED, 3, "RUNNING", made.mono)
    made.made.totals([])
    assert [one["kind"] for one in made.members[-3:]] == ["beat", "flood", "beat"]


def test_totals_are_told_when_they_changed() -> None:
    """Totals and marks are written when they are others than before, and never twice."""
    made = told()
    flat, up = account("EUR", 0, 0, 0), account("USD", 3, 1, 4)
    made.made.totals([flat])
    assert made.members == []
    made.made.ticks, made.made.blocked, made.made.permits, made.made.refusals = 9, 2, 3, 4
    made.made.totals([flat, up])
    beat = {"kind": "beat", "ticks": 9, "consulted": 7, "blocked": 2, "permits": 3, "refusals": 4}
    mark = {"kind": "mark", "currency": "USD", "equity": "3", "opening": "1", "peak": "4"}
    assert made.members == [beat, mark]
    made.made.totals([flat, up])
    assert len(made.members) == 2
    made.made.totals([account("EUR", 0, 0, 1), up])
    assert made.members[2:] == [{"kind": "mark", "currency": "EUR", "equity": "0", "opening": "0", "peak": "1"}]


# -- Clocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_us", [999_998, 999_999, -999_998, -999_999, 0])
def test_step_of_the_clock_is_told_from_a_second_on(step_us: int) -> None:
    """A step of a second, less what two records may lose, is an anomaly; times are in the new UTC from then on."""
    made = told()
    made.clock.now_us += step_us
    made.made.anchor(idle=True)
    steps = [f"UTC moved by {step_us} us"] if abs(step_us) == 999_999 else []
    assert [(one["code"], one["detail"]) for one in made.members] == [("CLOCK_STEP", step) for step in steps]
    made.made.note("heartbeat")
    assert made.records[-1]["ts"] == UTC_US + 7_000 + step_us


@pytest.mark.parametrize(("ns", "idle", "moved"), [(0, True, False), (1, True, True), (1, False, False)])
def test_zero_moves_when_numbers_grow_large_and_no_permit_is_open(ns: int, idle: bool, moved: bool) -> None:
    """Beyond 2^52 ns the run's zero moves to now, by what is told, if it may."""
    made = told()
    made.made.refuse(order("a"), REFUSED, 3, "RUNNING", made.mono)
    made.clock.now_ns = made.made.zero_ns + (1 << 52) + ns
    before = made.made.zero_ns
    made.made.anchor(idle=idle)
    found = [one for one in made.records if one["kind"] != "anomaly"]
    assert [one["mono"] for one in found] == [7 * MS, *([0] if moved else [])]
    told_of = [(one["kind"], one["shift"]) for one in found[1:]]
    assert told_of == ([("rebase", (1 << 52) + ns)] if moved else [])
    assert made.made.zero_ns - before == ((1 << 52) + ns if moved else 0)


@pytest.mark.parametrize("back_us", [999_998, 999_999])
def test_clock_that_went_back_is_told_from_a_second_on(back_us: int) -> None:
    """A run that begins a second before the last record, less what two records may lose, says so."""
    made = told()
    made.made.clock_back(UTC_US + back_us)
    wanted = [("CLOCK_BACK", f"UTC is {back_us} us before the last record's")] if back_us == 999_999 else []
    assert [(one["code"], one["detail"]) for one in made.members] == wanted
