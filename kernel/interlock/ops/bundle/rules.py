"""The rules that firms are held to, as far as the bundle speaks of them: what each asks, and what nothing here shows.

In our own words and short: this is a pointer into the texts, not the texts, and no legal advice. For each it is said
what no journal of this kernel can show, because a page that only lists what it has invites more trust than it earns.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["RULES", "Rule"]


@attrs.frozen(kw_only=True)
class Rule:
    """An article or a paragraph.

    Attributes:
        name: a short name, for references.
        title: where it stands, and what it is called.
        asks: what it asks for, in one or two sentences.
        not_shown: what of that the bundle can't show.
    """

    name: str
    title: str
    asks: str
    not_shown: tuple[str, ...]


_RTS6: Final = "RTS 6 (Delegated Regulation (EU) 2017/589), Article"

RULES: Final = (
    Rule(
        name="rts6-12",
        title=f"{_RTS6} 12: kill functionality",
        asks=(
            "A firm must be able to cancel at once, in an emergency, any or all of its orders that have not been "
            "executed, at every venue, and to tell for each order which algorithm, trader, desk or client it is from."
        ),
        not_shown=(
            "That every way to a venue leads through this kernel: an order sent by another way is in no journal here.",
            "That a venue carried a cancel out, beyond what the engine recorded of the venue's answers.",
            "Which trader, desk or client an order is from: a journal knows the home, the engine and who ran it.",
        ),
    ),
    Rule(
        name="rts6-13",
        title=f"{_RTS6} 13: automated surveillance for market manipulation",
        asks=(
            "A firm must watch all its orders and transactions for signs of market manipulation with a system that "
            "raises alerts, and must review that system every year."
        ),
        not_shown=(
            "Any surveillance for manipulation: the kernel looks for none.",
            "Whether the tables of orders, refusals and fills, which may be input for one, were ever given to one.",
        ),
    ),
    Rule(
        name="rts6-14",
        title=f"{_RTS6} 14: business continuity",
        asks=(
            "Arrangements, in writing, for incidents: a policy for the use of the kill functionality, a way to shut an "
            "algorithm or a system down in order, other ways to manage orders and positions, trained staff, yearly "
            "review."
        ),
        not_shown=(
            "The written arrangements, scenarios, back-up sites, training and yearly reviews.",
            "That a shutdown did not disturb the market.",
        ),
    ),
    Rule(
        name="rts6-15",
        title=f"{_RTS6} 15: pre-trade controls",
        asks=(
            "Price collars, largest order value and volume, limits on messages, a throttle on repeated execution that "
            "disables the system until a named person enables it again; all orders counted at once; market and "
            "credit limits; orders blocked that would pass the firm's own thresholds."
        ),
        not_shown=(
            "That the limits are the right ones: who chose them, and from what capital and risk appetite.",
            "Limits across homes, desks or the whole firm: a home counts its own orders, engine by engine.",
            "A procedure to let a blocked order pass by way of exception: the kernel has none.",
        ),
    ),
    Rule(
        name="rts6-16",
        title=f"{_RTS6} 16: real-time monitoring",
        asks=(
            "While orders are sent, the trader in charge and an independent risk function watch for signs of "
            "disorderly trading, with alerts within five seconds of the event."
        ),
        not_shown=(
            "That people watched, who they were, and that any alert reached them.",
            "Monitoring across venues or of the market: the kernel sees its own ticks and orders.",
        ),
    ),
    Rule(
        name="rts6-17",
        title=f"{_RTS6} 17: post-trade controls",
        asks=(
            "Controls that run all the time and act when they are triggered, up to shutting the algorithm down; "
            "exposure followed without a pause; records that are complete and are reconciled with those of venues, "
            "brokers and clearing members."
        ),
        not_shown=(
            "A reconciliation with the venue's, the broker's or the clearing member's own records.",
            "Exposure beyond one engine's ledger; market and credit risk of the firm.",
        ),
    ),
    Rule(
        name="rts6-18",
        title=f"{_RTS6} 18: security and limits to access",
        asks=(
            "Physical and electronic security, tested every year; those with critical access are known, few and "
            "watched, so that what they do can be traced."
        ),
        not_shown=(
            "Who somebody really was: the names of operators are what was typed, and nothing authenticates them.",
            "Security of the premises and systems, tests of it, and who may log in where.",
        ),
    ),
    Rule(
        name="sec-15c3-5",
        title="SEC Rule 15c3-5: market access",
        asks=(
            "(c)(1) Controls that keep out orders beyond pre-set credit or capital thresholds, and those that are "
            "erroneous in price or size or are duplicates; (c)(2) orders only if rules that apply before entry are "
            "complied with, access only for those who are authorised, surveillance told of executions at once; (d) all "
            "under the direct and exclusive control of the broker or dealer; (e) yearly review and certification."
        ),
        not_shown=(
            "(c)(2): compliance with rules that apply before entry, restricted securities, and who has access.",
            "(d) and (e): who controls the home and its limits, reviews and certifications.",
            "Thresholds in the aggregate across customers or homes.",
        ),
    ),
    Rule(
        name="sec-17a-4",
        title="SEC Rule 17a-4(f): electronic records",
        asks=(
            "Records kept so that they can't be rewritten, or with a complete time-stamped audit trail from which an "
            "original can be made again; storage that verifies itself; copies that people and programs can read."
        ),
        not_shown=(
            "How long and where the home's own files are kept, and that there is a second copy.",
            "Storage that can't be rewritten: what makes a change visible does not forbid it.",
            "Undertakings and notices that the rule asks of people.",
        ),
    ),
    Rule(
        name="rts25",
        title="RTS 25 (Delegated Regulation (EU) 2017/574, or what stands in its place): clocks",
        asks=(
            "Business clocks synchronised to UTC within a bound that depends on the activity (100 microseconds, a "
            "millisecond or a second), time stamps fine enough, and a documented, yearly reviewed chain to UTC."
        ),
        not_shown=(
            "How far the machine's clock was from UTC: nothing outside of the machine was asked for the time.",
            "The chain from UTC to the machine (receivers, servers, protocol), its documents and its review.",
        ),
    ),
)
"""All that the report maps to, in its order."""
