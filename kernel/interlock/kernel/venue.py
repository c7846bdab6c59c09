"""What passes in every mode: cancels, and what the venue says."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from interlock.core.errors import MisuseError
from interlock.journal import records
from interlock.kernel.inside import Inside, Slip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from interlock.core.values import Cancel, Fill, Order


__all__ = ["Venue"]

T = TypeVar("T")


class Venue(Inside):
    """The part of the kernel that cancels pass, and that hears the venue."""

    # -- Cancels -------------------------------------------------------------------------------------

    def cancel(self, cancel: Cancel, send: Callable[[Cancel], T]) -> T:
        """Send a cancel. It passes in every mode, with or without a journal.

        Returns:
            What ``send`` returned; what it raised is raised.
        """
        slip = self._cancelling(cancel)
        try:
            result = send(cancel)
        except BaseException as error:
            self._cancelled(slip, error)
            raise
        self._cancelled(slip, None)
        return result

    async def cancel_async(self, cancel: Cancel, send: Callable[[Cancel], Awaitable[T]]) -> T:
        """As `cancel`, for asyncio."""
        slip = self._cancelling(cancel)
        try:
            result = await send(cancel)
        except BaseException as error:
            self._cancelled(slip, error)
            raise
        self._cancelled(slip, None)
        return result

    def _cancelling(self, cancel: Cancel) -> Slip:
        """Have a cancel recorded before it leaves; if that has to wait for a hung disk, the cancel does not."""
        slip = Slip(cancel)
        self._say(partial(self._say_cancel, slip))  # what else is to be done waits until the cancel has left
        return slip

    def _cancelled(self, slip: Slip, error: BaseException | None) -> None:
        """Have it recorded how a cancel ended."""
        failure = None if error is None else records.failure(error)
        self._say(partial(self._say_cancel_end, slip, failure), quiet=True)

    # -- What the venue says -------------------------------------------------------------------------

    def on_accept(self, order_id: str, venue_id: str | None = None) -> None:
        """The venue has the order. Resolves an order whose send had an unknown outcome."""
        with self._lock:
            self._attached()
            self._core.on_accept(order_id)
            if self._inputs is not None:
                self._inputs.odd_id(order_id)
            said = None if venue_id is None else records.text(venue_id)
            self._recorder.note("accept", id=records.name(order_id), venue_id=said)
            self._handle()

    def on_fill(self, fill: Fill) -> None:
        """The venue executed (a part of) the order. A fill id that was seen before changes nothing."""
        with self._lock:
            self._attached()
            known = self._core.on_fill(fill)
            if known is not None:
                self._recorder.fill(fill, known=known)
            elif self._inputs is not None and self._core.notices:
                self._inputs.unread(fill)
            self._handle()

    def on_cancelled(self, order_id: str, reason: str = "") -> None:
        """The order is gone from the venue: cancelled or expired."""
        self._on_closed("cancelled", order_id, reason)

    def on_reject(self, order_id: str, reason: str = "") -> None:
        """The venue refused the order."""
        self._on_closed("reject", order_id, reason)

    def settle(self, order_id: str, filled: Decimal, *, reason: str = "", rejected: bool = False) -> bool:
        """Close an order that the venue was asked about and is done with, unless its own event came first.

        Events and answers race: an order that the venue's event has closed meanwhile stays as it is, so that it is
        never closed twice; and one of whose fills the ledger lacks some stays working until they are reported. One
        whose send has not ended stays, too, whatever the venue says of it: it may come there after the answer.

        Args:
            order_id: of the order.
            filled: how much of it the venue executed, in units.
            reason: stands in the journal.
            rejected: it was refused; otherwise cancelled or expired.

        Returns:
            True if it works no more. False: its send goes on, fills are missing, a hung disk holds the journal, or it
            is detached.
        """
        if not self._grab():
            return False
        try:
            if self._sends(order_id):
                return False
            working = self._core.working.get(order_id)
            if working is None:
                return True
            book = working.book
            told, ordered = book.sizes[str(filled)][0], book.sizes[str(working.order.quantity)][0]
            if self._closed or told is None or ordered is None or told != ordered - working.remaining:
                return False
            kind = "reject" if rejected else "cancelled"
            self._core.on_closed(order_id, kind)
            self._recorder.note(kind, id=records.name(order_id), reason=records.text(reason))
            self._handle()
            return True
        finally:
            self._lock.release()

    def _on_closed(self, kind: str, order_id: str, reason: str) -> None:
        with self._lock:
            self._attached()
            self._core.on_closed(order_id, kind)
            if self._inputs is not None:
                self._inputs.odd_id(order_id)
            self._recorder.note(kind, id=records.name(order_id), reason=records.text(reason))
            self._handle()

    def _attached(self) -> None:
        """What the venue says must not be lost: after `close` nobody would write it down.

        Raises:
            MisuseError: this kernel is detached.
        """
        if self._closed:
            message = "detached: report this to the kernel that attaches next"
            raise MisuseError(message)

    # -- What is, or may be, at the venue ------------------------------------------------------------

    def position(self, instrument: str) -> str:
        """The confirmed position, in units, as decimal text."""
        with self._lock:
            book = self._core.books[instrument]
            return book.size_text(book.position)

    def positions(self) -> dict[str, Decimal]:
        """The confirmed position of every instrument that the limits know, in units; no hung disk holds this up."""
        with self._looking():
            return {name: Decimal(book.size_text(book.position)) for name, book in self._core.books.items()}

    def working_orders(self) -> tuple[Order, ...]:
        """The orders that are, or may be, at the venue: see `works`. A hung disk does not hold this up."""
        with self._looking():
            working = (*list(self._core.working.values()), *list(self._core.in_flight.values()))
            return tuple({one.order.client_order_id: one.order for one in working}.values())

    def works(self, order_id: str) -> bool:
        """Whether an order is, or may be, at the venue: as long as its send has not ended it may still come there.

        It takes no lock, so nothing holds it up.
        """
        return order_id in self._core.working or self._sends(order_id)

    def has_token(self) -> bool:
        """Whether the message rate has room for an order now. A hung disk that holds the lock is no room either."""
        if not self._grab():
            return False
        try:
            return self._core.bucket.ready(self._mono())
        finally:
            self._lock.release()
