"""KEEP: keys, checkpoints and what witnesses said of them, on disk.

`private` holds what nobody else may read, `keys` the lists of keys and who makes them, `checkpoints` the notes in a
home, `proofs` shows that a journal only grew, `witness` says what a witness is.
"""
