"""The verifier against an attacker who can seal: every journal here has right seals.

So nothing but the rules stands between these journals and VERIFIED. Each bad one is a good one with
one step too many, and must break exactly the rules that are named.
"""

from collections.abc import Callable

import pytest

from interlock.verify import Report, Status

from .builder import Book, check_book, record, running

MODES, SEQUENCE, SEALS = "Modes", "Sequence", "Seals"
HALT, BEFORE, ONCE = "NoEmitAfterHalt", "JournalBeforeEmit", "OnePermitOneSend"


def told(report: Report) -> list[tuple[str, int]]:
    """Return the broken rules and where, in order."""
    return [(finding.rule, finding.seq) for finding in report.findings]


def halted() -> Book:
    """Return a journal whose record 5 is a halt in effect since mono 3500."""
    return running().put("halt", at=3500)


def permitted() -> Book:
    """Return a journal whose record 5 is a permit, granted at mono 5000."""
    return running().put("permit", mono=5000)


EXIT = {"id": "x1", "side": "sell", "reduce_only": True}


def draining() -> Book:
    """Return a journal whose record 5 is a drain."""
    return running().put("drain")


GOOD: dict[str, Callable[[], Book]] = {
    "a halt before any start": lambda: Book().put("run").put("halt").put("halt", first=False),
    "a restart while HALTED, then reset and start": lambda: (
        halted().put("run").put("reset").put("run").put("start", epoch=2).put("permit", epoch=2)
        .put("sent", permit=10, begun=2000)
    ),
    "epochs that are skipped": lambda: halted().put("reset", epoch=9).put("start", epoch=9),
    "a start again after drain and stop": lambda: (
        running().put("drain").put("stop").put("start").put("permit").put("void", permit=8)
    ),
    "a stop without a drain": lambda: running().put("stop"),
    "a start after a drain that a crash ended": lambda: (
        running().put("drain").put("run").put("start").put("permit")
        .put("sent", permit=8, begun=2000)
    ),
    "a send that begun as the halt took effect": lambda: (
        permitted().put("halt", at=5500).put("sent", permit=5, begun=5500)
    ),
    "a send begun as its permit was made": lambda: permitted().put("sent", permit=5, begun=5000),
    "a send that ends after halt, reset and start": lambda: (
        permitted().put("halt", at=5600).put("reset").put("start", epoch=2)
        .put("sent", permit=5, begun=5600)
    ),
    "a void in place of a send after a halt": lambda: (
        permitted().put("halt").put("void", permit=5)
    ),
    "a halt before a permit in the same run": lambda: (
        halted().put("reset").put("start", epoch=2).put("permit", epoch=2, mono=8000)
        .put("sent", permit=8, begun=9000)
    ),
    "an id again after its permit was voided": lambda: (
        permitted().put("void", permit=5).put("permit").put("sent", permit=7, begun=7500)
    ),
    "an unknown that a later run tells": lambda: (
        permitted().put("run").put("unknown", permit=5, begun=0).put("accept")
    ),
    "cancels in every mode": lambda: (
        Book().put("run").put("cancel").put("cancel_end", cancel=2).put("start").put("cancel")
        .put("halt").put("cancel").put("cancel_end", cancel=7, error="closed")
    ),
    "a stop after a run that left a permit open": lambda: (
        permitted().put("run").put("accept").put("start").put("stop")
    ),
    "time that stands still": lambda: running().put("beat", mono=3000).put("beat", mono=3000),
    "a clock that is moved forward": lambda: (
        running().put("rebase", shift=3000).put("permit", mono=1)
        .put("sent", permit=6, begun=1, mono=2)
    ),
    "an exit by its ticket": lambda: (
        draining().put("ticket").put("permit", **EXIT).put("sent", permit=7, begun=6500).put("stop")
    ),
    "an exit of less than its ticket": lambda: (
        draining().put("ticket").put("permit", **EXIT | {"quantity": "0.25"}).put("void", permit=7)
    ),
    "a ticket again for the id of a permit that was voided": lambda: (
        draining().put("ticket").put("permit", **EXIT).put("void", permit=7)
        .put("ticket").put("permit", **EXIT).put("sent", permit=10, begun=9500)
    ),
    "an exit by its ticket after the gate refused what it does not fit": lambda: (
        draining().put("ticket").put("refuse", id="x1", code="GATE_CLOSED")
        .put("refuse", id="x2", code="MAX_NOTIONAL").put("permit", **EXIT)
        .put("sent", permit=9, begun=8500)
    ),
    "a ticket again for the id of an exit that was refused": lambda: (
        draining().put("ticket").put("refuse", id="x1", code="MESSAGE_RATE")
        .put("ticket").put("permit", **EXIT).put("sent", permit=9, begun=8500)
    ),
    "a halt over a ticket that was not used": lambda: draining().put("ticket").put("halt"),
    "an id again that was forgotten before a run that remembers more": lambda: (
        Book().put("run", remember=1).put("start").put("permit", id="a").put("sent", permit=3, begun=3000)
        .put("permit", id="b").put("sent", permit=5, begun=5000).put("run", remember=99).put("start")
        .put("permit", id="a").put("sent", permit=9, begun=3000)
    ),
    "an arm in its own run": lambda: (
        Book().put("run").put("arm").put("end").put("run").put("start")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_verified(name: str) -> None:
    """Each journal that keeps the rules, if only just, is VERIFIED."""
    report = check_book(GOOD[name]().put("seal"))
    assert (told(report), report.status) == ([], Status.VERIFIED)


BAD: dict[str, tuple[Callable[[], Book], list[tuple[str, int]]]] = {
    # Modes
    "a start in RUNNING": (lambda: running().put("start"), [(MODES, 5)]),
    "a start in HALTED": (lambda: halted().put("start"), [(MODES, 6)]),
    "RUNNING after HALTED without reset": (
        lambda: halted().put("start").put("permit").put("void", permit=7),
        [(MODES, 6), (HALT, 7)],
    ),
    "a restart that leaves HALTED": (lambda: halted().put("run").put("start"), [(MODES, 7)]),
    "a start in the old epoch": (lambda: halted().put("reset").put("start"), [(MODES, 7)]),
    "a start in an epoch to come": (lambda: Book().put("run").put("start", epoch=2), [(MODES, 2)]),
    "a drain in IDLE": (lambda: Book().put("run").put("drain"), [(MODES, 2)]),
    "a drain in HALTED": (lambda: halted().put("drain"), [(MODES, 6)]),
    "a drain of another epoch": (lambda: running().put("drain", epoch=2), [(MODES, 5)]),
    "a stop in IDLE": (lambda: Book().put("run").put("stop"), [(MODES, 2)]),
    "a stop in HALTED": (lambda: halted().put("stop").put("start"), [(MODES, 6), (MODES, 7)]),
    "a stop of another epoch": (lambda: running().put("stop", epoch=2), [(MODES, 5)]),
    "a stop that was not drained": (
        lambda: permitted().put("stop").put("sent", permit=5, begun=5500),
        [(MODES, 6)],
    ),
    "a reset in IDLE": (lambda: Book().put("run").put("reset"), [(MODES, 2)]),
    "a reset in RUNNING": (lambda: running().put("reset"), [(MODES, 5)]),
    "a reset of another epoch": (lambda: halted().put("reset", prior=3, epoch=4), [(MODES, 6)]),
    "a reset to the same epoch": (lambda: halted().put("reset", epoch=1), [(MODES, 6)]),
    "a reset to a lower epoch": (lambda: halted().put("reset", epoch=0), [(MODES, 6)]),
    "a second arm": (lambda: Book().put("run").put("arm").put("arm"), [(MODES, 3)]),
    "an arm after a start": (lambda: Book().put("run").put("start").put("arm"), [(MODES, 3)]),
    "an arm after a halt": (lambda: Book().put("run").put("halt").put("arm"), [(MODES, 3)]),
    "an arm at epoch 0": (lambda: Book().put("run").put("arm", epoch=0), [(MODES, 2)]),
    "a start not in the arm's epoch": (lambda: Book().put("run").put("arm", epoch=2).put("start"), [(MODES, 3)]),
    # NoEmitAfterHalt
    "a permit in IDLE": (
        lambda: Book().put("run").put("permit").put("void", permit=2),
        [(HALT, 2)],
    ),
    "an exit without a ticket": (lambda: draining().put("permit", **EXIT), [(HALT, 6)]),
    "an exit by another's ticket": (
        lambda: draining().put("ticket", id="x2").put("permit", **EXIT),
        [(HALT, 7)],
    ),
    "an exit that may open": (
        lambda: draining().put("ticket").put("permit", **EXIT | {"reduce_only": False}),
        [(HALT, 7)],
    ),
    "an exit in another instrument": (
        lambda: draining().put("ticket").put("permit", **EXIT | {"instrument": "ETHUSDT"}),
        [(HALT, 7)],
    ),
    "an exit on the other side": (
        lambda: draining().put("ticket").put("permit", **EXIT | {"side": "buy"}),
        [(HALT, 7)],
    ),
    "an exit of more than its ticket": (
        lambda: draining().put("ticket").put("permit", **EXIT | {"quantity": "0.500000001"}),
        [(HALT, 7)],
    ),
    "an exit whose number only looks smaller": (
        lambda: draining().put("ticket", quantity="9").put("permit", **EXIT | {"quantity": "10"}),
        [(HALT, 7)],
    ),
    "a second exit by one ticket": (
        lambda: (
            draining().put("ticket").put("permit", **EXIT).put("void", permit=7)
            .put("permit", **EXIT)
        ),
        [(HALT, 9)],
    ),
    "an exit by a ticket that was spent on a refusal": (
        lambda: (
            draining().put("ticket").put("refuse", id="x1", code="MESSAGE_RATE")
            .put("permit", **EXIT)
        ),
        [(HALT, 8)],
    ),
    "a second ticket of one id": (lambda: draining().put("ticket").put("ticket"), [(MODES, 7)]),
    "an exit by a second ticket that is for more": (
        lambda: (
            draining().put("ticket").put("ticket", quantity="5")
            .put("permit", **EXIT | {"quantity": "5"})
        ),
        [(MODES, 7), (HALT, 8)],
    ),
    "an exit by a ticket of the run before": (
        lambda: (
            draining().put("ticket").put("run").put("start").put("drain").put("permit", **EXIT)
        ),
        [(HALT, 10)],
    ),
    "an exit by a ticket from before a halt": (
        lambda: draining().put("ticket").put("halt").put("permit", **EXIT),
        [(HALT, 8)],
    ),
    "an exit by a ticket from before halt, reset and start": (
        lambda: (
            draining().put("ticket").put("halt").put("reset").put("start", epoch=2)
            .put("drain", epoch=2).put("permit", **EXIT | {"epoch": 2})
        ),
        [(HALT, 11)],
    ),
    "an exit by a ticket from before a stop": (
        lambda: (
            draining().put("ticket").put("stop").put("start").put("drain").put("permit", **EXIT)
        ),
        [(HALT, 10)],
    ),
    "a ticket before the drain": (
        lambda: running().put("ticket").put("drain").put("permit", **EXIT),
        [(MODES, 5), (HALT, 7)],
    ),
    "a ticket in HALTED": (lambda: halted().put("ticket"), [(MODES, 6)]),
    "a ticket in IDLE": (lambda: Book().put("run").put("ticket"), [(MODES, 2)]),
    "a ticket of another epoch": (
        lambda: draining().put("ticket", epoch=2).put("permit", **EXIT),
        [(MODES, 6), (HALT, 7)],
    ),
    "a permit after a halt": (lambda: halted().put("permit").put("void", permit=6), [(HALT, 6)]),
    "a send after a halt": (
        lambda: permitted().put("halt", at=5500).put("sent", permit=5, begun=5501),
        [(HALT, 7)],
    ),
    "an unknown send after a halt": (
        lambda: permitted().put("halt", at=5500).put("unknown", permit=5, begun=5501).put("reject"),
        [(HALT, 7)],
    ),
    "a send after the first of two halts": (
        lambda: permitted().put("halt", at=5500).put("halt", at=6900).put(
            "sent", permit=5, begun=6800),
        [(HALT, 8)],
    ),
    "a send after a halt that was told late": (
        lambda: permitted().put("halt", mono=9500, at=9000).put("halt", at=5500).put(
            "sent", permit=5, begun=8000),
        [(HALT, 8)],
    ),
    "a send after a halt that says it took effect later than it was written": (
        lambda: permitted().put("halt", at=9_000_000).put("sent", permit=5, begun=7000, mono=8000),
        [(MODES, 6), (HALT, 7)],
    ),
    "a salvaged halt that says it took effect later than it was written": (
        lambda: permitted().put("seal").recover(1).salvage("halt", seq=7, mono=7000, at=7001),
        [(MODES, 9)],
    ),
    "a send after halt, reset and start": (
        lambda: permitted().put("halt", at=5500).put("reset").put("start", epoch=2).put(
            "sent", permit=5, begun=9000),
        [(HALT, 9)],
    ),
    "a permit after a reset without a start": (
        lambda: halted().put("reset").put("permit", epoch=2).put("void", permit=7),
        [(HALT, 7)],
    ),
    "a permit of the halted epoch": (
        lambda: halted().put("reset").put("start", epoch=2).put("permit").put("void", permit=8),
        [(HALT, 8)],
    ),
    "a permit after a drain": (
        lambda: running().put("drain").put("permit").put("void", permit=6),
        [(HALT, 6)],
    ),
    "a permit after a stop": (
        lambda: running().put("stop").put("permit").put("void", permit=6),
        [(HALT, 6)],
    ),
    "a permit after a restart without a start": (
        lambda: running().put("run").put("permit").put("void", permit=6),
        [(HALT, 6)],
    ),
    # JournalBeforeEmit
    "a send without a permit": (lambda: running().put("sent", permit=4, begun=1), [(BEFORE, 5)]),
    "a send before its permit": (
        lambda: running().put("sent", permit=6, begun=9000).put("permit").put("void", permit=6),
        [(BEFORE, 5)],
    ),
    "a send of itself": (lambda: running().put("sent", permit=5, begun=9000), [(BEFORE, 5)]),
    "an unknown without a permit": (
        lambda: running().put("unknown", permit=100, begun=1),
        [(BEFORE, 5)],
    ),
    "a void without a permit": (lambda: running().put("void", permit=1), [(BEFORE, 5)]),
    "a send begun before its permit": (
        lambda: permitted().put("sent", permit=5, begun=4999),
        [(BEFORE, 6)],
    ),
    "an unknown begun before its permit": (
        lambda: permitted().put("unknown", permit=5, begun=4999).put("reject"),
        [(BEFORE, 6)],
    ),
    "a send by a later run": (
        lambda: permitted().put("run").put("sent", permit=5, begun=9000),
        [(BEFORE, 7)],
    ),
    "a void by a later run": (lambda: permitted().put("run").put("void", permit=5), [(BEFORE, 7)]),
    # OnePermitOneSend
    "a permit used twice": (
        lambda: permitted().put("sent", permit=5, begun=5500).put("sent", permit=5, begun=5600),
        [(ONCE, 7)],
    ),
    "a send after a void": (
        lambda: permitted().put("void", permit=5).put("sent", permit=5, begun=5600),
        [(ONCE, 7)],
    ),
    "a void after an unknown": (
        lambda: permitted().put("unknown", permit=5, begun=5500).put("void", permit=5).put("fill"),
        [(ONCE, 7)],
    ),
    "an id again while its permit is open": (
        lambda: permitted().put("permit").put("void", permit=6).put("void", permit=5),
        [(ONCE, 6)],
    ),
    "an id again after it was sent": (
        lambda: permitted().put("sent", permit=5, begun=5500).put("permit").put("void", permit=7),
        [(ONCE, 7)],
    ),
    "an id again after an unknown and a restart": (
        lambda: permitted().put("unknown", permit=5, begun=5500).put("reject").put("run")
        .put("start").put("permit").put("void", permit=10),
        [(ONCE, 10)],
    ),
    "an id again though only an earlier permit was voided": (
        lambda: permitted().put("void", permit=5).put("permit").put(
            "sent", permit=7, begun=7500).put("permit").put("void", permit=9),
        [(ONCE, 9)],
    ),
    "an id again that was not forgotten before a run that remembers more": (
        lambda: (
            Book().put("run", remember=1).put("start").put("permit", id="a").put("sent", permit=3, begun=3000)
            .put("permit", id="b").put("sent", permit=5, begun=5000).put("run", remember=99).put("start")
            .put("permit", id="b").put("sent", permit=9, begun=3000)
        ),
        [(ONCE, 9)],
    ),
    # Sequence
    "no run at the beginning": (lambda: Book().put("arm"), [(SEQUENCE, 1)]),
    "a seal at the beginning": (lambda: Book().put("seal").put("run"), [(SEQUENCE, 1)]),
    "a record after the end": (lambda: running().put("end").put("beat"), [(SEQUENCE, 6)]),
    "a permit after the end": (
        lambda: running().put("end").put("permit").put("run").put("accept"),
        [(SEQUENCE, 6)],
    ),
    "time that goes back": (lambda: running().put("beat", mono=2999), [(SEQUENCE, 5)]),
    "a run that does not begin at 0": (lambda: running().put("run", mono=1), [(SEQUENCE, 5)]),
    "a rebase that goes back": (lambda: running().put("rebase", shift=2999), [(SEQUENCE, 5)]),
    "a rebase not at 0": (lambda: running().put("rebase", shift=5000, mono=1), [(SEQUENCE, 5)]),
    "a rebase while a permit is open": (
        lambda: permitted().put("rebase", shift=9000).put("void", permit=5),
        [(SEQUENCE, 6)],
    ),
    "time that goes back after a rebase": (
        lambda: running().put("rebase", shift=9000).put("beat", mono=5).put("beat", mono=4),
        [(SEQUENCE, 7)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_forbidden_is_tampering_however_it_is_sealed(name: str) -> None:
    """Each journal with one step too many breaks the named rules there, right seals or not."""
    make, findings = BAD[name]
    report = check_book(make().put("seal"))
    assert (told(report), report.exit_code) == (findings, 6)
    assert report.sealed == report.records, "the seals themselves hold"


def test_the_order_of_many_halts_does_not_matter() -> None:
    """Of all halts since its permit the earliest in time counts for a send."""
    for times in ((7, 3, 5), (3, 5, 7), (7, 5, 3), (5, 5, 3)):
        for begun, broken in ((3, 0), (4, 1)):
            book = running().put("halt", at=1).put("reset").put("start", epoch=2)
            book.put("permit", epoch=2, mono=7000)
            permit = book.last
            for at in times:
                book.put("halt", at=7000 + at)
            report = check_book(book.put("sent", permit=permit, begun=7000 + begun).put("seal"))
            assert [rule for rule, _ in told(report)] == [HALT] * broken


# --- recovery: record 3 seals the start, record 5 is the run that recovers, 5 its recover ---


def test_a_salvaged_tail_counts() -> None:
    """What was permitted and sent in a torn tail is replayed where it stood."""
    book = running().recover(3).salvage("permit", seq=5, mono=5000)
    book.salvage("sent", seq=6, mono=6000, permit=5, begun=5500)
    book.salvage("halt", seq=7, mono=7000, at=6500).put("seal")
    report = check_book(book)
    assert (told(report), report.status) == ([], Status.VERIFIED)
    assert told(check_book(book.put("start"))) == [(MODES, 11)], "the salvaged halt holds"


def test_a_salvaged_permit_goes_by_its_new_number() -> None:
    """To later records a salvaged permit is known by the seq of its salvage, and is in doubt."""
    book = running().recover(1).salvage("permit", seq=5, mono=5000).put("seal")
    report = check_book(book)
    assert [(doubt.permit, doubt.order) for doubt in report.in_doubt] == [(7, "o1")]
    book.put("unknown", permit=7, begun=0).put("accept").put("seal")
    assert check_book(book).status is Status.VERIFIED


def test_a_salvaged_outcome_finds_a_sealed_permit() -> None:
    """A salvaged outcome that names a number below the seal means the permit that stands there."""
    book = permitted().put("seal").recover(1)
    book.salvage("sent", seq=7, mono=7000, permit=5, begun=6000).put("seal")
    assert check_book(book).status is Status.VERIFIED


def test_a_recovered_run_is_not_running() -> None:
    """After the last salvaged record the engine is IDLE, as after any run."""
    book = running().recover(1).salvage("beat", seq=5, mono=5000)
    book.put("permit").put("void", permit=8).put("seal")
    assert told(check_book(book)) == [(HALT, 8)]


def test_a_journal_without_a_seal_can_be_recovered() -> None:
    """If the very first batch was torn, recovery starts from the empty tree."""
    book = Book().recover(2).salvage("run", seq=1).salvage("arm", seq=2, mono=1).put("seal")
    report = check_book(book)
    assert (told(report), report.status) == ([], Status.VERIFIED)


def test_a_recovery_that_crashed_can_be_recovered() -> None:
    """Salvage within salvage is replayed, and an inner recovery may have been cut short."""
    for announced in (1, 2, 3):
        book = running().recover(4)
        seal = {"sealed": 5, "root": book.records[6]["root"]}
        book.salvage("run", seq=5).salvage("recover", seq=6, mono=1, salvaged=announced, **seal)
        # The numbers 4 and 5 are those of the first torn tail, 6 and 7 those of the second.
        permit = record("permit", seq=5, mono=6000)
        sent = record("sent", seq=6, mono=7000, permit=5, begun=6000)
        book.salvage("salvage", seq=7, mono=2, record=permit)
        book.salvage("salvage", seq=8, mono=3, record=sent)
        report = check_book(book.put("seal").put("start").put("stop").put("seal"))
        # The second is one more than the inner recovery announced if that was 1.
        late = [(SEQUENCE, 10)] if announced == 1 else []
        assert told(report) == late, announced


def test_a_salvaged_salvage_is_known_by_its_number_of_then() -> None:
    """In a tail that holds a recovery, the numbers of that recovery's salvaged permits count."""
    book = running().recover(5)
    seal = {"sealed": 5, "root": book.records[6]["root"]}
    book.salvage("run", seq=5).salvage("recover", seq=6, mono=1, salvaged=1, **seal)
    book.salvage("salvage", seq=7, mono=2, record=record("permit", seq=5, mono=6000))
    book.salvage("unknown", seq=8, mono=3, permit=7).salvage("accept", seq=9, mono=4)
    assert told(check_book(book.put("seal"))) == []


def salvaging(**fields: object) -> Book:
    """Return a journal that recovers one record, with fields of `recover` as given."""
    return running().recover(1, **fields).salvage("beat", seq=5, mono=5000)


BAD_RECOVERY: dict[str, tuple[Callable[[], Book], list[tuple[str, int]]]] = {
    "another root": (lambda: salvaging(root="0" * 64), [(SEALS, 6)]),
    "another size": (lambda: salvaging(sealed=4), [(SEALS, 6)]),
    "another root within": (
        lambda: running().recover(2).salvage("run", seq=5)
        .salvage("recover", seq=6, mono=1, sealed=5, root="0" * 64),
        [(SEALS, 8)],
    ),
    "a seal among the salvaged": (
        lambda: running().recover(2).salvage("beat", seq=5, mono=5000).put("seal")
        .salvage("beat", seq=6, mono=6000),
        [(SEQUENCE, 8), (SEQUENCE, 9)],
    ),
    "a record between seal and run": (
        lambda: running().put("beat").recover(0),
        [(SEALS, 7), (SEQUENCE, 7)],
    ),
    "no run before it": (
        lambda: running().put("recover", sealed=5, root=running().recover(0).records[6]["root"]),
        [(SEALS, 5), (SEQUENCE, 5), (SEQUENCE, 5)],
    ),
    "salvage without recover": (
        lambda: running().put("run").salvage("beat", seq=5),
        [(SEQUENCE, 6)],
    ),
    "salvage that was not announced": (
        lambda: salvaging().salvage("beat", seq=6, mono=6000),
        [(SEQUENCE, 8)],
    ),
    "salvage that is missing": (
        lambda: running().recover(2).salvage("beat", seq=5, mono=5000),
        [(SEQUENCE, 8)],
    ),
    "salvage out of order": (
        lambda: running().recover(2).salvage("beat", seq=6, mono=5000).salvage(
            "beat", seq=5, mono=6000),
        [(SEQUENCE, 8)],
    ),
    "salvage from before the seal": (
        lambda: running().recover(1).salvage("beat", seq=4, mono=5000),
        [(SEQUENCE, 7)],
    ),
    "salvage whose time goes back": (
        lambda: running().recover(1).salvage("beat", seq=5, mono=2999),
        [(SEQUENCE, 7)],
    ),
    "salvage whose own time goes back": (
        lambda: running().recover(1).put(
            "salvage", record=record("beat", seq=5, mono=5000), mono=9),
        [(SEQUENCE, 7)],
    ),
    "a salvaged send without a permit": (
        lambda: running().recover(1).salvage("sent", seq=6, mono=5000, permit=5, begun=4500),
        [(BEFORE, 7)],
    ),
    "a salvaged send after a salvaged halt": (
        lambda: permitted().put("seal").recover(2).salvage("halt", seq=7, mono=7000, at=6500)
        .salvage("sent", seq=8, mono=8000, permit=5, begun=6501),
        [(HALT, 10)],
    ),
    "a salvaged permit after a salvaged drain": (
        lambda: running().recover(2).salvage("drain", seq=5, mono=5000)
        .salvage("permit", seq=6, mono=6000).put("accept"),
        [(HALT, 8)],
    ),
    "a salvaged start in HALTED": (
        lambda: halted().put("seal").recover(1).salvage("start", seq=7, mono=7000),
        [(MODES, 9)],
    ),
    "a new send of a salvaged permit": (
        lambda: running().recover(1).salvage("permit", seq=5, mono=5000).put(
            "sent", permit=7, begun=5000),
        [(BEFORE, 8)],
    ),
    "a salvaged permit used twice": (
        lambda: running().recover(3).salvage("permit", seq=5, mono=5000)
        .salvage("void", seq=6, mono=6000, permit=5)
        .salvage("sent", seq=7, mono=7000, permit=5, begun=6500),
        [(ONCE, 9)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_RECOVERY)
def test_a_recovery_can_not_hide_anything(name: str) -> None:
    """A recovery that names the wrong seal, or salvages what can't have been, is tampering."""
    make, findings = BAD_RECOVERY[name]
    assert told(check_book(make().put("seal"))) == findings
