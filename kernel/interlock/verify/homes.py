"""What stands where: journals, checkpoints and keys of a home, of a bundle, or of a bare directory.

Checkpoints or anchors of an engine that has no journal are held against an empty one: a journal that is gone altogether
must not go unnoticed for want of a file to complain about.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from . import files
from .crew import verify_files
from .evidence import Inputs
from .notes import read_key
from .report import Report, Status
from .routes import STRAY, leave_aside, origin_of, routed
from .stamps import read_certificate

__all__ = [
    "STRAY",
    "Given",
    "Place",
    "gather",
    "gravest",
    "locate",
    "read_word",
    "size_of",
    "to_json",
    "to_text",
    "verify_place",
]

_NAME_DIGITS = 20


@attrs.frozen(kw_only=True)
class Given:
    """What the auditor hands in.

    Attributes:
        root_key: the root's verifier key.
        keys: files or directories with lists of keys, beside the home's own.
        checkpoints: the directory of checkpoints, in place of the home's own.
        anchors: files or directories.
        witnesses: verifier keys.
        authorities: files with certificates of time-stamp authorities.
        jobs: how many processes share in it; None for one a core.
    """

    root_key: str | None = None
    keys: tuple[Path, ...] = ()
    checkpoints: Path | None = None
    anchors: tuple[Path, ...] = ()
    witnesses: tuple[str, ...] = ()
    authorities: tuple[Path, ...] = ()
    jobs: int | None = None


@attrs.frozen(kw_only=True)
class Place:
    """Where the parts are.

    Attributes:
        journals: by engine the directory of its segments; under the empty name a journal by itself.
        checkpoints: by engine the directory of its notes, also for one without a journal; None if there is none.
        stamps: the directory that has a directory of time-stamp tokens for each engine; None if there is none.
        keys: the directory of the lists of keys; None if there is none.
    """

    journals: Mapping[str, Path]
    checkpoints: Mapping[str, Path | None]
    stamps: Path | None
    keys: Path | None


def locate(directory: Path, checkpoints: Path | None = None) -> Place:
    """Find the parts of a home, of a directory of journals, or of one journal.

    Raises:
        OSError: there is none.
    """
    home = directory / "journal"
    root = home if home.is_dir() else directory
    streams = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    journals = {"": root} if files.segments(root) or not streams else streams
    # A home always tells: where it has no such directory, it has no checkpoints, and that is what is looked at.
    own = directory / "checkpoints" if home.is_dir() and checkpoints is None else None
    keys = directory / "keys"
    return Place(
        journals=journals,
        checkpoints={name: own / name if own else _notes_of(checkpoints, name) for name in (*journals, *_told(own))},
        stamps=directory / "anchors" if home.is_dir() else None,
        keys=keys if home.is_dir() and keys.is_dir() else None,
    )


def _told(own: Path | None) -> list[str]:
    """Return the engines of which a home has checkpoints."""
    places = own.iterdir() if own is not None and own.is_dir() else ()
    return sorted(path.name for path in places if any(path.glob("*.note")))


def _notes_of(directory: Path | None, engine: str) -> Path | None:
    """Return where an engine's notes are; a directory of others' means that it has none."""
    if directory is None or not directory.is_dir():
        return None
    bare = not engine or (not (directory / engine).is_dir() and any(directory.glob("*.note")))
    return directory if bare else directory / engine


def read_word(text: str) -> str:
    """Return a verifier key that is given itself, or as the file that holds it.

    Raises:
        ValueError: it is none.
        OSError: the file can't be read.
    """
    word = Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text
    read_key(word)
    return word.strip()


def gather(place: Place, given: Given) -> dict[str, Inputs]:
    """Read what is handed in beside each journal.

    Raises:
        OSError: a file can't be read.
        ValueError: a key or certificate that the auditor gave is none.
    """
    lists = (*(files.notes(place.keys) if place.keys else ()), *files.given([*given.keys]))
    common = Inputs(
        root_key=None if given.root_key is None else read_word(given.root_key),
        lists=lists,
        witnesses=tuple(map(read_word, given.witnesses)),
        authorities=tuple(files.small(path) for path in given.authorities),
    )
    for data in common.authorities:
        read_certificate(data)
    notes = {name: files.notes(path) if path else None for name, path in place.checkpoints.items()}
    kept, aside = leave_aside(files.given([*given.anchors]), _origins(place))
    anchors = routed(kept, notes)
    return {
        name: attrs.evolve(
            common,
            aside=aside,
            notes=notes.get(name),
            anchors=tuple(anchors.get(name, ())),
            stamps=files.notes(place.stamps / name, ".tst") if place.stamps else (),
            later=_later(place.checkpoints.get(name)),
        )
        for name in dict.fromkeys((*place.journals, *notes, *anchors))
    }


def _later(directory: Path | None) -> Callable[[int], bytes | None]:
    def read(size: int) -> bytes | None:
        path = directory and directory / f"{size:0{_NAME_DIGITS}}.note"
        return files.small(path) if path and path.is_file() else None

    return read


def _origins(place: Place) -> set[str]:
    """Return whose journals these are; see `leave_aside`."""
    firsts = {name: next(iter(files.segments(directory)), None) for name, directory in place.journals.items()}
    found = (origin_of(files.opening(path), one=not name) for name, path in firsts.items() if path)
    return {*filter(None, found)}


def verify_place(
    place: Place, given: Given, progress: Callable[[int], None] | None = None
) -> Iterator[tuple[str, Report]]:
    """Verify all journals of a place; yields the name of each engine and its report.

    Raises:
        OSError: a file can't be read.
        ValueError: a key or certificate that the auditor gave is none.
    """
    before = 0
    for name, inputs in gather(place, given).items():
        directory = place.journals.get(name)
        paths = files.segments(directory) if directory else []
        report = verify_files(paths, inputs, jobs=given.jobs, progress=_from(before, progress))
        before += sum(path.stat().st_size for path in paths)
        yield name, report


def _from(before: int, progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    return progress and (lambda done: progress(before + done))


def size_of(place: Place) -> int:
    """Return how many bytes of segments there are to read."""
    return sum(path.stat().st_size for journal in place.journals.values() for path in files.segments(journal))


def gravest(reports: Mapping[str, Report]) -> Report:
    """Return the report that counts for all."""
    return max(reports.values(), key=lambda report: (report.exit_code, [*Status].index(report.status)))


def to_json(reports: Mapping[str, Report]) -> dict[str, object]:
    """Return all reports as plain values; a journal by itself is its own report."""
    if [*reports] == [""]:
        return reports[""].to_json()
    worst = gravest(reports)
    return {
        "verdict": worst.verdict,
        "exit_code": worst.exit_code,
        "engines": {files.shown(name): report.to_json() for name, report in reports.items()},
    }


def to_text(reports: Mapping[str, Report]) -> Iterator[str]:
    """Yield the lines that people read."""
    if len(reports) > 1:
        yield f"{gravest(reports).verdict}: the gravest of {len(reports)} engines"
    for name, report in reports.items():
        yield from report.to_text(name)
