"""The engine's side of quiescence, step by step: what is shown before what is looked at, and when the lock goes."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.helpers import PATIENCE_S, wait_until

from interlock.breaker.quiescence import DEAD, HELD, SHOWN, SLOTS, UNNAMED, Hold
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

HALTED = 0


class Page(bytearray):
    """A page that tells each look at its byte, and may change before the look sees it.

    Attributes:
        before: is called before a look, with how many there were.
        looks: how many there were.
    """

    def __init__(self, byte: int = ARMED) -> None:
        super().__init__([byte])
        self.before: Callable[[int], object] = lambda _: None
        self.looks = 0

    def __getitem__(self, at: int) -> int:  # type: ignore[override] # only one byte is looked at
        """The byte."""
        self.before(self.looks)
        self.looks += 1
        return super().__getitem__(at)


class Lock:
    """A running lock that remembers.

    Attributes:
        free: whether it can be had.
        said: what was done.
        on: is called with what is done, when it is.
    """

    def __init__(self) -> None:
        self.free = True
        self.said: list[str] = []
        self.on: Callable[[str], object] = lambda _: None

    def shared(self) -> bool:
        """Take it."""
        self.said.append("shared")
        self.on("shared")
        return self.free

    def release(self) -> None:
        """Let go."""
        self.said.append("release")
        self.on("release")


class Slots(list[int]):
    """What is shown, and in which order it was written."""

    def __init__(self) -> None:
        super().__init__([0] * SHOWN)
        self.written: list[tuple[int, int]] = []

    def __setitem__(self, at: int, number: int) -> None:  # type: ignore[override] # one at a time
        """Show a number."""
        super().__setitem__(at, number)
        self.written.append((at, number))


class Engine:
    """A hold, and the world around it."""

    def __init__(self, byte: int = ARMED) -> None:
        self.page = Page(byte)
        self.lock = Lock()
        self.slots = Slots()
        self.hold = Hold(self.page, self.lock, self.slots)  # type: ignore[arg-type] # a page to look at

    @property
    def named(self) -> dict[int, int]:
        """The sends that have a slot, each with since when."""
        return {self.slots[at] - 1: self.slots[at + 1] for at in range(0, 2 * SLOTS, 2) if self.slots[at]}


@pytest.fixture
def engine() -> Engine:
    """Return an engine that is in."""
    engine = Engine()
    assert engine.hold.enter()
    engine.slots.written.clear()
    engine.lock.said.clear()
    return engine


# -- Coming and going ------------------------------------------------------------------------------


def test_places_of_what_is_shown() -> None:
    """Sixty-four pairs are shown, then whether the lock is held, then how many sends have no pair."""
    assert (SLOTS, HELD, UNNAMED, SHOWN) == (64, 128, 129, 130)
    assert DEAD == b"\0" != bytes([ARMED])


def test_who_enters_has_the_lock_and_says_so() -> None:
    """An armed page and a lock that is free let an engine in, once."""
    engine = Engine()
    assert not engine.hold.held
    assert engine.hold.enter()
    assert engine.hold.held
    assert engine.slots[HELD] == 1
    assert engine.hold.enter()
    assert engine.lock.said == ["shared"]


def test_who_comes_under_a_halt_does_not_touch_the_lock() -> None:
    """Where the byte says halt nobody takes the lock, not even for a moment: a killer would wait for it."""
    engine = Engine(HALTED)
    assert not engine.hold.enter()
    assert (engine.lock.said, engine.hold.held, engine.slots[HELD]) == ([], False, 0)


def test_who_does_not_get_the_lock_is_not_in() -> None:
    """A killer that has the lock keeps engines out, and nothing is let go that was not had."""
    engine = Engine()
    engine.lock.free = False
    assert not engine.hold.enter()
    assert (engine.lock.said, engine.hold.held, engine.slots[HELD]) == (["shared"], False, 0)


def test_halt_between_the_two_looks_keeps_out() -> None:
    """A byte that was set while the lock was taken is seen by the second look, and the lock let go."""
    engine = Engine()
    engine.lock.on = lambda _: engine.page.__setitem__(0, HALTED)
    assert not engine.hold.enter()
    assert (engine.lock.said, engine.hold.held, engine.slots[HELD]) == (["shared", "release"], False, 0)


def test_who_is_in_already_enters_again_only_while_armed(engine: Engine) -> None:
    """To enter twice is to ask whether the page is armed still."""
    engine.page[0] = HALTED
    assert not engine.hold.enter()
    assert engine.hold.held
    assert engine.lock.said == []


def test_halt_that_is_seen_outlives_the_byte(engine: Engine) -> None:
    """After a look that saw a halt the page is dead here, whatever the byte says later."""
    assert not engine.hold.see()
    assert engine.hold.page is engine.page
    engine.page[0] = HALTED
    assert engine.hold.see()
    engine.page[0] = ARMED
    assert engine.hold.see()
    assert engine.hold.page is DEAD
    assert not engine.hold.begin(1, 1)


def test_revival_between_two_looks_is_no_halt(engine: Engine) -> None:
    """A byte that is armed again at the look that counts has not halted this engine."""
    engine.page[0] = HALTED
    engine.page.before = lambda looks: engine.page.__setitem__(0, ARMED if looks else HALTED)
    engine.page.looks = 0
    assert not engine.hold.see()
    assert engine.hold.page is engine.page


def test_halt_that_is_heard_counts_for_its_turn_alone() -> None:
    """Who looked before the page was revived says nothing of it now; who looked since does."""
    engine = Engine()
    hold, turn = engine.hold, engine.hold.turn
    hold.revive()
    assert hold.turn == turn + 1
    hold.hear(turn)
    assert hold.page is engine.page
    hold.hear(turn + 1)
    assert hold.page is DEAD


def test_retired_engine_is_halted_alone(engine: Engine) -> None:
    """What one engine does to itself leaves the byte as it is."""
    engine.hold.retire()
    assert engine.page[0] == ARMED
    assert engine.hold.see()
    assert engine.hold.leave()


def test_lock_goes_when_the_page_is_dead_and_nothing_is_announced(engine: Engine) -> None:
    """An engine lets go of the lock when it neither sends nor can begin to, after it has said so, and once."""
    hold = engine.hold
    assert not hold.leave()
    assert hold.begin(7, 1)
    hold.retire()
    assert not hold.leave()
    assert (hold.held, engine.slots[HELD], engine.lock.said) == (True, 1, [])
    shown: list[int] = []
    engine.lock.on = lambda _: shown.append(engine.slots[HELD])
    hold.end(7)  # which leaves
    assert (hold.held, engine.slots[HELD], engine.lock.said, shown) == (False, 0, ["release"], [0])
    assert hold.leave()
    assert engine.lock.said == ["release"]


def test_byte_alone_lets_nobody_go(engine: Engine) -> None:
    """A byte that says halt and was not yet seen is no dead page: the lock stays until it is."""
    engine.page[0] = HALTED
    assert not engine.hold.leave()
    assert engine.hold.see()
    assert engine.hold.leave()


def test_page_is_believed_again_only_by_who_is_out(engine: Engine) -> None:
    """Who holds the lock, or has announced a send, stays dead; who is out begins a new turn."""
    hold = engine.hold
    turn = hold.turn
    hold.retire()
    hold.revive()
    assert (hold.page is DEAD, hold.turn) == (True, turn)
    assert hold.leave()
    hold.sending[1] = 0
    hold.revive()
    assert (hold.page is DEAD, hold.turn) == (True, turn)
    del hold.sending[1]
    hold.revive()
    assert (hold.page is engine.page, hold.turn) == (True, turn + 1)
    assert hold.enter()


# -- Sending ---------------------------------------------------------------------------------------


def test_send_is_announced_whole_before_the_last_look(engine: Engine) -> None:
    """When the byte is looked at the send is shown already: its time first, then its number, which makes it count."""
    at_look: list[tuple[dict[int, int], list[int]]] = []
    engine.page.before = lambda _: at_look.append((engine.named, list(engine.hold.sending)))
    assert engine.hold.begin(0, 1_234)
    assert at_look == [({0: 1_234}, [0])]
    (time_at, time_), (number_at, number) = engine.slots.written
    assert (time_, number, time_at) == (1_234, 1, number_at + 1)
    assert engine.hold.since(0) == 1_234
    engine.hold.end(0)
    assert (engine.named, engine.hold.sending) == ({}, {})


def test_send_under_a_halt_is_taken_back(engine: Engine) -> None:
    """A look that sees a halt takes the announcement back, sees it for good, and lets go of the lock."""
    engine.page.before = lambda _: engine.page.__setitem__(0, HALTED)
    assert not engine.hold.begin(5, 1)
    assert (engine.named, engine.hold.sending) == ({}, {})
    assert engine.hold.page is DEAD
    assert not engine.hold.held


def test_end_under_an_armed_page_keeps_the_lock(engine: Engine) -> None:
    """An engine that goes on running lets go of nothing when a send returns."""
    assert engine.hold.begin(5, 1)
    engine.hold.end(5)
    assert engine.hold.held
    assert engine.lock.said == []
    assert engine.hold.page is engine.page


def test_as_many_sends_as_there_are_slots_are_named(engine: Engine) -> None:
    """Every slot is used, each by one send, and free again when that ends."""
    for number in range(SLOTS):
        assert engine.hold.begin(number, 100 + number)
    assert engine.named == {number: 100 + number for number in range(SLOTS)}
    assert engine.slots[UNNAMED] == 0
    assert set(engine.hold.sending.values()) == set(range(0, 2 * SLOTS, 2))
    for number in range(SLOTS):
        engine.hold.end(number)
    assert engine.named == {}
    assert sorted(engine.hold._free) == list(range(0, 2 * SLOTS, 2))


def test_crowd_is_named_oldest_first(engine: Engine) -> None:
    """Of those that wait for a slot the oldest gets the next, with its own time; how many wait is shown all along."""
    hold = engine.hold
    for number in range(SLOTS + 3):
        assert hold.begin(number, 100 + number)
        assert engine.slots[UNNAMED] == max(0, number + 1 - SLOTS)
    assert [hold.since(number) for number in (0, SLOTS, SLOTS + 2)] == [100, 100 + SLOTS, 102 + SLOTS]
    assert hold.sending[SLOTS] == -1
    hold.end(SLOTS + 1)  # which never had one
    assert engine.slots[UNNAMED] == 2
    engine.slots.written.clear()
    hold.end(0)
    assert SLOTS in engine.named
    assert engine.named[SLOTS] == 100 + SLOTS
    (slot, nothing), (time_at, since), (number_at, number), count = engine.slots.written
    assert (nothing, since, number, count) == (0, 100 + SLOTS, SLOTS + 1, (UNNAMED, 1))
    assert (time_at, number_at) == (slot + 1, slot)
    assert hold.sending[SLOTS] == slot
    hold.end(1)
    assert engine.named[SLOTS + 2] == 102 + SLOTS
    assert engine.slots[UNNAMED] == 0
    for number in hold.sending.copy():
        hold.end(number)
    assert sorted(hold._free) == list(range(0, 2 * SLOTS, 2))


def test_crowds_lock_is_taken_in_a_crowd_alone(engine: Engine) -> None:
    """Before a crowd, and after it, no send takes a lock."""
    hold = engine.hold
    for crowd in (0, SLOTS + 1):
        for number in range(crowd):
            assert hold.begin(number, 1)
        for number in range(crowd):
            hold.end(number)
        before, hold._crowd = hold._crowd, None  # type: ignore[assignment] # to take it would fail
        for number in range(SLOTS):
            assert hold.begin(number, 1)
        for number in range(SLOTS):
            hold.end(number)
        hold._crowd = before


def test_send_without_a_slot_is_taken_back_like_others(engine: Engine) -> None:
    """A crowd's last one that meets a halt leaves no trace, and the lock stays while others are inside."""
    for number in range(SLOTS):
        assert engine.hold.begin(number, 1)
    engine.page[0] = HALTED
    assert not engine.hold.begin(SLOTS, 1)
    assert (engine.slots[UNNAMED], SLOTS in engine.hold.sending, engine.hold._unnamed) == (0, False, {})
    assert engine.hold.held
    for number in range(SLOTS):
        engine.hold.end(number)
    assert not engine.hold.held


def test_another_may_begin_at_any_step_of_the_naming() -> None:
    """At whatever instruction a second send joins the crowd, the first gets its slot, and nothing is raised."""
    for step in range(1_000):
        hold, left = Engine().hold, [step]
        for number in range(SLOTS + 1):
            assert hold.begin(number, number)

        def trace(frame: FrameType, event: str, _: object, hold: Hold = hold, left: list[int] = left) -> object:
            if frame.f_code.co_name != "_name":
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                left[0] -= 1
                if left[0] == 0:  # as far as `begin` comes before it would wait for the crowd's lock
                    hold.sending[1_000] = -1
                    hold._unnamed[1_000] = 1_000
                    hold._waits = True
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type] # it returns itself
        try:
            hold.end(0)
        finally:
            sys.settrace(before)
        assert hold.sending[SLOTS] >= 0, step
        if left[0] > 0:
            break
    assert 10 < step < 900


def test_slot_that_becomes_free_while_one_looks_is_not_lost() -> None:
    """A slot that is given back after the last look for one is named by whoever gave it back, as soon as it may."""
    engine = Engine()
    hold = engine.hold
    ending = threading.Thread(target=hold.end, args=(5,))

    class Late(list[int]):
        """Free slots, of which the first comes just after they were asked for."""

        def __bool__(self) -> bool:
            """There is none yet."""
            if hold._unnamed and not ending.ident:
                ending.start()
                wait_until(lambda: len(self))
                return False
            return len(self) > 0

    for number in range(SLOTS):
        assert hold.begin(number, number)
    hold._free = Late()
    assert hold.begin(SLOTS, SLOTS)
    ending.join(PATIENCE_S)
    assert (hold.sending[SLOTS] >= 0, engine.slots[UNNAMED], hold._free) == (True, 0, [])


def test_slot_number_nought_is_a_slot(engine: Engine) -> None:
    """The send that ends while it gets the first of all slots gives that back like any other."""
    hold = engine.hold
    for number in range(SLOTS + 1):
        assert hold.begin(number, 1)
    (first,) = [number for number, slot in hold.sending.items() if slot == 0]

    class Crowd:
        """The crowd's lock; whoever takes it first has been overtaken by the end of another send."""

        def __enter__(self) -> None:
            hold._crowd = threading.Lock()
            hold.end(first)

        def __exit__(self, *_: object) -> None:
            """Let go."""

    hold._crowd = Crowd()  # type: ignore[assignment] # a lock with another in it
    hold.end(SLOTS)
    assert hold._free == [0]
    assert (len(engine.named), engine.slots[UNNAMED]) == (SLOTS - 1, 0)


def test_slot_that_another_takes_first_is_left_to_it(engine: Engine) -> None:
    """Two see one free slot: who is later waits on, and is counted until the next becomes free."""

    class Contended(list[int]):
        """Slots of which the last is taken between the look and the grasp."""

        def pop(self, at: int = -1) -> int:  # type: ignore[override] # as it is used
            """There is none any more."""
            self.clear()
            return super().pop(at)

    hold = engine.hold
    for number in range(SLOTS + 1):
        assert hold.begin(number, 1)
    hold._free = Contended()
    hold.end(0)
    assert engine.slots[UNNAMED] == 1
    assert hold.sending[SLOTS] == -1
    hold._free = [hold_slot for hold_slot in range(0, 2 * SLOTS, 2) if hold_slot not in hold.sending.values()]
    hold.end(1)
    assert engine.slots[UNNAMED] == 0
    assert hold.sending[SLOTS] >= 0


def test_send_that_has_its_slot_or_is_over_gets_none(engine: Engine) -> None:
    """Whoever is still on the list of those that wait, and does not wait any more, is only struck off it."""
    hold = engine.hold
    assert hold.begin(7, 5)
    hold.sending[7], free = 0, len(hold._free)
    hold._unnamed.update({7: 5, 8: 6})
    hold._name()
    assert (hold.sending, hold._unnamed, len(hold._free)) == ({7: 0}, {}, free)


def test_send_that_nobody_announced_is_as_young_as_can_be(engine: Engine) -> None:
    """What is asked for after it has ended began just now."""
    engine.hold.begin(1, 5)
    engine.hold.end(1)
    before = time.monotonic_ns()
    assert before <= engine.hold.since(1) <= time.monotonic_ns()


# -- A forked child --------------------------------------------------------------------------------


def test_child_is_dead_holds_nothing_and_shows_nothing(engine: Engine) -> None:
    """In a forked child no lock waits for a thread of the parent, nothing is sent, and its page is left alone."""
    hold = engine.hold
    for number in range(SLOTS + 2):
        assert hold.begin(number, 1)
    shown, said = list(engine.slots), list(engine.lock.said)
    hold._guard.acquire()  # by a thread that is in the parent alone
    hold._crowd.acquire()
    hold.abandon()
    assert (hold.page, hold.held, hold.sending, hold._unnamed) == (DEAD, False, {}, {})
    assert not hold.begin(1, 1)
    assert not hold.enter()
    assert hold.leave()
    hold.revive()
    assert hold.page is DEAD
    hold._mapped = engine.page  # even if it could send, the parent's slots would not show it
    hold.revive()
    for number in range(SLOTS + 1):
        assert hold.begin(number, 1)
    assert set(hold.sending.values()) == {-1, *range(0, 2 * SLOTS, 2)}
    assert (list(engine.slots), engine.lock.said) == (shown, said)
    assert isinstance(hold._guard, type(threading.Lock()))


def test_child_of_a_crowd_waits_for_nobody(engine: Engine) -> None:
    """A child that was forked in a crowd has none of its own."""
    for number in range(SLOTS + 1):
        assert engine.hold.begin(number, 1)
    engine.hold.abandon()
    assert not engine.hold._waits
