"""A pytest that has collected its tests and then, instead of running them, tries mutants: each in a fork of its own.

Nothing is imported or collected twice, so a mutant costs no more than the tests that it takes to notice it. First all
tests run once, to see that they pass, how long they take, and which lines each of them runs. A mutant is then shown to
those tests that run its lines: first to those that noticed others of its function, then to those in the file that is
named after its module, then the quickest first, until the time that the room has for one mutant is spent. Where tests
start processes that run the lines, all those in that file are shown it.

The mistake gets in by the code object of the function around it, so whoever holds the function has it wronged. What is
done at import is in no function: see `tests.mutation.worker.cold`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

import coverage
import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings
from tests.mutation.forked import Ended, Teller, forked

from interlock.testing.mutation import Mutant, mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    _Functions = dict[tuple[str, int], list[FunctionType]]

JOB: Final = "INTERLOCK_MUTATION_JOB"
MUTANT: Final = "INTERLOCK_MUTANT"
_OPTIMIZED: Final = 1
_FIRST_S: Final = 60.0
_KILLERS: Final = 12
"""Tests that are tried first: the last ones that noticed a mutant of the same function."""

# A mutant is noticed or not: how little it takes to notice it is of no interest.
settings.register_profile(
    "mutants", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
)


class Zygote:
    """The plugin."""

    def __init__(self, job: dict[str, Any], tell: Callable[[dict[str, object]], None]) -> None:
        self.job = job
        self.tell = tell
        self.usual_s: dict[str, float] = {}
        self.work_s: dict[str, float] = {}
        self.runs: dict[str, dict[int, list[str]]] = {}
        self.killers: dict[tuple[str, str], list[str]] = defaultdict(list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try the mutants."""
        if session.testsfailed:
            self.tell({"kind": "broken", "why": "the tests can't be collected"})
            return True
        items = {item.nodeid: item for item in session.items}
        modules = {name: importlib.import_module(name) for name in self.job["mutants"]}
        files = {name: str(module.__file__) for name, module in modules.items()}
        if self._measure(session, list(files.values())):
            gc.collect()
            functions = {name: _functions(file) for name, file in files.items()}
            gc.freeze()  # what is frozen is not copied by every fork; nor is it found any more
            for name, wanted in self.job["mutants"].items():
                self._try_all(items, name, files[name], wanted, functions[name])
        return True

    def _measure(self, session: pytest.Session, files: list[str]) -> bool:
        """Run every test once."""
        handle, told = tempfile.mkstemp()
        os.close(handle)
        slowest = self.job["slowest"]

        def work(teller: Teller, own: Path) -> None:
            cover = coverage.Coverage(data_file=None, include=files, config_file=False)
            cover.set_option("run:core", "ctrace")
            taken, failed = {}, []
            cover.start()
            for index, item in enumerate(session.items):
                teller.within(600.0, item.nodeid)
                cover.switch_context(str(index))
                begun, worked = time.monotonic(), sum(os.times()[:4])
                if not _passes(item, session.items[index + 1 : index + 2], own):
                    failed.append(item.nodeid)
                taken[item.nodeid] = (time.monotonic() - begun, sum(os.times()[:4]) - worked)
            cover.stop()
            data = cover.get_data()
            lines = {file: data.contexts_by_lineno(file) for file in files}
            Path(told).write_text(json.dumps([taken, failed, lines]), encoding="utf-8")

        ended = forked(work, 600.0)
        if ended.how != "fine":
            self.tell({"kind": "broken", "why": f"{ended.how}: {ended.said}"})
            return False
        taken, failed, lines = json.loads(Path(told).read_text(encoding="utf-8"))
        Path(told).unlink()
        # What is chosen rests on the work that a test does, which is much the same on a busy machine.
        self.usual_s = {name: wall for name, (wall, work) in taken.items() if work <= slowest}
        self.work_s = {name: taken[name][1] for name in self.usual_s}
        names = [item.nodeid for item in session.items]
        for file, by_line in lines.items():
            self.runs[file] = {
                int(line): [names[int(index)] for index in contexts if index] for line, contexts in by_line.items()
            }
        self.tell(
            {
                "kind": "tests",
                "tests": len(names),
                "seconds": sum(wall for wall, _ in taken.values()),
                "slow": sorted(set(taken) - set(self.usual_s)),
            }
        )
        if failed:
            self.tell({"kind": "broken", "why": f"without a mutant these fail: {', '.join(failed[:5])}"})
        return not failed

    def _try_all(
        self, items: dict[str, pytest.Item], name: str, file: str, wanted: Sequence[int], functions: _Functions
    ) -> None:
        """Try a module's mutants."""
        made = mutants(Path(file).read_text(encoding="utf-8"))
        for index in wanted:
            mutant = made[index]
            chosen = self._choose(name, file, mutant)
            if not chosen:
                self._say(name, index, "uncovered", "", 0, 0.0)
                continue

            def work(
                teller: Teller, own: Path, mutant: Mutant = mutant, chosen: list[str] = chosen, at: int = index
            ) -> None:
                os.environ[MUTANT] = f"{name}:{at}"
                if not _swap(mutant, file, functions):
                    teller.fine("unreached")
                for here, test in enumerate(chosen):
                    teller.within(self.job["patience"] + 10 * self.usual_s[test], test)
                    if not _passes(items[test], [items[after] for after in chosen[here + 1 : here + 2]], own):
                        teller.failed(test)

            ended = forked(work, _FIRST_S)
            self._note(name, mutant, ended)
            verdict = "killed" if ended.how != "fine" else ended.said or "survived"
            self._say(name, index, verdict, f"{ended.how} {ended.said}".strip(), len(chosen), ended.seconds)

    def _choose(self, name: str, file: str, mutant: Mutant) -> list[str]:
        """The tests that run its lines, as many as there is time for."""
        by_line = self.runs.get(file, {})
        first, last = mutant.lines
        running = {test for line in range(first, last + 1) for test in by_line.get(line, ())} & self.usual_s.keys()
        rank = {test: -at for at, test in enumerate(self.killers[name, mutant.function][-_KILLERS:], 1)}
        own = f"test_{name.rsplit('.', 1)[-1]}.py"
        if self.job["children"]:  # which lines those run is not known here
            running |= {test for test in self.usual_s if own in test}
        chosen = sorted(running, key=lambda test: (rank.get(test, 1), own not in test, self.work_s[test], test))
        left_s = self.job["budget"]
        for count, test in enumerate(chosen):
            left_s -= self.work_s[test]
            if left_s < 0:
                return chosen[: max(1, count)]
        return chosen

    def _note(self, name: str, mutant: Mutant, ended: Ended) -> None:
        if ended.said in self.usual_s and ended.how != "hung":
            among = self.killers[name, mutant.function]
            if ended.said in among:
                among.remove(ended.said)
            among.append(ended.said)

    def _say(self, name: str, index: int, verdict: str, by: str, tests: int, seconds: float) -> None:
        told = {"module": name, "index": index, "verdict": verdict, "by": by, "tests": tests, "seconds": seconds}
        self.tell({"kind": "mutant"} | told)


def _passes(item: pytest.Item, following: Sequence[pytest.Item], own: Path) -> bool:
    """Run a test, with its temporary files in a directory of one's own."""
    factory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = own
    reports = runtestprotocol(item, log=False, nextitem=following[0] if following else None)
    return not any(report.failed for report in reports)


def _functions(file: str) -> _Functions:
    """The functions that were made of a file, by qualified name and first line."""
    found: _Functions = defaultdict(list)
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename == file:
            found[thing.__code__.co_qualname, thing.__code__.co_firstlineno].append(thing)
    return found


def _outermost(code: CodeType) -> Iterable[CodeType]:
    """The code of the functions that are in no other function."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & _OPTIMIZED:
                yield const
            else:
                yield from _outermost(const)


def _swap(mutant: Mutant, file: str, functions: _Functions) -> bool:
    """Put the mistake into the functions that are there."""
    done = False
    for code in _outermost(compile(mutant.tree(), file, "exec", dont_inherit=True)):
        if code.co_firstlineno == mutant.inside:
            for function in functions.get((code.co_qualname, code.co_firstlineno), ()):
                function.__code__ = code
                done = True
    return done
