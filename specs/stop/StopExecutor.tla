---------------------------- MODULE StopExecutor ----------------------------
(***************************************************************************)
(* The stop executor: what ends at the venue after a halt, or in a         *)
(* controlled stop, and what a restart makes of a stop that was cut off.   *)
(*                                                                         *)
(* Kernel.tla stops emission.  This module begins where that ends: orders  *)
(* rest at several venues, positions are held, answers get lost.  One      *)
(* gateway leads to each venue; a gateway may hang for ever.  To keep the  *)
(* states few, each gateway has one order that works when the stop begins, *)
(* and one position that a stop of category 1 closes.                      *)
(*                                                                         *)
(* Three things are durable: the latch, which says RUNNING or HALTED here, *)
(* the intent, with the tickets in it, and the ledger, which is in the     *)
(* journal.  What else the executor knows dies with its process.           *)
(*                                                                         *)
(*   category 0   nothing but cancels                                      *)
(*   category 1   cancels; and then, while still RUNNING, exits by ticket; *)
(*                and then HALTED                                          *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANT Gateways

ASSUME GatewaysOK == IsFiniteSet(Gateways) /\ Gateways # {}

-----------------------------------------------------------------------------
VARIABLES
    (* Durable. *)
    mode,      \* "RUNNING" or "HALTED": the latch
    intent,    \* "none", "open", or "done"
    tickets,   \* the gateways whose exit has a ticket in the intent
    ledger,    \* each order, by the journal: "working" or "over"

    (* The world. *)
    hung,      \* the gateways that never answer
    venue,     \* each order, at its venue: "working" or "over"
    sent,      \* how many exits have been sent, 2 stands for more
    exit,      \* each exit, at its venue: "none", "working" or "over"

    (* The executor's memory. *)
    up,        \* is the process alive?
    cat,       \* the category of the stop that is under way
    known,     \* each order, as the executor knows it: "unknown", "working", "over"
    asked,     \* has an exit been decided on by this process?
    end,       \* the reported end of each order: "none", "over", "unknown"

    (* History.  No action reads it. *)
    replayed   \* has anything been cancelled or sent for a stop that was done?

durable == <<mode, intent, tickets, ledger>>
world   == <<hung, venue, sent, exit>>
memory  == <<up, cat, known, asked, end>>
vars    ==
    <<mode, intent, tickets, ledger, hung, venue, sent, exit, up, cat, known, asked, end, replayed>>

(* A step that cancels or sends. *)
Deed   == replayed' = (replayed \/ intent = "done")
NoDeed == UNCHANGED replayed

-----------------------------------------------------------------------------
TypeOK ==
    /\ mode \in {"RUNNING", "HALTED"}
    /\ intent \in {"none", "open", "done"}
    /\ tickets \subseteq Gateways
    /\ ledger \in [Gateways -> {"working", "over"}]
    /\ hung \subseteq Gateways
    /\ venue \in [Gateways -> {"working", "over"}]
    /\ sent \in [Gateways -> 0 .. 2]
    /\ exit \in [Gateways -> {"none", "working", "over"}]
    /\ up \in BOOLEAN
    /\ cat \in {0, 1}
    /\ known \in [Gateways -> {"unknown", "working", "over"}]
    /\ asked \subseteq Gateways
    /\ end \in [Gateways -> {"none", "over", "unknown"}]
    /\ replayed \in BOOLEAN

Init ==
    /\ mode = "RUNNING"
    /\ intent = "none"
    /\ tickets = {}
    /\ ledger = [g \in Gateways |-> "working"]
    /\ hung \in SUBSET Gateways
    /\ venue = [g \in Gateways |-> "working"]
    /\ sent = [g \in Gateways |-> 0]
    /\ exit = [g \in Gateways |-> "none"]
    /\ up = TRUE
    /\ cat = 0
    /\ known = [g \in Gateways |-> "unknown"]
    /\ asked = {}
    /\ end = [g \in Gateways |-> "none"]
    /\ replayed = FALSE

-----------------------------------------------------------------------------
(* Halting, and the two ways to begin a stop. *)

(* Anybody, at any time.  A stop of category 1 that is under way is one of *)
(* category 0 from here.                                                   *)
Halt ==
    /\ mode' = "HALTED"
    /\ cat' = 0
    /\ NoDeed
    /\ UNCHANGED <<intent, tickets, ledger, world, up, known, asked, end>>

(* Of an order that works nothing is known but that; it has to be asked    *)
(* for.  One that does not, by the ledger, is over.                        *)
TakeUp ==
    /\ known' = [g \in Gateways |-> IF ledger[g] = "over" THEN "over" ELSE "unknown"]
    /\ end' = [g \in Gateways |-> IF ledger[g] = "over" THEN "over" ELSE "none"]

(* The stop of a halt. *)
Begin0 ==
    /\ up
    /\ mode = "HALTED"
    /\ intent = "none"
    /\ intent' = "open"
    /\ cat' = 0
    /\ TakeUp
    /\ NoDeed
    /\ UNCHANGED <<mode, tickets, ledger, world, up, asked>>

(* A controlled stop: the gate is closed, the mode is still RUNNING. *)
Begin1 ==
    /\ up
    /\ mode = "RUNNING"
    /\ intent = "none"
    /\ intent' = "open"
    /\ cat' = 1
    /\ TakeUp
    /\ NoDeed
    /\ UNCHANGED <<mode, tickets, ledger, world, up, asked>>

Stopping == up /\ intent = "open"

-----------------------------------------------------------------------------
(* The orders. *)

(* A cancel that arrives; that it was sent says nothing to the executor.   *)
(* One that is on its way does not hear that it is needless by now.        *)
Cancel(g) ==
    /\ Stopping
    /\ g \notin hung
    /\ known[g] # "over" \/ ledger[g] = "over"
    /\ end[g] = "none"
    /\ venue' = [venue EXCEPT ![g] = "over"]
    /\ Deed
    /\ UNCHANGED <<durable, hung, sent, exit, memory>>

(* The venue's answer.  If it tells all fills of an order that is over,    *)
(* the ledger has that, too.                                               *)
Query(g) ==
    /\ Stopping
    /\ g \notin hung
    /\ end[g] = "none"
    /\ ledger[g] = "working"
    /\ known' = [known EXCEPT ![g] = venue[g]]
    /\ \/ UNCHANGED ledger
       \/ venue[g] = "over" /\ ledger' = [ledger EXCEPT ![g] = "over"]
    /\ NoDeed
    /\ UNCHANGED <<mode, intent, tickets, world, up, cat, asked, end>>

(* To ask took too long, or the answer cannot be believed: nobody knows.   *)
TimeOut(g) ==
    /\ Stopping
    /\ end[g] = "none"
    /\ ledger[g] = "working"
    /\ known' = [known EXCEPT ![g] = "unknown"]
    /\ NoDeed
    /\ UNCHANGED <<durable, world, up, cat, asked, end>>

(* The venue's own event, on the engine's way: whoever stops knows what    *)
(* the ledger knows.                                                       *)
Hear(g) ==
    /\ up
    /\ venue[g] = "over" /\ ledger[g] = "working"
    /\ ledger' = [ledger EXCEPT ![g] = "over"]
    /\ known' = IF Stopping THEN [known EXCEPT ![g] = "over"] ELSE known
    /\ NoDeed
    /\ UNCHANGED <<mode, intent, tickets, world, up, cat, asked, end>>

(* Seen to be over: that is its end. *)
Report(g) ==
    /\ Stopping
    /\ known[g] = "over" /\ end[g] = "none"
    /\ end' = [end EXCEPT ![g] = "over"]
    /\ NoDeed
    /\ UNCHANGED <<durable, world, up, cat, known, asked>>

(* The budget is spent: reported as UNKNOWN. *)
Escalate(g) ==
    /\ Stopping
    /\ known[g] # "over" /\ end[g] = "none"
    /\ end' = [end EXCEPT ![g] = "unknown"]
    /\ NoDeed
    /\ UNCHANGED <<durable, world, up, cat, known, asked>>

(* An order may also end by itself, filled. *)
Fill(g) ==
    /\ venue[g] = "working"
    /\ venue' = [venue EXCEPT ![g] = "over"]
    /\ NoDeed
    /\ UNCHANGED <<durable, hung, sent, exit, memory>>

-----------------------------------------------------------------------------
(* The exits, of category 1. *)

(* The ticket is written to the disk before anything is sent. *)
Ticket(g) ==
    /\ Stopping
    /\ cat = 1 /\ mode = "RUNNING"
    /\ end[g] = "over" /\ ledger[g] = "over"
    /\ g \notin tickets
    /\ tickets' = tickets \cup {g}
    /\ asked' = asked \cup {g}
    /\ NoDeed
    /\ UNCHANGED <<mode, intent, ledger, world, up, cat, known, end>>

(* The kernel's last look at the latch, and the send.  It is not known     *)
(* whether it arrived.                                                     *)
Send(g) ==
    /\ Stopping
    /\ cat = 1 /\ mode = "RUNNING"
    /\ g \in tickets /\ g \in asked
    /\ asked' = asked \ {g}
    /\ sent' = [sent EXCEPT ![g] = IF @ = 2 THEN 2 ELSE @ + 1]
    /\ exit' = [exit EXCEPT ![g] = "working"]
    /\ Deed
    /\ UNCHANGED <<durable, hung, venue, up, cat, known, end>>

ExitFills(g) ==
    /\ exit[g] = "working"
    /\ exit' = [exit EXCEPT ![g] = "over"]
    /\ NoDeed
    /\ UNCHANGED <<durable, hung, venue, sent, memory>>

(* Kernel's refusal, or the budget of the exits is spent. *)
GiveUp(g) ==
    /\ Stopping
    /\ g \in asked
    /\ asked' = asked \ {g}
    /\ NoDeed
    /\ UNCHANGED <<durable, world, up, cat, known, end>>

(* HALTED, an exit that rests is taken back like any other order. *)
TakeBack(g) ==
    /\ Stopping
    /\ mode = "HALTED"
    /\ g \notin hung
    /\ exit[g] # "none"
    /\ exit' = [exit EXCEPT ![g] = "over"]
    /\ Deed
    /\ UNCHANGED <<durable, hung, venue, sent, memory>>

-----------------------------------------------------------------------------
(* The end, and what a crash makes of it. *)

Ended == \A g \in Gateways : end[g] # "none"

(* Every order has its end, no exit is under way; a controlled stop halts  *)
(* now, and takes back what rests of its exits and can be reached.  What   *)
(* is done is done for good.                                               *)
Finish ==
    /\ Stopping
    /\ Ended
    /\ asked = {}
    /\ intent' = "done"
    /\ mode' = "HALTED"
    /\ cat' = 0
    /\ \E back \in {{}, {g \in Gateways \ hung : exit[g] = "working"}} :
        exit' = [g \in Gateways |-> IF g \in back THEN "over" ELSE exit[g]]
    /\ NoDeed
    /\ UNCHANGED <<tickets, ledger, hung, venue, sent, up, known, asked, end>>

Crash ==
    /\ up
    /\ up' = FALSE
    /\ cat' = 0
    /\ known' = [g \in Gateways |-> "unknown"]
    /\ asked' = {}
    /\ end' = [g \in Gateways |-> "none"]
    /\ NoDeed
    /\ UNCHANGED <<durable, world>>

(* A restart never comes up RUNNING with a stop that was interrupted: it   *)
(* halts, and takes the stop up as one of category 0.                      *)
Restart ==
    /\ ~up
    /\ up' = TRUE
    /\ mode' = IF intent = "open" THEN "HALTED" ELSE mode
    /\ IF intent = "open" THEN TakeUp ELSE UNCHANGED <<known, end>>
    /\ cat' = 0
    /\ NoDeed
    /\ UNCHANGED <<intent, tickets, ledger, world, asked>>

-----------------------------------------------------------------------------
OnWay(g) ==
    \/ Cancel(g) \/ Query(g) \/ TimeOut(g) \/ Hear(g) \/ Report(g) \/ Escalate(g) \/ Fill(g)
    \/ Ticket(g) \/ Send(g) \/ ExitFills(g) \/ GiveUp(g) \/ TakeBack(g)

Next ==
    \/ Halt \/ Begin0 \/ Begin1 \/ Finish \/ Crash \/ Restart
    \/ \E g \in Gateways : OnWay(g)

Spec == Init /\ [][Next]_vars

(***************************************************************************)
(* What must not be put off for ever: a dead process is brought back, a    *)
(* halt has its stop, a gateway that is not hung is cancelled, asked and   *)
(* reported, budgets run out.  Each gateway has its own lane, so fairness  *)
(* is for each alone.                                                      *)
(***************************************************************************)
LaneRuns(g) == /\ SF_vars(Cancel(g)) /\ SF_vars(Query(g)) /\ WF_vars(Report(g))
BudgetEnds(g) == WF_vars(Report(g) \/ Escalate(g)) /\ WF_vars(GiveUp(g))

LiveSpec ==
    /\ Spec
    /\ WF_vars(Restart) /\ WF_vars(Begin0) /\ WF_vars(Finish)
    /\ \A g \in Gateways : LaneRuns(g) /\ BudgetEnds(g)

(* As if no budget ever ended: what a gateway achieves then it achieves by *)
(* itself, and nothing that hangs elsewhere holds it up.                   *)
LaneSpec ==
    /\ Spec
    /\ WF_vars(Restart) /\ WF_vars(Begin0)
    /\ \A g \in Gateways : LaneRuns(g)

-----------------------------------------------------------------------------
(* Invariants. *)

(* What is reported as over is over, and so is what the ledger has so.     *)
(* A time-out is not an end.                                               *)
NeverFalseSuccess ==
    \A g \in Gateways : end[g] = "over" \/ ledger[g] = "over" => venue[g] = "over"

(* An exit is sent once at the most, crashes and restarts included. *)
ExitOnce == \A g \in Gateways : sent[g] <= 1

(* No exit without its ticket on the disk. *)
TicketBeforeExit == \A g \in Gateways : sent[g] > 0 => g \in tickets

(* No exit while the order that came before it may still fill. *)
ExitAfterOrder == \A g \in Gateways : sent[g] > 0 => venue[g] = "over"

(* A stop that came to its end leaves a halted home. *)
DoneMeansHalted == intent = "done" => mode = "HALTED"

(* Halting has no guard: not during a shutdown, not during an exit. *)
HaltNeverWaits == mode # "HALTED" => ENABLED Halt

(* While a stop is under way, an order without an end at a gateway that    *)
(* answers can be cancelled, unless it is known to be over.                *)
CancelsAlwaysPass ==
    Stopping => \A g \in Gateways \ hung :
        end[g] = "none" /\ known[g] # "over" => ENABLED Cancel(g)

-----------------------------------------------------------------------------
(* Action properties. *)

(* Once HALTED nothing is sent: an exit is an order like any other. *)
NoEmitAfterHalt == [][mode = "HALTED" => sent' = sent]_vars

HaltIsLatching == [][mode = "HALTED" => mode' = "HALTED"]_vars

(* 1 becomes 0 at any time, 0 becomes 1 only with a stop that begins. *)
CategoryFalls == [][(cat = 0 /\ cat' = 1) => intent = "none"]_vars

(* A stop that came to its end is never begun again. *)
NeverReplayed == [][intent = "done" => intent' = "done" /\ ~replayed']_vars

-----------------------------------------------------------------------------
(* Temporal properties. *)

(* A stop that has begun comes to its end, whatever hangs and dies. *)
StopEnds == (intent = "open") ~> (intent = "done" \/ ~up)

(* A halt has its stop. *)
HaltIsFollowed == (mode = "HALTED") ~> (intent # "none" \/ ~up)

(* A gateway that hangs holds up no other: whatever hangs, and with no      *)
(* budget that would have to end, an order whose own gateway answers is    *)
(* over in the end, unless its own budget was spent.                       *)
NobodyIsHeldUp ==
    \A g \in Gateways :
        (g \notin hung /\ intent = "open") ~> (venue[g] = "over" \/ end[g] = "unknown" \/ ~up)

-----------------------------------------------------------------------------
THEOREM Safety ==
    Spec => /\ [](/\ TypeOK
                  /\ NeverFalseSuccess
                  /\ ExitOnce
                  /\ TicketBeforeExit
                  /\ ExitAfterOrder
                  /\ DoneMeansHalted
                  /\ HaltNeverWaits
                  /\ CancelsAlwaysPass)
            /\ NoEmitAfterHalt
            /\ HaltIsLatching
            /\ CategoryFalls
            /\ NeverReplayed

THEOREM Liveness == (LiveSpec => StopEnds /\ HaltIsFollowed) /\ (LaneSpec => NobodyIsHeldUp)
=============================================================================
