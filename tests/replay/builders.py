"""What the tests of the replay share: homes whose inputs are recorded, and the replay of their journals."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.helpers import LIMITS, FakeClock, arm, attach, journal, quote, sound

from interlock.breaker.home import Home, parse_limits
from interlock.core.preorder import Core
from interlock.replay import Difference, Replay, Report
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from interlock import Kernel
    from interlock.core.limits import Limits


def limits_of(*texts: str) -> dict[str, Limits]:
    """Limits by the SHA-256 of their text."""
    return {sha256(text.encode()).hexdigest(): parse_limits(text.encode(), "limits") for text in texts}


def play(
    records: Iterable[dict[str, Any]], *texts: str, core: type[Core] = Core, instead: str | None = None
) -> tuple[list[Difference], Report]:
    """Replay records under limits."""
    other = None if instead is None else parse_limits(instead.encode(), "limits")
    replay = Replay(limits_of(*(texts or (LIMITS,))), core=core, instead=other)
    found = [difference for record in records for difference in replay.feed(record)]
    return found, replay.report


def replayed(home: Path, *texts: str, core: type[Core] = Core) -> tuple[list[Difference], Report]:
    """Replay a home's journal, under its limits as they are now unless others are given."""
    return play(journal(home), *(texts or (Home(home).limits.read_text(encoding="utf-8"),)), core=core)


def same(home: Path, *texts: str) -> Report:
    """The report of a replay that must find every decision again and leave none out; the verifier finds no fault."""
    sound(home, Status.IN_DOUBT)
    found, report = replayed(home, *texts)
    if found or report.gaps:
        raise AssertionError((found[:2], report.gaps))
    return report


def recording(path: Path, clock: FakeClock, limits: str | None = None, **given: Any) -> Kernel:
    """A kernel that records its inputs, RUNNING, with one good tick; on a new home if limits are given."""
    if limits is not None:
        arm(path, limits, clock=clock)
    kernel = attach(path, clock, record_inputs=True, **given)
    verdict = kernel.start()
    if not verdict or not kernel.consult(quote(kernel)):
        raise AssertionError(verdict)
    return kernel
