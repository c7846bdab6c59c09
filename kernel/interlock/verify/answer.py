"""From a walk that is through to the answer that is given."""

from collections.abc import Iterator

from .evidence import Evidence, Inputs
from .report import DOUBTS_MAX, FINDINGS_MAX, Doubt, Finding, Report, Status
from .walk import Walk, tell_of

_LAST_SEALS = 1
"""So many seals may stand behind what the last checkpoint signs: one closes the records that tell of it."""


def answer(walk: Walk, evidence: Evidence, inputs: Inputs) -> Report:
    """Return the answer about what was read."""
    monitor = walk.monitor
    beside = evidence.findings(walk.marks, walk.records, monitor.origin, whole=walk.whole)
    findings = (*walk.findings, *beside)[:FINDINGS_MAX]
    total = walk.findings_total + len(beside)
    signed = evidence.signed(walk.marks, walk.records)
    doubts = sorted((number, order) for order, number in monitor.doubts.items())
    return Report(
        status=_status(walk, signed, findings),
        records=walk.records,
        sealed=walk.sealed,
        tail_records=walk.records - walk.sealed,
        torn_bytes=walk.torn,
        root=walk.root,
        root_size=max(walk.sealed - 1, 0),
        findings=findings,
        findings_total=total,
        in_doubt=tuple(Doubt(permit=n, order=order) for n, order in doubts[:DOUBTS_MAX]),
        in_doubt_total=len(doubts),
        counts={kind: count for kind, count in walk.counts.items() if count},
        actions=tuple(monitor.actions),
        actions_total=monitor.actions_total,
        bytes_read=walk.bytes,
        origin=monitor.origin,
        signed=signed,
        checkpoints=evidence.checkpoints(),
        anchors=tuple(evidence.anchors()),
        inputs=tuple(inputs.told()),
        notes=tuple(_notes(walk, signed, inputs)),
    )


def _status(walk: Walk, signed: int | None, findings: tuple[Finding, ...]) -> Status:
    if findings:
        return Status.TAMPERED
    if walk.monitor.doubts:
        return Status.IN_DOUBT
    if walk.torn or not walk.records or walk.sealed != walk.records or not _covered(walk, signed):
        return Status.VERIFIED_TO_N
    return Status.VERIFIED


def _covered(walk: Walk, signed: int | None) -> bool:
    """Whether what is signed is all but the last few records that tell of the last checkpoint itself."""
    if signed is None:
        return True
    mark = walk.marks.get(signed)
    if mark is None:
        return False
    checkpoints, anchors, seals = (now - then for now, then in zip(tell_of(walk.counts), mark.about, strict=True))
    return seals <= _LAST_SEALS and checkpoints + anchors + seals == walk.records - signed


def _notes(walk: Walk, signed: int | None, inputs: Inputs) -> Iterator[str]:
    if not walk.records:
        yield "no records: an empty or missing journal proves nothing"
    if walk.records > walk.sealed:
        yield f"{walk.records - walk.sealed} records after the last seal are bound by no root"
    if walk.torn:
        yield f"{walk.torn} bytes after the last line feed are no record"
    if recoveries := walk.counts["recover"]:
        yield f"{recoveries} recoveries after a crash: what each set aside is in the file that its record names"
    if signed is None:
        yield "no root key was given: no signature is believed, and the answer rests on the seals alone"
    elif signed < walk.records:
        yield f"the last {walk.records - signed} records are not under a checkpoint that can be believed"
    if inputs.notes is None and walk.counts["checkpoint"]:
        yield "the checkpoints that the journal tells of were not given"
    if not inputs.anchors:
        yield "no anchor from outside the home was given: a journal rolled back to an earlier checkpoint looks the same"
