"""Planned faults strike where they are planned, once, and are gone with the plan."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.helpers import attach, halt_home, of_kind, order, quote, running, sound

from interlock import HaltCode, HomeError, Kernel, Mode, Reason
from interlock.core.errors import MisuseError
from interlock.testing.faults import POINTS, FaultPlan
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.testing.venue import Venue


def test_callback_raises_when_it_is_due(fault_plan: FaultPlan) -> None:
    """A planned callback raises at its nth call and at no other; with 0 at each."""
    third = fault_plan.raising(ZeroDivisionError("planned"), nth=3)
    assert third("an order")
    assert third(price=1)
    with pytest.raises(ZeroDivisionError):
        third()
    assert third()
    always = fault_plan.raising(nth=0)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="as planned"):
            always()


def test_function_of_the_engine_fails_and_the_kernel_halts(
    interlock_home: Path, fault_plan: FaultPlan, venue_probe: Venue
) -> None:
    """A disk that does not take the next record refuses the order, halts, and lets nothing reach the venue."""
    with running(interlock_home) as kernel:
        fault_plan.fail("interlock.breaker.segment:MappedSegment.write")
        verdict = kernel.submit(order("a"), venue_probe.send)
        assert not verdict
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED
    venue_probe.assert_saw()


def test_full_disk_halts(interlock_home: Path, fault_plan: FaultPlan, venue_probe: Venue) -> None:
    """On a disk that is full from now on, the kernel trades while it has room, then halts, and tells that on record."""
    with running(interlock_home, segment_bytes=64_000) as kernel:
        fault_plan.full_disk(interlock_home)
        verdicts = [kernel.submit(order(f"o{number}"), venue_probe.send) for number in range(2_000)]
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FULL
        assert verdicts[0]
        assert verdicts[-1].reason is Reason.HALTED
        assert of_kind(interlock_home, "halt")
    sound(interlock_home, Status.IN_DOUBT, Status.VERIFIED_TO_N)


def test_full_disk_lets_what_is_there_be_written_over(tmp_path: Path) -> None:
    """A full disk takes what makes no file longer, refuses the rest with ENOSPC, and is another disk's no affair."""
    (tmp_path / "full").mkdir()
    inside = os.open(tmp_path / "full" / "file", os.O_RDWR | os.O_CREAT)
    outside = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(inside, b"four")
    with FaultPlan() as plan:
        plan.full_disk(tmp_path / "full")
        assert os.pwrite(inside, b"FOUR", 0) == 4
        for grow in (
            lambda: os.write(inside, b"x"),
            lambda: os.pwrite(inside, b"xx", 3),
            lambda: os.posix_fallocate(inside, 0, 5),
        ):
            with pytest.raises(OSError, match="as planned") as seen:
                grow()
            assert seen.value.errno == errno.ENOSPC
        assert os.write(outside, b"more") == 4
    assert os.pwrite(inside, b"more", 4) == 4
    os.close(inside)
    os.close(outside)


@pytest.mark.parametrize("how", ["gone", "empty", "garbage"])
def test_lost_file_halts(interlock_home: Path, fault_plan: FaultPlan, venue_probe: Venue, how: str) -> None:
    """A latch that is lost, in whatever way, halts by the next heartbeat."""
    with running(interlock_home) as kernel:
        fault_plan.lose(interlock_home / "latch.json", how)  # type: ignore[arg-type] # one of them
        kernel.heartbeat()
        assert kernel.mode is Mode.HALTED
        assert not kernel.submit(order("a"), venue_probe.send)
    venue_probe.assert_saw()


def test_lost_home_is_no_home(interlock_home: Path, fault_plan: FaultPlan) -> None:
    """A directory that is lost is gone with all that is in it, and nobody attaches to that."""
    fault_plan.lose(interlock_home)
    with pytest.raises(HomeError):
        Kernel.attach(interlock_home, operator="ann")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_child_is_killed_at_each_point(
    interlock_home: Path, fault_plan: FaultPlan, venue_probe: Venue, point: str, when: str
) -> None:
    """Each named point is reached and kills there; afterwards the home is sound, and a halt that had begun is one."""
    fault_plan.kill(point, nth=2 if point == "record" else 1, when=when)  # type: ignore[arg-type] # one of the two

    def trade(tell: Callable[[str], None]) -> None:
        with attach(interlock_home, durability="disk") as kernel:
            kernel.start()
            kernel.consult(quote(kernel))
            venue_probe.watch = lambda arrival: tell(arrival.order_id)
            kernel.submit(order("a"), venue_probe.send)
            if point == "durable":
                kernel.halt("enough")
        halt_home(interlock_home, timeout_s=5)

    ended = fault_plan.in_child(trade)
    assert ended.killed
    assert ended.status == -signal.SIGKILL
    sent = point in {"durable", "byte", "latch", "quiet", "ack"}
    assert ended.told == (("a",) if sent else ())
    venue_probe.assert_saw()  # of this process
    with attach(interlock_home) as again:
        halted = sent and (point, when) != ("byte", "before")
        assert (again.mode is Mode.HALTED) is halted


def test_child_that_is_not_killed_ends(fault_plan: FaultPlan, capfd: pytest.CaptureFixture[str]) -> None:
    """A child that comes to its end has status 0; one that raises tells why, and has another."""
    assert fault_plan.in_child(lambda tell: tell("done")).told == ("done",)
    ended = fault_plan.in_child(lambda _: 1 // 0)
    assert not ended.killed
    assert ended.status > 0
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_kill_that_strikes_nobody_is_told(interlock_home: Path) -> None:
    """A kill is for a child: the test's own process passes the point, and a plan that had no child says so."""
    plan = FaultPlan()
    plan.kill("byte")
    halt_home(interlock_home)
    with pytest.raises(MisuseError, match="in_child"), plan:
        pass


@pytest.mark.parametrize("point", ["nowhere", "interlock.kernel:Gone", "interlock.gone:Kernel", ":"])
def test_point_that_is_not_there_is_refused(fault_plan: FaultPlan, point: str) -> None:
    """A fault at a point that does not exist would never strike: it is refused."""
    with pytest.raises(MisuseError, match="no such point"):
        fault_plan.fail(point)


def test_faults_are_gone_with_the_plan(interlock_home: Path, venue_probe: Venue) -> None:
    """What was planned for one test is not there in the next."""
    before = os.write, os.pwrite, os.posix_fallocate
    with FaultPlan() as plan:
        plan.fail("record", nth=0)
        plan.full_disk(interlock_home)
        assert os.write is not before[0]
    assert (os.write, os.pwrite, os.posix_fallocate) == before
    with running(interlock_home) as kernel:
        assert kernel.submit(order("a"), venue_probe.send)
    venue_probe.assert_saw("a")
