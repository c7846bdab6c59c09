"""Whatever is done to a kernel that records its inputs: its journal replays, decision by decision."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Self

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.helpers import fill, order
from tests.replay.builders import same

from interlock import Fill, Kernel, Quote, Trade

from .machine import KernelMachine

CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


class Recording(Kernel):
    """Records its inputs, whoever attaches it."""

    @classmethod
    def attach(cls, *given: Any, **named: Any) -> Self:
        """As ever."""
        return super().attach(*given, **named, record_inputs=True)


class Lookalike:
    """Has what a tick has, and is none."""

    def __init__(self, tick: Quote) -> None:
        self.instrument, self.ts_us, self.sequence = tick.instrument, tick.ts_us, tick.sequence


anything = st.sampled_from(
    [
        None,
        True,
        1.5,
        float("nan"),
        -1,
        1 << 60,
        "5",
        "",
        "x" * 200,
        "\udc80\u00e9",
        b"1",
        Decimal("NaN"),
        Decimal("1E+9"),
    ]
)


class ReplayMachine(KernelMachine):
    """The machine, with inputs that are no good, and at the end a replay beside the verifier."""

    kernel_class = Recording

    @rule(
        field=st.sampled_from(["instrument", "ts_us", "bid", "ask", "sequence", "received_us", "bid_size"]),
        odd=anything,
    )
    def odd_tick(self, field: str, odd: object) -> None:
        """A tick with something in it that should not be there."""
        now_us = (self.engine._mono() + self.engine._recorder.utc_ns) // 1000
        tick = Quote(instrument="NONE", ts_us=now_us, bid=Decimal(99), ask=Decimal(101))
        self.engine.consult(attrs.evolve(tick, **{field: odd}))  # of no instrument: the oracle need not know

    @rule(
        what=st.sampled_from(
            [None, 5, "tick", Lookalike(Quote(instrument="NONE", ts_us=1, bid=Decimal(1), ask=Decimal(1)))]
        )
    )
    def no_tick(self, what: Any) -> None:
        """No tick at all."""
        self.engine.consult(what)
        self.engine.submit(what, self.send())

    @rule(price=st.sampled_from(["99.5", "-1", "100.123456789"]))
    def print_trade(self, price: str) -> None:
        """A trade of an instrument that nobody trades."""
        self.engine.consult(Trade(instrument="NONE", ts_us=1, price=Decimal(price), size=Decimal("0.1"), sequence=7))

    @rule(
        field=st.sampled_from(
            ["client_order_id", "instrument", "side", "quantity", "order_type", "price", "time_in_force", "reduce_only"]
        ),
        odd=anything,
    )
    def odd_order(self, field: str, odd: object) -> None:
        """An order with something in it that should not be there; over the limit, should that be nothing."""
        self.number += 1
        wrong = attrs.evolve(order(f"o{self.number}", quantity="11"), **{field: odd})
        assert not self.engine.submit(wrong, self.send())

    @rule(field=st.sampled_from(["fill_id", "quantity", "price", "fee", "side"]), odd=anything)
    def odd_fill(self, field: str, odd: object) -> None:
        """A fill of an instrument that nobody knows."""
        wrong: Fill = attrs.evolve(fill("nobody", "f", quantity="1"), instrument="NONE", **{field: odd})
        self.engine.on_fill(wrong)
        self.world.may_send = False  # it halts: the position is not known any more

    @rule(name=st.sampled_from(["nobody", "x" * 65, "\u00e9"]))
    def stray_event(self, name: str) -> None:
        """The venue speaks of an order that nobody knows."""
        self.engine.on_accept(name)
        self.engine.on_reject(name)

    def teardown(self) -> None:
        """At the end the journal is replayed, and the independent verifier reads it."""
        try:
            if self.kernel is not None:
                self.kernel.close()
            if self.kernel is not None and self.broken is None:
                assert set(same(self.home).skipped) <= {"gate 1", "gate 2"}
        finally:
            super().teardown()


class TestReplay(ReplayMachine.TestCase):  # type: ignore[misc,valid-type]
    """Every decision of every life is made again by the core, as it stands in the journal."""

    settings = settings(max_examples=150, stateful_step_count=40, suppress_health_check=CHECKS)
