"""Mutants of a module: what it would be with one small mistake in it.

A test that can't fail shows nothing. So each module is wronged in every small way that this page knows, one at a
time, and the tests must notice. What they do not notice is either a hole in them, or no mistake at all, and then
somebody says why.

The mistakes are made on the syntax tree, and each is told by what stood there and what stands there now, not by its
line: so it keeps its name while the module changes around it.

- A comparison slips to its neighbour, or to its opposite; a membership or an identity to its opposite.
- ``and`` becomes ``or``, and the other way round; each operand is forgotten once; ``not`` is forgotten.
- A condition that is a bare value is turned round.
- An operator becomes another; ``min`` becomes ``max``, ``any`` becomes ``all``.
- A whole number grows by one, a truth is turned round, a text gets another end.
- A call, an assignment to a field, its ``del``, a ``raise``, a ``break``, a ``continue`` or a bare ``return`` is
  forgotten.
- A result is forgotten: ``return None``.

Nothing is done to what decides nothing: annotations and other types, decorators, docstrings, imports, ``__all__`` and
``__slots__``, what stands below ``if TYPE_CHECKING``, and wording. Wording is what an exception is raised with, what is
literal in an f-string, and any other text with a letter and a space in it: no code, key or kind of ours has a space.
Nor is a bare ``return`` forgotten with which its function ends anyway.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODULE", "Mutant", "mutants"]

MODULE: Final = "<module>"
"""The function of what is done at import."""

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_WORDING: Final = re.compile(r"[A-Za-z].* |.* [A-Za-z]", re.DOTALL)
_UNTOUCHED: Final = frozenset({"__all__", "__slots__"})
_SKIPPED: Final = frozenset({"annotation", "returns", "decorator_list", "bases"})

_CONDITIONS: Final = frozenset({"test", "ifs"})
_BARE: Final = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.NamedExpr)

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@attrs.frozen(kw_only=True, eq=False)
class Mutant:
    """One small mistake.

    Attributes:
        function: the qualified name of the function that it is in, or `MODULE`.
        before: what stands there.
        after: what stands there instead.
        nth: which of the places in that function where this could be, from 0.
        lines: the first and the last line of it, or of the whole simple statement that it is in.
        inside: the line at which the outermost function around it begins; None if it is done at import.
    """

    function: str
    before: str
    after: str
    nth: int
    lines: tuple[int, int]
    inside: int | None
    _tree: ast.Module
    _parent: ast.AST
    _field: str
    _index: int | None
    _new: ast.AST

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What it is told by, within its module."""
        return self.function, self.before, self.after, self.nth

    @property
    def told(self) -> str:
        """It, in a line."""
        again = f" (no. {self.nth + 1})" if self.nth else ""
        return f"{self.function}: `{self.before}` -> `{self.after}`{again}"

    def tree(self) -> ast.Module:
        """The module's syntax tree with this mistake in it; all mutants of a source share one, so take it once."""
        new = self._new
        if self._index is None:
            ast.copy_location(new, getattr(self._parent, self._field))
            setattr(self._parent, self._field, new)
        else:
            among = getattr(self._parent, self._field)
            ast.copy_location(new, among[self._index])
            among[self._index] = new
        return ast.fix_missing_locations(self._tree)


@attrs.frozen
class _Around:
    """What is around a node."""

    names: tuple[str, ...] = ()
    function: str = MODULE
    inside: int | None = None
    lines: tuple[int, int] | None = None
    wording: bool = False
    last: bool = False


_Place = tuple[ast.AST, str, int | None]


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text.

    Args:
        source: the module's text.
    """
    tree = ast.parse(source)
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for (parent, field, index), around, old, new in _walk(tree, _Around()):
        told = (around.function, _text(old), _text(new))
        found.append(
            Mutant(
                function=told[0],
                before=told[1],
                after=told[2],
                nth=seen[told],
                lines=around.lines or _lines(old),
                inside=around.inside,
                tree=tree,
                parent=parent,
                field=field,
                index=index,
                new=new,
            )
        )
        seen[told] += 1
    return found


def _lines(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _walk(node: ast.AST, around: _Around) -> Iterator[tuple[_Place, _Around, ast.AST, ast.AST]]:
    """All that can be done below a node: where, in what, and what becomes of what."""
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or _untouched(child, node, around):
                continue
            # Defaults are made where the function is, not in it.
            within = _enter(node, around) if field != "args" else around
            if isinstance(child, ast.stmt):
                lines = None if hasattr(child, "body") or isinstance(child, ast.Match) else _lines(child)
                last = _is_last(node, field, child, around)
                within = attrs.evolve(within, lines=lines, wording=isinstance(child, ast.Raise), last=last)
                if last and isinstance(child, ast.Return) and child.value is None:
                    continue  # without it the function ends all the same
            for new in _wronged(child, field):
                yield (node, field, index), within, child, new
            yield from _walk(child, within)


def _enter(node: ast.AST, around: _Around) -> _Around:
    """What is around that which is in a node."""
    if isinstance(node, ast.ClassDef):
        names = (*around.names, node.name)
        return attrs.evolve(around, names=names, function=".".join(names))
    if not isinstance(node, _Function):
        return around
    names = (*around.names, "<lambda>" if isinstance(node, ast.Lambda) else node.name)
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    begins = min(part.lineno for part in (node, *decorators))
    inside = begins if around.inside is None else around.inside
    return attrs.evolve(around, names=names, function=".".join(names), inside=inside)


def _is_last(parent: ast.AST, field: str, step: ast.stmt, around: _Around) -> bool:
    """Whether a function ends when this step of it has ended."""
    if getattr(parent, field)[-1] is not step:
        return False
    match parent:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return True
        case ast.Try():
            return around.last and field != "finalbody" and (field != "body" or not parent.orelse)
    return around.last and not isinstance(parent, ast.For | ast.AsyncFor | ast.While | ast.ClassDef)


def _untouched(node: ast.AST, parent: ast.AST, around: _Around) -> bool:
    """Whether nothing is done to it, nor to what is in it."""
    match node:
        case ast.expr():
            return _type_or_wording(node, parent, around)
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _UNTOUCHED
    return False


def _type_or_wording(node: ast.expr, parent: ast.AST, around: _Around) -> bool:
    match parent, node:
        case ast.JoinedStr(), _:
            return not isinstance(node, ast.FormattedValue)
        case ast.Call(func=ast.Name(id="cast"), args=[kind, *_]), _ if node is kind:
            return True
        case _, ast.BinOp(op=ast.BitOr(), right=ast.Constant(value=None)):
            return True
        case _, ast.Constant(value=str(text)):
            return around.wording or _WORDING.search(text) is not None
    return isinstance(node, ast.JoinedStr) and around.wording


def _wronged(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What could stand in the place of a node that is in such a field."""
    if isinstance(node, ast.expr):
        yield from _wrong_value(node)
        yield from _wrong_truth(node)
        if field in _CONDITIONS and isinstance(node, _BARE):
            yield ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.stmt):
        yield from _wrong_step(node)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """A node with other fields."""
    return type(node)(**(dict(ast.iter_fields(node)) | fields))


def _wrong_truth(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*operators[:index], other(), *operators[index + 1 :]])
        case ast.BoolOp(op=joint, values=values):
            yield _with(node, op=ast.Or() if isinstance(joint, ast.And) else ast.And())
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand


def _wrong_value(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            yield _with(node, op=_OPERATORS[type(operator)]())
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield _with(node, func=ast.Name(_NAMES[name], ast.Load()))
        case ast.Constant(value=bool(truth)):
            yield ast.Constant(not truth)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
        case ast.Constant(value=float(number)):
            yield ast.Constant(number * 2 or 1.0)
        case ast.Constant(value=str(text)):
            yield ast.Constant(f"{text}_")
        case ast.Constant(value=bytes(data)):
            yield ast.Constant(data + b"_")


def _wrong_step(node: ast.stmt) -> Iterator[ast.AST]:
    forgotten = False
    match node:
        case ast.AugAssign(op=operator):
            yield _with(node, op=_OPERATORS[type(operator)]())
            forgotten = True
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            forgotten = True
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript(), value=ast.expr()):
            forgotten = True
        case ast.Expr(value=ast.Call() | ast.Await()):
            forgotten = True
        case (
            ast.Delete(targets=[ast.Attribute() | ast.Subscript(), *_])
            | ast.Raise()
            | ast.Break()
            | ast.Continue()
            | ast.Return(value=None)
        ):
            forgotten = True
        case ast.Return(value=value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
    if forgotten:
        yield ast.Pass()
