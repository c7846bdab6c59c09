"""The row of approvals, record by record: what is one, what follows on what, and who may write it."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from tests.breaker.disks import mounted
from tests.helpers import HOME_ID, LIMITS, arm, attach, running

from interlock import HaltCode, HomeError, Mode
from interlock.breaker.quiescence import HELD
from interlock.breaker.roster import Berth
from interlock.breaker.versions import Approval, Versions, history_of, parse_limits, set_limits
from interlock.core.errors import LimitsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.breaker.conftest import Steps

TEXT = LIMITS.encode()
DIGEST = sha256(TEXT).hexdigest()
OWNER = 12345
FIRST = Approval(number=1, sha256=DIGEST, operator="ann", reason="new desk", ts_us=0, prior=None)
SECOND = Approval(
    number=2, sha256=DIGEST, operator="bob", reason="again", ts_us=7, prior=sha256(FIRST.line()).hexdigest()
)


def row(*lines: bytes, **more: bytes) -> dict[str, bytes]:
    """A directory with these approvals, and the text that they approve."""
    return {f"{DIGEST}.toml": TEXT} | {f"{at:04d}.json": line for at, line in enumerate(lines, 1)} | more


def changed(**fields: Any) -> bytes:
    """The first approval's line, with other members."""
    return orjson.dumps(orjson.loads(FIRST.line()) | fields) + b"\n"


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """Return versions in a directory that is yet to be made."""
    return Versions(tmp_path / "limits")


def approve(versions: Versions, ts_us: int = 5, data: bytes = TEXT) -> Approval:
    """Approve it."""
    return versions.approve(data, operator="ann", reason="new desk", ts_us=ts_us)


def test_approval_is_one_line_of_json() -> None:
    """An approval's file holds its members in their order, and what is read there is what was written."""
    assert FIRST.line() == (
        f'{{"v":1,"number":1,"sha256":"{DIGEST}","operator":"ann","reason":"new desk","ts":0,"prior":null}}\n'.encode()
    )
    assert history_of(row(FIRST.line(), SECOND.line())) == attrs.evolve(
        history_of({}), approvals=(FIRST, SECOND), problems=()
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b"{}\n",
        b"5\n",
        orjson.dumps(list(orjson.loads(FIRST.line()))) + b"\n",
        FIRST.line()[:-1],
        FIRST.line() + b"\n",
        orjson.dumps(dict(reversed(orjson.loads(FIRST.line()).items()))) + b"\n",
        changed(more=1),
        changed(v=2),
        changed(v=0),
        changed(v=True),
        changed(number="1"),
        changed(number=-1),
        changed(number=True),
        changed(number=1.0),
        changed(ts=-1),
        changed(ts=None),
        changed(ts=0.5),
        changed(operator=None),
        changed(operator=1),
        changed(reason=["x"]),
        changed(sha256=None),
        changed(sha256=1),
        changed(sha256=DIGEST[:-1]),
        changed(sha256=DIGEST + "0"),
        changed(sha256=DIGEST.upper()),
        changed(prior="x"),
        changed(prior=1),
    ],
)
def test_what_is_no_approval_is_told(line: bytes) -> None:
    """A file that is not exactly an approval, in type, spelling and version, is none, and is named."""
    found = history_of(row(line))
    assert found.approvals == ()
    assert found.problems == ("0001.json: no approval",)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (attrs.evolve(SECOND, number=1), "0002.json: does not follow on the approval before it"),
        (attrs.evolve(SECOND, number=3), "0002.json: does not follow on the approval before it"),
        (attrs.evolve(SECOND, prior=None), "0002.json: does not follow on the approval before it"),
        (attrs.evolve(SECOND, prior="0" * 64), "0002.json: does not follow on the approval before it"),
        (attrs.evolve(SECOND, sha256="0" * 64), "0002.json: the limits that it approves are missing, or were changed"),
    ],
)
def test_approval_that_does_not_fit_is_told_and_kept(second: Approval, problem: str) -> None:
    """An approval that does not follow on the one before it, or approves what is not there, is told, and still read."""
    found = history_of(row(FIRST.line(), second.line()))
    assert found.approvals == (FIRST, second)
    assert found.problems == (problem,)


def test_row_goes_on_behind_what_is_no_approval() -> None:
    """Bytes that are no approval are one place in the row, and the next must follow on these very bytes."""
    third = attrs.evolve(FIRST, number=3, prior=sha256(b"?").hexdigest())
    found = history_of(row(FIRST.line(), b"?", third.line()))
    assert (found.approvals, found.problems) == ((FIRST, third), ("0002.json: no approval",))
    away = attrs.evolve(SECOND, number=2)
    assert history_of({f"{DIGEST}.toml": TEXT, "0001.json": FIRST.line(), "0003.json": away.line()}).problems == (
        "0003.json: does not follow on the approval before it",
    )


def test_text_that_was_changed_is_told() -> None:
    """A version whose bytes are not those of its name is no evidence of what was approved."""
    files = row(FIRST.line()) | {f"{DIGEST}.toml": TEXT + b"\n"}
    assert history_of(files).problems == ("0001.json: the limits that it approves are missing, or were changed",)


def test_other_files_are_not_in_the_row(versions: Versions) -> None:
    """What does not have an approval's name is left alone, and so is what is no file."""
    approve(versions)
    for name in ("1.json", "001.json", "0002.json.new", "x0002.json", "note"):
        (versions.directory / name).write_bytes(b"?")
    (versions.directory / "0002.json").mkdir()
    assert [one.number for one in versions.history().approvals] == [1]
    assert versions.history().problems == ()


def test_number_of_five_digits_is_a_number() -> None:
    """After number 9999 comes 10000, whose file is found, too."""
    line = attrs.evolve(FIRST, number=10_000).line()
    found = history_of({f"{DIGEST}.toml": TEXT, "10000.json": line})
    assert found.approvals[0].number == 10_000


@pytest.mark.parametrize("spelled", ["00002.json", "0002.json"])
def test_number_has_one_spelling(spelled: str) -> None:
    """An approval stands under its number in four digits."""
    found = history_of({f"{DIGEST}.toml": TEXT, "0001.json": FIRST.line(), spelled: SECOND.line()})
    assert bool(found.problems) is (spelled != "0002.json")


def test_approval_is_found_by_version_and_time(versions: Versions) -> None:
    """Of the approvals of a version the latest counts; at a time the latest by then, that moment included."""
    one, two = approve(versions, 5), approve(versions, 9)
    history = versions.history()
    assert history.of(DIGEST) == two
    assert history.of(DIGEST, upto_us=9) == two
    assert history.of(DIGEST, upto_us=8) == one
    assert history.of(DIGEST, upto_us=5) == one
    assert history.of(DIGEST, upto_us=4) is None
    assert history.of(DIGEST, upto_us=0) is None
    assert history.of("0" * 64) is None
    assert two.prior == sha256(one.line()).hexdigest()


@pytest.mark.parametrize(("operator", "reason"), [("", "x"), ("\t", "x"), ("x", ""), ("x", " ")])
def test_somebody_answers_for_limits(versions: Versions, operator: str, reason: str) -> None:
    """Without a name or a reason nothing is made at all."""
    with pytest.raises(LimitsError, match="approved by somebody, for a reason"):
        versions.approve(TEXT, operator=operator, reason=reason, ts_us=5)
    assert not versions.directory.exists()
    with pytest.raises(LimitsError, match=r"^limits: not valid TOML"):
        versions.approve(b"?", operator="ann", reason="new desk", ts_us=5)
    assert not versions.directory.exists()


def test_row_that_is_not_whole_takes_no_new_approval(versions: Versions) -> None:
    """Before there is a new approval the old ones are put back; it says what is wrong, and where."""
    approve(versions)
    (versions.directory / f"{DIGEST}.toml").unlink()
    with pytest.raises(LimitsError, match=r"limits: 0001\.json: the limits .*; put the approvals back") as caught:
        approve(versions)
    assert str(versions.directory) in str(caught.value)
    assert len(list(versions.directory.iterdir())) == 1


def test_directory_is_its_owners_and_lasts(versions: Versions, steps: Steps) -> None:
    """The directory is made durably, for the home's owner alone, whoever makes it; one that is there stays."""
    if os.geteuid() == 0:
        os.chown(versions.directory.parent, OWNER, OWNER + 1)
    before = os.umask(0)
    try:
        approve(versions)
    finally:
        os.umask(before)
    found, above = versions.directory.stat(), versions.directory.parent.stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert (found.st_uid, found.st_gid) == (above.st_uid, above.st_gid)
    assert steps[0].inode == above.st_ino
    versions.directory.chmod(0o750)
    steps.clear()
    approve(versions)
    assert stat.S_IMODE(versions.directory.stat().st_mode) == 0o750
    assert above.st_ino not in {step.inode for step in steps}


def test_version_is_on_the_disk_before_its_approval(versions: Versions, steps: Steps) -> None:
    """Power that fails never leaves an approval of limits that are not there."""
    approve(versions)
    files = [versions.directory / f"{DIGEST}.toml", versions.directory / "0001.json"]
    assert [name for what, name in steps.of(*files) if what == "rename"] == [path.name for path in files]


@pytest.mark.usefixtures("nothing_left_open")
def test_of_two_that_approve_at_once_one_waits(versions: Versions) -> None:
    """Whoever approves has the directory's lock; who comes meanwhile goes on behind that, and both are in the row."""
    approve(versions)
    descriptor = os.open(versions.directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    together = threading.Barrier(5)

    def one(_: int) -> Approval:
        together.wait()
        return approve(versions)

    with ThreadPoolExecutor(4) as pool:
        made = pool.map(one, range(4))
        together.wait()
        (versions.directory / "0002.json").write_bytes(  # which who waits has to see
            attrs.evolve(SECOND, prior=sha256(versions.history().approvals[0].line()).hexdigest()).line()
        )
        os.close(descriptor)
        assert sorted(approval.number for approval in made) == [3, 4, 5, 6]
    assert versions.history().problems == ()


def test_link_in_its_place_is_refused(versions: Versions) -> None:
    """A directory that only leads elsewhere takes no approvals."""
    elsewhere = versions.directory.with_name("elsewhere")
    elsewhere.mkdir()
    versions.directory.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        approve(versions)
    assert list(elsewhere.iterdir()) == []


def test_directory_that_cannot_be_read_is_an_error(versions: Versions) -> None:
    """A file in the directory's place is no empty row."""
    versions.directory.write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        versions.history()


def test_disk_that_is_full_or_read_only_sets_no_limits(tmp_path: Path) -> None:
    """Limits that can't be written are not in force, and the error says which home's, and why."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "none") as disk:
        home = arm(disk / "home")
        (disk / "ballast").write_bytes(bytes((1 << 20) - (256 << 10)))
        comment = b"# " + b"x" * (300 << 10) + b"\n"
        with pytest.raises(HomeError, match=r"limits\.toml: the limits cannot be set: .*No space") as caught:
            set_limits(home, comment + TEXT, operator="bob", reason="more", ts_us=5)
        assert caught.value.code is HaltCode.HOME_UNREADABLE
        assert home.limits.read_bytes() == TEXT
        assert len(home.versions().history().approvals) == 1


def test_engines_that_run_are_named(tmp_path: Path) -> None:
    """Whoever has to stop first is told by name and process, all of them; who only stands there is not."""
    home = arm(tmp_path / "home")
    with attach(home.path, engine="idle"), running(home.path, engine="one"), running(home.path, engine="two"):
        with pytest.raises(HomeError) as caught:
            set_limits(home, TEXT, operator="bob", reason="more", ts_us=5)
        who = f"one (pid {os.getpid()}), two (pid {os.getpid()})"
        assert f"running by the limits that are in force: {who}; stop that first" in str(caught.value)
        assert caught.value.code is HaltCode.EXTERNAL


@pytest.mark.parametrize(
    ("mode", "held", "died", "runs"),
    [
        ("RUNNING", 0, False, True),
        ("HALTED", 1, False, True),
        ("HALTED", 0, False, False),
        ("RUNNING", 1, True, False),
    ],
)
def test_engine_that_may_send_still_forbids_it(tmp_path: Path, mode: str, held: int, died: bool, runs: bool) -> None:
    """An engine goes by the limits while it runs, and until what it has begun to send has ended, or itself."""
    home = arm(tmp_path / "home")
    berth = Berth(home.engines, "one", HOME_ID)
    berth.tell(Mode(mode))
    berth.slots[HELD] = held
    if died:
        berth.close()
    try:
        set_limits(home, TEXT, operator="bob", reason="more", ts_us=5)
    except HomeError as error:
        assert "one (pid" in str(error)  # noqa: PT017 - whether it is raised is what is asked below
    assert (len(home.versions().history().approvals) == 1) is runs
    berth.close()


def test_no_home_takes_no_limits(tmp_path: Path) -> None:
    """Where there is no home nothing is made."""
    home = arm(tmp_path / "home")
    gone = type(home)(tmp_path / "nowhere")
    with pytest.raises(HomeError, match="no home here"):
        set_limits(gone, TEXT, operator="bob", reason="more", ts_us=5)
    assert not gone.path.exists()


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"version = ", b"a = " + b"[" * 5_000 + b"]" * 5_000, b"a = 1e9999999999999999999", b"a = 2024-99-99"],
)
def test_what_is_no_toml_is_told_by_its_file(data: bytes) -> None:
    """Bytes that no reader of TOML takes are limits that are not valid, and never another error."""
    with pytest.raises(LimitsError, match=r"^here: "):
        parse_limits(data, "here")


def test_fractions_in_limits_are_exact() -> None:
    """A fraction is what is written there, and no binary number near it."""
    spelled = TEXT.replace(b'lot_size = "0.1"', b"lot_size = 0.1")
    assert spelled != TEXT
    assert parse_limits(spelled, "here") == parse_limits(TEXT, "here")
