"""The rules `Keys`, `Checkpoints` and `Anchors`: what was handed in beside the journal, held against it.

All of it is read before the journal is, for the walk must know of which sizes it has to note the root. What the
walk noted are `Mark` s; once it is through, each checkpoint is held against its own.

A signature is believed if its key stands in the latest list, if the lists are right, and if they are signed by the
root key that the auditor has from elsewhere. Without that key everything is still checked, for a fault is a fault
whoever made it, but nothing is believed.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise

import attrs

from .kinds import Record
from .notes import Checkpoint, Entry, Key, KeyList, read_checkpoint, read_key, read_list
from .report import Anchor, Checkpoints, Finding
from .stamps import Stamp, read_certificate, read_stamp

KEYS = "Keys"
CHECKPOINTS = "Checkpoints"
ANCHORS = "Anchors"

BEFORE_SEAL_US = 1_000_000
"""A checkpoint may be dated so much before the seal that it signs."""

_NOTE = ".note"
_NAME_DIGITS = 20

File = tuple[str, bytes]
"""A file's name and what is in it."""


@attrs.frozen(kw_only=True)
class Inputs:
    """What is handed in beside the journal.

    Attributes:
        root_key: the verifier key of the root, from outside the home; None if it is not given.
        lists: the lists of keys.
        notes: the home's checkpoints; None if they are not given, which is not the same as none.
        anchors: checkpoints and time-stamp tokens from outside the home.
        aside: the origins of those that were left aside, as they are of other homes.
        stamps: time-stamp tokens of the home; one of an authority that is not given shows nothing, and is no fault.
        witnesses: verifier keys of witnesses.
        authorities: certificates of time-stamp authorities, PEM or DER.
        later: reads the checkpoint of a size now, for one that was made after ``notes`` were read.
    """

    root_key: str | None = None
    lists: tuple[File, ...] = ()
    notes: tuple[File, ...] | None = None
    anchors: tuple[File, ...] = ()
    aside: tuple[str, ...] = ()
    stamps: tuple[File, ...] = ()
    witnesses: tuple[str, ...] = ()
    authorities: tuple[bytes, ...] = ()
    later: Callable[[int], bytes | None] | None = None

    def told(self) -> Iterator[str]:
        """Say what was given, a sentence each."""
        if self.root_key is not None:
            yield f"root key {read_key(self.root_key)}"
        for count, what in (
            (len(self.lists), "list of keys"),
            (len(self.notes or ()), "checkpoint of the home"),
            (len(self.anchors), "anchor"),
            (len(self.stamps), "time stamp of the home"),
            (len(self.witnesses), "key of a witness"),
            (len(self.authorities), "certificate of a time-stamp authority"),
        ):
            if count:
                yield f"{what}: {count}"
        if serials := [found.serial for _, data in self.lists if not isinstance(found := read_list(data), str)]:
            yield f"newest list of keys: {max(serials)}"
        for origin in sorted({*self.aside}):
            yield f"anchor left aside, as it is of {origin}: {self.aside.count(origin)}"


@attrs.frozen(kw_only=True)
class Mark:
    """What the walk noted of a size that a checkpoint names.

    Attributes:
        root: the tree's; None if it is not known, since a seal before did not hold.
        ts: of the seal right before; None if no seal is there.
        about: how many `checkpoint`, `anchor` and `seal` records there were until then.
    """

    root: bytes | None
    ts: int | None
    about: tuple[int, int, int] = (0, 0, 0)


@attrs.frozen(kw_only=True)
class _Held:
    """A checkpoint that was given, right in form."""

    name: str
    rule: str
    checkpoint: Checkpoint
    believed: bool
    witnesses: tuple[str, ...]


class Evidence:
    """The inputs of one verification, read, and what is wrong with them.

    Attributes:
        wanted: the sizes of which the walk must note a `Mark`, rising.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Read what was handed in.

        Raises:
            ValueError: a key or a certificate that the auditor gave is none.
        """
        self._inputs = inputs
        self._findings: list[Finding] = []
        self._root = None if inputs.root_key is None else read_key(inputs.root_key)
        self._witnesses = [read_key(text) for text in inputs.witnesses]
        self._authorities = [read_certificate(data) for data in inputs.authorities]
        self._entries: dict[bytes, Entry] = {}
        self._trusted = self._read_lists() and self._root is not None
        self._held: list[_Held] = []
        self._stamps: list[tuple[str, Stamp, bool]] = []
        self._given: dict[int, Checkpoint] = {}
        for name, data in inputs.notes or ():
            self._read_note(name, data)
        for name, data in inputs.anchors:
            self._read_anchor(name, data)
        for name, data in inputs.stamps:
            self._read_stamp(name, data, "not a checkpoint's", strict=False)
        self._held.sort(key=lambda held: (held.checkpoint.size, held.rule != CHECKPOINTS, held.name))
        self.wanted = sorted({held.checkpoint.size for held in self._held})

    def _broken(self, name: str, rule: str, message: str, size: int = 0) -> None:
        self._findings.append(Finding(file=name, line=0, seq=size, rule=rule, message=message))

    # --- keys ---

    def _read_lists(self) -> bool:
        """Read the lists of keys; return whether there are any and all is right with them."""
        lists: dict[int, KeyList] = {}
        for name, data in self._inputs.lists:
            found = read_list(data)
            if isinstance(found, str):
                self._broken(name, KEYS, found)
                continue
            same = lists.setdefault(found.serial, found)
            if same.note.text != found.note.text:
                self._broken(name, KEYS, f"another list has the serial number {found.serial}, too")
            if self._root is not None and (found.name != self._root.name or not found.note.signed_by(self._root)):
                self._broken(name, KEYS, f"the list is not signed by the root key {self._root}")
        for earlier, later in pairwise(lists[serial] for serial in sorted(lists)):
            if fault := _unlike(earlier, later):
                self._broken(f"list {later.serial}", KEYS, fault)
        if lists:
            self._entries = {entry.public: entry for entry in lists[max(lists)].entries}
        return bool(lists) and not self._findings

    def _signer(self, checkpoint: Checkpoint) -> str | None:
        """Say what is wrong with the signature of a checkpoint, if anything; without lists, nothing is."""
        if not self._entries:
            return None
        for entry in self._entries.values():
            signed = checkpoint.note.signed_by(Key(name=checkpoint.origin, public=entry.public))
            if signed is False:
                return f"the signature of key {entry.label} is wrong"
            if signed and not entry.start <= checkpoint.ts < entry.stop:
                return f"key {entry.label} was not valid at its ts"
            if signed:
                return None
        return "not signed by a key of the list"

    # --- checkpoints and anchors ---

    def _read_note(self, name: str, data: bytes) -> None:
        found = read_checkpoint(data)
        if isinstance(found, str):
            self._broken(name, CHECKPOINTS, found)
        elif name.rpartition("/")[2] != f"{found.size:0{_NAME_DIGITS}}{_NOTE}":
            self._broken(name, CHECKPOINTS, f"the name is not that of a checkpoint of size {found.size}", found.size)
        else:
            self._given[found.size] = found
            self._hold(name, CHECKPOINTS, found)

    def _read_anchor(self, name: str, data: bytes) -> None:
        found = read_checkpoint(data)
        if isinstance(found, str):
            self._read_stamp(name, data, f"no checkpoint ({found})", strict=True)
        else:
            self._hold(name, ANCHORS, found)

    def _read_stamp(self, name: str, data: bytes, why: str, *, strict: bool) -> None:
        stamp = read_stamp(data)
        if isinstance(stamp, str):
            self._broken(name, ANCHORS, f"{why}, and no time stamp ({stamp})")
        else:
            self._stamps.append((name, stamp, strict))

    def _hold(self, name: str, rule: str, checkpoint: Checkpoint) -> None:
        fault = self._signer(checkpoint)
        if fault is not None:
            self._broken(name, rule, fault, checkpoint.size)
        words = {witness: checkpoint.note.signed_by(witness) for witness in self._witnesses}
        for witness, right in words.items():
            if right is False:
                self._broken(name, rule, f"the signature of witness {witness} is wrong", checkpoint.size)
        held = _Held(
            name=name,
            rule=rule,
            checkpoint=checkpoint,
            believed=self._trusted and fault is None,
            witnesses=tuple(str(witness) for witness, right in words.items() if right),
        )
        self._held.append(held)

    # --- against the journal ---

    def told(self, record: Record) -> str | None:
        """Say what is wrong with a `checkpoint` record, if anything."""
        if self._inputs.notes is None:
            return None
        size = record["size"]
        found: Checkpoint | str | None = self._given.get(size)
        if found is None and self._inputs.later is not None:
            data = self._inputs.later(size)
            found = read_checkpoint(data) if data else None
            if isinstance(found, Checkpoint) and (fault := self._signer(found)):
                return f"its note: {fault}"
        if not isinstance(found, Checkpoint):
            return f"there is no note of the checkpoint of size {size}"
        if record["root"] != found.root.hex():
            return f"its note of size {size} has another root"
        if record["why"] != found.why:
            return f"its note says why={found.why}"
        ids = [number.hex() for name, number, _ in found.note.signatures if name == found.origin]
        return None if record["key"] in ids else f"its note is not signed by key {record['key']}"

    def findings(self, marks: Mapping[int, Mark], records: int, origin: str | None, *, whole: bool) -> list[Finding]:
        """Hold the checkpoints against what the walk noted.

        Args:
            marks: what it noted of the sizes that are `wanted`.
            records: how many records there are.
            origin: whose journal it is, as far as it says.
            whole: whether the journal was read to its end.
        """
        latest = 0
        roots: dict[int, bytes] = {}
        for held in self._held:
            checkpoint = held.checkpoint
            faults = [*self._against(checkpoint, marks, records, origin, whole=whole)]
            if roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                faults.append(f"another checkpoint of size {checkpoint.size} has another root")
            if checkpoint.ts < latest:
                faults.append("its ts lies before that of a smaller one")
            latest = max(latest, checkpoint.ts)
            for fault in faults:
                self._broken(held.name, held.rule, fault, checkpoint.size)
        for name, stamp, strict in self._stamps:
            if self._stamped(stamp) is None:
                self._broken(name, ANCHORS, "the time stamp is of no checkpoint that was given")
            elif strict and self._authorities and not any(map(stamp.signed_by, self._authorities)):
                self._broken(name, ANCHORS, "the time stamp is not signed by an authority that was given")
        return self._findings

    @staticmethod
    def _against(
        checkpoint: Checkpoint, marks: Mapping[int, Mark], records: int, origin: str | None, *, whole: bool
    ) -> Iterator[str]:
        if origin is not None and checkpoint.origin != origin:
            yield f"its origin is {checkpoint.origin!r:.200}, not {origin!r:.200}"
        if checkpoint.size > records:
            if whole:
                yield f"it is of {checkpoint.size} records, but the journal has only {records}"
            return
        mark = marks.get(checkpoint.size)
        if mark is None or mark.ts is None:
            yield "no seal stands right before its size"
        elif mark.ts - checkpoint.ts > BEFORE_SEAL_US:
            yield "its ts lies before that of the seal which it signs"
        if mark is not None and mark.root not in (None, checkpoint.root):
            yield "its root is not the tree's"

    def _stamped(self, stamp: Stamp) -> _Held | None:
        """Return the checkpoint that a token is over."""
        texts = ((held, sha256(held.checkpoint.note.text.encode()).digest()) for held in self._held)
        return next((held for held, imprint in texts if imprint == stamp.imprint), None)

    def signed(self, marks: Mapping[int, Mark], records: int) -> int | None:
        """Return how many records the last checkpoint signs that can be believed; None without a root key."""
        if self._root is None:
            return None
        sizes = (held.checkpoint.size for held in self._held if held.believed and _proved(held.checkpoint, marks))
        return max((size for size in sizes if size <= records), default=0)

    def checkpoints(self) -> Checkpoints:
        """Return what is told of the checkpoints."""
        own = [held for held in self._held if held.rule == CHECKPOINTS]
        last = own[-1].checkpoint if own else None
        return Checkpoints(
            given=None if self._inputs.notes is None else len(self._inputs.notes),
            believed=sum(held.believed for held in own),
            last_size=last.size if last else None,
            last_ts=last.ts if last else None,
        )

    def anchors(self) -> Iterator[Anchor]:
        """Return what is told of each anchor, and of each checkpoint that a given witness signed."""
        for held in self._held:
            if held.rule == ANCHORS or held.witnesses:
                yield Anchor(
                    name=held.name,
                    form="checkpoint",
                    size=held.checkpoint.size,
                    ts=held.checkpoint.ts,
                    believed=held.believed,
                    witnesses=held.witnesses,
                )
        for name, stamp, _ in self._stamps:
            of = self._stamped(stamp)
            yield Anchor(
                name=name,
                form="time stamp",
                size=of.checkpoint.size if of else None,
                ts=int(stamp.time.timestamp()) * 1_000_000,
                believed=any(map(stamp.signed_by, self._authorities)),
            )


def _proved(checkpoint: Checkpoint, marks: Mapping[int, Mark]) -> bool:
    mark = marks.get(checkpoint.size)
    return mark is not None and mark.ts is not None and mark.root == checkpoint.root


def _unlike(earlier: KeyList, later: KeyList) -> str | None:
    """Say what a later list changed that it must not."""
    if later.name != earlier.name:
        return "its root key has another name than that of the list before"
    if later.made < earlier.made:
        return "it was made before the list before"
    now = {entry.public: entry for entry in later.entries}
    for entry in earlier.entries:
        same = now.get(entry.public)
        if same is None or same.start != entry.start or same.stop > entry.stop:
            return f"key {entry.label} of the list before is gone, or valid for longer"
    return None
