"""The journals on the simulated disk, as nobody else could look at them: what is written, and what is there to stay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from interlock.testing.simulation.disk import Directory, File
from interlock.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interlock.testing.simulation.disk import Node
    from interlock.testing.simulation.system import System
    from interlock.verify import Report

__all__ = ["HOME", "Journals", "Sent"]

HOME: Final = "/var/desk"
"""Where the home is."""

_PERMIT: Final = re.compile(rb'"seq":(\d+),"kind":"permit","ts":\d+,"mono":\d+,"epoch":\d+,"id":"([^"]*)"')
_ENDING: Final = ".jsonl"


@attrs.frozen(kw_only=True)
class Sent:
    """An order that the venue saw.

    Attributes:
        engine: whose.
        permit: its number.
        order: the order's id.
        epoch: of the permit.
        disk: whether the permit had to be on the disk.
    """

    engine: str
    permit: int
    order: str
    epoch: int
    disk: bool


class Journals:
    """All journals of the home.

    Args:
        system: on which they are.
    """

    def __init__(self, system: System) -> None:
        self._system = system

    def home(self) -> Directory:
        """The home's directory."""
        node = self._system.find(HOME)
        if not isinstance(node, Directory):
            raise TypeError(HOME)
        return node

    def _segments(self, engine: str, *, durable: bool = False) -> Iterator[tuple[str, File]]:
        """An engine's segments with their names, the newest first: those that a power cut leaves for sure, or all."""
        node: Node | None = self.home()
        for name in ("journal", engine):
            if not isinstance(node, Directory):
                return
            node = (node.durable if durable else node.entries).get(name)
        if isinstance(node, Directory):
            entries = node.durable if durable else node.entries
            for name in sorted(entries, reverse=True):
                found = entries[name]
                if name.endswith(_ENDING) and isinstance(found, File):
                    yield name, found

    def written(self, sent: Sent) -> bool:
        """Whether its permit is in the journal, as durable as it has to be."""
        needle = b'{"v":1,"seq":%d,"kind":"permit"' % sent.permit
        files = self._segments(sent.engine, durable=sent.disk)
        return any(needle in (file.durable if sent.disk else file.data) for _, file in files)

    def lost(self, engine: str) -> bool:
        """Whether a sync of a segment has failed, and so lost what nobody can find out."""
        return any(file.lost for _, file in self._segments(engine))

    def forgot(self, sends: Sequence[Sent]) -> Sent | None:
        """An order whose permit is in no journal; None: they know all."""
        known: dict[str, set[tuple[int, str]]] = {}
        for engine in sorted({sent.engine for sent in sends}):
            found = (match for _, file in self._segments(engine) for match in _PERMIT.finditer(file.data))
            known[engine] = {(int(match[1]), match[2].decode()) for match in found}
        return next((sent for sent in sends if (sent.permit, sent.order) not in known[sent.engine]), None)

    def reports(self) -> Iterator[tuple[str, Report]]:
        """What the verifier says of each, by engine."""
        top = self.home().entries["journal"]
        for engine in sorted(top.entries) if isinstance(top, Directory) else ():
            files = [*self._segments(engine)][::-1]
            yield engine, verify([(name, [bytes(file.data).rstrip(b"\0")]) for name, file in files])
