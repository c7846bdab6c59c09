"""Runs as traces: what journals and engines did is followed through the model's graph, and wrong runs get stuck."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import attach, cancel, halt_home, journal, order, quote, running

from interlock.testing import kernel_model
from interlock.testing.explorer import Graph, explore
from interlock.testing.traces import SILENT, Recorder, Step, about, follow, in_kernel, of_journal, read, to_tla

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.testing.faults import FaultPlan
    from interlock.testing.tlc import State
    from interlock.testing.venue import Venue

EPOCHS = 3


@cache
def graph() -> Graph[State]:
    """The graph of the core with one order, which is that of ``Kernel.tla``."""
    return kernel_model.graph(orders=("a",), max_epoch=EPOCHS)


def stuck(records: list[dict[str, Any]]) -> Step | None:
    """The first step of a journal that the model does not have, of whatever order."""
    steps = of_journal(records)
    for one in sorted({step.order for step in steps if step.order}) or [""]:
        followed = follow(graph(), about(steps, one), silent=SILENT, fits=in_kernel)
        if not followed:
            return followed.stuck
    return None


@pytest.fixture
def lived(interlock_home: Path, venue_probe: Venue, fault_plan: FaultPlan) -> list[dict[str, Any]]:
    """The journal of some lives: orders with every outcome, halts from both sides, resets, a crash."""
    with running(interlock_home) as kernel:
        kernel.submit(order("a"), venue_probe.send)
        kernel.on_accept("a")
        kernel.submit(order("b", quantity="100000"), venue_probe.send)
        venue_probe.fail_next()
        kernel.submit(order("c"), venue_probe.send)
        kernel.cancel(cancel("a"), venue_probe.send_cancel)
        kernel.on_cancelled("a")
        halt_home(interlock_home)
        kernel.heartbeat()
        kernel.submit(order("d"), venue_probe.send)
        kernel.reset(operator="bob", reason="looked into", epoch=1)
        kernel.start()
        kernel.consult(quote(kernel))
        kernel.submit(order("d"), venue_probe.send)
        kernel.stop()

    def die(_: object) -> None:
        with running(interlock_home) as kernel:
            kernel.submit(order("e"), venue_probe.send)

    fault_plan.kill("send", when="after")
    assert fault_plan.in_child(die).killed
    with attach(interlock_home) as kernel:
        kernel.start()
        kernel.halt("enough")
        kernel.halt("enough, I said")
    return journal(interlock_home)


def test_journal_is_a_behaviour_of_the_specification(lived: list[dict[str, Any]]) -> None:
    """Every order of a real journal has lived as the model allows, halts, resets and a crash included."""
    steps = of_journal(lived)
    assert {action for step in steps for action in step.actions} >= {"Grant", "End", "Fail", "Halt", "Adopt", "Restart"}
    assert {step.order for step in steps} == {"", "a", "b", "c", "d", "e"}
    assert stuck(lived) is None


@pytest.mark.parametrize("kind", ["start", "permit", "reset", "halt"])
def test_journal_that_lacks_a_record_is_none(lived: list[dict[str, Any]], kind: str) -> None:
    """Without the first of its records of a kind that something rests on, the same journal gets stuck."""
    records = list(lived)
    first = next(number for number, record in enumerate(records) if record["kind"] == kind)
    del records[first]
    assert stuck(records) is not None


def test_journal_with_a_permit_after_the_halt_is_none(lived: list[dict[str, Any]]) -> None:
    """A permit that was granted after the halt is what the trace gets stuck at."""
    records = list(lived)
    permit = next(record for record in records if record["kind"] == "permit")
    at = next(number for number, record in enumerate(records) if record["kind"] == "halt") + 1
    late = {**permit, "seq": 999, "id": "late"}
    records.insert(at, late)
    found = stuck(records)
    assert found is not None
    assert (found.actions, found.order, dict(found.facts)["seq"]) == (("Grant",), "late", 999)
    assert str(found) == "Grant of late (seq 999, epoch 1)"


def test_journal_with_an_order_sent_twice_is_none(lived: list[dict[str, Any]]) -> None:
    """A second outcome of one permit is stuck at."""
    records = list(lived)
    at = next(number for number, record in enumerate(records) if record["kind"] == "sent")
    records.insert(at + 1, records[at])
    found = stuck(records)
    assert found is not None
    assert found.actions == ("End",)


# -- An engine of one's own --------------------------------------------------------------------------------


def door(state: str) -> list[tuple[str, str]]:
    """A program with three states: a door that is closed, open, or bolted."""
    return {
        "closed": [("Open", "open"), ("Bolt", "bolted")],
        "open": [("Close", "closed")],
        "bolted": [("Unbolt", "closed")],
    }[state]


def test_recorded_engine_is_followed(tmp_path: Path) -> None:
    """What an engine recorded, in whatever thread, is a behaviour of its graph; what it could not do is not."""
    recorder = Recorder(tmp_path / "door.ndjson")
    with recorder.step("Open", who="ann"):
        pass
    with pytest.raises(ZeroDivisionError), recorder.step("Bolt"):
        raise ZeroDivisionError

    def close() -> None:
        with recorder.step("Close", order="door"):
            pass

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    recorder.close()
    with (tmp_path / "door.ndjson").open("ab") as file:
        file.write(b'{"action":"Bo')  # it died here
    steps = read([tmp_path / "door.ndjson"])
    assert [step.actions for step in steps] == [("Open",), ("Close",)]
    assert steps[0].facts == (("who", "ann"),)
    assert steps[0].strand != steps[1].strand
    assert 0 < steps[0].lo_ns <= steps[0].hi_ns <= steps[1].lo_ns
    found = explore(["closed"], door, limit=3)
    assert follow(found, steps)
    wrong = [*steps, Step(actions=("Unbolt",))]
    assert follow(found, wrong).stuck == wrong[-1]
    assert follow(found, wrong).states == {"closed"}
    assert follow(found, wrong, silent=frozenset({"Bolt"}))
    assert follow(found, [Step(actions=("Bolt",)), Step(actions=("Open",), sure=False)])
    assert not follow(found, steps, fits=lambda state, _: state != "open")


# -- For TLC -----------------------------------------------------------------------------------------------


def test_data_is_written_as_tla() -> None:
    """Numbers, booleans, texts, sequences and records come out as TLC reads them."""
    text = to_tla("TraceData", Runs=[[{"s": "Begin", "n": 1, "may": True}], ()])
    assert text == (
        "---- MODULE TraceData ----\nEXTENDS Naturals, Sequences\n"
        'Runs == <<<<[s |-> "Begin", n |-> 1, may |-> TRUE]>>,\n<<>>>>\n====\n'
    )


@pytest.mark.parametrize("value", [1.5, None, {1, 2}, b"x"])
def test_what_is_no_data_is_refused(value: object) -> None:
    """A float, nothing, a set and bytes are nothing that a specification could be checked with."""
    with pytest.raises(TypeError):
        to_tla("TraceData", Runs=[value])


@pytest.mark.parametrize("text", ['"', "\\", "é", "a\nb"])
def test_text_that_would_not_be_read_is_refused(text: str) -> None:
    """A text that would end the string, or that TLC 2.15 does not read, is refused."""
    with pytest.raises(ValueError, match="no text for TLC"):
        to_tla("TraceData", Runs=[text])
