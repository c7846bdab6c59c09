"""REPLAY: the core once more over a journal, decision by decision.

    replay = Replay({sha256_of_the_limits_file: limits})
    for record in records:                       # decoded lines of one engine's journal, in order
        for difference in replay.feed(record):   # what the core decides now is not what stands there
            ...
    gaps = replay.report.gaps                    # what cannot be replayed, from which record on, and why

The core is pure, so the inputs of a run with recorded inputs (see ``docs/journal.md``) lead to every decision
again, byte for byte: `Deterministic`. That shows two things of a journal that the verifier calls in order: that
this core made it, and that nobody changed a decision in it without changing what led to it. With another core,
or with other limits (`Replay`'s ``core`` and ``instead``), it shows what these would have decided.

The room takes records and gives differences. It opens no file, reads no clock, and shares its decisions with
nobody: they are made by `interlock.core` itself, and made into records by the same functions that made the
journal's.
"""

from __future__ import annotations

from interlock.replay.report import Difference, Gap, Report, State
from interlock.replay.stream import Replay

__all__ = ["Difference", "Gap", "Replay", "Report", "State"]
