"""Root keys, segment keys, and the lists that tie them together: two directories, neither of them in a home.

    ROOT/   root.pem      the root's private key, kept offline
            root.vkey     NAME+ID+KEY: what an auditor needs
            NNNN.note     each list that it has signed
    KEYS/   root.vkey     the same
            NNNN.note     the same lists
            private/*.pem the segment keys' private sides, named by their public ones

`issue` needs both, for a moment; an engine needs KEYS alone. The root's directory has every list that it ever signed,
and writes a new one there first: so no serial number is ever given to two lists, whatever is lost of KEYS.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.breaker.files import write_durably
from interlock.journal.notes import Note, NoteError, Signer, Verifier, key_name
from interlock.journal.statements import Key, KeyList, chain
from interlock.store.private import KeysError, destroy, load, locked, place, save

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAY_US", "Lists", "Ring", "file_of", "issue", "make_root", "prune", "revoke"]

DAY_US: Final = 86_400_000_000
_LONGEST_DAYS: Final = 3_660
_ROOT: Final = "root.pem"
_VERIFIER: Final = "root.vkey"
_PRIVATE: Final = "private"
_ENDING: Final = ".note"
_LARGEST: Final = 1 << 20


def file_of(serial: int) -> str:
    """The name of a list's file."""
    return f"{serial:04d}{_ENDING}"


@attrs.frozen
class Lists:
    """The lists of one root key, each by its serial number with its bytes; every signature was checked.

    Attributes:
        verifier: the root's.
        notes: serial number to bytes.
        newest: the last one, or None.
    """

    verifier: Verifier
    notes: dict[int, bytes]
    newest: KeyList | None

    @classmethod
    def of(cls, verifier: Verifier, notes: dict[int, bytes]) -> Lists:
        """Check some lists.

        Raises:
            NoteError: one is not signed by this root, has another number, or does not follow the one before.
        """
        found = []
        for serial, data in notes.items():
            one = KeyList.parse(verifier.verify(Note.decode(data)))
            if one.serial != serial or one.name != verifier.name:
                message = f"{file_of(serial)} holds list {one.serial} of {one.name}"
                raise NoteError(message)
            found.append(one)
        return cls(verifier, dict(sorted(notes.items())), chain(found))

    @classmethod
    def read(cls, directory: Path, verifier: Verifier) -> Lists:
        """Check all lists in a directory.

        Raises:
            KeysError: it can't be read, or is not as it should be.
        """
        try:
            paths = [path for path in directory.iterdir() if path.suffix == _ENDING and path.stem.isdecimal()]
            notes = {int(path.stem): _read(path) for path in paths if path.name == file_of(int(path.stem))}
            return cls.of(verifier, notes)
        except (OSError, NoteError) as error:
            message = f"{directory}: the lists of keys can't be trusted: {error}"
            raise KeysError(message) from error

    def joined(self, other: Lists) -> Lists:
        """These lists and those of another directory.

        Raises:
            KeysError: there are two of one serial number, or one does not follow the one before.
        """
        for serial, data in other.notes.items():
            if self.notes.get(serial, data) != data:
                message = f"there are two different lists {serial} of {self.verifier.name}: one of them is a forgery"
                raise KeysError(message)
        try:
            return Lists.of(self.verifier, self.notes | other.notes)
        except NoteError as error:
            message = f"the lists of {self.verifier.name} go back: {error}"
            raise KeysError(message) from error

    def write(self, directory: Path) -> None:
        """Write those that are not there yet, durably, in their order.

        Raises:
            KeysError: it can't be; or there is another list of one of these numbers.
        """
        try:
            for serial, data in self.notes.items():
                path = directory / file_of(serial)
                if not path.exists():
                    write_durably(path, data)
                elif _read(path) != data:
                    message = (
                        f"{path}: is another list {serial} than that of {self.verifier.name}; nothing is overwritten"
                    )
                    raise KeysError(message)
        except OSError as error:
            message = f"{directory}: a list of keys can't be written: {error}"
            raise KeysError(message) from error


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LARGEST + 1)


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier.parse(_read(path).decode("utf-8").removesuffix("\n"))
    except (OSError, UnicodeDecodeError, NoteError) as error:
        message = f"{path}: the root's verifier key can't be read: {error}"
        raise KeysError(message) from error


# -- Making --------------------------------------------------------------------------------------------


def make_root(directory: Path, *, name: str, passphrase: bytes | None = None) -> Verifier:
    """Make a root key.

    Args:
        directory: where to put it; it is made if it isn't there.
        name: of the key: a schema-less URL is customary (``desk.example/interlock``).
        passphrase: encrypts the private key.

    Returns:
        What an auditor needs.

    Raises:
        KeysError: there is one already, or it can't be made there.
        NoteError: that can't be a key's name.
    """
    key_name(name)
    place(directory, make=True)
    with locked(directory):
        key = Ed25519PrivateKey.generate()
        verifier = Verifier(name, key.public_key().public_bytes_raw())
        save(directory / _ROOT, key, passphrase)
        _write(directory / _VERIFIER, f"{verifier}\n".encode())
    return verifier


def _write(path: Path, data: bytes) -> None:
    try:
        write_durably(path, data)
    except OSError as error:
        message = f"{path}: cannot be written: {error}"
        raise KeysError(message) from error


def issue(
    root: Path, keys: Path, *, days: int, label: str, now_us: int, passphrase: bytes | None = None
) -> tuple[KeyList, Key]:
    """Make a segment key that may sign from now on for some days, and a new list that has it.

    A KEYS directory that lacks lists which the root has signed (another machine's, say) gets them.

    Args:
        root: the root key's directory.
        keys: the engines'; it is made if it isn't there.
        days: how long it is valid.
        label: for people, without white space.
        now_us: microseconds UTC.
        passphrase: of the root key.

    Returns:
        The new list, and its new key.

    Raises:
        KeysError: a directory or a key is not as it should be, or another process writes there.
        NoteError: the label can't be one.
    """
    if not 0 < days <= _LONGEST_DAYS:
        message = f"a segment key is short-lived: from 1 to {_LONGEST_DAYS} days, not {days}"
        raise KeysError(message)
    own = Ed25519PrivateKey.generate()
    public = own.public_key().public_bytes_raw()
    key = Key(public=public, from_us=now_us, to_us=now_us + days * DAY_US, label=label)
    Key.parse(key.line())
    place(root)
    place(keys, make=True)
    with locked(root), locked(keys):
        signer, known = _opened(root, keys, passphrase)
        made = _next(known, (key,), now_us)
        note = signer.note(made.text()).encode()
        (keys / _PRIVATE).mkdir(mode=0o700, exist_ok=True)
        save(_private(keys, key), own)
        _publish(known, made, note, root, keys)
    return made, key


def revoke(root: Path, keys: Path, *, label: str, now_us: int, passphrase: bytes | None = None) -> tuple[KeyList, int]:
    """Make a new list in which the keys of one label end now. What they signed before stays good.

    Returns:
        The new list, and how many keys it ends.

    Raises:
        KeysError: no key of that label is valid now or later, or as for `issue`.
    """
    place(root)
    place(keys)
    with locked(root), locked(keys):
        signer, known = _opened(root, keys, passphrase)
        listed = known.newest.keys if known.newest else ()
        ended = [key for key in listed if key.label == label and key.to_us > now_us]
        if not ended:
            message = f"{keys}: no key with label {label!r} that is still valid"
            raise KeysError(message)
        made = _next(known, (), now_us)
        shorter = (attrs.evolve(key, to_us=max(key.from_us, now_us)) if key in ended else key for key in made.keys)
        made = attrs.evolve(made, keys=tuple(shorter))
        _publish(known, made, signer.note(made.text()).encode(), root, keys)
    return made, len(ended)


def _opened(root: Path, keys: Path, passphrase: bytes | None) -> tuple[Signer, Lists]:
    """The root's key, and all lists that it is known to have signed.

    Raises:
        KeysError: they are not as they should be.
    """
    master = load(root / _ROOT, passphrase)
    verifier = _verifier(root / _VERIFIER)
    if verifier.public != master.public_key().public_bytes_raw():
        message = f"{root / _VERIFIER}: is not that of {root / _ROOT}"
        raise KeysError(message)
    if not (keys / _VERIFIER).exists():
        _write(keys / _VERIFIER, f"{verifier}\n".encode())
    elif _verifier(keys / _VERIFIER) != verifier:
        message = f"{keys}: holds keys of another root; use a directory of its own for each root"
        raise KeysError(message)
    return Signer(verifier, master.sign), Lists.read(root, verifier).joined(Lists.read(keys, verifier))


def _next(known: Lists, more: tuple[Key, ...], now_us: int) -> KeyList:
    last = known.newest
    if last is None:
        return KeyList(name=known.verifier.name, serial=1, made_us=now_us, keys=more)
    if now_us < last.made_us:
        message = f"the clock is behind list {last.serial}, which was made later than now; set it right"
        raise KeysError(message)
    return attrs.evolve(last, serial=last.serial + 1, made_us=now_us, keys=(*last.keys, *more))


def _publish(known: Lists, made: KeyList, note: bytes, root: Path, keys: Path) -> None:
    lists = known.joined(Lists.of(known.verifier, {made.serial: note}))
    lists.write(root)  # first: a number that is used there is never used again
    lists.write(keys)


def _private(keys: Path, key: Key) -> Path:
    return keys / _PRIVATE / f"{key.public.hex()}.pem"


def prune(keys: Path, *, now_us: int) -> list[Key]:
    """Destroy the private keys that may not sign any more. What they signed stays good; nobody can sign more of it.

    Returns:
        Whose private side was there, and is gone.

    Raises:
        KeysError: the directory is not as it should be, or a key can't be destroyed.
    """
    place(keys)
    with locked(keys):
        ring = Ring.open(keys)
        gone = []
        for key in ring.keys:
            path = _private(keys, key)
            if key.to_us <= now_us and os.path.lexists(path):
                destroy(path)
                gone.append(key)
        return gone


# -- Using -----------------------------------------------------------------------------------------------


@attrs.define
class Ring:
    """An engine's keys.

    Attributes:
        path: the directory.
        lists: what the root signed.
    """

    path: Path
    lists: Lists
    _signers: dict[tuple[bytes, str], Signer] = attrs.field(factory=dict)

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Open the directory that `issue` filled.

        Raises:
            KeysError: it isn't there, is inside a home, or its lists can't be trusted.
        """
        place(path)
        ring = cls(path, Lists.read(path, _verifier(path / _VERIFIER)))
        if ring.lists.newest is None:
            message = f"{path}: there is no list of keys; make one with `interlock keys issue`"
            raise KeysError(message)
        return ring

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys of the newest list."""
        return self.lists.newest.keys if self.lists.newest else ()

    def refresh(self) -> bool:
        """Look for lists that were issued since. True if there are some.

        Raises:
            KeysError: what is there now can't be trusted, or takes something back.
        """
        last = self.lists.newest
        if last is not None and not (self.path / file_of(last.serial + 1)).exists():
            return False
        found = Lists.read(self.path, self.lists.verifier)
        self.lists = self.lists.joined(found)
        return self.lists.newest != last

    def has_private(self, key: Key) -> bool:
        """Whether the private side is still here."""
        return os.path.lexists(_private(self.path, key))

    def valid(self, ts_us: int) -> Key | None:
        """The key to sign with at that time: of those that may and whose private side is here, the last made."""
        listed = self.lists.newest.valid(ts_us) if self.lists.newest else []
        return next((key for key in listed if self.has_private(key)), None)

    def signer(self, key: Key, origin: str) -> Signer:
        """A key, to sign as the journal of this origin.

        Raises:
            KeysError: its private side is not here, others can read it, or it is another key's.
        """
        known = self._signers.get((key.public, origin))
        if known is not None:
            return known
        own = load(_private(self.path, key))
        if own.public_key().public_bytes_raw() != key.public:
            message = f"{_private(self.path, key)}: is another key's"
            raise KeysError(message)
        self._signers = {(key.public, origin): Signer(Verifier(origin, key.public), own.sign)}
        return self._signers[key.public, origin]
