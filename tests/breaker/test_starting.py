"""A recovery that begins at a ledger: it plays less, finds the same, and believes nothing that it did not hash."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import attrs
import orjson
import pytest
from tests.breaker.test_segments import DAY_MS, stream, traded
from tests.helpers import LIMITS, FakeClock, abandon, arm, attach, journal, of_kind, sound

from interlock import Mode
from interlock.breaker.segment import chunks, first_of, lines, segments
from interlock.breaker.starting import begins_at, hashed
from interlock.journal.recovery import Recovery
from interlock.journal.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose engine died in its last of many segments, with a position and an order that works."""
    clock = FakeClock()
    home = arm(tmp_path / "home", clock=clock).path
    kernel = traded(home, clock)
    kernel._journal.flush()
    abandon(kernel)
    return home


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of the first records of the segments that are played, as they are."""
    played: list[int] = []
    scan = Recovery.scan

    def noted(recovery: Recovery, pieces: Iterator[bytes]) -> None:
        played.append(recovery.tree.size)
        scan(recovery, pieces)

    monkeypatch.setattr(Recovery, "scan", noted)
    return played


def digest(home: Path) -> str:
    """Return the hash of its limits, as its runs have it."""
    return str(of_kind(home, "run")[0]["limits"])


def state(home: Path) -> tuple[object, ...]:
    """Return what a kernel that attaches finds, and detach it again."""
    with attach(home) as kernel:
        core = kernel._core
        orders = {name: (one.number, one.remaining, one.status) for name, one in core.working.items()}
        books = [(book.position, book.cash, book.buying, book.selling) for book in core.books.values()]
        return kernel.mode, core.epoch, orders, books, core.ids.generations(), core.fills.generations()


def test_every_segment_tells_the_ledger(home: Path) -> None:
    """Behind its own record and its seal each segment but the first has a ledger under a seal, and all verifies."""
    for path in segments(stream(home))[1:]:
        opening = [orjson.loads(line)["kind"] for line in [*lines(path)][:4]]
        assert opening == ["segment", "seal", "ledger", "seal"]
    attach(home).close()
    sound(home)


def test_only_what_follows_the_last_ledger_is_played(home: Path, scanned: list[int]) -> None:
    """Of many segments only the last is played, and what is found is what all records come to."""
    twin = home.with_name("twin")
    shutil.copytree(home, twin)
    paths = segments(stream(home))
    assert len(paths) > 5
    short = state(home)
    assert scanned == [first_of(paths[-1])]
    for path in segments(stream(twin)):  # without one ledger
        assert begins_at([path], digest(twin)) == 0
    scanned.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.attach.begins_at", lambda *_: 0)
        long = state(twin)
    assert scanned == [first_of(path) for path in paths]
    assert short == long
    assert short[0] is Mode.IDLE


def test_ledger_that_no_seal_binds_is_passed_over(home: Path, scanned: list[int]) -> None:
    """A last segment that was cut before the seal of its ledger does not tell it: the one before it does."""
    *_, before, last = segments(stream(home))
    last.write_bytes(b"".join([*lines(last)][:3]))
    with attach(home) as kernel:
        assert kernel.mode is Mode.IDLE
    assert scanned == [first_of(before), first_of(last)]
    sound(home)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_changed_opening_is_not_believed(home: Path, place: int) -> None:
    """A byte that was changed in a line that a seal of the opening binds makes it none; the attach finds the damage."""
    path = segments(stream(home))[-1]
    data = [*lines(path)]
    at = data[place].index(b'"ts":') + 8
    data[place] = data[place][:at] + bytes([data[place][at] ^ 1]) + data[place][at + 1 :]
    path.write_bytes(b"".join(data))
    assert begins_at(segments(stream(home)), digest(home)) == len(segments(stream(home))) - 2
    with attach(home) as kernel:
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert "damaged" in kernel.cause.reason


def test_second_of_two_segments_is_enough(home: Path) -> None:
    """The last segment that tells the ledger is where one begins, if it is not the first, which tells nothing."""
    paths = segments(stream(home))
    assert begins_at(paths[-2:], digest(home)) == 1
    assert begins_at(paths[-1:], digest(home)) == 0


@pytest.mark.parametrize("place", range(4))
def test_opening_of_other_kinds_tells_nothing(home: Path, place: int) -> None:
    """A segment's record, a seal, a ledger, a seal: anything else is no opening, though every root be right."""
    path = segments(stream(home))[-1]
    data = [*lines(path)][:4]
    for change in (False, True):
        records = [orjson.loads(line) for line in data]
        if change:
            records[place]["kind"] = "other"
        tree = Tree.of(first_of(path), [bytes.fromhex(peak) for peak in records[0]["peaks"]])
        for number, record in enumerate(records):
            if number in {1, 3}:
                record["root"] = tree.root()
            tree.grow(orjson.dumps(record) + b"\n")
        path.chmod(0o600)
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        assert begins_at([path.with_name("first"), path], digest(home)) == (0 if change else 1)


def test_segment_whose_peaks_do_not_make_its_root_tells_nothing(home: Path) -> None:
    """A tree before it that does not come to the root that it tells is not believed."""
    path = segments(stream(home))[-1]
    data = [*lines(path)]
    record = orjson.loads(data[0])
    record["root"] = record["root"][::-1]
    path.write_bytes(b"".join([orjson.dumps(record) + b"\n", *data[1:]]))
    assert begins_at([path.with_name("first"), path], digest(home)) == 0


def test_other_limits_play_all_records(home: Path, scanned: list[int]) -> None:
    """After the limits have changed no ledger counts: a number may have other decimals now."""
    (home / "limits.toml").write_text(f"# other\n{LIMITS}")
    paths = segments(stream(home))
    with attach(home) as kernel:
        assert kernel.position("XYZ") == "1"
    assert scanned == [first_of(path) for path in paths]


def test_restarts_begin_at_ledgers_of_ledgers(home: Path, scanned: list[int]) -> None:
    """A ledger that was told by a kernel that itself began at one is as good, also over a halt."""
    clock = FakeClock()
    for day in range(1, 4):
        clock.advance(day * DAY_MS)
        with attach(home, clock) as kernel:
            assert kernel.position("XYZ") == "1"
            if day == 1:
                kernel.halt("enough", operator="ann")
            clock.advance(DAY_MS)
            kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert len(scanned) == 1
        scanned.clear()
    sound(home)


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_hashing_a_segment_finds_what_playing_it_finds(home: Path, size: int) -> None:
    """Tree, day, time, and the root at any size at which a seal ended: the same from hashes alone."""
    paths = segments(stream(home))[:3]
    total = sum(1 for path in paths for _ in lines(path))

    def pieces(path: Path) -> Iterator[bytes]:
        data = b"".join(chunks(path))
        return (data[at : at + size] for at in range(0, len(data), size))

    found = 0
    for mark in range(0, total + 2, 1 if size > 1 else 7):
        played = Recovery(visit=lambda _: None, mark=mark)
        for path in paths:
            assert played.begin(first_of(path))
            played.scan(chunks(path))
        skimmed = Recovery(visit=lambda _: None, mark=mark)
        assert all(skimmed.begin(first_of(path)) and skimmed.skim(pieces(path)) for path in paths)
        ours, theirs = (attrs.asdict(one, recurse=False) for one in (skimmed, played))
        for one in (ours, theirs):
            del one["visit"]
            tree = one.pop("tree")
            one["root"] = (tree.size, tree.root())
        assert ours == theirs
        found += played.marked is not None
    assert found >= (5 if size > 1 else 1)


def test_no_change_in_a_hashed_segment_is_missed(home: Path) -> None:
    """Any byte of a closed segment that is changed, taken out or doubled makes the hashes of no use."""
    paths = segments(stream(home))[:2]
    data = paths[0].read_bytes()
    paths[0].chmod(0o600)
    bound = data.rindex(b"\n", 0, -1)  # the last seal itself is bound by what follows
    for at in range(0, len(data), 5):
        for other in (bytes([data[at] ^ 4]), b"", data[at : at + 1] * 2):
            paths[0].write_bytes(data[:at] + other + data[at + 1 :])
            assert not hashed(Recovery(visit=lambda _: None), paths)
            assert at >= bound or not hashed(Recovery(visit=lambda _: None), paths[:1])
    paths[0].write_bytes(data)
    assert hashed(Recovery(visit=lambda _: None), paths)


def test_ledger_is_not_told_of_what_is_not_whole(home: Path) -> None:
    """A kernel that came up over a damaged journal tells no ledger: nobody knows what it should say."""
    path = segments(stream(home))[1]
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data.replace(b'"ts":17', b'"ts":18', 1))
    clock = FakeClock()
    with attach(home, clock) as kernel:
        assert kernel.mode is Mode.HALTED
        before = journal(home)[-1]["seq"]
        clock.advance(DAY_MS)
        kernel.heartbeat()
    late = [one["kind"] for one in journal(home) if one["seq"] > before]
    assert "segment" in late
    assert "ledger" not in late
