"""A bundle is checked: every file against the manifest, the records by the verifier, what was computed anew."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.ops.bundle.build import MANIFEST, PDF
from interlock.ops.bundle.derive import DERIVED, PASSES, REPORT, derive
from interlock.ops.bundle.given import REQUEST, request_of
from interlock.ops.bundle.tree import BundleError, Folder, digest
from interlock.ops.bundle.verdicts import tools, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.ops.bundle.progress import Step
    from interlock.ops.bundle.tree import Tree
    from interlock.verify import Report

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


def check(tree: Tree, root_key: str | None, step: Step) -> Checked:
    """Check a bundle.

    Args:
        tree: the bundle.
        root_key: the root's verifier key, from elsewhere; None to use the one that the bundle names, if it does.
        step: told what is being done.

    Raises:
        BundleError: it is none.
    """
    data = _read(tree)
    manifest = _manifest(data)
    request = request_of(tree)
    there = [name for name in tree.names() if name != MANIFEST]
    files: dict[str, Any] = manifest["files"]
    changed = _changed(tree, [name for name in there if name in files], files, step)
    if _asked(manifest) != _asked(request):
        changed.append(MANIFEST)
    notes = []
    if PDF in there:
        notes.append(f"{PDF} was compared with the manifest alone; {REPORT} is what was computed again")
    own = request["root_key"]
    if root_key is None and own is not None:
        notes.append("the root key is the one that the bundle names: compare it with one that came by another way")
    if root_key is not None and own not in {None, root_key}:
        notes.append("the bundle names another root key than the one that was given")
    with tempfile.TemporaryDirectory() as place:
        anew = Folder(Path(place))
        differs, reports = [], {}
        try:
            told = derive(tree, anew, step("computing", PASSES * sum(_size(tree, name) for name in _segments(there))))
        except OSError as error:
            notes.append(f"the records can't be read: {error}")
            changed += [REQUEST] if not changed else []
        else:
            differs = _differing(tree, anew, there, manifest, notes)
            reports = dict(told.given.reports)
            if root_key not in {None, own}:
                reports = {engine: verdict(tree, engine, root_key, lambda _: None) for engine in reports}
    return Checked(
        manifest_sha256=sha256(data).hexdigest(),
        changed=tuple(sorted(changed)),
        missing=tuple(sorted(files.keys() - set(there))),
        added=tuple(sorted(set(there) - files.keys())),
        differs=tuple(differs),
        notes=tuple(notes),
        reports=reports,
    )


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """What request and manifest both say."""
    plain = {key: value for key, value in given.items() if key != "files"}
    return {**plain, "tools": {key: value for key, value in given["tools"].items() if key != "weasyprint"}}


def _differing(tree: Tree, anew: Folder, there: list[str], manifest: dict[str, Any], notes: list[str]) -> list[str]:
    """What is computed otherwise from this evidence; told only if the same version computes."""
    mine = tools()
    other = [key for key in _JUDGED if manifest["tools"].get(key) != mine[key]]
    if other:
        notes.append(f"the report was not compared: it was made by another version ({', '.join(other)})")
        return []
    return [name for name in sorted(DERIVED) if name in there and digest(anew, name) != _digest(tree, name)]


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
