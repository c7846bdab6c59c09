"""Signed notes: the forms of C2SP *signed-note*, *tlog-checkpoint* and *tlog-cosignature*, and the lists of keys.

What is wrong with a note is a sentence, not an exception, as in `lines`. A key that an auditor hands in is
another matter: if it can't be understood, nothing can be verified with it, and that is a `ValueError`.

A note is text of whole lines, an empty line, and signature lines ``— NAME BASE64``. A signature line names its
key by name and by four bytes of a hash over name, type and key, so one that was made with another key is never tried.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from hashlib import sha256

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .kinds import INT_MAX

ED25519 = 0x01
"""The type of a key that signs the text itself."""

COSIGNATURE = 0x04
"""The type of a witness's key, which signs a time and the text."""

NOTE_MAX = 2**20
"""A longer note is refused: a list of ten thousand keys is not that long."""

_SERIAL_MAX = 9999
_PUBLIC_BYTES = 32
_ID_BYTES = 4
_TIME_BYTES = 8
_INT = "(?:0|[1-9][0-9]{0,15})"
_WHY = "time|size|halt|reset|start|rotation|shutdown"
_SIGNATURE = re.compile(r"— (?P<name>[^\s+]+) (?P<payload>[A-Za-z0-9+/]+={0,2})")
_CHECKPOINT = re.compile(
    rf"(?P<origin>interlock/[^\n/]+/[^\n/]+)\n(?P<size>{_INT})\n(?P<root>[A-Za-z0-9+/]{{43}}=)\n"
    rf"interlock epoch=(?P<epoch>{_INT}) ts=(?P<ts>{_INT}) why=(?P<why>{_WHY})\n",
)
_LIST = re.compile(rf"interlock keys (?P<name>[^\s+]+)\n(?P<serial>{_INT})\n(?P<made>{_INT})\n(?P<keys>(?:[^\n]+\n)*)")
_ENTRY = re.compile(rf"(?P<public>[A-Za-z0-9+/]{{44}}) (?P<start>{_INT}) (?P<stop>{_INT}) (?P<label>\S+)")


def ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature of a message is right."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _unbase64(text: str) -> bytes | None:
    """Decode base64 that is spelled as base64 must be, or return None."""
    try:
        found = b64decode(text)
    except (Base64Error, ValueError):
        return None
    return found if b64encode(found).decode() == text else None


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the four bytes by which a signature line names its key."""
    return sha256(f"{name}\n".encode() + bytes([kind]) + public).digest()[:_ID_BYTES]


@attrs.frozen(kw_only=True)
class Key:
    """A key that signatures are checked with.

    Attributes:
        name: under which it signs.
        public: the 32 bytes of the Ed25519 public key.
        kind: `ED25519` or `COSIGNATURE`.
    """

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature line names it."""
        return key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        """Name and id: enough to know it by."""
        return f"{self.name}+{self.id.hex()}"


def read_key(text: str) -> Key:
    """Read a verifier key, ``NAME+ID+KEY``.

    Raises:
        ValueError: it is none.
    """
    name, _, rest = text.strip().partition("+")
    number, _, key = rest.partition("+")
    raw = _unbase64(key)
    named = re.fullmatch(r"[^\s+]+", name)
    if raw is None or not named or len(raw) != 1 + _PUBLIC_BYTES or raw[0] not in (ED25519, COSIGNATURE):
        message = f"not a verifier key NAME+ID+KEY of Ed25519: {text.strip()!r:.200}"
        raise ValueError(message)
    found = Key(name=name, public=raw[1:], kind=raw[0])
    if found.id.hex() != number:
        message = f"the id of the verifier key {name} is {found.id.hex()}, not {number!r:.20}"
        raise ValueError(message)
    return found


@attrs.frozen(kw_only=True)
class Note:
    """A note as it stands, of which nothing is believed yet.

    Attributes:
        text: its text, with the last line feed.
        signatures: name, key id and what follows it, of each signature line.
    """

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    def signed_by(self, key: Key) -> bool | None:
        """Whether a key's signature is on it: None if none claims to be, False if one that does is wrong."""
        found = [payload for name, number, payload in self.signatures if (name, number) == (key.name, key.id)]
        return all(self._right(key, payload) for payload in found) if found else None

    def _right(self, key: Key, payload: bytes) -> bool:
        message, signature = self.text.encode(), payload
        if key.kind == COSIGNATURE:
            time, signature = payload[:_TIME_BYTES], payload[_TIME_BYTES:]
            message = b"cosignature/v1\ntime %d\n" % int.from_bytes(time, "big") + message
        return ed25519(key.public, signature, message)


def read_note(data: bytes) -> Note | str:
    """Read a signed note, or say why it is none."""
    if len(data) > NOTE_MAX:
        return "longer than a note may be"
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    if any(ord(char) < ord(" ") and char != "\n" for char in whole):
        return "control characters in a note"
    text, _, block = whole.rpartition("\n\n")
    if not (text and block.endswith("\n")):
        return "not a text, an empty line and signature lines"
    signatures = []
    for line in block[:-1].split("\n"):
        match = _SIGNATURE.fullmatch(line)
        payload = match and _unbase64(match["payload"])
        if match is None or payload is None or len(payload) <= _ID_BYTES:
            return f"not a signature line: {line!r:.100}"
        signatures.append((match["name"], payload[:_ID_BYTES], payload[_ID_BYTES:]))
    return Note(text=text + "\n", signatures=tuple(signatures))


@attrs.frozen(kw_only=True)
class Checkpoint:
    """What a checkpoint's text says.

    Attributes:
        origin: whose journal.
        size: over how many lines.
        root: their root.
        epoch: the kernel's.
        ts: when, in microseconds UTC.
        why: what made it due.
        note: the note that it stands in.
    """

    origin: str
    size: int
    root: bytes
    epoch: int
    ts: int
    why: str
    note: Note


def read_checkpoint(data: bytes) -> Checkpoint | str:
    """Read a checkpoint, or say why it is none."""
    note = read_note(data)
    if isinstance(note, str):
        return note
    match = _CHECKPOINT.fullmatch(note.text)
    root = match and _unbase64(match["root"])
    if match is None or root is None:
        return "not the four lines of a checkpoint"
    if max(int(match[name]) for name in ("size", "epoch", "ts")) > INT_MAX:
        return "a number that is not below 2^53"
    return Checkpoint(
        origin=match["origin"],
        size=int(match["size"]),
        root=root,
        epoch=int(match["epoch"]),
        ts=int(match["ts"]),
        why=match["why"],
        note=note,
    )


@attrs.frozen(kw_only=True)
class Entry:
    """One key of a list.

    Attributes:
        public: the 32 bytes of the Ed25519 public key.
        start: from then on it may sign, in microseconds UTC.
        stop: up to, and not with, then.
        label: a name for people.
    """

    public: bytes
    start: int
    stop: int
    label: str


@attrs.frozen(kw_only=True)
class KeyList:
    """What a list of keys says.

    Attributes:
        name: the root key's.
        serial: a later list has a higher one.
        made: when, in microseconds UTC.
        entries: its keys.
        note: the note that it stands in.
    """

    name: str
    serial: int
    made: int
    entries: tuple[Entry, ...]
    note: Note


def read_list(data: bytes) -> KeyList | str:
    """Read a list of keys, or say why it is none."""
    note = read_note(data)
    if isinstance(note, str):
        return note
    match = _LIST.fullmatch(note.text)
    if match is None:
        return "not a list of keys"
    entries = tuple(_entries(match["keys"]))
    if None in entries:
        return "a line of the list is not PUBLIC FROM TO LABEL"
    found = KeyList(
        name=match["name"],
        serial=int(match["serial"]),
        made=int(match["made"]),
        entries=tuple(entry for entry in entries if entry),
        note=note,
    )
    return _fault(found) or found


def _fault(found: KeyList) -> str:
    """Say what is wrong with what a list says; nothing, if it can be."""
    entries = found.entries
    if len({entry.public for entry in entries}) != len(entries):
        return "a key stands twice in the list"
    if not 1 <= found.serial <= _SERIAL_MAX:
        return f"its serial number is not from 1 to {_SERIAL_MAX}"
    if max([found.made, *(entry.stop for entry in entries)]) > INT_MAX:
        return "a number that is not below 2^53"
    if any(entry.stop < entry.start for entry in entries):
        return "a key ends before it begins"
    return ""


def _entries(text: str) -> Iterator[Entry | None]:
    for line in text.split("\n")[:-1]:
        match = _ENTRY.fullmatch(line)
        if match is None or (raw := b64decode(match["public"]))[0] != ED25519:
            yield None
        else:
            yield Entry(public=raw[1:], start=int(match["start"]), stop=int(match["stop"]), label=match["label"])
