"""The page: one byte, one value that permits, and only in the right file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.helpers import HOME_ID, OTHER_ID, RecordingVenue, arm, attach, order, run_python, running

from interlock import HaltCode, Mode, Reason
from interlock.breaker.latch import LatchError
from interlock.breaker.page import Page
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a fresh page."""
    Page.make(tmp_path / "page", HOME_ID)
    return tmp_path / "page"


def test_fresh_page_says_halt(path: Path) -> None:
    """A page is made halted."""
    assert Page(path, HOME_ID).map[0] == 0


def test_byte_is_seen_through_another_mapping(path: Path) -> None:
    """What one mapping writes the other reads; the file keeps it once it is mirrored."""
    one, other = Page(path, HOME_ID), Page(path, HOME_ID)
    one.arm(one.halts)
    assert other.map[0] == ARMED == path.read_bytes()[0]
    other.halt()
    assert one.map[0] == 0
    assert not other.mirrored
    other.mirror()
    assert other.mirrored
    assert path.read_bytes()[0] == 0


def test_byte_is_seen_by_another_process(path: Path) -> None:
    """A child process that zeroes the byte is seen here."""
    page = Page(path, HOME_ID)
    page.arm(page.halts)
    run_python(
        "import sys; from pathlib import Path; from interlock.breaker.page import Page;"
        "Page(Path(sys.argv[1]), sys.argv[2]).halt()",
        path,
        HOME_ID,
    )
    assert page.map[0] == 0


@pytest.mark.parametrize("length", [0, 1, 63, 4095, 4097, 8192])
def test_page_of_a_wrong_size_is_refused(path: Path, length: int) -> None:
    """A page of any other size is corrupt."""
    path.write_bytes(path.read_bytes().ljust(length, b"\0")[:length])
    with pytest.raises(LatchError) as caught:
        Page(path, HOME_ID)
    assert caught.value.code is HaltCode.LATCH_CORRUPT


@pytest.mark.parametrize("place", [1, 17, 64, 99])
def test_page_of_another_kind_or_home_is_refused(path: Path, place: int) -> None:
    """A page whose magic or home differs in a byte is another's."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(LatchError) as caught:
        Page(path, HOME_ID)
    assert caught.value.code is HaltCode.PAGE_REPLACED


def test_page_of_another_home_is_refused(path: Path) -> None:
    """A page is bound to its home."""
    with pytest.raises(LatchError):
        Page(path, OTHER_ID)


@pytest.mark.parametrize("value", [value for value in range(256) if value != ARMED])
def test_only_one_value_permits(tmp_path: Path, value: int) -> None:
    """Of the 256 values of the byte all but one refuse, while RUNNING and at attach."""
    home = arm(tmp_path / "home")
    kernel = running(home.path)
    kernel._sentinel.page.map[0] = value  # type: ignore[union-attr]
    venue = RecordingVenue()
    assert kernel.mode is Mode.HALTED
    assert kernel.submit(order("a"), venue.send).reason is Reason.HALTED
    kernel.close()
    assert venue.seen == []


def _directory(path: Path) -> None:
    path.mkdir()


def _symlink(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _absent(_: Path) -> None:
    pass


def _other(path: Path) -> None:
    Page.make(path, OTHER_ID)
    (page := Page(path, OTHER_ID)).arm(page.halts)


@pytest.mark.parametrize("make", [_directory, _symlink, _fifo, _absent, _other])
def test_odd_page_halts_at_attach(tmp_path: Path, make: object) -> None:
    """Without the home's own page the kernel comes up HALTED, although the latch is armed, and stays so."""
    home = arm(tmp_path / "home")
    home.page.unlink()
    make(home.page)  # type: ignore[operator]
    for _ in range(2):
        with attach(home.path) as kernel:
            assert kernel.mode is Mode.HALTED
            assert not kernel.start()
            kernel.heartbeat()
            assert kernel.mode is Mode.HALTED
    latch, _, _ = home.latch_state()
    assert latch is not None
    assert latch.state == "HALTED"


@pytest.mark.parametrize("byte", [0, 1, 255])
def test_page_that_says_halt_halts_at_attach(tmp_path: Path, byte: int) -> None:
    """An armed latch with a page that does not mirror it comes up HALTED."""
    home = arm(tmp_path / "home")
    data = bytearray(home.page.read_bytes())
    data[0] = byte
    home.page.write_bytes(data)
    with attach(home.path) as kernel:
        assert kernel.mode is Mode.HALTED
