------------------------- MODULE QuiescentKillTrace -------------------------
(***************************************************************************)
(* Real runs, read as behaviours of QuiescentKill.                         *)
(*                                                                         *)
(* A run is a set of strands: what one thread of one process logged, in    *)
(* its order.  An event says which step it was, and between which two      *)
(* readings of the machine's clock it happened.  So an event may be taken  *)
(* as soon as no other is left that was over before it began.  The run is  *)
(* accepted if its events, each taken once, in some such order, are steps  *)
(* of the specification: then TLC prints ACCEPTED and the run's number.    *)
(* A run for which it prints none is rejected.                             *)
(*                                                                         *)
(* An event of a process that died in the midst of it may have happened or *)
(* not (may).  One step is not logged: a killer that waits again.          *)
(*                                                                         *)
(* The module TraceData is generated.  It defines Runs, a sequence of      *)
(* runs; a run is a sequence of strands, a strand one of events.           *)
(***************************************************************************)
EXTENDS QuiescentKill, Sequences, TLC, TraceData

VARIABLES
    run,    \* which run
    at      \* for each strand, the event that is next

traceVars == <<run, at>>

(* A run of which nothing was logged shows nothing. *)
ASSUME RunsAreRuns ==
    /\ Len(Runs) > 0
    /\ \A r \in DOMAIN Runs :
          /\ Len(Runs[r]) > 0
          /\ \A s \in DOMAIN Runs[r] :
                /\ Len(Runs[r][s]) > 0
                /\ \A i \in DOMAIN Runs[r][s] : Runs[r][s][i].lo <= Runs[r][s][i].hi
                /\ \A i \in 2 .. Len(Runs[r][s]) : Runs[r][s][i-1].hi <= Runs[r][s][i].hi

Strands == DOMAIN Runs[run]
Open(s) == at[s] <= Len(Runs[run][s])
Head1(s) == Runs[run][s][at[s]]

(* Nothing is left that was over before this began. *)
Ready(s) == \A o \in Strands : Open(o) => Head1(o).hi >= Head1(s).lo

TraceInit ==
    /\ Init
    /\ run \in DOMAIN Runs
    /\ at = [s \in DOMAIN Runs[run] |-> 1]

-----------------------------------------------------------------------------
(* What the code does and the specification does not have.  None of it     *)
(* makes anybody more sure.                                                *)

Nothing == UNCHANGED vars

(* An engine shuts its page, whatever the byte says: when it is out, and   *)
(* first of all when it halts itself.                                      *)
Shut(e) ==
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<mode, epoch, hold, em, asleep, child, worldVars, sh, fenced, seen>>

(* The lock is refused because a killer has it that will not confirm. *)
Refused(e) ==
    /\ hold[e] = "knocking"
    /\ hold' = [hold EXCEPT ![e] = "out"]
    /\ UNCHANGED <<mode, epoch, dead, em, asleep, child, worldVars, sh, fenced, seen>>

(* A killer has had the lock, but the roster is against it: unconfirmed. *)
Doubt(k) ==
    /\ pc[k] \in {"waiting", "timedout"}
    /\ pc' = [pc EXCEPT ![k] = "timedout"]
    /\ UNCHANGED <<engineVars, homeVars, ex, rs, saidVars, historyVars>>

(* A killer that has not got the lock in time looks at the byte when it    *)
(* has done all that it will do (it may send SIGKILL and wait once more),  *)
(* and then halts again if it must.  In the specification it looks at once.*)
(* Another killer may have had the lock all the while, and be in doubt.    *)
LooksLater(k) ==
    /\ pc[k] = "waiting"
    /\ ex # "none" \/ ~Quiet \/ \E j \in Killers \ {k} : pc[j] = "waiting"
    /\ pc' = [pc EXCEPT ![k] = "timedout"]
    /\ UNCHANGED <<engineVars, homeVars, ex, rs, saidVars, historyVars>>

CountsAgain(k) ==
    /\ pc[k] = "timedout"
    /\ Count
    /\ pc' = [pc EXCEPT ![k] = "counted"]
    /\ UNCHANGED <<engineVars, byte, recordVars, ex, rs, saidVars, historyVars>>

(* The record is written by a thread of its own, also while a killer that  *)
(* halts again is between the count and the byte.                          *)
TakesPenBeside(k) ==
    /\ pc[k] = "counted"
    /\ PenIsFree
    /\ latch = "ARMED"
    /\ pen[k] = 0
    /\ pen' = [pen EXCEPT ![k] = latchEpoch]
    /\ UNCHANGED <<engineVars, byte, latch, latchEpoch, markVars, ex, pc, rs, saidVars, historyVars>>

(* The pen is of no use any more; or it is taken twice, by the thread that *)
(* writes and by the one that looks again; or by an engine, which is held  *)
(* to no more than not to have it beside a reset.                          *)
Again(k) == IF k = "" \/ latch = "HALTED" THEN TRUE ELSE pen[k] # 0

(* A reset decides that nobody has halted, and gives the lock back then.   *)
(* In the specification that is one step, ResetEnd.                        *)
ResetDecides ==
    /\ rs = "armed"
    /\ ~raced
    /\ rs' = "done"
    /\ UNCHANGED <<engineVars, homeVars, ex, pc, saidVars, historyVars>>

ResetReleases ==
    /\ rs = "done"
    /\ ex = "operator"
    /\ ex' = "none"
    /\ UNCHANGED <<engineVars, homeVars, pc, rs, saidVars, historyVars>>

(* An engine writes the record for whoever set the byte, dead or slow. *)
WriteForOthers ==
    /\ byte = "HALT"
    /\ PenIsFree
    /\ latch = "ARMED"
    /\ latch' = "HALTED"
    /\ durable' = (durable \/ ackd)
    /\ UNCHANGED <<engineVars, byte, latchEpoch, pen, markVars, ex, pc, rs, ackd, historyVars>>

-----------------------------------------------------------------------------
(* The step of the specification that an event is. *)

Engine(v) ==
    LET e == v.e  t == v.x  ok == v.n = 1 IN
    CASE v.s = "CheckFirst" -> CheckFirst(e)
      [] v.s = "Enter"      -> IF ok THEN Enter(e) /\ hold'[e] = "entered"
                                     ELSE Refused(e)
      [] v.s = "CheckAgain" -> CheckAgain(e) /\ hold'[e] = (IF ok THEN "in" ELSE "out")
      [] v.s = "Start"      -> Start(e) /\ epoch[e] = v.n
      [] v.s = "Grant"      -> Grant(e, t)
      [] v.s = "Announce"   -> Announce(e, t)
      [] v.s = "Look"       -> Look(e, t)
      [] v.s = "Retract"    -> Retract(e, t)
      [] v.s = "End"        -> End(e, t)
      [] v.s = "See"        -> See(e) \/ (dead[e] /\ Nothing) \/ Shut(e)
      [] v.s = "Retire"     -> Retire(e) \/ See(e) \/ (dead[e] /\ Nothing) \/ Shut(e)
      [] v.s = "Leave"      -> Leave(e)
      [] v.s = "Observe"    -> Observe(e)
      [] v.s = "Adopt"      -> Adopt(e) /\ latchEpoch = v.n
      [] v.s = "Revive"     -> Revive(e) \/ (~dead[e] /\ Nothing)
      [] v.s = "Drain"      -> Drain(e)
      [] v.s = "Stop"       -> Stop(e)
      [] v.s = "Crash"      -> Crash(e) \/ (v.x # "" /\ Escalate(v.x, e))
      [] v.s = "Restart"    -> Restart(e) /\ mode'[e] = v.x /\ latchEpoch = v.n
      [] v.s = "Suspend"    -> Suspend(e)
      [] v.s = "Resume"     -> Resume(e)

Killer(v) ==
    LET k == v.x IN
    CASE v.s = "CountHalt"    -> CountHalt(k) \/ CountsAgain(k)
      [] v.s = "SetByte"      -> SetByte(k)
      [] v.s = "TakePen"      -> \/ k # "" /\ (TakePen(k) \/ TakesPenBeside(k))
                                 \/ PenIsFree /\ Again(k) /\ Nothing
      [] v.s = "DropPen"      -> (k # "" /\ DropPen(k)) \/ Nothing
      [] v.s = "WriteLatch"   -> /\ latchEpoch = v.n
                                 /\ \/ k # "" /\ WriteLatch(k)
                                    \/ k = "" /\ WriteForOthers
                                    \/ PenIsFree /\ latch = "HALTED" /\ Nothing
      [] v.s = "WaitQuiet" -> WaitQuiet(k)
      [] v.s = "LookAgain"    -> LookAgain(k)
      [] v.s = "Ack"          -> Ack(k)
      [] v.s = "TimeOut"      -> LooksLater(k) \/ (pc[k] = "timedout" /\ Nothing)
      [] v.s = "LastLook"     -> byte = "HALT" /\ Nothing
      [] v.s = "Doubt"        -> Doubt(k)
      [] v.s = "Escalate"     -> pc[k] = "timedout" /\ Nothing
      [] v.s = "KillerDies"   -> KillerDies(k)

Reset(v) ==
    CASE v.s = "ResetBegin"  -> ResetBegin
      [] v.s = "ResetLatch"  -> ResetLatch /\ latchEpoch' = v.n
      [] v.s = "ResetByte"   -> ResetByte
      [] v.s = "ResetDecides" -> ResetDecides
      [] v.s = "ResetEnd"    -> ResetReleases
      [] v.s = "ResetYields" -> ResetYields
      [] v.s = "ResetUndone" -> ResetUndone
      [] v.s = "ResetDies"   -> ResetDies \/ ResetReleases

KillerSteps == {"CountHalt", "SetByte", "TakePen", "DropPen", "WriteLatch", "WaitQuiet", "LookAgain", "Ack",
                "TimeOut", "LastLook", "Doubt", "Escalate", "KillerDies"}
ResetSteps  == {"ResetBegin", "ResetLatch", "ResetByte", "ResetDecides", "ResetEnd", "ResetYields",
                "ResetUndone", "ResetDies"}

Match(v) ==
    CASE v.s \in KillerSteps -> Killer(v)
      [] v.s \in ResetSteps  -> Reset(v)
      [] OTHER               -> Engine(v)

Take(s) ==
    /\ Open(s)
    /\ Ready(s)
    /\ Match(Head1(s)) \/ (Head1(s).may /\ Nothing)
    /\ at' = [at EXCEPT ![s] = @ + 1]
    /\ UNCHANGED run

(* Not logged. *)
Silent(s) ==
    /\ Open(s)
    /\ Ready(s)
    /\ Head1(s).s = "WaitQuiet"
    /\ WaitAgain(Head1(s).x)
    /\ UNCHANGED traceVars

TraceNext == \E s \in Strands : Take(s) \/ Silent(s)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, traceVars>>

-----------------------------------------------------------------------------
Done == \A s \in Strands : ~Open(s)

(* Always true: it prints. *)
Accepts == Done => PrintT(<<"ACCEPTED", run>>)

(* For one run alone, to see how far it gets: register 1 counts. *)
Taken == LET Sum[i \in 0 .. Len(Runs[run])] == IF i = 0 THEN 0 ELSE Sum[i-1] + at[i]
         IN  Sum[Len(Runs[run])]
Goes == IF Taken > TLCGet(1)
        THEN TLCSet(1, Taken) /\ PrintT(<<"REACHED", at, mode, dead, hold, em, asleep, byte,
                                          latch, latchEpoch, pen, raced, sh, ex, pc, rs>>)
        ELSE TRUE
ASSUME TLCSet(1, 0)
=============================================================================
