"""A home's checkpoints: kept once, found again, and never another one under the same size."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from tests.adapters.test_witness import ORIGIN, Book
from tests.helpers import arm, attach

from interlock import HomeError
from interlock.breaker.compress import compress
from interlock.breaker.grounds import check
from interlock.journal.notes import Signature
from interlock.journal.proofs import consistency
from interlock.journal.statements import Checkpoint
from interlock.store.checkpoints import CheckpointError, Notes, Point
from interlock.store.proofs import ProofError, Prover, tree_at

if TYPE_CHECKING:
    from pathlib import Path


def point(size: int, book: Book | None = None) -> Point:
    """A checkpoint."""
    note = (book or Book()).note(size)
    return Point(note, Checkpoint.parse(note.text))


def test_a_checkpoint_is_found_again(tmp_path: Path) -> None:
    """The newest is that of the largest size, whatever order they came in, and other files are no notes."""
    notes = Notes(tmp_path, "engine")
    assert notes.newest() is None
    for size in (3, 40, 20):
        notes.write(point(size))
    (notes.directory / "99.note").write_bytes(b"")
    (notes.directory / f"{99:020d}.note.bak").write_bytes(b"")
    assert notes.sizes() == [3, 20, 40]
    assert notes.newest() == point(40)
    assert notes.read(3) == point(3)
    assert notes.directory.stat().st_mode & 0o777 == 0o700


def test_another_root_under_the_same_size_is_refused(tmp_path: Path) -> None:
    """A second checkpoint of one size is taken if it has the same root, and changes nothing; else it is a fork."""
    notes = Notes(tmp_path, "engine")
    notes.write(point(20))
    again = Book().note(20, why="halt")
    notes.write(Point(again, Checkpoint.parse(again.text)))
    assert notes.newest() == point(20)
    with pytest.raises(CheckpointError, match="another root"):
        notes.write(point(20, Book([b"else"] * 50)))


@pytest.mark.parametrize("damage", [b"", b"junk", b"size", b"foreign"])
def test_a_checkpoint_that_cannot_be_read_is_told(tmp_path: Path, damage: bytes) -> None:
    """An empty or damaged newest note, another size's, and another log's are errors: nobody knows what was signed."""
    notes = Notes(tmp_path, "engine")
    notes.write(point(3))
    other = {b"size": point(3).note.encode(), b"foreign": b"a\n1\nAAAA\n\n\xe2\x80\x94 a AAAAAAA=\n"}
    (notes.directory / f"{20:020d}.note").write_bytes(other.get(damage, damage))
    with pytest.raises(CheckpointError):
        notes.newest()


def test_cosignatures_and_tokens_are_kept_beside(tmp_path: Path) -> None:
    """A witness's line is added to the note, once, and a token is a file that names size and authority."""
    notes = Notes(tmp_path, "engine")
    notes.write(point(20))
    for time in (b"1", b"2"):
        notes.cosign(20, Signature("w.example", b"abcd", time * 72))
    read = notes.read(20)
    assert read.says == point(20).says
    assert [one.name for one in read.note.signatures] == [ORIGIN, "w.example"]
    assert read.note.signatures[1].data == b"2" * 72
    notes.stamp(20, "tsa", b"token")
    assert (tmp_path / "anchors" / "engine" / f"{20:020d}.tsa.tst").read_bytes() == b"token"


# -- Proofs from a journal's files -----------------------------------------------------------------------


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A journal in many small segments, that no test here touches."""
    from tests.store.test_signing import busy  # noqa: PLC0415 - it imports this module's neighbours

    arm(tmp_path / "home")
    busy(tmp_path / "home", rounds=6, segment_bytes=1)
    return tmp_path / "home" / "journal" / "engine"


def bodies(stream: Path) -> list[bytes]:
    """All lines of a journal."""
    return b"".join(path.read_bytes() for path in sorted(stream.iterdir())).split(b"\n")[:-1]


def test_the_tree_at_every_size_and_every_proof(stream: Path) -> None:
    """From the peaks that a segment tells the tree at any size is made, and the proof between any two of them."""
    lines = bodies(stream)
    assert len(list(stream.iterdir())) > 3
    trees = [tree_at(stream, size) for size in range(len(lines) + 1)]
    for size, tree in enumerate(trees):
        assert (tree.size, tree.root()) == (size, Book(lines).tree(size).root())
    prove = Prover(stream)
    for old in range(1, len(lines)):
        for new in range(old + 1, len(lines) + 1, 5):
            proof = consistency(Book(lines).tree(old), lines[old:], new)
            assert prove(old, new) == Prover(stream)(old, new) == proof
    assert prove(0, 5) == prove(5, 5) == []


def test_who_asks_again_reads_only_what_is_new(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a size that was proved to before, nothing is read that stands before it, and no file but the last."""
    from interlock.store import proofs  # noqa: PLC0415 - to be patched where it is used

    lines = bodies(stream)
    prove = Prover(stream)
    prove(2, len(lines) - 3)
    touched = []
    real = proofs.opened

    def opened(path: Path) -> object:
        touched.append(path)
        return real(path)

    monkeypatch.setattr(proofs, "opened", opened)
    assert prove(len(lines) - 3, len(lines)) == consistency(Book(lines).tree(len(lines) - 3), lines[-3:], len(lines))
    assert {*touched} <= {*sorted(stream.iterdir())[-2:]}


def test_a_segment_that_is_compressed_meanwhile_is_read_all_the_same(stream: Path) -> None:
    """What is remembered of a file that has another name now is found in that, and the proof is right."""
    lines = bodies(stream)
    prove = Prover(stream)
    at = int(sorted(stream.iterdir())[2].stem) - 1  # in the middle of what will be compressed
    prove(1, at)
    for path in sorted(stream.iterdir())[:-1]:
        compress(path)
    assert prove(at, len(lines)) == consistency(Book(lines).tree(at), lines[at:], len(lines))


def test_what_is_not_there_has_no_proof(stream: Path) -> None:
    """A size beyond the journal, a segment that is gone and one whose beginning is not one are errors."""
    count = len(bodies(stream))
    for call in (lambda: tree_at(stream, count + 1), lambda: Prover(stream)(3, count + 1)):
        with pytest.raises(ProofError):
            call()
    *_, before, last = sorted(stream.iterdir())
    size = int(last.stem)
    data = last.read_bytes()
    last.chmod(0o600)
    last.write_bytes(b"{}\n" + data.partition(b"\n")[2])
    with pytest.raises(ProofError, match="does not begin"):
        tree_at(stream, size + 1)
    last.write_bytes(data)
    before.unlink()
    with pytest.raises(ProofError, match="lines"):
        Prover(stream)(int(before.stem) - 1, size + 1)
    with pytest.raises(ProofError, match="no journal"):
        tree_at(stream.parent, 1)


def test_a_root_is_what_base64_says(tmp_path: Path) -> None:
    """The note's third line is the root itself."""
    notes = Notes(tmp_path, "engine")
    notes.write(point(0))
    assert b64decode(notes.read(0).note.text.split("\n")[2]) == sha256(b"").digest()


@pytest.mark.parametrize("what", ["checkpoints", "checkpoints/engine", "checkpoints/engine/note", "keys/0001.note"])
def test_what_others_may_write_keeps_engines_out(tmp_path: Path, what: str) -> None:
    """A home in which somebody else may write checkpoints or lists of keys is no ground for an engine."""
    home = tmp_path / "home"
    arm(home)
    (home / "keys").mkdir(mode=0o700)
    (home / "keys" / "0001.note").touch(mode=0o600)
    notes = Notes(home, "engine")
    notes.write(point(3))
    path = notes.directory / f"{3:020d}.note" if what.endswith("/note") else home / what
    path.chmod(0o666)
    with pytest.raises(HomeError, match="chmod go-w"):
        check(home, engine="engine")
    with pytest.raises(HomeError, match="chmod go-w"):
        attach(home)
