"""The latch record: what it says, and how little is enough to call it a halt.

One line of JSON with a checksum over all its other members. Whatever cannot be read as exactly that, in
this version, for this home, is not an armed latch, and the reader says which way it failed. The
record is never edited: a new one is written beside it, synced, and renamed over it.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs
from orjson import JSONDecodeError, dumps, loads

from interlock.breaker.files import write_durably
from interlock.core.errors import InterlockError
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ARMED", "HALTED", "Latch", "LatchError", "blank", "read_latch", "write_latch"]

ARMED: Final = "ARMED"
HALTED: Final = "HALTED"
VERSION: Final = 1
_LARGEST_BYTES: Final = 65_536


class LatchError(InterlockError):
    """There is no valid latch; ``code`` says in which way."""

    def __init__(self, code: HaltCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def _text(value: object) -> str:
    """What can stand in the record, whatever was given: a latch must not fail for a lone surrogate."""
    return str(value).encode(errors="backslashreplace").decode()


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


@attrs.frozen(kw_only=True)
class Latch:
    """The latch record.

    Attributes:
        state: ``ARMED`` or ``HALTED``.
        epoch: counts the armed periods from 1; a reset makes the next.
        home: UUID of the home.
        code: why it is so: a `HaltCode`, or ``ARM`` or ``RESET``.
        reason: for people.
        source: what wrote it.
        operator: who, or None for the kernel itself.
        ts_us: when, UTC.
        boot: the machine's boot id, so that ``mono_ns`` can be understood.
        mono_ns: when, monotonic.
    """

    state: str = attrs.field(converter=_text)
    epoch: int
    home: str = attrs.field(converter=_text)
    code: str = attrs.field(converter=_text)
    reason: str = attrs.field(converter=_text)
    source: str = attrs.field(converter=_text)
    operator: str | None = attrs.field(converter=_text_or_none)
    ts_us: int
    boot: str = attrs.field(converter=_text)
    mono_ns: int

    def encode(self) -> bytes:
        """The record's bytes."""
        body: dict[str, object] = {"v": VERSION, **attrs.asdict(self)}
        return dumps({**body, "sum": sha256(dumps(body)).hexdigest()}) + b"\n"


def blank(home: str) -> Latch:
    """A record that only says whose it is, to make another from."""
    return Latch(
        state=ARMED,
        epoch=1,
        home=home,
        code="ARM",
        reason="",
        source="",
        operator=None,
        ts_us=0,
        boot="",
        mono_ns=0,
    )


def decode(data: bytes, where: object) -> Latch:
    """Read a latch record.

    Raises:
        LatchError: corrupt or of another version.
    """
    try:
        body = loads(data)
        if not isinstance(body, dict):
            raise TypeError  # noqa: TRY301 - one way out for all that is no record
        version = body.pop("v")
        told = body.pop("sum")
    except (JSONDecodeError, TypeError, KeyError) as error:
        message = f"{where}: not a latch record ({len(data)} bytes)"
        raise LatchError(HaltCode.LATCH_CORRUPT, message) from error
    if version != VERSION:
        message = f"{where}: format {version!r}; this kernel reads format {VERSION}"
        raise LatchError(HaltCode.LATCH_FOREIGN, message)
    try:
        right = sha256(dumps({"v": version, **body})).hexdigest() == told
        latch = Latch(**body)
        whole = all(type(number) is int for number in (latch.epoch, latch.ts_us, latch.mono_ns))
        same = latch.encode() == data
    except (TypeError, RecursionError) as error:  # what can't be encoded, too
        message = f"{where}: unknown, missing or senseless member: {error}"
        raise LatchError(HaltCode.LATCH_CORRUPT, message) from error
    if not right:
        message = f"{where}: the checksum does not match"
        raise LatchError(HaltCode.LATCH_CORRUPT, message)
    if not (whole and same) or latch.state not in {ARMED, HALTED} or latch.epoch < 1:
        message = f"{where}: state {latch.state!r}, epoch {latch.epoch!r}"
        raise LatchError(HaltCode.LATCH_CORRUPT, message)
    return latch


def read_latch(path: Path, home: str | None = None) -> tuple[Latch, os.stat_result]:
    """Read the latch file.

    Args:
        path: the file.
        home: the home's UUID, if it is known already.

    Returns:
        The record, and the stat of the very file that it was read from.

    Raises:
        LatchError: absent, unreadable, corrupt, or of another home or version.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        message = f"{path}: there is no latch"
        raise LatchError(HaltCode.LATCH_ABSENT, message) from error
    except OSError as error:
        message = f"{path}: cannot be opened: {error.strerror}"
        raise LatchError(HaltCode.HOME_UNREADABLE, message) from error
    try:
        found = os.fstat(descriptor)
        data = os.read(descriptor, _LARGEST_BYTES)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise LatchError(HaltCode.HOME_UNREADABLE, message) from error
    finally:
        os.close(descriptor)
    latch = decode(data, path)
    if home is not None and latch.home != home:
        message = f"{path}: belongs to home {latch.home}, not {home}"
        raise LatchError(HaltCode.LATCH_REPLACED, message)
    return latch, found


def write_latch(path: Path, latch: Latch) -> None:
    """Make this the latch.

    Raises:
        OSError: it could not be made durable.
    """
    write_durably(path, latch.encode())
