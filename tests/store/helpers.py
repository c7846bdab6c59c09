"""Keys for tests: a root, and a directory of segment keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.store.keys import DAY_US, Ring, issue, make_root

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAY_US", "NAME", "NOW_US", "ring"]

NAME = "desk.example/root"
NOW_US = 1_767_600_000_000_000


def ring(where: Path, *, now_us: int = NOW_US, days: int = 30, label: str = "first") -> Ring:
    """A root in ``where/root``, and one segment key in ``where/keys`` that is valid from now on."""
    if not (where / "root").exists():
        make_root(where / "root", name=NAME)
    issue(where / "root", where / "keys", days=days, label=label, now_us=now_us)
    return Ring.open(where / "keys")
