"""A deterministic simulation of the machine beneath the real kernel, breaker and journal.

    from interlock.testing.simulation import simulate

    run = simulate(17)
    assert run.failure is None, run.failure

One process, one seed. The kernel, the breaker and the journal are the real ones, line for line; what is beneath them
is simulated: threads and processes (`scheduler`, `threads`), clocks, the disk with what a power cut leaves of it
(`disk`, `faults`), system calls and file locks (`system`), mapped memory (`memory`) and the venue (`venue`). Engines
trade, halt, die and come back, operators halt and reset from outside (`desk`), while processes are killed and
suspended, disks fail, freeze and fill up, clocks turn, files vanish and the power goes (`world`). Meanwhile the
promises are watched (`promises`). The same seed gives the same run, byte for byte of its log, so a failure is a seed.

`simulate` runs one seed, `campaign` many; ``python -m interlock.testing.simulation --help`` is the command. The names
of the standard library's modules stand for the simulated ones in Interlock's own modules while a run lasts (`seams`):
one run at a time in a process, and nothing else of Interlock beside it.
"""

from interlock.testing.simulation.campaign import Campaign, campaign
from interlock.testing.simulation.promises import PROMISES
from interlock.testing.simulation.tasks import Failure
from interlock.testing.simulation.world import STEPS, Run, simulate

__all__ = ["PROMISES", "STEPS", "Campaign", "Failure", "Run", "campaign", "simulate"]
