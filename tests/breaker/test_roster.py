"""The roster, file by file: what is believed of one, and what is said when this process has no room left to look."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import stat
import struct
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.helpers import HOME_ID, OTHER_ID, arm, attach, halted_by, reset_home

from interlock import Mode
from interlock.breaker import lock, roster
from interlock.breaker.filepage import FilePage
from interlock.breaker.lock import FileLock
from interlock.breaker.memory import place
from interlock.breaker.outstanding import end, reached, strangers
from interlock.breaker.page import Page
from interlock.breaker.roster import Berth, Engine, Sending, engine_name, engines, holders, home_of, look
from interlock.core.modes import ARMED
from interlock.journal import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.breaker.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """Let this process have so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(64)]  # fill the gaps between those that are open
    most = max(int(path.name) for path in Path("/proc/self/fd").iterdir() if path.name.isdigit())
    given = kept[-left:] if left else []
    for descriptor in given:
        os.close(descriptor)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(kept) + 1, hard))
        assert most >= max(kept)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in kept[: len(kept) - left]:
            os.close(descriptor)


# -- Names, and processes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "7", "A.b_c-d", "a" * 64])
def test_what_can_be_a_files_name_is_an_engines_name(name: str) -> None:
    """Letters, digits, dot, underscore and dash, up to sixty-four of them."""
    assert engine_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a\n", "\u00e4", "a" * 65])
def test_what_cannot_be_an_engines_name_is_refused(name: str) -> None:
    """Any other is refused, and the message says which and why."""
    with pytest.raises(ValueError, match="1 to 64 letters, digits") as caught:
        engine_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "told", "real", "same"),
    [(True, 1, 1, True), (True, 7, 7, True), (False, 7, 7, False), (True, 7, 8, False), (True, 0, 0, False)],
)
def test_process_is_known_by_namespace_and_beginning(
    home: Home, monkeypatch: pytest.MonkeyPatch, ours: bool, told: int, real: int, same: bool
) -> None:
    """It is the process that is told of if it began then, in our namespace; not if its beginning is not known."""
    Berth(home.engines, "a", HOME_ID).close()
    (shown,) = engines(home.engines)
    monkeypatch.setattr(roster, "_started", lambda _: real)
    namespace = shown.namespace if ours else shown.namespace + 1
    assert attrs.evolve(shown, started=told, namespace=namespace).same_process() is same


def test_beginning_of_a_process_is_found_whatever_its_name() -> None:
    """A process may call itself as it likes, also as what stands beside its name; one that is gone has none."""
    name = Path("/proc/self/comm")
    before = name.read_bytes()
    began = roster._started(os.getpid())
    assert began > 0
    try:
        name.write_bytes(b"a) R 1 \xff(")
        assert roster._started(os.getpid()) == began
    finally:
        name.write_bytes(before.strip())
    assert roster._started(4_194_305) == 0  # above what Linux gives out


# -- What stands where -----------------------------------------------------------------------------


def test_every_number_stands_where_it_always_stood(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files outlive a version: what is in them, and is read from them, is at the places that are listed here."""
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000)
    berth = Berth(home.engines, "a", HOME_ID)
    berth.introduce(operator="ann", run="r", lock_inode=101, page_inode=102, memory_inode=103)
    berth.tell(Mode.HALTED)
    for _ in range(3):
        berth.beat()
    berth.busy(105)
    assert berth.beats == 3
    for at, number in enumerate((8, 400, 9, 2000)):  # two sends: the number of the permit plus one, and since when
        berth.slots[at] = number
    assert len(berth.slots) == 130
    berth.slots[128], berth.slots[129] = 1, 6  # holds the running lock; six more sends
    shown_at = Path(berth._shown_at)
    memory = shown_at.stat()
    numbers = (
        (os.getpid(), roster._started(os.getpid()), 101, 102),
        (2, 3, 1000, 105),
        (roster._namespace(), 0, memory.st_dev, 103, memory.st_ino),
    )
    told = bytearray(4096)
    told[:19] = b"interlock engine 1\n"
    told[19:55] = HOME_ID.encode()
    told[128:160] = struct.pack("<4Q", *numbers[0])
    told[160:192] = struct.pack("<4Q", *numbers[1])
    told[192:232] = struct.pack("<5Q", *numbers[2])
    told[1024:1056] = struct.pack("<4Q", 8, 400, 9, 2000)
    told[2048:2064] = struct.pack("<2Q", 1, 6)
    told[2560:] = b'{"operator":"ann","run":"r"}'.ljust(1536)
    assert shown_at.read_bytes() == told
    told[160:192], told[1024:2560] = bytes(32), bytes(1536)  # what changes is in memory alone
    assert (home.engines / "a").read_bytes() == told
    expected = Engine(
        name="a",
        attached=True,
        pid=numbers[0][0],
        started=numbers[0][1],
        namespace=numbers[2][0],
        operator="ann",
        run="r",
        mode=Mode.HALTED,
        held=True,
        lock_inode=101,
        page_inode=102,
        memory=(memory.st_dev, 103),
        shown=True,
        beats=3,
        beat_ns=1000,
        busy_ns=105,
        sending=(Sending(permit=7, for_ns=600), Sending(permit=8, for_ns=0)),
        unnamed=6,
    )
    assert (berth.seen(), look(home.engines, "a")) == (expected, expected)
    berth.close()
    assert look(home.engines, "a") == attrs.evolve(expected, attached=False)


@pytest.mark.parametrize("text", [b" ", b"{", b"[]", b"{}"])
def test_text_that_says_nothing_is_none(home: Home, text: bytes) -> None:
    """A file whose text is torn, or no text at all, tells of nobody, and of the rest as it is."""
    with closing(Berth(home.engines, "a", HOME_ID)) as berth:
        berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=1, memory_inode=0)
        berth._map[2560:4096] = text.ljust(1536)
        shown = berth.seen()
    assert (shown.operator, shown.run, shown.pid) == ("", "", os.getpid())


def test_what_lies_between_is_not_read(home: Home) -> None:
    """A later version may use the gaps of the file; whose it is is read up to the UUID's end."""
    Berth(home.engines, "a", HOME_ID).close()
    with (home.engines / "a").open("r+b") as file:
        file.seek(55)
        file.write(b"x" * 73)
    assert home_of(home.engines) == HOME_ID
    Berth(home.engines, "a", HOME_ID).close()


# -- Taking a name ---------------------------------------------------------------------------------


def test_roster_file_is_its_users_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the mask, nobody else reads it; and that it is there outlives the power."""
    synced: list[Path] = []
    monkeypatch.setattr(roster, "sync_directory", synced.append)
    before = os.umask(0)
    try:
        Berth(home.engines, "a", HOME_ID).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((home.engines / "a").stat().st_mode) == 0o600
    assert synced == [home.engines]


def test_attach_waits_a_moment_for_who_is_looking(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is not free in a quarter of a second is an engine's, and no look; the message names the file."""
    first = Berth(home.engines, "a", HOME_ID)
    slept: list[float] = []
    monkeypatch.setattr(lock.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(lock.time, "sleep", slept.append)
    with pytest.raises(BlockingIOError, match="engines/a: another process is attached as a"):
        Berth(home.engines, "a", HOME_ID)
    assert 0.25 <= sum(slept) < 0.4
    first.close()


def test_roster_file_that_was_replaced_while_it_was_waited_for_is_not_taken(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file that is not at its path any more keeps nobody out, so it is not enough."""
    real = FileLock.exclusive

    def exclusive(one: FileLock, timeout_s: float = 0.0) -> bool:
        taken = real(one, timeout_s)
        (home.engines / "a").rename(home.engines / "b")
        (home.engines / "a").write_bytes(b"")
        return taken

    monkeypatch.setattr(FileLock, "exclusive", exclusive)
    with pytest.raises(BlockingIOError):
        Berth(home.engines, "a", HOME_ID)


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize(
    "data",
    [
        b"x".ljust(4096, b"\x00"),
        b"interlock engine 2\n".ljust(4096, b"\x00"),
        (b"interlock engine 1\n" + OTHER_ID.encode()).ljust(4096, b"\x00"),
        (b"interlock engine 1\n" + HOME_ID.encode()).ljust(4095, b"\x00"),
        (b"interlock engine 1\n" + HOME_ID.encode()).ljust(4097, b"\x00"),
        (b"interlock engine 1\n" + b"\xff" * 36).ljust(4096, b"\x00"),
    ],
    ids=["noise", "version", "another home", "short", "long", "no text"],
)
def test_file_that_is_no_roster_file_of_this_home_is_refused(home: Home, data: bytes) -> None:
    """A file of any other kind is left as it is, and nobody attaches by it; nothing stays open."""
    (home.engines / "a").write_bytes(data)
    with pytest.raises(OSError, match=f"engines/a: not a roster file of home {HOME_ID}"):
        Berth(home.engines, "a", HOME_ID)
    assert (home.engines / "a").read_bytes() == data


@pytest.mark.parametrize("head", [b"x", b"interlock engine 2\n"])
def test_file_that_is_no_roster_file_is_refused_by_who_does_not_know_the_home(home: Home, head: bytes) -> None:
    """An engine whose home is not known takes any home's roster file, and nothing else."""
    (home.engines / "a").write_bytes(head.ljust(4096, b"\x00"))
    with pytest.raises(OSError, match="not a roster file"):
        Berth(home.engines, "a", "")


def test_who_does_not_know_the_home_is_shown_where_the_file_says(home: Home) -> None:
    """The file in memory is in the place of the home that the roster file names."""
    Berth(home.engines, "a", HOME_ID).close()
    with closing(Berth(home.engines, "a", "")), place(home.path, HOME_ID) as at:
        assert (at.path / "engine-a").exists()
        (shown,) = engines(home.engines)
    assert shown.shown


def test_journal_that_was_begun_is_remembered(home: Home) -> None:
    """It is said in the file in the home as soon as it is so, and stays over attaches."""
    Berth(home.engines, "a", HOME_ID).close()
    with closing(Berth(home.engines, "a", HOME_ID)) as berth:
        assert berth.begun is False
        before = (home.engines / "a").read_bytes()
        berth.begin()
        assert berth.begun is True
        after = (home.engines / "a").read_bytes()
        assert (after[:200], after[200:208], after[208:]) == (before[:200], struct.pack("<Q", 1), before[208:])
    for _ in range(2):
        with closing(Berth(home.engines, "a", HOME_ID)) as berth:
            assert berth.begun is True
            berth.introduce(operator="ann", run="r", lock_inode=1, page_inode=1, memory_inode=0)


@pytest.mark.usefixtures("nothing_left_open")
def test_neither_engine_nor_look_leaves_a_descriptor_open(home: Home) -> None:
    """An engine that attaches time and again, and is looked at for years, uses up no descriptors."""
    with closing(Berth(home.engines, "a", HOME_ID)):
        assert look(home.engines, "a") is not None


def test_files_that_are_not_these_any_more_are_seen(home: Home) -> None:
    """Neither the file in the home nor that in memory may be removed or replaced while in use."""
    with closing(Berth(home.engines, "a", HOME_ID)) as berth:
        assert berth.same()
        for path in (berth._shown_at, home.engines / "a"):
            aside = path.with_name("aside")
            path.rename(aside)
            assert not berth.same()
            path.write_bytes(aside.read_bytes())
            assert not berth.same()
            aside.rename(path)
            assert berth.same()


def test_forked_child_tells_nothing(home: Home) -> None:
    """What the copy in a child does is not told as its parent's."""
    with closing(Berth(home.engines, "a", HOME_ID)) as berth:
        berth.beat()
        berth.abandon()
        berth.beat()
        berth.tell(Mode.HALTED)
        (shown,) = engines(home.engines)
    assert (shown.beats, shown.mode) == (1, Mode.IDLE)


def test_process_that_holds_a_lock_twice_is_named_once(home: Home) -> None:
    """Whoever holds the running lock is named once, by whatever number of descriptors."""
    with closing(FileLock(home.lock)) as one, closing(FileLock(home.lock)) as other:
        assert one.shared()
        assert other.shared()
        assert holders(home.lock) == [os.getpid()]


# -- Whose it is, and what is seen -----------------------------------------------------------------


def test_roster_file_of_an_unknown_home_learns_whose_it_is(home: Home) -> None:
    """Who made it did not know the home's UUID; who takes it next does, and from then on the file says so."""
    Berth(home.engines, "a", "").close()
    assert home_of(home.engines) == ""
    Berth(home.engines, "a", HOME_ID).close()
    assert home_of(home.engines) == HOME_ID
    with pytest.raises(OSError, match=f"not a roster file of home {OTHER_ID}"):
        Berth(home.engines, "a", OTHER_ID)
    Berth(home.engines, "a", "").close()  # who does not know is not told wrong
    assert home_of(home.engines) == HOME_ID


@pytest.mark.parametrize("letter", ["a", "\x01", '"', "\N{FIRE}", "\ud800"])
def test_operator_of_any_length_and_letters_is_shown(home: Home, letter: str) -> None:
    """A name that is too long for its room is cut, whatever its letters take in JSON."""
    with attach(home.path, operator=letter * 500):
        (shown,) = engines(home.engines)
    assert shown.operator == records.text(letter * 500)[:240]
    assert re.fullmatch(r"[0-9a-f-]{36}", shown.run)


def test_home_is_known_by_any_roster_file_that_can_be_read(home: Home) -> None:
    """What is no roster file, or no file, says nothing; without a roster nothing is known."""
    (home.engines / "a").mkdir()
    (home.engines / "b").write_bytes(b"no roster file")
    Berth(home.engines, "c", HOME_ID).close()
    assert home_of(home.engines) == HOME_ID
    assert home_of(home.path / "nowhere") == ""


def test_what_has_no_engines_name_is_no_engine(home: Home) -> None:
    """Files whose names no engine can have are left out, and so is what is no file."""
    Berth(home.engines, "alpha", HOME_ID).close()
    (home.engines / ".hidden").write_bytes(b"x")
    (home.engines / "directory").mkdir()
    assert [engine.name for engine in engines(home.engines)] == ["alpha"]
    assert list(engines(home.path / "nowhere")) == []
    assert look(home.engines, "nobody") is None


@pytest.mark.parametrize("left", [0, 1])
def test_process_without_descriptors_does_not_say_that_nobody_is_there(home: Home, left: int) -> None:
    """Whether none is left or not enough to see what changes, that is an error, and never an empty roster."""
    berth = Berth(home.engines, "alpha", HOME_ID)
    memories = {(1, 1)}
    with descriptors(left):
        with pytest.raises(OSError, match="Too many open files"):
            look(home.engines, "alpha")
        with pytest.raises(OSError, match="Too many open files"):
            list(engines(home.engines))
        assert not reached(home, memories)
        assert strangers(home) == ()
    berth.close()


def test_roster_file_that_cannot_be_locked_says_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks has no engine to tell of."""
    Berth(home.engines, "alpha", HOME_ID).close()

    def refused(_: int, how: int) -> None:
        if how != fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    assert look(home.engines, "alpha") is None


def test_file_in_memory_that_is_another_ones_is_not_believed(home: Home) -> None:
    """What changes is read from the very file that the home's tells of; if that is another, nothing is seen."""
    berth = Berth(home.engines, "alpha", HOME_ID)
    berth.tell(Mode.RUNNING)
    found = look(home.engines, "alpha")
    assert found is not None
    assert (found.shown, found.mode) == (True, Mode.RUNNING)
    with place(home.path, HOME_ID) as at:
        at.renew("engine-alpha", b"x")
    found = look(home.engines, "alpha")
    assert found is not None
    assert (found.shown, found.attached, found.mode) == (False, True, Mode.IDLE)
    berth.close()


def test_system_without_namespaces_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the namespace can't be known it is nought, which is nobody's."""

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    assert roster._namespace() > 0
    monkeypatch.setattr(Path, "stat", missing)
    assert roster._namespace() == 0


def test_lock_that_is_gone_is_held_by_nobody(tmp_path: Path) -> None:
    """Nobody holds a file that is not there."""
    assert holders(tmp_path / "lock") == []


# -- Ending a process ------------------------------------------------------------------------------


def test_only_the_process_that_is_meant_is_ended() -> None:
    """One that is gone, or another by now, is not killed, and that is said; whoever can't look kills nobody."""
    assert "No such process" in end(4_194_305, lambda: True) or "Invalid" in end(4_194_305, lambda: True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert "belongs to another process now" in end(child.pid, lambda: False)

        def cannot() -> bool:
            raise OSError(errno.EMFILE, "Too many open files")

        assert end(child.pid, cannot) == "cannot be killed: Too many open files"
        assert child.poll() is None
        assert end(child.pid, lambda: True) == ""
        assert child.wait(30) == -9


# -- The page's file -------------------------------------------------------------------------------


def test_page_that_cannot_be_read_was_begun_and_holds_no_record(home: Home) -> None:
    """On a disk that fails a journal counts as begun, so that an empty one is a loss, and nothing was left."""
    page = FilePage(home.page, HOME_ID)
    assert not page.begun
    kept = os.dup(page._descriptor)
    os.close(page._descriptor)
    try:
        assert page.begun
        assert page.left() == b""
    finally:
        os.dup2(kept, page._descriptor)
        os.close(kept)


def test_second_halt_of_a_file_leaves_the_first_ones_record(home: Home) -> None:
    """Where halt stands already its record stays, too."""
    page = FilePage(home.page, HOME_ID)
    assert page.byte == ARMED
    page.halt(b"first")
    halts = page.halts
    page.halt(b"second")
    assert (page.left(), page.halts) == (b"first", halts)
    assert page.byte != ARMED


def test_page_knows_whose_it_is(home: Home) -> None:
    """The UUID that stands in it is the home's, also over a halt and a reset."""
    home.halt(halted_by(), 0.0)
    reset_home(home.path, 1)
    page = Page(home.page, None)
    assert page.home == HOME_ID
    page.close()
