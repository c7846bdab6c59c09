"""NautilusTrader as it comes from PyPI, through an adapter: its own strategy, emulator, risk, data, execution engines.

What is ours is the client of the venue, which tells the probe. The engines are those that a backtest and a live node
have in common; the queues and tasks that a live node puts around them are not here, nor is a cache database, of which
it has none unless one is configured. `Nautilus.halt` is what its documentation gives for that: the trading state
HALTED.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import nautilus_trader
from nautilus_trader.common.component import TestClock
from nautilus_trader.config import StrategyConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.data.engine import DataEngine
from nautilus_trader.execution.client import ExecutionClient
from nautilus_trader.execution.emulator import OrderEmulator
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.execution.messages import CancelOrder
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TradingState, TriggerType
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, TradeId, VenueOrderId
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.risk.engine import RiskEngine
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.component import TestComponentStubs
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.test_kit.stubs.identifiers import TestIdStubs
from nautilus_trader.trading.strategy import Strategy

from interlock.core.values import Side
from interlock.testing.conformance import Adapter, VenueDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.conformance import Tick, VenueProbe, Wanted

VERSION: Final[str] = nautilus_trader.__version__
_MANY: Final = "1000000/00:00:01"


class _Client(ExecutionClient):  # type: ignore[misc,unused-ignore] # it may not be installed
    """The session with the venue."""

    def __init__(self, probe: VenueProbe, **given: Any) -> None:
        super().__init__(
            client_id=ClientId("SIM"),
            venue=TestIdStubs.audusd_id().venue,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            base_currency=None,
            **given,
        )
        self.probe = probe
        self._set_account_id(TestIdStubs.account_id())

    def _start(self) -> None:
        self._set_connected()

    def submit_order(self, command: Any) -> None:
        """Send an order; an answer that is lost leaves it as submitted."""
        order = command.order
        about = (order.strategy_id, order.instrument_id, order.client_order_id)
        self.generate_order_submitted(*about, self._clock.timestamp_ns())
        side = Side.BUY if order.side == OrderSide.BUY else Side.SELL
        try:
            self.probe.order(
                order.client_order_id.value,
                side=side,
                quantity=order.quantity.as_decimal(),
                reduce_only=order.is_reduce_only,
            )
        except VenueDown:
            return
        self.generate_order_accepted(*about, VenueOrderId(order.client_order_id.value), self._clock.timestamp_ns())

    def cancel_order(self, command: Any) -> None:
        """Send a cancel."""
        self.probe.cancel(command.client_order_id.value)
        self.generate_order_canceled(
            command.strategy_id,
            command.instrument_id,
            command.client_order_id,
            VenueOrderId(command.client_order_id.value),
            self._clock.timestamp_ns(),
        )


class _Strategy(Strategy):  # type: ignore[misc,unused-ignore] # it may not be installed
    """A user's strategy: it orders what it is told to want."""

    def __init__(self, orders: Callable[[Wanted], None]) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.orders = orders
        self.wanted: list[Wanted] = []
        self.does: Callable[[], None] | None = None

    def on_start(self) -> None:
        """Listen."""
        self.subscribe_quote_ticks(TestIdStubs.audusd_id())

    def on_quote_tick(self, tick: object) -> None:  # noqa: ARG002 - one tick is as good as another
        """Do what is to be done, then order."""
        wanted, self.wanted = self.wanted, []
        act, self.does = self.does, None
        if act is not None:
            act()
        for one in wanted:
            self.orders(one)


class Nautilus(Adapter):
    """One engine; its kill switch is the trading state HALTED."""

    instrument = "AUD/USD.SIM"
    price = Decimal("0.80000")
    step = Decimal("0.00010")
    quantity = Decimal(100_000)
    keeps_state = False

    flags = True
    """Whether an exit is marked as one, and names the position that it is to leave."""
    up = False

    def start(self) -> bool:
        """Boot, if it is down; then it is ACTIVE."""
        if not self.up:
            self._boot()
        return self.mode() == "running"

    def _boot(self) -> None:
        self.test_clock = clock = TestClock()
        bus, cache = TestComponentStubs.msgbus(), TestComponentStubs.cache()
        self.cache = cache
        self.audusd = TestInstrumentProvider.default_fx_ccy("AUD/USD")
        cache.add_instrument(self.audusd)
        cache.add_account(TestExecStubs.margin_account())
        parts = {"msgbus": bus, "cache": cache, "clock": clock}
        portfolio = Portfolio(**parts)
        self.data = DataEngine(**parts)
        self.execution = ExecutionEngine(**parts)
        config = RiskEngineConfig(max_order_submit_rate=_MANY, max_order_modify_rate=_MANY)
        self.risk = RiskEngine(portfolio=portfolio, config=config, **parts)
        self.emulator = OrderEmulator(portfolio=portfolio, **parts)
        client = _Client(self.venue, **parts)
        self.execution.register_client(client)
        self.strategy = _Strategy(self.submit)
        self.strategy.register(TestIdStubs.trader_id(), portfolio=portfolio, **parts)
        for part in (self.data, self.risk, self.execution, self.emulator, client, self.strategy):
            part.start()
        self.up = True

    def crash(self) -> None:
        """Everything was in memory."""
        self.up = False

    def mode(self) -> str:
        """As the risk engine says."""
        if not self.up:
            return "down"
        return "running" if self.risk.trading_state == TradingState.ACTIVE else "halted"

    def reset(self) -> None:
        """The trading state ACTIVE."""
        self.risk.set_trading_state(TradingState.ACTIVE)

    def halt(self, reason: str, timeout_s: float) -> None:  # noqa: ARG002 - it takes neither
        """The trading state HALTED. It says nothing of what is in flight."""
        self.risk.set_trading_state(TradingState.HALTED)

    def submit(self, wanted: Wanted) -> None:
        """By the strategy; an exit against the position that there is."""
        open_ = self.cache.positions_open()
        position = open_[0].id if wanted.reduce_only and self.flags and open_ else None
        self.strategy.submit_order(self._order(wanted), position_id=position)

    def _order(self, wanted: Wanted, trigger: Decimal | None = None) -> Any:
        given = {
            "instrument_id": self.audusd.id,
            "order_side": OrderSide.BUY if wanted.side is Side.BUY else OrderSide.SELL,
            "quantity": self.audusd.make_qty(wanted.quantity),
            "client_order_id": ClientOrderId(wanted.order_id),
            "reduce_only": wanted.reduce_only and self.flags,
        }
        make = self.strategy.order_factory
        if trigger is not None:
            price = self.audusd.make_price(trigger)
            return make.market_if_touched(**given, trigger_price=price, emulation_trigger=TriggerType.BID_ASK)
        if wanted.price is None:
            return make.market(**given)
        return make.limit(**given, price=self.audusd.make_price(wanted.price))

    def cancel(self, order_id: str) -> None:
        """By the execution engine, so that what a strategy thinks of the order's state is not asked."""
        self.execution.execute(
            CancelOrder(
                trader_id=TestIdStubs.trader_id(),
                strategy_id=self.strategy.id,
                instrument_id=self.audusd.id,
                client_order_id=ClientOrderId(order_id),
                venue_order_id=VenueOrderId(order_id),
                command_id=UUID4(),
                ts_init=self.test_clock.timestamp_ns(),
            )
        )

    def fill(self, order_id: str, quantity: Decimal) -> None:
        """The venue tells the execution engine."""
        order = self.cache.order(ClientOrderId(order_id))
        if order is None:  # it was sent before the last boot
            return
        event = TestEventStubs.order_filled(
            order,
            self.audusd,
            trade_id=TradeId(f"T-{order_id}"),
            last_qty=self.audusd.make_qty(quantity),
            last_px=self.audusd.make_price(self.price),
            account=self.cache.accounts()[0],
        )
        self.execution.process(event)

    def tick(self, tick: Tick) -> None:
        """Through the data engine: emulator and strategy have subscribed to it."""
        now_ns = self.clock.mono_ns()
        self.test_clock.set_time(now_ns)
        size = self.audusd.make_qty(1_000_000)
        self.data.process(
            QuoteTick(
                instrument_id=self.audusd.id,
                bid_price=self.audusd.make_price(tick.bid),
                ask_price=self.audusd.make_price(tick.ask),
                bid_size=size,
                ask_size=size,
                ts_event=max(0, now_ns - tick.age_ms * 1_000_000),
                ts_init=now_ns,
            )
        )

    def want(self, wanted: Wanted) -> None:
        """At the next tick."""
        self.strategy.wanted.append(wanted)

    def in_strategy(self, act: Callable[[], None]) -> None:
        """At the next tick."""
        self.strategy.does = act

    def hold(self, wanted: Wanted, ask: Decimal) -> None:
        """An emulated order: a stop to buy, or market-if-touched to sell, either at that price."""
        if wanted.side is Side.BUY:
            order = self.strategy.order_factory.stop_market(
                instrument_id=self.audusd.id,
                order_side=OrderSide.BUY,
                quantity=self.audusd.make_qty(wanted.quantity),
                client_order_id=ClientOrderId(wanted.order_id),
                trigger_price=self.audusd.make_price(ask),
                emulation_trigger=TriggerType.BID_ASK,
            )
        else:
            order = self._order(wanted, trigger=ask)
        self.strategy.submit_order(order)


class NautilusWithAPosition(Nautilus):
    """The same, asked for exits only when there is something to leave; what it does from flat has been seen."""

    def submit(self, wanted: Wanted) -> None:
        """Not from flat."""
        if not wanted.reduce_only or self.cache.positions_open():
            super().submit(wanted)


class NautilusReducing(NautilusWithAPosition):
    """The same, with the trading state REDUCING for exits, in place of the mark on them."""

    flags = False

    def submit(self, wanted: Wanted) -> None:
        """In that state."""
        if wanted.reduce_only:
            self.risk.set_trading_state(TradingState.REDUCING)
        super().submit(wanted)
        if wanted.reduce_only:
            self.risk.set_trading_state(TradingState.ACTIVE)
