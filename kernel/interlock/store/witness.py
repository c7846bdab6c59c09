"""What a witness is: somebody outside the home who keeps checkpoints, and tells what he kept last.

Whoever may write a home can make its whole journal anew, up to what somebody else remembers of it. So a witness is
as good as it is *elsewhere*: another volume, another machine, another firm. Two calls are all that is asked of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from interlock.core.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.journal.notes import Note, Signature

__all__ = ["Kept", "Receipt", "Witness", "WitnessError", "WitnessRefusedError"]


class WitnessError(InterlockError):
    """The witness can't be asked, or does not answer as it should: nothing is known. To be tried again."""


class WitnessRefusedError(WitnessError):
    """The witness has seen another history of this journal than this one."""


@attrs.frozen(kw_only=True)
class Kept:
    """The latest checkpoint that a witness has of one journal.

    Attributes:
        size: of the tree.
        root: of the tree, in hex; None if the witness tells the size alone.
    """

    size: int
    root: str | None


@attrs.frozen(kw_only=True)
class Receipt:
    """What a witness gave for a checkpoint; nothing, if it just keeps it.

    Attributes:
        cosignature: to be added to the checkpoint's signatures.
        token: to be kept beside the checkpoint.
    """

    cosignature: Signature | None = None
    token: bytes | None = None


class Witness(Protocol):
    """Somebody who keeps checkpoints. Called from any thread, never on the way of an order.

    Attributes:
        name: for journal and messages; letters, digits, ``.``, ``_`` and ``-``.
        remembers: whether `latest` can tell anything. One that can't helps against no rollback.
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def remembers(self) -> bool:
        """See the class."""

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Take a checkpoint, in bounded time. When this returns it is durable there.

        Args:
            note: the checkpoint, signed.
            proof: gives the consistency proof to it from a smaller size.

        Raises:
            WitnessRefusedError: it does not go with what the witness has.
            WitnessError: nobody knows whether it was taken.
        """

    def latest(self, note: Note) -> Kept | None:
        """What was kept last, in bounded time; None if nothing was.

        Args:
            note: the newest checkpoint at hand of the journal that is asked about, or one of the empty tree: some
                witnesses only answer to what is signed, and may keep it.

        Raises:
            WitnessError: it can't be told.
        """
