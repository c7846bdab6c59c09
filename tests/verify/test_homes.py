"""Homes, bundles and bare journals on disk: what is found, what is handed in, and which engine it counts for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from tests.ops.cli_helpers import environment, quick

from interlock.verify import Report, Status, files, homes

from .builder import HOME, Book
from .large import Large
from .signing import KEY, ROOT, Signer, checkpoint, key_list, signed_life
from .test_alone import home

BOOK, INPUTS = signed_life()
NOTES = dict(INPUTS.notes or ())
LAST = [*NOTES][-1]


def verified(directory: Path, **given: Any) -> dict[str, Report]:
    """Verify a place with the root key."""
    whole = attrs.evolve(homes.Given(root_key=ROOT.vkey), **given)
    return dict(homes.verify_place(homes.locate(directory, whole.checkpoints), whole))


def other_engine(where: Path) -> tuple[str, bytes]:
    """Put the journal of a second engine beside that of the first; return a checkpoint of it."""
    origin = f"interlock/{HOME}/other"
    book = Book()
    book.records[0]["origin"] = origin
    book.put("run", engine="other").put("seal")
    path = where / "journal" / "other" / f"{0:020}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(book.lines))
    return checkpoint(book.lines, 3, Signer(origin, 2), origin=origin)


def test_a_home_is_verified_with_its_own_lists_and_notes(tmp_path: Path) -> None:
    """Of a home the checkpoints, the lists and the time stamps in it are taken, and nothing else must be named."""
    [(engine, report)] = verified(home(tmp_path)).items()
    assert (engine, report.status, report.checkpoints.given) == ("demo", Status.VERIFIED, 2)
    [(engine, report)] = verified(tmp_path / "journal" / "demo").items()
    assert (engine, report.verdict, report.checkpoints.given) == ("", "VERIFIED-TO-0", None)
    [(_, report)] = verified(tmp_path / "journal" / "demo", checkpoints=tmp_path / "checkpoints" / "demo").items()
    assert (report.verdict, report.checkpoints.given) == ("VERIFIED-TO-0", 2), "there is no list of keys"
    given = {"checkpoints": tmp_path / "checkpoints" / "demo", "keys": (tmp_path / "keys" / "0001.note",)}
    assert verified(tmp_path / "journal" / "demo", **given)[""].status is Status.VERIFIED


def test_an_anchor_counts_for_the_engine_that_it_names(tmp_path: Path) -> None:
    """Of two engines each gets its own anchors, and an anchor of one that has no journal is a journal that is gone."""
    _, theirs = other_engine(home(tmp_path))
    kept = tmp_path / "kept"
    (kept / "deep").mkdir(parents=True)
    (kept / ".mark").write_bytes(b"no note")
    (kept / "mine").write_bytes(NOTES[LAST])
    (kept / "deep" / "theirs").write_bytes(theirs)
    reports = verified(tmp_path, anchors=(kept,))
    assert {name: len(report.anchors) for name, report in reports.items()} == {"demo": 1, "other": 1}
    assert all(report.exit_code != 6 for report in reports.values())
    for path in (tmp_path / "journal" / "other").iterdir():
        path.unlink()
    (tmp_path / "journal" / "other").rmdir()
    reports = verified(tmp_path, anchors=(kept,))
    assert (reports["demo"].status, reports["other"].status) == (Status.VERIFIED, Status.TAMPERED)
    assert homes.gravest(reports).verdict == "TAMPERED"


def test_an_anchor_that_is_none_is_tampering_and_no_engines(tmp_path: Path) -> None:
    """An anchor that can't be read is TAMPERED, under a name of its own."""
    (tmp_path / "kept").write_bytes(b"something")
    reports = verified(home(tmp_path / "home"), anchors=(tmp_path / "kept",))
    assert {name: report.status for name, report in reports.items()} == {
        "demo": Status.VERIFIED,
        homes.STRAY: Status.TAMPERED,
    }


def foreign(*names: str) -> list[tuple[str, bytes]]:
    """Checkpoints of other homes' journals, which are as long as this one."""
    origins = [f"interlock/{name}/demo" for name in names]
    return [checkpoint(BOOK.lines, 14, Signer(one, 2), origin=one, root=bytes(32)) for one in origins]


@pytest.mark.parametrize("bare", [False, True], ids=["a home", "a journal"])
def test_a_witness_may_serve_many_homes(tmp_path: Path, *, bare: bool) -> None:
    """Where an anchor is of this home, those of other homes are left aside, and it is told whose they are."""
    place = home(tmp_path / "home")
    others = {"one": "5" * 8, "two": "6" * 8}
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").write_bytes(NOTES[LAST])
    (kept / "file").write_bytes(b"".join(b"\x1e" + note for _, note in foreign(*others.values())))
    given = {"anchors": (kept,), "keys": (place / "keys",), "checkpoints": place / "checkpoints" / "demo"}
    [report] = (
        verified(place / "journal" / "demo", **given).values() if bare else verified(place, anchors=(kept,)).values()
    )
    assert (report.status, len(report.anchors)) == (Status.VERIFIED, 1)
    told = [sentence for sentence in report.inputs if "left aside" in sentence]
    assert [name in sentence for name, sentence in zip(others.values(), told, strict=True)] == [True, True]


def test_a_home_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    """If no anchor is of this home, those that there are are held against it."""
    kept = tmp_path / "kept"
    kept.write_bytes(foreign("5" * 8)[0][1])
    [report] = verified(home(tmp_path / "home"), anchors=(kept,)).values()
    assert report.status is Status.TAMPERED


def test_a_home_whose_checkpoints_are_all_gone_is_tampered(tmp_path: Path) -> None:
    """Of a home that tells of checkpoints the whole directory may be missing no more than one note may."""
    place = home(tmp_path)
    for path in (*(place / "checkpoints" / "demo").iterdir(), place / "checkpoints" / "demo", place / "checkpoints"):
        path.rmdir() if path.is_dir() else path.unlink()
    [report] = verified(place).values()
    assert (report.status, report.findings[0].rule) == (Status.TAMPERED, "Checkpoints")


def test_a_journal_that_is_gone_is_missed_by_its_checkpoints(tmp_path: Path) -> None:
    """A journal that is gone is missed by its checkpoints, beside others that are whole."""
    place = home(tmp_path)
    name, note = other_engine(place)
    path = place / "checkpoints" / "other" / name.rpartition("/")[2]
    path.parent.mkdir()
    path.write_bytes(note)
    assert homes.gravest(verified(place)).status is not Status.TAMPERED
    for segment in (place / "journal" / "other").iterdir():
        segment.unlink()
    (place / "journal" / "other").rmdir()
    reports = verified(place)
    assert (reports["demo"].status, reports["other"].status) == (Status.VERIFIED, Status.TAMPERED)


def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A pipe in a segment's place is TAMPERED, and one in an anchor's a usage error; neither is waited for."""
    place = home(tmp_path / "home")
    (tmp_path / "kept").mkdir()
    os.mkfifo(tmp_path / "kept" / "pipe")
    told = quick("verify", "--home", place, "--anchor", tmp_path / "kept", "--json")
    assert (told.code, "not a regular file" in told.json["error"]) == (2, True)
    os.mkfifo(place / "journal" / "demo" / f"{len(BOOK.lines):020}.jsonl")
    [report] = verified(place).values()
    assert (report.status, report.findings[0].message) == (Status.TAMPERED, "not a regular file")


def test_what_a_journal_or_a_name_says_does_not_steer_a_terminal(tmp_path: Path) -> None:
    """Control characters, and names that are not UTF-8, are told by their escapes, as text and as JSON."""
    book = Book().put("run").put("start").put("permit", id="\x1b[2J\x9b\u202eo\r1").put("seal")
    path = tmp_path / "journal" / "demo" / f"{0:020}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(book.lines))
    (tmp_path / "kept").mkdir()
    Path(os.fsdecode(bytes(tmp_path) + b"/kept/\xff\x1b[2J")).write_bytes(b"no note")
    command = (sys.executable, "-m", "interlock.verify", tmp_path, "--anchor", tmp_path / "kept")
    for more in ((), ("--json",)):
        done = subprocess.run([*command, *more], capture_output=True, check=False, timeout=60, env=environment())
        said = done.stdout.decode()
        assert (done.returncode, done.stderr) == (6, b""), done.stderr
        assert all(char == "\n" or char.isprintable() for char in said) or more
        assert "\x1b" not in said


def test_a_witness_may_keep_its_notes_in_one_file(tmp_path: Path) -> None:
    """A file of notes, each behind a record separator, is as many anchors; what was cut off in it is passed over."""
    first, second = NOTES.values()
    place = home(tmp_path / "home")
    kept = tmp_path / "kept"
    for cut in (b"", b"\x1e" + second[:90], b"\x1e" + second[:-9], b"\x1e" + second[:3]):
        for data in (b"\x1e" + first + cut + b"\x1e" + second, b"\x1e" + first + b"\x1e" + second + cut):
            kept.write_bytes(data)
            [report] = verified(place, anchors=(kept,)).values()
            assert (report.status, len(report.anchors)) == (Status.VERIFIED, 2), cut
    kept.write_bytes(b"\x1e" + first.replace(b"start", b"stort") + b"\x1e" + second)
    assert homes.gravest(verified(place, anchors=(kept,))).status is Status.TAMPERED
    kept.write_bytes(b"\x1e" + first + b"\x1e" + second.replace(b"shut", b"shot"))
    assert homes.gravest(verified(place, anchors=(kept,))).status is Status.TAMPERED


def test_notes_that_are_made_meanwhile_are_found(tmp_path: Path) -> None:
    """A note that comes to be after the notes were read, and before its record is, is looked for again."""
    place = homes.locate(home(tmp_path))
    given = homes.Given(root_key=ROOT.vkey)
    late = tmp_path / LAST
    data = late.read_bytes()
    late.unlink()
    inputs = homes.gather(place, given)["demo"]
    late.write_bytes(data)
    assert len(inputs.notes or ()) == 1
    assert (inputs.later or (lambda _: None))(int(late.stem)) == data


def test_what_was_written_since_reading_began_is_left_for_the_next_time(tmp_path: Path) -> None:
    """A segment is read as far as it went when its size was taken."""
    path = tmp_path / f"{0:020}.jsonl"
    path.write_bytes(b"abcdef")
    assert b"".join(files.chunks(path, 4)) == b"abcd"
    assert b"".join(files.chunks(path)) == b"abcdef"


# --- the command line ---


def test_verify_and_prove_speak_to_each_other(tmp_path: Path) -> None:
    """The command verifies a signed home, proves each of its records, and checks the proof without the home."""
    place = home(tmp_path / "home")
    told = quick("verify", "--home", place, "--root-key", ROOT.vkey, "--json")
    assert (told.code, told.json["verdict"]) == (0, "VERIFIED")
    report = told.json["engines"]["demo"]
    assert (report["signed"], report["checkpoints"]["believed"], report["anchors"]) == (11 + 3, 2, [])
    (tmp_path / "vkey").write_text(ROOT.vkey + "\n")
    lists = ("--root-key", tmp_path / "vkey", "--keys", place / "keys")
    for record in range(report["records"]):
        told = quick("prove", "--home", place, "--engine", "demo", "--record", record)
        assert told.code == 0, told.err
        proof = tmp_path / "proof.json"
        proof.write_text(told.out)
        signed = record < report["signed"]
        assert (told.json["checkpoint"] is not None) is signed
        said = quick("prove", "--check", proof, *lists, "--json")
        assert (said.code, said.json["right"], len(said.json["shown"])) == (0, True, 1 + signed)
        changed = told.json | {"line": told.json["line"].replace('"ts":1', '"ts":2')}
        proof.write_bytes(orjson.dumps(changed))
        assert quick("prove", "--check", proof).code == 6


def test_growth_is_proved_between_any_two_sizes(tmp_path: Path) -> None:
    """A consistency proof between two sizes holds, and with either root or a hash changed it doesn't."""
    Large(40, 10).write(tmp_path)
    for old, new in ((1, 2), (3, 170), (128, 150), (170, 170)):
        told = quick("prove", "--journal", tmp_path, "--consistency", old, new)
        assert told.code == 0, told.err
        proof = tmp_path / "proof"
        proof.write_text(told.out)
        assert quick("prove", "--check", proof).code == 0
        for key in ("root", "old_root"):
            proof.write_bytes(orjson.dumps(told.json | {key: "0" * 64}))
            assert quick("prove", "--check", proof).code == 6
        proof.unlink()


def test_a_proof_with_a_checkpoint_that_is_not_its_own_is_wrong(tmp_path: Path) -> None:
    """A note of another size, root or key that goes along with a proof makes it wrong."""
    place = home(tmp_path / "home")
    told = quick("prove", "--home", place, "--record", 3, "--size", 5)
    proof = tmp_path / "proof.json"
    foreign = checkpoint(BOOK.lines, 5, Signer(KEY.name, 9), why="start")[1].decode()
    for note in (NOTES[LAST].decode(), foreign, "hello"):
        proof.write_bytes(orjson.dumps(told.json | {"checkpoint": note}))
        assert quick("prove", "--check", proof, "--root-key", ROOT.vkey, "--keys", place / "keys").code == 6


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--record", "1", "--check", "x"),
        ("--record", "1"),
        ("--home", "HOME", "--record", "99"),
        ("--home", "HOME", "--record", "3", "--size", "3"),
        ("--home", "HOME", "--record", "3", "--size", "99"),
        ("--home", "HOME", "--record", "3", "--engine", "nobody"),
        ("--home", "HOME", "--consistency", "0", "5"),
        ("--home", "HOME", "--consistency", "6", "5"),
        ("--home", "HOME", "--consistency", "5", "99"),
        ("--check", "nowhere"),
    ],
)
def test_what_can_not_be_proved_is_a_usage_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Nothing to prove, a record or a size that is not there, growth from nothing: 2, and one line."""
    place = home(tmp_path / "home")
    told = quick("prove", *(place if word == "HOME" else word for word in words))
    assert told.code == 2, told.out
    assert told.err.count("\n") <= 6


def test_what_is_no_proof_is_not_right(tmp_path: Path) -> None:
    """A file that is no proof is wrong, and says so without a traceback."""
    for data in (b"", b"{}", b"[]", b'{"proof":"inclusion","size":1,"root":"zz","checkpoint":null,"hashes":[]}', b"1"):
        path = tmp_path / "proof"
        path.write_bytes(data)
        told = quick("prove", "--check", path)
        assert (told.code, "not a proof" in told.out) == (6, True)


def test_a_key_list_of_another_root_says_so(tmp_path: Path) -> None:
    """With a root key that did not sign the list, the home is TAMPERED by the rule Keys."""
    place = home(tmp_path / "home")
    told = quick("verify", "--home", place, "--root-key", Signer(ROOT.name, 77).vkey, "--json")
    assert (told.code, told.json["engines"]["demo"]["findings"][0]["rule"]) == (6, "Keys")
    (place / "keys" / "0001.note").write_bytes(key_list(KEY, root=Signer(ROOT.name, 77))[1])
    assert quick("verify", "--home", place, "--root-key", ROOT.vkey).code == 6
