"""Faults from outside: strace lets a system call of the real program fail, or kills it there, and says what it did."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import pytest
from tests.helpers import ROOT, python_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CALLS: Final = ("openat", "pwrite64", "fallocate", "fdatasync", "fsync", "ftruncate", "fchmod", "rename", "unlink")
"""What the journal is made of."""

_LINE: Final = re.compile(r"^(\d+) +(\w+)\((.*)\) += +(-?\d+)(?:<[^>]*>)?(.*)$")
_UNFINISHED: Final = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED: Final = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_NAMED: Final = re.compile(r'(?<!AT_FDCWD)<(/[^>]*)>|"(/[^"]*)"')


@attrs.frozen
class Call:
    """A system call: name, paths in its arguments, arguments, what it returned, whether it was ours, and whose it was.

    The last is the thread's number. Strace counts each thread's calls by themselves.
    """

    name: str
    paths: tuple[str, ...]
    arguments: str
    result: int
    injected: bool
    thread: str

    def moved(self, old: Path, new: Path) -> Call:
        """The same in a copy of the home."""
        return attrs.evolve(self, paths=tuple(path.replace(f"{old}/", f"{new}/") for path in self.paths))


@cache
def why_not() -> str | None:
    """Why strace can't be used here, or None."""
    path = shutil.which("strace")
    if path is None:
        return "strace is not installed"
    done = subprocess.run([path, "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"processes can't be traced here: {done.stderr.strip()}" if done.returncode else None


needs_strace = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


def drive(home: Path, durability: str, *arguments: object, under: Sequence[str] = ()) -> list[str]:
    """Run the driver to its end, whatever that is. What it said."""
    env = {**os.environ, "PYTHONPATH": python_path()}
    command = [*under, sys.executable, "-m", "tests.faults.driver", str(home), durability, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=120, check=False)
    if done.returncode not in {0, -9, 137}:
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


def traced(
    home: Path, durability: str, log: Path, *arguments: str, names: Iterable[str] = (), inject: str = ""
) -> tuple[list[str], list[Call]]:
    """Run the driver under strace.

    Args:
        home: its home.
        durability: its durability.
        log: where strace writes.
        *arguments: further ones of the driver.
        names: look at these files and directories only, by their paths in the home's journal; all, if there are none.
        inject: as strace takes it: ``CALL:error=EIO:when=3``.

    Returns:
        What the driver said, and the calls.
    """
    stream = home / "journal" / "engine"
    paths = [word for name in names for word in ("-P", str(stream / name if name else stream))]
    calls = ",".join(CALLS)
    under = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={calls}", *paths]
    said = drive(home, durability, *arguments, under=[*under, *(["-e", f"inject={inject}"] if inject else [])])
    return said, [call for call in read(log) if any(path.startswith(str(stream)) for path in call.paths)]


def read(log: Path) -> list[Call]:
    """What strace wrote: the calls that ended, in the order in which they did."""
    found: list[Call] = []
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        if half := _UNFINISHED.match(line):
            begun[half[1]] = f"{half[1]} {half[2]}"
            continue
        rest = _RESUMED.match(line)
        match = _LINE.match(begun.pop(rest[1]) + rest[2] if rest and rest[1] in begun else line)
        if match is not None:
            paths = tuple(one or other for one, other in _NAMED.findall(match[3]))
            found.append(Call(match[2], paths, match[3], int(match[4]), "INJECTED" in match[5], match[1]))
    return found


class Disk:
    """What of a journal's files is on the disk for good, by the calls that were made."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.written: dict[str, int] = {}
        self.synced: dict[str, int] = {}
        self.fresh: list[tuple[str, str]] = []
        for call in calls:
            step = getattr(self, f"on_{call.name}", None)
            if step is not None and call.result >= 0:
                step(call, call.paths[0])

    def on_openat(self, call: Call, path: str) -> None:
        """A file may be made."""
        if "O_CREAT" in call.arguments and path not in self.written:
            self.written[path] = self.synced[path] = 0
            self.fresh.append(("", path))

    def on_pwrite64(self, call: Call, path: str) -> None:
        """It is written to, at some place."""
        end = int(call.arguments.rpartition(", ")[2]) + call.result
        self.written[path] = max(self.written[path], end)

    def on_fdatasync(self, _: Call, path: str) -> None:
        """Its bytes are safe, or, if it is the directory, all names in it."""
        if path in self.written:
            self.synced[path] = self.written[path]
        else:
            self.fresh = [(old, new) for old, new in self.fresh if not new.startswith(f"{path}/")]

    on_fsync = on_fdatasync

    def on_rename(self, call: Call, old: str) -> None:
        """It has another name."""
        new = call.paths[1]
        self.written[new], self.synced[new] = self.written.pop(old), self.synced.pop(old)
        self.fresh.append((old, new))

    def on_unlink(self, _: Call, path: str) -> None:
        """It is gone."""
        self.written.pop(path, None)

    def lose_data(self) -> None:
        """Lose the bytes that no sync of their file followed."""
        for path, size in self.written.items():
            if size > self.synced[path] and Path(path).exists():
                os.truncate(path, self.synced[path])

    def lose_names(self) -> None:
        """Lose the names, and changes of names, that no sync of their directory followed."""
        for old, new in reversed(self.fresh):
            if not Path(new).exists():
                continue
            if old:
                Path(new).rename(old)
            else:
                Path(new).unlink()
