"""What the report counts of a journal that breaks the rules is what the verifier finds in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.verify.builder import TS, Book, check_book, running

from interlock.ops.bundle.facts import Facts
from interlock.ops.bundle.plan import Span
from interlock.ops.bundle.story import Story
from interlock.ops.bundle.tree import Folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LATE: dict[str, tuple[Callable[[], Book], int]] = {
    "in time": (lambda: permitted().put("halt", at=5500).put("sent", permit=5, begun=5500), 0),
    "in HALTED": (lambda: permitted().put("halt", at=5500).put("sent", permit=5, begun=5600), 1),
    "an unknown one": (lambda: permitted().put("halt", at=5500).put("unknown", permit=5, begun=5600), 1),
    "after a reset": (lambda: permitted().put("halt", at=5500).put("reset").put("sent", permit=5, begun=5600), 1),
    "after a start": (
        lambda: permitted().put("halt", at=5500).put("reset").put("start", epoch=2).put("sent", permit=5, begun=9000),
        1,
    ),
    "after an earlier halt that was told later": (
        lambda: permitted().put("halt", mono=9500, at=9000).put("halt", at=5500).put("sent", permit=5, begun=8000),
        1,
    ),
    "after a halt that is dated later than its record": (
        lambda: permitted().put("halt", at=9_000_000).put("sent", permit=5, begun=7000, mono=8000),
        1,
    ),
}


def permitted() -> Book:
    """A journal whose record 5 is a permit, granted at mono 5000."""
    return running().put("permit", mono=5000)


def told(book: Book, place: Path, *spans: Span) -> list[Facts]:
    """What is counted of it, for each of the spans."""
    [(segment, lines)] = book.segments
    path = place / "journal" / "demo" / segment.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(lines))
    found = [Facts("demo", span) for span in spans]
    for entry in Story(Folder(place), "demo"):
        for facts in found:
            facts.feed(entry)
    return found


@pytest.mark.parametrize("name", LATE)
def test_late_sends_are_those_that_the_verifier_finds(tmp_path: Path, name: str) -> None:
    """A send that began after a halt is counted as late, whatever stands between that halt and its record."""
    made, wanted = LATE[name]
    book = made().put("seal")
    facts, outside = told(book, tmp_path, Span(), Span(begin_us=TS + 3_600_000_000))
    assert outside.late == 0
    found = [one for one in check_book(book).findings if one.rule == "NoEmitAfterHalt"]
    assert facts.late == len(found) == wanted


@pytest.mark.parametrize(("called_us", "took_us"), [(5_251, 250), (5_501, 0), (5_502, None), (999_999, None)])
def test_time_to_effect_is_never_negative(tmp_path: Path, called_us: int, took_us: int | None) -> None:
    """A halt that was called later than it took effect was called by another clock, and no time is told of it."""
    book = running().put("halt", mono=9_000_000, at=5_500_000, utc=f"2024-08-08T00:00:00.{called_us:06d}Z").put("seal")
    [facts] = told(book, tmp_path, Span())
    [halt] = facts.halts.halts
    assert (halt.took_us, facts.halts.timed) == (took_us, int(took_us is not None))
    assert facts.halts.slowest is (None if took_us is None else halt)
