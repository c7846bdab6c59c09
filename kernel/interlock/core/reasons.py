"""Why something was refused, or why the kernel halted: stable codes.

A code is part of the contract: it stands in journals that auditors keep for years. Codes may be
added; none is renamed or given a second meaning.
"""

from __future__ import annotations

import enum

__all__ = ["HaltCode", "Reason"]


class Reason(enum.StrEnum):
    """The stable code of a verdict; `ACCEPTED` is the only one that lets something through."""

    ACCEPTED = "ACCEPTED"

    # Both gates: the kernel itself.
    HALTED = "HALTED"
    NOT_RUNNING = "NOT_RUNNING"
    GATE_CLOSED = "GATE_CLOSED"
    HEARTBEAT_OVERDUE = "HEARTBEAT_OVERDUE"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    CHECK_RAISED = "CHECK_RAISED"

    # At the start: the journal and who signs it.
    JOURNAL_ROLLED_BACK = "JOURNAL_ROLLED_BACK"
    WITNESS_SILENT = "WITNESS_SILENT"
    NO_KEY = "NO_KEY"

    # Gate 1: the tick.
    TICK_MALFORMED = "TICK_MALFORMED"
    TICK_STALE = "TICK_STALE"
    TICK_FROM_FUTURE = "TICK_FROM_FUTURE"
    TICK_BACKWARDS = "TICK_BACKWARDS"
    QUOTE_CROSSED = "QUOTE_CROSSED"
    PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
    SEQUENCE_GAP = "SEQUENCE_GAP"
    FEED_SILENCE = "FEED_SILENCE"

    # Gate 2: the order, in the order in which it is checked.
    NO_LIMITS = "NO_LIMITS"
    MALFORMED = "MALFORMED"
    OFF_TICK_GRID = "OFF_TICK_GRID"
    OFF_LOT_GRID = "OFF_LOT_GRID"
    DUPLICATE_ID = "DUPLICATE_ID"
    NO_REFERENCE = "NO_REFERENCE"
    REFERENCE_STALE = "REFERENCE_STALE"
    PRICE_COLLAR = "PRICE_COLLAR"
    MAX_QUANTITY = "MAX_QUANTITY"
    MAX_NOTIONAL = "MAX_NOTIONAL"
    MAX_POSITION = "MAX_POSITION"
    REDUCE_ONLY = "REDUCE_ONLY"
    EXIT_RESERVED = "EXIT_RESERVED"
    MAX_OPEN_ORDERS = "MAX_OPEN_ORDERS"
    MESSAGE_RATE = "MESSAGE_RATE"
    ORDER_LOOP = "ORDER_LOOP"
    SESSION_LOSS = "SESSION_LOSS"
    DRAWDOWN = "DRAWDOWN"

    # After gate 2.
    ORDER_CLOSED = "ORDER_CLOSED"
    JOURNAL_FAILED = "JOURNAL_FAILED"


class HaltCode(enum.StrEnum):
    """The stable code of a halt's cause."""

    OPERATOR = "OPERATOR"
    EXTERNAL = "EXTERNAL"
    SIGNAL = "SIGNAL"
    ORDER_LOOP = "ORDER_LOOP"
    SESSION_LOSS = "SESSION_LOSS"
    DRAWDOWN = "DRAWDOWN"
    ANOMALY = "ANOMALY"
    ERRORS_IN_A_ROW = "ERRORS_IN_A_ROW"
    STALLED = "STALLED"
    LATCH_ABSENT = "LATCH_ABSENT"
    LATCH_CORRUPT = "LATCH_CORRUPT"
    LATCH_FOREIGN = "LATCH_FOREIGN"
    LATCH_REPLACED = "LATCH_REPLACED"
    PAGE_REPLACED = "PAGE_REPLACED"
    HOME_UNREADABLE = "HOME_UNREADABLE"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    JOURNAL_FULL = "JOURNAL_FULL"
    JOURNAL_ROLLED_BACK = "JOURNAL_ROLLED_BACK"
    KEYS_INVALID = "KEYS_INVALID"
    LIMITS_INVALID = "LIMITS_INVALID"
    INTERNAL = "INTERNAL"
