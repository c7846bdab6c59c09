"""The bells: who is called about which epoch's halt, how often, and what becomes of what a call raises."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.helpers import PATIENCE_S, wait_until

from interlock.breaker.bells import Bells

if TYPE_CHECKING:
    from collections.abc import Iterator


class Called:
    """Somebody to call, who remembers the threads that did."""

    def __init__(self) -> None:
        self.by: list[threading.Thread] = []

    def __call__(self) -> None:
        """Answer."""
        self.by.append(threading.current_thread())


@pytest.fixture
def raised() -> Iterator[list[str]]:
    """Return what the calls raised, which is nothing unless a test says so."""
    found: list[str] = []
    yield found
    assert found == []


def test_each_is_called_once_an_epoch_from_the_next_on(raised: list[str]) -> None:
    """Who has heard of an epoch is called for later ones alone, once each, in a daemon with a name."""
    bells, first, second = Bells(), Called(), Called()
    assert not bells
    bells.add(first, 0)
    bells.add(second, 3)
    assert bells
    for epoch in (1, 1, 3, 3, 4, 2, 4):
        bells.ring(epoch, raised.append)
    wait_until(lambda: (len(first.by), len(second.by)) == (3, 1))
    assert {(one.name, one.daemon) for one in (*first.by, *second.by)} == {("interlock-on-halt", True)}
    assert threading.main_thread() not in first.by


def test_who_takes_it_back_is_the_only_one_who_does(raised: list[str]) -> None:
    """Of two that are the same callable one is taken back, once or twice, and the other is still called."""
    bells, one, other = Bells(), Called(), Called()
    forget, _, _ = bells.add(one, 0), bells.add(one, 0), bells.add(other, 0)
    forget()
    forget()
    assert bells
    bells.ring(1, raised.append)
    wait_until(lambda: one.by and other.by)
    bells.clear()
    assert not bells
    bells.ring(2, raised.append)
    assert len(one.by) == 1


def test_call_that_no_thread_was_to_be_had_for_is_made_at_the_next_ring(
    raised: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a thread nobody counts as called, and the others are asked for all the same."""
    bells, first, second = Bells(), Called(), Called()
    bells.add(first, 0)
    bells.add(second, 0)
    start, left = threading.Thread.start, [1]

    def refused(thread: threading.Thread) -> None:
        if left and thread.name == "interlock-on-halt":
            left.pop()
            message = "can't start new thread"
            raise RuntimeError(message)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    bells.ring(1, raised.append)
    wait_until(lambda: second.by)
    assert first.by == []
    bells.ring(1, raised.append)
    wait_until(lambda: first.by)
    assert len(second.by) == 1


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3), KeyboardInterrupt("now")])
def test_what_a_call_raises_is_told_and_ends_nothing(error: BaseException) -> None:
    """Whatever it is, it is told by its type; if nobody can take that, it ends there."""
    bells, told, over = Bells(), [], threading.Event()

    def call() -> None:
        raise error

    def taken(said: str) -> None:
        told.append(said)
        over.set()
        message = "the journal is closed"
        raise OSError(message)

    bells.add(call, 0)
    unhandled: list[object] = []
    before, threading.excepthook = threading.excepthook, unhandled.append
    try:
        bells.ring(1, taken)
        assert over.wait(PATIENCE_S)
        for thread in threading.enumerate():
            if thread.name == "interlock-on-halt":
                thread.join(PATIENCE_S)
    finally:
        threading.excepthook = before
    assert type(error).__name__ in told[0]
    assert unhandled == []
