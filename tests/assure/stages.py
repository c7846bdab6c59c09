"""What is to be shown, by which tests, and the least that they have to show."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROFILES", "STAGES", "Figure", "Stage", "read"]

STAGES: Final = Path(__file__).with_name("stages.toml")
PROFILES: Final = ("short", "long")


@attrs.frozen(kw_only=True)
class Figure:
    """One number of a stage.

    Attributes:
        name: for people, with its unit.
        counts: the start of the names of the tests that are counted when they pass; empty for a property.
        property: the recorded property whose values are added up; empty for a count.
        least: for each profile, the least that is enough.
    """

    name: str
    counts: str
    property: str
    least: Mapping[str, int]


@attrs.frozen(kw_only=True)
class Stage:
    """Some tests that show one thing.

    Attributes:
        name: one word, by which it is chosen.
        says: what it shows, for people.
        tests: the files and directories of its tests.
        figures: what is read from their results.
    """

    name: str
    says: str
    tests: tuple[str, ...]
    figures: tuple[Figure, ...]

    def has(self, place: str) -> bool:
        """Whether a test file belongs to it."""
        return any(place == one or place.startswith(f"{one}/") for one in self.tests)


def read(path: Path = STAGES) -> tuple[Stage, ...]:
    """Read the stages.

    Args:
        path: a TOML file: an array ``stage`` of tables, each with an array ``figure``.

    Raises:
        ValueError: a key is missing, unknown or of another type; the message names file, stage and key.
    """
    found = tuple(_stage(path, number, table) for number, table in enumerate(_tables(path), 1))
    names = [stage.name for stage in found]
    if not found or len(set(names)) < len(names):
        msg = f"{path}: no stage, or two of one name"
        raise ValueError(msg)
    return found


def _tables(path: Path) -> list[dict[str, Any]]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(document) != {"stage"}:
        msg = f"{path}: has {sorted(document)}, not just stage"
        raise ValueError(msg)
    tables: list[dict[str, Any]] = document["stage"]
    return tables


def _stage(path: Path, number: int, table: dict[str, Any]) -> Stage:
    where = f"{path}: stage {number}"
    if set(table) != {"name", "says", "tests", "figure"} or not table["tests"] or not table["figure"]:
        msg = f"{where}: needs name, says, tests and figure, and has {sorted(table)}"
        raise ValueError(msg)
    figures = tuple(_figure(f"{where} ({table['name']})", one) for one in table["figure"])
    return Stage(name=table["name"], says=table["says"], tests=tuple(table["tests"]), figures=figures)


def _figure(where: str, table: dict[str, Any]) -> Figure:
    kinds = {"counts", "property"} & set(table)
    if len(kinds) != 1 or set(table) - kinds != {"name", *PROFILES}:
        msg = f"{where}: a figure has a name, counts or property, short and long: {sorted(table)}"
        raise ValueError(msg)
    least = {profile: table[profile] for profile in PROFILES}
    if any(type(value) is not int or value < 0 for value in least.values()):
        msg = f"{where}: {table['name']}: a pin is a whole number"
        raise ValueError(msg)
    return Figure(name=table["name"], counts=table.get("counts", ""), property=table.get("property", ""), least=least)
