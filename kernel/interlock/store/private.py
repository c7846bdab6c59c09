"""Private keys on disk: files that only their owner can read, in directories that only he can write.

A private key is never in a home: whoever may look at the evidence must not thereby be able to make some. All that is
here refuses rather than warns, and says what to do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from interlock.breaker.files import make_file, sync_directory, write_durably
from interlock.breaker.lock import FileLock
from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["KeysError", "destroy", "load", "locked", "place", "save"]

_LARGEST: Final = 1 << 16
_LATCHES: Final = ("latch.json", "page", "limits.toml")


class KeysError(InterlockError):
    """Keys can't be made, read or used as asked; the message says why, and what to do."""


class NeedsPassphraseError(KeysError):
    """The private key is encrypted, and no passphrase was given, or not the right one."""


def place(directory: Path, *, make: bool = False) -> Path:
    """A directory that may hold private keys.

    Args:
        directory: where it is to be.
        make: make it (mode 0700) if it isn't there.

    Raises:
        KeysError: it isn't there, is inside a home, or others may write to it.
    """
    try:
        real = directory.resolve()
        _outside_homes(directory, real)
        if make:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = directory.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round in a circle
        message = f"{directory}: {error}"
        raise KeysError(message) from error
    if not stat.S_ISDIR(seen.st_mode):
        message = f"{directory}: is no directory"
        raise KeysError(message)
    if seen.st_uid != os.geteuid():
        message = f"{directory}: belongs to user {seen.st_uid}, not to {os.geteuid()}, as which this process runs"
        raise KeysError(message)
    if seen.st_mode & 0o022:
        message = (
            f"{directory}: mode {stat.S_IMODE(seen.st_mode):04o}: others may write there; `chmod go-w {directory}`"
        )
        raise KeysError(message)
    return directory


def _outside_homes(directory: Path, real: Path) -> None:
    for above in (real, *real.parents):
        if (above / "journal").is_dir() and any(os.path.lexists(above / name) for name in _LATCHES):
            message = f"{directory}: is inside the home {above}; keys are never kept with the evidence"
            raise KeysError(message)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only writer in a directory.

    Raises:
        KeysError: another process is at work there, or it can't be locked.
    """
    path = directory / "lock"
    try:
        with contextlib.suppress(FileExistsError):
            make_file(path)
        lock = FileLock(path)
    except OSError as error:
        message = f"{path}: cannot be locked: {error}"
        raise KeysError(message) from error
    try:
        if not lock.exclusive():
            message = f"{directory}: another process is writing there; try again when it has ended"
            raise KeysError(message)
        yield
    finally:
        lock.close()


def save(path: Path, key: Ed25519PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a private key as PKCS8 PEM, mode 0600, durably. What is there already is not overwritten.

    Raises:
        KeysError: there is something at that path, or it can't be written.
    """
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    try:
        if os.path.lexists(path):
            message = f"{path}: there is a key already, which is never overwritten"
            raise KeysError(message)
        write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    except OSError as error:
        message = f"{path}: the private key cannot be written: {error}"
        raise KeysError(message) from error


def load(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        NeedsPassphraseError: it is encrypted, with another passphrase than this.
        KeysError: it isn't there, others can read it, or it is no Ed25519 key.
    """
    data = _read(path)
    encrypted = data.startswith(b"-----BEGIN ENCRYPTED")
    try:
        key = load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError) as error:
        if encrypted:
            message = f"{path}: is encrypted; {'the passphrase is wrong' if passphrase else 'a passphrase is needed'}"
            raise NeedsPassphraseError(message) from error
        message = f"{path}: is no private key in PEM: {error}"
        raise KeysError(message) from error
    if not isinstance(key, Ed25519PrivateKey):
        message = f"{path}: is no Ed25519 key"
        raise KeysError(message)
    return key


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        message = f"{path}: the private key cannot be opened: {error.strerror}"
        raise KeysError(message) from error
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_nlink != 1:
            message = f"{path}: must be a regular file of user {os.geteuid()}, with one name"
            raise KeysError(message)
        if seen.st_mode & 0o077:
            message = (
                f"{path}: mode {stat.S_IMODE(seen.st_mode):04o}: others can read this private key, so it is "
                f"not used; `chmod 600 {path}`, and issue a new key if somebody may have read it"
            )
            raise KeysError(message)
        return os.read(descriptor, _LARGEST)
    except OSError as error:
        message = f"{path}: the private key cannot be read: {error}"
        raise KeysError(message) from error
    finally:
        os.close(descriptor)


def destroy(path: Path) -> None:
    """Overwrite a private key, and remove it. A disk may keep older copies of a block; the docs say so.

    Raises:
        KeysError: it can't be removed.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            os.pwrite(descriptor, bytes(size), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        sync_directory(path.parent)
    except OSError as error:
        message = f"{path}: the private key cannot be destroyed: {error}"
        raise KeysError(message) from error
