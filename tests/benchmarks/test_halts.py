"""The measurement of halts is itself able to fail: a switch that acknowledges too early is seen to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from .board import RING, Board, Doing
from .fleet import Fleet, nats_server
from .halts import Halts, measure_halts
from .measure import MeasurementError
from .switches import FlagFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES = 2


class Hasty(FlagFile):
    """Acknowledges without waiting; the file comes when every engine has sent again."""

    def halt(self) -> bool:  # type: ignore[override]
        """Nothing yet."""
        return True


class Dawdling(Fleet):
    """Makes the file that `Hasty` did not."""

    def wait(self, doing: Doing) -> None:
        """Once the halt has returned."""
        if any(self.board.doing(engine) is Doing.SENDING for engine in self.board.engines):
            before = {engine: self.board.begun(engine) for engine in self.board.engines}
            self.until(lambda: all(self.board.begun(engine) > begun + 1 for engine, begun in before.items()))
            FlagFile.halt(self._switch)  # type: ignore[arg-type]
        super().wait(doing)


class Fickle(Fleet):
    """Stops before it is halted."""

    def go(self) -> None:
        """And out again."""
        super().go()
        FlagFile.halt(self._switch)  # type: ignore[arg-type]
        self.wait(Doing.OUT)


@pytest.fixture
def board() -> Iterator[Board]:
    """A board of two engines."""
    board = Board(ENGINES)
    yield board
    board.close()


def test_an_ack_without_waiting_is_seen(tmp_path: Path) -> None:
    """Sends that begin after an acknowledgement are counted, and refuse the measurement."""
    switch = Hasty(tmp_path)
    with Dawdling(switch, ENGINES) as fleet:
        halts = Halts(switch=switch, fleet=fleet, seed=1)
        halts.again(2)
        tally = halts.tally()
    assert tally.halts == tally.halts_late == 2
    assert tally.late >= 2 * ENGINES
    assert tally.most_late < tally.sends
    with pytest.raises(MeasurementError, match="after an acknowledgement"):
        halts.check()


def test_a_peer_has_no_ack(tmp_path: Path) -> None:
    """A switch that confirms nothing is not held to a confirmation, and its row says so."""
    switch = FlagFile(tmp_path)
    with Fleet(switch, ENGINES) as fleet:
        halts = Halts(switch=switch, fleet=fleet, seed=1)
        halts.again(2)
        halts.check()
        assert "no ack" in halts.tally().name
        assert [row.calls for row in halts.timings()] == [2, 2, 2]


def test_a_fleet_that_stops_by_itself_is_not_measured(tmp_path: Path) -> None:
    """An engine that was out before the halt shows nothing of the switch."""
    switch = FlagFile(tmp_path)
    with Fickle(switch, ENGINES) as fleet:
        halts = Halts(switch=switch, fleet=fleet, seed=1)
        with pytest.raises(MeasurementError, match="out before the halt"):
            halts.again(1)


def test_nothing_is_sent_after_our_ack(tmp_path: Path) -> None:
    """Some halts of a real fleet at full speed: nothing begins after the acknowledgement."""
    _, tallies, _ = measure_halts(tmp_path, 3, only_ours=True)
    (tally,) = tallies
    assert (tally.halts, tally.late, tally.halts_late) == (3, 0, 0)
    assert tally.sends > tally.window_sends > 0


def test_an_engine_that_ends_is_noticed(tmp_path: Path) -> None:
    """No measurement goes on without one of its engines."""
    switch = FlagFile(tmp_path)
    with Fleet(switch, ENGINES) as fleet:
        fleet._processes[1].kill()
        fleet.ended(1)
        with pytest.raises(MeasurementError, match="engines \\[1\\] have ended"):
            fleet.until(lambda: False)


def test_the_board_counts_each_send(board: Board) -> None:
    """Every begin after a moment counts, also where the ring has gone round; it counts no further than it holds."""
    pen, other = board.pen(1), board.pen(0)
    for _ in range(RING - 3):
        pen.begin()
    moment = board.last_begun_ns(1)
    assert board.begun_after(1, moment) == 0
    for _ in range(5):
        pen.begin()
    other.begin()
    assert board.begun(1) == RING + 2
    assert board.begun_after(1, moment) == 5
    assert board.begun_after(0, moment) == 1
    assert board.begun_after(1, 0) == RING


def test_the_server_is_of_this_machine_alone_and_ends(tmp_path: Path) -> None:
    """The NATS server listens on the loopback, on a port of its own, and is gone afterwards."""
    try:
        with nats_server(tmp_path) as where:
            address = urlsplit(where)
            host, port = address.hostname or "", address.port or 0
            assert host == "127.0.0.1"
            socket.create_connection((host, port), timeout=10).close()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=10)
