"""Witnesses: where checkpoints can be kept outside the home.

| class | where | it remembers |
|---|---|---|
| `DirectoryWitness` | a directory on another volume | yes |
| `FileWitness` | a file that is only appended to, each entry signed by a key of its own | yes |
| `TlogWitness` | a C2SP witness over HTTP, which cosigns | the size; it checks the rest itself |
| `TimeStampWitness` | an RFC 3161 time-stamp authority | no: it proves when, and nothing more |
"""

from interlock.adapters.witness.directory import DirectoryWitness
from interlock.adapters.witness.file import FileWitness
from interlock.adapters.witness.timestamp import TimeStampWitness
from interlock.adapters.witness.tlog import TlogWitness

__all__ = ["DirectoryWitness", "FileWitness", "TimeStampWitness", "TlogWitness"]
