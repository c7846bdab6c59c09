"""The evidence bundle: what a home has on record of a span of time, for somebody who trusts none of us.

It has two halves. The *evidence* is copied as it is: segments, checkpoints, lists of keys, anchors, approved limits,
drills, what recoveries set aside, and a verifier that runs alone. What is *derived* is for people: the report, the
tables, the claims with their proofs. It is computed from the evidence in the bundle and from nothing else, so
that ``interlock bundle --check`` can compute it again and compare.

- `plan`, `tree`: what is asked for; a bundle's files, in a directory or an archive.
- `collect`: from the home, the evidence.
- `story`, `facts`, `halts`, `times`: what the records tell, in one pass.
- `proofs`, `controls`, `claims`, `rules`: what that shows, of which article, with audit paths.
- `sheets`, `page` and its parts, `picture`, `readme`, `pdf`: how people read it.
- `derive`, `build`, `check`, `command`: these put together.
"""

from __future__ import annotations
