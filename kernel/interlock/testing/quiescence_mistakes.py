"""Mistakes in the quiescent kill that its theorems must see, and changes that they must not.

Each is `quiescence_proof.SYSTEM` with a few actions replaced. A mistake is scored on a theorem alone: in a small
universe, from the beginning, some way leads to a step or a state that breaks it. That an invariant is no longer
inductive would prove nothing, since a change may be equivalent: see `SAME`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import z3

from interlock.testing import quiescence_model as model
from interlock.testing.quiescence_model import NO, YES, Effect, State, Term, is_, owner, put
from interlock.testing.quiescence_proof import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.testing.induction import System

__all__ = ["MISTAKES", "SAME", "Mistake", "universe"]

_STEP: Final[dict[str, Callable[..., Effect]]] = {action.name: action.step for action in SYSTEM.actions}


@attrs.frozen(kw_only=True)
class Mistake:
    """A system that must fail.

    Attributes:
        name: of the mistake.
        says: what it is.
        breaks: the theorem that it breaks.
        system: the mistake made.
        engines: so many, each with one emitter, show it.
        killers: likewise.
        resetters: likewise.
    """

    name: str
    says: str
    breaks: str
    system: System
    engines: int = 1
    killers: int = 1
    resetters: int = 0


def universe(
    *, engines: int, killers: int, resetters: int, emitters: int = 1
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Sizes, and whose each emitter is; as `Program` takes them."""
    sizes = {"Engine": engines, "Emitter": engines * emitters, "Killer": killers, "Resetter": resetters}
    return sizes, {"owner": tuple(emitter // emitters for emitter in range(engines * emitters))}


def _with(**steps: Callable[..., Effect]) -> System:
    """The protocol with these actions instead of its own."""
    actions = {action.name: action for action in SYSTEM.actions}
    return SYSTEM.changed(*(attrs.evolve(actions[name], step=step) for name, step in steps.items()))


def _guarded(name: str, guard: Callable[..., Term]) -> Callable[..., Effect]:
    """The action with another guard."""
    return lambda s, x: (guard(s, x), _STEP[name](s, x)[1])


def _after(name: str, more: Callable[..., dict[str, Any]]) -> Callable[..., Effect]:
    """The action with more, or other, effects."""

    def step(s: State, x: Term) -> Effect:
        guard, after = _STEP[name](s, x)
        return guard, attrs.evolve(after, **more(s, x))

    return step


def _early_look(s: State, t: Term) -> Effect:
    guard, after = _STEP["Announce"](s, t)
    return z3.And(guard, z3.Not(s.dead(owner(t))), s.byte), after


def _page_only(s: State, t: Term) -> Effect:
    return s.send(t) == model.LOOKING, attrs.evolve(s, send=put(s.send, t, model.SENDING))


_ONE_LOOK: Final = _guarded("CheckAgain", lambda s, e: s.at(e) == model.LOCKED)
_PAGE_ONLY: Final = _page_only

MISTAKES: Final = (
    Mistake(
        name="check-before-lock",
        says="The only look at the byte is the one before the lock is taken.",
        breaks="AckMeansQuiescent",
        system=_with(CheckAgain=_ONE_LOOK, Look=_PAGE_ONLY),
    ),
    Mistake(
        name="look-at-the-page-only",
        says="`begin` looks whether the page is dead, and not at its byte.",
        breaks="NoEmitAfterHalt",
        system=_with(Look=_PAGE_ONLY),
    ),
    Mistake(
        name="release-before-send",
        says="The lock is let go although somebody is sending.",
        breaks="AckMeansQuiescent",
        system=_with(Leave=_guarded("Leave", lambda s, e: z3.And(s.at(e) == model.IN, s.dead(e)))),
    ),
    Mistake(
        name="ack-without-waiting",
        says="The killer does not wait for the lock.",
        breaks="AckMeansQuiescent",
        system=_with(GetExclusive=_guarded("GetExclusive", lambda s, k: s.killer(k) == model.SET)),
    ),
    Mistake(
        name="one-description-for-two",
        says="Two engines share an open file description: when one lets go, the other's lock is gone.",
        breaks="AckMeansQuiescent",
        system=_with(Leave=_after("Leave", lambda *_: {"at": lambda _: model.OUT})),
        engines=2,
    ),
    Mistake(
        name="latch-after-unlock",
        says="The killer acks a halt as durable, and writes it then.",
        breaks="AckMeansLatched",
        system=_with(Ack=_after("Ack", lambda s, k: {"durable": put(s.durable, k, YES)})),
    ),
    Mistake(
        name="restart-clears-the-latch",
        says="An engine that comes up makes a fresh home.",
        breaks="AckMeansQuiescent",
        system=_with(Restart=_after("Restart", lambda s, _: {"latch": YES, "byte": YES, "armed_for": s.halts})),
    ),
    Mistake(
        name="restart-writes-the-latch",
        says="An engine that comes up writes the record that it knows.",
        breaks="AckMeansLatched",
        system=_with(Restart=_after("Restart", lambda *_: {"latch": YES})),
    ),
    Mistake(
        name="look-before-announce",
        says="`begin` looks at page and byte first, and announces then.",
        breaks="AckMeansQuiescent",
        system=_with(
            Announce=_early_look,
            Load=lambda s, t: (s.send(t) == model.ANNOUNCED, attrs.evolve(s, send=put(s.send, t, model.SENDING))),
        ),
    ),
    Mistake(
        name="page-revived-by-reset",
        says="A dead page is believed again as soon as the byte is armed.",
        breaks="AckMeansQuiescent",
        system=_with(ResetByte=_after("ResetByte", lambda *_: {"dead": lambda _: NO})),
        killers=2,
        resetters=1,
    ),
    Mistake(
        name="leave-without-a-dead-page",
        says="An engine that has nothing announced lets go, and goes on believing its page.",
        breaks="AckMeansQuiescent",
        system=_with(
            Leave=_guarded(
                "Leave",
                lambda s, e: z3.And(
                    s.at(e) == model.IN, z3.Not(s.byte), model.none_sends(s, e, model.LOOKING, model.SENDING)
                ),
            )
        ),
        killers=2,
        resetters=1,
    ),
    Mistake(
        name="revive-while-running",
        says="An engine that is out believes its page again although it is RUNNING.",
        breaks="AckMeansQuiescent",
        system=_with(Revive=_guarded("Revive", lambda s, e: z3.And(s.alive(e), s.at(e) == model.OUT, s.dead(e)))),
        killers=2,
        resetters=1,
    ),
    Mistake(
        name="look-again-at-the-latch-only",
        says="The killer looks again whether the latch is armed, and takes a halted one for a halted home.",
        breaks="AckMeansQuiescent",
        system=_with(
            LookAgain=_after("LookAgain", lambda s, k: {
                "byte": z3.And(s.byte, z3.Not(s.latch)), "halts": s.halts,
                "latch": NO, "durable": put(s.durable, k, YES),
            })
        ),
        resetters=1,
    ),
    Mistake(
        name="look-again-at-the-byte-only",
        says="The killer looks again whether the byte is armed, and goes by its earlier look at the latch.",
        breaks="AckMeansLatched",
        system=_with(
            LookAgain=_after("LookAgain", lambda s, k: {
                "durable": put(s.durable, k, z3.And(s.durable(k), z3.Or(z3.Not(s.byte), z3.Not(s.latch))))
            })
        ),
        resetters=1,
    ),
    Mistake(
        name="no-second-look-of-the-killer",
        says="The killer acks when it has the lock.",
        breaks="AckMeansQuiescent",
        system=_with(LookAgain=_after("LookAgain", lambda s, _: {
            "byte": s.byte, "halts": s.halts, "durable": s.durable,
        })),
        resetters=1,
    ),
    Mistake(
        name="halt-without-the-pen",
        says="A killer reads the record and replaces it, whoever has the pen.",
        breaks="EpochNeverGoesBack",
        system=_with(
            TakePen=_guarded(
                "TakePen",
                lambda s, k: z3.And(is_(s.killer(k), model.SET, model.DONE), s.latch, s.pen(k) == 0),
            )
        ),
        resetters=1,
    ),
    Mistake(
        name="reset-without-the-pen",
        says="A reset does not ask whether a killer is about to replace the record.",
        breaks="EpochNeverGoesBack",
        system=_with(ResetPen=_guarded("ResetPen", lambda s, r: s.resetter(r) == model.FREE)),
        resetters=1,
    ),
    Mistake(
        name="start-goes-by-the-byte",
        says="A start does not look what halt the byte was armed for.",
        breaks="NoStartOverAHalt",
        system=_with(
            Start=_guarded("Start", lambda s, e: z3.And(s.alive(e), z3.Not(s.running(e)), s.at(e) == model.IN))
        ),
        killers=2,
        resetters=1,
    ),
    Mistake(
        name="armed-for-the-present-count",
        says="A reset arms the byte for the count that it finds then, and not for the one that it began with.",
        breaks="NoStartOverAHalt",
        system=_with(ResetByte=_after("ResetByte", lambda s, _: {"armed_for": s.halts})),
        killers=2,
        resetters=1,
    ),
    Mistake(
        name="reset-without-the-lock",
        says="A reset does not ask who is out.",
        breaks="AckMeansQuiescent",
        system=_with(LockReset=_guarded("LockReset", lambda s, r: s.resetter(r) == model.WAITING)),
        resetters=1,
    ),
)  # fmt: skip
"""Each breaks a theorem."""

SAME: Final = {
    "latch-under-the-lock": _with(
        TakePen=_guarded(
            "TakePen",
            lambda s, k: z3.And(
                is_(s.killer(k), model.ALONE, model.AGAIN), s.latch, s.pen(k) == 0, model.no_reset_writes(s)
            ),
        )
    ),
    "one-look-in-enter": attrs.evolve(
        _with(CheckAgain=_ONE_LOOK),
        invariants=(
            *(claim for claim in SYSTEM.invariants if claim.name != "AckMeansOut"),
            *(claim for claim in SYSTEM.theorems if claim.name == "AckMeansQuiescent"),
        ),
    ),
    "retire-from-any-thread": _with(
        CheckFirst=_guarded(
            "CheckFirst", lambda s, e: z3.And(s.alive(e), z3.Not(s.running(e)), s.at(e) == model.OUT, s.byte)
        ),
        CheckAgain=_guarded("CheckAgain", lambda s, e: z3.And(s.at(e) == model.LOCKED, s.byte)),
        Retire=_guarded("Retire", lambda s, e: z3.And(s.alive(e), z3.Not(s.dead(e)))),
    ),
}
"""Changes that keep every theorem.

The latch may as well be written when the lock is held exclusively. The second look of `enter` and the look of `begin`
each suffice for the ack, but not neither: see ``check-before-lock``. Without the second look an engine could come in
after the ack, and hold up the next one, but not send. `Hold.retire` may come from any thread, even in the middle of an
`enter`.
"""
