"""Refusals in a row: which are written, which are counted, and that none is lost."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import order

from interlock import Mode, Order, Reason
from interlock.journal.rows import MOST, SINGLES, Refusals

RUNNING, HALTED = Mode.RUNNING, Mode.HALTED
NO, OFF = Reason.MAX_NOTIONAL, Reason.HALTED


class Log:
    """A journal's worth of refusals: what was written one by one, and what was counted."""

    def __init__(self) -> None:
        self.refused = Refusals(lambda members, mono: self.said.append(("flood", members, mono)))
        self.said: list[tuple[str, Any, int | None]] = []
        self.clock = 0

    def refuse(self, wanted: Order, code: Reason = NO, mode: Mode = RUNNING, epoch: int = 1) -> bool:
        """One refusal; whether it was counted."""
        self.clock += 1
        counted = self.refused.counts(wanted, code, mode, epoch, self.clock, self.clock * 10)
        if not counted:
            self.said.append(("refuse", (wanted, code, mode, epoch), self.clock))
        return counted

    @property
    def kinds(self) -> list[str]:
        """What was said, by kind."""
        return [kind for kind, _, _ in self.said]

    @property
    def total(self) -> int:
        """How many refusals the records add up to."""
        return sum(what["count"] if kind == "flood" else 1 for kind, what, _ in self.said)


def test_first_few_are_written() -> None:
    """A row of a few refusals is written one by one, and of a longer one the rest is counted, with first and last."""
    log = Log()
    for number in range(SINGLES):
        assert not log.refuse(order(f"o{number}"))
    log.refused.tell()
    assert log.kinds == ["refuse"] * SINGLES
    for number in range(SINGLES, SINGLES + 5):
        assert log.refuse(order(f"o{number}"))
    log.refused.tell()
    (_, members, mono) = log.said[-1]
    assert mono is None
    assert members == {
        "epoch": 1,
        "mode": RUNNING,
        "code": NO,
        "instrument": "XYZ",
        "count": 5,
        "first": f"o{SINGLES}",
        "last": f"o{SINGLES + 4}",
        "first_ts": (SINGLES + 1) * 10,
        "last_ts": (SINGLES + 5) * 10,
    }


def test_long_row_is_told_though_nobody_beats() -> None:
    """A row is told whenever it has come to so many, so that a crash takes no more than these with it."""
    log = Log()
    for number in range(SINGLES + 2 * MOST + 1):
        log.refuse(order(f"o{number}"))
    floods = [members for kind, members, _ in log.said if kind == "flood"]
    assert [members["count"] for members in floods] == [MOST, MOST]
    assert (floods[1]["first"], floods[1]["last"]) == (f"o{SINGLES + MOST}", f"o{SINGLES + 2 * MOST - 1}")


def test_row_goes_on_over_a_heartbeat() -> None:
    """What was counted is told at each heartbeat; a row that goes on is counted on, and not written again."""
    log = Log()
    for _ in range(3):
        for number in range(20):
            log.refuse(order(f"o{number}"))
        log.refused.tell()
    assert log.kinds == ["refuse"] * SINGLES + ["flood"] * 3
    assert log.total == 60


@pytest.mark.parametrize(
    "other",
    [
        {"code": OFF},
        {"mode": HALTED},
        {"epoch": 2},
        {"wanted": order("x", instrument="ABC")},
    ],
    ids=["code", "mode", "epoch", "instrument"],
)
def test_another_kind_of_refusal_ends_the_row(other: dict[str, Any]) -> None:
    """A refusal for another reason, in another mode, epoch or instrument ends the row, which is told before it."""
    log = Log()
    for number in range(SINGLES + 3):
        log.refuse(order(f"o{number}"))
    log.refuse(**({"wanted": order("x")} | other))
    assert log.kinds == ["refuse"] * SINGLES + ["flood", "refuse"]
    assert log.said[-2][2] == log.said[-1][2]  # at the same time: mono does not go back
    log.refuse(order("o"))
    assert log.kinds[-1] == "refuse"


def test_end_of_a_row() -> None:
    """After a permit the next refusal is the first of another row."""
    log = Log()
    for number in range(SINGLES + 3):
        log.refuse(order(f"o{number}"))
    log.refused.end(7)
    assert log.said[-1][2] == 7
    assert not log.refused.seen
    counted = [log.refuse(order("o")) for _ in range(SINGLES + 1)]
    assert counted == [False] * SINGLES + [True]


def test_order_with_a_ticket_is_written() -> None:
    """The refusal of an order that had a ticket is not counted, however long the row is, until the ticket is used."""
    log = Log()
    log.refused.ticketed.add("exit")
    for number in range(SINGLES + 3):
        log.refuse(order(f"o{number}"), Reason.GATE_CLOSED)
    for _ in range(3 * SINGLES):
        assert not log.refuse(order("exit"), Reason.GATE_CLOSED)
    for _ in range(2):
        assert not log.refuse(order("exit"), NO)
    counted = [log.refuse(order("exit"), NO) for _ in range(2 * SINGLES)]
    assert counted[-1]


def test_refusal_that_may_end_a_ticket_ends_it_and_another_does_not() -> None:
    """While the gate is closed, or the kernel halted, a ticket outlives a refusal; by any other it is used up."""
    for code, left in ((Reason.GATE_CLOSED, {"exit"}), (Reason.HALTED, {"exit"}), (NO, set())):
        log = Log()
        log.refused.ticketed.add("exit")
        for name in ("first", "exit"):
            assert not log.refuse(order(name), code)
        assert log.refused.ticketed == left


@pytest.mark.parametrize("name", [["exit"], None, 7, "other"], ids=str)
def test_order_without_a_ticket_is_counted_beside_one_that_has_one(name: Any) -> None:
    """That there is a ticket keeps no other order from being counted, whatever it has for an id."""
    log = Log()
    log.refused.ticketed.add("exit")
    counted = [log.refuse(attrs.evolve(order("o"), client_order_id=name)) for _ in range(SINGLES + 1)]
    assert counted == [False] * SINGLES + [True]


def test_how_many_are_written_and_counted_is_as_the_format_says() -> None:
    """Eight refusals of a row stand in the journal, and the rest is told at each 4096."""
    assert (SINGLES, MOST) == (8, 4096)


class Odd:
    """No order, of which nothing can be compared."""

    client_order_id = 7
    side = None

    @property
    def instrument(self) -> object:
        """Something that raises when it is compared."""
        return Raising()


class Raising:
    """Raises."""

    def __eq__(self, _: object) -> bool:
        """Raise."""
        raise ValueError

    def __hash__(self) -> int:
        """Raise."""
        raise ValueError

    def __str__(self) -> str:
        """How it is printed."""
        return "odd"


def test_what_is_no_order_is_counted_as_it_is_printed() -> None:
    """Anything at all that is submitted over and over is counted like an order, by its printed form."""
    log = Log()
    odd: Any = Odd()
    for _ in range(SINGLES + 2):
        log.refuse(odd, Reason.MALFORMED)
    strange: Any = Order(client_order_id="o", instrument="odd", side=odd, quantity=Decimal(1))
    object.__setattr__(strange, "instrument", Raising())
    log.refuse(strange, Reason.MALFORMED)
    log.refused.tell()
    (_, members, _) = log.said[-1]
    assert (members["instrument"], members["first"], members["last"], members["count"]) == ("odd", "7", "o", 3)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from([NO, OFF]), st.sampled_from(["refuse", "tell", "end"])),
        max_size=80,
    ),
    st.sampled_from([1, 9, 20]),
)
def test_none_is_lost(events: list[tuple[str, Reason, str]], times: int) -> None:
    """Whatever comes in between, written and counted add up to what was refused, kind by kind."""
    log = Log()
    wanted: Counter[tuple[str, Reason]] = Counter()
    for name, code, what in events:
        if what == "refuse":
            for _ in range(times):
                log.refuse(order("o", instrument=name), code)
                wanted[name, code] += 1
        else:
            getattr(log.refused, what)()
    log.refused.tell()
    found: Counter[tuple[str, Reason]] = Counter()
    before = None
    for kind, said, _ in log.said:
        if kind == "refuse":
            key = (said[0].instrument, said[1])
            found[key] += 1
        else:
            key = (said["instrument"], said["code"])
            found[key] += said["count"]
            assert before == key  # a refusal of the kind, or its earlier count, stands before it
        before = key
    assert found == wanted
