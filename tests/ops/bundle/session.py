"""A session on a real home: engines that trade, a halt from another process, a reset, a crash, torn bytes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.helpers import LIMITS, arm, attach, cancel, fill, order, python, quote, running
from tests.ops.cli_helpers import PATIENCE_S, cli

from interlock.breaker.versions import set_limits

if TYPE_CHECKING:
    from pathlib import Path

    from interlock import Kernel
    from interlock.breaker.home import Home

NASTY: Final = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>\u202e&amp;\"' =1+1"
"""Text that would do harm in a page or a table that does not escape it."""

CALM: Final = LIMITS.replace("heartbeat_overdue_ms = 60000", "heartbeat_overdue_ms = 600000").replace(
    "max_tick_age_ms = 1000", 'max_tick_age_ms = "off"'
)
"""Limits for a machine that may be slow."""

_DIES: Final = """
import os, sys
from tests.helpers import running, order, quote
kernel = running(sys.argv[1], engine=sys.argv[2], operator="dan")
for number in range(3):
    kernel.submit(order(f"{sys.argv[2]}-lost-{number}"), lambda permit: permit.redeem() and "left")
os.kill(os.getpid(), 9)
"""


def trade(kernel: Kernel, prefix: str, count: int) -> None:
    """Orders that pass and are filled, and some that are refused for one reason or another."""
    kernel.consult(quote(kernel))
    for number in range(count):
        name = f"{prefix}-{number}"
        kernel.submit(order(name), lambda permit: f"ack {permit.redeem().client_order_id}")
        if number % 2:
            kernel.on_accept(name, f"v-{name}")
        if number % 3 == 0:
            kernel.on_fill(fill(name, f"f-{name}"))
        elif number % 3 == 1:
            kernel.on_cancelled(name, "day is over")
    kernel.submit(order(f"{prefix}-far", price="150"), str)
    kernel.submit(order(f"{prefix}-large", quantity="11"), str)
    kernel.submit(order(f"{prefix}-0"), str)
    kernel.submit(order(f"{prefix}-other", instrument="NOPE"), str)


def session(path: Path, *, nasty: str = "fat finger") -> Home:
    """A home with two engines and some history; nobody is attached at its end."""
    home = arm(path, CALM)
    with running(path) as first, running(path, engine="second", operator=nasty) as second:
        trade(first, "a", 12)
        trade(second, "b", 5)
        halt(path, nasty)
        for name, kernel in (("a", first), ("b", second)):
            kernel.heartbeat()
            for one in kernel.working_orders():
                kernel.cancel(cancel(one.client_order_id), lambda _: "gone")
                kernel.on_cancelled(one.client_order_id, "by the halt")
            kernel.submit(order(f"{name}-late"), str)
    reset(path, 1, nasty)
    with running(path, operator="erin") as first:
        trade(first, "c", 4)
        first.stop()
    smaller = CALM.replace("max_quantity = 10", "max_quantity = 9").encode()
    set_limits(home, smaller, operator=nasty, reason=nasty, ts_us=1_723_075_300_000_000)
    with python(_DIES, path, "second") as dying:
        _, error = dying.communicate(timeout=PATIENCE_S)
    assert dying.returncode == -signal.SIGKILL, error
    segment = max(home.stream("second").glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().rstrip(b"\x00") + b'{"v":1,"seq":99,"kind":"sent","torn')
    attach(path, engine="second").close()
    return home


def halt(path: Path, reason: str) -> None:
    """Pull the switch from another process."""
    ended = cli("halt", "--home", path, "--reason", reason, "--operator", reason, "--timeout", "20")
    assert ended.code == 0, ended.out + ended.err


def reset(path: Path, epoch: int, reason: str) -> None:
    """Reset from another process."""
    ended = cli("reset", "--home", path, "--reason", reason, "--operator", reason, "--epoch", str(epoch))
    assert ended.code == 0, ended.out + ended.err
