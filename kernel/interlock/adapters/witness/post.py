"""One HTTP request with an end: of time, and of bytes."""

from __future__ import annotations

import http.client
import time
from typing import Final
from urllib.parse import urlsplit

import attrs

from interlock.store.witness import WitnessError

__all__ = ["Answer", "Post"]

_LARGEST: Final = 1 << 18
_CHUNK: Final = 1 << 14


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    kind: str
    body: bytes


@attrs.frozen(kw_only=True)
class Post:
    """Where to send requests to.

    Attributes:
        url: http or https; of the latter the machine's certificate authorities decide who is who.
        timeout_s: for the whole of one request.
    """

    url: str
    timeout_s: float = 5.0

    def __call__(self, path: str, body: bytes, kind: str) -> Answer:
        """Send one request. It follows no redirection.

        Raises:
            WitnessError: nobody answered in time, or with too much.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = f"{self.url}: not an http or https address"
            raise WitnessError(message)
        deadline = time.monotonic() + self.timeout_s
        made = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = made(parts.hostname, parts.port, timeout=self.timeout_s)
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}{path}" or "/", body, {"Content-Type": kind})
            response = connection.getresponse()
            data = bytearray()
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > _LARGEST or time.monotonic() > deadline:
                    message = f"{self.url}: its answer does not end"
                    raise WitnessError(message)
            said = response.headers.get_content_type()
        except (OSError, http.client.HTTPException, ValueError) as error:
            message = f"{self.url}: {str(error) or type(error).__name__}"
            raise WitnessError(message) from error
        finally:
            connection.close()
        return Answer(response.status, said, bytes(data))
