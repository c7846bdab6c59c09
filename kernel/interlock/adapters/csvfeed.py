"""Ticks from CSV: files, gzip files, pipes. What is not surely a tick never becomes one.

1. **A number is exact and plain.** Digits, a point, perhaps an exponent, at most 18 digits on either
   side of the point; no NaN, infinity, blank, ``+``, ``_`` or space, all of which `Decimal` would take.
   ``1.5e-5`` passes because it is exact too; ``1e999999`` is finite and would fill the memory.
2. **Every fault has an address:** file, line (of the decompressed text; the header is line 1), field,
   what was found and what was expected. A bad row is skipped and counted, or ends the feed, as the
   caller chose; a bad *file* (no header, torn gzip) ends it always. Good rows before it come first.
3. **In a stream the last line must have ended.** A pipe whose writer was killed leaves ``61837`` of
   ``61837.63``, and nothing else tells. A file may do without its last line end (RFC 4180).
4. **A row is a line.** Quotes are understood, a line break inside them isn't. Blank lines are no rows.
5. **Reading never holds up the loop.** A pipe or terminal is read by a daemon thread that holds no
   lock while it waits, so that neither a halt nor the exit waits for the next byte.

Speed comes from columns: 256 lines are split, turned, and parsed a column at a time, and a text seen
before costs one look into a bounded cache. If anything is odd in them, they are done again row by row:
the same parsers, slower, and now with the address of the fault.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
import re
import select
import stat
import threading
import zlib
from collections import deque
from concurrent.futures import Future
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, TypeVar, cast

import attrs

from interlock.core.errors import InterlockError
from interlock.core.values import Quote, Tick, Trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

__all__ = ["BATCH", "CsvFeed", "FeedError", "RowError"]

BATCH: Final = 256
"""So many ticks at most are handed out at a time."""

Input = str | os.PathLike[str] | IO[bytes] | IO[str]
T = TypeVar("T")

_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
_CACHED: Final = 1 << 16
_END: Final = 1 << 53
_DIGITS: Final = 18
_SHOWN: Final = 80
_PLAIN: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_NUMBER: Final = re.compile(r"-?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_QUOTE: Final = frozenset({"bid", "ask", "bid_size", "ask_size"})
_TRADE: Final = frozenset({"price", "size"})
_UNSET: Final = {kind: [field.name for field in attrs.fields(kind)] for kind in (Quote, Trade)}

_A_TIME: Final = "whole microseconds since 1970, below 2^53"
_A_PRICE: Final = "a finite decimal number of at most 18 digits each side of the point"
_A_SIZE: Final = f"zero or more, {_A_PRICE}"
_FIELDS: Final = {  # ours, in the order in which they are looked at, and what each expects
    "ts": _A_TIME,
    "venue_ts": _A_TIME,
    "symbol": "the name of an instrument",
    "bid": _A_PRICE,
    "ask": _A_PRICE,
    "bid_size": _A_SIZE,
    "ask_size": _A_SIZE,
    "price": _A_PRICE,
    "size": _A_SIZE,
    "sequence": "a whole number of zero or more, below 2^53",
}


class FeedError(InterlockError):
    """The feed can't go on; the message names the file."""


class RowError(FeedError):
    """One row is no tick: ``file``, ``line``, ``field``, what was ``expected``, what was ``found``."""

    def __init__(self, file: str, line: int, field: str, expected: str, found: str) -> None:
        shown = found.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self.file, self.line, self.field, self.expected = file, line, field, expected
        self.found = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
        super().__init__(f"{file}:{line}: {field}: expected {expected}, found {self.found!r}")


def _price(text: str) -> Decimal:
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = Decimal(text)
    exponent = cast("int", number.as_tuple().exponent)
    if exponent < -_DIGITS or max(number.adjusted(), exponent) >= _DIGITS:
        raise ValueError(text)
    return Decimal(f"{number:f}") if exponent > 0 else number  # 1E+2 is written 100 from here on


def _size(text: str) -> Decimal:
    number = _price(text)
    if number.is_signed():
        raise ValueError(text)
    return number


def _symbol(text: str) -> str:
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError(text)
    return text


def _wholes(texts: tuple[str, ...]) -> list[int]:
    digits = "".join(texts)
    if not digits.isdigit() or not digits.isascii():  # int() alone takes +5, 1_000 and spaces
        raise ValueError(digits)
    numbers = list(map(int, texts))
    if max(numbers) >= _END:
        raise ValueError(digits)
    return numbers


class _Known(dict[str, T]):
    """Parsed texts, so many at most; a full cache is emptied, which is cheap and exact."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> T:
        value = self._parse(text)
        if len(self) >= _CACHED:
            self.clear()
        self[text] = value
        return value


@attrs.frozen(kw_only=True)
class _Layout:
    """What a header says: how many fields a row has, and in which column each of ours is."""

    width: int
    kind: type[Quote | Trade]
    at: Mapping[str, int]
    header: tuple[str, ...]
    instrument: str | None

    @classmethod
    def read(cls, file: str, line: str, columns: Mapping[str, str], instrument: str | None) -> _Layout:
        """Find our fields among the names of a header."""
        try:
            line.encode()
            header = tuple(name.strip() for name in next(csv.reader([line], strict=True), ()))
        except (UnicodeEncodeError, csv.Error):
            raise RowError(file, 1, "header", "the names of the columns, in UTF-8", line) from None
        names = [name.lower() for name in header]
        theirs = {field: columns.get(field, field).strip().lower() for field in _FIELDS}
        have = {field for field, name in theirs.items() if name in names}
        told = columns.keys() & (_QUOTE | _TRADE) or have & {"bid", "ask", "price"}  # a mapping has the say
        wanted = ({"ts", "symbol"} if instrument is None else {"ts"}) | columns.keys()
        wanted |= {"bid", "ask"} if told & _QUOTE else {"price"} if told else set()
        missing = [repr(columns.get(field, field)) for field in _FIELDS if field in wanted - have]
        used = wanted | (have & ({"venue_ts", "sequence"} | (_QUOTE if told & _QUOTE else _TRADE)))
        double = [repr(theirs[field]) for field in _FIELDS if field in used and names.count(theirs[field]) > 1]
        if not told:
            missing.append("'bid' and 'ask', or 'price'")
        fault = ""
        if missing:
            fault = f"missing columns {', '.join(missing)}"
        elif told & _QUOTE and told & _TRADE:
            fault = "columns of quotes and of trades, and no mapping that tells which to take"
        elif double:
            fault = f"columns that are there more than once: {', '.join(double)}"
        if fault:
            listed = ", ".join(map(repr, header)) or "no names"
            hint = " (values, not names: is the header missing?)" if any(map(_NUMBER.fullmatch, names)) else ""
            msg = f"{file}:1: {fault}; the header has {listed}{hint}"
            raise FeedError(msg)
        at = {field: names.index(theirs[field]) for field in _FIELDS if field in used}
        kind = Quote if told & _QUOTE else Trade
        return cls(width=len(header), kind=kind, at=at, header=header, instrument=instrument)


class _Values:
    """The parsers of a feed, with what they remember: columns of text in, ticks out."""

    def __init__(self) -> None:
        self.prices = _Known(_price)
        self.sizes = _Known(_size)
        self.symbols = _Known(_symbol)

    def one(self, field: str, text: str) -> object:
        """Parse one value, to find out whether it can be."""
        if field == "symbol":
            return self.symbols[text]
        if field in {"ts", "venue_ts", "sequence"}:
            return _wholes((text,))
        return (self.sizes if field.endswith("size") else self.prices)[text]

    def ticks(self, layout: _Layout, rows: list[list[str]]) -> list[Tick]:
        """Make ticks of rows. A ValueError says that some row is bad; `one` finds out where."""
        columns = list(zip(*rows, strict=True))
        if len(columns) != layout.width:
            raise ValueError(len(columns))
        cells = {field: columns[index] for field, index in layout.at.items()}
        times = _wholes(cells.pop("ts"))
        names, fixed = cells.pop("symbol", ()), layout.instrument
        columns_of: dict[str, Iterable[object]] = dict.fromkeys(_UNSET[layout.kind], repeat(None))
        columns_of["instrument"] = map(self.symbols.__getitem__, names) if fixed is None else repeat(fixed)
        columns_of["ts_us"] = times
        if "venue_ts" in cells:
            columns_of["ts_us"], columns_of["received_us"] = _wholes(cells.pop("venue_ts")), times
        if "sequence" in cells:
            columns_of["sequence"] = _wholes(cells.pop("sequence"))
        for field, texts in cells.items():
            columns_of[field] = map((self.sizes if field.endswith("size") else self.prices).__getitem__, texts)
        # Filled through the slots, a column at a time, in half the time that the constructor takes.
        made = list(map(object.__new__, repeat(layout.kind, len(rows))))
        for field, values in columns_of.items():
            deque(map(vars(layout.kind)[field].__set__, made, values), maxlen=0)
        return made


def _in_thread(read: Callable[[], bytes]) -> asyncio.Future[bytes]:
    """Read in a daemon thread: the loop's executor would make the exit wait for a read without end."""
    done: Future[bytes] = Future()
    done.set_running_or_notify_cancel()  # so that whoever stops waiting does not disturb the thread

    def work() -> None:
        try:
            done.set_result(read())
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            done.set_exception(error)

    threading.Thread(target=work, name="interlock-feed", daemon=True).start()
    return asyncio.wrap_future(done)


class _Source:
    """One file or stream: a name, and its plain bytes as they come.

    Attributes:
        name: for the messages.
        size: of a file, in bytes; None if that can't be known.
        stream: whether somebody else's writing decides where it ends.
        done: bytes taken from it, before decompression.
    """

    def __init__(self, given: Input) -> None:
        self.size: int | None = None
        self.done = 0
        self._path: Path | None = None
        self._raw: IO[bytes] | IO[str] | None = None
        self._plain: Callable[[int], bytes] | None = None
        self._head = b""
        self._pending = False
        if isinstance(given, str | os.PathLike):
            self.name, self._path = os.fspath(given), Path(given)
            try:
                status = self._path.stat()
            except (OSError, ValueError) as error:
                raise self._failed(error) from error
            if stat.S_ISDIR(status.st_mode):
                msg = f"{self.name}: expected a file, found a directory"
                raise FeedError(msg)
            self.stream = self._waits = not stat.S_ISREG(status.st_mode)
            self.size = None if self.stream else status.st_size
            return
        name = getattr(given, "name", None)
        self.name = name if isinstance(name, str) else "<stream>"
        given = getattr(given, "buffer", given)
        self.stream, self._waits = True, not given.seekable()
        # below the buffer there is no lock, which a waiting reader would hold while the process exits
        self._raw = getattr(given, "raw", given) if self._waits else given

    def _failed(self, error: Exception) -> FeedError:
        return FeedError(f"{self.name}: {getattr(error, 'strerror', None) or error}")

    async def chunk(self) -> bytes:
        """The next plain bytes, empty at the end."""
        try:
            self._pending = self._waits
            data = await _in_thread(self._next) if self._waits else self._next()
            self._pending = False
        except EOFError as error:
            msg = f"{self.name}: the gzip data end too early: the file is cut"
            raise FeedError(msg) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            msg = f"{self.name}: the gzip data are damaged: {error}"
            raise FeedError(msg) from error
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        return data

    def _next(self) -> bytes:
        if self._plain is None:
            if self._path is not None:
                self._raw = self._path.open("rb", buffering=0)
            head = self.read(1)
            self._head = head + self.read(1)
            zipped = self._head == b"\x1f\x8b"  # by content: a name proves nothing
            self._plain = gzip.GzipFile(fileobj=cast("IO[bytes]", self), mode="rb").read1 if zipped else self.read
        return self._plain(_CHUNK)

    def read(self, size: int) -> bytes:
        """At most so many bytes as they lie there: what `gzip` reads from."""
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        raw = cast("IO[bytes] | IO[str]", self._raw)
        while (data := raw.read(size)) is None:
            select.select([raw], [], [])  # somebody made the pipe non-blocking: None is not the end
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self.done += len(data)
        return data

    def close(self) -> None:
        """Close what was opened here, and only that; but not under a thread that still reads."""
        if self._path is not None and self._raw is not None and not self._pending:
            self._raw.close()
        self._plain = None


class CsvFeed:
    """Ticks of one or many CSV files or streams, one after the other.

    The fields ``ts``, ``symbol`` and either ``bid`` and ``ask`` or ``price`` must be there; ``bid_size``,
    ``ask_size``, ``size``, ``sequence`` and ``venue_ts`` may be. ``ts`` is our own clock on arrival: if there
    is a ``venue_ts``, that is the tick's ``ts_us`` and ``ts`` is its ``received_us``.

    Args:
        paths: a path or an open stream, of which nothing was read yet; or several.
        columns: our field to their column, where the names differ (case does not count).
        instrument: the name for every tick, instead of a column.
        on_bad: whether a bad row is left out or ends the feed.
        on_error: is told of every row that is left out.

    Attributes:
        name: for people.
        rows: ticks handed out so far.
        skipped: rows left out so far.
        total_bytes: size of the files as stored; None if a stream is among them.

    Raises:
        FeedError: a path can't be read, or ``columns`` names a field that there isn't.
    """

    def __init__(
        self,
        paths: Input | Iterable[Input],
        *,
        columns: Mapping[str, str] | None = None,
        instrument: str | None = None,
        on_bad: Literal["skip", "fatal"] = "fatal",
        on_error: Callable[[RowError], None] | None = None,
    ) -> None:
        single = isinstance(paths, str | os.PathLike) or hasattr(paths, "read")
        self._inputs = [cast("Input", paths)] if single else list(cast("Iterable[Input]", paths))
        self._columns = dict(columns or {})
        if unknown := sorted(self._columns.keys() - _FIELDS.keys()):
            msg = f"columns: no field is called {', '.join(map(repr, unknown))}; there are {', '.join(_FIELDS)}"
            raise FeedError(msg)
        if not self._inputs or on_bad not in {"skip", "fatal"}:
            msg = f"expected one file at least, and on_bad 'skip' or 'fatal'; found {self._inputs!r}, {on_bad!r}"
            raise FeedError(msg)
        self._instrument, self._fatal, self._on_error = instrument, on_bad == "fatal", on_error
        self._values = _Values()
        self._layout: _Layout | None = None
        self._line, self._rest = 0, b""
        self.rows = self.skipped = 0
        self._sources = [_Source(given) for given in self._inputs]
        sizes = [source.size for source in self._sources]
        self.total_bytes = None if None in sizes else sum(cast("list[int]", sizes))
        first = Path(self._sources[0].name).name
        self.name = first if len(sizes) == 1 else f"{first} and {len(sizes) - 1} more"

    @property
    def done_bytes(self) -> int:
        """Bytes read so far, as stored."""
        return sum(source.done for source in self._sources)

    async def batches(self) -> AsyncIterator[list[Tick]]:
        """The ticks, up to `BATCH` at a time, as they come. Files can be read again, streams can't.

        Raises:
            FeedError: a file is bad; or, as `RowError`, a row, if bad rows are fatal.
        """
        self.rows = self.skipped = 0
        for source in self._sources:
            self._layout, self._line, self._rest = None, 0, b""
            source.done = 0
            try:
                chunk = None
                while chunk != b"":
                    chunk = await source.chunk()
                    for batch in self._lines(source, chunk):
                        self.rows += len(batch)
                        yield batch
                        await asyncio.sleep(0)  # a file is always ready: others must get their turn
            finally:
                source.close()

    def _lines(self, source: _Source, chunk: bytes) -> Iterator[list[Tick]]:
        """The ticks of the lines that a chunk completes; an empty chunk is the end."""
        data = self._rest + chunk
        if data and not chunk and not source.stream:
            data += b"\n"
        block, ended, self._rest = data.rpartition(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise RowError(source.name, self._line + 1, "row", "a line of 1 MiB at most", repr(self._rest[:_SHOWN]))
        if ended:
            try:
                text, plain = block.decode(), b'"' not in block
            except UnicodeDecodeError:
                text, plain = block.decode("utf-8", "surrogateescape"), False
            lines = text.replace("\r\n", "\n").removesuffix("\r").split("\n")
            if self._layout is None:
                header = lines.pop(0).removeprefix("\ufeff")
                self._layout = _Layout.read(source.name, header, self._columns, self._instrument)
                self._line = 1
            for first in range(0, len(lines), BATCH):
                yield from self._batch(source.name, self._layout, lines[first : first + BATCH], plain=plain)
        if not chunk and self._layout is None:
            found = "a line without end" if data else "nothing: it is empty"
            msg = f"{source.name}:1: expected a header, found {found}"
            raise FeedError(msg)
        if not chunk and self._rest:
            found = self._rest.decode("utf-8", "surrogateescape")
            self._bad(RowError(source.name, self._line + 1, "row", "a line end: the stream may be cut", found))

    def _batch(self, file: str, layout: _Layout, lines: list[str], *, plain: bool) -> Iterator[list[Tick]]:
        before = self._line
        self._line += len(lines)
        if plain:
            try:
                ticks = self._values.ticks(layout, [line.split(",") for line in lines])
            except ValueError:
                pass
            else:
                yield ticks
                return
        ticks = []
        for number, line in enumerate(lines, before + 1):
            try:
                ticks += self._row(file, layout, line, number) if line else ()
            except RowError as error:
                if ticks and self._fatal:
                    yield ticks
                self._bad(error)
        if ticks:
            yield ticks

    def _row(self, file: str, layout: _Layout, line: str, number: int) -> list[Tick]:
        try:
            fields = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
        except csv.Error as error:
            raise RowError(file, number, "row", f"well-formed quotes ({error})", line) from None
        if len(fields) != layout.width:
            expected = f"{layout.width} fields, not {len(fields)}"
            raise RowError(file, number, "row", expected, line)
        for name, text in zip(layout.header, fields, strict=True):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise RowError(file, number, name, "UTF-8", text) from None
        try:
            return self._values.ticks(layout, [fields])
        except ValueError:
            for field, column in layout.at.items():
                try:
                    self._values.one(field, fields[column])
                except ValueError:
                    theirs = layout.header[column]
                    where = field if theirs.lower() == field else f"{field} (column {theirs!r})"
                    raise RowError(file, number, where, _FIELDS[field], fields[column]) from None
            raise

    def _bad(self, error: RowError) -> None:
        if self._fatal:
            raise error
        self.skipped += 1
        if self._on_error is not None:
            self._on_error(error)
