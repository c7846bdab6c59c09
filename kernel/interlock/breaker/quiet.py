"""What a halt from outside reached, and who keeps it from being confirmed."""

from __future__ import annotations

import attrs

__all__ = ["InFlight", "Killed", "Quiet", "Waiting"]


@attrs.frozen(kw_only=True)
class InFlight:
    """A send that has begun and not ended.

    Attributes:
        engine: whose it is.
        pid: of that engine's process.
        permit: its number.
        client_order_id: of the order; empty if its journal can't be read.
        instrument: likewise.
        for_ns: since when.
    """

    engine: str
    pid: int
    permit: int
    client_order_id: str
    instrument: str
    for_ns: int


@attrs.frozen(kw_only=True)
class Waiting:
    """A process that has not let go of the running lock, or of which nobody can know.

    Attributes:
        engine: its name; empty for a process that is no engine of this home (one that inherited the lock, say).
        pid: of the process.
        in_flight: what it is sending.
        why: what is known, for people.
        unnamed: how many sends it has begun besides, for which the roster has no room.
    """

    engine: str
    pid: int
    in_flight: tuple[InFlight, ...]
    why: str
    unnamed: int = 0

    @property
    def told(self) -> str:
        """It, for people."""
        name = f"engine {self.engine}, pid {self.pid}" if self.engine else f"pid {self.pid}"
        sends = [
            f"{one.client_order_id or f'permit {one.permit}'} {one.instrument} for {one.for_ns / 1e9:.3f} s"
            for one in self.in_flight
        ]
        if self.unnamed:
            sends.append(f"and {self.unnamed} more")
        return f"not quiet: {name}: {self.why}" + (f": {', '.join(sends)}" if sends else "")


@attrs.frozen(kw_only=True)
class Killed:
    """A process that got SIGKILL."""

    engine: str
    pid: int


@attrs.frozen(kw_only=True)
class Quiet:
    """What a halt from outside reached.

    Attributes:
        stopped: whether the page byte was set, so that no engine begins a send any more: at once, or within a look, if
            it could be set in the home's file only. If not, an engine sees the halt at its next heartbeat at the
            latest, if ``durable``, and not at all, if not.
        durable: whether the latch on disk is known not to be armed.
        confirmed: whether every engine attached to the home is known to have stopped sending.
        waiting: who has not, if not ``confirmed``.
        killed: who got SIGKILL.
        message: what went wrong or is still awaited, for people.
        called_ns: when this halt began, on the machine's monotonic clock, as all that follow; 0: not reached.
        stopped_ns: when the byte was set.
        durable_ns: when the latch was known to be on disk.
        confirmed_ns: when it was known that all are out, with the running lock still in this halt's hands.
    """

    stopped: bool
    durable: bool
    confirmed: bool
    waiting: tuple[Waiting, ...] = ()
    killed: tuple[Killed, ...] = ()
    message: str
    called_ns: int = 0
    stopped_ns: int = 0
    durable_ns: int = 0
    confirmed_ns: int = 0
