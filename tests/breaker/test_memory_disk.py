"""The memory disk: what a halt does where the home's disk does nothing, and who may not have been there first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.helpers import (
    HOME_ID,
    OTHER_ID,
    RecordingVenue,
    arm,
    attach,
    halt_home,
    halted_by,
    order,
    python,
    python_path,
    quote,
    reset_home,
    running,
)

from interlock import HaltCode, HomeError, Mode, Reason
from interlock.breaker.grounds import mount_of
from interlock.breaker.latch import read_latch, write_latch
from interlock.breaker.memory import VARIABLE, Place, memory_disk, place
from interlock.breaker.page import FilePage, MemoryPage, Page
from interlock.breaker.roster import engines
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock import Kernel
    from interlock.breaker.home import Home

PATIENCE_S: Final = 30.0
_UNSHARE: Final = ("unshare", "-Um", "--map-current-user", "--keep-caps", "--propagation", "private")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return another memory disk, which is this process's from here on, as a container has one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        monkeypatch.setenv(VARIABLE, made)
        yield Path(made)


def places(home: Path) -> Path:
    """Return the home's directory in memory."""
    with place(home, HOME_ID) as at:
        return at.path


def until(true: object) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def refuses(kernel: Kernel) -> bool:
    """Whether it gives no permit."""
    venue = RecordingVenue()
    return kernel.submit(order("late"), venue.send).reason is Reason.HALTED and not venue.seen


# -- A disk that takes nothing -------------------------------------------------------------------------

BIND: Final = """
import ctypes, json, os, subprocess, sys
from pathlib import Path

def mount(path, flags, kind=None):
    if ctypes.CDLL(None, use_errno=True).mount(str(path).encode(), str(path).encode(), kind, flags, None):
        print(json.dumps({"no mount": os.strerror(ctypes.get_errno())}), flush=True)
        sys.exit()

def read_only(path):  # for all who come by the path from here on
    mount(path, 4096)
    mount(path, 1 | 32 | 4096)

home = Path(sys.argv[1])
"""

FROM_OUTSIDE: Final = """
read_only(home)
done = subprocess.run(
    [sys.executable, "-m", "interlock.ops", "halt", "--home", home, "--reason", "x", "--json", "--timeout", "0.3"],
    stdout=subprocess.PIPE)
print(json.dumps({"exit": done.returncode, "told": json.loads(done.stdout)}))
"""

WITH_AN_ENGINE: Final = """
from tests.helpers import *
kernel = running(home)
venue = RecordingVenue()
if not kernel.submit(order("early"), venue.send):
    sys.exit(1)
read_only(home)
done = subprocess.run(
    [sys.executable, "-m", "interlock.ops", "halt", "--home", home, "--reason", "x", "--json"], stdout=subprocess.PIPE)
late = kernel.submit(order("late"), venue.send)
own = kernel.halt("once more")
print(json.dumps({
    "exit": done.returncode, "told": json.loads(done.stdout), "late": late.reason, "sent": venue.seen,
    "own": [own.confirmed, own.durable]}))
"""


def in_private(script: str, home: Path, *flags: str) -> dict[str, object]:
    """What a script tells that has mounts of its own; skips where that may not be."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        [*_UNSHARE, sys.executable, *flags, "-c", BIND + script, str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    if "no mount" in told:
        pytest.skip(f"no mount here: {told['no mount']}")
    return told


@pytest.mark.parametrize("flags", [(), ("-O",)])
def test_read_only_home_is_halted_from_outside_over_an_engine(home: Home, flags: tuple[str, ...]) -> None:
    """On a disk that went read-only under an engine, `interlock halt` stops it, confirmed and not durable: 4."""
    told = in_private(WITH_AN_ENGINE, home.path, *flags)
    found = told["told"]
    assert isinstance(found, dict)
    assert (told["exit"], found["confirmed"], found["durable"]) == (4, True, False)
    assert "Read-only" in found["message"]
    assert told["sent"] == ["early"]
    assert told["late"] == Reason.HALTED
    assert told["own"] == [True, False]


def test_killer_that_may_only_read_the_home_stops_an_engine_that_may_write(home: Home) -> None:
    """A killer whose mount is read-only reaches the engine by the memory; the engine makes it durable."""
    halt_home(home.path)
    reset_home(home.path, 1)
    with running(home.path) as kernel:
        told = in_private(FROM_OUTSIDE, home.path)
        assert isinstance(told["told"], dict)
        assert told["told"]["confirmed"]
        assert refuses(kernel)
        kernel.heartbeat()
        latch, _, byte = home.latch_state()
        assert latch is not None
        assert (latch.state, byte) == ("HALTED", 0)


def test_killer_with_neither_disk_nor_memory_confirms_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killer that can write neither the page's file nor this engine's memory says so, and names the engine."""
    with running(home.path) as kernel, tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        monkeypatch.setenv(VARIABLE, other)
        told = in_private(FROM_OUTSIDE, home.path)
        assert told["exit"] == 4
        found = told["told"]
        assert isinstance(found, dict)
        assert not found["confirmed"]
        assert "another memory disk" in found["message"]
        assert kernel.mode is Mode.RUNNING


def test_page_that_hangs_holds_up_no_halt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a disk that takes the page's bytes and never answers a halt is confirmed, and durable once it does."""
    hangs, write = threading.Event(), FilePage.write

    def slow(page: FilePage, *parts: tuple[int, bytes]) -> None:
        hangs.wait(PATIENCE_S)
        write(page, *parts)

    with running(home.path) as kernel:
        monkeypatch.setattr(FilePage, "write", slow)
        found = halt_home(home.path, timeout_s=1.0)
        assert (found.stopped, found.confirmed, found.durable) == (True, True, False)
        assert kernel.mode is Mode.HALTED
        report = kernel.halt("inside")
        assert (report.confirmed, report.durable) == (True, False)
        hangs.set()
        until(lambda: home.page.read_bytes()[0] != ARMED)
        assert halt_home(home.path, timeout_s=PATIENCE_S).durable


# -- Another memory disk -------------------------------------------------------------------------------


def test_halt_reaches_an_engine_with_another_memory_disk_by_the_file(home: Home, elsewhere: Path) -> None:
    """A killer in another container stops an engine within a look, by the page's file, and that is an ack."""
    assert memory_disk() == elsewhere
    with running(home.path) as kernel:
        killer = python(
            "import sys; from tests.helpers import *; print(halt_home(Path(sys.argv[1]), timeout_s=30).confirmed)",
            home.path,
            **{VARIABLE: "/dev/shm"},
        )
        assert killer.communicate(timeout=PATIENCE_S)[0].strip() == "True"
        assert refuses(kernel)
    for left in Path("/dev/shm").glob(f"interlock-*/{home.path.stat().st_dev}-{home.path.stat().st_ino}-*"):
        shutil.rmtree(left)


def test_halt_without_a_memory_disk_reaches_engines_by_the_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killer that can have no page in memory, as there is no such disk, stops engines within a look."""
    with running(home.path) as kernel:
        with monkeypatch.context() as there:
            there.setenv(VARIABLE, str(home.path / "nowhere"))
            found = halt_home(home.path)
        assert found.stopped
        assert (found.confirmed, home.page.read_bytes()[0]) == (False, 0)
        until(lambda: refuses(kernel))
    reset_home(home.path, 1)
    with running(home.path) as kernel:
        assert kernel.epoch == 2


def test_engine_with_another_memory_disk_is_seen_as_such(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What such an engine does is not guessed: it is attached, and not shown; and it does not start over a halt."""
    with attach(home.path) as kernel, tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert [engine.shown for engine in engines(home.engines)] == [True]
        monkeypatch.setenv(VARIABLE, other)
        (seen,) = engines(home.engines)
        assert (seen.attached, seen.shown, seen.held) == (True, False, False)
        assert halt_home(home.path, timeout_s=PATIENCE_S).confirmed
        assert not kernel.start()
        assert kernel.mode is Mode.HALTED


def test_reset_elsewhere_is_adopted_by_whoever_heard_of_the_halt_by_the_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that was stopped by the file is IDLE again after the reset of it, in whatever container."""
    with running(home.path) as kernel, tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        with monkeypatch.context() as there:
            there.setenv(VARIABLE, other)
            assert halt_home(home.path, timeout_s=PATIENCE_S).confirmed
            kernel.heartbeat()
            assert kernel.mode is Mode.HALTED
            reset_home(home.path, 1)
        kernel.heartbeat()
        assert kernel.mode is Mode.IDLE
        assert kernel.start()
        assert kernel.consult(quote(kernel))
        assert kernel.submit(order("a"), RecordingVenue().send)


def test_engine_that_heard_of_a_halt_adds_none_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the record of a halt elsewhere before it does anything: that leaves no mark that the reset knows not."""
    with attach(home.path) as kernel, tempfile.TemporaryDirectory(dir="/dev/shm") as other:  # no lookout: not started
        with monkeypatch.context() as there:
            there.setenv(VARIABLE, other)
            assert halt_home(home.path, timeout_s=PATIENCE_S).confirmed
            kernel.heartbeat()
            assert kernel.mode is Mode.HALTED
            reset_home(home.path, 1)
        kernel.heartbeat()
        assert kernel.start()


def test_record_that_no_byte_goes_with_halts_all(home: Home) -> None:
    """A record that somebody wrote by hand, with both pages armed, sets the byte for all who share the memory."""
    with attach(home.path) as kernel, running(home.path, engine="other") as other:
        write_latch(home.latch, halted_by()(read_latch(home.latch)[0]))
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert other.submit(order("a"), RecordingVenue().send).reason is Reason.HALTED


# -- Who was there first -------------------------------------------------------------------------------


def _open_to_others(path: Path) -> None:
    path.mkdir(mode=0o755)


def _link(path: Path) -> None:
    (path.parent / "target").mkdir(mode=0o700)
    path.symlink_to(path.parent / "target")


def _file(path: Path) -> None:
    path.write_bytes(b"")


def _of_another(path: Path) -> None:
    path.mkdir(mode=0o700)
    try:
        os.chown(path, 12345, 12345)
    except OSError as error:
        pytest.skip(f"needs root: {error}")


@pytest.mark.parametrize("squat", [_open_to_others, _link, _file, _of_another])
def test_place_that_somebody_else_made_is_refused(home: Home, elsewhere: Path, squat: object) -> None:
    """Where a stranger was first no engine comes up, and the message names what to remove; a halt goes by the file."""
    where = elsewhere / f"interlock-{home.path.stat().st_uid}"
    squat(where)  # type: ignore[operator]
    with pytest.raises(HomeError, match="so nothing is permitted") as caught:
        attach(home.path)
    assert str(where) in str(caught.value)
    found = halt_home(home.path)
    assert found.durable
    assert home.page.read_bytes()[0] != ARMED
    assert str(where) in found.message


def test_memory_disk_that_others_may_rename_in_is_refused(home: Home, elsewhere: Path) -> None:
    """Without its sticky bit a directory that others may write to is no place for a page."""
    elsewhere.chmod(0o777)
    with pytest.raises(HomeError, match="others may rename"):
        attach(home.path)


def test_disk_that_is_not_in_memory_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory disk that is a disk would bring back what it is there to avoid."""
    descriptor = os.open(home.path, os.O_RDONLY)
    try:
        if mount_of(descriptor).kind in {"tmpfs", "ramfs"}:
            pytest.skip("the temporary directory is in memory")
    finally:
        os.close(descriptor)
    monkeypatch.setenv(VARIABLE, str(home.path))
    with pytest.raises(HomeError, match="not in memory"):
        attach(home.path)


@pytest.mark.parametrize("what", ["page", "another page", "engine-engine", "another engine-engine", "all"])
def test_memory_that_is_removed_under_an_engine_halts_it(home: Home, what: str) -> None:
    """What removes its files from the memory disk halts a RUNNING engine by its next heartbeat, with a clear cause."""
    with running(home.path) as kernel:
        where = places(home.path)
        shutil.rmtree(where) if what == "all" else (where / what.rsplit(maxsplit=1)[-1]).unlink()
        if what == "another page":
            MemoryPage.had(home.path, HOME_ID, armed=True)
        elif what == "another engine-engine":
            with place(home.path, HOME_ID) as at:
                at.make("engine-engine", b"")
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is (HaltCode.HOME_UNREADABLE if what.endswith("engine") else HaltCode.PAGE_REPLACED)
        assert "gone" in kernel.cause.reason or "replaced" in kernel.cause.reason


# -- A boot, a copy, a stale place ---------------------------------------------------------------------


@pytest.mark.parametrize("halted", [False, True])
def test_after_a_boot_record_and_file_say_what_is(home: Home, halted: bool) -> None:
    """With nothing in memory an armed home is IDLE and can be started; a halted one is HALTED."""
    attach(home.path).close()
    if halted:
        assert halt_home(home.path).durable
    shutil.rmtree(places(home.path))
    with attach(home.path) as kernel:
        assert kernel.mode is (Mode.HALTED if halted else Mode.IDLE)
        assert bool(kernel.start()) is not halted


def test_halt_by_memory_alone_holds_for_all_who_come_later(home: Home) -> None:
    """A killer that got no further than the byte in memory has halted all who attach before the next boot."""
    with place(home.path, HOME_ID) as at:
        MemoryPage(at, HOME_ID).halt()
    assert home.latch_state()[2] != ARMED
    with attach(home.path) as kernel:
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()


def test_byte_that_was_zeroed_is_a_halt_although_nobody_left_a_mark(home: Home) -> None:
    """What no reset knew of, no reset has ended: it takes one that finds it."""
    with place(home.path, HOME_ID) as at:
        MemoryPage(at, HOME_ID).map[0] = 0
    assert home.latch_state()[2] != ARMED
    with attach(home.path) as kernel:
        assert kernel.mode is Mode.HALTED
        assert not kernel.start()
    reset_home(home.path, 1)
    with attach(home.path) as kernel:
        assert kernel.start()


def test_killer_that_finds_no_memory_makes_it_halted(home: Home) -> None:
    """After a boot a halt is in memory, too, whatever comes first."""
    shutil.rmtree(places(home.path))
    halt_home(home.path)
    with place(home.path, HOME_ID) as at:
        assert not MemoryPage(at, HOME_ID).armed


def test_two_who_make_it_at_once_have_the_same(home: Home) -> None:
    """Of any number that find no page in memory one makes it, and all map that one."""
    for _ in range(20):
        shutil.rmtree(places(home.path))
        with ThreadPoolExecutor(8) as pool:
            pages = list(pool.map(lambda at: Page(home.page, HOME_ID, armed=at % 2 == 0), range(8)))
        assert len({page.memory for page in pages}) == 1
        assert len({page.map[0] for page in pages}) == 1


def test_who_makes_it_second_uses_the_first_ones(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds none, and is overtaken before it has made one, maps that of the other, and what that one says."""
    shutil.rmtree(places(home.path))
    make, made = Place.make, []

    def overtaken(at: Place, name: str, data: bytes) -> None:
        monkeypatch.setattr(Place, "make", make)
        made.append(MemoryPage.had(home.path, HOME_ID, armed=False))
        make(at, name, data)

    monkeypatch.setattr(Place, "make", overtaken)
    page = Page(home.page, HOME_ID, armed=True)
    assert page.memory == made[0].identity
    assert page.map[0] == 0


def test_home_where_another_one_was_does_not_find_its_memory(home: Home) -> None:
    """A place of another UUID at the same inode says nothing of this home; a halt meets both; an arm clears it."""
    MemoryPage.had(home.path, OTHER_ID, armed=False)
    with running(home.path):
        pass
    stale = MemoryPage.had(home.path, OTHER_ID, armed=True)
    stale.arm(stale.halts)
    halt_home(home.path)
    assert not stale.armed


def test_copy_of_a_home_has_a_memory_of_its_own(home: Home, tmp_path: Path) -> None:
    """Two copies are two homes: a halt of one is not seen in the other."""
    shutil.copytree(home.path, tmp_path / "copy")
    with running(tmp_path / "copy") as copied, running(home.path) as kernel:
        assert halt_home(home.path, timeout_s=PATIENCE_S).confirmed
        assert kernel.mode is Mode.HALTED
        assert copied.mode is Mode.RUNNING


def test_home_that_is_moved_keeps_its_memory(home: Home, tmp_path: Path) -> None:
    """A halt that is in memory alone goes with a home that is renamed."""
    with place(home.path, HOME_ID) as at:
        MemoryPage(at, HOME_ID).halt()
    home.path.rename(tmp_path / "moved")
    with attach(tmp_path / "moved") as kernel:
        assert kernel.mode is Mode.HALTED


def test_reset_that_memory_refuses_leaves_the_page_of_the_home_alone(home: Home) -> None:
    """What is wrong in memory is no fault of the home's file, which is not set aside for it."""
    attach(home.path).close()
    halt_home(home.path)
    before, inode = home.page.read_bytes(), home.page.stat().st_ino
    (places(home.path) / "page").chmod(0o640)
    for _ in range(2):
        with pytest.raises(HomeError, match="lets others in"):
            reset_home(home.path, 1)
    assert (home.page.read_bytes(), home.page.stat().st_ino) == (before, inode)
    assert [path.name for path in home.path.glob("page*")] == ["page"]
