"""Where what stands in a page: the same in memory and in the home's file.

Byte 0 mirrors the latch: `ARMED`, or anything else for halt. Behind it stands whose page it is, so that a foreign file
put in its place is known for what it is; then the marks of the halt that it was armed for and of the latest halt; and
last the record that a halt from outside is about to write into the latch.
"""

from __future__ import annotations

import os
import time
from typing import Final

from interlock.breaker.memory import SIZE

__all__ = ["ARMED_FOR_AT", "BEGUN_AT", "HALTS_AT", "HALTS_END", "RECORD_AT", "fresh", "home_in", "new_mark", "room_for"]

_MAGIC: Final = b"interlock page 1\n"
_HOME_AT: Final = 64
_HOME_LENGTH: Final = 36

ARMED_FOR_AT: Final = 104
"""The mark of the halt that was over when it was armed last, 8 bytes."""

HALTS_AT: Final = 112
"""The mark of the latest halt, right behind it."""

HALTS_END: Final = 120

BEGUN_AT: Final = 120
"""In the file alone: whether a journal was begun, a byte."""

RECORD_AT: Final = 128
"""The record that was left, up to the end."""

_PID_BITS: Final = 22  # as many as Linux has


def new_mark() -> bytes:
    """A mark for a halt that begins now: no two have the same, also if they come at once."""
    mark = (time.monotonic_ns() << _PID_BITS | os.getpid() % (1 << _PID_BITS)) % (1 << 64)
    return mark.to_bytes(8, "little")


def fresh(home: str, byte: int) -> bytes:
    """A page of a home that says this, and has known no halt."""
    data = bytearray(SIZE)
    data[0] = byte
    data[1 : 1 + len(_MAGIC)] = _MAGIC
    data[_HOME_AT : _HOME_AT + _HOME_LENGTH] = home.encode()[:_HOME_LENGTH].ljust(_HOME_LENGTH, b"\x00")
    return bytes(data)


def home_in(data: bytes) -> str | None:
    """The UUID that stands in a page; None if it is no page."""
    if data[1 : 1 + len(_MAGIC)] != _MAGIC:
        return None
    return data[_HOME_AT : _HOME_AT + _HOME_LENGTH].decode("ascii", "replace").strip("\x00")


def room_for(record: bytes) -> bytes:
    """What stands in a page's end when this record is left. One that is too long is not: the byte alone says halt."""
    room = SIZE - RECORD_AT
    return (record if len(record) <= room else b"").ljust(room, b"\x00")
