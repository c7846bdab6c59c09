"""Who has not let go, by what the roster and the locks show; and SIGKILL to the very process that is meant."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from interlock.breaker.quiet import InFlight, Waiting
from interlock.breaker.roster import Engine, engines, holders

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from interlock.breaker.home import Home

__all__ = ["end", "reached", "strangers", "waiting"]


def waiting(
    home: Home, memories: AbstractSet[tuple[int, int]], *, mirrored: bool, locked: bool = False
) -> tuple[Waiting, ...]:
    """Engines that have not let go; orders by their permits' numbers only.

    Args:
        home: its paths.
        memories: device and inode of the pages in memory that were halted.
        mirrored: whether the page's file says halt, too.
        locked: the lock is held exclusively by us: then only contradictions are named.
    """
    lock_inode, page_inode = _inode(home.lock), _inode(home.page)
    found = []
    try:
        roster = list(engines(home.engines))
    except OSError as error:
        return (Waiting(engine="", pid=0, in_flight=(), why=f"the roster can't be read: {error.strerror}"),)
    for engine in roster:
        if not engine.attached:
            continue
        if engine.lock_inode not in {0, lock_inode}:
            why = "it has another lock file open: the one in the home was replaced"
        elif engine.page_inode not in {0, page_inode} and engine.held:
            why = "it has another page mapped: the one in the home was replaced"
        elif not mirrored and _elsewhere(engine, memories):
            why = "it has another memory disk, and the page on the home's disk does not say halt yet"
        else:
            why = _not_out(home, engine, locked=locked)
        if why:
            sends = tuple(_shown(engine, one.permit, one.for_ns) for one in engine.sending)
            found.append(Waiting(engine=engine.name, pid=engine.pid, in_flight=sends, why=why, unnamed=engine.unnamed))
    return tuple(found)


def _not_out(home: Home, engine: Engine, *, locked: bool) -> str:
    """Why an engine may not have let go, by what it shows; empty if it has."""
    if engine.sending or engine.unnamed:
        return "it is inside a send"
    if engine.held:
        return "it says that it holds the lock" if locked else "it has not let go yet"
    if engine.shown or locked or (engine.same_process() and engine.pid not in holders(home.lock)):
        return ""
    return "it may not have let go; what it sends can't be seen from here, since it has another memory disk"


def _elsewhere(engine: Engine, memories: AbstractSet[tuple[int, int]]) -> bool:
    """Whether an engine looks at another page in memory than those that were halted, or will be."""
    device, inode = engine.memory
    if inode:
        return engine.memory not in memories
    return device not in {ours for ours, _ in memories}  # it is just attaching


def reached(home: Home, memories: AbstractSet[tuple[int, int]]) -> bool:
    """Whether every engine that is attached looks at one of these pages in memory."""
    try:
        return not any(engine.attached and _elsewhere(engine, memories) for engine in engines(home.engines))
    except OSError:
        return False


def strangers(home: Home) -> tuple[Waiting, ...]:
    """Processes that hold the lock shared and are no attached engine: they inherited it."""
    try:
        known = {engine.pid for engine in engines(home.engines) if engine.attached} | {os.getpid()}
        found = [pid for pid in holders(home.lock) if pid not in known]
    except OSError:
        return ()
    why = "it holds the lock, and is no engine of this home"
    return tuple(Waiting(engine="", pid=pid, in_flight=(), why=why) for pid in found)


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def _shown(engine: Engine, permit: int, for_ns: int) -> InFlight:
    return InFlight(engine=engine.name, pid=engine.pid, permit=permit, client_order_id="", instrument="", for_ns=for_ns)


def end(pid: int, meant: Callable[[], bool]) -> str:
    """SIGKILL, to the very process that is meant: a process id may have been given to another since.

    Args:
        pid: of it.
        meant: looks, when a handle on the process is held, whether that is the one.

    Returns:
        What went wrong, or nothing.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        return f"cannot be killed: {error.strerror}"
    try:
        if not meant():
            return "not killed: that process id belongs to another process now"
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError as error:
        return f"cannot be killed: {error.strerror}"
    finally:
        os.close(handle)
    return ""
