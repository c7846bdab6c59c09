"""What being one of many engines costs the way of an order: the same `submit`, with it and without.

Three kernels take turns in one process, each time on a fresh home, journal and all limits included:

- *attached*: as it is. The byte is looked at in the page that all processes share, each send is announced in the
  roster, and the lookout and the watchdog's thread look on.
- *private*: a byte and slots that are this process's own, and no thread beside: what the sharing costs.
- *unannounced*: the byte is private, and sends are not announced at all: what a kernel that could not be halted
  from outside would cost.
"""

from __future__ import annotations

from array import array
from statistics import median
from typing import TYPE_CHECKING, Final

from interlock import Kernel, Mode
from interlock.breaker.quiescence import SHOWN, Hold
from interlock.breaker.watchdog import Limits
from interlock.core.modes import ARMED

from .measure import Plan, Timing, require, samples_ns, timing_of
from .ours import Orders, make_home, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from interlock import Order

__all__ = ["attachment"]

_TO_REACH: Final = 1.05
_PLAN: Final = Plan(n=500, warmup=100, rounds=1)


class _Unannounced(Hold):
    """Looks at the byte, and tells nobody."""

    __slots__ = ()

    def begin(self, number: int, now_ns: int) -> bool:
        del number, now_ns
        return self.page[0] == ARMED

    def end(self, number: int) -> None:
        del number


def _attached(kernel: Kernel) -> Callable[[], None]:
    """All that watches over it looks on."""
    require(kernel._lookout is not None and kernel._lookout.is_alive(), "no lookout")
    require(kernel._watch is not None and kernel._watch.is_alive(), "no watchdog")
    return lambda: None


def _private(kernel: Kernel) -> Callable[[], None]:
    """Nobody looks on, and nobody else could."""
    kernel._over.set()
    listener = kernel._sentinel._listener
    if listener is not None:
        listener.end()
        listener.join()
    require(kernel._lookout is not None, "no lookout")
    if kernel._lookout is not None:
        kernel._lookout.join()
    hold = kernel._hold
    mapped = hold._mapped
    hold.page = hold._mapped = bytearray([ARMED])
    hold._slots = [0] * SHOWN

    def back() -> None:
        hold.page = hold._mapped = mapped

    return back


def _unannounced(kernel: Kernel) -> Callable[[], None]:
    """Nor is anything told."""
    back = _private(kernel)
    kernel._hold.__class__ = _Unannounced
    return back


_KERNELS: Final = {"attached": _attached, "private": _private, "unannounced": _unannounced}


def attachment(directory: Path, rounds: int) -> tuple[list[Timing], list[str]]:
    """`submit`, accepted, in durability ``process``, by each of the kernels.

    Args:
        directory: for the homes.
        rounds: how often each has its turn.

    Returns:
        Rows, and notes with the ratios.
    """
    took = {name: array("q") for name in _KERNELS}
    medians: dict[str, list[int]] = {name: [] for name in _KERNELS}
    names = list(_KERNELS)
    for turn in range(rounds):
        for name in names:
            samples = _submits(make_home(directory, f"attached-{turn}-{name}"), _KERNELS[name])
            took[name].extend(samples)
            medians[name].append(timing_of(name, samples).p50_ns)
        names.reverse()  # who is last in one round is first in the next
    rows = [timing_of(f"submit, accepted ({name})", samples) for name, samples in took.items()]
    return rows, [
        f"attached to others: {_ratio(medians['attached'], medians[name]):.3f} times the submit of a kernel "
        f"{what}{target}; the median of {rounds} rounds' medians"
        for name, what, target in (
            ("private", "that shares nothing", f" (to reach: {_TO_REACH})"),
            ("unannounced", "that announces no send", ""),
        )
    ]


def _ratio(ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Round by round, since a machine that is busy with something else is so for a round and its neighbours."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def _submits(home: Path, change: Callable[[Kernel], Callable[[], None]]) -> array[int]:
    watch = Limits(beat_s=60, busy_s=60, send_s=60) if change is _attached else None
    with Kernel.attach(home, operator="bench", durability="process", watch=watch) as kernel:
        require(kernel.start(), "the kernel did not start")
        back = change(kernel)
        orders = Orders(kernel)
        accepted = 0

        def submit(order: Order) -> None:
            nonlocal accepted
            accepted += bool(kernel.submit(order, send))

        took = samples_ns(submit, orders.make, _PLAN, after=orders.over)
        back()
        require(accepted == _PLAN.calls, f"{accepted} of {_PLAN.calls} orders were accepted")
        require(kernel.mode is Mode.RUNNING, f"{kernel.mode}: {kernel.cause}")
    return took
