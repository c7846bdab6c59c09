"""What the monitor remembers of halts and numbers: all that it must, and no more than it need."""

import random
from math import inf

import pytest

from interlock.verify import runs
from interlock.verify.runs import Numbers, Orders, Run

from .test_orders import Plain

EDGES = (0, 1, 7, 8, 9, 15, 16, 1023, 8191, 8192, 8199, 70_000)


def within(numbers: Numbers) -> set[int]:
    """The numbers that are in."""
    return {number for number in range(-20, 90_000) if number in numbers}


@pytest.mark.parametrize("start", [0, 1, 8, 100, 5000])
def test_a_set_holds_what_was_put_in(start: int) -> None:
    """A set of numbers that begins anywhere has what was put into it and nothing else, below it or beyond."""
    numbers = Numbers(start)
    put = {start + edge for edge in EDGES if start + edge < 90_000}
    for number in sorted(put):
        numbers.add(number)
        assert number in numbers
    assert within(numbers) == put
    assert len(numbers.bits) <= (max(put) - start) // 8 + 1 + 1024, "one bit a number, and some room"


@pytest.mark.parametrize("start", [0, 5, 8, 4096, 60_000])
@pytest.mark.parametrize("early", [(), (3,), (3, 4095, 4096, 9000)])
@pytest.mark.parametrize("late", [(), (0,), (1, 9, 5000)])
def test_sets_are_joined(start: int, early: tuple[int, ...], late: tuple[int, ...]) -> None:
    """A set that begins later, joined to one, adds its numbers to it, and no more room than it has itself."""
    one, two = Numbers(), Numbers(start)
    for number in early:
        one.add(number)
    for number in late:
        two.add(start + number)
    room = max(len(one.bits), start // 8 + len(two.bits))
    one.join(two)
    assert within(one) == {*early, *(start + number for number in late)}
    assert len(one.bits) <= room


def test_of_many_halts_those_are_kept_that_decide_something() -> None:
    """Of two halts of one time, or of times that fall, the later is kept; the earliest after a record counts."""
    run = Run()
    assert run.halt_after(0) == inf
    for number, at in ((3, 50), (4, 70), (6, 60), (9, 60)):
        run.halted(number, at)
    assert run.halts == [(3, 50), (9, 60)]
    assert [run.halt_after(number) for number in (2, 3, 8, 9)] == [50, 60, 60, inf]


def kept(orders: Orders) -> int:
    """How many ids are in memory."""
    return sum(len(ids) for _, ids in orders._ages())


@pytest.mark.parametrize("seed", range(40))
def test_orders_are_known_for_as_long_as_a_run_remembers(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a random life, runs and segments and all, an id is known just if a memory that forgets nothing says so."""
    monkeypatch.setattr(runs, "_GENERATION_MIN", 1)
    random_ = random.Random(seed)  # noqa: S311 - a life, no secret
    names = "abcdefgh"[: random_.randrange(3, 9)]
    orders, plain, remember = Orders(), Plain(), 0
    for _ in range(150):
        step = random_.choices(("grant", "void", "run", "join"), (6, 2, 1, 2))[0]
        order = random_.choice(names)
        if step == "grant":
            assert orders.grant(order, remember) is plain.known(order, remember)
            plain.grant(order)
        elif step == "void":
            orders.void(order)
            plain.last.pop(order, None)
        elif step == "run":
            remember = random_.randrange(7)
            orders.remember(remember)
            plain.run(remember)
        else:
            ids = {order: place for place, order in enumerate(random_.sample(names, random_.randrange(len(names))))}
            gone = {order for order in names if order not in ids and random_.random() < 0.2}
            known = any(
                order in plain.last and plain.count + place - plain.last[order] <= remember
                for order, place in ids.items()
            )
            assert orders.new(ids, remember) is (not known)
            orders.join(ids, gone, len(ids))
            for order in gone:
                plain.last.pop(order, None)
            for order in ids:
                plain.grant(order)
        assert orders.granted == plain.count


def test_no_more_ids_are_kept_than_twice_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of order ids, single or by segments, those of the last two generations are kept, and no others."""
    monkeypatch.setattr(runs, "_GENERATION_MIN", 8)
    for remember, most in ((0, 8), (5, 16), (20, 40)):
        orders = Orders()
        orders.remember(remember)
        for number in range(200):
            assert not orders.grant(f"{number}", remember)
            assert kept(orders) <= most + 1
            assert len(orders._old) <= 3, "generations are as large as what is remembered"
        orders.remember(3 * most)
        for number in range(200, 900):
            assert not orders.grant(f"{number}", 3 * most)
            assert kept(orders) <= 6 * most + 1
            assert len(orders._old) <= 3 + 2 * (number < 203)
        for number in range(900, 2000, 10):
            orders.join({f"{number + place}": place for place in range(10)}, (), 10)
            assert kept(orders) <= 6 * most + 10
