"""Signed notes: a text, and who signs it (C2SP *signed-note*, *tlog-checkpoint*, *tlog-cosignature*).

    text, whose last character is a newline
    <an empty line>
    — NAME BASE64(ID, SIGNATURE)

A key is known by name and ID together, and the ID is a short hash of the name, the algorithm and the public key: it
says which key to try, and proves nothing. Three rules.

1. **One spelling.** What can be written in two ways is taken in one of them only: base64 with its padding and without
   stray bits, numbers without leading zeros, no control characters. Everything else is no note, and the error says why.
2. **No text without its signature.** `Verifier.verify` gives the text of a note that the key has signed, or raises. A
   note that carries a good and a bad signature of one key is refused.
3. **No private key here.** Who signs is a callable; where its key is kept is not this module's to know.

Two texts are ours: the checkpoint (`Checkpoint`), and the list of keys (`KeyList`); see ``docs/journal.md``.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "Note",
    "NoteError",
    "Signature",
    "Signer",
    "Verifier",
    "key_id",
    "key_name",
    "number",
    "verified",
]

ED25519: Final = 0x01
"""The signature's type: Ed25519 over the text."""
COSIGNATURE: Final = 0x04
"""The signature's type: a witness's, Ed25519 over a time and the text."""

_LARGEST: Final = 1 << 20
_MOST_SIGNATURES: Final = 100
_LONGEST_QUOTED: Final = 100
_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s\x00-\x1f+]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8


class NoteError(InterlockError):
    """It is no note, or not signed as it should be; the message says why."""


def quoted(text: str) -> str:
    """How a message shows what was refused: cut, in quotation marks, nothing in it that does not print."""
    return repr(text[:_LONGEST_QUOTED])


def number(text: str) -> int:
    """A number in its one spelling, below 2^53.

    Raises:
        NoteError: it is none.
    """
    if not _NUMBER.fullmatch(text) or int(text) >= 1 << 53:
        message = f"not a number from 0 to 2^53 in its shortest spelling: {quoted(text)}"
        raise NoteError(message)
    return int(text)


def from_base64(text: str) -> bytes:
    """What base64 says, if it is the one spelling of that.

    Raises:
        NoteError: it isn't.
    """
    with suppress(ValueError):
        data = b64decode(text)
        if data and to_base64(data) == text:
            return data
    message = f"not base64 as it should be: {quoted(text)}"
    raise NoteError(message)


def to_base64(data: bytes) -> str:
    """As base64, with padding."""
    return b64encode(data).decode()


def key_name(name: str) -> str:
    """The name, if a key can have it: not empty, no space, no ``+``, nothing that does not print.

    Raises:
        NoteError: it can't.
    """
    if not _NAME.fullmatch(name):
        message = f"a key's name has no space, no control character and no '+', and is not empty: {quoted(name)}"
        raise NoteError(message)
    return name


def key_id(name: str, algorithm: int, public: bytes) -> bytes:
    """The four bytes by which a note names a key, beside its name."""
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:_ID_BYTES]


def verified(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the Ed25519 signature (RFC 8032) of a message by the key of these 32 bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# -- Notes ---------------------------------------------------------------------------------------------


@attrs.frozen
class Signature:
    """One line below a note: name and ID of the key, and what it made."""

    name: str
    key: bytes
    data: bytes

    def line(self) -> str:
        """The line, without its newline."""
        return f"{_DASH}{self.name} {to_base64(self.key + self.data)}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The opposite.

        Raises:
            NoteError: it is no such line.
        """
        parts = line.removeprefix(_DASH).split(" ")
        if not line.startswith(_DASH) or len(parts) != 2:  # noqa: PLR2004 - name and signature
            message = f"not a signature's line: {quoted(line)}"
            raise NoteError(message)
        data = from_base64(parts[1])
        if len(data) <= _ID_BYTES:
            message = f"a signature of {key_name(parts[0])} without a signature in it"
            raise NoteError(message)
        return cls(key_name(parts[0]), data[:_ID_BYTES], data[_ID_BYTES:])


@attrs.frozen
class Note:
    """A text, which ends in a newline, and its signatures. It was not verified by being one."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Its bytes.

        Raises:
            NoteError: it can't be a note.
        """
        data = "".join((self.text, "\n", *(one.line() + "\n" for one in self.signatures))).encode()
        if Note.decode(data) != self:
            message = "this text can't be that of a note"
            raise NoteError(message)
        return data

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """From its bytes.

        Raises:
            NoteError: it is no note; nobody was asked whether its signatures are good.
        """
        if len(data) > _LARGEST:
            message = f"a note of {len(data)} bytes; the most are {_LARGEST}"
            raise NoteError(message)
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            message = f"not UTF-8 at byte {error.start}"
            raise NoteError(message) from error
        if any(letter < " " and letter != "\n" for letter in whole):
            message = "a control character in it"
            raise NoteError(message)
        head, empty, tail = whole.rpartition("\n\n")
        if not empty or not tail.endswith("\n"):
            message = "no text, an empty line, and then lines of signatures to the end"
            raise NoteError(message)
        lines = tail[:-1].split("\n")
        if len(lines) > _MOST_SIGNATURES:
            message = f"{len(lines)} signatures; the most are {_MOST_SIGNATURES}"
            raise NoteError(message)
        return cls(f"{head}\n", tuple(Signature.parse(line) for line in lines))

    def by(self, verifier: Verifier) -> list[Signature]:
        """The signatures that say they are of this key."""
        return [one for one in self.signatures if (one.name, one.key) == (verifier.name, verifier.key)]

    def signed_by(self, signature: Signature) -> Note:
        """The same note with one signature more; an earlier one of the same key goes."""
        others = [one for one in self.signatures if (one.name, one.key) != (signature.name, signature.key)]
        return attrs.evolve(self, signatures=(*others, signature))


# -- Keys ----------------------------------------------------------------------------------------------


@attrs.frozen
class Verifier:
    """A public key under a name, as text ``NAME+ID+KEY``.

    Attributes:
        name: the key's.
        public: its 32 bytes.
        algorithm: `ED25519`, or `COSIGNATURE` for a witness.
    """

    name: str
    public: bytes
    algorithm: int = ED25519

    @property
    def key(self) -> bytes:
        """The four bytes of its ID."""
        return key_id(self.name, self.algorithm, self.public)

    def __str__(self) -> str:
        """``NAME+ID+KEY``."""
        return f"{self.name}+{self.key.hex()}+{to_base64(bytes([self.algorithm]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``NAME+ID+KEY``.

        Raises:
            NoteError: it is none, or its ID is not that of name and key.
        """
        name, *rest = text.split("+", 2)  # base64 may have a + of its own
        if len(rest) != 2:  # noqa: PLR2004 - ID and key
            message = f"not NAME+ID+KEY: {quoted(text)}"
            raise NoteError(message)
        said, data = rest[0], from_base64(rest[1])
        made = cls(key_name(name), data[1:], data[0])
        if made.algorithm not in {ED25519, COSIGNATURE} or len(made.public) != _KEY_BYTES:
            message = f"a key of type {made.algorithm:#04x} with {len(made.public)} bytes; this knows Ed25519 only"
            raise NoteError(message)
        if said != made.key.hex():
            message = f"the ID of {name} is {made.key.hex()}, not {quoted(said)}"
            raise NoteError(message)
        return made

    def verify(self, note: Note) -> str:
        """The text of a note that this key has signed.

        Raises:
            NoteError: it hasn't; or beside a good signature there is a bad one.
        """
        self.signed(note)
        return note.text

    def signed(self, note: Note) -> int:
        """When this key signed a note: seconds since the epoch, or 0 for a key that does not say.

        Raises:
            NoteError: it didn't.
        """
        mine = note.by(self)
        if not mine:
            message = f"not signed by {self.name} (key {self.key.hex()})"
            raise NoteError(message)
        return max(self._time(note.text, one) for one in mine)

    def _time(self, text: str, one: Signature) -> int:
        stamp, signature = b"", one.data
        if self.algorithm == COSIGNATURE:
            stamp, signature = one.data[:_TIME_BYTES], one.data[_TIME_BYTES:]
        when = int.from_bytes(stamp, "big")
        said = cosigned(text, when) if self.algorithm == COSIGNATURE else text.encode()
        if not verified(self.public, said, signature):
            message = f"the signature by {self.name} (key {self.key.hex()}) is wrong"
            raise NoteError(message)
        return when


def cosigned(text: str, when_s: int) -> bytes:
    """What a witness signs of a checkpoint's text."""
    return f"cosignature/v1\ntime {when_s}\n{text}".encode()


@attrs.frozen
class Signer:
    """A key that can sign.

    Attributes:
        verifier: its public side.
        sign: gives the 64 bytes of the signature of a message.
    """

    verifier: Verifier
    sign: Callable[[bytes], bytes] = attrs.field(repr=False)

    def note(self, text: str) -> Note:
        """A text, signed.

        Raises:
            NoteError: the text can't be a note's, or what was made is not this key's signature.
        """
        who = self.verifier
        made = Note(text, (Signature(who.name, who.key, self.sign(text.encode())),))
        who.verify(Note.decode(made.encode()))  # the other half of the pair: nothing leaves here that nobody can check
        return made
