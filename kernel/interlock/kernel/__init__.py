"""EMBED: the kernel that an engine holds.

    with Kernel.attach(home, operator="alice") as kernel:
        kernel.start()
        if kernel.consult(tick):                              # gate 1
            for order in strategy(tick):
                verdict = kernel.submit(order, venue.send)    # gate 2, permit, journal, send(permit)

Threads may call anything at any time. Four rules make that safe.

1. **One lock, and never across a send.** It guards core and journal; it is let go before a send function,
   and while an order waits for the disk. Neither send functions nor what they return or raise run under it.
   A cancel does not wait for it long, either: if a disk hangs under the lock, or under the very record of the cancel,
   the cancel goes first.
2. **Halting does not take it.** `Kernel.halt` first sets the latch byte to zero, which every later look
   at the latch sees; the lock is taken afterwards, to write down what has already happened.
3. **The last look at the latch is the last act before a send**, in the same critical section that counts
   the order as in flight. So whoever has set the byte and then finds nothing in flight knows that
   nothing is being sent and nothing can begin.
4. **A journal that fails halts.** The permit's record is written before the send; in durability ``disk``
   it is on the disk, together with those of all threads that were waiting.
"""

from interlock.breaker.quiet import InFlight
from interlock.kernel.facade import Kernel
from interlock.kernel.values import Clock, HaltReport, StopReport, SystemClock

__all__ = ["Clock", "HaltReport", "InFlight", "Kernel", "StopReport", "SystemClock"]
