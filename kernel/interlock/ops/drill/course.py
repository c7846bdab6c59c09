"""The course of a drill: load, the fault if there is to be one, the halt, the pressing on, the restart, the check."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.latch import read_latch
from interlock.breaker.lock import FileLock
from interlock.breaker.roster import engines
from interlock.ops.drill.measure import Measure, journal, latch_says
from interlock.ops.drill.record import Answer, Kind, Measured, Restart
from interlock.ops.drill.stage import PATIENCE_S, DrillError, Player, Stage, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["ENGINE", "KILLER", "Course", "Plan", "drill"]

ENGINE: Final = (sys.executable, "-m", "interlock.ops.drill.engine")
KILLER: Final = (sys.executable, "-m", "interlock.ops")
_STALL_S: Final = 0.5
_WATCHDOG_S: Final = 20.0
_PRESS_S: Final = 0.25
_PRESS_AT_MOST_NS: Final = 5_000_000_000
_LOADED: Final = 200
_GLANCE_S: Final = 0.02


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be drilled.

    Attributes:
        home: where to make the home; None for a temporary one.
        kind: what is rehearsed.
        engines: how many processes.
        seconds: how long they are under load before.
        timeout_s: how long a halt waits for quiet.
        escalate: SIGKILL what did not drain.
        operator: who drills.
        engine: the command of an engine's process; another one in tests only.
        killer: the command line that halts, likewise.
    """

    home: Path | None
    kind: Kind
    engines: int
    seconds: float
    timeout_s: float
    escalate: bool
    operator: str
    engine: tuple[str, ...] = ENGINE
    killer: tuple[str, ...] = KILLER

    @property
    def reason(self) -> str:
        """What the halt gives as its reason."""
        return f"kill drill: {self.kind}"


def drill(plan: Plan, tell: Callable[[str, list[Player]], object]) -> tuple[Measured, dict[str, Any]]:
    """Carry it out.

    Args:
        plan: what is to be drilled.
        tell: called with a phase and the engines, again and again.

    Returns:
        What was measured, and the facts about home and times that a report gives.

    Raises:
        HomeError: there is something at the path of the home.
        DrillError: it could not be carried out.
    """
    base_ns = time.monotonic_ns()
    began_us = time.time_ns() // 1000
    with Stage(plan.home, operator=plan.operator, reason="kill drill on paper; not for trading") as stage:
        try:
            measured = Course(plan, stage, tell, base_ns).run()
        except (OSError, subprocess.TimeoutExpired, orjson.JSONDecodeError) as error:
            message = f"the drill broke off: {error}"
            raise DrillError(message) from error
        latch = read_latch(stage.mine().latch)[0]
        facts = {
            "began_us": began_us,
            "ended_us": time.time_ns() // 1000,
            "base_mono_ns": str(base_ns),
            "home": {
                "path": str(stage.path) if stage.kept else None,
                "uuid": stage.identity,
                "epoch": latch.epoch,
                "limits_sha256": stage.mine().read_limits()[1],
                "kept": stage.kept,
            },
        }
    return measured, facts


class Course:
    """One drill under way.

    Args:
        plan: what is to be drilled.
        stage: where.
        tell: called with a phase and the engines.
        base_ns: from which instants are counted.
    """

    def __init__(self, plan: Plan, stage: Stage, tell: Callable[[str, list[Player]], object], base_ns: int) -> None:
        self.plan = plan
        self.stage = stage
        self._tell = tell
        self._base_ns = base_ns
        self._answers: list[Answer] = []
        self._watch: subprocess.Popen[bytes] | None = None
        self._still_held = ""

    def run(self) -> Measured:
        """From the first order to the last check."""
        loaded_ns = self._load()
        faulty = self._fault()
        self._trip(faulty)
        ack_ns = next((answer.confirmed_ns for answer in self._answers if answer.confirmed), 0)
        self._press(ack_ns)
        self._tell("asking the engines", self.stage.players)
        told = {player.name: player.tell() for player in self.stage.players}
        measure = Measure(base_ns=self._base_ns, loaded_ns=loaded_ns, answers=tuple(self._answers), ack_ns=ack_ns)
        lanes = tuple(measure.lane(player, told[player.name]) for player in self.stage.players)
        self._tell("trying a restart", self.stage.players)
        restart = self._restart(faulty or self.stage.players[0])
        home = self.stage.mine()
        self._tell("verifying the journals", self.stage.players)
        journals = tuple(journal(player.name, home.stream(player.name)) for player in self.stage.players)
        plan = self.plan
        watchdog = plan.kind is Kind.WATCHDOG
        return Measured(
            kind=plan.kind,
            escalate=plan.escalate,
            timeout_ns=int(plan.timeout_s * 1_000_000_000),
            stall_ns=int(_STALL_S * 1_000_000_000) if watchdog else 0,
            cause="STALLED" if watchdog else plan.reason,
            answers=tuple(self._answers),
            ack_ns=ack_ns,
            lanes=lanes,
            still_held=self._still_held,
            latch=latch_says(home),
            restart=restart,
            journals=journals,
        )

    def _since(self, ns: int) -> int:
        """An instant of the machine's clock as the record has it."""
        return ns - self._base_ns if ns else 0

    # -- Before the halt ---------------------------------------------------------------------------

    def _load(self) -> int:
        """All engines at full load for a while. Gives when that began."""
        plan, stage = self.plan, self.stage
        for number in range(plan.engines):
            stage.player(plan.engine, f"drill-{number + 1}", plan.seconds + 30.0)
        self._tell("starting", stage.players)
        stage.until("all engines send", lambda: all(player.sending for player in stage.players))
        if plan.kind is Kind.WATCHDOG:
            self._post_watchdog()
        loaded_ns = time.monotonic_ns()
        until_ns = loaded_ns + int(plan.seconds * 1_000_000_000)

        def loaded() -> bool:
            self._tell("under load", stage.players)
            time.sleep(_GLANCE_S)
            enough = all(player.evidence.sends >= _LOADED for player in stage.players)
            return enough and time.monotonic_ns() >= until_ns

        stage.until("all engines are under load", loaded, patience_s=plan.seconds + PATIENCE_S)
        return loaded_ns

    def _fault(self) -> Player | None:
        """What is to go wrong in one engine, goes wrong."""
        kind = self.plan.kind
        if kind is Kind.HALT:
            return None
        faulty = self.stage.players[0]
        faulty.fault = str(kind)
        if kind is Kind.HUNG:
            faulty.say("hang")
            self.stage.until("a send hangs", lambda: faulty.evidence.state.name == "HUNG")
        elif kind is Kind.SUSPENDED:
            faulty.signal(signal.SIGSTOP)
            self.stage.until("it is suspended", lambda: _suspended(faulty.pid))
        elif kind is Kind.KILLED:
            faulty.may_die = True
            faulty.signal(signal.SIGKILL)
            faulty.reap()
        else:
            faulty.fault = "stalled"
            faulty.may_die = True  # the watchdog escalates, if it has to
            faulty.say("stall")
        return faulty

    # -- The halt ----------------------------------------------------------------------------------

    def _trip(self, faulty: Player | None) -> None:
        """Halt. Who hangs or is suspended is either killed by a second halt, or let go on and halted then."""
        plan = self.plan
        self._tell("halting", self.stage.players)
        if plan.kind is Kind.WATCHDOG:
            self._await_watchdog()
            return
        waits = plan.kind in {Kind.HUNG, Kind.SUSPENDED}
        answer = self._halt(escalate=plan.escalate and not waits)
        if faulty is not None and waits and not answer.confirmed:
            if plan.escalate:
                faulty.may_die = True
            elif plan.kind is Kind.HUNG:
                faulty.say("let-out")
            else:
                faulty.signal(signal.SIGCONT)
            self._halt(escalate=plan.escalate)

    def _halt(self, *, escalate: bool) -> Answer:
        """`interlock halt`, in a process of its own."""
        plan = self.plan
        home = self.stage.mine()
        said = ["halt", "--home", str(home.path), "--reason", plan.reason, "--operator", plan.operator]
        said += ["--timeout", f"{plan.timeout_s:g}", "--json", *(["--escalate"] if escalate else [])]
        run_ns = time.monotonic_ns()
        process = self.stage.spawn((*plan.killer, *said))
        told: dict[str, Any] = {}
        for line in lines_of(process, plan.timeout_s + PATIENCE_S):
            told = orjson.loads(line)
            break
        answer = self._answer("interlock halt" + " --escalate" * escalate, process, told, run_ns)
        self._answers.append(answer)
        return answer

    def _answer(self, command: str, process: subprocess.Popen[bytes], told: dict[str, Any], run_ns: int) -> Answer:
        read_ns = time.monotonic_ns()
        confirmed = bool(told.get("confirmed"))
        if confirmed:
            self._look_for_holders()
        process.wait(PATIENCE_S)
        return Answer(
            command=tuple(command.split()),
            code=process.returncode,
            run_ns=self._since(run_ns),
            called_ns=self._since(told.get("called_ns", 0)),
            stopped_ns=self._since(told.get("stopped_ns", 0)),
            durable_ns=self._since(told.get("durable_ns", 0)),
            confirmed_ns=(self._since(told.get("confirmed_ns", 0)) or self._since(read_ns)) if confirmed else 0,
            read_ns=self._since(read_ns),
            stopped=bool(told.get("stopped")),
            durable=bool(told.get("durable")),
            confirmed=confirmed,
            waiting=tuple(
                {
                    "engine": who["engine"],
                    "pid": who["pid"],
                    "why": who["why"],
                    "orders": [one["client_order_id"] for one in who["in_flight"]],
                }
                for who in told.get("waiting", ())
            ),
            killed=tuple(told.get("killed", ())),
            message=str(told.get("message") or told.get("error") or ""),
            code_said=str(told.get("code", "")),
        )

    def _look_for_holders(self) -> None:
        """After the ack the running lock must be there for the taking, and no engine may say that it sends."""
        home = self.stage.mine()
        lock = FileLock(home.lock)
        try:
            if not lock.exclusive():
                self._still_held = "the running lock is held"
        finally:
            lock.close()
        who = [
            engine.name
            for engine in engines(home.engines)
            if engine.attached and (engine.held or engine.sending or engine.unnamed)
        ]
        if who:
            self._still_held = f"{', '.join(who)}: by the roster still sending, or holding the lock"

    def _post_watchdog(self) -> None:
        """`interlock watch`, before anything goes wrong."""
        plan = self.plan
        said = ["watch", "--home", str(self.stage.mine().path), "--beat", f"{_STALL_S:g}", "--interval", "0.05"]
        said += ["--timeout", f"{plan.timeout_s:g}", "--operator", plan.operator, "--json"]
        said += [] if plan.escalate else ["--no-escalate"]
        process = self.stage.spawn((*plan.killer, *said))
        self._watch = process
        if not any(True for _ in lines_of(process, PATIENCE_S)):
            process.wait(PATIENCE_S)
            message = "`interlock watch` did not come up; is it part of this version?"
            raise DrillError(message)

    def _await_watchdog(self) -> None:
        """The watchdog's halt: the first that is confirmed, or what it said last."""
        process = self._watch
        if process is None:
            return
        run_ns = time.monotonic_ns()
        told: dict[str, Any] = {}
        with contextlib.suppress(DrillError):  # no answer in time is an answer that did not confirm
            for line in lines_of(process, self.plan.timeout_s + _WATCHDOG_S):
                said = orjson.loads(line)
                told = said if said.get("event") == "halt" else told
                if told.get("confirmed"):
                    break
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        self._answers.append(self._answer("interlock watch", process, told, run_ns))

    # -- After the halt ----------------------------------------------------------------------------

    def _press(self, ack_ns: int) -> None:
        """The engines go on trying after the ack; what lives and has a loop must have been refused then."""
        stage = self.stage
        until_ns = time.monotonic_ns() + int(_PRESS_S * 1_000_000_000)
        trying = [player for player in stage.players if player.fault != "stalled" and not player.may_die]
        deadline_ns = until_ns + _PRESS_AT_MOST_NS

        def pressed() -> bool:
            self._tell("pressing on", stage.players)
            now = time.monotonic_ns()
            all_tried = all(self._since(player.evidence.last_refused_ns) > ack_ns for player in trying)
            return now >= until_ns and (all_tried or not ack_ns or now >= deadline_ns)

        stage.until("the engines have tried", pressed)

    def _restart(self, player: Player) -> Restart:
        """Start one engine again, as if that could help."""
        nothing = Restart(engine=player.name, mode="", starts=(), order="", reached=0)
        session = f"{player.name}-{self.stage.identity[:8]}"
        arguments = (str(self.stage.path), player.name, "-", session, self.plan.operator)
        process = self.stage.spawn((*self.plan.engine, "--again", *arguments))
        for line in lines_of(process, PATIENCE_S):
            told = orjson.loads(line)
            process.wait(PATIENCE_S)
            starts = tuple(told["starts"])
            return attrs.evolve(nothing, mode=told["mode"], starts=starts, order=told["order"], reached=told["reached"])
        return attrs.evolve(nothing, problem=f"it ended by itself ({process.wait(PATIENCE_S)})")


def _suspended(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
