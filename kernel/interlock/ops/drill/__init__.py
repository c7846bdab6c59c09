"""``interlock drill``: a rehearsal of the kill, measured, judged, and written down so that it can be filed.

A drill makes a home of its own, lets some engine processes trade on the paper venue as fast as they can, trips the
kill switch from one more process, and looks at what each engine did then. It halts only a home that it made itself.

- `evidence` is where an engine writes down each send, in memory that outlives it.
- `engine` is the process of one engine.
- `stage` makes the home, and holds the processes.
- `course` is what happens, in order, for each kind of drill.
- `measure` makes counts and instants of the evidence and the journals.
- `record` is what was measured, as values.
- `judge` compares it with what must be: nothing there measures, and nothing elsewhere judges.
- `report` writes it down; `page` and `picture` draw it for people.
- `command` is the command line's part.
"""

from interlock.ops.drill.course import Plan, drill
from interlock.ops.drill.record import Kind

__all__ = ["Kind", "Plan", "drill"]
