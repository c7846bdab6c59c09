"""Damage at every place: by who can not seal, by who can seal and has no key, and on a large journal by samples.

The oracle says of each change whether it must be found. Who can't seal anew is always found. Who can is found by the
rules where a record is needed by another, and everywhere by the checkpoints. What is then left is told as such: it is
legitimately invisible, and there is a test that it is.
"""

import random
from base64 import b64encode
from functools import cache

import attrs
import orjson
import pytest

from interlock.verify import Inputs, Report, Status, verify
from interlock.verify.lines import parse

from .apart import apart
from .builder import ORIGIN, TS, Grower, Json, record, render, split, whole_life
from .large import Large
from .signing import KEY, key_list, signed, trusted

RECORDS = whole_life().records
LINES = render(RECORDS)
SEALS = [number for number, made in enumerate(RECORDS) if made["kind"] == "seal"]


def judged(lines: list[bytes], inputs: Inputs | None = None) -> Report:
    """Verify lines in both ways, which must agree."""
    report = verify(split(lines), inputs=inputs)
    assert apart(split(lines), inputs)[0] == report
    return report


@cache
def keys() -> Inputs:
    """A checkpoint at each seal of the journal as it was."""
    grower = Grower()
    notes: list[tuple[str, bytes]] = []
    for number, line in enumerate(LINES):
        grower.add(line[:-1])
        if number in SEALS:
            text = f"{ORIGIN}\n{number + 1}\n{b64encode(grower.root).decode()}\n"
            text += f"interlock epoch=1 ts={TS + 10**6 + number} why=time\n"
            notes.append((f"{number + 1:020}.note", signed(text, KEY)))
    (told,) = (orjson.loads(line) for line in LINES if b'"kind":"checkpoint"' in line)
    whole = trusted(*notes, lists=(key_list(KEY),))
    assert told["size"] in SEALS or told["size"] - 1 in SEALS
    return attrs.evolve(whole, notes=None, anchors=tuple(notes))


def resealed(records: list[Json], place: int, by: int) -> list[bytes]:
    """Number records anew and seal them, letting what names a record from a place on still name the same."""
    anew = []
    for made in records:
        moved = dict(made)
        for key in ("permit", "cancel", "sealed"):
            if moved.get(key, -1) >= place:
                moved[key] += by
        if moved["kind"] == "recover":
            lines = render(anew)
            grower = Grower()
            for line in lines[: moved["sealed"]]:
                grower.add(line[:-1])
            moved["root"] = grower.root.hex()
        if moved["kind"] == "salvage":
            inner = dict(moved["record"])
            for key in ("permit", "seq"):
                if inner.get(key, -1) >= place:
                    inner[key] += by
            moved["record"] = inner
        anew.append(moved)
    return render(anew)


def test_the_journal_is_right_and_signed() -> None:
    """Before any damage the journal is VERIFIED, signed to its end; numbered and sealed anew it is the same."""
    assert judged(LINES).status is Status.VERIFIED
    report = judged(LINES, keys())
    assert (report.status, report.signed, report.findings) == (Status.VERIFIED, len(LINES), ())
    assert resealed(RECORDS, 0, 0) == LINES


# --- who can not seal ---


def test_every_line_that_is_deleted_doubled_moved_or_put_in_is_found() -> None:
    """Without new seals any line deleted, doubled, swapped with another or put in is TAMPERED; the last is a tail."""
    for place, line in enumerate(LINES):
        if place < len(LINES) - 1:
            assert judged([*LINES[:place], *LINES[place + 1 :]]).status is Status.TAMPERED, place
        assert judged([*LINES[:place], line, *LINES[place:]]).status is Status.TAMPERED, place
        for other in range(place + 1, len(LINES)):
            lines = [*LINES]
            lines[place], lines[other] = lines[other], lines[place]
            assert verify(split(lines)).status is Status.TAMPERED, (place, other)
        forged = orjson.dumps(record("anomaly", seq=place, mono=RECORDS[place]["mono"])) + b"\n"
        assert judged([*LINES[:place], forged, *LINES[place:]]).status is Status.TAMPERED, place
        assert judged([*LINES[:place], forged, *LINES[place + 1 :]]).status is Status.TAMPERED, place


def test_every_number_that_is_changed_is_found() -> None:
    """Any line that bears another number than its place, one earlier, later or far off, is TAMPERED there."""
    for place, line in enumerate(LINES):
        for number in {place - 1, place + 1, place + 1000, 2**53 - 1, 2**53} - {-1}:
            changed = line.replace(b'"seq":%d,' % place, b'"seq":%d,' % number, 1)
            report = judged([*LINES[:place], changed, *LINES[place + 1 :]])
            assert report.findings[0].seq == place
            assert report.findings[0].rule == ("Structure" if number == 2**53 else "Sequence")


def test_every_value_of_every_record_that_is_made_too_large_or_of_no_kind_is_found() -> None:
    """Any integer made 2^53, any key doubled, any kind made unknown, any space put in, is a broken Structure there."""
    for place, line in enumerate(LINES):
        made = orjson.loads(line)
        wrong = [line.replace(b'{"v":1,', b'{"v":1,"v":1,'), line.replace(b":", b": ", 1)]
        wrong.append(orjson.dumps(made | {"kind": made["kind"] + "s"}) + b"\n")
        integers = [key for key, value in made.items() if type(value) is int]
        wrong += [orjson.dumps(made | {key: value}) + b"\n" for key in integers for value in (2**53, -1, 1.0, "1")]
        for changed in wrong:
            report = verify(split([*LINES[:place], changed, *LINES[place + 1 :]]))
            rule, seq = report.findings[0].rule, report.findings[0].seq
            assert (rule, seq) == ("Structure", place), changed


def test_every_truncation_is_told_for_what_it_is() -> None:
    """Cut off anywhere the journal is never VERIFIED but at a seal, and never TAMPERED but by a checkpoint."""
    data = b"".join(LINES)
    ends = {sum(map(len, LINES[: seal + 1])) for seal in SEALS}
    for size in range(0, len(data), 5):
        report = verify(split(data[:size].splitlines(keepends=True)))
        assert report.status is not Status.TAMPERED, size
        assert (report.status is not Status.VERIFIED) or size in ends, size
    for end in ends - {len(data)}:
        for size in (end - 1, end, end + 1):
            lines = data[:size].splitlines(keepends=True)
            assert (verify(split(lines)).exit_code == 0) <= (size == end), size
            assert verify(split(lines), inputs=keys()).status is Status.TAMPERED, size


# --- who can seal ---


def needed(place: int) -> bool:
    """The oracle: whether the rules can't do without a record, so that it is missed however the rest is sealed."""
    kind, before = RECORDS[place]["kind"], RECORDS[place - 1]["kind"]
    after = [one["kind"] for one in RECORDS[place + 1 :]]
    run = after[: after.index("run")] if "run" in after else after
    by = {  # what each kind is needed by; the second of two segments only by its name: without it they are one
        "segment": place == 0,
        "seal": "segment" in {before, *after[:1]} or after[:2] == ["run", "recover"],
        "start": not {"permit", "stop", "drain"}.isdisjoint(run),
        "reset": "start" in run,
        **dict.fromkeys(("sent", "void", "unknown"), "stop" in run),
        **dict.fromkeys(("refuse", "flood", "block"), "beat" in run),
        **dict.fromkeys(("run", "permit", "drain", "recover", "salvage"), True),
    }
    return by.get(kind, False)


IDLE = next(number for number, made in enumerate(RECORDS) if made["kind"] == "end")
"""Here a start is allowed: behind a stop."""


def test_every_record_that_is_deleted_under_new_seals_is_found_if_it_is_needed_or_signed() -> None:
    """With all seals made anew a deleted record is found by the rules if another needs it, and else by checkpoints."""
    invisible = set()
    for place in range(len(RECORDS)):
        lines = resealed([*RECORDS[:place], *RECORDS[place + 1 :]], place, -1)
        report = judged(lines)
        if report.status is not Status.TAMPERED:
            invisible.add(place)
        signed_below = [size for size in SEALS if size >= place]
        assert (judged(lines, keys()).status is Status.TAMPERED) is bool(signed_below), place
    assert invisible == {place for place in range(len(RECORDS)) if not needed(place)}


def test_every_record_that_is_put_in_under_new_seals_is_found_if_it_breaks_a_rule_or_by_checkpoints() -> None:
    """With all seals made anew a forged record is found by the rules where none may be, and by checkpoints anywhere."""
    for place in range(1, len(RECORDS)):
        clock = {"mono": RECORDS[place - 1]["mono"], "ts": RECORDS[place - 1]["ts"]}
        for kind in ("permit", "anomaly", "start", "segment", "end"):
            forged = record(kind) | clock
            lines = resealed([*RECORDS[:place], forged, *RECORDS[place:]], place, 1)
            report = judged(lines)
            if kind in {"start", "segment", "end"} and place < len(RECORDS) - 3 and (kind, place) != ("start", IDLE):
                assert report.status is Status.TAMPERED, (kind, place)
            if kind == "permit":
                assert report.status is not Status.VERIFIED, (kind, place)
            assert judged(lines, keys()).status is Status.TAMPERED, (kind, place)


def test_every_pair_of_records_that_are_swapped_under_new_seals_is_found_by_checkpoints() -> None:
    """With all seals made anew, neighbours swapped with their clocks left in place are found by the checkpoints."""
    for place in range(len(RECORDS) - 2):
        one, two = RECORDS[place : place + 2]
        if {one["kind"], two["kind"]} & {"recover", "salvage"} or one["kind"] == two["kind"]:
            continue
        clocks = [{"mono": made["mono"], "ts": made["ts"]} for made in (one, two)]
        lines = render([*RECORDS[:place], two | clocks[0], one | clocks[1], *RECORDS[place + 2 :]])
        assert judged(lines, keys()).status is Status.TAMPERED, place


def test_who_can_seal_and_has_no_key_against_him_is_not_found() -> None:
    """What no rule speaks of can be changed under new seals: VERIFIED, and the report says that it rests on these."""
    lines = resealed([*RECORDS[:2], RECORDS[2] | {"operator": "eve"}, *RECORDS[3:]], 0, 0)
    report = judged(lines)
    assert report.status is Status.VERIFIED
    assert any("rests on the seals alone" in sentence for sentence in report.notes)
    assert judged(lines, keys()).status is Status.TAMPERED


# --- a large journal, by samples ---


@cache
def large() -> list[tuple[str, bytes]]:
    """A journal of some ten thousand records in six segments."""
    return [(f"{first:020}.jsonl", data) for first, data in Large(2400, 400).segments()]


def with_segment(number: int, data: bytes) -> list[tuple[str, list[bytes]]]:
    """The large journal with one segment changed."""
    return [(name, [data if place == number else whole]) for place, (name, whole) in enumerate(large())]


@pytest.mark.parametrize("seed", range(12))
def test_a_sample_of_damage_to_a_large_journal_is_found(seed: int) -> None:
    """A bit flipped, or a line deleted, doubled or swapped at random in a large journal is TAMPERED."""
    random_ = random.Random(seed)  # noqa: S311 - places, not secrets
    number = random_.randrange(len(large()))
    whole = large()[number][1]
    lines = whole.splitlines(keepends=True)
    place = random_.randrange(len(lines) - 2)
    flipped = bytearray(whole)
    bit = random_.randrange((len(whole) - len(lines[-1])) * 8)
    flipped[bit // 8] ^= 1 << bit % 8
    for data in (
        bytes(flipped),
        b"".join([*lines[:place], *lines[place + 1 :]]),
        b"".join([*lines[:place], lines[place], *lines[place:]]),
        b"".join([*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]),
    ):
        segments = with_segment(number, data)
        report = verify(segments)
        assert report.status is Status.TAMPERED
        assert report.findings[0].file == large()[number][0]
        assert apart(segments, remember=100_000)[0] == report


def test_every_line_of_the_large_journal_is_read_the_short_way() -> None:
    """The large journal's lines are of the usual kind, so that what is sampled is the way that most journals take."""
    for _, data in large():
        assert all(isinstance(parse(line), dict) for line in data.splitlines())
