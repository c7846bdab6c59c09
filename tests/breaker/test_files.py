"""Files that must not be half there: what is on the disk before which name, whose they are, and how they are known."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.breaker.disks import mounted
from tests.helpers import LIMITS, python_path, run_python

from interlock.breaker.compress import compress
from interlock.breaker.files import make_file, same_file, settle, sync_directory, write_durably
from interlock.breaker.segment import segment_name
from interlock.breaker.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.breaker.conftest import Steps


@pytest.fixture
def theirs() -> Iterator[Path]:
    """Return a directory of another user, as whom the test runs."""
    path = Path(tempfile.mkdtemp(prefix="interlock-theirs-", dir="/dev/shm"))
    os.chown(path, OTHER, OTHER)
    os.seteuid(OTHER)
    try:
        yield path
    finally:
        os.seteuid(0)
        shutil.rmtree(path)


pytestmark = pytest.mark.usefixtures("nothing_left_open")

OTHER = 12345
"""A user who has nothing to do with us."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def made(path: Path) -> None:
    """Make it."""
    make_file(path)


def written(path: Path) -> None:
    """Write it."""
    write_durably(path, b"new")


def test_name_comes_after_the_bytes_and_lasts_before_the_end(tmp_path: Path, steps: Steps) -> None:
    """A file that is replaced is synced before it gets its name, and its directory after that."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert steps.of(path, tmp_path) == [("fsync", "file"), ("rename", "file"), ("fsync", tmp_path.name)]


def test_made_file_is_empty_and_its_name_lasts(tmp_path: Path, steps: Steps) -> None:
    """A file that is made is there for good, and is never the one that somebody else made."""
    path = tmp_path / "file"
    make_file(path)
    assert path.read_bytes() == b""
    assert steps.of(path, tmp_path) == [("fsync", tmp_path.name)]
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        make_file(path)
    assert path.read_bytes() == b"mine"


def test_what_is_settled_is_synced_with_its_name(tmp_path: Path, steps: Steps) -> None:
    """Whoever settles a path has its bytes on the disk first, and then its name; what is a link or nothing is told."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    settle(path)
    assert steps.of(path, tmp_path) == [("fsync", "file"), ("fsync", tmp_path.name)]
    sync_directory(tmp_path)
    assert steps.of(tmp_path) == [("fsync", tmp_path.name)] * 2
    (tmp_path / "link").symlink_to(path)
    for name in ("link", "nowhere", "nowhere/file"):
        with pytest.raises(OSError, match=r"symbolic|No such"):
            settle(tmp_path / name)


def test_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    """To settle what turns out to be a pipe fails at once, whoever would have to open its other end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Invalid"):
        settle(tmp_path / "pipe")


@pytest.mark.parametrize("make", [made, written])
def test_file_is_its_owners_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Whatever the umask lets through, nobody else may open it."""
    before = os.umask(0)
    try:
        make(tmp_path / "file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@as_root
@pytest.mark.parametrize("make", [made, written])
def test_what_root_makes_belongs_to_the_directorys_owner(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A file that root makes in somebody's home is theirs, user and group."""
    os.chown(tmp_path, OTHER, OTHER + 1)
    make(tmp_path / "file")
    found = (tmp_path / "file").stat()
    assert (found.st_uid, found.st_gid) == (OTHER, OTHER + 1)


_MAKE = """
import sys
from pathlib import Path
from interlock.breaker.files import write_durably
write_durably(Path(sys.argv[1]), b"new")
"""


@as_root
def test_file_that_nobody_else_may_own_is_written_all_the_same(tmp_path: Path) -> None:
    """Who can't give a file away, as root of a user namespace can't, writes it: a halt is not lost for that."""
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    place = tmp_path / "of another"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    os.chown(place, OTHER, OTHER)
    command = ["unshare", "-Ur", sys.executable, "-c", _MAKE, str(place / "file")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": python_path()})
    assert (place / "file").read_bytes() == b"new"
    assert (place / "file").stat().st_uid == os.geteuid()


@as_root
def test_file_of_a_plain_user_is_given_to_nobody(tmp_path: Path) -> None:
    """Who is not root makes files of their own, also in a directory of others that they may write to."""
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    os.chown(place, OTHER + 1, OTHER + 1)
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o011)
    plain = f"import os\nos.setgroups([])\nos.setresgid({OTHER}, {OTHER}, 0)\nos.setresuid({OTHER}, {OTHER}, 0)\n"
    run_python(_MAKE.replace("write_durably(Path", f"{plain}write_durably(Path"), place / "file")
    assert (place / "file").stat().st_uid == OTHER


@as_root
def test_who_acts_as_a_plain_user_makes_what_is_theirs(theirs: Path) -> None:
    """Files, versions and compressed segments of who is not root stay that user's."""
    write_durably(theirs / "file", b"new")
    Versions(theirs / "limits").approve(LIMITS.encode(), operator="ann", reason="new desk", ts_us=5)
    segment = theirs / segment_name(0)
    write_durably(segment, b"x\n")
    segment.chmod(0o400)
    compress(segment)
    assert {path.stat().st_uid for path in theirs.rglob("*")} == {OTHER}


def test_write_that_finds_no_room_leaves_what_was_there(tmp_path: Path) -> None:
    """On a full disk the old file stays as it is, with no litter beside it, and the error is told."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "none") as disk:
        write_durably(disk / "file", b"old")
        with pytest.raises(OSError, match="No space"):
            write_durably(disk / "file", bytes(1 << 20))
        assert [path.name for path in disk.iterdir()] == ["file"]
        assert (disk / "file").read_bytes() == b"old"


_SHORT = """
import os, sys
from pathlib import Path
from interlock.breaker.files import write_durably
write = os.write
os.write = lambda descriptor, data: write(descriptor, data[:7])
write_durably(Path(sys.argv[1]), bytes(range(100)))
"""


def test_all_is_written_in_however_many_pieces(tmp_path: Path) -> None:
    """A system that takes seven bytes at a time gets them all, in their order."""
    run_python(_SHORT, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == bytes(range(100))


def test_writer_that_dies_leaves_a_name_that_is_in_nobodys_way(tmp_path: Path) -> None:
    """What is left of a writer that died is hidden, ends in .new, and has a name that no second writer takes."""
    script = _MAKE.replace("\nwrite_durably", "\nimport os; os.rename = lambda *_, **__: os._exit(0)\nwrite_durably")
    for _ in range(2):
        run_python(script, tmp_path / "file")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2
    assert all(name.startswith(".file.") and name.endswith(".new") and len(name) == 26 for name in left)


def test_file_is_no_directory(tmp_path: Path) -> None:
    """Where a file stands in the place of the directory nothing is made, and that is told."""
    (tmp_path / "file").touch()
    for act in (make_file, settle, written, lambda path: sync_directory(path.parent)):
        with pytest.raises(NotADirectoryError):
            act(tmp_path / "file" / "name")


def test_same_file_is_known_by_number_device_and_size(tmp_path: Path) -> None:
    """A file is the same if number, device and, if one is given, size are; a link to it, or nothing, is not."""
    path, twin = tmp_path / "file", tmp_path / "twin"
    path.write_bytes(b"12345")
    shutil.copy2(path, twin)
    with path.open("rb") as file:
        assert same_file(path, file.fileno())
        assert same_file(path, file.fileno(), 5)
        assert not same_file(path, file.fileno(), 4)
        assert not same_file(path, file.fileno(), 0)
        assert not same_file(twin, file.fileno())
        assert not same_file(tmp_path / "nowhere", file.fileno())
        path.rename(tmp_path / "real")
        path.symlink_to("real")
        assert not same_file(path, file.fileno())
        closed = os.dup(file.fileno())
    os.close(closed)
    assert not same_file(twin, closed)


def test_same_number_on_another_device_is_another_file(tmp_path: Path) -> None:
    """Two file systems that count their files alike hold different files."""
    disks = [mounted(tmp_path / name, "-t", "tmpfs", "-o", "size=64k", "none") for name in ("one", "other")]
    with disks[0] as one, disks[1] as other:
        (one / "file").touch()
        (other / "file").touch()
        assert (one / "file").stat().st_ino == (other / "file").stat().st_ino
        with (one / "file").open("rb") as file:
            assert same_file(one / "file", file.fileno())
            assert not same_file(other / "file", file.fileno())
