"""``interlock watch`` over real processes: engines that hang, are suspended, do not end a send; what it survives."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import pytest
from tests.helpers import HOME_ID, arm, halt_home, python, reset_home
from tests.ops.cli_helpers import COMMAND, PATIENCE_S, PATIENT, Live, cli, environment

from interlock.breaker.home import Home
from interlock.breaker.latch import read_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.page import Page
from interlock.breaker.roster import Berth
from interlock.breaker.watchdog import Limits
from interlock.core.modes import Mode
from interlock.ops.watch import Plan, Teller, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from interlock.breaker.latch import Latch
    from interlock.breaker.quiet import Quiet

ENGINE: Final = """
import os, sys, threading, time
from pathlib import Path
from interlock.breaker.home import Home
from interlock.breaker.lock import FileLock
from interlock.breaker.page import Page
from interlock.breaker.quiescence import Hold
from interlock.breaker.roster import Berth
from interlock.core.modes import Mode

home, name, whose = Home(sys.argv[1]), sys.argv[2], sys.argv[3]
page, lock, berth = Page(home.page, whose), FileLock(home.lock), Berth(home.engines, name, whose)
inode = lambda path: path.stat().st_ino
berth.introduce(
    operator="ann", run=name, lock_inode=inode(home.lock), page_inode=inode(home.page), memory_inode=page.memory[1]
)
hold = Hold(page.map, lock, berth.slots)
assert hold.enter()
berth.tell(Mode.RUNNING)
mute, over = threading.Event(), threading.Event()  # over: never


def beat():  # from a thread: it says that the process lives, and nothing of its loop
    while True:
        if not mute.is_set():
            berth.beat()
        if hold.see() and hold.leave():
            berth.tell(Mode.HALTED)
            print("halted", file=sys.stderr, flush=True)
            return
        over.wait(0.002)


threading.Thread(target=beat, daemon=True).start()
print("up", flush=True)
for line in sys.stdin:
    match line.split():
        case ["hang"]:
            berth.busy(time.monotonic_ns())
            print("hangs", flush=True)
            over.wait()
        case ["mute"]:
            mute.set()
        case ["send", number]:
            assert hold.begin(int(number), time.monotonic_ns())
        case ["sent", number]:
            hold.end(int(number))
    print("done", flush=True)
"""
"""An engine as its home sees it. Its loop takes commands, a thread of its own beats and lets go when it is halted."""

LONG: Final = ("--beat", "3600", "--busy", "3600", "--send", "3600")
QUICK: Final = {name: (*LONG, f"--{name}", "0.2", "--interval", "0.02") for name in ("beat", "busy", "send")}
"""Options with which only one kind of stall is ever told, however slow the machine is."""


class Process:
    """An `ENGINE`."""

    def __init__(self, home: Path, name: str = "alpha") -> None:
        self.child = python(ENGINE, home, name, HOME_ID)
        self.said("up")

    def said(self, wanted: str) -> None:
        """Wait for a word of it."""
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if line.strip() != wanted:
            self.child.kill()
            raise AssertionError((line, self.child.communicate()))

    def do(self, command: str, answer: str = "done") -> None:
        """Have it do something, and wait until that is done."""
        assert self.child.stdin is not None
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        self.said(answer)

    def suspend(self) -> None:
        """Stop it, and wait until it is."""
        self.child.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(self.child.pid, os.WUNTRACED)[1])

    def kill(self) -> None:
        """End it, and wait until it has."""
        self.child.kill()
        self.child.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        """Started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Never left behind."""
        self.kill()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Watching:
    """``interlock watch`` on a home.

    Attributes:
        events: all that it told so far.
    """

    def __init__(self, home: Path, *options: str, **env: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.child = subprocess.Popen(
            [*COMMAND, "watch", "--home", home, "--json", "--timeout", "0.2", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**env),
        )

    def until(self, event: str, **said: object) -> dict[str, Any]:
        """Read on until it tells of such an event, which says this."""
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        for line in self.child.stdout:
            self.events.append(json.loads(line))
            if self.events[-1].items() >= {"event": event, **said}.items():
                return self.events[-1]
        raise AssertionError((self.events, self.child.stderr.read()))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.child.send_signal(number)
        out, err = self.child.communicate(timeout=PATIENCE_S)
        assert err == ""
        self.events += [json.loads(line) for line in out.splitlines()]
        return self.child.returncode

    def __enter__(self) -> Self:
        """Started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Never left behind."""
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdout, self.child.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home with a roster."""
    return arm(tmp_path / "home").path


# -- What stalls -----------------------------------------------------------------------------------


def test_loop_that_hangs_while_a_thread_beats(home: Path) -> None:
    """A loop that never gets done with its tick is halted although heartbeats go on; the latch says who and what."""
    with Process(home) as engine, Watching(home, *QUICK["busy"]) as watch:
        assert watch.until("watched")["engine"] == "alpha"
        engine.do("hang", "hangs")
        stall = watch.until("stall")
        assert (stall["engine"], stall["pid"], stall["what"]) == ("alpha", engine.child.pid, "BUSY")
        assert stall["for_ns"] > 200_000_000
        halted = watch.until("halt")
        assert (halted["code"], halted["state"], halted["confirmed"]) == ("STALLED", "HALTED", True)
        assert halted["killed"] == []
        latch, _ = read_latch(Home(home).latch)
        assert (latch.state, latch.code, latch.source) == ("HALTED", "STALLED", "watch")
        assert f"engine alpha, pid {engine.child.pid}: the loop is at work on one tick for 0." in latch.reason
        assert latch.operator
        assert watch.end() == 0
        assert engine.child.poll() is None
        assert [event["event"] for event in watch.events if event["event"] in {"stall", "halt"}] == ["stall", "halt"]


def test_loop_that_beats_no_more(home: Path) -> None:
    """A loop whose heartbeats end is halted."""
    with Process(home) as engine:
        engine.do("mute")
        with Watching(home, *QUICK["beat"]) as watch:
            assert watch.until("stall")["what"] == "BEAT"
            assert watch.until("halt")["confirmed"] is True
            assert watch.end(signal.SIGINT) == 0


def test_send_that_does_not_end_is_halted_until_it_is_confirmed(home: Path) -> None:
    """Without escalation a hung send keeps the halt owed, over and over, until the send has ended."""
    with Process(home) as engine:
        engine.do("send 7")
        with Watching(home, *QUICK["send"], "--no-escalate") as watch:
            assert "the send of permit 7 goes on" in watch.until("stall")["reason"]
            halted = watch.until("halt")
            assert (halted["stopped"], halted["durable"], halted["confirmed"]) == (True, True, False)
            engine.do("sent 7")
            assert watch.until("halt")["confirmed"] is True
            assert watch.end() == 0
        assert engine.child.poll() is None


@pytest.mark.parametrize("stuck", ["suspended", "send"])
def test_what_does_not_drain_is_killed(home: Path, stuck: str) -> None:
    """An engine that is suspended, and one that does not end a send, get SIGKILL, and then the halt is confirmed."""
    with Process(home) as engine, Process(home, "beta") as other:
        if stuck == "send":
            engine.do("send 7")
        else:
            engine.suspend()
        with Watching(home, *QUICK["send" if stuck == "send" else "beat"]) as watch:
            assert watch.until("stall")["engine"] == "alpha"
            halted = watch.until("halt")
            assert halted["confirmed"] is True
            assert halted["killed"] == [{"engine": "alpha", "pid": engine.child.pid}]
            assert engine.child.wait(PATIENCE_S) == -signal.SIGKILL
            assert other.child.poll() is None
            assert watch.end() == 0


def test_suspended_engine_is_stopped(home: Path) -> None:
    """A process that is suspended is halted; it is not confirmed while it has not let go."""
    with Process(home) as engine:
        engine.suspend()
        with Watching(home, *QUICK["beat"], "--no-escalate") as watch:
            assert watch.until("stall")["what"] == "BEAT"
            halted = watch.until("halt")
            assert (halted["stopped"], halted["confirmed"]) == (True, False)
            engine.child.send_signal(signal.SIGCONT)
            assert watch.until("halt")["confirmed"] is True


def test_real_engine_that_hangs_in_its_strategy(tmp_path: Path) -> None:
    """``interlock run`` with a strategy that does not return is halted, and what it orders later is refused."""
    home, (ours, theirs) = arm(tmp_path / "home", PATIENT).path, os.pipe()
    with Live(home, tmp_path, hold=ours) as live:
        live.tick()
        live.asked(1)
        with Watching(home, *QUICK["busy"]) as watch:
            stall = watch.until("stall")
            assert (stall["pid"], stall["what"]) == (live.process.pid, "BUSY")
            halted = watch.until("halt")
            assert (halted["confirmed"], halted["killed"]) == (True, [])
            assert watch.end() == 0
        os.write(theirs, b"x")
        ended = live.end()
    os.close(ours)
    os.close(theirs)
    assert ended.code == 3
    assert ended.json["halt_cause"]["code"] == "STALLED"
    assert (ended.json["orders_sent"], ended.json["refused_by_reason"]) == (0, {"HALTED": 1})


# -- What lets go, and hangs -------------------------------------------------------------------------

GRACE: Final = ("--grace", "0.2")


def test_engine_that_has_let_go_and_hangs_is_told_and_killed(home: Path) -> None:
    """A loop that still hangs when the halt is confirmed is told, and its process gets SIGKILL after the grace."""
    with Process(home) as engine, Process(home, "beta") as other, Watching(home, *QUICK["busy"], *GRACE) as watch:
        watch.until("watched")
        engine.do("hang", "hangs")
        assert watch.until("halt")["killed"] == []
        hangs = watch.until("hangs")
        assert (hangs["engine"], hangs["pid"], hangs["what"], hangs["kill_in_s"]) == (
            "alpha",
            engine.child.pid,
            "BUSY",
            0.2,
        )
        assert watch.until("killed")["pid"] == engine.child.pid
        assert engine.child.wait(PATIENCE_S) == -signal.SIGKILL
        assert other.child.poll() is None
        assert watch.end() == 0


def test_engine_that_hangs_under_anybodys_halt_is_killed(home: Path) -> None:
    """It need not be this watchdog's own halt: an operator was faster, or another watchdog, which has died."""
    with Process(home) as engine:
        engine.do("hang", "hangs")
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        with Watching(home, *QUICK["busy"], *GRACE) as watch:
            assert watch.until("hangs")["engine"] == "alpha"
            assert watch.until("killed")["engine"] == "alpha"
            assert engine.child.wait(PATIENCE_S) == -signal.SIGKILL
            assert watch.end() == 0
        assert [event for event in watch.events if event["event"] in {"stall", "halt"}] == []


# -- What it survives --------------------------------------------------------------------------------


def test_it_watches_on_after_a_reset(home: Path) -> None:
    """The next engine that stalls after a reset is halted as well, and what was halted before is not halted again."""
    with Watching(home, *QUICK["busy"]) as watch:
        for epoch, name in ((1, "alpha"), (2, "beta")):
            with Process(home, name) as engine:
                watch.until("watched")
                engine.do("hang", "hangs")
                assert watch.until("stall")["engine"] == name
                assert watch.until("halt")["confirmed"] is True
                assert read_latch(Home(home).latch)[0].epoch == epoch
                reset_home(home, epoch)
        assert watch.end() == 0
    assert [event["event"] for event in watch.events].count("halt") == 2
    assert read_latch(Home(home).latch)[0].state == "ARMED"


def test_home_that_vanishes_and_comes_back(home: Path) -> None:
    """A home that is moved away is told; an engine that is not seen any more gets no further, and that halts it."""
    away = home.with_name("away")
    with Process(home) as engine, Watching(home, *QUICK["busy"]) as watch:
        watch.until("watched")
        home.rename(away)
        assert watch.until("home")["there"] is False
        away.rename(home)
        assert watch.until("home")["there"] is True
        engine.do("hang", "hangs")
        assert watch.until("halt")["confirmed"] is True
        assert watch.end() == 0


def test_roster_that_vanishes_under_an_engine_halts(home: Path) -> None:
    """Nobody can see whether the engine gets on: that is no reason to let it."""
    with Process(home), Watching(home, *QUICK["beat"], "--beat", "2") as watch:
        watch.until("watched")
        for path in Home(home).engines.iterdir():
            path.unlink()
        assert watch.until("stall")["what"] == "BEAT"
        assert watch.until("halt")["confirmed"] is True


def test_halt_is_owed_while_the_home_is_gone(home: Path) -> None:
    """A stall in a home that is not there is told as not halted; it is halted as soon as the home is back."""
    away = home.with_name("away")
    with Process(home) as engine, Watching(home, *QUICK["beat"], "--beat", "2") as watch:
        watch.until("watched")
        home.rename(away)
        assert watch.until("halt")["state"] == "NOT HALTED"
        away.rename(home)
        assert watch.until("halt")["state"] == "HALTED"
        assert engine.child.poll() is None


def test_no_halt_is_owed_when_nobody_is_left(home: Path) -> None:
    """A home that comes back after the engine that stalled has ended is not halted for that."""
    away = home.with_name("away")
    with Watching(home, *QUICK["beat"], "--beat", "2") as watch:
        with Process(home) as engine:
            watch.until("watched")
            home.rename(away)
            assert watch.until("halt")["state"] == "NOT HALTED"
            engine.kill()
        assert "no engine that stalled is left" in watch.until("dropped")["why"]
        away.rename(home)
        assert watch.until("home")["there"] is True
        assert watch.end() == 0
        assert watch.events[-1]["owed"] == 0
    assert read_latch(Home(home).latch)[0].state == "ARMED"


def test_engines_that_come_and_go(home: Path) -> None:
    """Each one that begins to be watched is told, and each that ends; nobody is halted for having ended."""
    with Watching(home, *QUICK["beat"], "--beat", "30") as watch:
        for name in ("alpha", "beta", "alpha"):
            with Process(home, name) as engine:
                # A look between taking the name and saying whose it is now shows it under the id that stood there.
                assert watch.until("watched", pid=engine.child.pid)["engine"] == name
            assert watch.until("left")["engine"] == name
        assert watch.end() == 0
    assert read_latch(Home(home).latch)[0].state == "ARMED"


def test_second_watchdog_finishes_what_a_killed_one_began(home: Path) -> None:
    """A watchdog is killed while its halt is owed; another one confirms it, and keeps the first cause."""
    with Process(home) as engine:
        engine.do("send 7")
        with Watching(home, *QUICK["send"], "--no-escalate") as watch:
            assert watch.until("halt")["confirmed"] is False
            watch.child.kill()
            watch.child.wait(PATIENCE_S)
        first = read_latch(Home(home).latch)[0]
        with Watching(home, *QUICK["send"], "--no-escalate") as watch:
            assert watch.until("halt")["confirmed"] is False
            engine.do("sent 7")
            assert watch.until("halt")["confirmed"] is True
        assert read_latch(Home(home).latch)[0] == first


def test_operators_halt_is_confirmed_by_the_watchdog(home: Path) -> None:
    """A halt by an operator that was not confirmed, because of a hung send, is finished; its cause stays."""
    with Process(home) as engine, Watching(home, *QUICK["send"], "--no-escalate") as watch:
        watch.until("watched")
        engine.do("send 7")
        assert halt_home(home).confirmed is False
        assert watch.until("halt")["confirmed"] is False
        engine.do("sent 7")
        assert watch.until("halt")["confirmed"] is True
        assert read_latch(Home(home).latch)[0].code == "OPERATOR"


def test_watchdog_that_is_suspended_says_so(home: Path) -> None:
    """A watchdog that did not run for long tells it, and halts nobody for what it did not see."""
    with Process(home), Watching(home, *QUICK["busy"]) as watch:
        watch.until("watched")
        watch.child.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(watch.child.pid, os.WUNTRACED)[1])
        threading.Event().wait(0.2)  # not for anything to happen: it is the time that it does not see
        watch.child.send_signal(signal.SIGCONT)
        assert watch.until("late")["for_ns"] > 200_000_000
        assert watch.end() == 0
    assert "halt" not in [event["event"] for event in watch.events]


class Tardy(Home):
    """A home whose halts take their time, on the clock of a `Stuck`."""

    def __init__(self, path: Path, of: Stuck) -> None:
        super().__init__(path)
        self.of = of

    def halt(self, cause: Callable[[Latch], Latch], timeout_s: float, *, escalate: bool = False) -> Quiet:
        """Halt; time passes."""
        self.of.now_ns += self.of.halt_s * 1_000_000_000
        return super().halt(cause, timeout_s, escalate=escalate)


class Stuck:
    """A `Watch` in this process, over an engine in this process that is inside a send; a second passes at each step."""

    def __init__(self, home: Path, **given: Any) -> None:
        self.home = Home(home)
        self.berth = Berth(self.home.engines, "alpha", HOME_ID)
        self.berth.introduce(operator="ann", run="r", lock_inode=0, page_inode=0, memory_inode=0)
        self.lock = FileLock(self.home.lock)
        assert self.lock.shared()
        self.berth.tell(Mode.RUNNING)
        self.told: list[dict[str, Any]] = []
        self.now_ns = 0
        self.halt_s = 0
        plan = Plan(
            home=home,
            limits=Limits(beat_s=4, busy_s=4, send_s=4, interval_s=1),
            timeout_s=0.0,
            escalate=False,
            once=False,
            operator="ann",
            json=True,
            **given,
        )
        self.watch = Watch(plan, lambda line: self.told.append(json.loads(line)), lambda: self.now_ns)
        self.watch.home = Tardy(home, self)

    def steps(self, count: int, *events: str) -> list[dict[str, Any]]:
        """Let it look; what it told of these kinds."""
        self.told.clear()
        for _ in range(count):
            self.now_ns += 1_000_000_000
            self.watch.step()
        return [event for event in self.told if event["event"] in events]

    def out(self) -> None:
        """The send ends, and the engine lets go."""
        self.lock.release()
        self.berth.tell(Mode.HALTED)


@pytest.fixture
def fresh(home: Path) -> Iterator[Stuck]:
    """Return a watch that has not seen its engine stall yet."""
    made = Stuck(home)
    assert made.steps(3, "stall", "halt") == []
    yield made
    made.lock.close()
    made.berth.close()


@pytest.fixture
def stuck(fresh: Stuck) -> Stuck:
    """Return a watch that owes a halt, because it is not confirmed."""
    stall, halt = fresh.steps(3, "stall", "halt")
    assert (stall["what"], halt["confirmed"]) == ("BEAT", False)
    return fresh


def test_halt_is_owed_as_long_as_the_engine_lives(fresh: Stuck) -> None:
    """A stall in a home that is gone is not forgotten while its process lives: it is halted when the home is back."""
    away = fresh.home.path.with_name("away")
    fresh.home.path.rename(away)
    stall, halt = fresh.steps(50, "stall", "halt", "dropped")
    assert (stall["what"], halt["state"]) == ("BEAT", "NOT HALTED")
    away.rename(fresh.home.path)
    assert [event["state"] for event in fresh.steps(2, "stall", "halt", "dropped")] == ["HALTED"]


def test_owed_halt_is_told_once_while_nothing_changes(stuck: Stuck) -> None:
    """It is tried again each second, and told again only if something has changed."""
    marks = {read_mark(stuck.home)}
    for _ in range(50):
        assert stuck.steps(1, "stall", "halt", "dropped") == []
        marks.add(read_mark(stuck.home))
    assert len(marks) == 51
    stuck.out()
    (halt,) = stuck.steps(50, "stall", "halt", "dropped")
    assert halt["confirmed"] is True


def test_own_halts_are_no_gap(fresh: Stuck) -> None:
    """While it halts, again and again, the watchdog runs: nothing is late, and another engine that stalls is told."""
    fresh.halt_s = 2  # of which more than half of the smallest limit would be a gap
    fresh.watch.plan = attrs.evolve(fresh.watch.plan, timeout_s=2.0)
    other = Berth(fresh.home.engines, "beta", HOME_ID)
    other.introduce(operator="ann", run="r", lock_inode=0, page_inode=0, memory_inode=0)
    other.tell(Mode.RUNNING)
    told: list[dict[str, Any]] = []
    for _ in range(4):
        other.beat()
        told += fresh.steps(1, "stall", "late")
    assert [(event["event"], event["engine"]) for event in told] == [("stall", "alpha")]
    told = fresh.steps(3, "stall", "late")
    assert [(event["event"], event["engine"]) for event in told] == [("stall", "beta")]
    other.close()


def test_halt_that_takes_longer_than_it_may_is_a_gap(fresh: Stuck) -> None:
    """A watchdog that was suspended in the midst of its halt says so, and of what is left over alone."""
    fresh.halt_s = 3600
    stall, late = fresh.steps(4, "stall", "late")
    assert stall["engine"] == "alpha"
    assert 3590 < late["for_ns"] / 1_000_000_000 < 3600


def read_mark(home: Home) -> int:
    """The mark of the latest halt that the page has seen."""
    page = Page(home.page, HOME_ID)
    try:
        return page.halts
    finally:
        page.map.close()


def test_owed_halt_does_not_outlive_a_reset(stuck: Stuck) -> None:
    """Somebody resets the home before the halt is tried again: it is not halted for what was before the reset."""
    stuck.out()
    reset_home(stuck.home.path, 1)
    (dropped,) = stuck.steps(50, "stall", "halt", "dropped")
    assert (dropped["event"], dropped["why"]) == ("dropped", "reset since")
    assert read_latch(stuck.home.latch)[0].state == "ARMED"


def test_reader_that_goes_away_ends_nothing(home: Path) -> None:
    """With nobody to read its report it halts all the same."""
    with Process(home) as engine, Watching(home, *QUICK["busy"]) as watch:
        watch.until("watched")
        assert watch.child.stdout is not None
        watch.child.stdout.close()
        watch.child.stdout = None
        engine.do("hang", "hangs")
        assert engine.child.stderr is not None
        assert engine.child.stderr.readline() == "halted\n"
        watch.child.send_signal(signal.SIGTERM)
        assert watch.child.wait(PATIENCE_S) == 0
        assert watch.child.stderr is not None
        assert watch.child.stderr.read() == ""


def test_closed_standard_output_belongs_to_nobody(home: Path) -> None:
    """Started without standard input and output it writes its report into no other file that has the descriptor now."""
    command = [*COMMAND, "watch", "--home", str(home), "--once", *QUICK["busy"], "--timeout", "0.2"]
    with Process(home) as engine:
        engine.do("hang", "hangs")
        ended = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" <&- >&-', "sh", *command], env=environment(), timeout=PATIENCE_S, check=False
        )
    assert ended.returncode == 3
    assert read_latch(Home(home).latch)[0].code == "STALLED"


def test_reader_that_hangs_holds_nobody_up() -> None:
    """Lines for a pipe that nobody reads wait, and are lost when they are too many; saying them returns at once."""
    ours, theirs = os.pipe()
    teller = Teller(theirs)
    line = b"x" * 1000
    for _ in range(3000):
        teller.say(line)
    read = threading.Thread(target=lambda: [os.read(ours, 1 << 16) for _ in range(3)])
    read.start()
    read.join(PATIENCE_S)
    os.close(ours)  # what it is writing fails, as all that follows
    while teller._thread.is_alive():
        teller.end()  # lost as well, if too many wait
    os.close(theirs)  # not before: another file gets the descriptor


# -- What it is told, and tells ----------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a service manager's socket, at `notify`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(PATIENCE_S)
        yield made


def test_service_manager_is_told(home: Path, manager: socket.socket) -> None:
    """READY after the first look, WATCHDOG after each, STOPPING at SIGTERM; exit code 0."""
    with Watching(home, NOTIFY_SOCKET=str(home.with_name("notify"))) as watch:
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        assert watch.end() == 0
        said = b""
        while said != b"STOPPING=1":
            said = manager.recv(100)
        assert watch.events[-1]["event"] == "stopping"


def test_signals_do_not_cut_a_halt_off(home: Path, manager: socket.socket) -> None:
    """Many signals at once end it once, with exit code 0."""
    with Watching(home, NOTIFY_SOCKET=str(home.with_name("notify"))) as watch:
        assert manager.recv(100) == b"READY=1"
        for _ in range(20):
            with contextlib.suppress(ProcessLookupError):
                os.kill(watch.child.pid, signal.SIGTERM)
                os.kill(watch.child.pid, signal.SIGINT)
        assert watch.end() == 0


# -- Once ------------------------------------------------------------------------------------------


def test_once_over_a_home_without_engines(home: Path) -> None:
    """With nobody to watch there is an answer at once."""
    assert cli("watch", "--home", home, "--once").code == 0


def test_once_over_engines_that_get_on(home: Path) -> None:
    """It ends as soon as every engine has got on, and halts nobody."""
    with Process(home), Process(home, "beta"):
        assert cli("watch", "--home", home, "--once", *LONG, "--interval", "0.02").code == 0
    assert read_latch(Home(home).latch)[0].state == "ARMED"


@pytest.mark.parametrize(("stuck", "code"), [("mute", 3), ("send 7", 4)])
def test_once_over_an_engine_that_does_not(home: Path, stuck: str, code: int) -> None:
    """It halts, and its exit code says whether that is confirmed."""
    with Process(home) as engine:
        engine.do(stuck)
        options = QUICK["beat" if stuck == "mute" else "send"]
        ended = cli("watch", "--home", home, "--once", "--no-escalate", "--timeout", "0.2", *options)
        assert ended.code == code
        assert f"{home}: stall engine=alpha pid={engine.child.pid} what=" in ended.out


def test_time_out_without_an_end_ends_no_watch(home: Path) -> None:
    """A halt may wait for ever, as it may elsewhere: the stall is told, and its halt."""
    with Process(home) as engine:
        engine.do("mute")
        ended = cli("watch", "--home", home, "--once", "--no-escalate", "--timeout", "inf", *QUICK["beat"])
        assert ended.code == 3
        assert f"{home}: halt code=STALLED" in ended.out


@pytest.mark.parametrize(
    "options", [("--beat", "0"), ("--busy", "-1"), ("--send", "nan"), ("--interval", "2"), ("--timeout", "-1")]
)
def test_limits_that_are_none_are_refused(home: Path, options: tuple[str, str]) -> None:
    """Exit code 2, and nothing is watched."""
    assert cli("watch", "--home", home, *options).code == 2


def test_no_home_is_refused(tmp_path: Path) -> None:
    """A path without a home is a mistake that must be seen, not a home that vanished."""
    ended = cli("watch", "--home", tmp_path / "nowhere")
    assert ended.code == 2
    assert "no home here" in ended.err


# -- Who hangs, and who does not ----------------------------------------------------------------------

LATER: Final = ("hangs", "moves", "killed", "not killed")


def out_after_a_stall(made: Stuck) -> None:
    """It stalls, is halted, and lets go."""
    assert [event["event"] for event in made.steps(6, "stall", "halt")] == ["stall", "halt"]
    made.out()


@pytest.fixture
def killing(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """Return a watch that kills after ten seconds; whom it kills is put down and left alive."""
    made = Stuck(home, grace_s=10.0)

    def end(_: int, meant: Callable[[], bool]) -> str:
        return "" if meant() else "it is not"

    monkeypatch.setattr("interlock.ops.watch.end", end)
    monkeypatch.setattr("interlock.ops.watch.os.getpid", lambda: 0)  # the engine is in this very process
    made.watch.plan = attrs.evolve(made.watch.plan, escalate=True)
    monkeypatch.setattr("interlock.breaker.kill.Kill.escalate", lambda _: False)
    yield made
    made.lock.close()
    made.berth.close()


def test_engine_without_a_loop_is_never_killed(killing: Stuck) -> None:
    """One that has never beaten, as an embedded kernel may do, has no loop that hangs: nothing is told of it."""
    out_after_a_stall(killing)
    assert killing.steps(100, *LATER) == []


def test_loop_that_beat_and_stopped_is_killed_after_the_grace(killing: Stuck) -> None:
    """One that beat, and stood still while it had to get on, is told at once, and killed when the grace is over."""
    killing.berth.beat()
    out_after_a_stall(killing)
    assert [event["event"] for event in killing.steps(3, *LATER)] == ["hangs"]
    assert killing.steps(8, *LATER) == []
    assert [event["event"] for event in killing.steps(4, *LATER)] == ["killed"]


def test_loop_that_hangs_is_only_told_without_escalation(killing: Stuck) -> None:
    """Whoever does not want the watch to kill is told that a loop hangs, and of nobody killed."""
    killing.watch.plan = attrs.evolve(killing.watch.plan, escalate=False)
    killing.berth.beat()
    out_after_a_stall(killing)
    (hangs,) = killing.steps(100, *LATER)
    assert (hangs["event"], hangs["kill_in_s"]) == ("hangs", None)


def test_loop_that_gets_on_in_time_is_left_alone(killing: Stuck) -> None:
    """One that beats again within the grace is told to move, and nothing is done to it."""
    killing.berth.beat()
    out_after_a_stall(killing)
    killing.steps(5)
    killing.berth.beat()
    assert [event["event"] for event in killing.steps(100, *LATER)] == ["moves"]


def test_loop_that_ends_after_its_halt_is_left_alone(killing: Stuck) -> None:
    """One that got on until it was halted by others, and beats no more since, has done what it should."""
    killing.berth.beat()
    killing.steps(1)
    halt_home(killing.home.path)
    killing.out()
    assert killing.steps(100, "stall", *LATER) == []


def test_tick_that_is_never_done_with_is_killed_whoever_halted(killing: Stuck) -> None:
    """The mark of the tick at work says that there is a loop, and that it hangs: after the limit, and the grace."""
    killing.berth.beat()
    killing.berth.busy(7)
    halt_home(killing.home.path)
    killing.out()
    assert killing.steps(4, *LATER) == []
    assert [event["event"] for event in killing.steps(3, *LATER)] == ["hangs"]
    assert [event["event"] for event in killing.steps(12, *LATER)] == ["killed"]


def test_time_that_nobody_watched_is_no_grace(killing: Stuck) -> None:
    """A machine that was suspended for longer than the grace leaves it whole."""
    killing.berth.beat()
    out_after_a_stall(killing)
    assert [event["event"] for event in killing.steps(3, *LATER)] == ["hangs"]
    killing.now_ns += 3_600_000_000_000
    assert killing.steps(6, *LATER) == []
    assert [event["event"] for event in killing.steps(12, *LATER)] == ["killed"]


def test_idle_engine_is_nobodys_business(killing: Stuck) -> None:
    """An engine that was not started may be at work as long as it likes."""
    killing.berth.busy(7)
    killing.lock.release()
    killing.berth.tell(Mode.IDLE)
    assert killing.steps(100, "stall", *LATER) == []
