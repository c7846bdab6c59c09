"""Contracts that the core does not keep, so that CrossHair can be seen to say so."""

from __future__ import annotations

from interlock.core.modes import NEXT, Mode, Trigger


def nothing_leaves_halted(mode: Mode, trigger: Trigger) -> Mode | None:
    """A reset does.

    post: mode is not Mode.HALTED or __return__ in (None, Mode.HALTED)
    """
    return NEXT.get((mode, trigger))


def nothing_runs(mode: Mode, trigger: Trigger) -> Mode | None:
    """A start does.

    post: __return__ is not Mode.RUNNING
    """
    return NEXT.get((mode, trigger))
