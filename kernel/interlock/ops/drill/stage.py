"""The stage of a drill: a home that was made for it, and processes that do not outlive it."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import orjson

from interlock.breaker.files import write_durably
from interlock.breaker.home import Home, HomeError, Now
from interlock.breaker.memory import VARIABLE, clear
from interlock.breaker.roster import engines
from interlock.core.errors import InterlockError
from interlock.core.reasons import HaltCode
from interlock.ops.drill.evidence import Evidence, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

__all__ = ["MARK", "PATIENCE_S", "DrillError", "Player", "Stage", "lines_of", "within_a_home"]

MARK: Final = "drill"
"""The directory within a drill's home that says what the home is for, and holds the evidence."""

PATIENCE_S: Final = 60.0
_GLANCE_S: Final = 0.002
_FASTEST_PER_S: Final = 200_000


class DrillError(InterlockError):
    """The drill could not be carried out: nothing was shown, neither good nor bad."""


def within_a_home(path: Path) -> Path | None:
    """The home that a path lies in or is, if it does."""
    whole = Path(os.path.realpath(path))
    for place in (whole, *whole.parents):
        if os.path.lexists(place / "latch.json") or ((place / "journal").is_dir() and os.path.lexists(place / "page")):
            return place
    return None


def _refuse(path: Path) -> None:
    """A drill halts. So it takes no home but the one that it makes itself: nothing may be at the path.

    Raises:
        HomeError: something is.
    """
    found = within_a_home(path)
    if found is not None:
        attached = [engine.name for engine in engines(Home(found).engines) if engine.attached]
        who = f", and {len(attached)} engines are attached to it" if attached else ""
        message = (
            f"{path}: {found} is a home{who}. A drill halts, and only a home that it made itself: name a new directory"
        )
        raise HomeError(HaltCode.EXTERNAL, message)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        message = f"{path}: there is something here. A drill makes a home of its own: name a new directory"
        raise HomeError(HaltCode.EXTERNAL, message)


class Stage:
    """The home of one drill, and everything that runs on it; a context manager that leaves no process behind.

    Args:
        path: where to make the home; None for a temporary one.
        operator: who drills.
        reason: stands in the arm record.
    """

    def __init__(self, path: Path | None, *, operator: str, reason: str) -> None:
        self._temporary = None if path is not None else tempfile.TemporaryDirectory(prefix="interlock-drill-")
        self.path = path if path is not None else Path(self._temporary.name if self._temporary else "") / "home"
        self.identity = str(uuid.uuid4())
        self.kept = path is not None
        self.players: list[Player] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._starter = ThreadPoolExecutor(1, "interlock-drill")  # no signal comes between a start and its being known
        self._operator = operator
        self._reason = reason

    def __enter__(self) -> Self:
        """Make the home, and mark it as a drill's."""
        try:
            _refuse(self.path)
            limits = resources.files("interlock.ops.drill").joinpath("limits.toml").read_bytes()
            now = Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())
            Home(self.path).arm(limits, home=self.identity, operator=self._operator, reason=self._reason, now=now)
            (self.path / MARK).mkdir(mode=0o700)
            mark = {"home": self.identity, "for": self._reason, "operator": self._operator, "ts": now.ts_us}
            write_durably(self.path / MARK / "drill.json", orjson.dumps(mark) + b"\n")
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs, whatever it is at; a temporary home is removed."""
        self._clear()

    def _clear(self) -> None:
        self._starter.shutdown()
        for process in self._processes:
            if process.poll() is None:
                process.kill()  # it ends a suspended one, too
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._temporary is not None:
            clear(self.path)
            self._temporary.cleanup()

    def mine(self) -> Home:
        """The home, if it still is the one that was made here: to be asked right before a halt.

        Raises:
            DrillError: something else is there now.
        """
        home = Home(self.path)
        if home.identity() != self.identity or not (self.path / MARK / "drill.json").is_file():
            message = f"{self.path}: not the home any more that this drill made; nothing was halted"
            raise DrillError(message)
        return home

    def spawn(
        self, command: Sequence[str], *, stdin: int | None = None, stderr: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends with the stage; in a group of its own, so that Ctrl-C goes to the drill alone."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_") or name == VARIABLE
        }

        def start() -> subprocess.Popen[bytes]:
            process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own commands
                list(command), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment, process_group=0
            )
            self._processes.append(process)
            return process

        return self._starter.submit(start).result()

    def player(self, command: Sequence[str], name: str, room_s: float) -> Player:
        """Start the process of one engine."""
        path = self.path / MARK / f"{name}.sends"
        evidence = Evidence(path, int(room_s * _FASTEST_PER_S))
        session = f"{name}-{self.identity[:8]}"
        complaint = (self.path / MARK / f"{name}.err").open("xb")
        with complaint:
            arguments = (str(self.path), name, str(path), session, self._operator)
            process = self.spawn((*command, *arguments), stdin=subprocess.PIPE, stderr=complaint)
        player = Player(name, process, evidence, Path(complaint.name))
        self.players.append(player)
        return player

    def until(self, what: str, reached: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Wait for something that the evidence shows.

        Raises:
            DrillError: an engine died that should not, or it takes too long.
        """
        deadline = time.monotonic() + patience_s
        while not reached():
            for player in self.players:
                player.alive()
            if time.monotonic() >= deadline:
                message = f"waited {patience_s:g} s in vain until {what}"
                raise DrillError(message)
            time.sleep(_GLANCE_S)


class Player:
    """The process of one engine, from the drill's side.

    Attributes:
        name: of the engine.
        pid: of the process.
        evidence: what it notes.
        fault: what was done to it.
        may_die: whether it is meant to, so that its death is no mishap.
        died_ns: when it was found dead, though it had not ended by itself.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], evidence: Evidence, complaint: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.evidence = evidence
        self.fault = ""
        self.may_die = False
        self.died_ns = 0
        self._process = process
        self._complaint = complaint

    @property
    def sending(self) -> bool:
        """Whether it is under load."""
        return self.evidence.state is not State.COMING

    def alive(self) -> bool:
        """Whether its process is there.

        Raises:
            DrillError: it died, and was not meant to.
        """
        if self._process.poll() is None:
            return True
        if not self.may_die:
            said = self._complaint.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            message = f"engine {self.name} ended by itself ({self._process.returncode}): {said[-1] if said else ''}"
            raise DrillError(message)
        self.died_ns = self.died_ns or time.monotonic_ns()
        return False

    def say(self, word: str) -> None:
        """Tell it what to do."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(word.encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                self.alive()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def reap(self) -> None:
        """Wait for the end of a process that was killed."""
        self._process.wait(PATIENCE_S)
        self.alive()

    def tell(self) -> dict[str, Any]:
        """What it says in the end; empty if it did not live to tell.

        Raises:
            DrillError: it hangs, or ended by itself.
        """
        if not self.alive():
            return {}
        self.may_die = True
        self.say("end")
        for line in lines_of(self._process, PATIENCE_S):
            told = orjson.loads(line)
            if "not_started" in told:
                message = f"engine {self.name} did not start: {told['not_started']}"
                raise DrillError(message)
            return dict(told)
        self.may_die = False
        self._process.wait(PATIENCE_S)
        self.alive()
        return {}


def lines_of(process: subprocess.Popen[bytes], patience_s: float) -> Iterator[bytes]:
    """The lines of a process's standard output, each as soon as it is there.

    Raises:
        DrillError: it takes too long.
    """
    if process.stdout is None:
        return
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + patience_s
    found = b""
    while True:
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            message = f"process {process.pid} gave no answer in {patience_s:g} s"
            raise DrillError(message)
        more = os.read(descriptor, 1 << 16)
        if not more:
            return
        *whole, found = (found + more).split(b"\n")
        yield from whole
