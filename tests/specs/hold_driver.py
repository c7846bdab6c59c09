"""The real `Hold`, stopped at each access to what others can see, and walked through every interleaving.

No thread is needed. A method is a function of what it reads, so to go on with one that was stopped is to call it again,
to show it at each access what it was shown there, and at the last one the present. It is stopped by an exception. What
stops it are a page, a guard, a lock and a table of announcements that count accesses; of the class only the two
attributes that others read are watched, and none of its methods is changed.

The world around is as liberal as the protocol allows: somebody sets the byte at any time; whoever gets the lock
exclusively may arm it. The kernel's part is what `quiescence_model` takes for granted. Slots are fixed, one a permit;
or there are none when a send begins, and one when it ends, for another that waits for it.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import attrs

from interlock.breaker.quiescence import DEAD, SHOWN, Hold
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Edge", "View", "Walk"]


@attrs.frozen
class Engine:
    """One engine: what its kernel has set, its `Hold`, its guard, and whether the file lock is there."""

    alive: bool = True
    running: bool = False
    dead: bool = False
    held: bool = False
    lock: bool = False
    guard: bool = False
    sending: frozenset[int] = frozenset()


@attrs.frozen
class Frame:
    """A call that was stopped.

    Attributes:
        call: what was called, and with what.
        before: the access that it was stopped before.
        where: the call stack: names, places and local variables.
        seen: what it was shown, so far; not a part of what it is.
    """

    call: Call
    before: str
    where: tuple[Any, ...]
    seen: tuple[Shown, ...] = attrs.field(eq=False, repr=False)


Shown = tuple[bool, bool, Engine]
"""What a call can see: is the byte armed, has somebody the lock exclusively, and its own engine."""

Node = tuple[int, ...]
"""Byte, exclusive lock, engine, and for each thread the call that it is in: all as numbers."""

Call = tuple[str, tuple[int, ...]]

View = tuple[Any, ...]
"""What the model sees: byte, exclusive lock; alive, running, dead and place of the engine; each emitter's state."""

Edge = tuple[View, str, int, View]
"""A step between states that look different: before, the model's name of the step, the emitter or 0, after."""

_KERNEL, _LOOKOUT, _EMITTERS = 0, 1, 2
"""The threads."""

_OF_AN_EMITTER = frozenset({"Announce", "Load", "Look", "Retract", "End"})


class _Stopped(BaseException):
    """A call is left where it stands."""


class _Page:
    """The mapped page."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def __getitem__(self, index: int) -> int:
        self._walk.access("read")
        return ARMED if self._walk.byte else 0


class _Guard:
    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.taken = False

    def __enter__(self) -> Self:
        self._walk.access("guard")
        self.taken = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not _Stopped:
            self.taken = False


class _Lock:
    """As ``flock``: shared, unless somebody has it exclusively."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.taken = False

    def shared(self) -> bool:
        self._walk.access("shared")
        self.taken = self.taken or not self._walk.exclusive
        return self.taken

    def release(self) -> None:
        self._walk.access("release")
        self.taken = False


class _Announced(dict[int, int]):
    """One table for ever, as a call may have it in hand when it is stopped."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self._walk = walk

    def __delitem__(self, permit: int) -> None:
        self._walk.access("del")
        super().__delitem__(permit)

    def __len__(self) -> int:
        self._walk.access("count")
        return super().__len__()


class _Watched:
    """Before `Hold` among the bases: the page is watched, whoever reads or sets it."""

    walk: Walk

    @property
    def page(self) -> object:
        self.walk.access("load")
        return Hold.page.__get__(self)  # type: ignore[attr-defined]

    @page.setter
    def page(self, value: object) -> None:
        self.walk.access("page")
        Hold.page.__set__(self, value)  # type: ignore[attr-defined]


class Walk:
    """All interleavings of one engine: its kernel's thread, a lookout and some emitters.

    One is enough: a `Hold` reads the byte, the lock and what is its own, and changes what is its own.

    Args:
        hold: the class; another one, to see that a mistake in it is found.
        emitters: so many.
        retire_anywhere: whether the lookout, too, may call `Hold.retire`.
        crowded: whether there is no slot for any send.
    """

    def __init__(
        self, hold: type[Hold] = Hold, *, emitters: int = 2, retire_anywhere: bool = False, crowded: bool = False
    ) -> None:
        self.byte = self.exclusive = True
        self.nodes = 0
        self._emitters = emitters
        self._lookout: tuple[str, ...] = ("see", "leave", "retire") if retire_anywhere else ("see", "leave")
        self._crowded = crowded
        self._watching = False
        self._page, self._guard, self._lock = _Page(self), _Guard(self), _Lock(self)
        watched = type("Watched", (_Watched, hold), {"walk": self})
        self._hold = watched(self._page, self._lock, [0] * SHOWN)
        self._hold._guard = self._guard
        self._hold.sending = _Announced(self)
        self._things: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._gone: dict[tuple[int, ...], tuple[str, int, int, int]] = {}

    # -- One call ------------------------------------------------------------------------------------

    def access(self, what: str) -> None:
        """Called by all that is watched, before it is touched."""
        if not self._watching:
            return
        self._count += 1
        if self._count < len(self._show):
            self._set(self._show[self._count])
            return
        where = []
        frame = sys._getframe(1)
        while frame.f_code.co_name != "_run":
            if frame.f_code.co_filename != __file__:
                kept = {name: value for name, value in frame.f_locals.items() if name != "self"}
                where.append((frame.f_code.co_name, frame.f_lasti, tuple(sorted(kept.items()))))
            assert frame.f_back is not None
            frame = frame.f_back
        self._left = (what, tuple(where), self._get())
        raise _Stopped

    def _run(self, call: Call, seen: tuple[Shown, ...]) -> tuple[Frame | None, Engine]:
        """Go on with a call, to its next access or its end."""
        self._show, self._count = seen, 0
        name, arguments = call
        self._set(seen[0])
        self._hold._free = [2 * arguments[0]] if arguments and (name == "end" or not self._crowded) else []
        self._watching = True
        try:
            getattr(self._hold, name)(*arguments)
        except _Stopped:
            before, where, engine = self._left
            return Frame(call, before, where, seen), engine
        finally:
            self._watching = False
        return None, self._get()

    def _set(self, shown: Shown) -> None:
        watching, self._watching = self._watching, False
        self.byte, self.exclusive, engine = shown
        hold = self._hold
        hold.page = DEAD if engine.dead else self._page
        hold.held = engine.held
        self._lock.taken, self._guard.taken = engine.lock, engine.guard
        hold.sending.clear()
        hold.sending.update({permit: -1 if self._crowded else 2 * permit for permit in engine.sending})
        hold._unnamed.clear()
        hold._unnamed.update(dict.fromkeys(engine.sending if self._crowded else (), 1))
        hold._waits = bool(hold._unnamed)
        self._engine = engine
        self._watching = watching

    def _get(self) -> Engine:
        watching, self._watching = self._watching, False
        hold = self._hold
        found = attrs.evolve(
            self._engine,
            dead=hold.page is DEAD,
            held=hold.held,
            lock=self._lock.taken,
            guard=self._guard.taken,
            sending=frozenset(dict.keys(hold.sending)),
        )
        self._watching = watching
        return found

    # -- All of them -----------------------------------------------------------------------------------

    def run(self, limit: int) -> set[Edge]:
        """Every step between two states that look different to the model.

        Raises:
            ValueError: more states than the limit.
        """
        first: Node = (1, 0, self._number(Engine()), *[self._number(None)] * (_EMITTERS + self._emitters))
        views = {first: self._view(first)}
        queue = deque([first])
        edges: set[Edge] = set()
        while queue:
            node = queue.popleft()
            before = views[node]
            for name, element, after in self._steps(node):
                view = views.get(after)
                if view is None:
                    view = views[after] = self._view(after)
                    queue.append(after)
                if view != before:
                    edges.add((before, name, element, view))
            if len(views) > limit:
                message = f"more than {limit} states"
                raise ValueError(message)
        self.nodes = len(views)
        return edges

    def _number(self, thing: object) -> int:
        """The number of an engine's state or of a call; the same for the same."""
        number = self._numbers.setdefault(thing, len(self._things))
        if number == len(self._things):
            self._things.append(thing)
        return number

    def _steps(self, node: Node) -> Iterator[tuple[str, int, Node]]:
        byte, exclusive, at, *calls = node
        engine: Engine = self._things[at]
        yield from _around(node, locked=engine.lock)
        if not engine.alive:
            yield "Restart", 0, (byte, exclusive, self._number(Engine()), *calls)
            return
        none = self._number(None)
        gone = Engine(alive=False, dead=engine.dead)
        yield "Crash", 0, (byte, exclusive, self._number(gone), *[none] * len(calls))
        if engine.running:
            yield "Stop", 0, (byte, exclusive, self._number(attrs.evolve(engine, running=False)), *calls)
        elif calls[_KERNEL] == none and (engine.lock or engine.dead):
            yield "Start", 0, (byte, exclusive, self._number(attrs.evolve(engine, running=True)), *calls)
        for thread, call in enumerate(calls):
            for choice in range(self._choices(engine, thread, self._things[call])):
                key = (thread, call, choice, byte, exclusive, at)
                found = self._gone.get(key)
                if found is None:
                    found = self._gone[key] = self._go(*key)
                name, element, left, now = found
                yield name, element, (byte, exclusive, now, *calls[:thread], left, *calls[thread + 1 :])

    def _choices(self, engine: Engine, thread: int, frame: Frame | None) -> int:
        if frame is None:
            return len(self._calls(engine, thread))
        return frame.before != "guard" or not engine.guard

    def _calls(self, engine: Engine, thread: int) -> tuple[Call, ...]:
        """What a thread that is in no call may call."""
        if thread == _KERNEL:
            return (("retire", ()),) if engine.running else (("retire", ()), ("enter", ()), ("revive", ()))
        if thread == _LOOKOUT:
            return tuple((name, ()) for name in self._lookout)
        permit = thread - _EMITTERS
        if permit in engine.sending:
            return (("end", (permit,)),)
        return (("begin", (permit, 1)),) if engine.running else ()

    def _go(self, thread: int, call: int, choice: int, byte: int, exclusive: int, at: int) -> tuple[str, int, int, int]:
        """Let a thread make one access: the step's name, its emitter, the call that it is in then, and the engine."""
        engine: Engine = self._things[at]
        frame: Frame | None = self._things[call]
        method = frame.call if frame else self._calls(engine, thread)[choice]
        shown = (bool(byte), bool(exclusive), engine)
        left, now = self._run(method, (*(frame.seen if frame else ()), shown))
        name = _name(frame, method[0], engine, now, armed=bool(byte))
        emitter = thread - _EMITTERS if name in _OF_AN_EMITTER else 0
        return name, emitter, self._number(left), self._number(now)

    def _view(self, node: Node) -> View:
        byte, exclusive, at, *calls = node
        engine: Engine = self._things[at]
        frames: list[Frame | None] = [self._things[call] for call in calls]
        kernel = frames[_KERNEL]
        if engine.lock:
            place = "in" if engine.held else "locked"
        else:
            place = "looked" if kernel is not None and kernel.before == "shared" else "out"
        sends = tuple(
            _sends(frame) if emitter in engine.sending else "idle" for emitter, frame in enumerate(frames[_EMITTERS:])
        )
        return bool(byte), bool(exclusive), engine.alive, engine.running, engine.dead, place, sends


def _around(node: Node, *, locked: bool) -> Iterator[tuple[str, int, Node]]:
    """What killers and resets may do."""
    byte, exclusive, *rest = node
    if byte:
        yield "Halt", 0, (0, exclusive, *rest)
    if exclusive:
        yield "LetGo", 0, (byte, 0, *rest)
        if not byte:
            yield "Arm", 0, (1, exclusive, *rest)
    elif not locked:
        yield "TakeExclusive", 0, (byte, 1, *rest)


def _sends(frame: Frame | None) -> str:
    """The state of an emitter that is announced."""
    if frame is None or frame.call[0] == "end":
        return "sending"
    return {"load": "announced", "read": "looking", "del": "refused"}.get(frame.before, frame.before)


def _name(frame: Frame | None, root: str, was: Engine, now: Engine, *, armed: bool) -> str:
    """The model's name for the access that was made: what it was, and in which method."""
    inner = frame.where[0][0] if frame else root
    access = frame.before if frame else "call"
    return {
        ("begin", "call"): "Announce",
        ("begin", "load"): "Load",
        ("begin", "read"): "Look",
        ("end", "del"): "Retract" if root == "begin" else "End",
        ("see", "page"): "Retire" if armed else "See",
        ("retire", "page"): "Retire",
        ("revive", "page"): "Revive",
        ("enter", "read"): "CheckAgain" if was.lock else "CheckFirst",
        ("enter", "shared"): "Enter" if now.lock else "Withdraw",
        ("enter", "release"): "Withdraw",
        ("leave", "release"): "Leave",
    }.get((inner, access), f"{inner}.{access}")
