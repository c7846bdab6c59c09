"""What a service manager is told: systemd's ``sd_notify``, without its library.

    READY=1      it runs
    WATCHDOG=1   it gets on; to be said at least twice within `watchdog_interval_s`
    STOPPING=1   it is about to end

Telling is a courtesy: it never raises and never waits. What was not taken is said by the answer.
"""

from __future__ import annotations

import os
import socket

__all__ = ["sd_notify", "watchdog_interval_s"]


def sd_notify(*said: str) -> bool:
    """Tell the service manager, if there is one.

    Args:
        *said: assignments, such as ``READY=1``.

    Returns:
        Whether it has been handed over. False: nobody asked for it, or it could not be done at once.
    """
    where = os.environb.get(b"NOTIFY_SOCKET", b"")
    if where[:1] == b"@":  # a name that is in no file system
        where = b"\x00" + where[1:]
    elif where[:1] != b"/":
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ours:
            ours.settimeout(0)
            ours.connect(where)
            ours.send("\n".join(said).encode(errors="replace"))
    except (OSError, ValueError):
        return False
    return True


def watchdog_interval_s() -> float | None:
    """Within which time `WATCHDOG=1` is expected of this very process; None if it is not."""
    for_whom = os.environ.get("WATCHDOG_PID", "")
    if for_whom not in {"", str(os.getpid())}:
        return None
    told = os.environ.get("WATCHDOG_USEC", "")
    if not (told.isascii() and told.isdigit()) or int(told) == 0:
        return None
    return int(told) / 1_000_000
