"""What a verification found, as values.

A report says three things: whether the rules hold (`Status`), what the journal tells about who
halted, reset and started, and what it can't tell. The last is part of the answer: a verifier that
is silent about its blind spots invites more trust than it earns.

Every list is bounded, so that a broken journal of any length gives a report one can read; beside
each bounded list stands the total.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import attrs

FINDINGS_MAX = 20
DOUBTS_MAX = 20
ACTIONS_MAX = 100

CANNOT_KNOW = (
    "a decision that never reached the journal",
    "a journal rolled back whole to an earlier checkpoint, or without a root key to any seal, without an anchor",
    "what a holder of a segment key wrote while it was valid, or without a root key whoever could write to the home",
    "a key that a later list of keys than the newest one given here has ended",
    "the ts and mono of the last seal itself, which only the next seal or a checkpoint binds",
)
"""What no verification can find out from what it was given."""


class Status(StrEnum):
    """The four answers, mildest first. The gravest that applies is given."""

    VERIFIED = "VERIFIED"
    VERIFIED_TO_N = "VERIFIED-TO-N"
    IN_DOUBT = "IN-DOUBT"
    TAMPERED = "TAMPERED"


_EXIT = {Status.VERIFIED: 0, Status.VERIFIED_TO_N: 5, Status.IN_DOUBT: 5, Status.TAMPERED: 6}


@attrs.frozen(kw_only=True)
class Finding:
    """One broken rule.

    Attributes:
        file: the name of the segment, or of the note, as it was given.
        line: its line there, from 1; 0 for a note.
        seq: how many records stand before it in the journal, which is the `seq` it must have; for a note its size.
        rule: the rule's name, as in ``docs/journal.md``.
        message: a sentence.
    """

    file: str
    line: int
    seq: int
    rule: str
    message: str


@attrs.frozen(kw_only=True)
class Doubt:
    """A permit of which nobody recorded how it ended.

    Attributes:
        permit: its number.
        order: the order's id.
    """

    permit: int
    order: str


@attrs.frozen(kw_only=True)
class Action:
    """An arm, start, halt or reset.

    Attributes:
        kind: which.
        seq: where it stands in the journal.
        ts: when: microseconds UTC since the Unix epoch.
        epoch: its epoch; for a reset the new one.
        who: the operator, or for a halt without one its source.
        why: the reason; for a halt after its code, for a start the session.
    """

    kind: str
    seq: int
    ts: int
    epoch: int
    who: str
    why: str


@attrs.frozen(kw_only=True)
class Checkpoints:
    """The checkpoints of the home.

    Attributes:
        given: how many notes; None if it was not said where they are.
        believed: how many are signed by a key of the list, and the list by the root key that was given.
        last_size: how many records the last of them is over.
        last_ts: when it was made: microseconds UTC since the Unix epoch.
    """

    given: int | None
    believed: int
    last_size: int | None
    last_ts: int | None


@attrs.frozen(kw_only=True)
class Anchor:
    """What somebody outside the home has kept or signed.

    Attributes:
        name: the file's.
        form: `checkpoint` or `time stamp`.
        size: how many records it is over.
        ts: when: microseconds UTC since the Unix epoch.
        believed: signed by a key that traces to the root key, or by a time-stamp authority, that was given.
        witnesses: the keys of witnesses that were given and have signed it.
    """

    name: str
    form: str
    size: int | None
    ts: int
    believed: bool
    witnesses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Report:
    """The answer about one journal.

    Attributes:
        status: one of the four answers.
        records: how many whole lines were read and structurally right.
        sealed: how many of them are up to and with the last seal that holds.
        tail_records: how many come after it.
        torn_bytes: how many bytes follow the last line feed.
        root: the root in that seal, in hex; None without a seal.
        root_size: over how many lines.
        findings: the first broken rules, at most `FINDINGS_MAX`.
        findings_total: how many there are.
        in_doubt: the first permits in doubt, at most `DOUBTS_MAX`.
        in_doubt_total: how many there are.
        counts: records by kind.
        actions: the latest arms, starts, halts and resets, at most `ACTIONS_MAX`.
        actions_total: how many there are.
        bytes_read: how many bytes were read.
        origin: whose journal it says that it is.
        signed: how many records the last checkpoint signs that can be believed; None without a root key.
        checkpoints: what was found of the home's checkpoints.
        anchors: what was found from outside the home.
        inputs: what was given beside the journal, a sentence each.
        notes: sentences that explain the answer.
        cannot_know: what the answer does not cover.
    """

    status: Status
    records: int
    sealed: int
    tail_records: int
    torn_bytes: int
    root: str | None
    root_size: int
    findings: tuple[Finding, ...]
    findings_total: int
    in_doubt: tuple[Doubt, ...]
    in_doubt_total: int
    counts: Mapping[str, int]
    actions: tuple[Action, ...]
    actions_total: int
    bytes_read: int
    origin: str | None
    signed: int | None
    checkpoints: Checkpoints
    anchors: tuple[Anchor, ...]
    inputs: tuple[str, ...]
    notes: tuple[str, ...]
    cannot_know: tuple[str, ...] = CANNOT_KNOW

    @property
    def exit_code(self) -> int:
        """The exit code that ``interlock verify`` gives: 0, 5 or 6."""
        return _EXIT[self.status]

    @property
    def verdict(self) -> str:
        """The status with its number put in, such as ``VERIFIED-TO-37``."""
        if self.status is Status.VERIFIED_TO_N:
            return f"VERIFIED-TO-{self.sealed if self.signed is None else min(self.signed, self.sealed)}"
        return self.status.value

    def to_json(self) -> dict[str, object]:
        """Return the report as plain values that ``orjson`` or ``json`` can write."""
        plain: dict[str, object] = {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
        }
        plain.update(attrs.asdict(self))
        plain["status"] = self.status.value
        return plain

    def to_text(self, engine: str = "") -> Iterator[str]:
        """Yield the lines that people read; the first is the verdict.

        What can't be seen is told by its escape: what a journal says must not steer the terminal that shows it.
        """
        for line in self._text(engine):
            yield "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)

    def _text(self, engine: str) -> Iterator[str]:
        yield self.verdict
        if engine:
            yield f"engine {engine}"
        yield (
            f"{self.records} records, {self.sealed} sealed"
            + ("" if self.signed is None else f", {self.signed} signed")
            + f", {self.tail_records} unsealed, {self.torn_bytes} torn bytes"
        )
        if self.root:
            yield f"root {self.root}"
        for sentence in self.inputs:
            yield f"given: {sentence}"
        for anchor in self.anchors:
            words = ", ".join(("believed" if anchor.believed else "not believed", *anchor.witnesses))
            yield f"anchor: {anchor.name}: {anchor.form} of {anchor.size} records: {words}"
        for sentence in self.notes:
            yield f"note: {sentence}"
        for finding in self.findings:
            yield f"{finding.file}:{finding.line}: seq {finding.seq}: {finding.rule}: {finding.message}"
        for doubt in self.in_doubt:
            yield f"in doubt: permit {doubt.permit}, order {doubt.order}"
        for sentence in self.cannot_know:
            yield f"cannot know: {sentence}"
