"""Signed notes, written by the text: lists of keys, checkpoints, cosignatures. Nothing here is the engine's."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.verify import Inputs
from interlock.verify.evidence import File

from .builder import ORIGIN, TS, Book, root_of

FOREVER = 2**53 - 1


@attrs.frozen
class Signer:
    """A key, made from one byte so that every test has the same."""

    name: str
    seed: int
    kind: int = 1

    @property
    def private(self) -> Ed25519PrivateKey:
        """The private key."""
        return Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def public(self) -> bytes:
        """The type's byte, and the public key's."""
        return bytes([self.kind]) + self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def id(self) -> bytes:
        """Four bytes of the hash over name, line feed, type and key."""
        return sha256(self.name.encode() + b"\n" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key."""
        return f"{self.name}+{self.id.hex()}+{b64encode(self.public).decode()}"

    def line(self, text: str, ts_s: int = 1_723_075_201) -> str:
        """The signature line of a text; a witness's has a time in it."""
        if self.kind == 4:
            head = f"cosignature/v1\ntime {ts_s}\n"
            payload = ts_s.to_bytes(8, "big") + self.private.sign((head + text).encode())
        else:
            payload = self.private.sign(text.encode())
        return f"— {self.name} {b64encode(self.id + payload).decode()}\n"


ROOT = Signer("desk.example/root", 1)
KEY = Signer(ORIGIN, 2)
OTHER = Signer(ORIGIN, 3)
WITNESS = Signer("witness.example/w", 4, kind=4)


def signed(text: str, *signers: Signer) -> bytes:
    """A note: text, an empty line, signature lines."""
    return f"{text}\n{''.join(signer.line(text) for signer in signers)}".encode()


def key_list(
    *keys: Signer, serial: int = 1, root: Signer = ROOT, spans: Sequence[tuple[int, int]] | None = None
) -> File:
    """A list of keys, as a file."""
    text = f"interlock keys {root.name}\n{serial}\n{TS}\n"
    for number, key in enumerate(keys):
        start, stop = spans[number] if spans else (0, FOREVER)
        text += f"{b64encode(key.public).decode()} {start} {stop} key-{key.seed}\n"
    return f"keys/{serial:04}.note", signed(text, root)


def checkpoint(  # noqa: PLR0913 - each part can be wrong
    lines: list[bytes],
    size: int,
    *signers: Signer,
    ts: int = TS + 60_000_000,
    why: str = "time",
    origin: str = ORIGIN,
    root: bytes | None = None,
    epoch: int = 1,
) -> File:
    """A checkpoint of so many lines, as a file."""
    known = root_of([line[:-1] for line in lines[:size]]) if root is None else root
    text = f"{origin}\n{size}\n{b64encode(known).decode()}\ninterlock epoch={epoch} ts={ts} why={why}\n"
    return f"checkpoints/demo/{size:020}.note", signed(text, *(signers or (KEY,)))


def sizes(book: Book) -> list[int]:
    """The sizes right behind the seals."""
    return [number + 1 for number, record in enumerate(book.records) if record["kind"] == "seal"]


def trusted(*notes: File, lists: tuple[File, ...] | None = None, anchors: tuple[File, ...] = ()) -> Inputs:
    """What an auditor has who has the root key: lists, checkpoints and anchors."""
    return Inputs(root_key=ROOT.vkey, lists=lists or (key_list(KEY),), notes=notes, anchors=anchors)


def signed_life() -> tuple[Book, Inputs]:
    """A journal of two segments with a checkpoint over its first part, and one over all but what tells of it."""
    book = Book().put("run").put("arm").put("start").put("seal")
    first = book.last + 1
    book.put("checkpoint", key=KEY.id.hex(), why="start").put("permit", id="o1")
    book.put("sent", permit=book.last, begun=book.mono).put("seal").cut()
    book.put("halt", at=book.mono + 1000).put("end").put("seal")
    second = book.last + 1
    book.put("checkpoint", key=KEY.id.hex(), why="shutdown").put("anchor", size=second).put("seal")
    lines = book.lines
    notes = (
        checkpoint(lines, first, why="start", ts=TS + 1_000_000),
        checkpoint(lines, second, why="shutdown", ts=TS + 2_000_000),
    )
    return book, trusted(*notes)
