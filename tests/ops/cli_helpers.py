"""Real processes of the command line, and ticks for them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
from typer.testing import CliRunner

import interlock
from interlock.ops.cli import app, paper_limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

COMMAND: Final = (sys.executable, "-m", "interlock.ops")
KERNEL: Final = str(Path(interlock.__file__).parents[1])
PATIENCE_S: Final = 120
"""No process runs so long unless the test fails."""

PAPER: Final = paper_limits().decode()
PATIENT: Final = (
    PAPER.replace("max_tick_age_ms = 2000 ", 'max_tick_age_ms = "off"')
    .replace("max_clock_ahead_ms = 500 ", 'max_clock_ahead_ms = "off"')
    .replace("heartbeat_overdue_ms = 5000 ", "heartbeat_overdue_ms = 600000 ")
    .replace("max_reference_age_ms = 5000 ", "max_reference_age_ms = 600000 ")
)
"""The paper limits for a run on the wall's time, however slow the machine."""

HEADER: Final = "ts,symbol,bid,ask"
START_US: Final = 1_700_000_000_000_000


@attrs.frozen
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object on one line, and nothing else."""
        assert self.out.endswith("}\n")
        assert self.out.count("\n") == 1
        return dict(json.loads(self.out))


KEPT = {"INTERLOCK_MEMORY", "INTERLOCK_MUTANT"}
"""Where all homes of a run of the tests keep what is in memory, and which mistake the code has."""


def environment(*paths: Path, **more: str) -> dict[str, str]:
    """An environment in which the kernel that is tested, and modules in these paths, can be imported."""
    path = os.pathsep.join((KERNEL, *map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_") or name in KEPT}
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def cli(*arguments: str | Path | bytes, stdin: str = "", env: dict[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=env or environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def quick(*arguments: str | Path) -> Ended:
    """The same in this process: for what a process of its own would add nothing to."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def screen(*arguments: str | Path) -> Ended:
    """Run a command on a terminal, which is what its standard output and standard error are then."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, env=environment(TERM="xterm")) as child:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # it ends with EIO
            while more := terminal.read(4096):
                shown += more
    return Ended(child.returncode, shown.decode(), "")


def rows(count: int, *, first: int = 1, ts_us: int = START_US) -> list[str]:
    """Quotes of SIM, ten a second."""
    return [f"{ts_us + number * 100_000},SIM,100.00,100.02" for number in range(first, first + count)]


def ticks_file(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    """A CSV file."""
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


LOUD: Final = '''
import os
import sys

from interlock.adapters.strategies import EveryNth


class Loud(EveryNth):
    """Says when it is asked; orders on the first tick, the third, and so on."""

    def __init__(self, instruments):
        super().__init__(instruments, n=1, prefix=f"L{os.getpid()}")
        self.asked = 0

    def on_tick(self, tick):
        self.asked += 1
        sys.stderr.write(f"asked {self.asked}\\n")
        sys.stderr.flush()
        if "HOLD" in os.environ:
            os.read(int(os.environ["HOLD"]), 1)
        return super().on_tick(tick) if self.asked % 2 else ()
'''
"""A strategy that lets a test know how far a run is."""


class Live:
    """``interlock run`` on a pipe, on the wall's time, with the strategy `LOUD`.

    Args:
        home: where.
        folder: for the strategy's module.
        *arguments: more of the command's.
        hold: a descriptor from which the strategy reads a byte before it answers.
    """

    def __init__(self, home: Path, folder: Path, *arguments: str, hold: int | None = None) -> None:
        (folder / "loud.py").write_text(LOUD)
        held = {} if hold is None else {"HOLD": str(hold)}
        run = ("run", "--home", str(home), "--ticks", "-", "--speed", "live", "--strategy", "loud:Loud", "--json")
        self.process = subprocess.Popen(
            [*COMMAND, *run, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(folder, **held),
            pass_fds=() if hold is None else (hold,),
        )
        self.write(HEADER)

    def write(self, line: str) -> None:
        """Write a line into its pipe."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def tick(self, count: int = 1) -> None:
        """Write ticks of just now."""
        for _ in range(count):
            self.write(f"{time.time_ns() // 1000},SIM,100.00,100.02")

    def asked(self, number: int) -> None:
        """Wait until its strategy is asked for the so manieth time."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line == f"asked {number}\n", line + self.process.stderr.read()

    def end(self) -> Ended:
        """End its ticks, and wait for its end."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return Ended(self.process.returncode, out, err)

    def __enter__(self) -> Self:
        """Started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Never left behind."""
        process = self.process
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
