"""What the pure functions of the core promise, as contracts that CrossHair tries to break with every input there is.

Each function here asks one thing of the core, under preconditions and with a postcondition (PEP 316). CrossHair runs it
with symbols in place of numbers and has z3 look for values that break the postcondition; where it says *confirmed over
all paths*, there are none: not among those that somebody thought of, but at all.

It can't go everywhere. Whole numbers, truths and enumerations are its ground. Text and `Decimal` are not: there it
tries values, and never comes to an end. So the conversions between text, decimals and whole numbers (`scaled`,
`unscaled`, `Scale`), and `fits`, which compares texts and a Decimal, are left to Hypothesis, and what is reckoned after
the conversion is here. Nor does it go into threads, files, or hashes; of the Merkle tree it sees which leaves each hash
is of.
"""

from __future__ import annotations

from typing import Any

from interlock.core.flow import TokenBucket
from interlock.core.ledger import Account, Book, Status, Working
from interlock.core.limits import NEVER
from interlock.core.modes import NEXT, Mode, Trigger
from interlock.core.preorder import _exposure
from interlock.core.reasons import Reason  # noqa: TC001 - CrossHair asks for the types when it runs
from interlock.core.values import Verdict  # noqa: TC001
from interlock.journal.proofs import spans

# -- Modes -----------------------------------------------------------------------------------------


def only_a_reset_leaves_halted(mode: Mode, trigger: Trigger) -> Mode | None:
    """`HaltIsLatching`, in the table.

    post: mode is not Mode.HALTED or __return__ in (None, Mode.HALTED) or trigger is Trigger.RESET
    """
    return NEXT.get((mode, trigger))


def only_a_start_runs(mode: Mode, trigger: Trigger) -> Mode | None:
    """RUNNING is where a start leads from IDLE, and nothing else does.

    post: __return__ is not Mode.RUNNING or (mode is Mode.IDLE and trigger is Trigger.START)
    """
    return NEXT.get((mode, trigger))


# -- The message rate ------------------------------------------------------------------------------


def bucket_stays_within_one_burst(per_second: int, burst: int, times: tuple[int, int, int]) -> int:
    """However time goes, no more than a burst is there, and no more than a burst is owed.

    pre: per_second >= 1 and burst >= 1
    post: -burst <= __return__ <= burst
    """
    bucket = TokenBucket(per_second, burst)
    for mono_ns in times:
        bucket.ready(mono_ns)
        bucket.take()
    return bucket.tokens


def bucket_fills_no_faster_than_its_rate(per_second: int, burst: int, passed: int) -> tuple[int, int]:
    """What a span of time brings is at most the rate times the span.

    pre: per_second >= 1 and burst >= 1 and passed >= 0
    post: (__return__[1] - __return__[0]) <= passed * per_second
    """
    bucket = TokenBucket(per_second, burst)
    bucket.take()
    before = bucket._level
    bucket.ready(passed)
    return before, bucket._level


def bucket_takes_nothing_back(per_second: int, burst: int, now: int, earlier: int) -> tuple[int, int]:
    """A clock that goes back neither fills the bucket nor empties it.

    pre: per_second >= 1 and burst >= 1 and earlier <= now
    post: __return__[0] == __return__[1]
    """
    bucket = TokenBucket(per_second, burst)
    bucket.take()
    bucket.ready(now)
    before = bucket._level
    bucket.ready(earlier)
    return before, bucket._level


# -- Losses ----------------------------------------------------------------------------------------


def _account(equity: int, opening: int, peak: int, max_loss: int, max_drawdown: int) -> Account:
    account = Account("USD", 2, None)
    account.equity, account.opening, account.peak = equity, opening, peak
    account.max_loss, account.max_drawdown = max_loss, max_drawdown
    account.floor = opening - max_loss
    return account


def loss_is_seen_at_exactly_its_limit(equity: int, opening: int, peak: int, loss: int, drawdown: int) -> Reason | None:
    """A limit is reached when the loss since the opening, or since the peak, is as large as it; not before.

    pre: loss > 0 and drawdown > 0 and peak >= opening
    post: (__return__ is None) == (opening - equity < loss and max(peak, equity) - equity < drawdown)
    """
    return _account(equity, opening, peak, loss, drawdown).assess()


def peak_never_falls(equity: int, opening: int, peak: int, loss: int, drawdown: int) -> int:
    """The peak is the highest equity, and looking does not lower it.

    pre: loss > 0 and drawdown > 0
    post: __return__ == max(peak, equity)
    """
    account = _account(equity, opening, peak, loss, drawdown)
    account.assess()
    return account.peak


def session_begins_without_a_loss(equity: int, opening: int, peak: int, loss: int, drawdown: int) -> Reason | None:
    """At the opening nothing is lost yet.

    pre: loss > 0 and drawdown > 0
    post: __return__ is None
    """
    account = _account(equity, opening, peak, loss, drawdown)
    account.begin_session()
    return account.assess()


# -- The ledger ------------------------------------------------------------------------------------


class _Quiet(Book):
    """A book that writes no numbers down: text is no ground for symbols."""

    __slots__ = ()

    def size_text(self, quantity: int) -> str:
        """Nothing."""
        del quantity
        return ""


def _book(**fields: Any) -> Book:
    book = object.__new__(_Quiet)
    zero = dict.fromkeys(
        ("position", "cash", "worth", "buying", "selling", "exits_buying", "exits_selling", "open_orders", "mark_bid",
         "mark_ask"), 0,
    )  # fmt: skip
    for name, value in (zero | {"marked": False, "reference": None, "money_factor": 1} | fields).items():
        setattr(book, name, value)
    return book


def _working(book: Book, remaining: int, *, buys: bool, reduces: bool, price: int = 0) -> Working:
    working = object.__new__(Working)
    working.book, working.remaining, working.buys, working.reduces = book, remaining, buys, reduces
    working.price, working.size_text, working.status = price, "", Status.GRANTED
    return working


def what_is_reserved_is_given_back(
    first: int, second: int, filled: int, buys: tuple[bool, bool], reduces: tuple[bool, bool]
) -> tuple[int, int, int, int]:
    """Two orders that are over leave no reservation, in whatever parts theirs were given back.

    pre: first > 0 and second > 0 and 0 <= filled <= first
    post: __return__ == (0, 0, 0, 0)
    """
    book = _book()
    one = _working(book, first, buys=buys[0], reduces=reduces[0])
    other = _working(book, second, buys=buys[1], reduces=reduces[1])
    book.reserve(one)
    book.reserve(other)
    book.release(one, filled)
    book.release(other, other.remaining)
    book.release(one, one.remaining)
    return book.buying, book.selling, book.exits_buying, book.exits_selling


def exits_are_part_of_what_is_reserved(
    first: int, second: int, buys: tuple[bool, bool], reduces: tuple[bool, bool]
) -> tuple[int, int, int, int]:
    """What is reserved for exits is never more than all that is reserved on that side.

    pre: first > 0 and second > 0
    post: __return__[0] <= __return__[1] and __return__[2] <= __return__[3]
    """
    book = _book()
    book.reserve(_working(book, first, buys=buys[0], reduces=reduces[0]))
    book.reserve(_working(book, second, buys=buys[1], reduces=reduces[1]))
    return book.exits_buying, book.buying, book.exits_selling, book.selling


def round_trip_costs_its_fees(quantity: int, price: int, fees: tuple[int, int], *, buys: bool) -> tuple[int, int]:
    """To buy and to sell as much at one price, in either order, leaves no position, and the fees as the only loss.

    pre: quantity > 0
    post: __return__ == (0, -fees[0] - fees[1])
    """
    account = _account(0, 0, 0, 1, 1)
    book = _book(account=account)
    book.execute(buys=buys, quantity=quantity, price=price, fee=fees[0])
    book.execute(buys=not buys, quantity=quantity, price=price, fee=fees[1])
    return book.position, account.equity


# -- Gate 2 ----------------------------------------------------------------------------------------


def _judged(position: int, buying: int, exits: int, size: int, most: int, *, reduces: bool) -> Verdict | None:
    """What gate 2 says of a buy at a reference of one, which only position, exits and count can refuse."""
    book = _book(
        position=position, buying=buying, exits_buying=exits, max_position=most, max_quantity=NEVER,
        max_notional2=1 << 200, max_open=1, reference=(1, "1", 1, "1"), collar_num=1, collar_den=1,
        size_digits=0, price_digits=0,
    )  # fmt: skip
    working = _working(book, size, buys=True, reduces=reduces, price=1)
    return _exposure(book, working, 0, 0)


def granted_order_keeps_the_position_limit(
    position: int, buying: int, exits: int, size: int, most: int, reduces: bool
) -> bool:
    """If everything on its way is filled, the position is within its limit.

    pre: buying >= 0 and 0 <= exits <= buying and size > 0 and most > 0
    post: not __return__ or position + buying + size <= most
    """
    return _judged(position, buying, exits, size, most, reduces=reduces) is None


def granted_exit_turns_nothing(position: int, buying: int, exits: int, size: int, most: int) -> bool:
    """An exit that is granted leaves the position on its side, or flat, if everything on its way is filled.

    pre: buying >= 0 and 0 <= exits <= buying and size > 0 and most > 0
    post: not __return__ or position + buying + size <= 0
    """
    return _judged(position, buying, exits, size, most, reduces=True) is None


def granted_order_turns_no_pending_exit(position: int, buying: int, exits: int, size: int, most: int) -> bool:
    """While an exit is pending, nothing is granted that would have it turn the position.

    pre: buying >= 0 and 0 < exits <= buying and size > 0 and most > 0
    post: not __return__ or position + buying + size <= 0
    """
    return _judged(position, buying, exits, size, most, reduces=False) is None


# -- The Merkle tree -------------------------------------------------------------------------------


def proof_names_whole_subtrees(old: int, new: int) -> list[tuple[int, int]]:
    """Each hash of a consistency proof is of leaves that exist, none is empty, and none straddles the older size.

    pre: 0 < old < new <= 12
    post: all(0 <= low < high <= new and (high <= old or low >= old) for low, high in __return__)
    """
    return spans(old, new)


def proof_covers_all_that_came(old: int, new: int) -> int:
    """The leaves after the older size are each under exactly one hash of the proof.

    pre: 0 < old < new <= 12
    post: __return__ == new - old
    """
    return sum(high - low for low, high in spans(old, new) if low >= old)
