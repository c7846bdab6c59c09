"""The latch record: only one spelling of armed permits, and every damage is told."""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import HOME_ID, OTHER_ID, FakeClock, arm, attach

from interlock import HaltCode, Mode
from interlock.breaker.latch import Latch, LatchError, blank, decode, read_latch, write_durably, write_latch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARMED = Latch(
    state="ARMED",
    epoch=3,
    home=HOME_ID,
    code="ARM",
    reason="new desk",
    source="operator",
    operator="ann",
    ts_us=1,
    boot="b",
    mono_ns=2,
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
latches = st.builds(
    Latch,
    state=st.sampled_from(["ARMED", "HALTED"]),
    epoch=st.integers(1, 2**53),
    home=texts,
    code=texts,
    reason=texts,
    source=texts,
    operator=st.none() | texts,
    ts_us=st.integers(0, 2**53),
    boot=texts,
    mono_ns=st.integers(0, 2**53),
)


@given(latches)
def test_every_latch_comes_back(latch: Latch) -> None:
    """What was written is what is read."""
    assert decode(latch.encode(), "here") == latch


def test_every_truncation_is_told() -> None:
    """A record cut at any length is corrupt."""
    data = ARMED.encode()
    for length in range(len(data)):
        with pytest.raises(LatchError) as caught:
            decode(data[:length], "here")
        assert caught.value.code is HaltCode.LATCH_CORRUPT


def test_every_changed_byte_is_told() -> None:
    """A record with any one byte changed in any bit is no latch, and never another one."""
    data = ARMED.encode()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(LatchError) as caught:
                decode(bytes(changed), "here")
            assert caught.value.code in {HaltCode.LATCH_CORRUPT, HaltCode.LATCH_FOREIGN}


@given(st.binary(max_size=300))
def test_noise_is_told(data: bytes) -> None:
    """No bytes make the reader crash."""
    with pytest.raises(LatchError):
        decode(data, "here")


def _forged(**changes: object) -> bytes:
    """A record with a right checksum, whatever stands in it."""
    body = {"v": 1, **attrs.asdict(ARMED), **changes}
    return orjson.dumps({**body, "sum": sha256(orjson.dumps(body)).hexdigest()}) + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "armed"},
        {"state": "IDLE"},
        {"state": None},
        {"state": ["ARMED"]},
        {"epoch": 0},
        {"epoch": -1},
        {"epoch": True},
        {"epoch": 1.0},
        {"epoch": "1"},
        {"home": 5},
        {"home": None},
        {"reason": 5},
        {"operator": 5},
        {"ts_us": "1"},
        {"ts_us": None},
        {"mono_ns": 1.5},
        {"extra": 1},
    ],
    ids=str,
)
def test_wrong_values_under_a_right_checksum_are_told(changes: dict[str, object]) -> None:
    """A record of another state, type or shape is no latch, even if its checksum is right."""
    with pytest.raises(LatchError) as caught:
        decode(_forged(**changes), "here")
    assert caught.value.code is HaltCode.LATCH_CORRUPT


def test_record_of_another_version_is_foreign() -> None:
    """A record of a format that this kernel does not know is told as that, and by both formats' numbers."""
    for version in (2, 0, None, "1", [1]):
        with pytest.raises(LatchError, match=re.escape(f"format {version!r}; this kernel reads format 1")) as caught:
            decode(_forged(v=version), "here")
        assert caught.value.code is HaltCode.LATCH_FOREIGN


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[1]", "here: not a latch record (3 bytes)"),
        (b"{}", "here: not a latch record (2 bytes)"),
        (ARMED.encode().replace(b"new", b"old"), "here: the checksum does not match"),
        (ARMED.encode() + b" ", "here: state 'ARMED', epoch 3"),
    ],
)
def test_damage_is_told_in_words(data: bytes, said: str) -> None:
    """What is wrong with a record is said: where, and whether it is none, was changed, or makes no sense."""
    with pytest.raises(LatchError) as caught:
        decode(data, "here")
    assert str(caught.value) == said


def test_blank_record_says_whose_it_is_and_nothing_else() -> None:
    """What a record is made from is a valid one of the first epoch, in which nobody has said anything yet."""
    latch = blank(HOME_ID)
    assert decode(latch.encode(), "here") == latch
    assert (latch.state, latch.epoch, latch.home, latch.code) == ("ARMED", 1, HOME_ID, "ARM")
    assert (latch.reason, latch.source, latch.boot, latch.operator) == ("", "", "", None)
    assert (latch.ts_us, latch.mono_ns) == (0, 0)


def test_longest_record_is_read_whole(tmp_path: Path) -> None:
    """A record of 64 KiB is read, and one that has a byte more is none."""
    path = tmp_path / "latch.json"
    for more, fits in ((0, True), (1, False)):
        room = 65_536 + more - len(attrs.evolve(ARMED, reason="").encode())
        latch = attrs.evolve(ARMED, reason="x" * room)
        write_latch(path, latch)
        if fits:
            assert read_latch(path)[0] == latch
        else:
            with pytest.raises(LatchError) as caught:
                read_latch(path)
            assert caught.value.code is HaltCode.LATCH_CORRUPT


def test_deep_nesting_is_told() -> None:
    """A record nested deeper than the writer can write is corrupt, not a crash."""
    for depth in (100, 300, 2000, 20_000):
        with pytest.raises(LatchError):
            decode(b'{"v":1,"sum":"","reason":' + b"[" * depth + b"]" * depth + b"}", "here")


def test_other_spellings_are_told() -> None:
    """The same members in another order, spacing or with a second key are not the record."""
    data = ARMED.encode()
    body = orjson.loads(data)
    for other in (
        orjson.dumps(dict(reversed(body.items()))) + b"\n",
        orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n",
        data[:-1],
        data + b"\n",
        data[:-2] + b',"v":1}\n',
    ):
        with pytest.raises(LatchError):
            decode(other, "here")


def _directory(path: Path) -> None:
    path.mkdir()


def _symlink(path: Path) -> None:
    real = path.with_name("elsewhere.json")
    real.write_bytes(ARMED.encode())
    path.symlink_to(real)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    path.write_bytes(b" " * 100_000)


def _absent(_: Path) -> None:
    pass


ODDITIES: dict[str, tuple[Callable[[Path], None], HaltCode]] = {
    "absent": (_absent, HaltCode.LATCH_ABSENT),
    "directory": (_directory, HaltCode.HOME_UNREADABLE),
    "symlink": (_symlink, HaltCode.HOME_UNREADABLE),
    "dangling": (_dangling, HaltCode.HOME_UNREADABLE),
    "loop": (_loop, HaltCode.HOME_UNREADABLE),
    "fifo": (_fifo, HaltCode.LATCH_CORRUPT),
    "device": (_device, HaltCode.HOME_UNREADABLE),
    "huge": (_huge, HaltCode.LATCH_CORRUPT),
}


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("oddity", ODDITIES)
def test_what_is_no_file_is_no_latch(tmp_path: Path, oddity: str) -> None:
    """Whatever stands in the latch's place is told by its code, without hanging."""
    make, code = ODDITIES[oddity]
    path = tmp_path / "latch.json"
    make(path)
    with pytest.raises(LatchError, match=r"latch\.json") as caught:
        read_latch(path)
    assert caught.value.code is code


@pytest.mark.usefixtures("nothing_left_open")
def test_latch_of_another_home_is_told(tmp_path: Path) -> None:
    """A valid latch of another home is not ours."""
    path = tmp_path / "latch.json"
    write_latch(path, ARMED)
    assert read_latch(path, HOME_ID)[0] == ARMED
    with pytest.raises(LatchError) as caught:
        read_latch(path, OTHER_ID)
    assert caught.value.code is HaltCode.LATCH_REPLACED


def test_latch_takes_texts_that_no_file_can_hold(tmp_path: Path) -> None:
    """A halt is not lost over a lone surrogate in its reason."""
    path = tmp_path / "latch.json"
    write_latch(path, attrs.evolve(ARMED, state="HALTED", reason="\udcff", operator="\ud800"))
    assert read_latch(path)[0].state == "HALTED"


def test_failed_replacement_leaves_no_litter(tmp_path: Path) -> None:
    """A write that fails leaves what was there, and no temporary file beside it."""
    path = tmp_path / "latch.json"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_durably(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["latch.json"]
    assert (path / "inside").is_dir()


# -- At attach -----------------------------------------------------------------------------------


def _halted_at_attach(home: Path) -> None:
    """Attach; it must be HALTED, permit nothing and say why."""
    with attach(home, FakeClock()) as kernel:
        assert kernel.mode is Mode.HALTED
        assert kernel.cause is not None
        assert kernel.cause.reason
        assert not kernel.start()


def test_every_truncated_latch_halts_at_attach(tmp_path: Path) -> None:
    """A latch cut at any length comes up HALTED, with the damaged file left as it is."""
    home = arm(tmp_path / "home")
    data = home.latch.read_bytes()
    for length in range(len(data)):
        cut = data[:length]
        home.latch.write_bytes(cut)
        _halted_at_attach(home.path)
        assert home.latch.read_bytes() == cut


def test_every_corrupted_latch_halts_at_attach(tmp_path: Path) -> None:
    """A latch with any one byte changed comes up HALTED."""
    home = arm(tmp_path / "home")
    data = home.latch.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        home.latch.write_bytes(changed)
        _halted_at_attach(home.path)


@pytest.mark.parametrize("oddity", ODDITIES)
def test_odd_latch_halts_at_attach(tmp_path: Path, oddity: str) -> None:
    """Whatever stands in the latch's place at attach, the kernel is HALTED, also if a symlink leads to an armed one."""
    home = arm(tmp_path / "home")
    home.latch.unlink()
    ODDITIES[oddity][0](home.latch)
    _halted_at_attach(home.path)


@pytest.mark.parametrize("changes", [{"v": 2}, {"home": OTHER_ID}, {"home": 5}, {"epoch": 7}], ids=str)
def test_foreign_latch_halts_at_attach(tmp_path: Path, changes: dict[str, object]) -> None:
    """A latch of another version or home comes up HALTED; one of a newer epoch is a reset, and comes up IDLE."""
    home = arm(tmp_path / "home")
    if "epoch" in changes:
        home.latch.write_bytes(_forged(**changes))
        with attach(home.path) as kernel:
            assert kernel.mode is Mode.IDLE
        return
    home.latch.write_bytes(_forged(**changes))
    _halted_at_attach(home.path)


def test_two_threads_never_mix_their_records(tmp_path: Path) -> None:
    """However many threads write the latch at once, what stands there is one whole record of one of them."""
    path = tmp_path / "latch.json"
    records = [attrs.evolve(ARMED, reason=f"{number}" * (number + 1) * 50) for number in range(4)]
    together = threading.Barrier(len(records))

    def write(latch: Latch) -> None:
        together.wait()
        for _ in range(25):
            write_latch(path, latch)
            assert read_latch(path)[0] in records

    with ThreadPoolExecutor(len(records)) as pool:
        list(pool.map(write, records))
    assert [each.name for each in tmp_path.iterdir()] == ["latch.json"]
