"""From records back to what the core was given.

What a record holds exactly becomes the very value. What ``odd`` told of becomes that value again, if its type
is one that Python prints in full; of anything else a *stand-in*: an object whose type has the same name and
which prints the same. The core looks at no more than that before it refuses it, but it may be asked things that
only the real one could answer. So whoever got a stand-in knows, by `Inputs.exact`, that a decision on it is no
proof.
"""

from __future__ import annotations

import ast
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, cast

from interlock.core.values import Fill, Order, OrderType, Quote, Side, TimeInForce, Trade
from interlock.replay.report import Unplayable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Inputs", "exact", "text", "whole"]

_TICK: Final = {
    "instrument": "instrument",
    "venue_ts": "ts_us",
    "received_ts": "received_us",
    "sequence": "sequence",
}
_ORDER: Final = {
    "id": "client_order_id",
    "instrument": "instrument",
    "side": "side",
    "type": "order_type",
    "quantity": "quantity",
    "price": "price",
    "tif": "time_in_force",
    "reduce_only": "reduce_only",
}
_LONGEST_ODD: Final = 1000
_UNHASHABLE: Final[Mapping[str, Callable[[], object]]] = {
    "list": list,
    "dict": dict,
    "set": set,
    "bytearray": bytearray,
}


def whole(record: Mapping[str, object], key: str) -> int:
    """An integer of a record."""
    value = record.get(key)
    if type(value) is not int:
        message = f"{key} is no integer"
        raise Unplayable(message)
    return value


def text(record: Mapping[str, object], key: str) -> str:
    """A string of a record."""
    value = record.get(key)
    if not isinstance(value, str):
        message = f"{key} is no string"
        raise Unplayable(message)
    return value


def exact(record: Mapping[str, object], key: str) -> Decimal:
    """A decimal of a record."""
    try:
        return Decimal(text(record, key))
    except InvalidOperation:
        message = f"{key} is no decimal"
        raise Unplayable(message) from None


class Inputs:
    """Makes the values, with what `odd` told since the last one.

    Attributes:
        exact: whether the last value made is in every respect what the core was given.
    """

    def __init__(self) -> None:
        self.exact = True
        self._odd: dict[str, tuple[str, str]] = {}

    def odd(self, record: Mapping[str, object]) -> None:
        """Take note of what the next record can't hold."""
        self._odd[text(record, "field")] = (text(record, "type"), text(record, "text"))

    def tick(self, record: Mapping[str, object]) -> Quote | Trade:
        """The tick of a ``quote`` or ``trade``."""
        trade = record["kind"] == "trade"
        prices = {"price": "price"} if trade else {"bid": "bid", "ask": "ask"}
        sizes = {"quantity": "size"} if trade else {"bid_size": "bid_size", "ask_size": "ask_size"}
        members: dict[str, object] = {name: record[key] for key, name in _TICK.items()}
        for key, name in {**prices, **sizes}.items():
            members[name] = None if record[key] is None else exact(record, key)
        made = self._made(Trade if trade else Quote, members, {**_TICK, **prices, **sizes})
        return cast("Quote | Trade", made)

    def order(self, record: Mapping[str, object]) -> Order:
        """The order of a ``permit`` or ``refuse``."""
        members: dict[str, object] = {name: record[key] for key, name in _ORDER.items()}
        words = (("side", "side", Side), ("type", "order_type", OrderType), ("tif", "time_in_force", TimeInForce))
        for key, name, kind in words:
            if key not in self._odd:
                members[name] = _word(kind, record, key)
        for key in ("quantity", "price"):
            if key not in self._odd:
                members[key] = None if record[key] is None else exact(record, key)
        return cast("Order", self._made(Order, members, _ORDER))

    def fill(self, record: Mapping[str, object]) -> Fill:
        """The fill of a ``fill`` or ``unread``."""
        names = {"id": "client_order_id", "fill": "fill_id", "instrument": "instrument", "side": "side"}
        numbers = {key: key for key in ("quantity", "price", "fee")}
        members: dict[str, object] = {name: record[key] for key, name in names.items()}
        if "side" not in self._odd:
            members["side"] = _word(Side, record, "side")
        for key in numbers:
            if key not in self._odd:
                members[key] = exact(record, key)
        return cast("Fill", self._made(Fill, members, {**names, **numbers}))

    def order_id(self, record: Mapping[str, object]) -> str:
        """The id of an ``accept``, ``cancelled`` or ``reject``."""
        odd, self._odd = self._odd, {}
        self.exact = True
        return cast("str", self._value(*odd["id"]) if "id" in odd else text(record, "id"))

    def _made(self, kind: type, members: dict[str, object], names: Mapping[str, str]) -> object:
        """The value, with its odd members, which are spent by that."""
        odd, self._odd = self._odd, {}
        self.exact = True
        other: type | None = None
        for key, (name, said) in odd.items():
            if not key:
                other = type(name, (), {"__repr__": lambda _, said=said: said})
            elif key not in names:
                message = f"an odd {key!r} before it, which it has not"
                raise Unplayable(message)
            elif not name:
                members.pop(names[key])
            else:
                members[names[key]] = self._value(name, said)
        if other is None:
            return kind(**members)
        self.exact = False
        made: object = other()
        for name, value in members.items():
            setattr(made, name, value)
        return made

    def _value(self, name: str, said: str) -> object:
        """What Python prints so, or a stand-in."""
        if name in _UNHASHABLE:
            self.exact = False
            return _UNHASHABLE[name]()
        try:
            if len(said) < _LONGEST_ODD:
                return _READ[name](said)
        except (KeyError, ValueError, SyntaxError, ArithmeticError):
            pass
        self.exact = False
        return type(name, (), {"__repr__": lambda _: said})()


def _truth(said: str) -> bool:
    return {"True": True, "False": False}[said]


def _string(said: str) -> str:
    value = ast.literal_eval(said)
    if type(value) is not str:
        raise ValueError(said)
    return value


def _decimal(said: str) -> Decimal:
    return Decimal(said.removeprefix("Decimal('").removesuffix("')"))


_READ: Final[Mapping[str, Callable[[str], object]]] = {
    "NoneType": lambda said: {"None": None}[said],
    "bool": _truth,
    "int": int,
    "float": float,
    "str": _string,
    "Decimal": _decimal,
}


def _word(kind: type[Side | OrderType | TimeInForce], record: Mapping[str, object], key: str) -> object:
    try:
        return kind(text(record, key))
    except ValueError:
        message = f"{key} is no {kind.__name__}"
        raise Unplayable(message) from None
