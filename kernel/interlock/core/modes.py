"""The three modes, and the only ways between them.

Two rules stand above the code in this file.

1. **The table is the machine.** What is not listed is refused. `TABLE` has one row for each trigger
   and mode that may be left by it; it is handed to ``transitions`` once, while this module is
   imported, and what comes back is frozen into `NEXT`. Nothing is dispatched through
   ``transitions`` afterwards: at run time a transition is one look-up in a read-only mapping, and
   there is no model whose state could be assigned, no callback that could raise half-way, no queue
   in which a nested ``halt`` could wait.

2. **The machine is not the latch.** HALTED here is what this process knows. The latch that
   survives it lives in the home directory (room ``breaker``), and both must agree before an order
   leaves. Losing either one halts.

``transitions`` is strict only where it is told to be, so `freeze` refuses at import what it would
let through: a row that is written twice, a state that nobody declared, a callback or a condition
(guards belong in the kernel, where they can be seen), a second way out of HALTED, a halt that is
not possible from everywhere.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transitions import Machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ARMED", "NEXT", "TABLE", "Mode", "Trigger", "freeze"]

ARMED: Final = 0xA5
"""The one value of the latch byte that permits. Zero, or anything else, is halt."""


class Mode(enum.StrEnum):
    """Where the kernel is."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    HALTED = "HALTED"


class Trigger(enum.StrEnum):
    """What may move it."""

    START = "start"
    STOP = "stop"
    HALT = "halt"
    RESET = "reset"


TABLE: Final[tuple[tuple[Trigger, Mode, Mode], ...]] = (
    (Trigger.START, Mode.IDLE, Mode.RUNNING),
    (Trigger.STOP, Mode.RUNNING, Mode.IDLE),
    (Trigger.HALT, Mode.IDLE, Mode.HALTED),
    (Trigger.HALT, Mode.RUNNING, Mode.HALTED),
    (Trigger.HALT, Mode.HALTED, Mode.HALTED),
    (Trigger.RESET, Mode.HALTED, Mode.IDLE),
)


class _Model:
    """A bare object for ``transitions`` to check the table on; it is thrown away."""

    state: str


def freeze(  # noqa: C901, PLR0912 - one plain check after another
    table: Iterable[tuple[Trigger, Mode, Mode]],
) -> Mapping[tuple[Mode, Trigger], Mode]:
    """Check a table of transitions and make it immutable.

    Args:
        table: rows of trigger, source and target.

    Returns:
        A read-only mapping from (mode, trigger) to the next mode.

    Raises:
        ValueError: a row stands twice, names an unknown state or trigger, leads out of HALTED by
            anything but ``reset``, or ``halt`` is missing for a mode.
    """
    rows = list(table)
    for row in rows:
        if len(row) != 3:  # noqa: PLR2004 - trigger, source, target
            msg = f"a row is (trigger, source, target) and nothing else, no callback or guard: {row!r}"
            raise ValueError(msg)
        trigger, source, target = row
        if not isinstance(trigger, Trigger):
            msg = f"unknown trigger {trigger!r}"
            raise ValueError(msg)  # noqa: TRY004 - a wrong table, not a wrong type of call
        for mode in (source, target):
            if not isinstance(mode, Mode):
                msg = f"unknown state {mode!r}"
                raise ValueError(msg)  # noqa: TRY004
    machine = Machine(
        model=_Model(),
        states=[mode.value for mode in Mode],
        transitions=[[str(t), str(s), str(d)] for t, s, d in rows],
        initial=Mode.IDLE.value,
        auto_transitions=False,
        send_event=False,
        ignore_invalid_triggers=False,
    )
    following: dict[tuple[Mode, Trigger], Mode] = {}
    for name, event in machine.events.items():
        for source_name, listed in event.transitions.items():
            key = (Mode(source_name), Trigger(name))
            if len(listed) != 1:
                msg = f"{key[1]} from {key[0]} stands {len(listed)} times"
                raise ValueError(msg)
            (transition,) = listed
            if transition.conditions or transition.before or transition.after or transition.prepare:
                msg = f"{key[1]} from {key[0]} hides a guard or a callback"
                raise ValueError(msg)
            if not transition.dest:
                msg = f"{key[1]} from {key[0]} has no target"
                raise ValueError(msg)
            following[key] = Mode(transition.dest)
    for mode in Mode:
        if following.get((mode, Trigger.HALT)) is not Mode.HALTED:
            msg = f"halt must be possible from {mode} and lead to HALTED"
            raise ValueError(msg)
    for trigger in (Trigger.START, Trigger.STOP):
        if (Mode.HALTED, trigger) in following:
            msg = f"{trigger} must not leave HALTED: only reset does"
            raise ValueError(msg)
    if following.get((Mode.HALTED, Trigger.RESET)) is not Mode.IDLE:
        msg = "reset must lead from HALTED to IDLE, and never further"
        raise ValueError(msg)
    return MappingProxyType(following)


NEXT: Final[Mapping[tuple[Mode, Trigger], Mode]] = freeze(TABLE)
"""(mode, trigger) to the next mode; a pair that is not in it is refused."""
