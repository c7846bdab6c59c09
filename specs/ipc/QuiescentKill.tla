---------------------------- MODULE QuiescentKill ----------------------------
(***************************************************************************)
(* A kill that is acknowledged: when it says "confirmed", nobody who is    *)
(* attached to the home is sending, nor can begin to before a reset.       *)
(*                                                                         *)
(* Engines, killers and an operator's reset are processes.  Each may die   *)
(* between any two steps, engines may be suspended, and all meet in three  *)
(* things only: a byte of shared memory, a record on the disk, and a lock  *)
(* that the operating system drops with its last holder.  An engine holds  *)
(* the lock, shared, while it may send.  A killer sets the byte and then   *)
(* waits until it has the lock exclusively.                                *)
(*                                                                         *)
(* Two orders of two acts carry the argument.  A thread announces its send *)
(* and looks at the byte then; who wants to let go makes the engine's own  *)
(* page dead and looks for announcements then.  And the page is dead       *)
(* before the lock is let go, and no reset by others revives it.           *)
(*                                                                         *)
(* A watchdog is a killer, and so is an engine that halts itself: the      *)
(* killer's steps are the same, whoever takes them and for what reason.    *)
(* A record that cannot be written, on a full disk, is a WriteLatch that   *)
(* has not happened yet: no step waits for it.  Who writes it reads it     *)
(* first, and may be held up between the two for as long as you like.  So  *)
(* there is a second lock, the pen, which killers share and a reset has    *)
(* alone; no killer waits for it, either.                                  *)
(*                                                                         *)
(* Seen from one engine, all this is Kernel.tla: see RefinesKernel.        *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANTS
    Engines,    \* the engine processes
    Emitters,   \* the sending threads of each
    Killers,    \* the processes that halt
    Mortal,     \* those killers that may die or give up; the others persist
    Sleepers,   \* the engines that may be suspended
    Forkers,    \* the engines that may fork
    MaxEpoch,   \* how many epochs to explore; a bound on the model only
    Once        \* whether an emitter sends one order and no more, as one order id does

ASSUME BoundsOK ==
    /\ Engines # {} /\ Emitters # {} /\ Killers # {}
    /\ Mortal \subseteq Killers
    /\ Sleepers \subseteq Engines /\ Forkers \subseteq Engines
    /\ MaxEpoch \in Nat \ {0}
    /\ Once \in BOOLEAN

-----------------------------------------------------------------------------
VARIABLES
    (* Each engine's own memory. *)
    mode,        \* as in Kernel.tla; DRAINING is RUNNING with the gate closed
    epoch,       \* the epoch that it has adopted
    dead,        \* its page is dead: it means halt, whatever the byte says
    hold,        \* "out", "knocking", "entered" or "in": its hold on the lock
    em,          \* what each emitter is doing

    (* What the operating system knows of each engine. *)
    asleep,      \* the engines that are suspended
    child,       \* "none", "inherits" (a forked child), "orphan" (its parent died)

    (* The home, seen by everybody. *)
    byte,        \* byte 0 of the page: "ARMED" or "HALT"
    latch,       \* the record on the disk: "ARMED" or "HALTED"
    latchEpoch,  \* the epoch in it
    pen,         \* for each killer: the epoch in the record that it is replacing,
                 \* with the pen in its hand; 0: it is not
    raced,       \* the page's halt count is not what the last reset began with,
                 \* and what it armed the byte for
    sh,          \* who holds the running lock shared
    ex,          \* who holds it exclusively: a killer, "operator" or "none"

    (* Killers, and the reset. *)
    pc,          \* where each killer is
    rs,          \* where the reset is

    (* What was said of the current epoch: a reset clears both. *)
    ackd,        \* a killer said confirmed
    durable,     \* a killer said confirmed and durable

    (* History.  No action reads these; the properties and the mapping do. *)
    fenced,      \* for each engine: there has been a halt since its last start
    owed,        \* there has been a halt since the last reset began
    arms,        \* the epochs in which the byte was armed
    seen         \* for each engine: how many those were when it adopted its epoch

recordVars  == <<latch, latchEpoch, pen>>
markVars    == <<raced, owed>>
homeVars    == <<byte, recordVars, markVars>>
lockVars    == <<sh, ex>>
saidVars    == <<ackd, durable>>
historyVars == <<fenced, arms, seen>>
worldVars   == <<homeVars, ex, pc, rs, saidVars, arms>>
vars == <<mode, epoch, dead, hold, em, asleep, child, byte, latch, latchEpoch, pen, raced,
          sh, ex, pc, rs, ackd, durable, fenced, owed, arms, seen>>

-----------------------------------------------------------------------------
(***************************************************************************)
(*   idle       has nothing to send                                        *)
(*   held       as idle, with an order that was granted and not sent       *)
(*   granted    gate 2 has passed its order                                *)
(*   announced  has said that it is about to send                          *)
(*   sending    looked at the byte after that, and is inside the send      *)
(*   done, unknown, lost   where Once: the send returned; the engine died  *)
(*              in the send; it died before the send                       *)
(***************************************************************************)
Statuses == {"idle", "held", "granted", "announced", "sending", "done", "unknown", "lost"}

TypeOK ==
    /\ mode \in [Engines -> {"IDLE", "RUNNING", "DRAINING", "HALTED", "DOWN"}]
    /\ epoch \in [Engines -> 1 .. MaxEpoch]
    /\ dead \in [Engines -> BOOLEAN]
    /\ hold \in [Engines -> {"out", "knocking", "entered", "in"}]
    /\ em \in [Engines -> [Emitters -> Statuses]]
    /\ asleep \subseteq Sleepers
    /\ child \in [Engines -> {"none", "inherits", "orphan"}]
    /\ byte \in {"ARMED", "HALT"}
    /\ latch \in {"ARMED", "HALTED"}
    /\ latchEpoch \in 1 .. MaxEpoch
    /\ pen \in [Killers -> 0 .. MaxEpoch]
    /\ raced \in BOOLEAN
    /\ sh \subseteq Engines
    /\ ex \in Killers \union {"operator", "none"}
    /\ pc \in [Killers -> {"idle", "counted", "waiting", "exclusive", "acked", "timedout", "gone"}]
    /\ rs \in {"idle", "begun", "latched", "armed", "yielding", "done"}
    /\ ackd \in BOOLEAN
    /\ durable \in BOOLEAN
    /\ fenced \in [Engines -> BOOLEAN]
    /\ owed \in BOOLEAN
    /\ arms \subseteq 1 .. MaxEpoch
    /\ seen \in [Engines -> 1 .. MaxEpoch]
    /\ \A e \in Engines : e \in sh <=> hold[e] \in {"entered", "in"}

Init ==
    /\ mode = [e \in Engines |-> "IDLE"]
    /\ epoch = [e \in Engines |-> 1]
    /\ dead = [e \in Engines |-> FALSE]
    /\ hold = [e \in Engines |-> "out"]
    /\ em = [e \in Engines |-> [t \in Emitters |-> "idle"]]
    /\ asleep = {}
    /\ child = [e \in Engines |-> "none"]
    /\ byte = "ARMED"
    /\ latch = "ARMED"
    /\ latchEpoch = 1
    /\ pen = [k \in Killers |-> 0]
    /\ raced = FALSE
    /\ sh = {}
    /\ ex = "none"
    /\ pc = [k \in Killers |-> "idle"]
    /\ rs = "idle"
    /\ ackd = FALSE
    /\ durable = FALSE
    /\ fenced = [e \in Engines |-> FALSE]
    /\ owed = FALSE
    /\ arms = {1}
    /\ seen = [e \in Engines |-> 1]

-----------------------------------------------------------------------------
(* What several actions share. *)

Alive(e)    == mode[e] # "DOWN"
Awake(e)    == Alive(e) /\ e \notin asleep
Believes(e) == byte = "ARMED" /\ ~dead[e]
Working(e)  == mode[e] \in {"RUNNING", "DRAINING"}
Busy(e)     == \E t \in Emitters : em[e][t] \in {"announced", "sending"}

(* Nobody holds the lock shared, neither an engine nor a dead one's child. *)
Quiet == sh = {} /\ \A e \in Engines : child[e] # "orphan"

(* What an emitter becomes: it is used again, unless it sends only Once. *)
Left(s) == IF Once THEN s ELSE "idle"

(* Halting sets the byte, in whatever step, and that is a fence for all. *)
HaltByte ==
    /\ byte' = "HALT"
    /\ fenced' = IF byte = "ARMED" THEN [e \in Engines |-> TRUE] ELSE fenced

(* The page's halt count is raised: it is not the one that a reset noted,  *)
(* or has armed the byte for.                                              *)
Count == raced' = TRUE /\ owed' = TRUE

(* Nobody has the pen alone. *)
PenIsFree == rs \in {"idle", "done"}

(* A process ends, and its locks go with it, but for what a child holds. *)
Die(e) ==
    /\ mode' = [mode EXCEPT ![e] = "DOWN"]
    /\ dead' = [dead EXCEPT ![e] = FALSE]
    /\ hold' = [hold EXCEPT ![e] = "out"]
    /\ em' = [em EXCEPT ![e] = [t \in Emitters |->
          CASE @[t] \in {"granted", "announced"} ->
                   Left(IF Working(e) /\ ~dead[e] THEN "lost" ELSE "held")
            [] @[t] = "sending" -> Left("unknown")
            [] OTHER -> @[t]]]
    /\ asleep' = asleep \ {e}
    /\ child' = [child EXCEPT ![e] =
          IF @ = "inherits" THEN (IF e \in sh THEN "orphan" ELSE "none") ELSE @]
    /\ sh' = sh \ {e}

-----------------------------------------------------------------------------
(* An engine takes the lock, and starts. *)

(* The look that keeps engines from coming in under a halt, one after the  *)
(* other, so that the lock is never free.                                  *)
CheckFirst(e) ==
    /\ Awake(e)
    /\ mode[e] = "IDLE"
    /\ hold[e] = "out"
    /\ Believes(e)
    /\ hold' = [hold EXCEPT ![e] = "knocking"]
    /\ UNCHANGED <<mode, epoch, dead, em, asleep, child, worldVars, sh, fenced, seen>>

(* Take it shared, unless somebody has it exclusively. *)
Enter(e) ==
    /\ Awake(e)
    /\ hold[e] = "knocking"
    /\ IF ex = "none"
       THEN hold' = [hold EXCEPT ![e] = "entered"] /\ sh' = sh \union {e}
       ELSE hold' = [hold EXCEPT ![e] = "out"] /\ sh' = sh
    /\ UNCHANGED <<mode, epoch, dead, em, asleep, child, worldVars, fenced, seen>>

(* Stay only if the byte still says so. *)
CheckAgain(e) ==
    /\ Awake(e)
    /\ hold[e] = "entered"
    /\ IF Believes(e)
       THEN hold' = [hold EXCEPT ![e] = "in"] /\ sh' = sh
       ELSE hold' = [hold EXCEPT ![e] = "out"] /\ sh' = sh \ {e}
    /\ UNCHANGED <<mode, epoch, dead, em, asleep, child, worldVars, fenced, seen>>

(* IDLE to RUNNING, inside, when byte and record agree with the engine,    *)
(* and the byte was armed after the last halt.                             *)
Start(e) ==
    /\ Awake(e)
    /\ mode[e] = "IDLE"
    /\ hold[e] = "in"
    /\ Believes(e)
    /\ latch = "ARMED" /\ epoch[e] = latchEpoch
    /\ ~raced
    /\ mode' = [mode EXCEPT ![e] = "RUNNING"]
    /\ fenced' = [fenced EXCEPT ![e] = FALSE]
    /\ UNCHANGED <<epoch, dead, hold, em, asleep, child, worldVars, sh, seen>>

-----------------------------------------------------------------------------
(* An emitter sends. *)

(* Gate 2. *)
Grant(e, t) ==
    /\ Awake(e)
    /\ mode[e] = "RUNNING"
    /\ Believes(e)
    /\ em[e][t] \in {"idle", "held"}
    /\ em' = [em EXCEPT ![e][t] = "granted"]
    /\ UNCHANGED <<mode, epoch, dead, hold, asleep, child, worldVars, sh, fenced, seen>>

(* Say that a send is about to begin: before the look, not after it. *)
Announce(e, t) ==
    /\ Awake(e)
    /\ Working(e)
    /\ em[e][t] = "granted"
    /\ em' = [em EXCEPT ![e][t] = "announced"]
    /\ UNCHANGED <<mode, epoch, dead, hold, asleep, child, worldVars, sh, fenced, seen>>

(* The last look.  From here on the send is beyond recall. *)
Look(e, t) ==
    /\ Awake(e)
    /\ em[e][t] = "announced"
    /\ Believes(e)
    /\ em' = [em EXCEPT ![e][t] = "sending"]
    /\ UNCHANGED <<mode, epoch, dead, hold, asleep, child, worldVars, sh, fenced, seen>>

(* The same look, when it finds a halt: not sent, and the halt is seen. *)
Retract(e, t) ==
    /\ Awake(e)
    /\ em[e][t] = "announced"
    /\ ~Believes(e)
    /\ em' = [em EXCEPT ![e][t] = Left("held")]
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<mode, epoch, hold, asleep, child, worldVars, sh, fenced, seen>>

(* The send returned or raised.  It may hang: then this never comes. *)
End(e, t) ==
    /\ Awake(e)
    /\ em[e][t] = "sending"
    /\ em' = [em EXCEPT ![e][t] = Left("done")]
    /\ UNCHANGED <<mode, epoch, dead, hold, asleep, child, worldVars, sh, fenced, seen>>

-----------------------------------------------------------------------------
(* An engine sees a halt, and lets go. *)

(* By the lookout, or by any thread that passes. *)
See(e) ==
    /\ Awake(e)
    /\ byte = "HALT"
    /\ ~dead[e]
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<mode, epoch, hold, em, asleep, child, worldVars, sh, fenced, seen>>

(* The page is dead, and after that nothing was found announced. *)
Leave(e) ==
    /\ Awake(e)
    /\ hold[e] = "in"
    /\ dead[e]
    /\ ~Busy(e)
    /\ hold' = [hold EXCEPT ![e] = "out"]
    /\ sh' = sh \ {e}
    /\ UNCHANGED <<mode, epoch, dead, em, asleep, child, worldVars, fenced, seen>>

(* The mode follows, at the heartbeat, and permits not used are void. *)
Observe(e) ==
    /\ Awake(e)
    /\ \/ byte = "HALT" /\ mode[e] \in {"IDLE", "RUNNING", "DRAINING"}
       \/ dead[e] /\ Working(e)
    /\ mode' = [mode EXCEPT ![e] = "HALTED"]
    /\ em' = [em EXCEPT ![e] = [t \in Emitters |->
          IF @[t] = "granted" THEN Left("held") ELSE @[t]]]
    /\ UNCHANGED <<epoch, dead, hold, asleep, child, worldVars, sh, fenced, seen>>

(* Somebody has reset the home: it may be started again. *)
Adopt(e) ==
    /\ Awake(e)
    /\ mode[e] \in {"IDLE", "HALTED"}
    /\ byte = "ARMED" /\ latch = "ARMED" /\ ~raced
    /\ latchEpoch > epoch[e]
    /\ mode' = [mode EXCEPT ![e] = "IDLE"]
    /\ epoch' = [epoch EXCEPT ![e] = latchEpoch]
    /\ seen' = [seen EXCEPT ![e] = Cardinality(arms)]
    /\ UNCHANGED <<dead, hold, em, asleep, child, worldVars, sh, fenced>>

(* Believe the page again: IDLE, out, and nothing announced. *)
Revive(e) ==
    /\ Awake(e)
    /\ dead[e]
    /\ mode[e] = "IDLE"
    /\ hold[e] \in {"out", "knocking"}
    /\ ~Busy(e)
    /\ dead' = [dead EXCEPT ![e] = FALSE]
    /\ UNCHANGED <<mode, epoch, hold, em, asleep, child, worldVars, sh, fenced, seen>>

(* The orderly way out: close the gate, drain, be IDLE; then Retire, Leave *)
(* and Revive.                                                             *)
Drain(e) ==
    /\ Awake(e)
    /\ mode[e] = "RUNNING"
    /\ Believes(e)
    /\ mode' = [mode EXCEPT ![e] = "DRAINING"]
    /\ UNCHANGED <<epoch, dead, hold, em, asleep, child, worldVars, sh, fenced, seen>>

Stop(e) ==
    /\ Awake(e)
    /\ mode[e] = "DRAINING"
    /\ Believes(e)
    /\ \A t \in Emitters : em[e][t] \notin {"granted", "announced", "sending"}
    /\ mode' = [mode EXCEPT ![e] = "IDLE"]
    /\ UNCHANGED <<epoch, dead, hold, em, asleep, child, worldVars, sh, fenced, seen>>

Retire(e) ==
    /\ Awake(e)
    /\ mode[e] = "IDLE"
    /\ hold[e] = "in"
    /\ ~dead[e]
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<mode, epoch, hold, em, asleep, child, worldVars, sh, fenced, seen>>

-----------------------------------------------------------------------------
(* What befalls an engine. *)

Crash(e) ==
    /\ Alive(e)
    /\ Die(e)
    /\ UNCHANGED <<epoch, worldVars, fenced, seen>>

(* It comes back, by what the home says: see Mirror where the two differ. *)
Restart(e) ==
    /\ mode[e] = "DOWN"
    /\ byte = "ARMED" => latch = "ARMED" /\ ~raced
    /\ mode' = [mode EXCEPT ![e] = IF byte = "ARMED" THEN "IDLE" ELSE "HALTED"]
    /\ epoch' = [epoch EXCEPT ![e] = latchEpoch]
    /\ seen' = [seen EXCEPT ![e] = Cardinality(arms)]
    /\ UNCHANGED <<dead, hold, em, asleep, child, worldVars, sh, fenced>>

(* SIGSTOP and SIGCONT. *)
Suspend(e) ==
    /\ e \in Sleepers
    /\ Awake(e)
    /\ asleep' = asleep \union {e}
    /\ UNCHANGED <<mode, epoch, dead, hold, em, child, worldVars, sh, fenced, seen>>

Resume(e) ==
    /\ e \in asleep
    /\ asleep' = asleep \ {e}
    /\ UNCHANGED <<mode, epoch, dead, hold, em, child, worldVars, sh, fenced, seen>>

(* A child shares the open file description.  It closes what it inherited, *)
(* and closing lets go only if nobody else has the description open.       *)
Fork(e) ==
    /\ e \in Forkers
    /\ Awake(e)
    /\ child[e] = "none"
    /\ child' = [child EXCEPT ![e] = "inherits"]
    /\ UNCHANGED <<mode, epoch, dead, hold, em, asleep, worldVars, sh, fenced, seen>>

ChildCloses(e) ==
    /\ child[e] # "none"
    /\ child' = [child EXCEPT ![e] = "none"]
    /\ UNCHANGED <<mode, epoch, dead, hold, em, asleep, worldVars, sh, fenced, seen>>

-----------------------------------------------------------------------------
(* A killer. *)

engineVars == <<mode, epoch, dead, hold, em, asleep, child, sh>>

(* Raise the page's halt count: a reset that is under way will see it. *)
CountHalt(k) ==
    /\ pc[k] = "idle"
    /\ Count
    /\ pc' = [pc EXCEPT ![k] = "counted"]
    /\ UNCHANGED <<engineVars, byte, recordVars, ex, rs, saidVars, historyVars>>

(* Emission stops here: no engine that looks after this begins a send. *)
SetByte(k) ==
    /\ pc[k] = "counted"
    /\ HaltByte
    /\ pc' = [pc EXCEPT ![k] = IF ex = k THEN "exclusive" ELSE "waiting"]
    /\ UNCHANGED <<engineVars, recordVars, markVars, ex, rs, saidVars, arms, seen>>

(* Beside the wait, or after it, as soon as the disk allows: the record is *)
(* read, with the pen in hand, and replaced.  A reset that has the pen is  *)
(* not waited for: the killer tries again later, as it does when the disk  *)
(* is full.                                                                *)
TakePen(k) ==
    /\ pc[k] \in {"waiting", "exclusive", "acked", "timedout"}
    /\ PenIsFree
    /\ latch = "ARMED"
    /\ pen[k] = 0
    /\ pen' = [pen EXCEPT ![k] = latchEpoch]
    /\ UNCHANGED <<engineVars, byte, latch, latchEpoch, markVars, ex, pc, rs, saidVars, historyVars>>

WriteLatch(k) ==
    /\ pen[k] # 0
    /\ latch' = "HALTED"
    /\ latchEpoch' = pen[k]
    /\ pen' = [pen EXCEPT ![k] = 0]
    /\ durable' = (durable \/ (pc[k] = "acked" /\ ackd))
    /\ UNCHANGED <<engineVars, byte, markVars, ex, pc, rs, ackd, historyVars>>

DropPen(k) ==
    /\ pen[k] # 0
    /\ pen' = [pen EXCEPT ![k] = 0]
    /\ UNCHANGED <<engineVars, byte, latch, latchEpoch, markVars, ex, pc, rs, saidVars, historyVars>>

(* The lock, exclusively: whoever held it is out. *)
WaitQuiet(k) ==
    /\ pc[k] = "waiting"
    /\ ex = "none"
    /\ Quiet
    /\ ex' = k
    /\ pc' = [pc EXCEPT ![k] = "exclusive"]
    /\ UNCHANGED <<engineVars, homeVars, rs, saidVars, historyVars>>

(* Under the lock: a reset may have come between.  Then halt again. *)
LookAgain(k) ==
    /\ pc[k] = "exclusive"
    /\ byte # "HALT"
    /\ Count
    /\ pc' = [pc EXCEPT ![k] = "counted"]
    /\ UNCHANGED <<engineVars, byte, recordVars, ex, rs, saidVars, historyVars>>

(* Confirmed; and durable, if the record says so, under the lock as well. *)
Ack(k) ==
    /\ pc[k] = "exclusive"
    /\ byte = "HALT"
    /\ ackd' = TRUE
    /\ durable' = (durable \/ latch = "HALTED")
    /\ ex' = "none"
    /\ pc' = [pc EXCEPT ![k] = "acked"]
    /\ UNCHANGED <<engineVars, homeVars, rs, historyVars>>

Finish(k) ==
    /\ pc[k] = "acked"
    /\ pc' = [pc EXCEPT ![k] = "idle"]
    /\ UNCHANGED <<engineVars, homeVars, ex, rs, saidVars, historyVars>>

(* Unconfirmed, with a last look at the byte. *)
TimeOut(k) ==
    /\ pc[k] = "waiting"
    /\ ex # "none" \/ ~Quiet
    /\ IF byte = "HALT"
       THEN pc' = [pc EXCEPT ![k] = "timedout"] /\ UNCHANGED markVars
       ELSE pc' = [pc EXCEPT ![k] = "counted"] /\ Count
    /\ UNCHANGED <<engineVars, byte, recordVars, ex, rs, saidVars, historyVars>>

(* SIGKILL to an engine that did not let go. *)
Escalate(k, e) ==
    /\ pc[k] = "timedout"
    /\ e \in sh
    /\ Die(e)
    /\ UNCHANGED <<epoch, worldVars, fenced, seen>>

(* There is nobody left to kill. *)
WaitAgain(k) ==
    /\ pc[k] = "timedout"
    /\ sh = {}
    /\ pc' = [pc EXCEPT ![k] = "waiting"]
    /\ UNCHANGED <<engineVars, homeVars, ex, rs, saidVars, historyVars>>

GiveUp(k) ==
    /\ k \in Mortal
    /\ pc[k] = "timedout"
    /\ pc' = [pc EXCEPT ![k] = "idle"]
    /\ UNCHANGED <<engineVars, homeVars, ex, rs, saidVars, historyVars>>

(* A killer dies, and its locks go with it. *)
KillerDies(k) ==
    /\ k \in Mortal
    /\ pc[k] # "gone"
    /\ pc' = [pc EXCEPT ![k] = "gone"]
    /\ ex' = IF ex = k THEN "none" ELSE ex
    /\ pen' = [pen EXCEPT ![k] = 0]
    /\ UNCHANGED <<engineVars, byte, latch, latchEpoch, markVars, rs, saidVars, historyVars>>

(* Whoever sees an armed byte over a halted record sets the byte, and so   *)
(* does whoever sees one that was armed for another count: the halt that   *)
(* was counted since may be nobody's any more.                             *)
Mirror ==
    /\ byte = "ARMED"
    /\ latch = "HALTED" \/ raced
    /\ HaltByte
    /\ Count
    /\ UNCHANGED <<engineVars, recordVars, ex, pc, rs, saidVars, arms, seen>>

-----------------------------------------------------------------------------
(* An operator's reset: it holds the lock and the pen, and it may die, too *)

(* It notes the halt count. *)
ResetBegin ==
    /\ rs \in {"idle", "done"}
    /\ byte = "HALT"
    /\ latchEpoch < MaxEpoch
    /\ ex = "none"
    /\ Quiet
    /\ \A k \in Killers : pen[k] = 0
    /\ raced' = FALSE /\ owed' = FALSE
    /\ ex' = "operator"
    /\ rs' = "begun"
    /\ UNCHANGED <<engineVars, byte, recordVars, pc, saidVars, historyVars>>

(* The record first.  What was acknowledged is over with it. *)
ResetLatch ==
    /\ rs = "begun"
    /\ latch' = "ARMED"
    /\ latchEpoch' = latchEpoch + 1
    /\ ackd' = FALSE
    /\ durable' = FALSE
    /\ rs' = "latched"
    /\ UNCHANGED <<engineVars, byte, pen, markVars, ex, pc, historyVars>>

(* The count that was noted goes into the page first, and the byte then:   *)
(* while the byte says halt nobody asks what it was armed for.             *)
ResetByte ==
    /\ rs = "latched"
    /\ byte' = "ARMED"
    /\ arms' = arms \union {latchEpoch}
    /\ rs' = "armed"
    /\ UNCHANGED <<engineVars, recordVars, markVars, ex, pc, saidVars, fenced, seen>>

(* Nobody has halted meanwhile. *)
ResetEnd ==
    /\ rs = "armed"
    /\ ~raced
    /\ ex' = "none"
    /\ rs' = "done"
    /\ UNCHANGED <<engineVars, homeVars, pc, saidVars, historyVars>>

(* Somebody has: halt wins, by the byte first and the record then. *)
ResetYields ==
    /\ rs = "armed"
    /\ raced
    /\ HaltByte
    /\ rs' = "yielding"
    /\ UNCHANGED <<engineVars, recordVars, markVars, ex, pc, saidVars, arms, seen>>

ResetUndone ==
    /\ rs = "yielding"
    /\ latch' = "HALTED"
    /\ ex' = "none"
    /\ rs' = "idle"
    /\ UNCHANGED <<engineVars, byte, latchEpoch, pen, markVars, pc, saidVars, historyVars>>

ResetDies ==
    /\ rs \in {"begun", "latched", "armed", "yielding"}
    /\ ex' = "none"
    /\ rs' = "idle"
    /\ UNCHANGED <<engineVars, homeVars, pc, saidVars, historyVars>>

-----------------------------------------------------------------------------
EngineMoves(e) ==
    \/ CheckFirst(e) \/ Enter(e) \/ CheckAgain(e) \/ Start(e)
    \/ See(e) \/ Leave(e) \/ Observe(e) \/ Adopt(e) \/ Revive(e)
    \/ Drain(e) \/ Stop(e) \/ Retire(e)
    \/ \E t \in Emitters :
          Grant(e, t) \/ Announce(e, t) \/ Look(e, t) \/ Retract(e, t) \/ End(e, t)

EngineSuffers(e) ==
    Crash(e) \/ Restart(e) \/ Suspend(e) \/ Resume(e) \/ Fork(e) \/ ChildCloses(e)

KillerMoves(k) ==
    \/ CountHalt(k) \/ SetByte(k) \/ TakePen(k) \/ WriteLatch(k) \/ DropPen(k)
    \/ WaitQuiet(k) \/ LookAgain(k) \/ Ack(k) \/ Finish(k) \/ TimeOut(k) \/ WaitAgain(k) \/ GiveUp(k) \/ KillerDies(k)
    \/ \E e \in Engines : Escalate(k, e)

ResetMoves == ResetLatch \/ ResetByte \/ ResetEnd \/ ResetYields \/ ResetUndone

Next ==
    \/ \E e \in Engines : EngineMoves(e) \/ EngineSuffers(e)
    \/ \E k \in Killers : KillerMoves(k)
    \/ Mirror \/ ResetBegin \/ ResetMoves \/ ResetDies

Spec == Init /\ [][Next]_vars

(***************************************************************************)
(* What must not be put off for ever.  Nobody is obliged to halt a home    *)
(* that is armed, nor to reset one.  But a halt that is not acknowledged,  *)
(* or not on the disk, is the business of a killer that does not die       *)
(* (Persists).                                                             *)
(* Whoever holds the lock exclusively goes on or dies, and resets do not   *)
(* begin and die for ever (LockMovesOn).  A forked child closes what it    *)
(* inherited (ChildrenClose).                                              *)
(*                                                                         *)
(* Then there are two ways.  By force (Escalates): the engines need do     *)
(* nothing at all.  Or by consent (EnginesDrain): no SIGKILL, but every    *)
(* lookout looks, every send ends, and nobody is suspended.                *)
(*                                                                         *)
(* Only for the record must a full disk have room again (DiskRecovers).    *)
(***************************************************************************)
Persists(k) ==
    /\ WF_vars(byte = "HALT" /\ (~ackd \/ latch = "ARMED") /\ CountHalt(k))
    /\ WF_vars(SetByte(k) \/ WaitQuiet(k) \/ Finish(k) \/ TimeOut(k) \/ WaitAgain(k))

SomebodyPersists == \A k \in Killers \ Mortal : Persists(k)
DiskRecovers     == \A k \in Killers \ Mortal : SF_vars(TakePen(k)) /\ SF_vars(WriteLatch(k))
LockMovesOn      == /\ \A k \in Killers : WF_vars(ex = k /\ (SetByte(k) \/ LookAgain(k) \/ Ack(k)))
                    /\ WF_vars(ResetMoves) /\ <>[][~ResetDies]_vars
ChildrenClose    == \A e \in Engines : WF_vars(ChildCloses(e))
Escalates        == \A k \in Killers \ Mortal : \A e \in Engines : WF_vars(Escalate(k, e))
LookoutLooks     == \A e \in Engines : WF_vars(See(e)) /\ WF_vars(Leave(e)) /\ WF_vars(CheckAgain(e))
EverySendEnds    == \A e \in Engines : \A t \in Emitters :
                        WF_vars(Look(e, t) \/ Retract(e, t)) /\ WF_vars(End(e, t))

ForceSpec   == /\ Spec /\ SomebodyPersists /\ LockMovesOn /\ ChildrenClose
               /\ Escalates
ConsentSpec == /\ Spec /\ SomebodyPersists /\ LockMovesOn /\ ChildrenClose
               /\ LookoutLooks /\ EverySendEnds
DiskSpec    == ForceSpec /\ DiskRecovers

-----------------------------------------------------------------------------
(* Invariants: what holds in every state. *)

(* The promise: once it is acknowledged, nobody is between the look and    *)
(* the end of the send.                                                    *)
AckMeansQuiescent ==
    ackd => \A e \in Engines : \A t \in Emitters : em[e][t] # "sending"

(* What is acknowledged is a halt, and says so where it claims to. *)
AckMeansLatched == ackd => /\ byte = "HALT"
                           /\ durable => latch = "HALTED"

(* Durable is said of a halt that is confirmed and on the disk, only. *)
DurableIsHonest == durable => ackd /\ latch = "HALTED"

(* Who may send, or is sending, holds the lock. *)
ClearHoldsLock ==
    \A e \in Engines :
        /\ (Working(e) /\ ~dead[e]) => e \in sh
        /\ \A t \in Emitters :
              \/ em[e][t] = "sending"
              \/ em[e][t] = "announced" /\ ~dead[e]
              => e \in sh

(* The lock is exclusive. *)
ExExcludesSh == ex # "none" => Quiet

-----------------------------------------------------------------------------
(* Action properties: what holds of every step. *)

IsSent(e, t) == em[e][t] # "sending" /\ em'[e][t] = "sending"

(* The ack is given by a killer that has the lock, under the halt. *)
LockedMeansLatched == [][(~ackd /\ ackd') => ex \in Killers /\ byte = "HALT"]_vars

(* No send begins after the ack, and before the reset. *)
NoLateEmission == [][\A e \in Engines : \A t \in Emitters : IsSent(e, t) => ~ackd]_vars

(* Nor, in an engine that was halted, before the reset and a new start of  *)
(* its own: not if it was suspended all the while, either.                 *)
SuspendedStaysOut ==
    [][\A e \in Engines : \A t \in Emitters : IsSent(e, t) => ~fenced[e]]_vars

(* Only a reset arms the home: the record with a new epoch, and the byte   *)
(* once an epoch, under the lock.                                          *)
HaltIsLatching ==
    [][/\ (latch = "HALTED" /\ latch' = "ARMED") => latchEpoch' > latchEpoch
       /\ (byte = "HALT" /\ byte' = "ARMED") => ex = "operator" /\ latchEpoch \notin arms]_vars

(* Nobody, however slow, takes the record back into an epoch that is over. *)
EpochNeverGoesBack == [][latchEpoch' >= latchEpoch]_vars

(* An engine comes up in the mode that the home allows. *)
RestartStaysHalted ==
    [][\A e \in Engines : (mode[e] = "DOWN" /\ mode'[e] # "DOWN") =>
          IF byte = "HALT" \/ latch = "HALTED" THEN mode'[e] = "HALTED" ELSE mode'[e] = "IDLE"]_vars

(* A reset that somebody halted across does not end with the home armed. *)
HaltWins == [][(rs # "done" /\ rs' = "done") => ~owed]_vars

(* And one that did not end does not swallow that halt: no engine starts   *)
(* before another reset, also if killer and reset are both dead.           *)
NoStartOverAHalt ==
    [][\A e \in Engines : (mode[e] # "RUNNING" /\ mode'[e] = "RUNNING") => ~owed]_vars

(* "Unconfirmed" is said of a home that is halted. *)
TimeOutMeansHalted ==
    [][\A k \in Killers : (pc[k] # "timedout" /\ pc'[k] = "timedout") => byte = "HALT"]_vars

-----------------------------------------------------------------------------
(* Temporal properties. *)

(* A halt leads to the ack, unless it is reset first. *)
HaltIsAcked == byte = "HALT" ~> (ackd \/ byte = "ARMED")

(* And to the record, likewise. *)
HaltIsWritten == byte = "HALT" ~> (latch = "HALTED" \/ byte = "ARMED")

-----------------------------------------------------------------------------
(* Seen from one engine, this is Kernel.tla.  The engines are alike, so it *)
(* is shown of one.  Its emitters' orders are the orders, where Once.      *)

one == CHOOSE e \in Engines : TRUE

(* Kernel.tla has no step between the halt that is seen and the mode. *)
Live == Working(one) /\ ~dead[one]

OrderOf(t) ==
    CASE em[one][t] = "idle" -> "new"
      [] em[one][t] \in {"granted", "announced"} -> IF Live THEN "granted" ELSE "held"
      [] em[one][t] = "lost" -> "unknown"
      [] OTHER -> em[one][t]

Kernel == INSTANCE Kernel WITH
    Orders      <- Emitters,
    mode        <- IF Working(one) THEN (IF Live THEN "RUNNING" ELSE "HALTED") ELSE mode[one],
    gate        <- mode[one] = "RUNNING" /\ Live,
    epoch       <- seen[one],
    order       <- [t \in Emitters |-> OrderOf(t)],
    permitEpoch <- [t \in Emitters |->
                       IF OrderOf(t) \in {"granted", "sending"} THEN seen[one] ELSE 0],
    latch       <- IF byte = "ARMED" THEN "ARMED" ELSE "HALTED",
    latchEpoch  <- Cardinality(arms),
    fenced      <- fenced[one],
    sends       <- [t \in Emitters |->
                       IF em[one][t] \in {"sending", "done", "unknown"} THEN 1 ELSE 0]

RefinesKernel == Kernel!Spec

-----------------------------------------------------------------------------
THEOREM Safety ==
    Spec => /\ [](/\ TypeOK
                  /\ AckMeansQuiescent
                  /\ AckMeansLatched
                  /\ DurableIsHonest
                  /\ ClearHoldsLock
                  /\ ExExcludesSh)
            /\ LockedMeansLatched
            /\ NoLateEmission
            /\ SuspendedStaysOut
            /\ HaltIsLatching
            /\ EpochNeverGoesBack
            /\ RestartStaysHalted
            /\ HaltWins
            /\ NoStartOverAHalt
            /\ TimeOutMeansHalted

THEOREM Liveness ==
    /\ ForceSpec => HaltIsAcked
    /\ ConsentSpec => HaltIsAcked
    /\ DiskSpec => HaltIsWritten

THEOREM Refinement == (Spec /\ Once) => RefinesKernel
=============================================================================
