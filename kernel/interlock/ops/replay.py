"""``interlock replay``: makes every decision of a journal again, and shows the first that differs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import attrs
import orjson
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from interlock.breaker.home import Home, parse_limits
from interlock.breaker.roster import engine_name
from interlock.breaker.segment import lines, segments
from interlock.core.errors import LimitsError
from interlock.ops.console import err, fail, say, show, warn
from interlock.ops.exits import Exit
from interlock.replay import Difference, Replay, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from interlock.core.limits import Limits
    from interlock.replay import Gap

__all__ = ["Outcome", "play", "replay"]

_SHOWN_GAPS: Final = 10
_SHOW_EVERY: Final = 1 << 12


@attrs.define
class Outcome:
    """What came of a replay.

    Attributes:
        report: counts, and what can't be replayed.
        first: the first difference, with the file's name and the line in it; None if there is none.
        changed: with other limits: how many decisions became which, as ``gate 2: ACCEPTED -> MAX_QUANTITY``.
    """

    report: Report
    first: tuple[Difference, str, int] | None = None
    changed: dict[str, int] = attrs.field(factory=dict)

    @property
    def exit_code(self) -> Exit:
        """6 if something differs, 5 if something could not be replayed, else 0."""
        if self.first is not None:
            return Exit.TAMPERED
        return Exit.IN_DOUBT if self.report.gaps or not self.report.runs else Exit.FINE

    @property
    def verdict(self) -> str:
        """One word."""
        return {Exit.TAMPERED: "DIFFERS", Exit.IN_DOUBT: "INCOMPLETE"}.get(self.exit_code, "SAME")


def play(directory: Path, replaying: Replay, *, every: bool, tell: Callable[[int], object] = lambda _: None) -> Outcome:
    """Play the journal in a directory.

    Args:
        directory: of one engine's segments.
        replaying: fresh.
        every: whether to go on after the first difference, and count what becomes of what.
        tell: called now and then with the bytes read so far.
    """
    outcome = Outcome(replaying.report)
    for done, name, number, record in _records(directory):
        if not number % _SHOW_EVERY:
            tell(done)
        for difference in replaying.feed(record):
            outcome.first = outcome.first or (difference, name, number)
            became = _became(difference)
            outcome.changed[became] = outcome.changed.get(became, 0) + 1
        if outcome.first is not None and not every:
            break
    return outcome


def _records(directory: Path) -> Iterator[tuple[int, str, int, dict[str, object]]]:
    """Bytes before it, file, line and record; a line that is none gives an empty one. Torn bytes are no line."""
    done = 0
    for path in segments(directory):
        for number, line in enumerate(lines(path), 1):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                record = {}
            yield done, path.name, number, record if isinstance(record, dict) else {}
            done += len(line)


def _became(difference: Difference) -> str:
    was, now = (
        side.get("code", "nothing" if not side else "ACCEPTED") for side in (difference.recorded, difference.decided)
    )
    if was == now:
        return f"{difference.what}: {was}, with another {' and '.join(difference.members) or 'order'}"
    return f"{difference.what}: {was} -> {now}"


def replay(
    home: Annotated[
        Path | None, typer.Option("--home", "-H", help="The home whose journal to replay.", envvar="INTERLOCK_HOME")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="The engine whose journal it is.")] = "engine",
    journal: Annotated[
        Path | None, typer.Option("--journal", help="A journal's directory, in place of a home's.")
    ] = None,
    limits: Annotated[
        list[Path] | None, typer.Option("--limits", help="The limits of its runs; may be repeated.")
    ] = None,
    what_if: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--what-if", help="Decide by --limits, whatever the runs had, and count what becomes of what."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Make every decision of a journal again, and show the first that differs."""
    directory = _directory(home, engine, journal, json=json)
    try:
        known = _limits(home, limits or [])
    except (OSError, LimitsError) as error:
        fail(Exit.USAGE, str(error), json=json)
    if what_if and len(limits or []) != 1:
        fail(Exit.USAGE, "--what-if takes one --limits FILE", json=json)
    instead = known[sha256(limits[0].read_bytes()).hexdigest()] if what_if and limits else None
    replaying = Replay(known, instead=instead)
    total = sum(path.stat().st_size for path in segments(directory))
    bar = Progress("replaying", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err, transient=True)
    try:
        if err.is_terminal and not json:
            with bar:
                task = bar.add_task("replaying", total=total)
                outcome = play(directory, replaying, every=what_if, tell=lambda done: bar.update(task, completed=done))
        else:
            outcome = play(directory, replaying, every=what_if)
    except OSError as error:
        fail(Exit.USAGE, f"{directory}: {error}", json=json)
    if json:
        show(_plain(outcome))
    else:
        _tell(outcome)
    raise typer.Exit(int(outcome.exit_code))


def _directory(home: Path | None, engine: str, journal: Path | None, *, json: bool) -> Path:
    if home is None and journal is None:
        fail(Exit.USAGE, "give --home or --journal", json=json)
    try:
        directory = journal if journal is not None else Home(home or Path()).stream(engine_name(engine))
    except ValueError as error:
        fail(Exit.USAGE, str(error), json=json)
    if not directory.is_dir() or not segments(directory):
        fail(Exit.USAGE, f"{directory}: no journal here", json=json)
    return directory


def _limits(home: Path | None, given: list[Path]) -> dict[str, Limits]:
    """By the SHA-256 of their file. Those of the home are among them: whether a run had them, its record says."""
    known: dict[str, Limits] = {}
    for path in given:
        data = path.read_bytes()
        known[sha256(data).hexdigest()] = parse_limits(data, str(path))
    if home is not None and Home(home).limits.is_file():
        data = Home(home).limits.read_bytes()
        try:
            known.setdefault(sha256(data).hexdigest(), parse_limits(data, str(Home(home).limits)))
        except LimitsError as error:
            if not given:
                raise
            warn(str(error))
    return known


# -- What is said ----------------------------------------------------------------------------------


def _plain(outcome: Outcome) -> dict[str, object]:
    report = outcome.report
    first: dict[str, object] | None = None
    if outcome.first is not None:
        difference, name, number = outcome.first
        first = {"file": name, "line": number, **attrs.asdict(difference), "members": difference.members}
    return {
        "verdict": outcome.verdict,
        "exit_code": int(outcome.exit_code),
        "records": report.records,
        "runs": report.runs,
        "compared": dict(sorted(report.compared.items())),
        "skipped": dict(sorted(report.skipped.items())),
        "differences": report.differences,
        "changed": outcome.changed,
        "first": first,
        "gaps": [attrs.asdict(gap) for gap in report.gaps],
    }


def _tell(outcome: Outcome) -> None:
    report = outcome.report
    say(outcome.verdict, "bold")
    say(f"records        {report.records}, of {report.runs} runs")
    say(f"compared       {_counts(report.compared)}")
    if report.skipped:
        say(f"not compared   {_counts(report.skipped)}")
    for became, count in sorted(outcome.changed.items(), key=lambda item: -item[1]) if report.differences > 1 else ():
        say(f"  {count:>12} {became}")
    if outcome.first is not None:
        _tell_first(*outcome.first)
    _tell_gaps(report.gaps)


def _tell_first(difference: Difference, name: str, number: int) -> None:
    say(f"{name}:{number}: seq {difference.seq}: {difference.kind}: {difference.what} differs", "bold")
    members = difference.members
    for title, side in (("stands there", difference.recorded), ("decided now", difference.decided)):
        said = ", ".join(f"{member} {side[member]}" for member in members if member in side) or "nothing of the kind"
        say(f"{title:14} {said}")
    state = difference.state
    gate = "open" if state.gate_open else "closed"
    session = f", session {state.session}" if state.session is not None else ""
    say(f"{'state':14} {state.mode}, epoch {state.epoch}, gate {gate}{session}")
    say(f"{'':14} {_counts(state.counters)}; {state.tokens} messages left; beat {state.beat_age_ns} ns ago")
    if state.in_flight:
        say(f"{'':14} in flight: {', '.join(map(str, state.in_flight))}")
    for what, values in (*state.books.items(), *state.accounts.items()):
        said = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
        say(f"{'':14} {what}: {said}")


def _tell_gaps(gaps: list[Gap]) -> None:
    for gap in gaps[:_SHOWN_GAPS]:
        say(f"from seq {gap.seq}: {gap.why}")
    if len(gaps) > _SHOWN_GAPS:
        say(f"and {len(gaps) - _SHOWN_GAPS} more such places")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing"
