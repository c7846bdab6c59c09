"""The two texts that are signed: a checkpoint of the journal, and the list of the keys that may sign one.

See ``docs/journal.md``, *Checkpoints*. Both have one spelling: what is parsed and written again is the same text, or
it is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

import attrs

from interlock.journal.notes import ED25519, NoteError, from_base64, key_name, number, quoted, to_base64

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WHYS", "Checkpoint", "Key", "KeyList", "Stamp", "origin_of"]

WHYS: Final = ("time", "size", "halt", "reset", "start", "rotation", "shutdown")
"""Why a checkpoint is made."""

_ROOT_BYTES: Final = 32
_KEY_BYTES: Final = 32
_MOST_LISTS: Final = 9999
_LABEL: Final = re.compile(r"[^\s\x00-\x1f]+")
_STAMP: Final = re.compile(r"interlock epoch=([0-9]+) ts=([0-9]+) why=([a-z]+)", re.ASCII)


def origin_of(home: str, engine: str) -> str:
    """The name of one engine's journal, which is its keys' name, too."""
    return key_name(f"interlock/{home}/{engine}")


@attrs.frozen(kw_only=True)
class Stamp:
    """The fourth line of a checkpoint of ours.

    Attributes:
        epoch: the kernel's.
        ts_us: microseconds UTC.
        why: one of `WHYS`.
    """

    epoch: int
    ts_us: int
    why: str

    def __str__(self) -> str:
        """The line."""
        return f"interlock epoch={self.epoch} ts={self.ts_us} why={self.why}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """From the line.

        Raises:
            NoteError: it is another.
        """
        found = _STAMP.fullmatch(line)
        if found is None or found[3] not in WHYS:
            message = f"not the fourth line of a checkpoint: {quoted(line)}"
            raise NoteError(message)
        return cls(epoch=number(found[1]), ts_us=number(found[2]), why=found[3])


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A tree at one size.

    Attributes:
        origin: which tree.
        size: how many leaves.
        root: of these, in hex.
        more: further lines; of ours one, a `Stamp`.
    """

    origin: str
    size: int
    root: str
    more: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text.

        Raises:
            NoteError: it can't be one.
        """
        text = "".join(
            f"{line}\n" for line in (self.origin, self.size, to_base64(bytes.fromhex(self.root)), *self.more)
        )
        if Checkpoint.parse(text) != self:
            message = f"no checkpoint can say this: {quoted(text)}"
            raise NoteError(message)
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a note's text.

        Raises:
            NoteError: it is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):  # noqa: PLR2004 - three, and what follows the last newline
            message = "a checkpoint has at least three lines, and none of them empty"
            raise NoteError(message)
        root = from_base64(lines[2])
        if len(root) != _ROOT_BYTES:
            message = f"a root of {len(root)} bytes"
            raise NoteError(message)
        return cls(origin=lines[0], size=number(lines[1]), root=root.hex(), more=tuple(lines[3:]))

    def stamp(self) -> Stamp:
        """What a checkpoint of ours says beside.

        Raises:
            NoteError: it is none of ours.
        """
        if len(self.more) != 1:
            message = f"a checkpoint of this journal has four lines, not {3 + len(self.more)}"
            raise NoteError(message)
        return Stamp.parse(self.more[0])


@attrs.frozen(kw_only=True)
class Key:
    """A segment key: it may sign from one moment up to, and not with, another.

    Attributes:
        public: its 32 bytes.
        from_us: microseconds UTC.
        to_us: likewise, not before ``from_us``.
        label: for people; no white space.
    """

    public: bytes
    from_us: int
    to_us: int
    label: str

    def valid(self, ts_us: int) -> bool:
        """Whether it may sign at that time."""
        return self.from_us <= ts_us < self.to_us

    def line(self) -> str:
        """Its line in the list."""
        return f"{to_base64(bytes([ED25519]) + self.public)} {self.from_us} {self.to_us} {self.label}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """From its line.

        Raises:
            NoteError: it is no key's.
        """
        parts = line.split(" ")
        if len(parts) != 4:  # noqa: PLR2004 - key, from, to, label
            message = f"not PUBLIC FROM TO LABEL: {quoted(line)}"
            raise NoteError(message)
        data = from_base64(parts[0])
        made = cls(public=data[1:], from_us=number(parts[1]), to_us=number(parts[2]), label=parts[3])
        if data[0] != ED25519 or len(made.public) != _KEY_BYTES:
            message = f"not an Ed25519 key: {quoted(parts[0])}"
            raise NoteError(message)
        if made.to_us < made.from_us:
            message = f"a key that ends before it begins: {quoted(line)}"
            raise NoteError(message)
        if not _LABEL.fullmatch(made.label):
            message = f"a label without white space, please: {quoted(made.label)}"
            raise NoteError(message)
        return made


@attrs.frozen(kw_only=True)
class KeyList:
    """The segment keys that a root key vouches for.

    Attributes:
        name: the root key's.
        serial: from 1.
        made_us: microseconds UTC.
        keys: in the order in which they were made.
    """

    name: str
    serial: int
    made_us: int
    keys: tuple[Key, ...]

    def text(self) -> str:
        """The note's text.

        Raises:
            NoteError: it can't be one.
        """
        lines = (f"interlock keys {self.name}", self.serial, self.made_us, *(key.line() for key in self.keys))
        text = "".join(f"{line}\n" for line in lines)
        if KeyList.parse(text) != self:
            message = f"no list of keys can say this: {quoted(text)}"
            raise NoteError(message)
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a note's text.

        Raises:
            NoteError: it is no list of keys.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not lines[0].startswith("interlock keys "):  # noqa: PLR2004 - as above
            message = f"not a list of keys: {quoted(text)}"
            raise NoteError(message)
        made = cls(
            name=key_name(lines[0].removeprefix("interlock keys ")),
            serial=number(lines[1]),
            made_us=number(lines[2]),
            keys=tuple(Key.parse(line) for line in lines[3:]),
        )
        if not 1 <= made.serial <= _MOST_LISTS:
            message = f"a list's serial number is from 1 to {_MOST_LISTS}, not {made.serial}"
            raise NoteError(message)
        if len({key.public for key in made.keys}) != len(made.keys):
            message = f"list {made.serial} has a key twice"
            raise NoteError(message)
        return made

    def follow(self, earlier: KeyList) -> None:
        """See that this list may come after that one.

        Raises:
            NoteError: it takes a key back, gives it more time, or is not a later one of the same root key.
        """
        if self.name != earlier.name or self.serial <= earlier.serial or self.made_us < earlier.made_us:
            message = f"list {self.serial} of {self.name} does not come after list {earlier.serial} of {earlier.name}"
            raise NoteError(message)
        mine = {key.public: key for key in self.keys}
        for key in earlier.keys:
            kept = mine.get(key.public)
            if kept is None or kept.from_us != key.from_us or kept.to_us > key.to_us:
                message = f"list {self.serial} takes back or prolongs key {key.label} of list {earlier.serial}"
                raise NoteError(message)

    def valid(self, ts_us: int) -> list[Key]:
        """The keys that may sign at that time, the one made last first."""
        return [key for key in reversed(self.keys) if key.valid(ts_us)]


def chain(lists: Iterable[KeyList]) -> KeyList | None:
    """The last of some lists, each of which must follow the one before.

    Raises:
        NoteError: one doesn't.
    """
    last: KeyList | None = None
    for one in sorted(lists, key=lambda found: found.serial):
        if last is not None:
            one.follow(last)
        last = one
    return last
