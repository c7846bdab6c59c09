"""What is claimed of the quiescent kill, and the invariants that prove it for any number of processes.

`SYSTEM` is `quiescence_model` with its claims; `interlock.testing.induction.prove` proves them. The names are those of
the specification ``specs/ipc/QuiescentKill.tla``, where there is the same.
"""

from __future__ import annotations

from typing import Final

import z3

from interlock.testing.induction import Claim, System
from interlock.testing.quiescence_model import (
    ACTIONS,
    AGAIN,
    ANNOUNCED,
    ARMED,
    IDLE,
    IN,
    LATCHED,
    LOOKING,
    NOTED,
    NOW,
    OUT,
    SENDING,
    Emitter,
    Engine,
    Killer,
    Resetter,
    State,
    Term,
    initial,
    is_,
    kills_alone,
    no_exclusive,
    no_reset_writes,
    no_shared,
    owner,
    resets_alone,
)  # fmt: skip

__all__ = ["INVARIANTS", "SYSTEM", "THEOREMS"]

_E, _T = z3.Const("e", Engine), z3.Const("t", Emitter)
_K, _L = z3.Const("k", Killer), z3.Const("l", Killer)
_R, _Q = z3.Const("r", Resetter), z3.Const("q", Resetter)


def _current(s: State, k: Term) -> Term:
    """The killer has acked, and nobody has reset since."""
    return s.acked(k) == s.epoch


INVARIANTS: Final = (
    Claim(name="FencedMeansRefused", says=lambda s: z3.And(
        z3.ForAll([_E], z3.Implies(z3.And(s.fenced(_E), s.byte, s.running(_E)), s.dead(_E))),
        z3.ForAll([_T], z3.Implies(z3.And(s.fenced(owner(_T)), s.byte), z3.Not(s.send(_T) == LOOKING))),
        z3.ForAll([_T], z3.Implies(
            z3.And(s.fenced(owner(_T)), s.byte, s.send(_T) == ANNOUNCED), s.dead(owner(_T)))))),
    Claim(name="ClearHoldsLock", says=lambda s: z3.ForAll([_T], z3.Implies(
        is_(s.send(_T), LOOKING, SENDING), s.at(owner(_T)) == IN))),
    Claim(name="BelievedHoldsLock", says=lambda s: z3.ForAll([_T], z3.Implies(
        z3.And(s.send(_T) == ANNOUNCED, z3.Not(s.dead(owner(_T)))), s.at(owner(_T)) == IN))),
    Claim(name="RunningHoldsLockOrIsDead", says=lambda s: z3.ForAll([_E], z3.Implies(
        z3.And(s.running(_E), z3.Not(s.dead(_E))), s.at(_E) == IN))),
    Claim(name="GoneMeansNothing", says=lambda s: z3.And(
        z3.ForAll([_E], z3.Implies(z3.Not(s.alive(_E)), z3.And(s.at(_E) == OUT, z3.Not(s.running(_E))))),
        z3.ForAll([_T], z3.Implies(z3.Not(s.alive(owner(_T))), s.send(_T) == IDLE)))),
    Claim(name="ExExcludesSh", says=lambda s: z3.Or(no_shared(s), no_exclusive(s))),
    Claim(name="ExExcludesEx", says=lambda s: z3.And(
        z3.ForAll([_K, _L], z3.Implies(z3.And(kills_alone(s, _K), kills_alone(s, _L)), _K == _L)),
        z3.ForAll([_R, _Q], z3.Implies(z3.And(resets_alone(s, _R), resets_alone(s, _Q)), _R == _Q)),
        z3.ForAll([_K, _R], z3.Not(z3.And(kills_alone(s, _K), resets_alone(s, _R)))))),
    Claim(name="PenKeepsEpoch", says=lambda s: z3.ForAll([_K], z3.Implies(
        z3.Not(s.pen(_K) == 0), z3.And(s.pen(_K) == s.epoch, no_reset_writes(s))))),
    Claim(name="NotedShows", says=lambda s: z3.ForAll([_R], z3.Implies(
        is_(s.resetter(_R), NOTED, LATCHED, ARMED), z3.And(
            s.noted(_R) <= s.halts, z3.Implies(s.owed, s.noted(_R) < s.halts))))),
    Claim(name="OwedShows", says=lambda s: z3.Implies(z3.And(s.owed, s.byte), z3.Not(s.halts == s.armed_for))),
    Claim(name="AgainMeansHalted", says=lambda s: z3.ForAll([_K], z3.Implies(
        s.killer(_K) == AGAIN, z3.Not(s.byte)))),
    Claim(name="LockedMeansLatched", says=lambda s: z3.ForAll([_K], z3.Implies(
        z3.And(s.killer(_K) == AGAIN, s.durable(_K)), z3.Not(s.latch)))),
    Claim(name="EpochOnlyGrows", says=lambda s: z3.And(
        s.epoch >= 1, z3.ForAll([_K], z3.And(s.acked(_K) >= 0, s.acked(_K) <= s.epoch)))),
    Claim(name="ArmingIsANewEpoch", says=lambda s: z3.ForAll([_K, _R], z3.Implies(
        is_(s.resetter(_R), LATCHED, ARMED), s.acked(_K) < s.epoch))),
    Claim(name="AckMeansHalted", says=lambda s: z3.ForAll([_K], z3.Implies(_current(s, _K), z3.Not(s.byte)))),
    Claim(name="AckMeansOut", says=lambda s: z3.ForAll([_K, _E], z3.Implies(
        _current(s, _K), z3.Not(s.at(_E) == IN)))),
    Claim(name="AckStaysLatched", says=lambda s: z3.ForAll([_K], z3.Implies(
        z3.And(_current(s, _K), s.durable(_K)), z3.Not(s.latch)))),
)  # fmt: skip
"""Inductive together."""

THEOREMS: Final = (
    Claim(name="NoEmitAfterHalt", of_step=True, says=lambda s, after: z3.ForAll([_T], z3.Implies(
        z3.And(s.fenced(owner(_T)), z3.Not(s.send(_T) == SENDING)), z3.Not(after.send(_T) == SENDING)))),
    Claim(name="AckMeansQuiescent", says=lambda s: z3.ForAll([_K, _T], z3.Implies(
        _current(s, _K), z3.Not(s.send(_T) == SENDING)))),
    Claim(name="AckMeansLatched", says=lambda s: z3.ForAll([_K], z3.Implies(
        z3.And(_current(s, _K), s.durable(_K)), z3.Not(s.latch)))),
    Claim(name="NoLateEmission", of_step=True, says=lambda s, after: z3.ForAll([_K, _T], z3.Implies(
        z3.And(_current(s, _K), z3.Not(s.send(_T) == SENDING)), z3.Not(after.send(_T) == SENDING)))),
    Claim(name="EpochNeverGoesBack", of_step=True, says=lambda s, after: after.epoch >= s.epoch),
    Claim(name="NoStartOverAHalt", of_step=True, says=lambda s, after: z3.ForAll([_E], z3.Implies(
        z3.And(s.byte, s.owed, z3.Not(s.running(_E))), z3.Not(after.running(_E))))),
)  # fmt: skip
"""What the promises say.

After a halt no send begins before a reset *and* a start. And while an ack holds, that is until the next reset, nobody
is sending, the halt is on disk, if the ack says so, and no send begins, whoever starts what. Nobody, however slow,
takes the record back into an epoch that is over. And over an armed byte no engine starts, if somebody has halted since
the reset began that armed it.
"""

SYSTEM: Final = System(before=NOW, initial=initial, actions=tuple(ACTIONS), invariants=INVARIANTS, theorems=THEOREMS)
"""The protocol."""
