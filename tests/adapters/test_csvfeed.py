"""CSV feeds: what is a tick comes through exactly, and what is none is refused with its address."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import subprocess
import sys
import threading
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters import csvfeed
from interlock.adapters.csvfeed import BATCH, CsvFeed, FeedError, RowError
from interlock.core.values import Quote, Tick, Trade

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("INTERLOCK_SHARED", REPOSITORY.parent / "shared"))
ROWS = {  # as its README has them
    "eurusd_20140502.csv.gz": 96_406,
    "eurusd_20140509.csv.gz": 102_122,
    "eurusd_20140511.csv.gz": 11_776,
    "btcusdt_20240808_quotes.csv.gz": 28_040,
    "btcusdt_20240808_trades.csv.gz": 9_757,
}
real_data = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no shared/data beside the repository")

QUOTES = "ts,symbol,bid,ask\n"
GOOD = "1399006800611000,EURUSD,1.38626,1.38627\n"
NUMBER = "a finite decimal number of at most 18 digits each side of the point"
TIME = "whole microseconds since 1970, below 2^53"


def generator(feed: CsvFeed) -> AsyncGenerator[list[Tick], None]:
    """The feed's batches as what they are, so that a test can close them."""
    return cast("AsyncGenerator[list[Tick], None]", feed.batches())


async def _batches(feed: CsvFeed) -> list[list[Tick]]:
    async with aclosing(generator(feed)) as batches:
        return [batch async for batch in batches]


def ticks_of(feed: CsvFeed) -> list[Tick]:
    """All ticks of a feed."""
    return [tick for batch in asyncio.run(_batches(feed)) for tick in batch]


def until_error(feed: CsvFeed) -> tuple[list[Tick], FeedError]:
    """The ticks that came before the feed failed, and how it failed."""
    ticks: list[Tick] = []

    async def take() -> None:
        async with aclosing(generator(feed)) as batches:
            async for batch in batches:
                ticks.extend(batch)

    with pytest.raises(FeedError) as caught:
        asyncio.run(take())
    return ticks, caught.value


def written(folder: Path, text: str | bytes, name: str = "ticks.csv") -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# -- What comes through ------------------------------------------------------------------------


def test_quotes_are_exact(tmp_path: Path) -> None:
    """A quote carries the very decimals and microseconds of its row."""
    path = written(
        tmp_path, "ts,symbol,bid,ask,bid_size,ask_size,sequence\n1723161254087891,B,61837.63000000,7,0,1.50,9\n"
    )
    (quote,) = ticks_of(CsvFeed(path))
    assert quote == Quote(
        instrument="B",
        ts_us=1723161254087891,
        bid=Decimal("61837.63000000"),
        ask=Decimal(7),
        bid_size=Decimal(0),
        ask_size=Decimal("1.50"),
        sequence=9,
    )
    assert isinstance(quote, Quote)
    assert [str(quote.bid), str(quote.ask_size)] == ["61837.63000000", "1.50"]


def test_venue_time_and_time_of_arrival(tmp_path: Path) -> None:
    """With a venue_ts, that is the tick's time and ts is when it was received."""
    path = written(tmp_path, "ts,venue_ts,symbol,price,size,aggressor\n100,137,BTCUSDT,61837.63,0.02,sell\n")
    (trade,) = ticks_of(CsvFeed(path))
    assert trade == Trade(
        instrument="BTCUSDT", ts_us=137, price=Decimal("61837.63"), size=Decimal("0.02"), received_us=100
    )


def test_mapped_columns_and_a_fixed_instrument(tmp_path: Path) -> None:
    """Other people's names are mapped, and a fixed instrument needs no column and outranks one."""
    path = written(tmp_path, "Time;,Symbol,BidPx,AskPx,price\n100,other,1,2,3\n")
    columns = {"ts": "time;", "bid": "BidPx", "ask": "askpx"}
    assert ticks_of(CsvFeed(path, columns=columns, instrument="X")) == [
        Quote(instrument="X", ts_us=100, bid=Decimal(1), ask=Decimal(2))
    ]


def test_mapping_chooses_between_quotes_and_trades(tmp_path: Path) -> None:
    """A file with both kinds of columns is read as the kind that the mapping names."""
    path = written(tmp_path, "ts,symbol,bid,ask,price\n100,X,1,2,3\n")
    assert ticks_of(CsvFeed(path, columns={"price": "price"})) == [Trade(instrument="X", ts_us=100, price=Decimal(3))]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + QUOTES + GOOD,
        QUOTES.upper() + GOOD,
        (QUOTES + GOOD).replace("\n", "\r\n"),
        (QUOTES + GOOD).rstrip("\n"),
        (QUOTES + GOOD).replace("\n", "\r\n").rstrip("\n"),
        QUOTES + "\n\n" + GOOD + "\n",
        '"ts","symbol","bid","ask"\n1399006800611000,"EURUSD","1.38626",1.38627\n',
        "note,ts,symbol,bid,ask\n" + '"a, ""b"" ü",' + GOOD,
    ],
    ids=["bom", "capitals", "crlf", "no-last-end", "crlf-half-end", "blank-lines", "quoted", "quoted-comma"],
)
def test_harmless_differences(tmp_path: Path, text: str) -> None:
    """Byte order mark, case of names, line ends, blank lines and quotes change nothing of the tick."""
    expected = Quote(instrument="EURUSD", ts_us=1399006800611000, bid=Decimal("1.38626"), ask=Decimal("1.38627"))
    assert ticks_of(CsvFeed(written(tmp_path, text))) == [expected]


@pytest.mark.parametrize("name", ["ticks.csv", "ticks.csv.gz", "ticks"])
@pytest.mark.parametrize("zipped", [False, True])
def test_compression_is_told_by_content(tmp_path: Path, name: str, *, zipped: bool) -> None:
    """Whether a file is gzip is seen in its bytes, whatever its name says."""
    data = (QUOTES + GOOD).encode()
    assert len(ticks_of(CsvFeed(written(tmp_path, gzip.compress(data) if zipped else data, name)))) == 1


def test_gzip_members_and_padding(tmp_path: Path) -> None:
    """Concatenated gzip members are one text, and zeros after the last are padding."""
    text = (QUOTES + GOOD * 3).encode()
    data = gzip.compress(text[:50]) + gzip.compress(text[50:]) + bytes(512)
    assert len(ticks_of(CsvFeed(written(tmp_path, data)))) == 3


def test_files_one_after_the_other(tmp_path: Path) -> None:
    """Several files, of either kind, are read in the order in which they were given."""
    first = written(tmp_path, "ts,symbol,price\n200,X,1\n", "b.csv")
    second = written(tmp_path, QUOTES + "100,X,1,2\n", "a.csv")
    feed = CsvFeed([first, str(second)])
    assert [(type(tick), tick.ts_us) for tick in ticks_of(feed)] == [(Trade, 200), (Quote, 100)]
    assert feed.name == "b.csv and 1 more"
    assert (feed.rows, feed.total_bytes) == (2, feed.done_bytes)


def test_progress_and_a_second_reading(tmp_path: Path) -> None:
    """Bytes are counted as stored, batches are bounded, and a file can be read again with equal ticks."""
    data = gzip.compress((QUOTES + GOOD * 1000).encode())
    feed = CsvFeed(written(tmp_path, data, "many.csv.gz"))
    assert (feed.total_bytes, feed.done_bytes, feed.rows, feed.name) == (len(data), 0, 0, "many.csv.gz")
    batches = asyncio.run(_batches(feed))
    assert max(map(len, batches)) == BATCH
    assert (feed.done_bytes, feed.rows, feed.skipped) == (len(data), 1000, 0)
    assert asyncio.run(_batches(feed)) == batches
    assert feed.rows == 1000


def test_both_ways_of_making_ticks_agree(tmp_path: Path) -> None:
    """A batch that is done again row by row gives the same ticks as one that was made in columns."""
    rows = [f"{1000 + n},X,{n}.5,{n}.75,{n},{n}\n" for n in range(600)]
    header = "ts,symbol,bid,ask,bid_size,sequence\n"
    fast = ticks_of(CsvFeed(written(tmp_path, header + "".join(rows))))
    slow = ticks_of(CsvFeed(written(tmp_path, header + "".join(f'"{row[:4]}"{row[4:]}' for row in rows))))
    assert fast == slow
    assert fast[7] == Quote(
        instrument="X",
        ts_us=1007,
        bid=Decimal("7.5"),
        ask=Decimal("7.75"),
        bid_size=Decimal(7),
        ask_size=None,
        sequence=7,
        received_us=None,
    )
    assert hash(fast[7]) == hash(slow[7])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fast[7].ts_us = 0  # type: ignore[misc] # that is the claim


@pytest.mark.parametrize("kind", [Quote, Trade])
def test_filling_the_slots_skips_nothing(kind: type[Quote | Trade]) -> None:
    """The constructor of a tick does nothing but fill its fields, so filling them directly leaves nothing out."""
    assert not any(field.validator or field.converter or field.on_setattr for field in attrs.fields(kind))
    assert not {"__attrs_post_init__", "__attrs_pre_init__"} & set(dir(kind))
    assert all(hasattr(vars(kind)[field.name], "__set__") for field in attrs.fields(kind))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-37.63", "-37.63"),
        ("007.50", "7.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.5e-5", "0.000015"),
        ("1E+2", "100"),
        ("12e3", "12000"),
        ("9" * 18 + "." + "9" * 18, "9" * 18 + "." + "9" * 18),
    ],
)
def test_accepted_numbers(tmp_path: Path, text: str, value: str) -> None:
    """Plain, finite numbers pass exactly, exponents among them if they need no more than 18 digits a side."""
    (tick,) = ticks_of(CsvFeed(written(tmp_path, f"ts,symbol,price\n1,X,{text}\n")))
    assert isinstance(tick, Trade)
    assert tick.price == Decimal(value)
    assert str(tick.price) == value


# -- Bad rows ----------------------------------------------------------------------------------

BAD_NUMBERS = [
    *("", " ", "NaN", "nan", "sNaN1", "inf", "-Infinity", "+1", "1_000", " 1", "1 ", "1,5".replace(",", ";")),
    *("0x10", "1e19", "1e18", "1e-19", "1e999999", "1e", "e5", ".", "-", "--1", "1.2.3", "1.38.", "None", "\u0661"),
    *("9" * 19, "0." + "1" * 19, "1" * 5000),
]


@pytest.mark.parametrize("text", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["bid", "ask", "bid_size", "ask_size"])
def test_refused_numbers(tmp_path: Path, field: str, text: str) -> None:
    """Whatever is not a plain finite number is refused by file, line, field and text."""
    cells = {"ts": "1", "symbol": "X", "bid": "1", "ask": "2", "bid_size": "3", "ask_size": "4"}
    header, good = ",".join(cells) + "\n", ",".join(cells.values()) + "\n"
    path = written(tmp_path, header + good + ",".join((cells | {field: text}).values()) + "\n" + good)
    ticks, error = until_error(CsvFeed(path))
    assert len(ticks) == 1
    assert isinstance(error, RowError)
    assert (error.file, error.line, error.field) == (str(path), 3, field)
    found = text if len(text) <= 80 else text[:79] + "…"
    expected = f"zero or more, {NUMBER}" if field.endswith("size") else NUMBER
    assert str(error) == f"{path}:3: {field}: expected {expected}, found {found!r}"


@pytest.mark.parametrize(
    ("row", "field", "expected", "found"),
    [
        ("x,X,1,2,3", "ts", TIME, "x"),
        ("-1,X,1,2,3", "ts", TIME, "-1"),
        ("1.5,X,1,2,3", "ts", TIME, "1.5"),
        ("1_0,X,1,2,3", "ts", TIME, "1_0"),
        ("\u0661,X,1,2,3", "ts", TIME, "\u0661"),
        ("9007199254740992,X,1,2,3", "ts", TIME, "9007199254740992"),
        (",X,1,2,3", "ts", TIME, ""),
        ("1,,1,2,3", "symbol", "the name of an instrument", ""),
        ("1, X,1,2,3", "symbol", "the name of an instrument", " X"),
        ("1,X\x1b,1,2,3", "symbol", "the name of an instrument", "X\x1b"),
        ("1,X,1,2,-3", "sequence", "a whole number of zero or more, below 2^53", "-3"),
        ("1,X,1,2,", "sequence", "a whole number of zero or more, below 2^53", ""),
        ("1,X,1,2", "row", "5 fields, not 4", "1,X,1,2"),
        ("1,X,1,2,3,4", "row", "5 fields, not 6", "1,X,1,2,3,4"),
        ("junk", "row", "5 fields, not 1", "junk"),
        ('1,"X,1,2,3', "row", "well-formed quotes (unexpected end of data)", '1,"X,1,2,3'),
        ('1,"X"Y,1,2,3', "row", "well-formed quotes (',' expected after '\"')", '1,"X"Y,1,2,3'),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, field: str, expected: str, found: str) -> None:
    """Every kind of bad row is refused with file, line, field, what was found and what was expected."""
    path = written(tmp_path, f"ts,symbol,bid,ask,sequence\n1,X,1,2,3\n{row}\n1,X,1,2,4\n")
    ticks, error = until_error(CsvFeed(path))
    assert [tick.sequence for tick in ticks] == [3]
    assert str(error) == f"{path}:3: {field}: expected {expected}, found {found!r}"


def test_negative_size_and_bad_venue_time(tmp_path: Path) -> None:
    """A size below zero is refused, minus zero with it, and so is a venue time that is none."""
    path = written(tmp_path, "ts,venue_ts,symbol,price,size\n1,1,X,1,-0\n1,?,X,1,1\n1,1,X,-1,1\n")
    errors: list[RowError] = []
    assert len(ticks_of(CsvFeed(path, on_bad="skip", on_error=errors.append))) == 1
    assert [(error.line, error.field, error.found) for error in errors] == [(2, "size", "-0"), (3, "venue_ts", "?")]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A row with bytes that are no UTF-8 is refused even if they stand in a column that nobody reads."""
    path = written(tmp_path, b"ts,symbol,price,note\n1,X,1,a\n2,X,1,caf\xe9\n3,X,1,b\n4,\xff,1,b\n")
    errors: list[RowError] = []
    ticks = ticks_of(CsvFeed(path, on_bad="skip", on_error=errors.append))
    assert [tick.ts_us for tick in ticks] == [1, 3]
    assert [str(error) for error in errors] == [
        f"{path}:3: note: expected UTF-8, found 'caf\\\\xe9'",
        f"{path}:5: symbol: expected UTF-8, found '\\\\xff'",
    ]


def test_a_mapped_column_is_named_in_the_error(tmp_path: Path) -> None:
    """The message names their column beside our field where the two differ."""
    path = written(tmp_path, "ts,symbol,BidPx,ask\n1,X,?,2\n")
    _, error = until_error(CsvFeed(path, columns={"bid": "bidpx"}))
    assert str(error) == f"{path}:2: bid (column 'BidPx'): expected {NUMBER}, found '?'"


def test_skipping_counts_and_tells(tmp_path: Path) -> None:
    """Skipped rows are counted and told one by one, with line numbers that stay true over batches and gzip."""
    bad = {5, 256, 257, 258, 1000}
    lines = [f"{n},X,{'?' if n in bad else n}\n" for n in range(2, 1201)]
    path = written(tmp_path, gzip.compress(("ts,symbol,price\n" + "".join(lines)).encode()))
    errors: list[RowError] = []
    feed = CsvFeed(path, on_bad="skip", on_error=errors.append)
    ticks = ticks_of(feed)
    assert [tick.ts_us for tick in ticks] == [n for n in range(2, 1201) if n not in bad]
    assert [error.line for error in errors] == sorted(bad)
    assert (feed.rows, feed.skipped) == (1199 - len(bad), len(bad))


def test_skipping_needs_no_listener(tmp_path: Path) -> None:
    """Bad rows can be skipped with nobody told."""
    feed = CsvFeed(written(tmp_path, QUOTES + "?\n" + GOOD), on_bad="skip")
    assert (len(ticks_of(feed)), feed.skipped) == (1, 1)


def test_good_rows_before_a_fatal_one_come_first(tmp_path: Path) -> None:
    """A fatal row ends the feed right there: all before it was handed out, nothing after it."""
    path = written(tmp_path, QUOTES + GOOD * 700 + "bad\n" + GOOD * 10)
    ticks, error = until_error(CsvFeed(path))
    assert len(ticks) == 700
    assert str(error).startswith(f"{path}:702: row: expected 4 fields, not 1")


@settings(max_examples=300)
@given(
    body=st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.text('01.-e+,X"\n\r _', max_size=60).map(str.encode)
)
def test_any_bytes_at_all(body: bytes) -> None:
    """After a header, any bytes give exact ticks or bad rows with an address, and raise nothing else."""
    errors: list[RowError] = []
    feed = CsvFeed(io.BytesIO(b"ts,symbol,price\n" + body + b"\n"), on_bad="skip", on_error=errors.append)
    ticks = ticks_of(feed)
    assert all(isinstance(tick, Trade) and tick.price.is_finite() and tick.ts_us >= 0 for tick in ticks)
    assert len(ticks) + len(errors) <= body.count(b"\n") + 1
    assert all(1 < error.line <= body.count(b"\n") + 2 for error in errors)


# -- Bad files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: expected a header, found nothing: it is empty"),
        ("a,b\n1,2\n", "1: missing columns 'ts', 'symbol', 'bid' and 'ask', or 'price'; the header has 'a', 'b'"),
        ("\n" + QUOTES, "1: missing columns 'ts', 'symbol', 'bid' and 'ask', or 'price'; the header has no names"),
        ("ts,symbol,bid\n", "1: missing columns 'ask'; the header has 'ts', 'symbol', 'bid'"),
        ("symbol,price\n", "1: missing columns 'ts'; the header has 'symbol', 'price'"),
        (
            GOOD,
            (
                "1: missing columns 'ts', 'symbol', 'bid' and 'ask', or 'price'; the header has '1399006800611000', "
                "'EURUSD', '1.38626', '1.38627' (values, not names: is the header missing?)"
            ),
        ),
        (
            "ts,symbol,bid,ask,price\n",
            (
                "1: columns of quotes and of trades, and no mapping that tells which to take; "
                "the header has 'ts', 'symbol', 'bid', 'ask', 'price'"
            ),
        ),
        (
            "ts,symbol,bid,ask,Bid\n",
            "1: columns that are there more than once: 'bid'; the header has 'ts', 'symbol', 'bid', 'ask', 'Bid'",
        ),
        (
            b"ts,symbol,pr\xefce\n",
            "1: header: expected the names of the columns, in UTF-8, found 'ts,symbol,pr\\\\xefce'",
        ),
        ('ts,"symbol\n', "1: header: expected the names of the columns, in UTF-8, found 'ts,\"symbol'"),
    ],
)
def test_bad_headers(tmp_path: Path, text: str | bytes, message: str) -> None:
    """A file without the columns it needs is refused, naming what is missing and what it has."""
    path = written(tmp_path, text)
    ticks, error = until_error(CsvFeed(path, on_bad="skip"))
    assert ticks == []
    assert str(error) == f"{path}:{message}"


def test_a_mapped_column_that_is_not_there(tmp_path: Path) -> None:
    """A column that the mapping names must be there, though the field itself is optional."""
    path = written(tmp_path, QUOTES + GOOD)
    _, error = until_error(CsvFeed(path, columns={"bid_size": "BidSz"}))
    assert str(error) == f"{path}:1: missing columns 'BidSz'; the header has 'ts', 'symbol', 'bid', 'ask'"


def test_header_alone_is_an_empty_feed(tmp_path: Path) -> None:
    """A header with no rows is no error: there were no ticks."""
    assert ticks_of(CsvFeed(written(tmp_path, QUOTES))) == []


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory and a name that can't be one are refused before the first tick of any."""
    good = written(tmp_path, QUOTES + GOOD)
    with pytest.raises(FeedError) as caught:
        CsvFeed([good, tmp_path / "none.csv"])
    assert str(caught.value) == f"{tmp_path}/none.csv: No such file or directory"
    with pytest.raises(FeedError) as caught:
        CsvFeed(tmp_path)
    assert str(caught.value) == f"{tmp_path}: expected a file, found a directory"
    with pytest.raises(FeedError, match="null"):
        CsvFeed("a\0b")


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    """A file that is gone when its turn comes is an error with its name, not the end of the feed."""
    path = written(tmp_path, QUOTES + GOOD)
    feed = CsvFeed(path)
    path.unlink()
    _, error = until_error(feed)
    assert str(error) == f"{path}: No such file or directory"


def test_arguments(tmp_path: Path) -> None:
    """A mapping of a field that there isn't, no file at all, or an unknown policy is refused."""
    path = written(tmp_path, QUOTES)
    with pytest.raises(FeedError, match="columns: no field is called 'bids'; there are ts, venue_ts, symbol, bid,"):
        CsvFeed(path, columns={"bids": "x"})
    with pytest.raises(FeedError, match="expected one file at least"):
        CsvFeed([])
    with pytest.raises(FeedError, match="on_bad 'skip' or 'fatal'"):
        CsvFeed(path, on_bad="ignore")  # type: ignore[arg-type] # that is the claim


@pytest.mark.parametrize("share", [1, 5, 30, 60, 99])
def test_torn_gzip(tmp_path: Path, share: int) -> None:
    """A gzip file that was cut anywhere gives a beginning of its ticks and then an error, never a shorter number."""
    text = QUOTES + "".join(f"{1000 + n},X,{n * 7919}.{n},{n * 104729}\n" for n in range(20_000))
    whole = gzip.compress(text.encode())
    expected = ticks_of(CsvFeed(written(tmp_path, text)))
    path = written(tmp_path, whole[: max(2, len(whole) * share // 100)], "torn.csv.gz")
    ticks, error = until_error(CsvFeed(path, on_bad="skip"))
    assert ticks == expected[: len(ticks)]
    assert len(ticks) < len(expected)
    assert str(error) == f"{path}: the gzip data end too early: the file is cut"


def test_gzip_without_its_last_bytes(tmp_path: Path) -> None:
    """Text that is all there but whose checksum was cut off still ends in an error."""
    whole = gzip.compress((QUOTES + GOOD).encode())
    for cut in range(1, 9):
        _, error = until_error(CsvFeed(written(tmp_path, whole[:-cut])))
        assert str(error).endswith("the gzip data end too early: the file is cut")


@pytest.mark.parametrize("where", [3, 40, -6, -2])
def test_damaged_gzip(tmp_path: Path, where: int) -> None:
    """A flipped byte in header, data, checksum or length is an error with the file's name."""
    text = QUOTES + "".join(f"{n},X,{n * 7919},{n * 104729}\n" for n in range(5000))
    data = bytearray(gzip.compress(text.encode()))
    data[where] ^= 0xFF
    path = written(tmp_path, bytes(data))
    _, error = until_error(CsvFeed(path, on_bad="skip"))
    assert str(error).startswith(f"{path}: the gzip data ")


def test_junk_after_gzip(tmp_path: Path) -> None:
    """Bytes after the last gzip member that are neither a member nor padding are an error."""
    path = written(tmp_path, gzip.compress((QUOTES + GOOD).encode()) + b"junk")
    _, error = until_error(CsvFeed(path))
    assert str(error).startswith(f"{path}: the gzip data are damaged: ")


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A line of more than 1 MiB ends the feed, even where bad rows are skipped."""
    path = written(tmp_path, gzip.compress(QUOTES.encode() + b"1" * (1 << 24)))
    _, error = until_error(CsvFeed(path, on_bad="skip"))
    assert str(error).startswith(f"{path}:2: row: expected a line of 1 MiB at most, found ")


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different numbers a file has, no more than so many are remembered, and all stay exact."""
    monkeypatch.setattr(csvfeed, "_CACHED", 100)
    feed = CsvFeed(written(tmp_path, "ts,symbol,price\n" + "".join(f"{n},X,{n}.25\n" for n in range(5000))))
    ticks = cast("list[Trade]", ticks_of(feed))
    assert [tick.price for tick in ticks] == [Decimal(n) + Decimal("0.25") for n in range(5000)]
    assert len(feed._values.prices) <= 100


# -- Streams -----------------------------------------------------------------------------------


def test_open_streams(tmp_path: Path) -> None:
    """Open binary and text streams give the ticks that the file gives."""
    path = written(tmp_path, QUOTES + GOOD * 300)
    expected = ticks_of(CsvFeed(path))
    with path.open("rb") as binary, path.open() as text, path.open("rb", buffering=0) as raw:
        for stream in (binary, text, raw, io.BytesIO(path.read_bytes()), io.StringIO(path.read_text())):
            feed = CsvFeed(stream)
            assert ticks_of(feed) == expected
            assert (feed.total_bytes, feed.done_bytes) == (None, path.stat().st_size)
            assert not stream.closed


def test_stream_names_in_errors(tmp_path: Path) -> None:
    """An error names the stream's file if it has one."""
    path = written(tmp_path, QUOTES + "?\n")
    with path.open("rb") as stream:
        _, error = until_error(CsvFeed(stream))
    assert str(error).startswith(f"{path}:2: row:")
    _, error = until_error(CsvFeed(io.StringIO("")))
    assert str(error) == "<stream>:1: expected a header, found nothing: it is empty"


def test_a_stream_is_read_once(tmp_path: Path) -> None:
    """Reading a stream again finds it empty, and says so."""
    del tmp_path
    feed = CsvFeed(io.StringIO(QUOTES + GOOD))
    assert len(ticks_of(feed)) == 1
    _, error = until_error(feed)
    assert str(error) == "<stream>:1: expected a header, found nothing: it is empty"


def test_the_last_line_of_a_stream_must_have_ended() -> None:
    """A stream that stops within a line gives a bad row, as the number there may have lost digits."""
    ticks, error = until_error(CsvFeed(io.BytesIO((QUOTES + GOOD + GOOD[:-3]).encode())))
    assert len(ticks) == 1
    assert str(error) == f"<stream>:3: row: expected a line end: the stream may be cut, found {GOOD[:-3]!r}"
    feed = CsvFeed(io.BytesIO((QUOTES + GOOD + GOOD[:-3]).encode()), on_bad="skip")
    assert (len(ticks_of(feed)), feed.skipped) == (1, 1)
    _, error = until_error(CsvFeed(io.BytesIO(b"ts,symbol,pri")))
    assert str(error) == "<stream>:1: expected a header, found a line without end"


def test_closed_stream() -> None:
    """A stream that was closed is an error of the feed."""
    stream = io.BytesIO(QUOTES.encode())
    feed = CsvFeed(stream)
    stream.close()
    _, error = until_error(feed)
    assert "closed file" in str(error)


def test_waiting_for_a_pipe_does_not_hold_up_the_loop() -> None:
    """While the feed waits for a line, other tasks run: here the one that writes the line."""
    reader, writer = os.pipe()

    async def run() -> list[list[Tick]]:
        got = []
        with os.fdopen(reader, "rb") as stream:
            async with aclosing(generator(CsvFeed(stream))) as batches:
                for line in (QUOTES + GOOD, GOOD, GOOD * 2):
                    waiting = asyncio.create_task(anext(batches))
                    await asyncio.sleep(0)  # it waits now
                    os.write(writer, line.encode())
                    got.append(await waiting)
                os.close(writer)
                with pytest.raises(StopAsyncIteration):
                    await anext(batches)
        return got

    assert [len(batch) for batch in asyncio.run(run())] == [1, 1, 2]


class Hesitant(io.FileIO):
    """A non-blocking pipe that says when it was asked for bytes that it did not have."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        super().__init__(descriptor, "rb")
        self.asked = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        """The bytes that are there; None for none yet."""
        data = super().read(size)
        if data is None:
            self.asked.set()
        return data


def test_a_non_blocking_pipe_is_waited_for() -> None:
    """On a pipe that somebody made non-blocking, having no bytes yet is not the end."""
    reader, writer = os.pipe()

    async def run() -> list[Tick]:
        with Hesitant(reader) as stream:
            taking = asyncio.create_task(_batches(CsvFeed(stream)))
            for line in (QUOTES, GOOD, GOOD):
                await asyncio.to_thread(stream.asked.wait)
                stream.asked.clear()
                os.write(writer, line.encode())
            os.close(writer)
            return [tick for batch in await taking for tick in batch]

    assert len(asyncio.run(run())) == 2


def test_a_named_pipe_is_a_stream(tmp_path: Path) -> None:
    """A path that is a pipe is opened and read beside the loop, and has no size."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        path.write_text(QUOTES + GOOD)

    async def run() -> list[list[Tick]]:
        feed = CsvFeed(path)
        assert feed.total_bytes is None
        got, _ = await asyncio.gather(_batches(feed), asyncio.to_thread(write))
        return got

    assert [len(batch) for batch in asyncio.run(run())] == [1]


def test_a_pipe_is_not_closed_under_its_reader(tmp_path: Path) -> None:
    """A feed that is left while its thread waits for a pipe leaves the pipe open: its number could be reused."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def run() -> CsvFeed:
        feed = CsvFeed(path)
        async with aclosing(generator(feed)) as batches:
            waiting = asyncio.create_task(anext(batches))
            with await asyncio.to_thread(path.open, "w") as writer:
                writer.write(QUOTES + GOOD)
                writer.flush()
                assert len(await waiting) == 1
                waiting = asyncio.create_task(anext(batches))
                (source,) = feed._sources
                while not source._pending:  # noqa: ASYNC110 - one turn of the loop or two, no time
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
                stream = source._raw
                assert stream is not None
                assert not stream.closed
        for thread in threading.enumerate():
            if thread.name == "interlock-feed":
                thread.join()  # its read ended with the writer
        stream.close()
        return feed

    assert asyncio.run(run()).rows == 1


CHILD = """
import asyncio, sys
from interlock.adapters.csvfeed import CsvFeed

async def run():
    feed = CsvFeed(STREAM)
    async for batch in feed.batches():
        print(feed.name, len(batch), batch[-1].bid, flush=True)

print("ready", flush=True)
asyncio.run(run())
"""

LEAVES = """
import asyncio, sys
from interlock.adapters.csvfeed import CsvFeed

async def run():
    taking = asyncio.create_task(anext(CsvFeed(STREAM).batches()))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])

asyncio.run(run())
print("left", flush=True)
"""


def child(program: str, stream: str) -> subprocess.Popen[bytes]:
    """A process that reads its standard input as a feed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "kernel")}
    command = [sys.executable, "-c", program.replace("STREAM", stream)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


@pytest.mark.parametrize("stream", ["sys.stdin", "sys.stdin.buffer"])
def test_standard_input_is_handled_as_it_comes(stream: str) -> None:
    """Each line that a pipe brings is handed out before the next one is written."""
    with child(CHILD, stream) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(QUOTES.encode())
        for price in ("1.5", "1.75", "2"):
            process.stdin.write(f"1,X,{price},3\n".encode())
            process.stdin.flush()
            assert process.stdout.readline() == f"<stdin> 1 {price}\n".encode()
        _, complaints = process.communicate()
        assert (process.returncode, complaints) == (0, b"")


def test_gzip_on_standard_input() -> None:
    """A gzip stream comes through a pipe as well, told by its content."""
    text = QUOTES + "".join(f"{n},X,{n}.5,{n}.75\n" for n in range(1, 301))
    with child(CHILD, "sys.stdin.buffer") as process:
        printed, complaints = process.communicate(gzip.compress(text.encode()))
    assert complaints == b""
    assert printed.splitlines()[1:] == [b"<stdin> 256 256.5", b"<stdin> 44 300.5"]


@pytest.mark.parametrize(
    "begun",
    [b"", QUOTES.encode(), gzip.compress(b"x" * 100)[:20]],
    ids=["nothing", "a header", "some of a packed file"],  # not its bytes: they hold the time
)
def test_the_exit_does_not_wait_for_standard_input(begun: bytes) -> None:
    """A process whose feed still waits for its pipe can leave at once, and without a complaint."""
    with child(LEAVES, "sys.stdin.buffer") as process:
        assert process.stdin is not None
        process.stdin.write(begun)
        process.stdin.flush()
        assert process.wait() == 0  # its standard input is still open here
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"left\n", b"")


# -- Real data ---------------------------------------------------------------------------------


@real_data
def test_every_shared_file_is_known() -> None:
    """The files of shared/data are those whose rows are counted here."""
    assert {path.name for path in (SHARED / "data").glob("*.csv.gz")} == set(ROWS)


@real_data
@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_real_ticks(name: str, rows: int) -> None:
    """Every row of real data is a tick, as many as its README says, with prices as they were written."""
    path = SHARED / "data" / name
    feed = CsvFeed(path)
    ticks = ticks_of(feed)
    assert (len(ticks), feed.rows, feed.skipped) == (rows, rows, 0)
    assert feed.done_bytes == feed.total_bytes == path.stat().st_size
    with gzip.open(path, "rt") as file:
        header = next(file).rstrip("\n").split(",")
        for line, tick in zip(file, ticks, strict=True):
            row = dict(zip(header, line.rstrip("\n").split(","), strict=True))
            if isinstance(tick, Quote):
                prices = [(tick.bid, row["bid"]), (tick.ask, row["ask"])]
            else:
                prices = [(tick.price, row["price"]), (cast("Decimal", tick.size), row["size"])]
                assert tick.received_us == int(row["ts"])
            assert [f"{value:f}" for value, _ in prices] == [text for _, text in prices]
            assert tick.ts_us == int(row.get("venue_ts", row["ts"]))
            assert tick.instrument == row["symbol"]
