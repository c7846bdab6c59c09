"""The rules about recorded inputs against an attacker who can seal: every journal here has right seals.

Each bad one is a good one with one step too many, or one left out, and must break exactly the rules that are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interlock.verify import Report, Status, verify

from .apart import apart
from .builder import Book, check, check_book, record, recorded_life, recording, render, running, split
from .test_damage import resealed

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCE, CLOCK, TOTALS, MODES = "Sequence", "Clock", "Totals", "Modes"
HALT, BEFORE, ONCE = "NoEmitAfterHalt", "JournalBeforeEmit", "OnePermitOneSend"
SECOND_US = 1_000_000
FLIPS = 8


def told(report: Report) -> list[tuple[str, int]]:
    """Return the broken rules and where, in order."""
    return [(finding.rule, finding.seq) for finding in report.findings]


def permitted() -> Book:
    """Return a journal with recorded inputs whose record 6 is a permit, granted at mono 5000."""
    return recording().put("permit")


def begun() -> Book:
    """Return a journal with recorded inputs whose record 7 is the begin of permit 6, at mono 6000."""
    return permitted().put("begin", permit=6)


def crashed() -> Book:
    """Return a journal whose run was sealed with nothing in it: records 1 and 2."""
    return Book().put("run").put("seal")


def set_back(book: Book) -> Book:
    """Let the clock be behind from here on."""
    book.step_us -= 5 * SECOND_US
    return book


GOOD: dict[str, Callable[[], Book]] = {
    "a send that began": lambda: begun().put("sent", permit=6, begun=6000),
    "a send that began, and nobody knows": lambda: begun().put("unknown", permit=6, begun=6000).put("accept"),
    "a permit that is withdrawn before its send begins": lambda: permitted().put("void", permit=6),
    "an id again whose permit was withdrawn": lambda: (
        permitted().put("void", permit=6).put("permit").put("begin", permit=8).put("sent", permit=8, begun=8000)
    ),
    "two sends at a time": lambda: (
        begun().put("permit", id="o2").put("begin", permit=8).put("sent", permit=6, begun=6000)
        .put("sent", permit=8, begun=8000)
    ),
    "a send that a crash cut off": lambda: begun().put("run").put("unknown", permit=6).put("accept"),
    "a permit that a crash cut off": lambda: permitted().put("run").put("unknown", permit=6).put("accept"),
    "a send that begins behind a closed gate": lambda: (
        permitted().put("drain").put("begin", permit=6).put("sent", permit=6, begun=7000).put("stop")
    ),
    "a send that began before a halt": lambda: (
        begun().put("halt", at=6000).put("sent", permit=6, begun=6000)
    ),
    "a send behind a rebase": lambda: (
        recording().put("rebase", shift=9000).put("permit", mono=5).put("begin", permit=7, mono=6)
        .put("sent", permit=7, begun=6, mono=7)
    ),
    "inputs behind a seal": lambda: crashed().put("inputs").put("heartbeat"),
    "inputs in a later run alone": lambda: (
        running().put("refuse").put("flood").put("run").put("inputs").put("start").put("heartbeat")
    ),
    "inputs in an earlier run alone": lambda: (
        recording().put("heartbeat").put("run").put("start").put("refuse").put("flood")
        .put("permit").put("sent", permit=11, begun=5000)
    ),
    "inputs behind a recovery": lambda: (
        running().recover(1).salvage("beat", seq=5, mono=5000, ticks=9).put("inputs").put("heartbeat")
    ),
    "inputs behind a recovery of nothing": lambda: running().recover(0).put("inputs").put("quote"),
    "inputs that are salvaged": lambda: (
        crashed().recover(2).salvage("inputs", seq=3, mono=2000).salvage("heartbeat", seq=4, mono=3000).put("start")
    ),
    "salvaged inputs, and then the run's own": lambda: (
        crashed().recover(1).salvage("inputs", seq=3, mono=2000).put("inputs").put("heartbeat")
    ),
    "a salvaged begin and its send": lambda: (
        permitted().put("seal").recover(2).salvage("begin", seq=8, mono=8000, permit=6)
        .salvage("sent", seq=9, mono=9000, permit=6, begun=8000)
    ),
    "all of a send, salvaged": lambda: (
        recording().recover(3).salvage("permit", seq=6, mono=6000).salvage("begin", seq=7, mono=7000, permit=6)
        .salvage("sent", seq=8, mono=8000, permit=6, begun=7000)
    ),
    "an odd behind a seal": lambda: recording().put("odd").put("seal").put("quote", bid=None),
    "an odd that a crash cut off": lambda: recording().put("odd").put("seal").put("run").put("start"),
    "an odd whose record is salvaged": lambda: (
        recording().put("odd").put("seal").recover(1).salvage("quote", seq=8, mono=8000, bid=None).put("start")
    ),
    "a salvaged odd without its record": lambda: (
        recording().recover(1).salvage("odd", seq=6, mono=6000).put("inputs").put("quote")
    ),
    "odd words of the venue": lambda: (
        recording().put("odd", field="id").put("accept").put("odd", field="id").put("odd", field="fill").put("fill")
        .put("odd", field="id").put("cancelled").put("odd", field="id").put("reject")
        .put("odd", field="price").put("unread", price=None)
    ),
    "an order that is none": lambda: recording().put("odd", field="").put("odd", field="id").put("refuse", id=None),
    "a tick that is none": lambda: (
        recording().put("odd", field="").put("quote", instrument=None, venue_ts=None, bid=None, ask=None)
        .put("odd", field="").put("trade", price=None)
    ),
    "ticks without what they need not have": lambda: (
        recording().put("quote", received_ts=None, sequence=None, bid_size=None).put("trade", quantity=None)
    ),
    "ticks that are counted": lambda: (
        recording().put("quote").put("trade", code="TICK_STALE").put("quote", code="QUOTE_CROSSED")
        .put("block", count=2).put("beat", ticks=3, consulted=1, blocked=2)
        .put("run").put("inputs").put("beat", ticks=0, consulted=0).put("trade").put("beat", ticks=1, consulted=1)
    ),
    "ticks that nobody counts": lambda: running().put("beat", ticks=7, consulted=7),
    "a clock that went back before inputs": lambda: (
        set_back(running()).put("run").put("inputs").put("anomaly", code="CLOCK_BACK").put("start")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_verified(name: str) -> None:
    """Each journal with recorded inputs that keeps the rules, if only just, is VERIFIED, read in either way."""
    book = GOOD[name]().put("seal")
    report = check_book(book)
    assert (told(report), report.status) == ([], Status.VERIFIED)
    assert apart(book.segments)[0] == report


BAD: dict[str, tuple[Callable[[], Book], list[tuple[str, int]]]] = {
    # Sequence
    **{
        f"{kind} without inputs": (lambda kind=kind: running().put(kind), [(SEQUENCE, 5)])  # type: ignore[misc]
        for kind in ("quote", "trade", "heartbeat", "unread", "odd")
    },
    "begin without inputs": (
        lambda: running().put("permit").put("begin", permit=5).put("sent", permit=5, begun=5000),
        [(SEQUENCE, 6)],
    ),
    "inputs of the run before": (lambda: recording().put("run").put("heartbeat"), [(SEQUENCE, 7)]),
    "inputs that come late": (lambda: Book().put("run").put("arm").put("inputs"), [(SEQUENCE, 3)]),
    "inputs that come late behind a seal": (lambda: crashed().put("arm").put("inputs"), [(SEQUENCE, 4)]),
    "inputs that come late, and are none": (
        lambda: running().put("inputs").put("heartbeat"),
        [(SEQUENCE, 5), (SEQUENCE, 6)],
    ),
    "inputs twice": (lambda: Book().put("run").put("inputs").put("inputs"), [(SEQUENCE, 3)]),
    "inputs after the end": (
        lambda: running().put("end").put("inputs"),
        [(SEQUENCE, 6), (SEQUENCE, 6)],
    ),
    "inputs behind what follows a recovery": (
        lambda: running().recover(0).put("mark").put("inputs"),
        [(SEQUENCE, 8)],
    ),
    "inputs amid a recovery": (
        lambda: running().recover(1).put("inputs").salvage("mark", seq=5, mono=5000),
        [(SEQUENCE, 7), (SEQUENCE, 8)],
    ),
    "salvaged inputs that come late": (
        lambda: running().recover(1).salvage("inputs", seq=5, mono=5000),
        [(SEQUENCE, 7)],
    ),
    "salvaged inputs of which the recovering run makes use": (
        lambda: crashed().recover(1).salvage("inputs", seq=3, mono=3000).put("heartbeat"),
        [(SEQUENCE, 6)],
    ),
    "a flood": (lambda: recording().put("refuse").put("flood"), [(SEQUENCE, 7)]),
    "an odd before what has none": (lambda: recording().put("odd").put("heartbeat"), [(SEQUENCE, 7)]),
    "an odd before the end": (lambda: recording().put("odd").put("end"), [(SEQUENCE, 7)]),
    "an odd before a permit": (
        lambda: recording().put("odd", field="price").put("permit").put("void", permit=7),
        [(SEQUENCE, 7)],
    ),
    "an odd of another kind's key": (
        lambda: recording().put("odd", field="price").put("quote"),
        [(SEQUENCE, 7)],
    ),
    "an odd of what the kernel itself says": (
        lambda: recording().put("odd", field="code").put("quote").put("odd", field="limit").put("refuse", limit=None),
        [(SEQUENCE, 7), (SEQUENCE, 9)],
    ),
    "an odd of a fill itself": (lambda: recording().put("odd", field="").put("unread"), [(SEQUENCE, 7)]),
    "an odd twice": (
        lambda: recording().put("odd").put("odd").put("quote", bid=None),
        [(SEQUENCE, 7)],
    ),
    "an odd of what is there": (lambda: recording().put("odd").put("quote"), [(SEQUENCE, 7)]),
    "an odd after its record": (
        lambda: recording().put("quote", bid=None).put("odd").put("seal").put("run"),
        [(SEQUENCE, 6)],
    ),
    "an odd of another run": (
        lambda: recording().put("odd").put("seal").put("run").put("inputs").put("quote", bid=None),
        [(SEQUENCE, 10)],
    ),
    "an odd for two": (
        lambda: recording().put("odd").put("quote", bid=None).put("quote", bid=None),
        [(SEQUENCE, 8)],
    ),
    "an odd of something else": (
        lambda: recording().put("odd").put("quote", bid=None, ask=None),
        [(SEQUENCE, 7)],
    ),
    **{
        f"a {kind} without {key}": (
            lambda kind=kind, key=key: recording().put(kind, **{key: None}),  # type: ignore[misc]
            [(SEQUENCE, 6)],
        )
        for kind, keys in {
            "quote": ("instrument", "venue_ts", "bid", "ask"),
            "trade": ("instrument", "venue_ts", "price"),
        }.items()
        for key in keys
    },
    # JournalBeforeEmit
    "a send without a begin": (lambda: permitted().put("sent", permit=6, begun=6000), [(BEFORE, 7)]),
    "an unknown without a begin": (
        lambda: permitted().put("unknown", permit=6, begun=6000).put("reject"),
        [(BEFORE, 7)],
    ),
    "a send later than its begin": (lambda: begun().put("sent", permit=6, begun=6001), [(BEFORE, 8)]),
    "an unknown earlier than its begin": (
        lambda: begun().put("unknown", permit=6, begun=5999).put("reject"),
        [(BEFORE, 8)],
    ),
    "a void after its begin": (lambda: begun().put("void", permit=6), [(BEFORE, 8)]),
    "a second begin": (
        lambda: begun().put("begin", permit=6, mono=6000).put("sent", permit=6, begun=6000),
        [(BEFORE, 8)],
    ),
    "a begin of nothing": (lambda: recording().put("begin", permit=4), [(BEFORE, 6)]),
    "a begin of itself": (lambda: recording().put("begin", permit=6), [(BEFORE, 6)]),
    "a begin after its send": (
        lambda: permitted().put("sent", permit=6, begun=6000).put("begin", permit=6),
        [(BEFORE, 7), (BEFORE, 8)],
    ),
    "a begin after its void": (
        lambda: permitted().put("void", permit=6).put("begin", permit=6),
        [(BEFORE, 8)],
    ),
    "a begin of another permit": (
        lambda: begun().put("permit", id="o2").put("sent", permit=8, begun=6000).put("sent", permit=6, begun=6000),
        [(BEFORE, 9), (BEFORE, 9)],
    ),
    "a begin by a later run": (
        lambda: permitted().put("run").put("inputs").put("start").put("begin", permit=6).put("unknown", permit=6)
        .put("accept"),
        [(BEFORE, 10)],
    ),
    "a salvaged send without its begin": (
        lambda: permitted().put("seal").recover(1).salvage("sent", seq=8, mono=8000, permit=6, begun=7000),
        [(BEFORE, 10)],
    ),
    "a salvaged send of another time than its begin": (
        lambda: permitted().put("seal").recover(2).salvage("begin", seq=8, mono=8000, permit=6)
        .salvage("sent", seq=9, mono=9000, permit=6, begun=8001),
        [(BEFORE, 11)],
    ),
    # NoEmitAfterHalt
    "a begin after a halt": (lambda: permitted().put("halt").put("begin", permit=6).put("fill"), [(HALT, 8)]),
    "a begin after a halt, and its send": (
        lambda: permitted().put("halt", at=5500).put("begin", permit=6).put("sent", permit=6, begun=7000),
        [(HALT, 8), (HALT, 9)],
    ),
    "a begin of an earlier epoch": (
        lambda: permitted().put("halt").put("reset").put("start", epoch=2).put("begin", permit=6).put("fill"),
        [(HALT, 10)],
    ),
    "a begin after a stop": (
        lambda: permitted().put("stop").put("begin", permit=6).put("sent", permit=6, begun=7000),
        [(MODES, 7), (HALT, 8)],
    ),
    # Totals
    "fewer ticks than are told": (
        lambda: recording().put("quote").put("beat", ticks=2, consulted=2),
        [(TOTALS, 7)],
    ),
    "more ticks than are told": (
        lambda: recording().put("quote").put("trade").put("beat", ticks=1, consulted=1),
        [(TOTALS, 8)],
    ),
    "a tick that was blocked and is not told": (
        lambda: recording().put("trade", code="TICK_STALE").put("beat", ticks=1, consulted=1),
        [(TOTALS, 7)],
    ),
    "a block of a tick that was accepted": (
        lambda: recording().put("quote").put("block", count=1).put("beat", ticks=1, consulted=0, blocked=1),
        [(TOTALS, 8)],
    ),
    "ticks of the run before": (
        lambda: recording().put("quote").put("run").put("inputs").put("beat", ticks=1, consulted=1),
        [(TOTALS, 9)],
    ),
    # Clock
    "a clock that went back before inputs without a word": (
        lambda: set_back(running()).put("run").put("inputs").put("start"),
        [(CLOCK, 7)],
    ),
    "a begin whose time goes back": (
        lambda: permitted().put("begin", permit=6, mono=4999).put("fill"),
        [(SEQUENCE, 7)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_forbidden_is_tampering_however_it_is_sealed(name: str) -> None:
    """Each journal with one step too many or too few breaks the named rules there, right seals or not."""
    make, findings = BAD[name]
    report = check_book(make().put("seal"))
    assert (told(report), report.exit_code) == (findings, 6)
    assert report.sealed == report.records, "the seals themselves hold"


# --- everywhere ---

RECORDS = recorded_life().records
LINES = render(RECORDS)


def test_a_life_with_recorded_inputs_is_verified() -> None:
    """A right journal with every kind of recorded input is VERIFIED, and each of its segments by itself, too."""
    report, joined = apart(split(LINES))
    assert (report.status, report.findings, joined) == (Status.VERIFIED, (), 2)
    assert report == verify(split(LINES))


def test_every_flipped_bit_is_found() -> None:
    """To flip any bit under a seal is tampering; in the last seal only its times can be changed."""
    lines = recorded_life(cut=False).lines
    data = b"".join(lines)
    seal = len(data) - len(lines[-1])
    times = lines[-1].index(b'"ts":'), lines[-1].index(b',"size"')
    for place in range(len(data)):
        for bit in range(FLIPS):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            if check(bytes(flipped)).status is not Status.TAMPERED:
                assert place == len(data) - 1 or times[0] < place - seal < times[1], (place, bit)


def needed(place: int) -> bool:
    """The oracle: whether the rules can't do without a record, so that it is missed however the rest is sealed."""
    made = RECORDS[place]
    kind, before, after = made["kind"], RECORDS[place - 1]["kind"], [one["kind"] for one in RECORDS[place + 1 :]]
    if kind == "odd":  # where there is something to print it stands in the record itself, too
        return made["field"] in {"", "bid"}
    if kind == "seal":
        return "segment" in {before, *after[:1]} or after[:2] == ["run", "recover"]
    if kind == "inputs":
        return "heartbeat" in after
    idle = {"arm", "heartbeat", "sent", "void", "beat", "end"}
    return kind not in idle and (kind, place) != ("segment", SECOND)


SECOND = next(place for place, made in enumerate(RECORDS) if made["kind"] == "segment" and place)


def test_every_record_that_is_deleted_under_new_seals_is_found_if_it_is_needed() -> None:
    """With all seals made anew a deleted record is found by the rules if another needs it, and only then."""
    invisible = set()
    for place in range(len(RECORDS)):
        lines = resealed([*RECORDS[:place], *RECORDS[place + 1 :]], place, -1)
        report = verify(split(lines))
        assert apart(split(lines))[0] == report
        if report.status is not Status.TAMPERED:
            invisible.add(place)
    assert invisible == {place for place in range(len(RECORDS)) if not needed(place)}


@pytest.mark.parametrize("kind", ["inputs", "begin", "flood", "odd"])
def test_what_is_put_in_under_new_seals_is_found(kind: str) -> None:
    """With all seals made anew a second `inputs`, a `begin` or `odd` of nothing and a `flood` are found anywhere."""
    for place in range(1, len(RECORDS)):
        before = RECORDS[place - 1]
        forged = record(kind) | {"mono": before["mono"], "ts": before["ts"]}
        if kind == "odd" and RECORDS[place]["kind"] in {"odd", "quote", "seal"}:
            continue  # that of a quote with a null there, or the last before a crash
        lines = resealed([*RECORDS[:place], forged, *RECORDS[place:]], place, 1)
        report = verify(split(lines))
        assert report.status is Status.TAMPERED, place
        assert apart(split(lines))[0] == report


def test_flipped_bits_are_answered_alike() -> None:
    """With one bit of any byte flipped, the joined answer is that of the plain walk."""
    for number, line in enumerate(LINES):
        for place in range(0, len(line), 3):
            flipped = bytearray(line)
            flipped[place] ^= 1 << (place * 5 + number) % FLIPS
            segments = split([*LINES[:number], bytes(flipped), *LINES[number + 1 :]])
            assert apart(segments)[0] == verify(segments), (number, place)
