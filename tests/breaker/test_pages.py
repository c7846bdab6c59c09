"""The page's parts by themselves: what stands where, the page in memory, the page in the file, both together."""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import HOME_ID, OTHER_ID, arm, run_python

from interlock import HaltCode
from interlock.breaker import layout, memorypage, page
from interlock.breaker.filepage import FilePage
from interlock.breaker.latch import LatchError
from interlock.breaker.layout import fresh, home_in, new_mark, room_for
from interlock.breaker.lock import Pen
from interlock.breaker.memory import VARIABLE, place
from interlock.breaker.memorypage import MemoryPage
from interlock.breaker.page import Page, halt_all, peek
from interlock.core.modes import ARMED

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.breaker.home import Home

SEVEN, EIGHT = struct.pack("<Q", 7), struct.pack("<Q", 8)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an armed home."""
    return arm(tmp_path / "home")


def memory_of(home: Home) -> Path:
    """Return the path of its page in memory."""
    with place(home.path, HOME_ID) as at:
        return at.path / "page"


def put(path: Path, at: int, data: bytes) -> None:
    """Write into a page, beside everybody who has it open."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def says(path: Path, byte: int, armed_for: int, halts: int) -> None:
    """Let a page say this."""
    put(path, 0, bytes([byte]))
    put(path, 104, struct.pack("<2Q", armed_for, halts))


# -- What stands where -----------------------------------------------------------------------------


def test_everything_in_a_page_stands_where_it_always_stood() -> None:
    """Pages outlive a version: byte, format, home, marks, whether a journal was begun, record."""
    data = bytearray(4096)
    data[0], data[1:18], data[64:100] = 0xA5, b"interlock page 1\n", HOME_ID.encode()
    assert fresh(HOME_ID, 0xA5) == data
    found = layout.ARMED_FOR_AT, layout.HALTS_AT, layout.HALTS_END, layout.BEGUN_AT, layout.RECORD_AT
    assert found == (104, 112, 120, 120, 128)


@pytest.mark.parametrize(("home", "stands"), [("", ""), ("short", "short"), (HOME_ID + "more", HOME_ID)])
def test_home_of_a_page_has_its_room(home: str, stands: str) -> None:
    """A name that is no UUID is kept as far as there is room, and nothing behind it is touched."""
    data = fresh(home, 0)
    assert (len(data), home_in(data), any(data[100:])) == (4096, stands, False)


def test_page_that_is_none_is_nobodys() -> None:
    """What does not begin as a page does is none; a home that is no text is another's."""
    data = fresh(HOME_ID, 0)
    assert home_in(data[:1] + b"I" + data[2:]) is None
    assert home_in(b"") is None
    assert home_in(data[:64] + b"\xff" * 36 + data[100:]) == "\N{REPLACEMENT CHARACTER}" * 36


@pytest.mark.parametrize(("length", "kept"), [(0, True), (1, True), (3967, True), (3968, True), (3969, False)])
def test_record_fills_its_room_or_is_not_left(length: int, kept: bool) -> None:
    """A record is left whole, followed by zeros, or not at all."""
    assert room_for(b"x" * length) == (b"x" * length if kept else b"").ljust(3968, b"\0")


def test_no_two_halts_have_the_same_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark is of the moment and of the process, so that two who halt at once do not have the same."""
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5)
    for pid, mark in ((1, (5 << 22) + 1), ((1 << 22) - 1, (6 << 22) - 1), (1 << 22, 5 << 22)):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        assert new_mark() == struct.pack("<Q", mark)
    monkeypatch.setattr(time, "monotonic_ns", lambda: (1 << 42) + 3)  # 73 minutes on, the highest bits are given up
    assert new_mark() == struct.pack("<Q", 3 << 22)


# -- In memory -------------------------------------------------------------------------------------


def test_page_in_memory_tells_its_marks_and_its_record(home: Home) -> None:
    """It halts with a mark of its own, is armed for a mark, and arming takes the record away."""
    path = memory_of(home)
    with place(home.path, HOME_ID) as at:
        one = MemoryPage(at, HOME_ID)
    found = path.stat()
    assert (one.home, one.identity, one.halts, one.armed_for) == (HOME_ID, (found.st_dev, found.st_ino), 0, 0)
    assert one.armed
    one.leave(b"record")
    one.halt()
    assert path.read_bytes()[112:120] == struct.pack("<Q", one.halts)
    assert (one.halts != 0, one.armed, one.map[0], one.left()) == (True, False, 0, b"record")
    one.arm(one.halts)
    assert (one.armed, one.armed_for == one.halts, one.left()) == (True, True, b"")
    one.leave(b"x" * 3969)
    assert one.left() == b""
    one.leave(b"x" * 3968)
    assert one.left() == b"x" * 3968
    assert path.read_bytes()[18:104] == fresh(HOME_ID, 0)[18:104]


@pytest.mark.parametrize(
    ("byte", "armed_for", "halts", "armed", "mended"),
    [(ARMED, 7, 7, True, ARMED), (ARMED, 7, 8, False, 0), (0, 7, 7, False, 0), (1, 7, 8, False, 1)],
)
def test_page_in_memory_is_armed_for_its_latest_halt_or_is_mended(
    home: Home, byte: int, armed_for: int, halts: int, armed: bool, mended: int
) -> None:
    """A byte that was armed for another halt than the latest says halt; who finds it so sets it."""
    says(memory_of(home), byte, armed_for, halts)
    with place(home.path, HOME_ID) as at:
        one = MemoryPage(at, HOME_ID)
    assert one.armed is armed
    one.mend()
    assert one.map[0] == mended
    assert (one.halts == halts) is (byte == mended)


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize(
    ("data", "whose", "good"),
    [
        (fresh(OTHER_ID, 0), HOME_ID, False),
        (fresh(OTHER_ID, 0), None, True),
        (b"x" * 4096, HOME_ID, False),
        (b"x" * 4096, None, False),
        (fresh(HOME_ID, 0), HOME_ID, True),
    ],
)
def test_page_in_memory_of_another_home_is_refused(home: Home, data: bytes, whose: str | None, good: bool) -> None:
    """Who halts takes whoever's page it is; nobody takes what is no page; and what is refused is let go of."""
    path = memory_of(home)
    path.write_bytes(data)
    with place(home.path, HOME_ID) as at:
        if good:
            MemoryPage(at, whose).map.close()
            return
        with pytest.raises(LatchError, match="not the page of home") as caught:
            MemoryPage(at, whose)
    assert (caught.value.code, str(caught.value)) == (
        HaltCode.PAGE_REPLACED,
        f"{path}: not the page of home {whose}",
    )


@pytest.mark.parametrize("armed", [False, True])
def test_page_in_memory_is_made_as_it_is_asked_for(home: Home, monkeypatch: pytest.MonkeyPatch, armed: bool) -> None:
    """Where there is none it is made; where somebody was faster that one's is taken, and not made anew."""
    path = memory_of(home)
    path.unlink()
    made = MemoryPage.had(home.path, HOME_ID, armed=armed)
    assert path.read_bytes() == fresh(HOME_ID, ARMED if armed else 0)
    assert MemoryPage.had(home.path, HOME_ID, armed=not armed).identity == made.identity
    path.unlink()
    real = memorypage.fresh

    def faster(whose: str, byte: int) -> bytes:
        path.write_bytes(real(whose, 1))
        path.chmod(0o600)
        return real(whose, byte)

    monkeypatch.setattr(memorypage, "fresh", faster)
    assert MemoryPage.had(home.path, HOME_ID, armed=armed).map[0] == 1


# -- In the file -----------------------------------------------------------------------------------


def _refused(path: Path, whose: str | None = HOME_ID) -> tuple[HaltCode, str]:
    with pytest.raises(LatchError) as caught:
        FilePage(path, whose)
    return caught.value.code, str(caught.value)


@pytest.mark.usefixtures("nothing_left_open")
def test_file_that_is_no_page_of_the_home_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, unreadable, a link, of another size or home: each is told as what it is."""
    path = home.page
    assert _refused(path, OTHER_ID) == (HaltCode.PAGE_REPLACED, f"{path}: not the page of home {OTHER_ID}")
    assert FilePage(path, None).home == HOME_ID
    with monkeypatch.context() as failing:

        def read(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        failing.setattr(os, "pread", read)
        assert _refused(path) == (HaltCode.HOME_UNREADABLE, f"{path}: cannot be opened: Input/output error")
    put(path, 1, b"I")
    for whose in (HOME_ID, None):
        assert _refused(path, whose) == (HaltCode.PAGE_REPLACED, f"{path}: not the page of home {whose}")
    os.truncate(path, 4095)
    assert _refused(path) == (HaltCode.LATCH_CORRUPT, f"{path}: 4095 bytes, expected 4096")
    path.rename(home.path / "aside")
    assert _refused(path) == (HaltCode.LATCH_ABSENT, f"{path}: there is no page")
    path.symlink_to("aside")
    code, said = _refused(path)
    assert (code, said) == (HaltCode.HOME_UNREADABLE, f"{path}: cannot be opened: Too many levels of symbolic links")


@pytest.mark.parametrize(
    ("byte", "armed_for", "halts", "said"),
    [(ARMED, 7, 7, ARMED), (ARMED, 7, 8, 0), (ARMED, 8, 7, 0), (0, 7, 7, 0), (3, 0, 0, 3)],
)
def test_file_says_halt_unless_it_was_armed_for_its_latest_halt(
    home: Home, byte: int, armed_for: int, halts: int, said: int
) -> None:
    """A halt whose byte was not written yet, or was written over, is a halt."""
    one = FilePage(home.page, HOME_ID)
    says(home.page, byte, armed_for, halts)
    assert (one.byte, one.halts) == (said, halts)
    assert (one.directory, one.inode) == (home.path, home.page.stat().st_ino)


def test_file_that_cannot_be_read_says_halt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is permitted, a journal was begun, and no record is there; its marks are nobody's guess."""
    one = FilePage(home.page, HOME_ID)
    put(home.page, 128, b"record")
    assert (one.byte, one.begun, one.left()) == (ARMED, False, b"record")
    put(home.page, 120, b"\1")
    assert one.begun is True

    def read(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", read)
    assert (one.byte, one.begun, one.left()) == (0, True, b"")
    with pytest.raises(OSError, match="Input/output"):
        _ = one.halts


def test_file_that_was_cut_to_nothing_says_halt(home: Home) -> None:
    """There is no byte to be read then."""
    one = FilePage(home.page, HOME_ID)
    os.truncate(home.page, 0)
    assert one.byte == 0


@pytest.mark.usefixtures("nothing_left_open")
def test_halt_by_the_file_leaves_its_record_once(home: Home) -> None:
    """Record, mark and byte are written where they belong, and nothing else; a second one leaves them as they are."""
    before = home.page.read_bytes()
    one = FilePage(home.page, HOME_ID)
    one.halt(b"record")
    after = home.page.read_bytes()
    assert (after[0], after[128:], after[1:112], after[120:128]) == (
        0,
        b"record".ljust(3968, b"\0"),
        before[1:112],
        before[120:128],
    )
    assert after[112:120] == struct.pack("<Q", one.halts) != before[112:120]
    one.halt(b"other")
    assert home.page.read_bytes() == after


def test_file_is_written_wherever_it_may_be(home: Home) -> None:
    """Who has it open writes to that very file, in the order given, and not to another at its path."""
    one = FilePage(home.page, HOME_ID)
    home.page.rename(home.path / "moved")
    home.page.write_bytes(fresh(HOME_ID, ARMED))
    one.write((200, b"ab"), (201, b"c"))
    assert (home.path / "moved").read_bytes()[199:203] == b"\0ac\0"
    assert home.page.read_bytes() == fresh(HOME_ID, ARMED)


def test_file_that_is_another_by_now_is_told(home: Home) -> None:
    """Gone, replaced by its copy, or of another size: the page that is open is the home's no more."""
    one = FilePage(home.page, HOME_ID)
    one.check()
    os.truncate(home.page, 4097)
    with pytest.raises(LatchError, match="replaced while in use") as caught:
        one.check()
    assert (caught.value.code, str(caught.value)) == (
        HaltCode.PAGE_REPLACED,
        f"{home.page}: replaced while in use",
    )
    os.truncate(home.page, 4096)
    one.check()
    home.page.rename(home.path / "aside")
    with pytest.raises(LatchError) as caught:
        one.check()
    assert (caught.value.code, str(caught.value)) == (
        HaltCode.PAGE_REPLACED,
        f"{home.page}: gone: No such file or directory",
    )
    home.page.write_bytes((home.path / "aside").read_bytes())
    with pytest.raises(LatchError, match="replaced while in use"):
        one.check()


# -- Both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("file", [0, ARMED])
def test_page_in_memory_is_made_armed_only_if_the_file_is_and_it_is_asked_for(
    home: Home, asked: bool, file: int
) -> None:
    """After a boot the file and the record both have a say."""
    memory_of(home).unlink()
    put(home.page, 0, bytes([file]))
    one = Page(home.page, HOME_ID, armed=asked)
    assert (one.heard, one.map[0]) == (file, ARMED if asked and file else 0)
    assert (one.armed, one.halted) == ((True, False) if asked and file else (False, True))
    assert one.home == HOME_ID
    assert one.inode == home.page.stat().st_ino
    assert one.memory == one._memory.identity


def test_memory_that_cannot_be_used_is_told_as_the_homes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without a place in memory is unreadable, and the message names what it is about."""
    monkeypatch.setenv(VARIABLE, str(home.path / "nowhere"))
    for look in (lambda: Page(home.page, HOME_ID), lambda: Page(home.page, None)):
        with pytest.raises(LatchError, match="nowhere") as caught:
            look()
        assert caught.value.code is HaltCode.HOME_UNREADABLE


def test_fresh_page_of_a_home_is_halted(tmp_path: Path) -> None:
    """It is made in the file alone, its user's only."""
    Page.make(tmp_path / "page", HOME_ID)
    assert (tmp_path / "page").read_bytes() == fresh(HOME_ID, 0)
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) & 0o077 == 0


def test_beginning_of_a_journal_is_a_byte_of_the_file(home: Home) -> None:
    """It changes nothing else, neither there nor in memory."""
    one, before, memory = Page(home.page, HOME_ID), home.page.read_bytes(), memory_of(home).read_bytes()
    assert one.begun is False
    one.begin()
    assert one.begun is True
    assert home.page.read_bytes() == before[:120] + b"\1" + before[121:]
    assert memory_of(home).read_bytes() == memory


@pytest.mark.parametrize(
    ("mark", "file", "expected"),
    [
        (
            0,
            (ARMED, 0, 0),
            (ARMED, 0, b"theirs"),
        ),  # a byte that somebody zeroed: the byte alone is told, with the record
        (7, (ARMED, 0, 0), (0, 7, b"ours")),
        (7, (0, 0, 8), (0, 7, b"theirs")),
        (7, (0, 0, 7), (0, 7, b"theirs")),
        (7, (ARMED, 0, 7), (0, 7, b"theirs")),
        (7, (ARMED, 7, 7), (0, 7, b"ours")),
    ],
)
def test_halt_in_memory_reaches_the_file(
    home: Home, mark: int, file: tuple[int, int, int], expected: tuple[int, int, bytes]
) -> None:
    """Byte and mark are the memory's; the record is, too, unless a halt stands there, whose record that may be."""
    one = Page(home.page, HOME_ID)
    says(memory_of(home), 0, 0, mark)
    one._memory.leave(b"ours")
    says(home.page, *file)
    put(home.page, 128, b"theirs")
    before = home.page.read_bytes()
    one.mirror()
    after = home.page.read_bytes()
    byte, halts, record = expected if mark else (0, 0, b"ours")
    found = FilePage(home.page, HOME_ID)
    assert (found.byte, found.halts, found.left()) == (byte, halts, record)
    assert (after[1:112], after[120:128]) == (before[1:112], before[120:128])
    assert (one.heard, one.mirrored, one.mark, one.halts) == (0, mark != 0, mark, (mark, halts))


def test_halt_that_reached_the_file_is_not_written_twice(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was mirrored, and what is armed, asks no disk; a later halt does."""
    one = Page(home.page, HOME_ID)
    written: list[Any] = []
    real = FilePage.write

    def write(file: FilePage, *parts: tuple[int, bytes]) -> None:
        written.append(parts)
        real(file, *parts)

    monkeypatch.setattr(FilePage, "write", write)
    one.mirror()
    assert (written, one.mirrored) == ([], False)
    one.halt()
    one.mirror()
    assert (len(written), one.mirrored) == (2, True)
    one.mirror()
    assert len(written) == 2
    one.halt()
    assert not one.mirrored
    one.mirror()
    assert (len(written), one.mirrored) == (3, True)


def test_record_is_the_memorys_or_else_the_files(home: Home) -> None:
    """Who halted here left it in memory; who halted elsewhere in the file."""
    one = Page(home.page, HOME_ID)
    assert one.left() == b""
    put(home.page, 128, b"elsewhere")
    assert one.left() == b"elsewhere"
    one._memory.leave(b"here")
    assert one.left() == b"here"


def test_arming_ends_the_halts_that_are_told(home: Home) -> None:
    """Record, marks and bytes of both; each is armed for its own mark."""
    one = Page(home.page, HOME_ID)
    one.halt()
    one._memory.leave(b"here")
    one.mirror()
    says(home.page, 0, 0, 8)
    marks = one.halts
    one.arm(marks)
    assert (one.heard, one.armed, one.left(), one.halted) == (ARMED, True, b"", False)
    assert home.page.read_bytes()[104:120] == EIGHT + EIGHT
    assert (one._memory.armed_for, marks[1]) == (marks[0], 8)


OVER = (0, 0, 7), (ARMED, 7, 7)
"""A halt in memory that a reset elsewhere has ended, and the file that it armed."""


@pytest.mark.parametrize(
    ("memory", "file", "over"),
    [
        (*OVER, True),
        ((ARMED, 0, 7), OVER[1], False),
        ((0, 7, 7), OVER[1], False),
        (OVER[0], (0, 7, 7), False),
        (OVER[0], (ARMED, 8, 8), False),
        (OVER[0], (ARMED, 0, 7), False),
    ],
)
def test_halt_is_over_if_the_file_was_armed_for_it(
    home: Home, memory: tuple[int, int, int], file: tuple[int, int, int], over: bool
) -> None:
    """Only a reset that knew of the very halt that memory tells of, and of no later one, has ended it."""
    one = Page(home.page, HOME_ID)
    says(memory_of(home), *memory)
    says(home.page, *file)
    assert one.over is over
    one.rejoin()
    assert (one._memory.armed, one._memory.armed_for == one.mark) == (
        (True, True) if over else (False, memory[1] == memory[2])
    )
    says(memory_of(home), *memory)
    armed = memory[0] == ARMED == file[0] and memory[1] == memory[2] and file[1] == file[2]
    assert peek(home.page, HOME_ID) == (ARMED if over or armed else 0)


def test_rejoining_waits_for_the_pen_and_looks_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not get the pen alone arms nothing, nor does who finds, with it, that another halt has come."""
    one = Page(home.page, HOME_ID)
    says(memory_of(home), *OVER[0])
    says(home.page, *OVER[1])
    monkeypatch.setattr(page, "_PEN_S", 0.0)
    with closing(Pen(home.path)) as pen:
        assert pen.shared()
        one.rejoin()
    assert one.over
    real = Pen.exclusive

    def late(pen: Pen, timeout_s: float = 0.0) -> bool:
        says(home.page, 0, 7, 9)
        return real(pen, timeout_s)

    monkeypatch.setattr(Pen, "exclusive", late)
    one.rejoin()
    assert one.map[0] == 0


def test_halt_that_comes_while_one_rejoins_is_not_armed_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that came between look and arming is found, and the byte is set again."""
    one = Page(home.page, HOME_ID)
    says(memory_of(home), *OVER[0])
    says(home.page, *OVER[1])
    real = MemoryPage.arm

    def arm(memory: MemoryPage, halts: int) -> None:
        says(memory_of(home), 0, 0, 9)
        real(memory, halts)

    monkeypatch.setattr(MemoryPage, "arm", arm)
    one.rejoin()
    assert one.map[0] == 0


@pytest.mark.parametrize(
    ("held", "over", "repeated"), [(False, False, True), (False, True, False), (True, False, False)]
)
def test_halt_is_repeated_with_the_pen_and_if_it_is_not_over(
    home: Home, held: bool, over: bool, repeated: bool
) -> None:
    """While a reset has the pen it is left for another time; what a reset elsewhere has ended is not repeated."""
    one = Page(home.page, HOME_ID)
    says(memory_of(home), *OVER[0])
    says(home.page, *(OVER[1] if over else (ARMED, 0, 0)))
    with closing(Pen(home.path)) as pen:
        assert not held or pen.exclusive()
        one.repeat()
    assert (one.mirrored, home.page.read_bytes()[0] == 0) == (repeated, repeated)


def test_halt_of_a_home_that_was_moved_is_repeated(home: Home) -> None:
    """There is no reset by its path, so no pen is needed."""
    one = Page(home.page, HOME_ID)
    home.path.rename(home.path.with_name("moved"))
    one.halt()
    one.repeat()
    assert one.mirrored
    assert (home.path.with_name("moved") / "page").read_bytes()[0] == 0


def test_page_is_watched_in_both_places(home: Home) -> None:
    """A page whose file in memory is gone or another is told, with its path; so is the home's own."""
    one = Page(home.page, HOME_ID)
    one.check()
    path = memory_of(home)
    aside = path.with_name("aside")
    path.rename(aside)
    with pytest.raises(LatchError, match="gone or replaced while in use; what else removes files there") as caught:
        one.check()
    assert caught.value.code is HaltCode.PAGE_REPLACED
    assert str(path) in str(caught.value)
    path.write_bytes(aside.read_bytes())
    with pytest.raises(LatchError, match="gone or replaced"):
        one.check()
    aside.rename(path)
    one.check()
    home.page.rename(home.path / "aside")
    with pytest.raises(LatchError, match="gone: No such file"):
        one.check()


def test_page_that_was_closed_lets_go_of_its_mapping(home: Home) -> None:
    """Whoever looks at it then meets an error, and not what it said last."""
    one = Page(home.page, HOME_ID)
    one.close()
    with pytest.raises(ValueError, match="closed"):
        _ = one.map[0]


def test_peeking_makes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a page in memory the file has the say; one that is wrong is told."""
    path = memory_of(home)
    assert peek(home.page, HOME_ID) == ARMED
    says(path, 0, 0, 7)
    assert peek(home.page, HOME_ID) == 0
    path.unlink()
    for byte in (ARMED, 0):
        put(home.page, 0, bytes([byte]))
        assert peek(home.page, HOME_ID) == byte
    assert not path.exists()
    path.write_bytes(fresh(OTHER_ID, 0))
    path.chmod(0o600)
    with pytest.raises(LatchError, match="not the page of home"):
        peek(home.page, HOME_ID)
    path.chmod(0o666)
    with pytest.raises(LatchError) as caught:
        peek(home.page, HOME_ID)
    assert caught.value.code is HaltCode.HOME_UNREADABLE
    monkeypatch.setenv(VARIABLE, str(home.path / "nowhere"))
    assert peek(home.page, HOME_ID) == 0


# -- All that are there ----------------------------------------------------------------------------


def test_every_page_at_a_home_is_halted(home: Home) -> None:
    """Another home's that was there before, too; each with its own record; one that is wrong holds up none."""
    ours = memory_of(home)
    with place(home.path, OTHER_ID, make=True) as at:
        at.make("page", fresh(OTHER_ID, ARMED))
        theirs = at.path / "page"
    with place(home.path, "x", make=True) as at:  # a place that holds no page
        at.make("page", b"x" * 4096)
    halted, troubles = halt_all(home.path, lambda whose: whose.encode())
    assert halted == {(path.stat().st_dev, path.stat().st_ino) for path in (ours, theirs)}
    for path, whose in ((ours, HOME_ID), (theirs, OTHER_ID)):
        data = path.read_bytes()
        assert (data[0], data[112:120] != bytes(8), data[128:].rstrip(b"\0")) == (0, True, whose.encode())
    (trouble,) = troubles
    assert isinstance(trouble, LatchError)
    assert "not the page of home None" in str(trouble)
    halt_all(home.path, lambda _: b"later")
    assert ours.read_bytes()[128:].rstrip(b"\0") == HOME_ID.encode()  # the first one's record stays


def test_halt_without_a_record_is_a_halt(home: Home) -> None:
    """A cause that makes no record leaves none, and is told."""

    def none(_: str) -> bytes:
        message = "no text"
        raise TypeError(message)

    halted, troubles = halt_all(home.path, none)
    assert (len(halted), [str(one) for one in troubles]) == (1, ["no text"])
    assert (memory_of(home).read_bytes()[0], any(memory_of(home).read_bytes()[128:])) == (0, False)


def test_home_that_is_not_there_has_no_page_to_halt(tmp_path: Path) -> None:
    """That is told, and nothing raises."""
    halted, (trouble,) = halt_all(tmp_path / "nowhere", lambda _: b"")
    assert (halted, type(trouble)) == (set(), FileNotFoundError)


def test_two_processes_that_halt_at_once_leave_two_marks(home: Home) -> None:
    """What another process halts is seen here, with a mark that is not ours."""
    one = Page(home.page, HOME_ID)
    one.halt()
    ours = one.mark
    script = (
        "import sys; from pathlib import Path; from interlock.breaker.page import Page; "
        "page = Page(Path(sys.argv[1]), None); page.halt(); print(page.mark)"
    )
    assert int(run_python(script, home.page)) == one.mark != ours
