"""The board: memory that engines and harness share, so that measuring a send disturbs it little.

Every engine has a stretch of its own and is alone in writing there: how many sends it has begun, when each of the
last `RING` began, when the last one ended, and what it is doing. All that a send costs more by it is two looks at
the clock and a few plain memory writes; no lock, no system call, no other process's consent. The harness reads it when
the engines are out.

Times are nanoseconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from enum import IntEnum
from typing import Final

__all__ = ["RING", "Board", "Doing", "Pen"]

RING: Final = 1 << 18
"""Begins that are remembered: more than an engine that is not held up begins between a halt and its end."""

_MASK: Final = RING - 1
_WORDS: Final = 8
_STRETCH: Final = _WORDS + RING

_BEGUN: Final = 0
_ENDED_NS: Final = 1
_DOING: Final = 2
_OUT_NS: Final = 3
_HANG: Final = 4


class Doing(IntEnum):
    """What an engine process is doing."""

    COMING = 0
    """It is being started."""

    OUT = 1
    """It waits to be told to go."""

    SENDING = 2
    """It sends as fast as it can."""

    HUNG = 3
    """It is inside a send that does not end."""


class Pen:
    """One engine's stretch, to write to."""

    __slots__ = ("_begun", "_ring", "_words")

    def __init__(self, words: memoryview, ring: memoryview) -> None:
        self._words = words
        self._ring = ring
        self._begun = words[_BEGUN]

    def begin(self) -> None:
        """A send begins: the first act of a send function."""
        begun = self._begun
        self._ring[begun & _MASK] = time.monotonic_ns()
        self._begun = begun = begun + 1
        self._words[_BEGUN] = begun

    def end(self) -> None:
        """A send ends: its last act. It never ends if the harness asked for that."""
        words = self._words
        while words[_HANG]:
            words[_DOING] = Doing.HUNG
            time.sleep(3600)
        words[_ENDED_NS] = time.monotonic_ns()

    def tell(self, doing: Doing) -> None:
        """Say what this engine is doing."""
        if doing is Doing.OUT:
            self._words[_OUT_NS] = time.monotonic_ns()
        self._words[_DOING] = doing


class Board:
    """The board of some engines.

    Args:
        engines: how many.
        descriptor: of the memory; made anew, if there is none.

    Attributes:
        descriptor: of the memory, for the engine processes to inherit.
    """

    __slots__ = ("_map", "_words", "descriptor", "engines")

    def __init__(self, engines: int, descriptor: int | None = None) -> None:
        size = 8 * _STRETCH * engines
        self.engines = range(engines)
        if descriptor is None:
            descriptor = os.memfd_create("interlock-bench", os.MFD_CLOEXEC)
            os.truncate(descriptor, size)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, size)
        self._words = memoryview(self._map).cast("Q")

    def pen(self, engine: int) -> Pen:
        """What one engine writes with."""
        at = engine * _STRETCH
        return Pen(self._words[at : at + _WORDS], self._words[at + _WORDS : at + _STRETCH])

    def _word(self, engine: int, which: int) -> int:
        return self._words[engine * _STRETCH + which]

    def doing(self, engine: int) -> Doing:
        """What an engine is doing."""
        return Doing(self._word(engine, _DOING))

    def begun(self, engine: int) -> int:
        """Sends that an engine has begun so far."""
        return self._word(engine, _BEGUN)

    def last_begun_ns(self, engine: int) -> int:
        """When an engine began its last send; 0 if it never did."""
        begun = self.begun(engine)
        return self._word(engine, _WORDS + (begun - 1 & _MASK)) if begun else 0

    def last_ended_ns(self, engine: int) -> int:
        """When an engine's last send ended."""
        return self._word(engine, _ENDED_NS)

    def out_ns(self, engine: int) -> int:
        """When an engine was last out: its switch had told it to stop, and it had."""
        return self._word(engine, _OUT_NS)

    def begun_after(self, engine: int, moment_ns: int) -> int:
        """How many sends an engine that is out began later than a moment: each is counted; `RING` is that or more."""
        begun = self.begun(engine)
        base = engine * _STRETCH + _WORDS
        late = 0
        while late < min(begun, RING) and self._words[base + (begun - 1 - late & _MASK)] > moment_ns:
            late += 1
        return late

    def hang(self, engine: int, *, on: bool) -> None:
        """Let an engine's next send never end, or again be as all others."""
        self._words[engine * _STRETCH + _HANG] = on

    def clear(self, engine: int) -> None:
        """Another process comes in an engine's place."""
        self._words[engine * _STRETCH + _DOING] = Doing.COMING

    def close(self) -> None:
        """Give the memory back; what a pen still writes to goes with the pen."""
        self._words.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        os.close(self.descriptor)
