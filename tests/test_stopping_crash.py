"""Stops that die by SIGKILL at each step, and the restart that takes them up: real processes, a venue on disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from tests.helpers import arm, attach, of_kind, order, python, quote, running, sound
from tests.stopping_helpers import OTHER, PATIENT, TWO, intents

from interlock import Cancel, Fill, Kernel, Mode, Order, OrderType, Permit, Side
from interlock.stopping import Standing, State, StopExecutor, StopOutcome
from interlock.stopping.intent import Intent, decode
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS: Final = {
    0: ("begun", "cancel in", "cancel out", "query in", "last words", "done"),
    1: (
        "begun", "cancel in", "cancel out", "query in", "ticket stored", "ticketed", "send in", "send out",
        "exit query", "last words", "done",
    ),
}  # fmt: skip
CASES: Final = [(category, step) for category, steps in STEPS.items() for step in steps]


class DiskVenue:
    """A venue that outlives its clients: every message is a line of a file, written through.

    Attributes:
        at: called at each step, with its name.
    """

    def __init__(self, path: Path, kernel: Kernel, at: Callable[[str], object] = lambda _: None) -> None:
        self.path = path
        self.kernel = kernel
        self.at = at

    def said(self) -> list[list[str]]:
        """All messages, in their order."""
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def _say(self, *words: str) -> None:
        with self.path.open("a", encoding="ascii") as file:
            file.write(" ".join(words) + "\n")
            file.flush()
            os.fsync(file.fileno())

    async def send(self, permit: Permit) -> None:
        """Take an order: market orders fill at once."""
        wanted = permit.redeem()
        if wanted.reduce_only:
            self.at("send in")
        self._say("send", wanted.client_order_id, str(wanted.order_type))
        if wanted.reduce_only:
            self.at("send out")
        if wanted.order_type is OrderType.MARKET and not wanted.reduce_only:  # of an exit one has to ask
            self.kernel.on_fill(self._fill(wanted))

    async def cancel(self, cancel: Cancel) -> None:
        """Take an order back."""
        self.at("cancel in")
        self._say("cancel", cancel.client_order_id)
        self.at("cancel out")

    async def query(self, wanted: Order) -> State:
        """Say where an order stands: what arrived, and what was taken back."""
        self.at("exit query" if wanted.reduce_only else "query in")
        said = self.said()
        if not any(words[:2] == ["send", wanted.client_order_id] for words in said):
            return State(standing=Standing.REJECTED, reason="never arrived")
        if wanted.order_type is OrderType.MARKET:
            return State(standing=Standing.FILLED, filled=wanted.quantity, fills=(self._fill(wanted),))
        if ["cancel", wanted.client_order_id] in said:
            return State(standing=Standing.CANCELLED)
        return State(standing=Standing.WORKING)

    @staticmethod
    def _fill(wanted: Order) -> Fill:
        return Fill(
            client_order_id=wanted.client_order_id,
            fill_id=f"F-{wanted.client_order_id}",
            instrument=wanted.instrument,
            side=wanted.side,
            quantity=wanted.quantity,
            price=Decimal(100),
        )


def executor(kernel: Kernel, venue: DiskVenue, home: Path) -> StopExecutor:
    """For the engine "desk"."""
    return StopExecutor(kernel, {"venue": venue}, home=home, engine="desk", pace=PATIENT)


def die(home: Path, category: int, step: str) -> None:
    """In a process of its own: begin a stop, and be killed at that step."""

    def at(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    kernel = running(home)
    kernel.consult(attrs.evolve(quote(kernel), instrument=OTHER))
    venue = DiskVenue(home / "venue", kernel, at)
    asyncio.run(kernel.submit_async(order("entry", quantity="2", price=None), venue.send))
    for number in range(3):
        asyncio.run(kernel.submit_async(order(f"o{number}", side=Side.BUY, price="98"), venue.send))
    _spy(Intent, "orders", lambda: at("begun"))
    _spy(Intent, "close", lambda: at("done"))
    _spy(Kernel, "ticket", lambda: at("ticket stored"))
    _spy(Kernel, "submit_async", lambda: at("ticketed"))
    turn = Intent.turn

    def turning(self: Intent, **given: Any) -> int:
        if given.get("done"):
            at("last words")
        return turn(self, **given)

    Intent.turn = turning  # type: ignore[method-assign]
    stopper = executor(kernel, venue, home)
    if category:
        stopper.controlled("evening").result(60)
    else:
        kernel.halt("pulled")
        stopper.halted().result(60)
    sys.stderr.write("not killed\n")


def _spy(kind: type, name: str, seen: Callable[[], object]) -> None:
    plain = getattr(kind, name)

    def spying(*given: Any, **named: Any) -> Any:
        seen()
        return plain(*given, **named)

    setattr(kind, name, spying)


def resumed(home: Path) -> tuple[StopOutcome | None, Mode]:
    """Attach again, and take up what there is; then nothing works any more, if the home is halted."""
    with attach(home) as kernel:
        venue = DiskVenue(home / "venue", kernel)
        taken_up = executor(kernel, venue, home).resume()
        outcome = None if taken_up is None else taken_up.result(60)
        assert kernel.mode is not Mode.HALTED or kernel.working_orders() == ()
        return outcome, kernel.mode


@pytest.mark.parametrize(("category", "step"), CASES)
def test_stop_that_is_killed_is_taken_up_and_never_replayed(tmp_path: Path, category: int, step: str) -> None:
    """Killed at any step, a stop is resumed: orders end, nothing is sent again, and the home is HALTED."""
    home = tmp_path / "home"
    arm(home, TWO)
    script = "import sys; from pathlib import Path; from tests.test_stopping_crash import die;"
    script += "die(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
    with python(script, home, category, step) as child:
        _, error = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, error
    venue = DiskVenue(home / "venue", None)  # type: ignore[arg-type] # only its file
    sent = [words for words in venue.said() if words[0] == "send"]

    outcome, mode = resumed(home)

    said = venue.said()
    assert [words for words in said if words[0] == "send"] == sent, "something was sent by the restart"
    exits = [words[1] for words in sent if words[1].startswith("exit-")]
    assert len(exits) == (1 if category and STEPS[1].index(step) >= STEPS[1].index("send out") else 0)
    stored = [decode(data) for data in intents(home).values()]
    if mode is Mode.HALTED:  # every step but the very first of a controlled stop, whose intent was not yet stored
        assert {words[1] for words in said if words[0] == "cancel"} == {"o0", "o1", "o2"}
        assert [one.done for one in stored] == [True] or (outcome, stored) == (
            None,
            [],
        )  # all was over, and in the journal
    else:
        assert (category, step, stored) == (1, "begun", [])
    if outcome is not None:
        assert outcome.complete or outcome.exits
        assert outcome.category == 0

    calls = len(venue.said())
    again, mode_again = resumed(home)
    assert (again, mode_again, len(venue.said())) == (None, mode, calls)
    assert len(of_kind(home, "ticket")) <= 1
    sound(home, Status.IN_DOUBT)
