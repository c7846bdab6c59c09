"""The paper venue: fills at the touch of the moment, says nothing of dead orders, and repeats by seed."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.paper import PaperVenue, VenueError
from interlock.core.errors import MisuseError, PermitError
from interlock.core.values import (
    Cancel,
    Fill,
    Instrument,
    Order,
    OrderType,
    Permit,
    Quote,
    Side,
    Tick,
    TimeInForce,
    Trade,
    grant,
    withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUY, SELL = Side.BUY, Side.SELL
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
X = Instrument(name="X", tick_size=Decimal("0.01"), lot_size=Decimal(10), currency="USD")


class Heard:
    """Whoever is told: keeps what it heard, and holds the venue to its promise about dead orders."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.fills: list[Fill] = []
        self.left: dict[str, int] = {}
        self.then: dict[str, Callable[[], object]] = {}

    def expect(self, order: Order) -> None:
        """This order is on its way."""
        assert order.client_order_id not in self.left
        self.left[order.client_order_id] = int(order.quantity)

    def on_accept(self, order_id: str, venue_id: str | None = None) -> None:
        """The order lives."""
        assert order_id in self.left
        self._hear("accept", order_id, str(venue_id))

    def on_fill(self, fill: Fill) -> None:
        """The order lived until now."""
        self.fills.append(fill)
        self.left[fill.client_order_id] -= int(fill.quantity)  # whole here, and free of any context
        assert fill.quantity > 0
        assert self.left[fill.client_order_id] >= 0
        if not self.left[fill.client_order_id]:
            del self.left[fill.client_order_id]
        self._hear("fill", fill.client_order_id, f"{fill.quantity}@{fill.price}")

    def on_cancelled(self, order_id: str, reason: str = "") -> None:
        """The order lived until now."""
        del self.left[order_id]
        self._hear("cancelled", order_id, reason)

    def on_reject(self, order_id: str, reason: str = "") -> None:
        """The order lived until now."""
        del self.left[order_id]
        self._hear("reject", order_id, reason)

    def _hear(self, *said: str) -> None:
        self.said.append(said)
        if (act := self.then.pop(said[0], None)) is not None:
            act()


class Desk:
    """A venue, somebody who listens to it, and short words for orders and ticks."""

    def __init__(self, **arguments: object) -> None:
        self.venue = PaperVenue(**({"seed": 1} | arguments))  # type: ignore[arg-type] # each test knows its own
        self.heard = Heard()
        self.venue.connect(self.heard)

    def quote(self, bid: str, ask: str, bid_size: int | None = None, ask_size: int | None = None) -> None:
        """The market is this now."""
        sizes = [None if size is None else Decimal(size) for size in (bid_size, ask_size)]
        self.venue.on_tick(
            Quote(instrument="X", ts_us=0, bid=Decimal(bid), ask=Decimal(ask), bid_size=sizes[0], ask_size=sizes[1])
        )

    def permit(
        self,
        order_id: str,
        side: Side,
        price: str | None,
        quantity: int = 100,
        tif: TimeInForce = DAY,
        instrument: str = "X",
    ) -> Permit:
        """A permit for an order; without a price at market."""
        order = Order(
            client_order_id=order_id,
            instrument=instrument,
            side=side,
            quantity=Decimal(quantity),
            order_type=OrderType.LIMIT if price else OrderType.MARKET,
            price=Decimal(price) if price else None,
            time_in_force=tif,
        )
        self.heard.expect(order)
        return grant(order, 1, 1)

    def send(self, *order: object, tif: TimeInForce = DAY) -> str:
        """Send such an order."""
        return self.venue.send_now(self.permit(*order, tif=tif))  # type: ignore[arg-type, misc] # as in permit

    @property
    def said(self) -> list[tuple[str, ...]]:
        """What was heard but for accepts."""
        return [said for said in self.heard.said if said[0] != "accept"]

    @property
    def open(self) -> list[str]:
        """The ids of the orders that rest."""
        return [order.client_order_id for order in self.venue.open_orders()]


# -- Fills -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tif", [DAY, GTC, IOC, FOK])
@pytest.mark.parametrize(
    ("side", "price", "at"),
    [
        (BUY, "1.02", "1.02"),
        (BUY, "1.05", "1.02"),
        (SELL, "1.00", "1.00"),
        (SELL, "0.5", "1.00"),
        (BUY, None, "1.02"),
        (SELL, None, "1.00"),
    ],
)
def test_marketable_orders_fill_at_the_touch(side: Side, price: str | None, at: str, tif: TimeInForce) -> None:
    """A buy at or above the ask, a sell at or below the bid and a market order are filled at once, at the touch."""
    desk = Desk()
    desk.quote("1.00", "1.02")
    assert desk.send("a", side, price, tif=tif) == "P-000001"
    assert desk.heard.said == [("accept", "a", "P-000001"), ("fill", "a", f"100@{at}")]
    assert desk.open == []
    assert desk.heard.fills == [
        Fill(
            client_order_id="a",
            fill_id="F-000000001",
            instrument="X",
            side=side,
            quantity=Decimal(100),
            price=Decimal(at),
        )
    ]


@pytest.mark.parametrize("tif", [DAY, GTC])
@pytest.mark.parametrize(
    ("side", "price", "near", "crossing"),
    [(BUY, "1.00", ("1.00", "1.01"), ("0.98", "0.99")), (SELL, "1.02", ("1.01", "1.02"), ("1.03", "1.04"))],
)
def test_other_orders_rest_and_fill_at_their_limit(
    side: Side, price: str, near: tuple[str, str], crossing: tuple[str, str], tif: TimeInForce
) -> None:
    """An order away from the market rests until a tick reaches its price, and then fills at that price."""
    desk = Desk()
    desk.quote("1.00", "1.02")
    desk.send("a", side, price, tif=tif)
    desk.quote(*near)
    assert (desk.said, desk.open, desk.venue.remaining("a")) == ([], ["a"], Decimal(100))
    desk.quote(*crossing)
    assert (desk.said, desk.open, desk.venue.remaining("a")) == ([("fill", "a", f"100@{price}")], [], Decimal(0))
    desk.quote(*crossing)
    assert len(desk.said) == 1


@pytest.mark.parametrize("tif", [IOC, FOK])
def test_immediate_orders_never_rest(tif: TimeInForce) -> None:
    """An immediate order that is not marketable is cancelled at once."""
    desk = Desk()
    desk.quote("1.00", "1.02")
    desk.send("a", BUY, "1.01", tif=tif)
    assert desk.said == [("cancelled", "a", f"limit {tif}: nothing of it could be filled at once")]
    assert desk.open == []


def test_the_touch_is_that_of_the_moment() -> None:
    """Each order is filled at the tick before it, not at the first or the last of a batch."""
    desk = Desk()
    for number, ask in enumerate(["1.02", "1.07", "1.03"]):
        desk.quote("1.00", ask)
        desk.send(f"o{number}", BUY, None)
    assert [str(fill.price) for fill in desk.heard.fills] == ["1.02", "1.07", "1.03"]


def test_an_instrument_with_trades_only() -> None:
    """Without quotes the latest trade is the touch of both sides, and fills resting orders too."""
    desk = Desk()
    desk.venue.on_tick(Trade(instrument="X", ts_us=0, price=Decimal("1.5")))
    desk.send("buy", BUY, None)
    desk.send("sell", SELL, None)
    desk.send("rest", BUY, "1.4")
    desk.venue.on_tick(Trade(instrument="X", ts_us=0, price=Decimal("1.3")))
    assert desk.said == [("fill", "buy", "100@1.5"), ("fill", "sell", "100@1.5"), ("fill", "rest", "100@1.4")]


def test_quotes_outrank_trades() -> None:
    """Where there are quotes, a trade is not the touch."""
    desk = Desk()
    desk.quote("1.00", "1.02")
    desk.venue.on_tick(Trade(instrument="X", ts_us=0, price=Decimal(9)))
    desk.send("a", BUY, None)
    assert desk.said == [("fill", "a", "100@1.02")]


def test_no_market_yet() -> None:
    """Before the first tick a market order is rejected, a day order rests, an immediate one is cancelled."""
    desk = Desk()
    desk.send("market", BUY, None)
    desk.send("day", BUY, "1")
    desk.send("ioc", BUY, "1", tif=IOC)
    assert desk.said == [
        ("reject", "market", "no market in X yet"),
        ("cancelled", "ioc", "limit ioc: nothing of it could be filled at once"),
    ]
    assert desk.open == ["day"]
    assert desk.venue.rejected == 1


def test_instruments_do_not_mix() -> None:
    """A tick touches only the orders of its own instrument."""
    desk = Desk()
    desk.venue.send_now(desk.permit("other", BUY, "5", instrument="Y"))
    desk.quote("1.00", "1.02")
    assert desk.open == ["other"]


# -- Partial fills -----------------------------------------------------------------------------


def test_a_partial_fill_takes_what_the_quote_has() -> None:
    """With a partial fill drawn, only the quote's size is filled; the rest rests and fills later, bit by bit."""
    desk = Desk(partial_rate="1")
    desk.quote("1.00", "1.02", 70, 30)
    desk.send("a", BUY, "1.02")
    assert (desk.said, desk.venue.remaining("a")) == ([("fill", "a", "30@1.02")], Decimal(70))
    desk.quote("1.00", "1.01", 70, 60)
    desk.quote("1.00", "1.01", 70, 60)
    assert [said[2] for said in desk.said] == ["30@1.02", "60@1.02", "10@1.02"]
    assert desk.open == []


def test_a_partial_fill_without_sizes_is_half_in_whole_lots() -> None:
    """Where the quote says no size, half of the order is filled, rounded down to lots; a single lot is filled whole."""
    desk = Desk(partial_rate="1", instruments={"X": X})
    desk.quote("1.00", "1.02")
    desk.send("a", BUY, "1.02", 50)
    for _ in range(4):
        desk.quote("1.00", "1.02")
    assert [said[2] for said in desk.said] == ["20@1.02", "10@1.02", "10@1.02", "10@1.02"]


def test_a_partial_fill_is_cut_to_lots() -> None:
    """A quote's size that is no whole number of lots is rounded down, and below one lot nothing is filled."""
    desk = Desk(partial_rate="1", instruments={"X": X})
    desk.quote("1.00", "1.02", 0, 37)
    desk.send("a", BUY, "1.02", 50)
    desk.quote("1.00", "1.02", 0, 9)
    assert [said[2] for said in desk.said] == ["30@1.02"]
    assert desk.venue.remaining("a") == 20


def test_nothing_known_to_split_by() -> None:
    """With neither sizes nor lots to go by, a fill is whole even if a partial one was drawn."""
    desk = Desk(partial_rate="1")
    desk.quote("1.00", "1.02")
    desk.send("a", BUY, "1.02")
    assert desk.said == [("fill", "a", "100@1.02")]


@pytest.mark.parametrize(
    ("price", "tif", "kind"), [("1.02", IOC, "limit ioc"), (None, DAY, "market day"), (None, IOC, "market ioc")]
)
def test_the_rest_of_an_immediate_order_is_cancelled(price: str | None, tif: TimeInForce, kind: str) -> None:
    """What a partial fill leaves of an immediate or market order is cancelled."""
    desk = Desk(partial_rate="1")
    desk.quote("1.00", "1.02", 70, 30)
    desk.send("a", BUY, price, tif=tif)
    assert desk.said == [
        ("fill", "a", "30@1.02"),
        ("cancelled", "a", f"{kind}: all but 70 could be filled at once"),
    ]


def test_fill_or_kill_is_all_or_nothing() -> None:
    """An order that must be filled whole is cancelled whole if less is on offer."""
    desk = Desk(partial_rate="1")
    desk.quote("1.00", "1.02", 70, 30)
    desk.send("a", BUY, "1.02", tif=FOK)
    desk.send("b", BUY, "1.02", 30, tif=FOK)
    assert desk.said == [
        ("cancelled", "a", "limit fok: nothing of it could be filled at once"),
        ("fill", "b", "30@1.02"),
    ]


# -- Rejects, cancels, misuse ------------------------------------------------------------------


def test_rejects_come_at_their_rate() -> None:
    """The share that was asked for is rejected, with a reason, and never accepted or filled."""
    desk = Desk(reject_rate="1/4")
    desk.quote("1.00", "1.02")
    for number in range(2000):
        desk.send(f"o{number}", BUY, "1.02")
    rejects = [said for said in desk.said if said[0] == "reject"]
    assert 400 < len(rejects) < 600
    assert {said[2] for said in rejects} == {"rejected by chance, as 1/4 of all orders are"}
    venue = desk.venue
    assert (venue.sent, venue.rejected, venue.filled) == (2000, len(rejects), 2000 - len(rejects))
    assert sum(said[0] == "accept" for said in desk.heard.said) == venue.filled


@pytest.mark.parametrize(("rate", "rejected"), [("0", 0), (Fraction(1), 50)])
def test_the_ends_of_chance(rate: Fraction | str, rejected: int) -> None:
    """A rate of zero never happens, a rate of one always."""
    desk = Desk(reject_rate=rate)
    for number in range(50):
        desk.send(f"o{number}", BUY, "1")
    assert desk.venue.rejected == rejected


@pytest.mark.parametrize("rate", ["-0.1", "1.1", "x", "", 0.5, "1/0", "nan", None])
@pytest.mark.parametrize("name", ["reject_rate", "partial_rate"])
def test_senseless_rates(name: str, rate: object) -> None:
    """A rate that is no exact share from 0 to 1 is refused by name."""
    with pytest.raises(MisuseError, match=f"{name} must be an exact share"):
        Desk(**{name: rate})


def test_cancelling_a_resting_order() -> None:
    """A resting order is cancelled once, and after that nobody knows it."""
    desk = Desk()
    desk.send("a", BUY, "1")
    cancel = Cancel(client_order_id="a", instrument="X")
    desk.venue.cancel_now(cancel)
    assert desk.said == [("cancelled", "a", "cancelled as asked for")]
    assert desk.open == []
    with pytest.raises(VenueError, match="no order a in X rests here"):
        desk.venue.cancel_now(cancel)
    desk.quote("0.5", "0.6")
    assert len(desk.said) == 1


@pytest.mark.parametrize("known", [("b", "X"), ("a", "Y")])
def test_cancelling_what_is_not_there(known: tuple[str, str]) -> None:
    """A cancel of another id or another instrument raises, and leaves the order alone."""
    desk = Desk()
    desk.send("a", BUY, "1")
    with pytest.raises(VenueError):
        desk.venue.cancel_now(Cancel(client_order_id=known[0], instrument=known[1]))
    assert desk.open == ["a"]


def test_a_permit_is_good_once() -> None:
    """A permit that was redeemed or withdrawn sends nothing and tells nobody anything."""
    desk = Desk()
    permit = desk.permit("a", BUY, "1")
    desk.venue.send_now(permit)
    with pytest.raises(PermitError):
        desk.venue.send_now(permit)
    late = desk.permit("b", BUY, "1")
    withdraw(late)
    with pytest.raises(PermitError):
        desk.venue.send_now(late)
    assert (desk.open, desk.venue.sent, len(desk.heard.said)) == (["a"], 1, 1)


def test_nobody_connected() -> None:
    """With nobody to tell, an order is refused before its permit is touched."""
    order = Order(client_order_id="a", instrument="X", side=BUY, quantity=Decimal(1), price=Decimal(1))
    permit = grant(order, 1, 1)
    with pytest.raises(MisuseError, match="connect the venue"):
        PaperVenue(seed=1).send_now(permit)
    assert permit.redeem() is order


def test_an_id_that_rests_already() -> None:
    """A second order of an id that rests raises, and says nothing that could be taken for the first one's end."""
    desk = Desk()
    desk.send("a", BUY, "1")
    order = Order(client_order_id="a", instrument="X", side=BUY, quantity=Decimal(5), price=Decimal(1))
    with pytest.raises(VenueError, match="order a rests here already"):
        desk.venue.send_now(grant(order, 2, 1))
    assert (desk.said, desk.venue.remaining("a")) == ([], Decimal(100))


def test_without_acknowledgement() -> None:
    """A venue that does not acknowledge still fills."""
    desk = Desk(ack=False)
    desk.quote("1.00", "1.02")
    assert desk.send("a", BUY, None) == "P-000001"
    assert desk.heard.said == [("fill", "a", "100@1.02")]


def test_a_session_is_in_every_id() -> None:
    """Two runs with different sessions share no id of order or fill."""
    desk = Desk(session="r2")
    desk.quote("1.00", "1.02")
    assert desk.send("a", BUY, None) == "P-r2-000001"
    assert [fill.fill_id for fill in desk.heard.fills] == ["F-r2-000000001"]


def test_the_asynchronous_way_is_the_same() -> None:
    """What event loops await does what send_now and cancel_now do."""
    desk = Desk()

    async def run() -> str:
        venue_id = await desk.venue.send(desk.permit("a", BUY, "1"))
        await desk.venue.cancel(Cancel(client_order_id="a", instrument="X"))
        return venue_id

    assert asyncio.run(run()) == "P-000001"
    assert desk.heard.said == [("accept", "a", "P-000001"), ("cancelled", "a", "cancelled as asked for")]


# -- Coming back at once -----------------------------------------------------------------------


def test_cancelled_while_it_is_accepted() -> None:
    """An order that is cancelled by whoever hears of its acceptance is not filled after that."""
    desk = Desk()
    desk.quote("1.00", "1.02")
    desk.heard.then["accept"] = lambda: desk.venue.cancel_now(Cancel(client_order_id="a", instrument="X"))
    desk.send("a", BUY, "1.02")
    assert desk.said == [("cancelled", "a", "cancelled as asked for")]


def test_others_cancelled_while_one_is_filled() -> None:
    """A tick that fills two orders fills only the first if that fill makes somebody cancel the second."""
    desk = Desk()
    desk.send("a", BUY, "1")
    desk.send("b", BUY, "1")
    desk.heard.then["fill"] = lambda: desk.venue.cancel_now(Cancel(client_order_id="b", instrument="X"))
    desk.quote("0.5", "0.6")
    assert desk.said == [("fill", "a", "100@1"), ("cancelled", "b", "cancelled as asked for")]


def test_an_order_sent_while_another_is_filled() -> None:
    """A fill may be answered with an order at once, which is matched against the same tick."""
    desk = Desk()
    desk.send("a", BUY, "1")
    desk.heard.then["fill"] = lambda: desk.send("out", SELL, None)
    desk.quote("0.5", "0.6")
    assert desk.said == [("fill", "a", "100@1"), ("fill", "out", "100@0.5")]


# -- All of it ---------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(90, 110), st.integers(0, 3), st.integers(0, 60)),
        st.tuples(
            st.just("send"),
            st.sampled_from([BUY, SELL]),
            st.none() | st.integers(90, 110),
            st.sampled_from(list(TimeInForce)),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.none(), st.none()),
    ),
    max_size=60,
)


def play(actions: list[tuple[object, ...]], seed: int) -> Desk:
    """Do all this at a new desk."""
    desk = Desk(seed=seed, reject_rate="1/10", partial_rate="1/2", instruments={"X": X})
    numbers: Iterator[int] = iter(range(1 << 20))
    for what, first, second, third in actions:
        if what == "tick":
            assert isinstance(first, int)
            assert isinstance(second, int)
            assert isinstance(third, int)
            desk.quote(str(first), str(first + second), third, third)
        elif what == "send":
            assert isinstance(third, TimeInForce)
            desk.send(f"o{next(numbers)}", first, None if second is None else str(second), 1230, tif=third)
        elif f"o{first}" in desk.open:
            desk.venue.cancel_now(Cancel(client_order_id=f"o{first}", instrument="X"))
    return desk


@settings(max_examples=200)
@given(actions=ACTIONS, seed=st.integers(0, 100))
def test_every_order_lives_once(actions: list[tuple[object, ...]], seed: int) -> None:
    """Nothing is said of a dead order, no more is filled than was ordered, and the venue's books agree."""
    desk = play(actions, seed)
    assert {order_id: desk.venue.remaining(order_id) for order_id in desk.open} == desk.heard.left
    assert all(fill.quantity % X.lot_size == 0 for fill in desk.heard.fills)
    assert len({fill.fill_id for fill in desk.heard.fills}) == len(desk.heard.fills) == desk.venue.filled
    assert all(
        order.order_type is OrderType.LIMIT and order.time_in_force in {DAY, GTC} for order in desk.venue.open_orders()
    )


@given(actions=ACTIONS, seed=st.integers(0, 100))
def test_one_seed_one_story(actions: list[tuple[object, ...]], seed: int) -> None:
    """The same seed, ticks and orders give the same events, whatever the caller's decimal context."""
    expected = play(actions, seed).heard.said
    with localcontext() as context:
        context.prec = 2
        assert play(actions, seed).heard.said == expected


def test_dead_orders_leave_nothing_behind() -> None:
    """However many orders came and went, the venue keeps what rests, a tick an instrument, and a thousand ends."""
    desk = Desk()

    def size() -> int:
        kept = vars(desk.venue)
        return sum(sys.getsizeof(value) + (len(value) if isinstance(value, dict) else 0) for value in kept.values())

    desk.quote("1.00", "1.02")
    for number in range(1500):
        desk.send(f"first{number}", BUY, None)
    before = size()
    for number in range(3000):
        desk.quote("1.00", "1.02")
        desk.send(f"a{number}", BUY, None)
        desk.send(f"b{number}", BUY, "0.9")
        desk.venue.cancel_now(Cancel(client_order_id=f"b{number}", instrument="X"))
    assert desk.open == []
    assert size() < before + 200


def test_a_tick_with_nothing_resting_is_only_noted() -> None:
    """Ticks of any number of kinds are taken before anybody is connected."""
    ticks: list[Tick] = [
        Quote(instrument="X", ts_us=0, bid=Decimal(1), ask=Decimal(2)),
        Trade(instrument="Y", ts_us=0, price=Decimal(1)),
    ]
    venue = PaperVenue(seed=1)
    for tick in ticks:
        venue.on_tick(tick)
    assert venue.open_orders() == ()
