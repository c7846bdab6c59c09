"""What of a home is signed, for ``interlock status``: each engine's last checkpoint, and who may sign until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.journal.notes import Note, NoteError
from interlock.journal.statements import KeyList
from interlock.store.checkpoints import CheckpointError, Notes

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.breaker.home import Home

__all__ = ["signed"]


def signed(home: Home, now_us: int) -> dict[str, list[dict[str, object]]]:
    """The last checkpoint of each engine, and the keys of the home's newest list that may sign now.

    Nothing is verified here: that takes the root's verifier key, and `interlock verify`. Both are empty for a home
    that is not signed.

    Args:
        home: the home.
        now_us: microseconds UTC, which ages are counted to.
    """
    return {
        "checkpoints": [
            _last(home, engine, now_us) for engine in home.streams() if Notes(home.path, engine).directory.is_dir()
        ],
        "keys": _keys(home.path / "keys", now_us),
    }


def _last(home: Home, engine: str, now_us: int) -> dict[str, object]:
    try:
        newest = Notes(home.path, engine).newest()
        stamp = newest.says.stamp() if newest else None
    except (CheckpointError, NoteError) as error:
        return {"engine": engine, "fault": str(error)}
    if newest is None or stamp is None:
        return {"engine": engine}
    return {
        "engine": engine,
        "size": newest.says.size,
        "why": stamp.why,
        "ts": stamp.ts_us,
        "age_s": (now_us - stamp.ts_us) // 1_000_000,
        "cosigned": len(newest.note.signatures) - 1,
    }


def _keys(directory: Path, now_us: int) -> list[dict[str, object]]:
    lists = sorted(directory.glob("[0-9]*.note"))
    if not lists:
        return []
    try:
        newest = KeyList.parse(Note.decode(lists[-1].read_bytes()).text)
    except (OSError, NoteError) as error:
        return [{"list": lists[-1].name, "fault": str(error)}]
    valid = newest.valid(now_us)
    if not valid:
        return [{"list": newest.serial, "fault": "no key of it is valid now"}]
    return [{"list": newest.serial, "label": key.label, "valid_s": (key.to_us - now_us) // 1_000_000} for key in valid]
