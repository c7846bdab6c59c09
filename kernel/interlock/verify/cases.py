"""Proofs as JSON: made of a journal's files, and checked with nothing but what is in them.

What a proof says is that a record, or an earlier tree, is in the tree with a certain root. Whether that root is the
journal's is for a signed checkpoint to say, which goes along if there is one, or for who knows the root from elsewhere.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from . import files
from .evidence import Evidence, Inputs, Mark
from .notes import read_checkpoint
from .proofs import check_consistency, check_inclusion, consistency, fold, inclusion
from .tree import Tree, leaf_hash

Case = dict[str, Any]

_NAME_DIGITS = 20
_SEAL_WITHIN = 48


def leaves(directory: Path) -> Iterator[bytes]:
    """Read the lines of a journal, without their line feeds; what follows the last line feed is none."""
    for path in files.segments(directory):
        rest = b""
        for chunk in files.chunks(path):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _sealed(directory: Path) -> int:
    """Return how many lines there are up to and with the last seal."""
    kinds = (b',"kind":"seal",' in line[:_SEAL_WITHIN] for line in leaves(directory))
    return max((number for number, seal in enumerate(kinds, 1) if seal), default=0)


def _root(lines: Iterable[bytes], size: int) -> bytes:
    tree = Tree()
    tree.extend(islice(lines, size))
    return tree.root()


def _note(notes: Path | None, size: int) -> str | None:
    """Return the checkpoint of a size, if there is one."""
    path = notes and notes / f"{size:0{_NAME_DIGITS}}.note"
    return files.small(path).decode() if path and path.is_file() else None


def prove_inclusion(directory: Path, record: int, size: int | None = None, notes: Path | None = None) -> Case:
    """Make the proof that a record is in a journal.

    Args:
        directory: of the journal's segments.
        record: its number.
        size: of the tree; else that of the last checkpoint or, if that is not over it, up to the last seal.
        notes: the directory of the journal's checkpoints.

    Raises:
        ValueError: there is no such record in a tree of that size, or the journal has no such size.
        OSError: a file can't be read.
    """
    if size is None:
        signed = max((int(path.stem) for path in notes.glob("*.note")), default=0) if notes else 0
        size = signed if signed > record else _sealed(directory)
    ranges = inclusion(record, size)
    roots = fold(leaves(directory), ranges)
    return {
        "proof": "inclusion",
        "record": record,
        "size": size,
        "root": _root(leaves(directory), size).hex(),
        "line": next(islice(leaves(directory), record, None)).decode(),
        "hashes": [roots[one].hex() for one in ranges],
        "checkpoint": _note(notes, size),
    }


def prove_consistency(directory: Path, old: int, new: int, notes: Path | None = None) -> Case:
    """Make the proof that a journal of one size grew to another; arguments and errors as in `prove_inclusion`."""
    ranges = consistency(old, new)
    roots = fold(leaves(directory), ranges)
    last = fold(leaves(directory), [(0, new)])[0, new]
    return {
        "proof": "consistency",
        "old_size": old,
        "old_root": _root(leaves(directory), old).hex(),
        "size": new,
        "root": last.hex(),
        "hashes": [roots[one].hex() for one in ranges],
        "old_checkpoint": _note(notes, old),
        "checkpoint": _note(notes, new),
    }


def check(data: bytes, inputs: Inputs) -> tuple[list[str], list[str]]:
    """Check a proof by itself.

    Args:
        data: it, as JSON.
        inputs: the root key and the lists of keys, if there are any.

    Returns:
        What is wrong with it, and what it shows.
    """
    try:
        case = orjson.loads(data)
        roots = {case["size"]: (bytes.fromhex(case["root"]), case["checkpoint"])}
        hashes = [bytes.fromhex(value) for value in case["hashes"]]
        if case["proof"] == "inclusion":
            right, shown = _included(case, hashes), f"record {case['record']} is in the tree of {case['size']} records"
        else:
            roots[case["old_size"]] = (bytes.fromhex(case["old_root"]), case["old_checkpoint"])
            right = _grown(case, hashes)
            shown = f"the tree of {case['old_size']} records grew into that of {case['size']}"
        wrong = [] if right else ["the hashes do not lead to the root"]
        return _signed(roots, inputs, wrong, [f"{shown} with root {case['root']}"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"not a proof: {error}"], []


def _included(case: Case, hashes: list[bytes]) -> bool:
    line = case["line"].encode()
    same = orjson.loads(line)["seq"] == case["record"]
    return same and check_inclusion(case["record"], case["size"], leaf_hash(line), hashes, bytes.fromhex(case["root"]))


def _grown(case: Case, hashes: list[bytes]) -> bool:
    old, new = (bytes.fromhex(case[key]) for key in ("old_root", "root"))
    return check_consistency(case["old_size"], case["size"], old, new, hashes)


def _signed(
    roots: dict[int, tuple[bytes, str | None]], inputs: Inputs, wrong: list[str], shown: list[str]
) -> tuple[list[str], list[str]]:
    """Hold the checkpoints that go along with a proof against its roots."""
    for size, (root, text) in roots.items():
        note = read_checkpoint(text.encode()) if text else None
        if note is None or isinstance(note, str):
            wrong += [f"the checkpoint of size {size}: {note}"] if note else []
            continue
        anchors = ((f"checkpoint of size {size}", str(text).encode()),)
        evidence = Evidence(Inputs(root_key=inputs.root_key, lists=inputs.lists, anchors=anchors))
        found = evidence.findings({size: Mark(root=root, ts=note.ts)}, size, None, whole=True)
        if note.size != size:
            wrong.append(f"the checkpoint is of size {note.size}, not {size}")
        wrong += [f"{one.file}: {one.message}" for one in found]
        believed = all(anchor.believed for anchor in evidence.anchors())
        how = (
            "signed by a key that traces to the root key"
            if believed
            else "signed, but no root key was given to believe it by"
        )
        shown.append(f"the root of size {size} is that of a checkpoint of {note.origin}, {how}")
    return wrong, [] if wrong else shown
