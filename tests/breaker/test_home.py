"""AbsenceMeansHalted, HaltIsLatching and the reset: what can happen to a home, before and while it is used."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.breaker.disks import mounted
from tests.helpers import (
    HOME_ID,
    LIMITS,
    OTHER_ID,
    UTC_US,
    RecordingVenue,
    abandon,
    arm,
    attach,
    cancel,
    halt_home,
    journal,
    kinds,
    of_kind,
    order,
    python,
    quote,
    reset_home,
    run_python,
    running,
    sound,
    verified,
)

from interlock import HaltCode, HomeError, Kernel, LimitsError, Mode, Reason
from interlock.breaker import home as homes
from interlock.breaker.home import Home, Now, boot_id
from interlock.breaker.latch import Latch, LatchError, read_latch
from interlock.breaker.page import Page
from interlock.breaker.segment import segments
from interlock.core.modes import ARMED
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.breaker.quiet import Quiet

NOW = Now(ts_us=UTC_US, mono_ns=0)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


def permits_nothing(kernel: Kernel) -> None:
    """Assert that a kernel is HALTED with a reason, refuses orders and starts, and passes cancels."""
    venue = RecordingVenue()
    assert kernel.mode is Mode.HALTED
    assert kernel.submit(order("late"), venue.send).reason is Reason.HALTED
    assert kernel.consult(quote(kernel)).reason is Reason.HALTED
    assert not kernel.start()
    assert kernel.mode is Mode.HALTED
    assert kernel.cause is not None
    assert kernel.cause.reason
    assert kernel.cancel(cancel("c"), venue.cancel) == "gone c"
    assert venue.seen == []


# -- No home ---------------------------------------------------------------------------------------


def test_missing_home(tmp_path: Path) -> None:
    """A missing home is an error that names it, and makes nothing."""
    with pytest.raises(HomeError, match=r"nowhere.*no home") as caught:
        attach(tmp_path / "nowhere")
    assert caught.value.code is HaltCode.LATCH_ABSENT
    with pytest.raises(HomeError):
        halt_home(tmp_path / "nowhere")
    with pytest.raises(HomeError):
        reset_home(tmp_path / "nowhere", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["file", "dangling", "loop", "empty", "device", "nul"])
def test_what_is_no_home(tmp_path: Path, what: str) -> None:
    """Whatever else stands in a home's place is refused."""
    path = tmp_path / "home"
    if what == "file":
        path.write_bytes(b"x")
    elif what == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif what == "loop":
        path.symlink_to(path)
    elif what == "empty":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/null")
    else:
        path = Path(f"{path}\0")
    with pytest.raises(HomeError):
        attach(path)


UNUSABLE: dict[str, tuple[str, type[Exception]]] = {
    "limits.toml": ("limits", LimitsError),
    "lock": ("lock", HomeError),
    "engines/engine": ("lock", HomeError),
    "journal/engine/00000000000000000000.jsonl": ("journal", HomeError),
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("what", ["directory", "dangling", "loop"])
def test_home_that_cannot_be_opened(home: Path, name: str, what: str) -> None:
    """A home whose files can't be opened is refused with an error that says which, and is free afterwards."""
    attach(home).close()
    path = home / name
    kept = path.read_bytes()
    path.unlink()
    if what == "directory":
        path.mkdir()
    elif what == "dangling":
        path.symlink_to(home / "no" / "where")
    else:
        path.symlink_to(path)
    _, error = UNUSABLE[name]
    with pytest.raises(error, match=path.name):
        attach(home)
    if what == "directory":
        path.rmdir()
    else:
        path.unlink()
    path.write_bytes(kept)
    attach(home).close()


@pytest.mark.parametrize(
    "limits",
    [
        b"",
        b"version = 2",
        b"\xff",
        b"version = [",
        LIMITS.replace("[gate1]", "[gate9]").encode(),
        LIMITS.replace("max_quantity = 10", "max_quantity = 1e99999999999999999999").encode(),
        LIMITS.replace("max_quantity = 10", "max_quantity = nan").encode(),
        LIMITS.replace("max_quantity = 10", f"max_quantity = {'9' * 5000}").encode(),
        b"a = " + b"[" * 5000 + b"]" * 5000,
    ],
    ids=["empty", "version", "binary", "torn", "table", "huge", "nan", "long", "deep"],
)
def test_wrong_limits_keep_the_engine_out(home: Path, tmp_path: Path, limits: bytes) -> None:
    """Limits that can't be read or make no sense are refused, at attach and at arming."""
    (home / "limits.toml").write_bytes(limits)
    with pytest.raises(LimitsError, match="limits"):
        attach(home)
    with pytest.raises(LimitsError):
        Home(tmp_path / "new").arm(limits, home=HOME_ID, operator="a", reason="b", now=NOW)
    assert not (tmp_path / "new").exists()


def test_arming_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Arming refuses a place that is taken, takes an empty directory, and leaves no litter."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    (tmp_path / "file").touch()
    for name in ("taken", "file", "file/below"):
        with pytest.raises(HomeError):
            arm(tmp_path / name)
    (tmp_path / "empty").mkdir()
    arm(tmp_path / "empty")
    arm(tmp_path / "new" / "deep")
    with pytest.raises(HomeError, match="something here already"):
        arm(tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "new", "taken"]


# -- The journal at attach -------------------------------------------------------------------------


def test_journal_that_is_gone_halts(home: Path) -> None:
    """A home whose journal's segment was deleted comes up HALTED, because ids and positions are lost."""
    running(home).close()
    for path in segments(home / "journal" / "engine"):
        path.unlink()
    with attach(home) as kernel:
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED
    sound(home)


@pytest.mark.parametrize("first", [1, 7])
def test_stray_segment_halts(home: Path, first: int) -> None:
    """A segment that does not follow is set aside byte for byte, and the kernel comes up HALTED."""
    running(home).close()
    stray = home / "journal" / "engine" / f"{first:020d}.jsonl"
    stray.write_bytes(b"stray\n" * 1000)
    with attach(home) as kernel:
        permits_nothing(kernel)
    assert stray.with_name(f"{stray.name}.torn-0").read_bytes() == b"stray\n" * 1000
    sound(home)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_journal_damaged_in_its_middle_halts(home: Path, place: float) -> None:
    """A changed byte before the last seal comes up HALTED, and all bytes from the last good seal on are kept."""
    with running(home) as kernel:
        for number in range(5):
            kernel.submit(order(f"o{number}"), RecordingVenue().send)
            kernel.heartbeat()
    (path,) = segments(home / "journal" / "engine")
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    with attach(home) as kernel:
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED
    torn = path.with_name(f"{path.name}.torn-0").read_bytes()
    assert bytes(data).endswith(torn)
    assert path.read_bytes().startswith(bytes(data)[: -len(torn)])


# -- While RUNNING -----------------------------------------------------------------------------------


def _delete(name: str) -> Callable[[Path, Path], None]:
    def act(home: Path, _: Path) -> None:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return act


def _copy(name: str) -> Callable[[Path, Path], None]:
    def act(home: Path, _: Path) -> None:
        path = home / name
        copy = path.with_name(f"{path.name}.copy")
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
        if path.is_dir():
            path.rename(path.with_name(f"{path.name}.old"))
        copy.replace(path)

    return act


def _directory(name: str) -> Callable[[Path, Path], None]:
    def act(home: Path, _: Path) -> None:
        (home / name).unlink()
        (home / name).mkdir()

    return act


def _symlink(name: str) -> Callable[[Path, Path], None]:
    def act(home: Path, _: Path) -> None:
        real = home / f"{Path(name).name}.real"
        (home / name).rename(real)
        (home / name).symlink_to(real)

    return act


def _latch_of_epoch(epoch: int) -> Callable[[Path, Path], None]:
    def act(home: Path, scratch: Path) -> None:
        path = arm(scratch / "other").path
        for now in range(1, epoch):
            halt_home(path)
            reset_home(path, now)
        (path / "latch.json").replace(home / "latch.json")

    return act


def _foreign_latch(home: Path, scratch: Path) -> None:
    arm(scratch / "other", home=OTHER_ID).latch.replace(home / "latch.json")


def _overwritten_latch(home: Path, _: Path) -> None:
    path = home / "latch.json"
    path.write_bytes(path.read_bytes().replace(b"new desk", b"old desk"))


def _emptied_latch(home: Path, _: Path) -> None:
    (home / "latch.json").write_bytes(b"")


def _fresh_page(home: Path, _: Path) -> None:
    Page.make(home / "page", HOME_ID)
    (page := Page(home / "page", HOME_ID)).arm(page.halts)


def _moved(home: Path, scratch: Path) -> None:
    home.rename(scratch / "moved")


def _moved_and_replaced(home: Path, scratch: Path) -> None:
    home.rename(scratch / "moved")
    arm(home)


def _home_becomes_file(home: Path, scratch: Path) -> None:
    home.rename(scratch / "moved")
    home.write_bytes(b"")


SEGMENT = "journal/engine/00000000000000000000.jsonl"
LOSSES: dict[str, Callable[[Path, Path], None]] = {
    "latch deleted": _delete("latch.json"),
    "latch copied": _copy("latch.json"),
    "latch of the same epoch": _latch_of_epoch(1),
    "latch of a newer epoch": _latch_of_epoch(3),
    "latch foreign": _foreign_latch,
    "latch overwritten": _overwritten_latch,
    "latch emptied": _emptied_latch,
    "latch a directory": _directory("latch.json"),
    "latch a symlink": _symlink("latch.json"),
    "page deleted": _delete("page"),
    "page copied": _copy("page"),
    "page fresh and armed": _fresh_page,
    "page a directory": _directory("page"),
    "page a symlink": _symlink("page"),
    "lock deleted": _delete("lock"),
    "lock copied": _copy("lock"),
    "lock a directory": _directory("lock"),
    "writer lock deleted": _delete("engines/engine"),
    "writer lock copied": _copy("engines/engine"),
    "segment deleted": _delete(SEGMENT),
    "segment copied": _copy(SEGMENT),
    "segment a directory": _directory(SEGMENT),
    "segment a symlink": _symlink(SEGMENT),
    "journal deleted": _delete("journal"),
    "journal copied": _copy("journal"),
    "home deleted": lambda home, _: shutil.rmtree(home),
    "home moved": _moved,
    "home moved and another put there": _moved_and_replaced,
    "home a file": _home_becomes_file,
}


@pytest.mark.parametrize("durability", ["disk", "process"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_while_running_halts_by_the_next_heartbeat(home: Path, tmp_path: Path, loss: str, durability: str) -> None:
    """Whatever is lost or replaced while RUNNING, one heartbeat later nothing is permitted, here or by an attach."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kernel = running(home, durability=durability)
    venue = RecordingVenue()
    assert kernel.submit(order("a"), venue.send)
    LOSSES[loss](home, scratch)
    kernel.heartbeat()
    permits_nothing(kernel)
    kernel.heartbeat()
    kernel.close()
    where = scratch / "moved" if (scratch / "moved").exists() else home
    page = where / "page"
    if page.is_file() and loss not in {"page copied", "page fresh and armed"}:
        assert page.read_bytes()[0] != ARMED
    for place in {home, where}:
        if loss == "home moved and another put there" and place == home:
            continue
        try:
            again = attach(place)
        except (HomeError, LimitsError):
            continue
        with again:
            permits_nothing(again)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not loss.startswith(("home", "latch a", "latch f"))])
def test_loss_is_latched_wherever_it_can_be(home: Path, tmp_path: Path, loss: str) -> None:
    """Where the latch can still be written it says HALTED after the heartbeat, with the code of what was lost."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kernel = running(home)
    LOSSES[loss](home, scratch)
    kernel.heartbeat()
    if loss in {"latch overwritten", "latch emptied"}:
        with pytest.raises(LatchError):
            read_latch(home / "latch.json")  # the damaged one is evidence and stays
    else:
        latch, _ = read_latch(home / "latch.json", HOME_ID)
        assert latch.state == "HALTED"
        assert kernel.cause is not None
        assert latch.code == kernel.cause.code
    kernel.close()


def test_page_of_a_moved_home_stops_at_once(home: Path, tmp_path: Path) -> None:
    """A halt of the directory under its new name stops the engine that still has it mapped."""
    with running(home) as kernel:
        home.rename(tmp_path / "moved")
        halt_home(tmp_path / "moved")
        permits_nothing(kernel)


@pytest.mark.parametrize("loss", ["journal deleted", "lock deleted", "latch deleted", "latch foreign", "latch emptied"])
def test_external_halt_of_a_damaged_home_stops_at_once(home: Path, tmp_path: Path, loss: str) -> None:
    """A halt from outside stops emission at once also when journal, lock or latch are gone."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kernel = running(home)
    LOSSES[loss](home, scratch)
    with contextlib.suppress(HomeError):
        halt_home(home)
    venue = RecordingVenue()
    assert kernel.submit(order("a"), venue.send).reason is Reason.HALTED
    assert venue.seen == []
    kernel.close()


def test_latch_of_an_old_backup_after_a_reset(home: Path, tmp_path: Path) -> None:
    """A latch restored from before a reset is found: by the heartbeat while attached, and at attach."""
    backup = tmp_path / "latch.backup"
    shutil.copy2(home / "latch.json", backup)
    with running(home) as kernel:
        kernel.halt("x")
        kernel.reset(operator="bob", reason="ok", epoch=1)
        assert kernel.start()
        shutil.copy2(backup, home / "latch.json")
        kernel.heartbeat()
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.LATCH_REPLACED
    shutil.copy2(backup, home / "latch.json")
    with attach(home) as kernel:
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.LATCH_REPLACED
    sound(home)


@pytest.mark.parametrize("page", [False, True], ids=["latch", "latch-and-page"])
def test_latch_of_a_backup_after_a_halt(home: Path, tmp_path: Path, page: bool) -> None:
    """An armed latch restored over a halt, with or without its page, does not arm the home again."""
    for name in ("latch.json", "page"):
        shutil.copy2(home / name, tmp_path / name)
    with running(home) as kernel:
        kernel.halt("x")
    shutil.copy2(tmp_path / "latch.json", home / "latch.json")
    if page:
        shutil.copy2(tmp_path / "page", home / "page")
    with attach(home) as kernel:
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.LATCH_REPLACED
    sound(home)


def test_halted_twice_over_a_restore(home: Path, tmp_path: Path) -> None:
    """An armed latch put back under a HALTED kernel is halted again, not adopted."""
    shutil.copy2(home / "latch.json", tmp_path / "latch.json")
    with running(home) as kernel:
        kernel.halt("x")
        shutil.copy2(tmp_path / "latch.json", home / "latch.json")
        kernel.heartbeat()
        permits_nothing(kernel)
        assert read_latch(home / "latch.json")[0].state == "HALTED"
        kernel.heartbeat()
        permits_nothing(kernel)
    with attach(home) as kernel:
        permits_nothing(kernel)


@pytest.mark.parametrize("attached", [True, False])
def test_epoch_never_goes_back(home: Path, tmp_path: Path, attached: bool) -> None:
    """After an old latch was restored, the reset names the journal's epoch, and the next one is new."""
    shutil.copy2(home / "latch.json", tmp_path / "latch.json")
    kernel = running(home)
    kernel.halt("x")
    kernel.reset(operator="bob", reason="ok", epoch=1)
    kernel.start()
    if attached:
        shutil.copy2(tmp_path / "latch.json", home / "latch.json")
        kernel.heartbeat()
    kernel.close()
    if not attached:
        shutil.copy2(tmp_path / "latch.json", home / "latch.json")
    with attach(home) as kernel:
        assert kernel.epoch == 2
        with pytest.raises(HomeError):
            kernel.reset(operator="bob", reason="ok", epoch=1)
        kernel.reset(operator="bob", reason="ok", epoch=2)
        assert kernel.epoch == 3
        assert kernel.start()
    sound(home)


# -- Disks ------------------------------------------------------------------------------------------


def _fill(path: Path) -> None:
    """Use up every byte of a file system."""
    with (path / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_full_disk_while_running(tmp_path: Path, durability: str) -> None:
    """On a disk that fills up orders pass until only the reserve is left: then all is HALTED, and the halt is told."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        home = arm(disk / "home").path
        kernel = running(home, durability=durability)
        _fill(disk)
        venue = RecordingVenue()
        accepted = []
        refused = None
        for number in range(20_000):
            wanted = order(f"o{number}")
            verdict = kernel.submit(wanted, venue.send)
            if not verdict:
                refused = verdict
                break
            accepted.append(wanted.client_order_id)
            kernel.on_cancelled(wanted.client_order_id)
        assert refused is not None
        # It is the permit itself that finds no room, or the wait for the disk behind it, which then finds the halt.
        assert refused.reason in {Reason.JOURNAL_FAILED, Reason.HALTED}
        assert venue.seen == accepted
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FULL
        kernel.cancel(cancel("c"), venue.cancel)
        report = kernel.halt("still")
        assert (report.confirmed, report.recorded) == (True, True)
        with pytest.raises(HomeError, match="no room"):
            kernel.reset(operator="ann", reason="too early", epoch=1)
        kernel.close()
        permits = {record["id"]: record["seq"] for record in of_kind(home, "permit")}
        assert permits.keys() >= set(accepted)
        voided = {record["permit"] for record in of_kind(home, "void")}
        assert {permits[name] for name in permits.keys() - set(accepted)} == voided
        assert [record["code"] for record in of_kind(home, "halt")] == ["JOURNAL_FULL", "OPERATOR"]
        assert kinds(home)[-3:] == ["halt", "beat", "end"]
        assert "cancel" in kinds(home)
        _fill(disk)  # what the close gave back
        with attach(home, durability=durability) as again:
            permits_nothing(again)
        (disk / "ballast").unlink()
        with attach(home, durability=durability) as again:
            permits_nothing(again)
            again.reset(operator="ann", reason="there is room again", epoch=1)
            assert again.start()
        sound(home)


def test_room_that_comes_back(tmp_path: Path) -> None:
    """A kernel that halted for want of room may be reset, and goes on in the same journal, once there is some again."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        home = arm(disk / "home").path
        kernel = running(home)
        _fill(disk)
        venue = RecordingVenue()
        number = 0
        while kernel.submit(order(f"o{number}"), venue.send):
            kernel.on_cancelled(f"o{number}")
            number += 1
        (disk / "ballast").unlink()
        kernel.reset(operator="ann", reason="there is room again", epoch=1)
        assert kernel.start()
        assert kernel.consult(quote(kernel))
        assert kernel.submit(order("after"), venue.send)
        kernel.close()
        sound(home)


def test_arming_on_a_full_disk(tmp_path: Path) -> None:
    """A home that can't be made whole is not there at all."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "none") as disk:
        _fill(disk)
        with pytest.raises(HomeError, match="cannot be made"):
            arm(disk / "home")
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_read_only_disk(tmp_path: Path) -> None:
    """On a read-only file system a halt is confirmed and not durable; nothing can be attached, armed or reset."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as disk:
        home = arm(disk / "home").path
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(HomeError, match="Read-only"):
            attach(home)
        found = halt_home(home)
        assert (found.stopped, found.confirmed, found.durable) == (True, True, False)
        assert "Read-only" in found.message
        with pytest.raises(HomeError, match="Read-only"):
            reset_home(home, 1)
        with pytest.raises(HomeError):
            arm(disk / "another")


def test_unmounted_while_running(tmp_path: Path) -> None:
    """A home whose file system is taken away while RUNNING is HALTED by the next heartbeat."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as disk:
        kernel = running(arm(disk / "home").path)
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
        kernel.heartbeat()
        permits_nothing(kernel)
        kernel.close()


LIMITED = """
import resource, signal, sys
from tests.helpers import *
home = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kernel = running(home, durability="disk")
size = kernel._sentinel.segment.size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
venue = RecordingVenue()
number = 0
while verdict := kernel.submit(order(f"o{number}"), venue.send):
    number += 1
print(verdict.reason, kernel.mode, len(venue.seen) == number, kernel.submit(order("late"), venue.send).reason)
kernel.close()
"""


@pytest.mark.parametrize("room", [0, 1, 100, 700, 5000])
def test_file_that_may_not_grow(home: Path, room: int) -> None:
    """A write that is cut short or refused sends nothing and halts; what was torn is set aside whole."""
    said = run_python(LIMITED, home, room)
    assert said.split() == ["JOURNAL_FAILED", "HALTED", "True", "HALTED"]
    (path,) = segments(home / "journal" / "engine")
    left = path.read_bytes()
    with attach(home) as kernel:
        permits_nothing(kernel)
    torn = b"".join(sidecar.read_bytes() for sidecar in sorted((home / "journal" / "engine").glob("*.torn-*")))
    assert left.endswith(torn)
    assert path.read_bytes().startswith(left[: len(left) - len(torn)])
    sound(home, Status.IN_DOUBT)


def test_segment_that_is_full_from_the_start(home: Path) -> None:
    """With /dev/full for a segment there is no kernel, or a HALTED one; never a permit."""
    attach(home).close()
    (path,) = segments(home / "journal" / "engine")
    path.unlink()
    path.symlink_to("/dev/full")
    for durability in ("disk", "process"):
        with pytest.raises(HomeError, match=r"full|journal"):
            attach(home, durability=durability)


def test_what_no_system_call_can_reach_is_no_home(tmp_path: Path) -> None:
    """A path that is too long, or leads nowhere, has no home, no engines and no identity; nothing else is raised."""
    for path in (tmp_path / "nowhere", tmp_path / ("x" * 300) / "home"):
        with pytest.raises(HomeError, match="no home here"):
            Home(path).require()
        assert Home(path).streams() == []
        assert Home(path).identity() == ""


def test_home_is_known_by_the_first_journal_that_says_so(home: Path) -> None:
    """Of journals some may hold nothing, nonsense, or another's origin: the one that names its own engine counts."""
    attach(home, engine="z").close()
    for name in ("latch.json", "page"):
        (home / name).unlink()
    shutil.rmtree(home / "engines")
    streams = home / "journal"
    (streams / "a").mkdir()
    for number, text in enumerate(
        (b"", b"no json\n", b"[]\n", b"{}\n", b'{"origin":1}\n', b'{"origin":"interlock/x/other"}\n')
    ):
        (streams / f"b{number}").mkdir()
        (streams / f"b{number}" / f"{0:020d}.jsonl").write_bytes(text)
    assert Home(home).identity() == HOME_ID
    shutil.rmtree(streams / "z")
    assert Home(home).identity() == ""


def test_lock_that_cannot_be_made_anew_is_told(tmp_path: Path) -> None:
    """On a disk that takes nothing a reset makes no new lock, and says why."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as disk:
        home = arm(disk / "home").path
        halt_home(home)
        (home / "lock").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(HomeError, match=r"lock: cannot be made: .*Read-only"):
            reset_home(home, 1)


def test_lock_that_is_gone_is_made_anew_while_nobody_is_attached(home: Path) -> None:
    """A reset makes a lock where there is none, once no engine can hold the old one; until then it says who does."""
    with attach(home):
        halt_home(home)
        (home / "lock").unlink()
        with pytest.raises(HomeError, match=r"lock is gone while engine \(pid \d+\) is attached; end that first"):
            reset_home(home, 1)
    assert reset_home(home, 1).epoch == 2
    with running(home) as kernel:
        assert kernel.mode is Mode.RUNNING


def test_halt_without_a_thread_tells_nothing_of_the_ground(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no thread left halts all the same, and durably."""

    def refused(_: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", refused)
    found = halt_home(home)
    assert (found.stopped, found.confirmed, found.durable) == (True, True, True)


def test_each_damaged_file_keeps_its_own_name(home: Path) -> None:
    """What was set aside once is not overwritten by what is set aside next."""
    for epoch, text in ((1, b"first"), (2, b"second")):
        (home / "latch.json").write_bytes(text)
        reset_home(home, epoch, known_epoch=epoch)
    assert [(home / f"latch.json.damaged-{number}").read_bytes() for number in (0, 1)] == [b"first", b"second"]


def test_boot_has_no_name_where_the_system_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc a record is written all the same."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    assert len(boot_id()) == 36
    monkeypatch.setattr(Path, "read_text", missing)
    assert boot_id.__wrapped__() == ""


# -- The reset ----------------------------------------------------------------------------------------


def test_reset_needs_all_three(home: Path) -> None:
    """A reset is refused without an operator, a reason, or the current epoch, and when nothing is halted."""
    with pytest.raises(HomeError, match="not halted"):
        reset_home(home, 1)
    halt_home(home)
    for epoch in (0, 2, -1):
        with pytest.raises(HomeError, match="not the current"):
            reset_home(home, epoch)
    for operator, reason in (("", "x"), (" \t", "x"), ("x", ""), ("x", "\n"), (None, "x"), ("x", 7)):
        with pytest.raises(HomeError, match="operator, a reason"):
            Home(home).reset(epoch=1, known_epoch=1, operator=operator, reason=reason, now=NOW)
    assert read_latch(home / "latch.json")[0].state == "HALTED"
    assert (home / "page").read_bytes()[0] != ARMED
    assert reset_home(home, 1).epoch == 2
    with pytest.raises(HomeError, match="not halted"):
        reset_home(home, 2)


@pytest.mark.parametrize("kind", ["truncated", "directory", "absent", "symlink"])
def test_damaged_latch_is_set_aside_and_not_deleted(home: Path, tmp_path: Path, kind: str) -> None:
    """A reset over a latch that can't be read keeps that under another name, and counts on from the journal's epoch."""
    latch = home / "latch.json"
    with running(home):
        pass
    if kind == "truncated":
        latch.write_bytes(latch.read_bytes()[:-5])
        damaged = latch.read_bytes()
    else:
        latch.unlink()
        if kind == "directory":
            latch.mkdir()
        elif kind == "symlink":
            latch.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeError, match="not the current"):
        reset_home(home, 1, known_epoch=4)
    reset_home(home, 4, known_epoch=4)
    aside = home / "latch.json.damaged-0"
    assert os.path.lexists(aside) is (kind != "absent")
    if kind == "truncated":
        assert aside.read_bytes() == damaged
    assert read_latch(latch, HOME_ID)[0].epoch == 5
    with attach(home) as kernel:
        assert kernel.mode is Mode.IDLE
        assert kernel.epoch == 5
        assert kernel.start()
    assert verified(home).status is Status.VERIFIED


@pytest.mark.parametrize("kind", ["short", "foreign", "absent", "directory"])
def test_damaged_page_is_set_aside_and_not_deleted(home: Path, kind: str) -> None:
    """A reset over a page that can't be used keeps that, and makes a new one."""
    halt_home(home)
    page = home / "page"
    page.unlink()
    if kind == "short":
        page.write_bytes(b"short")
    elif kind == "foreign":
        Page.make(page, OTHER_ID)
    elif kind == "directory":
        page.mkdir()
    reset_home(home, 1)
    assert (home / "page.damaged-0").exists() is (kind != "absent")
    assert Page(page, HOME_ID).map[0] == ARMED
    with attach(home) as kernel:
        assert kernel.mode is Mode.IDLE
    sound(home)


def test_reset_starts_nothing(home: Path) -> None:
    """After a reset the mode is IDLE: an order is refused until somebody starts."""
    with running(home) as kernel:
        kernel.halt("x")
    reset_home(home, 1)
    with attach(home) as kernel:
        venue = RecordingVenue()
        assert kernel.mode is Mode.IDLE
        assert kernel.submit(order("a"), venue.send).reason is Reason.NOT_RUNNING
        assert venue.seen == []


def test_reset_with_a_damaged_lock(home: Path) -> None:
    """Where nobody can tell who is still sending there is no reset, and no ack."""
    halt_home(home)
    (home / "lock").unlink()
    (home / "lock").mkdir()
    with pytest.raises(HomeError, match="lock"):
        reset_home(home, 1)
    assert not halt_home(home).confirmed


def test_start_is_refused_while_a_killer_waits(home: Path) -> None:
    """No engine starts while somebody holds the lock that means quiet."""
    holder = "import sys; from tests.helpers import *; from interlock.breaker.lock import FileLock\n"
    holder += "l = FileLock(Home(sys.argv[1]).lock); print(l.exclusive(), flush=True); sys.stdin.read()"
    with attach(home) as kernel, python(holder, home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        verdict = kernel.start()
        assert (verdict.reason, verdict.limit) == (Reason.HALTED, "lock")
        assert kernel.mode is Mode.IDLE
        child.communicate("")
        assert kernel.start()
    sound(home)


def test_crash_at_any_heartbeat_keeps_a_halt(home: Path) -> None:
    """A halt that only reached the page byte survives the death of killer and engine."""
    kernel = running(home)
    kernel._sentinel.page.halt()  # type: ignore[union-attr] # a killer that dies right here
    kernel.submit(order("a"), RecordingVenue().send)
    abandon(kernel)
    with attach(home) as again:
        permits_nothing(again)
    assert [record["kind"] for record in journal(home) if record["kind"] == "permit"] == []
    sound(home)


def test_emptied_journal_halts(home: Path) -> None:
    """A journal that was begun and is empty now has lost all orders: it is a halt, and not a first attach."""
    running(home).close()
    (segment,) = (home / "journal" / "engine").glob("*.jsonl")
    segment.write_bytes(b"")
    with attach(home) as kernel:
        permits_nothing(kernel)
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED


def test_halt_beats_a_reset_that_is_under_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A halt between a reset's first and last step is never confirmed and undone: the reset fails, HALTED stays."""
    running(home).close()
    halt_home(home)
    real = homes.write_latch
    found: list[Quiet] = []

    def halted_meanwhile(path: Path, latch: Latch) -> None:
        if latch.state == "ARMED":
            monkeypatch.setattr(homes, "write_latch", real)
            found.append(halt_home(home, timeout_s=0.0))
        real(path, latch)

    monkeypatch.setattr(homes, "write_latch", halted_meanwhile)
    with pytest.raises(HomeError, match="halted again"):
        reset_home(home, 1)
    assert [one.confirmed for one in found] == [False]
    latch, fault, byte = Home(home).latch_state()
    assert latch is not None
    assert (latch.state, fault, byte) == ("HALTED", None, 0)


@pytest.mark.parametrize("name", ["latch.json", "journal"])
def test_change_in_place_is_seen(home: Path, name: str) -> None:
    """A latch that was changed in place, with its old time put back, and a journal that grew or shrank, halt."""
    with attach(home, durability="disk") as kernel:
        assert kernel.start()
        path = home / name if name == "latch.json" else next((home / name / "engine").glob("*.jsonl"))
        times = path.stat()
        data = bytearray(path.read_bytes())
        if name == "journal":
            data += b"junk"
        else:
            data[20] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        kernel.heartbeat()
        permits_nothing(kernel)
