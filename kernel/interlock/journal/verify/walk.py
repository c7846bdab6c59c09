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

from collections.abc import Callable, Iterable, Iterator

from .kinds import SHAPES, Record
from .lines import LINE_MAX, parse
from .monitor import SEALS, SEQUENCE, Monitor
from .report import DOUBTS_MAX, FINDINGS_MAX, Doubt, Finding, Report, Status
from .tree import Tree

STRUCTURE = "Structure"

_BLOCK = 2**20
_LEAVES_MAX = 4096
_NAME_DIGITS = 20
_SUFFIX = ".jsonl"

Segments = Iterable[tuple[str, Iterable[bytes]]]


class Walk:
    """One verification under way."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        """Make a walk that has read nothing.

        Args:
            progress: called with the number of bytes read so far, about once a block.
        """
        self._progress = progress
        self._monitor = Monitor()
        self._tree = Tree()
        self._leaves: list[bytes] = []
        self._file = ""
        self._first = 0
        self._records = 0
        self._bytes = 0
        self._torn = 0
        self._counts = dict.fromkeys(SHAPES, 0)
        self._findings: list[Finding] = []
        self._findings_total = 0
        self._seals_hold = True
        self._sealed = 0
        self._root: str | None = None

    def read(self, segments: Segments) -> None:
        """Read segments until the end or until nothing more can be believed.

        Args:
            segments: name and byte chunks of each, in the order of their names.
        """
        for name, chunks in segments:
            if self._torn:
                # Only now is it known that the segment before this one was not the last.
                self._broken(STRUCTURE, f"{self._torn} torn bytes before another segment")
                self._torn = 0
                return
            self._file, self._first = name, self._records
            if not self._named(name) or not self._segment(chunks):
                return

    def _named(self, name: str) -> bool:
        base = name.rpartition("/")[2]
        number = base.removesuffix(_SUFFIX)
        digits = number.isascii() and number.isdecimal() and len(number) == _NAME_DIGITS
        if not (digits and base.endswith(_SUFFIX)):
            self._broken(STRUCTURE, "the segment's name is not a number of 20 digits and .jsonl")
        elif int(number) != self._records:
            self._broken(SEQUENCE, f"the segment begins at {int(number)}, not {self._records}")
        else:
            return True
        return False

    def _segment(self, chunks: Iterable[bytes]) -> bool:
        """Read one segment; return whether to go on to the next."""
        pieces: list[bytes] = []
        waiting = torn = 0
        for block in _blocks(chunks):
            self._bytes += len(block)
            head, feed, rest = block.rpartition(b"\n")
            if feed:
                lines = b"".join((*pieces, head)).split(b"\n")
                # Only the first may have begun in an earlier block, and a block is shorter.
                if waiting > LINE_MAX or len(lines[0]) > LINE_MAX:
                    self._broken(STRUCTURE, f"the line is longer than {LINE_MAX} bytes")
                    return False
                if not self._block(lines):
                    return False
                pieces, waiting, torn = [], 0, 0
            if written := rest.rstrip(b"\x00"):  # zeros at the end are room set aside, no bytes of the journal
                torn = waiting + len(written)
            waiting += len(rest)
            if waiting <= LINE_MAX:
                pieces.append(rest)
            if self._progress is not None:
                self._progress(self._bytes)
        self._torn = torn
        return True

    def _block(self, lines: list[bytes]) -> bool:
        """Take whole lines; return whether to go on."""
        feed, broken = self._monitor.feed, self._monitor.broken
        counts, leaves = self._counts, self._leaves
        for line in lines:
            record = parse(line)
            number = self._records
            if isinstance(record, str):
                self._broken(STRUCTURE, record)
                return False
            if record["seq"] != number:
                self._broken(SEQUENCE, f"seq is {record['seq']}, not {number}")
                return False
            kind = record["kind"]
            if kind == "seal":
                self._seal(record, number)
            elif kind == "run":
                self._grow()
                self._monitor.root = self._tree.root().hex() if self._seals_hold else None
            feed(record, number)
            if broken:
                for rule, message in broken:
                    self._broken(rule, message)
                broken.clear()
            counts[kind] += 1
            leaves.append(line)
            self._records = number + 1
        if len(leaves) > _LEAVES_MAX:
            self._grow()
        return True

    def _grow(self) -> None:
        # After a seal that doesn't hold the tree serves nothing.
        if self._seals_hold:
            self._tree.extend(self._leaves)
        self._leaves.clear()

    def _seal(self, record: Record, number: int) -> None:
        """Check a seal against the lines before it."""
        self._grow()
        if not self._seals_hold:
            return
        if record["size"] != number:
            self._seals_hold = False
            self._broken(SEALS, f"the seal's size is {record['size']}, not {number}")
        elif record["root"] != self._tree.root().hex():
            self._seals_hold = False
            after = f"after record {self._sealed - 1}" if self._sealed else "before it"
            self._broken(SEALS, f"the root is wrong: something {after} was changed")
        else:
            self._sealed, self._root = number + 1, record["root"]

    def _broken(self, rule: str, message: str) -> None:
        self._findings_total += 1
        if len(self._findings) < FINDINGS_MAX:
            finding = Finding(
                file=self._file,
                # Every line before it in the file is a record.
                line=self._records - self._first + 1,
                seq=self._records,
                rule=rule,
                message=message,
            )
            self._findings.append(finding)

    def report(self) -> Report:
        """Return the answer about what was read."""
        monitor = self._monitor
        doubts = sorted((number, order) for order, number in monitor.doubts.items())
        return Report(
            status=self._status(),
            records=self._records,
            sealed=self._sealed,
            tail_records=self._records - self._sealed,
            torn_bytes=self._torn,
            root=self._root,
            root_size=max(self._sealed - 1, 0),
            findings=tuple(self._findings),
            findings_total=self._findings_total,
            in_doubt=tuple(Doubt(permit=n, order=order) for n, order in doubts[:DOUBTS_MAX]),
            in_doubt_total=len(doubts),
            counts={kind: count for kind, count in self._counts.items() if count},
            actions=tuple(monitor.actions),
            actions_total=monitor.actions_total,
            bytes_read=self._bytes,
            inputs=(),
            notes=tuple(self._notes()),
        )

    def _status(self) -> Status:
        if self._findings_total:
            return Status.TAMPERED
        if self._monitor.doubts:
            return Status.IN_DOUBT
        if self._torn or not self._records or self._sealed != self._records:
            return Status.VERIFIED_TO_N
        return Status.VERIFIED

    def _notes(self) -> Iterator[str]:
        if not self._records:
            yield "no records: an empty or missing journal proves nothing"
        if self._records > self._sealed:
            yield f"{self._records - self._sealed} records after the last seal are bound by no root"
        if self._torn:
            yield f"{self._torn} bytes after the last line feed are no record"
        if recoveries := self._counts["recover"]:
            yield f"{recoveries} recoveries after a crash: what each set aside is in the file that its record names"
        yield "no input from outside the home was given"


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks that are larger than a block, so that memory doesn't depend on the caller's."""
    for chunk in chunks:
        if len(chunk) <= _BLOCK:
            yield chunk
        else:
            for start in range(0, len(chunk), _BLOCK):
                yield chunk[start : start + _BLOCK]
