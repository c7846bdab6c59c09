"""What a report must say, counted anew: from the lines of the segments, in the plainest way, with none of our code."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Record = dict[str, Any]
BY_PEOPLE = {"OPERATOR", "SIGNAL", "EXTERNAL"}


def lines_of(bundle: Path) -> dict[str, list[bytes]]:
    """The lines of each engine."""
    found = {}
    for stream in sorted((bundle / "journal").iterdir()):
        data = b"".join(path.read_bytes() for path in sorted(stream.glob("*.jsonl")))
        found[stream.name] = data.split(b"\n")[:-1]
    return found


def told(lines: list[bytes]) -> list[tuple[int, Record]]:
    """Number and record of each in the order of what happened: what was salvaged stands before the run that did."""
    found: list[tuple[int, Record]] = []
    for seq, line in enumerate(lines):
        record = json.loads(line)
        if record["kind"] != "salvage":
            found.append((seq, record))
            continue
        while record["kind"] == "salvage":
            record = record["record"]
        place = len(found)
        while found[place - 1][1]["kind"] in {"run", "recover"}:
            place -= 1
        found.insert(place, (seq, record))
    return found


def counted(bundle: Path, begin_us: int = 0, end_us: int = 1 << 60) -> dict[str, int]:
    """Every number of the claims, by claim and name."""
    every = {engine: told(lines) for engine, lines in lines_of(bundle).items()}
    inside = {
        engine: [(seq, one) for seq, one in records if begin_us <= one["ts"] < end_us]
        for engine, records in every.items()
    }
    flat = [one for records in inside.values() for _, one in records]
    kinds = Counter(one["kind"] for one in flat)
    halts = [one for one in flat if one["kind"] == "halt"]
    firsts = [one for one in halts if one["first"]]
    resets = [one for one in flat if one["kind"] == "reset"]
    runs = [one for one in flat if one["kind"] == "run"]
    refused: Counter[str] = Counter()
    for one in flat:
        if one["kind"] in {"refuse", "flood"}:
            refused[one["code"]] += one.get("count", 1)
    approved = approvals(bundle)
    known = [run for run in runs if any(one["sha256"] == run["limits"] and one["ts"] <= run["ts"] for one in approved)]
    working, over, cancels, failed = halted(every, begin_us, end_us)
    drills = [json.loads(path.read_bytes()) for path in sorted((bundle / "drills").glob("*.json"))]
    timed = [took_us(one) for one in firsts if one["at"] and took_us(one) >= 0]
    found = {
        "halts.halts": len(halts),
        "halts.first": len(firsts),
        "halts.epochs": len({one["epoch"] for one in firsts}),
        "effect.timed": len(timed),
        "effect.us": max(timed, default=0),
        "late.late": sum(late(records) for records in every.values()),
        "cancels.cancels": cancels,
        "cancels.failed": failed,
        "cancels.working": working,
        "cancels.over": over,
        "resets.resets": len(resets),
        "resets.epochs": len({one["prior"] for one in resets}),
        "resets.unnamed": len([one for one in resets if not (one["operator"].strip() and one["reason"].strip())]),
        "permits.permits": kinds["permit"],
        "permits.sent": kinds["sent"],
        "permits.unknown": kinds["unknown"],
        "permits.void": kinds["void"],
        "refusals.refusals": sum(refused.values()),
        "approved.runs": len(runs),
        "approved.listed": len(runs),
        "approved.approved": len(known),
        "approved.without": len(runs) - len(known),
        "automatic.automatic": len([one for one in halts if one["code"] not in BY_PEOPLE]),
        "blocked.blocked": sum(one["count"] for one in flat if one["kind"] == "block"),
        "fills.fills": kinds["fill"],
        "fills.unknown": len([one for one in flat if one["kind"] == "fill" and not one["known"]]),
        "breaches.breaches": kinds["breach"],
        "anomalies.anomalies": kinds["anomaly"],
        "stops.stops": kinds["stop"],
        "recoveries.crashes": sum(crashes(records, begin_us, end_us) for records in every.values()),
        "recoveries.recoveries": kinds["recover"],
        "recoveries.salvaged": sum(one["salvaged"] for one in flat if one["kind"] == "recover"),
        "drills.drills": len(drills),
        "drills.passed": len([one for one in drills if one["verdict"] == "PASSED"]),
        "sealed.records": sum(map(len, lines_of(bundle).values())),
        "sealed.engines": len(every),
        "signed.checkpoints": kinds["checkpoint"],
        "signed.anchors": kinds["anchor"],
        "people.people": len(people(halts, resets, runs, approved)),
        "clock.steps": len([one for one in flat if one.get("code") in {"CLOCK_STEP", "CLOCK_BACK"}]),
    }
    for name, codes in CONTROLS.items():
        found[f"control-{name}.refused"] = sum(refused[code] for code in codes)
    return found


CONTROLS = {
    "collar": ["PRICE_COLLAR"],
    "value": ["MAX_NOTIONAL"],
    "volume": ["MAX_QUANTITY"],
    "messages": ["MESSAGE_RATE"],
    "throttle": ["ORDER_LOOP"],
    "position": ["MAX_POSITION"],
    "open": ["MAX_OPEN_ORDERS"],
    "loss": ["SESSION_LOSS", "DRAWDOWN"],
    "duplicate": ["DUPLICATE_ID"],
    "instrument": ["UNKNOWN_INSTRUMENT", "NO_LIMITS"],
}


def approvals(bundle: Path) -> list[Record]:
    """The approvals of limits."""
    return [json.loads(path.read_bytes()) for path in sorted((bundle / "limits").glob("*.json"))]


def took_us(halt: Record) -> int:
    """From the call to the end of emission."""
    called = datetime.fromisoformat(halt["utc"])
    us = int(called.timestamp()) * 1_000_000 + called.microsecond
    return int(halt["ts"] - (halt["mono"] - halt["at"]) // 1000 - us)


def late(records: list[tuple[int, Record]]) -> int:
    """Sends that began after the first halt of their run took effect."""
    at, count = None, 0
    for _, one in records:
        if one["kind"] in {"run", "reset", "start"}:
            at = None
        elif one["kind"] == "halt" and at is None:
            at = one["at"]
        elif one["kind"] in {"sent", "unknown"} and at is not None:
            count += one["begun"] > at
    return count


def crashes(records: list[tuple[int, Record]], begin_us: int, end_us: int) -> int:
    """Runs that began while the one before had not ended."""
    attached, count = False, 0
    for _, one in records:
        if one["kind"] == "run":
            count += attached and begin_us <= one["ts"] < end_us
            attached = True
        elif one["kind"] == "end":
            attached = False
    return count


def halted(every: dict[str, list[tuple[int, Record]]], begin_us: int, end_us: int) -> tuple[int, int, int, int]:
    """Orders that worked at halts, those over before the mode was left, cancels while HALTED, those that raised."""
    working = over = cancels = failed = 0
    for records in every.values():
        for place, (_, one) in enumerate(records):
            if one["kind"] != "halt" or not begin_us <= one["ts"] < end_us or mode(records[:place]) == "HALTED":
                continue
            there = open_orders(records[:place])
            after = []
            for _, later in records[place + 1 :]:
                if later["kind"] in {"reset", "start"}:
                    break
                after.append(later)
            working += len(there)
            over += len(there - open_orders([*records[:place], *((0, later) for later in after)]))
            cancels += len([later for later in after if later["kind"] == "cancel"])
            failed += len([later for later in after if later["kind"] == "cancel_end" and later["error"] is not None])
    return working, over, cancels, failed


def mode(records: list[tuple[int, Record]]) -> str:
    """The mode that records lead to."""
    now = "IDLE"
    for _, one in records:
        now = {"start": "RUNNING", "stop": "IDLE", "halt": "HALTED", "reset": "IDLE"}.get(one["kind"], now)
        if one["kind"] == "run" and now == "RUNNING":
            now = "IDLE"
    return now


def open_orders(records: list[tuple[int, Record]]) -> set[str]:
    """Orders whose send returned, and that are not over."""
    permits = {seq: one["id"] for seq, one in records if one["kind"] == "permit"}
    sent = {permits[one["permit"]] for _, one in records if one["kind"] == "sent" and one["permit"] in permits}
    over = {one["id"] for _, one in records if one["kind"] in {"cancelled", "reject"}}
    filled = {one["id"] for _, one in records if one["kind"] == "fill"}  # each order of the session is of one unit
    return sent - over - filled


def people(halts: list[Record], resets: list[Record], runs: list[Record], approved: list[Record]) -> set[str]:
    """The names of operators."""
    return {one["operator"] for one in (*halts, *resets, *runs, *approved) if one["operator"]}
