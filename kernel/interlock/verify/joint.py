"""Segments that were verified by themselves, joined: the truth answers what each guess asked, and goes on from it."""

import attrs

from .guess import Found, Guess, Question
from .modes import IDLE, RUNNING
from .monitor import STEP_NS, Monitor
from .runs import Permit, Run
from .walk import Walk, tell_of


def join(walk: Walk, found: Found) -> bool:
    """Take a segment as it was found, if the walk stands where that was begun from; else change nothing.

    Args:
        walk: which has entered the segment.
        found: what was found in it.

    Returns:
        Whether it was taken. If not, it must be read.
    """
    walk.grow()
    if not walk.seals_hold or found.begun != (walk.records, walk.tree.peaks):
        return False
    guess = found.monitor
    if isinstance(guess, Guess):
        ended = _answers(walk.monitor, guess) if _fits(walk.monitor, guess) else None
        if ended is None:
            return False
        _merge(walk.monitor, guess, ended)
    else:
        walk.monitor = guess
    _advance(walk, found)
    return True


def _advance(walk: Walk, found: Found) -> None:
    about = tell_of(walk.counts)
    for size, mark in found.marks.items():
        checkpoints, anchors, seals = (one + two for one, two in zip(about, mark.about, strict=True))
        walk.marks[size] = attrs.evolve(mark, about=(checkpoints, anchors, seals))
    for number, record in found.told:
        walk.records = number
        walk.checkpoint(record)
    for kind, count in found.counts.items():
        walk.counts[kind] += count
    walk.tree = found.tree
    walk.records, walk.torn = found.records, found.torn
    walk.bytes += found.bytes
    if found.root is not None:
        walk.sealed, walk.root = found.sealed, found.root


def _fits(truth: Monitor, guess: Guess) -> bool:
    """Whether a guess is right, as far as it did not ask."""
    run = truth.run
    mode, epoch, remember = guess.guessed
    mono, ts_ns = guess.opened
    now = run.base + mono
    if guess.fresh:
        same = (IDLE if truth.mode == RUNNING else truth.mode) == mode
    else:
        same = truth.mode == mode and (run.remember, run.inputs) == (remember, guess.before.inputs)
        same = same and not (run.draining or run.ended)
    return (
        same
        and truth.settled
        and not truth.young
        and truth.epoch == epoch
        and truth.orders.reach == remember
        and truth.origin == guess.origin
        and truth.sealed == guess.start
        and truth.segment_epoch <= guess.segment_epoch
        and now >= run.last
        and abs(ts_ns - now - run.offset) <= STEP_NS
        and truth.orders.new(guess.ids.ids, remember)
        and truth.orders.new(guess.ids.voided, remember)
    )


def _answers(truth: Monitor, guess: Guess) -> dict[int, str] | None:
    """Answer what a guess asked: the outcomes of earlier permits by number; or None if an answer is no."""
    ended: dict[int, str] = {}
    for question in guess.questions:
        if question.kind == "total":
            right = getattr(truth.run, question.name) == question.number
        elif question.kind == "waiting":
            right = not any(permit[2] is truth.run for number, permit in truth.open.items() if number not in ended)
        elif question.kind == "begin":
            right = question.number not in ended and _begins(truth, question)
        else:
            permit = None if question.number in ended else truth.open.get(question.number)
            right = permit is not None and _ends(truth.run, guess, question, permit)
            ended[question.number] = question.kind
        if not right:
            return None
    return ended


def _begins(truth: Monitor, question: Question) -> bool:
    """Whether the send of a permit of an earlier segment may begin."""
    permit = truth.open.get(question.number)
    if permit is None or not question.own or question.number in truth.run.begun:
        return False
    _, _, run, _, epoch = permit
    return run is truth.run and epoch == question.epoch


def _ends(now: Run, guess: Guess, question: Question, permit: Permit) -> bool:
    """Whether an outcome is right for a permit of an earlier segment."""
    number, granted, run, order, _ = permit
    if order in guess.ids.ids:
        return False
    if not (question.own and run is now):
        return question.kind == "unknown"
    begun = run.base + question.begun
    if run.inputs:
        began = run.begun.get(number) if question.began is None else run.base + question.began
        if began != (None if question.kind == "void" else begun):
            return False
    halted = min(run.halt_after(number), run.base + question.halted)
    return question.kind == "void" or granted <= begun <= halted


def _merge(truth: Monitor, guess: Guess, ended: dict[int, str]) -> None:
    """Go on from where a guess has come to."""
    for number, kind in ended.items():
        _, _, _, order, _ = truth.open.pop(number)
        truth.run.begun.pop(number, None)
        if kind != "unknown":
            truth.doubts.pop(order, None)
        if kind == "void":
            truth.orders.void(order)
    spoken = (guess.said, guess.ids.ids, guess.ids.voided)
    for order in [order for order in truth.doubts if any(order in orders for orders in spoken)]:
        del truth.doubts[order]
    truth.doubts |= guess.doubts
    truth.orders.join(guess.ids.ids, guess.ids.voided.keys() - guess.ids.ids.keys(), guess.ids.granted)
    truth.numbers.join(guess.numbers)
    base = truth.run.base
    for number, permit in guess.open.items():
        _, granted, run, order, epoch = permit
        truth.open[number] = (number, granted + base, truth.run, order, epoch) if run is guess.before else permit
    _go_on(truth.run, guess.before)
    if guess.run is not guess.before:
        truth.run = guess.run
    truth.mode, truth.epoch, truth.root = guess.mode, guess.epoch, guess.root
    truth.sealed, truth.segment_epoch = guess.sealed, guess.segment_epoch
    truth.actions.extend(guess.actions)
    truth.actions_total += guess.actions_total
    truth.resume()


def _go_on(run: Run, later: Run) -> None:
    """Let a run go on as it did in a segment, by a clock that begins at its last rebase before that."""
    base = run.base
    run.last, run.offset, run.base = base + later.last, later.offset - base, base + later.base
    run.draining, run.tickets, run.ended = later.draining, later.tickets, later.ended
    for number, at in later.halts:
        run.halted(number, base + at)
    run.permits += later.permits
    run.refusals += later.refusals
    run.blocked += later.blocked
    run.ticks += later.ticks
    run.stopped += later.stopped
    for number, at in later.begun.items():
        run.begun[number] = base + at
