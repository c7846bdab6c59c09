"""A courier takes checkpoints to one witness, in a thread of its own: a witness that is slow holds up nobody else.

He has at most one under way and one waiting, always the newest: what a newer checkpoint binds need not be kept by
itself. What goes wrong is an anomaly with a count, told the first time and then at each doubling.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from interlock.store.witness import Receipt, Witness, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.store.checkpoints import Notes, Point

__all__ = ["Courier", "counts"]

_TRIES: Final = 3
_PAUSE_S: Final = 1.0


def counts(number: int) -> bool:
    """Whether the so manieth failure in a row is told: the first, second, fourth, eighth, and so on."""
    return number & (number - 1) == 0


class Courier:
    """For one witness.

    Args:
        witness: to whom.
        notes: the home's checkpoints, to which cosignatures are added.
        prove: gives the consistency proof from one size to another.
        say: notes a record; see `Desk.say`.
        pause_s: between two tries; the second is twice as long.
    """

    def __init__(
        self,
        witness: Witness,
        notes: Notes,
        *,
        prove: Callable[[int, int], Sequence[bytes]],
        say: Callable[..., None],
        pause_s: float = _PAUSE_S,
    ) -> None:
        self.witness = witness
        self.failures = 0
        self.kept = 0
        self._notes = notes
        self._prove = prove
        self._say = say
        self._pause_s = pause_s
        self._change = threading.Condition()
        self._next: Point | None = None
        self._busy = self._over = False

    def start(self) -> None:
        """Begin to work."""
        name = f"interlock-witness-{self.witness.name}"
        threading.Thread(target=self._run, daemon=True, name=name).start()

    def take(self, point: Point) -> None:
        """Hand him a checkpoint; it does not wait."""
        with self._change:
            self._next = point
            self._change.notify_all()

    def idle(self, deadline: float) -> bool:
        """Wait until he has nothing left to do; False if that is not so at the deadline (`time.monotonic`)."""
        with self._change:
            return self._change.wait_for(
                lambda: self._next is None and not self._busy, max(0.0, deadline - time.monotonic())
            )

    def end(self) -> None:
        """Take nothing more. What is under way ends by itself."""
        with self._change:
            self._over = True
            self._next = None
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: self._over or self._next is not None)
                point, self._next = self._next, None
                if point is None:
                    return
                self._busy = True
            self._deliver(point)

    def _deliver(self, point: Point) -> None:
        """Try a few times, unless there is a newer one."""
        for attempt in range(1, _TRIES + 1):
            try:
                receipt = self.witness.keep(point.note, lambda old: self._prove(old, point.says.size))
                self._receive(point, receipt)
            except WitnessRefusedError as error:
                self._failed("WITNESS_REFUSED", error)
                return
            except Exception as error:  # noqa: BLE001 - a witness may be anybody's code, and may raise anything
                if attempt == _TRIES or self._superseded(attempt * self._pause_s):
                    self._failed("WITNESS_FAILED", error)
                    return
            else:
                self.failures = 0
                self.kept = point.says.size
                self._say("anchor", size=point.says.size, witness=self.witness.name)
                return

    def _superseded(self, pause_s: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: self._over or self._next is not None, pause_s)

    def _receive(self, point: Point, receipt: Receipt) -> None:
        if receipt.cosignature is not None:
            self._notes.cosign(point.says.size, receipt.cosignature)
        if receipt.token is not None:
            self._notes.stamp(point.says.size, self.witness.name, receipt.token)

    def _failed(self, code: str, error: Exception) -> None:
        self.failures += 1
        if counts(self.failures):
            said = f"{self.witness.name}, {self.failures} in a row: {str(error) or type(error).__name__}"
            self._say("anomaly", code=code, detail=said)
