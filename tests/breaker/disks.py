"""File systems of a test's own, really mounted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """A file system of its own; skips where that may not be mounted."""
    path.mkdir(exist_ok=True)
    with mounted_on(path, *options):
        yield path


@contextlib.contextmanager
def mounted_on(path: Path, *options: str, keep: tuple[int, ...] = ()) -> Iterator[None]:
    """The same, on a file or directory that is there; ``keep`` are descriptors that the mounting needs."""
    command = ["mount", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=keep)
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def dead_fuse(path: Path, kind: str = "fuse.sshfs") -> Iterator[Path]:
    """A FUSE file system whose program never answers: whoever asks it anything hangs."""
    path.mkdir(exist_ok=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        with mounted_on(path, "-i", "-t", kind, "-o", options, "desk@far:/home", keep=(device,)):
            yield path
    finally:
        os.close(device)
