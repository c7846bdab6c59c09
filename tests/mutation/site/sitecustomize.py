"""A mutant in an interpreter that starts: what is named in ``INTERLOCK_MUTANT`` is imported with its mistake.

This is how a mistake reaches the processes that a test starts, and what is done at import.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

_VARIABLE = "INTERLOCK_MUTANT"


class _Loader(SourceFileLoader):
    """Compiles a source with one mistake."""

    index: int

    def get_code(self, fullname: str) -> CodeType:
        """The code with the mistake, and no cached one."""
        path = self.get_filename(fullname)
        return compile(_mutants()(self.get_source(fullname) or "")[self.index].tree(), path, "exec", dont_inherit=True)


class Finder:
    """Finds one module, and leaves the others to the usual finders."""

    def __init__(self, module: str, index: int) -> None:
        self.module = module
        self.index = index

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the module is, with a loader of ours."""
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        loader = _Loader(fullname, spec.origin)
        loader.index = self.index
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=loader, submodule_search_locations=spec.submodule_search_locations
        )


def install(said: str) -> None:
    """Put the mistake in: ``module:index``, the index into `mutants` of its source."""
    module, index = said.split(":")
    sys.meta_path.insert(0, Finder(module, int(index)))


def _mutants():  # type: ignore[no-untyped-def]  # noqa: ANN202 - it is imported late
    from interlock.testing.mutation import mutants  # noqa: PLC0415 - a process that has no such module has none to wrong

    return mutants


if os.environ.get(_VARIABLE):
    install(os.environ[_VARIABLE])
