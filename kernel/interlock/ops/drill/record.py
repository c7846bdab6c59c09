"""What a drill measured, as values. Nothing here is judged.

Instants are nanoseconds of the machine's monotonic clock since the drill began (0: it did not happen), so that they
stay exact in any reader of JSON, however long the machine has been up.
"""

from __future__ import annotations

import enum

import attrs

__all__ = ["Answer", "Journal", "Kind", "Lane", "Measured", "Restart"]


class Kind(enum.StrEnum):
    """What is rehearsed."""

    HALT = "halt"
    """``interlock halt`` in another process, while all engines trade."""
    HUNG = "hung"
    """The same while an engine hangs inside a send."""
    SUSPENDED = "suspended"
    """The same while the process of an engine is suspended (SIGSTOP)."""
    KILLED = "killed"
    """The same after an engine died in the midst (SIGKILL)."""
    WATCHDOG = "watchdog"
    """An engine's loop stands still, and ``interlock watch`` has to find that out and halt."""


@attrs.frozen(kw_only=True)
class Answer:
    """One halt, and what it answered.

    Attributes:
        command: what was run.
        code: its exit code; None if it was ended.
        run_ns: when the process was started.
        called_ns: when the halt began in it.
        stopped_ns: when the page's byte was set.
        durable_ns: when the latch was on the disk.
        confirmed_ns: when it had the running lock and had looked again: the ack.
        read_ns: when its answer was read.
        stopped: see `interlock.breaker.quiet.Quiet`, as for the rest.
        durable: likewise.
        confirmed: likewise.
        waiting: engine, pid, why, and the ids of orders in flight, of whoever was not quiet.
        killed: engine and pid of who got SIGKILL.
        message: for people.
        code_said: the halt code that it gave, if it says so.
    """

    command: tuple[str, ...]
    code: int | None
    run_ns: int
    called_ns: int
    stopped_ns: int
    durable_ns: int
    confirmed_ns: int
    read_ns: int
    stopped: bool
    durable: bool
    confirmed: bool
    waiting: tuple[dict[str, object], ...]
    killed: tuple[dict[str, object], ...]
    message: str
    code_said: str = ""


@attrs.frozen(kw_only=True)
class Lane:
    """One engine.

    Attributes:
        name: of the engine.
        pid: of its process.
        fault: what was done to it, or empty.
        fault_ns: since when it hung or stood still, by itself; 0: it did not.
        sends: how many sends began.
        per_s: of them a second, while it was under load.
        before_call_ns: how long before the halt was called its last send until then had begun; 0: none had.
        last_begun_ns: when its last send began.
        last_ended_ns: when the last one that ended did.
        begun_after_byte: sends that were noted after the byte was set.
        begun_after_ack: sends that began after the ack.
        in_flight_at_ack: sends that had begun and not ended then.
        seen_ns: when it knew of the halt.
        left_ns: when it let go of the running lock.
        refused: orders that were refused because of the halt.
        first_refused_ns: when the first of them was.
        first_refused: its id, and the reason; None if there was none.
        refused_after_ack: whether one was after the ack.
        otherwise: orders that were refused for other reasons, by reason.
        mode: its kernel's, at its end; empty if it did not live to tell.
        cancelled: whether its resting order could be cancelled while HALTED; None if it did not live to tell.
        died_ns: when it was found dead, if it did not end by itself.
        tail: begin and end of its sends from shortly before the halt on; of very many, close ones are taken as one.
    """

    name: str
    pid: int
    fault: str
    fault_ns: int
    sends: int
    per_s: int
    before_call_ns: int
    last_begun_ns: int
    last_ended_ns: int
    begun_after_byte: int
    begun_after_ack: int
    in_flight_at_ack: int
    seen_ns: int
    left_ns: int
    refused: int
    first_refused_ns: int
    first_refused: dict[str, str] | None
    refused_after_ack: bool
    otherwise: dict[str, int]
    mode: str
    cancelled: bool | None
    died_ns: int
    tail: tuple[tuple[int, int], ...]


@attrs.frozen(kw_only=True)
class Journal:
    """What the verifier says of one engine's journal.

    Attributes:
        engine: whose it is.
        verdict: the verifier's answer.
        exit_code: of the answer.
        records: how many.
        sealed: of them under the root.
        root: of the tree, in hex.
        permits: orders that were permitted.
        voided: permits that were never used.
        sent: sends that returned.
        unknown: sends of which nobody knows.
        in_doubt: permits of which nobody recorded how they ended: the orders' ids.
        findings: broken rules.
        halts: code, who and why of each halt.
    """

    engine: str
    verdict: str
    exit_code: int
    records: int
    sealed: int
    root: str
    permits: int
    voided: int
    sent: int
    unknown: int
    in_doubt: tuple[str, ...]
    findings: tuple[str, ...]
    halts: tuple[dict[str, str], ...]


@attrs.frozen(kw_only=True)
class Restart:
    """A restart of one engine after the halt, with two starts and an order.

    Attributes:
        engine: which.
        mode: of its kernel, at the end.
        starts: what each start answered.
        order: what an order was answered.
        reached: how many orders reached the venue.
        problem: what went wrong, if it could not even be tried.
    """

    engine: str
    mode: str
    starts: tuple[str, ...]
    order: str
    reached: int
    problem: str = ""


@attrs.frozen(kw_only=True)
class Measured:
    """All of it.

    Attributes:
        kind: what was rehearsed.
        escalate: whether what did not drain was to be killed.
        timeout_ns: how long a halt was to wait for quiet.
        stall_ns: how soon the watchdog was to notice; 0 if there was none.
        cause: what the halt's record must say: its reason, or its code for a watchdog's.
        answers: the halts, in order.
        ack_ns: the ack: of the first answer that confirmed; 0: none did.
        lanes: the engines.
        still_held: who held the running lock after the ack, or empty.
        latch: what the latch on the disk says.
        restart: of one engine.
        journals: of all engines.
    """

    kind: Kind
    escalate: bool
    timeout_ns: int
    stall_ns: int
    cause: str
    answers: tuple[Answer, ...]
    ack_ns: int
    lanes: tuple[Lane, ...]
    still_held: str
    latch: str
    restart: Restart
    journals: tuple[Journal, ...]
