"""What a crash tore: cut off, kept and put back, each byte of it, with the copy on the disk before the cut."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from tests.helpers import run_python

from interlock.breaker import torn
from interlock.breaker.compress import compress
from interlock.breaker.segment import segment_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.breaker.conftest import Steps

pytestmark = pytest.mark.usefixtures("nothing_left_open")

MEBIBYTE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a segment with some bytes."""
    path = tmp_path / segment_name(0)
    path.write_bytes(b"whole\ntorn")
    return path


def names(path: Path) -> list[str]:
    """What stands beside a file, without the name that all begin with."""
    return sorted(one.name.removeprefix(path.name) for one in path.parent.iterdir())


@pytest.mark.parametrize(
    "kept",
    [b"", b"x", b"a\nb\0c\n", b"x_", b"x" * 700 + b"\n", b"y" * (MEBIBYTE - 1) + b"\n", b"\0" * MEBIBYTE + b"z\n"],
)
@pytest.mark.parametrize("room", [1, 4096, MEBIBYTE, 2 * MEBIBYTE + 3])
def test_room_is_cut_off_and_nothing_else(path: Path, kept: bytes, room: int) -> None:
    """Behind the last byte that is not zero nothing is left, however much room there was."""
    path.write_bytes(kept + bytes(room))
    torn.trim(path)
    assert path.read_bytes() == kept


@pytest.mark.parametrize("kept", [b"", b"x\n"])
def test_file_without_room_is_not_touched(path: Path, kept: bytes) -> None:
    """Where nothing is to be cut off nothing is written, and so no time is changed."""
    path.write_bytes(kept)
    os.utime(path, ns=(1, 1))
    torn.trim(path)
    assert path.stat().st_mtime_ns == 1
    assert path.read_bytes() == kept


def test_link_in_its_place_is_not_followed(path: Path) -> None:
    """Nothing that only leads to a segment is cut, closed, or written to."""
    path.rename(path.with_name("real"))
    path.symlink_to("real")
    before = path.with_name("real").stat()
    for act in (torn.trim, torn.finish, lambda one: torn.cut(one, 6)):
        with pytest.raises(OSError, match="symbolic"):
            act(path)
    after = path.with_name("real").stat()
    assert (after.st_size, after.st_mode) == (before.st_size, before.st_mode)


def test_segment_that_is_finished_lasts_before_it_is_closed(path: Path, steps: Steps) -> None:
    """What is read-only from here on is on the disk."""
    torn.finish(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert steps.of(path) == [("fsync", path.name)]
    assert torn.inflate(path) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [b"whole\ntorn", b"long\n" * 300_000])
def test_compressed_segment_is_plain_again_and_kept_aside(path: Path, steps: Steps, text: bytes) -> None:
    """A compressed segment becomes a plain one, open for writing, before its compressed form gets another name."""
    path.write_bytes(text)
    path.chmod(0o400)
    packed = compress(path)
    data = packed.read_bytes()
    steps.clear()
    assert torn.inflate(packed) == path
    assert path.read_bytes() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(path) == ["", ".zst.torn-0"]
    assert path.with_name(f"{path.name}.zst.torn-0").read_bytes() == data
    assert [step for step, _ in steps.of(path, path.parent)] == ["fsync", "rename", "fsync", "fsync"]


def test_every_sidecar_has_a_name_of_its_own(path: Path) -> None:
    """A name that is taken, by a sidecar, an open one, or a link to nothing, is not given again."""
    path.with_name(f"{path.name}.torn-0").touch()
    path.with_name(f"{path.name}.torn-1.open").touch()
    path.with_name(f"{path.name}.torn-2").symlink_to("nowhere")
    torn.set_aside(path)
    assert path.with_name(f"{path.name}.torn-3").read_bytes() == b"whole\ntorn"
    assert not path.exists()


def test_name_that_is_set_aside_lasts(path: Path, steps: Steps) -> None:
    """A segment that was taken out of the journal stays out of it."""
    torn.set_aside(path)
    assert steps.of(path.parent) == [("fsync", path.parent.name)]


def test_cut_is_made_of_a_copy_that_lasts(path: Path, steps: Steps) -> None:
    """All bytes from there on are on the disk under an open sidecar's name before the segment loses them for good."""
    sidecar, data = torn.cut(path, 6)
    assert (sidecar.name, data) == (f"{path.name}.torn-0", b"torn")
    assert names(path) == ["", ".torn-0.open"]
    opened = path.with_name(f"{path.name}.torn-0.open")
    assert (path.read_bytes(), opened.read_bytes()) == (b"whole\n", b"torn")
    assert steps.of(path, opened, path.parent) == [
        ("fsync", opened.name),
        ("rename", opened.name),
        ("fsync", path.parent.name),
        ("ftruncate", path.name),
        ("fsync", path.name),
    ]
    assert torn.interrupted(path) == [(sidecar, b"torn")]


def test_carried_sidecar_is_open_no_more(path: Path, steps: Steps) -> None:
    """What the journal holds is put back by nobody, also after the power went."""
    first, _ = torn.cut(path, 6)
    second, _ = torn.cut(path, 2)
    assert torn.interrupted(path) == [(first, b"torn"), (second, b"ole\n")]
    steps.clear()
    torn.carried(first)
    assert steps.of(path.parent) == [("fsync", path.parent.name)]
    assert first.read_bytes() == b"torn"
    assert torn.interrupted(path) == [(second, b"ole\n")]
    assert names(path) == ["", ".torn-0", ".torn-1.open"]


def test_cut_that_is_put_back_leaves_what_was_there(path: Path, steps: Steps) -> None:
    """After a cut is undone the segment is byte for byte what it was, on the disk, and nothing more is set aside."""
    sidecar, data = torn.cut(path, 6)
    steps.clear()
    torn.put_back(path, 6, data)
    assert path.read_bytes() == b"whole\ntorn"
    assert [step for step, _ in steps.of(path)] == ["ftruncate", "pwrite", "fsync"]
    assert names(path) == ["", ".torn-0.open"]
    steps.clear()
    torn.put_back(path, 6, data)  # a crash came after that, and before the cut was made again
    assert steps == []
    torn.carried(sidecar)


def test_what_came_after_a_cut_is_kept_when_that_is_undone(path: Path) -> None:
    """Bytes that were written behind a cut are set aside before the old end takes their place, longer or shorter."""
    for later in (b"a", b"something longer"):
        _, data = torn.cut(path, 6)
        with path.open("ab") as file:
            file.write(later)
        aside = len(names(path)) - 1
        torn.put_back(path, 6, data)
        assert path.read_bytes() == b"whole\ntorn"
        assert path.with_name(f"{path.name}.torn-{aside}").read_bytes() == later


_SHORT = """
import os, sys
from pathlib import Path
from interlock.breaker.torn import put_back
pwrite = os.pwrite
os.pwrite = lambda descriptor, data, at: pwrite(descriptor, data[:7], at)
put_back(Path(sys.argv[1]), 6, bytes(range(100)))
"""


def test_all_is_put_back_in_however_many_pieces(path: Path) -> None:
    """A system that takes seven bytes at a time gets them all, each in its place."""
    run_python(_SHORT, path)
    assert path.read_bytes() == b"whole\n" + bytes(range(100))
