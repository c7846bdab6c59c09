"""The order ids that the runs remember, against a memory that forgets nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.verify import runs
from interlock.verify.runs import Numbers, Orders

IDS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), IDS),
        st.tuples(st.just("void"), IDS),
        st.tuples(st.just("run"), st.integers(0, 6)),
        st.tuples(st.just("join"), st.lists(IDS, unique=True, max_size=4)),
    ),
    max_size=60,
)


class Plain:
    """Remembers the place of the last permit of each id, and which ids no run remembered any more."""

    def __init__(self) -> None:
        self.count = self.reach = 0
        self.last: dict[str, int] = {}

    def run(self, remember: int) -> None:
        """Whatever the runs so far have forgotten is gone for good."""
        if remember > self.reach:
            self.last = {order: place for order, place in self.last.items() if place >= self.count - self.reach}
            self.reach = remember

    def known(self, order: str, remember: int) -> bool:
        """Whether so few permits lie between that a run that remembers so many must know."""
        return order in self.last and self.count - self.last[order] <= remember

    def grant(self, order: str) -> None:
        """Take note of a permit."""
        self.last[order] = self.count
        self.count += 1


@given(STEPS)
def test_what_is_known_is_what_a_plain_memory_knows(steps: list[tuple[str, object]]) -> None:
    """However permits, voids, runs and whole segments follow each other, an id is known exactly if it must be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_GENERATION_MIN", 1)
        orders, plain, remember = Orders(), Plain(), 0
        for step, value in steps:
            if step == "run" and isinstance(value, int):
                remember = value
                orders.remember(value)
                plain.run(value)
            elif step == "grant" and isinstance(value, str):
                assert orders.grant(value, remember) is plain.known(value, remember)
                plain.grant(value)
            elif step == "void" and isinstance(value, str):
                orders.void(value)
                plain.last.pop(value, None)
            elif isinstance(value, list):
                ids = {order: place for place, order in enumerate(value)}
                known = False
                for place, order in enumerate(value):
                    known |= order in plain.last and plain.count + place - plain.last[order] <= remember
                assert orders.new(ids, remember) is (not known)
                orders.join(ids, (), len(value))
                for order in value:
                    plain.grant(order)


@given(st.sets(st.integers(0, 5000)), st.sets(st.integers(0, 5000)), st.integers(0, 5000))
def test_numbers_are_those_that_were_put_in(early: set[int], late: set[int], start: int) -> None:
    """A set of numbers, joined with one that begins later, has the numbers of both and no other."""
    later = {number for number in late if number >= start}
    numbers, more = Numbers(), Numbers(start)
    for number in sorted(early):
        numbers.add(number)
    for number in sorted(later):
        more.add(number)
    assert {number for number in range(-1, 5100) if number in more} == later
    numbers.join(more)
    assert {number for number in range(-1, 9000) if number in numbers} == early | later
