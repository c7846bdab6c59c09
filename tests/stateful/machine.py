"""A state machine over the real kernel, its home and its journal, with an oracle that knows none of its code.

The oracle is the world's side: what the venue saw, whether somebody halted or something was lost since
the last start, which orders the venue still has, and the limits recomputed in plain fractions. All
of its claims are made where the venue is reached (`World.arrives`) or after a call.

A subclass sets ``kernel_class``; with one that has a defect the machine must fail (`test_seeded_bugs`).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.helpers import (
    LIMITS,
    NAME,
    FakeClock,
    abandon,
    arm,
    cancel,
    fill,
    halt_home,
    of_kind,
    reset_home,
    verified,
)

from interlock import HomeError, Kernel, Mode, Order, OrderType, Outcome, Permit, PermitError, Quote, Side
from interlock.breaker.home import Home
from interlock.breaker.memory import clear
from interlock.core.modes import ARMED
from interlock.verify import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock import HaltReport, Verdict

MAX_QUANTITY: Final = Fraction(10)
MAX_POSITION: Final = Fraction(8)
MAX_NOTIONAL: Final = Fraction(900)
MAX_OPEN: Final = 6
COLLAR: Final = Fraction(1000, 10_000)
TIGHT: Final = (
    LIMITS.replace("max_notional = 10000", "max_notional = 900")
    .replace("max_position = 50", "max_position = 8")
    .replace("max_open_orders = 200", "max_open_orders = 6")
    .replace("max_session_loss = 1000", "max_session_loss = 1000000")
    .replace("max_drawdown = 1000", "max_drawdown = 1000000")
)
_SHM: Final = Path("/dev/shm")

quantities = st.sampled_from(["0.1", "1", "3", "9", "10"]) | st.sampled_from(
    ["0", "-1", "0.05", "10.1", "11", "NaN", "Infinity", "1E+30"]
)
prices = st.sampled_from(["95", "99.5", "100", "104.5", "109.5"]) | st.sampled_from(
    ["100.25", "0", "-100", "150", "50", "NaN", None]
)
plain = st.fixed_dictionaries(
    {
        "side": st.sampled_from(Side),
        "quantity": st.sampled_from(["0.1", "1", "3"]),
        "price": st.sampled_from(["99.5", "100"]),
    }
)
wild = st.fixed_dictionaries(
    {"side": st.sampled_from(Side), "quantity": quantities, "price": prices, "reduce_only": st.booleans()}
)


likely = st.sampled_from([True, True, False])


@attrs.define
class Live:
    """An order that the venue has, or may have."""

    buys: bool
    left: Fraction
    reduces: bool


class World:
    """The oracle."""

    def __init__(self) -> None:
        self.may_send = False
        """Somebody started, and since then nobody halted or stopped, and no heartbeat came after a loss."""
        self.racing = False
        """Another thread is halting just now: both is right."""
        self.epoch = 1
        self.position = Fraction(0)
        self.live: dict[str, Live] = {}
        self.ids: set[str] = set()
        self.reference: tuple[Fraction, Fraction] | None = None
        self.last_us = 0
        self.doubtful: set[str] = set()
        self.closed: dict[str, Live] = {}
        """What the venue took off since the last heartbeat: a crash may forget that, which errs on the safe side."""

    def side_left(self, *, buys: bool) -> Fraction:
        """What the orders of one side can still fill."""
        return sum((one.left for one in self.live.values() if one.buys is buys), Fraction(0))

    def within(self, order: Order) -> bool:
        """Whether the limits let this order through, by fractions."""
        if not order.quantity.is_finite() or (order.price is not None and not order.price.is_finite()):
            return False
        quantity = Fraction(order.quantity)
        buys = order.side is Side.BUY
        if self.reference is None or order.client_order_id in self.ids:
            return False
        bid, ask = self.reference
        middle = (bid + ask) / 2
        price = Fraction(order.price) if order.price is not None else (ask if buys else bid)
        coming = (self.position if buys else -self.position) + self.side_left(buys=buys)
        exits = any(one.buys is buys and one.reduces for one in self.live.values())
        return (
            0 < quantity <= MAX_QUANTITY
            and quantity * 10 == int(quantity * 10)
            and price > 0
            and (order.price is None or price * 2 == int(price * 2))
            and abs(price - middle) <= COLLAR * middle
            and quantity * max(price, middle) <= MAX_NOTIONAL
            and coming + quantity <= MAX_POSITION
            and (coming + quantity <= 0 or not (order.reduce_only or exits))
            and len(self.live) < MAX_OPEN
        )

    def arrives(self, order: Order) -> None:
        """An order is at the venue's door: everything that must hold, must hold now."""
        if not (self.may_send or self.racing):
            message = f"NoEmitAfterHalt: the venue saw {order.client_order_id}"
            raise AssertionError(message)
        if not self.within(order):
            message = f"limits: the venue saw {order} at {self.position} with {self.live}"
            raise AssertionError(message)
        self.ids.add(order.client_order_id)
        buys = order.side is Side.BUY
        self.live[order.client_order_id] = Live(buys, Fraction(order.quantity), order.reduce_only)

    def good(self, tick: Quote, now_us: int) -> bool:
        """Whether a strategy may see this tick, by fractions."""
        age = now_us - tick.ts_us
        bid, ask = Fraction(tick.bid), Fraction(tick.ask)
        return age <= 1_000_000 and age >= -100_000 and tick.ts_us >= self.last_us and 0 < bid <= ask


class KernelMachine(RuleBasedStateMachine):
    """See the module."""

    kernel_class: ClassVar[type[Kernel]] = Kernel

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=_SHM if _SHM.is_dir() else None))
        self.home = self.place / "home"
        self.clock = FakeClock()
        self.world = World()
        self.number = 0
        self.lost = False
        self.tainted = False
        self.rearmed = False
        """Somebody reset the home, and this process, which had lost a file of it, stays HALTED till its end."""
        self.kernel: Kernel | None = None
        self.kept: list[Permit] = []
        self.broken: BaseException | None = None

    @initialize(durability=st.sampled_from(["disk", "process"]))
    def make(self, durability: str) -> None:
        """An armed home, and a kernel on it."""
        self.durability = durability
        arm(self.home, TIGHT, clock=self.clock)
        shutil.copy2(self.home / "latch.json", self.place / "latch.old")
        self.attach()

    def attach(self) -> None:
        """A process comes up."""
        self.kernel = self.kernel_class.attach(self.home, operator="ann", durability=self.durability, clock=self.clock)
        self.lost = self.rearmed = False
        self.tainted = not (self.home / "page").exists()  # a page made by a reset is seen by the next process
        self.world.may_send = False
        self.world.reference = None
        self.world.last_us = 0

    @property
    def engine(self) -> Kernel:
        """The kernel, attached."""
        kernel = self.kernel
        if kernel is None:
            raise AssertionError
        return kernel

    # -- Sends -------------------------------------------------------------------------------------

    def send(self, inside: Callable[[Order], object] | None = None) -> Callable[[Permit], object]:
        """A gateway's send, which looks into the journal before the venue gets the order."""

        def gateway(permit: Permit) -> str:
            order = permit.redeem()
            try:
                self.world.arrives(order)
                found = [record for record in of_kind(self.home, "permit") if record["id"] == order.client_order_id]
                if not found or found[-1]["quantity"] != _plain(order.quantity):
                    message = f"JournalBeforeEmit: no permit record of {order.client_order_id}"
                    raise AssertionError(message)
            except AssertionError as error:
                self.broken = error  # the kernel takes what a send raises for an unknown outcome
                raise
            if inside is not None:
                inside(order)
            return "ack"

        return gateway

    def order(self, given: dict[str, object], *, fresh: bool = True) -> Order:
        """An order, with a new id or an old one."""
        self.number += fresh
        price = given["price"]
        return Order(
            client_order_id=f"o{self.number}",
            instrument=NAME,
            side=given["side"],  # type: ignore[arg-type]
            quantity=Decimal(str(given["quantity"])),
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            price=None if price is None else Decimal(str(price)),
            reduce_only=bool(given.get("reduce_only", False)),
        )

    def prepare(self, *, wanted: bool) -> None:
        """Bring the kernel to RUNNING with a reference, by acts of an operator: else most of a life is spent halted."""
        if not wanted or (self.world.may_send and not self.lost and self.world.reference is not None):
            return
        if self.tainted or self.lost:
            self.restart()
        if self.engine.mode is Mode.HALTED:
            self.reset(0, outside=False)
        if self.engine.mode is Mode.HALTED:  # what was lost is there again, but this process had it lost
            self.restart()
        self.start()
        self.tick("99.5", "1", 0)
        assert self.world.may_send
        if self.world.reference is None:  # an earlier tick came from the future
            self.clock.advance(200)
            self.tick("99.5", "1", 0)
        assert self.world.reference is not None

    def submitted(self, order: Order, verdict: Verdict) -> None:
        """What must be true of every verdict."""
        if self.broken is not None:
            raise self.broken
        at_venue = order.client_order_id in self.world.ids
        assert not verdict or at_venue
        if not verdict:
            assert verdict.outcome in {None, Outcome.VOID}

    @rule(given=plain, ready=likely)
    def submit(self, given: dict[str, object], ready: bool) -> None:
        """A sensible order passes exactly when the oracle says so."""
        self.prepare(wanted=ready)
        order = self.order(given)
        wanted = self.world.may_send and self.world.within(order)
        verdict = self.engine.submit(order, self.send())
        self.submitted(order, verdict)
        assert bool(verdict) is wanted, (verdict, wanted)

    @rule(given=wild, fresh=st.booleans(), ready=likely)
    def submit_wild(self, given: dict[str, object], fresh: bool, ready: bool) -> None:
        """Any order at all, perhaps with an id that was used."""
        self.prepare(wanted=ready)
        order = self.order(given, fresh=fresh)
        if order.client_order_id in self.world.ids:
            assert not self.engine.submit(order, self.send())
            return
        self.submitted(order, self.engine.submit(order, self.send()))

    @rule(given=plain, sent=st.booleans(), ready=likely)
    def submit_raising(self, given: dict[str, object], sent: bool, ready: bool) -> None:
        """A send that raises, before or after the venue got the order."""
        self.prepare(wanted=ready)

        def fails(permit: Permit) -> None:
            if sent:
                self.send()(permit)
            raise TimeoutError

        order = self.order(given)
        if not sent:
            wanted = self.world.may_send and self.world.within(order)
            verdict = self.engine.submit(order, fails)
            assert bool(verdict) is wanted
            if verdict:  # the kernel can't know that it never left: it counts
                self.world.arrives(order)
        else:
            verdict = self.engine.submit(order, fails)
        self.submitted(order, verdict)
        if verdict:
            assert verdict.outcome is Outcome.UNKNOWN
            self.world.doubtful.add(order.client_order_id)

    @rule(given=plain, ready=likely)
    def submit_and_keep(self, given: dict[str, object], ready: bool) -> None:
        """A send that keeps its permit finds it worthless afterwards."""
        self.prepare(wanted=ready)
        kept: list[Permit] = []
        order = self.order(given)
        verdict = self.engine.submit(order, kept.append)
        assert bool(verdict) is bool(kept)
        if not kept:
            return
        self.world.arrives(order)
        with contextlib.suppress(PermitError):
            kept[0].redeem()
            raise AssertionError("OnePermitOneSend: a kept permit was good after its send")

    @rule(given=plain, ready=likely)
    def submit_while_halting(self, given: dict[str, object], ready: bool) -> None:
        """Another thread halts while an order is inside its send: unconfirmed, naming it; then confirmed."""
        self.prepare(wanted=ready)
        reports: list[HaltReport] = []

        def inside(_: Order) -> None:
            thread = threading.Thread(target=lambda: reports.append(self.engine.halt("inside", timeout_s=0.0)))
            thread.start()
            thread.join(60)

        order = self.order(given)
        verdict = self.engine.submit(order, self.send(inside))
        self.submitted(order, verdict)
        if verdict:
            assert not reports[0].confirmed, "AckMeansQuiescent: confirmed during a send"
            assert [flight.client_order_id for flight in reports[0].in_flight] == [order.client_order_id]
            self.world.may_send = False
            assert self.engine.halt("once more").confirmed or self.lost or self.tainted

    @precondition(lambda self: self.durability == "disk")
    @rule(given=plain, byte_only=st.booleans(), ready=likely)
    def submit_halted_during_sync(self, given: dict[str, object], byte_only: bool, ready: bool) -> None:
        """Another process halts while an order waits for the disk: it must not be sent."""
        self.prepare(wanted=ready)
        journal = self.engine._journal
        real = journal._sink
        once: list[bool] = []

        class Sink:
            write = staticmethod(real.write)

            @staticmethod
            def sync() -> None:
                if not once:
                    once.append(True)
                    self.world.may_send = False
                    if byte_only and self.engine._sentinel.page is not None:
                        self.engine._sentinel.page.map[0] = 0
                    else:
                        halt_home(self.home)
                real.sync()

        journal._sink = Sink()
        order = self.order(given)
        try:
            verdict = self.engine.submit(order, self.send())
        finally:
            journal._sink = real
        self.submitted(order, verdict)
        assert not verdict

    @rule(givens=st.lists(plain, min_size=1, max_size=4), threads=st.integers(1, 3), ready=likely)
    def submit_against_halts(self, givens: list[dict[str, object]], threads: int, ready: bool) -> None:
        """Threads halt while orders are submitted: after the last of them nothing is sent."""
        self.prepare(wanted=ready)
        barrier = threading.Barrier(threads + 1)

        def halter() -> None:
            barrier.wait(60)
            self.engine.halt("race", timeout_s=0.0)

        running = [threading.Thread(target=halter) for _ in range(threads)]
        for thread in running:
            thread.start()
        self.world.racing = self.world.may_send
        barrier.wait(60)
        for given in givens:
            order = self.order(given)
            self.submitted(order, self.engine.submit(order, self.send()))
        for thread in running:
            thread.join(60)
        self.world.racing = self.world.may_send = self.rearmed = False
        assert self.engine.mode is Mode.HALTED
        sure = self.engine.halt("sure").confirmed
        assert sure or self.lost or self.tainted  # nobody can tell, once the lock file is gone

    # -- Ticks, venue, cancels -----------------------------------------------------------------------

    @rule(
        bid=st.sampled_from(["99.5", "100", "104"]),
        spread=st.sampled_from(["0", "0.5", "1"]) | st.just("-0.5"),
        age_ms=st.sampled_from([0, 0, 0, 1000, 1001, 5000, -100, -101]),
    )
    def tick(self, bid: str, spread: str, age_ms: int) -> None:
        """A tick passes gate 1 exactly when it is good and the kernel is RUNNING."""
        now = self.clock.utc_us()
        quote = Quote(instrument=NAME, ts_us=now - age_ms * 1000, bid=Decimal(bid), ask=Decimal(bid) + Decimal(spread))
        wanted = self.world.may_send and self.world.good(quote, now)
        verdict = self.engine.consult(quote)
        assert bool(verdict) is wanted, (verdict, wanted)
        if verdict:
            self.world.last_us = quote.ts_us
            self.world.reference = (Fraction(quote.bid), Fraction(quote.ask))

    @rule(ms=st.sampled_from([1, 50, 900]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.clock.advance(ms)

    @rule(pick=st.integers(0, 5), part=st.sampled_from(["all", "some"]))
    def filled(self, pick: int, part: str) -> None:
        """The venue fills an order that it has."""
        if not self.world.live:
            return
        name = sorted(self.world.live)[pick % len(self.world.live)]
        live = self.world.live[name]
        quantity = live.left if part == "all" else min(live.left, Fraction(1, 10))
        self.number += 1
        text = str(Decimal(quantity.numerator) / Decimal(quantity.denominator))
        self.engine.on_fill(fill(name, f"f{self.number}", side=Side.BUY if live.buys else Side.SELL, quantity=text))
        self.world.position += quantity if live.buys else -quantity
        live.left -= quantity
        if not live.left:
            del self.world.live[name]
        self.world.doubtful.discard(name)

    @rule(pick=st.integers(0, 5), how=st.sampled_from(["accept", "cancelled", "reject"]))
    def venue_says(self, pick: int, how: str) -> None:
        """The venue speaks of an order that it has."""
        if not self.world.live:
            return
        name = sorted(self.world.live)[pick % len(self.world.live)]
        if how == "accept":
            self.engine.on_accept(name, "v")
        else:
            (self.engine.on_cancelled if how == "cancelled" else self.engine.on_reject)(name)
            self.world.closed[name] = self.world.live.pop(name)
        self.world.doubtful.discard(name)

    @rule()
    def cancels(self) -> None:
        """A cancel reaches the venue in every mode, whatever was lost."""
        reached: list[str] = []
        self.engine.cancel(cancel("c"), lambda wanted: reached.append(wanted.client_order_id))
        assert reached == ["c"], "CancelsAlwaysPass"

    # -- Modes ----------------------------------------------------------------------------------------

    @rule()
    def start(self) -> None:
        """A start passes only from an armed IDLE."""
        halted = self.engine.mode is Mode.HALTED
        before = self.world.may_send
        if self.lost:
            self.world.may_send = False
        if self.engine.start():
            assert not halted, "HaltIsLatching: a start left HALTED"
            assert not self.lost, "AbsenceMeansHalted: a start over a loss"
            self.world.may_send = True
        elif self.engine.mode is Mode.RUNNING:
            self.world.may_send = before  # it was RUNNING already

    @rule()
    def stop(self) -> None:
        """A stop drains: nothing is in flight here."""
        was = self.engine.mode
        report = self.engine.stop()
        assert report.stopped is (was is Mode.RUNNING)
        self.world.may_send = False

    @rule()
    def halt(self) -> None:
        """A halt is confirmed and durable, unless what it would be written to, or asked of, is lost."""
        report = self.engine.halt("pulled")
        assert self.lost or self.tainted or report.confirmed
        assert not self.engine.in_flight()
        assert self.lost or self.tainted or report.durable
        self.world.may_send = self.rearmed = False

    @rule()
    def external_halt(self) -> None:
        """Another process halts the home."""
        found = halt_home(self.home)
        if self.lost or self.tainted:  # its page or lock may not be the ones that the kernel has
            self.engine.heartbeat()
        self.world.may_send = self.rearmed = False
        assert self.engine.mode is Mode.HALTED
        if found.confirmed:
            assert not self.engine.in_flight()

    @rule(off=st.sampled_from([0, 0, 0, -1, 1, 5]), outside=st.booleans())
    def reset(self, off: int, outside: bool) -> None:
        """A reset needs HALTED and the current epoch; it leads to IDLE and starts nothing."""
        was = self.engine.mode
        epoch = self.world.epoch + off
        try:
            if outside:
                reset_home(self.home, epoch, known_epoch=self.world.epoch)
            else:
                self.engine.reset(operator="bob", reason="looked into", epoch=epoch)
        except HomeError:
            assert off or outside or was is not Mode.HALTED or self.lost or self.tainted
            return
        assert not off, "a reset took another epoch than the current one"
        assert was is Mode.HALTED or self.lost or self.tainted, "a reset of what was not halted"
        self.world.epoch += 1
        self.world.may_send = False
        self.engine.heartbeat()
        assert self.engine.mode is not Mode.RUNNING, "a reset started something"
        self.rearmed = self.engine.mode is Mode.HALTED
        if not (self.lost or self.tainted):
            assert self.engine.mode is Mode.IDLE
            assert self.engine.epoch == self.world.epoch
        elif self.engine.mode is Mode.IDLE:
            self.lost = False

    @rule()
    def heartbeat(self) -> None:
        """By a heartbeat after a loss the kernel is HALTED."""
        self.engine.heartbeat()
        self.world.closed.clear()
        if self.lost:
            self.world.may_send = False
            assert self.engine.mode is Mode.HALTED, "AbsenceMeansHalted: not by the next heartbeat"

    # -- Losses and restarts ----------------------------------------------------------------------------

    @rule(what=st.sampled_from(["latch deleted", "latch copied", "latch old", "page deleted", "lock deleted"]))
    def lose(self, what: str) -> None:
        """A file of the home is deleted or replaced."""
        name = {"latch": "latch.json", "page": "page", "lock": "lock"}[what.split(maxsplit=1)[0]]
        path = self.home / name
        if what == "latch deleted" and not (self.home / "page").exists():
            return  # then nothing says any more whose home it is, and it is halted for good
        if what == "page deleted" and not (self.home / "latch.json").exists():
            return
        if what in {"latch deleted", "latch old"} and self.engine.mode is Mode.HALTED:
            self.world.epoch = self.engine.epoch  # a reset that no engine adopted yet stood only there
        if what.endswith("deleted"):
            path.unlink(missing_ok=True)
        elif what.endswith("old"):
            shutil.copy2(self.place / "latch.old", self.place / "copy")
            (self.place / "copy").replace(path)
        elif path.exists():
            shutil.copy2(path, self.place / "copy")
            (self.place / "copy").replace(path)
        if self.engine.mode is not Mode.HALTED:
            self.lost = True
        self.tainted = True
        self.rearmed = False

    def _expect_halted(self) -> bool:
        """Whether the next attach must be HALTED: it was halted, or a witness is missing."""
        gone = any(not (self.home / name).exists() for name in ("latch.json", "page"))
        return gone or (self.engine.mode is Mode.HALTED and not self.rearmed)

    @rule()
    def restart(self) -> None:
        """The engine closes and comes up again: never RUNNING, and HALTED if it was."""
        halted = self._expect_halted()
        self.engine.close()
        self.world.closed.clear()
        self._up(halted=halted)

    @rule(torn=st.binary(max_size=20).map(lambda noise: noise.replace(b"\0", b"")), copy=st.booleans())
    def crash(self, torn: bytes, copy: bool) -> None:
        """The process dies, perhaps in the midst of a write, perhaps on to a machine that has a copy of the files."""
        halted = self._expect_halted()
        segment = self.engine._sentinel.segment.path
        abandon(self.engine)
        if copy and halted:  # a halt that is in memory alone does not go with the files
            latch, fault, _ = Home(self.home).latch_state()
            armed = fault is None and latch is not None and latch.state == "ARMED"
            halted = not (armed and (self.home / "page").read_bytes()[0] == ARMED)
        self.world.doubtful |= self.world.live.keys()
        if torn:
            kept = segment.read_bytes().rstrip(b"\0")
            segment.write_bytes(kept + b"{" + torn.replace(b"\n", b""))
        if copy:
            shutil.copytree(self.home, self.place / "twin")
            clear(self.home)
            shutil.rmtree(self.home)
            (self.place / "twin").rename(self.home)
        self._up(halted=halted)
        for order in self.engine.working_orders():
            name = order.client_order_id
            if name in self.world.closed:
                self.world.live[name] = self.world.closed[name]
                self.world.doubtful.add(name)
        self.world.closed.clear()

    def _up(self, *, halted: bool) -> None:
        try:
            self.attach()
        except HomeError:
            assert not (self.home / "lock").exists()
            halt_home(self.home)  # what an operator does about a lock that is gone
            reset_home(self.home, self.world.epoch, known_epoch=self.world.epoch)
            self.world.epoch += 1
            self.attach()
            halted = False
        assert self.engine.mode is not Mode.RUNNING, "HaltIsLatching: a restart started"
        if halted:
            assert self.engine.mode is Mode.HALTED, "HaltIsLatching: a restart left HALTED"
        self.engine.heartbeat()

    # -- Always -----------------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        """The kernel never forgets an order that the venue may have, nor its position."""
        if self.kernel is None:
            return
        if self.broken is not None:
            raise self.broken
        working = {order.client_order_id for order in self.kernel.working_orders()}
        differ = working ^ self.world.live.keys()
        assert not differ, f"an order is forgotten, or made up: {differ}"
        assert Fraction(self.kernel.position(NAME)) == self.world.position
        if self.kernel.mode is not Mode.RUNNING:
            assert not (self.world.may_send and not self.lost)

    def teardown(self) -> None:
        """At the end the independent verifier reads the journal."""
        try:
            if self.kernel is not None:
                self.kernel.close()
            if self.kernel is not None and self.broken is None:  # else that is what is to be told
                report = verified(self.home)
                allowed = {Status.VERIFIED, Status.IN_DOUBT} if self.world.doubtful else {Status.VERIFIED}
                assert report.status in allowed, (report.verdict, report.findings, report.in_doubt)
                assert {doubt.order for doubt in report.in_doubt} <= self.world.doubtful
        finally:
            clear(self.home)  # another home may get its inode
            shutil.rmtree(self.place, ignore_errors=True)


def _plain(value: Decimal) -> str:
    """A quantity as it stands in a journal."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
