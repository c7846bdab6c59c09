"""Conformance: turn what attacks Interlock on an engine of your own, with one class of a few methods.

    from interlock.testing.conformance import Adapter, Conformance

    class Mine(Adapter):                 # start, submit, cancel, tick, halt, crash, mode
        ...

    class TestMine(Conformance):         # pytest: one test a claim
        adapter = Mine

or, from a shell, a report with a line a claim:

    python -m interlock.testing.conformance my_package.my_adapter:Mine

An engine need not hold an Interlock kernel for that. What is asked is only what the venue saw, and when: whether
an order got there that should not have, and a cancel that should. So the claims are the promises of the design as seen
from the venue, and the oracle knows no line of the engine's code.

- `adapter` is what you write, `probe` what your venue tells.
- `claims` is what is asked, and `world` decides it.
- `machine` attacks, with what is in `trading`, `halting` and `failing`: Hypothesis chooses the steps of an `attempt`,
  and shortens (`shorten`) those that break a claim to a `story`.
- `report` is the answer.

Hypothesis and pytest are needed: ``pip install interlock[testing]``.
"""

from interlock.testing.conformance.adapter import Adapter, Tick, Wanted
from interlock.testing.conformance.claims import Claim
from interlock.testing.conformance.probe import VenueDown, VenueProbe, WorldClock
from interlock.testing.conformance.report import Effort, Line, Report, Verdict, check
from interlock.testing.conformance.story import Broken
from interlock.testing.conformance.suite import Conformance

__all__ = [
    "Adapter",
    "Broken",
    "Claim",
    "Conformance",
    "Effort",
    "Line",
    "Report",
    "Tick",
    "VenueDown",
    "VenueProbe",
    "Verdict",
    "Wanted",
    "WorldClock",
    "check",
]
