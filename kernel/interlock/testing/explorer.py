"""Walk every state of a program, and tell two walks apart.

A sampled test can miss a state; this cannot, as long as the states are finite in
number. `explore` goes breadth first, so the path to each state that it remembers is a
shortest one, and it takes states and steps in the order in which they come, so two
walks of one program are equal in everything. At the limit it raises: half a graph
would pass for a whole one.

`difference` compares two graphs, say of a program and of its specification, state for
state and labelled edge for labelled edge. What differs is kept as sets, for
assertions, and is told as a story, for people: how one gets there, what was done, and
what is wrong about it.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeAlias, TypeVar

import attrs

S = TypeVar("S", bound=Hashable)
T = TypeVar("T", bound=Hashable)

Edge: TypeAlias = tuple[S, str, S]
"""One step: the state before, the action's name, the state after."""

_TOLD = 5
"""Differences of one kind that a story tells; the rest it counts."""


class ExplorerError(Exception):
    """There are more states than was allowed, or none to begin with."""


@attrs.frozen(kw_only=True)
class Graph(Generic[S]):
    """States, the steps between them, and where one begins.

    Attributes:
        states: Every state.
        edges: Every step. A step that can be made in two ways is one.
        initial: Where one begins.
    """

    states: frozenset[S]
    edges: frozenset[Edge[S]]
    initial: frozenset[S]

    @classmethod
    def of(cls, initial: Iterable[S], edges: Iterable[Edge[S]]) -> "Graph[S]":
        """Make a graph whose states are those that its steps name."""
        first, steps = frozenset(initial), frozenset(edges)
        ends = {end for before, _, after in steps for end in (before, after)}
        return cls(states=first | ends, edges=steps, initial=first)

    def map(self, view: Callable[[S], T]) -> "Graph[T]":
        """Return this graph as one sees it who sees of each state its view only."""
        views = {state: view(state) for state in self.states}
        return Graph(
            states=frozenset(views.values()),
            edges=frozenset((views[a], name, views[b]) for a, name, b in self.edges),
            initial=frozenset(views[state] for state in self.initial),
        )

    def paths(self) -> dict[S, tuple[str, ...]]:
        """Return the actions of a shortest way to each state that can be reached."""
        following: dict[S, list[tuple[str, S]]] = {}
        for before, name, after in self.edges:
            following.setdefault(before, []).append((name, after))
        paths: dict[S, tuple[str, ...]] = dict.fromkeys(self.initial, ())
        queue = deque(sorted(self.initial, key=repr))
        while queue:
            state = queue.popleft()
            steps = following.get(state, [])
            for name, after in sorted(steps, key=lambda step: (step[0], repr(step[1]))):
                if after not in paths:
                    paths[after] = (*paths[state], name)
                    queue.append(after)
        return paths


@attrs.frozen(kw_only=True)
class Difference(Generic[S]):
    """In what the right graph differs from the left; false if in nothing.

    Attributes:
        missing_states: On the left only.
        extra_states: On the right only.
        missing_edges: On the left only.
        extra_edges: On the right only.
        missing_initial: Initial on the left only.
        extra_initial: Initial on the right only.
        story: All of it, told; empty if nothing differs.
    """

    missing_states: frozenset[S]
    extra_states: frozenset[S]
    missing_edges: frozenset[Edge[S]]
    extra_edges: frozenset[Edge[S]]
    missing_initial: frozenset[S]
    extra_initial: frozenset[S]
    story: str = attrs.field(repr=False, eq=False)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.story)

    def __str__(self) -> str:
        """Return the story."""
        return self.story


def explore(
    initial: Iterable[S],
    successors: Callable[[S], Iterable[tuple[str, S]]],
    *,
    limit: int,
) -> Graph[S]:
    """Find every state that can be reached, breadth first.

    Args:
        initial: The states to begin with.
        successors: The steps out of a state, each an action's name and the state
            after it. It is asked once a state.
        limit: The most states that there may be.

    Returns:
        All of them, and all steps.

    Raises:
        ExplorerError: There are more states than the limit, or none.
    """
    found = dict.fromkeys(initial)
    first = frozenset(found)
    if not first:
        msg = "there is no initial state"
        raise ExplorerError(msg)
    edges: dict[Edge[S], None] = {}
    queue = deque(found)
    while queue:
        if len(found) > limit:
            msg = f"more than {limit} states; {len(queue)} are not looked at yet"
            raise ExplorerError(msg)
        state = queue.popleft()
        for name, after in successors(state):
            edges[state, name, after] = None
            if after not in found:
                found[after] = None
                queue.append(after)
    return Graph(states=frozenset(found), edges=frozenset(edges), initial=first)


def difference(left: Graph[S], right: Graph[S]) -> Difference[S]:
    """Compare two graphs.

    Args:
        left: What should be, such as the specification's.
        right: What is, such as the program's.

    Returns:
        What is missing on the right and what it has besides. Where the story tells of
        a state as pairs (a tuple, or a mapping), it tells an edge by what it changes.
    """
    parts = {
        "missing_initial": left.initial - right.initial,
        "extra_initial": right.initial - left.initial,
        "missing_states": left.states - right.states,
        "extra_states": right.states - left.states,
    }
    missing, extra = left.edges - right.edges, right.edges - left.edges
    lines: list[str] = []
    for part, states in parts.items():
        owner = left if part.startswith("missing") else right
        _tell_states(lines, part.replace("_", " "), states, owner)
    _tell_edges(lines, "missing edges", missing, left)
    _tell_edges(lines, "extra edges", extra, right)
    return Difference(**parts, missing_edges=missing, extra_edges=extra, story="\n".join(lines))


def _tell_states(lines: list[str], what: str, states: frozenset[S], owner: Graph[S]) -> None:
    if not states:
        return
    paths = owner.paths()
    lines.append(f"{what}: {len(states)}")
    nearest = _nearest(states, paths, lambda one: one)
    lines.extend(f"  {_way(paths.get(state))}: {_told(state)}" for state in nearest)


def _tell_edges(lines: list[str], what: str, edges: frozenset[Edge[S]], owner: Graph[S]) -> None:
    if not edges:
        return
    paths = owner.paths()
    counts: dict[str, int] = {}
    for _, name, _ in edges:
        counts[name] = counts.get(name, 0) + 1
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    lines.append(f"{what}: {len(edges)} ({told})")
    for before, name, after in _nearest(edges, paths, lambda edge: edge[0]):
        lines.extend((
            f"  {_way(paths.get(before))}: {name}",
            f"    in {_told(before)}",
            f"    makes {_changes(before, after)}",
        ))  # fmt: skip


def _nearest(things: Iterable[T], paths: Mapping[S, tuple[str, ...]], at: Callable[[T], S]) -> list[T]:
    """Return the few that are reached first."""
    far = max(map(len, paths.values()), default=0) + 1

    def distance(thing: T) -> tuple[int, str]:
        path = paths.get(at(thing))
        return (far if path is None else len(path)), repr(thing)

    return sorted(things, key=distance)[:_TOLD]


def _way(path: tuple[str, ...] | None) -> str:
    if path is None:
        return "from a state that is not reached"
    return f"after {', '.join(path)}" if path else "at the beginning"


def _pairs(state: object) -> dict[object, object] | None:
    """Return a state's variables, if it is made of pairs."""
    if isinstance(state, Mapping):
        return dict(state)
    if isinstance(state, tuple) and state and all(
        isinstance(pair, tuple) and len(pair) == 2  # noqa: PLR2004 - a name and a value
        for pair in state
    ):  # fmt: skip
        return dict(state)
    return None


def _told(state: object) -> str:
    """Return a state in one line, functions written as their pairs."""
    pairs = _pairs(state)
    if pairs is None:
        return str(state)
    inner = (f"{name}={_told(value)}" for name, value in pairs.items())
    return f"[{' '.join(inner)}]"


def _changes(before: object, after: object) -> str:
    """Return what a step changed."""
    old, new = _pairs(before), _pairs(after)
    if old is None or new is None or old.keys() != new.keys():
        return _told(after)
    changed = [f"{name}={_told(value)}" for name, value in new.items() if value != old[name]]
    return " ".join(changed) or "no difference"
