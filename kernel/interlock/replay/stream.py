"""A whole journal: runs, recoveries, limits.

A kernel that attaches plays all of its journal into a fresh core (`interlock.core.restore`), and goes on from
there. So does the replay, but in one pass: beside the core of the run that goes on, one *shadow* for each set
of limits takes every record as an attach would, and a new run begins with a copy of it. Memory is what a kernel
has, whatever the journal's length.

What a recovery carried over belongs to the run before it, and is played there, before the new run begins.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, cast

from interlock.core.modes import Mode
from interlock.core.preorder import Core
from interlock.core.restore import Restorer
from interlock.replay.inputs import text, whole
from interlock.replay.report import Gap, Report, Unplayable
from interlock.replay.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.limits import Limits
    from interlock.replay.report import Difference

__all__ = ["Replay"]

Record = dict[str, object]
_FRAME: Final = frozenset({"seal", "segment", "checkpoint", "anchor"})
"""Kinds that hold the journal together, and stand between any two others."""

_DECIDED: Final = frozenset({"start", "block", "quote", "trade", "permit", "refuse", "flood"})
"""Kinds that only a kernel writes that was asked for a decision."""


class Replay:
    """Feed it the records of one engine's journal, from the first, in order.

    Args:
        limits: by the SHA-256 of their file, in hex, as `run` names it.
        core: what decides; another than the kernel's shows what that one would have decided.
        instead: limits to decide by, whatever the runs had: what would these have refused? Each decision is then
            judged where the journal's own history had led to.

    Attributes:
        report: counts, and what can't be replayed.
    """

    def __init__(self, limits: Mapping[str, Limits], *, core: type[Core] = Core, instead: Limits | None = None) -> None:
        self.report = Report()
        self._instead = instead is not None
        known = {"": instead} if instead is not None else limits
        self._shadows = {name: Restorer(core(one, 1, Mode.HALTED), name) for name, one in known.items()}
        self._session: Session | None = None
        self._run: Record | None = None
        self._lacking: str | None = None
        """Why not all of the run's decisions can be made again, as long as it has made none."""
        self._halted = False
        self._nested: set[int] = set()

    def feed(self, record: Record) -> tuple[Difference, ...]:
        """Take one decoded line.

        Returns:
            What the core does not decide as it stands there, or as the next records tell.
        """
        self.report.records += 1
        kind, seq = record.get("kind"), record.get("seq")
        if not isinstance(seq, int) or not isinstance(kind, str):
            self._give_up(self.report.records - 1, "it is no record; see `interlock verify`")
            return ()
        try:
            return tuple(self._take(record, kind, seq))
        except Unplayable as error:
            self._give_up(seq, f"{kind}: {error}; see `interlock verify`")
        except Exception as error:  # noqa: BLE001 - whatever it is that can't be played, no kernel of ours wrote it
            self._give_up(seq, f"{kind}: {type(error).__name__}: {error}; see `interlock verify`")
        return ()

    def _give_up(self, seq: int, why: str) -> None:
        self.report.gaps.append(Gap(seq=seq, why=f"cannot be replayed: {why}"[:500]))
        self._session = None
        self._run = None

    def _take(self, record: Record, kind: str, seq: int) -> list[Difference]:
        if kind in _FRAME:
            return []
        if kind == "run":
            if self._run is not None:
                self._attach(recorded=True)  # it ended before it had done anything
            self._lacking = None
            self._run = record
            self._nested.clear()
            return []
        if kind == "recover":
            return []
        if kind == "salvage":
            return self._carry(_inner(record), seq, 1)
        if self._run is not None:
            self._attach(recorded=kind == "inputs")
        self._shadow(record)
        return self._play(record, seq)

    def _carry(self, record: Record, seq: int, depth: int) -> list[Difference]:
        """A record that was carried over: the run before played it, or it tells of a recovery that was cut off."""
        kind = text(record, "kind")
        if kind == "salvage":
            return self._carry(_inner(record), seq, depth + 1)
        self._shadow(record)
        if kind == "run":
            self._nested.add(depth)
        if kind in _FRAME or kind in {"run", "recover"} or depth in self._nested:
            return []
        return self._play(record, seq)

    def _shadow(self, record: Record) -> None:
        """Every record that an attach would read."""
        for shadow in self._shadows.values():
            shadow.play(record)
        kind = record["kind"]
        if kind in {"halt", "reset"}:
            self._halted = kind == "halt"

    def _play(self, record: Record, seq: int) -> list[Difference]:
        if self._lacking is not None and record["kind"] in _DECIDED:
            self.report.gaps.append(Gap(seq=seq, why=self._lacking))
            self._lacking = None
        return self._session.feed(record, seq) if self._session is not None else []

    def _attach(self, *, recorded: bool) -> None:
        """The run begins: a core from the shadow, in the mode that the journal ends in."""
        run, self._run = self._run, None
        self._session = None
        if run is None:
            return
        self.report.runs += 1
        shadow = self._shadows.get("" if self._instead else text(run, "limits"))
        if shadow is None:
            self._lacking = f"the limits of this run are not at hand: their file has SHA-256 {text(run, 'limits')}"
            return
        if not recorded:
            self._lacking = "no recorded inputs; of gate 2, what does not need them was compared"
        restorer = copy.deepcopy(shadow)
        restorer.finish()
        core = cast("Core", restorer.core)
        core.epoch = whole(run, "epoch")
        core.mode = Mode.HALTED if self._halted else Mode.IDLE
        self._session = Session(core, self.report)


def _inner(record: Record) -> Record:
    inner = record["record"]
    if not isinstance(inner, dict):
        message = "it carries no record"
        raise Unplayable(message)
    return inner
