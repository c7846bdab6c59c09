"""Two checks of a run that know nothing of the specification.

The monitor of times: what matters is when a send was under way, and when somebody said *confirmed*. Of the log it
believes the venue's own words about its sends, the acks, the operator's resets and the starts. Two rules: who is
inside a send after an ack began to be given must have been started since, and the home reset between the two; and
nobody is inside a send while the home is reset.

The journals: what the engines wrote down, read by the independent verifier and held against the log.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.helpers import journal
from tests.traces.checker import lines, supervised
from tests.traces.plan import OPERATOR

from interlock.breaker.home import Home
from interlock.breaker.segment import chunks, segments
from interlock.verify import Status, verify

if TYPE_CHECKING:
    from pathlib import Path

_NEVER: Final = 1 << 63


@attrs.frozen(kw_only=True)
class Send:
    """A send, by the venue's clock."""

    pid: int
    engine: str
    permit: int
    begin: int
    end: int


def sends(logs: Path) -> list[Send]:
    """All sends. One that never returned ends with its process: at the SIGKILL, if there was one."""
    records = lines(logs)
    ends = _deaths(records, supervised(logs))
    found: dict[tuple[int, int], Send] = {}
    for record in records:
        permit = record.get("send", record.get("sent"))
        if permit is not None:
            end = record.get("end", ends.get(record["pid"], _NEVER))
            found[record["pid"], permit] = Send(
                pid=record["pid"], engine=record["who"], permit=permit, begin=record["begin"], end=end
            )
    return list(found.values())


def _deaths(records: list[dict[str, Any]], world: list[dict[str, Any]]) -> dict[int, int]:
    """When each process ended, for a send that was in it.

    Reaping comes later than death, and an ack may rightly come between the two. So a process that was killed
    ends, for its sends, when the signal was sent.
    """
    ends: dict[int, int] = {}
    for seen in world:
        if "died" in seen:
            ends[seen["died"]] = seen["at"]
    for record in records:
        if record.get("fault", {}).get("act") == "kill":
            ends[record["pid"]] = min(ends.get(record["pid"], _NEVER), record["at"])
        elif record.get("trying") == "Escalate" and record["target"] in ends:
            ends[record["target"]] = min(ends[record["target"]], record["lo"])
    return ends


def late(logs: Path) -> list[str]:
    """The sends that break the promise, in words; none, if all is well."""
    records = lines(logs)
    acks = [record for record in records if record.get("step") == "Ack"]
    arms = [record["lo"] for record in records if record.get("step") == "ResetByte" and record["who"] == OPERATOR]
    starts = defaultdict(list)
    for record in records:
        if record.get("step") == "Start":
            starts[record["pid"]].append(record["hi"])
    wrong = []
    for send in sends(logs):
        mine = [start for start in starts[send.pid] if start <= send.begin]
        said = f"permit {send.permit} of {send.engine}, [{send.begin}, {send.end}]"
        wrong += [
            f"{said}: after the ack of {ack['actor']} at {ack['lo']}"
            for ack in acks
            if ack["lo"] < send.end and not any(ack["lo"] < arm < start for arm in arms for start in mine)
        ]
        wrong += [f"{said}: across the reset at {arm}" for arm in arms if send.begin < arm < send.end]
    return wrong


# -- The journals ----------------------------------------------------------------------------------


def journals(logs: Path, home: Path) -> list[str]:
    """What is wrong with the journals, or between them and the log; none, if all is well."""
    records = lines(logs)
    wrong = []
    for engine in Home(home).streams():
        report = verify((path.name, chunks(path)) for path in segments(Home(home).stream(engine)))
        if report.status is Status.TAMPERED:
            wrong.append(f"{engine}: TAMPERED: {report.findings}")
        mine = [record for record in records if record["who"] == engine]
        wrong += [f"{engine}: {said}" for said in (*_sent(mine, home, engine), *_halts(mine, home, engine))]
    return wrong


def _runs(mine: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The attachments of one engine, by run."""
    return {record["run"]: record for record in mine if record.get("step") == "Restart"}


def _by_run(home: Path, engine: str, *kinds: str) -> dict[str, list[dict[str, Any]]]:
    """The journal's records of these kinds, by the run that they belong to; ``run`` opens one.

    What a run salvaged belongs to the one before it.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    run = before = ""
    for record in journal(home, engine):
        inner = record["record"] if record["kind"] == "salvage" else record
        if record["kind"] == "run":
            before, run = run, record["run"]
        elif inner["kind"] == "run":
            before = inner["run"]
        elif inner["kind"] in kinds:
            found[before if inner is not record else run].append(inner)
    return found


def _sent(mine: list[dict[str, Any]], home: Path, engine: str) -> list[str]:
    """Each ``sent`` is a send of the log, begun before the venue saw it and no earlier than it was announced."""
    wrong = []
    attached = _runs(mine)
    venue = {(r["pid"], r["sent"]): r for r in mine if "sent" in r}
    granted = _before_announced(mine)
    told = set()
    for run, found in _by_run(home, engine, "sent").items():
        if run not in attached:
            continue  # it died before it could say that it was attached
        pid, zero = attached[run]["pid"], attached[run]["zero"]
        for record in found:
            key = (pid, record["permit"])
            told.add(key)
            begun = record["begun"] + zero
            if key not in venue:
                wrong.append(f"sent {record['permit']} is in the journal alone")
            elif not granted.get(key, 0) <= begun <= venue[key]["begin"]:
                wrong.append(f"sent {record['permit']} was begun at {begun}, the venue says {venue[key]}")
    ended = {record["pid"] for record in mine if record.get("note") == "closing"}
    wrong += [
        f"send {permit} is in the log alone" for pid, permit in venue if pid in ended and (pid, permit) not in told
    ]
    return wrong


def _before_announced(mine: list[dict[str, Any]]) -> dict[tuple[int, int], int]:
    """For each permit, when the gate that granted it was entered."""
    last: dict[tuple[int, str], int] = {}
    found = {}
    for record in mine:
        if record.get("step") == "Grant":
            last[record["pid"], record["emitter"]] = record["lo"]
        elif record.get("step") == "Announce":
            found[record["pid"], record["permit"]] = last.get((record["pid"], record["emitter"]), 0)
    return found


def _halts(mine: list[dict[str, Any]], home: Path, engine: str) -> list[str]:
    """Each halt that an engine observed is in its journal, and no send was begun after it and before a start."""
    wrong = []
    attached = _runs(mine)
    ended = {record["pid"] for record in mine if record.get("note") == "closing"}
    for run, found in _by_run(home, engine, "halt", "start", "sent").items():
        if run not in attached:
            continue
        pid = attached[run]["pid"]
        halted_at = _NEVER
        halts = 0
        for record in found:
            if record["kind"] == "halt" and record["first"]:
                halts += 1
                halted_at = min(halted_at, record["at"])
            elif record["kind"] == "start":
                halted_at = _NEVER
            elif record["kind"] == "sent" and record["begun"] > halted_at:
                wrong.append(f"permit {record['permit']} was begun after the halt at {halted_at}")
        observed = sum(record.get("step") == "Observe" and record["pid"] == pid for record in mine)
        if pid in ended and halts < observed:
            wrong.append(f"{observed} halts observed, and {halts} in the journal")
    return wrong


def doubts(logs: Path) -> int:
    """How often a killer had the lock and yet did not confirm, because the roster was against it."""
    return sum(record.get("step") == "Doubt" for record in lines(logs))
