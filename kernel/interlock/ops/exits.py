"""Exit codes: part of the contract with scripts that call us."""

from __future__ import annotations

import enum

__all__ = ["Exit"]


class Exit(enum.IntEnum):
    """What a command came to."""

    FINE = 0
    """Done as asked; for ``verify``: VERIFIED."""
    USAGE = 2
    """A wrong option, a file that isn't there or can't be understood."""
    HALTED = 3
    """Ended or refused because the home is HALTED; for ``status``: no permits are given."""
    UNCONFIRMED = 4
    """Emission is stopped, but someone may still be inside a send."""
    IN_DOUBT = 5
    """``verify``: orders whose end nobody recorded, or an unsealed tail; ``replay``: not all can be replayed."""
    TAMPERED = 6
    """``verify``: a rule is broken; ``replay``: a decision differs."""
    FAILED = 7
    """``drill``: something that the drill was to show did not come about."""
