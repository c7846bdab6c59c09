"""The pre-trade controls by the names that rules give them, the codes that they refuse with, and where they are set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.limits import Limits

__all__ = ["CONTROLS", "Control"]

_BOTH: Final = ("rts6-15", "sec-15c3-5")


@attrs.frozen(kw_only=True)
class Control:
    """One control.

    Attributes:
        name: a short name.
        says: its name in words, with the code.
        codes: what it refuses with.
        keys: the keys of the limits that set it, of each instrument; empty if it can't be turned off.
        of: what it is set for.
        rules: which rules it serves.
    """

    name: str
    says: str
    codes: tuple[str, ...]
    keys: tuple[str, ...] = ()
    of: str = "instruments"
    rules: tuple[str, ...] = _BOTH

    def set_in(self, limits: Sequence[Limits]) -> tuple[int, int]:
        """For how many of how many it is set, over all limits that are given."""
        if self.of == "versions":
            return sum(one.gate2 is not None for one in limits), len(limits)
        if self.of == "currencies":
            many = sum(len(one.loss) for one in limits)
            return many, many
        tables = [table for one in limits for _, table in one.instruments.values()]
        return sum(all(getattr(table, key) is not None for key in self.keys) for table in tables), len(tables)


CONTROLS: Final = (
    Control(name="collar", says="Price collar (PRICE_COLLAR)", codes=("PRICE_COLLAR",), keys=("collar_bps",)),
    Control(name="value", says="Largest order value (MAX_NOTIONAL)", codes=("MAX_NOTIONAL",), keys=("max_notional",)),
    Control(name="volume", says="Largest order volume (MAX_QUANTITY)", codes=("MAX_QUANTITY",), keys=("max_quantity",)),
    Control(name="messages", says="Limit on messages (MESSAGE_RATE)", codes=("MESSAGE_RATE",), of="versions"),
    Control(
        name="throttle",
        says="Throttle on repeated orders, which halts when they go on (ORDER_LOOP)",
        codes=("ORDER_LOOP",),
        of="versions",
    ),
    Control(
        name="position",
        says="Largest position, with working orders counted at once (MAX_POSITION)",
        codes=("MAX_POSITION",),
        keys=("max_position",),
    ),
    Control(
        name="open",
        says="Most open orders (MAX_OPEN_ORDERS)",
        codes=("MAX_OPEN_ORDERS",),
        keys=("max_open_orders",),
    ),
    Control(
        name="loss",
        says="Session loss and drawdown (SESSION_LOSS, DRAWDOWN)",
        codes=("SESSION_LOSS", "DRAWDOWN"),
        of="currencies",
        rules=(*_BOTH, "rts6-17"),
    ),
    Control(name="duplicate", says="Duplicate order ids (DUPLICATE_ID)", codes=("DUPLICATE_ID",), of="versions"),
    Control(
        name="instrument",
        says="Instruments without permission or limits (UNKNOWN_INSTRUMENT, NO_LIMITS)",
        codes=("UNKNOWN_INSTRUMENT", "NO_LIMITS"),
        of="versions",
    ),
)
"""All of them, in the order of the rules."""
