"""The names of orders that are being sent, from the journals of those who send them."""

from __future__ import annotations

import contextlib
import os
import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, loads

from interlock.breaker.segment import COMPRESSED, first_of, segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock.breaker.quiet import InFlight, Waiting

__all__ = ["with_orders"]

_NAMING_S: Final = 0.5
_LONGEST_SEARCH: Final = 1 << 24


def with_orders(journal: Path, waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """The same, with the orders' names, as far as the journals can be read in time: they may be long, or hang."""
    found: dict[tuple[str, int], dict[str, object]] = {}

    def look() -> None:
        for who in waiting:
            wanted = {one.permit for one in who.in_flight}
            for permit, record in _permits(journal / who.engine, wanted) if who.engine else ():
                found[who.engine, permit] = record

    looking = threading.Thread(target=look, daemon=True, name="interlock-naming")
    with contextlib.suppress(RuntimeError):  # no thread to be had: then by number
        looking.start()
        looking.join(_NAMING_S)
    named = dict(found)

    def name(one: InFlight) -> InFlight:
        record = named.get((one.engine, one.permit), {})
        order_id, instrument = str(record.get("id", "")), str(record.get("instrument", ""))
        return attrs.evolve(one, client_order_id=order_id, instrument=instrument)

    return tuple(attrs.evolve(who, in_flight=tuple(name(one) for one in who.in_flight)) for who in waiting)


def _permits(directory: Path, wanted: set[int]) -> Iterator[tuple[int, dict[str, object]]]:
    """The records of these permits, from the end of a journal that somebody may be writing; else they are left out."""
    with contextlib.suppress(OSError):
        paths = segments(directory)
        begun = [first_of(path) for path in paths]
        places = {permit: bisect_right(begun, permit) - 1 for permit in wanted}  # a send may be older than a segment
        for place in {place for place in places.values() if place >= 0}:
            data = _end_of(paths[place])
            for permit in wanted:
                at = data.rfind(b'{"v":1,"seq":%d,"kind":"permit"' % permit)
                end = data.find(b"\n", at)
                if at >= 0 <= end:
                    with contextlib.suppress(JSONDecodeError):
                        yield permit, loads(data[at:end])


def _end_of(path: Path) -> bytes:
    """The last bytes of a segment; none of one that was compressed, which is too old to matter."""
    if path.name.endswith(COMPRESSED):
        return b""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - _LONGEST_SEARCH))
        return file.read(_LONGEST_SEARCH)
