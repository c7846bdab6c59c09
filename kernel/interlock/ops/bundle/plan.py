"""What is asked of a bundle: a home, a span of time, and what else is to be put in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from interlock.ops.bundle.tree import BundleError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMAT", "Plan", "Span", "moment", "utc"]

FORMAT: Final = "interlock bundle 1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_A_SECOND: Final = 1_000_000
_LAST_US: Final = 1 << 53


@attrs.frozen(kw_only=True)
class Span:
    """A span of time, in microseconds UTC.

    Attributes:
        begin_us: its first microsecond.
        end_us: the first one that is no longer in it.
    """

    begin_us: int = 0
    end_us: int = _LAST_US

    def holds(self, ts_us: int) -> bool:
        """Whether a moment lies in it."""
        return self.begin_us <= ts_us < self.end_us

    def to_json(self) -> dict[str, str | None]:
        """As the bundle says it; None where it is open."""
        return {
            "from": utc(self.begin_us) if self.begin_us else None,
            "to": utc(self.end_us) if self.end_us < _LAST_US else None,
        }

    @classmethod
    def of_json(cls, given: dict[str, Any]) -> Span:
        """Read what `to_json` gave.

        Raises:
            BundleError: it is none of that.
        """
        try:
            begin, end = given["from"], given["to"]
            return cls(
                begin_us=moment(begin) if begin is not None else 0, end_us=moment(end) if end is not None else _LAST_US
            )
        except (TypeError, KeyError) as error:
            message = "the bundle does not say which time it is about"
            raise BundleError(message) from error


@attrs.frozen(kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        home: the home's directory.
        out: where the bundle is to be: a directory, or an archive if it ends in ``.zip``.
        span: which time it is about.
        drills: directories with reports of kill drills.
        anchors: files from outside the home.
        root_key: the verifier key of the root that signs the lists of keys; None if it is not known.
        pdf: whether the report is wanted as PDF, too.
    """

    home: Path
    out: Path
    span: Span
    drills: tuple[Path, ...] = ()
    anchors: tuple[Path, ...] = ()
    root_key: str | None = None
    pdf: bool = False


def moment(text: str, *, end: bool = False) -> int:
    """Microseconds UTC of a day, or of a time in RFC 3339.

    Args:
        text: ``2026-08-07``, ``2026-08-07T12:30:00Z`` or with an offset; without one it is UTC.
        end: whether a day by itself means its end.

    Raises:
        BundleError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        if end and _is_day(text):
            found += timedelta(days=1)
        us = (found - _EPOCH) // _US
    except (ValueError, OverflowError, TypeError) as error:
        message = f"{text!r} is no day and no time, such as 2026-08-07 or 2026-08-07T12:30:00Z"
        raise BundleError(message) from error
    if us < 0:
        message = f"{text!r} lies before 1970"
        raise BundleError(message)
    return us


def _is_day(text: str) -> bool:
    """Whether it names a day and no time in it, in whatever spelling: 20260807 and 2026-W32-5 are that, too."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def utc(us: int) -> str:
    """Microseconds since 1970 in RFC 3339; a plain number where no calendar reaches."""
    second = _second(us // _A_SECOND)
    return f"{us} us" if second is None else f"{second}.{us % _A_SECOND:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str | None:
    """A whole second, without its zone; neighbouring records share it."""
    try:
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"
    except OverflowError:
        return None
