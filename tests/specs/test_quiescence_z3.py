"""The quiescent kill: proven for any number with z3, and the proof's own steps compared with those of the code."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import z3
from tests.specs.hold_driver import Edge, View, Walk

from interlock.breaker.quiescence import DEAD, Hold
from interlock.core.modes import ARMED
from interlock.testing.explorer import explore
from interlock.testing.induction import Program, prove, refuted, satisfiable, search
from interlock.testing.quiescence_mistakes import MISTAKES, SAME, Mistake, universe
from interlock.testing.quiescence_model import KILLER, PLACE, RESETTER, SEND, owner
from interlock.testing.quiescence_proof import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.testing.induction import Action, Claim, Ground, Step, System
    from interlock.testing.quiescence_model import State

LIMIT = 2_000_000


def first(program: Program, *, engines: int, killers: int, resetters: int, emitters: int = 1) -> Ground:
    """The one state in which a universe of these sizes begins."""
    of_engine, of_killer = (False,) * engines, (False,) * killers
    state = (
        True, True, 1, 0, 0, False, (True,) * engines, of_engine, of_engine, of_engine, ("out",) * engines,
        ("idle",) * (engines * emitters), ("ready",) * killers, (0,) * killers, of_killer, (0,) * killers,
        ("waiting",) * resetters, (0,) * resetters,
    )  # fmt: skip
    assert program.initial(state)
    return state


# ---------------------------------------------------------------------------
# The proof


@cache
def obligations() -> dict[tuple[str, str], str]:
    """What `prove` finds about the protocol."""
    return {(start, claim): found for start, claim, found in prove(SYSTEM)}


@pytest.mark.parametrize("start", ["Init", "Inv", *(action.name for action in SYSTEM.actions)])
def test_no_step_breaks_an_invariant_or_a_theorem(start: str, record_property: Callable[[str, object], None]) -> None:
    """From the beginning, by each action and for the theorems, every obligation is proven, for any number."""
    mine = {claim: found for (source, claim), found in obligations().items() if source == start}
    record_property("obligations", len(mine))
    assert mine
    assert not any(mine.values()), mine


def test_every_claim_is_proven_of_every_action() -> None:
    """No obligation is forgotten: invariants have Init and each action, theorems Inv or, if of a step, each action."""
    names = {action.name for action in SYSTEM.actions}
    states = {(start, claim.name) for claim in SYSTEM.invariants for start in {"Init", *names}}
    theorems = {("Inv", claim.name) for claim in SYSTEM.theorems if not claim.of_step}
    steps = {(start, claim.name) for claim in SYSTEM.theorems if claim.of_step for start in names}
    assert set(obligations()) == states | theorems | steps


@pytest.mark.parametrize("action", SYSTEM.actions, ids=lambda action: action.name)
def test_every_action_is_possible(action: Any) -> None:
    """The invariants leave room: z3 finds a state in which they all hold and the action may be done."""
    elements = [z3.Const(f"one{place}", sort) for place, sort in enumerate(action.sorts)]
    guard, _ = action.step(SYSTEM.before, *elements)
    assert satisfiable(guard, *(claim.says(SYSTEM.before) for claim in SYSTEM.invariants))


@pytest.mark.parametrize("needless", SYSTEM.invariants, ids=lambda claim: claim.name)
def test_every_invariant_is_needed(needless: Claim) -> None:
    """Without any one of them something is no longer proven; so the prover can fail, and none is idle."""
    others = tuple(claim for claim in SYSTEM.invariants if claim is not needless)
    assert any(found for *_, found in prove(attrs.evolve(SYSTEM, invariants=others)))


@pytest.mark.parametrize("name", SAME)
def test_an_equivalent_change_is_proven_too(name: str) -> None:
    """Writing the latch under the exclusive lock, and each other change that is no mistake, keeps every theorem."""
    found = list(prove(SAME[name]))
    assert [one for one in found if one[-1]] == []
    assert {claim for _, claim, _ in found} >= {claim.name for claim in SYSTEM.theorems}


# ---------------------------------------------------------------------------
# Mistakes, and reachable states


def breaking(mistake: Mistake, system: System) -> tuple[list[Step] | None, int]:
    """A shortest way from the beginning to where the theorem fails."""
    sizes = {"engines": mistake.engines, "killers": mistake.killers, "resetters": mistake.resetters}
    program = Program(system, *universe(**sizes))
    (theorem,) = (claim for claim in SYSTEM.theorems if claim.name == mistake.breaks)
    holds = program.claim(theorem)

    def bad(before: Ground, after: Ground) -> bool:
        return not (holds(before, after) if theorem.of_step else holds(after))

    return search(program, first(program, **sizes), bad, limit=LIMIT)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_breaks_its_theorem(mistake: Mistake) -> None:
    """The theorem itself fails, and not only what strengthens it: there is a way to it from the beginning."""
    way, _ = breaking(mistake, mistake.system)
    assert way is not None


def test_no_mistake_is_seen_where_none_was_made() -> None:
    """The search that finds the mistakes finds nothing wrong with the protocol, in any universe that it was used on."""
    for mistake in {(m.breaks, m.engines, m.killers, m.resetters): m for m in MISTAKES}.values():
        way, states = breaking(mistake, SYSTEM)
        assert way is None
        assert states > 100


def test_readme_names_everything() -> None:
    """The README names each theorem, each mistake with what it says and breaks, and each change that is none."""
    readme = (Path(__file__).parents[2] / "specs" / "README.md").read_text()
    rows = {f"| `{m.name}` | {m.says} | `{m.breaks}` |" for m in MISTAKES}
    named = {f"`{name}`" for name in [*SAME, *(claim.name for claim in SYSTEM.theorems)]}
    assert {text for text in rows | named if text not in readme} == set()


KILL = """
CheckFirst 0, Enter 0, CheckAgain 0, Start 0, CheckFirst 1, Enter 1, CheckAgain 1, Start 1,
Announce 0, Load 0, Look 0, Announce 1, Load 1, Look 1, Announce 2, Load 2,
SetByte 0, Look 2, SetByte 1, KillerDies 1, See 1, Retract 2, End 1, Leave 1, TakePen 0, WriteLatch 0, Crash 0,
GetExclusive 0, LookAgain 0, Ack 0
"""


def test_a_real_kill_is_acked() -> None:
    """The ack can be reached: with sends in flight in two engines, one drains and one dies, as a killer does."""
    sizes = {"engines": 2, "emitters": 2, "killers": 2, "resetters": 1}
    program = Program(SYSTEM, *universe(**sizes))
    invariants = [program.claim(claim) for claim in SYSTEM.invariants]
    state = first(program, **sizes)
    for step in KILL.replace("\n", " ").strip().split(", "):
        name, element = step.split()
        state = dict(program.successors(state))[name, (int(element),)]
        assert all(holds(state) for holds in invariants)
    shown = dict(zip((field.name for field in attrs.fields(type(SYSTEM.before))), state, strict=True))
    assert shown["acked"] == (1, 0)
    assert shown["durable"] == (True, False)
    assert not shown["byte"]
    assert shown["alive"] == (False, True)


def test_the_program_does_what_z3_says(record_property: Callable[[str, object], None]) -> None:
    """In sampled states z3 finds the same steps possible as the program, and the same states after."""
    sizes = {"engines": 2, "emitters": 1, "killers": 1, "resetters": 1}
    program = Program(SYSTEM, *universe(**sizes))
    state = first(program, **sizes)
    record_property("seed", 5)
    chosen = random.Random(5)  # noqa: S311 - which states are looked at
    for _ in range(60):
        following = dict(program.successors(state))
        action = chosen.choice(SYSTEM.actions)
        element = chosen.randrange(2 if action.sorts[0].name() in {"Engine", "Emitter"} else 1)
        after = following.get((action.name, (element,)))
        assert by_z3(action, element, state, after)
        state = chosen.choice(list(following.values()))


def by_z3(action: Action, element: int, state: Ground, after: Ground | None) -> bool:
    """Whether z3 agrees that the action leads from a state to the one after, or, if there is none, cannot be done."""
    fields = attrs.fields(type(SYSTEM.before))
    sizes = {"Engine": 2, "Emitter": 2, "Killer": 1, "Resetter": 1}
    sorts = {sort.name(): sort for one in SYSTEM.actions for sort in one.sorts}
    elements = {name: [z3.Const(f"{name}{n}", sorts[name]) for n in range(size)] for name, size in sizes.items()}
    values = {str(value): value for sort in (PLACE, SEND, KILLER, RESETTER) for value in constants(sort)}

    def equal(term: Any, value: Any) -> Any:
        return term == (values[value] if isinstance(value, str) else value)

    def described(shown: State, ground: Ground) -> Iterator[Any]:
        for field, value in zip(fields, ground, strict=True):
            now, domain = getattr(shown, field.name), getattr(SYSTEM.before, field.name)
            if isinstance(value, tuple):
                of = elements[domain.domain(0).name()]
                yield from (equal(now(one), each) for one, each in zip(of, value, strict=True))
            else:
                yield equal(now, value)

    world = [
        *(z3.Distinct(*some) for some in elements.values() if len(some) > 1),
        *(
            z3.ForAll([x := z3.Const("x", sorts[n])], z3.Or(*(x == one for one in some)))
            for n, some in elements.items()
        ),
        *(owner(emitter) == engine for emitter, engine in zip(elements["Emitter"], elements["Engine"], strict=True)),
        *described(SYSTEM.before, state),
    ]
    guard, then = action.step(SYSTEM.before, elements[action.sorts[0].name()][element])
    claim = z3.Not(guard) if after is None else z3.And(guard, *described(then, after))
    return satisfiable(*world) and not refuted(*world, claim=claim)


def constants(sort: Any) -> list[Any]:
    """The values of an enumeration."""
    return [sort.constructor(n)() for n in range(sort.num_constructors())]


# ---------------------------------------------------------------------------
# The same steps, taken by the code


def of_the_model(system: System, emitters: int) -> set[Edge]:
    """Every step of one engine's side, in a world that may do all that killers and resets can."""
    sizes = {"engines": 1, "killers": 1, "resetters": 0, "emitters": emitters}
    theirs = [action.name for action in SYSTEM.actions if action.sorts[0].name() in {"Killer", "Resetter"}]
    program = Program(system, *universe(**sizes), without=theirs)
    fields = [field.name for field in attrs.fields(type(SYSTEM.before))]
    blank = dict(zip(fields, first(program, **sizes), strict=True))
    seen = ("alive", "running", "dead", "at")

    def steps(view: View) -> Iterator[tuple[str, int, View]]:
        byte, exclusive, *engine, sends = view
        shown = {name: (value,) for name, value in zip(seen, engine, strict=True)}
        killer = ("alone",) if exclusive else ("ready",)
        state = {**blank, **shown, "byte": byte, "killer": killer, "send": sends}
        for (name, (element,)), after in program.successors(tuple(state[field] for field in fields)):
            then = dict(zip(fields, after, strict=True))
            yield name, element, (byte, exclusive, *(then[field][0] for field in seen), then["send"])
        if byte:
            yield "Halt", 0, (False, exclusive, *engine, sends)
        if exclusive:
            yield "LetGo", 0, (byte, False, *engine, sends)
            if not byte:
                yield "Arm", 0, (True, exclusive, *engine, sends)
        elif engine[-1] not in {"locked", "in"}:
            yield "TakeExclusive", 0, (byte, True, *engine, sends)

    start: View = (True, False, True, False, False, "out", ("idle",) * emitters)
    graph = explore([start], lambda view: ((f"{name} {element}", to) for name, element, to in steps(view)), limit=LIMIT)
    return {(a, name.split()[0], int(name.split()[1]), b) for a, name, b in graph.edges}


@pytest.mark.parametrize("crowded", [False, True], ids=["slots", "crowded"])
@pytest.mark.parametrize("emitters", [1, 2])
def test_the_code_takes_the_proven_steps_and_no_other(
    emitters: int, crowded: bool, record_property: Callable[[str, object], None]
) -> None:
    """In every interleaving of every access, `Hold` does what the relation does: each step, and every one."""
    code, model = Walk(emitters=emitters, crowded=crowded).run(LIMIT), of_the_model(SYSTEM, emitters)
    record_property("steps", len(model))
    assert len(model) == {1: 343, 2: 1395}[emitters]
    assert code - model == set()
    assert model - code == set()


def test_a_retirement_may_come_from_anywhere() -> None:
    """With `retire` called in the midst of an `enter`, too, the code takes only steps of a relation that is proven."""
    code = Walk(emitters=1, retire_anywhere=True).run(LIMIT)
    assert code - of_the_model(SAME["retire-from-any-thread"], 1) == set()
    assert names(code - of_the_model(SYSTEM, 1)) >= {"Retire", "CheckFirst", "CheckAgain"}


def names(edges: set[Edge]) -> set[str]:
    """The steps' names."""
    return {edge[1] for edge in edges}


def wrong(edges: set[Edge], model: set[Edge]) -> set[Edge]:
    """The steps that the model does not take, out of states that it reaches: what follows them is not counted."""
    reached = {edge[0] for edge in model}
    return {edge for edge in edges - model if edge[0] in reached}


class LooksFirst(Hold):
    """Looks before it announces."""

    def begin(self, number: int, now_ns: int) -> bool:  # noqa: ARG002 - as the real one
        """Look, then announce."""
        if self.page[0] != ARMED:
            return False
        self.sending[number] = -1
        return True


class LooksAtTheByte(Hold):
    """Looks at the byte of the mapped page, dead or not."""

    def begin(self, number: int, now_ns: int) -> bool:  # noqa: ARG002 - as the real one
        """Announce, then look, but not at what was seen before."""
        self.sending[number] = -1
        if self._mapped[0] == ARMED:
            return True
        self.end(number)
        return False


class LeavesBusy(Hold):
    """Leaves while something is announced."""

    def leave(self) -> bool:
        """Let go of the lock if the page is dead."""
        with self._guard:
            if self.held and self.page is DEAD:
                self._lock.release()
                self.held = False
            return not self.held


class LeavesAlive(Hold):
    """Lets go before the page is dead."""

    def leave(self) -> bool:
        """Let go of the lock if nothing is announced, and make the page dead then."""
        with self._guard:
            if not self.held:
                return True
            if self.page[0] == ARMED or self.sending:
                return False
            self._lock.release()
            self.held = False
            self.page = DEAD
            return True


class RevivesHeld(Hold):
    """Revives while held."""

    def revive(self) -> None:
        """Believe the page again, if nothing is announced."""
        with self._guard:
            if not self.sending:
                self.page = self._mapped


class RevivesBusy(Hold):
    """Revives while something is announced."""

    def revive(self) -> None:
        """Believe the page again, if it is out."""
        with self._guard:
            if not self.held:
                self.page = self._mapped


class EntersOnOneLook(Hold):
    """Enters without the second look."""

    def enter(self) -> bool:
        """Look, and take the lock."""
        with self._guard:
            if self.held:
                return self.page[0] == ARMED
            if self.page[0] != ARMED or not self._lock.shared():
                return False
            self.held = True
            return True


class SeesWithoutTheGuard(Hold):
    """Makes the page dead while others go by it."""

    def see(self) -> bool:
        """Look, and make it dead, with no guard."""
        if self.page[0] == ARMED:
            return False
        self.page = DEAD
        return True


class EndsEarly(Hold):
    """Takes the announcement back before the last look is taken."""

    def begin(self, number: int, now_ns: int) -> bool:  # noqa: ARG002 - as the real one
        """Announce, look twice, and be announced only at the first."""
        self.sending[number] = -1
        if self.page[0] != ARMED:
            self.end(number)
            return False
        page = self.page
        del self.sending[number]
        if page[0] != ARMED:
            return False
        self.sending[number] = -1
        return True


BUGS: dict[type[Hold], dict[str, int]] = {
    LooksFirst: {"Look": 13, "Leave": 4},
    LooksAtTheByte: {"Announce": 8, "Leave": 8},
    LeavesBusy: {"Leave": 8},
    LeavesAlive: {"Leave": 10, "leave.page": 4},
    RevivesHeld: {"Revive": 2},
    RevivesBusy: {"Revive": 8},
    EntersOnOneLook: {"Enter": 2},
    SeesWithoutTheGuard: {"See": 3, "Retire": 3, "CheckFirst": 2},
    EndsEarly: {"Look": 17, "begin.del": 6, "Load": 4, "Leave": 4},
}
"""Which steps of a wrong `Hold`, and how many, are first steps out of the model."""


@pytest.mark.parametrize("hold", BUGS, ids=lambda hold: hold.__name__)
def test_a_wrong_hold_takes_wrong_steps(hold: type[Hold]) -> None:
    """A mistake in the code shows as exactly the steps that it makes possible."""
    found = wrong(Walk(hold, emitters=1).run(LIMIT), of_the_model(SYSTEM, 1))
    assert Counter(edge[1] for edge in found) == BUGS[hold]
