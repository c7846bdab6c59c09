------------------------------- MODULE Kernel -------------------------------
(***************************************************************************)
(* The halt kernel of one trading engine, and the durable latch that rules *)
(* it.                                                                     *)
(*                                                                         *)
(* There are two places where "halted" is written.  The engine has a mode, *)
(* in its own memory, which dies with it.  The home directory has a latch, *)
(* which other processes can write, which survives the engine, and which   *)
(* can also be lost.  Everything that can go wrong lies between the two:   *)
(* the latch changes and the engine has not looked yet; the engine dies    *)
(* and forgets; somebody resets the latch while the engine is still        *)
(* running under the old one.  This module lets every such step happen at  *)
(* any moment and states what must hold all the same.                      *)
(*                                                                         *)
(* Threads of the engine appear as interleaved actions.  An action is what *)
(* the code does in one critical section.  The outside world (operators,   *)
(* other processes, the disk) acts in Trip, Lose and Reset.                *)
(*                                                                         *)
(* Every action is a function: a state, a name and an order have at most   *)
(* one successor.  The graph of the Python core is compared with the graph *)
(* of this module, labelled edge for labelled edge, and that is what makes *)
(* the comparison exact.                                                   *)
(***************************************************************************)
EXTENDS Naturals

CONSTANTS
    Orders,     \* the order ids that may be used
    MaxEpoch    \* how many epochs to explore; a bound on the model only

ASSUME BoundsOK == Orders # {} /\ MaxEpoch \in Nat \ {0}

-----------------------------------------------------------------------------
VARIABLES
    (* The engine's own memory. *)
    mode,         \* "IDLE", "RUNNING", "HALTED", or "DOWN": the process is dead
    gate,         \* is the gate open to new orders?  A drain closes it first
    epoch,        \* the epoch the engine has adopted
    order,        \* what has become of each order id
    permitEpoch,  \* the epoch each live permit is bound to, 0 where there is none

    (* The home directory, seen by everybody. *)
    latch,        \* "ARMED", "HALTED", or "ABSENT": lost, corrupt, or replaced
    latchEpoch,   \* the durable epoch; a reset raises it and nothing lowers it

    (* History.  No action reads these two; only the properties do. *)
    fenced,       \* there has been a halt since the last start
    sends         \* how many sends each order id has begun (2 stands for more)

engineVars  == <<mode, gate, epoch>>
orderVars   == <<order, permitEpoch>>
latchVars   == <<latch, latchEpoch>>
historyVars == <<fenced, sends>>
vars == <<mode, gate, epoch, order, permitEpoch, latch, latchEpoch, fenced, sends>>

-----------------------------------------------------------------------------
Modes   == {"IDLE", "RUNNING", "HALTED", "DOWN"}
Latches == {"ARMED", "HALTED", "ABSENT"}
Epochs  == 1 .. MaxEpoch

(***************************************************************************)
(*   new      not seen yet                                                 *)
(*   held     queued, emulated or to be retried inside the engine          *)
(*   granted  has a permit, the send has not begun                         *)
(*   sending  inside the send call                                         *)
(*   done     the send returned, or reconciliation settled it              *)
(*   unknown  the send raised, or the engine died: only the venue knows    *)
(***************************************************************************)
Statuses == {"new", "held", "granted", "sending", "done", "unknown"}

TypeOK ==
    /\ mode \in Modes
    /\ gate \in BOOLEAN
    /\ epoch \in Epochs
    /\ order \in [Orders -> Statuses]
    /\ permitEpoch \in [Orders -> 0 .. MaxEpoch]
    /\ latch \in Latches
    /\ latchEpoch \in Epochs
    /\ fenced \in BOOLEAN
    /\ sends \in [Orders -> 0 .. 2]
    /\ \A o \in Orders : (permitEpoch[o] # 0) <=> (order[o] \in {"granted", "sending"})

Init ==
    /\ mode = "IDLE"
    /\ gate = FALSE
    /\ epoch = 1
    /\ order = [o \in Orders |-> "new"]
    /\ permitEpoch = [o \in Orders |-> 0]
    /\ latch = "ARMED"
    /\ latchEpoch = 1
    /\ fenced = FALSE
    /\ sends = [o \in Orders |-> 0]

-----------------------------------------------------------------------------
(* What several actions share. *)

Alive == mode # "DOWN"

(* The engine holds the shared lock from its start until it has left       *)
(* RUNNING and its last send has returned.  Only then can a reset have the *)
(* exclusive lock.                                                         *)
LockFree == mode # "RUNNING" /\ \A o \in Orders : order[o] # "sending"

(* Going into HALTED closes the gate and takes back every permit that was  *)
(* not used.  A send that has begun is beyond recall, so it is left alone. *)
EnterHalted ==
    /\ mode' = "HALTED"
    /\ gate' = FALSE
    /\ order' = [o \in Orders |-> IF order[o] = "granted" THEN "held" ELSE order[o]]
    /\ permitEpoch' = [o \in Orders |-> IF order[o] = "granted" THEN 0 ELSE permitEpoch[o]]

-----------------------------------------------------------------------------
(* The life of the engine. *)

(* The one way into RUNNING, and the one place where the fence comes down. *)
Start ==
    /\ mode = "IDLE"
    /\ latch = "ARMED"
    /\ epoch = latchEpoch
    /\ mode' = "RUNNING"
    /\ gate' = TRUE
    /\ fenced' = FALSE
    /\ UNCHANGED <<epoch, order, permitEpoch, latch, latchEpoch, sends>>

(* A drain begins: no new permits, those that exist may still be used. *)
CloseGate ==
    /\ mode = "RUNNING"
    /\ gate
    /\ latch = "ARMED"
    /\ gate' = FALSE
    /\ UNCHANGED <<mode, epoch, orderVars, latchVars, historyVars>>

(* A drain ends: nothing is granted and nothing is being sent. *)
Stop ==
    /\ mode = "RUNNING"
    /\ ~gate
    /\ latch = "ARMED"
    /\ \A o \in Orders : order[o] \notin {"granted", "sending"}
    /\ mode' = "IDLE"
    /\ UNCHANGED <<gate, epoch, orderVars, latchVars, historyVars>>

(* The engine halts itself, for whatever reason.  It has no guard but to be *)
(* alive.  A repeat changes nothing, unless the latch was lost, or was      *)
(* reset and the engine had not noticed: then it is written again.          *)
Halt ==
    /\ Alive
    /\ EnterHalted
    /\ latch' = "HALTED"
    /\ fenced' = TRUE
    /\ UNCHANGED <<epoch, latchEpoch, sends>>

(* The engine looks at the latch, as it does at each heartbeat, and finds   *)
(* that it is not armed.                                                    *)
Observe ==
    /\ mode \in {"IDLE", "RUNNING"}
    /\ latch # "ARMED"
    /\ EnterHalted
    /\ UNCHANGED <<epoch, latchVars, historyVars>>

(* The engine finds that the latch was reset.  It may be started again; it  *)
(* does not start.                                                          *)
Adopt ==
    /\ mode \in {"IDLE", "HALTED"}
    /\ latch = "ARMED"
    /\ latchEpoch > epoch
    /\ mode' = "IDLE"
    /\ epoch' = latchEpoch
    /\ UNCHANGED <<gate, orderVars, latchVars, historyVars>>

(* The process dies, at any moment.  The journal shows a permit for every   *)
(* order that was granted or sending, and cannot show more.                 *)
Crash ==
    /\ Alive
    /\ mode' = "DOWN"
    /\ gate' = FALSE
    /\ order' = [o \in Orders |-> IF order[o] \in {"granted", "sending"}
                                  THEN "unknown" ELSE order[o]]
    /\ permitEpoch' = [o \in Orders |-> 0]
    /\ UNCHANGED <<epoch, latchVars, historyVars>>

(* It comes back.  The latch alone decides how, and RUNNING is no choice. *)
Restart ==
    /\ mode = "DOWN"
    /\ mode' = IF latch = "ARMED" THEN "IDLE" ELSE "HALTED"
    /\ epoch' = latchEpoch
    /\ UNCHANGED <<gate, orderVars, latchVars, historyVars>>

-----------------------------------------------------------------------------
(* The world outside. *)

(* Another process writes the latch.  The engine knows nothing of it yet. *)
Trip ==
    /\ latch # "HALTED"
    /\ latch' = "HALTED"
    /\ fenced' = TRUE
    /\ UNCHANGED <<engineVars, orderVars, latchEpoch, sends>>

(* The latch is deleted, truncated, corrupted, replaced, or unmounted. *)
Lose ==
    /\ latch # "ABSENT"
    /\ latch' = "ABSENT"
    /\ fenced' = TRUE
    /\ UNCHANGED <<engineVars, orderVars, latchEpoch, sends>>

(* An operator, naming the current epoch, arms the latch for the next one,  *)
(* under the exclusive lock.  The engine's mode is not touched.             *)
Reset ==
    /\ latch # "ARMED"
    /\ latchEpoch < MaxEpoch
    /\ LockFree
    /\ latch' = "ARMED"
    /\ latchEpoch' = latchEpoch + 1
    /\ UNCHANGED <<engineVars, orderVars, historyVars>>

-----------------------------------------------------------------------------
(* The way of one order. *)

(* The engine keeps the order back: a queue, an emulated stop, a retry. *)
Hold(o) ==
    /\ Alive
    /\ order[o] = "new"
    /\ order' = [order EXCEPT ![o] = "held"]
    /\ UNCHANGED <<engineVars, permitEpoch, latchVars, historyVars>>

(* Gate 2 accepts, for a new order and for the release of a held one alike. *)
Grant(o) ==
    /\ mode = "RUNNING"
    /\ gate
    /\ latch = "ARMED"
    /\ order[o] \in {"new", "held"}
    /\ order' = [order EXCEPT ![o] = "granted"]
    /\ permitEpoch' = [permitEpoch EXCEPT ![o] = epoch]
    /\ UNCHANGED <<engineVars, latchVars, historyVars>>

(* Gate 2 refuses: mode, gate, limits, a duplicate id.  Having read a latch *)
(* that is not armed, it does not leave it at a refusal.                    *)
Refuse(o) ==
    /\ Alive
    /\ o \in Orders
    /\ IF latch # "ARMED" /\ mode \in {"IDLE", "RUNNING"}
       THEN EnterHalted
       ELSE UNCHANGED <<mode, gate, orderVars>>
    /\ UNCHANGED <<epoch, latchVars, historyVars>>

(* The last act before the send: read the latch again, and use the permit. *)
Begin(o) ==
    /\ mode = "RUNNING"
    /\ latch = "ARMED"
    /\ order[o] = "granted"
    /\ permitEpoch[o] = epoch
    /\ order' = [order EXCEPT ![o] = "sending"]
    /\ sends' = [sends EXCEPT ![o] = IF @ = 2 THEN 2 ELSE @ + 1]
    /\ UNCHANGED <<engineVars, permitEpoch, latchVars, fenced>>

(* The same look at the latch, when it finds that the latch is not armed. *)
Void(o) ==
    /\ mode = "RUNNING"
    /\ latch # "ARMED"
    /\ order[o] = "granted"
    /\ EnterHalted
    /\ UNCHANGED <<epoch, latchVars, historyVars>>

(* The send returned. *)
End(o) ==
    /\ Alive
    /\ order[o] = "sending"
    /\ order' = [order EXCEPT ![o] = "done"]
    /\ permitEpoch' = [permitEpoch EXCEPT ![o] = 0]
    /\ UNCHANGED <<engineVars, latchVars, historyVars>>

(* The send raised.  The order may be at the venue; it is never sent again. *)
Fail(o) ==
    /\ Alive
    /\ order[o] = "sending"
    /\ order' = [order EXCEPT ![o] = "unknown"]
    /\ permitEpoch' = [permitEpoch EXCEPT ![o] = 0]
    /\ UNCHANGED <<engineVars, latchVars, historyVars>>

(* The venue was asked and has answered. *)
Reconcile(o) ==
    /\ Alive
    /\ order[o] = "unknown"
    /\ order' = [order EXCEPT ![o] = "done"]
    /\ UNCHANGED <<engineVars, permitEpoch, latchVars, historyVars>>

(* A cancel or a query goes to the venue.  It needs no permit in any mode. *)
Cancel(o) ==
    /\ Alive
    /\ order[o] \in {"sending", "done", "unknown"}
    /\ UNCHANGED vars

-----------------------------------------------------------------------------
Next ==
    \/ Start \/ CloseGate \/ Stop \/ Halt \/ Observe \/ Adopt \/ Crash \/ Restart
    \/ Trip \/ Lose \/ Reset
    \/ \E o \in Orders :
          \/ Hold(o) \/ Grant(o) \/ Refuse(o) \/ Begin(o) \/ Void(o)
          \/ End(o) \/ Fail(o) \/ Reconcile(o) \/ Cancel(o)

Spec == Init /\ [][Next]_vars

(***************************************************************************)
(* What must not be put off for ever, and nothing else: the heartbeat      *)
(* looks at the latch; a dead engine is brought back; a send returns or    *)
(* raises.  Nobody is obliged to start, halt, trip or reset.               *)
(***************************************************************************)
HeartbeatRuns  == WF_vars(Observe)
EngineComesUp  == WF_vars(Restart)
EverySendEnds  == \A o \in Orders : WF_vars(End(o) \/ Fail(o))

LiveSpec == Spec /\ HeartbeatRuns /\ EngineComesUp /\ EverySendEnds

-----------------------------------------------------------------------------
(* Invariants: what holds in every state. *)

(* An engine that says HALTED under the current epoch is right. *)
HaltedMeansLatched == (mode = "HALTED" /\ epoch = latchEpoch) => latch # "ARMED"

GateOnlyWhenRunning == gate => mode = "RUNNING"

(* Permits exist in RUNNING only: they die with the mode. *)
PermitOnlyWhenRunning == \A o \in Orders : order[o] = "granted" => mode = "RUNNING"

(* IDLE is reached by a drain, so nothing is on its way. *)
IdleMeansDrained ==
    mode = "IDLE" => \A o \in Orders : order[o] \notin {"granted", "sending"}

(* A permit that lives, and a send that runs, belong to the present epoch. *)
PermitEpochCurrent ==
    \A o \in Orders : order[o] \in {"granted", "sending"} =>
        permitEpoch[o] = epoch /\ epoch = latchEpoch

(* An order id is sent once at the most. *)
OnePermitOneSend == \A o \in Orders : sends[o] <= 1

(* After a halt an engine is out of RUNNING by the time the latch is armed. *)
FencedMeansOut == (fenced /\ latch = "ARMED") => LockFree

(* Cancels and reconciliation need no mode. *)
CancelsAlwaysPass ==
    Alive => \A o \in Orders :
        /\ order[o] \in {"sending", "done", "unknown"} => ENABLED Cancel(o)
        /\ order[o] = "unknown" => ENABLED Reconcile(o)

(* Halting has no guard, from within or from without. *)
HaltNeverWaits ==
    /\ Alive => ENABLED Halt
    /\ latch # "HALTED" => ENABLED Trip

-----------------------------------------------------------------------------
(* Action properties: what holds of every step. *)

IsGranted(o) == order[o] # "granted" /\ order'[o] = "granted"
IsSent(o)    == order[o] # "sending" /\ order'[o] = "sending"

(* The promise: no send begins between a halt and the next start. *)
NoEmitAfterHalt == [][\A o \in Orders : IsSent(o) => ~fenced]_vars

(* Only a reset arms the latch, and a reset shows in the epoch. *)
HaltIsLatching ==
    [][latch # "ARMED" => (latch' # "ARMED" \/ latchEpoch' > latchEpoch)]_vars

(* HALTED is left by dying, or for IDLE after a reset; and an engine that   *)
(* comes up under a latch that is not armed comes up HALTED.                *)
HaltedIsAbsorbing ==
    [][/\ mode = "HALTED" => \/ mode' \in {"HALTED", "DOWN"}
                             \/ mode' = "IDLE" /\ epoch' > epoch
       /\ (mode = "DOWN" /\ latch # "ARMED") => mode' \in {"DOWN", "HALTED"}]_vars

(* RUNNING is entered from IDLE, under a latch that is armed, in its epoch. *)
LatchMeansHalted ==
    [][(mode # "RUNNING" /\ mode' = "RUNNING") =>
          mode = "IDLE" /\ latch = "ARMED" /\ epoch' = latchEpoch]_vars

(* "A reset and a new start."  A fence goes up with a latch that is not     *)
(* armed, which by HaltIsLatching only a reset arms again; and it comes     *)
(* down only in a step that enters RUNNING under that armed latch.          *)
FencedUntilStart ==
    [][/\ (~fenced /\ fenced') => latch' # "ARMED"
       /\ (fenced /\ ~fenced') => /\ latch = "ARMED" /\ latch' = "ARMED"
                                  /\ mode = "IDLE" /\ mode' = "RUNNING"
                                  /\ epoch' = latchEpoch]_vars

(* Under a latch that cannot be read there are no permits and no sends. *)
AbsenceMeansHalted ==
    [][latch = "ABSENT" => \A o \in Orders : ~IsGranted(o) /\ ~IsSent(o)]_vars

(* There is one way to a permit: the gate, open, in RUNNING, latch armed. *)
PermitOnlyThroughGate ==
    [][\A o \in Orders : IsGranted(o) =>
          /\ mode = "RUNNING" /\ gate /\ latch = "ARMED"
          /\ permitEpoch'[o] = epoch]_vars

(* The step into HALTED takes back each permit and touches nothing else. *)
VoidOnHalt ==
    [][(mode # "HALTED" /\ mode' = "HALTED") => \A o \in Orders :
          IF order[o] = "granted"
          THEN order'[o] = "held" /\ permitEpoch'[o] = 0
          ELSE order'[o] = order[o] /\ permitEpoch'[o] = permitEpoch[o]]_vars

-----------------------------------------------------------------------------
(* Temporal properties. *)

(* "A reset and a new start", once more and without the history's help:     *)
(* after a halt under epoch e, a fence that is down is down in a later one. *)
ResetThenStart ==
    \A e \in Epochs :
        []((latch # "ARMED" /\ latchEpoch = e) => [](~fenced => epoch > e))

(* A latch that is not armed is seen: the engine comes to HALTED, unless    *)
(* the latch is armed again first.                                          *)
HaltIsSeen == latch # "ARMED" ~> (mode = "HALTED" \/ latch = "ARMED")

(* And the engine lets go of the lock, so that a killer gets its ack. *)
HaltDrains == fenced ~> LockFree

-----------------------------------------------------------------------------
THEOREM Safety ==
    Spec => /\ [](/\ TypeOK
                  /\ HaltedMeansLatched
                  /\ GateOnlyWhenRunning
                  /\ PermitOnlyWhenRunning
                  /\ IdleMeansDrained
                  /\ PermitEpochCurrent
                  /\ OnePermitOneSend
                  /\ FencedMeansOut
                  /\ CancelsAlwaysPass
                  /\ HaltNeverWaits)
            /\ NoEmitAfterHalt
            /\ HaltIsLatching
            /\ HaltedIsAbsorbing
            /\ LatchMeansHalted
            /\ FencedUntilStart
            /\ AbsenceMeansHalted
            /\ PermitOnlyThroughGate
            /\ VoidOnHalt
            /\ ResetThenStart

THEOREM Liveness == LiveSpec => HaltIsSeen /\ HaltDrains
=============================================================================
