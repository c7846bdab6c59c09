"""Real ticks through ``interlock run``: which of them gate 1 stops is counted here a second time, with no code of ours.

What is expected comes from `Row` and the four rules in `judge`: csv, Decimal and integers.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.ops.cli_helpers import PAPER, cli, environment

from interlock.breaker.home import Home
from interlock.breaker.segment import segments

ROOT: Final = Path(__file__).parents[2]
DATA: Final = Path(os.environ.get("INTERLOCK_SHARED", ROOT.parent / "shared")) / "data"
FILES: Final = {
    "eurusd_20140502.csv.gz": 96_406,
    "eurusd_20140509.csv.gz": 102_122,
    "eurusd_20140511.csv.gz": 11_776,
    "btcusdt_20240808_quotes.csv.gz": 28_040,
    "btcusdt_20240808_trades.csv.gz": 9_757,
}
AHEAD_US: Final = 500_000
SILENCE_US: Final = 600_000_000
"""Of the paper limits, which the first test below holds against their text."""

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")

WITNESS: Final = '''
import atexit
import os

SEEN = open(os.environ["WITNESS"], "w")
atexit.register(SEEN.close)


class Witness:
    """Writes down which ticks it was asked about; orders nothing."""

    def on_tick(self, tick):
        SEEN.write(f"{tick.ts_us}\\n")
        return ()
'''


class Row(NamedTuple):
    """A row of a file: when it came in, when the venue says it was, and bid and ask."""

    received: int
    ts: int
    bid: Decimal
    ask: Decimal


def rows(*names: str) -> list[Row]:
    """The rows of files, in order."""
    found = []
    for name in names:
        with gzip.open(DATA / name, "rt", newline="") as file:
            for row in csv.DictReader(file):
                bid, ask = (row["bid"], row["ask"]) if "bid" in row else (row["price"], row["price"])
                ts = int(row["ts"])
                found.append(Row(ts, int(row.get("venue_ts", ts)), Decimal(bid), Decimal(ask)))
    return found


def judge(ticks: list[Row], ahead_us: int = AHEAD_US) -> tuple[list[int], Counter[str]]:
    """Which ticks pass, by their time, and why the others do not: the four rules that this data can break."""
    passed: list[int] = []
    blocked: Counter[str] = Counter()
    before, latest = ticks[0].received, 0
    for tick in ticks:
        silent, before = tick.received - before, tick.received
        if tick.ts - tick.received > ahead_us:
            blocked["TICK_FROM_FUTURE"] += 1
        elif tick.ts < latest:
            blocked["TICK_BACKWARDS"] += 1
        elif tick.bid > tick.ask:
            blocked["QUOTE_CROSSED"] += 1
        elif silent > SILENCE_US:
            blocked["FEED_SILENCE"] += 1
        else:
            passed.append(tick.ts)
            latest = tick.ts
    return passed, blocked


def run(home: Path, *names: str, strategy: str, **env: str) -> dict[str, Any]:
    """Run files on a home, in durability process, and have the journal verified; what the run printed."""
    ticks = [part for name in names for part in ("--ticks", str(DATA / name))]
    before = size(home)
    ended = cli(
        *("run", "--home", home, *ticks, "--strategy", strategy, "--durability", "process", "--json"),
        env=environment(home.parent, **env),
    )
    assert (ended.code, ended.err) == (0, "")
    said = ended.json
    assert (said["mode"], said["drained"], said["rows_skipped"], said["errors"]) == ("IDLE", True, 0, 0)
    assert said["ticks"] == said["consulted"] + said["ticks_blocked"]
    assert said["ticks_blocked"] == sum(said["blocked_by_reason"].values())
    told = cli("verify", "--home", home, "--json")
    assert (told.code, told.json["verdict"]) == (0, "VERIFIED")
    lines = b"".join(path.read_bytes() for path in segments(Home(home).stream("engine")))[before:].splitlines()
    assert sum(b'"kind":"sent"' in line for line in lines) == said["orders_sent"]
    assert sum(b'"kind":"refuse"' in line for line in lines) == said["orders_refused"]
    assert said["journal"] == {"records": told.json["engines"]["engine"]["records"], "bytes": size(home)}
    return said


def size(home: Path) -> int:
    """Bytes of a journal."""
    return sum(path.stat().st_size for path in segments(Home(home).stream("engine")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the paper limits, armed by the command."""
    assert cli("arm", "--home", tmp_path / "home", "--paper").code == 0
    (tmp_path / "witness.py").write_text(WITNESS)
    return tmp_path / "home"


def witnessed(home: Path, *names: str) -> tuple[dict[str, Any], list[int]]:
    """Run files past a strategy that only looks: what the run printed, and which ticks the strategy was shown."""
    seen = home.parent / "seen"
    said = run(home, *names, strategy="witness:Witness", WITNESS=str(seen))
    return said, [int(line) for line in seen.read_text().split()]


def test_every_file_is_run_and_the_rules_here_are_those_of_the_limits() -> None:
    """The data are the five files of the tests below, row for row; the two bounds here stand in the paper limits."""
    assert sorted(path.name for path in DATA.glob("*.csv*")) == sorted(FILES)
    assert {name: len(rows(name)) for name in FILES} == FILES
    assert f"max_clock_ahead_ms = {AHEAD_US // 1000} " in PAPER
    assert f"max_silence_ms = {SILENCE_US // 1000} " in PAPER


def test_crossed_quotes_are_blocked_and_nothing_else(home: Path) -> None:
    """Of the payrolls day exactly the quotes whose bid is above the ask are blocked, all others are shown."""
    crossed = sum(row.bid > row.ask for row in rows("eurusd_20140502.csv.gz"))
    passed, blocked = judge(rows("eurusd_20140502.csv.gz"))

    said, seen = witnessed(home, "eurusd_20140502.csv.gz")

    assert 0 < crossed < said["ticks"] == FILES["eurusd_20140502.csv.gz"]
    assert said["blocked_by_reason"] == {"QUOTE_CROSSED": crossed} == dict(blocked)
    assert seen == passed


def test_weekend_blocks_the_first_tick_of_sunday(home: Path) -> None:
    """Friday and Sunday in one run have one silence that is too long: Sunday's first tick alone is blocked for it."""
    friday, sunday = "eurusd_20140509.csv.gz", "eurusd_20140511.csv.gz"
    ticks = rows(friday, sunday)
    gaps = [after for before, after in pairwise(ticks) if after.received - before.received > SILENCE_US]
    passed, blocked = judge(ticks)

    said, seen = witnessed(home, friday, sunday)

    assert said["ticks"] == FILES[friday] + FILES[sunday]
    assert gaps == [rows(sunday)[0]]
    assert said["blocked_by_reason"] == dict(blocked)
    assert said["blocked_by_reason"]["FEED_SILENCE"] == 1
    assert seen == passed
    assert gaps[0].ts not in seen


def test_sunday_alone_has_no_weekend(home: Path) -> None:
    """The same Sunday without the Friday before it: its first tick ends no silence, and is shown."""
    ticks = rows("eurusd_20140511.csv.gz")
    passed, blocked = judge(ticks)

    said, seen = witnessed(home, "eurusd_20140511.csv.gz")

    assert said["blocked_by_reason"] == dict(blocked)
    assert (seen, seen[0]) == (passed, ticks[0].ts)


def test_venue_clock_ahead_of_ours_blocks_every_trade(home: Path) -> None:
    """Trades that the venue stamped 1.27 s ahead of our clock are blocked, each that is further ahead than allowed."""
    ticks = rows("btcusdt_20240808_trades.csv.gz")
    ahead = sum(row.ts - row.received > AHEAD_US for row in ticks)
    passed, blocked = judge(ticks)

    said, seen = witnessed(home, "btcusdt_20240808_trades.csv.gz")

    assert said["ticks"] == FILES["btcusdt_20240808_trades.csv.gz"]
    assert said["blocked_by_reason"] == dict(blocked)
    assert blocked["TICK_FROM_FUTURE"] == ahead > 0
    assert seen == passed


def test_limits_that_allow_for_the_skew_let_the_trades_pass(tmp_path: Path) -> None:
    """With a limit above the skew every one of the same trades is shown, and judged by gate 2."""
    limits = tmp_path / "skewed.toml"
    limits.write_text(PAPER.replace("max_clock_ahead_ms = 500 ", "max_clock_ahead_ms = 2000 "))
    assert cli("arm", "--home", tmp_path / "home", "--limits", limits).code == 0
    passed, blocked = judge(rows("btcusdt_20240808_trades.csv.gz"), ahead_us=2_000_000)

    said = run(tmp_path / "home", "btcusdt_20240808_trades.csv.gz", strategy="every-tick")

    assert said["blocked_by_reason"] == dict(blocked) == {}
    assert said["consulted"] == len(passed) == FILES["btcusdt_20240808_trades.csv.gz"]
    assert said["orders_sent"] + said["orders_refused"] == said["consulted"]
    assert said["orders_sent"] > 0


@pytest.mark.parametrize("name", ["btcusdt_20240808_quotes.csv.gz", "eurusd_20140502.csv.gz"])
def test_every_good_tick_may_be_traded_on(home: Path, name: str) -> None:
    """With an order on each tick that is shown, each of them is sent, and the journal has as many sends."""
    passed, blocked = judge(rows(name))

    said = run(home, name, strategy="every-tick")

    assert said["blocked_by_reason"] == dict(blocked)
    assert (said["consulted"], said["orders_sent"]) == (len(passed), len(passed))
    assert (said["orders_refused"], said["orders_unknown"]) == (0, 0)


def test_kill_switch_in_the_midst_of_payrolls(home: Path) -> None:
    """Halted at the tick on which the payrolls came out, not one of the ticks from there on is traded on."""
    name = "eurusd_20140502.csv.gz"
    ticks = rows(name)
    release = 1_399_033_800_000_000  # 12:30 UTC
    at = next(number for number, row in enumerate(ticks, 1) if row.received >= release)
    passed, blocked = judge(ticks[: at - 1])

    ended = cli(
        *("run", "--home", home, "--ticks", DATA / name, "--strategy", "every-tick", "--durability", "process"),
        *("--halt-at-tick", str(at), "--json"),
    )

    said = ended.json
    assert (ended.code, said["mode"], said["ticks"]) == (3, "HALTED", len(ticks))
    assert said["orders_sent"] == len(passed)
    assert said["blocked_by_reason"] == {**blocked, "HALTED": len(ticks) - at + 1}
    assert cli("verify", "--home", home).code == 0
