"""Everything that the report is drawn from, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.ops.bundle.claim import Cite, Claim
    from interlock.ops.bundle.facts import Facts
    from interlock.ops.bundle.given import Given
    from interlock.ops.bundle.proofs import Proof
    from interlock.ops.bundle.times import Times

__all__ = ["SHOWN_ROWS", "Cited", "Told"]

SHOWN_ROWS: Final = 50
"""So many rows of a long table stand in the report; the rest is in the CSV."""

_LONGEST_LINE: Final = 4096


@attrs.frozen(kw_only=True)
class Cited:
    """A record that the report names.

    Attributes:
        engine: whose journal.
        seq: where.
        proof: its audit path; None if nothing binds it.
        bound_by: the checkpoint's file, or the seal, that has the root; empty if nothing does.
        agrees: whether the root that is named there is the one that the path leads to.
    """

    engine: str
    seq: int
    proof: Proof | None
    bound_by: str
    agrees: bool

    def to_json(self) -> dict[str, Any]:
        """As `CLAIMS` has it."""
        found: dict[str, Any] = {"engine": self.engine, "seq": self.seq, "bound_by": self.bound_by or None}
        if self.proof is None:
            return found
        whole = len(self.proof.line) <= _LONGEST_LINE
        return found | {
            "line": self.proof.line.decode() if whole else None,
            "size": self.proof.size,
            "root": self.proof.root.hex(),
            "path": [node.hex() for node in self.proof.path],
            "agrees": self.agrees,
        }


@attrs.frozen(kw_only=True)
class Told:
    """Everything that the report is drawn from.

    Attributes:
        facts: what the records of each engine add up to.
        times: the same over time.
        given: what the bundle holds beside them.
        claims: what that shows.
        cited: the records that are named, each with its proof.
        ended: for an engine whose records could not all be read, why.
        anchored: whether there are anchors in the bundle.
    """

    facts: Sequence[Facts]
    times: Times
    given: Given
    claims: Sequence[Claim]
    cited: Mapping[Cite, Cited]
    ended: Mapping[str, str]
    anchored: bool
