"""The journal's open end, byte by byte: its room, its reserve, its turn to the next file, and reading it again."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import zstandard
from tests.breaker.disks import mounted
from tests.helpers import run_python

from interlock.breaker.compress import compress, compressible
from interlock.breaker.segment import (
    NO_ROOM,
    RESERVE_BYTES,
    MappedSegment,
    Segment,
    chunks,
    first_of,
    is_closed,
    lines,
    opened,
    segment_name,
    segments,
    unfinished,
)
from interlock.journal.writer import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.breaker.conftest import Steps

pytestmark = pytest.mark.usefixtures("nothing_left_open")

WINDOW = 1 << 20
ROOM = RESERVE_BYTES + WINDOW
PAGE = 4096
OWNER = 12345


@pytest.fixture(params=[Segment, MappedSegment])
def kind(request: pytest.FixtureRequest) -> type[Segment]:
    """Return both ways to write a segment, one after the other."""
    found: type[Segment] = request.param
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the first segment will be."""
    return tmp_path / segment_name(0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of four mebibytes."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        yield disk


def fill(disk: Path, left: int) -> None:
    """Leave so many bytes of a file system."""
    found = os.statvfs(disk)
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_bsize - left)


def grow(disk: Path) -> None:
    """Give that room back."""
    (disk / "ballast").unlink()


# -- Room ------------------------------------------------------------------------------------------


def test_numbers_of_the_format() -> None:
    """The reserve is a quarter of a mebibyte, and a disk, a quota, a file or the room for mappings may be full."""
    assert RESERVE_BYTES == 262_144
    assert frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}) == NO_ROOM


def test_room_is_there_before_the_first_record(path: Path, kind: type[Segment], steps: Steps) -> None:
    """A new segment has a window and the reserve, zeros on the disk, for its owner alone; its name lasts."""
    before = os.umask(0)
    try:
        segment = kind(path)
    finally:
        os.umask(before)
    found = path.stat()
    assert (segment.size, found.st_size, stat.S_IMODE(found.st_mode)) == (0, ROOM, 0o600)
    assert found.st_blocks * 512 >= ROOM
    assert path.read_bytes() == bytes(ROOM)
    assert ("fsync", path.parent.name) in steps.of(path.parent)
    assert ("pwrite", path.name) in steps.of(path)
    segment.close()
    assert path.stat().st_size == 0


def test_records_follow_one_another(path: Path, kind: type[Segment]) -> None:
    """Each write goes on behind the last one, also in a file that is opened again in the midst of a page."""
    whole = b""
    for number in range(4):
        segment = kind(path)
        assert segment.size == len(whole)
        for length in (1, PAGE - 1, 7, 3 * PAGE):
            data = bytes([65 + number]) * (length - 1) + b"\n"
            assert segment.write(data) is None
            whole += data
            assert segment.size == len(whole)
            assert path.read_bytes().rstrip(b"\0") == whole
        assert path.stat().st_size >= len(whole) + RESERVE_BYTES
        segment.close()
        assert path.read_bytes() == whole


def test_room_is_got_when_the_reserve_would_be_touched_and_not_before(path: Path, kind: type[Segment]) -> None:
    """A record that leaves just the reserve grows nothing; the next byte gets a window behind it, and the reserve."""
    segment = kind(path)
    assert segment.write(b"x" * WINDOW) is None
    assert path.stat().st_size == ROOM
    assert segment.write(b"y") is None
    assert path.stat().st_size == WINDOW + 1 + ROOM
    assert segment.write(b"z" * (3 * WINDOW)) is None
    assert path.stat().st_size == WINDOW + 1 + 3 * WINDOW + ROOM
    assert path.read_bytes().rstrip(b"\0") == b"x" * WINDOW + b"y" + b"z" * (3 * WINDOW)
    assert segment.same()
    segment.close()


def test_room_is_allocated_at_once(path: Path, kind: type[Segment], monkeypatch: pytest.MonkeyPatch) -> None:
    """A window and the reserve are allocated in one piece, before any of it is written."""
    done: list[tuple[object, ...]] = []
    allocate, write = os.posix_fallocate, os.pwrite

    def allocated(descriptor: int, offset: int, length: int) -> None:
        done.append((offset, length))
        allocate(descriptor, offset, length)

    def written(descriptor: int, data: bytes, offset: int) -> int:
        done.append(("written", offset))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "posix_fallocate", allocated)
    monkeypatch.setattr(os, "pwrite", written)
    kind(path).close()
    assert done[:2] == [(0, ROOM), ("written", 0)]
    assert [one for one in done if one[0] != "written"] == [(0, ROOM)]


def test_room_that_was_had_in_part_is_the_segments(
    path: Path, kind: type[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a full disk gave of the room counts as its own: nobody has added it."""

    def partly(descriptor: int, offset: int, _: int) -> None:
        os.ftruncate(descriptor, offset + 100)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", partly)
    segment = kind(path)
    assert segment.same()
    assert "no room for more" in str(segment.write(b"x"))
    segment.close()


def test_room_is_asked_for_when_the_reserve_is_touched(
    path: Path, kind: type[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the reserve is whole there is nothing to be had; then it is a window, and the reserve again."""
    segment = kind(path)
    window = ROOM - RESERVE_BYTES
    segment.write(b"x" * window)
    assert (segment.room(), path.stat().st_size) == (None, ROOM)
    with monkeypatch.context() as full:

        def allocate(*_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(os, "posix_fallocate", allocate)
        assert segment.write(b"y" * 10) is not None
        assert segment.room() is not None
    assert (segment.room(), path.stat().st_size) == (None, ROOM + window + 10)
    segment.close()


def test_want_of_room_is_told_while_the_reserve_is_there(disk: Path, kind: type[Segment]) -> None:
    """On a full disk a record is written into the reserve, and said to be; so are those after it."""
    path = disk / segment_name(0)
    segment = kind(path)
    fill(disk, 0)
    assert segment.write(b"x" * WINDOW) is None
    for number in range(3):
        short = segment.write(b"y" * PAGE)
        assert short is not None
        assert short.startswith(f"{path}: no room for more: ")
        assert segment.size == WINDOW + PAGE * (number + 1)
    assert segment.same()
    grow(disk)
    assert segment.write(b"y" * PAGE) == short  # it is not asked for again by a record
    assert segment.room() is None
    assert segment.write(b"y" * PAGE) is None
    assert path.stat().st_size >= segment.size + RESERVE_BYTES
    assert path.read_bytes().rstrip(b"\0") == b"x" * WINDOW + b"y" * PAGE * 5
    segment.close()


def test_room_that_is_asked_for_in_vain_is_wanting_still(disk: Path, kind: type[Segment]) -> None:
    """To ask for room costs nothing while there is some, and says why not while there is none."""
    segment = kind(disk / segment_name(0))
    assert segment.room() is None
    assert segment.path.stat().st_size == ROOM
    fill(disk, 0)
    segment.write(b"x" * (WINDOW + 1))
    assert "No space" in (segment.room() or "")
    segment.close()


def test_record_that_finds_no_room_at_all_is_an_error(disk: Path, kind: type[Segment]) -> None:
    """Behind the reserve a full disk takes a part of a record, or nothing: both are errors, and neither is a signal."""
    segment = kind(disk / segment_name(0))
    fill(disk, 0)
    segment.write(b"x" * (ROOM - 10))
    with pytest.raises(OSError, match="only 10 of 100 bytes were taken"):
        segment.write(b"y" * 100)
    with pytest.raises(OSError, match="No space"):
        segment.write(b"y" * 100)
    segment.close()


def test_segment_on_a_full_disk_says_so_at_its_first_record(disk: Path, kind: type[Segment]) -> None:
    """Without room from the start a record still goes where the disk takes it, and room comes later."""
    fill(disk, 3 * PAGE)
    segment = kind(disk / segment_name(0))
    assert "No space" in (segment.write(b"a" * 100) or "")
    assert segment.size == 100
    grow(disk)
    assert segment.room() is None
    assert segment.write(b"b" * 100) is None
    assert segment.path.read_bytes().rstrip(b"\0") == b"a" * 100 + b"b" * 100
    segment.close()
    assert segment.path.stat().st_size == 200


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from interlock.breaker import segment
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
one = getattr(segment, sys.argv[2])(Path(sys.argv[1]))
print(one.write(b"x" * 100) is None, one.same(), one.size)
one.close()
"""


@pytest.mark.parametrize("most", [0, 50, 100, 5_000, ROOM - 1, ROOM + 100])
def test_file_that_may_not_grow_is_full(path: Path, kind: type[Segment], most: int) -> None:
    """A limit of the file's size is want of room like any other, and a record that still fits is written."""
    if most < 100:
        with pytest.raises(AssertionError, match=r"File too large|bytes were taken"):
            run_python(_LIMITED, path, kind.__name__, most)
    else:
        assert run_python(_LIMITED, path, kind.__name__, most) == f"{most > ROOM} True 100\n"
        assert path.read_bytes() == b"x" * 100


def test_disk_that_fails_opens_nothing(tmp_path: Path, kind: type[Segment]) -> None:
    """What cannot be given room for another reason than want of it is no segment, and nothing stays open."""
    os.mkfifo(tmp_path / segment_name(0))
    with pytest.raises(OSError, match=r"Illegal seek|Invalid|No such device"):
        kind(tmp_path / segment_name(0))


def test_link_in_its_place_is_not_followed(path: Path, kind: type[Segment]) -> None:
    """Nobody's records are appended to another file than the journal's."""
    path.with_name("real").touch()
    path.symlink_to("real")
    with pytest.raises(OSError, match="symbolic"):
        kind(path)
    assert path.with_name("real").read_bytes() == b""


def test_sync_is_of_the_file(path: Path, kind: type[Segment], steps: Steps) -> None:
    """To sync a segment makes its records outlive the power."""
    segment = kind(path)
    segment.write(b"x")
    steps.clear()
    segment.sync()
    assert steps.of(path) == [("fdatasync", path.name)]
    segment.close()


def test_file_that_somebody_changed_is_not_the_same(path: Path, kind: type[Segment]) -> None:
    """What is cut off, added, exchanged or gone is seen."""
    segment = kind(path)
    assert segment.same()
    for size in (ROOM - 1, ROOM + 1):
        os.truncate(path, size)
        assert not segment.same()
    os.truncate(path, ROOM)
    assert segment.same()
    path.rename(path.with_name("away"))
    assert not segment.same()
    path.write_bytes(bytes(ROOM))
    assert not segment.same()
    segment.close()


def test_closed_segment_takes_nothing(path: Path, kind: type[Segment]) -> None:
    """After its end a segment can be closed again, and takes no record."""
    segment = kind(path)
    segment.write(b"x")
    segment.close()
    segment.close()
    with pytest.raises(OSError, match=r"closed|Bad file"):
        segment.write(b"y")
    assert path.read_bytes() == b"x"


def test_mapped_segment_that_is_closed_says_which(path: Path) -> None:
    """A record that comes after the end of a mapped segment is refused by its name."""
    segment = MappedSegment(path)
    segment.close()
    with pytest.raises(OSError, match=r"jsonl: closed"):
        segment.write(b"y")


def test_abandoned_segment_is_left_as_it_is(path: Path, kind: type[Segment]) -> None:
    """A forked child closes what it has, and cuts off nothing: its parent goes on writing there."""
    segment = kind(path)
    segment.write(b"x")
    segment.abandon()
    assert path.stat().st_size == ROOM
    with pytest.raises(OSError, match=r".*"):  # nor does it write there any more, by whatever way
        segment.write(b"y")
    assert path.read_bytes()[:2] == b"x\0"
    segment.abandon()
    segment.close()
    assert path.stat().st_size == ROOM


LOW: Final = """
import os, sys
from pathlib import Path
from interlock.breaker import segment

def closed(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False

path = Path(sys.argv[1])
kind = getattr(segment, sys.argv[2])
os.close(0)
one = kind(path)
os.close(1)
one.write(b"x")
one.turn(1, b"y")
assert (one._former, one._descriptor) == (0, 1)
one.turn(2, b"z")
assert (one._former, closed(0), closed(1)) == (1, True, False)
one.close()
assert closed(1)
other = kind(path.with_name("other"))
other.write(b"x")
assert other._descriptor == 0
other.close()
assert (os.stat(other.path).st_size, closed(0)) == (1, True)
"""


def test_descriptor_zero_is_one_like_any_other(path: Path, kind: type[Segment]) -> None:
    """A program that closed its standard input gets its number for a file, which is cut and closed like any other."""
    run_python(LOW, path, kind.__name__)


# -- The next one ----------------------------------------------------------------------------------


def test_turn_closes_one_for_good_and_goes_on_in_the_next(path: Path, kind: type[Segment], steps: Steps) -> None:
    """The old one is cut to its size, on the disk and read-only before the next, which is on the disk, has its name."""
    segment = kind(path)
    segment.write(b"first\n")
    later = path.with_name(segment_name(7))
    later.with_name(f"{later.name}.new").write_bytes(b"left by a crash" * 1000)
    steps.clear()
    segment.turn(7, b"second\n")
    assert (segment.path, segment.size) == (later, 7)
    assert path.read_bytes() == b"first\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert is_closed(path)
    assert not is_closed(later)
    done = steps.of(path, later, path.parent)
    assert done[0][0] == "pwrite"
    synced = done.index(("fdatasync", later.name))
    assert done[synced + 1 :] == [
        ("ftruncate", path.name),
        ("fdatasync", path.name),
        ("rename", later.name),
        ("fsync", path.parent.name),
    ]
    assert segment.same()
    assert segment.write(b"third\n") is None
    assert later.read_bytes().rstrip(b"\0") == b"second\nthird\n"
    assert later.stat().st_size == ROOM
    segment.turn(9, b"fourth\n")
    segment.turn(11, b"fifth\n")
    segment.close()
    texts = [b"first\n", b"second\nthird\n", b"fourth\n", b"fifth\n"]
    assert [one.read_bytes() for one in segments(path.parent)] == texts
    assert unfinished(path.parent) == []


def test_file_that_another_thread_may_sync_stays_open_over_one_turn(path: Path, kind: type[Segment]) -> None:
    """The descriptor of a segment is good until the turn after that which closed it, and the map is the new one's."""
    segment = kind(path)
    before = segment._descriptor
    segment.turn(1, b"a\n")
    os.fdatasync(before)
    assert os.fstat(before).st_ino == path.stat().st_ino
    segment.turn(2, b"b\n")
    with pytest.raises(OSError, match="Bad file"):
        os.fdatasync(before)
    segment.close()


def test_turn_that_finds_no_room_leaves_all_as_it_was(disk: Path, kind: type[Segment]) -> None:
    """Without room for the next segment this one is still the open end, with its room, and the other one is gone."""
    path = disk / segment_name(0)
    segment = kind(path)
    segment.write(b"x\n")
    fill(disk, PAGE)
    with pytest.raises(NoRoomError, match="no room for more"):
        segment.turn(1, b"y\n")
    assert sorted(one.name for one in disk.iterdir()) == [path.name, "ballast"]
    assert (segment.path, stat.S_IMODE(path.stat().st_mode), path.stat().st_size) == (path, 0o600, ROOM)
    assert segment.write(b"z\n") is None
    grow(disk)
    segment.turn(1, b"y\n")
    segment.close()
    assert path.read_bytes() == b"x\nz\n"


def test_turn_that_finds_no_name_says_that_there_is_no_room(tmp_path: Path, kind: type[Segment]) -> None:
    """A disk that has no room for one more file is full, whatever else it has, and the error says for which."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m,nr_inodes=3", "none") as disk:
        segment = kind(disk / segment_name(0))
        (disk / "other").touch()
        wanted = disk / segment_name(5)
        with pytest.raises(NoRoomError, match="no room for a new segment: No space") as caught:
            segment.turn(5, b"y\n")
        assert caught.value.errno == errno.ENOSPC
        assert str(wanted) in str(caught.value)
        assert segment.write(b"x\n") is None
        segment.close()


def test_turn_that_fails_otherwise_is_no_want_of_room(path: Path, kind: type[Segment]) -> None:
    """What stands in the way of the next segment is told as what it is."""
    segment = kind(path)
    later = path.with_name(f"{segment_name(1)}.new")
    later.mkdir()
    with pytest.raises(OSError, match=r"directory") as caught:
        segment.turn(1, b"y\n")
    assert not isinstance(caught.value, NoRoomError)
    assert segment.path == path
    segment.close()


# -- Reading ---------------------------------------------------------------------------------------


def test_segments_are_known_by_their_names(tmp_path: Path) -> None:
    """Names of digits count, in their order, plain before compressed; others do not."""
    names = [segment_name(number) for number in (0, 9, 10, 2**40)]
    assert names[1] == "00000000000000000009.jsonl"
    for name in (names[3], names[0], f"{names[1]}.zst", names[2], f"{names[2]}.zst"):
        (tmp_path / name).touch()
    for name in (
        "x.jsonl",
        ".jsonl",
        "0000000x.jsonl",
        "5.jsonl.zst.x",
        "1.jsonl.new",
        "2.jsonl.torn-0",
        "3.jsonl.zst.new",
        "note",
        "4.jsonlx",
    ):
        (tmp_path / name).touch()
    assert [one.name for one in segments(tmp_path)] == [names[0], f"{names[1]}.zst", names[2], names[3]]
    assert [first_of(one) for one in segments(tmp_path)] == [0, 9, 10, 2**40]
    assert [one.name for one in unfinished(tmp_path)] == ["1.jsonl.new"]


def test_segment_is_closed_when_nobody_may_write_it(path: Path) -> None:
    """A compressed one is, and a plain one without its owner's leave to write."""
    path.touch()
    for mode, closed in ((0o600, False), (0o400, True), (0o420, True), (0o401, True), (0o200, False)):
        path.chmod(mode)
        assert is_closed(path) is closed
    assert is_closed(path.with_name(f"{path.name}.zst"))


TEXT = b"a\n" + b"b" * (3 << 20) + b"\n\nlast\n"


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_and_lines_come_back(path: Path, packed: bool) -> None:
    """Compressed or not, a segment is read whole, a mebibyte at a time, by its plain name, too, and closed again."""
    path.write_bytes(TEXT)
    path.chmod(0o400)
    if packed:
        assert compress(path).name == f"{path.name}.zst"
        assert not path.exists()
    for name in segments(path.parent)[0], path:
        found = list(chunks(name))
        assert b"".join(found) == TEXT
        assert [len(chunk) for chunk in found] == [WINDOW] * 3 + [len(TEXT) - 3 * WINDOW]
        assert list(lines(name)) == [b"a\n", b"b" * (3 << 20) + b"\n", b"\n", b"last\n"]
        with opened(name) as file:
            assert file.readable()
            assert file.readline() == b"a\n"


def test_room_behind_the_last_line_is_no_line(path: Path) -> None:
    """Zeros that nobody used are nothing, and what was not written whole is no line, unless a seal follows it."""
    for text, found in (
        (b"a\n" + bytes(99), [b"a\n"]),
        (b"a\nto\0rn" + bytes(99), [b"a\n"]),
        (b"a\nto\0rn\nb\n" + bytes(99), [b"a\n"]),
        (b'a\nto\0rn\nb\n"kind":"seal"\nc\n', [b"a\n", b"to\0rn\n"]),
        (b"a\nx_", [b"a\n"]),
        (b"", []),
    ):
        path.write_bytes(text)
        assert list(lines(path)) == found


def test_segment_that_is_not_there_is_an_error(path: Path) -> None:
    """Neither plain nor compressed: no journal is shorter for that."""
    packed = path.with_name(f"{path.name}.zst")
    for name in (path, packed):
        with pytest.raises(FileNotFoundError) as caught:
            opened(name)
        assert caught.value.filename == str(packed)


def test_compressed_segment_may_have_several_frames(path: Path) -> None:
    """Frames one after another, as other tools write them, are one segment."""
    packed = path.with_name(f"{path.name}.zst")
    packed.write_bytes(zstandard.compress(b"a\n") + zstandard.compress(b"b\n"))
    assert list(lines(packed)) == [b"a\n", b"b\n"]


def test_compressed_bytes_that_are_broken_are_an_error_of_the_file(path: Path) -> None:
    """What no frame explains is told by the file's name, as a disk's error is."""
    path = path.with_name(f"{path.name}.zst")
    path.write_bytes(b"no frame")
    with pytest.raises(OSError, match="not what was compressed") as caught:
        list(chunks(path))
    assert str(path) in str(caught.value)


# -- Compressing -----------------------------------------------------------------------------------


def test_compressed_bytes_are_all_on_the_disk_before_they_are_read_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are synced whole, under a name that is no segment's, and are not read back from memory."""
    path.write_bytes(TEXT)
    path.chmod(0o400)
    done: list[tuple[object, ...]] = []
    fsync, advise = os.fsync, os.posix_fadvise

    def synced(descriptor: int) -> None:
        done.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def advised(descriptor: int, *given: int) -> None:
        done.append(given)
        advise(descriptor, *given)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "posix_fadvise", advised)
    size = compress(path).stat().st_size
    assert done[:2] == [(f"{path.name}.zst.new", size), (0, 0, os.POSIX_FADV_DONTNEED)]


def test_compressed_segment_is_its_owners_and_on_the_disk(path: Path, steps: Steps) -> None:
    """The compressed form is read-only and its owner's, and lasts under its name before the plain one goes for good."""
    path.write_bytes(TEXT)
    path.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(path, OWNER, OWNER + 1)
    before, umask = path.stat(), os.umask(0)
    try:
        packed = compress(path)
    finally:
        os.umask(umask)
    found = packed.stat()
    assert (found.st_uid, found.st_gid) == (before.st_uid, before.st_gid)
    assert stat.S_IMODE(found.st_mode) == 0o400
    assert steps.of(packed, path.parent) == [
        ("fsync", packed.name),
        ("rename", packed.name),
        ("fsync", path.parent.name),
        ("fsync", path.parent.name),
    ]
    assert packed.read_bytes()[4] & 0b100  # the frame has a checksum
    assert found.st_size < len(TEXT) // 100
    with pytest.raises(FileNotFoundError):
        compress(path)


def test_what_a_crash_left_of_a_compression_is_made_anew(path: Path) -> None:
    """What a crash left under a third name is in nobody's way; a link in the plain one's place is not followed."""
    path.write_bytes(TEXT)
    path.chmod(0o400)
    path.with_name(f"{path.name}.zst.new").write_bytes(b"left")
    assert b"".join(chunks(compress(path))) == TEXT
    other = path.with_name(segment_name(5))
    other.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        compress(other)


def test_last_and_open_and_compressed_ones_are_not_compressible(tmp_path: Path) -> None:
    """Of all segments the plain closed ones can be compressed, but for the last."""
    paths = [tmp_path / segment_name(number) for number in range(4)]
    for one in paths:
        one.write_bytes(b"x\n")
        one.chmod(0o400)
    paths[1].chmod(0o600)
    assert compressible(tmp_path) == [paths[0], paths[2]]
    compress(paths[0])
    assert compressible(tmp_path) == [paths[2]]


def test_segment_that_was_just_compressed_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets the lock only after another is done with the segment finds it gone, and says so."""
    path.write_bytes(TEXT)
    path.chmod(0o400)
    flock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if path.exists():
            path.rename(path.with_name("done"))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OSError, match="is compressed already"):
        compress(path)


def test_room_that_cannot_be_mapped_is_wanting(path: Path) -> None:
    """Without room for one more mapping a segment says that there is none, and writes as others do."""
    segment = MappedSegment(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    data = b"x" * (WINDOW + 1)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used, hard))
        short = segment.write(data)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert "Cannot allocate memory" in (short or "")
    assert segment.room() is None
    assert segment.write(b"y") is None
    assert path.read_bytes().rstrip(b"\0") == data + b"y"
    segment.close()


def test_file_that_is_cut_while_it_is_mapped_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that somebody takes away between its allocation and its mapping is an error of the file, by its name."""
    segment, grow_ = MappedSegment(path), Segment._grow

    def cut(self: Segment, length: int) -> None:
        grow_(self, length)
        os.truncate(path, 1)

    monkeypatch.setattr(Segment, "_grow", cut)
    with pytest.raises(OSError, match=r"jsonl: mmap length is greater"):
        segment.write(b"x" * (WINDOW + 1))
    segment.close()


def test_segment_that_was_closed_before_its_turn_has_no_map_to_give_up(path: Path) -> None:
    """A turn goes on from whatever map there was: none, if there was no room for one."""
    segment = MappedSegment(path)
    assert segment._map is not None
    segment._map.close()
    segment._map = None
    segment.turn(1, b"y\n")
    assert segment.write(b"z\n") is None
    segment.close()


def test_signal_of_a_file_that_may_not_grow_is_not_met() -> None:
    """The limit that the tests above set is this process's own, and was not left behind here."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN  # as Python has it
