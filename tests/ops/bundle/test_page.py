"""The report as a reader sees it: in a real browser at two widths, on paper, and of a journal that is large."""

from __future__ import annotations

import re
import shutil
import subprocess
import tracemalloc
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from tests.helpers import arm, running
from tests.ops.bundle.pages import Page
from tests.ops.bundle.session import CALM, NASTY, session
from tests.ops.cli_helpers import quick
from tests.verify.builder import record

from interlock.ops.bundle import pdf
from interlock.ops.bundle.derive import derive
from interlock.ops.bundle.plan import FORMAT, Span
from interlock.ops.bundle.story import Entry
from interlock.ops.bundle.times import Times
from interlock.ops.bundle.tree import BundleError, Folder
from interlock.ops.sheet import style

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<script>
const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') &&
  e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className);
parent.postMessage(innerWidth + ':' + wide.slice(0, 5).join(' '), '*');
</script></body>"""
FRAME = """<!DOCTYPE html><html><body><script>
addEventListener('message', e => document.body.setAttribute('data-found', e.data));
</script><iframe src="page.html" style="width: {}px; height: 900px; border: 0"></iframe></body></html>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a session with harmful text in it."""
    place = tmp_path_factory.mktemp("page")
    home = session(place / "home", nasty=NASTY)
    assert quick("bundle", place / "bundle", "--home", home.path).code == 0
    return place / "bundle" / "report.html"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_reaches_beyond_the_screen(report: Path, tmp_path: Path, width: int) -> None:
    """In a real browser no element is wider than the screen, but what scrolls by itself, and no script of ours runs."""
    (tmp_path / "page.html").write_text(report.read_text().replace("</body>", MEASURE))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--dump-dom"]
    more = [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [*command, *more, frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stderr
    assert found[1] == f"{width}:"


def test_pdf_is_made_of_the_page(report: Path, tmp_path: Path) -> None:
    """On request the report is there as PDF, the same bytes each time."""
    pytest.importorskip("weasyprint")
    page = report.read_text()
    made = pdf.render(page)
    assert made.startswith(b"%PDF-")
    assert len(made) > 20_000
    short = "<h1>Twice</h1><svg viewBox='0 0 9 9'><path class='halt' d='M1 1h5v5z'/></svg>"
    assert pdf.render(short) == pdf.render(short)
    home = arm(tmp_path / "home", CALM)
    with running(home.path):
        pass
    assert quick("bundle", tmp_path / "bundle", "--home", home.path, "--pdf").code == 0
    assert (tmp_path / "bundle" / "report.pdf").read_bytes().startswith(b"%PDF-")
    ended = quick("bundle", "--check", tmp_path / "bundle", "--json")
    assert ended.code in {0, 5}
    assert "report.pdf was compared with the manifest alone" in ended.json["notes"][0]


def test_pdf_draws_with_our_colours() -> None:
    """Each drawing on paper has every rule for drawings in it, with the colours of the light page in place of names."""
    dressed = pdf._dressed("<p>x</p><svg viewBox='0 0 9 9'></svg>")
    rules = re.findall(r"svg ([.\w]+) \{", style("interlock.ops.bundle", "report.css"))
    assert len(rules) > 8
    for rule in rules:
        assert f"{rule}{{" in dressed, rule
    assert "var(" not in dressed
    assert "#a3241f" in dressed


def test_pdf_fetches_nothing(tmp_path: Path) -> None:
    """An address in a page leads nowhere when it is set on paper."""
    pytest.importorskip("weasyprint")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    page = f'<p>hello</p><img src="{secret.as_uri()}"><link rel="attachment" href="{secret.as_uri()}">'
    made = pdf.render(page)
    secret.unlink()
    assert made == pdf.render(page)


def test_pdf_without_its_extra_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without WeasyPrint a PDF is refused before anything is written, with what to install."""
    monkeypatch.setitem(__import__("sys").modules, "weasyprint", None)
    with pytest.raises(BundleError, match=r"interlock\[pdf\]"):
        pdf.require()
    home = arm(tmp_path / "home", CALM)
    ended = quick("bundle", tmp_path / "bundle", "--home", home.path, "--pdf")
    assert ended.code == 2
    assert "interlock[pdf]" in ended.err
    assert not (tmp_path / "bundle").exists()


# ---------------------------------------------------------------------------
# Large journals


def large(count: int) -> Iterator[bytes]:
    """Lines with everything that could grow: halts, resets, runs, codes, instruments, orders that never end."""
    made: list[tuple[str, dict[str, Any]]] = [("run", {})]
    kinds = ("permit", "refuse", "halt", "reset", "run", "recover", "anomaly", "start", "flood", "block")
    for number in range(count):
        kind = kinds[number % len(kinds)]
        fields: dict[str, Any] = {}
        if kind in {"permit", "refuse"}:
            fields = {"id": f"order {number}", "instrument": f"I{number}"}
        if kind in {"refuse", "anomaly", "halt", "flood", "block"}:
            fields["code"] = f"CODE_{number}"
        if kind == "halt":
            fields |= {"epoch": number, "at": 1, "first": True}
        if kind == "reset":
            fields |= {"epoch": number + 1, "prior": number}
        made.append((kind, fields))
    for seq, (kind, fields) in enumerate(made):
        yield orjson.dumps(record(kind, seq=seq, mono=seq * 1_000_000, **fields))


def derived(place: Path, count: int) -> tuple[int, int]:
    """Size of the report, and the most memory that was taken, for a journal of so many records."""
    request = {"format": FORMAT, "home": "x", "root_key": None, "asked": {"from": None, "to": None}}
    folder = Folder(place)
    folder.write("request.json", orjson.dumps({**request, "engines": {}, "missing": [], "tools": {}}))
    with folder.made("journal/engine/00000000000000000000.jsonl").open("wb") as file:
        file.writelines(line + b"\n" for line in large(count))
    tracemalloc.start()
    try:
        derive(folder, folder, lambda _: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (place / "report.html").stat().st_size, peak


def test_report_of_a_large_journal_stays_small(tmp_path: Path) -> None:
    """Eight times the records make neither the report nor the memory that it takes larger; tables say what is left."""
    small, some = derived(tmp_path / "small", 6_000)
    big, more = derived(tmp_path / "large", 48_000)
    assert big < small * 1.2
    assert big < 600_000
    assert more < some * 3  # what grows is what the verifier keeps of permits that never end
    text = (tmp_path / "large" / "report.html").read_text()
    page = Page.of(tmp_path / "large" / "report.html")
    assert "more are in <code>csv/halts.csv</code>" in text
    assert page.facts["halts.halts"] == {4_800}
    assert page.facts["resets.resets"] == {4_800}
    assert page.facts["refusals"] == {4_800 + 4_800 * record("flood")["count"]}
    assert "(other)" in text


@pytest.mark.parametrize("stretch", [1, 1_000, 1_000_000_000])
def test_picture_has_few_slots_for_any_time(stretch: int) -> None:
    """However long the span, there are a few hundred slots at most, and no order is lost from them."""
    times = Times(Span())
    for number in range(5_000):
        kind = "permit" if number % 3 else "refuse"
        times.feed(
            "a",
            Entry(number, {"kind": kind, "ts": 10**15 + number * stretch}, salvaged=False),
            "RUNNING",
            attached=True,
        )
    times.end()
    lane = times.lanes["a"]
    assert len(lane) <= 400
    assert sum(slot.permits for slot in lane.values()) == len([one for one in range(5_000) if one % 3])
    assert sum(slot.refusals for slot in lane.values()) == len([one for one in range(5_000) if not one % 3])
    assert all(slot.seen == 1 for slot in lane.values())
