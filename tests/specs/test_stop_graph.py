"""The graph of the real stop executor is the one that TLC draws, state for state and edge for edge.

Real kernel, real home, real lanes in threads of their own, crashes and restarts included: see `stop_parts`. The same
comparison is then shown able to fail: each seeded bug is the code with one method changed, and makes a step that the
specification has not, or lacks one that it has; and so does each mutant of the specification that changes its graph.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.specs.stop_driver import Walk, walk

from interlock import Mode
from interlock.core.values import grant
from interlock.stopping import Standing
from interlock.stopping.executor import StopExecutor
from interlock.stopping.exits import ExitLane
from interlock.stopping.lane import Lane
from interlock.testing import tlc
from interlock.testing.explorer import Graph, difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tests.specs.stop_view import Node

    from interlock import Order
    from interlock.stopping import StopOutcome
    from interlock.stopping.intent import Found, Intent, Record
    from interlock.stopping.report import ExitEnd, OrderEnd

STOP = Path(__file__).resolve().parents[2] / "specs" / "stop" / "StopExecutor.tla"
PINS = json.loads((STOP.parents[1] / "manifest.json").read_text())["modules"]["stop/StopExecutor.tla"]
TIMEOUT_S = 120.0
pytestmark = pytest.mark.timeout(600)  # the walk is half a minute, and whichever test comes first waits for it
EDGES = {
    "Begin0": 6, "Begin1": 6, "Cancel": 10, "Crash": 100, "Escalate": 12, "ExitFills": 14, "Fill": 31, "Finish": 36,
    "GiveUp": 4, "Halt": 148, "Hear": 26, "Query": 16, "Report": 6, "Restart": 48, "Send": 2, "TakeBack": 2,
    "Ticket": 2, "TimeOut": 14,
}  # fmt: skip
"""The steps of each action with one gateway."""

MANY = 30_000
"""Steps with two gateways."""


def specified(directory: Path, text: str | None = None, gateways: str = '"g"') -> Graph[tlc.State]:
    """Return the graph that TLC draws of a text of StopExecutor.tla, whatever it violates."""
    module, cfg, dump = directory / STOP.name, directory / "graph.cfg", directory / "graph.dot"
    module.write_text(text or STOP.read_text())
    cfg.write_text(f"SPECIFICATION Spec\nCONSTANT Gateways = {{{gateways}}}\n")
    result = tlc.run(module, cfg, dump=dump, timeout_s=TIMEOUT_S)
    assert result.exit_code == 0, result.output
    return Graph.of(*tlc.parse_dot(dump))


def seen(found: Graph[Node]) -> Graph[tlc.State]:
    """Return what the specification sees of a walk; what it does not see of it are no steps."""
    steps = [(before[0], name, after[0]) for before, name, after in found.edges]
    return Graph.of((node[0] for node in found.initial), ((a, name, b) for a, name, b in steps if name or a != b))


def together(*graphs: Graph[tlc.State]) -> Graph[tlc.State]:
    """Return all of them as one."""
    return Graph.of(
        frozenset().union(*(one.initial for one in graphs)), frozenset().union(*(one.edges for one in graphs))
    )


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Graph[tlc.State]:
    """Return TLC's graph with one gateway."""
    return specified(tmp_path_factory.mktemp("spec"))


@pytest.fixture(scope="module")
def code() -> Graph[tlc.State]:
    """Return what the real executor does with one gateway, which answers or never does."""
    return together(*(seen(walk(Walk(hung=frozenset(hung)))) for hung in ("", "g")))


# ---------------------------------------------------------------------------
# The tie


def test_executor_and_spec_have_the_same_graph(spec: Graph[tlc.State], code: Graph[tlc.State]) -> None:
    """Executor and specification have the same states, steps and initial states."""
    found = difference(spec, code)
    assert not found, f"\n{found}"


def test_graph_has_its_size(code: Graph[tlc.State], record_property: Callable[[str, object], None]) -> None:
    """The executor's graph has as many states, and of each action as many steps, as are known."""
    record_property("edges", len(code.edges))
    assert (len(code.states), Counter(name for _, name, _ in code.edges)) == (148, EDGES)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("hung", ["", "g", "gh"])
def test_steps_with_two_gateways_are_steps_of_the_spec(
    tmp_path: Path, hung: str, record_property: Callable[[str, object], None]
) -> None:
    """With two gateways the code has too many nodes to see them all; each of many steps is one of the specification."""
    large = specified(tmp_path, gateways='"g", "h"')
    steps = itertools.count()
    found = seen(walk(Walk(gateways=("g", "h"), hung=frozenset(hung)), until=lambda *_: next(steps) >= MANY))
    record_property("edges", len(found.edges))
    assert found.edges <= large.edges, f"\n{difference(large, found)}"
    names = {name for _, name, _ in found.edges}
    assert names == EDGES.keys() - ({"Cancel", "Query", "TakeBack"} if hung == "gh" else set())
    if hung == "g":  # a gateway that hangs holds up no other
        (mutant,) = (one for one in PINS["mutants"] if one["name"] == "one-loop-for-all")
        assert not found.edges <= specified(tmp_path, changed(mutant), '"g", "h"').edges


# ---------------------------------------------------------------------------
# Mutants of the specification


FAIRNESS = {"no-budget", "halt-without-a-stop"}
"""Those that change fairness alone, and so no step."""

SEEN = [one for one in PINS["mutants"] if one["name"] not in {*FAIRNESS, "one-loop-for-all"}]
"""Those that change a step of one gateway; the one that needs two is for the long suite."""


def changed(mutant: dict[str, Any]) -> str:
    """Return the specification with a mutant's edits."""
    text = STOP.read_text()
    for edit in mutant["edits"]:
        assert text.count(edit["old"]) == 1
        text = text.replace(edit["old"], edit["new"])
    return text


def test_unseen_mutants_change_no_step() -> None:
    """What is left out below for that is a change of fairness."""
    unseen = [one for one in PINS["mutants"] if one["name"] in FAIRNESS]
    assert len(unseen) == len(FAIRNESS)
    assert all("WF_vars" in edit["old"] for mutant in unseen for edit in mutant["edits"])


@pytest.mark.parametrize("mutant", SEEN, ids=lambda one: one["name"])
def test_mutant_of_the_spec_is_not_the_code(tmp_path: Path, mutant: dict[str, Any], code: Graph[tlc.State]) -> None:
    """Each mutant of the specification that changes a step of one gateway has another graph than the code."""
    assert difference(specified(tmp_path, changed(mutant)), code)


# ---------------------------------------------------------------------------
# Seeded bugs


class TimeOutIsSuccess(Lane):
    """What is not over when the budget is spent is reported as cancelled."""

    async def see_off(self, order: Order, **given: Any) -> OrderEnd:
        """Say so."""
        return attrs.evolve(await super().see_off(order, **given), standing=Standing.CANCELLED)


class CancelIsAnEnd(Lane):
    """A cancel that returned counts for an order that is over."""

    async def _query(self, order: Order, end: OrderEnd) -> OrderEnd:
        if end.cancels and not end.problem:
            return attrs.evolve(end, standing=Standing.CANCELLED, booked=True)
        return await super()._query(order, end)


class CancelsWhileRunningOnly(Lane):
    """HALTED, nothing is cancelled."""

    async def _cancel(self, order: Order, end: OrderEnd) -> OrderEnd:
        return end if self.kernel.mode is Mode.HALTED else await super()._cancel(order, end)


class DoesNotAsk(Lane):
    """An answer is not believed."""

    async def _query(self, order: Order, end: OrderEnd) -> OrderEnd:
        return attrs.evolve(await super()._query(order, end), standing=Standing.UNKNOWN, booked=False)


class ExitOverDoubt(ExitLane):
    """An exit does not care what has become of the orders before it."""

    async def _exit(self, instrument: str, order_id: str, left: list[str]) -> ExitEnd:
        return await super()._exit(instrument, order_id, left[:0])


class ExitWithoutTicket(ExitLane):
    """An exit does not look whether its ticket is on the disk."""

    async def _exit(self, instrument: str, order_id: str, left: list[str]) -> ExitEnd:
        self.intent.stored = lambda *_: True  # type: ignore[method-assign]
        return await super()._exit(instrument, order_id, left)


class TicketAfterTheHalt(ExitLane):
    """A ticket is written although somebody has halted."""

    async def _exit(self, instrument: str, order_id: str, left: list[str]) -> ExitEnd:
        self.intent.exit(order_id, instrument=instrument, side="SELL", quantity="2", stage="ticket")
        return await super()._exit(instrument, order_id, left)


class ExitIsSentTwice(ExitLane):
    """An exit that was sent is sent again."""

    async def _submitted(self, end: ExitEnd, order: Order, gateway: Any) -> Any:
        await super()._submitted(end, order, gateway)
        return await gateway.send(grant(order, 1, 1))


class ExitsAreNotTakenBack(StopExecutor):
    """A controlled stop leaves at the venue what rests of its exits."""

    def _take_back(self, *_: Any) -> dict[str, OrderEnd]:
        return {}


class RestartDoesNotHalt(StopExecutor):
    """A restart takes up what was interrupted, and the engine starts."""

    def _halt_over(self, found: Found) -> Record | None:
        return next((one for one in found.records if not one.done), None)


class RestartForgets(StopExecutor):
    """A restart does not look for what was interrupted."""

    def resume(self) -> None:
        """Do not."""


class BeginsAgain(StopExecutor):
    """A stop that came to its end is begun again."""

    def halted(self, *, again: bool = False) -> Future[StopOutcome]:
        """Always again."""
        del again
        return super().halted(again=True)


class EndIsNotWritten(StopExecutor):
    """A stop that came to its end does not say so."""

    def _intent(self, *given: Any, **named: Any) -> Intent:
        made = super()._intent(*given, **named)
        plain = made.turn
        made.turn = lambda *, category=1, done=False: plain(category=category * (not done))  # type: ignore[method-assign]
        return made


CALM = frozenset({"crash", "hear", "fill", "fill-exit", "halt", "begin0"})
"""Left out where it is of no account, so that a walk is short."""

EXTRA = {
    TimeOutIsSuccess: "Report", CancelIsAnEnd: "Cancel", ExitOverDoubt: "Ticket", ExitWithoutTicket: "Send",
    ExitIsSentTwice: "Send", RestartDoesNotHalt: "Restart", RestartForgets: "Restart", BeginsAgain: "Begin0",
    EndIsNotWritten: "Finish", TicketAfterTheHalt: "Ticket",
}  # fmt: skip
"""Bugs that make a step which the specification has not: of which action."""

NEEDED = {
    RestartDoesNotHalt: {"crash"}, RestartForgets: {"crash"}, BeginsAgain: {"halt", "begin0"},
    TicketAfterTheHalt: {"halt"}, ExitOverDoubt: {"hear", "fill"},
}  # fmt: skip
"""What the world has to do for that."""


@pytest.mark.parametrize("bug", EXTRA, ids=lambda bug: bug.__name__)
def test_bug_makes_a_step_that_is_none(bug: type[Any], spec: Graph[tlc.State]) -> None:
    """Each of these bugs is found by a step of the code that the specification has not."""
    wrong: list[str] = []

    def until(before: Node, name: str, after: Node) -> bool:
        if (name or before[0] != after[0]) and (before[0], name, after[0]) not in spec.edges:
            wrong.append(name)
        return bool(wrong)

    walk(Walk(bug=bug, without=CALM - NEEDED.get(bug, set())), until=until)
    assert wrong == [EXTRA[bug]]


MISSING = {
    CancelsWhileRunningOnly: ("Cancel", {"halt", "begin0"}), DoesNotAsk: ("Query", set()),
    ExitsAreNotTakenBack: ("Finish", set()),
}  # fmt: skip
"""Bugs that lack steps which the specification has: of which action, and what the world has to do for those."""


@pytest.mark.parametrize("bug", MISSING, ids=lambda bug: bug.__name__)
def test_bug_lacks_steps(bug: type[Any], spec: Graph[tlc.State]) -> None:
    """Each of these bugs is found by steps of an action that the code makes without it, and not with it."""
    name, needed = MISSING[bug]
    without = (CALM - needed) | ({"begin1"} if needed else set())
    right = seen(walk(Walk(without=without)))
    wrong = seen(walk(Walk(bug=bug, without=without)))
    assert right.edges <= spec.edges
    assert name in {step for _, step, _ in right.edges - wrong.edges}
