"""The kill drill: real drills of each kind, what its report says beside journals and evidence, and that it can fail."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import threading
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from tests.helpers import arm, journal, order, running, wait_until
from tests.ops.cli_helpers import COMMAND, PATIENCE_S, cli, environment, quick, screen

from interlock.breaker.home import Home
from interlock.core.modes import ARMED
from interlock.ops.drill.course import KILLER, Plan, drill
from interlock.ops.drill.evidence import Evidence, State
from interlock.ops.drill.judge import exit_code, judge
from interlock.ops.drill.measure import Measure, few
from interlock.ops.drill.page import page
from interlock.ops.drill.picture import draw, windows
from interlock.ops.drill.record import Answer, Journal, Kind, Lane, Measured, Restart
from interlock.ops.drill.report import NOT_SHOWN, document, write
from interlock.ops.drill.stage import DrillError, Player, Stage
from interlock.ops.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT: Final = ("--engines", "2", "--seconds", "0.2", "--json")
NASTY: Final = "Ann <b>&\"'</b>\u202e O'Hara"


@pytest.fixture(autouse=True)
def _children_find_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drills in this process start others."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def criteria(record: dict[str, Any]) -> dict[str, bool]:
    """Which criteria were met."""
    return {one["name"]: one["passed"] for one in record["criteria"]}


# ---------------------------------------------------------------------------
# Real drills


@pytest.mark.parametrize(
    ("kind", "escalate"),
    [
        ("halt", False),
        ("hung", False),
        ("hung", True),
        ("suspended", False),
        ("suspended", True),
        ("killed", False),
    ],
)
def test_each_kind_passes(tmp_path: Path, kind: str, escalate: bool) -> None:
    """Each kind of drill passes on the kernel as it is; a fault is answered with *unconfirmed*, and then ended."""
    more = ("--escalate",) if escalate else ()
    ended = cli("drill", *SHORT, "--kind", kind, *more, "--home", tmp_path / "home", "--report", tmp_path / "report")

    said = ended.json
    assert said["verdict"] == "PASSED", [one for one in said["criteria"] if not one["passed"]]
    assert ended.code == said["exit"] == 0
    measured = said["measured"]
    assert [lane["begun_after_ack"] for lane in measured["lanes"]] == [0, 0]
    assert [journal["halts"] != [] for journal in measured["journals"]] == [True, True]
    waits = kind in {"hung", "suspended"}
    assert [answer["confirmed"] for answer in measured["answers"]] == [False, True][not waits :]
    assert measured["ack_ns"] == measured["answers"][-1]["confirmed_ns"]
    faulty, other = measured["lanes"]
    assert (other["mode"], other["fault"], other["refused_after_ack"]) == ("HALTED", "", True)
    assert faulty["fault"] == ("" if kind == "halt" else kind)
    if waits:
        assert [who["engine"] for who in measured["answers"][0]["waiting"]] == ["drill-1"]
    if kind == "hung":
        assert len(measured["answers"][0]["waiting"][0]["orders"]) == 1
    killed = [who["engine"] for answer in measured["answers"] for who in answer["killed"]]
    assert killed == (["drill-1"] if escalate else [])
    assert (faulty["mode"] == "") is (escalate or kind == "killed")
    agrees(tmp_path / "home", said)


def test_the_watchdog_kind(tmp_path: Path) -> None:
    """A loop that stands still is found by the watchdog, from outside, and what it halts stays halted."""
    ended = cli("drill", *SHORT, "--kind", "watchdog", "--home", tmp_path / "home", "--report", tmp_path / "report")
    assert (ended.code, ended.json["verdict"]) == (0, "PASSED"), ended.out
    found = ended.json["measured"]
    assert found["answers"][0]["code_said"] == "STALLED"
    assert 0 < found["lanes"][0]["fault_ns"] < found["answers"][0]["called_ns"] < found["ack_ns"]
    assert found["lanes"][0]["first_refused"] is None


def test_a_watchdog_that_does_not_come_up_is_no_drill(tmp_path: Path) -> None:
    """Without a watchdog there is nothing to drill, and no verdict."""
    with pytest.raises(DrillError, match="`interlock watch` did not come up"):
        drilled(Kind.WATCHDOG, killer=seeded(tmp_path, "raise SystemExit(2)"))


def agrees(home: Path, said: dict[str, Any]) -> None:
    """What the report says must be what the evidence and the journals say, read here anew."""
    base = int(said["clock"]["base_mono_ns"])
    measured = said["measured"]
    byte, ack = base + measured["answers"][0]["stopped_ns"], base + measured["ack_ns"]
    for lane, checked in zip(measured["lanes"], measured["journals"], strict=True):
        data = (home / "drill" / f"{lane['name']}.sends").read_bytes()
        head = struct.unpack_from("<16Q", data)
        sends = [pair for pair in struct.iter_unpack("<2Q", data[128:]) if pair[0]]
        assert head[1] <= len(sends) <= head[1] + 1
        assert lane["sends"] == len(sends)
        assert lane["last_begun_ns"] + base == sends[-1][0]
        assert lane["begun_after_byte"] == len([begin for begin, _ in sends if begin > byte])
        assert [begin for begin, _ in sends if begin > ack] == []
        tail = [tuple(at and at + base for at in pair) for pair in lane["tail"]]
        assert tail == sends[len(sends) - len(tail) :]
        assert lane["refused"] == head[5]
        found = journal(home, lane["name"])
        records = []
        for record in found:
            inner = record
            while inner["kind"] == "salvage":
                inner = inner["record"]
            records.append(inner)
        permits = [record for record in records if record["kind"] == "permit"]
        assert len(permits) == checked["permits"]
        assert len([record for record in records if record["kind"] == "sent"]) == checked["sent"]
        assert len(found) == checked["records"]
        refused = [record["id"] for record in records if record["kind"] == "refuse" and record["code"] == "HALTED"]
        flooded = sum(record["count"] for record in records if record["kind"] == "flood" and record["code"] == "HALTED")
        ids = {record["seq"]: record["id"] for record in permits}  # one may have been permitted, and not have begun
        void = [ids[record["permit"]] for record in records if record["kind"] == "void"]
        if lane["first_refused"]:
            assert lane["first_refused"] == {"order": [*void, *refused][0], "reason": "HALTED"}
            all_refused = len(void + refused) + flooded
            assert all_refused == lane["refused"] + (lane["name"] == measured["restart"]["engine"])
        causes = {record["reason"] for record in records if record["kind"] == "halt"}
        assert f"kill drill: {said['plan']['kind']}" in causes


def test_a_kept_home_is_marked_and_stays_halted(tmp_path: Path) -> None:
    """A drill's home says what it was for, stays HALTED, and verifies by the ordinary command."""
    home = tmp_path / "home"
    ended = cli("drill", *SHORT, "--home", home, "--report", tmp_path / "report", "--operator", "ann")
    assert ended.code == 0
    mark = json.loads((home / "drill" / "drill.json").read_bytes())
    assert (mark["home"], mark["operator"]) == (ended.json["home"]["uuid"], "ann")
    told = quick("status", "--home", home, "--json")
    assert (told.code, told.json["state"], told.json["reason"]) == (3, "HALTED", "kill drill: halt")
    roots = [one["root"] for one in quick("verify", "--home", home, "--json").json["engines"].values()]
    assert roots == [one["root"] for one in ended.json["measured"]["journals"]]
    again = cli("drill", *SHORT, "--home", home, "--report", tmp_path / "report")
    assert (again.code, "a home" in again.err) == (2, True)


def test_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal it shows how far it is, and then each criterion and where the report is."""
    ended = screen("drill", "--engines", "1", "--seconds", "0.5", "--report", tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ended.out)
    assert ended.code == 0, plain
    assert "under load" in plain
    assert "PASSED: kill drill, halt, 1 engines" in plain
    assert "NOT MET" not in plain
    assert len(list(tmp_path.glob("drill-*.html"))) == len(list(tmp_path.glob("drill-*.json"))) == 1


# ---------------------------------------------------------------------------
# It can fail

BYPASS: Final = """
    import sys
    from interlock.ops.drill import engine

    class Bypass(engine.Load):
        def turn(self, order):
            sent = super().turn(order)
            if not sent:
                self.evidence.end(self.evidence.begin())  # to the venue, by another way than the kernel
            return sent

    engine.Load = Bypass
    engine.main(sys.argv[1:])
"""
LATE: Final = """
    import sys
    import time
    from interlock.ops.drill import engine

    class Late(engine._TimedLock):
        def release(self):  # leaves the roster, and not the lock
            pass

    engine._TimedLock = Late
    engine.main(sys.argv[1:])
"""
RASH: Final = """
    import time
    from interlock.breaker import kill

    def wait_quiet(self, deadline):
        self.confirmed_ns = time.monotonic_ns()
        return True

    kill.Kill.wait_quiet = wait_quiet
    from interlock.ops.cli import main
    main()
"""
DEAF: Final = """
    from interlock.breaker import kill
    kill.Kill.set_byte = lambda self: None
    kill.Kill.write_latch = lambda self, deadline: __import__("threading").Event()
    from interlock.ops.cli import main
    main()
"""


def seeded(tmp_path: Path, script: str) -> tuple[str, ...]:
    """A command that is this script."""
    path = tmp_path / "seeded.py"
    path.write_text(textwrap.dedent(script))
    return (sys.executable, str(path))


def drilled(kind: Kind = Kind.HALT, **given: Any) -> tuple[Measured, set[str], Exit]:
    """A short drill with other parts; what was measured, the criteria that were not met, and the exit code."""
    plan = Plan(
        **(
            {"home": None, "kind": kind, "engines": 2, "seconds": 0.2, "timeout_s": 1.0, "escalate": False}
            | {"operator": "ann"}
            | given
        )
    )
    measured, _ = drill(plan, lambda *_: None)
    found = judge(measured)
    return measured, {one.name for one in found if not one.passed}, exit_code(measured, found)


def test_an_engine_that_goes_on_sending_fails_the_drill(tmp_path: Path) -> None:
    """Sends around the kernel after the halt are found by the evidence, and by the journals that know no permit."""
    measured, failed, code = drilled(engine=seeded(tmp_path, BYPASS))
    assert sum(lane.begun_after_ack for lane in measured.lanes) > 0
    assert {"none-after-ack", "journals-agree"} <= failed
    assert code is Exit.FAILED


def test_a_halt_that_acks_without_waiting_fails_the_drill(tmp_path: Path) -> None:
    """An ack while an engine is inside a send is found, whatever else looks fine."""
    _, failed, code = drilled(Kind.HUNG, killer=seeded(tmp_path, RASH))
    assert {"none-in-flight-at-ack", "let-go", "nobody-holds", "not-acked-falsely"} <= failed
    assert code is Exit.FAILED


def test_a_lock_that_is_never_let_go_is_unconfirmed(tmp_path: Path) -> None:
    """A halt that can't be confirmed fails the drill with the code of an unconfirmed halt."""
    measured, failed, code = drilled(engine=seeded(tmp_path, LATE), timeout_s=0.3)
    assert measured.ack_ns == 0
    assert {"confirmed", "none-after-ack", "let-go"} <= failed
    assert code is Exit.UNCONFIRMED


def test_a_halt_that_halts_nothing_is_no_pass(tmp_path: Path) -> None:
    """Engines that trade on through a halt that did nothing: unconfirmed, and not stopped."""
    _, failed, code = drilled(killer=seeded(tmp_path, DEAF), timeout_s=0.2)
    assert {"stopped", "confirmed", "durable", "halted", "restart-stays-halted"} <= failed
    assert code is Exit.UNCONFIRMED


def test_an_engine_that_dies_by_itself_is_no_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill that can't be carried out gives no verdict, says which engine ended, and leaves nothing behind."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    script = "import sys; print('out of order', file=sys.stderr); sys.exit(3)"
    with pytest.raises(DrillError, match=r"engine drill-1 ended by itself \(3\): out of order"):
        drilled(engine=seeded(tmp_path, script), engines=1)
    assert list((tmp_path / "temporary").iterdir()) == []


# ---------------------------------------------------------------------------
# Which home


def test_a_home_that_is_in_use_is_refused(tmp_path: Path) -> None:
    """A home with a running engine is refused and left as it was, by its own name, through a link, and from within."""
    arm(tmp_path / "desk")
    (tmp_path / "link").symlink_to(tmp_path / "desk")
    with running(tmp_path / "desk", engine="desk-1") as kernel:
        before = {path: path.read_bytes() for path in (tmp_path / "desk").iterdir() if path.is_file()}
        for path in ("desk", "link", "desk/engines", "desk/journal/new", "link/drill"):
            for kind in ("halt", "killed"):
                ended = quick(
                    "drill", *SHORT, "--kind", kind, "--home", tmp_path / path, "--report", tmp_path / "report"
                )
                assert ended.code == 2, path
                assert "is a home, and 1 engines are attached to it" in ended.err
                assert ended.json["exit"] == 2
        assert {path: path.read_bytes() for path in (tmp_path / "desk").iterdir() if path.is_file()} == before
        assert Home(tmp_path / "desk").latch_state()[2] == ARMED
        assert kernel.submit(order("a"), lambda permit: permit.redeem())
    assert list((tmp_path / "report").iterdir()) == []


def test_only_nothing_is_made_a_home(tmp_path: Path) -> None:
    """A file, a directory with something in it, a dangling link, and a home that can't be read are refused."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    arm(tmp_path / "broken").latch.unlink()
    for name in ("file", "full", "dangling", "broken"):
        ended = quick("drill", *SHORT, "--home", tmp_path / name, "--report", tmp_path / "report")
        assert (ended.code, "name a new directory" in ended.err) == (2, True), name
    assert (tmp_path / "full" / "notes").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_report_is_kept_outside_of_homes(tmp_path: Path) -> None:
    """A report's directory within a home, or one that can't be written to, is refused before anything is drilled."""
    arm(tmp_path / "desk")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "desk" / "reports", tmp_path / "file", Path("/proc/none")):
        ended = quick("drill", *SHORT, "--home", tmp_path / "new", "--report", place)
        assert (ended.code, "no drill, and no report" in ended.err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_a_home_that_was_replaced_is_not_halted(tmp_path: Path) -> None:
    """If another home stands at the path when the halt is due, nothing is halted."""
    with Stage(tmp_path / "home", operator="ann", reason="drill") as stage:
        mark = tmp_path / "home" / "drill" / "drill.json"
        assert stage.mine().path == tmp_path / "home"
        mark.rename(tmp_path / "mark")
        with pytest.raises(DrillError, match="nothing was halted"):
            stage.mine()
        (tmp_path / "mark").rename(mark)
        (tmp_path / "home").rename(tmp_path / "aside")
        arm(tmp_path / "home")
        with pytest.raises(DrillError, match="nothing was halted"):
            stage.mine()
        (tmp_path / "aside" / "drill").rename(tmp_path / "home" / "drill")  # its mark alone is not enough
        with pytest.raises(DrillError, match="nothing was halted"):
            stage.mine()
    assert Home(tmp_path / "home").latch_state()[2] == ARMED


def test_a_drill_that_is_broken_off_leaves_no_process(tmp_path: Path) -> None:
    """SIGTERM ends a drill with all its engines, also a suspended one."""
    command = [*COMMAND, "drill", "--kind", "suspended", "--engines", "2", "--timeout", "60", "--seconds", "0.1"]
    command += ["--home", str(tmp_path / "home"), "--report", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as child:
        wait_until(lambda: engines_of(tmp_path / "home", "T"))
        assert len(engines_of(tmp_path / "home", "T")) == 1
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE_S)
    assert child.returncode not in {0, 7}
    assert engines_of(tmp_path / "home") == []
    assert list(tmp_path.glob("*.html")) == []


def test_a_process_that_is_just_being_started_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill that is broken off while it starts a process knows of that one, too."""
    started: list[subprocess.Popen[bytes]] = []
    here = threading.main_thread().ident
    assert here is not None

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)
            signal.pthread_kill(here, signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt), Stage(tmp_path / "home", operator="ann", reason="drill") as stage:
            stage.spawn([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def engines_of(home: Path, state: str = "") -> list[int]:
    """The processes that have this home on their command line, in this state."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                now = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(home).encode() in words and now != "Z" and now in (state or now):
                found.append(int(process.name))
    return found


# ---------------------------------------------------------------------------
# The judge: each criterion by itself


def lane(name: str, **given: Any) -> Lane:
    """An engine that did what it must."""
    fine: dict[str, Any] = {
        "name": name,
        "pid": 100 + int(name[-1]),
        "fault": "",
        "fault_ns": 0,
        "sends": 1000,
        "per_s": 5000,
        "before_call_ns": 20_000,
        "last_begun_ns": 10_050_000,
        "last_ended_ns": 10_070_000,
        "begun_after_byte": 1,
        "begun_after_ack": 0,
        "in_flight_at_ack": 0,
        "seen_ns": 10_080_000,
        "left_ns": 10_081_000,
        "refused": 40,
        "first_refused_ns": 10_090_000,
        "first_refused": {"order": "o-1001", "reason": "HALTED"},
        "refused_after_ack": True,
        "otherwise": {},
        "mode": "HALTED",
        "cancelled": True,
        "died_ns": 0,
        "tail": ((10_000_000, 10_020_000), (10_050_000, 10_070_000)),
    }
    return Lane(**(fine | given))


def checked(name: str, **given: Any) -> Journal:
    """A journal that verifies."""
    fine: dict[str, Any] = {
        "engine": name,
        "verdict": "VERIFIED",
        "exit_code": 0,
        "records": 5000,
        "sealed": 5000,
        "root": "ab" * 32,
        "permits": 1001,
        "voided": 1,
        "sent": 1000,
        "unknown": 0,
        "in_doubt": (),
        "findings": (),
        "halts": ({"who": "ann", "why": "OPERATOR: kill drill: hung"},),
    }
    return Journal(**(fine | given))


def answer(**given: Any) -> Answer:
    """A halt that was confirmed."""
    fine: dict[str, Any] = {
        "command": ("interlock", "halt"),
        "code": 0,
        "run_ns": 1,
        "called_ns": 10_010_000,
        "stopped_ns": 10_040_000,
        "durable_ns": 11_000_000,
        "confirmed_ns": 12_000_000,
        "read_ns": 12_500_000,
        "stopped": True,
        "durable": True,
        "confirmed": True,
        "waiting": (),
        "killed": (),
        "message": "",
    }
    return Answer(**(fine | given))


UNSURE: Final = {
    "code": 4,
    "confirmed": False,
    "confirmed_ns": 0,
    "waiting": ({"engine": "drill-1", "pid": 101, "why": "it is inside a send", "orders": ["o-1"]},),
}


def good(**given: Any) -> Measured:
    """A drill of an engine that hung and was let out, in which all went well."""
    fine: dict[str, Any] = {
        "kind": Kind.HUNG,
        "escalate": False,
        "timeout_ns": 2_000_000_000,
        "stall_ns": 0,
        "cause": "kill drill: hung",
        "answers": (answer(**UNSURE), answer()),
        "ack_ns": 12_000_000,
        "lanes": (lane("drill-1", fault="hung"), lane("drill-2")),
        "still_held": "",
        "latch": "HALTED",
        "restart": Restart(engine="drill-1", mode="HALTED", starts=("HALTED",) * 2, order="HALTED", reached=0),
        "journals": (checked("drill-1"), checked("drill-2")),
    }
    return Measured(**(fine | given))


def one_lane(**given: Any) -> dict[str, Any]:
    """The second engine did otherwise."""
    return {"lanes": (lane("drill-1", fault="hung"), lane("drill-2", **given))}


def one_journal(**given: Any) -> dict[str, Any]:
    """The second journal is otherwise."""
    return {"journals": (checked("drill-1"), checked("drill-2", **given))}


def last(**given: Any) -> dict[str, Any]:
    """The last answer is otherwise."""
    return {"answers": (answer(**UNSURE), answer(**given))}


def again(**given: Any) -> dict[str, Any]:
    """The restart went otherwise."""
    return {"restart": attrs.evolve(good().restart, **given)}


WRONG: Final[list[tuple[str, dict[str, Any]]]] = [
    ("stopped", {"answers": (answer(**UNSURE, stopped=False), answer())}),
    ("confirmed", last(code=4)),
    ("durable", last(durable=False)),
    ("durable", {"latch": "ARMED"}),
    ("in-time", last(called_ns=12_000_001)),
    ("in-time", {"timeout_ns": 1_000_000}),
    ("none-after-ack", one_lane(begun_after_ack=1)),
    ("none-in-flight-at-ack", one_lane(in_flight_at_ack=1)),
    ("last-look", one_lane(begun_after_byte=2)),
    ("let-go", one_lane(left_ns=0)),
    ("let-go", one_lane(left_ns=12_000_001)),
    ("nobody-holds", {"still_held": "the running lock is held"}),
    ("under-load", one_lane(before_call_ns=0)),
    ("under-load", one_lane(before_call_ns=2_000_000_001)),
    ("tried-after-ack", one_lane(refused_after_ack=False)),
    ("refused-by-the-halt", one_lane(otherwise={"MESSAGE_RATE": 1})),
    ("refused-by-the-halt", one_lane(first_refused={"order": "o", "reason": "JOURNAL_FAILED"})),
    ("not-acked-falsely", {"answers": (answer(), answer())}),
    ("not-acked-falsely", {"answers": (answer(**(UNSURE | {"waiting": ()})), answer())}),
    ("not-acked-falsely", {"answers": (answer(**(UNSURE | {"code": 0})), answer())}),
    ("killed-only-what-must-be", {"escalate": True}),
    ("halted", one_lane(mode="RUNNING")),
    ("halted", one_lane(mode="")),
    ("cancels-pass", one_lane(cancelled=False)),
    ("cancels-pass", one_lane(cancelled=None)),
    ("restart-stays-halted", again(mode="IDLE")),
    ("restart-stays-halted", again(starts=("HALTED", "ACCEPTED"))),
    ("restart-stays-halted", again(order="NOT_RUNNING")),
    ("restart-stays-halted", again(reached=1)),
    ("restart-stays-halted", again(problem="it ended by itself (1)")),
    ("journals-verify", one_journal(verdict="IN-DOUBT", exit_code=5, in_doubt=("o",))),
    ("journals-verify", one_journal(verdict="TAMPERED", exit_code=6)),
    ("journals-agree", one_journal(permits=1000)),
    ("journals-agree", one_journal(permits=1002)),
    ("halt-recorded", one_journal(halts=())),
    ("halt-recorded", one_journal(halts=({"who": "bob", "why": "OPERATOR: lunch"},))),
]


def test_a_drill_in_which_all_went_well_passes() -> None:
    """What the table below changes is met as it stands."""
    found = judge(good())
    assert [one for one in found if not one.passed] == []
    assert {one.name for one in found} == {name for name, _ in WRONG}
    assert exit_code(good(), found) is Exit.FINE


@pytest.mark.parametrize(("name", "given"), WRONG)
def test_each_criterion_fails_by_itself(name: str, given: dict[str, Any]) -> None:
    """What is wrong fails the criterion that it belongs to, and no other."""
    measured = good(**given)
    found = judge(measured)
    assert {one.name for one in found if not one.passed} == {name}
    gravest = Exit.UNCONFIRMED if given == last(durable=False) else Exit.FAILED
    assert exit_code(measured, found) is (Exit.TAMPERED if "TAMPERED" in str(given) else gravest)


def test_without_a_halt_nothing_passes() -> None:
    """A watchdog that never tripped: no ack, no pass, and no exception."""
    measured = good(kind=Kind.WATCHDOG, answers=(), ack_ns=0)
    failed = {one.name for one in judge(measured) if not one.passed}
    assert {"stopped", "confirmed", "none-after-ack", "watchdog-tripped", "tried-after-ack"} <= failed
    assert exit_code(measured, judge(measured)) is Exit.UNCONFIRMED
    assert windows(measured) == ()


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("", {}),
        ("watchdog-tripped", {"answers": (answer(code_said="OPERATOR"),)}),
        ("watchdog-in-time", {"stall_ns": 2_000_000}),
        ("watchdog-in-time", {"lanes": (lane("drill-1", fault="stalled"), lane("drill-2"))}),
    ],
)
def test_a_watchdog_has_to_trip_in_time(name: str, given: dict[str, Any]) -> None:
    """It has to be the watchdog that halted, soon after the loop stood still; who stands still need not try."""
    stalled = lane("drill-1", fault="stalled", fault_ns=10_000, refused_after_ack=False)
    fine = {"kind": Kind.WATCHDOG, "stall_ns": 4_000_000, "cause": "STALLED", "answers": (answer(code_said="STALLED"),)}
    fine |= {"lanes": (stalled, lane("drill-2"))}
    fine |= {"journals": tuple(checked(f"drill-{n}", halts=({"who": "ann", "why": "STALLED: x"},)) for n in (1, 2))}
    failed = {one.name for one in judge(good(**(fine | given))) if not one.passed}
    assert failed == ({name} if name else set())


def test_an_innocent_process_that_was_killed_fails() -> None:
    """SIGKILL to another engine than the one that hung is no pass."""
    measured = good(escalate=True, **last(killed=({"engine": "drill-2", "pid": 102},)))
    assert "killed-only-what-must-be" in {one.name for one in judge(measured) if not one.passed}


# ---------------------------------------------------------------------------
# The report


class Strict(HTMLParser):
    """Reads a page, and notes what is not as it should be."""

    VOID: Final = frozenset({"meta", "rect", "circle", "path", "line"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.add(tag)
        self.wrong += [
            f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "srcset", "data", "action", "style"}
        ]
        self.wrong += [f"{tag} {name}" for name, _ in attrs if name.startswith("on") or ":" in name]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """It ends."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text.append(data)


def read(shown: str) -> Strict:
    """A page, which must be well formed and need nothing from elsewhere."""
    parser = Strict()
    parser.feed(shown)
    parser.close()
    assert (parser.wrong, parser.open) == ([], [])
    assert parser.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"} == set()
    assert re.findall(r"https?:|//|url\(|@import|javascript:", shown) == []
    return parser


def filed(tmp_path: Path, measured: Measured) -> tuple[dict[str, Any], str]:
    """The report of a drill, written and read again: its record, and its page."""
    plan = Plan(home=None, kind=measured.kind, engines=2, seconds=1.0, timeout_s=2.0, escalate=False, operator=NASTY)
    facts = {
        "began_us": 1_767_600_000_000_000,
        "ended_us": 1_767_600_009_000_001,
        "base_mono_ns": "12345678901234567890",
        "home": {"path": None, "uuid": "u", "epoch": 1, "limits_sha256": "cd" * 32, "kept": False},
    }
    found = judge(measured)
    record = document(plan, measured, facts, found, exit_code(measured, found))
    plain, shown = write(tmp_path, record, measured)
    text = shown.read_text(encoding="utf-8")
    assert sha256(plain.read_bytes()).hexdigest() in text
    return json.loads(plain.read_bytes()), text


def test_the_page_is_whole_and_needs_nothing(tmp_path: Path) -> None:
    """The page is well formed, escapes what others wrote, refers to nothing outside, and says all that must be said."""
    bad = "<script>alert(1)</script>"
    measured = good(
        **one_lane(first_refused={"order": bad, "reason": "HALTED"}),
        answers=(
            answer(**UNSURE, message=f"not quiet: {bad}"),
            answer(called_ns=900_000_000, confirmed_ns=901_000_000),
        ),
        ack_ns=901_000_000,
        still_held=bad,
        latch="ARMED",
    )
    record, shown = filed(tmp_path, measured)
    said = " ".join(" ".join(read(shown).text).split())
    assert bad not in shown
    assert bad in said
    assert (record["verdict"], "FAILED" in said) == ("FAILED", True)
    assert NASTY.replace("\u202e", "\\u202e") in said  # nor may it turn the direction of what follows
    for sentence in (*NOT_SHOWN, *(one["claim"] for one in record["criteria"]), "Signatures", "Compliance officer"):
        assert sentence in said
    for one in record["measured"]["journals"]:
        assert one["root"] in said
    assert (f"2 of {len(record['criteria'])} criteria" in said, "\u2717 not met" in said) == (True, True)
    assert "2026-01-05T08:00:00.000000Z" in said


def test_no_report_is_written_over_another(tmp_path: Path) -> None:
    """Two drills of one second leave two reports, each with its record."""
    first, second = filed(tmp_path, good()), filed(tmp_path, good())
    assert first[0] == second[0]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"drill-20260105T080000Z{more}.{kind}" for more in ("-2", "") for kind in ("html", "json")]


def test_numbers_of_the_record_are_exact_in_any_reader(tmp_path: Path) -> None:
    """Every integer of a record is below 2^53, however long the machine is up."""

    def integers(value: object) -> Iterator[int]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from integers(item)
        elif isinstance(value, int):
            yield value

    record, _ = filed(tmp_path, good())
    assert max(map(abs, integers(record))) < 1 << 53


def test_a_report_with_no_halt_can_be_drawn(tmp_path: Path) -> None:
    """A drill in which nobody halted has a page, too."""
    _, shown = filed(tmp_path, good(kind=Kind.WATCHDOG, answers=(), ack_ns=0))
    assert "there was no halt" in " ".join(read(shown).text)


def test_labels_of_the_picture_do_not_cover_each_other() -> None:
    """Instants that are close together have their labels in rows of their own."""
    close = [answer(**UNSURE, durable_ns=10_041_000), answer(called_ns=10_042_000, confirmed_ns=10_043_000)]
    measured = good(answers=tuple(close), ack_ns=10_043_000)
    drawn = draw(measured, windows(measured)[0])
    places = re.findall(r'<text class="(?:call|byte|disk|ack)" x="([\d.]+)" y="(\d+)"', drawn)
    assert len(places) == 5
    assert len({y for _, y in places}) == 5


def test_a_page_is_the_same_from_the_same_record() -> None:
    """Drawing reads no clock and no machine."""
    plan = Plan(home=None, kind=Kind.HUNG, engines=2, seconds=1.0, timeout_s=2.0, escalate=False, operator="ann")
    facts = {
        "began_us": 0,
        "ended_us": 1,
        "base_mono_ns": "1",
        "home": {"path": "x", "uuid": "u", "epoch": 1, "limits_sha256": "", "kept": True},
    }
    record = document(plan, good(), facts, judge(good()), Exit.FINE)
    assert page(record, good(), "d") == page(record, good(), "d")


# ---------------------------------------------------------------------------
# The evidence


def test_evidence_outlives_its_writer(tmp_path: Path) -> None:
    """Sends that a process noted before SIGKILL are all there, one that had not ended with no end."""
    path = tmp_path / "sends"
    evidence = Evidence(path, 100)
    script = f"""
        import os, signal
        from pathlib import Path
        from interlock.ops.drill.evidence import Evidence, State
        evidence = Evidence(Path({str(path)!r}))
        for _ in range(3):
            evidence.end(evidence.begin())
        evidence.begin()
        evidence.tell(State.HUNG)
        evidence.leaves()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment(), check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (evidence.sends, evidence.state) == (4, State.HUNG)
    found = evidence.intervals()
    assert [0 < begin <= end for begin, end in found] == [True, True, True, False]
    assert found[3][1] == 0
    assert found[3][0] <= evidence.seen_ns <= evidence.left_ns


def test_evidence_that_is_full_or_foreign_is_refused(tmp_path: Path) -> None:
    """A send without a place to be noted does not begin; and another file is no evidence."""
    evidence = Evidence(tmp_path / "sends", 1)
    evidence.begin()
    with pytest.raises(RuntimeError, match="no room"):
        evidence.begin()
    (tmp_path / "other").write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no evidence"):
        Evidence(tmp_path / "other")
    with pytest.raises(FileExistsError):
        Evidence(tmp_path / "sends", 1)


@pytest.mark.parametrize(
    ("sends", "fault", "killed", "flying", "after"),
    [
        ([(10, 20), (30, 50)], "", False, 0, 0),
        ([(10, 20), (30, 51)], "", False, 1, 0),
        ([(10, 20), (50, 0)], "", False, 1, 0),
        ([(10, 20), (51, 60)], "", False, 0, 1),
        ([(10, 20), (51, 0)], "", False, 0, 1),
        ([(10, 0)], "hung", False, 1, 0),
        ([(10, 0)], "hung", True, 0, 0),
        ([(10, 51)], "hung", True, 1, 0),
        ([(10, 0)], "killed", False, 0, 0),
        ([(51, 0)], "killed", False, 0, 1),
    ],
)
def test_sends_are_held_against_the_ack(
    tmp_path: Path, sends: list[tuple[int, int]], fault: str, killed: bool, flying: int, after: int
) -> None:
    """A send that ends at the ack or before has ended; one with no end has, if its process was dead by then."""
    (tmp_path / "sends").write_bytes(struct.pack(f"<{16 + 2 * len(sends)}Q", *[0] * 16, *sum(sends, ())))
    with (tmp_path / "sends").open("r+b") as file:
        file.write(struct.pack("<2Q", 0x4C4C495244, len(sends)))
    with subprocess.Popen(["true"]) as process:
        player = Player("drill-1", process, Evidence(tmp_path / "sends"), tmp_path / "err")
    player.fault, player.died_ns = fault, 40 if fault == "killed" else 0
    who = ({"engine": "drill-1", "pid": process.pid},) if killed else ()
    halted = answer(called_ns=20, stopped_ns=25, confirmed_ns=50, killed=who)
    found = Measure(base_ns=0, loaded_ns=0, answers=(halted,), ack_ns=50).lane(player, {})
    assert (found.in_flight_at_ack, found.begun_after_ack) == (flying, after)


def test_very_many_sends_become_few_spans() -> None:
    """What the picture gets covers every send, in order, and one that never ended is still the last."""
    sends = [(100 * n, 100 * n + 40) for n in range(1, 3000)]
    sends += [(10**9 + n * 10**6, 10**9 + n * 10**6 + 9) for n in range(9)]
    found = few([*sends, (2 * 10**9, 0)])
    assert (found[0][0], found[-1]) == (100, (2 * 10**9, 0))
    assert len(found) <= 2048
    assert all(any(left <= begin and end <= right for left, right in found[:-1]) for begin, end in sends)
    assert few(sends[:2048]) == sends[:2048]


def test_the_halt_is_the_command_itself() -> None:
    """What halts in a drill is the program that an operator runs."""
    assert KILLER == COMMAND
