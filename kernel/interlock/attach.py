"""Opening a home: every file that an engine holds on to, and what they together say.

The journal is read from its first line: its tree is rebuilt, its ledger restored, its torn end set aside. (Records that
a later ``ledger`` stands for are hashed and not played.) Then
three witnesses are compared: the latch record, the page byte, and the mode that the journal ends in. Only
when all of them say *armed, in this epoch* does the kernel come up IDLE. In every other case it comes up
HALTED, with the reason: that is a kernel, too, because cancels must pass.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING, Final, cast

import attrs

from interlock.breaker import latch as latches
from interlock.breaker.files import sync_directory
from interlock.breaker.grounds import check, probe
from interlock.breaker.home import Home, HomeError
from interlock.breaker.latch import Latch, LatchError, read_latch
from interlock.breaker.lock import FileLock, WriterLock
from interlock.breaker.memory import require_memory, whole
from interlock.breaker.page import Page
from interlock.breaker.quiescence import DEAD, Hold
from interlock.breaker.roster import Berth, look
from interlock.breaker.segment import (
    NO_ROOM,
    MappedSegment,
    Segment,
    chunks,
    first_of,
    is_closed,
    segment_name,
    segments,
    unfinished,
)
from interlock.breaker.sentinel import Sentinel
from interlock.breaker.source import code_hash
from interlock.breaker.starting import begins_at, hashed
from interlock.breaker.torn import carried, cut, finish, inflate, interrupted, put_back, set_aside, trim
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode
from interlock.core.restore import Restorer
from interlock.journal.recovery import Recovery
from interlock.journal.statements import origin_of
from interlock.journal.writer import SEGMENT_BYTES, Journal
from interlock.store.checkpoints import CheckpointError, Notes, Point

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path
__all__ = [
    "Attachment",
    "Salvage",
    "Told",
    "contradiction",
    "highest_epoch",
    "newest_of",
    "open_home",
    "rolled_back",
]


_BUSY_S: Final = 0.25
TELLING: Final = frozenset(
    {"segment", "salvage", "arm", "start", "halt", "reset", "run", "end", "checkpoint", "ledger"}
)
"""The kinds that say something of modes, or of epochs, or of what was signed, or are no records of what was done."""


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
        records: how many there are, the beginnings of segments left out.
        halted: whether the last word is a halt.
        epoch: the latest that it tells the beginning or the end of.
        highest: the latest that it names at all.
        ended: number of the last record that ended a run; -1: none, or something came after it.
        signed: the size of the largest checkpoint that it tells of; 0 if of none.
    """

    records: int = 0
    halted: bool = False
    epoch: int = 0
    highest: int = 0
    ended: int = -1
    signed: int = 0

    def visit(self, record: Mapping[str, object]) -> None:
        """Follow one record."""
        kind = record["kind"]
        if kind == "segment":
            return
        self.records += 1
        if kind == "salvage":
            inner = record["record"]
            if isinstance(inner, dict):
                self.visit(inner)
        elif kind in {"halt", "reset"}:
            self.halted = kind == "halt"
        elif kind in {"run", "end"}:
            number = record["seq"]
            self.ended = number if kind == "end" and isinstance(number, int) else -1
        elif kind == "checkpoint":
            size = record["size"]
            self.signed = max(self.signed, size if isinstance(size, int) else 0)
        elif kind == "ledger":
            self._stands(cast("Mapping[str, object]", record["state"]))
        epoch = record.get("epoch")
        if kind in TELLING and isinstance(epoch, int):
            self.highest = max(self.highest, epoch)
            if kind != "run":  # which names the latch's epoch before the reset to it is written
                self.epoch = max(self.epoch, epoch)

    def _stands(self, state: Mapping[str, object]) -> None:
        """Take what may stand for all before it."""
        epoch = int(cast("str", state["epoch"]))
        self.halted = bool(state["halted"])
        self.epoch, self.highest = max(self.epoch, epoch), max(self.highest, epoch)


@attrs.define(kw_only=True)
class Attachment:
    """An opened home.

    Attributes:
        sentinel: the hold on its files.
        origin: whose journal it is.
        code: the hash of the source that runs.
        limits_sha256: of the limits file.
        errors_in_a_row: of the limits.
        remember: how many order ids are remembered at least.
        core: restored, IDLE or HALTED.
        journal: ready to be appended to.
        fault: why it came up HALTED although no HALTED record says so, or None.
        told: what the journal's last words were.
        last_ts: when the journal's last record was written, us UTC; 0: never.
        salvage: what recovery set aside, or None.
        notes: the home's checkpoints of this engine.
        newest: the newest of them.
        rolled_back: what it has against the journal, or None.
        whole: whether the core holds all that the journal tells.
    """

    sentinel: Sentinel
    origin: str
    code: str
    limits_sha256: str
    errors_in_a_row: int
    remember: int
    core: Core
    journal: Journal
    fault: tuple[HaltCode, str] | None
    told: Told
    last_ts: int
    salvage: Salvage | None
    notes: Notes
    newest: Point | None
    rolled_back: str | None
    whole: bool


def open_home(
    path: str | os.PathLike[str], engine: str, *, mapped: bool = False, segment_bytes: int = SEGMENT_BYTES
) -> Attachment:
    """Open a home for one engine.

    Args:
        path: the home.
        engine: its name.
        mapped: write the journal through a mapping, for durability ``process``.
        segment_bytes: the size at which a new segment is begun.

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
        notes = Notes(home.path, engine)
        newest, unread = newest_of(notes)
        mark = newest.says.size if newest else -1
        known = home.streams()
        stream, opened, writer = _claim(home, engine)
        held.append(writer)
        probe(home.engines / engine)
        check(home.path, engine=engine)  # once more, with what was made since
        _mend(stream, opened)
        core = Core(limits, latch.epoch if latch else 1, Mode.HALTED)
        played, (told, restorer, recovery) = _to_play(core, digest, mark, opened)
        last, salvage = _recover(recovery, stream, played)
        if told.records == 0 and (berth.begun or (begun and not known)):
            fault = fault or (HaltCode.JOURNAL_FAILED, f"{stream}: the journal is gone")
        holes = restorer.finish()
        fault = _graver(fault, contradiction(latch, told, holes, recovery))
        identity = latch.home if latch else home.identity()
        unlike = unread or rolled_back(newest, recovery, origin_of(identity, engine), told.signed)
        fault = _graver(fault, (HaltCode.JOURNAL_ROLLED_BACK, unlike) if unlike else None)
        core.epoch = _epoch(latch, told)
        if fault is None and latch is not None and latch.state == latches.ARMED:
            core.mode = Mode.IDLE
        segment = MappedSegment(last) if mapped else Segment(last)
        return Attachment(
            sentinel=Sentinel(
                home=home,
                identity=identity,
                page=page,
                latch=latch,
                latch_stat=latch_stat,
                running=running,
                writer=writer,
                berth=berth,
                hold=Hold(page.map if page else DEAD, running, berth.slots),
                segment=segment,
                floor=0 if latch else highest_epoch(home),
            ),
            origin=origin_of(identity, engine),
            code=code_hash(),
            limits_sha256=digest,
            errors_in_a_row=limits.errors_in_a_row,
            remember=limits.gate2.remember_ids if limits.gate2 else 0,
            core=core,
            journal=Journal(segment, recovery.tree, recovery.day, size=segment.size, segment_bytes=segment_bytes),
            fault=fault,
            told=told,
            last_ts=recovery.last_ts,
            salvage=salvage,
            notes=notes,
            newest=newest,
            rolled_back=unlike,
            whole=not holes and not recovery.damaged,
        )
    except OSError as error:
        _close(held)
        message = f"{home.path}: the journal cannot be opened, so nothing is permitted: {error}"
        code = HaltCode.JOURNAL_FULL if error.errno in NO_ROOM else HaltCode.JOURNAL_FAILED
        raise HomeError(code, message) from error
    except BaseException:
        _close(held)
        raise


def _epoch(latch: Latch | None, told: Told) -> int:
    """The epoch to come up in: an epoch is never used twice.

    Without a latch it is the journal's own; the record that is written then, and a reset, go by what all journals know.
    """
    return max(told.epoch, 1) if latch is None else max(latch.epoch, told.highest)


def _graver(fault: tuple[HaltCode, str] | None, other: tuple[HaltCode, str] | None) -> tuple[HaltCode, str] | None:
    """The first of two faults, unless the second says more than that the page says halt."""
    return other if other is not None and (fault is None or fault[0] is HaltCode.EXTERNAL) else fault


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
    """The journal's directory, its segments, and a lock on that very directory: a journal has one writer.

    Raises:
        HomeError: another process writes to it.
        OSError: it can't be made or opened.
    """
    stream = home.stream(engine)
    if not stream.is_dir():
        stream.mkdir(mode=0o700)
    sync_directory(home.journal)  # also if it was there: who made it may have died before this
    writer = WriterLock(stream)
    if not writer.exclusive():
        writer.close()
        message = f"{stream}: another process writes to it"
        raise HomeError(HaltCode.JOURNAL_FAILED, message)
    return stream, segments(stream), writer


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
            page.repeat()
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


def _to_play(
    core: Core, digest: str, mark: int, opened: list[Path]
) -> tuple[list[Path], tuple[Told, Restorer, Recovery]]:
    """The segments that are to be played, and what takes their records; those before them are hashed already."""
    start = begins_at(opened, digest)
    taking = _fresh(core, digest, mark, midway=start > 0)
    if start and not hashed(taking[-1], opened[:start]):
        return opened, _fresh(core, digest, mark, midway=False)
    return opened[start:], taking


def _fresh(core: Core, digest: str, mark: int, *, midway: bool) -> tuple[Told, Restorer, Recovery]:
    """What takes the records; nothing was played into the core yet."""
    told, restorer = Told(), Restorer(core, digest, midway=midway)
    return told, restorer, Recovery(visit=_visitor(told, restorer), mark=mark)


def _visitor(told: Told, restorer: Restorer) -> Callable[[Mapping[str, object]], None]:
    """What takes every record of a journal, of which there may be millions: each to whom it says something."""
    plays = restorer.plays

    def visit(record: Mapping[str, object]) -> None:
        kind = record["kind"]
        if kind in TELLING:
            told.visit(record)
        else:
            told.records += 1
        play = plays.get(kind)  # type: ignore[call-overload] # whatever it is, it is there or not
        if play is not None:
            play(record)

    return visit


def highest_epoch(home: Home) -> int:
    """The highest epoch that any journal of a home knows; 0: none does.

    Raises:
        OSError: one can't be read.
    """
    highest = 0
    for name in home.streams():
        told = Told()
        recovery = Recovery(visit=told.visit)
        for path in segments(home.stream(name)):
            if recovery.begin(first_of(path)):
                recovery.scan(chunks(path))
        highest = max(highest, told.highest)
    return highest


def newest_of(notes: Notes) -> tuple[Point | None, str | None]:
    """The newest checkpoint, or why it can't be read: then nobody knows how long the journal was."""
    try:
        return notes.newest(), None
    except CheckpointError as error:
        return None, str(error)


def rolled_back(newest: Point | None, recovery: Recovery, origin: str, signed: int) -> str | None:
    """What the newest checkpoint has against the journal that was recovered; its size is the recovery's mark.

    A note is on the disk before the journal tells of it, so one that it tells of (``signed``) was removed if it is not.
    """
    if signed > (newest.says.size if newest else 0):
        return f"the journal tells of a checkpoint of size {signed}, and there is no note of that in the home"
    if newest is None:
        return None
    says = newest.says
    if says.origin != origin:
        return f"the checkpoint of size {says.size} is of {says.origin}, not of {origin}"
    if says.size > recovery.tree.size:
        return f"a checkpoint of size {says.size} was signed, and the journal has {recovery.tree.size} sealed records"
    if says.root != recovery.marked:
        return f"the journal has another root at size {says.size} than the checkpoint that was signed there"
    return None


def _mend(stream: Path, opened: list[Path]) -> None:
    """Finish what a crash left half done: unused room, segments without a name, a recovery that came to no seal.

    What such a recovery had cut off is put back: the orders in that must not be forgotten.
    """
    for path in unfinished(stream):
        path.unlink()
    for place, path in enumerate(opened):
        if not is_closed(path):
            trim(path)
            if path is not opened[-1]:
                finish(path)
        for sidecar, torn in interrupted(path):
            named: list[object] = []

            def visit(record: Mapping[str, object], named: list[object] = named) -> None:
                named.append(record.get("torn_sha256"))

            scan = Recovery(visit=visit)
            for name in opened[: place + 1]:
                scan.begin(first_of(name))
                scan.scan(chunks(name))
            if sha256(torn).hexdigest() not in named[: len(named) - len(scan.tail)]:  # not in a sealed recovery
                put_back(path, scan.sealed_bytes, torn)
            carried(sidecar)


def _recover(recovery: Recovery, stream: Path, opened: list[Path]) -> tuple[Path, Salvage | None]:
    """Read all segments. Returns the one to go on in, which may not be there yet, and what was set aside."""
    last = None
    for path in opened:
        if recovery.begin(first_of(path)):
            recovery.scan(chunks(path))
            last = path
        else:
            set_aside(path)
    last, salvage = _salvage(recovery, last)
    if last is None or (salvage is None and is_closed(last)):
        last = stream / segment_name(recovery.tree.size)
        recovery.day = None
    return last, salvage


def _salvage(recovery: Recovery, path: Path | None) -> tuple[Path | None, Salvage | None]:
    """Move what follows the last valid seal out of the way. Returns the segment that was cut, and what was cut off."""
    if path is None or not (recovery.torn or recovery.tail):
        return path, None
    path = inflate(path)
    if path.stat().st_size == recovery.sealed_bytes:
        return path, None
    sidecar, torn = cut(path, recovery.sealed_bytes)
    return path, Salvage(
        sealed=recovery.tree.size,
        root=recovery.tree.root(),
        torn_file=sidecar.name,
        torn=torn,
        records=tuple(recovery.tail),
    )
