"""Segments verified each by itself and joined, without processes: as `crew` does it; what was joined is counted."""

from interlock.verify import Inputs, Report
from interlock.verify.answer import answer
from interlock.verify.evidence import Evidence
from interlock.verify.guess import look
from interlock.verify.joint import join
from interlock.verify.walk import Walk

Segments = list[tuple[str, list[bytes]]]


def apart(segments: Segments, inputs: Inputs | None = None, remember: int = 1000) -> tuple[Report, int]:
    """Verify segments as `crew` does; return the answer, and how many were taken as they were found."""
    inputs = inputs or Inputs()
    evidence = Evidence(inputs)
    walk = Walk(evidence)
    joined = 0
    for name, lines in segments:
        found = look(name, [b"".join(lines)], remember, evidence.wanted)
        if not walk.enter(name):
            break
        if found is not None and join(walk, found):
            joined += 1
        elif not walk.segment(lines):
            break
    walk.finish()
    return answer(walk, evidence, inputs), joined
