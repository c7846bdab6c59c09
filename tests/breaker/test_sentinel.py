"""The sentinel where parts of its home are gone: what it still does, and what it says that it can't."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, attach, halt_home

from interlock import HaltCode, HomeError, Mode
from interlock.breaker.home import Home, Now
from interlock.breaker.latch import HALTED, read_latch
from interlock.breaker.sentinel import unnamed
from interlock.core.values import HaltCause

if TYPE_CHECKING:
    from pathlib import Path

NOW = Now(ts_us=7, mono_ns=9)
SEEN = HaltCause(code=HaltCode.EXTERNAL, reason="seen", source="latch", operator=None, ts_us=7, epoch=1)
"""That the latch was seen not armed, and no more."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


def test_engine_without_a_page_writes_its_own_record(home: Home) -> None:
    """With no page nobody left a record there, so the halt that is made to last is told in the engine's own words."""
    home.page.unlink()
    with attach(home.path) as kernel:
        sentinel = kernel._sentinel
        assert (kernel.mode, sentinel.page) == (Mode.HALTED, None)
        latch = read_latch(home.latch)[0]
        assert unnamed(SEEN)
        if latch.state != HALTED:
            sentinel.make_durable(SEEN, 1, NOW)
        sentinel.begin()
        sentinel.stop()
        sentinel.post()
        assert sentinel._left() is None
        assert read_latch(home.latch)[0].state == HALTED
        assert kernel._sentinel.berth.begun


def test_record_that_is_gone_does_not_last(home: Home) -> None:
    """A halt whose record somebody took away is not called durable."""
    halt_home(home.path)
    with attach(home.path) as kernel:
        assert kernel._sentinel.durable
        assert kernel._sentinel._lasts()
        home.latch.unlink()
        assert not kernel._sentinel._lasts()


def test_berth_that_takes_nothing_is_told(home: Home) -> None:
    """If the roster's file can't be written, neither a journal's beginning nor an engine's name is taken as told."""
    with attach(home.path) as kernel:
        sentinel = kernel._sentinel
        sentinel.berth._lock.close()
        with pytest.raises(HomeError, match=r"home: cannot be written: .*Bad file") as caught:
            sentinel.begin()
        assert caught.value.code is HaltCode.HOME_UNREADABLE
        with pytest.raises(HomeError, match=r"engines: cannot be written: .*Bad file") as caught:
            sentinel.introduce("ann", "run")
        assert caught.value.code is HaltCode.HOME_UNREADABLE
