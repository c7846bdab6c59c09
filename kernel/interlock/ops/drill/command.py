"""``interlock drill``, as the command line has it: drills, judges, writes the report, and prints."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final

from rich.live import Live
from rich.table import Table

from interlock.breaker.home import HomeError
from interlock.ops.console import err, fail, say, show
from interlock.ops.drill.course import Plan, drill
from interlock.ops.drill.judge import exit_code, judge
from interlock.ops.drill.report import document, prepare, write
from interlock.ops.drill.stage import DrillError
from interlock.ops.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.ops.drill.stage import Player

__all__ = ["run"]

_A_SECOND: Final = 10


def run(plan: Plan, report: Path, *, json: bool) -> Exit:
    """Drill, and say what came of it."""
    shown = _Shown()
    live: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if err.is_terminal and not json:
        live = Live(get_renderable=shown.table, console=err, refresh_per_second=_A_SECOND, transient=True)
    before = signal.signal(signal.SIGTERM, _break_off)
    try:
        prepare(report)
        with live:
            measured, facts = drill(plan, shown.take)
        criteria = judge(measured)
        code = exit_code(measured, criteria)
        record = document(plan, measured, facts, criteria, code)
        plain, drawn = write(report, record, measured)
    except (HomeError, DrillError) as error:
        fail(Exit.USAGE, f"no drill, and no report: {error}", json=json)
    finally:
        signal.signal(signal.SIGTERM, before)
    if json:
        show({**record, "report": {"json": str(plain), "html": str(drawn)}})
        return code
    say(f"{record['verdict']}: kill drill, {plan.kind}, {plan.engines} engines", "bold")
    for criterion in criteria:
        said = f"{criterion.measured} (asked for: {criterion.limit})"
        say(f"{'met    ' if criterion.passed else 'NOT MET'}  {criterion.claim}: {said}")
    say(f"report   {drawn}")
    say(f"record   {plain}")
    return code


def _break_off(_number: int, _frame: object) -> None:
    """SIGTERM ends a drill as Ctrl-C does: with all its processes."""
    raise KeyboardInterrupt


class _Shown:
    """What a terminal shows while the drill lasts."""

    def __init__(self) -> None:
        self._phase = "arming a home"
        self._players: list[Player] = []

    def take(self, phase: str, players: list[Player]) -> None:
        """The drill has come this far."""
        self._phase, self._players = phase, players

    def table(self) -> Table:
        """Phase and engines, now."""
        table = Table.grid(padding=(0, 2))
        table.add_row("drill", f"[bold]{self._phase}")
        for player in self._players:
            evidence = player.evidence
            refused = f"[red]{evidence.refusals} refused" if evidence.refusals else ""
            table.add_row(player.name, f"{evidence.sends} sends", player.fault, refused)
        return table
