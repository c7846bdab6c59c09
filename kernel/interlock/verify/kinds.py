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
PLAIN_DEPTH_MAX = 8
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
    "ledger": "state:plain",
    "recover": "sealed:int root:hash torn_file torn_bytes:int torn_sha256:hash salvaged:int",
    "salvage": "record:record",
    "rebase": "shift:int",
    "checkpoint": "size:int root:hash key:key why:why",
    "anchor": "size:int witness",
    "inputs": "",
    "quote": "instrument:text? venue_ts:int? received_ts:int? sequence:int? bid:decimal? ask:decimal?"
    " bid_size:decimal? ask_size:decimal? armed:bool code",
    "trade": "instrument:text? venue_ts:int? received_ts:int? sequence:int? price:decimal? quantity:decimal?"
    " armed:bool code",
    "begin": "permit:int",
    "heartbeat": "",
    "unread": "id:text? fill:text? instrument:text? side:text? quantity:text? price:text? fee:text?",
    "odd": "field type text",
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


def _in_range(value: int) -> bool:
    return 0 <= value <= INT_MAX


def _hashes(values: list[object]) -> bool:
    return all(type(value) is str and _HASH.fullmatch(value) for value in values)


def _plain(value: object, depth: int = 0) -> bool:
    """Whether there are no numbers in it, and it is not nested deep."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        return depth < PLAIN_DEPTH_MAX and all(_plain(one, depth + 1) for one in value)
    return value is None or type(value) in (str, bool)


def _matching(pattern: str) -> Type:
    """Return the type of the strings that match a pattern, which admits printable ASCII only."""
    return Type(f'"{pattern}"', (str,), re.compile(pattern).fullmatch)


def _words(*words: str) -> Type:
    return _matching(f"(?:{'|'.join(map(re.escape, words))})")


_HASH = re.compile("[0-9a-f]{64}")
_INT = "(?:[1-9][0-9]{0,14}+|[1-8][0-9]{15}|0)"
_TIME = "(?:[1-8][0-9]{15}|[1-9][0-9]{0,14}+|0)"
"""The same, with what is likely for microseconds of UTC first."""
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
    "plain": Type(None, (dict,), _plain),
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
TYPES["int?"] = attrs.evolve(_PLAIN["int"], check=_in_range).or_null()  # a getter's least and greatest can't be null
"""The types by name; with a question mark those that may be null."""


@attrs.frozen(kw_only=True)
class Shape:
    """What one kind of record must look like.

    Attributes:
        keys: its keys, in order.
        types: for each key the types that its value may have.
        checks: for each key that needs one, the check that its value must pass.
        ints: takes all integers of a record whose types are right.
    """

    keys: list[str]
    types: list[tuple[type, ...]]
    checks: tuple[tuple[str, Check], ...]
    ints: Callable[[Record], tuple[int, ...]]


def _fields(kind: str) -> dict[str, str]:
    """Return the name of the type of each key of a kind, but for `v` and `kind`."""
    pairs = (word.partition(":") for word in f"{_HEAD} {_KINDS[kind]}".split())
    return {key: name or "text" for key, _, name in pairs}


def _shape(kind: str) -> Shape:
    names = _fields(kind)
    fields = {"v": Type(None, (int,), lambda value: value == 1)}
    fields |= {key: TYPES[name] for key, name in names.items()} | {"kind": _words(kind)}
    return Shape(
        keys=[*fields],
        types=[field.types for field in fields.values()],
        checks=tuple((key, field.check) for key, field in fields.items() if field.check),
        ints=itemgetter(*(key for key, name in names.items() if name == "int")),
    )


SHAPES: dict[str, Shape] = {kind: _shape(kind) for kind in _KINDS}
"""The shape of every known kind."""


def _tail(kind: str, **special: str | None) -> str | None:
    """Return the pattern of a line of a kind from its kind on, if there is one; with some values as given."""
    given = {"ts": _TIME, **special}
    texts = [(key, given.get(key, TYPES[name].text)) for key, name in _fields(kind).items() if key != "seq"]
    known = [f'"{key}":{text}' for key, text in texts if text is not None and key != "kind"]
    return f'{kind}",{",".join(known)}' if len(known) == len(texts) - 1 else None


_USUAL = ("sent", "accept", "fill", "quote", "trade", "begin")  # these are tried first
_TAILS = [
    _tail("permit", type='"limit"', price=TYPES["decimal"].text),
    _tail("permit", type='"market"', price="null"),
    *(_tail(kind) for kind in _USUAL),
    *(_tail(kind) for kind in _KINDS if kind not in {"permit", *_USUAL}),
]
_LINE = rf'\{{"v":1,"seq":{_INT},"kind":"(?:{"|".join(filter(None, _TAILS))})\}}'

LINE = re.compile(_LINE.encode()).fullmatch
"""Given a line: matches if it is surely right by itself."""

LINES = re.compile(rf"(?:{_LINE}\n)*+".encode()).fullmatch
"""Given lines, each with its line feed: matches if all of them surely are."""
