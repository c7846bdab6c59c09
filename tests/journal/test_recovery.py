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
from interlock.journal import recovery as recovery_module
from interlock.journal.recovery import Recovery
from interlock.journal.tree import Tree
from interlock.verify import Status, verify

from .lines import NOTHING, line, record

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


@pytest.mark.parametrize(
    "given",
    [record("run"), record("seal", root=NOTHING), record("segment", root="0" * 64), record("segment", size=1)],
    ids=["run", "seal", "root", "size"],
)
def test_segment_that_does_not_begin_so_is_damage(given: dict[str, object]) -> None:
    """A segment whose first record is another one, or tells another tree than the one before it, is damage."""
    recovery = Recovery(visit=lambda _: None)
    assert recovery.begin(0)
    recovery.feed(orjson.dumps(given) + b"\n")
    assert recovery.damaged


def test_segment_in_the_midst_of_another_is_damage() -> None:
    """No record but the first of a file begins a segment."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    tree = Tree()
    tree.extend([line("segment")[:-1]])
    recovery.feed(line("segment", seq=1, size=1, root=tree.root(), peaks=tree.peaks()))
    assert recovery.damaged


def test_seal_with_a_wrong_root_is_damage() -> None:
    """A whole seal whose root is wrong does not count, and is told as damage."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    recovery.feed(line("seal", seq=1, size=1))
    assert recovery.damaged
    assert (recovery.sealed_bytes, recovery.tree.size, len(recovery.tail)) == (0, 0, 1)


def test_record_that_cannot_be_played_is_damage() -> None:
    """A whole line that the ledger can't take is told as damage, not raised."""

    def visit(_: object) -> None:
        raise KeyError("side")

    recovery = Recovery(visit=visit)
    recovery.feed(line("segment"))
    assert recovery.damaged
    recovery = Recovery(visit=lambda given: None if given["kind"] == "segment" else visit(given))
    recovery.feed(line("segment"))
    assert not recovery.damaged
    recovery.feed(line("permit", seq=1))
    assert recovery.damaged
    assert [given["kind"] for given in recovery.tail] == ["segment"]


@pytest.mark.parametrize("given", [{"kind": "sebl"}, {"kind": "end", "more": 1}, {"kind": "void"}], ids=str)
def test_object_that_is_no_record_is_damage(given: dict[str, object]) -> None:
    """A whole object in sequence of an unknown kind, or with other keys than its kind's, is told as damage."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(line("segment"))
    recovery.feed(orjson.dumps({**record("end", seq=1), **given}) + b"\n")
    assert recovery.damaged


@pytest.mark.parametrize(
    "noise",
    [
        *(b"\n", b"[]\n", b"null\n", b"\xff\n", b'{"v":1}\n'),
        *(b"[" * 300 + b"]" * 300 + b"\n", b"[" * 5000, b"9" * 5000 + b"\n"),
    ],
    ids=["empty", "list", "null", "binary", "no-seq", "deep", "deeper", "huge"],
)
def test_noise_is_torn(noise: bytes) -> None:
    """No bytes make recovery raise."""
    recovery = Recovery(visit=lambda _: None)
    recovery.feed(noise)
    assert recovery.torn
    assert not recovery.damaged


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


# -- A segment at a time --------------------------------------------------------------------------------


def block(*given: bytes) -> bytes:
    """A segment of these lines and a seal that is right."""
    tree = Tree()
    tree.extend([one[:-1] for one in given])
    return b"".join(given) + line("seal", seq=len(given), size=len(given), root=tree.root())


GOOD = (line("segment"), line("permit", seq=1), line("end", seq=2))
SCANNED = {
    "right": (block(*GOOD), False),
    "another number": (block(line("segment"), line("end", seq=7)), True),
    "an unknown kind": (block(line("segment"), orjson.dumps(record("end", seq=1) | {"kind": "sebl"}) + b"\n"), True),
    "a list": (block(line("segment"), b"[]\n"), True),
    "no JSON": (block(line("segment"), b"{\n"), True),
    "two on a line": (block(line("segment"), line("end", seq=1)[:-1] + b"," + line("end", seq=2)), True),
    "a second segment": (block(line("segment"), line("segment", seq=1)), True),
    "no segment first": (block(line("run"), line("end", seq=1)), True),
    "a wrong root": (b"".join(GOOD) + line("seal", seq=3, size=3), True),
    "a seal with another number": (b"".join(GOOD) + line("seal", seq=9, size=3), True),
    "a seal within a text": (b"".join(GOOD) + line("anomaly", seq=3, detail='"kind":"seal"'), False),
    "no newline at its end": (b"".join(GOOD)[:-1], False),
}


@pytest.mark.parametrize("name", SCANNED)
@pytest.mark.parametrize("size", [1 << 30, 1])
def test_scan_finds_what_feeding_the_lines_finds(name: str, size: int) -> None:
    """Taken whole or in pieces of a byte, a segment gives what its lines give one by one; damage is found by either."""
    data, damaged = SCANNED[name]
    one, whole = Recovery(visit=lambda _: None), Recovery(visit=lambda _: None)
    for text in data.splitlines(keepends=True):
        one.feed(text)
    whole.scan(data[at : at + size] for at in range(0, len(data), size))
    assert (one.damaged, whole.damaged) == (damaged, damaged)
    assert (whole.sealed_bytes, whole.tree.root(), whole.tail) == (one.sealed_bytes, one.tree.root(), one.tail)


def test_record_that_cannot_be_played_is_damage_in_a_whole_segment_too() -> None:
    """A sealed record that the ledger can't take is told as damage when it is taken with its block."""

    def visit(given: object) -> None:
        raise KeyError(given)

    recovery = Recovery(visit=visit)
    recovery.scan([block(*GOOD)])
    assert recovery.damaged


def test_segment_after_a_torn_one_is_not_taken() -> None:
    """What follows a tail that no seal binds, or another number than the next, is damage, and is not read."""
    for first, tail in ((3, b""), (2, line("end", seq=1))):
        recovery = Recovery(visit=lambda _: None)
        recovery.scan([line("segment") + tail])
        assert not recovery.begin(first)
        assert recovery.damaged
        recovery.feed(line("end", seq=2))
        assert recovery.torn


def test_seal_behind_a_tear_is_damage() -> None:
    """What is torn and followed by a seal was not torn by a crash: somebody changed it."""
    for behind, damaged in ((line("end", seq=2), False), (line("seal", seq=2), True)):
        recovery = Recovery(visit=lambda _: None)
        recovery.feed(line("segment"))
        recovery.feed(b"{\n")
        assert (recovery.torn, recovery.damaged) == (True, False)
        recovery.feed(behind)
        assert recovery.damaged is damaged


def test_much_that_no_seal_binds_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """More without a seal than is kept at once is taken line by line, and a seal after it binds it."""
    monkeypatch.setattr(recovery_module, "_MOST_BYTES", 1 << 20)
    given = [line("segment"), *(line("anomaly", seq=seq, detail="x" * 10_000) for seq in range(1, 200))]
    data = block(*given)
    for step in (1 << 18, len(data)):
        recovery = Recovery(visit=lambda _: None)
        recovery.scan(data[at : at + step] for at in range(0, len(data), step))
        assert (recovery.damaged, recovery.tree.size, recovery.tail) == (False, len(given) + 1, [])
