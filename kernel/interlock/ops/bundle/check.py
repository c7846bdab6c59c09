"""A bundle is checked: every file against the manifest, the records by the verifier, what was computed anew."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.ops.bundle.build import MANIFEST, digest
from interlock.ops.bundle.derive import DERIVED, PASSES, derive
from interlock.ops.bundle.given import request_of
from interlock.ops.bundle.tree import BundleError, Folder
from interlock.ops.bundle.verdicts import tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.journal.verify import Report
    from interlock.ops.bundle.progress import Step
    from interlock.ops.bundle.tree import Tree

__all__ = ["Checked", "check"]

_JUDGED: Final = ("interlock", "code_sha256")


@attrs.frozen(kw_only=True)
class Checked:
    """What a check found.

    Attributes:
        manifest_sha256: the manifest's own hash, to compare with one that came by another way.
        changed: files whose bytes are not those of the manifest.
        missing: files that it names and that are not there.
        added: files that are there and that it does not name.
        differs: files that are computed otherwise from this evidence.
        notes: what could not be checked, and why.
        reports: the verifier's answers, by engine.
    """

    manifest_sha256: str
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    differs: tuple[str, ...]
    notes: tuple[str, ...]
    reports: Mapping[str, Report]

    @property
    def whole(self) -> bool:
        """Whether the bundle is what was made."""
        return not (self.changed or self.missing or self.added or self.differs)


def check(tree: Tree, step: Step) -> Checked:
    """Check a bundle.

    Raises:
        BundleError: it is none.
        OSError: a file of the records can't be read.
    """
    data = _read(tree)
    manifest = _manifest(data)
    there = [name for name in tree.names() if name != MANIFEST]
    files: dict[str, Any] = manifest["files"]
    missing = sorted(files.keys() - set(there))
    added = sorted(set(there) - files.keys())
    changed = _changed(tree, [name for name in there if name in files], files, step)
    notes = []
    if request_of(tree) != {key: value for key, value in manifest.items() if key != "files"} | {
        "tools": {key: value for key, value in manifest["tools"].items() if key != "weasyprint"}
    }:
        changed.append(MANIFEST)
    with tempfile.TemporaryDirectory() as place:
        anew = Folder(Path(place))
        told = derive(tree, anew, step("computing", PASSES * sum(map(tree.size, _segments(there)))))
        mine = tools()
        other = [key for key in _JUDGED if manifest["tools"].get(key) != mine[key]]
        if other:
            notes.append(f"the report was not compared: it was made by another version ({', '.join(other)})")
            differs = []
        else:
            differs = [name for name in sorted(DERIVED) if name in there and digest(anew, name) != _digest(tree, name)]
    return Checked(
        manifest_sha256=sha256(data).hexdigest(),
        changed=tuple(sorted(changed)),
        missing=tuple(missing),
        added=tuple(added),
        differs=tuple(differs),
        notes=tuple(notes),
        reports=told.given.reports,
    )


def _read(tree: Tree) -> bytes:
    try:
        return tree.read(MANIFEST)
    except (OSError, KeyError) as error:
        message = f"no bundle: it has no {MANIFEST}"
        raise BundleError(message) from error


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        message = f"no bundle: its {MANIFEST} can't be read"
        raise BundleError(message) from error
    if not (isinstance(found, dict) and all(isinstance(found.get(key), dict) for key in ("files", "tools"))):
        message = f"no bundle: its {MANIFEST} is none"
        raise BundleError(message)
    return found


def _changed(tree: Tree, names: list[str], files: dict[str, Any], step: Step) -> list[str]:
    progress = step("hashing", sum(_size(tree, name) for name in names))
    changed = []
    for name in names:
        found = _digest(tree, name)
        if found != files[name]:
            changed.append(name)
        progress(0 if found is None else found["size"])
    return changed


def _digest(tree: Tree, name: str) -> dict[str, Any] | None:
    """Hash and size of a file; None if it can't be read."""
    try:
        return digest(tree, name)
    except OSError:
        return None


def _size(tree: Tree, name: str) -> int:
    try:
        return tree.size(name)
    except OSError:
        return 0


def _segments(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("journal/") and os.path.splitext(name)[1] in {".jsonl", ".zst"}]  # noqa: PTH122
