"""Gate 1: may the strategy be asked at all?

A strategy that is shown a stale, crossed or misplaced price will want an order that no limit can
tell from a good one. So the tick is judged first. A tick that is refused is not shown to the
strategy and does not become the reference price of gate 2 or a mark.

What a refused tick does leave behind is only what is needed to judge the next one: the time it
came in and its sequence number. So one gap refuses one tick, not the rest of the day.

This is the most travelled path of the kernel, hence one function without helpers on its good way.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from interlock.core.machine import Machine, refusal
from interlock.core.modes import ARMED
from interlock.core.reasons import Reason
from interlock.core.values import PASS, Quote, Trade, Verdict

if TYPE_CHECKING:
    from interlock.core.ledger import Book

__all__ = ["Presignal"]

_PASS: Final = PASS


class Presignal(Machine):
    """The machine with gate 1."""

    __slots__ = ()

    def consult(self, tick: Quote | Trade, latch: int, mono_ns: int, now_us: int) -> Verdict:  # noqa: C901, PLR0911, PLR0912
        """Gate 1: may the strategy be asked about this tick?

        Args:
            tick: quote or trade.
            latch: the latch byte.
            mono_ns: now, monotonic.
            now_us: now, UTC.
        """
        if latch != ARMED or not self.gate_open:
            return self.shut(latch)
        try:
            book = self.books.get(tick.instrument)
            if book is None:
                return refusal(Reason.UNKNOWN_INSTRUMENT, value=f"{tick.instrument!s:.64}")
            # One step in place of seven look-ups.
            max_age_us, max_ahead_us, max_silence_us, backwards, crossed, non_positive, gaps = self.gate1_checks
            silent_us = now_us - book.last_received_us
            book.last_received_us = now_us
            sequence = tick.sequence
            if sequence is not None:
                if sequence.__class__ is not int:
                    return refusal(Reason.TICK_MALFORMED, "sequence: a whole number", f"{sequence!r:.40}")
                expected = sequence if book.last_sequence is None else book.last_sequence + 1
                book.last_sequence = sequence
            else:
                expected = None
            ts_us = tick.ts_us
            if ts_us.__class__ is not int:
                return refusal(Reason.TICK_MALFORMED, "ts_us: whole microseconds", f"{ts_us!r:.40}")
            age_us = now_us - ts_us
            if age_us > max_age_us:
                return refusal(Reason.TICK_STALE, max_age_us, age_us)
            if -age_us > max_ahead_us:
                return refusal(Reason.TICK_FROM_FUTURE, max_ahead_us, -age_us)
            if ts_us < book.last_ts_us and backwards:
                return refusal(Reason.TICK_BACKWARDS, book.last_ts_us, ts_us)
            if tick.__class__ is Quote:
                bid, ask = tick.bid, tick.ask
            elif tick.__class__ is Trade:
                bid = ask = tick.price
            else:
                return refusal(Reason.TICK_MALFORMED, "Quote or Trade", type(tick).__name__)
            if bid.__class__ is not Decimal or ask.__class__ is not Decimal:
                return refusal(Reason.TICK_MALFORMED, "Decimal", f"{bid!r:.40} {ask!r:.40}")
            bid_price, bid_text, _ = book.prices[str(bid)]
            ask_price, ask_text, _ = book.prices[str(ask)]
            if bid_price is None or ask_price is None:
                return refusal(Reason.TICK_MALFORMED, f"{book.price_digits} decimals", f"{bid_text} {ask_text}")
            if (bid_price <= 0 or ask_price <= 0) and non_positive:
                return refusal(Reason.PRICE_NOT_POSITIVE, "0", f"{bid_text} {ask_text}")
            if bid_price > ask_price and crossed:
                return refusal(Reason.QUOTE_CROSSED, ask_text, bid_text)
            if sequence != expected and gaps:
                return refusal(Reason.SEQUENCE_GAP, expected, sequence)
            if silent_us > max_silence_us:
                return refusal(Reason.FEED_SILENCE, max_silence_us, silent_us)
            if mono_ns - self.beat_ns > self.beat_overdue_ns:
                return refusal(Reason.HEARTBEAT_OVERDUE, self.beat_overdue_ns, mono_ns - self.beat_ns)
            book.last_ts_us = ts_us
            book.reference = (bid_price, bid_text, ask_price, ask_text)
            book.reference_mono_ns = mono_ns
            if (book.position or book.account.breached is not None) and self._mark(book, bid_price, ask_price):
                return self.shut(latch)
        except Exception as error:  # noqa: BLE001 - a check that raises refuses, whatever it raises
            return self.raised(error)
        return _PASS

    def _mark(self, book: Book, bid: int, ask: int) -> bool:
        """Value the position at a good tick. True if that confirmed a loss, and the kernel halted."""
        account = book.account
        position = book.position
        distinct = bid != book.mark_bid or ask != book.mark_ask or not book.marked
        if distinct:
            book.marked = True
            book.mark_bid = bid
            book.mark_ask = ask
            worth = book.cash + position * (bid if position > 0 else ask) * book.money_factor
            account.equity = equity = account.equity + worth - book.worth
            book.worth = worth
        else:
            equity = account.equity
        if account.breached is None:
            if equity > account.peak:
                account.peak = equity
                return False
            if equity > account.floor and account.peak - equity < account.max_drawdown:
                return False
        self.assess(book, distinct=distinct)
        return not self.gate_open
