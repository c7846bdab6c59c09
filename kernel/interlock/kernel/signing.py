"""Checkpoints: what a kernel has for them, and what keeps it from starting.

Here a journal is held against what was signed of it before, in the home and elsewhere. If it was rolled back the kernel
comes up HALTED, does not start, and signs nothing: two checkpoints of one journal must never contradict each other.
While too few witnesses have answered it does neither, and asks them again at each `start`.
"""

from __future__ import annotations

import contextlib
import weakref
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from interlock.core.errors import HomeError
from interlock.core.machine import refusal
from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode, Reason
from interlock.journal import records
from interlock.journal.notes import Note, NoteError
from interlock.journal.statements import Checkpoint, Stamp
from interlock.journal.writer import JournalError
from interlock.store.keys import Lists, Ring
from interlock.store.lookback import Lookback, Past
from interlock.store.notary import EVERY, EVERY_S, Notary, Sealed
from interlock.store.private import KeysError
from interlock.store.proofs import Prover, tree_at

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from interlock.attach import Attachment
    from interlock.core.values import Verdict
    from interlock.kernel.inside import Inside
    from interlock.store.witness import Witness

__all__ = ["KernelDesk", "Signing", "Wish", "look_back"]

_LAST_S: Final = 5.0
_AFTER_THE_END: Final = frozenset({"checkpoint", "anchor"})


@attrs.frozen(kw_only=True)
class Wish:
    """What `Kernel.attach` was asked for.

    Attributes:
        ring: the keys.
        witnesses: who gets the checkpoints.
        quorum: how many must have answered before a start; None: all that remember anything.
        every_s: seconds after which a checkpoint is made.
        every: records after which one is made.
    """

    ring: Ring
    witnesses: tuple[Witness, ...] = ()
    quorum: int | None = None
    every_s: float = EVERY_S
    every: int = EVERY

    @classmethod
    def of(
        cls,
        keys: str | os.PathLike[str] | None,
        witnesses: Sequence[Witness],
        quorum: int | None,
        every_s: float,
        every: int,
    ) -> Wish | None:
        """None if no checkpoints are wanted.

        Raises:
            ValueError: this does not go together.
            HomeError: the keys are not as they should be.
        """
        names = [witness.name for witness in witnesses]
        asked = sum(1 for witness in witnesses if witness.remembers)
        if len({*names}) != len(names) or not all(map(_plain, names)):
            message = f"each witness needs a name of its own, of letters, digits, '.', '_' and '-': {names!r}"
            raise ValueError(message)
        if quorum is not None and not 0 <= quorum <= asked:
            message = f"of {asked} witnesses that remember anything {quorum} can't answer"
            raise ValueError(message)
        if not every_s > 0 or every < 1:
            message = f"a checkpoint is made every so many seconds and records, not {every_s!r} and {every!r}"
            raise ValueError(message)
        if keys is None:
            if names:
                message = "witnesses keep checkpoints, which need keys"
                raise ValueError(message)
            return None
        try:
            return cls(ring=Ring.open(Path(keys)), witnesses=(*witnesses,), quorum=quorum, every_s=every_s, every=every)
        except KeysError as error:
            raise HomeError(HaltCode.KEYS_INVALID, str(error)) from error


def _plain(name: str) -> bool:
    return bool(name) and all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)


class Signing:
    """A kernel's checkpoints.

    Attributes:
        lookback: what the witnesses said.
        rolled_back: why this journal is not the one that was signed, or None.
    """

    def __init__(self, wish: Wish, at: Attachment, past: Past) -> None:
        self.lookback = Lookback(wish.witnesses, wish.quorum)
        self.rolled_back: str | None = None
        self._wish = wish
        self._past = past
        self._origin = at.origin
        self._notes = at.notes
        self._asked: list[str] = []
        self._notary: Notary | None = None

    @property
    def last(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return self._notary.last if self._notary else self._past.newest.says if self._past.newest else None

    def look(self) -> None:
        """Ask the witnesses that have not answered yet."""
        if self.rolled_back is None and not self.lookback.enough:
            self.lookback.ask(self._past)
            self.rolled_back = next(iter(self.lookback.against), None)

    def begin(self, desk: KernelDesk) -> bool:
        """Begin to sign, if nothing is against it and it has not begun. False if there is no thread to be had."""
        if self._notary is None and self.rolled_back is None and self.lookback.enough:
            notary = Notary(
                ring=self._wish.ring,
                origin=self._origin,
                notes=self._notes,
                desk=desk,
                witnesses=self._wish.witnesses,
                prove=self._past.prove,
                every_s=self._wish.every_s,
                every=self._wish.every,
            )
            for why in self._asked:
                notary.ask(why)
            try:
                notary.start(self._past.newest, self.lookback.behind)
            except RuntimeError:
                return False
            self._notary = notary
        return True

    def ask(self, why: str) -> None:
        """Have a checkpoint made, as soon as may be. It does not wait."""
        if self._notary is not None:
            self._notary.ask(why)
        else:
            self._asked.append(why)

    def keeps_out(self, now_us: int) -> Verdict | None:
        """Why it may not start, or None; witnesses that were silent are asked once more."""
        self.look()
        if self.rolled_back is not None:
            return refusal(Reason.JOURNAL_ROLLED_BACK, "checkpoint", self.rolled_back)
        if not self.lookback.enough:
            silent = "; ".join(f"{name}: {why}" for name, why in self.lookback.silent.items())
            return refusal(Reason.WITNESS_SILENT, f"{self.lookback.wanted} must answer", records.printed(silent, 500))
        ring = self._wish.ring
        try:
            ring.refresh()
        except KeysError as error:
            return refusal(Reason.NO_KEY, str(ring.path), records.printed(error, 500))
        if ring.valid(now_us) is None:
            return refusal(Reason.NO_KEY, str(ring.path), "no key may sign now; make one with `interlock keys issue`")
        return None

    def finish(self) -> bool:
        """Sign the journal's end, and let it come to the witnesses; in bounded time. False if it was not signed."""
        return self._notary is None or self._notary.finish(_LAST_S)


def look_back(wish: Wish, at: Attachment, now_us: int) -> Signing:
    """Hold the journal against what the witnesses have, and copy the lists of keys into the home.

    Args:
        wish: what was asked for.
        at: the home. What is wrong becomes its fault.
        now_us: microseconds UTC.

    Raises:
        HomeError: the home has another list of keys than the directory.
    """
    home = at.sentinel.home
    _copy_lists(wish.ring, home.path / "keys")
    with contextlib.suppress(OSError):  # they harm nobody
        at.notes.tidy()
    stream = home.stream(at.sentinel.berth.name)
    past = Past(
        size=at.journal.seq,
        newest=at.newest,
        probe=at.newest.note if at.newest else _empty(wish.ring, at.origin, at.core.epoch, now_us),
        root=lambda size: tree_at(stream, size).root(),
        prove=Prover(stream),
    )
    signing = Signing(wish, at, past)
    signing.rolled_back = at.rolled_back
    if not at.sentinel.identity:
        signing.rolled_back = f"{home.path}: nobody knows which home this is, so nothing is signed for it"
    signing.look()
    if signing.rolled_back is not None and (at.fault is None or at.fault[0] is HaltCode.EXTERNAL):
        at.fault = (HaltCode.JOURNAL_ROLLED_BACK, signing.rolled_back)
        at.core.mode = Mode.HALTED
    return signing


def _copy_lists(ring: Ring, there: Path) -> None:
    try:
        there.mkdir(mode=0o700, exist_ok=True)
        known = Lists.read(there, ring.lists.verifier)
        ring.lists.joined(known)
        mine, last = ring.lists.newest, known.newest
        if mine is not None and last is not None and last.serial > mine.serial:
            message = (
                f"{ring.path}: its lists end with {mine.serial}, but the home has seen {last.serial}: they went back"
            )
            raise HomeError(HaltCode.KEYS_INVALID, message)
        ring.lists.write(there)
    except (KeysError, OSError) as error:
        message = f"{there}: {error}"
        raise HomeError(HaltCode.KEYS_INVALID, message) from error


def _empty(ring: Ring, origin: str, epoch: int, now_us: int) -> Note:
    """A checkpoint of the empty tree: it says nothing, and goes with every journal of this name."""
    stamp = str(Stamp(epoch=epoch, ts_us=now_us, why="start"))
    text = Checkpoint(origin=origin, size=0, root=sha256(b"").hexdigest(), more=(stamp,)).text()
    key = ring.valid(now_us)
    try:
        return ring.signer(key, origin).note(text) if key is not None else Note(text, ())
    except (KeysError, NoteError):
        return Note(text, ())  # which is enough for a witness that reads no signatures


class KernelDesk:
    """The notary's way to a kernel, which may be gone: he does not keep it alive.

    Args:
        kernel: the kernel.
    """

    def __init__(self, kernel: Inside) -> None:
        self._kernel = weakref.ref(kernel)
        self._quiet_at = -1
        self._segment = kernel._sentinel.segment.path  # noqa: SLF001

    def _open(self) -> Inside | None:
        kernel = self._kernel()
        return None if kernel is None or (kernel._closed and not kernel._finishing) else kernel  # noqa: SLF001

    def size(self) -> int | None:
        """See `Desk`."""
        kernel = self._open()
        return None if kernel is None else kernel._journal.seq  # noqa: SLF001

    def turned(self) -> bool:
        """See `Desk`."""
        kernel = self._open()
        was = self._segment
        if kernel is not None:
            self._segment = kernel._sentinel.segment.path  # noqa: SLF001
        return was != self._segment

    def seal(self) -> Sealed | None:
        """See `Desk`."""
        kernel = self._open()
        if kernel is None:
            return None
        with kernel._lock, kernel._last_words():  # noqa: SLF001
            recorder, journal = kernel._recorder, kernel._journal  # noqa: SLF001
            news = journal.next() != self._quiet_at
            if self._open() is None or recorder.seal() is None:
                return None
            size, root = journal.sealed
            ts_us = (kernel._mono() + recorder.utc_ns) // 1000  # noqa: SLF001
            return Sealed(size=size, root=root, ts_us=ts_us, epoch=kernel._core.epoch, news=news)  # noqa: SLF001

    def sync(self) -> bool:
        """See `Desk`."""
        kernel = self._open()
        if kernel is None:
            return False
        if kernel._finishing:  # noqa: SLF001
            kernel._sentinel.segment.sync()  # noqa: SLF001
            return True
        try:
            kernel._journal.sync()  # noqa: SLF001
        except JournalError:
            with kernel._lock:  # noqa: SLF001
                kernel._handle()  # noqa: SLF001
            return False
        return True

    def say(self, kind: str, **members: object) -> None:
        """See `Desk`."""
        kernel = self._open()
        if kernel is None:
            return
        with kernel._lock, kernel._last_words():  # noqa: SLF001
            recorder, journal = kernel._recorder, kernel._journal  # noqa: SLF001
            finishing = kernel._finishing  # noqa: SLF001
            if self._open() is None or (finishing and kind not in _AFTER_THE_END):
                return
            before = journal.next()
            quiet = before == (members["size"] if kind == "checkpoint" else self._quiet_at)
            told = {name: records.text(what) if name == "detail" else what for name, what in members.items()}
            recorder.note(kind, **told)
            if finishing:  # the end has one seal, and nothing is handled any more
                return
            recorder.seal()
            if quiet and kind in _AFTER_THE_END:
                self._quiet_at = journal.next()
            kernel._handle()  # noqa: SLF001
