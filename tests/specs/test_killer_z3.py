"""The killer's side of the proof, and the reset: the relation's steps are those of `Kill` and `Home.reset`, on files.

`Kill` has a method a step, but for the record, which a thread writes. `Home.reset` is one call, and runs in a thread,
too. Both threads are stopped before each access that others can see. Each state is reached anew, by the steps that
lead to it, from a home that is armed and from one that is halted.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.helpers import HOME_ID, arm, halt_home, halted_by, reset_home

from interlock.breaker import home as homes
from interlock.breaker import kill as kills
from interlock.breaker.home import Home, HomeError
from interlock.breaker.kill import Kill
from interlock.breaker.latch import ARMED as LATCH_ARMED
from interlock.breaker.latch import read_latch, write_latch
from interlock.breaker.layout import ARMED_FOR_AT, HALTS_AT
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import clear
from interlock.breaker.page import Page
from interlock.core.modes import ARMED
from interlock.testing.induction import Program
from interlock.testing.quiescence_mistakes import universe
from interlock.testing.quiescence_proof import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

State = tuple[Any, ...]

STARTS = ("armed", "halted")
"""A home that nobody has halted, and one that somebody has."""

FIELDS = [field.name for field in attrs.fields(type(SYSTEM.before))]
KILLING = {
    "SetByte": ({"ready"}, "set"),
    "TakePen": ({"set", "alone", "again", "done"}, ""),
    "WriteLatch": ({"set", "alone", "again", "done"}, ""),
    "WriteLatchFull": ({"set", "alone", "again", "done"}, ""),
    "GetExclusive": ({"set"}, "alone"),
    "LookAgain": ({"alone"}, "again"),
    "LookAgainFull": ({"alone"}, "again"),
    "Ack": ({"again"}, "done"),
    "KillerDies": ({"set", "alone", "again", "done"}, "gone"),
}
"""What a killer tries, where it stands then, and where after. The disk may be full when it writes or looks again."""


class DiedError(BaseException):
    """The process is gone."""


class Stepper(threading.Thread):
    """Something that is done one access at a time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.at = "begin"
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._dies = False
        self.start()

    def step(self, *, dies: bool = False) -> None:
        """Let it make the access that it stands before, or die."""
        self._dies = dies
        self._go.release()
        assert self._stopped.acquire(timeout=30)

    def stop_before(self, what: str) -> None:
        """Called in its own thread."""
        self.at = what
        self._stopped.release()
        self._go.acquire()
        if self._dies:
            raise DiedError

    def run(self) -> None:
        """Do it, when told."""
        self._go.acquire()
        with suppress(DiedError):
            if not self._dies:
                self.act()
        self.at = "over"
        self._stopped.release()

    def act(self) -> None:
        """What is done."""
        raise NotImplementedError


class Resetter(Stepper):
    """`Home.reset`."""

    def __init__(self, path: Path) -> None:
        self.noted = (0, 0)
        self.refused = False
        self._path = path
        super().__init__()

    def act(self) -> None:
        """Reset."""
        try:
            reset_home(self._path, 1)
        except HomeError:
            self.refused = self.at == "LockReset"


class Writer(Stepper):
    """The thread that writes a halt's record."""

    def __init__(self, kill: Kill) -> None:
        self.full = False
        self._kill = kill
        super().__init__()

    def act(self) -> None:
        """Write it, once."""
        self._kill._latch()


def stop_before(what: str) -> None:
    """Stop, if this is a reset's thread."""
    if isinstance(me := threading.current_thread(), Resetter):
        me.stop_before(what)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a reset before it takes lock and pen, reads the count, writes the latch, and arms the byte.

    And a killer's thread, when it has the pen, before it writes the latch.
    """
    exclusive, arming, halts, look = FileLock.exclusive, Page.arm, Page.halts.fget, Home.latch_state
    write, halting = homes.write_latch, Page.halt
    assert halts is not None

    def count(page: Page) -> tuple[int, int]:
        me = threading.current_thread()
        if not isinstance(me, Resetter) or me.at == "Halting":
            return halts(page)
        me.stop_before("ResetDone" if me.at == "ResetByte" else "NoteHalts")
        found = halts(page)
        if me.at == "NoteHalts":
            me.noted = found
        return found

    def halt(page: Page) -> None:
        me = threading.current_thread()
        if isinstance(me, Resetter):
            me.at = "Halting"
        halting(page)

    def latch(*given: Any) -> None:
        me = threading.current_thread()
        stop_before("LatchAgain" if isinstance(me, Resetter) and me.at == "Halting" else "ResetLatch")
        write(*given)

    def alone(lock: FileLock, timeout_s: float = 0.0) -> bool:
        stop_before("ResetPen" if isinstance(lock, Pen) else "LockReset")
        return exclusive(lock, timeout_s)

    monkeypatch.setattr(homes, "_PEN_S", 0.0)  # who has the pen is held up until the reset has taken its step
    monkeypatch.setattr(FileLock, "exclusive", alone)
    monkeypatch.setattr(Home, "latch_state", lambda home: (stop_before("Check"), look(home))[1])
    monkeypatch.setattr(Page, "arm", lambda *given: (stop_before("ResetByte"), arming(*given))[1])
    monkeypatch.setattr(Page, "halts", property(count))
    monkeypatch.setattr(Page, "halt", halt)
    monkeypatch.setattr(homes, "write_latch", latch)
    monkeypatch.setattr(kills, "write_latch", latch_halted)


def latch_halted(*given: Any) -> None:
    """A killer replaces the record; its thread stops before that, and may find the disk full."""
    if isinstance(me := threading.current_thread(), Writer):
        me.stop_before("WriteLatch")
        if me.full:
            full()
    write_latch(*given)


RESETTING = {
    "LockReset": "waiting", "ResetPen": "free", "Check": "penned", "NoteHalts": "penned",
    "ResetLatch": "noted", "ResetByte": "latched",
    "ResetDone": "armed", "LatchAgain": "lost", "over": "over",
}  # fmt: skip
"""What it is in the relation that a reset stands before an access."""


class World:
    """A home, a killer and a reset."""

    def __init__(self, path: Path, kill: type[Kill]) -> None:
        self._home = Home(path)
        page = Page(self._home.page, HOME_ID, armed=read_latch(self._home.latch)[0].state == LATCH_ARMED)
        if page.map[0] != ARMED:  # a copy has no memory of its halt
            page.halt()
        page.close()
        self._kill = kill(self._home, halted_by())
        self._lock = FileLock(self._home.lock)
        self._marks = {0: 0}
        self._killer = "ready"
        self._acked = 0
        self._pen = 0
        self._owed = self._epoch_and_byte()[1] != ARMED
        self._writer: Writer | None = None
        self._resetter = Resetter(path)
        self._resetter.step()

    def _epoch_and_byte(self) -> tuple[int, int]:
        page = Page(self._home.page, self._home.page_says())
        byte = page.map[0]
        page.close()
        return read_latch(self._home.latch)[0].epoch, byte

    def close(self) -> None:
        """End the threads, and let go of the lock."""
        for thread in filter(None, (self._resetter, self._writer)):
            if thread.at != "over":
                thread.step(dies=True)
            thread.join(30)
        self._lock.close()

    def attempt(self, what: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
        """Try a step: its name in the relation, or None if it can't be taken."""
        _, byte = self._epoch_and_byte()
        name = self._attempt(what, monkeypatch)
        if name in {"SetByte", "HaltWins"} or (name == "LookAgain" and byte == ARMED):
            self._owed = True
        elif name == "NoteHalts":
            self._owed = False
        return name

    def _attempt(self, what: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
        if what == "Reset":
            return self._reset()
        if what == "ResetterDies":
            self._resetter.step(dies=True)
            return what
        if what in {"TakePen", "WriteLatch", "WriteLatchFull"}:
            return self._write(what)
        with monkeypatch.context() as patch:
            if what == "LookAgainFull":
                patch.setattr(kills, "write_latch", full)
            if not self._do(what):
                return None  # refused
        self._killer = KILLING[what][1]
        return what.removesuffix("Full")

    def _write(self, what: str) -> str | None:
        """The record's thread begins, or goes on from where it has the pen."""
        writer = self._writer = self._writer or Writer(self._kill)
        writer.full = what == "WriteLatchFull"
        writer.step()
        if writer.at == "WriteLatch":
            self._pen = self._epoch_and_byte()[0]
            return what
        self._writer = None
        self._pen = 0
        if what == "TakePen":
            return "FindLatched" if self._kill.durable else None
        return "DropPen" if writer.full else what

    def _do(self, what: str) -> bool:
        if what == "SetByte":
            self._kill.set_byte()
        elif what == "GetExclusive":
            return self._lock.exclusive()
        elif what.startswith("LookAgain"):
            return self._kill.look_again()
        elif what == "Ack":
            self._acked = read_latch(self._home.latch)[0].epoch
            self._lock.release()
        else:
            self._lock.close()
            if self._writer is not None:
                self._writer.step(dies=True)
                self._writer, self._pen = None, 0
        return True

    def _reset(self) -> str | None:
        was = self._resetter.at
        self._resetter.step()
        now = self._resetter.at
        if now == "over" and self._resetter.refused:
            return None
        if was == "Check":
            return "ResetterDies" if now == "over" else "stays"
        if was == "ResetPen" and now == "over":
            return "ResetterDies"
        return "HaltWins" if now == "LatchAgain" else was

    def _ordinal(self, mark: int) -> int:
        """The number of a halt by its mark; the relation counts them."""
        return self._marks.setdefault(mark, len(self._marks))

    def shown(self) -> State:
        """The state, as the relation sees it."""
        latch, _ = read_latch(self._home.latch)
        page = Page(self._home.page, latch.home)
        byte, halts = page.map[0] == ARMED, self._ordinal(page.mark)
        armed_for = self._ordinal(int.from_bytes(page.map[ARMED_FOR_AT:HALTS_AT], "little"))
        page.close()
        of = {
            "byte": byte, "latch": latch.state == LATCH_ARMED, "epoch": latch.epoch, "halts": halts,
            "armed_for": armed_for, "owed": self._owed, "killer": (self._killer,), "pen": (self._pen,),
            "durable": (self._kill.durable,), "acked": (self._acked,),
            "resetter": (RESETTING[self._resetter.at],), "noted": (self._ordinal(self._resetter.noted[0]),),
        }  # fmt: skip
        return tuple(of.get(field, ()) for field in FIELDS)

    def choices(self) -> list[str]:
        """What can be tried."""
        mine = [name for name, (needs, _) in KILLING.items() if self._killer in needs]
        if self._writer is not None or self._kill.durable:
            mine = [name for name in mine if name != "TakePen"]
        if self._writer is None:
            mine = [name for name in mine if not name.startswith("WriteLatch")]
        resetting = RESETTING[self._resetter.at]
        theirs = [] if resetting == "over" else ["Reset"] if resetting == "waiting" else ["Reset", "ResetterDies"]
        return mine + theirs

    @property
    def key(self) -> tuple[State, str]:
        """The state, and where the reset stands."""
        return self.shown(), self._resetter.at


def full(*_: object) -> None:
    """As if the disk were full."""
    raise OSError(28, "No space left on device")


def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: type[Kill]) -> set[tuple[State, str, State]]:
    """Every step that the code can take, from every state that it can reach."""
    edges = set()
    for start in STARTS:
        arm(tmp_path / start)
        if start == "halted":
            halt_home(tmp_path / start)
        edges |= walk_from(tmp_path / start, monkeypatch, kill)
    return edges


def walk_from(start: Path, monkeypatch: pytest.MonkeyPatch, kill: type[Kill]) -> set[tuple[State, str, State]]:
    """The same, for one beginning."""
    edges = set()
    seen: set[Any] = set()
    known: dict[str, Any] = {}
    queue: deque[tuple[str, ...]] = deque([()])
    number = 0
    while queue:
        path = queue.popleft()
        number += 1
        place = start.with_name(f"{start.name}-{number}")
        shutil.copytree(start, place)
        clear(place)  # another test may have removed an armed home whose inode this one got
        world = World(place, kill)
        try:
            before, name, done = world.shown(), "", ""
            for step in path:
                before = world.shown()
                name = world.attempt(step, monkeypatch) or ""
                done += f" {step}"
                taken = (name, world.key)
                assert known.setdefault(done, taken) == taken, f"it is not the same each time:{done}"
            if name not in {"", "stays"}:
                edges.add((before, name, world.shown()))
            if (name or not path) and world.key not in seen:
                seen.add(world.key)
                queue.extend((*path, what) for what in world.choices())
        finally:
            world.close()
            clear(place)  # another copy may get its inode
            shutil.rmtree(place)
    return edges


def first(start: str) -> State:
    """Where the relation begins, without engines."""
    armed = start == "armed"
    of = {
        "byte": armed, "latch": armed, "epoch": 1, "halts": 0 if armed else 1, "armed_for": 0, "owed": not armed,
        "killer": ("ready",), "pen": (0,), "durable": (False,), "acked": (0,), "resetter": ("waiting",), "noted": (0,),
    }  # fmt: skip
    return tuple(of.get(field, ()) for field in FIELDS)


def proven() -> tuple[set[tuple[State, str, State]], set[tuple[State, str, State]]]:
    """The relation's steps; and those that are several: a killer that looks again may write the latch at once.

    It does so with a pen of its own, also while its thread has one.
    """
    byte, latch, durable = (FIELDS.index(name) for name in ("byte", "latch", "durable"))
    program = Program(SYSTEM, *universe(engines=0, killers=1, resetters=1))
    edges, double = set(), set()
    seen = {first(start) for start in STARTS}
    queue = deque(seen)
    while queue:
        before = queue.popleft()
        for (name, _), after in program.successors(before):
            edges.add((before, name, after))
            found = [after]
            if name == "LookAgain" and (before[byte] or before[durable][0]):
                then = list(after)
                then[latch], then[durable] = False, (True,)
                found.append(tuple(then))
                double.add((before, name, found[-1]))
            queue.extend(set(found) - seen)
            seen.update(found)
    return edges, double


@pytest.mark.usefixtures("watched")
def test_killer_and_reset_take_the_proven_steps_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """In every interleaving of a kill and a reset, deaths and a full disk included, the code does as the relation."""
    code = walk(tmp_path, monkeypatch, Kill)
    edges, double = proven()
    record_property("steps", len(edges & code))
    assert code - edges - double == set()
    assert {edge for edge in edges - code if edge[1] != "LookAgain"} == set()
    assert {before for before, name, _ in edges if name == "LookAgain"} == {
        before for before, name, _ in code if name == "LookAgain"
    }


class LooksAtTheByteOnly(Kill):
    """Goes by its first look at the record, unless the byte was armed."""

    def look_again(self) -> bool:
        """Look at the byte."""
        page = Page(self.home.page, self.home.page_says())
        armed = page.map[0] == ARMED
        page.close()
        return super().look_again() if armed else True


class LooksAtTheLatchOnly(Kill):
    """Takes a halted record for a halted home."""

    def look_again(self) -> bool:
        """Look at the record."""
        halted = read_latch(self.home.latch)[0].state != LATCH_ARMED
        return True if halted else super().look_again()


class DoesNotLookAgain(Kill):
    """Has the lock, and is content."""

    def look_again(self) -> bool:
        """Look at nothing."""
        return True


class SaysDurableTooSoon(Kill):
    """Says that it is durable when the byte is set."""

    def set_byte(self) -> None:
        """Set the byte, and claim more."""
        super().set_byte()
        self.durable = True


class TakesNoPen(Kill):
    """Reads the record and replaces it, whoever has the pen."""

    def _replace(self) -> bool:
        """Write it."""
        latch, _ = read_latch(self.home.latch)
        kills.write_latch(self.home.latch, self._cause(latch))
        return True


class EverybodysPen(Pen):
    """One that is always had."""

    def exclusive(self, timeout_s: float = 0.0) -> bool:
        """Say that it is ours."""
        super().exclusive(timeout_s)
        return True


WRONG: dict[type[Kill], set[str]] = {
    LooksAtTheByteOnly: {"LookAgain"},
    LooksAtTheLatchOnly: {"LookAgain"},
    DoesNotLookAgain: {"LookAgain"},
    SaysDurableTooSoon: {"SetByte"},
    TakesNoPen: {"TakePen", "ResetPen"},
}
"""Where each shows. If it takes no pen, a reset is not kept out either."""


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("kill", WRONG)
def test_a_wrong_kill_takes_wrong_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: type[Kill]) -> None:
    """A mistake in the code shows in the very step that it is made in."""
    code = walk(tmp_path, monkeypatch, kill)
    edges, double = proven()
    reached = {before for before, _, _ in edges}
    wrong = {edge[1] for edge in code - edges - double if edge[0] in reached}
    assert wrong == WRONG[kill]


@pytest.mark.usefixtures("watched")
def test_a_reset_that_is_not_kept_out_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset that goes on while a killer has the pen takes a step that is none."""
    monkeypatch.setattr(homes, "Pen", EverybodysPen)
    code = walk(tmp_path, monkeypatch, Kill)
    edges, double = proven()
    reached = {before for before, _, _ in edges}
    assert {edge[1] for edge in code - edges - double if edge[0] in reached} == {"ResetPen"}


@pytest.mark.usefixtures("watched")
def test_a_reset_that_does_not_compare_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset that finds the same count whatever happens takes the step of one that nobody halted."""
    monkeypatch.setattr(homes, "Page", Uncounted)
    code = walk(tmp_path, monkeypatch, Kill)
    edges, double = proven()
    reached = {before for before, _, _ in edges}
    assert {edge[1] for edge in code - edges - double if edge[0] in reached} == {"ResetDone"}


class Uncounted(Page):
    """A page whose count of halts is told once."""

    @property
    def halts(self) -> tuple[int, int]:
        """Always the same."""
        told: tuple[int, int] = self.__dict__.setdefault("told", super().halts)
        return told
