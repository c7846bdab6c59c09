"""REMEMBER: the journal, as bytes.

Nothing in this room opens a file: the writer writes to a `Sink` that it is handed, recovery reads
lines that it is handed. The format is ``docs/journal.md``; the verifier, which shares no code with
the rest of Interlock, is the package ``verify``.
"""
