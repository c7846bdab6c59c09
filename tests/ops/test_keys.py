"""``interlock keys``: real commands make, list, end and destroy keys, and refuse what is not safe."""

from __future__ import annotations

import os
import pty
import time
from typing import TYPE_CHECKING

import pytest
from tests.ops.cli_helpers import COMMAND, cli, environment, quick
from tests.store.helpers import NAME, ring

from interlock.journal.notes import Note, Verifier
from interlock.journal.statements import KeyList
from interlock.store.keys import DAY_US, Ring, make_root
from interlock.store.private import load

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "open sesame"  # noqa: S105 - of a key that is made here


def test_from_root_to_a_key_that_signs(tmp_path: Path) -> None:
    """Three commands make a root, a key and a list; the verifier key that is printed is what the list is signed by."""
    root, keys = tmp_path / "root", tmp_path / "keys"
    made = cli("keys", "root", "--name", NAME, "--out", root)
    assert made.code == 0, made.err
    verifier = Verifier.parse(made.out.splitlines()[0])
    issued = cli("keys", "issue", "--root", root, "--keys", keys, "--days", "7", "--label", "monday", "--json")
    assert issued.code == 0, issued.err
    assert issued.json["serial"] == 1
    assert issued.json["to"] - issued.json["from"] == 7 * DAY_US
    assert abs(issued.json["from"] - time.time_ns() // 1000) < DAY_US
    listed = cli("keys", "list", "--keys", keys, "--json")
    assert listed.code == 0
    assert listed.json["verifier"] == str(verifier)
    (key,) = listed.json["keys"]
    assert (key["label"], key["valid"], key["private"], key["signs_now"]) == ("monday", True, True, True)
    note = Note.decode((keys / "0001.note").read_bytes())
    assert KeyList.parse(verifier.verify(note)).keys[0].public.hex() == key["public"]
    shown = cli("keys", "list", env=environment(INTERLOCK_KEYS=str(keys)))
    assert "monday" in shown.out
    assert "signs now" in shown.out
    assert str(verifier) in shown.out


def test_no_command_shows_a_private_key(tmp_path: Path) -> None:
    """What is printed holds nothing of any private key, in no encoding that PEM or hex would give."""
    root, keys = tmp_path / "root", tmp_path / "keys"
    said = [
        cli("keys", "root", "--name", NAME, "--out", root),
        cli("keys", "issue", "--root", root, "--keys", keys, "--label", "a"),
        cli("keys", "list", "--keys", keys, "--json"),
        cli("keys", "issue", "--root", root, "--keys", keys, "--label", "b", "--json"),
    ]
    assert [one.code for one in said] == [0] * 4
    private = [root / "root.pem", *(keys / "private").iterdir()]
    assert len(private) == 3
    for path in private:
        body = path.read_text().splitlines()[1]
        raw = load(path).private_bytes_raw()
        for one in said:
            assert body not in one.out + one.err
            assert raw.hex() not in one.out + one.err


def test_the_passphrase_comes_from_the_environment(tmp_path: Path) -> None:
    """Root and issue take it from there; without it, or with another, nothing is issued and the exit code is 2."""
    root, keys = tmp_path / "root", tmp_path / "keys"
    made = cli("keys", "root", "--name", NAME, "--out", root, env=environment(INTERLOCK_ROOT_PASSPHRASE=SECRET))
    assert made.code == 0
    assert b"ENCRYPTED" in (root / "root.pem").read_bytes()
    issue = ("keys", "issue", "--root", root, "--keys", keys, "--label", "a")
    for env in (environment(), environment(INTERLOCK_ROOT_PASSPHRASE=SECRET[:-1])):
        refused = cli(*issue, env=env)
        assert refused.code == 2
        assert "passphrase" in refused.err
        assert not (keys / "0001.note").exists()
    assert cli(*issue, env=environment(INTERLOCK_ROOT_PASSPHRASE=SECRET)).code == 0
    assert (keys / "0001.note").exists()


def test_the_passphrase_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    """On a terminal the command asks, shows nothing of what is typed, and signs."""
    make_root(tmp_path / "root", name=NAME, passphrase=SECRET.encode())
    where = ("--root", str(tmp_path / "root"), "--keys", str(tmp_path / "keys"), "--label", "a")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(COMMAND[0], [*COMMAND, "keys", "issue", *where], environment(TERM="dumb"))  # noqa: S606
    shown = b""
    asked = False
    with os.fdopen(terminal, "r+b", buffering=0) as file:
        while True:
            try:
                more = file.read(4096)
            except OSError:  # so a terminal says that the other end has gone
                break
            if not more:
                break
            shown += more
            if not asked and b"Passphrase" in shown and shown.endswith(b": "):
                asked = True
                file.write(SECRET.encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    assert asked
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert SECRET.encode() not in shown
    assert Ring.open(tmp_path / "keys").keys[0].label == "a"


@pytest.mark.parametrize("json", [False, True])
def test_refusals_end_with_2_and_say_why(tmp_path: Path, json: bool) -> None:
    """A root that is there, keys inside a home and open private keys are refused, also as JSON."""
    more = ["--json"] if json else []
    make_root(tmp_path / "root", name=NAME)
    assert quick("arm", "--home", tmp_path / "home", "--paper").code == 0
    (tmp_path / "open").mkdir()
    ring(tmp_path / "open")
    (tmp_path / "open" / "root" / "root.pem").chmod(0o644)
    cases = [
        (("root", "--name", NAME, "--out", tmp_path / "root"), "never overwritten"),
        (("root", "--name", "a b", "--out", tmp_path / "new"), "name"),
        (("root", "--name", NAME, "--out", tmp_path / "home" / "root"), "inside the home"),
        (("issue", "--root", tmp_path / "root", "--keys", tmp_path / "home/keys", "--label", "a"), "inside the home"),
        (("issue", "--root", tmp_path / "open/root", "--keys", tmp_path / "k", "--label", "a"), "chmod 600"),
        (("issue", "--root", tmp_path / "none", "--keys", tmp_path / "k", "--label", "a"), "none"),
        (("revoke", "--root", tmp_path / "root", "--keys", tmp_path / "none", "--label", "a"), "none"),
        (("list", "--keys", tmp_path / "none"), "none"),
        (("prune", "--keys", tmp_path / "none"), "none"),
    ]
    for arguments, why in cases:
        said = quick("keys", *arguments, *more)
        assert said.code == 2, arguments
        assert why in said.err
        if json:
            assert why in said.json["error"]


def test_a_list_of_which_no_key_is_valid_ends_with_3(tmp_path: Path) -> None:
    """A script can ask whether somebody may sign now: exit code 3 says nobody."""
    ring(tmp_path, days=1)  # long ago
    said = quick("keys", "list", "--keys", tmp_path / "keys", "--json")
    assert said.code == 3
    assert [key["signs_now"] for key in said.json["keys"]] == [False]
    assert "no key may sign now" in said.err


def test_prune_destroys_what_has_expired(tmp_path: Path) -> None:
    """The private file of an expired key is gone after it, and that of a valid one is not."""
    ring(tmp_path, days=1, label="old")  # long ago
    made = ring(tmp_path, now_us=time.time_ns() // 1000, label="new")
    said = quick("keys", "prune", "--keys", tmp_path / "keys", "--json")
    assert said.code == 0
    assert said.json["destroyed"] == ["old"]
    assert [path.stem for path in (tmp_path / "keys" / "private").iterdir()] == [made.keys[1].public.hex()]


def test_revoke_ends_a_label(tmp_path: Path) -> None:
    """A revoked key is listed, and signs no more."""
    ring(tmp_path, now_us=time.time_ns() // 1000 - 1_000_000, label="stolen")
    said = quick("keys", "revoke", "--root", tmp_path / "root", "--keys", tmp_path / "keys", "--label", "stolen")
    assert said.code == 0, said.err
    listed = quick("keys", "list", "--keys", tmp_path / "keys", "--json")
    assert listed.code == 3
    assert listed.json["serial"] == 2
