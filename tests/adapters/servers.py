"""Starts the servers of the witness tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serving", "tsa", "witness"]

HERE = Path(__file__).resolve().parent


@contextlib.contextmanager
def serving(script: str, *arguments: object) -> Iterator[list[str]]:
    """A server as a process of its own; what it said when it was ready."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield child.stdout.readline().split()
        finally:
            child.stdin.close()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def witness(directory: Path, origin: str, *publics: bytes) -> Iterator[tuple[str, str]]:
    """A C2SP witness: its submission prefix and its verifier key."""
    directory.mkdir(exist_ok=True)
    with serving("witness_server.py", directory, origin, *(public.hex() for public in publics)) as (port, key):
        yield f"http://127.0.0.1:{port}/w", key


@contextlib.contextmanager
def tsa(directory: Path) -> Iterator[tuple[str, bytes]]:
    """A time-stamp authority: its address, and its root certificate."""
    directory.mkdir(exist_ok=True)
    with serving("tsa_server.py", directory) as (port,):
        yield f"http://127.0.0.1:{port}/tsr", (directory / "ca.pem").read_bytes()
