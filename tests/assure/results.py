"""What tests said of themselves: pytest's JUnit XML, and the judgement of a stage from it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import attrs
from tests.helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.assure.stages import Stage

__all__ = ["Judged", "Result", "judge", "read"]

PASSED: Final = "passed"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"


@attrs.frozen(kw_only=True)
class Result:
    """One test.

    Attributes:
        place: its file, from the project's root.
        name: with its parameters.
        outcome: PASSED, FAILED or SKIPPED.
        took_ms: how long, in milliseconds.
        properties: what it recorded, name and value.
    """

    place: str
    name: str
    outcome: str
    took_ms: int
    properties: tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class Judged:
    """A stage, and what was found.

    Attributes:
        stage: which.
        counts: how many tests passed, failed and were skipped.
        took_ms: the time of its tests, added up.
        figures: for each figure its name, its value and the least that is enough.
        seeds: what the tests recorded as ``seed``.
        against: what makes it red; empty if it holds.
    """

    stage: Stage
    counts: dict[str, int]
    took_ms: int
    figures: tuple[tuple[str, int, int], ...]
    seeds: tuple[str, ...]
    against: tuple[str, ...]


def read(path: Path) -> list[Result]:
    """Read the results of one run of pytest.

    Raises:
        ValueError: it is no such file, is cut off, or names a test that isn't there.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - what our own pytest wrote just now
    except (ET.ParseError, OSError) as error:
        msg = f"{path}: no results of a whole run: {error}"
        raise ValueError(msg) from error
    return [_result(path, case) for case in root.iter("testcase")]


def _result(path: Path, case: ET.Element) -> Result:
    name, dotted = case.get("name", ""), case.get("classname", "")
    kinds = {child.tag for child in case}
    outcome = FAILED if kinds & {"failure", "error"} else SKIPPED if "skipped" in kinds else PASSED
    return Result(
        place=_place(dotted or name, path),
        name=name,
        outcome=outcome,
        took_ms=int(Decimal(case.get("time", "0")) * 1000),
        properties=tuple((one.get("name", ""), one.get("value", "")) for one in case.iter("property")),
    )


def _place(dotted: str, path: Path) -> str:
    """The file of a test: what stands before the class, if it is in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = "/".join(parts[:end]) + ".py"
        if (ROOT / place).is_file():
            return place
    msg = f"{path}: there is no test file for {dotted!r}"
    raise ValueError(msg)


def judge(stage: Stage, results: Iterable[Result], profile: str) -> Judged:
    """What the results say of a stage.

    Args:
        stage: the stage.
        results: of a run; those of other stages are left out.
        profile: whose pins are to be reached.
    """
    mine = [one for one in results if stage.has(one.place)]
    counts = {outcome: sum(one.outcome == outcome for one in mine) for outcome in (PASSED, FAILED, SKIPPED)}
    passed = [one for one in mine if one.outcome == PASSED]
    figures = tuple(
        (
            figure.name,
            sum(one.name.startswith(figure.counts) for one in passed)
            if figure.counts
            else sum(int(value) for one in passed for name, value in one.properties if name == figure.property),
            figure.least[profile],
        )
        for figure in stage.figures
    )
    against = [f"{one.place}::{one.name} failed" for one in mine if one.outcome == FAILED]
    against += ["no test of it has passed"] if not passed else []
    against += [f"{name}: {value:,}, pinned {least:,}" for name, value, least in figures if value < least]
    return Judged(
        stage=stage,
        counts=counts,
        took_ms=sum(one.took_ms for one in mine),
        figures=figures,
        seeds=tuple(sorted({value for one in mine for name, value in one.properties if name == "seed"})),
        against=tuple(against),
    )
