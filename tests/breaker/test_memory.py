"""A home's place on the memory disk, by itself: its names, whose it is, what is refused there, and what is removed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.breaker.disks import mounted
from tests.helpers import HOME_ID, OTHER_ID

from interlock.breaker import memory
from interlock.breaker.memory import SIZE, VARIABLE, clear, memory_disk, place, places, require_memory, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("nothing_left_open")

OTHER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a memory disk of a test's own."""
    made = Path(tempfile.mkdtemp(prefix="interlock-place-", dir="/dev/shm"))
    made.chmod(0o1777)
    monkeypatch.setenv(VARIABLE, str(made))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory that stands for a home: no more than its number is asked for."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def names(path: Path) -> list[str]:
    """What is in a directory."""
    return sorted(one.name for one in path.iterdir())


def at(disk: Path, home: Path, whose: str) -> Path:
    """Where a home's place is, as the module says it."""
    found = home.stat()
    return disk / f"interlock-{found.st_uid}" / f"{found.st_dev}-{found.st_ino}-{whose}"


def test_memory_disk_is_the_machines_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, or with an empty one, it is where Linux has it."""
    monkeypatch.delenv("INTERLOCK_MEMORY", raising=False)
    assert memory_disk() == Path("/dev/shm")
    monkeypatch.setenv("INTERLOCK_MEMORY", "")
    assert memory_disk() == Path("/dev/shm")
    monkeypatch.setenv("INTERLOCK_MEMORY", "/elsewhere")
    assert memory_disk() == Path("/elsewhere")


def test_place_is_made_when_it_is_asked_for(disk: Path, home: Path) -> None:
    """It is below its user's directory, both are that user's alone, and nothing is made for who only looks."""
    with pytest.raises(FileNotFoundError), place(home, HOME_ID):
        pass
    assert names(disk) == []
    before = os.umask(0)
    try:
        for _ in range(2):
            with place(home, HOME_ID, make=True) as found:
                assert found.path == at(disk, home, HOME_ID)
    finally:
        os.umask(before)
    for path in (found.path, found.path.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with place(home, HOME_ID) as found, pytest.raises(FileNotFoundError), place(home, OTHER_ID):
        pass


@as_root
def test_what_root_makes_is_the_owners(disk: Path, home: Path) -> None:
    """Directories and files that root makes belong to the home's owner; what was there is not given to anybody."""
    os.chown(home, OTHER, -1)
    with place(home, HOME_ID, make=True) as found:
        found.make("page", b"x")
        for path in (found.path, found.path.parent, found.path / "page"):
            assert (path.stat().st_uid, path.stat().st_gid) == (OTHER, os.getegid())
    assert found.path == at(disk, home, HOME_ID)
    os.chown(found.path, OTHER + 1, -1)
    with (
        pytest.raises(PermissionError, match=f"belongs to user {OTHER + 1}, not to {OTHER}"),
        place(home, HOME_ID, make=True),
    ):
        pass
    assert found.path.stat().st_uid == OTHER + 1


@as_root
def test_plain_user_makes_what_is_theirs(disk: Path) -> None:
    """Who is not root gives nothing away, and can use the memory disk all the same."""
    home = disk / "home"
    home.mkdir(mode=0o700)
    os.chown(home, OTHER, OTHER)
    os.seteuid(OTHER)
    try:
        with place(home, HOME_ID, make=True) as found:
            found.make("page", b"x")
            os.close(found.open("page"))
    finally:
        os.seteuid(0)
    assert (found.path / "page").stat().st_uid == OTHER


@pytest.mark.parametrize("whose", ["", "x", "../../etc", HOME_ID.replace("1", "A"), HOME_ID + "_", "\udcff"])
def test_what_is_no_uuid_is_no_path_either(disk: Path, home: Path, whose: str) -> None:
    """Whatever a damaged record says, its place is a directory of the user's with a name of its own."""
    plain = f"x{sha256(whose.encode(errors='replace')).hexdigest()[:32]}"
    with place(home, whose, make=True) as found:
        assert found.path == at(disk, home, plain)


def test_file_appears_whole_and_once(disk: Path, home: Path) -> None:
    """A file has its size, its owner and its bytes from the first moment, and whoever is second leaves it."""
    assert SIZE == 4096
    with place(home, HOME_ID, make=True) as found:
        before = os.umask(0)
        try:
            found.make("page", b"first")
        finally:
            os.umask(before)
        found.make("page", b"second")
        page = found.path / "page"
        assert page.read_bytes() == b"first".ljust(4096, b"\0")
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        inode = page.stat().st_ino
        found.renew("page", b"third")
        assert page.read_bytes() == b"third".ljust(4096, b"\0")
        assert page.stat().st_ino != inode
        found.renew("other", b"fourth")
        descriptor = found.open("page")
        os.pwrite(descriptor, b"T", 0)
        os.close(descriptor)
        assert page.read_bytes()[:5] == b"Third"
        found.remove()
    assert not found.path.exists()
    assert names(disk) == [f"interlock-{os.geteuid()}"]


def test_file_on_a_full_memory_disk_is_not_there_at_all(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room nothing appears, and the error says so."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k,mode=1777", "none") as small:
        monkeypatch.setenv(VARIABLE, str(small))
        with place(home, HOME_ID, make=True) as found:
            (small / "ballast").write_bytes(bytes(64 << 10))
            with pytest.raises(OSError, match="No space"):
                found.make("page", b"x")
            assert names(found.path) == []


def _others(path: Path) -> None:
    path.chmod(0o640)


def _given(path: Path) -> None:
    os.chown(path, OTHER, -1)


def _short(path: Path) -> None:
    os.truncate(path, SIZE - 1)


def _linked(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _longer(path: Path) -> None:
    os.truncate(path, SIZE + 1)


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "others": (_others, "mode 0640 lets others in"),
    "given": (_given, f"belongs to user {OTHER}, not to"),
    "short": (_short, "not a file of 4096 bytes with one name"),
    "longer": (_longer, "not a file of 4096 bytes with one name"),
    "linked": (_linked, "not a file of 4096 bytes with one name"),
    "pipe": (_pipe, "not a file of 4096 bytes with one name"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_file_that_is_not_as_it_must_be_is_not_opened(disk: Path, home: Path, wrong: str) -> None:
    """A file that is not whole, the owner's alone and of one name is refused, by its path, with what to do about it."""
    if wrong == "given" and os.geteuid() != 0:
        pytest.skip("only root may give files away")
    make, said = WRONG[wrong]
    with place(home, HOME_ID, make=True) as found:
        found.make("page", b"x")
        make(found.path / "page")
        with pytest.raises(PermissionError, match=said) as caught:
            found.open("page")
    assert caught.value.filename == str(at(disk, home, HOME_ID) / "page")
    assert caught.value.errno == errno.EPERM
    assert "remove it, while no engine of the home runs" in str(caught.value)


def test_file_of_a_size_but_no_regular_one_is_refused(disk: Path, home: Path) -> None:
    """A pipe that had the right size would still be no page: what it is counts by itself."""
    with place(home, HOME_ID, make=True) as found:
        (found.path / "page").symlink_to("elsewhere")
        with pytest.raises(OSError, match="symbolic"):
            found.open("page")
        with pytest.raises(FileNotFoundError):
            found.open("nothing")
    seen = (disk / "regular").parent.stat()
    fields = list(seen)
    fields[stat.ST_UID], fields[stat.ST_MODE] = os.geteuid(), stat.S_IFSOCK | 0o600
    fields[stat.ST_NLINK], fields[stat.ST_SIZE] = 1, SIZE
    with pytest.raises(PermissionError, match="not a file"):
        memory._judge_file(disk, os.stat_result(fields), os.geteuid())


@pytest.mark.parametrize("which", ["user", "place"])
@pytest.mark.parametrize("wrong", ["file", "link", "mode"])
def test_directory_that_is_not_as_it_must_be_is_refused(disk: Path, home: Path, which: str, wrong: str) -> None:
    """What stands in a directory's place, or lets others in, is refused by its path; nothing is made beside it."""
    with place(home, HOME_ID, make=True) as found:
        path = found.path if which == "place" else found.path.parent
    if wrong == "mode":
        path.chmod(0o710)
    else:
        shutil.rmtree(path)
        path.touch() if wrong == "file" else path.symlink_to(disk)
    for make in (False, True):
        said = "lets others in" if wrong == "mode" else "not a directory"
        with pytest.raises(PermissionError, match=said) as caught, place(home, HOME_ID, make=make):
            pass
        assert caught.value.filename == str(path)


@as_root
def test_memory_disk_of_somebody_else_is_refused(disk: Path, home: Path) -> None:
    """A memory disk belongs to root or to the home's owner, and nobody else may rename what is in it."""
    os.chown(home, OTHER, -1)
    for owner, sound in ((0, True), (OTHER, True), (OTHER + 1, False), (1, False)):
        os.chown(disk, owner, -1)
        if sound:
            with place(home, HOME_ID, make=True):
                continue
        with pytest.raises(PermissionError, match=f"belongs to user {owner}, neither to root nor to {OTHER}"):
            require_memory(home)
    os.chown(disk, 0, -1)
    for mode, sound in ((0o1777, True), (0o755, True), (0o777, False), (0o775, False), (0o1775, True)):
        disk.chmod(mode)
        if sound:
            require_memory(home)
        else:
            with pytest.raises(PermissionError, match=f"mode {mode:04o}: others may rename what is in it"):
                require_memory(home)
    disk.chmod(0o1777)


def test_memory_is_required_to_be_in_memory(disk: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is no memory, a ramfs is, and what nobody can tell is not."""
    require_memory(home)
    with mounted(disk / "ram", "-t", "ramfs", "none") as ram:
        monkeypatch.setenv(VARIABLE, str(ram))
        require_memory(home)
    (disk / "ram").rmdir()
    monkeypatch.setenv(VARIABLE, str(disk / "ram"))
    with pytest.raises(FileNotFoundError):
        require_memory(home)
    for path in ("/proc/self", "/proc/version"):
        monkeypatch.setenv(VARIABLE, path)
        with pytest.raises(OSError, match=r"is of type 'proc', mounted on .*; mount a tmpfs|Not a directory") as caught:
            require_memory(home)
        assert caught.value.errno in {errno.EINVAL, errno.ENOTDIR}
        assert caught.value.filename in {path, str(Path(path))}


def test_memory_disk_that_is_mounted_nowhere_is_no_answer(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that was taken out of the tree of mounts has no type that anybody could tell."""
    with mounted(tmp_path / "gone", "-t", "tmpfs", "-o", "mode=1777", "none") as gone:
        monkeypatch.chdir(gone)
        monkeypatch.setenv(VARIABLE, ".")
        require_memory(home)
        subprocess.run(["umount", "--lazy", str(gone)], check=True, cwd="/")
        with pytest.raises(OSError, match="nobody can tell what it is") as caught:
            require_memory(home)
        assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, ".")
        monkeypatch.chdir(tmp_path)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(gone)], check=True)


def test_all_places_of_a_home_are_met(disk: Path, home: Path, tmp_path: Path) -> None:
    """A halt meets the place of each home that was here, none of another's, and hears last of what is wrong."""
    assert list(places(home)) == []
    assert names(disk) == []
    (tmp_path / "another").mkdir()
    for where, whose in ((home, HOME_ID), (home, OTHER_ID), (tmp_path / "another", HOME_ID)):
        with place(where, whose, make=True):
            pass
    assert [one.path for one in places(home)] == [at(disk, home, HOME_ID), at(disk, home, OTHER_ID)]
    at(disk, home, HOME_ID).chmod(0o750)
    found = places(home)
    assert next(found).path == at(disk, home, OTHER_ID)
    with pytest.raises(PermissionError, match="mode 0750"):
        next(found)
    at(disk, home, HOME_ID).chmod(0o700)


def test_memory_disk_that_is_gone_has_no_places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no memory disk there is nothing to halt in it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    assert list(places(home)) == []


def test_what_homes_left_is_cleared_but_for_one(disk: Path, home: Path) -> None:
    """All that was left where a home is now goes, files and all, but for that home's own, if it is named."""
    for whose in (HOME_ID, OTHER_ID, "no uuid"):
        with place(home, whose, make=True) as found:
            found.make("page", b"x")
    clear(home, but=OTHER_ID)
    assert [one.path for one in places(home)] == [at(disk, home, OTHER_ID)]
    clear(home)
    assert names(at(disk, home, HOME_ID).parent) == []
    with place(home, HOME_ID, make=True) as found:
        (found.path / "directory").mkdir()
    clear(home)  # what can't be removed stays, and raises nothing
    assert found.path.exists()
    clear(home / "nowhere")


def test_error_is_told_with_its_file() -> None:
    """What went wrong is said with the file that it is about, if it is about one."""
    assert whole(OSError(5, "Input/output error", "/x/y")) == "/x/y: Input/output error"
    assert whole(OSError("odd")) == "odd"
