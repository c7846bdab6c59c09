"""The real pages take the steps of ``specs/ipc/TwoPages.tla``: from every state that TLC draws, and to the same state.

Each step of the graph is set up on real files, in a home and two memories; then the real function is called, cut short
where the step is a part of it, and what it left is compared: byte, mark and what it was armed for, of all three.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from tests.helpers import HOME_ID, arm, halted_by, reset_home

from interlock import HomeError
from interlock.breaker import home as homes
from interlock.breaker import layout
from interlock.breaker.kill import Kill
from interlock.breaker.latch import ARMED as RECORD_ARMED
from interlock.breaker.latch import HALTED as RECORD_HALTED
from interlock.breaker.latch import read_latch, write_latch
from interlock.breaker.memory import VARIABLE, place
from interlock.breaker.page import FilePage, MemoryPage, Page, peek
from interlock.core.modes import ARMED
from interlock.testing import tlc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.breaker.home import Home

SPEC: Final = Path(__file__).resolve().parents[2] / "specs" / "ipc" / "TwoPages.tla"
SIDES: Final = ("near", "far")
State = dict[str, Any]
Three = tuple[Any, Any, Any]
ABSENT: Final = (False, False, 0, 0)


def plain(state: tlc.State) -> State:
    """A state, its functions as dictionaries."""
    return {name: dict(value) if isinstance(value, tuple) else value for name, value in state}


def shown(state: State) -> Three:
    """Near, far and file: whether it is there, its byte, its mark, and what it was armed for."""
    near, far = (dict(dict(state["mem"])[side]) for side in SIDES)
    keys = ("there", "armed", "mark", "for")
    file = {"there": True} | state["file"]
    near_, far_, file_ = (tuple(one[key] for key in keys) for one in (near, far, file))
    return near_, far_, file_


class CutError(BaseException):
    """The process is gone."""


class Part:
    """A mapping that takes one of the stores that are made to it, and no other."""

    def __init__(self, real: Any, which: int) -> None:
        self._real, self._left = real, which

    def __getitem__(self, at: Any) -> Any:
        """What stands there."""
        return self._real[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        """One of the stores."""
        if self._left == 0:
            self._real[at] = value
        self._left -= 1


class Bench:
    """A home and two memories, to be put into any state."""

    def __init__(self, path: Path, memories: Path, patch: pytest.MonkeyPatch) -> None:
        self.home: Home = arm(path)
        self.patch = patch
        self._roots = {side: memories / side for side in SIDES}
        for root in self._roots.values():
            root.mkdir()
        self._record = read_latch(self.home.latch)[0]

    def stand(self, side: str) -> None:
        """Be where this memory is."""
        self.patch.setenv(VARIABLE, str(self._roots[side]))

    def put(self, state: State) -> None:
        """Make it so."""
        for side, one in zip(SIDES, shown(state), strict=False):
            self.stand(side)
            with place(self.home.path, HOME_ID, make=True) as at:
                at.renew("page", self._bytes(one)) if one[0] else (at.path / "page").unlink(missing_ok=True)
        with self.home.page.open("r+b") as file:
            file.write(self._bytes(shown(state)[2]))
        said = RECORD_ARMED if state["record"]["armed"] else RECORD_HALTED
        record = attrs.evolve(self._record, state=said, epoch=state["record"]["epoch"])
        if read_latch(self.home.latch)[0] != record:
            write_latch(self.home.latch, record)

    def _bytes(self, one: tuple[bool, bool, int, int]) -> bytes:
        data = bytearray(layout.fresh(HOME_ID, ARMED if one[1] else 0))
        data[layout.HALTS_AT : layout.HALTS_END] = one[2].to_bytes(8, "little")
        data[layout.ARMED_FOR_AT : layout.HALTS_AT] = one[3].to_bytes(8, "little")
        return bytes(data)

    def found(self, state: State) -> Three:
        """What is there now; a mark that the state does not know is the next one."""
        read = []
        for side in SIDES:
            self.stand(side)
            with place(self.home.path, HOME_ID, make=True) as at:
                path = at.path / "page"
                read.append(self._read(path.read_bytes(), state) if path.exists() else ABSENT)
        read.append(self._read(self.home.page.read_bytes(), state))
        near, far, file = read
        return near, far, file

    def _read(self, data: bytes, state: State) -> tuple[bool, bool, int, int]:
        mark, was = (int.from_bytes(data[at : at + 8], "little") for at in (layout.HALTS_AT, layout.ARMED_FOR_AT))
        return True, data[0] == ARMED, mark if mark <= state["n"] else state["n"] + 1, was

    def page(self, told: int = 0) -> Page:
        """The page of who is here."""
        page = Page(self.home.page, HOME_ID)
        page._mirrored = told
        return page


def only(patch: pytest.MonkeyPatch, part: int | None) -> None:
    """Of what is written into the file at once only one part arrives, or none."""
    write = FilePage.write
    patch.setattr(FilePage, "write", lambda file, *parts: write(file, *(() if part is None else (parts[part],))))


def kill(bench: Bench, state: State) -> Kill:
    """A killer that stands there."""
    made = Kill(bench.home, halted_by(), bench.page(state["told"]["k"]))
    made.stopped = True
    return made


def count(bench: Bench, state: State) -> None:
    """The first store of a halt; nothing, where there is no memory."""
    if shown(state)[0][0]:
        memory = bench.page()._memory
        memory.map = Part(memory.map, 0)  # type: ignore[assignment]
        memory.halt()


def set_byte(bench: Bench, _: State) -> None:
    """The second one."""
    memory = bench.page()._memory
    memory.map = Part(memory.map, 1)  # type: ignore[assignment]
    memory.halt()


def make_halted(bench: Bench, _: State) -> None:
    """SetFile, as far as the memory goes."""
    only(bench.patch, None)
    Kill(bench.home, halted_by())._set_file()


def mirror(part: int) -> Callable[[Bench, State], None]:
    """One of the two writes of a halt into the file."""

    def act(bench: Bench, state: State) -> None:
        only(bench.patch, part)
        bench.page(state["told"]["k"]).mirror()

    return act


def arming(part: int | None) -> Callable[[Bench, State], None]:
    """One part of what a reset arms: of the file, or the memory."""

    def act(bench: Bench, state: State) -> None:
        only(bench.patch, part)
        if part is not None:
            bench.patch.setattr(MemoryPage, "arm", lambda *_: None)
        noted = state["noted"]
        bench.page().arm((noted[1], noted[2]))

    return act


def reset_begin(bench: Bench, state: State) -> None:
    """A reset, up to the record."""

    def cut(*_: object) -> None:
        raise CutError

    bench.patch.setattr(homes, "write_latch", cut)
    with pytest.raises(CutError):
        reset_home(bench.home.path, state["record"]["epoch"])


def make_memory(bench: Bench, state: State) -> None:
    """An engine maps its memory; it makes it, if there is none."""
    Page(bench.home.page, HOME_ID, armed=state["st"]["a"] == "armed")


def rejoin(bench: Bench, _: State) -> None:
    """It arms it, if the halt that it tells of is over."""
    bench.page().rejoin()


ACTIONS: Final[dict[str, tuple[str, Callable[[Bench, State], object]]]] = {
    "Count": ("near", count),
    "SetByte": ("near", set_byte),
    "MakeHalted": ("near", make_halted),
    "FileHalt": ("near", mirror(0)),
    "FileMark": ("near", mirror(1)),
    "LookAgain": ("near", lambda bench, state: kill(bench, state).look_again()),
    "ResetBegin": ("far", reset_begin),
    "ResetFileFor": ("far", arming(1)),
    "ResetFile": ("far", arming(2)),
    "ResetByte": ("far", arming(None)),
    "MakeMemory": ("near", make_memory),
    "RejoinLook": ("near", rejoin),
    "Mend": ("near", lambda bench, _: bench.page().mend()),
    "Repeat": ("near", lambda bench, state: bench.page(state["told"]["a"]).repeat()),
    "no Repeat": ("near", lambda bench, _: bench.page().repeat()),
    "no RejoinLook": ("near", rejoin),
}


def overtaken(action: str, state: State) -> bool:
    """Whether something came between two halves of one function, which a function that is called anew can't show."""
    if action in {"FileHalt", "FileMark"}:
        near = shown(state)[0]
        return near[1] or near[2] != state["cap"]["k"] or (action == "FileHalt" and armed(state["file"]) is None)
    return action == "MakeMemory" and state["st"]["a"] == "armed" and not armed(state["file"])


def armed(one: State) -> bool:
    """Whether it is, by byte and marks."""
    return bool(one["armed"] and one["mark"] == one["for"])


def over(state: State) -> bool:
    """Whether the near memory tells of a halt that a reset has ended."""
    near, _, file = shown(state)
    return bool(near[0] and not near[1] and near[2] != near[3] and armed(state["file"]) and near[2] == file[2])


def after(action: str, before: State, end: State) -> Three:
    """Where the function leaves it: two steps of the module are one call."""
    if action != "RejoinLook":
        return shown(end)
    near, far, file = shown(before)
    return (True, True, near[2], near[2]), far, file


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[State, str, State]]:
    """The steps that TLC draws, each once for all that differs in nothing a page can know."""
    dump = tmp_path_factory.mktemp("graph") / "pages.dot"
    result = tlc.run(SPEC, SPEC.with_name("TwoPagesWalk.cfg"), dump=dump, timeout_s=120)
    assert result.exit_code == 0, result.output
    found: dict[object, tuple[State, str, State]] = {}
    for before, action, end in tlc.parse_dot(dump)[1]:
        one, other = dict(before), dict(end)
        known = tuple(one[name] for name in ("mem", "file", "record", "n", "told", "cap", "noted"))
        found.setdefault(
            (action, known, dict(one["st"]) == {"a": "armed"}, other["mem"], other["file"]),  # type: ignore[arg-type]
            (plain(before), action, plain(end)),
        )
        if dict(one["mem"])["near"] and dict(dict(one["mem"])["near"])["there"]:  # type: ignore[arg-type]
            state = plain(before)
            stays = "no Repeat" if over(state) else "no RejoinLook"  # where the step is not there, nothing is done
            found.setdefault((stays, one["mem"], one["file"]), (state, stays, state))
    return list(found.values())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a home with two memories."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memories:
        yield Bench(tmp_path / "home", Path(memories), monkeypatch)


def wrong(graph: list[tuple[State, str, State]], bench: Bench) -> Counter[str]:
    """The steps that the code takes otherwise; each action that was tried stands there, if only with none."""
    found: Counter[str] = Counter()
    for before, action, end in graph:
        if action not in ACTIONS or overtaken(action, before):
            continue
        side, act = ACTIONS[action]
        bench.put(before)
        with pytest.MonkeyPatch.context() as patch:
            bench.patch = patch
            bench.stand(side)
            with suppress(CutError, HomeError):
                act(bench, before)
        with pytest.MonkeyPatch.context() as patch:
            bench.patch = patch
            found[action] += bench.found(before) != after(action, before, end)
    return found


def test_pages_take_the_steps_of_the_specification(
    graph: list[tuple[State, str, State]], bench: Bench, record_property: Callable[[str, object], None]
) -> None:
    """From every state that TLC draws each function leaves byte, marks and what was armed as the module says."""
    record_property("edges", len(graph))
    found = wrong(graph, bench)
    assert found.keys() == ACTIONS.keys()
    assert +found == Counter()


def test_pages_say_what_the_specification_says(graph: list[tuple[State, str, State]], bench: Bench) -> None:
    """In every such state both memories, the file, and all together are armed or not, as the module says."""
    states = {str((shown(state), state["record"])): state for state, _, _ in graph}
    for state in states.values():
        bench.put(state)
        near, far, file = shown(state)
        filed = armed(state["file"])
        assert (FilePage(bench.home.page, HOME_ID).byte == ARMED) == filed
        for side, one in (("near", near), ("far", far)):
            ended = one[0] and not one[1] and one[2] != one[3] and filed and one[2] == file[2]
            mine = one[1] and one[2] == one[3]
            with pytest.MonkeyPatch.context() as bench.patch:
                bench.stand(side)
                assert (peek(bench.home.page, HOME_ID) == ARMED) == (filed and (not one[0] or mine or ended))
                if one[0]:
                    page = bench.page()
                    assert (page.armed, page.over) == (mine and filed, ended)


def _marks_first(page: Page) -> None:
    page._file.write((layout.HALTS_AT, page.mark.to_bytes(8, "little")), (0, b"\x00"))


WRONG: Final[dict[str, tuple[type, str, object, set[str]]]] = {
    "a halt in the file writes its mark first": (Page, "mirror", _marks_first, {"FileHalt", "FileMark"}),
    "a memory is rejoined for any halt": (
        MemoryPage, "arm", lambda memory, _: memory.map.__setitem__(0, ARMED), {"RejoinLook", "ResetByte"},
    ),
    "what is over is repeated": (Page, "repeat", Page.mirror, {"no Repeat"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pages_show_in_their_steps(
    graph: list[tuple[State, str, State]], bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A page that is wrong takes other steps, in the actions that use it."""
    where, what, instead, shows = WRONG[name]
    monkeypatch.setattr(where, what, instead)
    assert shows <= set(+wrong(graph, bench))
