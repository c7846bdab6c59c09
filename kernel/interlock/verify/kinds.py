r"""The table of kinds: which keys each record has, in which order, and what each may hold.

This is ``docs/journal.md`` once more, as data, written out for the verifier alone. The writer has
its own table; that the two agree is what running the verifier over a real journal shows.

A kind is a line of ``key:type`` words; a key without a type is text. A `Type` says twice what a
value may be:

- *by value*: the Python types that ``orjson`` may yield, and a check where that isn't enough. This
  is the definition, and what finds the words for a fault.
- *by text*: a pattern of bytes that is never too wide. It knows only printable ASCII without
  escapes, and integers of 16 digits only up to 8999999999999999. A line that matches its kind's
  pattern is canonical and right; of a line that doesn't nothing is known. This is there for speed.

That no pattern is too wide is tested by flipping every bit of a journal with all kinds.
"""

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import attrs

INT_MAX = 2**53 - 1
MARKER = "[KILL_SWITCH] ENGAGED"

Record = dict[str, Any]
"""A parsed line. The values are of any type until `lines` has looked at them."""

Check = Callable[[Any], object]

_HEAD = "seq:int kind ts:int mono:int"
_KINDS = {
    "run": "run:uuid version home epoch:int boot:text? pid:int engine operator:text?"
    " durability:durability limits:hash? remember:int",
    "segment": "origin epoch:int boot:text? version code:hash config:hash? size:int root:hash peaks:hashes",
    "arm": "epoch:int operator reason",
    "start": "epoch:int operator session:text?",
    "drain": "epoch:int reason",
    "ticket": "epoch:int id instrument side:side quantity:decimal",
    "stop": "epoch:int",
    "halt": "marker:marker run:uuid? utc:utc version epoch:int code reason source operator:text?"
    " at:int first:bool in_flight:ints",
    "reset": "epoch:int prior:int operator reason",
    "permit": "epoch:int id instrument side:side type:type quantity:decimal price:decimal? tif"
    " reduce_only:bool bid:decimal ask:decimal",
    "sent": "permit:int begun:int result:text?",
    "unknown": "permit:int begun:int error",
    "void": "permit:int code",
    "refuse": "epoch:int mode:mode id:text? instrument:text? side:text? type:text? quantity:text?"
    " price:text? tif:text? reduce_only:flag? code limit:text? value:text?",
    "flood": "epoch:int mode:mode code instrument:text? count:int first:text? last:text? first_ts:int last_ts:int",
    "cancel": "id instrument",
    "cancel_end": "cancel:int error:text?",
    "accept": "id venue_id:text?",
    "fill": "id fill instrument side:side quantity:decimal price:decimal fee:decimal? known:bool",
    "cancelled": "id reason:text?",
    "reject": "id reason:text?",
    "block": "code instrument:text? count:int first_ts:int last_ts:int",
    "beat": "ticks:int consulted:int blocked:int permits:int refusals:int",
    "anomaly": "code detail",
    "breach": "currency limit bound:decimal value:decimal state:state",
    "mark": "currency equity:decimal opening:decimal peak:decimal",
    "recover": "sealed:int root:hash torn_file torn_bytes:int torn_sha256:hash salvaged:int",
    "salvage": "record:record",
    "rebase": "shift:int",
    "checkpoint": "size:int root:hash key:key why:why",
    "anchor": "size:int witness",
    "end": "code",
    "seal": "size:int root:hash",
}


@attrs.frozen
class Type:
    """What a value may be.

    Attributes:
        text: a pattern of the bytes that surely stand for such a value; None if there is none.
        types: the Python types that it may have.
        check: true for a value of these types that is right; None if all are.
    """

    text: str | None
    types: tuple[type, ...]
    check: Check | None = None

    def or_null(self) -> "Type":
        """Return the type that holds null as well."""
        check = self.check
        return Type(
            f"(?:null|{self.text})",
            (*self.types, type(None)),
            check and (lambda value: value is None or check(value)),
        )


def _ranged(values: list[object]) -> bool:
    return all(type(value) is int and 0 <= value <= INT_MAX for value in values)


def _hashes(values: list[object]) -> bool:
    return all(type(value) is str and _HASH.fullmatch(value) for value in values)


def _matching(pattern: str) -> Type:
    """Return the type of the strings that match a pattern, which admits printable ASCII only."""
    return Type(f'"{pattern}"', (str,), re.compile(pattern).fullmatch)


def _words(*words: str) -> Type:
    return _matching(f"(?:{'|'.join(map(re.escape, words))})")


_HASH = re.compile("[0-9a-f]{64}")
_INT = "(?:[1-8][0-9]{15}|[1-9][0-9]{0,14}|0)"
_STRING = r'"[ !#-\[\]-~]*+"'

_PLAIN = {
    "text": Type(_STRING, (str,)),
    # The range of integers is not checked here: a shape's getter takes all of a record at once.
    "int": Type(_INT, (int,)),
    "ints": Type(rf"\[(?:{_INT}(?:,{_INT})*+)?\]", (list,), _ranged),
    "hashes": Type(rf'\[(?:"{_HASH.pattern}"(?:,"{_HASH.pattern}")*+)?\]', (list,), _hashes),
    "bool": Type("(?:true|false)", (bool,)),
    "flag": Type(f"(?:true|false|{_STRING})", (bool, str)),
    "record": Type(None, (dict,)),
    "decimal": _matching(r"-?[0-9]++(?:\.[0-9]++)?"),
    "uuid": _matching("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "hash": _matching(_HASH.pattern),
    "key": _matching("[0-9a-f]{8}"),
    "utc": _matching(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}(?:Z|\+00:00)",
    ),
    "marker": _words(MARKER),
    "durability": _words("disk", "process"),
    "mode": _words("IDLE", "RUNNING", "HALTED"),
    "side": _words("buy", "sell"),
    "type": _words("limit", "market"),
    "why": _words("time", "size", "halt", "reset", "start", "rotation", "shutdown"),
    "state": _words("entered", "cleared", "confirmed"),
}
_NULLABLE = ("text", "flag", "decimal", "uuid", "hash")
TYPES = _PLAIN | {f"{name}?": _PLAIN[name].or_null() for name in _NULLABLE}
"""The types by name; with a question mark those that may be null."""


@attrs.frozen(kw_only=True)
class Shape:
    """What one kind of record must look like.

    Attributes:
        matches: given a line, true if it is surely a right record of the kind (but for what two
            values together must be); None if the kind has no pattern.
        keys: its keys, in order.
        types: for each key the types that its value may have.
        checks: for each key that needs one, the check that its value must pass.
        ints: takes all integers of a record whose types are right.
    """

    matches: Callable[[bytes], object] | None
    keys: list[str]
    types: list[tuple[type, ...]]
    checks: tuple[tuple[str, Check], ...]
    ints: Callable[[Record], tuple[int, ...]]


def _shape(kind: str, words: str) -> Shape:
    names = [(key, name or "text") for key, _, name in (w.partition(":") for w in words.split())]
    fields = {"v": Type("1", (int,), lambda value: value == 1)}
    fields |= {key: TYPES[name] for key, name in names} | {"kind": _words(kind)}
    texts = [(key, field.text) for key, field in fields.items()]
    matches = None
    if all(text is not None for _, text in texts):
        line = ",".join(f'"{key}":{text}' for key, text in texts)
        matches = re.compile(rf"\{{{line}\}}".encode()).fullmatch
    return Shape(
        matches=matches,
        keys=[*fields],
        types=[field.types for field in fields.values()],
        checks=tuple((key, field.check) for key, field in fields.items() if field.check),
        ints=itemgetter(*(key for key, name in names if name == "int")),
    )


SHAPES: dict[str, Shape] = {k: _shape(k, f"{_HEAD} {words}") for k, words in _KINDS.items()}
"""The shape of every known kind."""
