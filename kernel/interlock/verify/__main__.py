"""``python -m interlock.verify DIR ...``: the verifier alone, without the engine and what that needs."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from . import homes
from .report import Report

_USAGE = 2


def main() -> int:
    """Verify, print, and return the exit code: 0 VERIFIED, 5 in doubt or not to the end, 6 TAMPERED, 2 usage."""
    parser = argparse.ArgumentParser(prog="interlock-verify", description="Verify the journals of Interlock homes.")
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a home, a bundle or a journal")
    parser.add_argument("--root-key", metavar="VKEY|FILE", help="the root's verifier key, from outside the home")
    parser.add_argument("--keys", nargs="+", type=Path, default=[], metavar="FILE", help="lists of keys")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="in place of the home's own")
    parser.add_argument("--anchor", nargs="+", type=Path, default=[], metavar="FILE|DIR", help="from outside the home")
    parser.add_argument("--witness-key", nargs="+", default=[], metavar="VKEY|FILE", help="keys of witnesses")
    parser.add_argument("--tsa-cert", nargs="+", type=Path, default=[], metavar="FILE", help="time-stamp authorities")
    parser.add_argument("--jobs", type=int, help="how many processes; one a core if it is not given")
    parser.add_argument("--json", action="store_true", help="one JSON object a directory")
    options = parser.parse_args()
    given = homes.Given(
        root_key=options.root_key,
        keys=tuple(options.keys),
        checkpoints=options.checkpoints,
        anchors=tuple(options.anchor),
        witnesses=tuple(options.witness_key),
        authorities=tuple(options.tsa_cert),
        jobs=options.jobs,
    )
    codes = []
    for directory in options.directories:
        try:
            reports = _verify(directory, given)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"interlock-verify: {directory}: {error}\n")
            return _USAGE
        if options.json:
            sys.stdout.write(orjson.dumps(homes.to_json(reports)).decode() + "\n")
        else:
            sys.stdout.write("\n".join((*homes.to_text(reports), "")))
        codes.append(homes.gravest(reports).exit_code)
    return max(codes)


def _verify(directory: Path, given: homes.Given) -> dict[str, Report]:
    place = homes.locate(directory, given.checkpoints)
    total = homes.size_of(place)
    if not sys.stderr.isatty():
        return dict(homes.verify_place(place, given))
    reports = dict(homes.verify_place(place, given, _percent(total)))
    sys.stderr.write("\r\x1b[K")
    return reports


def _percent(total: int) -> Callable[[int], None]:
    def show(done: int) -> None:
        sys.stderr.write(f"\rverifying {done * 100 // max(total, 1):3} %")
        sys.stderr.flush()

    return show


if __name__ == "__main__":
    sys.exit(main())
