"""The tables for people: CSV, one row a record, for as long as the span is.

UTF-8, commas, RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front: whoever could
name an order must not be able to make an auditor's machine compute something.
"""

from __future__ import annotations

import csv
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from interlock.ops.bundle.plan import utc

if TYPE_CHECKING:
    from types import TracebackType

    from interlock.ops.bundle.facts import Facts
    from interlock.ops.bundle.plan import Span
    from interlock.ops.bundle.story import Entry
    from interlock.ops.bundle.tree import Folder

__all__ = ["SHEETS", "Sheets"]

_ORDER: Final = ("order_id", "instrument", "side", "type", "quantity", "price", "tif", "reduce_only")
_HEAD: Final = ("engine", "seq", "utc", "salvaged")

SHEETS: Final = {
    "orders": (*_HEAD, "event", *_ORDER, "bid", "ask", "permit", "detail"),
    "refusals": (*_HEAD, "gate", "code", "count", "mode", *_ORDER, "limit", "value", "first_utc", "last_utc"),
    "halts": (
        *_HEAD,
        "event",
        "epoch",
        "code",
        "reason",
        "who",
        "source",
        "first",
        "called_utc",
        "effect_utc",
        "in_flight",
    ),
    "modes": (*_HEAD, "event", "mode", "epoch", "who", "why"),
}
"""The sheets and their columns."""

_ORDERS: Final = frozenset(
    {"permit", "sent", "unknown", "void", "accept", "fill", "cancelled", "reject", "cancel", "cancel_end"}
)
_REFUSALS: Final = frozenset({"refuse", "flood", "block"})
_MODES: Final = frozenset({"run", "arm", "start", "drain", "stop", "halt", "reset", "end", "recover"})
_DETAIL: Final = {
    "sent": "result",
    "unknown": "error",
    "void": "code",
    "accept": "venue_id",
    "fill": "fill",
    "cancelled": "reason",
    "reject": "reason",
    "cancel_end": "error",
}
_WHY: Final = {
    "arm": "reason",
    "start": "session",
    "drain": "reason",
    "halt": "reason",
    "reset": "reason",
    "end": "code",
}
_FORMULA: Final = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are wide ones, which are taken for the same
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def cell(value: object) -> str:
    """A value as a cell may hold it."""
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    text = str(value)
    return f"'{text}" if text[:1] in _FORMULA and text and not _NUMBER.fullmatch(text) else text


class Sheets:
    """The sheets, being written.

    Args:
        folder: the bundle's.
        span: which records.
    """

    def __init__(self, folder: Folder, span: Span) -> None:
        self._span = span
        self._folder = folder
        self._stack = ExitStack()
        self._writers: dict[str, Any] = {}
        self._orders: dict[int, str] = {}
        self._cancels: dict[int, str] = {}
        self._engine = ""

    def __enter__(self) -> Self:
        """Open all of them."""
        for name, columns in SHEETS.items():
            path = self._folder.made(f"csv/{name}.csv")
            file = self._stack.enter_context(path.open("x", encoding="utf-8", newline="", errors="backslashreplace"))
            self._writers[name] = csv.writer(file)
            self._writers[name].writerow(columns)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self._stack.close()

    def feed(self, entry: Entry, facts: Facts) -> None:
        """Write the rows of a record, if it has any; ``facts`` have taken it already."""
        kind = entry.record["kind"]
        if facts.engine != self._engine or kind == "run":
            self._engine = facts.engine
            self._orders.clear()
            self._cancels.clear()
        self._remember(kind, entry)
        if self._span.holds(entry.record["ts"]):
            if kind in _ORDERS:
                self._row("orders", entry, self._order(kind, entry.record))
            elif kind in _REFUSALS:
                self._row("refusals", entry, _refusal(kind, entry.record))
            if kind in {"halt", "reset"}:
                self._row("halts", entry, _halt(kind, entry.record))
            if kind in _MODES:
                self._row("modes", entry, _mode(kind, entry.record, facts))

    def _row(self, sheet: str, entry: Entry, members: dict[str, object]) -> None:
        head = (self._engine, str(entry.seq), utc(entry.record["ts"]), cell(entry.salvaged))
        get = members.get
        self._writers[sheet].writerow([*head, *[cell(get(column)) for column in SHEETS[sheet][len(_HEAD) :]]])

    def _remember(self, kind: str, entry: Entry) -> None:
        """Which order a permit or a cancel was for, for as long as it has no end."""
        if kind == "permit":
            self._orders[entry.seq] = entry.record["id"]
        elif kind == "cancel":
            self._cancels[entry.seq] = entry.record["id"]

    def _order(self, kind: str, record: dict[str, Any]) -> dict[str, object]:
        found: dict[str, object] = {**record, "event": kind, "order_id": record.get("id")}
        found["detail"] = record[_DETAIL[kind]] if kind in _DETAIL else None
        if kind in {"sent", "unknown", "void"}:
            found["order_id"] = self._orders.pop(record["permit"], None)
        elif kind == "cancel_end":
            found["order_id"] = self._cancels.pop(record["cancel"], None)
        return found


def _refusal(kind: str, record: dict[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {"gate": 1 if kind == "block" else 2, "count": 1, **record}
    found["order_id"] = record.get("id", record.get("first"))
    for name in ("first", "last"):
        found[f"{name}_utc"] = utc(record[f"{name}_ts"]) if f"{name}_ts" in record else None
    return found


def _halt(kind: str, record: dict[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {**record, "event": kind, "who": record["operator"]}
    if kind == "halt":
        at = record["at"]
        found["called_utc"] = record["utc"]
        found["effect_utc"] = utc(record["ts"] - (record["mono"] - at) // 1000) if at else None
        found["in_flight"] = " ".join(map(str, record["in_flight"]))
    return found


def _mode(kind: str, record: dict[str, Any], facts: Facts) -> dict[str, object]:
    why = record[_WHY[kind]] if kind in _WHY else None
    return {"event": kind, "mode": facts.mode, "epoch": facts.epoch, "who": record.get("operator"), "why": why}
