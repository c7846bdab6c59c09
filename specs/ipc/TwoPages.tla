------------------------------ MODULE TwoPages ------------------------------
(***************************************************************************)
(* The page of a home is two.                                              *)
(*                                                                         *)
(* QuiescentKill.tla has one byte, the one in memory.  Here are two memory *)
(* disks, near and far, as two containers have them, and the page's file   *)
(* in the home, which both can see.  An order looks at the byte in its own *)
(* memory and at nothing else; a halt sets the byte in its own memory      *)
(* first, and is written into the file beside everything else; a disk may  *)
(* refuse that.  Who looks at the other memory hears of it by the file.    *)
(*                                                                         *)
(* Each of the three has a byte, the mark of the latest halt that reached  *)
(* it, and the mark for which it was armed last.  It is armed if the byte  *)
(* says so and the two marks are one (`MemoryPage.armed`, `FilePage.byte`).*)
(* The mark goes before the byte, in halting as in arming; only a halt in  *)
(* the file sets the byte first, as no reset can come between.             *)
(*                                                                         *)
(* Left to QuiescentKill.tla: announcing a send before the look, threads,  *)
(* forks, suspension, SIGKILL, what the ack says of the record.  A         *)
(* watchdog is a killer here as there, and so is an engine that halts.     *)
(***************************************************************************)
EXTENDS Naturals

CONSTANTS
    Engines, Killers,
    Near,         \* those of them that look at the near memory; the others look at the far one
    ResetSides,   \* where resets may come from
    MaxEpoch,     \* there are so many epochs
    MaxMark,      \* and so many marks of halts
    Boots,        \* the machine may be booted
    MayRefuse,    \* the disk may refuse what is written into the file
    ByMemory      \* a killer may ack without the file, if nobody is attached elsewhere

Sides == {"near", "far"}

ASSUME ConstantsOK ==
    /\ Near \subseteq Engines \union Killers
    /\ ResetSides \subseteq Sides
    /\ MaxEpoch \in Nat /\ MaxMark \in Nat
    /\ Boots \in BOOLEAN /\ MayRefuse \in BOOLEAN /\ ByMemory \in BOOLEAN

-----------------------------------------------------------------------------
VARIABLES
    mem,      \* each memory: is there a page, its byte, its mark, what it was armed for
    file,     \* the file: likewise
    record,   \* the latch record: armed?, and its epoch
    n,        \* the latest mark: no two halts have the same

    sh,       \* who holds the running lock shared
    ex,       \* who has it exclusively

    st,       \* where each engine stands
    dead,     \* does it believe its page no more?
    epoch,    \* its epoch
    cap,      \* the mark that each engine or killer has read, and is about to write
    told,     \* the mark that each engine or killer knows to be in the file

    pc,       \* where each killer stands
    fp,       \* and where its thread that writes the file does

    rs,       \* where a reset stands
    at,       \* where it comes from
    noted,    \* the marks that it has noted, of its memory and of the file

    (* History.  No action reads it. *)
    ack,      \* the latest ack, until the next reset: in which memory, whether the file says halt, too,
              \* and who was attached
    due,      \* has a halt reached this memory, or the file, after which the record was not armed?
    ended,    \* the marks in the file whose halts resets have ended
    fenced    \* was a halt set in an engine's memory since it started?

pages   == <<mem, file, record, n>>
lock    == <<sh, ex>>
engine  == <<st, dead, epoch>>
copies  == <<cap, told>>
killer  == <<pc, fp>>
reset   == <<rs, at, noted>>
history == <<ack, due, ended, fenced>>
vars    == <<mem, file, record, n, sh, ex, st, dead, epoch, cap, told, pc, fp, rs, at, noted, ack, due, ended, fenced>>

Marks  == 0 .. MaxMark
Nobody == "nobody"
Absent == [there |-> FALSE, armed |-> FALSE, mark |-> 0, for |-> 0]
NoAck  == [side |-> "none", file |-> FALSE, who |-> {}]

TypeOK ==
    /\ mem \in [Sides -> [there : BOOLEAN, armed : BOOLEAN, mark : Marks, for : Marks]]
    /\ \A s \in Sides : mem[s].there \/ mem[s] = Absent
    /\ file \in [armed : BOOLEAN, mark : Marks, for : Marks]
    /\ record \in [armed : BOOLEAN, epoch : 1 .. MaxEpoch]
    /\ n \in Marks
    /\ sh \subseteq Engines
    /\ ex \in Killers \union {"operator", Nobody}
    /\ ex # Nobody => sh = {}
    /\ st \in [Engines -> {"DOWN", "armed", "halted", "looking", "over", "rejoined",
                           "IDLE", "HALTED", "RUNNING", "SENDING"}]
    /\ dead \in [Engines -> BOOLEAN]
    /\ epoch \in [Engines -> 1 .. MaxEpoch]
    /\ cap \in [Engines \union Killers -> Marks]
    /\ told \in [Engines \union Killers -> Marks]
    /\ pc \in [Killers -> {"ready", "counted", "set", "alone", "acked", "gone"}]
    /\ fp \in [Killers -> {"none", "copying", "halted"}]
    /\ rs \in {"idle", "begun", "noted", "latched", "for", "filed", "armed"}
    /\ at \in Sides
    /\ noted \in Marks \X Marks
    /\ ack \in [side : Sides \union {"none"}, file : BOOLEAN, who : SUBSET Engines]
    /\ due \in [Sides \union {"file"} -> BOOLEAN]
    /\ ended \subseteq Marks
    /\ fenced \in [Engines -> BOOLEAN]

(* Nobody is there. *)
Rest ==
    /\ sh = {} /\ ex = Nobody
    /\ st = [e \in Engines |-> "DOWN"]
    /\ dead = [e \in Engines |-> FALSE]
    /\ epoch = [e \in Engines |-> 1]
    /\ cap = [p \in Engines \union Killers |-> 0]
    /\ told = [p \in Engines \union Killers |-> 0]
    /\ pc = [k \in Killers |-> "ready"]
    /\ fp = [k \in Killers |-> "none"]
    /\ rs = "idle" /\ at = "near" /\ noted = <<0, 0>>
    /\ ack = NoAck
    /\ due = [s \in Sides \union {"file"} |-> FALSE]
    /\ fenced = [e \in Engines |-> FALSE]

(* A home in use, with nobody there yet; each memory was made already, or  *)
(* nobody has looked at it since the boot.                                 *)
Init ==
    /\ mem \in [Sides -> {Absent, [Absent EXCEPT !.there = TRUE, !.armed = TRUE]}]
    /\ file = [armed |-> TRUE, mark |-> 0, for |-> 0]
    /\ record = [armed |-> TRUE, epoch |-> 1]
    /\ n = 0
    /\ ended = {}
    /\ Rest

-----------------------------------------------------------------------------
(* What several actions share. *)

Of(p)       == IF p \in Near THEN "near" ELSE "far"
ByteSays(s) == mem[s].there /\ mem[s].armed
MemArmed(s) == ByteSays(s) /\ mem[s].mark = mem[s].for
FileArmed   == file.armed /\ file.mark = file.for

(* The memory tells of a halt that the file was armed after, by a reset    *)
(* that knew of it (`_is_over`).                                           *)
Over(s) ==
    /\ mem[s].there /\ ~mem[s].armed /\ mem[s].mark # mem[s].for
    /\ FileArmed /\ mem[s].mark = file.mark

(* What both pages say together, with nothing made (`peek`). *)
Peek(s) == FileArmed /\ (mem[s].there => MemArmed(s) \/ Over(s))

Working(e)  == st[e] \in {"RUNNING", "SENDING"}
Attached(e) == st[e] # "DOWN"

(* The pen: those who write a halt share it; a reset has it alone, and so  *)
(* has who arms a memory after one.                                        *)
Rejoins(e)    == st[e] \in {"over", "rejoined"}
PenFreeFor(e) == rs = "idle" /\ \A f \in Engines \ {e} : ~Rejoins(f)
PenFree       == PenFreeFor(Nobody)
PenUnheld     == PenFree /\ \A k \in Killers : fp[k] = "none"

(* The next mark, written into a memory: the halt is due from here. *)
Marked(s) == /\ n < MaxMark /\ n' = n + 1

(* The byte in memory is set: a fence for all who look at it. *)
Fence(s) == fenced' = [e \in Engines |-> fenced[e] \/ Of(e) = s]

(* What the file is after `Page.mirror` of a memory with this mark; mark 0 *)
(* is that of a memory that nobody has halted.                             *)
Mirrored(mark) ==
    IF FileArmed \/ (mark # 0 /\ file.mark # mark)
    THEN [file EXCEPT !.armed = FALSE, !.mark = mark] ELSE file

-----------------------------------------------------------------------------
(* A killer. *)

(* The mark, if there is a page in this memory. *)
Count(k) == LET s == Of(k) IN
    /\ pc[k] = "ready"
    /\ IF mem[s].there
       THEN /\ Marked(s)
            /\ mem' = [mem EXCEPT ![s].mark = n + 1]
            /\ due' = [due EXCEPT ![s] = TRUE]
            /\ pc' = [pc EXCEPT ![k] = "counted"]
       ELSE /\ pc' = [pc EXCEPT ![k] = "set"]
            /\ UNCHANGED <<mem, n, due>>
    /\ UNCHANGED <<file, record, lock, engine, copies, fp, reset, ack, ended, fenced>>

(* The byte: emission stops in all who look at this memory.  If a reset    *)
(* has come between, then it has met this halt by its mark, and ended it;  *)
(* the byte is a halt once more, with a mark that is not its own.          *)
SetByte(k) == LET s == Of(k) IN
    /\ pc[k] = "counted"
    /\ mem' = [mem EXCEPT ![s].armed = FALSE]
    /\ Fence(s)
    /\ ended' = ended \ {mem[s].mark}
    /\ pc' = [pc EXCEPT ![k] = "set"]
    /\ UNCHANGED <<file, record, n, lock, engine, copies, fp, reset, ack, due>>

(* SetFile begins: a page in memory is made where there is none, halted,   *)
(* and one that has never been halted gets its mark.                       *)
Going(k) == pc[k] \in {"set", "alone", "acked"}

MakeHalted(k) == LET s == Of(k) IN
    /\ Going(k) /\ fp[k] = "none"
    /\ mem[s].mark = 0
    /\ Marked(s)
    /\ mem' = [mem EXCEPT ![s] = [there |-> TRUE, armed |-> FALSE, mark |-> n + 1, for |-> 0]]
    /\ due' = [due EXCEPT ![s] = TRUE]
    /\ Fence(s)
    /\ UNCHANGED <<file, record, lock, engine, copies, killer, reset, ack, ended>>

(* With the pen, and unless a reset has armed the memory meanwhile. *)
SetFile(k) == LET s == Of(k) IN
    /\ Going(k) /\ fp[k] = "none"
    /\ PenFree
    /\ mem[s].mark \notin {0, told[k]} /\ ~mem[s].armed
    /\ IF Mirrored(mem[s].mark) = file
       THEN told' = [told EXCEPT ![k] = mem[s].mark] /\ UNCHANGED <<cap, fp>>
       ELSE /\ cap' = [cap EXCEPT ![k] = mem[s].mark]
            /\ fp' = [fp EXCEPT ![k] = "copying"]
            /\ UNCHANGED told
    /\ UNCHANGED <<pages, lock, engine, pc, reset, history>>

(* The byte first: the mark may be one that the file was armed for. *)
FileHalt(k) ==
    /\ fp[k] = "copying"
    /\ file' = [file EXCEPT !.armed = FALSE]
    /\ due' = [due EXCEPT !["file"] = TRUE]
    /\ fp' = [fp EXCEPT ![k] = "halted"]
    /\ UNCHANGED <<mem, record, n, lock, engine, copies, pc, reset, ack, ended, fenced>>

FileMark(k) ==
    /\ fp[k] = "halted"
    /\ file' = [file EXCEPT !.mark = cap[k]]
    /\ told' = [told EXCEPT ![k] = cap[k]]
    /\ cap' = [cap EXCEPT ![k] = 0]
    /\ fp' = [fp EXCEPT ![k] = "none"]
    /\ UNCHANGED <<mem, record, n, lock, engine, pc, reset, history>>

(* Over an armed record, in its epoch, with the pen. *)
WriteLatch(k) ==
    /\ Going(k)
    /\ PenFree
    /\ record.armed
    /\ record' = [record EXCEPT !.armed = FALSE]
    /\ UNCHANGED <<mem, file, n, lock, engine, copies, killer, reset, history>>

GetExclusive(k) ==
    /\ pc[k] = "set"
    /\ ex = Nobody /\ sh = {}
    /\ ex' = k
    /\ pc' = [pc EXCEPT ![k] = "alone"]
    /\ UNCHANGED <<pages, sh, engine, copies, fp, reset, history>>

KnowsFile(k)  == told[k] = mem[Of(k)].mark /\ told[k] # 0
ReachesAll(k) == ByMemory /\ \A e \in Engines : Attached(e) => Of(e) = Of(k) /\ mem[Of(k)].there
Here          == {e \in Engines : Attached(e)}

(* Under the lock: the file says halt, or all who are attached look at     *)
(* this memory.  If a reset has armed it since, in memory or in the file   *)
(* alone, then halt once more, in both.  That is the ack.                  *)
LookAgain(k) == LET s == Of(k) IN
    /\ pc[k] = "alone"
    /\ fp[k] = "none"
    /\ KnowsFile(k) \/ ReachesAll(k)
    /\ IF ByteSays(s) \/ Over(s) \/ (KnowsFile(k) /\ FileArmed)
       THEN /\ Marked(s)
            /\ mem' = [mem EXCEPT ![s].armed = FALSE, ![s].mark = n + 1]
            /\ Fence(s)
            /\ \/ /\ file' = Mirrored(n + 1)
                  /\ told' = [told EXCEPT ![k] = n + 1]
                  /\ due' = [due EXCEPT ![s] = TRUE, !["file"] = TRUE]
                  /\ ack' = [side |-> s, file |-> TRUE, who |-> Here]
               \/ /\ MayRefuse /\ ReachesAll(k)
                  /\ due' = [due EXCEPT ![s] = TRUE]
                  /\ ack' = [side |-> s, file |-> FALSE, who |-> Here]
                  /\ UNCHANGED <<file, told>>
       ELSE /\ mem' = [mem EXCEPT ![s].there = TRUE]
            /\ ack' = [side |-> s, file |-> KnowsFile(k), who |-> Here]
            /\ UNCHANGED <<file, n, told, due, fenced>>
    /\ pc' = [pc EXCEPT ![k] = "acked"]
    /\ ex' = Nobody
    /\ UNCHANGED <<record, sh, engine, cap, fp, reset, ended>>

(* At its time-out, too: the lock goes with it, and the pen. *)
KillerDies(k) ==
    /\ pc[k] \notin {"ready", "gone"}
    /\ pc' = [pc EXCEPT ![k] = "gone"]
    /\ fp' = [fp EXCEPT ![k] = "none"]
    /\ cap' = [cap EXCEPT ![k] = 0]
    /\ told' = [told EXCEPT ![k] = 0]
    /\ ex' = IF ex = k THEN Nobody ELSE ex
    /\ UNCHANGED <<pages, sh, engine, reset, history>>

-----------------------------------------------------------------------------
(* A reset, from one side. *)

(* With lock and pen, over a home that is not armed: the memory is made    *)
(* where there is none, halted; and what it says is in the file, too.      *)
ResetBegin(s) ==
    /\ rs = "idle" /\ record.epoch < MaxEpoch
    /\ ex = Nobody /\ sh = {} /\ PenUnheld
    /\ ~(record.armed /\ Peek(s))
    /\ IF ByteSays(s)
       THEN /\ Marked(s)
            /\ mem' = [mem EXCEPT ![s].armed = FALSE, ![s].mark = n + 1]
            /\ Fence(s)
       ELSE /\ mem' = [mem EXCEPT ![s].there = TRUE]
            /\ UNCHANGED <<n, fenced>>
    /\ file' = Mirrored(mem'[s].mark)
    /\ due' = [due EXCEPT ![s] = @ \/ n' # n, !["file"] = @ \/ file' # file]
    /\ ex' = "operator"
    /\ rs' = "begun" /\ at' = s
    /\ UNCHANGED <<record, sh, engine, copies, killer, noted, ack, ended>>

NoteHalts ==
    /\ rs = "begun"
    /\ noted' = <<mem[at].mark, file.mark>>
    /\ ack' = NoAck
    /\ rs' = "noted"
    /\ UNCHANGED <<pages, lock, engine, copies, killer, at, due, ended, fenced>>

(* The halts that it has noted are over; so is one in the other memory,    *)
(* if it is the one in the file.                                           *)
ResetLatch ==
    /\ rs = "noted"
    /\ record' = [armed |-> TRUE, epoch |-> record.epoch + 1]
    /\ due' = [x \in Sides \union {"file"} |->
          IF x = "file" THEN due[x] /\ file.mark # noted[2]
          ELSE due[x] /\ mem[x].mark # noted[2] /\ ~(x = at /\ mem[x].mark = noted[1])]
    /\ ended' = ended \union ({noted[2]} \ {0})
    /\ rs' = "latched"
    /\ UNCHANGED <<mem, file, n, lock, engine, copies, killer, at, noted, ack, fenced>>

(* The file first: what it is armed for, and its byte. *)
ResetFileFor ==
    /\ rs = "latched"
    /\ file' = [file EXCEPT !.for = noted[2]]
    /\ rs' = "for"
    /\ UNCHANGED <<mem, record, n, lock, engine, copies, killer, at, noted, history>>

ResetFile ==
    /\ rs = "for"
    /\ file' = [file EXCEPT !.armed = TRUE]
    /\ rs' = "filed"
    /\ UNCHANGED <<mem, record, n, lock, engine, copies, killer, at, noted, history>>

(* The byte that orders look at goes last. *)
ResetByte ==
    /\ rs = "filed"
    /\ mem' = [mem EXCEPT ![at].for = noted[1], ![at].armed = TRUE]
    /\ rs' = "armed"
    /\ UNCHANGED <<file, record, n, lock, engine, copies, killer, at, noted, history>>

ResetOver == rs' = "idle" /\ at' = "near" /\ noted' = <<0, 0>> /\ ex' = Nobody

(* Somebody has halted meanwhile: halt wins. *)
ResetDone ==
    /\ rs = "armed"
    /\ IF <<mem[at].mark, file.mark>> # noted
       THEN /\ Marked(at)
            /\ mem' = [mem EXCEPT ![at].armed = FALSE, ![at].mark = n + 1]
            /\ file' = Mirrored(n + 1)
            /\ record' = [record EXCEPT !.armed = FALSE]
            /\ due' = [due EXCEPT ![at] = TRUE, !["file"] = TRUE]
            /\ Fence(at)
       ELSE UNCHANGED <<mem, file, record, n, due, fenced>>
    /\ ResetOver
    /\ UNCHANGED <<sh, engine, copies, killer, ack, ended>>

ResetDies ==
    /\ rs # "idle"
    /\ ResetOver
    /\ UNCHANGED <<pages, sh, engine, copies, killer, history>>

-----------------------------------------------------------------------------
(* An engine comes up. *)

(* Record and file are read, with the lock shared, unless somebody has it. *)
Attach(e) ==
    /\ st[e] = "DOWN"
    /\ st' = [st EXCEPT ![e] = IF record.armed /\ FileArmed THEN "armed" ELSE "halted"]
    /\ sh' = IF ex = Nobody THEN sh \union {e} ELSE sh
    /\ UNCHANGED <<pages, ex, dead, epoch, copies, killer, reset, history>>

(* A page in memory is made where there is none, armed if both said so. *)
MakeMemory(e) == LET s == Of(e) IN
    /\ st[e] \in {"armed", "halted"}
    /\ mem' = IF mem[s].there THEN mem
              ELSE [mem EXCEPT ![s] = [Absent EXCEPT !.there = TRUE, !.armed = st[e] = "armed"]]
    /\ st' = [st EXCEPT ![e] = "looking"]
    /\ UNCHANGED <<file, record, n, lock, dead, epoch, copies, killer, reset, history>>

(* One that is out finds that somebody has reset the home. *)
FindReset(e) ==
    /\ st[e] \in {"IDLE", "HALTED"}
    /\ record.armed /\ record.epoch > epoch[e]
    /\ ex = Nobody
    /\ sh' = sh \union {e}
    /\ st' = [st EXCEPT ![e] = "looking"]
    /\ UNCHANGED <<pages, ex, dead, epoch, copies, killer, reset, history>>

(* The halt that its memory tells of is over: with the pen its mark is     *)
(* noted,                                                                  *)
RejoinLook(e) == LET s == Of(e) IN
    /\ st[e] = "looking" /\ e \in sh
    /\ PenUnheld
    /\ Over(s)
    /\ cap' = [cap EXCEPT ![e] = mem[s].mark]
    /\ st' = [st EXCEPT ![e] = "over"]
    /\ UNCHANGED <<pages, lock, dead, epoch, told, killer, reset, history>>

(* and the memory is armed for it. *)
RejoinArm(e) == LET s == Of(e) IN
    /\ st[e] = "over"
    /\ mem' = [mem EXCEPT ![s].for = cap[e], ![s].armed = TRUE]
    /\ cap' = [cap EXCEPT ![e] = 0]
    /\ st' = [st EXCEPT ![e] = "rejoined"]
    /\ UNCHANGED <<file, record, n, lock, dead, epoch, told, killer, reset, history>>

(* Are record, memory and file armed?  If not, memory and file say halt;   *)
(* but no halt that is over is written into the file.                      *)
ComeUp(e) == LET s == Of(e) IN
    /\ st[e] \in {"looking", "rejoined"}
    /\ sh' = sh \ {e}
    /\ IF record.armed /\ MemArmed(s) /\ FileArmed
       THEN /\ st' = [st EXCEPT ![e] = "IDLE"]
            /\ epoch' = [epoch EXCEPT ![e] = record.epoch]
            /\ UNCHANGED <<mem, file, n, due, fenced>>
       ELSE /\ st' = [st EXCEPT ![e] = "HALTED"]
            /\ IF ByteSays(s)
               THEN /\ Marked(s)
                    /\ mem' = [mem EXCEPT ![s].armed = FALSE, ![s].mark = n + 1]
                    /\ Fence(s)
               ELSE UNCHANGED <<mem, n, fenced>>
            /\ \/ PenFreeFor(e) /\ ~Over(s) /\ file' = Mirrored(mem'[s].mark)
               \/ (MayRefuse \/ ~PenFreeFor(e) \/ Over(s)) /\ UNCHANGED file
            /\ due' = [due EXCEPT ![s] = @ \/ n' # n, !["file"] = @ \/ file' # file]
            /\ UNCHANGED epoch
    /\ UNCHANGED <<record, ex, dead, copies, killer, reset, ack, ended>>

-----------------------------------------------------------------------------
(* An engine works. *)

(* The lock, and under it the looks at memory, file and record. *)
Start(e) == LET s == Of(e) IN
    /\ st[e] = "IDLE"
    /\ ex = Nobody
    /\ MemArmed(s)
    /\ FileArmed
    /\ record.armed /\ epoch[e] = record.epoch
    /\ sh' = sh \union {e}
    /\ st' = [st EXCEPT ![e] = "RUNNING"]
    /\ fenced' = [fenced EXCEPT ![e] = FALSE]
    /\ UNCHANGED <<pages, ex, dead, epoch, copies, killer, reset, ack, due, ended>>

(* An order looks at the byte in memory. *)
Send(e) ==
    /\ st[e] = "RUNNING"
    /\ ~dead[e] /\ ByteSays(Of(e))
    /\ st' = [st EXCEPT ![e] = "SENDING"]
    /\ UNCHANGED <<pages, lock, dead, epoch, copies, killer, reset, history>>

End(e) ==
    /\ st[e] = "SENDING"
    /\ st' = [st EXCEPT ![e] = "RUNNING"]
    /\ UNCHANGED <<pages, lock, dead, epoch, copies, killer, reset, history>>

See(e) ==
    /\ Working(e) /\ ~dead[e]
    /\ ~ByteSays(Of(e))
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<pages, lock, st, epoch, copies, killer, reset, history>>

(* The listener looks at the file. *)
Hear(e) ==
    /\ Working(e) /\ ~dead[e]
    /\ ~FileArmed
    /\ dead' = [dead EXCEPT ![e] = TRUE]
    /\ UNCHANGED <<pages, lock, st, epoch, copies, killer, reset, history>>

Leave(e) ==
    /\ st[e] = "RUNNING" /\ dead[e]
    /\ st' = [st EXCEPT ![e] = "HALTED"]
    /\ dead' = [dead EXCEPT ![e] = FALSE]
    /\ sh' = sh \ {e}
    /\ UNCHANGED <<pages, ex, epoch, copies, killer, reset, history>>

(* The heartbeat: a byte that is armed for another mark than the latest.   *)
Mend(e) == LET s == Of(e) IN
    /\ Working(e) \/ st[e] \in {"IDLE", "HALTED"}
    /\ ByteSays(s) /\ ~MemArmed(s)
    /\ Marked(s)
    /\ mem' = [mem EXCEPT ![s].armed = FALSE, ![s].mark = n + 1]
    /\ due' = [due EXCEPT ![s] = TRUE]
    /\ Fence(s)
    /\ UNCHANGED <<file, record, lock, engine, copies, killer, reset, ack, ended>>

(* And it writes into the file, with the pen, what its memory says, until  *)
(* it knows that it is there (`Sentinel.mirror`).                          *)
Repeat(e) == LET s == Of(e) IN
    /\ Working(e) \/ st[e] \in {"IDLE", "HALTED"}
    /\ PenFree
    /\ mem[s].there /\ ~mem[s].armed /\ mem[s].mark \notin {0, told[e]}
    /\ ~Over(s)
    /\ file' = Mirrored(mem[s].mark)
    /\ told' = [told EXCEPT ![e] = mem[s].mark]
    /\ due' = [due EXCEPT !["file"] = @ \/ file' # file]
    /\ UNCHANGED <<mem, record, n, lock, engine, cap, killer, reset, ack, ended, fenced>>

Crash(e) ==
    /\ Attached(e)
    /\ st' = [st EXCEPT ![e] = "DOWN"]
    /\ dead' = [dead EXCEPT ![e] = FALSE]
    /\ epoch' = [epoch EXCEPT ![e] = 1]
    /\ cap' = [cap EXCEPT ![e] = 0]
    /\ told' = [told EXCEPT ![e] = 0]
    /\ sh' = sh \ {e}
    /\ ack' = [ack EXCEPT !.who = @ \ {e}]
    /\ UNCHANGED <<pages, ex, killer, reset, due, ended, fenced>>

(* All processes end, and both memories are gone; a halt that was in       *)
(* memory alone is lost.                                                   *)
Boot ==
    /\ Boots
    /\ \E s \in Sides : mem[s].there
    /\ mem' = [s \in Sides |-> Absent]
    /\ sh' = {} /\ st' = [e \in Engines |-> "DOWN"] /\ dead' = [e \in Engines |-> FALSE]
    /\ epoch' = [e \in Engines |-> 1]
    /\ cap' = [p \in Engines \union Killers |-> 0]
    /\ told' = [p \in Engines \union Killers |-> 0]
    /\ pc' = [k \in Killers |-> IF pc[k] = "ready" THEN "ready" ELSE "gone"]
    /\ fp' = [k \in Killers |-> "none"]
    /\ ResetOver
    /\ ack' = IF ack.file THEN [ack EXCEPT !.who = {}] ELSE NoAck
    /\ due' = [due EXCEPT !["near"] = FALSE, !["far"] = FALSE]
    /\ fenced' = [e \in Engines |-> FALSE]
    /\ UNCHANGED <<file, record, n, ended>>

-----------------------------------------------------------------------------
Kills(k) ==
    \/ Count(k) \/ SetByte(k) \/ MakeHalted(k) \/ SetFile(k) \/ FileMark(k) \/ FileHalt(k)
    \/ WriteLatch(k) \/ GetExclusive(k) \/ LookAgain(k) \/ KillerDies(k)

Resets ==
    \/ \E s \in ResetSides : ResetBegin(s)
    \/ NoteHalts \/ ResetLatch \/ ResetFileFor \/ ResetFile \/ ResetByte \/ ResetDone \/ ResetDies

Runs(e) ==
    \/ Attach(e) \/ MakeMemory(e) \/ FindReset(e) \/ RejoinLook(e) \/ RejoinArm(e) \/ ComeUp(e)
    \/ Start(e) \/ Send(e) \/ End(e) \/ See(e) \/ Hear(e) \/ Leave(e) \/ Mend(e) \/ Repeat(e) \/ Crash(e)

Next == (\E k \in Killers : Kills(k)) \/ Resets \/ (\E e \in Engines : Runs(e)) \/ Boot

Spec == Init /\ [][Next]_vars

(* The same, from where a reset that came from afar has ended a halt that  *)
(* the near memory still tells of.                                         *)
AfterReset ==
    /\ mem = [s \in Sides |-> [there |-> TRUE, armed |-> s = "far", mark |-> IF s = "near" THEN 1 ELSE 0, for |-> 0]]
    /\ file = [armed |-> TRUE, mark |-> 1, for |-> 1]
    /\ record = [armed |-> TRUE, epoch |-> 2]
    /\ n = 1
    /\ ended = {1}
    /\ Rest

AfterSpec == AfterReset /\ [][Next]_vars

(* What must not be put off for ever: the listener looks, a send ends, and *)
(* who has seen a halt lets go.                                            *)
ListenerLooks == \A e \in Engines : WF_vars(Hear(e))
EverySendEnds == \A e \in Engines : WF_vars(End(e)) /\ WF_vars(Leave(e))

LiveSpec == Spec /\ ListenerLooks /\ EverySendEnds

-----------------------------------------------------------------------------
(* Invariants. *)

(* An ack that rests on the file holds for all; one that rests on the      *)
(* memory alone holds for all who look at that memory, until a boot, and   *)
(* for all who were attached.                                              *)
AckMeansQuiescent ==
    ack # NoAck => \A e \in Engines :
        st[e] = "SENDING" => ~ack.file /\ Of(e) # ack.side /\ e \notin ack.who

(* Not true if the ack rests on the memory alone: an engine that attaches  *)
(* later, elsewhere, finds all armed.                                      *)
AckReachesAll == ack # NoAck => \A e \in Engines : st[e] # "SENDING"

(* Nothing is armed for a halt after which the record was not armed. *)
ArmedMeansOver ==
    /\ \A s \in Sides : MemArmed(s) => ~due[s]
    /\ FileArmed => ~due["file"]

-----------------------------------------------------------------------------
(* Action properties. *)

(* No send begins after a halt in an engine's memory before its next start.*)
NoEmitAfterHalt ==
    [][\A e \in Engines : st[e] = "RUNNING" /\ st'[e] = "SENDING" => ~fenced[e]]_vars

(* No engine starts over a halt that has reached its memory or the file,   *)
(* unless a reset that knew of it has armed the record since.              *)
NoStartOverAHalt ==
    [][\A e \in Engines : st[e] = "IDLE" /\ st'[e] = "RUNNING" => ~due[Of(e)] /\ ~due["file"]]_vars

(* And none is brought back by a reset elsewhere that a later halt has     *)
(* stopped.                                                                *)
NoRevivalOverAHalt ==
    [][\A e \in Engines : st[e] # "IDLE" /\ st'[e] = "IDLE" => ~due[Of(e)] /\ ~due["file"]]_vars

(* A halt that a reset has ended does not come back into the file, unless  *)
(* its killer is at it still.                                              *)
ResetHolds ==
    [][FileArmed /\ ~FileArmed' => file'.mark \notin ended \/ \E k \in Killers : fp[k] # "none"]_vars

-----------------------------------------------------------------------------
(* Temporal properties. *)

(* A halt that reached the file is heard, in whatever memory. *)
HaltIsHeard == \A e \in Engines : (~FileArmed /\ Working(e)) ~> (FileArmed \/ ~Working(e))

=============================================================================
