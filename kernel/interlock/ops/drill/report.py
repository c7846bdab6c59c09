"""The report of a drill: one JSON record, and one page for people that is drawn from it."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.files import sync_directory
from interlock.breaker.home import boot_id
from interlock.ops.drill.page import page
from interlock.ops.drill.stage import DrillError, within_a_home
from interlock.version import __version__

if TYPE_CHECKING:
    from interlock.ops.drill.course import Plan
    from interlock.ops.drill.judge import Criterion
    from interlock.ops.drill.record import Measured
    from interlock.ops.exits import Exit

__all__ = ["FORMAT", "NOT_SHOWN", "document", "prepare", "write"]

FORMAT: Final = "interlock drill 1"

NOT_SHOWN: Final = (
    (
        "The venue was the paper venue, inside the engine's process. A send ends where the send function returns; "
        "bytes that a real gateway has handed to its socket by then may still leave the machine."
    ),
    ("One machine and one home were drilled. Engines on other machines, or with another home, are not halted by this."),
    (
        "The engines were the drill's own. That a real engine sends through the kernel and by no other way is for "
        "its review and its tests to show."
    ),
    (
        "The times are those of this machine, under the load of this drill, on this day. They are no upper "
        "bounds. What is promised is that nothing is sent after the ack, whenever that comes."
    ),
    (
        "All instants are of the monotonic clock of one machine, which its processes share. The times in UTC are "
        "as good as the machine's setting."
    ),
    "The halt takes no order back that had left before. Resting orders rest until they are cancelled.",
    (
        "A drill that passes shows that the kill worked this time. Why it must work is argued in the "
        "specification, and checked there and in the tests."
    ),
)
"""What the drill does not show: stands in every report."""


def document(
    plan: Plan, measured: Measured, facts: dict[str, Any], criteria: tuple[Criterion, ...], code: Exit
) -> dict[str, Any]:
    """The record of a drill, as plain data."""
    return {
        "format": FORMAT,
        "drill": facts["home"]["uuid"],
        "verdict": "PASSED" if all(criterion.passed for criterion in criteria) else "FAILED",
        "exit": int(code),
        "operator": plan.operator,
        "began": utc(facts["began_us"]),
        "ended": utc(facts["ended_us"]),
        "plan": {
            "kind": str(plan.kind),
            "engines": plan.engines,
            "seconds": plan.seconds,
            "timeout_s": plan.timeout_s,
            "escalate": plan.escalate,
        },
        "clock": {"began_us": facts["began_us"], "base_mono_ns": facts["base_mono_ns"]},
        "home": facts["home"],
        "software": {"interlock": __version__, "code_sha256": code_sha256(), "python": platform.python_version()},
        "host": {
            "name": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "boot": boot_id(),
            "clock_resolution_ns": round(time.get_clock_info("monotonic").resolution * 1e9),
            "user_id": os.geteuid(),
        },
        "criteria": [attrs.asdict(criterion) for criterion in criteria],
        "measured": attrs.asdict(measured),
        "not_shown": list(NOT_SHOWN),
    }


def utc(us: int) -> str:
    """Microseconds since the Unix epoch, in words."""
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{us % 1_000_000:06d}Z"


def code_sha256() -> str:
    """SHA-256 over all files of the package that was drilled, each with its name and length, in the order of names."""
    root = Path(str(resources.files("interlock")))
    total = sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            data = path.read_bytes()
            total.update(f"{path.relative_to(root).as_posix()}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def prepare(directory: Path) -> None:
    """See that a report can be written there, before anything is drilled.

    Raises:
        DrillError: it can't.
    """
    home = within_a_home(directory)
    if home is not None:
        message = f"{directory}: {home} is a home; a report is kept outside of it"
        raise DrillError(message)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        message = f"{directory}: no report can be written there: {error.strerror}"
        raise DrillError(message) from error


def write(directory: Path, record: dict[str, Any], measured: Measured) -> tuple[Path, Path]:
    """Write both files, durably, and over no other report. Gives their paths.

    Raises:
        DrillError: they can't be written.
    """
    data = orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"
    drawn = page(record, measured, sha256(data).hexdigest()).encode("utf-8", "backslashreplace")
    stamp = record["began"][:19].replace("-", "").replace(":", "") + "Z"
    try:
        for number in range(1000):
            name = f"drill-{stamp}" + (f"-{number + 1}" if number else "")
            plain, shown = directory / f"{name}.json", directory / f"{name}.html"
            try:
                _new(plain, data)
            except FileExistsError:
                continue
            _new(shown, drawn)
            sync_directory(directory)
            return plain, shown
    except OSError as error:
        message = f"{directory}: the report cannot be written: {error}"
        raise DrillError(message) from error
    message = f"{directory}: too many reports of the same second"
    raise DrillError(message)


def _new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
