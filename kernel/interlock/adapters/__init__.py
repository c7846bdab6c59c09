"""CONNECT: what stands between the kernel and the world: feeds, gateways, strategies.

Everything here is at the edge. It reads clocks, files and streams so that the rooms below need not,
and it hands the kernel values of `interlock.core.values` only: exact, or refused with file, line and
field. Nothing in this room decides whether an order may leave.

``csvfeed`` reads ticks from files and pipes, ``simulated`` invents them from a seed, ``replay`` takes
time from them; ``paper`` is a venue that exists in memory only, ``strategies`` are the ones built in.
"""
