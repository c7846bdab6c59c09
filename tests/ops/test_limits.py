"""The limits' versions: who approved what, on real homes, and what is told when the row is not whole."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import LIMITS, arm, attach, running
from tests.ops.cli_helpers import quick

from interlock.breaker.files import write_durably
from interlock.breaker.home import Home, HomeError
from interlock.breaker.versions import Versions, set_limits
from interlock.core.errors import LimitsError

if TYPE_CHECKING:
    from pathlib import Path

OTHER = LIMITS.replace("max_quantity = 10", "max_quantity = 9")
WHEN_US = 1_723_075_300_000_000


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return sha256(text.encode()).hexdigest()


def put(home: Path, text: str = OTHER, operator: str = "carol", reason: str = "smaller") -> Any:
    """Approve limits and put them in force."""
    return set_limits(Home(home), text.encode(), operator=operator, reason=reason, ts_us=WHEN_US)


def test_arm_is_the_first_approval(tmp_path: Path) -> None:
    """Who arms a home answers for its first limits, on record from the first moment."""
    home = arm(tmp_path / "home")
    history = home.versions().history()
    assert history.problems == ()
    (first,) = history.approvals
    assert (first.number, first.sha256, first.operator, first.reason) == (1, digest(LIMITS), "ann", "new desk")
    assert first.prior is None
    assert (home.path / "limits" / f"{first.sha256}.toml").read_bytes() == LIMITS.encode()
    attach(tmp_path / "home").close()  # and the ground of the home is sound


def test_every_version_is_kept(tmp_path: Path) -> None:
    """Each version stays, with who approved it, and the file in force is the last one."""
    home = arm(tmp_path / "home")
    put(home.path)
    put(home.path, LIMITS, "dora", "back again")
    history = home.versions().history()
    assert [(one.number, one.sha256, one.operator) for one in history.approvals] == [
        (1, digest(LIMITS), "ann"),
        (2, digest(OTHER), "carol"),
        (3, digest(LIMITS), "dora"),
    ]
    assert home.limits.read_bytes() == LIMITS.encode()
    assert history.of(digest(LIMITS)) == history.approvals[2]
    assert history.of(digest(LIMITS), upto_us=WHEN_US - 1) == history.approvals[0]
    assert history.of(digest(OTHER), upto_us=WHEN_US - 1) is None


def test_running_engine_forbids_it(tmp_path: Path) -> None:
    """While an engine runs no limits are set; one that is attached and idle does not mind."""
    home = arm(tmp_path / "home")
    with running(home.path) as kernel:
        with pytest.raises(HomeError, match="running"):
            put(home.path)
        assert home.limits.read_bytes() == LIMITS.encode()
        assert len(home.versions().history().approvals) == 1
        kernel.stop()
        put(home.path)
    assert home.limits.read_bytes() == OTHER.encode()


@pytest.mark.parametrize(("operator", "reason"), [("", "x"), ("x", " "), (" ", "x")])
def test_nobody_approves_nothing(tmp_path: Path, operator: str, reason: str) -> None:
    """Without an operator or a reason nothing is approved, and nothing changes."""
    home = arm(tmp_path / "home")
    with pytest.raises(LimitsError, match="by somebody, for a reason"):
        put(home.path, OTHER, operator, reason)
    assert home.limits.read_bytes() == LIMITS.encode()


def test_invalid_limits_are_not_approved(tmp_path: Path) -> None:
    """Limits that an engine would refuse are refused here, too."""
    home = arm(tmp_path / "home")
    with pytest.raises(LimitsError):
        put(home.path, LIMITS + "\nsurprise = 1\n")
    assert len(home.versions().history().approvals) == 1


def test_crash_before_they_are_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between approval and file leaves the old limits in force, approved; never unapproved ones."""
    home = arm(tmp_path / "home")

    def crash(path: Path, data: bytes) -> None:
        if path == home.limits:
            raise KeyboardInterrupt
        write_durably(path, data)

    monkeypatch.setattr("interlock.breaker.versions.write_durably", crash)
    with pytest.raises(KeyboardInterrupt):
        put(home.path)
    in_force = sha256(home.limits.read_bytes()).hexdigest()
    assert in_force == digest(LIMITS)
    assert home.versions().history().of(in_force) is not None


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("how", ["gone", "changed", "garbled", "text gone", "text changed"])
def test_broken_row_is_told(tmp_path: Path, number: int, how: str) -> None:
    """An approval that is taken out or changed, and a version that is, are found, and no new one is put on top."""
    home = arm(tmp_path / "home")
    put(home.path)
    put(home.path, LIMITS.replace("max_quantity = 10", "max_quantity = 8"))
    record = home.path / "limits" / f"{number:04d}.json"
    approval = home.versions().history().approvals[number - 1]
    text = home.path / "limits" / f"{approval.sha256}.toml"
    if how == "gone":
        record.unlink()
    elif how == "changed":
        record.write_bytes(record.read_bytes().replace(approval.operator.encode(), b"eve"))
    elif how == "garbled":
        record.write_bytes(record.read_bytes() + b" ")
    elif how == "text gone":
        text.unlink()
    else:
        text.write_bytes(text.read_bytes() + b"\n")
    last = number == 3 and how in {"gone", "changed"}  # the end of a row has nothing after it that would miss it
    assert bool(home.versions().history().problems) is not last
    if not last:
        with pytest.raises(LimitsError, match="put the approvals back"):
            put(home.path, LIMITS)


def test_home_of_before_begins_its_row(tmp_path: Path) -> None:
    """A home that was armed before there were approvals says that nobody is on record, until limits are set."""
    home = arm(tmp_path / "home")
    for path in (home.path / "limits").iterdir():
        path.unlink()
    (home.path / "limits").rmdir()
    ended = quick("limits", "show", "--home", home.path)
    assert ended.code == 2
    assert "NOT APPROVED" in ended.out
    put(home.path, LIMITS)
    assert quick("limits", "show", "--home", home.path).code == 0
    assert [one.number for one in Versions(home.path / "limits").history().approvals] == [1]


def test_edited_limits_are_not_approved(tmp_path: Path) -> None:
    """Limits that somebody edited in place are shown as approved by nobody."""
    home = arm(tmp_path / "home")
    home.limits.write_text(OTHER)
    ended = quick("limits", "show", "--home", home.path, "--json")
    assert ended.code == 2
    assert ended.json["approval"] is None
    assert ended.json["sha256"] == digest(OTHER)


def test_command_line(tmp_path: Path) -> None:
    """`interlock limits` sets, shows and lists what the home has on record."""
    home = arm(tmp_path / "home").path
    file = tmp_path / "new.toml"
    file.write_text(OTHER)
    given = ("--home", home, "--file", file, "--operator", "carol", "--reason", "smaller")
    ended = quick("limits", "set", *given, "--json")
    assert (ended.code, ended.json["number"], ended.json["sha256"]) == (0, 2, digest(OTHER))
    shown = quick("limits", "show", "--home", home)
    assert shown.code == 0
    assert "carol: smaller" in shown.out
    listed = quick("limits", "history", "--home", home, "--json")
    assert [one["operator"] for one in json.loads(listed.out)["approvals"]] == ["ann", "carol"]
    assert quick("limits", "set", *given[:2], "--file", tmp_path / "gone.toml", *given[4:]).code == 2
    assert quick("limits", "show", "--home", tmp_path / "nowhere").code == 2
