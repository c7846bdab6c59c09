"""Small pieces of the report: counted numbers, times, references to records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.ops.bundle.plan import utc
from interlock.ops.sheet import escape, number

if TYPE_CHECKING:
    from interlock.ops.bundle.claim import Cite

__all__ = ["anchor", "clock_time", "fact", "many", "refer", "rest", "when"]


def fact(name: str, value: int) -> str:
    """A number that was counted, with what it counts."""
    return f'<data data-fact="{escape(name)}" value="{value}">{number(value)}</data>'


def many(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def clock_time(text: str) -> str:
    """A time in RFC 3339 as people read it: without zeros that say nothing."""
    day, _, rest_of_it = text.partition("T")
    clock = rest_of_it.removesuffix("Z").removesuffix(".000000")
    return escape(day if clock == "00:00:00" else f"{day} {clock}")


def when(us: int) -> str:
    """A moment, to the microsecond."""
    text = utc(us)
    day, _, clock = text.partition("T")
    if not clock:
        return escape(text)
    return f'<time datetime="{text}"><span class="nowrap">{day}</span> {clock.removesuffix("Z")}</time>'


def anchor(cite: Cite) -> str:
    """The name of a record's place on the page."""
    engine, seq = cite
    return escape(f"record-{engine}-{seq}")


def refer(cite: Cite) -> str:
    """A link to a record."""
    engine, seq = cite
    return f'<a href="#{anchor(cite)}">{escape(engine)}:{seq}</a>'


def rest(total: int, shown: int, sheet: str) -> str:
    """What a table leaves out, and where it is."""
    if total <= shown:
        return ""
    return f'<p class="more">{number(total - shown)} more are in <code>csv/{sheet}.csv</code>.</p>'
