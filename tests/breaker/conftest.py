"""What tests of the breaker watch: what is made durable, and in which order, and that nothing is left open."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Step:
    """A step towards a file that lasts: what was done, and to which inode."""

    what: str
    inode: int


class Steps(list[Step]):
    """The steps that were really done, one after the other."""

    def of(self, *paths: Path) -> list[tuple[str, str]]:
        """Those that were done to these files and directories, by name."""
        names = {path.stat().st_ino: path.name for path in paths}
        return [(step.what, names[step.inode]) for step in self if step.inode in names]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Return the syncs, cuts, writes and renames, as they are done."""
    found = Steps()

    def watched(what: str) -> None:
        real = getattr(os, what)

        def call(descriptor: int, *given: object) -> object:
            done = real(descriptor, *given)
            found.append(Step(what, os.fstat(descriptor).st_ino))
            return done

        monkeypatch.setattr(os, what, call)

    for what in ("fsync", "fdatasync", "ftruncate", "pwrite"):
        watched(what)
    rename = os.rename

    def renamed(source: str, target: str, **given: int) -> None:
        rename(source, target, **given)
        found.append(Step("rename", os.stat(target, dir_fd=given.get("dst_dir_fd")).st_ino))

    monkeypatch.setattr(os, "rename", renamed)
    return found


def descriptors() -> list[str]:
    """What this process has open, besides sockets and the like."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(name for name in found if name.startswith("/") and not name.startswith("/proc/"))


@pytest.fixture
def nothing_left_open() -> Iterator[None]:
    """See that a test closes what it opened, at once; what others left may be closed meanwhile."""
    before = Counter(descriptors())
    gc.disable()  # an object that a traceback holds would be closed now and then, and a test be red now and then
    try:
        yield
        assert Counter(descriptors()) - before == Counter()
    finally:
        gc.enable()
