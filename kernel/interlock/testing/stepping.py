"""Threads that take one step at a time: event loops that stop where they would wait, and a walk over what they do.

A `Stepper` is an asyncio loop with a clock of its own. Where a loop would wait for a file or for time to pass, it parks
its thread instead, until whoever drives it says what happens next: an answer comes, or time passes. So a program in
several threads takes its steps in any order that one likes, and twice the same if one likes the same twice.

`tour` takes every step that there is from every node that it finds. What is walked has no copy and no way back, so it
is begun anew as often as nothing is left to be tried from where one is.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Hashable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from interlock.testing.explorer import ExplorerError, Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Died", "Stepper", "Walked", "tour"]

N = TypeVar("N", bound=Hashable)
N_co = TypeVar("N_co", bound=Hashable, covariant=True)
_WAIT_S: Final = 60.0
_SURPRISES: Final = 100


class Died(BaseException):
    """The process that this thread plays a part of is dead."""


class _Turnstile(selectors.DefaultSelector):
    """Lets a loop through that has something to do, and keeps one that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.parked = threading.Event()
        self.dead = False
        self.wait_s: float | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        ready: list[Any] = super().select(0)
        if ready or self.dead or (timeout is not None and timeout <= 0):
            return ready
        self.wait_s = timeout
        self.parked.set()
        command = self.commands.get()
        if command is None:
            self.dead = True
            raise Died
        command()
        return []


class Stepper(asyncio.SelectorEventLoop):
    """An event loop that is driven from outside.

    Attributes:
        now_s: its clock.
        handed_out: what it would have another thread do, with the future that waits for it.
    """

    def __init__(self) -> None:
        self._turnstile = _Turnstile()
        self.now_s = 0.0
        self.handed_out: list[tuple[Callable[[], object], asyncio.Future[Any]]] = []
        super().__init__(self._turnstile)

    def time(self) -> float:
        """Its clock, in seconds."""
        return self.now_s

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: object) -> asyncio.Future[Any]:
        """Have it done when `hand_back` is called."""
        del executor
        waiting: asyncio.Future[Any] = self.create_future()
        self.handed_out.append((lambda: func(*args), waiting))
        return waiting

    # -- From outside ----------------------------------------------------------------------------

    @property
    def parked(self) -> bool:
        """Whether it waits for `step`."""
        return self._turnstile.parked.is_set()

    def wait_parked(self) -> None:
        """Wait until it is parked, or over: see `end`.

        Raises:
            TimeoutError: it is not.
        """
        if not self._turnstile.parked.wait(_WAIT_S):
            message = "a thread did not come back"
            raise TimeoutError(message)

    def end(self) -> None:
        """To be called by its thread when that is over: nobody has to wait for it any more."""
        self._turnstile.parked.set()

    def step(self, command: Callable[[], object]) -> None:
        """Have something happen on it, and wait until it would wait again."""
        self._turnstile.parked.clear()
        self._turnstile.commands.put(command)
        self.wait_parked()

    def hand_back(self) -> None:
        """On the loop: do what was handed out, and give back what it returned."""
        for act, waiting in self.handed_out:
            if not waiting.done():
                waiting.set_result(act())
        self.handed_out.clear()

    def turn(self) -> None:
        """On the loop: let time pass until the next timer."""
        self.now_s += self.next_s or 0.0

    @property
    def next_s(self) -> float | None:
        """How long it is until the next timer; None if there is none."""
        return self._turnstile.wait_s

    def die(self) -> None:
        """Let its thread end where it is, as far as it can."""
        self._turnstile.commands.put(None)


class Walked(Protocol[N_co]):
    """What `tour` drives."""

    def node(self) -> N_co:
        """Where it stands."""

    def attempts(self) -> Sequence[str]:
        """What can be tried here, always in the same order."""

    def attempt(self, what: str) -> str | None:
        """Try it. Returns the name of the step that it was, None if it was none."""

    def close(self) -> None:
        """End it."""


def tour(
    begin: Callable[[], Walked[N]], *, limit: int, until: Callable[[N, str, N], bool] = lambda *_: False
) -> Graph[N]:
    """Try everything in every node.

    Args:
        begin: makes one that stands at the beginning, always at the same.
        limit: the most nodes.
        until: no more is tried once a step was like this.

    Returns:
        All nodes and all steps. What was tried and was no step is one with the name "".

    Raises:
        ExplorerError: there are more nodes than the limit, or what is tried comes out differently from time to time.
    """
    found = _Found[N](limit)
    surprises = 0
    while True:
        walked = begin()
        try:
            place = found.place(walked)
            if place:
                message = f"it does not always begin alike: {found.nodes[place]} and {found.nodes[0]}"
                raise ExplorerError(message)
            way = found.way(place)
            if way is None:
                return found.graph()
            while way is not None:
                for what in way:
                    name = walked.attempt(what)
                    before, place = place, found.place(walked)
                    found.edges.add((before, name or "", place))
                    if until(found.nodes[before], name or "", found.nodes[place]):
                        return found.graph()
                    if found.after[before].setdefault(what, place) != place:
                        surprises += 1
                        break
                way = found.way(place)
        finally:
            walked.close()
        if surprises > _SURPRISES:
            message = f"{surprises} times something came out differently: the nodes do not tell all"
            raise ExplorerError(message)


class _Found(Generic[N]):
    """What a tour knows by now; nodes have numbers, as they may be large."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.numbers: dict[N, int] = {}
        self.nodes: list[N] = []
        self.untried: list[deque[str]] = []
        self.after: list[dict[str, int]] = []
        self.edges: set[tuple[int, str, int]] = set()

    def place(self, walked: Walked[N]) -> int:
        """The number of the node where it stands."""
        node = walked.node()
        number = self.numbers.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            if number == self.limit:
                message = f"more than {self.limit} nodes"
                raise ExplorerError(message)
            self.nodes.append(node)
            self.untried.append(deque(walked.attempts()))
            self.after.append({})
        return number

    def way(self, place: int) -> list[str] | None:
        """The shortest way to something that was not tried yet, with that as its last step."""
        came: dict[int, tuple[int, str] | None] = {place: None}
        queue = deque((place,))
        while queue:
            at = queue.popleft()
            if self.untried[at]:
                way = [self.untried[at].popleft()]
                while (step := came[at]) is not None:
                    at = step[0]
                    way.append(step[1])
                return way[::-1]
            for what, reached in self.after[at].items():
                if reached not in came:
                    came[reached] = (at, what)
                    queue.append(reached)
        return None

    def graph(self) -> Graph[N]:
        """All of it."""
        nodes = self.nodes
        return Graph(
            states=frozenset(nodes),
            edges=frozenset((nodes[before], name, nodes[after]) for before, name, after in self.edges),
            initial=frozenset(nodes[:1]),
        )
