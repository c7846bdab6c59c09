"""What docs/testing.md tells of defects is what the kit tells; and the report from a shell ends as it should."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import hypothesis
import orjson
import pytest
from tests.helpers import KERNEL

from interlock.testing.conformance import Claim
from interlock.testing.conformance.claims import CLAIMS

from .__main__ import NAUTILUS, PAGE, STORIES, block, nautilus, stories
from .known import FOUND, PEERS

if TYPE_CHECKING:
    from pathlib import Path

TEXT = PAGE.read_text(encoding="utf-8")
TOLD_BY = re.search(r"attacked with Hypothesis (\S+):", TEXT)


def test_every_seen_defect_has_its_story() -> None:
    """Each of the seven stands on the page, with the claim that it breaks, and a story from beginning to end."""
    sections = block(TEXT, STORIES).split("### ")[1:]
    assert len(sections) == len(PEERS) == 7
    for section, engine in zip(sections, PEERS, strict=True):
        assert f"`tests/conformance/defects.py::{engine.__name__}` breaks `{FOUND[engine][0]}`:" in section
        assert re.search(r"```text\n1\. The engine starts on a fresh home\.\n(\d+\. .*\n)+=> .*\.\n```", section)


def test_page_asks_what_the_kit_asks() -> None:
    """The table of claims is the kit's, word for word."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|`]+) \|$", TEXT, re.MULTILINE)
    told = {claim: test.says for claim, test in CLAIMS.items() if claim is not Claim.QUIET_AFTER_BOUND}
    assert {claim: says for claim, says in rows if claim in told} == told


def uncounted(report: str) -> str:
    """A report without its counts, some of which depend on how threads ran."""
    return re.sub(r"\d+ (attempts|orders|times)", r"\1", report)


@pytest.mark.long
@pytest.mark.skipif(TOLD_BY is None or TOLD_BY[1] != hypothesis.__version__, reason="told by another Hypothesis")
def test_stories_are_not_stale() -> None:
    """Told anew by the same versions, the stories are those of the page."""
    assert stories() == block(TEXT, STORIES), "stale: python -m tests.conformance --write"
    if importlib.util.find_spec("nautilus_trader") is not None:
        assert uncounted(nautilus()) == uncounted(block(TEXT, NAUTILUS)), "stale: python -m tests.conformance --write"


ENGINE = """
from interlock.testing.conformance import Adapter

class Naive(Adapter):
    def start(self): return {runs}
    def submit(self, wanted):
        if not self.{flag}: self.venue.order(wanted.order_id, side=wanted.side, quantity=wanted.quantity)
    halted = never = False
    def cancel(self, order_id): self.venue.cancel(order_id)
    def tick(self, tick): pass
    def halt(self, reason, timeout_s): self.halted = True
    def crash(self): pass
    def mode(self): return "halted" if self.halted else "running"
"""


@pytest.mark.parametrize(
    ("engine", "target", "code", "said"),
    [
        (("True", "halted"), "naive:Naive", 0, '"verdict": "HELD"'),
        (("True", "never"), "naive:Naive", 1, "reached the venue after the halt had returned."),
        (("False", "halted"), "naive:Naive", 2, "does not run on a fresh home"),
        (("True", "halted"), "naive:Gone", 2, "Gone"),
        (("True", "halted"), "gone:Naive", 2, "gone"),
        (("True", "halted"), "pathlib:Path", 2, "not a subclass"),
    ],
)
def test_report_from_a_shell(tmp_path: Path, engine: tuple[str, str], target: str, code: int, said: str) -> None:
    """It ends with 0 if nothing is broken, 1 if something is, and 2 if there is nothing that could be tested."""
    (tmp_path / "naive.py").write_text(ENGINE.format(runs=engine[0], flag=engine[1]))
    command = [sys.executable, "-m", "interlock.testing.conformance", target, "--claim", "NoEmitAfterHalt"]
    done = subprocess.run(
        [*command, "--attempts", "40", "--steps", "10", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(KERNEL)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    if code < 2:
        assert orjson.loads(done.stdout)["exit_code"] == code
