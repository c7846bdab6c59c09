"""The command line: ``interlock arm | run | halt | status | reset | verify`` and more; see ``interlock --help``."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import uuid
from functools import partial
from importlib import resources
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import attrs
import typer

from interlock.attach import Told, contradiction, highest_epoch, newest_of, rolled_back
from interlock.breaker import latch as latches
from interlock.breaker import watchdog
from interlock.breaker.compress import compress as pack
from interlock.breaker.compress import compressible
from interlock.breaker.grounds import problems
from interlock.breaker.home import Home, HomeError, boot_id, parse_limits
from interlock.breaker.roster import engine_name, engines, look
from interlock.breaker.segment import chunks, first_of, segments
from interlock.core.errors import InterlockError, LimitsError
from interlock.core.modes import ARMED
from interlock.core.reasons import HaltCode
from interlock.journal.recovery import Recovery
from interlock.journal.statements import origin_of
from interlock.kernel import Kernel
from interlock.ops import demo as demos
from interlock.ops import limits as limit_commands
from interlock.ops import replay as replays
from interlock.ops import runner
from interlock.ops import watch as watches
from interlock.ops.bundle import command as bundles
from interlock.ops.console import fail, say, show, warn
from interlock.ops.drill import Kind
from interlock.ops.drill import Plan as DrillPlan
from interlock.ops.drill import command as drills
from interlock.ops.exits import Exit
from interlock.ops.keys import keys
from interlock.ops.options import HomeOption, JsonOption, OperatorOption, now, plain, user
from interlock.ops.prove import prove
from interlock.ops.signed import signed
from interlock.ops.verify import verify
from interlock.store.checkpoints import Notes
from interlock.version import __version__

if TYPE_CHECKING:
    from interlock.breaker.quiet import Quiet

__all__ = ["app", "main"]

app = typer.Typer(
    name="interlock",
    help="A halt kernel for live trading engines: nothing reaches the venue without its permit, "
    "and once it is HALTED no permit exists.",
    epilog="Exit codes: 0 fine, 2 usage or input, 3 ended or refused because HALTED, 4 unconfirmed, "
    "5 in doubt, 6 tampered or decided otherwise, 7 drill failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(limit_commands.app)
app.command()(bundles.bundle)
app.add_typer(keys)

_FIRST = "engine"
_JOURNAL_S = 10.0


def _name(given: str) -> str:
    """An engine's name."""
    try:
        return engine_name(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _names(given: list[str] | None) -> list[str] | None:
    return [_name(name) for name in given] if given else None


EngineOption = Annotated[str, typer.Option("--engine", help="The engine's name: its journal's, too.", callback=_name)]


def paper_limits() -> bytes:
    """The commented example limits."""
    return resources.files("interlock.ops").joinpath("paper.toml").read_bytes()


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """Interlock."""
    if version:
        say(__version__)
        raise typer.Exit


@app.command()
def arm(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: HomeOption,
    limits: Annotated[Path | None, typer.Option("--limits", help="TOML file with the limits.")] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Use the commented example limits.")] = False,  # noqa: FBT002
    operator: OperatorOption = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.", callback=plain)] = "armed",
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", help="An engine to begin a journal for; may be repeated.", callback=_names),
    ] = None,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Make a home: latch (armed), page, lock, limits, journal. Nothing runs yet."""
    if (limits is None) is not paper:
        fail(Exit.USAGE, "give either --limits FILE or --paper", json=json)
    try:
        data = paper_limits() if limits is None else limits.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{limits}: {error.strerror}", json=json)
    operator = operator or user()
    try:
        parse_limits(data, str(limits or "paper.toml"))
        Home(home).arm(data, home=str(uuid.uuid4()), operator=operator, reason=reason, now=now())
        for name in engine or [_FIRST]:
            Kernel.attach(home, operator=operator, engine=name).close()
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show({"home": str(home), "epoch": 1, "state": "ARMED"})
    else:
        say(f"{home}: armed, epoch 1. Limits: {home / 'limits.toml'}")


@app.command()
def halt(
    home: HomeOption,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; stands in latch and journal.", callback=plain)
    ] = "halted by operator",
    operator: OperatorOption = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait until all are quiet.")] = 2.0,
    escalate: Annotated[  # noqa: FBT002
        bool, typer.Option("--escalate", help="SIGKILL the engines that are not quiet by then.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """The kill switch: stop emission now, in every engine of this home, and say whether all are quiet."""
    operator = operator or user()
    target = Home(home)

    def halted(armed: latches.Latch) -> latches.Latch:
        moment = now()
        return attrs.evolve(
            armed,
            state=latches.HALTED,
            code=HaltCode.OPERATOR.value,
            reason=reason,
            source="cli",
            operator=operator,
            ts_us=moment.ts_us,
            boot=boot_id(),
            mono_ns=moment.mono_ns,
        )

    try:
        quiet = target.halt(halted, timeout, escalate=escalate)
    except HomeError as error:
        fail(Exit.USAGE, f"{error}; NOTHING WAS HALTED HERE", json=json)
    sure = quiet.stopped and quiet.confirmed and quiet.durable
    try:
        _report_halt(home, quiet, json=json)
    except OSError as error:  # the disk that is full may be the one that we print to
        with contextlib.suppress(OSError):
            warn(f"{'confirmed' if sure else 'UNCONFIRMED'}, but it can't be printed: {error}")
    with contextlib.suppress(KeyboardInterrupt):  # the exit code is decided
        _journal_it(home, operator)  # after the report: a journal may be long, and a disk slow
    raise typer.Exit(int(Exit.FINE if sure else Exit.UNCONFIRMED))


def _journal_it(home: Path, operator: str) -> None:
    """Record it in the journals of engines that are not attached, in bounded time; an attached one writes it itself."""
    target = Home(home)

    def work() -> None:
        for name in target.streams() or [_FIRST]:
            with contextlib.suppress(InterlockError, OSError):
                engine = look(target.engines, name)
                if engine is None or not engine.attached:
                    Kernel.attach(home, operator=operator, engine=name).close()

    writing = threading.Thread(target=work, daemon=True)
    writing.start()
    writing.join(_JOURNAL_S)  # what is not written by then the engine's next attach writes


def _report_halt(home: Path, quiet: Quiet, *, json: bool) -> None:
    state = "HALTED" if quiet.stopped or quiet.durable else "NOT HALTED"
    if json:
        show({"home": str(home), "state": state, **attrs.asdict(quiet)})
    else:
        said = "Confirmed: nobody is sending." if quiet.confirmed else "UNCONFIRMED."
        say(f"{home}: {state}. {said}{'' if quiet.durable else ' NOT DURABLE.'}", "bold")
        if quiet.message:
            say(quiet.message)
        if quiet.stopped and not quiet.durable:
            say("The latch is not on disk: emission is stopped by the page alone.")
        if quiet.durable and not quiet.stopped:
            say("The page could not be set: an engine that runs sees the halt at its next heartbeat, not before.")
        for killed in quiet.killed:
            say(f"killed: engine {killed.engine or '(none)'}, pid {killed.pid}")


@app.command()
def watch(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: HomeOption,
    beat: Annotated[float, typer.Option("--beat", help="Seconds without a heartbeat.")] = 5.0,
    busy: Annotated[float, typer.Option("--busy", help="Seconds of work on one tick.")] = 10.0,
    send: Annotated[float, typer.Option("--send", help="Seconds of one send.")] = 10.0,
    interval: Annotated[float, typer.Option("--interval", help="Seconds between two looks.")] = 0.25,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait until all are quiet.")] = 2.0,
    no_escalate: Annotated[  # noqa: FBT002
        bool, typer.Option("--no-escalate", help="Do not SIGKILL what is not quiet by then, or hangs.")
    ] = False,
    grace: Annotated[float, typer.Option("--grace", help="Seconds until what let go and hangs is killed.")] = 60.0,
    once: Annotated[  # noqa: FBT002
        bool, typer.Option("--once", help="End as soon as every engine has got on, or the home was halted.")
    ] = False,
    operator: OperatorOption = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,  # noqa: FBT002
) -> None:
    """The watchdog: halt the home when an engine of it does not get on, until SIGTERM."""
    try:
        plan = watches.Plan(
            home=home,
            limits=watchdog.Limits(beat_s=beat, busy_s=busy, send_s=send, interval_s=interval),
            timeout_s=timeout,
            escalate=not no_escalate,
            grace_s=grace,
            once=once,
            operator=operator or user(),
            json=json,
        )
        raise typer.Exit(int(watches.watch(plan)))
    except (HomeError, ValueError) as error:
        fail(Exit.USAGE, str(error), json=json)


@app.command()
def status(home: HomeOption, json: JsonOption = False) -> None:  # noqa: FBT002
    """What the latch says, who is attached, which epoch is current. Writes nothing."""
    target = Home(home)
    try:
        target.require()
    except HomeError as error:
        fail(Exit.HALTED, str(error), json=json)
    latch, fault, byte = target.latch_state()
    told, against = _told(target, latch)
    why = "; ".join(filter(None, (str(fault) if fault else against, *problems(target.path)))) or None
    armed = latch is not None and latch.state == latches.ARMED and byte == ARMED and why is None
    found: dict[str, object] = {
        "home": str(home),
        "state": "ARMED" if armed else "HALTED",
        "epoch": max(latch.epoch if latch else 0, told.highest),
        "latch": latch.state if latch else str(fault.code if fault else HaltCode.LATCH_ABSENT),
        "page": "ARMED" if byte == ARMED else "HALTED",
        "code": latch.code if latch else None,
        "reason": latch.reason if latch else None,
        "operator": latch.operator if latch else None,
        "source": latch.source if latch else None,
        "ts": latch.ts_us if latch else None,
        "fault": why,
        "attached": [
            {
                "engine": engine.name,
                "pid": engine.pid,
                "operator": engine.operator,
                "mode": str(engine.mode),
                "quiet": not engine.held,
                "sending": len(engine.sending) + engine.unnamed,
            }
            for engine in engines(target.engines)
            if engine.attached
        ],
        "journal_records": told.records,
        **signed(target, now().ts_us),
    }
    if json:
        show(found)
    else:
        for name, value in found.items():
            if isinstance(value, list):
                for item in value:
                    say(f"{name:16} {', '.join(f'{key} {what}' for key, what in item.items())}")
            elif value is not None:
                say(f"{name:16} {value}")
    raise typer.Exit(int(Exit.FINE if armed else Exit.HALTED))


def _told(home: Home, latch: latches.Latch | None) -> tuple[Told, str | None]:
    """What the journals say, and what one of them or the limits have against permits."""
    everything = Told()
    against: str | None = None
    try:
        home.read_limits()
    except LimitsError as error:
        against = str(error)
    for name in home.streams():
        told = Told()
        notes = Notes(home.path, name)
        newest, unlike = newest_of(notes)
        recovery = Recovery(visit=told.visit, mark=newest.says.size if newest else -1)
        try:
            for path in segments(home.stream(name)):
                if recovery.begin(first_of(path)):
                    recovery.scan(chunks(path))
        except OSError as error:
            against = against or str(error)
        now, _ = newest_of(notes)  # an engine that runs may have made one meanwhile
        missed = 0 if now is not None and now.says.size >= told.signed else told.signed
        found = contradiction(latch, told, [], recovery)
        said = found[1] if found else unlike or rolled_back(newest, recovery, origin_of(home.identity(), name), missed)
        against = against or (None if said is None else f"{name}: {said}")
        everything.records += told.records
        everything.highest = max(everything.highest, told.highest)
    if not everything.records:
        against = against or f"{home.journal}: the journal is gone"
    return everything, against


@app.command()
def reset(
    home: HomeOption,
    operator: Annotated[str, typer.Option("--operator", help="Who answers for it.", callback=plain)],
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe now.", callback=plain)],
    epoch: Annotated[int, typer.Option("--epoch", help="The current epoch, as `interlock status` shows it.")],
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Arm a HALTED home again, in the next epoch. It starts nothing: that is a separate act."""
    target = Home(home)
    try:
        target.require()
        known, _ = _told(target, None)
        made = target.reset(
            epoch=epoch,
            known_epoch=known.highest,
            operator=operator,
            reason=reason,
            now=now(),
            others=partial(highest_epoch, target),  # under the lock: what was known before may be old
        )
    except InterlockError as error:
        fail(Exit.USAGE, str(error), json=json)
    _journal_it(home, operator)
    if json:
        show({"home": str(home), "state": "ARMED", "epoch": made.epoch})
    else:
        say(f"{home}: armed again, epoch {made.epoch}. Start the engine when you are ready.")


app.command()(verify)
app.command()(prove)


@app.command()
def compress(
    home: HomeOption,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Compress the closed segments of all journals. What is compressed is read back before the plain file goes."""
    target = Home(home)
    done = {"segments": 0, "bytes": 0, "compressed": 0}
    try:
        target.require()
        for name in target.streams():
            for path in compressible(target.stream(name)):
                done["bytes"] += path.stat().st_size
                done["compressed"] += pack(path).stat().st_size
                done["segments"] += 1
    except (HomeError, OSError) as error:
        fail(Exit.USAGE, str(error), json=json)
    if json:
        show(done)
    else:
        say(f"{done['segments']} segments: {done['bytes']} bytes, compressed {done['compressed']}")


@app.command()
def run(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: HomeOption,
    ticks: Annotated[
        list[str], typer.Option("--ticks", help="CSV or CSV.gz with a header, '-' for standard input; may be repeated.")
    ],
    strategy: Annotated[
        str, typer.Option("--strategy", help="observe, every-tick, every-nth, momentum, or MODULE:NAME.")
    ] = "observe",
    halt_at_tick: Annotated[int | None, typer.Option("--halt-at-tick", min=1, help="Trip at this tick.")] = None,
    max_ticks: Annotated[int | None, typer.Option("--max-ticks", min=1, help="Stop after so many.")] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="Times real time, or max; 'live' takes the time from the clock.")
    ] = "max",
    durability: Annotated[Literal["disk", "process"], typer.Option("--durability", help="See the docs.")] = "disk",
    bad_rows: Annotated[
        Literal["skip", "fatal"], typer.Option("--bad-rows", help="What a row that is no tick does.")
    ] = "fatal",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="FIELD=NAME: the file's name of a column; may be repeated.")
    ] = None,
    instrument: Annotated[str | None, typer.Option("--instrument", help="For files without a symbol column.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the paper venue.")] = 1,
    cancel_on_stop: Annotated[  # noqa: FBT002
        bool, typer.Option("--cancel-on-stop", help="Cancel working orders in an orderly stop.")
    ] = False,
    session: Annotated[
        str | None, typer.Option("--session", help="A new label begins a new P&L session.", callback=plain)
    ] = None,
    signing: Annotated[Path | None, typer.Option("--keys", help="Sign checkpoints with the keys here.")] = None,
    witnesses: Annotated[Path | None, typer.Option("--witnesses", help="TOML file: who keeps checkpoints.")] = None,
    record_inputs: Annotated[  # noqa: FBT002
        bool, typer.Option("--record-inputs", help="Put all that was decided on into the journal, for `replay`.")
    ] = False,
    engine: EngineOption = _FIRST,
    operator: OperatorOption = "",
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Run the live loop over ticks, with the paper venue."""
    plan = runner.Plan(
        home=home,
        ticks=tuple(ticks),
        strategy=strategy,
        halt_at_tick=halt_at_tick,
        max_ticks=max_ticks,
        speed=speed,
        durability=durability,
        bad_rows=bad_rows,
        columns=tuple(column or ()),
        instrument=instrument,
        seed=seed,
        cancel_on_stop=cancel_on_stop,
        session=session,
        keys=signing,
        witnesses=witnesses,
        record_inputs=record_inputs,
        engine=engine,
        operator=operator or user(),
        json=json,
    )
    raise typer.Exit(int(runner.run(plan)))


app.command()(replays.replay)


@app.command()
def demo(
    home: Annotated[
        Path | None, typer.Option("--home", "-H", help="Where to make the demo home; else temporary.")
    ] = None,
    ticks: Annotated[int, typer.Option("--ticks", min=20, help="How many simulated ticks.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Of market and venue.")] = 7,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.5, max=3600, help="How long it should take, about.")
    ] = 6.0,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """See a kill switch work: trade on a simulated market, halt from another process, check the journal."""
    raise typer.Exit(int(demos.demo(home, ticks=ticks, seed=seed, seconds=seconds, operator=user(), json=json)))


@app.command()
def drill(  # noqa: PLR0913, PLR0917 - one for each thing that can be chosen
    home: Annotated[
        Path | None, typer.Option("--home", "-H", help="Where to make the drill's home, which is kept; else temporary.")
    ] = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What is rehearsed.")] = Kind.HALT,
    engine_processes: Annotated[int, typer.Option("--engines", min=1, max=64, help="How many engine processes.")] = 3,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=60, help="How long they are under load before.")
    ] = 2.0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, max=60, help="Seconds that a halt waits until all are quiet.")
    ] = 2.0,
    escalate: Annotated[  # noqa: FBT002
        bool, typer.Option("--escalate", help="SIGKILL the engine that is not quiet by then.")
    ] = False,
    report: Annotated[Path, typer.Option("--report", help="The directory for the report.")] = Path(),
    operator: OperatorOption = "",
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Rehearse the kill: engines under load on a home of the drill's own, a halt, and a report that can be filed."""
    plan = DrillPlan(
        home=home,
        kind=kind,
        engines=engine_processes,
        seconds=seconds,
        timeout_s=timeout,
        escalate=escalate,
        operator=operator or user(),
    )
    raise typer.Exit(int(drills.run(plan, report, json=json)))


def main() -> None:
    """The program."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be UTF-8, and printing it must not fail
    try:
        app()
    finally:  # the exit code is decided: a late signal does not change it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
