"""RFC 3161 time-stamp tokens: what was stamped, when, and whether a given authority signed it.

As much of DER and CMS as a token needs, and no more: what is not understood is not right. The chain of the
authority's certificate is not looked at: the auditor hands in the one that he believes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, Hash, HashAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

STAMP_MAX = 2**18
"""A longer token is refused."""

_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _TIME, _CONTEXT_0 = 0x02, 0x04, 0x06, 0x30, 0x31, 0x18, 0xA0
_LONG_FORM = 0x80
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
_SIGNING_CERTIFICATE = bytes.fromhex("2a864886f70d010910020c")
_SIGNING_CERTIFICATE_V2 = bytes.fromhex("2a864886f70d010910022f")
_HASHES: dict[bytes, type[HashAlgorithm]] = {
    bytes.fromhex("608648016503040201"): SHA256,
    bytes.fromhex("608648016503040202"): SHA384,
    bytes.fromhex("608648016503040203"): SHA512,
}


@attrs.frozen
class _Item:
    """One DER element: its tag, its content, and all its bytes."""

    tag: int
    body: bytes
    whole: bytes

    def items(self) -> list["_Item"]:
        return [*_items(self.body)]

    def expect(self, *tags: int) -> list["_Item"]:
        """Its elements, which must begin with these tags."""
        found = self.items()
        if tuple(item.tag for item in found[: len(tags)]) != tags:
            raise ValueError
        return found


def _items(data: bytes) -> Iterator[_Item]:
    """Cut bytes into DER elements.

    Raises:
        ValueError: they are none.
    """
    place = 0
    while place < len(data):
        head = place + 2
        length = int.from_bytes(data[place + 1 : head], "big")
        if length >= _LONG_FORM:
            more = length - _LONG_FORM
            length = int.from_bytes(data[head : head + more], "big")
            head += more
            if length < _LONG_FORM:
                raise ValueError
        end = head + length
        if end > len(data):
            raise ValueError
        yield _Item(data[place], data[head:end], data[place:end])
        place = end


def _one(data: bytes, tag: int) -> _Item:
    """The only element in some bytes."""
    found, *more = _items(data)
    if more or found.tag != tag:
        raise ValueError
    return found


def _hash(algorithm: _Item) -> type[HashAlgorithm]:
    (name, *_) = algorithm.expect(_OID)
    if name.body not in _HASHES:
        raise ValueError
    return _HASHES[name.body]


def _digest(kind: type[HashAlgorithm], data: bytes) -> bytes:
    made = Hash(kind())
    made.update(data)
    return made.finalize()


@attrs.frozen(kw_only=True)
class Stamp:
    """A token, of which nothing is believed yet.

    Attributes:
        imprint: the SHA-256 of what was stamped.
        time: when it says that was.
        info: the bytes that its signature is about, by way of the attributes.
        attributes: the signed attributes: by type their one value.
        signed: the attributes as they were signed.
        digest: with which hash.
        signature: of the attributes.
    """

    imprint: bytes
    time: datetime
    info: bytes
    attributes: dict[bytes, _Item]
    signed: bytes
    digest: type[HashAlgorithm]
    signature: bytes

    def signed_by(self, certificate: x509.Certificate) -> bool:
        """Whether the authority of this certificate, which must be one for time stamps, signed it while valid."""
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            return (
                ExtendedKeyUsageOID.TIME_STAMPING in usage
                and certificate.not_valid_before_utc <= self.time <= certificate.not_valid_after_utc
                and self.attributes[_CONTENT_TYPE].body == _TST_INFO
                and self.attributes[_MESSAGE_DIGEST].body == _digest(self.digest, self.info)
                and self._names(certificate)
                and self._right(certificate)
            )
        except (x509.ExtensionNotFound, KeyError, ValueError, InvalidSignature):
            return False

    def _names(self, certificate: x509.Certificate) -> bool:
        """Whether the signed attributes say that it was this certificate's key."""
        for name, kind in ((_SIGNING_CERTIFICATE_V2, SHA256), (_SIGNING_CERTIFICATE, SHA1)):
            if name in self.attributes:
                (first, *_) = self.attributes[name].expect(_SEQUENCE)[0].expect(_SEQUENCE)
                parts = first.items()
                used: type[HashAlgorithm] = kind
                if parts[0].tag == _SEQUENCE and name == _SIGNING_CERTIFICATE_V2:
                    used = _hash(parts.pop(0))
                return parts[0].tag == _OCTETS and parts[0].body == certificate.fingerprint(used())
        return False

    def _right(self, certificate: x509.Certificate) -> bool:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(self.signature, self.signed, padding.PKCS1v15(), self.digest())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(self.signature, self.signed, ec.ECDSA(self.digest()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(self.signature, self.signed)
        else:
            return False
        return True


def read_certificate(data: bytes) -> x509.Certificate:
    """Read a certificate, PEM or DER.

    Raises:
        ValueError: it is none.
    """
    return (x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate)(data)


def read_stamp(data: bytes) -> Stamp | str:
    """Read a token, or a response that holds one, or say why it is none."""
    if len(data) > STAMP_MAX:
        return "longer than a time-stamp token may be"
    try:
        return _read(data)
    except (ValueError, IndexError):
        return "not an RFC 3161 time-stamp token over a SHA-256"


def _read(data: bytes) -> Stamp:
    token = _one(data, _SEQUENCE)
    if token.items()[0].tag == _SEQUENCE:  # a response: its status, then the token
        token = token.expect(_SEQUENCE, _SEQUENCE)[1]
    kind, wrapped = token.expect(_OID, _CONTEXT_0)
    _, _, content, *rest = _one(wrapped.body, _SEQUENCE).expect(_INTEGER, _SET, _SEQUENCE)
    content_kind, octets = content.expect(_OID, _CONTEXT_0)
    if (kind.body, content_kind.body) != (_SIGNED_DATA, _TST_INFO):
        raise ValueError
    info = _one(octets.body, _OCTETS).body
    _, _, imprint, _, time, *_ = _one(info, _SEQUENCE).expect(_INTEGER, _OID, _SEQUENCE, _INTEGER, _TIME)
    algorithm, hashed = imprint.expect(_SEQUENCE, _OCTETS)
    if _hash(algorithm) is not SHA256:
        raise ValueError
    (signer,) = rest[-1].expect(_SEQUENCE)
    _, _, digest, attributes, _, signature, *_ = signer.items()
    if (attributes.tag, signature.tag) != (_CONTEXT_0, _OCTETS):
        raise ValueError
    return Stamp(
        imprint=hashed.body,
        time=_time(time.body),
        info=info,
        attributes=dict(_attribute(item) for item in attributes.items()),
        signed=bytes([_SET]) + attributes.whole[1:],
        digest=_hash(digest),
        signature=signature.body,
    )


def _attribute(item: _Item) -> tuple[bytes, _Item]:
    kind, values = item.expect(_OID, _SET)
    (value,) = values.items()
    return kind.body, value


def _time(body: bytes) -> datetime:
    """Read a GeneralizedTime, which must be UTC."""
    text = body.decode("ascii")
    form = "%Y%m%d%H%M%S.%fZ" if "." in text else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)
