"""The intent of a stop, stored: what it set out to do, so that a restart resumes it and never replays it.

``stops/ENGINE/EPOCH-N.json`` in the home is one stop of one engine: its category, the orders that worked, and each
exit from before its send on. It is replaced whole at every change. Three rules:

1. **Nobody waits for it but an exit.** A thread of its own encodes and writes, and of what was said meanwhile only
   the last: neither a full or hung disk nor thousands of orders hold up a cancel. The report says whether all of it is
   on the disk. An exit is not sent before its ticket is.
2. **A file is believed only if it is whole and ours**: checksum, shape, name, home and engine. One that is damaged is
   set aside as ``.damaged-N`` and reported, once the home is halted over it. One that is whole and another's is
   reported and left: it may be the only account of a stop that is not over. No link is followed from the home on.
3. **What is finished stays finished.** A restart takes up what is open, by asking first; an exit that is named in
   an intent is never sent again, whether or not it was sent before.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs
import orjson

from interlock.breaker.files import write_durably
from interlock.breaker.home import Home
from interlock.breaker.roster import engine_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Found", "Intent", "Record", "Stops"]

_NAME: Final = re.compile(r"([1-9][0-9]{0,15})-([1-9][0-9]{0,8})\.json")
_LARGEST: Final = 1 << 24
_LOOK_S: Final = 0.5

Table = dict[str, dict[str, str]]


@attrs.define(kw_only=True)
class Record:
    """What stands in one intent.

    Attributes:
        home: the home's UUID.
        engine: the engine's name.
        epoch: the armed period that the stop belongs to.
        number: counts the stops of an epoch, from 1.
        category: 0 or 1.
        reason: for people.
        run: UUID of the kernel's run that began it.
        done: it came to its end; nothing of it is ever done again.
        orders: by id, the instrument and where it stands.
        exits: by id, instrument, side, quantity, and how far it came.
    """

    home: str
    engine: str
    epoch: int
    number: int
    category: int
    reason: str
    run: str
    done: bool = False
    orders: Table = attrs.field(factory=dict)
    exits: Table = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The stop's id."""
        return f"{self.epoch}-{self.number}"


_SHAPE: Final[dict[str, type]] = {
    "home": str,
    "engine": str,
    "epoch": int,
    "number": int,
    "category": int,
    "reason": str,
    "run": str,
    "done": bool,
    "orders": dict,
    "exits": dict,
}


def encode(record: Record) -> bytes:
    """A record as the bytes of its file."""
    body = {name: getattr(record, name) for name in _SHAPE}
    digest = sha256(orjson.dumps(body)).hexdigest()
    return orjson.dumps({"v": 1, "sha256": digest, "stop": body}) + b"\n"


def decode(data: bytes) -> Record:
    """The record in a file.

    Raises:
        ValueError: it is torn, damaged, or of another format.
    """
    whole = orjson.loads(data)
    if not isinstance(whole, dict) or list(whole) != ["v", "sha256", "stop"] or whole["v"] != 1:
        message = "not an intent of this format"
        raise ValueError(message)
    body = whole["stop"]
    if sha256(orjson.dumps(body)).hexdigest() != whole["sha256"]:
        message = "its checksum is wrong"
        raise ValueError(message)
    shaped = isinstance(body, dict) and {name: type(value) for name, value in body.items()} == _SHAPE
    if not shaped or body["category"] not in {0, 1} or not all(map(_table, (body["orders"], body["exits"]))):
        message = "it has not the shape of an intent"
        raise ValueError(message)
    return Record(**body)


def _table(table: dict[str, object]) -> bool:
    return all(
        isinstance(row, dict) and all(type(value) is str for value in cast("dict[str, object]", row).values())
        for row in table.values()
    )


@attrs.frozen(kw_only=True)
class Found:
    """What the home has of an engine's stops.

    Attributes:
        records: those that can be believed, oldest first.
        highest: the highest number of each epoch, files that were set aside counted.
        problems: what is not to be believed, and what could not even be looked at.
        damaged: the names of files to be set aside.
        answered: whether the disk answered in time.
    """

    records: tuple[Record, ...] = ()
    highest: dict[int, int] = attrs.field(factory=dict)
    problems: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    answered: bool = True


class _ForeignError(ValueError):
    """A file that is whole, and of another home or engine."""


class Stops:
    """The stored stops of one engine.

    Args:
        home: the home's directory.
        engine: the engine's name, as it is attached.

    Raises:
        ValueError: a name that can't be a file's.
    """

    def __init__(self, home: str | os.PathLike[str], engine: str) -> None:
        self._home = Home(home)
        self.engine = engine_name(engine)
        self.directory: Path = self._home.path / "stops" / self.engine
        self.identity = ""

    def look(self, timeout_s: float = _LOOK_S) -> Found:
        """What is stored. A disk that does not answer in time is one that has nothing: it is said, not waited for."""
        found: list[Found] = []
        looking = threading.Thread(target=lambda: found.append(self._look()), name="stops", daemon=True)
        looking.start()
        looking.join(timeout_s)
        if found:
            return found[0]
        return Found(problems=(f"{self.directory}: did not answer in {timeout_s} s",), answered=False)

    @contextlib.contextmanager
    def opened(self, *, make: bool = False) -> Iterator[int]:
        """The directory of the stops, open: a link on the way from the home would lead to another home's.

        Args:
            make: make what is missing, durably.

        Raises:
            OSError: it is missing, no directory, or a link.
        """
        with contextlib.ExitStack() as closing:
            here = _opened(self._home.path, closing)
            for name in ("stops", self.engine):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=here)
                        os.fsync(here)
                here = _opened(name, closing, here)
            yield here

    def _look(self) -> Found:
        try:
            self.identity = self._home.identity()
            with self.opened() as directory:
                return self._list(directory)
        except FileNotFoundError:
            return Found()
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody knows what is stored
            return Found(problems=(f"{self.directory}: {error}",), answered=False)

    def _list(self, directory: int) -> Found:
        records: list[Record] = []
        problems: list[str] = []
        damaged: list[str] = []
        highest: dict[int, int] = {}
        for name in sorted(os.listdir(directory)):
            match = _NAME.match(name)
            if match is None:
                continue
            epoch, number = int(match[1]), int(match[2])
            highest[epoch] = max(number, highest.get(epoch, 0))
            if match[0] != name:  # set aside before
                continue
            try:
                record = self._read(name, directory)
                if (record.epoch, record.number) != (epoch, number):
                    message = "it is of another stop"
                    raise ValueError(message)  # noqa: TRY301 - as any other that is not to be believed
                records.append(record)
            except (OSError, ValueError, RecursionError) as error:
                problems.append(f"{self.directory / name}: not to be believed ({error})")
                whole = isinstance(error, _ForeignError)  # and what can't be read just now may be so, too
                if not (whole or (isinstance(error, OSError) and error.errno != errno.ELOOP)):
                    damaged.append(name)
        records.sort(key=lambda record: (record.epoch, record.number))
        return Found(records=tuple(records), highest=highest, problems=tuple(problems), damaged=tuple(damaged))

    def _read(self, name: str, directory: int) -> Record:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
                message = "not a file of ours"
                raise ValueError(message)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                record = decode(file.read(_LARGEST))
        finally:
            os.close(descriptor)
        if (record.home, record.engine) != (self.identity, self.engine):
            message = f"move it away: it belongs to engine {record.engine!r:.80} of home {record.home!r:.80}"
            raise _ForeignError(message)
        return record

    def set_aside(self, found: Found) -> list[str]:
        """Set aside what is damaged. Only when the home is halted over it: the next look finds no trace.

        Returns:
            What became of each, for people.
        """
        told = []
        for name in found.damaged:
            try:
                with self.opened() as directory:
                    aside = _free(name, directory)
                    os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
                    os.fsync(directory)
                told.append(f"{self.directory / name}: set aside as {aside}")
            except OSError as stuck:
                told.append(f"{self.directory / name}: it can't be set aside: {stuck.strerror}")
        return told

    def begin(self, found: Found, **about: object) -> Record:
        """A fresh record, under the next number of its epoch."""
        epoch = cast("int", about["epoch"])
        number = found.highest.get(epoch, 0) + 1
        return Record(home=self.identity, engine=self.engine, number=number, **about)  # type: ignore[arg-type]


class Intent:
    """One stop's record, and the thread that writes it down.

    Args:
        record: what is intended. Change it here only.
        stops: where its file is; None to keep it in memory.
    """

    def __init__(self, record: Record, stops: Stops | None) -> None:
        self.record = record
        self.problem = "" if stops is not None else "no home was named, so the intent is in memory only"
        self._stops = stops
        self._turn = threading.Condition()
        self._version = self._written = self._tried = 0
        self._over = False
        if self._stops is not None:
            threading.Thread(target=self._write, name=f"intent {record.name}", daemon=True).start()
        self.turn()

    def order(self, order_id: str, **row: str) -> int:
        """Say where an order stands. Waits for no disk; returns a version for `stored`."""
        with self._turn:
            self.record.orders[order_id] = row
            return self._put()

    def orders(self, rows: Table) -> int:
        """Say of many orders at once where they stand."""
        with self._turn:
            self.record.orders |= rows
            return self._put()

    def exit(self, order_id: str, **row: str) -> int:
        """Say how far an exit came, likewise."""
        with self._turn:
            self.record.exits[order_id] = row
            return self._put()

    def turn(self, *, category: int = 1, done: bool = False) -> int:
        """Turn the category to 0, never back; or say that the stop came to its end."""
        with self._turn:
            self.record.category = min(category, self.record.category)
            self.record.done = self.record.done or done
            return self._put()

    def _put(self) -> int:
        self._version += 1
        self._turn.notify_all()
        return self._version

    def stored(self, version: int, timeout_s: float) -> bool:
        """Wait until this version, or a later one, is on the disk. False: it failed, or took too long."""
        deadline = time.monotonic() + timeout_s
        with self._turn:
            while self._written < version and self._stops is not None:
                left = deadline - time.monotonic()
                if self._tried >= version or left <= 0:
                    return False
                self._turn.wait(left)
            return self._written >= version

    @property
    def durable(self) -> bool:
        """Whether all that was said is on the disk."""
        with self._turn:
            return self._written == self._version

    def close(self) -> None:
        """End the thread, once it has tried to write the last version."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    def _write(self) -> None:
        stops = self._stops
        if stops is None:
            return
        while True:
            with self._turn:
                while self._tried == self._version and not self._over:
                    self._turn.wait()
                if self._tried == self._version:
                    return
                version = self._version
                # Rows are replaced, never changed, so this is all of it; to encode it takes longer, and has no lock.
                record = attrs.evolve(self.record, orders=dict(self.record.orders), exits=dict(self.record.exits))
            problem = _store(stops, record)
            with self._turn:
                self._tried = version
                self.problem = problem
                if not problem:
                    self._written = version
                self._turn.notify_all()


def _store(stops: Stops, record: Record) -> str:
    """Write an intent's file, with its directory. Returns what went wrong."""
    path = stops.directory / f"{record.name}.json"
    try:
        with stops.opened(make=True) as directory:
            write_durably(Path(f"/proc/self/fd/{directory}", path.name), encode(record))  # there, and nowhere else
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def _opened(name: str | Path, closing: contextlib.ExitStack, within: int | None = None) -> int:
    links = 0 if within is None else os.O_NOFOLLOW  # how the home is reached is a matter of its ground
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | links, dir_fd=within)
    closing.callback(os.close, descriptor)
    return descriptor


def _free(name: str, directory: int) -> str:
    """A name to set a file aside under."""
    for number in itertools.count():
        aside = f"{name}.damaged-{number}"
        try:
            os.stat(aside, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            break
    return aside
