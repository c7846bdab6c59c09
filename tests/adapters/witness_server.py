"""A C2SP witness as a process of its own, on a free port of the loopback; nothing of the engine is in it.

    python witness_server.py DIRECTORY ORIGIN PUBLIC_HEX [PUBLIC_HEX ...]

It prints its port and its verifier key, and serves until its standard input is closed. ``DIRECTORY/state.json`` is what
it remembers; ``DIRECTORY/mood`` may hold a word that makes it answer wrongly, as the tests want it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.merkle import consistent

NAME = "witness.example/w1"
LOCK = threading.Lock()


class Witness(BaseHTTPRequestHandler):
    """Answers ``add-checkpoint``."""

    protocol_version = "HTTP/1.1"
    directory: Path
    origin: str
    publics: list[bytes]
    key: Ed25519PrivateKey

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        """Send it."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        mood = (self.directory / "mood").read_text() if (self.directory / "mood").exists() else ""
        if mood == "busy":
            return self.answer(503, b"later\n")
        if mood == "hang":
            return threading.Event().wait(60) and None
        if mood == "drip":  # a byte now and then, within the limit of any one read
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            try:
                for _ in range(300):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    threading.Event().wait(0.1)
            except OSError:
                pass
            return None
        if mood == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"\xe2" * 65536)
            except OSError:
                return None
        if self.path != "/w/add-checkpoint":
            return self.answer(404)
        with LOCK:
            return self.judge(body, mood)

    def judge(self, body: str, mood: str) -> None:  # noqa: PLR0911 - the specification's order of checks
        """The checks of the specification, in its order."""
        head, _, note = body.partition("\n\n")
        first, *proof = head.split("\n")
        text, _, tail = note.rpartition("\n\n")
        text += "\n"
        origin, size_text, root_text, *_ = text.split("\n")
        size, root = int(size_text), b64decode(root_text).hex()
        if origin != self.origin:
            return self.answer(404)
        if not any(self.signed(text, line, origin) for line in tail.split("\n")[:-1]):
            return self.answer(403)
        old = int(first.removeprefix("old "))
        if old > size or first != f"old {old}":
            return self.answer(400)
        path = self.directory / "state.json"
        has = json.loads(path.read_text()) if path.exists() else {"size": 0, "root": sha256(b"").hexdigest()}
        if old != has["size"]:
            kind = "text/plain" if mood == "kind" else "text/x.tlog.size"
            return self.answer(409, b"many\n" if mood == "size" else f"{has['size']}\n".encode(), kind)
        hashes = [b64decode(line) for line in proof]
        if old == size and root != has["root"]:
            return self.answer(409, f"{has['size']}\n".encode(), "text/x.tlog.size")
        if (old == 0 and hashes) or (old and not consistent(old, size, has["root"], root, hashes)):
            return self.answer(422)
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"size": size, "root": root}))
        os.rename(new, path)  # noqa: PTH104
        return self.answer(200, self.cosign(text, mood))

    def signed(self, text: str, line: str, origin: str) -> bool:
        """Whether a line is the log's signature."""
        _, name, data = line.split(" ")
        raw = b64decode(data)
        for public in self.publics:
            if name == origin and raw[:4] == sha256(name.encode() + b"\n\x01" + public).digest()[:4]:
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
                except InvalidSignature:
                    return False
                return True
        return False

    def cosign(self, text: str, mood: str) -> bytes:
        """The signature line, with one of somebody else's before it."""
        now = int(time.time())
        signature = self.key.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        if mood == "forge":
            signature = bytes(64)
        made = key_id(self.key) + now.to_bytes(8, "big") + signature
        other = b64encode(b"1234" + bytes(72)).decode()
        lines = f"\u2014 other.example/w2 {other}\n\u2014 {NAME} {b64encode(made).decode()}\n"
        if mood == "stranger":
            lines = lines.partition("\n")[0] + "\n"
        return b"not a line" if mood == "garbage" else lines.encode()


def key_id(key: Ed25519PrivateKey) -> bytes:
    """Of a witness's key."""
    return sha256(NAME.encode() + b"\n\x04" + key.public_key().public_bytes_raw()).digest()[:4]


def main() -> None:
    """Serve."""
    directory, origin, *publics = sys.argv[1:]
    Witness.directory, Witness.origin = Path(directory), origin
    Witness.publics = [bytes.fromhex(public) for public in publics]
    seed = Path(directory) / "seed"
    if not seed.exists():
        seed.write_bytes(os.urandom(32))
    Witness.key = Ed25519PrivateKey.from_private_bytes(seed.read_bytes())
    public = b64encode(b"\x04" + Witness.key.public_key().public_bytes_raw()).decode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Witness)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port} {NAME}+{key_id(Witness.key).hex()}+{public}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
