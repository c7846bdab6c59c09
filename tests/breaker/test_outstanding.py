"""Who has not let go, case by case: by what the roster shows, by the locks; what is told of it, and who is killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from tests.helpers import arm

from interlock import Mode
from interlock.breaker import outstanding
from interlock.breaker.lock import FileLock
from interlock.breaker.outstanding import end, reached, strangers, waiting
from interlock.breaker.quiet import InFlight, Quiet, Waiting
from interlock.breaker.roster import Engine, Sending

if TYPE_CHECKING:
    from interlock.breaker.home import Home

MEMORY: Final = (7, 70)
FAR: Final = {"memory": (8, 70)}
ATTACHING: Final = {"memory": (7, 0)}
ATTACHING_FAR: Final = {"memory": (8, 0)}
UNSEEN: Final = {"shown": False}
SENDS: Final = {"sending": (Sending(permit=4, for_ns=2_500_000_000),)}
CROWD: Final = {"unnamed": 1}
HOLDS: Final = {"held": True}
NOT_YET: Final = "it has another memory disk, and the page on the home's disk does not say halt yet"
NOT_SEEN: Final = "it may not have let go; what it sends can't be seen from here, since it has another memory disk"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


def engine(home: Home, **changes: Any) -> Engine:
    """Return an engine that is attached and out, except for these."""
    out = Engine(
        name="a",
        attached=True,
        pid=4_194_305,  # above what Linux gives out
        started=1,
        namespace=1,
        operator="ann",
        run="r",
        mode=Mode.HALTED,
        held=False,
        lock_inode=home.lock.stat().st_ino,
        page_inode=home.page.stat().st_ino,
        memory=MEMORY,
        shown=True,
        beats=0,
        beat_ns=0,
        busy_ns=0,
        sending=(),
        unnamed=0,
    )
    return attrs.evolve(out, **changes)


def shown(monkeypatch: pytest.MonkeyPatch, *found: Engine) -> None:
    """Let the roster show these."""
    monkeypatch.setattr(outstanding, "engines", lambda _: iter(found))


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody read the roster."""

    def engines(_: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(outstanding, "engines", engines)


@pytest.mark.parametrize(
    ("changes", "mirrored", "locked", "why"),
    [
        ({}, True, False, ""),
        ({}, False, False, ""),
        ({"attached": False} | HOLDS | SENDS, True, False, ""),
        ({"lock_inode": 1}, True, True, "it has another lock file open: the one in the home was replaced"),
        ({"lock_inode": 0}, True, False, ""),
        ({"page_inode": 1} | HOLDS, True, True, "it has another page mapped: the one in the home was replaced"),
        ({"page_inode": 1}, True, True, ""),
        ({"page_inode": 0} | HOLDS, True, False, "it has not let go yet"),
        (FAR, False, True, NOT_YET),
        (FAR, True, True, ""),
        ({"memory": (7, 71)}, False, True, NOT_YET),
        (ATTACHING, False, True, ""),
        (ATTACHING_FAR, False, True, NOT_YET),
        (SENDS, True, False, "it is inside a send"),
        (SENDS, True, True, "it is inside a send"),
        (CROWD, True, False, "it is inside a send"),
        (HOLDS, True, False, "it has not let go yet"),
        (HOLDS, True, True, "it says that it holds the lock"),
        (UNSEEN, True, True, ""),
        (UNSEEN, True, False, NOT_SEEN),
    ],
)  # fmt: skip
def test_each_sign_of_an_engine_that_is_not_out(
    home: Home, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], mirrored: bool, locked: bool, why: str
) -> None:
    """An engine is out if nothing contradicts it, and what does is said, with its sends."""
    one = engine(home, **changes)
    shown(monkeypatch, engine(home, name="out"), one)
    sends = tuple(
        InFlight(engine="a", pid=one.pid, permit=4, client_order_id="", instrument="", for_ns=2_500_000_000)
        for _ in one.sending
    )
    expected = Waiting(engine="a", pid=one.pid, in_flight=sends, why=why, unnamed=one.unnamed)
    assert waiting(home, {MEMORY}, mirrored=mirrored, locked=locked) == ((expected,) if why else ())


@pytest.mark.parametrize(("same", "holds", "out"), [(True, False, True), (True, True, False), (False, False, False)])
def test_unseen_engine_is_out_if_its_process_holds_no_lock(
    home: Home, monkeypatch: pytest.MonkeyPatch, same: bool, holds: bool, out: bool
) -> None:
    """Of an engine with another memory the locks of its process tell, if that is the process which is told of."""
    one = engine(home, pid=os.getpid(), **UNSEEN)
    shown(monkeypatch, one)
    monkeypatch.setattr(Engine, "same_process", lambda _: same)
    with closing(FileLock(home.lock)) as lock:
        assert not holds or lock.shared()
        assert (waiting(home, {MEMORY}, mirrored=True) == ()) is out


def test_lock_that_is_gone_was_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that has a lock open where the home has none holds that against an ack."""
    shown(monkeypatch, engine(home), engine(home, lock_inode=1))
    home.lock.unlink()
    for found in waiting(home, {MEMORY}, mirrored=True, locked=True):
        assert found.why == "it has another lock file open: the one in the home was replaced"
    assert len(waiting(home, {MEMORY}, mirrored=True, locked=True)) == 2


def test_roster_that_cannot_be_read_names_nobody_and_everybody(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't be looked at is not called out, not reached, and no stranger."""
    unreadable(monkeypatch)
    why = "the roster can't be read: Too many open files"
    assert waiting(home, {MEMORY}, mirrored=True) == (Waiting(engine="", pid=0, in_flight=(), why=why),)
    assert reached(home, {MEMORY}) is False
    assert strangers(home) == ()


def test_all_are_reached_who_look_at_a_memory_that_was_halted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single attached engine with another memory is enough not to have reached all, unless it has left."""
    near, far = engine(home), engine(home, **FAR)
    for found, all_of_them in (
        ((), True),
        ((near,), True),
        ((near, far), False),
        ((near, attrs.evolve(far, attached=False)), True),
    ):
        shown(monkeypatch, *found)
        assert reached(home, {MEMORY}) is all_of_them


HOLDER: Final = """
import sys
from pathlib import Path
from interlock.breaker.lock import FileLock

lock = FileLock(Path(sys.argv[1]))
assert lock.shared()
print("holds", flush=True)
sys.stdin.read()
"""


def test_stranger_holds_the_lock_and_is_no_engine(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that holds the lock and is no attached engine is named, and this very process never is."""
    command = [sys.executable, "-c", HOLDER, str(home.lock)]
    with (
        closing(FileLock(home.lock)) as lock,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"holds\n"
        assert lock.shared()
        stranger = Waiting(
            engine="", pid=child.pid, in_flight=(), why="it holds the lock, and is no engine of this home"
        )
        for attached in (False, True):
            shown(monkeypatch, engine(home, pid=child.pid, attached=attached))
            assert strangers(home) == (() if attached else (stranger,))
        child.communicate()


def opened() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


# -- Killing ---------------------------------------------------------------------------------------


def test_process_that_ended_or_is_another_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said why one was not killed; whether it is the one is asked when nobody else can get its number."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        before = opened()
        assert end(child.pid, lambda: False) == "not killed: that process id belongs to another process now"
        with monkeypatch.context() as patch:

            def refused(_: int, number: int) -> None:
                assert number == signal.SIGKILL
                raise PermissionError(errno.EPERM, "Operation not permitted")

            patch.setattr(signal, "pidfd_send_signal", refused)
            assert end(child.pid, lambda: True) == "cannot be killed: Operation not permitted"
        assert child.poll() is None
        assert end(child.pid, lambda: True) == ""
        assert child.wait() == -signal.SIGKILL
        assert opened() == before
        assert end(child.pid, lambda: True) == "cannot be killed: No such process"


# -- Telling ---------------------------------------------------------------------------------------


def test_what_is_told_of_who_waits() -> None:
    """Process, reason, orders by name or else by permit, and how many more."""
    named = InFlight(engine="a", pid=5, permit=4, client_order_id="o1", instrument="EURUSD", for_ns=2_500_000_000)
    by_number = attrs.evolve(named, client_order_id="", permit=9, for_ns=1_000_000)
    who = Waiting(engine="a", pid=5, in_flight=(named, by_number), why="it is inside a send", unnamed=3)
    assert who.told == (
        "not quiet: engine a, pid 5: it is inside a send: o1 EURUSD for 2.500 s, permit 9 EURUSD for 0.001 s, "
        "and 3 more"
    )
    alone = Waiting(engine="", pid=6, in_flight=(), why="it holds the lock")
    assert alone.told == "not quiet: pid 6: it holds the lock"


def test_halt_that_reached_nothing_says_nothing_else() -> None:
    """Who is not named did not wait, and a moment that was not reached is zero."""
    quiet = Quiet(stopped=False, durable=False, confirmed=False, message="no")
    assert (quiet.waiting, quiet.killed) == ((), ())
    assert (quiet.called_ns, quiet.stopped_ns, quiet.durable_ns, quiet.confirmed_ns) == (0, 0, 0, 0)
    assert Waiting(engine="", pid=6, in_flight=(), why="").unnamed == 0
