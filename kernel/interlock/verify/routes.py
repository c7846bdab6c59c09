"""Which journal an anchor is held against.

An anchor belongs to the engine whose origin it names; a time stamp to the one whose checkpoint it is over.

A witness may serve many homes. So where some anchors are of this home, those of others are left aside, and that is
told. Where none is they are all held against it: it may have been put in the place of the one that they are of.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

from .evidence import File
from .lines import parse
from .notes import read_checkpoint
from .stamps import read_stamp

STRAY = "(anchors)"
"""The engine to which anchors are counted that name none."""

SEPARATOR = b"\x1e"
"""What a file of notes begins with."""


def entries(name: str, data: bytes) -> Iterator[File]:
    """Yield what a witness's file holds: one thing, or notes, each behind a record separator, which no note can hold.

    A note that was cut off, since the witness lost its power, is passed over: it is the last one and lacks its end, or
    the next one begins as it does.
    """
    if not data.startswith(SEPARATOR):
        yield name, data
        return
    _, *found = data.split(SEPARATOR)
    for number, (entry, later) in enumerate(zip(found, [*found[1:], b""], strict=True), 1):
        begun = entry.rpartition(b"\n")[0]
        cut = not entry.endswith(b"\n") if not later else begun != later and later.startswith(begun)
        if not cut:
            yield f"{name}#{number}", entry


def origin_of(line: bytes, *, one: bool = False) -> str:
    """Return whose journal begins with a line: the home's name and a slash, or that of the one engine; empty if none.

    Args:
        line: the first one, without its line feed.
        one: whether the journal stands for itself, and not for its home.
    """
    record = parse(line)
    if isinstance(record, str) or record["kind"] != "segment":
        return ""
    origin: str = record["origin"]
    return origin if one else f"{origin.rpartition('/')[0]}/"


def leave_aside(anchors: tuple[File, ...], origins: set[str]) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """Leave aside what is of other homes, if there is something of this one.

    Args:
        anchors: all of them.
        origins: of the journals, as `origin_of` gives them.

    Returns:
        The rest, and whose that was which is left aside.
    """
    named = [(*anchor, *_named(anchor[1])) for anchor in anchors]
    of = {imprint: origin for _, _, imprint, origin in named if origin}
    mine = {
        imprint for imprint, origin in of.items() if origin in origins or f"{origin.rpartition('/')[0]}/" in origins
    }
    strange = of.keys() - mine if mine else set()
    kept = tuple((name, data) for name, data, imprint, _ in named if imprint not in strange)
    return kept, tuple(of[imprint] for _, _, imprint, _ in named if imprint in strange)


def routed(anchors: tuple[File, ...], notes: Mapping[str, tuple[File, ...] | None]) -> dict[str, list[File]]:
    """Count each anchor to an engine.

    Args:
        anchors: checkpoints and time stamps.
        notes: by engine the checkpoints that are given; under the empty name those of a journal by itself.
    """
    if "" in notes:
        return {"": [*anchors]}
    named = [(anchor, *_named(anchor[1])) for anchor in anchors]
    engines = {_named(data)[0]: name for name, kept in notes.items() for _, data in kept or ()}
    for _, imprint, origin in named:
        if origin:
            engines.setdefault(imprint, origin.rpartition("/")[2])
    found: dict[str, list[File]] = {}
    for anchor, imprint, origin in named:
        engine = origin.rpartition("/")[2] if origin else engines.get(imprint, STRAY)
        found.setdefault(engine, []).append(anchor)
    return found


def imprint_of(data: bytes) -> bytes:
    """Return the hash of a checkpoint's text, or what a time stamp is over; nothing if it is neither."""
    return _named(data)[0]


def _named(data: bytes) -> tuple[bytes, str]:
    """Return the hash of a checkpoint's text, or what a time stamp is over; and the origin that a checkpoint names."""
    checkpoint = read_checkpoint(data)
    if not isinstance(checkpoint, str):
        return sha256(checkpoint.note.text.encode()).digest(), checkpoint.origin
    stamp = read_stamp(data)
    return (b"" if isinstance(stamp, str) else stamp.imprint), ""
