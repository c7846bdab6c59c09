"""Whatever fails or dies, nothing that was acknowledged is ever lost, and nothing is written after a failure.

The driver is a real process on a real home. What it acknowledged is compared with what the next attach finds.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from tests.helpers import FakeClock, arm, attach, journal, of_kind, sound

from interlock import Mode
from interlock.breaker.home import Home
from interlock.breaker.segment import first_of, is_closed, segments
from interlock.verify import Status

from .driver import ORDERS
from .tracing import Call, Disk, drive, needs_strace, traced

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


def kept(home: Path, said: list[str]) -> None:
    """See that the next attach knows all that was acknowledged, that the journal is whole, and that no byte is gone."""
    stream = Home(home).stream("engine")
    left = {path.name: path.read_bytes().rstrip(b"\0") for path in segments(stream)}
    with attach(home, FakeClock()) as kernel:
        assert kernel.mode is not Mode.RUNNING
        permits = {one["id"] for one in of_kind(home, "permit")}
        fills = {one["id"] for one in of_kind(home, "fill")}
        voided = {one["permit"] for one in of_kind(home, "void")}
        assert permits >= {line.split()[1] for line in said if line.startswith("permit")}
        assert fills >= {line.split()[1] for line in said if line.startswith("filled")}
        assert kernel.position("XYZ") == str(len(fills))
        sent = {line.split()[1] for line in said if line.startswith("permit")}
        unknown = {one["id"] for one in of_kind(home, "permit") if one["seq"] not in voided} - fills - sent
        assert unknown <= {one.client_order_id for one in kernel.working_orders()}
    records = journal(home)
    assert [one["seq"] for one in records] == list(range(len(records)))
    paths = segments(stream)
    assert [first_of(path) for path in paths] == [one["seq"] for one in records if one["kind"] == "segment"]
    assert all(is_closed(path) for path in paths[:-1])
    for name, data in left.items():
        now = (stream / name).read_bytes() if (stream / name).exists() else b""
        torn = b"".join(path.read_bytes() for path in sorted(stream.glob(f"{name}.torn-*")))
        assert now.startswith(data[: len(data) - len(torn)])
        assert data.endswith(torn)
    sound(home, Status.IN_DOUBT)


def never_again(calls: list[Call]) -> None:
    """See that after the call that failed nothing is written or synced any more."""
    (at,) = (place for place, call in enumerate(calls) if call.injected)
    later = {call.name for call in calls[at + 1 :]}
    assert later & {"pwrite64", "fdatasync", "fsync", "rename"} == set(), calls[at:]


# -- SIGKILL ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["before", "half", "after"])
@pytest.mark.parametrize("durability", ["disk", "process"])
@pytest.mark.parametrize("number", [1, 2, 5, 12, 23])
def test_kill_at_a_write(home: Path, durability: str, where: str, number: int) -> None:
    """Killed before, in the midst of, or after a write, it forgets nothing that it had acknowledged."""
    said = drive(home, durability, where, number)
    assert not any(line.startswith("end") for line in said)
    kept(home, said)


@pytest.mark.long
@pytest.mark.parametrize("where", ["before", "half", "after"])
@pytest.mark.parametrize("durability", ["disk", "process"])
def test_kill_at_every_write(tmp_path: Path, durability: str, where: str) -> None:
    """The same at each of its writes, up to the last."""
    for number in range(1, 1_000):
        home = arm(tmp_path / f"home-{number}").path
        said = drive(home, durability, where, number)
        kept(home, said)
        if any(line.startswith("end") for line in said):
            return
    pytest.fail("it never came to its end")


# -- System calls ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str], list[Call]]:
    """Return the names of the journal's files, what the driver says, and its calls, if nothing fails."""
    home = arm(tmp_path_factory.mktemp("plain") / "home").path
    said, calls = traced(home, "disk", home.parent / "log")
    names = [path.name for path in segments(Home(home).stream("engine"))]
    assert len(names) > 2
    assert said[-1] == "end RUNNING None"
    assert len(said) == 2 * ORDERS + 1
    return ["", *names, *(f"{name}.new" for name in names[1:])], said, calls


def places(calls: list[Call], name: str) -> int:
    """How often a call is made on the journal's files by one thread, which is how strace counts them."""
    return max(Counter(call.thread for call in calls if call.name == name).values())


def failing(home: Path, names: list[str], durability: str, call: str, error: str, when: int) -> bool:
    """Let a call fail once, and see that it halts, tells what it can, writes no more, and loses nothing.

    False: it came to its end with fewer such calls, for what is written at once differs from run to run.
    """
    inject = f"{call}:error={error}:when={when}"
    said, calls = traced(home, durability, home.parent / f"log-{home.name}", names=names, inject=inject)
    _, mode, code = said[-1].split()
    struck = next((one for one in calls if one.injected), None)
    if struck is None:
        assert mode == "RUNNING"
        return False
    assert struck.name == call
    if mode == "RUNNING":  # it came to its end before that
        assert len(said) == 2 * ORDERS + 1
    elif call == "openat" and code == "HOME_UNREADABLE":  # a look at the ground, or at who writes
        assert mode in {"HALTED", "REFUSED"}
    elif code == "JOURNAL_FULL":  # there is no room, and the journal is not broken: so it tells of the halt
        assert error == "ENOSPC"
        assert call != "fdatasync" or struck.paths[0].endswith(".new")
        assert (mode, tuple(one["code"] for one in of_kind(home, "halt"))) in {("HALTED", (code,)), ("REFUSED", ())}
    else:
        assert (call, error) != ("fallocate", "ENOSPC")
        assert mode in {"HALTED", "REFUSED"}
        assert code == "JOURNAL_FAILED"
        never_again(calls)
    kept(home, said)
    return True


QUICK: Final = [
    ("pwrite64", "EIO", 4),
    ("pwrite64", "ENOSPC", 9),
    ("fdatasync", "EIO", 3),
    ("fdatasync", "ENOSPC", 6),
    ("fallocate", "ENOSPC", 1),
    ("fallocate", "EIO", 2),
    ("openat", "ENOSPC", 4),
    ("fsync", "EIO", 2),
    ("ftruncate", "EIO", 1),
    ("fchmod", "EIO", 1),
    ("rename", "EIO", 1),
    ("rename", "ENOSPC", 1),
]


@needs_strace
@pytest.mark.parametrize(("call", "error", "when"), QUICK)
def test_call_that_fails(
    home: Path, plain: tuple[list[str], list[str], list[Call]], call: str, error: str, when: int
) -> None:
    """A system call that fails halts the kernel, and nothing that was acknowledged is lost."""
    assert failing(home, plain[0], "disk", call, error, when)


@needs_strace
@pytest.mark.long
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(
    "call", ["pwrite64", "fdatasync", "fallocate", "openat", "fsync", "ftruncate", "fchmod", "rename"]
)
def test_every_call_that_fails(
    tmp_path: Path, plain: tuple[list[str], list[str], list[Call]], call: str, error: str
) -> None:
    """The same for every single call of its kind on the journal's files."""
    names, _, calls = plain
    most = places(calls, call)
    struck = [failing(arm(tmp_path / f"home-{n}").path, names, "disk", call, error, n) for n in range(1, most + 1)]
    assert struck.count(True) > most * 3 // 4


@needs_strace
def test_short_write(home: Path, plain: tuple[list[str], list[str], list[Call]]) -> None:
    """A write of which only a part is taken breaks the journal for good."""
    said, calls = traced(home, "disk", home.parent / "log", names=plain[0], inject="pwrite64:retval=10:when=7")
    assert said[-1] == "end HALTED JOURNAL_FAILED"
    never_again(calls)
    kept(home, said)


# -- Loss of power ----------------------------------------------------------------------------------------


def outage(home: Path, names: list[str], call: str, when: int, *arguments: str) -> None:
    """Kill it at a call, then lose what was not synced: the bytes, the names, or both."""
    log = home.parent / f"log-{home.name}"
    said, calls = traced(home, "disk", log, *arguments, names=names, inject=f"{call}:signal=SIGKILL:when={when}")
    for data, lost in ((True, False), (False, True), (True, True)):
        twin = home.with_name(f"{home.name}-{data:d}{lost:d}")
        shutil.copytree(home, twin)
        disk = Disk([one.moved(home, twin) for one in calls])
        if data:
            disk.lose_data()
        if lost:
            disk.lose_names()
        kept(twin, said)


@needs_strace
@pytest.mark.parametrize(
    ("call", "when"), [("fdatasync", 2), ("fdatasync", 7), ("rename", 1), ("fsync", 2), ("fchmod", 1), ("pwrite64", 9)]
)
def test_outage(home: Path, plain: tuple[list[str], list[str], list[Call]], call: str, when: int) -> None:
    """Power that fails at a call takes what was not synced with it, and nothing that was acknowledged."""
    outage(home, plain[0], call, when)


@needs_strace
@pytest.mark.long
@pytest.mark.parametrize(
    "call", ["openat", "pwrite64", "fallocate", "fdatasync", "fsync", "ftruncate", "fchmod", "rename"]
)
def test_outage_at_every_call(tmp_path: Path, plain: tuple[list[str], list[str], list[Call]], call: str) -> None:
    """The same at every single call on the journal's files."""
    names, _, calls = plain
    for when in range(1, places(calls, call) + 1):
        outage(arm(tmp_path / f"home-{when}").path, names, call, when)


@needs_strace
def test_outage_after_a_turn(tmp_path: Path, plain: tuple[list[str], list[str], list[Call]]) -> None:
    """What was acknowledged in a new segment is there although power fails before anything else is begun."""
    names, _, calls = plain
    renamed = next(place for place, call in enumerate(calls) if call.name == "rename")
    before = sum(call.name == "fdatasync" for call in calls[:renamed])
    for later in (3, 5):
        outage(arm(tmp_path / f"home-{later}").path, names, "fdatasync", before + later)


@needs_strace
def test_outage_where_nobody_beats(tmp_path: Path) -> None:
    """A segment that is begun on the way of an order is closed on the disk before the order is sent."""
    home = arm(tmp_path / "plain").path
    said, calls = traced(home, "disk", tmp_path / "log", "quiet")
    assert said[-1] == "end RUNNING None"
    names = ["", *(path.name for path in segments(Home(home).stream("engine")))]
    names += [f"{name}.new" for name in names[2:]]
    turns = [place for place, call in enumerate(calls) if call.name == "rename"]
    assert len(turns) > 1
    for number, turn in enumerate(turns):
        before = sum(call.name == "fdatasync" for call in calls[:turn])
        outage(arm(tmp_path / f"home-{number}").path, names, "fdatasync", before + 1, "quiet")


@needs_strace
@pytest.mark.parametrize("call", ["openat", "fallocate", "pwrite64", "fdatasync"])
def test_no_room_for_the_next_segment(home: Path, plain: tuple[list[str], list[str], list[Call]], call: str) -> None:
    """Where the next segment can't be made for want of room the journal is not broken, and tells of the halt."""
    names, _, calls = plain
    wanted = next(one for one in calls if one.name == call and one.paths[-1].endswith(".new"))
    same = [one for one in calls if (one.name, one.thread) == (call, wanted.thread)]
    when = 1 + next(place for place, one in enumerate(same) if one is wanted)
    said, _ = traced(home, "disk", home.parent / "log", names=names, inject=f"{call}:error=ENOSPC:when={when}")
    assert said[-1] == "end HALTED JOURNAL_FULL"
    assert [one["code"] for one in of_kind(home, "halt")] == ["JOURNAL_FULL"]
    kept(home, said)
