"""Bugs that are put into the real kernel, breaker and journal, for the simulation to find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable  # noqa: TC003 - the table of bugs is typed with it
from typing import TYPE_CHECKING, Any, Final

import attrs

from interlock.breaker import files, latch, sentinel
from interlock.breaker.home import Home
from interlock.breaker.kill import Kill
from interlock.breaker.latch import ARMED, LatchError, read_latch
from interlock.breaker.lock import Pen
from interlock.breaker.page import MemoryPage
from interlock.breaker.quiescence import Hold
from interlock.breaker.segment import MappedSegment, Segment
from interlock.breaker.sentinel import Sentinel
from interlock.core.modes import ARMED as ARMED_BYTE
from interlock.journal.recovery import Recovery
from interlock.journal.writer import Journal
from interlock.kernel import facade
from interlock.kernel.gates import Gates
from interlock.kernel.venue import Venue

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from interlock import Order, Permit, Verdict


def no_last_look(patch: pytest.MonkeyPatch) -> None:
    """A send is announced, and begins whatever the byte says then."""
    real = Hold.begin

    def begin(self: Hold, number: int, now_ns: int) -> bool:
        page, self.page = self.page, bytes([ARMED_BYTE])
        try:
            return real(self, number, now_ns)
        finally:
            self.page = page

    patch.setattr(Hold, "begin", begin)


def look_before_announcing(patch: pytest.MonkeyPatch) -> None:
    """The last look is taken first, and the send announced then."""
    real = Hold.begin

    def begin(self: Hold, number: int, now_ns: int) -> bool:
        if self.page[0] != ARMED_BYTE:
            return False
        page, self.page = self.page, bytes([ARMED_BYTE])
        try:
            return real(self, number, now_ns)
        finally:
            self.page = page

    patch.setattr(Hold, "begin", begin)


def released_before_the_send(patch: pytest.MonkeyPatch) -> None:
    """A send is no more announced when it begins."""
    begin, end = Hold.begin, Hold.end

    def begun(self: Hold, number: int, now_ns: int) -> bool:
        if not begin(self, number, now_ns):
            return False
        end(self, number)
        return True

    def ended(self: Hold, number: int) -> None:
        if number in self.sending:
            end(self, number)

    patch.setattr(Hold, "begin", begun)
    patch.setattr(Hold, "end", ended)


def leaves_over_a_send(patch: pytest.MonkeyPatch) -> None:
    """An engine lets go of the running lock although a send goes on, and nobody looks whether it shows one."""
    patch.setattr(Kill, "waiting", lambda *_, **__: ())
    real = Hold.leave

    def leave(self: Hold) -> bool:
        sending, self.sending = self.sending, {}
        try:
            return real(self)
        finally:
            self.sending = sending | self.sending

    patch.setattr(Hold, "leave", leave)


def acks_without_waiting(patch: pytest.MonkeyPatch) -> None:
    """A killer does not wait for the running lock."""
    patch.setattr(Kill, "wait_quiet", lambda *_: True)


def restart_clears_the_latch(patch: pytest.MonkeyPatch) -> None:
    """Who attaches arms the record again."""
    real = facade.open_home

    def open_home(path: Path, *given: Any, **named: Any) -> object:
        home = Home(path)
        with contextlib.suppress(LatchError, OSError):
            found = read_latch(home.latch)[0]
            if found.state != ARMED:
                latch.write_latch(home.latch, attrs.evolve(found, state=ARMED))
        return real(path, *given, **named)

    patch.setattr(facade, "open_home", open_home)


def start_believes_the_byte(patch: pytest.MonkeyPatch) -> None:
    """A halt's mark is not compared: who looks later believes a byte that a reset set over a halt."""
    patch.setattr(MemoryPage, "armed", property(lambda self: self.map[0] == ARMED_BYTE))


def send_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """The journal is not synced before a send."""
    for kind in (Segment, MappedSegment):
        patch.setattr(kind, "sync", lambda _: None)


def sync_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    """A sync that failed is tried once more, and believed then."""
    real = Segment.sync

    def sync(self: Segment) -> None:
        try:
            real(self)
        except OSError:
            real(self)

    patch.setattr(Segment, "sync", sync)


def names_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The directory is not synced after the latch was renamed over the old one."""
    real = files.write_durably

    def write_latch(path: Path, record: latch.Latch) -> None:
        fsync, where = files.os.fsync, files.os
        count = []

        class Once:
            def __getattr__(self, name: str) -> Any:
                return getattr(where, name)

            def fsync(self, descriptor: int) -> None:
                count.append(descriptor)
                if len(count) == 1:
                    fsync(descriptor)

        files.os = Once()  # type: ignore[assignment]
        try:
            real(path, record.encode())
        finally:
            files.os = where

    patch.setattr(sentinel, "write_latch", write_latch)
    patch.setattr("interlock.breaker.kill.write_latch", write_latch)


def bytes_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The latch is renamed over the old one without a sync of its bytes."""

    def write_latch(path: Path, record: latch.Latch) -> None:
        where = files.os
        temporary = path.with_name(".latch.new")
        descriptor = where.open(temporary, where.O_WRONLY | where.O_CREAT, 0o600)
        where.write(descriptor, record.encode())
        where.close(descriptor)
        where.rename(temporary, path)
        files.sync_directory(path.parent)

    patch.setattr(sentinel, "write_latch", write_latch)
    patch.setattr("interlock.breaker.kill.write_latch", write_latch)


def named_is_durable(patch: pytest.MonkeyPatch) -> None:
    """A record that another has named, and perhaps not synced, is said to be durable."""
    patch.setattr(Kill, "_settle", lambda *_: None)
    patch.setattr(Sentinel, "_lasts", lambda _: True)


def no_pen(patch: pytest.MonkeyPatch) -> None:
    """Whoever wants to replace the record does so, whoever else is just doing it."""
    patch.setattr(Pen, "shared", lambda *_: True)
    patch.setattr(Pen, "exclusive", lambda *_: True)


def torn_end_is_accepted(patch: pytest.MonkeyPatch) -> None:
    """Recovery goes on behind what a crash tore, as if it were whole."""
    patch.setattr("interlock.attach._salvage", lambda _, path: (path, None))


def tail_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Recovery cuts off the records that no seal closes, and carries none over."""
    real = Recovery.scan

    def scan(self: Recovery, chunks: Any) -> None:
        real(self, chunks)
        if self.tail:
            self.torn = True
            self.tail.clear()

    patch.setattr(Recovery, "scan", scan)


def permit_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A send that raised is tried once more with the same permit."""
    real = Gates.submit

    def submit(self: Gates, order: Order, send: Callable[[Permit], object]) -> Verdict:
        def twice(permit: Permit) -> object:
            try:
                return send(permit)
            except Exception:  # noqa: BLE001 - that is the bug
                return send(permit)

        return real(self, order, twice)

    patch.setattr(Gates, "submit", submit)


def cancels_are_refused_when_halted(patch: pytest.MonkeyPatch) -> None:
    """A halt stops cancels, too."""
    real = Venue.cancel

    def cancel(self: Venue, *given: Any) -> Any:
        return real(self, *given) if self._hold.page[0] == ARMED_BYTE else None

    patch.setattr(Venue, "cancel", cancel)


def cancels_wait_for_the_lock(patch: pytest.MonkeyPatch) -> None:
    """A cancel waits for whoever holds the lock, and so for a disk that hangs."""
    real = Venue.cancel

    def cancel(self: Venue, *given: Any) -> Any:
        with self._lock:
            pass
        return real(self, *given)

    patch.setattr(Venue, "cancel", cancel)


def absence_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    """The heartbeat does not see that latch or page are gone."""
    real = Sentinel._look

    def look(self: Sentinel, epoch: int, *, may_adopt: bool) -> Any:
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, self, "latch_stat", self.latch_stat)
            seen = real(self, epoch, may_adopt=may_adopt)
            return None if isinstance(seen, sentinel.Fault) else (stack.pop_all(), seen)[1]

    patch.setattr(Sentinel, "_look", look)


def halt_takes_the_lock_first(patch: pytest.MonkeyPatch) -> None:
    """A halt waits for the kernel's lock before it stops emission."""
    real = facade.Kernel._stop_emission

    def stop(self: facade.Kernel) -> None:
        if not self._asking:
            real(self)
            return
        with self._lock:
            real(self)

    patch.setattr(facade.Kernel, "_stop_emission", stop)


def broken_journal_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A journal that could not be synced is written on, and orders are sent."""

    def sync(self: Journal) -> None:
        with contextlib.suppress(OSError):
            self._sink.sync()

    patch.setattr(Journal, "sync", sync)


@attrs.frozen
class Bug:
    """What a bug does.

    Attributes:
        breaks: the promises that it breaks, any of which may show it first.
        seed: where the search begins.
    """

    breaks: frozenset[str]
    seed: int = 0


def _breaks(*promises: str, seed: int = 0) -> Bug:
    return Bug(frozenset(promises), seed)


BUGS: Final[dict[Callable[[Any], None], Bug]] = {
    no_last_look: _breaks("NoEmitAfterHalt", "AckMeansQuiescent"),
    look_before_announcing: _breaks("NoEmitAfterHalt", "AckMeansQuiescent"),
    released_before_the_send: _breaks("NoEmitAfterHalt", "AckMeansQuiescent"),
    leaves_over_a_send: _breaks("AckMeansQuiescent", seed=28),
    acks_without_waiting: _breaks("AckMeansQuiescent", seed=6),
    restart_clears_the_latch: _breaks("HaltIsLatching"),
    start_believes_the_byte: _breaks("HaltIsLatching"),
    no_pen: _breaks("HaltIsLatching", seed=9),
    absence_is_overlooked: _breaks("AbsenceMeansHalted", seed=44),
    send_before_the_sync: _breaks("JournalBeforeEmit", seed=1),
    sync_is_tried_again: _breaks("JournalBeforeEmit", seed=50),
    broken_journal_goes_on: _breaks("JournalBeforeEmit", seed=2),
    torn_end_is_accepted: _breaks("JournalBeforeEmit", "Verifies", seed=1),
    tail_is_forgotten: _breaks("JournalBeforeEmit", "OnePermitOneSend", "Verifies", seed=1),
    names_are_not_synced: _breaks("DurableIsHonest"),
    bytes_are_not_synced: _breaks("DurableIsHonest"),
    named_is_durable: _breaks("DurableIsHonest", "HaltIsLatching", seed=4),
    permit_is_sent_again: _breaks("NoEmitAfterHalt", "OnePermitOneSend"),
    cancels_are_refused_when_halted: _breaks("CancelsAlwaysPass"),
    cancels_wait_for_the_lock: _breaks("CancelsAlwaysPass"),
    halt_takes_the_lock_first: _breaks("HaltNeverWaits"),
}
"""What is put in, and what that breaks."""

RARE: Final = (start_believes_the_byte, cancels_wait_for_the_lock, halt_takes_the_lock_first)
"""Those that need an unlikely meeting: a reset that dies between two bytes, somebody in the midst of a long freeze."""
