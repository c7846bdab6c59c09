"""Proofs against vectors that the project did not write, and against the RFC's own words on trees of every size."""

import os
from base64 import b64decode
from pathlib import Path
from typing import Any

import orjson
import pytest

from interlock.verify.notes import ed25519, read_key, read_note
from interlock.verify.proofs import check_consistency, check_inclusion, consistency, fold, inclusion
from interlock.verify.tree import EMPTY, Tree, leaf_hash

from .builder import root_of

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("INTERLOCK_SHARED", ROOT.parent / "shared")) / "vectors"
LOG_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"

given = pytest.mark.skipif(not VECTORS.is_dir(), reason="no shared/vectors beside the repository")


def cases(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and content of every vector of a kind."""
    paths = sorted((VECTORS / "merkle" / kind).rglob("*.json"))
    return [(str(path.relative_to(VECTORS)), orjson.loads(path.read_bytes())) for path in paths]


def raw(values: list[str] | None) -> list[bytes]:
    """Decode a vector's hashes."""
    return [b64decode(value) for value in values or []]


@given
def test_every_inclusion_vector_is_judged_as_it_asks() -> None:
    """Good inclusion proofs are accepted and mutated ones refused, in all vectors."""
    judged = {True: 0, False: 0}
    for name, case in cases("inclusion"):
        root, leaf = raw([case["root"], case["leafHash"]])
        right = check_inclusion(case["leafIdx"], case["treeSize"], leaf, raw(case["proof"]), root)
        assert right is not case["wantErr"], name
        judged[right] += 1
    assert judged[True] >= 6
    assert judged[False] >= 90


@given
def test_every_consistency_vector_is_judged_as_it_asks() -> None:
    """Good consistency proofs are accepted, mutated ones refused, and so is every one from size 0."""
    judged = {True: 0, False: 0}
    for name, case in cases("consistency"):
        one, two = raw([case["root1"], case["root2"]])
        right = check_consistency(case["size1"], case["size2"], one, two, raw(case["proof"]))
        assert right is not case["wantErr"], name
        judged[right] += 1
    assert judged[True] >= 5
    assert judged[False] >= 80


@given
def test_a_log_that_others_wrote_is_read_as_they_wrote_it() -> None:
    """Of a whole tiled log all entries, tiles and signed checkpoints agree, and its own proofs hold between any two."""
    log = VECTORS / "tessera" / "log"
    key = read_key(LOG_KEY)
    entries = list(bundle((log / "tile" / "entries" / "000.p" / "15").read_bytes()))
    assert len(entries) == 15
    roots = {}
    for size in range(16):
        note = read_note((log / f"checkpoint.{size}").read_bytes())
        assert not isinstance(note, str)
        assert note.signed_by(key) is True
        origin, count, root = note.text.splitlines()
        tree = Tree()
        tree.extend(entries[:size])
        assert (origin, int(count), b64decode(root)) == ("example.com/log/testdata", size, tree.root())
        roots[size] = tree.root()
    for size in range(1, 16):
        tile = (log / "tile" / "0" / "000.p" / str(size)).read_bytes()
        assert tile == b"".join(map(leaf_hash, entries[:size]))
        partial = (log / "tile" / "entries" / "000.p" / str(size)).read_bytes()
        assert list(bundle(partial)) == entries[:size]
        for old in range(1, size + 1):
            ranges = consistency(old, size)
            proof = [fold(entries, ranges)[one] for one in ranges]
            assert check_consistency(old, size, roots[old], roots[size], proof)


def bundle(data: bytes) -> list[bytes]:
    """Cut a bundle of entries: each has its length before it, in two bytes."""
    found = []
    while data:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


@given
def test_every_signature_vector_is_judged_as_it_asks() -> None:
    """All 151 Ed25519 cases are judged as they ask."""
    suite = orjson.loads((VECTORS / "ed25519" / "ed25519_test.json").read_bytes())
    count = 0
    for group in suite["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            right = ed25519(public, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            assert right is (test["result"] == "valid"), test["tcId"]
            count += 1
    assert count == suite["numberOfTests"] == 151


LEAVES = [b"leaf %d" % number for number in range(70)]
ROOTS = [root_of(LEAVES[:size]) for size in range(71)]


def test_a_proof_of_every_leaf_in_every_tree_holds_and_no_other() -> None:
    """For each leaf of each tree up to 40 leaves the proof holds, and with any part of it changed it does not."""
    for size in range(1, 41):
        for index in range(size):
            ranges = inclusion(index, size)
            proof = [fold(LEAVES, ranges)[one] for one in ranges]
            leaf = leaf_hash(LEAVES[index])
            assert check_inclusion(index, size, leaf, proof, ROOTS[size])
            assert not check_inclusion(index, size, leaf_hash(LEAVES[index + 1]), proof, ROOTS[size])
            assert not check_inclusion(index, size, leaf, [*proof, leaf], ROOTS[size])
            assert not check_inclusion(index, size, leaf, proof[:-1], ROOTS[size]) or not proof
            assert not any(
                check_inclusion(other, size, leaf, proof, ROOTS[size]) for other in range(size) if other != index
            )


def test_a_proof_between_every_two_sizes_holds_and_no_other() -> None:
    """For each two sizes up to 40 the proof holds, and with any of its roots changed or left out it does not."""
    for new in range(1, 41):
        for old in range(1, new + 1):
            ranges = consistency(old, new)
            proof = [fold(LEAVES, ranges)[one] for one in ranges]
            assert check_consistency(old, new, ROOTS[old], ROOTS[new], proof)
            for place in range(len(proof)):
                assert not check_consistency(old, new, ROOTS[old], ROOTS[new], proof[:place] + proof[place + 1 :])
                changed = [*proof[:place], bytes(32), *proof[place + 1 :]]
                assert not check_consistency(old, new, ROOTS[old], ROOTS[new], changed)
            assert not check_consistency(old, new, ROOTS[old], ROOTS[new], [*proof, bytes(32)])
            if old < new:
                assert not check_consistency(old, new, ROOTS[new], ROOTS[new], proof)
                assert not check_consistency(new, old, ROOTS[new], ROOTS[old], proof)


def test_nothing_grew_from_nothing_but_the_empty_tree() -> None:
    """That the empty tree is the empty tree needs no proof; of anything else it shows nothing."""
    assert check_consistency(0, 0, EMPTY, EMPTY, [])
    assert not check_consistency(0, 0, ROOTS[1], ROOTS[1], [])
    assert not check_consistency(0, 0, EMPTY, EMPTY, [EMPTY])
    assert not check_consistency(0, 1, EMPTY, ROOTS[1], [ROOTS[1]])


def test_a_node_is_no_leaf() -> None:
    """Two hashes given as one leaf are not the node over them, so no proof passes off a subtree as a record."""
    left, right = leaf_hash(LEAVES[0]), leaf_hash(LEAVES[1])
    assert leaf_hash(left + right) != ROOTS[2]
    assert not check_inclusion(0, 1, leaf_hash(left + right), [], ROOTS[2])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_proof_of_a_leaf_that_is_not(index: int, size: int) -> None:
    """A leaf outside the tree has no proof."""
    with pytest.raises(ValueError, match="no leaf"):
        inclusion(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (0, 0), (4, 3), (-1, 3)])
def test_there_is_no_proof_from_nothing_or_backwards(old: int, new: int) -> None:
    """A tree is not proved to have grown from the empty one, nor from a larger."""
    with pytest.raises(ValueError, match="no proof"):
        consistency(old, new)


def test_a_proof_needs_all_its_leaves() -> None:
    """Roots over leaves that aren't there are not made up."""
    with pytest.raises(ValueError, match="fewer"):
        fold(LEAVES, [(0, 71)])
