"""The limits file: reading it, and on record who approved which version of it, when and why.

``limits.toml`` is what engines read. Beside it, ``limits/`` remembers every version that was approved:

- ``SHA256.toml`` holds the bytes of a version, under their own hash;
- ``NNNN.json`` is an approval: its number, the version's hash, operator, reason and time, and the SHA-256 of the
  approval before it, so that one which is taken out of the row, or changed in it, is missed.

An approval is written before the version comes into force. A crash in between leaves a version that was approved and
is not in force, which is told; the other way round there would be limits in force that nobody answers for. They can
still come about, by an editor: engines take them, and no approval is found for them. The names in an approval are
what somebody typed. Nothing signs them, and the journals only hold the hash of the limits that a run read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from interlock.breaker.files import sync_directory, write_durably
from interlock.breaker.roster import engines
from interlock.core.errors import HomeError, LimitsError
from interlock.core.limits import Limits
from interlock.core.modes import Mode
from interlock.core.reasons import HaltCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from interlock.breaker.home import Home

__all__ = ["Approval", "History", "Versions", "history_of", "parse_limits", "set_limits"]

_FORMAT: Final = 1
_DIGITS: Final = 4
_NAME: Final = re.compile(r"[0-9]{4,}\.json")
_KEYS: Final = ["v", "number", "sha256", "operator", "reason", "ts", "prior"]
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Approval:
    """That somebody approved a version of the limits.

    Attributes:
        number: from 1.
        sha256: of the version's bytes, in hex.
        operator: who approved it.
        reason: why.
        ts_us: when, in microseconds UTC.
        prior: SHA-256 of the approval before this one, in hex; None for the first.
    """

    number: int
    sha256: str
    operator: str
    reason: str
    ts_us: int
    prior: str | None

    def line(self) -> bytes:
        """The bytes of its file."""
        members = (_FORMAT, self.number, self.sha256, self.operator, self.reason, self.ts_us, self.prior)
        return orjson.dumps(dict(zip(_KEYS, members, strict=True))) + b"\n"


@attrs.frozen(kw_only=True)
class History:
    """All approvals, and what is wrong with their row.

    Attributes:
        approvals: those that can be read, in their order.
        problems: what can't be read, is missing, or does not fit; empty if the row is whole.
    """

    approvals: tuple[Approval, ...]
    problems: tuple[str, ...]

    def of(self, digest: str, upto_us: int | None = None) -> Approval | None:
        """The latest approval of a version, made at the latest at a time; None if nobody approved it by then."""
        found = [one for one in self.approvals if one.sha256 == digest and (upto_us is None or one.ts_us <= upto_us)]
        return found[-1] if found else None


class Versions:
    """The versions of one home's limits.

    Args:
        directory: where they are, or will be: ``limits`` in the home, or a copy of it.
    """

    __slots__ = ("directory",)

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def history(self) -> History:
        """Read all approvals. A home without any has an empty row.

        Raises:
            OSError: the directory can't be read.
        """
        try:
            return history_of({path.name: path.read_bytes() for path in self.directory.iterdir() if path.is_file()})
        except FileNotFoundError:
            return history_of({})

    def approve(self, data: bytes, *, operator: str, reason: str, ts_us: int) -> Approval:
        """Record an approval, durably. It puts nothing in force.

        Raises:
            LimitsError: no operator or reason, limits that are not valid, or a row that is not whole.
            OSError: it can't be written.
        """
        if not (operator.strip() and reason.strip()):
            message = "limits are approved by somebody, for a reason"
            raise LimitsError(message)
        parse_limits(data, "limits")
        with self._alone():
            history = self.history()
            if history.problems:
                message = f"{self.directory}: {history.problems[0]}; put the approvals back before there are new ones"
                raise LimitsError(message)
            last = history.approvals[-1] if history.approvals else None
            approval = Approval(
                number=1 if last is None else last.number + 1,
                sha256=sha256(data).hexdigest(),
                operator=operator,
                reason=reason,
                ts_us=ts_us,
                prior=None if last is None else sha256(last.line()).hexdigest(),
            )
            write_durably(self.directory / f"{approval.sha256}.toml", data)
            write_durably(self.directory / _name(approval.number), approval.line())
        return approval

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of two that approve at a time one waits."""
        if not self.directory.is_dir():
            with contextlib.suppress(FileExistsError):
                self.directory.mkdir(mode=0o700)
            if os.geteuid() == 0:  # as with every file in a home: it is its owner's, whoever makes it
                with contextlib.suppress(OSError):
                    found = self.directory.parent.stat()
                    os.chown(self.directory, found.st_uid, found.st_gid)
            sync_directory(self.directory.parent)
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def set_limits(home: Home, data: bytes, *, operator: str, reason: str, ts_us: int) -> Approval:
    """Approve limits, and put them in force for the engines that attach from now on.

    Args:
        home: the home.
        data: the bytes of the limits file.
        operator: who approves them.
        reason: why.
        ts_us: when, in microseconds UTC.

    Raises:
        HomeError: there is no home, an engine of it runs, or it can't be written.
        LimitsError: the limits are not valid, or nobody answers for them.
    """
    home.require()
    running = [one for one in engines(home.engines) if one.attached and (one.held or one.mode is Mode.RUNNING)]
    if running:
        who = ", ".join(f"{one.name} (pid {one.pid})" for one in running)
        message = f"{home.path}: running by the limits that are in force: {who}; stop that first"
        raise HomeError(HaltCode.EXTERNAL, message)
    try:
        approval = home.versions().approve(data, operator=operator, reason=reason, ts_us=ts_us)
        write_durably(home.limits, data)
    except OSError as error:
        message = f"{home.limits}: the limits cannot be set: {error}"
        raise HomeError(HaltCode.HOME_UNREADABLE, message) from error
    return approval


def history_of(files: Mapping[str, bytes]) -> History:
    """The row of approvals in a directory, or a copy of it, by the names and bytes of its files."""
    approvals: list[Approval] = []
    problems: list[str] = []
    prior: str | None = None
    for expected, name in enumerate(sorted(filter(_NAME.fullmatch, files)), 1):
        approval = _read(files[name])
        if approval is None:
            problems.append(f"{name}: no approval")
        else:
            if (approval.number, name) != (expected, _name(expected)) or approval.prior != prior:
                problems.append(f"{name}: does not follow on the approval before it")
            approvals.append(approval)
            text = files.get(f"{approval.sha256}.toml")
            if text is None or sha256(text).hexdigest() != approval.sha256:
                problems.append(f"{name}: the limits that it approves are missing, or were changed")
        prior = sha256(files[name]).hexdigest()
    return History(approvals=tuple(approvals), problems=tuple(problems))


def _name(number: int) -> str:
    return f"{number:0{_DIGITS}d}.json"


def _read(data: bytes) -> Approval | None:
    """An approval from the bytes of its file; None if it is none."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or list(found) != _KEYS or orjson.dumps(found) + b"\n" != data:
        return None
    version, number, digest, operator, reason, ts_us, prior = found.values()
    integers = all(type(value) is int and value >= 0 for value in (version, number, ts_us))
    texts = all(type(value) is str for value in (digest, operator, reason))
    hashes = all(value is None or (type(value) is str and _HASH.fullmatch(value)) for value in (digest, prior))
    if not (integers and texts and hashes) or version != _FORMAT:
        return None
    return Approval(number=number, sha256=digest, operator=operator, reason=reason, ts_us=ts_us, prior=prior)


def parse_limits(data: bytes, where: str) -> Limits:
    """Limits from the bytes of a TOML file; its fractions are read as exact decimals.

    Raises:
        LimitsError: with file, and line or key.
    """
    try:
        table = tomllib.loads(data.decode(), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:  # also a number that is too large to read
        message = f"{where}: not valid TOML: {error}"
        raise LimitsError(message) from error
    return Limits.from_mapping(table, where)
