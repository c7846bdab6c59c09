"""What the tests of the core share: limits, orders, ticks, a started core, and strategies.

The instrument is chosen so that boundaries fall on the grid: half-unit prices, tenths of a
unit of quantity, and a reference of exactly 100.
"""

import copy
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from hypothesis import strategies as st

from interlock.core.ledger import Book, Status, Working
from interlock.core.limits import Limits
from interlock.core.machine import Anomaly, Breach, Halted
from interlock.core.modes import ARMED, Mode
from interlock.core.preorder import Core
from interlock.core.values import Fill, Order, OrderType, Quote, Side, Trade, Verdict

NAME: Final = "XYZ"
OTHER: Final = "PQR"
EURO: Final = "EUR1"
MS: Final = 1_000_000
"""Nanoseconds."""

NOW_US: Final = 1_700_000_000_000_000
D: Final = Decimal

RAW: Final[Mapping[str, Any]] = {
    "version": 1,
    "gate1": {
        "max_tick_age_ms": 1_000,
        "max_clock_ahead_ms": 50,
        "max_silence_ms": 5_000,
        "heartbeat_overdue_ms": 2_000,
        "tick_backwards": "refuse",
        "crossed_quote": "refuse",
        "non_positive_price": "refuse",
        "sequence_gap": "refuse",
    },
    "gate2": {
        "max_reference_age_ms": 500,
        "messages_per_s": 10,
        "message_burst": 100,
        "repeat_window_ms": 1_000,
        "repeat_refuse_after": 3,
        "repeat_trip_after": 6,
        "remember_ids": 1_000,
    },
    "anomaly": {"unknown_order": "record", "errors_in_a_row": 3},
    "loss": {
        "USD": {"max_session_loss": 1_000, "max_drawdown": 600, "confirm_marks": 3},
        "EUR": {"max_session_loss": 1_000, "max_drawdown": 600, "confirm_marks": 3},
    },
    "instruments": {
        NAME: {
            "tick_size": "0.5",
            "lot_size": "0.1",
            "currency": "USD",
            "collar_bps": 200,
            "max_quantity": 10,
            "max_notional": 1_000,
            "max_position": 20,
            "max_open_orders": 5,
        },
        OTHER: {
            "tick_size": "0.01",
            "lot_size": 1,
            "currency": "USD",
            "multiplier": 50,
            "collar_bps": "12.5",
            "max_quantity": 100,
            "max_notional": 1_000_000,
            "max_position": 1_000,
            "max_open_orders": 50,
        },
        EURO: {
            "tick_size": "0.001",
            "lot_size": "0.01",
            "currency": "EUR",
            "multiplier": "0.1",
            "collar_bps": 500,
            "max_quantity": 100,
            "max_notional": 1_000_000,
            "max_position": 1_000,
            "max_open_orders": 50,
        },
    },
}


def raw(*paths: str, **values: object) -> dict[str, Any]:
    """Return the mapping of the limits with changes.

    Args:
        paths: Dotted keys to take out, such as ``"gate2.message_burst"``.
        values: Dotted keys to set, written with ``__`` for the dot.
    """
    data = copy.deepcopy(dict(RAW))
    for path in paths:
        *tables, key = path.split(".")
        table = data
        for name in tables:
            table = table[name]
        del table[key]
    for path, value in values.items():
        *tables, key = path.split("__")
        table = data
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return data


def limits(*paths: str, **values: object) -> Limits:
    """Return limits with changes; see `raw`."""
    return Limits.from_mapping(raw(*paths, **values), "limits.toml")


def order(order_id: str = "o1", **changes: object) -> Order:
    """Return an order that every check lets through: buy one at the reference."""
    said: dict[str, Any] = {
        "client_order_id": order_id,
        "instrument": NAME,
        "side": Side.BUY,
        "quantity": D(1),
        "price": D(100),
    }
    return Order(**(said | changes))


def market(order_id: str = "o1", **changes: object) -> Order:
    """Return a market order that every check lets through."""
    return order(order_id, order_type=OrderType.MARKET, price=None, **changes)


def quote(**changes: object) -> Quote:
    """Return a quote that every check lets through: 100 on both sides."""
    said: dict[str, Any] = {
        "instrument": NAME,
        "ts_us": NOW_US,
        "bid": D(100),
        "ask": D(100),
    }
    return Quote(**(said | changes))


def trade(**changes: object) -> Trade:
    """Return a trade that every check lets through."""
    said: dict[str, Any] = {"instrument": NAME, "ts_us": NOW_US, "price": D(100)}
    return Trade(**(said | changes))


def fill(order_id: str, fill_id: str, **changes: object) -> Fill:
    """Return a fill of one unit, bought at 100."""
    said: dict[str, Any] = {
        "client_order_id": order_id,
        "fill_id": fill_id,
        "instrument": NAME,
        "side": Side.BUY,
        "quantity": D(1),
        "price": D(100),
    }
    return Fill(**(said | changes))


def started(*paths: str, **values: object) -> Core:
    """Return a RUNNING core without a tick yet; for the limits see `raw`."""
    core = Core(limits(*paths, **values), 1)
    assert core.start(ARMED, 1, 0)
    return core


def running(*paths: str, **values: object) -> Core:
    """Return a RUNNING core that has seen a good quote of each instrument."""
    core = started(*paths, **values)
    for name in core.books:
        assert core.consult(quote(instrument=name), ARMED, 0, NOW_US)
    return core


def decide(core: Core, wanted: Order, mono_ns: int = 0) -> Working | Verdict:
    """Hand an order to gate 2 under an armed latch; it takes the next free number."""
    return core.decide(wanted, ARMED, mono_ns, 1_000 + len(core.working))


def granted(core: Core, wanted: Order, mono_ns: int = 0) -> Working:
    """Hand over an order that must be granted."""
    decided = decide(core, wanted, mono_ns)
    assert isinstance(decided, Working), decided
    return decided


def refused(core: Core, wanted: Order, mono_ns: int = 0) -> Verdict:
    """Hand over an order that must be refused."""
    decided = decide(core, wanted, mono_ns)
    assert isinstance(decided, Verdict), decided
    assert not decided
    return decided


def sent(core: Core, wanted: Order, mono_ns: int = 0) -> Working:
    """Hand over an order that must be granted, and send it."""
    working = granted(core, wanted, mono_ns)
    assert core.begin(working, ARMED)
    core.end(working)
    return working


def position(core: Core, name: str = NAME) -> Decimal:
    """Return the position of an instrument, in units."""
    book = core.books[name]
    return D(book.size_text(book.position))


def halts(core: Core) -> list[Halted]:
    """Return the halts in a core's notices."""
    return [notice for notice in core.notices if isinstance(notice, Halted)]


def breaches(core: Core) -> list[str]:
    """Return the states of the breaches in a core's notices."""
    return [notice.state for notice in core.notices if isinstance(notice, Breach)]


def anomalies(core: Core) -> list[str]:
    """Return the codes of the anomalies in a core's notices."""
    return [notice.code for notice in core.notices if isinstance(notice, Anomaly)]


def exposure(book: Book) -> tuple[object, ...]:
    """Return all that a book counts of what is owned and owed."""
    return (
        book.position, book.cash, book.buying, book.selling, book.exits_buying,
        book.exits_selling, book.open_orders,
    )  # fmt: skip


def snapshot(core: Core) -> tuple[object, ...]:
    """Return what a refusal must leave as it was.

    The message rate's clock, the repeats, and what a feed shows are not part of it: they
    are what a refusal may change.
    """
    return (
        core.mode, core.gate_open, core.epoch, core.cause, core.session,
        tuple((name, w.status, w.remaining) for name, w in core.working.items()),
        tuple(core.in_flight),
        frozenset(core.ids.young | core.ids.old),
        tuple(exposure(book) for book in core.books.values()),
        tuple(
            (account.equity, account.opening, account.peak, account.breached)
            for account in core.accounts()
        ),
        core.bucket.tokens,
    )  # fmt: skip


def counted(core: Core) -> bool:
    """Return whether every book's reservations are the sum of its working orders."""
    for book in core.books.values():
        mine = [working for working in core.working.values() if working.book is book]
        buys = [working for working in mine if working.buys]
        sells = [working for working in mine if not working.buys]
        if (
            book.open_orders != len(mine)
            or book.buying != sum(w.remaining for w in buys)
            or book.selling != sum(w.remaining for w in sells)
            or book.exits_buying != sum(w.remaining for w in buys if w.reduces)
            or book.exits_selling != sum(w.remaining for w in sells if w.reduces)
        ):
            return False
    return True


def exact(value: Decimal) -> Fraction:
    """Return a decimal as a fraction, without the core's arithmetic."""
    return Fraction(*value.as_integer_ratio())


def fraction(number: int, digits: int) -> Fraction:
    """Return one of the core's integers as a fraction."""
    return Fraction(number, 10**digits)


def statuses(core: Core) -> dict[str, Status]:
    """Return where each working order stands."""
    return {name: working.status for name, working in core.working.items()}


# ---------------------------------------------------------------------------
# Strategies

NOT_ARMED: Final = st.integers(0, 255).filter(lambda byte: byte != ARMED)
MODES: Final = st.sampled_from(Mode)
SIDES: Final = st.sampled_from(Side)

AWKWARD_NUMBERS: Final = st.sampled_from([
    D("NaN"), D("sNaN"), D("-NaN123"), D("Infinity"), D("-Infinity"),
    D("1E+999999"), D("1E-999999"), D("-1E+999999"), D("0E+999999"), D("0E-999999"),
    D("1E+26"), D("1E+25"), D("9" * 120), D("0." + "1" * 120), D(0), D("-0"), D(-1),
])  # fmt: skip


class Hostile:
    """Raises whatever is done to it, even when it is printed."""

    def _raise(self, *_: object) -> Any:
        raise HostileError

    __str__ = __repr__ = __eq__ = __lt__ = __gt__ = _raise
    __hash__ = __add__ = __sub__ = __neg__ = __bool__ = __format__ = _raise  # type: ignore[assignment]


class HostileError(Exception):
    """Cannot be printed either."""

    def __str__(self) -> str:
        """Raise."""
        raise ValueError

    __repr__ = __str__


ANYTHING: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=100),
    st.binary(max_size=10),
    st.decimals(),
    AWKWARD_NUMBERS,
    st.fractions(),
    st.lists(st.integers(), max_size=2),
    st.builds(Hostile),
    st.sampled_from([10**5_000, -(10**5_000), "\ud800", Quote, Exception(), Side.BUY]),
)
"""Any value at all in any field."""

NUMBERS: Final = st.one_of(
    AWKWARD_NUMBERS,
    st.decimals(),
    st.decimals(-1_000, 1_000, places=2),
    st.floats(),
    st.integers(),
)
"""Any number, most of them no good."""


def lots(lowest: int, highest: int) -> st.SearchStrategy[Decimal]:
    """Return quantities on the grid of `NAME`, given in tenths."""
    return st.integers(lowest, highest).map(lambda tenths: D(tenths) / 10)
