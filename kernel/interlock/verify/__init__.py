"""The independent verifier of a journal.

It shares no code with the engine: only the text of ``docs/journal.md``. So it imports nothing from
the rest of the package. The rules are pure: they are handed bytes, and look at neither files nor clocks.

- `kinds` is the format's table as data.
- `lines` checks one line by itself.
- `tree` is the Merkle tree.
- `monitor` replays the rules; `modes`, `permits` and `recorded` are its parts.
- `runs` holds what that needs to remember.
- `walk` leads the bytes through these.
- `notes` and `stamps` are the forms of what is signed; `evidence` holds them against the journal.
- `routes` says which journal an anchor is held against.
- `answer` and `report` are the answer.
- `proofs` makes and checks proofs that a record is in a journal, and that a journal grew from an earlier one.

These touch the outside:

- `files` reads segments and notes, `homes` finds them.
- `guess` and `crew` share the segments out to processes.
- `pack` makes one file of the whole package, and `__main__` is its command.

Example:
    >>> report = verify([])
    >>> report.verdict, report.exit_code
    ('VERIFIED-TO-0', 5)
"""

from collections.abc import Callable

from .answer import answer
from .evidence import Evidence, Inputs
from .report import Action, Anchor, Checkpoints, Doubt, Finding, Report, Status
from .walk import Segments, Walk

__all__ = [
    "Action",
    "Anchor",
    "Checkpoints",
    "Doubt",
    "Finding",
    "Inputs",
    "Report",
    "Segments",
    "Status",
    "verify",
]


def verify(
    segments: Segments, progress: Callable[[int], None] | None = None, *, inputs: Inputs | None = None
) -> Report:
    """Verify a journal by itself.

    Args:
        segments: for each segment, in the order of their names, its name (a path's last part is
            looked at) and its bytes in chunks of any size, best of 64 KiB to 1 MiB. Each is read
            once, and none is read after a finding that ends the walk.
        progress: called about once a chunk with how many bytes have been read.
        inputs: what was handed in beside the journal: keys, checkpoints, anchors.

    Returns:
        The answer. What is wrong with a journal is in it, never raised; an exception can only come
        from the iterables themselves, such as an `OSError`, or from ``progress``.

    Raises:
        ValueError: a key or a certificate among the inputs that the auditor gave is none.
    """
    inputs = inputs or Inputs()
    evidence = Evidence(inputs)
    walk = Walk(evidence, progress)
    walk.read(segments)
    return answer(walk, evidence, inputs)
