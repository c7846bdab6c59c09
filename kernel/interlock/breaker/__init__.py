"""STOP: the home directory and the latch in it.

A home is what is halted together: an account, a desk. It holds

    latch.json      the latch: one checksummed record, replaced whole
    page            the mapped page; its first byte mirrors the latch
    lock            held shared by each engine from start to quiet, exclusive by whoever waits for quiet
    limits.toml     what is allowed
    engines/NAME    the roster: who is attached under that name, and what it is doing
    journal/NAME/   the segments of that engine's journal

The latch stands on two legs, record and page byte, and permits only while *both* say armed. To halt,
the byte goes first, because that stops emission without waiting for a disk; to arm, it goes last.
"""
