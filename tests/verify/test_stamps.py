"""RFC 3161 time stamps as anchors: tokens that OpenSSL makes, since the project does not."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from interlock.verify import Inputs, Report, Status, verify
from interlock.verify.stamps import Stamp, read_certificate, read_stamp

from .builder import split
from .signing import signed_life

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")

CONFIG = """
[req]
distinguished_name = name
[name]
[stamps]
extendedKeyUsage = critical,timeStamping
[serves]
extendedKeyUsage = serverAuth
[tsa]
default_tsa = one
[one]
serial = {where}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = {ess}
"""
BOOK, INPUTS = signed_life()
LINES = BOOK.lines
NOTE = (INPUTS.notes or ())[1]
KEYS = {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")}


def text_of(note: bytes) -> bytes:
    """The text that a note's signatures are over."""
    return note.partition("\n\n— ".encode())[0] + b"\n"


class Authority:
    """A time-stamp authority of our own."""

    def __init__(self, where: Path, kind: str = "rsa", ess: str = "sha256", usage: str = "stamps") -> None:
        where.mkdir()
        self.where = where
        (where / "config").write_text(CONFIG.format(where=where, ess=ess))
        (where / "serial").write_text("01")
        self.call(
            "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-keyout", "key", "-out", "certificate",
            "-subj", "/CN=tsa", "-days", "365", "-config", "config", "-extensions", usage,
        )  # fmt: skip
        self.certificate = (where / "certificate").read_bytes()

    def call(self, *words: str) -> None:
        """Call OpenSSL here."""
        subprocess.run(["openssl", *words], cwd=self.where, check=True, capture_output=True, timeout=60)

    def stamp(self, data: bytes, *, bare: bool = False, digest: str = "-sha256") -> bytes:
        """Stamp bytes; a response, or the bare token."""
        (self.where / "data").write_bytes(data)
        self.call("ts", "-query", "-data", "data", digest, "-no_nonce", "-out", "query")
        out = ("-token_out",) if bare else ()
        self.call(
            "ts", "-reply", "-queryfile", "query", "-signer", "certificate", "-inkey", "key", "-config", "config",
            *out, "-out", "reply",
        )  # fmt: skip
        return (self.where / "reply").read_bytes()


def judged(stamp: bytes, *certificates: bytes, inputs: Inputs = INPUTS) -> Report:
    """Verify the signed journal with a time stamp as anchor."""
    given = attrs.evolve(inputs, anchors=(("stamp.tsr", stamp),), authorities=certificates)
    return verify(split(LINES), inputs=given)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("ess", ["sha1", "sha256", "sha512"])
def test_a_time_stamp_over_a_checkpoint_is_an_anchor(tmp_path: Path, kind: str, ess: str) -> None:
    """A token or response over a checkpoint's text is accepted, and believed if its authority is given."""
    authority = Authority(tmp_path / "tsa", kind, ess)
    for bare in (False, True):
        stamp = authority.stamp(text_of(NOTE[1]), bare=bare)
        for certificates in ((), (authority.certificate,)):
            report = judged(stamp, *certificates)
            assert (report.status, report.findings) == (Status.VERIFIED, ())
            [anchor] = report.anchors
            assert (anchor.form, anchor.size) == ("time stamp", report.signed)
            read = read_stamp(stamp)
            assert isinstance(read, Stamp)
            assert datetime.fromtimestamp(anchor.ts / 1_000_000, UTC) == read.time
            assert anchor.believed is bool(certificates)


def test_every_flipped_bit_of_a_time_stamp_is_found_or_changes_nothing_that_is_signed(tmp_path: Path) -> None:
    """With its authority given, a token with any bit flipped is TAMPERED, but in what no signature covers."""
    authority = Authority(tmp_path / "tsa")
    stamp = authority.stamp(text_of(NOTE[1]), bare=True)
    whole = read_stamp(stamp)
    assert isinstance(whole, Stamp)
    passed = 0
    for place in range(len(stamp) * 8):
        flipped = bytearray(stamp)
        flipped[place // 8] ^= 1 << place % 8
        report = judged(bytes(flipped), authority.certificate)
        if report.status is Status.VERIFIED:
            read = read_stamp(bytes(flipped))
            assert isinstance(read, Stamp)
            same = ("imprint", "time", "info", "signed", "signature", "digest")
            assert all(getattr(read, name) == getattr(whole, name) for name in same), place
            passed += 1
    assert passed < len(stamp) * 8 * 3 / 4, "the certificates in it, versions and algorithm names"


def test_a_time_stamp_of_anything_else_is_tampering(tmp_path: Path) -> None:
    """A token over no checkpoint that was given, over another hash, or cut off, breaks Anchors."""
    authority = Authority(tmp_path / "tsa")
    right = authority.stamp(text_of(NOTE[1]))
    for wrong in (
        authority.stamp(NOTE[1]),
        authority.stamp(b"something"),
        authority.stamp(text_of(NOTE[1]), digest="-sha512"),
        right[:-1],
        right + b"x",
        b"",
        b"x" * 2**19,
    ):
        report = judged(wrong)
        assert [finding.rule for finding in report.findings] == ["Anchors"]
        assert report.findings[0].file == "stamp.tsr"


def test_a_time_stamp_of_another_authority_is_tampering(tmp_path: Path) -> None:
    """A token that none of the given authorities signed breaks Anchors, as does one whose key is not for stamps."""
    one, two = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    stamp = one.stamp(text_of(NOTE[1]))
    assert judged(stamp, two.certificate).status is Status.TAMPERED
    assert judged(stamp, two.certificate, one.certificate).status is Status.VERIFIED
    assert judged(stamp, Authority(tmp_path / "web", usage="serves").certificate).status is Status.TAMPERED


def test_a_time_stamp_names_its_certificate(tmp_path: Path) -> None:
    """A token is not taken for that of another certificate of the same key, which its signed attributes do not name."""
    one = Authority(tmp_path / "one")
    stamp = one.stamp(text_of(NOTE[1]))
    for usage in ("stamps", "serves"):
        one.call(
            "req", "-x509", "-key", "key", "-out", usage, "-subj", "/CN=other", "-days", "365", "-config", "config",
            "-extensions", usage,
        )  # fmt: skip
        assert judged(stamp, (one.where / usage).read_bytes()).status is Status.TAMPERED


def test_a_time_stamp_shows_a_rollback(tmp_path: Path) -> None:
    """With the checkpoint that was stamped gone from the home, the token is over nothing that is there."""
    stamp = Authority(tmp_path / "tsa").stamp(text_of(NOTE[1]))
    size = int((INPUTS.notes or ())[0][0][-25:-5])
    inputs = attrs.evolve(INPUTS, notes=(INPUTS.notes or ())[:1], anchors=(("stamp.tsr", stamp),))
    report = verify(split(LINES[:size]), inputs=inputs)
    assert [finding.rule for finding in report.findings] == ["Anchors"]


def test_a_certificate_that_is_none_is_refused() -> None:
    """What is no certificate is a mistake of who gave it."""
    for data in (b"", b"hello", b"-----BEGIN CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match=r"."):
            read_certificate(data)


def test_a_time_stamp_of_the_home_needs_no_authority(tmp_path: Path) -> None:
    """Tokens in the home count if their authority is given; of another they show nothing; of no note they are wrong."""
    one, two = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    stamp = ("demo/7.one.tst", one.stamp(text_of(NOTE[1]), bare=True))
    for certificates, believed in (
        ((), False),
        ((two.certificate,), False),
        ((two.certificate, one.certificate), True),
    ):
        report = verify(split(LINES), inputs=attrs.evolve(INPUTS, stamps=(stamp,), authorities=certificates))
        assert (report.status, [anchor.believed for anchor in report.anchors]) == (Status.VERIFIED, [believed])
    for wrong in (one.stamp(b"x", bare=True), b"no stamp"):
        report = verify(split(LINES), inputs=attrs.evolve(INPUTS, stamps=((stamp[0], wrong),)))
        assert [finding.rule for finding in report.findings] == ["Anchors"]
