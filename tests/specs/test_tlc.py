"""What TLC says of every specification is exactly what ``specs/manifest.json`` pins.

Each configuration is run and its exit code, counts and steps are compared. Each
mutant is one change to a specification, made in a private copy, and is scored on one
named property alone. A survivor is a change that no property sees; whether the state
graph sees it is pinned too.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NotRequired, TypeAlias, TypedDict, cast

import attrs
import pytest

from interlock.testing import tlc

SPECS = Path(__file__).resolve().parents[2] / "specs"
TIMEOUT_S = 120.0
LONG_S = 1800.0


class Configuration(TypedDict, total=False):
    """One pinned run; ``edges`` counts the distinct steps of each action; a ``long`` one takes minutes."""

    cfg: str
    long: bool
    says: str
    exit_code: int
    distinct: int
    generated: int
    depth: int
    edges: dict[str, int]


class Edit(TypedDict):
    """One replacement; the old text occurs exactly once in the module."""

    old: str
    new: str


class Change(TypedDict, total=False):
    """A mutant (with ``violates``) or a survivor (with ``same_graph``, or counts of its own)."""

    name: str
    says: str
    cfg: str
    edits: list[Edit]
    violates: dict[str, int]
    same_graph: bool
    distinct: int
    generated: int
    depth: int


class Pins(TypedDict):
    """What is pinned for one module; ``refines`` is the module that it is an instance of, if any."""

    refines: NotRequired[str]
    configurations: list[Configuration]
    mutants: list[Change]
    survivors: list[Change]


MODULES = cast("dict[str, Pins]", json.loads((SPECS / "manifest.json").read_text())["modules"])
KERNEL = SPECS / "kernel" / "Kernel.tla"


# ---------------------------------------------------------------------------
# The checker


class StaleMutantError(Exception):
    """A mutant's old text is not exactly once in the specification."""


def mutate(text: str, edits: list[Edit]) -> str:
    """Return the specification with each edit made."""
    for edit in edits:
        count = text.count(edit["old"])
        if count != 1:
            msg = f"occurs {count} times: {edit['old']}"
            raise StaleMutantError(msg)
        text = text.replace(edit["old"], edit["new"])
    return text


def listed(cfg_text: str) -> dict[str, str]:
    """Return each property that a configuration checks, with its keyword."""
    found: dict[str, str] = {}
    sections = re.split(r"^(INVARIANT|PROPERT)(?:S|Y|IES)$", cfg_text, flags=re.MULTILINE)
    for keyword, names in zip(sections[1::2], sections[2::2], strict=True):
        word = {"INVARIANT": "INVARIANT", "PROPERT": "PROPERTY"}[keyword]
        found |= dict.fromkeys(names.split(), word)
    return found


def narrow(cfg_text: str, name: str) -> str:
    """Return the configuration with one of its properties and no other."""
    constants = re.split(r"^(?:INVARIANT|PROPERT)", cfg_text, flags=re.MULTILINE)[0]
    return f"{constants}{listed(cfg_text)[name]} {name}\n"


def refined(module: Path) -> list[Path]:
    """Return the module that this one refines, if any, as a list."""
    name = MODULES[module.relative_to(SPECS).as_posix()].get("refines")
    return [] if name is None else [SPECS / name]


def run_changed(directory: Path, module: Path, change: Change, name: str | None) -> tlc.TlcResult:
    """Check a changed copy on one property, or on all and leave its graph there if that is compared."""
    changed = directory / module.name
    changed.write_text(mutate(module.read_text(), change["edits"]))
    cfg_text = (SPECS / change["cfg"]).read_text()
    cfg = directory / "changed.cfg"
    cfg.write_text(cfg_text if name is None else narrow(cfg_text, name))
    dump = directory / "changed.dot" if "same_graph" in change else None
    return tlc.run(changed, cfg, beside=refined(module), dump=dump, timeout_s=TIMEOUT_S)


def differences(pinned: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """Return every way in which a run differs from its pins."""
    keys = ("exit_code", "distinct", "generated", "depth", "edges")
    return [
        f"{key}: pinned {pinned[key]}, found {found.get(key)}"
        for key in keys
        if key in pinned and pinned[key] != found.get(key)
    ]


def edge_counts(edges: frozenset[tlc.Edge]) -> dict[str, int]:
    """Return how many distinct steps each action has."""
    return dict(Counter(name for _, name, _ in edges))


@attrs.frozen
class Graph:
    """The graph of Kernel.cfg, and the run that dumped it."""

    result: tlc.TlcResult
    initial: frozenset[tlc.State]
    edges: frozenset[tlc.Edge]


Verdict: TypeAlias = Callable[[Path, Change, str], tlc.TlcResult]


@pytest.fixture(scope="module")
def verdict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verdict]:
    """Run the selected mutants two at a time, ahead of the tests that ask for them."""
    runs: dict[tuple[Path, str, str], Future[tlc.TlcResult]] = {}

    def result(module: Path, mutant: Change, name: str) -> tlc.TlcResult:
        return runs[module, mutant["name"], name].result()

    with ThreadPoolExecutor(max_workers=2) as pool:
        for item in request.session.items:
            params = getattr(getattr(item, "callspec", None), "params", {})
            if {"module", "mutant", "name"} <= params.keys() and item.get_closest_marker("skip") is None:
                module, mutant, name = (params[k] for k in ("module", "mutant", "name"))
                directory = tmp_path_factory.mktemp("mutant")
                runs[module, mutant["name"], name] = pool.submit(run_changed, directory, module, mutant, name)
        yield result
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Run Kernel.cfg once and read its graph."""
    dump = tmp_path_factory.mktemp("graph") / "kernel.dot"
    cfg = KERNEL.with_suffix(".cfg")
    result = tlc.run(KERNEL, cfg, dump=dump, timeout_s=TIMEOUT_S)
    return Graph(result, *tlc.parse_dot(dump))


# ---------------------------------------------------------------------------
# The pins

LONG = (pytest.mark.long, pytest.mark.timeout(LONG_S + TIMEOUT_S))
CONFIGURATIONS = [
    pytest.param(SPECS / module, pin, id=pin["cfg"], marks=LONG if pin.get("long") else ())
    for module, pins in MODULES.items()
    for pin in pins["configurations"]
]
SLOW = {"ipc/TwoPages.tla"}
"""Specifications whose mutants take long, each."""

MANY = {"ipc/QuiescentKill.tla"}
"""Those that have many: by default the first of each property is run."""


def _slow(module: str, name: str = "", mutant: str = "") -> Sequence[pytest.MarkDecorator]:
    first = next((one["name"] for one in MODULES[module]["mutants"] if name in one["violates"]), "")
    return [pytest.mark.long] if module in SLOW or (module in MANY and mutant != first) else []


MUTANTS = [
    pytest.param(SPECS / module, mutant, name, id=f"{mutant['name']}-{name}", marks=_slow(module, name, mutant["name"]))
    for module, pins in MODULES.items()
    for mutant in pins["mutants"]
    for name in mutant["violates"]
]
SURVIVORS = [
    pytest.param(SPECS / module, survivor, id=survivor["name"], marks=_slow(module) if module in SLOW else ())
    for module, pins in MODULES.items()
    for survivor in pins["survivors"]
]


@pytest.mark.parametrize(("module", "pin"), CONFIGURATIONS)
def test_configuration_gives_its_pinned_result(
    tmp_path: Path, module: Path, pin: Configuration, record_property: Callable[[str, object], None]
) -> None:
    """A configuration has its pinned exit code, states, depth and steps."""
    dump = tmp_path / "graph.dot" if "edges" in pin else None
    timeout_s = LONG_S if pin.get("long") else TIMEOUT_S
    result = tlc.run(module, SPECS / pin["cfg"], beside=refined(module), dump=dump, timeout_s=timeout_s)
    record_property("states", result.distinct)
    found = attrs.asdict(result)
    if dump is not None:
        found["edges"] = edge_counts(tlc.parse_dot(dump)[1])
    assert differences(pin, found) == [], result.output


@pytest.mark.parametrize(("module", "mutant", "name"), MUTANTS)
def test_mutant_breaks_its_property(verdict: Verdict, module: Path, mutant: Change, name: str) -> None:
    """A mutant, scored on one property alone, breaks it with its exact exit code."""
    result = verdict(module, mutant, name)
    found = (result.exit_code, result.violated)
    assert found == (mutant["violates"][name], name), result.output


@pytest.mark.parametrize(("module", "survivor"), SURVIVORS)
def test_survivor_is_seen_by_the_graph_alone(tmp_path: Path, graph: Graph, module: Path, survivor: Change) -> None:
    """A survivor breaks no property; its graph is the same only if so pinned, or has its pinned counts."""
    result = run_changed(tmp_path, module, survivor, None)
    assert result.exit_code == 0, result.output
    if "same_graph" not in survivor:
        assert differences(survivor, attrs.asdict(result)) == []
        return
    _, edges = tlc.parse_dot(tmp_path / "changed.dot")
    assert (edges == graph.edges) == survivor["same_graph"]


def test_every_action_is_a_function(graph: Graph) -> None:
    """A state and an action have one successor, or one an order if it takes one."""
    parametric = set(re.findall(r"^(\w+)\(o\) ==", KERNEL.read_text(), re.MULTILINE))
    orders = len(cast("tuple[object, ...]", dict(next(iter(graph.initial)))["order"]))
    for (_, action), count in Counter((s, name) for s, name, _ in graph.edges).items():
        assert count <= (orders if action in parametric else 1), action


@pytest.mark.parametrize("module", MODULES)
def test_every_property_has_a_mutant(module: str) -> None:
    """Each property that a configuration checks is broken by some mutant."""
    pins = MODULES[module]
    checked = {name for pin in pins["configurations"] for name in listed((SPECS / pin["cfg"]).read_text())}
    broken = {name for mutant in pins["mutants"] for name in mutant["violates"]}
    assert broken == checked


@pytest.mark.parametrize("module", MODULES)
def test_readme_names_everything(module: str) -> None:
    """The README names each configuration, property, mutant and survivor."""
    pins = MODULES[module]
    readme = (SPECS / "README.md").read_text()
    names = {pin["cfg"] for pin in pins["configurations"]}
    names |= {change["name"] for change in pins["mutants"] + pins["survivors"]}
    names |= {name for mutant in pins["mutants"] for name in mutant["violates"]}
    assert {name for name in names if f"`{name}`" not in readme} == set()


# ---------------------------------------------------------------------------
# The checker can go red


@pytest.mark.parametrize("key", ["exit_code", "distinct", "generated", "depth"])
def test_wrong_pin_is_noticed(graph: Graph, key: str) -> None:
    """A pin that is off by one is reported, by its name and no other."""
    pin = dict(MODULES["kernel/Kernel.tla"]["configurations"][0])
    del pin["edges"]
    pin[key] = cast("int", pin[key]) + 1
    (report,) = differences(pin, attrs.asdict(graph.result))
    assert report.startswith(f"{key}: pinned {pin[key]}, found ")


def test_missing_edge_is_noticed(graph: Graph) -> None:
    """A graph that lacks a single step does not have its pinned steps."""
    pin = MODULES["kernel/Kernel.tla"]["configurations"][0]
    assert differences({"edges": pin["edges"]}, {"edges": edge_counts(graph.edges)}) == []
    lacking = edge_counts(graph.edges - {next(iter(graph.edges))})
    assert len(differences({"edges": pin["edges"]}, {"edges": lacking})) == 1


@pytest.mark.parametrize("old", ["no such text", "latch = "])
def test_stale_mutant_is_refused(old: str) -> None:
    """A mutant whose old text is not exactly once in its module is an error."""
    with pytest.raises(StaleMutantError):
        mutate(KERNEL.read_text(), [{"old": old, "new": ""}])


def test_unharmed_property_is_not_reported(tmp_path: Path) -> None:
    """A mutant passes on a property that it leaves true."""
    mutant = MODULES["kernel/Kernel.tla"]["mutants"][0]
    result = run_changed(tmp_path, KERNEL, mutant, "HaltIsLatching")
    assert (result.exit_code, result.violated) == (0, None)


# ---------------------------------------------------------------------------
# The runner and the reader

TOY = r"""---- MODULE Toy ----
EXTENDS Naturals, Sequences, TLC, Integers
CONSTANTS M, N
VARIABLES s, v
Long == "a value so long that TLC breaks the line behind it"
Vals == << -3, TRUE, M, "q\"b\\n\n]; 1 -> 2 /\\ s = 1", {1, 2},
           1..3, {}, <<>>, <<1, "a">>, [a |-> 1, bb |-> [c |-> FALSE]],
           (M :> 0 @@ N :> 1), [x \in {0, 10, 2} |-> x],
           [x \in {"b " \o Long, "a " \o Long} |-> Long] >>
Init == s = 0 /\ v \in {"i", "j"}
Step == s = 0 /\ s' = 1 /\ UNCHANGED v
Show(k) == s = 1 /\ s' = 1 + k /\ v' = Vals[k]
Stay == s = 1 /\ UNCHANGED <<s, v>>
Next == Step \/ Stay \/ (\E k \in DOMAIN Vals : Show(k))
        \/ (s = 1 /\ s' = 0 /\ v' = "i")
Spec == Init /\ [][Next]_<<s, v>>
Small == s < 2
Never == s # 0
Slow == [][s' = s + 1]_s
Ends == <>(s = 99)
====
"""
LONG_VALUE = "a value so long that TLC breaks the line behind it"
VALUES: list[tlc.Value] = [
    -3, True, "M", 'q"b\\n\n]; 1 -> 2 /\\ s = 1', frozenset({1, 2}),
    frozenset({1, 2, 3}), frozenset(), (), ((1, 1), (2, "a")),
    (("a", 1), ("bb", (("c", False),))), (("M", 0), ("N", 1)),
    ((0, 0), (2, 2), (10, 10)), (("a " + LONG_VALUE, LONG_VALUE), ("b " + LONG_VALUE, LONG_VALUE)),
]  # fmt: skip


def toy(directory: Path, check: str = "") -> tuple[Path, Path]:
    """Write the toy module and a configuration with these checks."""
    module, cfg = directory / "Toy.tla", directory / "Toy.cfg"
    module.write_text(TOY)
    cfg.write_text(f"SPECIFICATION Spec\nCONSTANTS M = M\n N = N\n{check}\n")
    return module, cfg


def test_graph_keeps_values_self_loops_and_initial_states(tmp_path: Path) -> None:
    """Every kind of value, each self-loop and each initial state is read back."""
    dump = tmp_path / "toy.dot"
    result = tlc.run(*toy(tmp_path), dump=dump, timeout_s=TIMEOUT_S)
    initial, edges = tlc.parse_dot(dump)
    i, j = ((("s", 0), ("v", "i")), (("s", 0), ("v", "j")))
    one = [(("s", 1), ("v", name)) for name in "ij"]
    shown = [(("s", k), ("v", value)) for k, value in enumerate(VALUES, start=2)]
    assert result.distinct == len(VALUES) + 4
    assert initial == {i, j}
    assert edges == {
        (i, "Step", one[0]),
        (j, "Step", one[1]),
        *((state, "Stay", state) for state in one),
        *((state, "Next", i) for state in one),
        *((state, "Show", after) for state in one for after in shown),
    }


@pytest.mark.parametrize(
    ("check", "exit_code", "violated"),
    [
        ("INVARIANT Small", 12, "Small"),
        ("INVARIANT Never", 12, "Never"),
        ("PROPERTY Slow", 13, "Slow"),
        ("PROPERTIES \\* a comment\n Ends (* and\n another *)", 13, "Ends"),
        ("PROPERTIES Ends Spec", 13, None),
        ("PROPERTY NoSuchProperty", 151, None),
    ],
)
def test_failure_is_named(tmp_path: Path, check: str, exit_code: int, violated: str | None) -> None:
    """A failure has its exit code and its property, unless TLC leaves that open."""
    dump = tmp_path / "toy.dot"
    result = tlc.run(*toy(tmp_path, check), dump=dump, timeout_s=TIMEOUT_S)
    assert (result.exit_code, result.violated) == (exit_code, violated), result.output
    assert not dump.exists()


def test_refinement_is_named(tmp_path: Path) -> None:
    """A step that the refined module, which lies elsewhere, does not have is a failure of the property by name."""
    module, cfg, above = tmp_path / "Low.tla", tmp_path / "Low.cfg", tmp_path / "elsewhere" / "High.tla"
    above.parent.mkdir()
    text = "---- MODULE {} ----\nEXTENDS Naturals\nVARIABLE s\nSpec == s = 0 /\\ [][s' = {}]_s\n{}\n====\n"
    above.write_text(text.format("High", "1 - s", ""))
    cfg.write_text("SPECIFICATION Spec\nPROPERTY Refines\n")
    for step, exit_code, violated in (("1 - s", 0, None), ("2", 13, "Refines")):
        module.write_text(text.format("Low", step, "High == INSTANCE High\nRefines == High!Spec"))
        result = tlc.run(module, cfg, beside=[above], timeout_s=TIMEOUT_S)
        assert (result.exit_code, result.violated) == (exit_code, violated), result.output
    with pytest.raises(tlc.TlcError, match=r"not a \.tla file"):
        tlc.run(module, cfg, beside=[above.parent], timeout_s=TIMEOUT_S)


def test_parse_error_has_no_counts(tmp_path: Path) -> None:
    """A module that does not parse gives 150 and no counts."""
    module, cfg = toy(tmp_path)
    module.write_text(TOY.replace("Init ==", "Init = ="))
    result = tlc.run(module, cfg, timeout_s=TIMEOUT_S)
    assert (result.exit_code, result.distinct, result.depth) == (150, None, None)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """A path that is no module or no configuration is refused before TLC starts."""
    module, cfg = toy(tmp_path)
    with pytest.raises(tlc.TlcError, match=r"not a \.tla file"):
        tlc.run(tmp_path / "Other.tla", cfg, timeout_s=TIMEOUT_S)
    with pytest.raises(tlc.TlcError, match=r"not a \.cfg file"):
        tlc.run(module, module, timeout_s=TIMEOUT_S)


def test_slow_run_is_killed(tmp_path: Path) -> None:
    """A run that takes longer than allowed is an error that says so."""
    with pytest.raises(tlc.TlcError, match=r"took over 0\.01 s"):
        tlc.run(*toy(tmp_path), timeout_s=0.01)


def test_busy_machine_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java that can't be started just now is tried again; one that never can be is an error."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 12\n")
    java.chmod(0o700)
    monkeypatch.setattr(tlc, "find_java", lambda: java)
    held = java.open("a")  # "text file busy": a program that is open for writing can't be run
    monkeypatch.setattr(tlc.time, "sleep", lambda _: held.close())
    assert tlc.run(*toy(tmp_path), timeout_s=TIMEOUT_S).exit_code == 12
    with java.open("a"), pytest.raises(tlc.TlcError, match="cannot start"):
        tlc.run(*toy(tmp_path), timeout_s=TIMEOUT_S)


def test_missing_tools_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages Java comes from PATH, and with neither it is an error."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert tlc.find_java() == Path("/bin/java")
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(tlc.TlcError, match="no Java"):
        tlc.find_java()
    with pytest.raises(tlc.TlcError, match=r"no tla2tools\.jar"):
        tlc.find_jar()


NODE = '1 [label="x = 1",style = filled]'


BROKEN_GRAPHS = [
    (f"{NODE}\n", "cut short"),
    ('1 [label="x = 1"];\n}', "without an initial state"),
    (f"{NODE}\nwhat is this\n}}", ":2: not understood"),
    (f'{NODE}\n1 -> 2 [label="A",color="black"];\n}}', "unknown state '2'"),
    (f'{NODE}\n2 [label="x = 1"];\n}}', "read alike"),
    ('1 [label="x = ?",style = filled]\n}', "expected a value, found ?"),
    ('1 [label="x = <<1 2>>",style = filled]\n}', "expected ,, found 2"),
    ('1 [label="x = {1",style = filled]\n}', "found the end"),
]


@pytest.mark.parametrize(("text", "error"), BROKEN_GRAPHS)
def test_broken_graph_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    """A graph that cannot be read to its end is an error that says where."""
    path = tmp_path / "broken.dot"
    path.write_text(text)
    with pytest.raises(tlc.TlcError) as caught:
        tlc.parse_dot(path)
    assert error in str(caught.value)


def test_missing_graph_is_an_error(tmp_path: Path) -> None:
    """A graph that is not there is an error."""
    with pytest.raises(tlc.TlcError, match="cannot read the graph"):
        tlc.parse_dot(tmp_path / "none.dot")
