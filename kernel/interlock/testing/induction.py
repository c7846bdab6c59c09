"""Proof by induction with z3, and the same z3 terms run as a program.

A `System` is a transition relation written as z3 terms over uninterpreted sorts, hence for any number of processes:
its actions are functions from a state and some elements to a guard and the state after it. `prove` asks z3 for
each invariant and each action whether the action can break it, so that what fails is named. `Program` takes the very
terms, translates them into Python for a universe of a few elements, and steps. So what is compared with the code, and
what is searched for a counterexample, is what was proven, and not a copy of it.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import z3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Action", "Claim", "Ground", "Program", "Step", "System", "prove", "refuted", "satisfiable", "search"]

Term: TypeAlias = "Any"
"""A z3 expression; the binding is not typed."""

Ground: TypeAlias = tuple[Any, ...]
"""A state of a program: the fields in their order, each a value, or a tuple with the value of each element."""

Step: TypeAlias = tuple[str, tuple[int, ...]]
"""An action, and the elements that take part."""

_TIMEOUT_MS: Final = 60_000


@attrs.frozen(kw_only=True)
class Action:
    """One kind of step.

    Attributes:
        name: as in the specification and the code.
        sorts: of the elements that take part.
        step: from a state and the elements to the guard and the state after.
    """

    name: str
    sorts: tuple[Term, ...]
    step: Callable[..., tuple[Term, Any]]


@attrs.frozen(kw_only=True)
class Claim:
    """Something said of every state or, with ``of_step``, of every state and the one after it."""

    name: str
    says: Callable[..., Term]
    of_step: bool = False


@attrs.frozen(kw_only=True)
class System:
    """A transition relation, and what is claimed of it.

    Attributes:
        before: the state as z3 constants and functions, an attrs class.
        initial: of a state, whether one may begin there.
        actions: all kinds of steps.
        invariants: inductive together.
        theorems: what they are for.
    """

    before: Any
    initial: Callable[[Any], Term]
    actions: tuple[Action, ...]
    invariants: tuple[Claim, ...]
    theorems: tuple[Claim, ...]

    def changed(self, *actions: Action) -> System:
        """The same system, with these actions instead of those of the same names."""
        instead = {action.name: action for action in actions}
        if instead.keys() - {action.name for action in self.actions}:
            message = f"there is no such action: {', '.join(sorted(instead))}"
            raise ValueError(message)
        return attrs.evolve(self, actions=tuple(instead.get(a.name, a) for a in self.actions))


# -- For any number --------------------------------------------------------------------------------


def refuted(*given: Term, claim: Term) -> str:
    """Empty if the claim follows; else a state in which it does not, or that z3 does not know."""
    solver = z3.Solver()
    solver.set("timeout", _TIMEOUT_MS)
    solver.add(*given, z3.Not(claim))
    found = solver.check()
    if found == z3.unsat:
        return ""
    return str(solver.model()) if found == z3.sat else f"not known: {solver.reason_unknown()}"


def satisfiable(*given: Term) -> bool:
    """Whether z3 knows a state in which all of it is true."""
    solver = z3.Solver()
    solver.set("timeout", _TIMEOUT_MS)
    solver.add(*given)
    return bool(solver.check() == z3.sat)


def prove(system: System) -> Iterator[tuple[str, str, str]]:
    """Every obligation: what it starts from (Init, an action, or Inv), the claim, and empty text if it is proven."""
    before = system.before
    invariant = [claim.says(before) for claim in system.invariants]
    for claim in system.theorems:
        if not claim.of_step:
            yield "Inv", claim.name, refuted(*invariant, claim=claim.says(before))
    for claim in system.invariants:
        yield "Init", claim.name, refuted(system.initial(before), claim=claim.says(before))
    for action in system.actions:
        guard, after = action.step(before, *_fresh(action))
        for claim in (*system.invariants, *(theorem for theorem in system.theorems if theorem.of_step)):
            says = claim.says(before, after) if claim.of_step else claim.says(after)
            yield action.name, claim.name, refuted(*invariant, guard, claim=says)


def _fresh(action: Action) -> list[Term]:
    return [z3.Const(f"{action.name}!{place}", sort) for place, sort in enumerate(action.sorts)]


# -- For a few: the same terms as a program ---------------------------------------------------------


class Program:
    """A system in a universe of a few elements.

    Args:
        system: to be run.
        sizes: how many elements each sort has, by its name.
        rigid: functions that no step changes, by name, as the value of each element.
        without: actions that are left out.

    Attributes:
        initial: whether one may begin in a state.
    """

    def __init__(
        self,
        system: System,
        sizes: Mapping[str, int],
        rigid: Mapping[str, tuple[int, ...]],
        without: Iterable[str] = (),
    ) -> None:
        self._sizes = sizes
        self._rigid = rigid
        self._fields = {
            (value.name() if isinstance(value, z3.FuncDeclRef) else str(value)): place
            for place, value in enumerate(attrs.astuple(system.before, recurse=False))
        }
        left_out = set(without)
        self._steps = [
            (
                action.name,
                tuple(product(*(range(sizes[s.name()]) for s in action.sorts))),
                *self._compiled(action, system),
            )
            for action in system.actions
            if action.name not in left_out
        ]
        self._system = system
        self.initial: Callable[[Ground], bool] = self._function(self._source(system.initial(system.before), {}), "s")

    def successors(self, state: Ground) -> Iterator[tuple[Step, Ground]]:
        """Every step out of a state, and where it leads."""
        for name, choices, guard, effect in self._steps:
            for elements in choices:
                if guard(state, *elements):
                    yield (name, elements), effect(state, *elements)

    def claim(self, claim: Claim) -> Callable[..., bool]:
        """A claim as a function of a state (and, if it is of a step, of the state after)."""
        before = self._system.before
        if not claim.of_step:
            return self._function(self._source(claim.says(before), {}), "s")
        after = _primed(before)
        return self._function(self._source(claim.says(before, after), {}), "s, p")

    def _compiled(self, action: Action, system: System) -> tuple[Callable[..., bool], Callable[..., Ground]]:
        elements = _fresh(action)
        names = {str(element): f"e{place}" for place, element in enumerate(elements)}
        guard, after = action.step(system.before, *elements)
        arguments = ", ".join(["s", *names.values()])
        parts = []
        for place, field in enumerate(attrs.fields(type(system.before))):
            old, new = getattr(system.before, field.name), getattr(after, field.name)
            if new is old:
                parts.append(f"s[{place}]")
            elif isinstance(old, z3.FuncDeclRef):
                every = z3.Const("every", old.domain(0))
                body = self._source(z3.simplify(new(every)), {**names, "every": "x"})
                parts.append(f"tuple({body} for x in range({self._sizes[old.domain(0).name()]}))")
            else:
                parts.append(self._source(new, names))
        return self._function(self._source(guard, names), arguments), self._function(
            f"({', '.join(parts)},)", arguments
        )

    @staticmethod
    def _function(source: str, arguments: str) -> Callable[..., Any]:
        made: Callable[..., Any] = eval(f"lambda {arguments}: {source}")  # noqa: S307 - made of our own terms
        return made

    def _source(self, term: Term, names: Mapping[str, str], depth: int = 0) -> str:
        """A term as a Python expression."""
        if z3.is_quantifier(term):
            loops = " ".join(
                f"for q{depth + place} in range({self._sizes[term.var_sort(place).name()]})"
                for place in range(term.num_vars())
            )
            body = self._source(term.body(), names, depth + term.num_vars())
            source = f"{'all' if term.is_forall() else 'any'}({body} {loops})"
        elif z3.is_var(term):
            source = f"q{depth - 1 - z3.get_var_index(term)}"
        elif z3.is_int_value(term):
            source = str(term.as_long())
        else:
            source = self._applied(term, names, [self._source(part, names, depth) for part in term.children()])
        return source

    def _applied(self, term: Term, names: Mapping[str, str], parts: list[str]) -> str:
        """An operator or a function, applied."""
        kind, name = term.decl().kind(), term.decl().name()
        if kind in _OPERATORS and parts:
            return f"({_OPERATORS[kind].join(parts)})"
        if kind in _SHAPES:
            return _SHAPES[kind].format(*parts)
        if kind == z3.Z3_OP_DT_CONSTRUCTOR:
            return repr(name)
        if kind != z3.Z3_OP_UNINTERPRETED:
            message = f"not understood: {term}"
            raise ValueError(message)
        if name in self._rigid:
            return f"{self._rigid[name]!r}[{parts[0]}]"
        if name in names:
            return names[name]
        where = f"p[{self._fields[name[:-1]]}]" if name.endswith("'") else f"s[{self._fields[name]}]"
        return f"{where}[{parts[0]}]" if parts else where


_OPERATORS: Final = {
    z3.Z3_OP_AND: " and ", z3.Z3_OP_OR: " or ", z3.Z3_OP_EQ: " == ", z3.Z3_OP_ADD: " + ", z3.Z3_OP_LT: " < ",
    z3.Z3_OP_LE: " <= ", z3.Z3_OP_GE: " >= ", z3.Z3_OP_GT: " > ", z3.Z3_OP_DISTINCT: " != ",
}  # fmt: skip
_SHAPES: Final = {
    z3.Z3_OP_NOT: "(not {0})", z3.Z3_OP_IMPLIES: "((not {0}) or {1})", z3.Z3_OP_ITE: "({1} if {0} else {2})",
    z3.Z3_OP_TRUE: "True", z3.Z3_OP_FALSE: "False",
}  # fmt: skip


def _primed(before: Any) -> Any:  # noqa: ANN401 - any attrs class of z3 constants and functions
    """The state after, as constants and functions of its own."""
    made = {}
    for field in attrs.fields(type(before)):
        old = getattr(before, field.name)
        if isinstance(old, z3.FuncDeclRef):
            made[field.name] = z3.Function(f"{old.name()}'", old.domain(0), old.range())
        else:
            made[field.name] = z3.Const(f"{old}'", old.sort())
    return attrs.evolve(before, **made)


def search(
    program: Program, initial: Ground, bad: Callable[[Ground, Ground], bool], *, limit: int
) -> tuple[list[Step] | None, int]:
    """A shortest way into a bad step, if there is one, and how many states were seen.

    Raises:
        ValueError: more states than the limit.
    """
    came: dict[Ground, tuple[Ground, Step] | None] = {initial: None}
    queue = deque([initial])
    while queue:
        state = queue.popleft()
        for step, after in program.successors(state):
            if bad(state, after):
                way = [step]
                at = state
                while (link := came[at]) is not None:
                    at, earlier = link
                    way.append(earlier)
                return way[::-1], len(came)
            if after not in came:
                came[after] = (state, step)
                queue.append(after)
        if len(came) > limit:
            message = f"more than {limit} states"
            raise ValueError(message)
    return None, len(came)
