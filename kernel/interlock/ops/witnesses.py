"""The file that names the witnesses of ``interlock run``.

    quorum = 1                          # how many must answer before a start; without it, all

    [[witness]]
    kind = "directory"                  # made with `interlock keys witness`
    name = "nas"
    path = "/mnt/nas/interlock"

    [[witness]]
    kind = "file"
    name = "usb"
    path = "/media/usb/interlock.log"
    key = "/etc/interlock/usb.pem"

    [[witness]]
    kind = "tlog"                       # a C2SP witness
    name = "w1"
    url = "https://witness.example/submit"
    verifier = "witness.example/w1+12345678+BAAA..."

    [[witness]]
    kind = "tsa"                        # an RFC 3161 authority
    name = "stamps"
    url = "https://tsa.example/tsr"
    roots = "/etc/interlock/tsa-root.pem"

`tlog` and `tsa` may have `timeout_s`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs

from interlock.adapters.witness import DirectoryWitness, FileWitness, TimeStampWitness, TlogWitness
from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from interlock.store.witness import Witness

__all__ = ["Witnesses", "WitnessesError", "make", "read"]

Words = Mapping[str, str]


class WitnessesError(InterlockError):
    """The file of witnesses can't be read, or names one that can't be."""


@attrs.frozen
class Witnesses:
    """Who they are, and how many must answer."""

    witnesses: tuple[Witness, ...] = ()
    quorum: int | None = None


_KINDS: Final[dict[str, tuple[tuple[str, ...], Callable[[Words, float], Witness]]]] = {
    "directory": (("path",), lambda w, _: DirectoryWitness(Path(w["path"]), w["name"])),
    "file": (("path", "key"), lambda w, _: FileWitness(Path(w["path"]), Path(w["key"]), w["name"])),
    "tlog": (("url", "verifier"), lambda w, s: TlogWitness(w["url"], w["verifier"], w["name"], s)),
    "tsa": (("url", "roots"), lambda w, s: TimeStampWitness(w["url"], Path(w["roots"]).read_bytes(), w["name"], s)),
}
_TIMEOUT_S: Final = 5.0
_LONGEST_S: Final = 60.0


def read(path: Path) -> Witnesses:
    """Read the file.

    Raises:
        WitnessesError: with file, and which witness and key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        quorum = table.pop("quorum", None)
        found = table.pop("witness", [])
        if table or not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            message = f"has [[witness]] and quorum, and nothing else: {', '.join(table) or 'witness'}"
            raise ValueError(message)  # noqa: TRY301 - as whatever else is wrong in it
        if quorum is not None and type(quorum) is not int:
            message = f"quorum is a whole number, not {quorum!r}"
            raise ValueError(message)  # noqa: TRY301 - likewise
        return Witnesses(tuple(_one(cast("dict[str, object]", one)) for one in found), quorum)
    except (OSError, ValueError, InterlockError) as error:
        message = f"{path}: {error}"
        raise WitnessesError(message) from error


def _one(given: dict[str, object]) -> Witness:
    kind = str(given.pop("kind", ""))
    if kind not in _KINDS:
        message = f"a witness is of kind {', '.join(_KINDS)}, not {kind!r}"
        raise ValueError(message)
    needed, build = _KINDS[kind]
    timeout_s = given.pop("timeout_s", _TIMEOUT_S) if "url" in needed else _TIMEOUT_S
    if type(timeout_s) not in {int, float} or not 0 < cast("float", timeout_s) <= _LONGEST_S:
        message = f"timeout_s is up to {_LONGEST_S} seconds, not {timeout_s!r}"
        raise ValueError(message)
    if set(given) != {"name", *needed} or not all(type(word) is str for word in given.values()):
        message = f"a witness of kind {kind} has the texts name, {', '.join(needed)}, not {', '.join(given)}"
        raise ValueError(message)
    return build(cast("Words", given), float(cast("float", timeout_s)))


def make(path: Path, key: Path | None) -> str | None:
    """Make a directory (without a key) or a file (with one) a witness.

    Returns:
        The file's verifier key, or None for a directory.

    Raises:
        WitnessesError: it can't be.
    """
    try:
        if key is None:
            DirectoryWitness.make(path)
            return None
        FileWitness.make(path, key)
        return str(FileWitness(path, key).verifier)
    except (OSError, InterlockError) as error:
        message = f"{path}: {error}"
        raise WitnessesError(message) from error
