"""The killer's side of the proof, and the reset: the relation's steps are those of `Kill` and `Home.reset`, on files.

`Kill` has a method a step. `Home.reset` is one call, and runs in a thread that is stopped before each access that
others can see. Each state is reached anew, from an armed home, by the steps that lead to it.
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
from interlock.breaker.latch import read_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.memory import clear
from interlock.breaker.page import Page
from interlock.core.modes import ARMED
from interlock.testing.induction import Program
from interlock.testing.quiescence_mistakes import universe
from interlock.testing.quiescence_proof import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path

State = tuple[Any, ...]

STARTS = ("armed", "halted")
"""A home that nobody has halted, and one that somebody has."""

FIELDS = [field.name for field in attrs.fields(type(SYSTEM.before))]
KILLING = {
    "SetByte": ({"ready"}, "set"),
    "WriteLatch": ({"set", "alone", "again", "done"}, ""),
    "GetExclusive": ({"set"}, "alone"),
    "LookAgain": ({"alone"}, "again"),
    "LookAgainFull": ({"alone"}, "again"),
    "Ack": ({"again"}, "done"),
    "KillerDies": ({"set", "alone", "again"}, "gone"),
}
"""What a killer tries, where it stands then, and where after. The disk may be full when it looks again."""


class DiedError(BaseException):
    """The reset's process is gone."""


class Resetter(threading.Thread):
    """`Home.reset`, one access at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.at = "begin"
        self.noted = (0, 0)
        self.refused = False
        self._path = path
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
        """Reset, when told."""
        self._go.acquire()
        with suppress(DiedError):
            try:
                if not self._dies:
                    reset_home(self._path, 1)
            except HomeError:
                self.refused = self.at == "LockReset"
        self.at = "over"
        self._stopped.release()


def stop_before(what: str) -> None:
    """Stop, if this is a reset's thread."""
    if isinstance(me := threading.current_thread(), Resetter):
        me.stop_before(what)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a reset before it takes the lock, reads the count, writes the latch, and arms the byte."""
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

    monkeypatch.setattr(FileLock, "exclusive", lambda *given: (stop_before("LockReset"), exclusive(*given))[1])
    monkeypatch.setattr(Home, "latch_state", lambda home: (stop_before("Check"), look(home))[1])
    monkeypatch.setattr(Page, "arm", lambda page: (stop_before("ResetByte"), arming(page))[1])
    monkeypatch.setattr(Page, "halts", property(count))
    monkeypatch.setattr(Page, "halt", halt)
    monkeypatch.setattr(homes, "write_latch", latch)


RESETTING = {
    "LockReset": "waiting", "Check": "free", "NoteHalts": "free", "ResetLatch": "noted", "ResetByte": "latched",
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
        self._resetter = Resetter(path)
        self._resetter.step()

    def close(self) -> None:
        """End the reset, and let go of the lock."""
        if self._resetter.at != "over":
            self._resetter.step(dies=True)
        self._resetter.join(30)
        self._lock.close()

    def attempt(self, what: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
        """Try a step: its name in the relation, or None if it can't be taken."""
        if what == "Reset":
            return self._reset()
        if what == "ResetterDies":
            self._resetter.step(dies=True)
            return what
        with monkeypatch.context() as patch:
            if what == "LookAgainFull":
                patch.setattr(kills, "write_latch", full)
            if not self._do(what):
                return None  # refused
        self._killer = KILLING[what][1] or self._killer
        return what.removesuffix("Full")

    def _do(self, what: str) -> bool:
        if what == "SetByte":
            self._kill.set_byte()
        elif what == "WriteLatch":
            return self._kill._latch()
        elif what == "GetExclusive":
            return self._lock.exclusive()
        elif what.startswith("LookAgain"):
            return self._kill.look_again()
        elif what == "Ack":
            self._acked = read_latch(self._home.latch)[0].epoch
            self._lock.release()
        else:
            self._lock.close()
        return True

    def _reset(self) -> str | None:
        was = self._resetter.at
        self._resetter.step()
        now = self._resetter.at
        if now == "over" and self._resetter.refused:
            return None
        if was == "Check":
            return "ResetterDies" if now == "over" else "stays"
        return "HaltWins" if now == "LatchAgain" else was

    def _ordinal(self, mark: int) -> int:
        """The number of a halt by its mark; the relation counts them."""
        return self._marks.setdefault(mark, len(self._marks))

    def shown(self) -> State:
        """The state, as the relation sees it."""
        latch, _ = read_latch(self._home.latch)
        page = Page(self._home.page, latch.home)
        byte, halts = page.map[0] == ARMED, self._ordinal(page.mark)
        page.close()
        of = {
            "byte": byte, "latch": latch.state == LATCH_ARMED, "epoch": latch.epoch, "halts": halts,
            "killer": (self._killer,), "durable": (self._kill.durable,), "acked": (self._acked,),
            "resetter": (RESETTING[self._resetter.at],), "noted": (self._ordinal(self._resetter.noted[0]),),
        }  # fmt: skip
        return tuple(of.get(field, ()) for field in FIELDS)

    def choices(self) -> list[str]:
        """What can be tried."""
        mine = [name for name, (needs, _) in KILLING.items() if self._killer in needs]
        if self._kill.durable and "WriteLatch" in mine:
            mine.remove("WriteLatch")
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
    queue: deque[tuple[str, ...]] = deque([()])
    number = 0
    while queue:
        path = queue.popleft()
        number += 1
        place = start.with_name(f"{start.name}-{number}")
        shutil.copytree(start, place)
        world = World(place, kill)
        try:
            before, name = world.shown(), ""
            for step in path:
                before = world.shown()
                name = world.attempt(step, monkeypatch) or ""
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
        "byte": armed, "latch": armed, "epoch": 1, "halts": 0 if armed else 1, "killer": ("ready",),
        "durable": (False,), "acked": (0,), "resetter": ("waiting",), "noted": (0,),
    }  # fmt: skip
    return tuple(of.get(field, ()) for field in FIELDS)


def proven() -> tuple[set[tuple[State, str, State]], set[tuple[State, str, State]]]:
    """The relation's steps; and those that are two of them: a killer that looks again may write the latch at once."""
    program = Program(SYSTEM, *universe(engines=0, killers=1, resetters=1))
    edges, double = set(), set()
    seen = {first(start) for start in STARTS}
    queue = deque(seen)
    while queue:
        before = queue.popleft()
        for (name, _), after in program.successors(before):
            edges.add((before, name, after))
            if name == "LookAgain":
                double |= {
                    (before, name, then) for (more, _), then in program.successors(after) if more == "WriteLatch"
                }
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return edges, double


@pytest.mark.usefixtures("watched")
def test_killer_and_reset_take_the_proven_steps_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every interleaving of a kill and a reset, deaths and a full disk included, the code does as the relation."""
    code = walk(tmp_path, monkeypatch, Kill)
    edges, double = proven()
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


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("kill", [LooksAtTheByteOnly, LooksAtTheLatchOnly, DoesNotLookAgain, SaysDurableTooSoon])
def test_a_wrong_kill_takes_wrong_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: type[Kill]) -> None:
    """A mistake in the code shows in the very step that it is made in."""
    code = walk(tmp_path, monkeypatch, kill)
    edges, double = proven()
    reached = {before for before, _, _ in edges}
    wrong = {edge[1] for edge in code - edges - double if edge[0] in reached}
    assert wrong == {"SetByte" if kill is SaysDurableTooSoon else "LookAgain"}


@pytest.mark.usefixtures("watched")
def test_a_reset_that_does_not_compare_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset that finds the same count whatever happens takes the step of one that nobody halted."""
    monkeypatch.setattr(homes, "Page", Uncounted)
    code = walk(tmp_path, monkeypatch, Kill)
    edges, double = proven()
    reached = {before for before, _, _ in edges}
    assert {edge[1] for edge in code - edges - double if edge[0] in reached} == {"ResetDone"}


class Uncounted(Page):
    """A page whose count of halts is looked at and not told."""

    @property
    def halts(self) -> tuple[int, int]:
        """Always the same."""
        return min((0, 0), super().halts)
