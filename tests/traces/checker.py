"""Logs into traces, and traces to TLC: is this run a behaviour of ``specs/ipc/QuiescentKill.tla``?"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from tests.helpers import ROOT
from tests.traces.plan import ENGINES, OPERATOR
from tests.traces.roles import EMITTERS

from interlock.testing import tlc
from interlock.testing.traces import to_tla

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SPECS: Final = ROOT / "specs" / "ipc"
KILLERS: Final = 28
"""How many halts a run may have; each has a name of its own in the trace."""
EPOCHS: Final = 6
_EVENTS: Final = 7000


class TraceError(Exception):
    """A log that can't be read as a trace, or a checker that said neither yes nor no."""


@attrs.frozen(kw_only=True)
class Event:
    """One step, as it was logged.

    Attributes:
        step: its name.
        lo: nanoseconds, monotonic, before it happened.
        hi: and after.
        engine: whose it is, or empty.
        word: the emitter, the killer, or the mode.
        number: an epoch, or 1 for yes.
        may: whether it is not known to have happened: the process died.
    """

    step: str
    lo: int
    hi: int
    engine: str = ""
    word: str = ""
    number: int = 0
    may: bool = False


Strand = list[Event]
Trace = list[Strand]


def lines(logs: Path) -> list[dict[str, Any]]:
    """All that the processes of a run logged, each file in its order; the supervisor's is left out."""
    found = []
    for path in sorted(logs.glob("*.ndjson")):
        if path.stem != "supervisor":
            found += [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return found


def supervised(logs: Path) -> list[dict[str, Any]]:
    """What the supervisor saw: who died, was suspended, was resumed."""
    return [orjson.loads(line) for line in (logs / "supervisor.ndjson").read_bytes().split(b"\n")[:-1]]


def read(logs: Path) -> Trace:
    """The trace of one run."""
    records, world = lines(logs), supervised(logs)
    died = {seen["died"]: seen for seen in world if "died" in seen}
    closing = {record["pid"] for record in records if record.get("note") == "closing"}
    end = max([record["hi"] for record in records if "hi" in record] + [seen["at"] for seen in world])
    strands: dict[object, Strand] = defaultdict(list)
    open_: dict[object, dict[int, Event]] = defaultdict(dict)
    actors: dict[int, list[str]] = defaultdict(list)
    shooters: dict[int, str] = {}
    for record in records:
        key = (record["pid"], record["thread"])
        if record.get("actor") and record["actor"] not in actors[record["pid"]]:
            actors[record["pid"]].append(record["actor"])
        if "target" in record:
            shooters.setdefault(record["target"], record["actor"])
        if "trying" in record:
            hi = died.get(record["pid"], {"at": end})["at"]
            open_[key][record["number"]] = _event(record["trying"], record, hi, may=True)
            continue
        open_[key].pop(record.get("gave_up", record.get("number", -1)), None)
        if "step" in record and not record.get("first"):
            strands[key].append(_event(record["step"], record, record["hi"]))
    for key, undone in open_.items():
        strands[key] += [event for event in undone.values() if event.step != "Escalate"]
    _signals(strands, records, world)
    for pid, seen in died.items():
        if pid not in closing:
            _death(strands, pid, seen, shooters.get(pid, ""), actors[pid])
    return [strand for _, strand in sorted(strands.items(), key=lambda item: str(item[0])) if strand]


def _death(strands: dict[object, Strand], pid: int, seen: dict[str, Any], shooter: str, actors: list[str]) -> None:
    """A process died: an engine crashed, a reset was left as it was, a halt is nobody's any more."""
    mine = [event for key, strand in strands.items() if _pid(key) == pid for event in strand if not event.may]
    lo = min(max((event.hi for event in mine), default=0) + 1, seen["at"])
    if seen["who"] in ENGINES:
        strands["death", pid].append(Event(step="Crash", lo=lo, hi=seen["at"], engine=seen["who"], word=shooter))
    resets = [event.step for event in mine if event.step.startswith("Reset")]
    if seen["who"] == OPERATOR and resets and resets[-1] not in {"ResetEnd", "ResetUndone", "ResetDies"}:
        strands["death", pid].append(Event(step="ResetDies", lo=lo, hi=seen["at"]))
    for actor in actors:
        strands["death", actor].append(Event(step="KillerDies", lo=lo, hi=seen["at"], word=actor))


def _pid(key: object) -> int:
    return key[0] if isinstance(key, tuple) and isinstance(key[0], int) else key[1] if isinstance(key, tuple) else -1


def _event(step: str, record: dict[str, Any], hi: int, *, may: bool = False) -> Event:
    engine = record["who"] if record["who"] in ENGINES else ""
    word = record.get("emitter") or record.get("actor") or ""
    if step == "Restart":
        word = record["mode"]
    number = int(record.get("ok", record.get("epoch", 1)))
    return Event(step=step, lo=record["lo"], hi=hi, engine=engine, word=word, number=number, may=may)


def _signals(strands: dict[object, Strand], records: list[dict[str, Any]], world: list[dict[str, Any]]) -> None:
    """Suspend, between the process's own word and the supervisor's; and Resume."""
    said: dict[int, list[int]] = defaultdict(list)
    for record in records:
        if record.get("fault", {}).get("act") == "stop" and record["who"] in ENGINES:
            said[record["pid"]].append(record["at"])
    for seen in world:
        if seen["who"] not in ENGINES:
            continue
        if "stopped" in seen:
            lo = said[seen["stopped"]].pop(0)
            strands["death", seen["stopped"]].append(Event(step="Suspend", lo=lo, hi=seen["at"], engine=seen["who"]))
        elif "resumed" in seen:
            strands["death", seen["resumed"]].append(
                Event(step="Resume", lo=seen["lo"], hi=seen["at"], engine=seen["who"])
            )


# -- For TLC ---------------------------------------------------------------------------------------


def module(traces: Sequence[Trace]) -> str:
    """The module TraceData."""
    return to_tla("TraceData", Runs=[_run(trace) for trace in traces])


def _run(trace: Trace) -> list[list[dict[str, str | int | bool]]]:
    names: dict[str, str] = {}
    for strand in trace:
        for event in strand:
            if "." in event.word:
                names.setdefault(event.word, f"k{len(names) + 1}")
    if len(names) > KILLERS:
        message = f"{len(names)} halts in one run; the checker knows {KILLERS}"
        raise TraceError(message)
    times = sorted({time for strand in trace for event in strand for time in (event.lo, event.hi)})
    rank = {time: at for at, time in enumerate(times)}
    return [
        [
            {
                "s": event.step,
                "lo": rank[event.lo],
                "hi": rank[event.hi],
                "e": event.engine,
                "x": names.get(event.word, event.word),
                "n": event.number,
                "may": event.may,
            }
            for event in strand
        ]
        for strand in trace
    ]


def config(invariant: str = "Accepts") -> str:
    """The configuration. Every killer is mortal and every engine may be suspended, as in the runs."""
    killers = ", ".join(f'"k{number}"' for number in range(1, KILLERS + 1))
    engines = ", ".join(f'"{name}"' for name in ENGINES)
    emitters = ", ".join(f'"{name}"' for name in EMITTERS)
    return f"""SPECIFICATION TraceSpec
CONSTANTS
    Engines = {{{engines}}}
    Emitters = {{{emitters}}}
    Killers = {{{killers}}}
    Mortal = {{{killers}}}
    Sleepers = {{{engines}}}
    Forkers = {{}}
    MaxEpoch = {EPOCHS}
    Once = FALSE
INVARIANT
    {invariant}
"""


def check(traces: Sequence[Trace], *, invariant: str = "Accepts", timeout_s: float = 600.0) -> tlc.TlcResult:
    """Run TLC on traces."""
    with tempfile.TemporaryDirectory(prefix="traces-") as name:
        directory = Path(name)
        for source in [*SPECS.glob("*.tla"), *(SPECS.parent / "kernel").glob("*.tla")]:
            shutil.copy(source, directory)
        (directory / "TraceData.tla").write_text(module(traces), encoding="utf-8")
        cfg = directory / "Trace.cfg"
        cfg.write_text(config(invariant), encoding="utf-8")
        return tlc.run(directory / "QuiescentKillTrace.tla", cfg, timeout_s=timeout_s)


def accepted(traces: Sequence[Trace]) -> list[bool]:
    """For each trace, whether it is a behaviour of the specification.

    Raises:
        TraceError: TLC did not come to an end.
    """
    found: list[bool] = []
    for part in _batches(traces):
        result = check(part)
        if result.exit_code != 0:
            message = f"TLC gave {result.exit_code}:\n{result.output[-3000:]}"
            raise TraceError(message)
        yes = {int(number) for number in re.findall(r'<<"ACCEPTED", (\d+)>>', result.output)}
        found += [number in yes for number in range(1, len(part) + 1)]
    return found


def _batches(traces: Sequence[Trace]) -> Iterator[list[Trace]]:
    """Some traces at a time, so that what TLC has to read stays small."""
    part: list[Trace] = []
    events = 0
    for trace in traces:
        part.append(trace)
        events += sum(map(len, trace))
        if events > _EVENTS:
            yield part
            part, events = [], 0
    if part:
        yield part


def stuck(trace: Trace) -> str:
    """Why a trace is rejected: how far it gets, what would be next in each strand, and the specification's state."""
    result = check([trace], invariant="Goes")
    reached = re.findall(r'<<\s*"REACHED",\s*<<([\d,\s]*)>>,(.*?)>>\n(?=<<|[^ ])', result.output, re.DOTALL)
    if not reached:
        return result.output[-3000:]
    places = [int(number) for number in reached[-1][0].split(",")]
    heads = [strand[place - 1] for strand, place in zip(trace, places, strict=True) if place <= len(strand)]
    first = min(event.hi for event in heads)
    due = sorted((event for event in heads if event.lo <= first), key=lambda event: event.lo)
    return "next: " + "\n      ".join(map(str, due)) + f"\nstate: {reached[-1][1].strip()}"


def steps(traces: Iterable[Trace]) -> set[str]:
    """The names of the steps that happened."""
    return {event.step for trace in traces for strand in trace for event in strand if not event.may}
