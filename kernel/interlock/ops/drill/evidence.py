"""What an engine of a drill writes down of itself, in memory that outlives it.

A file that is mapped by the engine and read by the drill. Each send has a place of its own in it, with two instants:
the first is written as the first act inside the send, the second as its last. They are plain memory writes, so
that SIGKILL loses none of them, and a hung engine hides none. All instants are of the machine's monotonic clock,
which its processes share.
"""

from __future__ import annotations

import enum
import mmap
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Evidence", "State"]

_MAGIC: Final = 0x4C4C495244  # "DRILL"
_HEAD: Final = 16
_BYTES: Final = 8

# Where the numbers of the head stand, in integers of eight bytes.
_MAGIC_AT: Final = 0
_SENDS: Final = 1
_STATE: Final = 2
_SEEN: Final = 3
_LEFT: Final = 4
_REFUSED: Final = 5
_FIRST_REFUSED: Final = 6
_LAST_REFUSED: Final = 7
_SINCE: Final = 8


class State(enum.IntEnum):
    """What an engine is at."""

    COMING = 0
    SENDING = 1
    HUNG = 2
    """Inside a send that does not end, as it was told to be."""
    STALLED = 3
    """Its loop does not come round, as it was told to."""


class Evidence:
    """The log of one engine.

    Args:
        path: of the file.
        room: for how many sends, to make it; None to open what is there.
    """

    def __init__(self, path: Path, room: int | None = None) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if room is None else os.O_CREAT | os.O_EXCL)
        descriptor = os.open(path, flags, 0o600)
        try:
            if room is not None:
                os.truncate(descriptor, _BYTES * (_HEAD + 2 * room))
            self._numbers = memoryview(mmap.mmap(descriptor, 0)).cast("Q")
        finally:
            os.close(descriptor)
        if room is not None:
            self._numbers[_MAGIC_AT] = _MAGIC
        elif self._numbers[_MAGIC_AT] != _MAGIC:
            message = f"{path}: no evidence of a drill"
            raise ValueError(message)
        self._end = len(self._numbers)

    # -- The engine's side -------------------------------------------------------------------------

    def begin(self) -> int:
        """A send begins. Gives its place.

        Raises:
            RuntimeError: there is no room for it, so it must not begin.
        """
        numbers = self._numbers
        at = _HEAD + 2 * numbers[_SENDS]
        if at >= self._end:
            message = "the drill has no room for more sends"
            raise RuntimeError(message)
        numbers[at] = time.monotonic_ns()
        numbers[_SENDS] += 1
        return at

    def end(self, at: int) -> None:
        """It ended."""
        self._numbers[at + 1] = time.monotonic_ns()

    def tell(self, state: State) -> None:
        """Say what we are at."""
        self._numbers[_SINCE] = time.monotonic_ns()
        self._numbers[_STATE] = state

    def saw(self) -> None:
        """This engine knows of the halt; the first time counts."""
        if not self._numbers[_SEEN]:
            self._numbers[_SEEN] = time.monotonic_ns()

    def leaves(self) -> None:
        """It is about to let go of the running lock."""
        self.saw()
        self._numbers[_LEFT] = time.monotonic_ns()

    def refused(self) -> int:
        """An order was refused because of the halt. Gives how many that were before."""
        numbers = self._numbers
        now = time.monotonic_ns()
        before = numbers[_REFUSED]
        if not before:
            numbers[_FIRST_REFUSED] = now
            self.saw()
        numbers[_LAST_REFUSED] = now
        numbers[_REFUSED] = before + 1
        return before

    # -- The drill's side --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it is at."""
        return State(self._numbers[_STATE])

    @property
    def since_ns(self) -> int:
        """Since when it is at that; 0: it has not said anything yet."""
        return self._numbers[_SINCE]

    @property
    def sends(self) -> int:
        """How many sends have begun."""
        return self._numbers[_SENDS]

    @property
    def seen_ns(self) -> int:
        """When it knew of the halt; 0: never."""
        return self._numbers[_SEEN]

    @property
    def left_ns(self) -> int:
        """When it let go of the running lock; 0: never."""
        return self._numbers[_LEFT]

    @property
    def refusals(self) -> int:
        """How many orders were refused because of the halt."""
        return self._numbers[_REFUSED]

    @property
    def first_refused_ns(self) -> int:
        """When the first one was; 0: none."""
        return self._numbers[_FIRST_REFUSED]

    @property
    def last_refused_ns(self) -> int:
        """When the latest one was; 0: none."""
        return self._numbers[_LAST_REFUSED]

    def intervals(self) -> list[tuple[int, int]]:
        """Begin and end of each send; an end that was never written is 0."""
        # A process that was killed between the two writes of `begin` left an instant that is not counted: take it, too.
        end = _HEAD + 2 * min(self.sends + 1, (self._end - _HEAD) // 2)
        flat = self._numbers[_HEAD:end].tolist()
        return [pair for pair in zip(flat[::2], flat[1::2], strict=True) if pair[0]]
