"""``interlock keys root | issue | revoke | list | prune | witness``: who may sign this journal's checkpoints."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from interlock.core.errors import InterlockError
from interlock.ops.console import fail, say, show
from interlock.ops.exits import Exit
from interlock.ops.witnesses import make
from interlock.store.keys import Ring, issue, make_root, prune, revoke
from interlock.store.private import NeedsPassphraseError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["keys"]

T = TypeVar("T")

PASSPHRASE = "INTERLOCK_ROOT_PASSPHRASE"  # noqa: S105 - the name of the variable

keys = typer.Typer(
    name="keys",
    help="Keys that sign checkpoints: an offline root key, and short-lived segment keys that it vouches for.",
    no_args_is_help=True,
)

RootOption = Annotated[Path, typer.Option("--root", help="The root key's directory.")]
KeysOption = Annotated[Path, typer.Option("--keys", help="The engines' key directory.", envvar="INTERLOCK_KEYS")]
LabelOption = Annotated[str, typer.Option("--label", help="For people; no spaces.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def _now_us() -> int:
    return time.time_ns() // 1000


def _given() -> bytes | None:
    """The passphrase from the environment."""
    return os.environb.get(PASSPHRASE.encode()) or None


def _asked(*, twice: bool = False) -> bytes:
    """The passphrase, asked for at the terminal."""
    return str(
        typer.prompt("Passphrase of the root key", hide_input=True, confirmation_prompt=twice, err=True)
    ).encode()


@keys.command()
def root(
    name: Annotated[str, typer.Option("--name", help="The key's name, as desk.example/interlock; no spaces, no +.")],
    out: Annotated[Path, typer.Option("--out", help="The directory for it: offline, and in no home.")],
    passphrase: Annotated[  # noqa: FBT002
        bool, typer.Option("--passphrase", help=f"Ask for a passphrase; else {PASSPHRASE}, if it is set, is one.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Make the root key, and print the verifier key that an auditor needs."""
    try:
        secret = _asked(twice=True) if passphrase else _given()
        verifier = make_root(out, name=name, passphrase=secret)
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"root": str(out), "name": name, "verifier": str(verifier), "encrypted": secret is not None})
        return
    say(str(verifier))
    say(f"{out}: the root key. Keep it offline, with a copy; give the line above to whoever is to check your evidence.")
    if secret is None:
        say("It is not encrypted: --passphrase does that.")


@keys.command("issue")
def issue_command(
    root: RootOption,
    keys: KeysOption,
    label: LabelOption,
    days: Annotated[int, typer.Option("--days", min=1, help="How long it may sign.")] = 30,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Make a segment key that may sign from now on, and a new list that has it, signed by the root key."""
    try:
        made, key = _with_passphrase(
            lambda secret: issue(root, keys, days=days, label=label, now_us=_now_us(), passphrase=secret)
        )
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"keys": str(keys), "serial": made.serial, "label": label, "from": key.from_us, "to": key.to_us})
    else:
        say(f"{keys}: list {made.serial}; key {label} may sign until {_when(key.to_us)}")


@keys.command("revoke")
def revoke_command(
    root: RootOption,
    keys: KeysOption,
    label: LabelOption,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """End the keys of a label now: a new list, signed by the root key, in which they are valid no longer."""
    try:
        made, ended = _with_passphrase(
            lambda secret: revoke(root, keys, label=label, now_us=_now_us(), passphrase=secret)
        )
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"keys": str(keys), "serial": made.serial, "label": label, "ended": ended})
    else:
        say(f"{keys}: list {made.serial}; {ended} keys with label {label} end now")


def _with_passphrase(work: Callable[[bytes | None], T]) -> T:
    """Do it with the passphrase of the environment, or without; ask only if it is needed and somebody is there."""
    try:
        return work(_given())
    except NeedsPassphraseError:
        if _given() is not None or not sys.stdin.isatty():
            raise
    return work(_asked())


@keys.command("list")
def list_command(keys: KeysOption, json: JsonOption = False) -> None:  # noqa: FBT002
    """Show the keys: until when each is valid, and which would sign now. Every list's signature is checked."""
    now = _now_us()
    try:
        ring = Ring.open(keys)
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    signs = ring.valid(now)
    newest = ring.lists.newest
    found = [
        {
            "label": key.label,
            "public": key.public.hex(),
            "from": key.from_us,
            "to": key.to_us,
            "valid": key.valid(now),
            "private": ring.has_private(key),
            "signs_now": key == signs,
        }
        for key in ring.keys
    ]
    if json:
        serial, made = (newest.serial, newest.made_us) if newest else (0, 0)
        lists = {"lists": len(ring.lists.notes), "serial": serial, "made": made, "signatures": "checked"}
        show({"keys_directory": str(keys), "verifier": str(ring.lists.verifier), **lists, "keys": found})
    else:
        say(str(ring.lists.verifier))
        say(f"{len(ring.lists.notes)} lists, all signed by this root key; the newest is {newest and newest.serial}")
        for key, one in zip(ring.keys, found, strict=True):
            state = "signs now" if one["signs_now"] else "valid" if one["valid"] else "not valid now"
            kept = "private key here" if one["private"] else "no private key here"
            say(f"{key.label:16} {_when(key.from_us)} to {_when(key.to_us)}  {state}, {kept}")
    if signs is None:
        fail(Exit.HALTED, f"{keys}: no key may sign now; make one with `interlock keys issue`")


@keys.command("prune")
def prune_command(keys: KeysOption, json: JsonOption = False) -> None:  # noqa: FBT002
    """Destroy the private keys that have expired: nobody can then sign anything more with them."""
    try:
        gone = prune(keys, now_us=_now_us())
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"keys": str(keys), "destroyed": [key.label for key in gone]})
    else:
        say(f"{keys}: destroyed {', '.join(key.label for key in gone) or 'none'}")


@keys.command("witness")
def witness_command(
    path: Annotated[Path, typer.Option("--path", help="A directory on another volume; or with --key, a file.")],
    key: Annotated[Path | None, typer.Option("--key", help="Where to put the file's own key.")] = None,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Make a directory or a file a witness: once, with its volume mounted."""
    try:
        verifier = make(path, key)
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"witness": str(path), "verifier": verifier})
    else:
        say(f"{path}: is a witness now{'' if verifier is None else f', of key {verifier}'}")


def _when(ts_us: int) -> str:
    return f"{datetime.fromtimestamp(ts_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%SZ}"
