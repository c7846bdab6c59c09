"""Runs as traces: of an engine, step by step, or of a kernel's journal; for TLC, or to be followed through a graph.

A trace is a list of `Step`. It comes from

- `Recorder`, in the engine: each step is a line of NDJSON, written with one ``write`` before anything else happens, so
  that what was recorded survives SIGKILL; with a reading of the monotonic clock before the act and one after it,
  between which it happened;
- `of_journal`: the records of a journal, as the actions of ``specs/kernel/Kernel.tla``.

It goes to a model checker as a module of data (`to_tla`), or through a graph that `explore` or TLC has found
(`follow`). A trace that is accepted shows that this run was right, and nothing of the next one; see what is published
about that in docs/assurance.md.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from interlock.testing.explorer import Graph
    from interlock.testing.tlc import State

__all__ = ["SILENT", "Followed", "Recorder", "Step", "about", "follow", "in_kernel", "of_journal", "read", "to_tla"]

S = TypeVar("S", bound="Hashable")


@attrs.frozen(kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        actions: what it may have been, by the names of a specification; usually one.
        order: the order that it is about, or empty.
        facts: what else is known of it.
        sure: whether it must show in a graph; if not, it may also have changed nothing.
        lo_ns: monotonic, before it happened; 0 if that is not known.
        hi_ns: monotonic, after it.
        strand: what took it: within one strand the order of steps is known.
    """

    actions: tuple[str, ...]
    order: str = ""
    facts: tuple[tuple[str, str | int], ...] = ()
    sure: bool = True
    lo_ns: int = 0
    hi_ns: int = 0
    strand: str = ""

    def __str__(self) -> str:
        """For people."""
        facts = ", ".join(f"{name} {value}" for name, value in self.facts)
        return f"{' or '.join(self.actions)}{f' of {self.order}' if self.order else ''}{f' ({facts})' if facts else ''}"


# -- From an engine -------------------------------------------------------------------------------------------


class Recorder:
    """Records the steps of one process. Any thread may; each is a strand of its own.

    Args:
        path: of the file, to which is appended; a process of its own has a file of its own.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @contextmanager
    def step(self, action: str, *, order: str = "", **facts: str | int) -> Iterator[None]:
        """Record what is done inside, when it is over. What raises has not happened."""
        lo_ns = time.monotonic_ns()
        yield
        line = {"action": action, "order": order, "lo": lo_ns, "hi": time.monotonic_ns(), "facts": facts}
        strand = f"{os.getpid()}.{threading.get_native_id()}"
        os.write(self._file, orjson.dumps({**line, "strand": strand}) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(paths: Iterable[Path]) -> list[Step]:
    """The steps that recorders have written, in the order in which they ended. A line that was cut off is left out."""
    lines = [line for path in paths for line in path.read_bytes().split(b"\n")[:-1]]
    steps = [_step(orjson.loads(line)) for line in lines]
    return sorted(steps, key=lambda step: step.hi_ns)


def _step(line: Mapping[str, Any]) -> Step:
    return Step(
        actions=(line["action"],),
        order=line["order"],
        facts=tuple(sorted(line["facts"].items())),
        lo_ns=line["lo"],
        hi_ns=line["hi"],
        strand=line["strand"],
    )


# -- From a journal -------------------------------------------------------------------------------------------

_KINDS: Final[Mapping[str, tuple[tuple[str, ...], bool]]] = {
    "run": (("Restart",), True),
    "start": (("Start",), True),
    "drain": (("CloseGate",), False),
    "stop": (("Stop",), True),
    "halt": (("Halt", "Observe"), True),
    "reset": (("Adopt",), True),
    "permit": (("Grant",), True),
    "sent": (("End",), True),
    "unknown": (("Fail",), True),
    "void": (("Void",), False),
    "cancel": (("Cancel",), False),
    "refuse": (("Refuse",), False),
    "accept": (("Reconcile",), False),
    "cancelled": (("Reconcile",), False),
    "reject": (("Reconcile",), False),
    "fill": (("Reconcile",), False),
}
"""Which action of ``Kernel.tla`` a record tells, and whether it always is one. A halt that was first seen is an
Observe; a void that came with its halt is a part of that; the venue's word about an order that is not in
doubt is no action."""

SILENT: Final = frozenset({"Begin", "Crash", "Hold", "Lose", "Reset", "Trip"})
"""Actions of ``Kernel.tla`` of which a journal has no record: what others do, and what is told by the next record."""


def of_journal(records: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The steps that a journal tells, as actions of ``specs/kernel/Kernel.tla``.

    Args:
        records: of one journal, decoded, in their order.
    """
    ids: dict[int, str] = {}
    steps: list[Step] = []
    booted = 0
    for record in records:
        inner = record
        while inner["kind"] == "salvage":
            inner = inner["record"]
        if inner["kind"] == "permit":
            ids[inner["seq"]] = inner["id"]
        known = _KINDS.get(inner["kind"])
        if known is None or not inner.get("first", True):  # a halt that came over another one changes nothing
            continue
        order = inner.get("id") or ids.get(inner.get("permit", -1), "")
        facts = {"seq": record["seq"]} | ({"epoch": inner["epoch"]} if "epoch" in inner else {})
        step = Step(actions=known[0], order=order, facts=tuple(facts.items()), sure=known[1])
        if inner is not record:  # of a life that was over when this one began, whose record of that is the earlier one
            steps.insert(booted, step)
            booted += 1
            continue
        if inner["kind"] == "run":
            booted = len(steps)
        steps.append(step)
    return steps


def about(steps: Iterable[Step], order: str) -> list[Step]:
    """The steps of one order, and those that are about none: each order has the whole life of the kernel around it."""
    return [step for step in steps if step.order in {"", order}]


def in_kernel(state: State, step: Step) -> bool:
    """Whether a state of ``Kernel.tla`` can be the one after a step: its epoch is the record's."""
    facts, variables = dict(step.facts), dict(state)
    return "epoch" not in facts or "Observe" in step.actions or variables["epoch"] == facts["epoch"]


# -- Through a graph --------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Followed(Generic[S]):
    """How far a trace went through a graph; true if to its end.

    Attributes:
        steps: how many could be taken.
        stuck: the one that could not, or None.
        states: where the run may have been then.
    """

    steps: int
    stuck: Step | None
    states: frozenset[S]

    def __bool__(self) -> bool:
        """Whether the run is one of the graph's."""
        return self.stuck is None


def follow(
    graph: Graph[S],
    steps: Sequence[Step],
    *,
    silent: frozenset[str] = frozenset(),
    fits: Callable[[S, Step], bool] = lambda *_: True,
) -> Followed[S]:
    """Follow a trace through a graph, on all ways that it can have gone.

    Args:
        graph: what is allowed.
        steps: the trace.
        silent: names of edges that leave no step behind.
        fits: whether a state can be the one after a step.

    Returns:
        How far it went. An empty trace goes everywhere: it is the caller's to see that there is something in it.
    """
    edges: dict[S, dict[str, set[S]]] = {}
    for before, name, end in graph.edges:
        edges.setdefault(before, {}).setdefault(name, set()).add(end)

    def rest(states: frozenset[S]) -> frozenset[S]:
        """All that silent steps lead to."""
        found, new = set(states), list(states)
        while new:
            outgoing = edges.get(new.pop(), {})
            for name in silent & outgoing.keys():
                new += outgoing[name] - found
                found |= outgoing[name]
        return frozenset(found)

    states = rest(graph.initial)
    for number, step in enumerate(steps):
        after = {
            end
            for state in states
            for action in step.actions
            for end in edges.get(state, {}).get(action, ())
            if fits(end, step)
        }
        if not step.sure:
            after |= {state for state in states if fits(state, step)}
        if not after:
            return Followed(steps=number, stuck=step, states=states)
        states = rest(frozenset(after))
    return Followed(steps=len(steps), stuck=None, states=states)


# -- For TLC ----------------------------------------------------------------------------------------------------


def to_tla(name: str, **definitions: object) -> str:
    """A module of data for TLC.

    Args:
        name: of the module.
        definitions: its definitions: numbers, booleans, texts, sequences, and records (mappings) of such.

    Raises:
        TypeError: there is something else in it.
        ValueError: a text that TLC could not read.
    """
    body = "\n".join(f"{what} == {_tla(value)}" for what, value in definitions.items())
    return f"---- MODULE {name} ----\nEXTENDS Naturals, Sequences\n{body}\n====\n"


def _tla(value: object) -> str:
    match value:
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case str():
            if not value.isascii() or not value.isprintable() or '"' in value or "\\" in value:
                message = f"{value!r}: no text for TLC"
                raise ValueError(message)
            return f'"{value}"'
        case dict():
            return "[" + ", ".join(f"{key} |-> {_tla(one)}" for key, one in value.items()) + "]"
        case list() | tuple():
            return "<<" + ",\n".join(map(_tla, value)) + ">>"
        case _:
            message = f"{type(value).__name__}: nothing that can be data for TLC"
            raise TypeError(message)
