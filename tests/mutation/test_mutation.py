"""Mutants: each kind of mistake is made, what notices it is seen, and the list of those that are none stays true."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.mutation.campaign import CampaignError, Figures, Tried, judge, run, try_room
from tests.mutation.listed import Listed, listed
from tests.mutation.rooms import HELD, ROOMS, Room, source

from interlock.testing.mutation import MODULE, Mutant, mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MISTAKES = {
    "a < b": ("a <= b", "a >= b"),
    "a == b": ("a != b",),
    "a < b < c": ("a <= b < c", "a >= b < c", "a < b <= c", "a < b >= c"),
    "a is b": ("a is not b",),
    "a not in b": ("a in b",),
    "a and b": ("a or b", "b", "a"),
    "a or b or c": ("a and b and c", "b or c", "a or c", "a or b"),
    "not a": ("a",),
    "a if b else c": ("not b",),
    "[a for a in b if a]": ("not a",),
    "a + b": ("a - b",),
    "a // b": ("a * b",),
    "-a": ("a",),
    "min(a, b)": ("max(a, b)",),
    "any(a)": ("all(a)",),
    "7": ("8",),
    "0.5": ("1.0",),
    "0.0": ("1.0",),
    "True": ("False",),
    "'code'": ("'code_'",),
    "' '": ("' _'",),
    "b'code'": ("b'code_'",),
    "f'{a + b} and more'": ("a - b",),
    "cast('str', a + b)": ("a - b",),
}


@pytest.mark.parametrize("expression", MISTAKES)
def test_value_is_wronged_in_every_way(expression: str) -> None:
    """Each kind of expression has its mistakes, and no others."""
    found = [mutant.after for mutant in mutants(f"x = {expression}")]
    assert tuple(found) == MISTAKES[expression]


STEPS = {
    "f()": ("pass",),
    "await f()": ("pass",),
    "self.x = y": ("pass",),
    "x[y] = z": ("pass",),
    "self.x: int = y": ("pass",),
    "x = y": (),
    "x += y": ("x -= y", "pass"),
    "del x": (),
    "del x[y]": ("pass",),
    "raise x": ("pass",),
    "raise X(f'{a + b} is wrong')": ("pass",),
    "return": (),
    "if x: return\n    y = z": ("not x", "pass"),
    "return x": ("return None",),
    "return None": (),
    "return False": ("True",),
    "if x: y = z": ("not x",),
    "while x > y: y = z": ("x >= y", "x <= y"),
    "for x in y: break": ("pass",),
    "for x in y: continue": ("pass",),
}


@pytest.mark.parametrize("step", STEPS)
def test_step_is_wronged_in_every_way(step: str) -> None:
    """Each kind of statement has its mistakes, and no others."""
    found = [mutant.after for mutant in mutants(f"async def f():\n    {step}")]
    assert tuple(found) == STEPS[step]


ENDS = {
    "if x: return": 0,
    "if x: y = z\n    else: return": 0,
    "with x: return": 0,
    "try: y = z\n    except E: return": 0,
    "try: return\n    except E: y = z": 0,
    "try: return\n    except E: pass\n    else: y = z": 1,
    "try: y = z\n    except E: y = z\n    else: return": 0,
    "try: y = z\n    except E: return\n    y = z": 1,
    "try: y = z\n    finally: return": 1,
    "match x:\n        case y: return": 0,
    "for x in y: return": 1,
    "while x is y: return": 1,
    "if x:\n        if y: return\n    y = z": 1,
    "def g():\n        if x: return\n    y = z": 0,
}


@pytest.mark.parametrize("steps", ENDS)
def test_return_at_the_end_of_a_function_is_left_alone(steps: str) -> None:
    """A bare return is forgotten only where the function would go on without it."""
    found = [mutant.before for mutant in mutants(f"def f():\n    {steps}")]
    assert found.count("return") == ENDS[steps]


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring of 1 page."""',
        "from x import y",
        "__all__ = ['x']",
        "class C:\n    __slots__ = ('x',)",
        "if TYPE_CHECKING:\n    x = 1 + 1",
        "x: Literal[1] | None",
        "def f(x: Literal[1]) -> Literal[2]: ...",
        "@f(1)\ndef g(): ...",
        "Alias = int | None",
        "x = 'wording for people'",
        "x = f'wording'",
    ],
)
def test_what_decides_nothing_is_left_alone(text: str) -> None:
    """Types, texts for people, names of exports and the like have no mutants."""
    assert mutants(text) == []


TOY = """
LEAST = 3


class Door:
    def __init__(self) -> None:
        self.open = True

    @property
    def told(self) -> str:
        return "open" if self.open else "shut"

    def enter(self, age: int, least: int = LEAST) -> bool:
        if age < least:
            return False
        while age > 1_000:
            age -= 1_000
        return self.open


def never() -> int:
    return 1
"""

TOY_TEST = """
import pytest
from door import Door

@pytest.mark.parametrize("age,enters", [(2, False), (4, True), (1_000, True)])
def test_age(age, enters):
    assert Door().enter(age) is enters

def test_grown_old():
    assert Door().enter(5_004)

def test_told():
    assert Door().told == "open"
"""


def test_key_tells_mutants_apart_and_trees_have_one_mistake() -> None:
    """No two mutants of a module have the same key; each tree is the module with its own mistake, and compiles."""
    made = mutants(TOY)
    assert len({mutant.key for mutant in made}) == len(made)
    for index, mutant in enumerate(made):
        fresh = mutants(TOY)[index]
        assert fresh.key == mutant.key
        wrong = ast.unparse(fresh.tree())
        assert wrong != ast.unparse(ast.parse(TOY))
        compile(wrong, "door.py", "exec")
    assert [mutant.inside for mutant in made if mutant.function == MODULE] == [None]
    assert {mutant.inside for mutant in made if mutant.function == "Door.told"} == {9}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A room of one small module, with tests that have holes."""
    (tmp_path / "door.py").write_text(TOY)
    (tmp_path / "test_door.py").write_text(TOY_TEST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Room(modules=("door",), tests=(str(tmp_path / "test_door.py"),), patience=2.0)
    sys.modules.pop("door", None)


def test_mutants_of_a_toy_are_judged_as_its_tests_deserve(toy: Room) -> None:
    """What the tests notice is killed, hung ones too; what they miss survives; what no test runs is uncovered."""
    tried = list(try_room(toy))
    assert len(tried) == len(mutants(TOY))
    left = {(one.mutant.before, one.mutant.after): one.verdict for one in tried if one.verdict != "killed"}
    assert left == {
        ("age < least", "age <= least"): "survived",
        ("age > 1000", "age >= 1000"): "survived",
        ("'shut'", "'shut_'"): "survived",
        ("3", "4"): "survived",
        ("1", "2"): "uncovered",
        ("1000", "1001"): "survived",
    }
    assert any(one.by.startswith("hung") for one in tried)


def test_tests_that_fail_without_a_mutant_judge_nothing(toy: Room) -> None:
    """A red test notices everything, so a campaign with one ends with an error."""
    with Path(toy.tests[0]).open("a", encoding="utf-8") as file:
        file.write("\n\ndef test_red():\n    assert False\n")
    with pytest.raises(CampaignError, match="test_red"):
        list(try_room(toy))


def test_function_that_works_at_import_is_wronged_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in a function that only the import calls is noticed if its module is said to be early."""
    (tmp_path / "table.py").write_text("def made():\n    return [7]\n\n\nTABLE = made()\n", encoding="utf-8")
    test = "from table import TABLE, made\n\ndef test_table():\n    made()\n    assert TABLE == [7]\n"
    (tmp_path / "test_table.py").write_text(test, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    for early, verdict in ((), "survived"), (("table",), "killed"):
        room = Room(modules=("table",), tests=(str(tmp_path / "test_table.py"),), early=early)
        assert {one.verdict for one in try_room(room)} == {verdict}
    sys.modules.pop("table", None)


def tried(verdicts: dict[int, str]) -> list[Tried]:
    """The toy's mutants, killed but for those."""
    return [
        Tried(module="door", mutant=mutant, verdict=verdicts.get(index, "killed"), by="", seconds=0.0)
        for index, mutant in enumerate(mutants(TOY))
    ]


def entry(mutant: Mutant) -> Listed:
    """Its entry in a list."""
    function, before, after, nth = mutant.key
    return Listed(module="door", function=function, before=before, after=after, nth=nth, why="because")


def test_list_neither_grows_nor_goes_stale_unseen() -> None:
    """A survivor that is not listed is red, and so is an entry that is killed or no mutant; a true list is not."""
    made = mutants(TOY)

    def figures(verdicts: dict[int, str], *known: Listed) -> Figures:
        return judge(tried(verdicts), known, 1.0)

    fine = figures({3: "survived", 5: "uncovered"}, entry(made[3]), entry(made[5]))
    assert (fine.sound, fine.killed, fine.equivalent) == (True, len(made) - 2, 2)
    assert fine.modules == {"door": (len(made), len(made) - 2, 2)}
    new = figures({3: "survived", 5: "survived"}, entry(made[3]))
    assert (new.sound, len(new.new), new.stale) == (False, 1, ())
    killed = figures({3: "survived"}, entry(made[3]), entry(made[5]))
    assert (killed.sound, killed.new, len(killed.stale)) == (False, (), 1)
    gone = figures({}, attrs.evolve(entry(made[3]), before="something else"))
    assert (gone.sound, gone.new, len(gone.stale)) == (False, (), 1)
    assert not judge([], [], 1.0).sound


def test_every_entry_of_the_list_is_a_mutant_and_has_its_argument() -> None:
    """Each listed survivor can be made of the source as it is, stands once, and says why it is no mistake."""
    entries = listed()
    assert len({(one.module, one.key) for one in entries}) == len(entries)
    modules = {f"interlock.{one.module}" for one in entries}
    assert modules <= {module for room in ROOMS.values() for module in room.modules}
    keys = {module: {mutant.key for mutant in mutants(source(module))} for module in modules}
    assert [one for one in entries if one.key not in keys[f"interlock.{one.module}"]] == []
    assert [one for one in entries if len(one.why.split()) < 5] == []


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("room", HELD)
def test_every_mutant_is_noticed_or_listed(room: str, record_property: Callable[[str, object], None]) -> None:
    """The list is the truth: no other mutant of a room that is held goes unnoticed, and each that is on it does."""
    figures = run([room])
    record_property("mutants", figures.mutants)
    record_property("killed", figures.killed)
    assert (figures.new, figures.stale) == ((), ())
    assert figures.sound


def test_rooms_name_what_there_is() -> None:
    """Every module of a room can be read, and has mutants unless it only names things."""
    for room in ROOMS.values():
        assert sum(len(mutants(source(module))) for module in room.modules) > 100
