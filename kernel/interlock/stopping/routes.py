"""Which gateway has an order, or would have an exit; and what to say if none has."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from interlock.core.values import Order, OrderType, Side
from interlock.stopping.lane import said

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from interlock.stopping.exits import Exits

__all__ = ["Route", "Routes"]

Route: TypeAlias = "Mapping[str, str] | Callable[[Order], str]"
"""Which gateway has an order: by instrument, or by a function; the gateway's name."""

_ONE: Final = Decimal(1)


class Routes:
    """The way from an order to its gateway.

    Args:
        names: of all gateways.
        route: which of them has an order; not needed if there is one only.
    """

    def __init__(self, names: Collection[str], route: Route | None) -> None:
        self._names = names
        self._route = route

    def of(self, order: Order) -> tuple[str, str]:
        """The gateway that has an order; or why none has."""
        route = self._route
        try:
            if route is None:
                (name,) = self._names
            else:
                name = route[order.instrument] if isinstance(route, Mapping) else route(order)
            if name in self._names:
                return name, ""
        except Exception as error:  # noqa: BLE001 - whatever a route raises: no gateway has the order
            return "", f"no gateway: {said(error)}"
        return "", f"no gateway of the name {name!r:.80}"

    def exits(
        self, exits: Exits, instruments: Collection[str], stem: str
    ) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """The ids of exits: derived from the stop's, and never used before.

        Args:
            exits: which are wanted.
            instruments: that the limits know.
            stem: of the ids.

        Returns:
            By gateway and instrument, the ids; and by instrument, why there can be no exit of one that is wanted.
        """
        ids: dict[str, dict[str, str]] = {}
        lacking = dict.fromkeys(
            (exits.instruments or frozenset()) - {*instruments}, "the limits know no such instrument"
        )
        for place, instrument in enumerate(instruments):
            if not exits.wants(instrument):
                continue
            probe = Order(
                client_order_id=f"{stem}-{place}",
                instrument=instrument,
                side=Side.SELL,
                quantity=_ONE,
                order_type=OrderType.MARKET,
                reduce_only=True,
            )
            name, problem = self.of(probe)
            if problem:
                lacking[instrument] = problem
            else:
                ids.setdefault(name, {})[instrument] = probe.client_order_id
        return ids, lacking
