"""The walk over a journal: bytes to lines, lines to leaves, records to the monitor.

What happens when a rule is broken depends on what can still be believed:

- A broken `Structure` or a wrong `seq` ends the walk: from there on neither the leaf numbers nor
  the permit numbers mean anything.
- After a seal that does not hold no further seal is checked, since every later root covers the
  same leaves. The rules are still replayed, for they may show what the change was for.
- Any other finding is recorded and the walk goes on.

The walk holds one block of the input, the leaves since the last seal (but not many more than a
block has), and what the monitor keeps.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter

from .evidence import CHECKPOINTS, Evidence, Mark
from .kinds import SHAPES, Record
from .lines import LINE_MAX, parse, parse_all
from .modes import SEQUENCE
from .monitor import SEALS, SEGMENTS, Monitor
from .report import FINDINGS_MAX, Finding
from .tree import Tree, leaf_hashes

STRUCTURE = "Structure"

_BLOCK = 2**20
_LEAVES_MAX = 4096
_BATCH_BYTES = 2**14
_NAME_DIGITS = 20
_SEAL = b'"kind":"seal"'
_SUFFIXES = (".jsonl", ".jsonl.zst")
_SEQ, _KIND = itemgetter("seq"), itemgetter("kind")
_WATCHED = frozenset({"seal", "run", "segment", "checkpoint", "anchor"})

Segments = Iterable[tuple[str, Iterable[bytes]]]


def first_of(name: str) -> int | None:
    """Return the number of the first record, which is a segment's name; None if it is not the name of one."""
    base = name.rpartition("/")[2]
    number, dot, suffix = base.partition(".")
    digits = number.isascii() and number.isdecimal() and len(number) == _NAME_DIGITS
    return int(number) if digits and dot + suffix in _SUFFIXES else None


def tell_of(counts: Mapping[str, int]) -> tuple[int, int, int]:
    """Return how many `checkpoint`, `anchor` and `seal` records there are."""
    return counts["checkpoint"], counts["anchor"], counts["seal"]


class Damaged(Exception):  # noqa: N818 - it is a finding
    """The bytes of a segment are not what its name says. Raised by the chunks of a segment, it breaks `Structure`."""


class Walk:
    """One verification under way.

    Attributes:
        monitor: replays the rules.
        tree: over the lines so far, but for the latest few.
        records: how many whole lines were read and structurally right.
        bytes: how many bytes were read.
        torn: how many bytes follow the last line feed.
        counts: records by kind.
        findings: the first broken rules, at most `FINDINGS_MAX`.
        findings_total: how many there are.
        sealed: how many records are up to and with the last seal that holds.
        root: the root in that seal, in hex; None without a seal.
        whole: false once reading has ended before the end.
        marks: what was noted of the sizes that the evidence wants.
        progress: called with the number of bytes read so far, about once a block.
        seals_hold: false after a seal that did not.
        evidence: what was handed in beside the journal.
    """

    _file: str  # the segment that was entered
    _first: int  # the number of its first record

    def __init__(self, evidence: Evidence | None = None, progress: Callable[[int], None] | None = None) -> None:
        """Make a walk that has read nothing.

        Args:
            evidence: what was handed in beside the journal.
            progress: called with the number of bytes read so far, about once a block.
        """
        self.progress = progress
        self.evidence = evidence
        self.monitor = Monitor()
        self.tree = Tree()
        self.records = 0
        self.bytes = 0
        self.torn = 0
        self.counts = dict.fromkeys(SHAPES, 0)
        self.findings: list[Finding] = []
        self.findings_total = 0
        self.sealed = 0
        self.root: str | None = None
        self.whole = True
        self.marks: dict[int, Mark] = {}
        self._roots: dict[int, bytes] = {}
        self._wanted = frozenset(evidence.wanted if evidence else ())
        self._due = sorted(self._wanted, reverse=True)
        self._leaves: list[bytes] = []
        self.seals_hold = True

    def read(self, segments: Segments) -> None:
        """Read segments until the end or until nothing more can be believed.

        Args:
            segments: name and byte chunks of each, in the order of their names.
        """
        for name, chunks in segments:
            if not self.enter(name) or not self.segment(chunks):
                break
        self.finish()

    def enter(self, name: str) -> bool:
        """Go on to a segment; return whether it may be read."""
        if self.torn:
            # Only now is it known that the segment before this one was not the last.
            self.broken(STRUCTURE, f"{self.torn} torn bytes before another segment")
            self.torn = 0
            self.whole = False
            return False
        self._file, self._first = name, self.records
        number = first_of(name)
        if number is None:
            self.broken(STRUCTURE, "the segment's name is not a number of 20 digits and .jsonl")
        elif number != self.records:
            self.broken(SEQUENCE, f"the segment begins at {number}, not {self.records}")
        else:
            return True
        self.whole = False
        return False

    def segment(self, chunks: Iterable[bytes]) -> bool:
        """Read one segment; return whether to go on to the next."""
        try:
            self.whole = self._lines(chunks)
        except Damaged as damage:
            self.broken(STRUCTURE, str(damage))
            self.whole = False
        return self.whole

    def _lines(self, chunks: Iterable[bytes]) -> bool:
        pieces: list[bytes] = []
        waiting = torn = 0
        coming = self._counted(chunks)
        for block in coming:
            head, feed, rest = block.rpartition(b"\n")
            if feed:
                lines = b"".join((*pieces, head, feed))
                # Only the first may have begun in an earlier block, and a block is shorter.
                if waiting > LINE_MAX or lines.index(b"\n") > LINE_MAX:
                    self.broken(STRUCTURE, f"the line is longer than {LINE_MAX} bytes")
                    return False
                if half := _half(lines):
                    return self._block(lines[:-half]) and self._torn(lines[-half:] + rest, coming)
                if not self._block(lines):
                    return False
                pieces, waiting, torn = [], 0, 0
            if written := rest.rstrip(b"\x00"):  # zeros at the end are room set aside, no bytes of the journal
                torn = waiting + len(written)
            waiting += len(rest)
            if waiting <= LINE_MAX:
                pieces.append(rest)
        self.torn = torn
        return True

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks(chunks):
            self.bytes += len(block)
            yield block
            if self.progress is not None:
                self.progress(self.bytes)

    def _torn(self, lines: bytes, coming: Iterable[bytes]) -> bool:
        """Take lines the first of which was not copied whole, and the rest; return whether a crash may have left them.

        They are the last write then: it may have had more lines, but no seal, which is written by itself.
        """
        read, behind = 0, b""
        for piece in chain([lines], coming):
            behind = behind[-len(_SEAL) :] + (piece if read else piece[piece.index(b"\n") :])
            if _SEAL in behind:
                self.torn = 0
                self.broken(STRUCTURE, "zeros stand in the line, and a seal follows")
                return False
            if written := piece.rstrip(b"\x00"):
                self.torn = read + len(written)
            read += len(piece)
        return True

    def finish(self) -> None:
        """Note what is wanted of the last lines."""
        self.grow()
        for size in self._wanted:
            if size not in self.marks and size in self._roots:
                self.marks[size] = Mark(root=self._roots[size], ts=None)

    def _block(self, lines: bytes) -> bool:
        """Take whole lines, if any; return whether to go on."""
        if lines and self.records == self._first:
            self._opens(lines[: lines.index(b"\n")])
        start = 0
        while start < len(lines):
            stop = lines.find(b"\n", start + _BATCH_BYTES) + 1 or len(lines)
            if not self._batch(lines[start:stop]):
                return False
            start = stop
        if len(self._leaves) > _LEAVES_MAX:
            self.grow()
        return True

    def _batch(self, lines: bytes) -> bool:
        """Take some of the lines; return whether to go on."""
        records, fault = parse_all(lines)
        numbers = [*map(_SEQ, records)]
        right = range(self.records, self.records + len(numbers))
        rule = STRUCTURE
        if numbers != [*right]:
            place = next(place for place, (one, two) in enumerate(zip(numbers, right, strict=True)) if one != two)
            del records[place:]
            rule, fault = SEQUENCE, f"seq is {numbers[place]}, not {right[place]}"
        self._take(leaf_hashes(lines) if self.seals_hold else [], records)
        if fault is not None:
            self.broken(rule, fault)
        return fault is None

    def _take(self, leaves: list[bytes], records: list[Record]) -> None:
        """Take records that are right by themselves, and the hashes of their lines."""
        kinds = [*map(_KIND, records)]
        counts = Counter(kinds)
        begun = 0
        if watched := counts.keys() & _WATCHED:
            for place in sorted(place for kind in watched for place in _places(kinds, kind, counts[kind])):
                self._replay(leaves[begun:place], records[begun:place])
                self._watch(kinds[place], records[place], leaves[place : place + 1])
                self._replay([], records[place : place + 1])
                self.counts[kinds[place]] += 1
                begun = place + 1
        self._replay(leaves[begun : len(records)], records[begun:])
        for kind, count in counts.items():
            if kind not in _WATCHED:
                self.counts[kind] += count

    def _replay(self, leaves: list[bytes], records: list[Record]) -> None:
        """Hand records to the monitor, and their leaves, but where they are there already, to the tree."""
        self._leaves += leaves
        monitor = self.monitor
        while records:
            done = monitor.replay(records, self.records)
            self.records += done - 1
            for rule, message in monitor.broken:
                self.broken(rule, message)
            monitor.broken.clear()
            self.records += 1
            records = records[done:]

    def _opens(self, line: bytes) -> None:
        """Check that a segment begins with its record, and that the one before it was closed."""
        record = parse(line)
        if isinstance(record, str):
            return  # it will be found
        if record["kind"] != "segment":
            self.broken(SEGMENTS, f"the segment begins with a {record['kind']}")
        if self.monitor.sealed != self.records:
            self.broken(SEGMENTS, "the segment before this one does not end with a seal")

    def grow(self) -> None:
        """Put the lines so far into the tree, stopping at each wanted size."""
        leaves, tree, due = self._leaves, self.tree, self._due
        if self.seals_hold:  # after a seal that doesn't hold the tree serves nothing
            while due and due[-1] <= tree.size + len(leaves):
                size = due.pop()
                place = size - tree.size
                tree.add(leaves[:place])
                del leaves[:place]
                self._roots[size] = tree.root()
            tree.add(leaves)
        self._leaves = []

    def _watch(self, kind: str, record: Record, leaf: list[bytes]) -> None:
        """Take a record that speaks of the tree."""
        number = self.records
        self.grow()
        if kind == "seal":
            self._seal(record, number)
        elif kind == "run":
            if not self.monitor.opening:
                self.monitor.root = self.tree.root().hex() if self.seals_hold else None
        elif kind == "segment":
            self._segment_record(record, number)
        elif kind == "checkpoint":
            self.checkpoint(record)
        self._leaves += leaf
        if kind == "seal" and number + 1 in self._wanted:
            self._mark(record, number + 1)

    def checkpoint(self, record: Record) -> None:
        """Hold a `checkpoint` record against its note."""
        if self.evidence is not None and (fault := self.evidence.told(record)):
            self.broken(CHECKPOINTS, fault)

    def _mark(self, seal: Record, size: int) -> None:
        self.grow()
        checkpoints, anchors, seals = tell_of(self.counts)
        self.marks[size] = Mark(root=self._roots.get(size), ts=seal["ts"], about=(checkpoints, anchors, seals + 1))

    def _segment_record(self, record: Record, number: int) -> None:
        """Check what the record of a segment says about the tree before it."""
        if number != self._first:
            self.broken(SEGMENTS, "a segment record within a segment")
        if not self.seals_hold:
            self.monitor.root = None
            return
        root = self.tree.root().hex()
        self.monitor.root = root
        peaks = [peak.hex() for peak in self.tree.peaks]
        if (record["size"], record["root"], record["peaks"]) != (number, root, peaks):
            self.broken(SEGMENTS, "the size, root and peaks of the segment record are not those of the tree before it")

    def _seal(self, record: Record, number: int) -> None:
        """Check a seal against the lines before it."""
        if not self.seals_hold:
            return
        if record["size"] != number:
            self.seals_hold = False
            self.broken(SEALS, f"the seal's size is {record['size']}, not {number}")
        elif record["root"] != self.tree.root().hex():
            self.seals_hold = False
            after = f"after record {self.sealed - 1}" if self.sealed else "before it"
            self.broken(SEALS, f"the root is wrong: something {after} was changed")
        else:
            self.sealed, self.root = number + 1, record["root"]

    def broken(self, rule: str, message: str) -> None:
        """Take note of a broken rule at the record that is being read."""
        self.findings_total += 1
        if len(self.findings) < FINDINGS_MAX:
            finding = Finding(
                file=self._file,
                # Every line before it in the file is a record.
                line=self.records - self._first + 1,
                seq=self.records,
                rule=rule,
                message=message,
            )
            self.findings.append(finding)


def _half(lines: bytes) -> int:
    """Return how many bytes of lines there are from the first one on in which zeros stand. No record has one."""
    place = lines.find(b"\x00")
    return 0 if place < 0 else len(lines) - lines.rfind(b"\n", 0, place) - 1


def _places(kinds: list[str], kind: str, count: int) -> Iterator[int]:
    """Yield where a kind stands, which does so many times."""
    place = -1
    for _ in range(count):
        place = kinds.index(kind, place + 1)
        yield place


def blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks that are larger than a block, so that memory doesn't depend on the caller's."""
    for chunk in chunks:
        if len(chunk) <= _BLOCK:
            yield chunk
        else:
            for start in range(0, len(chunk), _BLOCK):
                yield chunk[start : start + _BLOCK]
