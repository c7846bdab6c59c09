"""The names of orders that are being sent, from journals that somebody may be writing, and that may hang."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from interlock.breaker import naming
from interlock.breaker.naming import with_orders
from interlock.breaker.quiet import InFlight, Waiting
from interlock.breaker.segment import segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


def waits(*permits: int, engine: str = "a") -> Waiting:
    """Return an engine that is inside these sends."""
    sends = tuple(
        InFlight(engine=engine, pid=5, permit=permit, client_order_id="", instrument="", for_ns=1) for permit in permits
    )
    return Waiting(engine=engine, pid=5, in_flight=sends, why="it is inside a send", unnamed=1)


def permit(seq: int, name: str) -> bytes:
    """Return the record of a permit."""
    return b'{"v":1,"seq":%d,"kind":"permit","id":"%s","instrument":"EURUSD"}\n' % (seq, name.encode())


def write(journal: Path, seq: int, *lines: bytes, engine: str = "a") -> Path:
    """Write a segment."""
    (journal / engine).mkdir(exist_ok=True, parents=True)
    path = journal / engine / segment_name(seq)
    path.write_bytes(b"".join(lines))
    return path


def names(journal: Path, *who: Waiting) -> list[list[tuple[str, str]]]:
    """Return what the orders of each are called, with nothing else changed."""
    found = with_orders(journal, who)
    assert [(one.engine, one.pid, one.why, one.unnamed) for one in found] == [
        (one.engine, one.pid, one.why, one.unnamed) for one in who
    ]
    return [[(one.client_order_id, one.instrument) for one in each.in_flight] for each in found]


def test_orders_are_named_from_the_segment_that_has_their_permit(tmp_path: Path) -> None:
    """Each engine's own journal is asked, also an older segment of it; what it does not have is left without a name."""
    write(tmp_path, 0, b'{"v":1,"seq":0,"kind":"open"}\n', permit(1, "one"))
    write(tmp_path, 5, permit(5, "five"), b'{"v":1,"seq":6,"kind":"sent"}\n', permit(7, "seven"))
    write(tmp_path, 0, permit(1, "other"), engine="b")
    found = names(tmp_path, waits(1, 5, 7, 6, 8), waits(1, engine="b"), waits(), waits(1, engine="c"))
    one, five, seven = (("one", "EURUSD"), ("five", "EURUSD"), ("seven", "EURUSD"))
    assert found == [[one, five, seven, ("", ""), ("", "")], [("other", "EURUSD")], [], [("", "")]]


def test_permit_before_the_first_segment_is_nobodys(tmp_path: Path) -> None:
    """A journal whose beginning is elsewhere names what it has."""
    write(tmp_path, 5, permit(5, "five"))
    assert names(tmp_path, waits(4, 5)) == [[("", ""), ("five", "EURUSD")]]


def test_process_that_is_no_engine_has_no_journal(tmp_path: Path) -> None:
    """Where there is no engine's name nothing is looked up, not even in the directory of all journals."""
    (tmp_path / segment_name(0)).write_bytes(permit(1, "one"))
    assert names(tmp_path, waits(1, engine="")) == [[("", "")]]


def test_record_that_is_torn_or_no_record_names_nothing(tmp_path: Path) -> None:
    """A line without its end is being written still; one that can't be read keeps no other from being named."""
    torn = b'{"v":1,"seq":3,"kind":"permit","id":"x"\n'
    write(tmp_path, 0, permit(1, "one"), torn, permit(4, "four")[:-1])
    assert names(tmp_path, waits(3, 1, 4)) == [[("", ""), ("one", "EURUSD"), ("", "")]]


def test_first_line_of_a_segment_is_read_as_well(tmp_path: Path) -> None:
    """A permit may be the first record of all."""
    write(tmp_path, 0, permit(0, "zero"))
    assert names(tmp_path, waits(0)) == [[("zero", "EURUSD")]]


def test_of_a_long_segment_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being sent is at a journal's end, and no more of it than that is held in memory."""
    first, last = permit(1, "one"), permit(2, "two")
    write(tmp_path, 0, first, last)
    for room, found in (
        (len(last), ["", "two"]),
        (len(last) + len(first) - 1, ["", "two"]),
        (len(last) + len(first), ["one", "two"]),
        (1000, ["one", "two"]),
    ):
        monkeypatch.setattr(naming, "_LONGEST_SEARCH", room)
        assert [name for name, _ in names(tmp_path, waits(1, 2))[0]] == found


def test_name_in_a_compressed_segment_is_too_old_to_matter(tmp_path: Path) -> None:
    """Nothing is read of a segment that was compressed: no send is so old."""
    assert naming._end_of(tmp_path / f"{segment_name(0)}.zst") == b""


def test_link_or_pipe_instead_of_a_segment_is_not_read(tmp_path: Path) -> None:
    """What is no file of the journal is left out, and nobody waits for its other end."""
    path = write(tmp_path, 0, permit(1, "one"))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path, waits(1)) == [[("", "")]]
    path.unlink()
    os.mkfifo(path)
    before = threading.active_count()
    assert names(tmp_path, waits(1)) == [[("", "")]]
    assert threading.active_count() == before


def test_journal_that_hangs_leaves_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found before the disk hung is named, and nobody waits for the rest; nor is a thread needed."""
    over, hangs = threading.Event(), threading.Event()

    def permits(_: Path, wanted: set[int]) -> Iterator[tuple[int, dict[str, object]]]:
        yield min(wanted), {"id": "one", "instrument": "EURUSD"}
        hangs.set()
        over.wait()

    def join(_: threading.Thread, timeout: float) -> None:
        assert timeout == 0.5
        assert hangs.wait(60)  # as long as the disk takes to begin to hang

    with monkeypatch.context() as patch:
        patch.setattr(naming, "_permits", permits)
        patch.setattr(threading.Thread, "join", join)
        assert names(tmp_path, waits(1, 2)) == [[("one", "EURUSD"), ("", "")]]
    (hung,) = (thread for thread in threading.enumerate() if thread.name == "interlock-naming")
    assert hung.daemon  # nor does the process wait for it at its end
    over.set()
    hung.join(60)

    def none(_: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", none)
    assert names(tmp_path, waits(1)) == [[("", "")]]


def test_record_without_a_name_names_nothing(tmp_path: Path) -> None:
    """A record that says neither order nor instrument is no name."""
    write(tmp_path, 0, b'{"v":1,"seq":1,"kind":"permit"}\n')
    assert names(tmp_path, waits(1)) == [[("", "")]]
