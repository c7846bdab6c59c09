"""What a bundle holds beside the records: the request, approvals, drills, checkpoints, and the verifier's answers."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.versions import History, history_of, parse_limits
from interlock.core.errors import LimitsError
from interlock.ops.bundle.plan import FORMAT, Span
from interlock.ops.bundle.tree import BundleError, beginning
from interlock.verify.notes import read_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.breaker.versions import Approval
    from interlock.core.limits import Limits
    from interlock.ops.bundle.facts import Facts
    from interlock.ops.bundle.tree import Tree
    from interlock.verify import Report

__all__ = ["REQUEST", "Given", "Note", "given", "request_of"]

REQUEST: Final = "request.json"
_DRILL: Final = "interlock drill 1"
_NOTE_LINES: Final = 3
_SMALL: Final = 1 << 22


@attrs.frozen(kw_only=True)
class Note:
    """A checkpoint, as its text has it. Whether its signature is good is for the verifier to say.

    Attributes:
        name: its file in the bundle.
        size: of the tree.
        root: of it, in hex.
    """

    name: str
    size: int
    root: str


@attrs.frozen(kw_only=True)
class Given:
    """What a bundle holds beside the records.

    Attributes:
        request: what was asked for, of which home, and what is missing.
        span: the time that it is about.
        reports: the verifier's answer for each engine.
        history: the approvals of limits.
        limits: those that runs in the span read, as far as they are in the bundle and valid.
        drills: the records of kill drills, each with the name of its file.
        notes: checkpoints by engine, the largest last.
    """

    request: dict[str, Any]
    span: Span
    reports: Mapping[str, Report]
    history: History
    limits: Sequence[Limits]
    drills: Sequence[dict[str, Any]]
    notes: Mapping[str, Sequence[Note]]

    def approval(self, row: Mapping[str, Any]) -> Approval | None:
        """Who had approved the limits that a run read, by the time that it began."""
        return None if row["limits"] is None else self.history.of(row["limits"], row["ts"])


def request_of(tree: Tree) -> dict[str, Any]:
    """What was asked for.

    Raises:
        BundleError: this is no bundle, or none of this format.
    """
    try:
        found = orjson.loads(tree.read(REQUEST))
    except (OSError, KeyError, orjson.JSONDecodeError) as error:
        message = f"no bundle: its {REQUEST} can't be read"
        raise BundleError(message) from error
    if not (isinstance(found, dict) and found.get("format") == FORMAT and _shaped(found)):
        message = f"no bundle of the format {FORMAT!r}"
        raise BundleError(message)
    return dict(found)


def _shaped(found: dict[str, Any]) -> bool:
    """Whether a request has all that it must have, of the right types: anybody may have written it."""
    shape = {"home": str, "asked": dict, "engines": dict, "missing": list, "tools": dict}
    if not all(isinstance(found.get(key), kind) for key, kind in shape.items()):
        return False
    rows = [*found["engines"].values(), *found["missing"]]
    texts = [text for row in found["missing"] if isinstance(row, dict) for text in (row.get("what"), row.get("why"))]
    return (
        all(isinstance(row, dict) for row in rows)
        and all(isinstance(text, str) for text in (*texts, *found["tools"].values()))
        and _is_key(found.get("root_key", 0))
    )


def _is_key(word: object) -> bool:
    try:
        return word is None or (isinstance(word, str) and bool(read_key(word)))
    except ValueError:
        return False


def given(tree: Tree, request: dict[str, Any], facts: Sequence[Facts], reports: Mapping[str, Report]) -> Given:
    """Read all of it."""
    names = tree.names()
    files = {
        name.removeprefix("limits/"): beginning(tree, name, _SMALL) for name in names if name.startswith("limits/")
    }
    read = {row["limits"] for one in facts for row in one.runs.rows}
    texts = [files[f"{digest}.toml"] for digest in sorted(filter(None, read)) if f"{digest}.toml" in files]
    return Given(
        request=request,
        span=Span.of_json(request["asked"]),
        reports=reports,
        history=history_of(files),
        limits=_limits(texts),
        drills=_drills(tree, names),
        notes={one.engine: _notes(tree, names, one.engine) for one in facts},
    )


def _limits(texts: Sequence[bytes]) -> list[Limits]:
    found = []
    for text in texts:
        try:
            found.append(parse_limits(text, "limits"))
        except LimitsError:  # it was valid when it was approved, by the version of that day
            continue
    return found


def drill_of(data: bytes) -> dict[str, Any] | None:
    """The record of a drill; None if these bytes are none."""
    try:
        found = orjson.loads(data)
        if found["format"] != _DRILL:
            return None
        told = {key: found[key] for key in ("drill", "verdict", "operator", "began")}
        told |= {"kind": found["plan"]["kind"], "engines": found["plan"]["engines"]}
        told |= {"code_sha256": found["software"]["code_sha256"], "machine": found["host"]["name"]}
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return told if all(isinstance(value, str | int) for value in told.values()) else None


def _drills(tree: Tree, names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        if name.startswith("drills/") and name.endswith(".json"):
            drill = drill_of(beginning(tree, name, _SMALL))
            if drill is not None:
                found.append({"file": name, **drill})
    return sorted(found, key=lambda drill: (str(drill["began"]), drill["file"]))


def _notes(tree: Tree, names: Sequence[str], engine: str) -> list[Note]:
    found = []
    for name in names:
        if name.startswith(f"checkpoints/{engine}/") and name.endswith(".note"):
            lines = beginning(tree, name, _SMALL).split(b"\n", _NOTE_LINES)
            try:
                size, root = int(lines[1]), base64.b64decode(lines[2], validate=True).hex()
            except (IndexError, ValueError, binascii.Error):
                continue
            found.append(Note(name=name, size=size, root=root))
    return sorted(found, key=lambda note: note.size)
