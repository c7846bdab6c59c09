"""What a core tells of itself is all that another one needs, whatever that was in before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from interlock.core import standing
from interlock.core.modes import ARMED, Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.core.standing import take, tell
from interlock.core.values import HaltCause

from .builders import NAME, OTHER, order, running

if TYPE_CHECKING:
    from interlock.core.ledger import Working
    from interlock.core.preorder import Core

LIMITS: Final = "ab" * 32


def granted(core: Core, name: str, number: int) -> Working:
    """Have a core grant an order."""
    decided = core.decide(order(name), ARMED, 0, number)
    assert not hasattr(decided, "reason"), decided
    return decided  # type: ignore[return-value] # no verdict


def told(core: Core) -> dict[str, Any]:
    """What a core tells."""
    state = tell(core, LIMITS)
    assert state is not None
    return state


def test_what_is_told_has_mode_epoch_and_limits() -> None:
    """A core tells its epoch as text, by which limits it counts, and whether it is HALTED."""
    core = running()
    before = told(core)
    core.halt(HaltCause(code=HaltCode.OPERATOR, reason="enough", source="test"))
    assert [(one["limits"], one["epoch"], one["halted"]) for one in (before, told(core))] == [
        (LIMITS, "1", False),
        (LIMITS, "1", True),
    ]
    assert core.mode is Mode.HALTED


@pytest.mark.parametrize(
    ("book", "shown"), [((0, 0, 0), False), ((5, 0, 0), True), ((0, 5, 0), True), ((0, 0, 5), True)]
)
def test_only_books_that_were_never_used_are_left_out(book: tuple[int, int, int], *, shown: bool) -> None:
    """An instrument is told if anything of it is held, was paid for, or is worth something."""
    core = running()
    core.books[NAME].resume(*book, 0, 0)
    assert [name for name, *_ in told(core)["books"]] == [NAME] * shown


def test_as_many_ids_are_told_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each id counts with its quotes, comma and length; as many as the bound are told, and not one more."""
    core = running()
    core.ids.take(["abc"], ["de"])
    core.fills.take([], ["f"])
    for most, fits in ((3 * 4 + 6, True), (3 * 4 + 5, False)):
        monkeypatch.setattr(standing, "_MOST", most)
        assert (tell(core, LIMITS) is not None) is fits


def test_what_a_core_was_in_before_does_not_matter() -> None:
    """A core that holds, owes and has lost something else comes to the state that it is told, and to nothing more."""
    source = running()
    source.session = "monday"
    source.books[NAME].resume(5, -70, 3, 100, 102)
    granted(source, "kept", 7)
    state = told(source)
    core = running()
    core.session = "friday"
    stale = granted(core, "stale", 3)
    for account in core.accounts():
        account.equity, account.opening, account.peak = -50, 40, 60
        account.floor, account.breached, account.marks = 10**9, Reason.DRAWDOWN, 2
    for book in core.books.values():
        book.resume(9, 9, 9, 9, 9)
        book.marked = True
    handed = take(core, state)
    assert [working.order.client_order_id for working in handed] == ["kept"]
    assert stale not in core.working.values()
    assert told(core) == state
    assert core.session == "monday"
    for account in core.accounts():
        assert (account.floor, account.breached, account.marks) == (account.opening - account.max_loss, None, 0)
    assert [book.marked for book in core.books.values()] == [False] * len(core.books)
    flat = core.books[OTHER]
    assert (flat.position, flat.cash, flat.worth, flat.mark_bid, flat.mark_ask) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"remaining": "0"}, True),
        ({"remaining": "-0.1"}, False),
        ({"remaining": "1.1"}, False),
        ({"quantity": "1.05"}, False),
        ({"price": "100.00000000000001"}, False),
    ],
)
def test_order_of_another_grid_is_not_taken(change: dict[str, str], *, fits: bool) -> None:
    """A working order has a quantity and a price of its instrument's grid, and no more left than there was."""
    core = running()
    granted(core, "o1", 7)
    state = told(core)
    state["working"][0].update(change)
    if fits:
        take(core, state)
        assert told(core)["working"][0]["remaining"] == state["working"][0]["remaining"]
        return
    with pytest.raises(ValueError, match=r"^o1: not of this grid$"):
        take(core, state)
