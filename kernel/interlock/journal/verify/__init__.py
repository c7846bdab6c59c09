"""The independent verifier of a journal.

It shares no code with the engine: only the text of ``docs/journal.md``. So it imports nothing from
the rest of the package, and neither files nor clocks: it is handed the bytes.

- `kinds` is the format's table as data.
- `lines` checks one line by itself.
- `tree` is the Merkle tree.
- `monitor` replays the rules.
- `runs` holds what that needs to remember.
- `walk` leads the bytes through these.
- `report` is the answer.

Example:
    >>> report = verify([])
    >>> report.verdict, report.exit_code
    ('VERIFIED-TO-0', 5)
"""

from collections.abc import Callable

from .report import Action, Doubt, Finding, Report, Status
from .walk import Segments, Walk

__all__ = ["Action", "Doubt", "Finding", "Report", "Segments", "Status", "verify"]


def verify(segments: Segments, progress: Callable[[int], None] | None = None) -> Report:
    """Verify a journal by itself.

    Args:
        segments: for each segment, in the order of their names, its name (a path's last part is
            looked at) and its bytes in chunks of any size, best of 64 KiB to 1 MiB. Each is read
            once, and none is read after a finding that ends the walk.
        progress: called about once a chunk with how many bytes have been read.

    Returns:
        The answer. What is wrong with a journal is in it, never raised; an exception can only come
        from the iterables themselves, such as an `OSError`, or from ``progress``.
    """
    walk = Walk(progress)
    walk.read(segments)
    return walk.report()
