"""Deterministic: the same events with the same timestamps give the same bytes, whatever the process."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from .helpers import arm, run_python, verified

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, sys
from pathlib import Path
os.getpid = lambda: 4711                      # the process's number stands in the journal: it is an input
from tests.helpers import *
os.chdir(sys.argv[1])                         # so do paths, in the reasons of what went wrong
clock = FakeClock()
arm(Path("home"), clock=clock)
venue = RecordingVenue(lambda _: clock.advance(2))

def fails(permit):
    permit.redeem()
    raise TimeoutError("no answer")

with running(Path("home"), clock, run=RUN_ID, durability=sys.argv[2]) as kernel:
    for number in range(300):
        clock.advance()
        kernel.consult(quote(kernel, bid=str(90 + number % 20), ask=str(91 + number % 20), age_ms=number % 7 * 300))
        name = f"o{number}"
        send = fails if number % 50 == 7 else venue.send
        kernel.submit(order(name, quantity=str(number % 12), price=str(85 + number % 30)), send)
        if number % 3 == 0:
            kernel.on_fill(fill(name, f"f{number}", quantity="0.1"))
        if number % 4 == 0:
            kernel.cancel(cancel(name), venue.cancel)
            kernel.on_cancelled(name)
        if number % 20 == 0:
            kernel.heartbeat()
        if number in {120, 240}:
            kernel.halt("pulled")
            kernel.reset(operator="bob", reason="looked into", epoch=kernel.epoch)
            kernel.start("day %d" % number)
    (Path("home") / "lock").unlink()
    kernel.heartbeat()
    (Path("home") / "lock").touch()
clock.advance(1000)
with attach(Path("home"), clock, run=RUN_ID, durability=sys.argv[2]) as kernel:
    kernel.heartbeat()
sys.stdout.write(Path("home/journal/engine/00000000000000000000.jsonl").read_text())
"""


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_same_events_same_bytes(tmp_path: Path, durability: str) -> None:
    """Two processes with other hash seeds, given the same events and times, write byte-identical journals."""
    journals = []
    for seed in ("0", "1", "4242"):
        place = tmp_path / seed
        place.mkdir()
        journals.append(run_python(SCRIPT, place, durability, PYTHONHASHSEED=seed))
        assert verified(place / "home").findings == ()
    assert len(journals[0].splitlines()) > 500
    assert len({sha256(journal.encode()).hexdigest() for journal in journals}) == 1


def test_another_time_gives_other_bytes(tmp_path: Path) -> None:
    """The comparison can fail: one millisecond more in one place changes the journal."""
    arm(tmp_path / "unused")
    journals: list[str] = []
    for script in (SCRIPT, SCRIPT.replace("clock.advance(2)", "clock.advance(3)")):
        place = tmp_path / str(len(journals))
        place.mkdir()
        journals.append(run_python(script, place, "process"))
    assert journals[0] != journals[1]
