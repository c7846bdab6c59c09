"""Three modes, four triggers, and nothing that is not in the table."""

import itertools
import re
from collections.abc import Callable
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
from tests.core.builders import (
    MS,
    anomalies,
    granted,
    halts,
    limits,
    order,
    running,
    sent,
    snapshot,
    statuses,
)
from transitions import Machine

from interlock.core import modes
from interlock.core.ledger import Status
from interlock.core.modes import ARMED, NEXT, TABLE, Mode, Trigger, freeze
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import HaltCause

CAUSE = HaltCause(code=HaltCode.OPERATOR, reason="enough", source="cli")
LATER = HaltCause(code=HaltCode.SIGNAL, reason="again", source="signal")

DESIGN = {
    (Mode.IDLE, Trigger.START): Mode.RUNNING,
    (Mode.RUNNING, Trigger.STOP): Mode.IDLE,
    (Mode.IDLE, Trigger.HALT): Mode.HALTED,
    (Mode.RUNNING, Trigger.HALT): Mode.HALTED,
    (Mode.HALTED, Trigger.HALT): Mode.HALTED,
    (Mode.HALTED, Trigger.RESET): Mode.IDLE,
}
"""The table of the design, written a second time by hand."""


# ---------------------------------------------------------------------------
# The table


@pytest.mark.parametrize(("mode", "trigger"), list(itertools.product(Mode, Trigger)))
def test_every_pair_goes_where_the_design_says(mode: Mode, trigger: Trigger) -> None:
    """Each of the twelve pairs of mode and trigger leads to its one mode, or nowhere."""
    assert NEXT.get((mode, trigger)) is DESIGN.get((mode, trigger))


def test_table_and_next_say_the_same() -> None:
    """The flat table has one row for each entry of the mapping."""
    assert {(mode, trigger): to for trigger, mode, to in TABLE} == dict(NEXT)
    assert len(TABLE) == len(NEXT) == len(DESIGN)


def test_armed_is_one_positive_byte() -> None:
    """The value that permits is one byte, and not zero."""
    assert 0 < ARMED < 256


def test_next_cannot_be_changed() -> None:
    """The table is read-only, by item, by method and by trick."""
    table = cast("Any", NEXT)
    assert isinstance(NEXT, MappingProxyType)
    with pytest.raises(TypeError):
        table[Mode.HALTED, Trigger.START] = Mode.RUNNING
    with pytest.raises(TypeError):
        del table[Mode.IDLE, Trigger.HALT]
    for method in ("update", "pop", "clear", "setdefault", "popitem", "__ior__"):
        with pytest.raises((AttributeError, TypeError)):
            getattr(table, method)({})
    with pytest.raises(TypeError):
        table |= {(Mode.HALTED, Trigger.START): Mode.RUNNING}
    assert dict(NEXT) == DESIGN


def test_table_is_a_tuple_of_tuples() -> None:
    """The rows that the docs are drawn from cannot be changed either."""
    assert type(TABLE) is tuple
    assert {type(row) for row in TABLE} == {tuple}


ROW = (Trigger.START, Mode.IDLE, Mode.RUNNING)
WRONG_TABLES = [
    ("twice", (*TABLE, ROW), "start from IDLE stands 2 times"),
    (
        "two targets",
        (*TABLE, (Trigger.STOP, Mode.RUNNING, Mode.HALTED)),
        "stop from RUNNING stands 2 times",
    ),
    ("trigger", (*TABLE, ("resume", Mode.IDLE, Mode.RUNNING)), "unknown trigger 'resume'"),
    ("trigger as text", (*TABLE[1:], ("start", Mode.IDLE, Mode.RUNNING)), "unknown trigger"),
    ("source", (*TABLE, (Trigger.STOP, "PAUSED", Mode.IDLE)), "unknown state 'PAUSED'"),
    ("target", (*TABLE, (Trigger.STOP, Mode.IDLE, "PAUSED")), "unknown state 'PAUSED'"),
    ("wildcard", (*TABLE, (Trigger.STOP, "*", Mode.IDLE)), "unknown state"),
    ("internal", (*TABLE, (Trigger.STOP, Mode.IDLE, None)), "unknown state None"),
    ("same", (*TABLE, (Trigger.STOP, Mode.IDLE, "=")), "unknown state"),
    ("guard", (*TABLE[1:], (*ROW, "is_armed")), "no callback or guard"),
    ("short", (*TABLE, (Trigger.STOP, Mode.IDLE)), "nothing else"),
    ("exit by start", (*TABLE, (Trigger.START, Mode.HALTED, Mode.IDLE)), "start must not leave"),
    ("exit by stop", (*TABLE, (Trigger.STOP, Mode.HALTED, Mode.IDLE)), "stop must not leave"),
    (
        "reset to RUNNING",
        (*TABLE[:-1], (Trigger.RESET, Mode.HALTED, Mode.RUNNING)),
        "reset must lead from HALTED to IDLE",
    ),
    ("no reset", TABLE[:-1], "reset must lead from HALTED to IDLE"),
    ("nothing", (), "halt must be possible from IDLE"),
]


@pytest.mark.parametrize(
    ("table", "said"),
    [pytest.param(table, said, id=name) for name, table, said in WRONG_TABLES],
)
def test_wrong_table_is_refused(table: Any, said: str) -> None:
    """A table that is wrong in any way is refused, and the message says in which."""
    with pytest.raises(ValueError, match=re.escape(said)):
        freeze(table)


@pytest.mark.parametrize("mode", Mode)
def test_halting_has_no_hole(mode: Mode) -> None:
    """A table in which one mode cannot be halted, or halts elsewhere, is refused by its name."""
    without = tuple(row for row in TABLE if row[:2] != (Trigger.HALT, mode))
    assert len(without) == len(TABLE) - 1
    for elsewhere in ((), ((Trigger.HALT, mode, Mode.IDLE),)):
        with pytest.raises(ValueError, match=f"halt must be possible from {mode}"):
            freeze((*without, *elsewhere))


@pytest.mark.parametrize("hidden", ["conditions", "unless", "before", "after", "prepare"])
def test_hidden_guard_or_callback_is_refused(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    """A machine that comes back from the library with a guard or a callback is refused."""

    class Hiding(Machine):  # type: ignore[misc] # the library is not typed
        def __init__(self, *, transitions: list[list[str]], **rest: Any) -> None:
            first, *others = transitions
            words = dict(zip(("trigger", "source", "dest"), first, strict=True))
            super().__init__(transitions=[words | {hidden: "state"}, *others], **rest)

    monkeypatch.setattr(modes, "Machine", Hiding)
    with pytest.raises(ValueError, match="start from IDLE hides a guard or a callback"):
        freeze(TABLE)


def test_good_table_is_taken_in_any_order() -> None:
    """What is frozen depends on the rows, not on how they are sorted or handed over."""
    assert freeze(reversed(TABLE)) == freeze(iter(TABLE)) == NEXT


# ---------------------------------------------------------------------------
# The machine under every guard


def at(mode: Mode, *, gate_open: bool = False, flying: bool = False) -> Core:
    """Return a core in a mode, in epoch 2, in RUNNING with the gate open or closed."""
    core = Core(limits(), 2, Mode.IDLE)
    if mode is Mode.RUNNING:
        assert core.start(ARMED, 2, 0)
        if flying:
            core = running()
            core.begin(granted(core, order()), ARMED)
        if not gate_open:
            core.close_gate()
    elif mode is Mode.HALTED:
        core.halt(CAUSE)
    core.notices.clear()
    return core


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("latch", [ARMED, 0, 1, 0xFF, -1, ARMED + 256])
@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("limited", [True, False])
def test_start_under_every_guard(mode: Mode, latch: int, epoch: int, *, limited: bool) -> None:
    """A start works from IDLE under an armed latch of the same epoch with limits, and else not."""
    core = at(mode)
    if not limited:
        core.gate2 = None
    before = snapshot(core)
    good = mode is Mode.IDLE and latch == ARMED and epoch == 2 and limited
    assert bool(core.start(latch, epoch, 7 * MS)) is good
    if good:
        assert (core.mode, core.gate_open, core.beat_ns) == (Mode.RUNNING, True, 7 * MS)
    elif latch != ARMED and mode is not Mode.HALTED:
        assert (core.mode, core.gate_open) == (Mode.HALTED, False)
        assert [halt.cause.code for halt in halts(core)] == [HaltCode.EXTERNAL]
    else:
        assert snapshot(core) == before
        assert core.notices == []


@pytest.mark.parametrize("latch", [ARMED, 0, 0xFF])
@pytest.mark.parametrize("gate_open", [True, False])
@pytest.mark.parametrize("flying", [True, False])
@pytest.mark.parametrize("mode", Mode)
def test_stop_under_every_guard(mode: Mode, latch: int, *, gate_open: bool, flying: bool) -> None:
    """A stop works from RUNNING, with the gate closed, drained, under an armed latch, and else not."""
    core = at(mode, gate_open=gate_open, flying=flying)
    before = snapshot(core)
    good = mode is Mode.RUNNING and latch == ARMED and not gate_open and not flying
    assert bool(core.stop(latch)) is good
    if good:
        assert core.mode is Mode.IDLE
    elif latch != ARMED and mode is not Mode.HALTED:
        assert (core.mode, core.gate_open) == (Mode.HALTED, False)
    else:
        assert snapshot(core) == before


def test_stop_waits_for_permits_too() -> None:
    """A permit that was granted and not begun keeps a stop from happening, and says how many."""
    core = running()
    working = granted(core, order())
    core.close_gate()
    verdict = core.stop(ARMED)
    assert (bool(verdict), verdict.limit, verdict.value) == (False, "0 in flight", "1")
    assert core.void(working)
    assert core.stop(ARMED)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("gate_open", [True, False])
def test_halt_has_no_guard(mode: Mode, *, gate_open: bool) -> None:
    """A halt ends in HALTED from everywhere, and a repeat keeps the first cause."""
    core = at(mode, gate_open=gate_open)
    first = core.cause
    core.halt(LATER)
    assert (core.mode, core.gate_open) == (Mode.HALTED, False)
    assert core.cause is (first if mode is Mode.HALTED else LATER)
    (notice,) = halts(core)
    assert (notice.first, notice.cause) == (mode is not Mode.HALTED, LATER)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("latch", [ARMED, 0, 0xFF])
def test_observe_halts_unless_armed(mode: Mode, latch: int) -> None:
    """A look at the latch halts if it is not armed, once, and else changes nothing."""
    core = at(mode)
    before = snapshot(core)
    for _ in range(2):
        core.observe(latch)
    if latch == ARMED or mode is Mode.HALTED:
        assert snapshot(core) == before
        assert core.notices == []
    else:
        assert core.mode is Mode.HALTED
        assert len(halts(core)) == 1


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("latch", [ARMED, 0, 0xFF])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_adopt_under_every_guard(mode: Mode, latch: int, epoch: int) -> None:
    """A reset is adopted in a newer epoch only, never in RUNNING, to IDLE and never further."""
    core = at(mode)
    before = snapshot(core)
    good = mode is not Mode.RUNNING and latch == ARMED and epoch == 3
    assert core.adopt(latch, epoch) is good
    if good:
        assert (core.mode, core.epoch, core.cause) == (Mode.IDLE, 3, None)
        assert not core.gate_open
    else:
        assert snapshot(core) == before


def test_core_never_comes_up_running() -> None:
    """A core that is made RUNNING is HALTED: a start is a separate act."""
    assert Core(limits(), 1, Mode.RUNNING).mode is Mode.HALTED
    assert Core(limits(), 1).mode is Mode.IDLE


def test_start_needs_instruments() -> None:
    """Limits that know no instrument, or no order flow, start nothing and say what is missing."""
    for missing in ("instruments", "gate2"):
        core = Core(limits(missing), 1)
        verdict = core.start(ARMED, 1, 0)
        assert (verdict.reason, verdict.limit) == (Reason.NO_LIMITS, missing)
        assert core.mode is Mode.IDLE


# ---------------------------------------------------------------------------
# The last look, each guard alone: in the graph they stand behind each other


def test_begin_needs_the_latch() -> None:
    """An unarmed latch is enough to stop a begin, and takes back every permit."""
    core = running()
    one, two = granted(core, order("o1")), granted(core, order("o2"))
    assert not core.begin(one, 0)
    (notice,) = halts(core)
    assert set(notice.voided) == {one, two}
    assert statuses(core) == {}
    assert not core.begin(one, ARMED)


@pytest.mark.parametrize("mode", [Mode.IDLE, Mode.HALTED])
def test_begin_needs_the_mode(mode: Mode) -> None:
    """A permit that outlived RUNNING by some mistake begins nothing, though the latch is armed."""
    core = running()
    working = granted(core, order())
    core.mode = mode
    assert not core.begin(working, ARMED)
    assert (working.status, core.in_flight) == (Status.GRANTED, {})


@pytest.mark.parametrize("status", [Status.SENDING, Status.DONE, Status.UNKNOWN])
def test_begin_needs_an_unused_permit(status: Status) -> None:
    """A permit that was used, settled or lost begins nothing."""
    core = running()
    working = granted(core, order())
    working.status = status
    assert not core.begin(working, ARMED)
    assert core.in_flight == {}


def test_begin_needs_the_epoch() -> None:
    """A permit of an older epoch begins nothing, though it is granted, in RUNNING, under an armed latch."""
    core = running()
    working = granted(core, order())
    assert working.epoch == core.epoch == 1
    core.epoch = 2
    assert not core.begin(working, ARMED)
    assert (working.status, core.in_flight) == (Status.GRANTED, {})


def test_halt_voids_what_was_not_begun_and_nothing_else() -> None:
    """A halt frees permits with id and reservation, and leaves sends and working orders alone."""
    core = running()
    sent(core, order("done"))
    flying = granted(core, order("flying"))
    assert core.begin(flying, ARMED)
    waiting = granted(core, order("waiting"))
    assert core.halt(CAUSE) == (waiting,)
    assert statuses(core) == {"done": Status.DONE, "flying": Status.SENDING}
    assert "waiting" not in core.ids
    assert core.books["XYZ"].open_orders == 2
    core.end(flying)
    assert core.in_flight == {}
    assert anomalies(core) == []


def test_row_with_a_hidden_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library would call on its way, or a target that is none, is found before the table is believed."""

    def machine_of(**hidden: object) -> Callable[..., object]:
        plain = {"dest": "IDLE", "conditions": (), "before": (), "after": (), "prepare": ()}
        event = SimpleNamespace(transitions={"IDLE": [SimpleNamespace(**(plain | hidden))]})
        return lambda **_: SimpleNamespace(events={"start": event})

    for name in ("conditions", "before", "after", "prepare"):
        monkeypatch.setattr(modes, "Machine", machine_of(**{name: (print,)}))
        with pytest.raises(ValueError, match="start from IDLE hides a guard or a callback"):
            freeze(TABLE)
    monkeypatch.setattr(modes, "Machine", machine_of(dest=None))
    with pytest.raises(ValueError, match="start from IDLE has no target"):
        freeze(TABLE)


def test_armed_is_one_value_that_no_slip_makes() -> None:
    """The byte that permits is what the homes on disk hold: neither zero nor all ones, and as many ones as zeros."""
    assert ARMED == 0b1010_0101
