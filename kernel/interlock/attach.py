"""Opening a home: every file that an engine holds on to, and what they together say.

The journal is read from its first line: its tree is rebuilt, its ledger restored, its torn end set aside. Then
three witnesses are compared: the latch record, the page byte, and the mode that the journal ends in. Only
when all of them say *armed, in this epoch* does the kernel come up IDLE. In every other case it comes up
HALTED, with the reason: that is a kernel, too, because cancels must pass.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.files import sync_directory
from interlock.breaker.grounds import check, probe
from interlock.breaker.home import Home, HomeError
from interlock.breaker.latch import Latch, LatchError, read_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.memory import require_memory, whole
from interlock.breaker.page import Page
from interlock.breaker.quiescence import DEAD, Hold
from interlock.breaker.roster import Berth, look
from interlock.breaker.segment import (
    MappedSegment,
    Segment,
    carried,
    cut,
    interrupted,
    lines,
    put_back,
    segment_name,
    segments,
    set_aside,
    trim,
)
from interlock.breaker.sentinel import Sentinel
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode
from interlock.core.restore import Restorer
from interlock.journal.recovery import Recovery
from interlock.journal.writer import Journal

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
_all__ = ["Attachment", "Salvage", "Told", "contradiction", "open_home"]


_BUSY_S: Final = 0.25


@attrs.frozen(kw_only=True)
class Salvage:
    """What recovery set aside.

    Attributes:
        sealed: leaves up to the last valid seal, and its tree's root.
        torn_file: name of the sidecar.
        torn: its bytes.
        records: what was whole in it.
    """

    sealed: int
    root: str
    torn_file: str
    torn: bytes
    records: tuple[dict[str, object], ...]


@attrs.define
class Told:
    """What a journal says about modes, by its last words.

    Attributes:
        records: how many there are.
        halted: whether the last word is a halt.
        epoch: the latest that it tells the beginning or the end of.
        highest: the latest that it names at all.
    """

    records: int = 0
    halted: bool = False
    epoch: int = 0
    highest: int = 0

    def visit(self, record: Mapping[str, object]) -> None:
        """Follow one record."""
        self.records += 1
        kind = record["kind"]
        if kind == "salvage":
            inner = record["record"]
            if isinstance(inner, dict):
                self.visit(inner)
        elif kind == "halt":
            self.halted = True
        elif kind == "reset":
            self.halted = False
        epoch = record.get("epoch")
        if kind in {"arm", "start", "halt", "reset", "run"} and isinstance(epoch, int):
            self.highest = max(self.highest, epoch)
            if kind != "run":  # which names the latch's epoch before the reset to it is written
                self.epoch = max(self.epoch, epoch)


@attrs.define(kw_only=True)
class Attachment:
    """An opened home.

    Attributes:
        sentinel: the hold on its files.
        limits_sha256: of the limits file.
        errors_in_a_row: of the limits.
        remember: how many order ids are remembered at least.
        core: restored, IDLE or HALTED.
        journal: ready to be appended to.
        fault: why it came up HALTED although no HALTED record says so, or None.
        told: what the journal's last words were.
        salvage: what recovery set aside, or None.
    """

    sentinel: Sentinel
    limits_sha256: str
    errors_in_a_row: int
    remember: int
    core: Core
    journal: Journal
    fault: tuple[HaltCode, str] | None
    told: Told
    salvage: Salvage | None


def open_home(  # noqa: C901 - one step after the other, each with its own way out
    path: str | os.PathLike[str], engine: str, *, mapped: bool = False
) -> Attachment:
    """Open a home for one engine.

    Args:
        path: the home.
        engine: its name.
        mapped: write the journal through a mapping, for durability ``process``.

    Raises:
        HomeError: there is no home, its journal can't be opened, or another process is attached under that name.
        LimitsError: its limits are missing or wrong.
    """
    home = Home(path)
    home.require()
    limits, digest = home.read_limits()
    check(home.path, engine=engine)
    _remembers(home)
    berth = _berth(home, engine)
    held: list[Berth | FileLock] = [berth]
    try:
        running = FileLock(home.lock)
        held.append(running)
        latch, latch_stat, page, fault = _witnesses(home, running)
        begun = page is not None and page.begun  # before the journals are looked for: another engine may just begin one
        core = Core(limits, latch.epoch if latch else 1, Mode.HALTED)
        restorer, told = Restorer(core), Told()

        def visit(record: Mapping[str, object]) -> None:
            told.visit(record)
            restorer.play(record)

        recovery = Recovery(visit=visit)
        known = home.streams()
        last, opened, writer = _claim(home, engine)
        held.append(writer)
        probe(home.engines / engine)
        check(home.path, engine=engine)  # once more, with what was made since
        _mend(opened)
        for name in opened:
            if not recovery.begin(int(name.stem)):
                set_aside(name)
                continue
            last = name
            for line in lines(name):
                recovery.feed(line)
        salvage = _salvage(recovery, last)
        if told.records == 0 and (berth.begun or (begun and not known)):
            fault = fault or (HaltCode.JOURNAL_FAILED, f"{last.parent}: the journal is gone")
        holes = restorer.finish()
        against = contradiction(latch, told, holes, recovery)
        if against is not None and (fault is None or fault[0] is HaltCode.EXTERNAL):
            fault = against  # which says more than that the page says halt
        if latch is None or latch.epoch < told.highest:  # an epoch is never used twice
            core.epoch = max(told.highest, 1)
        if fault is None and latch is not None and latch.state == latches.ARMED:
            core.mode = Mode.IDLE
        segment = MappedSegment(last) if mapped else Segment(last)
        return Attachment(
            sentinel=Sentinel(
                home=home,
                identity=latch.home if latch else home.identity(),
                page=page,
                latch=latch,
                latch_stat=latch_stat,
                running=running,
                writer=writer,
                berth=berth,
                hold=Hold(page.map if page else DEAD, running, berth.slots),
                segment=segment,
            ),
            limits_sha256=digest,
            errors_in_a_row=limits.errors_in_a_row,
            remember=limits.gate2.remember_ids if limits.gate2 else 0,
            core=core,
            journal=Journal(segment, recovery.tree),
            fault=fault,
            told=told,
            salvage=salvage,
        )
    except OSError as error:
        _close(held)
        message = f"{home.path}: the journal cannot be opened, so nothing is permitted: {error}"
        raise HomeError(HaltCode.JOURNAL_FAILED, message) from error
    except BaseException:
        _close(held)
        raise


def _close(held: list[Berth | FileLock]) -> None:
    for lock in held:
        lock.close()


def _remembers(home: Home) -> None:
    """See that the machine has a memory disk, on which a halt needs no other.

    Raises:
        HomeError: it hasn't, or what it has can't be used.
    """
    try:
        require_memory(home.path)
    except OSError as error:
        message = f"{whole(error)}: engines need a memory disk that nobody can exchange, so nothing is permitted"
        raise HomeError(HaltCode.HOME_UNREADABLE, message) from error


def _berth(home: Home, engine: str) -> Berth:
    """Our place in the roster.

    Raises:
        HomeError: another process has it, or it can't be had.
    """
    try:
        home.engines.mkdir(mode=0o700, exist_ok=True)
        return Berth(home.engines, engine, home.identity())
    except BlockingIOError as error:
        other = look(home.engines, engine)
        who = f" (pid {other.pid}, operator {other.operator})" if other is not None and other.pid else ""
        message = f"{home.path}: engine {engine!r} is attached already{who}; each process needs a name of its own"
        raise HomeError(HaltCode.EXTERNAL, message) from error
    except OSError as error:
        message = f"{home.engines / engine}: cannot be opened, so nothing is permitted: {whole(error)}"
        raise HomeError(HaltCode.HOME_UNREADABLE, message) from error


def _claim(home: Home, engine: str) -> tuple[Path, list[Path], FileLock]:
    """The journal's open end, all its segments, and a lock on that very file: a journal has one writer.

    Raises:
        HomeError: another process writes to it.
        OSError: it can't be made or opened.
    """
    stream = home.stream(engine)
    if not stream.is_dir():
        stream.mkdir(mode=0o700)
        sync_directory(home.journal)
    opened = segments(stream)
    last = opened[-1] if opened else stream / segment_name(0)
    if not opened:
        Segment(last).close()
    writer = FileLock(last)
    if not writer.exclusive():
        writer.close()
        message = f"{last}: another process writes to it"
        raise HomeError(HaltCode.JOURNAL_FAILED, message)
    return last, opened, writer


def _witnesses(
    home: Home, lock: FileLock
) -> tuple[Latch | None, os.stat_result | None, Page | None, tuple[HaltCode, str] | None]:
    """Latch and page, and what is wrong with them; before or after a reset, which holds the lock, not between."""
    looking = lock.shared(_BUSY_S)
    try:
        return _looked(home, looking=looking)
    finally:
        if looking:
            lock.release()


def _looked(
    home: Home, *, looking: bool
) -> tuple[Latch | None, os.stat_result | None, Page | None, tuple[HaltCode, str] | None]:
    latch: Latch | None = None
    found: os.stat_result | None = None
    page: Page | None = None
    fault: tuple[HaltCode, str] | None = None
    try:
        latch, found = read_latch(home.latch)
    except LatchError as error:
        fault = (error.code, str(error))
    armed = latch is not None and latch.state == latches.ARMED
    try:
        page = Page(home.page, latch.home if latch else home.identity(), armed=armed)
    except LatchError as error:
        fault = fault or (error.code, str(error))
    if page is not None and looking:
        with contextlib.suppress(OSError):
            page.rejoin()
    if fault is None and armed and page is not None and not page.armed:
        fault = (HaltCode.EXTERNAL, f"{home.page}: the page says halt")
    if page is not None and (fault is not None or not armed):
        if page.map[0] == ARMED:
            page.halt()
        with contextlib.suppress(OSError):  # then it says so in memory alone, and is tried again
            page.mirror()
    return latch, found, page, fault


def contradiction(latch: Latch | None, told: Told, holes: list[str], recovery: Recovery) -> tuple[HaltCode, str] | None:
    """What the journal has against an armed latch."""
    if recovery.damaged:
        return HaltCode.JOURNAL_FAILED, "the journal is damaged before its end; see `interlock verify`"
    if holes:
        return HaltCode.LIMITS_INVALID, f"the journal has orders that the limits do not know: {holes[0]}"
    if latch is None:
        return None
    if latch.epoch < told.highest:
        return HaltCode.LATCH_REPLACED, f"the latch is of epoch {latch.epoch}, the journal of {told.highest}"
    if latch.state == latches.ARMED and told.halted and latch.epoch == told.epoch:
        return HaltCode.LATCH_REPLACED, f"the latch is armed in epoch {latch.epoch}, which the journal saw halted"
    return None


def _mend(opened: list[Path]) -> None:
    """Cut off unused room, and put back what a recovery had cut off that never came to its seal.

    The orders in that must not be forgotten.
    """
    if not opened:
        return
    trim(opened[-1])
    path = opened[0]
    for sidecar, torn in interrupted(path):
        named: list[object] = []

        def visit(record: Mapping[str, object], named: list[object] = named) -> None:
            named.append(record.get("torn_sha256"))

        scan = Recovery(visit=visit)
        for line in lines(path):
            scan.feed(line)
        if sha256(torn).hexdigest() not in named[: len(named) - len(scan.tail)]:  # not in a sealed recovery
            put_back(path, scan.sealed_bytes, torn)
        carried(sidecar)


def _salvage(recovery: Recovery, path: Path) -> Salvage | None:
    """Move what follows the last valid seal out of the way."""
    if not path.exists() or path.stat().st_size == recovery.sealed_bytes:
        return None
    sidecar, torn = cut(path, recovery.sealed_bytes)
    return Salvage(
        sealed=recovery.tree.size,
        root=recovery.tree.root(),
        torn_file=sidecar.name,
        torn=torn,
        records=tuple(recovery.tail),
    )
