"""A bundle's files, whether it is a directory or an archive: named, listed, read, and written anew.

An archive is a ZIP whose members are stored, not compressed, under fixed dates: the same files give the same bytes
with every version of every library, and one that is damaged can still be read file by file. Nothing is ever unpacked
here, so a member's name can lead nowhere.
"""

from __future__ import annotations

import itertools
import os
import stat
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import zstandard

from interlock.core.errors import InterlockError
from interlock.verify.walk import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Archive", "BundleError", "Folder", "Tree", "beginning", "digest", "lines", "open_tree", "pack"]

_CHUNK_BYTES: Final = 1 << 20
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_MODE: Final = stat.S_IFREG | 0o600
_COMPRESSED: Final = ".zst"
_MOST_BYTES: Final = 1 << 28
_PACKED_BYTES: Final = 1 << 12  # what so few may stand for, however they were made, fits into memory


class BundleError(InterlockError):
    """A bundle can't be made, or what is there is none."""


class Tree(Protocol):
    """Files by name; names have slashes, and no beginning one."""

    def names(self) -> list[str]:
        """All of them, sorted."""

    def size(self, name: str) -> int:
        """Bytes of one."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one, a mebibyte at a time."""

    def read(self, name: str) -> bytes:
        """The bytes of one.

        Raises:
            OSError: it can't be read, or is larger than any such file of ours.
        """


def _whole(tree: Tree, name: str) -> bytes:
    data = beginning(tree, name, _MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        message = f"{name}: more than {_MOST_BYTES} bytes"
        raise OSError(message)
    return data


def beginning(tree: Tree, name: str, most: int) -> bytes:
    """So many bytes of a file at the most: what is to be small may be made large, and in an archive out of little.

    Raises:
        OSError: it can't be read.
    """
    data = bytearray()
    for chunk in tree.chunks(name):
        data += chunk[: most - len(data)]
        if len(data) >= most:
            break
    return bytes(data)


class Folder:
    """A directory.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All files, and whatever else is no directory."""
        found = []
        for place, folders, files in os.walk(self.path):
            here = Path(place).relative_to(self.path)
            links = [name for name in folders if (Path(place) / name).is_symlink()]
            found += [(here / name).as_posix() for name in (*files, *links)]
        return sorted(found)

    def size(self, name: str) -> int:
        """Bytes of one.

        Raises:
            OSError: it is no file.
        """
        return os.stat(self._file(name), follow_symlinks=False).st_size  # noqa: PTH116 - of the link itself

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one.

        Raises:
            OSError: it can't be read, or is no file.
        """
        with self._file(name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def read(self, name: str) -> bytes:
        """The bytes of one."""
        return _whole(self, name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file that was not there."""
        with self.made(name).open("xb") as file:
            file.write(data)

    def made(self, name: str) -> Path:
        """The path of a file that is about to be written; its directory is there."""
        path = self.path / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not stat.S_ISREG(path.lstat().st_mode):
            message = f"{name}: no regular file"
            raise OSError(message)
        return path


class Archive:
    """A ZIP archive.

    Args:
        path: of it.

    Raises:
        BundleError: it is none, or two of its members have one name.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            message = f"{path}: no bundle: {error}"
            raise BundleError(message) from error
        names = self.names()
        twice = [name for name, after in itertools.pairwise(names) if name == after]
        if twice:
            message = f"{path}: no bundle: {twice[0]!r} is in it twice"
            raise BundleError(message)

    def names(self) -> list[str]:
        """All members, but no directories."""
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def size(self, name: str) -> int:
        """Bytes of one."""
        return self._zip.getinfo(name).file_size

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one.

        Raises:
            OSError: the archive is damaged there.
        """
        try:
            with self._zip.open(name) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            message = f"{name}: the archive is damaged here: {error}"
            raise OSError(message) from error

    def read(self, name: str) -> bytes:
        """The bytes of one."""
        return _whole(self, name)


def digest(tree: Tree, name: str) -> dict[str, Any]:
    """Hash and size of a file."""
    total, size = sha256(), 0
    for chunk in tree.chunks(name):
        total.update(chunk)
        size += len(chunk)
    return {"sha256": total.hexdigest(), "size": size}


def open_tree(path: Path) -> Tree:
    """What is at a path: a directory or an archive.

    Raises:
        BundleError: neither.
    """
    return Folder(path) if path.is_dir() else Archive(path)


def pack(folder: Folder, path: Path, progress: Callable[[int], None]) -> None:
    """Put all files of a directory into a new archive.

    Args:
        folder: the directory.
        path: of the archive, which must not be there.
        progress: called with the number of bytes since it was last called.
    """
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in folder.names():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = _UNIX
            info.external_attr = _MODE << 16
            info.file_size = folder.size(name)
            with archive.open(info, "w") as member:
                for chunk in folder.chunks(name):
                    member.write(chunk)
                    progress(len(chunk))


def plain(tree: Tree, name: str) -> Iterator[bytes]:
    """The bytes of a segment, which may be compressed.

    Raises:
        OSError: it can't be read.
        Damaged: it is compressed, and broken.
    """
    if not name.endswith(_COMPRESSED):
        yield from tree.chunks(name)
        return
    frame: zstandard.ZstdDecompressionObj | None = None
    for chunk in tree.chunks(name):
        for start in range(0, len(chunk), _PACKED_BYTES):
            data = chunk[start : start + _PACKED_BYTES]
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                try:
                    yield frame.decompress(data)
                except zstandard.ZstdError as error:
                    message = f"not whole Zstandard frames: {error}"
                    raise Damaged(message) from error
                data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        message = "the last Zstandard frame is cut off"
        raise Damaged(message)


def lines(tree: Tree, name: str, longest: int) -> Iterator[bytes]:
    """The whole lines of a segment without their line feed; reading ends at one that is longer than it may be."""
    rest = b""
    for chunk in plain(tree, name):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > longest:
            return
