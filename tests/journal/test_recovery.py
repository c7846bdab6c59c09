"""Recovery: every cut and every changed byte of a small journal, on the real files of a real home."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from tests.helpers import (
    MS,
    UTC_US,
    FakeClock,
    RecordingVenue,
    abandon,
    arm,
    attach,
    cancel,
    fill,
    of_kind,
    order,
    running,
    sound,
)

from interlock import HomeError, Mode
from interlock.breaker.home import Home
from interlock.breaker.segment import segments
from interlock.journal.recovery import Recovery
from interlock.verify import Status, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock import Kernel


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory, where there is one: thousands of homes are opened in it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as place:
        yield Path(place)


def scripted(kernel: Kernel, clock: FakeClock) -> None:
    """Sealed records of two orders, then a tail of some more."""
    venue = RecordingVenue(lambda _: clock.advance())
    kernel.submit(order("a"), venue.send)
    kernel.submit(order("b", quantity="2"), venue.send)
    kernel.on_fill(fill("a", "f1"))
    kernel.heartbeat()
    clock.advance()
    kernel.submit(order("c"), venue.send)
    kernel.on_accept("b", "v2")
    kernel.submit(order("d"), venue.send)
    kernel.cancel(cancel("b"), venue.cancel)
    kernel.on_cancelled("b")
    kernel.on_fill(fill("c", "f2"))


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose engine died with a tail behind its last seal."""
    clock = FakeClock()
    home = arm(tmp_path_factory.mktemp("crashed") / "home", clock=clock).path
    kernel = running(home, clock)
    scripted(kernel, clock)
    kernel._journal.flush()
    abandon(kernel)
    (path,) = segments(home / "journal" / "engine")
    path.write_bytes(path.read_bytes().rstrip(b"\0"))
    return home


def copy(crashed: Path, place: Path, data: bytes) -> Path:
    """Return a copy of the home with these bytes for a journal."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(crashed, place)
    (path,) = segments(place / "journal" / "engine")
    path.write_bytes(data)
    return place


def whole(crashed: Path) -> bytes:
    """Return the bytes of its journal."""
    return b"".join(path.read_bytes() for path in segments(crashed / "journal" / "engine"))


def sealed_prefix(data: bytes) -> bytes:
    """Return the bytes up to and with the last line that is a seal."""
    prefix = kept = b""
    for one in data.splitlines(keepends=True):
        prefix += one
        if one.endswith(b"\n") and orjson.loads(one)["kind"] == "seal":
            kept = prefix
    return kept


def test_every_cut_recovers(crashed: Path, ram: Path) -> None:
    """Cut at any byte: the sealed prefix stays, all later bytes are kept aside, whole records return, it verifies."""
    data = whole(crashed)
    for length in range(len(data) + 1):
        cut = data[:length]
        home = copy(crashed, ram / "home", cut)
        kept = sealed_prefix(cut)
        tail = cut[len(kept) :]
        with attach(home, FakeClock(), durability="disk") as kernel:
            lost = (
                cut.count(b"\n") < 2
            )  # only the segment's beginning, if that: not one record is left of a journal that was begun: that halts
            assert kernel.mode is (Mode.HALTED if lost else Mode.IDLE), length
            assert bool(kernel.start()) is not lost
        after = whole(home)
        assert after.startswith(kept)
        sidecars = sorted((home / "journal" / "engine").glob("*.torn-*"))
        assert b"".join(path.read_bytes() for path in sidecars) == tail
        records = [orjson.loads(one) for one in after.splitlines()]
        salvaged = [orjson.dumps(one["record"]) for one in records if one["kind"] == "salvage"]
        assert salvaged == tail.split(b"\n")[:-1]
        report = sound(home, Status.IN_DOUBT)
        permits = {permit["id"] for permit in of_kind(home, "permit")}
        assert {doubt.order for doubt in report.in_doubt} <= permits


@pytest.mark.parametrize("last", ["record", "seal"])
def test_every_record_that_was_not_copied_whole_is_set_aside(crashed: Path, ram: Path, last: str) -> None:
    """A process that is killed amid a copy leaves zeros in its last line, also before the line feed: it is torn."""
    data = whole(crashed) if last == "record" else sealed_prefix(whole(crashed))
    start = data.rindex(b"\n", None, -1) + 1
    size = len(data) - start
    for begin, end in [(0, 1), (0, size - 1), (size - 2, size - 1), *((at, at + 32) for at in range(0, size - 33, 16))]:
        torn = data[: start + begin] + bytes(end - begin) + data[start + end :]
        home = copy(crashed, ram / "home", torn + bytes(4096))
        name = segments(home / "journal" / "engine")[0].name
        report = verify([(name, [torn])])
        assert (report.findings, report.torn_bytes) == ((), size)
        with attach(home, FakeClock()) as kernel:
            assert kernel.mode is Mode.IDLE, (begin, end)
        kept = sealed_prefix(data[:start])
        (sidecar,) = (home / "journal" / "engine").glob("*.torn-*")
        assert sidecar.read_bytes() == torn[len(kept) :]
        records = [orjson.loads(one) for one in whole(home).splitlines()]
        salvaged = [orjson.dumps(one["record"]) for one in records if one["kind"] == "salvage"]
        assert salvaged == data[len(kept) : start].split(b"\n")[:-1]
        sound(home, Status.VERIFIED, Status.IN_DOUBT)


def test_every_cut_recovers_twice(crashed: Path, ram: Path) -> None:
    """A crash right after a recovery, cut anywhere in it, is recovered like any other."""
    data = whole(crashed)
    home = copy(crashed, ram / "home", data)
    abandon(attach(home, FakeClock()))
    second = whole(home).rstrip(b"\0")
    kept = len(sealed_prefix(data))
    for length in range(kept, len(second) + 1, 7):
        place = copy(home, ram / "again", second[:length])
        with attach(place, FakeClock(), durability="disk") as kernel:
            assert kernel.mode is Mode.IDLE
            if length == len(second):
                assert {one.client_order_id for one in kernel.working_orders()} == {"d"}
        sound(place, Status.IN_DOUBT)


def test_every_changed_byte_is_survived(crashed: Path, ram: Path) -> None:
    """With any byte changed the kernel comes up, HALTED if the verifier would tell it in what was sealed."""
    data = whole(crashed)
    kept = len(sealed_prefix(data))
    (name,) = (path.name for path in segments(crashed / "journal" / "engine"))
    unseen = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        home = copy(crashed, ram / "home", bytes(changed))
        with attach(home, FakeClock(), durability="disk") as kernel:
            assert kernel.mode is not Mode.RUNNING
            halted = kernel.mode is Mode.HALTED
            assert kernel.start() if not halted else not kernel.start()
        if place < kept and not halted:
            unseen += 1  # time of the last seal, which nothing binds yet, and which only the verifier compares
            report = verify([(name, [bytes(changed[:kept])])])
            assert {finding.rule for finding in report.findings} <= {"Clock"}, place
        after = whole(home)
        sidecars = b"".join(path.read_bytes() for path in sorted((home / "journal" / "engine").glob("*.torn-*")))
        assert bytes(changed).endswith(sidecars)
        assert after.startswith(bytes(changed)[: len(data) - len(sidecars)])
    assert unseen <= len(str(UTC_US)) + len(str(3 * MS))


def test_root_at_a_mark_is_found_wherever_it_lies(crashed: Path) -> None:
    """Read by the block, a journal tells the root at each size that line by line it tells, and at no other."""
    data = sealed_prefix(whole(crashed))
    wanted = {}
    for mark in range(data.count(b"\n") + 2):
        slowly = Recovery(visit=[].append, mark=mark)
        slowly.begin(0)
        for one in data.splitlines(keepends=True):
            slowly.feed(one)
        wanted[mark] = slowly.marked
        at_once = Recovery(visit=[].append, mark=mark)
        at_once.begin(0)
        at_once.scan([data])
        assert at_once.marked == slowly.marked, mark
    assert sum(root is not None for root in wanted.values()) == data.count(b'"kind":"seal"')


def test_recovery_of_what_is_whole_changes_nothing(crashed: Path, tmp_path: Path) -> None:
    """A journal that ends in its seal is not touched, however often it is opened."""
    data = sealed_prefix(whole(crashed))
    home = copy(crashed, tmp_path / "home", data)
    for _ in range(3):
        before = whole(home)
        attach(home, FakeClock()).close()
        assert whole(home).startswith(before)
    assert list((home / "journal" / "engine").glob("*.torn-*")) == []
    sound(home)


def test_long_tail_is_recovered_whole(tmp_path: Path) -> None:
    """A tail of more records than a batch holds when salvaged is sealed in one piece, and loses no order."""
    home = arm(tmp_path / "home").path
    kernel = running(home, FakeClock())
    kernel.heartbeat()
    venue = RecordingVenue()
    for number in range(150):
        kernel.submit(order(f"o{number}", price="100", quantity="0.1"), venue.send)
    for number in range(700):
        kernel.anomaly("X", f"{number} " + "x" * 400)
    kernel._journal.flush()
    abandon(kernel)
    with attach(home) as again:
        assert {one.client_order_id for one in again.working_orders()} == set(venue.seen)
    kinds = [orjson.loads(one)["kind"] for one in whole(home).splitlines()]
    first, last = kinds.index("salvage"), len(kinds) - kinds[::-1].index("salvage")
    assert set(kinds[first:last]) == {"salvage"}
    sound(home)


def test_mono_goes_on_over_a_recovery(crashed: Path, tmp_path: Path) -> None:
    """Each run counts its own time from zero, and never back."""
    home = copy(crashed, tmp_path / "home", whole(crashed))
    clock = FakeClock(mono_ns=5 * MS)
    with attach(home, clock) as kernel:
        clock.advance(3)
        kernel.heartbeat()
    sound(home, Status.IN_DOUBT)


def test_home_keeps_every_torn_tail(tmp_path: Path) -> None:
    """Tails of several crashes stand side by side, each in a file of its own."""
    home = arm(tmp_path / "home").path
    torn = []
    for number in range(4):
        kernel = attach(home)
        kernel.close()
        with Home(home).stream("engine").joinpath("0" * 20 + ".jsonl").open("ab") as file:
            file.write(b"torn %d" % number)
        torn.append(b"torn %d" % number)
    attach(home).close()
    assert [path.read_bytes() for path in sorted((home / "journal" / "engine").glob("*.torn-*"))] == torn
    sound(home)


def test_attach_that_fails_after_the_cut_forgets_nothing(crashed: Path, tmp_path: Path) -> None:
    """If an attach sets the tail aside and then fails, the next one that succeeds carries it over all the same."""
    home = copy(crashed, tmp_path / "home", whole(crashed))
    with attach(copy(crashed, tmp_path / "twin", whole(crashed)), FakeClock()) as kernel:
        wanted = {one.client_order_id for one in kernel.working_orders()}
        position = kernel.position("XYZ")
    (home / "lock").rename(home / "elsewhere")
    for _ in range(3):
        with pytest.raises(HomeError):
            attach(home, FakeClock())
    (home / "elsewhere").rename(home / "lock")
    with attach(home, FakeClock()) as kernel:
        assert {one.client_order_id for one in kernel.working_orders()} == wanted
        assert kernel.position("XYZ") == position
    sound(home, Status.IN_DOUBT)


def test_recovery_that_crashes_anywhere_is_done_over(crashed: Path, ram: Path) -> None:
    """Whatever part of a recovery reached the disk before a second crash, the third attach forgets no order."""
    data = whole(crashed)
    kept = len(sealed_prefix(data))
    done = copy(crashed, ram / "done", data)
    with attach(done, FakeClock(), durability="disk") as kernel:
        wanted = {one.client_order_id for one in kernel.working_orders()}
        position = kernel.position("XYZ")
        recovered = whole(done)
    seal = len(sealed_prefix(recovered))
    for length in [*range(kept, seal, 5), seal - 1, seal]:
        home = copy(crashed, ram / "home", recovered[:length])
        sidecar = home / "journal" / "engine" / ("0" * 20 + ".jsonl.torn-0.open")
        sidecar.write_bytes(data[kept:])
        for _ in range(2):
            with attach(home, FakeClock(), durability="disk") as kernel:
                assert {one.client_order_id for one in kernel.working_orders()} == wanted, length
                assert kernel.position("XYZ") == position
                assert kernel.mode is Mode.IDLE
        assert not sidecar.exists()
        assert sidecar.with_suffix("").read_bytes() == data[kept:]
        sound(home, Status.IN_DOUBT)


def test_sidecar_without_its_cut_is_a_copy(crashed: Path, tmp_path: Path) -> None:
    """A crash between the copy and the cut leaves a second copy, and every record once."""
    data = whole(crashed)
    home = copy(crashed, tmp_path / "home", data)
    sidecar = home / "journal" / "engine" / ("0" * 20 + ".jsonl.torn-0.open")
    sidecar.write_bytes(data[len(sealed_prefix(data)) :])
    with attach(home, FakeClock()) as kernel:
        assert {one.client_order_id for one in kernel.working_orders()} == {"d"}
    assert len(of_kind(home, "fill")) == 2
    sound(home, Status.IN_DOUBT)
