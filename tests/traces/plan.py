"""Plans of runs: who is struck by what, and when. Random ones by a seed; and directed ones, one idea each.

A directed plan strikes at one named step in one way, and brings about what has to happen for that step to be
taken at all. Each seeded bug has one that leads straight to what is wrong with it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.traces.bugs import BUGS, NONE
from tests.traces.log import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES: Final = ("a", "b", "c")
KILLERS: Final = ("k", "l")
OPERATOR: Final = "o"

ENGINE_STEPS: Final = (
    *("CheckFirst", "Enter", "CheckAgain", "Start", "Grant", "Announce", "Look", "Retract", "End"),
    *("See", "Leave", "Observe", "Adopt", "Revive"),
)
KILLER_STEPS: Final = (
    *("CountHalt", "SetByte", "TakePen", "WriteLatch", "WaitQuiet", "LookAgain", "Ack", "TimeOut", "LastLook"),
    "Escalate",
)
RESET_STEPS: Final = ("ResetBegin", "ResetLatch", "ResetByte", "ResetDecides", "ResetEnd", "ResetYields", "ResetUndone")
ACTS: Final = ("kill", "stop", "pause")


@attrs.frozen(kw_only=True)
class Plan:
    """One run.

    Attributes:
        name: of it.
        seed: for what is left to chance.
        bug: which one is seeded.
        faults: what befalls whom.
        phases: how often the engines are started, and halted.
        timeout_s: how long the killers wait for quiet.
        escalate: the killers that send SIGKILL then.
        self_halt: the engines that halt the home themselves, beside the killers.
        respawn: when an engine that died is started again: before the reset, or after it.
        replace_lock: whether somebody replaces the lock file while the engines send.
        both: whether the second killer comes at the same time; else after the first.
        reset: whether the home is reset between two phases; else it is only tried to start again.
    """

    name: str
    seed: int
    bug: str = NONE
    faults: tuple[Fault, ...] = ()
    phases: int = 2
    timeout_s: float = 0.2
    escalate: tuple[str, ...] = ()
    self_halt: tuple[str, ...] = ()
    respawn: str = "after"
    replace_lock: bool = False
    both: bool = True
    reset: bool = True


def random_plan(seed: int, bug: str = NONE) -> Plan:
    """Whatever the seed says."""
    dice = random.Random(seed)  # noqa: S311 - a plan is no secret
    faults = []
    for _ in range(dice.randint(1, 3)):
        who, steps = dice.choice(
            [(name, (*ENGINE_STEPS, "Send")) for name in ENGINES] * 2
            + [(name, KILLER_STEPS) for name in KILLERS] * 2
            + [(OPERATOR, RESET_STEPS)]
        )
        step = dice.choice(steps)
        often = step in {"Grant", "Announce", "Look", "End", "Send"}
        when = "before" if step == "Send" else dice.choice(("before", "after"))
        faults.append(
            Fault(
                who=who,
                step=step,
                when=when,  # type: ignore[arg-type]
                nth=dice.randint(1, 12) if often else dice.randint(1, 2),
                act=dice.choice(ACTS),  # type: ignore[arg-type]
                until=dice.choice(("seen", "ack", "ack", "reset")),  # type: ignore[arg-type]
            )
        )
    return Plan(
        name=f"random-{seed}",
        seed=seed,
        bug=bug,
        faults=tuple(faults),
        phases=dice.choice((1, 2, 2)),
        timeout_s=dice.choice((0.05, 0.2)),
        escalate=dice.choice(((), (), ("k",), ("l",), KILLERS)),
        self_halt=dice.choice(((), (), ("a",))),
        respawn=dice.choice(("before", "after")),
        both=dice.random() < 0.7,
        reset=dice.random() < 0.85,
    )


_HUNG: Final = Fault(who="a", step="Send", when="before", nth=2, act="pause", until="ack")
_LATE: Final = Fault(who="a", step="Announce", when="after", nth=4, act="pause", until="ack")
_SLOW: Final = Fault(who="k", step="SetByte", when="after", act="pause", until="reset")
_ALONE: Final = tuple(Fault(who=name, step="Look", nth=2, act="kill") for name in ENGINES)
_SLOW_RECORD: Final[dict[str, Any]] = {
    "faults": (*_ALONE, Fault(who="k", step="WriteLatch", when="before", until="reset")),
    "both": False,
}

_SCENES: Final[dict[str, dict[str, Any]]] = {
    "Retract": {"faults": (_LATE,)},
    "LookAgain": {"faults": (_SLOW,)},
    "TimeOut": {"faults": (_HUNG,)},
    "LastLook": {"faults": (_HUNG,)},
    "Escalate": {"faults": (_HUNG,), "escalate": ("k",)},
    "ResetYields": {
        "faults": (
            Fault(who=OPERATOR, step="ResetBegin", act="pause", until="ack"),  # then somebody halts
        )
    },
    "TakePen": {"faults": _ALONE, "both": False},
    "WriteLatch": {"faults": _ALONE, "both": False},
}
"""What it takes for a step to happen that does not happen in every run."""


def directed(step: str, act: str, seed: int) -> Plan:
    """Strike at one step."""
    scene = dict(_SCENES.get("ResetYields" if step == "ResetUndone" else step, {}))
    who = "a" if step in ENGINE_STEPS else "k" if step in KILLER_STEPS else OPERATOR
    often = step in {"Grant", "Announce", "Look", "End"}
    struck = Fault(
        who=who,
        step=step,
        nth=5 if often else 1,
        act=act,  # type: ignore[arg-type]
        until="reset" if seed % 2 and step in ENGINE_STEPS else "ack",
    )
    scene["faults"] = (*scene.get("faults", ()), struck)
    return Plan(name=f"{step}-{act}-{seed}", seed=seed, respawn=("before", "after")[seed % 2], **scene)


def every_step(rounds: int) -> Iterator[Plan]:
    """A plan for every named step and every fault, so many times over."""
    for seed in range(rounds):
        for step in (*ENGINE_STEPS, *KILLER_STEPS, *RESET_STEPS):
            for act in ACTS:
                yield directed(step, act, seed)


def slow_record(seed: int) -> Plan:
    """A killer is held up between reading the record and replacing it, until after the reset. Nobody else is there."""
    return Plan(name=f"slow-record-{seed}", seed=seed, **_SLOW_RECORD)


def late_start(seed: int) -> Plan:
    """An engine is held up in its start, between its first look and the lock, through a halt and a reset."""
    return Plan(name=f"late-start-{seed}", seed=seed, faults=(Fault(who="b", step="CheckFirst", until="reset"),))


_IN_SEND: Final = attrs.evolve(_HUNG, until="reset")
_FOR_BUG: Final[dict[str, dict[str, Any]]] = {
    "check-before-lock": {"faults": (Fault(who="a", step="Enter", when="before"),)},
    "release-before-send": {"faults": (_IN_SEND,)},
    "ack-without-waiting": {"faults": (_IN_SEND,)},
    "look-before-announce": {"faults": (Fault(who="a", step="Announce", when="before", nth=5),)},
    "leave-while-announced": {"faults": (_IN_SEND,)},
    "page-not-dead": {"faults": (Fault(who="a", step="Grant", nth=5, until="reset"),)},
    "shared-description": {"faults": (_IN_SEND,)},
    "no-look-again": {"faults": (Fault(who="k", step="WaitQuiet", when="before", until="reset"),)},
    "inode-not-looked-at": {"faults": (_IN_SEND,), "replace_lock": True, "phases": 1},
    "reset-without-lock": {"faults": (_IN_SEND,)},
    "restart-arms": {
        "faults": (Fault(who="a", step="Look", nth=5, act="kill"),),
        "respawn": "before",
        "reset": False,
    },
    "byte-after-ack": {"faults": ()},
    "no-pen": _SLOW_RECORD,
}


def for_bug(bug: str, seed: int, *, seeded: bool = True) -> Plan:
    """The plan that leads to what is wrong; the same with the right code, if not ``seeded``."""
    return Plan(name=f"{bug}-{seed}", seed=seed, bug=bug if seeded else NONE, **_FOR_BUG[bug])


if set(_FOR_BUG) != set(BUGS):
    raise RuntimeError(set(_FOR_BUG) ^ set(BUGS))
