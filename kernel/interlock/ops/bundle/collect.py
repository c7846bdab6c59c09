"""From a home, the evidence: files copied as they are, and a list of what is missing and why.

Nothing here writes to the home, and nothing waits for it: an engine may run meanwhile. A segment that is being written
is copied up to the size that it has when it is opened; zeros behind its last record are room, and are left out.

So the order matters. Anchors are read before the segments are: what somebody kept until then is about records that are
copied after. Of the checkpoints those are taken that were there before, or are over records that were copied: one that
came to be meanwhile would be about records that are not in the bundle.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.home import Home
from interlock.breaker.roster import engines, is_engine_name
from interlock.ops.bundle.given import REQUEST, drill_of
from interlock.ops.bundle.outside import FILED, Outside
from interlock.ops.bundle.plan import FORMAT
from interlock.ops.bundle.story import segments_of, torn_of
from interlock.ops.bundle.tree import BundleError, Folder, digest, lines
from interlock.ops.bundle.verdicts import VERIFIER, tools
from interlock.verify.lines import LINE_MAX, parse
from interlock.verify.pack import pack
from interlock.verify.walk import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from interlock.ops.bundle.plan import Plan, Span

__all__ = ["collect", "size_of"]

_CHUNK_BYTES: Final = 1 << 20
_SEGMENT: Final = re.compile(r"[0-9]{20}\.jsonl(?:\.zst)?")
_TORN: Final = re.compile(r"[0-9]{20}\.jsonl(?:\.zst)?\.torn-[0-9]+(?:\.open)?")
_NOTE: Final = re.compile(r"[0-9]{20}\.note")
_KEYS: Final = re.compile(r"[0-9]{4,}\.note")
_VERSION: Final = re.compile(r"[0-9]{4,}\.json|[0-9a-f]{64}\.toml")
_STOP: Final = re.compile(r"[\w.-]{1,100}\.json(?:\.damaged-[0-9]+)?", re.ASCII)
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_RECOVER: Final = b'"kind":"recover"'


@attrs.define
class _Collector:
    """A collection under way."""

    home: Home
    folder: Folder
    progress: Callable[[int], None]
    missing: list[dict[str, str]] = attrs.Factory(list)

    def miss(self, what: str, why: str) -> None:
        """Say that something is not in the bundle."""
        self.missing.append({"what": what, "why": why})

    def copy(self, source: Path, name: str, *, room: bool = False) -> bool:
        """Copy a file as it is; with ``room`` without zeros at its end. Whether it could be."""
        try:
            descriptor = os.open(source, _OPEN)
        except OSError as error:
            self.miss(name, f"can't be opened: {error.strerror}")
            return False
        return self._copied(descriptor, name, room=room)

    def segment(self, source: Path, engine: str) -> str:
        """Copy a segment; one that is being compressed meanwhile is found by its other name. Its name in the bundle."""
        room = f"journal/{engine}"
        try:
            descriptor = os.open(source, _OPEN)
        except FileNotFoundError:
            packed = source.with_name(f"{source.name}.zst")
            self.copy(packed, f"{room}/{packed.name}")
            return f"{room}/{packed.name}"
        except OSError as error:
            self.miss(f"{room}/{source.name}", f"can't be opened: {error.strerror}")
        else:
            self._copied(descriptor, f"{room}/{source.name}", room=True)
        return f"{room}/{source.name}"

    def _copied(self, descriptor: int, name: str, *, room: bool) -> bool:
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self.miss(name, "is no regular file")
                return False
            with self.folder.made(name).open("xb") as target:
                left, end = found.st_size, 0
                while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                    target.write(chunk)
                    kept = chunk.rstrip(b"\x00") if room else chunk
                    end = target.tell() - len(chunk) + len(kept) if kept else end
                    left -= len(chunk)
                    self.progress(len(chunk))
                target.truncate(end)
        return True

    def copy_all(self, directory: Path, pattern: re.Pattern[str], room: str) -> int:
        """Copy the files of a directory whose names match, and no others. How many were copied."""
        count = 0
        for path in _listed(directory):
            if pattern.fullmatch(path.name):
                count += self.copy(path, f"{room}/{path.name}")
        return count


def _listed(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except OSError:
        return


def size_of(plan: Plan) -> int:
    """How many bytes there are to copy, at the most: for a progress bar."""
    total = 0
    for place, _, files in os.walk(plan.home / "journal"):
        for name in files:
            try:
                total += os.stat(os.path.join(place, name), follow_symlinks=False).st_size  # noqa: PTH116, PTH118 - many
            except OSError:
                continue
    return total


def collect(plan: Plan, folder: Folder, progress: Callable[[int], None]) -> None:
    """Copy the evidence of a home into a directory.

    Raises:
        HomeError: there is no home.
        BundleError: a drill or an anchor that was named is not there.
        OSError: the directory can't be written.
    """
    home = Home(plan.home)
    home.require()
    work = _Collector(home, folder, progress)
    outside = Outside.of(home, plan.anchors)
    copied = {name: _journal(work, name, plan.span) for name in sorted({*home.streams(), *_signed_engines(home)})}
    if not any(one.segments for one in copied.values()):
        work.miss("journal", "the home has no records of that time")
    _signatures(work, plan, copied)
    _limits(work)
    for name in home.streams():
        work.copy_all(home.path / "stops" / name, _STOP, f"stops/{name}")
    work.copy(home.latch, "latch.json")
    _anchors(work, outside, copied)
    _drills(work, plan)
    work.folder.write(VERIFIER, pack())
    request: dict[str, Any] = {
        "format": FORMAT,
        "home": home.identity(),
        "root_key": plan.root_key,
        "asked": plan.span.to_json(),
        "engines": {name: one.told for name, one in copied.items()},
        "missing": work.missing,
        "tools": tools(),
    }
    folder.write(REQUEST, orjson.dumps(request, option=orjson.OPT_INDENT_2) + b"\n")


@attrs.frozen(kw_only=True)
class _Copied:
    """What was copied of one engine's journal.

    Attributes:
        told: what the request says of it.
        segments: how many segments.
        records: how many whole lines these have.
        cut: whether later segments were left out.
    """

    told: dict[str, Any]
    segments: int
    records: int
    cut: bool


def _signed_engines(home: Home) -> list[str]:
    """The engines that have checkpoints: one without a journal is not to be passed over."""
    return [path.name for path in _listed(home.path / "checkpoints") if path.is_dir() and is_engine_name(path.name)]


def _journal(work: _Collector, engine: str, span: Span) -> _Copied:
    """Copy what touches the span of one engine's journal, and what it leads to."""
    stream = work.home.stream(engine)
    signed = [path for path in _listed(work.home.path / "checkpoints" / engine) if _NOTE.fullmatch(path.name)]
    every = [*{path.name[:20]: path for path in reversed([*_listed(stream)]) if _SEGMENT.fullmatch(path.name)}.values()]
    every.reverse()
    chosen = _touching(work, every, span)
    names = [work.segment(path, engine) for path in chosen]
    work.copy_all(stream, _TORN, f"journal/{engine}")
    for path in _listed(stream):
        if not (_SEGMENT.fullmatch(path.name) or _TORN.fullmatch(path.name)):
            work.miss(f"journal/{engine}/{path.name!r}", "is no file of a journal")
    _torn(work, engine)
    records, cut = _records(work, names), len(chosen) < len(every)
    for path in _listed(work.home.path / "checkpoints" / engine):
        if _NOTE.fullmatch(path.name) and (int(path.name[:20]) <= records or (path in signed and not cut)):
            work.copy(path, f"checkpoints/{engine}/{path.name}")
    attached = any(one.attached for one in engines(work.home.engines) if one.name == engine)
    told = {"segments": len(chosen), "of": len(every), "attached": attached}
    return _Copied(told=told, segments=len(chosen), records=records, cut=cut)


def _records(work: _Collector, names: Sequence[str]) -> int:
    """How many whole lines there are in segments that were copied."""
    if not names:
        return 0
    try:
        count = sum(1 for _ in lines(work.folder, names[-1], LINE_MAX))
    except (OSError, Damaged):  # the verifier will say so
        count = 0
    return int(names[-1].rpartition("/")[2][:20]) + count


def _touching(work: _Collector, every: list[Path], span: Span) -> list[Path]:
    """The segments up to the last one that begins before the span ends.

    A verifier has to begin with the first record: modes, permits and clocks of a later one rest on it. So nothing is
    left out at the beginning, but what comes after the span is. A clock may have been set back, so that a later segment
    begins earlier than one before it.
    """
    count = len(every)
    while count > 1 and (_begin(every[count - 1]) or 0) >= span.end_us:
        count -= 1
    for path in every[count:]:
        with contextlib.suppress(OSError):
            work.progress(path.stat().st_size)
    return every[:count]


def _begin(path: Path) -> int | None:
    """The time of a segment's first record; None if that can't be told."""
    try:
        line = next(lines(Folder(path.parent), path.name, LINE_MAX), b"")
        found = orjson.loads(line)["ts"]
    except (OSError, Damaged, orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return found if type(found) is int else None


def _torn(work: _Collector, engine: str) -> None:
    """See that what recoveries set aside is there, and is what they say."""
    there = {name: digest(work.folder, name)["sha256"] for name in torn_of(work.folder, engine)}
    for name in segments_of(work.folder, engine):
        try:
            for line in lines(work.folder, name, LINE_MAX):
                record = parse(line) if _RECOVER in line else ""
                if not isinstance(record, str) and record["kind"] == "recover" and record["torn_bytes"]:
                    torn = f"journal/{engine}/{record['torn_file']}"
                    if there.get(torn) != record["torn_sha256"]:
                        work.miss(torn, f"record {record['seq']} tells of it; it is gone, or was changed")
        except Damaged as damage:  # the verifier will say so, too
            work.miss(name, f"can't be read: {damage}")


def _signatures(work: _Collector, plan: Plan, copied: Mapping[str, _Copied]) -> None:
    keys = work.copy_all(work.home.path / "keys", _KEYS, "keys")
    if plan.root_key is None:
        work.miss("root key", "it was not named; an auditor needs it anyhow from elsewhere than from a bundle")
    notes = [name for name in work.folder.names() if name.startswith("checkpoints/")]
    if not keys:
        work.miss("keys", "the home has no list of keys: no signature can be checked")
    if not notes:
        later = any(one.cut for one in copied.values()) and _signed_engines(work.home)
        has = "none is over these records alone" if later else "the home has none"
        work.miss("checkpoints", f"{has}: the records are bound by seals, which nobody signed")


def _limits(work: _Collector) -> None:
    if not work.copy_all(work.home.path / "limits", _VERSION, "limits"):
        work.miss("limits", "the home has no approvals on record")
    work.copy(work.home.limits, "limits.toml")


def _anchors(work: _Collector, outside: Outside, copied: Mapping[str, _Copied]) -> None:
    """What witnesses kept: tokens in the home, and what was named. Each goes to the journal that it is about."""
    for what, why in outside.missing:
        work.miss(what, why)
    for anchor in outside.anchors:
        of = copied.get(anchor.engine)
        if of is not None and of.cut and anchor.size is not None and anchor.size > of.records:
            work.miss(f"anchors/{anchor.engine}/{anchor.name}", "it is of a later time than the bundle")
        else:
            _file(work, f"anchors/{anchor.engine}", anchor.name, anchor.data)
    if not any(name.startswith("anchors/") for name in work.folder.names()):
        work.miss("anchors", "there is none: no witness outside of the home speaks for these journals")


def _file(work: _Collector, room: str, name: str, data: bytes) -> None:
    """Write a file; one of the same name and other bytes gets a number."""
    place, number = f"{room}/{name}", 1
    while (work.folder.path / place).exists():
        if work.folder.read(place) == data:
            return
        number += 1
        place = f"{room}/{number}-{name}"
    work.folder.write(place, data)


def _drills(work: _Collector, plan: Plan) -> None:
    """Reports of drills, each with its page."""
    filed = work.home.path / "drills"
    for directory in (*plan.drills, *([filed] if filed.is_dir() else [])):
        if not directory.is_dir():
            message = f"{directory}: no directory with reports of drills"
            raise BundleError(message)
        for path in sorted(directory.glob("*.json")):
            if FILED.fullmatch(path.name) and path.is_file() and drill_of(path.read_bytes()) is not None:
                _file(work, "drills", path.name, path.read_bytes())
                page = path.with_suffix(".html")
                if page.is_file():
                    _file(work, "drills", page.name, page.read_bytes())
    if not any(name.startswith("drills/") for name in work.folder.names()):
        work.miss("drills", "no report of a drill was given, and none is filed in the home")
