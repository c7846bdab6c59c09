"""The quiescent kill as a transition relation in z3: any number of engines, emitters, killers and resets.

The engine's side is `interlock.breaker.quiescence.Hold`, step for step: what is one step here is one access there to
what others can see (page, byte, announcement, lock), or several that the guard makes one. The killer's side and the
reset are those of the home. Everything may stop for ever, or for long, after each step: a process that is suspended is
one that does not step. What is proven of it stands in `quiescence_proof`, mistakes in it in `quiescence_mistakes`.

What this takes for granted, and the kernel has to do:

- an emitter announces while its engine is RUNNING, and the mode changes before or after that and not meanwhile;
- `enter`, `revive` and a start are calls of one thread at a time, the kernel's; `see`, `leave` and `end` are not, and
  `retire` need not be (see ``retire-from-any-thread``);
- a start follows an `enter` that said True; `revive` is called out of RUNNING only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import z3

from interlock.testing.induction import Action

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ACTIONS", "AGAIN", "ALONE", "ANNOUNCED", "ARMED", "IDLE", "IN", "KILLER", "LATCHED", "LOCKED", "LOOKING",
    "NO", "NOTED", "NOW", "OUT", "PENNED", "PLACE", "RESETTER", "SEND", "SENDING", "SET", "WAITING", "YES", "Effect",
    "Emitter", "Engine", "Killer", "Resetter", "State", "Term", "initial", "is_", "kills_alone", "no_exclusive",
    "no_reset_writes", "no_shared", "none_sends", "owner", "put", "resets_alone", "resets_with_pen",
]  # fmt: skip

Term: TypeAlias = "Any"
"""A z3 expression, or a function from one to one."""

Effect: TypeAlias = "tuple[Term, State]"
"""A guard, and the state after."""

Engine, Emitter = z3.DeclareSort("Engine"), z3.DeclareSort("Emitter")
Killer, Resetter = z3.DeclareSort("Killer"), z3.DeclareSort("Resetter")

PLACE, (OUT, LOOKED, LOCKED, IN) = z3.EnumSort("Place", ("out", "looked", "locked", "in"))
"""Of an engine: without the lock; in `enter` past the first look; with the lock; past the second look."""

SEND, (IDLE, ANNOUNCED, LOOKING, REFUSED, SENDING) = z3.EnumSort(
    "Send", ("idle", "announced", "looking", "refused", "sending")
)
"""Of an emitter: looking is between finding the page not dead and reading its byte."""

KILLER, (READY, SET, ALONE, AGAIN, DONE, GONE) = z3.EnumSort(
    "Killing", ("ready", "set", "alone", "again", "done", "gone")
)
"""Of a killer: set the byte; got the lock exclusively; looked again; done; died."""

RESETTER, (WAITING, FREE, PENNED, NOTED, LATCHED, ARMED, LOST, OVER) = z3.EnumSort(
    "Resetting", ("waiting", "free", "penned", "noted", "latched", "armed", "lost", "over")
)
"""Of a reset: got the lock; got the pen; noted the count of halts; wrote the latch; armed the byte; found a halt
meanwhile; over."""

YES, NO = z3.BoolVal(val=True), z3.BoolVal(val=False)

owner: Final = z3.Function("owner", Emitter, Engine)
"""Whose thread an emitter is."""


@attrs.frozen(eq=False)
class State:
    """What is so. Functions are of an element; byte and latch are True where they say ARMED.

    ``armed_for`` is the count of halts for which the byte was armed, as the page has it.
    ``fenced`` is history: somebody has halted since the engine was started. So is ``owed``: somebody has halted since
    a reset noted the count.
    ``pen`` is the epoch in the record that a killer is replacing, with the pen in its hand; 0: it is not.
    ``durable`` and ``acked`` are a killer's report: the latch is on disk, and all was quiet in this epoch (0: never).
    """

    byte: Term
    latch: Term
    epoch: Term
    halts: Term
    armed_for: Term
    owed: Term
    alive: Term
    running: Term
    fenced: Term
    dead: Term
    at: Term
    send: Term
    killer: Term
    pen: Term
    durable: Term
    acked: Term
    resetter: Term
    noted: Term


NOW: Final = State(
    byte=z3.Bool("byte"),
    latch=z3.Bool("latch"),
    epoch=z3.Int("epoch"),
    halts=z3.Int("halts"),
    armed_for=z3.Int("armed_for"),
    owed=z3.Bool("owed"),
    alive=z3.Function("alive", Engine, z3.BoolSort()),
    running=z3.Function("running", Engine, z3.BoolSort()),
    fenced=z3.Function("fenced", Engine, z3.BoolSort()),
    dead=z3.Function("dead", Engine, z3.BoolSort()),
    at=z3.Function("at", Engine, PLACE),
    send=z3.Function("send", Emitter, SEND),
    killer=z3.Function("killer", Killer, KILLER),
    pen=z3.Function("pen", Killer, z3.IntSort()),
    durable=z3.Function("durable", Killer, z3.BoolSort()),
    acked=z3.Function("acked", Killer, z3.IntSort()),
    resetter=z3.Function("resetter", Resetter, RESETTER),
    noted=z3.Function("noted", Resetter, z3.IntSort()),
)

_E, _T = z3.Const("e", Engine), z3.Const("t", Emitter)
_K = z3.Const("k", Killer)
_R = z3.Const("r", Resetter)


def put(function: Term, element: Term, value: Term) -> Term:
    """The function with another value at one element."""
    return lambda x: z3.If(x == element, value, function(x))


def is_(term: Term, *values: Term) -> Term:
    """Whether it is one of these."""
    return z3.Or(*(term == value for value in values))


def kills_alone(s: State, k: Term) -> Term:
    """Whether a killer has the lock exclusively."""
    return is_(s.killer(k), ALONE, AGAIN)


def resets_alone(s: State, r: Term) -> Term:
    """Whether a reset has."""
    return is_(s.resetter(r), FREE, PENNED, NOTED, LATCHED, ARMED, LOST)


def resets_with_pen(s: State, r: Term) -> Term:
    """Whether a reset has the pen, alone."""
    return is_(s.resetter(r), PENNED, NOTED, LATCHED, ARMED, LOST)


def no_reset_writes(s: State) -> Term:
    """Whether no reset has the pen."""
    return z3.ForAll([_R], z3.Not(resets_with_pen(s, _R)))


def no_killer_writes(s: State) -> Term:
    """Whether no killer has it."""
    return z3.ForAll([_K], s.pen(_K) == 0)


def no_exclusive(s: State) -> Term:
    """Whether nobody has the lock exclusively."""
    return z3.And(z3.ForAll([_K], z3.Not(kills_alone(s, _K))), z3.ForAll([_R], z3.Not(resets_alone(s, _R))))


def no_shared(s: State) -> Term:
    """Whether no engine has the lock."""
    return z3.ForAll([_E], z3.Not(is_(s.at(_E), LOCKED, IN)))


def none_sends(s: State, e: Term, *ways: Term) -> Term:
    """Whether no emitter of an engine is in one of these states."""
    return z3.ForAll([_T], z3.Implies(owner(_T) == e, z3.Not(is_(s.send(_T), *ways))))


def initial(s: State) -> Term:
    """All is armed, in epoch 1; engines are up and out; nobody has done anything."""
    return z3.And(
        s.byte, s.latch, s.epoch == 1, s.halts == 0, s.armed_for == 0, z3.Not(s.owed),
        z3.ForAll([_E], z3.And(s.alive(_E), z3.Not(s.dead(_E)), s.at(_E) == OUT)),
        z3.ForAll([_E], z3.Not(z3.Or(s.running(_E), s.fenced(_E)))),
        z3.ForAll([_T], s.send(_T) == IDLE),
        z3.ForAll([_K], z3.And(s.killer(_K) == READY, s.pen(_K) == 0, z3.Not(s.durable(_K)), s.acked(_K) == 0)),
        z3.ForAll([_R], z3.And(s.resetter(_R) == WAITING, s.noted(_R) == 0)),
    )  # fmt: skip


ACTIONS: Final[list[Action]] = []
"""Every kind of step, in the order in which they stand here."""


def _step(sort: Term) -> Callable[[Callable[[State, Term], Effect]], Callable[[State, Term], Effect]]:
    """A step of one element; ``_check_first`` is CheckFirst."""

    def register(step: Callable[[State, Term], Effect]) -> Callable[[State, Term], Effect]:
        ACTIONS.append(Action(name=step.__name__.title().replace("_", ""), sorts=(sort,), step=step))
        return step

    return register


# -- The engine: coming ------------------------------------------------------------------------------


@_step(Engine)
def _check_first(s: State, e: Term) -> Effect:
    guard = z3.And(s.alive(e), z3.Not(s.running(e)), s.at(e) == OUT, z3.Not(s.dead(e)), s.byte)
    return guard, attrs.evolve(s, at=put(s.at, e, LOOKED))


@_step(Engine)
def _enter(s: State, e: Term) -> Effect:
    guard = z3.And(s.at(e) == LOOKED, no_exclusive(s))
    return guard, attrs.evolve(s, at=put(s.at, e, LOCKED))


@_step(Engine)
def _check_again(s: State, e: Term) -> Effect:
    guard = z3.And(s.at(e) == LOCKED, z3.Not(s.dead(e)), s.byte)
    return guard, attrs.evolve(s, at=put(s.at, e, IN))


@_step(Engine)
def _withdraw(s: State, e: Term) -> Effect:
    """Somebody has the lock exclusively, or the second look says halt."""
    refused = z3.And(s.at(e) == LOOKED, z3.Not(no_exclusive(s)))
    late = z3.And(s.at(e) == LOCKED, z3.Or(s.dead(e), z3.Not(s.byte)))
    return z3.Or(refused, late), attrs.evolve(s, at=put(s.at, e, OUT))


@_step(Engine)
def _start(s: State, e: Term) -> Effect:
    """After an `enter` that said True. The lock may have been let go since; then the page is dead.

    An armed byte is one that was armed for the present count: the kernel looks at both, with the lock.
    """
    entered = z3.Or(s.at(e) == IN, z3.And(s.at(e) == OUT, s.dead(e)))
    entered = z3.And(entered, z3.Or(z3.Not(s.byte), s.halts == s.armed_for))
    after = attrs.evolve(s, running=put(s.running, e, YES), fenced=put(s.fenced, e, NO))
    return z3.And(s.alive(e), z3.Not(s.running(e)), entered), after


@_step(Engine)
def _stop(s: State, e: Term) -> Effect:
    """RUNNING is left, for IDLE or for HALTED."""
    return s.running(e), attrs.evolve(s, running=put(s.running, e, NO))


# -- The engine: sending -----------------------------------------------------------------------------


@_step(Emitter)
def _announce(s: State, t: Term) -> Effect:
    return z3.And(s.send(t) == IDLE, s.running(owner(t))), attrs.evolve(s, send=put(s.send, t, ANNOUNCED))


@_step(Emitter)
def _load(s: State, t: Term) -> Effect:
    """The first half of the look: which page?"""
    found = z3.If(s.dead(owner(t)), REFUSED, LOOKING)
    return s.send(t) == ANNOUNCED, attrs.evolve(s, send=put(s.send, t, found))


@_step(Emitter)
def _look(s: State, t: Term) -> Effect:
    """The second half: what does the page say?"""
    return s.send(t) == LOOKING, attrs.evolve(s, send=put(s.send, t, z3.If(s.byte, SENDING, REFUSED)))


@_step(Emitter)
def _retract(s: State, t: Term) -> Effect:
    return s.send(t) == REFUSED, attrs.evolve(s, send=put(s.send, t, IDLE))


@_step(Emitter)
def _end(s: State, t: Term) -> Effect:
    return s.send(t) == SENDING, attrs.evolve(s, send=put(s.send, t, IDLE))


# -- The engine: going -------------------------------------------------------------------------------


@_step(Engine)
def _see(s: State, e: Term) -> Effect:
    guard = z3.And(s.alive(e), z3.Not(s.dead(e)), is_(s.at(e), OUT, IN), z3.Not(s.byte))
    return guard, attrs.evolve(s, dead=put(s.dead, e, YES))


@_step(Engine)
def _retire(s: State, e: Term) -> Effect:
    guard = z3.And(s.alive(e), z3.Not(s.dead(e)), is_(s.at(e), OUT, IN))
    return guard, attrs.evolve(s, dead=put(s.dead, e, YES))


@_step(Engine)
def _leave(s: State, e: Term) -> Effect:
    """Who announces after the last look for announcements finds a dead page, and is no hindrance."""
    guard = z3.And(s.at(e) == IN, s.dead(e), none_sends(s, e, LOOKING, SENDING))
    return guard, attrs.evolve(s, at=put(s.at, e, OUT))


@_step(Engine)
def _revive(s: State, e: Term) -> Effect:
    out = z3.And(s.alive(e), s.at(e) == OUT, z3.Not(s.running(e)), s.dead(e))
    quiet = none_sends(s, e, ANNOUNCED, LOOKING, REFUSED, SENDING)
    return z3.And(out, quiet), attrs.evolve(s, dead=put(s.dead, e, NO))


@_step(Engine)
def _crash(s: State, e: Term) -> Effect:
    """Fail-stop: the lock goes with the process, and so does what it was sending."""
    return s.alive(e), attrs.evolve(
        s,
        alive=put(s.alive, e, NO),
        running=put(s.running, e, NO),
        at=put(s.at, e, OUT),
        send=lambda x: z3.If(owner(x) == e, IDLE, s.send(x)),
    )


@_step(Engine)
def _restart(s: State, e: Term) -> Effect:
    """A new process maps the page, whatever it says, and is out."""
    return z3.Not(s.alive(e)), attrs.evolve(s, alive=put(s.alive, e, YES), dead=put(s.dead, e, NO))


# -- The killer --------------------------------------------------------------------------------------


@_step(Killer)
def _set_byte(s: State, k: Term) -> Effect:
    """Nobody is asked, and nothing waited for."""
    after = attrs.evolve(s, byte=NO, halts=s.halts + 1, owed=YES, killer=put(s.killer, k, SET), fenced=lambda _: YES)
    return s.killer(k) == READY, after


@_step(Killer)
def _take_pen(s: State, k: Term) -> Effect:
    """The record is read, with the pen, at any time after the byte, or never; a reset that has it is not waited for."""
    guard = z3.And(is_(s.killer(k), SET, ALONE, AGAIN, DONE), z3.Not(s.durable(k)), s.latch, s.pen(k) == 0)
    return z3.And(guard, no_reset_writes(s)), attrs.evolve(s, pen=put(s.pen, k, s.epoch))


@_step(Killer)
def _write_latch(s: State, k: Term) -> Effect:
    """And replaced, some time, or never: the disk may be full, or hang."""
    after = attrs.evolve(s, latch=NO, epoch=s.pen(k), pen=put(s.pen, k, 0), durable=put(s.durable, k, YES))
    return z3.Not(s.pen(k) == 0), after


@_step(Killer)
def _drop_pen(s: State, k: Term) -> Effect:
    """The disk is full. It tries again later."""
    return z3.Not(s.pen(k) == 0), attrs.evolve(s, pen=put(s.pen, k, 0))


@_step(Killer)
def _find_latched(s: State, k: Term) -> Effect:
    """Somebody else has written it."""
    guard = z3.And(is_(s.killer(k), SET, ALONE, AGAIN, DONE), z3.Not(s.durable(k)), z3.Not(s.latch))
    return guard, attrs.evolve(s, durable=put(s.durable, k, YES))


@_step(Killer)
def _get_exclusive(s: State, k: Term) -> Effect:
    guard = z3.And(s.killer(k) == SET, no_shared(s), no_exclusive(s))
    return guard, attrs.evolve(s, killer=put(s.killer, k, ALONE))


@_step(Killer)
def _look_again(s: State, k: Term) -> Effect:
    """A reset may have armed byte or latch since; or died between the two."""
    return s.killer(k) == ALONE, attrs.evolve(
        s,
        byte=NO,
        halts=z3.If(s.byte, s.halts + 1, s.halts),
        owed=z3.Or(s.owed, s.byte),
        durable=put(s.durable, k, z3.And(s.durable(k), z3.Not(s.latch))),
        killer=put(s.killer, k, AGAIN),
    )


@_step(Killer)
def _ack(s: State, k: Term) -> Effect:
    after = attrs.evolve(s, killer=put(s.killer, k, DONE), acked=put(s.acked, k, s.epoch))
    return s.killer(k) == AGAIN, after


@_step(Killer)
def _killer_dies(s: State, k: Term) -> Effect:
    """Its locks go with it."""
    after = attrs.evolve(s, killer=put(s.killer, k, GONE), pen=put(s.pen, k, 0))
    return is_(s.killer(k), SET, ALONE, AGAIN, DONE), after


# -- The reset ---------------------------------------------------------------------------------------


@_step(Resetter)
def _lock_reset(s: State, r: Term) -> Effect:
    guard = z3.And(s.resetter(r) == WAITING, no_shared(s), no_exclusive(s))
    return guard, attrs.evolve(s, resetter=put(s.resetter, r, FREE))


@_step(Resetter)
def _reset_pen(s: State, r: Term) -> Effect:
    """It does not wait for it: who can't have it gives up."""
    guard = z3.And(s.resetter(r) == FREE, no_killer_writes(s), no_reset_writes(s))
    return guard, attrs.evolve(s, resetter=put(s.resetter, r, PENNED))


@_step(Resetter)
def _note_halts(s: State, r: Term) -> Effect:
    armed = z3.And(s.byte, s.halts == s.armed_for, s.latch)
    after = attrs.evolve(s, resetter=put(s.resetter, r, NOTED), noted=put(s.noted, r, s.halts), owed=NO)
    return z3.And(s.resetter(r) == PENNED, z3.Not(armed)), after


@_step(Resetter)
def _reset_latch(s: State, r: Term) -> Effect:
    after = attrs.evolve(s, latch=YES, epoch=s.epoch + 1, resetter=put(s.resetter, r, LATCHED))
    return s.resetter(r) == NOTED, after


@_step(Resetter)
def _reset_byte(s: State, r: Term) -> Effect:
    """What it is armed for goes first; while the byte says halt nobody asks."""
    after = attrs.evolve(s, byte=YES, armed_for=s.noted(r), resetter=put(s.resetter, r, ARMED))
    return s.resetter(r) == LATCHED, after


@_step(Resetter)
def _reset_done(s: State, r: Term) -> Effect:
    guard = z3.And(s.resetter(r) == ARMED, s.halts == s.noted(r))
    return guard, attrs.evolve(s, resetter=put(s.resetter, r, OVER))


@_step(Resetter)
def _halt_wins(s: State, r: Term) -> Effect:
    guard = z3.And(s.resetter(r) == ARMED, z3.Not(s.halts == s.noted(r)))
    return guard, attrs.evolve(s, byte=NO, halts=s.halts + 1, owed=YES, resetter=put(s.resetter, r, LOST))


@_step(Resetter)
def _latch_again(s: State, r: Term) -> Effect:
    after = attrs.evolve(s, latch=NO, resetter=put(s.resetter, r, OVER))
    return s.resetter(r) == LOST, after


@_step(Resetter)
def _resetter_dies(s: State, r: Term) -> Effect:
    """Or gives up: not halted, another epoch, an error of the disk."""
    return resets_alone(s, r), attrs.evolve(s, resetter=put(s.resetter, r, OVER))
