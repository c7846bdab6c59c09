"""RFC 3161 tokens, written by the text, so that each part of one can be wrong; OpenSSL's own are in `test_stamps`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2024, 8, 8, 12, tzinfo=UTC)
SHA256_OID = "608648016503040201"
SHA512_OID = "608648016503040203"


def der(tag: int, *parts: bytes) -> bytes:
    """One element."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return der(0x30, *parts)


def oid(text: str) -> bytes:
    """An OBJECT IDENTIFIER by its bytes in hex."""
    return der(0x06, bytes.fromhex(text))


def integer(value: int) -> bytes:
    """A small INTEGER."""
    return der(0x02, bytes([value]))


def algorithm(text: str = SHA256_OID) -> bytes:
    """An AlgorithmIdentifier without parameters."""
    return sequence(oid(text))


def attribute(kind: str, *values: bytes) -> bytes:
    """A signed attribute."""
    return sequence(oid(kind), der(0x31, *values))


KEYS: dict[str, Callable[[], Any]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


@attrs.frozen
class Authority:
    """A time-stamp authority with a key of some kind."""

    kind: str
    key: Any
    certificate: x509.Certificate

    @classmethod
    def made(cls, kind: str, usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.TIME_STAMPING) -> "Authority":
        """One that is valid from a day before `NOW` to a day after."""
        key = KEYS[kind]()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tsa")])
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(7).not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        )  # fmt: skip
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        return cls(kind, key, builder.sign(key, None if kind.startswith("ed") else SHA256()))

    def sign(self, data: bytes) -> bytes:
        """Sign bytes as CMS has it for this kind of key."""
        if self.kind == "rsa":
            return bytes(self.key.sign(data, padding.PKCS1v15(), SHA256()))
        if self.kind == "ec":
            return bytes(self.key.sign(data, ec.ECDSA(SHA256())))
        return bytes(self.key.sign(data))

    def token(self, text: bytes = b"text", **parts: Any) -> bytes:
        """A token over a text, with parts as given."""
        info = parts.get("info") or sequence(
            integer(1),
            oid("2a0304"),
            sequence(algorithm(parts.get("hashed_with", SHA256_OID)), der(0x04, sha256(text).digest())),
            integer(9),
            der(parts.get("time_tag", 0x18), parts.get("time", "20240808120000Z").encode("latin-1")),
        )
        attributes = b"".join(parts.get("attributes") or self.attributes(info, **parts))
        signed = der(0x31, attributes)
        signer = sequence(
            integer(1),
            sequence(),
            algorithm(parts.get("digest", SHA256_OID)),
            der(parts.get("attributes_tag", 0xA0), attributes),
            sequence(),
            der(parts.get("signature_tag", 0x04), parts.get("signature") or self.sign(signed)),
        )
        content = sequence(oid(parts.get("content", "2a864886f70d0109100104")), der(0xA0, der(0x04, info)))
        signers = der(0x31, signer, *parts.get("more_signers", ()))
        data = sequence(integer(3), der(0x31), content, *parts.get("between", ()), signers)
        return sequence(oid(parts.get("kind", "2a864886f70d010702")), der(0xA0, data))

    def attributes(self, info: bytes, **parts: Any) -> list[bytes]:
        """The signed attributes."""
        own = self.certificate.public_bytes(Encoding.DER)
        named = parts.get("named") or sequence(sequence(sequence(der(0x04, sha256(own).digest()))))
        return [
            attribute("2a864886f70d010903", oid(parts.get("content_type", "2a864886f70d0109100104"))),
            attribute("2a864886f70d010904", der(0x04, parts.get("message_digest") or sha256(info).digest())),
            attribute(parts.get("naming", "2a864886f70d010910022f"), named),
        ]
