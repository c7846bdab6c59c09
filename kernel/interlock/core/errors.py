"""What is raised, under one root. A refusal is not here: refusals are values (`Verdict`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.core.reasons import HaltCode

__all__ = ["HomeError", "InterlockError", "LimitsError", "MisuseError", "PermitError"]


class InterlockError(Exception):
    """The root of everything that Interlock raises."""


class MisuseError(InterlockError):
    """The caller broke the contract of a call; nothing was changed."""


class PermitError(MisuseError):
    """A permit was made, copied, or used other than once inside its send."""


class LimitsError(InterlockError):
    """The limits are missing, incomplete or senseless; the message names file and key."""


class HomeError(InterlockError):
    """The home can't be used as asked; nothing is permitted. ``code`` is a stable code."""

    def __init__(self, code: HaltCode, message: str) -> None:
        super().__init__(message)
        self.code = code
