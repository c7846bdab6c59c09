"""Signals are taken in a thread of their own, by whom they were sent to, and handed back afterwards."""

from __future__ import annotations

import os
import queue
import signal

from tests.helpers import run_python
from tests.stopping_helpers import LONG_S

from interlock.stopping.signals import STOPPING, Signals


def test_signals_are_taken_and_handed_back() -> None:
    """Each number is told, in order of its coming; afterwards handlers and descriptor are what they were."""
    before = [signal.getsignal(number) for number in STOPPING]
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    ours, theirs = os.pipe2(os.O_NONBLOCK)
    was = signal.set_wakeup_fd(theirs)
    try:
        with Signals(told.put):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                assert told.get(timeout=LONG_S) == number
        assert [signal.getsignal(number) for number in STOPPING] == before
        assert signal.set_wakeup_fd(was) == theirs
    finally:
        signal.set_wakeup_fd(was)
        os.close(theirs)
    os.set_blocking(ours, True)
    passed = b""
    while len(passed) < 3 and (more := os.read(ours, 8)):  # whoever had the descriptor before is told as well
        passed += more
    os.close(ours)
    assert list(passed) == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]


def test_signal_to_a_forked_child_is_none_of_its_parents() -> None:
    """A child that is ended by SIGTERM, as `multiprocessing` does it, does not stop the engine that forked it."""
    script = """
    import os, signal, queue
    from interlock.stopping.signals import Signals

    told = queue.SimpleQueue()
    with Signals(told.put):
        ready, up = os.pipe()
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
            os.write(up, b".")
            while True:
                signal.pause()
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        os.kill(os.getpid(), signal.SIGINT)
        assert told.get(timeout=60) == signal.SIGINT  # the first, and so the only one
    """
    assert run_python(script) == ""
