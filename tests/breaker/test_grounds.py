"""The ground of a home: which file systems, owners, modes, links and mounts an engine stands on, and who is told."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.breaker.disks import dead_fuse, mounted, mounted_on
from tests.helpers import HOME_ID, ROOT, arm, halt_home, reset_home, run_python

from interlock import HaltCode, HomeError
from interlock.breaker import grounds
from interlock.breaker.files import make_file, write_durably
from interlock.breaker.grounds import Mount, check, mount_of, mounts, probe, problems, unsound
from interlock.breaker.latch import read_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.roster import Berth
from interlock.breaker.segment import Segment
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER = 12345
"""A user who has nothing to do with us."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

ROSTER = "engines/engine"
SEGMENT = "journal/engine/00000000000000000000.jsonl"
FILES = ("latch.json", "page", "lock", "limits.toml", ROSTER, SEGMENT, "stops/engine/stop", "keys/key")
LASTING = ("limits/0001.json", "checkpoints/engine/1", "anchors/engine/1")
"""What nobody holds open, and there may be many of."""
WITHIN = tuple(f"{kind}/engine" for kind in ("journal", "stops", "checkpoints", "anchors"))
DIRECTORIES = (".", "engines", "journal", "limits", "stops", "checkpoints", "anchors", "keys", *WITHIN)


def furnished(path: Path) -> Path:
    """Arm a home, and put into it what one engine leaves there."""
    home = arm(path).path
    (home / "engines").mkdir(mode=0o700, exist_ok=True)
    (home / "journal/engine").mkdir(mode=0o700, exist_ok=True)
    Berth(home / "engines", "engine", HOME_ID).close()
    Segment(home / SEGMENT).close()
    for name in ("stops/engine/stop", "keys/key", "checkpoints/engine/1", "anchors/engine/1"):
        (home / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / name).parent.parent.chmod(0o700)
        (home / name).touch(mode=0o600)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home that an engine has been in."""
    return furnished(tmp_path / "home")


def refused(home: Path, match: str, engine: str | None = "engine") -> str:
    """Assert that an engine is refused, by a message that says so, and that whoever asks is told the same."""
    with pytest.raises(HomeError, match=match) as caught:
        check(home, engine=engine)
    assert caught.value.code is HaltCode.HOME_UNREADABLE
    said = str(caught.value).replace("as which this process runs", "whose directory it is in")
    assert any(problem in said for problem in problems(home))
    return said


# -- What is sound -----------------------------------------------------------------------------------


def test_sound_home(home: Path) -> None:
    """A home that `arm` made, on a local disk, is good ground: for one engine, for all, at once and later."""
    for engine in (None, "engine", "nobody"):
        for settled in (False, True):
            check(home, engine=engine, settled=settled)
    assert problems(home) == []


@pytest.mark.parametrize("name", [*FILES, "engines", "journal"])
def test_what_is_missing_is_no_matter_of_the_ground(home: Path, name: str) -> None:
    """A file that is not there is for latch, page and journal to judge, which know what its absence means."""
    path = home / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    check(home)
    assert problems(home) == []


def test_no_home(tmp_path: Path) -> None:
    """Where there is no directory nobody can stand."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "file/home", tmp_path / "nul\0"):
        with pytest.raises(HomeError):
            check(path)
        assert problems(path)


def test_looking_leaves_nothing_open(home: Path, tmp_path: Path) -> None:
    """Good or bad, a look closes every descriptor that it opened."""
    (tmp_path / "link").symlink_to(home)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        check(home)
        assert problems(tmp_path / "link")
        assert problems(tmp_path / "nowhere")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# -- Its files ---------------------------------------------------------------------------------------


def _second_name(path: Path) -> None:
    path.with_name("second").hardlink_to(path)
    path.with_name("second").rename(path.parents[len(path.parents) - 4] / f"second of {path.name}")


def _symlink(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _as_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch(mode=0o600)


def _given_away(path: Path) -> None:
    os.chown(path, OTHER, -1)


def _acl(path: Path) -> None:
    """Let one more user write, by an access control list."""
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 6, OTHER),
        (0x04, 0, 0xFFFFFFFF),
        (0x10, 6, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", data)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")


FLAWS: dict[str, tuple[Callable[[Path], None], str]] = {
    "hard link": (_second_name, "has 2 names"),
    "symlink": (_symlink, "is a symbolic link"),
    "directory": (_directory, "is a directory"),
    "pipe": (_pipe, "neither a file"),
    "group writable": (lambda path: path.chmod(0o620), "mode 0620: others may write"),
    "world writable": (lambda path: path.chmod(0o602), "mode 0602: others may write"),
    "access list": (_acl, "mode 0660: others may write"),
    "owner": (_given_away, f"belongs to user {OTHER}, not to {os.geteuid()}"),
}


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("name", FILES)
def test_flawed_file_is_refused(home: Path, name: str, flaw: str, *, settled: bool) -> None:
    """Each file of a home has one name, is a file and nothing else, is its user's, and only he may write to it."""
    if flaw == "owner" and os.geteuid() != 0:
        pytest.skip("only root may give files away")
    spoil, match = FLAWS[flaw]
    spoil(home / name)
    if name in {"latch.json", "page"} and flaw in {"symlink", "directory", "pipe"}:
        check(home, engine="engine", settled=settled)  # no witness, like one that is missing: it comes up HALTED
        return
    assert str(home / name) in refused(home, match)
    with pytest.raises(HomeError, match=match):
        check(home, engine="engine", settled=settled)


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("name", LASTING)
def test_flawed_file_that_lasts_is_refused(home: Path, name: str, flaw: str) -> None:
    """Approvals, checkpoints and anchors are looked at when an engine attaches, and not at every heartbeat."""
    if flaw == "owner" and os.geteuid() != 0:
        pytest.skip("only root may give files away")
    spoil, match = FLAWS[flaw]
    spoil(home / name)
    assert str(home / name) in refused(home, match)
    check(home, engine="engine", settled=True)


@pytest.mark.parametrize(
    ("name", "flaw"),
    [
        *[(name, flaw) for name in DIRECTORIES for flaw in ("group writable", "world writable", "sticky", "owner")],
        *[(name, flaw) for name in DIRECTORIES[1:] for flaw in ("symlink", "file")],
    ],
)
def test_flawed_directory_is_refused(home: Path, name: str, flaw: str) -> None:
    """Each directory of a home is a directory itself, its user's, and only he may write to it."""
    path = home / name
    if flaw == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        os.chown(path, OTHER, -1)
        with pytest.raises(HomeError, match=f"belongs to user {OTHER}"):
            check(home, engine="engine")
        assert problems(home)
        return
    if flaw in {"symlink", "file"}:
        path.rename(path.with_name("real"))
        path.symlink_to("real") if flaw == "symlink" else path.touch(mode=0o600)
        if (name, flaw) == ("journal/engine", "file"):
            check(home)
            return  # a file in the journal's directory is a journal as it was before engines had names
        assert str(path) in refused(home, "is a symbolic link" if flaw == "symlink" else "is a regular file")
        return
    path.chmod({"group writable": 0o770, "world writable": 0o703, "sticky": 0o1777}[flaw])
    assert str(path) in refused(home, "others may write to it")


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("lock", _symlink, "is a symbolic link; only the file itself may stand there"),
        ("lock", _directory, "is a directory; only the file itself may stand there"),
        ("limits.toml", _pipe, "is neither a file nor a directory; only the file itself may stand there"),
        ("engines", _as_a_file, "is a regular file; only the directory itself may stand there"),
        ("stops/engine", _as_a_file, "is a regular file; only the directory itself may stand there"),
    ],
)
def test_what_is_of_another_kind_is_told_once(home: Path, name: str, spoil: Callable[[Path], None], said: str) -> None:
    """What should not stand there at all is told as that, and nothing else of it: its modes do not count then."""
    spoil(home / name)
    assert problems(home) == [f"{home / name}: {said}"]


def test_flaws_of_another_engine_are_its_own(home: Path) -> None:
    """One engine is not refused for another's files; whoever looks at the whole home is told of them."""
    Berth(home / "engines", "other", HOME_ID).close()
    (home / "journal/other").mkdir(mode=0o700)
    Segment(home / "journal/other" / Path(SEGMENT).name).close()
    for name in ("engines/other", f"journal/other/{Path(SEGMENT).name}"):
        (home / name).chmod(0o666)
        check(home, engine="engine")
        for engine in (None, "other"):
            assert str(home / name) in refused(home, "others may write", engine)
        (home / name).chmod(0o600)
    check(home, engine="other")


@pytest.mark.parametrize("name", ["lock", ROSTER])
def test_lock_that_others_may_open_is_refused(home: Path, name: str) -> None:
    """Whoever may read a lock file may lock it, so it is its user's alone, unless nobody else comes into the home."""
    with (home / name).open("rb") as only_read:
        fcntl.flock(only_read, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = FileLock(home / name)
        assert not ours.shared()
        ours.close()
    (home / name).chmod(0o644)
    check(home, engine="engine")
    home.chmod(0o711)
    assert str(home / name) in refused(home, "others may open it")
    (home / name).chmod(0o600)
    for path in ("limits.toml", SEGMENT):
        (home / path).chmod(0o640)
    home.chmod(0o750)
    check(home, engine="engine")


# -- The way to it -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("home")
def test_links_on_the_way(tmp_path: Path) -> None:
    """Links above the home may be; the home's own name is no link, however it is told."""
    (tmp_path / "absolute").symlink_to(tmp_path)
    (tmp_path / "relative").symlink_to("./absolute/../" + tmp_path.name)
    for way in ("absolute", "relative", "absolute/relative/absolute", "home/.."):
        check(tmp_path / way / "home")
    (tmp_path / "current").symlink_to("home")
    for name in ("current", "absolute/current"):
        assert "is a symbolic link, which can be changed" in refused(tmp_path / name, "name the directory itself")
    (tmp_path / "round").symlink_to("round")
    refused(tmp_path / "round/home", "too many symbolic links")


def test_as_many_links_as_linux_follows_may_lead_there(tmp_path: Path) -> None:
    """Forty links on the way are walked; one more is too many."""
    furnished(tmp_path / "home")
    (tmp_path / "1").symlink_to(".")
    for number in range(2, 42):
        (tmp_path / f"{number}").symlink_to(f"{number - 1}")
    check(tmp_path / "40" / "home")
    refused(tmp_path / "41" / "home", "too many symbolic links lead there: name the directory itself, everywhere")


def test_directory_is_told_by_the_way_that_leads_there(tmp_path: Path) -> None:
    """Whatever links lead to a directory above the home, the message names the directory that is to be mended."""
    furnished(tmp_path / "real" / "desk" / "home")
    real = tmp_path / "real"
    real.chmod(0o777)
    (tmp_path / "absolute").symlink_to(real / "desk")
    (tmp_path / "relative").symlink_to("./real/desk")
    for way in ("real/desk", "absolute", "relative"):
        home = tmp_path / way / "home"
        said = f"others may write to it, and so put another home at {home}; `chmod go-w {real}`"
        assert problems(home) == [f"{real}: mode 0777: {said}"]


def test_relative_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins where the process stands is walked from the root all the same."""
    monkeypatch.chdir(home.parent)
    check(Path("home"))
    home.parent.chmod(0o777)
    refused(Path("home"), "others may write to it, and so put another home at home")


@pytest.mark.parametrize(
    ("mode", "good"), [(0o777, False), (0o770, False), (0o702, False), (0o1777, True), (0o755, True)]
)
def test_directory_above_that_others_may_write(tmp_path: Path, mode: int, *, good: bool) -> None:
    """Who may write to a directory above the home can put another home there, unless its sticky bit is set."""
    home = furnished(tmp_path / "above" / "below" / "home")
    (tmp_path / "above").chmod(mode)
    if good:
        check(home)
    else:
        assert str(tmp_path / "above") in refused(home, f"mode {mode:04o}: others may write")


@as_root
def test_owners_on_the_way(tmp_path: Path) -> None:
    """Directories and links above the home are root's or the owner's own."""
    home = furnished(tmp_path / "above" / "home")
    (tmp_path / "above" / "link").symlink_to(".")
    os.chown(tmp_path / "above" / "link", OTHER, -1, follow_symlinks=False)
    check(home)
    refused(tmp_path / "above" / "link" / "home", f"link: belongs to user {OTHER}")
    os.chown(tmp_path / "above", OTHER, -1)
    refused(home, f"above: belongs to user {OTHER}")


@as_root
def test_home_is_judged_as_its_owners(home: Path) -> None:
    """Who only asks is told what the home's owner would be refused for, and root's directories above are no flaw."""
    for path in (home, *home.rglob("*")):
        os.chown(path, OTHER, -1)
    assert problems(home) == []
    os.chown(home / "page", OTHER + 1, -1)
    (said,) = problems(home)
    assert f"{home / 'page'}: belongs to user {OTHER + 1}, not to {OTHER}, whose directory it is in; run" in said


def test_table_of_mounts_that_says_nothing_is_no_ground(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc does not name the home's mount, or can't be made sense of, nobody can tell what it is on."""
    for table, said in (("", "not among this process's mounts"), (None, "unknown file system: .* names no mount")):
        with monkeypatch.context() as patch:
            real = grounds._read
            patch.setattr(
                grounds,
                "_read",
                lambda path, table=table, real=real: (
                    table
                    if table is not None and path.endswith("mountinfo")
                    else real(path)
                    if table is not None
                    else ""
                ),
            )
            refused(home, said)


def test_file_that_others_replace_all_the_time_is_judged_at_last(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After twenty looks at names that were just taken away one more is judged as it is; nothing waits for ever."""
    real, looks = grounds._looking, []

    @contextlib.contextmanager
    def looking(name: str, within: int | None = None) -> Iterator[int]:
        with real(name, within) as descriptor:
            if name == "latch.json":
                looks.append(name)
                write_durably(home / "latch.json", (home / "latch.json").read_bytes())
            yield descriptor

    monkeypatch.setattr(grounds, "_looking", looking)
    with pytest.raises(HomeError, match=r"latch\.json: has 0 names"):
        check(home)
    assert len(looks) == 21


# -- File systems ------------------------------------------------------------------------------------

TABLE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
36 27 0:31 / /mnt/a\040b\011c\012d\134e\043f rw,nosuid shared:7 master:3 propagate_from:2 - nfs4 far:/x\040y rw,vers=4.2
41 27 0:44 /sub /mnt/sub rw - fuse.my\040fs prog rw,user_id=0
43 27 0:45 / /mnt/- rw shared:2 - 9p share rw,trans=virtio
44 27 0:46 / /mnt/feedFEED rw - cifs //far/desk rw
45 27 0:46 / /mnt/torn rw
x y z
46 27 0:47 / /mnt/two\134040 rw - tmpfs none rw
x 27 0:48 / /mnt/x rw - ext4 none rw
48 27 0:49 / /mnt/short rw - ext4
49 27 0:50 / /mnt/shorter rw -
""".replace("FEED", "\x0c\x85\u2028")


def test_table_of_mounts() -> None:
    """A mount table is read whatever stands in its names, and a line that makes no sense is no mount."""
    assert mounts(TABLE) == {
        22: Mount(kind="proc", point="/proc"),
        27: Mount(kind="ext4", point="/"),
        36: Mount(kind="nfs4", point="/mnt/a b\tc\nd\\e#f"),
        41: Mount(kind="fuse.my fs", point="/mnt/sub"),
        43: Mount(kind="9p", point="/mnt/-"),
        44: Mount(kind="cifs", point="/mnt/feed\x0c\x85\u2028"),
        46: Mount(kind="tmpfs", point="/mnt/two\\040"),
        48: Mount(kind="ext4", point="/mnt/short"),
    }


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        *[(kind, None) for kind in ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay")],
        *[(kind, "other machines") for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre")],
        *[(kind, "other machines") for kind in ("afs", "gfs2", "ocfs2", "virtiofs", "vboxsf")],
        *[(kind, "a program decides") for kind in ("fuse", "fuseblk", "fuse.sshfs", "fuse.glusterfs", "fuse.ext4")],
        *[
            (kind, "not known")
            for kind in ("", "vfat", "exfat", "ntfs3", "squashfs", "ext5", "EXT4", "ext4 ", "fusectl")
        ],
    ],
)
def test_which_file_systems(kind: str, why: str | None) -> None:
    """A list says which file systems are sound; others are refused by name, with the reason."""
    found = unsound(Mount(kind=kind, point="/mnt/desk"))
    if why is None:
        assert found is None
    else:
        assert found is not None
        assert why in found
        assert f"{kind!r}, mounted on /mnt/desk" in found


def test_manual_names_them() -> None:
    """The manual's list of file systems is the one that engines go by."""
    manual = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    listed = manual.partition("all who use it:")[2].partition(".")[0]
    assert set(re.findall("`([a-z0-9]+)`", listed)) == grounds._LOCAL


def test_home_on_a_file_system_of_its_own(tmp_path: Path) -> None:
    """A home may be on a local file system's root or below it, whatever its mount point is called."""
    with mounted(tmp_path / "a b\tc\nd\\e#f\x0cü", "-t", "tmpfs", "-o", "mode=700", "none") as disk:
        check(furnished(disk / "home"))
        descriptor = os.open(disk / "home", os.O_RDONLY)
        assert mount_of(descriptor) == Mount(kind="tmpfs", point=str(disk))
        os.close(descriptor)
        arm(disk / "other")
        with mounted_on(disk / "other", "-t", "tmpfs", "-o", "mode=700", "none"):
            shutil.copytree(disk / "home", disk / "other", dirs_exist_ok=True)
            check(disk / "other")


def test_home_on_an_overlay(tmp_path: Path) -> None:
    """A home may be on a container's own layer."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "mode=700", "none") as disk:
        for name in ("lower", "upper", "work"):
            (disk / name).mkdir()
        furnished(disk / "lower" / "home")
        layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
        with mounted(tmp_path / "all", "-t", "overlay", "-o", layers, "none") as merged:
            check(merged / "home")
            halt_home(merged / "home")
            check(merged / "home")


@pytest.mark.parametrize("kind", ["fuse", "fuse.sshfs"])
def test_dead_network_disk_is_refused_without_asking_it(tmp_path: Path, kind: str) -> None:
    """A home on FUSE is refused by name, and nobody waits for a program that does not answer."""
    with dead_fuse(tmp_path / "home", kind) as home:
        refused(home, f"type '{kind}', mounted on {home}.*a program decides")
        with mounted(tmp_path / "again", "--bind", str(home)) as again:
            refused(again, f"type '{kind}', mounted on {again}")


def test_the_last_of_stacked_mounts_counts(home: Path) -> None:
    """What is mounted over a home is what is looked at: a sound one over a bad one, a bad one over a sound one."""
    with dead_fuse(home):
        refused(home, "fuse.sshfs")
        with mounted_on(home, "-t", "tmpfs", "-o", "mode=700", "none"):
            check(home)
            with dead_fuse(home):
                refused(home, "fuse.sshfs")
    check(home)


def test_unknown_file_system() -> None:
    """A file system that is not on the list is refused, by its name."""
    with pytest.raises(
        HomeError, match=r"type 'sysfs', mounted on /sys, of which is not known.*: bcachefs, btrfs, ext2, "
    ):
        check(Path("/sys/kernel"))


@pytest.mark.parametrize("name", [*FILES, *DIRECTORIES[1:]])
def test_mounted_from_elsewhere_is_refused(home: Path, tmp_path: Path, name: str) -> None:
    """A file or directory of a home that is mounted there, be it from the same disk, is another home's as well."""
    other = furnished(tmp_path / "other")
    with mounted_on(home / name, "--bind", str(other / name)):
        assert str(home / name) in refused(home, "is mounted there from elsewhere")
        said = "is mounted there from elsewhere; a home is one directory on one file system"
        assert problems(home) == [f"{home / name}: {said}"]
    check(home)


def test_file_system_is_left_out_where_it_is_settled(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every heartbeat nobody reads the table of mounts: what was seen to be sound, and is the same, stays so."""
    monkeypatch.setattr(grounds, "mounts", lambda _: {})
    check(home, settled=True)
    refused(home, "not among this process's mounts")


CAGED = """
import os, subprocess, sys
from pathlib import Path
from interlock import HomeError
from interlock.breaker.grounds import check
os.chroot(sys.argv[1])
os.chdir("/")
try:
    check(Path("/home"))
except HomeError as error:
    print(error)
"""


@as_root
@pytest.mark.parametrize(
    ("proc", "why"), [(False, "needs Linux with /proc"), (True, "not among this process's mounts")]
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, why: str, *, proc: bool) -> None:
    """Without the table of mounts, or with one that does not have the home's, nobody knows, and nobody stands there."""
    furnished(tmp_path / "home")
    if not proc:
        assert why in run_python(CAGED, tmp_path)
        return
    with mounted(tmp_path / "proc", "-t", "proc", "none"):
        assert why in run_python(CAGED, tmp_path)


def test_other_systems_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where paths can't be opened without opening files, which only Linux can, no engine stands."""
    monkeypatch.setattr(grounds, "_PATH_ONLY", 0)
    refused(home, "a home needs Linux")


def test_probe(home: Path) -> None:
    """A lock that is held exclusively keeps others out; if it does not, or can't be tried, locks don't work there."""
    held = FileLock(home / ROSTER)
    assert held.exclusive()
    probe(home / ROSTER)
    assert held.shared()
    with pytest.raises(HomeError, match="do not exclude each other"):
        probe(home / ROSTER)
    assert held.exclusive()
    held.close()
    with pytest.raises(HomeError, match="do not exclude each other"):
        probe(home / ROSTER)
    with pytest.raises(HomeError, match="cannot be locked"):
        probe(home / "nowhere")


# -- Whoever halts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoilt", ["hard link", "group writable", "world writable", "owner", "directory above", "link"]
)
def test_whoever_halts_is_refused_nothing(home: Path, tmp_path: Path, spoilt: str) -> None:
    """A home on bad ground is halted like any other; what is wrong is only told."""
    where = home
    if spoilt == "directory above":
        tmp_path.chmod(0o777)
    elif spoilt == "link":
        where = tmp_path / "current"
        where.symlink_to(home)
    elif spoilt != "owner":
        FLAWS[spoilt][0](home / "page")
    elif os.geteuid() == 0:
        _given_away(home / "page")
    quiet = halt_home(where)
    assert (quiet.stopped, quiet.durable, quiet.confirmed) == (True, True, True)
    assert (home / "page").read_bytes()[0] != ARMED
    assert read_latch(home / "latch.json")[0].state == "HALTED"
    if spoilt != "owner" or os.geteuid() == 0:
        assert problems(where)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """Return a directory of another user's, whom nothing above it keeps out."""
    path = Path(tempfile.mkdtemp())
    os.chown(path, OTHER, OTHER)
    yield path
    shutil.rmtree(path)


AS_THEM = """
import os, sys, tempfile
from pathlib import Path
from tests.helpers import *
from tests.breaker.test_grounds import furnished
from interlock import HomeError
from interlock.breaker.grounds import check
with tempfile.TemporaryDirectory() as scratch:
    attach(furnished(Path(scratch) / "home")).close()  # what it imports, others may not be able to read
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
home = Path(sys.argv[1]) / "home"
if sys.argv[3] == "arm":
    furnished(home)
try:
    check(home)
    with attach(home) as kernel:
        print(kernel.mode, kernel.cause and kernel.cause.code)
except HomeError as error:
    print(error)
"""


@as_root
def test_root_halts_and_resets_what_others_own(theirs: Path) -> None:
    """What root writes into a home belongs to its owner, whose engines see the halt and nothing amiss."""
    home = theirs / "home"
    assert run_python(AS_THEM, theirs, OTHER, "arm") == "IDLE None\n"
    with pytest.raises(
        HomeError, match=rf"home: belongs to user {OTHER}, not to 0, as which this process runs.*chown 0 "
    ):
        check(home)
    assert problems(home) == []
    halt_home(home)
    assert problems(home) == []
    assert run_python(AS_THEM, theirs, OTHER, "look") == "HALTED OPERATOR\n"
    (home / "page").unlink()
    reset_home(home, 1)
    assert problems(home) == []
    assert run_python(AS_THEM, theirs, OTHER, "look") == "IDLE None\n"
    for name in ("latch.json", "page"):
        found = (home / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (OTHER, OTHER, 0o600)
    assert "cannot be looked at: [Errno 13]" in run_python(AS_THEM, theirs, OTHER + 1, "look")
    theirs.chmod(0o755)
    home.chmod(0o755)
    assert f"belongs to user {OTHER}, not to {OTHER + 1}" in run_python(AS_THEM, theirs, OTHER + 1, "look")


@as_root
def test_halt_outlives_a_file_that_cannot_be_given_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where root may not give files away the halt is written all the same."""

    def fails(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", fails)
    assert halt_home(home).durable
    assert read_latch(home / "latch.json")[0].state == "HALTED"


@as_root
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_that_root_makes(theirs: Path, umask: int) -> None:
    """A file that root makes or replaces is the directory's owner's and nobody else's, and is made only once."""
    before = os.umask(umask)
    try:
        make_file(theirs / "lock")
        (theirs / "latch.json").touch()
        write_durably(theirs / "latch.json", b"new")
    finally:
        os.umask(before)
    for name in ("lock", "latch.json"):
        found = (theirs / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (OTHER, OTHER, 0o600)
    with pytest.raises(FileExistsError):
        make_file(theirs / "lock")
    assert sorted(path.name for path in theirs.iterdir()) == ["latch.json", "lock"]
