"""The attack: Hypothesis chooses what is done to an engine.

Three kinds of attacks, one module each, over what an `Attempt` is:

- `trading`: orders and ticks, as on any day;
- `halting`: the kill switch, from every side;
- `failing`: what goes wrong.

A machine for one claim has the attacks that bear on it and that the adapter has a method for, and no others: what is
chosen in vain is lost to the depth of an attempt. What is drawn for a step never depends on what the engine did in a
thread, so that the same draws are the same attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.testing.conformance.attempt import Attempt, Tally, Unfit
from interlock.testing.conformance.claims import CLAIMS
from interlock.testing.conformance.failing import Failing
from interlock.testing.conformance.trading import Trading

if TYPE_CHECKING:
    from interlock.testing.conformance.adapter import Adapter
    from interlock.testing.conformance.claims import Claim

__all__ = ["ATTACKS", "Attack", "Tally", "Unfit", "machine_for"]


class Attack(Trading, Failing):
    """All attacks."""


ATTACKS: Final = frozenset(name for name in dir(Attack) if hasattr(getattr(Attack, name), "needs"))
"""Their names."""


def machine_for(
    adapter: type[Adapter], claim: Claim, tally: Tally, without: frozenset[str] = frozenset()
) -> type[Attempt]:
    """Make the machine that attacks one engine on one claim.

    Args:
        adapter: of the engine.
        claim: which.
        tally: where it counts.
        without: attacks that are left out, to see what the others find without them.
    """
    bears = CLAIMS[claim].steps - without
    chosen = {name for name in bears if adapter.can(getattr(Attack, name).needs)}
    members: dict[str, Any] = dict.fromkeys(ATTACKS - chosen)
    return type("Attacked", (Attack,), {**members, "adapter_class": adapter, "claim": claim, "tally": tally})
