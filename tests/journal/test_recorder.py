"""What a kernel says in its journal adds up: floods, totals and clocks, on the real files of a real home."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import (
    PATIENCE_S,
    UTC_US,
    FakeClock,
    RecordingVenue,
    abandon,
    arm,
    attach,
    cancel,
    fill,
    journal,
    kinds,
    of_kind,
    order,
    python,
    quote,
    running,
    sound,
)

from interlock import Mode, Side
from interlock.core.tickets import Ticket
from interlock.journal.rows import MOST, SINGLES

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Kernel


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


def added_up(home: Path) -> None:
    """See that every `beat` tells what the records of its run add up to, and that every `flood` follows its row."""
    permits = refusals = blocked = 0
    before: tuple[object, ...] | None = None
    for one in journal(home):
        kind = one["kind"]
        if kind == "run":
            permits = refusals = blocked = 0
            before = None
        elif kind == "permit":
            permits, before = permits + 1, None
        elif kind in {"refuse", "flood"}:
            key = (one["epoch"], one["mode"], one["code"], one["instrument"])
            assert kind == "refuse" or key == before
            before = key
            refusals += one.get("count", 1)
        elif kind == "block":
            blocked += one["count"]
        elif kind == "beat":
            assert (one["permits"], one["refusals"], one["blocked"]) == (permits, refusals, blocked)
            assert one["consulted"] == one["ticks"] - one["blocked"]


def flooded(kernel: Kernel, times: int, name: str = "f", instrument: str = "ZZ") -> None:
    """Submit orders that are refused."""
    for number in range(times):
        assert not kernel.submit(order(f"{name}{number}", instrument=instrument), lambda _: None)


def test_flood_is_told_by_a_heartbeat(home: Path) -> None:
    """A thousand refusals are a few records, whose counts add up, with the first and the last of those counted."""
    clock = FakeClock()
    kernel = running(home, clock)
    flooded(kernel, 1_000)
    clock.advance(10_000)
    kernel.heartbeat()
    refused, (row,) = of_kind(home, "refuse"), of_kind(home, "flood")
    assert len(refused) == SINGLES
    assert (row["count"], row["first"], row["last"]) == (1_000 - SINGLES, f"f{SINGLES}", "f999")
    assert of_kind(home, "beat")[-1]["refusals"] == 1_000
    kernel.close()
    added_up(home)
    sound(home)


def test_flood_in_halted_is_counted_too(home: Path) -> None:
    """An engine that goes on submitting after a halt is told so in a few records a heartbeat."""
    kernel = running(home, FakeClock())
    kernel.halt("enough")
    for _ in range(5):
        flooded(kernel, 200, instrument="XYZ")
        kernel.heartbeat()
    kernel.close()
    assert len(of_kind(home, "refuse")) == SINGLES
    assert sum(one["count"] for one in of_kind(home, "flood")) == 1_000 - SINGLES
    added_up(home)
    sound(home)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda kernel: kernel.submit(order("ok"), RecordingVenue().send), "permit"),
        (lambda kernel: kernel.halt("now"), "halt"),
        (lambda kernel: kernel.stop(), "stop"),
        (lambda kernel: kernel.close(), "stop"),
    ],
    ids=["permit", "halt", "stop", "close"],
)
def test_row_is_told_before_what_ends_it(home: Path, act: Any, kind: str) -> None:
    """A permit, a halt, a stop and a close stand after the count of the row that they end."""
    kernel = running(home, FakeClock())
    flooded(kernel, 100)
    act(kernel)
    kernel.close()
    told = [one for one in kinds(home) if one in {"flood", kind}]
    assert told[:2] == ["flood", kind]
    added_up(home)
    sound(home)


def test_exit_with_a_ticket_is_told_in_a_flood(home: Path) -> None:
    """The refusal of an exit that has a ticket is a record of its own, in the midst of a flood of refusals like it."""
    kernel = running(home, FakeClock())
    assert kernel.submit(order("in"), RecordingVenue().send)
    kernel.on_fill(fill("in", "f1"))
    kernel.drain("stop")
    assert kernel.ticket(Ticket(client_order_id="exit", instrument="XYZ", side=Side.SELL, quantity=order("x").quantity))
    flooded(kernel, 50, instrument="XYZ")
    assert not kernel.submit(order("exit"), lambda _: None)  # not what its ticket is for: the gate stays closed
    flooded(kernel, 50, "g", instrument="XYZ")
    kernel.close()
    assert "exit" in {one["id"] for one in of_kind(home, "refuse")}
    added_up(home)
    sound(home)


@pytest.mark.parametrize("seed", range(8))
def test_any_mix_adds_up(home: Path, seed: int) -> None:  # noqa: C901 - one branch a kind of act
    """Whatever is done in whatever order, with crashes in between, every total is what the records add up to."""
    chance = random.Random(seed)  # noqa: S311
    clock = FakeClock()
    kernel = running(home, clock)
    for number in range(400):
        clock.advance(chance.choice((1, 1, 1, 3_000, 20_000)))
        what = chance.choice(("flood", "flood", "order", "tick", "stale", "beat", "cancel", "restart", "crash", "stop"))
        if what == "flood":
            flooded(kernel, chance.choice((1, 3, 30)), f"f{number}-", chance.choice(("ZZ", "YY")))
        elif what == "order":
            kernel.submit(order(f"o{number}"), lambda permit: permit.redeem())
        elif what in {"tick", "stale"}:
            for _ in range(chance.choice((1, 5))):
                kernel.consult(quote(kernel, age_ms=0 if what == "tick" else 5_000))
        elif what == "beat":
            kernel.heartbeat()
        elif what == "cancel":
            kernel.cancel(cancel(f"o{number}"), lambda _: None)
        elif what == "stop":
            kernel.stop()
            kernel.start()
        elif number % 10 == 0:
            if what == "restart":
                kernel.close()
            else:
                kernel.seal()  # what is salvaged adds up in another run than it stands in
                abandon(kernel)
            kernel = running(home, clock)
    kernel.close()
    added_up(home)
    assert of_kind(home, "beat")
    sound(home)


# -- Clocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("back_us", "told"), [(0, False), (900_000, False), (1_000_001, True), (86_400_000_000, True)])
def test_clock_that_went_back_while_detached(home: Path, back_us: int, told: bool) -> None:
    """A run that begins more than a second before the journal's last record says so, first of all."""
    attach(home, FakeClock()).close()
    with attach(home, FakeClock(utc_us=UTC_US - back_us)) as kernel:
        assert kernel.mode is Mode.IDLE
    found = [one["code"] for one in of_kind(home, "anomaly")]
    assert found == (["CLOCK_BACK"] if told else [])
    if told:
        records = [one for one in journal(home) if one["kind"] != "seal"]
        place = max(place for place, one in enumerate(records) if one["kind"] == "run")
        assert records[place + 1]["code"] == "CLOCK_BACK"
    sound(home)


def test_clock_that_went_back_over_a_crash(home: Path) -> None:
    """The last record may be one of the torn tail; the anomaly follows what was salvaged."""
    clock = FakeClock()
    kernel = running(home, clock)
    kernel.heartbeat()
    clock.advance(5_000)
    kernel.cancel(cancel("c"), lambda _: None)
    abandon(kernel)
    attach(home, FakeClock(utc_us=clock.utc_us() - 3_000_000)).close()
    found = kinds(home)
    assert found[found.index("recover") :][:3] == ["recover", "salvage", "anomaly"]
    assert of_kind(home, "anomaly")[-1]["code"] == "CLOCK_BACK"
    sound(home)


@pytest.mark.parametrize(
    ("step_us", "told"), [(999_990, False), (-999_990, False), (1_000_000, True), (-1_000_000, True)]
)
def test_clock_that_steps_while_running(home: Path, step_us: int, told: bool) -> None:
    """A step of the clock by a second is told at the next heartbeat, and shows in no record before that."""
    clock = FakeClock()
    kernel = running(home, clock)
    clock.now_us += step_us
    kernel.cancel(cancel("c"), lambda _: None)
    kernel.heartbeat()
    kernel.close()
    assert [one["code"] for one in of_kind(home, "anomaly")] == (["CLOCK_STEP"] if told else [])
    run: dict[str, Any] = {}
    for one in journal(home):
        if one["kind"] == "run" or (one["kind"] == "anomaly" and told):
            run = one
        elif run:
            assert abs((one["ts"] - one["mono"] / 1000) - (run["ts"] - run["mono"] / 1000)) <= 1_000_000
    sound(home)


def test_start_is_not_recorded_before_the_ticks_that_it_ends(home: Path) -> None:
    """What was counted before a start stands in the journal at the start's own time, on a clock that never stands."""
    with attach(home) as kernel:
        kernel.consult(quote(kernel))
        assert kernel.start()
    told = [one for one in journal(home) if one["kind"] in {"block", "start"}]
    assert [one["kind"] for one in told] == ["block", "start"]
    assert told[0]["mono"] <= told[1]["mono"]
    sound(home)


def test_crash_takes_the_rest_of_a_flood_alone(home: Path) -> None:
    """Killed amid a flood where nobody beats, the journal has all refusals but those since the last full count."""
    script = """
        import os, sys
        from tests.helpers import *
        kernel = running(sys.argv[1])
        for number in range(int(sys.argv[2])):
            kernel.submit(order(f"f{number}", instrument="NOPE"), str)
        os.kill(os.getpid(), 9)
    """
    with python(script, home, SINGLES + 2 * MOST + 7) as dying:
        dying.communicate(timeout=PATIENCE_S)
    attach(home).close()
    assert [one["count"] for one in of_kind(home, "flood")] == [MOST, MOST]
    sound(home)


def test_what_is_no_order_is_recorded_as_refused(home: Path) -> None:
    """A refusal of something that is none has its record like any other, and what it was can change afterwards."""
    kernel = running(home)
    assert not kernel.submit(None, lambda _: None)  # type: ignore[arg-type]
    kernel.close()
    (refused,) = of_kind(home, "refuse")
    assert (refused["code"], refused["id"]) == ("MALFORMED", None)
