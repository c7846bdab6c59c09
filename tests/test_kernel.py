"""The facade's promises, on real homes, journals, threads, signals and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import interlock.attach
from interlock import Cancel, HaltCode, HomeError, Kernel, Mode, Order, Outcome, Permit, PermitError, Reason, Side
from interlock.breaker.home import Home
from interlock.breaker.segment import Segment, segments
from interlock.core.errors import MisuseError
from interlock.journal.recovery import Recovery
from interlock.verify import Status

from .helpers import (
    KERNEL,
    LIMITS,
    MS,
    NAME,
    ROOT,
    FakeClock,
    RecordingVenue,
    SlowVenue,
    abandon,
    arm,
    attach,
    cancel,
    fill,
    halt_home,
    journal,
    kinds,
    of_kind,
    order,
    python,
    quote,
    reset_home,
    run_python,
    running,
    sound,
    verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock import Verdict

DURABILITIES = ("disk", "process")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an armed home."""
    return arm(tmp_path / "home").path


@contextlib.contextmanager
def sending(kernel: Kernel, wanted: Order, venue: SlowVenue) -> Iterator[list[Verdict]]:
    """Hold an order inside its send in another thread; let it out at the end at the latest."""
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(kernel.submit(wanted, venue.send)))
    thread.start()
    assert venue.inside.wait(30)
    try:
        yield verdicts
    finally:
        venue.out.set()
        thread.join(30)
        assert not thread.is_alive()


class GatedSegment(Segment):
    """The real segment, whose sync tells when it is called, and then waits until it may go on."""

    __slots__ = ("go", "log", "waiting")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.log: list[str] = []
        self.waiting = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def write(self, data: bytes) -> None:
        """Append, and note it."""
        super().write(data)
        self.log.append("permit" if b'"kind":"permit"' in data else "write")

    def sync(self) -> None:
        """Sync, and note it."""
        self.waiting.set()
        if not self.go.wait(60):
            message = "nobody let the sync go on"
            raise TimeoutError(message)
        super().sync()
        self.log.append("sync")


def gated(kernel: Kernel) -> GatedSegment:
    """Put a gated segment on the same file under the kernel's journal."""
    kernel._sentinel.segment.close()
    segment = GatedSegment(kernel._sentinel.segment.path)
    kernel._sentinel.segment = segment
    kernel._journal._sink = segment
    return segment


# -- JournalBeforeEmit ---------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
def test_permit_is_in_the_file_inside_the_send(home: Path, durability: str) -> None:
    """Inside the send the permit's record stands in the journal file, with the number that the verdict names."""
    found: list[list[int]] = []
    with running(home, durability=durability) as kernel:
        look = RecordingVenue(lambda _: found.append([record["seq"] for record in of_kind(home, "permit")]))
        verdict = kernel.submit(order("a"), look.send)
        second = kernel.submit(order("b"), look.send)
    assert found == [[verdict.permit], [verdict.permit, second.permit]]
    sound(home)


def test_disk_means_synced_before_the_send(home: Path) -> None:
    """In durability disk the permit's write is followed by a completed fdatasync before the send begins."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)
        venue = RecordingVenue(lambda _: segment.log.append("send"))
        for number in range(3):
            assert kernel.submit(order(f"o{number}"), venue.send)
    log = segment.log
    sends = [place for place, event in enumerate(log) if event == "send"]
    permits = [place for place, event in enumerate(log) if event == "permit"]
    assert len(sends) == len(permits) == 3
    assert all("sync" in log[permit:send] for permit, send in zip(permits, sends, strict=True))
    sound(home)


def test_outcome_names_its_permit(home: Path) -> None:
    """A send that returned is recorded as sent with its permit's number, its begin and its result."""
    clock = FakeClock()
    with running(home, clock) as kernel:
        clock.advance(3)
        venue = RecordingVenue(lambda _: clock.advance(4))
        verdict = kernel.submit(order("a"), venue.send)
        assert (verdict.outcome, verdict.result) == (Outcome.SENT, "ack a")
    (sent,) = of_kind(home, "sent")
    assert (sent["permit"], sent["result"], sent["begun"], sent["mono"]) == (verdict.permit, "ack a", 3 * MS, 7 * MS)


def test_journal_that_cannot_be_written_refuses_and_halts(home: Path) -> None:
    """A write error refuses the order, sends nothing, halts and latches, and is never tried again."""
    with running(home, durability="disk") as kernel:
        kernel.heartbeat()
        before = journal(home)
        descriptor = kernel._sentinel.segment._descriptor
        read_only = os.open(kernel._sentinel.segment.path, os.O_RDONLY)
        kept = os.dup(descriptor)
        os.dup2(read_only, descriptor)  # every write fails with EBADF from here on
        venue = RecordingVenue()
        first = kernel.submit(order("a"), venue.send)
        os.dup2(kept, descriptor)  # and now it would work again
        second = kernel.submit(order("b"), venue.send)
        os.close(read_only)
        os.close(kept)
        assert (first.reason, second.reason) == (Reason.JOURNAL_FAILED, Reason.HALTED)
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.code is HaltCode.JOURNAL_FAILED
        assert kernel.cancel(cancel("a"), venue.cancel) == "gone a"
        kernel.heartbeat()
    assert venue.seen == []
    assert journal(home) == before
    assert Home(home).latch_state()[0].state == "HALTED"  # type: ignore[union-attr]
    with attach(home) as again:
        assert again.mode is Mode.HALTED
    sound(home)


def test_sync_that_fails_voids_the_waiting_permit(home: Path) -> None:
    """When fdatasync fails the order that waited for it is not sent, and the kernel halts."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)

        def fail() -> None:
            raise OSError(5, "Input/output error")

        real, GatedSegment.sync = GatedSegment.sync, lambda _: fail()  # type: ignore[method-assign,assignment]
        try:
            venue = RecordingVenue()
            verdict = kernel.submit(order("a"), venue.send)
        finally:
            GatedSegment.sync = real  # type: ignore[method-assign]
        assert (verdict.reason, verdict.outcome) == (Reason.JOURNAL_FAILED, Outcome.VOID)
        assert kernel.mode is Mode.HALTED
    assert venue.seen == []
    assert segment.log
    with attach(home) as again:
        assert again.mode is Mode.HALTED
    assert sound(home, Status.IN_DOUBT).status is Status.IN_DOUBT  # the disk never got the void


# -- NoEmitAfterHalt, AckMeansQuiescent, HaltNeverWaits --------------------------------------------


def test_halt_while_a_send_is_blocked(home: Path) -> None:
    """A halt during a send names it unconfirmed, refuses later orders, and is confirmed once it has ended."""
    with running(home) as kernel:
        venue = SlowVenue()
        with sending(kernel, order("a"), venue) as verdicts:
            report = kernel.halt("enough", timeout_s=0.05)
            assert (report.confirmed, report.durable, report.recorded) == (False, True, True)
            assert [flight.client_order_id for flight in report.in_flight] == ["a"]
            refused = kernel.submit(order("b"), venue.send)
            assert refused.reason is Reason.HALTED
        assert verdicts[0].outcome is Outcome.SENT
        again = kernel.halt("sure")
        assert again.confirmed
        assert again.cause == report.cause
        assert again.in_flight == ()
    assert venue.seen == ["a"]
    halts = of_kind(home, "halt")
    assert [(halt["first"], halt["in_flight"]) for halt in halts] == [(True, [verdicts[0].permit]), (False, [])]
    sound(home)


def test_halt_waits_for_a_send_that_ends_in_time(home: Path) -> None:
    """A halt that may wait confirms as soon as the send of another thread has ended."""
    with running(home) as kernel:
        venue = SlowVenue()
        reports = []
        with sending(kernel, order("a"), venue):
            halter = threading.Thread(target=lambda: reports.append(kernel.halt("enough", timeout_s=30)))
            halter.start()
            while kernel.mode is not Mode.HALTED:
                pass
            venue.out.set()
            halter.join(30)
        assert reports[0].confirmed


def test_halt_inside_a_send_does_not_dead_lock(home: Path) -> None:
    """A send may halt the kernel: unconfirmed, naming itself, and returning without waiting for itself."""
    with running(home) as kernel:
        reports = []
        venue = RecordingVenue(lambda _: reports.append(kernel.halt("from inside", timeout_s=3600)))
        verdict = kernel.submit(order("a"), venue.send)
        assert [flight.permit for flight in reports[0].in_flight] == [verdict.permit]
        assert not reports[0].confirmed
        assert kernel.halt("again").confirmed
    sound(home)


def test_halt_in_a_signal_handler_over_the_held_lock(home: Path) -> None:
    """A handler that interrupts the lock's holder halts at once, and its cause is the one that is kept."""
    kernel = running(home)
    venue = RecordingVenue()
    reports = []

    def handler(_signal: int, _frame: object) -> None:
        reports.append(kernel.halt("ctrl-c", code=HaltCode.SIGNAL, source="signal", timeout_s=0.0))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with kernel._lock:
            signal.raise_signal(signal.SIGALRM)
            assert kernel.mode is Mode.HALTED
        verdict = kernel.submit(order("a"), venue.send)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (reports[0].recorded, reports[0].confirmed) == (False, False)
    assert reports[0].cause.code is HaltCode.SIGNAL
    assert verdict.reason is Reason.HALTED
    assert kernel.cause is not None
    assert (kernel.cause.code, kernel.cause.reason) == (HaltCode.SIGNAL, "ctrl-c")
    kernel.close()
    assert venue.seen == []
    assert [(halt["code"], halt["first"]) for halt in of_kind(home, "halt")] == [("SIGNAL", True)]
    sound(home)


def test_halt_in_a_signal_handler_between_gate_and_send(home: Path) -> None:
    """A halt by a signal during the wait for the disk makes the permit void although the main thread was in submit."""
    kernel = running(home, durability="disk")
    segment = gated(kernel)
    real = segment.sync
    raised: list[bool] = []
    fired: list[bool] = []

    def handler(_signal: int, _frame: object) -> None:
        fired.append(kernel.halt("now", code=HaltCode.SIGNAL, timeout_s=0.0).recorded)

    class Interrupted:
        write = staticmethod(segment.write)

        @staticmethod
        def sync() -> None:
            if not raised:
                raised.append(True)
                signal.raise_signal(signal.SIGALRM)
            real()

    before = signal.signal(signal.SIGALRM, handler)
    venue = RecordingVenue()
    try:
        kernel._journal._sink = Interrupted()
        verdict = kernel.submit(order("a"), venue.send)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (verdict.reason, verdict.outcome, venue.seen) == (Reason.HALTED, Outcome.VOID, [])
    assert fired == [False]  # the handler only stops; the submit that it interrupted latches and records
    kernel.close()
    assert [halt["code"] for halt in of_kind(home, "halt")] == ["SIGNAL"]
    assert [(void["permit"], void["code"]) for void in of_kind(home, "void")] == [(verdict.permit, "HALTED")]
    sound(home)


def test_interrupted_wait_for_the_disk_leaves_nothing_in_doubt(home: Path) -> None:
    """A KeyboardInterrupt while a submit waits for the disk withdraws the permit: nothing in doubt, stop drains."""
    kernel = running(home, durability="disk")
    segment = gated(kernel)

    class Interrupted:
        write = staticmethod(segment.write)

        @staticmethod
        def sync() -> None:
            raise KeyboardInterrupt

    kernel._journal._sink = Interrupted()
    venue = RecordingVenue()
    with pytest.raises(KeyboardInterrupt):
        kernel.submit(order("a"), venue.send)
    kernel._journal._sink = segment
    assert kernel.working_orders() == ()
    assert kernel.stop().stopped
    kernel.close()
    assert venue.seen == []
    assert [void["code"] for void in of_kind(home, "void")] == ["CANCELLED"]
    sound(home)


def test_halt_while_another_thread_waits_for_the_disk(home: Path) -> None:
    """A permit whose fdatasync is still under way when the halt comes is void, recorded so, and never sent."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)
        segment.go.clear()
        segment.waiting.clear()
        venue = RecordingVenue()
        verdicts: list[Verdict] = []
        thread = threading.Thread(target=lambda: verdicts.append(kernel.submit(order("a"), venue.send)))
        thread.start()
        assert segment.waiting.wait(30)
        reports = []
        halter = threading.Thread(target=lambda: reports.append(kernel.halt("enough", timeout_s=30)))
        halter.start()
        while kernel.mode is not Mode.HALTED:
            pass
        segment.go.set()
        thread.join(30)
        halter.join(30)
        assert reports[0].confirmed
    assert venue.seen == []
    assert (verdicts[0].reason, verdicts[0].outcome) == (Reason.HALTED, Outcome.VOID)
    assert [void["permit"] for void in of_kind(home, "void")] == [verdicts[0].permit]
    sound(home)


def test_halt_in_idle_and_twice(home: Path) -> None:
    """A halt is possible in IDLE and again in HALTED, where it is recorded and keeps the first cause."""
    with attach(home) as kernel:
        first = kernel.halt("one")
        second = kernel.halt("two", source="other", operator="bob")
        assert first.confirmed
        assert second.confirmed
        assert kernel.cause == first.cause
        assert not kernel.start()
    assert [(halt["reason"], halt["first"]) for halt in of_kind(home, "halt")] == [("one", True), ("two", False)]
    sound(home)


def test_many_threads_halt_at_once(home: Path) -> None:
    """Of many concurrent halts each is recorded, one of them first, and no order gets in between."""
    with running(home) as kernel:
        barrier = threading.Barrier(9)
        venue = RecordingVenue()

        def halter(number: int) -> None:
            barrier.wait()
            kernel.halt(f"halt {number}")

        threads = [threading.Thread(target=halter, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        barrier.wait()
        number = 0
        while kernel.submit(order(f"o{number}"), venue.send):
            number += 1
        for thread in threads:
            thread.join()
        assert not kernel.submit(order("late"), venue.send)
        assert "late" not in venue.seen
        first = [halt["reason"] for halt in of_kind(home, "halt")]
    assert sorted(halt for halt in first if halt.startswith("halt")) == [f"halt {n}" for n in range(8)]
    assert kernel.cause is not None
    assert kernel.cause.code is HaltCode.OPERATOR
    sound(home)


def test_halt_takes_any_text(home: Path) -> None:
    """A halt works with texts that no file can hold, such as lone surrogates and a megabyte."""
    with running(home) as kernel:
        report = kernel.halt("\udcff" * 1_000_000, source="\udcff", operator="\udcff")
        assert report.confirmed
        assert report.durable
        assert report.recorded
    assert Home(home).latch_state()[0].state == "HALTED"  # type: ignore[union-attr]
    sound(home)


# -- Outcomes ------------------------------------------------------------------------------------


def test_raising_send_is_unknown_and_counts_as_working(home: Path) -> None:
    """A send that raises is accepted with outcome UNKNOWN, keeps its reservation, and is recorded."""
    with running(home) as kernel:

        def send(permit: Permit) -> None:
            permit.redeem()
            raise TimeoutError("no answer")

        verdict = kernel.submit(order("a"), send)
        assert bool(verdict)
        assert verdict.outcome is Outcome.UNKNOWN
        assert isinstance(verdict.error, TimeoutError)
        assert [working.client_order_id for working in kernel.working_orders()] == ["a"]
        assert kernel.submit(order("a"), RecordingVenue().send).reason is Reason.DUPLICATE_ID
        assert kernel.stop().stopped
    (unknown,) = of_kind(home, "unknown")
    assert (unknown["permit"], unknown["error"]) == (verdict.permit, "TimeoutError: no answer")
    assert [doubt.order for doubt in verified(home).in_doubt] == ["a"]


RESOLUTIONS: dict[str, tuple[Callable[[Kernel], None], int]] = {
    "accept": (lambda kernel: kernel.on_accept("a", "v1"), 1),
    "fill": (lambda kernel: kernel.on_fill(fill("a", "f1")), 0),
    "cancelled": (lambda kernel: kernel.on_cancelled("a", "expired"), 0),
    "reject": (lambda kernel: kernel.on_reject("a", "no"), 0),
}


@pytest.mark.parametrize("event", RESOLUTIONS)
def test_venue_resolves_the_unknown(home: Path, event: str) -> None:
    """Each word of the venue about an order of unknown outcome takes it out of doubt."""
    resolve, left = RESOLUTIONS[event]
    with running(home) as kernel:

        def send(_: Permit) -> None:
            raise ConnectionError

        kernel.submit(order("a"), send)
        resolve(kernel)
        assert len(kernel.working_orders()) == left
    sound(home)
    with attach(home) as again:
        assert len(again.working_orders()) == left
    sound(home)


def test_base_exception_is_recorded_and_raised_again(home: Path) -> None:
    """A BaseException out of a send is recorded as unknown and goes on to the caller."""
    with running(home) as kernel:

        def send(_: Permit) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kernel.submit(order("a"), send)
        assert kernel.in_flight() == ()
    assert [unknown["error"] for unknown in of_kind(home, "unknown")] == ["KeyboardInterrupt: "]


def test_permit_kept_after_its_send_is_worthless(home: Path) -> None:
    """A permit that a send kept without redeeming it is spent once the send is over, however that ended."""
    with running(home) as kernel:
        kept: list[Permit] = []
        kernel.submit(order("a"), kept.append)

        def raises(permit: Permit) -> None:
            kept.append(permit)
            raise TimeoutError

        kernel.submit(order("b"), raises)
        assert len(kept) == 2
        for permit in kept:
            with pytest.raises(PermitError):
                permit.redeem()


def test_permit_is_redeemed_by_one_thread_only(home: Path) -> None:
    """Of many threads that redeem one permit at once exactly one gets the order."""
    won: list[Order] = []

    def send(permit: Permit) -> None:
        barrier = threading.Barrier(8)

        def redeem() -> None:
            barrier.wait()
            with contextlib.suppress(PermitError):
                won.append(permit.redeem())

        threads = [threading.Thread(target=redeem) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with running(home) as kernel:
        for number in range(20):
            kernel.submit(order(f"o{number}"), send)
    assert [one.client_order_id for one in won] == [f"o{number}" for number in range(20)]


# -- asyncio ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
def test_submit_async_sends(home: Path, durability: str) -> None:
    """An awaited send gets its permit after the journal has it."""
    with running(home, durability=durability) as kernel:
        venue = RecordingVenue(lambda _: found.extend(of_kind(home, "permit")))
        found: list[dict[str, Any]] = []
        verdict = asyncio.run(kernel.submit_async(order("a"), venue.send_async))
        assert verdict.outcome is Outcome.SENT
        assert [record["id"] for record in found] == ["a"]
    sound(home)


def test_task_cancelled_while_waiting_for_the_disk(home: Path) -> None:
    """A task that is cancelled while its permit waits for the disk sends nothing and leaves nothing in doubt."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)
        segment.go.clear()
        segment.waiting.clear()
        venue = RecordingVenue()

        async def scenario() -> None:
            task = asyncio.create_task(kernel.submit_async(order("a"), venue.send_async))
            await asyncio.get_running_loop().run_in_executor(None, segment.waiting.wait, 30)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()
            segment.go.set()

        asyncio.run(scenario())
        assert kernel.working_orders() == ()
        assert kernel.submit(order("a"), venue.send)  # its id is free again
    assert [void["code"] for void in of_kind(home, "void")] == ["CANCELLED"]
    sound(home)


def test_task_cancelled_during_its_send(home: Path) -> None:
    """A task that is cancelled inside its send has an unknown outcome, and the cancellation goes on."""
    with running(home) as kernel:

        async def scenario() -> None:
            inside = asyncio.Event()

            async def send(permit: Permit) -> None:
                permit.redeem()
                inside.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(kernel.submit_async(order("a"), send))
            await inside.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

        asyncio.run(scenario())
        assert [working.client_order_id for working in kernel.working_orders()] == ["a"]
    assert [unknown["error"] for unknown in of_kind(home, "unknown")] == ["CancelledError: "]
    assert verified(home).status is Status.IN_DOUBT


def test_halt_in_the_loop_does_not_wait_for_its_own_sends(home: Path) -> None:
    """A halt in the event loop's thread names the sends awaited there without holding them up."""
    with running(home) as kernel:

        async def scenario() -> None:
            inside, out = asyncio.Event(), asyncio.Event()

            async def send(permit: Permit) -> None:
                permit.redeem()
                inside.set()
                await out.wait()

            task = asyncio.create_task(kernel.submit_async(order("a"), send))
            await inside.wait()
            report = kernel.halt("enough", timeout_s=3600)
            assert [flight.client_order_id for flight in report.in_flight] == ["a"]
            out.set()
            await task
            assert kernel.halt("enough").confirmed

        asyncio.run(scenario())
    sound(home)


def test_async_cancel_passes_while_halted(home: Path) -> None:
    """An awaited cancel passes while HALTED, and what it raises is recorded and raised."""
    with running(home) as kernel:
        kernel.halt("x")

        async def good(wanted: Cancel) -> str:
            return wanted.client_order_id

        async def bad(_: Cancel) -> None:
            raise ConnectionError("down")

        assert asyncio.run(kernel.cancel_async(cancel("a"), good)) == "a"
        with pytest.raises(ConnectionError):
            asyncio.run(kernel.cancel_async(cancel("a"), bad))
    assert [end["error"] for end in of_kind(home, "cancel_end")] == [None, "ConnectionError: down"]
    sound(home)


# -- CancelsAlwaysPass -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("broken", [False, True], ids=["journal", "no-journal"])
def test_cancels_always_pass(home: Path, mode: Mode, broken: bool) -> None:
    """A cancel reaches the venue in every mode, with or without a journal."""
    kernel = attach(home, durability="disk")
    if mode is Mode.RUNNING:
        kernel.start()
    elif mode is Mode.HALTED:
        kernel.halt("x")
    if broken:
        read_only = os.open(kernel._sentinel.segment.path, os.O_RDONLY)
        os.dup2(read_only, kernel._sentinel.segment._descriptor)
        os.close(read_only)
    venue = RecordingVenue()
    assert kernel.cancel(cancel("a"), venue.cancel) == "gone a"
    assert venue.cancels == ["a"]
    if broken:
        assert kernel.mode is Mode.HALTED
    kernel.close()


def test_cancel_beyond_the_message_rate(tmp_path: Path) -> None:
    """Cancels pass when the message rate is used up, which refuses the next order."""
    tight = LIMITS.replace("messages_per_s = 100000", "messages_per_s = 1").replace("burst = 100000", "burst = 2")
    home = arm(tmp_path / "home", tight).path
    with running(home, FakeClock()) as kernel:
        venue = RecordingVenue()
        for number in range(10):
            kernel.cancel(cancel(f"c{number}"), venue.cancel)
        assert kernel.submit(order("a"), venue.send).reason is Reason.MESSAGE_RATE
    assert len(venue.cancels) == 10


def test_what_a_cancel_raises_is_raised(home: Path) -> None:
    """An exception of a cancel's send is recorded and reaches the caller."""
    with running(home) as kernel:

        def send(_: Cancel) -> None:
            raise ConnectionError("down")

        with pytest.raises(ConnectionError):
            kernel.cancel(cancel("a"), send)
    (end,) = of_kind(home, "cancel_end")
    assert end["error"] == "ConnectionError: down"
    sound(home)


def test_venue_events_without_an_id_are_recorded_whole(home: Path) -> None:
    """What the venue says about an order without a name leaves a journal that verifies."""
    with running(home) as kernel:
        kernel.on_accept(None)  # type: ignore[arg-type]
        kernel.on_cancelled(None)  # type: ignore[arg-type]
        kernel.on_reject("\udcff", None)  # type: ignore[arg-type]
        kernel.anomaly(None, None)  # type: ignore[arg-type]
        kernel.cancel(Cancel(client_order_id=None, instrument=None), RecordingVenue().cancel)  # type: ignore[arg-type]
        kernel.on_fill(fill(None, "f1"))  # type: ignore[arg-type]
    sound(home)


# -- stop, drain, close ------------------------------------------------------------------------------


def test_stop_drains(home: Path) -> None:
    """A stop closes the gate first, names what is in flight, and reaches IDLE once that has ended."""
    with running(home) as kernel:
        venue = SlowVenue()
        with sending(kernel, order("a"), venue):
            report = kernel.stop("evening", timeout_s=0.0)
            assert not report.stopped
            assert [flight.client_order_id for flight in report.in_flight] == ["a"]
            assert kernel.mode is Mode.RUNNING
            assert kernel.submit(order("b"), venue.send).reason is Reason.GATE_CLOSED
            assert kernel.consult(quote(kernel)).reason is Reason.GATE_CLOSED
        assert kernel.stop().stopped
        assert kernel.mode is Mode.IDLE
        assert kernel.submit(order("b"), venue.send).reason is Reason.NOT_RUNNING
        assert kernel.start()
        assert kernel.submit(order("b"), RecordingVenue().send).reason is Reason.ACCEPTED
    assert [kind for kind in kinds(home) if kind in {"start", "drain", "stop"}] == [
        *("start", "drain", "stop"),
        *("start", "drain", "stop"),
    ]
    sound(home)


def test_stop_racing_halts_leaves_a_sound_journal(home: Path) -> None:
    """Whatever order stop and halt come in, the mode ends HALTED and the journal obeys the rules."""
    epoch = 1
    with attach(home) as kernel:
        for _ in range(30):
            assert kernel.start()
            barrier = threading.Barrier(2)

            def halter(barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                kernel.halt("race")

            thread = threading.Thread(target=halter)
            thread.start()
            barrier.wait()
            kernel.stop()
            thread.join()
            assert kernel.mode is Mode.HALTED
            kernel.reset(operator="bob", reason="next round", epoch=epoch)
            epoch += 1
    sound(home)


def test_close_with_a_send_in_flight(home: Path) -> None:
    """Closing over a send that hangs halts, and nobody gets an ack or the home before it has ended."""
    kernel = running(home)
    kernel.stop = lambda *_: type(kernel).stop(kernel, "detached", 0.0)  # type: ignore[assignment,method-assign]
    venue = SlowVenue()
    with sending(kernel, order("a"), venue):
        kernel.close()
        assert kernel.mode is Mode.HALTED
        assert not halt_home(home).confirmed
        assert not kernel.halt("x", timeout_s=0.0).confirmed
        with pytest.raises(HomeError):
            reset_home(home, 1)
        with pytest.raises(HomeError, match="attached already"):
            attach(home)
    assert halt_home(home).confirmed
    with attach(home) as again:
        assert again.mode is Mode.HALTED
        assert [working.client_order_id for working in again.working_orders()] == ["a"]
    assert sound(home, Status.IN_DOUBT).status is Status.IN_DOUBT


def test_closed_kernel_refuses_and_leaves_the_home_alone(home: Path) -> None:
    """Late calls of a closed kernel are refused and do not halt the home that others may have now."""
    kernel = running(home)
    tick = quote(kernel)
    kernel.close()
    kernel.close()
    venue = RecordingVenue()
    size = len(journal(home))
    assert kernel.consult(tick).reason is Reason.HALTED
    assert kernel.submit(order("a"), venue.send).reason is Reason.HALTED
    assert kernel.start().reason is Reason.HALTED
    assert kernel.cancel(cancel("a"), venue.cancel) == "gone a"
    kernel.heartbeat()
    kernel.inspect()
    with pytest.raises(MisuseError):  # it would be lost
        kernel.on_accept("a")
    with pytest.raises(MisuseError):
        kernel.on_fill(fill("a", "f1"))
    kernel.drain()
    assert not kernel.stop().stopped
    with pytest.raises(HomeError):
        kernel.reset(operator="a", reason="b", epoch=1)
    assert kernel.mode is Mode.HALTED
    assert venue.seen == []
    assert len(journal(home)) == size
    with attach(home) as again:
        assert again.mode is Mode.IDLE
        assert kernel.halt("late, but meant").confirmed is False
        again.heartbeat()
        assert again.mode is Mode.HALTED
    sound(home)


def test_second_attach_is_refused_by_name(home: Path) -> None:
    """A second process of one name is refused, and told who has the name."""
    said = rf"'first' is attached already \(pid {os.getpid()}, operator ann\)"
    with running(home, engine="first"), pytest.raises(HomeError, match=said):
        attach(home, engine="first")
    attach(home, engine="first").close()


def test_attach_takes_any_names(home: Path) -> None:
    """Names that no file can hold do not keep an engine out, nor break its journal; its own name is a file's."""
    for name in ("", "a/b", "..", ".a", "a b", "\udcff", "é", "x" * 65):
        with pytest.raises(ValueError, match="an engine's name"):
            attach(home, engine=name)
    with attach(home, operator="\udcff") as kernel:
        assert kernel.start(session="\udcff")
        assert kernel.submit(order("a"), RecordingVenue().send).reason is Reason.NO_REFERENCE
    sound(home)


def test_durability_is_one_of_two(home: Path) -> None:
    """An unknown durability is a misuse and leaves the home free."""
    with pytest.raises(ValueError, match="disk or process"):
        attach(home, durability="maybe")
    attach(home).close()


# -- Resets and others ----------------------------------------------------------------------------


def test_reset_then_start(home: Path) -> None:
    """A reset leads to IDLE in the next epoch and starts nothing; the start is another act."""
    with running(home) as kernel:
        kernel.halt("x")
        for epoch in (0, 2, 7):
            with pytest.raises(HomeError):
                kernel.reset(operator="bob", reason="ok", epoch=epoch)
        for operator, reason in (("", "ok"), ("bob", " ")):
            with pytest.raises(HomeError):
                kernel.reset(operator=operator, reason=reason, epoch=1)
        assert kernel.mode is Mode.HALTED
        kernel.reset(operator="bob", reason="looked into", epoch=1)
        assert kernel.mode is Mode.IDLE
        assert kernel.epoch == 2
        assert kernel.cause is None
        venue = RecordingVenue()
        assert kernel.submit(order("a"), venue.send).reason is Reason.NOT_RUNNING
        with pytest.raises(HomeError):
            kernel.reset(operator="bob", reason="again", epoch=2)
        assert kernel.start()
        assert kernel.submit(order("a"), venue.send)
    (reset,) = of_kind(home, "reset")
    assert (reset["epoch"], reset["prior"], reset["operator"], reset["reason"]) == (2, 1, "bob", "looked into")
    sound(home)


def test_reset_waits_for_quiet(home: Path) -> None:
    """A kernel with a send in flight cannot be reset, from inside or outside."""
    with running(home) as kernel:
        venue = SlowVenue()
        with sending(kernel, order("a"), venue):
            kernel.halt("x", timeout_s=0.0)
            with pytest.raises(HomeError):
                kernel.reset(operator="bob", reason="ok", epoch=1)
            with pytest.raises(HomeError, match="not quiet"):
                reset_home(home, 1)
        kernel.reset(operator="bob", reason="ok", epoch=1)
        assert kernel.mode is Mode.IDLE


def test_permit_of_an_old_epoch_is_void_in_the_next(home: Path) -> None:
    """A permit that waited for the disk over a halt, a reset and a new start is still void."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)
        venue = RecordingVenue()
        verdicts: list[Verdict] = []

        class Held:
            write = staticmethod(segment.write)

            @staticmethod
            def sync() -> None:
                if threading.current_thread() is not waiter:
                    segment.sync()
                    return
                segment.waiting.set()
                assert released.wait(60)
                segment.sync()

        released = threading.Event()
        waiter = threading.Thread(target=lambda: verdicts.append(kernel.submit(order("a"), venue.send)))
        segment.waiting.clear()
        kernel._journal._sink = Held()
        waiter.start()
        assert segment.waiting.wait(30)
        assert kernel.halt("x").confirmed
        kernel.reset(operator="bob", reason="ok", epoch=1)
        assert kernel.start()
        released.set()
        waiter.join(30)
        assert verdicts[0].outcome is Outcome.VOID
        assert venue.seen == []
    sound(home)


@pytest.mark.parametrize("started", [False, True], ids=["idle", "halted-by-us"])
def test_reset_by_another_process_is_adopted_to_idle(home: Path, started: bool) -> None:
    """A halt and reset made by another process leave an attached kernel IDLE, never RUNNING, in the new epoch."""
    script = "import sys; from tests.helpers import *; halt_home(sys.argv[1]); reset_home(sys.argv[1], 1)"
    with attach(home) as kernel:
        if started:
            kernel.start()
            kernel.halt("x")
        run_python(script, home)
        kernel.heartbeat()
        assert kernel.mode is Mode.IDLE
        assert kernel.epoch == 2
        venue = RecordingVenue()
        assert kernel.submit(order("a"), venue.send).reason is Reason.NOT_RUNNING
        assert kernel.start()
    assert [kind for kind in kinds(home) if kind in {"halt", "reset"}] == ["halt", "reset"]
    sound(home)


def test_attach_that_is_slow_does_not_halt_a_reset_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attach that saw the halt, and replayed its journal while others reset, does not undo that reset."""
    halt_home(home)

    def recover(**given: Any) -> Recovery:
        reset_home(home, 1)
        return Recovery(**given)

    monkeypatch.setattr(interlock.attach, "Recovery", recover)
    with attach(home) as kernel:
        assert kernel.mode is Mode.HALTED
        kernel.heartbeat()
        assert (kernel.mode, kernel.epoch) == (Mode.IDLE, 2)
        assert kernel.start()
    sound(home)


def test_external_halt_stops_the_very_next_submit(home: Path) -> None:
    """A halt by another process refuses the very next order; by the next heartbeat its cause is journaled."""
    script = """
    import sys
    from tests.helpers import *
    quiet = halt_home(sys.argv[1], timeout_s=30)
    print(quiet.durable, quiet.confirmed)
    """
    with running(home) as kernel:
        venue = RecordingVenue()
        assert kernel.submit(order("a"), venue.send)
        assert run_python(script, home).split() == ["True", "True"]
        assert kernel.mode is Mode.HALTED
        assert kernel.submit(order("b"), venue.send).reason is Reason.HALTED
        kernel.heartbeat()
        assert kernel.cause is not None
        assert (kernel.cause.code, kernel.cause.operator, kernel.cause.source) == (HaltCode.OPERATOR, "bob", "cli")
        halts = of_kind(home, "halt")
        assert halts[-1]["operator"] == "bob"
        assert run_python(script, home).split() == ["True", "True"]
    assert venue.seen == ["a"]
    sound(home)


def test_byte_before_record_still_names_who_halted(home: Path) -> None:
    """An order between the killer's byte and its record does not cost the evidence who halted."""
    with running(home) as kernel:
        venue = RecordingVenue()
        kernel._sentinel.page.halt()  # type: ignore[union-attr] # the killer's first act
        assert kernel.submit(order("a"), venue.send).reason is Reason.HALTED
        halt_home(home)  # its second
        kernel.heartbeat()
        assert kernel.cause is not None
        assert kernel.cause.operator == "bob"
        latch = Home(home).latch_state()[0]
        assert latch is not None
        assert latch.operator == "bob"
    assert [halt["code"] for halt in of_kind(home, "halt")] == ["EXTERNAL", "OPERATOR"]
    sound(home)


def test_byte_alone_is_latched_by_the_next_heartbeat_but_one(home: Path) -> None:
    """If whoever zeroed the byte never writes the record, the kernel does."""
    with running(home) as kernel:
        kernel._sentinel.page.halt()  # type: ignore[union-attr]
        kernel.heartbeat()
        kernel.heartbeat()
        latch = Home(home).latch_state()[0]
        assert latch is not None
        assert latch.state == "HALTED"
    sound(home)


# -- Restarts --------------------------------------------------------------------------------------

ENGINE = """
import os, signal, sys
from tests.helpers import *
home, durability, point = sys.argv[1:4]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def halfway(permit):
    permit.redeem()
    print("sent b", flush=True)
    die()

if point == "attached":
    attach(home, durability=durability)
    die()
kernel = running(home, durability=durability)
venue = RecordingVenue()
assert kernel.submit(order("a", quantity="2"), venue.send)
kernel.on_accept("a", "v1")
kernel.on_fill(fill("a", "f1", quantity="0.5", price="99.5"))
if point == "beaten":
    kernel.heartbeat()
    die()
if point == "in-send":
    kernel.submit(order("b"), halfway)
if point == "halted":
    kernel.halt("pulled", operator="zoe")
    die()
if point == "after":
    kernel.submit(order("b"), venue.send)
    die()
"""


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("point", ["attached", "beaten", "in-send", "halted", "after"])
def test_restart_after_sigkill(home: Path, durability: str, point: str) -> None:
    """After kill -9 the home never comes back RUNNING; ids, orders, position are restored; the journal verifies."""
    with python(ENGINE, home, durability, point) as child:
        out, error = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, error
    left = b"".join(path.read_bytes() for path in segments(home / "journal" / "engine"))
    with attach(home) as kernel:
        assert kernel.mode is (Mode.HALTED if point == "halted" else Mode.IDLE)
        if point == "halted":
            assert kernel.cause is not None
            assert (kernel.cause.reason, kernel.cause.operator) == ("pulled", "zoe")
            assert not kernel.start()
        if point != "attached":
            assert kernel.position(NAME) == "0.5"
        working = {one.client_order_id for one in kernel.working_orders()}
        assert working == {"attached": set(), "in-send": {"a", "b"}, "after": {"a", "b"}}.get(point, {"a"})
        if point != "halted":
            assert kernel.start()
            kernel.consult(quote(kernel))
            again = [kernel.submit(order(name), RecordingVenue().send).reason for name in sorted(working)]
            assert again == [Reason.DUPLICATE_ID] * len(working)
    assert ("sent b" in out) is (point == "in-send")
    sidecars = sorted((home / "journal" / "engine").glob("*.torn-*"))
    (segment,) = segments(home / "journal" / "engine")
    for sidecar in sidecars:
        torn = sidecar.read_bytes()
        kept = left.rstrip(b"\0")
        assert kept.endswith(torn)
        assert segment.read_bytes().startswith(kept[: len(kept) - len(torn)])
    report = sound(home, Status.IN_DOUBT)
    doubts = {doubt.order for doubt in report.in_doubt}
    assert doubts <= ({"b"} if point in {"in-send", "after"} else set())
    assert point != "in-send" or doubts == {"b"}


def test_loss_survives_a_restart(home: Path) -> None:
    """A session's loss is restored, so that a restart does not pay for it."""
    tick_down = ("10", "10.5")
    with running(home) as kernel:
        kernel.submit(order("a", quantity="10"), RecordingVenue().send)
        kernel.on_fill(fill("a", "f1", quantity="10", price="100.5"))
        assert kernel.consult(quote(kernel, "50", "51"))
        (before,) = kernel._core.accounts()
        equity = before.equity
        kernel.heartbeat()
        abandon(kernel)
    with attach(home) as again:
        (after,) = again._core.accounts()
        assert after.opening == 0
        assert again.start()
        again.consult(quote(again, "50", "51"))
        assert after.equity == equity
        again.on_fill(fill("a", "f1", quantity="10", price="100.5"))  # seen before: it changes nothing
        assert again.position(NAME) == "10"
        again.consult(quote(again, *tick_down))
    sound(home)


def test_restart_after_a_halt_stays_halted(home: Path) -> None:
    """A halt outlives close and attach, any number of times, with its first cause and one record."""
    with running(home) as kernel:
        cause = kernel.halt("enough", operator="zoe").cause
    for _ in range(3):
        with attach(home) as again:
            assert again.mode is Mode.HALTED
            assert again.cause is not None
            assert (again.cause.reason, again.cause.operator, again.cause.code) == (cause.reason, "zoe", cause.code)
            assert not again.start()
    assert len(of_kind(home, "halt")) == 1
    sound(home)


@pytest.mark.parametrize("before", ["armed", "ran", "halted"])
def test_halt_and_reset_while_detached_are_recorded(home: Path, before: str) -> None:
    """A halt and reset made while nobody was attached stand in the journal, which then verifies."""
    with attach(home) as kernel:
        if before != "armed":
            kernel.start()
        if before == "halted":
            kernel.halt("x")
    halt_home(home)
    reset_home(home, 1)
    with running(home) as kernel:
        assert kernel.epoch == 2
        assert kernel.submit(order("a"), RecordingVenue().send)
    assert [kind for kind in kinds(home) if kind in {"halt", "reset"}] == ["halt", "reset"]
    sound(home)


def test_crash_between_run_and_reset_records(home: Path) -> None:
    """A crash after the run record and before the reset's record does not lose the reset."""
    running(home).close()
    halt_home(home)
    reset_home(home, 1)
    abandon(attach(home))
    (segment,) = segments(home / "journal" / "engine")
    lines = segment.read_bytes().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if b'"kind":"run"' in line)
    segment.write_bytes(b"".join(lines[: last + 1]))
    with running(home) as kernel:
        assert kernel.epoch == 2
    sound(home)


def test_two_months_in_one_run(home: Path) -> None:
    """The monotonic zero is moved when no permit is open, and the journal still verifies."""
    clock = FakeClock()
    with running(home, clock) as kernel:
        venue = SlowVenue()
        with sending(kernel, order("a"), venue):
            clock.advance((1 << 52) // MS + 1)
            kernel.heartbeat()
            assert of_kind(home, "rebase") == []
        kernel.heartbeat()
        kernel.consult(quote(kernel))
        assert kernel.submit(order("b"), venue.send)
        kernel.halt("x")
    assert len(of_kind(home, "rebase")) == 1
    sound(home)


# -- Forks, -O, types ------------------------------------------------------------------------------

FORK = """
import os, sys
from tests.helpers import *
kernel = running(sys.argv[1], durability=sys.argv[2])
venue = RecordingVenue()
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    said = [kernel.submit(order("child"), venue.send).reason, kernel.consult(quote(kernel)).reason]
    said.append(kernel.start().reason)
    assert kernel.cancel(cancel("x"), venue.cancel) == "gone x"
    kernel.heartbeat()
    kernel.close()
    assert not kernel.halt("x", timeout_s=0).confirmed if "halt" in sys.argv else True
    os.write(ready[1], " ".join([*said, kernel.mode, *venue.seen]).encode())
    os.read(go[0], 1)
    os._exit(0)
said = os.read(ready[0], 1000).decode()
kernel.heartbeat()
print(said)
print(kernel.mode, bool(kernel.submit(order("parent"), venue.send)), *venue.seen)
kernel.close()
again = attach(sys.argv[1])          # the child is alive, and holds no lock
print(again.mode, halt_home(sys.argv[1]).confirmed)
again.close()
os.write(go[1], b"x")
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("durability", DURABILITIES)
def test_forked_child_permits_nothing_and_holds_nothing(home: Path, durability: str) -> None:
    """A forked child refuses, writes nothing, halts nothing by itself, and keeps no lock from the parent."""
    lines = run_python(FORK, home, durability).splitlines()
    assert lines == ["HALTED HALTED HALTED HALTED", "RUNNING True parent", "IDLE True"]
    attach(home).close()
    sound(home)


def test_forked_child_may_halt(home: Path) -> None:
    """An explicit halt in a forked child stops the parent's home, unconfirmed."""
    lines = run_python(FORK, home, "process", "halt").splitlines()
    assert lines == ["HALTED HALTED HALTED HALTED", "HALTED False", "HALTED True"]
    attach(home).close()
    sound(home)


OPTIMISED = """
import sys
from tests.helpers import *
assert False, "asserts must be off here"
home = sys.argv[1]
venue = RecordingVenue()
said = []
idle = attach(home)
said.append(idle.submit(order("a"), venue.send).reason)
idle.close()
kernel = running(home)
said += [kernel.submit(order("b"), venue.send).reason, kernel.submit(order("b"), venue.send).reason]
said.append(kernel.submit(order("c", quantity="11"), venue.send).reason)
try:
    venue.permits[0].redeem()
except Exception as error:
    said.append(type(error).__name__)
try:
    kernel.reset(operator="x", reason="y", epoch=1)
except Exception as error:
    said.append(type(error).__name__)
kernel.halt("x")
said.append(kernel.submit(order("d"), venue.send).reason)
said.append(kernel.start().reason)
kernel.close()
(Home(home).latch).unlink()
absent = attach(home)
said += [absent.mode, absent.submit(order("e"), venue.send).reason]
absent.close()
print(" ".join(map(str, said + venue.seen)))
"""


def test_refusals_survive_python_o(home: Path) -> None:
    """With ``python -O`` the same things are refused."""
    said = run_python(OPTIMISED, home, flags=["-O"]).split()
    assert said == [
        *("NOT_RUNNING", "ACCEPTED", "DUPLICATE_ID", "MAX_QUANTITY", "PermitError", "HomeError", "HALTED", "HALTED"),
        *("HALTED", "HALTED", "b"),
    ]


TYPED = """
from interlock import Kernel, Order, Permit


class Gateway:
    def send(self, permit: Permit) -> str:
        order = permit.redeem()
        return order.client_order_id


def trade(kernel: Kernel, gateway: Gateway, order: Order) -> None:
    verdict = kernel.submit(order, gateway.send)
    if verdict:
        print(verdict.result)
"""
MISTYPED = {
    "an order for a permit": "    gateway.send(order)\n",
    "a send of orders": "    kernel.submit(order, lambda given: given.quantity)\n",
    "a made permit": "    permit: Permit = Permit(order)\n",
}


@pytest.mark.parametrize("wrong", [None, *MISTYPED])
def test_types_tell_an_order_from_a_permit(tmp_path: Path, wrong: str | None) -> None:
    """The documented use type-checks, and each way around the kernel does not."""
    file = tmp_path / "engine_under_types.py"
    file.write_text(TYPED + (MISTYPED[wrong] if wrong else ""))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [*command, str(file)],
        env={**os.environ, "MYPYPATH": str(KERNEL)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(file.name)]
    assert bool(told) is (wrong is not None), done.stdout + done.stderr


def test_reduce_only_sell(home: Path) -> None:
    """After a fill the exit of the position passes, and the same exit again is refused."""
    with running(home) as kernel:
        venue = RecordingVenue()
        kernel.submit(order("a"), venue.send)
        kernel.on_fill(fill("a", "f1"))
        assert kernel.submit(order("x", side=Side.SELL, reduce_only=True), venue.send)
        assert kernel.submit(order("y", side=Side.SELL, reduce_only=True), venue.send).reason is Reason.REDUCE_ONLY


class Says:
    """A reply that asks the kernel something when it is printed."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __str__(self) -> str:  # noqa: D105 - asks
        return f"position {self.kernel.position(NAME)}"


def test_reply_is_printed_outside_the_lock(home: Path) -> None:
    """A send's result and error may call the kernel when they are printed: that is not done under its lock."""

    class FailedError(Exception):
        def __str__(self) -> str:
            return str(said)

    with running(home) as kernel:
        said = Says(kernel)
        assert kernel.submit(order("a"), lambda permit: (permit.redeem(), said)[1]).outcome is Outcome.SENT

        def fails(permit: Permit) -> None:
            permit.redeem()
            raise FailedError

        assert kernel.submit(order("b"), fails).outcome is Outcome.UNKNOWN
    assert [one["result"] for one in of_kind(home, "sent")] == ["position 0"]
    sound(home, Status.IN_DOUBT)


def test_interrupt_in_the_journal_halts(home: Path) -> None:
    """A KeyboardInterrupt between a write and its count leaves nobody to know what stands there: so it halts."""
    with running(home) as kernel:
        venue = RecordingVenue()
        real = kernel._journal._sink

        class Interrupted:
            sync = staticmethod(real.sync)

            @staticmethod
            def write(data: bytes) -> None:
                real.write(data)
                raise KeyboardInterrupt

        kernel._journal._sink = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            kernel.submit(order("a"), venue.send)
        kernel._journal._sink = real
        assert kernel.submit(order("b"), venue.send).reason is Reason.HALTED
        assert kernel.mode is Mode.HALTED
        assert venue.seen == []
    with attach(home) as again:
        assert again.mode is Mode.HALTED
    sound(home, Status.IN_DOUBT)


@pytest.mark.parametrize("reason", [ValueError("x"), None, 7, "\ud800"])
def test_halt_takes_any_reason(home: Path, reason: object) -> None:
    """Whatever a caller has at hand in an emergency makes a durable and recorded halt."""
    with running(home) as kernel:
        report = kernel.halt(reason, timeout_s=float("inf"))  # type: ignore[arg-type] # that is the point
        assert (report.confirmed, report.durable, report.recorded) == (True, True, True)
    assert len(of_kind(home, "halt")) == 1
    sound(home)


def test_cancel_goes_first_when_a_disk_hangs(home: Path) -> None:
    """A cancel does not wait for a lock that a hung disk holds; it is recorded when that comes back."""
    with running(home, durability="disk") as kernel:
        venue = RecordingVenue()
        kernel.submit(order("a"), venue.send)
        with kernel._lock:  # as a heartbeat holds it while its fdatasync hangs
            said = []
            helper = threading.Thread(target=lambda: said.append(kernel.cancel(cancel("a"), venue.cancel)))
            helper.start()
            helper.join(30)
            assert said == ["gone a"]
        kernel.heartbeat()
    assert [one["id"] for one in of_kind(home, "cancel")] == ["a"]
    assert len(of_kind(home, "cancel_end")) == 1
    sound(home, Status.IN_DOUBT)


def test_order_that_the_venue_closed_before_its_send_is_void(home: Path) -> None:
    """An order that the venue calls over while it waits for the disk is not sent, and recorded void."""
    with running(home, durability="disk") as kernel:
        segment = gated(kernel)
        segment.go.clear()
        segment.waiting.clear()
        venue = RecordingVenue()
        verdicts: list[Verdict] = []
        helper = threading.Thread(target=lambda: verdicts.append(kernel.submit(order("a"), venue.send)))
        helper.start()
        assert segment.waiting.wait(30)
        kernel.on_cancelled("a", "unknown order")
        segment.go.set()
        helper.join(30)
        assert (verdicts[0].reason, verdicts[0].outcome, venue.seen) == (Reason.ORDER_CLOSED, Outcome.VOID, [])
        assert kernel.stop().stopped
    assert [one["code"] for one in of_kind(home, "void")] == ["ORDER_CLOSED"]
    sound(home)


def test_restart_pays_for_no_loss(home: Path) -> None:
    """A loss limit that was reached still refuses after a restart, although nothing is held and no tick has come."""
    with running(home) as kernel:
        kernel._core.accounts()[0].peak = 10**30
        account = kernel._core.accounts()[0]
        account.breached = account.assess()
        assert kernel.submit(order("a"), RecordingVenue().send).reason is Reason.DRAWDOWN
    with running(home) as again:
        assert again.submit(order("b"), RecordingVenue().send).reason is Reason.DRAWDOWN


def test_cancelled_wait_for_an_order_that_the_venue_closed_is_void(home: Path) -> None:
    """A submit cancelled while it waits for the disk, its order closed meanwhile, leaves one void and no doubt."""

    async def closed_and_cancelled(kernel: Kernel) -> None:
        segment = gated(kernel)
        segment.go.clear()
        segment.waiting.clear()
        submitting = asyncio.create_task(kernel.submit_async(order("a"), never))
        await asyncio.to_thread(segment.waiting.wait, 30)
        kernel.on_cancelled("a", "unknown order")
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        segment.go.set()

    async def never(permit: Permit) -> None:
        raise AssertionError(permit)

    with running(home, durability="disk") as kernel:
        asyncio.run(closed_and_cancelled(kernel))
        assert kernel.stop().stopped
    assert [one["code"] for one in of_kind(home, "void")] == ["ORDER_CLOSED"]
    sound(home)


def test_refused_starts_are_on_record(home: Path) -> None:
    """A start that was refused is a decision: the journal has the first of a reason in a row, and each doubling."""
    with attach(home) as kernel:
        halt_home(home)
        for _ in range(9):
            assert kernel.start().reason is Reason.HALTED
    reset_home(home, 1)
    with attach(home) as kernel:
        assert kernel.start()
        assert kernel.start().reason is Reason.NOT_RUNNING
    told = [one["detail"] for one in of_kind(home, "anomaly") if one["code"] == "START_REFUSED"]
    assert told == [
        *(f"HALTED, {count} in a row" for count in (1, 2, 4, 8)),
        "NOT_RUNNING (IDLE, RUNNING), 1 in a row",
    ]
    sound(home)
