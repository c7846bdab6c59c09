"""The pre-trade controls by the names that rules give them, what they refuse with, and where they are set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.limits import Limits

__all__ = ["CONTROLS", "Control"]

_SIZE: Final = "sec-15c3-5 (c)(1)(ii)"
_CREDIT: Final = "sec-15c3-5 (c)(1)(i)"


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
    rules: tuple[str, ...]
    keys: tuple[str, ...] = ()
    of: str = "instruments"

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
    Control(
        name="collar",
        says="Price collar (PRICE_COLLAR)",
        codes=("PRICE_COLLAR",),
        rules=("rts6-15 (1)(a)", _SIZE),
        keys=("collar_bps",),
    ),
    Control(
        name="value",
        says="Largest order value (MAX_NOTIONAL)",
        codes=("MAX_NOTIONAL",),
        rules=("rts6-15 (1)(b)", _SIZE),
        keys=("max_notional",),
    ),
    Control(
        name="volume",
        says="Largest order volume (MAX_QUANTITY)",
        codes=("MAX_QUANTITY",),
        rules=("rts6-15 (1)(c)", _SIZE),
        keys=("max_quantity",),
    ),
    Control(
        name="messages",
        says="Limit on messages (MESSAGE_RATE)",
        codes=("MESSAGE_RATE",),
        rules=("rts6-15 (1)(d)", _SIZE),
        of="versions",
    ),
    Control(
        name="throttle",
        says="Throttle on repeated orders, which halts when they go on (ORDER_LOOP)",
        codes=("ORDER_LOOP",),
        rules=("rts6-15 (3)", _SIZE),
        of="versions",
    ),
    Control(
        name="position",
        says="Largest position, with working orders counted at once (MAX_POSITION)",
        codes=("MAX_POSITION",),
        rules=("rts6-15 (2), (4)", _CREDIT),
        keys=("max_position",),
    ),
    Control(
        name="open",
        says="Most open orders (MAX_OPEN_ORDERS)",
        codes=("MAX_OPEN_ORDERS",),
        rules=("rts6-15 (2), (4)", _CREDIT),
        keys=("max_open_orders",),
    ),
    Control(
        name="loss",
        says="Session loss and drawdown (SESSION_LOSS, DRAWDOWN)",
        codes=("SESSION_LOSS", "DRAWDOWN"),
        rules=("rts6-15 (4)", "rts6-17", _CREDIT),
        of="currencies",
    ),
    Control(
        name="duplicate",
        says="Duplicate order ids (DUPLICATE_ID)",
        codes=("DUPLICATE_ID",),
        rules=("rts6-15", _SIZE),
        of="versions",
    ),
    Control(
        name="instrument",
        says="Instruments without a table or with a limit missing (UNKNOWN_INSTRUMENT, NO_LIMITS)",
        codes=("UNKNOWN_INSTRUMENT", "NO_LIMITS"),
        rules=("rts6-15 (5)", "sec-15c3-5"),
        of="versions",
    ),
)
"""All of them, in the order of the rules."""
