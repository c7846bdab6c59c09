"""The command line, as real processes: what it says, what it writes, and with which code it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.helpers import arm, journal, of_kind, python
from tests.ops.cli_helpers import PAPER, PATIENCE_S, PATIENT, Live, cli, environment, quick, rows, screen, ticks_file

from interlock.breaker.home import Home
from interlock.breaker.segment import segments
from interlock.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = ("arm", "run", "halt", "status", "reset", "verify", "prove", "demo", "drill")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An armed home with the paper limits."""
    arm(tmp_path / "home", PAPER)
    return tmp_path / "home"


@pytest.fixture
def live_home(tmp_path: Path) -> Path:
    """An armed home whose limits are the paper ones but for all that depends on how fast the machine is."""
    arm(tmp_path / "home", PATIENT)
    return tmp_path / "home"


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """A file of fifteen good ticks."""
    return ticks_file(tmp_path / "ticks.csv", rows(15))


def verified(home: Path) -> None:
    """The journal must be VERIFIED, by the command."""
    told = quick("verify", "--home", home)
    assert (told.code, told.out.splitlines()[0]) == (0, "VERIFIED"), told.out


# ---------------------------------------------------------------------------
# The three runs


@pytest.mark.parametrize(
    ("ticks", "halt_at", "sent", "blocked", "code"),
    [(10, None, 10, 0, 0), (15, 5, 4, 11, 3), (5, 1, 0, 5, 3)],
)
def test_the_three_runs(tmp_path: Path, ticks: int, halt_at: int | None, sent: int, blocked: int, code: int) -> None:
    """From arming to verifying by commands alone: one order a tick, and none from the tick of the halt on."""
    home = tmp_path / "home"
    file = ticks_file(tmp_path / "ticks.csv", rows(ticks))
    halting = () if halt_at is None else ("--halt-at-tick", str(halt_at))
    assert cli("arm", "--home", home, "--paper").code == 0

    ended = cli("run", "--home", home, "--ticks", file, "--strategy", "every-tick", "--json", *halting)

    said = ended.json
    assert ended.code == code
    assert (said["ticks"], said["ticks_blocked"], said["consulted"]) == (ticks, blocked, sent)
    assert (said["orders_sent"], said["orders_refused"], said["refused_by_reason"]) == (sent, 0, {})
    assert said["blocked_by_reason"] == ({"HALTED": blocked} if blocked else {})
    assert said["epoch"] == 1
    latency = said["decision_latency_ns"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    if halt_at is None:
        assert (said["mode"], said["halt_cause"]) == ("IDLE", None)
    else:
        assert said["mode"] == "HALTED"
        assert said["halt_cause"]["reason"] == f"halt at tick {halt_at}, as asked for"
    records = journal(home)
    assert said["journal"]["records"] == len(records)
    assert said["journal"]["bytes"] == sum(path.stat().st_size for path in segments(Home(home).stream("engine")))
    assert [record["kind"] for record in records].count("sent") == sent
    verified(home)


def test_second_run_on_a_home_sends_all_its_orders(home: Path, ticks: Path) -> None:
    """A home can be run on again: neither orders nor fills of the next run are taken for those of the last."""
    run = ("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick", "--json")

    first, second = cli(*run).json, cli(*run).json

    assert (first["orders_sent"], second["orders_sent"], second["orders_refused"]) == (15, 15, 0)
    fills = of_kind(home, "fill")
    assert len({fill["fill"] for fill in fills}) == len(fills) == 30
    bought, sold = (sum(Decimal(f["quantity"]) for f in fills if f["side"] == side) for side in ("buy", "sell"))
    assert (bought, sold) == (16, 14)
    verified(home)


# ---------------------------------------------------------------------------
# Help, versions, usage


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    """Each command explains itself and its options."""
    told = quick(command, "--help")

    assert (told.code, told.err) == (0, "")
    for option in ("--home", "--json", "--help"):
        assert option in told.out


def test_help_of_the_whole_lists_commands_and_exit_codes() -> None:
    """The help names every command and what each exit code means; asked for nothing, it is shown as well."""
    told = cli("--help", env=environment(COLUMNS="200"))

    assert told.code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", told.out)
    for code in ("0 fine", "2 usage", "3 ended or refused because HALTED", "4 unconfirmed", "5 in doubt", "6 tampered"):
        assert code in told.out
    assert cli("--version").out == f"{__version__}\n"
    bare = cli()
    assert bare.code == 2
    assert "halt" in bare.out + bare.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dance",), "No such command 'dance'"),
        (("run", "--ticks", "x.csv"), "--home"),
        (("run", "--home", "{home}"), "--ticks"),
        (("run", "--home", "{home}", "--ticks", "absent.csv"), "absent.csv: no such file"),
        (("run", "--home", "{home}", "--ticks", "{home}"), "no such file"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--speed", "fast"), "--speed"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--speed", "-1"), "--speed"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--halt-at-tick", "0"), "--halt-at-tick"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--durability", "some"), "--durability"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--column", "ts"), "--column"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--column", "time=ts"), "'time'"),
        (("run", "--home", "{home}", "--ticks", "-", "--ticks", "{ticks}"), "cannot be mixed"),
        (("run", "--home", "{home}", "--ticks", "{ticks}", "--strategy", "clever"), "no strategy 'clever'"),
        (("arm", "--home", "new"), "--limits FILE or --paper"),
        (("arm", "--home", "new", "--paper", "--limits", "x.toml"), "--limits FILE or --paper"),
        (("arm", "--home", "new", "--limits", "x.toml"), "x.toml: No such file"),
        (("halt", "--home", "nowhere"), "NOTHING WAS HALTED HERE"),
        (("reset", "--home", "{home}", "--operator", "ann"), "--reason"),
        (("verify",), "--home or --journal"),
        (("verify", "--home", "nowhere"), "no journal here"),
        (("demo", "--home", "{home}", "--json"), "something here already"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_ends_with_2_and_says_what(home: Path, ticks: Path, arguments: tuple[str, ...], said: str) -> None:
    """What was asked for wrongly ends with 2, a message that names it, and nothing written into the journal."""
    before = sorted((path, path.stat().st_size) for path in home.rglob("*"))

    told = quick(*(argument.format(home=home, ticks=ticks) for argument in arguments))

    assert told.code == 2
    assert said in told.err
    assert sorted((path, path.stat().st_size) for path in home.rglob("*")) == before


def test_refusals_are_json_too(tmp_path: Path) -> None:
    """With --json a refusal is one object on standard output, with message and code, beside the line for people."""
    told = cli("run", "--home", tmp_path / "home", "--ticks", "absent.csv", "--json")

    assert told.json == {"error": "absent.csv: no such file", "exit": 2}
    assert told.err == "interlock: absent.csv: no such file\n"


def test_home_may_come_from_the_environment(home: Path) -> None:
    """INTERLOCK_HOME stands for --home."""
    told = cli("status", "--json", env=environment(INTERLOCK_HOME=str(home)))

    assert told.json["home"] == str(home)


# ---------------------------------------------------------------------------
# Arming and limits


def test_arm_makes_an_idle_home_with_a_verified_journal(tmp_path: Path) -> None:
    """A freshly armed home has its limits, is armed in epoch 1 by its operator, and is verified."""
    home = tmp_path / "deep" / "home"

    armed = cli("arm", "--home", home, "--paper", "--operator", "ann", "--reason", "new desk", "--json")

    assert (armed.code, armed.json) == (0, {"home": str(home), "epoch": 1, "state": "ARMED"})
    assert (home / "limits.toml").read_text() == PAPER
    (record,) = of_kind(home, "arm")
    assert (record["operator"], record["reason"]) == ("ann", "new desk")
    status = cli("status", "--home", home, "--json")
    assert (status.code, status.json["state"], status.json["epoch"], status.json["attached"]) == (0, "ARMED", 1, [])
    verified(home)


def test_arming_twice_is_refused(home: Path) -> None:
    """A home that is there is never armed again, neither armed nor halted: that is what a reset is for."""
    again = quick("arm", "--home", home, "--paper")
    assert (again.code, "a halted home is reset, not armed again" in again.err) == (2, True)
    quick("halt", "--home", home)
    assert quick("arm", "--home", home, "--paper").code == 2
    assert quick("status", "--home", home).code == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tick_backwards", "tick_backward", "[gate1]: tick_backwards is missing"),
        ("message_burst = 1000", "message_burst = 0", "[gate2]: message_burst: expected a whole number"),
        ("max_quantity = 10 ", "max_quantity = nan ", "[instruments.SIM]: max_quantity"),
        ("[anomaly]", "[anomaly", "not valid TOML"),
    ],
)
def test_wrong_limits_are_named_by_file_and_key(tmp_path: Path, ticks: Path, old: str, new: str, said: str) -> None:
    """Limits that are wrong arm nothing and run nothing; the message has the file and the key."""
    file = tmp_path / "desk.toml"
    file.write_text(PAPER.replace(old, new))

    refused = quick("arm", "--home", tmp_path / "home", "--limits", file)

    assert (refused.code, (tmp_path / "home").exists()) == (2, False)
    assert str(file) in refused.err
    assert said in refused.err
    home = tmp_path / "spoilt"
    arm(home, PAPER)
    (home / "limits.toml").write_text(file.read_text())
    spoilt = quick("run", "--home", home, "--ticks", ticks)
    assert spoilt.code == 2
    assert f"{home / 'limits.toml'}: " in spoilt.err
    assert said in spoilt.err


def test_limits_without_orders_do_not_start(tmp_path: Path, ticks: Path) -> None:
    """A home whose limits have no gate 2 takes no tick, and the run ends with 2 and the reason."""
    home = tmp_path / "home"
    arm(home, re.sub(r"\[gate2\].*?(?=\[anomaly\])", "", PAPER, flags=re.DOTALL))

    told = quick("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick", "--json")

    assert (told.code, told.json["ticks"], told.json["orders_sent"]) == (2, 0, 0)
    assert told.json["not_started"].startswith("NO_LIMITS")
    assert "NO_LIMITS" in told.err


# ---------------------------------------------------------------------------
# 3: halted, or as good as that


def test_halt_of_a_resting_home(home: Path, ticks: Path) -> None:
    """Halting a home nobody is attached to is confirmed, journaled, seen by status, and refuses the next run."""
    halted = cli("halt", "--home", home, "--operator", "bob", "--reason", "fat finger", "--json")

    assert halted.code == 0
    assert (halted.json["state"], halted.json["confirmed"], halted.json["durable"]) == ("HALTED", True, True)
    (record,) = of_kind(home, "halt")
    assert (record["operator"], record["reason"], record["source"]) == ("bob", "fat finger", "cli")
    status = cli("status", "--home", home, "--json")
    assert (status.code, status.json["state"], status.json["code"]) == (3, "HALTED", "OPERATOR")
    assert (status.json["operator"], status.json["reason"]) == ("bob", "fat finger")
    refused = quick("run", "--home", home, "--ticks", ticks, "--json")
    assert (refused.code, refused.json["exit"]) == (3, 3)
    assert "fat finger" in refused.json["error"]
    assert quick("halt", "--home", home, "--operator", "eve", "--reason", "me too").code == 0
    assert quick("status", "--home", home, "--json").json["operator"] == "bob"
    verified(home)


def test_halt_whose_report_cannot_be_printed(home: Path) -> None:
    """With a full disk for standard output the exit code is the halt's all the same, and a line says so."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "interlock.ops", "halt", "--home", str(home)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home.parent),
            check=False,
        )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert of_kind(home, "halt")


@pytest.mark.parametrize("json", [False, True])
def test_interrupted_halt_says_how_far_it_came(live_home: Path, stuck: subprocess.Popen[str], json: bool) -> None:
    """Ctrl-C while it waits: it is halted and unconfirmed, and says so; 4."""
    arguments = ["halt", "--home", str(live_home), "--timeout", "60", *(["--json"] if json else [])]
    with subprocess.Popen(
        [sys.executable, "-m", "interlock.ops", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(live_home.parent),
    ) as killer:
        page = live_home / "page"
        while page.read_bytes()[0]:  # until its byte is set; the test's time-out bounds it
            pass
        while (live_home / "latch.json").read_bytes().find(b"HALTED") < 0:
            pass
        killer.send_signal(signal.SIGINT)
        out, _ = killer.communicate(timeout=PATIENCE_S)
    assert killer.returncode == 4
    assert "interrupted" in out
    assert str(stuck.pid) in out


def test_halt_for_a_reason_that_is_not_text(home: Path) -> None:
    """The kill switch takes any bytes for a reason, and any length: it halts, durably, and says so."""
    told = cli("halt", "--home", home, "--reason", b"\xff stop " + b"x" * 100_000, "--operator", b"\xfe")

    assert told.code == 0, told.err
    assert cli("status", "--home", home, "--json").json["latch"] == "HALTED"
    assert of_kind(home, "halt")[0]["reason"].startswith("\\udcff stop xxx")
    verified(home)


def test_words_of_others_do_not_steer_the_terminal(home: Path) -> None:
    """A reason with escapes, line feeds or marks that turn the text round is shown on its line, by their escapes."""
    evil = "\x1b[2J\x1b]0;x\x07 \x9b31m \u202e\r\nIDLE, epoch 9"
    told = cli("halt", "--home", home, "--reason", evil, "--operator", evil)
    assert told.code == 0, told.err
    wrong = cli("reset", "--home", home, "--reason", evil, "--operator", evil, "--epoch", "7")
    for said in (told.out, cli("status", "--home", home).out, wrong.err):
        assert all(char == "\n" or char.isprintable() for char in said), said
        assert "\nIDLE, epoch 9" not in said


@pytest.mark.parametrize("command", ["run", "status"])
def test_absence_is_halt(tmp_path: Path, ticks: Path, command: str) -> None:
    """Where there is no home nothing is permitted, and the code is that of HALTED."""
    more = ("--ticks", ticks) if command == "run" else ()

    told = quick(command, "--home", tmp_path / "home", *more)

    assert told.code == 3
    assert "no home here, so nothing is permitted" in told.err


def _gone(path: Path) -> None:
    path.unlink()


def _garbled(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"ARMED", b"ARMEd"))


def _short(path: Path) -> None:
    os.truncate(path, 100)


def _foreign(path: Path) -> None:
    arm(path.parent.parent / "other", PAPER, home="99999999-2222-4333-8444-555555555555")
    shutil.copy(path.parent.parent / "other" / path.name, path)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("latch.json", _gone),
        ("latch.json", _garbled),
        ("latch.json", _foreign),
        ("page", _gone),
        ("page", _short),
        ("page", _foreign),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_damaged_home_is_halted_until_it_is_reset(home: Path, ticks: Path, file: str, damage: object) -> None:
    """Whatever is wrong with latch or page: status and run say HALTED, no order leaves, and a reset mends it."""
    assert callable(damage)
    damage(home / file)

    status = quick("status", "--home", home, "--json")
    run = quick("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick")

    assert (status.code, status.json["state"]) == (3, "HALTED")
    assert (run.code, "HALTED" in run.err) == (3, True)
    assert of_kind(home, "permit") == []
    epoch = str(quick("status", "--home", home, "--json").json["epoch"])
    reset = quick("reset", "--home", home, "--operator", "ann", "--reason", "restored", "--epoch", epoch)
    assert reset.code == 0, reset.err
    assert quick("run", "--home", home, "--ticks", ticks).code == 0
    verified(home)


def test_run_without_limits_file(home: Path, ticks: Path) -> None:
    """A home that lost its limits runs nothing, and says which file is missing."""
    (home / "limits.toml").unlink()

    told = quick("run", "--home", home, "--ticks", ticks)

    assert (told.code, str(home / "limits.toml") in told.err) == (2, True)


# ---------------------------------------------------------------------------
# Reset


def test_reset_permits_a_restart_and_never_causes_one(home: Path, ticks: Path) -> None:
    """Only the current epoch, a name and a reason reset; then a separate run trades again, in the next epoch."""
    reset = ("reset", "--home", home, "--operator", "ann", "--reason", "checked", "--epoch")
    early = quick(*reset, "1")
    assert (early.code, "not halted" in early.err) == (2, True)
    quick("halt", "--home", home)

    wrong = quick(*reset, "2", "--json")
    nobody = quick("reset", "--home", home, "--operator", " ", "--reason", "checked", "--epoch", "1")
    right = cli(*reset, "1", "--json")

    assert (wrong.code, "epoch 2 is not the current one" in wrong.json["error"]) == (2, True)
    assert nobody.code == 2
    assert (right.code, right.json["state"], right.json["epoch"]) == (0, "ARMED", 2)
    assert (of_kind(home, "start"), of_kind(home, "permit")) == ([], [])
    (record,) = of_kind(home, "reset")
    assert (record["operator"], record["reason"], record["epoch"], record["prior"]) == ("ann", "checked", 2, 1)
    ran = quick("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick", "--json")
    assert (ran.code, ran.json["epoch"], ran.json["orders_sent"]) == (0, 2, 15)
    assert quick(*reset, "1").code == 2
    verified(home)


# ---------------------------------------------------------------------------
# 4, 5 and 6: for real


STUCK = """
import sys, time
from decimal import Decimal
from interlock import Kernel, Order, Quote, Side

def send(permit):
    permit.redeem()
    print("inside", flush=True)
    sys.stdin.readline()

with Kernel.attach(sys.argv[1], operator="ann", engine="stuck", durability=sys.argv[2]) as kernel:
    assert kernel.start()
    now = time.time_ns() // 1000
    price = Decimal(100)
    assert kernel.consult(Quote(instrument="SIM", ts_us=now, bid=price, ask=price))
    order = Order(client_order_id="STUCK-1", instrument="SIM", side=Side.BUY, quantity=Decimal(1), price=price)
    verdict = kernel.submit(order, send)
    print(verdict.outcome, kernel.mode, flush=True)
"""
"""An engine that stays inside a send until it reads a line."""


@pytest.fixture(params=["disk", "process"])
def stuck(live_home: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """An engine on the live home that is inside a send."""
    with python(STUCK, live_home, request.param) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "inside\n"
        yield child
        child.kill()


def test_halt_is_unconfirmed_while_an_engine_is_inside_a_send(live_home: Path, stuck: subprocess.Popen[str]) -> None:
    """The halt says that it does not know, and of whom, with 4; once the send has ended it is confirmed with 0."""
    halted = cli("halt", "--home", live_home, "--timeout", "0.1", "--operator", "bob", "--json")

    assert (halted.code, halted.json["confirmed"], halted.json["durable"]) == (4, False, True)
    assert "engine stuck, pid" in halted.json["message"]
    assert str(stuck.pid) in halted.json["message"]
    people = cli("halt", "--home", live_home, "--timeout", "0")
    assert (people.code, "UNCONFIRMED" in people.out, str(stuck.pid) in people.out) == (4, True, True)
    reset = cli("reset", "--home", live_home, "--operator", "ann", "--reason", "hasty", "--epoch", "1")
    assert (reset.code, "is not quiet" in reset.err) == (2, True)
    status = cli("status", "--home", live_home, "--json")
    (attached,) = status.json["attached"]
    assert (status.code, attached["engine"], attached["pid"], attached["quiet"]) == (3, "stuck", stuck.pid, False)

    out, _ = stuck.communicate("\n", timeout=PATIENCE_S)

    assert out == "sent HALTED\n"
    assert cli("halt", "--home", live_home).code == 0
    assert "bob" in [record["operator"] for record in of_kind(live_home, "halt", "stuck")]
    verified(live_home)


def test_killed_between_permit_and_outcome_is_in_doubt(
    live_home: Path, ticks: Path, stuck: subprocess.Popen[str]
) -> None:
    """An engine that died inside a send leaves its order in doubt: 5, with its name, also after the next run."""
    stuck.kill()
    stuck.wait()

    doubt = cli("verify", "--home", live_home)

    assert doubt.code == 5
    assert doubt.out.startswith("IN-DOUBT\n")
    assert "STUCK-1" in doubt.out
    said = cli("verify", "--home", live_home, "--json")
    assert (said.code, said.json["verdict"]) == (5, "IN-DOUBT")
    assert [one["order"] for one in said.json["engines"]["stuck"]["in_doubt"]] == ["STUCK-1"]
    assert cli("halt", "--home", live_home, "--timeout", "0").code == 0
    assert cli("reset", "--home", live_home, "--operator", "ann", "--reason", "died", "--epoch", "1").code == 0
    assert cli("run", "--home", live_home, "--ticks", ticks, "--strategy", "every-tick").code == 0
    later = cli("verify", "--home", live_home, "--json")
    assert (later.code, later.json["engines"]["engine"]["verdict"]) == (5, "VERIFIED")
    assert [one["order"] for one in later.json["engines"]["stuck"]["in_doubt"]] == ["STUCK-1"]


def test_flipped_bit_is_tampered(home: Path, ticks: Path) -> None:
    """One bit changed in the middle of a journal: verify ends with 6 and an address, and nothing runs on it."""
    quick("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick")
    (segment,) = segments(Home(home).stream("engine"))
    data = bytearray(segment.read_bytes())
    place = data.index(b'"quantity":"1"', len(data) // 2) + len(b'"quantity":"')
    data[place] ^= 2
    segment.write_bytes(data)
    line = data[:place].count(b"\n") + 1

    told = cli("verify", "--home", home)

    assert (told.code, told.out.splitlines()[0]) == (6, "TAMPERED")
    assert f"{segment.name}:" in told.out
    said = quick("verify", "--journal", home / "journal" / "engine", "--json")
    assert (said.code, said.json["verdict"]) == (6, "TAMPERED")
    assert said.json["findings"][0]["line"] >= line
    run = quick("run", "--home", home, "--ticks", ticks)
    assert (run.code, "JOURNAL_FAILED" in run.err) == (3, True)


def test_torn_tail_is_not_verified(home: Path) -> None:
    """Bytes behind the last seal are no tampering, but not VERIFIED either: 5, with how far it is."""
    quick("halt", "--home", home)
    (segment,) = segments(Home(home).stream("engine"))
    records = len(journal(home))
    with segment.open("ab") as file:
        file.write(b'{"v":1,"seq":')

    told = quick("verify", "--home", home, "--json")

    assert (told.code, told.json["verdict"]) == (5, f"VERIFIED-TO-{records}")
    assert told.json["engines"]["engine"]["torn_bytes"] == 13


# ---------------------------------------------------------------------------
# Ticks from files and pipes


def test_bad_row_ends_the_run_where_it_stands(home: Path, tmp_path: Path) -> None:
    """By default a row that is no tick ends the run with 2: file, line, field, expectation; all before it ran."""
    lines = rows(10)
    lines[5] = lines[5].replace("100.02", "nan")
    file = ticks_file(tmp_path / "bad.csv", lines)

    told = quick("run", "--home", home, "--ticks", file, "--strategy", "every-tick", "--json")

    assert (told.code, told.json["orders_sent"], told.json["mode"]) == (2, 5, "IDLE")
    assert f"{file}:7: ask: expected a finite decimal number" in told.json["feed_error"]
    assert f"{file}:7: ask: expected a finite decimal number" in told.err
    assert [record["code"] for record in of_kind(home, "anomaly")] == ["FEED_RAISED"]
    verified(home)


def test_bad_rows_may_be_skipped(home: Path, tmp_path: Path) -> None:
    """Told to skip them, each bad row gets its line on standard error and the count its number; the rest runs."""
    lines = rows(250)
    lines[98] = lines[98].replace("SIM", "")
    lines[200] = lines[200] + ",1"
    file = ticks_file(tmp_path / "bad.csv", lines)

    told = cli("run", "--home", home, "--ticks", file, "--strategy", "every-tick", "--bad-rows", "skip", "--json")

    assert (told.code, told.json["ticks"], told.json["rows_skipped"]) == (0, 248, 2)
    first, second = told.err.splitlines()
    assert first.startswith(f"interlock: skipped: {file}:100: symbol: expected the name of an instrument")
    assert second.startswith(f"interlock: skipped: {file}:202: row: expected 4 fields, not 5")
    verified(home)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "expected a header"), ("a,b\n1,2\n", "missing columns"), ("1,SIM,1,2\n", "is the header missing?")],
)
def test_file_that_is_none(home: Path, tmp_path: Path, text: str, said: str) -> None:
    """A file without a usable header ends with 2 and says what it has and what it lacks."""
    file = tmp_path / "odd.csv"
    file.write_text(text)

    told = quick("run", "--home", home, "--ticks", file)

    assert told.code == 2
    assert f"{file}:1: " in told.err
    assert said in told.err


def test_columns_may_have_other_names(home: Path, tmp_path: Path) -> None:
    """Columns are mapped by --column, and --instrument stands in for one that is not there."""
    lines = [line.replace("SIM,", "") for line in rows(4)]
    file = ticks_file(tmp_path / "theirs.csv", lines, "Time,B,A")
    mapped = ("--column", "ts=time", "--column", "bid=B", "--column", "ask=a", "--instrument", "SIM")

    told = quick("run", "--home", home, "--ticks", file, "--strategy", "every-tick", "--json", *mapped)
    lost = quick("run", "--home", home, "--ticks", file, "--column", "ts=when", "--instrument", "SIM")

    assert (told.code, told.json["orders_sent"]) == (0, 4)
    assert (lost.code, "missing columns 'when'" in lost.err) == (2, True)


def test_several_files_are_one_run(home: Path, tmp_path: Path) -> None:
    """Files given one after the other are taken one after the other."""
    one, two = ticks_file(tmp_path / "1.csv", rows(4)), ticks_file(tmp_path / "2.csv", rows(3, first=5))

    told = quick("run", "--home", home, "--ticks", one, "--ticks", two, "--max-ticks", "6", "--json")

    assert (told.code, told.json["ticks"], told.json["consulted"]) == (0, 6, 6)


def test_standard_input_is_a_file_like_any(home: Path, ticks: Path) -> None:
    """What is piped in is replayed like a file; without its last line end it is not trusted."""
    whole = ticks.read_text()

    told = cli("run", "--home", home, "--ticks", "-", "--strategy", "every-tick", "--json", stdin=whole)
    cut = cli("run", "--home", home, "--ticks", "-", "--json", stdin=whole[:-1])

    assert (told.code, told.json["orders_sent"]) == (0, 15)
    assert (cut.code, cut.json["ticks"]) == (2, 14)
    assert "a line end: the stream may be cut" in cut.err


def test_paced_replay_sends_what_the_fast_one_sends(home: Path, tmp_path: Path) -> None:
    """The pace at which a replay is shown changes nothing that it does."""
    file = ticks_file(tmp_path / "ticks.csv", rows(4))

    told = quick("run", "--home", home, "--ticks", file, "--strategy", "every-tick", "--speed", "10", "--json")

    assert (told.code, told.json["orders_sent"], told.json["ticks_blocked"]) == (0, 4, 0)
    verified(home)


# ---------------------------------------------------------------------------
# Strategies from elsewhere


MINE = """
from decimal import Decimal
from interlock import Order, Side

class Once:
    def __init__(self, instruments):
        self.lot = instruments["SIM"].lot_size

    def on_tick(self, tick):
        order_id = f"mine-{tick.ts_us}"
        yield Order(client_order_id=order_id, instrument="SIM", side=Side.BUY, quantity=self.lot, price=tick.bid)
        self.on_tick = lambda tick: ()

class Deaf:
    pass

class Late:
    async def on_tick(self, tick):
        return ()

class Needy:
    def __init__(self, instruments, money):
        pass
"""


def test_strategy_of_ones_own(home: Path, ticks: Path, tmp_path: Path) -> None:
    """MODULE:NAME on the Python path is run like a built-in strategy; --cancel-on-stop takes back what it left."""
    (tmp_path / "mine.py").write_text(MINE)
    run = ("run", "--home", home, "--ticks", ticks, "--strategy", "mine:Once", "--cancel-on-stop", "--json")

    told = cli(*run, env=environment(tmp_path))

    assert (told.code, told.json["orders_sent"], told.json["errors"]) == (0, 1, 0)
    assert [record["kind"] for record in journal(home) if record.get("id", "").startswith("mine-")] == [
        "permit",
        "accept",
        "cancel",
        "cancelled",
    ]
    verified(home)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yours:Once", "no module 'yours'"),
        ("mine:Twice", "has no 'Twice'"),
        ("mine:Deaf", "has no on_tick"),
        ("mine:Late", "on_tick is async"),
        ("mine:Needy", "making it raised TypeError"),
        ("broken:Once", "importing 'broken' raised ZeroDivisionError"),
    ],
)
def test_strategy_that_is_none(home: Path, ticks: Path, tmp_path: Path, name: str, said: str) -> None:
    """A strategy that can't be had ends with 2 and says where it was looked for; the journal is not touched."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    before = journal(home)

    told = cli("run", "--home", home, "--ticks", ticks, "--strategy", name, env=environment(tmp_path))

    assert told.code == 2
    assert said in told.err
    assert journal(home) == before


def test_strategy_that_raises_ends_the_run_halted(home: Path, ticks: Path, tmp_path: Path) -> None:
    """A strategy that raises at each tick halts by the limits' count of errors in a row: 3, with the cause."""
    (tmp_path / "bad.py").write_text("class Bad:\n    def on_tick(self, tick):\n        raise ValueError(tick.ts_us)\n")

    told = cli("run", "--home", home, "--ticks", ticks, "--strategy", "bad:Bad", "--json", env=environment(tmp_path))

    said = told.json
    assert (told.code, said["errors"], said["consulted"], said["ticks_blocked"]) == (3, 5, 5, 10)
    assert said["halt_cause"]["code"] == "ERRORS_IN_A_ROW"
    assert [record["code"] for record in of_kind(home, "anomaly")] == ["STRATEGY_RAISED"] * 5
    verified(home)


# ---------------------------------------------------------------------------
# Live runs: signals, the kill switch, and two at once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_ends_a_live_run_in_order(live_home: Path, tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT or SIGTERM, with the feed still open: drained, IDLE, sealed, and code 0."""
    with Live(live_home, tmp_path) as live:
        live.tick(2)
        live.asked(1)
        live.asked(2)
        live.process.send_signal(number)
        live.process.wait(PATIENCE_S)
        ended = live.end()

    said = ended.json
    assert (ended.code, said["mode"], said["drained"], said["in_flight"]) == (0, "IDLE", True, [])
    assert (said["ticks"], said["orders_sent"], said["feed_error"]) == (2, 1, None)
    assert [record["reason"] for record in of_kind(live_home, "drain")] == [number.name]
    assert len(of_kind(live_home, "stop")) == 1
    assert cli("status", "--home", live_home).code == 0
    verified(live_home)


def test_second_signal_halts_a_live_run(live_home: Path, tmp_path: Path) -> None:
    """A second signal before the first one's stop is through halts: 3, the latch set, no order lost count of."""
    release, hold = os.pipe()
    with Live(live_home, tmp_path, hold=release) as live:
        os.close(release)
        live.tick()
        live.asked(1)
        live.process.send_signal(signal.SIGINT)
        live.process.send_signal(signal.SIGTERM)
        os.write(hold, b".")
        live.process.wait(PATIENCE_S)
        ended = live.end()
    os.close(hold)

    said = ended.json
    assert (ended.code, said["mode"], said["halt_cause"]["code"]) == (3, "HALTED", "SIGNAL")
    assert said["halt_cause"]["reason"].startswith("second signal: SIG")
    assert said["orders_sent"] + said["orders_refused"] == 1
    status = cli("status", "--home", live_home, "--json")
    assert (status.code, status.json["code"], status.json["source"]) == (3, "SIGNAL", "signal")
    verified(live_home)


def test_second_signal_halts_a_run_whose_strategy_hangs(live_home: Path, tmp_path: Path) -> None:
    """The loop turns no more, and yet the second signal halts: emission, latch and journal."""
    release, hold = os.pipe()
    with Live(live_home, tmp_path, hold=release) as live:
        os.close(release)
        live.tick()
        live.asked(1)
        live.process.send_signal(signal.SIGTERM)
        live.process.send_signal(signal.SIGINT)
        for _ in range(PATIENCE_S):
            status = cli("status", "--home", live_home, "--json")
            if status.code == 3 and of_kind(live_home, "halt"):
                break
        assert live.process.poll() is None
    os.close(hold)

    assert (status.code, status.json["code"], status.json["source"]) == (3, "SIGNAL", "signal")
    assert [record["code"] for record in of_kind(live_home, "halt")] == ["SIGNAL"]
    assert of_kind(live_home, "drain") == []


def test_halt_stops_a_live_run(live_home: Path, tmp_path: Path) -> None:
    """`interlock halt` beside a live run: confirmed, no order afterwards, and the run tells who did it and why."""
    with Live(live_home, tmp_path) as live:
        live.tick(2)
        live.asked(1)
        live.asked(2)
        halted = cli(
            "halt", "--home", live_home, "--operator", "bob", "--reason", "pulled", "--timeout", "60", "--json"
        )
        live.tick(3)
        ended = live.end()

    assert (halted.code, halted.json["confirmed"], halted.json["durable"]) == (0, True, True)
    said = ended.json
    assert (ended.code, said["mode"], said["epoch"]) == (3, "HALTED", 1)
    assert (said["ticks"], said["consulted"], said["orders_sent"]) == (5, 2, 1)
    assert said["blocked_by_reason"] == {"HALTED": 3}
    cause = said["halt_cause"]
    assert (cause["code"], cause["operator"], cause["reason"], cause["source"]) == ("OPERATOR", "bob", "pulled", "cli")
    assert ("bob", "pulled") in [(record["operator"], record["reason"]) for record in of_kind(live_home, "halt")]
    verified(live_home)
    assert cli("reset", "--home", live_home, "--operator", "ann", "--reason", "fine", "--epoch", "1").code == 0
    with Live(live_home, tmp_path) as live:
        live.tick(2)
        live.asked(1)
        live.asked(2)
        again = live.end()
    assert (again.code, again.json["epoch"], again.json["orders_sent"]) == (0, 2, 1)
    verified(live_home)


def test_two_runs_on_one_home(live_home: Path, ticks: Path, tmp_path: Path) -> None:
    """A second run on a home is refused with 2 and told which process has it; the first is not disturbed."""
    with Live(live_home, tmp_path) as live:
        live.tick(2)
        live.asked(1)
        live.asked(2)
        second = cli("run", "--home", live_home, "--ticks", ticks, "--json")
        status = cli("status", "--home", live_home, "--json")
        live.tick(2)
        live.asked(3)
        live.asked(4)
        first = live.end()

    holder = f"'engine' is attached already (pid {live.process.pid}, "
    assert (second.code, holder in second.json["error"]) == (2, True)
    (attached,) = status.json["attached"]
    assert (status.code, attached["engine"], attached["pid"], attached["mode"]) == (
        0,
        "engine",
        live.process.pid,
        "RUNNING",
    )
    assert (first.code, first.json["orders_sent"], first.json["ticks"]) == (0, 2, 4)
    verified(live_home)


# ---------------------------------------------------------------------------
# The demo


def test_demo_shows_a_kill_switch_at_work(tmp_path: Path) -> None:
    """The demo ends with 0, tells what happened in its order, and leaves a halted home whose journal is VERIFIED."""
    home = tmp_path / "demo"

    told = cli("demo", "--home", home, "--seconds", "2", "--ticks", "60")

    assert told.code == 0, told.out + told.err
    story = [
        "Armed a home",
        "HALTED. Confirmed",
        "orders were sent before the halt, ",
        "gate 2 now: HALTED",
        "After a restart: HALTED",
        "VERIFIED",
    ]
    places = [told.out.index(part) for part in story]
    assert places == sorted(places)
    assert cli("status", "--home", home).code == 3
    assert "demo: the kill switch" in [record["reason"] for record in of_kind(home, "halt", "demo")]
    verified(home)


def test_demo_as_json(tmp_path: Path) -> None:
    """With --json the demo is one object, and says that all went as it must, also in the least of times."""
    told = cli("demo", "--seconds", "0.5", "--ticks", "20", "--json", env=environment(TMPDIR=str(tmp_path)))

    said = told.json
    assert (told.code, said["fine"], said["verify"]) == (0, True, "VERIFIED")
    run = said["run"]
    assert run["orders_sent"] > 0
    assert run["ticks_blocked"] > 0
    assert run["ticks"] == run["consulted"] + run["ticks_blocked"]
    assert run["mode"] == "HALTED"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "demo"])
def test_progress_is_shown_on_a_terminal(home: Path, ticks: Path, tmp_path: Path, command: str) -> None:
    """On a terminal run and demo show how far they are, and then the result as ever."""
    if command == "run":
        told = screen("run", "--home", home, "--ticks", ticks, "--strategy", "every-tick", "--speed", "5")
        shown, result = ("running", "RUNNING"), "15 sent, 0 unknown, 0 refused"
    else:
        told = screen("demo", "--home", tmp_path / "demo", "--seconds", "0.5", "--ticks", "20")
        shown, result = ("RUNNING", "░"), "VERIFIED"

    assert told.code == 0
    assert any(word in told.out for word in shown)
    assert "\x1b[" in told.out
    assert result in told.out


def test_interrupt_after_the_report_of_a_halt_does_not_change_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is tired of waiting for a long journal has a confirmed halt all the same."""
    home = arm(tmp_path / "home")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("interlock.ops.cli._journal_it", interrupted)
    told = quick("halt", "--home", home.path)
    assert (told.code, "Confirmed" in told.out) == (0, True)


def test_demo_that_would_never_end_is_refused() -> None:
    """A time without an end is no time for a demonstration, and a mistake that is told as one."""
    assert quick("demo", "--seconds", "inf").code == 2
