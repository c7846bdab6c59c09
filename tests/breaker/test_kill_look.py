"""The killer's second look: what a reset that died half-way has left behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, halt_home, halted_by, reset_home

from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
from interlock.breaker.latch import ARMED, HALTED, read_latch
from interlock.breaker.page import Page

if TYPE_CHECKING:
    from pathlib import Path


class DiedError(Exception):
    """The reset's process is gone."""


@pytest.mark.parametrize("disk", ["writable", "full"])
def test_a_reset_that_died_half_way_is_no_durable_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    """A killer that found the latch halted looks again under the lock, as a reset may have armed it and died since."""
    arm(tmp_path / "home")
    halt_home(tmp_path / "home")
    kill = Kill(Home(tmp_path / "home"), halted_by())
    kill.set_byte()
    assert kill.write_latch(time.monotonic()).wait(30)
    assert kill.durable

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(Page, "arm", die)
        with pytest.raises(DiedError):
            reset_home(tmp_path / "home", 1)
    assert read_latch(kill.home.latch)[0].state == ARMED

    if disk == "full":
        monkeypatch.setattr("interlock.breaker.kill.write_latch", full)
    assert kill.wait_quiet(time.monotonic())
    assert kill.durable is (disk == "writable")
    assert read_latch(kill.home.latch)[0].state == (HALTED if disk == "writable" else ARMED)


def test_a_record_that_cannot_be_read_is_still_a_halt(tmp_path: Path) -> None:
    """The second look takes nothing back of what was found about a latch that is corrupt."""
    home = arm(tmp_path / "home")
    home.latch.write_bytes(b"?")
    quiet = halt_home(tmp_path / "home", timeout_s=30)
    assert (quiet.confirmed, quiet.durable) == (True, True)
    assert "armed by a reset" not in quiet.message


def full(*_: object) -> None:
    """As if the disk were full."""
    raise OSError(28, "No space left on device")
