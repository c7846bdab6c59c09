"""A journal in memory: a sink that remembers, and fails when it is told to, and a recorder on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from tests.helpers import MS, UTC_US, FakeClock, order

from interlock import Reason, Verdict
from interlock.journal.recorder import Recorder
from interlock.journal.records import KEYS
from interlock.journal.tree import Tree
from interlock.journal.writer import Journal

from .lines import TS, Json, line, record, sealed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AT", "DAY_MS", "OPENING", "REFUSED", "Sink", "Told",
    "ended", "new", "pad", "put", "raising", "told", "working",
]  # fmt: skip

R = TypeVar("R", bound=Recorder)

OPENING: dict[str, object] = {key: value for key, value in record("segment").items() if key in KEYS["segment"][5:-3]}
"""What tells whose segment it is."""

DAY_MS = 86_400_000
REFUSED = Verdict(accepted=False, reason=Reason.MAX_NOTIONAL, limit="10", value="11")
AT = {"ts": UTC_US + 7_000, "mono": 7 * MS}
"""The times of a record that is made 7 ms after the run has begun."""


class Sink:
    """Takes bytes, and fails when told to."""

    def __init__(self) -> None:
        self.data = b""
        self.segments: list[tuple[int, bytes]] = []
        self.writes = 0
        self.syncs = 0
        self.error: BaseException | None = None
        self.short: str | None = None

    def write(self, data: bytes | bytearray) -> str | None:
        """Take them."""
        self.writes += 1
        if self.error:
            raise self.error
        self.data += data
        return self.short

    def sync(self) -> None:
        """Count."""
        self.syncs += 1
        if self.error:
            raise self.error

    def room(self) -> str | None:
        """Say what is to be said."""
        return self.short

    def turn(self, first: int, opening: bytes) -> None:
        """Begin the next segment."""
        if self.error:
            raise self.error
        self.segments.append((first, self.data))
        self.data += opening

    @property
    def lines(self) -> list[Json]:
        """What it holds, decoded."""
        return [orjson.loads(line) for line in self.data.splitlines()]


def raising(error: BaseException) -> Callable[..., None]:
    """What raises it, whatever it is called with."""

    def raises(*_: object) -> None:
        raise error

    return raises


class Told(Generic[R]):
    """A recorder, its journal, its sink and its clock: the run begins at the clock's 1 s.

    Args:
        kind: the recorder's class.
        opening: what tells whose a segment is.
        disk: whether what is sealed is made durable.
        begun: whether the segment has begun, and the run.
        segment_bytes: as of a journal.
    """

    def __init__(
        self,
        kind: type[R],
        *,
        opening: Callable[[], dict[str, object]] | None = dict,
        disk: bool = False,
        begun: bool = True,
        segment_bytes: int = 1 << 30,
    ) -> None:
        self.clock = FakeClock()
        self.sink = Sink()
        self.journal = Journal(self.sink, Tree(), segment_bytes=segment_bytes)
        self.journal.opening = opening
        self.made = kind(
            self.journal, mono_ns=self.clock.mono_ns, utc_us=self.clock.utc_us, run="r", version="0", disk=disk
        )
        if begun:
            self.made.begin(home="h")

    @property
    def mono(self) -> int:
        """Nanoseconds since the clock's zero, which is not the run's."""
        return self.clock.now_ns

    @property
    def all(self) -> list[Json]:
        """Every record that was made so far; what waits is written for it."""
        if self.journal.broken is None:
            self.journal.flush()
        return sealed(self.sink.data)

    @property
    def records(self) -> list[Json]:
        """Those of a begun run, without the ``segment`` and the ``run`` before them."""
        return self.all[2:]

    @property
    def members(self) -> list[Json]:
        """As `records`, each without its number and times, in which `Told` finds no gap."""
        found = []
        for one in self.records:
            assert one.pop("v") == 1
            del one["seq"], one["ts"], one["mono"]
            found.append(one)
        return found

    @property
    def written(self) -> list[Json]:
        """What is with the sink already."""
        return self.sink.lines


def told(**given: Any) -> Told[Recorder]:
    """A run, 7 ms old."""
    made = Told(Recorder, **given)
    made.clock.advance(7)
    return made


def working(**given: Any) -> Any:
    """An order that gate 2 let through."""
    book = SimpleNamespace(reference=(1, "99", 2, "101"))
    fields = {"order": order("a"), "book": book, "size_text": "1", "price_text": "100", "number": 0, "begun_ns": 0}
    return SimpleNamespace(**(fields | given))


# -- A journal without a recorder -----------------------------------------------------------------------


def new(segment_bytes: int = 1 << 30) -> tuple[Journal, Sink]:
    """Return a journal that holds its first record."""
    sink = Sink()
    journal = Journal(sink, Tree(), segment_bytes=segment_bytes)
    journal.opening = lambda: OPENING
    journal.begin(TS, 0)
    return journal, sink


def put(journal: Journal, how: str) -> None:
    """Append one record in one of the three ways."""
    given = record("anomaly", seq=journal.next(), mono=0)
    if how == "write":
        journal.write(given)
    elif how == "note":
        journal.note(given)
    else:
        journal.defer(lambda seq: record("anomaly", seq=seq, mono=0))


def pad(journal: Journal, size: int) -> None:
    """Append a record that waits, whose line is so long."""
    empty = len(line("anomaly", seq=journal.seq, detail=""))
    assert size >= empty
    journal.note(record("anomaly", seq=journal.seq, detail="x" * (size - empty)))


def ended(seq: int) -> dict[str, object]:
    """A record that may wait."""
    return record("end", seq=seq)
