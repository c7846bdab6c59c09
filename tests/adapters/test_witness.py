"""Witnesses: each keeps what it is given, tells it again, and does not take another history."""

from __future__ import annotations

import os
import subprocess
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.adapters.servers import tsa, witness

from interlock.adapters.witness import DirectoryWitness, FileWitness, TimeStampWitness, TlogWitness
from interlock.journal.notes import COSIGNATURE, Note, NoteError, Signer, Verifier
from interlock.journal.proofs import consistency
from interlock.journal.statements import Checkpoint, Stamp, origin_of
from interlock.journal.tree import Tree
from interlock.store.private import KeysError
from interlock.store.witness import Kept, WitnessError, WitnessRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.store.witness import Witness

ORIGIN = origin_of("8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22", "engine")
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
SIGNER = Signer(Verifier(ORIGIN, PUBLIC), PRIVATE.sign)
LINES = [f"line {number}".encode() for number in range(50)]
FORKED = [*LINES[:3], b"another", *LINES[4:]]


class Book:
    """A journal's tree, as far as a witness sees of it."""

    def __init__(self, lines: list[bytes] = LINES, origin: str = ORIGIN) -> None:
        self.lines = lines
        self.origin = origin

    def tree(self, size: int) -> Tree:
        """At a size."""
        tree = Tree()
        tree.extend(self.lines[:size])
        return tree

    def note(self, size: int, why: str = "time") -> Note:
        """The checkpoint at a size."""
        more = (str(Stamp(epoch=1, ts_us=size, why=why)),)
        point = Checkpoint(origin=self.origin, size=size, root=self.tree(size).root(), more=more)
        return Signer(Verifier(self.origin, PUBLIC), PRIVATE.sign).note(point.text())

    def proof(self, new: int, old: int) -> list[bytes]:
        """From a size to another."""
        return consistency(self.tree(old), self.lines[old:], new)

    def keep(self, by: Witness, size: int) -> Any:
        """Hand over the checkpoint at a size."""
        return by.keep(self.note(size), partial(self.proof, size))


@pytest.fixture(params=["directory", "file", "tlog"])
def remembering(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Witness]]:
    """Makes a witness of a kind, always the same one, as each process of an engine would."""
    if request.param == "directory":
        (tmp_path / "volume").mkdir()
        DirectoryWitness.make(tmp_path / "volume")
        yield partial(DirectoryWitness, tmp_path / "volume")
    elif request.param == "file":
        FileWitness.make(tmp_path / "file", tmp_path / "key.pem")
        yield partial(FileWitness, tmp_path / "file", tmp_path / "key.pem")
    else:
        with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
            yield partial(TlogWitness, url, key)


# -- What every witness that remembers does ----------------------------------------------------------------


def test_what_is_kept_is_told_again(remembering: Callable[[], Witness]) -> None:
    """The latest checkpoint is the last that was kept, also to a process that starts anew."""
    book = Book()
    empty = book.note(0)
    ours = remembering()
    assert ours.remembers
    assert ours.latest(empty) is None
    for size in (3, 7, 8, 31, 50):
        book.keep(ours, size)
        for asked in (ours, remembering()):
            kept = asked.latest(empty)
            assert kept is not None
            assert (kept.size, kept.root) in {(size, book.tree(size).root()), (size, None)}


def test_the_same_checkpoint_again_changes_nothing(remembering: Callable[[], Witness]) -> None:
    """After a crash the newest checkpoint is handed over once more, and taken."""
    book = Book()
    book.keep(remembering(), 7)
    book.keep(remembering(), 7)
    kept = remembering().latest(book.note(0))
    assert kept is not None
    assert kept.size == 7


def test_a_shorter_journal_is_not_taken(remembering: Callable[[], Witness]) -> None:
    """A checkpoint of a smaller tree than the last is refused, and the last stays."""
    book = Book()
    book.keep(remembering(), 20)
    with pytest.raises(WitnessRefusedError):
        book.keep(remembering(), 19)
    kept = remembering().latest(book.note(0))
    assert kept is not None
    assert kept.size == 20


def test_another_root_of_the_same_size_is_not_taken(remembering: Callable[[], Witness]) -> None:
    """Of two checkpoints of one size the second is refused."""
    Book().keep(remembering(), 20)
    with pytest.raises(WitnessRefusedError):
        Book(FORKED).keep(remembering(), 20)


def test_a_note_that_is_no_checkpoint_is_refused(remembering: Callable[[], Witness]) -> None:
    """Something else that is signed is not kept."""
    with pytest.raises(NoteError):
        remembering().keep(SIGNER.note("hello\n"), lambda _: ())


# -- A directory -----------------------------------------------------------------------------------------


def test_a_volume_that_is_not_mounted_is_missing_and_not_empty(tmp_path: Path) -> None:
    """A directory without the mark can't be asked: otherwise a missing volume would be one that never kept anything."""
    ours = DirectoryWitness(tmp_path)
    for call in (lambda: ours.latest(Book().note(0)), lambda: Book().keep(ours, 3)):
        with pytest.raises(WitnessError, match="mounted"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_holds_each_checkpoint_whole_and_each_journal_apart(tmp_path: Path) -> None:
    """Each checkpoint is a file of its own, byte for byte, and two engines' do not mix."""
    DirectoryWitness.make(tmp_path)
    ours = DirectoryWitness(tmp_path)
    other = Book(origin=origin_of("8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22", "other"))
    for size in (3, 9):
        Book().keep(ours, size)
    other.keep(ours, 5)
    where = tmp_path / "8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22"
    assert [path.name for path in sorted((where / "engine").iterdir())] == [f"{3:020d}.note", f"{9:020d}.note"]
    assert (where / "engine" / f"{9:020d}.note").read_bytes() == Book().note(9).encode()
    assert ours.latest(other.note(0)) == Kept(size=5, root=other.tree(5).root())


@pytest.mark.parametrize("origin", ["interlock/../x", "interlock//x", "/etc", "a/./b"])
def test_an_origin_that_leads_elsewhere_is_refused(tmp_path: Path, origin: str) -> None:
    """Nothing is written outside the directory, whatever a journal is called."""
    DirectoryWitness.make(tmp_path)
    with pytest.raises(WitnessError, match="no journal"):
        Book(origin=origin).keep(DirectoryWitness(tmp_path), 3)


def test_a_damaged_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    """A newest file that can't be read is an error: nobody knows what was kept."""
    DirectoryWitness.make(tmp_path)
    ours = DirectoryWitness(tmp_path)
    Book().keep(ours, 3)
    (tmp_path / "8b6f3c1e-5f0e-4c55-9f4e-3a0d5a7b1c22" / "engine" / f"{9:020d}.note").write_bytes(b"junk")
    with pytest.raises(WitnessError, match="can't be read"):
        ours.latest(Book().note(0))


# -- A file ----------------------------------------------------------------------------------------------


def entries(path: Path) -> list[bytes]:
    """What is in a witness's file."""
    return path.read_bytes().split(b"\x1e")[1:]


def test_each_entry_is_cosigned_with_its_time(tmp_path: Path) -> None:
    """The file's key signs each entry with the second at which it was kept, and the receipt is that signature."""
    FileWitness.make(tmp_path / "file", tmp_path / "key.pem")
    ours = FileWitness(tmp_path / "file", tmp_path / "key.pem", utc_s=lambda: 1_700_000_000.9)
    receipt = Book().keep(ours, 3)
    (entry,) = entries(tmp_path / "file")
    note = Note.decode(entry)
    assert ours.verifier.signed(note) == 1_700_000_000
    assert note == Book().note(3).signed_by(receipt.cosignature)


def test_an_entry_that_a_crash_cut_is_passed_over_at_every_length(tmp_path: Path) -> None:
    """Whatever part of the last entry is on the disk, the one before counts, and the next is appended and found."""
    path = tmp_path / "file"
    FileWitness.make(path, tmp_path / "key.pem")
    Book().keep(FileWitness(path, tmp_path / "key.pem"), 3)
    one = path.read_bytes()
    Book().keep(FileWitness(path, tmp_path / "key.pem"), 9)
    two = path.read_bytes()
    for length in range(len(one), len(two)):
        path.write_bytes(two[:length])
        assert FileWitness(path, tmp_path / "key.pem").latest(Book().note(0)) == Kept(
            size=3, root=Book().tree(3).root()
        )
        Book().keep(FileWitness(path, tmp_path / "key.pem"), 9)
        assert FileWitness(path, tmp_path / "key.pem").latest(Book().note(0)) == Kept(
            size=9, root=Book().tree(9).root()
        )


def test_a_changed_entry_is_damage(tmp_path: Path) -> None:
    """No digit of a size, no time and no byte of a root can be changed without that the file's key disowns it."""
    path = tmp_path / "file"
    FileWitness.make(path, tmp_path / "key.pem")
    Book().keep(FileWitness(path, tmp_path / "key.pem"), 9)
    data = path.read_bytes()
    changes = [
        (b"\n9\n", b"\n8\n"),
        (b"ts=9", b"ts=8"),
        (Book().note(9).text.split("\n")[2].encode(), b64encode(bytes(32))),
    ]
    for old, new in changes:
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(WitnessError, match="damaged"):
            FileWitness(path, tmp_path / "key.pem").latest(Book().note(0))
    path.write_bytes(b"x" + data)
    with pytest.raises(WitnessError, match="damaged"):
        FileWitness(path, tmp_path / "key.pem").latest(Book().note(0))
    path.write_bytes(data * 2)
    with pytest.raises(WitnessError, match="stands behind"):
        FileWitness(path, tmp_path / "key.pem").latest(Book().note(0))


def test_a_file_that_is_cut_while_it_is_in_use_is_told(tmp_path: Path) -> None:
    """A witness that has read its file sees that it became shorter, and one without its file or key is missing."""
    path = tmp_path / "file"
    FileWitness.make(path, tmp_path / "key.pem")
    ours = FileWitness(path, tmp_path / "key.pem")
    Book().keep(ours, 3)
    Book().keep(ours, 9)
    os.truncate(path, 10)
    with pytest.raises(WitnessError, match="cut back"):
        ours.latest(Book().note(0))
    path.unlink()
    with pytest.raises(WitnessError):
        ours.latest(Book().note(0))
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(WitnessError, match="chmod 600"):
        Book().keep(ours, 10)
    with pytest.raises(KeysError):
        FileWitness.make(path, tmp_path / "key.pem")


# -- A C2SP witness over HTTP ------------------------------------------------------------------------------


def test_the_witness_cosigns_and_checks_that_the_journal_only_grew(tmp_path: Path) -> None:
    """Each cosignature is good for its checkpoint; a journal that grew from another one gets none."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        ours = TlogWitness(url, key)
        for size in (1, 2, 3, 30):
            line = Book().keep(ours, size).cosignature
            assert ours.verifier.signed(Note.decode(Book().note(size).signed_by(line).encode())) > 0
        with pytest.raises(WitnessRefusedError, match="did not grow"):
            Book(FORKED).keep(ours, 40)
        with pytest.raises(WitnessRefusedError, match="did not grow"):
            Book(FORKED).keep(TlogWitness(url, key), 40)
        assert Book().keep(ours, 40).cosignature is not None


def test_the_witness_remembers_over_its_own_restart(tmp_path: Path) -> None:
    """A size that it tells with a conflict is the one to prove from."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        Book().keep(TlogWitness(url, key), 20)
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        ours = TlogWitness(url, key)
        assert ours.latest(Book().note(0)) == Kept(size=20, root=None)
        assert ours.latest(Book().note(30)) == Kept(size=20, root=None)
        assert Book().keep(ours, 30).cosignature is not None


def test_the_witness_that_is_asked_with_a_checkpoint_may_keep_it(tmp_path: Path) -> None:
    """One that has nothing yet cosigns what it is asked with, and tells that."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        assert TlogWitness(url, key).latest(Book().note(9)) == Kept(size=9, root=Book().tree(9).root())


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("busy", "503"),
        ("forge", "not its cosignature"),
        ("stranger", "not its cosignature"),
        ("garbage", "not its cosignature"),
        ("endless", "does not end"),
        ("hang", "timed out"),
        ("drip", "does not end"),
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_a_wrong_answer_is_no_cosignature(tmp_path: Path, mood: str, why: str, asked: bool) -> None:
    """An error, a forged or foreign signature, garbage, an endless answer, one by single bytes, and none: not known."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        (tmp_path / "w" / "mood").write_text(mood)
        ours = TlogWitness(url, key, timeout_s={"hang": 0.5, "drip": 0.5, "endless": 600}.get(mood, 20))
        with pytest.raises(WitnessError, match=why):
            ours.latest(Book().note(3)) if asked else Book().keep(ours, 3)


@pytest.mark.parametrize("mood", ["kind", "size"])
def test_a_conflict_that_names_no_size_is_an_error(tmp_path: Path, mood: str) -> None:
    """The size comes in its own media type and as a number, or nobody knows it."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        Book().keep(TlogWitness(url, key), 3)
        (tmp_path / "w" / "mood").write_text(mood)
        with pytest.raises(WitnessError, match="names no size"):
            TlogWitness(url, key).latest(Book().note(0))


def test_a_witness_that_does_not_know_us_cosigns_nothing(tmp_path: Path) -> None:
    """Another log's witness, and one that trusts another key, say so; and nobody at the port is an error, too."""
    with (
        witness(tmp_path / "w", "interlock/other/engine", PUBLIC) as (url, key),
        pytest.raises(WitnessError, match="404"),
    ):
        Book().keep(TlogWitness(url, key), 3)
    with witness(tmp_path / "v", ORIGIN, bytes(31) + b"\x01") as (url, key), pytest.raises(WitnessError, match="403"):
        Book().keep(TlogWitness(url, key), 3)
    with pytest.raises(WitnessError, match="refused"):
        Book().keep(TlogWitness(url, key), 3)


def test_a_witness_needs_a_cosignature_key() -> None:
    """A plain verifier key, or no http address, is told before anything is sent."""
    with pytest.raises(NoteError, match="0x04"):
        TlogWitness("http://127.0.0.1:1", str(Verifier("w", PUBLIC)))
    for url in ("file:///etc/passwd", "ftp://x/y", "127.0.0.1", "http://"):
        with pytest.raises(WitnessError, match="address"):
            Book().keep(TlogWitness(url, str(Verifier("w", PUBLIC, COSIGNATURE))), 3)


# -- A time-stamp authority --------------------------------------------------------------------------------


def test_a_token_is_over_the_checkpoint_and_openssl_agrees(tmp_path: Path) -> None:
    """A real authority's token verifies here, and with OpenSSL against the checkpoint's text, and not another's."""
    with tsa(tmp_path / "tsa") as (url, roots):
        ours = TimeStampWitness(url, roots)
        token = Book().keep(ours, 3).token
        assert ours.latest(Book().note(3)) is None
        assert not ours.remembers
    (tmp_path / "token").write_bytes(token)
    check = ["openssl", "ts", "-verify", "-in", tmp_path / "token", "-token_in", "-CAfile", tmp_path / "tsa" / "ca.pem"]
    (tmp_path / "text").write_text(Book().note(3).text)
    subprocess.run([*check, "-data", tmp_path / "text"], check=True, capture_output=True, timeout=60)
    (tmp_path / "text").write_text(Book().note(4).text)
    assert subprocess.run([*check, "-data", tmp_path / "text"], check=False, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("bit", "not good"),
        ("refuse", "not good"),
        ("replay", "not good"),
        ("garbage", "not good"),
        ("html", "text/html"),
        ("broken", "500"),
    ],
)
def test_a_token_that_is_not_good_is_not_taken(tmp_path: Path, mood: str, why: str) -> None:
    """A changed, refused, replayed or unreadable token, and an answer that is none, are errors."""
    with tsa(tmp_path / "tsa") as (url, roots):
        ours = TimeStampWitness(url, roots, timeout_s=60)
        if mood == "replay":
            Book().keep(ours, 3)
        (tmp_path / "tsa" / "mood").write_text(mood)
        with pytest.raises(WitnessError, match=why):
            Book().keep(ours, 3)


def test_a_token_of_another_authority_is_not_taken(tmp_path: Path) -> None:
    """Only a chain to the configured root counts; and no root at all is a mistake in the configuration."""
    with tsa(tmp_path / "two") as (_, roots):
        pass
    with tsa(tmp_path / "one") as (url, _), pytest.raises(WitnessError, match="not good"):
        Book().keep(TimeStampWitness(url, roots, timeout_s=60), 3)
    with pytest.raises(ValueError, match="PEM"):
        TimeStampWitness(url, b"")


def test_a_signature_line_of_a_witness_does_not_spoil_the_journals(tmp_path: Path) -> None:
    """A checkpoint with its cosignature is still signed by the journal's key."""
    with witness(tmp_path / "w", ORIGIN, PUBLIC) as (url, key):
        line = Book().keep(TlogWitness(url, key), 3).cosignature
    note = Note.decode(Book().note(3).signed_by(line).encode())
    assert SIGNER.verifier.verify(note) == Book().note(3).text
    with pytest.raises(NoteError):
        Verifier.parse(key).verify(attrs.evolve(note, text=Book().note(4).text))
