"""A piece of work in a child of this process, which may hang, crash, or fill the memory without harm to its parent."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY: Final = "INTERLOCK_MEMORY"
_MOST_BYTES: Final = 6 << 30
_LONGEST_LINE: Final = 1 << 16


@attrs.frozen
class Ended:
    """How it went: ``fine``, ``failed``, ``died`` or ``hung``, and what it said last."""

    how: str
    said: str
    seconds: float


class Teller:
    """What the child tells its parent."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._pid = os.getpid()

    def within(self, seconds: float, what: str) -> None:
        """The next step is this one, and takes no longer than that."""
        self._line(f"W {seconds} {what}")

    def failed(self, what: str) -> NoReturn:
        """It is over: this failed."""
        self._line(f"F {what}")
        os._exit(1)

    def fine(self, what: str = "") -> NoReturn:
        """It is over: nothing failed."""
        self._line(f"E {what}")
        os._exit(0)

    def _line(self, text: str) -> None:
        if os.getpid() == self._pid:  # what a test forks may come out where its parent would
            os.write(self._pipe, text.replace("\n", " ").encode("utf-8", "replace")[: _LONGEST_LINE - 1] + b"\n")


def forked(work: Callable[[Teller, Path], None], patience_s: float) -> Ended:
    """Do it in a child.

    Args:
        work: gets a teller, and a directory of its own, which is gone when the child is.
        patience_s: for what it does before it says how long its first step takes.
    """
    own = Path(tempfile.mkdtemp(prefix="interlock-mutant-", dir="/dev/shm"))
    own.chmod(0o1777)
    reads, writes = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _in_child(work, Teller(writes), own)
    os.close(writes)
    try:
        how, said = _listen(reads, patience_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reads)
        shutil.rmtree(own, ignore_errors=True)
    return Ended(how, said, time.monotonic() - begun)


def _in_child(work: Callable[[Teller, Path], None], teller: Teller, own: Path) -> NoReturn:
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ[_MEMORY] = str(own / "memory")
        (own / "memory").mkdir()
        (own / "memory").chmod(0o1777)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        work(teller, own)
        teller.fine()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here
        teller.failed(type(error).__name__)
    finally:
        os._exit(1)


def _listen(pipe: int, patience_s: float) -> tuple[str, str]:
    """What becomes of it."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + patience_s
    heard, doing = b"", ""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            return "hung", doing
        more = os.read(pipe, _LONGEST_LINE)
        if not more:
            return "died", doing
        *lines, heard = (heard + more).split(b"\n")
        for line in lines:
            kind, _, text = line.decode("utf-8", "replace").partition(" ")
            if kind == "E":
                return "fine", text
            if kind == "F":
                return "failed", text
            seconds, _, doing = text.partition(" ")
            deadline = time.monotonic() + float(seconds)
