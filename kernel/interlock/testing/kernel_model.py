"""The real core, driven through every action of ``specs/kernel/Kernel.tla`` by its name.

`graph` walks all states that the actions reach and returns them in the form in which
`tlc.parse_dot` reads TLC's, so that the two can be compared edge for edge. `walk` is the
same, with two states told apart that look alike to the specification: see `Node`. What
makes the comparison worth something is who decides:

1. *The core decides.* An action is an edge if and only if the core's own method did it:
   Grant if `decide` returned a granted order, Begin if `begin` said True, Void if it
   said False and took this permit back, and so on. Everything is tried in every state.
2. *A refusal is looked at, too.* A call that was refused may leave nothing behind, but
   for one thing: having read a latch that is not armed, the core goes into HALTED.
   That is the specification's Observe, and goes into the graph under that name,
   whatever it was that was left behind. So a refusal that changes anything else shows
   as an Observe that should not be.
3. *The state is the core's.* Mode, gate, epoch, what became of each order and which
   epoch its permit is bound to are read off the core. While the process is down, they
   are what `restore` makes of the journal.

What the core cannot decide, because it lies outside, is this module's own. It is all
listed here; the method that does it says so again.

- The world: latch, latch epoch, and the lock, hence Trip, Lose and Reset. An engine
  holds the lock while it is RUNNING or has a send in flight.
- Hold: an order that is kept back is in the engine's queue, not in the core. A permit
  that the core took back is an order kept back, from then on and over a crash.
- CloseGate is asked under an armed latch only, as `Kernel.drain` does it. `close_gate`
  itself does not look.
- Restart chooses between IDLE and HALTED by the latch, as `attach.open_home` does.
- Begin, End and Fail are asked with what `decide` handed out in this life of the
  process: they are called from inside the call that got it.
- Cancel is asked for an order that may be at the venue. The core refuses no cancel.
- Reconcile: the venue's accept is tried in every state; that an order is closed or
  filled, where it is unknown.
- `fenced` and ``sends`` are history: counted here, and not known to the core.

Not modelled, because the specification has no word for it: prices, limits and time. All
ticks are good, no limit is near, and the clock stands still.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Final, TypeAlias

import attrs

from interlock.core.errors import InterlockError
from interlock.core.ledger import Status, Working
from interlock.core.limits import Limits
from interlock.core.machine import Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.reasons import HaltCode
from interlock.core.restore import restore
from interlock.core.values import Cancel, Fill, HaltCause, Order, Quote, Side
from interlock.journal import records
from interlock.testing.explorer import Graph, explore
from interlock.testing.tlc import State

__all__ = ["LIMITS", "KernelModel", "Node", "graph", "view", "walk"]

Attempt: TypeAlias = tuple[str, str]
"""What is tried: a method of `KernelModel`, and an order, empty if it takes none."""

Node: TypeAlias = tuple[State, frozenset[str]]
"""A state, and the orders that the core does not count as working. The specification
sees the first only; an order that is done may be either, and it must not matter."""

_NAME: Final = "XYZ"
_ONE: Final = Decimal(1)
_ENOUGH: Final = 10**6
_BYTES: Final = {"ARMED": ARMED, "HALTED": 0, "ABSENT": 0xFF}
"""The latch byte. Every value but one is halt."""

LIMITS: Final = Limits.from_mapping({
    "version": 1,
    "gate1": {
        "max_tick_age_ms": "off", "max_clock_ahead_ms": "off", "max_silence_ms": "off",
        "heartbeat_overdue_ms": "off", "tick_backwards": "off", "crossed_quote": "off",
        "non_positive_price": "off", "sequence_gap": "off",
    },
    "gate2": {
        "max_reference_age_ms": _ENOUGH, "messages_per_s": _ENOUGH,
        "message_burst": _ENOUGH, "repeat_window_ms": 1,
        "repeat_refuse_after": _ENOUGH, "repeat_trip_after": _ENOUGH + 1,
        "remember_ids": _ENOUGH,
    },
    "anomaly": {"unknown_order": "record", "errors_in_a_row": 1},
    "loss": {"USD": {
        "max_session_loss": _ENOUGH, "max_drawdown": _ENOUGH, "confirm_marks": 1,
    }},
    "instruments": {_NAME: {
        "tick_size": 1, "lot_size": 1, "currency": "USD", "collar_bps": 1,
        "max_quantity": 1, "max_notional": _ENOUGH, "max_position": _ENOUGH,
        "max_open_orders": _ENOUGH,
    }},
})  # fmt: skip
"""Limits that nothing here comes near, but for an order of more than one unit."""

_ALONE: Final = (
    "start", "close_gate", "stop", "halt", "observe", "adopt", "crash", "restart",
    "trip", "lose", "reset",
)  # fmt: skip
_WITH_AN_ORDER: Final = (
    "hold", "submit", "submit_too_much", "begin", "end", "fail", "accepted", "closed",
    "filled", "cancel",
)  # fmt: skip


class KernelModel:
    """One engine around one core, its journal, and the home that it shares with others.

    Each method tries one thing and returns the name of the action that it turned out
    to be, or None if it was refused.
    """

    def __init__(self, orders: tuple[str, ...], max_epoch: int, core: Callable[..., Core] = Core) -> None:
        """Begin as `Init` does.

        Args:
            orders: The order ids that may be used.
            max_epoch: How many epochs there may be; a bound on the model only.
            core: Makes a core from limits, epoch and mode; another one, to see that a
                mistake in it is found.
        """
        self._orders = orders
        self._max_epoch = max_epoch
        self._make = core
        self._latch = "ARMED"
        self._latch_epoch = 1
        self._alive = True
        self._epoch_at_death = 1
        self._held: set[str] = set()
        self._handed: dict[str, Working] = {}
        self._journal: list[records.Record] = []
        self._fenced = False
        self._sends = dict.fromkeys(orders, 0)
        self._core = core(LIMITS, 1, Mode.IDLE)

    # -- The life of the engine --------------------------------------------------------

    def start(self) -> str | None:
        """Start, and show the first quote."""
        core = self._core
        if not self._alive or not core.start(self._byte, self._latch_epoch, 0):
            return None
        self._write("start", epoch=core.epoch, operator="ann", session=None)
        price = Decimal(100)
        core.consult(Quote(instrument=_NAME, ts_us=0, bid=price, ask=price), ARMED, 0, 0)
        self._fenced = False
        return "Start"

    def close_gate(self) -> str | None:
        """Close the gate. That the latch is armed is the shell's to see."""
        if not self._alive or self._latch != "ARMED":
            return None
        was_open = self._core.gate_open
        self._core.close_gate()
        return "CloseGate" if was_open and not self._core.gate_open else None

    def stop(self) -> str | None:
        """Stop."""
        return "Stop" if self._alive and self._core.stop(self._byte) else None

    def halt(self) -> str | None:
        """Halt. The latch is the shell's to write, and it is written first."""
        if not self._alive:
            return None
        self._write_latch()
        self._core.halt(HaltCause(code=HaltCode.OPERATOR, reason="stop", source="cli"))
        return "Halt"

    def observe(self) -> str | None:
        """Look at the latch; it was something to see if the core says that it halted."""
        if not self._alive:
            return None
        self._core.observe(self._byte)
        return "Observe" if self._core.notices else None

    def adopt(self) -> str | None:
        """Look whether the latch was reset."""
        if not self._alive or not self._core.adopt(self._byte, self._latch_epoch):
            return None
        self._write("reset", epoch=self._core.epoch)
        return "Adopt"

    def crash(self) -> str | None:
        """Die: all that is left is the journal, and what a restart would make of it."""
        if not self._alive:
            return None
        self._alive = False
        self._epoch_at_death = self._core.epoch
        self._handed.clear()
        self._core = self._restored(Mode.HALTED)
        return "Crash"

    def restart(self) -> str | None:
        """Come back. IDLE or HALTED is the shell's choice, by the latch."""
        if self._alive:
            return None
        self._alive = True
        self._core = self._restored(Mode.IDLE if self._latch == "ARMED" else Mode.HALTED)
        return "Restart"

    # -- The world outside -------------------------------------------------------------

    def trip(self) -> str | None:
        """Write the latch from outside."""
        if self._latch == "HALTED":
            return None
        self._write_latch()
        return "Trip"

    def lose(self) -> str | None:
        """Take the latch away."""
        if self._latch == "ABSENT":
            return None
        self._latch = "ABSENT"
        self._fenced = True
        return "Lose"

    def reset(self) -> str | None:
        """Arm the latch for the next epoch, if the engine has let go of the lock."""
        holds = self._alive and (self._core.mode is Mode.RUNNING or bool(self._core.in_flight))
        if self._latch == "ARMED" or self._latch_epoch == self._max_epoch or holds:
            return None
        self._latch = "ARMED"
        self._latch_epoch += 1
        return "Reset"

    # -- The way of one order ----------------------------------------------------------

    def hold(self, order: str) -> str | None:
        """Keep an order back that nobody has seen yet. The core has no part in it."""
        if not self._alive or self._status(order) != "new":
            return None
        self._held.add(order)
        return "Hold"

    def submit(self, order: str) -> str | None:
        """Hand a good order to gate 2."""
        return self._submit(order, _ONE)

    def submit_too_much(self, order: str) -> str | None:
        """Hand an order to gate 2 that is over a limit."""
        return self._submit(order, _ONE + _ONE)

    def _submit(self, order: str, quantity: Decimal) -> str | None:
        if not self._alive:
            return None
        wanted = Order(
            client_order_id=order,
            instrument=_NAME,
            side=Side.BUY,
            quantity=quantity,
            price=Decimal(100),
        )
        number = len(self._journal)
        decided = self._core.decide(wanted, self._byte, 0, number)
        if not isinstance(decided, Working):
            return "Refuse"
        self._journal.append(records.permit(number, 0, 0, self._core.epoch, decided))
        self._held.discard(order)
        self._handed[order] = decided
        return "Grant"

    def begin(self, order: str) -> str | None:
        """Take the last look at the latch. It is Void if it took this permit back."""
        working = self._handed.get(order)
        if working is None:
            return None
        if self._core.begin(working, self._byte):
            self._sends[order] = min(self._sends[order] + 1, 2)
            return "Begin"
        return "Void" if working in self._voided() else None

    def end(self, order: str) -> str | None:
        """Return from the send."""
        return self._leave(order, "sent", self._core.end, "End")

    def fail(self, order: str) -> str | None:
        """Raise from the send."""
        return self._leave(order, "unknown", self._core.fail, "Fail")

    def _leave(self, order: str, kind: str, leave: Callable[[Working], None], name: str) -> str | None:
        working = self._handed.get(order)
        if working is None:
            return None
        try:
            leave(working)
        except KeyError:  # it was not in flight
            return None
        self._write(kind, permit=working.number)
        return name

    def accepted(self, order: str) -> str | None:
        """Hear from the venue that it has the order."""
        if not self._alive:
            return None
        before = self._status(order)
        self._core.on_accept(order)
        self._write("accept", id=order)
        return self._reconciled(order, before)

    def closed(self, order: str) -> str | None:
        """Hear from the venue that an unknown order is over."""
        if not self._alive or self._status(order) != "unknown":
            return None
        self._core.on_closed(order, "cancelled")
        self._write("cancelled", id=order)
        return self._reconciled(order, "unknown")

    def filled(self, order: str) -> str | None:
        """Hear from the venue that an unknown order was filled."""
        if not self._alive or self._status(order) != "unknown":
            return None
        fill = Fill(
            client_order_id=order,
            fill_id=order,
            instrument=_NAME,
            side=Side.BUY,
            quantity=_ONE,
            price=Decimal(100),
        )
        known = self._core.on_fill(fill)
        seq = len(self._journal)
        self._journal.append(records.fill(seq, 0, 0, fill, known=bool(known)))
        return self._reconciled(order, "unknown")

    def _reconciled(self, order: str, before: str) -> str | None:
        """Whether what was unknown is known now."""
        after = self._status(order)
        return "Reconcile" if before == "unknown" != after else None

    def cancel(self, order: str) -> str | None:
        """Cancel an order that may be at the venue."""
        if not self._alive or self._status(order) not in {"sending", "done", "unknown"}:
            return None
        self._core.cancel(Cancel(client_order_id=order, instrument=_NAME), 0)
        return "Cancel"

    # -- Trying, and looking -----------------------------------------------------------

    def attempts(self) -> Iterator[Attempt]:
        """Everything that can be tried, in any state."""
        for name in _ALONE:
            yield name, ""
        for name in _WITH_AN_ORDER:
            for order in self._orders:
                yield name, order

    def attempt(self, what: Attempt) -> str | None:
        """Try something, then do what the core says has to be done outside."""
        method, order = what
        name: str | None = None
        with suppress(InterlockError):  # a refusal, too
            name = getattr(self, method)(*([order] if order else []))
        self._heed()
        return name

    def _heed(self) -> None:
        """Write down and latch what the core left in its notices, as the shell does."""
        for notice in self._core.notices:
            if isinstance(notice, Halted):
                for working in notice.voided:
                    self._write("void", permit=working.number, code="HALTED")
                    self._held.add(working.order.client_order_id)
                if notice.cause.source != "latch":
                    self._write_latch()
        self._core.notices.clear()

    def _voided(self) -> list[Working]:
        """What the core took back just now."""
        halts = [notice for notice in self._core.notices if isinstance(notice, Halted)]
        return [working for notice in halts for working in notice.voided]

    @property
    def _byte(self) -> int:
        return _BYTES[self._latch]

    def _write_latch(self) -> None:
        self._latch = "HALTED"
        self._fenced = True

    def _write(self, kind: str, **members: object) -> None:
        head = records.head(len(self._journal), kind, 0, 0)
        self._journal.append(head | members)

    def _restored(self, mode: Mode) -> Core:
        core = self._make(LIMITS, self._latch_epoch, mode)
        holes = restore(core, self._journal)
        if holes:
            msg = f"the journal was not restored: {holes}"
            raise AssertionError(msg)
        return core

    def _status(self, order: str) -> str:
        """What has become of an order, in the specification's words."""
        working = self._core.working.get(order)
        if working is not None:
            return working.status.value
        if order in self._core.ids:
            return Status.DONE.value
        return "held" if order in self._held else "new"

    def _permit_epoch(self, order: str) -> int:
        working = self._core.working.get(order)
        if working is None or working.status in {Status.DONE, Status.UNKNOWN}:
            return 0
        return working.epoch

    def node(self) -> Node:
        """Where everything stands."""
        core, alive, orders = self._core, self._alive, sorted(self._orders)
        state: State = (
            ("epoch", core.epoch if alive else self._epoch_at_death),
            ("fenced", self._fenced),
            ("gate", core.gate_open),
            ("latch", self._latch),
            ("latchEpoch", self._latch_epoch),
            ("mode", core.mode.value if alive else "DOWN"),
            ("order", tuple((order, self._status(order)) for order in orders)),
            ("permitEpoch", tuple((o, self._permit_epoch(o)) for o in orders)),
            ("sends", tuple((order, self._sends[order]) for order in orders)),
        )
        return state, frozenset(o for o in orders if o not in core.working)


@attrs.frozen
class _Walk:
    """Reaches each node again by the path on which it was found: a core has no copy."""

    orders: tuple[str, ...]
    max_epoch: int
    core: Callable[..., Core]
    within: frozenset[State] | None
    paths: dict[Node, tuple[Attempt, ...]] = attrs.field(factory=dict)

    def replay(self, path: tuple[Attempt, ...]) -> KernelModel:
        model = KernelModel(self.orders, self.max_epoch, self.core)
        for attempt in path:
            model.attempt(attempt)
        return model

    def begin(self) -> Node:
        node = self.replay(()).node()
        self.paths[node] = ()
        return node

    def successors(self, node: Node) -> Iterator[tuple[str, Node]]:
        if self.within is not None and node[0] not in self.within:
            return
        path = self.paths[node]
        for attempt in self.replay(()).attempts():
            model = self.replay(path)
            name = model.attempt(attempt)
            after = model.node()
            if name is None and after == node:
                continue
            self.paths.setdefault(after, (*path, attempt))
            yield name or "Observe", after


def walk(
    *,
    orders: tuple[str, ...] = ("a", "b"),
    max_epoch: int = 2,
    core: Callable[..., Core] = Core,
    within: frozenset[State] | None = None,
    limit: int = 10_000,
) -> Graph[Node]:
    """Walk the core through all of its states.

    Args:
        orders: The order ids, as in the configuration.
        max_epoch: The epochs, likewise.
        core: Makes a core from limits, epoch and mode.
        within: If given, no steps are made from states that are not among these: of a
            wrong core, one wants to see the first wrong step and not all later ones.
        limit: The most nodes.

    Returns:
        All nodes, and all steps between them.

    Raises:
        ExplorerError: There are more nodes than the limit.
    """
    steps = _Walk(orders, max_epoch, core, within)
    return explore([steps.begin()], steps.successors, limit=limit)


def view(node: Node) -> State:
    """Return what the specification sees of a node."""
    return node[0]


def graph(
    *,
    orders: tuple[str, ...] = ("a", "b"),
    max_epoch: int = 2,
    core: Callable[..., Core] = Core,
    within: frozenset[State] | None = None,
    limit: int = 10_000,
) -> Graph[State]:
    """Return what `walk` finds, in the form in which `tlc.parse_dot` returns a graph."""
    found = walk(orders=orders, max_epoch=max_epoch, core=core, within=within, limit=limit)
    return found.map(view)
