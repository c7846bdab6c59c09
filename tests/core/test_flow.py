"""What is remembered of the flow of orders: forgotten when it should be, and not before."""

from __future__ import annotations

import pytest

from interlock.core.flow import Recent, Repeats

WINDOW = 100
SWEEP = 1024
"""Kinds that gather before those that left the window are forgotten."""


def test_order_exactly_a_window_ago_is_not_counted() -> None:
    """Of several earlier orders, one that is exactly a window old is left out of the count."""
    repeats = Repeats(WINDOW, 9)
    for now in (0, 50, 60):
        repeats.count("a", now, 1)
    assert repeats.count("a", 100, 1) == 3


@pytest.mark.parametrize(("now", "left"), [(WINDOW - 1, SWEEP + 1), (WINDOW, 1), (WINDOW + 1, 1)])
def test_kinds_are_forgotten_when_a_window_has_passed(now: int, left: int) -> None:
    """When many kinds have gathered, those whose last order is a window old are forgotten; no younger one is."""
    repeats = Repeats(WINDOW, 9)
    for kind in range(SWEEP):
        repeats.count(kind, 0, 1)
    assert len(repeats._kinds) == SWEEP
    repeats.count("new", now, 1)
    assert len(repeats._kinds) == left


def test_few_kinds_are_left_alone() -> None:
    """As long as few have gathered nobody looks for old ones: that would cost every order a walk over all."""
    repeats = Repeats(WINDOW, 9)
    for kind in range(SWEEP):
        repeats.count(kind, kind * WINDOW, 1)
    assert len(repeats._kinds) == SWEEP


def test_sweep_keeps_the_count_of_what_is_in_the_window() -> None:
    """A kind that is still within the window counts on after a sweep."""
    repeats = Repeats(WINDOW, 9)
    repeats.count("a", WINDOW - 1, 1)
    for kind in range(SWEEP):
        repeats.count(kind, WINDOW - 1, 1)
    assert repeats.count("a", WINDOW, 1) == 2


def test_kind_whose_order_was_taken_back_is_forgotten() -> None:
    """A kind of which nothing is left is swept away with the old ones, though it is young."""
    repeats = Repeats(WINDOW, 9)
    repeats.count("undone", 0, 1)
    repeats.undo()
    for kind in range(SWEEP - 1):
        repeats.count(kind, 0, 1)
    repeats.count("new", 1, 1)
    assert len(repeats._kinds) == SWEEP
    assert "undone" not in repeats._kinds


def test_next_sweep_waits_until_as_many_again_have_come() -> None:
    """A sweep that had to keep them all is not repeated at each order, but when their number has doubled."""
    repeats = Repeats(WINDOW, 9)
    for kind in range(SWEEP + 1):  # the last one sweeps, and finds nothing old
        repeats.count(kind, 0, 1)
    for kind in range(SWEEP + 1, 2 * SWEEP):  # all of the former are old by now
        repeats.count(kind, WINDOW, 1)
    assert len(repeats._kinds) == 2 * SWEEP
    repeats.count("new", WINDOW, 1)
    assert len(repeats._kinds) == SWEEP


def test_next_sweep_after_a_thorough_one_comes_as_the_first() -> None:
    """A sweep that left few is followed by one at the usual number, not earlier."""
    repeats = Repeats(WINDOW, 9)
    for kind in range(SWEEP + 1):
        repeats.count(kind, 0 if kind < SWEEP else WINDOW, 1)
    assert len(repeats._kinds) == 1
    for kind in range(SWEEP + 1, 2 * SWEEP):
        repeats.count(kind, 2 * WINDOW, 1)
    assert len(repeats._kinds) == SWEEP
    repeats.count("new", 2 * WINDOW, 1)
    assert len(repeats._kinds) == SWEEP


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_recent_remembers_twice_as_many_at_most(keep: int) -> None:
    """Two full generations are remembered, and not one name more."""
    recent = Recent(keep)
    names = [f"n{number}" for number in range(5 * keep)]
    for done, name in enumerate(names):
        recent.add(name)
        remembered = [one for one in names if one in recent]
        assert remembered == names[max(0, done - done % keep - keep) : done + 1]
