"""One segment verified by itself, from a guess at what stands before it.

What a rule needs from before a segment is little, and most of it stands in the segment's own record or can be
guessed from its first lines. So a process may verify the segment ahead of those before it. What it could neither read
nor guess it writes down as a *question*, such as: is this permit, which an earlier segment must hold, open? Whoever
joins the segments knows the truth then. If guess and answers are right, the segment is taken as it was found; if one
is not, or if there is anything to be found in the segment at all, it is verified again, from the truth.

So every finding is made by the plain walk from the true state, and a wrong guess costs time, never an answer. What
has to be believed is only this: a segment in which nothing was found from a right guess would have none from the truth.
"""

import re
from collections.abc import Callable, Iterable
from itertools import chain
from math import inf

import attrs

from .evidence import Mark
from .kinds import Record
from .lines import parse
from .modes import HALTED, IDLE, RUNNING
from .monitor import Monitor
from .runs import Numbers, Orders, Permit, Run
from .tree import Tree
from .walk import Damaged, Walk, first_of

_QUESTIONS_MAX = 100_000
_TOTALS = 5
"""So many a heartbeat tells."""
_KIND_WITHIN = 60
"""Within so many bytes of a line its kind stands."""
_RECORDED = re.compile(rb'"kind":"(run|quote|trade|begin|heartbeat|unread|odd)",')
_TELLING = re.compile(rb'"kind":"(?:permit|refuse|flood|start|drain|ticket|stop|reset|run)",')


class Stray(Exception):  # noqa: N818 - it is no error: the segment has something that no guess covers
    """The segment can only be verified from the true state."""


@attrs.frozen(kw_only=True)
class Question:
    """What only the truth can answer.

    Attributes:
        kind: an outcome's kind, ``begin``, ``waiting`` or ``total``.
        number: the permit's; or the total.
        begun: when a send began, by the clock that the guess starts with.
        halted: the earliest halt before the outcome in this segment, by that clock.
        own: whether the run is still the one that the segment begins in.
        began: when that is told by a `begin` in this segment, by that clock.
        epoch: the current one, for a `begin`.
        name: of the total.
    """

    kind: str
    number: int = 0
    begun: int = 0
    halted: float = inf
    own: bool = True
    began: int | None = None
    epoch: int = 0
    name: str = ""


class _Ids(Orders):
    """The order ids of one segment. All are kept: which of them came again is for the truth to say."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.ids: dict[str, int] = {}
        self.voided: dict[str, int] = {}

    def remember(self, number: int) -> None:
        if number != self.reach:
            raise Stray

    def grant(self, order: str, remember: int) -> bool:  # noqa: ARG002 - `remember` has seen to it
        if order in self.ids:
            raise Stray
        self.ids[order] = self.granted
        self.granted += 1
        return False

    def void(self, order: str) -> None:
        self.voided.setdefault(order, self.ids.pop(order))


class Guess(Monitor):
    """A monitor that begins at a segment, and asks where it can't know.

    Attributes:
        start: the number of the segment's first record.
        opened: the `mono` of that, and its ``ts`` in nanoseconds.
        before: the run that goes on from before, on a clock that begins at its last rebase.
        fresh: whether a run begins at once, so that nothing of the one before it matters.
        guessed: the mode that it begins with, the epoch, and how many order ids are remembered.
        questions: in the order in which they arose.
        said: order ids that the venue spoke of, without a permit in the segment.
        ids: the order ids of the segment's permits.
    """

    def __init__(self, record: Record, mode: str, epoch: int, remember: int, *, fresh: bool) -> None:
        """Begin with the record of a segment, which a seal follows."""
        super().__init__()
        self.start: int = record["seq"]
        self.fresh = fresh
        self.guessed = mode, epoch, remember
        self.questions: list[Question] = []
        self.said: set[str] = set()
        self.opened = mono, ts_ns = record["mono"], record["ts"] * 1000
        self.before = Run(remember=remember, last=mono, offset=ts_ns - mono)
        self.run = self.before
        self.mode, self.epoch, self.young = mode, epoch, False
        self.sealed = self.start
        self.numbers = Numbers(self.start)
        self.orders = self.ids = _Ids(remember)

    def _ask(self, question: Question) -> None:
        self.questions.append(question)
        if len(self.questions) > _QUESTIONS_MAX:
            raise Stray

    def _outcome(self, record: Record) -> Permit | None:
        number = self._named(record["permit"]) if self.depth else record["permit"]
        if number >= self.start:
            return super()._outcome(record)
        run = self.run
        question = Question(
            kind=record["kind"],
            number=number,
            begun=run.base + record.get("begun", 0),
            halted=run.halt_after(number),
            own=run is self.before,
            began=run.begun.pop(number, None),
        )
        self._ask(question)
        return None

    def _may_begin(self, number: int) -> bool:
        if number >= self.start:
            return super()._may_begin(number)
        self._ask(Question(kind="begin", number=number, own=self.run is self.before, epoch=self.epoch))
        return True

    def _waiting(self, run: Run) -> int:
        if run is self.before:
            self._ask(Question(kind="waiting"))
        return super()._waiting(run)

    def _total(self, name: str, told: int, counted: int) -> None:
        if self.run is not self.before or name == "consulted":
            super()._total(name, told, counted)
            return
        question = Question(kind="total", name=name, number=told - counted)
        if question not in self.questions[-_TOTALS:]:  # as long as nothing happens, a heartbeat asks the same
            self._ask(question)

    def _on_venue(self, record: Record, number: int) -> None:
        if record["id"] not in self.ids.ids:
            self.said.add(record["id"])
        super()._on_venue(record, number)


class _Ahead(Walk):
    """The walk over one segment: it ends at the first thing that is wrong."""

    def __init__(self, monitor: Monitor, tree: Tree, wanted: Iterable[int]) -> None:
        super().__init__()
        self.monitor, self.tree = monitor, tree
        self.told: list[tuple[int, Record]] = []
        self.records = self.sealed = self._first = tree.size
        self._wanted = frozenset(size for size in wanted if size > tree.size)
        self._due = sorted(self._wanted, reverse=True)

    def checkpoint(self, record: Record) -> None:
        self.told.append((self.records, record))

    def broken(self, rule: str, message: str) -> None:
        raise Stray(rule, message)


@attrs.frozen(kw_only=True)
class Found:
    """A segment in which nothing was found.

    Attributes:
        begun: size and peaks of the tree before it, as its record says.
        tree: the tree after it.
        monitor: the monitor after it; for the first segment that is the truth.
        records: how many there are up to its end.
        sealed: how many of these are sealed.
        root: in its last seal.
        counts: of its own records, by kind.
        marks: what was noted of wanted sizes, counted from its beginning.
        told: its `checkpoint` records, with their numbers.
        torn: how many torn bytes it ends with.
        bytes: how many it has.
    """

    begun: tuple[int, list[bytes]]
    tree: Tree
    monitor: Monitor
    records: int
    sealed: int
    root: str | None
    counts: dict[str, int]
    marks: dict[int, Mark]
    told: list[tuple[int, Record]]
    torn: int
    bytes: int


def look(
    name: str,
    chunks: Iterable[bytes],
    remember: int,
    wanted: Iterable[int] = (),
    progress: Callable[[int], None] | None = None,
) -> Found | None:
    """Verify one segment ahead of those before it.

    Args:
        name: the segment's.
        chunks: its bytes, of which the first must hold some lines.
        remember: how many order ids its run remembers, as a guess.
        wanted: the sizes of which something is to be noted.
        progress: called with the number of bytes read so far.

    Returns:
        What was found; None if it can only be verified from the true state.
    """
    stream = iter(chunks)
    head = next(stream, b"")
    try:
        monitor, tree = _begin(head.split(b"\n")[:-1], remember) if first_of(name) else (Monitor(), Tree())
        begun = tree.size, tree.peaks
        walk = _Ahead(monitor, tree, wanted)
        walk.progress = progress
        walk.segment(chain((head,), stream))
        walk.finish()
    except (Stray, Damaged):
        return None
    if not monitor.settled:
        return None
    return Found(
        begun=begun,
        tree=tree,
        monitor=monitor,
        records=walk.records,
        sealed=walk.sealed,
        root=walk.root,
        counts=walk.counts,
        marks=walk.marks,
        told=walk.told,
        torn=walk.torn,
        bytes=walk.bytes,
    )


def _begin(lines: list[bytes], remember: int) -> tuple[Guess, Tree]:
    """Guess the state before a segment from its first lines."""
    record = parse(lines[0]) if lines else None
    if not isinstance(record, dict) or record["kind"] != "segment" or _kind(lines, 1) != "seal":
        raise Stray
    if len(record["peaks"]) != record["size"].bit_count():
        raise Stray
    fresh = _kind(lines, 2) == "run" and _kind(lines, 3) != "recover"
    mode, epoch = RUNNING, record["epoch"]
    for line in lines[3 if fresh else 2 :]:
        if _TELLING.search(line[:_KIND_WITHIN]):
            mode, epoch = _told(parse(line), mode, epoch)
            break
    guess = Guess(record, IDLE if fresh and mode == RUNNING else mode, epoch, remember, fresh=fresh)
    found = (_RECORDED.search(line[:_KIND_WITHIN]) for line in lines[2:])
    first = next(filter(None, found), None)
    guess.before.inputs = first is not None and first[1] != b"run"
    return guess, Tree(record["size"], [bytes.fromhex(peak) for peak in record["peaks"]])


def _kind(lines: list[bytes], place: int) -> str | None:
    found = parse(lines[place]) if place < len(lines) else None
    return found["kind"] if isinstance(found, dict) else None


def _told(record: Record | str, mode: str, epoch: int) -> tuple[str, int]:
    """Return the mode and the epoch before a record, as far as that tells them."""
    if isinstance(record, str):
        return mode, epoch
    if record["kind"] == "reset":
        return HALTED, record["prior"]
    if record["kind"] == "start":
        return IDLE, record["epoch"]
    return record.get("mode", RUNNING), record["epoch"]
