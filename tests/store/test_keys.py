"""Keys on disk: made once, listed for ever, readable by nobody else, and in no home."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.helpers import arm
from tests.store.helpers import DAY_US, NAME, NOW_US, ring

from interlock.breaker.lock import FileLock
from interlock.journal.notes import Note, NoteError, Verifier
from interlock.journal.statements import KeyList
from interlock.store.keys import Ring, issue, make_root, prune, revoke
from interlock.store.private import KeysError, NeedsPassphraseError, load

if TYPE_CHECKING:
    from pathlib import Path


def files(directory: Path) -> dict[str, bytes]:
    """Everything in a directory, by name."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_a_key_is_listed_signed_and_signs(tmp_path: Path) -> None:
    """What is issued stands in a list that the root's verifier key vouches for, and signs in a journal's name."""
    made = ring(tmp_path)
    verifier = Verifier.parse((tmp_path / "keys" / "root.vkey").read_text().strip())
    listed = KeyList.parse(verifier.verify(Note.decode((tmp_path / "keys" / "0001.note").read_bytes())))
    key = made.valid(NOW_US)
    assert key is not None
    assert listed.keys == (key,)
    assert (key.from_us, key.to_us, key.label) == (NOW_US, NOW_US + 30 * DAY_US, "first")
    note = made.signer(key, "interlock/desk/engine").note("a text\n")
    assert Verifier("interlock/desk/engine", key.public).verify(note) == "a text\n"


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """Every file of both directories has mode 0600, whatever the umask is, and no list holds a private key."""
    before = os.umask(0)
    try:
        ring(tmp_path)
    finally:
        os.umask(before)
    for name in ("root", "keys", "keys/private"):
        for path in (tmp_path / name).iterdir():
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        assert not (tmp_path / name).stat().st_mode & 0o022
    private = load(next((tmp_path / "keys" / "private").iterdir()))
    assert private.private_bytes_raw() not in b"".join(
        data for name, data in files(tmp_path / "keys").items() if "private" not in name
    )


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o601])
def test_a_private_key_that_others_can_open_is_not_used(tmp_path: Path, mode: int) -> None:
    """Root key and segment key alike are refused, with a word on how to mend it, once others may open them."""
    made = ring(tmp_path)
    key = made.valid(NOW_US)
    assert key is not None
    path = next((tmp_path / "keys" / "private").iterdir())
    path.chmod(mode)
    with pytest.raises(KeysError, match="chmod 600"):
        made.signer(key, "o")
    (tmp_path / "root" / "root.pem").chmod(mode)
    with pytest.raises(KeysError, match="chmod 600"):
        issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US)
    assert not (tmp_path / "keys" / "0002.note").exists()


def test_a_private_key_with_a_second_name_or_behind_a_link_is_not_used(tmp_path: Path) -> None:
    """A hard link may be in a directory of somebody else's, a symbolic link may be changed: neither is a key."""
    made = ring(tmp_path)
    key = made.valid(NOW_US)
    assert key is not None
    path = next((tmp_path / "keys" / "private").iterdir())
    (tmp_path / "other").hardlink_to(path)
    with pytest.raises(KeysError, match="one name"):
        made.signer(key, "o")
    path.unlink()
    path.symlink_to(tmp_path / "other")
    with pytest.raises(KeysError, match="cannot be opened"):
        made.signer(key, "o")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Who may write there could put another key in place."""
    ring(tmp_path)
    (tmp_path / "keys").chmod(mode)
    with pytest.raises(KeysError, match="chmod go-w"):
        Ring.open(tmp_path / "keys")
    with pytest.raises(KeysError, match="chmod go-w"):
        issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US)


def test_a_directory_inside_a_home_is_refused(tmp_path: Path) -> None:
    """Keys are never kept with the evidence: not in the home, not deeper, and not through a link."""
    arm(tmp_path / "home")
    make_root(tmp_path / "root", name=NAME)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for inside in (tmp_path / "home", tmp_path / "home" / "keys", tmp_path / "home/journal/x", tmp_path / "link/y"):
        before = files(tmp_path / "home")
        with pytest.raises(KeysError, match="inside the home"):
            make_root(inside, name=NAME)
        with pytest.raises(KeysError, match="inside the home"):
            issue(tmp_path / "root", inside, days=1, label="x", now_us=NOW_US)
        with pytest.raises(KeysError, match="inside the home"):
            Ring.open(inside)
        assert files(tmp_path / "home") == before


def test_a_root_is_made_once(tmp_path: Path) -> None:
    """A second root in the same place is refused, and the first one stays."""
    make_root(tmp_path / "root", name=NAME)
    before = files(tmp_path / "root")
    with pytest.raises(KeysError, match="never overwritten"):
        make_root(tmp_path / "root", name=NAME)
    assert files(tmp_path / "root") == before


@pytest.mark.parametrize("name", ["", "a b", "a+b"])
def test_a_root_needs_a_name_that_a_key_can_have(tmp_path: Path, name: str) -> None:
    """A name with a space or a plus is refused before anything is made."""
    with pytest.raises(NoteError):
        make_root(tmp_path / "root", name=name)
    assert not (tmp_path / "root").exists()


def test_a_passphrase_is_needed_where_there_is_one(tmp_path: Path) -> None:
    """An encrypted root signs with its passphrase alone."""
    make_root(tmp_path / "root", name=NAME, passphrase=b"open sesame")
    assert b"ENCRYPTED" in (tmp_path / "root" / "root.pem").read_bytes()
    for wrong in (None, b"", b"open"):
        with pytest.raises(NeedsPassphraseError):
            issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US, passphrase=wrong)
    issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US, passphrase=b"open sesame")
    assert Ring.open(tmp_path / "keys").valid(NOW_US) is not None


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """An RSA key, or no key at all, in the root's place signs nothing."""
    make_root(tmp_path / "root", name=NAME)
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    for data in (rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), b"", b"-----BEGIN NOTHING"):
        (tmp_path / "root" / "root.pem").write_bytes(data)
        with pytest.raises(KeysError, match="is no"):
            issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US)


def test_another_private_key_in_a_keys_place_is_refused(tmp_path: Path) -> None:
    """A private file that is another key's never signs under the listed one's name."""
    ring(tmp_path)
    made = ring(tmp_path, label="second")
    first, second = (tmp_path / "keys" / "private" / f"{key.public.hex()}.pem" for key in made.keys)
    shutil.copy(first, second)
    key = made.valid(NOW_US)
    assert key is not None
    with pytest.raises(KeysError, match="another key's"):
        made.signer(key, "o")


# -- Lists -----------------------------------------------------------------------------------------------


def test_lists_grow_and_the_last_key_signs(tmp_path: Path) -> None:
    """Each list has all keys of the one before; of two that are valid the one issued last signs."""
    ring(tmp_path)
    made = ring(tmp_path, now_us=NOW_US + 1, label="second")
    assert [key.label for key in made.keys] == ["first", "second"]
    assert made.lists.newest is not None
    assert made.lists.newest.serial == 2
    signing = made.valid(NOW_US + 1)
    assert signing is not None
    assert signing.label == "second"
    earlier = made.valid(NOW_US)
    assert earlier is not None
    assert earlier.label == "first"
    assert made.valid(NOW_US + 31 * DAY_US) is None
    assert files(tmp_path / "root").keys() == {"lock", "root.pem", "root.vkey", "0001.note", "0002.note"}


def test_a_list_that_was_lost_comes_back_and_no_number_is_used_twice(tmp_path: Path) -> None:
    """A key directory that is rolled back, or another machine's, gets what the root had signed, and the next number."""
    ring(tmp_path)
    shutil.copytree(tmp_path / "keys", tmp_path / "old")
    ring(tmp_path, label="second")
    shutil.rmtree(tmp_path / "keys")
    (tmp_path / "old").rename(tmp_path / "keys")
    made = ring(tmp_path, label="third")
    assert [key.label for key in made.keys] == ["first", "second", "third"]
    assert sorted(made.lists.notes) == [1, 2, 3]
    _, key = issue(tmp_path / "root", tmp_path / "elsewhere", days=1, label="fourth", now_us=NOW_US)
    other = Ring.open(tmp_path / "elsewhere")
    assert sorted(other.lists.notes) == [1, 2, 3, 4]
    assert other.valid(NOW_US) == key


def test_a_fork_of_the_lists_is_refused(tmp_path: Path) -> None:
    """Two lists of one number, by a root that was copied and used twice, are told, and nothing is signed."""
    ring(tmp_path)
    shutil.copytree(tmp_path / "root", tmp_path / "copy")
    ring(tmp_path, label="second")
    issue(tmp_path / "copy", tmp_path / "else", days=1, label="other", now_us=NOW_US)
    before = files(tmp_path / "copy"), files(tmp_path / "keys")
    with pytest.raises(KeysError, match="two different lists 2"):
        issue(tmp_path / "copy", tmp_path / "keys", days=1, label="third", now_us=NOW_US)
    assert (files(tmp_path / "copy"), files(tmp_path / "keys")) == before


def test_a_clock_that_was_set_back_issues_nothing(tmp_path: Path) -> None:
    """A list that would be older than the one before is not made."""
    ring(tmp_path)
    with pytest.raises(KeysError, match="clock"):
        ring(tmp_path, now_us=NOW_US - 1)


@pytest.mark.parametrize("change", ["bit", "name", "number", "foreign", "cut"])
def test_lists_that_were_touched_are_not_trusted(tmp_path: Path, change: str) -> None:
    """A list with a changed bit, under another number or key, or cut, is an error and not a shorter list."""
    ring(tmp_path)
    keys = tmp_path / "keys"
    data = (keys / "0001.note").read_bytes()
    if change == "bit":
        (keys / "0001.note").write_bytes(data.replace(b"first", b"firsu"))
    elif change == "name":
        (keys / "0001.note").rename(keys / "0002.note")
    elif change == "number":
        shutil.copy(keys / "0001.note", keys / "0007.note")
    elif change == "foreign":
        ring(tmp_path / "more")
        shutil.copy(tmp_path / "more" / "keys" / "0001.note", keys / "0001.note")
    else:
        (keys / "0001.note").write_bytes(data[:-1])
    with pytest.raises(KeysError, match="trusted"):
        Ring.open(keys)
    with pytest.raises(KeysError):
        issue(tmp_path / "root", keys, days=1, label="x", now_us=NOW_US)


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    """While somebody writes in one of the two directories nobody else does."""
    ring(tmp_path)
    for name in ("root", "keys"):
        lock = FileLock(tmp_path / name / "lock")
        assert lock.exclusive()
        with pytest.raises(KeysError, match="another process"):
            issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US)
        lock.close()
    issue(tmp_path / "root", tmp_path / "keys", days=1, label="x", now_us=NOW_US)


@pytest.mark.parametrize("days", [0, -1, 3661])
def test_a_segment_key_is_short_lived(tmp_path: Path, days: int) -> None:
    """No key is made that never ends, or has ended."""
    make_root(tmp_path / "root", name=NAME)
    with pytest.raises(KeysError, match="short-lived"):
        issue(tmp_path / "root", tmp_path / "keys", days=days, label="x", now_us=NOW_US)


@pytest.mark.parametrize("label", ["", "a b", "a\nb"])
def test_a_label_that_would_break_the_list_is_refused(tmp_path: Path, label: str) -> None:
    """A label with white space is refused before anything is written."""
    make_root(tmp_path / "root", name=NAME)
    with pytest.raises(NoteError):
        issue(tmp_path / "root", tmp_path / "keys", days=1, label=label, now_us=NOW_US)
    assert not (tmp_path / "keys").exists()


def test_a_directory_of_another_root_is_refused(tmp_path: Path) -> None:
    """Keys of two roots are not mixed."""
    ring(tmp_path)
    make_root(tmp_path / "other", name=NAME)
    with pytest.raises(KeysError, match="another root"):
        issue(tmp_path / "other", tmp_path / "keys", days=1, label="x", now_us=NOW_US)


def test_a_ring_sees_what_is_issued_while_it_is_in_use(tmp_path: Path) -> None:
    """A running engine finds the list that came after its own, and refuses one that takes a key back."""
    made = ring(tmp_path)
    assert made.refresh() is False
    ring(tmp_path, label="second")
    assert made.refresh() is True
    assert [key.label for key in made.keys] == ["first", "second"]


# -- The end of a key ------------------------------------------------------------------------------------


def test_expired_private_keys_are_destroyed_and_others_are_not(tmp_path: Path) -> None:
    """After its last moment a key's private side is gone, its public one stays in the list, and a valid one remains."""
    ring(tmp_path, days=1)
    made = ring(tmp_path, now_us=NOW_US + 1, days=2, label="second")
    assert prune(tmp_path / "keys", now_us=NOW_US + DAY_US - 1) == []
    gone = prune(tmp_path / "keys", now_us=NOW_US + DAY_US)
    assert [key.label for key in gone] == ["first"]
    assert [key.label for key in made.keys if made.has_private(key)] == ["second"]
    assert [key.label for key in Ring.open(tmp_path / "keys").keys] == ["first", "second"]
    assert prune(tmp_path / "keys", now_us=NOW_US + DAY_US) == []


def test_a_key_without_its_private_side_is_passed_over(tmp_path: Path) -> None:
    """Of two valid keys the one whose private side is here signs; with none there is nobody to sign."""
    made = ring(tmp_path)
    made = ring(tmp_path, label="second")
    (tmp_path / "keys" / "private" / f"{made.keys[1].public.hex()}.pem").unlink()
    assert made.valid(NOW_US) == made.keys[0]
    (tmp_path / "keys" / "private" / f"{made.keys[0].public.hex()}.pem").unlink()
    assert made.valid(NOW_US) is None


def test_a_key_that_was_stolen_is_ended(tmp_path: Path) -> None:
    """Revoking a label ends its keys at that moment, in a new list, and leaves the others alone."""
    ring(tmp_path, label="stolen")
    ring(tmp_path, label="other")
    made, ended = revoke(tmp_path / "root", tmp_path / "keys", label="stolen", now_us=NOW_US + 5)
    assert (made.serial, ended) == (3, 1)
    assert [(key.label, key.to_us) for key in made.keys] == [
        ("stolen", NOW_US + 5),
        ("other", NOW_US + 30 * DAY_US),
    ]
    with pytest.raises(KeysError, match="no key with label"):
        revoke(tmp_path / "root", tmp_path / "keys", label="stolen", now_us=NOW_US + 6)
