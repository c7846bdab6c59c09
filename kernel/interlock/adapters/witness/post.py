"""One HTTP request with an end: of time, and of bytes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from interlock.store.witness import WitnessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

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
        timeout_s: for the whole of one request, from when it is connected; and for that.
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
        answer = self._asked(parts, path, body, kind, deadline)
        if time.monotonic() > deadline:  # what was cut off may look like an answer
            message = f"{self.url}: its answer does not end"
            raise WitnessError(message)
        return answer

    def _asked(self, parts: SplitResult, path: str, body: bytes, kind: str, deadline: float) -> Answer:
        made = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = made(parts.hostname or "", parts.port, timeout=self.timeout_s)
        try:
            connection.connect()
            with _cut(connection.sock, deadline):
                connection.request("POST", f"{parts.path.rstrip('/')}{path}" or "/", body, {"Content-Type": kind})
                response = connection.getresponse()
                data = bytearray()
                while chunk := response.read1(_CHUNK):
                    data += chunk
                    if len(data) > _LARGEST:
                        message = f"{self.url}: its answer does not end"
                        raise WitnessError(message)
                said = response.headers.get_content_type()
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:  # the last: no thread to be had
            why = "timed out" if time.monotonic() > deadline else str(error) or type(error).__name__
            message = f"{self.url}: {why}"
            raise WitnessError(message) from error
        finally:
            connection.close()
        return Answer(response.status, said, bytes(data))


@contextlib.contextmanager
def _cut(line: socket.socket, deadline: float) -> Iterator[None]:
    """Cut a connection at a moment: its own limit is for each byte, and a byte now and then keeps within that."""

    def cut() -> None:
        with contextlib.suppress(OSError):  # it was closed just now
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
