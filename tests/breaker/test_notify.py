"""What a service manager is told, over real sockets; and what the live loop tells it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import LIMITS, NAME, arm, attach, halt_home, order, run_python, until

from interlock import Kernel, Quote
from interlock.adapters.paper import PaperVenue
from interlock.breaker.notify import sd_notify, watchdog_interval_s
from interlock.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


class Manager:
    """A service manager's end.

    Args:
        address: of its socket.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """What has been said since the last time."""
        said = []
        while True:
            try:
                said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return said


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Return a service manager that this process was started by."""
    made = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_what_is_said_arrives(manager: Manager) -> None:
    """One datagram for each call, its assignments on lines of their own."""
    assert sd_notify("READY=1")
    assert sd_notify("STATUS=halted", "STOPPING=1")
    assert manager.heard() == ["READY=1", "STATUS=halted\nSTOPPING=1"]


def test_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with @ is in no file system."""
    name = f"interlock-test-{os.getpid()}"
    made = Manager(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    assert sd_notify("READY=1")
    assert made.heard() == ["READY=1"]
    made.socket.close()


def test_name_that_is_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is bytes, and text that can't be encoded is said as far as it can be."""
    path = os.fsencode(tmp_path) + b"/\xff"
    made = Manager(os.fsdecode(path))
    monkeypatch.setenv("NOTIFY_SOCKET", os.fsdecode(path))
    assert sd_notify("STATUS=\ud800")
    assert made.heard() == ["STATUS=?"]
    made.socket.close()


@pytest.mark.parametrize("where", [None, "", "relative", "vsock:2:1234", "/nowhere/at/all", "@", "/" + 200 * "x"])
def test_nobody_there(where: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service manager, or with one that can't be reached, nothing is raised."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if where is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", where)
    assert sd_notify("READY=1") is False


def test_manager_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    """With its queue full the call says so and returns."""
    said = [sd_notify("WATCHDOG=1") for _ in range(10_000)]
    assert said[0] is True
    assert said[-1] is False
    assert len(manager.heard()) == sum(said)


def test_socket_is_not_inherited(tmp_path: Path) -> None:
    """No descriptor is left open, and what is open for a moment is closed on exec."""
    said = run_python(
        """
        import os, socket, sys
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(sys.argv[1])
        os.environ["NOTIFY_SOCKET"] = sys.argv[1]
        from interlock.breaker import notify
        kinds = []
        class Seen(socket.socket):
            def __init__(self, family, kind):
                super().__init__(family, kind)
                kinds.append((kind & socket.SOCK_CLOEXEC, self.get_inheritable()))
        notify.socket.socket = Seen
        before = os.listdir("/proc/self/fd")
        assert notify.sd_notify("READY=1")
        print(len(os.listdir("/proc/self/fd")) - len(before), kinds == [(socket.SOCK_CLOEXEC, False)])
        """,
        tmp_path / "n",
    )
    assert said == "0 True\n"


@pytest.mark.parametrize(
    ("usec", "pid", "wanted"),
    [
        ("3000000", None, 3.0),
        ("3000000", "", 3.0),
        ("500000", "mine", 0.5),
        ("3000000", "1", None),
        ("3000000", "nobody", None),
        ("0", None, None),
        ("-5", None, None),
        ("much", None, None),
        ("٣", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_interval_is_ours_or_none(
    usec: str | None, pid: str | None, wanted: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is microseconds, for the process that is named, and nothing else."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == wanted


# -- The live loop ---------------------------------------------------------------------------------


class Wants:
    """A strategy of one order a tick."""

    def __init__(self) -> None:
        self.asked = 0

    def on_tick(self, _: Quote) -> Any:
        """The order."""
        self.asked += 1
        return (order(f"w{self.asked}"),)


class Feed:
    """One tick, and then what it is told to wait for."""

    def __init__(self, after: Any) -> None:
        self.after = after

    async def batches(self) -> Any:
        """It."""
        ts_us = time.time_ns() // 1000
        yield (Quote(instrument=NAME, ts_us=ts_us, bid=order("x").price, ask=order("x").price),)  # type: ignore[arg-type] # it has one
        await self.after()


class Gateway:
    """Its sends wait for what they are told."""

    def __init__(self, before: Any) -> None:
        self.before = before

    async def send(self, permit: Any) -> None:
        """Take the order."""
        permit.redeem()
        await self.before()

    async def cancel(self, _: object) -> None:
        """Nothing rests here."""


def play(path: Path, *, feed: Any, gateway: Any, heartbeat_s: float = 0.001, halted: bool = False) -> str | None:
    """Run an engine to its end; why it was not started."""
    arm(path, LIMITS.replace("max_tick_age_ms = 1000", 'max_tick_age_ms = "off"'))
    if halted:
        halt_home(path)

    async def main() -> str | None:
        with attach(path) as kernel:
            loop = Engine(kernel, feed=feed, strategy=Wants(), gateway=gateway, heartbeat_s=heartbeat_s)
            async with asyncio.timeout(30):
                return (await loop.run()).not_started

    return asyncio.run(main())


async def nothing() -> None:
    """Nothing to wait for."""


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Return what waits until the loop has come round, and beaten, many times."""
    beats: list[Kernel] = []
    plain = Kernel.heartbeat

    def heartbeat(kernel: Kernel, **given: Any) -> None:
        plain(kernel, **given)
        beats.append(kernel)

    async def turned() -> None:
        enough = len(beats) + 50
        await until(lambda: len(beats) > enough)

    monkeypatch.setattr(Kernel, "heartbeat", heartbeat)
    return turned


def test_loop_says_ready_alive_stopping(manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY once it is RUNNING, WATCHDOG while it gets on, also in a silent feed, STOPPING once it begins to end."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    said: list[str] = []

    def enough() -> bool:
        said.extend(manager.heard())
        return said.count("WATCHDOG=1") > 2

    async def listen() -> None:
        await until(enough)

    assert play(tmp_path / "home", feed=Feed(listen), gateway=PaperVenue(seed=1)) is None
    said += manager.heard()
    assert said[0] == "READY=1"
    assert said.count("STOPPING=1") == 1
    assert "WATCHDOG=1" in said[1 : said.index("STOPPING=1")]
    assert set(said[1:]) == {"WATCHDOG=1", "STOPPING=1"}  # while it stops it is alive, too
    assert len(said) > 4


def test_loop_that_is_not_started_is_not_ready(manager: Manager, tmp_path: Path) -> None:
    """A halted home makes no service ready."""
    assert play(tmp_path / "home", feed=Feed(nothing), gateway=PaperVenue(seed=1), halted=True) == "HALTED"
    assert "READY=1" not in manager.heard()


def test_nobody_asked_for_a_watchdog(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: Callable[[], Awaitable[None]]
) -> None:
    """Without WATCHDOG_USEC for this process only beginning and end are told."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    play(tmp_path / "home", feed=Feed(turns), gateway=PaperVenue(seed=1))
    assert manager.heard() == ["READY=1", "STOPPING=1"]


def test_beats_without_progress_are_no_sign_of_life(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: Callable[[], Awaitable[None]]
) -> None:
    """A loop that goes on beating over a tick that it does not get done with says nothing after half the interval."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    quiet: list[str] = []

    async def hung() -> None:
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 0.06)  # the whole interval
        manager.heard()
        await turns()
        quiet.extend(manager.heard())

    play(tmp_path / "home", feed=Feed(nothing), gateway=Gateway(hung))
    assert quiet == []
    assert "STOPPING=1" in manager.heard()


def test_beats_come_twice_within_the_interval(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow heartbeat is made faster, so that the service manager hears of it in time."""
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    said: list[str] = []

    def enough() -> bool:
        said.extend(manager.heard())
        return said.count("WATCHDOG=1") > 4

    async def listen() -> None:
        await until(enough)

    play(tmp_path / "home", feed=Feed(listen), gateway=PaperVenue(seed=1), heartbeat_s=3600.0)
    assert enough()


def test_ready_is_said_again_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: Callable[[], Awaitable[None]]
) -> None:
    """A service manager that did not take it at first hears it at a later heartbeat."""
    where = tmp_path / "late"
    monkeypatch.setenv("NOTIFY_SOCKET", str(where))
    managers: list[Manager] = []

    async def appear() -> None:
        await turns()
        managers.append(Manager(str(where)))
        await turns()

    play(tmp_path / "home", feed=Feed(appear), gateway=PaperVenue(seed=1))
    assert managers[0].heard() == ["READY=1", "STOPPING=1"]
    managers[0].socket.close()
