"""What the specification sees of the driven stop executor, and where the code stands besides: see `stop_parts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from interlock.breaker.home import Home
from interlock.core.modes import ARMED
from interlock.stopping import Standing
from interlock.stopping.gateways import OVER

if TYPE_CHECKING:
    from tests.specs.stop_parts import Life, World

    from interlock.testing.tlc import State as Seen

Node: TypeAlias = "tuple[Seen, object]"

_WORDS: Final = {Standing.WORKING: "working", Standing.UNKNOWN: "unknown"} | dict.fromkeys(OVER, "over")


def node(world: World, life: Life | None, ledger: dict[str, str]) -> Node:
    """Where everything stands.

    Args:
        world: as it is.
        life: the process, if there is one.
        ledger: by gateway, what was seen of the order in the ledger last; it is brought up to date.
    """
    stored = world.stored()
    tickets = frozenset(
        row["instrument"] for row in (stored.exits.values() if stored else ()) if row["stage"] != "no ticket"
    )
    intent_is = "none" if stored is None else "done" if stored.done else "open"
    if life is not None:
        _learn(world, life, ledger, stopping=intent_is == "open")
        mode = str(life.kernel.mode)
    else:
        mode = "RUNNING" if Home(world.path).latch_state()[2] == ARMED else "HALTED"
    exits = {name: _WORDS[stands] for name, (_, stands) in world.exits.items()}
    seen: dict[str, Any] = {
        "mode": mode,
        "intent": intent_is,
        "tickets": tickets,
        "ledger": dict(ledger),
        "hung": world.hung,
        "venue": {name: _WORDS[stands] for name, stands in world.stands.items()},
        "sent": world.sent,
        "exit": {name: exits.get(name, "none") for name in world.orders},
        "up": life is not None,
        "cat": int(life is not None and life.stopping and life.controlled and mode == "RUNNING"),
        "known": {name: life.known.get(name, "unknown") if life else "unknown" for name in world.orders},
        "asked": tickets & {one.name for one in (life.lanes if life else ()) if one.asks_for_exit},
        "end": {name: life.end.get(name, "none") if life else "none" for name in world.orders},
        "replayed": world.replayed,
    }
    state = tuple(
        (name, tuple(sorted(value.items())) if isinstance(value, dict) else value)
        for name, value in sorted(seen.items())
    )
    return state, (tuple(sorted(world.stands.items())), _place(world, life))


def _learn(world: World, life: Life, ledger: dict[str, str], *, stopping: bool) -> None:
    """What the ledger has, and what the stop knows as long as it is under way."""
    for name, wanted in world.orders.items():
        order_id = wanted.client_order_id
        works = life.kernel.works(order_id)
        ledger[name] = "working" if works else "over"
        if not stopping:
            continue
        knows = [one.knows[order_id] for one in life.lanes if order_id in one.knows]
        ended = [one.ended[order_id] for one in life.lanes if order_id in one.ended]
        seen_to = any(order_id in one.ends for one in life.lanes)
        life.known[name] = "over" if not works else _WORDS[knows[0]] if knows else "unknown"
        if ended:
            life.end[name] = "over" if ended[0] in OVER else "unknown"
        elif not seen_to and not works:
            life.end[name] = "over"


def _place(world: World, life: Life | None) -> object:
    """Where the code stands, as far as the specification does not see it."""
    if life is None:
        return None
    exits = tuple(
        (name, str(stands), life.kernel.works(wanted.client_order_id)) for name, (wanted, stands) in world.exits.items()
    )
    lanes = (life.controlled, *map(_place_of, life.lanes)) if life.stopping else None
    return life.number > 0, exits, lanes


def _place_of(one: Any) -> object:
    if one.over:
        return one.name
    timers = sorted(round(timer.when() - one.loop.now_s) for timer in one.loop._scheduled if not timer.cancelled())
    return (
        one.name,
        one.asks_for_exit,
        one.spent,
        tuple(sorted((call.kind, call.order_id[0]) for call in one.calls)),
        tuple(one.gates),
        len(one.loop.handed_out),
        tuple(sorted((order_id[0], str(standing)) for order_id, standing in one.knows.items())),
        tuple(timers),
    )
