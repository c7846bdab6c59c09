"""Time-stamp tokens of which one part is wrong: none is taken for what it is not."""

from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha1, sha256, sha512
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from interlock.verify.stamps import STAMP_MAX, Stamp, _items, _one, read_stamp

from .stamping import NOW, SHA512_OID, Authority, algorithm, attribute, der, integer, oid, sequence

made = cache(Authority.made)


def authority(kind: str = "ec") -> Authority:
    """One of each kind of key."""
    return made(kind)


def own(kind: str = "ec") -> bytes:
    """Its certificate's bytes."""
    return authority(kind).certificate.public_bytes(Encoding.DER)


def read(data: bytes) -> Stamp:
    """A token that can be read."""
    stamp = read_stamp(data)
    assert isinstance(stamp, Stamp)
    return stamp


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519", "ed448"])
def test_a_token_is_believed_by_its_signature_alone(kind: str) -> None:
    """A token is its authority's if that has signed it with a key of a kind that is known; with another's it is not."""
    data = authority(kind).token()
    assert read(data).imprint == sha256(b"text").digest()
    assert read(data).signed_by(authority(kind).certificate) is (kind != "ed448")
    for other in ("rsa", "ec", "ed25519", "ed448"):
        signature = authority(kind).sign(b"something else")
        assert not read(authority(kind).token(signature=signature)).signed_by(authority(kind).certificate)
        assert other == kind or not read(data).signed_by(authority(other).certificate)


HASHES = {"sha1": sha1, "sha256": sha256, "sha512": sha512}
NAMED: dict[str, tuple[dict[str, Any], bool]] = {
    "as it should be": ({}, True),
    "another content type": ({"content_type": "2a864886f70d010702"}, False),
    "another digest": ({"message_digest": bytes(32)}, False),
    "the certificate by SHA-256": ({"named": lambda: naming(sha256)}, True),
    "the certificate by SHA-512": ({"named": lambda: naming(sha512, algorithm(SHA512_OID))}, True),
    "the certificate by SHA-512, as if it were SHA-256": ({"named": lambda: naming(sha512)}, False),
    "the certificate by SHA-1, as of old": ({"named": lambda: naming(sha1), "naming": "2a864886f70d010910020c"}, True),
    "as of old, with what only the new form has": (
        {"named": lambda: naming(sha512, algorithm(SHA512_OID)), "naming": "2a864886f70d010910020c"},
        False,
    ),
    "a hash that is not known": ({"named": lambda: naming(sha256, algorithm("2a0304"))}, False),
    "another certificate": ({"named": lambda: sequence(sequence(sequence(der(0x04, bytes(32)))))}, False),
    "a hash that is no octets": (
        {"named": lambda: sequence(sequence(sequence(der(0x0C, sha256(own()).digest()))))},
        False,
    ),
    "no certificate": ({"naming": "2a0304"}, False),
    "a name that is none": ({"named": lambda: integer(1)}, False),
}


def naming(kind: Any, *before: bytes) -> bytes:
    """The attribute that names the certificate by some hash."""
    return sequence(sequence(sequence(*before, der(0x04, kind(own()).digest()))))


@pytest.mark.parametrize("name", NAMED)
def test_the_signed_attributes_are_held_against_what_they_tell_of(name: str) -> None:
    """A token rightly signed whose attributes are not about its content and this certificate is not believed."""
    parts, right = NAMED[name]
    given = {key: value() if callable(value) else value for key, value in parts.items()}
    assert read(authority().token(**given)).signed_by(authority().certificate) is right


@pytest.mark.parametrize(
    ("time", "right"),
    [
        (NOW - timedelta(days=1), True),
        (NOW - timedelta(days=1, seconds=1), False),
        (NOW + timedelta(days=1), True),
        (NOW + timedelta(days=1, seconds=1), False),
    ],
)
def test_a_certificate_counts_while_it_is_valid(time: datetime, *, right: bool) -> None:
    """What is stamped before the first second of its authority's certificate or after the last is not believed."""
    stamp = read(authority().token(time=f"{time:%Y%m%d%H%M%SZ}"))
    assert stamp.time == time
    assert stamp.signed_by(authority().certificate) is right


def test_a_certificate_must_be_one_for_time_stamps() -> None:
    """What the key of a certificate for another use has signed, or for no use that is told, is not believed."""
    for usage in (ExtendedKeyUsageOID.SERVER_AUTH, None):
        other = Authority.made("ec", usage)
        assert not read(other.token()).signed_by(other.certificate)


def test_a_token_without_an_attribute_is_not_believed() -> None:
    """A token that lacks any of the attributes that bind it is not believed."""
    info = sequence(
        integer(1),
        oid("2a0304"),
        sequence(algorithm(), der(0x04, sha256(b"text").digest())),
        integer(9),
        der(0x18, b"20240808120000Z"),
    )
    whole = authority().attributes(info)
    assert read(authority().token(info=info, attributes=whole)).signed_by(authority().certificate)
    for place in range(len(whole)):
        less = [*whole[:place], *whole[place + 1 :]]
        assert not read(authority().token(info=info, attributes=less)).signed_by(authority().certificate)


READ: dict[str, tuple[dict[str, Any], bool]] = {
    "a fraction of a second": ({"time": "20240808120000.5Z"}, True),
    "a time of another zone": ({"time": "20240808120000+0100"}, False),
    "a time of another form": ({"time_tag": 0x17}, False),
    "a time that is none": ({"time": "2024"}, False),
    "a time of other letters": ({"time": "2024080812000²Z"}, False),
    "another kind of content": ({"content": "2a864886f70d010702"}, False),
    "another kind of message": ({"kind": "2a864886f70d0109100104"}, False),
    "a hash other than SHA-256": ({"hashed_with": SHA512_OID}, False),
    "a hash that is not known": ({"hashed_with": "2a0304"}, False),
    "a digest that is not known": ({"digest": "2a0304"}, False),
    "certificates before the signer": ({"between": (der(0xA0, b""), der(0xA1, b""))}, True),
    "two signers": ({"more_signers": (sequence(),)}, False),
    "no signed attributes": ({"attributes_tag": 0xA1}, False),
    "a signature that is no octets": ({"signature_tag": 0x03}, False),
    "an attribute of two values": ({"attributes": [attribute("2a0304", integer(1), integer(2))]}, False),
    "an attribute of no value": ({"attributes": [attribute("2a0304")]}, False),
    "an attribute that is none": ({"attributes": [integer(1)]}, False),
}


@pytest.mark.parametrize("name", READ)
def test_a_token_is_read_only_if_all_of_it_is_understood(name: str) -> None:
    """Each token with a part that is not what it must be is refused, and one with what may be there is read."""
    parts, right = READ[name]
    assert isinstance(read_stamp(authority().token(**parts)), Stamp) is right


def test_a_fraction_of_a_second_is_read() -> None:
    """The time of a token is UTC to the microsecond."""
    assert read(authority().token(time="20240808120000.25Z")).time == datetime(2024, 8, 8, 12, 0, 0, 250_000, UTC)


def test_a_response_is_its_token() -> None:
    """A response with a token is read as that, whatever its status; one without a token is refused."""
    token = authority().token()
    assert read_stamp(sequence(sequence(integer(0)), token)) == read(token)
    assert isinstance(read_stamp(sequence(sequence(integer(2)))), str)
    for wrong in (token[:-1], token + b"\x00", token + token, b"", der(0x31, token[4:]), sequence()):
        assert isinstance(read_stamp(wrong), str)


def test_a_token_is_read_up_to_its_greatest_length() -> None:
    """A token of the greatest length is read, and one byte more is not."""
    bare = len(authority("ed25519").token(between=(der(0xA0, bytes(2**17)),)))
    room = 2**17 + STAMP_MAX - bare
    for more, right in ((0, True), (1, False)):
        data = authority("ed25519").token(between=(der(0xA0, bytes(room + more)),))
        assert len(data) == STAMP_MAX + more
        assert isinstance(read_stamp(data), Stamp) is right


ITEMS: dict[str, tuple[bytes, list[int] | None]] = {
    "nothing": (b"", []),
    "two elements": (b"\x04\x01a\x02\x00", [1, 0]),
    "the longest short form": (b"\x04\x7f" + bytes(127), [127]),
    "an indefinite length": (b"\x04\x80" + bytes(128), None),
    "an indefinite length of nothing": (b"\x04\x80", None),
    "a long form that could be short": (b"\x04\x81\x7f" + bytes(127), None),
    "the shortest long form": (b"\x04\x81\x80" + bytes(128), [128]),
    "a tag alone": (b"\x04", None),
    "a length that is cut off": (b"\x04\x82\x01", None),
    "a length that is missing": (b"\x04\x81", None),
    "a body that is cut off": (b"\x04\x03ab", None),
    "a second body that is cut off": (b"\x04\x01a\x04\x01", None),
}


@pytest.mark.parametrize("name", ITEMS)
def test_der_has_one_form(name: str) -> None:
    """Bytes are cut into elements by their lengths, of which each has but one form; what is left over is an error."""
    data, sizes = ITEMS[name]
    if sizes is None:
        with pytest.raises(ValueError, match=r"^$"):
            list(_items(data))
    else:
        assert [len(item.body) for item in _items(data)] == sizes
        assert b"".join(item.whole for item in _items(data)) == data


def test_one_element_is_no_more_and_no_other() -> None:
    """Where one element must be, another one behind it, another tag or nothing is an error."""
    assert _one(b"\x04\x01a", 4).body == b"a"
    for data, tag in ((b"\x04\x01a\x04\x00", 4), (b"\x04\x01a", 5), (b"", 4)):
        with pytest.raises(ValueError, match=r"^$|unpack"):
            _one(data, tag)
