"""The promises, watched from outside: what the venue saw, what halts and resets said, and what would be left.

The watcher knows more than anybody could: each look at the byte, each announcement, every state of the disk. It
is part of no process, and nothing that it does is a point, so it changes no run.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.latch import Latch, LatchError, decode
from interlock.core.modes import ARMED, Mode
from interlock.testing.simulation.disk import File
from interlock.testing.simulation.journals import Journals, Sent
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock import HaltReport, Kernel, Permit
    from interlock.breaker.quiet import Quiet
    from interlock.testing.simulation.disk import Node
    from interlock.testing.simulation.scheduler import Scheduler
    from interlock.testing.simulation.system import System
    from interlock.testing.simulation.tasks import Process

__all__ = ["PROMISES", "Broken", "Promises"]

PROMISES: Final = (
    "AbsenceMeansHalted",
    "AckMeansQuiescent",
    "CancelsAlwaysPass",
    "DurableIsHonest",
    "HaltIsLatching",
    "HaltNeverWaits",
    "JournalBeforeEmit",
    "NoCrash",
    "NoDeadlock",
    "NoEmitAfterHalt",
    "OnePermitOneSend",
    "Verifies",
)
"""What is watched. The last but one of `NoCrash` and `NoDeadlock` are none of the product's: no thread may die of an
exception, nor all wait for one another. `Verifies`: the independent verifier never says TAMPERED."""

_MS: Final = 1_000_000
_HALT_NS: Final = 250 * _MS
_CANCEL_NS: Final = 3_000 * _MS
_SLOTS: Final = range(1024, 1024 + 16 * 64, 16)


@attrs.define
class Call:
    """A halt that is under way, as it began."""

    began_step: int
    began_ns: int
    resets: int
    pauses: int
    epoch: int | None
    clear: bool


class Promises:
    """What was promised, and by whom.

    Args:
        scheduler: of the run.
        system: of its machine.

    Attributes:
        sends: what the venue saw and the journals must know.
        counts: how often each thing was seen, for the report.
    """

    def __init__(self, scheduler: Scheduler, system: System) -> None:
        self._scheduler = scheduler
        self._journals = Journals(system)
        self.sends: list[Sent] = []
        self.counts: dict[str, int] = {}
        self._ids: set[str] = set()
        self._permits: set[tuple[str, int]] = set()
        self._inside: dict[int, tuple[Process, Sent]] = {}
        self._halted: dict[int, int] = {}
        self._acked: set[int] = set()
        self._durably: set[int] = set()
        self._resets = self._resetting = 0
        self._absent = -1
        self._zeroed: dict[int, int] = {}
        self._highest = self._firm = 1
        self._used = 0
        system.renamed = self._renamed

    def _fail(self, promise: str, said: str) -> NoReturn:
        self._scheduler.fail(promise, said)

    def count(self, what: str) -> None:
        """Something happened."""
        self.counts[what] = self.counts.get(what, 0) + 1

    @property
    def highest(self) -> int:
        """The highest epoch that was ever in the record."""
        return self._highest

    # -- Memory ----------------------------------------------------------------------------------------

    def looked(self, file: File, at: int, value: int) -> None:
        """See `Watcher`: a look at the byte."""
        task = self._scheduler.current
        if at == 0 and task is not None and not file.device.lasting:
            task.looked, task.saw = self._scheduler.steps, value

    def wrote(self, file: File, at: int, data: bytes) -> None:
        """See `Watcher`: an announcement, or the byte."""
        task = self._scheduler.current
        if task is None or file.device.lasting:
            return
        if at in _SLOTS and any(data):
            task.announced = self._scheduler.steps
        elif at == 0 and data == b"\0":
            self._zeroed.setdefault(task.number, self._scheduler.now_ns)

    # -- Sends -----------------------------------------------------------------------------------------

    def entering(self, engine: str, permit: Permit, order: str, *, disk: bool) -> None:
        """A send function was called: the first byte may leave."""
        task = self._scheduler.me()
        sent = Sent(engine=engine, permit=permit.number, order=order, epoch=permit.epoch, disk=disk)
        announced, looked = task.announced, task.looked
        task.announced = task.looked = -1
        who = f"{task.name}: order {order}, permit {permit.number} of epoch {permit.epoch}"
        if not 0 <= announced < looked or task.saw != ARMED:
            self._fail("NoEmitAfterHalt", f"{who}: sent without a last look that saw it armed, after its announcement")
        if permit.epoch in self._acked:
            self._fail("AckMeansQuiescent", f"{who}: sent after a halt of that epoch was confirmed")
        if self._halted.get(permit.epoch, looked) < looked:
            self._fail("NoEmitAfterHalt", f"{who}: sent after a halt of that epoch had returned")
        if (engine, permit.number) in self._permits:
            self._fail("OnePermitOneSend", f"{who}: that permit was sent before")
        if order in self._ids:
            self._fail("OnePermitOneSend", f"{who}: that order was sent before")
        if not self._journals.written(sent):
            where = "on the disk" if disk else "in the file"
            self._fail("JournalBeforeEmit", f"{who}: sent before its permit was {where}")
        self._permits.add((engine, permit.number))
        self._ids.add(order)
        self.sends.append(sent)
        self._inside[task.number] = task.process, sent
        self.count("sends")

    def leaving(self) -> None:
        """A send function returns or raises."""
        task = self._scheduler.current
        if task is not None:
            self._inside.pop(task.number, None)

    # -- Halts -----------------------------------------------------------------------------------------

    def halting(self) -> Call:
        """A halt begins."""
        task = self._scheduler.me()
        self._zeroed.pop(task.number, None)
        latch = self._latch()
        return Call(
            self._scheduler.steps,
            self._scheduler.now_ns,
            self._resets,
            task.process.pauses,
            latch.epoch if latch else None,
            self._resetting == 0,
        )

    def halted(self, call: Call, report: HaltReport | Quiet, *, own: bool) -> None:
        """A halt has returned, with what it says."""
        task = self._scheduler.me()
        self.count("halts")
        zeroed = self._zeroed.pop(task.number, None)
        if own and zeroed is None:
            self._fail("HaltNeverWaits", f"{task.name}: a halt returned that had not set the byte")
        if zeroed is not None and zeroed - call.began_ns > _HALT_NS and task.process.pauses == call.pauses:
            self._fail("HaltNeverWaits", f"{task.name}: the byte was set {(zeroed - call.began_ns) / 1e6:.3f} ms late")
        clear = call.clear and self._resets == call.resets
        if not clear:
            self.count("halts beside resets")
            return
        if report.confirmed:
            self._confirmed(call)
        if report.durable:
            self._said_durable(call)
        if call.epoch is not None and (own or getattr(report, "stopped", False)):
            self._halted.setdefault(call.epoch, self._scheduler.steps)

    def _confirmed(self, call: Call) -> None:
        self.count("halts confirmed")
        for process, sent in self._inside.values():
            if not process.dead:
                self._fail("AckMeansQuiescent", f"confirmed while {process.name} is inside the send of {sent.order}")
        if call.epoch is not None:
            self._acked.add(call.epoch)

    def _said_durable(self, call: Call) -> None:
        """None of what may be left if the power goes now says that it is armed."""
        self.count("halts durable")
        now = self._latch()
        for entries in self._journals.home().survivors():
            node = entries.get("latch.json")
            left = _decoded(node.durable) if isinstance(node, File) else None
            unsure = isinstance(node, File) and node.changes
            if left is not None and left.state == latches.ARMED:
                self._fail("DurableIsHonest", f"said to be durable, and a power cut may leave epoch {left.epoch} armed")
            if now is not None and now.state == latches.HALTED and (left is None or unsure):
                self._fail("DurableIsHonest", "said to be durable, and a power cut may leave no record of it")
        if call.epoch is not None:
            self._durably.add(call.epoch)

    def stands(self) -> bool:
        """Whether the record says anything but armed."""
        latch = self._latch()
        return latch is None or latch.state != latches.ARMED

    def _latch(self) -> Latch | None:
        """The record as anybody would read it now."""
        try:
            node = self._journals.home().entries.get("latch.json")
        except OSError:
            return None
        return _decoded(node.data) if isinstance(node, File) else None

    # -- Resets and starts -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def resetting(self) -> Iterator[None]:
        """A reset is under way."""
        task = self._scheduler.me()
        self._resets += 1
        self._resetting += 1
        was, task.role = task.role, "reset"
        self._absent = -1
        try:
            yield
        finally:
            self._resets += 1
            self._resetting -= 1
            self._absent = -1
            task.role = was

    def _renamed(self, name: str, node: Node, before: Node | None) -> None:
        """A file got its name: is it the latch?"""
        task = self._scheduler.current
        if name != "latch.json" or task is None or not isinstance(node, File) or task.role == "arm":
            return
        latch = _decoded(node.data)
        if latch is None:
            self._fail("HaltIsLatching", f"{task.name}: the latch was replaced by what is no record")
        known = isinstance(before, File) and _decoded(before.data) is not None
        floor = self._highest if known else self._used  # an epoch that nobody started in may come again
        armed = latch.state == latches.ARMED
        if armed and task.role != "reset":
            self._fail("HaltIsLatching", f"{task.name}: armed in epoch {latch.epoch}, and not by a reset")
        if latch.epoch < floor + armed:
            self._fail("HaltIsLatching", f"{task.name}: {latch.state} in epoch {latch.epoch}, after epoch {floor}")
        self._highest = latch.epoch
        if not known:
            self._firm = min(self._firm, latch.epoch)
            self._forget(latch.epoch - armed)

    def _forget(self, epoch: int) -> None:
        """All later epochs begin anew."""
        self._halted = {one: step for one, step in self._halted.items() if one <= epoch}
        self._acked = {one for one in self._acked if one <= epoch}
        self._durably = {one for one in self._durably if one <= epoch}

    def reset(self) -> None:
        """A reset has succeeded: its epoch outlives the power."""
        self.count("resets")
        self._firm = self._highest

    def started(self, kernel: Kernel, began: int, *, disk: bool) -> None:
        """A start has succeeded."""
        self.count("starts")
        epoch = kernel.epoch
        self._firm = max(self._firm, epoch)
        if disk:  # else a power cut may take from the journal what tells of it
            self._used = max(self._used, epoch)
        if self._halted.get(epoch, began) < began:
            self._fail("HaltIsLatching", f"{kernel.run}: started in epoch {epoch}, which was halted")
        if 0 <= self._absent < began:
            self._fail("AbsenceMeansHalted", f"{kernel.run}: started without a valid latch and page")

    def beaten(self, kernel: Kernel, began: int) -> None:
        """A heartbeat has returned."""
        if 0 <= self._absent < began and kernel.mode is not Mode.HALTED:
            self._fail("AbsenceMeansHalted", f"{kernel.run}: {kernel.mode} after a heartbeat without latch and page")

    def absent(self) -> None:
        """Latch or page is gone, or makes no sense any more; a reset that is under way may just mend it."""
        if not self._resetting:
            self._absent = self._scheduler.steps

    # -- Cancels ---------------------------------------------------------------------------------------

    def cancelled(self, began_ns: int, pauses: int, reached_ns: int | None) -> None:
        """A cancel has returned."""
        self.count("cancels")
        task = self._scheduler.me()
        if reached_ns is None:
            self._fail("CancelsAlwaysPass", f"{task.name}: a cancel did not reach the venue")
        if reached_ns - began_ns > _CANCEL_NS and task.process.pauses == pauses:
            self._fail("CancelsAlwaysPass", f"{task.name}: a cancel took {(reached_ns - began_ns) / 1e9:.3f} s")

    # -- The power, and the end ------------------------------------------------------------------------

    def power_cut(self) -> None:
        """The power went, and the disk is what it was left as: what was promised of it must be there."""
        self.count("power cuts")
        self._inside.clear()
        lost = [sent for sent in self.sends if not sent.disk]
        self._ids -= {sent.order for sent in lost}
        self._permits.clear()  # a journal without durability on disk may give numbers again
        self.sends = [sent for sent in self.sends if sent.disk]
        self._halted = {epoch: step for epoch, step in self._halted.items() if epoch in self._durably}
        self._acked &= self._durably
        latch = self._latch()
        if latch is not None and "page" in self._journals.home().entries:  # what had been done to them had not lasted
            self._absent = -1
        self._highest = max(self._firm, latch.epoch) if latch else self._used
        self.journals_know()

    def journals_know(self) -> None:
        """Every order that the venue saw has its permit in the journal."""
        for engine in sorted({sent.engine for sent in self.sends}):
            if self._journals.lost(engine):  # the disk broke its word: nobody can keep this one then
                self.count("journals on a disk that lied")
                self._used = 0  # of which nothing may be left, if the latch is lost, too
                self._ids -= {sent.order for sent in self.sends if sent.engine == engine}
                self.sends = [sent for sent in self.sends if sent.engine != engine]
        sent = self._journals.forgot(self.sends)
        if sent is not None:
            self._broken("JournalBeforeEmit", f"{sent.engine} has no permit {sent.permit} of {sent.order}, sent")

    def _broken(self, promise: str, said: str) -> None:
        if self._scheduler.current is None:
            raise Broken(promise, said)
        self._fail(promise, said)

    def verify(self) -> dict[str, str]:
        """What the verifier says of each journal; for who drives the run.

        Raises:
            Broken: one was tampered with, it says.
        """
        self.journals_know()
        said = {}
        for engine, report in self._journals.reports():
            said[engine] = report.verdict
            if report.status is Status.TAMPERED and not self._journals.lost(engine):
                findings = "; ".join(map(str, report.findings))
                raise Broken("Verifies", f"{engine}: {report.verdict}: {findings[:600]}")
        return said


class Broken(Exception):  # noqa: N818 - it is a verdict
    """A promise was broken, as seen by who drives the run."""

    def __init__(self, promise: str, said: str) -> None:
        super().__init__(f"{promise}: {said}")
        self.promise = promise
        self.said = said


def _decoded(data: bytes | bytearray) -> Latch | None:
    try:
        return decode(bytes(data), "the latch")
    except LatchError:
        return None
