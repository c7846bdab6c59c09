"""Who asked to be called on a halt is: once, from a thread, whoever halted, although loop, lock or disk may hang."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import LIMITS, arm, attach, halt_home, of_kind, order, reset_home, run_python, running
from tests.stopping_helpers import LONG_S

from interlock import HaltCode, Mode
from interlock.core.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock import HaltCause, Kernel


class Called:
    """Takes down each call: in which thread, and in which mode the kernel was."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.calls: queue.SimpleQueue[tuple[str, Mode]] = queue.SimpleQueue()

    def __call__(self) -> None:
        """Called."""
        self.calls.put((threading.current_thread().name, self.kernel.mode))

    def once(self) -> None:
        """It was called, or is within a time that no machine needs."""
        name, mode = self.calls.get(timeout=LONG_S)
        assert (name, mode) == ("interlock-on-halt", Mode.HALTED)

    def never(self, looks: int = 20) -> None:
        """It is not called, however often the lookout comes round."""
        see, seen = self.kernel._hold.see, threading.Semaphore(0)

        class Counts:
            def __getattr__(self, name: str) -> Any:
                return getattr(hold, name)

            def see(self) -> bool:
                seen.release()
                return see()

        hold = self.kernel._hold
        self.kernel._hold = Counts()  # type: ignore[assignment]
        try:
            for _ in range(looks):
                assert seen.acquire(timeout=LONG_S)
        finally:
            self.kernel._hold = hold
        assert self.calls.empty()


def by_itself(kernel: Kernel, _: Path) -> None:
    """Halt from inside."""
    kernel.halt("pulled")


def from_outside(_: Kernel, home: Path) -> None:
    """Halt as the command line does."""
    halt_home(home)


def in_a_signal_handler(kernel: Kernel, _: Path) -> None:
    """Halt without a lock."""
    kernel.halt("signal", code=HaltCode.SIGNAL, timeout_s=0)


def by_its_journal(kernel: Kernel, _: Path) -> None:
    """A journal that fails halts."""
    kernel._journal.broken = "no space left"
    kernel.heartbeat()


def by_its_page(kernel: Kernel, home: Path) -> None:
    """A home that is not what it was halts."""
    (home / "page").unlink()
    kernel.heartbeat()


@pytest.mark.parametrize("halt", [by_itself, from_outside, in_a_signal_handler, by_its_journal, by_its_page])
def test_every_halt_calls_once(home: Path, kernel: Kernel, halt: Callable[[Kernel, Path], None]) -> None:
    """Whoever halts: each that asked for it is called, in a thread of its own, and not again for one more halt."""
    one, other = Called(kernel), Called(kernel)
    kernel.on_halt(one)
    kernel.on_halt(other)
    halt(kernel, home)
    one.once()
    other.once()
    kernel.halt("once more")
    one.never()


def test_trip_in_gate_2_calls(home: Path) -> None:
    """A limit that halts by itself calls as well, and not in the thread of the order."""
    text = LIMITS.replace("repeat_refuse_after = 1000", "repeat_refuse_after = 1")
    text = text.replace("repeat_trip_after = 2000", "repeat_trip_after = 2").replace(
        "repeat_window_ms = 1\n", "repeat_window_ms = 60000\n"
    )
    arm(home.with_name("strict"), text)
    with running(home.with_name("strict")) as kernel:
        called = Called(kernel)
        kernel.on_halt(called)
        for number in range(5):
            kernel.submit(order(f"o{number}"), lambda permit: permit.redeem())
        called.once()
        assert kernel.cause is not None


def test_hung_lock_holds_up_no_call(home: Path, kernel: Kernel) -> None:
    """A disk that hangs with the kernel's lock held keeps nobody from being called; nor does a call that hangs."""
    called, out = Called(kernel), threading.Event()
    kernel.on_halt(lambda: out.wait(LONG_S))
    kernel.on_halt(called)
    with kernel._lock:
        halt_home(home)
        called.once()
    out.set()


def test_each_halt_calls_and_a_stop_does_not(kernel: Kernel) -> None:
    """After a reset the next halt calls again; an orderly stop, which lets go of the home too, never does."""
    called = Called(kernel)
    kernel.on_halt(called)
    for number in range(200):
        assert kernel.stop().stopped
        assert kernel.start(f"day {number}")
    called.never()
    for epoch in (1, 2):
        kernel.halt("pulled")
        called.once()
        kernel.reset(operator="bob", reason="looked into", epoch=epoch)
        called.never()
        assert kernel.start()


def test_halt_that_was_reset_before_anybody_looked_calls(home: Path, kernel: Kernel) -> None:
    """Halted and reset by others between two looks of the lookout: the halt was one, and calls."""
    called = Called(kernel)
    kernel.on_halt(called)
    kernel._ring, ring = lambda: None, kernel._ring  # type: ignore[method-assign] # it does not come round meanwhile
    halt_home(home, timeout_s=LONG_S)
    reset_home(home, 1)
    kernel.heartbeat()
    assert (kernel.mode, kernel.epoch) == (Mode.IDLE, 2)
    kernel._ring = ring  # type: ignore[method-assign]
    name, mode = called.calls.get(timeout=LONG_S)
    assert (name, mode) == ("interlock-on-halt", Mode.IDLE)
    kernel.on_halt(late := Called(kernel))
    late.never()


def test_halted_kernel_calls_at_once(home: Path) -> None:
    """Who asks only after the halt, or of a kernel that came up HALTED and never started, is called all the same."""
    halt_home(home)
    with attach(home) as kernel:
        called = Called(kernel)
        kernel.on_halt(called)
        called.once()


def test_who_takes_it_back_is_not_called(kernel: Kernel) -> None:
    """A call that was taken back is not made; taking it back twice does nothing."""
    gone, stays = Called(kernel), Called(kernel)
    forget = kernel.on_halt(gone)
    kernel.on_halt(stays)
    forget()
    forget()
    kernel.halt("pulled")
    stays.once()
    gone.never()


@pytest.mark.parametrize("error", [ValueError("what?"), SystemExit(1)], ids=repr)
def test_call_that_raises_is_an_anomaly(home: Path, kernel: Kernel, error: BaseException) -> None:
    """What a call raises ends nothing, and stands in the journal."""
    called = Called(kernel)

    def raises() -> None:
        raise error

    written, note = threading.Event(), kernel.anomaly

    def noted(code: str, detail: str) -> None:
        note(code, detail)
        written.set()

    kernel.anomaly = noted  # type: ignore[method-assign]
    kernel.on_halt(raises)
    kernel.on_halt(called)
    kernel.halt("pulled")
    called.once()
    assert written.wait(LONG_S)
    kernel.seal()
    (found,) = [one for one in of_kind(home, "anomaly") if one["code"] == "ON_HALT_RAISED"]
    assert type(error).__name__ in found["detail"]


def test_no_thread_to_be_had_is_tried_again(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no thread left when it halts has one later, and the call is made then."""
    start, refused = threading.Thread.start, threading.Semaphore(0)
    left = [3]

    def starting(self: threading.Thread) -> None:
        if self.name == "interlock-on-halt" and left[0]:
            left[0] -= 1
            refused.release()
            message = "can't start new thread"
            raise RuntimeError(message)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    called = Called(kernel)
    kernel.on_halt(called)
    kernel.halt("pulled")
    for _ in range(3):
        assert refused.acquire(timeout=LONG_S)
    called.once()


@pytest.mark.parametrize("mode", [Mode.RUNNING, Mode.IDLE])
def test_close_is_no_halt(home: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """A kernel that is closed refuses from then on, which is no halt: a lookout that comes by then calls nobody."""
    real = Machine.halt
    with running(home) as kernel:
        called = Called(kernel)
        kernel.on_halt(called)
        if mode is Mode.IDLE:
            assert kernel.stop("enough").stopped

        def halt(core: Machine, cause: HaltCause) -> object:
            try:
                return real(core, cause)
            finally:
                kernel._ring()

        monkeypatch.setattr(Machine, "halt", halt)
    assert kernel.mode is Mode.HALTED
    for thread in threading.enumerate():
        if thread.name == "interlock-on-halt":
            thread.join(LONG_S)
    assert called.calls.empty()


def test_forked_child_calls_nobody(home: Path) -> None:
    """The copy in a forked child is HALTED, which is no halt: it calls nobody."""
    script = """
    import os, sys
    from pathlib import Path
    from tests.helpers import *

    with running(Path(sys.argv[1])) as kernel:
        kernel.on_halt(lambda: print("called", os.getpid() == parent, flush=True))
        parent = os.getpid()
        child = os.fork()
        if not child:
            os._exit(bool(kernel._bells))
        assert os.waitpid(child, 0)[1] == 0
    """
    assert run_python(script, home) == ""
