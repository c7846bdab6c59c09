"""Consistency proofs: as others have written them down, and for every pair of small sizes."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256

import pytest
from tests.merkle import consistent
from tests.vectors import SHARED, needs_vectors

from interlock.journal.proofs import consistency, spans
from interlock.journal.tree import Tree

LINES = [f"line {number}".encode() for number in range(40)]


def tree(lines: list[bytes]) -> Tree:
    """Over some lines."""
    made = Tree()
    made.extend(lines)
    return made


@pytest.mark.parametrize("old", range(1, 40))
def test_every_small_proof_is_right_and_no_other_one_is(old: int) -> None:
    """From each size to each larger one the proof is accepted, and with any of its hashes changed it is not."""
    smaller = tree(LINES[:old])
    for new in range(old + 1, 41):
        proof = consistency(smaller, LINES[old:], new)
        roots = smaller.root(), tree(LINES[:new]).root()
        assert len(proof) == len(spans(old, new)) <= 63
        assert consistent(old, new, *roots, proof)
        for place in range(len(proof)):
            wrong = [*proof]
            wrong[place] = sha256(wrong[place]).digest()
            assert not consistent(old, new, *roots, wrong)
        assert not consistent(old, new, sha256(b"other").hexdigest(), roots[1], proof)
        assert not consistent(old, new, roots[0], sha256(b"other").hexdigest(), proof)
    assert smaller.root() == tree(LINES[:old]).root()


def test_hashes_of_a_proof_are_those_of_the_rfc() -> None:
    """The examples of RFC 6962, 2.1.3: from 3, 4 and 6 leaves to 7, each hash by the leaves under it."""
    assert spans(3, 7) == [(2, 3), (3, 4), (0, 2), (4, 7)]
    assert spans(4, 7) == [(4, 7)]
    assert spans(6, 7) == [(4, 6), (6, 7), (0, 4)]


def test_nothing_is_proved_from_nothing_or_to_itself() -> None:
    """Those proofs are empty, as the protocol of witnesses wants them."""
    assert spans(0, 7) == spans(7, 7) == spans(0, 0) == []
    assert consistency(Tree(), LINES, 7) == []


def test_a_journal_that_is_too_short_has_no_proof() -> None:
    """Lines that are missing are an error, and not a proof of something else."""
    with pytest.raises(ValueError, match="3 lines only"):
        consistency(tree(LINES[:2]), LINES[2:3], 9)


@needs_vectors
def test_the_vectors_of_others_are_judged_right() -> None:
    """The checker of these tests accepts what transparency-dev's vectors accept, and refuses the rest."""
    judged = 0
    for path in sorted((SHARED / "merkle/consistency").rglob("*.json")):
        case = json.loads(path.read_bytes())
        roots = (b64decode(case[root] or "").hex() for root in ("root1", "root2"))
        proof = [b64decode(one) for one in case["proof"] or []]
        assert consistent(case["size1"], case["size2"], *roots, proof) is not case["wantErr"], path
        judged += 1
    assert judged > 90


@needs_vectors
def test_the_good_vectors_of_others_have_as_many_hashes() -> None:
    """Where a proof of another's is good, ours between the same sizes has the same length."""
    for path in sorted((SHARED / "merkle/consistency").rglob("happy-path.json")):
        case = json.loads(path.read_bytes())
        assert len(spans(case["size1"], case["size2"])) == len(case["proof"] or []), path
