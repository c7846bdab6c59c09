"""The verifier against whole journals: each answer, each damage, every byte of a small one."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.verify import Report, Status, verify
from interlock.verify.lines import LINE_MAX
from interlock.verify.report import ACTIONS_MAX, DOUBTS_MAX, FINDINGS_MAX
from interlock.verify.tree import EMPTY, Tree

from .builder import (
    FIELDS,
    Book,
    check,
    check_book,
    record,
    recorded_life,
    render,
    root_of,
    running,
    segment,
    whole_life,
)

LIFE = whole_life(cut=False)
LINES = LIFE.lines
DATA = b"".join(LINES)
SEALS = [number for number, line in enumerate(LINES) if b'"kind":"seal"' in line]
FLIPS = 8


def rules_of(report: Report) -> list[str]:
    """Return the broken rules, in order."""
    return [finding.rule for finding in report.findings]


# --- the answers ---


def test_a_sealed_journal_of_all_kinds_is_verified() -> None:
    """A right journal that ends in a seal and has every kind of record is VERIFIED, exit 0."""
    report = check(DATA)
    assert (report.status, report.findings) == (Status.VERIFIED, ())
    assert (report.exit_code, report.verdict) == (0, "VERIFIED")
    assert (report.records, report.sealed, report.tail_records) == (len(LINES), len(LINES), 0)
    assert report.counts.keys() | check_book(recorded_life()).counts.keys() == FIELDS.keys()
    assert len(report.counts) == len(FIELDS) - 7, "all but those of recorded inputs"
    assert report.root == orjson.loads(LINES[-1])["root"]
    assert report.root_size == len(LINES) - 1
    assert len(report.notes) == 4, "nothing to explain but a recovery, and what was not given"


def test_a_tail_is_verified_to_n() -> None:
    """Records after the last seal make VERIFIED-TO-N with their count, exit 5."""
    report = check_book(running().put("beat").put("beat"))
    assert (report.verdict, report.exit_code) == ("VERIFIED-TO-5", 5)
    assert (report.sealed, report.tail_records) == (5, 2)


def test_torn_bytes_are_not_tampering() -> None:
    """Bytes after the last line feed of the last segment are counted and are no tampering."""
    report = check(*running().lines, b'{"v":1,"se')
    assert (report.verdict, report.torn_bytes, report.records) == ("VERIFIED-TO-5", 10, 5)


@pytest.mark.parametrize("segments", [[], [(segment(0), [])], [(segment(0), [b""])]])
def test_no_records_prove_nothing(segments: list[tuple[str, list[bytes]]]) -> None:
    """An empty or missing journal is VERIFIED-TO-0 with exit 5, and says why."""
    report = verify(segments)
    assert (report.verdict, report.exit_code, report.root, report.root_size) == ("VERIFIED-TO-0", 5, None, 0)
    assert "no records" in report.notes[0]


def test_an_open_permit_is_in_doubt() -> None:
    """A permit without an outcome and without word from the venue is IN-DOUBT, and is named."""
    report = check_book(running().put("permit").put("seal"))
    assert (report.verdict, report.exit_code, report.in_doubt_total) == ("IN-DOUBT", 5, 1)
    assert [(doubt.permit, doubt.order) for doubt in report.in_doubt] == [(5, "o1")]


@pytest.mark.parametrize("word", ["accept", "fill", "cancelled", "reject"])
@pytest.mark.parametrize("unknown", [True, False])
def test_the_venue_ends_a_doubt(word: str, *, unknown: bool) -> None:
    """An unknown or open permit leaves doubt only until the venue has said anything about it."""
    book = running().put("permit")
    if unknown:
        book.put("unknown", permit=5, begun=5000)
    assert check_book(book.put("seal")).status is Status.IN_DOUBT
    assert check_book(book.put(word, id="other").put("seal")).status is Status.IN_DOUBT
    assert check_book(book.put(word).put("seal")).status is Status.VERIFIED


def test_word_before_the_permit_ends_no_doubt() -> None:
    """What the venue said about an order id before its permit does not end the permit's doubt."""
    assert check_book(running().put("accept").put("permit").put("seal")).status is Status.IN_DOUBT


def test_doubt_outweighs_a_tail() -> None:
    """A journal with a tail and a doubt is IN-DOUBT and still gives the tail."""
    report = check_book(running().put("permit"))
    assert (report.status, report.tail_records) == (Status.IN_DOUBT, 1)


def test_the_report_says_who_halted_reset_and_started() -> None:
    """Arms, starts, halts and resets are listed with who, why, when and where."""
    report = check(DATA)
    kinds = ["arm", "start", "start", "halt", "reset", "start", "halt"]
    assert [action.kind for action in report.actions] == kinds
    halt = report.actions[3]
    assert (halt.who, halt.why, halt.epoch) == ("ann", "OPERATOR: enough", 1)
    assert halt.ts == orjson.loads(LINES[halt.seq])["record"]["ts"]


def test_a_report_is_plain_json() -> None:
    """A report turns into JSON that carries the answer, the inputs and what it can't know."""
    plain = orjson.loads(orjson.dumps(check(DATA[:-1]).to_json()))
    assert plain["status"] == "VERIFIED-TO-N"
    assert plain["verdict"] == f"VERIFIED-TO-{SEALS[-2] + 1}"
    assert (plain["exit_code"], plain["inputs"]) == (5, [])
    assert len(plain["cannot_know"]) == len(check(b"").cannot_know) > 0


def test_lists_in_a_report_are_bounded() -> None:
    """However much there is to tell, lists stay short and the totals are told."""
    book = running()
    for number in range(DOUBTS_MAX + 5):
        book.put("permit", id=f"p{number}")
    for _ in range(ACTIONS_MAX + 5):
        book.put("halt", first=False)
        book.put("start")
    report = check_book(book)
    assert report.status is Status.TAMPERED
    assert (len(report.findings), report.findings_total) == (FINDINGS_MAX, ACTIONS_MAX + 5)
    assert (len(report.in_doubt), report.in_doubt_total) == (DOUBTS_MAX, DOUBTS_MAX + 5)
    assert (len(report.actions), report.actions_total) == (ACTIONS_MAX, 2 * ACTIONS_MAX + 12)


# --- bytes and segments ---


@given(st.lists(st.integers(0, len(DATA)), max_size=40))
def test_chunks_do_not_matter(cuts: list[int]) -> None:
    """The answer does not depend on where the bytes are cut into chunks."""
    edges = sorted({0, len(DATA), *cuts})
    chunks = [DATA[one:two] for one, two in pairwise(edges)]
    assert check(*chunks) == check(DATA)


def test_single_bytes_do() -> None:
    """Chunks of one byte give the same answer, with progress told to the last byte."""
    told: list[int] = []
    single = (DATA[place : place + 1] for place in range(len(DATA)))
    assert verify([(segment(0), single)], told.append) == check(DATA)
    assert told == list(range(1, len(DATA) + 1))


def test_a_segment_begins_where_its_record_says_so_and_nowhere_else() -> None:
    """A journal that is cut into two segments at any record breaks Segments there, and is else like the whole one."""
    for cut in range(1, len(LINES)):
        report = verify([(segment(0), LINES[:cut]), (segment(cut), LINES[cut:])])
        unsealed = ["Segments"] * (cut - 1 not in SEALS)
        assert rules_of(report) == ["Segments", *unsealed], cut
        assert {(found.file, found.line, found.seq) for found in report.findings} == {(segment(cut), 1, cut)}
        assert attrs.evolve(report, status=Status.VERIFIED, findings=(), findings_total=0) == check(DATA)


def test_a_segment_must_bear_its_number() -> None:
    """A segment whose number is not that of its first record, or missing, breaks Sequence."""
    for first in (3, 5):
        report = verify([(segment(0), LINES[:4]), (segment(first), LINES[4:])])
        assert rules_of(report) == ["Sequence"]
        assert (report.findings[0].file, report.findings[0].line) == (segment(first), 1)
    assert rules_of(verify([(segment(4), LINES[4:])])) == ["Sequence"]


@pytest.mark.parametrize("name", ["0.jsonl", segment(0)[:-1], "x" * 20 + ".jsonl", "", "²" * 20])
def test_a_segment_must_have_a_segments_name(name: str) -> None:
    """A name that is not twenty digits and .jsonl breaks Structure."""
    assert rules_of(verify([(name, LINES)])) == ["Structure"]


def test_an_empty_last_segment_is_nothing() -> None:
    """A segment that was begun and holds nothing yet changes nothing."""
    assert verify([(segment(0), LINES), (segment(len(LINES)), [])]) == check(DATA)


def test_a_torn_line_before_another_segment_is_tampering() -> None:
    """Torn bytes in a segment that is not the last break Structure there."""
    report = verify([(segment(0), [*LINES[:4], LINES[4][:-1]]), (segment(5), LINES[5:])])
    assert rules_of(report) == ["Structure"]
    assert (report.findings[0].file, report.findings[0].line) == (segment(0), 5)
    assert report.torn_bytes == 0


def test_a_line_has_an_end() -> None:
    """Too long a line breaks Structure, and without a line feed it is only torn."""
    million = b"x" * 2**20
    long = [million] * (LINE_MAX // 2**20) + [b"x"]
    assert check(*LINES, *long).torn_bytes == LINE_MAX + 1
    for end in ([b"\n"], [b"\n" + LINES[0]]):
        report = check(*LINES, *long, *end)
        assert rules_of(report) == ["Structure"]
        assert (report.findings[0].line, "longer" in report.findings[0].message) == (len(LINES) + 1, True)


def test_the_longest_line_is_read() -> None:
    """A line of just the greatest length is right, and one byte more is not, however it comes."""
    short = len(orjson.dumps(record("anomaly", seq=5, mono=4000, detail="")))
    for more, rules in ((0, []), (1, ["Structure"])):
        lines = running().put("anomaly", detail="x" * (LINE_MAX - short + more)).put("seal").lines
        assert len(lines[5]) - 1 == LINE_MAX + more
        for size in (2**20, 2**20 - 1, len(lines[5])):
            data = b"".join(lines)
            chunks = [data[place : place + size] for place in range(0, len(data), size)]
            assert rules_of(check(*chunks)) == rules


@pytest.mark.parametrize(
    ("bad", "rule"),
    [(b"{}\n", "Structure"), (LINES[2], "Sequence"), (b"x" * (LINE_MAX + 1) + b"\n", "Structure")],
)
def test_reading_stops_where_nothing_can_be_believed(bad: bytes, rule: str) -> None:
    """After a broken line or number nothing more is read, neither there nor in a later segment."""

    def chunks() -> Iterator[bytes]:
        yield LINES[0]
        yield bad
        raise AssertionError

    assert rules_of(verify([(segment(0), chunks())])) == [rule]
    assert rules_of(verify([(segment(0), [LINES[0], bad]), ("", [b"x"])])) == [rule]


# --- damage, everywhere ---


def test_every_deleted_line_is_found() -> None:
    """To delete any line but the last is tampering; without the last seal there is a tail."""
    for place in range(len(LINES) - 1):
        assert check(*LINES[:place], *LINES[place + 1 :]).status is Status.TAMPERED, place
    assert check(*LINES[:-1]).verdict == f"VERIFIED-TO-{SEALS[-2] + 1}"


def test_every_doubled_line_is_found() -> None:
    """To repeat any line is tampering."""
    for place in range(len(LINES)):
        report = check(*LINES[: place + 1], *LINES[place:])
        assert rules_of(report) == ["Sequence"]
        assert report.findings[0].line == place + 2


def test_every_swap_is_found() -> None:
    """To swap any line with the next is tampering."""
    for place in range(len(LINES) - 1):
        swapped = [LINES[place + 1], LINES[place]]
        assert check(*LINES[:place], *swapped, *LINES[place + 2 :]).status is Status.TAMPERED


def test_every_truncation_is_told() -> None:
    """A truncation is never called tampering, and VERIFIED only if it ends exactly at a seal."""
    ends = {sum(map(len, LINES[: seal + 1])): seal + 1 for seal in SEALS}
    for size in range(len(DATA) + 1):
        cut = DATA[:size]
        report = check(cut)
        assert report.status is not Status.TAMPERED, size
        assert report.sealed == max((n for end, n in ends.items() if end <= size), default=0)
        assert report.torn_bytes == size - cut.rfind(b"\n") - 1
        assert report.records == cut.count(b"\n") == report.sealed + report.tail_records
        if report.status is Status.VERIFIED:
            assert size in ends
        if size in ends:
            assert report.status in {Status.VERIFIED, Status.IN_DOUBT}
        assert any("rolled back" in sentence for sentence in report.cannot_know)


def test_every_flipped_bit_is_found(record_property: Callable[[str, object], None]) -> None:
    """To flip any bit under a seal is tampering; in the last seal only its times can be changed."""
    record_property("bits", len(DATA) * FLIPS)
    seal = len(DATA) - len(LINES[-1])
    times = LINES[-1].index(b'"ts":'), LINES[-1].index(b',"size"')
    for place in range(len(DATA)):
        for bit in range(FLIPS):
            flipped = bytearray(DATA)
            flipped[place] ^= 1 << bit
            report = check(bytes(flipped))
            if report.status is not Status.TAMPERED:
                last = place == len(DATA) - 1
                assert last or times[0] < place - seal < times[1], (place, bit)
                assert report.torn_bytes == (len(LINES[-1]) if last else 0)


def test_every_forged_line_is_found() -> None:
    """To put a line in, renumbered but not sealed anew, is tampering; after the end it's a tail."""
    for place in range(len(LINES)):
        after = [orjson.loads(line) for line in LINES[place:]]
        forged = [record("beat", mono=0), *after]
        numbered = [orjson.dumps(r | {"seq": place + i}) + b"\n" for i, r in enumerate(forged)]
        assert check(*LINES[:place], *numbered).status is Status.TAMPERED, place
    seal = orjson.dumps(record("seal", seq=len(LINES), mono=10**9, size=len(LINES))) + b"\n"
    assert rules_of(check(*LINES, seal)) == ["Seals"]


def test_a_new_root_alone_does_not_help() -> None:
    """A changed record with only the next seal made anew breaks the seal after that."""
    # Three seals, before the recovery, which names a root as well.
    lines = LINES[: SEALS[2] + 1]
    records = [orjson.loads(line) for line in lines]
    records[2]["operator"] = "eve"
    anew = render(records)
    assert check(*anew).status is Status.VERIFIED, "who can seal can lie about who did it"
    report = check(*anew[: SEALS[0] + 1], *lines[SEALS[0] + 1 :])
    assert rules_of(report) == ["Seals"]
    assert (report.findings[0].seq, report.sealed) == (SEALS[1], SEALS[0] + 1)


def test_only_the_first_broken_seal_is_told() -> None:
    """A seal that fails is told once, and the rules after it are still replayed."""
    book = running()
    lines = book.put("seal").put("seal").put("permit", epoch=7).put("seal").lines
    lines[2] = lines[2].replace(b"ann", b"eve")
    assert rules_of(check(*lines)) == ["Seals", "NoEmitAfterHalt"]


@pytest.mark.parametrize("size", [4, 6])
def test_a_seal_must_have_its_own_size(size: int) -> None:
    """A seal whose size is not its seq breaks Seals even if its root fits."""
    book = running()
    lines = book.put("seal").lines
    lines[5] = orjson.dumps(orjson.loads(lines[5]) | {"size": size}) + b"\n"
    root = root_of([line[:-1] for line in lines]).hex()
    lines.append(orjson.dumps(record("seal", seq=6, mono=5000, size=6, root=root)) + b"\n")
    report = check(*lines)
    assert (rules_of(report), report.sealed) == (["Seals"], 5)


@pytest.mark.parametrize("torn", [b"", b'{"v":1,"seq":'])
def test_room_set_aside_is_no_part_of_the_journal(torn: bytes) -> None:
    """Zeros behind the last record are neither records nor torn bytes, however many there are."""
    lines = [*LINES, torn + bytes(1 << 22)]
    report = check(*lines)
    assert report.torn_bytes == len(torn)
    assert report.status is (Status.VERIFIED_TO_N if torn else check(*lines[:-1]).status)


# --- the tree ---


@given(st.lists(st.binary(max_size=3), max_size=300), st.integers(1, 300))
def test_the_tree_is_that_of_rfc_6962(leaves: list[bytes], step: int) -> None:
    """However the leaves come, the root is the one that the RFC's recursive words give."""
    tree = Tree()
    for start in range(0, len(leaves), step):
        tree.extend(leaves[start : start + step])
    assert (tree.size, tree.root()) == (len(leaves), root_of(leaves))


def test_every_size_of_tree_is_right() -> None:
    """For each size from 0 to 300 the root is right, and asking for it changes nothing."""
    tree, leaves = Tree(), list[bytes]()
    assert tree.root() == EMPTY
    for size in range(301):
        assert tree.root() == tree.root() == root_of(leaves)
        leaves.append(b"%d" % size)
        tree.extend(leaves[-1:])


# --- the code itself ---


def test_a_report_can_not_be_changed() -> None:
    """A report is frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        check(DATA).records = 0  # type: ignore[misc]


def test_a_book_can_be_short() -> None:
    """A journal of a segment and a run alone is right, and nothing of it is sealed."""
    assert check_book(Book().put("run")).verdict == "VERIFIED-TO-0"
