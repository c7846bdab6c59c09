"""The records of one engine in the order of what happened, one at a time, from the files of a bundle.

It reads what the verifier reads, and believes a line under the same condition: it must be canonical and have exactly
the shape of its kind. At the first line that has not, the story ends, and says so: behind it nobody knows what is what.

Salvaged records stand in the journal after the `run` that salvaged them and belong before it. So a `run` is held back
until the record after it is known. What is salvaged is told as it was, under the number of the `salvage` that it stands
in, and what refers to a salvaged permit is told with that number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.ops.bundle.tree import lines
from interlock.verify.lines import LINE_MAX, parse
from interlock.verify.walk import Damaged, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from interlock.ops.bundle.tree import Tree

__all__ = ["Entry", "Story", "engines_of", "segments_of", "torn_of"]

_ROOM: Final = "journal/"
_ROOMS: Final = (_ROOM, "checkpoints/", "anchors/")
_OFTEN_BYTES: Final = 1 << 20
_NAMING: Final = frozenset({"sent", "unknown", "void"})


class Entry(NamedTuple):
    """A record, and where it stands.

    Attributes:
        seq: the leaf that it stands in.
        record: as it was written.
        salvaged: whether it was found behind a seal, after a crash.
    """

    seq: int
    record: dict[str, Any]
    salvaged: bool


def engines_of(tree: Tree) -> list[str]:
    """The engines that the bundle tells of: one of which there are checkpoints or anchors should have a journal."""
    return sorted({name.split("/")[1] for name in tree.names() if name.startswith(_ROOMS) and name.count("/") > 1})


def segments_of(tree: Tree, engine: str) -> list[str]:
    """The segments of an engine, in their order."""
    prefix = f"{_ROOM}{engine}/"
    found: dict[int, str] = {}
    for name in tree.names():  # of one that is there plain and compressed, the plain one, which comes first
        number = first_of(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if number is not None:
            found.setdefault(number, name)
    return [found[number] for number in sorted(found)]


def torn_of(tree: Tree, engine: str) -> list[str]:
    """What recoveries set aside."""
    return [name for name in tree.names() if name.startswith(f"{_ROOM}{engine}/") and ".torn-" in name]


class Story:
    """What one engine's journal tells.

    Args:
        tree: the bundle.
        engine: whose.
        progress: called with bytes of text since it was last called.

    Attributes:
        records: how many lines were read.
        ended: why the story ends before the journal does; empty if it does not.
    """

    def __init__(self, tree: Tree, engine: str, progress: Callable[[int], None] = lambda _: None) -> None:
        self._tree = tree
        self._engine = engine
        self._progress = progress
        self.records = 0
        self.ended = ""

    def __iter__(self) -> Iterator[Entry]:
        """Each record once."""
        held: list[Entry] = []
        numbers: dict[int, int] = {}
        sealed = left = 0
        for seq, record in self._lines():
            kind = record["kind"]
            if kind == "salvage":
                left -= 1
                yield _unwrapped(seq, record, numbers, sealed)
                if left > 0:
                    continue
            elif kind == "recover" and held:
                sealed, left, numbers = record["sealed"], record["salvaged"], {}
                held.append(Entry(seq, record, False))  # noqa: FBT003 - a field of the tuple
                if left > 0:
                    continue
            yield from held
            held.clear()
            if kind == "run":
                held.append(Entry(seq, record, False))  # noqa: FBT003
            elif kind not in {"salvage", "recover"}:
                yield Entry(seq, record, salvaged=False)
        yield from held

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            names: Sequence[str] = segments_of(self._tree, self._engine)
            expected = (first_of(names[0].rpartition("/")[2]) if names else None) or 0
            read = 0
            for name in names:
                for line in lines(self._tree, name, LINE_MAX):
                    read += len(line) + 1
                    if read > _OFTEN_BYTES:
                        self._progress(read)
                        read = 0
                    record = parse(line)
                    if isinstance(record, str) or record["seq"] != expected:
                        self.ended = f"{name}: record {expected} can't be believed, nor what follows it"
                        return
                    expected += 1
                    self.records += 1
                    yield record["seq"], record
        except (OSError, Damaged) as error:
            self.ended = str(error)


def _unwrapped(seq: int, record: dict[str, Any], numbers: dict[int, int], sealed: int) -> Entry:
    """The record in a `salvage`, however deep, with what it refers to as it is numbered now."""
    while record["kind"] == "salvage":
        record = record["record"]
        if record["kind"] in {"permit", "salvage"}:
            numbers[record["seq"]] = seq
    if record["kind"] in _NAMING and record["permit"] >= sealed:
        record = {**record, "permit": numbers.get(record["permit"], record["permit"])}
    elif record["kind"] == "halt":
        named = [numbers.get(number, number) if number >= sealed else number for number in record["in_flight"]]
        record = {**record, "in_flight": named}
    return Entry(seq, record, salvaged=True)
