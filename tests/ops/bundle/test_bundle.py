"""Bundles of a real session: what is in them, what they say, counted anew, and that every change is found."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import arm, halt_home, order, reset_home, running
from tests.ops.bundle import oracle
from tests.ops.bundle.pages import Page
from tests.ops.bundle.session import CALM, NASTY, session
from tests.ops.bundle.test_proofs import root
from tests.ops.cli_helpers import cli, environment, quick

from interlock.ops.bundle.plan import moment, utc
from interlock.ops.bundle.proofs import root_of_path
from interlock.ops.bundle.sheets import cell as written
from interlock.ops.bundle.story import Story
from interlock.ops.bundle.tree import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a session behind it, and texts that mean harm."""
    return session(tmp_path_factory.mktemp("session") / "home", nasty=NASTY).path


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real drill's report."""
    place = tmp_path_factory.mktemp("drills")
    assert cli("drill", "--engines", "2", "--seconds", "0.2", "--report", place).code == 0
    return place


@pytest.fixture(scope="module")
def made(home: Path, drills: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it."""
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    ended = quick("bundle", out, "--home", home, "--drills", drills)
    assert ended.code == 0, ended.err
    return out


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def checked(bundle: Path, *more: str) -> tuple[int, Json]:
    """What `interlock bundle --check` says."""
    ended = quick("bundle", "--check", bundle, "--json", *more)
    return ended.code, ended.json


def claims(bundle: Path) -> Json:
    """The claims of a bundle."""
    found: Json = json.loads((bundle / "claims.json").read_bytes())
    return found


def table(path: Path) -> list[list[str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def rewrite(bundle: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file, and the manifest with it, as somebody would who knows how bundles are made."""
    path = bundle / name
    data = change(path.read_bytes())
    path.write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": sha256(data).hexdigest(), "size": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


# ---------------------------------------------------------------------------
# What is in it


def test_evidence_is_copied_as_it_is(home: Path, made: Path, drills: Path) -> None:
    """Segments, torn bytes, limits, approvals, latch and drills are in the bundle, byte for byte."""
    for place in ("journal", "limits"):
        for path in (home / place).rglob("*"):
            if path.is_file():
                assert (made / path.relative_to(home)).read_bytes() == path.read_bytes().rstrip(b"\0"), path
    assert list((made / "journal" / "second").glob("*.torn-0"))
    assert (made / "latch.json").read_bytes() == (home / "latch.json").read_bytes()
    assert (made / "limits.toml").read_bytes() == (home / "limits.toml").read_bytes()
    for path in drills.iterdir():
        assert (made / "drills" / path.name).read_bytes() == path.read_bytes()


def test_manifest_names_every_file(made: Path) -> None:
    """The manifest has hash and size of every other file, what was asked for, and what is missing."""
    manifest = json.loads((made / "manifest.json").read_bytes())
    there = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
    assert manifest["files"].keys() == there.keys() - {"manifest.json"}
    for name, told in manifest["files"].items():
        data = there[name].read_bytes()
        assert told == {"sha256": sha256(data).hexdigest(), "size": len(data)}
    assert manifest["asked"] == {"from": None, "to": None}
    assert {"keys", "checkpoints", "anchors", "root key"} <= {one["what"] for one in manifest["missing"]}
    assert "drills" not in {one["what"] for one in manifest["missing"]}


def test_same_input_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    """Two bundles of one home are the same, as directories and as archives."""
    for name in ("one", "two", "one.zip", "two.zip"):
        assert quick("bundle", tmp_path / name, "--home", home).code == 0
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*"))
    assert names == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*"))
    for name in names:
        if (tmp_path / "one" / name).is_file():
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.zip", "two", "two.zip"]
    assert checked(tmp_path / "one.zip")[1]["whole"] is True


def test_bundle_leaves_the_home_as_it_is(home: Path, tmp_path: Path) -> None:
    """To make a bundle changes nothing in the home."""
    before = {path: path.stat() for path in home.rglob("*")}
    assert quick("bundle", tmp_path / "bundle", "--home", home).code == 0
    after = {path: path.stat() for path in home.rglob("*")}
    assert {path: (one.st_size, one.st_mtime_ns) for path, one in before.items()} == {
        path: (one.st_size, one.st_mtime_ns) for path, one in after.items()
    }


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    """Where something is already, in a home, or without a home, there is no bundle, and nothing is left behind."""
    (tmp_path / "there").write_text("mine")
    (tmp_path / "empty").mkdir()
    assert quick("bundle", tmp_path / "empty", "--home", home).code == 2
    (tmp_path / "empty").rmdir()
    assert quick("bundle", tmp_path / "there", "--home", home).code == 2
    assert (tmp_path / "there").read_text() == "mine"
    assert quick("bundle", home / "bundle", "--home", home).code == 2
    assert quick("bundle", tmp_path / "out", "--home", tmp_path / "nowhere").code == 2
    assert quick("bundle", tmp_path / "out", "--home", home, "--drills", tmp_path / "nowhere").code == 2
    assert quick("bundle", tmp_path / "out", "--home", home, "--from", "yesterday").code == 2
    assert quick("bundle", tmp_path / "out", "--home", home, "--from", "2026-02-02", "--to", "2026-02-01").code == 2
    assert quick("bundle", tmp_path / "out").code == 2
    assert quick("bundle", "--check", tmp_path / "there").code == 2
    assert quick("bundle", "--check", tmp_path / "nowhere").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_archive_on_a_disk_without_links(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that knows no hard links, as a memory stick's, an archive is made all the same, over nothing."""

    def link(_: Path, out: Path) -> None:
        """Refuse as such a file system does, the second time after somebody else was faster."""
        if out.name == "late.zip":
            out.write_bytes(b"theirs")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    assert quick("bundle", tmp_path / "bundle.zip", "--home", home).code == 0
    assert checked(tmp_path / "bundle.zip")[1]["whole"] is True
    assert quick("bundle", tmp_path / "late.zip", "--home", home).code == 2
    assert (tmp_path / "late.zip").read_bytes() == b"theirs"


def test_engine_that_runs_is_no_hindrance(tmp_path: Path) -> None:
    """A bundle is made while an engine trades; it says that one is attached, and the records so far verify."""
    home = arm(tmp_path / "home", CALM)
    with running(home.path) as kernel:
        kernel.submit(order("a"), str)
        assert quick("bundle", tmp_path / "bundle", "--home", home.path).code == 0
        kernel.submit(order("b"), str)
    request = json.loads((tmp_path / "bundle" / "request.json").read_bytes())
    assert request["engines"]["engine"]["attached"] is True
    code, said = checked(tmp_path / "bundle")
    assert said["whole"] is True
    assert code in {0, 5}


# ---------------------------------------------------------------------------
# What it says


def test_every_number_is_in_the_records(made: Path) -> None:
    """Each number of each claim, counted anew from the lines by other code, is the one that is claimed."""
    found = {
        f"{claim['name']}.{name}": value for claim in claims(made)["claims"] for name, value in claim["numbers"].items()
    }
    wanted = oracle.counted(made)
    assert {name: found[name] for name in wanted} == wanted
    assert wanted["halts.epochs"] == 1
    assert wanted["cancels.cancels"] > 0
    assert wanted["recoveries.crashes"] == 1
    assert wanted["drills.passed"] == 1
    told_otherwise = {"late.flying", "late.ended", "sealed.sealed", "sealed.findings", "clock.drift", "clock.backward"}
    left = {name for name in found if not name.endswith((".set", ".total")) and not name.startswith("signed.")}
    assert left - wanted.keys() <= told_otherwise


def test_story_is_told_in_its_order(made: Path) -> None:
    """What was salvaged after a crash is told before the run that salvaged it, under the number where it stands."""
    for engine, lines in oracle.lines_of(made).items():
        story = Story(Folder(made), engine)
        told = [(entry.seq, entry.record["kind"], entry.record["ts"]) for entry in story]
        assert told == [(seq, record["kind"], record["ts"]) for seq, record in oracle.told(lines)]
        assert (story.ended, story.records) == ("", len(lines))
    assert any(entry.salvaged for entry in Story(Folder(made), "second"))


def test_page_shows_these_numbers(made: Path) -> None:
    """Every number on the page that says what it counts is the one that is counted."""
    page = Page.of(made / "report.html")
    wanted = oracle.counted(made)
    for name, values in page.facts.items():
        if name in wanted:
            assert values == {wanted[name]}, name
    assert page.facts.keys() >= {name for name in wanted if not name.startswith("drills")}
    assert page.facts["permits"] == {wanted["permits.permits"]}
    assert page.facts["refusals"] == {wanted["refusals.refusals"]}
    assert page.facts["halted"] == {wanted["halts.epochs"]}
    assert page.facts["late"] == {0}
    by_code = {name: values for name, values in page.facts.items() if name.startswith("refused.")}
    assert sum(max(values) for values in by_code.values()) == wanted["refusals.refusals"]
    assert page.facts["records"] == {sum(map(len, oracle.lines_of(made).values()))}


def test_span_counts_only_what_is_in_it(home: Path, tmp_path: Path) -> None:
    """With a span only records in it count, by their own time, and the bundle says how many it has beside them."""
    stamps = sorted(json.loads(line)["ts"] for lines in oracle.lines_of(home).values() for line in lines)
    begin, end = stamps[len(stamps) // 3], stamps[2 * len(stamps) // 3]
    given = ("--from", utc(begin), "--to", utc(end))
    assert quick("bundle", tmp_path / "part", "--home", home, *given).code == 0
    found = {
        f"{claim['name']}.{name}": value
        for claim in claims(tmp_path / "part")["claims"]
        for name, value in claim["numbers"].items()
    }
    wanted = oracle.counted(tmp_path / "part", begin, end)
    skipped = {"late.late", "cancels.cancels", "cancels.failed", "people.people"}  # these are of whole episodes
    assert {name: found[name] for name in wanted if name not in skipped} == {
        name: value for name, value in wanted.items() if name not in skipped
    }
    page = Page.of(tmp_path / "part" / "report.html")
    flat = [one for lines in oracle.lines_of(home).values() for _, one in oracle.told(lines)]
    assert page.facts["outside"] == {len([one for one in flat if not begin <= one["ts"] < end])}
    head, *rows = table(tmp_path / "part" / "csv" / "orders.csv")
    assert len([row for row in rows if row[head.index("event")] == "permit"]) == wanted["permits.permits"]


def test_empty_span_shows_nothing(home: Path, tmp_path: Path) -> None:
    """A time without records gives a bundle that claims nothing, and it can be checked like any other."""
    assert quick("bundle", tmp_path / "none", "--home", home, "--from", "1999-01-01", "--to", "1999-12-31").code == 0
    for claim in claims(tmp_path / "none")["claims"]:
        assert claim["standing"] == "nothing on record" or claim["name"] in {"sealed", "people"}, claim
    text = (tmp_path / "none" / "report.html").read_text()
    assert "No record lies in this time." in text
    assert "No halt is on record in this time." in text
    assert checked(tmp_path / "none")[1]["whole"] is True


def test_proofs_lead_to_the_seal(made: Path) -> None:
    """Each record that is named is the line of the segment, and its path leads to a root made here anew."""
    lines = oracle.lines_of(made)
    records = claims(made)["records"]
    assert records
    for record in records:
        mine = lines[record["engine"]]
        if record["bound_by"] is None:
            continue
        assert record["line"].encode() == mine[record["seq"]]
        path = [bytes.fromhex(node) for node in record["path"]]
        wanted = root(mine[: record["size"]])
        assert record["root"] == wanted.hex()
        assert root_of_path(record["seq"], record["size"], mine[record["seq"]], path) == wanted
        assert record["agrees"] is True
    named = {(engine, seq) for claim in claims(made)["claims"] for engine, seq in claim["cites"]}
    assert named <= {(record["engine"], record["seq"]) for record in records}


def test_limits_that_nobody_approved_are_told(tmp_path: Path) -> None:
    """A run on limits that somebody put there past the approvals stands in the report as such."""
    home = arm(tmp_path / "home", CALM)
    home.limits.write_text(CALM.replace("max_quantity = 10", "max_quantity = 1000"))
    with running(home.path):
        pass
    assert quick("bundle", tmp_path / "bundle", "--home", home.path).code == 0
    (claim,) = [one for one in claims(tmp_path / "bundle")["claims"] if one["name"] == "approved"]
    assert claim["standing"] == "against"
    assert claim["numbers"]["without"] == 1
    assert "by nobody on record" in (tmp_path / "bundle" / "report.html").read_text()


def test_limits_approved_later_do_not_count(tmp_path: Path) -> None:
    """Who approves limits after a run began has not approved them for that run."""
    home = arm(tmp_path / "home", CALM)
    other = CALM.replace("max_quantity = 10", "max_quantity = 9")
    home.limits.write_text(other)
    with running(home.path):
        pass
    file = tmp_path / "other.toml"
    file.write_text(other)
    given = ("--file", file, "--operator", "late", "--reason", "afterwards")
    assert quick("limits", "set", "--home", home.path, *given).code == 0
    assert quick("bundle", tmp_path / "bundle", "--home", home.path).code == 0
    (claim,) = [one for one in claims(tmp_path / "bundle")["claims"] if one["name"] == "approved"]
    assert claim["numbers"]["without"] == 1


def test_resets_of_several_epochs(tmp_path: Path) -> None:
    """Halts are counted by epoch of the home, however many engines and repeats record them."""
    home = arm(tmp_path / "home", CALM)
    for epoch in (1, 2):
        with running(home.path), running(home.path, engine="other"):
            halt_home(home.path, timeout_s=20)
            halt_home(home.path, timeout_s=20)
        reset_home(home.path, epoch, epoch)
    with running(home.path), running(home.path, engine="other"):
        pass
    assert quick("bundle", tmp_path / "bundle", "--home", home.path).code == 0
    found = {claim["name"]: claim["numbers"] for claim in claims(tmp_path / "bundle")["claims"]}
    assert found["halts"]["epochs"] == found["resets"]["epochs"] == 2
    assert found["resets"]["resets"] == 4
    wanted = oracle.counted(tmp_path / "bundle")
    assert found["halts"]["first"] == wanted["halts.first"]


# ---------------------------------------------------------------------------
# What means harm


def test_hostile_text_is_text(made: Path) -> None:
    """Reasons and names that hold mark-up are shown as they are, and make no element and no attribute."""
    page = Page.of(made / "report.html")
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form", "input", "base", "link"}
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "\u202e" not in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "\\u202e" in page.text


def test_page_needs_nothing_from_elsewhere(made: Path) -> None:
    """The page fetches nothing: every link leads within it, to a place that is there."""
    page = Page.of(made / "report.html")
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= page.ids
    text = (made / "report.html").read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text.replace("interlock", "")


def test_formulas_are_text(made: Path) -> None:
    """No cell of a table begins as a formula does, unless it is a number; what was there follows an apostrophe."""
    for path in (made / "csv").glob("*.csv"):
        for row in table(path):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), (path.name, cell)
    assert written("=1+1") == "'=1+1"
    assert written("-2+3") == "'-2+3"
    assert written("-0.5") == "-0.5"
    assert written("+0.5") == "'+0.5"
    assert [written(f"{sign}1+1")[0] for sign in "\n\uff1d\uff0b\uff0d\uff20"] == ["'"] * 5
    assert written(None) == ""
    assert written(value=True) == "true"


def test_report_is_read_with_a_structure(made: Path) -> None:
    """The page has a language, a title, one first heading, and no heading that skips a level."""
    page = Page.of(made / "report.html")
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert page.attributes["lang"] == {"en"}
    assert {"main", "title", "svg", "table", "nav"} <= page.tags
    assert len(page.ids) == page.id_count


# ---------------------------------------------------------------------------
# Changes


def test_bundle_checks_as_whole(made: Path) -> None:
    """What was made is whole; the answer about the records is the verifier's."""
    code, said = checked(made)
    assert (said["whole"], said["changed"], said["missing"], said["added"], said["differs"]) == (True, [], [], [], [])
    assert code == 5  # an order of the crash is in doubt
    assert said["manifest_sha256"] == sha256((made / "manifest.json").read_bytes()).hexdigest()


def test_every_changed_file_is_named(bundle: Path) -> None:
    """One bit changed in any file of the bundle is found, and the file is named."""
    names = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    assert len(names) > 15
    for name in names:
        path = bundle / name
        before = path.read_bytes()
        if name == "manifest.json":
            continue
        path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
        ended = quick("bundle", "--check", bundle, "--json")
        path.write_bytes(before)
        if name == "request.json":
            assert ended.code in {2, 6}
            continue
        assert ended.code == 6, name
        assert name in ended.json["changed"]
        assert ended.json["whole"] is False


def test_every_missing_file_is_named(bundle: Path) -> None:
    """Any file that is taken out is missed by its name."""
    names = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    for name in names:
        path = bundle / name
        before = path.read_bytes()
        path.unlink()
        ended = quick("bundle", "--check", bundle, "--json")
        path.write_bytes(before)
        if name in {"manifest.json", "request.json"}:
            assert ended.code == 2, name
            continue
        assert ended.code == 6, name
        assert ended.json["missing"] == [name]


def test_added_files_are_named(bundle: Path) -> None:
    """A file that is put in is named, a link as well; so is one among the segments."""
    (bundle / "more.txt").write_text("hello")
    (bundle / "link").symlink_to("/etc/passwd")
    (bundle / "journal" / "engine" / "notes.txt").write_text("hello")
    code, said = checked(bundle)
    assert code == 6
    assert said["added"] == ["journal/engine/notes.txt", "link", "more.txt"]


@pytest.mark.parametrize("name", ["report.html", "claims.json", "csv/orders.csv", "README.md"])
def test_report_that_says_other_things_is_found(bundle: Path, name: str) -> None:
    """A report or table changed along with the manifest is not what the evidence gives."""
    rewrite(bundle, name, lambda data: data.replace(b"1", b"2", 1))
    code, said = checked(bundle)
    assert (code, said["differs"], said["changed"]) == (6, [name], [])


def test_records_that_were_changed_are_found(bundle: Path) -> None:
    """A record changed along with the manifest breaks the verifier's rules."""
    segment = next((bundle / "journal" / "engine").glob("*.jsonl")).relative_to(bundle).as_posix()
    rewrite(bundle, segment, lambda data: data.replace(b'"quantity":"1"', b'"quantity":"2"', 1))
    code, said = checked(bundle)
    assert code == 6
    assert said["engines"]["engine"]["status"] == "TAMPERED"


def test_manifest_that_asks_for_other_things_is_found(bundle: Path) -> None:
    """What was asked for stands in two files, which must agree."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["missing"] = []
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    code, said = checked(bundle)
    assert (code, said["changed"]) == (6, ["manifest.json"])


def test_archive_that_was_changed_is_found(made: Path, home: Path, tmp_path: Path) -> None:
    """A byte changed anywhere in an archive's members is found."""
    archive = tmp_path / "bundle.zip"
    assert quick("bundle", archive, "--home", home).code == 0
    data = archive.read_bytes()
    for needle in (b'"kind":"halt"', b"max_quantity", b"<!DOCTYPE html>"):
        at = data.index(needle)
        archive.write_bytes(data[:at] + b"X" + data[at + 1 :])
        code, said = checked(archive)
        assert code == 6
        assert said["whole"] is False
    assert made.exists()


REQUESTS: dict[str, dict[str, Any]] = {
    "a root key that is none": {"root_key": "junk"},
    "a root key that is a number": {"root_key": 5},
    "what is missing as words": {"missing": ["x"]},
    "what is missing without a reason": {"missing": [{"what": "x"}]},
    "engines as numbers": {"engines": {"engine": 5}},
    "tools as lists": {"tools": {"interlock": [1]}},
    "a time that is none": {"asked": {"from": "2026-99-99", "to": None}},
    "a time that is a number": {"asked": {"from": 5, "to": None}},
    "another format": {"format": "interlock bundle 0"},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request_of_another_form_is_no_bundle(bundle: Path, name: str) -> None:
    """A request that anybody wrote, along with the manifest, is no bundle if it has not the form of ours."""
    rewrite(bundle, "request.json", lambda data: json.dumps(json.loads(data) | REQUESTS[name]).encode())
    ended = quick("bundle", "--check", bundle)
    assert (ended.code, "no bundle" in ended.err) == (2, True), ended.err


def test_large_files_in_a_small_archive_fill_no_memory(made: Path, tmp_path: Path) -> None:
    """A note, a list or an approval that is huge, in an archive that is small, is not taken into memory whole."""
    archive = tmp_path / "bundle.zip"
    places = ("checkpoints/engine/00000000000000000099.note", "keys/0001.note", "limits/9999.json", "drills/x.json")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(made.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(made))
        for place in places:
            with packed.open(place, "w") as member:
                for _ in range(300):
                    member.write(bytes(1 << 20))
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({700 << 20},) * 2); "
    program = limited + "from interlock.ops.cli import main; main()"
    command = [sys.executable, "-c", program, "bundle", "--check", archive, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    assert done.returncode == 6, done.stderr
    assert sorted(json.loads(done.stdout)["added"]) == sorted(places)


@pytest.mark.parametrize("text", ["2026-08-07", "20260807", "2026-W32-5"])
def test_day_is_a_day_in_every_spelling(text: str) -> None:
    """A day as the end of a span means its end, however it is written; a time means itself."""
    assert moment(text, end=True) - moment(text) == 86_400_000_000
    assert moment("2026-08-07T00", end=True) == moment("2026-08-07")
    assert moment("2026-08-07T02:00+02:00") == moment("2026-08-07")
