"""What goes wrong with a disk, as the seed says."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from interlock.testing.simulation.disk import Device, File
    from interlock.testing.simulation.scheduler import Scheduler

__all__ = ["Faults"]

_MS: Final = 1_000_000


class Faults:
    """The troubles of the home's disk, and of a system that is short of threads.

    Args:
        scheduler: of the run.

    Attributes:
        errors: how likely a call fails (EIO).
        syncs: how likely a sync fails, and loses something.
        slow: how likely a call takes milliseconds.
        shorts: how likely a write takes only some of the bytes.
        threads: how likely there is no thread to be had.
        full: whether there is no room for more (ENOSPC).
        frozen_ns: until when no call returns.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.errors = self.syncs = self.slow = self.shorts = self.threads = 0.0
        self.full = False
        self.frozen_ns = 0

    def calm(self) -> None:
        """All is well from here on."""
        self.errors = self.syncs = self.slow = self.shorts = self.threads = 0.0
        self.full = False
        self.frozen_ns = 0

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._scheduler.random.random() < rate

    def meet(self, device: Device) -> None:
        """A call reaches a file system; it may be held up.

        Raises:
            OSError: it failed.
        """
        if not device.lasting:
            return
        scheduler = self._scheduler
        while self.frozen_ns > scheduler.now_ns:
            scheduler.wait(self.frozen_ns, "for a frozen disk")
        if self._happens(self.slow):
            scheduler.wait(scheduler.now_ns + int(scheduler.random.expovariate(1) * 20 * _MS), "for a slow disk")
        if self._happens(self.errors):
            raise OSError(errno.EIO, "Input/output error (simulated)")

    def grows(self, device: Device) -> None:
        """A file needs more room.

        Raises:
            OSError: there is none.
        """
        if device.lasting and self.full:
            raise OSError(errno.ENOSPC, "No space left on device (simulated)")

    def syncing(self, file: File) -> None:
        """A file is synced.

        Raises:
            OSError: it failed, and something is lost.
        """
        if file.device.lasting and self._happens(self.syncs):
            file.sync_fails(self._scheduler.random)
            raise OSError(errno.EIO, "Input/output error (simulated)")

    def taken(self, length: int) -> int:
        """How many bytes of a write are taken."""
        if length > 1 and self._happens(self.shorts):
            return self._scheduler.random.randrange(1, length)
        return length

    def no_thread(self) -> bool:
        """Whether there is no thread to be had."""
        return self._happens(self.threads)
