"""Real processes, struck at the steps of the quiescent kill: every check is passed, and every check can fail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
import pytest
from tests.traces import checker, monitor, plan
from tests.traces.__main__ import BEGIN, END, PAGE, RIGHT
from tests.traces.bugs import BUGS, NONE
from tests.traces.campaign import Judged, judge, play, struck
from tests.traces.checker import Event, Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS: Final = 2
RANDOM: Final = 120

SHORT: Final = (
    plan.Plan(name="undisturbed", seed=0, phases=1),
    plan.directed("End", "kill", 0),
    plan.directed("Look", "stop", 1),
    plan.directed("Retract", "pause", 0),
    plan.directed("Escalate", "kill", 0),
    plan.directed("LookAgain", "pause", 0),
    plan.directed("ResetYields", "pause", 0),
    plan.late_start(0),
    plan.slow_record(0),
)
TELLING: Final = (
    *("check-before-lock", "release-before-send", "ack-without-waiting", "look-before-announce"),
    *("page-not-dead", "no-look-again", "inode-not-looked-at", "no-pen"),
)
"""Bugs that a directed run shows as good as always, and to whom."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Judged]:
    """The runs of this module by their names, judged by one start of TLC; and tampered copies of one of them."""
    plans = [*SHORT, *(plan.for_bug(bug, 0) for bug in TELLING)]
    directory = tmp_path_factory.mktemp("runs")
    judged = {one.name: play(one, directory / one.name) for one in plans}
    whole = judged[SHORT[0].name]
    judged |= {name: attrs.evolve(whole, trace=change(whole.trace)) for name, change in TAMPERED.items()}
    for one, accepted in zip(judged.values(), checker.accepted([one.trace for one in judged.values()]), strict=True):
        one.accepted = accepted
    return judged


def test_runs_are_behaviours_of_the_specification(
    seen: dict[str, Judged], record_property: Callable[[str, object], None]
) -> None:
    """Engines, killers and a reset that die, are suspended or held up in their steps keep every promise."""
    judged = [seen[one.name] for one in SHORT]
    record_property("runs", len(judged))
    assert [one.against() for one in judged if not one.sound] == []
    assert {"kill", "stop", "pause"} <= {act for _, act in struck(judged)}


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_every_step_is_struck_by_every_fault(record_property: Callable[[str, object], None]) -> None:
    """The same in some 300 runs, in which each named step is killed, suspended and held up at least once."""
    where_bugs_would_show = (plan.for_bug(bug, 0, seeded=False) for bug in BUGS)
    random = (plan.random_plan(seed) for seed in range(RANDOM))
    judged = judge([*plan.every_step(ROUNDS), *where_bugs_would_show, *random])
    record_property("runs", len(judged))
    assert len(judged) >= 200
    assert [one.against() for one in judged if not one.sound] == []
    steps = (*plan.ENGINE_STEPS, *plan.KILLER_STEPS, *plan.RESET_STEPS)
    assert set(steps) - checker.steps(one.trace for one in judged) == set()
    assert {(step, act) for step in steps for act in plan.ACTS} - set(struck(judged)) == set()


def test_slow_record_does_not_take_the_epoch_back(seen: dict[str, Judged]) -> None:
    """A killer that is held up while it writes the record keeps a reset out, and one without a pen overwrites it."""
    slow, careless = seen[plan.slow_record(0).name], seen[plan.for_bug("no-pen", 0).name]
    assert {("WriteLatch", "before", "pause")} <= set(slow.struck) & set(careless.struck)
    assert slow.sound
    assert not careless.accepted


# -- The checks can fail -----------------------------------------------------------------------------


def test_seeded_bugs_are_caught(seen: dict[str, Judged]) -> None:
    """A bug that leads to a step which the specification has not makes the trace a rejected one."""
    judged = [one for one in seen.values() if one.plan.bug != NONE]
    assert [one.plan.bug for one in judged if one.accepted] == []
    late = {one.plan.bug for one in judged if one.late}
    assert {"release-before-send", "ack-without-waiting", "inode-not-looked-at"} <= late


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_every_seeded_bug_is_caught_where_it_matters(record_property: Callable[[str, object], None]) -> None:
    """Held up exactly there, each bug is seen by some check in every run of five; the published rates are of more."""
    judged = judge([plan.for_bug(bug, seed) for bug in BUGS for seed in range(5)])
    missed = [str(one.plan) for one in judged if one.sound and not one.doubts]
    record_property("caught", len(judged) - len(missed))
    assert missed == []


def drop(step: str) -> Callable[[Trace], Trace]:
    """Leave out the first event of a step that succeeded; what is refused may as well not have been tried."""

    def tampered(trace: Trace) -> Trace:
        for at, strand in enumerate(trace):
            for place, event in enumerate(strand):
                if event.step == step and event.number:
                    changed = [*trace[:at], [*strand[:place], *strand[place + 1 :]], *trace[at + 1 :]]
                    return [one for one in changed if one]
        raise AssertionError(step)

    return tampered


def swap(first: str, second: str) -> Callable[[Trace], Trace]:
    """Let two neighbours change their names, and so their places."""

    def tampered(trace: Trace) -> Trace:
        for at, strand in enumerate(trace):
            for place in range(1, len(strand)):
                if (strand[place - 1].step, strand[place].step) == (first, second):
                    changed = list(strand)
                    changed[place - 1] = attrs.evolve(strand[place - 1], step=second)
                    changed[place] = attrs.evolve(strand[place], step=first)
                    return [*trace[:at], changed, *trace[at + 1 :]]
        raise AssertionError(first, second)

    return tampered


def late_send(trace: Trace) -> Trace:
    """Let one send more begin and end between the first ack and what came next."""
    ack = min((event for strand in trace for event in strand if event.step == "Ack"), key=lambda event: event.hi)
    after = ack.hi + 1
    sent = [
        Event(step=step, lo=after + at, hi=after + at, engine="a", word="t", number=1)
        for at, step in enumerate(("Grant", "Announce", "Look", "End"))
    ]
    return [*trace, sent]


def unseen(trace: Trace) -> Trace:
    """Let one engine never see the halt. Its threads may each have seen it, of which only the first is a step."""
    engine = next(event.engine for strand in trace for event in strand if event.step == "See")
    changed = [[event for event in strand if (event.step, event.engine) != ("See", engine)] for strand in trace]
    return [strand for strand in changed if strand]


TAMPERED: Final = {
    **{f"no {step}": drop(step) for step in ("Enter", "Start", "Look", "End", "Leave", "SetByte", "WaitQuiet")},
    "no See": unseen,
    "look, then announce": swap("Announce", "Look"),
    "ack, then the lock": swap("WaitQuiet", "Ack"),
    "a late send": late_send,
}


def test_tampered_trace_is_rejected(seen: dict[str, Judged]) -> None:
    """A trace that misses an event, has two in the wrong order, or a send after the ack, is no behaviour."""
    assert seen[SHORT[0].name].accepted
    assert [name for name in TAMPERED if seen[name].accepted] == []


def test_empty_trace_is_refused() -> None:
    """Nothing logged is not a good run: TLC refuses the assumption."""
    assert checker.check([[[]]]).exit_code == 10


def test_monitor_knows_late_from_early(tmp_path: Path) -> None:
    """A send is late if it ends after an ack begins; not if it was started again after a reset."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "supervisor.ndjson").touch()

    def said(*sends: str) -> list[str]:
        (logs / "x.ndjson").write_text("".join(line + "\n" for line in sends), encoding="utf-8")
        return monitor.late(logs)

    ack = '{"who":"k","pid":2,"step":"Ack","lo":100,"hi":110,"actor":"k.2.1"}'
    reset = '{"who":"o","pid":3,"step":"ResetByte","lo":200,"hi":201}'
    start = '{"who":"a","pid":1,"step":"Start","lo":210,"hi":211,"epoch":2}'

    def send(begin: int, end: int) -> str:
        return f'{{"who":"a","pid":1,"sent":7,"begin":{begin},"end":{end}}}'

    assert said(ack, reset, start, send(90, 100), send(212, 220)) == []
    assert len(said(ack, send(90, 101))) == 1
    assert len(said(ack, send(150, 160))) == 1
    assert len(said(ack, reset, send(250, 260))) == 1
    assert len(said(ack, reset, start.replace("21", "15"), send(250, 260))) == 1
    assert len(said(reset, send(190, 205))) == 1
    assert len(said(ack, '{"who":"a","pid":1,"send":7,"begin":90}')) == 1


# -- What the page says ------------------------------------------------------------------------------


def test_page_has_the_rates_of_every_bug() -> None:
    """The table in docs/assurance.md has each bug, each caught by something, and nothing against the right code."""
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index(BEGIN) : text.index(END)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]
    caught: dict[str, int] = {}
    for name, _, *cells in rows:
        counts = [int(cell.split(" of ")[0]) for cell in cells]
        if name == RIGHT:
            assert counts[:3] == [0, 0, 0]
            assert counts[4] == 0
        else:
            bug = re.match(r"`([\w-]+)`", name)
            assert bug is not None
            caught[bug[1]] = max(caught.get(bug[1], 0), counts[4])
    assert set(caught) == set(BUGS)
    assert [bug for bug, count in caught.items() if not count] == []


def test_rejected_run_says_why(seen: dict[str, Judged]) -> None:
    """A rejection names the event that is no step, and the state in which."""
    said = seen["ack-without-waiting-0"].against()
    assert "step='Ack'" in said
    assert "state: [a |->" in said
