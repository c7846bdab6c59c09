"""Segments that are verified by themselves, in processes or not, and joined: the answer is that of the plain walk.

Every story of the rules is told here again with a new segment begun at each of its records, and at each pair of them.
Nearly all of these journals are wrong in some way, and it does not matter how: the two answers must be the same.
"""

import operator
from itertools import combinations
from pathlib import Path

import pytest

from interlock.verify import Inputs, Status, crew, verify
from interlock.verify.guess import Question, look
from interlock.verify.joint import _answers
from interlock.verify.walk import Walk

from . import test_recorded
from .apart import apart
from .builder import Book, Json, recorded_life, render, split, whole_life
from .large import Large
from .test_rules import BAD, BAD_RECOVERY, GOOD

STORIES = (
    {f"good: {name}": make for name, make in GOOD.items()}
    | {f"bad: {name}": make for name, (make, _) in BAD.items()}
    | {f"recovery: {name}": make for name, (make, _) in BAD_RECOVERY.items()}
    | {f"recorded, good: {name}": make for name, make in test_recorded.GOOD.items()}
    | {f"recorded, bad: {name}": make for name, (make, _) in test_recorded.BAD.items()}
    | {"recorded: a life": lambda: recorded_life(cut=False)}
)


def _moved(value: object, place: int, by: int) -> object:
    return value + by if isinstance(value, int) and value >= place else value


def cut_at(records: list[Json], place: int) -> list[Json]:
    """Put a seal, a segment and a seal before a record, and let all numbers from there on mean what they did."""
    before = records[place - 1]
    clock = {"mono": before["mono"], "ts": before["ts"]}
    book = Book()
    book.put("seal").put("segment", epoch=max((r["epoch"] for r in records[:place] if "epoch" in r), default=1))
    seal, segment = (made | clock for made in book.records[1:])
    opening = [segment, seal] if before["kind"] == "seal" else [seal, segment, seal]
    after = []
    for record in records[place:]:
        moved = dict(record)
        for one in [moved, *([moved["record"]] if moved["kind"] == "salvage" else [])]:
            for key in ("permit", "cancel", "sealed", *(("seq",) if one is not moved else ())):
                if key in one:
                    one[key] = _moved(one[key], place, len(opening))
        after.append(moved)
    return [*records[:place], *opening, *after]


@pytest.mark.parametrize("name", STORIES)
def test_every_story_is_answered_alike_wherever_it_is_cut(name: str) -> None:
    """With a new segment begun before any record, or any two, the joined answer is that of the plain walk."""
    records = STORIES[name]().put("seal").records
    places = range(2, len(records))
    cuts = [(one,) for one in places] + ([*combinations(places, 2)] if len(records) < 14 else [])
    for cut in cuts:
        whole = records
        for place in reversed(cut):
            whole = cut_at(whole, place)
        segments = split(render(whole))
        assert apart(segments)[0] == verify(segments), cut


def test_most_segments_need_not_be_read_again() -> None:
    """Of the right stories, cut where they may be, more than two thirds of the segments are taken as found."""
    joined = parts = 0
    for make in (*GOOD.values(), *test_recorded.GOOD.values()):
        records = make().put("seal").records
        for place in range(5, len(records)):
            segments = split(render(cut_at(records, place)))
            report, taken = apart(segments)
            if report.status is not Status.TAMPERED:
                joined, parts = joined + taken, parts + len(segments)
    assert parts > 200
    assert joined / parts > 2 / 3


LINES = whole_life().lines


@pytest.mark.parametrize("change", ["delete", "double", "swap"])
def test_damaged_lines_are_answered_alike(change: str) -> None:
    """With any line deleted, doubled or swapped with the next, the joined answer is that of the plain walk."""
    for place in range(1, len(LINES) - 1):
        one, two = LINES[place : place + 2]
        put = {"delete": [two], "double": [one, one, two], "swap": [two, one]}[change]
        segments = split([*LINES[:place], *put, *LINES[place + 2 :]])
        assert apart(segments)[0] == verify(segments), place


def test_flipped_bits_are_answered_alike() -> None:
    """With one bit of any byte flipped, the joined answer is that of the plain walk."""
    for number, line in enumerate(LINES):
        for place in range(len(line)):
            flipped = bytearray(line)
            flipped[place] ^= 1 << (place * 5 + number) % 8
            segments = split(LINES)
            for name, lines in segments:
                first = int(name[-26:-6])
                if first <= number < first + len(lines):
                    lines[number - first] = bytes(flipped)
            assert apart(segments)[0] == verify(segments), (number, place)


def test_truncated_segments_are_answered_alike() -> None:
    """With any segment cut off anywhere, the joined answer is that of the plain walk."""
    for number in range(3):
        whole = split(LINES)[number][1]
        data = b"".join(whole)
        for size in range(0, len(data), 7):
            segments = split(LINES)
            segments[number] = (segments[number][0], [data[:size]])
            assert apart(segments)[0] == verify(segments), (number, size)


def test_a_large_journal_is_joined_whole() -> None:
    """Of a large journal every segment is taken as it was found, the ids and numbers of its permits included."""
    segments = [(f"{first:020}.jsonl", [data]) for first, data in Large(600, 100, 150).segments()]
    report, joined = apart(segments, remember=150)
    assert (joined, report.status) == (6, Status.VERIFIED)
    assert report == verify(segments)


@pytest.mark.parametrize("far", [1, 149, 150, 151, 400])
def test_an_order_id_of_an_earlier_segment_is_known(far: int) -> None:
    """An id that is permitted again is found over segments if it is remembered, and only then."""
    large = Large(600, 100, 150)
    large.rename = {500: 500 - far}
    segments = [(f"{first:020}.jsonl", [data]) for first, data in large.segments()]
    report, _ = apart(segments, remember=150)
    assert report == verify(segments)
    assert (report.status is Status.TAMPERED) is (far <= 150)


def test_a_question_that_is_answered_no_is_no_match() -> None:
    """Each kind of question, asked of a truth that says otherwise, is answered with no."""
    segments = split(whole_life().lines)
    found = look(segments[1][0], [b"".join(segments[1][1])], 1000)
    assert found is not None
    truth = Walk()
    truth.read(segments[:1])
    guess = found.monitor
    for question in (
        Question(kind="sent", number=3),
        Question(kind="total", name="permits", number=99),
        Question(kind="void", number=5),
    ):
        guess.questions = [question]
        assert _answers(truth.monitor, guess) is None
    guess.questions = [Question(kind="waiting"), Question(kind="total", name="permits", number=3)]
    assert _answers(truth.monitor, guess) == {}


def test_processes_give_the_same_answer(tmp_path: Path) -> None:
    """Two processes over a journal of many segments answer as one does, tell how far they are, and miss no damage."""
    directory = tmp_path / "journal"
    Large(2000, 250).write(directory)
    paths = sorted(directory.iterdir())
    told: list[int] = []
    alone = crew.verify_files(paths, Inputs(), jobs=1)
    assert crew.verify_files(paths, Inputs(), jobs=2, progress=told.append) == alone
    assert alone.status is Status.VERIFIED
    assert told == sorted(told)
    data = bytearray(paths[5].read_bytes())
    data[len(data) // 2] ^= 1
    paths[5].write_bytes(data)
    alone = crew.verify_files(paths, Inputs(), jobs=1)
    assert crew.verify_files(paths, Inputs(), jobs=2) == alone
    assert (alone.status, alone.findings[0].file) == (Status.TAMPERED, paths[5].name)


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the processes can't do their work the journal is read here, and the answer is the same."""
    Large(400, 100).write(tmp_path)
    paths = sorted(tmp_path.iterdir())
    monkeypatch.setattr(crew, "_start", operator.index)  # of what it is handed that is a TypeError
    assert crew.verify_files(paths, Inputs(), jobs=2) == crew.verify_files(paths, Inputs(), jobs=1)
