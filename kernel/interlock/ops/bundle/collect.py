"""From a home, the evidence: files copied as they are, and a list of what is missing and why.

Nothing here writes to the home, and nothing waits for it: an engine may run meanwhile. A segment that is being written
is copied up to the size that it has when it is opened; zeros behind its last record are room, and are left out.
"""

from __future__ import annotations

import os
import re
import stat
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.home import Home
from interlock.breaker.roster import engines
from interlock.ops.bundle.given import REQUEST, drill_of
from interlock.ops.bundle.plan import FORMAT
from interlock.ops.bundle.story import segments_of, torn_of
from interlock.ops.bundle.tree import BundleError, Folder, lines
from interlock.ops.bundle.verdicts import VERIFIER, tools
from interlock.verify.lines import LINE_MAX, parse
from interlock.verify.pack import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
_FILED: Final = re.compile(r"[\w][\w.+-]{0,120}", re.ASCII)
_ORIGIN: Final = re.compile(rb"interlock/[^/\n]+/([^/\n]+)\n")
_LONGEST_ORIGIN: Final = 400
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
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self.miss(name, f"can't be opened: {error.strerror}")
            return False
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
        """Copy the files of a directory whose names match; tell of the others. How many were copied."""
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
    told = {name: _journal(work, name, plan.span) for name in home.streams()}
    if not any(one["segments"] for one in told.values()):
        work.miss("journal", "the home has no records of that time")
    _signatures(work, plan)
    _limits(work)
    for name in home.streams():
        work.copy_all(home.path / "stops" / name, _STOP, f"stops/{name}")
    work.copy(home.latch, "latch.json")
    _anchors(work, plan)
    _drills(work, plan)
    work.folder.write(VERIFIER, pack())
    request: dict[str, Any] = {
        "format": FORMAT,
        "home": home.identity(),
        "root_key": plan.root_key,
        "asked": plan.span.to_json(),
        "engines": told,
        "missing": work.missing,
        "tools": tools(),
    }
    folder.write(REQUEST, orjson.dumps(request, option=orjson.OPT_INDENT_2) + b"\n")


def _journal(work: _Collector, engine: str, span: Span) -> dict[str, Any]:
    """Copy what touches the span of one engine's journal, and what it leads to."""
    stream = work.home.stream(engine)
    every = [*{path.name[:20]: path for path in reversed([*_listed(stream)]) if _SEGMENT.fullmatch(path.name)}.values()]
    every.reverse()
    chosen = _touching(work, every, span)
    for path in chosen:
        work.copy(path, f"journal/{engine}/{path.name}", room=True)
    work.copy_all(stream, _TORN, f"journal/{engine}")
    for path in _listed(stream):
        if not (_SEGMENT.fullmatch(path.name) or _TORN.fullmatch(path.name)):
            work.miss(f"journal/{engine}/{path.name!r}", "is no file of a journal")
    _torn(work, engine)
    after = every[every.index(chosen[-1]) + 1 :] if chosen else []
    before = int(after[0].name[:20]) if after else None
    for path in _listed(work.home.path / "checkpoints" / engine):
        if _NOTE.fullmatch(path.name) and (before is None or int(path.name[:20]) <= before):
            work.copy(path, f"checkpoints/{engine}/{path.name}")
    attached = any(one.attached for one in engines(work.home.engines) if one.name == engine)
    return {"segments": len(chosen), "of": len(every), "attached": attached}


def _touching(work: _Collector, every: list[Path], span: Span) -> list[Path]:
    """The segments up to the last one that touches the span.

    A verifier has to begin with the first record: modes, permits and clocks of a later one rest on it. So nothing is
    left out at the beginning, but what comes after the span is.
    """
    chosen = []
    for number, path in enumerate(every):
        begin = _begin(path)
        if number and begin is not None and begin >= span.end_us:
            break
        chosen.append(path)
    if len(chosen) < len(every):
        work.progress(sum(path.stat().st_size for path in every[len(chosen) :]))
    return chosen


def _begin(path: Path) -> int | None:
    """The time of a segment's first record."""
    for line in lines(Folder(path.parent), path.name, LINE_MAX):
        try:
            found = orjson.loads(line)["ts"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return None
        return found if type(found) is int else None
    return None


def _torn(work: _Collector, engine: str) -> None:
    """See that what recoveries set aside is there, and is what they say."""
    there = {name: sha256(work.folder.read(name)).hexdigest() for name in torn_of(work.folder, engine)}
    for name in segments_of(work.folder, engine):
        for line in lines(work.folder, name, LINE_MAX):
            record = parse(line) if _RECOVER in line else ""
            if not isinstance(record, str) and record["kind"] == "recover" and record["torn_bytes"]:
                torn = f"journal/{engine}/{record['torn_file']}"
                if there.get(torn) != record["torn_sha256"]:
                    work.miss(torn, f"record {record['seq']} tells of it; it is gone, or was changed")


def _signatures(work: _Collector, plan: Plan) -> None:
    keys = work.copy_all(work.home.path / "keys", _KEYS, "keys")
    if plan.root_key is None:
        work.miss("root key", "it was not named; an auditor needs it anyhow from elsewhere than from a bundle")
    notes = [name for name in work.folder.names() if name.startswith("checkpoints/")]
    if not keys:
        work.miss("keys", "the home has no list of keys: no signature can be checked")
    if not notes:
        work.miss("checkpoints", "the home has none: the records are bound by seals, which nobody signed")


def _limits(work: _Collector) -> None:
    if not work.copy_all(work.home.path / "limits", _VERSION, "limits"):
        work.miss("limits", "the home has no approvals on record")
    work.copy(work.home.limits, "limits.toml")


def _anchors(work: _Collector, plan: Plan) -> None:
    """What witnesses kept: tokens in the home, and what was named. A checkpoint says itself whose it is."""
    for engine in work.home.streams():
        work.copy_all(work.home.path / "anchors" / engine, _FILED, f"anchors/{engine}")
    for path in plan.anchors:
        if not path.exists():
            message = f"{path}: not there"
            raise BundleError(message)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and _FILED.fullmatch(file.name):
                _anchor(work, file)
    if not any(name.startswith("anchors/") for name in work.folder.names()):
        work.miss("anchors", "there is none: no witness outside of the home speaks for these journals")


def _anchor(work: _Collector, file: Path) -> None:
    origin = _ORIGIN.match(file.read_bytes()[:_LONGEST_ORIGIN])
    engine = origin[1].decode() if origin else file.parent.name
    if engine in work.home.streams():
        _filed(work, file, f"anchors/{engine}")
    else:
        work.miss(f"anchors/{file.name}", "it is of no engine of this home")


def _filed(work: _Collector, file: Path, room: str) -> None:
    """Copy a file; one of the same name and other bytes gets a number."""
    name, number = f"{room}/{file.name}", 1
    while (work.folder.path / name).exists():
        if work.folder.read(name) == file.read_bytes():
            return
        number += 1
        name = f"{room}/{number}-{file.name}"
    work.copy(file, name)


def _drills(work: _Collector, plan: Plan) -> None:
    """Reports of drills, each with its page."""
    filed = work.home.path / "drills"
    for directory in (*plan.drills, *([filed] if filed.is_dir() else [])):
        if not directory.is_dir():
            message = f"{directory}: no directory with reports of drills"
            raise BundleError(message)
        for path in sorted(directory.glob("*.json")):
            if _FILED.fullmatch(path.name) and path.is_file() and drill_of(path.read_bytes()) is not None:
                _filed(work, path, "drills")
                page = path.with_suffix(".html")
                if page.is_file():
                    _filed(work, page, "drills")
    if not any(name.startswith("drills/") for name in work.folder.names()):
        work.miss("drills", "no report of a drill was given, and none is filed in the home")
