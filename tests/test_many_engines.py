"""Several engines on one home: a halt is confirmed only when all of them are out, whatever they are doing.

The engines are real processes where a process matters (SIGSTOP, SIGKILL, inherited locks), and kernels side by side
in this one where only their locks and threads do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from interlock import HaltCode, HomeError, Kernel, Mode, Reason
from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
from interlock.breaker.latch import read_latch
from interlock.breaker.lock import Pen
from interlock.breaker.memory import place
from interlock.breaker.page import Page
from interlock.breaker.quiescence import DEAD, Hold
from interlock.breaker.roster import Berth, engines
from interlock.breaker.watchdog import Limits
from interlock.verify import Status

from .helpers import (
    HOME_ID,
    FakeClock,
    RecordingVenue,
    SlowVenue,
    arm,
    attach,
    halt_home,
    kinds,
    of_kind,
    order,
    python,
    reset_home,
    run_python,
    running,
    verified,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


@contextmanager
def inside(kernel: Kernel, name: str) -> Iterator[SlowVenue]:
    """Hold an order of this kernel inside its send, in another thread."""
    venue = SlowVenue()
    thread = threading.Thread(target=lambda: kernel.submit(order(name), venue.send))
    thread.start()
    assert venue.inside.wait(PATIENCE_S)
    try:
        yield venue
    finally:
        venue.out.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


ENGINE = """
import sys
from tests.helpers import *
from interlock.kernel import SystemClock

def send(permit):
    permit.redeem()
    print("inside", flush=True)
    sys.stdin.readline()

kernel = running(sys.argv[1], SystemClock(), engine=sys.argv[2])
print("running", flush=True)
for line in sys.stdin:
    match line.split():
        case ["send", name]:
            print(kernel.submit(order(name), send).reason, flush=True)
        case ["submit", name]:
            print(kernel.submit(order(name), lambda permit: permit.redeem()).reason, flush=True)
        case ["beat"]:
            kernel.heartbeat()
            print(kernel.mode, kernel.epoch, flush=True)
        case ["start"]:
            print(kernel.start().reason, flush=True)
        case ["close"]:
            kernel.close()
            print("closed", flush=True)
"""


class Process:
    """An engine in a process of its own, told what to do line by line."""

    def __init__(self, home: Path, name: str, script: str = ENGINE, *args: object) -> None:
        self.child: subprocess.Popen[str] = python(script, home, name, *args)
        assert self.hear() == "running"

    def hear(self) -> str:
        """The next line that it prints."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def say(self, line: str = "") -> None:
        """Send it a line."""
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def ask(self, line: str) -> str:
        """Send it a line, and hear the answer."""
        self.say(line)
        return self.hear()

    def signal(self, number: int) -> None:
        """Send it a signal; a stop is waited for."""
        os.kill(self.child.pid, number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.child.pid, os.WSTOPPED)


@contextmanager
def processes(home: Path, *names: str) -> Iterator[list[Process]]:
    """Engines in processes of their own."""
    found: list[Process] = []
    try:
        for name in names:
            found.append(Process(home, name))  # noqa: PERF401 - each is ended, also if the next can't be started
        yield found
    finally:
        for process in found:
            with process.child as child:
                child.kill()


# -- Names, journals, ledgers -----------------------------------------------------------------------


def test_each_engine_has_its_own_journal_and_ledger(home: Path) -> None:
    """Engines of one home keep apart: orders, positions, numbers; and come back under their name to what was theirs."""
    with running(home, engine="a") as one, running(home, engine="b") as other:
        assert one.submit(order("x"), RecordingVenue().send)
        assert other.submit(order("x"), RecordingVenue().send)
        assert other.submit(order("y"), RecordingVenue().send)
    assert (kinds(home, "a").count("sent"), kinds(home, "b").count("sent")) == (1, 2)
    with attach(home, engine="b") as again:
        assert {one.client_order_id for one in again.working_orders()} == {"x", "y"}
    assert {sound_of(home, name) for name in ("a", "b")} == {Status.VERIFIED}


def sound_of(home: Path, engine: str) -> Status:
    """The verifier's answer on one engine's journal."""
    report = verified(home, engine)
    assert report.status in {Status.VERIFIED, Status.IN_DOUBT}, report.findings
    return report.status


def test_engine_that_joins_later_begins_in_the_current_epoch(home: Path) -> None:
    """A name that is new in epoch 2 begins its journal there, and can start."""
    with running(home, engine="a") as kernel:
        kernel.halt("x")
        kernel.reset(operator="bob", reason="ok", epoch=1)
    with running(home, engine="late") as kernel:
        assert kernel.epoch == 2
        assert kernel.submit(order("x"), RecordingVenue().send)
    (record,) = of_kind(home, "arm", "late")
    assert record["epoch"] == 2
    assert sound_of(home, "late") is Status.VERIFIED


def test_engine_that_joins_a_halted_home_is_halted(home: Path) -> None:
    """A new name is no way around a halt."""
    halt_home(home)
    with attach(home, engine="fresh") as kernel:
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()
        assert kernel.cause is not None
        assert kernel.cause.operator == "bob"


def test_journal_has_one_writer_whatever_is_done_to_the_roster(home: Path) -> None:
    """With its roster file gone a name looks free; its journal is not."""
    with running(home, engine="a"):
        (home / "engines" / "a").unlink()
        with pytest.raises(HomeError, match="another process writes to it"):
            attach(home, engine="a")


@pytest.mark.parametrize("what", ["roster", "journal"])
def test_what_an_engine_had_and_lost_is_a_halt(home: Path, what: str) -> None:
    """A roster file that is lost under a running engine halts it; a journal that is lost halts the next attach."""
    with running(home, engine="a") as kernel:
        if what == "roster":
            (home / "engines" / "a").unlink()
            kernel.heartbeat()
            assert kernel.mode is Mode.HALTED
            return
    for path in (home / "journal" / "a").iterdir():
        path.unlink()
    (home / "journal" / "a").rmdir()
    with attach(home, engine="a") as kernel:
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED


# -- AckMeansQuiescent -------------------------------------------------------------------------------


def test_halt_in_one_engine_is_confirmed_for_all(home: Path) -> None:
    """Kernel.halt in one engine waits for the sends of another, and names them while they last."""
    with running(home, engine="a") as one, running(home, engine="b") as other:
        with inside(other, "slow"):
            report = one.halt("stop", timeout_s=0.05)
            assert not report.confirmed
            assert report.recorded
            assert report.durable
            (waiting,) = report.waiting
            assert (waiting.engine, waiting.pid) == ("b", os.getpid())
            (send,) = waiting.in_flight
            assert (send.client_order_id, send.instrument, send.engine) == ("slow", "XYZ", "b")
            assert send.for_ns > 0
            assert "slow" in report.message
        assert one.halt("again", timeout_s=PATIENCE_S).confirmed
        other.heartbeat()
        assert other.mode is Mode.HALTED
    for name in ("a", "b"):
        sound_of(home, name)


def test_halt_from_outside_names_who_is_inside_a_send(home: Path) -> None:
    """Of three engines two are out at once; the third is named, with its order, until it is out, too."""
    with processes(home, "a", "b", "c") as (one, other, third):
        assert one.ask("submit x") == "ACCEPTED"
        assert third.ask("send stuck") == "inside"
        found = halt_home(home, timeout_s=0.2)
        assert (found.stopped, found.durable, found.confirmed) == (True, True, False)
        (waiting,) = found.waiting
        assert (waiting.engine, waiting.pid) == ("c", third.child.pid)
        assert [send.client_order_id for send in waiting.in_flight] == ["stuck"]
        assert f"engine c, pid {third.child.pid}" in found.message
        third.say()
        assert third.hear() == "ACCEPTED"  # it was sent: the halt came in the midst of it
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        for process in (one, other, third):
            assert process.ask("submit late") == "HALTED"
            assert process.ask("beat") == "HALTED 1"
            assert process.ask("close") == "closed"
    for name in ("a", "b", "c"):
        sound_of(home, name)
        assert of_kind(home, "halt", name)[0]["operator"] == "bob"


def test_hung_loop_is_quiet_by_its_lookout(home: Path) -> None:
    """An engine whose own thread never comes back is out all the same: its lookout lets go, and says so."""
    with processes(home, "hung") as (process,):
        # it waits for a line that nobody sends: neither heartbeat nor order looks at the byte
        found = halt_home(home, timeout_s=PATIENCE_S)
        assert (found.confirmed, found.durable) == (True, True)
        assert process.ask("submit late") == "HALTED"


def test_start_posts_the_lookout_again(home: Path) -> None:
    """A lookout that has ended, whatever of, is replaced by the next start, so that an idle engine is quiet at once."""
    with running(home, engine="a") as kernel:
        lookout = kernel._lookout
        assert lookout is not None
        kernel._over.set()
        lookout.join(PATIENCE_S)
        kernel._over.clear()
        assert kernel.stop().stopped
        assert kernel.start()
        assert kernel._lookout is not None
        assert kernel._lookout.is_alive()
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed


def test_disk_that_hangs_holds_up_no_ack(home: Path) -> None:
    """A thread that waits for the disk under the kernel's lock keeps neither the byte nor the confirmation back."""
    from .test_kernel import gated  # noqa: PLC0415

    with running(home, durability="disk", engine="a") as kernel, running(home, engine="b") as other:
        segment = gated(kernel)
        segment.go.clear()
        beating = threading.Thread(target=kernel.heartbeat)
        beating.start()
        assert segment.waiting.wait(PATIENCE_S)  # the heartbeat holds the lock, and the disk does not answer
        assert kernel._lock.locked()
        report = other.halt("stop", timeout_s=PATIENCE_S)
        assert (report.confirmed, report.durable) == (True, True)
        mine = kernel.halt("me, too", timeout_s=0.05)
        assert (mine.confirmed, mine.recorded) == (True, False)
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        segment.go.set()
        beating.join(PATIENCE_S)
        assert kernel.halt("at last").recorded


# -- Who is suspended, killed, or hung ------------------------------------------------------------------


def test_suspended_engine_is_never_acked_over(home: Path) -> None:
    """A process that is stopped while RUNNING may go on sending when it is woken: unconfirmed until it has let go."""
    with processes(home, "a", "b") as (one, other):
        other.signal(signal.SIGSTOP)
        found = halt_home(home, timeout_s=0.1)
        assert not found.confirmed
        assert [waiting.engine for waiting in found.waiting] == ["b"]
        assert "has not let go yet" in found.message
        with pytest.raises(HomeError, match=r"b \(pid \d+\) is not quiet"):
            reset_home(home, 1)
        other.signal(signal.SIGCONT)
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        assert other.ask("submit late") == "HALTED"
        assert one.ask("submit late") == "HALTED"


def suspend_without_the_pen(process: Process, home: Path) -> None:
    """Suspend an engine that was halted, and not while it holds the pen for the record: then no reset is possible."""
    with contextlib.closing(Pen(home)) as pen:
        assert pen.exclusive(PATIENCE_S)
        process.signal(signal.SIGSTOP)


def test_engine_suspended_over_ack_and_reset_sends_nothing(home: Path) -> None:
    """Woken after halt, ack, reset and somebody else's start, it finds an armed byte, and still needs its own start."""
    with processes(home, "a", "b") as (one, other):
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed  # its lookout has let go; it knows nothing of it yet
        suspend_without_the_pen(other, home)
        assert reset_home(home, 1).epoch == 2
        assert one.ask("beat") == "IDLE 2"
        assert one.ask("start") == "ACCEPTED"
        other.signal(signal.SIGCONT)
        assert other.ask("submit late") == "HALTED"
        assert other.ask("beat") == "IDLE 2"
        assert other.ask("submit later") == "NOT_RUNNING"
        assert one.ask("beat") == "RUNNING 2"  # what it did not see in time halts nobody now
        assert other.ask("start") == "ACCEPTED"
        assert one.ask("close") == other.ask("close") == "closed"
    for name in ("a", "b"):
        sound_of(home, name)


def test_hung_thread_wakes_after_a_reset_to_a_dead_page(home: Path) -> None:
    """The same within one process: the byte is armed again, the page that this engine reads is dead."""
    with running(home, engine="a") as kernel:
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        reset_home(home, 1)
        assert (home / "page").read_bytes()[0] == 0xA5
        assert kernel._hold.page is DEAD
        venue = RecordingVenue()
        assert kernel.submit(order("late"), venue.send).reason is Reason.HALTED
        assert venue.seen == []
        kernel.heartbeat()
        assert (kernel.mode, kernel.epoch) == (Mode.IDLE, 2)
        assert kernel.start()
        latch, _ = read_latch(home / "latch.json")
        assert latch.state == "ARMED"
    assert sound_of(home, "a") is Status.VERIFIED


def test_reset_between_the_looks_of_a_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halted and reset by others just before it takes the lock, an engine runs in the new epoch, and holds the lock."""
    with attach(home, engine="a") as kernel:
        real = Hold.enter
        done: list[int] = []

        def enter(hold: Hold) -> bool:
            if not done:
                done.append(1)
                assert halt_home(home, timeout_s=PATIENCE_S).confirmed
                reset_home(home, 1)
            return real(hold)

        monkeypatch.setattr(Hold, "enter", enter)
        assert kernel.start()
        assert (kernel.mode, kernel.epoch, kernel._hold.held) == (Mode.RUNNING, 2, True)
        (shown,) = engines(Home(home).engines)
        assert shown.held
    assert sound_of(home, "a") is Status.VERIFIED


def test_escalation_kills_who_hangs_and_nobody_else(home: Path) -> None:
    """SIGKILL goes to the engine that is inside a send; the others live, and the ack is true."""
    with processes(home, "a", "b", "c") as (one, other, third):
        assert other.ask("send stuck") == "inside"
        found = halt_home(home, timeout_s=0.1, escalate=True)
        assert (found.confirmed, found.durable, found.waiting) == (True, True, ())
        assert [(killed.engine, killed.pid) for killed in found.killed] == [("b", other.child.pid)]
        assert other.child.wait(PATIENCE_S) == -signal.SIGKILL
        for process in (one, third):
            assert process.ask("beat") == "HALTED 1"
    with attach(home, engine="b") as again:
        assert again.mode is Mode.HALTED
        assert [one.client_order_id for one in again.working_orders()] == ["stuck"]
    assert sound_of(home, "b") is Status.IN_DOUBT


def test_escalation_of_a_suspended_engine(home: Path) -> None:
    """SIGKILL ends a stopped process, too."""
    with processes(home, "a") as (process,):
        process.signal(signal.SIGSTOP)
        found = halt_home(home, timeout_s=0.05, escalate=True)
        assert found.confirmed
        assert [killed.pid for killed in found.killed] == [process.child.pid]


def test_kernel_never_kills_itself(home: Path) -> None:
    """Escalating from inside spares the process that asks, and stays honest about it."""
    with running(home, engine="a") as one, running(home, engine="b") as other, inside(other, "slow"):
        report = one.halt("stop", timeout_s=0.05, escalate=True)
        assert (report.confirmed, report.killed) == (False, ())


def test_reused_pid_is_not_killed(home: Path) -> None:
    """A process id in the roster whose process began at another time belongs to somebody else by now."""
    with python("import sys; print(1, flush=True); sys.stdin.read()") as bystander:
        with processes(home, "a") as (process,):
            process.signal(signal.SIGSTOP)
            with (home / "engines" / "a").open("r+b") as file:
                file.seek(128)
                file.write(bystander.pid.to_bytes(8, "little"))
                file.write((1).to_bytes(8, "little"))  # when the machine was booting
            found = halt_home(home, timeout_s=0.05, escalate=True)
            assert not any(killed.engine == "a" and killed.pid == bystander.pid for killed in found.killed)
            assert "belongs to another process now" in found.message or found.confirmed
        assert bystander.poll() is None
        bystander.communicate("")


INHERITING = """
import os, subprocess, sys
from tests.helpers import *
from interlock.kernel import SystemClock
kernel = running(sys.argv[1], SystemClock(), engine=sys.argv[2])
descriptor = kernel._sentinel.running.descriptor
child = subprocess.Popen([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
                         pass_fds=[descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("running", flush=True)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_process_that_inherited_the_lock_is_named_and_killed(home: Path) -> None:
    """A child that was handed the lock's descriptor keeps it after its parent's death: never acked over, but found."""
    engine = Process(home, "a", INHERITING)
    with engine.child as parent:
        child = int(engine.hear())
        parent.kill()
        parent.wait(PATIENCE_S)
        found = halt_home(home, timeout_s=0.05)
        assert not found.confirmed
        assert [(waiting.engine, waiting.pid) for waiting in found.waiting] == [("", child)]
        found = halt_home(home, timeout_s=0.05, escalate=True)
        assert found.confirmed
        assert [killed.pid for killed in found.killed] == [child]


# -- Files that are replaced, clocks that go back ---------------------------------------------------------


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_lock_that_was_replaced_is_no_ack(home: Path, how: str) -> None:
    """A fresh lock file is free at once, and tells nothing of who holds the old one."""
    with running(home, engine="a") as kernel, inside(kernel, "slow"):
        (home / "lock").unlink()
        if how == "replaced":
            (home / "lock").touch(mode=0o600)
        found = halt_home(home, timeout_s=0.05)
        assert not found.confirmed
        assert "replaced" in found.message or "nobody can tell" in found.message
        report = kernel.halt("from inside", timeout_s=0.05)
        assert not report.confirmed
        with pytest.raises(HomeError, match=r"a \(pid \d+\)"):
            reset_home(home, 1)


def test_page_that_was_replaced_stops_whoever_has_the_memory(home: Path) -> None:
    """With another file in the page's place the byte in memory still reaches the engine, and that is an ack."""
    with processes(home, "a") as (process,):
        (home / "page").unlink()
        Page.make(home / "page", HOME_ID)
        (page := Page(home / "page", HOME_ID)).arm(page.halts)
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        assert process.ask("beat") == "HALTED 1"


def test_page_and_memory_that_were_replaced_are_no_ack(home: Path) -> None:
    """With other pages in memory and in the home the byte reaches nobody: unconfirmed, and the engine is named."""
    with processes(home, "a") as (process,):
        (home / "page").unlink()
        Page.make(home / "page", HOME_ID)
        with place(home, HOME_ID) as at:
            (at.path / "page").unlink()
        (page := Page(home / "page", HOME_ID)).arm(page.halts)
        found = halt_home(home, timeout_s=0.05)
        assert not found.confirmed
        assert [waiting.engine for waiting in found.waiting] == ["a"]
        assert process.ask("beat") == "HALTED 1"
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed


def test_clock_set_back_changes_nothing(home: Path) -> None:
    """UTC that goes back a day between start and halt delays no halt, and un-halts nothing."""
    clock = FakeClock()
    with running(home, clock, engine="a") as kernel:
        clock.now_us -= 86_400_000_000
        assert kernel.halt("x").confirmed
        halt_home(home, timeout_s=PATIENCE_S)
        clock.now_us -= 86_400_000_000
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
    with attach(home, clock, engine="a") as again:
        assert again.mode is Mode.HALTED


# -- The watchdog's thread -------------------------------------------------------------------------------


def test_kernel_that_is_watched_halts_itself_when_its_loop_stands(home: Path) -> None:
    """Attached with a watchdog, an engine whose heartbeat does not come halts, by a thread of its own, and says why."""
    with running(home, engine="a", watch=Limits(beat_s=0.2, busy_s=60, send_s=60, interval_s=0.01)) as kernel:
        deadline = time.monotonic() + PATIENCE_S
        while kernel.cause is None and time.monotonic() < deadline:
            kernel._quiet.wait(0.01)  # the loop hangs: nobody calls heartbeat
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.STALLED
        assert "no heartbeat" in kernel.cause.reason
        watch = kernel._watch
        assert watch is not None
    watch.join(PATIENCE_S)
    assert not watch.is_alive()
    assert sound_of(home, "a") is Status.VERIFIED


# -- Killers that die, and many of them -------------------------------------------------------------------

DYING = """
import os, signal, sys
from pathlib import Path
from tests.helpers import *
from interlock.breaker.kill import Kill

class Dies(Kill):
    pass

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Dies, sys.argv[2], die)
Dies(Home(Path(sys.argv[1])), halted_by("first")).run(1.0)
"""


@pytest.mark.parametrize("step", ["set_byte", "write_latch", "wait_quiet", "_agreed", "look_again", "finish"])
def test_second_killer_finishes_what_a_dead_one_began(home: Path, step: str) -> None:
    """A killer that dies at any step leaves nothing blocked and nothing undone; the next one is confirmed."""
    with processes(home, "a", "b") as (one, other):
        with python(DYING, home, step) as killer:
            assert killer.wait(PATIENCE_S) == -signal.SIGKILL
        found = halt_home(home, operator="second", timeout_s=PATIENCE_S)
        assert (found.stopped, found.durable, found.confirmed) == (True, True, True)
        for process in (one, other):
            assert process.ask("submit late") == "HALTED"
        latch, _ = read_latch(home / "latch.json")
        assert latch.state == "HALTED"
        assert latch.operator in ({"second"} if step == "set_byte" else {"first", "second"})


def test_many_killers_at_once_are_all_confirmed(home: Path) -> None:
    """Killers do not hold each other up, and the engines see one halt."""
    with running(home, engine="a") as kernel, running(home, engine="b"):
        found: list[bool] = []
        threads = [
            threading.Thread(target=lambda: found.append(halt_home(home, timeout_s=PATIENCE_S).confirmed))
            for _ in range(8)
        ]
        threads.append(
            threading.Thread(target=lambda: found.append(kernel.halt("inside", timeout_s=PATIENCE_S).confirmed))
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert found == [True] * 9
        assert not attach_starts(home, "c")


def attach_starts(home: Path, engine: str) -> bool:
    """Whether a fresh engine can be started there."""
    with attach(home, engine=engine) as kernel:
        return bool(kernel.start())


def test_engines_that_start_again_and_again_do_not_starve_a_killer(home: Path) -> None:
    """Starts under a halt look before they take the lock, so a killer gets it."""
    with running(home, engine="a") as kernel:
        over = threading.Event()

        def restart() -> None:
            while not over.is_set():
                kernel.start()

        threads = [threading.Thread(target=restart) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert halt_home(home, timeout_s=PATIENCE_S).confirmed
        finally:
            over.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        assert kernel.mode is Mode.HALTED


# -- What the roster shows --------------------------------------------------------------------------------


def test_roster_shows_what_an_engine_does(home: Path) -> None:
    """Who is attached, in which mode, with which sends; and after it detached, that nobody is."""
    with running(home, engine="a") as kernel:
        before = time.monotonic_ns()
        kernel.heartbeat()
        kernel.busy(before)
        with inside(kernel, "slow"):
            (shown,) = engines(Home(home).engines)
            assert (shown.name, shown.attached, shown.pid, shown.mode) == ("a", True, os.getpid(), Mode.RUNNING)
            assert (shown.held, shown.busy_ns, shown.operator, shown.run) == (True, before, "ann", kernel.run)
            assert shown.beats >= 1
            assert before <= shown.beat_ns <= time.monotonic_ns()
            (send,) = shown.sending
            (record,) = of_kind(home, "permit", "a")
            assert send.permit == record["seq"]
            assert shown.same_process()
        (shown,) = engines(Home(home).engines)
        assert shown.sending == ()
    (shown,) = engines(Home(home).engines)
    assert (shown.attached, shown.held) == (False, False)


def test_more_sends_than_the_roster_can_show_are_counted(home: Path) -> None:
    """The 65th send at once is counted, and named when another has ended; it is waited for like the others."""
    with running(home, engine="a") as kernel:
        hold = kernel._hold
        for number in range(70):
            assert hold.begin(number, 1_000 + number)
        assert named(home) == (set(range(64)), 6)
        assert [hold.since(number) for number in range(70)] == list(range(1_000, 1_070))
        hold.end(3)
        assert named(home) == (set(range(65)) - {3}, 5)
        hold.end(66)
        assert named(home) == (set(range(65)) - {3}, 4)
        left = [number for number in range(70) if number not in {3, 66}]
        assert [hold.since(number) for number in left] == [1_000 + number for number in left]
        found = halt_home(home, timeout_s=0.05)
        (waiting,) = found.waiting
        assert (found.confirmed, waiting.why, len(waiting.in_flight), waiting.unnamed) == (
            False,
            "it is inside a send",
            64,
            4,
        )
        assert "and 4 more" in found.message
        for number in left[:-1]:
            hold.end(number)
        assert named(home) == ({69}, 0)
        assert not halt_home(home, timeout_s=0.05).confirmed
        hold.end(69)
        assert named(home) == (set(), 0)
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed


def named(home: Path) -> tuple[set[int], int]:
    """The sends that the roster names, and how many it counts besides."""
    (shown,) = engines(Home(home).engines)
    return {send.permit for send in shown.sending}, shown.unnamed


class Beside:
    """Stands for the slots or the lock of a crowd; when it is first used a send ends, as if in another thread."""

    def __init__(self, end: Callable[[int], None], *numbers: int) -> None:
        self.end = end
        self.left = list(numbers)
        self.slots: list[int] = []

    def __enter__(self) -> None:
        """Take the lock."""
        if self.left:
            self.end(self.left.pop())

    def __exit__(self, *_: object) -> None:
        """Let go."""

    def pop(self) -> int:
        """A slot, if there is one; if not, a send ends just after that was seen."""
        if not self.slots and self.left:
            self.end(self.left.pop())
            raise IndexError
        return self.slots.pop()

    def append(self, slot: int) -> None:
        """A slot is free."""
        self.slots.append(slot)

    def __len__(self) -> int:
        """How many are free."""
        return len(self.slots)


def test_slot_that_becomes_free_as_a_crowd_begins_is_taken(home: Path) -> None:
    """A send ends between the last look for a free slot and the moment at which the new one is seen to wait for it."""
    with running(home, engine="a") as kernel:
        hold = kernel._hold
        for number in range(64):
            assert hold.begin(number, 1)
        free = Beside(hold.end, 5)
        hold._free = free  # type: ignore[assignment]
        assert hold.begin(64, 1)
        assert free.left == []
        assert named(home) == (set(range(65)) - {5}, 0)
        for number in hold.sending.copy():
            hold.end(number)


def test_send_that_gets_its_slot_as_it_ends_gives_it_back(home: Path) -> None:
    """A send ends, and in another thread another one, whose slot the first gets before it is forgotten."""
    with running(home, engine="a") as kernel:
        hold = kernel._hold
        for number in range(65):
            assert hold.begin(number, 1)
        hold._crowd = crowd = Beside(hold.end, 5)  # type: ignore[assignment]
        hold.end(64)
        assert crowd.left == []
        assert named(home) == (set(range(64)) - {5}, 0)
        assert len(hold._free) == 1
        for number in hold.sending.copy():
            hold.end(number)


def test_crowd_of_threads_leaves_nothing_behind(home: Path) -> None:
    """However more sends than slots begin and end side by side, no slot is lost, and none stays free in a crowd."""
    with running(home, engine="a") as kernel:
        hold, together = kernel._hold, threading.Barrier(80)
        wrong: list[object] = []

        def churn(mine: int) -> None:
            for number in range(mine, 80 * 200, 80):
                with kernel._lock:
                    begun = hold.begin(number, number + 1)
                if not begun or hold.since(number) != number + 1:
                    wrong.append((number, begun))
                if number == mine:
                    together.wait(PATIENCE_S)
                hold.end(number)
            with kernel._lock:
                hold.begin(1_000_000 + mine, 1)
            if together.wait(PATIENCE_S) == 0:
                wrong.extend([] if (len(hold._unnamed), hold._free) == (16, []) else [hold._unnamed])
            together.wait(PATIENCE_S)
            hold.end(1_000_000 + mine)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=churn, args=(mine,)) for mine in range(80)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
        finally:
            sys.setswitchinterval(interval)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert sorted(hold._free) == list(range(0, 128, 2))
        assert named(home) == (set(), 0)
        assert (hold.sending, hold._unnamed) == ({}, {})


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff" * 4096, b"interlock engine 1\n" + b"\0" * 4077], ids=["0", "1", "ff", "bare"]
)
def test_roster_file_of_any_content_stops_no_halt(home: Path, content: bytes) -> None:
    """Whatever stands among the roster's files, a halt goes through, and never raises."""
    with running(home, engine="a"):
        (home / "engines" / "odd").write_bytes(content)
        (home / "engines" / "directory").mkdir()
        (home / "engines" / "link").symlink_to(home / "nowhere")
        assert halt_home(home, timeout_s=PATIENCE_S).confirmed


def test_berth_is_taken_once(home: Path) -> None:
    """One process a name: the second is refused while the first is there, and only then."""
    first = Berth(home / "engines", "a", HOME_ID)
    with pytest.raises(BlockingIOError):
        Berth(home / "engines", "a", HOME_ID)
    first.close()
    Berth(home / "engines", "a", HOME_ID).close()
    with pytest.raises(OSError, match="not a roster file"):
        Berth(home / "engines", "a", "00000000-0000-4000-8000-00000000ffff")


def test_halting_survives_python_o(home: Path) -> None:
    """With assertions off a halt is as honest: unconfirmed inside a send, confirmed after."""
    script = """
    import sys, threading
    from tests.helpers import *
    kernel = running(sys.argv[1], engine="a")
    venue = SlowVenue()
    thread = threading.Thread(target=lambda: kernel.submit(order("slow"), venue.send))
    thread.start()
    venue.inside.wait(30)
    first = halt_home(sys.argv[1], timeout_s=0.05).confirmed
    venue.out.set()
    thread.join(30)
    print(first, halt_home(sys.argv[1], timeout_s=30).confirmed, kernel.submit(order("late"), venue.send).reason)
    """
    assert run_python(script, home, flags=["-O"]).split() == ["False", "True", "HALTED"]
    sound_of(home, "a")


# -- What a hostile reviewer found ----------------------------------------------------------------------------


def test_two_threads_that_halt_at_once_do_not_lend_each_other_their_lock(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one halt of this kernel has the lock, another has to wait: they are on descriptions of their own."""
    with running(home, engine="a") as kernel:
        real = Kill.look_again
        tried: list[bool] = []

        def look(kill: Kill) -> bool:
            if not tried:
                tried.append(True)
                tried.append(kernel.halt("another", timeout_s=0.05).confirmed)
            return real(kill)

        monkeypatch.setattr(Kill, "look_again", look)
        assert kernel.halt("one", timeout_s=PATIENCE_S).confirmed
        assert tried == [True, False]


def test_killer_without_descriptors_does_not_ack(home: Path) -> None:
    """A process that can open no file knows nothing: unconfirmed, not raised."""
    script = """
    import os, resource, sys
    from tests.helpers import *
    kernel = running(sys.argv[1], engine="a")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    kept = []
    try:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    report = kernel.halt("x", timeout_s=0.2)
    print(kernel.mode, report.confirmed, "nobody can tell" in report.message)
    for descriptor in kept:
        os.close(descriptor)
    print(kernel.halt("x", timeout_s=30).confirmed)
    """
    assert run_python(script, home).split() == ["HALTED", "False", "True", "True"]


@pytest.mark.parametrize("inside_halt", [False, True], ids=["outside", "inside"])
def test_journal_that_hangs_holds_up_no_halt(home: Path, inside_halt: bool) -> None:
    """The order's name stands in a journal; if that can't be read in time it is named by its number, and killed."""
    with processes(home, "a") as (process,), running(home, engine="b") as other:
        assert process.ask("send stuck") == "inside"
        os.mkfifo(home / "journal" / "a" / f"{99:020d}.jsonl")
        found = other.halt("x", timeout_s=0.1) if inside_halt else halt_home(home, timeout_s=0.1)
        assert not found.confirmed
        (waiting,) = found.waiting
        assert (waiting.engine, len(waiting.in_flight)) == ("a", 1)
        assert halt_home(home, timeout_s=0.1, escalate=True).confirmed


WAITING = """
import sys
from tests.helpers import *
print("waiting", flush=True)
print(halt_home(sys.argv[1], timeout_s=60).confirmed, flush=True)
"""


def test_escalation_spares_who_only_looks_or_waits(home: Path) -> None:
    """Another killer, and whoever has the lock file open, hold no shared lock, and are left alone."""
    engine = Process(home, "a", INHERITING)
    looker = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with engine.child as parent:
        child = int(engine.hear())
        parent.kill()  # before anybody halts it: else it would let go for its child, too
        parent.wait(PATIENCE_S)
    with python(WAITING, home) as killer, python(looker, home / "lock") as other:
        assert killer.stdout is not None
        assert other.stdout is not None
        assert killer.stdout.readline() == "waiting\n"
        assert other.stdout.readline() == "open\n"
        found = halt_home(home, timeout_s=0.05, escalate=True)
        assert found.confirmed
        assert [killed.pid for killed in found.killed] == [child]
        assert killer.stdout.readline() == "True\n"
        assert other.poll() is None
        other.communicate("")


FORKING = """
import os, sys, threading
from tests.helpers import *
from interlock import attach as attaching
real = attaching.Recovery
def recovery(*given, **more):
    if not os.path.exists(sys.argv[1] + ".forked"):
        open(sys.argv[1] + ".forked", "w").close()
        child = os.fork()                       # a fork in another thread, in the midst of an attach
        if child == 0:
            sys.stdin.read()
            os._exit(0)
        print(child, flush=True)
    return real(*given, **more)
attaching.Recovery = recovery
kernel = running(sys.argv[1], engine="a")
print("running", flush=True)
os.kill(os.getpid(), 9)
"""


def test_child_forked_in_the_midst_of_an_attach_keeps_no_lock(home: Path) -> None:
    """Its copies of the locks are closed, also those of a kernel that was not there yet."""
    with python(FORKING, home) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "running\n"
        parent.wait(PATIENCE_S)
        try:
            assert halt_home(home, timeout_s=PATIENCE_S).confirmed
            attach(home, engine="a").close()
        finally:
            os.kill(child, signal.SIGKILL)


def test_halt_while_another_thread_closes(home: Path) -> None:
    """A halt that waits while the kernel is closed under it ends with an answer."""
    with running(home, engine="b") as other, inside(other, "slow"):
        kernel = running(home, engine="a")
        reports: list[bool] = []
        halting = threading.Thread(target=lambda: reports.append(kernel.halt("x", timeout_s=1.0).confirmed))
        halting.start()
        kernel.close()
        halting.join(PATIENCE_S)
        assert reports == [False]


def test_start_without_a_thread_for_its_lookout_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that nobody could halt from outside does not run; it does once there is a thread again."""
    with attach(home, engine="a") as kernel:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            verdict = kernel.start()
        assert (bool(verdict), verdict.limit, kernel.mode) == (False, "lookout", Mode.IDLE)
        assert kernel.start()
        assert kernel._lookout is not None
        assert kernel._lookout.is_alive()


def no_thread(_: threading.Thread) -> None:
    """As if the limit of processes were reached."""
    message = "can't start new thread"
    raise RuntimeError(message)


def test_kernel_that_nobody_holds_lets_go(home: Path) -> None:
    """Forgotten while RUNNING, it keeps no lock for the life of the process."""
    kernel = running(home, engine="a")
    del kernel
    gc.collect()
    assert halt_home(home, timeout_s=PATIENCE_S).confirmed
    attach(home, engine="a").close()


def test_attach_that_fails_late_leaves_the_name_free(home: Path) -> None:
    """A clock that raises in the midst of an attach takes no name with it."""

    class Broken(FakeClock):
        def utc_us(self) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attach(home, Broken(), engine="a")
    gc.collect()
    attach(home, engine="a").close()


@pytest.mark.parametrize("timeout_s", [float("inf"), float("nan"), -1.0, 1e300])
def test_any_timeout_is_a_timeout(home: Path, timeout_s: float) -> None:
    """However odd, it makes no halt raise."""
    with running(home, engine="a") as kernel:
        assert halt_home(home, timeout_s=timeout_s).stopped
        assert kernel.halt("x", timeout_s=timeout_s) is not None


def test_halt_stops_its_own_engine_before_it_touches_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is frozen holds up the store to the page; by then this engine sends nothing any more."""
    with running(home, engine="a") as kernel:
        venue = RecordingVenue()
        real = Page.halt
        seen: list[Reason] = []

        def frozen(page: Page) -> None:
            if not seen:
                seen.append(Reason.ACCEPTED)
                seen.append(kernel.submit(order("late"), venue.send).reason)
            real(page)

        monkeypatch.setattr(Page, "halt", frozen)
        assert kernel.halt("x", timeout_s=PATIENCE_S).confirmed
        assert seen[1] is Reason.HALTED
        assert venue.seen == []
    assert sound_of(home, "a") is Status.VERIFIED
