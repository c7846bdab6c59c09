"""What witnesses kept of a home: read before its segments are, each with the journal that it is about."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from interlock.breaker.roster import is_engine_name
from interlock.ops.bundle.tree import BundleError
from interlock.verify import files, routes
from interlock.verify.notes import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from interlock.breaker.home import Home
    from interlock.verify.evidence import File

__all__ = ["FILED", "Anchor", "Outside"]

FILED: Final = re.compile(r"[\w][\w.+#-]{0,120}", re.ASCII)
"""Names under which a bundle files what comes from elsewhere."""


@attrs.frozen(kw_only=True)
class Anchor:
    """One anchor.

    Attributes:
        engine: whose journal it is about.
        name: of its file.
        data: what is in it.
        size: over how many records; None if that is not known.
    """

    engine: str
    name: str
    data: bytes
    size: int | None


@attrs.frozen
class Outside:
    """All anchors of a home: its tokens, and what was named.

    Attributes:
        anchors: each with its engine.
        missing: what is not among them, and why.
    """

    anchors: tuple[Anchor, ...]
    missing: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, home: Home, named: Sequence[Path]) -> Outside:
        """Read them.

        Raises:
            BundleError: one that was named is not there.
            OSError: one can't be read.
        """
        notes = {engine: files.notes(home.path / "checkpoints" / engine) for engine in home.streams()}
        own = [(engine, file) for engine in notes for file in files.notes(home.path / "anchors" / engine, ".tst")]
        given, aside = routes.leave_aside(tuple(_read(named)), _origins(home))
        missing = [(f"anchors of {origin}", "they are of another home") for origin in sorted({*aside})]
        sizes = dict(_sizes(file for kept in (*notes.values(), given) for file in kept))
        found = []
        for engine, (path, data) in (*own, *_routed(given, notes)):
            name = os.path.basename(path)  # noqa: PTH119 - it may have the number of an entry behind it
            if is_engine_name(engine) and FILED.fullmatch(name):
                found.append(Anchor(engine=engine, name=name, data=data, size=sizes.get(routes.imprint_of(data))))
            else:
                missing.append((f"anchors/{name}", "it is neither a checkpoint nor a time stamp of this home"))
        return cls(tuple(found), tuple(missing))


def _routed(given: tuple[File, ...], notes: Mapping[str, tuple[File, ...]]) -> Iterator[tuple[str, File]]:
    for engine, anchors in routes.routed(given, notes).items():
        yield from ((engine, anchor) for anchor in anchors)


def _read(named: Sequence[Path]) -> Iterator[File]:
    for path in named:
        if not path.exists():
            message = f"{path}: not there"
            raise BundleError(message)
        for file in sorted(path.rglob("[!.]*")) if path.is_dir() else [path]:
            if file.is_file():
                yield from files.kept(file)


def _origins(home: Home) -> set[str]:
    """The names of the home: what it says itself, and what its journals do."""
    firsts = (next(iter(files.segments(home.stream(engine))), None) for engine in home.streams())
    found = {routes.origin_of(files.opening(path)) for path in firsts if path}
    return {*filter(None, found), f"interlock/{home.identity()}/"}


def _sizes(notes: Iterator[File]) -> Iterator[tuple[bytes, int]]:
    """Over how many records each checkpoint is, by the hash of its text."""
    for _, data in notes:
        found = read_checkpoint(data)
        if not isinstance(found, str):
            yield sha256(found.note.text.encode()).digest(), found.size
