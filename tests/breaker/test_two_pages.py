"""Halts and resets from where there is another memory: what a reset has ended does not come back, what is new holds."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest
from tests.breaker.test_memory_disk import PATIENCE_S
from tests.helpers import HOME_ID, arm, attach, halt_home, halted_by, reset_home

from interlock import Mode
from interlock.attach import open_home
from interlock.breaker import page as pages
from interlock.breaker.kill import Kill
from interlock.breaker.layout import ARMED_FOR_AT
from interlock.breaker.lock import FileLock, Pen
from interlock.breaker.memory import VARIABLE
from interlock.breaker.page import FilePage, MemoryPage, Page
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock.breaker.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


@pytest.fixture
def far() -> Iterator[str]:
    """Return another memory disk, as another container has one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield made


LAST_LOOK = 2
"""Of a rejoin: the one that it arms by; the first one is there to leave the pen alone."""


def reset_from(home: Home, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset a home from where the memory is another."""
    with monkeypatch.context() as there:
        there.setenv(VARIABLE, memory)
        reset_home(home.path, 1)


def test_reset_elsewhere_is_not_undone_by_who_had_not_looked(
    home: Home, far: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that looks only after halt and reset were made by others adopts the reset, and repeats no halt."""
    with attach(home.path) as kernel:
        assert halt_home(home.path, timeout_s=PATIENCE_S).confirmed
        reset_from(home, far, monkeypatch)
        kernel.heartbeat()
        assert FilePage(home.page, HOME_ID).byte == ARMED
        assert kernel.mode is Mode.IDLE
        assert kernel.start()


@pytest.mark.parametrize("lock", [FileLock, Pen])
def test_who_comes_up_while_lock_or_pen_is_held_repeats_no_halt(
    home: Home, far: str, monkeypatch: pytest.MonkeyPatch, lock: type[FileLock]
) -> None:
    """Who comes up while a reset is busy writes no halt into the file: not the one that the reset is just ending."""
    halt_home(home.path)
    reset_from(home, far, monkeypatch)
    held = lock(home.path if lock is Pen else home.lock)
    assert held.exclusive()
    opened = open_home(home.path, "engine")
    held.close()
    opened.sentinel.leave()
    assert opened.core.mode is Mode.HALTED
    assert FilePage(home.page, HOME_ID).byte == ARMED
    with attach(home.path) as kernel:
        assert kernel.start()


def test_of_two_who_rejoin_at_once_none_arms_over_a_halt(home: Home, far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one has looked and is about to arm the memory, another does not: an engine could start and be halted."""
    attach(home.path).close()
    halt_home(home.path)
    reset_from(home, far, monkeypatch)
    is_over, seen = pages._is_over, []

    def slow(memory: MemoryPage, file: FilePage) -> bool:
        over = is_over(memory, file)
        seen.append(memory)
        if over and len(seen) == LAST_LOOK:
            Page(home.page, HOME_ID).rejoin()
            assert memory.map[0] != ARMED
        return over

    page = Page(home.page, HOME_ID)
    monkeypatch.setattr(pages, "_is_over", slow)
    page.rejoin()
    assert seen
    assert page.armed


def test_halt_that_is_cut_short_in_the_file_is_a_halt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killer that dies between the two writes has halted the file, also with a mark that it was armed for."""
    halt_home(home.path)
    page = Page(home.page, HOME_ID)
    page._file.write((ARMED_FOR_AT, page.mark.to_bytes(8, "little")), (0, bytes([ARMED])))  # a reset, and it died
    assert page.over
    write = FilePage.write
    monkeypatch.setattr(FilePage, "write", lambda file, *parts: write(file, parts[0]))
    page.mirror()
    assert FilePage(home.page, HOME_ID).byte != ARMED


def test_ack_that_does_not_rest_on_the_file_is_not_undone_by_a_reset_before_it(home: Home) -> None:
    """A killer that finds the file armed for its halt, which it did not write there itself, halts once more."""
    kill = Kill(home, halted_by())
    attach(home.path).close()
    kill.set_byte()
    page = Page(home.page, HOME_ID)
    page.mirror()  # as an engine does
    page._file.write((ARMED_FOR_AT, page.mark.to_bytes(8, "little")), (0, bytes([ARMED])))  # a reset, and it died
    assert kill.wait_quiet(0.0)
    page.rejoin()
    assert not page.armed
