"""What the pages say is checked: examples run, names exist, tables are complete, drawings are drawn from the code.

``python -m tests.test_docs`` draws the generated part of ``docs/modes.md`` anew, and writes the file and line of each
property into ``specs/README.md``.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import orjson
import pytest
import typer

from interlock import HaltCode, Reason
from interlock.core.modes import NEXT, TABLE, Mode, Trigger
from interlock.ops.cli import app
from interlock.ops.exits import Exit
from interlock.verify.kinds import SHAPES

ROOT: Final = Path(__file__).parents[1]
KERNEL: Final = ROOT / "kernel"
BASES: Final = (ROOT, KERNEL / "interlock")
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("specs/*.md")])
NAMES: Final = [str(page.relative_to(ROOT)) for page in PAGES]
MODES: Final = ROOT / "docs" / "modes.md"
BEGIN: Final = "<!-- generated: python -m tests.test_docs -->"
END: Final = "<!-- end of what is generated -->"

SPECS_PAGE: Final = ROOT / "specs" / "README.md"
STAND: Final = {
    "Invariants": "kernel/Kernel.tla",
    "Action properties": "kernel/Kernel.tla",
    "Temporal properties": "kernel/Kernel.tla",
    "Several engines": "ipc/QuiescentKill.tla",
    "The inductive proof": "../kernel/interlock/testing/quiescence_proof.py",
    "The two pages": "ipc/TwoPages.tla",
    "The stop executor": "stop/StopExecutor.tla",
}
"""Under which heading of specs/README.md the properties of which module are told."""

PROPERTY: Final = re.compile(r"^(?P<row>\| \**`(?P<name>\w+)`\** \| [^|]* \|)")
RUN: Final = re.compile(r"^<!-- run -->\n+```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCE: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SPAN: Final = re.compile(r"`([^`\n]+)`")
REFERENCE: Final = re.compile(r"(?P<path>[\w./-]+\.(?:py|tla|json))(?P<mark>::|#)(?!L\d)(?P<name>[\w.:-]+)")
LINK: Final = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
HEADING: Final = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LONGEST_LINE: Final = 140
"""For text; a table's row may be as long as it has to be."""


def read(page: Path) -> str:
    """A page's text."""
    return page.read_text(encoding="utf-8")


def spans(text: str) -> set[str]:
    """What stands between single backticks, outside fenced blocks."""
    return set(SPAN.findall(FENCE.sub("", text)))


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first cell of a table's row."""
    rows = re.findall(r"^\| *([^|]+)\|", FENCE.sub("", text), re.MULTILINE)
    return {word for row in rows for word in SPAN.findall(row)}


# -- Examples ------------------------------------------------------------------------------------


def examples(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page that are marked to be run: language and code."""
    return RUN.findall(read(page))


def command_on_path(directory: Path) -> Path:
    """A directory with the command ``interlock`` of this very checkout."""
    shims = directory / "bin"
    shims.mkdir()
    shim = shims / "interlock"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m interlock.ops "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    return shims


@pytest.mark.parametrize("name", [name for name, page in zip(NAMES, PAGES, strict=True) if examples(page)])
def test_examples_run(name: str, tmp_path: Path) -> None:
    """Every example that is marked ``run`` ends well; those of one page share a directory, in their order."""
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join((str(command_on_path(tmp_path)), os.environ["PATH"]))
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(KERNEL)}
    for number, (language, code) in enumerate(examples(ROOT / name), 1):
        script = tmp_path / f"example-{number}.{language}"
        script.write_text(code, encoding="utf-8")
        command = [sys.executable, str(script)] if language == "python" else ["bash", "-euo", "pipefail", str(script)]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"example {number} of {name}:\n{code}\n{done.stdout}\n{done.stderr}"


def test_pages_for_readers_have_examples() -> None:
    """The two pages that promise runnable examples have some, so that the mark can't be lost unseen."""
    assert {language for language, _ in examples(ROOT / "docs" / "embedding.md")} == {"python", "sh"}
    assert [language for language, _ in examples(ROOT / "docs" / "operating.md")]


def test_example_that_fails_is_seen(tmp_path: Path) -> None:
    """The mark is recognised in plain text, and only there where it stands."""
    page = tmp_path / "page.md"
    page.write_text("```python\n1 / 0\n```\n\n<!-- run -->\n```sh\nfalse\n```\n", encoding="utf-8")
    assert examples(page) == [("sh", "false\n")]


# -- Completeness --------------------------------------------------------------------------------


def test_every_reason_stands_in_embedding() -> None:
    """Each reason code of a verdict has its row in docs/embedding.md."""
    assert {str(reason) for reason in Reason} - first_cells(read(ROOT / "docs" / "embedding.md")) == set()


@pytest.mark.parametrize("page", ["embedding.md", "operating.md"])
def test_every_halt_code_stands_in_both_pages(page: str) -> None:
    """Each halt code has its row where engineers look, and its row where operators look."""
    assert {str(code) for code in HaltCode} - first_cells(read(ROOT / "docs" / page)) == set()


def test_every_exit_code_stands_in_operating() -> None:
    """Each exit code has a row of the table in docs/operating.md, under its number and its name."""
    text = read(ROOT / "docs" / "operating.md")
    missing = [
        code.name for code in Exit if not re.search(rf"^\| *{int(code)} *\| *`{code.name}` *\|", text, re.MULTILINE)
    ]
    assert missing == []


def test_every_command_and_option_stands_in_operating() -> None:
    """Each command of the command line, and each of its options, is named in docs/operating.md."""
    said = " ".join(spans(read(ROOT / "docs" / "operating.md")))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined] # it is a group
    assert set(commands) == {
        "arm",
        "run",
        "halt",
        "watch",
        "status",
        "reset",
        "verify",
        "prove",
        "replay",
        "keys",
        "demo",
        "drill",
        "compress",
        "limits",
        "bundle",
    }
    options = {option for command in commands.values() for given in command.params for option in given.opts}
    wanted = {f"interlock {name}" for name in commands} | {option for option in options if option.startswith("--")}
    missing = [word for word in sorted(wanted) if not re.search(rf"(?<!\S){re.escape(word)}(?![\w-])", said)]
    assert missing == []


def test_every_kind_of_record_stands_in_the_format() -> None:
    """Each kind that the verifier knows has its row in docs/journal.md."""
    assert set(SHAPES) - first_cells(read(ROOT / "docs" / "journal.md")) == set()


# -- The modes -----------------------------------------------------------------------------------


def drawn() -> str:
    """Diagram and table of the modes, from the table that the kernel runs on."""
    rows = [f"| `{trigger}` | {source} | {target} |" for trigger, source, target in TABLE]
    arrows = [f"    {source} --> {target}: {trigger}" for trigger, source, target in TABLE]
    refused = [(mode, trigger) for mode in Mode for trigger in Trigger if (mode, trigger) not in NEXT]
    return "\n".join(
        [
            BEGIN,
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {Mode.IDLE}",
            *arrows,
            "```",
            "",
            "| trigger | from | to |",
            "|---|---|---|",
            *rows,
            "",
            f"Refused: {', '.join(f'`{trigger}` in {mode}' for mode, trigger in refused)}.",
            END,
        ]
    )


def test_modes_are_drawn_from_the_table() -> None:
    """The generated part of docs/modes.md is what the table gives today."""
    text = read(MODES)
    assert text.count(BEGIN) == text.count(END) == 1
    assert drawn() in text, "docs/modes.md is stale: python -m tests.test_docs"


# -- Where properties stand ----------------------------------------------------------------------


def placed() -> str:
    """specs/README.md with the file and line of each property in its row, in whatever table."""
    lines, here, inside = [], "", False
    for line in read(SPECS_PAGE).splitlines():
        if line.startswith("#"):
            here = next((file for heading, file in STAND.items() if line.lstrip("# ").startswith(heading)), here)
        inside = line.startswith(("| property |", "| theorem |")) or (inside and line.startswith("|"))
        row = PROPERTY.match(line) if inside else None
        lines.append(f"{row['row']} {place(here, row['name'])} |" if row else line)
    return "\n".join(lines) + "\n"


def place(file: str, name: str) -> str:
    """A link to the line on which a property is defined."""
    text = (ROOT / "specs" / file).read_text(encoding="utf-8")
    defined = re.search(rf'^(?:{name} ==|    Claim\(name="{name}")', text, re.MULTILINE)
    assert defined, f"{name} does not stand in {file}"
    line = text.count("\n", 0, defined.start()) + 1
    return f"[{Path(file).name}:{line}]({file}#L{line})"


def test_properties_stand_where_the_page_says() -> None:
    """Each property of specs/README.md has the file and the line of its definition beside it."""
    text = read(SPECS_PAGE)
    assert placed() == text, "specs/README.md is stale: python -m tests.test_docs"
    assert len(re.findall(r"\]\([\w./]+#L\d+\) \|$", text, re.MULTILINE)) >= 60


def test_property_that_is_not_defined_is_seen() -> None:
    """A name that no line defines has no place."""
    with pytest.raises(AssertionError, match="Missing does not stand"):
        place("kernel/Kernel.tla", "Missing")


# -- Names ---------------------------------------------------------------------------------------


def found(path: str) -> Path | None:
    """The file that a page means by a path: from the root, or within the package."""
    return next((base / path for base in BASES if (base / path).is_file()), None)


@cache
def definitions(path: Path) -> frozenset[str]:
    """What a Python file, a specification or the manifest of the specifications defines, by dotted name."""
    text = read(path)
    if path.suffix == ".tla":
        return frozenset(re.findall(r"^(\w+)(?:\([^)]*\))? *==", text, re.MULTILINE))
    if path.suffix == ".json":
        modules = orjson.loads(text)["modules"].values()
        return frozenset(change["name"] for module in modules for change in (*module["mutants"], *module["survivors"]))
    names: set[str] = set()

    def take(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    take(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    take(ast.parse(text).body, "")
    return frozenset(names)


def wrong(text: str) -> list[str]:
    """The references of a text that lead nowhere."""
    missing = []
    for reference in REFERENCE.finditer(text):
        path = found(reference["path"])
        name = reference["name"].rstrip(".:").replace("::", ".")
        if path is None or name not in definitions(path):
            missing.append(reference[0])
    return missing


@pytest.mark.parametrize("name", NAMES)
def test_references_exist(name: str) -> None:
    """Every ``file::test`` and ``file#name`` that a page refers to is there."""
    assert wrong(read(ROOT / name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Every link within the repository leads to a file, and to a heading in it if it names one."""
    page = ROOT / name
    for target, anchor in LINK.findall(FENCE.sub("", read(page))):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{name}: {target}"
        if anchor and there.suffix == ".md":
            headings = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(read(there))]
            assert anchor[1:] in [heading.replace(" ", "-") for heading in headings], f"{name}: {target}{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_lines_can_be_read_in_a_terminal(name: str) -> None:
    """Text is broken into lines; only a table's row and a link may be longer."""
    lines = read(ROOT / name).splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE and not line.startswith(("|", "["))] == []


def test_what_is_not_there_is_noticed() -> None:
    """A reference to a test, a function, a property, a mutant or a file that is gone is reported, a right one not."""
    right = [
        "tests/test_docs.py::test_what_is_not_there_is_noticed",
        "kernel/gates.py#Gates.submit",
        "core/modes.py#TABLE",
        "specs/kernel/Kernel.tla#NoEmitAfterHalt",
        "specs/manifest.json#begin-skips-the-latch",
    ]
    assert wrong(" ".join(right)) == []
    gone = ["tests/test_docs.py::test_gone", "kernel/gates.py#Gates.gone", "specs/kernel/Kernel.tla#Gone", "gone.py#x"]
    assert wrong(" ".join(gone)) == gone


def test_assurance_names_every_promise() -> None:
    """The ten promises stand in docs/assurance.md, letter for letter."""
    promises = (
        "NoEmitAfterHalt HaltIsLatching AckMeansQuiescent AbsenceMeansHalted JournalBeforeEmit HaltNeverWaits "
        "CancelsAlwaysPass OnePermitOneSend Deterministic QuietAfterBound"
    )
    assert set(promises.split()) - spans(read(ROOT / "docs" / "assurance.md")) == set()


def test_mutants_break_what_their_section_names() -> None:
    """A mutant that docs/assurance.md gives for a promise breaks a property that the same section names."""
    modules = orjson.loads(read(ROOT / "specs" / "manifest.json"))["modules"].values()
    violates = {mutant["name"]: set(mutant["violates"]) for module in modules for mutant in module["mutants"]}
    named = 0
    for section in re.split(r"^##+ ", read(ROOT / "docs" / "assurance.md"), flags=re.MULTILINE):
        properties = set(re.findall(r"\.tla#(\w+)", section))
        mutants = re.findall(r"manifest\.json#([\w-]+)", section)
        if properties:
            named += len(mutants)
            assert [mutant for mutant in mutants if not violates[mutant] & properties] == [], section.splitlines()[0]
    assert named


def main() -> None:
    """Draw the generated part of docs/modes.md anew, and say in specs/README.md where each property stands."""
    before, _, rest = read(MODES).partition(BEGIN)
    _, _, after = rest.partition(END)
    MODES.write_text(before + drawn() + after, encoding="utf-8")
    SPECS_PAGE.write_text(placed(), encoding="utf-8")


if __name__ == "__main__":
    main()
