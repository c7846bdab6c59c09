"""Which defect breaks which claim, and which attack alone finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.testing.conformance import Claim, Effort

from . import alone, defects

if TYPE_CHECKING:
    from interlock.testing.conformance import Adapter

QUICK: Final = Effort(attempts=500, steps=25, shrinks=False)
"""An attempt takes some milliseconds; what takes long is to shrink."""

FOUND: Final[dict[type[Adapter], tuple[Claim, str]]] = {
    defects.EmulatorBypassesTheGate: (Claim.NO_EMIT_AFTER_HALT, "hold"),
    defects.RaisingCheckLetsThrough: (Claim.CHECKS_FAIL_CLOSED, "raise_in_the_check"),
    defects.StopIsForgotten: (Claim.HALT_IS_LATCHING, "restart"),
    defects.KillCancelsItself: (Claim.STOP_FINISHES, ""),
    defects.ReduceOnlyFlips: (Claim.REDUCE_ONLY_NEVER_FLIPS, "fill"),
    defects.ReduceOnlyOpens: (Claim.REDUCE_ONLY_NEVER_FLIPS, "submit_exit"),
    defects.HandlerEndsTheLoop: (Claim.LOOP_SURVIVES, "raise_in_the_strategy"),
    defects.MissingDirectoryMeansRunning: (Claim.ABSENCE_MEANS_HALTED, ""),
    defects.HaltIsForgottenByTheQueue: (Claim.NO_EMIT_AFTER_HALT, "queue"),
    alone.LooksBeforeTheCheck: (Claim.NO_EMIT_AFTER_HALT, "halt_inside_the_check"),
    alone.HaltFromOutsideIsPolled: (Claim.NO_EMIT_AFTER_HALT, "halt_from_outside"),
    alone.StrategyCannotHalt: (Claim.NO_EMIT_AFTER_HALT, "halt_inside_the_strategy"),
    alone.LeaksLate: (Claim.NO_EMIT_AFTER_HALT, "submit_many"),
    alone.SecondStartClearsTheHalt: (Claim.HALT_IS_LATCHING, "start_again"),
    alone.HaltExpires: (Claim.HALT_IS_LATCHING, "wait"),
    alone.HaltIsForToday: (Claim.HALT_IS_LATCHING, "step_clock"),
    defects.HaltWaitsForTheSend: (Claim.HALT_NEVER_WAITS, "halt_inside_a_send"),
    alone.HaltWaitsForTheCheck: (Claim.HALT_NEVER_WAITS, "halt_inside_the_check"),
    defects.AckIsAHope: (Claim.ACK_MEANS_QUIESCENT, "halt_inside_a_send"),
    alone.LatchIsReadAtTheStart: (Claim.ABSENCE_MEANS_HALTED, "lose"),
    alone.EmptyLatchIsArmed: (Claim.ABSENCE_MEANS_HALTED, "lose_while_down"),
    defects.RecordComesLater: (Claim.JOURNAL_BEFORE_EMIT, ""),
    defects.CancelsAreTrapped: (Claim.CANCELS_ALWAYS_PASS, "cancel"),
    defects.LostAnswerIsTriedAgain: (Claim.ONE_PERMIT_ONE_SEND, "fail_next"),
    alone.RecoverySendsAgain: (Claim.ONE_PERMIT_ONE_SEND, "crash_inside_a_send"),
    alone.IdsAreForgotten: (Claim.ONE_PERMIT_ONE_SEND, "submit_again"),
    defects.DecidesByChance: (Claim.DETERMINISTIC, ""),
    defects.StaleTicksAreTraded: (Claim.BAD_TICKS_REFUSE, "stale_tick"),
    defects.CrossedTicksAreTraded: (Claim.BAD_TICKS_REFUSE, "crossed_tick"),
    alone.HaltOnlyByItsThread: (Claim.STOP_FINISHES, "halt_from_a_thread"),
    alone.CancelThatFailsEndsTheStop: (Claim.STOP_FINISHES, "fail_next_cancel"),
}
"""The claim that a defect breaks; and the attack without which that is not found, or empty if several find it."""

PEERS: Final[dict[type[Adapter], str]] = {
    defects.EmulatorBypassesTheGate: "an emulator that bypasses the gate",
    defects.RaisingCheckLetsThrough: "a callback that fails open",
    defects.StopIsForgotten: "a stop that is not kept",
    defects.KillCancelsItself: "a kill that cancels itself",
    defects.ReduceOnlyFlips: "reduce-only that flips",
    defects.HandlerEndsTheLoop: "an exception in a handler that ends the loop",
    defects.MissingDirectoryMeansRunning: "a missing directory that means running",
}
"""The defects that were seen in systems in use, in words."""
