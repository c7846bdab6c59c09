"""The graph of the real core is the one that TLC draws, state for state and edge for edge.

The same comparison is then shown able to fail: each seeded bug is a core with one method
changed, and it shows as exactly the wrong steps that it makes, no more and no less. These
walks are over one order, which is enough to see every bug, and takes no time.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from interlock.core.errors import MisuseError
from interlock.core.ledger import Status, Working
from interlock.core.limits import Limits
from interlock.core.machine import Halted, refusal
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import Reason
from interlock.core.values import PASS, Cancel, HaltCause, Order, Verdict
from interlock.testing import kernel_model, tlc
from interlock.testing.explorer import (
    ExplorerError,
    Graph,
    difference,
    explore,
)

KERNEL = Path(__file__).resolve().parents[2] / "specs" / "kernel" / "Kernel.tla"
TIMEOUT_S = 120.0
PINNED = json.loads((KERNEL.parents[1] / "manifest.json").read_text())["modules"]["kernel/Kernel.tla"][
    "configurations"
][0]

Edges: TypeAlias = frozenset[tlc.Edge]


def specified(directory: Path, cfg_text: str) -> Graph[tlc.State]:
    """Return the graph that TLC draws of Kernel.tla under a configuration."""
    cfg, dump = directory / "graph.cfg", directory / "graph.dot"
    cfg.write_text(cfg_text)
    result = tlc.run(KERNEL, cfg, dump=dump, timeout_s=TIMEOUT_S)
    assert result.exit_code == 0, result.output
    return Graph.of(*tlc.parse_dot(dump))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Graph[tlc.State]:
    """Return TLC's graph of Kernel.cfg."""
    text = KERNEL.with_suffix(".cfg").read_text()
    return specified(tmp_path_factory.mktemp("spec"), text)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Graph[tlc.State]:
    """Return TLC's graph of Kernel.cfg with one order in place of two."""
    text = KERNEL.with_suffix(".cfg").read_text()
    assert text.count('{"a", "b"}') == 1
    return specified(tmp_path_factory.mktemp("small"), text.replace('"a", "b"', '"a"'))


@pytest.fixture(scope="module")
def nodes() -> Graph[kernel_model.Node]:
    """Return every node of the real core."""
    return kernel_model.walk()


# ---------------------------------------------------------------------------
# The tie


def test_core_and_spec_have_the_same_graph(spec: Graph[tlc.State], nodes: Graph[kernel_model.Node]) -> None:
    """Core and specification have the same states, steps and initial state."""
    found = difference(spec, nodes.map(kernel_model.view))
    assert not found, f"\n{found}"


def test_graph_has_its_pinned_size(
    nodes: Graph[kernel_model.Node], record_property: Callable[[str, object], None]
) -> None:
    """The core's graph has as many states, and of each action steps, as the manifest pins."""
    graph = nodes.map(kernel_model.view)
    record_property("edges", len(graph.edges))
    assert len(graph.states) == PINNED["distinct"] == 1_792
    assert len(graph.edges) == sum(PINNED["edges"].values()) == 11_564
    assert Counter(name for _, name, _ in graph.edges) == PINNED["edges"]


def test_order_that_is_done_is_done(nodes: Graph[kernel_model.Node]) -> None:
    """Whether the core still counts an order as working makes no difference to any step."""
    steps: dict[kernel_model.Node, set[tuple[str, tlc.State]]] = {}
    for before, name, after in nodes.edges:
        steps.setdefault(before, set()).add((name, kernel_model.view(after)))
    alike: dict[tlc.State, set[frozenset[tuple[str, tlc.State]]]] = {}
    for node in nodes.states:
        alike.setdefault(kernel_model.view(node), set()).add(frozenset(steps[node]))
    assert len(nodes.states) > len(alike)
    assert {state for state, kinds in alike.items() if len(kinds) > 1} == set()


def test_one_order_is_tied_too(small: Graph[tlc.State]) -> None:
    """With one order the graphs are equal as well, so the seeded bugs differ by the bug alone."""
    found = difference(small, kernel_model.graph(orders=("a",)))
    assert not found, f"\n{found}"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_three_orders_and_epochs_are_tied_too(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """With three orders and three epochs, as in Kernel3.cfg, the graphs are equal as well."""
    large = specified(tmp_path, KERNEL.with_name("Kernel3.cfg").read_text())
    found = difference(large, kernel_model.graph(orders=("a", "b", "c"), max_epoch=3, limit=100_000))
    assert not found, f"\n{found}"
    record_property("edges", len(large.edges))
    assert (len(large.states), len(large.edges)) == (21_858, 155_342)


# ---------------------------------------------------------------------------
# Seeded bugs


def read(state: tlc.State) -> dict[str, Any]:
    """Return a state of one order by its variables, what is said of the order by itself."""
    return {name: dict(value)["a"] if isinstance(value, tuple) else value for name, value in state}


def changed(state: tlc.State, **changes: tlc.Value) -> tlc.State:
    """Return a state with some variables changed, the order's given by themselves."""
    return tuple(
        (
            name,
            value if name not in changes else (("a", changes[name]),) if isinstance(value, tuple) else changes[name],
        )
        for name, value in state
    )


def steps(small: Graph[tlc.State], *names: str) -> Iterator[tlc.Edge]:
    """Return the specification's steps of these names."""
    return (edge for edge in small.edges if edge[1] in names)


class BeginSkipsTheLatch(Core):
    """The last look before a send is left out."""

    def begin(self, working: Working, latch: int) -> bool:
        """Take the latch for armed."""
        del latch
        return super().begin(working, ARMED)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Every Void is a Begin."""
        missing = frozenset(steps(small, "Void"))
        extra = {(s, "Begin", changed(s, order="sending", sends=1)) for s, _, _ in missing}
        return missing, frozenset(extra)


class BeginTakesAPermitTwice(Core):
    """A permit that was used is as good as new."""

    def begin(self, working: Working, latch: int) -> bool:
        """Put the permit back before it is used."""
        if working.status is Status.SENDING and self.mode is Mode.RUNNING:
            working.status = Status.GRANTED
        return super().begin(working, latch)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """An order in flight begins again, or is taken back as if it were not."""
        extra = set()
        for s in small.states:
            v = read(s)
            if v["order"] == "sending" and v["mode"] == "RUNNING":
                if v["latch"] == "ARMED":
                    extra.add((s, "Begin", changed(s, sends=2)))
                else:
                    extra.add((s, "Void", halted(s, order="held", permitEpoch=0)))
        return frozenset(), frozenset(extra)


def halted(state: tlc.State, **changes: tlc.Value) -> tlc.State:
    """Return a state with the mode HALTED, the gate closed, and these changes."""
    return changed(state, mode="HALTED", gate=False, **changes)


class HaltKeepsPermits(Core):
    """Going into HALTED takes no permit back."""

    def halt(self, cause: HaltCause) -> tuple[Working, ...]:
        """Change the mode, and nothing else."""
        self.mode = Mode.HALTED
        self.gate_open = False
        self.notices.append(Halted(cause=cause, first=True, voided=()))
        return ()

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Whatever halts leaves the permit granted; and a begin that says no is no Void."""
        missing, extra = set(), set()
        for s, name, t in small.edges:
            if read(s)["order"] == "granted" and read(t)["order"] == "held":
                missing.add((s, name, t))
                after = halted(s, latch=read(t)["latch"], fenced=read(t)["fenced"])
                extra.add((s, "Observe" if name == "Void" else name, after))
        return frozenset(missing), frozenset(extra)


class HaltLeavesTheGateOpen(Core):
    """Going into HALTED does not close the gate."""

    def halt(self, cause: HaltCause) -> tuple[Working, ...]:
        """Open it again."""
        was_open = self.gate_open
        voided = super().halt(cause)
        self.gate_open = was_open
        return voided

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Whatever halts from an open gate leaves it open."""
        missing, extra = set(), set()
        for s, name, t in small.edges:
            if read(s)["gate"] and read(t)["mode"] == "HALTED":
                missing.add((s, name, t))
                extra.add((s, name, changed(t, gate=True)))
        return frozenset(missing), frozenset(extra)


class AdoptStarts(Core):
    """To notice a reset is to run again."""

    def adopt(self, latch: int, latch_epoch: int) -> bool:
        """Open the gate at once."""
        adopted = super().adopt(latch, latch_epoch)
        if adopted:
            self.mode = Mode.RUNNING
            self.gate_open = True
        return adopted

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Every Adopt ends in RUNNING."""
        missing = frozenset(steps(small, "Adopt"))
        extra = {(s, n, changed(t, mode="RUNNING", gate=True)) for s, n, t in missing}
        return missing, frozenset(extra)


class RestartForgets(Core):
    """A restart comes up IDLE whatever the latch says."""

    def __init__(self, limits: Limits, epoch: int, mode: Mode = Mode.IDLE) -> None:
        """Do not listen to the mode."""
        del mode
        super().__init__(limits, epoch, Mode.IDLE)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Every Restart into HALTED is one into IDLE."""
        missing = {e for e in steps(small, "Restart") if read(e[2])["mode"] == "HALTED"}
        extra = {(s, name, changed(t, mode="IDLE")) for s, name, t in missing}
        return frozenset(missing), frozenset(extra)


class DecideIgnoresTheGate(Core):
    """A drain does not keep orders out."""

    def decide(self, order: Order, latch: int, mono_ns: int, number: int) -> Working | Verdict:
        """Open the gate for one order."""
        was_open, self.gate_open = self.gate_open, self.mode is Mode.RUNNING
        decided = super().decide(order, latch, mono_ns, number)
        if self.mode is Mode.RUNNING:
            self.gate_open = was_open
        return decided

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Orders are granted in RUNNING while the gate is closed."""
        extra = set()
        for s in small.states:
            v = read(s)
            draining = (v["mode"], v["gate"], v["latch"]) == ("RUNNING", False, "ARMED")
            if draining and v["order"] in {"new", "held"}:
                t = changed(s, order="granted", permitEpoch=v["epoch"])
                extra.add((s, "Grant", t))
        return frozenset(), frozenset(extra)


class DecideIgnoresTheLatch(Core):
    """Gate 2 trusts the mode."""

    def decide(self, order: Order, latch: int, mono_ns: int, number: int) -> Working | Verdict:
        """Take the latch for armed."""
        del latch
        return super().decide(order, ARMED, mono_ns, number)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Orders are granted under a latch that is not armed, and refusals do not see it."""
        missing = {(s, n, t) for s, n, t in steps(small, "Refuse") if s != t}
        extra = {(s, "Refuse", s) for s, _, _ in missing}
        for s, _, _ in missing:
            v = read(s)
            if v["gate"] and v["order"] in {"new", "held"}:
                t = changed(s, order="granted", permitEpoch=v["epoch"])
                extra.add((s, "Grant", t))
        return frozenset(missing), frozenset(extra)


class DecideTakesADuplicate(Core):
    """An order id is free again once the order is done."""

    def decide(self, order: Order, latch: int, mono_ns: int, number: int) -> Working | Verdict:
        """Forget what is done."""
        known = self.working.get(order.client_order_id)
        done = known is None or known.status is Status.DONE
        if done and latch == ARMED and self.gate_open and order.quantity == 1:
            self.working.pop(order.client_order_id, None)
            self.ids.forget(order.client_order_id)
        return super().decide(order, latch, mono_ns, number)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """An order that is done is granted again."""
        extra = set()
        for s in small.states:
            v = read(s)
            if (v["gate"], v["latch"], v["order"]) == (True, "ARMED", "done"):
                t = changed(s, order="granted", permitEpoch=v["epoch"])
                extra.add((s, "Grant", t))
        return frozenset(), frozenset(extra)


class CancelNeedsRunning(Core):
    """A cancel is refused when HALTED."""

    def cancel(self, cancel: Cancel, mono_ns: int) -> None:
        """Refuse it."""
        if self.mode is Mode.HALTED:
            raise MisuseError
        super().cancel(cancel, mono_ns)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Every Cancel in HALTED is gone."""
        missing = {e for e in steps(small, "Cancel") if read(e[0])["mode"] == "HALTED"}
        return frozenset(missing), frozenset()


class StartIgnoresTheLatch(Core):
    """A start does not read the latch."""

    def start(self, latch: int, latch_epoch: int, mono_ns: int, session: str | None = None) -> Verdict:
        """Take the latch for armed."""
        del latch
        return super().start(ARMED, latch_epoch, mono_ns, session)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """An IDLE engine starts under a latch that is not armed."""
        extra = set()
        for s in small.states:
            v = read(s)
            current = v["epoch"] == v["latchEpoch"]
            if v["mode"] == "IDLE" and v["latch"] != "ARMED" and current:
                t = changed(s, mode="RUNNING", gate=True, fenced=False)
                extra.add((s, "Start", t))
        return frozenset(), frozenset(extra)


class StartInAnOldEpoch(Core):
    """A start does not compare its epoch with the latch's."""

    def start(self, latch: int, latch_epoch: int, mono_ns: int, session: str | None = None) -> Verdict:
        """Take the latch's epoch for ours."""
        del latch_epoch
        return super().start(latch, self.epoch, mono_ns, session)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """An IDLE engine starts in the epoch before the reset."""
        extra = set()
        for s in small.states:
            v = read(s)
            old = v["epoch"] != v["latchEpoch"]
            if (v["mode"], v["latch"]) == ("IDLE", "ARMED") and old:
                t = changed(s, mode="RUNNING", gate=True, fenced=False)
                extra.add((s, "Start", t))
        return frozenset(), frozenset(extra)


class StopDoesNotDrain(Core):
    """A stop does not look whether orders are on their way."""

    def stop(self, latch: int) -> Verdict:
        """Look at latch, mode and gate only."""
        if latch != ARMED or self.mode is not Mode.RUNNING or self.gate_open:
            return super().stop(latch)
        self.mode = Mode.IDLE
        return PASS

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """A drained gate goes to IDLE with an order granted or being sent."""
        extra = set()
        for s in small.states:
            v = read(s)
            draining = (v["mode"], v["gate"], v["latch"]) == ("RUNNING", False, "ARMED")
            if draining and v["order"] in {"granted", "sending"}:
                extra.add((s, "Stop", changed(s, mode="IDLE")))
        return frozenset(), frozenset(extra)


class FailRetries(Core):
    """A send that raised is put back to be sent again."""

    def fail(self, working: Working) -> None:
        """Take it for an order that was not sent."""
        super().fail(working)
        self._void(working)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """Every Fail leaves an order that nobody knows of."""
        missing = frozenset(steps(small, "Fail"))
        extra = {(s, name, changed(t, order="new")) for s, name, t in missing}
        return missing, frozenset(extra)


class IdleDoesNotLook(Core):
    """An idle engine does not look at the latch."""

    def observe(self, latch: int) -> None:
        """Look in RUNNING only."""
        if self.mode is Mode.RUNNING:
            super().observe(latch)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """No Observe and no Refuse leaves IDLE."""
        missing = {
            (s, name, t) for s, name, t in steps(small, "Observe", "Refuse") if read(s)["mode"] == "IDLE" and s != t
        }
        extra = {(s, name, s) for s, name, _ in missing if name == "Refuse"}
        return frozenset(missing), frozenset(extra)


class RefusalDoesNotLook(Core):
    """A refusal that has read a latch which is not armed leaves it at that."""

    def shut(self, latch: int) -> Verdict:
        """Refuse, and see nothing."""
        del latch
        return refusal(Reason.HALTED)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """No Refuse changes anything."""
        missing = {(s, name, t) for s, name, t in steps(small, "Refuse") if s != t}
        extra = {(s, name, s) for s, name, _ in missing}
        return frozenset(missing), frozenset(extra)


class RefusedStopClosesTheGate(Core):
    """A stop that is refused leaves something behind."""

    def stop(self, latch: int) -> Verdict:
        """Close the gate first, then look."""
        self.gate_open = False
        return super().stop(latch)

    @staticmethod
    def wrong(small: Graph[tlc.State]) -> tuple[Edges, Edges]:
        """What a refused stop left behind shows as an Observe that there is not."""
        extra = set()
        for s in small.states:
            v = read(s)
            if v["gate"] and v["latch"] == "ARMED":
                name, mode = ("Observe", "RUNNING")
                if v["order"] not in {"granted", "sending"}:
                    name, mode = ("Stop", "IDLE")
                extra.add((s, name, changed(s, mode=mode, gate=False)))
        return frozenset(), frozenset(extra)


BUGS = [
    BeginSkipsTheLatch, BeginTakesAPermitTwice, HaltKeepsPermits, HaltLeavesTheGateOpen,
    AdoptStarts, RestartForgets, DecideIgnoresTheGate, DecideIgnoresTheLatch,
    DecideTakesADuplicate, CancelNeedsRunning, StartIgnoresTheLatch, StartInAnOldEpoch,
    StopDoesNotDrain, FailRetries, IdleDoesNotLook, RefusalDoesNotLook,
    RefusedStopClosesTheGate,
]  # fmt: skip
Wrong: TypeAlias = Callable[[Graph[tlc.State]], tuple[Edges, Edges]]


@pytest.mark.parametrize("bug", BUGS)
def test_seeded_bug_shows_as_its_wrong_edges(small: Graph[tlc.State], bug: type[Core]) -> None:
    """A core with one method changed has exactly the wrong steps that the change makes."""
    walked = kernel_model.graph(orders=("a",), core=bug, within=small.states)
    wrong: Wrong = bug.wrong  # type: ignore[attr-defined] # each bug has one
    missing, extra = wrong(small)
    assert missing or extra
    told = difference(small, walked)
    reached = walked.paths()  # a bug may cut off what lies behind it: judge what is reached
    lacking = {edge for edge in told.missing_edges if edge[0] in reached}
    assert lacking == {edge for edge in missing if edge[0] in reached}, f"\n{told}"
    assert told.extra_edges == {edge for edge in extra if edge[0] in reached}, f"\n{told}"
    assert any(edge[0] in reached for edge in missing | extra)


def test_story_tells_the_way_to_the_bug(small: Graph[tlc.State]) -> None:
    """The story of a leak says how one gets there, what was done and what it made."""
    walked = kernel_model.graph(orders=("a",), core=BeginSkipsTheLatch, within=small.states)
    story = str(difference(small, walked))
    assert "after Start, Grant, Trip: Begin\n" in story
    assert "makes order=[a=sending] sends=[a=1]\n" in story
    assert "Void" in story.split("extra edges", maxsplit=1)[0]


# ---------------------------------------------------------------------------
# The explorer


def countdown(state: int) -> Iterator[tuple[str, int]]:
    """Return the steps of a toy: count down to zero, or stay."""
    yield "stay", state
    if state:
        yield "down", state - 1


def test_explorer_finds_everything() -> None:
    """Every state is found and asked once, every step kept, and the beginning known."""
    asked: list[int] = []

    def successors(state: int) -> Iterator[tuple[str, int]]:
        asked.append(state)
        yield from countdown(state)

    graph = explore([2, 1], successors, limit=3)
    assert asked == [2, 1, 0]
    assert graph.initial == {2, 1}
    assert graph.edges == {
        (2, "stay", 2), (2, "down", 1), (1, "stay", 1), (1, "down", 0), (0, "stay", 0),
    }  # fmt: skip
    assert graph == Graph.of([2, 1], graph.edges)
    assert graph.paths() == {2: (), 1: (), 0: ("down",)}


def test_explorer_says_when_there_is_too_much() -> None:
    """One state more than allowed is an error that names the limit."""
    with pytest.raises(ExplorerError, match=r"more than 2 states; 1 are not looked at"):
        explore([2], countdown, limit=2)


def test_explorer_wants_a_beginning() -> None:
    """A walk without an initial state is an error, and not an empty graph."""
    with pytest.raises(ExplorerError, match="no initial state"):
        explore([], countdown, limit=2)


def test_explorer_is_deterministic() -> None:
    """Two walks ask for the same states in the same order."""
    walks: list[list[int]] = []
    for _ in range(2):
        asked: list[int] = []
        walks.append(asked)

        def successors(state: int, asked: list[int] = asked) -> list[tuple[str, int]]:
            asked.append(state)
            return [(str(k), state * k % 97) for k in (2, 3, 5)]

        explore([1], successors, limit=97)
    assert walks[0] == walks[1]
    assert len(walks[0]) == 96


def test_map_merges_what_looks_alike() -> None:
    """A view of a graph has the views of its states, steps and beginnings."""
    graph = explore([3], countdown, limit=9).map(lambda state: state % 2)
    assert graph == Graph(
        states=frozenset({0, 1}),
        edges=frozenset({(0, "stay", 0), (1, "stay", 1), (0, "down", 1), (1, "down", 0)}),
        initial=frozenset({1}),
    )


def test_difference_names_every_part() -> None:
    """What differs is told apart: states, edges and beginnings, missing and extra."""
    left = Graph.of([0], [(0, "a", 1), (1, "b", 2), (0, "z", 0)])
    right = Graph.of([1], [(0, "a", 1), (1, "c", 3), (0, "z", 0)])
    found = difference(left, right)
    assert found
    assert (found.missing_initial, found.extra_initial) == ({0}, {1})
    assert (found.missing_states, found.extra_states) == ({2}, {3})
    assert (found.missing_edges, found.extra_edges) == ({(1, "b", 2)}, {(1, "c", 3)})
    assert str(found).splitlines() == [
        "missing initial: 1", "  at the beginning: 0",
        "extra initial: 1", "  at the beginning: 1",
        "missing states: 1", "  after a, b: 2",
        "extra states: 1", "  after c: 3",
        "missing edges: 1 (b 1)", "  after a: b", "    in 1", "    makes 2",
        "extra edges: 1 (c 1)", "  at the beginning: c", "    in 1", "    makes 3",
    ]  # fmt: skip


def test_equal_graphs_do_not_differ() -> None:
    """The difference of a graph and itself is false, and its story empty."""
    graph = explore([3], countdown, limit=9)
    assert not difference(graph, graph)
    assert not str(difference(graph, graph))


def test_story_counts_what_it_does_not_tell() -> None:
    """A story tells the nearest few differences and gives the number of all."""
    left = Graph.of([0], [(k, "up", k + 1) for k in range(20)])
    right = Graph.of([0], [(0, "up", 1)])
    lines = str(difference(left, right)).splitlines()
    assert lines[0] == "missing states: 19"
    assert lines[1] == f"  after {', '.join(['up'] * 2)}: 2"
    assert sum(line.startswith("  after") for line in lines) == 10
    assert "missing edges: 19 (up 19)" in lines
