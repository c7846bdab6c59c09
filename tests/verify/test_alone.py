"""The verifier by itself: without the engine, without what that needs, as a module, as one file, from the wheel."""

import ast
import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

import interlock.verify as package
from interlock.verify import pack

from .builder import ORIGIN, split
from .large import Large
from .signing import ROOT, signed_life

REPOSITORY = Path(__file__).parents[2]
HERE = Path(str(package.__file__)).parent
NEEDED = {"attrs", "cryptography", "orjson", "zstandard"}
OUTSIDE = {"__main__", "cases", "crew", "files", "homes", "pack"}
PURE = {
    "base64", "binascii", "bisect", "collections", "datetime", "decimal", "enum", "hashlib", "itertools", "math",
    "operator", "re", "typing",
}  # fmt: skip
BLOCKING = """
import runpy, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        known = first in sys.stdlib_module_names or first in {allowed}
        if not known or (first == "interlock" and name not in ("interlock", "interlock.version")
                         and not name.startswith("interlock.verify")):
            raise ImportError("not there: " + name)

sys.meta_path.insert(0, Wall())
sys.argv = ["interlock-verify", *sys.argv[1:]]
runpy.run_module("interlock.verify", run_name="__main__")
"""


def home(where: Path) -> Path:
    """A signed home, as the engine would leave it."""
    book, inputs = signed_life()
    for name, lines in split(book.lines):
        path = where / "journal" / "demo" / name.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))
    for name, data in (*inputs.lists, *(inputs.notes or ())):
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return where


def run(*words: object, path: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a command; ``path`` is where packages are looked for first."""
    environment = {"PATH": os.environ["PATH"]} | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run([str(word) for word in words], capture_output=True, check=False, timeout=120, env=environment)


def test_the_rules_are_pure_and_share_no_code() -> None:
    """The verifier imports nothing of the engine; its rules import nothing that touches the outside."""
    for path in HERE.glob("*.py"):
        allowed = NEEDED | (set(sys.stdlib_module_names) if path.stem in OUTSIDE else PURE)
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, path
            assert {name.partition(".")[0] for name in names} <= allowed, path


def test_it_runs_where_nothing_else_is_installed(tmp_path: Path) -> None:
    """With every other package out of reach the module verifies a signed home."""
    told = run(
        sys.executable, "-c", BLOCKING.format(allowed=NEEDED | {"attr", "cffi", "_cffi_backend", "interlock"}),
        home(tmp_path), "--root-key", ROOT.vkey, "--json", path=HERE.parents[1],
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    answer = orjson.loads(told.stdout)
    assert (answer["verdict"], answer["engines"]["demo"]["origin"]) == ("VERIFIED", ORIGIN)


def test_the_engine_is_not_imported_with_it() -> None:
    """To import the verifier imports neither the engine nor what only that needs."""
    told = run(sys.executable, "-c", "import interlock.verify, sys; print(*sys.modules)", path=HERE.parents[1])
    modules = told.stdout.decode().split()
    engine = {"interlock.kernel", "interlock.core", "interlock.breaker", "interlock.journal", "transitions", "typer"}
    assert "interlock.verify" in modules
    assert not engine & {*modules}


def test_one_file_is_always_the_same_and_works(tmp_path: Path) -> None:
    """The one file has the same bytes each time, and verifies by itself: good, damaged, and with processes."""
    path, digest = pack.write(tmp_path)
    assert digest == sha256(path.read_bytes()).hexdigest() == sha256(pack.pack()).hexdigest()
    good = home(tmp_path / "home")
    told = run(sys.executable, "-P", path, good, "--root-key", ROOT.vkey)
    assert (told.returncode, told.stdout.split(b"\n")[0]) == (0, b"VERIFIED"), told.stderr
    large = tmp_path / "large"
    Large(600, 100).write(large)
    told = run(sys.executable, "-P", path, large, "--jobs", "2")
    assert (told.returncode, told.stdout.split(b"\n")[0]) == (0, b"VERIFIED"), told.stderr
    victim = sorted(large.iterdir())[3]
    data = bytearray(victim.read_bytes())
    data[999] ^= 1
    victim.write_bytes(data)
    told = run(sys.executable, "-P", path, good, large, "--jobs", "2")
    assert (told.returncode, victim.name.encode() in told.stdout) == (6, True), told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), b"nowhere"),
        ((".", "--root-key", "abc"), b"verifier key"),
        ((".", "--anchor", "nowhere"), b"nowhere"),
        ((".", "--tsa-cert", "pyproject.toml"), b""),
        ((), b"usage"),
    ],
)
def test_what_can_not_be_used_is_a_usage_error(words: tuple[str, ...], said: bytes) -> None:
    """A directory, key, anchor or certificate that is none ends with 2 and one line that names it."""
    told = subprocess.run(
        [sys.executable, "-m", "interlock.verify", *words], cwd=REPOSITORY, capture_output=True, check=False,
        timeout=60, env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
    )  # fmt: skip
    assert (told.returncode, said in told.stderr) == (2, True), told.stderr
    assert b"Traceback" not in told.stderr


@pytest.mark.long
def test_it_runs_from_the_wheel_with_four_packages(tmp_path: Path) -> None:
    """In a new environment with the wheel and four packages, and nothing else, the module verifies a signed home."""
    wheels = tmp_path / "wheels"
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", wheels, REPOSITORY)
    assert built.returncode == 0, built.stderr
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    assert run(python, "-m", "pip", "install", "-q", "--no-deps", *wheels.glob("*.whl")).returncode == 0
    assert run(python, "-m", "pip", "install", "-q", *sorted(NEEDED)).returncode == 0
    told = run(python, "-m", "interlock.verify", home(tmp_path / "home"), "--root-key", ROOT.vkey)
    assert (told.returncode, told.stdout.split(b"\n")[0]) == (0, b"VERIFIED"), told.stderr
    assert run(python, "-c", "import typer").returncode != 0
