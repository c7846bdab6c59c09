"""What a crash leaves between a write and its sync: who comes next makes it last, before anything rests on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from tests.helpers import HOME_ID, LIMITS, arm, attach, halt_home, halted_by, reset_home, running

from interlock import HaltCode, HomeError, Mode
from interlock.breaker import files, grounds, latch
from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
from interlock.breaker.latch import LatchError, read_latch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock.breaker.latch import Latch


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An armed home."""
    return arm(tmp_path / "home", LIMITS).path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what is synced, one after the other."""
    found: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        found.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def halted_without_sync(path: Path) -> Latch:
    """The record of a halt, whose writer died before the directory was synced."""
    home = Home(path)
    record = halted_by()(read_latch(home.latch)[0])
    beside = path / "beside"
    beside.write_bytes(record.encode())
    beside.rename(home.latch)
    return record


def test_journal_that_a_crash_left_without_a_lasting_name_gets_one(home: Path, synced: list[int]) -> None:
    """Attaching syncs the directories that lead to the segment, also if they and it were there."""
    attach(home).close()
    synced.clear()
    attach(home).close()
    assert {(home / "journal").stat().st_ino, (home / "journal" / "engine").stat().st_ino} <= {*synced}


def test_roster_file_whose_maker_died_before_its_head_keeps_no_engine_out(home: Path) -> None:
    """A roster file of zeros is one that nobody has begun, whatever its size."""
    berth = home / "engines" / "engine"
    berth.write_bytes(bytes(4096))
    berth.chmod(0o600)
    with running(home) as kernel:
        assert kernel.mode is Mode.RUNNING


def test_durable_is_not_said_of_a_record_that_another_has_only_named(home: Path, synced: list[int]) -> None:
    """A killer that finds the home halted already syncs the record and its name before it says durable."""
    record = halted_without_sync(home)
    synced.clear()
    assert halt_home(home).durable
    assert {home.stat().st_ino, (home / "latch.json").stat().st_ino} <= {*synced}
    assert read_latch(home / "latch.json")[0] == record


def test_durable_is_not_said_if_that_sync_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that says HALTED and can't be synced is not durable."""
    halted_without_sync(home)
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == home.stat().st_ino:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    kill = Kill(Home(home), halted_by())
    kill.set_byte()
    assert kill.write_latch(time.monotonic()).wait(60)
    assert not kill.durable


def test_kernel_says_durable_only_of_a_record_that_it_has_synced(home: Path, synced: list[int]) -> None:
    """A kernel that comes up under a halt, or finds one, syncs its record before it believes that this one lasts."""
    with running(home) as kernel:
        halted_without_sync(home)
        synced.clear()
        kernel.heartbeat()
        assert kernel._sentinel.durable
        assert home.stat().st_ino in synced
    synced.clear()
    with attach(home) as kernel:
        assert kernel._sentinel.durable
        assert home.stat().st_ino in synced
    assert read_latch(home / "latch.json")[0].state == latch.HALTED


def test_reset_over_a_lost_latch_takes_no_epoch_that_another_engine_knows(home: Path) -> None:
    """An engine that was away does not bring back an epoch that others have traded in, whoever lost the record."""
    attach(home, engine="away").close()
    with running(home, engine="other") as kernel:
        kernel.halt("pulled")
    reset_home(home, 1)
    with running(home, engine="other") as kernel:
        kernel.halt("pulled")
    (home / "latch.json").unlink()
    with attach(home, engine="away") as kernel:
        assert kernel.epoch == 1
        with pytest.raises(HomeError, match="not the current one"):
            kernel.reset(operator="bob", reason="looked into", epoch=1)
        assert read_latch(home / "latch.json")[0].epoch == 2


def test_kernel_asks_the_other_journals_if_its_reset_finds_no_record(home: Path) -> None:
    """A record that is lost while an engine is attached takes no epoch back, either."""
    with attach(home, engine="away") as kernel:
        halt_home(home)
        kernel.heartbeat()
        with attach(home, engine="other") as other:
            other.reset(operator="bob", reason="looked into", epoch=1)
            assert other.start()
            other.halt("pulled")
        (home / "latch.json").write_bytes(b"garbled")
        with pytest.raises(HomeError, match="not the current one"):
            kernel.reset(operator="bob", reason="looked into", epoch=1)


def test_reset_does_not_take_a_disk_that_fails_for_a_lost_latch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that can't be read now may be there, in an epoch that must not come again."""
    halt_home(home)
    before = (home / "latch.json").read_bytes()

    def fails(*_: object) -> None:
        message = "cannot be read"
        raise LatchError(HaltCode.HOME_UNREADABLE, message) from OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("interlock.breaker.home.read_latch", fails)
        with pytest.raises(HomeError, match="cannot be read"):
            reset_home(home, 1, known_epoch=1)
    assert (home / "latch.json").read_bytes() == before


def test_file_that_is_replaced_while_it_is_judged_is_looked_at_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a halt replaces between two looks has no name left, which is no second one."""
    real = grounds._looking
    replaced = []

    @contextlib.contextmanager
    def looking(name: str, within: int | None = None) -> Iterator[int]:
        with real(name, within) as descriptor:
            if name == "latch.json" and not replaced:
                replaced.append(name)
                halted_without_sync(home)
            yield descriptor

    monkeypatch.setattr(grounds, "_looking", looking)
    assert grounds.problems(home) == []
    assert replaced


def test_home_without_latch_page_and_roster_is_known_by_its_journals(home: Path) -> None:
    """A journal says whose it is, so that the next run does not say otherwise."""
    attach(home).close()
    (home / "latch.json").unlink()
    (home / "page").unlink()
    shutil.rmtree(home / "engines")
    assert Home(home).identity() == HOME_ID
