"""``interlock demo``: a kill switch at work, in a few seconds and with real parts.

A home is armed, the live loop trades on the simulated market, and under way the kill switch is tripped
by ``interlock halt`` in *another process*. Then the demo tries what must not work any more: another
tick, an order straight to gate 2, a restart. At last it has the journal checked by the verifier.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
import uuid
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Final

from rich.live import Live
from rich.table import Table

from interlock.adapters.paper import PaperVenue
from interlock.adapters.replay import ReplayClock, paced
from interlock.adapters.simulated import SimulatedMarket
from interlock.adapters.strategies import load
from interlock.breaker.home import Home, Now
from interlock.breaker.memory import clear
from interlock.core.errors import InterlockError
from interlock.core.modes import Mode
from interlock.core.values import Order, Permit, Side
from interlock.engine import Engine
from interlock.kernel import Kernel
from interlock.ops.audit import check, tell
from interlock.ops.console import fail, out, say, show, warn
from interlock.ops.exits import Exit
from interlock.ops.runner import Primed

__all__ = ["demo"]

_ENGINE: Final = "demo"
_INSTRUMENT: Final = "SIM"
_START_US: Final = 1_767_225_600_000_000
_REFRESH_S: Final = 0.1
_GLANCE_S: Final = 0.01


def demo(home: Path | None, *, ticks: int, seed: int, seconds: float, operator: str, json: bool) -> Exit:
    """Run the demo; ends 0 if everything that must not happen did not happen."""
    with contextlib.ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-demo-"))) / "home"
            stack.callback(clear, home)
        try:
            limits = resources.files("interlock.ops").joinpath("paper.toml").read_bytes()
            now = Now(ts_us=time.time_ns() // 1000, mono_ns=time.monotonic_ns())
            Home(home).arm(limits, home=str(uuid.uuid4()), operator=operator, reason="demo", now=now)
            return asyncio.run(_demo(home, ticks=ticks, seed=seed, seconds=seconds, operator=operator, json=json))
        except InterlockError as error:
            fail(Exit.USAGE, str(error), json=json)


async def _demo(home: Path, *, ticks: int, seed: int, seconds: float, operator: str, json: bool) -> Exit:
    told: list[str] = []

    def note(text: str) -> None:
        told.append(text)
        if not json:
            say(text)

    limits, _ = Home(home).read_limits()
    instrument, _ = limits.instruments[_INSTRUMENT]
    interval_us = max(1, int(seconds * 1_000_000 / ticks))
    market = SimulatedMarket(  # it never closes: how long the other process takes to start is nobody's to say
        instrument, seed=seed, ticks=None, start_us=_START_US, interval_us=interval_us, mid=Decimal(100)
    )
    clock = ReplayClock()
    primed = Primed(market)
    first = await primed.first()
    if first is not None:
        clock.advance(first)
    strategy = load("every-tick", {_INSTRUMENT: instrument})
    venue = PaperVenue(seed=seed, reject_rate="0.02", partial_rate="0.1", instruments={_INSTRUMENT: instrument})
    with Kernel.attach(home, operator=operator, engine=_ENGINE, durability="disk", clock=clock) as kernel:
        venue.connect(kernel)
        engine = Engine(kernel, feed=paced(primed, Decimal(1)), strategy=strategy, gateway=venue, timeline=clock)
        note(f"Armed a home in {home}. Trading {_INSTRUMENT}: one order on each of about {ticks} simulated ticks.")
        killing = asyncio.create_task(_kill(engine, home, ticks, note))
        showing = asyncio.create_task(_show(engine, ticks)) if out.is_terminal and not json else None
        await engine.run()
        if showing is not None:
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
        killed = await killing
        report = engine.report
        order = Order(
            client_order_id="AFTER-THE-HALT",
            instrument=_INSTRUMENT,
            side=Side.BUY,
            quantity=instrument.lot_size,
            price=Decimal(100),
        )
        reached: list[Permit] = []
        verdict = kernel.submit(order, reached.append)
        note(f"{report.orders_sent} orders were sent before the halt, {report.ticks_blocked} ticks blocked after it.")
        note(f"An order handed straight to gate 2 now: {verdict.reason}.")
        summary = engine.as_json()
    with Kernel.attach(home, operator=operator, engine=_ENGINE) as restarted:
        again = restarted.start()
        note(f"After a restart: {restarted.mode}; start: {again.reason}. Only an authorised reset leaves HALTED.")
        stayed = restarted.mode is Mode.HALTED and not again and not verdict and not reached
    audit = check(Home(home).stream(_ENGINE), progress=not json)
    fine = killed and stayed and audit.exit_code == 0 and report.orders_sent > 0 and report.ticks_blocked > 0
    if json:
        show({"story": told, "run": summary, "verify": audit.verdict, "fine": fine})
    else:
        say("The journal, checked by the verifier, which shares no code with the engine:")
        tell({"": audit})
    if not fine:
        warn("the demo did not go as it must")
    return Exit.FINE if fine else Exit(audit.exit_code or Exit.UNCONFIRMED)


async def _kill(engine: Engine, home: Path, ticks: int, note: object) -> bool:
    """Trip the kill switch from another process after a third of the ticks; end the market when all have passed."""
    while engine.report.ticks < ticks // 3 and engine.report.not_started is None:  # noqa: ASYNC110 - just looking
        await asyncio.sleep(_GLANCE_S)
    command = [sys.executable, "-m", "interlock.ops", "halt", "--home", str(home), "--reason", "demo: the kill switch"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, complaint = await process.communicate()
    line = (told or complaint).decode(errors="replace").strip().splitlines()
    if callable(note):
        note(f"`interlock halt` in another process ended with {process.returncode}: {line[0] if line else ''}")
    blocked = engine.report.ticks_blocked + ticks // 3
    while engine.report.ticks < ticks or engine.report.ticks_blocked < blocked:
        if engine.report.not_started is not None or engine.kernel.mode is not Mode.HALTED:
            break
        await asyncio.sleep(_GLANCE_S)
    engine.stop("the demo's market closes")
    return process.returncode == int(Exit.FINE)


async def _show(engine: Engine, ticks: int) -> None:
    """Mode and counts, live."""
    with Live(console=out, transient=True) as live:
        while True:
            report = engine.report
            table = Table.grid(padding=(0, 2))
            mode = engine.kernel.mode
            table.add_row("mode", f"[bold {'red' if mode is Mode.HALTED else 'green'}]{mode}")
            done = min(40, 40 * report.ticks // ticks)
            table.add_row("ticks", f"{'█' * done}{'░' * (40 - done)} {report.ticks}/{ticks}")
            table.add_row("orders sent", str(report.orders_sent))
            table.add_row("ticks blocked", str(report.ticks_blocked))
            live.update(table)
            await asyncio.sleep(_REFRESH_S)
