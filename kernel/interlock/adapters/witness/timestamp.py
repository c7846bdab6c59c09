"""An RFC 3161 time-stamp authority as a witness: it proves when a checkpoint was there, and remembers nothing.

What is stamped is the SHA-256 of the checkpoint's text. The token is verified before it is believed: by the
authority's root certificate, by the nonce of this very request, and over these very bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from interlock.adapters.witness.post import Post
from interlock.store.witness import Kept, Receipt, WitnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rfc3161_client import TimeStampRequest

    from interlock.journal.notes import Note

__all__ = ["TimeStampWitness"]

_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"
_TAKEN: Final = 200


class TimeStampWitness:
    """One authority.

    Args:
        url: of it.
        roots: PEM of the root certificates that its tokens must lead to.
        name: for journal and messages.
        timeout_s: for one request.

    Raises:
        ValueError: there is no certificate in that.
    """

    remembers = False

    def __init__(self, url: str, roots: bytes, name: str = "tsa", timeout_s: float = 5.0) -> None:
        self.name = name
        self._post = Post(url=url, timeout_s=timeout_s)
        self._roots: list[Certificate] = load_pem_x509_certificates(roots)

    def keep(self, note: Note, proof: Callable[[int], Sequence[bytes]]) -> Receipt:
        """Have it stamped. The receipt's token is the time-stamp token (CMS, DER)."""
        del proof  # it stamps whatever it is given
        data = note.text.encode()
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=True).build()
        answer = self._post("", request.as_bytes(), _QUERY)
        if answer.status != _TAKEN or answer.kind != _REPLY:
            message = f"{self.name}: answers {answer.status}, {answer.kind}"
            raise WitnessError(message)
        try:
            response = decode_timestamp_response(answer.body)
            self._verify(response, request, data)
            return Receipt(token=response.time_stamp_token())
        except (ValueError, VerificationError) as error:
            message = f"{self.name}: its token is not good: {error}"
            raise WitnessError(message) from error

    def _verify(self, response: TimeStampResponse, request: TimeStampRequest, data: bytes) -> None:
        """See that it is to be believed.

        Raises:
            VerificationError: it isn't.
        """
        builder = VerifierBuilder(roots=[*self._roots], nonce=request.nonce)
        builder.build().verify(response, sha256(data).digest())

    def latest(self, note: Note) -> Kept | None:
        """Nothing: an authority keeps no checkpoints."""
        del note
        return None
