"""Files: what the rules are handed is read here."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from zstandard import ZstdDecompressor, ZstdError

from .evidence import File
from .routes import SEPARATOR, entries
from .walk import Damaged, first_of

_CHUNK = 2**20
_PACKED_CHUNK = 2**10
"""So few bytes that what they may stand for, however they were made, is some megabytes at most."""
_SIGNED_MAX = 2**21
"""What is signed is smaller: of a larger file so much is read as shows that it is larger."""


def segments(directory: Path) -> list[Path]:
    """Return the segment files of a journal, in their order; of one that is there twice, the plain one."""
    found: dict[int, Path] = {}
    for path in sorted(directory.iterdir()):  # the plain one comes first
        number = first_of(path.name)
        if number is not None:
            found.setdefault(number, path)
    return [found[number] for number in sorted(found)]


def chunks(path: Path, size: int | None = None) -> Iterator[bytes]:
    """Read the bytes of a segment, compressed or not.

    Args:
        path: the file.
        size: so many bytes of a plain one are read, as it may be growing; None for all.

    Raises:
        OSError: it can't be read.
        Damaged: it is compressed, and broken; or it is no file.
    """
    with _opened(path) as file:
        if not _is_file(file):
            message = "not a regular file"
            raise Damaged(message)
        if path.suffix == ".zst":
            yield from _unpacked(file)
            return
        left = path.stat().st_size if size is None else size
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Read Zstandard frames to the end of the last."""
    pieces: list[bytes] = []
    length = 0
    for piece in _frames(file):
        pieces.append(piece)
        length += len(piece)
        if length >= _CHUNK:
            yield b"".join(pieces)
            pieces, length = [], 0
    yield b"".join(pieces)


def _frames(file: BinaryIO) -> Iterator[bytes]:
    frame = None
    while data := file.read(_PACKED_CHUNK):
        while data:
            frame = frame or ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(data)
            except ZstdError as error:
                message = f"not whole Zstandard frames: {error}"
                raise Damaged(message) from error
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        message = "the last Zstandard frame is cut off"
        raise Damaged(message)


def _opened(path: Path) -> BinaryIO:
    """Open whatever it is without waiting: a pipe would have nobody at its other end."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _is_file(file: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def shown(path: Path | str) -> str:
    """Return a path as text that any output can hold: a name on a disk need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def small(path: Path) -> bytes:
    """Read something signed.

    Raises:
        OSError: it can't be read, or is no file.
    """
    with _opened(path) as file:
        if not _is_file(file):
            message = f"{shown(path)}: not a regular file"
            raise OSError(message)
        return file.read(_SIGNED_MAX)


def opening(path: Path) -> bytes:
    """Return the first line of a segment, without its line feed; as far as there is one."""
    try:
        return next(chunks(path), b"").partition(b"\n")[0]
    except (OSError, Damaged):
        return b""


def kept(path: Path) -> Iterator[File]:
    """Read what a witness kept: one thing, or a file of notes."""
    data = small(path)
    if len(data) == _SIGNED_MAX and data.startswith(SEPARATOR):  # such a file grows with the years
        data = path.read_bytes()
    yield from entries(shown(path), data)


def notes(directory: Path, ending: str = ".note") -> tuple[File, ...]:
    """Read the notes in a directory, in the order of their names; none if there is no directory."""
    return tuple((shown(path), small(path)) for path in sorted(directory.glob(f"[!.]*{ending}")) if path.is_file())


def given(paths: list[Path]) -> tuple[File, ...]:
    """Read files, and all files in directories that have got their names: one that begins with a dot was not finished.

    Raises:
        OSError: one can't be read.
    """
    found = [file for path in paths for file in (sorted(path.rglob("[!.]*")) if path.is_dir() else [path])]
    return tuple(file for path in found if not path.is_dir() for file in kept(path))
