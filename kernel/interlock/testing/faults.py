"""Faults for tests: what is to go wrong, where, and when; all of it undone when the test is over.

A fault strikes at a *point*: a name from `POINTS`, or ``module:Class.method`` of any function that is looked up where
it is called. What ends a process (`FaultPlan.kill`) strikes in a child only, which `FaultPlan.in_child` makes: a copy
of the test at that moment, in which it can go on with what it has in hand.

The disk is full as a real one is: what is written over stays possible, what would make a file longer does not. That is
seen by what writes through ``os``; a file that was opened with `open` is not.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import select
import shutil
import signal
import sys
import traceback
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import attrs

from interlock.core.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["POINTS", "Ended", "FaultPlan"]

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "record": "interlock.journal.writer:Journal.write",
        "sync": "interlock.journal.writer:Journal.sync",
        "send": "interlock.core.values:Permit.redeem",
        "durable": "interlock.breaker.sentinel:Sentinel.make_durable",
        "byte": "interlock.breaker.kill:Kill.set_byte",
        "latch": "interlock.breaker.kill:Kill.write_latch",
        "quiet": "interlock.breaker.kill:Kill.wait_quiet",
        "ack": "interlock.breaker.kill:Kill.look_again",
    }
)
"""Where the kernel does what matters: a record is journaled, the journal is synced, a permit is redeemed inside a send.
Of a halt of its own: the record is written (``durable``), when the byte is set already. Of a halt from outside: the
byte is set, the record is written, it waits for quiet, it looks once more before it confirms."""

_PATIENCE_S: Final = 60.0
_FAILED: Final = 70

When = Literal["before", "after"]
How = Literal["gone", "empty", "garbage"]


@attrs.frozen(kw_only=True)
class Ended:
    """How a child ended.

    Attributes:
        killed: it got SIGKILL, from a fault or by itself.
        status: its exit status, 0 if it came to its end, negative the signal that ended it.
        told: what it told, line by line, whatever became of it.
    """

    killed: bool
    status: int
    told: tuple[str, ...]


class FaultPlan:
    """What is to go wrong in one test. Use it as a context manager, or as the fixture ``fault_plan``."""

    def __init__(self) -> None:
        self._undo = ExitStack()
        self._kills: list[tuple[str, int, When]] = []

    def __enter__(self) -> Self:
        """Nothing goes wrong yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing goes wrong any more.

        Raises:
            MisuseError: a kill was planned, and there was no child whom it could strike.
        """
        self._undo.close()
        if self._kills and kind is None:
            message = f"a kill was planned at {self._kills[0][0]}, and no child was made by in_child to suffer it"
            raise MisuseError(message)

    # -- What raises -------------------------------------------------------------------------------------

    def raising(self, error: BaseException | None = None, *, nth: int = 1) -> Callable[..., bool]:
        """Make a callback that raises at its nth call, and says True at all others: a check, a handler, a send.

        Args:
            error: what it raises.
            nth: at which call, counted from one; 0: at each.
        """
        wrong = error or RuntimeError("the callback is broken, as planned")
        calls = 0

        def callback(*_: object, **__: object) -> bool:
            nonlocal calls
            calls += 1
            if nth in {0, calls}:
                raise wrong
            return True

        return callback

    def fail(self, point: str, error: BaseException | None = None, *, nth: int = 1) -> None:
        """Have a function of the engine raise at its nth call from now on, instead of doing what it does.

        Args:
            point: a name from `POINTS`, or ``module:Class.method``.
            error: what it raises; an `OSError` (EIO), if it is left out.
            nth: at which call, counted from one; 0: at each.

        Raises:
            MisuseError: there is no such function.
        """
        wrong = error or OSError(errno.EIO, "the device is broken, as planned")

        def strike() -> None:
            raise wrong

        self._strike(point, strike, nth, "before")

    def kill(self, point: str, *, nth: int = 1, when: When = "before") -> None:
        """Have the next child get SIGKILL at a point; see `in_child`. This process is never struck.

        Args:
            point: as for `fail`.
            nth: at which call, counted from one.
            when: right before it, or right after it.

        Raises:
            MisuseError: there is no such function.
        """
        _find(point)
        self._kills.append((point, nth, when))

    def _strike(self, point: str, strike: Callable[[], None], nth: int, when: When) -> None:
        owner, name = _find(point)
        real = getattr(owner, name)
        calls = 0

        @functools.wraps(real)
        def struck(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - what the real one takes and gives
            nonlocal calls
            calls += 1
            due = nth in {0, calls}
            if due and when == "before":
                strike()
            given = real(*args, **kwargs)
            if due and when == "after":
                strike()
            return given

        self._set(owner, name, struck)

    def _set(self, owner: object, name: str, value: object) -> None:
        self._undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    # -- Files -----------------------------------------------------------------------------------------------

    def lose(self, path: Path, how: How = "gone") -> None:
        """A file, or a directory, is lost: now.

        Args:
            path: which.
            how: a directory can only be gone.
        """
        if path.is_dir():
            shutil.rmtree(path)
        elif how == "gone":
            path.unlink()
        else:
            path.write_bytes(b"" if how == "empty" else b"\xffgarbage\n")

    def full_disk(self, directory: Path) -> None:
        """From now on no file at or below a directory can become longer: ENOSPC."""
        below = str(directory.resolve())

        def refuses(descriptor: int, end: int) -> None:
            name = _name(descriptor)
            if (name == below or name.startswith(below + os.sep)) and end > os.fstat(descriptor).st_size:
                raise OSError(errno.ENOSPC, "No space left on device, as planned", name)

        write, pwrite, allocate = os.write, os.pwrite, os.posix_fallocate

        def full_write(descriptor: int, data: Any, /) -> int:  # noqa: ANN401 - any buffer
            if _name(descriptor).startswith("/"):
                refuses(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR) + len(data))
            return write(descriptor, data)

        def full_pwrite(descriptor: int, data: Any, at: int, /) -> int:  # noqa: ANN401 - any buffer
            refuses(descriptor, at + len(data))
            return pwrite(descriptor, data, at)

        def full_allocate(descriptor: int, at: int, length: int, /) -> None:
            refuses(descriptor, at + length)
            allocate(descriptor, at, length)

        self._set(os, "write", full_write)
        self._set(os, "pwrite", full_pwrite)
        self._set(os, "posix_fallocate", full_allocate)

    # -- Processes -------------------------------------------------------------------------------------------

    def in_child(self, act: Callable[[Callable[[str], None]], object]) -> Ended:
        """Do something in a process of its own, which the plan's faults may kill.

        The child is a copy of this process, in which only the calling thread goes on. Kernels of this process are no
        kernels there: attach in the child.

        Args:
            act: is given a function that tells this process a line, which is here once that returns.

        Returns:
            How it ended. An exception in the child is printed there, and is its status.

        Raises:
            TimeoutError: it did not end for a minute; it has been killed.
        """
        ours, theirs = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that other threads do not come along is said above
            child = os.fork()
        if child == 0:
            os.close(ours)
            self._play(act, theirs)
        self._kills.clear()
        os.close(theirs)
        try:
            told, in_time = _read(ours)
        finally:
            os.close(ours)
        if not in_time:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if not in_time:
            message = f"the child did not end for {_PATIENCE_S:g} s; it told {told}"
            raise TimeoutError(message)
        return Ended(killed=code == -signal.SIGKILL, status=code, told=tuple(told))

    def _play(self, act: Callable[[Callable[[str], None]], object], end: int) -> None:
        """The child's whole life: nothing of the test that made it may run on in it."""
        status = _FAILED
        try:
            for point, nth, when in self._kills:
                self._strike(point, _die, nth, when)
            act(lambda line: _tell(end, line))
            status = 0
        except BaseException:  # noqa: BLE001 - it is this process's end, whatever it is
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def _name(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _find(point: str) -> tuple[object, str]:
    module, _, path = POINTS.get(point, point).partition(":")
    *owners, name = path.split(".")
    try:
        owner: object = importlib.import_module(module)
        for one in owners:
            owner = getattr(owner, one)
        getattr(owner, name)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"{point}: no such point; {', '.join(POINTS)}, or module:Class.method ({error})"
        raise MisuseError(message) from error
    return owner, name


def _tell(end: int, line: str) -> None:
    os.write(end, line.encode() + b"\n")


def _read(end: int) -> tuple[list[str], bool]:
    """What a child tells until it ends, and whether that was in time."""
    said = b""
    while select.select([end], [], [], _PATIENCE_S)[0]:
        more = os.read(end, 65536)
        if not more:
            return said.decode().splitlines(), True
        said += more
    return said.decode().splitlines(), False
