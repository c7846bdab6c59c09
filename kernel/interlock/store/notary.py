"""The notary signs the journal, in a thread of his own: never on the way of an order, never before a halt.

A checkpoint is made in five steps, and none of them is taken before the one above it is done.

1. **Seal.** Under the kernel's lock, without a disk: from here on size and root are fixed.
2. **Sync.** Without the lock: what is to be signed is on the disk, in either durability.
3. **Sign**, with the key that is valid at that moment. With none there is no checkpoint, and an anomaly says so.
4. **Keep** the note in the home, durably.
5. **Tell**: the journal gets its ``checkpoint`` record, and the couriers take the note to the witnesses.

So a note may be there without its record, after a crash, and never a record without its note. Nothing that goes
wrong here stops the engine or changes a halt: it is an anomaly in the journal, with a count.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from interlock.core.errors import InterlockError
from interlock.journal.statements import Checkpoint, Stamp
from interlock.store.checkpoints import Point
from interlock.store.courier import Courier, counts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from interlock.store.checkpoints import Notes
    from interlock.store.keys import Ring
    from interlock.store.witness import Witness

__all__ = ["EVERY", "EVERY_S", "Desk", "Notary", "Sealed"]

EVERY_S: Final = 60.0
"""Seconds after which a checkpoint is made, if anything happened."""
EVERY: Final = 100_000
"""Records after which one is made."""

_LOOK_S: Final = 0.5
_GRAVEST: Final = ("halt", "reset", "rotation", "start", "shutdown", "size", "time")


@attrs.frozen(kw_only=True)
class Sealed:
    """What there is to sign.

    Attributes:
        size: of the tree, its last leaf a seal.
        root: of it, in hex.
        ts_us: the time, not before that seal's.
        epoch: the kernel's.
        news: whether anything is in it that does not only tell of the last checkpoint.
    """

    size: int
    root: str
    ts_us: int
    epoch: int
    news: bool


class Desk(Protocol):
    """What a notary needs of a kernel. Called from his threads and the couriers'."""

    def size(self) -> int | None:
        """How many records there are, about, without a lock; None if the kernel is no more."""

    def turned(self) -> bool:
        """Whether a new segment was begun since this was asked last."""

    def seal(self) -> Sealed | None:
        """End the batch; None if the journal is broken, or closed."""

    def sync(self) -> bool:
        """Wait for the disk; False if the journal is broken."""

    def say(self, kind: str, **members: object) -> None:
        """Note a record and seal it, if that still can be."""


class Notary:
    """Makes one journal's checkpoints.

    Args:
        ring: the keys.
        origin: the journal's name.
        notes: where checkpoints are kept.
        desk: the kernel's.
        witnesses: who gets them.
        prove: gives the consistency proof from one size to another.
        every_s: seconds after which one is made.
        every: records after which one is made.

    Attributes:
        last: the newest checkpoint.
        failures: how many could not be made, in a row.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that it works with
        self,
        *,
        ring: Ring,
        origin: str,
        notes: Notes,
        desk: Desk,
        witnesses: Sequence[Witness] = (),
        prove: Callable[[int, int], Sequence[bytes]],
        every_s: float = EVERY_S,
        every: int = EVERY,
    ) -> None:
        self._ring = ring
        self._origin = origin
        self._notes = notes
        self._desk = desk
        self._every_s = every_s
        self._every = every
        self._couriers = [Courier(witness, notes, prove=prove, say=desk.say) for witness in witnesses]
        self._asked: deque[str] = deque()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._making = threading.Lock()
        self._over = False
        self._expired = False
        self._thread: threading.Thread | None = None
        self._made_s = time.monotonic()
        self._tried = 0
        self._copied = ring.lists.newest
        self.failures = 0
        self.last: Checkpoint | None = None

    def start(self, newest: Point | None, behind: Collection[str] = ()) -> None:
        """Begin to work.

        Args:
            newest: the newest checkpoint in the home.
            behind: the witnesses that are known to lack it.
        """
        self.last = newest.says if newest else None
        for courier in self._couriers:
            courier.start()
            if newest is not None and courier.witness.name in behind:
                courier.take(newest)
        self._thread = threading.Thread(target=self._run, daemon=True, name="interlock-notary")
        self._thread.start()

    def ask(self, why: str) -> None:
        """Have a checkpoint made soon. It does not wait; several at once are one."""
        self._asked.append(why)
        self._wake.set()

    def make(self, why: str) -> bool:
        """Make one now, in this thread, if there is anything new. False if it could not be made."""
        with self._making:
            self._tried = self._desk.size() or 0
            try:
                self._make(why)
            except Exception as error:  # noqa: BLE001 - whatever it is, the engine goes on, and the journal says so
                self._failed(error)
                return False
        self._made_s = time.monotonic()
        return True

    def finish(self, timeout_s: float) -> bool:
        """The last checkpoint, and its way to the witnesses. False if it was not made in this time."""
        deadline = time.monotonic() + timeout_s
        self._over = True
        self._wake.set()
        made = self._ended.wait(timeout_s) and not self.failures and not self._expired
        for courier in self._couriers:
            courier.idle(deadline)
            courier.end()
        return made

    def _run(self) -> None:
        """The thread: what was asked for, then what is due; at the end the last one."""
        try:
            while not self._over:
                self._wake.wait(min(_LOOK_S, self._every_s))
                self._wake.clear()
                if self._desk.size() is None:
                    return
                why = self._due()
                if why is not None and not self.make(why):
                    self._made_s = time.monotonic()  # to be tried again when the next is due
            self.make("shutdown")
        finally:
            self._ended.set()
            if not self._over:  # the kernel is gone
                for courier in self._couriers:
                    courier.end()

    def _due(self) -> str | None:
        asked = set()
        with contextlib.suppress(IndexError):
            while True:
                asked.add(self._asked.popleft())
        if (self._desk.size() or 0) - max(self._tried, self.last.size if self.last else 0) >= self._every:
            asked.add("size")
        if self._desk.turned():
            asked.add("rotation")
        if time.monotonic() - self._made_s >= self._every_s:
            asked.add("time")
        return next((why for why in _GRAVEST if why in asked), None)

    def _make(self, why: str) -> None:
        sealed = self._desk.seal()
        if sealed is None or not sealed.news or not self._desk.sync():
            return
        self._ring.refresh()
        lists = self._ring.lists
        if lists.newest != self._copied:  # before anything is signed with a key that only it has
            lists.write(self._notes.home / "keys")
            self._copied = lists.newest
        last_us = self.last.stamp().ts_us if self.last else 0
        ts_us = max(sealed.ts_us, last_us)  # a clock that was set back does not make two checkpoints change places
        key = self._ring.valid(ts_us)
        if key is None:
            self._no_key()
            return
        signer = self._ring.signer(key, self._origin)
        stamp = str(Stamp(epoch=sealed.epoch, ts_us=ts_us, why=why))
        says = Checkpoint(origin=self._origin, size=sealed.size, root=sealed.root, more=(stamp,))
        point = Point(signer.note(says.text()), says)
        self._notes.write(point)
        self.last = says
        self.failures = 0
        self._expired = False
        self._desk.say("checkpoint", size=says.size, root=says.root, key=signer.verifier.key.hex(), why=why)
        for courier in self._couriers:
            courier.take(point)

    def _no_key(self) -> None:
        """Say so, once."""
        if not self._expired:
            self._expired = True
            said = f"{self._ring.path}: no key may sign now; make one with `interlock keys issue`"
            self._desk.say("anomaly", code="KEY_EXPIRED", detail=said)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if counts(self.failures):
            said = str(error) if isinstance(error, InterlockError) else f"{type(error).__name__}: {error}"
            self._desk.say("anomaly", code="CHECKPOINT_FAILED", detail=f"{self.failures} in a row: {said}")
