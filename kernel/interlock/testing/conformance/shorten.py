"""The shortest story: what broke a claim is played again with less, as long as it still breaks it.

Steps are left out, many at a time and then one by one; what is left is made plainer: a halt of whatever kind becomes
the plain one, and arguments become the usual ones. Hypothesis could shrink, too, but it shrinks draws, one of which
says how many steps pass before anything ends the trading; a story is shorter, and sooner, if its steps are shrunk.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from interlock.core.values import Side
from interlock.testing.conformance.story import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.testing.conformance.attempt import Attempt, Played

__all__ = ["shortest"]

_PLAIN: Final[dict[str, Any]] = {
    "side": Side.BUY,
    "lots": 1,
    "market": False,
    "level": 0,
    "place": 0,
    "beside": False,
    "how": "is gone",
    "much": "more",
}
_HALTS: Final = {"halt_from_a_thread", "halt_from_outside", "halt_inside_the_strategy", "halt_inside_the_check"}
_FEW: Final = 12
"""Steps of which any two are left out at once."""
_MOST: Final = 2000
"""How often it is played again at the most."""


def shortest(machine: type[Attempt], played: tuple[Played, ...]) -> Broken | None:
    """Find the shortest way to break the claim, beginning with one that does.

    Args:
        machine: that was broken.
        played: its steps.

    Returns:
        What came of the shortest; None if the steps as they are do not break it again.
    """
    best = _play(machine, played)
    if best is None:
        return None
    left = _MOST
    shorter = True
    while shorter and left > 0:
        shorter = False
        for candidate in _less(played):
            left -= 1
            found = _play(machine, candidate)
            if found is not None:
                best, played, shorter = found, candidate, True
                break
            if left <= 0:
                break
    return best


def _play(machine: type[Attempt], played: tuple[Played, ...]) -> Broken | None:
    """Do it all on a fresh engine. None if it breaks nothing, or if a step could not have been chosen."""
    attempt = machine()
    try:
        attempt.begin(0)
        for name, arguments in played:
            step = getattr(attempt, name, None)
            if step is None or not step.when(attempt):
                return None
            step(**arguments)
    except Broken as error:
        return error
    finally:
        late = _end(attempt)
    return late


def _end(attempt: Attempt) -> Broken | None:
    try:
        attempt.teardown()
    except Broken as error:
        return error
    return None


def _less(played: tuple[Played, ...]) -> Iterator[tuple[Played, ...]]:
    """All that is a little less, what is much less first. What is plainer is less, too: it becomes no plainer again."""
    yield from _fewer(played)
    for at, step in enumerate(played):
        for instead in _plainer(*step):
            yield (*played[:at], *instead, *played[at + 1 :])


def _fewer(played: tuple[Played, ...]) -> Iterator[tuple[Played, ...]]:
    size = len(played) // 2
    while size:
        for at in range(len(played) - size, -1, -1):
            yield played[:at] + played[at + size :]
        size //= 2
    if len(played) <= _FEW:  # an order and its execution, say, go together or not at all
        for one, other in combinations(range(len(played)), 2):
            yield tuple(step for at, step in enumerate(played) if at not in {one, other})


def _plainer(name: str, arguments: dict[str, Any]) -> Iterator[tuple[Played, ...]]:
    """What a step may become."""
    if name in _HALTS:
        yield (("tick", {"level": 0}),)
        yield (("halt", {}),)
        yield (("halt", {}), ("tick", {"level": 0}))
    for argument, plain in _PLAIN.items():
        if arguments.get(argument, plain) != plain:
            yield ((name, {**arguments, argument: plain}),)
    if arguments.get("much") == "one":
        yield ((name, {**arguments, "much": "all"}),)
    if arguments.get("lots", 1) > 1:
        yield ((name, {**arguments, "lots": arguments["lots"] - 1}),)
