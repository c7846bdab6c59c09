"""Segments verified each by itself and joined, without processes: as `crew` does it; what was joined is counted."""

from interlock.verify import Inputs, Report
from interlock.verify.answer import answer
from interlock.verify.evidence import Evidence
from interlock.verify.guess import look
from interlock.verify.joint import join
from interlock.verify.walk import Walk

Segments = list[tuple[str, list[bytes]]]


def taken(segments: Segments, inputs: Inputs | None = None, remember: int = 1000) -> tuple[Report, list[bool]]:
    """Verify segments as `crew` does; return the answer, and which were taken as they were found."""
    inputs = inputs or Inputs()
    evidence = Evidence(inputs)
    walk = Walk(evidence)
    joined = []
    for name, lines in segments:
        found = look(name, [b"".join(lines)], remember, evidence.wanted)
        if not walk.enter(name):
            break
        joined.append(found is not None and join(walk, found))
        if not joined[-1] and not walk.segment(lines):
            break
    walk.finish()
    return answer(walk, evidence, inputs), joined


def apart(segments: Segments, inputs: Inputs | None = None, remember: int = 1000) -> tuple[Report, int]:
    """Verify segments as `crew` does; return the answer, and how many were taken as they were found."""
    report, joined = taken(segments, inputs, remember)
    return report, sum(joined)
