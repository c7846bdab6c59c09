"""DECIDE: the pure heart of Interlock.

Nothing in this room reads a clock, a file or a random number, starts a thread or writes a log
line. Time, and what the latch shows, come in with each call; what was decided goes out as a value.
So the same calls give the same answers, a test can drive every state there is, and the graph of
those states can be compared with the one that TLC draws from ``specs/kernel/Kernel.tla``.

Read in this order: ``modes`` (the table), ``values`` (what is spoken about), ``limits`` (what is
allowed), ``ledger`` (what is owned and owed), ``presignal`` and ``preorder`` (the two gates),
``machine`` (the kernel itself).
"""
